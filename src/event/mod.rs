//! Events: what happened, as plain values.
//!
//! Endpoints and the gate return events beside their results; the audit trail, the metrics and the detectors read them. No code
//! below `telemetry/` counts or logs; it returns events instead. An event holds no secret.

mod factor;
mod issued;
mod mailed_link;
mod personal_token;

use std::net::IpAddr;
use std::sync::Arc;

pub use self::factor::{FactorEvent, FactorRefusal, MailedCodeEvent};
pub use self::issued::IssuedRefusal;
pub use self::mailed_link::MailedLinkEvent;
pub use self::personal_token::TokenRefusal;
use crate::block::Block;
use crate::caller::{AssuranceLevel, AuthMethods, Proof, SessionId, UserKey};
use crate::clock::Timestamp;
use crate::refusal::Refusal;
use crate::secret::Digest;

/// Something that happened at one moment, for at most one client.
#[derive(Clone, Debug)]
pub struct Event {
    /// When it happened.
    pub at: Timestamp,
    /// The request during which it happened; `None` for background work and operators' commands.
    pub request_id: Option<Arc<str>>,
    /// The client's address (behind trusted proxies: the one that they name).
    pub client: Option<IpAddr>,
    /// The `User-Agent` of that request, cut to 256 bytes.
    pub agent: Option<Arc<str>>,
    /// What happened.
    pub what: EventKind,
}

/// What happened, with its details.
#[derive(Clone, Debug)]
pub enum EventKind {
    /// A user proved who they are, and a session began.
    SignedIn {
        /// The new session.
        session: SessionId,
        /// The user of the session.
        user: UserKey,
        /// The name given, folded (see `session::lockout`).
        account: Arc<str>,
        /// Whether tokens were issued.
        tokens: bool,
        /// Whether a session cookie was issued.
        cookie: bool,
        /// Whether the user has signed in from this browser before.
        known_device: bool,
        /// The authentication methods used.
        methods: AuthMethods,
    },
    /// A refresh token of an `[[issuer]]` was presented for the first time, and a session of the gateway began.
    TakenOver {
        /// The new session.
        session: SessionId,
        /// The user of the session.
        user: UserKey,
        /// The issuer's name.
        issuer: Arc<str>,
    },
    /// A session of the service itself, with a user, was adopted by the gateway, or continues under another credential.
    Adopted {
        /// The session.
        session: SessionId,
        /// The user of the session.
        user: UserKey,
        /// The issuer's name.
        issuer: Arc<str>,
        /// What led to the adoption.
        how: Adoption,
    },
    /// The service signed a user in at an observed path (`[[sign_in.observe]]`).
    SignInObserved {
        /// The name given, folded.
        account: Arc<str>,
        /// The user, if the session in the answer names one.
        user: Option<UserKey>,
        /// The id of that session at the gateway.
        session: Option<SessionId>,
    },
    /// A sign-in failed.
    SignInFailed {
        /// The name given, folded.
        account: Arc<str>,
        /// The user with that name, where a directory was asked and knows one. Never revealed to the client.
        user: Option<UserKey>,
        /// Why, for the operator; the client cannot tell the reasons apart.
        why: SignInFailure,
    },
    /// A refresh token was exchanged for new tokens.
    Refreshed {
        /// The session of the token.
        session: SessionId,
        /// The user of the session.
        user: UserKey,
        /// Which of the three ways.
        how: Refresh,
    },
    /// A spent refresh token was presented outside the grace window. Its session has been ended.
    RefreshReused {
        /// The session that has been ended.
        session: SessionId,
        /// The user of the session.
        user: UserKey,
    },
    /// A refresh token was refused for another reason.
    RefreshRefused {
        /// The reason.
        why: RefreshRefusal,
    },
    /// A session ended.
    SessionEnded {
        /// The session that ended.
        session: SessionId,
        /// The user of the session.
        user: UserKey,
        /// The reason.
        why: EndReason,
    },
    /// The user of a session authenticated again, which changed its level of assurance.
    AssuranceChanged {
        /// The session.
        session: SessionId,
        /// The user of the session.
        user: UserKey,
        /// The previous level; `None` if it is unknown.
        from: Option<AssuranceLevel>,
        /// The new level.
        to: AssuranceLevel,
        /// The authentication methods used.
        methods: AuthMethods,
    },
    /// A session's credential was used from this event's client. Reported at its first use, whenever the address differs from
    /// the last one reported, and otherwise at most once a minute.
    SessionUsed {
        /// The session.
        session: SessionId,
        /// The user of the session.
        user: UserKey,
        /// The kind of credential.
        proof: Proof,
    },
    /// A personal access token was created.
    PersonalTokenMade {
        /// The id of the token's session.
        token: SessionId,
        /// The owner of the token.
        user: UserKey,
    },
    /// A personal access token has ended.
    PersonalTokenEnded {
        /// The id of the token's session.
        token: SessionId,
        /// The owner of the token.
        user: UserKey,
        /// The reason.
        why: EndReason,
    },
    /// A personal access token was refused.
    PersonalTokenRefused {
        /// The id of the token's session and its owner, if the token is valid for other requests.
        token: Option<(SessionId, UserKey)>,
        /// Why, for the operator; the client learns less.
        why: TokenRefusal,
    },
    /// A token that was presented as one of an `[[issuer]]` was refused.
    IssuedRefused {
        /// The issuer's name.
        issuer: Arc<str>,
        /// Why, for the operator; the client learns less.
        why: IssuedRefusal,
    },
    /// A token of an `[[issuer]]` was revoked: that token alone or, if it has no id, all tokens of its user from that issuer.
    IssuedEnded {
        /// The issuer's name.
        issuer: Arc<str>,
        /// The user of the token.
        user: UserKey,
    },
    /// A user answered a letter about an incident.
    IncidentAnswered {
        /// The user whom the incident concerned.
        user: UserKey,
        /// The name of the detector that found the incident.
        detector: Arc<str>,
        /// Whether the user said that it was them.
        was_me: bool,
        /// The number of sessions that were ended because it was not the user.
        ended: u64,
    },
    /// A user's password in the directory has changed: a session that began with the previous one was ended, or the user
    /// changed the password at the gateway.
    PasswordChanged {
        /// The user.
        user: UserKey,
        /// Whether the user changed it at the gateway.
        is_own: bool,
    },
    /// The client requested something that no route serves, or that the service answered with 404.
    NotFound {
        /// The hash of the canonical path.
        path: Digest,
    },
    /// A session's credential was used outside the client that `tokens.bind` ties it to, and refused.
    OutsideBinding {
        /// The session.
        session: SessionId,
        /// The user of the session.
        user: UserKey,
    },
    /// A user's second factors changed, or a recovery code was used.
    FactorChanged {
        /// The user.
        user: UserKey,
        /// The change.
        change: FactorEvent,
    },
    /// A user asked the gateway to forget browsers of theirs.
    DevicesForgotten {
        /// The user.
        user: UserKey,
        /// Whether all browsers were forgotten, or one.
        all: bool,
    },
    /// A second factor was refused.
    FactorRefused {
        /// The user who was to be authenticated.
        user: UserKey,
        /// Why, for the operator; the client learns less.
        why: FactorRefusal,
    },
    /// A one-time code by mail was requested.
    MailedCode {
        /// The user of the account.
        user: UserKey,
        /// Whether the code is mailed.
        what: MailedCodeEvent,
    },
    /// A mailed sign-in link was requested, withheld or opened.
    MailedLink {
        /// The name given, folded.
        account: Arc<str>,
        /// The user with that name, if known. Never revealed to the client.
        user: Option<UserKey>,
        /// What happened to the link.
        what: MailedLinkEvent,
    },
    /// An address, user or session is blocked from now on.
    Blocked(Arc<Block>),
    /// An operator lifted a block before its end.
    BlockLifted(Arc<Block>),
    /// A request was refused.
    Refused {
        /// The reason.
        refusal: Refusal,
        /// The user whose credential was valid but did not suffice.
        user: Option<UserKey>,
    },
}

impl EventKind {
    /// Returns the session and the user, if this is a sign-in.
    pub const fn sign_in(&self) -> Option<(&SessionId, &UserKey)> {
        match self {
            Self::SignedIn { session, user, .. }
            | Self::SignInObserved { session: Some(session), user: Some(user), .. } => {
                Some((session, user))
            }
            _ => None,
        }
    }

    /// Returns the user, if a session began.
    pub const fn began(&self) -> Option<&UserKey> {
        match self {
            Self::SignedIn { user, .. }
            | Self::TakenOver { user, .. }
            | Self::Adopted { user, how: Adoption::FirstUse | Adoption::Answer, .. } => Some(user),
            _ => None,
        }
    }
}

/// Why a sign-in failed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SignInFailure {
    /// No directory knows the name.
    UnknownUser,
    /// The password is wrong.
    WrongPassword,
    /// The user exists but may not sign in.
    Inactive,
    /// The stored password can never match (Django's `!`, a hasher that is not allowed, a malformed row).
    UnusablePassword,
    /// The password was right, but the service asks this user for a second factor, which the gateway does not.
    SecondFactorRequired,
    /// Too many failures came before; the password was not checked.
    LockedOut,
    /// The service refused the sign-in at an observed path.
    RefusedByService,
}

/// What led to the adoption of a session of the service itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Adoption {
    /// A request presented the session, and the gateway did not know it.
    FirstUse,
    /// An answer of the service set the session: a user signed in there.
    Answer,
    /// An answer replaced the session by another one of the same user; the gateway's session continues.
    Rotated,
}

/// The three ways in which a refresh token is exchanged for new tokens.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Refresh {
    /// The token is spent, and has a successor.
    Rotated,
    /// The token was spent moments ago, and the caller got the same successor.
    ReplayedInGrace,
    /// The token stays valid (`rotation = "none"`).
    Kept,
}

/// Why a refresh token was refused, other than reuse.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RefreshRefusal {
    /// The token's `exp` has passed.
    Expired,
    /// The token does not verify, or the store has never seen it.
    Unknown,
    /// The token's session has ended.
    SessionEnded,
}

/// Why a session ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum EndReason {
    /// The user signed out (`POST /logout`).
    SignedOut,
    /// The user signed out of all sessions (`POST /logout/all`).
    SignedOutEverywhere,
    /// The user ended it from another session (`POST /account/sessions`).
    Account,
    /// The user changed the password in another session (`POST /account/password`).
    PasswordChanged,
    /// The user signed in again in the same browser.
    Replaced,
    /// The service signed another user in, in the same browser.
    Superseded,
    /// A spent refresh token was presented.
    RefreshReused,
    /// A detector's action ended it.
    Detected,
    /// An operator's command ended it.
    Operator,
    /// A personal access token was revoked.
    Revoked,
    /// The user answered a letter about an incident: it was not them.
    NotMe,
    /// The directory reports a changed password, or a user who is inactive or gone.
    DirectoryChanged,
    /// The idle or absolute timeout has passed.
    Expired,
}

impl SignInFailure {
    /// All reasons.
    pub const ALL: &'static [Self] = &[
        Self::UnknownUser,
        Self::WrongPassword,
        Self::Inactive,
        Self::UnusablePassword,
        Self::SecondFactorRequired,
        Self::LockedOut,
        Self::RefusedByService,
    ];

    /// Returns the stable name for metrics and the audit trail.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RefusedByService => "refused_by_service",
            Self::UnknownUser => "unknown_user",
            Self::WrongPassword => "wrong_password",
            Self::Inactive => "inactive",
            Self::UnusablePassword => "unusable_password",
            Self::SecondFactorRequired => "second_factor_required",
            Self::LockedOut => "locked_out",
        }
    }
}

impl Adoption {
    /// All causes.
    pub const ALL: &'static [Self] = &[Self::FirstUse, Self::Answer, Self::Rotated];

    /// Returns the stable name for metrics and the audit trail.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FirstUse => "first_use",
            Self::Answer => "answer",
            Self::Rotated => "rotated",
        }
    }
}

impl Refresh {
    /// All ways.
    pub const ALL: &'static [Self] = &[Self::Rotated, Self::ReplayedInGrace, Self::Kept];

    /// Returns the stable name for metrics and the audit trail.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rotated => "rotated",
            Self::ReplayedInGrace => "replayed_in_grace",
            Self::Kept => "kept",
        }
    }
}

impl RefreshRefusal {
    /// All reasons.
    pub const ALL: &'static [Self] = &[Self::Expired, Self::Unknown, Self::SessionEnded];

    /// Returns the stable name for metrics and the audit trail.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Unknown => "unknown",
            Self::SessionEnded => "session_ended",
        }
    }
}

impl EndReason {
    /// All reasons.
    pub const ALL: &'static [Self] = &[
        Self::SignedOut,
        Self::SignedOutEverywhere,
        Self::Account,
        Self::PasswordChanged,
        Self::Replaced,
        Self::Superseded,
        Self::RefreshReused,
        Self::Detected,
        Self::Operator,
        Self::Revoked,
        Self::NotMe,
        Self::DirectoryChanged,
        Self::Expired,
    ];

    /// Returns the stable name for metrics, the audit trail and the store.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SignedOut => "signed_out",
            Self::SignedOutEverywhere => "signed_out_everywhere",
            Self::Account => "account",
            Self::PasswordChanged => "password_changed",
            Self::Replaced => "replaced",
            Self::Superseded => "superseded",
            Self::RefreshReused => "refresh_reused",
            Self::Detected => "detected",
            Self::Operator => "operator",
            Self::Revoked => "revoked",
            Self::NotMe => "not_me",
            Self::DirectoryChanged => "directory_changed",
            Self::Expired => "expired",
        }
    }
}
