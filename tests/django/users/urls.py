from django.apps import apps
from django.urls import path
from rest_framework_simplejwt.views import (
    TokenBlacklistView,
    TokenObtainPairView,
    TokenRefreshView,
    TokenVerifyView,
)

from . import views

urlpatterns = [
    # Django session
    path("login", views.Login.as_view()),
    path("logout", views.Logout.as_view()),
    # hand-made JWT
    path("login/jwt", views.JWTLogin.as_view()),
    path("login/jwt/info", views.UserDetailView.as_view()),
    # SimpleJWT
    path("login/simpleJWT", TokenObtainPairView.as_view()),
    path("login/simpleJWT/refresh", TokenRefreshView.as_view()),
    path("login/simpleJWT/verify", TokenVerifyView.as_view()),
]

if apps.is_installed("rest_framework_simplejwt.token_blacklist"):
    urlpatterns.append(path("login/simpleJWT/blacklist", TokenBlacklistView.as_view()))
