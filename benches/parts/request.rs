//! Provides one request as a script in a browser sends it.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The name of the session cookie.
pub(crate) const COOKIE: &str = "__Host-doorwarden";

/// The request target, with a percent-encoded character, which must be decoded.
pub(crate) const TARGET: &str = "/api/v1/articles/caf%C3%A9/comments?page=2&sort=newest";

const FIELDS: [(&str, &str); 11] = [
    ("host", "app.example.com"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ("accept", "application/json"),
    ("accept-language", "en-US,en;q=0.5"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("referer", "https://app.example.com/articles/"),
    ("connection", "keep-alive"),
    (
        "cookie",
        "theme=dark; __Host-doorwarden=9Jm1wqv0x3Fz8T2kQe7uYb5rLc4sNd6aHg1oPi3jKfM; csrftoken=x7Gf2",
    ),
    ("sec-fetch-dest", "empty"),
    ("sec-fetch-mode", "cors"),
    ("sec-fetch-site", "same-origin"),
];

/// Returns the header fields.
pub(crate) fn headers() -> HeaderMap {
    let field = |(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
    FIELDS.into_iter().map(field).collect()
}

/// Returns the bytes of the head.
pub(crate) fn head() -> Vec<u8> {
    let fields: String =
        FIELDS.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("GET {TARGET} HTTP/1.1\r\n{fields}\r\n").into_bytes()
}
