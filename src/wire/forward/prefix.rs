//! Puts a path prefix that was stripped from a request back into the answer.
//!
//! A service that is reached below `/shop/` without knowing it redirects to `/cart` and sets cookies for `/`. Its paths
//! on the host that the client asked for get the prefix. URLs on other hosts stay as they are, and so do relative
//! paths, which the browser resolves below the prefix by itself.

use http::header::{CONTENT_LOCATION, LOCATION, SET_COOKIE};
use http::{HeaderName, HeaderValue};

use super::EditHeaders;
use crate::wire::host::Host;

/// Puts `prefix` in front of the paths in `Location`, `Content-Location` and the `Path` of each cookie. `host` is the
/// one that the client asked for.
pub fn restore_prefix<H: EditHeaders>(headers: &mut H, prefix: &str, host: &Host) {
    let prefix = prefix.trim_end_matches('/');
    for name in [LOCATION, CONTENT_LOCATION] {
        replace(headers, &name, |value| located(value, prefix, host));
    }
    replace(headers, &SET_COOKIE, |value| with_cookie_path(value, prefix));
}

/// Replaces `internal`, the origin that the service knows itself by, with the origin that the client asked for, in
/// `Location` and `Content-Location`.
pub fn restore_host<H: EditHeaders>(headers: &mut H, internal: &str, origin: &str) {
    for name in [LOCATION, CONTENT_LOCATION] {
        replace(headers, &name, |value| {
            let beginning = ["http://", "https://", "//"].into_iter().find(|one| {
                value.get(..one.len()).is_some_and(|text| text.eq_ignore_ascii_case(one))
            })?;
            let (host, rest) = value.get(beginning.len()..)?.split_at_checked(internal.len())?;
            let ends = rest.is_empty() || rest.starts_with(['/', '?', '#']);
            (ends && host.eq_ignore_ascii_case(internal)).then(|| format!("{origin}{rest}"))
        });
    }
}

fn replace<H: EditHeaders>(
    headers: &mut H,
    name: &HeaderName,
    change: impl Fn(&str) -> Option<String>,
) {
    let changed = |value: &HeaderValue| {
        let mut new = value.to_str().ok().and_then(&change)?.parse::<HeaderValue>().ok()?;
        new.set_sensitive(value.is_sensitive());
        Some(new)
    };
    let values: Vec<HeaderValue> = headers
        .headers()
        .get_all(name)
        .iter()
        .map(|value| changed(value).unwrap_or_else(|| value.clone()))
        .collect();
    if values.iter().ne(headers.headers().get_all(name)) {
        headers.remove(name);
        for value in values {
            headers.append(name.clone(), value);
        }
    }
}

fn located(value: &str, prefix: &str, host: &Host) -> Option<String> {
    if value.starts_with('/') && !value.starts_with("//") && !value.starts_with("/\\") {
        return Some(format!("{prefix}{value}"));
    }
    let (before, rest) = match value.split_once("://") {
        Some((scheme, rest))
            if matches!(scheme.to_ascii_lowercase().as_str(), "http" | "https") =>
        {
            (format!("{scheme}://"), rest)
        }
        Some(_) => return None,
        None => ("//".to_owned(), value.strip_prefix("//")?),
    };
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end)?;
    let is_ours = Host::parse(authority).is_ok_and(|named| named.name() == host.name());
    (is_ours && !path.starts_with('\\')).then(|| format!("{before}{authority}{prefix}{path}"))
}

fn with_cookie_path(value: &str, prefix: &str) -> Option<String> {
    let parts: Vec<String> = value
        .split(';')
        .enumerate()
        .map(|(index, part)| match part.split_once('=') {
            Some((name, path))
                if index > 0
                    && name.trim().eq_ignore_ascii_case("path")
                    && path.trim().starts_with('/') =>
            {
                format!(" Path={prefix}{}", path.trim())
            }
            _ => part.to_owned(),
        })
        .collect();
    Some(parts.join(";"))
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn restored(name: HeaderName, value: &'static str) -> String {
        let mut headers = HeaderMap::new();
        headers.append(&name, HeaderValue::from_static(value));
        restore_prefix(&mut headers, "/shop/", &Host::parse("app.example:8443").unwrap());
        headers[name].to_str().unwrap().to_owned()
    }

    #[test]
    fn a_host_of_the_service_s_own_becomes_the_client_s() {
        for (value, expected) in [
            ("http://app.internal/a?b", "https://app.test/a?b"),
            ("HTTPS://APP.internal", "https://app.test"),
            ("//app.internal#x", "https://app.test#x"),
            ("http://app.internal.evil.test/", "http://app.internal.evil.test/"),
            ("http://app.internal@evil.test/", "http://app.internal@evil.test/"),
            ("http://app.internal:81/", "http://app.internal:81/"),
            ("http://other.test/app.internal/", "http://other.test/app.internal/"),
            ("/a", "/a"),
            ("", ""),
        ] {
            let mut headers = http::HeaderMap::new();
            headers.insert(LOCATION, HeaderValue::from_static(value));
            restore_host(&mut headers, "app.internal", "https://app.test");
            assert_eq!(headers[LOCATION], expected, "{value}");
        }
    }

    #[test]
    fn a_path_of_the_service_gets_the_prefix_back() {
        for (value, location) in [
            ("/cart?a=/b", "/shop/cart?a=/b"),
            ("/", "/shop/"),
            ("https://app.example/cart", "https://app.example/shop/cart"),
            ("http://APP.example:80", "http://APP.example:80/shop"),
            ("//app.example/cart", "//app.example/shop/cart"),
            ("https://other.example/cart", "https://other.example/cart"),
            ("//other.example/cart", "//other.example/cart"),
            ("/\\other.example", "/\\other.example"),
            ("cart", "cart"),
            ("?page=2", "?page=2"),
            ("mailto:kim@app.example", "mailto:kim@app.example"),
            ("HTTPS://app.example/cart", "HTTPS://app.example/shop/cart"),
            ("ftp://app.example/cart", "ftp://app.example/cart"),
            ("cart?next=http://app.example/", "cart?next=http://app.example/"),
        ] {
            assert_eq!(restored(LOCATION, value), location, "{value}");
            assert_eq!(restored(CONTENT_LOCATION, value), location, "{value}");
        }
    }

    #[test]
    fn a_cookie_is_for_the_prefix() {
        for (value, cookie) in [
            ("a=b; Path=/; HttpOnly", "a=b; Path=/shop/; HttpOnly"),
            ("a=/; path=/x;Secure", "a=/; Path=/shop/x;Secure"),
            ("path=/; Secure", "path=/; Secure"),
            ("a=b", "a=b"),
        ] {
            assert_eq!(restored(SET_COOKIE, value), cookie, "{value}");
        }
    }
}
