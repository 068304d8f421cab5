//! Blocks in the file: adding, lifting and removing them in SQL, and then in memory.

use std::sync::Arc;

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, named_params};

use super::super::Blocked;
use super::super::blocks::{Admitted, MOST_BLOCKS};
use super::super::live::LiveSessions;
use super::rows::{from_sql_time, time};
use super::writer::Op;
use crate::block::{Block, BlockSubject, BlockedBy, Demand};
use crate::clock::Timestamp;

/// Adds a block.
pub(super) struct Add(pub(super) Block);

/// Lifts a block.
pub(super) struct Lift(pub(super) BlockSubject);

/// Drops blocks that have ended by now, and blocks of sessions that are gone.
pub(super) struct Forget(pub(super) Timestamp);

impl Op for Add {
    type Found = Admitted;
    type Answer = Blocked;

    fn run(&self, sql: &Connection, _live: &LiveSessions) -> rusqlite::Result<Admitted> {
        let Self(new) = self;
        let mut other = None;
        match find(sql, &new.subject)? {
            Some(old) if !old.gives_way_to(new) => {
                return Ok(Admitted::Not(Blocked::Stands(Arc::new(old))));
            }
            Some(_) => {}
            None => {
                sql.prepare_cached("DELETE FROM blocks WHERE until <= ?1")?
                    .execute([time(new.at)])?;
                if count(sql)? >= MOST_BLOCKS {
                    let Some(first) = first_expendable(sql)? else {
                        return Ok(Admitted::Not(Blocked::NoRoom));
                    };
                    delete(sql, &first)?;
                    other = Some(first);
                }
            }
        }
        insert(sql, new)?;
        Ok(Admitted::InPlaceOf(other))
    }

    fn apply(self, found: Admitted, live: &LiveSessions) -> Blocked {
        match found {
            Admitted::InPlaceOf(other) => Blocked::Holds(live.blocks().put(self.0, other.as_ref())),
            Admitted::Not(blocked) => blocked,
        }
    }
}

impl Op for Lift {
    type Found = ();
    type Answer = Option<Arc<Block>>;

    fn run(&self, sql: &Connection, _live: &LiveSessions) -> rusqlite::Result<()> {
        delete(sql, &self.0)
    }

    /// Depends on memory: a block in memory must be lifted even if it was already lifted in the file.
    fn apply(self, (): (), live: &LiveSessions) -> Self::Answer {
        live.blocks().remove(&self.0)
    }
}

impl Op for Forget {
    type Found = ();
    type Answer = ();

    fn run(&self, sql: &Connection, _live: &LiveSessions) -> rusqlite::Result<()> {
        sql.prepare_cached(
            "DELETE FROM blocks WHERE until <= ?1 OR kind = 'session'
                 AND subject NOT IN (SELECT id FROM sessions WHERE ended_at IS NULL)",
        )?
        .execute([time(self.0)])?;
        Ok(())
    }

    fn apply(self, (): (), live: &LiveSessions) {
        live.blocks().forget(self.0, |session| !live.has_id(session));
    }
}

/// Returns all blocks. They include ended ones, which upkeep removes.
pub(super) fn load(sql: &Connection) -> rusqlite::Result<Vec<Block>> {
    sql.prepare("SELECT kind, subject, demand, made_by, reason, at, until FROM blocks")?
        .query_map([], block)?
        .collect()
}

fn find(sql: &Connection, subject: &BlockSubject) -> rusqlite::Result<Option<Block>> {
    sql.prepare_cached(
        "SELECT kind, subject, demand, made_by, reason, at, until FROM blocks
         WHERE kind = ?1 AND subject = ?2",
    )?
    .query_row((subject.kind(), subject.to_string()), block)
    .optional()
}

fn insert(sql: &Connection, new: &Block) -> rusqlite::Result<()> {
    sql.prepare_cached(
        "INSERT OR REPLACE INTO blocks (kind, subject, demand, made_by, reason, at, until)
         VALUES (:kind, :subject, :demand, :made_by, :reason, :at, :until)",
    )?
    .execute(named_params! {
        ":kind": new.subject.kind(),
        ":subject": new.subject.to_string(),
        ":demand": new.demand.name(),
        ":made_by": new.by.name(),
        ":reason": &*new.reason,
        ":at": time(new.at),
        ":until": time(new.until),
    })?;
    Ok(())
}

fn delete(sql: &Connection, subject: &BlockSubject) -> rusqlite::Result<()> {
    sql.prepare_cached("DELETE FROM blocks WHERE kind = ?1 AND subject = ?2")?
        .execute((subject.kind(), subject.to_string()))?;
    Ok(())
}

fn count(sql: &Connection) -> rusqlite::Result<usize> {
    let count: i64 =
        sql.prepare_cached("SELECT count(*) FROM blocks")?.query_row([], |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

/// Returns the block that ends first among those that [may be dropped](Block::is_expendable).
fn first_expendable(sql: &Connection) -> rusqlite::Result<Option<BlockSubject>> {
    sql.prepare_cached(
        "SELECT kind, subject, demand, made_by, reason, at, until FROM blocks
         WHERE kind = 'address' AND made_by = 'detector' ORDER BY until LIMIT 1",
    )?
    .query_row([], |row| Ok(block(row)?.subject))
    .optional()
}

fn block(row: &Row<'_>) -> rusqlite::Result<Block> {
    let (kind, subject): (String, String) = (row.get("kind")?, row.get("subject")?);
    let (demand, by): (String, String) = (row.get("demand")?, row.get("made_by")?);
    let unreadable = |column: &str| {
        let source = format!("blocks.{column}: no such value").into();
        rusqlite::Error::FromSqlConversionFailure(0, Type::Text, source)
    };
    let of_name = |one: &&Demand| one.name() == demand;
    let of_maker = |one: &&BlockedBy| one.name() == by;
    Ok(Block {
        subject: BlockSubject::parse(&kind, &subject).ok_or_else(|| unreadable("subject"))?,
        demand: *Demand::ALL.iter().find(of_name).ok_or_else(|| unreadable("demand"))?,
        by: *BlockedBy::ALL.iter().find(of_maker).ok_or_else(|| unreadable("made_by"))?,
        reason: row.get::<_, String>("reason")?.into(),
        at: from_sql_time(row.get("at")?),
        until: from_sql_time(row.get("until")?),
    })
}
