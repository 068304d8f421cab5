//! Writes log lines as JSON: one object per line, with the time, the level, the event's fields, and its target.
//!
//! The subscriber library can write the same lines, but serializes each field through three layers of traits. An access line
//! has twenty-five fields on every request: that was a third of the cost of such a request. Here each field is written directly
//! into the line. Characters that could end a line or a string are always escaped.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_log::NormalizeEvent as _;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::lines::LineSink;
use crate::clock::Timestamp;

/// The initial capacity of a line; an access line has some 600 bytes.
const USUAL: usize = 768;

/// Writes every event as a JSON line.
#[derive(Debug)]
pub(super) struct JsonLines(LineSink);

impl JsonLines {
    pub(super) const fn to(sink: LineSink) -> Self {
        Self(sink)
    }
}

impl<S: Subscriber> Layer<S> for JsonLines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        // An event from the bridge to the `log` crate has its origin in its fields.
        let normalized = event.normalized_metadata();
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        let mut line = JsonLine(Vec::with_capacity(USUAL));
        line.raw(b"{\"timestamp\":\"");
        line.time(now_micros());
        line.raw(b"\",\"level\":\"");
        line.raw(metadata.level().as_str().as_bytes());
        line.raw(b"\"");
        event.record(&mut line);
        line.name("target");
        line.text(metadata.target());
        line.raw(b"}\n");
        self.0.line(line.0);
    }
}

#[expect(clippy::disallowed_methods, reason = "a line says when it was written")]
fn now_micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// A line that is being written.
struct JsonLine(Vec<u8>);

impl JsonLine {
    fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Writes a time with microseconds.
    fn time(&mut self, micros: u64) {
        let text = Timestamp::from_millis(micros / 1000).to_string();
        let (rest, [a, b, c]) = (text.strip_suffix('Z').unwrap_or(&text), digits(micros % 1000));
        self.raw(rest.as_bytes());
        self.raw(&[a, b, c, b'Z']);
    }

    /// Writes the name of a member, after a comma.
    fn name(&mut self, name: &str) {
        self.raw(b",");
        self.text(name);
        self.raw(b":");
    }

    fn text(&mut self, text: &str) {
        self.raw(b"\"");
        self.escaped(text);
        self.raw(b"\"");
    }

    /// Escapes quotation mark, reverse solidus and control characters (RFC 8259 section 7).
    #[expect(clippy::indexing_slicing, reason = "there is a place for each byte")]
    fn escaped(&mut self, text: &str) {
        // Checks all bytes without a branch for each.
        if !text.bytes().fold(false, |any, byte| any | ESCAPED[usize::from(byte)]) {
            return self.raw(text.as_bytes());
        }
        for byte in text.bytes() {
            match byte {
                b'"' => self.raw(b"\\\""),
                b'\\' => self.raw(b"\\\\"),
                b'\n' => self.raw(b"\\n"),
                b'\r' => self.raw(b"\\r"),
                b'\t' => self.raw(b"\\t"),
                byte if ESCAPED[usize::from(byte)] => {
                    self.raw(b"\\u00");
                    self.raw(&[hex(byte >> 4), hex(byte & 0xF)]);
                }
                byte => self.0.push(byte),
            }
        }
    }

    fn number(&mut self, mut number: u64) {
        // 2^64 has 20 digits.
        let (mut digits, mut length) = ([0; 20], 0);
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (number % 10).to_le_bytes()[0];
            length += 1;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        let from = digits.len() - length;
        self.raw(digits.get(from..).unwrap_or_default());
    }

    fn shown(&mut self, shown: fmt::Arguments<'_>) {
        // Writing to memory cannot fail.
        let _ = fmt::Write::write_fmt(self, shown);
    }
}

/// Whether each byte is escaped.
#[expect(clippy::indexing_slicing, reason = "the index is smaller than the length")]
const ESCAPED: [bool; 256] = {
    let mut escaped = [false; 256];
    let mut byte = 0;
    while byte < escaped.len() {
        escaped[byte] = matches!(byte as u8, ..b' ' | b'"' | b'\\' | 0x7F);
        byte += 1;
    }
    escaped
};

const fn hex(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
}

fn digits(below_thousand: u64) -> [u8; 3] {
    [100, 10, 1].map(|unit| b'0' + (below_thousand / unit % 10).to_le_bytes()[0])
}

/// Writes a text as the content of a string.
impl fmt::Write for JsonLine {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.escaped(text);
        Ok(())
    }
}

impl Visit for JsonLine {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.name(field.name());
        self.text(value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.name(field.name());
        self.number(value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.name(field.name());
        if value < 0 {
            self.raw(b"-");
        }
        self.number(value.unsigned_abs());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.name(field.name());
        self.raw(if value { b"true" } else { b"false" });
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.name(field.name());
        match value.is_finite() {
            true => self.shown(format_args!("{value:?}")),
            false => self.raw(b"null"),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.name(field.name());
        self.raw(b"\"");
        self.shown(format_args!("{value:?}"));
        self.raw(b"\"");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn line(write: impl FnOnce(&mut JsonLine)) -> Value {
        let mut line = JsonLine(b"{\"a\":0".to_vec());
        write(&mut line);
        line.raw(b"}");
        let text = String::from_utf8(line.0).unwrap();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    #[test]
    fn numbers_are_written_whole() {
        for number in [0, 9, 10, 1_795_422_879_042, u64::MAX] {
            let line = line(|line| {
                line.name("n");
                line.number(number);
            });
            assert_eq!(line, json!({"a": 0, "n": number}));
        }
    }

    #[test]
    fn a_time_has_microseconds() {
        let mut line = JsonLine(Vec::new());
        line.time(1_795_422_879_042_007);
        assert_eq!(line.0, b"2026-11-23T08:34:39.042007Z");
    }

    proptest! {
        #[test]
        fn every_text_comes_back_as_it_was(name in ".{0,8}", text in "\\PC*|[\\x00-\\x7f]*") {
            let line = line(|line| {
                line.name(&name);
                line.text(&text);
            });
            prop_assert_eq!(&line[&name], &Value::from(text));
        }
    }
}
