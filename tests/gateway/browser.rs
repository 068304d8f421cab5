//! Tests the login page in a real browser, in front of the Django service.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::thread;

use serde_json::{Value, json};

use crate::support::DEVICE_COOKIE;
use crate::support::browser::Browser;
use crate::support::django::Django;
use crate::support::gateway::{Gateway, Setup};
use crate::support::upstream::Upstream;

const COOKIE: &str = "__Host-doorwarden";

/// Starts a gateway with a title and a link that the operator has set.
fn gateway(django: &Django) -> Gateway {
    Setup::with(
        django.setup(),
        "[login]\ntitle = \"Legacy service\"\n\
         links = [{ label = \"Forgot your password?\", href = \"/public/reset\" }]",
    )
    .start()
}

/// Returns a URL of the gateway as a person types it. Browsers treat `localhost` as secure without TLS.
fn at(gateway: &Gateway, path: &str) -> String {
    format!("http://localhost:{}{path}", gateway.http.port())
}

fn sign_in(browser: &Browser, name: &str, password: &str) {
    browser.fill("#username", name);
    browser.fill("#password", password);
    browser.follow("button[type=submit]");
}

fn assert_console_is_clean(browser: &Browser) {
    let console = browser.console();
    let violation = console.iter().find(|line| line.contains("Content Security Policy"));
    assert_eq!(violation, None, "{console:#?}");
}

#[test]
fn a_person_signs_in_lands_where_they_wanted_and_signs_out() {
    let django = Django::shared();
    let gateway = gateway(&django);
    let browser = Browser::start();

    browser.open(&at(&gateway, "/?page=2"));
    assert_eq!(browser.url(), at(&gateway, "/login?next=/%3Fpage%3D2"));
    assert_eq!(browser.cookies(), [Value::Null; 0]);
    browser.has_focus("username");

    sign_in(&browser, "lee", "a wrong password");
    assert_eq!(browser.url(), at(&gateway, "/login"));
    assert!(!browser.text("[role=alert]").is_empty());
    assert!(browser.title().starts_with("Error"), "{}", browser.title());
    assert_eq!(browser.value("#username"), "lee", "it need not be typed again");
    assert_eq!(browser.value("#password"), "");
    browser.has_focus("password");

    browser.fill("#password", "lee-pass-1234");
    browser.follow("button[type=submit]");
    assert_eq!(browser.url(), at(&gateway, "/?page=2"));
    assert_eq!((browser.text("#user-name"), browser.text("#user-id")), ("lee".into(), "3".into()));

    assert_eq!(browser.cookie_names(), [COOKIE, DEVICE_COOKIE]);
    for cookie in browser.cookies() {
        assert_eq!(
            [&cookie["httpOnly"], &cookie["secure"], &cookie["sameSite"]],
            [&json!(true), &json!(true), &json!("Lax")],
            "{cookie}"
        );
        assert_eq!((&cookie["path"], &cookie["domain"]), (&json!("/"), &json!("localhost")));
    }
    assert_eq!(browser.run("return document.cookie"), "", "no script reads it");
    let whoami = "const answer = await fetch('/api/v1/whoami'); return await answer.json()";
    assert_eq!(browser.run(whoami)["meta"]["HTTP_X_USER_NAME"], "lee", "a script's requests too");

    // A visitor of the sign-out page is asked for confirmation first.
    browser.open(&at(&gateway, "/logout"));
    assert_eq!((browser.text("h1"), browser.text("dd")), ("Sign out".into(), "lee".into()));
    browser.open(&at(&gateway, "/"));
    assert_eq!(browser.text("#user-name"), "lee");

    // A signed-in user is not asked again, and a form of the service's signs out.
    browser.open(&at(&gateway, "/login?next=/api/v1/whoami"));
    assert_eq!(browser.url(), at(&gateway, "/api/v1/whoami"));
    browser.open(&at(&gateway, "/"));
    browser.run(
        "document.body.innerHTML += '<form method=post action=/logout><button>Sign out</button></form>'",
    );
    browser.follow("form button");
    assert_eq!(browser.cookie_names(), [DEVICE_COOKIE], "the browser stays a known device");
    browser.open(&at(&gateway, "/?page=2"));
    assert_eq!(browser.url(), at(&gateway, "/login?next=/%3Fpage%3D2"));
    assert_console_is_clean(&browser);
}

#[test]
fn it_works_without_scripts() {
    let django = Django::shared();
    let gateway = gateway(&django);
    let browser = Browser::without_scripts();
    browser.open("data:text/html,<title>off</title><script>document.title = 'on'</script>");
    assert_eq!(browser.title(), "off");

    browser.open(&at(&gateway, "/?page=2"));
    sign_in(&browser, "김민정", "wrong");
    assert_eq!(browser.count("[role=alert]"), 1);
    browser.fill("#password", "비밀번호-1234");
    browser.follow("button[type=submit]");
    assert_eq!(browser.url(), at(&gateway, "/?page=2"));
    assert_eq!(browser.text("#user-id"), "13");
    browser.open(&at(&gateway, "/logout"));
    browser.follow("button[type=submit]");
    assert_eq!(browser.url(), at(&gateway, "/login"));
    assert_eq!(browser.cookie_names(), [DEVICE_COOKIE]);
    assert_console_is_clean(&browser);
}

#[test]
fn everybody_can_read_and_use_the_page_that_signs_out() {
    let django = Django::shared();
    let gateway = gateway(&django);
    let browser = Browser::start();
    browser.open(&at(&gateway, "/login"));
    sign_in(&browser, "lee", "lee-pass-1234");
    for (scheme, languages, lang) in [("light", "en-US", "en"), ("dark", "ko-KR,ko", "ko")] {
        browser.prefer(scheme, languages);
        for (path, width) in [("/logout", 800), ("/logout/all", 800), ("/logout", 390)] {
            browser.width(width);
            browser.open(&at(&gateway, path));
            let name = path.trim_matches('/').replace('/', "-");
            let file = pictures().join(format!("{name}-{scheme}-{lang}-{width}.png"));
            std::fs::write(file, browser.screenshot()).unwrap();
            assert_eq!(browser.attribute("html", "lang"), lang);
            for (css, count) in [("h1", 1), ("main", 1), ("form", 1), ("button", 1), ("script", 0)]
            {
                assert_eq!(browser.count(css), count, "{css}: {path}");
            }
            let overflow = "return document.documentElement.scrollWidth - innerWidth";
            assert!(browser.run(overflow).as_f64().unwrap() <= 0.0, "{path} at {width}");
            let seen = browser.run(CONTRASTS);
            for contrast in seen["contrasts"].as_array().unwrap() {
                assert!(contrast["ratio"].as_f64().unwrap() >= 4.5, "{path}, {scheme}: {contrast}");
            }
            assert_eq!(seen["ground"].as_f64().unwrap() < 0.2, scheme == "dark");
            assert_console_is_clean(&browser);
        }
    }
}

#[test]
fn everybody_can_read_and_use_the_page() {
    let django = Django::shared();
    let gateway = gateway(&django);
    let browser = Browser::start();
    let pictures = pictures();
    for (scheme, languages, lang) in [
        ("light", "en-US", "en"),
        ("dark", "en-US", "en"),
        ("light", "ko-KR,ko", "ko"),
        ("dark", "ko-KR,ko", "ko"),
    ] {
        browser.prefer(scheme, languages);
        browser.open(&at(&gateway, "/login?next=/%3Fpage%3D2"));
        let picture = |what: &str| {
            let file = pictures.join(format!("login-{scheme}-{lang}{what}.png"));
            std::fs::write(file, browser.screenshot()).unwrap();
        };
        picture("");
        check(&browser, scheme, lang);
        sign_in(&browser, "kim", "wrong");
        picture("-refused");
        check(&browser, scheme, lang);
        for field in ["#username", "#password"] {
            assert_eq!(browser.attribute(field, "aria-describedby"), "problem");
        }
        assert_eq!(browser.attribute("[role=alert]", "id"), "problem");
        assert_console_is_clean(&browser);
    }

    // The control: the policy is in force, and a violation shows in the console.
    browser.run("document.body.insertAdjacentHTML('beforeend', '<p style=\"color: red\">x</p>')");
    assert!(browser.console().iter().any(|line| line.contains("Content Security Policy")));
}

/// Serves an application that has the page as its login URL and redirects users without a permission there, as Django's
/// `permission_required` does.
fn restricted_to_root() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = String::new();
            let mut lines = BufReader::new(&mut stream);
            while !head.ends_with("\r\n\r\n")
                && lines.read_line(&mut head).is_ok_and(|read| read > 0)
            {}
            let path = head.split(' ').nth(1).unwrap_or("/").to_owned();
            let is_root = head.to_ascii_lowercase().contains("x-user-name: root\r\n");
            let answer = if is_root {
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 16\r\nConnection: close\r\n\r\n<h1>Secret</h1>\r\n".to_owned()
            } else {
                format!(
                    "HTTP/1.1 302 Found\r\nLocation: /login?next={path}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                )
            };
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

#[test]
fn whoever_lacks_a_permission_is_not_sent_to_and_fro() {
    let gateway = Setup::new(restricted_to_root()).start();
    let browser = Browser::start();
    browser.open(&at(&gateway, "/reports/"));
    assert_eq!(browser.count("[role=status]"), 0);
    sign_in(&browser, "kim", "correct horse battery");
    for (scheme, languages, lang) in [("dark", "ko-KR,ko", "ko"), ("light", "en-US", "en")] {
        browser.prefer(scheme, languages);
        for width in [800, 390] {
            browser.width(width);
            browser.open(&at(&gateway, "/reports/"));
            let file = pictures().join(format!("login-not-enough-{scheme}-{lang}-{width}.png"));
            std::fs::write(file, browser.screenshot()).unwrap();
            assert_eq!(browser.url(), at(&gateway, "/login?next=/reports/"));
            assert_eq!(browser.text("[role=status] b"), "kim");
            assert_eq!((browser.count("form"), browser.count("nav a")), (1, 1));
            for contrast in browser.run(CONTRASTS)["contrasts"].as_array().unwrap() {
                assert!(contrast["ratio"].as_f64().unwrap() >= 4.5, "{scheme}: {contrast}");
            }
            assert_console_is_clean(&browser);
        }
    }
    sign_in(&browser, "root", "toor toor toor");
    assert_eq!(browser.url(), at(&gateway, "/reports/"));
    assert_eq!(browser.text("h1"), "Secret");
    // A user who has not been sent there for a while is redirected to the page they asked for.
    browser.open(&at(&gateway, "/login?next=/reports/"));
    assert_eq!(browser.url(), at(&gateway, "/reports/"));
}

/// Its requests carry the session's cookie where `session.same_site` permits it, and no other cookies.
#[test]
fn a_front_end_on_another_site_is_signed_in_where_the_cookie_may_come() {
    // To a browser, `127.0.0.1` and `localhost` are two sites.
    for (same_site, status) in [("strict", 401), ("lax", 401), ("none", 200)] {
        let front = Upstream::start();
        let origin = format!("http://{}", front.address);
        let gateway = Setup::new(front.address)
            .with(&format!(
                "[session]\nsame_site = \"{same_site}\"\ntrusted_origins = [\"{origin}\"]\n\
                 [cors]\nallowed_origins = [\"{origin}\"]\nallow_credentials = true"
            ))
            .start();
        let browser = Browser::start();
        browser.open(&format!("{origin}/public/"));
        let statuses = browser.run(&format!(
            "const ask = (path, more) => fetch('{}' + path, {{credentials: 'include', ...more}});
             const body = JSON.stringify({{username: 'kim', password: 'correct horse battery'}});
             const headers = {{'Content-Type': 'application/json'}};
             const login = await ask('/login', {{method: 'POST', headers, body}});
             const session = await ask('/session');
             const logout = await ask('/logout', {{method: 'POST'}});
             const after = await ask('/session');
             return [login.status, session.status, logout.status, after.status]",
            at(&gateway, "")
        ));
        assert_eq!(statuses, json!([200, status, 204, 401]), "{same_site}");
    }
}

/// With a link from another site, a browser sends a `lax` cookie and no `strict` one. It stores a cookie for all sites
/// separately for each of them (`Partitioned`), so that it does not sign a front end's visitor in elsewhere.
#[test]
fn a_link_of_another_site_brings_the_cookie_where_it_may() {
    for (same_site, by_link, is_partitioned) in
        [("strict", false, false), ("lax", true, false), ("none", true, true)]
    {
        let front = Upstream::start();
        let origin = format!("http://{}", front.address);
        let gateway = Setup::new(front.address)
            .with(&format!(
                "[session]\nsame_site = \"{same_site}\"\ntrusted_origins = [\"{origin}\"]\n\
                 [cors]\nallowed_origins = [\"{origin}\"]\nallow_credentials = true"
            ))
            .start();
        let browser = Browser::start();
        let page = at(&gateway, "/page");
        browser.open(&page);
        sign_in(&browser, "kim", "correct horse battery");
        assert_eq!(browser.url(), page, "{same_site}");
        let cookies = browser.all_cookies();
        let cookie = cookies.iter().find(|one| one["name"] == COOKIE).unwrap();
        assert_eq!(cookie["partitionKey"].is_object(), is_partitioned, "{same_site}: {cookie}");
        let says = cookie["sameSite"].as_str().unwrap_or_default().to_lowercase();
        assert_eq!(says, same_site, "{cookie}");

        browser.open(&format!("{origin}/public/"));
        browser.run(&format!("document.body.innerHTML = '<a href=\"{page}\">there</a>'"));
        browser.follow("a");
        let lands = if by_link { page } else { at(&gateway, "/login?next=/page") };
        assert_eq!(browser.url(), lands, "{same_site}");

        // The front end's cookie is not the one of the gateway's own site.
        if is_partitioned {
            browser.open(&format!("{origin}/public/"));
            let script = "const ask = async () => (await fetch('URL', {credentials: 'include'})).status; return ask()";
            let status = browser.run(&script.replace("URL", &at(&gateway, "/session")));
            assert_eq!(status, json!(401), "another part");
        }
    }
}

/// Checks what every state of the page must have.
fn check(browser: &Browser, scheme: &str, lang: &str) {
    let what = format!("{scheme}, {lang}");
    assert_eq!(browser.attribute("html", "lang"), lang, "{what}");
    assert!(!browser.title().is_empty(), "{what}");
    for (css, count) in
        [("h1", 1), ("main", 1), ("form", 1), ("script", 0), ("img, link", 0), ("nav a", 1)]
    {
        assert_eq!(browser.count(css), count, "{css}: {what}");
    }
    let fields = browser.run(
        "return [...document.querySelectorAll('input:not([type=hidden])')].map(input =>
             [input.id, input.labels.length, input.labels[0].innerText.trim() !== '', input.autocomplete])",
    );
    assert_eq!(
        fields,
        json!([["username", 1, true, "username"], ["password", 1, true, "current-password"]]),
        "{what}"
    );
    // WCAG AA demands 4.5. The body's background shows whether the requested color scheme is in use.
    let seen = browser.run(CONTRASTS);
    let contrasts = seen["contrasts"].as_array().unwrap();
    assert!(contrasts.len() >= 6, "{what}: {seen}");
    for contrast in contrasts {
        assert!(contrast["ratio"].as_f64().unwrap() >= 4.5, "{what}: {contrast}");
    }
    assert_eq!(seen["ground"].as_f64().unwrap() < 0.2, scheme == "dark", "{what}: {seen}");
}

/// Computes the contrast of every element with text of its own against what is behind it, by WCAG's formula.
const CONTRASTS: &str = "
    const luminance = color => color.match(/[0-9.]+/g).slice(0, 3)
        .map(part => part / 255)
        .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
        .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
    const ground = element => {
        const color = getComputedStyle(element).backgroundColor;
        return color === 'rgba(0, 0, 0, 0)' ? ground(element.parentElement) : luminance(color);
    };
    const own = element => [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    const contrasts = [...document.body.querySelectorAll('*')]
        .filter(element => element.tagName === 'INPUT' ? element.type !== 'hidden' : own(element))
        .map(element => {
            const pair = [luminance(getComputedStyle(element).color), ground(element)].sort((a, b) => a - b);
            return {element: element.tagName, ratio: (pair[1] + 0.05) / (pair[0] + 0.05)};
        });
    return {contrasts, ground: ground(document.body)};";

/// Returns the folder for the screenshots of this run.
fn pictures() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("login-page");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}
