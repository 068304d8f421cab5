//! Tests with a SQLite file that has the tables of django-otp's own migrations. The packages themselves are tested in
//! `tests/gateway/projects`.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::*;
use crate::config::Database;
use crate::hotp::hotp;
use crate::secret::Secret;
use crate::service::database::{DatabaseAccess, Databases};

const SCHEMA: &str = r#"
CREATE TABLE otp_totp_totpdevice (
  id integer PRIMARY KEY AUTOINCREMENT, name varchar(64) NOT NULL, confirmed bool NOT NULL, key varchar(80) NOT NULL,
  step smallint unsigned NOT NULL, t0 bigint NOT NULL, digits smallint unsigned NOT NULL,
  tolerance smallint unsigned NOT NULL, drift smallint NOT NULL, last_t bigint NOT NULL, user_id integer NOT NULL,
  throttling_failure_count integer unsigned NOT NULL, throttling_failure_timestamp datetime NULL,
  created_at datetime NULL, last_used_at datetime NULL);
CREATE TABLE otp_static_staticdevice (
  id integer PRIMARY KEY AUTOINCREMENT, name varchar(64) NOT NULL, confirmed bool NOT NULL, user_id integer NOT NULL,
  throttling_failure_count integer unsigned NOT NULL, throttling_failure_timestamp datetime NULL,
  created_at datetime NULL, last_used_at datetime NULL);
CREATE TABLE otp_static_statictoken (
  id integer PRIMARY KEY AUTOINCREMENT, token varchar(16) NOT NULL, device_id integer NOT NULL);
INSERT INTO otp_totp_totpdevice VALUES
  (1, 'phone', 1, '3132333435363738393031323334353637383930', 30, 0, 6, 1, 0, -1, 7, 0, NULL, NULL, NULL),
  (2, 'tablet', 1, '3132333435363738393031323334353637383931', 30, 0, 6, 1, 0, -1, 7, 0, NULL, NULL, NULL),
  (3, 'begun', 0, '3132333435363738393031323334353637383932', 30, 0, 6, 1, 0, -1, 8, 0, NULL, NULL, NULL),
  (4, 'broken', 1, 'nothing', 30, 0, 6, 1, 0, -1, 9, 0, NULL, NULL, NULL);
INSERT INTO otp_static_staticdevice VALUES (1, 'backup', 1, 7, 0, NULL, NULL, NULL), (2, 'empty', 1, 9, 0, NULL, NULL, NULL);
INSERT INTO otp_static_statictoken VALUES (1, 'abcd2345', 1), (2, '234567', 1);
"#;

const NOW: Timestamp = Timestamp::from_secs(1_795_422_870);

struct Kit {
    otp: Arc<DjangoOtp>,
    path: PathBuf,
    _folder: tempfile::TempDir,
}

fn kit(change: impl FnOnce(&mut DjangoOtpSettings), sql: &str) -> Kit {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db.sqlite3");
    Connection::open(&path).unwrap().execute_batch(&format!("{SCHEMA}{sql}")).unwrap();
    let mut settings = DjangoOtpSettings::new();
    change(&mut settings);
    Kit { otp: open(&path, &settings), path, _folder: folder }
}

fn open(path: &Path, settings: &DjangoOtpSettings) -> Arc<DjangoOtp> {
    let (databases, at) = (Databases::default(), Database::Sqlite(path.to_owned()));
    let read = databases.open(&at, DatabaseAccess::Read);
    let write = databases.open(&at, DatabaseAccess::Write);
    Arc::new(DjangoOtp::new("django", settings, read, write))
}

fn user(id: &str) -> UserKey {
    UserKey::new("django", id)
}

fn code(device: u8, steps: i64, at: Timestamp) -> String {
    let secret = [b"1234567890123456789".as_slice(), &[b'0' + device - 1]].concat();
    let step = (at.as_secs() / 30).checked_add_signed(steps).unwrap();
    hotp(&secret, step, 6).to_string()
}

fn later(secs: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(secs))
}

async fn tried(otp: &DjangoOtp, typed: &str, at: Timestamp) -> ServiceVerdict {
    let typed = Secret::new(typed);
    let digits = typed.expose().bytes().all(|byte| byte.is_ascii_digit()).then(|| typed.clone());
    let code = ServiceCode { typed: &typed, digits: digits.as_ref(), at };
    otp.use_code(&user("7"), code).await.unwrap()
}

impl Kit {
    fn one(&self, sql: &str) -> String {
        let sql = format!("SELECT CAST(({sql}) AS TEXT)");
        let connection = Connection::open(&self.path).unwrap();
        connection
            .query_row(&sql, [], |row| row.get::<_, Option<String>>(0))
            .unwrap()
            .unwrap_or_default()
    }
}

const APP: ServiceVerdict = ServiceVerdict::Used(ServiceFactorKind::App);

fn written(left: u32) -> ServiceVerdict {
    ServiceVerdict::Used(ServiceFactorKind::WrittenCodes { left })
}

#[tokio::test]
async fn what_somebody_has_is_what_is_confirmed_and_can_be_used() {
    let kit = kit(|_| {}, "");
    let kim = kit.otp.of(&user("7"), NOW).await.unwrap();
    let names: Vec<&str> = kim.usable.iter().map(|factor| factor.name.as_str()).collect();
    assert_eq!((names, kim.is_elsewhere), (vec!["phone", "tablet", "backup"], false));
    assert_eq!(kim.usable[2].kind, ServiceFactorKind::WrittenCodes { left: 2 });
    assert_eq!(kit.otp.of(&user("8"), NOW).await.unwrap(), ServiceFactors::default(), "begun");
    assert_eq!(kit.otp.of(&user("5"), NOW).await.unwrap(), ServiceFactors::default());
    let broken = kit.otp.of(&user("9"), NOW).await.unwrap();
    assert!(broken.usable.is_empty() && broken.is_elsewhere, "no key, no token: not nothing");
    assert_eq!(kit.otp.missing().await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn a_step_is_used_once_and_the_service_knows() {
    let kit = kit(|_| {}, "");
    assert_eq!(tried(&kit.otp, &code(1, 0, NOW), NOW).await, APP);
    let row = "SELECT last_t || ' ' || drift || ' ' || last_used_at FROM otp_totp_totpdevice WHERE id = 1";
    assert_eq!(kit.one(row), format!("{} 0 2026-11-23 08:34:30.000000", NOW.as_secs() / 30));
    for steps in [0, -1] {
        let again = tried(&kit.otp, &code(1, steps, NOW), later(steps.unsigned_abs() * 9)).await;
        assert_eq!(again, ServiceVerdict::Replayed, "{steps}");
    }
    assert_eq!(tried(&kit.otp, &code(1, 1, NOW), later(20)).await, APP, "the step after it");
    assert_eq!(kit.one("SELECT drift FROM otp_totp_totpdevice WHERE id = 1"), "1");
    assert_eq!(tried(&kit.otp, &code(2, 0, NOW), later(20)).await, APP, "the other device");
    assert_eq!(kit.one("SELECT max(throttling_failure_count) FROM otp_totp_totpdevice"), "0");
}

#[tokio::test]
async fn of_parallel_codes_one_is_used() {
    for (typed, expected) in [(code(1, 0, NOW), APP), ("abcd2345".into(), written(1))] {
        let kit = kit(|_| {}, "");
        let all: Vec<_> = (0..8)
            .map(|_| {
                let (otp, typed) = (Arc::clone(&kit.otp), typed.clone());
                tokio::spawn(async move { tried(&otp, &typed, NOW).await })
            })
            .collect();
        let mut used = 0;
        for one in all {
            used += usize::from(one.await.unwrap() == expected);
        }
        assert_eq!(used, 1, "{typed}");
    }
}

#[tokio::test]
async fn wrong_codes_are_counted_there_and_waits_hold() {
    let kit = kit(|_| {}, "");
    let failures =
        || kit.one("SELECT group_concat(throttling_failure_count) FROM otp_totp_totpdevice");
    let wait = |secs| ServiceVerdict::Wait(Duration::from_secs(secs));
    assert_eq!(tried(&kit.otp, "000000", NOW).await, ServiceVerdict::Wrong);
    assert_eq!(failures(), "1,1,0,0");
    assert_eq!(tried(&kit.otp, &code(1, 0, NOW), NOW).await, wait(1), "not looked at");
    assert_eq!(kit.otp.of(&user("7"), NOW).await.unwrap().wait, None, "there are tokens");
    assert_eq!(tried(&kit.otp, "000000", later(1)).await, ServiceVerdict::Wrong);
    assert_eq!(tried(&kit.otp, "000000", later(2)).await, wait(1), "of two");
    assert_eq!(failures(), "2,2,0,0");
    assert_eq!(kit.one("SELECT throttling_failure_count FROM otp_static_staticdevice"), "0");
    // The service counts failures meanwhile.
    let busy = "UPDATE otp_totp_totpdevice SET throttling_failure_count = 4, \
        throttling_failure_timestamp = '2026-11-23 08:34:33.500000' WHERE id = 1";
    Connection::open(&kit.path).unwrap().execute_batch(busy).unwrap();
    assert_eq!(tried(&kit.otp, &code(1, 0, NOW), later(4)).await, ServiceVerdict::Wrong, "rests");
    assert_eq!(failures(), "4,3,0,0", "the other one was asked");
    assert_eq!(tried(&kit.otp, &code(1, 0, later(12)), later(12)).await, APP);
    assert_eq!(failures(), "0,0,0,0", "all that was counted at apps");
}

#[tokio::test]
async fn of_parallel_guesses_one_is_looked_at() {
    let kit = kit(|_| {}, "");
    let all: Vec<_> = (0..8)
        .map(|_| {
            let otp = Arc::clone(&kit.otp);
            tokio::spawn(async move { tried(&otp, "000000", NOW).await })
        })
        .collect();
    let mut wrong = 0;
    for one in all {
        wrong += usize::from(one.await.unwrap() == ServiceVerdict::Wrong);
    }
    assert_eq!(wrong, 1);
    assert_eq!(kit.one("SELECT max(throttling_failure_count) FROM otp_totp_totpdevice"), "1");
}

#[tokio::test]
async fn a_token_is_used_once_and_guesses_at_tokens_are_counted_at_theirs() {
    let kit = kit(|_| {}, "");
    assert_eq!(tried(&kit.otp, "ABCD2345", NOW).await, written(1));
    assert_eq!(tried(&kit.otp, "abcd2345", NOW).await, ServiceVerdict::Wrong);
    assert_eq!(kit.one("SELECT throttling_failure_count FROM otp_static_staticdevice"), "1");
    assert_eq!(kit.one("SELECT max(throttling_failure_count) FROM otp_totp_totpdevice"), "0");
    let wait = ServiceVerdict::Wait(Duration::from_secs(1));
    assert_eq!(tried(&kit.otp, "abcd2346", NOW).await, wait);
    assert_eq!(tried(&kit.otp, "234567", later(1)).await, written(0), "like an app's code");
    assert_eq!(kit.one("SELECT count(*) FROM otp_static_statictoken"), "0");
    assert_eq!(kit.one("SELECT throttling_failure_count FROM otp_static_staticdevice"), "0");
}

#[tokio::test]
async fn settings_of_the_service_hold() {
    let kit = kit(
        |settings| {
            (settings.sync, settings.throttle_factor, settings.static_tables) = (false, 0, None);
        },
        "UPDATE otp_totp_totpdevice SET digits = 8, drift = 2;",
    );
    assert_eq!(tried(&kit.otp, "00000000", NOW).await, ServiceVerdict::Wrong);
    let secret = b"12345678901234567890";
    let right = hotp(secret, NOW.as_secs() / 30 + 3, 8).to_string();
    assert_eq!(tried(&kit.otp, &right, NOW).await, APP, "no waits");
    assert_eq!(kit.one("SELECT drift FROM otp_totp_totpdevice WHERE id = 1"), "2");
    assert_eq!(tried(&kit.otp, "abcd2345", NOW).await, ServiceVerdict::Wrong, "no tokens");
}

#[tokio::test]
async fn tables_that_are_not_there_are_named() {
    let kit = kit(
        |_| {},
        "DROP TABLE otp_static_statictoken; ALTER TABLE otp_totp_totpdevice DROP COLUMN last_t;",
    );
    let missing = kit.otp.missing().await.unwrap();
    assert!(missing.iter().any(|line| line.contains("no column last_t")), "{missing:?}");
    assert!(missing.iter().any(|line| line.contains("otp_static_statictoken")), "{missing:?}");
    assert!(kit.otp.of(&user("7"), NOW).await.is_err(), "trouble is never nothing");
}

#[tokio::test]
async fn older_tables_have_no_column_for_the_last_use() {
    let kit = kit(
        |_| {},
        "ALTER TABLE otp_totp_totpdevice DROP COLUMN last_used_at; ALTER TABLE otp_static_staticdevice DROP COLUMN last_used_at;",
    );
    assert_eq!(tried(&kit.otp, &code(1, 0, NOW), NOW).await, APP);
    assert_eq!(tried(&kit.otp, "abcd2345", NOW).await, written(1));
}

#[tokio::test]
async fn without_the_right_to_write_nothing_is_used() {
    let kit = kit(|_| {}, "");
    let at = Database::Sqlite(kit.path.clone());
    let read = Databases::default().open(&at, DatabaseAccess::Read);
    let otp = DjangoOtp::new("django", &DjangoOtpSettings::new(), Arc::clone(&read), read);
    let kim = otp.of(&user("7"), NOW).await.unwrap();
    assert!(kim.usable.is_empty() && kim.is_elsewhere);
    let missing = otp.missing().await.unwrap();
    let rights: Vec<&str> = missing.iter().filter_map(|line| line.split(" (").next()).collect();
    assert_eq!(rights.len(), 3, "{missing:?}");
    assert!(rights[0].starts_with("there is no right to UPDATE otp_totp_totpdevice"), "{rights:?}");
    assert!(rights[2].starts_with("there is no right to DELETE otp_static_statictoken"));
}
