//! Tests the page in a real browser: in two languages, light and dark, narrow and wide, without scripts.

use std::path::PathBuf;

use super::{PASSWORD, enter};
use crate::support::browser::Browser;
use crate::support::gateway::{Gateway, Setup};
use crate::support::upstream::Upstream;

fn at(gateway: &Gateway, path: &str) -> String {
    format!("http://localhost:{}{path}", gateway.http.port())
}

fn picture(browser: &Browser, name: &str) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("account-pages");
    std::fs::create_dir_all(&folder).unwrap();
    for width in [390, 1100] {
        browser.size(width, 3000);
        let path = folder.join(format!("{name}-{width}.png"));
        std::fs::write(path, browser.screenshot()).unwrap();
        browser.width(width);
    }
}

fn sign_in(browser: &Browser, gateway: &Gateway) {
    browser.open(&at(gateway, "/account"));
    browser.fill("#username", "kim");
    browser.fill("#password", PASSWORD);
    browser.follow("button[type=submit]");
    assert_eq!(browser.url(), at(gateway, "/account"), "back to where they were going");
}

#[test]
fn a_person_ends_their_other_sessions_without_scripts() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).with("[login]\ntitle = \"Acme\"").start();
    let client = gateway.client();
    let others: Vec<_> = (0..12).map(|_| enter(&client, "kim", PASSWORD)).collect();
    let browser = Browser::without_scripts();
    sign_in(&browser, &gateway);
    assert_eq!(browser.text("h1"), "Your account");
    assert_eq!(browser.count("#sessions .item"), 11, "this one, and ten of the others");
    assert!(browser.text("#sessions").contains("Chrome on Linux"));
    picture(&browser, "sessions-light-en");
    browser.follow(".pages a");
    assert_eq!(browser.count("#sessions .item"), 3);
    browser.follow("#sessions .item form button");
    assert!(browser.url().starts_with(&at(&gateway, "/account?done=ended")), "{}", browser.url());
    assert_eq!(browser.text("[role=status]"), "That sign-in has ended.");
    let left = others.iter().filter(|one| one.is_in(&client)).count();
    assert_eq!(left, 11);
    browser.prefer("dark", "ko-KR,ko");
    browser.open(&at(&gateway, "/account"));
    assert_eq!(browser.text("h1"), "내 계정");
    picture(&browser, "sessions-dark-ko");
    browser.follow("#sessions > form button");
    assert!(others.iter().all(|one| !one.is_in(&client)));
    assert_eq!(browser.count("#sessions .item"), 1);
    picture(&browser, "alone-dark-ko");
    browser.follow("#sessions > form button");
    assert_eq!(browser.url(), at(&gateway, "/login"));
    assert!(!browser.cookie_names().contains(&"__Host-doorwarden".to_owned()));
}
