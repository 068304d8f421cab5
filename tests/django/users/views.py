"""Three ways to sign in, as the tutorial builds them up.

Left as they were written, mistakes included: `JWTLogin` answers a wrong password with 500 (the view returns None) and
`JWTAuthentication` accepts inactive users. The gateway is tested against the service that is there.
"""

import jwt
from django.conf import settings
from django.contrib.auth import authenticate, login, logout
from rest_framework import status
from rest_framework.exceptions import ParseError
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView

from config.authentication import JWTAuthentication


class Login(APIView):
    def post(self, request):
        username = request.data.get("username")
        password = request.data.get("password")

        if not username or not password:
            raise ParseError()

        user = authenticate(request, username=username, password=password)

        if user:
            login(request, user)
            return Response({"message": "success"}, status=status.HTTP_200_OK)
        else:
            return Response(status=status.HTTP_403_FORBIDDEN)


class Logout(APIView):
    permission_classes = [IsAuthenticated]

    def post(self, request):
        logout(request)
        return Response(status=status.HTTP_200_OK)


class JWTLogin(APIView):
    def post(self, request):
        username = request.data.get("username")
        password = request.data.get("password")

        if not username or not password:
            raise ParseError

        user = authenticate(request, username=username, password=password)

        if user:
            payload = {"id": user.id, "username": user.username}

            token = jwt.encode(
                payload,
                settings.SECRET_KEY,
                algorithm="HS256",
            )

            return Response({"token": token})


class UserDetailView(APIView):
    authentication_classes = [JWTAuthentication]
    permission_classes = [IsAuthenticated]

    def get(self, request):
        user = request.user
        return Response({"id": user.id, "username": user.username})
