//! Parses the request target into one canonical path, for the decision and for forwarding.
//!
//! A gateway that decides on one reading of a path while the application routes another protects nothing. So one
//! function parses a target, only that function can make its result type, routing matches on that type, and the
//! upstream receives its text. Targets with two readings are refused rather than repaired.
//!
//! Canonical means: escapes of unreserved characters are decoded, other escapes stay with upper-case hex, visible
//! characters that RFC 3986 does not allow in a path (`|`, `{`, ...) are escaped, case is preserved. Canonicalising twice
//! changes nothing.
//!
//! **Never allowed**: a dot segment, a leading `//` (URL parsers take what follows for a host), NUL or another control
//! character, in any reading that a server can make of the path (`readings`); a raw backslash; `#`; a broken escape; an
//! escape that is still one after three decodings; any form but `/path?query`.
//!
//! **Refused unless the route tolerates them** ([`Ambiguity`]): paths that servers read in several ways. `/app%2Fx` is
//! one segment here and two elsewhere. Such a target is forwarded byte for byte, and only if every one of its readings
//! leads to the same route (the gate checks [`Target::readings`]), so that no reading reaches what another route
//! guards. The route is known only after parsing, so a target records its ambiguities and the gate calls
//! [`Target::tolerated_by`].

use std::fmt;

use percent_encoding::percent_decode_str;

use self::readings::readings;
use crate::refusal::Refusal;

mod ambiguity;
mod pattern;
mod readings;
#[cfg(test)]
mod tests;

pub use ambiguity::{Ambiguity, Tolerance};
pub use pattern::{PathMatch, PathPattern, PatternProblem, Segment};

/// A path with one reading. Only [`Target::parse`] and [`CanonicalPath::parse`] create it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct CanonicalPath(String);

/// A request target in origin form.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    path: CanonicalPath,
    query: Option<String>,
    ambiguities: Tolerance,
    /// `None` for a path without ambiguities, like nearly every path.
    ambiguous: Option<Box<Ambiguous>>,
}

/// The data of a path with several readings.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Ambiguous {
    /// The path as it came.
    raw: String,
    readings: Vec<CanonicalPath>,
}

/// The reason why a target has no single reading.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TargetProblem {
    /// The target does not start with `/`: absolute form, authority form, `*`.
    NotOriginForm,
    /// A control character or space, raw or (controls only) escaped.
    ControlCharacter,
    /// Raw bytes above 0x7F that are not UTF-8.
    NotAscii,
    /// `%` without two hexadecimal digits.
    BadEscape,
    /// `#`.
    Fragment,
    /// A raw `\`.
    Backslash,
    /// `.` or `..`, in any reading.
    DotSegment,
    /// `//` at the start, in any reading.
    LeadingDoubleSlash,
    /// An escape that is still one after three decodings.
    NestedEscape,
    /// A query where only a path can be (route prefixes, own paths).
    Query,
    /// A harmless ambiguity that is not tolerated here.
    Ambiguous(Ambiguity),
}

impl Target {
    /// Parses a request target; ambiguities outside `tolerated` are refused, those inside are recorded.
    ///
    /// # Errors
    /// The reason why the target has no single reading.
    pub fn parse(raw: impl AsRef<[u8]>, tolerated: Tolerance) -> Result<Self, TargetProblem> {
        let raw = raw.as_ref();
        let mut parts = raw.splitn(2, |byte| *byte == b'?');
        let raw_path = parts.next().unwrap_or_default();
        let (path, mut ambiguities) = canonicalize(raw_path)?;
        let query = parts.next().map(check_query).transpose()?;
        let ambiguous = if ambiguities.is_empty() {
            None
        } else {
            let readings = readings(&path, ambiguities)?;
            let raw = std::str::from_utf8(raw_path).map_err(|_| TargetProblem::NotAscii)?;
            let readings = readings.into_iter().map(CanonicalPath).collect();
            Some(Box::new(Ambiguous { raw: raw.to_owned(), readings }))
        };
        if query.as_ref().is_some_and(|query| !query.is_ascii()) {
            ambiguities = ambiguities.with(Ambiguity::RawUtf8);
        }
        let target = Self { path: CanonicalPath(path), query, ambiguities, ambiguous };
        target.tolerated_by(tolerated)?;
        Ok(target)
    }

    /// Returns the path.
    pub const fn path(&self) -> &CanonicalPath {
        &self.path
    }

    /// Returns the query without its `?`, byte for byte; `Some("")` for a bare `?`.
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// Returns the value of the query's last parameter, if that has this name, and the target without it, byte for byte.
    pub fn split_last_parameter(&self, name: &str) -> Option<(&str, Self)> {
        let query = self.query.as_deref()?;
        let (rest, last) = match query.rsplit_once('&') {
            Some((rest, last)) => (Some(rest), last),
            None => (None, query),
        };
        let value = last.strip_prefix(name)?.strip_prefix('=')?;
        Some((value, Self { query: rest.map(str::to_owned), ..self.clone() }))
    }

    /// Returns the harmless ambiguities of the target.
    pub const fn ambiguities(&self) -> Tolerance {
        self.ambiguities
    }

    /// Checks that `tolerated` contains all its ambiguities.
    ///
    /// # Errors
    /// The first ambiguity that is not tolerated.
    pub fn tolerated_by(&self, tolerated: Tolerance) -> Result<(), TargetProblem> {
        match Ambiguity::ALL
            .into_iter()
            .find(|one| self.ambiguities.contains(*one) && !tolerated.contains(*one))
        {
            Some(ambiguity) => Err(TargetProblem::Ambiguous(ambiguity)),
            None => Ok(()),
        }
    }

    /// Returns the paths that servers can read an ambiguous path as, without the path itself.
    pub fn readings(&self) -> &[CanonicalPath] {
        self.ambiguous.as_ref().map_or(&[], |ambiguous| &ambiguous.readings)
    }

    /// Returns the forwarded form: the canonical path, or an ambiguous one byte for byte as it came, without the prefix
    /// `strip`.
    ///
    /// It returns `None` if the path is not below the prefix, or if the rest begins with `//`.
    pub fn forwarded(&self, strip: Option<&CanonicalPath>) -> Option<String> {
        let path = match (&self.ambiguous, strip) {
            (None, None) => self.path.0.clone(),
            (None, Some(prefix)) => self.path.strip_prefix(prefix)?.0,
            (Some(ambiguous), None) => ambiguous.raw.clone(),
            (Some(ambiguous), Some(prefix)) => {
                // Readings were checked for the whole path; below the prefix it may begin differently.
                let rest = self.path.strip_prefix(prefix)?;
                match below(&ambiguous.raw, prefix) {
                    Some("") => "/".to_owned(),
                    Some(raw) => raw.to_owned(),
                    None => rest.0,
                }
            }
        };
        Some(match &self.query {
            Some(query) => format!("{path}?{query}"),
            None => path,
        })
    }
}

impl fmt::Display for Target {
    /// Writes the canonical path and the query.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path.0)?;
        match &self.query {
            Some(query) => write!(f, "?{query}"),
            None => Ok(()),
        }
    }
}

impl CanonicalPath {
    /// Parses a path from the configuration: a route's prefix, an own path. Nothing is tolerated.
    ///
    /// # Errors
    /// The reason why the path has no single reading.
    pub fn parse(raw: impl AsRef<[u8]>) -> Result<Self, TargetProblem> {
        let target = Target::parse(raw, Tolerance::NONE)?;
        if target.query.is_some() {
            return Err(TargetProblem::Query);
        }
        Ok(target.path)
    }

    /// Returns the text, as it is matched and forwarded.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the segments in order: `/a/b` has two, `/a/` has `a` and an empty one, `/` has one empty one.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').skip(1)
    }

    /// Whether the path is `prefix` or below it, by whole segments. `/app` contains `/app` and `/app/x`, never `/application`.
    ///
    /// A final slash of the prefix makes no difference: `/static/` contains `/static` too. Many applications answer
    /// both alike, and a rule for `/admin/` that `/admin` escapes is worse than one that includes it.
    pub fn starts_with_segments(&self, prefix: &Self) -> bool {
        self.below(prefix).is_some()
    }

    /// Returns the rest below `prefix`: `/app/x` below `/app` is `/x`, `/app` is `/`.
    ///
    /// It returns `None` if the path is not below the prefix, or if the rest is not a canonical path by itself (`/app//x`).
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
        below(&self.0, prefix)
    }
}

fn below<'a>(path: &'a str, prefix: &CanonicalPath) -> Option<&'a str> {
    let segments = prefix.0.strip_suffix('/').unwrap_or(&prefix.0);
    let rest = path.strip_prefix(segments)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

impl Default for CanonicalPath {
    /// Returns `/`.
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
    /// Returns the name for the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotOriginForm => "not-origin-form",
            Self::ControlCharacter => "control-character",
            Self::NotAscii => "not-ascii",
            Self::BadEscape => "bad-escape",
            Self::Fragment => "fragment",
            Self::Backslash => "backslash",
            Self::DotSegment => "dot-segment",
            Self::LeadingDoubleSlash => "leading-double-slash",
            Self::NestedEscape => "nested-escape",
            Self::Query => "query",
            Self::Ambiguous(ambiguity) => ambiguity.name(),
        }
    }

    /// Returns the refusal that the client gets.
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

/// Checks the query, which is the application's to parse: only bytes that no client sends are refused.
fn check_query(raw: &[u8]) -> Result<String, TargetProblem> {
    for byte in raw {
        match byte {
            b'#' => return Err(TargetProblem::Fragment),
            0..=b' ' | 0x7F => return Err(TargetProblem::ControlCharacter),
            _ => {}
        }
    }
    let query = String::from_utf8(raw.to_vec()).map_err(|_| TargetProblem::NotAscii)?;
    if query.contains(char::is_control) {
        return Err(TargetProblem::ControlCharacter);
    }
    Ok(query)
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
                decoded => {
                    match decoded {
                        b'\\' => ambiguities = ambiguities.with(Ambiguity::EncodedBackslash),
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
            0x80.. => {
                ambiguities = ambiguities.with(Ambiguity::RawUtf8);
                non_ascii = true;
                push_escape(&mut path, byte);
            }
            _ if is_unreserved(byte) || b"!$&'()*+,=:@".contains(&byte) => {
                path.push(char::from(byte));
            }
            _ => push_escape(&mut path, byte),
        }
    }
    // Each check runs only where it may find something: most paths skip all three.
    if odd_segments {
        ambiguities = check_segments(&path, ambiguities)?;
    }
    if non_ascii {
        match percent_decode_str(&path).decode_utf8() {
            Ok(text) if text.contains(char::is_control) => {
                return Err(TargetProblem::ControlCharacter);
            }
            Ok(_) => {}
            Err(_) => ambiguities = ambiguities.with(Ambiguity::InvalidUtf8),
        }
    }
    if escaped_percent && hides_escape(&path)? {
        ambiguities = ambiguities.with(Ambiguity::DoubleEscape);
    }
    if ambiguities.contains(Ambiguity::RawUtf8) && std::str::from_utf8(raw).is_err() {
        return Err(TargetProblem::NotAscii);
    }
    Ok((path, ambiguities))
}

/// Checks the segments as they are spelled. Other readings are checked where there are any.
fn check_segments(path: &str, mut found: Tolerance) -> Result<Tolerance, TargetProblem> {
    let mut segments = path.split('/').skip(1).peekable();
    let mut first = true;
    while let Some(segment) = segments.next() {
        match segment {
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

/// Whether decoding it more than once, as some stacks do, would show a character that changes the path.
fn hides_escape(path: &str) -> Result<bool, TargetProblem> {
    let mut decoded: Vec<u8> = percent_decode_str(path).collect();
    let mut hides = false;
    for _ in 0..readings::MAX_DECODINGS {
        let mut escapes = decoded
            .windows(3)
            .filter_map(|window| match window {
                [b'%', high, low] => unescape(Some(*high), Some(*low)),
                _ => None,
            })
            .peekable();
        if escapes.peek().is_none() {
            return Ok(hides);
        }
        hides |= escapes
            .any(|byte| matches!(byte, b'.' | b'/' | b'\\' | b'%' | b';' | 0..=0x1F | 0x7F..));
        decoded = percent_encoding::percent_decode(&decoded).collect();
    }
    // No honest client nests escapes deeper than that, and the work must end.
    Err(TargetProblem::NestedEscape)
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
