//! `[listen]`, `[[upstream]]`, `[session]`, and what the project's settings mean behind a gateway.

use super::super::ServiceAddresses;
use super::super::facts::UrlShape;
use super::toml::quoted;
use super::{Planner, UPSTREAM};
use crate::doctor::finding::Weight;

/// The links that people without a password need on a page that asks for one.
const LINKS: [(&str, &str); 2] =
    [("password-reset", "Forgot your password?"), ("sign-up", "Create an account")];

/// The seconds of `session.absolute_timeout`, which an idle timeout must not exceed.
const ABSOLUTE: u64 = 30 * 86_400;

impl Planner<'_> {
    pub(super) fn service(&mut self, addresses: &ServiceAddresses) {
        let facts = self.facts;
        let toml = &mut self.toml;
        toml.section("Where the gateway listens");
        toml.table("[listen]");
        toml.comment("For TLS: https, certificate_file and private_key_file. Browsers keep the session cookie over TLS, and from http://localhost.");
        toml.list("http", std::slice::from_ref(&addresses.listen), "--listen");
        toml.string("admin", &addresses.admin, "--admin: metrics and the operator's API");

        toml.section("Where requests go");
        toml.table("[[upstream]]");
        toml.string("name", UPSTREAM, "");
        toml.list("servers", std::slice::from_ref(&addresses.upstream), "--upstream");
        if facts.wsgi.is_empty() {
            self.report.add(Weight::Note, "server", "WSGI_APPLICATION is not set: taken for ASGI");
        } else {
            toml.flag("buffer_chunked", true, "WSGI_APPLICATION: Django sees a chunked body empty");
            if !facts.asgi.is_empty() {
                self.report.tell(
                    Weight::Note,
                    "server",
                    "both WSGI_APPLICATION and ASGI_APPLICATION are set: taken for WSGI",
                    "If an ASGI server runs it, remove buffer_chunked.",
                );
            }
        }
        self.scheme(addresses);
        if facts.debug {
            self.report.add(
                Weight::Warning,
                "settings",
                "DEBUG is on: errors show settings and source to everybody",
            );
        }
    }

    /// Reports how the service learns that a request came over TLS.
    fn scheme(&mut self, addresses: &ServiceAddresses) {
        let facts = self.facts;
        let header = facts.proxy_ssl_header.first().map(String::as_str);
        match header {
            Some("HTTP_X_FORWARDED_PROTO") => self.report.add(
                Weight::Fine,
                "scheme",
                "SECURE_PROXY_SSL_HEADER reads X-Forwarded-Proto, which the gateway sets",
            ),
            Some(other) => self.report.tell(
                Weight::Failure,
                "scheme",
                format!("SECURE_PROXY_SSL_HEADER reads {other}, which the gateway does not set"),
                "Set it to (\"HTTP_X_FORWARDED_PROTO\", \"https\").",
            ),
            None => self.report.tell(
                Weight::Note,
                "scheme",
                "SECURE_PROXY_SSL_HEADER is not set",
                "gunicorn and uWSGI believe X-Forwarded-Proto from loopback by themselves. With another server, over TLS, \
                 set it to (\"HTTP_X_FORWARDED_PROTO\", \"https\"), or forms are refused (CSRF).",
            ),
        }
        if facts.ssl_redirect && header != Some("HTTP_X_FORWARDED_PROTO") {
            self.report.tell(
                Weight::Warning,
                "scheme",
                "SECURE_SSL_REDIRECT is on: what the service takes for plain HTTP is redirected for ever",
                "Listen with TLS (listen.https) and set SECURE_PROXY_SSL_HEADER.",
            );
        } else if facts.ssl_redirect {
            self.report.add(
                Weight::Warning,
                "scheme",
                "SECURE_SSL_REDIRECT is on: listen with TLS (listen.https)",
            );
        }
        self.hosts(addresses);
        self.client_addresses();
    }

    /// Reports the hosts. Django answers 400 to an unknown one, without an explanation.
    fn hosts(&mut self, addresses: &ServiceAddresses) {
        let facts = self.facts;
        let allowed = &facts.allowed_hosts;
        let listens = addresses.listen.rsplit_once(':').map_or("", |(host, _)| host);
        let is_open = |host: &str| {
            allowed.iter().any(|name| {
                let below = name.strip_prefix('.');
                name == "*"
                    || name.eq_ignore_ascii_case(host)
                    || below.is_some_and(|domain| {
                        host.eq_ignore_ascii_case(domain) || host.ends_with(name.as_str())
                    })
            })
        };
        // With DEBUG and without names, this machine's own names are allowed.
        if is_open(listens) || (facts.debug && allowed.is_empty()) {
            return;
        }
        let mut line: Vec<String> = allowed.iter().map(|name| quoted(name)).collect();
        line.push(quoted(listens));
        let line = format!("ALLOWED_HOSTS = [{}]", line.join(", "));
        if allowed.is_empty() {
            self.report.tell(
                Weight::Failure,
                "hosts",
                "ALLOWED_HOSTS is empty: the service answers 400 to every request",
                format!("Set it to the names under which people open the gateway, like {line}"),
            );
            return;
        }
        let first = allowed.first().map_or("", |name| name.trim_start_matches('.'));
        self.report.tell(
            Weight::Warning,
            "hosts",
            format!("ALLOWED_HOSTS is {}: to any other Host the service answers 400", allowed.join(", ")),
            format!(
                "The gateway hands on the client's Host. Open it as {first}; to try it at {listens}: {line}"
            ),
        );
    }

    /// Reports what counts by address: behind a proxy, all clients have the proxy's.
    fn client_addresses(&mut self) {
        for one in self.facts.proof.iter().flat_map(|proof| &proof.address_readers) {
            if one.is_right {
                self.report.add(
                    Weight::Fine,
                    "address",
                    format!("{} sees the client's address behind the gateway", one.package),
                );
                continue;
            }
            self.report.tell(
                Weight::Failure,
                "address",
                format!(
                    "{} would see {} for every client: what one of them does counts for all",
                    one.package, one.seen
                ),
                format!("In the project's settings:\n{}", one.line),
            );
        }
    }

    pub(super) fn session(&mut self) {
        let facts = self.facts;
        let toml = &mut self.toml;
        toml.section("Sessions of the gateway");
        toml.table("[session]");
        // If the service signs people in, it decides when its sessions end.
        if let (Some(sessions), false) = (&facts.sessions, self.choices.follows) {
            let idle = sessions.age.clamp(60, ABSOLUTE);
            toml.duration("idle_timeout", idle, "SESSION_COOKIE_AGE");
        }
        let (exact, wild): (Vec<String>, Vec<String>) =
            facts.trusted_origins.iter().cloned().partition(|origin| !origin.contains('*'));
        let exact: Vec<String> = exact.iter().map(|origin| origin.to_lowercase()).collect();
        if !exact.is_empty() {
            toml.list("trusted_origins", &exact, "CSRF_TRUSTED_ORIGINS");
        }
        if !wild.is_empty() {
            self.report.tell(
                Weight::Warning,
                "origins",
                format!("CSRF_TRUSTED_ORIGINS has wildcards: {}", wild.join(", ")),
                "session.trusted_origins takes whole origins only: name those whose pages send requests with the cookie.",
            );
        }
    }

    /// Writes the links from the gateway's page to what the gateway does not have itself.
    pub(super) fn login(&mut self) {
        let methods = &self.facts.urls.sign_in_by;
        if !methods.is_empty() && *methods != ["username"] {
            self.report.add(
                Weight::Note,
                "sign-in",
                format!("people sign in by {} (ACCOUNT_LOGIN_METHODS)", methods.join(" or ")),
            );
        }
        let mut links = Vec::new();
        for (kind, label) in LINKS {
            let is_page = |one: &&UrlShape| {
                one.kind == kind && one.exact && !one.hidden && one.served.contains_key("GET")
            };
            if let Some(one) = self.facts.urls.endpoints.iter().find(is_page) {
                links.push(format!(
                    "{{ label = {}, href = {} }}",
                    quoted(label),
                    quoted(&one.path)
                ));
            }
        }
        if !links.is_empty() {
            self.toml.section("The gateway's own page");
            self.toml.table("[login]");
            self.toml.raw("links", &format!("[{}]", links.join(", ")), "the service's own pages");
        }
    }
}
