//! Tests of which files are opened, and how the errors read.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

use super::super::{OpenError, file, schema};
use super::*;
use crate::store::SessionAttachments;
use crate::store::outbox::{Claim, NewMessage, NewQuestion, Outbox, Questions, Queued};

fn refusal(path: &Path) -> OpenError {
    match Embedded::open(path) {
        Ok(_) => panic!("{} was opened", path.display()),
        Err(error) => error,
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[tokio::test]
async fn all_its_files_are_the_owners_alone() {
    let (store, folder) = fresh();
    store.create(new_session("a", "1")).await.unwrap();
    store.backup(&folder.path().join("copy.db")).await.unwrap();
    for name in ["store.db", "store.db-wal", "store.db-shm", "copy.db"] {
        assert_eq!(mode(&folder.path().join(name)), 0o600, "{name}");
    }
}

#[test]
fn a_file_that_others_can_reach_is_refused_and_not_mended() {
    let (store, folder) = fresh();
    drop(store);
    let path = file_in(&folder);
    for open_to_others in [0o640, 0o604, 0o620, 0o660, 0o601] {
        fs::set_permissions(&path, Permissions::from_mode(open_to_others)).unwrap();
        let error = refusal(&path);
        assert!(matches!(error, OpenError::NotPrivate { .. }), "{error}");
        assert!(error.to_string().contains("run `chmod 600"), "{error}");
        assert_eq!(mode(&path), open_to_others);
    }
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    open(&folder);
}

#[test]
fn a_write_ahead_log_that_others_can_reach_is_refused() {
    let (_store, folder) = fresh();
    let log = folder.path().join("store.db-wal");
    fs::set_permissions(&log, Permissions::from_mode(0o644)).unwrap();
    let error = refusal(&file_in(&folder)).to_string();
    assert!(error.contains("store.db-wal") && error.contains("mode 0644"), "{error}");
}

#[test]
fn links_and_folders_are_no_store() {
    let (_store, folder) = fresh();
    let link = folder.path().join("link.db");
    symlink(file_in(&folder), &link).unwrap();
    let dangling = folder.path().join("dangling.db");
    symlink(folder.path().join("elsewhere.db"), &dangling).unwrap();
    for path in [link.as_path(), &dangling, folder.path()] {
        let error = refusal(path);
        assert!(matches!(error, OpenError::NotAFile { .. }), "{error}");
    }
    assert!(!folder.path().join("elsewhere.db").exists(), "a link was followed");
}

#[tokio::test]
async fn a_copy_is_not_written_through_a_link() {
    let (store, folder) = fresh();
    let link = folder.path().join("copy.db");
    symlink(folder.path().join("elsewhere.db"), &link).unwrap();
    assert!(store.backup(&link).await.is_err());
    assert!(!folder.path().join("elsewhere.db").exists());
}

#[test]
fn a_link_among_the_folders_is_the_operators_choice() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("real")).unwrap();
    symlink(folder.path().join("real"), folder.path().join("link")).unwrap();
    Embedded::open(&folder.path().join("link/store.db")).unwrap();
    assert!(folder.path().join("real/store.db").is_file());
}

#[test]
fn a_missing_folder_is_said_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing/store.db");
    let error = refusal(&path).to_string();
    assert!(error.contains("missing/store.db") && error.contains("No such file"), "{error}");
}

#[tokio::test]
async fn an_empty_file_becomes_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = file_in(&folder);
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    open(&folder).create(new_session("a", "1")).await.unwrap();
    assert_eq!(count(&path, "PRAGMA user_version"), i64::from(schema::known()));
    // "DrWd"
    assert_eq!(count(&path, "PRAGMA application_id"), 0x4472_5764);
    let mode: String = raw(&path).query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
}

#[tokio::test]
async fn the_file_of_an_older_version_gets_an_outbox_that_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = file_in(&folder);
    raw(&path).execute_batch(include_str!("versions/4.sql")).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();

    let store = open(&folder);
    assert_eq!(count(&path, "PRAGMA user_version"), i64::from(schema::known()));
    let new = NewMessage {
        id: "m".into(),
        channel: "mail".into(),
        key: digest("k"),
        body: b"body".to_vec(),
        at: at(0),
        quiet_until: at(100),
    };
    assert_eq!(store.put_messages(vec![new.clone()], 9).await, Ok(vec![Queued::Waits]));
    let question =
        NewQuestion { digest: digest("q"), about: digest("k"), body: vec![7], expires_at: at(100) };
    store.ask(question).await.unwrap();
    drop(store);

    let store = open(&folder);
    assert_eq!(store.put_messages(vec![new], 9).await, Ok(vec![Queued::Repeats]));
    let claim = Claim { channel: "mail".into(), limit: 9, now: at(1), until: at(9) };
    let claimed = store.claim_messages(claim.clone()).await.unwrap();
    assert_eq!(claimed.iter().map(|one| one.body.as_slice()).collect::<Vec<_>>(), [b"body"]);
    drop(store);

    // The process that claimed it is gone; the message is due again when the claim ends.
    let store = open(&folder);
    assert_eq!(store.claim_messages(claim.clone()).await, Ok(vec![]));
    let later = Claim { now: at(9), until: at(20), ..claim };
    assert_eq!(store.claim_messages(later).await.unwrap().len(), 1);
    assert_eq!(store.answer(&digest("q"), at(9)).await, Ok(Some(vec![7])));
}

#[tokio::test]
async fn sessions_of_version_4_say_how_they_began_where_that_is_certain() {
    let folder = tempfile::tempdir().unwrap();
    let path = file_in(&folder);
    raw(&path).execute_batch(include_str!("versions/4.sql")).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    assert_eq!(count(&path, "PRAGMA user_version"), 4);

    let store = open(&folder);
    assert_eq!(count(&path, "PRAGMA user_version"), i64::from(schema::known()));
    let table = [
        ("live", "pwd", Some(1_800_000_000)),
        ("with-tokens", "", None),
        ("adopted", "service", None),
    ];
    for (id, methods, auth_time) in table {
        let id = SessionId::new(id);
        let found = store.find(SessionBy::Id(&id), at(6000)).await.unwrap().unwrap();
        assert_eq!(found.assurance.methods.to_string(), methods, "{id}");
        assert_eq!(found.assurance.auth_time, auth_time.map(Timestamp::from_secs), "{id}");
        assert_eq!((&*found.agent, found.client), ("a browser", "192.0.2.7".parse().ok()));
    }
}

#[tokio::test]
async fn what_is_kept_survives_a_restart_and_goes_with_its_session() {
    let folder = tempfile::tempdir().unwrap();
    let path = file_in(&folder);
    let store = open(&folder);
    for id in ["a", "b", "c"] {
        store.create(new_session(id, id)).await.unwrap();
        store.keep(&SessionId::new(id), Arc::new(id.as_bytes().to_vec())).await.unwrap();
    }
    store
        .end(&SessionSelection::Session(SessionId::new("a")), EndReason::SignedOut, at(1))
        .await
        .unwrap();
    store
        .end(&SessionSelection::User(UserKey::new("django", "b")), EndReason::SignedOut, at(1))
        .await
        .unwrap();
    drop(store);
    assert_eq!(count(&path, "SELECT count(*) FROM kept"), 1);

    let store = open(&folder);
    let found = store.find(SessionBy::Id(&SessionId::new("c")), at(2)).await.unwrap().unwrap();
    assert_eq!(found.kept.load().as_deref().map(Vec::as_slice), Some(&b"c"[..]));
    store.upkeep(after(ABSOLUTE)).await.unwrap();
    assert_eq!(count(&path, "SELECT count(*) FROM kept"), 0);
}

#[test]
fn a_commit_waits_for_the_disk() {
    let (_store, folder) = fresh();
    let connection = file::connect(&file_in(&folder), Tuning::default()).unwrap();
    let level: i64 = connection.query_row("PRAGMA synchronous", [], |row| row.get(0)).unwrap();
    assert_eq!(level, 2, "FULL: less can lose acknowledged rotations in a power loss");
}

#[test]
fn the_file_of_a_newer_version_is_refused_and_left_alone() {
    let (store, folder) = fresh();
    drop(store);
    let path = file_in(&folder);
    let newer = schema::known() + 1;
    raw(&path).pragma_update(None, "user_version", newer).unwrap();
    let before = fs::read(&path).unwrap();
    let error = refusal(&path);
    assert!(matches!(error, OpenError::Newer { found, .. } if found == newer), "{error}");
    let (newer, known) = (newer.to_string(), schema::known().to_string());
    let says = error.to_string();
    assert!(says.contains(&newer) && says.contains(&known) && says.contains("newer"), "{says}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn the_database_of_another_program_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = file_in(&folder);
    raw(&path).execute_batch("CREATE TABLE auth_user (id INTEGER PRIMARY KEY)").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    let before = fs::read(&path).unwrap();
    let error = refusal(&path);
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_damaged_file_is_refused() {
    let (store, folder) = fresh();
    for number in 0..200 {
        store.create(new_session(&format!("s{number}"), "1")).await.unwrap();
    }
    drop(store);
    let path = file_in(&folder);
    let whole = fs::read(&path).unwrap();
    let middle = whole.len() / 2;

    let mut overwritten = whole.clone();
    overwritten[middle..middle + 8192].fill(0xa5);
    let truncated = whole[..middle].to_vec();
    let garbage = vec![0x5a; 8192];
    for (how, bytes) in [("overwritten", overwritten), ("cut", truncated), ("garbage", garbage)] {
        fs::write(&path, bytes).unwrap();
        let error = refusal(&path);
        assert!(matches!(error, OpenError::Corrupt { .. }), "{how}: {error}");
        assert!(error.to_string().contains("put back a backup"), "{error}");
    }
    fs::write(&path, whole).unwrap();
    open(&folder);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_damage_and_never_a_missing_session() {
    let (store, folder) = fresh();
    store.create(new_session("a", "1")).await.unwrap();
    drop(store);
    let path = file_in(&folder);
    raw(&path).execute("UPDATE sessions SET identity = '{'", []).unwrap();
    let error = refusal(&path);
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");
}

#[tokio::test]
async fn damage_that_only_a_check_of_the_whole_file_finds_is_refused() {
    let (store, folder) = fresh();
    store.create(new_session("a", "1")).await.unwrap();
    drop(store);
    let path = file_in(&folder);
    // Opening reads the sessions alone; upkeep first needs this index hours later.
    let root = "SELECT rootpage FROM sqlite_schema WHERE name = 'refresh_tokens_by_end'";
    let page = usize::try_from(count(&path, root)).unwrap();
    let size = usize::try_from(count(&path, "PRAGMA page_size")).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[(page - 1) * size..page * size].fill(0xa5);
    fs::write(&path, bytes).unwrap();
    let error = refusal(&path);
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");
}
