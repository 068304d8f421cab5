//! The findings of the doctor: what it found, how severe that is, and what it means for the gateway's configuration.

use serde_json::{Value, json};

use crate::command::{CommandFailure, say};

/// The severity of a finding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Weight {
    /// It is as it should be.
    Fine,
    /// It is worth knowing.
    Note,
    /// It works, but something about it should be changed.
    Warning,
    /// It will not work.
    Failure,
}

/// One finding of the doctor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct DoctorFinding {
    pub(super) mark: Weight,
    /// One word by which the finding is found.
    pub(super) about: &'static str,
    pub(super) says: String,
    /// What follows from the finding, if anything.
    pub(super) means: Option<String>,
}

/// All findings, and the proposed configuration blocks.
#[derive(Default, Debug)]
pub(super) struct DoctorReport {
    findings: Vec<DoctorFinding>,
    proposals: Vec<String>,
}

impl Weight {
    const fn text(self) -> &'static str {
        match self {
            Self::Fine => "ok",
            Self::Note => "note",
            Self::Warning => "warn",
            Self::Failure => "FAIL",
        }
    }
}

impl DoctorReport {
    pub(super) fn add(&mut self, mark: Weight, about: &'static str, says: impl Into<String>) {
        self.findings.push(DoctorFinding { mark, about, says: says.into(), means: None });
    }

    /// Adds a finding, with what it means.
    pub(super) fn tell(
        &mut self,
        mark: Weight,
        about: &'static str,
        says: impl Into<String>,
        means: impl Into<String>,
    ) {
        self.findings.push(DoctorFinding {
            mark,
            about,
            says: says.into(),
            means: Some(means.into()),
        });
    }

    /// Proposes a block for `gateway.toml`.
    pub(super) fn propose(&mut self, toml: impl Into<String>) {
        self.proposals.push(toml.into());
    }

    /// Whether the report has this finding already.
    pub(super) fn tells(&self, about: &str, says: &str) -> bool {
        self.findings.iter().any(|finding| finding.about == about && finding.says == says)
    }

    pub(super) fn has_failures(&self) -> bool {
        self.findings.iter().any(|finding| finding.mark == Weight::Failure)
    }

    #[cfg(test)]
    pub(super) fn findings(&self) -> &[DoctorFinding] {
        &self.findings
    }

    /// Prints the report, for people or for programs.
    pub(super) fn print(&self, as_json: bool) -> Result<(), CommandFailure> {
        if as_json { say(format_args!("{:#}", self.json())) } else { self.print_text() }
    }

    fn print_text(&self) -> Result<(), CommandFailure> {
        for finding in &self.findings {
            let DoctorFinding { mark, about, says, means } = finding;
            say(format_args!("{:<5} {about:<11} {}", mark.text(), plain(says)))?;
            for line in means.iter().flat_map(|means| means.lines()) {
                say(format_args!("{:18}{}", "", plain(line)))?;
            }
        }
        if !self.proposals.is_empty() {
            say(format_args!("\nProposed for gateway.toml:"))?;
        }
        for proposal in &self.proposals {
            say(format_args!("\n{}", proposal.trim_end()))?;
        }
        Ok(())
    }

    fn json(&self) -> Value {
        let findings: Vec<Value> = self
            .findings
            .iter()
            .map(|DoctorFinding { mark, about, says, means }| {
                json!({"severity": mark.text().to_lowercase(), "about": about, "says": says, "means": means})
            })
            .collect();
        json!({"findings": findings, "proposals": self.proposals})
    }
}

/// Removes control characters, which could steer a terminal: findings quote what a service answers.
fn plain(text: &str) -> String {
    text.chars()
        .map(|one| if one.is_control() { char::REPLACEMENT_CHARACTER } else { one })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_service_steers_the_terminal() {
        let title = "gunicorn\u{1b}]0;owned\u{7}\u{9b}2J 김";
        assert_eq!(plain(title), "gunicorn\u{fffd}]0;owned\u{fffd}\u{fffd}2J 김");
    }
}
