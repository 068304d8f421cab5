//! Tests tokens of a class with rules of its own: the service goes on checking them, and they give no other access.

use serde_json::json;

use super::routes::{served, written};
use crate::support::client::Client;
use crate::support::gateway::Gateway;

const URLS: &str = r#"
from django.contrib.auth import views
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.urls import path
from rest_framework.authentication import TokenAuthentication
from rest_framework.decorators import api_view, authentication_classes, permission_classes
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response

class Expiring(TokenAuthentication):
    def authenticate_credentials(self, key):
        if key != "good":
            raise AuthenticationFailed("Token has expired.")
        return User.objects.get_or_create(username="partner")[0], key

def told(request, **kwargs):
    return Response({"user": request.user.username, "header": request.META.get("HTTP_X_USER_ID")})

def judged(view):
    return api_view(["GET", "POST"])(permission_classes([IsAuthenticated])(authentication_classes([Expiring])(view)))

urlpatterns = [
    path("accounts/login/", views.LoginView.as_view(template_name="form.html")),
    path("api/orders/", judged(told)),
    path("api/orders/<int:pk>/", judged(told)),
    path("members/", login_required(lambda request: HttpResponse("members"))),
]
"#;

#[test]
fn the_service_goes_on_judging_what_its_own_class_decides() {
    let django = served(URLS);
    let (folder, said) = written(&django);
    assert!(
        said.contains("note  drf-token   its tokens cannot be accepted: shop.urls.Expiring"),
        "{said}"
    );
    assert!(
        said.contains("goes on to the service, which judges it as it does today, at 2 patterns"),
        "{said}"
    );
    let gateway = Gateway::launch(folder);
    let (before, after) = (Client::new(django.address), gateway.client());
    let with = |client: &Client, method: &str, path: &str, token: &str| {
        let request = client.request(method, path).header("X-User-Id", "1");
        let request =
            if token.is_empty() { request } else { request.header("Authorization", token) };
        request.send()
    };
    for (method, path, token, status) in [
        ("GET", "/api/orders/", "Token good", 200),
        ("POST", "/api/orders/", "Token good", 200),
        ("GET", "/api/orders/7/", "Token good", 200),
        ("GET", "/api/orders/", "Token old", 401),
        ("GET", "/api/orders/7/", "Token old", 401),
        ("GET", "/api/orders/", "", 401),
    ] {
        let (here, there) = (with(&after, method, path, token), with(&before, method, path, token));
        assert_eq!((here.status, there.status), (status, status), "{method} {path} {token}");
        if status == 200 {
            // The client's own header was removed, and the token adds none.
            assert_eq!(here.json(), json!({"user": "partner", "header": null}));
        } else {
            assert_eq!(here.text(), there.text(), "in the service's own words");
        }
    }
    // It gives no access to another route.
    for token in ["Token good", "Token old"] {
        let members = with(&after, "GET", "/members/", token);
        let detail = members.json()["detail"].clone();
        let nobody = "Authentication credentials were not provided.";
        assert_eq!((members.status, detail), (401, json!(nobody)), "{token}");
    }
}
