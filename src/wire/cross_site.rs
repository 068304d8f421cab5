//! Checks for cross-site request forgery: whether another site's page sent the request.
//!
//! A browser adds the session cookie to requests that other sites' pages cause. `SameSite=Lax` prevents most of these,
//! but not those of sibling hosts or old browsers. So an unsafe request that the cookie authenticates, or that comes as
//! a form to an own path, is checked against the headers that browsers send and scripts cannot forge, in this order:
//!
//! | header | passes | does not |
//! |---|---|---|
//! | `Sec-Fetch-Site` | `same-origin`, `none` | anything else, unless `Origin` is listed |
//! | `Origin` | the gateway's own, a listed one | anything else, `null` too |
//! | `Referer` | of the gateway's own origin, of a listed one | any other |
//! | none of them | the client is not a browser | |
//!
//! A WebSocket handshake is a GET with consequences, so it is checked like an unsafe request.

use http::Method;
use http::header::{HeaderMap, HeaderName, HeaderValue, ORIGIN, REFERER, UPGRADE};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The result of the check.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CrossSiteVerdict {
    /// The request is safe, from the gateway's own or a listed origin, or not a browser's.
    Allowed,
    /// The request may be from another site.
    CrossSite,
}

/// Judges a request. `own` returns the gateway's origin as a browser writes it (see [`super::host::Host::origin`]),
/// which few requests need; `trusted` are the listed origins.
pub fn judge(
    method: &Method,
    headers: &HeaderMap,
    own: impl Fn() -> String,
    trusted: &[String],
) -> CrossSiteVerdict {
    if method.is_safe() && !asks_for_websocket(headers) {
        return CrossSiteVerdict::Allowed;
    }
    let is_listed = |origin: &str| trusted.iter().any(|one| one.eq_ignore_ascii_case(origin));
    let is_known = |origin: &str| origin.eq_ignore_ascii_case(&own()) || is_listed(origin);
    let allowed = match single(headers, &SEC_FETCH_SITE) {
        RequestHeader::One("same-origin" | "none") => true,
        RequestHeader::One(_) | RequestHeader::Unusable => {
            matches!(single(headers, &ORIGIN), RequestHeader::One(origin) if is_listed(origin))
        }
        RequestHeader::Absent => match single(headers, &ORIGIN) {
            RequestHeader::One(origin) => is_known(origin),
            RequestHeader::Unusable => false,
            RequestHeader::Absent => match single(headers, &REFERER) {
                RequestHeader::One(referer) => origin_of(referer).is_some_and(is_known),
                RequestHeader::Unusable => false,
                RequestHeader::Absent => true,
            },
        },
    };
    if allowed { CrossSiteVerdict::Allowed } else { CrossSiteVerdict::CrossSite }
}

enum RequestHeader<'h> {
    Absent,
    One(&'h str),
    /// The header is repeated, or not text.
    Unusable,
}

fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> RequestHeader<'h> {
    let mut values = headers.get_all(name).iter();
    match (values.next().map(HeaderValue::to_str), values.next()) {
        (None, _) => RequestHeader::Absent,
        (Some(Ok(value)), None) => RequestHeader::One(value),
        (Some(_), _) => RequestHeader::Unusable,
    }
}

fn asks_for_websocket(headers: &HeaderMap) -> bool {
    headers.get_all(UPGRADE).iter().any(|value| {
        value
            .as_bytes()
            .split(|byte| *byte == b',')
            .any(|one| one.trim_ascii().eq_ignore_ascii_case(b"websocket"))
    })
}

/// Returns the `scheme://authority` of a URL.
fn origin_of(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.find(['/', '?']).map_or(Some(rest), |end| rest.get(..end))?;
    url.get(..scheme.len() + "://".len() + authority.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "https://app.example";

    fn judged(method: Method, fields: &[(&'static str, &'static str)]) -> CrossSiteVerdict {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        judge(&method, &headers, || OWN.to_owned(), &["https://front.example:3000".into()])
    }

    #[test]
    fn a_request_from_ourselves_a_listed_origin_or_no_browser_passes() {
        for fields in [
            &[][..],
            &[("sec-fetch-site", "same-origin"), ("origin", OWN)],
            &[("sec-fetch-site", "none")],
            &[("sec-fetch-site", "cross-site"), ("origin", "https://front.example:3000")],
            &[("sec-fetch-site", "same-site"), ("origin", "https://front.example:3000")],
            &[("origin", OWN)],
            &[("origin", OWN), ("referer", "https://evil.example/")],
            &[("origin", "https://front.example:3000")],
            &[("referer", "https://app.example/page?x=https://evil.example/")],
            &[("referer", "https://app.example")],
            &[("referer", "https://app.example?x=/")],
            &[("referer", "https://front.example:3000/")],
        ] {
            assert_eq!(judged(Method::POST, fields), CrossSiteVerdict::Allowed, "{fields:?}");
        }
    }

    #[test]
    fn a_request_from_another_site_does_not() {
        for fields in [
            &[("sec-fetch-site", "cross-site")][..],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "cross-site"), ("origin", OWN)],
            &[("sec-fetch-site", "same-site"), ("origin", "https://evil.app.example")],
            &[("sec-fetch-site", "unheard-of")],
            &[("sec-fetch-site", "")],
            &[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "same-origin")],
            &[("origin", "https://evil.example")],
            &[("origin", "http://app.example")],
            &[("origin", "https://app.example:8443")],
            &[("origin", "https://app.example.evil.example")],
            &[("origin", "null")],
            &[("origin", "")],
            &[("origin", OWN), ("origin", "https://evil.example")],
            &[("referer", "https://evil.example/https://app.example/")],
            &[("referer", "https://app.example@evil.example/")],
            &[("referer", "https://app.example.evil.example/")],
            &[("referer", "about:client")],
            &[("referer", "")],
        ] {
            for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
                assert_eq!(judged(method, fields), CrossSiteVerdict::CrossSite, "{fields:?}");
            }
        }
    }

    #[test]
    fn reading_is_free_but_a_websocket_is_no_reading() {
        let foreign = ("origin", "https://evil.example");
        for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
            assert_eq!(judged(method, &[foreign]), CrossSiteVerdict::Allowed);
        }
        assert_eq!(
            judged(Method::GET, &[foreign, ("upgrade", "h2c, WebSocket")]),
            CrossSiteVerdict::CrossSite
        );
        assert_eq!(
            judged(Method::GET, &[("origin", OWN), ("upgrade", "websocket")]),
            CrossSiteVerdict::Allowed
        );
    }
}
