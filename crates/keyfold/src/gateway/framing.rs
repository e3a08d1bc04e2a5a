//! Where the body of an HTTP/1.1 answer ends (RFC 9112, section 6), found without copying it.
//!
//! Stricter than the standard asks for: what two readers could take differently is an error, so that nothing after a
//! body can pass for the beginning of the next answer. It is fuzzed for agreement with hyper's reader.

/// The longest line of a chunk's size, extensions included.
const LONGEST_SIZE_LINE: usize = 256;
/// The most bytes of trailers, each taken for a little longer than it is. They are read and left out.
const MOST_TRAILERS: usize = 4 * 1024;
const MORE_PER_TRAILER: usize = 40;

/// How the end of a body is known.
#[derive(Debug)]
pub enum Framing {
    /// There are so many bytes left.
    Length(u64),
    /// Chunked transfer coding.
    Chunked(Chunks),
    /// At the end of the connection.
    UntilClose,
}

/// What some bytes of a connection are to the body that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scanned {
    /// So many of them go on to the caller as they are, framing included.
    pub passes: usize,
    /// With them the body, or its last chunk, is at its end. A chunked body still needs its last empty line.
    pub is_end: bool,
    /// So many of them belonged to the body.
    pub used: usize,
}

/// The framing is not what the standard says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer's framing is malformed")]
pub struct MalformedFraming {
    /// So many of the bytes before it pass.
    pub passes: usize,
}

/// A byte that may not stand where it stands.
struct Misplaced;

/// How far a chunked body is read.
#[derive(Debug)]
pub struct Chunks {
    state: State,
    /// Bytes of the size line, or of all trailers.
    seen: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The digits of a size so far, and whether there is one.
    Size {
        size: u64,
        has_digits: bool,
    },
    /// After the digits: `;` and what follows, up to the end of the line.
    Extension {
        size: u64,
    },
    /// The line's CR was seen.
    SizeEnd {
        size: u64,
    },
    /// So many bytes of data are left.
    Data(u64),
    DataCr,
    DataLf,
    /// The beginning of a line after the last chunk.
    TrailerStart,
    /// Within a trailer's name.
    TrailerName,
    /// After its colon.
    Trailer,
    /// A trailer's CR was seen.
    TrailerLf,
    /// The CR of the last empty line was seen.
    EndLf,
    End,
}

impl Framing {
    /// Looks at the next bytes of a connection. `data` is told each run of the body's own bytes.
    ///
    /// # Errors
    /// [`MalformedFraming`]: nothing of the connection can be believed any more.
    pub fn scan(&mut self, bytes: &[u8], mut data: impl FnMut(&[u8])) -> Result<Scanned, MalformedFraming> {
        match self {
            Self::Length(left) => {
                let used = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= used as u64;
                data(&bytes[..used]);
                Ok(Scanned { passes: used, is_end: *left == 0, used })
            }
            Self::Chunked(chunks) => chunks.scan(bytes, data),
            Self::UntilClose => {
                data(bytes);
                Ok(Scanned { passes: bytes.len(), is_end: false, used: bytes.len() })
            }
        }
    }

    /// What is left to be written after the bytes that passed at the end.
    pub fn closing(&self) -> &'static [u8] {
        match self {
            Self::Chunked(_) => b"\r\n",
            Self::Length(_) | Self::UntilClose => b"",
        }
    }
}

impl Default for Chunks {
    fn default() -> Self {
        Self { state: State::Size { size: 0, has_digits: false }, seen: 0 }
    }
}

impl Chunks {
    fn scan(&mut self, bytes: &[u8], mut data: impl FnMut(&[u8])) -> Result<Scanned, MalformedFraming> {
        let (mut at, mut passes) = (0, 0);
        while at < bytes.len() && self.state != State::End {
            if let State::Data(left) = self.state {
                let run = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - at);
                data(&bytes[at..at + run]);
                at += run;
                passes = at;
                let left = left - run as u64;
                self.state = if left == 0 { State::DataCr } else { State::Data(left) };
                continue;
            }
            self.state = self.step(bytes[at]).map_err(|Misplaced| MalformedFraming { passes })?;
            at += 1;
            // Trailers are left out, so the last line that passes is that of the last chunk.
            if !self.is_in_trailers() || (self.state == State::TrailerStart && self.seen == 0) {
                passes = at;
            }
        }
        Ok(Scanned { passes, is_end: self.state == State::End, used: at })
    }

    fn is_in_trailers(&self) -> bool {
        use State::{End, EndLf, Trailer, TrailerLf, TrailerName, TrailerStart};
        matches!(self.state, TrailerStart | TrailerName | Trailer | TrailerLf | EndLf | End)
    }

    fn step(&mut self, byte: u8) -> Result<State, Misplaced> {
        Ok(match (self.state, byte) {
            (State::Size { size, .. }, digit) if digit.is_ascii_hexdigit() => {
                self.count(LONGEST_SIZE_LINE)?;
                let digit = char::from(digit).to_digit(16).unwrap_or_default();
                let size = size.checked_mul(16).and_then(|size| size.checked_add(u64::from(digit)));
                State::Size { size: size.ok_or(Misplaced)?, has_digits: true }
            }
            (State::Size { size, has_digits: true } | State::Extension { size }, b'\r') => {
                State::SizeEnd { size }
            }
            (State::Size { size, has_digits: true }, b';') => State::Extension { size },
            (State::Extension { size }, byte) if is_of_a_field(byte) => {
                self.count(LONGEST_SIZE_LINE)?;
                State::Extension { size }
            }
            (State::SizeEnd { size }, b'\n') => {
                self.seen = 0;
                if size == 0 { State::TrailerStart } else { State::Data(size) }
            }
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size { size: 0, has_digits: false },
            (State::TrailerStart, b'\r') => State::EndLf,
            (State::TrailerStart | State::TrailerName, byte) if is_of_a_name(byte) => {
                self.count(MOST_TRAILERS)?;
                State::TrailerName
            }
            (State::TrailerName, b':') => {
                self.seen += MORE_PER_TRAILER;
                self.count(MOST_TRAILERS)?;
                State::Trailer
            }
            (State::Trailer, byte) if is_of_a_field(byte) => {
                self.count(MOST_TRAILERS)?;
                State::Trailer
            }
            (State::Trailer, b'\r') => State::TrailerLf,
            (State::TrailerLf, b'\n') => State::TrailerStart,
            (State::EndLf, b'\n') => State::End,
            _ => return Err(Misplaced),
        })
    }

    fn count(&mut self, most: usize) -> Result<(), Misplaced> {
        self.seen += 1;
        if self.seen > most { Err(Misplaced) } else { Ok(()) }
    }
}

/// RFC 9110, section 5.6.2.
fn is_of_a_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_of_a_field(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What passes, the data, whether it ended, and how much was used; in pieces of this size.
    fn read(body: &[u8], piece: usize) -> Result<(Vec<u8>, Vec<u8>, bool, usize), MalformedFraming> {
        let mut framing = Framing::Chunked(Chunks::default());
        let (mut passed, mut data, mut used) = (vec![], vec![], 0);
        for bytes in body.chunks(piece) {
            let scanned = framing.scan(bytes, |run| data.extend_from_slice(run))?;
            passed.extend_from_slice(&bytes[..scanned.passes]);
            used += scanned.used;
            if scanned.is_end {
                passed.extend_from_slice(framing.closing());
                return Ok((passed, data, true, used));
            }
        }
        Ok((passed, data, false, used))
    }

    #[test]
    fn a_chunked_body_passes_as_it_is_in_whatever_pieces_it_comes() {
        let body = b"5\r\nhello\r\n1;a=\"b\"\r\n,\r\n00A\r\n0123456789\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n";
        let end = body.len() - b"HTTP/1.1 200 OK\r\n".len();
        for piece in 1..=body.len() {
            let (passed, data, is_end, used) = read(body, piece).unwrap();
            assert_eq!(passed, body[..end].to_vec(), "{piece}");
            assert_eq!(data, b"hello,0123456789");
            assert!(is_end);
            assert_eq!(used, end, "{piece}");
        }
    }

    #[test]
    fn trailers_are_read_and_left_out() {
        let body = b"1\r\nx\r\n0\r\nSet-Cookie: a=b\r\nX: y\r\n\r\n";
        for piece in 1..=body.len() {
            let (passed, data, is_end, used) = read(body, piece).unwrap();
            assert_eq!(passed, b"1\r\nx\r\n0\r\n\r\n", "{piece}");
            assert_eq!((data.as_slice(), is_end, used), (&b"x"[..], true, body.len()));
        }
    }

    #[test]
    fn a_body_that_is_cut_off_has_no_end() {
        let body = b"5\r\nhello\r\n0\r\n\r\n";
        for cut in 0..body.len() {
            let (_, _, is_end, used) = read(&body[..cut], 4).unwrap();
            assert_eq!((is_end, used), (false, cut));
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for body in [
            &b"5\nhello\r\n0\r\n\r\n"[..],
            b"5\r\nhello\n0\r\n\r\n",
            b"5\r\nhello!\r\n0\r\n\r\n",
            b"5\rhello\r\n",
            b" 5\r\nhello\r\n",
            b"5 \r\nhello\r\n",
            b"+5\r\nhello\r\n",
            b"-1\r\n",
            b"0x5\r\nhello\r\n",
            b"\r\n",
            b";a\r\n",
            b"5;a\nb\r\nhello\r\n",
            b"5;a\0b\r\nhello\r\n",
            b"10000000000000000\r\n",
            b"ffffffffffffffffff\r\n",
            b"0\r\n\n",
            b"0\r\nA: b\n\r\n",
            b"0\r\nA\0: b\r\n\r\n",
            b"0\r\nA b: c\r\n\r\n",
            b"0\r\n: b\r\n\r\n",
            b"0\r\nnone\r\n\r\n",
            b"g\r\n",
        ] {
            assert!(read(body, 3).is_err(), "{}", body.escape_ascii());
        }
        let long = [b"5;".to_vec(), vec![b'a'; LONGEST_SIZE_LINE], b"\r\nhello\r\n".to_vec()].concat();
        assert!(read(&long, 64).is_err());
        let trailers = [b"0\r\n".to_vec(), b"A: b\r\n".repeat(MOST_TRAILERS / 4)].concat();
        assert!(read(&trailers, 64).is_err());
    }

    #[test]
    fn what_stands_before_a_mistake_passes() {
        let mut framing = Framing::Chunked(Chunks::default());
        assert_eq!(framing.scan(b"2\r\nok\r\nzz\r\n", |_| {}), Err(MalformedFraming { passes: 7 }));
    }

    #[test]
    fn a_body_of_known_length_ends_there() {
        let mut framing = Framing::Length(5);
        let mut data = vec![];
        let mut scan = |bytes: &[u8]| framing.scan(bytes, |run| data.extend_from_slice(run)).unwrap();
        assert_eq!(scan(b"hel"), Scanned { passes: 3, is_end: false, used: 3 });
        assert_eq!(scan(b"lo, world"), Scanned { passes: 2, is_end: true, used: 2 });
        assert_eq!(data, b"hello");
    }
}
