//! HTTP/1.1 by hand, on either side of the gateway: exactly these bytes are sent, and what comes is looked at as it is.

use std::future::pending;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::future::select_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Until a test that waits for something that never comes fails.
const PATIENCE: Duration = Duration::from_secs(120);

/// One end of a connection.
pub(crate) struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// The head of a request or an answer.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    /// The request line or status line.
    pub(crate) first: String,
    /// Each line as it came.
    pub(crate) fields: Vec<(String, String)>,
}

/// A request or an answer, read whole.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) head: Head,
    /// Without its framing.
    pub(crate) body: Vec<u8>,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// In order: whoever reads until the end takes that for the whole.
    Closed,
    /// Broken.
    Reset,
}

/// A provider of which a test plays every byte.
pub(crate) struct RawProvider {
    listener: TcpListener,
    /// The same socket, to look whether somebody waits.
    look: std::net::TcpListener,
    /// Connections on which a further request may come.
    kept: Mutex<Vec<Connection>>,
}

impl RawProvider {
    pub(crate) async fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub(crate) fn on(listener: TcpListener) -> Self {
        let look = listener.into_std().unwrap();
        let listener = TcpListener::from_std(look.try_clone().unwrap()).unwrap();
        Self { listener, look, kept: Mutex::default() }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The next connection.
    async fn accept(&self) -> Connection {
        let (stream, _) = timeout(PATIENCE, self.listener.accept()).await.expect("nobody came").unwrap();
        Connection::of(stream)
    }

    /// The next request, on a new connection or on one that was kept.
    pub(crate) async fn request(&self) -> (Connection, Message) {
        let mut connection = self.accept_or_kept().await;
        let request = connection.read_request().await;
        (connection, request)
    }

    /// The connection on which the next request comes. Hyper may make one that it then does not need.
    pub(crate) async fn accept_or_kept(&self) -> Connection {
        let mut kept = std::mem::take(&mut *self.kept.lock().unwrap());
        let connection = loop {
            let waiting = kept.iter_mut().map(|connection| Box::pin(connection.has_more()));
            let waiting: Vec<_> = waiting.collect();
            let on_kept =
                async { if waiting.is_empty() { pending().await } else { select_all(waiting).await } };
            let came = tokio::select! {
                (has_more, index, _) = on_kept => Ok((has_more, index)),
                connection = self.accept() => Err(connection),
            };
            match came {
                Ok((true, index)) => break kept.swap_remove(index),
                Ok((false, index)) => drop(kept.swap_remove(index)),
                Err(connection) => kept.push(connection),
            }
        };
        self.kept.lock().unwrap().extend(kept);
        connection
    }

    /// The next request may come on this connection. Closed instead, it might be used before that is noticed.
    pub(crate) fn keep(&self, connection: Connection) {
        self.kept.lock().unwrap().push(connection);
    }

    /// All bytes of all connections that nobody accepted yet, up to their ends.
    pub(crate) async fn everything_that_came(&self) -> Vec<Vec<u8>> {
        let mut came = vec![];
        while let Ok((stream, _)) = self.look.accept() {
            stream.set_nonblocking(true).unwrap();
            came.push(Connection::of(TcpStream::from_std(stream).unwrap()).read_to_end().await.0);
        }
        came
    }

    /// How many connections are open and wait.
    pub(crate) fn kept(&self) -> usize {
        self.kept.lock().unwrap().len()
    }

    /// Closes those that were kept.
    pub(crate) fn close_kept(&self) {
        self.kept.lock().unwrap().clear();
    }

    /// No request came that was not read yet.
    #[track_caller]
    pub(crate) fn assert_nobody_came(&self) {
        while let Ok((stream, _)) = self.look.accept() {
            stream.set_nonblocking(true).unwrap();
            let waits = stream.peek(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
            assert!(waits, "somebody came");
            // Hyper made one that it did not need.
            self.keep(Connection::of(TcpStream::from_std(stream).unwrap()));
        }
    }
}

impl Connection {
    pub(crate) async fn to(address: SocketAddr) -> Self {
        Self::of(TcpStream::connect(address).await.unwrap())
    }

    fn of(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self { stream, unread: vec![] }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.unwrap();
    }

    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        timeout(PATIENCE, self.stream.write_all(bytes.as_ref())).await.expect("nobody took it")
    }

    /// Without a limit: the other side takes it when it likes.
    pub(crate) async fn send_patiently(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Reads so many bytes and forgets them.
    pub(crate) async fn skip(&mut self, bytes: u64) {
        let mut left = bytes;
        loop {
            let now = self.unread.len().min(usize::try_from(left).unwrap());
            assert!(self.unread[..now].iter().all(|byte| *byte == b'x'), "other bytes came");
            self.unread.drain(..now);
            left -= now as u64;
            if left == 0 {
                return;
            }
            self.more().await.expect("it ended");
        }
    }

    /// Whether this stands in what came and was not read yet.
    pub(crate) fn has(&self, text: &str) -> bool {
        String::from_utf8_lossy(&self.unread).contains(text)
    }

    /// Waits for more; false at the end.
    pub(crate) async fn has_next(&mut self) -> bool {
        self.more().await.is_ok()
    }

    /// Breaks it.
    pub(crate) fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }

    /// Says that nothing more will come.
    pub(crate) async fn finish(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Reads more; `None` at an end.
    async fn more(&mut self) -> Result<(), End> {
        let mut room = vec![0; 64 * 1024];
        match timeout(PATIENCE, self.stream.read(&mut room)).await.expect("nothing came") {
            Ok(0) => Err(End::Closed),
            Ok(read) => {
                self.unread.extend_from_slice(&room[..read]);
                Ok(())
            }
            Err(_) => Err(End::Reset),
        }
    }

    pub(crate) async fn try_finish(&mut self) -> std::io::Result<()> {
        self.stream.shutdown().await
    }

    /// Whether something comes before it ends.
    pub(crate) async fn has_more(&mut self) -> bool {
        !self.unread.is_empty() || self.more().await.is_ok()
    }

    /// Exactly so many bytes.
    pub(crate) async fn read(&mut self, length: usize) -> Vec<u8> {
        self.try_read(length).await.expect("it ended")
    }

    async fn try_read(&mut self, length: usize) -> Result<Vec<u8>, End> {
        while self.unread.len() < length {
            self.more().await?;
        }
        Ok(self.unread.drain(..length).collect())
    }

    /// Up to the end of a line, without that.
    async fn read_line(&mut self) -> Result<String, End> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.unread.drain(..end + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            self.more().await?;
        }
    }

    pub(crate) async fn try_read_head(&mut self) -> Result<Head, End> {
        let first = self.read_line().await?;
        let mut fields = vec![];
        loop {
            let line = self.read_line().await?;
            if line.is_empty() {
                return Ok(Head { first, fields });
            }
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no header: {line:?}"));
            fields.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    pub(crate) async fn read_head(&mut self) -> Head {
        self.try_read_head().await.expect("no head came")
    }

    /// One chunk of a chunked body; empty for the last one, whose trailers and end are read too.
    pub(crate) async fn read_chunk(&mut self) -> Result<Vec<u8>, End> {
        let line = self.read_line().await?;
        let digits = line.split(';').next().unwrap();
        let size = usize::from_str_radix(digits, 16).unwrap_or_else(|_| panic!("no size: {line:?}"));
        if size == 0 {
            while !self.read_line().await?.is_empty() {}
            return Ok(vec![]);
        }
        let chunk = self.try_read(size).await?;
        assert_eq!(self.try_read(2).await?, b"\r\n");
        Ok(chunk)
    }

    async fn read_chunks(&mut self) -> Result<Vec<u8>, End> {
        let mut body = vec![];
        loop {
            let chunk = self.read_chunk().await?;
            if chunk.is_empty() {
                return Ok(body);
            }
            body.extend(chunk);
        }
    }

    /// A body that is framed as this head says; what it ended with, if it broke off.
    pub(crate) async fn read_body(&mut self, head: &Head) -> Result<Vec<u8>, End> {
        if head.one("transfer-encoding").is_some() {
            return self.read_chunks().await;
        }
        match head.one("content-length") {
            Some(length) => self.try_read(length.parse().unwrap()).await,
            None => Ok(vec![]),
        }
    }

    pub(crate) async fn read_request(&mut self) -> Message {
        let head = self.read_head().await;
        let body = self.read_body(&head).await.expect("the request broke off");
        Message { head, body }
    }

    /// An answer, to its end.
    pub(crate) async fn read_answer(&mut self) -> Message {
        let head = self.read_head().await;
        let has_end = ["transfer-encoding", "content-length"].iter().any(|name| head.one(name).is_some());
        let is_bodiless = [204, 304].contains(&head.status());
        let body = if has_end && !is_bodiless {
            self.read_body(&head).await.expect("the answer broke off")
        } else if is_bodiless {
            vec![]
        } else {
            let (body, end) = self.read_to_end().await;
            assert_eq!(end, End::Closed);
            body
        };
        Message { head, body }
    }

    /// Everything that is still to come, and how it ended.
    pub(crate) async fn read_to_end(&mut self) -> (Vec<u8>, End) {
        loop {
            if let Err(end) = self.more().await {
                return (std::mem::take(&mut self.unread), end);
            }
        }
    }

    /// Waits until the other side has closed it, without a further byte.
    pub(crate) async fn wait_for_end(&mut self) -> End {
        let (rest, end) = self.read_to_end().await;
        assert!(rest.is_empty(), "{}", rest.escape_ascii());
        end
    }
}

impl Head {
    /// All values of a header.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let same = self.fields.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name));
        same.map(|(_, value)| value.as_str()).collect()
    }

    /// The value of a header that is there once, or not at all.
    #[track_caller]
    pub(crate) fn one(&self, name: &str) -> Option<&str> {
        let values = self.all(name);
        assert!(values.len() <= 1, "{name} is there {} times: {self:?}", values.len());
        values.first().copied()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }

    /// Of an answer.
    pub(crate) fn status(&self) -> u16 {
        self.first.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("no status line")
    }
}

impl Message {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// Asserts that this is Keyfold's own answer with that status and code, and returns its body.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str) -> serde_json::Value {
        assert_eq!(self.head.status(), status, "{:?} {}", self.head, self.text());
        assert_eq!(self.head.one("keyfold-error"), Some(code), "{:?} {}", self.head, self.text());
        let body = self.json();
        assert_eq!(body["code"], code, "{body}");
        assert_eq!(body["status"], status, "{body}");
        assert_eq!(body["request_id"].as_str(), self.head.one("x-request-id"), "{body}");
        body
    }
}
