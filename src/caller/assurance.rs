//! How a user proved who they are, and when.
//!
//! A session carries this from its beginning to its end: it is in the session's access tokens (`amr`, `auth_time`) and in `GET
//! /session`, and its methods are in `X-Auth-Methods`. Only another proof by the user raises it; in particular, a refresh does
//! not. The gateway claims only what it saw itself: a session that a service began says `service` and no time.

use std::fmt;

use crate::clock::Timestamp;

/// An authentication method, by its name in RFC 8176 section 2. The names of [`Self::Service`], [`Self::PersonalToken`] and
/// [`Self::Mail`] are the gateway's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuthMethod {
    /// A password.
    Password,
    /// A one-time password.
    OneTimePassword,
    /// Proof of possession of a key in hardware.
    HardwareKey,
    /// Proof of possession of a key in software.
    SoftwareKey,
    /// User presence: the user touched the authenticator.
    UserPresence,
    /// Several factors, in addition to the name of each.
    MultipleFactors,
    /// A service signed the user in, by whatever method it uses.
    Service,
    /// No user was involved: a program presented a personal access token.
    PersonalToken,
    /// A mailed code. It stands in for a second factor where the operator allows that, but is not one of NIST SP 800-63B
    /// (section 5.1.3.1): neither [`Self::MultipleFactors`] nor [`SEVERAL_FACTORS`] comes with it.
    Mail,
}

/// The authentication context class of several factors, after NIST SP 800-63B's second level.
pub const SEVERAL_FACTORS: &str = "aal2";

/// The assurance level of a session, after the authentication assurance levels of NIST SP 800-63B.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum AssuranceLevel {
    /// One factor.
    One,
    /// Several factors.
    Two,
}

/// A set of authentication methods.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct AuthMethods(u16);

/// The methods by which a user was authenticated, and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Assurance {
    /// The methods; empty if they are unknown.
    pub methods: AuthMethods,
    /// The time, in whole seconds; `None` if it is unknown.
    pub auth_time: Option<Timestamp>,
}

impl AuthMethod {
    /// All methods, in the order in which they are written.
    pub const ALL: [Self; 9] = [
        Self::Password,
        Self::OneTimePassword,
        Self::HardwareKey,
        Self::SoftwareKey,
        Self::UserPresence,
        Self::MultipleFactors,
        Self::Service,
        Self::PersonalToken,
        Self::Mail,
    ];

    /// Returns the method's name in `amr`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Password => "pwd",
            Self::OneTimePassword => "otp",
            Self::HardwareKey => "hwk",
            Self::SoftwareKey => "swk",
            Self::UserPresence => "user",
            Self::MultipleFactors => "mfa",
            Self::Service => "service",
            Self::PersonalToken => "pat",
            Self::Mail => "mail",
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u8
    }
}

impl AssuranceLevel {
    /// All levels.
    pub const ALL: &'static [Self] = &[Self::One, Self::Two];

    /// Returns the stable name for metrics, the audit trail and the outbox.
    pub const fn name(self) -> &'static str {
        match self {
            Self::One => "aal1",
            Self::Two => SEVERAL_FACTORS,
        }
    }
}

impl AuthMethods {
    /// Returns the set of this method alone.
    pub const fn only(method: AuthMethod) -> Self {
        Self(method.bit())
    }

    /// Returns this set with `method` added.
    #[must_use]
    pub const fn and(self, method: AuthMethod) -> Self {
        Self(self.0 | method.bit())
    }

    /// Whether the method is in the set.
    pub const fn has(self, method: AuthMethod) -> bool {
        self.0 & method.bit() != 0
    }

    /// Whether the set is empty, so that no method is known.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns the names of the methods.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        AuthMethod::ALL.into_iter().filter(move |method| self.has(*method)).map(AuthMethod::name)
    }

    /// Parses what [`fmt::Display`] wrote. A name that this version does not know is left out, so the result proves less.
    pub fn read(text: &str) -> Self {
        let named = |name: &str| AuthMethod::ALL.into_iter().find(|method| method.name() == name);
        text.split(' ').filter_map(named).fold(Self::default(), Self::and)
    }
}

impl fmt::Display for AuthMethods {
    /// Writes the names, separated by spaces.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.names().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}

impl fmt::Debug for AuthMethods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

impl Assurance {
    /// The assurance of a session that a service began: neither the methods nor the time are known.
    pub const BY_SERVICE: Self =
        Self { methods: AuthMethods::only(AuthMethod::Service), auth_time: None };

    /// The assurance of a personal access token: a program presented it, and no user proved anything at any time.
    pub const BY_TOKEN: Self =
        Self { methods: AuthMethods::only(AuthMethod::PersonalToken), auth_time: None };

    /// Returns the authentication context class, as tokens (`acr`) and challenges (RFC 9470) name it: [`SEVERAL_FACTORS`], or
    /// `None` for no particular class.
    pub const fn acr(self) -> Option<&'static str> {
        if self.methods.has(AuthMethod::MultipleFactors) { Some(SEVERAL_FACTORS) } else { None }
    }

    /// Returns the level; `None` where the gateway saw no proof by the user, but relied on a service or a program's token.
    pub const fn level(self) -> Option<AssuranceLevel> {
        if self.acr().is_some() {
            return Some(AssuranceLevel::Two);
        }
        let no_proof = AuthMethods::only(AuthMethod::Service).and(AuthMethod::PersonalToken);
        if self.methods.0 & !no_proof.0 == 0 { None } else { Some(AssuranceLevel::One) }
    }

    /// Returns the assurance of a user who has just been authenticated by these methods.
    pub const fn now(methods: AuthMethods, at: Timestamp) -> Self {
        Self { methods, auth_time: Some(Timestamp::from_secs(at.as_secs())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_read_back_as_it_was_written() {
        for bits in 0_u16..1 << AuthMethod::ALL.len() {
            let methods = AuthMethod::ALL
                .into_iter()
                .filter(|method| bits & method.bit() != 0)
                .fold(AuthMethods::default(), AuthMethods::and);
            assert_eq!(AuthMethods::read(&methods.to_string()), methods, "{methods:?}");
            assert_eq!(methods.is_empty(), bits == 0);
        }
    }

    #[test]
    fn names_are_those_of_rfc_8176_in_one_order() {
        let both = AuthMethods::only(AuthMethod::OneTimePassword).and(AuthMethod::Password);
        assert_eq!(both.to_string(), "pwd otp");
        let all = AuthMethod::ALL.into_iter().fold(AuthMethods::default(), AuthMethods::and);
        assert_eq!(all.to_string(), "pwd otp hwk swk user mfa service pat mail");
    }

    #[test]
    fn an_unknown_name_proves_nothing() {
        assert_eq!(AuthMethods::read("face pwd iris").to_string(), "pwd");
        for nothing in ["", " ", "PWD", "pwd,otp", "pwd\n"] {
            assert!(AuthMethods::read(nothing).is_empty(), "{nothing:?}");
        }
    }

    #[test]
    fn several_factors_are_a_class_of_their_own() {
        let one = AuthMethods::only(AuthMethod::OneTimePassword);
        for (methods, acr) in [
            (one, None),
            (one.and(AuthMethod::MultipleFactors), Some("aal2")),
            (AuthMethods::default(), None),
        ] {
            assert_eq!(Assurance { methods, auth_time: None }.acr(), acr, "{methods:?}");
        }
        assert_eq!(Assurance::BY_SERVICE.acr(), None);
    }

    #[test]
    fn the_level_is_that_of_the_context_class_and_unknown_where_nobody_proved_anything() {
        use AssuranceLevel::{One, Two};
        assert!(One < Two);
        for (methods, level) in [
            ("", None),
            ("service", None),
            ("pat", None),
            ("pwd", Some(One)),
            ("otp", Some(One)),
            ("pwd service", Some(One)),
            ("pwd mail", Some(One)),
            ("pwd otp mfa", Some(Two)),
            ("hwk user mfa", Some(Two)),
            ("otp mfa service", Some(Two)),
        ] {
            let assurance = Assurance { methods: AuthMethods::read(methods), auth_time: None };
            assert_eq!(assurance.level(), level, "{methods}");
            let is_several = assurance.acr().is_some();
            assert_eq!(is_several, level == Some(Two), "{methods}");
        }
    }

    #[test]
    fn the_time_has_whole_seconds() {
        let at = Timestamp::from_millis(1_795_422_879_999);
        let assurance = Assurance::now(AuthMethods::only(AuthMethod::Password), at);
        assert_eq!(assurance.auth_time, Some(Timestamp::from_secs(1_795_422_879)));
    }
}
