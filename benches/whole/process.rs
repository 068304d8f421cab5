//! Runs a process that is measured, and reads its CPU time.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long a process may take to start: under callgrind, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A child process that serves an address; it ends when this value is dropped.
pub(crate) struct Process {
    child: Child,
    address: SocketAddr,
}

/// The running time of each of the process's threads.
pub(crate) struct CpuTime(HashMap<PathBuf, u64>);

impl Process {
    /// Starts this program in another of its roles, and reads the address that it serves.
    pub(crate) fn this_program(arguments: &[&str]) -> Self {
        Self::started_by(Command::new(std::env::current_exe().unwrap()).args(arguments))
    }

    /// Starts a child that prints the address that it serves.
    pub(crate) fn started_by(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        Self { child, address: line.trim().parse().expect("the child prints its address") }
    }

    /// Wraps a child; `address` finds out what it serves. `None` if the child ends or takes too long.
    pub(crate) fn new(mut child: Child, address: impl Fn() -> Option<SocketAddr>) -> Option<Self> {
        let begun = Instant::now();
        loop {
            if let Some(address) = address() {
                return Some(Self { child, address });
            }
            if child.try_wait().unwrap().is_some() || begun.elapsed() > PATIENCE {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
            pause();
        }
    }

    /// Returns the process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the address that the process serves.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the CPU time so far of the process and its children, to the nanosecond: `/proc/PID/stat` counts in
    /// hundredths of a second, which is some percent of a round and thus more than the differences to be measured.
    pub(crate) fn cpu_time(&self) -> CpuTime {
        let processes = std::iter::once(self.child.id()).chain(self.children());
        let threads = processes
            .filter_map(|process| fs::read_dir(format!("/proc/{process}/task")).ok())
            .flatten();
        let times = threads.filter_map(|thread| {
            let thread = thread.unwrap().path();
            // A thread that ends between the two steps has no readable time any more.
            let text = fs::read_to_string(thread.join("schedstat")).ok()?;
            let on_cpu = text.split(' ').next().unwrap().parse().unwrap();
            Some((thread, on_cpu))
        });
        CpuTime(times.collect())
    }
}

impl Process {
    /// Returns the direct children: a peer's workers.
    fn children(&self) -> Vec<u32> {
        let parent = self.child.id().to_string();
        let is_child = |process: &u32| {
            let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
            // The name, which is in parentheses, can contain spaces.
            let after_name = stat.rsplit(") ").next().unwrap_or_default();
            after_name.split(' ').nth(1) == Some(parent.as_str())
        };
        let all = fs::read_dir("/proc").unwrap();
        all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(is_child)
            .collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Its children would outlive the process if it is killed before it can end them.
        for child in self.children() {
            let _ = Command::new("kill").arg(child.to_string()).status();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl CpuTime {
    /// Returns the time used after `earlier`. A thread that ended in between is left out; workers do not end.
    pub(crate) fn since(&self, earlier: &Self) -> Duration {
        let nanos = self.0.iter().map(|(thread, now)| now - earlier.0.get(thread).unwrap_or(&0));
        Duration::from_nanos(nanos.sum())
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "nothing is measured yet, and a log cannot be waited for"
)]
fn pause() {
    thread::sleep(Duration::from_millis(20));
}

/// For a child: binds a free port and prints the address for the parent.
#[expect(clippy::print_stdout, reason = "the parent reads the address from there")]
pub(crate) fn bind_and_tell() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", listener.local_addr().unwrap());
    listener
}

/// For a child: returns when the parent has ended, in whatever way.
pub(crate) fn wait_for_the_parents_end() {
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}
