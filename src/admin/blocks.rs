//! Blocks, as operators list, add and lift them.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Operator, OperatorRequest};
use crate::block::{Block, BlockSubject, BlockedBy, Demand};
use crate::clock::Timestamp;
use crate::endpoint::paging::Page;
use crate::event::EventKind;
use crate::refusal::Refusal;
use crate::store::{BlockList, Blocked, StoreError};

/// The default duration of a block.
pub const USUAL: Duration = Duration::from_secs(3600);

/// The longest duration of a block.
pub const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// The longest reason, in characters.
const LONGEST_REASON: usize = 256;

impl Operator {
    /// Answers `GET /blocks?limit=COUNT&cursor=CURSOR` with the blocks, those that end first before the others.
    pub(super) fn list_blocks(&self, request: &OperatorRequest<'_>) -> Result<Value, Refusal> {
        let page = Page::read(request.query, |_, _| Err(Refusal::BadBody))?;
        let position = |block: &Block| (block.until.as_millis(), block.subject.to_string());
        let after = match &page.cursor {
            None => None,
            Some(cursor) => {
                let (millis, subject) = cursor.split_once(' ').ok_or(Refusal::BadBody)?;
                let millis: u64 = millis.parse().map_err(|_| Refusal::BadBody)?;
                Some((millis, subject.to_owned()))
            }
        };
        let all = self.blocks.list().all(request.at);
        let rest =
            all.iter().filter(|block| after.as_ref().is_none_or(|after| position(block) > *after));
        let (shown, next) = page.cut(rest, |block| {
            let (millis, subject) = position(block);
            format!("{millis} {subject}")
        });
        let shown: Vec<Value> = shown.into_iter().map(describe_block).collect();
        Ok(json!({"blocks": shown, "next": next}))
    }

    pub(super) async fn block(&self, request: &OperatorRequest<'_>) -> Result<Value, Refusal> {
        let body: Value = serde_json::from_slice(request.body).map_err(|_| Refusal::BadBody)?;
        let new = block_of(&body, request.at).ok_or(Refusal::BadBody)?;
        match self.blocks.block(new).await.map_err(|error| down(&error))? {
            Blocked::Holds(block) => {
                let described = describe_block(&block);
                request.events.note(EventKind::Blocked(block));
                Ok(described)
            }
            // A block by an operator replaces every other block, so this is the operator's.
            Blocked::Stands(block) => Ok(describe_block(&block)),
            Blocked::NoRoom => Err(Refusal::StoreUnavailable),
        }
    }

    pub(super) async fn lift(&self, request: &OperatorRequest<'_>) -> Result<Value, Refusal> {
        let body: Value = serde_json::from_slice(request.body).map_err(|_| Refusal::BadBody)?;
        let subject = subject_of(&body).ok_or(Refusal::BadBody)?;
        let lifted = self.blocks.lift(&subject).await.map_err(|error| down(&error))?;
        let is_lifted = lifted.is_some();
        request.events.note_all(lifted.map(EventKind::BlockLifted));
        Ok(json!({"lifted": is_lifted}))
    }
}

/// Returns the block that an operator asks for, `None` if the request is malformed.
pub fn block_of(asked: &Value, at: Timestamp) -> Option<Block> {
    let seconds = match asked.get("seconds") {
        None => USUAL,
        Some(seconds) => Duration::from_secs(seconds.as_u64()?),
    };
    let reason = match asked.get("reason") {
        None => "",
        Some(reason) => reason.as_str()?,
    };
    if seconds.is_zero() || seconds > LONGEST {
        return None;
    }
    Some(Block {
        subject: subject_of(asked)?,
        demand: Demand::StayAway,
        by: BlockedBy::Operator,
        reason: reason.chars().take(LONGEST_REASON).collect::<String>().into(),
        at,
        until: at.plus(seconds),
    })
}

/// Returns the one subject that the operator names, `None` unless there is exactly one.
pub fn subject_of(asked: &Value) -> Option<BlockSubject> {
    let named = ["address", "user", "session"].map(|kind| (kind, asked.get(kind)));
    let mut named = named.into_iter().filter_map(|(kind, text)| Some((kind, text?)));
    let (kind, text) = named.next()?;
    if named.next().is_some() {
        return None;
    }
    BlockSubject::parse(kind, text.as_str()?)
}

/// Describes the blocks as commands and the operator's API show them, those that end first before the others.
pub fn describe_blocks(list: &BlockList, now: Timestamp) -> Value {
    let blocks: Vec<Value> = list.all(now).iter().map(describe_block).collect();
    json!({"blocks": blocks})
}

/// Describes one block.
pub fn describe_block(block: &Arc<Block>) -> Value {
    json!({
        "kind": block.subject.kind(),
        "subject": block.subject.to_string(),
        "demand": block.demand.name(),
        "by": block.by.name(),
        "reason": &*block.reason,
        "at": block.at.to_string(),
        "until": block.until.to_string(),
    })
}

fn down(error: &StoreError) -> Refusal {
    tracing::error!(%error, "the store cannot change a block");
    Refusal::StoreUnavailable
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1000);

    #[test]
    fn a_block_names_one_subject_and_an_end() {
        for (asked, subject, seconds) in [
            (json!({"address": "192.0.2.7"}), "192.0.2.7", 3600),
            (json!({"address": "192.0.2.7/24", "seconds": 60}), "192.0.2.0/24", 60),
            (json!({"user": "django/7", "reason": "abuse"}), "django/7", 3600),
            (json!({"session": "s-1"}), "s-1", 3600),
        ] {
            let block = block_of(&asked, NOW).unwrap();
            let until = NOW.plus(Duration::from_secs(seconds));
            assert_eq!((block.subject.to_string(), block.until), (subject.into(), until));
        }
        for wrong in [
            json!({}),
            json!([]),
            json!({"address": "192.0.2.7", "user": "django/7"}),
            json!({"address": "everywhere"}),
            json!({"address": 7}),
            json!({"user": "kim"}),
            json!({"session": "s-1", "seconds": 0}),
            json!({"session": "s-1", "seconds": 367 * 24 * 3600}),
            json!({"session": "s-1", "seconds": -1}),
            json!({"session": "s-1", "seconds": "1h"}),
            json!({"session": "s-1", "reason": 7}),
        ] {
            assert_eq!(block_of(&wrong, NOW), None, "{wrong}");
        }
    }

    #[test]
    fn a_reason_is_cut() {
        let block = block_of(&json!({"session": "s", "reason": "ä".repeat(300)}), NOW).unwrap();
        assert_eq!(block.reason.chars().count(), LONGEST_REASON);
    }
}
