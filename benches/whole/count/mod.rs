//! Counts user instructions per request with callgrind: of the gateway and of the bare pass-through.
//!
//! Times depend on the other load of the machine; instructions hardly do, so they show changes that are too small for a
//! clock. One worker thread serves one kept connection. Each number is the difference between 3 000 and 1 000 requests,
//! divided by 2 000, so that one-time costs are left out.
//!
//! `benches/instructions.txt` has the numbers, so that a change of them shows in the diff. With `--check` only the checked
//! request and the bare pass-through are counted, and their ratio is compared with that file; more than [`TOLERANCE`] above
//! it is a failure. The numbers are those of the profile `counted`, which builds in less time than `release`.
//!
//! With names of scenes (`count plain issuer sessions`) only those are counted and printed, and the file stays as it is. With
//! `DOORWARDEN_DUMPS=FOLDER` the dumps stay in that folder, for `callgrind_annotate`.

pub(crate) mod callgrind;
pub(crate) mod growth;
pub(crate) mod http2;
mod scenes;
mod table;

use std::fs;
use std::path::PathBuf;

use self::callgrind::Counter;
use self::scenes::Scenes;
use self::table::Table;
use crate::process::Process;

/// How far a count may exceed its number in the file.
const TOLERANCE: f64 = 0.05;

/// The line that CI compares with the file, and the line of the bare pass-through that got the same bytes.
const CHECKED: &str = "own token";
const BARE: &str = "bare, token";

/// Requests before counting starts: the first ones make allocations that later ones reuse.
const WARM: usize = 200;
const FEW: usize = 1_000;
const MANY: usize = 3_000;

/// Counts everything and writes the file, counts the named scenes, or checks the one number.
pub(crate) fn run(arguments: &[&str]) {
    let upstream = Process::this_program(&["upstream"]);
    let mut table = Table::default();
    if arguments.contains(&"--check") {
        Scenes::new(&upstream, &mut table).checked();
        table.check(CHECKED, BARE, TOLERANCE);
        return;
    }
    // Arguments that start with two hyphens are cargo's (`--bench`).
    let mut scenes = arguments.iter().filter(|one| !one.starts_with("--")).peekable();
    if scenes.peek().is_some() {
        scenes.for_each(|scene| Scenes::new(&upstream, &mut table).one(scene));
        table.print();
        return;
    }
    Scenes::new(&upstream, &mut table).all();
    table.print();
    table.write();
    table.document();
}

/// Returns the instructions of one request; `drive` sends as many requests as its argument says.
fn count(name: &str, counter: &mut Counter, mut drive: impl FnMut(usize)) -> u64 {
    counter.instrument(true);
    drive(WARM);
    counter.take();
    drive(FEW);
    let few = counter.take();
    drive(MANY);
    let many = counter.take();
    counter.instrument(false);
    if let Some(folder) = std::env::var_os("DOORWARDEN_DUMPS") {
        let to = PathBuf::from(folder).join(name.replace([' ', '\'', '/'], "-"));
        fs::copy(counter.dump(), to).unwrap();
    }
    many.saturating_sub(few) / (MANY - FEW) as u64
}
