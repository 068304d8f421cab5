//! What the program in `project/` answers. Its comments and names are the reference; here is only its shape.

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
    /// Does the installed PyJWT take a `sub` and a `jti` that are numbers?
    #[serde(default)]
    pub(super) numeric_ids: bool,
    pub(super) simplejwt: Option<SimpleJwtSettings>,
    pub(super) authtoken_table: String,
    #[serde(default)]
    pub(super) knox: Option<Knox>,
    pub(super) remote_user: Vec<RemoteUserMiddleware>,
    pub(super) urls: Urls,
    /// Those of the gateway's own paths that lead to a view of the project's.
    pub(super) taken: Vec<String>,
    pub(super) static_url: String,
    pub(super) media_url: String,
    pub(super) debug: bool,
    pub(super) allowed_hosts: Vec<String>,
    pub(super) trusted_origins: Vec<String>,
    pub(super) csrf_cookie: String,
    /// Header and value; empty for none.
    pub(super) proxy_ssl_header: Vec<String>,
    pub(super) ssl_redirect: bool,
    pub(super) use_tz: bool,
    pub(super) cors: bool,
    /// One whole sign-in, if somebody was to be tried.
    #[serde(default)]
    pub(super) tried: Option<AtService>,
    /// Whether the gateway decides as Django does; none if nothing could be asked.
    pub(super) proof: Option<SignInProof>,
    pub(super) wsgi: String,
    pub(super) asgi: String,
    /// What could not be read.
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

/// The user model's table and columns; an empty column is not there.
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

/// `SESSION_*`
#[derive(Debug, Deserialize)]
pub(super) struct DjangoSessionSettings {
    pub(super) middleware: bool,
    pub(super) authentication_middleware: bool,
    /// The last part of a built-in engine's name, else the whole name.
    pub(super) engine: String,
    pub(super) built_in: bool,
    pub(super) cookie: String,
    pub(super) age: u64,
    pub(super) serializer: String,
    pub(super) table: String,
    pub(super) database: String,
    pub(super) cache: Option<Cache>,
}

/// The cache that sessions are in.
#[derive(Debug, Deserialize)]
pub(super) struct Cache {
    pub(super) backend: String,
    /// Without user and password; empty if it is no Redis.
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
    /// Does the project say them itself?
    pub(super) written: bool,
    pub(super) classes: Vec<AuthenticationClass>,
    /// The challenge of the first of them; empty where that has none, and refuses with 403.
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
    /// The cookie in which it reads a token as well; empty for none.
    #[serde(default)]
    pub(super) cookie: String,
    /// Names of what it has otherwise than the package's class, and that decide something.
    #[serde(default)]
    pub(super) changes: Vec<String>,
    #[serde(default)]
    pub(super) hand_made: Option<HandMadeClass>,
    /// The paths without parameters whose views name it, if they name no other.
    #[serde(default)]
    pub(super) alone_at: Vec<String>,
    /// What the views that name it are for.
    #[serde(default)]
    pub(super) kinds: Vec<String>,
}

/// `REST_KNOX`, and how it keeps tokens.
#[derive(Debug, Deserialize)]
pub(super) struct Knox {
    /// 0 for a way that the gateway does not know.
    pub(super) version: u8,
    pub(super) table: String,
    pub(super) scheme: String,
    /// A manager of the project's own; empty for the package's.
    pub(super) manager: String,
}

/// What the source of a class of the project's own seems to say.
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
    /// Is the obtaining serializer the project's own?
    pub(super) custom_obtain: bool,
    #[serde(default)]
    pub(super) sliding_lifetime: u64,
    #[serde(default)]
    pub(super) sliding_refresh_lifetime: u64,
    /// Is one of the serializers of sliding tokens the project's own?
    #[serde(default)]
    pub(super) custom_sliding: bool,
    /// Is its blacklist app installed?
    pub(super) blacklist: bool,
}

/// `RemoteUserMiddleware`, or a subclass.
#[derive(Debug, Deserialize)]
pub(super) struct RemoteUserMiddleware {
    pub(super) name: String,
    /// As `request.META` has it.
    pub(super) header: String,
    pub(super) persistent: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Urls {
    pub(super) endpoints: Vec<UrlShape>,
    /// Where the admin is.
    pub(super) admins: Vec<String>,
    pub(super) view_classes: Vec<AuthenticationClass>,
    /// The paths of all of them.
    pub(super) paths: Vec<String>,
    /// By what people sign in with allauth; empty without it.
    #[serde(default)]
    pub(super) sign_in_by: Vec<String>,
    /// How many pages were asked for as a stranger.
    #[serde(default)]
    pub(super) asked: usize,
}

/// One shape of a URL pattern, with what its view is for and what strangers get there.
#[derive(Debug, Deserialize)]
pub(super) struct UrlShape {
    /// `*` is any one segment.
    pub(super) path: String,
    /// Is it one path, without a variable?
    pub(super) exact: bool,
    /// Which of its segments are a number.
    #[serde(default)]
    pub(super) digits: Vec<usize>,
    /// Does it take all that is below `path`, a folder?
    #[serde(default)]
    pub(super) rest: bool,
    /// Does each `*` take every segment, so that no pattern after this one gets such a path?
    #[serde(default)]
    pub(super) total: bool,
    /// Is it a shape that nobody seems to have meant: a pattern without a beginning or an end?
    #[serde(default)]
    pub(super) stray: bool,
    /// Does Django give this path to another view, whose pattern stands before?
    #[serde(default)]
    pub(super) hidden: bool,
    /// Where Django tries it.
    #[serde(default)]
    pub(super) order: usize,
    /// A number for its view: several patterns can lead to one.
    #[serde(default)]
    pub(super) same_view: usize,
    /// What the view is for, by its class; empty for most.
    pub(super) kind: String,
    /// The methods that `kind` is about; all, if there are none.
    #[serde(default)]
    pub(super) about: Vec<String>,
    /// Is `kind` only what the source of a view of the project's own seems to do?
    #[serde(default)]
    pub(super) guessed: bool,
    pub(super) view: String,
    /// Is it a subclass of the project's own, or with a serializer of its own?
    pub(super) custom: bool,
    /// The methods that strangers are served here, with what shows it.
    #[serde(default)]
    pub(super) served: BTreeMap<String, String>,
    /// The form for a name and a password that it gives to strangers.
    #[serde(default)]
    pub(super) form: Option<SignInForm>,
    /// Is it a view of REST framework's whose classes do not look at Django's session?
    #[serde(default)]
    pub(super) without_session: bool,
    /// The classes that judge its callers, if it is a view of REST framework's.
    #[serde(default)]
    pub(super) judged_by: Vec<String>,
    /// The challenge of the first of them; empty where that has none.
    #[serde(default)]
    pub(super) challenge: String,
    /// What else was answered to a stranger, where it is neither served nor asked to sign in.
    #[serde(default)]
    pub(super) answers: Vec<String>,
    /// The paths that were asked for.
    #[serde(default)]
    pub(super) asked: Vec<String>,
    /// The pages to which strangers were sent from there to sign in.
    #[serde(default)]
    pub(super) sent_to: Vec<String>,
    /// Was a stranger sent to sign in and to come back?
    #[serde(default)]
    pub(super) asks_sign_in: bool,
    /// Without its final slash, is it a redirect to itself?
    #[serde(default)]
    pub(super) redirects_to_slash: bool,
}

/// What the inputs of a form are called.
#[derive(Debug, Deserialize)]
pub(super) struct SignInForm {
    pub(super) username: String,
}

impl SimpleJwtSettings {
    /// Do the service's own views take tokens of this type?
    pub(super) fn takes(&self, token_type: &str) -> bool {
        self.token_types.iter().any(|one| one == token_type)
    }
}

impl AuthenticationClass {
    /// The word before a token.
    pub(super) fn keyword(&self) -> &str {
        if self.keyword.is_empty() { "Token" } else { &self.keyword }
    }
}

impl ProjectFacts {
    pub(super) fn database(&self, alias: &str) -> Option<&DjangoDatabase> {
        self.databases.iter().flatten().find(|database| database.alias == alias)
    }

    /// The classes that views use: the default ones first.
    pub(super) fn classes(&self) -> impl Iterator<Item = &AuthenticationClass> {
        let defaults = self.rest_framework.iter().flat_map(|rest| &rest.classes);
        defaults.chain(&self.urls.view_classes)
    }

    pub(super) fn has_class(&self, kind: &str) -> bool {
        self.classes().any(|class| class.kind == kind)
    }

    /// Are there views whose callers a class of one kind judges, and none of another kind?
    pub(super) fn has_views_of(&self, kind: &str, other: &str) -> bool {
        let is_of = |name: &String, kind: &str| {
            self.classes().any(|class| class.name == *name && class.kind == kind)
        };
        self.urls.endpoints.iter().any(|one| {
            one.judged_by.iter().any(|name| is_of(name, kind))
                && !one.judged_by.iter().any(|name| is_of(name, other))
        })
    }

    /// A class of that kind which decides otherwise than the package's own. `like` tells which ones read the same tokens.
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
