//! Finds the credentials of issuers in a request, and the issuers that each may be from.
//!
//! A cookie of an issuer may have the name of the gateway's own. The values distinguish them: the gateway's are 43 characters
//! of base64url, and no service's session is; so a value of that form is never treated as an issuer's.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};

use super::IssuerKeyError;
use crate::config::{CredentialPlace, CredentialSelection, IssuerKind, IssuerSettings};
use crate::refusal::Refusal;
use crate::session::cookies::CookieNames;
use crate::wire::authorization::{self, AuthorizationContent};

/// All places in a request where credentials are read.
#[derive(Default)]
pub(crate) struct Readings {
    headers: Vec<TokenPlace>,
    cookies: Vec<(String, Vec<usize>)>,
}

/// A place in a request where a token can be, and the issuers that it can be from.
struct TokenPlace {
    header: HeaderName,
    scheme: Option<String>,
    issuers: Vec<usize>,
    /// Whether one of the issuers has keys that can be any word.
    takes_words: bool,
}

/// A credential in a request.
pub(crate) struct PresentedCredential<'a> {
    pub(crate) token: &'a str,
    /// The issuers that the credential may be from, in the order in which they are asked.
    pub(super) issuers: &'a [usize],
    /// The credentials that the route accepts; other issuers are not asked.
    pub(super) looks_at: &'a CredentialSelection,
}

impl<'a> PresentedCredential<'a> {
    /// Presents a credential to these issuers, wherever it was.
    pub(crate) const fn alone(token: &'a str, issuers: &'a [usize]) -> Self {
        Self { token, issuers, looks_at: &CredentialSelection::All }
    }

    /// Returns the issuers that are asked.
    pub(super) fn asked(&self) -> impl Iterator<Item = usize> + use<'_> {
        self.issuers.iter().copied().filter(|index| self.looks_at.issuer(*index))
    }
}

/// The cookies of a request that are credentials.
pub(crate) struct CredentialCookies<'a> {
    /// The gateway's own cookies.
    pub(crate) own: Vec<&'a str>,
    /// Access tokens of the gateway itself, in a cookie of an alias or of an issuer.
    pub(crate) tokens: Vec<&'a str>,
    /// The issuers' cookies, each with its name.
    pub(crate) issued: Vec<(&'a str, PresentedCredential<'a>)>,
}

/// The error for a place with a value that is not a token, or with two values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unreadable {
    /// The value is not a token. The issuer is the first that would be asked.
    NotAToken(usize),
    Repeated,
}

impl Readings {
    /// Records where the credentials of the issuer `index` are read.
    pub(super) fn add(
        &mut self,
        settings: &IssuerSettings,
        index: usize,
    ) -> Result<(), IssuerKeyError> {
        let (name, schemes) = match &settings.place {
            CredentialPlace::Header { name, schemes } => (name, schemes),
            CredentialPlace::Cookie(name) => {
                match self.cookies.iter_mut().find(|(other, _)| other == name) {
                    Some((_, issuers)) => issuers.push(index),
                    None => self.cookies.push((name.clone(), vec![index])),
                }
                return Ok(());
            }
        };
        let header = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| IssuerKeyError::no_header(settings))?;
        let takes_words =
            matches!(settings.kind, IssuerKind::DrfToken { .. } | IssuerKind::Knox { .. });
        let schemes: Vec<Option<String>> = match schemes.as_slice() {
            [] => vec![None],
            schemes => schemes.iter().cloned().map(Some).collect(),
        };
        for scheme in schemes {
            let same = |reading: &&mut TokenPlace| {
                reading.header == header
                    && match (&reading.scheme, &scheme) {
                        (Some(a), Some(b)) => a.eq_ignore_ascii_case(b),
                        (a, b) => a == b,
                    }
            };
            match self.headers.iter_mut().find(same) {
                Some(reading) => {
                    reading.issuers.push(index);
                    reading.takes_words |= takes_words;
                }
                None => self.headers.push(TokenPlace {
                    header: header.clone(),
                    scheme,
                    issuers: vec![index],
                    takes_words,
                }),
            }
        }
        Ok(())
    }

    /// Returns the cookies that are issuers' credentials, and the issuers that each can be from.
    pub(super) fn by_cookie(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.cookies.iter().map(|(name, issuers)| (name.as_str(), issuers.as_slice()))
    }

    /// Whether an issuer that the route accepts has its tokens in `Authorization: Bearer`.
    pub(crate) fn read_bearer(&self, looks_at: &CredentialSelection) -> bool {
        self.bearer().is_some_and(|reading| looks_at.any_of(&reading.issuers))
    }

    /// Whether this issuer's tokens are there.
    pub(super) fn is_bearer(&self, issuer: usize) -> bool {
        self.bearer().is_some_and(|reading| reading.issuers.contains(&issuer))
    }

    fn bearer(&self) -> Option<&TokenPlace> {
        self.headers.iter().find(|reading| {
            reading.header == AUTHORIZATION
                && reading.scheme.as_deref().is_some_and(|one| one.eq_ignore_ascii_case("bearer"))
        })
    }

    /// Whether the scheme in `Authorization` is one of an issuer that the route accepts.
    pub(crate) fn read_authorization(
        &self,
        headers: &HeaderMap,
        looks_at: &CredentialSelection,
    ) -> bool {
        self.headers
            .iter()
            .filter(|reading| reading.header == AUTHORIZATION)
            .filter(|reading| looks_at.any_of(&reading.issuers))
            .filter_map(|reading| reading.scheme.as_deref())
            .any(|scheme| authorization::is_of_scheme(headers, scheme))
    }

    /// Returns the tokens of a request, except the one in `Authorization` if that is the gateway's own.
    pub(crate) fn shown<'a>(
        &'a self,
        headers: &'a HeaderMap,
        has_own: bool,
        looks_at: &'a CredentialSelection,
    ) -> Result<Vec<PresentedCredential<'a>>, Unreadable> {
        let mut shown = Vec::new();
        for reading in self.headers.iter().filter(|one| looks_at.any_of(&one.issuers)) {
            if has_own && reading.header == AUTHORIZATION {
                continue;
            }
            let scheme = reading.scheme.as_deref();
            let held = match reading.takes_words {
                true => authorization::held_word(headers, &reading.header, scheme),
                false => authorization::held(headers, &reading.header, scheme),
            };
            match held {
                AuthorizationContent::Nothing => {}
                AuthorizationContent::Token(token) => {
                    shown.push(PresentedCredential { token, issuers: &reading.issuers, looks_at })
                }
                AuthorizationContent::NotAToken => {
                    let mut asked = reading.issuers.iter().filter(|one| looks_at.issuer(**one));
                    let first = asked.next().copied().unwrap_or_default();
                    return Err(Unreadable::NotAToken(first));
                }
                AuthorizationContent::Repeated => return Err(Unreadable::Repeated),
            }
        }
        Ok(shown)
    }

    /// Returns the cookies of a request that are credentials; `own` has the names of the gateway's.
    pub(crate) fn cookies<'a>(
        &'a self,
        own: &CookieNames,
        headers: &'a HeaderMap,
        looks_at: &'a CredentialSelection,
    ) -> Result<CredentialCookies<'a>, Refusal> {
        let ours = if looks_at.cookie() { own.values(headers)? } else { Vec::new() };
        let mut cookies = CredentialCookies { own: ours, tokens: Vec::new(), issued: Vec::new() };
        for (name, issuers) in self.cookies.iter().filter(|(_, all)| looks_at.any_of(all)) {
            let Some(value) = theirs(headers, name) else { continue };
            cookies.own.retain(|own| own.trim_matches('"') != value);
            cookies.issued.push((name, PresentedCredential { token: value, issuers, looks_at }));
        }
        let among = cookies.issued.iter().map(|(_, shown)| shown.token);
        let tokens = own.access_tokens(headers, among);
        cookies.issued.retain(|(_, shown)| !tokens.contains(&shown.token));
        if looks_at.cookie() {
            cookies.tokens = tokens;
        }
        Ok(cookies)
    }
}

/// Returns the value to check of a cookie: an empty text if it is not visible ASCII, which no service sets and no issuer
/// accepts.
fn theirs<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let value = CookieNames::theirs(headers, name)?;
    let is_text = value.iter().all(|byte| matches!(byte, b' '..=b'~'));
    Some(std::str::from_utf8(value).ok().filter(|_| is_text).unwrap_or_default())
}
