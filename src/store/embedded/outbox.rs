//! The outbox in the file: each change is decided in SQL. None of it is in memory.

use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, named_params};

use super::super::StoreError;
use super::super::live::LiveSessions;
use super::super::outbox::{
    Claim, NewMessage, NewQuestion, Outbox, OutboxMessage, Questions, Queued, Settled,
};
use super::writer::Op;
use super::{Embedded, blocking, rows};
use crate::clock::Timestamp;
use crate::secret::Digest;

struct PutMessages {
    messages: Vec<NewMessage>,
    bound: u32,
}

struct ClaimMessages(Claim);

struct SettleMessage {
    id: String,
    settled: Settled,
}

struct Ask(NewQuestion);

struct AnswerQuestion {
    digest: Digest,
    now: Timestamp,
}

/// Removes some expired rows, and returns their number.
pub(super) fn sweep(sql: &Connection, now: Timestamp, limit: u32) -> rusqlite::Result<usize> {
    let now = rows::time(now);
    let messages = sql
        .prepare_cached(
            "DELETE FROM outbox WHERE key IN
                 (SELECT key FROM outbox WHERE done AND quiet_until <= ?1 LIMIT ?2)",
        )?
        .execute((now, limit))?;
    let questions = sql
        .prepare_cached(
            "DELETE FROM questions WHERE digest IN
                 (SELECT digest FROM questions WHERE expires_at <= ?1 LIMIT ?2)",
        )?
        .execute((now, limit))?;
    Ok(messages + questions)
}

impl Op for PutMessages {
    type Found = Vec<Queued>;
    type Answer = Vec<Queued>;

    fn run(&self, sql: &Connection, _live: &LiveSessions) -> rusqlite::Result<Self::Found> {
        self.messages.iter().map(|new| put(sql, new, self.bound)).collect()
    }

    fn apply(self, found: Self::Found, _live: &LiveSessions) -> Self::Answer {
        found
    }
}

fn put(sql: &Connection, new: &NewMessage, bound: u32) -> rusqlite::Result<Queued> {
    let channel = &*new.channel;
    sql.prepare_cached(
        "DELETE FROM outbox
         WHERE channel = ?1 AND incident = ?2 AND done AND quiet_until <= ?3",
    )?
    .execute((channel, new.key.as_bytes(), rows::time(new.at)))?;
    let inserted = sql
        .prepare_cached(
            "INSERT INTO outbox (id, channel, incident, body, at, due_at, quiet_until)
             VALUES (:id, :channel, :incident, :body, :at, :at, :quiet_until)
             ON CONFLICT (channel, incident) DO NOTHING",
        )?
        .execute(named_params! {
            ":id": new.id,
            ":channel": channel,
            ":incident": new.key.as_bytes(),
            ":body": new.body,
            ":at": rows::time(new.at),
            ":quiet_until": rows::time(new.quiet_until),
        })?;
    if inserted == 0 {
        return Ok(Queued::Repeats);
    }
    let waiting: u32 = sql
        .prepare_cached("SELECT count(*) FROM outbox WHERE channel = ?1 AND NOT done")?
        .query_row([channel], |row| row.get(0))?;
    if waiting <= bound.max(1) {
        return Ok(Queued::Waits);
    }
    sql.prepare_cached(
        "DELETE FROM outbox WHERE key =
             (SELECT min(key) FROM outbox WHERE channel = ?1 AND NOT done)",
    )?
    .execute([channel])?;
    Ok(Queued::InPlaceOfOldest)
}

impl Op for ClaimMessages {
    type Found = Vec<OutboxMessage>;
    type Answer = Vec<OutboxMessage>;

    fn run(&self, sql: &Connection, _live: &LiveSessions) -> rusqlite::Result<Self::Found> {
        let Self(claim) = self;
        let mut claimed = sql
            .prepare_cached(
                "UPDATE outbox SET due_at = :until, attempts = attempts + 1 WHERE key IN
                     (SELECT key FROM outbox
                      WHERE channel = :channel AND NOT done AND due_at <= :now
                      ORDER BY key LIMIT :limit)
                 RETURNING key, id, body, at, attempts",
            )?
            .query_map(
                named_params! {
                    ":channel": &*claim.channel,
                    ":now": rows::time(claim.now),
                    ":until": rows::time(claim.until),
                    ":limit": claim.limit,
                },
                |row| {
                    let message = OutboxMessage {
                        id: row.get("id")?,
                        body: row.get("body")?,
                        at: rows::from_sql_time(row.get("at")?),
                        attempts: row.get("attempts")?,
                    };
                    Ok((row.get::<_, i64>("key")?, message))
                },
            )?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        // RETURNING guarantees no order.
        claimed.sort_by_key(|(key, _)| *key);
        Ok(claimed.into_iter().map(|(_, message)| message).collect())
    }

    fn apply(self, found: Self::Found, _live: &LiveSessions) -> Self::Answer {
        found
    }
}

impl Op for SettleMessage {
    type Found = ();
    type Answer = ();

    fn run(&self, sql: &Connection, _live: &LiveSessions) -> rusqlite::Result<()> {
        match self.settled {
            Settled::Done => sql
                .prepare_cached("UPDATE outbox SET done = 1, body = x'' WHERE id = ?1")?
                .execute([&self.id])?,
            Settled::Again(at) => sql
                .prepare_cached("UPDATE outbox SET due_at = ?2 WHERE id = ?1")?
                .execute((&self.id, rows::time(at)))?,
        };
        Ok(())
    }

    fn apply(self, (): (), _live: &LiveSessions) {}
}

impl Op for Ask {
    type Found = ();
    type Answer = ();

    fn run(&self, sql: &Connection, _live: &LiveSessions) -> rusqlite::Result<()> {
        let Self(new) = self;
        sql.prepare_cached(
            "INSERT INTO questions (digest, about, body, expires_at) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute((
            new.digest.as_bytes(),
            new.about.as_bytes(),
            &new.body,
            rows::time(new.expires_at),
        ))?;
        Ok(())
    }

    fn apply(self, (): (), _live: &LiveSessions) {}
}

impl Op for AnswerQuestion {
    type Found = Option<Vec<u8>>;
    type Answer = Option<Vec<u8>>;

    fn run(&self, sql: &Connection, _live: &LiveSessions) -> rusqlite::Result<Self::Found> {
        let Some(body) = open_question(sql, &self.digest, self.now)? else { return Ok(None) };
        sql.prepare_cached(
            "UPDATE questions SET answered = 1
             WHERE about = (SELECT about FROM questions WHERE digest = ?1)",
        )?
        .execute([self.digest.as_bytes()])?;
        Ok(Some(body))
    }

    fn apply(self, found: Self::Found, _live: &LiveSessions) -> Self::Answer {
        found
    }
}

fn open_question(
    sql: &Connection,
    digest: &Digest,
    now: Timestamp,
) -> rusqlite::Result<Option<Vec<u8>>> {
    sql.prepare_cached(
        "SELECT body FROM questions WHERE digest = ?1 AND NOT answered AND expires_at > ?2",
    )?
    .query_row((digest.as_bytes(), rows::time(now)), |row| row.get(0))
    .optional()
}

#[async_trait]
impl Outbox for Embedded {
    async fn put_messages(
        &self,
        messages: Vec<NewMessage>,
        bound: u32,
    ) -> Result<Vec<Queued>, StoreError> {
        self.writer.submit(PutMessages { messages, bound }).await
    }

    async fn claim_messages(&self, claim: Claim) -> Result<Vec<OutboxMessage>, StoreError> {
        self.writer.submit(ClaimMessages(claim)).await
    }

    async fn settle_message(&self, id: &str, settled: Settled) -> Result<(), StoreError> {
        self.writer.submit(SettleMessage { id: id.to_owned(), settled }).await
    }

    async fn waiting_messages(&self, channel: &str) -> Result<u64, StoreError> {
        let (reader, channel) = (Arc::clone(&self.reader), channel.to_owned());
        let waiting: i64 = blocking(move || {
            Ok(reader
                .lock()
                .prepare_cached("SELECT count(*) FROM outbox WHERE channel = ?1 AND NOT done")?
                .query_row([channel], |row| row.get(0))?)
        })
        .await?;
        Ok(u64::try_from(waiting).unwrap_or(0))
    }
}

#[async_trait]
impl Questions for Embedded {
    async fn ask(&self, question: NewQuestion) -> Result<(), StoreError> {
        self.writer.submit(Ask(question)).await
    }

    async fn question(
        &self,
        digest: &Digest,
        now: Timestamp,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let (reader, digest) = (Arc::clone(&self.reader), *digest);
        blocking(move || Ok(open_question(&reader.lock(), &digest, now)?)).await
    }

    async fn answer(&self, digest: &Digest, now: Timestamp) -> Result<Option<Vec<u8>>, StoreError> {
        self.writer.submit(AnswerQuestion { digest: *digest, now }).await
    }
}
