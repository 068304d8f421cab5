use futures_util::FutureExt as _;
use tokio::io::{AsyncReadExt as _, DuplexStream};

use super::*;

const HEAD: &[u8] = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n";

fn pair() -> (DuplexStream, ClientStream) {
    let (client, server) = tokio::io::duplex(64 * 1024);
    (client, ClientStream::new(Box::new(server), 1000))
}

/// Reads the available bytes, at most `size` at a time; `None` if the read would wait.
fn read(stream: &mut ClientStream, size: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; size];
    let n = stream.read(&mut bytes).now_or_never()?.unwrap();
    bytes.truncate(n);
    Some(bytes)
}

/// The rules are those of RFC 9112 sections 2.2 and 9.3.2.
#[tokio::test]
async fn requests_are_handed_over_one_at_a_time() {
    for size in [1, 7, 1000] {
        let (mut client, mut stream) = pair();
        let orders = Arc::clone(stream.orders());
        assert!(!orders.next_head());
        client.write_all(b"\r\n\r\nPOST /1 HTTP/1.1\r\n\r\nhello\r\n").await.unwrap();
        client
            .write_all(b"POST /2 HTTP/1.1\r\n\r\n3\r\nabc\r\n0\r\n\r\n\r\nGET /3 ")
            .await
            .unwrap();
        let all = |stream: &mut ClientStream| {
            let mut all = Vec::new();
            while let Some(part) = read(stream, size) {
                assert!(!part.is_empty());
                all.extend(part);
            }
            String::from_utf8(all).unwrap()
        };
        assert_eq!(all(&mut stream), "POST /1 HTTP/1.1\r\n\r\n");
        orders.follows(Follows::Length(5));
        assert_eq!(all(&mut stream), "hello");
        assert!(orders.next_head());
        assert_eq!(all(&mut stream), "POST /2 HTTP/1.1\r\n\r\n");
        orders.follows(Follows::Chunks);
        assert_eq!(all(&mut stream), "3\r\nabc\r\n0\r\n\r\n");
        assert!(orders.next_head());
        assert_eq!(all(&mut stream), "");
        assert!(orders.has_begun());
        client.write_all(b"HTTP/1.1\n\n").await.unwrap();
        assert_eq!(all(&mut stream), "GET /3 HTTP/1.1\n\n");
    }
}

/// An answer that is given without reading the body leaves its orders unread.
#[tokio::test]
async fn orders_are_followed_in_order() {
    for (follows, whole) in [
        (Follows::Length(0), true),
        (Follows::Upgrade, true),
        (Follows::Length(1), false),
        (Follows::Chunks, false),
    ] {
        let (mut client, mut stream) = pair();
        assert!(!stream.orders().next_head());
        client.write_all(HEAD).await.unwrap();
        client.write_all(HEAD).await.unwrap();
        assert_eq!(read(&mut stream, 100).unwrap(), HEAD);
        stream.orders().follows(follows);
        assert!(stream.orders().next_head());
        let next = read(&mut stream, 100).unwrap();
        assert_eq!(next, if whole { HEAD } else { b"" }, "{follows:?}");
    }
}

#[tokio::test]
async fn a_client_that_goes_is_noticed_and_half_a_head_is_nothing() {
    let (mut client, mut stream) = pair();
    client.write_all(b"GET / HT").await.unwrap();
    drop(client);
    assert_eq!(read(&mut stream, 100).unwrap(), b"");

    let (mut client, mut stream) = pair();
    client.write_all(HEAD).await.unwrap();
    assert_eq!(read(&mut stream, 100).unwrap(), HEAD);
    stream.orders().follows(Follows::Length(0));
    assert_eq!(read(&mut stream, 100), None);
    drop(client);
    assert_eq!(read(&mut stream, 100).unwrap(), b"");
}

#[tokio::test]
async fn what_is_no_head_is_handed_over_at_once_and_a_large_one_as_it_comes() {
    for bytes in [&b"\x16\x03\x01"[..], b"\r\n\r\n\0\r\nQUIT\n", &[b'a'; 1001]] {
        let (mut client, mut stream) = pair();
        client.write_all(bytes).await.unwrap();
        let expected = bytes.strip_prefix(b"\r\n\r\n").unwrap_or(bytes);
        assert_eq!(read(&mut stream, 2000).unwrap(), expected);
    }
    let (mut client, mut stream) = pair();
    client.write_all(&b"\r\n".repeat(20)).await.unwrap();
    assert_eq!(read(&mut stream, 100).unwrap(), b"");
    assert!(stream.orders().is_broken());
}

#[tokio::test]
async fn a_tunnel_gets_what_came_before_it() {
    let (mut client, mut stream) = pair();
    client.write_all(HEAD).await.unwrap();
    client.write_all(b"early").await.unwrap();
    assert_eq!(read(&mut stream, 100).unwrap(), HEAD);
    stream.orders().follows(Follows::Upgrade);
    assert_eq!(read(&mut stream, 100), None);
    stream.orders().tunnel();
    assert_eq!(read(&mut stream, 100).unwrap(), b"early");
}

#[tokio::test]
async fn an_http_2_client_says_so_first() {
    let whole = [PREFACE, b"frames"].concat();
    for (parts, expected) in [
        (&[&whole[..]][..], Ok(())),
        (&[&PREFACE[..5], &PREFACE[5..]], Ok(())),
        (&[], Err(ConnectionFailure::Empty)),
        (&[&PREFACE[..5]], Err(ConnectionFailure::Unreadable)),
        (&[&b"GET / HTTP/1.1\r\n"[..]], Err(ConnectionFailure::Unreadable)),
    ] {
        let (mut client, mut stream) = pair();
        for part in parts {
            client.write_all(part).await.unwrap();
        }
        drop(client);
        assert_eq!(stream.preface().await, expected, "{parts:?}");
        // No bytes of it are lost.
        assert_eq!(&stream.ahead[..], parts.concat());
    }
}

#[tokio::test]
async fn wrong_chunks_end_it() {
    let (mut client, mut stream) = pair();
    client.write_all(HEAD).await.unwrap();
    client.write_all(b"\r\nA\r\n0\r\n\r\n").await.unwrap();
    assert_eq!(read(&mut stream, 100).unwrap(), HEAD);
    stream.orders().follows(Follows::Chunks);
    assert!(stream.read(&mut [0; 100]).await.is_err());
    assert!(stream.orders().is_broken());
    assert_eq!(read(&mut stream, 100).unwrap(), b"");
}

#[tokio::test]
async fn the_middle_of_a_body_is_no_head() {
    let (mut client, mut stream) = pair();
    assert!(!stream.orders().next_head());
    client.write_all(HEAD).await.unwrap();
    client.write_all(HEAD).await.unwrap();
    assert_eq!(read(&mut stream, 100).unwrap(), HEAD);
    stream.orders().follows(Follows::Length(100));
    assert!(stream.orders().next_head());
    assert_eq!(read(&mut stream, 100).unwrap(), b"");
    assert!(stream.orders().is_broken());
}

#[tokio::test]
async fn a_dropped_connection_is_kept_or_lingers_only_where_it_may() {
    #[derive(Debug, PartialEq)]
    enum End {
        Kept,
        Lingers,
        Gone,
    }
    use End::{Gone, Kept, Lingers};
    type Told = fn(&Orders);
    let answered: Told = Orders::answered;
    let keep: Told = |orders| {
        orders.answered();
        orders.keep();
    };
    let broken: Told = |orders| {
        orders.answered();
        orders.keep();
        orders.broken();
    };
    for (follows, more, told, end) in [
        (Follows::Length(0), "", keep, Kept),
        (Follows::Length(0), "GET /next", keep, Kept),
        (Follows::Length(5), "hello", keep, Kept),
        (Follows::Length(5), "hel", keep, Lingers),
        (Follows::Length(0), "", answered, Gone),
        (Follows::Length(0), "GET /next", answered, Lingers),
        (Follows::Length(5), "", answered, Lingers),
        (Follows::Chunks, "5\r\n", answered, Lingers),
        (Follows::Chunks, "5\r\n", broken, Gone),
        (Follows::Length(0), "", broken, Gone),
        (Follows::Length(5), "", |_| {}, Gone),
    ] {
        let (mut client, mut stream) = pair();
        client.write_all(HEAD).await.unwrap();
        client.write_all(more.as_bytes()).await.unwrap();
        assert_eq!(read(&mut stream, 100).unwrap(), HEAD);
        let orders = Arc::clone(stream.orders());
        orders.follows(follows);
        let _ = read(&mut stream, 100);
        told(&orders);
        drop(stream);
        let kept = orders.take_kept().is_some();
        let found = match (kept, !kept && orders.take_unfinished().is_some()) {
            (true, _) => Kept,
            (false, true) => Lingers,
            (false, false) => Gone,
        };
        assert_eq!(found, end, "{follows:?} {more:?}");
    }
}

/// If a service pauses in an answer of known length, the beginning of the answer is sent at once.
#[tokio::test]
async fn what_was_written_is_sent_when_nothing_more_is_there() {
    let (mut client, mut stream) = pair();
    client.write_all(HEAD).await.unwrap();
    assert_eq!(read(&mut stream, 100).unwrap(), HEAD);
    stream.orders().follows(Follows::Length(0));
    let mut arrived = [0; 100];
    for part in [&b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"[..], b"hello", b"world"] {
        stream.write_all(part).await.unwrap();
        assert_eq!(client.read(&mut arrived).now_or_never().map(Result::unwrap), None);
        assert_eq!(read(&mut stream, 100), None, "the client says nothing");
        let n = client.read(&mut arrived).now_or_never().unwrap().unwrap();
        assert_eq!(arrived[..n], *part);
    }
}

#[tokio::test]
async fn the_part_of_an_answer_that_was_broken_off_is_sent() {
    let (mut client, mut stream) = pair();
    client.write_all(HEAD).await.unwrap();
    assert_eq!(read(&mut stream, 100).unwrap(), HEAD);
    let orders = Arc::clone(stream.orders());
    orders.follows(Follows::Length(0));
    orders.answered();
    stream.write_all(b"HTTP/1.1 200 OK").await.unwrap();
    drop(stream);
    assert!(orders.take_kept().is_none());
    let places = tokio::sync::Semaphore::new(1);
    let left = orders.take_unfinished().unwrap();
    let gentle = crate::proxy::connection::linger::linger(left, &places);
    let mut arrived = Vec::new();
    let (read, ()) = tokio::join!(
        async {
            let read = client.read_to_end(&mut arrived).await;
            drop(client);
            read
        },
        gentle
    );
    assert_eq!((read.unwrap(), &*arrived), (15, &b"HTTP/1.1 200 OK"[..]));
}
