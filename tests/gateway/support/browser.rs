//! Controls headless Chromium by the WebDriver protocol: JSON over HTTP to a chromedriver on a port of its own.
//!
//! Each browser has its own driver and profile, which end with it, and connects only to this machine. `scripts/setup-test`
//! installs the two programs, and is run here if one is missing.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::client::Response;
use super::django::root;
use super::eventually;
use super::gateway::signal;

/// A browser takes longer to start than anything else here.
const PATIENCE: Duration = Duration::from_secs(60);

/// The key that marks an element in WebDriver's JSON.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

const FLAGS: &[&str] = &[
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--window-size=800,800",
];

/// A running browser with one window.
pub(crate) struct Browser {
    driver: Child,
    address: SocketAddr,
    session: String,
    _profile: TempDir,
}

impl Browser {
    pub(crate) fn start() -> Self {
        Self::with_preferences(&json!({}))
    }

    /// Starts a browser that does not run scripts of pages.
    pub(crate) fn without_scripts() -> Self {
        Self::with_preferences(&json!({"profile.managed_default_content_settings.javascript": 2}))
    }

    fn with_preferences(preferences: &Value) -> Self {
        Self::with(preferences, false)
    }

    /// Starts a browser that accepts test certificates, and saves downloads to this folder.
    pub(crate) fn of_a_test(downloads: &Path) -> Self {
        let preferences = json!({
            "download.default_directory": downloads,
            "download.prompt_for_download": false,
        });
        Self::with(&preferences, true)
    }

    fn with(preferences: &Value, takes_any_certificate: bool) -> Self {
        install();
        let profile = tempfile::tempdir().unwrap();
        let (driver, address) = start_driver(profile.path());
        let mut flags: Vec<String> = FLAGS.iter().map(|flag| (*flag).to_owned()).collect();
        flags.push(format!("--user-data-dir={}", profile.path().join("profile").display()));
        let mut browser = Self { driver, address, session: String::new(), _profile: profile };
        let session = browser.post(
            "/session",
            &json!({"capabilities": {"alwaysMatch": {
                "acceptInsecureCerts": takes_any_certificate,
                "goog:chromeOptions": {"args": flags, "prefs": preferences},
                "goog:loggingPrefs": {"browser": "ALL"},
            }}}),
        );
        browser.session = session["sessionId"].as_str().unwrap().to_owned();
        browser
    }

    /// Opens an address and waits until the page is loaded.
    pub(crate) fn open(&self, url: &str) {
        self.command("url", &json!({"url": url}));
    }

    /// Returns the address of the page.
    pub(crate) fn url(&self) -> String {
        text(&self.read("url"))
    }

    /// Returns the page's title.
    pub(crate) fn title(&self) -> String {
        text(&self.read("title"))
    }

    /// Returns the visible text of the first element that a CSS selector finds.
    pub(crate) fn text(&self, css: &str) -> String {
        text(&self.of(css, "text"))
    }

    /// Returns how many elements a CSS selector finds.
    pub(crate) fn count(&self, css: &str) -> usize {
        let found = self.command("elements", &json!({"using": "css selector", "value": css}));
        found.as_array().unwrap().len()
    }

    /// Returns the present value of the first field that a CSS selector finds.
    pub(crate) fn value(&self, css: &str) -> String {
        text(&self.of(css, "property/value"))
    }

    /// Returns an attribute of the first element that a CSS selector finds.
    pub(crate) fn attribute(&self, css: &str, name: &str) -> Value {
        self.of(css, &format!("attribute/{name}"))
    }

    /// Waits until the element with this `id` has the focus: `autofocus` happens after a page is loaded.
    pub(crate) fn has_focus(&self, id: &str) {
        let script = "return document.activeElement && document.activeElement.id";
        let what = format!("#{id} to have the focus");
        eventually(&what, || (self.run(script) == id).then_some(()));
    }

    /// Types into a field, key by key.
    pub(crate) fn fill(&self, css: &str, keys: &str) {
        let element = self.find(css);
        self.command(&format!("element/{element}/value"), &json!({"text": keys}));
    }

    /// Clicks an element that leads to another page, and waits until the present one is gone.
    pub(crate) fn follow(&self, css: &str) {
        let (page, element) = (self.find("html"), self.find(css));
        self.command(&format!("element/{element}/click"), &json!({}));
        let path = format!("/session/{}/element/{page}/name", self.session);
        eventually("another page", || (self.send("GET", &path, "").status == 404).then_some(()));
    }

    /// Clicks an element that stays on the page.
    pub(crate) fn click(&self, css: &str) {
        let element = self.find(css);
        self.command(&format!("element/{element}/click"), &json!({}));
    }

    /// Runs a script in the page, and returns its result.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.command("execute/sync", &json!({"script": script, "args": []}))
    }

    /// Runs a script in the page that passes its result to its last argument when it is done.
    pub(crate) fn run_until_done(&self, script: &str) -> Value {
        self.command("execute/async", &json!({"script": script, "args": []}))
    }

    /// Runs the body of an async function in the page with these arguments; returns its result, or the text of its
    /// exception.
    pub(crate) fn run_async(&self, body: &str, arguments: &Value) -> Value {
        let script = format!(
            "const done = arguments[arguments.length - 1];\
             (async (...args) => {{ {body} }})(...arguments).then(done, e => done('' + e))"
        );
        self.command("execute/async", &json!({"script": script, "args": arguments}))
    }

    /// Returns all cookies for the page, `HttpOnly` ones too.
    pub(crate) fn cookies(&self) -> Vec<Value> {
        self.read("cookie").as_array().unwrap().clone()
    }

    /// Returns the names of the cookies for the page, in order.
    pub(crate) fn cookie_names(&self) -> Vec<String> {
        let name = |cookie: &Value| cookie["name"].as_str().unwrap_or_default().to_owned();
        let mut names: Vec<String> = self.cookies().iter().map(name).collect();
        names.sort();
        names
    }

    /// Returns all cookies of the browser, of every site, from its developer tools.
    pub(crate) fn all_cookies(&self) -> Vec<Value> {
        let parameters = json!({"cmd": "Storage.getCookies", "params": {}});
        let found = self.command("goog/cdp/execute", &parameters);
        found["cookies"].as_array().unwrap().clone()
    }

    /// Returns what was written to the console since the previous call.
    pub(crate) fn console(&self) -> Vec<String> {
        let entries = self.command("se/log", &json!({"type": "browser"}));
        entries.as_array().unwrap().iter().map(|entry| text(&entry["message"])).collect()
    }

    /// Returns the window as a PNG file.
    pub(crate) fn screenshot(&self) -> Vec<u8> {
        STANDARD.decode(text(&self.read("screenshot"))).unwrap()
    }

    /// Sets the width of the screen, for example to a phone's.
    pub(crate) fn width(&self, pixels: u32) {
        self.size(pixels, 800);
    }

    /// Sets the size of the screen, so that a whole page can be seen.
    pub(crate) fn size(&self, width: u32, height: u32) {
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            &json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": true}),
        );
    }

    /// Sets a person's preferences: `light` or `dark`, and a language.
    pub(crate) fn prefer(&self, scheme: &str, language: &str) {
        let feature = json!({"name": "prefers-color-scheme", "value": scheme});
        self.devtools("Emulation.setEmulatedMedia", &json!({"features": [feature]}));
        let agent = self.run("return navigator.userAgent");
        self.devtools(
            "Emulation.setUserAgentOverride",
            &json!({"userAgent": agent, "acceptLanguage": language}),
        );
    }

    /// Runs a command of the browser's developer tools, and returns its result.
    pub(crate) fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.command("goog/cdp/execute", &json!({"cmd": command, "params": parameters}))
    }

    /// Returns the first element that a CSS selector finds, once it is there: the page may still be loading.
    fn find(&self, css: &str) -> String {
        eventually(css, || self.find_now(css))
    }

    fn find_now(&self, css: &str) -> Option<String> {
        let by = json!({"using": "css selector", "value": css});
        let found = self.ask("POST", &format!("/session/{}/element", self.session), &by)?;
        Some(text(&found[ELEMENT]))
    }

    /// Reads something of such an element. Another page may come between the two requests, so they are repeated.
    fn of(&self, css: &str, what: &str) -> Value {
        eventually(css, || {
            let element = self.find_now(css)?;
            let path = format!("/session/{}/element/{element}/{what}", self.session);
            self.ask("GET", &path, &Value::Null)
        })
    }

    fn command(&self, name: &str, parameters: &Value) -> Value {
        self.post(&format!("/session/{}/{name}", self.session), parameters)
    }

    fn read(&self, name: &str) -> Value {
        let path = format!("/session/{}/{name}", self.session);
        eventually(name, || self.ask("GET", &path, &Value::Null))
    }

    fn post(&self, path: &str, parameters: &Value) -> Value {
        value(&self.send("POST", path, &parameters.to_string()))
    }

    /// Sends a request that changes nothing. `None` if the page was just being replaced.
    fn ask(&self, method: &str, path: &str, body: &Value) -> Option<Value> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let response = self.send(method, path, &body);
        let is_between = || {
            let text = response.text();
            ["no such element", "stale element", "aborted by navigation", "not attached"]
                .iter()
                .any(|words| text.to_lowercase().contains(words))
        };
        if response.status != 200 && is_between() {
            return None;
        }
        Some(value(&response))
    }

    fn send(&self, method: &str, path: &str, body: &str) -> Response {
        let mut stream = TcpStream::connect(self.address).expect("chromedriver listens");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.address,
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        Response::read(&mut stream, false)
    }

    /// Ends the browser, and waits, since it writes into its profile until then. Ending only the driver would leave the
    /// browser running. This never panics, as a test may be failing.
    fn quit(&self) -> std::io::Result<()> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let request = format!(
            "DELETE /session/{} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.session, self.address
        );
        stream.write_all(request.as_bytes())?;
        // Any answer will do; the driver need not close the connection after it.
        stream.read(&mut [0; 64]).map(drop)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.quit();
        signal("TERM", self.driver.id());
        let _ = self.driver.wait();
    }
}

fn value(response: &Response) -> Value {
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()["value"].take()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// Starts chromedriver; everything that driver and browser write goes into the folder.
///
/// It takes a free IPv4 port and then the same one of IPv6; if another program has that, it ends and is started again.
fn start_driver(folder: &Path) -> (Child, SocketAddr) {
    eventually("chromedriver to say its port", || try_driver(folder))
}

fn try_driver(folder: &Path) -> Option<(Child, SocketAddr)> {
    let mut driver = Command::new("chromedriver")
        .arg("--port=0")
        .envs(["TMPDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"].map(|name| (name, folder)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("chromedriver starts");
    let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines().map_while(Result::ok);
    let port = lines.find_map(|line| {
        line.split_once("successfully on port ")?.1.trim_end_matches('.').parse().ok()
    });
    let Some(port) = port else {
        driver.wait().unwrap();
        return None;
    };
    // The driver would block on a pipe that nobody reads.
    thread::spawn(move || lines.for_each(drop));
    Some((driver, SocketAddr::from(([127, 0, 0, 1], port))))
}

/// Installs the two programs if they are missing, once.
fn install() {
    static THERE: OnceLock<()> = OnceLock::new();
    THERE.get_or_init(|| {
        let is_there = |program: &str| {
            let path = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
        };
        if !is_there("chromium") || !is_there("chromedriver") {
            let status = Command::new(root().join("scripts/setup-test")).status();
            assert!(
                status.is_ok_and(|status| status.success()),
                "chromium or chromedriver is missing; run scripts/setup-test and see why"
            );
        }
    });
}
