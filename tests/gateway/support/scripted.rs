//! An upstream that a test controls byte by byte: what it answers, when, and how it ends.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use super::DEADLINE;

/// A running upstream.
pub(crate) struct Scripted {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    received: Arc<Mutex<Vec<u8>>>,
}

/// A connection to the upstream, which records what it reads.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    received: Arc<Mutex<Vec<u8>>>,
    unread: Vec<u8>,
}

impl Scripted {
    /// Serves each connection with this function, in a thread of its own.
    pub(crate) fn start(serve: impl Fn(&mut Connection) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, received) = (Arc::new(AtomicUsize::new(0)), Arc::default());
        let (counted, noted) = (Arc::clone(&connections), Arc::clone(&received));
        let serve = Arc::new(serve);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                counted.fetch_add(1, Ordering::SeqCst);
                stream.set_read_timeout(Some(DEADLINE)).unwrap();
                stream.set_nodelay(true).unwrap();
                let (received, serve) = (Arc::clone(&noted), Arc::clone(&serve));
                thread::spawn(move || {
                    serve(&mut Connection { stream, received, unread: Vec::new() });
                });
            }
        });
        Self { address, connections, received }
    }

    /// Answers each head with these bytes, and closes the connection if they say so.
    pub(crate) fn answering(answer: &'static str) -> Self {
        Self::start(move |connection| {
            while connection.until("\r\n\r\n").is_some() {
                connection.write(answer);
                if answer.is_empty() || answer.contains("Connection: close") {
                    return;
                }
            }
        })
    }

    /// Returns how many connections were opened to it.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Returns every received byte, of all connections in order.
    pub(crate) fn received(&self) -> String {
        String::from_utf8_lossy(&self.received.lock().unwrap()).into_owned()
    }
}

impl Connection {
    /// Reads up to the next occurrence of this text; `None` if the connection ends before it.
    pub(crate) fn until(&mut self, end: &str) -> Option<String> {
        loop {
            let found = self.unread.windows(end.len()).position(|w| w == end.as_bytes());
            if let Some(at) = found {
                let bytes: Vec<u8> = self.unread.drain(..at + end.len()).collect();
                return Some(String::from_utf8_lossy(&bytes).into_owned());
            }
            self.more()?;
        }
    }

    /// Reads exactly this many bytes; `None` if the connection ends before.
    pub(crate) fn exactly(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.unread.len() < length {
            self.more()?;
        }
        Some(self.unread.drain(..length).collect())
    }

    /// Returns what has been received, or is received next.
    pub(crate) fn some(&mut self) -> Option<Vec<u8>> {
        if self.unread.is_empty() {
            self.more()?;
        }
        Some(std::mem::take(&mut self.unread))
    }

    fn more(&mut self) -> Option<()> {
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(n @ 1..) => {
                self.received.lock().unwrap().extend(&chunk[..n]);
                self.unread.extend(&chunk[..n]);
                Some(())
            }
            _ => None,
        }
    }

    pub(crate) fn write(&mut self, bytes: &str) {
        // The gateway may have closed the connection.
        let _ = self.stream.write_all(bytes.as_bytes());
    }

    /// Reads until the other side closes.
    pub(crate) fn wait_for_the_end(&mut self) {
        let mut rest = [0; 4096];
        while let Ok(1..) = self.stream.read(&mut rest) {}
    }
}
