//! Checks the documentation: the codes, tests, commands, metrics, settings and links that it names exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use doorwarden::detect::DetectorName;
use doorwarden::event::IssuedRefusal;
use doorwarden::refusal::Refusal;

use crate::support::gateway::{run_in, write_private};

/// Requirements that a later part of the gateway will meet. Their rows say so instead of naming a test.
const LATER: &[&str] = &["R19"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns README and everything in docs/, with the texts.
fn documents() -> Vec<(PathBuf, String)> {
    let mut paths = vec![];
    for folder in [root().to_path_buf(), root().join("docs")] {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        paths.extend(entries.filter(|path| path.extension().is_some_and(|end| end == "md")));
    }
    assert!(paths.len() > 8, "the documents were not found");
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// Returns the cells of each row of a document's tables.
fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines()
        .filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'))
        .map(|row| row.split('|').map(str::trim).collect())
}

/// Returns the texts between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn one_quoted(cell: &str) -> Option<&str> {
    cell.strip_prefix('`')?.strip_suffix('`').filter(|text| !text.contains('`'))
}

#[test]
fn every_refusal_is_explained_with_its_status() {
    let text = read("docs/refusals.md");
    let explained: BTreeSet<(String, String)> = rows(&text)
        .filter_map(|cells| {
            let code = one_quoted(cells[0])?;
            cells[1].parse::<u16>().ok()?;
            assert_eq!(cells.len(), 5, "{code}: status, meaning, client, operator");
            assert!(cells.iter().all(|cell| !cell.is_empty()), "{code} has an empty cell");
            Some((code.to_owned(), cells[1].to_owned()))
        })
        .collect();
    let known: BTreeSet<(String, String)> = Refusal::ALL
        .iter()
        .map(|refusal| (refusal.code().to_owned(), refusal.status().as_u16().to_string()))
        .collect();
    assert_eq!(explained, known);
}

#[test]
fn every_reason_of_an_issuer_is_explained_with_what_a_client_gets() {
    let text = read("docs/refusals.md");
    let (_, section) = text.split_once("## Why an issuer refuses").expect("the section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let explained: BTreeSet<&str> = rows(section)
        .filter_map(|cells| {
            let (reason, code) = (one_quoted(cells[0])?, one_quoted(cells[1])?);
            assert!(Refusal::ALL.iter().any(|one| one.code() == code), "{reason}: {code}");
            Some(reason)
        })
        .collect();
    let known: BTreeSet<&str> = IssuedRefusal::ALL.iter().map(|why| why.name()).collect();
    assert_eq!(explained, known);
}

#[test]
fn the_audit_trail_names_every_reason_of_an_issuer() {
    let text = read("docs/operations.md");
    let row = text.lines().find(|line| line.starts_with("| `issued_refused` ")).expect("the row");
    for why in IssuedRefusal::ALL {
        assert!(quoted(row).any(|name| name == why.name()), "{}", why.name());
    }
}

#[test]
fn every_detector_is_explained_with_its_finding_and_its_subject() {
    let text = read("docs/detection.md");
    let explained: BTreeSet<&str> = rows(&text)
        .filter(|cells| cells.len() == 3 && cells.iter().all(|cell| !cell.is_empty()))
        .filter_map(|cells| one_quoted(cells[0]))
        .collect();
    for detector in DetectorName::ALL {
        assert!(explained.contains(detector.name()), "{} has no row", detector.name());
    }
}

#[test]
fn every_text_of_a_shared_code_is_explained() {
    let text = read("docs/refusals.md");
    let texts: Vec<_> = Refusal::ALL.iter().filter(|r| r.code() == "token_not_valid").collect();
    assert!(texts.len() > 1);
    for refusal in texts {
        assert!(text.contains(&format!("`{}`", refusal.detail())), "{}", refusal.detail());
    }
}

#[test]
fn codes_statuses_and_texts_are_those_that_clients_rely_on() {
    let lines = Refusal::ALL.iter().map(|refusal| {
        format!("{} {} {}\n", refusal.status().as_u16(), refusal.code(), refusal.detail())
    });
    let now: String = lines.collect();
    assert_eq!(now, read("tests/golden/refusals.txt"), "clients and alerts rely on these");
}

/// Returns the file and the name of a test that is written as `tests/gateway/FILE.rs::NAME` or `MODULE::NAME`.
fn place_of(test: &str) -> (PathBuf, &str) {
    let (place, name) = test.rsplit_once("::").unwrap_or_else(|| panic!("{test} names no test"));
    if place.starts_with("tests/") {
        return (root().join(place), name);
    }
    // A module is a file or a folder; its tests are in it or beside it.
    let modules = [Some(place), place.strip_suffix("::tests")];
    let found = modules.into_iter().flatten().find_map(|module| {
        let module = format!("src/{}", module.replace("::", "/"));
        [".rs", "/mod.rs"]
            .map(|end| root().join(format!("{module}{end}")))
            .into_iter()
            .find(|file| is_test(file, name))
    });
    (found.unwrap_or_else(|| panic!("{test}: there is no such test")), name)
}

fn is_test(file: &Path, name: &str) -> bool {
    let Ok(text) = fs::read_to_string(file) else { return false };
    let lines: Vec<_> = text.lines().collect();
    let Some(line) = lines.iter().position(|line| line.contains(&format!("fn {name}("))) else {
        return false;
    };
    // A case of a contract becomes a test where the contract is used.
    let is_case = file.to_string_lossy().contains("/contract/");
    is_case
        || lines[line.saturating_sub(3)..line].iter().any(|line| {
            let line = line.trim();
            line == "#[test]" || line.starts_with("#[tokio::test")
        })
}

#[test]
fn every_requirement_is_held_by_a_test_that_exists() {
    let text = read("docs/security.md");
    let mut met = Vec::new();
    for cells in rows(&text).filter(|cells| {
        cells[0].strip_prefix('R').is_some_and(|number| number.parse::<u8>().is_ok())
    }) {
        let [requirement, meaning, held_by] = cells[..] else { panic!("{cells:?}") };
        assert!(!meaning.is_empty(), "{requirement} says nothing");
        met.push(requirement.to_owned());
        // Settings and files that a cell mentions are quoted too; only tests have a path.
        let tests: Vec<_> = quoted(held_by).filter(|name| name.contains("::")).collect();
        if LATER.contains(&requirement) {
            assert!(held_by.starts_with("later"), "{requirement}: {held_by}");
        } else {
            assert!(!tests.is_empty(), "{requirement} names no test");
        }
        for test in tests {
            let (file, name) = place_of(test);
            assert!(is_test(&file, name), "{requirement}: {test} is no test");
        }
    }
    let all: Vec<String> = (1..=106).map(|number| format!("R{number}")).collect();
    assert_eq!(met, all, "each requirement has one row, in order");
}

#[test]
fn every_metric_that_is_named_exists() {
    let golden = read("tests/golden/metrics.txt");
    for (path, text) in documents() {
        for name in quoted(&text).filter(|name| name.starts_with("doorwarden_")) {
            let name = name.split('{').next().unwrap();
            let base = ["_bucket", "_count", "_sum"].iter().find_map(|end| name.strip_suffix(end));
            let known = |name: &str| golden.split_whitespace().any(|word| word == name);
            assert!(known(name) || base.is_some_and(known), "{}: {name}", path.display());
        }
    }
}

#[test]
fn every_command_that_is_named_exists() {
    let folder = tempfile::tempdir().unwrap();
    let mut asked = BTreeSet::new();
    for (_, text) in documents() {
        for rest in text.split("doorwarden ").skip(1) {
            let words: Vec<_> = rest.split_whitespace().take(2).map(str::to_owned).collect();
            let is_word = |word: &String| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
            if let [command, sub] = &words[..] {
                let has_sub = ["user", "key", "session", "store", "upstream", "maintenance"]
                    .contains(&command.as_str());
                if is_word(command) && !command.starts_with('-') {
                    let sub = Some(sub.trim_end_matches('`'))
                        .filter(|sub| has_sub && is_word(&(*sub).to_owned()));
                    asked.insert((command.clone(), sub.map(str::to_owned)));
                }
            }
        }
    }
    assert!(asked.len() > 5, "{asked:?}");
    for (command, sub) in asked {
        let mut arguments = vec![command.as_str()];
        arguments.extend(sub.as_deref());
        arguments.push("--help");
        let output = run_in(folder.path(), &arguments, "");
        let usage = format!("Usage: doorwarden {}", arguments[..arguments.len() - 1].join(" "));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains(&usage), "doorwarden {command} {sub:?}: {said}");
    }
}

#[test]
fn every_configuration_that_is_shown_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let mut checked = 0;
    for (path, text) in documents() {
        for block in text.split("```toml\n").skip(1) {
            let block = block.split("```").next().unwrap();
            // A fragment is checked as part of a file like that of `doorwarden init`.
            let whole = if block.contains("[listen]") {
                block.to_owned()
            } else {
                format!("{}\n{block}", doorwarden::config::init::MINIMAL)
            };
            write_private(&folder.path().join("gateway.toml"), &whole);
            let output =
                run_in(folder.path(), &["check", "--file-only", "--config", "gateway.toml"], "");
            let said = String::from_utf8_lossy(&output.stderr);
            // A fragment that shows a form has no route for it, and one that shows shadow mode warns on purpose.
            let expected = ["no route uses the form", "warning: shadow.routes: "];
            let warned = said.lines().any(|line| {
                line.starts_with("warning") && !expected.iter().any(|text| line.contains(text))
            });
            assert!(output.status.success() && !warned, "{}: {said}", path.display());
            checked += 1;
        }
    }
    assert!(checked >= 3, "{checked} configurations were found");
}

#[test]
fn every_link_leads_somewhere() {
    for (path, text) in documents() {
        for target in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            let file = target.split('#').next().unwrap();
            let is_ours = !file.is_empty() && !file.contains("://") && !file.starts_with("mailto:");
            if is_ours {
                let led = path.parent().unwrap().join(file);
                assert!(led.exists(), "{}: {target} leads nowhere", path.display());
            }
        }
    }
}
