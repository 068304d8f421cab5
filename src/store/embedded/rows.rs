//! Converts between rows and values. Nothing here decides anything.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, named_params};
use serde::{Deserialize, Serialize};

use super::super::live::Stamp;
use super::super::{Keep, NewRefreshToken, NewSession, NewStamp, Session, SessionSelection};
use crate::caller::{Assurance, AuthMethods, Identity, SessionId, TokenGrant, UserKey};
use crate::clock::Timestamp;
use crate::secret::Digest;

/// An identity as JSON, without its key, which has its own columns. A member added later needs a default.
#[derive(Serialize, Deserialize)]
struct IdentityJson<'a> {
    name: Cow<'a, str>,
    groups: Cow<'a, [String]>,
    staff: bool,
    superuser: bool,
    attributes: Cow<'a, BTreeMap<String, String>>,
}

/// The row of a refresh token.
pub(super) struct TokenRow {
    pub(super) expires_at: Timestamp,
    pub(super) spent: Option<SpentRow>,
}

/// The part of a row that only a spent refresh token has.
pub(super) struct SpentRow {
    pub(super) at: Timestamp,
    pub(super) replay_until: Timestamp,
    pub(super) sealed_answer: Option<Vec<u8>>,
}

/// Returns a time in its stored form, in milliseconds.
pub(super) fn time(at: Timestamp) -> i64 {
    i64::try_from(at.as_millis()).unwrap_or(i64::MAX)
}

/// Returns a time in its stored form, in whole seconds.
pub(super) fn seconds(at: Timestamp) -> i64 {
    i64::try_from(at.as_secs()).unwrap_or(i64::MAX)
}

/// Returns an identity in its stored form.
pub(super) fn identity(identity: &Identity) -> rusqlite::Result<String> {
    serde_json::to_string(&IdentityJson {
        name: Cow::Borrowed(&identity.name),
        groups: Cow::Borrowed(&identity.groups),
        staff: identity.staff,
        superuser: identity.superuser,
        attributes: Cow::Borrowed(&identity.attributes),
    })
    .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

/// Returns the scope of a personal access token in its stored form.
fn grant(grant: &TokenGrant) -> rusqlite::Result<String> {
    serde_json::to_string(grant)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

/// Returns the number of valid personal access tokens of a user.
pub(super) fn token_count(
    sql: &Connection,
    user: &UserKey,
    now: Timestamp,
) -> rusqlite::Result<u32> {
    sql.prepare_cached(
        "SELECT count(*) FROM sessions
         WHERE directory = ?1 AND user_id = ?2 AND token_grant IS NOT NULL
           AND ended_at IS NULL AND expires_at > ?3",
    )?
    .query_row((&*user.directory, &*user.id, time(now)), |row| row.get(0))
}

/// Writes a new session.
pub(super) fn insert_session(sql: &Connection, new: &NewSession) -> rusqlite::Result<()> {
    let idle_timeout = i64::try_from(new.idle_timeout.as_millis()).unwrap_or(i64::MAX);
    sql.prepare_cached(
        "INSERT INTO sessions (id, directory, user_id, identity, password_mark, cookie, issuer,
             signed_in_at, expires_at, idle_timeout, last_used, client, agent, amr, auth_time, token_grant)
         VALUES (:id, :directory, :user, :identity, :mark, :cookie, :issuer,
             :at, :expires_at, :idle_timeout, :at, :client, :agent, :amr, :auth_time, :grant)",
    )?
    .execute(named_params! {
        ":id": new.id.as_str(),
        ":directory": &*new.identity.key.directory,
        ":user": &*new.identity.key.id,
        ":identity": identity(&new.identity)?,
        ":mark": new.password_mark.as_bytes(),
        ":cookie": new.cookie.as_ref().map(Digest::as_bytes),
        ":issuer": new.issuer.as_deref(),
        ":at": time(new.at),
        ":expires_at": time(new.expires_at),
        ":idle_timeout": idle_timeout,
        ":client": new.client.map(|client| client.to_string()),
        ":agent": new.agent,
        ":amr": new.assurance.methods.to_string(),
        ":auth_time": new.assurance.auth_time.map(seconds),
        ":grant": new.grant.as_deref().map(grant).transpose()?,
    })?;
    Ok(())
}

/// Returns the session that has not ended and has this cookie.
pub(super) fn with_cookie(
    sql: &Connection,
    cookie: &Digest,
) -> rusqlite::Result<Option<SessionId>> {
    sql.prepare_cached("SELECT id FROM sessions WHERE cookie = ?1 AND ended_at IS NULL")?
        .query_row([cookie.as_bytes()], |row| row.get::<_, String>(0))
        .optional()
        .map(|id| id.map(|id| SessionId::new(&id)))
}

/// Frees a cookie for another session: an ended session loses it, and one that has timed out is removed.
pub(super) fn free_cookie(sql: &Connection, cookie: &Digest) -> rusqlite::Result<()> {
    sql.prepare_cached("DELETE FROM sessions WHERE cookie = ?1 AND ended_at IS NULL")?
        .execute([cookie.as_bytes()])?;
    sql.prepare_cached("UPDATE sessions SET cookie = NULL WHERE cookie = ?1")?
        .execute([cookie.as_bytes()])?;
    Ok(())
}

/// Returns the stamps for the credentials of the adopted sessions among these.
pub(super) fn credentials_of(
    sql: &Connection,
    which: &SessionSelection,
    at: Timestamp,
) -> rusqlite::Result<Vec<NewStamp>> {
    let (directory, id, kept) = match which {
        SessionSelection::Session(id) => (None, id.as_str(), ""),
        SessionSelection::User(user) => (Some(&*user.directory), &*user.id, ""),
        // A personal access token is never adopted, so it needs no condition.
        SessionSelection::SignIns { user, kept } => {
            let kept = kept.as_ref().map_or("", SessionId::as_str);
            (Some(&*user.directory), &*user.id, kept)
        }
        SessionSelection::OthersOf { user, kept } => {
            (Some(&*user.directory), &*user.id, kept.as_str())
        }
    };
    sql.prepare_cached(
        "SELECT cookie, idle_timeout FROM sessions
         WHERE issuer IS NOT NULL AND cookie IS NOT NULL AND ended_at IS NULL
           AND CASE WHEN :directory IS NULL THEN id = :id
               ELSE directory = :directory AND user_id = :id AND id <> :kept END",
    )?
    .query_map(named_params! { ":directory": directory, ":id": id, ":kept": kept }, |row| {
        let idle_timeout: i64 = row.get("idle_timeout")?;
        let stays = Duration::from_millis(u64::try_from(idle_timeout).unwrap_or(0));
        Ok(NewStamp {
            key: Digest::from_bytes(row.get("cookie")?),
            at,
            keep: Keep::Latest,
            kept_until: at.plus(stays),
        })
    })?
    .collect()
}

/// Writes the attachment of a session that has not ended. Returns the number of rows: one or none.
pub(super) fn keep(sql: &Connection, session: &SessionId, kept: &[u8]) -> rusqlite::Result<usize> {
    sql.prepare_cached(
        "INSERT INTO kept (session, sealed)
         SELECT key, :sealed FROM sessions WHERE id = :session AND ended_at IS NULL
         ON CONFLICT (session) DO UPDATE SET sealed = excluded.sealed",
    )?
    .execute(named_params! { ":session": session.as_str(), ":sealed": kept })
}

/// Writes an unspent refresh token.
pub(super) fn insert_token(
    sql: &Connection,
    session: &SessionId,
    token: &NewRefreshToken,
) -> rusqlite::Result<()> {
    sql.prepare_cached(
        "INSERT INTO refresh_tokens (digest, session, expires_at)
         VALUES (:digest, (SELECT key FROM sessions WHERE id = :session), :expires_at)",
    )?
    .execute(named_params! {
        ":digest": token.digest.as_bytes(),
        ":session": session.as_str(),
        ":expires_at": time(token.expires_at),
    })?;
    Ok(())
}

/// Returns a refresh token of a session that has not ended.
pub(super) fn token(
    sql: &Connection,
    session: &SessionId,
    digest: &Digest,
) -> rusqlite::Result<Option<TokenRow>> {
    sql.prepare_cached(
        "SELECT t.expires_at, t.spent_at, t.replay_until, t.sealed_answer
         FROM refresh_tokens AS t JOIN sessions AS s ON s.key = t.session
         WHERE t.digest = :digest AND s.id = :session AND s.ended_at IS NULL",
    )?
    .query_row(
        named_params! { ":digest": digest.as_bytes(), ":session": session.as_str() },
        |row| {
            let spent_at: Option<i64> = row.get("spent_at")?;
            let spent = spent_at.map(|at| {
                Ok::<_, rusqlite::Error>(SpentRow {
                    at: from_sql_time(at),
                    replay_until: from_sql_time(row.get("replay_until")?),
                    sealed_answer: row.get("sealed_answer")?,
                })
            });
            Ok(TokenRow {
                expires_at: from_sql_time(row.get("expires_at")?),
                spent: spent.transpose()?,
            })
        },
    )
    .optional()
}

/// The identity of the previous row, which the next sessions of the same user share if it is equal.
#[derive(Default)]
struct LastIdentity(Option<(String, Arc<Identity>)>);

impl LastIdentity {
    fn read(&mut self, directory: &str, id: &str, json: String) -> rusqlite::Result<Arc<Identity>> {
        if let Some((before, identity)) = &self.0
            && *before == json
            && &*identity.key.directory == directory
            && &*identity.key.id == id
        {
            return Ok(Arc::clone(identity));
        }
        let same_directory = self
            .0
            .as_ref()
            .map(|(_, before)| &before.key.directory)
            .filter(|one| &***one == directory);
        let directory = same_directory.map_or_else(|| Arc::from(directory), Arc::clone);
        let key = UserKey { directory, id: Arc::from(id) };
        let identity = Arc::new(read_identity(key, &json)?);
        self.0 = Some((json, Arc::clone(&identity)));
        Ok(identity)
    }
}

/// Passes on every session that has not ended. They include sessions that have timed out meanwhile, whose end is reported by
/// the next upkeep.
pub(super) fn load(sql: &Connection, mut take: impl FnMut(&Arc<Session>)) -> rusqlite::Result<()> {
    let mut rows = sql.prepare(
        "SELECT id, directory, user_id, identity, password_mark, cookie, issuer, signed_in_at,
             expires_at, idle_timeout, last_used, client, agent, amr, auth_time, token_grant, sealed
         FROM sessions LEFT JOIN kept ON kept.session = sessions.key
         WHERE ended_at IS NULL
         ORDER BY directory, user_id",
    )?;
    let mut rows = rows.query([])?;
    let mut last = LastIdentity::default();
    while let Some(row) = rows.next()? {
        take(&session(row, &mut last)?);
    }
    Ok(())
}

/// Returns the user's identity at the last sign-in since then, whether that session has ended or not.
pub(super) fn last_identity(
    sql: &Connection,
    user: &UserKey,
    since: Timestamp,
) -> rusqlite::Result<Option<Identity>> {
    let json = sql
        .prepare_cached(
            "SELECT identity FROM sessions
             WHERE directory = ?1 AND user_id = ?2 AND signed_in_at >= ?3
             ORDER BY signed_in_at DESC, key DESC LIMIT 1",
        )?
        .query_row((&*user.directory, &*user.id, time(since)), |row| row.get::<_, String>(0))
        .optional()?;
    json.map(|json| read_identity(user.clone(), &json)).transpose()
}

fn read_identity(key: UserKey, json: &str) -> rusqlite::Result<Identity> {
    let identity: IdentityJson<'_> =
        serde_json::from_str(json).map_err(|error| unreadable("identity", error.into()))?;
    Ok(Identity {
        key,
        name: identity.name.into_owned(),
        groups: identity.groups.into_owned(),
        staff: identity.staff,
        superuser: identity.superuser,
        attributes: identity.attributes.into_owned(),
    })
}

fn session(row: &Row<'_>, last: &mut LastIdentity) -> rusqlite::Result<Arc<Session>> {
    let directory: String = row.get("directory")?;
    let user_id: String = row.get("user_id")?;
    let json: String = row.get("identity")?;
    let id: String = row.get("id")?;
    let client: Option<String> = row.get("client")?;
    let cookie: Option<[u8; 32]> = row.get("cookie")?;
    let idle_timeout: i64 = row.get("idle_timeout")?;
    let last_used = from_sql_time(row.get("last_used")?);
    let kept = NewSession {
        id: SessionId::new(&id),
        identity: last.read(&directory, &user_id, json)?,
        password_mark: Digest::from_bytes(row.get("password_mark")?),
        cookie: cookie.map(Digest::from_bytes),
        issuer: row.get::<_, Option<String>>("issuer")?.map(Arc::from),
        at: from_sql_time(row.get("signed_in_at")?),
        expires_at: from_sql_time(row.get("expires_at")?),
        idle_timeout: Duration::from_millis(u64::try_from(idle_timeout).unwrap_or(0)),
        client: client
            .map(|client| client.parse())
            .transpose()
            .map_err(|error: std::net::AddrParseError| unreadable("client", error.into()))?,
        agent: row.get("agent")?,
        assurance: Assurance {
            methods: AuthMethods::read(&row.get::<_, String>("amr")?),
            auth_time: row.get::<_, Option<i64>>("auth_time")?.map(from_sql_seconds),
        },
        grant: row
            .get::<_, Option<String>>("token_grant")?
            .map(|json| serde_json::from_str(&json).map(Arc::new))
            .transpose()
            .map_err(|error| unreadable("token_grant", error.into()))?,
        refresh: None,
        kept: row.get::<_, Option<Vec<u8>>>("sealed")?.map(Arc::new),
    };
    Ok(Session::restore(&kept, last_used))
}

/// Reads a stamp from a row with `at` and `kept_until`.
pub(super) fn stamp(row: &Row<'_>) -> rusqlite::Result<Stamp> {
    Ok(Stamp {
        at: from_sql_time(row.get("at")?),
        kept_until: from_sql_time(row.get("kept_until")?),
    })
}

/// Whether a stamp is stored under a key.
pub(super) fn has_stamp(sql: &Connection, key: &Digest) -> rusqlite::Result<bool> {
    sql.prepare_cached("SELECT 1 FROM stamps WHERE key = ?1")?.exists([key.as_bytes()])
}

/// Returns all stamps.
pub(super) fn stamps(sql: &Connection) -> rusqlite::Result<Vec<(Digest, Stamp)>> {
    sql.prepare("SELECT key, at, kept_until FROM stamps")?
        .query_map([], |row| Ok((Digest::from_bytes(row.get("key")?), stamp(row)?)))?
        .collect()
}

fn from_sql_seconds(at: i64) -> Timestamp {
    Timestamp::from_secs(u64::try_from(at).unwrap_or(0))
}

pub(super) fn from_sql_time(at: i64) -> Timestamp {
    Timestamp::from_millis(u64::try_from(at).unwrap_or(0))
}

fn unreadable(column: &str, source: Box<dyn std::error::Error + Send + Sync>) -> rusqlite::Error {
    let source = format!("sessions.{column}: {source}").into();
    rusqlite::Error::FromSqlConversionFailure(0, Type::Text, source)
}
