//! Tests the life of a row in a table as Django makes it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use async_trait::async_trait;
use rusqlite::Connection;

use super::*;
use crate::caller::{self, Identity, UserKey};
use crate::config::{Database, LastLogin};
use crate::directory::{Account, DirectoryError, Users};
use crate::django::hashers::PasswordHasher;
use crate::django::session::{read_cookie, read_row};

const NOW: Timestamp = Timestamp::from_secs(1_780_000_000);

/// A directory with one user, whose password can change.
struct Kim(parking_lot::Mutex<&'static str>);

#[async_trait]
impl Users for Kim {
    fn name(&self) -> &str {
        "django"
    }

    fn hashers(&self) -> Arc<[PasswordHasher]> {
        Arc::new([])
    }

    fn decoy(&self) -> Secret {
        Secret::new("!")
    }

    async fn find(&self, _: &str) -> Result<Option<Account>, DirectoryError> {
        Ok(None)
    }

    async fn by_id(&self, _: &UserKey) -> Result<Option<Account>, DirectoryError> {
        let password = Secret::new(*self.0.lock());
        Ok(Some(Account {
            identity: known().identity,
            active: true,
            has_second_factor: false,
            password,
        }))
    }

    fn as_typed<'n>(&self, name: &'n str) -> Cow<'n, str> {
        Cow::Borrowed(name)
    }

    async fn key(&self, id: &str) -> Result<UserKey, DirectoryError> {
        Ok(UserKey::new(self.name(), id))
    }

    async fn with_address(&self, _: &str) -> Result<usize, DirectoryError> {
        Ok(0)
    }

    fn upgrades_to(&self) -> Option<PasswordHasher> {
        None
    }

    fn password_store(&self) -> Option<&dyn crate::directory::PasswordStore> {
        None
    }

    async fn missing(&self) -> Result<Vec<String>, DirectoryError> {
        Ok(Vec::new())
    }
}

fn known() -> Known {
    Known {
        identity: Arc::new(Identity {
            key: UserKey::new("django", "2"),
            name: "kim".into(),
            groups: vec![],
            staff: false,
            superuser: false,
            attributes: BTreeMap::new(),
        }),
        session: Some(SessionId::new("s1")),
        proof: caller::Proof::SessionCookie,
        assurance: caller::Assurance::default(),
    }
}

fn keys() -> SecretKeys {
    SecretKeys::new(Secret::new("the service's secret key"), Vec::new())
}

/// Whether what the service sets ends the session.
async fn ended_by(
    form: &DjangoSessionForm,
    sent: &Secret,
    set: Option<&str>,
    at: Timestamp,
) -> bool {
    form.answered(&known(), None, sent, set, at).await == FormOutcome::Ended
}

/// Returns how many sessions the form has in memory.
fn live(form: &DjangoSessionForm) -> usize {
    match &form.way {
        SessionStorage::Keyed(keyed) => keyed.live.len(),
        SessionStorage::Signed(_) => 0,
    }
}

struct Kit {
    folder: tempfile::TempDir,
    kim: Arc<Kim>,
    form: DjangoSessionForm,
}

impl Kit {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("db");
        Connection::open(&database)
            .unwrap()
            .execute_batch(
                "CREATE TABLE django_session (session_key varchar(40) NOT NULL PRIMARY KEY, \
                 session_data text NOT NULL, expire_date datetime NOT NULL)",
            )
            .unwrap();
        let key = folder.path().join("key");
        private_file::create(&key, b"the service's secret key\n").unwrap();
        let form = Self::open(&folder);
        Self { folder, kim: Arc::new(Kim(parking_lot::Mutex::new("md5$a$b"))), form }
    }

    fn open(folder: &tempfile::TempDir) -> DjangoSessionForm {
        let (file, key) = (folder.path().join("db"), folder.path().join("key"));
        let engine = FormEngine::rows(Database::Sqlite(file));
        DjangoSessionForm::new(
            &config::DjangoSession::new(engine, key),
            &[7; 32],
            &Databases::default(),
        )
        .unwrap_or_else(|error| panic!("{error}"))
    }

    fn directory(&self) -> Directory {
        Directory::Users(Arc::clone(&self.kim) as Arc<dyn Users>)
    }

    async fn key(&self, secs: u64) -> Result<Secret, Refusal> {
        self.form
            .value(&known(), Some(&self.directory()), NOW.plus(Duration::from_secs(secs)))
            .await
    }

    fn sql(&self, sql: &str) {
        Connection::open(self.folder.path().join("db")).unwrap().execute_batch(sql).unwrap();
    }

    /// Returns the key, data and expiry of each row.
    fn rows(&self) -> Vec<(String, String, String)> {
        let db = Connection::open(self.folder.path().join("db")).unwrap();
        let mut select = db.prepare("SELECT * FROM django_session ORDER BY 1").unwrap();
        let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
        rows.map(Result::unwrap).collect()
    }

    fn login(&self, user: &str) -> String {
        let backend = "django.contrib.auth.backends.ModelBackend".to_owned();
        DjangoLogin::new(user.into(), backend, "md5$a$b", &keys()).to_row(&keys(), NOW)
    }
}

#[tokio::test]
async fn a_row_is_one_that_django_reads_and_is_renewed_at_half_its_life() {
    let kit = Kit::new();
    let key = kit.key(0).await.unwrap();
    let rows = kit.rows();
    let [(name, data, expires)] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!((name.as_str(), expires.as_str()), (key.expose(), "2026-05-28 21:26:40.000000"));
    assert!(name.len() == 32 && name.bytes().all(|byte| ALPHABET.contains(&byte)), "{name}");
    let login = read_row(data, &keys()).unwrap().unwrap();
    assert_eq!(login.user_id, "2");
    assert_eq!(login.proof("md5$a$b", &keys()), SessionProof::Current);

    kit.key(1799).await.unwrap();
    assert_eq!(kit.rows(), rows, "nothing is written for most requests");
    assert_eq!(kit.key(1800).await.unwrap(), key);
    assert_eq!(kit.rows()[0].2, "2026-05-28 21:56:40.000000");
    assert_eq!(kit.rows()[0].1, *data, "what the application keeps there stays");
}

#[tokio::test]
async fn a_restart_finds_the_row_and_another_password_makes_it_anew() {
    let mut kit = Kit::new();
    let key = kit.key(0).await.unwrap();
    let data = kit.rows()[0].1.clone();
    kit.form = Kit::open(&kit.folder);
    assert_eq!(kit.key(1).await.unwrap(), key);
    assert_eq!(kit.rows()[0].1, data);
    *kit.kim.0.lock() = "md5$c$d";
    kit.form = Kit::open(&kit.folder);
    assert_eq!(kit.key(2).await.unwrap(), key);
    assert_ne!(kit.rows()[0].1, data);
}

#[tokio::test]
async fn a_row_that_was_taken_away_is_not_made_again_but_an_expired_one_is() {
    let kit = Kit::new();
    kit.key(0).await.unwrap();
    kit.sql("DELETE FROM django_session");
    assert_eq!(kit.key(1800).await, Err(Refusal::SessionEnded));
    assert_eq!(kit.rows(), []);
    assert!(kit.key(3600).await.is_ok(), "swept by the service after its end");
}

#[tokio::test]
async fn the_services_sign_out_counts_only_for_the_key_that_is_in_use() {
    let kit = Kit::new();
    let key = kit.key(0).await.unwrap();
    let ended = async |sent: &Secret, set| ended_by(&kit.form, sent, set, NOW).await;
    assert!(ended(&key, None).await);
    assert!(!ended(&Secret::new("older"), None).await);
    assert!(!ended(&key, Some(key.expose())).await);
}

#[tokio::test]
async fn a_new_key_is_taken_over_if_it_is_the_same_users() {
    let kit = Kit::new();
    let key = kit.key(0).await.unwrap();
    kit.sql(&format!(
        "UPDATE django_session SET session_key = 'cycled'; \
         INSERT INTO django_session VALUES ('anothers', '{}', '2099-01-01')",
        kit.login("1")
    ));
    assert!(!ended_by(&kit.form, &key, Some("cycled"), NOW).await);
    let cycled = kit.key(1).await.unwrap();
    assert_eq!(cycled.expose(), "cycled");
    assert!(ended_by(&kit.form, &cycled, Some("nothing-there"), NOW).await);
    assert!(ended_by(&kit.form, &cycled, Some("anothers"), NOW).await);
    gone(&kit, "anothers").await;
}

#[tokio::test]
async fn the_row_goes_with_the_session_and_no_late_request_makes_another() {
    let kit = Kit::new();
    let key = kit.key(0).await.unwrap();
    kit.form.session_ended(&known().session.unwrap());
    gone(&kit, key.expose()).await;
    assert_eq!(kit.key(1).await, Err(Refusal::SessionEnded));
    gone(&kit, key.expose()).await;
}

#[tokio::test]
async fn a_key_that_the_service_changes_too_late_goes_as_well() {
    let kit = Kit::new();
    let key = kit.key(0).await.unwrap();
    kit.form.session_ended(&known().session.unwrap());
    gone(&kit, key.expose()).await;
    // The service was still at work on an earlier request.
    kit.sql(&format!(
        "INSERT INTO django_session VALUES ('cycled', '{}', '2099-01-01')",
        kit.login("2")
    ));
    ended_by(&kit.form, &key, Some("cycled"), NOW).await;
    gone(&kit, "cycled").await;
    assert_eq!(live(&kit.form), 0);
}

/// Waits until the row is deleted.
async fn gone(kit: &Kit, key: &str) {
    for _ in 0..1000 {
        if kit.rows().iter().all(|row| row.0 != key) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{key} is still there");
}

#[tokio::test]
async fn a_database_that_is_not_there_is_no_session() {
    let kit = Kit::new();
    std::fs::remove_file(kit.folder.path().join("db")).unwrap();
    assert_eq!(kit.key(0).await, Err(Refusal::IdentityUnavailable));
    assert!(!kit.folder.path().join("db").exists(), "it is never made");
}

/// Returns a form whose session is its cookie; the service accepts it for two weeks after its
/// signature.
fn signed(folder: &tempfile::TempDir) -> DjangoSessionForm {
    let max_age = Duration::from_secs(14 * 86_400);
    let engine = FormEngine::SignedCookies { max_age };
    let settings = config::DjangoSession::new(engine, folder.path().join("key"));
    DjangoSessionForm::new(&settings, &[7; 32], &Databases::default())
        .unwrap_or_else(|error| panic!("{error}"))
}

#[tokio::test]
async fn a_signed_cookie_is_good_for_the_forms_lifetime_only() {
    let kit = Kit::new();
    let form = signed(&kit.folder);
    let at = |secs| NOW.plus(Duration::from_secs(secs));
    let cookie = async |secs| form.value(&known(), Some(&kit.directory()), at(secs)).await.unwrap();
    let first = cookie(0).await;
    let read = |cookie: &Secret, secs| {
        read_cookie(cookie.expose(), &keys(), at(secs), Duration::from_secs(14 * 86_400)).is_ok()
    };
    assert!(read(&first, 3600) && !read(&first, 3601));
    assert_eq!(cookie(1799).await, first);
    let second = cookie(1800).await;
    assert!(second != first && read(&second, 5400));
}

#[tokio::test]
async fn what_the_application_puts_into_a_signed_cookie_comes_back_to_it() {
    let kit = Kit::new();
    let form = signed(&kit.folder);
    let first = form.value(&known(), Some(&kit.directory()), NOW).await.unwrap();
    let cookie = |user: &str| {
        let backend = "django.contrib.auth.backends.ModelBackend".to_owned();
        DjangoLogin::new(user.into(), backend, "md5$a$b", &keys()).to_cookie(&keys(), NOW)
    };
    let theirs = cookie("2");
    assert!(!ended_by(&form, &first, Some(&theirs), NOW).await);
    let next = form.value(&known(), Some(&kit.directory()), NOW).await.unwrap();
    assert_eq!(next.expose(), theirs);
    // It has the same content, under a signature of another time.
    let later = NOW.plus(Duration::from_secs(1800));
    let renewed = form.value(&known(), Some(&kit.directory()), later).await.unwrap();
    let content = |cookie: &str| cookie.split(':').next().unwrap().to_owned();
    assert_eq!(content(renewed.expose()), content(&theirs));
    for ends in [None, Some(cookie("1")), Some("nonsense".to_owned())] {
        assert!(ended_by(&form, &renewed, ends.as_deref(), later).await, "{ends:?}");
    }
    *kit.kim.0.lock() = "md5$c$d";
    let much_later = NOW.plus(Duration::from_secs(3600));
    let anew = form.value(&known(), Some(&kit.directory()), much_later).await.unwrap();
    let login = read_cookie(anew.expose(), &keys(), much_later, Duration::MAX).unwrap().unwrap();
    assert_eq!(login.proof("md5$c$d", &keys()), SessionProof::Current);
}

#[tokio::test]
async fn the_last_sign_in_is_noted_when_a_session_is_made_and_only_then() {
    let kit = Kit::new();
    kit.sql(
        "CREATE TABLE auth_user (id integer PRIMARY KEY, last_login datetime); \
         INSERT INTO auth_user VALUES (2, NULL), (3, NULL)",
    );
    let file = Database::Sqlite(kit.folder.path().join("db"));
    let mut settings =
        config::DjangoSession::new(FormEngine::rows(file.clone()), kit.folder.path().join("key"));
    settings.last_login =
        Some(LastLogin { database: file, table: "auth_user".into(), id: "id".into() });
    let form = DjangoSessionForm::new(&settings, &[7; 32], &Databases::default()).unwrap();
    let noted = || {
        let db = Connection::open(kit.folder.path().join("db")).unwrap();
        let sql = "SELECT group_concat(last_login) FROM auth_user";
        db.query_row(sql, [], |row| row.get::<_, Option<String>>(0)).unwrap()
    };
    let value = async |secs| {
        form.value(&known(), Some(&kit.directory()), NOW.plus(Duration::from_secs(secs)))
            .await
            .unwrap()
    };
    value(0).await;
    assert_eq!(noted().as_deref(), Some("2026-05-28 20:26:40.000000"));
    value(1800).await;
    assert_eq!(noted().as_deref(), Some("2026-05-28 20:26:40.000000"), "renewed");
    kit.sql("ALTER TABLE auth_user DROP COLUMN last_login; DELETE FROM django_session");
    value(7200).await;
    assert_eq!(
        kit.rows().len(),
        1,
        "a service where it cannot be noted has its session all the same"
    );
}
