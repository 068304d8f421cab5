//! Tests that a file of each schema version can be opened by this version, with everything in it.
//!
//! `versions/N.sql` is such a file as text: a live and an ended session of kim's, a spent and a fresh refresh token, and the
//! additions of later versions. Adding a migration requires adding the file of the version that it replaces.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use super::super::schema;
use super::*;
use crate::caller::{Assurance, AuthMethod, AuthMethods};
use crate::store::SessionAttachments as _;
use crate::store::blocks::Blocks;
use crate::store::factors::FactorStore as _;
use crate::store::outbox::{Claim, Outbox as _};

const FILES: &[&str] = &[
    include_str!("versions/1.sql"),
    include_str!("versions/2.sql"),
    include_str!("versions/3.sql"),
    include_str!("versions/4.sql"),
    include_str!("versions/5.sql"),
    include_str!("versions/6.sql"),
    include_str!("versions/7.sql"),
    include_str!("versions/8.sql"),
    include_str!("versions/9.sql"),
    include_str!("versions/10.sql"),
];

/// Returns the statements that create the file's tables and indexes.
fn tables(path: &Path) -> BTreeSet<String> {
    let connection = raw(path);
    let mut rows =
        connection.prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL").unwrap();
    let rows = rows.query_map([], |row| row.get::<_, String>(0)).unwrap();
    rows.map(|sql| sql.unwrap().split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[tokio::test]
async fn each_older_file_is_migrated_with_all_that_is_in_it() {
    let (_fresh, new) = fresh();
    for (version, dump) in (1_u32..).zip(FILES) {
        let folder = tempfile::tempdir().unwrap();
        let path = file_in(&folder);
        raw(&path).execute_batch(dump).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(count(&path, "PRAGMA user_version"), i64::from(version));

        let store = open(&folder);
        assert_eq!(count(&path, "PRAGMA user_version"), i64::from(schema::known()), "{version}");
        assert_eq!(tables(&path), tables(&file_in(&new)), "{version}: as in a new file");

        let live = SessionId::new("live");
        let cookie = digest("cookie-live");
        let found = store.find(SessionBy::Cookie(&cookie), at(6000)).await.unwrap();
        let found = found.unwrap_or_else(|| panic!("{version}: the live session is gone"));
        let identity = found.identity.load();
        assert_eq!((&found.id, &*identity.name), (&live, "kim"), "{version}");
        assert_eq!(identity.groups, ["editors"], "{version}");
        assert_eq!(identity.attributes["email"], "kim@example.com", "{version}");
        assert_eq!((found.signed_in_at, found.last_used()), (T0, at(1000)), "{version}");
        assert!(find(&store, "ended", at(6000)).await.is_none(), "{version}");

        let spent = store.look(&live, &digest("spent"), at(6000)).await.unwrap();
        assert!(matches!(spent, RefreshState::Spent(..)), "{version}: {spent:?}");
        let next = store.look(&live, &digest("next"), at(6000)).await.unwrap();
        assert!(matches!(next, RefreshState::Fresh(_)), "{version}: {next:?}");
        let stamp = (version >= 2).then_some(at(3000));
        assert_eq!(store.stamp(&digest("stamp")), stamp, "{version}");
        let kept = (version >= 3).then_some(&b"sealed"[..]);
        assert_eq!(found.kept.load().as_deref().map(Vec::as_slice), kept, "{version}");
        let adopted = find(&store, "adopted", at(6000)).await;
        let issuer = adopted.as_ref().and_then(|one| one.issuer.as_deref());
        assert_eq!(issuer, (version >= 4).then_some("django-session"), "{version}");

        assert_eq!(found.assurance, Assurance::now(AuthMethods::only(AuthMethod::Password), T0));
        let adopted = adopted.map(|session| session.assurance);
        assert_eq!(adopted, (version >= 4).then_some(Assurance::BY_SERVICE), "{version}");

        let claim = Claim { channel: "mail".into(), limit: 9, now: at(6000), until: at(7000) };
        let waiting = store.claim_messages(claim).await.unwrap();
        assert_eq!(waiting.len(), usize::from(version >= 5), "{version}");

        let blocked = Blocks::list(&*store).all(at(6000)).len();
        assert_eq!(blocked, usize::from(version >= 6), "{version}");

        assert!(!found.is_token(), "{version}");
        let kept = store.factors_of(&UserKey::new("django", "2")).await.unwrap();
        let expected = (version >= 8).then_some(("totp", 59_999_999, None));
        let factor = kept.factors.first();
        let found = factor.map(|one| (one.kind.as_str(), one.last_step, one.passkey.as_ref()));
        assert_eq!((found, kept.recovery_left), (expected, u32::from(version >= 8)), "{version}");

        // From here on it is a store like any other.
        assert_eq!(store.keep(&live, Arc::new(b"more".to_vec())).await, Ok(true), "{version}");
        assert_eq!(end(&store, "live").await, 1, "{version}");
        drop(store);
        assert!(find(&open(&folder), "live", at(6000)).await.is_none(), "{version}");
    }
}
