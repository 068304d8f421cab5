//! Which credentials of a service reach the service: by issuer, caller and route.

use super::testkit::{Fields, arrival, route};
use super::*;
use crate::context::Events;
use crate::django::simplejwt::{NewHandMade, NewToken, TokenType, mint, mint_hand_made};
use crate::issuer::testkit::Kit;
use crate::jose::{Algorithm, SigningKey};
use crate::session::testkit::{NOW, account};

const SECRET: &str = "the service's own secret, which is long enough";

/// The credentials that a request can carry: kim's, unless it says another.
struct Credentials {
    /// The gateway's own.
    access: String,
    cookie: String,
    /// The service's, of the kinds `simplejwt` and `jwt`.
    token: String,
    token_of_lee: String,
    hand_made: String,
}

/// A gate whose routes are public, optional and for users, with these issuers.
struct Setting {
    gate: Gate,
    credentials: Credentials,
    _keep: tempfile::TempDir,
}

fn token(user: &str) -> String {
    let key = SigningKey::read(Algorithm::Hs256, SECRET.as_bytes()).unwrap();
    let new = NewToken {
        token_type: TokenType::Access,
        expires_at: NOW.plus(Duration::from_secs(3600)),
        issued_at: NOW,
        token_id: user,
        user_id_claim: "user_id",
        user,
        password: None,
        audience: None,
        issuer: None,
    };
    mint(&key, &new).unwrap().expose().to_owned()
}

fn hand_made(user: &str) -> String {
    let key = SigningKey::read(Algorithm::Hs256, SECRET.as_bytes()).unwrap();
    let new = NewHandMade {
        claim: "id",
        user,
        name: "kim",
        expires_at: NOW.plus(Duration::from_secs(600)),
        issued_at: NOW,
        token_id: "t",
        session: None,
    };
    mint_hand_made(&key, &new).unwrap().expose().to_owned()
}

/// Each issuer is its kind and more settings.
async fn setting(issuers: &[(&str, &str)]) -> Setting {
    use std::os::unix::fs::PermissionsExt as _;
    let keep = tempfile::tempdir().unwrap();
    let key = keep.path().join("key");
    std::fs::write(&key, SECRET).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let tables = issuers.iter().map(|(kind, more)| {
        let key = if *kind == "basic" { String::new() } else { format!("key_file = {key:?}\n") };
        format!("[[issuer]]\nkind = \"{kind}\"\ndirectory = \"django\"\n{key}{more}\n")
    });
    let routes = [
        route("/public/", "access = \"public\""),
        route("/optional/", "access = \"optional\""),
        route("/users/", ""),
        route("/cookies/", "access = \"public\"\ncredentials = [\"cookie\"]"),
    ];
    let config = super::testkit::config(&(tables.collect::<String>() + &routes.concat()));
    let kit = Kit::with(|parts| parts.issuers = config.issuers.clone());
    kit.directory.accounts.lock().push(account("8", "lee", "right"));
    let signed_in = kit.sign_in("kim", "right", &Events::default()).await.unwrap();
    let credentials = Credentials {
        access: signed_in.tokens.unwrap().access.expose().to_owned(),
        cookie: format!("__Host-doorwarden={}", signed_in.cookie.unwrap().expose()),
        token: token("7"),
        token_of_lee: token("8"),
        hand_made: hand_made("7"),
    };
    Setting { gate: Gate::new(&config, Arc::new(kit.issuers)), credentials, _keep: keep }
}

impl Setting {
    /// Returns what is forwarded: `A` for `Authorization`, the indices of issuers for their headers, `-` for nothing; or why
    /// the request is refused.
    async fn forwarded(&self, path: &str, fields: Fields<'_>) -> String {
        match self.gate.decide(&arrival("GET", path, fields, NOW)).await {
            Decision::Forward(permit) => {
                let mut all = Vec::new();
                all.extend(permit.keeps_authorization().then(|| "A".to_owned()));
                all.extend(permit.forwarded_headers().iter().map(usize::to_string));
                if all.is_empty() { "-".to_owned() } else { all.join(" ") }
            }
            Decision::Refuse(denial) => denial.refusal.code().to_owned(),
            other => panic!("{path}: {other:?}"),
        }
    }

    /// Returns the names of the issuers' cookies that are forwarded.
    async fn cookies(&self, path: &str, fields: Fields<'_>) -> String {
        match self.gate.decide(&arrival("POST", path, fields, NOW)).await {
            Decision::Forward(permit) => match permit.kept_cookies() {
                ForwardedCookies::All => "all".to_owned(),
                ForwardedCookies::These(names) => names.join(" "),
            },
            Decision::Refuse(denial) => denial.refusal.code().to_owned(),
            other => panic!("{path}: {other:?}"),
        }
    }
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

#[tokio::test]
async fn a_header_that_is_read_here_is_forwarded_only_to_a_service_that_shall_have_it() {
    let forward = "forward = true";
    let elsewhere = "forward = true\nupstreams = [\"other\"]";
    let here = "forward = true\nupstreams = [\"app\", \"other\"]";
    for (settings, expected) in [
        (forward, "A"),
        (here, "A"),
        (elsewhere, "-"),
        ("forward = false", "-"),
        ("forward = false\nupstreams = [\"app\"]", "-"),
    ] {
        let there = setting(&[("simplejwt", settings)]).await;
        let Credentials { access, cookie, token, token_of_lee, .. } = &there.credentials;
        let (own, theirs) = (bearer(access), bearer(token));
        for path in ["/public/", "/optional/", "/users/"] {
            let fields = [("authorization", theirs.as_str())];
            assert_eq!(there.forwarded(path, &fields).await, expected, "{settings} {path}");
            let fields = [("authorization", theirs.as_str()), ("cookie", cookie)];
            assert_eq!(there.forwarded(path, &fields).await, expected, "{settings} {path}");
            let fields = [("authorization", own.as_str())];
            assert_eq!(there.forwarded(path, &fields).await, "-", "{settings} {path}");
        }
        // Another user's token is refused, and a forged one does not reach the service.
        let (lees, forged) = (bearer(token_of_lee), bearer(&format!("{token}A")));
        let fields = [("authorization", lees.as_str()), ("cookie", cookie)];
        assert_eq!(there.forwarded("/users/", &fields).await, "conflicting_credentials");
        let fields = [("authorization", forged.as_str())];
        assert_eq!(there.forwarded("/public/", &fields).await, "-", "{settings}");
        assert_eq!(there.forwarded("/public/", &[("authorization", "Bearer ")]).await, "-");
        // A scheme that no issuer reads is forwarded, whoever is calling.
        for fields in [
            &[("authorization", "Digest x"), ("cookie", cookie.as_str())][..],
            &[("authorization", "Digest x")],
        ] {
            assert_eq!(there.forwarded("/public/", fields).await, "A", "{settings} {fields:?}");
        }
        assert_eq!(there.forwarded("/public/", &[("cookie", cookie)]).await, "-", "{settings}");
        assert_eq!(there.forwarded("/public/", &[]).await, "-", "{settings}");
        // A route that reads only cookies forwards a token that nobody checked, but never the gateway's own.
        for (value, expected) in [(&theirs, "A"), (&own, "-")] {
            let fields = [("authorization", value.as_str())];
            assert_eq!(there.forwarded("/cookies/", &fields).await, expected, "{settings}");
        }
    }
}

#[tokio::test]
async fn without_an_issuer_a_service_gets_its_own_schemes_and_no_broken_token() {
    let there = setting(&[]).await;
    let cookie = ("cookie", there.credentials.cookie.as_str());
    for (value, expected) in [
        ("Digest x", "A"),
        ("Bearer", "-"),
        ("Bearer ", "-"),
        ("Bearer a b", "-"),
        ("bearer\ta", "-"),
    ] {
        let is = there.forwarded("/public/", &[("authorization", value)]).await;
        assert_eq!(is, expected, "{value:?}");
    }
    assert_eq!(there.forwarded("/users/", &[("authorization", "Digest x"), cookie]).await, "A");
    assert_eq!(there.forwarded("/users/", &[cookie]).await, "-");
}

#[tokio::test]
async fn of_several_issuers_each_has_its_own_word_on_its_header() {
    for (simplejwt, jwt, only_token, only_hand_made, both) in [
        ("forward = true", "forward = true", "A 1", "1", "A 1"),
        ("forward = true", "forward = false", "A", "-", "A"),
        ("forward = false", "forward = true", "1", "1", "1"),
        ("forward = false", "forward = false", "-", "-", "-"),
        ("forward = true", "forward = true\nupstreams = [\"other\"]", "A", "-", "A"),
    ] {
        let there = setting(&[("simplejwt", simplejwt), ("jwt", jwt)]).await;
        let Credentials { token, hand_made, cookie, .. } = &there.credentials;
        let token = bearer(token);
        let (token, hand_made) = (("authorization", token.as_str()), ("jwt-auth", &**hand_made));
        let cookie = ("cookie", cookie.as_str());
        for (fields, expected) in [
            (&[token][..], only_token),
            (&[hand_made], only_hand_made),
            (&[token, hand_made], both),
            (&[token, hand_made, cookie], both),
        ] {
            let is = there.forwarded("/users/", fields).await;
            assert_eq!(is, expected, "{simplejwt}, {jwt}: {fields:?}");
        }
    }
}

#[tokio::test]
async fn two_issuers_of_one_header_are_asked_for_the_one_whose_token_it_is() {
    let (forward, keep) = ("forward = true", "forward = false");
    let basic = "cache_for = \"1m\"";
    for (simplejwt, of_basic, token, password) in [
        (forward, forward, "A", "A"),
        (forward, keep, "A", "-"),
        (keep, forward, "-", "A"),
        (keep, keep, "-", "-"),
    ] {
        let of_basic = format!("{basic}\n{of_basic}");
        let there = setting(&[("simplejwt", simplejwt), ("basic", &of_basic)]).await;
        let of_token = bearer(&there.credentials.token);
        // kim:right
        for (value, expected) in [(of_token.as_str(), token), ("Basic a2ltOnJpZ2h0", password)] {
            let is = there.forwarded("/users/", &[("authorization", value)]).await;
            assert_eq!(is, expected, "{simplejwt}, {of_basic}: {value}");
        }
    }
}

#[tokio::test]
async fn a_token_in_a_header_is_forwarded_where_its_issuer_takes_it_in_a_cookie_too() {
    let there = setting(&[("simplejwt", "forward = true\ncookie = \"access-token\"")]).await;
    let Credentials { token, .. } = &there.credentials;
    let (header, cookie) = (bearer(token), format!("access-token={token}"));
    let header = ("authorization", header.as_str());
    assert_eq!(there.forwarded("/users/", &[header]).await, "A");
    assert_eq!(there.forwarded("/users/", &[("cookie", &cookie)]).await, "-");
    assert_eq!(there.forwarded("/users/", &[header, ("cookie", &cookie)]).await, "A");
}

#[tokio::test]
async fn of_several_cookies_those_of_the_caller_are_forwarded_where_their_issuers_forward() {
    let one = "cookie = \"one\"\nforward = true";
    let named = |cookie: &str, forward: bool| {
        format!("name = \"{cookie}\"\ncookie = \"{cookie}\"\nforward = {forward}")
    };
    let same = ("sec-fetch-site", "same-origin");
    let cross = ("sec-fetch-site", "cross-site");
    let alone = setting(&[("simplejwt", one)]).await;
    let (kim, lee) = (&alone.credentials.token, &alone.credentials.token_of_lee);
    let (both, mixed) = (format!("one={kim}; two={kim}"), format!("one={kim}; two={lee}"));
    // The only cookie is the caller's credential, and the identity forms decide whether it is forwarded.
    assert_eq!(alone.cookies("/public/", &[("cookie", &both), same]).await, "");
    assert_eq!(alone.cookies("/public/", &[]).await, "all");
    for (first, second, of_both, of_token) in [
        (true, true, "one two", "one two"),
        (true, false, "one", "one"),
        (false, true, "two", "two"),
        (false, false, "", ""),
    ] {
        let issuers = [named("one", first), named("two", second)];
        let issuers = issuers.each_ref().map(|more| ("simplejwt", more.as_str()));
        let there = setting(&issuers).await;
        let what = format!("{first} {second}");
        assert_eq!(there.cookies("/public/", &[("cookie", &both), same]).await, of_both, "{what}");
        // A page of another site is served as an anonymous caller, without the cookies.
        assert_eq!(there.cookies("/public/", &[("cookie", &both), cross]).await, "", "{what}");
        let is = there.cookies("/public/", &[("cookie", &mixed), same]).await;
        assert_eq!(is, "conflicting_credentials", "{what}");
        let token = bearer(&there.credentials.access);
        let fields = [("authorization", token.as_str()), ("cookie", &both)];
        assert_eq!(there.cookies("/public/", &fields).await, of_token, "{what}");
    }
}
