//! Tests links by mail: for unknown browsers while others guess at the account, and for setting up a first second factor.

use super::*;
use crate::second_factor::App;
use crate::support::DEVICE_COOKIE;
use crate::support::client::{Request, Response};
use crate::support::eventually;
use crate::support::gateway::run_in;

const LINK_COOKIE: &str = "__Host-doorwarden-link";
const LINK: &str = "https://app.example/login/mailed-link?token=";
const PASSWORD: &str = "correct horse battery";
const BROWSER: &str = "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8";

struct Scene {
    gateway: Gateway,
    post: Receiver,
    _upstream: Upstream,
}

fn scene(toml: &str) -> Scene {
    let (upstream, post) = (Upstream::start(), Receiver::smtp(&[]));
    let gateway = Setup::new(upstream.address)
        .behind_a_proxy()
        .file("users.toml", sharing().as_bytes())
        .with(&format!("{}{toml}", notify(&mail(&post, PLAIN))))
        .start();
    Scene { gateway, post, _upstream: upstream }
}

impl Scene {
    fn from(&self, request: Request, address: &str) -> Request {
        request.from(address.parse().unwrap())
    }

    fn login(&self, address: &str, name: &str, password: &str) -> Request {
        let login = json!({"username": name, "password": password});
        self.from(self.gateway.client().post("/login").json(&login), address)
    }

    /// Makes guesses from many networks, until unknown browsers must wait.
    fn besieged(&self, name: &str) {
        eventually("strangers to wait", || {
            (0..40).find(|n| {
                let from = format!("198.51.{n}.7");
                self.login(&from, name, "a guess").send().status == 429
            })
        });
    }

    fn ask(&self, address: &str, body: &Value, cookie: Option<&str>) -> Response {
        let request = self.gateway.client().post("/login/mailed-link").json(body);
        let request = cookie.into_iter().fold(request, |all, one| all.cookie(LINK_COOKIE, one));
        self.from(request, address).send()
    }

    /// Returns the letters with a link. There are others: about the guesses, and about a new browser.
    fn links(&self) -> Vec<Value> {
        let has_link = |letter: &Value| letter["text"].as_str().unwrap().contains(LINK);
        self.post.received().into_iter().filter(has_link).collect()
    }

    /// Returns the token of link number `count`, once it is there.
    fn token(&self, count: usize) -> String {
        let letter = eventually("the letter", || self.links().into_iter().nth(count - 1));
        assert_eq!(letter["to"], json!(["kim@example.org"]), "{letter}");
        let text = letter["text"].as_str().unwrap();
        let link = text.split_once(LINK).unwrap().1;
        link.split_whitespace().next().unwrap().to_owned()
    }

    fn open(&self, token: &str, cookie: Option<&str>) -> Response {
        let request =
            self.gateway.client().post("/login/mailed-link").json(&json!({"token": token}));
        cookie.into_iter().fold(request, |all, one| all.cookie(LINK_COOKIE, one)).send()
    }
}

#[test]
fn a_stranger_of_an_account_under_attack_is_let_in_by_a_link() {
    let scene = scene("[login]\nbackoff_initial = \"30s\"\nbackoff_max = \"15m\"\n");
    scene.besieged("kim");
    let waits = scene.login("203.0.113.9", "kim", PASSWORD).send();
    assert_eq!((waits.status, waits.code().as_str()), (429, "too_many_attempts"));
    let asked = scene.ask("203.0.113.9", &json!({"username": "kim"}), None);
    assert_eq!(asked.status, 202, "{}", asked.text());
    let cookie = asked.set_cookie(LINK_COOKIE).unwrap();
    let token = scene.token(1);

    // A program that checks links, and another browser, get nothing and do not use the link up.
    let target = format!("/login/mailed-link?token={token}");
    let elsewhere = scene.gateway.client().get(&target).header("accept", BROWSER).send();
    assert_eq!(elsewhere.status, 403);
    assert!(elsewhere.text().contains("This is another browser"), "{}", elsewhere.text());
    for other in [None, Some("A".repeat(43))] {
        let refused = scene.open(&token, other.as_deref());
        assert_eq!((refused.status, refused.code().as_str()), (403, "link_of_other_browser"));
    }
    let here = scene.gateway.client().get(&target).cookie(LINK_COOKIE, &cookie);
    for _ in 0..2 {
        let page = here.clone().header("accept", BROWSER).send();
        assert_eq!(page.status, 200, "{}", page.text());
        assert!(page.text().contains("<dd>kim</dd>"), "{}", page.text());
        assert_eq!(page.header("cache-control"), Some("no-store"));
    }
    let mut changed = token.clone();
    changed.replace_range(7..8, if &token[7..8] == "A" { "B" } else { "A" });
    assert_eq!(scene.open(&changed, Some(&cookie)).code(), "link_not_valid");

    let opened = scene.open(&token, Some(&cookie));
    assert_eq!(opened.status, 200, "{}", opened.text());
    assert_eq!(opened.json()["works_for_seconds"], 600);
    let device = opened.set_cookie(DEVICE_COOKIE).unwrap();
    let again = scene.open(&token, Some(&cookie));
    assert_eq!((again.status, again.code().as_str()), (410, "link_not_valid"));
    let with = |name: &str, password: &str| {
        scene.login("203.0.113.9", name, password).cookie(DEVICE_COOKIE, &device).send()
    };
    assert_eq!(with("kim", "a slip").status, 401, "the password is needed as ever");
    let signed_in = with("kim", PASSWORD);
    assert_eq!(signed_in.status, 200, "{}", signed_in.text());
    assert_eq!(scene.login("203.0.112.9", "kim", PASSWORD).send().status, 429, "nobody else");
    for what in ["asked", "other_browser", "opened"] {
        scene.gateway.logged(what, |line| line["event"] == "mailed_link" && line["reason"] == what);
    }
}

#[test]
fn asking_says_nothing_and_mails_three_an_hour() {
    let scene = scene("[login]\nbackoff_initial = \"30s\"\nbackoff_max = \"15m\"\n");
    for name in ["kim", "lee", "nobody"] {
        scene.besieged(name);
    }
    let mut said = Vec::new();
    // `lee` shares an address, `root` is not under attack, and the others do not exist.
    let names = ["lee", "nobody", "root", "자물쇠", "x y", "kim", "kim", "kim", "kim", "KIM"];
    for (n, name) in names.into_iter().enumerate() {
        let body = json!({"username": name});
        let answer = scene.ask(&format!("203.0.113.{n}"), &body, None);
        let cookie = answer.set_cookie(LINK_COOKIE).map(|cookie| cookie.len());
        said.push((answer.status, answer.json()["detail"].clone(), cookie));
    }
    assert!(said.iter().all(|one| *one == said[0]), "{said:#?}");
    scene.token(3);
    let channel = |result| {
        let labels = format!("channel=\"mailed-links\",result=\"{result}\"");
        format!("doorwarden_notices_total{{{labels}}}")
    };
    scene.gateway.counts(&channel("sent"), 3.0);
    scene.gateway.counts(&channel("no_address"), 2.0);
    assert_eq!(scene.links().len(), 3);
    // One address may ask ten times an hour, whatever the names.
    let refused = (0..11)
        .map(|n| scene.ask("203.0.113.99", &json!({"username": format!("x{n}")}), None))
        .find(|answer| answer.status != 202);
    let refused = refused.expect("the eleventh");
    assert_eq!((refused.status, refused.code().as_str()), (429, "too_many_attempts"));
}

#[test]
fn a_first_factor_is_set_up_by_a_link_in_place_of_an_operators_code() {
    let scene = scene("[second_factor]\nmode = \"required\"\n");
    let asked = scene.login("203.0.113.9", "kim", PASSWORD).send().json();
    assert_eq!(
        (&asked["code"], &asked["invitation_required"]),
        (&json!("enrolment_required"), &json!(true))
    );
    let link = scene.ask("203.0.113.9", &json!({"ticket": asked["ticket"]}), None);
    assert_eq!(link.status, 202, "{}", link.text());
    let cookie = link.set_cookie(LINK_COOKIE).unwrap();
    let opened = scene.open(&scene.token(1), Some(&cookie));
    assert_eq!(opened.status, 200, "{}", opened.text());
    let device = opened.set_cookie(DEVICE_COOKIE).unwrap();
    let again = scene.login("203.0.113.9", "kim", PASSWORD).cookie(DEVICE_COOKIE, &device).send();
    let again = again.json();
    assert_eq!(
        (&again["code"], &again["invitation_required"]),
        (&json!("enrolment_required"), &json!(false)),
        "{again}"
    );
    let step = |body: Value| {
        let request = scene.gateway.client().post("/login/second-factor").json(&body);
        scene.from(request.cookie(DEVICE_COOKIE, &device), "203.0.113.9").send()
    };
    let begun = step(json!({"ticket": again["ticket"], "enrol": true})).json();
    let mut app = App::new(begun["secret"].as_str().unwrap());
    let ends = json!({
        "ticket": again["ticket"], "enrolment": begun["enrolment"], "otp": app.code(), "name": "app",
    });
    let done = step(ends);
    assert_eq!(done.status, 200, "{}", done.text());
    // The link is no second factor: from now on the app's code is demanded, whoever reads the mail.
    let next = scene.login("203.0.113.9", "kim", PASSWORD).cookie(DEVICE_COOKIE, &device).send();
    assert_eq!(next.code(), "second_factor_required");
    let late = scene.ask("203.0.113.9", &json!({"ticket": next.json()["ticket"]}), Some(&cookie));
    assert_eq!((late.status, late.code().as_str()), (401, "ticket_not_valid"));
}

#[test]
fn this_was_not_me_voids_links_and_the_browsers_that_the_account_knows() {
    let scene = scene(
        "[tokens]\nrefresh_grace = \"0s\"\n[login]\nbackoff_initial = \"30s\"\nbackoff_max = \"15m\"\n",
    );
    let first = scene.login("203.0.113.9", "kim", PASSWORD).send();
    let device = first.set_cookie(DEVICE_COOKIE).unwrap();
    scene.besieged("kim");
    let from = |address: &str| {
        scene.login(address, "kim", PASSWORD).cookie(DEVICE_COOKIE, &device).send().status
    };
    assert_eq!(from("203.0.112.9"), 200, "a known browser goes on");
    let asked = scene.ask("198.18.0.9", &json!({"username": "kim"}), None);
    let (cookie, token) = (asked.set_cookie(LINK_COOKIE).unwrap(), scene.token(1));

    let refresh = json!({"refresh": first.json()["refresh"]});
    for status in [200, 401] {
        let answer = scene.gateway.client().post("/refresh").json(&refresh).send();
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    let not_me = eventually("the letter", || {
        let letters = scene.post.received();
        letters.iter().find_map(|letter| {
            let start = "https://app.example/incident?answer=not-me&token=";
            let (_, rest) = letter["text"].as_str().unwrap().split_once(start)?;
            rest.split_whitespace().next().map(str::to_owned)
        })
    });
    let answer = scene.gateway.client().post("/incident");
    let answer = answer.form(&[("token", &not_me), ("answer", "not-me")]).send();
    assert_eq!(answer.status, 200, "{}", answer.text());

    assert_eq!(from("203.0.111.9"), 429, "it is a stranger's now");
    assert_eq!(scene.open(&token, Some(&cookie)).code(), "link_not_valid");
}

/// The note tells operators what happens to their users while somebody guesses at their accounts.
#[test]
fn check_says_what_is_left_to_strangers_where_nothing_can_be_mailed() {
    let upstream = Upstream::start();
    let mail = "[notify.mail]\nhost = \"mail.example\"\nfrom = \"a@example.com\"\n\
                public_url = \"https://app.example\"\npassword_change_url = \"/password/\"\n";
    let off = format!("{mail}[paths]\nmailed_link = false\n");
    for (toml, is_said) in
        [("", true), (mail, false), (&off, true), ("[paths]\nlogin = false\n", false)]
    {
        let folder = Setup::new(upstream.address).with(toml).prepare();
        let checked = run_in(folder.path(), &["check", "--file-only"], "");
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
        let checked = String::from_utf8_lossy(&checked.stdout).into_owned();
        assert_eq!(checked.contains("note: "), is_said, "{toml}: {checked}");
    }
}
