use proptest::prelude::*;

use super::FramingProblem as Problem;
use super::*;

const LIMITS: HeadLimits =
    HeadLimits { head_bytes: 64 * 1024, headers: 100, target_bytes: 8 * 1024 };

fn check(head: &str) -> Result<(), Problem> {
    check_head(head.as_bytes(), &LIMITS, &Methods::default())
}

/// Checks a request with these lines after `Host`.
fn with(lines: &str) -> Result<(), Problem> {
    check(&format!("POST /login HTTP/1.1\r\nHost: app\r\n{lines}\r\n"))
}

#[test]
fn ordinary_requests_pass() {
    for lines in [
        "",
        "Content-Length: 0\r\n",
        "Content-Length:12\r\n",
        "Transfer-Encoding: chunked\r\n",
        "transfer-encoding:\t CHUNKED \t\r\n",
        "Expect: 100-continue\r\nContent-Length: 5\r\n",
        "Authorization: Bearer x\r\nOrigin: http://app\r\nContent-Type: text/plain\r\n",
        "Cookie: a=1\r\nCookie: b=2\r\nAccept:\r\nX-Colon: a:b: c\r\n",
    ] {
        assert_eq!(with(lines), Ok(()), "{lines:?}");
    }
    assert_eq!(check("GET / HTTP/1.0\r\nHost: app\r\n\r\n"), Ok(()));
    assert_eq!(check("\r\n\r\nGET / HTTP/1.1\r\nHost: app\r\n\r\n"), Ok(()));
}

#[test]
fn what_two_servers_could_frame_differently_is_refused() {
    use FramingProblem::*;
    for (lines, problem) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", LengthAndChunked),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", LengthAndChunked),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", BadLength),
        ("Content-Length: 5\r\ncontent-length: 6\r\n", BadLength),
        ("Content-Length: 5, 5\r\n", BadLength),
        ("Content-Length: +5\r\n", BadLength),
        ("Content-Length: -1\r\n", BadLength),
        ("Content-Length: 0x5\r\n", BadLength),
        ("Content-Length: 5 5\r\n", BadLength),
        ("Content-Length:\r\n", BadLength),
        ("Transfer-Encoding: gzip, chunked\r\n", BadTransferEncoding),
        ("Transfer-Encoding: chunked, chunked\r\n", BadTransferEncoding),
        ("Transfer-Encoding: identity\r\n", BadTransferEncoding),
        ("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n", BadTransferEncoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", BadTransferEncoding),
        ("Transfer-Encoding: xchunked\r\n", BadTransferEncoding),
        ("Transfer-Encoding: \x0bchunked\r\n", BadTransferEncoding),
        ("Transfer-Encoding:\r\n", BadTransferEncoding),
        ("Transfer-Encoding : chunked\r\n", BadHeaderLine),
        ("X: a\r\n b\r\n", BadHeaderLine),
        ("X: a\r\n\tb: c\r\n", BadHeaderLine),
        ("no colon\r\n", BadHeaderLine),
        (": empty\r\n", BadHeaderLine),
        ("X: a\0b\r\n", BadHeaderLine),
        // A NUL is a problem of its own line, and not of one before it.
        ("Content-Length: 5 5\r\nX: a\0b\r\n", BadLength),
        ("X: a\n", BareLineEnd),
        ("X: a\rY: b\r\n", BareLineEnd),
        ("X: a\r\r\n", BareLineEnd),
    ] {
        assert_eq!(with(lines), Err(problem), "{lines:?}");
    }
    assert_eq!(
        check("POST / HTTP/1.0\r\nHost: app\r\nTransfer-Encoding: chunked\r\n\r\n"),
        Err(BadTransferEncoding)
    );
}

/// An unclear length is reported first, whatever else is wrong and wherever: after it no next request can be read.
#[test]
fn an_unclear_length_is_told_of_before_anything_else() {
    use FramingProblem::*;
    for other in ["X: y", "Host: b", "Origin: a\r\nOrigin: b", "Expect: x"] {
        for (lines, problem) in [
            ("Content-Length: 5\r\nTransfer-Encoding: chunked", LengthAndChunked),
            ("Content-Length: 5, 5", BadLength),
            ("Transfer-Encoding: gzip, chunked", BadTransferEncoding),
            ("Content-Length : 5", BadHeaderLine),
        ] {
            for line in ["POST / HTTP/1.1", "ODD / HTTP/1.1", "POST /#a HTTP/1.1"] {
                for fields in [format!("{other}\r\n{lines}"), format!("{lines}\r\n{other}")] {
                    let head = format!("{line}\r\nHost: a\r\n{fields}\r\n\r\n");
                    assert_eq!(check(&head), Err(problem), "{head}");
                    assert!(problem.is_of_length());
                }
            }
        }
    }
    // Otherwise the first problem is reported.
    assert_eq!(check("ODD /#a HTTP/1.1\r\nExpect: x\r\n\r\n"), Err(Fragment));
}

#[test]
fn fields_that_may_occur_once_do() {
    use FramingProblem::*;
    for (lines, problem) in [
        ("Host: evil\r\n", RepeatedHost),
        ("host: app\r\n", RepeatedHost),
        ("Authorization: a\r\nauthorization: a\r\n", RepeatedHeader),
        ("Origin: a\r\nOrigin: b\r\n", RepeatedHeader),
        ("Content-Type: a\r\nContent-Type: b\r\n", RepeatedHeader),
        ("Expect: y 100-continue\r\n", BadExpectation),
        ("Expect: 100-continue, y\r\n", BadExpectation),
        ("Expect:\r\n", BadExpectation),
    ] {
        assert_eq!(with(lines), Err(problem), "{lines:?}");
    }
    assert_eq!(check("GET / HTTP/1.1\r\n\r\n"), Err(NoHost));
    assert_eq!(check("GET / HTTP/1.0\r\nX: y\r\n\r\n"), Err(NoHost));
}

/// The length of a name only says which comparison is worth making.
#[test]
fn a_name_of_the_same_length_is_another_field() {
    for (checked, other) in [
        ("Host: app", "Date"),
        ("Expect: 100-continue", "Cookie"),
        ("Origin: http://app", "Cookie"),
        ("Content-Type: text/plain", "X-Request-Id"),
        ("Authorization: Bearer x", "If-None-Match"),
        ("Content-Length: 5", "Accept-Charset"),
        ("Transfer-Encoding: chunked", "If-Modified-Since"),
    ] {
        assert_eq!(checked.split(':').next().unwrap().len(), other.len(), "{other}");
        for fields in [
            format!("{other}: a\r\n{other}: b\r\n{checked}\r\n"),
            format!("{checked}\r\n{other}: a\r\n{other}: b\r\n"),
        ] {
            let host = if checked.starts_with("Host") { "" } else { "Host: app\r\n" };
            let head = format!("POST / HTTP/1.1\r\n{host}{fields}\r\n");
            assert_eq!(check(&head), Ok(()), "{head:?}");
        }
    }
    assert_eq!(check("GET / HTTP/1.1\r\nDate: a\r\n\r\n"), Err(Problem::NoHost));
}

#[test]
fn the_request_line_is_three_words() {
    use FramingProblem::*;
    for (line, problem) in [
        ("", BadRequestLine),
        ("GET /", BadRequestLine),
        ("GET  / HTTP/1.1", BadRequestLine),
        ("GET / HTTP/2.0", BadRequestLine),
        ("GET / HTTP/1.1 ", BadRequestLine),
        ("GET /a b HTTP/1.1", BadRequestLine),
        (" GET / HTTP/1.1", BadRequestLine),
        (" / HTTP/1.1", BadRequestLine),
        ("GET  HTTP/1.1", BadRequestLine),
        ("  HTTP/1.1", BadRequestLine),
        ("TRACE / HTTP/1.1", Method),
        ("CONNECT app:443 HTTP/1.1", Method),
        ("get / HTTP/1.1", Method),
        ("PROPFIND / HTTP/1.1", Method),
        ("GE-T / HTTP/1.1", Method),
    ] {
        assert_eq!(check(&format!("{line}\r\nHost: app\r\n\r\n")), Err(problem), "{line:?}");
    }
}

#[test]
fn a_route_can_let_methods_in_but_no_tunnel_and_no_echo() {
    use http::Method as M;
    let methods = Methods::with([M::from_bytes(b"PROPFIND").unwrap(), M::TRACE, M::CONNECT]);
    for (method, allowed) in
        [("GET", true), ("PROPFIND", true), ("TRACE", false), ("CONNECT", false)]
    {
        assert_eq!(methods.contains(method.as_bytes()), allowed, "{method}");
    }
}

#[test]
fn the_log_names_a_problem_as_the_code_does() {
    use FramingProblem::*;
    for problem in [
        HeadTooLarge,
        TooManyHeaders,
        TargetTooLong,
        BadRequestLine,
        BareLineEnd,
        BadHeaderLine,
        LengthAndChunked,
        BadLength,
        BadTransferEncoding,
        NoHost,
        RepeatedHost,
        RepeatedHeader,
        BadExpectation,
        Method,
        Fragment,
    ] {
        let kebab = format!("{problem:?}").chars().fold(String::new(), |mut kebab, letter| {
            if letter.is_uppercase() && !kebab.is_empty() {
                kebab.push('-');
            }
            kebab.extend(letter.to_lowercase());
            kebab
        });
        assert_eq!(problem.name(), kebab);
    }
}

#[test]
fn what_is_too_much_is_refused() {
    let limits = HeadLimits { head_bytes: 100, headers: 3, target_bytes: 10 };
    let check = |head: &str| check_head(head.as_bytes(), &limits, &Methods::default());
    assert_eq!(check("GET /123456789 HTTP/1.1\r\nHost: a\r\n\r\n"), Ok(()));
    assert_eq!(check("GET /1234567890 HTTP/1.1\r\nHost: a\r\n\r\n"), Err(Problem::TargetTooLong));
    assert_eq!(check("GET / HTTP/1.1\r\nHost: a\r\nA:\r\nB:\r\n\r\n"), Ok(()));
    assert_eq!(
        check("GET / HTTP/1.1\r\nHost: a\r\nA:\r\nB:\r\nC:\r\n\r\n"),
        Err(Problem::TooManyHeaders)
    );
    let of_length =
        |length: usize| format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", "a".repeat(length - 26));
    assert_eq!(of_length(100).len(), 100);
    assert_eq!(check(&of_length(100)), Ok(()));
    assert_eq!(check(&of_length(101)), Err(Problem::HeadTooLarge));
}

#[test]
fn fields_without_a_head_pass_the_same_rules() {
    let check_at = |method: &str, target: &str, fields: &[(&'static str, &'static str)]| {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, http::HeaderValue::from_static(value));
        }
        let method = http::Method::from_bytes(method.as_bytes()).unwrap();
        let limits = HeadLimits { head_bytes: 200, headers: 3, target_bytes: 10 };
        check_fields(&method, target, &headers, &limits, &Methods::default())
    };
    let check =
        |method: &str, fields: &[(&'static str, &'static str)]| check_at(method, "/", fields);
    for (target, checked) in [
        ("/123456789", Ok(())),
        ("/1234567890", Err(Problem::TargetTooLong)),
        ("/12345678901", Err(Problem::TargetTooLong)),
    ] {
        assert_eq!(check_at("GET", target, &[]), checked, "{target}");
    }
    assert_eq!(check("GET", &[("host", "app"), ("authorization", "a")]), Ok(()));
    assert_eq!(check("TRACE", &[]), Err(Problem::Method));
    assert_eq!(check("GET", &[("origin", "a"), ("origin", "a")]), Err(Problem::RepeatedHeader));
    assert_eq!(
        check("GET", &[("content-length", "1"), ("content-length", "1")]),
        Err(Problem::BadLength)
    );
    // The target, the names and the values count: here one byte of each of the first two, and all of the last.
    for (value_bytes, checked) in [(198, Ok(())), (199, Err(Problem::HeadTooLarge))] {
        let value = "v".repeat(value_bytes).leak();
        assert_eq!(check("GET", &[("x", value)]), checked, "{value_bytes}");
    }
    assert_eq!(check("GET", &[("expect", "x")]), Err(Problem::BadExpectation));
    let fields = [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")];
    assert_eq!(check("GET", &fields[..3]), Ok(()));
    assert_eq!(check("GET", &fields), Err(Problem::TooManyHeaders));
    // Cookies in fields of their own count as one field (RFC 9113 section 8.2.3).
    let crumbs = [("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3"), ("cookie", "d=4")];
    assert_eq!(check("GET", &crumbs), Ok(()));
    assert_eq!(check("GET", &[crumbs[0], crumbs[1], ("x", "1"), ("y", "2")]), Ok(()));
    let others = [("cookie", "a=1"), ("cookie", "b=2"), ("x", "1"), ("y", "2"), ("z", "3")];
    assert_eq!(check("GET", &others), Err(Problem::TooManyHeaders));
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_judged(head in prop::collection::vec(any::<u8>(), 0..256)) {
        let _ = check_head(&head, &LIMITS, &Methods::default());
    }

    /// A request that passes has at most one length and one coding, however the lines are ordered and spelled.
    #[test]
    fn what_passes_is_framed_in_one_way(lines in prop::collection::vec(prop::sample::select(vec![
        "Content-Length: 5", "content-length:5", "CONTENT-LENGTH: 5, 5", "Content-Length : 5", "Transfer-Encoding: chunked",
        "transfer-encoding: Chunked", "Transfer-Encoding: gzip", "Transfer-Encoding:", " chunked", "X: y",
    ]), 0..5), line_end in prop::sample::select(vec!["\r\n", "\n", "\r"])) {
        let fields: String = lines.iter().map(|line| format!("{line}{line_end}")).collect();
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        if check(&head).is_ok() {
            let framing = lines.iter().filter(|line| **line != "X: y").count();
            prop_assert!(framing <= 1, "{head:?}");
        }
    }
}
