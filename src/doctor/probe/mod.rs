//! Examines a running service from where the gateway stands.

use std::io;

use super::finding::{DoctorReport, Weight};
use crate::clock::{Clock as _, SystemClock};
use crate::command::CommandFailure;
use crate::config::{Config, OwnPath};

mod classes;
mod cors;
mod echo;
mod http;
pub(super) mod keys;
mod paths;
mod propose;
mod reach;
mod server;

use classes::FoundClasses;
use http::ProbedService;
use paths::ProbedOwnPath;

/// What is examined.
pub(super) struct ProbeTarget<'a> {
    pub(super) url: &'a str,
    /// A view that answers with its request.
    pub(super) echo: Option<&'a str>,
    /// Paths that require a credential.
    pub(super) protected: &'a [String],
    pub(super) config: Option<&'a Config>,
    pub(super) user: Option<&'a str>,
}

/// What was found, for the proposals.
struct SeenService {
    chunked: Option<bool>,
    public: Vec<&'static str>,
    cors: bool,
    classes: FoundClasses,
}

/// Returns `host:port` of the service, for a configuration.
pub(super) fn server_of(url: &str) -> Result<String, CommandFailure> {
    Ok(ProbedService::parse(url)?.address.to_string())
}

/// Examines everything.
pub(super) fn run(
    target: &ProbeTarget<'_>,
    report: &mut DoctorReport,
) -> Result<(), CommandFailure> {
    let service = ProbedService::parse(target.url)?;
    let posts = if target.echo.is_some() { ", and two POST requests to the echo" } else { "" };
    let whose = match target.user.filter(|_| target.config.is_some()) {
        Some(user) => format!("and GET requests with what the identity forms give for {user}"),
        None => "nobody's credential".to_owned(),
    };
    let says =
        format!("GET and OPTIONS requests to {}{posts}; no password, {whose}", service.address);
    report.add(Weight::Note, "sends", says);
    look(&service, target, report).map_err(|error| {
        CommandFailure::Failed(format!("{} does not answer: {error}", service.address))
    })?
}

/// Examines the service. The outer error is the service's, the inner one is ours.
fn look(
    service: &ProbedService,
    target: &ProbeTarget<'_>,
    report: &mut DoctorReport,
) -> io::Result<Result<(), CommandFailure>> {
    let root = ["/".to_owned()];
    let protected = if target.protected.is_empty() { &root[..] } else { target.protected };
    let first = protected.first().map_or("/", String::as_str);
    let known = server::look(service, report)?;
    let reaches = echo::look(service, target.echo, known, report)?;
    reach::hosts(service, first, report)?;
    reach::clock(service, || SystemClock.now(), report)?;
    reach::bypass(service, report);
    let mut answering = Vec::new();
    for path in protected {
        answering.push((path, classes::look(service, path, report)?));
    }
    let classes = answering.iter().fold(FoundClasses::default(), |all, (_, there)| all.and(*there));
    paths::collisions(service, &own_paths(target.config), report)?;
    let public = paths::public(service, report)?;
    let cors = cors::look(service, first, report)?;
    if let Some(config) = target.config {
        match keys::here(config, target.user, report) {
            Ok(examined) => {
                for (path, there) in &answering {
                    keys::at_service(service, path, *there, config, &examined, report)?;
                }
            }
            Err(failure) => return Ok(Err(failure)),
        }
    }
    propose::remote_user(known, report);
    let seen = SeenService { chunked: reaches.chunked, public, cors, classes };
    propose::blocks(&service.address.to_string(), &seen, report);
    Ok(Ok(()))
}

fn own_paths(config: Option<&Config>) -> Vec<ProbedOwnPath> {
    let default = |own: OwnPath| {
        own.default_path().map(|path| ProbedOwnPath { path: path.to_owned(), own, is_alias: false })
    };
    let Some(config) = config else {
        return OwnPath::ALL.into_iter().filter_map(default).collect();
    };
    let mut seen: Vec<OwnPath> = Vec::new();
    let mut all = Vec::new();
    for entry in &config.paths {
        // The first of each is its own key of [paths] or its default; the others are aliases.
        let is_alias = seen.contains(&entry.own);
        seen.push(entry.own);
        // A pattern with `*` is not a path that can be requested.
        if entry.path.is_literal() {
            all.push(ProbedOwnPath { path: entry.path.to_string(), own: entry.own, is_alias });
        }
    }
    all
}
