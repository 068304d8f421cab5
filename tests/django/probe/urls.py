from django.urls import include, path

from . import sessions, views

in_sessions = [
    path("tell", sessions.tell),
    path("keep/<str:value>", sessions.keep),
    path("become/<str:name>", sessions.become),
    path("leave", sessions.leave),
    path("leave-with/<str:value>", sessions.leave_with),
    path("late-rotate", sessions.late_rotate),
    path("late-become/<str:name>", sessions.late_become),
    path("rotate", sessions.rotate),
    path("password/<str:value>", sessions.password),
    path("late-password/<str:value>", sessions.late_password),
]

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
    path("session/", include(in_sessions)),
    path("public/session/", include(in_sessions)),
    path("reset-link/<str:name>", sessions.reset_link),
    path("public/reset/<uidb64>/<token>/", sessions.reset),
]
