//! Reads `src/`, and fails if an import points upwards or the framework is named outside `proxy/`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The modules from the bottom up; folders on the same line never import each other, except on the first line.
///
/// `jose` signs and verifies every token, so `django` is above it. `session` (the gateway's own) never names `issuer` (what
/// others have issued), which is above it and is called through two ports that `app` wires: `EndIssued` and `MintTokens`.
///
/// `factor` is below `session`, which asks it what is due before it begins a session: every way of signing in leads to the
/// same check.
///
/// `admin` (operators' requests) is below `proxy`, whose admin listener serves it. The code that explains a request is in
/// `proxy`: it follows the path of every request, whose first step is the framework's parser. What commands do while no
/// gateway runs is in `app`, which opens the store.
///
/// `notify` is above `store` and `directory`: messages wait in the store, and go to an address that a directory knows.
const LAYERS: &[&[&str]] = &[
    &["clock", "block", "caller", "refusal", "secret", "event", "hotp", "private_file", "context"],
    &["wire", "jose"],
    &["django"],
    &["config"],
    &["store", "service", "geo"],
    &["directory"],
    &["notify"],
    &["factor"],
    &["session"],
    &["issuer"],
    &["identity"],
    &["detect"],
    &["gate"],
    &["endpoint"],
    &["admin"],
    &["telemetry"],
    &["proxy"],
    &["app"],
    &["command"],
    &["doctor"],
    &["cli"],
];

fn layer(module: &str) -> usize {
    LAYERS
        .iter()
        .position(|modules| modules.contains(&module))
        .unwrap_or_else(|| panic!("{module} has no place in the layers: give it one"))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Returns every `src/**.rs` but `lib.rs` and `main.rs`, with its module and its text.
fn files() -> Vec<(PathBuf, String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&src, &mut found);
    assert!(found.len() > 50, "the tree was not found");
    found
        .into_iter()
        .filter_map(|path| {
            let inside = path.strip_prefix(&src).unwrap().to_path_buf();
            let module = inside.iter().next()?.to_str()?.trim_end_matches(".rs").to_owned();
            let text = fs::read_to_string(&path).unwrap();
            (module != "lib" && module != "main").then_some((inside, module, text))
        })
        .collect()
}

/// Returns the modules that a text names after `crate::`, in code and in documentation alike.
fn named(text: &str) -> impl Iterator<Item = &str> {
    text.split("crate::").skip(1).filter_map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(rest.len());
        (end > 0).then(|| &rest[..end])
    })
}

#[test]
fn imports_point_down() {
    let mut wrong = Vec::new();
    for (path, module, text) in files() {
        for other in named(&text).filter(|other| *other != module) {
            let (from, to) = (layer(&module), layer(other));
            if to > from || (to == from && to != 0) {
                wrong.push(format!("{}: {module} imports {other}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "imports against the order:\n{}", wrong.join("\n"));
}

#[test]
fn crate_imports_are_never_grouped() {
    // `use crate::{a, b}` would evade the test above.
    for (path, _, text) in files() {
        assert!(!text.contains("crate::{"), "{}: write one `use crate::` a line", path.display());
    }
}

#[test]
fn the_framework_is_named_in_proxy_only() {
    for (path, module, text) in files() {
        if module != "proxy" {
            assert!(!text.to_lowercase().contains("pingora"), "{} names it", path.display());
        }
    }
}

#[test]
fn files_stay_small() {
    let mut sizes: Vec<usize> = Vec::new();
    for (path, _, text) in files() {
        let lines = text.lines().count();
        assert!(lines <= 600, "{} has {lines} lines: what is its second subject?", path.display());
        sizes.push(lines);
    }
    sizes.sort_unstable();
    let median = sizes[sizes.len() / 2];
    assert!(median <= 220, "the median file has {median} lines");
}

/// Returns the type that a line declares at the left margin: outside functions, so its name is visible to readers.
fn declared(line: &str) -> Option<&str> {
    let line = line.strip_prefix("pub").map_or(line, |rest| match rest.strip_prefix('(') {
        Some(scoped) => scoped.split_once(')').map_or(rest, |(_, rest)| rest),
        None => rest,
    });
    let (kind, rest) = line.trim_start().split_once(' ')?;
    matches!(kind, "struct" | "enum" | "trait" | "type" | "union").then_some(())?;
    rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()
}

/// A type's name identifies it. Test kits are left out: their types are used only in their tests.
#[test]
fn a_type_name_is_there_once() {
    let mut places: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for (path, _, text) in files() {
        let named = path.to_string_lossy();
        if ["tests", "testkit", "testing"].iter().any(|kit| named.contains(kit)) {
            continue;
        }
        for name in text.lines().filter(|line| !line.starts_with(' ')).filter_map(declared) {
            places.entry(name.to_owned()).or_default().push(path.clone());
        }
    }
    assert!(places.len() > 500, "{}", places.len());
    places.retain(|_, places| places.len() > 1);
    assert!(places.is_empty(), "{places:#?}");
}
