//! Removes headers from a request before the gateway sets its own.

use std::borrow::Cow;

use http::header::CONNECTION;
use http::{HeaderMap, HeaderName};

use super::names::is_respelled;
use super::{EditHeaders, NameClasses, ProtectedNames, fold};

/// The numbers of fields that were removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stripped {
    /// The fields that would have told the upstream who is calling, or changed how it reads the request.
    pub spoofed: u32,
    /// The other fields whose name has a character outside `[A-Za-z0-9-]`, or is another spelling of a critical one.
    pub unusual: u32,
}

/// Removes all copies of protected names in every spelling, and unusual names except those in `allowed`; from a client
/// that is not a trusted proxy also the names reserved for one.
///
/// `allowed` are the route's own exceptions, compared without regard to case; no other spelling of a protected or
/// critical name can be among them. Forwarding headers in their plain spelling stay for [`super::forwarding_headers`],
/// which replaces them.
pub fn strip_request<H: EditHeaders>(
    headers: &mut H,
    protected: &ProtectedNames,
    allowed: &[String],
    from_trusted_proxy: bool,
) -> Stripped {
    let mut stripped = Stripped::default();
    let mut remove: Vec<HeaderName> = Vec::new();
    for name in headers.headers().keys() {
        // Each name is looked up once: nearly all are plain, and in no class.
        let folded = fold(name.as_str());
        let is_folded = matches!(folded, Cow::Borrowed(_));
        let classes = protected.classes(&folded);
        if is_folded && classes == NameClasses::NONE {
            continue;
        }
        let spoofed = classes.are_spoofable()
            || (!from_trusted_proxy
                && classes.has(NameClasses::RESERVED)
                && !classes.has(NameClasses::FORWARDING));
        let unusual = || {
            let plain =
                name.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
            let critical = !is_folded && classes != NameClasses::NONE;
            critical
                || (!plain && !allowed.iter().any(|one| one.eq_ignore_ascii_case(name.as_str())))
        };
        if spoofed || unusual() {
            let copies = headers.headers().get_all(name).iter().count();
            let copies = u32::try_from(copies).unwrap_or(u32::MAX);
            if !protected.is_credential(name.as_str()) {
                let count = if spoofed { &mut stripped.spoofed } else { &mut stripped.unusual };
                *count = count.saturating_add(copies);
            }
            remove.push(name.clone());
        }
    }
    for name in &remove {
        headers.remove(name);
    }
    stripped
}

/// Removes all copies of protected names in every spelling, and nothing else; returns the number of removed fields.
pub fn strip_spoofed<H: EditHeaders>(headers: &mut H, protected: &ProtectedNames) -> u32 {
    strip(headers, |name| protected.is_spoofable(&fold(name)))
}

/// Removes names that some server takes for one that frames a request, says where it goes or proves who sends it. On a
/// connection that clients share, a request could otherwise end where another begins.
pub fn strip_respelled<H: EditHeaders>(headers: &mut H) -> u32 {
    strip(headers, is_respelled)
}

fn strip<H: EditHeaders>(headers: &mut H, is_unwanted: impl Fn(&str) -> bool) -> u32 {
    let before = headers.headers().len();
    let unwanted: Vec<HeaderName> =
        headers.headers().keys().filter(|name| is_unwanted(name.as_str())).cloned().collect();
    for name in &unwanted {
        headers.remove(name);
    }
    u32::try_from(before.saturating_sub(headers.headers().len())).unwrap_or(u32::MAX)
}

/// Whether `Connection` nominates a header of identity, forwarding, credentials or framing.
///
/// A proxy has to remove the headers that `Connection` nominates (RFC 9110 section 7.6.1), so a client could have the
/// gateway's identity headers removed. No honest client does that.
pub fn connection_nominates(headers: &HeaderMap, protected: &ProtectedNames) -> bool {
    headers.get_all(CONNECTION).iter().any(|line| {
        line.as_bytes().split(|byte| *byte == b',').any(|option| {
            let option = String::from_utf8_lossy(option.trim_ascii());
            protected.is_critical(&fold(&option))
        })
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn headers(names: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for name in names {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_static("1"),
            );
        }
        headers
    }

    fn left(names: &[&str], allowed: &[&str]) -> (Vec<String>, Stripped) {
        let mut headers = headers(names);
        let allowed: Vec<String> = allowed.iter().map(|name| (*name).into()).collect();
        let stripped =
            strip_request(&mut headers, &ProtectedNames::new(["jwt-auth"]), &allowed, false);
        (headers.keys().map(ToString::to_string).collect(), stripped)
    }

    #[test]
    fn a_clients_credential_goes_without_being_counted_and_its_other_spellings_are_spoofed() {
        let mut headers = headers(&["jwt-auth", "jwt_auth", "Http-Jwt-Auth", "Accept"]);
        let protected = ProtectedNames::new([]).and_credentials(["jwt-auth"]);
        let stripped = strip_request(&mut headers, &protected, &["jwt_auth".into()], false);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["accept"]);
        assert_eq!(stripped, Stripped { spoofed: 2, unusual: 0 });
    }

    #[test]
    fn where_only_spoofed_names_go_unusual_ones_stay() {
        let mut headers =
            headers(&["x_user_id", "X-User-Id", "Remote-User", "my_header", "Accept"]);
        assert_eq!(strip_spoofed(&mut headers, &ProtectedNames::new([])), 3);
        assert!(headers.contains_key("my_header") && headers.contains_key("accept"));
    }

    #[test]
    fn other_spellings_of_what_frames_a_request_go_where_nothing_else_does() {
        let kept = ["content-length", "cookie", "my_header", "x_user_id"];
        let mut headers = headers(&["Content_Length", "transfer.encoding", "ho_st"]);
        for name in kept {
            headers.append(name, HeaderValue::from_static("1"));
        }
        assert_eq!(strip_respelled(&mut headers), 2);
        assert!(kept.iter().chain(&["ho_st"]).all(|name| headers.contains_key(*name)));
    }

    #[test]
    fn all_copies_of_a_protected_name_go_in_every_spelling() {
        let spellings = [
            "X-User-Id",
            "X-User-Id",
            "x_user_id",
            "X.User.Id",
            "X~User~Id",
            "X-User_Id",
            "Http-X-User-Id",
            "HTTP_X_USER_ID",
            "Remote-User",
            "REMOTE_USER",
            "SCRIPT_NAME",
            "Proxy",
            "X_Forwarded_User",
            "jwt_auth",
            "X-Original-URL",
        ];
        let (names, stripped) = left(&spellings, &[]);
        assert_eq!(names, [""; 0]);
        assert_eq!(stripped, Stripped { spoofed: 15, unusual: 0 });
    }

    #[test]
    fn an_unusual_name_goes_unless_the_route_allows_it() {
        let (names, stripped) = left(&["x_trace", "x_trace", "x.y", "accept"], &[]);
        assert_eq!((names, stripped), (vec!["accept".into()], Stripped { spoofed: 0, unusual: 3 }));

        let (names, _) = left(&["x_trace", "x.y"], &["X_Trace"]);
        assert_eq!(names, ["x_trace"]);
    }

    #[test]
    fn no_route_can_allow_a_protected_name() {
        let spellings = [
            "x_user_id",
            "jwt_auth",
            "x_forwarded_for",
            "X_Real_IP",
            "content_length",
            "Transfer_Encoding",
        ];
        let (names, stripped) = left(&spellings, &spellings);
        assert_eq!(names, [""; 0]);
        assert_eq!(stripped, Stripped { spoofed: 2, unusual: 4 });
    }

    #[test]
    fn separators_around_and_within_a_name_hide_nothing() {
        let (names, stripped) = left(
            &["-X-User-Id", "X-User-Id-", "X--User-Id", "-Content-Length", "Cookie-", "X--Trace"],
            &[],
        );
        assert_eq!(names, ["x--trace"]);
        assert_eq!(stripped, Stripped { spoofed: 3, unusual: 2 });
    }

    #[test]
    fn what_proxies_set_comes_from_trusted_ones_alone() {
        let sent = ["X-Envoy-External-Address", "X-SSL-Client-Cert", "x_accel_redirect", "Accept"];
        let (names, stripped) = left(&sent, &["x_accel_redirect"]);
        assert_eq!(names, ["accept"]);
        assert_eq!(stripped, Stripped { spoofed: 3, unusual: 0 });

        let mut headers = headers(&sent);
        let stripped = strip_request(&mut headers, &ProtectedNames::new([]), &[], true);
        assert_eq!(stripped, Stripped { spoofed: 0, unusual: 1 });
        assert!(headers.contains_key("x-ssl-client-cert"));
    }

    #[test]
    fn everything_else_stays() {
        let ordinary = [
            "host",
            "accept",
            "authorization",
            "cookie",
            "x-forwarded-for",
            "x-requested-with",
            "x-csrftoken",
        ];
        let (names, stripped) = left(&ordinary, &[]);
        assert_eq!(names.len(), ordinary.len());
        assert_eq!(stripped, Stripped::default());
    }

    #[test]
    fn connection_may_not_nominate_what_protects() {
        let nominates = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.append(CONNECTION, HeaderValue::from_static("keep-alive"));
            headers.append(CONNECTION, HeaderValue::from_str(value).unwrap());
            connection_nominates(&headers, &ProtectedNames::new(["jwt-auth"]))
        };
        for value in [
            "X-User-Id",
            "close, x-user-id",
            "close ,\tX_User_Id",
            "X-Forwarded-For",
            "forwarded",
            "Cookie",
            "authorization",
            "Host",
            "jwt-auth",
            "remote-user",
            "Http-X-User-Id",
            "Content-Length",
            "transfer-encoding",
        ] {
            assert!(nominates(value), "{value}");
        }
        for value in ["close", "Upgrade, HTTP2-Settings", "TE", "", ",", "X-Other"] {
            assert!(!nominates(value), "{value}");
        }
    }

    proptest! {
        /// Whatever a client sends, no field is left that folds into an identity header.
        #[test]
        fn nothing_left_folds_into_an_identity(names in prop::collection::vec(
            "(http[-_])?x[-_.!]{1,2}user[-_.!]{1,2}id[_a-z]{0,2}|[a-z_.-]{1,6}", 0..8,
        )) {
            let mut map = headers(&names.iter().map(String::as_str).collect::<Vec<_>>());
            let protected = ProtectedNames::new([]);
            strip_request(&mut map, &protected, &names, false);
            prop_assert!(map.keys().all(|name| !protected.is_identity(&fold(name.as_str()))));
        }
    }
}
