//! The tables, and how an older file is migrated.
//!
//! `application_id` distinguishes the gateway's files from others, and `user_version` counts the migrations applied to a file.
//! A file of a newer version is refused, because this version could not preserve what it does not know. Nothing is written
//! before the file is known to be the gateway's own (or empty) and undamaged.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::file::OpenError;

/// "DrWd": marks the gateway's files (`file(1)` shows it).
const APPLICATION_ID: u32 = 0x4472_5764;

/// Each migration takes a file from the version that is its index to the next one. Never change a released migration: add one.
const MIGRATIONS: &[&str] = &[
    include_str!("schema/1.sql"),
    include_str!("schema/2.sql"),
    include_str!("schema/3.sql"),
    include_str!("schema/4.sql"),
    include_str!("schema/5.sql"),
    include_str!("schema/6.sql"),
    include_str!("schema/7.sql"),
    include_str!("schema/8.sql"),
    include_str!("schema/9.sql"),
    include_str!("schema/10.sql"),
    include_str!("schema/11.sql"),
];

/// Checks the file and brings its tables up to date.
pub(super) fn prepare(connection: &mut Connection, path: &Path) -> Result<(), OpenError> {
    let in_file = |source| OpenError::sqlite(path, source);
    let found = identify(connection, path)?;

    let state: String =
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(in_file)?;
    if state != "ok" {
        return Err(OpenError::Corrupt { path: path.to_owned(), what: state });
    }

    let mode: String =
        connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(in_file)?;
    if mode != "wal" {
        return Err(OpenError::NoWriteAheadLog { path: path.to_owned(), mode });
    }

    if found < known() { migrate(connection).map_err(in_file) } else { Ok(()) }
}

/// Returns the version of the schema that this program writes.
pub(super) fn known() -> u32 {
    u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX)
}

/// Returns the file's schema version, 0 for an empty file. Reads in one transaction: another process may be creating the
/// tables.
fn identify(connection: &Connection, path: &Path) -> Result<u32, OpenError> {
    let snapshot =
        connection.unchecked_transaction().map_err(|source| OpenError::sqlite(path, source))?;
    let read = |what: &str| {
        snapshot
            .query_row(what, [], |row| row.get::<_, i64>(0))
            .map_err(|source| OpenError::sqlite(path, source))
    };
    let application = read("PRAGMA application_id")?;
    let empty = application == 0 && read("SELECT count(*) FROM sqlite_schema")? == 0;
    if application != i64::from(APPLICATION_ID) && !empty {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    let found = u32::try_from(read("PRAGMA user_version")?).unwrap_or(u32::MAX);
    if found > known() {
        return Err(OpenError::Newer { path: path.to_owned(), found, known: known() });
    }
    Ok(found)
}

/// Applies all missing migrations in one transaction. It reads the version again inside: another process may have been first.
fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: u32 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    for migration in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(usize::MAX)) {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", found.max(known()))?;
    transaction.commit()
}
