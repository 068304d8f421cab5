//! Reads `[[issuer]]`: each kind has its own keys, and all have a directory and a place in the request.

use std::time::Duration;

use super::database::SERVER_KEYS;
use super::issuer_jwt::{signature, simplejwt};
use super::issuer_session::{django_session, service_database};
use super::raw::{RawItem, RawTable, Wrong, nearest};
use super::units::{DAY, MINUTE, secs};
use super::{
    Config, Database, DirectorySettings, DjangoSessionIssuer, IdentityHeaderNames, IssuerSignature,
    SignInMode, SimpleJwtIssuer, Upstream, values,
};
use crate::clock::Timestamp;
use crate::wire::forward::fold;

/// `[[issuer]]`: credentials that a service has issued itself, and that the gateway accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerSettings {
    /// The name in logs; the kind, unless given.
    pub name: String,
    /// The directory that has its users.
    pub directory: String,
    /// Where in a request its credentials are.
    pub place: CredentialPlace,
    /// The `Domain` with which the service sets its cookie, or did so in the past.
    pub cookie_domain: Option<String>,
    /// The upstreams whose answers show who is signed in to its sessions, as indices of [`super::Config::upstreams`]; empty:
    /// all.
    pub upstreams: Vec<usize>,
    /// Whether identity forms may mint another credential for a caller who came with a session of this issuer.
    pub danger_mint: bool,
    /// Whether a valid credential is forwarded to the service. None: only where the service signs people in (`sign_in.mode`).
    pub forward: Option<bool>,
    /// When the gateway stops accepting its credentials.
    pub accept_until: Option<Timestamp>,
    /// The kind, with the settings that only it has.
    pub kind: IssuerKind,
}

/// Where in a request an issuer's credentials are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialPlace {
    /// In a header.
    Header {
        /// The header's name.
        name: String,
        /// The schemes before the token, in any case (`Bearer`); empty: the token stands alone.
        schemes: Vec<String>,
    },
    /// In the cookie with this name.
    Cookie(String),
}

/// The kinds of issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssuerKind {
    /// `kind = "simplejwt"`
    SimpleJwt(SimpleJwtIssuer),
    /// `kind = "jwt"`: hand-made tokens, which name a user and may say nothing else.
    Jwt {
        /// How they are verified.
        signature: IssuerSignature,
        /// The claim with the user's id.
        claim: String,
        /// How long a token without `exp` is accepted after one of its user was first seen.
        max_age: Duration,
        /// How a token that is not valid is refused.
        refusals: Refusals,
    },
    /// `kind = "django-session"`
    DjangoSession(Box<DjangoSessionIssuer>),
    /// `kind = "drf-token"`: Django REST framework's `TokenAuthentication`.
    DrfToken {
        /// The database with its table.
        database: Database,
        /// The table.
        table: String,
    },
    /// `kind = "knox"`: the tokens of django-rest-knox.
    Knox {
        /// The database with its table.
        database: Database,
        /// The table.
        table: String,
        /// The version, which decides how tokens are stored.
        version: KnoxVersion,
    },
    /// `kind = "basic"`: a name and a password of the directory in each request (RFC 7617).
    Basic {
        /// How long a password that was right is not checked again.
        cache_for: Duration,
        /// Whether callers without a credential get a challenge for Basic authentication.
        challenge: bool,
    },
}

/// `issuer.version`: the major version of django-rest-knox.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum KnoxVersion {
    /// Version 4.2.
    Four,
    /// Version 5.
    #[default]
    Five,
}

/// `issuer.refusals`
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Refusals {
    /// `"gateway"`: like any other token.
    #[default]
    Gateway,
    /// `"jwt"`: with 403 and the four texts of a hand-made reader.
    Jwt,
    /// With the one text of REST framework's own token classes, for those kinds.
    Opaque,
}

impl IssuerSettings {
    /// Returns the header with its credentials.
    pub fn header(&self) -> Option<&str> {
        match &self.place {
            CredentialPlace::Header { name, .. } => Some(name),
            CredentialPlace::Cookie(_) => None,
        }
    }

    /// Returns the cookie that is its credential.
    pub fn cookie(&self) -> Option<&str> {
        match &self.place {
            CredentialPlace::Header { .. } => None,
            CredentialPlace::Cookie(name) => Some(name),
        }
    }

    /// Whether its cookie is a token and not a session.
    pub const fn is_token_in_cookie(&self) -> bool {
        matches!(self.place, CredentialPlace::Cookie(_))
            && !matches!(self.kind, IssuerKind::DjangoSession(_))
    }

    /// Returns the same issuer for tokens in a cookie. It is a separate entry, so that what was learned from a token in a
    /// header, which a browser never sends unasked, does not count for the same token in a cookie.
    pub(super) fn in_cookie(&self, name: String) -> Self {
        Self { place: CredentialPlace::Cookie(name), ..self.clone() }
    }
}

impl Config {
    /// Whether a valid credential of this issuer is forwarded to its service.
    pub fn forwards(&self, issuer: &IssuerSettings) -> bool {
        issuer.forward.unwrap_or(self.sign_in.mode == SignInMode::Follow)
    }
}

#[derive(Clone, Copy, PartialEq)]
enum IssuerKindKey {
    SimpleJwt,
    Jwt,
    DjangoSession,
    DrfToken,
    Knox,
    Basic,
}

const KINDS: [(&str, IssuerKindKey); 6] = [
    ("simplejwt", IssuerKindKey::SimpleJwt),
    ("jwt", IssuerKindKey::Jwt),
    ("django-session", IssuerKindKey::DjangoSession),
    ("drf-token", IssuerKindKey::DrfToken),
    ("knox", IssuerKindKey::Knox),
    ("basic", IssuerKindKey::Basic),
];

const REFUSALS: [(&str, Refusals); 2] = [("gateway", Refusals::Gateway), ("jwt", Refusals::Jwt)];

/// Keys besides those that every kind has, each with its kinds.
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
    ("adopt_refresh_tokens", &["simplejwt"]),
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

/// The most issuers: each may be asked for every request whose credential none of them recognizes.
const MOST: usize = 20;

pub(super) fn issuers(
    root: &RawTable<'_>,
    directories: &[DirectorySettings],
    identity: &IdentityHeaderNames,
    upstreams: &[RawItem<Upstream>],
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
        if users.is_some_and(|users| !users.finds_users()) {
            let key = if table.has("directory") { "directory" } else { "kind" };
            table.error(
                key,
                Wrong::new(format!("{:?} cannot look up the user of a token", issuer.directory))
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

/// Reads an issuer, and the additional cookie with its tokens.
fn issuer(
    table: &RawTable<'_>,
    directories: &[DirectorySettings],
    all_upstreams: &[RawItem<Upstream>],
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
            // Without a kind, it is not known which keys the issuer may have.
            None => table.pass_over(&[key]),
        }
    }
    if !matches!(
        kind,
        None | Some(IssuerKindKey::DjangoSession | IssuerKindKey::DrfToken | IssuerKindKey::Knox)
    ) {
        table.refuse(
            &["database"],
            &format!("a {} issuer has no such key", word.unwrap_or_default()),
            "it is for \"django-session\", \"drf-token\", \"knox\"",
        );
        table.refuse(&SERVER_KEYS, "this issuer uses no database", "it is for a database");
    }
    if kind.is_none() {
        table.pass_over(&["database"]);
        table.pass_over(&SERVER_KEYS);
    }
    let its_directory = directories.iter().find(|one| one.name == directory);
    let (place, kind) = match kind? {
        IssuerKindKey::SimpleJwt => {
            let signature = signature(table);
            (
                header(table, "Authorization", &["Bearer"]),
                IssuerKind::SimpleJwt(simplejwt(table, signature, of_users)),
            )
        }
        IssuerKindKey::Jwt => {
            let signature = signature(table);
            let place = header(table, "jwt-auth", &["Bearer"]);
            let claim = table.text("claim", values::name).unwrap_or_else(|| "id".into());
            let max_age = table.duration("max_age", MINUTE..=3660 * DAY).unwrap_or(30 * DAY);
            let refusals = table.choice("refusals", &REFUSALS).unwrap_or_default();
            (place, IssuerKind::Jwt { signature, claim, max_age, refusals })
        }
        IssuerKindKey::DjangoSession => {
            let cookie = table.text("cookie", values::cookie);
            let place = CredentialPlace::Cookie(cookie.unwrap_or_else(|| "sessionid".into()));
            let session = django_session(table, its_directory);
            (place, IssuerKind::DjangoSession(Box::new(session)))
        }
        IssuerKindKey::DrfToken => {
            let place = header(table, "Authorization", &["Token"]);
            let database = service_database(table, its_directory);
            let name = table.text("table", values::identifier);
            let name = name.unwrap_or_else(|| "authtoken_token".into());
            (place, IssuerKind::DrfToken { database, table: name })
        }
        IssuerKindKey::Knox => {
            let place = header(table, "Authorization", &["Token"]);
            let database = service_database(table, its_directory);
            let name = table.text("table", values::identifier);
            let name = name.unwrap_or_else(|| "knox_authtoken".into());
            let version = table.number::<u8>("version", 4..=5);
            let version = if version == Some(4) { KnoxVersion::Four } else { KnoxVersion::Five };
            (place, IssuerKind::Knox { database, table: name, version })
        }
        IssuerKindKey::Basic => {
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
            Wrong::new("every session gets tokens, even if the service demands more for them")
                .help("for example a second factor; leave it out unless it demands nothing more"),
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

/// Reads the header; the default of `schemes` is for `Authorization`, and another header has none.
fn header(table: &RawTable<'_>, default: &str, default_schemes: &[&str]) -> CredentialPlace {
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
            Wrong::new("a token in Authorization needs a scheme")
                .help(format!("for example: schemes = [{example:?}]")),
        );
    }
    CredentialPlace::Header { name, schemes }
}

fn listed<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ")
}

/// Returns the named directory, or the only one.
fn directory(table: &RawTable<'_>, directories: &[DirectorySettings]) -> String {
    let names = || directories.iter().map(|directory| directory.name.as_str());
    if let ([only], false) = (directories, table.has("directory")) {
        // This marks the key as known.
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
