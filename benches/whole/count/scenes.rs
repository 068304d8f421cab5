//! Defines the counted scenes: the same bytes to the bare pass-through and to the gateway.

use std::path::Path;

use super::callgrind::{self, Counter};
use super::http2::{Certificate, Client};
use super::table::Table;
use super::{count, growth};
use crate::gateway::{self, AccessLog, Gateway};
use crate::load::{self, Connections, Load};
use crate::process::Process;
use crate::service::{self, Service};

/// The number of different tokens of one service, which are sent in turn.
const TOKENS: u32 = 10_000;
/// The number of forged tokens: more than are counted, so that each is sent once.
const FORGED: u32 = 5_000;
const FORGERS_KEY: &str = "somebody-elses-key-of-fifty-characters-0123456789abcdef";
/// The length of a POST's body.
const BODY: usize = 1_024;

pub(super) struct Scenes<'a> {
    upstream: &'a Process,
    table: &'a mut Table,
}

impl<'a> Scenes<'a> {
    pub(super) const fn new(upstream: &'a Process, table: &'a mut Table) -> Self {
        Self { upstream, table }
    }

    /// Counts the one request that CI checks, and the same bytes to the bare pass-through.
    pub(super) fn checked(&mut self) {
        let gateway = self.gateway(AccessLog::Off);
        let load = small(Some(gateway.bearer()));
        self.line(super::CHECKED, None, &gateway, &load);
        let folder = tempfile::tempdir().unwrap();
        let process = self.pass_through(folder.path(), &[]);
        let mut counter = Counter::of(&process, folder.path());
        let mut connections = Connections::open(process.address(), 1);
        let drive = |times| connections.drive(&load, times);
        let counted = count(super::BARE, &mut counter, drive);
        self.table.add(super::BARE, None, counted);
    }

    pub(super) fn all(&mut self) {
        ["plain", "logged", "issuer", "http2"].into_iter().for_each(|scene| self.one(scene));
        growth::ALL.into_iter().for_each(|scene| self.one(scene));
    }

    /// Counts one scene: requests that a single gateway answers; or how the cost grows with one thing.
    pub(super) fn one(&mut self, scene: &str) {
        match scene {
            "plain" => self.plain(),
            "logged" => self.logged(),
            "issuer" => self.issuer(),
            "http2" => self.http2(),
            what => growth::one(self.upstream, what, self.table),
        }
    }

    fn plain(&mut self) {
        let plain = self.gateway(AccessLog::Off);
        self.bare(&plain);
        let public = Load::one(load::request("/public/small", None));
        self.line("public route", Some("bare"), &plain, &public);
        self.line("own token", Some("bare, token"), &plain, &small(Some(plain.bearer())));
        self.line("session cookie", Some("bare"), &plain, &small(Some(plain.cookie())));
        let large = Load::one(load::request("/app/large", Some(plain.bearer())));
        self.line("own token, 100 KB answer", Some("bare, 100 KB answer"), &plain, &large);
        let post = Load::one(load::post("/app/small", plain.bearer(), BODY));
        self.line("own token, 1 KB post", Some("bare, 1 KB post"), &plain, &post);
    }

    fn logged(&mut self) {
        let logged = self.gateway(AccessLog::On);
        let load = small(Some(logged.bearer()));
        self.line("own token, access log", Some("bare, token"), &logged, &load);
        let load = small(Some(logged.cookie()));
        self.line("session cookie, access log", Some("bare"), &logged, &load);
    }

    fn bare(&mut self, gateway: &Gateway) {
        let folder = tempfile::tempdir().unwrap();
        let process = self.pass_through(folder.path(), &[]);
        let mut counter = Counter::of(&process, folder.path());
        for (name, request) in [
            ("bare", load::request("/public/small", None)),
            ("bare, token", load::request("/app/small", Some(gateway.bearer()))),
            ("bare, 100 KB answer", load::request("/app/large", Some(gateway.bearer()))),
            ("bare, 1 KB post", load::post("/app/small", gateway.bearer(), BODY)),
        ] {
            let load = Load::one(request);
            let mut connections = Connections::open(process.address(), 1);
            let counted = count(name, &mut counter, |times| connections.drive(&load, times));
            self.table.add(name, None, counted);
        }
    }

    fn issuer(&mut self) {
        let folder = tempfile::tempdir().unwrap();
        let _service = Service::make(folder.path());
        let address = self.upstream.address();
        let gateway =
            Gateway::start_counted(address, folder, AccessLog::Off, "", service::SIMPLEJWT);
        let with = |token: &String| load::request("/app/small", Some(("Authorization", token)));
        let tokens = service::access_tokens(TOKENS, service::KEY);
        let requests: Vec<_> = tokens.iter().map(with).collect();
        let hot = Load::one(requests.first().expect("a token").clone());
        self.line("issuer's token", Some("bare, token"), &gateway, &hot);
        let load = Load { requests, status: 200 };
        Connections::open(gateway.process().address(), 1).drive(&load, load.requests.len());
        self.line("issuer's token, 10 000 in turn", Some("bare, token"), &gateway, &load);
        let forged = service::access_tokens(FORGED, FORGERS_KEY);
        let load = Load { requests: forged.iter().map(with).collect(), status: 401 };
        self.line("forged token, each another", Some("bare, token"), &gateway, &load);
    }

    fn http2(&mut self) {
        let folder = tempfile::tempdir().unwrap();
        let certificate = Certificate::make(folder.path());
        let path = folder.path().to_owned();
        gateway::add_user(&path);
        let address = self.upstream.address();
        let gateway =
            Gateway::start_counted(address, folder, AccessLog::Off, gateway::TLS, gateway::USERS);
        let bearer = gateway.bearer();

        let own = tempfile::tempdir().unwrap();
        let bare = self.pass_through(own.path(), &[path.to_str().unwrap()]);
        let mut counter = Counter::of(&bare, own.path());
        let mut client = Client::connect(bare.address(), &certificate);
        let drive = |times| client.drive("/app/small", bearer, times);
        let counted = count("bare, HTTP/2 over TLS", &mut counter, drive);
        self.table.add("bare, HTTP/2 over TLS", None, counted);
        drop(bare);

        let mut counter = Counter::of(gateway.process(), &path);
        let mut client = Client::connect(gateway.https(), &certificate);
        let drive = |times| client.drive("/app/small", bearer, times);
        let counted = count("own token, HTTP/2 over TLS", &mut counter, drive);
        let beside = Some("bare, HTTP/2 over TLS");
        self.table.add("own token, HTTP/2 over TLS", beside, counted);
    }

    fn gateway(&self, access_log: AccessLog) -> Gateway {
        let folder = tempfile::tempdir().unwrap();
        gateway::add_user(folder.path());
        Gateway::start_counted(self.upstream.address(), folder, access_log, "", gateway::USERS)
    }

    fn pass_through(&self, folder: &Path, more: &[&str]) -> Process {
        let program = std::env::current_exe().unwrap();
        let upstream = self.upstream.address().to_string();
        let mut command = callgrind::command(&program, folder);
        Process::started_by(command.args(["pass-through", "1", &upstream]).args(more))
    }

    fn line(
        &mut self,
        name: &'static str,
        beside: Option<&'static str>,
        gateway: &Gateway,
        load: &Load,
    ) {
        let counted = gateway_count(name, gateway, load);
        self.table.add(name, beside, counted);
    }
}

/// Returns the instructions of one request to the gateway.
pub(super) fn gateway_count(name: &str, gateway: &Gateway, load: &Load) -> u64 {
    let mut counter = Counter::of(gateway.process(), gateway.folder());
    let mut connections = Connections::open(gateway.process().address(), 1);
    count(name, &mut counter, |times| connections.drive(load, times))
}

/// Returns the load of a request with this credential and a small answer.
fn small(credential: Option<(&str, &str)>) -> Load {
    Load::one(load::request("/app/small", credential))
}
