use proptest::prelude::*;

use super::vectors::{Expectation, Vector, VectorUser, Vectors, vectors};
use super::*;

fn vector(name: &str) -> Vector {
    vectors().sessions.into_iter().find(|vector| vector.name == name).unwrap()
}

impl Vector {
    fn keys(&self) -> SecretKeys {
        let fallbacks = self.secret_key_fallbacks.iter().map(|key| Secret::new(key.as_str()));
        SecretKeys::new(Secret::new(self.secret_key.as_str()), fallbacks.collect())
    }

    fn read(&self) -> Result<Option<DjangoLogin>, UnreadableSession> {
        match (self.engine.as_str(), &self.row, &self.cookie) {
            // The one expired row has only its column to show it, which the reader of the table
            // checks.
            ("db", Some(row), None) if row.expire_date.starts_with("2020") => {
                Err(UnreadableSession::Expired)
            }
            ("db", Some(row), None) => read_row(&row.session_data, &self.keys()),
            ("signed_cookies", None, Some(cookie)) => {
                let now = Timestamp::from_secs(self.now.unwrap());
                let max_age = Duration::from_secs(self.max_age.unwrap());
                read_cookie(cookie, &self.keys(), now, max_age)
            }
            other => panic!("{}: {:?}", self.name, other.0),
        }
    }

    /// Makes the remaining checks of `get_user()`.
    fn user(&self, users: &[VectorUser]) -> Result<(u64, SessionProof), &'static str> {
        let login = self.read().map_err(|unreadable| match unreadable {
            UnreadableSession::NotSigned(_) => "bad_signature",
            UnreadableSession::Expired => "expired",
            UnreadableSession::Malformed => "malformed",
        })?;
        let login = login.ok_or("no_user")?;
        if !self.authentication_backends.contains(&login.backend) {
            return Err("unknown_backend");
        }
        let user = users.iter().find(|user| user.id.to_string() == login.user_id);
        let user = user.ok_or("unknown_user")?;
        if !user.is_active {
            return Err("inactive_user");
        }
        match login.proof(&user.password, &self.keys()) {
            SessionProof::Void => Err("auth_hash_mismatch"),
            proof => Ok((user.id, proof)),
        }
    }
}

#[test]
fn answers_every_recorded_vector_as_django_does() {
    let Vectors { users, sessions } = vectors();
    let mut counts = (0, 0);
    for vector in &sessions {
        let answer = match vector.user(&users) {
            Ok((id, proof)) => Expectation {
                accept: true,
                user_id: Some(id),
                django_cycles_key: proof == SessionProof::Former,
                reason: None,
            },
            Err(reason) => Expectation {
                accept: false,
                user_id: None,
                django_cycles_key: false,
                reason: Some(reason.to_owned()),
            },
        };
        assert_eq!(answer, vector.expect, "{}", vector.name);
        if answer.accept { counts.0 += 1 } else { counts.1 += 1 }
    }
    assert_eq!(counts, (7, 12), "a vector came or went");
}

#[test]
fn writes_the_row_that_django_writes() {
    let vector = vector("uncompressed, user 42");
    let user = vectors().users.into_iter().find(|user| user.id == 42).unwrap();
    let backend = "django.contrib.auth.backends.ModelBackend".to_owned();
    let login = DjangoLogin::new("42".to_owned(), backend, &user.password, &vector.keys());
    let recorded = &vector.row.as_ref().unwrap().session_data;
    let at = Signer::new(&vector.keys(), ROW_SALT).unsign(recorded).unwrap().at;
    assert_eq!(&login.to_row(&vector.keys(), at), recorded);
}

#[test]
fn a_cookie_lives_exactly_as_long_as_it_may() {
    let vector = vector("cookie session, a day old");
    let cookie = vector.cookie.as_deref().unwrap();
    let signed_at = Signer::new(&vector.keys(), COOKIE_SALT).unsign(cookie).unwrap().at;
    let max_age = Duration::from_secs(60);
    let read = |now| read_cookie(cookie, &vector.keys(), now, max_age).map(|login| login.is_some());
    assert_eq!(read(signed_at), Ok(true));
    assert_eq!(read(signed_at.plus(max_age)), Ok(true));
    assert_eq!(
        read(signed_at.plus(max_age + Duration::from_millis(1))),
        Err(UnreadableSession::Expired)
    );
    assert_eq!(read(signed_at.minus(max_age)), Ok(true), "Django takes clocks that differ");
}

#[test]
fn a_row_is_no_cookie() {
    let vector = vector("compressed, user 7");
    let row = &vector.row.as_ref().unwrap().session_data;
    let now = Timestamp::from_secs(1_780_000_000);
    let read = read_cookie(row, &vector.keys(), now, Duration::MAX);
    assert_eq!(read, Err(UnreadableSession::NotSigned(NotSigned::BadSignature)));
}

fn keys() -> SecretKeys {
    SecretKeys::new(Secret::new("key"), Vec::new())
}

fn row_of(value: &str) -> String {
    Signer::new(&keys(), ROW_SALT).sign(value, Timestamp::from_secs(1_780_000_000))
}

fn compressed(json: &[u8]) -> String {
    let mut zlib = flate2::read::ZlibEncoder::new(json, flate2::Compression::best());
    let mut bytes = Vec::new();
    zlib.read_to_end(&mut bytes).unwrap();
    format!(".{}", URL_SAFE_NO_PAD.encode(bytes))
}

#[test]
fn a_signed_text_that_is_no_session_is_refused() {
    let cut = compressed(br#"{"_auth_user_id":"1","_auth_user_backend":"b"}"#);
    let bomb = compressed(format!("{{{}}}", " ".repeat(MAX_JSON as usize)).as_bytes());
    let wrong = ["", ".", "!", "e30=", ".e30", "W10", &cut[..cut.len() - 12], &bomb];
    for value in wrong {
        assert_eq!(
            read_row(&row_of(value), &keys()),
            Err(UnreadableSession::Malformed),
            "{value:.40}"
        );
    }
    assert_eq!(read_row("", &keys()), Err(UnreadableSession::NotSigned(NotSigned::BadSignature)));
}

#[test]
fn nobody_is_signed_in_without_both_id_and_backend() {
    for json in [
        "{}",
        r#"{"_auth_user_id":"1"}"#,
        r#"{"_auth_user_backend":"b"}"#,
        r#"{"a":{"_auth_user_id":"1","_auth_user_backend":"b"}}"#,
    ] {
        let row = row_of(&URL_SAFE_NO_PAD.encode(json));
        assert_eq!(read_row(&row, &keys()), Ok(None), "{json}");
    }
}

#[test]
fn an_id_that_is_no_text_is_not_nobodys() {
    for json in [
        r#"{"_auth_user_id":1,"_auth_user_backend":"b"}"#,
        r#"{"_auth_user_id":"1","_auth_user_id":null,"_auth_user_backend":"b"}"#,
    ] {
        let row = row_of(&URL_SAFE_NO_PAD.encode(json));
        assert_eq!(read_row(&row, &keys()), Err(UnreadableSession::Malformed), "{json}");
    }
}

#[test]
fn a_pickle_of_more_than_data_is_nobodys_without_the_name_of_an_id() {
    // {'at': builtins.complex(...)} calls something, which is never run.
    let basket = b"\x80\x04}X\x02\0\0\0atcbuiltins\ncomplex\n)Rs.";
    let mut kims = basket[..3].to_vec();
    kims.extend(b"X\x0d\0\0\0_auth_user_idX\x01\0\0\x002s");
    kims.extend(&basket[3..]);
    for (value, login) in [
        (&basket[..], Ok(None)),
        (&kims[..], Err(UnreadableSession::Malformed)),
        (b"", Err(UnreadableSession::Malformed)),
        // A compressed value, for example.
        (b"\x78\x9c\x01\x02", Err(UnreadableSession::Malformed)),
    ] {
        assert_eq!(read_cached(value), login, "{}", value.escape_ascii());
    }
}

#[test]
fn an_application_may_keep_what_it_likes_in_a_session() {
    let json =
        br#"{"x":NaN,"y":"\ud83d","_auth_user_id":"1","_auth_user_backend":"b","z":[1e999]}"#;
    for value in [URL_SAFE_NO_PAD.encode(json), compressed(json)] {
        let login = read_row(&row_of(&value), &keys()).unwrap().unwrap();
        assert_eq!((login.user_id.as_str(), login.backend.as_str()), ("1", "b"));
        assert_eq!(login.proof("", &keys()), SessionProof::Void, "no hash proves nothing");
    }
}

#[test]
fn debug_shows_no_hash() {
    let login = DjangoLogin::new("1".to_owned(), "b".to_owned(), "md5$a$b", &keys());
    let shown = format!("{login:?}");
    assert!(!shown.contains(&auth_hash("md5$a$b", keys().current())), "{shown}");
}

proptest! {
    #[test]
    fn a_login_is_read_as_it_was_written(
        user_id in any::<String>(), backend in any::<String>(), password in any::<String>(),
    ) {
        let login = DjangoLogin::new(user_id, backend, &password, &keys());
        let saved_at = Timestamp::from_secs(1_780_000_000);
        let row = login.to_row(&keys(), saved_at);
        prop_assert_eq!(login.proof(&password, &keys()), SessionProof::Current);
        prop_assert_eq!(login.proof(&format!("{password}x"), &keys()), SessionProof::Void);
        prop_assert_eq!(read_row(&row, &keys()), Ok(Some(DjangoLogin { saved_at: Some(saved_at), ..login })));
    }

    #[test]
    fn no_signed_text_panics(value in any::<String>(), json in any::<Vec<u8>>()) {
        let _text = read_row(&row_of(&value), &keys());
        let _json = read_row(&row_of(&compressed(&json)), &keys());
    }
}
