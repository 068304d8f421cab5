//! Seals one line: `{"at":"...","event":"...","seq":7,"mac":"..."}`.
//!
//! `mac` is HMAC-SHA-256 (RFC 2104) in base64url, under the trail's own key, of the previous `mac` and of all bytes of this
//! line before `,"mac"`. So nobody without the key can change, remove, insert or move a line unnoticed. `seq` counts lines from
//! 1 and never restarts.

use std::path::Path;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;

use crate::private_file;

const MAC: &[u8] = b",\"mac\":\"";
const SEQ: &[u8] = b",\"seq\":";

/// The kind of a file's lines, so that a line of one kind is never accepted as another.
#[derive(Clone, Copy, Debug)]
pub(super) enum SealKind {
    Line,
    Anchor,
    Head,
}

/// The key that seals lines and verifies them.
#[derive(Debug)]
pub(super) struct SealKey(hmac::Key);

/// The MAC of one line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mac([u8; 32]);

/// A line as read, not verified yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct SealedLine<'a> {
    pub(super) seq: u64,
    pub(super) mac: Mac,
    signed: &'a [u8],
}

impl SealKey {
    /// Reads the key's file, and creates it if there is none.
    ///
    /// # Errors
    /// Why the key cannot be used.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        Ok(Self::of(&private_file::own_secret(path)?))
    }

    /// Reads the key's file, and does not create it.
    ///
    /// # Errors
    /// Why the key cannot be used.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        match path.exists() {
            true => Self::open(path),
            false => Err(format!(
                "{} is not there; without the key nothing can be verified",
                path.display()
            )),
        }
    }

    pub(super) fn of(bytes: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// Adds number and MAC to `line`, a JSON object without its line end.
    pub(super) fn seal(&self, kind: SealKind, line: &mut Vec<u8>, seq: u64, before: Mac) -> Mac {
        if line.last() == Some(&b'}') {
            line.pop();
        }
        line.extend(SEQ);
        line.extend(seq.to_string().bytes());
        let mac = self.mac(kind, line, before);
        line.extend(MAC);
        line.extend(mac.to_string().bytes());
        line.extend(b"\"}");
        mac
    }

    /// Whether the line's MAC is valid after the previous one.
    pub(super) fn holds(&self, kind: SealKind, line: &SealedLine<'_>, before: Mac) -> bool {
        self.mac(kind, line.signed, before).0.ct_eq(&line.mac.0).into()
    }

    fn mac(&self, kind: SealKind, signed: &[u8], before: Mac) -> Mac {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(match kind {
            SealKind::Line => b"line\0",
            SealKind::Anchor => b"anchor\0",
            SealKind::Head => b"head\0",
        });
        context.update(&before.0);
        context.update(signed);
        let mut mac = [0; 32];
        for (to, from) in mac.iter_mut().zip(context.sign().as_ref()) {
            *to = *from;
        }
        Mac(mac)
    }
}

impl<'a> SealedLine<'a> {
    /// Parses number and MAC of a line without its end.
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        let rest = line.strip_suffix(b"\"}")?;
        let at = rest.len().checked_sub(43 + MAC.len())?;
        let (signed, code) = rest.split_at_checked(at)?;
        let mac = Mac::parse(code.strip_prefix(MAC)?)?;
        let at = signed.windows(SEQ.len()).rposition(|part| part == SEQ)?;
        let digits = signed.get(at + SEQ.len()..)?;
        let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        let seq = std::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()?;
        Some(Self { seq, mac, signed })
    }

    /// Returns the object, without number and MAC.
    pub(super) fn value(&self) -> Option<serde_json::Value> {
        let mut text = self.signed.to_vec();
        text.push(b'}');
        serde_json::from_slice(&text).ok()
    }
}

impl Mac {
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        Some(Self(URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?))
    }
}

impl std::fmt::Display for Mac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_good_after_the_one_before_it_and_as_what_it_is() {
        let key = SealKey::of(&[7; 32]);
        let mut line = br#"{"event":"sign_in","account":",\"seq\":9"}"#.to_vec();
        let before = Mac([1; 32]);
        let mac = key.seal(SealKind::Line, &mut line, 12, before);
        let text = String::from_utf8(line.clone()).unwrap();
        assert!(text.ends_with(&format!(",\"seq\":12,\"mac\":\"{mac}\"}}")), "{text}");
        let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!((&value["seq"], &value["event"]), (&12.into(), &"sign_in".into()));
        let read = SealedLine::parse(&line).unwrap();
        assert_eq!((read.seq, read.mac), (12, mac));
        assert_eq!(read.value().unwrap()["account"], ",\"seq\":9");
        assert!(key.holds(SealKind::Line, &read, before));
        assert!(!key.holds(SealKind::Line, &read, mac));
        assert!(!key.holds(SealKind::Anchor, &read, before));
        assert!(!SealKey::of(&[8; 32]).holds(SealKind::Line, &read, before));
        for n in 0..line.len() {
            let mut changed = line.clone();
            changed[n] ^= 1;
            let holds = SealedLine::parse(&changed)
                .is_some_and(|read| key.holds(SealKind::Line, &read, before));
            assert!(!holds, "byte {n}");
        }
    }

    #[test]
    fn what_is_no_sealed_line_is_none() {
        for line in
            ["", "{}", "}", "\"}", "{\"a\":1}", "{\"a\":1,\"seq\":1}", "{\"a\":1,\"mac\":\"x\"}"]
        {
            assert!(SealedLine::parse(line.as_bytes()).is_none(), "{line}");
        }
        let code = Mac::default().to_string();
        for signed in
            ["{\"a\":1", "{\"a\":1,\"seq\":", "{\"a\":1,\"seq\":-1", "{\"a\":1,\"seq\":1 "]
        {
            let line = format!("{signed},\"mac\":\"{code}\"}}");
            assert!(SealedLine::parse(line.as_bytes()).is_none(), "{line}");
        }
    }
}
