//! A server that tests can switch: it answers with its name, or is dead, hung, slow or failing. It counts requests.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::support::eventually;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    /// It answers 200.
    Well,
    /// It answers after this time.
    Slow(Duration),
    /// It accepts requests and answers nothing.
    Hung,
    /// It answers this status.
    Status(u16),
    /// It closes the connection after the request.
    Breaks,
}

pub(super) struct Switched {
    pub(super) address: SocketAddr,
    name: &'static str,
    state: Arc<Mutex<State>>,
    listener: Option<Arc<TcpListener>>,
}

struct State {
    mode: Mode,
    is_open: bool,
    /// The heads of all requests: first line and `X-Nth`.
    seen: Vec<String>,
    open: Vec<TcpStream>,
}

impl Switched {
    pub(super) fn start(name: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = State { mode: Mode::Well, is_open: true, seen: Vec::new(), open: Vec::new() };
        let mut server = Self { address, name, state: Arc::new(Mutex::new(state)), listener: None };
        server.serve(listener);
        server
    }

    fn serve(&mut self, listener: TcpListener) {
        let listener = Arc::new(listener);
        self.listener = Some(Arc::clone(&listener));
        let (state, name) = (Arc::clone(&self.state), self.name);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                if !state.lock().unwrap().is_open {
                    return;
                }
                state.lock().unwrap().open.push(stream.try_clone().unwrap());
                let state = Arc::clone(&state);
                thread::spawn(move || {
                    let _ = answer(&stream, name, &state);
                });
            }
        });
    }

    pub(super) fn switch(&self, mode: Mode) {
        self.state.lock().unwrap().mode = mode;
    }

    /// Ends as a killed process does: nothing listens, and open connections are reset.
    pub(super) fn kill(&mut self) {
        let open = {
            let mut state = self.state.lock().unwrap();
            state.is_open = false;
            std::mem::take(&mut state.open)
        };
        for stream in open {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
        self.listener = None;
        // Wakes the thread, which holds the other handle.
        let _ = TcpStream::connect(self.address);
        eventually("the port to be closed", || {
            TcpStream::connect(self.address).is_err().then_some(())
        });
    }

    /// Starts again at the same address.
    pub(super) fn revive(&mut self) {
        self.state.lock().unwrap().is_open = true;
        let listener = eventually("the port again", || TcpListener::bind(self.address).ok());
        self.serve(listener);
    }

    pub(super) fn seen(&self) -> Vec<String> {
        self.state.lock().unwrap().seen.clone()
    }

    pub(super) fn count(&self) -> usize {
        self.state.lock().unwrap().seen.len()
    }
}

impl Drop for Switched {
    fn drop(&mut self) {
        self.state.lock().unwrap().is_open = false;
        let _ = TcpStream::connect(self.address);
    }
}

fn answer(stream: &TcpStream, name: &str, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream.try_clone()?;
    loop {
        let (mut first, mut length, mut nth) = (String::new(), 0, String::new());
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let line = line.trim().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if let Some(value) = line.strip_prefix("x-nth:") {
                nth = value.trim().to_owned();
            }
            if line.is_empty() {
                break;
            }
        }
        let mode = {
            let mut state = state.lock().unwrap();
            state.seen.push(format!("{} {nth}", first.trim()));
            state.mode
        };
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let status = match mode {
            Mode::Well => 200,
            Mode::Slow(time) => {
                thread::sleep(time);
                200
            }
            Mode::Status(status) => status,
            Mode::Breaks => return stream.shutdown(std::net::Shutdown::Both),
            Mode::Hung => {
                // Until the other side gives up.
                let _ = reader.read(&mut [0; 1]);
                return Ok(());
            }
        };
        let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{name}", name.len());
        writer.write_all(head.as_bytes())?;
    }
}
