//! Generates load: clients that post at a constant rate, whatever happens to the server, and record which requests are
//! lost.
//!
//! A request is lost if any of it was sent and no whole answer came. If the connection is refused, nothing is lost, and the
//! client tries again. HTTP/2 requests that a GOAWAY declares unprocessed are not lost either (RFC 9113 section 6.8).

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::DEADLINE;

/// How a client posts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// On a kept connection.
    Kept,
    /// On a new connection each time.
    Short,
    /// On a kept TLS connection.
    Tls,
    /// On a kept HTTP/2 connection.
    Http2,
}

/// The addresses that clients post to.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) http2: Arc<ClientConfig>,
}

/// Running clients.
pub(crate) struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Vec<Duration>>>,
}

/// The result of a load.
pub(crate) struct Outcome {
    pub(crate) answered: usize,
    /// The reason for each lost request.
    pub(crate) lost: Vec<String>,
    times: Vec<Duration>,
}

struct Shared {
    target: Target,
    pause: Duration,
    stop: AtomicBool,
    answered: AtomicUsize,
    lost: Mutex<Vec<String>>,
}

const CATCHES_UP: Duration = Duration::from_millis(500);
const BODY: &str = "hello";
const TARGET: &str = "/public/x";

impl Load {
    /// Starts `per_second` requests a second by clients of these kinds, which take turns.
    pub(crate) fn start(target: Target, per_second: u32, kinds: &[Kind]) -> Self {
        let clients = u32::try_from(kinds.len()).unwrap();
        let shared = Arc::new(Shared {
            target,
            pause: Duration::from_secs(1) * clients / per_second,
            stop: AtomicBool::new(false),
            answered: AtomicUsize::new(0),
            lost: Mutex::default(),
        });
        let begun = Instant::now();
        let threads = kinds.iter().zip(0_u32..).map(|(&kind, nth)| {
            let shared = Arc::clone(&shared);
            let first = begun + shared.pause * nth / clients;
            thread::spawn(move || match kind {
                Kind::Kept | Kind::Short => {
                    shared.post(first, kind == Kind::Kept, |target| connect(target.http))
                }
                Kind::Tls => shared.post(first, true, |target| {
                    let name = ServerName::try_from("app.test").unwrap();
                    let tls = ClientConnection::new(Arc::clone(&target.tls), name).unwrap();
                    let mut stream = StreamOwned::new(tls, connect(target.https)?);
                    // A connection that ends during the handshake has carried no request.
                    stream.flush().ok()?;
                    Some(stream)
                }),
                Kind::Http2 => shared.post_http2(first),
            })
        });
        let threads = threads.collect();
        Self { shared, threads }
    }

    /// Returns how many requests were answered so far.
    pub(crate) fn answered(&self) -> usize {
        self.shared.answered.load(Ordering::SeqCst)
    }

    /// Returns how many requests are answered per second, measured for this long.
    pub(crate) fn rate(&self, within: Duration) -> f64 {
        let (before, begun) = (self.answered(), Instant::now());
        thread::sleep(within);
        let answered = u32::try_from(self.answered() - before).unwrap();
        f64::from(answered) / begun.elapsed().as_secs_f64()
    }

    /// Stops after each client's last request.
    pub(crate) fn stop(self) -> Outcome {
        self.shared.stop.store(true, Ordering::SeqCst);
        let mut times: Vec<_> =
            self.threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        times.sort_unstable();
        let lost = std::mem::take(&mut *self.shared.lost.lock().unwrap());
        Outcome { answered: self.shared.answered.load(Ordering::SeqCst), lost, times }
    }
}

impl Outcome {
    /// Returns the time within which this percentage of requests was answered.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        self.times.get(self.times.len() * percent / 100).copied().unwrap_or_default()
    }
}

impl Shared {
    fn goes_on(&self, due: &mut Instant) -> bool {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        // Delayed requests are caught up with, but not all that a restart has delayed.
        *due = (*due + self.pause).max(Instant::now() - CATCHES_UP);
        !self.stop.load(Ordering::SeqCst)
    }

    fn was_answered(&self, times: &mut Vec<Duration>, begun: Instant) {
        times.push(begun.elapsed());
        self.answered.fetch_add(1, Ordering::SeqCst);
    }

    fn was_lost(&self, why: String) {
        self.lost.lock().unwrap().push(why);
    }

    fn post<S: Read + Write>(
        &self,
        mut due: Instant,
        keeps: bool,
        connect: impl Fn(&Target) -> Option<S>,
    ) -> Vec<Duration> {
        let close = if keeps { "" } else { "Connection: close\r\n" };
        let request = format!(
            "POST {TARGET} HTTP/1.1\r\nHost: app.test\r\n{close}Content-Length: {}\r\n\r\n{BODY}",
            BODY.len()
        );
        let (mut times, mut kept) = (Vec::new(), None);
        while self.goes_on(&mut due) {
            let Some(mut stream) = kept.take().or_else(|| connect(&self.target)) else { continue };
            let begun = Instant::now();
            match exchange(&mut stream, request.as_bytes()) {
                Ok(is_last) => {
                    self.was_answered(&mut times, begun);
                    kept = (keeps && !is_last).then_some(stream);
                }
                Err(why) => self.was_lost(why),
            }
        }
        times
    }

    fn post_http2(&self, mut due: Instant) -> Vec<Duration> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (mut times, mut kept) = (Vec::new(), None);
        while self.goes_on(&mut due) {
            runtime.block_on(async {
                let Some(mut send) = kept.take() else {
                    kept = connect_http2(&self.target).await;
                    return;
                };
                let begun = Instant::now();
                let posted = tokio::time::timeout(DEADLINE, exchange_http2(&mut send)).await;
                match posted.unwrap_or_else(|_| Err(h2::Error::from(h2::Reason::CANCEL))) {
                    Ok(()) => {
                        self.was_answered(&mut times, begun);
                        kept = Some(send);
                    }
                    // The server has not processed the request.
                    Err(error)
                        if error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR) => {}
                    Err(error) if error.reason() == Some(h2::Reason::REFUSED_STREAM) => {}
                    Err(error) => self.was_lost(format!("HTTP/2: {error}")),
                }
            });
        }
        times
    }
}

fn connect(address: SocketAddr) -> Option<TcpStream> {
    let stream = TcpStream::connect(address).ok()?;
    // A port without a listener may be assigned to the very socket that connects to it.
    if stream.local_addr().ok()? == address {
        return None;
    }
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_nodelay(true).unwrap();
    Some(stream)
}

/// Returns whether the answer says that it is the connection's last.
fn exchange(stream: &mut (impl Read + Write), request: &[u8]) -> Result<bool, String> {
    stream.write_all(request).and_then(|()| stream.flush()).map_err(|e| format!("sending: {e}"))?;
    let (mut answer, mut chunk) = (Vec::new(), [0; 4096]);
    while !answer.ends_with(b"\r\n\r\nok") {
        match stream.read(&mut chunk) {
            Ok(n @ 1..) => answer.extend(&chunk[..n]),
            Ok(_) => return Err(format!("the end after {:?}", String::from_utf8_lossy(&answer))),
            Err(error) => return Err(format!("receiving: {error}")),
        }
    }
    let answer = String::from_utf8_lossy(&answer).to_ascii_lowercase();
    if !answer.starts_with("http/1.1 200") {
        return Err(answer);
    }
    Ok(answer.contains("connection: close"))
}

async fn connect_http2(target: &Target) -> Option<h2::client::SendRequest<Bytes>> {
    let socket = tokio::net::TcpStream::connect(target.https).await.ok()?;
    socket.set_nodelay(true).unwrap();
    let name = ServerName::try_from("app.test").unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::clone(&target.http2));
    let (send, connection) =
        h2::client::handshake(connector.connect(name, socket).await.ok()?).await.ok()?;
    tokio::spawn(connection);
    Some(send)
}

async fn exchange_http2(send: &mut h2::client::SendRequest<Bytes>) -> Result<(), h2::Error> {
    let mut ready = send.clone().ready().await?;
    let request = http::Request::post(format!("https://app.test{TARGET}")).body(()).unwrap();
    let (answer, mut body) = ready.send_request(request, false)?;
    body.send_data(Bytes::from_static(BODY.as_bytes()), true)?;
    let (head, mut receive) = answer.await?.into_parts();
    assert_eq!(head.status, 200);
    while let Some(data) = receive.data().await {
        data?;
    }
    Ok(())
}
