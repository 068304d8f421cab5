//! Reports what is wrong with a configuration, and where.
//!
//! The list has two forms: [`ProblemReport::render`] for people at a terminal (file, line, the text with a caret, what is
//! allowed), and `Display`, one line for each problem, for logs and tools. Secrets do not belong in the file, but people put
//! them there by mistake; a line that looks like one is pointed at and never shown.

use std::fmt;
use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

/// The severity of a problem.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Severity {
    /// The gateway does not start.
    Error,
    /// The gateway starts, but the operator should know.
    Warning,
}

/// A problem in the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// The severity.
    pub severity: Severity,
    /// The key, as in `upstream.servers`; empty for the file as a whole.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What is allowed, or what to do.
    pub help: Option<String>,
    /// The line, counted from 1.
    pub line: usize,
    /// The column in characters, counted from 1.
    pub column: usize,
    span: Range<usize>,
}

/// All problems of one file, in the order of the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProblemReport {
    file: String,
    text: String,
    problems: Vec<Problem>,
}

/// A problem whose line is not yet known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct UnplacedProblem {
    pub(super) severity: Severity,
    pub(super) key: String,
    pub(super) span: Range<usize>,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl Problem {
    /// Whether the problem prevents the gateway from starting.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl ProblemReport {
    pub(super) fn new(file: &str, text: &str, mut findings: Vec<UnplacedProblem>) -> Self {
        findings.sort_by_key(|finding| (finding.span.start, finding.severity));
        let problems = findings
            .into_iter()
            .map(|finding| {
                let span = on_boundaries(text, &finding.span);
                let before = text.get(..span.start).unwrap_or_default();
                let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
                Problem {
                    severity: finding.severity,
                    key: finding.key,
                    message: finding.message,
                    help: finding.help,
                    line: before.matches('\n').count() + 1,
                    column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
                    span,
                }
            })
            .collect();
        Self { file: file.to_owned(), text: text.to_owned(), problems }
    }

    /// Returns the problems, in the order of the file.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Whether there are no problems.
    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// Whether a problem prevents the gateway from starting.
    pub fn has_errors(&self) -> bool {
        self.problems.iter().any(Problem::is_error)
    }

    /// Returns one line for each problem, with the file's name.
    pub fn to_lines(&self) -> Vec<String> {
        self.problems.iter().map(|problem| format!("{}:{problem}", self.file)).collect()
    }

    /// Formats the report for a terminal: each problem with the text that it is about. `styled` adds colors.
    pub fn render(&self, styled: bool) -> String {
        let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
        let renderer = renderer.decor_style(DecorStyle::Ascii);
        let mut out = String::new();
        for problem in &self.problems {
            out.push_str(&renderer.render(&[self.group(problem)]));
            out.push_str("\n\n");
        }
        let count = |severity| self.problems.iter().filter(|p| p.severity == severity).count();
        let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
        match (errors, warnings) {
            (0, 0) => {}
            (0, _) => out.push_str(&format!("{}: {}\n", self.file, plural(warnings, "warning"))),
            (_, 0) => out.push_str(&format!("{}: {}\n", self.file, plural(errors, "error"))),
            _ => out.push_str(&format!(
                "{}: {}, {}\n",
                self.file,
                plural(errors, "error"),
                plural(warnings, "warning")
            )),
        }
        out
    }

    fn group<'a>(&'a self, problem: &'a Problem) -> Group<'a> {
        let level = match problem.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(problem.subject());
        let group = if problem.span.end == 0 {
            // The problem is about the file as a whole: its first line has nothing to do with it.
            title.element(Origin::path(&*self.file))
        } else if holds_secret(&self.text, &problem.span) {
            title.element(Origin::path(&*self.file).line(problem.line).char_column(problem.column))
        } else {
            title.element(
                Snippet::source(&*self.text)
                    .path(&*self.file)
                    .annotation(AnnotationKind::Primary.span(problem.span.clone())),
            )
        };
        match &problem.help {
            Some(help) => group.element(Level::HELP.message(&**help)),
            None => group,
        }
    }
}

impl Problem {
    fn subject(&self) -> String {
        if self.key.is_empty() {
            self.message.clone()
        } else {
            format!("{}: {}", self.key, self.message)
        }
    }
}

impl fmt::Display for Problem {
    /// Writes `12:8: upstream.servers: what is wrong (what is allowed)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.line, self.column)?;
        if self.severity == Severity::Warning {
            f.write_str("warning: ")?;
        }
        f.write_str(&self.subject())?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for ProblemReport {
    /// Writes one line for each problem, each with the file's name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_lines().join("\n"))
    }
}

impl std::error::Error for ProblemReport {}

fn plural(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// Returns the span within the text, widened to whole characters.
fn on_boundaries(text: &str, span: &Range<usize>) -> Range<usize> {
    let mut start = span.start.min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let mut end = span.end.clamp(start, text.len());
    while !text.is_char_boundary(end) {
        end += 1;
    }
    start..end
}

/// Whether a line of the span seems to contain a secret.
///
/// That is a key with such a name which is not the path of a file, or an address with a password in it.
fn holds_secret(text: &str, span: &Range<usize>) -> bool {
    const WORDS: [&str; 6] = ["password", "passwd", "passphrase", "secret", "token", "key"];
    let start = text.get(..span.start).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
    let end = text
        .get(span.end..)
        .and_then(|after| after.find('\n'))
        .map_or(text.len(), |length| span.end + length);
    text.get(start..end).unwrap_or_default().lines().any(|line| {
        let in_key = line.split_once('=').is_some_and(|(key, _)| {
            let key = key.trim().trim_matches(['"', '\'']).to_ascii_lowercase();
            !key.ends_with("_file")
                && !key.ends_with("_env")
                && WORDS.iter().any(|word| key.contains(word))
        });
        in_key || line.split_once("://").is_some_and(|(_, rest)| rest.contains('@'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(text: &str, at: &str, message: &str) -> ProblemReport {
        let start = text.find(at).unwrap();
        let finding = UnplacedProblem {
            severity: Severity::Error,
            key: "upstream.name".into(),
            span: start..start + at.len(),
            message: message.into(),
            help: Some("allowed: letters".into()),
        };
        ProblemReport::new("gateway.toml", text, vec![finding])
    }

    #[test]
    fn a_problem_is_one_line_for_tools() {
        let report = report("[[upstream]]\nname = \"소 금\"\n", "\"소 금\"", "it has a space");
        assert_eq!(
            report.to_string(),
            "gateway.toml:2:8: upstream.name: it has a space (allowed: letters)"
        );
    }

    #[test]
    fn a_problem_is_shown_in_its_text_for_people() {
        let report = report("[[upstream]]\nname = \"a b\"\n", "\"a b\"", "it has a space");
        let expected = "\
error: upstream.name: it has a space
 --> gateway.toml:2:8
  |
2 | name = \"a b\"
  |        ^^^^^
  |
  = help: allowed: letters

gateway.toml: 1 error
";
        assert_eq!(report.render(false), expected);
        assert!(report.render(true).contains("\u{1b}["));
    }

    #[test]
    fn columns_count_characters() {
        let report = report("소 = 1", "1", "odd");
        assert_eq!((report.problems()[0].line, report.problems()[0].column), (1, 5));
    }

    #[test]
    fn a_line_that_looks_like_a_secret_is_never_shown() {
        for text in [
            "password = \"hunter2\"",
            "\"db_password\" = \"hunter2\"",
            "signing_key = \"hunter2\"",
            "bot_token = hunter2",
            "database = \"postgres://u:hunter2@db/app\"",
        ] {
            let report = report(text, "hunter2", "unknown key");
            for shown in [report.render(true), report.render(false), report.to_string()] {
                assert!(!shown.contains("hunter2"), "{shown}");
                assert!(shown.contains("gateway.toml:1:"), "{shown}");
            }
        }
        let path = report("private_key_file = \"tls.key\"", "\"tls.key\"", "odd");
        assert!(path.render(false).contains("tls.key"));
    }
}
