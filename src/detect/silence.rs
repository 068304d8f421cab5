//! Silences: an operator's order that one detector ignores one user, or addresses, for a time.
//!
//! A finding about them is counted and written to the audit trail as `silenced`; no action is taken, and nobody is notified. A
//! silence is for a load test, an auditor's scanner or a travelling colleague: an exemption in the configuration is permanent,
//! a silence ends by itself. Silences outlive a restart, in a file of their own beside the store.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{DetectorName, Finding, Subject};
use crate::block::BlockSubject;
use crate::caller::UserKey;
use crate::clock::Timestamp;
use crate::private_file;

/// The longest duration of a silence.
pub const LONGEST: Duration = Duration::from_secs(30 * 86_400);

/// The most silences at once.
const MOST: usize = 500;

/// One silence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Silence {
    /// The detector.
    pub detector: DetectorName,
    /// The user or address that the detector ignores.
    pub subject: SilencedSubject,
    /// The reason, in an operator's words.
    pub reason: String,
    /// When the silence began.
    pub at: Timestamp,
    /// When the silence ends.
    pub until: Timestamp,
}

/// The user or address that a detector ignores.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SilencedSubject {
    /// A user.
    User(UserKey),
    /// An address or a network.
    Address(IpNet),
}

/// All silences.
#[derive(Debug, Default)]
pub struct Silences {
    all: Mutex<Vec<Silence>>,
    /// The file in which they outlive a restart.
    file: Option<PathBuf>,
}

/// A silence could not be stored. The text is for the operator.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SilenceError {
    /// There are too many silences.
    #[error("there are {MOST} silences already")]
    TooMany,
    /// The file cannot be written.
    #[error("{0}")]
    NotKept(String),
}

impl Silences {
    /// Reads the silences that outlived a restart; without a file, none do.
    ///
    /// # Errors
    /// If the file exists and cannot be used.
    pub fn open(file: Option<PathBuf>) -> Result<Self, String> {
        let mut all = Vec::new();
        if let Some(path) = file.as_ref().filter(|path| path.exists()) {
            let (bytes, _) = private_file::read(path).map_err(|error| error.to_string())?;
            let listed: Vec<Value> = serde_json::from_slice(&bytes)
                .map_err(|error| format!("{}: {error}; remove it", path.display()))?;
            // Entries that only a later version understands are ignored.
            all.extend(listed.iter().filter_map(Silence::from_json));
        }
        Ok(Self { all: Mutex::new(all), file })
    }

    /// Whether a silence covers this finding.
    pub(super) fn cover(&self, finding: &Finding) -> bool {
        let all = self.all.lock();
        all.iter().any(|silence| {
            silence.detector == finding.detector
                && finding.at < silence.until
                && silence.subject.is_of(finding)
        })
    }

    /// Adds a silence, durably when this returns. It replaces one of the same detector and subject.
    ///
    /// # Errors
    /// If the silence cannot be stored; then nothing has changed.
    pub fn silence(&self, new: Silence) -> Result<(), SilenceError> {
        let mut all = self.all.lock();
        let mut next: Vec<Silence> =
            all.iter().filter(|old| new.at < old.until && !old.is_same(&new)).cloned().collect();
        if next.len() >= MOST {
            return Err(SilenceError::TooMany);
        }
        next.push(new);
        self.keep(&next)?;
        *all = next;
        Ok(())
    }

    /// Ends a silence, durably when this returns. Returns false if there was none.
    ///
    /// # Errors
    /// If the change cannot be stored; then nothing has changed.
    pub fn lift(
        &self,
        detector: DetectorName,
        subject: &SilencedSubject,
    ) -> Result<bool, SilenceError> {
        let mut all = self.all.lock();
        let next: Vec<Silence> = all
            .iter()
            .filter(|old| old.detector != detector || old.subject != *subject)
            .cloned()
            .collect();
        if next.len() == all.len() {
            return Ok(false);
        }
        self.keep(&next)?;
        *all = next;
        Ok(true)
    }

    /// Returns the silences in force, those that end first before the others.
    pub fn all(&self, now: Timestamp) -> Vec<Silence> {
        let mut all: Vec<Silence> =
            self.all.lock().iter().filter(|silence| now < silence.until).cloned().collect();
        all.sort_by_key(|silence| silence.until);
        all
    }

    fn keep(&self, all: &[Silence]) -> Result<(), SilenceError> {
        let Some(path) = &self.file else { return Ok(()) };
        let text = Value::from_iter(all.iter().map(Silence::to_json)).to_string();
        private_file::replace(path, text.as_bytes())
            .map_err(|error| SilenceError::NotKept(error.to_string()))
    }
}

impl Silence {
    fn is_same(&self, other: &Self) -> bool {
        self.detector == other.detector && self.subject == other.subject
    }

    fn to_json(&self) -> Value {
        json!({
            "detector": self.detector.name(),
            "kind": self.subject.kind(),
            "subject": self.subject.to_string(),
            "reason": self.reason,
            "at": self.at.as_millis(),
            "until": self.until.as_millis(),
        })
    }

    fn from_json(value: &Value) -> Option<Self> {
        let text = |name| value.get(name).and_then(Value::as_str);
        let time = |name| value.get(name).and_then(Value::as_u64).map(Timestamp::from_millis);
        Some(Self {
            detector: DetectorName::named(text("detector")?)?,
            subject: SilencedSubject::parse(text("kind")?, text("subject")?)?,
            reason: text("reason")?.to_owned(),
            at: time("at")?,
            until: time("until")?,
        })
    }
}

impl SilencedSubject {
    /// Parses a subject of this kind from `text`; `None` if it is not valid.
    pub fn parse(kind: &str, text: &str) -> Option<Self> {
        match BlockSubject::parse(kind, text)? {
            BlockSubject::User(user) => Some(Self::User(user)),
            BlockSubject::Address(network) => Some(Self::Address(network)),
            BlockSubject::Session(_) => None,
        }
    }

    /// Returns the stable name of the kind.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Address(_) => "address",
        }
    }

    fn is_of(&self, finding: &Finding) -> bool {
        match self {
            Self::User(user) => finding.user.as_ref() == Some(user),
            Self::Address(network) => match &finding.subject {
                Subject::Address(found) | Subject::Network(found) => network.contains(found),
                Subject::Session(_) | Subject::User(_) | Subject::Account(_) => {
                    finding.client.is_some_and(|client| network.contains(&client.to_canonical()))
                }
            },
        }
    }
}

impl fmt::Display for SilencedSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => user.fmt(f),
            Self::Address(network) => BlockSubject::Address(*network).fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Evidence;
    use super::super::testing::{at, event};
    use super::*;
    use crate::caller::SessionId;
    use crate::event::EventKind;
    use crate::refusal::Refusal;

    fn silence(kind: &str, subject: &str) -> Silence {
        Silence {
            detector: DetectorName::TokenCountries,
            subject: SilencedSubject::parse(kind, subject).unwrap(),
            reason: "travels".into(),
            at: at(0),
            until: at(60),
        }
    }

    fn finding(secs: u64, subject: Subject, client: &str) -> Finding {
        let event =
            event(at(secs), client, EventKind::Refused { refusal: Refusal::NoRoute, user: None });
        let evidence = Evidence::count(1, Duration::from_secs(1));
        let found = Finding::new(DetectorName::TokenCountries, &event, subject, evidence);
        found.of_user(&UserKey::new("django", "7"))
    }

    #[test]
    fn a_silence_is_of_one_detector_about_one_subject_for_a_time() {
        let session = || Subject::Session(SessionId::new("s"));
        let network: IpNet = "192.0.2.0/25".parse().unwrap();
        for (kind, subject, finding, covered) in [
            ("user", "django/7", finding(0, session(), "1.1.1.1"), true),
            ("user", "django/8", finding(0, session(), "1.1.1.1"), false),
            ("user", "django/7", finding(60, session(), "1.1.1.1"), false),
            ("address", "1.1.1.0/24", finding(0, session(), "1.1.1.1"), true),
            ("address", "1.1.1.0/24", finding(0, session(), "::ffff:1.1.1.1"), true),
            ("address", "1.1.1.2", finding(0, session(), "1.1.1.1"), false),
            ("address", "192.0.2.0/24", finding(0, Subject::Network(network), "9.9.9.9"), true),
            ("address", "192.0.2.1", finding(0, Subject::Network(network), "192.0.2.1"), false),
            (
                "user",
                "django/7",
                Finding {
                    detector: DetectorName::RefreshBurst,
                    ..finding(0, session(), "1.1.1.1")
                },
                false,
            ),
        ] {
            let silences = Silences::default();
            silences.silence(silence(kind, subject)).unwrap();
            assert_eq!(silences.cover(&finding), covered, "{kind} {subject} {finding:?}");
        }
        assert_eq!(SilencedSubject::parse("session", "s"), None);
    }

    #[test]
    fn silences_outlive_a_restart_and_can_be_lifted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("silences");
        let open = || Silences::open(Some(path.clone())).unwrap();
        let (user, address) = (silence("user", "django/7"), silence("address", "2001:db8::/48"));
        let silences = open();
        silences.silence(user.clone()).unwrap();
        silences.silence(address.clone()).unwrap();
        // A new silence of the same detector and subject replaces the old one.
        let longer = Silence { until: at(90), ..user };
        silences.silence(longer.clone()).unwrap();
        assert_eq!(open().all(at(0)), [address.clone(), longer.clone()]);
        assert_eq!(open().all(at(60)), std::slice::from_ref(&longer));
        assert_eq!(open().lift(longer.detector, &longer.subject), Ok(true));
        assert_eq!(open().lift(longer.detector, &longer.subject), Ok(false));
        assert_eq!(open().all(at(0)), [address]);
        std::fs::write(&path, "[{\"detector\":\"of a later version\"}]").unwrap();
        assert_eq!(open().all(at(0)), []);
        std::fs::write(&path, "no list").unwrap();
        assert!(Silences::open(Some(path.clone())).unwrap_err().contains("remove it"));
    }

    #[test]
    fn there_is_room_for_so_many() {
        let silences = Silences::default();
        for n in 0..MOST {
            silences.silence(silence("user", &format!("django/{n}"))).unwrap();
        }
        assert_eq!(silences.silence(silence("user", "django/x")), Err(SilenceError::TooMany));
        let later = Silence { at: at(60), until: at(90), ..silence("user", "django/x") };
        assert_eq!(silences.silence(later), Ok(()), "those that are over make room");
    }
}
