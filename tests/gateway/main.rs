//! The gateway as a process, in front of real servers, seen through a socket.
//!
//! One binary, because linking the gateway's dependencies once is what the build time is spent on. Each module says in one
//! line what belongs in it. No test sleeps, takes a fixed port or needs another one to have run: each starts what it needs
//! through `support`, and waits for conditions with a deadline.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "test helpers may fail loudly, wait in short steps and read the environment"
)]

// axe-core on each of our pages.
mod accessibility;
// The page on which people see to what is theirs.
mod account;
// Aliases that answer in a service's own words, and the session cookie under its name.
mod aliases;
// Who is refused for a time: addresses, users, sessions; what commands and the operator's API do.
mod blocks;
// The login page in a real browser.
mod browser;
// Bodies, WebSockets, timeouts and connections on both sides.
mod carry;
// What the command line does to a running gateway and to a stopped one.
mod commands;
// Killed under load: what survives.
mod crash;
mod credentials;
// Second factors in such a database: what the grant opens.
mod database_factors;
// Django's users on PostgreSQL and MariaDB.
mod databases;
// A scene for each detector: what is counted, audited and done.
mod detect;
// Databases of places that are replaced while it runs.
mod places;
// The dashboard for Grafana, held to the metrics.
mod dashboard;
// What a service's own tables say of its users beside their passwords.
mod directory;
// Browsers that are known go on while others guess at an account.
mod devices;
// In front of a real Django service.
mod django;
// What the doctor finds out and writes, and a gateway that runs with it.
mod doctor;
// The documentation's tables, held to the code.
mod documentation;
// What a request would meet, told beforehand.
mod explain;
// What a newcomer meets: README, a build, the scripts.
mod first_minutes;
// Applications with a login form, which the gateway fills in.
mod form_login;
// What the upstream receives, and what the client gets back from it.
mod forwarding;
// Framing, versions, interim answers and connections, as clients and servers use them.
mod framing;
// Guesses from everywhere at one account, and a flood of invented names.
mod guessing;
// The forms in which a service is told who is calling, in front of real Django.
mod identity_forms;
// What Django issued before the gateway came: accepted, kept from Django, and taken back.
mod issuers;
// What detectors do: the ladder of actions against the running gateway.
mod ladder;
// The sources themselves: imports, the framework's name, file sizes.
mod layers;
// The admin listener, the log, starting and stopping.
mod operate;
// A simulated month of ordinary life and of thefts, shown to the detectors.
mod month;
// Sessions of machines: personal access tokens.
mod personal_tokens;
// The operator's page in a browser, and the lists behind it.
mod operator_page;
// The hashing pool is full, the store fails: what goes on and what does not.
mod outage;
// What is forgotten of people, and when.
mod privacy;
// Real clients before the gateway, real servers behind it, nginx beside it.
mod peers;
// Projects of real packages, with the gateway and without.
mod projects;
// What real clients, services and proxies send besides the plain case.
mod real_clients;
// Rotation, races, reuse and verification of tokens.
mod refresh;
// Another configuration while it runs.
mod reload;
// A recorded trail, shown to the detectors of another configuration.
mod replay;
// Under a supervisor: sockets that are handed over, the units for systemd.
mod supervised;
// A second factor: sign-ins, what is refused, the pages, step-up.
mod second_factor;
// Protections that no other module shows.
mod security;
// Who is told of what was found: mail, webhooks, security events, and what people answer.
mod notify;
// Sessions, cookies, sign-out, cross-site requests, CORS.
mod sessions;
// Before the switch: decided, not enforced, and compared with what the service answers.
mod shadow;
// What one route says of how its requests are carried.
mod routes;
// Signing in, its page and its limits.
mod sign_in;
// Clients that stall or drip.
mod slow;
// What tests start and speak to.
mod support;
// Request heads: targets, framing, hosts, methods, limits.
mod targets;
// What a detector finds arrives: by mail, as a webhook, in the trail.
mod told;
// HTTPS, and HTTP/2 from a client's frames to an HTTP/1.1 upstream.
mod tls;
// The audit trail: killed, rotated, verified.
mod trail;
// The servers behind the gateway: sockets, TLS, HTTP/2, pools of which some fail.
mod upstreams;
