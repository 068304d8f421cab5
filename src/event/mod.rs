//! What happened, as plain values.
//!
//! Endpoints and the gate return events beside their results; the audit trail, the metrics and the detectors read them.
//! Nothing below `telemetry/` counts or logs: it says what happened, here. An event holds no secret.

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

/// Something that happened at one moment, to or by one client.
#[derive(Clone, Debug)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// The request during which it happened; none for background work and operators' commands.
    pub request_id: Option<Arc<str>>,
    /// The client's address (behind trusted proxies: the one they name).
    pub client: Option<IpAddr>,
    /// The `User-Agent` of that request, cut to 256 bytes.
    pub agent: Option<Arc<str>>,
    /// What.
    pub what: EventKind,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum EventKind {
    /// A user proved who they are, and a session began.
    SignedIn {
        /// The new session.
        session: SessionId,
        /// Its user.
        user: UserKey,
        /// The name given, folded (see `session::lockout`).
        account: Arc<str>,
        /// Whether tokens were issued.
        tokens: bool,
        /// Whether a session cookie was issued.
        cookie: bool,
        /// Whether it is a browser in which this user has signed in before.
        known_device: bool,
        /// What was proved.
        methods: AuthMethods,
    },
    /// A refresh token that an `[[issuer]]` issued was presented for the first time, and a session of the gateway's began.
    TakenOver {
        /// The new session.
        session: SessionId,
        /// Its user.
        user: UserKey,
        /// The issuer's name.
        issuer: Arc<str>,
    },
    /// A session of a service's own, with a user, was adopted as one of the gateway's, or goes on under another credential.
    Adopted {
        /// The session.
        session: SessionId,
        /// Its user.
        user: UserKey,
        /// The issuer's name.
        issuer: Arc<str>,
        /// When.
        how: Adoption,
    },
    /// The service signed somebody in at a path that is watched (`[[sign_in.observe]]`).
    SignInObserved {
        /// The name given, folded.
        account: Arc<str>,
        /// Who it was, if the answer's session says so.
        user: Option<UserKey>,
        /// What that session is here.
        session: Option<SessionId>,
    },
    /// Somebody tried to sign in and did not.
    SignInFailed {
        /// The name given, folded.
        account: Arc<str>,
        /// Whose name it is, where a directory was asked and has one. No client learns it.
        user: Option<UserKey>,
        /// Why, for the operator; the client learns no difference.
        why: SignInFailure,
    },
    /// A refresh token gave new tokens.
    Refreshed {
        /// Its session.
        session: SessionId,
        /// Its user.
        user: UserKey,
        /// In which of the three ways.
        how: Refresh,
    },
    /// A spent refresh token came back outside the grace window. Its session has been ended.
    RefreshReused {
        /// The session that has been ended.
        session: SessionId,
        /// Its user.
        user: UserKey,
    },
    /// A refresh token was refused for another reason.
    RefreshRefused {
        /// Which.
        why: RefreshRefusal,
    },
    /// A session ended.
    SessionEnded {
        /// Which.
        session: SessionId,
        /// Its user.
        user: UserKey,
        /// Why.
        why: EndReason,
    },
    /// The user of a session proved something again, and it has another level of assurance since.
    AssuranceChanged {
        /// The session.
        session: SessionId,
        /// Its user.
        user: UserKey,
        /// What it had; `None` if nobody knows.
        from: Option<AssuranceLevel>,
        /// What it has.
        to: AssuranceLevel,
        /// What was proved.
        methods: AuthMethods,
    },
    /// A session's credential was used from this event's client: told at its first use, when the address differs from the
    /// last one told, and otherwise at most once a minute.
    SessionUsed {
        /// Which session.
        session: SessionId,
        /// Its user.
        user: UserKey,
        /// What was presented.
        proof: Proof,
    },
    /// A personal access token was made.
    PersonalTokenMade {
        /// The id of its session.
        token: SessionId,
        /// Its user.
        user: UserKey,
    },
    /// A personal access token is good no more.
    PersonalTokenEnded {
        /// The id of its session.
        token: SessionId,
        /// Its user.
        user: UserKey,
        /// Why.
        why: EndReason,
    },
    /// A personal access token was refused.
    PersonalTokenRefused {
        /// The id of its session and its user, if it is good for something else.
        token: Option<(SessionId, UserKey)>,
        /// Why, for the operator; the client learns less.
        why: TokenRefusal,
    },
    /// A token that was presented as an `[[issuer]]`'s was refused.
    IssuedRefused {
        /// The issuer's name.
        issuer: Arc<str>,
        /// Why, for the operator; the client learns less.
        why: IssuedRefusal,
    },
    /// A token that an `[[issuer]]` issued was taken back: it alone, or where it has no id all of its user's from there.
    IssuedEnded {
        /// The issuer's name.
        issuer: Arc<str>,
        /// Whose token it was.
        user: UserKey,
    },
    /// Somebody answered a letter about an incident.
    IncidentAnswered {
        /// Whom the incident concerned.
        user: UserKey,
        /// The name of the detector that found it.
        detector: Arc<str>,
        /// Was it them?
        was_me: bool,
        /// How many sessions were ended because it was not.
        ended: u64,
    },
    /// The directory has another password for a user: a session that began with the one before has ended, or they have changed it
    /// at the gateway.
    PasswordChanged {
        /// Whose.
        user: UserKey,
        /// Did they change it at the gateway?
        is_own: bool,
    },
    /// What a client asked for is not there, by the routes or by the service.
    NotFound {
        /// The hash of the canonical path.
        path: Digest,
    },
    /// A session's credential was used outside what `tokens.bind` ties it to, and refused.
    OutsideBinding {
        /// Which session.
        session: SessionId,
        /// Its user.
        user: UserKey,
    },
    /// What a user has as second factors changed, or a recovery code was used.
    FactorChanged {
        /// Whose.
        user: UserKey,
        /// How.
        change: FactorEvent,
    },
    /// Browsers of a user's are known no more, because they said so.
    DevicesForgotten {
        /// Whose.
        user: UserKey,
        /// Was it all of them, or one?
        all: bool,
    },
    /// A second factor did not help.
    FactorRefused {
        /// Whose it was to be.
        user: UserKey,
        /// Why, for the operator; the client learns less.
        why: FactorRefusal,
    },
    /// Somebody asked for a code by mail.
    MailedCode {
        /// Whose it is.
        user: UserKey,
        /// What became of it.
        what: MailedCodeEvent,
    },
    /// Something became of a link that is mailed to let somebody in.
    MailedLink {
        /// The name given, folded.
        account: Arc<str>,
        /// Whose it is, where that is known. No client learns it.
        user: Option<UserKey>,
        /// What.
        what: MailedLinkEvent,
    },
    /// Somebody is blocked from now on.
    Blocked(Arc<Block>),
    /// A block was lifted before its end, by an operator.
    BlockLifted(Arc<Block>),
    /// A request was refused.
    Refused {
        /// Why.
        refusal: Refusal,
        /// Whose credential was good, and did not help.
        user: Option<UserKey>,
    },
}

impl EventKind {
    /// The session and the user, if somebody signed in.
    pub const fn sign_in(&self) -> Option<(&SessionId, &UserKey)> {
        match self {
            Self::SignedIn { session, user, .. }
            | Self::SignInObserved { session: Some(session), user: Some(user), .. } => {
                Some((session, user))
            }
            _ => None,
        }
    }

    /// The user, if a session began.
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
    /// The password is another.
    WrongPassword,
    /// The user is there and may not sign in.
    Inactive,
    /// The stored password can never match (Django's `!`, a hasher that is not allowed, a malformed row).
    UnusablePassword,
    /// The password was right, and the service asks this user for a second factor, which the gateway does not.
    SecondFactorRequired,
    /// Too many failures before; the password was not looked at.
    LockedOut,
    /// The service refused it at a path that is watched.
    RefusedByService,
}

/// When a session of a service's own was adopted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Adoption {
    /// A request brought it, and it was not known.
    FirstUse,
    /// An answer of the service's set it: somebody signed in there.
    Answer,
    /// An answer set another one of the same user's, and the session goes on.
    Rotated,
}

/// The three ways in which a refresh token gives new tokens.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Refresh {
    /// It was spent, and has a successor.
    Rotated,
    /// It was spent moments ago, and its caller got the same successor.
    ReplayedInGrace,
    /// It stays good (`rotation = "none"`).
    Kept,
}

/// Why a refresh token was refused, other than reuse.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RefreshRefusal {
    /// Its `exp` has passed.
    Expired,
    /// It does not verify, or the store has never seen it.
    Unknown,
    /// Its session is over.
    SessionEnded,
}

/// Why a session ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum EndReason {
    /// `POST /logout`.
    SignedOut,
    /// `POST /logout/all`.
    SignedOutEverywhere,
    /// Its user ended it from another one (`POST /account/sessions`).
    Account,
    /// Its user has changed the password from another one (`POST /account/password`).
    PasswordChanged,
    /// The same browser signed in again.
    Replaced,
    /// The service signed somebody else in, in the same browser.
    Superseded,
    /// A spent refresh token came back.
    RefreshReused,
    /// A detector's action.
    Detected,
    /// An operator's command.
    Operator,
    /// A personal access token was revoked.
    Revoked,
    /// The user said of an incident that it was not them.
    NotMe,
    /// The directory says: password changed, inactive or gone.
    DirectoryChanged,
    /// Idle or absolute timeout.
    Expired,
}

impl SignInFailure {
    /// Every one.
    pub const ALL: &'static [Self] = &[
        Self::UnknownUser,
        Self::WrongPassword,
        Self::Inactive,
        Self::UnusablePassword,
        Self::SecondFactorRequired,
        Self::LockedOut,
        Self::RefusedByService,
    ];

    /// Stable name for metrics and the audit trail.
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
    /// Every one.
    pub const ALL: &'static [Self] = &[Self::FirstUse, Self::Answer, Self::Rotated];

    /// Stable name for metrics and the audit trail.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FirstUse => "first_use",
            Self::Answer => "answer",
            Self::Rotated => "rotated",
        }
    }
}

impl Refresh {
    /// Every one.
    pub const ALL: &'static [Self] = &[Self::Rotated, Self::ReplayedInGrace, Self::Kept];

    /// Stable name for metrics and the audit trail.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rotated => "rotated",
            Self::ReplayedInGrace => "replayed_in_grace",
            Self::Kept => "kept",
        }
    }
}

impl RefreshRefusal {
    /// Every one.
    pub const ALL: &'static [Self] = &[Self::Expired, Self::Unknown, Self::SessionEnded];

    /// Stable name for metrics and the audit trail.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Unknown => "unknown",
            Self::SessionEnded => "session_ended",
        }
    }
}

impl EndReason {
    /// Every one.
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

    /// Stable name for metrics, the audit trail and the store.
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
