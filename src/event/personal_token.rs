//! Why personal access tokens were refused.

/// Why a personal access token was refused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TokenRefusal {
    /// The text does not have the form of such a token, or its checksum is wrong; the store was not asked.
    Malformed,
    /// The store has no such token: it never existed, has expired, or has ended.
    Unknown,
    /// The token is valid, but what was requested accepts no personal access tokens.
    NotTaken,
    /// The token is valid, but was created for other routes or methods.
    OutOfScope,
}

impl TokenRefusal {
    /// All reasons.
    pub const ALL: &'static [Self] =
        &[Self::Malformed, Self::Unknown, Self::NotTaken, Self::OutOfScope];

    /// Returns the stable name for metrics and the audit trail.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::NotTaken => "not_taken",
            Self::OutOfScope => "out_of_scope",
        }
    }
}
