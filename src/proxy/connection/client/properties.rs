//! Properties for any bytes, however they are split: the connection hands over the same messages, and the framework agrees.

use std::fmt::Write as _;

use futures_util::FutureExt as _;
use pingora::protocols::http::v1::server::HttpSession;
use proptest::prelude::*;
use tokio::io::AsyncReadExt as _;

use super::*;

/// A message: its head, its body as sent, and the kind of body that the head announces.
#[derive(Clone, Debug)]
struct SentMessage {
    head: String,
    body: Vec<u8>,
    follows: Follows,
}

/// Returns chunks of this data, with the extensions and trailers that the grammar allows.
fn chunked(parts: &[(Vec<u8>, &'static str)], trailer: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for (data, extension) in parts {
        body.extend(format!("{:x}{extension}\r\n", data.len()).bytes());
        body.extend(data);
        body.extend(b"\r\n");
    }
    body.extend(format!("0\r\n{trailer}\r\n").bytes());
    body
}

fn parts() -> impl Strategy<Value = Vec<(Vec<u8>, &'static str)>> {
    let extension = prop::sample::select(vec!["", "", ";a", ";a=b", " ; a=\"b;\\\"c\"", ";x=1;y"]);
    prop::collection::vec((prop::collection::vec(any::<u8>(), 1..40), extension), 0..5)
}

fn message() -> impl Strategy<Value = SentMessage> {
    let trailer = prop::sample::select(vec!["", "", "X-Sum: 1\r\n"]);
    prop_oneof![
        Just((String::new(), Vec::new(), Follows::Length(0))),
        Just(("Upgrade: h2c\r\n".to_owned(), Vec::new(), Follows::Upgrade)),
        prop::collection::vec(any::<u8>(), 1..100).prop_map(|body| {
            let length = u64::try_from(body.len()).unwrap();
            (format!("Content-Length: {length}\r\n"), body, Follows::Length(length))
        }),
        (parts(), trailer).prop_map(|(parts, trailer)| {
            let head = "Transfer-Encoding: chunked\r\n".to_owned();
            (head, chunked(&parts, trailer), Follows::Chunks)
        }),
    ]
    .prop_map(|(fields, body, follows)| {
        let mut head = "POST /x HTTP/1.1\r\n".to_owned();
        let _ = write!(head, "Host: a\r\n{fields}\r\n");
        SentMessage { head, body, follows }
    })
}

/// Reads all available bytes, in reads of these sizes.
async fn read_all(stream: &mut ClientStream, sizes: &mut impl Iterator<Item = usize>) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let mut bytes = vec![0; sizes.next().unwrap()];
        match stream.read(&mut bytes).now_or_never() {
            Some(Ok(n @ 1..)) => all.extend(&bytes[..n]),
            _ => return all,
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

proptest! {
    /// RFC 9112 section 9.3.2: whatever reads the bytes arrive in and are taken in, each message is handed over by itself.
    #[test]
    fn the_cuts_mean_nothing(
        messages in prop::collection::vec((message(), 0_usize..3), 1..5),
        cuts in prop::collection::vec(1_usize..60, 1..20),
        sizes in prop::collection::vec(1_usize..200, 1..10),
    ) {
        runtime().block_on(async {
            let mut bytes = Vec::new();
            for (message, empty_lines) in &messages {
                bytes.extend(b"\r\n".repeat(*empty_lines));
                bytes.extend(message.head.bytes());
                bytes.extend(&message.body);
            }
            let (mut client, server) = tokio::io::duplex(1 << 20);
            let mut stream = ClientStream::new(Box::new(server), 1000);
            let orders = Arc::clone(stream.orders());
            let (mut cuts, mut sizes) = (cuts.iter().cycle(), sizes.iter().copied().cycle());
            // More bytes come when the available ones have been taken.
            let mut rest = &bytes[..];
            let mut received = Vec::new();
            for (message, _) in &messages {
                orders.next_head();
                for (part, order) in
                    [(message.head.as_bytes(), None), (&message.body[..], Some(message.follows))]
                {
                    if let Some(follows) = order {
                        orders.follows(follows);
                    }
                    let mut read = read_all(&mut stream, &mut sizes).await;
                    while read.len() < part.len() && !rest.is_empty() {
                        let (now, later) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
                        client.write_all(now).await.unwrap();
                        rest = later;
                        read.extend(read_all(&mut stream, &mut sizes).await);
                    }
                    prop_assert_eq!(&read[..], part);
                    received.extend(read);
                }
            }
            prop_assert!(!orders.is_broken());
            prop_assert!(rest.is_empty());
            Ok(())
        })?;
    }

    /// RFC 9112 section 7.1: the body ends at the same byte for this reader and for the framework, and so does the next
    /// request begin, also where one byte of it was changed.
    #[test]
    fn the_framework_reads_chunks_as_we_do(
        parts in parts(),
        trailer in prop::sample::select(vec!["", "X-Sum: 1\r\n"]),
        changed in prop::option::of((
            any::<prop::sample::Index>(),
            prop::sample::select(b"0123456789abcdefF;=\" \t\r\n\0:xX\\\x80".to_vec()),
        )),
        cut in 1_usize..80,
    ) {
        const NEXT: &[u8] = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut body = chunked(&parts, trailer);
        if let Some((at, byte)) = changed {
            let at = at.index(body.len());
            body[at] = byte;
        }
        let mut chunks = Chunks::new();
        let all = [&body[..], NEXT].concat();
        let ours = chunks.take(&all).ok().filter(|_| chunks.is_ended());
        runtime().block_on(async {
            let (mut client, server) = tokio::io::duplex(1 << 20);
            let stream = ClientStream::new(Box::new(server), 1000);
            let orders = Arc::clone(stream.orders());
            orders.next_head();
            let mut session = HttpSession::new(Box::new(stream));
            client.write_all(b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
            session.read_request().await.unwrap();
            orders.follows(Follows::Chunks);
            let mut data = Vec::new();
            let mut rest = &all[..];
            let ended = loop {
                match session.read_body_bytes().now_or_never() {
                    Some(Ok(Some(part))) => data.extend(part),
                    Some(Ok(None)) => break true,
                    Some(Err(_)) => break false,
                    None if rest.is_empty() => break false,
                    None => {
                        let (now, later) = rest.split_at(rest.len().min(cut));
                        client.write_all(now).await.unwrap();
                        rest = later;
                    }
                }
            };
            client.write_all(rest).await.unwrap();
            let next = match session.reuse().now_or_never() {
                Some(Ok(Some(reusable))) if ended => {
                    orders.next_head();
                    let (mut stream, _) = reusable.into_parts();
                    let mut next = vec![0; 1000];
                    let n = stream.read(&mut next).now_or_never().map_or(0, |read| read.unwrap());
                    next.truncate(n);
                    next
                }
                _ => Vec::new(),
            };
            match ours {
                Some(taken) => {
                    prop_assert!(ended, "{taken} bytes are a body for us alone");
                    // The bytes behind it are the next head for both, if they are one.
                    let behind = &all[taken..];
                    if behind == NEXT {
                        prop_assert_eq!(&next[..], NEXT);
                    }
                    if changed.is_none() {
                        prop_assert_eq!(&data, &parts.iter().flat_map(|(data, _)| data.clone()).collect::<Vec<_>>());
                    }
                }
                // Whatever the framework's result: there is no next request.
                None => prop_assert_eq!(&next[..], b""),
            }
            Ok(())
        })?;
    }

    #[test]
    fn nothing_makes_it_panic(
        bytes in prop::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b':'), any::<u8>()], 0..300),
        order in prop_oneof![Just(Follows::Chunks), Just(Follows::Upgrade), any::<u64>().prop_map(Follows::Length)],
        sizes in prop::collection::vec(1_usize..40, 1..10),
    ) {
        runtime().block_on(async {
            let (mut client, server) = tokio::io::duplex(1 << 16);
            let mut stream = ClientStream::new(Box::new(server), 100);
            let orders = Arc::clone(stream.orders());
            let mut sizes = sizes.iter().copied().cycle();
            client.write_all(&bytes).await.unwrap();
            for _ in 0..3 {
                orders.next_head();
                read_all(&mut stream, &mut sizes).await;
                orders.follows(order);
                read_all(&mut stream, &mut sizes).await;
            }
            orders.tunnel();
            read_all(&mut stream, &mut sizes).await;
        });
    }
}
