//! Chooses the actions for a finding.
//!
//! The settings name actions; this module decides which of them apply to one finding. An action that ends a session needs a
//! session or a user; a finding about an account has neither, because the account's owner may be the victim. `block_address`
//! and `limit` never apply to an address that many people share by design: a private or local one, or one of a trusted proxy.
//! In a dry run no action is taken.
//!
//! The result is a list of [`TakenAction`], the `action` label of `doorwarden_abnormal_access_total`: the actions that were
//! *taken*, not those configured, so that an alert on `end_session` never counts a dry run.

use ipnet::IpNet;

use super::{Finding, Subject};
use crate::block::BlockSubject;
use crate::caller::{SessionId, UserKey};
use crate::config::{self, Action};
use crate::wire::client_ip::{TrustedProxies, is_public, network_32_or_64};

/// One action that a finding requires.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ResponseStep {
    /// Notify those concerned, after all other actions.
    Notify,
    /// Slow down a session's refreshes, or the sign-ins from an address.
    Limit(BlockSubject),
    /// Require a new sign-in for this session.
    StepUp(SessionId),
    /// End this session.
    EndSession(SessionId),
    /// End all sessions of this user.
    EndUserSessions(UserKey),
    /// Block these addresses.
    BlockAddress(IpNet),
}

/// An action that was taken for a finding.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TakenAction {
    /// The finding was reported, and nothing else was done.
    Observe,
    /// Those concerned were notified.
    Notify,
    /// The session, or the address, is slowed down.
    Limit,
    /// The session has to sign in again.
    StepUp,
    /// The session was ended, or had already ended.
    EndSession,
    /// All sessions of the user were ended.
    EndUserSessions,
    /// The address is blocked for a time.
    BlockAddress,
    /// No action, because of `dry_run`.
    DryRun,
    /// No action, because the user or the group is exempt.
    Exempt,
    /// No action, because an operator silenced the detector about the user or the address.
    Silenced,
    /// No action, because the detector has reached its limit of actions per hour.
    Bounded,
    /// An action failed: the store could not perform it.
    Failed,
}

impl TakenAction {
    /// All actions.
    pub const ALL: &'static [Self] = &[
        Self::Observe,
        Self::Notify,
        Self::Limit,
        Self::StepUp,
        Self::EndSession,
        Self::EndUserSessions,
        Self::BlockAddress,
        Self::DryRun,
        Self::Exempt,
        Self::Silenced,
        Self::Bounded,
        Self::Failed,
    ];

    /// Returns the stable name for metrics and the audit trail.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Notify => "notify",
            Self::Limit => "limit",
            Self::StepUp => "step_up",
            Self::EndSession => "end_session",
            Self::EndUserSessions => "end_user_sessions",
            Self::BlockAddress => "block_address",
            Self::DryRun => "dry_run",
            Self::Exempt => "exempt",
            Self::Silenced => "silenced",
            Self::Bounded => "bounded",
            Self::Failed => "failed",
        }
    }
}

impl ResponseStep {
    /// Returns the action as it is reported once it was taken.
    pub const fn taken(&self) -> TakenAction {
        match self {
            Self::Notify => TakenAction::Notify,
            Self::Limit(_) => TakenAction::Limit,
            Self::StepUp(_) => TakenAction::StepUp,
            Self::EndSession(_) => TakenAction::EndSession,
            Self::EndUserSessions(_) => TakenAction::EndUserSessions,
            Self::BlockAddress(_) => TakenAction::BlockAddress,
        }
    }
}

/// Returns the actions that the settings require for this finding; empty if it is only reported.
pub fn steps(
    finding: &Finding,
    settings: &config::DetectorSettings,
    trusted: &TrustedProxies,
) -> Vec<ResponseStep> {
    let address = || address_of(finding).filter(|network| may_be_blocked(network, trusted));
    let step = |action: &Action| match action {
        Action::Observe => None,
        Action::Notify => Some(ResponseStep::Notify),
        Action::Limit => match &finding.session {
            Some(session) => Some(ResponseStep::Limit(BlockSubject::Session(session.clone()))),
            None => address().map(|network| ResponseStep::Limit(BlockSubject::address(network))),
        },
        Action::StepUp => finding.session.clone().map(ResponseStep::StepUp),
        Action::EndSession => finding.session.clone().map(ResponseStep::EndSession),
        // A client that fails to sign in to an account is hardly its owner.
        Action::EndUserSessions => match finding.subject {
            Subject::Account(_) => None,
            _ => finding.user.clone().map(ResponseStep::EndUserSessions),
        },
        Action::BlockAddress => address().map(ResponseStep::BlockAddress),
    };
    let mut steps: Vec<ResponseStep> = settings.actions.iter().filter_map(step).collect();
    if finding.is_doubtful {
        steps.retain(|step| *step == ResponseStep::Notify);
    }
    steps.sort_by_key(|step| *step == ResponseStep::Notify);
    steps
}

/// Returns the address that the finding is about, or the client of the event that reached the threshold.
fn address_of(finding: &Finding) -> Option<IpNet> {
    match &finding.subject {
        Subject::Address(network) | Subject::Network(network) => Some(*network),
        Subject::Session(_) => finding.client.map(network_32_or_64),
        // If many addresses try an account, the last one is not special.
        Subject::User(_) | Subject::Account(_) => None,
    }
}

fn may_be_blocked(network: &IpNet, trusted: &TrustedProxies) -> bool {
    is_public(network.network()) && is_public(network.broadcast()) && !trusted.overlaps(network)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{at, detector, event};
    use super::super::{DetectorName, Evidence};
    use super::*;
    use crate::event::EventKind;
    use crate::refusal::Refusal;

    fn finding(subject: Subject, client: &str) -> Finding {
        let event =
            event(at(0), client, EventKind::Refused { refusal: Refusal::NoRoute, user: None });
        let evidence = Evidence::count(1, std::time::Duration::from_secs(1));
        Finding::new(DetectorName::TokenCountries, &event, subject, evidence)
    }

    fn of(actions: &[Action], finding: &Finding) -> Vec<ResponseStep> {
        let settings = config::DetectorSettings { actions: actions.to_vec(), ..detector(1) };
        let trusted = TrustedProxies::new(["5.5.5.0/24".parse().unwrap()]);
        steps(finding, &settings, &trusted)
    }

    #[test]
    fn an_action_needs_what_it_is_about() {
        use Action::*;
        let id = SessionId::new("a");
        let user = UserKey::new("django", "7");
        let session = finding(Subject::Session(id.clone()), "1.1.1.1").of_user(&user);
        let account = finding(Subject::Account("ada".into()), "1.1.1.1");
        let owned = account.clone().of_user(&user);
        let doubtful = Finding { is_doubtful: true, ..session.clone() };
        let oldest = finding(Subject::User(user.clone()), "1.1.1.1");
        let oldest = Finding { session: Some(id.clone()), ..oldest };
        let network: IpNet = "1.2.3.0/24".parse().unwrap();
        let neighborhood = finding(Subject::Network(network), "1.2.3.4");
        let one: IpNet = "1.1.1.1/32".parse().unwrap();
        for (actions, finding, expected) in [
            (&[Observe][..], &session, vec![]),
            (&[EndSession], &session, vec![ResponseStep::EndSession(id.clone())]),
            (&[EndUserSessions], &session, vec![ResponseStep::EndUserSessions(user.clone())]),
            (&[StepUp], &session, vec![ResponseStep::StepUp(id.clone())]),
            (&[Limit], &session, vec![ResponseStep::Limit(BlockSubject::Session(id.clone()))]),
            (&[BlockAddress], &session, vec![ResponseStep::BlockAddress(one)]),
            (&[EndSession, StepUp, EndUserSessions, BlockAddress, Limit], &account, vec![]),
            // The owner is notified, but is not the one who failed.
            (&[EndUserSessions, Notify], &owned, vec![ResponseStep::Notify]),
            (&[EndSession, StepUp, BlockAddress, Notify], &doubtful, vec![ResponseStep::Notify]),
            (
                &[EndSession, Notify],
                &oldest,
                vec![ResponseStep::EndSession(id.clone()), ResponseStep::Notify],
            ),
            (&[BlockAddress], &neighborhood, vec![ResponseStep::BlockAddress(network)]),
            (&[Limit], &neighborhood, vec![ResponseStep::Limit(BlockSubject::Address(network))]),
            // The notification comes last and lists the actions taken.
            (
                &[Notify, Observe, EndSession],
                &session,
                vec![ResponseStep::EndSession(id.clone()), ResponseStep::Notify],
            ),
        ] {
            assert_eq!(of(actions, finding), expected, "{actions:?} {finding:?}");
        }
    }

    #[test]
    fn an_address_that_is_shared_by_design_is_never_blocked() {
        for address in
            ["127.0.0.1", "::1", "10.1.2.3", "192.168.1.1", "100.64.0.1", "fd00::1", "5.5.5.5"]
        {
            let session = finding(Subject::Session(SessionId::new("a")), address);
            assert_eq!(of(&[Action::BlockAddress], &session), [], "{address}");
        }
        for network in ["5.5.5.0/24", "5.5.0.0/16", "10.0.0.0/24", "fd00::/48"] {
            let subject = Subject::Network(network.parse().unwrap());
            let found = finding(subject, "5.5.5.5");
            assert_eq!(of(&[Action::BlockAddress, Action::Limit], &found), [], "{network}");
        }
    }
}
