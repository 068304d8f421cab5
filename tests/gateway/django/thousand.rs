//! Tests a thousand clients that Django has signed in: when the gateway comes, nobody has to sign in again; when it goes,
//! only those who no longer hold any credential of Django's.
//!
//! Each client does what its program does: it calls with the credential that it has, and if that is refused and it has a
//! refresh token, it refreshes and calls once more. It then uses what it received last, so in the end each has what a real
//! client would have. The clients are grouped by way of signing in, a row for each; the test prints the table.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::COOKIE;
use crate::support::client::{Client, Request, Response};
use crate::support::django::{CHEAP_PASSWORDS, Django};
use crate::support::gateway::Gateway;

/// The service's `SECRET_KEY`.
const SECRET_KEY: &str = "django-insecure-development-key-of-the-legacy-service";
const PASSWORD: &str = "client-pass-1234";

/// The service's path, and the gateway's alias for it, which does not rotate the token.
const REFRESH: &str = "/api/v1/users/login/simpleJWT/refresh";
/// The service has no such path: here the gateway's tokens are for a single use.
const REFRESH_ONCE: &str = "/refresh";
const OBTAIN: &str = "/api/v1/users/login/simpleJWT";

/// The number of concurrent requests.
const AT_ONCE: usize = 8;

/// The clients of one way, and how many of them are signed in at which stage.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Row {
    way: &'static str,
    before: usize,
    behind: usize,
    again_behind: usize,
    after: usize,
    /// The clients that had to sign in again after the gateway was gone, and could.
    anew: usize,
}

/// Returns a way whose clients never have to sign in again.
const fn stay(way: &'static str, number: usize) -> Row {
    Row { way, before: number, behind: number, again_behind: number, after: number, anew: 0 }
}

const WAYS: [Row; 8] = [
    stay("simplejwt access", 200),
    // Clients of both ways hold an expired access token and a refresh token.
    stay("simplejwt refresh, kept", 100),
    // In the end these hold the gateway's tokens.
    Row { after: 0, anew: 100, ..stay("simplejwt refresh, rotated", 100) },
    stay("django session", 200),
    stay("jwt-auth", 150),
    stay("drf-token", 150),
    stay("basic", 100),
    // These are not among the thousand: they come while the gateway is there, and hold only what it issued to them.
    Row {
        way: "signed in at the gateway",
        before: 0,
        behind: 20,
        again_behind: 20,
        after: 0,
        anew: 20,
    },
];

/// The number of clients that refresh behind the gateway.
const REFRESHING: usize = WAYS[1].before + WAYS[2].before;

/// Each client is a user of its own: those of WAYS[0] are the users from 1001 on, and so forth.
const SIGN_IN: &str = r#"
import json, jwt
from datetime import timedelta
from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.contrib.sessions.backends.db import SessionStore
from django.db import transaction
from rest_framework.authtoken.models import Token
from rest_framework_simplejwt.tokens import RefreshToken

password = make_password(PASSWORD)

def session(user):
    store = SessionStore()
    store["_auth_user_id"] = str(user.pk)
    store["_auth_user_backend"] = "django.contrib.auth.backends.ModelBackend"
    store["_auth_user_hash"] = user.get_session_auth_hash()
    store.save()
    return store.session_key

def expired(user):
    refresh = RefreshToken.for_user(user)
    access = refresh.access_token
    access.set_exp(lifetime=-timedelta(minutes=1))
    return str(access), str(refresh)

ways = {
    "simplejwt access": lambda user: str(RefreshToken.for_user(user).access_token),
    "simplejwt refresh, kept": expired,
    "simplejwt refresh, rotated": expired,
    "django session": session,
    "jwt-auth": lambda user: jwt.encode({"id": user.id, "username": user.username}, settings.SECRET_KEY, "HS256"),
    "drf-token": lambda user: Token.objects.create(user=user).key,
    "basic": lambda user: user.username + ":" + PASSWORD,
    "signed in at the gateway": lambda user: "nothing",
}
clients = []
with transaction.atomic():
    for way, number in WAYS:
        for _ in range(number):
            pk = 1001 + len(clients)
            user = User.objects.create(pk=pk, username=f"client-{pk}", password=password)
            holds = ways[way](user)
            holds, refresh = holds if isinstance(holds, tuple) else (holds, None)
            clients.append({"way": way, "id": pk, "name": user.username, "holds": holds, "refresh": refresh})
with open(FILE, "w") as file:
    json.dump(clients, file)
"#;

/// A client of the service, and what it holds.
#[derive(Clone, Debug)]
struct Held {
    way: &'static str,
    id: u64,
    name: String,
    holds: String,
    refresh: Option<String>,
}

/// The result of a client's call.
#[derive(Debug)]
struct Called {
    /// Whether the client was recognized as its user.
    is_signed_in: bool,
    /// The answer to its refresh token, if it had to refresh.
    refreshed: Option<Response>,
    /// The client with the credentials that it holds now.
    client: Held,
}

fn sign_in(django: &Django, file: &Path) -> Vec<Held> {
    let ways = WAYS.map(|row| (row.way, row.behind));
    let code = SIGN_IN
        .replace("PASSWORD", &json!(PASSWORD).to_string())
        .replace("WAYS", &json!(ways).to_string())
        .replace("FILE", &json!(file).to_string());
    django.run_with(&[CHEAP_PASSWORDS], &code);
    let clients: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let held = clients.as_array().unwrap().iter().map(|client| Held {
        way: WAYS.iter().find(|row| client["way"] == row.way).unwrap().way,
        id: client["id"].as_u64().unwrap(),
        name: text(&client["name"]).unwrap(),
        holds: text(&client["holds"]).unwrap(),
        refresh: text(&client["refresh"]),
    });
    held.collect()
}

impl Held {
    /// Returns the `GET` of the view that reports the caller, as this client sends it.
    fn request(&self, client: &Client) -> Request {
        let request = client.get("/api/v1/whoami");
        match self.way {
            "django session" => request.cookie("sessionid", &self.holds),
            "jwt-auth" => request.header("jwt-auth", &self.holds),
            "drf-token" => request.header("Authorization", &format!("Token {}", self.holds)),
            "basic" => {
                let pair = STANDARD.encode(&self.holds);
                request.header("Authorization", &format!("Basic {pair}"))
            }
            _ => request.bearer(&self.holds),
        }
    }

    /// Calls once; if that is refused and the client can refresh, refreshes at this path and calls again.
    fn call(mut self, at: &Client, path: &str, seen: impl Fn(&Value) -> Value) -> Called {
        let is_seen = |client: &Self| {
            let response = client.request(at).send();
            response.status == 200 && seen(&response.json()) == json!(client.id)
        };
        let mut is_signed_in = is_seen(&self);
        let mut refreshed = None;
        if let (false, Some(token)) = (is_signed_in, &self.refresh) {
            let response = at.post(path).json(&json!({"refresh": token})).send();
            if response.status == 200 {
                let body = response.json();
                self.holds = body["access"].as_str().unwrap().to_owned();
                if let Some(next) = body["refresh"].as_str() {
                    self.refresh = Some(next.to_owned());
                }
                is_signed_in = is_seen(&self);
            }
            refreshed = Some(response);
        }
        Called { is_signed_in, refreshed, client: self }
    }

    /// Returns the path where it refreshes while the gateway is there.
    fn path_behind(&self) -> &'static str {
        if self.way == "simplejwt refresh, rotated" { REFRESH_ONCE } else { REFRESH }
    }

    /// Signs in with name and password.
    fn sign_in(&self, at: &Client, path: &str) -> Response {
        at.post(path).json(&json!({"username": self.name, "password": PASSWORD})).send()
    }
}

/// Returns the user that Django found by a credential that reached it.
fn seen_by_django(report: &Value) -> Value {
    report["rest_framework"]["user"]["id"].clone()
}

/// Returns the user that the gateway's header names.
fn told_by_the_gateway(report: &Value) -> Value {
    let id = report["meta"]["HTTP_X_USER_ID"].as_str().and_then(|id| id.parse::<u64>().ok());
    json!(id)
}

/// Runs a function for each client, several at a time, and returns the results in the clients' order.
fn each<T: Send>(clients: &[Held], act: impl Fn(&Held) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(client) = clients.get(number) else { break };
                    let result = act(client);
                    results.lock().unwrap().push((number, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap();
    results.sort_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Lets every client call Django itself.
fn call_django(clients: &[Held], direct: &Client) -> Vec<Called> {
    each(clients, |held| held.clone().call(direct, REFRESH, seen_by_django))
}

/// Returns how many clients of a way satisfy a condition.
fn count(called: &[Called], way: &str, is: impl Fn(&Called) -> bool) -> usize {
    called.iter().filter(|called| called.client.way == way && is(called)).count()
}

fn behind(django: &Django) -> Gateway {
    let key = "key_file = \"secret-key\"";
    let setup = django.setup().file("secret-key", format!("{SECRET_KEY}\n").as_bytes());
    setup
        .with(&format!(
            "[[issuer]]\nkind = \"simplejwt\"\n{key}\ntake_over_refresh = true\n\
             [[issuer]]\nkind = \"jwt\"\n{key}\n[[issuer]]\nkind = \"django-session\"\n{key}\n\
             [[issuer]]\nkind = \"drf-token\"\n[[issuer]]\nkind = \"basic\"\n\
             [[paths.alias]]\npath = \"{REFRESH}\"\nto = \"refresh\"\nrotation = \"none\"\n"
        ))
        .start()
}

fn print(table: &[Row]) {
    let line = |way: &str, numbers: [&str; 5]| {
        let [before, behind, again, after, anew] = numbers;
        eprintln!("{way:<28}{before:>8}{behind:>8}{again:>8}{after:>8}{anew:>16}");
    };
    line("", ["before", "behind", "again", "after", "to sign in anew"]);
    let numbers = |row: &Row| [row.before, row.behind, row.again_behind, row.after, row.anew];
    let mut total = [0; 5];
    for row in table {
        let numbers = numbers(row);
        total.iter_mut().zip(numbers).for_each(|(sum, number)| *sum += number);
        line(row.way, numbers.map(|number| number.to_string()).each_ref().map(String::as_str));
    }
    line("all", total.map(|number| number.to_string()).each_ref().map(String::as_str));
}

#[test]
fn a_thousand_clients_stay_signed_in_when_the_gateway_comes_and_when_it_goes() {
    let django = Django::start_with(&[CHEAP_PASSWORDS]);
    let folder = tempfile::tempdir().unwrap();
    let clients = sign_in(&django, &folder.path().join("clients.json"));
    assert_eq!(WAYS.map(|row| row.before).iter().sum::<usize>(), 1000);
    let direct = Client::new(django.address);
    // The clients do not keep what Django gives them here, so that those who must refresh do so behind the gateway too.
    let before = call_django(&clients, &direct);

    let gateway = behind(&django);
    let client = gateway.client();
    // These sign in at the gateway itself. For all others nothing has changed.
    let clients: Vec<Held> = each(&clients, |held| {
        let mut held = held.clone();
        if held.way == "signed in at the gateway" {
            let response = held.sign_in(&client, "/login");
            assert_eq!(response.status, 200, "{}", response.text());
            held.holds = response.json()["access"].as_str().unwrap().to_owned();
            held.refresh = Some(response.json()["refresh"].as_str().unwrap().to_owned());
            let cookie = response.set_cookie(COOKIE).unwrap();
            let request = direct.get("/api/v1/whoami").cookie(COOKIE, &cookie);
            assert_eq!(seen_by_django(&request.send().json()), Value::Null);
        }
        held
    });
    let call_gateway = |clients: &[Held]| {
        each(clients, |held| held.clone().call(&client, held.path_behind(), told_by_the_gateway))
    };
    let first = call_gateway(&clients);
    let clients: Vec<Held> = first.iter().map(|called| called.client.clone()).collect();
    let second = call_gateway(&clients);
    assert!(second.iter().all(|called| called.refreshed.is_none()), "who refreshed has enough");

    let number = |metric: &str| gateway.metric(metric).map(|number| number as usize);
    let refused = number("doorwarden_decisions_total{decision=\"refuse\"}");
    assert_eq!(refused, Some(REFRESHING), "none but an expired access token, once each");
    assert_eq!(number("doorwarden_sessions_taken_over_total"), Some(REFRESHING));
    let signed_in = number("doorwarden_signins_total{result=\"success\"}");
    assert_eq!(signed_in, Some(WAYS[7].behind), "nobody else was sent to sign in");
    drop(gateway);

    let clients: Vec<Held> = second.iter().map(|called| called.client.clone()).collect();
    let after = call_django(&clients, &direct);
    let lost = after.iter().filter(|called| !called.is_signed_in);
    let lost: Vec<Held> = lost.map(|called| called.client.clone()).collect();
    let anew = each(&lost, |held| held.sign_in(&direct, OBTAIN).status == 200);
    let table = WAYS.map(|Row { way, .. }| Row {
        way,
        before: count(&before, way, |called| called.is_signed_in),
        behind: count(&first, way, |called| called.is_signed_in),
        again_behind: count(&second, way, |called| called.is_signed_in),
        after: count(&after, way, |called| called.is_signed_in),
        anew: lost.iter().zip(&anew).filter(|(held, could)| held.way == way && **could).count(),
    });
    print(&table);
    assert_eq!(table, WAYS);

    let refreshed = |called: &[Called], way| count(called, way, |one| one.refreshed.is_some());
    for Row { way, .. } in &WAYS[1..3] {
        for called in [&before, &first] {
            assert_eq!(refreshed(called, way), 100, "{way}: with an expired access token");
        }
    }
    // The reason: their refresh token is the gateway's, which Django never signed.
    for Called { client, refreshed, .. } in after.iter().filter(|called| !called.is_signed_in) {
        let refreshed = refreshed.as_ref().unwrap();
        assert_eq!(refreshed.status, 401, "{}: {}", client.name, refreshed.text());
        assert_eq!(refreshed.json()["code"], "token_not_valid", "{}", client.name);
    }
    // Clients whose token was kept have refreshed with it once more, and now have Django's own access token.
    assert_eq!(refreshed(&after, WAYS[1].way), 100);
}
