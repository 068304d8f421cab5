"""The service's paths. None ends in a slash but the admin's, and all are case-sensitive."""

from django.contrib import admin
from django.contrib.staticfiles.views import serve
from django.urls import include, path, re_path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/v1/users/", include("users.urls")),
    # gunicorn serves no files by itself; without these the admin has no style.
    re_path(r"^static/(?P<path>.*)$", serve, {"insecure": True}),
    # The test's eye, see probe/__init__.py. Not part of the service.
    path("", include("probe.urls")),
]
