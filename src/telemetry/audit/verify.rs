//! Verifies a sealed trail: `doorwarden audit verify`.
//!
//! Each line must have the next number and a MAC that is valid after the one before it; each closed segment must end as its
//! anchor says, and the newest not before the place in the head. The first violation is reported, with the kind of change; to
//! determine that, the next line is read, or a line is searched elsewhere. A running gateway may write meanwhile: the head is
//! read before the lines, and half a line at the very end is no alarm.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::anchors::{Anchors, Head, HeadRead, SegmentChange, beside, segment_path};
use super::seal::{Mac, SealKey, SealKind, SealedLine};
use crate::secret::Digest;

/// The result for a valid trail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExaminedTrail {
    /// The number of files that were read.
    pub segments: u64,
    /// The number of lines that are valid.
    pub lines: u64,
    /// Number and MAC of the last line: noted elsewhere, they later show whether it is still there.
    pub last: Option<(u64, String)>,
    /// The places of half lines that a crash left.
    pub torn: Vec<String>,
    /// The number of segments that were dropped at the end of their retention.
    pub dropped: u64,
    /// The number of lines in the dropped segments.
    pub dropped_lines: u64,
}

/// Why a trail is not valid: the first violation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Alarm {
    /// The trail was changed.
    #[error("{}{}: {what}", file.display(), line.map(|line| format!(":{line}")).unwrap_or_default())]
    Broken {
        /// The file.
        file: PathBuf,
        /// The line in the file, counted from 1.
        line: Option<u64>,
        /// The violation.
        what: String,
    },
    /// The trail cannot be read.
    #[error("{0}")]
    Unreadable(String),
}

/// Verifies the trail that is written to `file`: all of its segments, or the `given` ones wherever they are now.
///
/// # Errors
/// The first violation.
pub fn examine(file: &Path, key_file: &Path, given: &[PathBuf]) -> Result<ExaminedTrail, Alarm> {
    let key = SealKey::read(key_file).map_err(Alarm::Unreadable)?;
    let anchors_path = beside(file, ".anchors");
    let head = match File::open(beside(file, ".head")) {
        Ok(head) => Head::read(&head, &key).map_err(|error| unreadable(file, &error))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => HeadRead::Absent,
        Err(error) => return Err(unreadable(&beside(file, ".head"), &error)),
    };
    let head = match head {
        HeadRead::Is(head) => head,
        HeadRead::Absent => {
            return Err(broken(
                &beside(file, ".head"),
                None,
                "it is missing, so nobody can say where the trail ends",
            ));
        }
        HeadRead::Damaged => {
            return Err(broken(
                &beside(file, ".head"),
                None,
                "it was changed, so nobody can say where the trail ends",
            ));
        }
    };
    let anchors =
        Anchors::read(&anchors_path, &key).map_err(|error| unreadable(&anchors_path, &error))?;
    if let Some(line) = anchors.broken {
        return Err(broken(
            &anchors_path,
            Some(line as u64),
            "this anchor was changed, removed, inserted or moved",
        ));
    }
    if (anchors.all.len() as u64) < head.anchors {
        let what =
            format!("{} anchors are missing at its end", head.anchors - anchors.all.len() as u64);
        return Err(broken(&anchors_path, None, what));
    }
    let mut examiner = Examiner {
        key,
        head,
        anchors,
        seen: ExaminedTrail::default(),
        seq: 0,
        mac: Mac::default(),
    };
    if given.is_empty() {
        examiner.whole(file)?
    } else {
        examiner.given(given)?
    }
    Ok(examiner.seen)
}

struct Examiner {
    key: SealKey,
    head: Head,
    anchors: Anchors,
    seen: ExaminedTrail,
    /// The number of the last valid line.
    seq: u64,
    mac: Mac,
}

impl Examiner {
    fn whole(&mut self, file: &Path) -> Result<(), Alarm> {
        let mut files = VecDeque::new();
        for segment in 1..=self.anchors.closed() {
            let path = segment_path(file, segment);
            let anchor = self.anchors.of(segment);
            let lines = anchor
                .map_or(0, |anchor| anchor.last_seq + 1 - anchor.first_seq.min(anchor.last_seq));
            match anchor {
                _ if self.anchors.is_dropped(segment) => {
                    self.seen.dropped += 1;
                    self.seen.dropped_lines += lines;
                }
                // Between anchor and new name, during a rotation or after a crash.
                Some(_) if !path.exists() && segment_of(file) == Some(segment) => {}
                Some(anchor) if !path.exists() => {
                    let how = match anchor.became {
                        SegmentChange::Moved => "was moved away while it was written",
                        SegmentChange::Closed | SegmentChange::Dropped => "is missing",
                    };
                    let (first, last) = (anchor.first_seq, anchor.last_seq);
                    return Err(broken(
                        &path,
                        None,
                        format!("segment {segment} {how}, with lines {first} to {last}"),
                    ));
                }
                Some(_) => files.push_back((segment, path)),
                None => {
                    return Err(broken(
                        &beside(file, ".anchors"),
                        None,
                        format!("segment {segment} has no anchor"),
                    ));
                }
            }
        }
        let current = self.anchors.closed() + 1;
        match segment_of(file) {
            Some(segment) => files.push_back((segment, file.to_path_buf())),
            None if self.head.segment >= current || file.exists() => {
                files.push_back((current, file.to_path_buf()))
            }
            None => {}
        }
        let all: Vec<PathBuf> = files.iter().map(|(_, path)| path.clone()).collect();
        for (segment, path) in files {
            self.start_at(segment);
            self.file(segment, &path, &all)?;
        }
        let what = format!(
            "lines {} to {} are missing at the end: it was truncated",
            self.seq + 1,
            self.head.seq
        );
        if self.seq < self.head.seq { Err(broken(file, None, what)) } else { Ok(()) }
    }

    fn given(&mut self, given: &[PathBuf]) -> Result<(), Alarm> {
        let mut files = Vec::new();
        for path in given {
            let name = path.to_string_lossy();
            if name.ends_with(".anchors") || name.ends_with(".head") {
                continue;
            }
            let segment = segment_of(path).ok_or_else(|| {
                broken(path, Some(1), "this line does not begin a segment of the trail")
            })?;
            files.push((segment, path.clone()));
        }
        files.sort();
        let all: Vec<PathBuf> = files.iter().map(|(_, path)| path.clone()).collect();
        for (segment, path) in files {
            self.start_at(segment);
            self.file(segment, &path, &all)?;
            if segment == self.head.segment && self.seq < self.head.seq {
                let what = format!(
                    "lines {} to {} are missing at the end: it was truncated",
                    self.seq + 1,
                    self.head.seq
                );
                return Err(broken(&path, None, what));
            }
        }
        Ok(())
    }

    /// Sets the beginning of a segment's chain to the end in the previous anchor.
    fn start_at(&mut self, segment: u64) {
        if let Some(before) = segment.checked_sub(1).and_then(|before| self.anchors.of(before)) {
            self.seq = before.last_seq;
            self.mac = Mac::parse(before.last_mac.as_bytes()).unwrap_or_default();
        } else if segment <= 1 {
            (self.seq, self.mac) = (0, Mac::default());
        }
    }

    fn file(&mut self, segment: u64, path: &Path, all: &[PathBuf]) -> Result<(), Alarm> {
        self.seen.segments += 1;
        let mut lines = TrailLines::open(path).map_err(|error| unreadable(path, &error))?;
        let mut n = 0;
        while let Some(line) = lines.next().map_err(|error| unreadable(path, &error))? {
            n += 1;
            let next = lines.peek().map_err(|error| unreadable(path, &error))?;
            let text = line.strip_suffix(b"\n").unwrap_or(&line);
            let sealed = SealedLine::parse(text);
            if let Some(sealed) = &sealed
                && sealed.seq == self.seq + 1
                && self.key.holds(SealKind::Line, sealed, self.mac)
                && line.len() > text.len()
            {
                let value = sealed.value().unwrap_or_default();
                if value.get("event").and_then(Value::as_str) == Some("trail_gap") {
                    return Err(broken(path, Some(n), gap(&value)));
                }
                if n == 1 && value.get("segment").and_then(Value::as_u64) != Some(segment) {
                    return Err(broken(
                        path,
                        Some(n),
                        "this line does not begin a segment of the trail",
                    ));
                }
                (self.seq, self.mac) = (sealed.seq, sealed.mac);
                self.seen.lines += 1;
                self.seen.last = Some((self.seq, self.mac.to_string()));
                continue;
            }
            if line.len() == text.len() && next.is_none() && self.is_newest(segment) {
                self.seen.torn.push(format!("{}:{n}", path.display()));
                continue;
            }
            if self.is_continued(text, next.as_deref()) {
                self.seen.torn.push(format!("{}:{n}", path.display()));
                continue;
            }
            let what = self.kind_of(sealed.as_ref(), next.as_deref(), all);
            return Err(broken(path, Some(n), what));
        }
        match self.anchors.of(segment) {
            Some(anchor) if self.seq < anchor.last_seq => {
                let what = format!(
                    "lines {} to {} are missing at the end: it was truncated",
                    self.seq + 1,
                    anchor.last_seq
                );
                Err(broken(path, None, what))
            }
            Some(anchor)
                if self.seq > anchor.last_seq || self.mac.to_string() != anchor.last_mac =>
            {
                Err(broken(
                    path,
                    None,
                    format!("it goes on after line {}, with which it was closed", anchor.last_seq),
                ))
            }
            _ => Ok(()),
        }
    }

    fn is_newest(&self, segment: u64) -> bool {
        segment >= self.head.segment && self.anchors.of(segment).is_none()
    }

    /// Whether this is half a line that the next line names.
    fn is_continued(&self, text: &[u8], next: Option<&[u8]>) -> bool {
        let next = next.and_then(|next| SealedLine::parse(next.strip_suffix(b"\n")?));
        let Some(next) = next.filter(|next| {
            next.seq == self.seq + 1 && self.key.holds(SealKind::Line, next, self.mac)
        }) else {
            return false;
        };
        let value = next.value().unwrap_or_default();
        let digest = URL_SAFE_NO_PAD.encode(Digest::of(text).as_bytes());
        value.get("event").and_then(Value::as_str) == Some("trail_continues")
            && value.get("torn_sha256").and_then(Value::as_str) == Some(&digest)
    }

    /// Describes what was done to an invalid line.
    fn kind_of(
        &self,
        sealed: Option<&SealedLine<'_>>,
        next: Option<&[u8]>,
        all: &[PathBuf],
    ) -> String {
        let expected = self.seq + 1;
        let next =
            next.and_then(|next| SealedLine::parse(next.strip_suffix(b"\n").unwrap_or(next)));
        let next_fits = next.is_some_and(|next| {
            next.seq == expected && self.key.holds(SealKind::Line, &next, self.mac)
        });
        match sealed {
            Some(sealed) if sealed.seq > expected => {
                let value = sealed.value().unwrap_or_default();
                if value.get("event").and_then(Value::as_str) == Some("trail_gap") {
                    gap(&value)
                } else if all.iter().any(|path| is_in(path, expected)) {
                    format!("line {expected} should be here: lines were reordered")
                } else if sealed.seq == expected + 1 {
                    format!("line {expected} was removed before this one")
                } else {
                    format!("lines {expected} to {} were removed before this one", sealed.seq - 1)
                }
            }
            _ if next_fits => "this line was inserted".to_owned(),
            Some(sealed) if sealed.seq < expected => {
                "this line was inserted: its number was there before".to_owned()
            }
            _ => format!("this line was changed; it is line {expected}"),
        }
    }
}

/// Reads lines with their ends, and can look ahead by one.
struct TrailLines {
    from: BufReader<File>,
    next: Option<Vec<u8>>,
}

impl TrailLines {
    fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { from: BufReader::new(File::open(path)?), next: None })
    }

    fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        match self.next.take() {
            Some(next) => Ok(Some(next)),
            None => self.read(),
        }
    }

    fn peek(&mut self) -> io::Result<Option<Vec<u8>>> {
        if self.next.is_none() {
            self.next = self.read()?;
        }
        Ok(self.next.clone())
    }

    fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        let read = self.from.read_until(b'\n', &mut line)?;
        Ok((read > 0).then_some(line))
    }
}

/// Returns the number of the segment that begins in this file.
fn segment_of(path: &Path) -> Option<u64> {
    let line = TrailLines::open(path).ok()?.next().ok()??;
    let value = SealedLine::parse(line.strip_suffix(b"\n")?)?.value()?;
    value.get("segment")?.as_u64()
}

/// Whether any line in the file has this number.
fn is_in(path: &Path, seq: u64) -> bool {
    let Ok(mut lines) = TrailLines::open(path) else { return false };
    while let Ok(Some(line)) = lines.next() {
        if SealedLine::parse(line.strip_suffix(b"\n").unwrap_or(&line))
            .is_some_and(|sealed| sealed.seq == seq)
        {
            return true;
        }
    }
    false
}

fn gap(value: &Value) -> String {
    let number = |name| value.get(name).and_then(Value::as_u64);
    match (number("after"), number("missing"), number("anchors_missing")) {
        (Some(after), Some(missing), _) => {
            format!(
                "the gateway found at its start that {missing} lines after line {after} had been truncated"
            )
        }
        (_, _, Some(missing)) => {
            format!("the gateway found at its start that {missing} anchors were missing")
        }
        _ => "the gateway found at its start that the head was missing or changed".to_owned(),
    }
}

fn broken(file: &Path, line: Option<u64>, what: impl Into<String>) -> Alarm {
    Alarm::Broken { file: file.to_path_buf(), line, what: what.into() }
}

fn unreadable(path: &Path, error: &io::Error) -> Alarm {
    Alarm::Unreadable(format!("{}: {error}", path.display()))
}
