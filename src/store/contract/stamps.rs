//! The contract for stamps about what others have issued.

use std::sync::Arc;
use std::time::Duration;

use super::{after, at, digest};
use crate::clock::Timestamp;
use crate::store::{Keep, NewStamp, Sessions, Stamps};

fn stamp(key: &str, at: Timestamp, keep: Keep) -> NewStamp {
    NewStamp { key: digest(key), at, keep, kept_until: at.plus(Duration::from_secs(60)) }
}

pub(in crate::store) async fn a_key_without_a_stamp_has_none(store: &Arc<impl Stamps>) {
    store.put(stamp("a", at(1), Keep::First)).await.unwrap();
    assert_eq!(store.stamp(&digest("b")), None);
}

pub(in crate::store) async fn the_first_stamp_stays(store: &Arc<impl Stamps>) {
    for time in [at(20), at(30), at(10)] {
        assert_eq!(store.put(stamp("a", time, Keep::First)).await, Ok(at(20)));
        assert_eq!(store.stamp(&digest("a")), Some(at(20)));
    }
}

pub(in crate::store) async fn the_latest_stamp_counts(store: &Arc<impl Stamps>) {
    for (time, holds) in [(at(20), at(20)), (at(30), at(30)), (at(10), at(30))] {
        assert_eq!(store.put(stamp("a", time, Keep::Latest)).await, Ok(holds));
        assert_eq!(store.stamp(&digest("a")), Some(holds));
    }
}

pub(in crate::store) async fn upkeep_forgets_a_stamp_that_need_not_be_kept(
    store: &Arc<impl Stamps + Sessions>,
) {
    store.put(stamp("a", at(0), Keep::First)).await.unwrap();
    store.put(stamp("b", at(0), Keep::First)).await.unwrap();
    store.put(stamp("b", at(1000), Keep::First)).await.unwrap();
    store.upkeep(after(Duration::from_millis(59_999))).await.unwrap();
    assert_eq!(store.stamp(&digest("a")), Some(at(0)));
    store.upkeep(after(Duration::from_secs(60))).await.unwrap();
    assert_eq!(store.stamp(&digest("a")), None);
    assert_eq!(store.stamp(&digest("b")), Some(at(0)), "the second put has it kept for longer");
    let again = store.put(stamp("a", at(60_000), Keep::First)).await;
    assert_eq!(again, Ok(at(60_000)), "what was forgotten begins anew");
}
