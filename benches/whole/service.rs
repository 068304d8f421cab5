//! Provides what forms and issuers need of a Django service: the part of its database that the gateway reads, and its key.
//! There is also an application with a login form, which the upstream plays.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use doorwarden::clock::Timestamp;
use doorwarden::django::session::DjangoLogin;
use doorwarden::django::signing::SecretKeys;
use doorwarden::django::simplejwt::{self, NewHandMade, NewToken, TokenType};
use doorwarden::jose::{Algorithm, SigningKey};
use doorwarden::secret::Secret;
use rusqlite::{Connection, params};

use super::gateway::{PASSWORD, write_private};
use super::upstream;

/// The service's secret key.
pub(crate) const KEY: &str = "the-services-own-secret-key-of-fifty-characters-0123456789";
const SESSION_KEY: &str = "s49sbe7nu4m5dqvgmyfs8eiwk4mmt2xl";
const API_TOKEN: &str = "0123456789abcdef0123456789abcdef01234567";
const BACKEND: &str = "django.contrib.auth.backends.ModelBackend";
/// `PASSWORD` in Django's encoding.
const ENCODED: &str = "pbkdf2_sha256$1$benchmark$W4OkcsnWidUiL8fZ75XpVdV8WqcnDN3FcsMKsfutRJc=";

const TABLES: &str = "
    CREATE TABLE auth_user (id integer PRIMARY KEY, password varchar(128), username varchar(150) UNIQUE,
        is_superuser bool, is_staff bool, is_active bool, email varchar(254), last_login datetime);
    CREATE TABLE auth_group (id integer PRIMARY KEY, name varchar(150));
    CREATE TABLE auth_user_groups (id integer PRIMARY KEY, user_id integer, group_id integer);
    CREATE TABLE django_session (session_key varchar(40) PRIMARY KEY, session_data text, expire_date datetime);
    CREATE TABLE authtoken_token (key varchar(40) PRIMARY KEY, created datetime, user_id integer UNIQUE);
";

/// An identity form that is measured, on the route of its name, `/NAME/`.
pub(crate) struct Form {
    pub(crate) name: &'static str,
    keys: &'static str,
    /// The user who has signed in.
    pub(crate) user: &'static str,
    /// What the service then receives, in lower case.
    pub(crate) gets: &'static str,
}

const fn form(name: &'static str, keys: &'static str, gets: &'static str) -> Form {
    Form { name, keys, user: "kim", gets }
}

pub(crate) const FORMS: [Form; 7] = [
    form("remote-user", "", "remote-user: kim\r\n"),
    form("simplejwt", "key_file = \"service-key\"\n", "authorization: bearer ey"),
    form("jwt", "key_file = \"service-key\"\n", "jwt-auth: ey"),
    form("drf-token", "", "authorization: token 0123456789abcdef"),
    form("django-session", "key_file = \"service-key\"\n", "; sessionid="),
    form(
        "signed-cookies",
        "key_file = \"service-key\"\nengine = \"signed_cookies\"\n",
        "; sessionid=",
    ),
    Form { name: "cookies", keys: "", user: "ann", gets: "; phpsessid=" },
];

/// A credential that the service has issued.
pub(crate) struct Issued {
    /// The kind of the issuer.
    pub(crate) issuer: &'static str,
    pub(crate) header: &'static str,
    pub(crate) value: String,
}

/// The service's database.
pub(crate) struct Service(Connection);

impl Service {
    /// Writes the database and the key into the gateway's folder. `kim` has a session and a token in the database.
    pub(crate) fn make(folder: &Path) -> Self {
        let database = Connection::open(folder.join("service.sqlite3")).unwrap();
        database.execute_batch(TABLES).unwrap();
        let user = "INSERT INTO auth_user VALUES (2, ?, 'kim', 0, 0, 1, '', NULL)";
        database.execute(user, params![ENCODED]).unwrap();
        let token = "INSERT INTO authtoken_token VALUES (?, '2026-01-01', 2)";
        database.execute(token, params![API_TOKEN]).unwrap();
        let keys = SecretKeys::new(Secret::new(KEY), Vec::new());
        let data = DjangoLogin::new("2".to_owned(), BACKEND.to_owned(), ENCODED, &keys);
        let session = "INSERT INTO django_session VALUES (?, ?, datetime('now', '+14 days'))";
        database.execute(session, params![SESSION_KEY, data.to_row(&keys, now())]).unwrap();
        write_private(&folder.join("service-key"), KEY.as_bytes());
        Self(database)
    }

    /// Does the work while nobody else can read or write the database.
    pub(crate) fn locked<T>(&self, work: impl FnOnce() -> T) -> T {
        self.0.execute_batch("BEGIN EXCLUSIVE").unwrap();
        let done = work();
        self.0.execute_batch("ROLLBACK").unwrap();
        done
    }
}

/// Returns the directories, issuers, forms and routes of a gateway in front of the service, and a route in shadow mode.
pub(crate) fn config(application: SocketAddr) -> String {
    let mut text = format!(
        r#"
[shadow]
routes = ["shadowed"]

[[route]]
name = "shadowed"
path = "/shadowed/"
upstream = "app"

[[directory]]
kind = "django"
database = "sqlite://service.sqlite3"

[[directory]]
kind = "http"
url = "http://{application}{path}"
success = {{ status = [302], cookie = "{cookie}" }}
refused = {{ status = [401] }}
"#,
        path = upstream::SIGN_IN,
        cookie = upstream::COOKIE,
    );
    for (kind, keys) in [
        ("simplejwt", "key_file = \"service-key\"\n"),
        ("jwt", "key_file = \"service-key\"\n"),
        ("django-session", "key_file = \"service-key\"\n"),
        ("drf-token", ""),
        ("basic", ""),
    ] {
        text += &format!("\n[[issuer]]\nkind = \"{kind}\"\ndirectory = \"django\"\n{keys}");
    }
    for Form { name, keys, .. } in FORMS {
        let (kind, directory) = match name {
            "signed-cookies" => ("django-session", "django"),
            "cookies" => (name, "http"),
            _ => (name, "django"),
        };
        text += &format!(
            "\n[[identity.form]]\nname = \"{name}\"\nkind = \"{kind}\"\ndirectory = \"{directory}\"\n{keys}\
             [[route]]\nname = \"{name}\"\npath = \"/{name}/\"\nupstream = \"app\"\nidentity = \"{name}\"\n"
        );
    }
    text
}

#[expect(
    clippy::disallowed_methods,
    reason = "tokens are dated, and the gateway has the system's clock"
)]
fn now() -> Timestamp {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Timestamp::from_secs(now.as_secs())
}

/// The settings of a gateway in front of the service that accepts the service's access tokens.
pub(crate) const SIMPLEJWT: &str = r#"
[[directory]]
kind = "django"
database = "sqlite://service.sqlite3"

[[issuer]]
kind = "simplejwt"
directory = "django"
key_file = "service-key"
"#;

/// Returns `count` access tokens of `kim`, signed with this key.
pub(crate) fn access_tokens(count: u32, key: &str) -> Vec<String> {
    let key = SigningKey::read(Algorithm::default(), key.as_bytes()).unwrap();
    let now = now();
    let token = |number: u32| {
        let token = NewToken {
            token_type: TokenType::Access,
            expires_at: now.plus(Duration::from_secs(3600)),
            issued_at: now,
            token_id: &format!("{number:032x}"),
            user_id_claim: "user_id",
            user: "2",
            password: None,
            audience: None,
            issuer: None,
        };
        format!("Bearer {}", simplejwt::mint(&key, &token).unwrap().expose())
    };
    (0..count).map(token).collect()
}

/// Returns the credentials that the service issued to `kim`: one for each issuer.
pub(crate) fn issued() -> [Issued; 5] {
    let key = SigningKey::read(Algorithm::default(), KEY.as_bytes()).unwrap();
    let now = now();
    let expires_at = now.plus(Duration::from_secs(3600));
    let access = NewToken {
        token_type: TokenType::Access,
        expires_at,
        issued_at: now,
        token_id: "0123456789abcdef0123456789abcdef",
        user_id_claim: "user_id",
        user: "2",
        password: None,
        audience: None,
        issuer: None,
    };
    let made = NewHandMade {
        claim: "id",
        user: "2",
        name: "kim",
        expires_at,
        issued_at: now,
        token_id: "0123456789abcdef0123456789abcdef",
        session: None,
    };
    let access = simplejwt::mint(&key, &access).unwrap();
    let made = simplejwt::mint_hand_made(&key, &made).unwrap();
    let basic = BASE64_STANDARD.encode(format!("kim:{PASSWORD}"));
    let issued = |issuer, header, value| Issued { issuer, header, value };
    [
        issued("simplejwt", "Authorization", format!("Bearer {}", access.expose())),
        issued("jwt", "jwt-auth", made.expose().to_owned()),
        issued("django-session", "Cookie", format!("sessionid={SESSION_KEY}")),
        issued("drf-token", "Authorization", format!("Token {API_TOKEN}")),
        issued("basic", "Authorization", format!("Basic {basic}")),
    ]
}
