//! Serves as the yardstick: only the framework, with its own defaults, started in the same way as the gateway.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::IntoRawFd;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use pingora::Result;
use pingora::listeners::tls::TlsSettings;
use pingora::proxy::{ProxyHttp, Session, http_proxy};
use pingora::server::Fds;
use pingora::server::configuration::ServerConf;
use pingora::services::Service as _;
use pingora::services::listening::Service;
use pingora::upstreams::peer::HttpPeer;
use tokio::sync::watch;

use super::count::http2::{CERTIFICATE, KEY};
use super::process;

struct PassThrough {
    upstream: SocketAddr,
}

#[async_trait]
impl ProxyHttp for PassThrough {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.upstream, false, String::new())))
    }
}

/// Serves until the parent ends; over TLS and HTTP/2 with the certificate in this folder, if there is one.
pub(crate) fn run(threads: usize, upstream: SocketAddr, certificate: Option<&Path>) {
    rustls::crypto::aws_lc_rs::default_provider().install_default().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .unwrap();
    let listener = process::bind_and_tell();
    let (_stop, stopped) = watch::channel(false);
    let tls = certificate.map(|folder| {
        let of = |name| folder.join(name).to_str().unwrap().to_owned();
        let mut tls = TlsSettings::intermediate(&of(CERTIFICATE), &of(KEY)).unwrap();
        tls.enable_h2();
        tls
    });
    runtime.spawn(serve(listener, upstream, tls, stopped));
    process::wait_for_the_parents_end();
    runtime.shutdown_background();
}

async fn serve(
    listener: TcpListener,
    upstream: SocketAddr,
    tls: Option<TlsSettings>,
    stopped: watch::Receiver<bool>,
) {
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut sockets = Fds::new();
    sockets.add(address.clone(), listener.into_raw_fd());
    let proxy = http_proxy(&Arc::new(ServerConf::default()), PassThrough { upstream });
    let mut service = Service::new("pass-through".to_owned(), proxy);
    match tls {
        Some(tls) => service.add_tls_with_settings(&address, None, tls),
        None => service.add_tcp(&address),
    }
    service.start_service(Some(Arc::new(Mutex::new(sockets))), stopped, 1).await;
}
