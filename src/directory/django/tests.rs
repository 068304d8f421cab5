use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::*;
use crate::config::{
    ColumnTest, Condition, Constant, Database, DjangoColumns, DjangoGroups, SecondFactorTable,
    UserKeyColumn, UsernameCase,
};
use crate::service::database::{DatabaseAccess, Databases};

const SCHEMA: &str = r#"
CREATE TABLE auth_user (
  id integer PRIMARY KEY AUTOINCREMENT, password varchar(128) NOT NULL, is_superuser bool NOT NULL,
  username varchar(150) NOT NULL UNIQUE, email varchar(254) NOT NULL, is_staff bool NOT NULL, is_active bool NOT NULL);
CREATE TABLE auth_group (id integer PRIMARY KEY, name varchar(150) NOT NULL UNIQUE);
CREATE TABLE auth_user_groups (id integer PRIMARY KEY, user_id integer NOT NULL, group_id integer NOT NULL);
INSERT INTO auth_user VALUES
  (2, 'pbkdf2_sha256$1$c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=', 0, 'kim', 'kim@example.com', 1, 1),
  (3, '!unusable', 1, 'Lee', '', 0, 0);
INSERT INTO auth_group VALUES (1, 'editors'), (2, 'admins'), (3, 'nobody');
INSERT INTO auth_user_groups VALUES (1, 2, 1), (2, 2, 2), (3, 3, 1);
"#;

fn settings(database: &Path) -> Settings {
    let own = str::to_owned;
    Settings {
        database: Database::Sqlite(database.to_owned()),
        user_table: own("auth_user"),
        columns: DjangoColumns {
            id: own("id"),
            username: own("username"),
            password: own("password"),
            is_active: own("is_active"),
            is_staff: own("is_staff"),
            is_superuser: own("is_superuser"),
            email: own("email"),
        },
        groups: Some(DjangoGroups {
            group_table: own("auth_group"),
            membership_table: own("auth_user_groups"),
            user_column: own("user_id"),
            group_column: own("group_id"),
        }),
        username_case: UsernameCase::Exact,
        conditions: Vec::new(),
        second_factors: Vec::new(),
        taken_over: Vec::new(),
        danger_keep_at_password_upgrade: false,
        hashers: vec![own("pbkdf2_sha256")],
    }
}

fn open(settings: &Settings) -> Result<DjangoDirectory, DirectoryError> {
    let database = Databases::default().open(&settings.database, DatabaseAccess::Read);
    DjangoDirectory::new("django", settings, database)
}

struct Kit {
    directory: DjangoDirectory,
    path: PathBuf,
    _keep: tempfile::TempDir,
}

fn kit(schema: &str, change: impl FnOnce(&mut Settings)) -> Kit {
    let keep = tempfile::tempdir().unwrap();
    let path = keep.path().join("db.sqlite3");
    Connection::open(&path).unwrap().execute_batch(schema).unwrap();
    let mut settings = settings(&path);
    change(&mut settings);
    let directory = open(&settings).unwrap();
    Kit { directory, path, _keep: keep }
}

#[tokio::test]
async fn a_user_is_what_their_row_and_groups_say() {
    let kit = kit(SCHEMA, |_| {});
    let kim = kit.directory.find("kim").await.unwrap().unwrap();
    assert_eq!(kim.identity.key, UserKey::new("django", "2"));
    assert_eq!(kim.identity.groups, ["admins", "editors"]);
    assert_eq!(kim.identity.attributes["email"], "kim@example.com");
    assert!(kim.active && kim.identity.staff && !kim.identity.superuser);
    let lee = kit.directory.by_id(&UserKey::new("django", "3")).await.unwrap().unwrap();
    assert_eq!(
        (lee.identity.name.as_str(), lee.active, lee.identity.superuser),
        ("Lee", false, true)
    );
    assert!(lee.identity.attributes.is_empty());
}

#[tokio::test]
async fn an_address_is_counted_whatever_its_case_and_whoever_may_sign_in() {
    let kit = kit(SCHEMA, |_| {});
    let more = "INSERT INTO auth_user VALUES (4, '!', 0, 'eve', 'US@example.com ', 0, 1), \
                (5, '!', 0, 'bob', 'us@example.com', 0, 0), (6, '!', 0, 'ann', 'us@example.com', 0, 1)";
    Connection::open(&kit.path).unwrap().execute_batch(more).unwrap();
    for (address, count) in
        [("KIM@example.com", 1), ("us@EXAMPLE.com", 2), ("x@example.com", 0), ("%@example.com", 0)]
    {
        assert_eq!(kit.directory.with_address(address).await.unwrap(), count, "{address}");
    }
    let none = self::kit(SCHEMA, |settings| settings.columns.email = String::new());
    assert_eq!(none.directory.with_address("kim@example.com").await.unwrap(), 0);
}

#[tokio::test]
async fn names_and_ids_are_exact() {
    let kit = kit(SCHEMA, |_| {});
    for other in ["Kim", "KIM", "kim ", " kim", "ｋｉｍ", "", "k%", "' OR 1=1 --"] {
        assert!(kit.directory.find(other).await.unwrap().is_none(), "{other:?}");
    }
    for other in ["02", "2.0", " 2", "+2", "4", ""] {
        let key = UserKey::new("django", other);
        assert!(kit.directory.by_id(&key).await.unwrap().is_none(), "{other:?}");
    }
    assert!(kit.directory.by_id(&UserKey::new("file", "2")).await.unwrap().is_none());
}

#[tokio::test]
async fn a_custom_user_model_is_a_matter_of_names() {
    let schema = r#"CREATE TABLE "my ""users" (uuid char(32) PRIMARY KEY, mail text COLLATE NOCASE, pw text);
        INSERT INTO "my ""users" VALUES ('0123456789abcdef0123456789abcdef', 'a@b.c', NULL);"#;
    let kit = kit(schema, |settings| {
        settings.user_table = "my \"users".into();
        settings.groups = None;
        settings.columns = DjangoColumns {
            id: "uuid".into(),
            username: "mail".into(),
            password: "pw".into(),
            is_active: String::new(),
            is_staff: String::new(),
            is_superuser: String::new(),
            email: String::new(),
        };
    });
    let user = kit.directory.find("a@b.c").await.unwrap().unwrap();
    assert_eq!(&*user.identity.key.id, "01234567-89ab-cdef-0123-456789abcdef");
    assert!(user.active && user.password.expose().is_empty());
    assert!(kit.directory.by_id(&user.identity.key).await.unwrap().is_some());
    assert!(kit.directory.find("A@B.C").await.unwrap().is_none(), "exact, whatever the collation");
}

#[tokio::test]
async fn trouble_is_never_an_unknown_user() {
    let gone = kit(SCHEMA, |_| {});
    std::fs::remove_file(&gone.path).unwrap();
    assert!(gone.directory.find("kim").await.is_err());
    assert!(!gone.path.exists(), "reading makes no file");

    let garbage = kit(SCHEMA, |_| {});
    std::fs::write(
        &garbage.path,
        "no database, and longer than a header of one hundred bytes".repeat(9),
    )
    .unwrap();
    assert!(garbage.directory.find("kim").await.is_err());

    let column = kit(SCHEMA, |settings| settings.columns.email = "mail".into());
    let error = column.directory.find("kim").await.unwrap_err().to_string();
    assert!(error.contains("django") && error.contains("mail"), "{error}");

    let table = kit("CREATE TABLE other (id integer);", |_| {});
    assert!(table.directory.find("nobody").await.is_err());
    assert!(table.directory.by_id(&UserKey::new("django", "1")).await.is_err());

    let twice = SCHEMA.replace("NOT NULL UNIQUE, email", "NOT NULL, email");
    let twice =
        kit(&format!("{twice} INSERT INTO auth_user VALUES (4, 'x', 0, 'kim', '', 0, 1);"), |_| {});
    assert!(twice.directory.find("kim").await.is_err());
}

#[tokio::test]
async fn a_replaced_or_changed_database_is_seen() {
    let kit = kit(SCHEMA, |_| {});
    assert!(kit.directory.find("kim").await.unwrap().unwrap().active);
    let writer = Connection::open(&kit.path).unwrap();
    writer.execute("UPDATE auth_user SET is_active = 0 WHERE username = 'kim'", []).unwrap();
    assert!(!kit.directory.find("kim").await.unwrap().unwrap().active);

    let new = kit.path.with_extension("new");
    Connection::open(&new).unwrap().execute_batch(&SCHEMA.replace("'kim'", "'kai'")).unwrap();
    std::fs::rename(&new, &kit.path).unwrap();
    assert!(kit.directory.find("kim").await.unwrap().is_none());
    assert!(kit.directory.find("kai").await.unwrap().is_some());
}

#[tokio::test]
async fn the_decoy_follows_the_newest_usable_password() {
    let kit = kit(SCHEMA, |_| {});
    assert_eq!(kit.directory.decoy().expose(), DEFAULT_DUMMY);
    assert!(kit.directory.find("nobody").await.unwrap().is_none());
    assert!(kit.directory.decoy().expose().starts_with("pbkdf2_sha256$1$"));
}

#[test]
fn names_that_cannot_be_are_refused() {
    let path = Path::new("/nonexistent");
    for table in ["", "a\0b", "a\nb"] {
        let settings = Settings { user_table: table.into(), ..settings(path) };
        assert!(open(&settings).is_err(), "{table:?}");
    }
    let settings = Settings { hashers: vec!["rot13".into()], ..settings(path) };
    let Err(error) = open(&settings) else { panic!("taken") };
    assert!(error.to_string().contains("rot13"));
}

fn condition(column: &str, holds: ColumnTest) -> Condition {
    Condition { column: column.into(), holds }
}

/// Users who differ in columns that a service's own manager may check.
const MANAGED: &str = r#"
CREATE TABLE auth_user (id integer PRIMARY KEY, password varchar(128), username varchar(150),
  deleted_at datetime, is_deleted bool, status varchar(20), tenant integer);
INSERT INTO auth_user VALUES (1, '!', 'here', NULL, 0, 'it''s', 7),
  (2, '!', 'gone', '2026-01-01', 0, 'it''s', 7), (3, '!', 'flagged', NULL, 1, 'it''s', 7),
  (4, '!', 'unsaid', NULL, NULL, 'it''s', 7), (5, '!', 'blocked', NULL, 0, 'blocked', 7),
  (6, '!', 'elsewhere', NULL, 0, 'it''s', 8);
"#;

fn managed(conditions: Vec<Condition>) -> Kit {
    kit(MANAGED, |settings| {
        settings.groups = None;
        let columns = &mut settings.columns;
        for column in [
            &mut columns.is_active,
            &mut columns.is_staff,
            &mut columns.is_superuser,
            &mut columns.email,
        ] {
            column.clear();
        }
        settings.conditions = conditions;
    })
}

#[tokio::test]
async fn whose_row_does_not_meet_the_conditions_is_not_there() {
    let equal = |column, constant| condition(column, ColumnTest::Equal(constant));
    let text = |text: &str| Constant::Text(text.into());
    for (conditions, expected) in [
        (vec![], "here gone flagged unsaid blocked elsewhere"),
        (vec![condition("deleted_at", ColumnTest::Null)], "here flagged unsaid blocked elsewhere"),
        (vec![condition("deleted_at", ColumnTest::NotNull)], "gone"),
        (vec![equal("is_deleted", Constant::Flag(false))], "here gone blocked elsewhere"),
        (vec![equal("status", text("it's"))], "here gone flagged unsaid elsewhere"),
        (vec![equal("tenant", Constant::Number(7))], "here gone flagged unsaid blocked"),
        (
            vec![
                condition("deleted_at", ColumnTest::Null),
                equal("is_deleted", Constant::Flag(false)),
            ],
            "here blocked elsewhere",
        ),
    ] {
        let kit = managed(conditions);
        let mut found = Vec::new();
        for (id, name) in
            ["here", "gone", "flagged", "unsaid", "blocked", "elsewhere"].iter().enumerate()
        {
            let by_name = kit.directory.find(name).await.unwrap().is_some();
            let key = UserKey::new("django", &(id + 1).to_string());
            assert_eq!(kit.directory.by_id(&key).await.unwrap().is_some(), by_name, "{name}");
            found.extend(by_name.then_some(*name));
        }
        assert_eq!(found.join(" "), expected);
    }
    let missing = managed(vec![condition("removed", ColumnTest::Null)]);
    assert!(missing.directory.find("here").await.is_err(), "no condition is left out");
}

#[tokio::test]
async fn who_has_a_device_that_counts_is_known() {
    let devices = "CREATE TABLE totp (id integer PRIMARY KEY, user_id integer, confirmed bool);
        INSERT INTO totp VALUES (1, 3, 0), (2, 2, 0), (3, 2, 1);
        CREATE TABLE keys (id integer PRIMARY KEY, username varchar(50));
        INSERT INTO keys VALUES (1, 'Lee');";
    let totp = |conditions| SecondFactorTable {
        table: "totp".into(),
        user_column: "user_id".into(),
        user_key: UserKeyColumn::Id,
        conditions,
    };
    let confirmed = condition("confirmed", ColumnTest::Equal(Constant::Flag(true)));
    let keys = SecondFactorTable {
        table: "keys".into(),
        user_column: "username".into(),
        user_key: UserKeyColumn::Username,
        conditions: Vec::new(),
    };
    for (tables, kim, lee) in [
        (vec![], false, false),
        (vec![totp(vec![confirmed.clone()])], true, false),
        (vec![totp(vec![])], true, true),
        (vec![keys.clone()], false, true),
        (vec![totp(vec![confirmed]), keys], true, true),
    ] {
        let kit = kit(&format!("{SCHEMA}{devices}"), |settings| settings.second_factors = tables);
        for (name, expected) in [("kim", kim), ("Lee", lee)] {
            let user = kit.directory.find(name).await.unwrap().unwrap();
            assert_eq!(user.has_second_factor, expected, "{name}");
        }
    }
    let kit = kit(SCHEMA, |settings| settings.second_factors = vec![totp(Vec::new())]);
    assert!(kit.directory.find("kim").await.is_err(), "a table that is not there is trouble");
}

#[tokio::test]
async fn a_service_may_ask_for_names_in_another_case() {
    let schema = SCHEMA.replace("'kim',", "'kim_park',");
    for (case, name, expected) in [
        (UsernameCase::Exact, "KIM_park", None),
        (UsernameCase::Fold, "KIM_park", Some("kim_park")),
        (UsernameCase::Fold, "kimXpark", None),
        (UsernameCase::Fold, "kim%", None),
        (UsernameCase::Fold, "kim\\_park", None),
        (UsernameCase::Fold, "lee", Some("Lee")),
        (UsernameCase::Lower, "KIM_park", Some("kim_park")),
        // Lower-cased, the name is no longer the row's: nobody signs in with it at the service either.
        (UsernameCase::Lower, "Lee", None),
    ] {
        let kit = kit(&schema, |settings| settings.username_case = case);
        let found = kit.directory.find(name).await.unwrap();
        let found = found.as_ref().map(|found| found.identity.name.as_str());
        assert_eq!(found, expected, "{case:?} {name}");
    }
    let twice = schema.replace("(3, '!unusable', 1, 'Lee'", "(3, '!unusable', 1, 'Kim_Park'");
    let twice = kit(&twice, |settings| settings.username_case = UsernameCase::Fold);
    assert!(twice.directory.find("kim_park").await.is_err(), "as Django, which finds two");
}

#[test]
fn a_typed_name_is_what_djangos_form_makes_of_it() {
    let kit = kit(SCHEMA, |_| {});
    let long = "ｋ".repeat(255);
    for (typed, asked) in [
        ("kim", "kim"),
        ("ｋｉｍ", "kim"),
        ("\u{1100}\u{1175}\u{11b7}", "김"),
        ("e\u{301}mile", "émile"),
        (&long, &long),
    ] {
        assert_eq!(kit.directory.as_typed(typed), asked);
    }
}

#[tokio::test]
async fn an_id_is_spelled_as_the_type_of_its_column_says() {
    let (digits, shown) =
        ("0123456789abcdef0123456789abcdef", "01234567-89ab-cdef-0123-456789abcdef");
    let upper = "01234567-89AB-CDEF-0123-456789ABCDEF";
    for (column, id, good) in [
        // A UUIDField, whose values have several spellings.
        ("char(32)", shown, &[shown, digits, upper][..]),
        ("CHAR(32)", shown, &[shown, digits, upper]),
        // Text columns, whose values have one spelling each.
        ("varchar(32)", digits, &[digits]),
        ("varchar(36)", digits, &[digits]),
    ] {
        let schema = SCHEMA
            .replace(
                "id integer PRIMARY KEY AUTOINCREMENT, password",
                &format!("id {column}, password"),
            )
            .replace("(2, 'pbkdf2", &format!("('{digits}', 'pbkdf2"));
        let kit = kit(&schema, |settings| settings.groups = None);
        let kim = kit.directory.find("kim").await.unwrap().unwrap();
        assert_eq!(&*kim.identity.key.id, id, "{column}");
        for spelled in [shown, digits, upper] {
            let key = kit.directory.key(spelled).await.unwrap();
            let found = kit.directory.by_id(&UserKey::new("django", spelled)).await.unwrap();
            let is_kim = good.contains(&spelled);
            assert_eq!(key == kim.identity.key, is_kim, "{column} {spelled}");
            assert_eq!(
                found.is_some_and(|found| found.identity.key == key),
                is_kim,
                "{column} {spelled}"
            );
        }
    }
}
