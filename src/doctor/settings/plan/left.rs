//! Credentials that the service continues to check, because a class of the project's own decides about them.
//!
//! The gateway takes over what a package's own class accepts. A class with rules of its own (an expiry, an organisation that
//! is switched off) would refuse some of it, so the views that use it get a route on which such a credential is forwarded
//! unchanged: open to anonymous callers, whom that class checks as it does today, while all other credentials are read
//! (`credentials`). Such a credential proves nothing at the gateway and is exchanged for nothing. If such a pattern cannot
//! be opened without opening more, that is a failure.

use super::super::facts::{AuthenticationClass, ProjectFacts, UrlShape};
use super::toml::Toml;
use super::{Choices, Planner};
use crate::doctor::finding::{DoctorReport, Weight};

/// A credential that the gateway reads, by its name in `route.credentials`.
struct ReadCredentials {
    name: String,
    header: String,
    words: Vec<String>,
}

impl ProjectFacts {
    /// Whether the service continues to check what this class reads.
    fn is_left(&self, class: &AuthenticationClass) -> bool {
        match class.kind.as_str() {
            "simplejwt" | "basic" => self.changed_class(&class.kind, |_| true).is_some(),
            "drf-token" => {
                let reads_the_same = |other: &AuthenticationClass| {
                    other.keyword().eq_ignore_ascii_case(class.keyword())
                };
                self.changed_class("drf-token", reads_the_same).is_some()
            }
            _ => false,
        }
    }

    /// Returns the header that a class reads, and the words before the credential in it.
    fn read_by(&self, class: &AuthenticationClass) -> (String, Vec<String>) {
        match class.kind.as_str() {
            "simplejwt" => self.simplejwt.as_ref().map_or_else(
                || ("Authorization".to_owned(), vec!["Bearer".to_owned()]),
                |jwt| (jwt.header.clone(), jwt.schemes.clone()),
            ),
            "basic" => ("Authorization".to_owned(), vec!["Basic".to_owned()]),
            _ => ("Authorization".to_owned(), vec![class.keyword().to_owned()]),
        }
    }
}

impl<'f> Planner<'f> {
    /// Returns the classes that authenticate callers there and that the gateway does not replace.
    pub(super) fn judges(&self, endpoint: &UrlShape) -> Vec<&'f AuthenticationClass> {
        let facts: &'f ProjectFacts = self.facts;
        let is_one = |class: &&AuthenticationClass| {
            endpoint.judged_by.contains(&class.name) && facts.is_left(class)
        };
        let mut all: Vec<&AuthenticationClass> = Vec::new();
        for class in facts.classes().filter(is_one) {
            if !all.iter().any(|other| other.name == class.name) {
                all.push(class);
            }
        }
        all
    }

    /// Returns `route.credentials`, if the gateway would otherwise read what such a class reads.
    pub(super) fn credentials(&self, endpoint: &UrlShape) -> Vec<String> {
        let judges = self.judges(endpoint);
        if judges.is_empty() {
            return Vec::new();
        }
        let is_theirs = |read: &ReadCredentials| {
            judges.iter().any(|class| {
                let (header, words) = self.facts.read_by(class);
                let same =
                    |word: &String| words.iter().any(|other| other.eq_ignore_ascii_case(word));
                header.eq_ignore_ascii_case(&read.header) && read.words.iter().any(same)
            })
        };
        let all = self.read_here();
        if !all.iter().any(is_theirs) {
            return Vec::new();
        }
        all.into_iter().filter(|read| !is_theirs(read)).map(|read| read.name).collect()
    }

    /// Returns all credentials that the gateway will read with this file.
    fn read_here(&self) -> Vec<ReadCredentials> {
        // The same blocks are written once more, and discarded.
        let mut report = DoctorReport::default();
        let mut again = Planner {
            choices: Choices::of(self.facts, &mut report),
            facts: self.facts,
            toml: Toml::default(),
            files: Vec::new(),
            written: Vec::new(),
            left: Vec::new(),
            report: &mut report,
        };
        again.issuers();
        let text = again.toml.finish();
        let of = |name: &str, header: &str, words: &[&str]| ReadCredentials {
            name: name.to_owned(),
            header: header.to_owned(),
            words: words.iter().map(ToString::to_string).collect(),
        };
        let mut all = vec![of("cookie", "Cookie", &[]), of("bearer", "Authorization", &["Bearer"])];
        for block in text.split("\n[[issuer]]\n").skip(1) {
            let block = block.split("\n[").next().unwrap_or_default();
            let value = |key: &str| {
                let line = block.lines().find(|line| line.split(' ').next() == Some(key))?;
                let value = line.split_once('=')?.1;
                Some(value.split(" #").next().unwrap_or_default().trim())
            };
            let text = |key: &str| value(key).map(|value| value.trim_matches('"').to_owned());
            let Some(kind) = text("kind") else { continue };
            let listed = value("schemes").map(|list| {
                list.split('"').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()
            });
            let (header, words) = match kind.as_str() {
                "django-session" => ("Cookie".to_owned(), Vec::new()),
                "basic" => ("Authorization".to_owned(), vec!["Basic".to_owned()]),
                _ => (
                    text("header").unwrap_or_else(|| "Authorization".to_owned()),
                    listed.unwrap_or_default(),
                ),
            };
            let name = format!("issuer:{}", text("name").unwrap_or(kind));
            all.push(ReadCredentials { name, header, words });
        }
        all
    }

    /// Reports what happens to the credentials of a class with rules of its own: each of its patterns is open, or not.
    pub(super) fn tell_left(
        &mut self,
        about: &'static str,
        class: &AuthenticationClass,
        says: String,
    ) {
        let (header, words) = self.facts.read_by(class);
        let what = format!("{header}: {}", words.join(" or "));
        let judged = self
            .facts
            .urls
            .endpoints
            .iter()
            .filter(|one| one.judged_by.contains(&class.name) && !one.stray && !one.hidden);
        let judged: Vec<&UrlShape> = judged.filter(|one| self.alias_of(one).is_none()).collect();
        let is_open = |one: &&UrlShape| {
            let is_here = |(path, _, methods): &(String, bool, Vec<String>)| {
                *path == one.path && methods.is_empty()
            };
            self.left.contains(&one.path) && self.written.iter().any(is_here)
        };
        let (open, closed): (Vec<&UrlShape>, Vec<&UrlShape>) =
            judged.into_iter().partition(is_open);
        if self.report.tells(about, &says) {
            return;
        }
        if closed.is_empty() && !open.is_empty() {
            self.report.tell(
                Weight::Note,
                about,
                says,
                format!(
                    "{what} goes on to the service, which judges it as it does today, at {} patterns. It proves nothing at the \
                     gateway, opens no other route and is turned into no other credential.",
                    open.len()
                ),
            );
            return;
        }
        let closed: Vec<&str> = closed.iter().map(|one| one.path.as_str()).collect();
        self.report.tell(
            Weight::Failure,
            about,
            says,
            format!(
                "{what} is left to the service to judge, on routes that are open to strangers. On the others it is refused{}",
                if closed.is_empty() { ".".to_owned() } else { format!(": {}", closed.join(", ")) }
            ),
        );
    }
}
