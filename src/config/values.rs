//! Parses texts with a grammar of their own: names, hosts, origins, headers, addresses.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::config::raw::Wrong;
use crate::wire::forward::ProtectedNames;
use crate::wire::forward::fold;
use crate::wire::host::Host;
use crate::wire::path::{
    CanonicalPath, PathMatch, PathPattern, PatternProblem, Segment, TargetProblem,
};
use crate::wire::scheme::Scheme;

/// Parses a name that becomes a metric label or part of a user's key.
pub(super) fn name(text: &str) -> Result<String, Wrong> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if text.is_empty() || text.len() > 64 || !text.bytes().all(legal) {
        return Err(Wrong::new(format!("{text:?} is no name"))
            .help("allowed: 1 to 64 of the characters a-z A-Z 0-9 _ - ."));
    }
    Ok(text.to_owned())
}

/// Parses the name of a field in a body, which must differ from the other fields of a sign-in.
pub(super) fn field(text: &str) -> Result<String, Wrong> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if text.is_empty() || text.len() > 64 || !text.bytes().all(legal) {
        return Err(Wrong::new(format!("{text:?} is no name of a field"))
            .help("allowed: letters, digits, _ - and ."));
    }
    if ["password", "next", "non_field_errors", "detail", "code", "request_id"].contains(&text) {
        return Err(Wrong::new(format!("{text:?} has another meaning there")));
    }
    Ok(text.to_owned())
}

/// Parses a text for people that must not be empty.
pub(super) fn filled(text: &str) -> Result<String, Wrong> {
    if text.trim().is_empty() || text.chars().any(char::is_control) {
        return Err(Wrong::new("must be a text without control characters, and not empty"));
    }
    Ok(text.to_owned())
}

/// Parses `address:port`.
pub(super) fn address(text: &str) -> Result<SocketAddr, Wrong> {
    text.parse().map_err(|_| {
        Wrong::new(format!("{text:?} is no address to listen on"))
            .help("allowed: an IP address and a port, like \"127.0.0.1:8080\" or \"[::]:8080\"")
    })
}

/// Parses a network in CIDR form, or one address.
pub(super) fn network(text: &str) -> Result<IpNet, Wrong> {
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let network = network.map_err(|_| {
        Wrong::new(format!("{text:?} is no network"))
            .help("allowed: an address or a network in CIDR form, like \"10.0.0.0/8\"")
    })?;
    if network != network.trunc() {
        return Err(Wrong::new(format!("{text:?} has bits set beyond its prefix"))
            .help(format!("the network is {:?}", network.trunc().to_string())));
    }
    Ok(network)
}

/// Parses a host that a route matches: exact, or `*.` and a domain.
pub(super) fn route_host(text: &str) -> Result<String, Wrong> {
    const FORM: &str = "allowed: a host without port, or a wildcard like \"*.example.com\"; no hosts at all means any";
    let (wildcard, rest) = match text.strip_prefix("*.") {
        Some(rest) => ("*.", rest),
        None => ("", text),
    };
    match Host::parse(rest) {
        Ok(host) if host.port().is_none() => Ok(format!("{wildcard}{}", host.name())),
        _ => Err(Wrong::new(format!("{text:?} is no host")).help(FORM)),
    }
}

/// Parses one path as the gateway matches it, in its canonical spelling.
pub(super) fn canonical_path(text: &str) -> Result<CanonicalPath, Wrong> {
    if text.contains('*') {
        return Err(Wrong::new(format!("{text:?} has a * and must be one path"))
            .help("* is for the paths of routes and aliases"));
    }
    canonical(text)
}

/// Parses a path in which a `*` segment matches any one segment.
pub(super) fn path_pattern(text: &str, extent: PathMatch) -> Result<PathPattern, Wrong> {
    canonical(text)?;
    PathPattern::parse(text, extent).map_err(|problem| match problem {
        // The first line of this function has found such paths already.
        PatternProblem::Path(problem) => Wrong::new(format!("{text:?} is no path: {problem}")),
        PatternProblem::PartOfSegment => {
            Wrong::new(format!("{text:?} has a * that is only a part of a segment"))
                .help("* is any one segment: \"/users/*/edit\"; a prefix takes all that is below it without one: \"/admin/\"")
        }
        PatternProblem::LastOfPrefix => {
            let above = text.trim_end_matches('/').trim_end_matches('*');
            Wrong::new(format!("{text:?} would not take {above:?} itself")).help(format!(
                "write {above:?} for it and all that is below it; match = \"exact\" takes exactly one segment"
            ))
        }
    })
}

/// Returns the problem of a pattern in another router's syntax, which would be taken literally.
pub(super) fn foreign_pattern(pattern: &PathPattern) -> Option<Wrong> {
    let is_foreign = |segment: Segment<'_>| match segment {
        Segment::Any => false,
        Segment::Literal(text) => {
            text.starts_with(':')
                || text.ends_with('$')
                || text.contains('(')
                || text.contains(".+")
        }
    };
    pattern.segments().any(is_foreign).then(|| {
        Wrong::new(format!("{:?} is taken literally", pattern.as_str()))
            .help("there are no names and no regular expressions in a path: * is any one segment")
    })
}

fn canonical(text: &str) -> Result<CanonicalPath, Wrong> {
    match CanonicalPath::parse(text) {
        Ok(path) if path.as_str() == text => Ok(path),
        Ok(_) if text.contains(['{', '<', '[', '^', '|']) => Err(Wrong::new(format!(
            "{text:?} uses another router's syntax"
        ))
        .help("there are no names and no regular expressions in a path: * is any one segment")),
        Ok(path) => Err(Wrong::new(format!("{text:?} is not written canonically"))
            .help(format!("write {:?}", path.as_str()))),
        Err(TargetProblem::NotOriginForm) => {
            Err(Wrong::new(format!("{text:?} does not begin with /")))
        }
        Err(problem) => Err(Wrong::new(format!("{text:?} is no path: {problem}"))
            .help("allowed: a path that begins with / and has one reading only, without query")),
    }
}

/// Parses `scheme://host[:port]`, as browsers write it.
pub(super) fn origin(text: &str) -> Result<String, Wrong> {
    const FORM: &str =
        "allowed: scheme and host, like \"https://app.example.com\" or \"http://localhost:3000\"";
    let wrong = || Wrong::new(format!("{text:?} is no origin")).help(FORM);
    if text == "*" {
        return Err(Wrong::new("every origin cannot be allowed").help("list each origin"));
    }
    let (scheme, host) = text.split_once("://").ok_or_else(wrong)?;
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        _ => return Err(wrong()),
    };
    let written = Host::parse(host).map_err(|_| wrong())?.origin(scheme);
    if written != text {
        return Err(Wrong::new(format!("{text:?} is not how browsers write this origin"))
            .help(format!("write {written:?}")));
    }
    Ok(written)
}

/// Parses a header name that is safe on every server: letters, digits and `-`.
pub(super) fn plain_header(text: &str) -> Result<String, Wrong> {
    if !is_plain(text) {
        return Err(Wrong::new(format!("{text:?} is no usable header name"))
            .help("allowed: letters, digits and -, like \"X-User-Id\""));
    }
    Ok(text.to_owned())
}

/// Parses the name of a header that tells the upstream who is calling; empty for none.
pub(super) fn identity_header(text: &str) -> Result<String, Wrong> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let name = plain_header(text)?;
    let names = ProtectedNames::new([]);
    let folded = fold(&name);
    // Of the critical names, the gateway may set only those that say who is calling: Remote-User, X-Forwarded-User, ...
    let is_other = (names.is_critical(&folded) && !names.is_spoofable(&folded))
        || RESERVED.contains(&&*folded);
    if is_other {
        return Err(Wrong::new(format!("{text:?} has another meaning"))
            .help("choose a name of your own, like \"X-User-Id\""));
    }
    Ok(name)
}

/// Parses the name of a header that a form sets.
pub(super) fn form_header(text: &str) -> Result<String, Wrong> {
    match identity_header(text)? {
        name if name.is_empty() => Err(Wrong::new("a header needs a name")),
        name => Ok(name),
    }
}

/// Parses the header of a token: `Authorization`, or one of the service's own.
pub(super) fn token_header(text: &str) -> Result<String, Wrong> {
    if text.eq_ignore_ascii_case("authorization") { Ok(text.to_owned()) } else { form_header(text) }
}

/// Parses the name of a header in which clients present tokens: `Authorization`, or one without another meaning.
pub(super) fn credential_header(text: &str) -> Result<String, Wrong> {
    let name = plain_header(text)?;
    let folded = fold(&name);
    let is_other = ProtectedNames::new([]).is_critical(&folded) || RESERVED.contains(&&*folded);
    if is_other && folded != "authorization" {
        return Err(Wrong::new(format!("{text:?} has another meaning"))
            .help("for example: \"Authorization\" or \"jwt-auth\""));
    }
    Ok(name)
}

/// Parses the name of a header that only a trusted proxy may send, or with a final `*` the beginning of such names.
pub(super) fn reserved_header(text: &str) -> Result<String, Wrong> {
    // The hyphen before the `*` ends a word of the name, and is not part of the beginning.
    let beginning = text.strip_suffix('*').map(|rest| rest.strip_suffix('-').unwrap_or(rest));
    let name = plain_header(beginning.unwrap_or(text))?;
    let folded = fold(&name);
    let is_needed = |needed: &&str| {
        if beginning.is_some() { needed.starts_with(&*folded) } else { **needed == *folded }
    };
    // Clients cannot do without these.
    let needed = ["authorization", "content-length", "content-type", "cookie", "host", "origin"];
    if RESERVED.iter().chain(&needed).any(is_needed) {
        return Err(Wrong::new(format!("{text:?} would match headers that every client sends"))
            .help("for example: \"X-Edge-Country\" or \"X-Edge-*\""));
    }
    Ok(text.to_owned())
}

/// Parses the name of a service's cookie.
pub(super) fn cookie(text: &str) -> Result<String, Wrong> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if text.is_empty() || text.len() > 64 || !text.bytes().all(legal) {
        return Err(Wrong::new(format!("{text:?} is no name of a cookie"))
            .help("allowed: letters, digits, - _ and ."));
    }
    Ok(text.to_owned())
}

/// Parses the domain for which a service sets its cookies (RFC 6265 section 4.1.2.3), with or without the dot in front.
pub(super) fn cookie_domain(text: &str) -> Result<String, Wrong> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    let name = text.strip_prefix('.').unwrap_or(text);
    if name.is_empty() || name.len() > 253 || !name.bytes().all(legal) {
        return Err(Wrong::new(format!("{text:?} is no domain"))
            .help("allowed: a host's name, like \"example.com\" or \".example.com\""));
    }
    Ok(text.to_owned())
}

/// Parses an authentication scheme before a token (RFC 9110 section 11.1).
pub(super) fn scheme(text: &str) -> Result<String, Wrong> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte);
    if text.is_empty()
        || text.len() > 32
        || !text.bytes().all(legal)
        || text.eq_ignore_ascii_case("basic")
    {
        return Err(Wrong::new(format!("{text:?} is no scheme of a token"))
            .help("allowed: letters, digits, - _ . and +, like \"Bearer\" or \"JWT\""));
    }
    Ok(text.to_owned())
}

/// Names that frame a message, belong to one connection, or rewrite the request.
const RESERVED: [&str; 20] = [
    "accept",
    "accept-encoding",
    "connection",
    "content-encoding",
    "date",
    "expect",
    "keep-alive",
    "path-info",
    "proxy",
    "proxy-connection",
    "range",
    "referer",
    "script-name",
    "set-cookie",
    "te",
    "trailer",
    "upgrade",
    "user-agent",
    "via",
    "x-http-method-override",
];

/// Parses a header name by HTTP's rules.
pub(super) fn header(text: &str) -> Result<String, Wrong> {
    http::HeaderName::from_bytes(text.as_bytes())
        .map(|_| text.to_owned())
        .map_err(|_| Wrong::new(format!("{text:?} is no header name")))
}

/// Parses the name of a table or column. It is quoted where it is used; this ensures that it cannot end the quotes.
pub(super) fn identifier(text: &str) -> Result<String, Wrong> {
    let legal = |c: char| c.is_alphanumeric() || "_-$".contains(c);
    if text.is_empty() || text.len() > 128 || !text.chars().all(legal) {
        return Err(Wrong::new(format!("{text:?} is no name of a table or column"))
            .help("allowed: letters, digits, _ - $"));
    }
    Ok(text.to_owned())
}

/// Parses the name of a table, also as Django writes one with its schema, between quotes of their own: `app"."users`.
pub(super) fn table(text: &str) -> Result<String, Wrong> {
    let quotes = |quote: char| text.contains(&format!("{quote}.{quote}")).then_some(quote);
    let Some(quote) = quotes('"').or(quotes('`')) else { return identifier(text) };
    let bare = text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)).unwrap_or(text);
    for part in bare.split(&format!("{quote}.{quote}")) {
        identifier(part)?;
    }
    Ok(text.to_owned())
}

/// Parses a name like [`identifier`], or empty for none.
pub(super) fn optional_identifier(text: &str) -> Result<String, Wrong> {
    if text.is_empty() { Ok(String::new()) } else { identifier(text) }
}

fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && text.starts_with(|first: char| first.is_ascii_alphabetic())
        && !text.ends_with('-')
        && !text.contains("--")
}
