//! Reads `route.credentials`: which credentials a route checks.
//!
//! What a route does not check is left to its service, which judges it by rules that the gateway may not know (a token that
//! expires by the service's own clock, another system's key). To the gateway it proves nothing: it identifies no caller, opens
//! no route, and leads to no identity header and no identity form. It is forwarded as it came, unless a form of the route
//! replaces it. The gateway's own credentials are never forwarded, whether they are checked or not.

use super::raw::{RawTable, Wrong};
use super::{Access, IssuerSettings};

/// The credentials that a route checks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CredentialSelection {
    /// All credentials.
    #[default]
    All,
    /// Only these credentials.
    Only {
        /// Whether the gateway's session cookie is checked, under all of its names.
        cookie: bool,
        /// Whether the gateway's access tokens are checked, and whatever else follows `Bearer`.
        bearer: bool,
        /// The issuers whose credentials are checked: indexes into [`super::Config::issuers`].
        issuers: Vec<usize>,
    },
}

impl CredentialSelection {
    /// Whether the gateway's session cookie is checked.
    pub const fn cookie(&self) -> bool {
        match self {
            Self::All => true,
            Self::Only { cookie, .. } => *cookie,
        }
    }

    /// Whether the gateway's access tokens are checked.
    pub const fn bearer(&self) -> bool {
        match self {
            Self::All => true,
            Self::Only { bearer, .. } => *bearer,
        }
    }

    /// Whether the credentials of this issuer are checked.
    pub fn issuer(&self, index: usize) -> bool {
        match self {
            Self::All => true,
            Self::Only { issuers, .. } => issuers.contains(&index),
        }
    }

    /// Whether the credentials of any of these issuers are checked.
    pub fn any_of(&self, issuers: &[usize]) -> bool {
        issuers.iter().any(|index| self.issuer(*index))
    }
}

/// `route.credentials`
pub(super) fn credentials(
    table: &RawTable<'_>,
    issuers: &[IssuerSettings],
    access: Access,
) -> CredentialSelection {
    #[derive(Clone, Copy, PartialEq)]
    enum One<'i> {
        Cookie,
        Bearer,
        Issuer(&'i str),
    }
    if table.is_empty_list("credentials") && access == Access::SignedIn {
        table.error(
            "credentials",
            Wrong::new("a route that accepts no credential lets nobody pass")
                .help("set access = \"public\", or name the credentials that it accepts"),
        );
    }
    let one = |text: &str| match text {
        "cookie" => Ok(One::Cookie),
        "bearer" => Ok(One::Bearer),
        other => {
            let words = ["cookie".to_owned(), "bearer".to_owned()].into_iter();
            let all: Vec<String> = words
                .chain(issuers.iter().map(|issuer| format!("issuer:{}", issuer.name)))
                .collect();
            let named = other.strip_prefix("issuer:");
            let is_named = |issuer: &&IssuerSettings| Some(&*issuer.name) == named;
            issuers.iter().find(is_named).map(|issuer| One::Issuer(&issuer.name)).ok_or_else(|| {
                Wrong::choice(other, &all.iter().map(String::as_str).collect::<Vec<_>>())
            })
        }
    };
    let Some(all) = table.values("credentials", one) else { return CredentialSelection::All };
    CredentialSelection::Only {
        cookie: all.iter().any(|one| matches!(one, One::Cookie)),
        bearer: all.iter().any(|one| matches!(one, One::Bearer)),
        // An issuer may have two entries: its tokens in a header, and in a cookie.
        issuers: issuers
            .iter()
            .enumerate()
            .filter(|(_, issuer)| all.contains(&One::Issuer(&issuer.name)))
            .map(|(index, _)| index)
            .collect(),
    }
}
