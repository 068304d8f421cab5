//! Sends one POST to a receiver, and interprets the answer.
//!
//! No redirect is followed and no proxy from the environment is used, so that nothing is sent anywhere but to the configured
//! receiver. Only the status of an answer and its `Retry-After` are read.

use std::path::Path;
use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Url};

use super::channel::Delivery;

/// The longest time to establish a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// Creates a client for one receiver. `ca`: a file of certificates that are trusted besides the system's.
pub(super) fn client(timeout: Duration, ca: Option<&Path>) -> Result<Client, String> {
    let mut builder = Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .referer(false)
        .http1_only()
        .pool_max_idle_per_host(1)
        .pool_idle_timeout(Duration::from_secs(15))
        .connect_timeout(timeout.min(CONNECT))
        .timeout(timeout)
        .user_agent(concat!("doorwarden/", env!("CARGO_PKG_VERSION")));
    if let Some(path) = ca {
        let wrong = |what: &dyn std::fmt::Display| format!("{}: {what}", path.display());
        let pem = std::fs::read(path).map_err(|error| wrong(&error))?;
        let all = Certificate::from_pem_bundle(&pem).map_err(|error| wrong(&error))?;
        if all.is_empty() {
            return Err(wrong(&"there is no certificate in it"));
        }
        builder = builder.tls_certs_merge(all);
    }
    builder.build().map_err(|error| error.without_url().to_string())
}

/// Posts `body`. The result names only the status or the reason, because the address may contain a secret.
pub(super) async fn post(
    client: &Client,
    url: &Url,
    headers: HeaderMap,
    body: Vec<u8>,
) -> Delivery {
    let answer = client.post(url.clone()).headers(headers).body(body).send().await;
    match answer {
        Ok(answer) => of_status(answer.status(), answer.headers()),
        Err(error) => Delivery::Again(reason_of(&error.without_url()), None),
    }
}

/// Any 2xx is a delivery (RFC 8935 section 2.2 says 202, others say 200 or 204). 410: the receiver wants no more messages.
fn of_status(status: StatusCode, headers: &HeaderMap) -> Delivery {
    if status.is_success() {
        return Delivery::Sent;
    }
    if status == StatusCode::GONE {
        return Delivery::Never("it answers 410".to_owned());
    }
    let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    Delivery::Again(format!("it answers {}", status.as_u16()), seconds.map(Duration::from_secs))
}

/// Returns the whole chain of errors, because the outermost says only that something failed.
fn reason_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_status_says_whether_to_come_again_and_when() {
        let again = |code: u16, wait: Option<u64>| {
            Delivery::Again(format!("it answers {code}"), wait.map(Duration::from_secs))
        };
        for (code, retry_after, expected) in [
            (200, None, Delivery::Sent),
            (202, None, Delivery::Sent),
            (204, None, Delivery::Sent),
            (301, None, again(301, None)),
            (400, None, again(400, None)),
            (404, None, again(404, None)),
            (410, None, Delivery::Never("it answers 410".to_owned())),
            (429, Some("17"), again(429, Some(17))),
            (503, Some("Wed, 21 Oct 2026 07:28:00 GMT"), again(503, None)),
            (500, None, again(500, None)),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(value) = retry_after {
                headers.insert(RETRY_AFTER, HeaderValue::from_static(value));
            }
            let status = StatusCode::from_u16(code).unwrap();
            assert_eq!(of_status(status, &headers), expected, "{code}");
        }
    }
}
