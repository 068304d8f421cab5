//! A thousand clients that Django has signed in: the gateway comes, and nobody has to sign in again; it goes, and nobody
//! but those whom it signed in itself does.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::COOKIE;
use crate::support::client::{Client, Request};
use crate::support::django::Django;

/// `SECRET_KEY` of the service.
const SECRET_KEY: &str = "django-insecure-development-key-of-the-legacy-service";

/// How many came in which way. Django makes a cheap password hash dear at its first use, so those are few.
const WAYS: [(&str, usize); 5] =
    [("simplejwt", 250), ("session", 250), ("jwt-auth", 240), ("drf-token", 240), ("basic", 20)];

/// How many requests at once.
const AT_ONCE: usize = 8;

/// Each client is a user of its own: WAYS[0] are the users from 1001 on, and so forth. All have the same password.
const SIGN_IN: &str = r#"
import json, jwt
from django.conf import settings
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.contrib.sessions.backends.db import SessionStore
from django.db import transaction
from rest_framework.authtoken.models import Token
from rest_framework_simplejwt.tokens import RefreshToken

password = PBKDF2PasswordHasher().encode("client-pass-1234", "dGVzdHMtb25seS1zYWx0", iterations=1000)

def session(user):
    store = SessionStore()
    store["_auth_user_id"] = str(user.pk)
    store["_auth_user_backend"] = "django.contrib.auth.backends.ModelBackend"
    store["_auth_user_hash"] = user.get_session_auth_hash()
    store.save()
    return store.session_key

ways = {
    "simplejwt": lambda user: str(RefreshToken.for_user(user).access_token),
    "session": session,
    "jwt-auth": lambda user: jwt.encode({"id": user.id, "username": user.username}, settings.SECRET_KEY, "HS256"),
    "drf-token": lambda user: Token.objects.create(user=user).key,
    "basic": lambda user: user.username + ":client-pass-1234",
}
clients = []
with transaction.atomic():
    for way, number in WAYS:
        for _ in range(number):
            pk = 1001 + len(clients)
            user = User.objects.create(pk=pk, username=f"client-{pk}", password=password)
            clients.append({"way": way, "id": pk, "name": user.username, "holds": ways[way](user)})
with open(FILE, "w") as file:
    json.dump(clients, file)
"#;

/// A client of the service, and what Django gave it.
struct Held {
    way: String,
    id: u64,
    name: String,
    holds: String,
}

fn sign_in(django: &Django, file: &Path) -> Vec<Held> {
    let code =
        SIGN_IN.replace("WAYS", &json!(WAYS).to_string()).replace("FILE", &json!(file).to_string());
    django.run(&code);
    let clients: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let held = clients.as_array().unwrap().iter().map(|client| Held {
        way: text(&client["way"]),
        id: client["id"].as_u64().unwrap(),
        name: text(&client["name"]),
        holds: text(&client["holds"]),
    });
    held.collect()
}

impl Held {
    /// `GET` of the view that says who is calling, as this client sends it.
    fn request(&self, client: &Client) -> Request {
        let request = client.get("/api/v1/whoami");
        match &*self.way {
            "simplejwt" => request.bearer(&self.holds),
            "session" => request.cookie("sessionid", &self.holds),
            "jwt-auth" => request.header("jwt-auth", &self.holds),
            "drf-token" => request.header("Authorization", &format!("Token {}", self.holds)),
            "basic" => {
                let pair = STANDARD.encode(&self.holds);
                request.header("Authorization", &format!("Basic {pair}"))
            }
            other => panic!("{other} is no way"),
        }
    }
}

/// Whom Django found by a credential that reached it.
fn seen_by_django(report: &Value) -> Value {
    report["rest_framework"]["user"]["id"].clone()
}

/// Whom the gateway told it.
fn told_by_the_gateway(report: &Value) -> Value {
    let id = report["meta"]["HTTP_X_USER_ID"].as_str().and_then(|id| id.parse::<u64>().ok());
    json!(id)
}

/// Lets every client call once; how many were seen as who they are, by way, and what became of the others.
fn call(
    clients: &[Held],
    at: &Client,
    seen: impl Fn(&Value) -> Value + Sync,
) -> (Vec<(&'static str, usize)>, Vec<String>) {
    let next = AtomicUsize::new(0);
    let (right, wrong) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(client) = clients.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let response = client.request(at).send();
                    let is_right =
                        response.status == 200 && seen(&response.json()) == json!(client.id);
                    if is_right {
                        right.lock().unwrap().push(client.way.clone());
                    } else {
                        let what = format!("{}: {} {}", client.name, client.way, response.status);
                        wrong.lock().unwrap().push(what);
                    }
                }
            });
        }
    });
    let right = right.into_inner().unwrap();
    let count = |way: &str| right.iter().filter(|one| *one == way).count();
    (WAYS.map(|(way, _)| (way, count(way))).to_vec(), wrong.into_inner().unwrap())
}

#[test]
fn a_thousand_clients_stay_signed_in_when_the_gateway_comes_and_when_it_goes() {
    let django = Django::start();
    let folder = tempfile::tempdir().unwrap();
    let clients = sign_in(&django, &folder.path().join("clients.json"));
    assert_eq!(clients.len(), 1000);
    let direct = Client::new(django.address);
    let all = || (WAYS.to_vec(), Vec::<String>::new());
    assert_eq!(call(&clients, &direct, seen_by_django), all(), "before the gateway");

    let key = "key_file = \"secret-key\"";
    let gateway = django
        .setup()
        .file("secret-key", format!("{SECRET_KEY}\n").as_bytes())
        .with(&format!(
            "[[issuer]]\nkind = \"simplejwt\"\n{key}\n[[issuer]]\nkind = \"jwt\"\n{key}\n\
             [[issuer]]\nkind = \"django-session\"\n{key}\n[[issuer]]\nkind = \"drf-token\"\n\
             [[issuer]]\nkind = \"basic\"\n"
        ))
        .start();
    let client = gateway.client();
    for time in ["first", "second"] {
        let called = call(&clients, &client, told_by_the_gateway);
        assert_eq!(called, all(), "the {time} time behind the gateway");
    }
    let refused = gateway.metric("doorwarden_decisions_total{decision=\"refuse\"}");
    assert_eq!(refused, Some(0.0), "nobody was sent to sign in");
    assert_eq!(gateway.metric("doorwarden_signins_total{result=\"success\"}"), Some(0.0));

    // Ten of them sign in anew at the gateway meanwhile.
    let password = "client-pass-1234";
    let anew: Vec<(String, String)> = clients
        .iter()
        .take(10)
        .map(|held| {
            let body = json!({"username": held.name, "password": password});
            let response = client.post("/login").json(&body).send();
            assert_eq!(response.status, 200, "{}", response.text());
            let access = response.json()["access"].as_str().unwrap().to_owned();
            (access, response.set_cookie(COOKIE).unwrap())
        })
        .collect();
    drop(gateway);

    assert_eq!(call(&clients, &direct, seen_by_django), all(), "after the gateway");
    // What the gateway issued is nothing to Django: those ten have what they had before, or sign in once.
    for (access, cookie) in &anew {
        for request in [
            direct.get("/api/v1/whoami").bearer(access),
            direct.get("/api/v1/whoami").cookie(COOKIE, cookie),
        ] {
            assert_eq!(seen_by_django(&request.send().json()), Value::Null);
        }
    }
    let body = json!({"username": clients[0].name, "password": password});
    assert_eq!(direct.post("/api/v1/users/login").json(&body).send().status, 200);
}
