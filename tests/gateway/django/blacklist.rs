//! Tests tokens that SimpleJWT itself has revoked: access and sliding ones, as its own classes make and blacklist them.

use serde_json::json;

use crate::support::django::{Django, TOKEN_BLACKLIST};
use crate::support::eventually;

/// The service's `SECRET_KEY`.
const SECRET_KEY: &str = "django-insecure-development-key-of-the-legacy-service\n";

/// Returns a token of kim's of this class that is on the list of outstanding tokens.
fn token(django: &Django, folder: &std::path::Path, class: &str) -> String {
    let file = folder.join("token");
    django.run_with(&[TOKEN_BLACKLIST], &format!(
        "from rest_framework_simplejwt.tokens import AccessToken, BlacklistMixin, SlidingToken\n\
         from django.contrib.auth import get_user_model\n\
         class Revocable(BlacklistMixin, AccessToken): pass\n\
         open({file:?}, 'w').write(str({class}.for_user(get_user_model().objects.get(username='kim'))))"
    ));
    std::fs::read_to_string(file).unwrap()
}

/// Revokes a token as a view does that signs a user out.
fn take_back(django: &Django, class: &str, token: &str) {
    django.run_with(&[TOKEN_BLACKLIST], &format!(
        "from rest_framework_simplejwt.tokens import AccessToken, BlacklistMixin, SlidingToken\n\
         class Revocable(BlacklistMixin, AccessToken): pass\n\
         {class}({token:?}).blacklist()"
    ));
}

#[test]
fn what_simplejwt_has_blacklisted_is_refused_at_once_or_within_the_recheck() {
    let django = Django::start_with(&[TOKEN_BLACKLIST]);
    let folder = tempfile::tempdir().unwrap();
    let setup =
        django.setup_with("refresh_interval = \"1s\"").file("secret-key", SECRET_KEY.as_bytes());
    let gateway = setup
        .with(
            "[[issuer]]\nkind = \"simplejwt\"\nkey_file = \"secret-key\"\nblacklist = true\n\
             token_types = [\"access\", \"sliding\"]\n",
        )
        .start();
    let client = gateway.client();
    let status = |token: &str| client.get("/api/v1/whoami").bearer(token).send().status;
    let verify = |token: &str| client.post("/verify").json(&json!({"token": token})).send().status;
    for class in ["SlidingToken", "Revocable"] {
        let (before, later) =
            (token(&django, folder.path(), class), token(&django, folder.path(), class));
        take_back(&django, class, &before);
        let refused = client.get("/api/v1/whoami").bearer(&before).send();
        assert_eq!(refused.status, 401, "{class}");
        assert_eq!(refused.json()["detail"], "Token is blacklisted", "{class}");
        assert_eq!((verify(&before), verify(&later)), (401, 200), "{class}");

        assert_eq!(status(&later), 200, "{class}");
        take_back(&django, class, &later);
        eventually("the gateway to ask again", || (status(&later) == 401).then_some(()));
        django.run_with(
            &[TOKEN_BLACKLIST],
            "from rest_framework_simplejwt.token_blacklist.models import OutstandingToken\n\
             OutstandingToken.objects.all().delete()",
        );
        assert_eq!((status(&before), status(&later)), (401, 401), "{class}: for good");
    }
    gateway.logged("the reason", |line| {
        line["event"] == "issued_refused" && line["reason"] == "blacklisted"
    });
}

/// Checks that SimpleJWT's own class accepts a token, in the service.
fn is_read_by(django: &Django, class: &str, token: &str) {
    django.run_with(
        &[TOKEN_BLACKLIST],
        &format!(
            "from rest_framework_simplejwt.tokens import SlidingToken\n\
             token = {class}({token:?})\n\
             assert str(token['user_id']) == str(User.objects.get(username='kim').pk)\n\
             token.check_exp('refresh_exp')"
        ),
    );
}

#[test]
fn sliding_tokens_are_given_and_refreshed_as_the_service_does_and_end_with_their_session() {
    let sliding = r#"{"AUTH_TOKEN_CLASSES": ["rest_framework_simplejwt.tokens.SlidingToken"]}"#;
    let django = Django::start_with(&[TOKEN_BLACKLIST, ("DJANGO_SIMPLE_JWT", sliding)]);
    let folder = tempfile::tempdir().unwrap();
    let alias = |path: &str, to: &str| {
        format!(
            "[[paths.alias]]\npath = \"{path}\"\nto = \"{to}\"\nshape = \"simplejwt-sliding\"\n\
             issuer = \"simplejwt\"\n"
        )
    };
    let setup =
        django.setup_with("refresh_interval = \"1s\"").file("secret-key", SECRET_KEY.as_bytes());
    let gateway = setup
        .with(
            "[[issuer]]\nkind = \"simplejwt\"\nkey_file = \"secret-key\"\nblacklist = true\n\
             token_types = [\"sliding\"]\n\
             [[identity.form]]\nname = \"drf\"\nkind = \"simplejwt\"\ntoken_type = \"sliding\"\n\
             key_file = \"secret-key\"\ndanger_weak_key = true\n",
        )
        .with(&alias("/api/token/", "login"))
        .with(&alias("/api/token/refresh/", "refresh"))
        .route("name = \"told\"\npath = \"/api/\"\nidentity = \"drf\"")
        .start();
    let client = gateway.client();
    let whoami = |token: &str| client.get("/api/v1/whoami").bearer(token).send();
    let refresh = |token: &str| {
        let response = client.post("/api/token/refresh/").json(&json!({"token": token})).send();
        (response.status, response.json()["token"].as_str().map(str::to_owned))
    };

    let wrong = client.post("/api/token/").json(&json!({"username": "kim"})).send();
    assert_eq!(
        (wrong.status, &wrong.json()["password"]),
        (400, &json!(["This field is required."]))
    );
    let body = json!({"username": "kim", "password": "kim-pass-1234"});
    let answer = client.post("/api/token/").json(&body).send();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let ours = answer.json()["token"].as_str().unwrap().to_owned();
    let theirs = token(&django, folder.path(), "SlidingToken");
    for (token, has_session) in [(&ours, true), (&theirs, false)] {
        is_read_by(&django, "SlidingToken", token);
        let (status, refreshed) = refresh(token);
        assert_eq!(status, 200);
        let refreshed = refreshed.unwrap();
        is_read_by(&django, "SlidingToken", &refreshed);
        for token in [token, &refreshed] {
            let report = whoami(token).json();
            // The view receives a token of the form, which SimpleJWT's own class has verified.
            assert_eq!(report["rest_framework"]["user"]["username"], "kim", "{report}");
            assert_eq!(report["meta"]["HTTP_X_SESSION_ID"] != "", has_session, "{report}");
        }
    }
    // A revoked token cannot be refreshed, and ending a session ends all of its tokens.
    take_back(&django, "SlidingToken", &theirs);
    eventually("the gateway to ask again", || (refresh(&theirs).0 == 401).then_some(()));
    let (_, later) = refresh(&ours);
    assert_eq!(client.post("/logout").bearer(&ours).send().status, 204);
    for token in [&ours, &later.unwrap()] {
        assert_eq!((whoami(token).status, refresh(token).0), (401, 401));
    }
    let other = crate::support::client::Client::new(django.address);
    let access = other
        .post("/api/v1/users/login/simpleJWT")
        .json(&json!({"username": "kim", "password": "kim-pass-1234"}))
        .send()
        .json()["access"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(refresh(&access).0, 401, "another kind of token is not refreshed");
}
