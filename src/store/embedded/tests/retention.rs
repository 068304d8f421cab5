//! Tests that no byte of an address or of a `User-Agent` is left in the file, or next to it, after its time.

use std::time::Duration;

use super::super::super::outbox::{NewMessage, NewQuestion, Outbox, Questions};
use super::super::super::{Former, NewSession, StoredPlaces};
use super::*;

const MONTH: Duration = Duration::from_secs(30 * 86_400);

/// Returns how often a text occurs in the files of the folder.
fn found(folder: &tempfile::TempDir, text: &str) -> usize {
    let files = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let count = |path: std::path::PathBuf| {
        let bytes = std::fs::read(path).unwrap();
        bytes.windows(text.len()).filter(|part| *part == text.as_bytes()).count()
    };
    files.map(count).sum()
}

/// Simulates a month of use: sign-ins, rotations, ends, changed names and messages, over many pages.
async fn live(store: &Embedded, from: &str, agent: &str, when: Timestamp, sessions: usize) {
    for n in 0..sessions {
        let id = format!("{}-{n}", when.as_secs());
        let new = NewSession {
            at: when,
            expires_at: when.plus(4 * MONTH),
            idle_timeout: 4 * MONTH,
            client: Some(format!("{from}::{n:x}").parse().unwrap()),
            agent: format!("{agent} {}", "x".repeat(n % 200)),
            ..new_session(&id, &(n % 50).to_string())
        };
        let session = store.create(new).await.unwrap();
        if n % 3 == 0 {
            let presented = format!("{id}-0");
            store.rotate(rotate(&id, &presented, &format!("{id}-1"), when)).await.unwrap();
            session.identity.store(identity(&format!("{n} with a name of its own")));
        }
        if n % 5 == 0 {
            let which = SessionSelection::Session(session.id.clone());
            store.end(&which, EndReason::SignedOut, when).await.unwrap();
        }
        let message = NewMessage {
            id: id.clone(),
            channel: "mail".into(),
            key: digest(&id),
            body: format!("{{\"client\":\"{from}::{n:x}\",\"agent\":\"{agent}\"}}").into_bytes(),
            at: when,
            quiet_until: when,
        };
        store.put_messages(vec![message], 10_000).await.unwrap();
        let question = NewQuestion {
            digest: digest(&format!("q-{id}")),
            about: digest(&id),
            body: format!("{from}::{n:x} {agent}").into_bytes(),
            expires_at: when.plus(Duration::from_secs(7 * 86_400)),
        };
        store.ask(question).await.unwrap();
    }
    store.upkeep(when).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_byte_of_an_address_or_an_agent_outlives_its_time() {
    let (store, folder) = fresh();
    live(&store, "2001:db8:aaaa", "OldBrowser/1", T0, 600).await;
    let later = T0.plus(MONTH / 2);
    live(&store, "2001:db8:bbbb", "NewBrowser/2", later, 300).await;
    for text in ["2001:db8:aaaa", "OldBrowser", "2001:db8:bbbb", "NewBrowser"] {
        assert!(found(&folder, text) > 100, "{text} is in the file, or this finds nothing");
    }
    // A month after the first use, with what a gateway does then by itself.
    let now = T0.plus(MONTH).plus(Duration::from_secs(1));
    store.upkeep(now).await.unwrap();
    assert!(store.forget_places(now.minus(MONTH)).await.unwrap());
    for (text, is_there) in [
        ("2001:db8:aaaa", false),
        ("OldBrowser", false),
        ("2001:db8:bbbb", true),
        ("NewBrowser", true),
    ] {
        assert_eq!(found(&folder, text) > 0, is_there, "{text}");
    }
    assert_eq!(store.list(None, now).await.unwrap().len(), 720, "and nobody is signed out by it");
    // Nothing comes back from memory either.
    live(&store, "2001:db8:cccc", "Third/3", now, 20).await;
    drop(store);
    let store = open(&folder);
    let last = later.plus(MONTH).plus(Duration::from_secs(1));
    store.upkeep(last).await.unwrap();
    assert!(store.forget_places(last.minus(MONTH)).await.unwrap());
    for text in ["2001:db8:aaaa", "OldBrowser", "2001:db8:bbbb", "NewBrowser"] {
        assert_eq!(found(&folder, text), 0, "{text}");
    }
}

#[tokio::test]
async fn who_a_user_was_is_known_after_their_session_was_ended_and_not_for_ever() {
    let (store, _folder) = fresh();
    let user = UserKey::new("django", "7");
    let asked = async |since| {
        let identity = store.last_identity(&user, since).await.unwrap();
        identity.map(|identity| identity.attributes["mail"].clone())
    };
    assert_eq!(asked(T0).await, None);
    store.create(new_session("a", "7")).await.unwrap();
    let named = crate::caller::Identity {
        attributes: std::collections::BTreeMap::from([("mail".into(), "new@example.org".into())]),
        ..Identity::clone(&identity("7"))
    };
    let later = NewSession { at: at(5), identity: Arc::new(named), ..new_session("b", "7") };
    store.create(later).await.unwrap();
    assert_eq!(asked(T0).await.as_deref(), Some("new@example.org"), "the last one counts");
    for id in ["a", "b"] {
        assert_eq!(end(&store, id).await, 1);
    }
    assert_eq!(asked(T0).await.as_deref(), Some("new@example.org"));
    assert_eq!(asked(at(6)).await, None, "what is older is not asked for");
    let other = store.last_identity(&UserKey::new("django", "8"), T0).await.unwrap();
    assert_eq!(other, None);
}
