//! Tests django-rest-knox behind the gateway: the service decides how long its tokens last, and checks forwarded ones too.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::Service;
use crate::support::client::{Client, Request};
use crate::support::eventually;
use crate::support::gateway::Gateway;

/// kim's name and password, in base64.
const BASIC: &str = "Basic a2ltOmtpbS1QbHVtLTQ3MTI=";

/// Serves the project with these settings, behind a gateway with the doctor's file for it.
fn served(settings: &str) -> (Service, Gateway) {
    let settings = format!("from datetime import timedelta\nREST_KNOX = {{{settings}}}\n");
    let service = Service::start_with("knox", |folder| {
        let path = folder.join("mysite/settings.py");
        let before = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, before + &settings).unwrap();
    });
    let gateway = service.gateway().unwrap();
    (service, gateway)
}

struct Api {
    client: Client,
    host: String,
}

impl Api {
    fn of(address: std::net::SocketAddr) -> Self {
        Self { client: Client::new(address), host: format!("localhost:{}", address.port()) }
    }

    fn token(&self) -> String {
        let response =
            self.client.post("/login/").host(&self.host).header("authorization", BASIC).send();
        assert_eq!(response.status, 200, "{}", response.text());
        response.json()["token"].as_str().unwrap().to_owned()
    }

    fn example(&self, credential: &str) -> Request {
        self.client.get("/example/").host(&self.host).header("authorization", credential)
    }

    fn status(&self, token: &str) -> u16 {
        self.example(&format!("Token {token}")).send().status
    }
}

/// Waits until this much time has passed.
fn passed(since: Instant, time: Duration) {
    eventually("time to pass", || (since.elapsed() > time).then_some(()));
}

#[test]
fn a_token_in_use_goes_on_as_long_as_the_service_refreshes_it() {
    let (service, gateway) = served(
        "\"TOKEN_TTL\": timedelta(seconds=4), \"AUTO_REFRESH\": True, \"MIN_REFRESH_INTERVAL\": 0",
    );
    let (through, direct) = (Api::of(gateway.http), Api::of(service.address));
    // The token in use is obtained last: on a busy machine a sign-in takes as long as a token lives.
    let (unused, used) = (through.token(), through.token());
    let started = Instant::now();
    eventually("more than two of its times to pass", || {
        assert_eq!(through.status(&used), 200, "after {:?}", started.elapsed());
        (started.elapsed() > Duration::from_secs(9)).then_some(())
    });
    assert_eq!(through.status(&unused), 401, "nobody used it");
    let last = Instant::now();
    passed(last, Duration::from_secs(5));
    assert_eq!((through.status(&used), direct.status(&used)), (401, 401));
}

#[test]
fn a_token_ends_when_the_service_ends_it_and_not_before() {
    let (service, gateway) = served("\"TOKEN_TTL\": timedelta(seconds=3)");
    let (through, direct) = (Api::of(gateway.http), Api::of(service.address));
    let token = through.token();
    let good = Cell::new(0);
    eventually("the token to end", || {
        // The service is asked first: a token that has ended there is refused by the gateway next, and the reverse.
        let was_over = direct.status(&token) == 401;
        match through.status(&token) {
            200 => assert!(!was_over, "the gateway's answer is the service's"),
            401 => {
                assert_eq!(direct.status(&token), 401, "the gateway was first");
                return Some(());
            }
            other => panic!("{other}"),
        }
        good.set(good.get() + 1);
        None
    });
    assert!(good.get() > 3, "it was good for a while");
}

/// With a prefix, another word before the token, and tokens that do not expire.
#[test]
fn tokens_are_written_as_the_settings_say() {
    let (_service, gateway) = served(
        "\"TOKEN_PREFIX\": \"shop_\", \"AUTH_HEADER_PREFIX\": \"Bearer\", \"TOKEN_TTL\": None, \
         \"AUTH_TOKEN_CHARACTER_LENGTH\": 80",
    );
    let through = Api::of(gateway.http);
    let response =
        through.client.post("/login/").host(&through.host).header("authorization", BASIC).send();
    // knox itself fails after it has created the token if there is no expiry.
    let token = match response.status {
        200 => response.json()["token"].as_str().unwrap().to_owned(),
        other => panic!("{other}: {}", response.text()),
    };
    assert!(token.starts_with("shop_") && token.len() == 85, "{token}");
    assert_eq!(through.example(&format!("Bearer {token}")).send().status, 200);
    assert_eq!(through.example(&format!("bearer {token}")).send().status, 200);
    for wrong in
        [format!("Token {token}"), format!("Bearer {token}0"), format!("Bearer {}", &token[5..])]
    {
        assert_eq!(through.example(&wrong).send().status, 401, "{wrong}");
    }
    // The gateway's own token after the same word.
    let own = through.client.post("/login").host(&through.host);
    let own = own.json(&serde_json::json!({"username": "kim", "password": "kim-Plum-4712"})).send();
    assert_eq!(own.status, 200, "{}", own.text());
}
