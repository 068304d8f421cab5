//! The request target: one canonical path, for the decision and for forwarding.
//!
//! A gateway that decides about one reading of a path while the application routes another protects nothing. So there
//! is one function that reads a target, its result is a type that nothing else can make, routing matches on that type,
//! and the upstream receives its text. Whatever has two readings is refused rather than repaired.
//!
//! Canonical means: escapes of unreserved characters are decoded, other escapes stay with upper-case hex, visible
//! characters that RFC 3986 does not allow in a path (`|`, `{`, ...) are escaped, case is kept. Canonicalising twice
//! changes nothing.
//!
//! **Never allowed**: dot segments, raw, escaped, behind an escaped slash or with `;parameters`; a backslash, NUL and
//! other controls, raw or escaped; a leading `//` (URL parsers take what follows for a host); an escape that decodes to
//! another one (`%252e`); `#`, a broken escape, escapes that are no UTF-8; any form but `/path?query`.
//!
//! **Harmless, and refused unless the route tolerates them** ([`Ambiguity`]): those whose reading here is fixed, because
//! they are forwarded as they are and match no prefix that they are not spelled like. `/app%2Fx` is one segment here; it
//! does not match the route `/app`, and a route that tolerates it says that its upstream may split it. The route is
//! known only after parsing, so a target records its ambiguities and the gate asks [`Target::tolerated_by`].

use std::fmt;

use percent_encoding::{percent_decode, percent_decode_str};

use crate::refusal::Refusal;

mod ambiguity;
mod pattern;
#[cfg(test)]
mod tests;

pub use ambiguity::{Ambiguity, Tolerance};
pub use pattern::{PathMatch, PathPattern, PatternProblem, Segment};

/// A path with one reading. Made by [`Target::parse`] and [`CanonicalPath::parse`] alone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct CanonicalPath(String);

/// A request target in origin form.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    path: CanonicalPath,
    query: Option<String>,
    ambiguities: Tolerance,
}

/// Why a target has no single reading.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TargetProblem {
    /// It does not start with `/`: absolute form, authority form, `*`.
    NotOriginForm,
    /// A control character or space, raw or (controls only) escaped.
    ControlCharacter,
    /// A raw byte above 0x7F.
    NotAscii,
    /// `%` without two hexadecimal digits.
    BadEscape,
    /// The escapes are no UTF-8.
    InvalidUtf8,
    /// `#`.
    Fragment,
    /// `\`, raw or escaped.
    Backslash,
    /// `.` or `..`, in any spelling.
    DotSegment,
    /// `//` at the start, in any spelling.
    LeadingDoubleSlash,
    /// An escape that decodes to another escape.
    DoubleEscape,
    /// A query where only a path can be (route prefixes, own paths).
    Query,
    /// A harmless one that is not tolerated here.
    Ambiguous(Ambiguity),
}

impl Target {
    /// Reads a request target; ambiguities outside `tolerated` are refused, those inside are recorded.
    ///
    /// # Errors
    /// What keeps it from having one reading.
    pub fn parse(raw: impl AsRef<[u8]>, tolerated: Tolerance) -> Result<Self, TargetProblem> {
        let raw = raw.as_ref();
        let mut parts = raw.splitn(2, |byte| *byte == b'?');
        let (path, ambiguities) = canonicalize(parts.next().unwrap_or_default())?;
        let query = parts.next().map(check_query).transpose()?;
        let target = Self { path: CanonicalPath(path), query, ambiguities };
        target.tolerated_by(tolerated)?;
        Ok(target)
    }

    /// The path.
    pub const fn path(&self) -> &CanonicalPath {
        &self.path
    }

    /// The query without its `?`, byte for byte; `Some("")` for a bare `?`.
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// The harmless ambiguities that it has.
    pub const fn ambiguities(&self) -> Tolerance {
        self.ambiguities
    }

    /// Does `tolerated` hold all its ambiguities?
    ///
    /// # Errors
    /// The first one that it does not hold.
    pub fn tolerated_by(&self, tolerated: Tolerance) -> Result<(), TargetProblem> {
        match Ambiguity::ALL
            .into_iter()
            .find(|one| self.ambiguities.contains(*one) && !tolerated.contains(*one))
        {
            Some(ambiguity) => Err(TargetProblem::Ambiguous(ambiguity)),
            None => Ok(()),
        }
    }

    /// The same query behind another path: for forwarding below a stripped prefix.
    #[must_use]
    pub fn with_path(&self, path: CanonicalPath) -> Self {
        Self { path, query: self.query.clone(), ambiguities: self.ambiguities }
    }
}

impl fmt::Display for Target {
    /// As it is forwarded: `/path?query`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path.0)?;
        match &self.query {
            Some(query) => write!(f, "?{query}"),
            None => Ok(()),
        }
    }
}

impl CanonicalPath {
    /// Reads a path of the operator's: a route's prefix, an own path. Nothing is tolerated.
    ///
    /// # Errors
    /// What keeps it from having one reading.
    pub fn parse(raw: impl AsRef<[u8]>) -> Result<Self, TargetProblem> {
        let target = Target::parse(raw, Tolerance::NONE)?;
        if target.query.is_some() {
            return Err(TargetProblem::Query);
        }
        Ok(target.path)
    }

    /// The text, as it is matched and forwarded.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The segments in order: `/a/b` has two, `/a/` has `a` and an empty one, `/` has one empty one.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').skip(1)
    }

    /// Is it `prefix` or below it, by whole segments? `/app` holds `/app` and `/app/x`, never `/application`.
    ///
    /// A final slash of the prefix says nothing: `/static/` holds `/static` too. Many applications answer both alike, and
    /// a rule for `/admin/` that `/admin` escapes is worse than one that takes it along.
    pub fn starts_with_segments(&self, prefix: &Self) -> bool {
        self.below(prefix).is_some()
    }

    /// What is left below `prefix`: `/app/x` below `/app` is `/x`, `/app` is `/`.
    ///
    /// None if it is not below it, or if what is left is no canonical path by itself (`/app//x`).
    #[must_use]
    pub fn strip_prefix(&self, prefix: &Self) -> Option<Self> {
        let rest = match self.below(prefix)? {
            "" => "/",
            rest => rest,
        };
        let target = Target::parse(rest, Tolerance::ALL).ok()?;
        Some(target.path)
    }

    fn below(&self, prefix: &Self) -> Option<&str> {
        let segments = prefix.0.strip_suffix('/').unwrap_or(&prefix.0);
        let rest = self.0.strip_prefix(segments)?;
        (rest.is_empty() || rest.starts_with('/')).then_some(rest)
    }
}

impl Default for CanonicalPath {
    /// `/`
    fn default() -> Self {
        Self("/".to_owned())
    }
}

impl fmt::Display for CanonicalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TargetProblem {
    /// For the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotOriginForm => "not-origin-form",
            Self::ControlCharacter => "control-character",
            Self::NotAscii => "not-ascii",
            Self::BadEscape => "bad-escape",
            Self::InvalidUtf8 => "invalid-utf8",
            Self::Fragment => "fragment",
            Self::Backslash => "backslash",
            Self::DotSegment => "dot-segment",
            Self::LeadingDoubleSlash => "leading-double-slash",
            Self::DoubleEscape => "double-escape",
            Self::Query => "query",
            Self::Ambiguous(ambiguity) => ambiguity.name(),
        }
    }

    /// What the client learns.
    pub const fn refusal(self) -> Refusal {
        Refusal::BadTarget
    }
}

impl fmt::Display for TargetProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::error::Error for TargetProblem {}

/// The query is the application's to read: only what no client sends is refused.
fn check_query(raw: &[u8]) -> Result<String, TargetProblem> {
    for byte in raw {
        match byte {
            b'#' => return Err(TargetProblem::Fragment),
            0..=b' ' | 0x7F => return Err(TargetProblem::ControlCharacter),
            0x80.. => return Err(TargetProblem::NotAscii),
            _ => {}
        }
    }
    String::from_utf8(raw.to_vec()).map_err(|_| TargetProblem::NotAscii)
}

fn canonicalize(raw: &[u8]) -> Result<(String, Tolerance), TargetProblem> {
    if raw.first() != Some(&b'/') {
        return Err(TargetProblem::NotOriginForm);
    }
    let mut path = String::with_capacity(raw.len());
    let mut ambiguities = Tolerance::NONE;
    let (mut odd_segments, mut non_ascii, mut escaped_percent) = (false, false, false);
    let mut bytes = raw.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => match unescape(bytes.next(), bytes.next()).ok_or(TargetProblem::BadEscape)? {
                b'.' => {
                    ambiguities = ambiguities.with(Ambiguity::EncodedDot);
                    path.push('.');
                }
                decoded if is_unreserved(decoded) => path.push(char::from(decoded)),
                0..=0x1F | 0x7F => return Err(TargetProblem::ControlCharacter),
                b'\\' => return Err(TargetProblem::Backslash),
                decoded => {
                    match decoded {
                        b'/' => ambiguities = ambiguities.with(Ambiguity::EncodedSlash),
                        b';' => ambiguities = ambiguities.with(Ambiguity::Semicolon),
                        b'%' => escaped_percent = true,
                        0x80.. => non_ascii = true,
                        _ => {}
                    }
                    push_escape(&mut path, decoded);
                }
            },
            b'.' | b'/' => {
                odd_segments |= path.ends_with('/');
                path.push(char::from(byte));
            }
            b';' => {
                ambiguities = ambiguities.with(Ambiguity::Semicolon);
                path.push(';');
            }
            b'#' => return Err(TargetProblem::Fragment),
            b'\\' => return Err(TargetProblem::Backslash),
            0..=b' ' | 0x7F => return Err(TargetProblem::ControlCharacter),
            0x80.. => return Err(TargetProblem::NotAscii),
            _ if is_unreserved(byte) || b"!$&'()*+,=:@".contains(&byte) => {
                path.push(char::from(byte));
            }
            _ => push_escape(&mut path, byte),
        }
    }
    // Looked at only where there may be something to find: most paths pass by all three.
    if odd_segments || !ambiguities.is_empty() {
        ambiguities = check_segments(&path, ambiguities)?;
    }
    if non_ascii {
        let text =
            percent_decode_str(&path).decode_utf8().map_err(|_| TargetProblem::InvalidUtf8)?;
        if text.contains(char::is_control) {
            return Err(TargetProblem::ControlCharacter);
        }
    }
    if escaped_percent && hides_escape(&path) {
        return Err(TargetProblem::DoubleEscape);
    }
    Ok((path, ambiguities))
}

/// Looks at the segments as the most liberal server splits them: at escaped slashes too, and without parameters.
fn check_segments(path: &str, mut found: Tolerance) -> Result<Tolerance, TargetProblem> {
    let mut segments = path.split('/').flat_map(|part| part.split("%2F")).skip(1).peekable();
    let mut first = true;
    while let Some(segment) = segments.next() {
        let name = segment.split(';').next().unwrap_or_default();
        match name.split("%3B").next().unwrap_or_default() {
            "." | ".." => return Err(TargetProblem::DotSegment),
            "" if segments.peek().is_none() => {}
            "" if first => return Err(TargetProblem::LeadingDoubleSlash),
            "" => found = found.with(Ambiguity::DoubleSlash),
            _ => {}
        }
        first = false;
    }
    Ok(found)
}

/// Would decoding it more than once, as some stacks do, show a character that changes the path?
///
/// Deeper than three decodings nothing is sent in earnest, and the work must end.
fn hides_escape(path: &str) -> bool {
    let mut decoded: Vec<u8> = percent_decode_str(path).collect();
    for _ in 0..3 {
        let mut escapes = decoded.windows(3).filter_map(|window| match window {
            [b'%', high, low] => unescape(Some(*high), Some(*low)),
            _ => None,
        });
        let Some(first) = escapes.next() else { return false };
        if std::iter::once(first)
            .chain(escapes)
            .any(|byte| matches!(byte, b'.' | b'/' | b'\\' | b'%' | b';' | 0..=0x1F | 0x7F))
        {
            return true;
        }
        decoded = percent_decode(&decoded).collect();
    }
    true
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn unescape(high: Option<u8>, low: Option<u8>) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high?)? << 4 | digit(low?)?)
}

fn push_escape(path: &mut String, byte: u8) {
    path.push_str(percent_encoding::percent_encode_byte(byte));
}
