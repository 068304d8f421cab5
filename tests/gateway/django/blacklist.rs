//! Tokens that SimpleJWT itself has taken back: access and sliding ones, as its own classes make and blacklist them.

use serde_json::json;

use crate::support::django::{Django, TOKEN_BLACKLIST};
use crate::support::eventually;

/// `SECRET_KEY` of the service.
const SECRET_KEY: &str = "django-insecure-development-key-of-the-legacy-service\n";

/// A token of kim's of this class, which is on the list of outstanding ones.
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

/// As a view does that signs somebody out.
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
    let setup = django.setup_with("recheck = \"1s\"").file("secret-key", SECRET_KEY.as_bytes());
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
