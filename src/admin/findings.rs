//! The most recent findings, as operators see them.

use serde_json::{Value, json};

use super::{Operator, OperatorRequest};
use crate::detect::recent::ToldFinding;
use crate::geo::Country;
use crate::refusal::Refusal;

/// The default number of findings in an answer.
const USUAL: usize = 100;

/// The most findings in an answer.
const MOST: usize = 1000;

impl Operator {
    /// Answers `GET /findings?before=NUMBER&limit=COUNT`: newest first; `next` is the `before` of the page after this one.
    pub(super) fn list_findings(&self, request: &OperatorRequest<'_>) -> Result<Value, Refusal> {
        let (mut before, mut limit) = (None, USUAL);
        for (name, value) in form_urlencoded::parse(request.query.as_bytes()) {
            match &*name {
                "before" => before = Some(value.parse().map_err(|_| Refusal::BadBody)?),
                "limit" => limit = value.parse().map_err(|_| Refusal::BadBody)?,
                _ => return Err(Refusal::BadBody),
            }
        }
        if !(1..=MOST).contains(&limit) {
            return Err(Refusal::BadBody);
        }
        let page = self.recent.page(before, limit);
        let next = page.last().filter(|_| page.len() == limit).map(|told| told.number);
        let findings: Vec<Value> = page.iter().map(describe).collect();
        Ok(json!({"findings": findings, "next": next}))
    }

    /// Describes the newest findings.
    pub(super) fn newest_findings(&self, limit: usize) -> Vec<Value> {
        self.recent.page(None, limit).iter().map(describe).collect()
    }
}

fn describe(told: &ToldFinding) -> Value {
    let finding = &told.finding;
    let evidence = &finding.evidence;
    json!({
        "number": told.number,
        "at": finding.at.to_string(),
        "detector": finding.detector.name(),
        "actions": told.taken.iter().map(|taken| taken.name()).collect::<Vec<_>>(),
        "kind": finding.subject.kind(),
        "subject": finding.subject.to_string(),
        "session": finding.session.as_ref().map(|session| session.as_str()),
        "user": finding.user.as_ref().map(ToString::to_string),
        "client": finding.client.map(|client| client.to_string()),
        "agent": finding.agent.as_deref(),
        "doubtful": finding.is_doubtful,
        "count": evidence.count,
        "window_seconds": evidence.window.as_secs(),
        "countries": evidence.countries.iter().map(Country::as_str).collect::<Vec<_>>(),
        "request_id": finding.request_id.as_deref(),
    })
}
