//! Simulates a distance to the gateway: bytes of both directions arrive later, and do not wait for each other.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Starts a listener that forwards to `address` with this delay each way, and returns its address.
pub(crate) fn far_from(address: SocketAddr, one_way: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = TcpStream::connect(address).unwrap();
            carry(client.try_clone().unwrap(), server.try_clone().unwrap(), one_way);
            carry(server, client, one_way);
        }
    });
    near
}

fn carry(mut from: TcpStream, mut to: TcpStream, one_way: Duration) {
    to.set_nodelay(true).unwrap();
    let (sender, under_way) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        let mut bytes = vec![0; 256 * 1024];
        while let Ok(n @ 1..) = from.read(&mut bytes) {
            if sender.send((Instant::now() + one_way, bytes[..n].to_vec())).is_err() {
                return;
            }
        }
    });
    thread::spawn(move || {
        for (due, bytes) in under_way {
            // This is the delay.
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                return;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
}
