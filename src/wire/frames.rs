//! Limits the HTTP/2 frames that carry no data of a request (RFC 9113 section 10.5).
//!
//! A client can keep a server busy with pings, settings, resets, empty DATA and similar frames for a few bytes each. Each of
//! them takes from a budget that refills with time and with answers: an answer's bytes and frames are the reason for window
//! updates and for the pings of a client that measures its bandwidth. A connection whose budget is used up is closed. The
//! budget is far beyond the needs of a browser that cancels a page's requests, or of a client that pings every second.
//!
//! A client that sends beyond a stream's window is disconnected too. The HTTP/2 library only resets the stream (section
//! 6.9.1 permits that), and would go on to read and discard everything that comes for it.

use std::time::Instant;

/// The most frames that a connection may send at once.
const MOST: u32 = 1000;
/// The frames that a connection regains each second.
const PER_SECOND: u32 = 50;
/// The bytes of an answer that allow one window update.
const ANSWER_BYTES: u64 = 2 * 1024;
/// The frames that may come for each frame of an answer: window updates of its stream and of the connection.
const FOR_ANSWER: u32 = 2;
/// The cost of a reset, which ends a request that was begun for nothing.
const RESET_COST: u32 = 2;

/// The length of the preface that clients send before the first frame.
const PREFACE: u32 = 24;
const HEAD: usize = 9;
/// The length of the error code of a reset, which follows the frame's head.
const CODE: usize = 4;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
/// The reasons for resetting a stream for which its client is to blame (RFC 9113 section 7).
const PROTOCOL_ERROR: [u8; CODE] = [0, 0, 0, 1];
const FLOW_CONTROL_ERROR: [u8; CODE] = [0, 0, 0, 3];
const STREAM_CLOSED: [u8; CODE] = [0, 0, 0, 5];
const REFUSED_STREAM: [u8; CODE] = [0, 0, 0, 7];

/// The frame budget of a connection, which reads frames from the bytes of both directions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FrameBudget {
    received: Frames,
    sent: Frames,
    left: u32,
    filled: Instant,
    answered: u64,
}

/// The reason for closing the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Excess {
    /// The budget is used up.
    Frames,
    /// The client has sent beyond a stream's window.
    Window,
}

/// The position in the frames of one direction of a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Frames {
    /// The bytes of the current frame, or of the preface, that are still to come.
    skip: u32,
    head: [u8; HEAD + CODE],
    have: usize,
}

/// A frame whose head has been read.
struct Frame {
    kind: u8,
    length: u32,
    /// The error code of a reset.
    code: [u8; CODE],
}

impl FrameBudget {
    /// Creates the budget of a connection that begins now.
    pub const fn new(now: Instant) -> Self {
        Self {
            received: Frames::after(PREFACE),
            sent: Frames::after(0),
            left: MOST,
            filled: now,
            answered: 0,
        }
    }

    /// Counts bytes that the client sent.
    ///
    /// # Errors
    /// [`Excess::Frames`].
    pub fn read(&mut self, mut bytes: &[u8], now: Instant) -> Result<(), Excess> {
        while let Some(frame) = self.received.next(&mut bytes) {
            match (frame.kind, frame.length) {
                // Requests are limited by the number of streams, and cancelled ones by the cost of resets.
                (DATA, 1..) | (HEADERS, _) => {}
                (RST_STREAM, _) => self.pay(RESET_COST, now)?,
                _ => self.pay(1, now)?,
            }
        }
        Ok(())
    }

    /// Counts bytes that were sent to the client.
    ///
    /// # Errors
    /// [`Excess::Window`], or [`Excess::Frames`] after too many requests that were invalid or beyond the stream limit.
    pub fn wrote(&mut self, mut bytes: &[u8], now: Instant) -> Result<(), Excess> {
        self.answered =
            self.answered.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        let due = self.answered / ANSWER_BYTES;
        self.answered %= ANSWER_BYTES;
        self.earn(u32::try_from(due).unwrap_or(u32::MAX));
        while let Some(frame) = self.sent.next(&mut bytes) {
            match (frame.kind, frame.length) {
                (DATA, 1..) | (HEADERS, _) => self.earn(FOR_ANSWER),
                (RST_STREAM, _) => match frame.code {
                    FLOW_CONTROL_ERROR => return Err(Excess::Window),
                    PROTOCOL_ERROR | STREAM_CLOSED | REFUSED_STREAM => self.pay(RESET_COST, now)?,
                    _ => {}
                },
                _ => {}
            }
        }
        Ok(())
    }

    fn earn(&mut self, frames: u32) {
        self.left = self.left.saturating_add(frames).min(MOST);
    }

    fn pay(&mut self, cost: u32, now: Instant) -> Result<(), Excess> {
        if self.left < cost {
            let since = now.saturating_duration_since(self.filled).as_millis();
            let due = since.saturating_mul(u128::from(PER_SECOND)) / 1000;
            self.filled = now;
            self.earn(u32::try_from(due).unwrap_or(u32::MAX));
        }
        self.left = self.left.checked_sub(cost).ok_or(Excess::Frames)?;
        Ok(())
    }
}

impl Frames {
    const fn after(skip: u32) -> Self {
        Self { skip, head: [0; HEAD + CODE], have: 0 }
    }

    /// Returns the next frame whose head ends in these bytes, and takes the bytes up to there.
    fn next(&mut self, bytes: &mut &[u8]) -> Option<Frame> {
        loop {
            let skipped = bytes.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
            self.skip -= u32::try_from(skipped).unwrap_or(self.skip);
            *bytes = bytes.get(skipped..).unwrap_or_default();
            let (&byte, rest) = bytes.split_first()?;
            *bytes = rest;
            if let Some(slot) = self.head.get_mut(self.have) {
                *slot = byte;
            }
            self.have += 1;
            let [high, middle, low, kind, ..] = self.head;
            let length = u32::from_be_bytes([0, high, middle, low]);
            // A reset has four bytes; one of another length is invalid.
            let has_code = kind == RST_STREAM && usize::try_from(length) == Ok(CODE);
            if self.have == if has_code { HEAD + CODE } else { HEAD } {
                self.have = 0;
                self.skip = if has_code { 0 } else { length };
                let [.., a, b, c, d] = self.head;
                let code = if has_code { [a, b, c, d] } else { [0; CODE] };
                return Some(Frame { kind, length, code });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

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

    /// Returns how many frames pass at once, whole and in parts.
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
        // A frame of DATA, with the window updates that its bytes and the frame allow.
        assert_eq!(budget.wrote(&frame(DATA, 64 * 1024), now), Ok(()));
        assert!(can_send(&mut budget, 34, 2));
        assert!(can_send(&mut budget, 1000, 3600));
        assert!(!can_send(&mut budget, 1, 3600));
    }

    /// An event stream of short events, or a client that pings after each: the frames that follow an answer's frames are no
    /// flood.
    #[test]
    fn short_frames_of_an_answer_have_their_window_updates() {
        const WINDOW_UPDATE: u8 = 8;
        let now = Instant::now();
        let mut budget = begun(now);
        for _ in 0..10_000 {
            assert_eq!(budget.wrote(&frame(DATA, 20), now), Ok(()));
            for _ in 0..2 {
                assert_eq!(budget.read(&frame(WINDOW_UPDATE, 4), now), Ok(()));
            }
        }
        // Acknowledgements earn nothing.
        for _ in 0..1000 {
            assert_eq!(budget.wrote(&frame(PING, 8), now), Ok(()));
        }
        assert!((0..=MOST).any(|_| budget.read(&frame(PING, 8), now).is_err()));
    }

    /// The rule is that of RFC 9113 section 6.9.1.
    #[test]
    fn a_window_that_was_not_kept_is_the_end() {
        let reset = |code: u8| {
            let mut bytes = frame(SETTINGS, 6);
            bytes.extend(frame(RST_STREAM, 4));
            *bytes.last_mut().unwrap() = code;
            bytes
        };
        for (code, expected) in [(0, Ok(())), (8, Ok(())), (3, Err(Excess::Window))] {
            for part in [1, 3, 100] {
                let now = Instant::now();
                let mut budget = FrameBudget::new(now);
                let bytes = reset(code);
                let wrote = bytes.chunks(part).try_for_each(|part| budget.wrote(part, now));
                assert_eq!(wrote, expected, "{code} in parts of {part}");
            }
        }
    }

    fn in_parts<'a>(mut bytes: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
        let mut parts = Vec::new();
        for size in sizes.iter().cycle() {
            if bytes.is_empty() {
                break;
            }
            let (part, rest) = bytes.split_at(bytes.len().min(*size));
            parts.push(part);
            bytes = rest;
        }
        parts
    }

    /// Streams beyond the limit, and invalid requests.
    #[test]
    fn streams_that_are_reset_for_their_client_are_limited() {
        for (code, passes) in [(1, 500), (5, 500), (7, 500), (0, 2000), (8, 2000), (2, 2000)] {
            let now = Instant::now();
            let mut budget = begun(now);
            let mut reset = frame(RST_STREAM, 4);
            *reset.last_mut().unwrap() = code;
            let sent = (0..2000).take_while(|_| budget.wrote(&reset, now).is_ok()).count();
            assert!(sent >= passes && sent < passes + 10, "{code}: {sent}");
        }
    }

    proptest! {
        #[test]
        fn any_parts_are_read_alike(
            bytes in prop::collection::vec(prop_oneof![0_u8..10, any::<u8>()], 0..2000),
            cuts in prop::collection::vec(1_usize..40, 1..20),
        ) {
            let now = Instant::now();
            let (mut whole, mut parts) = (FrameBudget::new(now), FrameBudget::new(now));
            let read = whole.read(&bytes, now);
            let wrote = whole.wrote(&bytes, now);
            let pieces = || in_parts(&bytes, &cuts).into_iter();
            prop_assert_eq!(pieces().try_for_each(|part| parts.read(part, now)), read);
            prop_assert_eq!(pieces().try_for_each(|part| parts.wrote(part, now)), wrote);
            if read.is_ok() && wrote.is_ok() {
                prop_assert_eq!(whole, parts);
            }
        }
    }
}
