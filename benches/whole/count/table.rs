//! The numbers: printed beside those of the bare pass-through, and kept in a file.

#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// Counts in their order.
#[derive(Default)]
pub(super) struct Table(Vec<Line>);

struct Line {
    name: String,
    /// The line of the bare pass-through that got the same bytes.
    beside: Option<&'static str>,
    counted: u64,
}

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.txt");

const HEAD: &str = "\
# User instructions per request, counted by callgrind; `make count` writes this file (docs/performance.md).
";

impl Table {
    pub(super) fn add(&mut self, name: &str, beside: Option<&'static str>, counted: u64) {
        println!("{name:<36}{counted:>10}");
        self.0.push(Line { name: name.to_owned(), beside, counted });
    }

    fn of(&self, name: &str) -> Option<u64> {
        self.0.iter().find(|line| line.name == name).map(|line| line.counted)
    }

    /// For people, and for docs/performance.md.
    pub(super) fn print(&self) {
        println!("\n| request | instructions | beside the bare pass-through |\n|---|---|---|");
        for Line { name, beside, counted } in &self.0 {
            let bare = beside.and_then(|bare| self.of(bare));
            let ratio = bare
                .map_or_else(String::new, |bare| format!("{:.2}", *counted as f64 / bare as f64));
            println!("| {name} | {counted} | {ratio} |");
        }
    }

    /// Rounded: a few hundred more or less are chance.
    pub(super) fn write(&self) {
        let mut text = HEAD.to_owned();
        for Line { name, counted, .. } in &self.0 {
            let rounded = (counted + 50) / 100 * 100;
            writeln!(text, "{name:<36}{rounded:>10}").unwrap();
        }
        fs::write(Path::new(FILE), text).unwrap();
    }

    /// Holds one count against the file.
    pub(super) fn check(&self, name: &str, tolerance: f64) {
        let text = fs::read_to_string(FILE).unwrap();
        let kept =
            text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
        let (kept, counted) = (kept.expect("it is in the file"), self.of(name).unwrap());
        let over = counted as f64 / kept as f64 - 1.0;
        println!(
            "{name}: {counted} instructions, {:+.1} % of what the file says ({kept})",
            over * 100.0
        );
        assert!(over <= tolerance, "{name} costs more than it did; if it has to, run `make count`");
    }
}
