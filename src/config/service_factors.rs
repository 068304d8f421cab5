//! Reads `[[directory.second_factor]]`: where a service stores second factors, and which of them the gateway checks.

use std::time::Duration;

use super::condition::conditions;
use super::raw::{RawTable, Wrong};
use super::units::secs;
use super::{ColumnTest, Condition, Constant, values};

/// A table with a row for each second-factor device of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecondFactorTable {
    /// The table's name.
    pub table: String,
    /// The column that identifies the device's user.
    pub user_column: String,
    /// The value of the user in that column.
    pub user_key: UserKeyColumn,
    /// The conditions on a row, like being confirmed.
    pub conditions: Vec<Condition>,
}

/// The value by which another table identifies a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserKeyColumn {
    /// The user's primary key.
    Id,
    /// The user's name.
    Username,
}

/// Second factors of a package whose codes the gateway checks (`take_over = true`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TakenOver {
    /// `kind = "django-otp"`: its TOTP devices and its static tokens.
    DjangoOtp(DjangoOtpSettings),
    /// `kind = "allauth"`: TOTP and recovery codes of `allauth.mfa`.
    Allauth(AllauthSettings),
}

/// Where django-otp stores devices, and the settings that it has for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DjangoOtpSettings {
    /// The table of authenticator apps.
    pub totp_table: String,
    /// The tables of devices with static tokens, and of the tokens; none: the service has none.
    pub static_tables: Option<(String, String)>,
    /// The column with the user's primary key.
    pub user_column: String,
    /// `OTP_TOTP_THROTTLE_FACTOR`: seconds to wait after the first wrong code, doubled with each further one; 0: none.
    pub throttle_factor: u32,
    /// `OTP_STATIC_THROTTLE_FACTOR`
    pub static_throttle_factor: u32,
    /// `OTP_TOTP_SYNC`: whether the drift of an app's clock is stored.
    pub sync: bool,
}

/// Where `allauth.mfa` stores authenticators, and the settings that it has for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllauthSettings {
    /// The table's name.
    pub table: String,
    /// The column with the user's primary key.
    pub user_column: String,
    /// `MFA_TOTP_DIGITS`
    pub digits: usize,
    /// `MFA_TOTP_PERIOD`
    pub period: Duration,
    /// `MFA_TOTP_TOLERANCE`: the steps before and after the present one whose codes are accepted too.
    pub tolerance: u32,
    /// `MFA_RECOVERY_CODE_COUNT`
    pub recovery_codes: u32,
    /// `MFA_RECOVERY_CODE_DIGITS`
    pub recovery_digits: usize,
}

/// A `[[directory.second_factor]]` as it is read.
pub(super) struct SecondFactorBlock {
    /// The tables whose users are refused.
    pub(super) tables: Vec<SecondFactorTable>,
    /// The second factors that the gateway checks.
    pub(super) taken_over: Option<TakenOver>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum FactorSource {
    Table,
    DjangoOtp,
    Allauth,
}

const SOURCES: [(&str, FactorSource); 3] = [
    ("table", FactorSource::Table),
    ("django-otp", FactorSource::DjangoOtp),
    ("allauth", FactorSource::Allauth),
];

const USER_KEYS: [(&str, UserKeyColumn); 2] =
    [("id", UserKeyColumn::Id), ("username", UserKeyColumn::Username)];

const TABLE_KEYS: [&str; 2] = ["user_key", "condition"];

const OTP_KEYS: [&str; 6] = [
    "totp_table",
    "static_table",
    "token_table",
    "throttle_factor",
    "static_throttle_factor",
    "sync",
];

const ALLAUTH_KEYS: [&str; 5] =
    ["digits", "period", "tolerance", "recovery_codes", "recovery_digits"];

impl DjangoOtpSettings {
    /// Returns django-otp's own tables and defaults.
    pub fn new() -> Self {
        Self {
            totp_table: "otp_totp_totpdevice".into(),
            static_tables: Some((
                "otp_static_staticdevice".into(),
                "otp_static_statictoken".into(),
            )),
            user_column: USER_COLUMN.into(),
            throttle_factor: 1,
            static_throttle_factor: 1,
            sync: true,
        }
    }

    /// Returns the tables and rows whose users have a second factor.
    pub fn tables(&self) -> Vec<SecondFactorTable> {
        let table = |name: &String| SecondFactorTable {
            table: name.clone(),
            user_column: self.user_column.clone(),
            user_key: UserKeyColumn::Id,
            conditions: vec![is("confirmed", Constant::Flag(true))],
        };
        let of_tokens = self.static_tables.iter().map(|(devices, _)| devices);
        std::iter::once(&self.totp_table).chain(of_tokens).map(table).collect()
    }
}

impl Default for DjangoOtpSettings {
    fn default() -> Self {
        Self::new()
    }
}

impl AllauthSettings {
    /// Returns the package's own table and defaults.
    pub fn new() -> Self {
        Self {
            table: "mfa_authenticator".into(),
            user_column: USER_COLUMN.into(),
            digits: 6,
            period: secs(30),
            tolerance: 0,
            recovery_codes: 10,
            recovery_digits: 8,
        }
    }

    /// Returns the rows whose users have a second factor.
    fn all(&self) -> SecondFactorTable {
        SecondFactorTable {
            table: self.table.clone(),
            user_column: self.user_column.clone(),
            user_key: UserKeyColumn::Id,
            conditions: Vec::new(),
        }
    }

    /// Returns the rows that the gateway checks: not passkeys and security keys, which belong to the service's own host name.
    pub fn tables(&self) -> Vec<SecondFactorTable> {
        let of = |kind: &str| SecondFactorTable {
            conditions: vec![is("type", Constant::Text(kind.to_owned()))],
            ..self.all()
        };
        vec![of("totp"), of("recovery_codes")]
    }
}

impl Default for AllauthSettings {
    fn default() -> Self {
        Self::new()
    }
}

impl TakenOver {
    /// Returns the tables and rows whose users have codes that the gateway checks.
    pub fn tables(&self) -> Vec<SecondFactorTable> {
        match self {
            Self::DjangoOtp(settings) => settings.tables(),
            Self::Allauth(settings) => settings.tables(),
        }
    }
}

const USER_COLUMN: &str = "user_id";

fn is(column: &str, value: Constant) -> Condition {
    Condition { column: column.to_owned(), holds: ColumnTest::Equal(value) }
}

pub(super) fn second_factor(table: &RawTable<'_>) -> SecondFactorBlock {
    let source = match table.has("kind") {
        true => table.choice("kind", &SOURCES),
        false => {
            table.pass_over(&["kind"]);
            Some(FactorSource::Table)
        }
    };
    let Some(source) = source else {
        // Without a kind, it is not known which keys the table may have.
        for keys in [&TABLE_KEYS[..], &OTP_KEYS[..], &ALLAUTH_KEYS[..]] {
            table.pass_over(keys);
        }
        table.pass_over(&["table", "user_column", "take_over"]);
        return SecondFactorBlock { tables: Vec::new(), taken_over: None };
    };
    let user_column =
        table.text("user_column", values::identifier).unwrap_or_else(|| USER_COLUMN.to_owned());
    if source != FactorSource::DjangoOtp {
        table.refuse(&OTP_KEYS, "it is no key of this kind", "it is for kind = \"django-otp\"");
    }
    if source != FactorSource::Allauth {
        table.refuse(&ALLAUTH_KEYS, "it is no key of this kind", "it is for kind = \"allauth\"");
    }
    if source != FactorSource::Table {
        table.refuse(&TABLE_KEYS, "it is no key of this kind", "its rows are known");
    }
    match source {
        FactorSource::Table => {
            table.require("table", "the table of devices, like \"mfa_authenticator\"");
            if table.flag("take_over").unwrap_or_default() {
                table.error(
                    "take_over",
                    Wrong::new("the gateway does not know the rows of this table")
                        .help("it is for kind = \"django-otp\" and \"allauth\""),
                );
            }
            let one = SecondFactorTable {
                table: table.text("table", values::table).unwrap_or_default(),
                user_column,
                user_key: table.choice("user_key", &USER_KEYS).unwrap_or(UserKeyColumn::Id),
                conditions: conditions(table),
            };
            SecondFactorBlock { tables: vec![one], taken_over: None }
        }
        FactorSource::DjangoOtp => {
            table.refuse(&["table"], "there are several", "write totp_table and static_table");
            let settings = django_otp(table, user_column);
            match table.flag("take_over").unwrap_or_default() {
                true => SecondFactorBlock {
                    tables: Vec::new(),
                    taken_over: Some(TakenOver::DjangoOtp(settings)),
                },
                false => SecondFactorBlock { tables: settings.tables(), taken_over: None },
            }
        }
        FactorSource::Allauth => {
            let settings = allauth(table, user_column);
            // A user who has only devices that the gateway does not check is refused, whether they are taken over or not.
            let tables = vec![settings.all()];
            let taken_over = table.flag("take_over").unwrap_or_default();
            let taken_over = taken_over.then_some(TakenOver::Allauth(settings));
            SecondFactorBlock { tables, taken_over }
        }
    }
}

fn django_otp(table: &RawTable<'_>, user_column: String) -> DjangoOtpSettings {
    let default = DjangoOtpSettings::new();
    let name = |key, default: String| table.text(key, values::table).unwrap_or(default);
    let statics = default.static_tables.unwrap_or_default();
    DjangoOtpSettings {
        totp_table: name("totp_table", default.totp_table),
        static_tables: match table.is_off("static_table", "the name of a table") {
            true => {
                table.refuse(&["token_table"], "there is no static_table", "leave one out");
                None
            }
            false => Some((name("static_table", statics.0), name("token_table", statics.1))),
        },
        user_column,
        throttle_factor: table
            .number("throttle_factor", 0..=3600)
            .unwrap_or(default.throttle_factor),
        static_throttle_factor: table
            .number("static_throttle_factor", 0..=3600)
            .unwrap_or(default.static_throttle_factor),
        sync: table.flag("sync").unwrap_or(default.sync),
    }
}

fn allauth(table: &RawTable<'_>, user_column: String) -> AllauthSettings {
    let default = AllauthSettings::new();
    AllauthSettings {
        table: table.text("table", values::table).unwrap_or(default.table),
        user_column,
        digits: table.number("digits", 6..=9).unwrap_or(default.digits),
        period: table.duration("period", secs(10)..=secs(300)).unwrap_or(default.period),
        tolerance: table.number("tolerance", 0..=10).unwrap_or(default.tolerance),
        recovery_codes: table.number("recovery_codes", 1..=60).unwrap_or(default.recovery_codes),
        recovery_digits: table.number("recovery_digits", 6..=16).unwrap_or(default.recovery_digits),
    }
}
