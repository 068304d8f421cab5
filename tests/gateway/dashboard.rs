//! Tests the Grafana dashboard: all its queries name existing metrics and labels.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Labels that Prometheus adds to every series, or that the buckets of a histogram have.
const ADDED: [&str; 3] = ["job", "instance", "le"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns each metric's labels, with their values where these are closed sets.
fn metrics() -> BTreeMap<String, BTreeMap<String, BTreeSet<String>>> {
    let golden = read("tests/golden/metrics.txt");
    let mut all = BTreeMap::new();
    for line in golden.lines() {
        let mut words = line.split(' ');
        let (name, kind) = (words.next().unwrap(), words.next().unwrap());
        let labels: BTreeMap<_, BTreeSet<_>> = words
            .map(|word| {
                let (label, values) = word.split_once('=').unwrap();
                (label.to_owned(), values.split('|').map(str::to_owned).collect())
            })
            .collect();
        let names = match kind {
            "histogram" => ["_bucket", "_sum", "_count"].map(|end| format!("{name}{end}")).to_vec(),
            _ => vec![name.to_owned()],
        };
        all.extend(names.into_iter().map(|name| (name, labels.clone())));
    }
    all
}

/// Returns every query: where it is, its text and its legend.
fn queries(dashboard: &Value) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut all = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            all.push((text(&panel["title"]), text(&target["expr"]), text(&target["legendFormat"])));
        }
    }
    for note in dashboard["annotations"]["list"].as_array().unwrap() {
        all.push((text(&note["name"]), text(&note["expr"]), String::new()));
    }
    all
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// Returns what is wrong with a query.
fn wrong(query: &str, legend: &str) -> Option<String> {
    let all = metrics();
    let named: BTreeSet<&str> = words(query)
        .filter(|word| word.starts_with("doorwarden_") || word.starts_with("process_"))
        .collect();
    if named.is_empty() {
        return Some("it asks for no metric".into());
    }
    if let Some(unknown) = named.iter().find(|name| !all.contains_key(**name)) {
        return Some(format!("there is no metric {unknown}"));
    }
    let has = |label: &str| {
        ADDED.contains(&label) || named.iter().any(|name| all[*name].contains_key(label))
    };
    // {label="value"}
    for matchers in query.split('{').skip(1).filter_map(|rest| rest.split('}').next()) {
        for matcher in matchers.split(',') {
            let (label, value) = matcher.split_once('=').unwrap();
            let value = value.trim_start_matches('~').trim_matches('"');
            if !has(label) {
                return Some(format!("no metric of it has the label {label}"));
            }
            let is_value =
                |name: &&str| all[*name].get(label).is_some_and(|set| set.contains(value));
            if !value.starts_with('$') && !named.iter().any(is_value) {
                return Some(format!("{label} is never {value}"));
            }
        }
    }
    // by (label, label), {{label}}
    let by = query.split("by (").skip(1).filter_map(|rest| rest.split(')').next());
    let shown = legend.split("{{").skip(1).filter_map(|rest| rest.split("}}").next());
    let unknown = by.flat_map(words).chain(shown).find(|label| !has(label));
    unknown.map(|label| format!("no metric of it has the label {label}"))
}

#[test]
fn every_query_of_the_dashboard_asks_for_what_there_is() {
    let dashboard: Value =
        serde_json::from_str(&read("docker/grafana/dashboards/doorwarden.json")).unwrap();
    let queries = queries(&dashboard);
    assert!(queries.len() > 40, "{}", queries.len());
    for (panel, query, legend) in &queries {
        assert_eq!(wrong(query, legend), None, "{panel}: {query}");
    }
    // Proves that the check finds mistakes.
    for (query, legend, says) in [
        ("sum(1)", "", "it asks for no metric"),
        ("rate(doorwarden_request_total[1m])", "", "there is no metric doorwarden_request_total"),
        (
            "rate(doorwarden_request_duration_seconds[1m])",
            "",
            "there is no metric doorwarden_request_duration_seconds",
        ),
        ("doorwarden_blocks_active{by=\"operator\"}", "", "no metric of it has the label by"),
        ("doorwarden_blocks_active{subject=\"nobody\"}", "", "subject is never nobody"),
        ("sum by (route) (doorwarden_blocks_active)", "", "no metric of it has the label route"),
        ("doorwarden_blocks_active", "{{detector}}", "no metric of it has the label detector"),
    ] {
        assert_eq!(wrong(query, legend).as_deref(), Some(says), "{query}");
    }
    let job = &dashboard["templating"]["list"][1]["query"]["query"];
    assert_eq!(job, "label_values(doorwarden_build_info, job)");
}

/// Metrics without a panel, because another metric shows the same better: a successful reload, a start, memory in use.
const WITHOUT_A_PANEL: [&str; 4] = [
    "doorwarden_config_last_reload_success_timestamp_seconds",
    "process_start_time_seconds",
    "process_threads",
    "process_virtual_memory_bytes",
];

#[test]
fn every_metric_has_its_place_on_the_dashboard() {
    let dashboard = read("docker/grafana/dashboards/doorwarden.json");
    let asked: BTreeSet<&str> = words(&dashboard).collect();
    let golden = read("tests/golden/metrics.txt");
    let missing: Vec<&str> = golden
        .lines()
        .map(|line| line.split(' ').next().unwrap())
        .filter(|name| {
            ["", "_bucket", "_sum", "_count"]
                .iter()
                .all(|end| !asked.contains(format!("{name}{end}").as_str()))
        })
        .collect();
    assert_eq!(missing, WITHOUT_A_PANEL);
}

#[test]
fn every_alert_rule_asks_for_what_there_is() {
    let rules = read("docker/alerts.yml");
    let all = metrics();
    let mut asked = BTreeSet::new();
    for name in words(&rules).filter(|word| word.starts_with("doorwarden_")) {
        // The rules may name a histogram as a whole.
        let is_known = all.contains_key(name) || all.contains_key(&format!("{name}_bucket"));
        assert!(is_known, "there is no metric {name}");
        asked.insert(name);
    }
    assert!(asked.len() > 15, "{asked:?}");
    // metric{label="value",label=~"value|value"}
    let mut matched = 0;
    for (at, _) in rules.match_indices("{") {
        let name = words(&rules[..at]).last().unwrap();
        let Some(labels) = all.get(name).filter(|_| rules[..at].ends_with(name)) else { continue };
        let matchers = rules[at + 1..].split('}').next().unwrap();
        for matcher in matchers.split(',') {
            let (label, value) = matcher.split_once(['=', '!']).unwrap();
            let known = labels.get(label).unwrap_or_else(|| panic!("{name} has no label {label}"));
            let value = value.trim_start_matches(['=', '~']).trim_matches('"');
            // The status codes of answers are no closed set.
            if label == "code" && name == "doorwarden_requests_total" {
                continue;
            }
            for one in value.split('|') {
                assert!(known.contains(one), "{label} of {name} is never {one}");
                matched += 1;
            }
        }
    }
    assert!(matched > 40, "{matched}");
}

#[test]
fn prometheus_understands_every_query_of_the_dashboard() {
    let dashboard: Value =
        serde_json::from_str(&read("docker/grafana/dashboards/doorwarden.json")).unwrap();
    let mut rules = "groups:\n  - name: dashboard\n    rules:\n".to_owned();
    for (n, (_, query, _)) in queries(&dashboard).iter().enumerate() {
        let query = query.replace("$__rate_interval", "5m").replace("$__range", "6h");
        let query = query.replace("$job", ".*");
        rules += &format!("      - record: query_{n}\n        expr: {}\n", Value::from(query));
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), rules).unwrap();
    let own = root().join(".tools/bin/promtool");
    let promtool = if own.exists() { own } else { "promtool".into() };
    let checked =
        Command::new(promtool).args(["check", "rules"]).arg(file.path()).output().unwrap();
    let said = String::from_utf8_lossy(&[checked.stdout, checked.stderr].concat()).into_owned();
    assert!(checked.status.success(), "{said}");
}

/// `$__rate_interval` is at least four scrapes, so a shorter bar would count again what the previous one counted. Four
/// scrapes are a minute at the usual fifteen seconds.
#[test]
fn bars_count_each_event_once_and_hide_none() {
    let dashboard: Value =
        serde_json::from_str(&read("docker/grafana/dashboards/doorwarden.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let style = |panel: &Value| panel["fieldConfig"]["defaults"]["custom"].clone();
    let bars: Vec<_> = panels.filter(|panel| style(panel)["drawStyle"] == "bars").collect();
    assert!(bars.len() > 20, "{}", bars.len());
    for panel in bars {
        let title = &panel["title"];
        assert_eq!(panel["interval"], "1m", "{title}");
        assert!(panel["maxDataPoints"].as_u64().unwrap() <= 100, "{title}");
        assert_eq!(style(panel)["stacking"]["mode"], "normal", "{title}");
    }
}

#[test]
fn the_dashboard_can_be_used_by_everybody() {
    let dashboard: Value =
        serde_json::from_str(&read("docker/grafana/dashboards/doorwarden.json")).unwrap();
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        if panel["type"] != "row" {
            assert!(panel["description"].as_str().is_some_and(|text| text.len() > 10), "{panel}");
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{panel}");
        }
        let place = &panel["gridPos"];
        assert!(place["x"].as_u64().unwrap() + place["w"].as_u64().unwrap() <= 24, "{panel}");
    }
    // The folder in which Grafana looks for it.
    let compose = read("docker/compose.yml");
    let provider = read("docker/grafana/provisioning/dashboards/doorwarden.yml");
    assert!(compose.contains("./grafana/dashboards:/var/lib/grafana/dashboards:ro"));
    assert!(provider.contains("path: /var/lib/grafana/dashboards"));
}
