//! Tests the pages that use passkeys, in a real browser with a virtual authenticator.

use std::path::PathBuf;

use serde_json::json;

use super::authenticator::{Authenticator, PLATFORM};
use crate::support::browser::Browser;
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup};
use crate::support::upstream::Upstream;

fn at(gateway: &Gateway, path: &str) -> String {
    format!("http://localhost:{}{path}", gateway.http.port())
}

fn gateway(upstream: &Upstream, mode: &str) -> Gateway {
    Setup::new(upstream.address)
        .with(&format!(
            "[login]\ntitle = \"Acme\"\n[second_factor]\nmode = \"{mode}\"\n\
             [second_factor.passkeys]\nenabled = true\nrp_id = \"localhost\""
        ))
        .start()
}

/// Checks a page at each width that matters, and takes a screenshot of each.
fn look(browser: &Browser, name: &str) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("passkey-pages");
    std::fs::create_dir_all(&folder).unwrap();
    for width in [390, 800] {
        browser.width(width);
        let picture = folder.join(format!("{name}-{width}.png"));
        std::fs::write(picture, browser.screenshot()).unwrap();
        let overflow = "return document.documentElement.scrollWidth - innerWidth";
        assert!(browser.run(overflow).as_f64().unwrap() <= 0.0, "{name} at {width}");
        for (css, count) in [("h1", 1), ("main", 1)] {
            assert_eq!(browser.count(css), count, "{css}: {name}");
        }
        assert!(browser.count("script") <= 1, "{name}");
        let unlabelled = "return [...document.querySelectorAll('input:not([type=hidden])')]\
             .filter(i => !i.labels.length).length";
        assert_eq!(browser.run(unlabelled), 0, "{name}");
    }
    let console = browser.console();
    let violation = console.iter().find(|line| line.contains("Content Security Policy"));
    assert_eq!(violation, None, "{console:#?}");
}

fn password(browser: &Browser) {
    browser.fill("#username", "kim");
    browser.fill("#password", "correct horse battery");
    browser.follow("main > form button[type=submit]");
}

fn sign_out(browser: &Browser) {
    browser.devtools("Storage.clearCookies", &json!({}));
}

/// Waits for the button that the script shows.
fn button(browser: &Browser, css: &str) {
    let shown = format!("return !document.querySelector('{css}').closest('form').hidden");
    eventually("the script to show it", || (browser.run(&shown) == true).then_some(()));
}

#[test]
fn a_passkey_is_set_up_used_as_a_second_step_and_by_itself() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "optional");
    let browser = Browser::start();
    browser.prefer("dark", "ko-KR,ko");
    browser.open(&at(&gateway, "/account/second-factors"));
    button(&browser, "form.passkey button");
    look(&browser, "login-dark-ko");
    let key = Authenticator::new(&browser, PLATFORM);
    browser.prefer("light", "en-US");
    browser.open(&at(&gateway, "/login?next=/account/second-factors"));
    button(&browser, "form.passkey button");
    look(&browser, "login-light-en");
    password(&browser);
    assert_eq!(browser.url(), at(&gateway, "/account/second-factors"));
    look(&browser, "none-light-en");
    browser.follow("input[value=passkey] + button");
    assert_eq!(browser.text("h1"), "Set up a passkey");
    button(&browser, "form[data-ask] button");
    look(&browser, "enrol-light-en");
    browser.follow("form[data-ask] button");
    assert_eq!(browser.text("h1"), "Your recovery codes");
    browser.follow("a.button");
    assert_eq!(browser.text(".factor h2"), "My passkey");
    look(&browser, "factors-light-en");
    browser.prefer("dark", "ko-KR,ko");
    browser.open(&at(&gateway, "/account/second-factors"));
    look(&browser, "factors-dark-ko");

    // A change by this session now demands the passkey first.
    browser.follow(".factor > form button");
    assert!(browser.url().starts_with(&at(&gateway, "/login/second-factor?next=")));
    button(&browser, "form.passkey button");
    look(&browser, "confirm-dark-ko");
    browser.follow("form.passkey button");
    assert_eq!(browser.url(), at(&gateway, "/account/second-factors"));
    browser.prefer("light", "en-US");

    // After the password. At first nobody touches the key, because otherwise the browser would use it by itself.
    key.is_touched(false);
    sign_out(&browser);
    browser.open(&at(&gateway, "/app?page=2"));
    password(&browser);
    assert_eq!(browser.text("h1"), "Confirm that it is you");
    button(&browser, "form.passkey button");
    look(&browser, "second-light-en");
    key.is_touched(true);
    browser.follow("form.passkey button");
    assert_eq!(browser.url(), at(&gateway, "/app?page=2"));

    // Without a password: the browser offers the passkey in the name field, or the button asks for it.
    sign_out(&browser);
    key.verifies(false);
    browser.open(&at(&gateway, "/app?page=3"));
    button(&browser, "form.passkey button");
    browser.run("document.querySelector('form.passkey button').click()");
    let problem = "return document.querySelector('[data-problem]').textContent";
    let said = eventually("what is wrong", || {
        let said = browser.run(problem);
        (said != "").then_some(said)
    });
    assert_eq!(said, "No passkey was used. Try again, or go on in another way.");
    look(&browser, "refused-light-en");
    key.verifies(true);
    browser.follow("form.passkey button");
    assert_eq!(browser.url(), at(&gateway, "/app?page=3"));
    let session = browser.run_async("return (await fetch('/session')).json()", &json!([]));
    assert_eq!(session["amr"], json!(["hwk", "user", "mfa"]), "{session}");
}

#[test]
fn where_one_is_required_it_is_set_up_before_the_session_begins() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "required");
    let browser = Browser::start();
    let _key = Authenticator::new(&browser, PLATFORM);
    browser.open(&at(&gateway, "/app?page=2"));
    password(&browser);
    assert_eq!(browser.text("h1"), "Set up a second factor");
    look(&browser, "must-light-en");
    browser.follow("input[value=passkey] + button");
    assert_eq!(browser.text("h1"), "Set up a passkey");
    button(&browser, "form[data-ask] button");
    browser.fill("#invitation", "0000-0000-0000");
    browser.follow("form[data-ask] button");
    assert_eq!(browser.count("#problem"), 1, "no code of an operator's");
    assert_eq!(browser.cookie_names(), [""; 0], "nothing has begun");
    let invited = gateway.command(&["user", "second-factor", "invite", "file/kim"]);
    let said = String::from_utf8_lossy(&invited.stdout).into_owned();
    button(&browser, "form[data-ask] button");
    browser.fill("#invitation", said.trim().rsplit(' ').next().unwrap());
    look(&browser, "required-light-en");
    browser.follow("form[data-ask] button");
    assert_eq!(browser.text("h1"), "Your recovery codes");
    browser.follow("a.button");
    assert_eq!(browser.url(), at(&gateway, "/app?page=2"));

    // Without scripts everything else works, and the page says that passkeys do not.
    let plain = Browser::without_scripts();
    plain.open(&at(&gateway, "/app?page=2"));
    assert_eq!(plain.attribute("form.passkey", "hidden"), "true");
    password(&plain);
    assert_eq!(
        plain.text("noscript .notice"),
        "Passkeys take JavaScript, which is off in this browser."
    );
    assert_eq!(plain.count("#recovery"), 1);
}
