//! Reads `[second_factor]`: who has to prove more than a password, and from when on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::passkeys::{self, PasskeySettings};
use super::raw::{RawTable, Wrong};
use super::units::DAY;
use super::{StoreSettings, values};
use crate::caller::Identity;

/// `[second_factor]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecondFactorSettings {
    /// The mode for everybody whom no rule matches.
    pub mode: FactorMode,
    /// `[[second_factor.rule]]`; the first that matches applies.
    pub rules: Vec<FactorRule>,
    /// How long a user who has to set one up may go on without, from the first sign-in that requires it.
    pub grace_period: Duration,
    /// How long a browser is trusted if its user chooses so after a right code; zero: never.
    pub trusted_devices: Duration,
    /// The name of the service in authenticator apps; empty: `login.title`.
    pub label: String,
    /// The key that seals secrets; created at the first start.
    pub key_file: PathBuf,
    /// Whether users without a second factor may use a mailed code instead.
    pub mailed_codes: bool,
    /// `[second_factor.passkeys]`; `None`: passkeys are off.
    pub passkeys: Option<PasskeySettings>,
}

/// `second_factor.mode`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FactorMode {
    /// Nobody is asked for a second factor.
    #[default]
    Off,
    /// Users who have a second factor are asked for it.
    Optional,
    /// Everybody is asked for a second factor, and users who have none set one up.
    Required,
}

/// `[[second_factor.rule]]`: an exception for some users. An empty list matches everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactorRule {
    /// The mode for these users.
    pub mode: FactorMode,
    /// The names with which they sign in.
    pub users: Vec<String>,
    /// The groups of which they are in one.
    pub groups: Vec<String>,
    /// Their directories.
    pub directories: Vec<String>,
    /// Whether mailed codes are accepted from them; `None`: as from everybody.
    pub mailed_codes: Option<bool>,
}

const MODES: [(&str, FactorMode); 3] = [
    ("off", FactorMode::Off),
    ("optional", FactorMode::Optional),
    ("required", FactorMode::Required),
];

impl SecondFactorSettings {
    /// Returns the defaults, with the key beside the store.
    pub fn new(store: &StoreSettings) -> Self {
        Self {
            mode: FactorMode::Off,
            rules: Vec::new(),
            grace_period: Duration::ZERO,
            trusted_devices: Duration::ZERO,
            label: String::new(),
            key_file: store.path.parent().unwrap_or(Path::new("")).join("second-factor-key"),
            mailed_codes: false,
            passkeys: None,
        }
    }

    /// Returns the mode for this user.
    pub fn mode_of(&self, user: &Identity) -> FactorMode {
        self.rule_of(user).map_or(self.mode, |rule| rule.mode)
    }

    /// Whether mailed codes are accepted from this user.
    pub fn takes_mailed_codes(&self, user: &Identity) -> bool {
        self.rule_of(user).and_then(|rule| rule.mailed_codes).unwrap_or(self.mailed_codes)
    }

    /// Whether mailed codes are accepted from anybody.
    pub fn mails_codes(&self) -> bool {
        self.mailed_codes || self.rules.iter().any(|rule| rule.mailed_codes == Some(true))
    }

    fn rule_of(&self, user: &Identity) -> Option<&FactorRule> {
        self.rules.iter().find(|rule| rule.fits(user))
    }

    /// Whether anybody is asked for a second factor.
    pub fn is_on(&self) -> bool {
        self.mode != FactorMode::Off || self.rules.iter().any(|rule| rule.mode != FactorMode::Off)
    }
}

impl FactorRule {
    fn fits(&self, user: &Identity) -> bool {
        let names =
            |list: &[String], name: &str| list.is_empty() || list.iter().any(|one| one == name);
        names(&self.users, &user.name)
            && names(&self.directories, &user.key.directory)
            && (self.groups.is_empty()
                || self.groups.iter().any(|group| user.groups.contains(group)))
    }
}

/// What mailed codes require of the rest of the configuration.
#[derive(Clone, Copy)]
pub(super) struct MailedCodeNeeds {
    /// There is `[notify.mail]`.
    pub(super) sends_mail: bool,
    /// A directory knows mail addresses.
    pub(super) knows_addresses: bool,
    /// A route asks for a second factor.
    pub(super) is_asked: bool,
}

pub(super) fn second_factor(
    table: &RawTable<'_>,
    store: &StoreSettings,
    needs: MailedCodeNeeds,
) -> SecondFactorSettings {
    let default = SecondFactorSettings::new(store);
    let read = SecondFactorSettings {
        mode: table.choice("mode", &MODES).unwrap_or(default.mode),
        rules: table.tables("rule", rule),
        grace_period: table
            .duration("grace_period", Duration::ZERO..=365 * DAY)
            .unwrap_or(default.grace_period),
        trusted_devices: table
            .duration("trusted_devices", Duration::ZERO..=365 * DAY)
            .unwrap_or(default.trusted_devices),
        label: table.text("label", label).unwrap_or(default.label),
        key_file: table.path("key_file").unwrap_or(default.key_file),
        mailed_codes: table.flag("mailed_codes").unwrap_or(default.mailed_codes),
        passkeys: None,
    };
    if read.mails_codes() {
        check_mailed_codes(table, &read, needs);
    }
    let is_on = read.is_on();
    let passkeys = table.table("passkeys", |table| passkeys::passkeys(table, is_on));
    SecondFactorSettings { passkeys, ..read }
}

fn check_mailed_codes(table: &RawTable<'_>, read: &SecondFactorSettings, needs: MailedCodeNeeds) {
    let key = "mailed_codes";
    if !needs.sends_mail {
        table.error(key, Wrong::new("codes cannot be mailed").help("add [notify.mail]"));
    } else if !needs.knows_addresses {
        let wrong = Wrong::new("no directory knows an address to which a code could be mailed");
        table.warn(key, wrong.help("leave it out: users without one set up an app or a passkey"));
    }
    let is_required = |mode| mode == FactorMode::Required;
    let is_asked = is_required(read.mode) || read.rules.iter().any(|rule| is_required(rule.mode));
    if !is_asked && !needs.is_asked {
        let wrong = Wrong::new("nobody has to have a second factor, so no code is ever mailed");
        table.warn(
            key,
            wrong.help("set mode = \"required\", here or in a rule, or a route's second_factor"),
        );
    }
}

fn rule(table: &RawTable<'_>) -> FactorRule {
    table.require("mode", "the mode for these users: \"off\", \"optional\" or \"required\"");
    let rule = FactorRule {
        mode: table.choice("mode", &MODES).unwrap_or_default(),
        users: table.values("users", values::filled).unwrap_or_default(),
        groups: table.values("groups", values::filled).unwrap_or_default(),
        directories: table.values("directories", values::filled).unwrap_or_default(),
        mailed_codes: table.flag("mailed_codes"),
    };
    if rule.users.is_empty() && rule.groups.is_empty() && rule.directories.is_empty() {
        table.error(
            "mode",
            Wrong::new("a rule must name its users").help("add users, groups or directories"),
        );
    }
    rule
}

/// Parses the label before the account's name in an app. A colon would end it there (Key Uri Format).
fn label(text: &str) -> Result<String, Wrong> {
    if text.contains(':') || text.chars().any(char::is_control) || text.len() > 64 {
        return Err(Wrong::new(format!("{text:?} is no label"))
            .help("allowed: up to 64 bytes without a colon or control characters"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::caller::UserKey;

    fn user(name: &str, directory: &str, groups: &[&str]) -> Identity {
        Identity {
            key: UserKey::new(directory, "7"),
            name: name.into(),
            groups: groups.iter().map(|group| (*group).into()).collect(),
            staff: false,
            superuser: false,
            attributes: BTreeMap::new(),
        }
    }

    fn rule(mode: FactorMode, users: &[&str], groups: &[&str], directories: &[&str]) -> FactorRule {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let (users, groups, directories) = (list(users), list(groups), list(directories));
        FactorRule { mode, users, groups, directories, mailed_codes: None }
    }

    #[test]
    fn the_first_rule_that_fits_counts() {
        use FactorMode::*;
        let settings = SecondFactorSettings {
            mode: Optional,
            rules: vec![
                rule(Off, &["robot"], &[], &["file"]),
                rule(Required, &[], &["admins", "staff"], &[]),
                rule(Off, &[], &[], &["guests"]),
            ],
            ..SecondFactorSettings::new(&StoreSettings::default())
        };
        for (name, directory, groups, mode) in [
            ("kim", "file", &[][..], Optional),
            ("robot", "file", &["admins"], Off),
            ("robot", "django", &["admins"], Required),
            ("kim", "guests", &["staff"], Required),
            ("kim", "guests", &["others"], Off),
        ] {
            let said = format!("{name} {directory} {groups:?}");
            assert_eq!(settings.mode_of(&user(name, directory, groups)), mode, "{said}");
        }
        assert!(settings.is_on());
        let rule = FactorRule { mailed_codes: Some(true), ..rule(Required, &["kim"], &[], &[]) };
        let some = SecondFactorSettings { rules: vec![rule], ..settings };
        assert!(some.takes_mailed_codes(&user("kim", "file", &[])));
        assert!(!some.takes_mailed_codes(&user("lee", "file", &[])) && some.mails_codes());
        assert!(!SecondFactorSettings::new(&StoreSettings::default()).is_on());
    }
}
