//! Runs a process whose user instructions callgrind counts.
//!
//! Counting begins with the first load, so that the start costs little. The counters are read by dumping them, which sets
//! them to zero. A dump itself costs instructions, but the same in each of two dumps, so they cancel out in the difference.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::Process;

/// Returns the command that runs the program under callgrind, with callgrind's files in `folder`.
pub(crate) fn command(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--quiet", "--instr-atstart=no", "--fair-sched=yes"])
        .arg(format!("--callgrind-out-file={}", folder.join("callgrind").display()))
        .arg(format!("--vgdb-prefix={}", folder.join("vgdb").display()))
        .arg(program);
    command
}

/// Reads the counters of a process that [`command`] started.
pub(crate) struct Counter {
    process: u32,
    folder: PathBuf,
    dumps: usize,
}

impl Counter {
    pub(crate) fn of(process: &Process, folder: &Path) -> Self {
        // Another counter may have dumped this process before, so the numbering of the dumps continues.
        let is_dump =
            |name: &str| name.strip_prefix("callgrind.").is_some_and(|n| n.parse::<u32>().is_ok());
        let files = fs::read_dir(folder).unwrap().flatten();
        let dumps = files.filter(|file| file.file_name().to_str().is_some_and(is_dump)).count();
        Self { process: process.id(), folder: folder.to_owned(), dumps }
    }

    /// Starts or stops counting.
    pub(crate) fn instrument(&self, on: bool) {
        self.tell(&["instrumentation", if on { "on" } else { "off" }]);
    }

    /// Returns the instructions counted since the previous call.
    pub(crate) fn take(&mut self) -> u64 {
        self.tell(&["dump"]);
        self.dumps += 1;
        let text = fs::read_to_string(self.dump()).unwrap();
        let totals = text.lines().rev().find_map(|line| line.strip_prefix("totals: "));
        totals.expect("a dump ends with its totals").trim().parse().unwrap()
    }

    /// Returns the path of the last dump, for `callgrind_annotate`.
    pub(crate) fn dump(&self) -> PathBuf {
        self.folder.join(format!("callgrind.{}", self.dumps))
    }

    fn tell(&self, words: &[&str]) {
        let told = Command::new("vgdb")
            .arg(format!("--pid={}", self.process))
            .arg(format!("--vgdb-prefix={}", self.folder.join("vgdb").display()))
            .args(words)
            .output()
            .unwrap();
        assert!(told.status.success(), "vgdb: {}", String::from_utf8_lossy(&told.stderr));
    }
}
