//! The records about the trail beside its segments: an anchor for each closed segment, and the head.
//!
//! `FILE.anchors` has one sealed line for each closed segment, and another when that segment was dropped at the end of its
//! retention or moved away by another program's rotation. The file is never truncated, so the end of a dropped segment stays
//! known. `FILE.head` is one record of 512 bytes that is overwritten in place: how far the trail is on the disk. Without it,
//! missing lines at the end could not be detected. Whoever writes the trail holds the lock on the head.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::seal::{Mac, SealKey, SealKind, SealedLine};
use crate::clock::Timestamp;

/// The size of a sector, which a disk writes entirely or not at all.
const HEAD: usize = 512;

/// What happened to a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SegmentChange {
    /// The segment is complete.
    Closed,
    /// The segment was removed at the end of its retention.
    Dropped,
    /// Another program moved the segment away while it was written.
    Moved,
}

/// The record of one segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Anchor {
    pub(super) became: SegmentChange,
    pub(super) segment: u64,
    pub(super) first_seq: u64,
    pub(super) last_seq: u64,
    pub(super) last_mac: String,
    /// When the segment was begun, and when it was closed, in seconds since 1970.
    pub(super) from: u64,
    pub(super) to: u64,
}

/// The anchors of a trail, in order.
#[derive(Debug, Default)]
pub(super) struct Anchors {
    pub(super) all: Vec<Anchor>,
    /// The MACs of the lines, each at the index of its anchor.
    pub(super) macs: Vec<Mac>,
    /// The length of the file's complete lines, in bytes.
    pub(super) length: u64,
    /// The first line that does not verify, counted from 1.
    pub(super) broken: Option<usize>,
}

/// How far the trail is on the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) segment: u64,
    pub(super) first_seq: u64,
    /// When the segment was begun, in seconds since 1970.
    pub(super) from: u64,
    pub(super) last_mac: String,
    /// The number of the last line.
    #[serde(skip)]
    pub(super) seq: u64,
    pub(super) anchors: u64,
}

/// The result of reading the head.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HeadRead {
    /// There is no head.
    Absent,
    /// It is no head, or its MAC does not verify.
    Damaged,
    Is(Head),
}

pub(super) fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

pub(super) fn segment_path(file: &Path, segment: u64) -> PathBuf {
    beside(file, &format!(".{segment:06}"))
}

impl Anchors {
    /// Reads the anchors up to the first invalid line; an incomplete last line is ignored.
    pub(super) fn read(path: &Path, key: &SealKey) -> io::Result<Self> {
        let mut bytes = Vec::new();
        match File::open(path) {
            Ok(mut file) => file.read_to_end(&mut bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        let mut read = Self::default();
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        read.length = whole as u64;
        let lines = bytes.get(..whole).unwrap_or_default();
        for (n, line) in
            lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).enumerate()
        {
            let sealed = SealedLine::parse(line);
            let good = sealed.as_ref().is_some_and(|sealed| {
                sealed.seq == n as u64 + 1 && key.holds(SealKind::Anchor, sealed, read.last_mac())
            });
            if !good && read.broken.is_none() {
                read.broken = Some(n + 1);
            }
            let Some(sealed) = sealed else { continue };
            let Some(anchor) = sealed.value().and_then(|value| serde_json::from_value(value).ok())
            else {
                continue;
            };
            read.all.push(anchor);
            read.macs.push(sealed.mac);
        }
        Ok(read)
    }

    fn last_mac(&self) -> Mac {
        self.macs.last().copied().unwrap_or_default()
    }

    /// Returns the number of the last closed segment; 0 if none is closed.
    pub(super) fn closed(&self) -> u64 {
        self.all.iter().map(|anchor| anchor.segment).max().unwrap_or_default()
    }

    /// Returns the anchor with which this segment was closed.
    pub(super) fn of(&self, segment: u64) -> Option<&Anchor> {
        self.all.iter().find(|anchor| anchor.segment == segment)
    }

    pub(super) fn is_dropped(&self, segment: u64) -> bool {
        self.all
            .iter()
            .any(|anchor| anchor.segment == segment && anchor.became == SegmentChange::Dropped)
    }

    /// Appends an anchor, and syncs it to the disk.
    pub(super) fn add(&mut self, path: &Path, key: &SealKey, anchor: Anchor) -> io::Result<()> {
        let mut line = serde_json::to_vec(&anchor).map_err(io::Error::other)?;
        let seq = self.all.len() as u64 + 1;
        let mac = key.seal(SealKind::Anchor, &mut line, seq, self.last_mac());
        line.push(b'\n');
        let file =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        // An incomplete line that a crash left is removed.
        file.set_len(self.length)?;
        file.write_all_at(&line, self.length)?;
        file.sync_data()?;
        self.length += line.len() as u64;
        self.all.push(anchor);
        self.macs.push(mac);
        Ok(())
    }

    /// Returns the segments that are closed, still present, and older than `retention`.
    pub(super) fn overdue(&self, now: Timestamp, retention: std::time::Duration) -> Vec<Anchor> {
        let is_over = |anchor: &&Anchor| {
            anchor.became == SegmentChange::Closed
                && now.since(Timestamp::from_secs(anchor.to)) > retention
                && !self.is_dropped(anchor.segment)
        };
        self.all.iter().filter(is_over).cloned().collect()
    }
}

impl Head {
    pub(super) fn read(file: &File, key: &SealKey) -> io::Result<HeadRead> {
        let mut bytes = Vec::new();
        let mut block = [0; HEAD];
        while bytes.len() < HEAD {
            match file.read_at(&mut block, bytes.len() as u64)? {
                0 => break,
                n => bytes.extend_from_slice(block.get(..n).unwrap_or_default()),
            }
        }
        if bytes.is_empty() {
            return Ok(HeadRead::Absent);
        }
        let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let head = SealedLine::parse(line)
            .filter(|sealed| key.holds(SealKind::Head, sealed, Mac::default()));
        let head = head.and_then(|sealed| {
            let head = serde_json::from_value::<Self>(sealed.value()?).ok()?;
            Some(Self { seq: sealed.seq, ..head })
        });
        Ok(head.map_or(HeadRead::Damaged, HeadRead::Is))
    }

    pub(super) fn write(&self, file: &File, key: &SealKey) -> io::Result<()> {
        let mut line = serde_json::to_vec(self).map_err(io::Error::other)?;
        key.seal(SealKind::Head, &mut line, self.seq, Mac::default());
        line.push(b'\n');
        line.resize(line.len().max(HEAD), b' ');
        file.write_all_at(&line, 0)
    }
}

/// Returns a line with which the trail reports on itself. It is an object like every other line.
pub(super) fn own_line(at: Timestamp, event: &str, more: serde_json::Value) -> Vec<u8> {
    let mut line = Vec::new();
    // Writing texts and numbers to memory cannot fail.
    let _ = write!(line, "{{\"at\":\"{at}\",\"event\":\"{event}\"");
    for (name, value) in more.as_object().into_iter().flatten() {
        let _ = write!(line, ",{}:{value}", json!(name));
    }
    line.push(b'}');
    line
}
