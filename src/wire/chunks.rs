//! Finds where a chunked body ends, and checks whether it is valid (RFC 9112 section 7.1).
//!
//! It is a check beside the framework's parser, which takes an empty size line for a last chunk: where two parsers
//! disagree, one request can hide in another. The grammar is applied strictly; the one exception is white space before
//! an extension or the line end, which nginx and HAProxy accept too. Lines end with CRLF, never with a bare LF.

/// The most bytes of one size line, extensions included, and of all trailers.
const MAX_LINE: usize = 4 * 1024;
const MAX_TRAILERS: usize = 16 * 1024;

/// The most bytes besides the data, beyond those that chunks of a sensible size need: this stops a flood of one-byte chunks
/// with long extensions.
const MAX_OVERHEAD: u64 = 16 * 1024;
/// The bytes besides its data that a chunk may use without counting towards [`MAX_OVERHEAD`].
const USUAL_OVERHEAD: u64 = 16;

/// The most digits of a size. More are refused before the size could overflow.
const MAX_DIGITS: u8 = 15;

/// The state of reading a chunked body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chunks {
    at: ChunkState,
    size: u64,
    /// The bytes of the current line, or of all trailers.
    line: usize,
    overhead: u64,
}

/// The body is not a valid chunked body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotChunked;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ChunkState {
    Size { digits: u8 },
    SpaceAfterSize,
    ExtensionName { any: bool },
    SpaceAfterName,
    ExtensionValue { any: bool },
    Quoted { escaped: bool },
    SpaceAfterValue,
    SizeLf,
    Data { left: u64 },
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    End,
}

impl Chunks {
    /// Starts before the first size.
    pub const fn new() -> Self {
        Self { at: ChunkState::Size { digits: 0 }, size: 0, line: 0, overhead: 0 }
    }

    /// Whether the last byte of the body has been taken.
    pub fn is_ended(&self) -> bool {
        self.at == ChunkState::End
    }

    /// Takes bytes up to the end of the body, and returns how many belong to it.
    ///
    /// # Errors
    /// [`NotChunked`]: nothing after this can be trusted.
    pub fn take(&mut self, bytes: &[u8]) -> Result<usize, NotChunked> {
        let mut taken = 0;
        while let Some(&byte) = bytes.get(taken) {
            match self.at {
                ChunkState::End => break,
                ChunkState::Data { left } => {
                    let here = u64::try_from(bytes.len() - taken).unwrap_or(u64::MAX).min(left);
                    taken += usize::try_from(here).map_err(|_| NotChunked)?;
                    let left = left - here;
                    self.at =
                        if left == 0 { ChunkState::DataCr } else { ChunkState::Data { left } };
                }
                at => {
                    self.at = self.step(at, byte)?;
                    taken += 1;
                }
            }
        }
        Ok(taken)
    }

    fn step(&mut self, at: ChunkState, byte: u8) -> Result<ChunkState, NotChunked> {
        self.line += 1;
        let limit = match at {
            ChunkState::TrailerStart
            | ChunkState::TrailerName
            | ChunkState::TrailerValue
            | ChunkState::TrailerLf
            | ChunkState::EndLf => MAX_TRAILERS,
            _ => MAX_LINE,
        };
        if self.line > limit {
            return Err(NotChunked);
        }
        let is_space = byte == b' ' || byte == b'\t';
        Ok(match (at, byte) {
            (ChunkState::Size { digits }, byte)
                if byte.is_ascii_hexdigit() && digits < MAX_DIGITS =>
            {
                let digit = char::from(byte).to_digit(16).ok_or(NotChunked)?;
                self.size = self.size << 4 | u64::from(digit);
                ChunkState::Size { digits: digits + 1 }
            }
            (ChunkState::Size { digits: 1.. } | ChunkState::SpaceAfterSize, _) if is_space => {
                ChunkState::SpaceAfterSize
            }
            (
                ChunkState::Size { digits: 1.. }
                | ChunkState::SpaceAfterSize
                | ChunkState::ExtensionName { any: true }
                | ChunkState::SpaceAfterName
                | ChunkState::ExtensionValue { any: true }
                | ChunkState::SpaceAfterValue,
                b';',
            ) => ChunkState::ExtensionName { any: false },
            (
                ChunkState::Size { digits: 1.. }
                | ChunkState::SpaceAfterSize
                | ChunkState::ExtensionName { any: true }
                | ChunkState::SpaceAfterName
                | ChunkState::ExtensionValue { any: true }
                | ChunkState::SpaceAfterValue,
                b'\r',
            ) => ChunkState::SizeLf,
            (ChunkState::ExtensionName { any: false }, _) if is_space => {
                ChunkState::ExtensionName { any: false }
            }
            (ChunkState::ExtensionName { .. }, _) if is_token(byte) => {
                ChunkState::ExtensionName { any: true }
            }
            (ChunkState::ExtensionName { any: true } | ChunkState::SpaceAfterName, b'=') => {
                ChunkState::ExtensionValue { any: false }
            }
            (ChunkState::ExtensionName { any: true } | ChunkState::SpaceAfterName, _)
                if is_space =>
            {
                ChunkState::SpaceAfterName
            }
            (ChunkState::ExtensionValue { any: false }, b'"') => {
                ChunkState::Quoted { escaped: false }
            }
            (ChunkState::ExtensionValue { any: false }, _) if is_space => {
                ChunkState::ExtensionValue { any: false }
            }
            (ChunkState::ExtensionValue { .. }, _) if is_token(byte) => {
                ChunkState::ExtensionValue { any: true }
            }
            (ChunkState::ExtensionValue { any: true } | ChunkState::SpaceAfterValue, _)
                if is_space =>
            {
                ChunkState::SpaceAfterValue
            }
            (ChunkState::Quoted { escaped: false }, b'"') => ChunkState::SpaceAfterValue,
            (ChunkState::Quoted { escaped: false }, b'\\') => ChunkState::Quoted { escaped: true },
            (ChunkState::Quoted { .. }, _) if is_text(byte) => {
                ChunkState::Quoted { escaped: false }
            }
            (ChunkState::SizeLf, b'\n') => self.size_line_ends()?,
            (ChunkState::DataCr, b'\r') => ChunkState::DataLf,
            (ChunkState::DataLf, b'\n') => {
                self.line = 0;
                ChunkState::Size { digits: 0 }
            }
            (ChunkState::TrailerStart, b'\r') => ChunkState::EndLf,
            (ChunkState::TrailerStart | ChunkState::TrailerName, _) if is_token(byte) => {
                ChunkState::TrailerName
            }
            (ChunkState::TrailerName, b':') => ChunkState::TrailerValue,
            (ChunkState::TrailerValue, b'\r') => ChunkState::TrailerLf,
            (ChunkState::TrailerValue, _) if is_text(byte) => ChunkState::TrailerValue,
            (ChunkState::TrailerLf, b'\n') => ChunkState::TrailerStart,
            (ChunkState::EndLf, b'\n') => ChunkState::End,
            _ => return Err(NotChunked),
        })
    }

    fn size_line_ends(&mut self) -> Result<ChunkState, NotChunked> {
        let line = u64::try_from(self.line).map_err(|_| NotChunked)?;
        let size = std::mem::take(&mut self.size);
        self.line = 0;
        self.overhead = self
            .overhead
            .saturating_add(line)
            .saturating_sub(size.saturating_mul(2).saturating_add(USUAL_OVERHEAD));
        if self.overhead > MAX_OVERHEAD {
            return Err(NotChunked);
        }
        Ok(if size == 0 { ChunkState::TrailerStart } else { ChunkState::Data { left: size } })
    }
}

impl Default for Chunks {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether the byte is a `tchar` of RFC 9110 section 5.6.2.
pub const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// Whether the byte may occur in a field's value or a quoted string.
const fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8], part: usize) -> Result<Option<usize>, NotChunked> {
        let mut chunks = Chunks::new();
        let mut taken = 0;
        for part in bytes.chunks(part) {
            taken += chunks.take(part)?;
            if chunks.is_ended() {
                return Ok(Some(taken));
            }
        }
        Ok(None)
    }

    /// The grammar is that of RFC 9112 section 7.1.
    #[test]
    fn what_is_chunked_is_read_to_its_end() {
        for body in [
            "0\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "5\r\nhello\r\n000\r\n\r\n",
            "A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n",
            "00000000000005\r\nhello\r\n0\r\n\r\n",
            "5;a\r\nhello\r\n0;last\r\n\r\n",
            "5 ; a = b ;c=\"d;\\\"\\\\\"\r\nhello\r\n0\r\n\r\n",
            "5;a=\"b; c\"\r\nhello\r\n0\r\n\r\n",
            "5 \r\nhello\r\n0 \r\n\r\n",
            "0\r\nX-Sum: 1\r\nY:\r\n\r\n",
            "2\r\n\r\n\r\n0\r\n\r\n",
        ] {
            let more = format!("{body}GET / HTTP/1.1\r\n");
            for part in [1, 2, 3, 1000] {
                let read = read(more.as_bytes(), part);
                assert_eq!(read, Ok(Some(body.len())), "{body:?} in parts of {part}");
            }
        }
    }

    #[test]
    fn what_is_not_chunked_is_refused() {
        let long = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(MAX_LINE));
        let trailers = format!("0\r\n{}\r\n", "X-A: 1\r\n".repeat(MAX_TRAILERS / 8 + 1));
        let flood = format!("1;{}\r\nA\r\n", "x".repeat(100)).repeat(1000);
        for body in [
            "\r\nA\r\n0\r\n\r\n",
            "\r\n",
            " 5\r\nhello\r\n0\r\n\r\n",
            ";a\r\n\r\n",
            "5\nhello\r\n0\r\n\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "5\r\nhello0\r\n\r\n",
            "5\r\nhello!\r\n0\r\n\r\n",
            "5\rhello",
            "5\r\rhello",
            "0x5\r\nhello\r\n0\r\n\r\n",
            "+5\r\nhello\r\n0\r\n\r\n",
            "-5\r\nhello\r\n0\r\n\r\n",
            "5 5\r\nhello\r\n0\r\n\r\n",
            "5,5\r\nhello\r\n0\r\n\r\n",
            "5_\r\nhello\r\n0\r\n\r\n",
            "g\r\n",
            "FFFFFFFFFFFFFFFF\r\nA",
            "10000000000000005\r\nhello\r\n0\r\n\r\n",
            "0000000000000000000005\r\nhello\r\n0\r\n\r\n",
            "5;\r\nhello\r\n0\r\n\r\n",
            "5;a=\r\nhello\r\n0\r\n\r\n",
            "5;a b\r\nhello\r\n0\r\n\r\n",
            "5;a\nb\r\nhello\r\n0\r\n\r\n",
            "5;a\0\r\nhello\r\n0\r\n\r\n",
            "5;a=\"b\r\n\"\r\nhello\r\n0\r\n\r\n",
            "0\r\nX-A : 1\r\n\r\n",
            "0\r\n: 1\r\n\r\n",
            "0\r\n folded\r\n\r\n",
            "0\r\nX-A: 1\n\r\n",
            "0\r\nX-A: \0\r\n\r\n",
            "0\r\nGET / HTTP/1.1\r\n\r\n",
            "0\n\n",
            "0\r\n\n",
            &long,
            &trailers,
            &flood,
        ] {
            for part in [1, 7, 100_000] {
                let shown = &body[..body.len().min(60)];
                assert_eq!(read(body.as_bytes(), part), Err(NotChunked), "{shown:?} by {part}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_data_in_any_parts_ends_where_it_was_ended(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..50), 0..20),
            more in prop::collection::vec(any::<u8>(), 0..20),
            cut in 1_usize..40,
        ) {
            let mut body = Vec::new();
            for part in &parts {
                body.extend(format!("{:x}\r\n", part.len()).bytes());
                body.extend(part);
                body.extend(b"\r\n");
            }
            body.extend(b"0\r\n\r\n");
            let length = body.len();
            body.extend(more);
            prop_assert_eq!(read(&body, cut), Ok(Some(length)));
        }

        #[test]
        fn nothing_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 1_usize..9) {
            let _ = read(&bytes, cut);
        }
    }
}
