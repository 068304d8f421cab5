//! The header names that a client must not send, in any spelling.

use std::borrow::Cow;

pub use super::table::NameClasses;
use super::table::{NamePattern, ProtectedNameTable};

/// The names that belong to the gateway: identity, forwarding, and those by which a client could rewrite its own
/// request; and those that belong to the proxies in front of it (`RESERVED`).
///
/// They are compared after [`fold`]ing. `http-NAME` counts as `NAME`: Django's ASGI path reads `META["HTTP_" + header]`
/// where `header` already starts with `HTTP_`, so `Http-X-User-Id` signs in there.
#[derive(Clone, Debug)]
pub struct ProtectedNames {
    table: ProtectedNameTable,
    /// The headers that carry a client's own credential, sorted: a client may send them, but no upstream gets them.
    credentials: Vec<String>,
}

/// The prefixes of names that say who is calling, here or in other gateways.
const IDENTITY_PREFIXES: [&str; 4] =
    ["x-user-", "x-auth-request-", "x-authenticated-", "x-doorwarden-"];

/// The names besides the configured ones that applications take for an identity, or that change how a request is read.
/// Sorted.
///
/// `x-http-method-override` and similar names are here although an application may want them: the gateway judges the
/// method of the request line, and a POST that an application turns into a DELETE was never judged as one.
const DENIED: [&str; 27] = [
    "auth-user",
    "path-info",
    "proxy",
    "remote-addr",
    "remote-groups",
    "remote-user",
    "script-name",
    "x-forwarded-access-token",
    "x-forwarded-email",
    "x-forwarded-groups",
    "x-forwarded-method",
    "x-forwarded-path",
    "x-forwarded-preferred-username",
    "x-forwarded-prefix",
    "x-forwarded-uri",
    "x-forwarded-user",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-method",
    "x-original-uri",
    "x-original-url",
    "x-remote-groups",
    "x-remote-user",
    "x-rewrite-url",
    "x-script-name",
    "x-webauth-user",
];

/// The names that say where a request came from and how. The gateway sets its own. Sorted.
pub(super) const FORWARDING: [&str; 21] = [
    "cf-connecting-ip",
    "client-ip",
    "fastly-client-ip",
    "forwarded",
    "front-end-https",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-forwarded",
    "x-forwarded-by",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-forwarded-protocol",
    "x-forwarded-scheme",
    "x-forwarded-server",
    "x-forwarded-ssl",
    "x-real-ip",
    "x-scheme",
    "x-url-scheme",
];

/// The names that edge proxies, load balancers and application servers set and services trust: the client's certificate
/// and address, an identity that the platform has checked, a file to send in place of the answer. Only a trusted proxy
/// may send them. A final `*` stands for any rest. docs/security.md says where each comes from. Sorted.
const RESERVED: [&str; 85] = [
    "akamai-*",
    "ali-cdn-*",
    "cdn-src-ip",
    "cf-*",
    "client-cert",
    "client-cert-chain",
    "cloudfront-*",
    "do-connecting-ip",
    "eagleeye-*",
    "fly-client-ip",
    "fly-forwarded-*",
    "incap-client-ip",
    "iv-creds",
    "iv-groups",
    "iv-user",
    "l5d-*",
    "mellon-*",
    "ns-client-ip",
    "oam-remote-user",
    "oidc-*",
    "proxy-client-ip",
    "real-ip",
    "remote-email",
    "remote-name",
    "shib-*",
    "sm-universalid",
    "sm-user*",
    "ssl-client-*",
    "tailscale-*",
    "wl-proxy-*",
    "x-accel-*",
    "x-akamai-*",
    "x-amzn-mtls-*",
    "x-amzn-oidc-*",
    "x-anonymous-consumer",
    "x-apigateway-api-userinfo",
    "x-appengine-*",
    "x-arr-*",
    "x-auth-email",
    "x-auth-groups",
    "x-auth-roles",
    "x-auth-subject",
    "x-auth-user",
    "x-auth-userid",
    "x-auth-username",
    "x-authentik-*",
    "x-azure-clientip",
    "x-azure-fdid",
    "x-azure-socketip",
    "x-client-cert*",
    "x-client-dn",
    "x-client-verify",
    "x-clientcert*",
    "x-consumer-*",
    "x-credential-identifier",
    "x-endpoint-api-userinfo",
    "x-envoy-*",
    "x-forward-for",
    "x-forwarded-*",
    "x-goog-authenticated-user-*",
    "x-goog-iap-*",
    "x-host",
    "x-ms-client-*",
    "x-ms-token-*",
    "x-nf-client-connection-ip",
    "x-original-*",
    "x-originating-ip",
    "x-pomerium-*",
    "x-proxyuser-*",
    "x-real-*",
    "x-remote-addr",
    "x-remote-ip",
    "x-replaced-path",
    "x-sendfile*",
    "x-ssl",
    "x-ssl-*",
    "x-sucuri-*",
    "x-tls-*",
    "x-token-subject",
    "x-token-user-*",
    "x-true-client-ip",
    "x-user",
    "x-vercel-*",
    "x-vouch-*",
    "x-webauth-*",
];

/// The names that frame a request, say where it goes, or prove who sends it. A client may send them, but not in another
/// spelling (`Content_Length`), nor nominated by `Connection`.
const CRITICAL: [&str; 9] = [
    "authorization",
    "content-length",
    "content-type",
    "cookie",
    "host",
    "origin",
    "proxy-authorization",
    "transfer-encoding",
    "x-request-id",
];

const HYPHEN: u8 = 1;
const OTHER: u8 = 2;

/// The kind of each byte in a folded name; lower-case letters and digits are 0.
#[expect(clippy::indexing_slicing, reason = "the index is smaller than the length")]
const KINDS: [u8; 256] = {
    let mut kinds = [OTHER; 256];
    let mut byte = 0;
    while byte < kinds.len() {
        kinds[byte] = match byte as u8 {
            b'a'..=b'z' | b'0'..=b'9' => 0,
            b'-' => HYPHEN,
            _ => OTHER,
        };
        byte += 1;
    }
    kinds
};

/// Returns the key under which the most lenient server files a header: lower case, each run of other characters one
/// `-`, and none at the beginning or the end (`-X-User-Id`, `X--User_Id_`).
#[expect(clippy::indexing_slicing, reason = "there is a place for each byte")]
pub fn fold(name: &str) -> Cow<'_, str> {
    // Nearly every name is plain (only letters and digits, and single hyphens between them), so that is checked first,
    // without a branch for each byte.
    let (mut unusual, mut before) = (0, HYPHEN);
    for byte in name.bytes() {
        let kind = KINDS[usize::from(byte)];
        unusual |= kind & (before | OTHER);
        before = kind;
    }
    if unusual == 0 && before != HYPHEN {
        return Cow::Borrowed(name);
    }
    let mut folded = String::with_capacity(name.len());
    for character in name.chars() {
        if character.is_ascii_alphanumeric() {
            folded.push(character.to_ascii_lowercase());
        } else if !folded.is_empty() && !folded.ends_with('-') {
            folded.push('-');
        }
    }
    if folded.ends_with('-') {
        folded.pop();
    }
    Cow::Owned(folded)
}

impl ProtectedNames {
    /// Creates the set of the fixed names and the configured identity headers.
    pub fn new<'a>(identity: impl IntoIterator<Item = &'a str>) -> Self {
        let mut names = Self { table: ProtectedNameTable::default(), credentials: Vec::new() };
        for name in identity.into_iter().filter(|name| !name.is_empty()) {
            names.table.add(NamePattern::exact(fold(name).into_owned()), NameClasses::IDENTITY);
        }
        for prefix in IDENTITY_PREFIXES {
            names.table.add(NamePattern::prefix(prefix.to_owned()), NameClasses::IDENTITY);
        }
        for (list, class) in [
            (&DENIED[..], NameClasses::DENIED),
            (&FORWARDING[..], NameClasses::FORWARDING),
            (&RESERVED[..], NameClasses::RESERVED),
            (&CRITICAL[..], NameClasses::CRITICAL),
        ] {
            list.iter().for_each(|text| names.table.add(NamePattern::new(text), class));
        }
        names
    }

    /// Adds these names, which only a trusted proxy may send; a final `*` stands for any rest.
    #[must_use]
    pub fn and_reserved<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        for name in names {
            self.table.add(NamePattern::new(name), NameClasses::RESERVED);
        }
        self
    }

    /// Adds these headers, in which clients present credentials (`Authorization` is always known).
    #[must_use]
    pub fn and_credentials<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        let folded = names.into_iter().map(|name| fold(name).into_owned());
        self.credentials.extend(folded.filter(|name| name != "authorization"));
        self.credentials.sort_unstable();
        self.credentials.dedup();
        for name in &self.credentials {
            self.table.add(NamePattern::exact(name.clone()), NameClasses::CREDENTIAL);
        }
        self
    }

    /// Returns all classes of the folded name.
    pub fn classes(&self, folded: &str) -> NameClasses {
        self.table.classes(bare(folded))
    }

    /// Whether the name, in its plain spelling, is a header in which clients present credentials. It is removed like
    /// every spoofable header, but a client does not impersonate anybody by it.
    pub fn is_credential(&self, name: &str) -> bool {
        self.credentials.binary_search_by(|one| one.as_str().cmp(name)).is_ok()
    }

    /// Whether the folded name tells an upstream who is calling, or changes how it reads the request.
    pub fn is_spoofable(&self, folded: &str) -> bool {
        self.classes(folded).are_spoofable()
    }

    /// Whether the folded name says who is calling: a configured header, or one of the identity prefixes.
    pub fn is_identity(&self, folded: &str) -> bool {
        self.classes(folded).has(NameClasses::IDENTITY)
    }

    /// Whether only a trusted proxy may send the folded name. Even that proxy may not send spoofable or forwarding names.
    pub fn is_reserved(&self, folded: &str) -> bool {
        self.classes(folded).has(NameClasses::RESERVED)
    }

    /// Whether the folded name says where the request came from.
    pub fn is_forwarding(&self, folded: &str) -> bool {
        self.classes(folded).has(NameClasses::FORWARDING)
    }

    /// Whether the folded name must not be spelled otherwise, nor be nominated by `Connection`.
    pub fn is_critical(&self, folded: &str) -> bool {
        self.classes(folded) != NameClasses::NONE
    }
}

/// Whether this is another spelling of a name that frames a request, says where it goes or proves who sends it
/// (`Content_Length`, `-Content-Length`). The name is in lower case, as in [`http::HeaderName`].
pub(super) fn is_respelled(name: &str) -> bool {
    let folded = fold(name);
    folded != name && CRITICAL.binary_search(&bare(&folded)).is_ok()
}

/// Removes every leading `http-`.
fn bare(mut folded: &str) -> &str {
    while let Some(rest) = folded.strip_prefix("http-") {
        folded = rest;
    }
    folded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_spelling_folds_into_one_key() {
        for name in [
            "X-User-Id",
            "x_user_id",
            "X.User.Id",
            "X~User~Id",
            "X'User'Id",
            "X-_.User--Id",
            "x-user-id",
            "-X-User-Id",
            "X-User-Id-",
            "__x--user__id--",
        ] {
            assert_eq!(fold(name), "x-user-id", "{name}");
        }
        assert_eq!((fold(""), fold("-"), fold("a")), ("".into(), "".into(), "a".into()));
        assert!(matches!(fold("accept-encoding"), Cow::Borrowed(_)));
    }

    #[test]
    fn the_lists_are_sorted_and_folded() {
        for list in [&DENIED[..], &FORWARDING[..], &CRITICAL[..], &RESERVED[..]] {
            assert!(list.is_sorted());
            let plain = |name: &str| name.trim_end_matches('*').trim_end_matches('-').to_owned();
            assert!(list.iter().map(|name| plain(name)).all(|name| fold(&name) == name));
        }
    }

    #[test]
    fn what_proxies_set_is_reserved_for_them() {
        let names = ProtectedNames::new([]).and_reserved(["X-Edge_Country", "X-Shop-*"]);
        for name in [
            "x-original-forwarded-for",
            "x-proxyuser-ip",
            "x-envoy-external-address",
            "x-forwarded-client-cert",
            "x-forwarded-tls-client-cert-info",
            "x-ssl-client-s-dn",
            "ssl-client-verify",
            "x-accel-redirect",
            "x-sendfile-type",
            "x-amzn-oidc-identity",
            "x-goog-authenticated-user-email",
            "x-ms-client-principal-name",
            "cf-access-authenticated-user-email",
            "http-x-envoy-internal",
            "x-edge-country",
            "x-shop-anything",
        ] {
            assert!(names.is_reserved(name) && names.is_critical(name), "{name}");
        }
        for name in ["x-edge-country-code", "x-shop", "cfx", "x-sslish", "accept", "x-amz-date"] {
            assert!(!names.is_reserved(name), "{name}");
        }
    }

    #[test]
    fn identity_is_what_is_configured_and_what_others_take_for_it() {
        let names = ProtectedNames::new(["Jwt_Auth", "X-Session-Id", ""]);
        for name in [
            "jwt-auth",
            "http-jwt-auth",
            "x-session-id",
            "x-user-id",
            "x-user-anything",
            "http-x-user-id",
            "http-http-x-user-id",
            "x-auth-request-email",
            "x-authenticated-userid",
        ] {
            assert!(names.is_identity(name) && names.is_spoofable(name), "{name}");
        }
        for name in [
            "remote-user",
            "http-remote-user",
            "script-name",
            "proxy",
            "x-original-url",
            "x-http-method-override",
        ] {
            assert!(names.is_spoofable(name) && !names.is_identity(name), "{name}");
        }
        for name in [
            "accept",
            "authorization",
            "user-agent",
            "x-user",
            "x-users-id",
            "http2-settings",
            "x-requested-with",
            "",
        ] {
            assert!(!names.is_spoofable(name) && !names.is_forwarding(name), "{name}");
        }
        assert!(names.is_forwarding("x-forwarded-for") && names.is_forwarding("http-forwarded"));
    }

    #[test]
    fn a_credential_header_is_kept_from_upstreams_and_is_no_identity() {
        let names = ProtectedNames::new([]).and_credentials(["Jwt-Auth", "Authorization"]);
        assert!(names.is_credential("jwt-auth") && !names.is_credential("authorization"));
        for name in ["jwt-auth", "http-jwt-auth"] {
            assert!(names.is_spoofable(name) && names.is_critical(name), "{name}");
            assert!(!names.is_identity(name), "a service may answer with one: {name}");
        }
        assert!(!names.is_credential("jwt_auth") && !names.is_credential("http-jwt-auth"));
        assert!(!names.is_spoofable("authorization") && !names.is_spoofable("jwt"));
    }

    proptest! {
        #[test]
        fn folding_twice_changes_nothing(name in "[!-~]{0,16}") {
            let once = fold(&name).into_owned();
            prop_assert_eq!(fold(&once), once.as_str());
        }

        #[test]
        fn no_spelling_of_an_identity_header_passes(
            separators in prop::collection::vec("[^A-Za-z0-9\\s]{1,3}", 2),
            upper in prop::collection::vec(any::<bool>(), 7),
            outer in "[-_.]{0,2}",
        ) {
            let spell = |word: &str, from: usize| word.chars().enumerate().map(|(index, letter)| {
                if upper[(from + index) % 7] { letter.to_ascii_uppercase() } else { letter }
            }).collect::<String>();
            let name = format!(
                "{outer}{}{}{}{}{}{outer}",
                spell("x", 0), separators[0], spell("user", 1), separators[1], spell("id", 5),
            );
            prop_assert!(ProtectedNames::new([]).is_identity(&fold(&name)), "{name}");
        }
    }
}
