//! AWS's key management service, played by moto (<https://docs.getmoto.org>).

use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

/// Ends what it started when its standard input closes, with the test run at the latest.
const SCRIPT: &str = r#"
"$PYTHON" -m moto.server -H 127.0.0.1 -p "$SERVER_PORT" </dev/null &
server=$!
cat >/dev/null
kill "$server" 2>/dev/null
wait "$server" || true
"#;

/// A service of its own, without any keys. Any credentials are good for it.
#[derive(Debug)]
pub struct KmsServer {
    port: u16,
    process: Child,
    alive: Option<ChildStdin>,
}

impl KmsServer {
    /// Starts one.
    ///
    /// # Panics
    /// If it does not start, with what it said.
    pub fn start() -> Self {
        let port = crate::free_port();
        let mut process = Command::new("sh")
            .args(["-c", SCRIPT])
            .env("PYTHON", python())
            .env("SERVER_PORT", port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = BufReader::new(process.stderr.take().unwrap());
        let alive = process.stdin.take();
        let mut seen = String::new();
        while !seen.contains("Running on") {
            assert!(told.read_line(&mut seen).unwrap() > 0, "moto did not start\n{seen}");
        }
        // Nobody reads what it says from here on, and a full pipe would hold it up.
        std::thread::spawn(move || std::io::copy(&mut told, &mut std::io::sink()));
        let server = Self { port, process, alive };
        server.wait_until_it_answers();
        server
    }

    /// Its address, for `AWS_ENDPOINT_URL_KMS`.
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What a program needs in its environment to reach it.
    pub fn variables(&self) -> [(&'static str, String); 4] {
        [
            ("AWS_ENDPOINT_URL_KMS", self.address()),
            ("AWS_ACCESS_KEY_ID", "test-data".into()),
            ("AWS_SECRET_ACCESS_KEY", "test-data-not-a-real-secret".into()),
            ("AWS_EC2_METADATA_DISABLED", "true".into()),
        ]
    }

    /// Asks it for something, as AWS's tools do, and returns its answer's JSON.
    ///
    /// # Panics
    /// If it does not answer, or refuses.
    pub fn ask(&self, operation: &str, body: &str) -> String {
        use std::io::Write as _;
        let mut connection = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let credential = "AWS4-HMAC-SHA256 Credential=test-data/20200101/eu-central-1/kms/aws4_request, SignedHeaders=host, Signature=0";
        write!(
            connection,
            "POST / HTTP/1.0\r\nHost: kms\r\nX-Amz-Target: TrentService.{operation}\r\n\
             Authorization: {credential}\r\nContent-Type: application/x-amz-json-1.1\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.lines().next().unwrap().contains(" 200 "), "{answer}");
        body.to_owned()
    }

    /// The ARN of a new key in eu-central-1.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn new_key(&self) -> String {
        let answer = self.ask("CreateKey", "{}");
        let (_, arn) = answer.split_once("\"Arn\": \"").unwrap();
        arn.split('"').next().unwrap().to_owned()
    }

    fn wait_until_it_answers(&self) {
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(60), "moto does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for KmsServer {
    fn drop(&mut self) {
        drop(self.alive.take());
        let _ = self.process.wait();
    }
}

fn python() -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/test-tools");
    #[expect(clippy::disallowed_methods, reason = "a setting of the test run itself")]
    let tools = std::env::var_os("KEYFOLD_TEST_TOOLS").map_or_else(default, PathBuf::from);
    let python = tools.join("venv/bin/python");
    assert!(python.exists(), "{} is missing: run `make test`, which installs it", python.display());
    python
}
