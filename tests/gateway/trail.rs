//! Tests the audit trail of a gateway that is killed, and what `doorwarden audit verify` reports about it.

use std::thread;

use serde_json::json;

use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup};
use crate::support::upstream::Upstream;

fn verify(gateway: &Gateway, files: &[&str]) -> (Option<i32>, String) {
    let output = gateway.command(&[&["audit", "verify"], files].concat());
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

fn length(gateway: &Gateway) -> u64 {
    std::fs::metadata(gateway.folder().join("audit.log")).map_or(0, |meta| meta.len())
}

#[test]
fn a_killed_gateways_trail_holds_and_a_touched_one_does_not() {
    let upstream = Upstream::start();
    let log = "audit_file = \"audit.log\"\naudit_rotate_size = \"64KiB\"";
    let mut gateway = Setup::new(upstream.address).log(log).start();
    for _ in 0..3 {
        let load: Vec<_> = (0..4)
            .map(|_| {
                let client = gateway.client();
                thread::spawn(move || {
                    // Each request writes a line `refused`, until the gateway is gone.
                    while client.get("/app").try_send().is_some_and(|answer| answer.status == 401) {
                    }
                })
            })
            .collect();
        let before = length(&gateway);
        eventually("some lines", || (length(&gateway) > before + 4000).then_some(()));
        let (code, said) = verify(&gateway, &[]);
        assert_eq!(code, Some(0), "while it is written: {said}");
        gateway.kill();
        load.into_iter().for_each(|one| one.join().unwrap());
        let (code, said) = verify(&gateway, &[]);
        assert!(code == Some(0) && said.contains("OK: "), "killed: {said}");
        gateway.spawn();
    }
    // More lines than fit into one segment.
    let client = gateway.client();
    let closed = gateway.folder().join("audit.log.000001");
    eventually("a closed segment", || {
        client.get("/app").send();
        closed.exists().then_some(())
    });
    client.sign_in("kim", "correct horse battery");
    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0));
    let (code, said) = verify(&gateway, &[]);
    eprintln!("{said}");
    assert!(code == Some(0) && said.contains(" in 2 files; the last is "), "{said}");

    let file = gateway.folder().join("audit.log");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("\"account\":\"kim\""));
    std::fs::write(&file, text.replace("\"account\":\"kim\"", "\"account\":\"lee\"")).unwrap();
    let (code, said) = verify(&gateway, &[]);
    assert!(code == Some(1) && said.contains("this line was changed"), "{said}");
    // The other segment is still valid by itself.
    let (code, said) = verify(&gateway, &[closed.to_str().unwrap()]);
    assert!(code == Some(0) && said.contains("in 1 files"), "{said}");
    // No file in the folder contains the key.
    let key = std::fs::read(gateway.folder().join("state/audit-key")).unwrap();
    for entry in std::fs::read_dir(gateway.folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            assert!(!bytes.windows(key.len()).any(|part| part == key), "{}", path.display());
        }
    }
}

#[test]
fn without_a_file_there_is_nothing_to_verify() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    gateway.client().post("/login").json(&json!({"username": "x", "password": "y"})).send();
    let (code, said) = verify(&gateway, &[]);
    assert!(code == Some(1) && said.contains("log.audit_file"), "{said}");
}
