//! Lists keys that have another name in other programs, and keys that had another name in earlier versions.

/// The former names of keys, as whole paths. A former name still works, with a warning.
const FORMER: &[(&str, &str)] = &[
    ("directory.recheck", "directory.refresh_interval"),
    ("issuer.take_over_refresh", "issuer.adopt_refresh_tokens"),
    ("listen.max_own_body_bytes", "listen.max_body_bytes"),
    ("login.first_wait", "login.backoff_initial"),
    ("login.forget_after", "login.reset_after"),
    ("login.issues", "login.token_delivery"),
    ("login.longest_wait", "login.backoff_max"),
    ("paths.alias.to", "paths.alias.endpoint"),
    ("route.tolerate", "route.allow_ambiguous_path"),
];

/// The names that people write, and the names here. Both are whole paths.
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

/// Returns the name of a key that is known under another one.
pub(super) fn new_name(path: &str) -> Option<&'static str> {
    RENAMED.iter().find(|(old, _)| *old == path).map(|(_, new)| *new)
}

/// Returns the former name of the key with this path.
pub(super) fn former_name(path: &str) -> Option<&'static str> {
    FORMER.iter().find(|(_, new)| *new == path).map(|(old, _)| *old)
}

/// Returns the present name of the key that formerly had this path.
pub(super) fn name_since(path: &str) -> Option<&'static str> {
    FORMER.iter().find(|(old, _)| *old == path).map(|(_, new)| *new)
}

#[cfg(test)]
pub(in crate::config) fn new_names() -> impl Iterator<Item = &'static str> {
    RENAMED.iter().chain(FORMER).map(|(_, new)| *new)
}

/// Returns all former names, with the present ones.
#[cfg(test)]
pub(in crate::config) fn former_names() -> impl Iterator<Item = (&'static str, &'static str)> {
    FORMER.iter().copied()
}
