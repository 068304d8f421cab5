use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::session::testkit::{NOW, tokens};

const ALL: [Algorithm; 4] =
    [Algorithm::Hs256, Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa];

/// An RSA key that was made for this test and is too short for any real use.
const RSA_1024: &str = "\
-----BEGIN PRIVATE KEY-----
MIICeAIBADANBgkqhkiG9w0BAQEFAASCAmIwggJeAgEAAoGBAMR+6zkJgmnLgcwl
cXDLnO8lI0UM1OfOLbfWmyz6zLy50mZ0Lf7FP6I3gebQ71B7ZLA700VRrLaxQIL9
P3ysWzRVXOBMDqO0uRPZaHa3xtaH9iKEioKCM2bbFobu7rm0eo9Eyes8YwWIJi+h
Vxw6UEFF0fD5ZLn/VsRYdlfUMtIZAgMBAAECgYA8GADCSdk7l8STdaQS9gKB1N7L
gFggqJqszZJZmD5DPaVONhvW/eYvK0CsIZv/Bi3OBA3h9k+W8/Ch3ueqrl+ZwQYJ
I4SO5cHn0/KjwysX9kxC3Vmw1a5jPRGnljNJQufOi+8TUVlnyG9s3E90foeXiKb/
ilQHglx1HJHPAf85gQJBAPTnWF00VaU9Rs7UTq/JiBDorSblCIrS9AbkGTflK8xk
aKTDypa+S1loIj4t6dmGUSrQEqrkNL4NdjAsJIOtM5ECQQDNZhZAFwh1eY7q5ZkI
RbZdWfN8oB9T32VV06xqz/uLKlnsRJ7PCvT9SNJ4k5GpUq4OOlveix+yEXu3eJU7
NuIJAkEApgSqT0yp/oEinhUoXlxFBAlnT+WVO96zlHROcCjH3x/2HDOqAzRvCeXg
yLwBOfem0FoLPZPD+U5Q32kdO7JPMQJBAKbInoisK1I4wrQ6e2kcMljbEbvAya9x
Vve6Sebxu2/lk98mWU4Ft6lz2HPQYBb97Bfhi3fJwJL3X147q/HJPwECQQDuLLWE
O95GC5PnsFdYvuLmOCXSqX6Wp0ikrylPNIr6Fgiz2D7K6sMeBSTL6Waqp2CXSCfa
Su6iI91LzqddM9yi
-----END PRIVATE KEY-----
";

struct Kit {
    tokens: Tokens,
    directory: tempfile::TempDir,
}

fn kit(algorithm: Algorithm) -> Kit {
    let directory = tempfile::tempdir().unwrap();
    let tokens = Tokens { algorithm, ..tokens(directory.path()) };
    Kit { tokens, directory }
}

impl Kit {
    fn open(&self) -> KeyRing {
        KeyRing::open(&self.tokens, NOW).unwrap()
    }

    fn error(&self) -> String {
        match KeyRing::open(&self.tokens, NOW) {
            Ok(_) => panic!("opened"),
            Err(error) => error.to_string(),
        }
    }

    fn write(&self, bytes: &[u8]) {
        private_file::replace(&self.tokens.signing_key_file, bytes).unwrap();
    }

    fn files(&self) -> usize {
        std::fs::read_dir(self.directory.path()).unwrap().count()
    }
}

fn verifies(ring: &KeyRing, token: &str, now: Timestamp) -> bool {
    Unverified::read(token).and_then(|token| ring.verified(&token, now)).is_ok()
}

#[test]
fn a_key_is_made_once_and_its_tokens_outlive_a_restart() {
    for algorithm in ALL {
        let kit = kit(algorithm);
        let token = kit.open().sign("at+jwt", &"claims").unwrap();
        let again = kit.open();
        assert!(verifies(&again, &token, NOW), "{algorithm:?}");
        assert_eq!(kit.files(), 1);
        let mode = std::fs::metadata(&kit.tokens.signing_key_file).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        assert_eq!(again.list()[0].algorithm, algorithm);
    }
}

#[test]
fn a_token_verifies_under_its_own_key_and_algorithm_only() {
    for algorithm in ALL {
        let (ours, theirs) = (kit(algorithm).open(), kit(algorithm).open());
        let token = ours.sign("at+jwt", &"claims").unwrap();
        assert!(!verifies(&theirs, &token, NOW), "{algorithm:?}: another key");
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let (header, payload) = signed.split_once('.').unwrap();
        for spoiled in [
            format!("{header}.{payload}."),
            format!("{header}.{payload}.{}", "A".repeat(signature.len())),
            format!("{header}.{payload}x.{signature}"),
            format!("{header}.{payload}.{signature}="),
        ] {
            assert!(!verifies(&ours, &spoiled, NOW), "{spoiled}");
        }
    }
}

#[test]
fn no_algorithm_but_the_keys_own_is_taken_from_a_header() {
    // The well-known attack: a public key is no secret, so an HMAC under it must not be accepted.
    let kit = kit(Algorithm::Rs256);
    let ring = kit.open();
    let kid = ring.list()[0].kid.clone();
    let public = ring.jwks()["keys"][0]["n"].as_str().unwrap().to_owned();
    for alg in ["HS256", "none", "None", "RS512", "PS256", "rs256", ""] {
        let header = JoseHeader { alg: alg.into(), typ: "at+jwt".into(), kid: Some(kid.clone()) };
        let key = SigningKey::shared(Algorithm::Hs256, public.as_bytes());
        let forged = Compact::signed_by(&key, &header, &"claims").unwrap();
        assert!(!verifies(&ring, &forged, NOW), "{alg}");
    }
}

#[test]
fn rotation_keeps_the_old_key_until_its_last_token_has_expired() {
    for algorithm in ALL {
        let kit = kit(algorithm);
        let ring = kit.open();
        let running = kit.open();
        let old = ring.sign("at+jwt", &"claims").unwrap();
        let kid = ring.rotate(NOW).unwrap();
        let new = ring.sign("at+jwt", &"claims").unwrap();
        assert_eq!(ring.list().len(), 2);
        assert_eq!(ring.list()[0].kid, kid);
        assert!(!verifies(&running, &new, NOW), "it has not reloaded");
        running.reload(NOW).unwrap();
        let last = NOW.plus(kit.tokens.access_lifetime);
        for ring in [&ring, &running] {
            assert!(verifies(ring, &old, last) && verifies(ring, &new, last), "{algorithm:?}");
            let after = last.plus(RELOAD_MARGIN);
            assert!(!verifies(ring, &old, after) && verifies(ring, &new, after));
        }
        assert_eq!(kit.files(), 2);
        ring.reload(last.plus(RELOAD_MARGIN)).unwrap();
        assert_eq!((kit.files(), ring.list().len()), (1, 1), "the old key is removed");
    }
}

#[test]
fn the_set_publishes_public_parts_only() {
    for (algorithm, members) in [
        (Algorithm::Rs256, vec!["alg", "e", "kid", "kty", "n", "use"]),
        (Algorithm::Es256, vec!["alg", "crv", "kid", "kty", "use", "x", "y"]),
        (Algorithm::EdDsa, vec!["alg", "crv", "kid", "kty", "use", "x"]),
    ] {
        let kit = kit(algorithm);
        let ring = kit.open();
        ring.rotate(NOW).unwrap();
        let set = ring.jwks();
        let keys = set["keys"].as_array().unwrap();
        assert_eq!(keys.len(), 2);
        for key in keys {
            let mut found: Vec<_> = key.as_object().unwrap().keys().map(String::as_str).collect();
            found.sort_unstable();
            assert_eq!(found, members);
            // The thumbprint as another library computes it.
            let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(key.clone()).unwrap();
            let thumbprint = jwk.thumbprint(jsonwebtoken::jwk::ThumbprintHash::SHA256).unwrap();
            assert_eq!(key["kid"], thumbprint);
        }
    }
    let kit = kit(Algorithm::Hs256);
    let ring = kit.open();
    ring.rotate(NOW).unwrap();
    assert_eq!(ring.jwks(), serde_json::json!({ "keys": [] }));
}

#[test]
fn an_hs256_key_is_the_files_bytes_less_one_final_newline() {
    let kit = kit(Algorithm::Hs256);
    let secret = b"0123456789abcdefghijklmnopqrstuv";
    kit.write(&[secret.as_slice(), b"\n"].concat());
    let with = kit.open().sign("at+jwt", &"claims").unwrap();
    kit.write(secret);
    assert!(verifies(&kit.open(), &with, NOW));
    kit.write(&[secret.as_slice(), b"\n\n"].concat());
    assert!(!verifies(&kit.open(), &with, NOW), "the second newline belongs to the key");
}

#[test]
fn a_key_that_is_too_weak_or_of_another_kind_is_refused_with_its_path() {
    let table: [(Algorithm, &[u8], &str); 9] = [
        (Algorithm::Rs256, RSA_1024.as_bytes(), "RSA"),
        (Algorithm::Hs256, b"0123456789abcdefghijklmnopqrstu\n", "32 bytes"),
        (Algorithm::Hs256, b"", "32 bytes"),
        (Algorithm::Hs256, b"django-insecure-0123456789abcdefghijklmnopqrstuv", "well-known"),
        (Algorithm::Hs256, &[b'a'; 64], "well-known"),
        (Algorithm::Es256, b"0123456789abcdefghijklmnopqrstuv", "BEGIN PRIVATE KEY"),
        (
            Algorithm::Es256,
            b"-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n",
            "openssl",
        ),
        (
            Algorithm::EdDsa,
            b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            "Ed25519",
        ),
        (
            Algorithm::Rs256,
            b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            "RSA",
        ),
    ];
    for (algorithm, bytes, part) in table {
        let kit = kit(algorithm);
        kit.write(bytes);
        let error = kit.error();
        assert!(error.contains(part), "{error}");
        assert!(error.contains(kit.tokens.signing_key_file.to_str().unwrap()), "{error}");
    }
    for (made, read) in [(Algorithm::Es256, Algorithm::EdDsa), (Algorithm::EdDsa, Algorithm::Rs256)]
    {
        let mut kit = kit(made);
        drop(kit.open());
        kit.tokens.algorithm = read;
        assert!(kit.error().contains("needs"), "{}", kit.error());
    }
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let kit = kit(Algorithm::Es256);
    drop(kit.open());
    let mode = std::fs::Permissions::from_mode(0o640);
    std::fs::set_permissions(&kit.tokens.signing_key_file, mode).unwrap();
    assert!(kit.error().contains("chmod 600"));
}

#[test]
fn a_retired_key_under_a_wrong_name_is_refused() {
    let kit = kit(Algorithm::Es256);
    let ring = kit.open();
    ring.rotate(NOW).unwrap();
    let until = NOW.plus(Duration::from_secs(3600));
    let (file, ..) = retired_files(&kit.tokens.signing_key_file).unwrap().remove(0);
    std::fs::rename(file, retired_path(&kit.tokens.signing_key_file, "other", until)).unwrap();
    assert!(kit.error().contains("name"));
    assert!(ring.reload(NOW).is_err(), "and the keys in use stay");
    assert_eq!(ring.list().len(), 2);
}
