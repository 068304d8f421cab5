//! Runs the gateway as a process, with its own folder and ports, and stores its log.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::client::{Client, Request};
use super::{DEADLINE, eventually};

/// The users of the file directory in every test: name, password, groups.
pub(crate) const USERS: &[(&str, &str, &[&str])] = &[
    ("kim", "correct horse battery", &["editors"]),
    ("lee", "staple 한글 암호", &[]),
    ("root", "toor toor toor", &["admins", "editors"]),
];

/// The configuration of a gateway.
pub(crate) struct Setup {
    /// The setting `servers`, as it is written.
    servers: String,
    upstream_extra: String,
    routes: String,
    directories: String,
    extra: String,
    listen: String,
    store: String,
    log: String,
    files: Vec<(String, Vec<u8>)>,
}

/// A running gateway.
pub(crate) struct Gateway {
    child: Option<Child>,
    log: Arc<Mutex<Vec<String>>>,
    folder: TempDir,
    pub(crate) http: SocketAddr,
    pub(crate) https: Option<SocketAddr>,
    pub(crate) admin: SocketAddr,
}

impl Setup {
    /// Creates a setup for this upstream: `/public/` is public, `/optional/` has optional access, the rest requires a
    /// sign-in.
    pub(crate) fn new(upstream: SocketAddr) -> Self {
        Self {
            servers: format!("\"{upstream}\""),
            upstream_extra: String::new(),
            routes: r#"
[[route]]
name = "public"
path = "/public/"
upstream = "app"
access = "public"

[[route]]
name = "optional"
path = "/optional/"
upstream = "app"
access = "optional"

[[route]]
name = "app"
path = "/"
upstream = "app"
websocket = true
"#
            .into(),
            directories: "[[directory]]\nkind = \"file\"\npath = \"users.toml\"\n".into(),
            extra: String::new(),
            listen: String::new(),
            store: "path = \"state/store.db\"".into(),
            log: "level = \"info\"".into(),
            files: Vec::new(),
        }
    }

    /// Adds tables.
    pub(crate) fn with(mut self, toml: &str) -> Self {
        self.extra.push_str(toml);
        self.extra.push('\n');
        self
    }

    /// Adds keys to `[listen]`.
    pub(crate) fn listen(mut self, toml: &str) -> Self {
        self.listen.push_str(toml);
        self.listen.push('\n');
        self
    }

    /// Sets these keys in `[store]` instead of the path of an embedded store.
    pub(crate) fn store(mut self, toml: &str) -> Self {
        self.store = toml.into();
        self
    }

    /// Sets these keys in `[log]` instead of the level; the format is JSON.
    pub(crate) fn log(mut self, toml: &str) -> Self {
        self.log = toml.into();
        self
    }

    /// Adds a private file to the folder.
    pub(crate) fn file(mut self, name: &str, content: &[u8]) -> Self {
        self.files.push((name.into(), content.into()));
        self
    }

    /// Sets these routes instead of the three; the upstream's name is `app`.
    pub(crate) fn routes(mut self, toml: &str) -> Self {
        self.routes = toml.into();
        self
    }

    /// Adds a route before the others.
    pub(crate) fn route(mut self, toml: &str) -> Self {
        self.routes = format!("[[route]]\nupstream = \"app\"\n{toml}\n{}", self.routes);
        self
    }

    /// Sets these directories instead of the file.
    pub(crate) fn directories(mut self, toml: &str) -> Self {
        self.directories = toml.into();
        self
    }

    /// Sets these servers, as they are written, instead of the one.
    pub(crate) fn servers(mut self, written: &str) -> Self {
        self.servers = written.into();
        self
    }

    /// Adds keys to the upstream.
    pub(crate) fn upstream(mut self, toml: &str) -> Self {
        self.upstream_extra.push_str(toml);
        self.upstream_extra.push('\n');
        self
    }

    /// Makes the loopback network a trusted proxy, so that a test can use any client address.
    pub(crate) fn behind_a_proxy(self) -> Self {
        self.with("[trusted_proxies]\nnetworks = [\"127.0.0.0/8\"]")
    }

    fn toml(&self) -> String {
        format!(
            r#"[listen]
http = ["127.0.0.1:0"]
admin = "127.0.0.1:0"
threads = 2
{}
[[upstream]]
name = "app"
servers = [{}]
{}
{}
{}
[store]
{}

[log]
format = "json"
{}

{}
"#,
            self.listen,
            self.servers,
            self.upstream_extra,
            self.directories,
            self.routes,
            self.store,
            self.log,
            self.extra
        )
    }

    /// Writes the folder and starts nothing.
    pub(crate) fn prepare(self) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        write_private(&folder.path().join("gateway.toml"), self.toml());
        write_private(&folder.path().join("users.toml"), users_file());
        for (name, content) in &self.files {
            write_private(&folder.path().join(name), content);
        }
        folder
    }

    /// Starts the gateway and waits until it is ready.
    pub(crate) fn start(self) -> Gateway {
        Gateway::launch(self.prepare())
    }
}

impl Gateway {
    /// Starts a gateway with the `gateway.toml` of this folder.
    pub(crate) fn launch(folder: TempDir) -> Self {
        let mut gateway = Self {
            child: None,
            log: Arc::default(),
            folder,
            http: SocketAddr::from(([127, 0, 0, 1], 0)),
            https: None,
            admin: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        gateway.spawn();
        gateway
    }

    /// Does the same, with a listening socket that is handed over, and a socket on which the gateway reports its state.
    pub(crate) fn launch_under(folder: TempDir, socket: &TcpListener, notify: &Path) -> Self {
        let mut gateway = Self {
            child: None,
            log: Arc::default(),
            folder,
            http: socket.local_addr().unwrap(),
            https: None,
            admin: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        gateway.spawn_under(socket, notify);
        gateway
    }

    /// Starts the process (again), on new ports.
    pub(crate) fn spawn(&mut self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_doorwarden"));
        command.stdin(Stdio::null());
        self.spawn_as(command);
    }

    /// Starts the process (again) as systemd does: the socket is its descriptor 3.
    pub(crate) fn spawn_under(&mut self, socket: &TcpListener, notify: &Path) {
        let mut command = Command::new("bash");
        let hand_over = "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" \"$@\"";
        command.args(["-c", hand_over, env!("CARGO_BIN_EXE_doorwarden")]);
        command.env("NOTIFY_SOCKET", notify);
        command.stdin(OwnedFd::from(socket.try_clone().unwrap()));
        self.spawn_as(command);
    }

    fn spawn_as(&mut self, mut command: Command) {
        let mut child = command
            .args(["run", "--config", "gateway.toml"])
            .current_dir(self.folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let stderr = child.stderr.take().unwrap();
        let log = Arc::clone(&self.log);
        log.lock().unwrap().clear();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                log.lock().unwrap().push(line);
            }
        });
        self.child = Some(child);
        let listening = eventually("the gateway to listen", || {
            if let Some(status) = self.child.as_mut()?.try_wait().unwrap() {
                panic!("the gateway ended with {status}:\n{}", self.log().join("\n"));
            }
            self.log().iter().find_map(|line| listening(line))
        });
        // The first one if there are several.
        let address = |field: &str| listening[field].as_str()?.split(',').next()?.parse().ok();
        self.http = address("http").expect("an http address");
        self.https = address("https");
        self.admin = address("admin").expect("an admin address");
        eventually("readiness", || {
            (Client::new(self.admin).get("/ready").host("localhost").send().status == 200)
                .then_some(())
        });
    }

    /// Returns a client of the gateway.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.http)
    }

    /// Returns its folder, with `gateway.toml`, `users.toml` and `state/`.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the log so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Waits for a JSON log line that satisfies the condition.
    pub(crate) fn logged(
        &self,
        what: &str,
        fits: impl Fn(&serde_json::Value) -> bool,
    ) -> serde_json::Value {
        eventually(what, || {
            self.log()
                .iter()
                .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
                .find(|line| fits(line))
        })
    }

    /// Returns a value from `/metrics`, by its full name with labels.
    pub(crate) fn metric(&self, name: &str) -> Option<f64> {
        let text = Client::new(self.admin).get("/metrics").host("localhost").send().text();
        text.lines().find_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            (series == name).then(|| value.parse().ok())?
        })
    }

    /// Waits until a metric has this value: a request is counted when its answer has been sent.
    pub(crate) fn counts(&self, name: &str, value: f64) {
        let started = Instant::now();
        while self.metric(name) != Some(value) {
            let is = self.metric(name);
            assert!(started.elapsed() < DEADLINE, "{name} is {is:?} and not {value}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Returns a request to the admin listener, with the operator's token.
    pub(crate) fn operator(&self, method: &str, target: &str) -> Request {
        let token = std::fs::read_to_string(self.folder().join("state/operator-token")).unwrap();
        Client::new(self.admin).request(method, target).host("localhost").bearer(token.trim())
    }

    /// Runs a command of the binary in its folder.
    pub(crate) fn command(&self, arguments: &[&str]) -> Output {
        run_in(self.folder.path(), arguments, "")
    }

    /// Kills the gateway, as a power cut would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Returns the process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Waits for its end, and returns the exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let mut child = self.child.take().expect("it runs");
        eventually("the gateway to end", || child.try_wait().unwrap()).code()
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        signal("TERM", self.pid());
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- the gateway's log\n{}", self.log().join("\n"));
        }
        self.kill();
    }
}

/// Returns the fields of the line that reports the listeners, in either format of the log.
fn listening(line: &str) -> Option<serde_json::Value> {
    if let Ok(json) = serde_json::from_str::<serde_json::Value>(line) {
        return (json["message"] == "listening").then_some(json);
    }
    let (_, fields) = line.split_once(": listening ")?;
    let fields = fields.split(' ').filter_map(|field| field.split_once('='));
    Some(fields.map(|(name, value)| (name, value.trim_matches('"'))).collect())
}

/// Sends a signal to a process.
pub(crate) fn signal(name: &str, pid: u32) {
    let status = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
    assert!(status.unwrap().success());
}

/// Runs the binary in a folder, with a standard input.
pub(crate) fn run_in(folder: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_doorwarden"))
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    // A command may end without having read it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let pid = child.id();
    let (sender, output) = mpsc::channel();
    thread::spawn(move || sender.send(child.wait_with_output().unwrap()));
    output.recv_timeout(DEADLINE).unwrap_or_else(|_| {
        signal("KILL", pid);
        let output = output.recv().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        panic!("{arguments:?} has not ended after {DEADLINE:?}:\n{error}")
    })
}

/// Runs a gateway that must not start (exit code 1, at once), and returns its last message.
pub(crate) fn does_not_start(folder: &Path) -> String {
    let started = Instant::now();
    let output = run_in(folder, &["run"], "");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(started.elapsed() < DEADLINE / 2, "it took {:?}", started.elapsed());
    assert!(!error.contains("panicked"), "{error}");
    let last = error.lines().last().unwrap_or_default().to_owned();
    assert!(last.starts_with("doorwarden: "), "{error}");
    last
}

/// Writes a file that only its owner may read.
pub(crate) fn write_private(path: &Path, content: impl AsRef<[u8]>) {
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .unwrap();
    file.write_all(content.as_ref()).unwrap();
}

/// Returns the users' file, which the binary's own command creates once.
pub(crate) fn users_file() -> &'static str {
    static FILE: OnceLock<String> = OnceLock::new();
    FILE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        for (name, password, groups) in USERS {
            let mut arguments =
                vec!["user", "add", name, "--file", "users.toml", "--password-stdin"];
            for group in *groups {
                arguments.extend(["--group", group]);
            }
            let output = run_in(folder.path(), &arguments, password);
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        std::fs::read_to_string(folder.path().join("users.toml")).unwrap()
    })
}
