//! Interprets an application's response to a login form.
//!
//! Two sets of rules are applied, and exactly one must match. A response that matches neither (an error page, a lock, a
//! maintenance page) or both decides nothing: the result is an error, and never a sign-in. A status from 500 on, or 429, is
//! an error too, whatever the rules say.

use http::header::LOCATION;
use http::{HeaderMap, StatusCode};
use reqwest::Url;
use serde_json::Value;

use crate::clock::Timestamp;
use crate::config::AnswerRules;
use crate::wire::jar::CookieChange;

/// A response that has been read.
pub(super) struct LoginAnswer {
    /// The requested URL.
    pub(super) url: Url,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
    /// Whether this is the whole body. If not, a text that is missing here may be in the rest.
    pub(super) is_whole: bool,
    pub(super) at: Timestamp,
}

impl LoginAnswer {
    /// Whether the credentials are right. The error says why that is not known.
    pub(super) fn accepts(
        &self,
        success: &AnswerRules,
        refused: &AnswerRules,
    ) -> Result<bool, String> {
        if self.is_trouble() {
            return Err(format!("it answers {}", self.status));
        }
        match (self.fits(success), self.fits(refused)) {
            (true, false) => Ok(true),
            (false, true) => Ok(false),
            (true, true) => Err(format!("{} fits `success` and `refused`", self.described())),
            (false, false) => {
                Err(format!("{} fits neither `success` nor `refused`", self.described()))
            }
        }
    }

    /// Whether the service is unable, or unwilling, to answer now.
    pub(super) fn is_trouble(&self) -> bool {
        self.status.is_server_error() || self.status == StatusCode::TOO_MANY_REQUESTS
    }

    /// Returns the body, if it is JSON.
    pub(super) fn json(&self) -> Option<Value> {
        serde_json::from_str(&self.body).ok()
    }

    /// Describes the response for the log, without its body and any query, which may contain what was sent.
    fn described(&self) -> String {
        let status = self.status.as_u16();
        match self.location() {
            Some(path) => format!("the answer {status} to {path:?}"),
            None => format!("the answer {status}"),
        }
    }

    fn fits(&self, rules: &AnswerRules) -> bool {
        let location = self.location();
        let location = location.as_deref();
        let stated =
            |rule: &Option<String>, holds: &dyn Fn(&str) -> bool| rule.as_deref().is_none_or(holds);
        let sets = |name: &str| {
            let changes =
                CookieChange::all(&self.headers, self.at).filter(|change| change.name == name);
            changes.last().is_some_and(|change| change.to.is_some())
        };
        !rules.is_empty()
            && (rules.status.is_empty() || rules.status.contains(&self.status.as_u16()))
            && stated(&rules.cookie, &sets)
            && stated(&rules.location, &|to| location.is_some_and(|path| leads_to(path, to)))
            && stated(&rules.location_not, &|to| location.is_some_and(|path| !leads_to(path, to)))
            && stated(&rules.body_contains, &|text| self.body.contains(text))
            && stated(&rules.body_lacks, &|text| self.is_whole && !self.body.contains(text))
            && stated(&rules.json, &|pointer| {
                let json = self.json();
                json.is_some_and(|json| json.pointer(pointer).is_some_and(|value| !value.is_null()))
            })
    }

    /// Returns the path of `Location`, resolved against the requested URL.
    fn location(&self) -> Option<String> {
        let location = self.headers.get(LOCATION)?.to_str().ok()?;
        Some(self.url.join(location).ok()?.path().to_owned())
    }
}

/// Whether the path is this one, or one below it. `/` matches only itself.
fn leads_to(path: &str, wanted: &str) -> bool {
    let wanted = wanted.trim_end_matches('/');
    if wanted.is_empty() {
        return path == "/";
    }
    path.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_795_422_879);

    fn answer(status: u16, headers: &[(&'static str, &str)], body: &str) -> LoginAnswer {
        let headers = headers.iter().map(|(name, value)| {
            (http::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        });
        LoginAnswer {
            url: Url::parse("http://app.internal/account/login").unwrap(),
            status: StatusCode::from_u16(status).unwrap(),
            headers: headers.collect(),
            body: body.into(),
            is_whole: true,
            at: NOW,
        }
    }

    fn rules(change: impl FnOnce(&mut AnswerRules)) -> AnswerRules {
        let mut rules = AnswerRules::default();
        change(&mut rules);
        rules
    }

    #[test]
    fn all_that_is_stated_must_hold() {
        let home = [("location", "/home?x=1"), ("set-cookie", "id=1")];
        for (holds, rule) in [
            (true, rules(|r| r.status = vec![302, 303])),
            (false, rules(|r| r.status = vec![303])),
            (true, rules(|r| r.cookie = Some("id".into()))),
            (false, rules(|r| r.cookie = Some("ID".into()))),
            (true, rules(|r| r.location = Some("/home".into()))),
            (false, rules(|r| r.location = Some("/ho".into()))),
            (false, rules(|r| r.location = Some("/".into()))),
            (true, rules(|r| r.location_not = Some("/login".into()))),
            (false, rules(|r| r.location_not = Some("/home".into()))),
            (true, rules(|r| r.body_contains = Some("moved".into()))),
            (false, rules(|r| r.body_lacks = Some("moved".into()))),
            (false, rules(|r| r.json = Some("/user/id".into()))),
            (false, rules(|r| (r.status, r.cookie) = (vec![302], Some("other".into())))),
            (false, rules(|_| {})),
        ] {
            assert_eq!(answer(302, &home, "moved").fits(&rule), holds, "{rule:?}");
        }
        let json = rules(|r| r.json = Some("/user/id".into()));
        for (holds, body) in [
            (true, r#"{"user": {"id": 7}}"#),
            (false, r#"{"user": {"id": null}}"#),
            (false, r#"{"user": {}}"#),
            (false, "<html>"),
        ] {
            assert_eq!(answer(200, &[], body).fits(&json), holds, "{body}");
        }
    }

    #[test]
    fn a_cookie_that_is_taken_away_is_not_set() {
        let rule = rules(|r| r.cookie = Some("id".into()));
        for (holds, lines) in [
            (true, &["id=1"][..]),
            (false, &["id=; Max-Age=0"]),
            (false, &["id=1", "id=; Max-Age=0"]),
            (true, &["id=; Max-Age=0", "id=1"]),
        ] {
            let mut answer = answer(302, &[], "");
            for line in lines {
                answer.headers.append("set-cookie", HeaderValue::from_static(line));
            }
            assert_eq!(answer.fits(&rule), holds, "{lines:?}");
        }
    }

    #[test]
    fn a_location_is_seen_from_what_was_asked() {
        for (location, path) in [
            ("/home", "/home"),
            ("home", "/account/home"),
            ("../home", "/home"),
            ("?error", "/account/login"),
            ("http://elsewhere.example/home#top", "/home"),
            ("//elsewhere.example/x/../home", "/home"),
        ] {
            let answer = answer(302, &[("location", location)], "");
            assert_eq!(answer.location().as_deref(), Some(path), "{location}");
        }
        let not_login = rules(|r| r.location_not = Some("/login".into()));
        assert!(!answer(302, &[], "").fits(&not_login), "it leads nowhere");
        assert!(answer(302, &[("location", "/login.php")], "").fits(&not_login));
        assert!(!answer(302, &[("location", "/login/?error=1")], "").fits(&not_login));
        let root = rules(|r| r.location = Some("/".into()));
        assert!(answer(302, &[("location", "http://app.internal")], "").fits(&root));
    }

    #[test]
    fn what_is_neither_or_both_or_trouble_is_no_answer() {
        let success = rules(|r| r.location = Some("/home".into()));
        let refused = rules(|r| r.status = vec![200, 302, 500, 429]);
        for (status, location, expected) in [
            (301, Some("/home"), Some(true)),
            (200, None, Some(false)),
            (302, Some("/home"), None),
            (403, None, None),
            (404, Some("/login"), None),
            (500, None, None),
            (502, Some("/home"), None),
            (429, None, None),
        ] {
            let headers: Vec<_> = location.map(|to| ("location", to)).into_iter().collect();
            let accepts = answer(status, &headers, "").accepts(&success, &refused);
            assert_eq!(accepts.clone().ok(), expected, "{status} {location:?}: {accepts:?}");
        }
    }
}
