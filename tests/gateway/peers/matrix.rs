//! Compares each scene, through each client, with each server.

use std::collections::BTreeMap;
use std::thread;

use serde_json::Value;

use super::clients::{self, Job, Outcome, PROGRAMS, Upload};
use super::{House, house};
use crate::support::browser::Browser;
use crate::support::django::root;

/// Fields that describe the gateway's connection, or that it adds for browsers, whatever the service's own say.
const OF_A_CONNECTION: [&str; 8] = [
    "connection",
    "keep-alive",
    "transfer-encoding",
    "trailer",
    "date",
    "strict-transport-security",
    "x-request-id",
    // PHP's own server reports the host, with the port, of the request.
    "host",
];

const MEGABYTE: usize = 1024 * 1024;
const MODIFIED: (&str, &str) = ("If-Modified-Since", "Thu, 01 Jan 2026 00:00:00 GMT");

/// A name, a method, the path after the server's name, fields, a body.
type Scene = (
    &'static str,
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
    Option<Upload>,
);

const SCENES: &[Scene] = &[
    ("get", "GET", "hello", &[], None),
    ("head", "HEAD", "hello", &[], None),
    ("missing", "GET", "nothing", &[], None),
    ("query", "GET", "hello?a=b&a=%5Bc%5D&d=", &[], None),
    ("post", "POST", "echo", &[("Content-Type", "text/plain")], Some(Upload::Long(5))),
    ("post nothing", "POST", "echo", &[], Some(Upload::Long(0))),
    ("post 1 MiB", "POST", "echo", &[], Some(Upload::Long(MEGABYTE))),
    ("stream 5 bytes", "POST", "echo", &[], Some(Upload::Streamed(5))),
    ("stream 1 MiB", "POST", "echo", &[], Some(Upload::Streamed(MEGABYTE))),
    ("put", "PUT", "echo", &[], Some(Upload::Long(7))),
    ("delete", "DELETE", "echo", &[], None),
    ("204", "GET", "status/204", &[], None),
    ("304", "GET", "status/304", &[], None),
    ("418", "GET", "status/418", &[], None),
    ("conditional", "GET", "hello", &[MODIFIED], None),
    ("conditional head", "HEAD", "hello", &[MODIFIED], None),
    ("whole", "GET", "range", &[], None),
    ("range", "GET", "range", &[("Range", "bytes=10-19")], None),
    ("range to the end", "GET", "range", &[("Range", "bytes=990-")], None),
    ("range beyond", "GET", "range", &[("Range", "bytes=5000-")], None),
    ("redirect", "GET", "redirect", &[], None),
    ("without a length", "GET", "chunked", &[], None),
    ("head without a length", "HEAD", "chunked", &[], None),
    ("download", "GET", "download", &[], None),
    ("UTF-8 name", "GET", "names/%ED%95%9C%EA%B8%80.txt", &[], None),
    ("EUC-KR name", "GET", "names/%C7%D1%B1%DB.txt", &[], None),
    ("get again", "GET", "hello", &[], None),
];

/// Scenes for one server or for some clients.
const NODE: &[Scene] = &[
    ("early hints", "GET", "early", &[], None),
    ("trailers", "POST", "trailers", &[], Some(Upload::Streamed(5))),
];
const EXPECT: Scene =
    ("expect", "POST", "echo", &[("Expect", "100-continue")], Some(Upload::Long(100_000)));
/// A path that is sent as it is written, which only curl can do.
const RAW: Scene = ("raw UTF-8 name", "GET", "names/한글.txt", &[], None);

/// Requests that the gateway refuses while they are still being sent (RFC 9112 section 9.6): path, field, body, status.
const REFUSED: &[(&str, (&str, &str), Upload, u64)] = &[
    ("private/up", ("Content-Type", "text/plain"), Upload::Long(MEGABYTE), 401),
    ("private/up", ("Content-Type", "text/plain"), Upload::Streamed(MEGABYTE), 401),
    ("login", ("Content-Type", "application/json"), Upload::Long(MEGABYTE), 413),
    ("login", ("Content-Type", "application/json"), Upload::Streamed(MEGABYTE), 413),
];

fn scenes(client: &str, server: &str) -> Vec<Scene> {
    let mut scenes = SCENES.to_vec();
    if server == "node" {
        scenes.extend(NODE);
    }
    if matches!(client, "curl-1.1" | "http" | "http2") {
        scenes.push(EXPECT);
    }
    if client == "curl-1.1" {
        scenes.push(RAW);
    }
    // A page sees neither redirects nor interim answers.
    let hidden = ["redirect", "early hints"];
    scenes.retain(|scene| client != "chromium" || !hidden.contains(&scene.0));
    // Python's http.client takes a 103 for the answer, and the answer for that of the next request.
    scenes.retain(|scene| client != "requests" || scene.0 != "early hints");
    // Streaming is impossible without chunks.
    scenes.retain(|scene| client != "curl-1.0" || !matches!(scene.4, Some(Upload::Streamed(_))));
    scenes
}

fn job(id: String, base: &str, server: &str, scene: &Scene) -> Job {
    let (name, method, path, fields, body) = *scene;
    Job {
        id,
        method,
        url: format!("{base}/{server}/{path}"),
        fields: fields.to_vec(),
        body,
        trailers: (name == "trailers").then_some(("X-Late", "1")),
    }
}

fn refused(
    house: &House,
    client: &str,
    way: &str,
    path: &str,
    field: (&'static str, &'static str),
    body: Upload,
    status: u64,
) -> Job {
    Job {
        id: format!("{client}, {way}, {path}, {body:?}: {status}"),
        method: "POST",
        url: format!("{}/{path}", house.base(way == "TLS")),
        fields: vec![field],
        body: Some(body),
        trailers: None,
    }
}

/// Returns the part of a client's answer that is compared. The framework sends HTTP/2 clients no interim answers
/// (pingora-core 0.9.1, v2/server.rs, `write_response_header`), and neither does nginx before 1.29.
fn essence(client: &str, outcome: &Outcome) -> Outcome {
    let mut essence = outcome.clone();
    essence.fields.retain(|(name, _)| !OF_A_CONNECTION.contains(&name.as_str()));
    essence.fields.sort();
    // A client that has begun to send needs no 100 (RFC 9110 section 10.1.1), and HTTP/1.0 gets none (section 15.2).
    let is_told = matches!(client, "curl-1.1" | "http");
    essence.interim.retain(|status| *status != 100 && is_told);
    // No trailer of a request reaches a service (docs/security.md, R18).
    essence.body = essence.body.replace("5 {\"x-late\":\"1\"}", "5 {}");
    essence
}

/// Returns how a client connects to the gateway: some over plain HTTP and some over TLS, as both would take twice the time.
fn ways(client: &str) -> &'static [&'static str] {
    match client {
        "curl-1.0" | "requests" | "http" => &["plain"],
        "curl-1.1" => &["plain", "TLS"],
        _ => &["TLS"],
    }
}

/// Returns all cells of one client: how many scenes of each server were equal, and which were not.
fn compare(
    house: &House,
    client: &str,
    run: impl Fn(&[Job]) -> Vec<Outcome>,
) -> (BTreeMap<&'static str, (usize, usize)>, Vec<String>) {
    let mut pairs = Vec::new();
    for (server, _) in &house.servers.all {
        let direct = house.direct(server);
        for scene in scenes(client, server) {
            let name = |way: &str| format!("{client}, {way}, {server}, {}", scene.0);
            pairs.push((*server, job(name("direct"), &direct, server, &scene)));
            for way in ways(client) {
                let base = house.base(*way == "TLS");
                pairs.push((*server, job(name(way), &base, server, &scene)));
            }
        }
    }
    let compared = pairs.len();
    for way in ways(client) {
        for (path, field, body, status) in REFUSED {
            if client != "curl-1.0" || matches!(body, Upload::Long(_)) {
                let job = refused(house, client, way, path, *field, *body, *status);
                pairs.push(("refused", job));
            }
        }
    }
    let (servers, jobs): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    let outcomes: Vec<Outcome> =
        run(&jobs).iter().map(|outcome| essence(client, outcome)).collect();
    assert_eq!(outcomes.len(), jobs.len(), "{client}");
    let (mut cells, mut unequal) = (BTreeMap::new(), Vec::new());
    for (job, outcome) in jobs.iter().zip(&outcomes).skip(compared) {
        let (equal, all) = cells.entry("refused").or_insert((0, 0));
        *all += 1;
        if outcome.error.is_none() && job.id.ends_with(&outcome.status.to_string()) {
            *equal += 1;
        } else {
            unequal.push(format!("{}\n  {outcome:?}", job.id));
        }
    }
    let each = 1 + ways(client).len();
    for ((servers, jobs), outcomes) in
        servers[..compared].chunks(each).zip(jobs.chunks(each)).zip(outcomes.chunks(each))
    {
        let direct = &outcomes[0];
        for (job, outcome) in jobs.iter().zip(outcomes).skip(1) {
            let (equal, all) = cells.entry(servers[0]).or_insert((0, 0));
            *all += 1;
            // PHP's own server sends a body after HEAD, and crashes for some paths: the clients' results then prove
            // nothing.
            let is_spoiled = servers[0] == "php" && direct.error.is_some();
            if if is_spoiled { outcome.error.is_none() } else { outcome == direct } {
                *equal += 1;
            } else {
                unequal.push(format!("{}\n  {direct:?}\n  {outcome:?}", job.id));
            }
        }
    }
    (cells, unequal)
}

/// Runs the jobs in a browser. A page fetches from its own origin, so the jobs of one origin share a page.
fn in_a_browser(browser: &Browser, jobs: &[Job]) -> Vec<Outcome> {
    let script = std::fs::read_to_string(root().join("tests/peers/clients/browser.js")).unwrap();
    let mut origins: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, job) in jobs.iter().enumerate() {
        // The scheme, two slashes, and the authority.
        let end = job.url.match_indices('/').nth(2).expect("a path").0;
        origins.entry(&job.url[..end]).or_default().push(index);
    }
    let mut outcomes = vec![Outcome::default(); jobs.len()];
    for (origin, indices) in origins {
        let all: Vec<Value> = indices.iter().map(|index| jobs[*index].json()).collect();
        let page = jobs[indices[0]].url[origin.len()..].split('/').nth(1).unwrap();
        browser.open(&format!("{origin}/{page}/hello"));
        let results = browser.run(&format!(
            "return (async () => {{ const jobs = {};\n{script} }})()",
            Value::from(all)
        ));
        for (index, result) in indices.iter().zip(results.as_array().unwrap()) {
            outcomes[*index] = Outcome::from_json(result);
        }
    }
    outcomes
}

#[test]
fn a_client_gets_what_it_gets_from_the_server_itself() {
    let house = house();
    let columns: Vec<&str> =
        house.servers.all.iter().map(|(name, _)| *name).chain(["refused"]).collect();
    let cell = |text: &str| format!("{text:>10}");
    let head: String = columns.iter().map(|name| cell(name)).collect();
    let mut table = vec![format!("{:<10}{head}", "")];
    let mut unequal = Vec::new();
    let compared: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = PROGRAMS
            .iter()
            .map(|client| {
                let house = &house;
                scope.spawn(move || {
                    (*client, compare(house, client, |jobs| clients::run(client, jobs)))
                })
            })
            .collect();
        let browser = Browser::of_a_test(house.folder());
        let chromium =
            ("chromium", compare(&house, "chromium", |jobs| in_a_browser(&browser, jobs)));
        let programs = threads.into_iter().map(|thread| thread.join().unwrap());
        programs.chain([chromium]).collect()
    });
    for (client, (cells, differences)) in compared {
        let row = columns.iter().map(|name| {
            let (equal, all) = cells[name];
            cell(&format!("{equal}/{all}"))
        });
        table.push(format!("{client:<10}{}", row.collect::<String>()));
        unequal.extend(differences);
    }
    eprintln!("scenes equal to the server's own answer\n{}", table.join("\n"));
    assert!(unequal.is_empty(), "{} differ:\n{}", unequal.len(), unequal.join("\n"));
}
