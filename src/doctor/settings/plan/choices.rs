//! Decides once what several blocks depend on together.

use super::super::facts::{AuthenticationClass, DjangoDatabase, ProjectFacts, SimpleJwtSettings};
use super::sign_in;
use crate::doctor::finding::{DoctorReport, Weight};
use crate::jose::{Algorithm, SigningKey, VerifyingKey};

/// What is written.
pub(super) struct Choices {
    /// Whether the service's users can be looked up.
    pub(super) directory: bool,
    /// Whether the service continues to sign people in.
    pub(super) follows: bool,
    /// The algorithm of SimpleJWT's tokens, if they are accepted.
    pub(super) simplejwt: Option<Algorithm>,
    /// Whether its tokens are made by a view or serializer of the project's own.
    pub(super) custom_tokens: bool,
    /// Whether tokens for SimpleJWT can be minted.
    pub(super) mints: bool,
    /// Whether Django sessions can be made.
    pub(super) sessions: bool,
    /// Whether REST framework's views identify callers by its own tokens, and not by SimpleJWT's.
    pub(super) drf_tokens: bool,
    /// The header of a `remote-user` form, as a client would send it.
    pub(super) remote_user: Option<String>,
    /// The names of the routes so far.
    pub(super) names: Vec<String>,
}

impl Choices {
    pub(super) fn of(facts: &ProjectFacts, report: &mut DoctorReport) -> Self {
        let directory = users(facts, report);
        let follows = sign_in::follows(facts, report);
        let simplejwt = facts.simplejwt.as_ref().filter(|_| directory).filter(|_| {
            facts.has_class("simplejwt")
                || facts.urls.endpoints.iter().any(|one| one.kind.starts_with("simplejwt"))
        });
        let algorithm = simplejwt.and_then(|jwt| verifies(facts, jwt, report));
        // If the service signs people in, it recognises them by what it gave them.
        let mints = !follows
            && algorithm.zip(simplejwt).is_some_and(|(algorithm, jwt)| {
                facts.has_class("simplejwt") && signs(algorithm, jwt, report)
            });
        let has_tokens = facts.drf_token_class().is_some() && !facts.authtoken_table.is_empty();
        Self {
            directory,
            follows,
            mints,
            drf_tokens: directory && !follows && !mints && has_tokens,
            simplejwt: algorithm,
            custom_tokens: algorithm.is_some() && custom_tokens(facts, report),
            sessions: directory && !follows && makes_sessions(facts, report),
            remote_user: remote_user(facts, report),
            names: Vec::new(),
        }
    }
}

fn users(facts: &ProjectFacts, report: &mut DoctorReport) -> bool {
    let Some(user) = &facts.user else { return false };
    match facts.database(&user.database) {
        Some(DjangoDatabase { kind, .. }) if !kind.is_empty() => {}
        Some(DjangoDatabase { engine, .. }) => {
            report.tell(
                Weight::Failure,
                "directory",
                format!("the users are in {engine}, which the gateway cannot read"),
                "Supported: SQLite, PostgreSQL, MySQL and MariaDB. Sign-in must be left to the service.",
            );
            return false;
        }
        None => return false,
    }
    if user.username.is_empty() || user.password.is_empty() {
        report.add(Weight::Failure, "directory", format!("{} has no password column", user.label));
        return false;
    }
    true
}

/// Returns the algorithm if the service's tokens can be verified here.
fn verifies(
    facts: &ProjectFacts,
    jwt: &SimpleJwtSettings,
    report: &mut DoctorReport,
) -> Option<Algorithm> {
    let mut refused = |why: String| {
        report.tell(
            Weight::Failure,
            "simplejwt",
            format!("its tokens cannot be accepted: {why}"),
            "Its paths are left to the service, and clients with its tokens must sign in at the gateway once.",
        );
        None
    };
    // What happens to those tokens is reported where it is known.
    if facts.changed_class("simplejwt", |_| true).is_some() {
        return None;
    }
    let Some(algorithm) =
        Algorithm::OF_SERVICES.into_iter().find(|one| one.name() == jwt.algorithm)
    else {
        return refused(format!("ALGORITHM is {:?}", jwt.algorithm));
    };
    let pk = facts.user.as_ref().map(|user| user.pk.as_str()).unwrap_or_default();
    if jwt.user_id_field != pk && jwt.user_id_field != "pk" {
        return refused(format!("USER_ID_FIELD is {:?}, not the primary key", jwt.user_id_field));
    }
    for (setting, is, wanted) in [
        ("TOKEN_TYPE_CLAIM", &jwt.token_type_claim, "token_type"),
        ("JTI_CLAIM", &jwt.jti_claim, "jti"),
    ] {
        if is != wanted {
            return refused(format!("{setting} is {is:?}"));
        }
    }
    if jwt.check_revoke_token && jwt.revoke_claim != "hash_password" {
        return refused(format!("REVOKE_TOKEN_CLAIM is {:?}", jwt.revoke_claim));
    }
    let key = if algorithm.is_shared() {
        SigningKey::read(algorithm, jwt.signing_key.expose().as_bytes()).map(drop)
    } else if !jwt.jwk_url.is_empty() {
        return refused("the key is at JWK_URL, and the gateway reads keys from files".into());
    } else {
        VerifyingKey::public(algorithm, jwt.verifying_key.as_bytes()).map(drop)
    };
    match key {
        Ok(()) => Some(algorithm),
        Err(problem) => refused(format!("the key: {problem}")),
    }
}

fn custom_tokens(facts: &ProjectFacts, report: &mut DoctorReport) -> bool {
    let view = facts
        .urls
        .endpoints
        .iter()
        .find(|one| one.kind == "simplejwt-obtain" && one.custom)
        .map(|one| one.view.as_str());
    let setting = facts.simplejwt.as_ref().filter(|jwt| jwt.custom_obtain);
    let Some(what) = view.or(setting.map(|_| "TOKEN_OBTAIN_SERIALIZER")) else { return false };
    report.tell(
        Weight::Warning,
        "simplejwt",
        format!("{what} is the project's own: obtaining and refreshing is left to the service"),
        "If it only adds members or claims, the gateway can answer there: docs/simplejwt.md, extra and claims.",
    );
    true
}

/// Whether tokens can be made that the service accepts.
fn signs(algorithm: Algorithm, jwt: &SimpleJwtSettings, report: &mut DoctorReport) -> bool {
    match SigningKey::read(algorithm, jwt.signing_key.expose().as_bytes()) {
        Ok(_) => true,
        Err(problem) => {
            report.tell(
                Weight::Failure,
                "simplejwt",
                format!("no tokens can be minted for its views, SIGNING_KEY: {problem}"),
                "Convert the key: openssl pkcs8 -topk8 -nocrypt -in OLD.pem -out NEW.pem",
            );
            false
        }
    }
}

/// Whether views need a Django session, and the gateway can make one.
fn makes_sessions(facts: &ProjectFacts, report: &mut DoctorReport) -> bool {
    let Some(sessions) = &facts.sessions else { return false };
    let is_used = !facts.urls.admins.is_empty()
        || facts.has_class("session")
        || facts.urls.endpoints.iter().any(|one| one.kind == "login");
    if !(is_used && sessions.middleware && sessions.authentication_middleware) {
        return false;
    }
    let why = match sessions.problem(facts) {
        Some(why) => why,
        None if sessions.has_rows() && !facts.use_tz => "USE_TZ is off".to_owned(),
        None => return true,
    };
    report.tell(
        Weight::Warning,
        "sessions",
        format!("no Django sessions can be made for callers: {why}"),
        "The admin and other views that want a session are left to the service's own sign-in.",
    );
    false
}

impl ProjectFacts {
    /// Returns the class whose tokens are accepted: the package's own, if no other reads the same tokens with rules of its own.
    pub(super) fn drf_token_class(&self) -> Option<&AuthenticationClass> {
        self.classes().find(|class| {
            let reads_the_same =
                |other: &AuthenticationClass| other.keyword().eq_ignore_ascii_case(class.keyword());
            class.kind == "drf-token" && self.changed_class("drf-token", reads_the_same).is_none()
        })
    }
}

impl AuthenticationClass {
    /// Returns why the tokens of this class are not accepted.
    pub(super) fn decides_itself(&self) -> String {
        format!("{} has its own {}", self.name, self.changes.join(", "))
    }
}

fn remote_user(facts: &ProjectFacts, report: &mut DoctorReport) -> Option<String> {
    let middleware = facts.remote_user.first();
    let class = facts.classes().find(|class| class.kind == "remote-user");
    let (name, meta) = match (middleware, class) {
        (Some(middleware), _) => (&middleware.name, &middleware.header),
        (None, Some(class)) => (&class.name, &class.header),
        (None, None) => return None,
    };
    if let Some(persistent) = facts.remote_user.iter().find(|one| one.persistent) {
        report.tell(
            Weight::Warning,
            "remote-user",
            format!("{} keeps a session when the header is missing", persistent.name),
            "Whoever has that cookie stays signed in without the gateway. Use RemoteUserMiddleware.",
        );
    }
    let Some(header) = meta.strip_prefix("HTTP_") else {
        report.tell(
            Weight::Failure,
            "remote-user",
            format!("{name} reads META[{meta:?}], which no request header can set"),
            "Have it read a header; in the project:\n\
             \x20   class GatewayUser(RemoteUserMiddleware):\n\
             \x20       header = \"HTTP_REMOTE_USER\"\n\
             and name that class in MIDDLEWARE instead. (Not with ASGI before Django 6.1: it reads Http-Remote-User then.)",
        );
        return None;
    };
    let header = header.split('_').map(capitalized).collect::<Vec<_>>().join("-");
    report.tell(
        Weight::Warning,
        "remote-user",
        format!("{name} believes whoever sends {header}"),
        "Clients cannot send it through the gateway, only past it: let nothing but the gateway connect to the service.",
    );
    Some(header)
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(letters.flat_map(char::to_lowercase)).collect()
}
