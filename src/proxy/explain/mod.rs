//! Explains what would happen to a request, and why: `POST /explain` on the admin listener.
//!
//! The head is parsed by the framework's own parser from bytes in memory, and then takes the path of every request
//! (`convert::arrival`, [`Gate::decide`], the identity forms, `EditRules::request`): there is no second implementation that
//! could differ. [`Issuers::read_only`] and [`IdentityForms::read_only`](crate::identity::IdentityForms::read_only) make sure
//! that nothing is changed on this path.
//!
//! The answer is for the operator, so it includes reasons that no client is told. It holds no secret: neither those
//! that were sent nor those that an upstream would get.

mod credential;
mod jwt;
mod story;
mod token;
mod upstream;

use std::io::Cursor;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use pingora::proxy::Session;
use serde::Deserialize;
use serde_json::{Value, json};

use self::credential::FoundCredential;
use self::story::{Story, StoryEnd, StoryMark};
use super::convert::{self, ConnectionInfo};
use super::generation::Generation;
use super::stage::ForwardPlan;
use crate::block::Block;
use crate::caller::{Anonymous, Caller};
use crate::clock::Timestamp;
use crate::config::{Access, Route};
use crate::gate::shadow::Opinion;
use crate::gate::{self, Decision, Denial, Gate, Passage, Permit, methods_of};
use crate::issuer::Issuers;
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::wire::arrival::Arrival;
use crate::wire::path::PathMatch;

/// The id that stands for the one of a real request.
const REQUEST_ID: &str = "explained";

/// Explains requests by one generation.
pub(super) struct Explainer(pub(super) Arc<Generation>);

/// The question: about a request's head, or about a token alone.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExplainInput {
    head: Option<String>,
    token: Option<String>,
    /// The address that the connection would come from.
    client: Option<IpAddr>,
    #[serde(default)]
    tls: bool,
}

impl Explainer {
    /// Answers one question.
    ///
    /// # Errors
    /// [`Refusal::BadBody`] if the body is not a question.
    pub(super) async fn answer(&self, body: &[u8], at: Timestamp) -> Result<Value, Refusal> {
        let asked: ExplainInput = serde_json::from_slice(body).map_err(|_| Refusal::BadBody)?;
        let issuers = Arc::new(self.0.issuers.read_only().map_err(|_| Refusal::Internal)?);
        match (asked.head, asked.token) {
            (Some(head), None) => {
                let peer = asked.client.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
                let came = ConnectionInfo { peer, tls: asked.tls };
                Ok(self.request(Secret::new(head), came, issuers, at).await)
            }
            (None, Some(token)) => Ok(token::explain(&issuers, &Secret::new(token), at).await),
            _ => Err(Refusal::BadBody),
        }
    }

    async fn request(
        &self,
        head: Secret,
        came: ConnectionInfo,
        issuers: Arc<Issuers>,
        at: Timestamp,
    ) -> Value {
        let mut story = Story::default();
        let Some(session) = read(&head).await else {
            story.step(
                "head",
                StoryMark::No,
                "the HTTP parser refuses it: a bare 400 and no log line",
            );
            story.member("status", json!(400));
            return story.end(StoryEnd::Refuse);
        };
        let id = Arc::from(REQUEST_ID);
        let arrival = match convert::arrival(&session, came, &self.0.head, at, &id) {
            Ok(arrival) => arrival,
            Err(unread) => {
                let why = format!("{}: {}", unread.why, unread.refusal.detail());
                return story.refused("head", unread.refusal, &why);
            }
        };
        tell_head(&mut story, &arrival);
        let gate = self.0.gate.with_issuers(Arc::clone(&issuers));
        let decision = gate.decide(&arrival).await;
        // Each credential is checked again by itself below, and its events are reported then.
        arrival.events.take();
        match decision {
            Decision::Serve(own) => {
                let text = format!("the gateway's own path {}: it answers itself", own.path);
                story.step("route", StoryMark::Yes, text);
                // This is the name in the access log.
                story.member("route", json!(own.own.label()));
                story.end(StoryEnd::Serve)
            }
            Decision::Preflight(methods) => {
                let text = format!("a CORS preflight, answered here; {}", list(&methods));
                story.step("route", StoryMark::Yes, text);
                story.end(StoryEnd::Serve)
            }
            Decision::Refuse(denial) => refuse(story, &gate, &issuers, &arrival, denial).await,
            Decision::Shadow(permit) => {
                tell_routes(&mut story, &gate, &arrival, Some(permit.route()));
                tell_shadow(&mut story, permit.passage());
                self.forward(story, &session, &arrival, permit).await
            }
            Decision::Forward(permit) => {
                tell_routes(&mut story, &gate, &arrival, Some(permit.route()));
                let is_preflight = permit.route().forward_preflight
                    && arrival.preflight().is_some()
                    && permit.caller().known().is_none();
                if is_preflight {
                    let text = "a CORS preflight is forwarded without authentication";
                    story.step("credential", StoryMark::Note, text);
                } else {
                    let found = credential::tell(
                        &mut story,
                        &issuers,
                        &arrival,
                        &permit.route().credentials,
                        gate::personal_use(permit.route(), &arrival.method),
                        true,
                    )
                    .await;
                    tell_permitted(&mut story, &arrival, &permit, &found);
                }
                self.forward(story, &session, &arrival, permit).await
            }
        }
    }

    /// Explains the request that the upstream would get.
    async fn forward(
        &self,
        mut story: Story,
        session: &Session,
        arrival: &Arrival,
        permit: Permit,
    ) -> Value {
        let route = Arc::clone(permit.route());
        if self.0.guard.maintenance.of(route.index, arrival.client_ip()).is_some() {
            let why = "the route is down for maintenance";
            return story.refused("route", Refusal::Maintenance, why);
        }
        let Some(pool) = self.0.pools.get(route.upstream).map(Arc::clone) else {
            return story.refused("upstream", Refusal::Internal, "the route has no upstream");
        };
        let forms = self.0.edit.forms.read_only(permit.caller());
        let given = match forms.give(permit.caller(), &route, &arrival.headers, arrival.at).await {
            Ok(given) => given,
            Err(refusal) => {
                let why = format!("its identity cannot be given: {}", refusal.detail());
                return story.refused("identity", refusal, &why);
            }
        };
        let mut request = session.req_header().clone();
        let forwarding = ForwardPlan {
            permit,
            given,
            pool,
            buffered: None,
            tries: 0,
            tried: Vec::new(),
            place: None,
            is_asked_again: false,
            asked: None,
            upstream_time: None,
            under_way: None,
            limits: None,
            answer: None,
            watched: None,
        };
        if let Err(refusal) = self.0.edit.request(&mut request, arrival, &forwarding) {
            return story.refused("upstream", refusal, "the upstream's request cannot be made");
        }
        let name = &forwarding.pool.settings().name;
        story.step("upstream", StoryMark::Yes, format!("it goes to {name}"));
        let gets = upstream::describe(&self.0.edit, arrival, &request, &forwarding);
        story.member("upstream", gets);
        story.end(StoryEnd::Forward)
    }
}

/// Parses a head with the framework's own parser.
async fn read(head: &Secret) -> Option<Session> {
    let stream = Cursor::new(head.expose().as_bytes().to_vec());
    let mut session = Session::new_h1(Box::new(stream));
    match session.as_downstream_mut().read_request().await {
        Ok(true) => Some(session),
        Ok(false) | Err(_) => None,
    }
}

fn tell_head(story: &mut Story, arrival: &Arrival) {
    let query = if arrival.target.query().is_some() { " with a query" } else { "" };
    let text = format!(
        "{} {}{query}, host {}, {}; framing and limits hold",
        arrival.method,
        arrival.target.path(),
        arrival.host,
        arrival.scheme.as_str(),
    );
    story.step("head", StoryMark::Yes, text);
    let ambiguities = arrival.target.ambiguities();
    if !ambiguities.is_empty() {
        let text = format!("the path can be read in two ways ({ambiguities:?})");
        story.step("head", StoryMark::Note, text);
    }
    let client = &arrival.client;
    let says = arrival.headers.contains_key("x-forwarded-for");
    let text = match (client.through_trusted_proxy(), says) {
        (true, true) => format!(
            "{}, as X-Forwarded-For says; believed, because {} is a trusted proxy",
            client.ip(),
            client.peer()
        ),
        (true, false) => format!("{}, a trusted proxy that names no client", client.ip()),
        (false, true) => {
            format!("{}; X-Forwarded-For is not believed from there", client.ip())
        }
        (false, false) => client.ip().to_string(),
    };
    story.step("client", StoryMark::Note, text);
}

/// Adds the routes that match, and which of them is taken.
fn tell_routes(story: &mut Story, gate: &Gate, arrival: &Arrival, found: Option<&Arc<Route>>) {
    let fitting = gate.routes().candidates(&arrival.host, arrival.target.path());
    for route in fitting {
        let (mark, why) = if found.is_some_and(|found| Arc::ptr_eq(found, route)) {
            (StoryMark::Yes, "it is this one")
        } else if methods_of(route).contains(&arrival.method) {
            (StoryMark::Note, "fits too, and comes later")
        } else {
            (StoryMark::Note, "fits, and does not take the method")
        };
        let hosts = match route.hosts.as_slice() {
            [] => "any host".to_owned(),
            hosts => hosts.join(", "),
        };
        let exactly = match route.path.matching() {
            PathMatch::Prefix => "",
            PathMatch::Exact => "exactly ",
        };
        let text = format!("{} ({exactly}{}, {hosts}): {why}", route.name, route.path);
        story.step("route", mark, text);
    }
    if let Some(route) = found {
        story.route(route);
    }
}

/// Adds the decision that would be made on a shadowed route.
fn tell_shadow(story: &mut Story, passage: &Passage) {
    let would = match passage {
        Passage::Checked => return,
        Passage::Unchecked(Opinion::Pass(Some(user))) => format!("pass as {user}"),
        Passage::Unchecked(Opinion::Pass(None)) => "pass".to_owned(),
        Passage::Unchecked(Opinion::Refuse(refusal, _)) => {
            format!("be refused: {}", refusal.code())
        }
        Passage::Unchecked(Opinion::Answer) => "be answered by the gateway".to_owned(),
        Passage::Unchecked(Opinion::Unknown) => "take too long to judge".to_owned(),
    };
    let text = format!(
        "the route is in the shadow: forwarded unchanged; without [shadow] it would {would}"
    );
    story.step("shadow", StoryMark::Note, text);
}

async fn refuse(
    mut story: Story,
    gate: &Gate,
    issuers: &Issuers,
    arrival: &Arrival,
    denial: Denial,
) -> Value {
    let refusal = denial.refusal;
    if let Some(block) = gate.block_of_address(arrival) {
        return story.refused("blocked", refusal, &tell_block(&block));
    }
    tell_routes(&mut story, gate, arrival, denial.route.as_ref());
    let Some(route) = &denial.route else {
        let why = match refusal {
            Refusal::MethodNotAllowed => {
                format!("{} is not taken there; {}", arrival.method, list(&denial.allow))
            }
            Refusal::NoRoute => "no route takes this host and path".to_owned(),
            _ => refusal.detail().to_owned(),
        };
        return story.refused("route", refusal, &why);
    };
    if refusal == Refusal::BadTarget {
        let why = "the route does not allow ambiguous paths (route.allow_ambiguous_path)";
        return story.refused("route", refusal, why);
    }
    let personal = gate::personal_use(route, &arrival.method);
    let found =
        credential::tell(&mut story, issuers, arrival, &route.credentials, personal, false).await;
    match refusal {
        Refusal::NotAuthenticated => {
            let why = format!("{}: nobody is signed in", access(route));
            story.refused("access", refusal, &why)
        }
        Refusal::UserBlocked
        | Refusal::SessionBlocked
        | Refusal::SignInAgain
        | Refusal::InsufficientAuthentication
            if refusal != Refusal::InsufficientAuthentication || !route.asks.asks() =>
        {
            let why = match denial
                .caller
                .as_ref()
                .and_then(|known| issuers.sessions().blocks().of(known, arrival.at))
            {
                Some(block) => tell_block(&block),
                None => refusal.detail().to_owned(),
            };
            story.refused("blocked", refusal, &why)
        }
        Refusal::CrossSite => story.refused("cross-site", refusal, &credential::origin_of(arrival)),
        Refusal::GroupRequired => {
            let has = found.groups.join(", ");
            let why =
                format!("one of {} is needed, and they have [{has}]", route.groups.join(", "));
            story.refused("groups", refusal, &why)
        }
        _ => {
            let why = format!("{}: {} ({})", access(route), refusal.detail(), refusal.code());
            story.refused("access", refusal, &why)
        }
    }
}

fn tell_block(block: &Block) -> String {
    let (kind, by) = (block.subject.kind(), block.by.name());
    format!(
        "the {kind} {} is blocked until {} by {by}: {}",
        block.subject, block.until, block.reason
    )
}

fn tell_permitted(story: &mut Story, arrival: &Arrival, permit: &Permit, found: &FoundCredential) {
    let route = permit.route();
    let text = match permit.caller() {
        Caller::Known(known) => {
            let user = &known.identity.key;
            story.member(
                "caller",
                json!({
                    "user": user.to_string(),
                    "name": known.identity.name,
                    "groups": known.identity.groups,
                    "session": known.session.as_ref().map(|session| session.as_str()),
                    "proof": known.proof.name(),
                }),
            );
            format!("{}: {user} ({}) by {}", access(route), known.identity.name, known.proof.name())
        }
        Caller::Anonymous(Anonymous::NoCredential) => {
            format!("{}: nobody is signed in, and need not be", access(route))
        }
        Caller::Anonymous(Anonymous::Ignored(refusal)) => format!(
            "{}: the credential is not valid ({}), so the service sees an anonymous caller",
            access(route),
            refusal.code()
        ),
    };
    story.step("access", StoryMark::Yes, text);
    match permit.caller() {
        Caller::Known(_) if found.by_cookie => {
            story.step("cross-site", StoryMark::Yes, credential::origin_of(arrival));
        }
        Caller::Anonymous(Anonymous::Ignored(Refusal::CrossSite)) => {
            story.step("cross-site", StoryMark::Note, credential::origin_of(arrival));
        }
        Caller::Known(_) | Caller::Anonymous(_) => {}
    }
    if !route.groups.is_empty() {
        let text = format!("in one of {}", route.groups.join(", "));
        story.step("groups", StoryMark::Yes, text);
    }
}

fn access(route: &Route) -> &'static str {
    match route.access {
        Access::Public => "access = \"public\"",
        Access::Optional => "access = \"optional\"",
        Access::SignedIn => "access = \"signed-in\"",
    }
}

fn list(methods: &[http::Method]) -> String {
    let names: Vec<&str> = methods.iter().map(http::Method::as_str).collect();
    format!("these are: {}", names.join(", "))
}
