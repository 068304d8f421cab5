//! Fuzzes the configuration: any text is either read or reported.
#![no_main]

use std::path::Path;

use doorwarden::config::Config;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match Config::parse(text, Path::new("/etc/doorwarden"), "gateway.toml") {
        Ok((_, report)) => assert!(!report.has_errors()),
        Err(report) => assert!(report.has_errors() && !report.render(true).is_empty()),
    }
});
