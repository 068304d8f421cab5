//! Compares `gateway.toml`, which documents every setting, with the code.

use std::collections::BTreeSet;
use std::path::Path;

use super::raw::{self, RawReader};
use super::report::ProblemReport;
use super::{
    AliasAnswers, AllauthSettings, AnswerRules, Config, Cors, Database, DatabaseServer, Detect,
    DirectoryKind, DjRestAuthShape, DjangoDirectorySettings, DjangoOtpSettings, DjangoSession,
    DrfToken, Engine, FormEngine, FormKind, Geo, HttpDirectorySettings, HttpUser,
    IdentityHeaderNames, IssuerKey, IssuerKind, IssuerSettings, JwtShape, Listen, Log, Login,
    Members, OwnPath, Route, SessionEngine, SessionSettings, SessionShape, Shape, SimpleJwtIssuer,
    SlidingShape, TakenOver, Tokens, Upstream, check, init,
};
use crate::wire::path::PathPattern;

const SAMPLE: &str = include_str!("../../gateway.toml");
const BASE: &str = "/etc/doorwarden";

/// The settings that have no default.
const MINIMAL_SAMPLE: &str = r#"
    listen.http = ["127.0.0.1:8080"]
    upstream = [{ name = "app", servers = ["127.0.0.1:8000"] }]
    route = [
        { name = "static", path = "/static/", upstream = "app", access = "public" },
        { name = "app", path = "/", upstream = "app" },
    ]
    directory = [{ kind = "file", path = "users.toml" }]
"#;

fn parse(text: &str) -> Config {
    let (config, report) = Config::parse(text, Path::new(BASE), "gateway.toml").unwrap();
    assert!(report.is_empty(), "{report}");
    config
}

/// Returns the sample with all settings on that are off by default.
fn everything_on() -> String {
    let mut text = String::new();
    for line in SAMPLE.lines() {
        let is_setting = line.starts_with('#') && !line.starts_with("# ") && line.len() > 1;
        text.push_str(if is_setting { &line[1..] } else { line });
        text.push('\n');
    }
    text
}

#[test]
fn the_sample_documents_the_defaults() {
    assert_eq!(parse(SAMPLE), parse(MINIMAL_SAMPLE));
}

#[test]
fn switches_that_weaken_security_are_off_in_the_sample() {
    for line in SAMPLE.lines().filter(|line| line.starts_with("danger_")) {
        assert!(line.ends_with("= false"), "{line}");
    }
}

#[test]
fn the_settings_that_are_off_are_good_examples() {
    let config = parse(&everything_on());
    assert_eq!(config.listen.https.len(), 1);
    assert_eq!(config.directories.len(), 4);
    assert_eq!(config.login.links.len(), 1);
    assert_eq!(config.paths.len(), OwnPath::ALL.len() + 7);
}

#[test]
fn the_alias_blocks_show_the_defaults() {
    let shown = parse(&everything_on());
    let shapes: Vec<_> = shown.paths.iter().map(|entry| &entry.shape).collect();
    let session = |answers, csrf: Option<&str>| {
        let (cookie, csrf_cookie) = ("sessionid".into(), csrf.map(Into::into));
        Shape::DjangoSession(Box::new(SessionShape { cookie, csrf_cookie, answers }))
    };
    let csrf = Some("csrftoken");
    let [.., login, logout, jwt, sliding, cookies] = &shapes[..] else { panic!("five aliases") };
    let tokens = DjRestAuthShape {
        access_cookie: Some("access-token".into()),
        refresh_cookie: Some("refresh-token".into()),
        http_only: true,
        expiration: false,
        user: Members::of_dj_rest_auth(),
    };
    assert_eq!(**cookies, Shape::DjRestAuth(Box::new(tokens)));
    assert_eq!(**login, session(AliasAnswers::of_session_login(), csrf));
    assert_eq!(**logout, session(AliasAnswers::of_session_logout(), csrf));
    let issuer = shown.issuers.iter().position(|issuer| issuer.name == "jwt").unwrap();
    let IssuerKind::Jwt { max_age, .. } = shown.issuers[issuer].kind else { panic!("by hand") };
    assert_eq!(**jwt, Shape::Jwt(Box::new(JwtShape::new(issuer, max_age))));
    let issuer = shown.issuers.iter().position(|issuer| issuer.name == "sliding").unwrap();
    let seconds = std::time::Duration::from_secs;
    let (lifetime, refresh_lifetime) = (seconds(300), seconds(86_400));
    assert_eq!(**sliding, Shape::Sliding(SlidingShape { issuer, lifetime, refresh_lifetime }));
}

#[test]
fn the_django_block_shows_the_defaults() {
    let config = parse(&everything_on());
    let DirectoryKind::Django(django) = &config.directories[1].kind else {
        panic!("the second directory is Django's");
    };
    assert_eq!(
        **django,
        DjangoDirectorySettings::new(Database::Sqlite("/srv/app/db.sqlite3".into()))
    );
    assert_eq!(config.directories[1].name, "django");
    assert_eq!(config.directories[1].refresh_interval, config.directories[0].refresh_interval);
}

#[test]
fn the_issuer_blocks_show_the_defaults() {
    let everything = parse(&everything_on());
    // A token's cookie is a separate entry, and there is none by default.
    let (tokens, cookies): (Vec<_>, Vec<_>) = everything
        .issuers
        .iter()
        .map(|one| IssuerSettings { forward: None, ..one.clone() })
        .partition(|one| !one.is_token_in_cookie());
    assert!(cookies.iter().all(|one| one.cookie() == Some("access-token")), "{cookies:?}");
    let said = everything.issuers.iter().filter_map(|one| one.forward);
    assert_eq!(said.collect::<Vec<_>>(), [false; 3], "as without the key");
    assert!(!everything.forwards(&tokens[0]), "by default");
    let shown = tokens;
    let directory =
        "directory = [{ kind = \"django\", database = \"sqlite:///srv/app/db.sqlite3\" }]";
    let bare = MINIMAL_SAMPLE
        .replace("directory = [{ kind = \"file\", path = \"users.toml\" }]", directory);
    let key = "key_file = \"secrets/django-secret-key\"";
    let text = format!(
        "{bare}\n[[issuer]]\nkind = \"simplejwt\"\n{key}\n[[issuer]]\nkind = \"jwt\"\n{key}\n\
         [[issuer]]\nkind = \"django-session\"\n{key}\n[[issuer]]\nkind = \"drf-token\"\n\
         [[issuer]]\nkind = \"knox\"\n[[issuer]]\nkind = \"basic\"\n"
    );
    let bare = parse(&text).issuers;
    let IssuerKind::SimpleJwt(simplejwt) = shown[0].kind.clone() else { panic!("simplejwt first") };
    let kind =
        IssuerKind::SimpleJwt(SimpleJwtIssuer { audience: Vec::new(), issuer: None, ..simplejwt });
    assert_eq!(IssuerSettings { accept_until: None, kind, ..shown[0].clone() }, bare[0]);
    assert_eq!(shown[3], bare[1]);
    let session = IssuerSettings { cookie_domain: None, ..shown[4].clone() };
    assert_eq!((&session, &shown[6], &shown[7]), (&bare[2], &bare[3], &bare[4]));
    assert_eq!(shown[8], bare[5]);
    let IssuerKind::DjangoSession(cached) = &shown[5].kind else { panic!("a session sixth") };
    let SessionEngine::Cache(cache) = &cached.engine else { panic!("in a cache") };
    assert_eq!((&*cache.prefix, cache.version), ("", 1));
    let IssuerKind::SimpleJwt(partner) = &shown[2].kind else { panic!("simplejwt third") };
    assert!(matches!(&partner.signature.key, IssuerKey::Public(_)));
}

#[test]
fn the_forms_in_the_services_database_show_the_defaults() {
    let forms = parse(&everything_on()).forms;
    let shown = |name: &str| forms.iter().find(|form| form.name == name).unwrap().kind.clone();
    let database = || Database::Sqlite("/srv/app/db.sqlite3".into());
    let key = "/etc/doorwarden/django-secret-key";
    let admin = DjangoSession::new(FormEngine::rows(database()), key.into());
    assert_eq!(shown("admin"), FormKind::DjangoSession(Box::new(admin)));
    let max_age = std::time::Duration::from_secs(14 * 86_400);
    let shop = DjangoSession {
        cookie: "shop_sessionid".into(),
        ..DjangoSession::new(FormEngine::SignedCookies { max_age }, key.into())
    };
    assert_eq!(shown("shop"), FormKind::DjangoSession(Box::new(shop)));
    assert_eq!(shown("api"), FormKind::DrfToken(Box::new(DrfToken::new(database()))));
    let FormKind::DjangoSession(reports) = shown("reports") else { panic!("a session") };
    let FormEngine::Rows { database: Database::Server(_), cache: Some(cache), .. } = reports.engine
    else {
        panic!("on a server, with a cache")
    };
    assert_eq!((cache.version, cache.prefix.as_str()), (1, ""));
}

#[test]
fn the_server_block_shows_the_defaults() {
    let config = parse(&everything_on());
    let DirectoryKind::Django(django) = &config.directories[2].kind else {
        panic!("the third directory is Django's");
    };
    assert!(!django.conditions.is_empty() && !django.second_factors.is_empty(), "examples");
    let shown = [
        TakenOver::DjangoOtp(DjangoOtpSettings::new()),
        TakenOver::Allauth(AllauthSettings::new()),
    ];
    assert_eq!(django.taken_over, shown);
    let django = DjangoDirectorySettings {
        conditions: Vec::new(),
        second_factors: Vec::new(),
        taken_over: Vec::new(),
        ..(**django).clone()
    };
    let server = DatabaseServer::new(Engine::Postgres, "doorwarden", "db.internal", None, "app");
    let server = DatabaseServer {
        schema: Some("app".into()),
        password_file: Some("/etc/doorwarden/database-password".into()),
        ca_file: Some("/etc/doorwarden/database-ca.pem".into()),
        ..server
    };
    assert_eq!(django, DjangoDirectorySettings::new(Database::Server(Box::new(server))));
}

#[test]
fn the_http_block_shows_the_defaults() {
    let config = parse(&everything_on());
    let DirectoryKind::Http(http) = &config.directories[3].kind else {
        panic!("the fourth directory posts a form");
    };
    let examples = HttpDirectorySettings {
        csrf: None,
        fields: Vec::new(),
        headers: Vec::new(),
        success: AnswerRules::default(),
        refused: AnswerRules::default(),
        user: HttpUser::default(),
        logout: None,
        ..(**http).clone()
    };
    assert_eq!(examples, HttpDirectorySettings::new(http.url.clone()));
    assert!(!http.user.casefold);
}

#[test]
fn every_key_that_the_program_knows_is_in_the_sample() {
    let text = everything_on();
    let reader = RawReader::new(Path::new(BASE));
    reader.read(&text, check::check).unwrap();
    let (findings, known) = reader.finish();
    assert!(findings.is_empty(), "{}", ProblemReport::new("gateway.toml", &text, findings));

    let mut written = BTreeSet::new();
    keys("", &toml::from_str::<toml::Table>(&text).unwrap(), &mut written);
    // The names below it are the operator's own.
    written.retain(|key| !key.starts_with("identity.attributes."));
    let missing: Vec<_> = known.difference(&written).collect();
    assert!(missing.is_empty(), "not in gateway.toml: {missing:?}");
    assert!(known.len() > 100, "the reader knows {} keys only", known.len());

    for new in raw::new_names() {
        assert!(known.contains(new), "a renamed key leads to {new}, which nobody reads");
    }
}

fn keys(path: &str, table: &toml::Table, all: &mut BTreeSet<String>) {
    for (key, value) in table {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let elements = match value {
            toml::Value::Array(elements) => elements.as_slice(),
            one => std::slice::from_ref(one),
        };
        for table in elements.iter().filter_map(toml::Value::as_table) {
            keys(&path, table, all);
        }
        all.insert(path);
    }
}

#[test]
fn what_init_writes_is_right_and_has_the_defaults() {
    let config = parse(init::MINIMAL);
    let base = Path::new(BASE);
    let http = config.listen.http.clone();
    assert_eq!(config.listen, Listen { http, ..Listen::default() });
    let django = Upstream::new("django", &["127.0.0.1:8000"]);
    // A Django service is run by a WSGI server.
    assert_eq!(config.upstreams, [Upstream { buffer_chunked: true, ..django }]);
    let app = Route { index: 1, ..Route::new("app", PathPattern::default(), 0) };
    assert_eq!(config.routes[1], app);
    let signing_key_file = base.join("doorwarden/signing-key.pem");
    assert_eq!(config.tokens, Tokens { signing_key_file, ..Tokens::default() });
    assert_eq!(config.store.path, base.join("doorwarden/store.db"));
    assert_eq!(config.session, SessionSettings::default());
    assert_eq!(config.identity, IdentityHeaderNames::default());
    assert_eq!(config.login, Login::default());
    assert_eq!(config.cors, Cors::default());
    assert_eq!(config.detect, Detect::default());
    assert_eq!(config.geo, Geo::default());
    let audit_key_file = base.join("doorwarden/audit-key");
    assert_eq!(config.log, Log { audit_key_file, ..Log::default() });
}

#[test]
fn the_sample_for_containers_opens_its_admin_port_knowingly() {
    let text = include_str!("../../docker/gateway.toml");
    let (_, report) = Config::parse(text, Path::new(BASE), "docker/gateway.toml").unwrap();
    let keys: Vec<&str> = report.problems().iter().map(|one| one.key.as_str()).collect();
    // The port is published on this machine alone by compose.yml, or is behind a proxy that terminates TLS.
    assert_eq!(keys, ["listen", "listen.admin"]);
}

#[test]
fn an_empty_section_says_as_much_as_none() {
    let sections = [
        "trusted_proxies",
        "shadow",
        "paths",
        "tokens",
        "session",
        "identity",
        "login",
        "cors",
        "detect",
        "detect.refresh_reuse",
        "geo",
        "account",
        "privacy",
        "store",
        "log",
    ];
    let empty: String = sections.iter().map(|name| format!("[{name}]\n")).collect();
    assert_eq!(parse(&format!("{}\n{empty}", init::MINIMAL)), parse(init::MINIMAL));
}
