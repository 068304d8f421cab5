from django.urls import path

from . import views

urlpatterns = [
    path("", views.home),
    path("api/v1/whoami", views.whoami),
    path("api/v1/whoami/", views.whoami),
    path("api/v1/whoami/<path:rest>", views.whoami),
    path("public/whoami", views.whoami),
    path("slow", views.slow),
    path("stream", views.stream),
    path("events", views.events),
    path("set-cookies", views.set_cookies),
    path("status/<int:code>", views.status),
    path("upload", views.upload),
]
