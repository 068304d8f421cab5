//! Checks the head of a request: framing, limits, and headers that may occur only once.
//!
//! HTTP libraries repair what RFC 9112 lets them repair: a `Content-Length` beside `Transfer-Encoding` vanishes, equal
//! lengths are merged, codings are dropped, bare line feeds are accepted. Each repair is a reading that the next server
//! may not share, which makes request smuggling possible. So the bytes of an HTTP/1 head are checked as they came, and
//! everything that two servers could read differently is refused. HTTP/2 has no such bytes; its fields pass the same
//! rules on values and repetition ([`check_fields`]).
//!
//! The target is only measured here; [`super::path`] parses it.

use http::header::COOKIE;
use http::{HeaderMap, Method};
use memchr::{memchr, memchr2};

use crate::refusal::Refusal;

#[cfg(test)]
mod tests;

/// The limits of a head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeadLimits {
    /// The most bytes of the head, request line and line ends included.
    pub head_bytes: usize,
    /// The most header fields.
    pub headers: usize,
    /// The most bytes of the target.
    pub target_bytes: usize,
}

/// The methods that are accepted: the usual seven, and those that a route lists.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Methods(Vec<Method>);

/// The problem with a head.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FramingProblem {
    /// More bytes than the limit.
    HeadTooLarge,
    /// More fields than the limit.
    TooManyHeaders,
    /// A longer target than the limit.
    TargetTooLong,
    /// The request line is not `method SP target SP HTTP/1.x`.
    BadRequestLine,
    /// A line ends with a line feed alone, or has a carriage return inside.
    BareLineEnd,
    /// A field without a colon or name, with space before the colon, with NUL, or continued on the next line.
    BadHeaderLine,
    /// Both `Content-Length` and `Transfer-Encoding`.
    LengthAndChunked,
    /// `Content-Length` twice, as a list, or not a plain number.
    BadLength,
    /// `Transfer-Encoding` twice, on HTTP/1.0, or anything but `chunked`.
    BadTransferEncoding,
    /// No `Host`.
    NoHost,
    /// `Host` twice.
    RepeatedHost,
    /// `Authorization`, `Origin` or `Content-Type` twice.
    RepeatedHeader,
    /// An `Expect` that is not `100-continue`.
    BadExpectation,
    /// A method that is not accepted.
    Method,
    /// A `#` in the target, which clients never send and parsers cut off.
    Fragment,
}

impl Methods {
    /// The methods that a route without a list of methods takes (R7).
    pub const USUAL: [Method; 7] = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
    ];

    /// Returns the usual seven and these. `CONNECT` and `TRACE` are never accepted: one is a tunnel, the other an echo of
    /// credentials.
    pub fn with(extra: impl IntoIterator<Item = Method>) -> Self {
        let mut methods: Vec<Method> = extra.into_iter().collect();
        methods.retain(|method| *method != Method::CONNECT && *method != Method::TRACE);
        Self(methods)
    }

    /// Whether the method is accepted. Methods are case-sensitive.
    pub fn contains(&self, method: &[u8]) -> bool {
        Self::USUAL.iter().chain(&self.0).any(|one| one.as_str().as_bytes() == method)
    }
}

impl FramingProblem {
    /// Returns the name for the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HeadTooLarge => "head-too-large",
            Self::TooManyHeaders => "too-many-headers",
            Self::TargetTooLong => "target-too-long",
            Self::BadRequestLine => "bad-request-line",
            Self::BareLineEnd => "bare-line-end",
            Self::BadHeaderLine => "bad-header-line",
            Self::LengthAndChunked => "length-and-chunked",
            Self::BadLength => "bad-length",
            Self::BadTransferEncoding => "bad-transfer-encoding",
            Self::NoHost => "no-host",
            Self::RepeatedHost => "repeated-host",
            Self::RepeatedHeader => "repeated-header",
            Self::BadExpectation => "bad-expectation",
            Self::Method => "method",
            Self::Fragment => "fragment",
        }
    }

    /// Whether the problem leaves it unclear where the request ends and the next begins.
    pub const fn is_of_length(self) -> bool {
        match self {
            Self::HeadTooLarge
            | Self::TooManyHeaders
            | Self::BadRequestLine
            | Self::BareLineEnd
            | Self::BadHeaderLine
            | Self::LengthAndChunked
            | Self::BadLength
            | Self::BadTransferEncoding => true,
            Self::TargetTooLong
            | Self::NoHost
            | Self::RepeatedHost
            | Self::RepeatedHeader
            | Self::BadExpectation
            | Self::Method
            | Self::Fragment => false,
        }
    }

    /// Returns the refusal that the client gets.
    pub const fn refusal(self) -> Refusal {
        match self {
            Self::HeadTooLarge | Self::TooManyHeaders => Refusal::HeadTooLarge,
            Self::TargetTooLong => Refusal::TargetTooLong,
            Self::BadRequestLine
            | Self::BareLineEnd
            | Self::LengthAndChunked
            | Self::BadLength
            | Self::BadTransferEncoding => Refusal::BadFraming,
            Self::BadHeaderLine | Self::RepeatedHeader => Refusal::BadHeader,
            Self::NoHost | Self::RepeatedHost => Refusal::BadHost,
            Self::BadExpectation => Refusal::BadExpectation,
            Self::Method => Refusal::MethodNotAllowed,
            Self::Fragment => Refusal::BadTarget,
        }
    }
}

/// Checks the bytes of an HTTP/1 head, from the request line to the empty line.
///
/// # Errors
/// The first problem that leaves it unclear where the body ends ([`FramingProblem::is_of_length`]); if there is none,
/// the first problem. So after a request that is refused for any other reason, the next one can be found.
pub fn check_head(
    head: &[u8],
    limits: &HeadLimits,
    methods: &Methods,
) -> Result<(), FramingProblem> {
    if head.len() > limits.head_bytes {
        return Err(FramingProblem::HeadTooLarge);
    }
    let mut lines = Lines(head);
    let request_line = loop {
        // RFC 9112 section 2.2: empty lines before a request line are skipped.
        match lines.next().ok_or(FramingProblem::BadRequestLine)?? {
            [] => {}
            line => break line,
        }
    };
    let (http_1_0, mut problem) = check_request_line(request_line, limits, methods)?;
    // One search for the whole head is enough, because hardly any head has a NUL; only then does its line matter.
    let has_nul = memchr(0, head).is_some();
    let mut seen = Seen::default();
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        seen.headers += 1;
        if seen.headers > limits.headers {
            return Err(FramingProblem::TooManyHeaders);
        }
        let is_bad = has_nul && memchr(0, line).is_some();
        let split = if is_bad { Err(FramingProblem::BadHeaderLine) } else { split_header(line) };
        match split.and_then(|(name, value)| seen.note(name, value)) {
            Err(found) if found.is_of_length() => return Err(found),
            Err(found) => problem = problem.or(Some(found)),
            Ok(()) => {}
        }
    }
    if http_1_0 && seen.chunked {
        return Err(FramingProblem::BadTransferEncoding);
    }
    if !seen.host {
        problem = problem.or(Some(FramingProblem::NoHost));
    }
    problem.map_or(Ok(()), Err)
}

/// Checks the method and fields of an HTTP/2 request, whose frames leave no doubt about lengths.
///
/// # Errors
/// The first problem found.
pub fn check_fields(
    method: &Method,
    target: &str,
    headers: &HeaderMap,
    limits: &HeadLimits,
    methods: &Methods,
) -> Result<(), FramingProblem> {
    if !methods.contains(method.as_str().as_bytes()) {
        return Err(FramingProblem::Method);
    }
    if target.len() > limits.target_bytes {
        return Err(FramingProblem::TargetTooLong);
    }
    // A client may send each cookie as a field of its own; together they count as one field (RFC 9113 section 8.2.3).
    let crumbs = headers.get_all(COOKIE).iter().count();
    if headers.len() - crumbs.saturating_sub(1) > limits.headers {
        return Err(FramingProblem::TooManyHeaders);
    }
    let mut seen = Seen::default();
    let mut bytes = target.len();
    for (name, value) in headers {
        bytes += name.as_str().len() + value.len();
        seen.note(name.as_str().as_bytes(), value.as_bytes())?;
    }
    if bytes > limits.head_bytes {
        return Err(FramingProblem::HeadTooLarge);
    }
    Ok(())
}

/// The fields seen so far that may occur only once.
#[derive(Default)]
struct Seen {
    headers: usize,
    host: bool,
    length: bool,
    chunked: bool,
    authorization: bool,
    origin: bool,
    content_type: bool,
}

impl Seen {
    fn note(&mut self, name: &[u8], value: &[u8]) -> Result<(), FramingProblem> {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        // The length tells most fields apart before any comparison.
        match name.len() {
            4 if is("host") => once(&mut self.host, FramingProblem::RepeatedHost),
            6 if is("expect") => {
                let expected = value.eq_ignore_ascii_case(b"100-continue");
                expected.then_some(()).ok_or(FramingProblem::BadExpectation)
            }
            6 if is("origin") => once(&mut self.origin, FramingProblem::RepeatedHeader),
            12 if is("content-type") => {
                once(&mut self.content_type, FramingProblem::RepeatedHeader)
            }
            13 if is("authorization") => {
                once(&mut self.authorization, FramingProblem::RepeatedHeader)
            }
            14 if is("content-length") => {
                once(&mut self.length, FramingProblem::BadLength)?;
                if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
                    return Err(FramingProblem::BadLength);
                }
                self.not_both()
            }
            17 if is("transfer-encoding") => {
                once(&mut self.chunked, FramingProblem::BadTransferEncoding)?;
                if !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(FramingProblem::BadTransferEncoding);
                }
                self.not_both()
            }
            _ => Ok(()),
        }
    }

    const fn not_both(&self) -> Result<(), FramingProblem> {
        if self.length && self.chunked { Err(FramingProblem::LengthAndChunked) } else { Ok(()) }
    }
}

const fn once(seen: &mut bool, problem: FramingProblem) -> Result<(), FramingProblem> {
    if *seen {
        return Err(problem);
    }
    *seen = true;
    Ok(())
}

/// The lines of a head, each without its CRLF; a head that was cut at the end of a read may lack the last one.
///
/// Every byte of every request passes here, so many bytes are checked in one step.
struct Lines<'h>(&'h [u8]);

impl<'h> Iterator for Lines<'h> {
    type Item = Result<&'h [u8], FramingProblem>;

    fn next(&mut self) -> Option<Self::Item> {
        let head = std::mem::take(&mut self.0);
        if head.is_empty() {
            return None;
        }
        let Some(end) = memchr2(b'\r', b'\n', head) else { return Some(Ok(head)) };
        // The first of the two is a CR that an LF follows, or one of them stands alone.
        let (line, rest) = head.split_at_checked(end).unwrap_or_default();
        let rest = rest.strip_prefix(b"\r\n").ok_or(FramingProblem::BareLineEnd);
        Some(rest.map(|rest| {
            self.0 = rest;
            line
        }))
    }
}

/// Checks `method SP target SP HTTP/1.x`; returns whether the version is HTTP/1.0, and the problem of method or target.
fn check_request_line(
    line: &[u8],
    limits: &HeadLimits,
    methods: &Methods,
) -> Result<(bool, Option<FramingProblem>), FramingProblem> {
    let mut parts = line.splitn(3, |byte| *byte == b' ');
    let (Some(method), Some(target), Some(version)) = (parts.next(), parts.next(), parts.next())
    else {
        return Err(FramingProblem::BadRequestLine);
    };
    let http_1_0 = match version {
        b"HTTP/1.1" => false,
        b"HTTP/1.0" => true,
        _ => return Err(FramingProblem::BadRequestLine),
    };
    if method.is_empty() || target.is_empty() {
        return Err(FramingProblem::BadRequestLine);
    }
    let problem = if target.len() > limits.target_bytes {
        Some(FramingProblem::TargetTooLong)
    } else if target.contains(&b'#') {
        Some(FramingProblem::Fragment)
    } else if methods.contains(method) {
        None
    } else {
        Some(FramingProblem::Method)
    };
    Ok((http_1_0, problem))
}

/// Returns the name and the value, without surrounding white space, of a line without NUL.
fn split_header(line: &[u8]) -> Result<(&[u8], &[u8]), FramingProblem> {
    // A line that starts with white space may continue the one before; servers differ on this.
    let ends_name = |byte: &u8| *byte == b':' || byte.is_ascii_whitespace();
    let end = line.iter().position(ends_name).ok_or(FramingProblem::BadHeaderLine)?;
    let (name, rest) = line.split_at_checked(end).unwrap_or_default();
    let value = rest.strip_prefix(b":").ok_or(FramingProblem::BadHeaderLine)?;
    if name.is_empty() {
        return Err(FramingProblem::BadHeaderLine);
    }
    // Only SP and HT are optional white space; `trim_ascii` would also trim other characters.
    let is_blank = |byte: &u8| *byte == b' ' || *byte == b'\t';
    let start = value.iter().position(|byte| !is_blank(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !is_blank(byte)).map_or(start, |last| last + 1);
    Ok((name, value.get(start..end).unwrap_or_default()))
}
