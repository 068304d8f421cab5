//! Tests what each caller gets, and what is removed from their requests.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

use super::*;
use crate::caller::{Anonymous, Assurance, Identity, Proof, SessionId, UserKey};
use crate::directory::{DirectoryError, Users};
use crate::django::hashers::PasswordHasher;
use crate::django::jws::Expected;
use crate::django::simplejwt::{self, SimpleJwtRules, TokenType, VerifiedSimpleJwt};
use crate::jose::{self, SigningKey};
use crate::secret::Secret;
use crate::session::testkit::kept_cookies;

const NOW: Timestamp = Timestamp::from_secs(1_780_000_000);

fn config(forms: &str, route: &str) -> Config {
    let text = format!(
        "listen.http = [\"127.0.0.1:1\"]\nupstream = [{{ name = \"a\", servers = [\"127.0.0.1:2\"] }}]\n\
         directory = [{{ kind = \"file\", name = \"staff\", path = \"u\" }}, \
         {{ kind = \"django\", database = \"sqlite:///d\" }}]\n\
         [[route]]\nname = \"r\"\npath = \"/\"\nupstream = \"a\"\n{route}\n{forms}"
    );
    Config::parse(&text, Path::new("/etc"), "gateway.toml")
        .unwrap_or_else(|report| panic!("{report}"))
        .0
}

fn caller(directory: &str, id: &str, name: &str, proof: Proof) -> Caller {
    Caller::Known(Known {
        identity: Arc::new(Identity {
            key: UserKey::new(directory, id),
            name: name.into(),
            groups: vec![],
            staff: false,
            superuser: false,
            attributes: BTreeMap::new(),
        }),
        session: Some(SessionId::new("s1")),
        proof,
        assurance: Assurance::default(),
    })
}

fn kim(proof: Proof) -> Caller {
    caller("django", "2", "kim", proof)
}

/// A directory with one user, or one that cannot be asked.
struct OneUser {
    name: &'static str,
    account: Result<Option<Account>, ()>,
}

#[async_trait]
impl Users for OneUser {
    fn name(&self) -> &str {
        self.name
    }

    fn hashers(&self) -> Arc<[PasswordHasher]> {
        Arc::new([])
    }

    fn decoy(&self) -> Secret {
        Secret::new("!")
    }

    async fn find(&self, _: &str) -> Result<Option<Account>, DirectoryError> {
        Ok(None)
    }

    async fn by_id(&self, _: &UserKey) -> Result<Option<Account>, DirectoryError> {
        self.account.clone().map_err(|()| DirectoryError {
            directory: self.name.into(),
            reason: "it is down".into(),
        })
    }

    fn as_typed<'n>(&self, name: &'n str) -> Cow<'n, str> {
        Cow::Borrowed(name)
    }

    async fn key(&self, id: &str) -> Result<UserKey, DirectoryError> {
        Ok(UserKey::new(self.name(), id))
    }

    async fn with_address(&self, _: &str) -> Result<usize, DirectoryError> {
        Ok(0)
    }

    fn upgrades_to(&self) -> Option<PasswordHasher> {
        None
    }

    fn password_store(&self) -> Option<&dyn crate::directory::PasswordStore> {
        None
    }

    async fn missing(&self) -> Result<Vec<String>, DirectoryError> {
        Ok(Vec::new())
    }
}

fn users(django: Result<Option<Account>, ()>) -> [Directory; 2] {
    [
        Directory::Users(Arc::new(OneUser { name: "staff", account: Ok(None) })),
        Directory::Users(Arc::new(OneUser { name: "django", account: django })),
    ]
}

fn account(caller: &Caller, active: bool) -> Account {
    let Some(known) = caller.known() else { panic!("nobody") };
    Account {
        identity: Arc::clone(&known.identity),
        active,
        has_second_factor: false,
        password: Secret::new("md5$a$b"),
    }
}

fn open(config: &Config) -> IdentityForms {
    IdentityForms::open(
        config,
        &users(Ok(None)),
        &Databases::default(),
        &kept_cookies(),
        Path::new("/none"),
        None,
    )
    .unwrap_or_else(|error| panic!("{error}"))
}

async fn headers(config: &Config, caller: &Caller) -> Result<Vec<(String, String)>, Refusal> {
    let forms = open(config);
    let given = forms.give(caller, &config.routes[0], &HeaderMap::new(), NOW).await?;
    let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
    Ok(given.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect())
}

const TWO: &str = "[[identity.form]]\nname = \"by-name\"\nkind = \"remote-user\"\n\
                   [[identity.form]]\nname = \"by-id\"\nkind = \"remote-user\"\nvalue = \"id\"\n\
                   header = \"X-Remote-User\"\ndirectory = \"django\"\n";

#[tokio::test]
async fn a_name_that_a_header_cannot_carry_is_refused() {
    let config = config(TWO, "identity = \"by-name\"");
    for (name, carried) in [
        ("kim", true),
        ("kim park", true),
        ("a@b+c.-_", true),
        ("\u{e9}mile", false),
        ("김", false),
        ("100%", false),
        ("%C3%A9mile", false),
        (" kim", false),
        ("kim ", false),
        ("kim\t", false),
    ] {
        let Caller::Known(known) = kim(Proof::AccessToken) else { panic!("known") };
        let identity = Identity { name: name.into(), ..(*known.identity).clone() };
        let caller = Caller::Known(Known { identity: Arc::new(identity), ..known });
        let expected = match carried {
            true => Ok(vec![("remote-user".to_owned(), name.to_owned())]),
            false => Err(Refusal::IdentityNotCarried),
        };
        assert_eq!(headers(&config, &caller).await, expected, "{name}");
    }
}

#[tokio::test]
async fn a_caller_gets_the_forms_of_how_they_came() {
    for (route, bearer, cookie) in [
        (
            "identity = [\"by-name\", \"by-id\"]",
            "remote-user=kim x-remote-user=2",
            "remote-user=kim x-remote-user=2",
        ),
        (
            "identity = { bearer = \"by-id\", cookie = \"by-name\" }",
            "x-remote-user=2",
            "remote-user=kim",
        ),
        ("identity = { cookie = [\"by-id\", \"by-name\"] }", "", "x-remote-user=2 remote-user=kim"),
    ] {
        let config = config(TWO, route);
        for (proof, expected) in [(Proof::AccessToken, bearer), (Proof::SessionCookie, cookie)] {
            let fields = headers(&config, &kim(proof)).await.unwrap();
            let fields: Vec<_> =
                fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
            assert_eq!(fields.join(" "), expected, "{route} {proof:?}");
        }
        let nobody = Caller::Anonymous(Anonymous::NoCredential);
        assert_eq!(headers(&config, &nobody).await, Ok(vec![]));
    }
}

#[tokio::test]
async fn an_id_of_another_directory_is_nobody_to_the_service() {
    let config = config(TWO, "identity = { bearer = \"by-id\", cookie = \"by-name\" }");
    let other = |proof| caller("staff", "1", "root", proof);
    assert_eq!(headers(&config, &other(Proof::AccessToken)).await, Err(Refusal::OtherDirectory));
    assert!(headers(&config, &other(Proof::SessionCookie)).await.is_ok(), "names are not ids");
}

#[test]
fn the_headers_of_forms_are_protected() {
    let forms = open(&config(TWO, "identity = [\"by-name\", \"by-id\"]"));
    assert_eq!(
        forms.names().map(HeaderName::as_str).collect::<Vec<_>>(),
        ["remote-user", "x-remote-user"]
    );
}

const SECRET: &str = "0123456789abcdefghijklmnopqrstuv";

/// Returns a configuration with one minted form, whose key is this text.
fn minting(kind: &str, secret: &str, more: &str) -> (Config, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    crate::private_file::create(&file, secret.as_bytes()).unwrap();
    let form = format!(
        "[[identity.form]]\nname = \"f\"\nkind = \"{kind}\"\ndirectory = \"django\"\nkey_file = \"{}\"\n{more}",
        file.display()
    );
    (config(&form, "identity = \"f\""), folder)
}

fn verified(field: &HeaderValue, at: Timestamp) -> Option<VerifiedSimpleJwt> {
    let key = SigningKey::read(jose::Algorithm::Hs256, SECRET.as_bytes()).unwrap();
    let rules = SimpleJwtRules {
        token_types: vec![TokenType::Access],
        user_id_claim: "user_id".into(),
        expected: Expected::default(),
    };
    let token = field.to_str().unwrap().strip_prefix("Bearer ").unwrap();
    simplejwt::verify(&key.verifying().unwrap(), &rules, token, at).ok()
}

#[tokio::test]
async fn a_token_is_minted_once_and_again_before_it_expires() {
    let (config, _folder) = minting("simplejwt", &format!("{SECRET}\n"), "");
    let (forms, kim) = (open(&config), kim(Proof::AccessToken));
    let at = |secs| NOW.plus(std::time::Duration::from_secs(secs));
    let mut last = None;
    for (secs, same) in [(0, false), (0, true), (44, true), (45, false), (89, true), (1000, false)]
    {
        let given = forms.give(&kim, &config.routes[0], &HeaderMap::new(), at(secs)).await.unwrap();
        let [(name, value)] = &given.headers[..] else { panic!("{given:?}") };
        assert_eq!(name, AUTHORIZATION);
        let found = verified(value, at(secs + 14)).unwrap();
        assert_eq!(found.user.as_deref(), Some("2"));
        assert_eq!(last.as_ref() == Some(value), same, "after {secs} s");
        assert!(!format!("{given:?}").contains("eyJ"), "a token is no text for a log");
        last = Some(value.clone());
    }
    // The same session has another identity now, so the cached token is not used.
    let given = forms
        .give(&self::kim(Proof::AccessToken), &config.routes[0], &HeaderMap::new(), at(1000))
        .await
        .unwrap();
    assert_ne!(last.as_ref(), Some(&given.headers[0].1));
}

/// `Authorization` has the caller's own token if its issuer says so, and the form's value otherwise.
#[tokio::test]
async fn a_token_that_goes_on_by_its_issuers_word_is_not_replaced() {
    let issuer =
        |more: &str| format!("[[issuer]]\nkind = \"drf-token\"\ndirectory = \"django\"\n{more}\n");
    let token = || kim(Proof::Issued(IssuerName::new("drf-token")));
    for (more, caller, is_kept) in [
        ("forward = true", token(), true),
        ("forward = true\nupstreams = [\"a\"]", token(), true),
        ("forward = true", kim(Proof::AccessToken), false),
        ("forward = true", kim(Proof::Issued(IssuerName::new("another"))), false),
        ("", token(), false),
        ("forward = false", token(), false),
        ("forward = true\nheader = \"X-Key\"", token(), false),
    ] {
        let (config, _folder) = minting("simplejwt", SECRET, &issuer(more));
        let given = open(&config).give(&caller, &config.routes[0], &HeaderMap::new(), NOW).await;
        let given = given.unwrap();
        let is_given = given.headers.iter().any(|(name, _)| *name == AUTHORIZATION);
        assert_eq!((given.keeps_authorization, is_given), (is_kept, !is_kept), "{more} {caller:?}");
    }
}

#[tokio::test]
async fn a_service_with_sliding_tokens_gets_one_that_cannot_be_refreshed_further() {
    let (config, _folder) = minting("simplejwt", SECRET, "token_type = \"sliding\"");
    let given = open(&config)
        .give(&kim(Proof::AccessToken), &config.routes[0], &HeaderMap::new(), NOW)
        .await
        .unwrap();
    let token = given.headers[0].1.to_str().unwrap().strip_prefix("Bearer ").unwrap();
    let key = SigningKey::read(jose::Algorithm::Hs256, SECRET.as_bytes());
    let rules = SimpleJwtRules {
        token_types: vec![TokenType::Sliding],
        user_id_claim: "user_id".into(),
        expected: Expected::default(),
    };
    let found = simplejwt::verify(&key.unwrap().verifying().unwrap(), &rules, token, NOW).unwrap();
    assert_eq!(found.user.as_deref(), Some("2"));
    assert_eq!(found.refresh_expires_at, Some(found.expires_at));
    assert_eq!(found.session, None);
}

#[tokio::test]
async fn a_token_names_the_password_where_the_service_asks_for_it() {
    let (config, _folder) = minting("simplejwt", SECRET, "check_revoke_token = true");
    let kim = kim(Proof::SessionCookie);
    let print = simplejwt::password_print(&account(&kim, true).password);
    for (django, expected) in [
        (Ok(Some(account(&kim, true))), Ok(Some(print))),
        (Ok(Some(account(&kim, false))), Err(Refusal::SessionEnded)),
        (Ok(None), Err(Refusal::SessionEnded)),
        (Err(()), Err(Refusal::IdentityUnavailable)),
    ] {
        let forms = IdentityForms::open(
            &config,
            &users(django),
            &Databases::default(),
            &kept_cookies(),
            Path::new("/none"),
            None,
        )
        .unwrap_or_else(|e| panic!("{e}"));
        let given = forms.give(&kim, &config.routes[0], &HeaderMap::new(), NOW).await;
        let password = given.map(|given| verified(&given.headers[0].1, NOW).unwrap().password);
        assert_eq!(password, expected);
    }
}

#[tokio::test]
async fn a_hand_made_token_has_no_scheme() {
    let (config, _folder) = minting("jwt", SECRET, "");
    let forms = open(&config);
    let given = forms
        .give(&kim(Proof::AccessToken), &config.routes[0], &HeaderMap::new(), NOW)
        .await
        .unwrap();
    let [(name, value)] = &given.headers[..] else { panic!("{given:?}") };
    let key =
        SigningKey::read(jose::Algorithm::Hs256, SECRET.as_bytes()).unwrap().verifying().unwrap();
    let expected = Expected::default();
    let found =
        simplejwt::verify_hand_made(&key, "id", &expected, value.to_str().unwrap(), NOW).unwrap();
    assert_eq!((name.as_str(), found.user.as_str()), ("jwt-auth", "2"));
    assert!(found.expires_at.is_some() && found.token_id.is_some());
    assert_eq!(found.session.as_deref(), Some("s1"));
    assert_eq!(forms.names().count(), 1);
    assert!(!forms.clears(&config.routes[0]).unwrap().authorization);
}

#[test]
fn a_key_that_can_be_guessed_needs_a_word() {
    for weak in ["SECRET", "django-insecure-0123456789abcdefghij", &"ab".repeat(40)] {
        let (config, _folder) = minting("jwt", weak, "");
        let error = IdentityForms::open(
            &config,
            &users(Ok(None)),
            &Databases::default(),
            &kept_cookies(),
            Path::new("/none"),
            None,
        )
        .err()
        .unwrap()
        .to_string();
        assert!(error.contains("danger_weak_key") && !error.contains(weak), "{error}");
        let (config, _folder) = minting("jwt", weak, "danger_weak_key = true");
        assert!(
            IdentityForms::open(
                &config,
                &users(Ok(None)),
                &Databases::default(),
                &kept_cookies(),
                Path::new("/none"),
                None,
            )
            .is_ok()
        );
    }
}

#[test]
fn a_route_clears_what_any_of_its_forms_sets() {
    let (config, _folder) = minting("simplejwt", SECRET, "");
    let forms = open(&config);
    assert_eq!(forms.names().count(), 0, "Authorization is for others too");
    assert!(forms.clears(&config.routes[0]).unwrap().authorization);
}
