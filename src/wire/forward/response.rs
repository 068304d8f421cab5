//! Removes what an upstream's answer must not carry.

use http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, SET_COOKIE, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderName, HeaderValue, StatusCode};

use super::{EditHeaders, ProtectedNames, fold};
use crate::wire::cookie::sets_cookie;

/// Removes identity headers, and every `Set-Cookie` of the gateway's cookies in any case; returns the number of removed
/// fields.
///
/// An upstream that could set the gateway's cookie could sign a browser in as somebody else.
pub fn strip_response<H: EditHeaders>(
    headers: &mut H,
    protected: &ProtectedNames,
    own_cookies: &[&str],
) -> usize {
    let before = headers.headers().len();
    strip_identity(headers, protected);
    strip_set_cookies(headers, own_cookies);
    before.saturating_sub(headers.headers().len())
}

/// Removes identity headers.
pub fn strip_identity<H: EditHeaders>(headers: &mut H, protected: &ProtectedNames) {
    let identity: Vec<HeaderName> = headers
        .headers()
        .keys()
        .filter(|name| protected.is_identity(&fold(name.as_str())))
        .cloned()
        .collect();
    for name in &identity {
        headers.remove(name);
    }
}

/// Removes from an answer the framing of its upstream connection, which does not apply to the client's: headers that
/// `Connection` nominates (RFC 9110 section 7.6.1), lengths and codings of answers that have no body (RFC 9112 section
/// 6.1, RFC 9110 section 8.6), and all but one of equal lengths (RFC 9112 section 6.3).
///
/// # Errors
/// [`NoSingleLength`]
pub fn strip_hop_by_hop<H: EditHeaders>(
    headers: &mut H,
    status: StatusCode,
) -> Result<(), NoSingleLength> {
    let nominated: Vec<HeaderName> = headers
        .headers()
        .get_all(CONNECTION)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .filter_map(|option| HeaderName::from_bytes(option.trim_ascii()).ok())
        .filter(|name| !END_TO_END.contains(name))
        .collect();
    for name in nominated.iter().chain(&[KEEP_ALIVE, PROXY_CONNECTION]) {
        if headers.headers().contains_key(name) {
            headers.remove(name);
        }
    }
    if status == StatusCode::NO_CONTENT || status.is_informational() {
        headers.remove(&CONTENT_LENGTH);
        headers.remove(&TRANSFER_ENCODING);
    } else if status == StatusCode::NOT_MODIFIED {
        headers.remove(&TRANSFER_ENCODING);
    }
    let mut fields = headers.headers().get_all(CONTENT_LENGTH).iter();
    let Some(first) = fields.next() else { return Ok(()) };
    if fields.next().is_none() && is_length(first.as_bytes()) {
        return Ok(());
    }
    let length = {
        let mut lengths = headers
            .headers()
            .get_all(CONTENT_LENGTH)
            .iter()
            .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii);
        let Some(first) = lengths.next() else { return Ok(()) };
        if !is_length(first) || lengths.any(|other| other != first) {
            return Err(NoSingleLength);
        }
        HeaderValue::from_bytes(first).map_err(|_| NoSingleLength)?
    };
    if headers.headers().get_all(CONTENT_LENGTH).iter().ne([&length]) {
        headers.set(CONTENT_LENGTH, length);
    }
    Ok(())
}

/// Whether this is a length: digits alone (RFC 9110 section 8.6). The framework reads `+7` too, and others do not.
fn is_length(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

/// An upstream's answer has two different lengths, or one that is no number, so its end is unknown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoSingleLength;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// If a careless server nominates these, removing them would truncate the answer or lose its cookies; the framework
/// writes the first ones itself.
const END_TO_END: [HeaderName; 7] =
    [CONNECTION, UPGRADE, CONTENT_LENGTH, TRANSFER_ENCODING, CONTENT_TYPE, SET_COOKIE, LOCATION];

/// Removes every `Set-Cookie` of these cookies, in any case.
pub fn strip_set_cookies<H: EditHeaders>(headers: &mut H, own_cookies: &[&str]) {
    let ours = |value: &&HeaderValue| own_cookies.iter().any(|name| sets_cookie(value, name));
    let cookies = headers.headers().get_all(SET_COOKIE);
    if cookies.iter().any(|value| ours(&value)) {
        let others: Vec<HeaderValue> =
            cookies.iter().filter(|value| !ours(value)).cloned().collect();
        headers.remove(&SET_COOKIE);
        for value in others {
            headers.append(SET_COOKIE, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn answer(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn an_upstream_sets_neither_our_cookie_nor_an_identity() {
        let mut headers = answer(&[
            ("set-cookie", "sessionid=a; Path=/"),
            ("set-cookie", "__host-DOORWARDEN=x"),
            ("set-cookie", "=__Host-doorwarden=x"),
            ("set-cookie", "csrftoken=b"),
            ("x-user-id", "1"),
            ("x_user_name", "kim"),
            ("x-session-id", "s"),
            ("server", "gunicorn"),
        ]);
        let removed = strip_response(
            &mut headers,
            &ProtectedNames::new(["X-Session-Id"]),
            &["__Host-doorwarden"],
        );
        assert_eq!(removed, 5);
        let left = answer(&[
            ("set-cookie", "sessionid=a; Path=/"),
            ("set-cookie", "csrftoken=b"),
            ("server", "gunicorn"),
        ]);
        assert_eq!(headers, left);
    }

    #[test]
    fn what_frames_the_upstreams_connection_stays_there() {
        for (status, fields, left) in [
            (
                200,
                &[
                    ("connection", "keep-alive, X-Hop"),
                    ("keep-alive", "timeout=5"),
                    ("x-hop", "1"),
                    ("x-other", "1"),
                ][..],
                &[("connection", "keep-alive, X-Hop"), ("x-other", "1")][..],
            ),
            (
                200,
                &[("connection", "set-cookie"), ("set-cookie", "a=b")],
                &[("connection", "set-cookie"), ("set-cookie", "a=b")],
            ),
            (204, &[("transfer-encoding", "chunked")], &[]),
            (204, &[("content-length", "0")], &[]),
            (
                304,
                &[("transfer-encoding", "chunked"), ("content-length", "7")],
                &[("content-length", "7")],
            ),
            (200, &[("content-length", "7"), ("content-length", "7")], &[("content-length", "7")]),
            (200, &[("content-length", "7, 7")], &[("content-length", "7")]),
            (200, &[("transfer-encoding", "chunked")], &[("transfer-encoding", "chunked")]),
        ] {
            let mut headers = answer(fields);
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(strip_hop_by_hop(&mut headers, status), Ok(()), "{fields:?}");
            assert_eq!(headers, answer(left), "{fields:?}");
        }
        for fields in [
            &[("content-length", "7"), ("content-length", "8")][..],
            &[("content-length", "7, 8")],
            &[("content-length", "+7")],
            &[("content-length", "7, +7")],
            &[("content-length", "-0")],
            &[("content-length", "0x7")],
            &[("content-length", "7,")],
            &[("content-length", "")],
        ] {
            let is = strip_hop_by_hop(&mut answer(fields), StatusCode::OK);
            assert_eq!(is, Err(NoSingleLength), "{fields:?}");
        }
    }

    #[test]
    fn an_ordinary_answer_stays() {
        let mut headers = answer(&[
            ("set-cookie", "sessionid=a"),
            ("x-frame-options", "DENY"),
            ("script-name", "/x"),
        ]);
        let before = headers.clone();
        assert_eq!(
            strip_response(&mut headers, &ProtectedNames::new([]), &["__Host-doorwarden"]),
            0
        );
        assert_eq!(headers, before);
    }
}
