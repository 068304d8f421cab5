//! User instructions per request, counted by callgrind: of the gateway, and of the bare pass-through beside it.
//!
//! Times depend on who else uses the machine; instructions hardly do, and so a change shows in them that no time would show.
//! One worker thread serves one kept connection. Each number is the difference between 3 000 and 1 000 requests, divided by
//! the 2 000 that it is of, so that what happens once is not in it.
//!
//! `benches/instructions.txt` keeps the numbers: whoever changes them sees by how much in the diff. With `--check` the checked
//! request alone is counted, beside the bare pass-through, and their ratio is held against that file; more than [`TOLERANCE`] above
//! it fails. The numbers are those of the profile `counted`, which builds in less time than `release`.
//!
//! With the names of scenes (`count plain issuer`) those alone are counted and printed, and the file stays as it is. With
//! `DOORWARDEN_DUMPS=FOLDER` the dumps stay there, for `callgrind_annotate`.

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

/// How far above its number in the file a count may be.
const TOLERANCE: f64 = 0.05;

/// What CI holds against the file, and the line of the bare pass-through that got the same bytes.
const CHECKED: &str = "own token";
const BARE: &str = "bare, token";

/// Requests before anything is counted: the first ones allocate what later ones use.
const WARM: usize = 200;
const FEW: usize = 1_000;
const MANY: usize = 3_000;

/// Counts everything and writes the file, counts these scenes, or checks the one number.
pub(crate) fn run(arguments: &[&str]) {
    let upstream = Process::this_program(&["upstream"]);
    let mut table = Table::default();
    if arguments.contains(&"--check") {
        Scenes::new(&upstream, &mut table).checked();
        table.check(CHECKED, BARE, TOLERANCE);
        return;
    }
    // What starts with two hyphens is cargo's (`--bench`).
    let mut scenes = arguments.iter().filter(|one| !one.starts_with("--")).peekable();
    if scenes.peek().is_some() {
        scenes.for_each(|scene| Scenes::new(&upstream, &mut table).one(scene));
        table.print();
        return;
    }
    Scenes::new(&upstream, &mut table).all();
    growth::all(&upstream, &mut table);
    table.print();
    table.write();
}

/// Instructions of one request, of what `drive` sends so many times.
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
