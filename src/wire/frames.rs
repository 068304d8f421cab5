//! How much HTTP/2 frames that carry nothing may cost (RFC 9113 section 10.5).
//!
//! A client can keep a server busy with pings, settings, resets, empty DATA and the rest for a few bytes each. Each of them
//! takes from a budget that fills again with time, with data of a request, and with bytes of answers (which are what window
//! updates are for). Who has used it up is cut off. The budget is far beyond what a browser that cancels a page's requests,
//! or a client that pings every second, needs.

use std::time::Instant;

/// Frames that a connection may send at once.
const MOST: u32 = 1000;
/// Frames that it gets again each second.
const PER_SECOND: u32 = 50;
/// Bytes of an answer for which one window update is due.
const ANSWER_BYTES: u64 = 2 * 1024;
/// A reset ends a request that was begun for nothing.
const RESET_COST: u32 = 2;

/// What clients send before the first frame.
const PREFACE: u32 = 24;
const HEAD: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;

/// A connection's frames, read from the bytes that the client sends.
#[derive(Debug)]
pub struct FrameBudget {
    /// Bytes of the current frame, or of the preface, that are still to come.
    skip: u32,
    head: [u8; HEAD],
    have: usize,
    left: u32,
    filled: Instant,
    answered: u64,
}

/// The budget is used up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooManyFrames;

impl FrameBudget {
    /// For a connection that begins now.
    pub const fn new(now: Instant) -> Self {
        Self { skip: PREFACE, head: [0; HEAD], have: 0, left: MOST, filled: now, answered: 0 }
    }

    /// Bytes that the client sent.
    ///
    /// # Errors
    /// [`TooManyFrames`].
    pub fn read(&mut self, mut bytes: &[u8], now: Instant) -> Result<(), TooManyFrames> {
        loop {
            let skipped = bytes.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
            self.skip -= u32::try_from(skipped).unwrap_or(self.skip);
            bytes = bytes.get(skipped..).unwrap_or_default();
            let Some((&byte, rest)) = bytes.split_first() else { return Ok(()) };
            if let Some(slot) = self.head.get_mut(self.have) {
                *slot = byte;
            }
            bytes = rest;
            self.have += 1;
            if self.have == HEAD {
                self.have = 0;
                let [high, middle, low, kind, ..] = self.head;
                self.skip = u32::from_be_bytes([0, high, middle, low]);
                self.pay(kind, now)?;
            }
        }
    }

    /// Bytes of answers that were sent.
    pub fn wrote(&mut self, bytes: usize) {
        self.answered = self.answered.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        let due = self.answered / ANSWER_BYTES;
        self.answered %= ANSWER_BYTES;
        self.earn(u32::try_from(due).unwrap_or(u32::MAX));
    }

    fn earn(&mut self, frames: u32) {
        self.left = self.left.saturating_add(frames).min(MOST);
    }

    fn pay(&mut self, kind: u8, now: Instant) -> Result<(), TooManyFrames> {
        let cost = match (kind, self.skip) {
            // Requests are limited by the number of streams, and their ends by what resets cost.
            (DATA, 1..) | (HEADERS, _) => return Ok(()),
            (RST_STREAM, _) => RESET_COST,
            _ => 1,
        };
        if self.left < cost {
            let since = now.saturating_duration_since(self.filled).as_millis();
            let due = since.saturating_mul(u128::from(PER_SECOND)) / 1000;
            self.filled = now;
            self.earn(u32::try_from(due).unwrap_or(u32::MAX));
        }
        self.left = self.left.checked_sub(cost).ok_or(TooManyFrames)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PING: u8 = 6;
    const SETTINGS: u8 = 4;
    const CONTINUATION: u8 = 9;

    fn frame(kind: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).unwrap().to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], kind, 0, 0, 0, 0, 1];
        bytes.extend(vec![0; payload]);
        bytes
    }

    fn begun(now: Instant) -> FrameBudget {
        let mut budget = FrameBudget::new(now);
        budget.read(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", now).unwrap();
        budget
    }

    /// How many pass at once, whole and in parts.
    fn passes(kind: u8, payload: usize) -> usize {
        let now = Instant::now();
        let mut budget = begun(now);
        let frame = frame(kind, payload);
        let parts = frame.chunks(5);
        (0..5000).take_while(|_| parts.clone().all(|part| budget.read(part, now).is_ok())).count()
    }

    #[test]
    fn what_carries_nothing_is_limited() {
        assert_eq!(passes(PING, 8), 1000);
        assert_eq!(passes(SETTINGS, 0), 1000);
        assert_eq!(passes(SETTINGS, 6), 1000);
        assert_eq!(passes(CONTINUATION, 1), 1000);
        assert_eq!(passes(DATA, 0), 1000);
        assert_eq!(passes(0xbe, 3), 1000);
        assert_eq!(passes(RST_STREAM, 4), 500);
        assert_eq!(passes(DATA, 1), 5000);
        assert_eq!(passes(HEADERS, 20), 5000);
    }

    #[test]
    fn it_fills_again_with_time_and_with_answers() {
        let now = Instant::now();
        let mut budget = begun(now);
        let ping = frame(PING, 8);
        let can_send = |budget: &mut FrameBudget, frames: usize, seconds| {
            let at = now + Duration::from_secs(seconds);
            (0..frames).all(|_| budget.read(&ping, at).is_ok())
        };
        assert!(can_send(&mut budget, 1000, 0));
        assert!(can_send(&mut budget, 100, 2));
        budget.wrote(64 * 1024);
        assert!(can_send(&mut budget, 32, 2));
        assert!(can_send(&mut budget, 1000, 3600));
        assert!(!can_send(&mut budget, 1, 3600));
    }
}
