//! The port through which second factors are used that a service keeps in its own database.
//!
//! They stay the service's: there they are set up, changed and taken away, and a code that was used here is used there. What may
//! happen only once is decided by the service's database, in one statement that names what was there before; so of two equal
//! codes at once, here or at the service, one is right. How long somebody waits after wrong ones is counted there too, by the
//! package's own rule, and holds on both sides.

use std::time::Duration;

use async_trait::async_trait;

use super::DirectoryError;
use crate::caller::UserKey;
use crate::clock::Timestamp;
use crate::secret::Secret;

/// A second factor that a service keeps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServiceFactor {
    /// What tells it from the user's others, as long as it is there.
    pub id: String,
    /// What it is.
    pub kind: ServiceFactorKind,
    /// What it is called there; may be empty.
    pub name: String,
    /// When it was last used, where that is known.
    pub last_used: Option<Timestamp>,
}

/// What kind of second factor it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ServiceFactorKind {
    /// An authenticator app.
    App,
    /// Codes that were written down, each of which works once.
    WrittenCodes {
        /// How many are left.
        left: u32,
    },
}

/// What a user has at their service. The default: nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ServiceFactors {
    /// What can be used here.
    pub usable: Vec<ServiceFactor>,
    /// Is there something that cannot, and nothing that can? Then the service's own page asks for it.
    pub is_elsewhere: bool,
    /// How long none of them is looked at, because too many codes were wrong.
    pub wait: Option<Duration>,
}

/// A code, as it is tried.
#[derive(Clone, Copy, Debug)]
pub struct ServiceCode<'a> {
    /// As typed, without what stands around it.
    pub typed: &'a Secret,
    /// Its digits, if it is nothing but digits in groups.
    pub digits: Option<&'a Secret>,
    /// Now.
    pub at: Timestamp,
}

/// What came of a code.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ServiceVerdict {
    /// It was right, and is used there.
    Used(ServiceFactorKind),
    /// It was right, and nothing there says that it is used: the gateway keeps that, by this text.
    UsedOnce {
        /// What it was.
        kind: ServiceFactorKind,
        /// The same for the same code.
        once: String,
    },
    /// It was used before.
    Replayed,
    /// It is none.
    Wrong,
    /// It was not looked at, because too many were wrong before.
    Wait(Duration),
}

/// Second factors of a directory's users.
#[async_trait]
pub trait FactorsAtService: Send + Sync {
    /// The directory's configured name.
    fn directory(&self) -> &str;

    /// What a user has.
    async fn of(&self, user: &UserKey, at: Timestamp) -> Result<ServiceFactors, DirectoryError>;

    /// Uses a code, or counts that it was wrong; both are durable when this returns.
    async fn use_code(
        &self,
        user: &UserKey,
        code: ServiceCode<'_>,
    ) -> Result<ServiceVerdict, DirectoryError>;

    /// What is missing of tables, columns and rights, a line each: at the start and for `check`.
    async fn missing(&self) -> Result<Vec<String>, DirectoryError>;
}
