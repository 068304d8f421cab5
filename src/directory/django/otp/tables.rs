//! Builds the statements for django-otp's tables, and checks what the gateway may do there.

use std::sync::Arc;

use super::rows::{StaticDevice, StaticToken, TotpDevice};
use crate::caller::UserKey;
use crate::clock::Timestamp;
use crate::config::DjangoOtpSettings;
use crate::directory::django::changes::ChangeText;
use crate::service::database::{Dialect, RequiredColumns, ServiceDatabase, Statement};

/// The most devices and tokens of one user that are read.
const MOST: usize = 200;

/// The column with the time of the last use, in versions of the package that have it.
const LAST_USED: &str = "last_used_at";

const COUNTED: [&str; 2] = ["throttling_failure_timestamp", "throttling_failure_count"];

const TOTP_COLUMNS: [&str; 9] =
    ["id", "name", "key", "step", "t0", "digits", "tolerance", "drift", "last_t"];

/// The columns of a TOTP device that are written besides the count of failures.
const TOTP_WRITTEN: [&str; 2] = ["last_t", "drift"];

/// The tables of a service, as its database has them.
#[derive(Clone)]
pub(super) struct OtpTables {
    pub(super) totp: DeviceTable,
    statics: Option<StaticTables>,
}

/// A table of devices.
#[derive(Clone)]
pub(super) struct DeviceTable {
    dialect: Dialect,
    table: String,
    select: Arc<str>,
    has_last_used: bool,
    pub(super) may_write: bool,
}

#[derive(Clone)]
struct StaticTables {
    devices: DeviceTable,
    tokens: String,
    may_delete: bool,
}

impl OtpTables {
    pub(super) async fn ask(
        settings: &DjangoOtpSettings,
        read: &ServiceDatabase,
        write: &ServiceDatabase,
    ) -> Result<Self, String> {
        let totp = DeviceTable::ask(&settings.totp_table, &TOTP_WRITTEN, read, write).await?;
        let select = totp.select_devices(read, &settings.totp_table, &settings.user_column)?;
        let totp = DeviceTable { select, ..totp };
        let statics = match &settings.static_tables {
            None => None,
            Some((devices, tokens)) => {
                let table = DeviceTable::ask(devices, &[], read, write).await?;
                let tokens = read.table(tokens)?;
                let select =
                    table.select_tokens(read, (devices, &tokens), &settings.user_column)?;
                let devices = DeviceTable { select, ..table };
                let delete = format!("DELETE FROM {tokens} WHERE 1 = 0");
                let delete = Statement { sql: delete.into(), parameters: Vec::new() };
                let may_delete = write.may_change(delete).await?;
                Some(StaticTables { devices, tokens, may_delete })
            }
        };
        Ok(Self { totp, statics })
    }

    pub(super) fn are_writable(&self) -> bool {
        self.totp.may_write && (self.statics.is_none() || self.may_use_static())
    }

    pub(super) fn may_use_static(&self) -> bool {
        self.statics.as_ref().is_some_and(|one| one.devices.may_write && one.may_delete)
    }

    /// Returns the statements that read a user's devices: first apps, then devices with static
    /// tokens.
    pub(super) fn devices_of(&self, user: &UserKey) -> Vec<Statement> {
        let parameters = self.totp.dialect.key_parameters(&user.id);
        let asked =
            |sql: &Arc<str>| Statement { sql: Arc::clone(sql), parameters: parameters.clone() };
        let of_tokens = self.statics.iter().map(|statics| &statics.devices.select);
        std::iter::once(&self.totp.select).chain(of_tokens).map(asked).collect()
    }

    /// Marks a step as used, if no other step was used and no failure counted since the device was
    /// read.
    pub(super) fn use_step(
        &self,
        device: &TotpDevice,
        t: i64,
        drift: i64,
        at: Timestamp,
    ) -> Statement {
        let totp = &self.totp;
        let set = totp.update().sql("last_t = ").number(t).sql(", drift = ").number(drift);
        totp.used(set.sql(", "), at)
            .sql(" WHERE id = ")
            .number(device.id)
            .sql(" AND last_t = ")
            .number(device.parameters.last_t)
            .sql(" AND throttling_failure_count = ")
            .number(i64::from(device.failures))
            .sql(totp.confirmed())
            .made()
    }

    /// Deletes a token, if it still exists and no failure was counted at its device since that was
    /// read.
    pub(super) fn use_token(
        &self,
        device: &StaticDevice,
        token: &StaticToken,
    ) -> Option<Statement> {
        let StaticTables { devices, tokens, .. } = self.statics.as_ref()?;
        let delete = format!("DELETE FROM {tokens} WHERE id = ");
        let of = format!(" AND EXISTS (SELECT 1 FROM {} WHERE id = ", devices.table);
        let delete = ChangeText::new(devices.dialect, &delete)
            .number(token.id)
            .sql(" AND token = ")
            .text(&token.text)
            .sql(" AND device_id = ")
            .number(device.id)
            .sql(&of)
            .number(device.id)
            .sql(" AND throttling_failure_count = ")
            .number(i64::from(device.failures))
            .sql(devices.confirmed())
            .sql(")");
        Some(delete.made())
    }

    pub(super) fn token_used(&self, device: &StaticDevice, at: Timestamp) -> Option<Statement> {
        let devices = &self.statics.as_ref()?.devices;
        Some(devices.used(devices.update(), at).sql(" WHERE id = ").number(device.id).made())
    }

    pub(super) fn static_failed(&self, device: &StaticDevice, at: Timestamp) -> Option<Statement> {
        Some(self.statics.as_ref()?.devices.failed(device.id, device.failures, at))
    }
}

impl DeviceTable {
    async fn ask(
        table: &str,
        written: &[&str],
        read: &ServiceDatabase,
        write: &ServiceDatabase,
    ) -> Result<Self, String> {
        let dialect = read.dialect();
        let has_last_used =
            read.column_names(table).await?.iter().any(|column| column == LAST_USED);
        let table = read.table(table)?;
        let written = written.iter().chain(&COUNTED).copied();
        let written = written.chain(has_last_used.then_some(LAST_USED));
        let same: Vec<String> = written.map(|column| format!("{column} = {column}")).collect();
        let update = format!("UPDATE {table} SET {} WHERE 1 = 0", same.join(", "));
        let update = Statement { sql: update.into(), parameters: Vec::new() };
        let may_write = write.may_change(update).await?;
        Ok(Self { dialect, table, select: "".into(), has_last_used, may_write })
    }

    fn select_devices(
        &self,
        read: &ServiceDatabase,
        table: &str,
        user_column: &str,
    ) -> Result<Arc<str>, String> {
        let dialect = self.dialect;
        let own = TOTP_COLUMNS.into_iter().map(|name| Ok(format!("f.{}", dialect.quoted(name)?)));
        let own = own.collect::<Result<Vec<_>, String>>()?;
        let own: Vec<String> = own.iter().map(|column| dialect.as_text(column)).collect();
        let whose = self.whose(read, table, user_column)?;
        Ok(format!(
            "SELECT {}, {} FROM {} f WHERE {whose} ORDER BY f.id LIMIT {MOST}",
            own.join(", "),
            self.counted()?,
            self.table,
        )
        .into())
    }

    fn select_tokens(
        &self,
        read: &ServiceDatabase,
        (table, tokens): (&str, &str),
        user_column: &str,
    ) -> Result<Arc<str>, String> {
        let text = |column: &str| self.dialect.as_text(column);
        let whose = self.whose(read, table, user_column)?;
        Ok(format!(
            "SELECT {}, {}, {}, {}, {} FROM {} f LEFT JOIN {tokens} t ON t.device_id = f.id \
             WHERE {whose} ORDER BY f.id, t.id LIMIT {MOST}",
            text("f.id"),
            text("f.name"),
            self.counted()?,
            text("t.id"),
            text("t.token"),
            self.table,
        )
        .into())
    }

    /// Returns SQL for the count of failures, the time of the last failure, and the time of the
    /// last use.
    fn counted(&self) -> Result<String, String> {
        let last_used = match self.has_last_used {
            true => self.dialect.as_millis(LAST_USED)?,
            false => "NULL".to_owned(),
        };
        Ok(format!(
            "{}, {}, {last_used}",
            self.dialect.as_text("f.throttling_failure_count"),
            self.dialect.as_millis("throttling_failure_timestamp")?,
        ))
    }

    fn whose(
        &self,
        read: &ServiceDatabase,
        table: &str,
        user_column: &str,
    ) -> Result<String, String> {
        let is_theirs = self.dialect.is_key(&read.table(table)?, user_column, 1)?;
        let column = self.dialect.quoted(user_column)?;
        Ok(format!(
            "f.{column} {is_theirs}{}",
            self.confirmed().replace("confirmed", "f.confirmed")
        ))
    }

    const fn confirmed(&self) -> &'static str {
        match self.dialect {
            Dialect::Postgres => " AND confirmed",
            Dialect::Sqlite | Dialect::MySql => " AND confirmed = 1",
        }
    }

    fn update(&self) -> ChangeText {
        ChangeText::new(self.dialect, &format!("UPDATE {} SET ", self.table))
    }

    fn used(&self, set: ChangeText, at: Timestamp) -> ChangeText {
        let set = set.sql("throttling_failure_timestamp = NULL, throttling_failure_count = 0");
        match self.has_last_used {
            true => set.sql(", last_used_at = ").date(at),
            false => set,
        }
    }

    /// Adds one failure, if no other was counted since the device was read.
    pub(super) fn failed(&self, id: i64, failures: u32, at: Timestamp) -> Statement {
        let failures = i64::from(failures);
        self.update()
            .sql("throttling_failure_timestamp = ")
            .date(at)
            .sql(", throttling_failure_count = ")
            .number(failures.saturating_add(1).min(i64::from(i32::MAX)))
            .sql(" WHERE id = ")
            .number(id)
            .sql(" AND throttling_failure_count = ")
            .number(failures)
            .made()
    }

    /// Clears the failures, if no other was counted since the device was read.
    pub(super) fn cleared(&self, id: i64, failures: u32) -> Statement {
        self.update()
            .sql("throttling_failure_timestamp = NULL, throttling_failure_count = 0 WHERE id = ")
            .number(id)
            .sql(" AND throttling_failure_count = ")
            .number(i64::from(failures))
            .made()
    }
}

/// Returns a line for each missing column and each missing right.
pub(super) async fn missing(
    settings: &DjangoOtpSettings,
    read: &ServiceDatabase,
    write: &ServiceDatabase,
) -> Result<Vec<String>, String> {
    let user_column = settings.user_column.as_str();
    let of_device = || COUNTED.into_iter().chain([user_column, "confirmed"]);
    let mut needed = vec![RequiredColumns::new(
        &settings.totp_table,
        TOTP_COLUMNS.into_iter().chain(of_device()),
    )];
    if let Some((devices, tokens)) = &settings.static_tables {
        needed.push(RequiredColumns::new(devices, ["id", "name"].into_iter().chain(of_device())));
        needed.push(RequiredColumns::new(tokens, ["id", "device_id", "token"]));
    }
    let mut missing = read.missing(&needed).await?;
    if !missing.is_empty() {
        return Ok(missing);
    }
    let tables = OtpTables::ask(settings, read, write).await?;
    let cannot = |right: &str, table: &str, columns: &str, whom: &str| {
        format!(
            "there is no right to {right} {table}{columns}: users with {whom} there are sent to the service's own page"
        )
    };
    let counted = COUNTED.join(", ");
    let last_used = |table: &DeviceTable| if table.has_last_used { ", last_used_at" } else { "" };
    if !tables.totp.may_write {
        let columns =
            format!(" ({}, {counted}{})", TOTP_WRITTEN.join(", "), last_used(&tables.totp));
        missing.push(cannot("UPDATE", &settings.totp_table, &columns, "an app"));
    }
    if let (Some(statics), Some((devices, tokens))) = (&tables.statics, &settings.static_tables) {
        if !statics.devices.may_write {
            let columns = format!(" ({counted}{})", last_used(&statics.devices));
            missing.push(cannot("UPDATE", devices, &columns, "only static tokens"));
        }
        if !statics.may_delete {
            missing.push(cannot("DELETE", tokens, "", "only static tokens"));
        }
    }
    Ok(missing)
}
