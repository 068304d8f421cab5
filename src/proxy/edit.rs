//! Edits the request before it is forwarded, and the answer on its way back.
//!
//! All of this happens after the framework has removed the headers that `Connection` nominates: a client could have
//! headers that were set before removed by naming them there.

use std::iter;
use std::sync::Arc;

use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, SET_COOKIE, TE,
    TRANSFER_ENCODING,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Uri, Version};
use pingora::http::{RequestHeader, ResponseHeader};

use super::convert::Edited;
use super::left::UnreadCredentials;
use super::stage::ForwardPlan;
use super::upstream::Place;
use crate::caller::{Anonymous, Caller, Known};
use crate::config::{HeaderEdits, Route, ServiceHost};
use crate::gate::{ForwardedCookies, Passage};
use crate::identity::forms::{FormIdentity, RemovedCredentials};
use crate::identity::{IdentityForms, IdentityHeaders};
use crate::issuer::AnswerOutcome;
use crate::refusal::Refusal;
use crate::session::cookies::CookieNames;
use crate::session::looks_like_ours;
use crate::wire::arrival::Arrival;
use crate::wire::cookie;
use crate::wire::forward::{self, EditHeaders, ProtectedNames};
use crate::wire::path::CanonicalPath;

/// The most fields that the gateway sets about a request's origin, its path prefix, and the length of a buffered body.
const FIELDS_OF_OURS: usize = 10;

const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// The rules for editing.
pub(super) struct EditRules {
    pub(super) identity: IdentityHeaders,
    pub(super) forms: Arc<IdentityForms>,
    pub(super) protected: ProtectedNames,
    /// The names of the gateway's session cookie.
    pub(super) cookies: CookieNames,
    /// The names of cookies that are issuers' credentials.
    pub(super) issued_cookies: Vec<String>,
    /// The credentials that each route does not read, by route.
    pub(super) left: Vec<UnreadCredentials>,
    pub(super) unchanged: UnchangedRules,
}

/// The edits that apply even on shadowed routes.
pub(super) struct UnchangedRules {
    /// The headers that services trust because they are present.
    pub(super) believed: ProtectedNames,
    /// By route: whether another route that is not shadowed leads to the same upstream.
    pub(super) shares_upstream: Vec<bool>,
}

impl EditRules {
    /// Makes the upstream's request; returns how many identity headers the client had sent.
    pub(super) fn request(
        &self,
        request: &mut RequestHeader,
        arrival: &Arrival,
        forwarding: &ForwardPlan,
    ) -> Result<u32, Refusal> {
        match forwarding.permit.passage() {
            Passage::Checked => self.checked(request, arrival, forwarding),
            Passage::Unchecked(_) => self.unchanged(request, arrival, forwarding),
        }
    }

    fn checked(
        &self,
        request: &mut RequestHeader,
        arrival: &Arrival,
        forwarding: &ForwardPlan,
    ) -> Result<u32, Refusal> {
        let route = forwarding.permit.route();
        let clears = self.forms.clears(route);
        let left = self.left.get(route.index);
        keep_authority(request);
        let mut parts = without_spellings(request);
        let (version, headers) = (parts.version, &mut parts.headers);
        // One reservation covers all fields that are set: a map that grows step by step moves all of its fields each time.
        let more = self.identity.names().count() + forwarding.given.headers.len();
        headers.try_reserve(more + FIELDS_OF_OURS).map_err(|_| Refusal::Internal)?;
        let trusted = arrival.client.through_trusted_proxy();
        let allowed = &route.allow_headers;
        let stripped = forward::strip_request(headers, &self.protected, allowed, trusted);
        let goes_on = forwarding.permit.forwarded_headers();
        for (name, value) in left.iter().flat_map(|left| left.fields(arrival, goes_on)) {
            EditHeaders::append(headers, name.clone(), value.clone());
        }

        // HTTP/2 cookie fields are joined into one (RFC 9113 section 8.2.3), without the gateway's own.
        let passing = self.passing(forwarding);
        let kept = cookie::strip_where(&arrival.headers, |pair| {
            // If a checked cookie passes, unchecked cookies of the same name do not.
            let passes =
                passing.iter().any(|name| CookieNames::is_the_one(&arrival.headers, name, pair));
            let is_taken = || {
                cookies_of(clears, &forwarding.given).any(|name| pair.is_called(name))
                    || self
                        .issued_cookies
                        .iter()
                        .filter(|name| left.is_none_or(|left| !left.cookies.contains(name)))
                        .any(|name| pair.is_called(name))
            };
            let is_ours = || {
                // An alias can put a token of the gateway's own where its service's token belongs.
                self.issued_cookies.iter().any(|name| pair.is_called(name))
                    && looks_like_ours(pair.value())
            };
            is_ours() || (!passes && (self.cookies.take(pair) || is_taken()))
        });
        match cookies(kept, &forwarding.given)? {
            Some(cookies) => headers.set(COOKIE, cookies),
            None => EditHeaders::remove(headers, &COOKIE),
        }
        let cleared = clears.is_some_and(|clears| clears.authorization)
            && !forwarding.given.keeps_authorization;
        if cleared || !forwarding.permit.keeps_authorization() {
            EditHeaders::remove(headers, &AUTHORIZATION);
        }
        self.say_where_it_came_from(headers, arrival)?;
        say_prefix(headers, route)?;
        let known = forwarding.permit.caller().known();
        apply(&route.handling.request_headers, known, headers);
        // Running a chain of iterators to its end costs less than asking it for one item after another.
        let identity = self.identity.fields(forwarding.permit.caller());
        identity.for_each(|(name, value)| headers.set(name.clone(), value));
        for (name, value) in &forwarding.given.headers {
            headers.set(name.clone(), value.clone());
        }

        say_host(headers, forwarding);
        say_that_trailers_are_read(headers, version, arrival);
        if let Some(length) = forwarding.buffered {
            EditHeaders::remove(headers, &TRANSFER_ENCODING);
            EditHeaders::remove(headers, &EXPECT);
            headers.set(CONTENT_LENGTH, HeaderValue::from(length));
        }
        let path = forwarded_path(arrival, route.strip_prefix.as_ref())?;
        let is_as_it_came = is_origin_form_of(&parts.uri, &path);
        *request = RequestHeader::from(parts);
        if !is_as_it_came {
            request.set_raw_path(path.as_bytes()).map_err(|_| Refusal::Internal)?;
        }
        Ok(stripped.spoofed)
    }

    /// Returns the service's session cookies that were checked and are forwarded: the caller's own, where a form would
    /// set it, and those in which nobody is signed in. Cookies that the route leaves to the service were not checked.
    fn passing<'a>(&'a self, forwarding: &'a ForwardPlan) -> Vec<&'a str> {
        let (permit, given) = (&forwarding.permit, &forwarding.given);
        let issued: &[String] = match permit.kept_cookies() {
            ForwardedCookies::All => &self.issued_cookies,
            ForwardedCookies::These(names) => names,
        };
        let is_given = |name: &str| given.cookies.iter().any(|cookie| cookie.name == name);
        let left = self.left.get(permit.route().index);
        let is_judged = |name: &&String| left.is_none_or(|left| !left.cookies.contains(*name));
        issued
            .iter()
            .filter(is_judged)
            .chain(&given.passing)
            .map(String::as_str)
            .filter(|name| !is_given(name))
            .chain(self.forms.own_session(permit.caller(), permit.route()))
            .collect()
    }

    /// Makes the request of a shadowed route; `gate::shadow` lists its changes.
    fn unchanged(
        &self,
        request: &mut RequestHeader,
        arrival: &Arrival,
        forwarding: &ForwardPlan,
    ) -> Result<u32, Refusal> {
        let route = forwarding.permit.route();
        keep_authority(request);
        let mut headers = Edited(request);
        forward::strip_respelled(&mut headers);
        let shares = self.unchanged.shares_upstream.get(route.index);
        let spoofed = if shares == Some(&false) {
            0
        } else {
            forward::strip_spoofed(&mut headers, &self.unchanged.believed)
        };
        match cookie::strip_where(&arrival.headers, |pair| self.cookies.take(pair)) {
            Some(cookies) => headers.set(COOKIE, cookies),
            None => headers.remove(&COOKIE),
        }
        if !forwarding.permit.keeps_authorization() {
            headers.remove(&AUTHORIZATION);
        }
        self.say_where_it_came_from(&mut headers, arrival)?;
        say_prefix(&mut headers, route)?;
        say_host(&mut headers, forwarding);
        let version = headers.0.version;
        say_that_trailers_are_read(&mut headers, version, arrival);
        // Where no prefix is stripped, the target is forwarded byte for byte, in origin form.
        let is_origin_form = headers.0.raw_path().starts_with(b"/");
        if route.strip_prefix.is_some() || !is_origin_form {
            let path = forwarded_path(arrival, route.strip_prefix.as_ref())?;
            request.set_raw_path(path.as_bytes()).map_err(|_| Refusal::Internal)?;
        }
        Ok(spoofed)
    }

    fn say_where_it_came_from(
        &self,
        headers: &mut impl EditHeaders,
        arrival: &Arrival,
    ) -> Result<(), Refusal> {
        forward::forwarding_headers(
            headers,
            &self.protected,
            &forward::Forwarding {
                client: &arrival.client,
                scheme: arrival.scheme,
                host: &arrival.host,
                request_id: &arrival.request_id,
            },
        )
        .map_err(|_| Refusal::Internal)
    }

    /// Makes the client's answer of a shadowed route: no service sets the gateway's cookie.
    pub(super) fn unchanged_response(
        &self,
        response: &mut ResponseHeader,
        arrival: &Arrival,
        forwarding: &ForwardPlan,
    ) {
        let mut headers = Edited(response);
        restore_host(&mut headers, arrival, forwarding);
        restore_prefix(&mut headers, arrival, forwarding.permit.route());
        let set = headers.headers().get_all(SET_COOKIE);
        let planted = set.iter().filter_map(|value| self.cookies.planted(value));
        let not_theirs: Vec<&str> = iter::once(self.cookies.own()).chain(planted).collect();
        forward::strip_set_cookies(&mut headers, &not_theirs);
    }

    /// Makes the client's answer.
    ///
    /// A user whom the service has signed in gets its cookie (`followed`).
    ///
    /// Under an alias' name the service may have sessions of its own, for users who are not signed in. It can neither
    /// delete the gateway's cookie by that, nor make a browser send a session of the gateway.
    pub(super) fn response(
        &self,
        response: &mut ResponseHeader,
        arrival: &Arrival,
        forwarding: &ForwardPlan,
        followed: &AnswerOutcome,
    ) {
        let known = forwarding.permit.caller().known().is_some();
        let mut headers = Edited(response);
        let route = forwarding.permit.route();
        if headers.headers().contains_key(SET_COOKIE) {
            let not_theirs = self.not_theirs(headers.headers(), arrival, forwarding, followed);
            forward::strip_set_cookies(&mut headers, &not_theirs);
        }
        forward::strip_identity(&mut headers, &self.protected);
        restore_host(&mut headers, arrival, forwarding);
        restore_prefix(&mut headers, arrival, route);
        // R63: an answer made for one user is not for a shared cache, unless the upstream says so itself.
        if known && !headers.headers().contains_key(CACHE_CONTROL) {
            headers.set(CACHE_CONTROL, HeaderValue::from_static("private"));
        }
    }

    /// Returns the cookies that the service must not set.
    fn not_theirs<'a>(
        &'a self,
        answer: &HeaderMap,
        arrival: &'a Arrival,
        forwarding: &'a ForwardPlan,
        followed: &'a AnswerOutcome,
    ) -> Vec<&'a str> {
        let caller = forwarding.permit.caller();
        let is_over =
            matches!(caller, Caller::Anonymous(Anonymous::Ignored(Refusal::SessionEnded)));
        let own_session = self.forms.own_session(caller, forwarding.permit.route());
        let given = forwarding.given.cookies.iter().map(|cookie| &*cookie.name);
        let mut not_theirs: Vec<&str> = iter::once(self.cookies.own())
            .chain(given)
            .filter(|name| Some(*name) != own_session)
            .collect();
        if !is_over {
            not_theirs.extend(self.cookies.brought_aliases(&arrival.headers));
        }
        not_theirs.retain(|name| !followed.passes.iter().any(|passes| passes == name));
        not_theirs.extend(followed.held_back.iter().map(String::as_str));
        let set = answer.get_all(SET_COOKIE);
        not_theirs.extend(set.iter().filter_map(|value| self.cookies.planted(value)));
        not_theirs
    }
}

/// Applies a route's changes. A field whose value depends on the caller is left out if there is none.
pub(super) fn apply(edits: &HeaderEdits, known: Option<&Known>, headers: &mut impl EditHeaders) {
    if edits.is_empty() {
        return;
    }
    let user = known.map(|known| &*known.identity);
    let set = edits.set.iter().map(|(name, _)| name);
    for name in edits.remove.iter().chain(set) {
        // This removes every spelling that some server takes for this name.
        let all =
            headers.headers().keys().filter(|one| forward::fold(one.as_str()) == name.as_str());
        for one in all.cloned().collect::<Vec<_>>() {
            headers.remove(&one);
        }
    }
    for (name, template) in edits.set.iter().chain(&edits.add) {
        if let Some(value) = template.header_value(user) {
            headers.append(name.clone(), value);
        }
    }
}

/// Returns the host that the service is asked for, where it is not the client's.
fn host_of(forwarding: &ForwardPlan) -> Option<&HeaderValue> {
    match &forwarding.permit.route().handling.host {
        ServiceHost::Preserve => None,
        ServiceHost::Server => forwarding.place.as_ref().map(Place::host),
        ServiceHost::Fixed(host) => Some(host),
    }
}

fn say_host(headers: &mut impl EditHeaders, forwarding: &ForwardPlan) {
    if let Some(host) = host_of(forwarding) {
        headers.set(HOST, host.clone());
    }
}

/// Tells the service its path prefix (`X-Forwarded-Prefix`). The client's own field has been removed.
fn say_prefix(headers: &mut impl EditHeaders, route: &Route) -> Result<(), Refusal> {
    if let Some(prefix) = &route.strip_prefix {
        let prefix = prefix.as_str().trim_end_matches('/');
        let prefix = HeaderValue::from_str(prefix).map_err(|_| Refusal::Internal)?;
        headers.set(X_FORWARDED_PREFIX, prefix);
    }
    Ok(())
}

/// Drops the client's spelling of each name, which the framework stores beside the fields. Names have no case (RFC 9110
/// section 5.1), in HTTP/2 they are always lower case, and a second map of them, which is copied with the fields and
/// must follow each change, costs as much again as the fields.
pub(super) fn forget_spellings(request: &mut RequestHeader) {
    // A target that is not in origin form is more than the parts contain; that is left to `without_spellings`.
    let is_in_parts = request.raw_path().starts_with(b"/") && request.raw_path_is_utf8();
    if is_in_parts && request.has_case() {
        *request = RequestHeader::from(without_spellings(request));
    }
}

/// Takes a request apart, as after [`forget_spellings`].
fn without_spellings(request: &mut RequestHeader) -> Parts {
    let (nothing, ()) = http::Request::new(()).into_parts();
    std::mem::replace(request, RequestHeader::from(nothing)).into()
}

/// Whether this is the target that the framework would write by itself.
fn is_origin_form_of(uri: &Uri, target: &str) -> bool {
    uri.authority().is_none()
        && uri.scheme().is_none()
        && uri.path_and_query().is_some_and(|own| own.as_str() == target)
}

/// Copies the authority into `Host`: from HTTP/2 to HTTP/2 only the target contains it, and the target is rewritten. The
/// framework makes an authority of `Host` again.
fn keep_authority(request: &mut RequestHeader) {
    if request.headers.contains_key(HOST) {
        return;
    }
    let authority = request.uri.authority().map(|authority| authority.as_str().to_owned());
    if let Some(authority) = authority.and_then(|text| HeaderValue::try_from(text).ok()) {
        Edited(request).set(HOST, authority);
    }
}

/// Sets `TE: trailers` over HTTP/2 if the client sent it: it concerns the message (RFC 9113 section 8.2.2), and some gRPC
/// servers require it.
fn say_that_trailers_are_read(headers: &mut impl EditHeaders, version: Version, arrival: &Arrival) {
    headers.remove(&TE);
    let says = arrival.headers.get_all(TE).iter().any(|value| {
        value.as_bytes().split(|byte| *byte == b',').any(|one| one.trim_ascii() == b"trailers")
    });
    if says && version == Version::HTTP_2 {
        headers.set(TE, HeaderValue::from_static("trailers"));
    }
}

/// Removes from an answer's trailers the fields that its head may not have either.
pub(super) fn strip_trailers(trailers: &mut HeaderMap, protected: &ProtectedNames) {
    forward::strip_response(trailers, protected, &[]);
    for name in [SET_COOKIE, CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION] {
        trailers.remove(name);
    }
}

/// Replaces the service's host in redirects: a service that is asked for another host redirects to that one.
fn restore_host(headers: &mut impl EditHeaders, arrival: &Arrival, forwarding: &ForwardPlan) {
    if let Some(host) = host_of(forwarding).and_then(|host| host.to_str().ok()) {
        forward::restore_host(headers, host, &arrival.origin());
    }
}

fn restore_prefix(headers: &mut impl EditHeaders, arrival: &Arrival, route: &Route) {
    if let Some(prefix) = route.strip_prefix.as_ref().filter(|_| route.rewrite_location) {
        forward::restore_prefix(headers, prefix.as_str(), &arrival.host);
    }
}

/// Returns the cookies of a route's forms, and those that this caller was given.
fn cookies_of<'a>(
    clears: Option<&'a RemovedCredentials>,
    given: &'a FormIdentity,
) -> impl Iterator<Item = &'a str> {
    let theirs = clears.map_or(&[][..], |clears| &clears.cookies);
    let given = given.cookies.iter().map(|cookie| &cookie.name);
    theirs.iter().chain(given).map(String::as_str)
}

/// Returns the client's cookies followed by the given ones: Django takes the last of two equal names.
fn cookies(
    kept: Option<HeaderValue>,
    given: &FormIdentity,
) -> Result<Option<HeaderValue>, Refusal> {
    if given.cookies.is_empty() {
        return Ok(kept);
    }
    let mut line = kept.map(|kept| kept.as_bytes().to_vec()).unwrap_or_default();
    for cookie in &given.cookies {
        if !line.is_empty() {
            line.extend_from_slice(b"; ");
        }
        line.extend_from_slice(format!("{}={}", cookie.name, cookie.value.expose()).as_bytes());
    }
    let mut line = HeaderValue::try_from(line).map_err(|_| Refusal::Internal)?;
    line.set_sensitive(true);
    Ok(Some(line))
}

/// Returns the very path that was judged, without the route's prefix.
fn forwarded_path(arrival: &Arrival, strip: Option<&CanonicalPath>) -> Result<String, Refusal> {
    arrival.target.forwarded(strip).ok_or(Refusal::BadTarget)
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    #[test]
    fn spellings_are_forgotten_and_nothing_else() {
        let request = |target: &str| {
            let mut request = RequestHeader::build("PATCH", target.as_bytes(), None).unwrap();
            for (name, value) in [("Host", "app.test"), ("X-OnE", "1"), ("x-one", "2")] {
                request.append_header(name, value).unwrap();
            }
            request
        };
        let fields = |request: &RequestHeader| {
            let mut wire = Vec::new();
            request.header_to_h1_wire(&mut wire);
            String::from_utf8(wire).unwrap()
        };
        for target in ["/a?b", "/", "/%ff"] {
            let mut forgotten = request(target);
            forget_spellings(&mut forgotten);
            assert_eq!(fields(&forgotten), "Host: app.test\r\nx-one: 1\r\nx-one: 2\r\n");
            assert_eq!(
                (forgotten.raw_path(), &forgotten.method),
                (target.as_bytes(), &Method::PATCH)
            );
        }
        // The parts do not contain all of these targets.
        for target in ["http://app.test/a", "*"] {
            let mut kept = request(target);
            forget_spellings(&mut kept);
            assert_eq!(fields(&kept), fields(&request(target)), "{target}");
            assert_eq!(kept.raw_path(), target.as_bytes());
        }
    }

    #[test]
    fn a_target_is_written_anew_unless_it_is_the_same() {
        for (uri, target, is_same) in [
            ("/a?b", "/a?b", true),
            ("/a?b", "/a", false),
            ("/a", "/b", false),
            ("https://app.test/a", "/a", false),
            ("app.test", "/", false),
        ] {
            assert_eq!(is_origin_form_of(&uri.parse().unwrap(), target), is_same, "{uri} {target}");
        }
    }
}
