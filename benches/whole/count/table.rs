//! Prints the counts beside those of the bare pass-through, and writes them to a file and into the documentation.

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

/// The page that shows the counts, between the lines [`REQUESTS`] or [`GROWTH`] and the next [`END`].
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/performance.md");
const REQUESTS: &str = "<!-- `make count` writes this table: requests -->\n";
const GROWTH: &str = "<!-- `make count` writes this table: growth -->\n";
const END: &str = "<!-- end -->\n";

/// The highest ratios to the bare pass-through that are aimed at.
const GOALS: [(&str, f64); 10] = [
    ("own token", 1.36),
    ("session cookie", 1.36),
    ("own token, 100 KB answer", 1.1),
    ("own token, 1 KB post", 1.1),
    ("own token, access log", 1.53),
    ("session cookie, access log", 1.53),
    ("issuer's token", 1.36),
    ("issuer's token, 10 000 in turn", 1.36),
    ("forged token, each another", 0.76),
    ("own token, HTTP/2 over TLS", 1.1),
];

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

    /// Prints both tables.
    pub(super) fn print(&self) {
        println!("\n{}\n{}", self.requests(), self.growth());
    }

    /// Writes both tables into the documentation.
    pub(super) fn document(&self) {
        let mut page = fs::read_to_string(PAGE).unwrap();
        for (begin, table) in [(REQUESTS, self.requests()), (GROWTH, self.growth())] {
            let start = page.find(begin).expect("the page has both tables") + begin.len();
            let end = start + page[start..].find(END).expect("a table ends");
            page.replace_range(start..end, &table);
        }
        fs::write(PAGE, page).unwrap();
    }

    /// The requests that the bare pass-through got, too.
    fn requests(&self) -> String {
        let mut table =
            "| request | bare Pingora | gateway | ratio | goal |\n|---|---|---|---|---|\n"
                .to_owned();
        for Line { name, beside, counted } in &self.0 {
            let Some(bare) = beside.and_then(|bare| self.of(bare)) else { continue };
            let ratio = *counted as f64 / bare as f64;
            let goal = GOALS.iter().find(|(goal, _)| goal == name).map(|(_, goal)| {
                format!("{goal:.2}: {}", if ratio <= *goal { "met" } else { "not met" })
            });
            let (bare, counted) = (thousands(bare), thousands(*counted));
            let goal = goal.unwrap_or_default();
            writeln!(table, "| {name} | {bare} | {counted} | {ratio:.2} | {goal} |").unwrap();
        }
        table
    }

    /// How the cost grows.
    fn growth(&self) -> String {
        let mut table = "| with | instructions |\n|---|---|\n".to_owned();
        let is_bare = |name: &str| self.0.iter().any(|line| line.beside == Some(name));
        for Line { name, beside, counted } in &self.0 {
            if beside.is_none() && !is_bare(name) {
                writeln!(table, "| {name} | {} |", thousands(*counted)).unwrap();
            }
        }
        table
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

/// Writes a number with its thousands apart.
fn thousands(number: u64) -> String {
    match number {
        0..1_000 => number.to_string(),
        _ => format!("{} {:03}", thousands(number / 1_000), number % 1_000),
    }
}
