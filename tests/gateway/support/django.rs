//! Runs the legacy service of `tests/django` as a process: gunicorn on a port of its own, with a database of its own.
//!
//! Migrating and seeding take seconds, so they are done once per run, and every service gets a copy of the file. The users
//! and their passwords are listed in `tests/django/probe/management/commands/seed_users.py`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::Instant;

use tempfile::TempDir;

use super::database::Database;
use super::gateway::{Setup, signal};
use super::{DEADLINE, eventually};

/// A running Django service.
pub(crate) struct Django {
    child: Child,
    folder: TempDir,
    /// Its database: a file, or the URL of a server.
    told: String,
    pub(crate) address: SocketAddr,
}

/// Installs SimpleJWT's blacklist in the service.
pub(crate) const TOKEN_BLACKLIST: (&str, &str) = ("DJANGO_TOKEN_BLACKLIST", "1");

/// Makes a sign-in at the service as cheap as any request for users with a cheap hash, and does not upgrade that hash.
pub(crate) const CHEAP_PASSWORDS: (&str, &str) =
    ("DJANGO_PASSWORD_HASHERS", "probe.hashers.CheapPBKDF2");

impl Django {
    /// Starts a service for this test alone, which may change its database.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Does the same, with these variables for its settings.
    pub(crate) fn start_with(variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(database_in(folder.path()), seeded()).unwrap();
        if variables.contains(&TOKEN_BLACKLIST) {
            let mut migrate = python(&sqlite(&database_in(folder.path())));
            migrate.args(["manage.py", "migrate", "-v", "0"]).envs(variables.iter().copied());
            assert!(migrate.status().unwrap().success(), "the blacklist's tables are made");
        }
        let told = sqlite(&database_in(folder.path()));
        Self::launch(folder, told, variables)
    }

    /// Starts a service on a database server that has its tables and users.
    pub(crate) fn start_on(database: &Database, variables: &[(&str, &str)]) -> Self {
        Self::launch(tempfile::tempdir().unwrap(), database.admin_url(), variables)
    }

    /// Starts a project that a test has written: `manage.py` and `PACKAGE/wsgi.py` in this folder. Creates its tables.
    pub(crate) fn project(folder: TempDir, package: &str) -> Self {
        let mut migrate = python("unused");
        migrate.current_dir(folder.path()).args(["manage.py", "migrate", "-v", "0"]);
        let output = migrate.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut command = python("unused");
        command.current_dir(folder.path());
        let wsgi = format!("{package}.wsgi");
        Self::serve(folder, "unused".into(), command, &[&wsgi])
    }

    fn launch(folder: TempDir, told: String, variables: &[(&str, &str)]) -> Self {
        let mut command = python(&told);
        command.envs(variables.iter().copied());
        Self::serve(folder, told, command, &[])
    }

    fn serve(folder: TempDir, told: String, mut command: Command, arguments: &[&str]) -> Self {
        let address_file = folder.path().join("address");
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let settings = root().join("tests/django/gunicorn.conf.py");
        let child = command
            .args(["-m", "gunicorn", "--bind", "127.0.0.1:0", "-c"])
            .arg(settings)
            .args(arguments)
            .env("DJANGO_ADDRESS_FILE", &address_file)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("gunicorn starts");
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut django = Self { child, folder, told, address };
        django.address = eventually("gunicorn to listen", || {
            if let Some(status) = django.child.try_wait().unwrap() {
                panic!("gunicorn ended with {status}:\n{}", django.log());
            }
            std::fs::read_to_string(&address_file).ok()?.trim().parse().ok()
        });
        django
    }

    /// Returns the service that all tests share which do not change its users. It ends with the last test that holds it.
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Django>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let started = Arc::new(Self::start());
            *shared = Arc::downgrade(&started);
            started
        })
    }

    /// Returns a gateway in front of it, with the service's users: `/public/` is public, the rest requires a sign-in.
    pub(crate) fn setup(&self) -> Setup {
        self.setup_with("")
    }

    /// Does the same, with further keys for the directory.
    pub(crate) fn setup_with(&self, directory: &str) -> Setup {
        Setup::new(self.address).directories(&format!(
            "[[directory]]\nkind = \"django\"\ndatabase = \"sqlite://{}\"\n{directory}\n",
            self.database().display()
        ))
    }

    /// Returns the path of the database file.
    pub(crate) fn database(&self) -> PathBuf {
        database_in(self.folder.path())
    }

    /// Returns the folder of a project that a test has written.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs Python code in the service, where `User` and `Group` are imported, as its own admin would.
    pub(crate) fn run(&self, code: &str) {
        self.run_with(&[], code);
    }

    /// Does the same, with these settings in its environment.
    pub(crate) fn run_with(&self, environment: &[(&str, &str)], code: &str) {
        let code = format!("from django.contrib.auth.models import Group, User\n{code}");
        manage_with(&self.told, environment, &["shell", "-v", "0", "-c", &code]);
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Django {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- gunicorn's log\n{}", self.log());
        }
        // A process that has ended cannot be signalled, and a panic here would end all tests.
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        // SIGQUIT makes it end its worker at once, too; after a SIGKILL it could not.
        signal("QUIT", self.child.id());
        let told = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if told.elapsed() > DEADLINE {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

fn database_in(folder: &Path) -> PathBuf {
    folder.join("legacy.sqlite3")
}

/// Returns the setting that tells the service an SQLite file.
fn sqlite(path: &Path) -> String {
    path.display().to_string()
}

/// Returns the service's Python, in its folder, with this database: a file, or the URL of a server.
fn python(database: &str) -> Command {
    let key = if database.contains("://") { "DJANGO_DATABASE_URL" } else { "DJANGO_DB" };
    let mut command = Command::new(interpreter());
    command
        .current_dir(root().join("tests/django"))
        .env_remove("DJANGO_DATABASE_URL")
        .env(key, database)
        .env_remove("DJANGO_SETTINGS_MODULE")
        .stdin(Stdio::null());
    command
}

/// Runs one of the service's commands.
pub(super) fn manage(database: &str, arguments: &[&str]) {
    manage_with(database, &[], arguments);
}

fn manage_with(database: &str, environment: &[(&str, &str)], arguments: &[&str]) {
    let output = try_manage_with(database, environment, arguments);
    assert!(
        output.status.success(),
        "manage.py {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

pub(super) fn try_manage(database: &str, arguments: &[&str]) -> Output {
    try_manage_with(database, &[], arguments)
}

fn try_manage_with(database: &str, environment: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = python(database);
    command.envs(environment.iter().copied()).arg("manage.py").args(arguments);
    command.output().unwrap()
}

/// Returns the database with all tables and users, which is created once.
fn seeded() -> &'static [u8] {
    static DATABASE: OnceLock<Vec<u8>> = OnceLock::new();
    DATABASE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let database = database_in(folder.path());
        manage(&sqlite(&database), &["migrate", "-v", "0"]);
        manage(&sqlite(&database), &["seed_users", "-v", "0"]);
        std::fs::read(database).unwrap()
    })
}

/// Returns the environment of the service with this database, for running its `manage.py`.
pub(crate) fn environment(database: &str) -> [(&'static str, String); 2] {
    let key = if database.contains("://") { "DJANGO_DATABASE_URL" } else { "DJANGO_DB" };
    let venv = interpreter().ancestors().nth(2).unwrap();
    [(key, database.to_owned()), ("VIRTUAL_ENV", venv.display().to_string())]
}

/// Returns Python with Django, which `scripts/setup` installs. The script is run here if that was not done.
pub(crate) fn interpreter() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let python = root().join(".tools/venv/bin/python");
        // The stamp is written last: without it the environment is incomplete.
        if !root().join(".tools/venv/.requirements").exists() {
            let status = Command::new(root().join("scripts/setup")).status();
            assert!(
                status.is_ok_and(|status| status.success()),
                "there is no Django in .tools/venv; run scripts/setup and see why"
            );
        }
        python
    })
}

/// Returns the root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
