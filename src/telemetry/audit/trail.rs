//! Writes the sealed trail: `FILE`, its closed segments from `FILE.000001` on, and the anchors and head beside them.
//!
//! ```text
//! audit.log.000001   closed            audit.log.anchors   an anchor for each closed segment
//! audit.log.000002   closed            audit.log.head      how far the trail is on the disk; the lock
//! audit.log          what is written
//! ```
//!
//! A batch is written under the lock on the head, and only after checking that the files are still those left before. So two
//! processes can write one trail (during an upgrade of the program), and a rotation by another program is detected. After a
//! crash the trail is continued: half a line is ended and named by the next (`trail_continues`, with the SHA-256 of the half),
//! and a file that is shorter than the head says gets a line about that (`trail_gap`), at which every verification fails.
//!
//! The order of writes makes a crash harmless: lines, then (once a second, and at the end) the sync to disk, then the head with
//! their number; at a rotation the anchor, then the new name, then the new file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::anchors::{
    Anchor, Anchors, Head, HeadRead, SegmentChange, beside, own_line, segment_path,
};
use super::open_private;
use super::seal::{Mac, SealKey, SealKind, SealedLine};
use crate::clock::{Clock, Timestamp};
use crate::config;
use crate::secret::Digest;
use crate::telemetry::lines::LogTarget;

/// The bytes that are collected before they are written.
const BATCH: usize = 64 * 1024;
/// How often the head is updated, at least.
const HEAD_AGE: Duration = Duration::from_secs(1);
/// How often retention is checked while nothing is written.
const IDLE: Duration = Duration::from_secs(600);
/// How far back the last line is searched at first.
const TAIL: u64 = 64 * 1024;

/// Writes the trail: see the head of this module.
pub(super) struct Trail {
    path: PathBuf,
    rotate_size: u64,
    rotate_after: Duration,
    retention: Duration,
    key: SealKey,
    clock: Arc<dyn Clock>,
    /// Kept open, and locked only while something is written.
    head: File,
    /// Where to continue; `None` if that has to be determined.
    at: Option<TrailPlace>,
    waiting: Vec<Vec<u8>>,
    bytes: usize,
    is_failing: bool,
}

/// The place at which the trail continues.
struct TrailPlace {
    file: File,
    is: (u64, u64),
    length: u64,
    segment: u64,
    first_seq: u64,
    from: u64,
    seq: u64,
    mac: Mac,
    anchors: Anchors,
    /// When the head was written, and whether lines have been written since.
    head_at: Timestamp,
    is_behind: bool,
}

/// The end of a file.
struct Tail {
    segment: Option<(u64, u64, u64)>,
    last: Option<(u64, Mac)>,
    torn: Vec<u8>,
}

impl Trail {
    pub(super) fn open(
        log: &config::Log,
        path: PathBuf,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, String> {
        let key = SealKey::open(&log.audit_key_file)?;
        let head = beside(&path, ".head");
        let head = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(head);
        let mut trail = Self {
            path,
            rotate_size: log.audit_rotate_size,
            rotate_after: log.audit_rotate_after,
            retention: log.audit_retention,
            key,
            clock,
            head: head.map_err(|error| error.to_string())?,
            at: None,
            waiting: Vec::new(),
            bytes: 0,
            is_failing: false,
        };
        // Any problem is reported at the start.
        trail.locked(Self::settle).map_err(|error| error.to_string())?;
        Ok(trail)
    }

    fn locked<R>(&mut self, act: impl FnOnce(&mut Self) -> io::Result<R>) -> io::Result<R> {
        self.head.lock()?;
        let done = act(self);
        if done.is_err() {
            self.at = None;
        }
        let _ = self.head.unlock();
        done
    }

    fn write_waiting(&mut self) -> io::Result<()> {
        let now = self.clock.now();
        self.settle()?;
        let place = self.at.as_ref().ok_or_else(lost)?;
        let age = now.since(Timestamp::from_secs(place.from));
        // A segment with nothing but its first line need not be rotated.
        if age >= self.rotate_after && place.seq > place.first_seq {
            self.rotate(now)?;
        }
        let mut batch = Vec::with_capacity(self.bytes + 128 * self.waiting.len());
        for mut line in std::mem::take(&mut self.waiting) {
            let place = self.at.as_ref().ok_or_else(lost)?;
            if place.length + batch.len() as u64 >= self.rotate_size {
                self.append(&mut batch)?;
                self.rotate(now)?;
            }
            let (key, place) = (&self.key, self.at.as_mut().ok_or_else(lost)?);
            place.seq += 1;
            place.mac = key.seal(SealKind::Line, &mut line, place.seq, place.mac);
            line.push(b'\n');
            batch.append(&mut line);
        }
        self.append(&mut batch)?;
        self.bytes = 0;
        self.follow(now, false)
    }

    /// Determines where the trail continues, if another program or process has touched it.
    fn settle(&mut self) -> io::Result<()> {
        if let Some(place) = &self.at
            && let Ok(there) = fs::metadata(&self.path)
            && (there.dev(), there.ino()) == place.is
            && there.len() == place.length
        {
            return Ok(());
        }
        self.at = None;
        let now = self.clock.now();
        let mut anchors = Anchors::read(&beside(&self.path, ".anchors"), &self.key)?;
        let read = Head::read(&self.head, &self.key)?;
        let is_new = read == HeadRead::Absent && anchors.all.is_empty();
        let mut file = open_private(&self.path)?;
        let mut tail = Tail::of(&mut file)?;
        if is_new && tail.segment.is_none() && file.metadata()?.len() > 0 {
            // A trail without MACs, from an earlier version: it stays as it is, under another name.
            fs::rename(&self.path, free(&beside(&self.path, ".unsealed")))?;
            file = open_private(&self.path)?;
            tail = Tail::of(&mut file)?;
        }
        if let Some((segment, ..)) = tail.segment
            && segment <= anchors.closed()
        {
            // A crash came between an anchor and the new name.
            fs::rename(&self.path, free(&segment_path(&self.path, segment)))?;
            file = open_private(&self.path)?;
            tail = Tail::of(&mut file)?;
        }
        let is_trail = tail.segment.is_some() || !anchors.all.is_empty();
        // Without the head it is unknown what is missing. It also holds the number of anchors.
        let mut gap = match &read {
            HeadRead::Damaged => Some(json!({"head": "damaged"})),
            HeadRead::Absent if is_trail => Some(json!({"head": "absent"})),
            HeadRead::Absent => None,
            HeadRead::Is(head) => {
                let there = anchors.all.len() as u64;
                (there < head.anchors).then(|| json!({"anchors_missing": head.anchors - there}))
            }
        };
        let head = match read {
            HeadRead::Is(head) => head,
            HeadRead::Absent | HeadRead::Damaged => Head::default(),
        };
        let head_mac = Mac::parse(head.last_mac.as_bytes()).unwrap_or_default();
        let last_anchor = anchors.all.iter().max_by_key(|anchor| anchor.segment);
        let anchored = last_anchor.map(|anchor| (anchor.last_seq, anchor.last_mac.clone()));
        let anchored = anchored.map_or((0, Mac::default()), |(seq, mac)| {
            (seq, Mac::parse(mac.as_bytes()).unwrap_or_default())
        });
        let meta = file.metadata()?;
        let length = meta.len();
        let mut place = TrailPlace {
            file,
            is: (meta.dev(), meta.ino()),
            length,
            segment: 0,
            first_seq: 0,
            from: now.as_secs(),
            seq: 0,
            mac: Mac::default(),
            anchors: Anchors::default(),
            head_at: Timestamp::from_secs(0),
            is_behind: true,
        };
        if length == 0 {
            let (seq, mac) = if head.seq > anchored.0 { (head.seq, head_mac) } else { anchored };
            if head.segment > anchors.closed() {
                // The file that was written is gone: it was moved, by another program's rotation or for another reason.
                let moved = Anchor {
                    became: SegmentChange::Moved,
                    segment: head.segment,
                    first_seq: head.first_seq,
                    last_seq: head.seq,
                    last_mac: head.last_mac.clone(),
                    from: head.from,
                    to: now.as_secs(),
                };
                anchors.add(&beside(&self.path, ".anchors"), &self.key, moved)?;
            }
            (place.segment, place.seq, place.mac) = (anchors.closed().max(head.segment), seq, mac);
            place.anchors = anchors;
            self.at = Some(place);
            self.begin(now)?;
            return self.tell(gap.map(|gap| own_line(now, "trail_gap", gap)).as_slice(), now);
        }
        let of_head = (head.segment.max(anchors.closed() + 1), head.first_seq, head.from);
        (place.segment, place.first_seq, place.from) = tail.segment.unwrap_or(of_head);
        let found = tail.last.unwrap_or(anchored);
        (place.seq, place.mac) = found;
        place.anchors = anchors;
        let mut lines = Vec::new();
        if !tail.torn.is_empty() {
            let digest = URL_SAFE_NO_PAD.encode(Digest::of(&tail.torn).as_bytes());
            let more = json!({"torn_bytes": tail.torn.len(), "torn_sha256": digest});
            lines.push(own_line(now, "trail_continues", more));
        }
        if found.0 < head.seq && head.segment == place.segment {
            (place.seq, place.mac) = (head.seq, head_mac);
            gap = Some(json!({"after": found.0, "missing": head.seq - found.0}));
        }
        lines.extend(gap.map(|gap| own_line(now, "trail_gap", gap)));
        if !tail.torn.is_empty() {
            // The half line ends here.
            place.file.write_all(b"\n")?;
            place.length += 1;
        }
        self.at = Some(place);
        self.tell(&lines, now)
    }

    fn tell(&mut self, lines: &[Vec<u8>], now: Timestamp) -> io::Result<()> {
        let mut batch = Vec::new();
        self.seal_own(lines, &mut batch)?;
        self.append(&mut batch)?;
        self.follow(now, true)
    }

    fn seal_own(&mut self, lines: &[Vec<u8>], batch: &mut Vec<u8>) -> io::Result<()> {
        let place = self.at.as_mut().ok_or_else(lost)?;
        for line in lines {
            let mut line = line.clone();
            place.seq += 1;
            place.mac = self.key.seal(SealKind::Line, &mut line, place.seq, place.mac);
            line.push(b'\n');
            batch.append(&mut line);
        }
        Ok(())
    }

    /// Writes the first line of the next segment, into an empty file.
    fn begin(&mut self, now: Timestamp) -> io::Result<()> {
        let place = self.at.as_mut().ok_or_else(lost)?;
        place.segment += 1;
        (place.first_seq, place.from) = (place.seq + 1, now.as_secs());
        let more = json!({"segment": place.segment, "from": place.from, "previous_mac": place.mac.to_string()});
        self.tell(&[own_line(now, "trail_segment", more)], now)?;
        self.drop_overdue(now)
    }

    fn rotate(&mut self, now: Timestamp) -> io::Result<()> {
        let place = self.at.as_mut().ok_or_else(lost)?;
        place.file.sync_data()?;
        let anchor = Anchor {
            became: SegmentChange::Closed,
            segment: place.segment,
            first_seq: place.first_seq,
            last_seq: place.seq,
            last_mac: place.mac.to_string(),
            from: place.from,
            to: now.as_secs(),
        };
        place.anchors.add(&beside(&self.path, ".anchors"), &self.key, anchor)?;
        fs::rename(&self.path, free(&segment_path(&self.path, place.segment)))?;
        place.file = open_private(&self.path)?;
        let meta = place.file.metadata()?;
        (place.is, place.length) = ((meta.dev(), meta.ino()), meta.len());
        self.begin(now)
    }

    fn append(&mut self, batch: &mut Vec<u8>) -> io::Result<()> {
        let place = self.at.as_mut().ok_or_else(lost)?;
        if batch.is_empty() {
            return Ok(());
        }
        place.file.write_all(batch)?;
        place.length += batch.len() as u64;
        place.is_behind = true;
        batch.clear();
        Ok(())
    }

    /// Updates the head, after the lines are synced to the disk.
    fn follow(&mut self, now: Timestamp, at_once: bool) -> io::Result<()> {
        let place = self.at.as_mut().ok_or_else(lost)?;
        if !place.is_behind || (!at_once && now.since(place.head_at) < HEAD_AGE) {
            return Ok(());
        }
        place.file.sync_data()?;
        let head = Head {
            segment: place.segment,
            first_seq: place.first_seq,
            from: place.from,
            last_mac: place.mac.to_string(),
            seq: place.seq,
            anchors: place.anchors.all.len() as u64,
        };
        head.write(&self.head, &self.key)?;
        (place.head_at, place.is_behind) = (now, false);
        Ok(())
    }

    fn drop_overdue(&mut self, now: Timestamp) -> io::Result<()> {
        let place = self.at.as_mut().ok_or_else(lost)?;
        let mut dropped = false;
        for anchor in place.anchors.overdue(now, self.retention) {
            match fs::remove_file(segment_path(&self.path, anchor.segment)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            let gone = Anchor { became: SegmentChange::Dropped, ..anchor };
            place.anchors.add(&beside(&self.path, ".anchors"), &self.key, gone)?;
            dropped = true;
        }
        place.is_behind |= dropped;
        self.follow(now, dropped)
    }
}

impl LogTarget for Trail {
    fn line(&mut self, mut line: Vec<u8>) -> u64 {
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        self.bytes += line.len();
        self.waiting.push(line);
        if self.bytes >= BATCH { self.flush() } else { 0 }
    }

    fn flush(&mut self) -> u64 {
        if self.waiting.is_empty() {
            return 0;
        }
        let lines = self.waiting.len() as u64;
        match self.locked(Self::write_waiting) {
            Ok(()) => {
                self.is_failing = false;
                0
            }
            Err(error) => {
                self.waiting.clear();
                self.bytes = 0;
                if !std::mem::replace(&mut self.is_failing, true) {
                    let file = self.path.display();
                    tracing::error!(%error, %file, "the audit trail cannot be written");
                }
                lines
            }
        }
    }

    /// Checks at once whether the file was moved, before the next line is written.
    fn reopen(&mut self) {
        self.at = None;
        let _ = self.locked(Self::settle);
    }

    fn rest(&mut self) -> Duration {
        let is_behind = self.at.as_ref().is_some_and(|place| place.is_behind);
        if is_behind {
            let now = self.clock.now();
            let is_due = self.at.as_ref().is_some_and(|place| now.since(place.head_at) >= HEAD_AGE);
            if !is_due {
                return HEAD_AGE;
            }
        }
        let now = self.clock.now();
        // The next batch reports what fails here.
        let _ = self.locked(|trail| {
            trail.settle()?;
            trail.follow(now, true)?;
            trail.drop_overdue(now)
        });
        IDLE
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        let now = self.clock.now();
        let _ = self.locked(|trail| {
            trail.settle()?;
            trail.follow(now, true)
        });
    }
}

impl Tail {
    fn of(file: &mut File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        let mut first = Vec::new();
        file.seek(SeekFrom::Start(0))?;
        io::Read::by_ref(file).take(4096).read_to_end(&mut first)?;
        let first = first.split(|byte| *byte == b'\n').next().and_then(SealedLine::parse);
        let segment = first.and_then(|sealed| {
            let value = sealed.value()?;
            let number = |name| value.get(name).and_then(serde_json::Value::as_u64);
            Some((number("segment")?, sealed.seq, number("from")?))
        });
        let mut back = TAIL;
        loop {
            let from = length.saturating_sub(back);
            let mut bytes = Vec::new();
            file.seek(SeekFrom::Start(from))?;
            io::Read::by_ref(file).take(length - from).read_to_end(&mut bytes)?;
            let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            let (whole, torn) = bytes.split_at_checked(end).unwrap_or_default();
            let last = whole.split(|byte| *byte == b'\n').rev().find_map(SealedLine::parse);
            if last.is_some() || from == 0 {
                let last = last.map(|sealed| (sealed.seq, sealed.mac));
                return Ok(Self { segment, last, torn: torn.to_vec() });
            }
            back *= 8;
        }
    }
}

/// Returns a path that does not exist yet, so that no file is overwritten.
fn free(path: &std::path::Path) -> PathBuf {
    let mut free = path.to_path_buf();
    let mut n = 1;
    while free.exists() {
        free = beside(path, &format!("-{n}"));
        n += 1;
    }
    free
}

fn lost() -> io::Error {
    io::Error::other("the end of the trail is not known")
}
