//! Why personal access tokens were refused.

/// Why a personal access token was refused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TokenRefusal {
    /// It has not the form of one, or its checksum is wrong: nobody was asked.
    Malformed,
    /// There is none like it: it never was, has expired, or has ended.
    Unknown,
    /// It is good, and what was asked for takes no such tokens.
    NotTaken,
    /// It is good, and made for other routes or methods.
    OutOfScope,
}

impl TokenRefusal {
    /// Every one.
    pub const ALL: &'static [Self] =
        &[Self::Malformed, Self::Unknown, Self::NotTaken, Self::OutOfScope];

    /// Stable name for metrics and the audit trail.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::NotTaken => "not_taken",
            Self::OutOfScope => "out_of_scope",
        }
    }
}
