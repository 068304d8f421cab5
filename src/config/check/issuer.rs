//! `[[issuer]]`: each kind has its own keys, and all have a directory and a place in the request.

use super::database::{SERVER_KEYS, database};
use super::{DAY, MINUTE, secs, values};
use crate::config::raw::{Item, Table, Wrong, nearest};
use crate::config::{
    CredentialPlace, Database, DirectoryKind, DirectorySettings, DjangoSessionIssuer,
    IdentityHeaders, IssuerKey, IssuerKind, IssuerSettings, IssuerSignature, KnoxVersion, Refusals,
    ServiceCache, SessionEngine, SimpleJwtIssuer, Upstream,
};
use crate::django::jws::Algorithm;
use crate::django::simplejwt::TokenType;
use crate::wire::forward::fold;

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    SimpleJwt,
    Jwt,
    DjangoSession,
    DrfToken,
    Knox,
    Basic,
}

const KINDS: [(&str, Kind); 6] = [
    ("simplejwt", Kind::SimpleJwt),
    ("jwt", Kind::Jwt),
    ("django-session", Kind::DjangoSession),
    ("drf-token", Kind::DrfToken),
    ("knox", Kind::Knox),
    ("basic", Kind::Basic),
];

const REFUSALS: [(&str, Refusals); 2] = [("gateway", Refusals::Gateway), ("jwt", Refusals::Jwt)];

/// Keys besides those that every kind has, each with the kinds that have it.
const KEYS: [(&str, &[&str]); 34] = [
    ("header", &["simplejwt", "jwt", "drf-token"]),
    ("schemes", &["simplejwt", "jwt", "drf-token", "knox"]),
    ("version", &["knox"]),
    ("forward", &["simplejwt", "jwt", "drf-token", "knox", "basic"]),
    ("algorithm", &["simplejwt", "jwt"]),
    ("key_file", &["simplejwt", "jwt", "django-session"]),
    ("public_key_file", &["simplejwt", "jwt"]),
    ("leeway", &["simplejwt", "jwt"]),
    ("numeric_ids", &["simplejwt", "jwt"]),
    ("danger_weak_key", &["simplejwt", "jwt"]),
    ("token_types", &["simplejwt"]),
    ("user_id_claim", &["simplejwt"]),
    ("audience", &["simplejwt"]),
    ("issuer", &["simplejwt"]),
    ("check_revoke_token", &["simplejwt"]),
    ("take_over_refresh", &["simplejwt"]),
    ("blacklist", &["simplejwt"]),
    ("claim", &["jwt"]),
    ("refusals", &["jwt"]),
    ("max_age", &["jwt", "django-session"]),
    ("engine", &["django-session"]),
    ("cookie", &["django-session", "simplejwt", "jwt"]),
    ("cookie_domain", &["django-session", "simplejwt", "jwt"]),
    ("upstreams", &["django-session", "simplejwt", "jwt", "drf-token", "knox", "basic"]),
    ("danger_mint", &["django-session"]),
    ("fallback_key_files", &["django-session"]),
    ("backends", &["django-session"]),
    ("table", &["django-session", "drf-token", "knox"]),
    ("cache", &["django-session"]),
    ("cache_password_file", &["django-session"]),
    ("cache_prefix", &["django-session"]),
    ("cache_version", &["django-session"]),
    ("cache_for", &["basic"]),
    ("challenge", &["basic"]),
];

/// Of those, the ones that only a session engine with a cache has.
const CACHE_KEYS: [&str; 4] = ["cache", "cache_password_file", "cache_prefix", "cache_version"];

/// What is asked of all of them for each request that none of them knows.
const MOST: usize = 16;

pub(super) fn issuers(
    root: &Table<'_>,
    directories: &[DirectorySettings],
    identity: &IdentityHeaders,
    upstreams: &[Item<Upstream>],
) -> Vec<IssuerSettings> {
    let mut all: Vec<IssuerSettings> = Vec::new();
    root.tables("issuer", |table| {
        let Some((issuer, cookie)) = issuer(table, directories, upstreams) else { return };
        if all.iter().any(|other| other.name == issuer.name) {
            let key = if table.has("name") { "name" } else { "kind" };
            table.error(
                key,
                Wrong::new(format!("{:?} is another issuer's name", issuer.name))
                    .help("give each issuer of the same kind its own name"),
            );
        }
        if let Some(header) = issuer.header() {
            let folded = fold(header);
            if identity.names().any(|name| fold(name) == folded) {
                table.error(
                    "header",
                    Wrong::new(format!("{header:?} tells the upstream who is calling"))
                        .help("a client that could send it could be anybody; see [identity]"),
                );
            }
        }
        let users = directories.iter().find(|directory| directory.name == issuer.directory);
        if users.is_some_and(|users| matches!(users.kind, DirectoryKind::Http(_))) {
            let key = if table.has("directory") { "directory" } else { "kind" };
            table.error(
                key,
                Wrong::new(format!("{:?} cannot look up whose a token is", issuer.directory))
                    .help("an http directory learns of a user when they sign in"),
            );
        }
        let in_cookie = cookie.map(|name| issuer.in_cookie(name));
        all.push(issuer);
        all.extend(in_cookie);
    });
    if all.iter().filter(|issuer| !issuer.is_token_in_cookie()).count() > MOST {
        root.error("issuer", Wrong::new(format!("there are more than {MOST}")));
    }
    all
}

/// An issuer, and the cookie in which its tokens come besides.
fn issuer(
    table: &Table<'_>,
    directories: &[DirectorySettings],
    all_upstreams: &[Item<Upstream>],
) -> Option<(IssuerSettings, Option<String>)> {
    table.require("kind", &format!("allowed: {}", listed(KINDS.iter().map(|(word, _)| *word))));
    let kind = table.choice("kind", &KINDS);
    let name = table.text("name", values::name);
    let directory = directory(table, directories);
    let of_users = directories.iter().find(|one| one.name == directory);
    let accept_until = table.date("accept_until");
    let word = kind.and_then(|kind| KINDS.iter().find(|(_, one)| *one == kind)).map(|one| one.0);
    for (key, kinds) in KEYS {
        match word {
            Some(word) if kinds.contains(&word) => {}
            Some(word) => table.refuse(
                &[key],
                &format!("a {word} issuer has no such key"),
                &format!("it is for {}", listed(kinds.iter().copied())),
            ),
            // Which keys it may have is not known.
            None => table.pass_over(&[key]),
        }
    }
    if !matches!(kind, None | Some(Kind::DjangoSession | Kind::DrfToken | Kind::Knox)) {
        table.refuse(
            &["database"],
            &format!("a {} issuer has no such key", word.unwrap_or_default()),
            "it is for \"django-session\", \"drf-token\", \"knox\"",
        );
        table.refuse(&SERVER_KEYS, "it asks no database", "it is for a database");
    }
    if kind.is_none() {
        table.pass_over(&["database"]);
        table.pass_over(&SERVER_KEYS);
    }
    let its_directory = directories.iter().find(|one| one.name == directory);
    let (place, kind) = match kind? {
        Kind::SimpleJwt => {
            let signature = signature(table);
            (
                header(table, "Authorization", &["Bearer"]),
                IssuerKind::SimpleJwt(simplejwt(table, signature, of_users)),
            )
        }
        Kind::Jwt => {
            let signature = signature(table);
            let place = header(table, "jwt-auth", &["Bearer"]);
            let claim = table.text("claim", values::name).unwrap_or_else(|| "id".into());
            let max_age = table.duration("max_age", MINUTE..=3660 * DAY).unwrap_or(30 * DAY);
            let refusals = table.choice("refusals", &REFUSALS).unwrap_or_default();
            (place, IssuerKind::Jwt { signature, claim, max_age, refusals })
        }
        Kind::DjangoSession => {
            let cookie = table.text("cookie", values::cookie);
            let place = CredentialPlace::Cookie(cookie.unwrap_or_else(|| "sessionid".into()));
            let session = django_session(table, its_directory);
            (place, IssuerKind::DjangoSession(Box::new(session)))
        }
        Kind::DrfToken => {
            let place = header(table, "Authorization", &["Token"]);
            let database = service_database(table, its_directory);
            let name = table.text("table", values::identifier);
            let name = name.unwrap_or_else(|| "authtoken_token".into());
            (place, IssuerKind::DrfToken { database, table: name })
        }
        Kind::Knox => {
            let place = header(table, "Authorization", &["Token"]);
            let database = service_database(table, its_directory);
            let name = table.text("table", values::identifier);
            let name = name.unwrap_or_else(|| "knox_authtoken".into());
            let version = table.number::<u8>("version", 4..=5);
            let version = if version == Some(4) { KnoxVersion::Four } else { KnoxVersion::Five };
            (place, IssuerKind::Knox { database, table: name, version })
        }
        Kind::Basic => {
            let place = CredentialPlace::Header {
                name: "Authorization".into(),
                schemes: vec!["Basic".into()],
            };
            let cache_for = table.duration("cache_for", secs(0)..=15 * MINUTE).unwrap_or(MINUTE);
            let challenge = table.flag("challenge").unwrap_or(false);
            (place, IssuerKind::Basic { cache_for, challenge })
        }
    };
    let name = name.unwrap_or_else(|| word.unwrap_or_default().to_owned());
    let cookie = match &kind {
        IssuerKind::SimpleJwt(_) | IssuerKind::Jwt { .. } => table.text("cookie", values::cookie),
        _ => None,
    };
    let cookie_domain = table.text("cookie_domain", values::cookie_domain);
    let upstreams = table
        .values("upstreams", |text| super::upstream::index_of(text, all_upstreams))
        .unwrap_or_default();
    let danger_mint = table.flag("danger_mint").unwrap_or(false);
    if danger_mint {
        table.warn(
            "danger_mint",
            Wrong::new(
                "whoever has a session gets tokens too, also where the service asks for more",
            )
            .help("a second factor, say; leave it out unless the service has none"),
        );
    }
    let forward = table.flag("forward");
    let settings = IssuerSettings {
        name,
        directory,
        place,
        cookie_domain,
        upstreams,
        danger_mint,
        forward,
        accept_until,
        kind,
    };
    Some((settings, cookie))
}

/// A header; `schemes` are those in `Authorization`, where another header has none.
fn header(table: &Table<'_>, default: &str, default_schemes: &[&str]) -> CredentialPlace {
    let name = table.text("header", values::credential_header).unwrap_or_else(|| default.into());
    let is_authorization = name.eq_ignore_ascii_case("authorization");
    let schemes = table.values("schemes", values::scheme).unwrap_or_else(|| {
        if is_authorization {
            default_schemes.iter().map(|scheme| (*scheme).to_owned()).collect()
        } else {
            Vec::new()
        }
    });
    if is_authorization && schemes.is_empty() {
        let example = default_schemes.first().copied().unwrap_or_default();
        table.error(
            "schemes",
            Wrong::new("a token in Authorization stands after its scheme")
                .help(format!("for example: schemes = [{example:?}]")),
        );
    }
    CredentialPlace::Header { name, schemes }
}

fn signature(table: &Table<'_>) -> IssuerSignature {
    let algorithm = algorithm(table);
    let key = key(table, algorithm);
    let leeway = table.duration("leeway", secs(0)..=5 * MINUTE).unwrap_or_default();
    let danger_weak_key = table.flag("danger_weak_key").unwrap_or(false);
    if danger_weak_key {
        table.warn(
            "danger_weak_key",
            Wrong::new("whoever guesses the key can make tokens of every user")
                .help("give the service a SECRET_KEY of 50 random characters"),
        );
    }
    let numeric_ids = table.flag("numeric_ids").unwrap_or(false);
    IssuerSignature { algorithm, key, leeway, numeric_ids, danger_weak_key }
}

fn simplejwt(
    table: &Table<'_>,
    signature: IssuerSignature,
    directory: Option<&DirectorySettings>,
) -> SimpleJwtIssuer {
    let take_over_refresh = table.flag("take_over_refresh").unwrap_or(false);
    let blacklist = blacklist(table, directory);
    let token_type = |text: &str| match text {
        // Both say themselves what they are; a refresh token proves nothing in a request.
        "access" => Ok(TokenType::Access),
        "sliding" => Ok(TokenType::Sliding),
        other => Err(Wrong::choice(other, &["access", "sliding"])),
    };
    if table.is_empty_list("token_types") {
        table.error("token_types", Wrong::new("without a kind no token is accepted"));
    }
    SimpleJwtIssuer {
        signature,
        token_types: table
            .values("token_types", token_type)
            .unwrap_or_else(|| vec![TokenType::Access]),
        user_id_claim: table
            .text("user_id_claim", values::name)
            .unwrap_or_else(|| "user_id".into()),
        audience: table.values("audience", values::filled).unwrap_or_default(),
        issuer: table.text("issuer", values::filled),
        check_revoke_token: table.flag("check_revoke_token").unwrap_or(false),
        take_over_refresh,
        blacklist,
    }
}

/// It is asked in the database in which the issuer's users are.
fn blacklist(table: &Table<'_>, directory: Option<&DirectorySettings>) -> Option<Database> {
    if !table.flag("blacklist").unwrap_or(false) {
        return None;
    }
    let DirectoryKind::Django(django) = &directory?.kind else {
        table.error(
            "blacklist",
            Wrong::new("the issuer's directory has no database")
                .help("it lies in the database of a directory of the kind \"django\""),
        );
        return None;
    };
    Some(django.database.clone())
}

fn django_session(table: &Table<'_>, directory: Option<&DirectorySettings>) -> DjangoSessionIssuer {
    let engine = table.choice("engine", &ENGINES).unwrap_or(Engine::Database);
    if engine != Engine::Cache {
        table.refuse(
            &CACHE_KEYS,
            "this engine has no cache to look into",
            "it is for engine = \"cache\"; of cached_db the database's row is enough",
        );
    }
    if engine != Engine::Database {
        let help = "it is for engine = \"db\" and \"cached_db\"";
        table.refuse(&["table", "database"], "this engine has no table", help);
        table.refuse(&SERVER_KEYS, "this engine has no table", help);
    }
    table.require("key_file", "a file (mode 0600) with the service's SECRET_KEY");
    if table.is_empty_list("backends") {
        table.error("backends", Wrong::new("without a backend no session is accepted"));
    }
    DjangoSessionIssuer {
        engine: match engine {
            Engine::Database => SessionEngine::Database {
                database: service_database(table, directory),
                table: table
                    .text("table", values::identifier)
                    .unwrap_or_else(|| "django_session".into()),
            },
            Engine::Cache => SessionEngine::Cache(cache(table)),
            Engine::SignedCookies => SessionEngine::SignedCookies,
        },
        key_file: table.path("key_file").unwrap_or_default(),
        fallback_key_files: table
            .values("fallback_key_files", |text| table.resolve(text))
            .unwrap_or_default(),
        backends: table
            .values("backends", values::filled)
            .unwrap_or_else(|| vec!["django.contrib.auth.backends.ModelBackend".into()]),
        max_age: table.duration("max_age", MINUTE..=3660 * DAY).unwrap_or(14 * DAY),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Engine {
    Database,
    Cache,
    SignedCookies,
}

const ENGINES: [(&str, Engine); 4] = [
    ("db", Engine::Database),
    ("cached_db", Engine::Database),
    ("cache", Engine::Cache),
    ("signed_cookies", Engine::SignedCookies),
];

/// Only the scheme is ever repeated: an address may hold a password.
pub(super) fn cache(table: &Table<'_>) -> ServiceCache {
    table.require("cache", "like cache = \"redis://127.0.0.1:6379/1\"");
    let address = table.text("cache", |text| {
        let wrong = |message: &str| {
            Err(Wrong::new(message).help("allowed: \"redis://host:port/number\""))
        };
        match text.strip_prefix("redis://") {
            None => wrong("is no address of a Redis"),
            Some(rest) if rest.contains('@') => Err(Wrong::new("holds a password").help(
                "write it into a file that only the gateway's user can read, and the file's name into cache_password_file",
            )),
            Some(rest) if rest.is_empty() || rest.contains(['?', '#']) => wrong("is no address of a Redis"),
            Some(_) => Ok(text.to_owned()),
        }
    });
    ServiceCache {
        address: address.unwrap_or_default(),
        password_file: table.path("cache_password_file"),
        prefix: table.text("cache_prefix", |text| Ok(text.to_owned())).unwrap_or_default(),
        version: table.number("cache_version", 0..=u32::MAX).unwrap_or(1),
    }
}

/// The issuer's own database, or its directory's.
fn service_database(table: &Table<'_>, directory: Option<&DirectorySettings>) -> Database {
    let theirs = match directory.map(|directory| &directory.kind) {
        Some(DirectoryKind::Django(django)) => Some(django.database.clone()),
        Some(_) | None => None,
    };
    match theirs {
        Some(theirs) if !table.has("database") => {
            table.refuse(&SERVER_KEYS, "it is asked with the directory's database", "set it there");
            theirs
        }
        _ => database(table).unwrap_or(Database::Sqlite(std::path::PathBuf::new())),
    }
}

fn listed<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ")
}

/// The only directory, unless one is named.
fn directory(table: &Table<'_>, directories: &[DirectorySettings]) -> String {
    let names = || directories.iter().map(|directory| directory.name.as_str());
    if let ([only], false) = (directories, table.has("directory")) {
        // Says that the key is known.
        let _ = table.text("directory", values::name);
        return only.name.clone();
    }
    table.require("directory", "the name of the [[directory]] in which its users are");
    let find = |text: &str| {
        if names().any(|name| name == text) {
            return Ok(text.to_owned());
        }
        let wrong = Wrong::new(format!("there is no directory {text:?}"));
        let list = format!("the directories are: {}", names().collect::<Vec<_>>().join(", "));
        Err(match nearest(text, names()) {
            Some(meant) => wrong.help(format!("did you mean {meant:?}? {list}")),
            None => wrong.help(list),
        })
    };
    table.text("directory", find).unwrap_or_default()
}

fn algorithm(table: &Table<'_>) -> Algorithm {
    let words = Algorithm::ALL.map(|algorithm| (algorithm.name(), algorithm));
    table.choice("algorithm", &words).unwrap_or_default()
}

fn key(table: &Table<'_>, algorithm: Algorithm) -> IssuerKey {
    let private = table.path("key_file");
    let public = table.path("public_key_file");
    if algorithm.is_shared() {
        if table.has("public_key_file") {
            table.error(
                "public_key_file",
                Wrong::new(format!("{} has one key for both sides", algorithm.name()))
                    .help("name the file with the service's secret in key_file"),
            );
        }
        table
            .require("key_file", "a file (mode 0600) with the service's SIGNING_KEY or SECRET_KEY");
        return IssuerKey::Private(private.unwrap_or_default());
    }
    match (private, public) {
        (Some(private), None) => IssuerKey::Private(private),
        (None, Some(public)) => IssuerKey::Public(public),
        (None, None) => {
            table.require("public_key_file", "a file with the service's VERIFYING_KEY in PEM");
            IssuerKey::Public(std::path::PathBuf::new())
        }
        (Some(_), Some(public)) => {
            table.error(
                "key_file",
                Wrong::new("the public key is enough").help("remove key_file or public_key_file"),
            );
            IssuerKey::Public(public)
        }
    }
}
