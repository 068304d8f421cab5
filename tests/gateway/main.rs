//! Tests the gateway as a process, in front of real servers, through a socket.
//!
//! All tests are in one binary, because linking the gateway's dependencies takes most of the build time. A line above each
//! module says what belongs in it. No test sleeps, uses a fixed port or needs another one to have run: each starts what it
//! needs through `support`, and waits for conditions with a deadline.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "test helpers may fail loudly, wait in short steps and read the environment"
)]

// axe-core on each of the gateway's pages.
mod accessibility;
// The page on which users manage their own account.
mod account;
// Aliases that answer as a service does, and the session cookie under the service's name.
mod aliases;
// Blocked addresses, users and sessions; what commands and the operator's API do.
mod blocks;
// The login page in a real browser.
mod browser;
// Bodies, WebSockets, timeouts and connections on both sides.
mod carry;
// Commands, with a running gateway and with a stopped one.
mod commands;
// Kills under load, and what survives them.
mod crash;
mod credentials;
// Second factors in a service's database: what the grants permit.
mod database_factors;
// Django's users on PostgreSQL and MariaDB.
mod databases;
// A scene for each detector: what is counted, audited and done.
mod detect;
// Location databases that are replaced at run time.
mod places;
// The Grafana dashboard, compared with the metrics.
mod dashboard;
// What a service's own tables say about its users besides passwords.
mod directory;
// Known browsers can sign in while others guess at an account.
mod devices;
// In front of a real Django service.
mod django;
// What the doctor finds and writes, and a gateway that runs with it.
mod doctor;
// The documentation's tables, compared with the code.
mod documentation;
// Explanations of what would happen to a request.
mod explain;
// What a newcomer meets: README, a build, the scripts.
mod first_minutes;
// Applications with a login form that the gateway fills in.
mod form_login;
// What the upstream receives, and what the client gets back from it.
mod forwarding;
// Framing, versions, interim answers and connections, as clients and servers use them.
mod framing;
// Guesses from many addresses at one account, and a flood of invented names.
mod guessing;
// The forms in which a service learns who is calling, in front of a real Django.
mod identity_forms;
// Credentials that Django issued before the gateway came: accepted, not forwarded, and revoked.
mod issuers;
// The detectors' actions, against the running gateway.
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
// A full hashing pool and a failing store: what still works and what does not.
mod outage;
// Which personal data is deleted, and when.
mod privacy;
// Real clients in front of the gateway, real servers behind it, nginx beside it.
mod peers;
// Projects with real packages, with the gateway and without.
mod projects;
// Special cases that real clients, services and proxies send.
mod real_clients;
// Rotation, races, reuse and verification of tokens.
mod refresh;
// Reloading another configuration at run time.
mod reload;
// A recorded trail, shown to the detectors of another configuration.
mod replay;
// Running under a supervisor: sockets that are handed over, the systemd units.
mod supervised;
// Second factors: sign-ins, refusals, the pages, step-up.
mod second_factor;
// Protections that no other module tests.
mod security;
// Notifications about findings: mail, webhooks, security events, and people's answers.
mod notify;
// Sessions, cookies, sign-out, cross-site requests, CORS.
mod sessions;
// Shadow mode: decisions are not enforced, and compared with the service's answers.
mod shadow;
// A route's own settings for proxying.
mod routes;
// Signing in, its page and its limits.
mod sign_in;
// Clients that stall or drip.
mod slow;
// What tests start and connect to.
mod support;
// Request heads: targets, framing, hosts, methods, limits.
mod targets;
// A detector's findings arrive: by mail, as a webhook, in the trail.
mod told;
// HTTPS, and HTTP/2 from a client's frames to an HTTP/1.1 upstream.
mod tls;
// The audit trail: killed, rotated, verified.
mod trail;
// The servers behind the gateway: sockets, TLS, HTTP/2, pools with failing servers.
mod upstreams;
