//! Provides the configuration that `doorwarden init` writes.

/// A short configuration to start from: everything that has no default, and nothing else.
pub const MINIMAL: &str = r#"# Doorwarden in front of a Django service. Every other setting has a default: see gateway.toml in the repository.
# `doorwarden check --config FILE` says what is wrong with this file, `doorwarden run --config FILE` starts the gateway.

[listen]
http  = ["127.0.0.1:8080"]          # what browsers and clients use; for TLS see listen.https
admin = "127.0.0.1:9090"            # /metrics, /live, /ready and the operator's API; never on the public port

[[upstream]]
name           = "django"
servers        = ["127.0.0.1:8000"] # where the service listens; make it reachable for the gateway alone
buffer_chunked = true               # under gunicorn or uWSGI, which lose chunked bodies

[[directory]]
kind     = "django"                 # the service's own users and passwords, read only
database = "sqlite:///srv/app/db.sqlite3"

# Or users of the gateway's own: doorwarden user add NAME --file users.toml --password-stdin
# [[directory]]
# kind = "file"
# path = "users.toml"

[[route]]
name     = "static"
path     = "/static/"
upstream = "django"
access   = "public"

[[route]]
name     = "app"
path     = "/"
upstream = "django"                 # signed-in callers only: nothing is public unless it says so
"#;
