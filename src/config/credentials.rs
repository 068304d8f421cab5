//! `route.credentials`: which credentials a route looks at.
//!
//! What a route does not look at is left to its service, which judges it by rules that the gateway may not know (a token
//! that expires by the service's own reckoning, another system's key). To the gateway it proves nothing: it makes nobody
//! known, opens no route, gives no identity header and no identity form. It goes on as it came, unless a form of the route
//! sets its place. The gateway's own credentials never go on, looked at or not.

use super::raw::{RawTable, Wrong};
use super::{Access, IssuerSettings};

/// Which credentials are looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CredentialSelection {
    /// All that there are.
    #[default]
    All,
    /// These.
    Only {
        /// The gateway's session cookie, under all of its names.
        cookie: bool,
        /// The gateway's access tokens, and whatever else stands behind `Bearer`.
        bearer: bool,
        /// What these issuers have issued: indexes into [`super::Config::issuers`].
        issuers: Vec<usize>,
    },
}

impl CredentialSelection {
    /// Is the gateway's session cookie looked at?
    pub const fn cookie(&self) -> bool {
        match self {
            Self::All => true,
            Self::Only { cookie, .. } => *cookie,
        }
    }

    /// Are the gateway's access tokens?
    pub const fn bearer(&self) -> bool {
        match self {
            Self::All => true,
            Self::Only { bearer, .. } => *bearer,
        }
    }

    /// Are the credentials of this issuer?
    pub fn issuer(&self, index: usize) -> bool {
        match self {
            Self::All => true,
            Self::Only { issuers, .. } => issuers.contains(&index),
        }
    }

    /// Those of any of these?
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
            Wrong::new("a route that looks at no credential lets nobody pass")
                .help("set access = \"public\", or name what it looks at"),
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
        // Wherever its tokens come.
        issuers: issuers
            .iter()
            .enumerate()
            .filter(|(_, issuer)| all.contains(&One::Issuer(&issuer.name)))
            .map(|(index, _)| index)
            .collect(),
    }
}
