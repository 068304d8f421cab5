//! The contract for account activity and devices: whose they are, how many, and for how long.

use std::sync::Arc;
use std::time::Duration;

use super::{T0, after, at, digest};
use crate::caller::UserKey;
use crate::clock::Timestamp;
use crate::store::records::{
    AccountRecords, DEVICE_LIFETIME, DeviceUse, MOST_DEVICES, MOST_ENTRIES, MOST_REFUSED, NewEntry,
    RecordNote, StoredDevice, StoredEntry,
};
use crate::store::{Sessions, StoredPlaces};

const HOUR: Duration = Duration::from_secs(3600);

fn kim() -> UserKey {
    UserKey::new("django", "1")
}

fn entry(what: &'static str, detail: &'static str, when: Timestamp) -> NewEntry {
    NewEntry {
        user: kim(),
        what,
        detail,
        at: when,
        network: Some("203.0.113.0".parse().unwrap()),
        agent: "Mozilla/5.0".into(),
        is_refused: false,
        merges: Duration::ZERO,
    }
}

fn used(device: &str, user: UserKey, when: Timestamp) -> RecordNote {
    RecordNote::DeviceUsed(DeviceUse {
        user,
        device: digest(device),
        at: when,
        network: Some("2001:db8::".parse().unwrap()),
        agent: format!("browser {device}"),
    })
}

async fn note(store: &Arc<impl AccountRecords>, entries: Vec<NewEntry>) {
    store.note(entries.into_iter().map(RecordNote::Happened).collect()).await.unwrap();
}

async fn all(store: &Arc<impl AccountRecords>) -> Vec<StoredEntry> {
    store.entries_of(&kim(), None, 1000).await.unwrap()
}

async fn devices(store: &Arc<impl AccountRecords>) -> Vec<StoredDevice> {
    store.devices_of(&kim()).await.unwrap()
}

pub(in crate::store) async fn what_happened_is_told_newest_first_and_in_pages(
    store: &Arc<impl AccountRecords>,
) {
    assert_eq!(all(store).await, []);
    let others = NewEntry { user: UserKey::new("file", "1"), ..entry("x", "y", at(2)) };
    let same_time = [entry("a", "b", at(1)), entry("c", "d", at(3)), entry("e", "f", at(3))];
    note(store, same_time.into_iter().chain([others]).collect()).await;
    let found = all(store).await;
    let told: Vec<_> = found.iter().map(|one| (&*one.what, &*one.detail, one.at)).collect();
    assert_eq!(told, [("e", "f", at(3)), ("c", "d", at(3)), ("a", "b", at(1))]);
    let first = &found[0];
    assert_eq!((first.first_at, first.count, &*first.agent), (at(3), 1, "Mozilla/5.0"));
    assert_eq!(first.network, Some("203.0.113.0".parse().unwrap()));
    let (mut seen, mut before) = (Vec::new(), None);
    while let [one] = &store.entries_of(&kim(), before, 1).await.unwrap()[..] {
        seen.push(one.clone());
        before = Some((one.at, one.key));
    }
    assert_eq!(seen, found);
}

pub(in crate::store) async fn what_happens_again_within_its_time_is_one_entry(
    store: &Arc<impl AccountRecords>,
) {
    let hourly = |what, detail, when| NewEntry { merges: HOUR, ..entry(what, detail, when) };
    let minute = |n: u32| T0.plus(n * Duration::from_secs(60));
    let last = NewEntry {
        network: Some("198.51.100.0".parse().unwrap()),
        agent: "curl/8".into(),
        ..hourly("refused", "wrong", minute(59))
    };
    note(
        store,
        vec![
            hourly("refused", "wrong", T0),
            hourly("refused", "locked", minute(1)),
            hourly("refused", "wrong", minute(30)),
            last,
            hourly("refused", "wrong", minute(60)),
            // This repetition is reported late: its time is no later than the stored one.
            hourly("refused", "locked", T0),
        ],
    )
    .await;
    let found = all(store).await;
    let told: Vec<_> =
        found.iter().map(|one| (&*one.detail, one.count, one.first_at, one.at)).collect();
    assert_eq!(
        told,
        [
            ("wrong", 1, minute(60), minute(60)),
            ("wrong", 3, T0, minute(59)),
            ("locked", 2, minute(1), minute(1)),
        ]
    );
    assert_eq!(found[1].network, Some("198.51.100.0".parse().unwrap()), "where it last did");
    assert_eq!(found[1].agent, "curl/8");
}

pub(in crate::store) async fn what_others_cause_pushes_out_nothing_else(
    store: &Arc<impl AccountRecords>,
) {
    note(store, vec![entry("signed_in", "", T0)]).await;
    let guesses = (1..=300).map(|n| NewEntry { is_refused: true, ..entry("refused", "", at(n)) });
    note(store, guesses.collect()).await;
    let found = all(store).await;
    assert_eq!(found.len(), MOST_REFUSED + 1);
    assert_eq!((found[0].at, &*found[MOST_REFUSED].what), (at(300), "signed_in"));
    note(store, (1..=300).map(|n| entry("signed_in", "", at(n))).collect()).await;
    let found = all(store).await;
    let refused = found.iter().filter(|one| one.what == "refused").count();
    assert_eq!((refused, found.len()), (MOST_REFUSED, MOST_REFUSED + MOST_ENTRIES));
}

pub(in crate::store) async fn a_device_is_one_however_often_it_is_used(
    store: &Arc<impl AccountRecords>,
) {
    let lee = UserKey::new("django", "2");
    let notes = vec![
        used("phone", kim(), at(1)),
        used("desk", kim(), at(2)),
        used("phone", kim(), at(9)),
        used("theirs", lee.clone(), at(5)),
        // A device belongs to one user, whoever reports it.
        used("phone", lee.clone(), at(20)),
    ];
    store.note(notes).await.unwrap();
    let found = devices(store).await;
    let told: Vec<_> =
        found.iter().map(|one| (one.device, one.first_used, one.last_used)).collect();
    assert_eq!(told[0], (digest("phone"), at(1), at(9)));
    assert_eq!(told[1..], [(digest("desk"), at(2), at(2))]);
    assert_eq!((&*found[0].agent, found[0].network.is_some()), ("browser phone", true));

    let theirs = digest("theirs");
    assert_eq!(store.drop_devices(&kim(), Some(&theirs)).await, Ok(0), "another user's");
    assert_eq!(store.drop_devices(&kim(), Some(&digest("desk"))).await, Ok(1));
    assert_eq!(store.drop_devices(&kim(), None).await, Ok(1));
    assert_eq!((devices(store).await, store.drop_devices(&kim(), None).await), (vec![], Ok(0)));
    assert!(store.devices_of(&lee).await.unwrap().iter().any(|one| one.device == theirs));

    let many = (0..80).map(|n| used(&format!("d{n}"), kim(), at(n))).collect();
    store.note(many).await.unwrap();
    let found = devices(store).await;
    assert_eq!((found.len(), found[0].device), (MOST_DEVICES, digest("d79")));
}

pub(in crate::store) async fn what_is_shown_is_forgotten_when_its_time_is_over(
    store: &Arc<impl AccountRecords + StoredPlaces + Sessions>,
) {
    note(store, vec![entry("old", "", at(1)), entry("new", "", at(9))]).await;
    store.note(vec![used("old", kim(), at(1)), used("new", kim(), at(9))]).await.unwrap();
    store.forget_places(at(5)).await.unwrap();
    let told: Vec<_> = all(store).await.into_iter().map(|one| one.what).collect();
    assert_eq!(told, ["new"]);
    let places = |found: Vec<StoredDevice>| -> Vec<(bool, String)> {
        found.into_iter().map(|one| (one.network.is_some(), one.agent)).collect()
    };
    assert_eq!(
        places(devices(store).await),
        [(true, "browser new".to_owned()), (false, String::new())],
        "a device stays known when it is forgotten where it was"
    );
    store.upkeep(at(1).plus(DEVICE_LIFETIME)).await.unwrap();
    let left: Vec<_> = devices(store).await.iter().map(|one| one.device).collect();
    assert_eq!(left, [digest("new")]);
    store.upkeep(after(DEVICE_LIFETIME + HOUR)).await.unwrap();
    assert_eq!(devices(store).await, []);
}
