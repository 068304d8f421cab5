//! `doorwarden upstream`: manages the servers behind the running gateway.

use clap::Subcommand;
use serde_json::{Value, json};

use super::config_file::ConfigFile;
use super::list::{self, Format, ListColumn};
use super::operate;
use crate::command::{CommandFailure, load, say};

/// `doorwarden upstream`
#[derive(Debug, Subcommand)]
pub(super) enum UpstreamCommand {
    /// List the upstreams' servers, with the state of each.
    List {
        #[command(flatten)]
        file: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
    /// Send a server no new requests; those in progress finish. This lasts until `undrain` or a restart of the gateway.
    Drain(ServerArgument),
    /// Send a server requests again.
    Undrain(ServerArgument),
}

/// The server of a command.
#[derive(Debug, clap::Args)]
pub(super) struct ServerArgument {
    /// The upstream's name.
    upstream: String,
    /// The server's name, or its address as in `upstream.servers`.
    server: String,
    #[command(flatten)]
    file: ConfigFile,
}

const COLUMNS: [ListColumn; 8] = [
    ("UPSTREAM", "upstream"),
    ("SERVER", "server"),
    ("ADDRESS", "address"),
    ("STATE", "state"),
    ("WEIGHT", "weight"),
    ("IN FLIGHT", "in_flight"),
    ("FAILURES", "failures"),
    ("EJECTIONS", "ejections"),
];

/// Runs an upstream command.
pub(super) fn run(command: UpstreamCommand) -> Result<(), CommandFailure> {
    match command {
        UpstreamCommand::List { file, format } => {
            let config = load(&file.path()?)?;
            let listed = ask(operate::ask(&config, "GET /upstreams", "")?)?;
            if format.json {
                return say(format_args!("{listed:#}"));
            }
            list::show(format, &COLUMNS, &json!({"addresses": rows(&listed)}))
        }
        UpstreamCommand::Drain(which) => change(&which, "POST /upstreams/drain", "drained"),
        UpstreamCommand::Undrain(which) => change(&which, "POST /upstreams/undrain", "in service"),
    }
}

fn change(which: &ServerArgument, request: &str, now: &str) -> Result<(), CommandFailure> {
    let config = load(&which.file.path()?)?;
    let Some(upstream) = config.upstreams.iter().find(|one| one.name == which.upstream) else {
        let names: Vec<&str> = config.upstreams.iter().map(|one| one.name.as_str()).collect();
        let text =
            format!("there is no upstream {:?}; there are: {}", which.upstream, names.join(", "));
        return Err(CommandFailure::Failed(text));
    };
    if !upstream.servers.iter().any(|one| one.name == which.server) {
        let names: Vec<&str> = upstream.servers.iter().map(|one| one.name.as_str()).collect();
        let text = format!(
            "the upstream {} has no server {:?}; it has: {}",
            upstream.name,
            which.server,
            names.join(", ")
        );
        return Err(CommandFailure::Failed(text));
    }
    let body = json!({"upstream": which.upstream, "server": which.server});
    let changed = ask(operate::ask(&config, request, &body.to_string())?)?;
    let was = if changed.get("changed") == Some(&Value::Bool(false)) { " already" } else { "" };
    say(format_args!("{} {} is{was} {now}", which.upstream, which.server))
}

fn ask(answer: Option<Value>) -> Result<Value, CommandFailure> {
    answer.ok_or_else(|| {
        CommandFailure::Unavailable("no gateway answers at its admin address".to_owned())
    })
}

/// Returns one row for each address, and one for a server whose name was never resolved.
fn rows(listed: &Value) -> Vec<Value> {
    let of = |value: &Value, name: &str| {
        value.get(name).and_then(Value::as_array).cloned().unwrap_or_default()
    };
    let mut rows = Vec::new();
    for upstream in of(listed, "upstreams") {
        for server in of(&upstream, "servers") {
            let mut addresses = of(&server, "addresses");
            if addresses.is_empty() {
                addresses.push(json!({"state": "unknown address"}));
            }
            for mut address in addresses {
                if let Some(row) = address.as_object_mut() {
                    row.insert(
                        "upstream".into(),
                        upstream.get("name").cloned().unwrap_or_default(),
                    );
                    row.insert("server".into(), server.get("name").cloned().unwrap_or_default());
                    row.insert("weight".into(), server.get("weight").cloned().unwrap_or_default());
                }
                rows.push(address);
            }
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_is_a_row_and_a_name_without_one_is_told() {
        let listed = json!({"upstreams": [{"name": "app", "servers": [
            {"name": "a", "weight": 2, "addresses": [{"address": "10.0.0.1:1"}, {"address": "10.0.0.2:1"}]},
            {"name": "b", "weight": 1, "addresses": []},
        ]}]});
        let rows = rows(&listed);
        let texts: Vec<_> =
            rows.iter().map(|row| (row["server"].as_str(), row["address"].as_str())).collect();
        let (a, b) = (Some("a"), Some("b"));
        assert_eq!(texts, [(a, Some("10.0.0.1:1")), (a, Some("10.0.0.2:1")), (b, None)]);
        assert_eq!(rows[1]["weight"], 2);
        assert_eq!(rows[2]["state"], "unknown address");
    }
}
