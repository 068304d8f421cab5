//! What an upstream's answer must not carry.

use http::header::SET_COOKIE;
use http::{HeaderName, HeaderValue};

use super::{EditHeaders, ProtectedNames, fold};
use crate::wire::cookie::sets_cookie;

/// Removes identity headers, and every `Set-Cookie` of our cookies in any case; says how many fields that were.
///
/// An upstream that could set our cookie could sign a browser in as somebody else.
pub fn strip_response<H: EditHeaders>(
    headers: &mut H,
    protected: &ProtectedNames,
    own_cookies: &[&str],
) -> usize {
    let before = headers.headers().len();
    let identity: Vec<HeaderName> = headers
        .headers()
        .keys()
        .filter(|name| protected.is_identity(&fold(name.as_str())))
        .cloned()
        .collect();
    for name in &identity {
        headers.remove(name);
    }
    strip_set_cookies(headers, own_cookies);
    before.saturating_sub(headers.headers().len())
}

/// Removes every `Set-Cookie` of our cookies in any case.
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
