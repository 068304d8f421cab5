//! Tests the pages about mailed links in a browser, and that they lead to the page that the person wanted.

use std::path::PathBuf;

use super::*;
use crate::accessibility::Looks;
use crate::second_factor::App;
use crate::support::browser::Browser;
use crate::support::eventually;

const LINK: &str = "https://app.example/login/mailed-link?token=";
const WAITS: &str = "[login]\nbackoff_initial = \"30s\"\nbackoff_max = \"15m\"\n";
const HTML: &str = "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8";

fn at(gateway: &Gateway, path: &str) -> String {
    format!("http://localhost:{}{path}", gateway.http.port())
}

/// Starts a gateway, and guesses at each of these names from many networks, so that unknown browsers must wait.
fn besieged(upstream: &Upstream, post: &Receiver, names: &[&str]) -> Gateway {
    let toml = notify(&mail(post, PLAIN));
    let gateway = Setup::new(upstream.address)
        .behind_a_proxy()
        .file("users.toml", people().as_bytes())
        .with(&format!("{toml}{WAITS}title = \"Acme\"\n"))
        .start();
    for name in names {
        eventually("strangers to wait", || {
            (0..40).find(|n| {
                let from = format!("198.51.{n}.7").parse().unwrap();
                let login = json!({"username": name, "password": "a guess"});
                let guess = gateway.client().post("/login").json(&login).from(from).send();
                guess.status == 429
            })
        });
    }
    gateway
}

/// Returns the letters with a link to this address.
fn letters(post: &Receiver, address: &str) -> Vec<Value> {
    let is_one = |letter: &Value| {
        letter["to"] == json!([address]) && letter["text"].as_str().unwrap().contains(LINK)
    };
    post.received().into_iter().filter(is_one).collect()
}

/// Returns the path of link number `count`, once it is there. The letter does not contain the page that the person wanted.
fn link(post: &Receiver, address: &str, count: usize) -> String {
    let letter = eventually("the letter", || letters(post, address).into_iter().nth(count - 1));
    for part in ["text", "html"] {
        assert!(!letter[part].as_str().unwrap().contains("reports"), "{letter}");
    }
    let text = letter["text"].as_str().unwrap();
    let token = text.split_once(LINK).unwrap().1.split_whitespace().next().unwrap();
    assert!(token.len() == 43 && !token.contains('&'), "{token}");
    format!("/login/mailed-link?token={token}")
}

fn try_to_sign_in(browser: &Browser, name: &str, password: &str) {
    browser.run("document.querySelector('#username').value = ''");
    browser.fill("#username", name);
    browser.fill("#password", password);
    browser.follow("main > form button");
}

#[test]
fn everybody_can_read_and_use_them_and_lands_where_they_wanted() {
    let (upstream, post) = (Upstream::start(), Receiver::smtp(&[]));
    let gateway = besieged(&upstream, &post, &["kim", "lee"]);
    let pictures = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("mailed-link");
    std::fs::create_dir_all(&pictures).unwrap();
    let mut looks = Looks::new();
    let people = [
        ("en", "kim", "kim@example.org", "correct horse battery"),
        ("ko", "lee", "lee@example.org", "staple 한글 암호"),
    ];
    let browsers = people.map(|(lang, name, _, password)| {
        let browser = Browser::start();
        browser.prefer("light", lang);
        browser.open(&at(&gateway, "/reports/?page=2"));
        assert_eq!(browser.url(), at(&gateway, "/login?next=/reports/%3Fpage%3D2"));
        try_to_sign_in(&browser, name, password);
        looks.at_widths(&browser, ("offered", lang), &pictures);
        browser.follow("form:has(#link-hint) button");
        looks.at_widths(&browser, ("asked", lang), &pictures);
        browser
    });
    let links = people.map(|(_, _, address, _)| link(&post, address, 1));
    for (n, (lang, ..)) in people.into_iter().enumerate() {
        browsers[n].open(&at(&gateway, &links[1 - n]));
        looks.at_widths(&browsers[n], ("other", lang), &pictures);
    }
    for (n, (lang, name, _, password)) in people.into_iter().enumerate() {
        let browser = &browsers[n];
        browser.open(&at(&gateway, &links[n]));
        assert_eq!(browser.text("dd"), name);
        looks.at_widths(browser, ("link", lang), &pictures);
        browser.follow("main > form button");
        looks.at_widths(browser, ("opened", lang), &pictures);
        browser.follow("a.button");
        try_to_sign_in(browser, name, password);
        assert_eq!(browser.url(), at(&gateway, "/reports/?page=2"), "{lang}");
        browser.open(&at(&gateway, &links[n]));
        looks.at_widths(browser, ("gone", lang), &pictures);
    }
    looks.none(12);
}

#[test]
fn it_leads_to_a_path_on_this_host_or_to_the_start_page() {
    let (upstream, post) = (Upstream::start(), Receiver::smtp(&[]));
    let gateway = besieged(&upstream, &post, &["kim", "lee"]);
    let long = format!("/reports/{}", "a".repeat(9000));
    let rows = [
        ("kim", "/reports/?a=1&b=%20", "/login?next=/reports/%3Fa%3D1%26b%3D%2520"),
        ("kim", "//reports.example/", "/login"),
        ("kim", "https://reports.example/", "/login"),
        ("lee", "/\\reports.example", "/login"),
        ("lee", &long, "/login"),
        ("lee", "", "/login"),
    ];
    let mut counts = [0, 0];
    for (name, next, leads_to) in rows {
        let client = gateway.client();
        let asked = client.post("/login/mailed-link").header("accept", HTML);
        let asked = asked.form(&[("username", name), ("next", next)]).send();
        assert_eq!(asked.status, 200, "{}", asked.text());
        let cookie = asked.set_cookie("__Host-doorwarden-link").unwrap();
        let count = &mut counts[usize::from(name == "lee")];
        *count += 1;
        let link = link(&post, &format!("{name}@example.org"), *count);
        let token = link.split_once('=').unwrap().1;
        // A page that is named beside the link is ignored.
        let opened = client.post("/login/mailed-link").header("accept", HTML);
        let opened = opened.cookie("__Host-doorwarden-link", &cookie);
        let opened = opened.form(&[("token", token), ("next", "/elsewhere")]).send();
        assert_eq!(opened.status, 200, "{}", opened.text());
        let page = opened.text();
        assert!(
            page.contains(&format!("<a class=\"button\" href=\"{leads_to}\">")),
            "{next}: {page}"
        );
    }
}

#[test]
fn whoever_sets_up_a_first_factor_by_a_link_lands_where_they_wanted() {
    let (upstream, post) = (Upstream::start(), Receiver::smtp(&[]));
    let gateway = setup(&upstream)
        .with(&format!("{}[second_factor]\nmode = \"required\"\n", notify(&mail(&post, PLAIN))))
        .start();
    let browser = Browser::start();
    let sign_in = || {
        try_to_sign_in(&browser, "kim", "correct horse battery");
        assert_eq!(browser.value("input[name=next]"), "/reports/");
    };
    browser.open(&at(&gateway, "/reports/"));
    sign_in();
    // From the page that offers the link, and from the one that shows the secret.
    browser.follow("main > form button");
    browser.follow("form:has(#link-hint) button");
    browser.open(&at(&gateway, &link(&post, "kim@example.org", 1)));
    browser.follow("main > form button");
    browser.follow("a.button");
    sign_in();
    browser.follow("main > form button");
    assert_eq!(browser.count("#invitation"), 0);
    let mut app = App::new(&browser.text("code.secret"));
    browser.fill("#otp", &app.code());
    browser.follow("main > form button");
    browser.follow("a.button");
    assert_eq!(browser.url(), at(&gateway, "/reports/"));
}
