//! Tests that a trail verifies after it was written, killed, moved and rotated, and that every change to it is detected.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::trail::Trail;
use super::verify::{Alarm, ExaminedTrail, examine};
use crate::clock::{Clock, Timestamp};
use crate::config;
use crate::telemetry::lines::LogTarget as _;

/// The seconds since 1970, as set by the test.
#[derive(Default)]
struct HandClock(AtomicU64);

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_secs(self.0.load(Ordering::Relaxed))
    }
}

struct Scene {
    folder: tempfile::TempDir,
    clock: Arc<HandClock>,
    log: config::Log,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = config::Log {
            audit_file: Some(folder.path().join("a.log")),
            audit_key_file: folder.path().join("key"),
            ..config::Log::default()
        };
        Self { folder, clock: Arc::default(), log }
    }

    fn file(&self) -> PathBuf {
        self.path("a.log")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn trail(&self) -> Trail {
        Trail::open(&self.log, self.file(), Arc::<HandClock>::clone(&self.clock)).unwrap()
    }

    /// Writes so many lines, a day later.
    fn write(&self, trail: &mut Trail, lines: usize) {
        self.clock.0.fetch_add(86_400, Ordering::Relaxed);
        for n in 0..lines {
            assert_eq!(
                trail.line(format!("{{\"event\":\"sign_in\",\"n\":{n}}}\n").into_bytes()),
                0
            );
        }
        assert_eq!(trail.flush(), 0);
    }

    fn examine(&self) -> Result<ExaminedTrail, Alarm> {
        examine(&self.file(), &self.log.audit_key_file, &[])
    }

    #[track_caller]
    fn holds(&self) -> ExaminedTrail {
        self.examine().unwrap_or_else(|alarm| panic!("{alarm}"))
    }

    /// Returns the alarm, without the folder.
    #[track_caller]
    fn alarm(&self) -> String {
        let alarm = self.examine().expect_err("somebody touched it").to_string();
        alarm.replace(&format!("{}/", self.folder.path().display()), "")
    }

    /// Returns a scene with a closed segment of lines 1 to 4, one of 5 to 7, and lines 8 to 11.
    fn of_three_segments() -> Self {
        let scene = Self::new();
        let mut trail = scene.trail();
        for lines in [3, 2, 3] {
            scene.write(&mut trail, lines);
        }
        drop(trail);
        scene
    }
}

fn read(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

fn put(path: &Path, lines: &[String]) {
    fs::write(path, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
}

fn events(path: &Path) -> Vec<String> {
    let event = |line: &String| serde_json::from_str::<Value>(line).ok();
    read(path)
        .iter()
        .filter_map(event)
        .map(|line| line["event"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn segments_are_closed_by_age_and_each_holds_by_itself() {
    let scene = Scene::of_three_segments();
    let seen = scene.holds();
    assert_eq!((seen.segments, seen.lines), (3, 11));
    assert_eq!(seen.last.unwrap().0, 11);
    for name in ["a.log.000001", "a.log.000002", "a.log"] {
        let given = [scene.path(name), scene.path("a.log.head"), scene.path("a.log.anchors")];
        let seen = examine(&scene.file(), &scene.log.audit_key_file, &given).unwrap();
        assert_eq!(seen.segments, 1, "{name}");
        assert_eq!(events(&scene.path(name))[0], "trail_segment");
    }
}

#[test]
fn a_segment_is_closed_by_size() {
    let mut scene = Scene::new();
    scene.log.audit_rotate_size = 2000;
    let mut trail = scene.trail();
    for _ in 0..40 {
        trail.line(format!("{{\"event\":\"{}\"}}", "x".repeat(100)).into_bytes());
    }
    assert_eq!(trail.flush(), 0);
    drop(trail);
    let seen = scene.holds();
    assert!(seen.segments >= 4 && seen.lines == 40 + seen.segments, "{seen:?}");
    assert!(fs::metadata(scene.path("a.log.000001")).unwrap().len() < 2400);
}

/// Each kind of change, at each line of each file.
#[test]
fn whatever_is_done_to_a_line_is_found_and_named() {
    let names = ["a.log.000001", "a.log.000002", "a.log"];
    let mut seen = 0;
    for (file, name) in names.iter().enumerate() {
        let first = [1, 5, 8][file];
        let count = read(&Scene::of_three_segments().path(name)).len();
        for at in 0..count {
            let (line, seq) = (at + 1, first + at);
            type Change = fn(&mut Vec<String>, usize);
            let changes: [(Change, String); 6] = [
                (
                    |lines, at| {
                        lines[at] =
                            lines[at].replacen("1970", "1971", 1).replacen("\"n\"", "\"m\"", 1)
                    },
                    format!(":{line}: this line was changed"),
                ),
                (|lines, at| lines[at].truncate(9), format!(":{line}: this line was changed")),
                (
                    |lines, at| lines.insert(at, "{\"event\":\"sign_in\"}".into()),
                    format!(":{line}: this line was inserted"),
                ),
                (
                    |lines, at| lines.insert(at, lines[at].clone()),
                    format!(":{}: this line was inserted", line + 1),
                ),
                (|lines, at| lines.truncate(at), "truncated".to_owned()),
                (
                    |lines, at| {
                        lines.remove(at);
                    },
                    format!("line {seq} was removed before this one"),
                ),
            ];
            for (n, (change, says)) in changes.iter().enumerate() {
                let scene = Scene::of_three_segments();
                let mut lines = read(&scene.path(name));
                change(&mut lines, at);
                put(&scene.path(name), &lines);
                let alarm = scene.alarm();
                // The first line of a file identifies the segment, and no line follows the last one.
                let is_edge = at == 0 || (n == 5 && at + 1 == count);
                assert!(is_edge || alarm.contains(says.as_str()), "{n} at {name}:{line}: {alarm}");
                assert!(alarm.contains(name) || is_edge, "{alarm}");
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 6 * 11);
}

#[test]
fn lines_that_change_places_are_named() {
    let scene = Scene::of_three_segments();
    let mut lines = read(&scene.file());
    lines.swap(1, 2);
    put(&scene.file(), &lines);
    assert_eq!(scene.alarm(), "a.log:2: line 9 should be here: lines were reordered");
    // A line is moved from one segment to another.
    let scene = Scene::of_three_segments();
    let (mut one, mut other) = (read(&scene.path("a.log.000002")), read(&scene.file()));
    other.insert(2, one.remove(1));
    put(&scene.path("a.log.000002"), &one);
    put(&scene.file(), &other);
    assert_eq!(scene.alarm(), "a.log.000002:2: line 6 should be here: lines were reordered");
}

#[test]
fn whole_segments_and_what_lies_beside_them_cannot_go_unnoticed() {
    type Change = fn(&Scene);
    let cases: [(Change, &str); 8] = [
        (
            |s| fs::remove_file(s.path("a.log.000001")).unwrap(),
            "a.log.000001: segment 1 is missing, with lines 1 to 4",
        ),
        (
            |s| fs::remove_file(s.path("a.log.000002")).unwrap(),
            "a.log.000002: segment 2 is missing, with lines 5 to 7",
        ),
        (
            |s| {
                fs::copy(s.path("a.log.000001"), s.path("a.log.000002")).unwrap();
            },
            "a.log.000002:1: this line was inserted",
        ),
        (|s| fs::remove_file(s.path("a.log.head")).unwrap(), "a.log.head: it is missing"),
        (|s| fs::write(s.path("a.log.head"), "{}").unwrap(), "a.log.head: it was changed"),
        (
            |s| fs::remove_file(s.path("a.log.anchors")).unwrap(),
            "a.log.anchors: 2 anchors are missing",
        ),
        (
            |s| {
                let lines = read(&s.path("a.log.anchors"));
                put(&s.path("a.log.anchors"), &lines[1..]);
            },
            "a.log.anchors:1: this anchor was changed",
        ),
        (|s| fs::write(s.path("key"), [7; 32]).unwrap(), "a.log.head: it was changed"),
    ];
    for (change, says) in cases {
        let scene = Scene::of_three_segments();
        change(&scene);
        let alarm = scene.alarm();
        assert!(alarm.starts_with(says), "{says}: {alarm}");
    }
}

/// A start of the gateway after a change to the trail does not hide the change.
#[test]
fn a_start_after_a_change_hides_nothing() {
    type Change = fn(&Scene);
    let cases: [(Change, &str); 6] = [
        (
            |s| {
                let lines = read(&s.file());
                put(&s.file(), &lines[..2]);
            },
            "a.log:3: the gateway found at its start that 2 lines after line 9 had been truncated",
        ),
        (
            |s| fs::remove_file(s.file()).unwrap(),
            "a.log.000003: segment 3 was moved away while it was written, with lines 8 to 11",
        ),
        (
            |s| fs::remove_file(s.path("a.log.head")).unwrap(),
            "a.log:5: the gateway found at its start that the head was missing or changed",
        ),
        (
            |s| fs::write(s.path("a.log.head"), "x").unwrap(),
            "a.log:5: the gateway found at its start that the head was missing or changed",
        ),
        (
            |s| {
                let lines = read(&s.path("a.log.anchors"));
                put(&s.path("a.log.anchors"), &lines[..1]);
            },
            "a.log:1: lines 5 to 7 were removed before this one",
        ),
        (
            |s| {
                let mut lines = read(&s.file());
                lines[3] = lines[3].replace("\"n\":2", "\"n\":7");
                put(&s.file(), &lines);
            },
            "a.log:4: this line was changed; it is line 11",
        ),
    ];
    for (change, says) in cases {
        let scene = Scene::of_three_segments();
        change(&scene);
        let mut trail = scene.trail();
        trail.line(b"{\"event\":\"sign_in\"}".to_vec());
        trail.flush();
        drop(trail);
        assert_eq!(scene.alarm(), says);
    }
}

#[test]
fn what_a_kill_leaves_is_continued_and_half_a_line_is_named() {
    for torn in 1..60 {
        let scene = Scene::of_three_segments();
        let text = fs::read(scene.file()).unwrap();
        let last = text.len()
            - fs::read_to_string(scene.file()).unwrap().lines().last().unwrap().len()
            - 1;
        // The head of a killed process is older than the lines.
        let mut trail = scene.trail();
        trail.line(
            b"{\"event\":\"sign_in\",\"who\":\"somebody with a long name, longer than that\"}"
                .to_vec(),
        );
        trail.flush();
        let head = fs::read(scene.path("a.log.head")).unwrap();
        std::mem::forget(trail);
        let whole = fs::metadata(scene.file()).unwrap().len();
        assert!(last < usize::try_from(whole).unwrap());
        fs::OpenOptions::new()
            .write(true)
            .open(scene.file())
            .unwrap()
            .set_len(text.len() as u64 + torn)
            .unwrap();
        fs::write(scene.path("a.log.head"), head).unwrap();
        let seen = scene.holds();
        assert_eq!((seen.lines, seen.torn.len()), (11, 1));
        let mut trail = scene.trail();
        trail.line(b"{\"event\":\"sign_out\"}".to_vec());
        trail.flush();
        drop(trail);
        let seen = scene.holds();
        assert_eq!((seen.lines, seen.torn), (13, vec![format!("{}:5", scene.file().display())]));
        assert_eq!(events(&scene.file())[4..], ["trail_continues", "sign_out"]);
        // The half cannot be changed afterwards.
        let mut lines = read(&scene.file());
        lines[4] = format!("x{}", &lines[4][1..]);
        put(&scene.file(), &lines);
        assert!(scene.alarm().starts_with("a.log:5: "), "{}", scene.alarm());
    }
}

/// A crash at each step of a rotation.
#[test]
fn a_rotation_that_was_interrupted_is_finished() {
    for step in 0..3 {
        let scene = Scene::of_three_segments();
        let before = (fs::read(scene.path("a.log.head")).unwrap(), fs::read(scene.file()).unwrap());
        let mut trail = scene.trail();
        scene.write(&mut trail, 1);
        std::mem::forget(trail);
        fs::write(scene.path("a.log.head"), &before.0).unwrap();
        match step {
            // The anchor exists, but not the new name.
            0 => fs::rename(scene.path("a.log.000003"), scene.file()).unwrap(),
            // The new file does not exist either.
            1 => fs::remove_file(scene.file()).unwrap(),
            // The new file is empty.
            _ => fs::write(scene.file(), "").unwrap(),
        }
        assert_eq!(scene.holds().lines, 11, "{step}");
        let mut trail = scene.trail();
        trail.line(b"{\"event\":\"sign_in\"}".to_vec());
        trail.flush();
        drop(trail);
        let seen = scene.holds();
        assert_eq!((seen.segments, seen.lines), (4, 13), "{step}");
    }
}

#[test]
fn retention_drops_whole_segments_and_keeps_their_anchors() {
    let mut scene = Scene::new();
    scene.log.audit_retention = Duration::from_secs(3 * 86_400);
    let mut trail = scene.trail();
    for _ in 0..8 {
        scene.write(&mut trail, 2);
    }
    let there = |n| scene.path(&format!("a.log.{n:06}")).exists();
    assert_eq!([1, 2, 3, 4, 5, 6, 7].map(there), [false, false, false, true, true, true, true]);
    // Retention works without a new line, too.
    scene.clock.0.fetch_add(4 * 86_400, Ordering::Relaxed);
    trail.rest();
    assert_eq!([4, 5, 6, 7].map(there), [false, false, false, false]);
    drop(trail);
    let seen = scene.holds();
    assert_eq!((seen.dropped, seen.dropped_lines, seen.segments), (7, 21, 1));
    let mut trail = scene.trail();
    scene.write(&mut trail, 2);
    drop(trail);
    assert_eq!(scene.holds().segments, 2);
    // A segment that is removed before the end of its retention is missed.
    fs::remove_file(scene.path("a.log.000008")).unwrap();
    assert!(scene.alarm().contains("segment 8 is missing"), "{}", scene.alarm());
}

#[test]
fn two_processes_write_one_trail() {
    let scene = Scene::new();
    let mut trails = [scene.trail(), scene.trail()];
    for n in 0..20 {
        let trail = &mut trails[n % 2];
        if n % 7 == 6 {
            scene.clock.0.fetch_add(86_400, Ordering::Relaxed);
        }
        trail.line(format!("{{\"event\":\"sign_in\",\"n\":{n}}}").into_bytes());
        assert_eq!(trail.flush(), 0);
    }
    drop(trails);
    let seen = scene.holds();
    assert_eq!((seen.segments, seen.lines), (3, 23));
}

#[test]
fn a_rotation_of_somebody_elses_is_noticed() {
    let scene = Scene::new();
    let mut trail = scene.trail();
    scene.write(&mut trail, 2);
    fs::rename(scene.file(), scene.path("old")).unwrap();
    trail.reopen();
    assert!(scene.file().exists());
    scene.write(&mut trail, 2);
    drop(trail);
    assert!(scene.alarm().contains("segment 1 was moved away"), "{}", scene.alarm());
    let given = [scene.file(), scene.path("old")];
    let seen = examine(&scene.file(), &scene.log.audit_key_file, &given);
    assert_eq!(seen.map(|seen| seen.segments), Ok(2));
}

#[test]
fn a_running_writers_last_line_may_be_half_there() {
    let scene = Scene::of_three_segments();
    fs::OpenOptions::new().append(true).open(scene.file()).unwrap().write_all(b"{\"at").unwrap();
    assert_eq!(scene.holds().torn.len(), 1);
    // Not at the end of a closed segment.
    fs::OpenOptions::new()
        .append(true)
        .open(scene.path("a.log.000001"))
        .unwrap()
        .write_all(b"{\"at")
        .unwrap();
    assert!(scene.alarm().starts_with("a.log.000001:5: "), "{}", scene.alarm());
}
