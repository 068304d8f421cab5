//! Django's sessions: those that there are, as credentials, and those that the gateway makes.

use super::super::facts::{Cache, Facts, Sessions};
use super::Planner;
use super::forms::SESSION;
use crate::cli::doctor::finding::Mark;

/// The built-in serializer that is no pickle.
const JSON: &str = "django.contrib.sessions.serializers.JSONSerializer";
/// The cache whose entries have the form that the gateway knows.
const REDIS: &str = "django.core.cache.backends.redis.RedisCache";
const MODEL_BACKEND: &str = "django.contrib.auth.backends.ModelBackend";

/// A session that the gateway makes is good for no longer: it is renewed at half of it.
const LONGEST: u64 = 3600;

impl Sessions {
    /// Why the gateway cannot read or make them.
    pub(super) fn problem(&self, facts: &Facts) -> Option<String> {
        if !self.built_in {
            return Some(format!("SESSION_ENGINE is {:?}", self.engine));
        }
        if self.serializer != JSON {
            return Some(format!("SESSION_SERIALIZER is {:?}", self.serializer));
        }
        match self.engine.as_str() {
            "db" | "cached_db" => {
                let kind = facts.database(&self.database).map(|database| database.kind.as_str());
                let known = kind.is_some_and(|kind| !kind.is_empty());
                (!known).then(|| "their database is none that the gateway knows".to_owned())
            }
            "cache" => match &self.cache {
                Some(cache) => cache.problem(),
                None => Some("their cache could not be read".to_owned()),
            },
            "signed_cookies" => None,
            other => Some(format!("SESSION_ENGINE is {other:?}")),
        }
    }
}

impl Cache {
    fn problem(&self) -> Option<String> {
        if self.backend != REDIS {
            Some(format!("CACHES: {} is not {REDIS}", self.backend))
        } else if !self.url.starts_with("redis://") {
            Some("CACHES: the LOCATION is no redis:// address".to_owned())
        } else if !self.default_key_function {
            Some("CACHES: the KEY_FUNCTION is the project's own".to_owned())
        } else if self.servers > 1 || !self.user.is_empty() {
            Some("CACHES: more than one server, or a user name".to_owned())
        } else {
            None
        }
    }
}

impl Planner<'_> {
    /// The sessions that people have now.
    pub(super) fn session_issuer(&mut self) {
        let facts = self.facts;
        let Some(sessions) = facts.sessions.as_ref().filter(|sessions| sessions.middleware) else {
            return;
        };
        if let Some(why) = sessions.problem(facts) {
            self.report.tell(
                Mark::Warning,
                "sessions",
                format!("sessions that people have now are not accepted: {why}"),
                "They sign in at the gateway once.",
            );
            return;
        }
        self.toml.table("[[issuer]]");
        self.toml.string("kind", "django-session", "SessionMiddleware: who is signed in stays so");
        self.toml.string("engine", &sessions.engine, "SESSION_ENGINE");
        self.toml.string("cookie", &sessions.cookie, "SESSION_COOKIE_NAME");
        let file = self.secret_key();
        self.toml.string("key_file", &file, "SECRET_KEY");
        let mut fallbacks = Vec::new();
        for (at, key) in facts.fallbacks.iter().enumerate() {
            fallbacks.push(self.file(&format!("django-secret-key-fallback-{}", at + 1), key));
        }
        if !fallbacks.is_empty() {
            self.toml.list("fallback_key_files", &fallbacks, "SECRET_KEY_FALLBACKS");
        }
        self.toml.list("backends", &facts.backends, "AUTHENTICATION_BACKENDS");
        match sessions.engine.as_str() {
            "db" | "cached_db" => {
                self.session_database(sessions);
                self.toml.string("table", &sessions.table, "SESSION_ENGINE");
            }
            "cache" => self.session_cache(sessions),
            _ => self.toml.duration("max_age", sessions.age.max(60), "SESSION_COOKIE_AGE"),
        }
        self.report.add(
            Mark::Fine,
            "sessions",
            format!(
                "sessions that people have now stay good ({}, cookie {})",
                sessions.engine, sessions.cookie
            ),
        );
    }

    /// The sessions that views and the admin get.
    pub(super) fn session_form(&mut self, sessions: &Sessions) {
        let facts = self.facts;
        self.toml.comment("");
        self.toml.comment("Views and an admin that want a Django session get one of the gateway's making, in the service's own table.");
        self.toml.table("[[identity.form]]");
        self.toml.string("name", SESSION, "");
        self.toml.string("kind", "django-session", "SessionMiddleware");
        if let Some(database) = facts.database(&sessions.database) {
            self.toml.string("database", &format!("sqlite://{}", database.name), "DATABASES");
        }
        self.toml.string("session_table", &sessions.table, "SESSION_ENGINE");
        let file = self.secret_key();
        self.toml.string("key_file", &file, "SECRET_KEY");
        self.toml.string("cookie", &sessions.cookie, "SESSION_COOKIE_NAME");
        let backend = facts.backends.iter().find(|backend| *backend == MODEL_BACKEND);
        if let Some(backend) = backend.or(facts.backends.first()) {
            self.toml.string("backend", backend, "AUTHENTICATION_BACKENDS");
        }
        let lifetime = sessions.age.clamp(60, LONGEST);
        self.toml.duration("lifetime", lifetime, "not longer than SESSION_COOKIE_AGE");
        self.report.tell(
            Mark::Note,
            "sessions",
            "the gateway makes Django sessions, so that the admin opens signed in",
            format!(
                "It writes to {} and to no other table; its user must be able to write there.",
                sessions.table
            ),
        );
    }

    /// Where the sessions' table is, if that is not where the users are.
    fn session_database(&mut self, sessions: &Sessions) {
        let facts = self.facts;
        let users = facts.user.as_ref().map(|user| user.database.as_str());
        if users == Some(sessions.database.as_str()) {
            return;
        }
        if let Some(database) = facts.database(&sessions.database) {
            self.database(database);
        }
    }

    fn session_cache(&mut self, sessions: &Sessions) {
        let Some(cache) = &sessions.cache else { return };
        self.toml.string("cache", &cache.url, "CACHES: LOCATION");
        if !cache.password.expose().is_empty() {
            let file = self.file("cache-password", &cache.password);
            self.toml.string("cache_password_file", &file, "CACHES");
        }
        if !cache.prefix.is_empty() {
            self.toml.string("cache_prefix", &cache.prefix, "CACHES: KEY_PREFIX");
        }
        if cache.version != 1 {
            self.toml.raw("cache_version", &cache.version.to_string(), "CACHES: VERSION");
        }
    }
}
