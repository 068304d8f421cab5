//! Runs a database server as a process, in a folder of its own, with the legacy service's tables and users.
//!
//! `scripts/setup-test` installs the servers. They refuse to run as root, so root starts them as `nobody`.

use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::django::{manage, root, try_manage};
use super::eventually;
use super::gateway::{signal, write_private};

const NOBODY: u32 = 65534;

/// The gateway's password in `docs/databases.md`.
const PASSWORD: &str = "change-me";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Postgres,
    MariaDb,
}

/// A running server with the service's users in it.
pub(crate) struct Database {
    kind: Kind,
    folder: TempDir,
    port: u16,
    child: Option<Child>,
}

impl Database {
    pub(crate) fn start(kind: Kind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        if is_root() {
            chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut database = Self { kind, folder, port, child: None };
        database.create();
        database.certify();
        database.run();
        let url = database.admin_url();
        manage(&url, &["migrate", "-v", "0"]);
        manage(&url, &["seed_users", "-v", "0"]);
        for grant in [GRANT, SESSIONS_GRANT] {
            database.sql(&documented(kind, grant));
        }
        write_private(&database.password_file(), format!("{PASSWORD}\n"));
        database
    }

    /// Returns the settings of a directory.
    pub(crate) fn directory(&self) -> String {
        let folder = self.folder.path().display();
        let database = match self.kind {
            // The certificate is for this name and not for 127.0.0.1.
            Kind::Postgres => format!(
                "postgres://doorwarden@localhost:{}/postgres\"\ntls = \"verify-full\"\nca_file = \"{folder}/tls.crt",
                self.port
            ),
            Kind::MariaDb => format!("mysql://doorwarden@/app?socket={}", self.socket().display()),
        };
        format!(
            "[[directory]]\nkind = \"django\"\nname = \"django\"\nrefresh_interval = \"1s\"\ndatabase = \"{database}\"\n\
             password_file = \"{}\"\n",
            self.password_file().display()
        )
    }

    /// Returns the settings of a form that writes sessions there.
    pub(crate) fn sessions(&self) -> String {
        let keys = self.directory().replace("//doorwarden@", "//doorwarden_sessions@");
        let of_a_form = ["database =", "tls =", "ca_file =", "password_file ="];
        let is_one = |line: &&str| of_a_form.iter().any(|key| line.starts_with(key));
        keys.lines().filter(is_one).map(|line| format!("{line}\n")).collect()
    }

    pub(crate) fn password_file(&self) -> PathBuf {
        self.folder.path().join("password")
    }

    /// Returns the same with a host name that the certificate does not cover (PostgreSQL only).
    pub(crate) fn directory_with_another_name(&self) -> String {
        self.directory().replace("@localhost:", "@127.0.0.1:")
    }

    /// Runs Python code in the service; returns whether it succeeds.
    pub(crate) fn try_django(&self, code: &str) -> bool {
        try_manage(&self.admin_url(), &["shell", "-v", "0", "-c", code]).status.success()
    }

    /// Runs Python code in the service, where `User` and `Group` are imported.
    pub(crate) fn django(&self, code: &str) {
        let code = format!("from django.contrib.auth.models import Group, User\n{code}");
        manage(&self.admin_url(), &["shell", "-v", "0", "-c", &code]);
    }

    /// Runs statements as the server's administrator.
    pub(crate) fn sql(&self, statements: &str) {
        self.django(&format!(
            "from django.db import connection\n\
             for statement in '''{statements}\\n'''.split(';'):\n    \
                 if statement.strip(): connection.cursor().execute(statement)\n"
        ));
    }

    /// Starts the server (again), and waits until it accepts connections.
    pub(crate) fn run(&mut self) {
        let folder = self.folder.path();
        let data = folder.join("data");
        let mut command = match self.kind {
            Kind::Postgres => {
                let mut command = unprivileged(&installed("postgres"));
                command.args([
                    "-c",
                    "listen_addresses=127.0.0.1",
                    "-c",
                    "fsync=off",
                    "-c",
                    "ssl=on",
                ]);
                for (key, file) in [("ssl_cert_file", "tls.crt"), ("ssl_key_file", "tls.key")] {
                    command.arg("-c").arg(format!("{key}={}/{file}", folder.display()));
                }
                command.args(["-p", &self.port.to_string()]);
                command.arg("-k").arg(folder).arg("-D").arg(&data);
                command
            }
            Kind::MariaDb => {
                let init = folder.join("init.sql");
                std::fs::write(&init, "CREATE DATABASE IF NOT EXISTS app;\n").unwrap();
                let mut command = unprivileged(&installed("mariadbd"));
                command.args([
                    "--no-defaults",
                    "--skip-networking",
                    "--innodb-flush-log-at-trx-commit=0",
                ]);
                command.args(["--character-set-server=utf8mb4", "--innodb-buffer-pool-size=16M"]);
                for (key, path) in [
                    ("datadir", data),
                    ("socket", self.socket()),
                    ("pid-file", folder.join("pid")),
                    ("init-file", init),
                ] {
                    command.arg(format!("--{key}={}", path.display()));
                }
                command
            }
        };
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let child = command.stdout(Stdio::null()).stderr(log).spawn();
        self.child = Some(child.unwrap_or_else(|error| panic!("{command:?}: {error}")));
        eventually("the database server to be ready", || {
            if let Some(status) = self.child.as_mut().unwrap().try_wait().unwrap() {
                panic!("the server ended with {status}:\n{}", self.log());
            }
            let ready = match self.kind {
                Kind::Postgres => "database system is ready to accept connections",
                Kind::MariaDb => "ready for connections",
            };
            self.log().contains(ready).then_some(())
        });
    }

    /// Ends the server at once, with every connection.
    pub(crate) fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        match self.kind {
            // Its processes would outlive a SIGKILL; this signal ends them too, without an orderly shutdown.
            Kind::Postgres => signal("QUIT", child.id()),
            Kind::MariaDb => child.kill().unwrap(),
        }
        child.wait().unwrap();
    }

    fn create(&self) {
        let data = self.folder.path().join("data");
        let mut command = match self.kind {
            Kind::Postgres => {
                let mut command = unprivileged(&installed("initdb"));
                command.args(["--no-sync", "--encoding=UTF8", "--locale=C", "--username=admin"]);
                command.args(["--auth-local=trust", "--auth-host=scram-sha-256", "-D"]).arg(data);
                command
            }
            Kind::MariaDb => {
                let mut command = unprivileged(&installed("mariadb-install-db"));
                command.args(["--no-defaults", "--auth-root-authentication-method=normal"]);
                command.args(["--skip-test-db", "--skip-name-resolve"]);
                command.arg(format!("--datadir={}", data.display()));
                command
            }
        };
        let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        assert!(output.status.success(), "{command:?}: {output:?}");
    }

    /// Writes a certificate for `localhost`; only the server may read the key, as it demands.
    fn certify(&self) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = self.folder.path().join("tls.key");
        std::fs::write(self.folder.path().join("tls.crt"), made.cert.pem()).unwrap();
        write_private(&key, made.signing_key.serialize_pem());
        if is_root() {
            chown(&key, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }

    /// Returns its URL for Django, as its administrator.
    pub(crate) fn admin_url(&self) -> String {
        match self.kind {
            Kind::Postgres => {
                let folder = self.folder.path().display();
                format!("postgres://admin@:{}/postgres?socket={folder}", self.port)
            }
            Kind::MariaDb => format!("mysql://root@/app?socket={}", self.socket().display()),
        }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the database server's log\n{}", self.log());
        }
        self.kill();
    }
}

/// The number of the pair of statements in the documentation: the directory's, or that of the form `django-session`. The
/// issuers' pair is between them.
const GRANT: usize = 0;
const SESSIONS_GRANT: usize = 2;

/// Returns the statements that the documentation tells an operator to run.
fn documented(kind: Kind, grant: usize) -> String {
    let text = include_str!("../../../docs/databases.md");
    let nth = match kind {
        Kind::Postgres => 1,
        Kind::MariaDb => 2,
    };
    let block = text.split("```sql\n").nth(nth + 2 * grant).unwrap();
    block.split("```").next().unwrap().to_owned()
}

/// Returns the path of a server's program, which is installed if it is missing.
fn installed(program: &str) -> PathBuf {
    // MariaDB's installer needs a tool from the client's package.
    let find = || {
        if program == "mariadb-install-db" && !Path::new("/usr/bin/my_print_defaults").exists() {
            return None;
        }
        let mut folders: Vec<PathBuf> = ["/usr/bin", "/usr/sbin"].map(PathBuf::from).into();
        if let Ok(versions) = std::fs::read_dir("/usr/lib/postgresql") {
            folders.extend(versions.map(|version| version.unwrap().path().join("bin")));
        }
        folders.into_iter().map(|folder| folder.join(program)).find(|path| path.exists())
    };
    find().unwrap_or_else(|| {
        let status = Command::new(root().join("scripts/setup-test")).status();
        assert!(status.is_ok_and(|status| status.success()), "scripts/setup-test failed");
        find().unwrap_or_else(|| panic!("{program} is not installed; run scripts/setup-test"))
    })
}

fn unprivileged(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/").stdin(Stdio::null());
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}
