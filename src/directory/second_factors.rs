//! Defines the port for second factors that a service stores in its own database.
//!
//! They stay the service's: they are set up, changed and removed there, and a code that was used here counts as used there.
//! What may happen only once is decided by the service's database, in one statement that names the previous values; so of two
//! equal codes at the same time, here or at the service, only one is accepted. The wait after wrong codes is counted there
//! too, by the package's own rule, and applies on both sides.

use std::time::Duration;

use async_trait::async_trait;

use super::DirectoryError;
use crate::caller::UserKey;
use crate::clock::Timestamp;
use crate::secret::Secret;

/// A second factor that a service stores.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServiceFactor {
    /// An id that distinguishes the factor from the user's others, as long as it exists.
    pub id: String,
    /// The kind of factor.
    pub kind: ServiceFactorKind,
    /// The factor's name at the service; may be empty.
    pub name: String,
    /// When the factor was last used, if that is known.
    pub last_used: Option<Timestamp>,
}

/// The kind of a second factor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ServiceFactorKind {
    /// An authenticator app.
    App,
    /// Recovery codes that the user wrote down, each of which works once.
    WrittenCodes {
        /// The number of unused codes.
        left: u32,
    },
}

/// The second factors that a user has at their service; by default none.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ServiceFactors {
    /// The factors that can be used at the gateway.
    pub usable: Vec<ServiceFactor>,
    /// Whether the user has factors but none that can be used here. The service's own page then asks for them.
    pub is_elsewhere: bool,
    /// For how long no factor is checked, because too many codes were wrong.
    pub wait: Option<Duration>,
}

/// A code that a user entered.
#[derive(Clone, Copy, Debug)]
pub struct ServiceCode<'a> {
    /// The code as typed, without surrounding white space.
    pub typed: &'a Secret,
    /// The code's digits, if it consists of nothing but digits in groups.
    pub digits: Option<&'a Secret>,
    /// The current time.
    pub at: Timestamp,
}

/// The result of checking a code.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ServiceVerdict {
    /// The code was right, and the service records that it is used.
    Used(ServiceFactorKind),
    /// The code was right, and the service has no record of its use: the gateway records it by this text.
    UsedOnce {
        /// The kind of factor.
        kind: ServiceFactorKind,
        /// A text that is the same for the same code.
        once: String,
    },
    /// The code was used before.
    Replayed,
    /// The code is wrong.
    Wrong,
    /// The code was not checked, because too many were wrong before.
    Wait(Duration),
}

/// The second factors of a directory's users.
#[async_trait]
pub trait FactorsAtService: Send + Sync {
    /// Returns the directory's configured name.
    fn directory(&self) -> &str;

    /// Returns the second factors of a user.
    async fn of(&self, user: &UserKey, at: Timestamp) -> Result<ServiceFactors, DirectoryError>;

    /// Checks a code and marks it as used, or counts a failure; both are durable when this returns.
    async fn use_code(
        &self,
        user: &UserKey,
        code: ServiceCode<'_>,
    ) -> Result<ServiceVerdict, DirectoryError>;

    /// Lists the missing tables, columns and rights, a line each, at the start and for `check`.
    async fn missing(&self) -> Result<Vec<String>, DirectoryError>;
}
