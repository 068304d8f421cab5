//! An upstream that costs as little as possible: one of two ready answers, by the end of the target.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use super::process;

/// Of a small answer's body.
const SMALL: usize = 64;
/// Of a large answer's body.
const LARGE: usize = 100_000;

/// Serves until the parent is gone.
pub(crate) fn run() {
    let listener = process::bind_and_tell();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let connection = connection.unwrap();
            thread::spawn(move || serve(connection));
        }
    });
    process::wait_for_the_parents_end();
}

fn serve(mut connection: TcpStream) {
    connection.set_nodelay(true).unwrap();
    let (small, large) = (answer(SMALL), answer(LARGE));
    let mut head = Vec::new();
    let mut buffer = vec![0; 8 * 1024];
    while let Ok(length @ 1..) = connection.read(&mut buffer) {
        head.extend_from_slice(&buffer[..length]);
        // Requests have no body, and a proxy sends the next one after the answer.
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        let line_end = head.iter().position(|byte| *byte == b'\r').unwrap();
        let is_large = head[..line_end].ends_with(b"/large HTTP/1.1");
        if connection.write_all(if is_large { &large } else { &small }).is_err() {
            return;
        }
        head.clear();
    }
}

fn answer(length: usize) -> Vec<u8> {
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nVary: Accept\r\nContent-Length: {length}\r\n\r\n"
    )
    .into_bytes();
    answer.resize(answer.len() + length, b'1');
    answer
}
