use std::time::Duration;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::jose::{Algorithm, random_key};

/// 2026-11-23T08:34:39Z
const NOW: Timestamp = Timestamp::from_secs(1_795_422_879);

const SECRET: &[u8] = b"dj4ng0-vector-key-one-(0123456789)-abcdefghijklmnopqr";

#[derive(Deserialize)]
struct Vectors {
    users: Vec<User>,
    tokens: Vec<Vector>,
}

#[derive(Deserialize)]
struct User {
    id: u64,
    password: String,
    is_active: bool,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    scheme: String,
    token_type: Option<String>,
    token: String,
    algorithm: String,
    key: String,
    audience: Option<String>,
    #[serde(default)]
    check_revoke_token: bool,
    expect: Expectation,
}

#[derive(Deserialize)]
struct Expectation {
    accept: bool,
    user_id: Option<u64>,
    reason: Option<String>,
}

fn algorithm(name: &str) -> Algorithm {
    *Algorithm::OF_SERVICES.iter().find(|one| one.name() == name).unwrap()
}

fn verifying(algorithm: Algorithm, key: &[u8]) -> VerifyingKey {
    if algorithm.is_shared() {
        SigningKey::read(algorithm, key).unwrap().verifying().unwrap()
    } else {
        VerifyingKey::public(algorithm, key).unwrap()
    }
}

fn rules(token_type: TokenType) -> SimpleJwtRules {
    SimpleJwtRules {
        token_types: vec![token_type],
        user_id_claim: "user_id".into(),
        expected: Expected::default(),
    }
}

/// Returns the user whom the gateway would accept, or the reason for which it accepts nobody.
fn judged(vector: &Vector, users: &[User]) -> Result<Option<u64>, String> {
    let key = verifying(algorithm(&vector.algorithm), vector.key.as_bytes());
    let (user, password) = if vector.scheme == "simplejwt" {
        let wanted = vector.token_type.as_deref().unwrap();
        let mut rules = rules(*TokenType::ALL.iter().find(|one| one.name() == wanted).unwrap());
        rules.expected.audience.extend(vector.audience.clone());
        let verified = verify(&key, &rules, &vector.token, NOW).map_err(|why| why.to_string())?;
        if wanted == "refresh" {
            return Ok(None);
        }
        (verified.user.unwrap(), verified.password)
    } else {
        let verified = verify_hand_made(&key, "id", &Expected::default(), &vector.token, NOW)
            .map_err(|why| why.to_string())?;
        (verified.user, None)
    };
    let user = users.iter().find(|one| one.id.to_string() == user).ok_or("unknown_user")?;
    if !user.is_active {
        return Err("inactive_user".into());
    }
    let print = password_print(&Secret::new(user.password.as_str()));
    if vector.check_revoke_token && password.is_none_or(|password| password != print) {
        return Err("password_changed".into());
    }
    Ok(Some(user.id))
}

#[test]
fn every_vector_is_judged_as_django_judges_it_and_for_the_same_reason() {
    let Vectors { users, tokens } =
        serde_json::from_str(include_str!("../../../tests/vectors/django.json")).unwrap();
    let accepted = tokens.iter().filter(|vector| vector.expect.accept).count();
    assert_eq!((accepted, tokens.len() - accepted), (8, 20), "a vector came or went");
    for vector in &tokens {
        let expected = match &vector.expect {
            Expectation { accept: true, user_id, .. } => Ok(*user_id),
            Expectation { reason, .. } => Err(reason.clone().unwrap()),
        };
        assert_eq!(judged(vector, &users), expected, "{}", vector.name);
    }
}

/// Signs a test's claims as PyJWT would.
fn signed(claims: &Value) -> String {
    let key = SigningKey::read(Algorithm::Hs256, SECRET).unwrap();
    let claims = claims.as_object().unwrap();
    let claims: Vec<_> =
        claims.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    jws::sign(&key, &claims).unwrap().expose().to_owned()
}

fn good() -> Value {
    let now = NOW.as_secs();
    json!({"token_type": "access", "exp": now + 300, "iat": now, "jti": "j", "user_id": "2"})
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = good();
    claims[name] = value;
    claims
}

fn access(claims: &Value) -> Result<VerifiedSimpleJwt, NotAccepted> {
    let key = verifying(Algorithm::Hs256, SECRET);
    verify(&key, &rules(TokenType::Access), &signed(claims), NOW)
}

fn hand_made(claims: &Value) -> Result<String, NotAccepted> {
    let key = verifying(Algorithm::Hs256, SECRET);
    verify_hand_made(&key, "id", &Expected::default(), &signed(claims), NOW).map(|made| made.user)
}

#[test]
fn claims_are_taken_as_recorded_from_django() {
    let now = NOW.as_secs();
    for (claims, user) in [
        (good(), "2"),
        (with("user_id", json!(2)), "2"),
        (with("user_id", json!(9_007_199_254_740_993_u64)), "9007199254740993"),
        (with("exp", json!(now + 1)), "2"),
        (with("exp", json!(1_795_422_880.9)), "2"),
        (with("iat", Value::from(now)), "2"),
        (with("aud", json!("x")), "2"),
        (with("role", json!({"boss": [true]})), "2"),
    ] {
        assert_eq!(access(&claims).unwrap().user.as_deref(), Some(user), "{claims}");
    }
    for (claims, why) in [
        (with("exp", json!(now)), NotAccepted::Expired),
        (with("exp", json!(1_795_422_879.9)), NotAccepted::Expired),
        (with("exp", json!(-1)), NotAccepted::Expired),
        (with("exp", json!(null)), NotAccepted::BadClaim),
        (with("iat", json!(now + 1)), NotAccepted::NotYetValid),
        (with("nbf", json!(now + 1)), NotAccepted::NotYetValid),
        (with("sub", json!(2)), NotAccepted::BadClaim),
        (with("jti", json!(2)), NotAccepted::BadClaim),
        (with("jti", json!("")), NotAccepted::NoTokenId),
        (with("token_type", json!("sliding")), NotAccepted::WrongType),
        (with("token_type", json!(null)), NotAccepted::WrongType),
        (with("user_id", json!(null)), NotAccepted::NoUser),
        (with("user_id", json!("")), NotAccepted::NoUser),
    ] {
        assert_eq!(access(&claims), Err(why), "{claims}");
    }
}

/// The cases in which the gateway is stricter than Django on purpose. A service issues none of these tokens.
#[test]
fn what_django_takes_or_fails_on_and_no_service_issues_is_refused() {
    let now = NOW.as_secs();
    for claims in [
        // Django: 500. (PyJWT accepts it, and SimpleJWT reads it once more.)
        with("exp", json!(format!("{}", now + 300))),
        with("exp", json!(253_402_300_800_u64)),
        with("user_id", json!([2])),
        // Django: user 1, and user 2.
        with("user_id", json!(true)),
        with("user_id", json!(2.0)),
    ] {
        assert_eq!(access(&claims), Err(NotAccepted::BadClaim), "{claims}");
    }
    // " 2 ", "02" and full-width digits are user 2 to Django. Here they are compared with the directory's ids: nobody has
    // such an id.
    assert_eq!(access(&with("user_id", json!("02"))).unwrap().user.as_deref(), Some("02"));
    let key = verifying(Algorithm::Hs256, SECRET);
    let token = signed(&good());
    for spelled in [format!("{token}="), format!(" {token}"), format!("{token}\n")] {
        let refused = verify(&key, &rules(TokenType::Access), &spelled, NOW);
        assert_eq!(refused, Err(NotAccepted::Malformed), "{spelled:?}");
    }
}

#[test]
fn a_hand_made_token_is_its_users_until_it_says_otherwise() {
    let now = NOW.as_secs();
    for (claims, user) in [
        (json!({"id": 2, "username": "kim"}), Ok("2")),
        (json!({"id": "2"}), Ok("2")),
        (json!({"id": 2, "exp": now + 1}), Ok("2")),
        (json!({"id": 2, "exp": now}), Err(NotAccepted::Expired)),
        (json!({"id": 0}), Err(NotAccepted::NoUser)),
        (json!({"id": ""}), Err(NotAccepted::NoUser)),
        (json!({"id": null}), Err(NotAccepted::NoUser)),
        (json!({"id": false}), Err(NotAccepted::NoUser)),
        (json!({"username": "kim"}), Err(NotAccepted::NoUser)),
        (json!({"id": true}), Err(NotAccepted::BadClaim)),
        (json!({"id": [2]}), Err(NotAccepted::BadClaim)),
        (json!({"id": 2, "aud": "x"}), Err(NotAccepted::BadClaim)),
        (json!({"id": 2, "sub": 2}), Err(NotAccepted::BadClaim)),
        (json!({"id": 2, "nbf": now + 1}), Err(NotAccepted::NotYetValid)),
    ] {
        assert_eq!(hand_made(&claims).as_deref(), user.as_ref().map(|user| *user), "{claims}");
    }
}

#[test]
fn leeway_audience_and_issuer_are_the_services() {
    let key = verifying(Algorithm::Hs256, SECRET);
    let now = NOW.as_secs();
    let expected = Expected {
        audience: vec!["api".into(), "web".into()],
        issuer: Some("shop".into()),
        leeway: Duration::from_secs(10),
        ..Expected::default()
    };
    let rules = SimpleJwtRules { expected, ..rules(TokenType::Access) };
    let claims = |exp: u64, iat: u64, aud: Value, iss: Value| {
        let mut claims = good();
        claims["exp"] = json!(exp);
        claims["iat"] = json!(iat);
        claims["aud"] = aud;
        claims["iss"] = iss;
        claims
    };
    for (claims, accepted) in [
        (claims(now - 9, now + 10, json!("web"), json!("shop")), Ok(())),
        (claims(now + 1, now, json!(["other", "api"]), json!("shop")), Ok(())),
        (claims(now - 10, now, json!("web"), json!("shop")), Err(NotAccepted::Expired)),
        (claims(now + 1, now + 11, json!("web"), json!("shop")), Err(NotAccepted::NotYetValid)),
        (claims(now + 1, now, json!("other"), json!("shop")), Err(NotAccepted::BadClaim)),
        (claims(now + 1, now, json!(["api", 1]), json!("shop")), Err(NotAccepted::BadClaim)),
        (claims(now + 1, now, json!(null), json!("shop")), Err(NotAccepted::BadClaim)),
        (claims(now + 1, now, json!("api"), json!(null)), Err(NotAccepted::BadClaim)),
        (claims(now + 1, now, json!("api"), json!(["shop"])), Err(NotAccepted::BadClaim)),
    ] {
        let verified = verify(&key, &rules, &signed(&claims), NOW);
        assert_eq!(verified.map(|_| ()), accepted, "{claims}");
    }
}

fn new_token() -> NewToken<'static> {
    NewToken {
        token_type: TokenType::Access,
        expires_at: NOW.plus(Duration::from_secs(60)),
        issued_at: NOW,
        token_id: "0123456789abcdef",
        user_id_claim: "user_id",
        user: "2",
        password: Some("2CBB4C2366622F42FF566C888E257B01"),
        audience: Some("api"),
        issuer: Some("shop"),
    }
}

#[test]
fn what_is_minted_verifies_with_every_algorithm_and_with_no_other_key() {
    let expected = Expected {
        audience: vec!["api".into()],
        issuer: Some("shop".into()),
        ..Expected::default()
    };
    let rules = SimpleJwtRules { expected, ..rules(TokenType::Access) };
    for algorithm in Algorithm::OF_SERVICES {
        let key = random_key(algorithm);
        let token = mint(&key, &new_token()).unwrap();
        let verified = verify(&key.verifying().unwrap(), &rules, token.expose(), NOW).unwrap();
        assert_eq!(
            verified,
            VerifiedSimpleJwt {
                user: Some("2".into()),
                token_id: "0123456789abcdef".into(),
                issued_at: Some(NOW),
                refresh_expires_at: None,
                session: None,
                expires_at: NOW.plus(Duration::from_secs(60)),
                password: Some("2CBB4C2366622F42FF566C888E257B01".into()),
            }
        );
        let other = random_key(algorithm);
        let refused = verify(&other.verifying().unwrap(), &rules, token.expose(), NOW);
        assert_eq!(refused, Err(NotAccepted::BadSignature), "{algorithm:?}");
    }
}

#[test]
fn the_claims_stand_in_simplejwts_order() {
    use base64::Engine as _;
    let key = SigningKey::read(Algorithm::Hs256, SECRET).unwrap();
    let new = NewToken { password: None, audience: None, issuer: None, ..new_token() };
    let token = mint(&key, &new).unwrap();
    let payload = token.expose().split('.').nth(1).unwrap();
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap();
    assert_eq!(
        String::from_utf8(payload).unwrap(),
        r#"{"token_type":"access","exp":1795422939,"iat":1795422879,"jti":"0123456789abcdef","user_id":"2"}"#
    );
}

#[test]
fn a_hand_made_token_that_is_minted_has_the_id_as_the_original_writes_it() {
    let key = SigningKey::read(Algorithm::Hs256, SECRET).unwrap();
    let uuid = "8e2f4d0c-6c1c-4d34-8d6c-1f4c2a3b5d6e";
    for user in ["2", "007", uuid] {
        let new = NewHandMade {
            claim: "id",
            user,
            name: "kim",
            expires_at: NOW.plus(Duration::from_secs(60)),
            issued_at: NOW,
            token_id: "t",
            session: (user == "2").then_some("s"),
        };
        let token = mint_hand_made(&key, &new).unwrap();
        let claims = jws::open(&key.verifying().unwrap(), token.expose()).unwrap();
        let id = if user == "2" { json!(2) } else { json!(user) };
        assert_eq!(claims.get("id"), Some(&id));
        let verifying = key.verifying().unwrap();
        let made =
            verify_hand_made(&verifying, "id", &Expected::default(), token.expose(), NOW).unwrap();
        assert_eq!((made.user.as_str(), made.token_id.as_deref()), (user, Some("t")));
        assert_eq!(made.issued_at, Some(NOW));
        assert_eq!(made.session.as_deref(), new.session);
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_fail(token in "[A-Za-z0-9_=. \\-]{0,64}") {
        let key = verifying(Algorithm::Hs256, SECRET);
        prop_assert!(verify(&key, &rules(TokenType::Access), &token, NOW).is_err());
    }

    #[test]
    fn no_change_of_a_byte_passes(at in 0_usize..1000, to in "[A-Za-z0-9_.\\-]") {
        let key = verifying(Algorithm::Hs256, SECRET);
        let token = signed(&good());
        let at = at % token.len();
        let mut changed = token.clone();
        changed.replace_range(at..=at, &to);
        prop_assume!(changed != token);
        prop_assert!(verify(&key, &rules(TokenType::Access), &changed, NOW).is_err());
    }
}

/// The results that PyJWT 2.9 and 2.10 gave for each of these, each run in its own environment; they differ in the last rows.
#[test]
fn a_claim_is_read_as_pyjwt_reads_it() {
    let now = NOW.as_secs();
    let key = verifying(Algorithm::Hs256, SECRET);
    let judged = |name: &str, value: &Value, takes_numeric_ids: bool| {
        let mut claims = json!({"id": 2, "exp": now + 300, "iat": now, "jti": "aa"});
        claims[name] = value.clone();
        let expected = Expected { takes_numeric_ids, ..Expected::default() };
        verify_hand_made(&key, "id", &expected, &signed(&claims), NOW).map(drop)
    };
    let text = |offset: i64| json!((i64::try_from(now).unwrap() + offset).to_string());
    for (name, value, since_2_10, before) in [
        ("exp", text(300), Ok(()), Ok(())),
        ("exp", json!(format!(" +{} ", now + 300)), Ok(()), Ok(())),
        ("exp", text(0), Err(NotAccepted::Expired), Err(NotAccepted::Expired)),
        ("exp", json!(true), Err(NotAccepted::Expired), Err(NotAccepted::Expired)),
        ("exp", json!("9e12"), Err(NotAccepted::BadClaim), Err(NotAccepted::BadClaim)),
        (
            "exp",
            json!(format!("{}.0", now + 300)),
            Err(NotAccepted::BadClaim),
            Err(NotAccepted::BadClaim),
        ),
        ("exp", json!("soon"), Err(NotAccepted::BadClaim), Err(NotAccepted::BadClaim)),
        ("exp", json!(""), Err(NotAccepted::BadClaim), Err(NotAccepted::BadClaim)),
        ("exp", json!(null), Err(NotAccepted::BadClaim), Err(NotAccepted::BadClaim)),
        ("iat", text(0), Ok(()), Ok(())),
        ("iat", json!("1_0"), Ok(()), Ok(())),
        ("iat", json!("1__0"), Err(NotAccepted::BadClaim), Err(NotAccepted::BadClaim)),
        ("iat", json!(true), Ok(()), Ok(())),
        ("iat", text(99), Err(NotAccepted::NotYetValid), Err(NotAccepted::NotYetValid)),
        ("nbf", text(0), Ok(()), Ok(())),
        ("nbf", text(99), Err(NotAccepted::NotYetValid), Err(NotAccepted::NotYetValid)),
        ("sub", json!(2), Err(NotAccepted::BadClaim), Ok(())),
        ("sub", json!(null), Err(NotAccepted::BadClaim), Ok(())),
        ("jti", json!(2), Err(NotAccepted::BadClaim), Ok(())),
    ] {
        assert_eq!(judged(name, &value, false), since_2_10, "{name} {value}");
        assert_eq!(judged(name, &value, true), before, "{name} {value}, before 2.10");
    }
}

#[test]
fn numbers_as_ids_are_taken_where_the_service_takes_them() {
    let key = verifying(Algorithm::Hs256, SECRET);
    let expected = Expected { takes_numeric_ids: true, ..Expected::default() };
    let rules =
        SimpleJwtRules { user_id_claim: "sub".into(), expected, ..rules(TokenType::Access) };
    let mut claims = with("sub", json!(7));
    claims["jti"] = json!(12);
    let verified = verify(&key, &rules, &signed(&claims), NOW).unwrap();
    assert_eq!((verified.user.as_deref(), &*verified.token_id), (Some("7"), "12"));
    claims["jti"] = json!([12]);
    assert_eq!(verify(&key, &rules, &signed(&claims), NOW), Err(NotAccepted::NoTokenId));
    claims["iat"] = json!(NOW.as_secs().to_string());
    claims["jti"] = json!(0);
    assert!(verify(&key, &rules, &signed(&claims), NOW).is_ok());
}
