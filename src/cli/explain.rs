//! `doorwarden explain`: shows what the running gateway would do with a request or a token, and why.
//!
//! A token on the command line ends up in the shell's history and in the list of processes, so a file or standard input is
//! safer.

use std::io::Read as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::ArgGroup;
use serde_json::{Map, Value, json};

use super::config_file::ConfigFile;
use super::list::plain;
use super::operate;
use crate::command::{CommandFailure, load, say};
use crate::config::Config;

/// The most bytes of a head or a token that are read.
const MAX_INPUT: u64 = 128 * 1024;

/// `doorwarden explain`
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("what").required(true).args(["line", "request", "token_file", "token"]))]
pub(super) struct Explain {
    #[command(flatten)]
    file: ConfigFile,
    /// The request line, such as 'GET /admin/ HTTP/1.1'.
    line: Option<String>,
    /// A header field, such as 'Host: app.example'; may be repeated. Without a Host field, a host of the gateway is used.
    #[arg(short = 'H', long = "header", value_name = "FIELD", conflicts_with_all = ["request", "token_file", "token"])]
    headers: Vec<String>,
    /// A file with a whole request head; - is standard input.
    #[arg(long, value_name = "FILE")]
    request: Option<PathBuf>,
    /// The address that the connection comes from.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    client: IpAddr,
    /// The connection uses TLS.
    #[arg(long)]
    tls: bool,
    /// A file with nothing but a token or a cookie's value; - is standard input.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The token itself: it stays in the shell's history, so prefer --token-file.
    #[arg(long)]
    token: Option<String>,
    /// Print the whole answer as JSON.
    #[arg(long)]
    json: bool,
}

/// Asks the gateway, and prints the answer.
pub(super) fn run(explain: &Explain) -> Result<(), CommandFailure> {
    let config = load(&explain.file.path()?)?;
    let question = question(explain, &default_host(&config))?;
    let asked = operate::ask(&config, "POST /explain", &question.to_string());
    let answer = match asked {
        Ok(Some(answer)) => answer,
        Ok(None) => {
            return Err(CommandFailure::Unavailable(
                "no gateway runs with this configuration, and explain asks a running one".into(),
            ));
        }
        Err(CommandFailure::Failed(text)) => return Err(CommandFailure::Unavailable(text)),
        Err(other) => return Err(other),
    };
    if explain.json {
        say(format_args!("{answer:#}"))?;
    } else {
        print(&answer)?;
    }
    match answer.get("decision").and_then(Value::as_str) {
        Some("forward" | "serve" | "good") => Ok(()),
        Some("refuse") => Err(CommandFailure::Refused),
        _ => Err(CommandFailure::Unavailable(
            "the decision depends on a password, which is not checked".into(),
        )),
    }
}

/// Returns a host of the gateway for a request that names none, because HTTP/1.1 requires one.
fn default_host(config: &Config) -> String {
    let exact = |host: &&String| !host.starts_with('*');
    let of_routes = config.routes.iter().flat_map(|route| &route.hosts).find(exact);
    let listener = || config.listen.http.iter().chain(&config.listen.https).next();
    of_routes.cloned().or_else(|| listener().map(ToString::to_string)).unwrap_or_default()
}

fn question(explain: &Explain, host: &str) -> Result<Value, CommandFailure> {
    let token = match (&explain.token, &explain.token_file) {
        (Some(token), _) => Some(token.clone()),
        (None, Some(file)) => Some(read(file)?),
        (None, None) => None,
    };
    if let Some(token) = token {
        return Ok(json!({"token": token.trim()}));
    }
    let head = match (&explain.line, &explain.request) {
        (Some(line), _) => {
            let line = if line.split(' ').count() == 2 {
                format!("{line} HTTP/1.1")
            } else {
                line.clone()
            };
            let is_host = |field: &String| {
                field.split(':').next().is_some_and(|name| name.eq_ignore_ascii_case("host"))
            };
            let host = (!explain.headers.iter().any(is_host)).then(|| format!("Host: {host}"));
            let lines = std::iter::once(&line).chain(&host).chain(&explain.headers);
            lines.map(|line| format!("{line}\r\n")).chain(["\r\n".to_owned()]).collect()
        }
        (None, Some(file)) => head(&read(file)?),
        (None, None) => String::new(),
    };
    Ok(json!({"head": head, "client": explain.client, "tls": explain.tls}))
}

/// Turns a text into a request head: editors and browsers' tools write plain line feeds and often no empty line at the end. A
/// text with a carriage return is taken as it is, because a bare line feed may be what is asked about.
fn head(text: &str) -> String {
    if text.contains('\r') {
        return text.to_owned();
    }
    let head = text.split("\n\n").next().unwrap_or_default().trim_end();
    head.lines().map(|line| format!("{line}\r\n")).chain(["\r\n".to_owned()]).collect()
}

fn read(file: &Path) -> Result<String, CommandFailure> {
    let failed = |error: std::io::Error| {
        CommandFailure::Usage(format!("doorwarden: cannot read {}: {error}", file.display()))
    };
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin().take(MAX_INPUT).read_to_string(&mut text).map_err(failed)?;
    } else {
        let opened = std::fs::File::open(file).map_err(failed)?;
        opened.take(MAX_INPUT).read_to_string(&mut text).map_err(failed)?;
    }
    Ok(text)
}

fn print(answer: &Value) -> Result<(), CommandFailure> {
    let nothing = Map::new();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), plain);
    let member = |name: &str| answer.get(name).map(&text);
    for step in answer.get("steps").and_then(Value::as_array).into_iter().flatten() {
        let of = |name: &str| step.get(name).and_then(Value::as_str).unwrap_or_default();
        let mark = match of("mark") {
            "yes" => "ok",
            "no" => "NO",
            _ => "--",
        };
        say(format_args!("{mark}  {:<11} {}", of("step"), plain(of("text"))))?;
    }
    let decision = member("decision").unwrap_or_default();
    match (member("status"), member("code"), member("detail")) {
        (Some(status), Some(code), Some(detail)) => {
            say(format_args!("=> {decision}: {status} {code}: {detail}"))?;
        }
        (Some(status), _, _) => say(format_args!("=> {decision}: {status}"))?,
        (None, _, _) => say(format_args!("=> {decision}"))?,
    }
    let upstream = answer.get("upstream").and_then(Value::as_object).unwrap_or(&nothing);
    let Some(path) = upstream.get("path") else { return Ok(()) };
    say(format_args!(
        "the service {} gets {} {}",
        upstream.get("name").map(&text).unwrap_or_default(),
        upstream.get("method").map(&text).unwrap_or_default(),
        text(path)
    ))?;
    let list = |name: &str| upstream.get(name).and_then(Value::as_array).into_iter().flatten();
    for name in list("headers_removed") {
        say(format_args!("  -  {}", text(name)))?;
    }
    let field = |one: &Value, name: &str| one.get(name).map(&text).unwrap_or_default();
    for one in list("headers_set") {
        let is_replaced = one.get("replaces").is_some_and(|replaces| replaces == true);
        let instead = if is_replaced { "   (in place of the client's)" } else { "" };
        say(format_args!("  +  {}: {}{instead}", field(one, "name"), field(one, "value")))?;
    }
    for name in list("cookies_removed") {
        say(format_args!("  -  cookie {}", text(name)))?;
    }
    for name in list("cookies_kept") {
        say(format_args!("     cookie {} stays", text(name)))?;
    }
    for one in list("cookies_set") {
        say(format_args!("  +  cookie {}: {}", field(one, "name"), field(one, "value")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::{Command, CommandLine};
    use super::*;

    fn asked(arguments: &[&str]) -> Value {
        let all = ["doorwarden", "explain"].iter().chain(arguments);
        match CommandLine::try_parse_from(all).unwrap().command {
            Some(Command::Explain(explain)) => question(&explain, "gate.test").unwrap(),
            other => panic!("{arguments:?} is {other:?}"),
        }
    }

    #[test]
    fn a_request_is_a_line_and_fields() {
        for line in ["GET /a HTTP/1.1", "GET /a"] {
            let asked = asked(&[line, "-H", "Host: app.test", "--header", "Accept: */*", "--tls"]);
            let head = "GET /a HTTP/1.1\r\nHost: app.test\r\nAccept: */*\r\n\r\n";
            assert_eq!(asked, json!({"head": head, "client": "127.0.0.1", "tls": true}));
        }
    }

    #[test]
    fn a_request_that_names_no_host_gets_one() {
        let head = |arguments: &[&str]| asked(arguments)["head"].as_str().unwrap().to_owned();
        assert_eq!(
            head(&["GET /", "-H", "Cookie: a=b"]),
            "GET / HTTP/1.1\r\nHost: gate.test\r\nCookie: a=b\r\n\r\n"
        );
        for given in ["Host: app.test", "host:app.test", "HOST:"] {
            assert_eq!(head(&["GET /", "-H", given]), format!("GET / HTTP/1.1\r\n{given}\r\n\r\n"));
        }
    }

    #[test]
    fn a_head_from_an_editor_gets_the_line_ends_of_a_head() {
        for text in ["GET / HTTP/1.1\nHost: a", "GET / HTTP/1.1\nHost: a\n\nbody\n"] {
            assert_eq!(head(text), "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        let mixed = "GET / HTTP/1.1\r\nHost: a\n\r\n";
        assert_eq!(head(mixed), mixed);
    }

    #[test]
    fn exactly_one_thing_is_explained() {
        for arguments in [
            &["explain"][..],
            &["explain", "GET /", "--token", "x"],
            &["explain", "--token", "x", "--token-file", "-"],
            &["explain", "--request", "-", "-H", "Host: a"],
            &["explain", "GET /", "--client", "nobody"],
        ] {
            let all = [&["doorwarden"], arguments].concat();
            assert!(CommandLine::try_parse_from(all).is_err(), "{arguments:?}");
        }
    }
}
