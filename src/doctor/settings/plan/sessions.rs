//! Django's sessions: the existing ones, as credentials, and those that the gateway makes.

use super::super::facts::{Cache, DjangoDatabase, DjangoSessionSettings, ProjectFacts};
use super::Planner;
use super::forms::SESSION;
use super::toml::duration;
use crate::doctor::finding::Weight;

/// The built-in serializer that does not use pickle.
const JSON: &str = "django.contrib.sessions.serializers.JSONSerializer";
/// The cache whose entries have the format that the gateway knows.
const REDIS: &str = "django.core.cache.backends.redis.RedisCache";
const MODEL_BACKEND: &str = "django.contrib.auth.backends.ModelBackend";

/// The longest validity, in seconds, of a session that the gateway makes; it is renewed at half of it.
const LONGEST: u64 = 3600;

const DAY: u64 = 86_400;

impl DjangoSessionSettings {
    /// Whether the sessions are rows of a table.
    pub(super) fn has_rows(&self) -> bool {
        matches!(self.engine.as_str(), "db" | "cached_db")
    }

    /// Returns why the gateway cannot read or make them.
    pub(super) fn problem(&self, facts: &ProjectFacts) -> Option<String> {
        if !self.built_in {
            return Some(format!("SESSION_ENGINE is {:?}", self.engine));
        }
        if self.serializer != JSON {
            return Some(format!("SESSION_SERIALIZER is {:?}", self.serializer));
        }
        match self.engine.as_str() {
            "db" | "cached_db" => {
                let kind = facts.database(&self.database).map(|database| database.kind.as_str());
                match kind {
                    None | Some("") => {
                        Some("their database is none that the gateway knows".to_owned())
                    }
                    // In these databases, dates have no time zone.
                    Some("sqlite" | "mysql") if !facts.use_tz => Some("USE_TZ is off".to_owned()),
                    Some(_) => None,
                }
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

impl<'f> Planner<'f> {
    /// Writes the issuer of the sessions that people have now.
    pub(super) fn session_issuer(&mut self) {
        let facts = self.facts;
        let Some(sessions) = facts.sessions.as_ref().filter(|sessions| sessions.middleware) else {
            return;
        };
        if let Some(why) = sessions.problem(facts) {
            self.report.tell(
                Weight::Failure,
                "sessions",
                format!("sessions that people have now are not accepted: {why}"),
                "The gateway can neither judge nor follow them. [[directory]] kind = \"http\" asks the service's own sign-in, and the \
                 form \"cookies\" keeps what it gives: docs/django.md.",
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
        if sessions.has_rows() {
            self.session_database(sessions);
            self.toml.string("table", &sessions.table, "SESSION_ENGINE");
        } else if let ("cache", Some(cache)) = (sessions.engine.as_str(), &sessions.cache) {
            self.session_cache(cache);
        }
        // A session's remaining time shows when it was saved, and how long a denied one could come back.
        let age = sessions.age.clamp(60, 3660 * DAY);
        self.toml.duration("max_age", age, "SESSION_COOKIE_AGE");
        self.report.add(
            Weight::Fine,
            "sessions",
            format!(
                "sessions that people have now stay good ({}, cookie {})",
                sessions.engine, sessions.cookie
            ),
        );
    }

    /// Writes the form of the sessions that views and the admin get.
    pub(super) fn session_form(&mut self, sessions: &DjangoSessionSettings) {
        let facts = self.facts;
        self.toml.note("Views and an admin that want a Django session get one of the gateway's making, kept where the service keeps its own.");
        let server = self.session_server(sessions);
        if let Some(server) = server {
            let grants = self.grants_of_sessions(server, sessions);
            self.toml.comment(
                "It is written by the user of the service's own database, who may do that already. One of the gateway's \
                 own needs this:",
            );
            self.toml.lines(&grants);
        }
        self.toml.table("[[identity.form]]");
        self.toml.string("name", SESSION, "");
        self.toml.string("kind", "django-session", "SessionMiddleware");
        self.toml.string("engine", &sessions.engine, "SESSION_ENGINE");
        let file = self.secret_key();
        self.toml.string("key_file", &file, "SECRET_KEY");
        if sessions.has_rows() {
            self.session_database(sessions);
            self.toml.string("session_table", &sessions.table, "SESSION_ENGINE");
        }
        let longest = sessions.age.clamp(60, LONGEST);
        let says = match (sessions.engine.as_str(), &sessions.cache) {
            ("cache", Some(cache)) => {
                self.session_cache(cache);
                format!("It writes them to {}, as the service does.", cache.url)
            }
            ("signed_cookies", _) => {
                let age = sessions.age.clamp(60, 400 * DAY);
                self.toml.duration("max_age", age, "SESSION_COOKIE_AGE");
                format!(
                    "It signs them, and writes nothing. Nobody can take such a session back; it is good for {} at most.",
                    duration(longest)
                )
            }
            (engine, cache) => {
                if engine == "cached_db" {
                    self.copies(cache.as_ref());
                }
                self.says_of_rows(sessions)
            }
        };
        self.toml.string("cookie", &sessions.cookie, "SESSION_COOKIE_NAME");
        let tried = facts.proof.as_ref().map(|proof| &proof.session_backend);
        let tried = tried.filter(|backend| !backend.is_empty());
        let backend = facts.backends.iter().find(|backend| *backend == MODEL_BACKEND);
        if let Some(backend) = tried.or(backend).or(facts.backends.first()) {
            self.toml.string("backend", backend, "AUTHENTICATION_BACKENDS");
        }
        self.toml.duration("lifetime", longest, "not longer than SESSION_COOKIE_AGE");
        let what = match facts.urls.admins.is_empty() {
            false => "the gateway makes Django sessions, so that the admin opens signed in",
            true => "the gateway makes Django sessions, for views that want one",
        };
        self.report.tell(Weight::Note, "sessions", what, says);
    }

    /// Describes what it takes to write rows.
    fn says_of_rows(&self, sessions: &DjangoSessionSettings) -> String {
        let table = &sessions.table;
        match self.session_server(sessions) {
            Some(server) => format!(
                "It writes to {table} and to no other table, as the service's own user of the database. One of its own needs:\n{}",
                self.grants_of_sessions(server, sessions).join("\n")
            ),
            None => format!(
                "It writes to {table} and to no other table. Who runs it must be able to write the file and its folder."
            ),
        }
    }

    /// Writes the cache that the service reads before the table: a session that ended must be removed there too.
    fn copies(&mut self, cache: Option<&Cache>) {
        let why = match cache.map(Cache::problem) {
            Some(None) => {
                if let Some(cache) = cache {
                    self.session_cache(cache);
                }
                return;
            }
            Some(Some(why)) => why,
            None => "their cache could not be read".to_owned(),
        };
        self.report.tell(
            Weight::Warning,
            "sessions",
            format!("the service goes on reading its cached copy of a session that ended: {why}"),
            "It is good for an hour at most. With a Redis for the cache, or without one (\"db\"), it ends at once.",
        );
    }

    /// Returns the database server to which sessions are written.
    fn session_server(&self, sessions: &DjangoSessionSettings) -> Option<&'f DjangoDatabase> {
        let database = self.facts.database(&sessions.database)?;
        (sessions.has_rows() && database.kind != "sqlite").then_some(database)
    }

    /// Writes the database of the sessions' table, if it is not the users'.
    fn session_database(&mut self, sessions: &DjangoSessionSettings) {
        let facts = self.facts;
        let users = facts.user.as_ref().map(|user| user.database.as_str());
        if users == Some(sessions.database.as_str()) {
            return;
        }
        if let Some(database) = facts.database(&sessions.database) {
            self.database(database);
        }
    }

    fn session_cache(&mut self, cache: &Cache) {
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
