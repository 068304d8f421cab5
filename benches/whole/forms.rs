//! Measures each identity form, each issuer and shadow mode beside a plain request: the same gateway, a session cookie, and
//! only the headers of `[identity]`.
//!
//! Before a line is measured, the upstream reports once what it received, so that each line is known to measure what it
//! claims. The upstream reports it again while the service's database is locked. A request that needed the database would
//! be refused then, so what is measured is the steady state: credentials are cached, and so is the identity that is
//! forwarded.

use std::net::SocketAddr;

use super::gateway::Gateway;
use super::process::Process;
use super::service::{self, Form, Issued, Service};
use super::{Extent, load, pairs, report};

/// Prints a line for each form, issuer and mode.
pub(crate) fn compare(extent: Extent, upstream: SocketAddr, threads: usize) {
    let (gateway, service) = Gateway::start_with_forms(upstream, threads);
    let scene = Scene { process: gateway.process(), service, extent };
    let (kim, ann) = (gateway.cookie_of("kim"), gateway.cookie_of("ann"));
    let (kim, ann) = (("Cookie", kim.as_str()), ("Cookie", ann.as_str()));
    report::forms_section(extent);
    scene.line("control: the same, twice", kim, ("app", kim), &["x-user-id: 2\r\n"]);
    for Form { name, user, gets, .. } in service::FORMS {
        let (caller, id) =
            if user == "ann" { (ann, "x-user-id: ann\r\n") } else { (kim, "x-user-id: 2\r\n") };
        scene.line(&format!("form {name}"), caller, (name, caller), &[id, gets]);
    }
    for Issued { issuer, header, value } in &service::issued() {
        let credential = (*header, value.as_str());
        let gets = ["x-user-id: 2\r\n", "x-user-name: kim\r\n"];
        scene.line(&format!("issuer {issuer}"), kim, ("app", credential), &gets);
    }
    // In shadow mode nothing is added, but the gateway's own cookie is removed all the same.
    scene.line("shadowed route", kim, ("shadowed", kim), &["cookie: theme=dark\r\n"]);
}

struct Scene<'a> {
    process: &'a Process,
    service: Service,
    extent: Extent,
}

impl Scene<'_> {
    /// Compares a plain request of the caller with a request with the credential on the route.
    fn line(
        &self,
        name: &str,
        caller: (&str, &str),
        (route, credential): (&str, (&str, &str)),
        gets: &[&str],
    ) {
        let seen = load::request(&format!("/{route}/seen"), Some(credential));
        for locked in [false, true] {
            let ask = || load::fetch(self.process.address(), &seen);
            let got = if locked { self.service.locked(ask) } else { ask() }.to_ascii_lowercase();
            assert!(gets.iter().all(|part| got.contains(part)), "{name}: {gets:?}, but {got}");
            assert_eq!(got.contains("x-user-id: "), route != "shadowed", "{name}: {got}");
        }
        let plain = load::request("/app/small", Some(caller));
        let with = load::request(&format!("/{route}/small"), Some(credential));
        let pairs = pairs(self.extent, (self.process, &plain), (self.process, &with));
        report::line(name, &pairs);
    }
}
