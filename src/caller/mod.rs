//! Who is calling: plain values that every later stage reads and none changes.

mod assurance;
mod grant;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

pub use self::assurance::{Assurance, AssuranceLevel, AuthMethod, AuthMethods, SEVERAL_FACTORS};
pub use self::grant::TokenGrant;
use crate::refusal::Refusal;

/// Names one session: 128 random bits as text. Not a secret: it is in tokens (`sid`), logs and `X-Session-Id`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(Arc<str>);

/// Names one user: two directories may both have a user 1, so an id alone says nothing.
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
    /// Directory and id.
    pub key: UserKey,
    /// The name they sign in with.
    pub name: String,
    /// Group names, sorted, without duplicates.
    pub groups: Vec<String>,
    /// Django's `is_staff`; false where a directory has no such thing.
    pub staff: bool,
    /// Django's `is_superuser`; false where a directory has no such thing.
    pub superuser: bool,
    /// Whatever else the directory says of them (mail, display name), by name.
    pub attributes: BTreeMap<String, String>,
}

/// The name of an `[[issuer]]`, which is what it is known by: its place in the file says nothing, and changes when the file
/// does. It is kept for good, once for each name there ever was, so that a proof can be copied.
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
    /// Who it is.
    pub identity: Arc<Identity>,
    /// The session that the credential belongs to; a token that an `[[issuer]]` issued has none.
    pub session: Option<SessionId>,
    /// What was presented.
    pub proof: Proof,
    /// How they were authenticated, and when.
    pub assurance: Assurance,
}

/// Why a request has no known caller, and yet may go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Anonymous {
    /// It brought no credential.
    NoCredential,
    /// It brought one that does not hold, on a public route, where that does not matter.
    Ignored(Refusal),
}

/// Who is calling.
#[derive(Clone, Debug)]
pub enum Caller {
    /// Somebody whose credential was checked.
    Known(Known),
    /// Nobody, with the reason why that is so.
    Anonymous(Anonymous),
}

impl SessionId {
    /// From the text of a token, a store's row or a command line.
    pub fn new(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// The text.
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
    /// The user `id` of the directory `directory`.
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
    /// This name.
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

    /// As it is in the configuration.
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
    /// Stable name for logs and `GET /session`.
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

    /// The `[[issuer]]` that takes it.
    pub const fn issuer(self) -> Option<IssuerName> {
        match self {
            Self::AccessToken | Self::SessionCookie | Self::PersonalToken => None,
            Self::Issued(issuer) | Self::IssuedCookie(issuer) | Self::Password(issuer) => {
                Some(issuer)
            }
        }
    }

    /// Do browsers send it with requests that another site's page causes?
    pub const fn is_sent_unasked(self) -> bool {
        match self {
            Self::AccessToken | Self::PersonalToken | Self::Issued(_) => false,
            Self::SessionCookie | Self::IssuedCookie(_) | Self::Password(_) => true,
        }
    }

    /// Is it a session's cookie, the gateway's or another's?
    pub const fn is_cookie(self) -> bool {
        match self {
            Self::AccessToken | Self::PersonalToken | Self::Issued(_) | Self::Password(_) => false,
            Self::SessionCookie | Self::IssuedCookie(_) => true,
        }
    }
}

impl Caller {
    /// The checked caller, if there is one.
    pub const fn known(&self) -> Option<&Known> {
        match self {
            Self::Known(known) => Some(known),
            Self::Anonymous(_) => None,
        }
    }
}
