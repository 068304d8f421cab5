//! Events about second factors.

/// A change to a user's second factors, or a use of a recovery code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FactorEvent {
    /// A second factor was set up.
    Added,
    /// A second factor was removed.
    Removed,
    /// A passkey was set up.
    PasskeyAdded,
    /// A passkey was removed.
    PasskeyRemoved,
    /// A second factor was renamed.
    Renamed,
    /// New recovery codes were made.
    RecoveryRenewed,
    /// A recovery code was used.
    RecoveryUsed,
    /// An operator removed all second factors.
    Reset,
    /// An operator issued a code to set up a second factor.
    Invited,
    /// A browser was trusted: no code is asked for there for a time.
    DeviceTrusted,
    /// All trusted browsers were revoked.
    DevicesDistrusted,
}

/// Why a second factor was refused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FactorRefusal {
    /// The code is not one of the user's codes.
    WrongCode,
    /// The code was right, but it or a later one was used before.
    UsedCode,
    /// Too many wrong codes came before; this one was not checked.
    Throttled,
    /// The ticket belongs to another client, was used or has expired, or the account has changed since.
    Ticket,
    /// The first factor was to be set up with no proof but the password.
    NoProof,
    /// The user's last proof is too old for a change of factors.
    NotFresh,
    /// The authenticator's response does not prove that this passkey was used here: its signature, challenge, origin, user
    /// handle or user-verification flag is wrong.
    BadPasskey,
    /// The challenge was answered before.
    UsedChallenge,
    /// The passkey's signature counter went back, so the passkey was probably copied.
    ClonedPasskey,
}

/// The result of a request for a one-time code by mail.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MailedCodeEvent {
    /// The code is mailed.
    Asked,
    /// No code is mailed: the limit per hour is reached.
    Withheld,
}

impl MailedCodeEvent {
    /// All results.
    pub const ALL: &'static [Self] = &[Self::Asked, Self::Withheld];

    /// Returns the stable name for metrics and the audit trail.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Withheld => "withheld",
        }
    }
}

impl FactorEvent {
    /// All changes.
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

    /// Returns the stable name for metrics and the audit trail.
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
    /// All reasons.
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

    /// Returns the stable name for metrics and the audit trail.
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
