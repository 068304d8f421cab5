//! The changes to sessions, refresh tokens and stamps: what each decides in SQL, and how it is then applied to memory.
//!
//! The ops of one batch run one after another and see each other's rows, but not yet each other's effect on memory. Conditions
//! between them are therefore checked in the tables: a session that an earlier op of the batch ended has `ended_at` set and no
//! refresh tokens left.

use std::sync::Arc;

use rusqlite::{Connection, named_params};

use super::super::live::{LiveSessions, Stamp};
use super::super::{
    BeginOutcome, Keep, NewSession, NewStamp, Renewal, Rotate, RotationOutcome, Session, SessionBy,
    SessionSelection,
};
use super::rows;
use super::writer::Op;
use super::{factors, outbox, passkeys, records};
use crate::caller::{Identity, SessionId, UserKey};
use crate::clock::Timestamp;
use crate::event::EndReason;
use crate::secret::Digest;

/// Begins a session.
pub(super) struct Create(pub(super) NewSession);

/// Begins a personal access token unless its user already has this many.
pub(super) struct CreateToken(pub(super) Create, pub(super) usize);

/// Begins a session unless its stamp exists, and puts the stamp.
pub(super) struct CreateOnce(pub(super) Create, pub(super) Put);

/// Begins a session for a service's credential, unless it already has a live session or its end is stored.
pub(super) struct Adopt(pub(super) Create);

/// The result of adopting a credential.
pub(super) enum Adopted {
    /// The end of the credential is stored.
    Over,
    /// The credential already has this live session.
    Lives(SessionId),
    /// A session begins; this earlier session of the credential had timed out.
    Begins(Option<SessionId>),
}

/// Renews the credential or the assurance of a session.
pub(super) struct Renew(pub(super) Renewal);

/// Ends sessions.
pub(super) struct EndSessions {
    pub(super) which: SessionSelection,
    pub(super) why: EndReason,
    pub(super) at: Timestamp,
}

/// Spends a refresh token.
pub(super) struct Spend(pub(super) Rotate);

/// Puts a stamp.
pub(super) struct Put(pub(super) NewStamp);

/// Replaces the attachment of a session.
pub(super) struct Keeping {
    pub(super) session: SessionId,
    pub(super) kept: Arc<Vec<u8>>,
}

/// Makes last uses and changed identities durable.
pub(super) struct Save(pub(super) Arc<[Unsaved]>);

/// A session of which memory is newer than the file.
pub(super) struct Unsaved {
    pub(super) session: Arc<Session>,
    pub(super) last_used: Timestamp,
    /// The new identity; `None` if the file has it already.
    pub(super) identity: Option<Arc<Identity>>,
}

/// Removes sessions that have timed out.
pub(super) struct Expire {
    pub(super) due: Vec<Arc<Session>>,
    pub(super) now: Timestamp,
}

/// Removes some expired rows. Returns their number, which is zero when nothing is left.
pub(super) struct Sweep {
    pub(super) now: Timestamp,
    /// Sealed answers whose grace window closed before this time are cleared.
    pub(super) sealed_before: Timestamp,
    pub(super) limit: u32,
}

impl Op for Create {
    type Found = ();
    type Answer = Arc<Session>;

    fn run(&self, sql: &Connection, _live: &LiveSessions) -> rusqlite::Result<()> {
        rows::insert_session(sql, &self.0)?;
        if let Some(kept) = &self.0.kept {
            rows::keep(sql, &self.0.id, kept)?;
        }
        match &self.0.refresh {
            Some(token) => rows::insert_token(sql, &self.0.id, token),
            None => Ok(()),
        }
    }

    fn apply(self, (): (), live: &LiveSessions) -> Arc<Session> {
        let session = Session::begin(&self.0);
        live.insert(&session);
        session
    }
}

impl Op for CreateToken {
    /// Whether there is room for another token.
    type Found = bool;
    type Answer = Option<Arc<Session>>;

    fn run(&self, sql: &Connection, live: &LiveSessions) -> rusqlite::Result<bool> {
        let Self(create, most) = self;
        let count = rows::token_count(sql, &create.0.identity.key, create.0.at)?;
        let has_room = usize::try_from(count).is_ok_and(|count| count < *most);
        if has_room {
            create.run(sql, live)?;
        }
        Ok(has_room)
    }

    fn apply(self, has_room: bool, live: &LiveSessions) -> Self::Answer {
        has_room.then(|| self.0.apply((), live))
    }
}

impl Op for CreateOnce {
    /// The stamp, if it was put.
    type Found = Option<Stamp>;
    type Answer = BeginOutcome;

    fn run(&self, sql: &Connection, live: &LiveSessions) -> rusqlite::Result<Option<Stamp>> {
        let Self(create, mark) = self;
        if rows::has_stamp(sql, &mark.0.key)? {
            return Ok(None);
        }
        create.run(sql, live)?;
        mark.run(sql, live).map(Some)
    }

    fn apply(self, found: Option<Stamp>, live: &LiveSessions) -> BeginOutcome {
        let Self(create, mark) = self;
        match found {
            Some(stamp) => {
                // The session comes first, so that whoever sees the stamp finds the session.
                let session = create.apply((), live);
                mark.apply(stamp, live);
                BeginOutcome::Begun(session)
            }
            // The session is in memory by now, even if an op of the same batch began it.
            None => BeginOutcome::Before(live.find(SessionBy::Id(&create.0.id), create.0.at)),
        }
    }
}

impl Op for Adopt {
    type Found = Adopted;
    type Answer = BeginOutcome;

    fn run(&self, sql: &Connection, live: &LiveSessions) -> rusqlite::Result<Adopted> {
        let Self(Create(new)) = self;
        let Some(cookie) = &new.cookie else {
            self.0.run(sql, live)?;
            return Ok(Adopted::Begins(None));
        };
        if rows::has_stamp(sql, cookie)? {
            return Ok(Adopted::Over);
        }
        let there = rows::with_cookie(sql, cookie)?;
        if let Some(id) = &there {
            // A session that an earlier op of the batch began is not in memory yet, and is live.
            let timed_out = live.with_id(id).is_some_and(|session| !session.is_live(new.at));
            if !timed_out {
                return Ok(Adopted::Lives(id.clone()));
            }
        }
        rows::free_cookie(sql, cookie)?;
        self.0.run(sql, live)?;
        Ok(Adopted::Begins(there))
    }

    fn apply(self, found: Adopted, live: &LiveSessions) -> BeginOutcome {
        let Self(create) = self;
        match found {
            Adopted::Over => BeginOutcome::Before(None),
            Adopted::Lives(id) => BeginOutcome::Before(live.find(SessionBy::Id(&id), create.0.at)),
            Adopted::Begins(timed_out) => {
                if let Some(id) = timed_out {
                    live.end(&id);
                }
                BeginOutcome::Begun(create.apply((), live))
            }
        }
    }
}

impl Op for Renew {
    /// Whether the session is live according to the file.
    type Found = bool;
    type Answer = Option<Arc<Session>>;

    fn run(&self, sql: &Connection, live: &LiveSessions) -> rusqlite::Result<bool> {
        let Self(renewal) = self;
        if live.with_id(&renewal.session).is_some_and(|session| !session.is_live(renewal.at)) {
            return Ok(false);
        }
        let changed = sql
            .prepare_cached(
                "UPDATE sessions
                 SET cookie = coalesce(:cookie, cookie), password_mark = :mark,
                     amr = coalesce(:amr, amr),
                     auth_time = CASE WHEN :amr IS NULL THEN auth_time ELSE :auth_time END
                 WHERE id = :id AND ended_at IS NULL",
            )?
            .execute(named_params! {
                ":id": renewal.session.as_str(),
                ":cookie": renewal.cookie.as_ref().map(Digest::as_bytes),
                ":mark": renewal.password_mark.as_bytes(),
                ":amr": renewal.assurance.map(|assurance| assurance.methods.to_string()),
                ":auth_time": renewal.assurance.and_then(|one| one.auth_time).map(rows::seconds),
            })?;
        Ok(changed == 1)
    }

    fn apply(self, lives: bool, live: &LiveSessions) -> Self::Answer {
        if lives { live.renew(&self.0) } else { None }
    }
}

impl Op for EndSessions {
    /// The stamps for the ended credentials of adopted sessions.
    type Found = Vec<(Digest, Stamp)>;
    type Answer = Vec<Arc<Session>>;

    fn run(&self, sql: &Connection, live: &LiveSessions) -> rusqlite::Result<Self::Found> {
        let ends = rows::credentials_of(sql, &self.which, self.at)?;
        let mut stamps = Vec::with_capacity(ends.len());
        for end in ends {
            let put = Put(end);
            stamps.push((put.0.key, put.run(sql, live)?));
        }
        self.end_rows(sql)?;
        Ok(stamps)
    }

    /// Depends on memory, not on the rows that changed: a session in memory must end even if the file had it ended already.
    fn apply(self, stamps: Self::Found, live: &LiveSessions) -> Self::Answer {
        for (key, stamp) in stamps {
            live.put_stamp(key, stamp);
        }
        live.selected(&self.which).iter().filter_map(|session| live.end(&session.id)).collect()
    }
}

impl EndSessions {
    fn end_rows(&self, sql: &Connection) -> rusqlite::Result<()> {
        match &self.which {
            SessionSelection::Session(id) => end_session(sql, id, self.why, self.at),
            SessionSelection::User(user) => self.end_rows_of(sql, user, None, "TRUE"),
            SessionSelection::OthersOf { user, kept } => {
                self.end_rows_of(sql, user, Some(kept), "TRUE")
            }
            SessionSelection::SignIns { user, kept } => {
                self.end_rows_of(sql, user, kept.as_ref(), "token_grant IS NULL")
            }
        }
    }

    /// Ends the rows of a user's sessions that meet this condition, except the kept one. No session has an empty id.
    fn end_rows_of(
        &self,
        sql: &Connection,
        user: &UserKey,
        kept: Option<&SessionId>,
        condition: &'static str,
    ) -> rusqlite::Result<()> {
        let (directory, user) = (&*user.directory, &*user.id);
        let kept = kept.map_or("", SessionId::as_str);
        let theirs =
            format!("directory = :directory AND user_id = :user AND id <> :kept AND {condition}");
        for table in ["refresh_tokens", "kept"] {
            let delete = format!(
                "DELETE FROM {table} WHERE session IN (SELECT key FROM sessions WHERE {theirs})"
            );
            sql.prepare_cached(&delete)?.execute(named_params! {
                ":directory": directory,
                ":user": user,
                ":kept": kept,
            })?;
        }
        sql.prepare_cached(&format!(
            "UPDATE sessions SET ended_at = :at, end_reason = :why
             WHERE {theirs} AND ended_at IS NULL"
        ))?
        .execute(named_params! {
            ":directory": directory,
            ":user": user,
            ":kept": kept,
            ":at": rows::time(self.at),
            ":why": self.why.name(),
        })?;
        Ok(())
    }
}

impl Op for Spend {
    type Found = RotationOutcome;
    type Answer = RotationOutcome;

    fn run(&self, sql: &Connection, live: &LiveSessions) -> rusqlite::Result<RotationOutcome> {
        let Self(rotate) = self;
        let Some(session) = live.find(SessionBy::Id(&rotate.session), rotate.at) else {
            return Ok(RotationOutcome::Unknown);
        };
        if spend(sql, rotate)? {
            rows::insert_token(sql, &rotate.session, &rotate.successor)?;
            return Ok(RotationOutcome::Rotated(session));
        }
        let Some(token) = rows::token(sql, &rotate.session, &rotate.presented)? else {
            return Ok(RotationOutcome::Unknown);
        };
        if token.expires_at <= rotate.at {
            return Ok(RotationOutcome::Expired);
        }
        let within = token.spent.filter(|spent| rotate.at < spent.replay_until);
        if let Some(sealed_answer) = within.and_then(|spent| spent.sealed_answer) {
            return Ok(RotationOutcome::Replayed(session, sealed_answer));
        }
        end_session(sql, &rotate.session, EndReason::RefreshReused, rotate.at)?;
        Ok(RotationOutcome::Reused(session))
    }

    fn apply(self, found: RotationOutcome, live: &LiveSessions) -> RotationOutcome {
        if let RotationOutcome::Reused(session) = &found {
            live.end(&session.id);
        }
        found
    }
}

impl Op for Put {
    type Found = Stamp;
    type Answer = Timestamp;

    fn run(&self, sql: &Connection, _live: &LiveSessions) -> rusqlite::Result<Stamp> {
        let Self(new) = self;
        let keeps = match new.keep {
            Keep::First => "at",
            Keep::Latest => "max(at, excluded.at)",
        };
        sql.prepare_cached(&format!(
            "INSERT INTO stamps (key, at, kept_until) VALUES (?1, ?2, ?3)
             ON CONFLICT (key) DO UPDATE
             SET at = {keeps}, kept_until = max(kept_until, excluded.kept_until)
             RETURNING at, kept_until"
        ))?
        .query_row(
            (new.key.as_bytes(), rows::time(new.at), rows::time(new.kept_until)),
            rows::stamp,
        )
    }

    fn apply(self, stamp: Stamp, live: &LiveSessions) -> Timestamp {
        live.put_stamp(self.0.key, stamp);
        stamp.at
    }
}

impl Op for Keeping {
    /// Whether the session is live according to the file.
    type Found = bool;
    type Answer = bool;

    fn run(&self, sql: &Connection, _live: &LiveSessions) -> rusqlite::Result<bool> {
        Ok(rows::keep(sql, &self.session, &self.kept)? == 1)
    }

    fn apply(self, is_kept: bool, live: &LiveSessions) -> bool {
        is_kept && live.keep(&self.session, self.kept)
    }
}

impl Op for Save {
    type Found = ();
    type Answer = ();

    fn run(&self, sql: &Connection, _live: &LiveSessions) -> rusqlite::Result<()> {
        let mut update = sql.prepare_cached(
            "UPDATE sessions SET last_used = :last_used, identity = coalesce(:identity, identity)
             WHERE id = :id AND ended_at IS NULL",
        )?;
        for unsaved in self.0.iter() {
            let identity = unsaved.identity.as_deref().map(rows::identity).transpose()?;
            update.execute(named_params! {
                ":id": unsaved.session.id.as_str(),
                ":last_used": rows::time(unsaved.last_used),
                ":identity": identity,
            })?;
        }
        Ok(())
    }

    fn apply(self, (): (), _live: &LiveSessions) {}
}

impl Op for Expire {
    /// The sessions that have not been used since they were found due.
    type Found = Vec<Arc<Session>>;
    type Answer = Vec<Arc<Session>>;

    fn run(&self, sql: &Connection, live: &LiveSessions) -> rusqlite::Result<Self::Found> {
        let mut delete =
            sql.prepare_cached("DELETE FROM sessions WHERE id = ?1 AND ended_at IS NULL")?;
        let mut over = Vec::with_capacity(self.due.len());
        // If a session was renewed meanwhile, its old record has ended but the session has not.
        let is_over = |session: &&Arc<Session>| {
            let there = live.with_id(&session.id);
            there.is_none_or(|there| !there.is_live(self.now))
        };
        for session in self.due.iter().filter(is_over) {
            delete.execute([session.id.as_str()])?;
            over.push(Arc::clone(session));
        }
        Ok(over)
    }

    fn apply(self, over: Self::Found, live: &LiveSessions) -> Self::Answer {
        over.iter().filter_map(|session| live.end(&session.id)).collect()
    }
}

impl Op for Sweep {
    type Found = usize;
    type Answer = usize;

    fn run(&self, sql: &Connection, _live: &LiveSessions) -> rusqlite::Result<usize> {
        let (now, limit) = (rows::time(self.now), self.limit);
        let tokens = sql
            .prepare_cached(
                "DELETE FROM refresh_tokens WHERE key IN
                     (SELECT key FROM refresh_tokens WHERE expires_at <= ?1 LIMIT ?2)",
            )?
            .execute((now, limit))?;
        let sealed = sql
            .prepare_cached(
                "UPDATE refresh_tokens SET sealed_answer = NULL WHERE key IN
                     (SELECT key FROM refresh_tokens
                      WHERE sealed_answer IS NOT NULL AND replay_until < ?1 LIMIT ?2)",
            )?
            .execute((rows::time(self.sealed_before), limit))?;
        let ended = sql
            .prepare_cached(
                "DELETE FROM sessions WHERE key IN
                     (SELECT key FROM sessions
                      WHERE ended_at IS NOT NULL AND expires_at <= ?1 LIMIT ?2)",
            )?
            .execute((now, limit))?;
        let stamps = sql
            .prepare_cached(
                "DELETE FROM stamps WHERE key IN
                     (SELECT key FROM stamps WHERE kept_until <= ?1 LIMIT ?2)",
            )?
            .execute((now, limit))?;
        let outgoing = outbox::sweep(sql, self.now, limit)?;
        let attempts = factors::sweep(sql, self.now, limit)?;
        let devices = records::sweep(sql, self.now, limit)?;
        let challenges = passkeys::sweep(sql, self.now, limit)?;
        Ok(tokens + sealed + ended + stamps + outgoing + attempts + devices + challenges)
    }

    fn apply(self, swept: usize, _live: &LiveSessions) -> usize {
        swept
    }
}

/// Spends a token. Only this decides who spends it: the `UPDATE` changes one row for the first caller, and none for all others.
fn spend(sql: &Connection, rotate: &Rotate) -> rusqlite::Result<bool> {
    let changed = sql
        .prepare_cached(
            "UPDATE refresh_tokens
             SET spent_at = :at, replay_until = :replay_until, sealed_answer = :sealed_answer
             WHERE digest = :presented AND spent_at IS NULL AND expires_at > :at
               AND session = (SELECT key FROM sessions WHERE id = :session AND ended_at IS NULL)",
        )?
        .execute(named_params! {
            ":presented": rotate.presented.as_bytes(),
            ":session": rotate.session.as_str(),
            ":at": rows::time(rotate.at),
            ":replay_until": rows::time(rotate.at.plus(rotate.grace)),
            ":sealed_answer": rotate.sealed_answer,
        })?;
    Ok(changed == 1)
}

fn end_session(
    sql: &Connection,
    id: &SessionId,
    why: EndReason,
    at: Timestamp,
) -> rusqlite::Result<()> {
    sql.prepare_cached(
        "DELETE FROM refresh_tokens WHERE session = (SELECT key FROM sessions WHERE id = ?1)",
    )?
    .execute([id.as_str()])?;
    sql.prepare_cached(
        "DELETE FROM kept WHERE session = (SELECT key FROM sessions WHERE id = ?1)",
    )?
    .execute([id.as_str()])?;
    sql.prepare_cached(
        "UPDATE sessions SET ended_at = ?2, end_reason = ?3 WHERE id = ?1 AND ended_at IS NULL",
    )?
    .execute((id.as_str(), rows::time(at), why.name()))?;
    Ok(())
}
