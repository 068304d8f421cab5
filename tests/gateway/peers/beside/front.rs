//! Starts and stops the two front ends, and defines the rows that need this.

use std::cell::Cell;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::ClientConfig;
use tempfile::TempDir;

use super::super::servers::{Server, install, nginx};
use super::service::Service;
use super::wire::Wire;
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup, signal, write_private};
use crate::support::tls::{self, Certificate, H2};

/// The addresses of one of them.
pub(super) struct Front {
    pub(super) is_nginx: bool,
    pub(super) plain: SocketAddr,
    pub(super) tls: SocketAddr,
    /// The address of a listener that treats this machine as a trusted proxy.
    pub(super) behind_a_proxy: SocketAddr,
}

/// Both front ends, and what is behind them.
pub(super) struct Fronts {
    pub(super) nginx: Front,
    pub(super) doorwarden: Front,
    pub(super) service: Service,
    pub(super) gateway: Gateway,
    pub(super) certificate: Certificate,
    nginx_server: Server,
    _trusting: Gateway,
    folder: TempDir,
}

/// Number, input, the result of each, the right result, and its source.
pub(super) type Line = (u8, &'static str, [String; 2], &'static str, &'static str);

const ROUTES: &str = r#"
[[route]]
name = "public"
path = "/public/"
upstream = "app"
access = "public"
websocket = true

[[route]]
name = "files"
path = "/files/"
upstream = "app"
access = "public"
allow_ambiguous_path = ["invalid-utf8"]

[[route]]
name = "shop"
path = "/shop/"
upstream = "app"
access = "public"
strip_prefix = "/shop/"
rewrite_location = true

[[route]]
name = "buffered"
path = "/buffered/"
upstream = "buffered"
access = "public"

[[route]]
name = "app"
path = "/"
upstream = "app"
"#;

impl Fronts {
    pub(super) fn start() -> Self {
        install();
        let (service, certificate) = (Service::start(), Certificate::make());
        let upstream = service.scripted.address;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("cert.pem"), &certificate.pem).unwrap();
        std::fs::write(folder.path().join("key.pem"), &certificate.key).unwrap();
        let tls = Cell::new(upstream);
        let nginx_server = Server::start("nginx", |plain| {
            tls.set(TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
            let http = nginx_proxy(folder.path(), upstream, plain, tls.get());
            nginx(folder.path(), "beside", "on", &http)
        });
        let setup = || {
            Setup::new(upstream)
                .routes(ROUTES)
                .upstream("idle_timeout = \"30s\"")
                .with(&format!(
                    "[[upstream]]\nname = \"buffered\"\nservers = [\"{upstream}\"]\nbuffer_chunked = true"
                ))
                .with("[cors]\nallowed_origins = [\"https://shop.test\"]")
                .listen(
                    "https = [\"127.0.0.1:0\"]\ncertificate_file = \"cert.pem\"\nprivate_key_file = \"key.pem\"",
                )
                .file("cert.pem", certificate.pem.as_bytes())
                .file("key.pem", certificate.key.as_bytes())
        };
        let (gateway, trusting) = (setup().start(), setup().behind_a_proxy().start());
        Self {
            nginx: Front {
                is_nginx: true,
                plain: nginx_server.address,
                tls: tls.get(),
                behind_a_proxy: nginx_server.address,
            },
            doorwarden: Front {
                is_nginx: false,
                plain: gateway.http,
                tls: gateway.https.unwrap(),
                behind_a_proxy: trusting.http,
            },
            service,
            gateway,
            certificate,
            nginx_server,
            _trusting: trusting,
            folder,
        }
    }

    pub(super) fn h2(&self, front: &Front) -> H2 {
        H2::connect(front.tls, self.certificate.client(&["h2"]))
    }

    /// Replaces the certificate files of both, without a signal.
    pub(super) fn renewal(&self) -> Line {
        let new = Certificate::make();
        for folder in [self.folder.path(), self.gateway.folder()] {
            std::fs::write(folder.join("cert.pem"), &new.pem).unwrap();
            std::fs::write(folder.join("key.pem"), &new.key).unwrap();
        }
        self.renewed(&new, "certificate files replaced, no signal")
    }

    fn renewed(&self, new: &Certificate, what: &'static str) -> Line {
        let new: Arc<ClientConfig> = Arc::new(new.client(&["http/1.1"]));
        let serves_new = |front: &Front| {
            let mut stream = tls::connect(front.tls, &new);
            stream.conn.complete_io(&mut stream.sock).is_ok()
        };
        let ours =
            eventually("the new certificate", || serves_new(&self.doorwarden).then_some("new"));
        let nginx = if serves_new(&self.nginx) { "new" } else { "old until SIGHUP" };
        (21, what, [nginx.into(), ours.into()], "new", "files that change are read again")
    }

    /// Points the certificate files, which are links as certbot makes them, to other files with an old modification time.
    pub(super) fn renewal_by_link(&self) -> Line {
        let new = Certificate::make();
        let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        for folder in [self.folder.path(), self.gateway.folder()] {
            for (name, text) in [("cert", &new.pem), ("key", &new.key)] {
                let (link, file) =
                    (folder.join(format!("{name}.pem")), folder.join(format!("{name}2.pem")));
                write_private(&file, text);
                std::fs::File::open(&file).unwrap().set_modified(long_ago).unwrap();
                std::fs::remove_file(&link).unwrap();
                std::os::unix::fs::symlink(&file, &link).unwrap();
            }
        }
        let what = "certificate files become links to older files, no signal";
        self.renewed(&new, what)
    }

    /// Stops both while a kept connection is busy, and another has not sent a request yet.
    pub(super) fn stop(&mut self) -> [Line; 2] {
        let mut silent = [&self.nginx, &self.doorwarden].map(|front| Wire::to(front.plain));
        let mut busy = [&self.nginx, &self.doorwarden].map(|front| Wire::to(front.plain));
        for (held, wire) in busy.iter_mut().enumerate() {
            wire.write("GET /public/hold HTTP/1.1\r\nHost: app.test\r\n\r\n");
            eventually("the request", || (self.service.holds() > held).then_some(()));
        }
        signal("QUIT", self.nginx_server.id());
        self.gateway.terminate();
        self.gateway.logged("the stop", |line| line["message"] == "stopping");
        eventually("nginx to close its port", || TcpStream::connect(self.nginx.plain).err());
        let first = silent.each_mut().map(|wire| {
            let answer = wire.ask("GET /public/a", "", "");
            format!("{} {}", answer.status, answer.says())
        });
        self.service.release();
        let answers = busy.map(|mut wire| {
            let answer = wire.answer();
            format!("{} {}", answer.status, answer.says())
        });
        assert_eq!(self.gateway.wait(), Some(0));
        let (right, says) = ("200 close", "RFC 9112 section 9.6");
        let busy = "told to stop (SIGTERM; nginx: SIGQUIT) while a kept connection is busy";
        let silent = "first request of a connection that was open before";
        [(7, busy, answers, right, says), (7, silent, first, right, says)]
    }
}

fn nginx_proxy(
    folder: &std::path::Path,
    upstream: SocketAddr,
    plain: SocketAddr,
    tls: SocketAddr,
) -> String {
    let folder = folder.display();
    format!(
        "upstream service {{\nserver {upstream};\nkeepalive 8;\n}}\n\
         map $http_upgrade $asks {{\ndefault upgrade;\n'' '';\n}}\n\
         server {{\nlisten {plain};\nlisten {tls} ssl http2;\nclient_max_body_size 16m;\n\
         ssl_certificate {folder}/cert.pem;\nssl_certificate_key {folder}/key.pem;\n\
         proxy_http_version 1.1;\nproxy_set_header Connection $asks;\nproxy_set_header Upgrade $http_upgrade;\n\
         proxy_set_header Host $http_host;\n\
         location /private/ {{\nclient_max_body_size 1k;\nproxy_pass http://service;\n}}\n\
         location /shop/ {{\nproxy_pass http://service/;\nproxy_redirect / /shop/;\n}}\n\
         location / {{\nproxy_pass http://service;\n}}\n}}"
    )
}
