//! Tests each project, and that the projects and the documentation agree.

use std::collections::BTreeMap;
use std::thread;

use super::{Service, behind, compare, differences, python, without};
use crate::support::client::Client;
use crate::support::django::root;

/// Folder, and the package's name in `requirements.txt`.
const PACKAGES: &[(&str, &str)] = &[
    ("allauth", "django-allauth"),
    ("djoser", "djoser"),
    ("dj_rest_auth", "dj-rest-auth"),
    ("knox", "django-rest-knox"),
    ("axes", "django-axes"),
    ("two_factor", "django-two-factor-auth"),
    ("hijack", "django-hijack"),
    ("wagtail", "wagtail"),
    ("oscar", "django-oscar"),
    ("cms", "django-cms"),
];

/// Checks that each step ends the same with the gateway and without, except for the listed ones.
fn check(name: &str) {
    let (text, wrong) = compare(name, &without(name), &behind(name));
    eprintln!("{text}");
    assert!(wrong.is_empty(), "{name}, behind the gateway:\n{}\n{text}", wrong.join("\n"));
}

macro_rules! projects {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                check(stringify!($name));
            }
        )*
    };
}

projects!(allauth djoser dj_rest_auth knox axes two_factor hijack wagtail oscar cms);

/// The projects are exactly what their documentation creates.
#[test]
fn nothing_of_ours_is_in_them() {
    let output = python().arg(root().join("tests/projects/make.py")).output().unwrap();
    let hashes = String::from_utf8_lossy(&output.stdout).into_owned();
    eprintln!("{hashes}");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(hashes.lines().count() > 80, "{hashes}");
}

/// The table of packages in `docs/django.md` has each project, its version, and how many steps differ.
#[test]
fn the_documentation_says_what_works() {
    let page = std::fs::read_to_string(root().join("docs/django.md")).unwrap();
    let requirements =
        std::fs::read_to_string(root().join("tests/projects/requirements.txt")).unwrap();
    let versions: BTreeMap<&str, &str> =
        requirements.lines().filter_map(|line| line.split_once("==")).collect();
    for (name, package) in PACKAGES {
        let row = format!("| {package} {} | `{name}` |", versions[package]);
        let row = page.lines().find(|line| line.starts_with(&row));
        let row = row.unwrap_or_else(|| panic!("docs/django.md has no row for {package}"));
        let listed = differences(name);
        let differing = match listed.len() {
            1 if listed.contains_key(super::NO_GATEWAY) => "| not yet |".to_owned(),
            0 => "| all steps are equal |".to_owned(),
            1 => "| all but 1 step |".to_owned(),
            n => format!("| all but {n} steps |"),
        };
        assert!(row.contains(&differing), "{row}\nshould say: {differing}");
    }
}

/// A longer run for `make soak`: each script five times in front of one gateway, while strangers send requests without end.
/// It must end as it did the first time, and no answer may be a server error.
#[test]
#[ignore = "it takes long: make soak"]
fn soak() {
    for (name, _) in PACKAGES {
        for round in 0..5 {
            let service = Service::start(name);
            let Some(gateway) = service.gateway() else { continue };
            let address = gateway.http;
            let (stop, stopped) = std::sync::mpsc::channel::<()>();
            let strangers = thread::spawn(move || {
                let client = Client::new(address);
                let mut asked = 0_u64;
                while stopped.try_recv().is_err() {
                    let wrong = serde_json::json!({"username": "nobody", "password": "wrong"});
                    let host = format!("localhost:{}", address.port());
                    for request in
                        [client.get("/"), client.get("/admin/"), client.post("/login").json(&wrong)]
                    {
                        let response = request.host(&host).try_send().expect("an answer");
                        assert!(response.status < 500, "{}: {}", response.status, response.text());
                        asked += 1;
                    }
                }
                asked
            });
            let steps = service.steps(name, address, Some(&gateway));
            stop.send(()).expect("the strangers are still asking");
            let asked = strangers.join().expect("no stranger met a server's error");
            let (text, wrong) = compare(name, &without(name), &steps);
            assert!(wrong.is_empty(), "{name}, round {round}:\n{}\n{text}", wrong.join("\n"));
            eprintln!(
                "{name}, round {round}: {} steps, {asked} requests of strangers",
                steps.len()
            );
        }
    }
}
