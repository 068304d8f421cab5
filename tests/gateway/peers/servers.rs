//! Starts real servers, each on a port and in a folder of its own, and ends them when their value is dropped.

use std::ffi::OsStr;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use crate::support::django::root;
use crate::support::eventually;
use crate::support::gateway::signal;

/// A process that each test which needs it starts for itself.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

/// Every server behind the gateway, by the first segment of its paths.
pub(super) struct Servers {
    pub(super) all: Vec<(&'static str, Server)>,
    _fpm: Fpm,
    folder: TempDir,
}

/// PHP's process manager.
struct Fpm(Child);

/// Files of the file servers besides `hello` and `range`: a name in UTF-8 and one in EUC-KR.
const NAMES: [&[u8]; 2] = ["한글.txt".as_bytes(), b"\xC7\xD1\xB1\xDB.txt"];

impl Server {
    /// Starts it on a free port. If another process takes the port first, the server ends and is started again.
    pub(crate) fn start(what: &str, command: impl Fn(SocketAddr) -> Command) -> Self {
        eventually(what, || {
            let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let mut child = command(free)
                .stdin(Stdio::null())
                .spawn()
                .unwrap_or_else(|error| panic!("{what}: {error}; scripts/setup-test installs it"));
            let listens = eventually(what, || match child.try_wait().unwrap() {
                Some(_) => Some(false),
                None => TcpStream::connect(free).is_ok().then_some(true),
            });
            listens.then_some(Self { child, address: free })
        })
    }
}

impl Server {
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

impl Drop for Fpm {
    fn drop(&mut self) {
        end(&mut self.0);
    }
}

/// Ends a server. Servers with workers end these too only if they are asked to end.
fn end(child: &mut Child) {
    if child.try_wait().is_ok_and(|status| status.is_none()) {
        signal("TERM", child.id());
        let _ = child.wait();
    }
}

impl Servers {
    pub(super) fn start() -> Self {
        install();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        // Apache drops its privileges, and must still be able to read here.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let released = path.join("released");
        std::fs::create_dir(&released).unwrap();
        std::fs::set_permissions(&released, std::fs::Permissions::from_mode(0o777)).unwrap();
        for server in ["nginx", "apache"] {
            let files = path.join("files").join(server);
            std::fs::create_dir_all(files.join("names")).unwrap();
            std::fs::write(files.join("hello"), "hello\n").unwrap();
            // The first of January 2026, as in the applications.
            let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
            std::fs::File::open(files.join("hello")).unwrap().set_modified(modified).unwrap();
            let bytes: Vec<u8> = (0..1000_u32).map(|i| u8::try_from(i % 251).unwrap()).collect();
            std::fs::write(files.join("range"), bytes).unwrap();
            for name in NAMES {
                std::fs::write(files.join("names").join(OsStr::from_bytes(name)), "named\n")
                    .unwrap();
            }
        }
        let fpm = fpm(path);
        let peers = root().join("tests/peers");
        let with = |mut command: Command| {
            command.env("PEERS_FOLDER", &released).current_dir(&peers).stdout(Stdio::null());
            command
        };
        let all = vec![
            (
                "gunicorn",
                Server::start("gunicorn", |address| {
                    let mut command = with(Command::new(venv().join("bin/gunicorn")));
                    let bind = format!("--bind={address}");
                    command.args([&bind, "--threads=8", "--log-level=error", "--keep-alive=30"]);
                    command.arg("wsgi:app");
                    command
                }),
            ),
            (
                "uvicorn",
                Server::start("uvicorn", |address| {
                    let mut command = with(Command::new(venv().join("bin/uvicorn")));
                    let port = format!("--port={}", address.port());
                    command.args([&port, "--log-level=error", "--timeout-keep-alive=30"]);
                    command.arg("asgi:app");
                    command
                }),
            ),
            (
                "node",
                Server::start("node", |address| {
                    let mut command = with(Command::new("node"));
                    command.args(["server.mjs", &address.port().to_string()]);
                    command
                }),
            ),
            (
                "php",
                Server::start("php", |address| {
                    let mut command = with(Command::new("php"));
                    command.args(["-d", "expose_php=0", "-S", &address.to_string(), "index.php"]);
                    command.env("PHP_CLI_SERVER_WORKERS", "4").stderr(Stdio::null());
                    command
                }),
            ),
            (
                "nginx",
                Server::start("nginx", |address| {
                    nginx(path, "nginx", "off", &nginx_files(path, &peers, address))
                }),
            ),
            ("apache", Server::start("apache", |address| apache(path, &peers, address))),
        ];
        Self { all, _fpm: fpm, folder }
    }

    pub(super) fn address(&self, name: &str) -> SocketAddr {
        self.all.iter().find(|(known, _)| *known == name).expect("a server").1.address
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.folder.path().join("apache.log"));
            eprintln!("--- Apache's log\n{}", log.unwrap_or_default());
        }
    }
}

/// Returns nginx with this text inside `http { }`, in one process or (`master` is `on`) as it is usually run.
pub(crate) fn nginx(folder: &Path, name: &str, master: &str, http: &str) -> Command {
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("{kind}_temp_path {}/{name}-{kind};\n", folder.display()))
        .collect();
    let file = folder.join(format!("{name}.conf"));
    // Otherwise, when run as root, nginx's workers could not read here.
    let user = if std::fs::metadata(folder).unwrap().uid() == 0 { "user root root;" } else { "" };
    std::fs::write(
        &file,
        format!(
            "daemon off;\nmaster_process {master};\n{user}\npid {0}/{name}.pid;\nerror_log {0}/{name}.log;\n\
             events {{ worker_connections 512; }}\n\
             http {{\naccess_log off;\ndefault_type text/plain;\n{temporary}{http}\n}}\n",
            folder.display()
        ),
    )
    .unwrap();
    let mut command = Command::new("nginx");
    command.arg("-c").arg(&file).arg("-p").arg(folder).stderr(Stdio::null());
    command.env("PATH", path());
    command
}

fn nginx_files(folder: &Path, peers: &Path, address: SocketAddr) -> String {
    let (folder, peers) = (folder.display(), peers.display());
    format!(
        "server {{\nlisten {address};\nclient_max_body_size 16m;\nroot {folder}/files;\n\
         location ~ ^/nginx/(hello$|range$|names/) {{ }}\n\
         location / {{\nfastcgi_pass unix:{folder}/fpm.sock;\nfastcgi_buffering off;\n\
         fastcgi_param SCRIPT_FILENAME {peers}/index.php;\nfastcgi_param REQUEST_METHOD $request_method;\n\
         fastcgi_param REQUEST_URI $request_uri;\nfastcgi_param QUERY_STRING $query_string;\n\
         fastcgi_param CONTENT_TYPE $content_type;\nfastcgi_param CONTENT_LENGTH $content_length;\n}}\n}}"
    )
}

fn apache(folder: &Path, peers: &Path, address: SocketAddr) -> Command {
    let modules = if Path::new("/usr/lib/apache2/modules").exists() {
        "/usr/lib/apache2/modules"
    } else {
        "modules"
    };
    let mut text: String = ["mpm_event", "authz_core", "env", "proxy", "proxy_fcgi"]
        .iter()
        .map(|name| format!("LoadModule {name}_module {modules}/mod_{name}.so\n"))
        .collect();
    if std::fs::metadata(folder).unwrap().uid() == 0 {
        text += "User www-data\nGroup www-data\n";
    }
    let (file, folder) = (folder.join("apache.conf"), folder.display());
    text += &format!(
        "ServerName localhost\nListen {address}\nPidFile {folder}/apache.pid\nErrorLog {folder}/apache.log\n\
         DefaultRuntimeDir {folder}\nMutex pthread\nThreadsPerChild 25\nMaxRequestWorkers 25\nKeepAliveTimeout 30\n\
         MaxKeepAliveRequests 0\nSetEnv proxy-sendcl 1\nDocumentRoot {folder}/files\n<Directory />\nRequire all granted\n</Directory>\n\
         <Proxy \"unix:{folder}/fpm.sock|fcgi://localhost\">\nProxySet flushpackets=on\n</Proxy>\n\
         <LocationMatch \"^/apache/(?!hello$|range$|names/)\">\n\
         SetHandler \"proxy:unix:{folder}/fpm.sock|fcgi://localhost\"\n\
         ProxyFCGISetEnvIf \"true\" SCRIPT_FILENAME \"{}/index.php\"\n</LocationMatch>\n",
        peers.display()
    );
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new("apache2");
    command.arg("-X").arg("-f").arg(&file).env("PATH", path()).stderr(Stdio::null());
    command
}

/// Returns an HAProxy that proxies HTTP to one server.
pub(crate) fn haproxy(folder: &Path, address: SocketAddr, server: SocketAddr) -> Command {
    let file = folder.join("haproxy.conf");
    std::fs::write(
        &file,
        format!(
            "defaults\nmode http\ntimeout connect 5s\ntimeout client 30s\ntimeout server 30s\n             listen front\nbind {address}\noption forwardfor\nserver one {server}\n"
        ),
    )
    .unwrap();
    let mut command = Command::new("haproxy");
    command.args(["-db", "-q", "-f"]).arg(&file).env("PATH", path());
    command
}

/// Starts PHP for nginx and Apache.
fn fpm(folder: &Path) -> Fpm {
    let file = folder.join("fpm.conf");
    let socket = folder.join("fpm.sock");
    let mut text = format!(
        "[global]\nerror_log = {0}/fpm.log\npid = {0}/fpm.pid\n[peers]\nlisten = {0}/fpm.sock\nlisten.mode = 0666\n\
         pm = static\npm.max_children = 6\nenv[PEERS_FOLDER] = {0}/released\nphp_admin_value[expose_php] = 0\n\
         php_admin_value[upload_tmp_dir] = {0}/released\n",
        folder.display()
    );
    let mut command = Command::new(fpm_program().expect("php-fpm: scripts/setup-test installs it"));
    if std::fs::metadata(folder).unwrap().uid() == 0 {
        text += "user = root\ngroup = root\n";
        command.arg("-R");
    }
    std::fs::write(&file, text).unwrap();
    let child = command
        .args(["-F", "-y"])
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("php-fpm starts");
    let fpm = Fpm(child);
    eventually("php-fpm", || socket.exists().then_some(()));
    fpm
}

fn fpm_program() -> Option<PathBuf> {
    let folder = std::fs::read_dir("/usr/sbin").ok()?;
    folder.filter_map(Result::ok).map(|entry| entry.path()).find(|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("php-fpm"))
    })
}

/// Returns the search path with the folders in which Debian installs servers.
pub(crate) fn path() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}

/// Returns the Python environment with servers and clients.
pub(crate) fn venv() -> PathBuf {
    std::env::var_os("DOORWARDEN_PEERS_VENV")
        .map_or_else(|| root().join(".tools/peers-venv"), PathBuf::from)
}

/// Installs the programs if they are missing, once.
pub(crate) fn install() {
    static THERE: OnceLock<()> = OnceLock::new();
    THERE.get_or_init(|| {
        let is_there = |program: &str| {
            std::env::split_paths(&path()).any(|folder| folder.join(program).is_file())
        };
        let programs = ["nginx", "apache2", "haproxy", "ab", "node", "php", "curl"];
        if !programs.iter().all(|program| is_there(program))
            || fpm_program().is_none()
            || !venv().join("bin/gunicorn").exists()
        {
            let status = Command::new(root().join("scripts/setup-test")).status();
            assert!(
                status.is_ok_and(|status| status.success()),
                "a server or client is missing; run scripts/setup-test and see why"
            );
        }
    });
}
