//! Tests the pages in a real browser: without scripts, in two languages, light and dark, on a narrow screen.

use std::path::PathBuf;

use super::App;
use crate::support::browser::Browser;
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup};
use crate::support::upstream::Upstream;

fn at(gateway: &Gateway, path: &str) -> String {
    format!("http://localhost:{}{path}", gateway.http.port())
}

fn pictures() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("second-factor-pages");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Checks a page in each color scheme, language and width that matters, and takes a screenshot of each.
fn look(browser: &Browser, name: &str) {
    for width in [390, 800] {
        browser.width(width);
        std::fs::write(pictures().join(format!("{name}-{width}.png")), browser.screenshot())
            .unwrap();
        let overflow = "return document.documentElement.scrollWidth - innerWidth";
        assert!(browser.run(overflow).as_f64().unwrap() <= 0.0, "{name} at {width}");
        // The page with recovery codes has a script of the gateway's, which the page's policy allows.
        let scripts = usize::from(name.starts_with("recovery"));
        for (css, count) in [("h1", 1), ("main", 1), ("script", scripts)] {
            assert_eq!(browser.count(css), count, "{css}: {name}");
        }
        let unlabelled = "return [...document.querySelectorAll('input:not([type=hidden]), textarea')]\
             .filter(i => !i.labels.length && !i.getAttribute('aria-label')).length";
        assert_eq!(browser.run(unlabelled), 0, "{name}");
    }
    let console = browser.console();
    let violation = console.iter().find(|line| line.contains("Content Security Policy"));
    assert_eq!(violation, None, "{console:#?}");
}

fn sign_in(browser: &Browser, name: &str, password: &str) {
    browser.fill("#username", name);
    browser.fill("#password", password);
    browser.follow("button[type=submit]");
}

#[test]
fn a_person_sets_one_up_signs_in_with_it_and_removes_it() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address)
        .with(
            "[second_factor]\nmode = \"optional\"\nlabel = \"Acme\"\ntrusted_devices = \"30d\"\n\
             [login]\ntitle = \"Acme\"",
        )
        .start();
    let browser = Browser::start();
    browser.prefer("dark", "ko-KR,ko");
    browser.open(&at(&gateway, "/account/second-factors"));
    sign_in(&browser, "kim", "correct horse battery");
    assert_eq!(browser.url(), at(&gateway, "/account/second-factors"));
    look(&browser, "none-dark-ko");
    browser.prefer("light", "en-US");
    browser.open(&at(&gateway, "/account/second-factors"));
    browser.follow("button[type=submit]");
    assert_eq!(browser.text("h1"), "Set up a second factor");
    look(&browser, "enrol-light-en");
    assert_eq!(browser.count("svg.qr path"), 1);
    let mut app = App::new(&browser.text("code.secret"));
    browser.fill("#otp", "000000");
    browser.follow("button[type=submit]");
    assert_eq!(browser.count("[role=alert]"), 1);
    assert_eq!(app.secret, App::new(&browser.text("code.secret")).secret, "the same secret");
    browser.fill("#otp", &app.code());
    browser.follow("button[type=submit]");
    assert_eq!(browser.text("h1"), "Your recovery codes");
    look(&browser, "recovery-light-en");
    let codes = browser.value("textarea.codes");
    assert_eq!(codes.lines().count(), 10);
    browser.click("#copy");
    eventually("the codes to be copied", || {
        (browser.text("#copied") == "The codes are copied.").then_some(())
    });
    assert_eq!(browser.run("return document.getElementById('print').hidden"), false);
    browser.follow("a.button");
    assert_eq!(browser.url(), at(&gateway, "/account/second-factors"));

    // Their session has only proved a password, so a change demands a code first.
    look(&browser, "factors-light-en");
    browser.follow(".factor > form button");
    assert!(
        browser.url().starts_with(&at(&gateway, "/login/second-factor?next=")),
        "{}",
        browser.url()
    );
    look(&browser, "confirm-light-en");
    browser.fill("#otp", &app.code());
    browser.follow("main > form button");
    assert_eq!(browser.url(), at(&gateway, "/account/second-factors"));

    // A new sign-in demands a code; a recovery code is accepted as well.
    let other = Browser::without_scripts();
    other.prefer("dark", "ko-KR,ko");
    other.open(&at(&gateway, "/app?page=2"));
    sign_in(&other, "kim", "correct horse battery");
    assert_eq!(other.text("h1"), "인증 코드 입력");
    assert_eq!(other.count("label[for=trust]"), 1);
    assert_eq!(other.cookie_names(), [""; 0]);
    look_without_scripts(&other, "code-dark-ko");
    other.fill("#otp", "111111");
    other.follow("main > form button");
    assert_eq!(other.count("[role=alert]"), 1);
    other.fill("#otp", &app.code());
    other.follow("main > form button");
    assert_eq!(other.url(), at(&gateway, "/app?page=2"));

    browser.follow(".factor > form button");
    assert_eq!(browser.url(), at(&gateway, "/account/second-factors"));
    assert_eq!(browser.count(".factor"), 0);
}

fn look_without_scripts(browser: &Browser, name: &str) {
    for width in [390, 800] {
        browser.width(width);
        std::fs::write(pictures().join(format!("{name}-{width}.png")), browser.screenshot())
            .unwrap();
    }
}

#[test]
fn where_one_is_required_it_is_set_up_before_the_session_begins() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).with("[second_factor]\nmode = \"required\"").start();
    let browser = Browser::without_scripts();
    browser.open(&at(&gateway, "/app?page=2"));
    sign_in(&browser, "kim", "correct horse battery");
    assert_eq!(browser.text("h1"), "Set up a second factor");
    assert_eq!(browser.cookie_names(), [""; 0], "nothing has begun");
    browser.follow("button[type=submit]");
    let mut app = App::new(&browser.text("code.secret"));
    let invited = gateway.command(&["user", "second-factor", "invite", "file/kim"]);
    let said = String::from_utf8_lossy(&invited.stdout).into_owned();
    browser.fill("#otp", &app.code());
    browser.fill("#invitation", said.trim().rsplit(' ').next().unwrap());
    look_without_scripts(&browser, "required-light-en");
    browser.follow("button[type=submit]");
    assert_eq!(browser.text("h1"), "Your recovery codes");
    browser.follow("a.button");
    assert_eq!(browser.url(), at(&gateway, "/app?page=2"));
}
