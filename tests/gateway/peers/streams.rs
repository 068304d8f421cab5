//! Tests what must arrive before its answer is complete: event streams, long polls, WebSockets; and fields that they carry.

use serde_json::{Value, json};

use super::clients::{self, Job};
use super::house;
use super::servers::Server;
use crate::support::gateway::Setup;
use crate::support::tls::Certificate;

/// A proxy that waited for the whole answer would wait forever: the second event is sent once the first has arrived.
#[test]
fn streams_and_long_polls_arrive_as_they_are_sent() {
    let house = house();
    let mut jobs = Vec::new();
    for (server, _) in &house.servers.all {
        for (way, base) in [("plain", house.base(false)), ("h2", house.base(true))] {
            for (kind, silence) in [("events", 0.0), ("poll", 0.3)] {
                jobs.push(json!({
                    "kind": kind, "url": format!("{base}/{server}"), "http2": way == "h2",
                    "mark": format!("{kind}{server}{way}"), "silence": silence,
                }));
            }
        }
    }
    for (job, seen) in jobs.iter().zip(clients::streams(&jobs)) {
        let right = match job["kind"].as_str() {
            Some("events") => json!([200, "text/event-stream", "data: first", "data: second"]),
            _ => json!([false, 200, "done\n"]),
        };
        assert_eq!(seen, right, "{job}");
    }
}

#[test]
fn websockets_of_real_servers_carry_what_is_sent() {
    let house = house();
    let mut jobs = Vec::new();
    for server in ["uvicorn", "node"] {
        for base in [house.direct(server), house.base(false), house.base(true)] {
            jobs.push(
                json!({"kind": "websocket", "url": format!("{base}/{server}"), "http2": false}),
            );
        }
    }
    for (job, seen) in jobs.iter().zip(clients::streams(&jobs)) {
        assert_eq!(seen, json!([true, true, true, true, 1000]), "{job}");
    }
}

/// The upstream's setting decides how long an answer may take, whatever else is limited.
#[test]
fn no_time_out_below_the_upstreams_ends_a_poll() {
    let house = house();
    let certificate = Certificate::make();
    let gateway = Setup::new(house.servers.address("node"))
        .route("name = \"node\"\npath = \"/node/\"\naccess = \"public\"")
        .upstream("read_timeout = \"20s\"\nconnect_timeout = \"1s\"\nwrite_timeout = \"1s\"")
        .listen(
            "https = [\"127.0.0.1:0\"]\ncertificate_file = \"cert.pem\"\nprivate_key_file = \"key.pem\"\n\
             head_timeout = \"1s\"\nkeepalive_timeout = \"1s\"\nread_timeout = \"1s\"\nwrite_timeout = \"1s\"",
        )
        .file("cert.pem", certificate.pem.as_bytes())
        .file("key.pem", certificate.key.as_bytes())
        .start();
    let (plain, tls) = (
        format!("http://{}/node", gateway.http),
        format!("https://{}/node", gateway.https.unwrap()),
    );
    let jobs = [("plain", plain, false), ("h2", tls, true)].map(|(way, url, http2)| {
        json!({"kind": "poll", "url": url, "http2": http2, "mark": format!("long{way}"), "silence": 2.5})
    });
    for seen in clients::streams(&jobs) {
        assert_eq!(seen, json!([false, 200, "done\n"]));
    }
}

/// W3C Trace Context section 4; a request id is accepted only from a trusted proxy.
#[test]
fn a_trace_is_carried_to_every_server_and_a_strangers_request_id_is_not() {
    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let house = house();
    let jobs: Vec<Job> = house
        .servers
        .all
        .iter()
        .map(|(server, _)| Job {
            id: (*server).into(),
            method: "GET",
            url: format!("{}/{server}/seen", house.base(true)),
            fields: vec![
                ("traceparent", TRACE),
                ("tracestate", "a=1,b=2"),
                ("x-request-id", "theirs-12345"),
            ],
            body: None,
            trailers: None,
        })
        .collect();
    for client in ["requests", "fetch", "http2"] {
        for (job, outcome) in jobs.iter().zip(clients::run(client, &jobs)) {
            assert_eq!(outcome.status, 200, "{client}, {}: {outcome:?}", job.id);
            let seen: Value = serde_json::from_str(&outcome.body).unwrap();
            assert_eq!(seen["traceparent"], TRACE, "{client}, {}", job.id);
            assert_eq!(seen["tracestate"], "a=1,b=2", "{client}, {}", job.id);
            let id = seen["x-request-id"].as_str().unwrap();
            assert!(!id.is_empty() && id != "theirs-12345", "{client}, {}: {id}", job.id);
        }
    }
}

/// HAProxy in front of the gateway, with HTTP on both sides: what passes through both is what the server sent.
#[test]
fn haproxy_in_front_changes_nothing() {
    let house = house();
    let folder = tempfile::tempdir().unwrap();
    let haproxy = Server::start("haproxy", |address| {
        super::servers::haproxy(folder.path(), address, house.gateway.http)
    });
    let job = |base: &str, server: &str, path: &str, method, body| Job {
        id: format!("{server}/{path}"),
        method,
        url: format!("{base}/{server}/{path}"),
        fields: Vec::new(),
        body,
        trailers: None,
    };
    for (server, _) in &house.servers.all {
        let jobs = |base: &str| {
            vec![
                job(base, server, "hello", "GET", None),
                job(base, server, "hello", "HEAD", None),
                job(base, server, "status/204", "GET", None),
                job(base, server, "chunked", "GET", None),
                job(base, server, "download", "GET", None),
                job(base, server, "echo", "POST", Some(clients::Upload::Long(100_000))),
                job(base, server, "echo", "POST", Some(clients::Upload::Streamed(100_000))),
                job(base, server, "names/%C7%D1%B1%DB.txt", "GET", None),
            ]
        };
        let direct = clients::curl("--http1.1", &jobs(&house.direct(server))).0;
        let (behind, connections) =
            clients::curl("--http1.1", &jobs(&format!("http://{}", haproxy.address)));
        for ((job, direct), behind) in jobs("").iter().zip(direct).zip(behind) {
            assert_eq!(behind.error, None, "{}", job.id);
            assert_eq!((behind.status, &behind.body), (direct.status, &direct.body), "{}", job.id);
        }
        assert_eq!(connections, 1, "{server}: HAProxy keeps the client's connection");
    }
}

/// `ab` speaks HTTP/1.0, with keep-alive and without.
#[test]
fn apache_bench_loses_no_request() {
    let house = house();
    let url = format!("{}/node/hello", house.base(false));
    for (keep, kept) in [(false, "0"), (true, "300")] {
        let mut command = std::process::Command::new("ab");
        command.args(["-q", "-n", "300", "-c", "4", "-s", "20"]);
        let output = command.args(keep.then_some("-k")).arg(&url).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let number = |label: &str| {
            text.lines().find_map(|line| Some(line.strip_prefix(label)?.trim().to_owned()))
        };
        assert_eq!(number("Complete requests:").as_deref(), Some("300"), "{text}");
        assert_eq!(number("Failed requests:").as_deref(), Some("0"), "{text}");
        assert_eq!(number("Non-2xx responses:"), None, "{text}");
        if keep {
            assert_eq!(number("Keep-Alive requests:").as_deref(), Some(kept), "{text}");
        }
    }
}
