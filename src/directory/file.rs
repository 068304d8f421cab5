//! Reads users from a file that the gateway owns; the format is described in [`users_file`](super::users_file).
//!
//! When the file is used, it is checked for changes at most once a second, and read again when it has changed, on a thread
//! that may block. A new version that cannot be read (a typing error, wrong permissions, a file that is missing while it is
//! being replaced) changes nothing: the version before it stays in force, and a warning is logged once for each version.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use parking_lot::Mutex;

use super::users_file::{UsersFile, UsersFileError};
use super::{Account, DirectoryError, PasswordStore, Users, password};
use crate::caller::UserKey;
use crate::django::hashers::{PasswordHasher, dummy_like};
use crate::private_file::Version;
use crate::secret::Secret;

const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// `kind = "file"`
pub struct FileDirectory {
    inner: Arc<UsersFileInner>,
}

struct UsersFileInner {
    name: String,
    path: PathBuf,
    look_again: Duration,
    users: ArcSwap<FileUsers>,
    looked: Mutex<FileCheck>,
}

struct FileUsers {
    by_name: HashMap<String, Account>,
    names_by_id: HashMap<Arc<str>, String>,
    decoy: Secret,
}

struct FileCheck {
    at: Instant,
    /// The last version that was tried; `None` if there was no file.
    version: Option<Version>,
}

impl FileDirectory {
    /// Reads the file.
    ///
    /// # Errors
    /// [`UsersFileError`] if it cannot be read, may be read by others, or is malformed.
    pub fn open(name: &str, path: &Path) -> Result<Self, UsersFileError> {
        Self::open_looking_again(name, path, LOOK_AGAIN)
    }

    fn open_looking_again(
        name: &str,
        path: &Path,
        look_again: Duration,
    ) -> Result<Self, UsersFileError> {
        let (users, version) = FileUsers::read(name, path)?;
        let inner = UsersFileInner {
            name: name.to_owned(),
            path: path.to_owned(),
            look_again,
            users: ArcSwap::from_pointee(users),
            looked: Mutex::new(FileCheck { at: Instant::now(), version: Some(version) }),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Returns the users of the version in force.
    async fn users(&self) -> Arc<FileUsers> {
        // The block ends the lock before the wait.
        let due = {
            let mut looked = self.inner.looked.lock();
            let due = looked.at.elapsed() >= self.inner.look_again;
            if due {
                looked.at = Instant::now();
            }
            due
        };
        if due {
            let inner = Arc::clone(&self.inner);
            // After a panic in the reload the old version stays in force, as after every other failure.
            let _ = tokio::task::spawn_blocking(move || inner.reload()).await;
        }
        self.inner.users.load_full()
    }
}

impl UsersFileInner {
    fn reload(&self) {
        let found = Version::at(&self.path).ok();
        let tried = std::mem::replace(&mut self.looked.lock().version, found);
        if found == tried {
            return;
        }
        match FileUsers::read(&self.name, &self.path) {
            Ok((users, _)) => self.users.store(Arc::new(users)),
            Err(error) => tracing::warn!(
                directory = self.name,
                %error,
                "the users' file has changed and cannot be used; the previous version stays in use"
            ),
        }
    }
}

impl UsersFileInner {
    /// Changes the password under the file's lock, by the file's current contents and not by what was read before.
    fn change_password(
        &self,
        user: &UserKey,
        stored: &Secret,
        new: &Secret,
    ) -> Result<Option<Account>, String> {
        let encoded = password::hash(new).map_err(|error| error.to_string())?;
        let mut is_theirs = false;
        let changed = UsersFile::change(&self.path, |file| {
            let mut accounts = file.accounts(&self.name);
            let found = accounts.find(|(_, account)| account.identity.key == *user);
            match found.filter(|(_, account)| account.active && account.password == *stored) {
                Some((name, _)) => {
                    is_theirs = true;
                    file.with_password(name, &encoded)
                }
                None => Err(UsersFileError::Missing(user.id.to_string())),
            }
        });
        match changed {
            Ok(()) => {}
            Err(UsersFileError::Missing(_)) if !is_theirs => return Ok(None),
            Err(error) => return Err(error.to_string()),
        }
        self.reload();
        let users = self.users.load();
        let name = users.names_by_id.get(&user.id);
        Ok(name.and_then(|name| users.by_name.get(name)).cloned())
    }
}

impl FileUsers {
    fn read(name: &str, path: &Path) -> Result<(Self, Version), UsersFileError> {
        let (file, version) = UsersFile::read_version(path)?;
        let by_name: HashMap<String, Account> =
            file.accounts(name).map(|(name, account)| (name.to_owned(), account)).collect();
        let names_by_id = by_name
            .iter()
            .map(|(name, account)| (Arc::clone(&account.identity.key.id), name.clone()))
            .collect();
        // The same command writes all entries, so any of them shows what a check costs.
        let decoy = by_name
            .values()
            .map(|account| &account.password)
            .find(|password| password.expose().starts_with("argon2$"))
            .map_or_else(password::decoy, |password| Secret::new(dummy_like(password.expose())));
        Ok((Self { by_name, names_by_id, decoy }, version))
    }
}

#[async_trait]
impl Users for FileDirectory {
    fn name(&self) -> &str {
        &self.inner.name
    }

    fn hashers(&self) -> Arc<[PasswordHasher]> {
        Arc::from(PasswordHasher::DEFAULT)
    }

    fn decoy(&self) -> Secret {
        self.inner.users.load().decoy.clone()
    }

    fn as_typed<'n>(&self, name: &'n str) -> Cow<'n, str> {
        Cow::Borrowed(name)
    }

    async fn key(&self, id: &str) -> Result<UserKey, DirectoryError> {
        Ok(UserKey::new(&self.inner.name, id))
    }

    async fn find(&self, name: &str) -> Result<Option<Account>, DirectoryError> {
        Ok(self.users().await.by_name.get(name).cloned())
    }

    async fn by_id(&self, user: &UserKey) -> Result<Option<Account>, DirectoryError> {
        if *user.directory != *self.inner.name {
            return Ok(None);
        }
        let users = self.users().await;
        let name = users.names_by_id.get(&user.id);
        Ok(name.and_then(|name| users.by_name.get(name)).cloned())
    }

    async fn with_address(&self, address: &str) -> Result<usize, DirectoryError> {
        let users = self.users().await;
        let address = address.to_lowercase();
        let has_it = |account: &&Account| {
            let own = account.identity.attributes.get("email");
            own.is_some_and(|own| own.trim().to_lowercase() == address)
        };
        Ok(users.by_name.values().filter(has_it).take(2).count())
    }

    fn upgrades_to(&self) -> Option<PasswordHasher> {
        None
    }

    fn password_store(&self) -> Option<&dyn PasswordStore> {
        Some(self)
    }

    async fn missing(&self) -> Result<Vec<String>, DirectoryError> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl PasswordStore for FileDirectory {
    async fn change_password(
        &self,
        user: &UserKey,
        stored: &Secret,
        new: &Secret,
    ) -> Result<Option<Account>, DirectoryError> {
        let (inner, user, stored, new) =
            (Arc::clone(&self.inner), user.clone(), stored.clone(), new.clone());
        // Hashing takes a core for a while, and a command may hold the file's lock.
        let changed =
            tokio::task::spawn_blocking(move || inner.change_password(&user, &stored, &new));
        let failed = |reason: String| DirectoryError { directory: self.inner.name.clone(), reason };
        changed.await.map_err(|error| failed(error.to_string()))?.map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::private_file;

    struct Kit {
        directory: FileDirectory,
        path: PathBuf,
        _keep: tempfile::TempDir,
    }

    fn kit(text: &str) -> Kit {
        let keep = tempfile::tempdir().unwrap();
        let path = keep.path().join("users.toml");
        private_file::create(&path, text.as_bytes()).unwrap();
        let directory = FileDirectory::open_looking_again("office", &path, Duration::ZERO).unwrap();
        Kit { directory, path, _keep: keep }
    }

    const KIM: &str = "[users.kim]\nid = \"7\"\npassword = \"$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"\n";

    #[tokio::test]
    async fn names_are_exact_and_ids_belong_to_the_directory() {
        let kit = kit(KIM);
        assert!(kit.directory.find("kim").await.unwrap().is_some());
        assert!(kit.directory.find("Kim").await.unwrap().is_none());
        let table = [
            ("office", "7", true),
            ("office", "kim", false),
            // Two directories may each have a user 7.
            ("django", "7", false),
        ];
        for (directory, id, found) in table {
            let account = kit.directory.by_id(&UserKey::new(directory, id)).await.unwrap();
            assert_eq!(account.is_some(), found, "{directory}/{id}");
        }
    }

    #[tokio::test]
    async fn an_address_is_counted_whatever_its_case() {
        let with = |name: &str, address: &str| {
            format!(
                "[users.{name}]\npassword = \"!\"\n[users.{name}.attributes]\nemail = \"{address}\"\n"
            )
        };
        let text = [
            with("ada", "Ada@Example.org"),
            with("bob", "us@example.org"),
            with("eve", "US@example.org "),
        ];
        let kit = kit(&text.concat());
        for (address, count) in [
            ("ada@example.org", 1),
            ("us@example.org", 2),
            ("Us@Example.org", 2),
            ("x@example.org", 0),
        ] {
            assert_eq!(kit.directory.with_address(address).await.unwrap(), count, "{address}");
        }
    }

    #[tokio::test]
    async fn a_changed_file_is_read_again() {
        let kit = kit(KIM);
        UsersFile::change(&kit.path, |file| file.with_disabled("kim", true)).unwrap();
        assert!(!kit.directory.find("kim").await.unwrap().unwrap().active);
    }

    #[tokio::test]
    async fn a_version_that_cannot_be_used_changes_nothing() {
        use std::os::unix::fs::PermissionsExt;
        let kit = kit(KIM);
        private_file::replace(&kit.path, b"[users.kim").unwrap();
        assert!(kit.directory.find("kim").await.unwrap().is_some(), "malformed");
        std::fs::remove_file(&kit.path).unwrap();
        assert!(kit.directory.find("kim").await.unwrap().is_some(), "gone");
        std::fs::write(&kit.path, "").unwrap();
        std::fs::set_permissions(&kit.path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(kit.directory.find("kim").await.unwrap().is_some(), "readable by others");
        std::fs::set_permissions(&kit.path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(kit.directory.find("kim").await.unwrap().is_none(), "a good version again");
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_at_the_start() {
        let keep = tempfile::tempdir().unwrap();
        let path = keep.path().join("users.toml");
        std::fs::write(&path, KIM).unwrap();
        let Err(error) = FileDirectory::open("office", &path) else { panic!("taken") };
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }

    #[test]
    fn the_decoy_costs_what_the_users_passwords_cost() {
        assert!(
            kit(KIM).directory.decoy().expose().starts_with("argon2$argon2id$v=19$m=8,t=1,p=1$")
        );
        assert!(kit("").directory.decoy().expose().contains("m=19456,t=2,p=1"));
    }
}
