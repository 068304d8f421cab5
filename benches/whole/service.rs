//! What a Django service has that forms and issuers need: its database, as far as the gateway looks, and its key.

use std::path::Path;
use std::time::{Duration, SystemTime};

use doorwarden::clock::Timestamp;
use doorwarden::django::jws::{Algorithm, SigningKey};
use doorwarden::django::simplejwt::{self, NewHandMade, NewToken, TokenType};

use super::gateway::write_private;

const KEY: &str = "the-services-own-secret-key-of-fifty-characters-0123456789";

/// `kim`, with the password of the benchmark in Django's encoding.
const TABLES: &str = "
    CREATE TABLE auth_user (id integer PRIMARY KEY, password varchar(128), username varchar(150) UNIQUE,
        is_superuser bool, is_staff bool, is_active bool, email varchar(254), last_login datetime);
    CREATE TABLE auth_group (id integer PRIMARY KEY, name varchar(150));
    CREATE TABLE auth_user_groups (id integer PRIMARY KEY, user_id integer, group_id integer);
    CREATE TABLE django_session (session_key varchar(40) PRIMARY KEY, session_data text, expire_date datetime);
    CREATE TABLE authtoken_token (key varchar(40) PRIMARY KEY, created datetime, user_id integer UNIQUE);
    INSERT INTO auth_user VALUES (2, 'pbkdf2_sha256$1$benchmark$W4OkcsnWidUiL8fZ75XpVdV8WqcnDN3FcsMKsfutRJc=', 'kim', 0, 0, 1, '', NULL);
    INSERT INTO authtoken_token VALUES ('0123456789abcdef0123456789abcdef01234567', '2026-01-01', 2);
";

/// The forms that are measured: each has a route of its name, `/NAME/`.
pub(crate) const FORMS: [&str; 6] =
    ["remote-user", "simplejwt", "jwt", "drf-token", "django-session", "signed-cookies"];

/// Writes the database and the key into the gateway's folder.
pub(crate) fn make(folder: &Path) {
    let database = rusqlite::Connection::open(folder.join("service.sqlite3")).unwrap();
    database.execute_batch(TABLES).unwrap();
    write_private(&folder.join("service-key"), KEY.as_bytes());
}

/// Directory, issuers, forms and routes of a gateway in front of it.
pub(crate) fn config() -> String {
    let mut text = r#"
[[directory]]
kind = "django"
database = "sqlite://service.sqlite3"

[[issuer]]
kind = "simplejwt"
key_file = "service-key"

[[issuer]]
kind = "jwt"
key_file = "service-key"
"#
    .to_owned();
    for name in FORMS {
        let (kind, keys) = match name {
            "simplejwt" | "jwt" | "django-session" => (name, "key_file = \"service-key\"\n"),
            "signed-cookies" => {
                ("django-session", "key_file = \"service-key\"\nengine = \"signed_cookies\"\n")
            }
            _ => (name, ""),
        };
        text += &format!(
            "[[identity.form]]\nname = \"{name}\"\nkind = \"{kind}\"\n{keys}\
             [[route]]\nname = \"{name}\"\npath = \"/{name}/\"\nupstream = \"app\"\nidentity = \"{name}\"\n"
        );
    }
    text
}

/// What clients have from the service: the issuer's kind, a header's name and its value.
#[expect(
    clippy::disallowed_methods,
    reason = "tokens are dated, and the gateway has the system's clock"
)]
pub(crate) fn issued() -> [(&'static str, &'static str, String); 2] {
    let key = SigningKey::read(Algorithm::default(), KEY.as_bytes()).unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let now = Timestamp::from_secs(now.as_secs());
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
    [
        ("simplejwt", "Authorization", format!("Bearer {}", access.expose())),
        ("jwt", "jwt-auth", made.expose().to_owned()),
    ]
}
