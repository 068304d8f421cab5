//! Runs the gateway as its operators do: configured by a file, with one user, who has signed in.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::count::callgrind;
use super::process::Process;
use super::service::{self, Service};

const BINARY: &str = env!("CARGO_BIN_EXE_doorwarden");
/// The password of every user.
pub(crate) const PASSWORD: &str = "correct horse battery";

/// Whether the gateway writes a line for each request.
#[derive(Clone, Copy)]
pub(crate) enum AccessLog {
    /// There is no access log.
    Off,
    /// The access log is JSON, in a file.
    On,
}

/// The settings of the directory that [`add_user`] fills.
pub(crate) const USERS: &str = "\n[[directory]]\nkind = \"file\"\npath = \"users.toml\"\n";

/// Settings for `[listen]`: a TLS port, with the certificate in the gateway's folder.
pub(crate) const TLS: &str = r#"
https = ["127.0.0.1:0"]
certificate_file = "certificate.pem"
private_key_file = "certificate-key.pem"
"#;

/// How the gateway runs.
#[derive(Clone, Copy)]
enum Run {
    Plainly,
    Counted,
}

/// A running gateway and the credentials of a user.
pub(crate) struct Gateway {
    process: Process,
    bearer: String,
    cookie: String,
    folder: TempDir,
}

impl Gateway {
    /// Starts a gateway and signs the user in.
    pub(crate) fn start(upstream: SocketAddr, threads: usize, access_log: AccessLog) -> Self {
        let folder = tempfile::tempdir().unwrap();
        add_user(folder.path());
        Self::launch(folder, config(upstream, threads, access_log, "") + USERS, Run::Plainly)
    }

    /// Starts a gateway with one worker thread under callgrind; the given settings go into `[listen]` and to the end.
    pub(crate) fn start_counted(
        upstream: SocketAddr,
        folder: TempDir,
        access_log: AccessLog,
        listen: &str,
        more: &str,
    ) -> Self {
        Self::launch(folder, config(upstream, 1, access_log, listen) + more, Run::Counted)
    }

    /// Starts a gateway without an access log, with the users, issuers and forms of a Django service.
    pub(crate) fn start_with_forms(upstream: SocketAddr, threads: usize) -> (Self, Service) {
        let folder = tempfile::tempdir().unwrap();
        let service = Service::make(folder.path());
        let config = config(upstream, threads, AccessLog::Off, "") + &service::config(upstream);
        (Self::launch(folder, config, Run::Plainly), service)
    }

    /// Starts a gateway with a Django service's directory, which accepts the service's SimpleJWT tokens.
    pub(crate) fn start_with_issuer(upstream: SocketAddr, folder: TempDir, threads: usize) -> Self {
        let config = config(upstream, threads, AccessLog::Off, "") + service::SIMPLEJWT;
        Self::launch(folder, config, Run::Plainly)
    }

    /// Starts a gateway without callgrind, with these additional settings.
    pub(crate) fn start_with(
        upstream: SocketAddr,
        folder: TempDir,
        threads: usize,
        access_log: AccessLog,
        more: &str,
    ) -> Self {
        Self::launch(folder, config(upstream, threads, access_log, "") + more, Run::Plainly)
    }

    /// Starts a gateway without callgrind, with the directory of [`add_user`]. Its store stays.
    pub(crate) fn start_with_users(upstream: SocketAddr, folder: TempDir) -> Self {
        Self::launch(folder, config(upstream, 1, AccessLog::Off, "") + USERS, Run::Plainly)
    }

    /// Stops the gateway and returns its folder with the store.
    pub(crate) fn into_folder(self) -> TempDir {
        fs::remove_file(self.folder.path().join("gateway.toml")).unwrap();
        self.folder
    }

    /// Returns the process, and the folder that it needs.
    pub(crate) fn into_parts(self) -> (Process, TempDir) {
        (self.process, self.folder)
    }

    fn launch(folder: TempDir, config: String, run: Run) -> Self {
        write_private(&folder.path().join("gateway.toml"), config.as_bytes());
        let log = folder.path().join("log");
        let mut command = match run {
            Run::Plainly => Command::new(BINARY),
            Run::Counted => callgrind::command(Path::new(BINARY), folder.path()),
        };
        let child = command
            .args(["run", "--config", "gateway.toml"])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let process = Process::new(child, || listening(&log, "http"))
            .unwrap_or_else(|| panic!("no start: {}", fs::read_to_string(&log).unwrap()));
        let (bearer, cookie, _) = sign_in(process.address(), "kim");
        Self { process, bearer, cookie, folder }
    }

    /// Returns the folder of the configuration and the logs.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the address of the TLS listener.
    pub(crate) fn https(&self) -> SocketAddr {
        listening(&self.folder.path().join("log"), "https").unwrap()
    }

    /// Returns the process to measure.
    pub(crate) const fn process(&self) -> &Process {
        &self.process
    }

    /// Returns a header field with the user's access token.
    pub(crate) fn bearer(&self) -> (&str, &str) {
        ("Authorization", &self.bearer)
    }

    /// Returns a header field with the user's session cookie.
    pub(crate) fn cookie(&self) -> (&str, &str) {
        ("Cookie", &self.cookie)
    }

    /// Signs the user in once more, and returns the refresh token.
    pub(crate) fn refresh_token(&self) -> String {
        sign_in(self.process.address(), "kim").2
    }

    /// Signs another user in, and returns a `Cookie` value with the session cookie and a cookie of the application.
    pub(crate) fn cookie_of(&self, username: &str) -> String {
        let (_, cookie, _) = sign_in(self.process.address(), username);
        format!("{cookie}; theme=dark")
    }
}

fn config(upstream: SocketAddr, threads: usize, access_log: AccessLog, listen: &str) -> String {
    let access = matches!(access_log, AccessLog::On);
    format!(
        r#"
[listen]
http = ["127.0.0.1:0"]
admin = "127.0.0.1:0"
max_connections_per_address = 0
threads = {threads}
{listen}
[store]
path = "state/doorwarden.db"

[tokens]
access_lifetime = "60m"

[log]
format = "json"
access = {access}

[[upstream]]
name = "app"
servers = ["{upstream}"]

[[route]]
name = "public"
path = "/public/"
upstream = "app"
access = "public"

[[route]]
name = "app"
path = "/"
upstream = "app"
"#
    )
}

pub(crate) fn add_user(folder: &Path) {
    let mut child = Command::new(BINARY)
        .args(["user", "add", "kim", "--file", "users.toml", "--password-stdin"])
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(PASSWORD.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "the user could not be added");
}

/// Returns the address of this scheme from the log line that reports the listener.
fn listening(log: &Path, scheme: &str) -> Option<SocketAddr> {
    fs::read_to_string(log).unwrap().lines().find_map(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        let listens = line["message"] == "listening";
        listens.then(|| line[scheme].as_str().unwrap().parse().unwrap())
    })
}

/// Returns the values of `Authorization` and `Cookie`, and the refresh token.
fn sign_in(address: SocketAddr, username: &str) -> (String, String, String) {
    let body = serde_json::json!({"username": username, "password": PASSWORD}).to_string();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "signing in: {head}");
    let tokens: Value = serde_json::from_str(body).unwrap();
    let cookie = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        let is_session = name.eq_ignore_ascii_case("set-cookie") && !value.contains("-device=");
        is_session.then(|| value.split(';').next().unwrap())
    });
    let access = tokens["access"].as_str().expect("an access token");
    let refresh = tokens["refresh"].as_str().expect("a refresh token").to_owned();
    (format!("Bearer {access}"), cookie.expect("a session cookie").to_owned(), refresh)
}

pub(crate) fn write_private(path: &Path, text: &[u8]) {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).unwrap();
    file.write_all(text).unwrap();
}
