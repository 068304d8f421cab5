//! Prints the counts beside those of the bare pass-through, and stores them in a file.

#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// The counts, in order.
#[derive(Default)]
pub(super) struct Table(Vec<Line>);

struct Line {
    name: String,
    /// The name of the bare pass-through's line that got the same bytes.
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

    /// Prints the table for people, and for docs/performance.md.
    pub(super) fn print(&self) {
        println!("\n| request | instructions | beside the bare pass-through |\n|---|---|---|");
        for Line { name, beside, counted } in &self.0 {
            let bare = beside.and_then(|bare| self.of(bare));
            let ratio = bare
                .map_or_else(String::new, |bare| format!("{:.2}", *counted as f64 / bare as f64));
            println!("| {name} | {counted} | {ratio} |");
        }
    }

    /// Writes the file. The counts are rounded: a few hundred instructions more or less are noise.
    pub(super) fn write(&self) {
        let mut text = HEAD.to_owned();
        for Line { name, counted, .. } in &self.0 {
            let rounded = (counted + 50) / 100 * 100;
            writeln!(text, "{name:<36}{rounded:>10}").unwrap();
        }
        fs::write(Path::new(FILE), text).unwrap();
    }

    /// Compares one count with the file: not the instructions, which depend a little on the processor and on the build of
    /// valgrind, but their ratio to those of the bare pass-through.
    pub(super) fn check(&self, name: &str, beside: &str, tolerance: f64) {
        let text = fs::read_to_string(FILE).unwrap();
        let kept = |name: &str| {
            let line = text.lines().find_map(|line| {
                let (own, number) = line.rsplit_once(' ')?;
                (own.trim_end() == name).then(|| number.parse::<f64>().unwrap())
            });
            line.unwrap_or_else(|| panic!("{name} is not in {FILE}"))
        };
        let counted = |name: &str| self.of(name).unwrap() as f64;
        let (before, now) = (kept(name) / kept(beside), counted(name) / counted(beside));
        let over = now / before - 1.0;
        println!(
            "{name}: {now:.3} times the bare pass-through; the file says {before:.3}; {:+.1} %",
            over * 100.0
        );
        assert!(over <= tolerance, "{name} costs more than it did; if it has to, run `make count`");
    }
}
