//! What was found, as the person whom it concerns is shown it on the page of their account.

use super::Finding;
use super::respond::TakenAction;
use super::watch::{FindingSink, NotDone};
use crate::session::account_notes::AccountNotes;

impl FindingSink for AccountNotes {
    fn finding(&self, finding: &Finding, taken: &[TakenAction], _: Option<&NotDone>) {
        let Some(user) = &finding.user else { return };
        // What is tried out, or an operator has called nothing, is nothing to them.
        let is_told = taken.iter().any(|one| {
            !matches!(one, TakenAction::DryRun | TakenAction::Silenced | TakenAction::Exempt)
        });
        if is_told {
            let agent = finding.agent.as_deref().unwrap_or_default();
            let detector = finding.detector.name();
            Self::finding(self, user, detector, finding.client, agent, finding.at);
        }
    }
}
