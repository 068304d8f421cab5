//! Runs an upstream that costs as little as possible: one of two prepared answers, chosen by the end of the target. It can
//! also report what it received, and plays an application with a login form that lets everybody sign in.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use super::{load, process};

/// The path that the login form is posted to.
pub(crate) const SIGN_IN: &str = "/sign-in";
/// The cookie that is set for whoever posts the form.
pub(crate) const COOKIE: &str = "PHPSESSID";

/// The length of a small answer's body.
const SMALL: usize = 64;
/// The length of a large answer's body.
const LARGE: usize = 100_000;

/// Serves until the parent ends.
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
    let (small, large) = (answer(&[b'1'; SMALL]), answer(&[b'1'; LARGE]));
    let signed_in = format!(
        "HTTP/1.1 302 Found\r\nLocation: /\r\nSet-Cookie: {COOKIE}=q7v2m9x4k1s8d5f3; Path=/; HttpOnly\r\nContent-Length: 0\r\n\r\n"
    );
    let mut request = Vec::new();
    let mut buffer = vec![0; 8 * 1024];
    while let Ok(length @ 1..) = connection.read(&mut buffer) {
        request.extend_from_slice(&buffer[..length]);
        // A proxy sends its next request after the answer.
        if !is_whole(&request) {
            continue;
        }
        let line_end = request.iter().position(|byte| *byte == b'\r').unwrap();
        let line = &request[..line_end];
        let sent = if line.ends_with(b"/large HTTP/1.1") {
            connection.write_all(&large)
        } else if line.ends_with(b"/seen HTTP/1.1") {
            connection.write_all(&answer(&request))
        } else if line.starts_with(b"POST /sign-in ") {
            connection.write_all(signed_in.as_bytes())
        } else {
            connection.write_all(&small)
        };
        if sent.is_err() {
            return;
        }
        request.clear();
    }
}

/// Whether the request is complete; only a POST has a body.
fn is_whole(request: &[u8]) -> bool {
    if !request.starts_with(b"POST ") {
        return request.ends_with(b"\r\n\r\n");
    }
    let text = String::from_utf8_lossy(request);
    let head_and_body = text.split_once("\r\n\r\n");
    head_and_body.is_some_and(|(head, body)| load::content_length(head) == Some(body.len()))
}

fn answer(body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nVary: Accept\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}
