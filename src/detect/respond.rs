//! What is done about a finding.
//!
//! The settings name an action; this decides what it comes to for one finding. `end_session` needs a session: a finding
//! about an account or an address, whose owner may be the victim, is observed. In a dry run nothing is done.
//!
//! What came of it is one of four words, [`Taken`], the `action` label of `doorwarden_abnormal_access_total`: what was
//! *done*, not what was configured, so that an alert on `end_session` never counts a dry run.

use super::Finding;
use crate::caller::SessionId;
use crate::config::{self, Action};

/// What is to be done about a finding.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Response {
    /// Tell, and do nothing.
    Observe,
    /// End this session.
    EndSession(SessionId),
    /// Tell that nothing is done because of `dry_run`.
    DryRun,
}

/// What was done about a finding.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Taken {
    /// It was told.
    Observe,
    /// The session was ended, or had ended by itself.
    EndSession,
    /// Nothing, because of `dry_run`.
    DryRun,
    /// The action failed: the store could not end the session.
    Failed,
}

impl Taken {
    /// Every one.
    pub const ALL: &'static [Self] = &[Self::Observe, Self::EndSession, Self::DryRun, Self::Failed];

    /// Stable name for metrics and the audit trail.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::EndSession => "end_session",
            Self::DryRun => "dry_run",
            Self::Failed => "failed",
        }
    }
}

/// What the settings ask for in this case.
pub fn respond(finding: &Finding, settings: &config::Detect) -> Response {
    let settings = finding.detector.settings(settings);
    if settings.dry_run {
        return Response::DryRun;
    }
    match (settings.action, &finding.session) {
        (Action::EndSession, Some(session)) => Response::EndSession(session.clone()),
        (Action::EndSession, None) | (Action::Observe, _) => Response::Observe,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{at, event, settings};
    use super::super::{DetectorName, Evidence, Subject};
    use super::*;
    use crate::event::What;
    use crate::refusal::Refusal;

    fn finding(subject: Subject) -> Finding {
        let event =
            event(at(0), "192.0.2.1", What::Refused { refusal: Refusal::NoRoute, user: None });
        let evidence = Evidence::count(1, std::time::Duration::from_secs(1));
        Finding::new(DetectorName::TokenCountries, &event, subject, evidence)
    }

    #[test]
    fn the_settings_of_its_own_detector_decide() {
        let id = SessionId::new("a");
        let session = || Subject::Session(id.clone());
        let account = || Subject::Account("ada".into());
        for (action, dry_run, subject, expected) in [
            (Action::Observe, false, session(), Response::Observe),
            (Action::EndSession, false, session(), Response::EndSession(id.clone())),
            (Action::EndSession, false, account(), Response::Observe),
            (Action::EndSession, true, session(), Response::DryRun),
            (Action::Observe, true, account(), Response::DryRun),
        ] {
            let mut settings = settings(1);
            settings.token_countries.action = action;
            settings.token_countries.dry_run = dry_run;
            // Another detector's settings say nothing.
            settings.refresh_reuse.action = Action::EndSession;
            assert_eq!(respond(&finding(subject), &settings), expected, "{action:?} {dry_run}");
        }
    }
}
