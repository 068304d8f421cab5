//! Describes findings for the page of the account of the user concerned.

use super::Finding;
use super::respond::TakenAction;
use super::watch::{FindingSink, NotDone};
use crate::session::account_notes::AccountNotes;

impl FindingSink for AccountNotes {
    fn finding(&self, finding: &Finding, taken: &[TakenAction], _: Option<&NotDone>) {
        let Some(user) = &finding.user else { return };
        // A finding of a dry run, or one that an operator silenced or exempted, is not shown to the user.
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
