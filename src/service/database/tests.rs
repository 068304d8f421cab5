use std::path::Path;

use super::*;

fn statement(sql: &str, parameters: &[&str]) -> Statement {
    Statement { sql: sql.into(), parameters: parameters.iter().map(|&text| text.into()).collect() }
}

fn file(folder: &Path, schema: &str) -> Database {
    let path = folder.join("db.sqlite3");
    rusqlite::Connection::open(&path).unwrap().execute_batch(schema).unwrap();
    Database::Sqlite(path)
}

#[test]
fn a_name_cannot_leave_its_quotes() {
    assert_eq!(Dialect::Postgres.quoted("a\"b`c").unwrap(), "\"a\"\"b`c\"");
    assert_eq!(Dialect::MySql.quoted("a\"b`c").unwrap(), "`a\"b``c`");
    let value = Dialect::Postgres.is_value("t", "it's", 1).unwrap();
    assert!(value.contains("json_build_object('it''s'"), "{value}");
    for name in ["", "a\0b", "a\nb"] {
        assert!(Dialect::Sqlite.quoted(name).is_err(), "{name:?}");
    }
}

#[test]
fn a_table_is_named_with_its_schema() {
    for (dialect, schema, name, quoted) in [
        (Dialect::Postgres, None, "users", "\"users\""),
        (Dialect::Postgres, Some("app"), "users", "\"app\".\"users\""),
        (Dialect::Postgres, Some("a\"b"), "users", "\"a\"\"b\".\"users\""),
        // Django puts db_table between quotes unless it has them already.
        (Dialect::Postgres, None, "app\".\"users", "\"app\".\"users\""),
        (Dialect::Postgres, None, "\"app\".\"users\"", "\"app\".\"users\""),
        (Dialect::Postgres, Some("public"), "app\".\"users", "\"app\".\"users\""),
        (Dialect::Postgres, None, "my\"users", "\"my\"\"users\""),
        (Dialect::MySql, Some("app"), "users", "`app`.`users`"),
        (Dialect::MySql, None, "app`.`users", "`app`.`users`"),
        (Dialect::MySql, None, "app\".\"users", "`app\".\"users`"),
        (Dialect::Sqlite, None, "main\".\"users", "\"main\".\"users\""),
    ] {
        assert_eq!(dialect.table(schema, name).as_deref(), Ok(quoted), "{name}");
    }
    for name in ["", "app\".\"", "\".\"users", "app\".\"us\0ers"] {
        assert!(Dialect::Postgres.table(None, name).is_err(), "{name:?}");
    }
}

#[test]
fn a_uuid_is_one_value_in_whatever_spelling() {
    let shown = "01234567-89ab-cdef-0123-456789abcdef";
    for text in [
        shown,
        "0123456789abcdef0123456789abcdef",
        "01234567-89AB-CDEF-0123-456789ABCDEF",
        "{01234567-89ab-cdef-0123-456789abcdef}",
        "urn:uuid:01234567-89ab-cdef-0123-456789abcdef",
        "0123-456789abcdef0123456789abcdef",
    ] {
        assert_eq!(uuid(text).as_deref(), Some(shown), "{text}");
    }
    for text in ["", "7", "0123456789abcdef0123456789abcde", "g123456789abcdef0123456789abcdef"] {
        assert_eq!(uuid(text), None, "{text}");
    }
    // Another user's key may be the same letters without the hyphens.
    assert_eq!(Dialect::Sqlite.key_parameters("a-b"), ["a-b", "a-b"]);
    assert_eq!(Dialect::MySql.key_parameters(shown)[1], "0123456789abcdef0123456789abcdef");
}

#[test]
fn the_same_database_is_opened_once_for_each_access() {
    let databases = Databases::default();
    let (one, two) = (Database::Sqlite("/a".into()), Database::Sqlite("/b".into()));
    let first = databases.open(&one, DatabaseAccess::Read);
    assert!(Arc::ptr_eq(&first, &databases.open(&one, DatabaseAccess::Read)));
    assert!(!Arc::ptr_eq(&first, &databases.open(&one, DatabaseAccess::Write)));
    assert!(!Arc::ptr_eq(&first, &databases.open(&two, DatabaseAccess::Read)));
}

#[tokio::test]
async fn numbers_and_texts_come_as_texts_and_null_as_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let settings =
        file(folder.path(), "CREATE TABLE t (a, b); INSERT INTO t VALUES (7, NULL), ('x', x'00')");
    let open = Databases::default().open(&settings, DatabaseAccess::Read);
    let asked = vec![
        statement("SELECT a, b FROM t WHERE a = 7", &[]),
        statement("SELECT a FROM t WHERE a = ?1", &["x"]),
        statement("SELECT a FROM t WHERE a = ?1", &["nobody"]),
    ];
    let answers = open.ask(asked).await.unwrap();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(answers, [vec![vec![text("7"), None]], vec![vec![text("x")]], vec![]]);
    let blob = open.ask(vec![statement("SELECT b FROM t WHERE a = 'x'", &[])]).await;
    assert!(blob.unwrap_err().contains("neither"));
}

#[tokio::test]
async fn what_is_missing_is_named_all_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let settings = file(
        folder.path(),
        "CREATE TABLE users (Id, name); CREATE VIEW seen AS SELECT name FROM users",
    );
    let open = Databases::default().open(&settings, DatabaseAccess::Read);
    let needed = [
        RequiredColumns::new("users", ["id", "name", "", "email", "is_active"]),
        RequiredColumns::new("seen", ["name"]),
        RequiredColumns::new("groups", ["id"]),
        RequiredColumns::new("main\".\"users", ["name", "id"]),
    ];
    assert_eq!(
        open.missing(&needed).await.unwrap(),
        [
            "the table users has no column email; it has Id, name",
            "the table users has no column is_active; it has Id, name",
            "there is no table groups",
        ]
    );
    std::fs::remove_file(folder.path().join("db.sqlite3")).unwrap();
    assert!(open.missing(&needed).await.is_err());
}

#[tokio::test]
async fn what_is_opened_for_reading_cannot_write() {
    let folder = tempfile::tempdir().unwrap();
    let settings = file(folder.path(), "CREATE TABLE t (a); INSERT INTO t VALUES (1), (1)");
    let databases = Databases::default();
    let delete = || statement("DELETE FROM t WHERE a = 1", &[]);
    let reader = databases.open(&settings, DatabaseAccess::Read);
    assert!(reader.change(delete()).await.is_err());
    assert!(reader.ask(vec![delete()]).await.is_err());
    let writer = databases.open(&settings, DatabaseAccess::Write);
    assert_eq!(writer.change(delete()).await, Ok(2));
    assert_eq!(writer.change(delete()).await, Ok(0));
}
