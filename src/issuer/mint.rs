//! Mints tokens under an issuer's key, for the alias that stands in for the service's own sign-in.
//!
//! The service's code accepts them, and so do front ends that decode them. They have what the originals lack: `exp`, `iat`,
//! `jti`, and `sid`, by which each is a credential of one session of the gateway and ends with it.

use crate::caller::{SessionId, UserKey};
use crate::clock::Timestamp;
use crate::config::{IssuerKind, IssuerSettings};
use crate::context::RequestContext;
use crate::django::jws::NotAccepted;
use crate::django::simplejwt::{
    NewHandMade, NewToken, TokenType, mint_hand_made, mint_sliding, slide,
};
use crate::issuer::credential::Credential;
use crate::jose::{SigningKey, VerifyingKey};
use crate::refusal::Refusal;
use crate::secret::{Secret, random_id};
use crate::session::{Mint, MintTokens};
use crate::store::Session;

use super::{IssuerKeyError, Issuers, PresentedCredential, key};

/// The keys under which tokens can be minted, by the index of their issuer.
pub(crate) struct Mints(Vec<Option<MintForm>>);

struct MintForm {
    /// The directory whose ids the claim holds.
    directory: String,
    key: SigningKey,
    claim: String,
    kind: MintKind,
}

enum MintKind {
    HandMade,
    /// SimpleJWT's sliding tokens, with `aud` and `iss`, and the key that verifies them.
    Sliding {
        audience: Option<String>,
        issuer: Option<String>,
        verifying: VerifyingKey,
    },
}

impl Mints {
    /// Reads the keys of the issuers.
    pub(crate) fn open(settings: &[IssuerSettings]) -> Result<Self, IssuerKeyError> {
        let one = |settings: &IssuerSettings| {
            let (signature, claim) = match &settings.kind {
                IssuerKind::Jwt { signature, claim, .. } => (signature, claim),
                IssuerKind::SimpleJwt(kind) if kind.token_types.contains(&TokenType::Sliding) => {
                    (&kind.signature, &kind.user_id_claim)
                }
                _ => return Ok(None),
            };
            let Some(signing) = key::signing(settings, signature)? else { return Ok(None) };
            let kind = match &settings.kind {
                IssuerKind::SimpleJwt(kind) => MintKind::Sliding {
                    audience: kind.audience.first().cloned(),
                    issuer: kind.issuer.clone(),
                    verifying: key::read(settings, signature)?,
                },
                _ => MintKind::HandMade,
            };
            let (directory, claim) = (settings.directory.clone(), claim.clone());
            Ok(Some(MintForm { directory, key: signing, claim, kind }))
        };
        settings.iter().map(one).collect::<Result<_, _>>().map(Self)
    }
}

impl MintTokens for Mints {
    fn can_mint(&self, mint: &Mint, user: &UserKey) -> Result<(), Refusal> {
        let one = self.0.get(mint.issuer).and_then(Option::as_ref).ok_or(Refusal::Internal)?;
        if *one.directory == *user.directory { Ok(()) } else { Err(Refusal::OtherDirectory) }
    }

    fn mint(&self, mint: &Mint, session: &Session, at: Timestamp) -> Result<Secret, Refusal> {
        let one = self.0.get(mint.issuer).and_then(Option::as_ref).ok_or(Refusal::Internal)?;
        let token_id = random_id().map_err(|_| Refusal::Internal)?;
        let identity = session.identity.load();
        let (user, expires_at) =
            (&*identity.key.id, at.plus(mint.lifetime).min(session.expires_at));
        let sid = Some(SessionId::as_str(&session.id));
        let minted = match &one.kind {
            MintKind::HandMade => {
                let new = NewHandMade {
                    claim: &one.claim,
                    user,
                    name: &identity.name,
                    expires_at,
                    issued_at: at,
                    token_id: &token_id,
                    session: sid,
                };
                mint_hand_made(&one.key, &new)
            }
            MintKind::Sliding { audience, issuer, .. } => {
                let new = NewToken {
                    token_type: TokenType::Sliding,
                    expires_at,
                    issued_at: at,
                    token_id: &token_id,
                    user_id_claim: &one.claim,
                    user,
                    password: None,
                    audience: audience.as_deref(),
                    issuer: issuer.as_deref(),
                };
                let until = at.plus(mint.refresh_lifetime).min(session.expires_at);
                mint_sliding(&one.key, &new, until, sid, [])
            }
        };
        minted.map_err(|error| {
            tracing::error!(%error, "a token under an issuer's key could not be made");
            Refusal::Internal
        })
    }
}

impl Issuers {
    /// Returns the same sliding token with a later `exp`, as its service refreshes one, whether the service made it or the
    /// gateway. The token must be valid, and so must its session or its user.
    ///
    /// # Errors
    /// A [`Refusal`] of the token, or one that says what could not be asked.
    pub async fn slide(
        &self,
        mint: &Mint,
        token: &str,
        context: &RequestContext<'_>,
    ) -> Result<Secret, Refusal> {
        let RequestContext { at, client, events, .. } = *context;
        let one =
            self.mints.0.get(mint.issuer).and_then(Option::as_ref).ok_or(Refusal::Internal)?;
        let MintKind::Sliding { verifying, .. } = &one.kind else { return Err(Refusal::Internal) };
        let shown = PresentedCredential::alone(token, std::slice::from_ref(&mint.issuer));
        let found = self.issued(&shown, Some(client), at, events).await;
        let credential = found.map_err(|(refusal, _)| refusal)?.used(client, at, events);
        let until = at.plus(mint.lifetime);
        let until = match &credential {
            Credential::Session(session, _) => until.min(session.expires_at),
            Credential::Issued(..) => until,
        };
        slide(&one.key, verifying, token, until, at).map_err(|why| match why {
            NotAccepted::Expired => Refusal::TokenExpired,
            _ => Refusal::TokenNotValid,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::caller::IssuerName;
    use crate::config::{
        CredentialPlace, CredentialSelection, IssuerKey, IssuerSignature, Refusals,
    };
    use crate::context::Events;
    use crate::django::jws;
    use crate::event::{EndReason, EventKind};
    use crate::issuer::testkit::Kit;
    use crate::jose::Algorithm;
    use crate::session::testkit::{CLIENT, NOW, context, identity};
    use crate::session::{Grants, SignIn};
    use crate::store::SessionSelection;

    const SECRET: &str = "the service's own secret, which is long enough";
    const MINT: Mint =
        Mint { issuer: 0, lifetime: Duration::from_secs(600), refresh_lifetime: Duration::ZERO };

    fn later(secs: u64) -> Timestamp {
        NOW.plus(Duration::from_secs(secs))
    }

    /// A kit in which kim is user 7 and the service's tokens are in the cookie `jwt-auth`.
    fn kit() -> Kit {
        use std::os::unix::fs::OpenOptionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        let mut options = std::fs::OpenOptions::new();
        let mut key = options.write(true).create(true).mode(0o600).open(&file).unwrap();
        std::io::Write::write_all(&mut key, SECRET.as_bytes()).unwrap();
        let signature = IssuerSignature {
            algorithm: Algorithm::Hs256,
            key: IssuerKey::Private(file),
            leeway: Duration::ZERO,
            numeric_ids: false,
            danger_weak_key: false,
        };
        let (claim, max_age) = ("id".into(), Duration::from_secs(86_400));
        let settings = IssuerSettings {
            name: "by-hand".into(),
            directory: "django".into(),
            place: CredentialPlace::Header { name: "jwt-auth".into(), schemes: Vec::new() },
            cookie_domain: None,
            upstreams: Vec::new(),
            danger_mint: false,
            forward: None,
            accept_until: None,
            kind: IssuerKind::Jwt { signature, claim, max_age, refusals: Refusals::Gateway },
        };
        Kit::with(|parts| parts.issuers = vec![settings])
    }

    async fn token(kit: &Kit, mint: Mint) -> (Secret, SessionId) {
        let request = SignIn {
            is_typed: false,
            username: "kim",
            password: &Secret::new("right"),
            grants: Grants { tokens: false, cookie: false, issued: Some(mint) },
            device: "",
            otp: None,
        };
        let events = Events::default();
        let signed_in = kit.sessions.sign_in(request, &context(&events)).await.unwrap();
        assert!(signed_in.tokens.is_none() && signed_in.cookie.is_none());
        (signed_in.issued.unwrap(), signed_in.session.id.clone())
    }

    async fn present(kit: &Kit, token: &Secret, at: Timestamp) -> Result<SessionId, &'static str> {
        let mut headers = http::HeaderMap::new();
        headers.append("jwt-auth", token.expose().parse().unwrap());
        let shown = kit
            .issuers
            .registry
            .readings
            .shown(&headers, false, &CredentialSelection::All)
            .unwrap();
        let events = Events::default();
        match kit.issuers.issued(&shown[0], Some(CLIENT), at, &events).await {
            Ok(found) => {
                let known = found.used(CLIENT, at, &events).known();
                assert_eq!(known.proof, crate::caller::Proof::Issued(IssuerName::new("by-hand")));
                Ok(known.session.unwrap())
            }
            Err(_) => match &events.take()[..] {
                [EventKind::IssuedRefused { why, .. }] => Err(why.name()),
                other => panic!("{other:?}"),
            },
        }
    }

    #[tokio::test]
    async fn a_minted_token_is_its_sessions_until_either_ends() {
        let kit = kit();
        let (one, session) = token(&kit, MINT).await;
        let (two, other) = token(&kit, MINT).await;
        for temperature in ["cold", "warm"] {
            assert_eq!(present(&kit, &one, later(1)).await, Ok(session.clone()), "{temperature}");
        }
        // The session of a token is found without the directory.
        kit.directory.is_down.store(true, std::sync::atomic::Ordering::SeqCst);
        assert_eq!(present(&kit, &two, later(1)).await, Ok(other.clone()));
        kit.directory.is_down.store(false, std::sync::atomic::Ordering::SeqCst);
        let which = SessionSelection::Session(session);
        kit.sessions.end(&which, EndReason::SignedOut, later(2), &Events::default()).await.unwrap();
        for _ in 0..2 {
            assert_eq!(present(&kit, &one, later(2)).await, Err("ended"));
        }
        assert_eq!(present(&kit, &two, later(599)).await, Ok(other));
        assert_eq!(present(&kit, &two, later(600)).await, Err("expired"));
    }

    #[tokio::test]
    async fn a_token_lives_as_long_as_its_session_and_that_as_long_as_it() {
        let kit = kit();
        let month = Duration::from_secs(30 * 86_400);
        let (token, session) = token(&kit, Mint { lifetime: 2 * month, ..MINT }).await;
        let idle_for_weeks = NOW.plus(month).minus(Duration::from_secs(1));
        assert_eq!(present(&kit, &token, idle_for_weeks).await, Ok(session));
        let claims: serde_json::Value = {
            use base64::Engine as _;
            let payload = token.expose().split('.').nth(1).unwrap();
            let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
            serde_json::from_slice(&engine.decode(payload).unwrap()).unwrap()
        };
        assert_eq!(claims["exp"], json!(NOW.plus(month).as_secs()), "the session's end");
        assert_eq!((&claims["id"], &claims["username"]), (&json!(7), &json!("kim")));
        assert!(claims["jti"].is_string() && claims["iat"].is_u64());
    }

    #[tokio::test]
    async fn a_session_that_is_not_there_or_anothers_is_never_overlooked() {
        let kit = kit();
        let (_, session) = token(&kit, MINT).await;
        let key = SigningKey::read(Algorithm::Hs256, SECRET.as_bytes()).unwrap();
        for (id, sid, why) in [
            (json!(7), json!("gone"), "ended"),
            (json!(7), json!(""), "ended"),
            (json!(7), json!(null), "bad_claim"),
            (json!(7), json!(1), "bad_claim"),
            (json!(8), json!(session.as_str()), "bad_claim"),
        ] {
            let claims = [("id", id.clone()), ("sid", sid.clone())];
            let forged = jws::sign_for_tests(&key, &claims);
            assert_eq!(present(&kit, &forged, NOW).await, Err(why), "{id} {sid}");
        }
    }

    #[tokio::test]
    async fn no_token_is_made_for_a_user_of_another_directory() {
        let kit = kit();
        let mints = &kit.issuers.mints;
        assert_eq!(mints.can_mint(&MINT, &UserKey::new("file", "7")), Err(Refusal::OtherDirectory));
        assert_eq!(mints.can_mint(&MINT, &identity("7").key), Ok(()));
        let none = Mint { issuer: 1, ..MINT };
        assert_eq!(mints.can_mint(&none, &identity("7").key), Err(Refusal::Internal));
    }
}
