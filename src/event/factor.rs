//! What happened about second factors.

/// What became of a user's second factors.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FactorEvent {
    /// One was set up.
    Added,
    /// One was removed.
    Removed,
    /// A passkey was set up.
    PasskeyAdded,
    /// A passkey was removed.
    PasskeyRemoved,
    /// One is called otherwise.
    Renamed,
    /// There are new recovery codes.
    RecoveryRenewed,
    /// A recovery code was used.
    RecoveryUsed,
    /// An operator took all away.
    Reset,
    /// An operator gave a code to set one up.
    Invited,
    /// A browser was trusted: no code is asked for there for a time.
    DeviceTrusted,
    /// No browser is trusted any more.
    DevicesDistrusted,
}

/// Why a second factor did not help.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FactorRefusal {
    /// The code is none of theirs.
    WrongCode,
    /// The code was right, and it or a later one was used before.
    UsedCode,
    /// Too many wrong ones before; it was not looked at.
    Throttled,
    /// The ticket of the sign-in is another client's, spent, or the account is another by now.
    Ticket,
    /// The first factor was to be set up with a password and nothing else.
    NoProof,
    /// The user's last proof is too long ago for a change of factors.
    NotFresh,
    /// What an authenticator said does not prove that this passkey of theirs was used here: its signature, its challenge, its
    /// origin, who it is, or that somebody was verified.
    BadPasskey,
    /// The challenge was answered before.
    UsedChallenge,
    /// The passkey's counter went back: somebody has a copy of it.
    ClonedPasskey,
}

/// What became of the wish for a code by mail.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MailedCodeEvent {
    /// It is mailed.
    Asked,
    /// There were as many within an hour as there may be.
    Withheld,
}

impl MailedCodeEvent {
    /// Every one.
    pub const ALL: &'static [Self] = &[Self::Asked, Self::Withheld];

    /// Stable name for metrics and the audit trail.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Withheld => "withheld",
        }
    }
}

impl FactorEvent {
    /// Every one.
    pub const ALL: &'static [Self] = &[
        Self::Added,
        Self::Removed,
        Self::PasskeyAdded,
        Self::PasskeyRemoved,
        Self::Renamed,
        Self::RecoveryRenewed,
        Self::RecoveryUsed,
        Self::Reset,
        Self::Invited,
        Self::DeviceTrusted,
        Self::DevicesDistrusted,
    ];

    /// Stable name for metrics and the audit trail.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::PasskeyAdded => "passkey_added",
            Self::PasskeyRemoved => "passkey_removed",
            Self::Renamed => "renamed",
            Self::RecoveryRenewed => "recovery_renewed",
            Self::RecoveryUsed => "recovery_used",
            Self::Reset => "reset",
            Self::Invited => "invited",
            Self::DeviceTrusted => "device_trusted",
            Self::DevicesDistrusted => "devices_distrusted",
        }
    }
}

impl FactorRefusal {
    /// Every one.
    pub const ALL: &'static [Self] = &[
        Self::WrongCode,
        Self::UsedCode,
        Self::Throttled,
        Self::Ticket,
        Self::NoProof,
        Self::NotFresh,
        Self::BadPasskey,
        Self::UsedChallenge,
        Self::ClonedPasskey,
    ];

    /// Stable name for metrics and the audit trail.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WrongCode => "wrong_code",
            Self::UsedCode => "used_code",
            Self::Throttled => "throttled",
            Self::Ticket => "ticket",
            Self::NoProof => "no_proof",
            Self::NotFresh => "not_fresh",
            Self::BadPasskey => "bad_passkey",
            Self::UsedChallenge => "used_challenge",
            Self::ClonedPasskey => "cloned_passkey",
        }
    }
}
