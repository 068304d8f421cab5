//! Tests dj-rest-auth's own front end with the gateway in place of its views: the same requests to both, member by member.

use serde_json::{Value, json};

use super::Service;
use crate::support::client::{Client, Request, Response};
use crate::support::gateway::{Gateway, Setup};

/// Returns the secret key in `tests/projects/dj_rest_auth/mysite/settings.py`.
fn secret_key(service: &Service) -> String {
    let settings =
        std::fs::read_to_string(service.folder.path().join("mysite/settings.py")).unwrap();
    let line = settings.lines().find(|line| line.starts_with("SECRET_KEY = ")).unwrap();
    line.split_once('\'').unwrap().1.trim_end_matches('\'').to_owned()
}

fn gateway(service: &Service) -> Gateway {
    let alias = |path: &str, to: &str| {
        format!(
            "[[paths.alias]]\npath = \"/api/auth/{path}/\"\nto = \"{to}\"\nshape = \"dj-rest-auth\"\nexpiration = true\n\
             access_cookie = \"access-token\"\nrefresh_cookie = \"refresh-token\"\n\
             user = {{ pk = \"{{user.id:int}}\", username = \"{{user.name}}\", email = \"{{user.email}}\", first_name = \"Kim\", last_name = \"\" }}\n"
        )
    };
    let key = "key_file = \"secret-key\"\ndanger_weak_key = true";
    let database = service.folder.path().join("db.sqlite3");
    Setup::new(service.address)
        .directories(&format!("[[directory]]\nkind = \"django\"\ndatabase = \"sqlite://{}\"\n", database.display()))
        .file("secret-key", secret_key(service).as_bytes())
        .with(&format!(
            "[[issuer]]\nkind = \"simplejwt\"\n{key}\ncookie = \"access-token\"\ntake_over_refresh = true\n"
        ))
        .with(&format!("[[identity.form]]\nname = \"drf\"\nkind = \"simplejwt\"\n{key}\n"))
        .with(&alias("login", "login"))
        .with(&alias("token/refresh", "refresh"))
        .with(&alias("logout", "logout"))
        .route("name = \"api\"\npath = \"/api/\"\nidentity = { cookie = \"drf\", bearer = \"drf\" }")
        .start()
}

/// Reads status and body, with placeholders for tokens and dates.
fn read(response: &Response) -> (u16, Value) {
    let mut body = response.json();
    for (name, value) in body.as_object_mut().unwrap() {
        match name.as_str() {
            "access" => {
                assert_eq!(value.as_str().unwrap().split('.').count(), 3);
                *value = json!("a token");
            }
            "access_expiration" | "refresh_expiration" => {
                let text = value.as_str().unwrap();
                assert!(
                    text.len() == "2026-11-29T13:47:48.120000Z".len() && text.ends_with('Z'),
                    "{text}"
                );
                *value = json!("a date");
            }
            _ => {}
        }
    }
    (response.status, body)
}

/// Returns each cookie that is set: its name, whether it is deleted, and its attributes, except for `Secure`, which only
/// the gateway sets, and the way its expiry is written.
fn cookies(response: &Response) -> Vec<(String, bool, Vec<String>)> {
    let mut all: Vec<_> = response
        .sets()
        .into_iter()
        .map(|line| {
            let mut parts = line.split("; ");
            let (name, value) = parts.next().unwrap().split_once('=').unwrap();
            let is_end = |part: &&str| {
                !["expires=", "max-age=", "secure"]
                    .iter()
                    .any(|end| part.to_lowercase().starts_with(end))
            };
            let is_removal = value.trim_matches('"').is_empty();
            // A browser that deletes a cookie ignores this attribute.
            let counts = |part: &&str| !(is_removal && *part == "HttpOnly");
            let mut rest: Vec<String> =
                parts.filter(is_end).filter(counts).map(str::to_owned).collect();
            rest.sort();
            (name.to_owned(), is_removal, rest)
        })
        .collect();
    all.sort();
    all
}

struct FrontEnd {
    client: Client,
    host: String,
}

impl FrontEnd {
    fn post(&self, path: &str, body: &Value) -> Request {
        self.client.post(&format!("/api/auth/{path}/")).host(&self.host).json(body)
    }

    fn who_am_i(&self, access: &str) -> Response {
        let request = self.client.get("/api/auth/user/").host(&self.host);
        request.cookie("access-token", access).send()
    }
}

#[test]
fn dj_rest_auths_front_end_finds_no_difference() {
    let service = Service::start("dj_rest_auth");
    let gateway = gateway(&service);
    let front_end = |address: std::net::SocketAddr| FrontEnd {
        client: Client::new(address),
        host: format!("localhost:{}", address.port()),
    };
    let (direct, through) = (front_end(service.address), front_end(gateway.http));
    let script = |front_end: &FrontEnd, name: &str, value: &str| -> Vec<(&str, Response)> {
        let with = |password: &str| json!({name: value, "password": password});
        let good = front_end.post("login", &with("kim-Plum-4712")).send();
        assert_eq!(good.status, 200, "{}", good.text());
        let refresh = good.set_cookie("refresh-token").unwrap_or_default();
        let refreshed =
            front_end.post("token/refresh", &json!({})).cookie("refresh-token", &refresh).send();
        let next = refreshed.set_cookie("refresh-token").unwrap_or_default();
        let access = refreshed.set_cookie("access-token").unwrap_or_default();
        vec![
            ("a sign-in", good),
            ("a wrong password", front_end.post("login", &with("wrong")).send()),
            ("no password", front_end.post("login", &json!({name: value})).send()),
            ("a blank password", front_end.post("login", &with("")).send()),
            ("a refresh", refreshed),
            ("a refresh of nothing", front_end.post("token/refresh", &json!({})).send()),
            (
                "a refresh of garbage",
                front_end.post("token/refresh", &json!({"refresh": "a.b.c"})).send(),
            ),
            ("who am I", front_end.who_am_i(&access)),
            (
                "a sign-out",
                front_end.post("logout", &json!({})).cookie("refresh-token", &next).send(),
            ),
        ]
    };
    // The service's settings demand the mail address, and the directory the name.
    let theirs = script(&direct, "email", "kim@example.com");
    let ours = script(&through, "username", "kim");
    for ((what, ours), (_, theirs)) in ours.iter().zip(&theirs) {
        if *what == "who am I" {
            assert_eq!((ours.status, ours.text()), (theirs.status, theirs.text()));
            continue;
        }
        assert_eq!(read(ours), read(theirs), "{what}");
        assert_eq!(cookies(ours), cookies(theirs), "{what}");
    }

    // A user who signed in before the gateway came can go on with the service's own cookies.
    let before = direct
        .post("login", &json!({"email": "kim@example.com", "password": "kim-Plum-4712"}))
        .send();
    let cookie = |name: &str| before.set_cookie(name).unwrap();
    assert_eq!(through.who_am_i(&cookie("access-token")).status, 200);
    let refreshed =
        through.post("token/refresh", &json!({})).cookie("refresh-token", &cookie("refresh-token"));
    let refreshed = refreshed.send();
    assert_eq!(refreshed.status, 200, "{}", refreshed.text());
    assert_eq!(through.who_am_i(&refreshed.set_cookie("access-token").unwrap()).status, 200);
}

/// If the gateway handles the sign-in of pages, the package's own views still issue tokens, and the gateway reads them.
#[test]
fn dj_rest_auths_own_views_go_on_where_the_gateway_signs_people_in() {
    let service = Service::start_with("dj_rest_auth", |folder| {
        let path = folder.join("mysite/settings.py");
        let stock = "AUTHENTICATION_BACKENDS = ['django.contrib.auth.backends.ModelBackend']\n\
                     ACCOUNT_LOGIN_METHODS = {'username'}\nACCOUNT_AUTHENTICATION_METHOD = 'username'\n\
                     ACCOUNT_EMAIL_VERIFICATION = 'none'\n";
        let before = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, before + stock).unwrap();
    });
    let gateway = service.gateway().unwrap();
    let toml = std::fs::read_to_string(gateway.folder().join("gateway.toml")).unwrap();
    assert!(
        !toml.contains("mode = \"follow\"") && toml.contains("cookie = \"access-token\""),
        "{toml}"
    );
    let through =
        FrontEnd { client: gateway.client(), host: format!("localhost:{}", gateway.http.port()) };
    let signed_in =
        through.post("login", &json!({"username": "kim", "password": "kim-Plum-4712"})).send();
    assert_eq!(signed_in.status, 200, "{}", signed_in.text());
    let cookie = |response: &Response, name: &str| response.set_cookie(name).unwrap();
    let (access, refresh) =
        (cookie(&signed_in, "access-token"), cookie(&signed_in, "refresh-token"));
    assert_eq!(through.who_am_i(&access).json()["username"], json!("kim"));
    let elsewhere = through.client.request("PATCH", "/api/auth/user/").host(&through.host);
    let elsewhere = elsewhere.header("origin", "https://evil.test").cookie("access-token", &access);
    let refused = elsewhere.json(&json!({"first_name": "Mallory"})).send();
    assert_eq!((refused.status, refused.code().as_str()), (403, "cross_site"));
    let refreshed =
        through.post("token/refresh", &json!({})).cookie("refresh-token", &refresh).send();
    assert_eq!(refreshed.status, 200, "{}", refreshed.text());
    let (next, last) = (cookie(&refreshed, "access-token"), cookie(&refreshed, "refresh-token"));
    assert_eq!(through.who_am_i(&next).json()["username"], json!("kim"));
    let out = through
        .post("logout", &json!({}))
        .cookie("access-token", &next)
        .cookie("refresh-token", &last);
    assert_eq!(out.send().status, 200);
    // dj-rest-auth itself would accept it until it expires.
    assert_eq!(through.who_am_i(&next).code(), "session_ended");
}
