//! The shape of the answer of the program in `project/`, whose comments and names are the reference.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use super::proof::SignInProof;
use super::trying::AtService;
use crate::secret::Secret;

/// Everything that is known of the project.
#[derive(Debug, Deserialize)]
pub(super) struct ProjectFacts {
    pub(super) django: String,
    pub(super) settings_module: String,
    #[serde(deserialize_with = "secret")]
    pub(super) secret_key: Secret,
    #[serde(deserialize_with = "secrets")]
    pub(super) fallbacks: Vec<Secret>,
    pub(super) databases: Vec<Option<DjangoDatabase>>,
    pub(super) user: Option<UserModel>,
    pub(super) hashers: Vec<String>,
    pub(super) backends: Vec<String>,
    pub(super) sessions: Option<DjangoSessionSettings>,
    pub(super) rest_framework: Option<RestFramework>,
    /// Whether the installed PyJWT accepts a `sub` and a `jti` that are numbers.
    #[serde(default)]
    pub(super) numeric_ids: bool,
    pub(super) simplejwt: Option<SimpleJwtSettings>,
    pub(super) authtoken_table: String,
    #[serde(default)]
    pub(super) knox: Option<Knox>,
    pub(super) remote_user: Vec<RemoteUserMiddleware>,
    pub(super) urls: Urls,
    /// The gateway's own paths that lead to a view of the project.
    pub(super) taken: Vec<String>,
    pub(super) static_url: String,
    pub(super) media_url: String,
    pub(super) debug: bool,
    pub(super) allowed_hosts: Vec<String>,
    pub(super) trusted_origins: Vec<String>,
    pub(super) csrf_cookie: String,
    /// Header and value; empty if unset.
    pub(super) proxy_ssl_header: Vec<String>,
    pub(super) ssl_redirect: bool,
    pub(super) use_tz: bool,
    pub(super) cors: bool,
    /// The result of one whole sign-in, if a user was to be tried.
    #[serde(default)]
    pub(super) tried: Option<AtService>,
    /// Whether the gateway decides as Django does; `None` if Django could not be asked.
    pub(super) proof: Option<SignInProof>,
    pub(super) wsgi: String,
    pub(super) asgi: String,
    /// The settings that could not be read.
    pub(super) problems: Vec<String>,
}

/// One entry of `DATABASES`.
#[derive(Debug, Deserialize)]
pub(super) struct DjangoDatabase {
    pub(super) alias: String,
    pub(super) engine: String,
    /// `sqlite`, `postgres`, `mysql`, or empty for another.
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) host: String,
    pub(super) port: String,
    pub(super) user: String,
    #[serde(deserialize_with = "secret")]
    pub(super) password: Secret,
    pub(super) socket: String,
    pub(super) sslmode: String,
    pub(super) sslrootcert: String,
}

/// The user model's table and columns; a missing column is empty.
#[derive(Debug, Deserialize)]
pub(super) struct UserModel {
    pub(super) label: String,
    pub(super) table: String,
    pub(super) pk: String,
    pub(super) id: String,
    pub(super) username_field: String,
    pub(super) username: String,
    pub(super) password: String,
    pub(super) is_active: String,
    pub(super) is_staff: String,
    pub(super) is_superuser: String,
    pub(super) email: String,
    pub(super) groups: Option<Groups>,
    /// The alias of its database.
    pub(super) database: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Groups {
    pub(super) group_table: String,
    pub(super) membership_table: String,
    pub(super) user_column: String,
    pub(super) group_column: String,
}

/// The settings `SESSION_*`.
#[derive(Debug, Deserialize)]
pub(super) struct DjangoSessionSettings {
    pub(super) middleware: bool,
    pub(super) authentication_middleware: bool,
    /// The last part of a built-in engine's name, or else the whole name.
    pub(super) engine: String,
    pub(super) built_in: bool,
    pub(super) cookie: String,
    pub(super) age: u64,
    pub(super) serializer: String,
    pub(super) table: String,
    pub(super) database: String,
    pub(super) cache: Option<Cache>,
}

/// The cache in which sessions are stored.
#[derive(Debug, Deserialize)]
pub(super) struct Cache {
    pub(super) backend: String,
    /// The URL without user and password; empty if the cache is no Redis.
    pub(super) url: String,
    pub(super) user: String,
    #[serde(deserialize_with = "secret")]
    pub(super) password: Secret,
    pub(super) prefix: String,
    pub(super) version: u64,
    pub(super) default_key_function: bool,
    pub(super) servers: usize,
}

/// Django REST framework's defaults.
#[derive(Debug, Deserialize)]
pub(super) struct RestFramework {
    /// Whether the project sets them itself.
    pub(super) written: bool,
    pub(super) classes: Vec<AuthenticationClass>,
    /// The challenge of the first class; empty if that has none, and refuses with 403.
    #[serde(default)]
    pub(super) challenge: String,
}

/// An authentication class.
#[derive(Debug, Deserialize)]
pub(super) struct AuthenticationClass {
    pub(super) name: String,
    /// `simplejwt`, `drf-token`, `knox`, `basic`, `session`, `remote-user` or `other`.
    pub(super) kind: String,
    pub(super) header: String,
    pub(super) keyword: String,
    /// The cookie from which the class reads a token as well; empty if none.
    #[serde(default)]
    pub(super) cookie: String,
    /// The names of what decides something and differs from the package's class.
    #[serde(default)]
    pub(super) changes: Vec<String>,
    #[serde(default)]
    pub(super) hand_made: Option<HandMadeClass>,
    /// The paths without parameters whose views name this class and no other.
    #[serde(default)]
    pub(super) alone_at: Vec<String>,
    /// The kinds of the views that name it.
    #[serde(default)]
    pub(super) kinds: Vec<String>,
}

/// `REST_KNOX`, and how it stores tokens.
#[derive(Debug, Deserialize)]
pub(super) struct Knox {
    /// The version; 0 if the gateway does not know how it stores tokens.
    pub(super) version: u8,
    pub(super) table: String,
    pub(super) scheme: String,
    /// The project's own manager; empty for the package's.
    pub(super) manager: String,
}

/// What the source of a class of the project's own seems to do.
#[derive(Debug, Deserialize)]
pub(super) struct HandMadeClass {
    pub(super) header: String,
    pub(super) claim: String,
    #[serde(deserialize_with = "secret")]
    pub(super) key: Secret,
    pub(super) algorithms: Vec<String>,
}

/// `SIMPLE_JWT`, with the defaults of the installed version.
#[derive(Debug, Deserialize)]
pub(super) struct SimpleJwtSettings {
    pub(super) algorithm: String,
    #[serde(deserialize_with = "secret")]
    pub(super) signing_key: Secret,
    /// A public key in PEM, if the algorithm has one.
    pub(super) verifying_key: String,
    pub(super) jwk_url: String,
    pub(super) access_lifetime: u64,
    pub(super) refresh_lifetime: u64,
    pub(super) rotate: bool,
    pub(super) update_last_login: bool,
    pub(super) audience: Vec<String>,
    pub(super) issuer: String,
    pub(super) leeway: u64,
    pub(super) header: String,
    pub(super) schemes: Vec<String>,
    pub(super) user_id_field: String,
    pub(super) user_id_claim: String,
    pub(super) token_type_claim: String,
    pub(super) jti_claim: String,
    pub(super) token_types: Vec<String>,
    pub(super) check_revoke_token: bool,
    pub(super) revoke_claim: String,
    /// Whether the obtaining serializer is the project's own.
    pub(super) custom_obtain: bool,
    #[serde(default)]
    pub(super) sliding_lifetime: u64,
    #[serde(default)]
    pub(super) sliding_refresh_lifetime: u64,
    /// Whether one of the serializers of sliding tokens is the project's own.
    #[serde(default)]
    pub(super) custom_sliding: bool,
    /// Whether its blacklist app is installed.
    pub(super) blacklist: bool,
}

/// `RemoteUserMiddleware`, or a subclass.
#[derive(Debug, Deserialize)]
pub(super) struct RemoteUserMiddleware {
    pub(super) name: String,
    /// The header's name in `request.META`.
    pub(super) header: String,
    pub(super) persistent: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Urls {
    pub(super) endpoints: Vec<UrlShape>,
    /// The paths of the admin sites.
    pub(super) admins: Vec<String>,
    pub(super) view_classes: Vec<AuthenticationClass>,
    /// The paths of all patterns.
    pub(super) paths: Vec<String>,
    /// The ways to sign in with allauth; empty without it.
    #[serde(default)]
    pub(super) sign_in_by: Vec<String>,
    /// How many pages were requested anonymously.
    #[serde(default)]
    pub(super) asked: usize,
}

/// One shape of a URL pattern, with the purpose of its view and what anonymous callers get there.
#[derive(Debug, Deserialize)]
pub(super) struct UrlShape {
    /// The path; `*` is any one segment.
    pub(super) path: String,
    /// Whether it is one path, without a variable.
    pub(super) exact: bool,
    /// The indexes of its segments that are numbers.
    #[serde(default)]
    pub(super) digits: Vec<usize>,
    /// Whether `path` is a folder, and the pattern takes everything below it.
    #[serde(default)]
    pub(super) rest: bool,
    /// Whether each `*` takes every segment, so that no later pattern gets such a path.
    #[serde(default)]
    pub(super) total: bool,
    /// Whether the shape seems unintended: a pattern without a beginning or an end.
    #[serde(default)]
    pub(super) stray: bool,
    /// Whether Django gives this path to the view of an earlier pattern.
    #[serde(default)]
    pub(super) hidden: bool,
    /// Its place in the order in which Django tries patterns.
    #[serde(default)]
    pub(super) order: usize,
    /// A number for its view: several patterns can lead to one.
    #[serde(default)]
    pub(super) same_view: usize,
    /// The purpose of the view, by its class; empty for most.
    pub(super) kind: String,
    /// The methods that `kind` concerns; empty for all.
    #[serde(default)]
    pub(super) about: Vec<String>,
    /// Whether `kind` is only what the source of a view of the project's own seems to do.
    #[serde(default)]
    pub(super) guessed: bool,
    pub(super) view: String,
    /// Whether it is a subclass of the project's own, or has a serializer of its own.
    pub(super) custom: bool,
    /// The methods that anonymous callers are served here, with what shows it.
    #[serde(default)]
    pub(super) served: BTreeMap<String, String>,
    /// The form for a name and a password that anonymous callers get.
    #[serde(default)]
    pub(super) form: Option<SignInForm>,
    /// Whether it is a view of REST framework whose classes ignore Django's session.
    #[serde(default)]
    pub(super) without_session: bool,
    /// The classes that authenticate its callers, if it is a view of REST framework.
    #[serde(default)]
    pub(super) judged_by: Vec<String>,
    /// The challenge of the first class; empty if that has none.
    #[serde(default)]
    pub(super) challenge: String,
    /// The other answers to anonymous callers, where they are neither served nor asked to sign in.
    #[serde(default)]
    pub(super) answers: Vec<String>,
    /// The paths that were requested.
    #[serde(default)]
    pub(super) asked: Vec<String>,
    /// The pages to which anonymous callers were redirected from there to sign in.
    #[serde(default)]
    pub(super) sent_to: Vec<String>,
    /// Whether an anonymous caller was redirected to sign in and to come back.
    #[serde(default)]
    pub(super) asks_sign_in: bool,
    /// Whether the path without its final slash redirects to it.
    #[serde(default)]
    pub(super) redirects_to_slash: bool,
}

/// The names of a form's inputs.
#[derive(Debug, Deserialize)]
pub(super) struct SignInForm {
    pub(super) username: String,
}

impl SimpleJwtSettings {
    /// Whether the service's own views accept tokens of this type.
    pub(super) fn takes(&self, token_type: &str) -> bool {
        self.token_types.iter().any(|one| one == token_type)
    }
}

impl AuthenticationClass {
    /// Returns the word before a token.
    pub(super) fn keyword(&self) -> &str {
        if self.keyword.is_empty() { "Token" } else { &self.keyword }
    }
}

impl ProjectFacts {
    pub(super) fn database(&self, alias: &str) -> Option<&DjangoDatabase> {
        self.databases.iter().flatten().find(|database| database.alias == alias)
    }

    /// Returns the classes that views use, the default ones first.
    pub(super) fn classes(&self) -> impl Iterator<Item = &AuthenticationClass> {
        let defaults = self.rest_framework.iter().flat_map(|rest| &rest.classes);
        defaults.chain(&self.urls.view_classes)
    }

    pub(super) fn has_class(&self, kind: &str) -> bool {
        self.classes().any(|class| class.kind == kind)
    }

    /// Whether there are views whose callers a class of one kind authenticates, and none of another kind.
    pub(super) fn has_views_of(&self, kind: &str, other: &str) -> bool {
        let is_of = |name: &String, kind: &str| {
            self.classes().any(|class| class.name == *name && class.kind == kind)
        };
        self.urls.endpoints.iter().any(|one| {
            one.judged_by.iter().any(|name| is_of(name, kind))
                && !one.judged_by.iter().any(|name| is_of(name, other))
        })
    }

    /// Returns a class of this kind that decides otherwise than the package's own. `like` selects those that read the tokens.
    pub(super) fn changed_class(
        &self,
        kind: &str,
        like: impl Fn(&AuthenticationClass) -> bool,
    ) -> Option<&AuthenticationClass> {
        self.classes().find(|class| class.kind == kind && !class.changes.is_empty() && like(class))
    }
}

fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Secret, D::Error> {
    String::deserialize(from).map(Secret::new)
}

fn secrets<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Secret>, D::Error> {
    Ok(Vec::<String>::deserialize(from)?.into_iter().map(Secret::new).collect())
}
