//! The live sessions, as operators see them: in pages, and summarized by user and country.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{Operator, OperatorRequest, describe, down, user_key};
use crate::clock::Timestamp;
use crate::endpoint::paging::{Page, comes_after, cursor_of, position};
use crate::geo::Country;
use crate::refusal::Refusal;
use crate::session::SessionManager;
use crate::store::Session;

/// How long a summary is reused: making one reads every session.
const FRESH: Duration = Duration::from_secs(10);

/// The most users and countries that a summary names.
const NAMED: usize = 20;

/// The most recent summary.
#[derive(Debug, Default)]
pub(super) struct Summary(Mutex<Option<(Timestamp, Value)>>);

impl Operator {
    /// Answers `GET /sessions?user=DIRECTORY/ID&limit=COUNT&cursor=CURSOR` with the live sessions, newest first.
    pub(super) async fn list_sessions(
        &self,
        request: &OperatorRequest<'_>,
        sessions: &SessionManager,
    ) -> Result<Value, Refusal> {
        let mut user = None;
        let page = Page::read(request.query, |name, value| match name {
            "user" => user_key(value).map(|key| user = Some(key)),
            _ => Err(Refusal::BadBody),
        })?;
        let after = page.cursor.as_deref().map(position).transpose()?;
        let listed =
            self.sessions.list(user.as_ref(), request.at).await.map_err(|error| down(&error))?;
        let listed = listed
            .iter()
            .filter(|session| !session.is_token())
            .filter(|session| after.as_ref().is_none_or(|after| comes_after(session, after)));
        let (listed, next) = page.cut(listed, |session| cursor_of(session));
        let listed: Vec<Value> =
            listed.iter().map(|session| with_country(session, sessions)).collect();
        Ok(json!({"sessions": listed, "next": next}))
    }

    /// Returns the number of live sessions, by user and country.
    pub(super) async fn summary(
        &self,
        at: Timestamp,
        sessions: &SessionManager,
    ) -> Result<Value, Refusal> {
        if let Some((made, summary)) = &*self.summary.0.lock()
            && at.since(*made) < FRESH
        {
            return Ok(summary.clone());
        }
        let mut listed = self.sessions.list(None, at).await.map_err(|error| down(&error))?;
        listed.retain(|session| !session.is_token());
        let summary = summarize(&listed, |session| country(session, sessions));
        *self.summary.0.lock() = Some((at, summary.clone()));
        Ok(summary)
    }
}

fn country(session: &Session, sessions: &SessionManager) -> Option<Country> {
    session.client.and_then(|client| sessions.places().country(client))
}

fn with_country(session: &Session, sessions: &SessionManager) -> Value {
    let mut described = describe(session);
    if let Value::Object(members) = &mut described {
        let country = country(session, sessions);
        members.insert("country".into(), json!(country.as_ref().map(Country::as_str)));
    }
    described
}

fn summarize(listed: &[Arc<Session>], country: impl Fn(&Session) -> Option<Country>) -> Value {
    let (mut users, mut countries) = (HashMap::new(), HashMap::new());
    for session in listed {
        let identity = session.identity.load();
        let of_user =
            users.entry(identity.key.clone()).or_insert_with(|| (identity.name.clone(), 0));
        of_user.1 += 1;
        *countries.entry(country(session)).or_insert(0_usize) += 1;
    }
    let counted = users.len();
    let unknown = countries.remove(&None).unwrap_or_default();
    let mut users: Vec<_> = users.into_iter().collect();
    users.sort_by_cached_key(|(key, (_, count))| (Reverse(*count), key.to_string()));
    let mut countries: Vec<_> =
        countries.into_iter().filter_map(|(country, n)| Some((country?, n))).collect();
    countries.sort_by_key(|(country, count)| (Reverse(*count), country.as_str().to_owned()));
    let others: usize = countries.iter().skip(NAMED).map(|(_, count)| count).sum();
    let users: Vec<Value> = users
        .into_iter()
        .take(NAMED)
        .map(|(key, (name, count))| json!({"user": key.to_string(), "name": name, "sessions": count}))
        .collect();
    let countries: Vec<Value> = countries
        .iter()
        .take(NAMED)
        .map(|(country, count)| json!({"country": country.as_str(), "sessions": count}))
        .collect();
    json!({
        "sessions": listed.len(),
        "users": counted,
        "by_user": users,
        "by_country": countries,
        "other_countries": others,
        "unknown_country": unknown,
    })
}
