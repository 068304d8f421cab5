//! `[[notify.webhook]]`: posts news, signed according to Standard Webhooks.
//!
//! ```text
//! webhook-id: 8iR4...                      the same in each attempt
//! webhook-timestamp: 1800000000            of this attempt
//! webhook-signature: v1,<base64 of HMAC-SHA256(key, "id.timestamp.body")>
//! ```
//!
//! A receiver computes the same over the body as received, compares, checks that the timestamp is recent, and remembers ids.
//! Each line of the secret's file is a secret, and each signs, so that one can replace another.

use async_trait::async_trait;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Url};
use serde_json::{Value, json};

use super::channel::{Deliver, Delivery, Parcel};
use super::news::{News, SessionEndNews, ToldIncident};
use super::post;
use crate::clock::Timestamp;
use crate::config::WebhookSettings;
use crate::secret::Secret;

const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// The prefix of a secret.
const PREFIX: &str = "whsec_";
/// The shortest key, in bytes.
const SHORTEST: usize = 24;

/// A receiver of news.
pub struct Webhook {
    client: Client,
    url: Url,
    keys: Vec<hmac::Key>,
}

impl Webhook {
    /// Creates it; nothing is sent yet. `secrets`: one per line.
    ///
    /// # Errors
    /// Which part of it cannot be used.
    pub fn new(settings: &WebhookSettings, secrets: &Secret) -> Result<Self, String> {
        let url = Url::parse(&settings.url).map_err(|error| error.to_string())?;
        let client = post::client(settings.timeout, settings.ca_file.as_deref())?;
        Ok(Self { client, url, keys: keys(secrets)? })
    }

    fn headers(&self, parcel: &Parcel, body: &[u8]) -> Option<HeaderMap> {
        let timestamp = parcel.now.as_secs();
        let signed = [format!("{}.{timestamp}.", parcel.id).as_bytes(), body].concat();
        let sign = |key| format!("v1,{}", STANDARD.encode(hmac::sign(key, &signed)));
        let signatures: Vec<String> = self.keys.iter().map(sign).collect();
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ID, HeaderValue::try_from(&parcel.id).ok()?);
        headers.insert(TIMESTAMP, HeaderValue::from(timestamp));
        headers.insert(SIGNATURE, HeaderValue::try_from(signatures.join(" ")).ok()?);
        Some(headers)
    }
}

#[async_trait]
impl Deliver for Webhook {
    async fn deliver(&self, parcel: &Parcel) -> Delivery {
        let body = body(&parcel.news).to_string().into_bytes();
        match self.headers(parcel, &body) {
            Some(headers) => post::post(&self.client, &self.url, headers, body).await,
            None => Delivery::Never("its id is not a valid header value".to_owned()),
        }
    }
}

/// Returns the keys of these secrets. The prefix is required, because without it libraries of receivers disagree on whether a
/// text is base64.
fn keys(secrets: &Secret) -> Result<Vec<hmac::Key>, String> {
    let lines = secrets.expose().lines().map(str::trim).filter(|line| !line.is_empty());
    let keys = lines.map(|line| {
        let bytes = line.strip_prefix(PREFIX).and_then(|rest| STANDARD.decode(rest).ok());
        let bytes = bytes.ok_or_else(|| format!("a secret is {PREFIX} and base64"))?;
        if bytes.len() < SHORTEST {
            return Err(format!("a secret has {} bytes: {SHORTEST} at least", bytes.len()));
        }
        Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
    });
    let keys = keys.collect::<Result<Vec<_>, String>>()?;
    if keys.is_empty() { Err("there is no secret".to_owned()) } else { Ok(keys) }
}

fn body(news: &News) -> Value {
    let data = match news {
        News::Incident(told) => incident(told),
        News::Answered(answered) => json!({
            "incident": incident(&answered.incident),
            "was_me": answered.was_me,
            "sessions_ended": answered.ended,
        }),
        News::SessionEnded(SessionEndNews { session, user, why, .. }) => {
            json!({ "session": session, "user": user, "reason": why })
        }
        News::PasswordChanged(changed) => json!({ "user": changed.user }),
        News::FactorChanged(changed) => json!({ "user": changed.user, "change": changed.change }),
        // No webhook receives these.
        News::LinkAsked(_) | News::CodeAsked(_) => json!({}),
        News::PersonalTokenChanged(changed) => {
            json!({ "user": changed.user, "change": changed.change })
        }
        News::AssuranceChanged(changed) => json!({
            "session": changed.session,
            "user": changed.user,
            "from": changed.from,
            "to": changed.to,
        }),
    };
    json!({ "type": news.kind().name(), "timestamp": news.at().to_string(), "data": data })
}

fn incident(told: &ToldIncident) -> Value {
    json!({
        "id": told.id,
        "detector": told.detector,
        "at": Timestamp::from_millis(told.at).to_string(),
        "user": told.user,
        "session": told.session,
        "about": told.about,
        "client": told.client,
        "country": told.country,
        "agent": told.agent,
        "actions": told.actions,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::testing::{incident, install_crypto};
    use super::*;

    fn webhook(secrets: &str) -> Result<Webhook, String> {
        install_crypto();
        let settings = WebhookSettings {
            name: "ops".into(),
            url: "http://127.0.0.1:1/hook".into(),
            secret: crate::config::SecretSource::File("unused".into()),
            timeout: Duration::from_secs(1),
            ca_file: None,
        };
        Webhook::new(&settings, &Secret::new(secrets))
    }

    #[test]
    fn the_signature_is_that_of_the_specification() {
        // The example of the libraries of the specification.
        let webhook = webhook("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
        let news = News::PasswordChanged(super::super::PasswordChangeNews {
            user: super::super::Person { directory: "d".into(), id: "7".into() },
            at: 0,
        });
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek".to_owned();
        let parcel = Parcel { id, news, now: Timestamp::from_secs(1_614_265_330) };
        let headers = webhook.headers(&parcel, br#"{"test": 2432232314}"#).unwrap();
        assert_eq!(headers["webhook-id"], "msg_p5jXN8AQM9LWM0D4loKWxJek");
        assert_eq!(headers["webhook-timestamp"], "1614265330");
        let expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(headers["webhook-signature"], expected);
    }

    #[test]
    fn each_secret_signs_and_one_that_is_none_is_refused() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        assert_eq!(webhook(&format!("{secret}\n\n {secret}\n")).unwrap().keys.len(), 2);
        let no_prefix = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        for wrong in ["", "\n \n", no_prefix, "whsec_", "whsec_%%%", "whsec_AAAA"] {
            assert!(webhook(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_body_says_what_when_and_to_whom() {
        let told =
            ToldIncident::new("i1".into(), &incident("refresh_reuse", Some("s1"), Some("7")));
        let body = body(&News::Incident(told));
        assert_eq!(body["type"], "incident.detected");
        assert_eq!(body["timestamp"], "1970-01-01T00:16:40.000Z");
        let data = &body["data"];
        assert_eq!(data["user"], json!({"directory": "django", "id": "7"}));
        assert_eq!((&data["detector"], &data["country"]), (&json!("refresh_reuse"), &json!("KR")));
        assert_eq!(data["actions"], json!(["end_session", "notify"]));
    }
}
