//! Reads the users of a Django service from its own database.
//!
//! The database is opened read-only and never written, neither for the last sign-in nor for a newer hash. A hash that Django
//! would upgrade at a sign-in stays as it is, and so do the user's other sessions there.
//!
//! **Which name.** The database finds the row as it would for Django. On SQLite, and on PostgreSQL unless the column says
//! otherwise, the row's name is then byte for byte the typed one. MySQL's usual collations, and PostgreSQL's `citext`, also
//! match other spellings: Django signs `KIM` in as `kim` there, and so does this directory, under the row's name. A
//! difference that such a collation ignores apart from case (accents, width, blanks at the end) makes another name here:
//! failures are counted by the typed name with its case folded (`session::lockout`), and another spelling must not give fresh
//! guesses. Django's own sign-in form first normalises the typed name to NFKC, and so does the gateway's page; SimpleJWT and
//! most other views do not, so there the same text may be another account's name.
//!
//! A service whose manager looks names up in another way declares that (`username_case`), and its other conditions
//! (`condition`): a user who does not meet them does not exist here, as at the service.
//!
//! **Which id.** The text of the primary key, as `str(user.pk)` writes it; `ids` determines the spelling.
//!
//! **Errors.** A database that cannot be asked, or has another structure, is a [`DirectoryError`]. It is never reported as
//! "there is no such user".

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use unicode_normalization::UnicodeNormalization as _;

use super::{Account, DirectoryError, Users};
use crate::caller::UserKey;
use crate::config::{
    Condition, DjangoDirectorySettings as Settings, SecondFactorTable, TakenOver, UsernameCase,
};
use crate::django::hashers::{DEFAULT_DUMMY, PasswordHasher, dummy_like};
use crate::secret::Secret;
use crate::service::database::{Dialect, RequiredColumns, ServiceDatabase, Statement};

pub mod allauth;
mod changes;
mod conditions;
mod ids;
pub mod otp;
mod row;
mod statements;

use ids::{AskType, Spelling};
use row::{UserRow, only, same_but_for_case};
use statements::{Statements, row};

/// `kind = "django"`
pub struct DjangoDirectory {
    name: String,
    database: Arc<ServiceDatabase>,
    statements: Statements,
    username_case: UsernameCase,
    ask_type: AskType,
    spelling: OnceLock<Spelling>,
    keeps_at_upgrade: bool,
    needed: Vec<RequiredColumns>,
    hashers: Arc<[PasswordHasher]>,
    /// The newest usable password that was read, and the decoy made from it.
    decoy: ArcSwap<(String, Secret)>,
}

impl DjangoDirectory {
    /// Takes the settings, and the database that they name. The database need not exist yet: until it does, every look-up is
    /// a [`DirectoryError`].
    ///
    /// # Errors
    /// [`DirectoryError`] for a name that no table, column or hasher can have.
    pub fn new(
        name: &str,
        settings: &Settings,
        database: Arc<ServiceDatabase>,
    ) -> Result<Self, DirectoryError> {
        let refused = |reason| DirectoryError { directory: name.to_owned(), reason };
        let hashers = settings
            .hashers
            .iter()
            .map(|hasher| {
                PasswordHasher::parse(hasher)
                    .ok_or_else(|| refused(format!("no hasher {hasher:?}")))
            })
            .collect::<Result<Arc<[_]>, _>>()?;
        let statements = Statements::new(&database, settings).map_err(refused)?;
        let ask_type = AskType::new(&database, &settings.user_table, &settings.columns.id);
        let ask_type = ask_type.map_err(refused)?;
        let decoy = ArcSwap::from_pointee((String::new(), Secret::new(DEFAULT_DUMMY)));
        Ok(Self {
            name: name.to_owned(),
            database,
            statements,
            username_case: settings.username_case,
            ask_type,
            spelling: OnceLock::new(),
            keeps_at_upgrade: settings.danger_keep_at_password_upgrade,
            needed: needed(settings),
            hashers,
            decoy,
        })
    }

    /// Returns the spelling of ids. The database is asked until it is known, and then never again.
    async fn spelling(&self) -> Result<Spelling, DirectoryError> {
        if let Some(spelling) = self.spelling.get() {
            return Ok(*spelling);
        }
        let asked = self.ask_type.ask(&self.database).await.map_err(|error| self.failed(error))?;
        let Some(spelling) = asked else { return Ok(Spelling::Exact) };
        Ok(*self.spelling.get_or_init(|| spelling))
    }

    /// Returns the rows of the last of these statements, and the first column of the first row of the others.
    async fn ask(
        &self,
        statements: Vec<Statement>,
    ) -> Result<(Vec<UserRow>, Option<String>), DirectoryError> {
        let answers = self.database.ask(statements).await.map_err(|error| self.failed(error))?;
        let mut answers = answers.into_iter().rev();
        let rows = answers.next().unwrap_or_default().into_iter().map(row);
        let rows = rows.collect::<Result<_, _>>().map_err(|reason| self.failed(reason))?;
        Ok((rows, answers.flatten().next().and_then(|mut texts| texts.pop().flatten())))
    }

    fn failed(&self, reason: impl Into<String>) -> DirectoryError {
        DirectoryError { directory: self.name.clone(), reason: reason.into() }
    }

    /// Returns the account of the one row for which `the_one` holds.
    fn only(
        &self,
        rows: Vec<UserRow>,
        spelling: Spelling,
        the_one: impl Fn(&UserRow) -> bool,
    ) -> Result<Option<Account>, DirectoryError> {
        let spelled = |row: UserRow| UserRow { id: spelling.of(&row.id).into_owned(), ..row };
        let row = only(rows.into_iter().map(spelled).filter(the_one))
            .map_err(|reason| self.failed(reason))?;
        Ok(row.map(|row| row.into_account(&self.name)))
    }
}

#[async_trait]
impl Users for DjangoDirectory {
    fn name(&self) -> &str {
        &self.name
    }

    fn hashers(&self) -> Arc<[PasswordHasher]> {
        Arc::clone(&self.hashers)
    }

    fn decoy(&self) -> Secret {
        self.decoy.load().1.clone()
    }

    fn password_store(&self) -> Option<&dyn super::PasswordStore> {
        None
    }

    async fn with_address(&self, address: &str) -> Result<usize, DirectoryError> {
        let Some(statement) = self.statements.by_address(address) else { return Ok(0) };
        let answers = self.database.ask(vec![statement]).await;
        let answers = answers.map_err(|error| self.failed(error))?;
        Ok(answers.first().map_or(0, Vec::len))
    }

    async fn missing(&self) -> Result<Vec<String>, DirectoryError> {
        self.database.missing(&self.needed).await.map_err(|error| self.failed(error))
    }

    fn upgrades_to(&self) -> Option<PasswordHasher> {
        // Django upgrades to the first hasher.
        self.hashers.first().copied().filter(|_| self.keeps_at_upgrade)
    }

    fn as_typed<'n>(&self, name: &'n str) -> Cow<'n, str> {
        // Django does not normalise a longer name, and no user has one.
        if name.is_ascii() || name.chars().count() > LONGEST_TYPED {
            return Cow::Borrowed(name);
        }
        Cow::Owned(name.nfkc().collect())
    }

    async fn key(&self, id: &str) -> Result<UserKey, DirectoryError> {
        Ok(UserKey::new(&self.name, &self.spelling().await?.of(id)))
    }

    async fn find(&self, name: &str) -> Result<Option<Account>, DirectoryError> {
        let spelling = self.spelling().await?;
        let name = match self.username_case {
            UsernameCase::Lower => Cow::Owned(name.to_lowercase()),
            UsernameCase::Exact | UsernameCase::Fold => Cow::Borrowed(name),
        };
        // The newest password is read with every name, known or unknown: it shows what a check costs now.
        let statements = vec![self.statements.newest_password(), self.statements.by_name(&name)];
        let (rows, newest) = self.ask(statements).await?;
        let newest = newest.unwrap_or_default();
        if !newest.is_empty() && self.decoy.load().0 != newest {
            let decoy = Secret::new(dummy_like(&newest));
            self.decoy.store(Arc::new((newest, decoy)));
        }
        let is_exact =
            self.database.dialect() == Dialect::Sqlite && self.username_case != UsernameCase::Fold;
        self.only(rows, spelling, |row| match is_exact {
            true => row.name == *name,
            false => same_but_for_case(&row.name, &name),
        })
    }

    async fn by_id(&self, user: &UserKey) -> Result<Option<Account>, DirectoryError> {
        if *user.directory != *self.name {
            return Ok(None);
        }
        let spelling = self.spelling().await?;
        let id = spelling.of(&user.id);
        let (rows, _) = self.ask(vec![self.statements.by_id(&id)]).await?;
        // The database may consider other ids equal ("07" and 7); they are another user's.
        self.only(rows, spelling, |row| row.id == *id)
    }
}

/// Returns every table that is read, with its columns.
fn needed(settings: &Settings) -> Vec<RequiredColumns> {
    let of = |conditions: &[Condition]| -> Vec<String> {
        conditions.iter().map(|condition| condition.column.clone()).collect()
    };
    let columns = &settings.columns;
    let conditions = of(&settings.conditions);
    let own = [
        &columns.id,
        &columns.username,
        &columns.password,
        &columns.is_active,
        &columns.is_staff,
        &columns.is_superuser,
        &columns.email,
    ];
    let own = own.into_iter().chain(&conditions).map(String::as_str);
    let mut needed = vec![RequiredColumns::new(&settings.user_table, own)];
    if let Some(groups) = &settings.groups {
        needed.push(RequiredColumns::new(&groups.group_table, ["id", "name"]));
        let both = [groups.user_column.as_str(), &groups.group_column];
        needed.push(RequiredColumns::new(&groups.membership_table, both));
    }
    let here: Vec<SecondFactorTable> =
        settings.taken_over.iter().flat_map(TakenOver::tables).collect();
    for factor in settings.second_factors.iter().chain(&here) {
        let conditions = of(&factor.conditions);
        let columns = std::iter::once(&factor.user_column).chain(&conditions);
        needed.push(RequiredColumns::new(&factor.table, columns.map(String::as_str)));
    }
    needed
}

/// The longest name that Django's form normalises, unless the user model sets another limit.
const LONGEST_TYPED: usize = 254;

#[cfg(test)]
mod tests;
