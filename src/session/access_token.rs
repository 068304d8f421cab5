//! Access tokens: issued together with a session and checked without I/O.
//!
//! An access token is a JWT with `typ: at+jwt` and `token_type: access`, so that neither SimpleJWT nor the gateway can take it
//! for another kind of token. It names its session (`sid`) and is worth nothing without that session. This module decides that
//! a token was signed by the gateway, is well formed and has not expired; whether the session is live is checked separately at
//! every use.

use std::time::Duration;

use super::claims::{AccessClaims, NamedClaims};
use super::jwt::{ACCESS, CLOCK_SKEW_SECS, Invalid, REFRESH, Unverified};
use super::keys::KeyRing;
use crate::caller::SessionId;
use crate::clock::Timestamp;
use crate::config::Tokens;
use crate::refusal::Refusal;
use crate::secret::{Secret, random_id};
use crate::store::Session;

/// What a verified access token states: its session, its user and when it expires.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct VerifiedAccessToken {
    pub(super) session: SessionId,
    pub(super) user_id: String,
    pub(super) expires_at: Timestamp,
}

/// Issues a new access token for a session, and returns it with its lifetime.
pub(super) fn issue(
    keys: &KeyRing,
    settings: &Tokens,
    session: &Session,
    at: Timestamp,
) -> Result<(Secret, Duration), Refusal> {
    let identity = session.identity.load();
    let exp = at.plus(settings.access_lifetime).min(session.expires_at);
    let claims = AccessClaims {
        token_type: "access".into(),
        exp: exp.as_secs(),
        iat: at.as_secs(),
        jti: random_id().map_err(|_| Refusal::Internal)?,
        user_id: identity.key.id.to_string(),
        sid: session.id.as_str().into(),
        sub: identity.key.to_string(),
        iss: settings.issuer.clone(),
        aud: settings.audience.clone(),
        amr: session.assurance.methods.names().map(Into::into).collect(),
        auth_time: session.assurance.auth_time.map_or(0, Timestamp::as_secs),
        acr: session.assurance.acr().unwrap_or_default().into(),
    };
    let more = settings.claims.of(&identity).collect();
    let named = NamedClaims { user_id_claim: &settings.user_id_claim, claims: &claims, more };
    let token = keys.sign(ACCESS, &named).map_err(|_| Refusal::Internal)?;
    Ok((Secret::new(token), Duration::from_secs(claims.exp.saturating_sub(claims.iat))))
}

/// Checks everything about a token except its session.
pub(super) fn verify(
    keys: &KeyRing,
    settings: &Tokens,
    token: &str,
    at: Timestamp,
) -> Result<VerifiedAccessToken, Refusal> {
    let token = Unverified::read(token).map_err(refused)?;
    match token.header.typ.as_str() {
        ACCESS => {}
        REFRESH => return Err(Refusal::TokenWrongType),
        _ => return Err(Refusal::TokenNotValid),
    }
    let payload = keys.verified(&token, at).map_err(refused)?;
    let claims = AccessClaims::read_beside(&payload, &settings.user_id_claim, &settings.claims)
        .map_err(refused)?;
    let sub_is_the_id = settings.user_id_claim == "sub";
    let whole = !claims.jti.is_empty()
        && !claims.user_id.is_empty()
        && !claims.sid.is_empty()
        && claims.sub.is_empty() == sub_is_the_id
        && claims.exp != 0
        && claims.iat != 0;
    if !whole || claims.iss != settings.issuer || claims.aud != settings.audience {
        return Err(Refusal::TokenNotValid);
    }
    if claims.token_type != "access" {
        return Err(Refusal::TokenWrongType);
    }
    if claims.iat > at.as_secs().saturating_add(CLOCK_SKEW_SECS) {
        return Err(Refusal::TokenNotValid);
    }
    let expires_at = Timestamp::from_secs(claims.exp);
    if at >= expires_at {
        return Err(Refusal::TokenExpired);
    }
    Ok(VerifiedAccessToken {
        session: SessionId::new(&claims.sid),
        user_id: claims.user_id,
        expires_at,
    })
}

const fn refused(_: Invalid) -> Refusal {
    Refusal::TokenNotValid
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::caller::Assurance;
    use crate::session::testkit::{NOW, new_session, session, tokens};
    use crate::store::NewSession;

    struct Kit {
        keys: KeyRing,
        settings: Tokens,
        _keep: tempfile::TempDir,
    }

    fn kit() -> Kit {
        let keep = tempfile::tempdir().unwrap();
        let settings = tokens(keep.path());
        Kit { keys: KeyRing::open(&settings, NOW).unwrap(), settings, _keep: keep }
    }

    impl Kit {
        fn issue(&self) -> Secret {
            issue(&self.keys, &self.settings, &session("s1", "7"), NOW).unwrap().0
        }

        fn verify(&self, token: &str, at: Timestamp) -> Result<VerifiedAccessToken, Refusal> {
            verify(&self.keys, &self.settings, token, at)
        }

        fn good(&self) -> Value {
            let now = NOW.as_secs();
            json!({
                "token_type": "access", "exp": now + 300, "iat": now, "jti": "j", "user_id": "7", "sid": "s1",
                "sub": "django/7", "iss": self.settings.issuer, "aud": self.settings.audience,
            })
        }
    }

    #[test]
    fn an_issued_token_verifies_until_the_second_it_names() {
        let kit = kit();
        let token = kit.issue();
        let end = NOW.plus(kit.settings.access_lifetime);
        let verified = kit.verify(token.expose(), NOW).unwrap();
        assert_eq!((verified.session.as_str(), verified.user_id.as_str()), ("s1", "7"));
        assert_eq!(verified.expires_at, end);
        assert!(kit.verify(token.expose(), end.minus(Duration::from_millis(1))).is_ok());
        assert_eq!(kit.verify(token.expose(), end), Err(Refusal::TokenExpired));
    }

    #[test]
    fn it_says_how_and_when_its_user_was_authenticated() {
        let kit = kit();
        let payload_of = |session: &Session, at: Timestamp| -> Value {
            let (token, _) = issue(&kit.keys, &kit.settings, session, at).unwrap();
            assert!(kit.verify(token.expose(), at).is_ok());
            let token = Unverified::read(token.expose()).unwrap();
            serde_json::from_slice(&kit.keys.verified(&token, at).unwrap()).unwrap()
        };
        let mine = session("s1", "7");
        for at in [NOW, NOW.plus(Duration::from_secs(3600))] {
            let claims = payload_of(&mine, at);
            assert_eq!(claims["amr"], json!(["pwd"]), "a later token says the same");
            assert_eq!(claims["auth_time"], json!(NOW.as_secs()));
        }
        let theirs = new_session("s2", "7");
        let theirs = Session::begin(&NewSession { assurance: Assurance::BY_SERVICE, ..theirs });
        let claims = payload_of(&theirs, NOW);
        assert_eq!(claims["amr"], json!(["service"]));
        assert_eq!(claims.get("auth_time"), None, "nobody here knows");
    }

    #[test]
    fn further_claims_are_their_users_and_prove_nothing() {
        let mut kit = kit();
        let template = crate::config::Template::for_test("{user.name}");
        kit.settings.claims = crate::config::Members::new(vec![("username".into(), template)]);
        let token = kit.issue();
        assert!(kit.verify(token.expose(), NOW).is_ok());
        let payload = kit.keys.verified(&Unverified::read(token.expose()).unwrap(), NOW).unwrap();
        let claims: Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(claims["username"], "user7");
        kit.settings.claims = crate::config::Members::default();
        assert_eq!(kit.verify(token.expose(), NOW), Err(Refusal::TokenNotValid));
    }

    #[test]
    fn a_token_never_outlives_its_session() {
        let kit = kit();
        let session = session("s1", "7");
        let late = session.expires_at.minus(Duration::from_secs(10));
        let (token, good_for) = issue(&kit.keys, &kit.settings, &session, late).unwrap();
        assert_eq!(good_for, Duration::from_secs(10));
        assert!(kit.verify(token.expose(), session.expires_at).is_err());
    }

    #[test]
    fn every_claim_is_required_and_must_be_what_it_should() {
        let kit = kit();
        let signed = |claims: &Value| kit.keys.sign(ACCESS, claims).unwrap();
        assert!(kit.verify(&signed(&kit.good()), NOW).is_ok());
        let names: Vec<String> = kit.good().as_object().unwrap().keys().cloned().collect();
        for name in &names {
            let mut claims = kit.good();
            claims.as_object_mut().unwrap().remove(name);
            assert!(kit.verify(&signed(&claims), NOW).is_err(), "without {name}");
        }
        let now = NOW.as_secs();
        let table = [
            ("iss", json!("other"), Refusal::TokenNotValid),
            ("iss", json!(["doorwarden"]), Refusal::TokenNotValid),
            ("aud", json!("other"), Refusal::TokenNotValid),
            ("token_type", json!("refresh"), Refusal::TokenWrongType),
            ("exp", json!(now), Refusal::TokenExpired),
            ("exp", json!(now - 1), Refusal::TokenExpired),
            ("exp", json!(f64::from(u32::MAX)), Refusal::TokenNotValid),
            ("exp", json!("4294967295"), Refusal::TokenNotValid),
            ("iat", json!(now + CLOCK_SKEW_SECS + 1), Refusal::TokenNotValid),
            ("user_id", json!(7), Refusal::TokenNotValid),
            ("admin", json!(true), Refusal::TokenNotValid),
        ];
        for (name, value, refusal) in table {
            let mut claims = kit.good();
            claims[name] = value;
            assert_eq!(kit.verify(&signed(&claims), NOW), Err(refusal), "{claims}");
        }
        let mut ahead = kit.good();
        ahead["iat"] = json!(now + CLOCK_SKEW_SECS);
        assert!(kit.verify(&signed(&ahead), NOW).is_ok(), "another gateway's clock");
    }

    #[test]
    fn a_header_is_exactly_ours() {
        use base64::Engine;
        use base64::engine::general_purpose::URL_SAFE_NO_PAD;
        let kit = kit();
        let good = kit.issue();
        let (header, rest) = good.expose().split_once('.').unwrap();
        let header = String::from_utf8(URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
        // The reader refuses these on its own, so a correctly signed one would be refused as well.
        for (from, to) in [
            ("{", "{\"crit\":[\"exp\"],"),
            ("{", "{\"b64\":false,"),
            ("{", "{\"zip\":\"DEF\","),
            ("{", "{\"jku\":\"https://attacker.example/keys\","),
            ("{", "{\"jwk\":{},"),
            ("{", "{\"x5c\":[],"),
            ("{", "{\"enc\":\"A128GCM\","),
            ("{", "{\"alg\":\"ES256\","),
            ("{", "["),
        ] {
            let spoiled = URL_SAFE_NO_PAD.encode(header.replacen(from, to, 1));
            assert!(Unverified::read(&format!("{spoiled}.{rest}")).is_err(), "{to}");
        }
        for typ in ["JWT", "jwt", "AT+JWT", "application/at+jwt", ""] {
            let token = kit.keys.sign(typ, &kit.good()).unwrap();
            assert_eq!(kit.verify(&token, NOW), Err(Refusal::TokenNotValid), "{typ}");
        }
        let refresh = kit.keys.sign(REFRESH, &kit.good()).unwrap();
        assert_eq!(kit.verify(&refresh, NOW), Err(Refusal::TokenWrongType));
    }

    #[test]
    fn what_is_no_token_is_refused_before_anything_is_decoded() {
        let kit = kit();
        let good = kit.issue();
        let good = good.expose();
        let long = format!("{good}{}", "A".repeat(4096));
        for token in [
            "",
            ".",
            "..",
            "...",
            "a.b",
            "a.b.c",
            "a.b.c.d.e",
            &long,
            &format!("{good}."),
            &format!(" {good}"),
        ] {
            assert_eq!(kit.verify(token, NOW), Err(Refusal::TokenNotValid), "{token}");
        }
    }
}
