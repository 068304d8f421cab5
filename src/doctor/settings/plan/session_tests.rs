//! Tests the sessions that the gateway makes, wherever the service stores them; and the hints about custom tokens.

use serde_json::{Value, json};

use super::tests::{planned, project, route, says, uncommented, with};
use crate::config::{Config, Database, DjangoSession, FormEngine, FormKind, IssuerKind, OwnPath};
use crate::doctor::finding::Weight;

fn form(config: &Config) -> &DjangoSession {
    let index = route(config, "/admin/").identity.cookie[0];
    let FormKind::DjangoSession(form) = &config.forms[index].kind else { panic!("{config:?}") };
    form
}

pub(super) fn on_server(kind: &str) -> Value {
    let mut project = project();
    let database = &mut project["databases"][0];
    for (name, value) in
        [("kind", kind), ("name", "shop"), ("user", "shop"), ("host", "db.internal")]
    {
        database[name] = json!(value);
    }
    project
}

fn in_redis(engine: &str, backend: &str) -> Value {
    let mut project = with("/sessions/engine", json!(engine));
    project["sessions"]["cache"] = json!({
        "backend": backend, "url": "redis://cache.internal:6379/1", "user": "", "password": "hush-cache",
        "prefix": "shop", "version": 2, "default_key_function": true, "servers": 1,
    });
    project
}

#[test]
fn sessions_are_made_where_the_service_keeps_them() {
    const REDIS: &str = "django.core.cache.backends.redis.RedisCache";
    let (_, config, _) = planned(with("/sessions/engine", json!("signed_cookies")));
    let two_weeks = std::time::Duration::from_secs(14 * 86_400);
    assert!(
        matches!(form(&config).engine, FormEngine::SignedCookies { max_age } if max_age == two_weeks)
    );

    // Without rows, no date lacks its time zone.
    let mut cached = in_redis("cache", REDIS);
    cached["use_tz"] = json!(false);
    let (plan, config, _) = planned(cached);
    let FormEngine::Cache(cache) = &form(&config).engine else { panic!("{}", plan.toml) };
    assert_eq!((cache.prefix.as_str(), cache.version), ("shop", 2));
    assert!(!plan.toml.contains("hush-cache"));

    for (backend, is_told) in
        [(REDIS, false), ("django.core.cache.backends.locmem.LocMemCache", true)]
    {
        let (plan, config, said) = planned(in_redis("cached_db", backend));
        let FormEngine::Rows { cache, .. } = &form(&config).engine else { panic!("{}", plan.toml) };
        assert_eq!(cache.is_none(), is_told, "{backend}");
        let told = said
            .iter()
            .any(|(mark, text)| *mark == Weight::Warning && text.contains("cached copy"));
        assert_eq!(told, is_told, "{backend}");
    }
}

#[test]
fn on_a_server_the_grants_are_said_word_for_word() {
    for (kind, table) in [("postgres", "django_session"), ("mysql", "shop.django_session")] {
        let mut project = on_server(kind);
        project["simplejwt"]["blacklist"] = json!(true);
        let (plan, config, said) = planned(project);
        let FormEngine::Rows { database: Database::Server(server), .. } = &form(&config).engine
        else {
            panic!("{}", plan.toml)
        };
        assert_eq!(server.user, "shop", "the directory's");
        assert_eq!(plan.toml.matches("\ndatabase = ").count(), 1, "{}", plan.toml);
        let grant = format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO doorwarden;");
        assert!(plan.toml.contains(&grant), "{}", plan.toml);
        for words in [
            "(id, username, password, is_active",
            "(user_id, group_id)",
            "token_blacklist_outstandingtoken",
        ] {
            assert!(plan.toml.contains(words), "{words} in {}", plan.toml);
        }
        says(&said, Weight::Note, "the gateway makes Django sessions");
        says(&said, Weight::Note, "signs in there as the service's own user");
    }
}

#[test]
fn sessions_in_another_database_are_written_there() {
    let mut project = on_server("postgres");
    let mut other = project["databases"][0].clone();
    other["alias"] = json!("sessions");
    other["name"] = json!("sessions");
    other["password"] = json!("hush-database");
    project["databases"].as_array_mut().unwrap().push(other);
    project["sessions"]["database"] = json!("sessions");
    let (plan, config, _) = planned(project);
    let FormEngine::Rows { database: Database::Server(server), .. } = &form(&config).engine else {
        panic!("{}", plan.toml)
    };
    assert_eq!(server.name, "sessions");
    assert!(server.password_file.is_some(), "{server:?}");
    assert!(plan.toml.contains("ON django_session TO doorwarden_sessions;"), "{}", plan.toml);
    assert!(!plan.toml.contains("hush-database"));
}

#[test]
fn tokens_of_the_projects_own_are_told_of_extra_and_claims() {
    let mut project = with("/simplejwt/custom_obtain", json!(true));
    project["simplejwt"]["blacklist"] = json!(true);
    let (plan, config, said) = planned(project);
    says(&said, Weight::Warning, "obtaining and refreshing is left to the service");
    // What the service revoked is refused, although no refresh token comes here.
    let IssuerKind::SimpleJwt(jwt) = &config.issuers[0].kind else { panic!("{}", plan.toml) };
    assert!(jwt.blacklist.is_some() && !jwt.adopt_refresh_tokens, "{}", plan.toml);
    let at = |config: &Config, path: &str| config.paths.iter().any(|entry| entry.path == path);
    assert!(!at(&config, "/api/token/"), "{}", plan.toml);
    assert!(plan.toml.contains("#extra = ") && plan.toml.contains("#claims = "), "{}", plan.toml);
    let config = uncommented(&plan);
    assert!(at(&config, "/api/token/") && at(&config, "/api/token/refresh/"));
    let login = config.paths.iter().find(|entry| entry.path == "/api/token/").unwrap();
    assert_eq!(login.own, OwnPath::Login);
}
