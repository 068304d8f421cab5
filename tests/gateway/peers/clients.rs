//! Runs real clients as programs that carry out jobs: each job is one request, each result is the answer that the program
//! got.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use serde_json::{Value, json};

use super::servers::{path, venv};
use crate::support::django::root;

/// The clients that handle all jobs in one process.
pub(super) const PROGRAMS: [&str; 9] =
    ["curl-1.0", "curl-1.1", "curl-2", "requests", "httpx-1", "httpx-2", "fetch", "http", "http2"];

/// A body that a client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upload {
    /// This many bytes, with a `Content-Length`.
    Long(usize),
    /// This many bytes, without a `Content-Length`.
    Streamed(usize),
}

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) id: String,
    pub(super) method: &'static str,
    pub(super) url: String,
    pub(super) fields: Vec<(&'static str, &'static str)>,
    pub(super) body: Option<Upload>,
    /// Trailers of the request, for clients that can send them.
    pub(super) trailers: Option<(&'static str, &'static str)>,
}

/// The result of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) error: Option<String>,
    pub(super) status: u64,
    pub(super) interim: Vec<u64>,
    pub(super) fields: Vec<(String, String)>,
    /// The body itself, or its hash if it is longer than 2048 bytes.
    pub(super) body: String,
}

impl Job {
    pub(super) fn json(&self) -> Value {
        let (size, chunked) = match self.body {
            Some(Upload::Long(size)) => (Some(size), false),
            Some(Upload::Streamed(size)) => (Some(size), true),
            None => (None, false),
        };
        let trailers = self.trailers.map(|(name, value)| json!({name: value}));
        json!({
            "id": self.id, "method": self.method, "url": self.url, "headers": self.fields,
            "size": size, "chunked": chunked, "trailers": trailers,
        })
    }
}

impl Outcome {
    pub(super) fn from_json(value: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let list = |name: &str| value[name].as_array().cloned().unwrap_or_default();
        Self {
            error: value["error"].as_str().map(str::to_owned),
            status: value["status"].as_u64().unwrap_or(0),
            interim: list("interim").iter().filter_map(Value::as_u64).collect(),
            fields: list("headers")
                .iter()
                .map(|field| (text(&field[0]).to_ascii_lowercase(), text(&field[1])))
                .collect(),
            body: text(&value["body"]),
        }
    }
}

/// Carries out the jobs, one after the other.
pub(super) fn run(client: &str, jobs: &[Job]) -> Vec<Outcome> {
    match client {
        "curl-1.0" | "curl-1.1" | "curl-2" => curl(&client.replace("curl-", "--http"), jobs).0,
        "requests" | "httpx-1" | "httpx-2" => {
            script(Command::new(venv().join("bin/python")).arg("python.py").arg(client), jobs)
        }
        _ => script(Command::new("node").arg("node.mjs").arg(client), jobs),
    }
}

fn script(command: &mut Command, jobs: &[Job]) -> Vec<Outcome> {
    let jobs = jobs.iter().map(Job::json).collect();
    run_script(command, &jobs).iter().map(Outcome::from_json).collect()
}

/// Gives a program its jobs, and returns its results in the same order.
fn run_script(command: &mut Command, jobs: &Value) -> Vec<Value> {
    let mut child = command
        .current_dir(root().join("tests/peers/clients"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the client starts: scripts/setup-test installs it");
    let input = jobs.to_string();
    let mut stdin = child.stdin.take().unwrap();
    thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let results: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{command:?}: {error}\n{errors}"));
    let results = results.as_array().unwrap();
    assert_eq!(Some(results.len()), jobs.as_array().map(Vec::len), "{errors}");
    results.clone()
}

/// Returns the result of each stream, long poll or WebSocket.
pub(super) fn streams(jobs: &[Value]) -> Vec<Value> {
    let mut command = Command::new(venv().join("bin/python"));
    run_script(command.arg("streams.py"), &Value::from(jobs.to_vec()))
}

/// Runs one curl for all jobs, which keeps its connections; also returns how many it opened.
pub(super) fn curl(version: &str, jobs: &[Job]) -> (Vec<Outcome>, usize) {
    let folder = tempfile::tempdir().unwrap();
    let mut config = String::new();
    for (index, job) in jobs.iter().enumerate() {
        if index > 0 {
            config += "next\n";
        }
        config += &curl_job(version, job, index, folder.path());
    }
    let mut child = Command::new("curl")
        .args(["--disable", "--config", "-"])
        .env("PATH", path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("curl starts");
    child.stdin.take().unwrap().write_all(config.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let written = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = written.lines().collect();
    assert_eq!(lines.len(), jobs.len(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut connections = 0;
    let outcomes = lines
        .iter()
        .enumerate()
        .map(|(index, line)| {
            let (code, made) = line.split_once(' ').unwrap();
            connections += made.parse::<usize>().unwrap();
            curl_outcome(&jobs[index], code, index, folder.path())
        })
        .collect();
    (outcomes, connections)
}

fn curl_job(version: &str, job: &Job, index: usize, folder: &Path) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let folder = folder.display();
    // Servers without TLS speak HTTP/1.1.
    let version =
        if job.url.starts_with("http:") && version == "--http2" { "--http1.1" } else { version };
    let mut text = format!(
        "url = {}\nsilent\ninsecure\ngloboff\npath-as-is\nmax-time = 10\n{}\ndump-header = \"{folder}/{index}.head\"\n\
         output = \"{folder}/{index}.body\"\nwrite-out = \"%{{exitcode}} %{{num_connects}}\\n\"\n",
        quoted(&job.url),
        version.trim_start_matches('-'),
    );
    if !job.url.is_ascii()
        && let Some((_, target)) =
            job.url.split_once("//").and_then(|(_, rest)| rest.split_once('/'))
    {
        text += &format!("request-target = {}\n", quoted(&format!("/{target}")));
    }
    if job.method == "HEAD" {
        text += "head\n";
    } else {
        text += &format!("request = {}\n", quoted(job.method));
    }
    for (name, value) in &job.fields {
        text += &format!("header = {}\n", quoted(&format!("{name}: {value}")));
    }
    let size = match job.body {
        Some(Upload::Long(size)) => Some(size),
        Some(Upload::Streamed(size)) => {
            text += "header = \"Transfer-Encoding: chunked\"\n";
            Some(size)
        }
        None => None,
    };
    if let Some(size) = size {
        let file = format!("{folder}/{size}.upload");
        std::fs::write(&file, vec![b'u'; size]).unwrap();
        text += &format!("data-binary = \"@{file}\"\nheader = \"Content-Type:\"\n");
    }
    text
}

fn curl_outcome(job: &Job, code: &str, index: usize, folder: &Path) -> Outcome {
    let read =
        |kind: &str| std::fs::read(folder.join(format!("{index}.{kind}"))).unwrap_or_default();
    let head = String::from_utf8_lossy(&read("head")).into_owned();
    // For HEAD, curl writes the head as the body.
    let body = if job.method == "HEAD" { Vec::new() } else { read("body") };
    let mut outcome = Outcome {
        error: (code != "0").then(|| format!("curl {code}")),
        body: if body.len() < 2048 {
            body.iter().map(|byte| char::from(*byte)).collect()
        } else {
            format!(
                "{} bytes, {:x}",
                body.len(),
                BuildHasherDefault::<DefaultHasher>::default().hash_one(&body)
            )
        },
        ..Outcome::default()
    };
    for block in head.split("\r\n\r\n").filter(|block| block.starts_with("HTTP/")) {
        let mut lines = block.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        if outcome.status != 0 {
            outcome.interim.push(outcome.status);
        }
        outcome.status = status.unwrap_or(0);
        outcome.fields = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
    }
    outcome
}
