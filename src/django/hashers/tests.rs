//! Answers marked "Django" were recorded from Django 5.2.19 with argon2-cffi 25.1.0 and bcrypt
//! 5.0.0.

use proptest::prelude::*;
use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Vectors {
    password_hashers: Vec<String>,
    users: Vec<User>,
    passwords: Vec<Vector>,
}

#[derive(Deserialize)]
struct User {
    password: String,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    encoded: String,
    password: String,
    expect: Expectation,
}

#[derive(Deserialize)]
struct Expectation {
    accept: bool,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../../../tests/vectors/django.json")).unwrap()
}

/// Returns the hasher that a class in Django's settings stands for, of the classes that the vectors
/// list.
fn of_setting(class: &str) -> PasswordHasher {
    match class.rsplit('.').next().unwrap() {
        "PBKDF2PasswordHasher" => PasswordHasher::Pbkdf2Sha256,
        "PBKDF2SHA1PasswordHasher" => PasswordHasher::Pbkdf2Sha1,
        "Argon2PasswordHasher" => PasswordHasher::Argon2,
        "BCryptSHA256PasswordHasher" => PasswordHasher::BcryptSha256,
        "BCryptPasswordHasher" => PasswordHasher::Bcrypt,
        "ScryptPasswordHasher" => PasswordHasher::Scrypt,
        "MD5PasswordHasher" => PasswordHasher::Md5,
        other => panic!("{other} is not known"),
    }
}

fn check(password: &str, encoded: &str) -> Verdict {
    verify(password.as_bytes(), encoded, PasswordHasher::ALL)
}

/// Returns the result of [`check`] as the vectors spell it: a refusal's code, `"match"` or
/// `"mismatch"`.
fn outcome(password: &str, encoded: &str) -> &'static str {
    match check(password, encoded) {
        Verdict::Match => "match",
        Verdict::Mismatch => "mismatch",
        Verdict::Refused(reason) => reason.code(),
    }
}

const PBKDF2: &str = "pbkdf2_sha256$1000$salt$CjglNVXON/XHKmtwP5loFOvyQfIDrxRuk9zesDHFVn4=";
const ARGON2: &str = "argon2$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$/pcGVt0d5EVdZZXVLXuAaw";
const BCRYPT: &str = "bcrypt$$2b$04$abcdefghijklmnopqrstuuD1ra/RAKsvAW3aRMyxxufvyO3SaHkz2";
const BCRYPT_B72: &str = "bcrypt$$2b$04$abcdefghijklmnopqrstuuUJf9qAIqFFWObw4K4AvdtuO.PaE5J/W";
const SCRYPT: &str = "scrypt$2$sal té$1$3$EmmtlkQuvGjsgK3iGz7H4aELkQio8I4DECv5matjgICmOIWbgu\
    1NZ6RVHUPd8Bdk3x3MJiZ6/QLXpHdxMoP97Q==";
/// The longest password that bcrypt takes.
const B72: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// One cheap row of each algorithm and spelling, and its password. Django's answer to each is True;
/// the last four were made by the formulas of Django 4.2, the last version to have them all.
const ROWS: &[(&str, &str)] = &[
    ("pw", PBKDF2),
    ("pw", "pbkdf2_sha256$1000$a/+=. é$ZkkiOwCL/YI4k8UUbeJuIQi6UvlcedvKGTy+5utuvSc="),
    ("pw", "pbkdf2_sha256$1000$소금$5Wcb2E6KbtkrOKltK3t5ZbOou3RnV3YNdzEihG5nHSY="),
    ("", "pbkdf2_sha256$1000$salt$lPtWrz6iLl0+0bBUCFsTbKMBt12LQGyALEiUefJzh8Y="),
    ("pw", "pbkdf2_sha1$1000$salt$upWEiptc4R8bQ9fRZ9hBPape0is="),
    (
        "pw",
        "argon2$argon2i$v=16$m=64,t=3,p=4$c2FsdHNhbHQ$9fMkpfHeH7iL4pogJCu0BNED7geAwbYFrbDVRxyK6xo",
    ),
    ("pw", "argon2$argon2i$m=64,t=3,p=4$c2FsdHNhbHQ$9fMkpfHeH7iL4pogJCu0BNED7geAwbYFrbDVRxyK6xo"),
    (
        "pw",
        "argon2$argon2i$v=19$m=64,t=1,p=4$c2FsdHNhbHQ$sRAEKxmwAvLUVnkEGp8UjdU0SWUo/IJ/hJB/J+qe1IY",
    ),
    (
        "pw",
        "argon2$argon2d$v=16$m=64,t=3,p=4$c2FsdHNhbHQ$1YtO0fJxztU2TR2roekiGjrlJ2RpwQZleloFGBRRgs0",
    ),
    ("pw", "argon2$argon2d$m=64,t=3,p=4$c2FsdHNhbHQ$1YtO0fJxztU2TR2roekiGjrlJ2RpwQZleloFGBRRgs0"),
    (
        "pw",
        "argon2$argon2d$v=19$m=64,t=1,p=4$c2FsdHNhbHQ$BFL6/dPcrUxIj5oGBkvy3xFmQcZRLTks364AfKRG59I",
    ),
    (
        "pw",
        "argon2$argon2id$v=16$m=64,t=3,p=4$c2FsdHNhbHQ$7c0ED6s0LywXWSdPalaZMAlu4nqM956fWZHJMyFaSi4",
    ),
    ("pw", "argon2$argon2id$m=64,t=3,p=4$c2FsdHNhbHQ$7c0ED6s0LywXWSdPalaZMAlu4nqM956fWZHJMyFaSi4"),
    (
        "pw",
        "argon2$argon2id$v=19$m=64,t=1,p=4$c2FsdHNhbHQ$0LF1ZFVU2128qak7dstXr1VyJh8aXLx79zvFxWl5sMg",
    ),
    ("pw", ARGON2),
    (
        "pw",
        "argon2$argon2id$v=19$m=37,t=1,p=3$c2FsdHNhbHQ$ysEWqy80Rf/9OIt1/Ytp0d3tmFKNQ/tRDdM8PCO8dgZA\
         /Jx3dXue6xqIOgYZ7tGT075IU0XI4tiRqNCBHt6SaQ",
    ),
    ("pw-é", "bcrypt$$2a$04$abcdefghijklmnopqrstuuD1ra/RAKsvAW3aRMyxxufvyO3SaHkz2"),
    ("pw-é", BCRYPT),
    ("pw-é", "bcrypt$$2x$04$abcdefghijklmnopqrstuuD1ra/RAKsvAW3aRMyxxufvyO3SaHkz2"),
    ("pw-é", "bcrypt$$2y$04$abcdefghijklmnopqrstuuD1ra/RAKsvAW3aRMyxxufvyO3SaHkz2"),
    (B72, BCRYPT_B72),
    ("pw-é", "bcrypt_sha256$$2b$04$abcdefghijklmnopqrstuuH5ZQBv1bx216Y.v2zavyUy1AwIt902i"),
    ("pw-é", "bcrypt_sha256$$2y$04$abcdefghijklmnopqrstuuH5ZQBv1bx216Y.v2zavyUy1AwIt902i"),
    (
        "pw",
        "scrypt$1024$salt$8$1$nx+GlYOOaCwWiXUPRaafuVZFtKJ/DJmUxpaxyYwKFnH//7YVo0ehlxhcVnY\
         vn6yrYTqXvpB8UTrgJH5Vt3fhWw==",
    ),
    ("pw", SCRYPT),
    ("pw", "md5$salt$963e2232fa95666443f1ee9ffcdceda0"),
    ("pw", "sha1$salt$77236c9de12a3a658eb63e2848fb33b3354d5f1a"),
    ("pw", "8fe4c11451281c094a6578e6ddbf5eed"),
    ("pw", "md5$$8fe4c11451281c094a6578e6ddbf5eed"),
    ("pw", "sha1$$1a91d62f7ca67399625a4368a6ab5d4a3baa6073"),
];

#[test]
fn answers_every_recorded_vector_as_django_does() {
    let Vectors { password_hashers, passwords, .. } = vectors();
    let listed: Vec<_> = password_hashers.iter().map(|class| of_setting(class)).collect();

    let mut counts = (0, 0);
    for Vector { name, encoded, password, expect } in &passwords {
        let verdict = verify(password.as_bytes(), encoded, &listed);
        assert_eq!(verdict.is_match(), expect.accept, "{name}: {verdict:?}");
        if expect.accept { counts.0 += 1 } else { counts.1 += 1 }
    }
    println!("{} accepted, {} refused", counts.0, counts.1);
    assert_eq!(counts, (14, 16), "a vector came or went");
}

#[test]
fn by_default_answers_the_vectors_alike_but_for_md5() {
    for Vector { name, encoded, password, expect } in vectors().passwords {
        let verdict = verify(password.as_bytes(), &encoded, PasswordHasher::DEFAULT);
        if encoded.starts_with("md5$") {
            assert_eq!(
                verdict,
                Verdict::Refused(Reason::NotAllowed(PasswordHasher::Md5)),
                "{name}"
            );
        } else {
            assert_eq!(verdict.is_match(), expect.accept, "{name}: {verdict:?}");
        }
    }
}

#[test]
fn takes_every_spelling_that_django_takes() {
    for (password, row) in ROWS {
        assert_eq!(outcome(password, row), "match", "{row}");
        assert_eq!(outcome("Pw", row), "mismatch", "{row}");
    }
}

#[test]
fn the_rows_cover_every_algorithm() {
    for algorithm in PasswordHasher::ALL {
        let of = |row| match Encoded::parse(row) {
            Ok(Encoded::Hashed(hashed)) => hashed.algorithm(),
            other => panic!("{row}: {other:?}"),
        };
        assert!(ROWS.iter().any(|(_, row)| of(row) == *algorithm), "{algorithm:?}");
    }
}

#[test]
fn an_algorithm_that_is_not_allowed_never_matches() {
    for (password, row) in ROWS {
        let Ok(Encoded::Hashed(hashed)) = Encoded::parse(row) else { panic!("{row}") };
        let algorithm = hashed.algorithm();
        let others: Vec<_> =
            PasswordHasher::ALL.iter().copied().filter(|a| *a != algorithm).collect();
        let refused = Verdict::Refused(Reason::NotAllowed(algorithm));
        assert_eq!(verify(password.as_bytes(), row, &others), refused, "{row}");
        assert!(verify(password.as_bytes(), row, &[algorithm]).is_match(), "{row}");
    }
}

/// Only the row itself matches its password: each character is replaced, doubled and removed.
#[test]
fn no_changed_row_matches() {
    for (password, row) in ROWS {
        for (at, old) in row.char_indices() {
            // bcrypt's revisions are computed alike, and each step of its cost doubles the work.
            if row.starts_with("bcrypt") && row[..at].matches('$').count() < 4 && at > 6 {
                continue;
            }
            let (before, after) = (&row[..at], &row[at + old.len_utf8()..]);
            for new in ["", "0", "1", "2", "A", "b", "$", "=", ".", "/", "+", " ", "é", "\n", "\0"]
            {
                if new == old.to_string() {
                    continue;
                }
                let changed = format!("{before}{new}{after}");
                assert!(!check(password, &changed).is_match(), "{changed} is not {row}");
            }
            let doubled = format!("{before}{old}{old}{after}");
            assert!(!check(password, &doubled).is_match(), "{doubled} is not {row}");
        }
    }
}

#[test]
fn refuses_what_is_not_spelled_as_django_spells_it() {
    let cases = [
        // Django: False, since the text that it encodes differs.
        ("leading zero", PBKDF2.replace("$1000$", "$01000$")),
        ("sign", PBKDF2.replace("$1000$", "$+1000$")),
        ("underscore", PBKDF2.replace("$1000$", "$1_000$")),
        ("space", PBKDF2.replace("$1000$", "$ 1000$")),
        ("other digits", PBKDF2.replace("$1000$", "$１０００$")),
        ("zero iterations", PBKDF2.replace("$1000$", "$0$")),
        ("no padding", PBKDF2.replace('=', "")),
        ("line end", format!("{PBKDF2}\n")),
        ("five fields", format!("{PBKDF2}$")),
        ("cut digest", PBKDF2[..PBKDF2.len() - 8].to_owned()),
        ("other case", PBKDF2.to_uppercase()),
        ("url alphabet", PBKDF2.replace('/', "_")),
        ("upper-case MD5", "md5$salt$963E2232FA95666443F1EE9FFCDCEDA0".to_owned()),
        ("upper-case bare MD5", "8FE4C11451281C094A6578E6DDBF5EED".to_owned()),
        ("MD5 without digest", "md5$salt$".to_owned()),
        ("plain text", "pw".to_owned()),
        ("unknown algorithm", "crypt$$ab01FAX.bQRSU".to_owned()),
        ("bcrypt without the second $", BCRYPT.replace("$$", "$")),
        ("bcrypt cost of one digit", BCRYPT.replace("$04$", "$4$")),
        ("bcrypt cut", BCRYPT.trim_end_matches('2').to_owned()),
        ("bcrypt longer", format!("{}a", BCRYPT)),
        ("scrypt N zero", SCRYPT.replace("$2$", "$0$")),
        ("scrypt with r = 0", SCRYPT.replace("$1$3$", "$0$3$")),
        ("scrypt with p = 0", SCRYPT.replace("$1$3$", "$1$0$")),
        ("endless", "pbkdf2_sha256$1000$".to_owned() + &"s".repeat(5000) + "$AAAA"),
        // Django: raises.
        ("three fields", "pbkdf2_sha256$1000$salt".to_owned()),
        ("no number", "pbkdf2_sha256$many$salt$AAAA".to_owned()),
        ("negative", PBKDF2.replace("$1000$", "$-1000$")),
        ("no salt", PBKDF2.replace("$salt$", "$$")),
        ("scrypt with five fields", "scrypt$1024$salt$8$1".to_owned()),
        ("scrypt with N = 3", SCRYPT.replace("$2$", "$3$")),
        ("scrypt with N = 1", SCRYPT.replace("$2$", "$1$")),
        ("bcrypt of another revision", BCRYPT.replace("$2b$", "$2z$")),
        ("bcrypt cost 3", BCRYPT.replace("$04$", "$03$")),
        ("bcrypt cost 99", BCRYPT.replace("$04$", "$99$")),
        ("bcrypt salt with stray bits", BCRYPT.replace("rstuu", "rstuv")),
        ("bcrypt salt cut inside a letter", "bcrypt$$2b$04$abcdefghijklmnopqrstué".to_owned()),
        ("Argon2 of another variant", ARGON2.replace("argon2id", "argon2x")),
        // Django: False, by argon2-cffi.
        ("Argon2 parameters in another order", ARGON2.replace("m=8,t=1", "t=1,m=8")),
        ("Argon2 with one more parameter", ARGON2.replace("p=1", "p=1,q=1")),
        ("Argon2 with one parameter less", ARGON2.replace(",p=1", "")),
        ("Argon2 leading zero", ARGON2.replace("m=8", "m=08")),
        ("Argon2 padding", format!("{}==", ARGON2)),
        ("Argon2 version 18", ARGON2.replace("v=19", "v=18")),
        ("Argon2 with one more field", format!("{}$AAAA", ARGON2)),
        ("Argon2 memory below 8 p", ARGON2.replace("m=8", "m=7")),
        ("Argon2 lanes that overflow", ARGON2.replace("p=1", "p=4294967295")),
        ("Argon2 salt of seven bytes", ARGON2.replace("c2FsdHNhbHQ", "c2FsdHNhbA")),
        ("Argon2 no digest", "argon2$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$".to_owned()),
        // Django: True. Stricter on purpose: a digest of 32 bits does not prove a password.
        (
            "Argon2 digest of 4 bytes",
            "argon2$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$GYxeow".to_owned(),
        ),
    ];
    for (name, row) in cases {
        assert_eq!(outcome("pw", &row), "malformed", "{name}: {row}");
    }
}

#[test]
fn a_user_without_a_password_cannot_sign_in() {
    for row in
        ["", "!", "!Zk3vJ8qLw5TnXr1YbC7dGf2HmPs9RtAe4UiOoKxN", PBKDF2.replace('p', "!").as_str()]
    {
        assert_eq!(outcome("", row), "unusable", "{row}");
        assert_eq!(outcome(row, row), "unusable", "{row}");
    }
}

#[test]
fn bcrypt_never_cuts_a_password() {
    assert_eq!(outcome(B72, BCRYPT_B72), "match");
    assert_eq!(outcome(&format!("{B72}b"), BCRYPT_B72), "mismatch");
    assert_eq!(outcome(&B72[1..], BCRYPT_B72), "mismatch");
}

#[test]
fn a_password_with_a_nul_byte_never_matches() {
    for (password, row) in ROWS {
        assert_eq!(outcome(&format!("{password}\0"), row), "mismatch", "{row}");
        assert_eq!(outcome(&format!("{password}\0{password}"), row), "mismatch", "{row}");
    }
}

#[test]
fn refuses_work_beyond_the_caps_without_doing_it() {
    let argon2 = |costs: &str| ARGON2.replace("m=8,t=1,p=1", costs);
    let scrypt = |n: &str, r_p: &str| SCRYPT.replace("$2$", n).replace("$1$3$", r_p);
    // In each pair, the first is the largest allowed value and the second exceeds it.
    let cases = [
        (PBKDF2.replace("$1000$", "$10000000$"), PBKDF2.replace("$1000$", "$10000001$")),
        (BCRYPT.replace("$04$", "$16$"), BCRYPT.replace("$04$", "$17$")),
        (argon2("m=1048576,t=4,p=8"), argon2("m=1048577,t=1,p=8")),
        (argon2("m=1048576,t=4,p=8"), argon2("m=1048576,t=5,p=8")),
        (argon2("m=1024,t=64,p=8"), argon2("m=1024,t=65,p=8")),
        (argon2("m=1024,t=1,p=64"), argon2("m=1024,t=1,p=65")),
        (scrypt("$262144$", "$8$4$"), scrypt("$524288$", "$8$1$")),
        (scrypt("$262144$", "$8$4$"), scrypt("$262144$", "$8$5$")),
        (scrypt("$2$", "$1048576$2$"), scrypt("$2$", "$4294967295$4294967295$")),
        (scrypt("$2$", "$1$2097152$"), scrypt("$2$", "$1$2097153$")),
        (scrypt("$2$", "$1$2097152$"), scrypt("$2147483648$", "$4294967295$4294967295$")),
    ];
    for (most, more) in cases {
        let costly = |row: &str| match Encoded::parse(row) {
            Ok(Encoded::Hashed(hashed)) => hashed.is_too_costly(),
            other => panic!("{row}: {other:?}"),
        };
        assert!(!costly(&most), "{most}");
        assert_eq!(outcome("pw", &more), "too_costly", "{more}");
        assert_eq!(dummy_like(&more), DEFAULT_DUMMY, "a dummy must not be costlier than a row");
    }
}

#[test]
fn a_dummy_has_the_cost_of_its_model_and_nothing_else_of_it() {
    let rows = ROWS.iter().map(|(_, row)| (*row).to_owned());
    for row in rows.chain(vectors().users.into_iter().map(|user| user.password)) {
        let dummy = dummy_like(&row);
        assert_eq!(dummy.len(), row.len(), "{row}");
        let (Ok(Encoded::Hashed(model)), Ok(Encoded::Hashed(decoy))) =
            (Encoded::parse(&row), Encoded::parse(&dummy))
        else {
            panic!("{row} -> {dummy}")
        };
        assert_eq!(decoy.algorithm(), model.algorithm(), "{row}");
        assert_eq!(decoy.digest.len(), model.digest.len(), "{row}");
        assert_ne!(decoy.digest, model.digest, "{row}");
        assert_eq!(decoy.decoy(), model.decoy(), "the parameters are the model's: {row}");
        assert_eq!(dummy_like(&dummy), dummy, "a dummy of a dummy is itself");
    }
    for (password, row) in ROWS {
        assert_eq!(outcome(password, &dummy_like(row)), "mismatch", "{row}");
    }
}

#[test]
fn what_cannot_be_checked_gets_the_default_dummy() {
    assert_eq!(outcome("", DEFAULT_DUMMY), "mismatch");
    for row in ["", "!", "gibberish", "md5$$", "pbkdf2_sha256$1000$salt"] {
        assert_eq!(dummy_like(row), DEFAULT_DUMMY, "{row}");
    }
}

#[test]
fn names_are_djangos_and_lead_back() {
    for algorithm in PasswordHasher::ALL {
        assert_eq!(PasswordHasher::parse(algorithm.name()), Some(*algorithm));
    }
    assert_eq!(PasswordHasher::parse("PBKDF2_SHA256"), None);
    assert_eq!(PasswordHasher::parse(""), None);
    let weak =
        PasswordHasher::ALL.iter().filter(|algorithm| !PasswordHasher::DEFAULT.contains(algorithm));
    let weak: Vec<_> = weak.map(|algorithm| algorithm.name()).collect();
    assert_eq!(weak, ["md5", "sha1", "unsalted_md5", "unsalted_sha1"]);
}

#[test]
fn debug_shows_neither_salt_nor_digest() {
    let shown = format!("{:?}", Encoded::parse(PBKDF2));
    assert_eq!(shown, "Ok(Hashed(Hashed(Pbkdf2Sha256)))");
}

/// Generates fields as they occur in rows, and similar ones; the numbers limit the work.
fn field() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(PasswordHasher::ALL).prop_map(|algorithm| algorithm.name().to_owned()),
        prop::sample::select(vec![
            "",
            "0",
            "1",
            "2",
            "8",
            "04",
            "05",
            "1000",
            "-1",
            "2a",
            "2b",
            "v=19",
            "v=16",
            "argon2i",
            "argon2id",
            "m=8,t=1,p=1",
            "m=64,t=2,p=8",
            "m=0,t=0,p=0",
            "m=,t=,p=",
            "salt",
        ])
        .prop_map(str::to_owned),
        "[./A-Za-z0-9]{53}",
        "[+/A-Za-z0-9]{22}",
        "[+/A-Za-z0-9]{43}=",
        "[+/A-Za-z0-9]{86}==",
        "[0-9a-f]{32}",
        "[0-9a-f]{40}",
        "\\PC{0,8}",
    ]
}

proptest! {
    #[test]
    fn no_text_panics_or_matches(password in "\\PC{0,80}", text in any::<String>()) {
        prop_assert!(!check(&password, &text).is_match());
    }

    #[test]
    fn no_row_of_plausible_fields_panics_or_matches(
        password in "\\PC{0,80}",
        fields in prop::collection::vec(field(), 1..8),
    ) {
        prop_assert!(!check(&password, &fields.join("$")).is_match());
    }

    #[test]
    fn no_well_formed_pbkdf2_or_scrypt_or_bcrypt_row_matches_by_chance(
        password in any::<String>(),
        iterations in 1_u32..2000,
        salt in "[^$]{1,30}",
        digest in prop::array::uniform32(any::<u8>()),
        log_n in 1_u32..8,
        (block_size, parallelism) in (1_u32..9, 1_u32..4),
        tail in "[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{30}[.CGKOSWaeimquy26]",
    ) {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let encode = |bytes: &[u8]| STANDARD.encode(bytes);
        for (row, expected) in [
            (format!("pbkdf2_sha256${iterations}${salt}${}", encode(&digest)), "mismatch"),
            (format!("pbkdf2_sha1${iterations}${salt}${}", encode(&digest[..20])), "mismatch"),
            (format!("pbkdf2_sha1${iterations}${salt}${}", encode(&digest)), "malformed"),
            (
                format!(
                    "scrypt${}${salt}${block_size}${parallelism}${}",
                    1 << log_n,
                    encode(&[digest, digest].concat()),
                ),
                "mismatch",
            ),
            (format!("bcrypt$$2b$04${tail}"), "mismatch"),
            (format!("bcrypt_sha256$$2b$04${tail}"), "mismatch"),
        ] {
            prop_assert_eq!(outcome(&password, &row), expected, "{}", row);
        }
    }
}
