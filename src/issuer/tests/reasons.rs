//! Tests every reason for which an issuer refuses: its cause, its stable code, and the little that a client sees.

use std::collections::BTreeSet;

use super::*;

/// Signs any claims with the service's key.
fn saying(claims: &[(&str, Value)]) -> Secret {
    crate::django::jws::sign_for_tests(&signing(), claims)
}

fn signed_by(key: &SigningKey, token_type: TokenType) -> Secret {
    let new = NewToken {
        token_type,
        expires_at: NOW.plus(60 * MINUTE),
        issued_at: NOW,
        token_id: "jti",
        user_id_claim: "user_id",
        user: "7",
        password: None,
        audience: None,
        issuer: None,
    };
    mint(key, &new).unwrap()
}

/// A token with one fault, and the kit, place and time at which it is presented.
struct Case {
    kit: Kit,
    header: &'static str,
    token: Secret,
    at: Timestamp,
}

impl Case {
    fn bearer(token: Secret) -> Self {
        Self { kit: kit(|_| {}), header: "authorization", token, at: NOW }
    }

    fn with_issuers(token: Secret, change: impl FnOnce(&mut [IssuerSettings])) -> Self {
        Self { kit: kit(change), ..Self::bearer(token) }
    }
}

/// Returns a case for each reason that a token can be refused for.
async fn case_of(why: IssuedRefusal) -> Option<Case> {
    let good = || access("7", NOW, None);
    let exp = ("exp", json!(later(600).as_secs()));
    let jti = ("jti", json!("j"));
    let kind = ("token_type", json!("access"));
    let user = ("user_id", json!("7"));
    Some(match why {
        IssuedRefusal::Malformed => Case::bearer(Secret::new("a.b.c")),
        IssuedRefusal::BadAlgorithm => {
            let other = SigningKey::read(Algorithm::Hs384, SECRET.as_bytes()).unwrap();
            Case::bearer(signed_by(&other, TokenType::Access))
        }
        IssuedRefusal::BadSignature => {
            let other = SigningKey::read(Algorithm::Hs256, &[b'k'; 40]).unwrap();
            Case::bearer(signed_by(&other, TokenType::Access))
        }
        IssuedRefusal::BadClaim => Case::bearer(saying(&[("exp", json!("soon")), jti, kind, user])),
        IssuedRefusal::NotYetValid => Case::bearer(access("7", later(60), None)),
        IssuedRefusal::Expired => Case { at: later(3600), ..Case::bearer(good()) },
        IssuedRefusal::NoExpiry => Case::bearer(saying(&[jti, kind, user])),
        IssuedRefusal::NoTokenId => Case::bearer(saying(&[exp, kind, user])),
        IssuedRefusal::WrongType => Case::bearer(signed_by(&signing(), TokenType::Refresh)),
        IssuedRefusal::NoUser => Case::bearer(saying(&[exp, jti, kind])),
        IssuedRefusal::UnknownUser => Case::bearer(access("9", NOW, None)),
        IssuedRefusal::InactiveUser => {
            let case = Case::bearer(good());
            case.kit.directory.accounts.lock()[0].active = false;
            case
        }
        IssuedRefusal::PasswordChanged => {
            let print = password_print(&cheap("of before"));
            Case::with_issuers(access("7", NOW, Some(&print)), |issuers| {
                let IssuerKind::SimpleJwt(kind) = &mut issuers[0].kind else { panic!("it is one") };
                kind.check_revoke_token = true;
            })
        }
        IssuedRefusal::Ended => {
            let case = Case { at: later(1), ..Case::bearer(good()) };
            end_user(&case.kit, NOW).await;
            case
        }
        IssuedRefusal::TooOld => {
            let made = by_hand(&json!(7));
            let case = Case { at: later(600), header: "jwt-auth", ..Case::bearer(made.clone()) };
            assert_eq!(jwt_auth(&case.kit, &made, NOW).await, Ok(()));
            case
        }
        IssuedRefusal::NoLongerAccepted => {
            Case::with_issuers(good(), |issuers| issuers[0].accept_until = Some(NOW))
        }
        IssuedRefusal::Unavailable => {
            let case = Case::bearer(good());
            case.kit.directory.is_down.store(true, Ordering::SeqCst);
            case
        }
        // These reasons concern a service's tables, or a name and a password, and are tested with those kinds.
        IssuedRefusal::Blacklisted
        | IssuedRefusal::NotFound
        | IssuedRefusal::UnknownBackend
        | IssuedRefusal::BadCredentials
        | IssuedRefusal::SecondFactorRequired
        | IssuedRefusal::LockedOut
        | IssuedRefusal::Busy => return None,
    })
}

#[tokio::test]
async fn every_reason_is_told_by_its_code_and_hidden_from_the_client() {
    let mut codes = BTreeSet::new();
    for why in IssuedRefusal::ALL.iter().copied() {
        assert!(codes.insert(why.name()), "{why:?} has a code of its own");
        let Some(Case { kit, header, token, at }) = case_of(why).await else { continue };
        let value = match header {
            "jwt-auth" => token.expose().to_owned(),
            _ => format!("Bearer {}", token.expose()),
        };
        let client_learns = match why {
            IssuedRefusal::Unavailable => Refusal::DirectoryUnavailable,
            IssuedRefusal::Ended => Refusal::SessionEnded,
            IssuedRefusal::Expired => Refusal::TokenExpired,
            IssuedRefusal::WrongType => Refusal::TokenWrongType,
            _ => Refusal::TokenNotValid,
        };
        let refused = present(&kit, header, &value, at).await;
        assert_eq!(refused, (Err(client_learns), vec![why.name()]), "{why:?}");
    }
}
