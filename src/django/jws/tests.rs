use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;
use crate::jose::{Algorithm, random_key};

const NOW: Timestamp = Timestamp::from_secs(1_795_422_879);

fn with_header(header: &str) -> Result<(), NotAccepted> {
    let key = random_key(Algorithm::Hs256);
    let signed =
        format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(r#"{"a":1}"#));
    let signature = key.sign(&signed).unwrap();
    open(&key.verifying().unwrap(), &format!("{signed}.{signature}")).map(drop)
}

#[test]
fn the_header_is_what_pyjwt_writes_or_the_token_is_refused() {
    for (header, expected) in [
        (r#"{"alg":"HS256","typ":"JWT"}"#, Ok(())),
        (r#"{"typ":"jwt","alg":"HS256","kid":"k"}"#, Ok(())),
        (r#"{"alg":"HS256"}"#, Ok(())),
        (r#"{"alg":"hs256"}"#, Err(NotAccepted::BadAlgorithm)),
        (r#"{"alg":"HS384"}"#, Err(NotAccepted::BadAlgorithm)),
        (r#"{"alg":"none"}"#, Err(NotAccepted::BadAlgorithm)),
        (r#"{"alg":["HS256"]}"#, Err(NotAccepted::BadAlgorithm)),
        (r#"{"typ":"JWT"}"#, Err(NotAccepted::BadAlgorithm)),
        (r#"{"alg":"HS256","kid":1}"#, Err(NotAccepted::Malformed)),
        (r#"{"alg":"HS256","crit":["b64"]}"#, Err(NotAccepted::Malformed)),
        (r#"{"alg":"HS256","b64":true}"#, Err(NotAccepted::Malformed)),
        // The type of the gateway's own tokens.
        (r#"{"alg":"HS256","typ":"at+jwt"}"#, Err(NotAccepted::Malformed)),
        (r#"{"alg":"HS256","typ":1}"#, Err(NotAccepted::Malformed)),
        (r#"{"alg":"HS256","typ":null}"#, Err(NotAccepted::Malformed)),
        (r#"{"alg":"HS256","crit":null}"#, Err(NotAccepted::Malformed)),
        (r#"{"alg":"none","alg":"HS256","more":[{"typ":1}]}"#, Ok(())),
        (r#"{"alg":"HS256","alg":"none"}"#, Err(NotAccepted::BadAlgorithm)),
        (r#"{"alg":"HS256"} {}"#, Err(NotAccepted::Malformed)),
        (r#"["HS256"]"#, Err(NotAccepted::Malformed)),
        ("", Err(NotAccepted::Malformed)),
    ] {
        assert_eq!(with_header(header), expected, "{header}");
    }
}

#[test]
fn a_long_token_is_not_taken_apart() {
    let key = random_key(Algorithm::Hs256);
    let long = "x".repeat(8000);
    let token = sign(&key, &[("long", Value::from(long.as_str()))]).unwrap();
    let verifying = key.verifying().unwrap();
    assert_eq!(open(&verifying, token.expose()).unwrap_err(), NotAccepted::Malformed);
}

#[test]
fn without_an_expectation_no_claim_is_needed() {
    let key = random_key(Algorithm::Hs256);
    let token = sign(&key, &[]).unwrap();
    let claims = open(&key.verifying().unwrap(), token.expose()).unwrap();
    assert_eq!(claims.check(&Expected::default(), NOW), Ok(()));
    assert_eq!(claims.user("id"), Ok(None));
    assert_eq!(claims.token_id(), None);
}
