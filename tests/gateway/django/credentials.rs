//! Tests credentials from before the gateway, issued by Django's own sign-ins: sessions of every engine, DRF tokens, HTTP
//! Basic.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{COOKIE, enter, report};
use crate::support::client::{Client, Request, Response};
use crate::support::django::Django;
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup};
use crate::support::redis::Redis;

/// The service's `SECRET_KEY`.
const SECRET_KEY: &str = "django-insecure-development-key-of-the-legacy-service";

/// Returns a gateway that rechecks every second and accepts what this `[[issuer]]` issued.
fn issuer(django: &Django, keys: &str) -> Setup {
    django
        .setup_with("refresh_interval = \"1s\"")
        .file("secret-key", format!("{SECRET_KEY}\n").as_bytes())
        .with(&format!("[[issuer]]\n{keys}"))
}

fn sessions(django: &Django, keys: &str) -> Gateway {
    let kind = "kind = \"django-session\"\nkey_file = \"secret-key\"\n";
    issuer(django, &format!("{kind}{keys}")).start()
}

/// Signs in at Django itself, and returns the session cookie's value.
fn at_django(django: &Django, name: &str) -> String {
    let body = json!({"username": name, "password": format!("{name}-pass-1234")});
    let response = Client::new(django.address).post("/api/v1/users/login").json(&body).send();
    assert_eq!(response.status, 200, "{}", response.text());
    response.set_cookie("sessionid").unwrap()
}

/// Signs out at Django itself.
fn out_at_django(django: &Django, session: &str) {
    let client = Client::new(django.address);
    let page = client.get("/admin/login/").cookie("sessionid", session).send();
    let csrf = page.set_cookie("csrftoken").unwrap();
    let out = client
        .post("/api/v1/users/logout")
        .header("Cookie", &format!("sessionid={session}; csrftoken={csrf}"))
        .header("X-CSRFToken", &csrf)
        .send();
    assert_eq!(out.status, 200, "{}", out.text());
}

fn whoami(client: &Client, session: &str) -> Request {
    client.get("/api/v1/whoami").cookie("sessionid", session)
}

fn is_kim(request: &Request) {
    for temperature in ["cold", "warm"] {
        let seen = report(request);
        assert_eq!(seen["meta"]["HTTP_X_USER_ID"], "2", "{temperature}: {seen}");
        assert_eq!(seen["meta"]["HTTP_X_USER_NAME"], "kim");
        assert_eq!(seen["meta"]["HTTP_COOKIE"], Value::Null, "the session stays here");
        assert_eq!(seen["meta"]["HTTP_AUTHORIZATION"], Value::Null, "and so does a token");
    }
}

/// Whether the session has ended. An ended session is refused as such, and its cookie is deleted.
fn is_dead(response: &Response) -> bool {
    if response.status != 401 {
        assert_eq!(response.status, 200, "{}", response.text());
        return false;
    }
    assert_eq!(response.code(), "session_ended");
    assert_eq!(response.set_cookie("sessionid").as_deref(), Some(""), "{:?}", response.headers);
    true
}

fn ends(request: &Request, why: &str) {
    eventually(why, || is_dead(&request.send()).then_some(()));
}

fn refused(gateway: &Gateway, issuer: &str, reason: &str) {
    gateway.logged(&format!("{issuer} to refuse with {reason}"), |line| {
        line["event"] == "issued_refused" && line["issuer"] == issuer && line["reason"] == reason
    });
}

#[test]
fn a_session_of_each_engine_is_accepted_until_django_ends_it() {
    let redis = Redis::start();
    let cache =
        format!("engine = \"cache\"\ncache = \"{}\"\ncache_prefix = \"app\"\n", redis.url());
    for (engine, keys) in
        [("db", "engine = \"db\"\n"), ("cached_db", "engine = \"cached_db\"\n"), ("cache", &*cache)]
    {
        let django = Django::start_with(&[
            ("DJANGO_SESSION_ENGINE", engine),
            ("DJANGO_CACHE_URL", &redis.url()),
            ("DJANGO_CACHE_PREFIX", "app"),
        ]);
        let session = at_django(&django, "kim");
        let gateway = sessions(&django, keys);
        let client = gateway.client();
        is_kim(&whoami(&client, &session));
        let line = gateway.logged("the session in the access log", |line| {
            line["proof"] == "issued_cookie" && line["issuer"] == "django-session"
        });
        assert_eq!(line["user"], "django/2");

        let mut tampered = session.clone();
        tampered.replace_range(..1, if session.starts_with('a') { "b" } else { "a" });
        assert!(is_dead(&whoami(&client, &tampered).send()), "{engine}");
        refused(&gateway, "django-session", "not_found");
        for short in ["", "1234567"] {
            assert_eq!(whoami(&client, short).send().status, 401, "{engine}: {short}");
        }

        out_at_django(&django, &session);
        ends(&whoami(&client, &session), &format!("{engine} to be asked again"));
    }
}

#[test]
fn a_session_that_is_a_cookie_is_accepted_and_can_be_signed_out_here() {
    let django = Django::start_with(&[("DJANGO_SESSION_ENGINE", "signed_cookies")]);
    let session = at_django(&django, "kim");
    let gateway = sessions(&django, "engine = \"signed_cookies\"\n");
    let client = gateway.client();
    is_kim(&whoami(&client, &session));
    assert!(is_dead(&whoami(&client, &format!("x{session}")).send()));
    refused(&gateway, "django-session", "bad_signature");

    let out = client.post("/logout").cookie("sessionid", &session).send();
    assert_eq!(out.status, 204);
    assert_eq!(out.set_cookie("sessionid").as_deref(), Some(""));
    assert!(is_dead(&whoami(&client, &session).send()));
    // Django itself accepts it for its full lifetime.
    let direct = Client::new(django.address);
    assert_eq!(report(&whoami(&direct, &session))["user"]["username"], "kim");
}

#[test]
fn a_session_is_refused_that_django_would_end() {
    let django = Django::start();
    let gateway = sessions(&django, "");
    let client = gateway.client();
    let (kim, lee) = (at_django(&django, "kim"), at_django(&django, "lee"));
    is_kim(&whoami(&client, &kim));
    assert_eq!(whoami(&client, &lee).send().status, 200);

    django.run("User.objects.filter(username='lee').update(is_active=False)");
    ends(&whoami(&client, &lee), "an inactive user's session to end");
    django.run("u = User.objects.get(username='kim'); u.set_password('another-1234'); u.save()");
    ends(&whoami(&client, &kim), "a session from before the password to end");
    refused(&gateway, "django-session", "password_changed");

    // The session that Django creates for the new password is valid at once.
    let body = json!({"username": "kim", "password": "another-1234"});
    let new = Client::new(django.address).post("/api/v1/users/login").json(&body).send();
    is_kim(&whoami(&client, &new.set_cookie("sessionid").unwrap()));
}

#[test]
fn what_the_settings_do_not_allow_is_refused() {
    let django = Django::start();
    let session = at_django(&django, "kim");
    for (keys, reason) in [
        ("backends = [\"shop.auth.Backend\"]", "unknown_backend"),
        ("accept_until = 2020-01-01T00:00:00Z", "no_longer_accepted"),
    ] {
        let gateway = sessions(&django, keys);
        assert!(is_dead(&whoami(&gateway.client(), &session).send()), "{keys}");
        refused(&gateway, "django-session", reason);
    }
    let another = |keys: &str| {
        issuer(&django, &format!("kind = \"django-session\"\nkey_file = \"other\"\n{keys}"))
            .file("other", b"another-key-of-a-service-with-many-characters")
            .start()
    };
    let gateway = another("");
    assert!(is_dead(&whoami(&gateway.client(), &session).send()));
    refused(&gateway, "django-session", "bad_signature");
    let gateway = another("fallback_key_files = [\"secret-key\"]");
    is_kim(&whoami(&gateway.client(), &session));

    let gateway = sessions(&django, "");
    django.run(
        "from django.contrib.sessions.models import Session\nimport datetime\n\
         Session.objects.update(expire_date=datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc))",
    );
    assert!(is_dead(&whoami(&gateway.client(), &session).send()));
    refused(&gateway, "django-session", "expired");
}

#[test]
fn a_session_in_which_nobody_is_signed_in_is_the_services_own_affair() {
    let django = Django::start();
    django.run(
        "from django.contrib.sessions.models import Session\nimport datetime\n\
         data = Session.objects.encode({'cart': 1})\n\
         end = datetime.datetime(2099, 1, 1, tzinfo=datetime.timezone.utc)\n\
         Session.objects.create(session_key='anonymous0', session_data=data, expire_date=end)",
    );
    let gateway = sessions(&django, "");
    let client = gateway.client();
    let public = client.get("/public/whoami").cookie("sessionid", "anonymous0");
    let seen = report(&public);
    assert_eq!(seen["meta"]["HTTP_COOKIE"], "sessionid=anonymous0");
    assert_eq!(seen["meta"]["HTTP_X_USER_ID"], Value::Null);
    let none = whoami(&client, "anonymous0").send();
    assert_eq!((none.status, none.set_cookie("sessionid")), (401, None), "it stays");
    // On a public route an ended session counts as anonymous, and is not forwarded to the service.
    let dead = report(&client.get("/public/whoami").cookie("sessionid", "nosuchkey"));
    assert_eq!(dead["meta"]["HTTP_COOKIE"], Value::Null);
}

#[test]
fn a_session_that_was_signed_out_reaches_the_service_under_no_spelling_of_its_name() {
    let django = Django::start();
    let session = at_django(&django, "kim");
    let gateway = sessions(&django, "");
    let client = gateway.client();
    assert_eq!(client.post("/logout").cookie("sessionid", &session).send().status, 204);
    // Django reads all of these names as `sessionid`, the gateway as other cookies.
    for name in ["\u{a0}sessionid", "sessionid\u{a0}", "\u{3000}sessionid", "\u{2003}sessionid "] {
        let line = format!("a=b; {name}={session}");
        let seen = report(&client.get("/public/whoami").header("Cookie", &line));
        assert_eq!(seen["meta"]["HTTP_COOKIE"], "a=b", "{name:?}");
    }
}

#[test]
fn a_page_elsewhere_can_do_nothing_with_it() {
    let django = Django::start();
    let session = at_django(&django, "kim");
    let gateway = issuer(
        &django,
        "kind = \"django-session\"\nkey_file = \"secret-key\"\n[[issuer]]\nkind = \"basic\"",
    )
    .start();
    let client = gateway.client();
    for (name, value) in [
        ("Cookie", format!("sessionid={session}")),
        ("Authorization", basic("kim", "kim-pass-1234")),
    ] {
        for (target, own) in [("/api/v1/whoami", false), ("/logout", true)] {
            let post = client.post(target).header(name, &value);
            let foreign = post.clone().header("Sec-Fetch-Site", "cross-site").send();
            assert_eq!((foreign.status, foreign.code()), (403, "cross_site".into()), "{target}");
            if !own {
                assert_eq!(post.header("Sec-Fetch-Site", "same-origin").send().status, 200);
            }
        }
    }
}

#[test]
fn signing_out_here_ends_it_here_at_once_and_everywhere() {
    let django = Django::start();
    let gateway = sessions(&django, "");
    let client = gateway.client();
    let (one, two) = (at_django(&django, "kim"), at_django(&django, "kim"));
    is_kim(&whoami(&client, &one));
    is_kim(&whoami(&client, &two));
    assert_eq!(client.post("/logout").cookie("sessionid", &one).send().status, 204);
    assert!(is_dead(&whoami(&client, &one).send()));
    refused(&gateway, "django-session", "ended");
    is_kim(&whoami(&client, &two));
    assert_eq!(client.post("/logout/all").cookie("sessionid", &two).send().status, 204);
    assert!(is_dead(&whoami(&client, &two).send()));
}

#[test]
fn what_ended_stays_ended_whatever_the_service_saves_and_after_a_crash() {
    let django = Django::start();
    let mut gateway = sessions(&django, "");
    let client = gateway.client();
    let (one, two) = (at_django(&django, "kim"), at_django(&django, "kim"));
    is_kim(&whoami(&client, &one));
    assert_eq!(client.post("/logout/all").cookie("sessionid", &two).send().status, 204);
    assert!(is_dead(&whoami(&client, &one).send()));
    // A request in progress saves the session, and claims that this happened after its end.
    django.run(&format!(
        "import time; now = time.time; time.time = lambda: now() + 60\n\
         from django.contrib.sessions.backends.db import SessionStore\n\
         session = SessionStore('{one}'); session['cart'] = 1; session.save()"
    ));
    assert!(is_dead(&whoami(&client, &one).send()));
    gateway.kill();
    gateway.spawn();
    assert!(is_dead(&whoami(&gateway.client(), &one).send()));
}

#[test]
fn the_gateways_own_cookie_comes_first_and_may_have_the_same_name() {
    let django = Django::start();
    let theirs = at_django(&django, "kim");
    let gateway = sessions(&django, "");
    let client = gateway.client();
    let (_, ours) = enter(&client, "lee", "lee-pass-1234");
    let both = client
        .get("/api/v1/whoami")
        .header("Cookie", &format!("sessionid={theirs}; {COOKIE}={ours}"));
    let seen = report(&both);
    assert_eq!(seen["meta"]["HTTP_X_USER_NAME"], "lee");
    assert_eq!(seen["meta"]["HTTP_COOKIE"], Value::Null);

    let gateway = issuer(&django, "kind = \"django-session\"\nkey_file = \"secret-key\"")
        .with("[session]\ncookie = \"sessionid\"\ndanger_plain_http_cookies = true")
        .start();
    let client = gateway.client();
    let body = json!({"username": "lee", "password": "lee-pass-1234"});
    let ours = client.post("/login").json(&body).send().set_cookie("sessionid").unwrap();
    assert_eq!(report(&whoami(&client, &ours))["meta"]["HTTP_X_USER_NAME"], "lee");
    is_kim(&whoami(&client, &theirs));
}

#[test]
fn a_cache_that_cannot_be_asked_stops_strangers_and_not_whom_it_has_known() {
    let mut redis = Redis::start();
    let django = Django::start_with(&[
        ("DJANGO_SESSION_ENGINE", "cache"),
        ("DJANGO_CACHE_URL", &redis.url()),
    ]);
    let (known, stranger) = (at_django(&django, "kim"), at_django(&django, "lee"));
    let gateway = sessions(&django, &format!("engine = \"cache\"\ncache = \"{}\"\n", redis.url()));
    let client = gateway.client();
    is_kim(&whoami(&client, &known));
    redis.kill();
    eventually("a look at the dead cache", || {
        assert_eq!(whoami(&client, &known).send().status, 200);
        gateway.log().iter().any(|line| line.contains("cannot be asked")).then_some(())
    });
    let refused = whoami(&client, &stranger).send();
    assert_eq!((refused.status, refused.code()), (503, "directory_unavailable".into()));
    assert_eq!(refused.set_cookie("sessionid"), None);
    // The cache comes back empty, so its sessions have ended.
    redis.run();
    ends(&whoami(&client, &known), "the cache to be asked again");
}

#[test]
fn a_pickle_that_is_more_than_data_is_never_run() {
    let redis = Redis::start();
    let django = Django::start_with(&[
        ("DJANGO_SESSION_ENGINE", "cache"),
        ("DJANGO_CACHE_URL", &redis.url()),
    ]);
    let session = at_django(&django, "kim");
    let gateway = sessions(&django, &format!("engine = \"cache\"\ncache = \"{}\"\n", redis.url()));
    let client = gateway.client();
    django.run_with(
        &[("DJANGO_SESSION_ENGINE", "cache"), ("DJANGO_CACHE_URL", &redis.url())],
        &format!(
            "from django.core.cache import cache\nimport datetime\n\
             key = 'django.contrib.sessions.cache{session}'\n\
             value = cache.get(key); value['at'] = datetime.datetime.now(); cache.set(key, value)"
        ),
    );
    assert!(is_dead(&whoami(&client, &session).send()));
    refused(&gateway, "django-session", "malformed");
}

/// Starts a gateway whose callers get a Django session, unless they have one.
fn with_form(django: &Django) -> Gateway {
    let form = format!(
        "[identity]\n[[identity.form]]\nname = \"admin\"\nkind = \"django-session\"\nkey_file = \"secret-key\"\n\
         database = \"sqlite://{}\"\n",
        django.database().display()
    );
    issuer(django, "kind = \"django-session\"\nkey_file = \"secret-key\"")
        .with(&form)
        .route("name = \"admin\"\npath = \"/admin/\"\nidentity = \"admin\"")
        .start()
}

#[test]
fn a_session_from_before_the_gateway_still_opens_the_admin_and_its_log_out_ends_it() {
    let django = Django::start();
    let session = at_django(&django, "admin");
    let gateway = with_form(&django);
    let client = gateway.client();
    let cookies = |csrf: &str| format!("sessionid={session}; csrftoken={csrf}; theme=dark");
    let page = client.get("/admin/").header("Cookie", &cookies("x")).send();
    assert_eq!(page.status, 200, "{}", page.text());
    assert!(page.text().contains("Log out"));
    // On other routes the session is a credential like any other.
    let seen = report(&client.get("/api/v1/whoami").header("Cookie", &cookies("x")));
    assert_eq!(seen["meta"]["HTTP_COOKIE"], "csrftoken=x; theme=dark");
    assert_eq!(seen["meta"]["HTTP_X_USER_NAME"], "admin");

    let login = client.get("/admin/password_change/").header("Cookie", &cookies("x")).send();
    let csrf = login.set_cookie("csrftoken").unwrap();
    let out = client
        .post("/admin/logout/")
        .header("Cookie", &cookies(&csrf))
        .form(&[("csrfmiddlewaretoken", &csrf)])
        .send();
    assert_eq!(out.status, 200, "{}", out.text());
    assert_eq!(out.set_cookie("sessionid").as_deref(), Some("\"\""), "Django's own answer");
    assert!(is_dead(&client.get("/admin/").header("Cookie", &cookies(&csrf)).send()));
}

#[test]
fn beside_the_session_that_was_checked_no_other_gets_through() {
    let django = Django::start();
    let (one, two) = (at_django(&django, "kim"), at_django(&django, "admin"));
    let gateway = with_form(&django);
    let client = gateway.client();
    assert_eq!(client.post("/logout").cookie("sessionid", &two).send().status, 204);
    // Django strips a no-break space from a cookie's name and uses the last of two; the gateway reads only the exact name.
    for line in [
        format!("sessionid={one}; \u{a0}sessionid={two}"),
        format!("sessionid={one}; sessionid\u{a0}={two}"),
        format!("\u{3000}sessionid={two}; sessionid={one}; \u{3000}sessionid={two}"),
    ] {
        let page = client.get("/admin/").header("Cookie", &line).send();
        assert_eq!(page.status, 302, "kim may not see it, and admin has signed out: {line}");
    }
}

#[test]
fn a_key_that_the_service_changes_reaches_the_browser_and_is_good_at_once() {
    let django = Django::start();
    let before = at_django(&django, "admin");
    let gateway = with_form(&django);
    let client = gateway.client();
    let target = "/admin/password_change/";
    let page = client.get(target).cookie("sessionid", &before).send();
    let csrf = page.set_cookie("csrftoken").unwrap();
    let changed = client
        .post(target)
        .header("Cookie", &format!("sessionid={before}; csrftoken={csrf}"))
        .form(&[
            ("csrfmiddlewaretoken", &csrf),
            ("old_password", "admin-pass-1234"),
            ("new_password1", "another-pass-1234"),
            ("new_password2", "another-pass-1234"),
        ])
        .send();
    assert_eq!(changed.status, 302, "{}", changed.text());
    let after = changed.set_cookie("sessionid").unwrap();
    assert_ne!(after, before);
    // The session is younger than the directory's latest check of the password.
    assert_eq!(report(&whoami(&client, &after))["meta"]["HTTP_X_USER_NAME"], "admin");
    assert!(is_dead(&whoami(&client, &before).send()), "the old key is gone");
}

#[test]
fn a_token_of_rest_framework_is_accepted_until_it_goes() {
    let django = Django::start();
    let key = "0123456789abcdef0123456789abcdef01234567";
    let other = "f123456789abcdef0123456789abcdef01234567";
    django.run(&format!(
        "from rest_framework.authtoken.models import Token\n\
         Token.objects.create(key='{key}', user=User.objects.get(username='kim'))\n\
         Token.objects.create(key='{other}', user=User.objects.get(username='lee'))"
    ));
    let gateway =
        issuer(&django, "kind = \"drf-token\"\nschemes = [\"Token\", \"Bearer\"]").start();
    let client = gateway.client();
    let with = |value: &str| client.get("/api/v1/whoami").header("Authorization", value);
    for scheme in ["Token", "token", "Bearer"] {
        is_kim(&with(&format!("{scheme} {key}")));
    }
    for (wrong, reason) in [
        ("Token 0000000000000000000000000000000000000000".to_owned(), "not_found"),
        (format!("Token {}", key.to_uppercase()), "not_found"),
        (format!("Token {}", &key[1..]), "not_found"),
    ] {
        let refusal = with(&wrong).send();
        assert_eq!((refusal.status, refusal.code()), (401, "token_not_valid".into()), "{wrong}");
        refused(&gateway, "drf-token", reason);
    }
    let lee = with(&format!("Token {other}"));
    assert_eq!(lee.send().status, 200);
    django.run("User.objects.filter(username='lee').update(is_active=False)");
    eventually("lee to be refused", || (lee.send().status == 401).then_some(()));

    let kim = with(&format!("Token {key}"));
    assert_eq!(
        client.post("/logout").header("Authorization", &format!("Token {key}")).send().status,
        204
    );
    assert_eq!(kim.send().code(), "session_ended");
}

#[test]
fn a_token_that_the_service_deletes_is_over() {
    let django = Django::start();
    let key = "0123456789abcdef0123456789abcdef01234567";
    django.run(&format!(
        "from rest_framework.authtoken.models import Token\n\
         Token.objects.create(key='{key}', user=User.objects.get(username='kim'))"
    ));
    let gateway = issuer(&django, "kind = \"drf-token\"").start();
    let request =
        gateway.client().get("/api/v1/whoami").header("Authorization", &format!("Token {key}"));
    is_kim(&request);
    django.run("from rest_framework.authtoken.models import Token\nToken.objects.all().delete()");
    eventually("the token to be looked up again", || (request.send().status == 401).then_some(()));
    refused(&gateway, "drf-token", "not_found");
}

fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

#[test]
fn a_name_and_a_password_pass_in_each_request_and_wrong_ones_are_counted() {
    let django = Django::start();
    let gateway = issuer(&django, "kind = \"basic\"").start();
    let client = gateway.client();
    let with = |value: &str| client.get("/api/v1/whoami").header("Authorization", value);
    is_kim(&with(&basic("kim", "kim-pass-1234")));
    gateway.logged("the password in the access log", |line| line["proof"] == "password");
    for wrong in [basic("kim", "wrong"), basic("nobody", "kim-pass-1234"), basic("kim", "")] {
        let refusal = with(&wrong).send();
        assert_eq!((refusal.status, refusal.code()), (401, "no_active_account".into()));
        assert!(refusal.all("www-authenticate").iter().all(|one| !one.starts_with("Basic")));
    }
    refused(&gateway, "basic", "bad_credentials");
    for broken in ["Basic a2lt", "Basic a2ltOmtpb", "Basic %%%"] {
        assert_eq!(with(broken).send().status, 401, "{broken}");
    }
    let locked = eventually("the lockout", || {
        let refusal = with(&basic("kim", "wrong")).send();
        (refusal.status == 429).then_some(refusal)
    });
    assert_eq!(locked.code(), "too_many_attempts");
    // The failures count for the sign-in too.
    let body = json!({"username": "kim", "password": "wrong"});
    assert_eq!(client.post("/login").json(&body).send().status, 429);
    // A password that was right a moment ago is not checked again.
    is_kim(&with(&basic("kim", "kim-pass-1234")));
}

#[test]
fn a_remembered_password_ends_with_the_password() {
    let django = Django::start();
    let gateway =
        issuer(&django, "kind = \"basic\"\ncache_for = \"15m\"\nchallenge = true").start();
    let client = gateway.client();
    let with = |password: &str| {
        client.get("/api/v1/whoami").header("Authorization", &basic("kim", password))
    };
    is_kim(&with("kim-pass-1234"));
    django.run("u = User.objects.get(username='kim'); u.set_password('another-1234'); u.save()");
    is_kim(&with("another-1234"));
    let refusal = eventually("the old password to be refused", || {
        let response = with("kim-pass-1234").send();
        (response.status == 401).then_some(response)
    });
    assert!(refusal.all("www-authenticate").iter().any(|one| one.starts_with("Basic realm=")));
}
