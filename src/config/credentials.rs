//! `route.credentials`: which credentials a route looks at.
//!
//! What a route does not look at is left to its service, which judges it by rules that the gateway may not know (a token
//! that expires by the service's own reckoning, another system's key). To the gateway it proves nothing: it makes nobody
//! known, opens no route, gives no identity header and no identity form. It goes on as it came, unless a form of the route
//! sets its place. The gateway's own credentials never go on, looked at or not.

/// Which credentials are looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Credentials {
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

impl Credentials {
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
