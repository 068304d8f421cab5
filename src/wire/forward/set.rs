//! Sets the forwarding headers, which only the gateway sets.
//!
//! All names of the kind are removed first, from trusted peers too: what a trusted proxy reported is already in
//! [`ClientAddress`], and a contradicting header (`X-Forwarded-Ssl` beside `X-Forwarded-Proto`) makes servers refuse
//! the request or trust the wrong one. `X-Forwarded-For` holds the client and the trusted proxies, and nothing that the
//! client wrote.

use std::ops::Range;

use bytes::Bytes;
use http::header::InvalidHeaderValue;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{EditHeaders, ProtectedNames, fold};
use crate::wire::client_ip::ClientAddress;
use crate::wire::client_ip::push_ip;
use crate::wire::client_ip::push_number;
use crate::wire::host::Host;
use crate::wire::scheme::Scheme;

static FORWARDED: HeaderName = HeaderName::from_static("forwarded");
static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
static X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The facts about a request's origin that an upstream is given.
#[derive(Clone, Copy, Debug)]
pub struct Forwarding<'a> {
    /// The client and the trusted proxies.
    pub client: &'a ClientAddress,
    /// The scheme that the client used.
    pub scheme: Scheme,
    /// The host that the client asked for.
    pub host: &'a Host,
    /// The request's id, see [`request_id`].
    pub request_id: &'a str,
}

/// Replaces everything that says where a request came from by `X-Forwarded-For`, `-Proto`, `-Host`, `-Port`,
/// `X-Real-IP`, `Forwarded` (RFC 7239) and `X-Request-Id`.
///
/// # Errors
/// If the request id is not a legal header value; nothing else can be illegal.
pub fn forwarding_headers<H: EditHeaders>(
    headers: &mut H,
    protected: &ProtectedNames,
    forwarding: &Forwarding<'_>,
) -> Result<(), InvalidHeaderValue> {
    let theirs: Vec<HeaderName> = headers
        .headers()
        .keys()
        .filter(|name| may_be_forwarding(name.as_str()))
        .filter(|name| protected.is_forwarding(&fold(name.as_str())))
        .cloned()
        .collect();
    for name in &theirs {
        headers.remove(name);
    }

    // All of them share one buffer, so that a request costs one allocation instead of six. Addresses and names are
    // written once, and copied.
    let mut text = String::with_capacity(256);
    let client = part(&mut text, |text| push_ip(text, forwarding.client.ip()));
    let chain = match forwarding.client.has_proxies() {
        false => client.clone(),
        true => part(&mut text, |text| {
            for (index, ip) in forwarding.client.chain().enumerate() {
                text.push_str(if index > 0 { ", " } else { "" });
                push_ip(text, ip);
            }
        }),
    };
    let host = part(&mut text, |text| {
        text.push_str(forwarding.host.name());
        if let Some(port) = forwarding.host.port() {
            text.push(':');
            push_number(text, port);
        }
    });
    let port = part(&mut text, |text| {
        push_number(text, forwarding.host.port_or_default(forwarding.scheme));
    });
    let forwarded = part(&mut text, |text| write_forwarded(text, forwarding, host.clone()));
    let request_id = part(&mut text, |text| text.push_str(forwarding.request_id));

    let text = Bytes::from(text);
    let value = |range: Range<usize>| HeaderValue::from_maybe_shared(text.slice(range));
    headers.set_static(&X_FORWARDED_FOR, value(chain)?);
    headers.set_static(&X_FORWARDED_PROTO, HeaderValue::from_static(forwarding.scheme.as_str()));
    headers.set_static(&X_FORWARDED_HOST, value(host)?);
    headers.set_static(&X_FORWARDED_PORT, value(port)?);
    headers.set_static(&X_REAL_IP, value(client)?);
    headers.set_static(&FORWARDED, value(forwarded)?);
    headers.set_static(&X_REQUEST_ID, value(request_id)?);
    Ok(())
}

/// Whether the name can be a forwarding header in some spelling. All of those begin with one of these letters or with
/// `http-`; a name that does not begin with a letter may be one too.
fn may_be_forwarding(name: &str) -> bool {
    !matches!(name.as_bytes().first(), Some(b'a'..=b'z'))
        || name.starts_with(['c', 'f', 't', 'x', 'h'])
}

/// Returns the request's id: that of a trusted proxy if it is one plain word, else `fresh`.
pub fn request_id(headers: &HeaderMap, client: &ClientAddress, fresh: String) -> String {
    if !client.through_trusted_proxy() {
        return fresh;
    }
    let mut values = headers.get_all(&X_REQUEST_ID).iter();
    let (first, second) = (values.next(), values.next());
    let given = first.filter(|_| second.is_none()).and_then(|value| value.to_str().ok());
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    match given {
        Some(id) if (8..=128).contains(&id.len()) && id.bytes().all(plain) => id.to_owned(),
        _ => fresh,
    }
}

fn part(text: &mut String, write: impl FnOnce(&mut String)) -> Range<usize> {
    let start = text.len();
    write(text);
    start..text.len()
}

/// Writes one element for each hop; host and scheme belong to the last, which is the gateway's. `host` is where the text
/// already has the host.
fn write_forwarded(text: &mut String, forwarding: &Forwarding<'_>, host: Range<usize>) {
    for (index, ip) in forwarding.client.chain().enumerate() {
        text.push_str(if index > 0 { ", for=" } else { "for=" });
        text.push_str(if ip.is_ipv6() { "\"[" } else { "" });
        push_ip(text, ip);
        text.push_str(if ip.is_ipv6() { "]\"" } else { "" });
    }
    // A host with a colon is not a token, so it has to be quoted.
    let is_token = text.get(host.clone()).is_some_and(|host| !host.contains(':'));
    let quote = if is_token { "" } else { "\"" };
    text.push_str(";host=");
    text.push_str(quote);
    text.extend_from_within(host);
    text.push_str(quote);
    text.push_str(";proto=");
    text.push_str(forwarding.scheme.as_str());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::client_ip::TrustedProxies;

    fn client(peer: &str, headers: &HeaderMap) -> ClientAddress {
        let trusted = TrustedProxies::new(["10.0.0.0/8".parse().unwrap()]);
        ClientAddress::resolve(peer.parse().unwrap(), &trusted, headers)
    }

    fn forwarded(peer: &str, host: &str, fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let client = client(peer, &headers);
        let host = Host::parse(host).unwrap();
        let forwarding =
            Forwarding { client: &client, scheme: Scheme::Https, host: &host, request_id: "id-1" };
        forwarding_headers(&mut headers, &ProtectedNames::new([]), &forwarding).unwrap();
        headers
    }

    fn expect(headers: &HeaderMap, fields: &[(&str, &str)]) {
        let mut seen: Vec<_> =
            headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        seen.sort_unstable();
        assert_eq!(seen, fields);
    }

    #[test]
    fn a_client_of_our_own_has_nothing_to_say() {
        let headers = forwarded(
            "2a00::1",
            "app.example",
            &[
                ("x-forwarded-for", "6.6.6.6"),
                ("x-forwarded-for", "7.7.7.7"),
                ("x-forwarded-proto", "http"),
                ("x-forwarded-ssl", "off"),
                ("x-real-ip", "6.6.6.6"),
                ("forwarded", "for=6.6.6.6"),
                ("true-client-ip", "6.6.6.6"),
                ("x-request-id", "theirs-12345"),
            ],
        );
        expect(
            &headers,
            &[
                ("forwarded", "for=\"[2a00::1]\";host=app.example;proto=https"),
                ("x-forwarded-for", "2a00::1"),
                ("x-forwarded-host", "app.example"),
                ("x-forwarded-port", "443"),
                ("x-forwarded-proto", "https"),
                ("x-real-ip", "2a00::1"),
                ("x-request-id", "id-1"),
            ],
        );
    }

    /// Whatever names are added, no forwarding name is missed because of its first letter.
    #[test]
    fn every_forwarding_name_is_looked_at_in_every_spelling() {
        for name in crate::wire::forward::names::FORWARDING {
            for spelling in [name.to_owned(), format!("http-{name}"), format!("_{name}")] {
                assert!(may_be_forwarding(&spelling), "{spelling}");
            }
        }
        assert!(!may_be_forwarding("accept") && !may_be_forwarding("user-agent"));
    }

    #[test]
    fn trusted_proxies_are_named_and_what_the_client_wrote_is_not() {
        let headers = forwarded(
            "10.0.0.1",
            "app.example:8443",
            &[("x-forwarded-for", "6.6.6.6, 1.1.1.1, 10.0.0.2")],
        );
        expect(
            &headers,
            &[
                (
                    "forwarded",
                    "for=1.1.1.1, for=10.0.0.2, for=10.0.0.1;host=\"app.example:8443\";proto=https",
                ),
                ("x-forwarded-for", "1.1.1.1, 10.0.0.2, 10.0.0.1"),
                ("x-forwarded-host", "app.example:8443"),
                ("x-forwarded-port", "8443"),
                ("x-forwarded-proto", "https"),
                ("x-real-ip", "1.1.1.1"),
                ("x-request-id", "id-1"),
            ],
        );
    }

    #[test]
    fn a_request_id_is_a_trusted_proxys_or_fresh() {
        let id = |peer: &str, values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(&X_REQUEST_ID, HeaderValue::from_static(value));
            }
            request_id(&headers, &client(peer, &headers), "fresh".into())
        };
        assert_eq!(id("10.0.0.1", &["0123-abc.D_"]), "0123-abc.D_");
        assert_eq!(id("9.9.9.9", &["0123-abc.D_"]), "fresh");
        for values in
            [&[][..], &["short"], &["12345678", "12345678"], &["1234 5678"], &["12345678\""]]
        {
            assert_eq!(id("10.0.0.1", values), "fresh", "{values:?}");
        }
    }
}
