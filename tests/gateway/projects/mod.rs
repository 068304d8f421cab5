//! Tests projects with real packages, set up as their documentation says: what a person does there, with and without the
//! gateway.
//!
//! The projects and the scripts are in `tests/projects`. Each script runs twice: against the service itself, where every
//! step must end as the script says, and against the gateway with the unmodified file that `doorwarden doctor --settings`
//! wrote. Every step must then end in the same way, except for those that `differences.toml` lists with a reason; a listed
//! step that ends in the same way must be removed from the list. `--nocapture` prints both results of each step, side by
//! side.

// Second factors of real packages behind the gateway's directory.
mod devices;
// Tokens of django-rest-knox, from issue to expiry.
mod knox;
// One test for each project, and checks that the projects and the documentation agree.
mod packages;
// The gateway in place of a package's views.
mod replaced;
// Second factors of packages that the gateway takes over.
mod taken_over;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;
use tempfile::TempDir;

use crate::support::django::root;
use crate::support::gateway::{Gateway, run_in, signal};

/// A project's service: gunicorn with one worker, on its own copy of the project.
struct Service {
    child: Child,
    folder: TempDir,
    address: SocketAddr,
}

/// Listed for a project if the gateway refuses the doctor's file for it.
const NO_GATEWAY: &str = "the gateway does not start";

/// The result of a step.
#[derive(Debug, Deserialize)]
struct Step {
    step: String,
    status: String,
    outcome: String,
    /// Whether the page showed what the script expects.
    fine: bool,
}

impl Service {
    fn start(name: &str) -> Self {
        Self::start_with(name, |_| {})
    }

    /// Starts a service whose project is changed first.
    fn start_with(name: &str, change: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy(&prepared(name), folder.path());
        change(folder.path());
        let file = |name: &str| std::fs::File::create(folder.path().join(name)).unwrap();
        let child = python()
            .args(["-m", "gunicorn", "--bind", "127.0.0.1:0", "--workers", "1"])
            .args(["--no-control-socket", &wsgi(folder.path())])
            .current_dir(folder.path())
            .stdout(file("stdout"))
            .stderr(file("log"))
            .spawn()
            .unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut service = Self { child, folder, address };
        service.address = patiently("gunicorn to listen", || {
            if let Some(status) = service.child.try_wait().unwrap() {
                panic!("gunicorn ended with {status}:\n{}", service.log());
            }
            let log = service.log();
            let (_, address) = log.split_once("Listening at: http://")?;
            address.split_whitespace().next()?.parse().ok()
        });
        service
    }

    /// Runs the project's script against this address; the service's mails are read from its output.
    fn steps(&self, name: &str, address: SocketAddr, gateway: Option<&Gateway>) -> Vec<Step> {
        let mails = self.folder.path().join("stdout");
        let mut command = python();
        command.arg(root().join("tests/projects/person.py"));
        command.args(["steps", name, &address.to_string()]).arg(mails);
        if let Some(gateway) = gateway {
            command.arg("--gateway");
            let file = std::fs::read_to_string(gateway.folder().join("gateway.toml")).unwrap();
            if file.contains("mode = \"follow\"") {
                command.arg("--follows");
            }
        }
        let output = command.stderr(Stdio::inherit()).output().unwrap();
        assert!(output.status.success(), "{name}: the script failed\n{}", self.log());
        let lines = String::from_utf8(output.stdout).unwrap();
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Starts a gateway in front of the service, with the unmodified file that the doctor writes for the project. `None` if
    /// that file fails the gateway's own check.
    fn gateway(&self) -> Option<Gateway> {
        let folder = tempfile::tempdir().unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_doorwarden"))
            .arg("doctor")
            .arg("--settings")
            .arg(self.folder.path().join("manage.py"))
            .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .args(["--upstream", &self.address.to_string()])
            .current_dir(folder.path())
            .env("VIRTUAL_ENV", venv())
            .env_remove("DJANGO_SETTINGS_MODULE")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        eprintln!("{text}{error}");
        assert!(folder.path().join("gateway.toml").exists(), "the doctor wrote no file");
        let checked = run_in(folder.path(), &["check", "--config", "gateway.toml"], "");
        if !checked.status.success() {
            eprintln!("{}", String::from_utf8_lossy(&checked.stderr));
            return None;
        }
        Some(Gateway::launch(folder))
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- gunicorn's log\n{}", self.log());
        }
        if matches!(self.child.try_wait(), Ok(None)) {
            // SIGQUIT makes it end its worker at once, too.
            signal("QUIT", self.child.id());
            let _ = self.child.wait();
        }
    }
}

/// Runs a script without the gateway: each step must end as the script expects.
fn without(name: &str) -> Vec<Step> {
    let service = Service::start(name);
    let steps = service.steps(name, service.address, None);
    let odd: Vec<_> = steps.iter().filter(|step| !step.fine).collect();
    assert!(odd.is_empty(), "{name}, without the gateway: {odd:#?}\n{}", service.log());
    steps
}

/// Runs a script behind a gateway with the doctor's file; no steps if the gateway does not start with it.
fn behind(name: &str) -> Vec<Step> {
    let service = Service::start(name);
    let Some(gateway) = service.gateway() else { return Vec::new() };
    let steps = service.steps(name, gateway.http, Some(&gateway));
    let failed: Vec<_> =
        gateway.log().into_iter().filter(|line| line.contains("panicked")).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    steps
}

/// Returns which steps of a project end differently behind the gateway, and why.
fn differences(name: &str) -> BTreeMap<String, String> {
    let file = std::fs::read_to_string(root().join("tests/projects/differences.toml")).unwrap();
    let mut all: BTreeMap<String, BTreeMap<String, String>> = toml::from_str(&file).unwrap();
    all.remove(name).unwrap_or_default()
}

/// Returns the steps side by side: `=` for equal ends, `#` for listed differences, `!` for others; and what is wrong.
fn compare(name: &str, without: &[Step], behind: &[Step]) -> (String, Vec<String>) {
    let mut listed = differences(name);
    let mut text = format!("\n{name}: step | without the gateway | behind it\n");
    let mut wrong = Vec::new();
    match (behind.is_empty(), listed.remove(NO_GATEWAY)) {
        (false, None) => {}
        (false, Some(_)) => wrong.push(format!("{NO_GATEWAY} is listed, and it does")),
        (true, Some(reason)) => return (format!("{text}{NO_GATEWAY}: {reason}\n"), wrong),
        (true, None) => return (text, vec![NO_GATEWAY.to_owned()]),
    }
    assert_eq!(without.len(), behind.len(), "{name}: {without:#?} {behind:#?}");
    for (a, b) in without.iter().zip(behind) {
        assert_eq!(a.step, b.step, "{name}");
        // A step on the gateway's own page has no counterpart without it: behind it, the step must end as the script says.
        let same =
            b.fine && (a.status == "-" || (&a.status, &a.outcome) == (&b.status, &b.outcome));
        let reason = listed.remove(&a.step);
        let mark = match (same, &reason) {
            (true, None) => '=',
            (false, Some(_)) => '#',
            (true, Some(_)) => {
                wrong.push(format!("{}: is equal now; take it off the list", a.step));
                '!'
            }
            (false, None) => {
                wrong.push(format!("{}: {} {}", a.step, b.status, b.outcome));
                '!'
            }
        };
        let (step, status, outcome) = (&a.step, &a.status, &a.outcome);
        writeln!(text, "{mark} {step:<58} | {status:<3} {outcome} | {:<3} {}", b.status, b.outcome)
            .unwrap();
        if let Some(reason) = reason {
            writeln!(text, "    because: {reason}").unwrap();
        }
    }
    wrong.extend(listed.into_keys().map(|step| format!("{step}: there is no such step")));
    (text, wrong)
}

/// Returns the project with its tables and users: prepared once, and again when its sources change.
fn prepared(name: &str) -> PathBuf {
    let projects = root().join("tests/projects");
    let mut hasher = DefaultHasher::new();
    for source in ["requirements.txt", "person.py", "steps/people.py", &format!("steps/{name}.py")]
    {
        std::fs::read(projects.join(source)).unwrap().hash(&mut hasher);
    }
    for file in files(&projects.join(name)) {
        (&file, std::fs::read(&file).unwrap()).hash(&mut hasher);
    }
    let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("projects");
    let made = all.join(format!("{name}-{:016x}", hasher.finish()));
    if !made.exists() {
        std::fs::create_dir_all(&all).unwrap();
        let folder = tempfile::tempdir_in(&all).unwrap();
        copy(&projects.join(name), folder.path());
        let mut prepare = python();
        prepare.arg(projects.join("person.py")).args(["prepare", name]).current_dir(folder.path());
        let output = prepare.output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        // Another process may have been faster.
        let _ = std::fs::rename(folder.path(), &made);
    }
    made
}

/// Returns `mysite.wsgi`, from the folder that `startproject` made.
fn wsgi(project: &Path) -> String {
    let found = files(project).into_iter().find(|path| path.ends_with("wsgi.py")).unwrap();
    format!("{}.wsgi", found.parent().unwrap().file_name().unwrap().display())
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(&file, &target).unwrap();
    }
}

/// Like `support::eventually`, with a longer deadline: on a busy machine, importing these packages takes seconds.
fn patiently<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(started.elapsed() < Duration::from_secs(120), "waited for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Returns Python with the packages, which `scripts/setup-test` installs.
fn python() -> Command {
    let mut command = Command::new(venv().join("bin/python"));
    command
        .stdin(Stdio::null())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env_remove("DJANGO_SETTINGS_MODULE");
    command
}

fn venv() -> &'static Path {
    static VENV: OnceLock<PathBuf> = OnceLock::new();
    VENV.get_or_init(|| {
        let venv = root().join(".tools/projects-venv");
        assert!(
            venv.join(".requirements").exists(),
            "run scripts/setup-test, which makes {}",
            venv.display()
        );
        venv
    })
}
