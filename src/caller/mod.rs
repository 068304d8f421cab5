//! Describes who is calling, in plain values that later stages read and never change.

mod assurance;
mod grant;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

pub use self::assurance::{Assurance, AssuranceLevel, AuthMethod, AuthMethods, SEVERAL_FACTORS};
pub use self::grant::TokenGrant;
use crate::refusal::Refusal;

/// The id of a session: 128 random bits as text. It is not a secret: it is in tokens (`sid`), logs and `X-Session-Id`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(Arc<str>);

/// The key of a user: directory and id. Two directories may both have a user 1, so an id alone identifies nobody.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct UserKey {
    /// The directory's name, as configured.
    pub directory: Arc<str>,
    /// The id within that directory, as text.
    pub id: Arc<str>,
}

/// A user as a directory knows them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The directory and the id.
    pub key: UserKey,
    /// The name that the user signs in with.
    pub name: String,
    /// Group names, sorted, without duplicates.
    pub groups: Vec<String>,
    /// Django's `is_staff`; false where a directory has no such attribute.
    pub staff: bool,
    /// Django's `is_superuser`; false where a directory has no such attribute.
    pub superuser: bool,
    /// Further attributes from the directory (mail, display name), by name.
    pub attributes: BTreeMap<String, String>,
}

/// The name of an `[[issuer]]`, which identifies it: its position in the file would not, because it changes with the file. Each
/// name that ever occurred stays in memory until the process ends, once, so that a proof can be copied.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct IssuerName(&'static str);

/// How a known caller proved who they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Proof {
    /// An access token of the gateway's own, in `Authorization: Bearer`.
    AccessToken,
    /// The gateway's session cookie.
    SessionCookie,
    /// A personal access token, in `Authorization: Bearer`.
    PersonalToken,
    /// A token that an `[[issuer]]` issued.
    Issued(IssuerName),
    /// A session cookie that an `[[issuer]]` issued.
    IssuedCookie(IssuerName),
    /// A name and a password, which an `[[issuer]]` lets pass in each request (HTTP Basic).
    Password(IssuerName),
}

/// A caller whose credential was checked.
#[derive(Clone, Debug)]
pub struct Known {
    /// The caller's identity.
    pub identity: Arc<Identity>,
    /// The session that the credential belongs to; a token that an `[[issuer]]` issued has none.
    pub session: Option<SessionId>,
    /// The kind of credential that was presented.
    pub proof: Proof,
    /// How the user was authenticated, and when.
    pub assurance: Assurance,
}

/// Why a request without a known caller may go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Anonymous {
    /// The request has no credential.
    NoCredential,
    /// The request has a credential that is not valid, on a public route, which ignores it.
    Ignored(Refusal),
}

/// Who is calling.
#[derive(Clone, Debug)]
pub enum Caller {
    /// A caller whose credential was checked.
    Known(Known),
    /// A caller who is not known, with the reason why the request may go on.
    Anonymous(Anonymous),
}

impl SessionId {
    /// Creates the id from the text of a token, a store's row or a command line.
    pub fn new(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl UserKey {
    /// Creates the key of the user `id` of the directory `directory`.
    pub fn new(directory: &str, id: &str) -> Self {
        Self { directory: Arc::from(directory), id: Arc::from(id) }
    }
}

impl fmt::Display for UserKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.directory, self.id)
    }
}

impl IssuerName {
    /// Creates the name.
    pub fn new(name: &str) -> Self {
        static KNOWN: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
        let mut known = KNOWN.lock();
        if let Some(known) = known.get(name) {
            return Self(known);
        }
        let name: &'static str = Box::leak(name.into());
        known.insert(name);
        Self(name)
    }

    /// Returns the name as it is in the configuration.
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl fmt::Debug for IssuerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Proof {
    /// Returns the stable name for logs and `GET /session`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AccessToken => "access_token",
            Self::SessionCookie => "session_cookie",
            Self::PersonalToken => "personal_token",
            Self::Issued(_) => "issued",
            Self::IssuedCookie(_) => "issued_cookie",
            Self::Password(_) => "password",
        }
    }

    /// Returns the `[[issuer]]` that accepts this proof; `None` if the proof is the gateway's own.
    pub const fn issuer(self) -> Option<IssuerName> {
        match self {
            Self::AccessToken | Self::SessionCookie | Self::PersonalToken => None,
            Self::Issued(issuer) | Self::IssuedCookie(issuer) | Self::Password(issuer) => {
                Some(issuer)
            }
        }
    }

    /// Whether browsers add the proof by themselves to requests that another site's page causes.
    pub const fn is_sent_unasked(self) -> bool {
        match self {
            Self::AccessToken | Self::PersonalToken | Self::Issued(_) => false,
            Self::SessionCookie | Self::IssuedCookie(_) | Self::Password(_) => true,
        }
    }

    /// Whether the proof is a session cookie, the gateway's or a service's.
    pub const fn is_cookie(self) -> bool {
        match self {
            Self::AccessToken | Self::PersonalToken | Self::Issued(_) | Self::Password(_) => false,
            Self::SessionCookie | Self::IssuedCookie(_) => true,
        }
    }
}

impl Caller {
    /// Returns the caller whose credential was checked, if there is one.
    pub const fn known(&self) -> Option<&Known> {
        match self {
            Self::Known(known) => Some(known),
            Self::Anonymous(_) => None,
        }
    }
}
