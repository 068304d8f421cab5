//! axe-core checks each of the gateway's pages in Chromium, light and dark, for barriers to people with disabilities.
//!
//! axe-core comes from npm, by version and hash (`tests/axe`); `scripts/setup-test` installs it.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::json;

use crate::second_factor::App;
use crate::second_factor::authenticator::{Authenticator, PLATFORM};
use crate::support::browser::Browser;
use crate::support::django::root;
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup, users_file};
use crate::support::receivers::Receiver;
use crate::support::upstream::Upstream;

const PASSWORD: &str = "correct horse battery";

/// Returns the source of axe-core.
fn axe() -> &'static str {
    static SOURCE: OnceLock<String> = OnceLock::new();
    SOURCE.get_or_init(|| {
        let path = root().join(".tools/axe/node_modules/axe-core/axe.min.js");
        if !path.is_file() {
            let status = Command::new(root().join("scripts/setup-test")).status();
            assert!(
                status.is_ok_and(|status| status.success()),
                "axe-core is missing; run scripts/setup-test and see why"
            );
        }
        std::fs::read_to_string(path).unwrap()
    })
}

/// The number of checked pages, and the violations found.
pub(crate) struct Looks {
    pages: usize,
    violations: Vec<String>,
}

impl Looks {
    pub(crate) fn new() -> Self {
        Self { pages: 0, violations: Vec::new() }
    }

    fn at(&mut self, browser: &Browser, name: &str) {
        self.pages += 1;
        for scheme in ["light", "dark"] {
            browser.prefer(scheme, "en-US,en");
            self.examine(browser, &format!("{name} ({scheme})"));
        }
    }

    /// Does the same for a page in this language, on a phone and on a wide screen, and writes screenshots into this folder.
    pub(crate) fn at_widths(
        &mut self,
        browser: &Browser,
        (name, lang): (&str, &str),
        pictures: &Path,
    ) {
        self.pages += 1;
        assert_eq!(browser.attribute("html", "lang"), lang, "{name}");
        for (scheme, width) in [("light", 390), ("dark", 1280), ("light", 1280), ("dark", 390)] {
            browser.prefer(scheme, lang);
            browser.width(width);
            let look = format!("{name}-{lang}-{scheme}-{width}");
            self.examine(browser, &look);
            let overflow =
                browser.run("return document.documentElement.scrollWidth - innerWidth").as_f64();
            assert!(overflow.unwrap() <= 0.0, "{look}");
            std::fs::write(pictures.join(format!("{look}.png")), browser.screenshot()).unwrap();
        }
    }

    fn examine(&mut self, browser: &Browser, look: &str) {
        let script = format!(
            "{}; const done = arguments[arguments.length - 1]; \
             axe.run(document, {{resultTypes: ['violations']}}).then( \
                 (found) => done({{passes: found.passes.length, wrong: found.violations.map( \
                     (one) => one.id + ': ' + one.nodes.map( \
                         (node) => node.html + ' ' + node.failureSummary).join('\\n  '))}}), \
                 (error) => done({{passes: 0, wrong: ['axe failed: ' + error]}}));",
            axe()
        );
        let found = browser.run_until_done(&script);
        let wrong = found["wrong"].as_array().unwrap();
        assert!(
            found["passes"].as_u64().unwrap() > 5 || !wrong.is_empty(),
            "{look}: axe saw no page: {found}"
        );
        self.violations.extend(wrong.iter().map(|one| format!("{look}: {one}")));
    }

    pub(crate) fn none(self, pages: usize) {
        assert_eq!(self.pages, pages);
        assert!(self.violations.is_empty(), "{}", self.violations.join("\n\n"));
    }
}

fn at(gateway: &Gateway, path: &str) -> String {
    format!("http://localhost:{}{path}", gateway.http.port())
}

fn sign_in(browser: &Browser, password: &str) {
    browser.run("document.querySelector('#username').value = ''");
    browser.fill("#username", "kim");
    browser.fill("#password", password);
    browser.follow("button[type=submit]");
}

#[test]
fn axe_finds_nothing_on_the_pages_of_an_account() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address)
        .route("name = \"admins\"\npath = \"/admins/\"\ngroups = [\"admins\"]")
        .with("[second_factor]\nmode = \"optional\"\n[login]\ntitle = \"Acme\"")
        .with("links = [{ label = \"Forgot your password?\", href = \"/reset/\" }]")
        .start();
    let client = gateway.client();
    let (browser, mut looks) = (Browser::start(), Looks::new());
    browser.open(&at(&gateway, "/account"));
    looks.at(&browser, "sign-in");
    sign_in(&browser, "a guess");
    assert_eq!(browser.count("[role=alert]"), 1);
    looks.at(&browser, "sign-in with a problem");
    sign_in(&browser, PASSWORD);
    client.sign_in("kim", PASSWORD);
    let all_parts = "document.querySelectorAll('#devices .item, #activity li').length > 3";
    eventually("a device and an entry", || {
        browser.open(&at(&gateway, "/account"));
        (browser.run(&format!("return {all_parts}")) == true).then_some(())
    });
    looks.at(&browser, "account");
    browser.open(&at(&gateway, "/admins/"));
    assert_eq!(browser.count("code"), 2, "a refusal with its code and request id");
    looks.at(&browser, "a refusal");
    browser.open(&at(&gateway, "/account/password"));
    looks.at(&browser, "password");
    for (css, keys) in [("#current", PASSWORD), ("#new", "one of two"), ("#again", "two of two")] {
        browser.fill(css, keys);
    }
    browser.follow("button[type=submit]");
    assert_eq!(browser.count("[role=alert]"), 1);
    looks.at(&browser, "password with a problem");

    browser.open(&at(&gateway, "/account/second-factors"));
    looks.at(&browser, "no second factor");
    browser.follow("main > form button");
    looks.at(&browser, "enrolment");
    let mut app = App::new(&browser.text("code.secret"));
    browser.fill("#otp", "000000");
    browser.follow("button[type=submit]");
    looks.at(&browser, "enrolment with a problem");
    browser.fill("#otp", &app.code());
    browser.follow("button[type=submit]");
    looks.at(&browser, "recovery codes");
    browser.open(&at(&gateway, "/account/second-factors"));
    looks.at(&browser, "second factors");
    browser.follow(".factor > form button");
    looks.at(&browser, "confirm that it is you");
    for path in ["/logout", "/logout/all"] {
        browser.open(&at(&gateway, path));
        looks.at(&browser, path);
    }
    browser.follow("main > form button");
    sign_in(&browser, PASSWORD);
    assert_eq!(browser.count("#otp"), 1);
    looks.at(&browser, "code");
    browser.fill("#otp", "000000");
    browser.follow("main > form button");
    looks.at(&browser, "code with a problem");
    looks.none(16);
}

#[test]
fn axe_finds_nothing_on_the_pages_around_it() {
    let (upstream, server) = (Upstream::start(), Receiver::smtp(&[]));
    let users = format!("{}\n[users.kim.attributes]\nemail = \"kim@example.org\"\n", users_file());
    let mail = format!(
        "[notify.mail]\nhost = \"{}\"\nport = {}\nfrom = \"Acme <security@example.com>\"\n\
         public_url = \"https://app.example\"\npassword_change_url = \"/password/\"\n\
         danger_plaintext = true\n",
        server.address.ip(),
        server.address.port()
    );
    let gateway = Setup::new(upstream.address)
        .file("users.toml", users.as_bytes())
        .with(&mail)
        .with("[tokens]\nrefresh_grace = \"0s\"\n[second_factor]\nmode = \"required\"")
        .start();
    let (browser, mut looks) = (Browser::start(), Looks::new());
    browser.open(&at(&gateway, "/login"));
    sign_in(&browser, PASSWORD);
    looks.at(&browser, "a factor is due");
    browser.follow("button[type=submit]");
    looks.at(&browser, "first enrolment");

    let reset = gateway.command(&["user", "second-factor", "reset", "file/kim"]);
    assert!(reset.status.success(), "{}", String::from_utf8_lossy(&reset.stderr));
    let letter = server.wait_for(1)[0]["text"].as_str().unwrap().to_owned();
    let start = letter.find("https://app.example/incident?answer=not-me").unwrap();
    let link = letter[start..].split_whitespace().next().unwrap();
    let link = link.strip_prefix("https://app.example").unwrap();
    browser.open(&at(&gateway, link));
    looks.at(&browser, "this was not me");
    browser.follow("main > form button");
    looks.at(&browser, "signed out everywhere");
    browser.open(&at(&gateway, link));
    looks.at(&browser, "a link that works no more");
    let operators = |path: &str| format!("http://localhost:{}{path}", gateway.admin.port());
    browser.open(&operators("/operator"));
    looks.at(&browser, "operator's sign-in");
    let token = std::fs::read_to_string(gateway.folder().join("state/operator-token")).unwrap();
    browser.fill("#token", token.trim());
    browser.follow("button[type=submit]");
    eventually("the page to be filled", || browser.text("#state").contains("As of").then_some(()));
    let blocked = gateway.operator("POST", "/blocks").json(&json!({
        "address": "198.51.100.7", "seconds": 3600, "reason": "a test",
    }));
    let blocked = blocked.send();
    assert!(blocked.status < 300, "{}", blocked.text());
    eventually("the block to be shown", || {
        let has = "return document.body.textContent.includes('198.51.100.7')";
        (browser.run(has) == true).then_some(())
    });
    looks.at(&browser, "operator's page");
    looks.none(7);
}

#[test]
fn axe_finds_nothing_on_the_pages_of_tokens_and_passkeys() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address)
        .route("name = \"api\"\npath = \"/api/\"\npersonal_tokens = true")
        .with("[login]\ntitle = \"Acme\"\n[second_factor]\nmode = \"optional\"\ntrusted_devices = \"30d\"")
        .with("[second_factor.passkeys]\nenabled = true\nrp_id = \"localhost\"")
        .start();
    let (browser, mut looks) = (Browser::start(), Looks::new());
    let key = Authenticator::new(&browser, PLATFORM);
    let shown = |css: &str| {
        let is_shown = format!("return document.querySelector('{css}')?.closest('form').hidden");
        eventually("the script to show it", || (browser.run(&is_shown) == false).then_some(()));
    };
    browser.open(&at(&gateway, "/login?next=/account/tokens"));
    shown("form.passkey button");
    looks.at(&browser, "sign-in with a passkey");
    browser.fill("#username", "kim");
    browser.fill("#password", PASSWORD);
    browser.follow("main > form button[type=submit]");
    looks.at(&browser, "no tokens");
    browser.fill("#name", "CI");
    browser.follow("main > form button[type=submit]");
    looks.at(&browser, "a token that was made");
    browser.open(&at(&gateway, "/account/tokens"));
    assert_eq!(browser.text("h2"), "CI");
    looks.at(&browser, "tokens");

    browser.open(&at(&gateway, "/account/second-factors"));
    looks.at(&browser, "no passkey");
    browser.follow("input[value=passkey] + button");
    shown("form[data-ask] button");
    looks.at(&browser, "a new passkey");
    browser.follow("form[data-ask] button");
    // Otherwise the browser would sign in with the passkey by itself as soon as it may.
    key.is_touched(false);
    browser.devtools("Storage.clearCookies", &json!({}));
    browser.open(&at(&gateway, "/login"));
    browser.fill("#username", "kim");
    browser.fill("#password", PASSWORD);
    browser.follow("main > form button[type=submit]");
    shown("form.passkey button");
    looks.at(&browser, "the second step with a passkey");
    looks.none(7);
}
