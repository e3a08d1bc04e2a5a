//! The program: what it prints, and that it answers.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(arguments: &[&str]) -> (Running, impl Iterator<Item = String> + use<>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyfold-standin"));
    command.args(["--listen", "127.0.0.1:0"]).args(arguments).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    (Running(child), lines)
}

fn ask(base_url: &str, path: &str, authorization: &str) -> String {
    let rest = base_url.strip_prefix("http://").unwrap();
    let (address, prefix) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!(
        "GET {prefix}{path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {authorization}\r\n\
         connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn it_prints_what_to_set_and_keys_that_work() {
    let (_running, lines) = start(&["--chunks", "20"]);
    let lines: Vec<String> = lines.take(2 * 19 + 2).collect();
    let base_url =
        lines.iter().find_map(|line| line.strip_prefix("KEYFOLD_PROVIDER_MISTRAL_BASE_URL=")).unwrap();
    let key = lines.iter().find_map(|line| line.strip_prefix("# mistral: ")).unwrap();
    assert!(ask(base_url, "/v1/models", key).starts_with("HTTP/1.1 200"));
    let root = base_url.strip_suffix("/mistral").unwrap();
    let stats = ask(root, "/__stats", "");
    assert!(stats.contains(r#""mistral":1"#), "{stats}");
}

#[test]
fn it_can_play_one_provider() {
    let (_running, lines) = start(&["--provider", "groq", "--threads", "2", "--record"]);
    let lines: Vec<String> = lines.take(4).collect();
    let base_url = lines[1].strip_prefix("KEYFOLD_PROVIDER_GROQ_BASE_URL=").unwrap();
    let key = lines[3].strip_prefix("# groq: ").unwrap();
    assert!(ask(base_url, "/openai/v1/models", key).starts_with("HTTP/1.1 200"));
}

#[test]
fn it_can_play_a_token_issuer_too() {
    let (_running, lines) = start(&["--provider", "groq", "--issuer", "127.0.0.1:0"]);
    let lines: Vec<String> = lines.take(4 + 5).collect();
    let url = lines[5].strip_prefix("KEYFOLD_AUTH_ISSUER=").unwrap();
    assert!(lines[6].starts_with("KEYFOLD_AUTHORIZED_PARTIES=https://"), "{lines:?}");
    let token = lines[8].strip_prefix("# user_a: ").unwrap();
    let fresh = ask(url, "/token/user_b", "");
    let (_, fresh) = fresh.split_once("\r\n\r\n").unwrap();
    for token in [token, fresh.trim()] {
        assert!(token.starts_with("ey") && token.split('.').count() == 3, "{token}");
    }
    assert!(
        ask(url, "/.well-known/openid-configuration", "").contains(&format!("{url}/.well-known/jwks.json"))
    );
    assert!(ask(url, "/.well-known/jwks.json", "").contains("\"RS256\""));
}
