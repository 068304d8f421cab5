//! Fuzzes the tokens of services: as they come, and with any claims behind a valid signature.
#![no_main]

use std::sync::LazyLock;

use doorwarden::clock::Timestamp;
use doorwarden::django::jws::Expected;
use doorwarden::django::simplejwt::{SimpleJwtRules, TokenType, verify, verify_hand_made};
use doorwarden::jose::{Algorithm, Compact, SigningKey};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);
const LONGEST: usize = 1 << 16;

static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::shared(Algorithm::Hs256, &[7; 32]));
static RULES: LazyLock<SimpleJwtRules> = LazyLock::new(|| SimpleJwtRules {
    token_types: TokenType::ALL.into(),
    user_id_claim: "user_id".into(),
    expected: Expected::default(),
});

/// Returns whether each reader accepts the token.
fn accepted(token: &str) -> [bool; 2] {
    let key = KEY.verifying().expect("a shared secret verifies what it signs");
    let simplejwt = verify(&key, &RULES, token, NOW);
    if let Ok(token) = &simplejwt {
        assert!(token.expires_at > NOW && !token.token_id.is_empty(), "{token:?}");
    }
    let by_hand = verify_hand_made(&key, "id", &Expected::default(), token, NOW);
    if let Ok(token) = &by_hand {
        assert!(!token.user.is_empty() && token.expires_at.is_none_or(|at| at > NOW), "{token:?}");
    }
    [simplejwt.is_ok(), by_hand.is_ok()]
}

fuzz_target!(|text: &str| {
    assert_eq!(accepted(text), [false; 2], "nobody signed it");
    if let Ok(compact) = Compact::read(text, LONGEST) {
        let _ = compact.header::<Value>();
        let _ = compact.payload();
    }
    let Ok(claims) = serde_json::from_str::<Value>(text) else { return };
    let header = json!({"alg": "HS256", "typ": "JWT"});
    let token = Compact::signed_by(&KEY, &header, &claims).expect("JSON can be signed");
    let is = accepted(&token);
    // One more letter at the end, and nobody signed it.
    assert_eq!(accepted(&format!("{token}A")), [false; 2], "{is:?}");
    assert!(claims.is_object() || is == [false; 2], "{claims}");
});
