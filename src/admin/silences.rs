//! The silences of the detectors, as operators list, add and lift them.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Operator, OperatorRequest};
use crate::clock::Timestamp;
use crate::detect::DetectorName;
use crate::detect::silence::{LONGEST, Silence, SilenceError, SilencedSubject};
use crate::refusal::Refusal;

/// The longest reason, in characters.
const LONGEST_REASON: usize = 256;

impl Operator {
    /// Answers `GET /silences`.
    pub(super) fn list_silences(&self, at: Timestamp) -> Value {
        let silences: Vec<Value> = self.silences.all(at).iter().map(describe).collect();
        json!({"silences": silences})
    }

    /// Answers `POST /silences` with `{"detector": NAME, "user" or "address": ..., "seconds": N, "reason": "..."}`.
    pub(super) fn silence(&self, request: &OperatorRequest<'_>) -> Result<Value, Refusal> {
        let asked: Value = serde_json::from_slice(request.body).map_err(|_| Refusal::BadBody)?;
        let new = silence_of(&asked, request.at).ok_or(Refusal::BadBody)?;
        let described = describe(&new);
        tracing::info!(
            detector = new.detector.name(),
            subject = %new.subject,
            until = %new.until,
            reason = new.reason,
            "an operator silenced a detector"
        );
        match self.silences.silence(new) {
            Ok(()) => Ok(described),
            Err(error) => Err(not_done(&error)),
        }
    }

    /// Answers `POST /silences/lift` with the detector and the user or address.
    pub(super) fn lift_silence(&self, request: &OperatorRequest<'_>) -> Result<Value, Refusal> {
        let asked: Value = serde_json::from_slice(request.body).map_err(|_| Refusal::BadBody)?;
        let (detector, subject) = which(&asked).ok_or(Refusal::BadBody)?;
        match self.silences.lift(detector, &subject) {
            Ok(lifted) => Ok(json!({"lifted": lifted})),
            Err(error) => Err(not_done(&error)),
        }
    }
}

fn which(asked: &Value) -> Option<(DetectorName, SilencedSubject)> {
    let text = |name| asked.get(name).and_then(Value::as_str);
    let detector = DetectorName::named(text("detector")?)?;
    let subject = match (text("user"), text("address")) {
        (Some(user), None) => SilencedSubject::parse("user", user)?,
        (None, Some(address)) => SilencedSubject::parse("address", address)?,
        _ => return None,
    };
    Some((detector, subject))
}

fn silence_of(asked: &Value, at: Timestamp) -> Option<Silence> {
    let (detector, subject) = which(asked)?;
    let duration = Duration::from_secs(asked.get("seconds")?.as_u64()?);
    let reason = match asked.get("reason") {
        None => "",
        Some(reason) => reason.as_str()?,
    };
    if duration.is_zero() || duration > LONGEST {
        return None;
    }
    let reason = reason.chars().take(LONGEST_REASON).collect();
    Some(Silence { detector, subject, reason, at, until: at.plus(duration) })
}

fn describe(silence: &Silence) -> Value {
    json!({
        "detector": silence.detector.name(),
        "kind": silence.subject.kind(),
        "subject": silence.subject.to_string(),
        "reason": silence.reason,
        "at": silence.at.to_string(),
        "until": silence.until.to_string(),
    })
}

fn not_done(error: &SilenceError) -> Refusal {
    tracing::error!(%error, "a detector cannot be silenced");
    Refusal::StoreUnavailable
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1000);

    #[test]
    fn a_silence_names_a_detector_a_subject_and_an_end() {
        let asked = json!({"detector": "scanning", "address": "192.0.2.7/24", "seconds": 60});
        let silence = silence_of(&asked, NOW).unwrap();
        assert_eq!(
            (silence.detector, silence.subject.to_string()),
            (DetectorName::Scanning, "192.0.2.0/24".into())
        );
        assert_eq!((silence.until, silence.reason.as_str()), (Timestamp::from_secs(1060), ""));
        for (name, wrong) in [
            ("detector", json!("nothing")),
            ("detector", json!(7)),
            ("address", json!("everywhere")),
            ("user", json!("django/7")),
            ("seconds", json!(0)),
            ("seconds", json!(31 * 86_400)),
            ("seconds", json!("1h")),
            ("seconds", Value::Null),
            ("reason", json!(7)),
        ] {
            let mut asked = asked.clone();
            asked[name] = wrong;
            assert_eq!(silence_of(&asked, NOW), None, "{asked}");
        }
        let long = json!({"detector": "scanning", "user": "django/7", "seconds": 60, "reason": "é".repeat(999)});
        assert_eq!(silence_of(&long, NOW).unwrap().reason.chars().count(), LONGEST_REASON);
    }
}
