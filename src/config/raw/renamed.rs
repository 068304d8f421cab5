//! Keys that other programs, or earlier drafts of this one, call otherwise.

/// What people write, and what it is called here. Both are whole paths.
const RENAMED: &[(&str, &str)] = &[
    ("listen.address", "listen.http"),
    ("listen.tls_certificate", "listen.certificate_file"),
    ("listen.tls_key", "listen.private_key_file"),
    ("trusted_proxies.addresses", "trusted_proxies.networks"),
    ("upstream.address", "upstream.servers"),
    ("upstream.url", "upstream.servers"),
    ("upstream.timeout", "upstream.read_timeout"),
    ("route.prefix", "route.path"),
    ("route.host", "route.hosts"),
    ("route.public", "route.access"),
    ("tokens.access_token_lifetime", "tokens.access_lifetime"),
    ("tokens.refresh_token_lifetime", "tokens.refresh_lifetime"),
    ("tokens.rotate_refresh_tokens", "tokens.rotation"),
    ("tokens.signing_key", "tokens.signing_key_file"),
    ("session.cookie_name", "session.cookie"),
    ("session.lifetime", "session.absolute_timeout"),
    ("directory.file", "directory.path"),
    ("directory.table", "directory.user_table"),
    ("geo.database", "geo.country_database"),
    ("store.file", "store.path"),
    ("log.audit", "log.audit_file"),
];

/// The name of a key that is known under another one.
pub(super) fn new_name(path: &str) -> Option<&'static str> {
    RENAMED.iter().find(|(old, _)| *old == path).map(|(_, new)| *new)
}

#[cfg(test)]
pub(in crate::config) fn new_names() -> impl Iterator<Item = &'static str> {
    RENAMED.iter().map(|(_, new)| *new)
}
