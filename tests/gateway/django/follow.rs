//! Tests the service's own sessions beside the gateway's: strangers keep theirs, and a sign-in there is a sign-in here.

use serde_json::Value;

use super::{COOKIE, enter, report};
use crate::support::client::{Client, Request, Response};
use crate::support::django::Django;
use crate::support::gateway::{Gateway, Setup};

const SECRET_KEY: &str = "django-insecure-development-key-of-the-legacy-service\n";

pub(super) const ISSUER: &str = "[[issuer]]\nkind = \"django-session\"\nkey_file = \"secret-key\"";

/// Returns a gateway whose routes use the form `django-session` as `identity` says.
pub(super) fn setup(django: &Django, identity: &str, with: &str) -> Setup {
    setup_with("refresh_interval = \"1s\"", django, identity, with)
}

/// Does the same, with other keys for the directory.
pub(super) fn setup_with(directory: &str, django: &Django, identity: &str, with: &str) -> Setup {
    let route = |name: &str, path: &str, access: &str| {
        format!(
            "[[route]]\nname = \"{name}\"\npath = \"{path}\"\nupstream = \"app\"\naccess = \"{access}\"\n{identity}\n"
        )
    };
    let routes = [
        route("public", "/public/", "public"),
        route("optional", "/optional/", "optional"),
        route("login", "/admin/login/", "public"),
        route("link", "/reset-link/", "public"),
        route("app", "/", "signed-in"),
    ];
    let form = "[[identity.form]]\nname = \"session\"\nkind = \"django-session\"\nkey_file = \"secret-key\"";
    let form = if identity.is_empty() { "" } else { form };
    django
        .setup_with(directory)
        .routes(&routes.concat())
        .file("secret-key", SECRET_KEY.as_bytes())
        .with(&format!("{form}\n{with}"))
}

/// Returns a gateway for each way in which it can handle the service's sessions.
fn ways(django: &Django) -> Vec<(&'static str, Gateway)> {
    let both = "identity = \"session\"";
    let bearer = "identity = { bearer = \"session\" }";
    vec![
        ("form", setup(django, both, "").start()),
        ("form and issuer", setup(django, both, ISSUER).start()),
        ("form for tokens", setup(django, bearer, ISSUER).start()),
        ("issuer", setup(django, "", ISSUER).start()),
    ]
}

/// Returns what the service's session contains, for this request.
fn kept(request: &Request) -> Value {
    report(request)["kept"].clone()
}

pub(super) fn line(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("; ")
}

/// Resets a password with the link that Django mails; the link's token is stored in the stranger's session on the way.
pub(super) fn resets(client: &Client, beside: &[(&str, &str)]) -> Response {
    let link = client.get("/reset-link/lee").send().text();
    let to_form = client.get(&link).header("Cookie", &line(beside)).send();
    assert_eq!(to_form.status, 302, "{}", to_form.text());
    let session = to_form.set_cookie("sessionid").expect("the stranger's session");
    let at = to_form.header("location").unwrap().to_owned();
    let with = |more: &[(&str, &str)]| line(&[beside, &[("sessionid", &session)], more].concat());
    let form = client.get(&at).header("Cookie", &with(&[])).send();
    assert_eq!(form.status, 200, "{}", form.text());
    let csrf = form.set_cookie("csrftoken").expect("a form and not its refusal");
    let fields = [
        ("csrfmiddlewaretoken", &*csrf),
        ("new_password1", "quite-another-1234"),
        ("new_password2", "quite-another-1234"),
    ];
    client.post(&at).header("Cookie", &with(&[("csrftoken", &csrf)])).form(&fields).send()
}

#[test]
fn a_stranger_keeps_their_session_in_both_directions() {
    let django = Django::start();
    for (way, gateway) in ways(&django) {
        let client = gateway.client();
        let first = client.get("/public/session/keep/basket").send();
        let session = first.set_cookie("sessionid").unwrap_or_else(|| panic!("{way}: none is set"));
        let again = client.get("/public/session/tell").cookie("sessionid", &session);
        assert_eq!(kept(&again), "basket", "{way}");
        // The same with other credentials beside it that are no longer valid.
        let dead = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let beside = client
            .get("/public/session/tell")
            .header("Cookie", &line(&[(COOKIE, dead), ("sessionid", &session)]));
        assert_eq!(kept(&beside), "basket", "{way}: beside a dead session of the gateway's");
        let bearer = again.clone().bearer("no-token-at-all");
        assert_eq!(kept(&bearer), "basket", "{way}: beside a bad token");
        let quoted =
            client.get("/public/session/tell").cookie("sessionid", &format!("\"{session}\""));
        assert_eq!(kept(&quoted), "basket", "{way}: in quotes");
        assert_eq!(client.get("/session/tell").cookie("sessionid", &session).send().status, 401);

        let reset = resets(&client, &[(COOKIE, dead)]);
        assert_eq!(reset.status, 302, "{way}: {}", reset.text());
        enter(&client, "lee", "quite-another-1234");
    }
}

#[test]
fn a_session_that_claims_somebody_is_no_strangers() {
    let django = Django::start();
    let direct = Client::new(django.address);
    let kims = direct.get("/public/session/become/kim").send().set_cookie("sessionid").unwrap();
    let gateway = setup(&django, "identity = \"session\"", "").start();
    let client = gateway.client();
    for (name, value) in
        [("sessionid", kims.as_str()), ("sessionid", "no-such-session"), ("\u{a0}sessionid", &kims)]
    {
        let seen = report(&client.get("/public/session/tell").cookie(name, value));
        assert_eq!(
            (&seen["user"], &seen["cookies"]),
            (&"".into(), &Value::Array(vec![])),
            "{name}"
        );
    }
}

#[test]
fn whoever_gets_no_session_from_a_form_gets_the_services_own_sign_in() {
    let django = Django::start();
    for (way, gateway) in ways(&django) {
        let client = gateway.client();
        let page = client.get("/admin/login/").send();
        let csrf = page.set_cookie("csrftoken").unwrap();
        let fields = [
            ("csrfmiddlewaretoken", &*csrf),
            ("username", "admin"),
            ("password", "admin-pass-1234"),
        ];
        let signed_in =
            client.post("/admin/login/").cookie("csrftoken", &csrf).form(&fields).send();
        assert_eq!(signed_in.status, 302, "{way}: {}", signed_in.text());
        let session =
            signed_in.set_cookie("sessionid").unwrap_or_else(|| panic!("{way}: no cookie"));
        if way != "form" {
            // Where an issuer reads the session, it is a credential at once.
            let admin = client.get("/api/v1/whoami").cookie("sessionid", &session);
            assert_eq!(report(&admin)["meta"]["HTTP_X_USER_NAME"], "admin", "{way}");
        }
    }
}

#[test]
fn of_two_cookies_of_one_name_the_last_is_judged_and_it_alone_goes_on() {
    let django = Django::start();
    let direct = Client::new(django.address);
    let session_of = |name: &str| {
        direct
            .get(&format!("/public/session/become/{name}"))
            .send()
            .set_cookie("sessionid")
            .unwrap()
    };
    let (kim, lee) = (session_of("kim"), session_of("lee"));
    let basket = direct.get("/public/session/keep/basket").send().set_cookie("sessionid").unwrap();
    let domain = "cookie_domain = \".app.test\"";
    let gateway = setup(&django, "identity = \"session\"", &format!("{ISSUER}\n{domain}")).start();
    let client = gateway.client();
    let tell = |path: &str, first: &str, last: &str| {
        client.get(path).header(
            "Cookie",
            &line(&[("sessionid", first), ("theme", "dark"), ("sessionid", last)]),
        )
    };
    for (first, last, name) in [(&kim, &lee, "lee"), (&lee, &kim, "kim"), (&basket, &kim, "kim")] {
        let seen = report(&tell("/session/tell", first, last));
        assert_eq!(seen["user"], name);
        assert_eq!(seen["header"], name);
    }
    let stranger = report(&tell("/public/session/tell", &kim, &basket));
    assert_eq!((&stranger["user"], &stranger["kept"]), (&"".into(), &"basket".into()));
    assert!(!stranger.to_string().contains(&kim), "{stranger}");
    // A public route ignores invalid values.
    for odd in ["\u{e9}", "no-such-session", "\"half"] {
        let seen = report(&tell("/public/session/tell", &kim, odd));
        assert_eq!(seen["user"], "", "{odd}");
    }
    let dead = tell("/session/tell", &kim, "no-such-session").send();
    assert_eq!((dead.status, dead.code().as_str()), (401, "session_ended"));
    let removed = dead.all("set-cookie");
    assert_eq!(removed.len(), 2, "{removed:?}");
    assert!(removed[0].starts_with("sessionid=; Path=/; Max-Age=0"), "{removed:?}");
    assert!(
        removed[1].starts_with("sessionid=; Path=/; Domain=.app.test; Max-Age=0"),
        "{removed:?}"
    );
    // The gateway's own cookie must not occur twice.
    let (_, own) = enter(&client, "kim", "kim-pass-1234");
    let two = client
        .get("/public/session/tell")
        .header("Cookie", &line(&[(COOKIE, &own), (COOKIE, &"A".repeat(43))]))
        .send();
    assert_eq!((two.status, two.code().as_str()), (400, "bad_cookie"));
}
