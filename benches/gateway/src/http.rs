//! As much of HTTP/1.1 as a generator and a stand-in need that cost little.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// Headers that a message may have.
pub(crate) const MOST_HEADERS: usize = 64;
const FIRST_BUFFER: usize = 16 * 1024;

/// A connection to a server, for one request after the other.
pub(crate) struct Connection {
    stream: TcpStream,
    came: Vec<u8>,
    body: Vec<u8>,
}

/// An answer that came whole.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr, from: Option<IpAddr>) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        if let Some(from) = from {
            socket.bind(SocketAddr::new(from, 0))?;
        }
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, came: vec![0; FIRST_BUFFER], body: vec![] })
    }

    /// Sends a request, and reads the answer to its end.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> io::Result<Answer<'_>> {
        self.stream.write_all(request).await?;
        let (head, mut filled) = self.read_head().await?;
        match head.length {
            Length::Known(length) => {
                let whole = head.bytes + length;
                if self.came.len() < whole {
                    self.came.resize(whole, 0);
                }
                while filled < whole {
                    filled += some(self.stream.read(&mut self.came[filled..]).await?)?;
                }
                Ok(Answer { status: head.status, body: &self.came[head.bytes..whole] })
            }
            Length::Chunked => {
                self.body.clear();
                let mut chunks = Chunks::default();
                let body = &mut self.body;
                chunks.take(&self.came[head.bytes..filled], |piece| body.extend_from_slice(piece))?;
                while !chunks.at_end() {
                    let n = some(self.stream.read(&mut self.came).await?)?;
                    chunks.take(&self.came[..n], |piece| body.extend_from_slice(piece))?;
                }
                Ok(Answer { status: head.status, body: &self.body })
            }
        }
    }

    /// Sends a request, and reads the answer as far as the first piece of its body, which is a stream's.
    pub(crate) async fn begin(&mut self, request: &[u8]) -> io::Result<Stream<'_>> {
        self.stream.write_all(request).await?;
        let (head, filled) = self.read_head().await?;
        let mut stream =
            Stream { connection: self, status: head.status, left: Left::Bytes(0), piece: vec![] };
        stream.left = match head.length {
            Length::Known(length) => Left::Bytes(length),
            Length::Chunked => Left::Chunks(Chunks::default()),
        };
        stream.take(head.bytes, filled)?;
        while stream.piece.is_empty() && stream.next().await? {}
        Ok(stream)
    }

    /// The head, and how much came so far.
    async fn read_head(&mut self) -> io::Result<(Head, usize)> {
        let mut filled = 0;
        loop {
            if filled == self.came.len() {
                return Err(malformed("a head that is too long"));
            }
            filled += some(self.stream.read(&mut self.came[filled..]).await?)?;
            if let Some(head) = Head::read(&self.came[..filled])? {
                return Ok((head, filled));
            }
        }
    }
}

/// An answer whose body is still coming.
pub(crate) struct Stream<'a> {
    connection: &'a mut Connection,
    pub(crate) status: u16,
    left: Left,
    /// What of the body came last.
    pub(crate) piece: Vec<u8>,
}

enum Left {
    Bytes(usize),
    Chunks(Chunks),
}

impl Stream<'_> {
    /// Reads on. False at the end of the body.
    pub(crate) async fn next(&mut self) -> io::Result<bool> {
        let at_end = match &self.left {
            Left::Bytes(left) => *left == 0,
            Left::Chunks(chunks) => chunks.at_end(),
        };
        if at_end {
            return Ok(false);
        }
        self.piece.clear();
        let n = some(self.connection.stream.read(&mut self.connection.came).await?)?;
        self.take(0, n)?;
        Ok(true)
    }

    fn take(&mut self, from: usize, to: usize) -> io::Result<()> {
        let came = &self.connection.came[from..to];
        match &mut self.left {
            Left::Bytes(left) => {
                *left = left.checked_sub(came.len()).ok_or_else(|| malformed("more than the length says"))?;
                self.piece.extend_from_slice(came);
            }
            Left::Chunks(chunks) => chunks.take(came, |piece| self.piece.extend_from_slice(piece))?,
        }
        Ok(())
    }
}

struct Head {
    status: u16,
    length: Length,
    bytes: usize,
}

enum Length {
    Known(usize),
    Chunked,
}

impl Head {
    fn read(came: &[u8]) -> io::Result<Option<Self>> {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(bytes) =
            response.parse(came).map_err(|_| malformed("a head that is none"))?
        else {
            return Ok(None);
        };
        let mut length = Length::Known(0);
        for header in response.headers.iter() {
            if header.name.eq_ignore_ascii_case("content-length") {
                length = Length::Known(number(header.value).ok_or_else(|| malformed("a length"))?);
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                length = Length::Chunked;
            }
        }
        Ok(Some(Self { status: response.code.unwrap_or_default(), length, bytes }))
    }
}

/// Takes a chunked body apart as it comes.
#[derive(Default)]
pub(crate) struct Chunks {
    place: Place,
    left: usize,
}

#[derive(Default, PartialEq)]
enum Place {
    #[default]
    Size,
    Extension,
    Data,
    AfterData,
    Trailer,
    TrailerLine,
    End,
}

impl Chunks {
    /// Gives each piece of the content to `each`.
    pub(crate) fn take(&mut self, mut came: &[u8], mut each: impl FnMut(&[u8])) -> io::Result<()> {
        while let Some((&byte, rest)) = came.split_first() {
            if self.place == Place::Data {
                let (piece, rest) = came.split_at(self.left.min(came.len()));
                each(piece);
                self.left -= piece.len();
                if self.left == 0 {
                    self.place = Place::AfterData;
                }
                came = rest;
                continue;
            }
            came = rest;
            match (&self.place, byte) {
                (Place::End, _) => return Err(malformed("bytes after the last chunk")),
                (Place::Size | Place::Extension, b'\n') => {
                    self.place = if self.left == 0 { Place::Trailer } else { Place::Data };
                }
                (Place::Size, b';') => self.place = Place::Extension,
                (Place::Size, digit) if digit != b'\r' => {
                    let digit = char::from(digit).to_digit(16).ok_or_else(|| malformed("a chunk's size"))?;
                    self.left = self.left << 4 | digit as usize;
                }
                (Place::AfterData, b'\n') => self.place = Place::Size,
                (Place::Trailer, b'\n') => self.place = Place::End,
                (Place::TrailerLine, b'\n') => self.place = Place::Trailer,
                (Place::Trailer, other) if other != b'\r' => self.place = Place::TrailerLine,
                _ => {}
            }
        }
        Ok(())
    }

    pub(crate) fn at_end(&self) -> bool {
        self.place == Place::End
    }
}

/// A header's decimal number.
pub(crate) fn number(text: &[u8]) -> Option<usize> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

fn some(n: usize) -> io::Result<usize> {
    if n == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(n) }
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the other side sent {what}"))
}

#[cfg(test)]
mod tests {
    use super::Chunks;

    #[test]
    fn a_chunked_body_is_the_same_however_it_is_cut() {
        let whole = b"5;name=x\r\nhello\r\n1\r\n \r\n10\r\n0123456789abcdef\r\n0\r\nTrailer: 1\r\n\r\n";
        for size in 1..whole.len() {
            let (mut chunks, mut body) = (Chunks::default(), vec![]);
            for piece in whole.chunks(size) {
                assert!(!chunks.at_end());
                chunks.take(piece, |piece| body.extend_from_slice(piece)).unwrap();
            }
            assert!(chunks.at_end());
            assert_eq!(body, b"hello 0123456789abcdef");
        }
        assert!(Chunks::default().take(b"x\r\n", |_| ()).is_err());
    }
}
