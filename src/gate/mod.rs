//! Decides whether a request passes, and where it goes.
//!
//! One function, [`Gate::decide`], takes an [`Arrival`] and returns a [`Decision`]; it changes nothing in the arrival. Its
//! steps:
//!
//! 1. blocked: a request from a blocked address gets no further, whatever its target;
//! 2. route: host and canonical path lead to an own path or a route;
//! 3. preflight: a CORS preflight is answered, or forwarded without identity, and never authenticates anybody;
//! 4. who: [`Issuers::presented`] finds out who is calling, and whether that user or session is blocked;
//! 5. allowed: the route's requirements of a caller, and whether an unsafe request that a cookie authenticates comes
//!    from the gateway's own site. A request that passes gets a [`Permit`].
//!
//! On a route of `[shadow]` all of this is evaluated and none of it enforced: see [`shadow`].
//!
//! The gate's inputs are method, host, canonical path and verified identity. It reads no other header to choose a
//! policy (R12): neither `X-Original-URL`, nor a method override, nor `User-Agent`.

pub mod maintenance;
mod permit;
pub mod rate_limit;
mod route;
pub mod shadow;

use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{Method, StatusCode};
use memchr::memchr2;

use self::permit::ForwardedCredentials;
pub use self::permit::{ForwardedCookies, Passage, Permit, ReturnedAnswers};
pub use self::route::{RouteMatch, RouteTable, methods_of};
use self::shadow::{AnswerReader, Opinion, ServiceAnswer};
use crate::block::Block;
use crate::caller::{Anonymous, Caller, IssuerName, Known, Proof};
use crate::config::{Access, Config, IssuerSettings, OwnPathEntry, Route, SignInRedirect};
use crate::issuer::Issuers;
use crate::issuer::credential::Presented;
use crate::refusal::Refusal;
use crate::session::looks_like_ours;
use crate::session::personal_token::PersonalTokenUse;
use crate::wire::accept;
use crate::wire::arrival::Arrival;
use crate::wire::authorization::{self, Authorization};
use crate::wire::cross_site::{self, CrossSiteVerdict};

/// Decides about every request.
pub struct Gate {
    routes: Arc<RouteTable>,
    issuers: Arc<Issuers>,
    trusted_origins: Vec<String>,
    cors_origins: Vec<String>,
    answers: AnswerReader,
    /// By route: whether another route, one that is enforced, leads to the same upstream.
    shares_upstream: Vec<bool>,
    /// The forwarding settings, by issuer.
    forwards: Arc<[CredentialForwarding]>,
    /// Whether a request can carry cookies of several issuers.
    has_several_cookies: bool,
}

/// Whether a valid credential of an issuer is forwarded to its service.
struct CredentialForwarding {
    issuer: IssuerName,
    is_on: bool,
    /// The upstreams that it is forwarded to; all if empty.
    upstreams: Vec<usize>,
    is_authorization: bool,
    is_header: bool,
}

impl CredentialForwarding {
    fn goes_to(&self, upstream: usize) -> bool {
        self.is_on && (self.upstreams.is_empty() || self.upstreams.contains(&upstream))
    }
}

/// The gate's decision on a request.
#[derive(Debug)]
pub enum Decision {
    /// The request goes to an upstream.
    Forward(Permit),
    /// The request goes to an upstream unchanged and unchecked; the permit holds the decision that would have been made.
    Shadow(Permit),
    /// The gateway answers the request itself.
    Serve(Arc<OwnPathEntry>),
    /// A CORS preflight from a listed origin, which the gateway answers; the target takes these methods.
    Preflight(Vec<Method>),
    /// The request is refused.
    Refuse(Denial),
}

/// A refusal with the details that its answer needs.
#[derive(Debug)]
pub struct Denial {
    /// The reason.
    pub refusal: Refusal,
    /// The route, where one was found.
    pub route: Option<Arc<Route>>,
    /// For 405: the methods that the path takes.
    pub allow: Vec<Method>,
    /// The session cookie that was sent, the gateway's or an issuer's, if its session has ended; the browser is told to delete
    /// it.
    pub dead_cookie: Option<Proof>,
    /// The owner of the credential, if a valid one was presented.
    pub caller: Option<Known>,
    /// How long the client should wait before a retry, if that is known.
    pub retry_after: Option<Duration>,
}

impl Gate {
    /// Creates the gate for a configuration.
    pub fn new(config: &Config, issuers: Arc<Issuers>) -> Self {
        Self {
            routes: Arc::new(RouteTable::new(config)),
            issuers,
            trusted_origins: config.session.trusted_origins.clone(),
            cors_origins: config.cors.allowed_origins.clone(),
            answers: AnswerReader::new(config),
            shares_upstream: config.routes.iter().map(|one| config.shares_upstream(one)).collect(),
            forwards: config
                .issuers
                .iter()
                .map(|issuer| CredentialForwarding {
                    issuer: IssuerName::new(&issuer.name),
                    is_on: config.forwards(issuer),
                    upstreams: issuer.upstreams.clone(),
                    is_authorization: issuer
                        .header()
                        .is_some_and(|name| name.eq_ignore_ascii_case("authorization")),
                    is_header: issuer.header().is_some(),
                })
                .collect(),
            has_several_cookies: {
                let mut names = config.issuers.iter().filter_map(IssuerSettings::cookie);
                let first = names.next();
                names.any(|name| Some(name) != first)
            },
        }
    }

    /// Returns a gate that decides by the same rules with other [`Issuers`], to ask what would happen.
    pub fn with_issuers(&self, issuers: Arc<Issuers>) -> Self {
        Self {
            routes: Arc::clone(&self.routes),
            issuers,
            trusted_origins: self.trusted_origins.clone(),
            cors_origins: self.cors_origins.clone(),
            answers: self.answers.clone(),
            shares_upstream: self.shares_upstream.clone(),
            forwards: Arc::clone(&self.forwards),
            has_several_cookies: self.has_several_cookies,
        }
    }

    /// Returns the routing table.
    pub fn routes(&self) -> &RouteTable {
        &self.routes
    }

    /// Decides on one request.
    pub async fn decide(&self, arrival: &Arrival) -> Decision {
        match self.shadowed(arrival) {
            Some(route) if !self.may_reach_past(arrival, &route) => {
                self.shadow(arrival, route).await
            }
            Some(_) | None => self.enforce(arrival).await,
        }
    }

    fn shadowed(&self, arrival: &Arrival) -> Option<Arc<Route>> {
        if !self.routes.has_shadow() {
            return None;
        }
        let method = arrival.preflight().unwrap_or_else(|| arrival.method.clone());
        self.routes.shadowed(&arrival.host, arrival.target.path(), &method)
    }

    /// Whether a shadowed request can reach something that an enforced route guards at the same upstream. Its path then
    /// has a second reading, and the service may follow that one.
    fn may_reach_past(&self, arrival: &Arrival, route: &Route) -> bool {
        let is_alone = self.shares_upstream.get(route.index) == Some(&false);
        !is_alone && arrival.target.tolerated_by(route.allow_ambiguous_path).is_err()
    }

    /// Reads from a service's answer whether it accepted its caller, to compare that with an [`Opinion`].
    pub fn read_answer(&self, status: StatusCode, location: Option<&[u8]>) -> ServiceAnswer {
        self.answers.read(status, location)
    }

    /// Lets a request of a shadowed route through, with the decision that would have been made.
    async fn shadow(&self, arrival: &Arrival, route: Arc<Route>) -> Decision {
        let decision = tokio::time::timeout(shadow::LONGEST, self.enforce(arrival)).await;
        let opinion = decision.map_or(Opinion::Unknown, Opinion::of);
        Decision::Shadow(Permit::unchecked(route, opinion, !has_own_authorization(arrival)))
    }

    async fn enforce(&self, arrival: &Arrival) -> Decision {
        if let Some(block) = self.block_of_address(arrival) {
            let mut denial = Denial::new(Refusal::AddressBlocked, None);
            denial.retry_after = Some(block.until.since(arrival.at));
            return Decision::Refuse(denial);
        }
        let preflight = arrival.preflight().and_then(|wanted| self.preflight(arrival, &wanted));
        if let Some(decision) = preflight {
            return decision;
        }
        let route = match self.routes.find(&arrival.host, arrival.target.path(), &arrival.method) {
            RouteMatch::Own(own) if arrival.target.ambiguities().is_empty() => {
                return Decision::Serve(own);
            }
            RouteMatch::Own(_) => return Denial::of(Refusal::BadTarget, None),
            RouteMatch::Route(route) => route,
            RouteMatch::OtherMethods(allow) => {
                let mut denial = Denial::new(Refusal::MethodNotAllowed, None);
                denial.allow = allow;
                return Decision::Refuse(denial);
            }
            RouteMatch::Nothing => return Denial::of(Refusal::NoRoute, None),
        };
        if !self.has_one_meaning(arrival, &arrival.method, &route) {
            return Denial::of(Refusal::BadTarget, Some(route));
        }
        let personal = personal_use(&route, &arrival.method);
        let looks_at = &route.credentials;
        let presented = self.issuers.presented(arrival, looks_at, personal).await;
        match self.passing_cookies(arrival, &route, &presented).await {
            Ok(cookies) => self.allowed(arrival, route, presented, cookies),
            Err(refusal) => Denial::of(refusal, Some(route)),
        }
    }

    /// Returns the block of the client's address, if there is one.
    pub fn block_of_address(&self, arrival: &Arrival) -> Option<Arc<Block>> {
        self.issuers.sessions().blocks().list().of_address(arrival.client_ip(), arrival.at)
    }

    /// Returns the refusal of a caller whose credential is valid, if the user or the session is blocked.
    fn blocked(&self, known: &Known, arrival: &Arrival) -> Option<Refusal> {
        self.issuers.sessions().blocks().refusal_for(
            &known.identity.key,
            known.session.as_ref(),
            arrival.at,
        )
    }

    /// Returns the services' cookies that are forwarded besides the caller's own session.
    async fn passing_cookies(
        &self,
        arrival: &Arrival,
        route: &Route,
        presented: &Presented,
    ) -> Result<ForwardedCookies, Refusal> {
        let caller = match presented {
            Presented::Nothing => return Ok(ForwardedCookies::All),
            Presented::Malformed(_) => return Ok(ForwardedCookies::These(Vec::new())),
            Presented::Bad(..) => None,
            Presented::Good(credential) => {
                let is_cookie = matches!(credential.proof(), Proof::IssuedCookie(_));
                if is_cookie && !self.has_several_cookies {
                    return Ok(ForwardedCookies::These(Vec::new()));
                }
                let known = credential.known();
                let passes =
                    self.blocked(&known, arrival).is_none() && self.is_same_site(arrival, &known);
                passes.then(|| known.identity.key.clone())
            }
        };
        // The other credentials of the request were not checked.
        let forwards =
            |proof| self.forwards_of(proof).is_some_and(|one| one.goes_to(route.upstream));
        let looks_at = &route.credentials;
        self.issuers
            .passing_cookies(arrival, looks_at, caller.as_ref(), forwards)
            .await
            .map(ForwardedCookies::These)
    }

    /// Returns the forwarding of the issuer that takes this proof. Of two issuers of the same name, one may read a header and
    /// the other a cookie.
    fn forwards_of(&self, proof: Proof) -> Option<&CredentialForwarding> {
        let issuer = proof.issuer()?;
        let is_its_own = |one: &&CredentialForwarding| {
            one.issuer == issuer && one.is_header != proof.is_cookie()
        };
        self.forwards.iter().find(is_its_own)
    }

    fn goes_on(&self, issuer: usize, route: &Route) -> bool {
        self.forwards.get(issuer).is_some_and(|forwards| forwards.goes_to(route.upstream))
    }

    /// Decides which headers that can carry issuers' credentials are forwarded.
    fn keeps(
        &self,
        arrival: &Arrival,
        route: &Route,
        caller: &Caller,
        issued_cookies: ForwardedCookies,
    ) -> ForwardedCredentials {
        // A header in which an issuer's tokens arrive is forwarded only if its token was found valid: a token that was revoked
        // here is still valid at the upstream. Beside a valid credential, a Bearer token that is read here and that nobody
        // accepts has already been refused.
        let is_read = self.issuers.reads_authorization(&arrival.headers, &route.credentials)
            || (caller.known().is_none()
                && route.credentials.bearer()
                && has_broken_bearer(arrival));
        let mut keeps =
            ForwardedCredentials { authorization: !is_read, headers: Vec::new(), issued_cookies };
        if let Some(known) = caller.known() {
            // Every credential that a known caller sent in headers was checked, and is theirs.
            let looked_at = self.forwards.iter().enumerate().filter(|(_, one)| one.is_header);
            let looked_at = looked_at.filter(|(issuer, _)| route.credentials.issuer(*issuer));
            for (issuer, _) in looked_at.clone().filter(|(_, one)| !one.is_authorization) {
                if self.goes_on(issuer, route) {
                    keeps.headers.push(issuer);
                }
            }
            let is_its_own = match known.proof {
                Proof::Issued(_) | Proof::Password(_) => {
                    let goes_on = |one: &CredentialForwarding| {
                        one.is_authorization && one.goes_to(route.upstream)
                    };
                    self.forwards_of(known.proof).is_some_and(goes_on)
                }
                Proof::AccessToken
                | Proof::PersonalToken
                | Proof::SessionCookie
                | Proof::IssuedCookie(_) => false,
            };
            let mut there = looked_at.filter(|(_, one)| one.is_authorization).peekable();
            let are_all = there.peek().is_some()
                && there.all(|(_, forwards)| forwards.goes_to(route.upstream));
            keeps.authorization |= is_its_own || are_all;
        }
        keeps.authorization = keeps.authorization
            && arrival.headers.contains_key(AUTHORIZATION)
            && !has_own_authorization(arrival);
        keeps
    }

    /// Whether the route tolerates the spelling of its path, and every reading of the path leads to this route.
    fn has_one_meaning(&self, arrival: &Arrival, method: &Method, route: &Route) -> bool {
        let leads_here = |reading| match self.routes.find(&arrival.host, reading, method) {
            RouteMatch::Route(other) => other.index == route.index,
            RouteMatch::Own(_) | RouteMatch::OtherMethods(_) | RouteMatch::Nothing => false,
        };
        arrival.target.tolerated_by(route.allow_ambiguous_path).is_ok()
            && arrival.target.readings().iter().all(leads_here)
    }

    /// A preflight carries no credential (Fetch standard, section 3.2.5), so it is answered or forwarded without asking for
    /// one; from an origin that is not listed it is an OPTIONS like any other.
    fn preflight(&self, arrival: &Arrival, wanted: &Method) -> Option<Decision> {
        let listed = arrival
            .header("origin")
            .is_some_and(|origin| self.cors_origins.iter().any(|allowed| allowed == origin));
        match self.routes.find(&arrival.host, arrival.target.path(), wanted) {
            RouteMatch::Route(route) if route.forward_preflight => {
                let readable = self.has_one_meaning(arrival, wanted, &route);
                readable.then(|| Decision::Forward(Permit::without_identity(route)))
            }
            RouteMatch::Route(route) if listed => {
                Some(Decision::Preflight(methods_of(&route).to_vec()))
            }
            RouteMatch::OtherMethods(allow) if listed => Some(Decision::Preflight(allow)),
            // The endpoint itself knows its methods.
            RouteMatch::Own(_)
            | RouteMatch::Route(_)
            | RouteMatch::OtherMethods(_)
            | RouteMatch::Nothing => None,
        }
    }

    /// Checks the route's requirements of the caller.
    fn allowed(
        &self,
        arrival: &Arrival,
        route: Arc<Route>,
        presented: Presented,
        cookies: ForwardedCookies,
    ) -> Decision {
        let caller = match (presented, route.access) {
            (Presented::Malformed(refusal), _) => return Denial::of(refusal, Some(route)),
            // "The store is down" never means "nobody is signed in", not even on a route that anybody may use.
            (Presented::Bad(refusal, _), _) if refusal.status().is_server_error() => {
                return Denial::of(refusal, Some(route));
            }
            (Presented::Good(credential), access) => {
                let known = credential.known();
                let blocked = self.blocked(&known, arrival);
                match (blocked, self.is_same_site(arrival, &known), access) {
                    (None, true, _) => Caller::Known(known),
                    // Without the credential, the caller could see it too.
                    (Some(refusal), _, Access::Public) => {
                        Caller::Anonymous(Anonymous::Ignored(refusal))
                    }
                    (None, false, Access::Public) => {
                        Caller::Anonymous(Anonymous::Ignored(Refusal::CrossSite))
                    }
                    // A request may be kept and repeated once the user has confirmed; one that another site caused must not
                    // be.
                    (
                        Some(Refusal::InsufficientAuthentication),
                        false,
                        Access::Optional | Access::SignedIn,
                    ) => return Denial::of_known(Refusal::CrossSite, route, &known),
                    (Some(refusal), _, Access::Optional | Access::SignedIn) => {
                        return Denial::of_known(refusal, route, &known);
                    }
                    (None, false, Access::Optional | Access::SignedIn) => {
                        return Denial::of_known(Refusal::CrossSite, route, &known);
                    }
                }
            }
            (Presented::Nothing, Access::Public | Access::Optional) => {
                Caller::Anonymous(Anonymous::NoCredential)
            }
            (Presented::Nothing, Access::SignedIn)
                if route.sign_in_redirect == SignInRedirect::Service && goes_to_a_page(arrival) =>
            {
                return Decision::Forward(Permit::to_sign_in(route, cookies));
            }
            (Presented::Nothing, Access::SignedIn) => {
                return Denial::of(Refusal::NotAuthenticated, Some(route));
            }
            (Presented::Bad(refusal, _), Access::Public) => {
                Caller::Anonymous(Anonymous::Ignored(refusal))
            }
            // A browser cannot refresh a cookie; on a page that anybody may see, its user counts as anonymous.
            (
                Presented::Bad(refusal, Proof::SessionCookie | Proof::IssuedCookie(_)),
                Access::Optional,
            ) if accept::is_navigation(&arrival.method, &arrival.headers) => {
                Caller::Anonymous(Anonymous::Ignored(refusal))
            }
            (Presented::Bad(refusal, proof), Access::Optional | Access::SignedIn) => {
                let mut denial = Denial::new(refusal, Some(route));
                denial.dead_cookie =
                    (refusal == Refusal::SessionEnded && proof.is_cookie()).then_some(proof);
                return Decision::Refuse(denial);
            }
        };
        if !route.groups.is_empty() {
            let Some(known) = caller.known() else {
                return Denial::of(Refusal::NotAuthenticated, Some(route));
            };
            if !route.groups.iter().any(|group| known.identity.groups.contains(group)) {
                return Denial::of_known(Refusal::GroupRequired, Arc::clone(&route), known);
            }
        }
        if route.asks.asks() {
            let Some(known) = caller.known() else {
                return Denial::of(Refusal::NotAuthenticated, Some(route));
            };
            if !route.asks.is_met(known.assurance, arrival.at) {
                let refusal = Refusal::InsufficientAuthentication;
                return Denial::of_known(refusal, Arc::clone(&route), known);
            }
        }
        let keeps = self.keeps(arrival, &route, &caller, cookies);
        Decision::Forward(Permit::granted(route, caller, keeps))
    }

    /// Checks the request's origin where cross-site request forgery is possible: with a credential that a browser sends
    /// unasked, a cookie or HTTP Basic. A foreign page cannot set a header without a preflight that allows it.
    fn is_same_site(&self, arrival: &Arrival, known: &Known) -> bool {
        !known.proof.is_sent_unasked()
            || cross_site::judge(
                &arrival.method,
                &arrival.headers,
                || arrival.origin(),
                &self.trusted_origins,
            ) == CrossSiteVerdict::Allowed
    }
}

/// Returns what a personal access token that comes to this route is presented for.
pub fn personal_use<'a>(route: &'a Route, method: &'a Method) -> PersonalTokenUse<'a> {
    match route.personal_tokens {
        true => PersonalTokenUse::Route { name: &route.name, method },
        false => PersonalTokenUse::Refused,
    }
}

/// Whether a browser opens a page: with no body and no upgrade.
fn goes_to_a_page(arrival: &Arrival) -> bool {
    (arrival.method == Method::GET || arrival.method == Method::HEAD)
        && accept::is_navigation(&arrival.method, &arrival.headers)
        && !arrival.has_body
        && !arrival.websocket
}

/// Whether `Authorization` holds `Bearer` and something that is not a token.
fn has_broken_bearer(arrival: &Arrival) -> bool {
    match authorization::read(&arrival.headers) {
        Authorization::NotAToken | Authorization::Repeated => true,
        Authorization::Foreign | Authorization::Bearer(_) | Authorization::Absent => false,
    }
}

/// Whether `Authorization` holds a token of the gateway's own, valid or not, whatever surrounds it.
fn has_own_authorization(arrival: &Arrival) -> bool {
    arrival.headers.get_all(AUTHORIZATION).iter().any(|value| {
        let mut rest = value.as_bytes();
        loop {
            let end = memchr2(b' ', b'\t', rest);
            let (word, after) =
                end.and_then(|end| rest.split_at_checked(end)).unwrap_or((rest, b""));
            if looks_like_ours(word) {
                return true;
            }
            let Some(next) = after.get(1..) else { return false };
            rest = next;
        }
    })
}

impl Denial {
    /// Creates a denial without further details.
    pub const fn new(refusal: Refusal, route: Option<Arc<Route>>) -> Self {
        Self {
            refusal,
            route,
            allow: Vec::new(),
            dead_cookie: None,
            caller: None,
            retry_after: None,
        }
    }

    const fn of(refusal: Refusal, route: Option<Arc<Route>>) -> Decision {
        Decision::Refuse(Self::new(refusal, route))
    }

    fn of_known(refusal: Refusal, route: Arc<Route>, known: &Known) -> Decision {
        let caller = Some(known.clone());
        Decision::Refuse(Self { caller, ..Self::new(refusal, Some(route)) })
    }
}

#[cfg(test)]
mod assurance_tests;
#[cfg(test)]
mod forwarded_tests;
#[cfg(test)]
mod personal_token_tests;
#[cfg(test)]
mod target_tests;
#[cfg(test)]
mod testkit;
#[cfg(test)]
mod tests;
