//! A shell script that starts a server and does with it what it is told.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Another program may take a port between its choice and the server's start.
const ATTEMPTS: u32 = 5;

/// A script that runs. It ends when its standard input closes: when this is dropped, and with the test run at the
/// latest.
#[derive(Debug)]
pub(crate) struct Script {
    process: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Script {
    /// Starts `text`, with these variables and a free port as `SERVER_PORT`, until it says its first line. Returns that
    /// line and the port.
    ///
    /// # Panics
    /// If `server` does not start, with what it said.
    pub(crate) fn start(server: &str, text: &str, variables: &[(&str, &OsStr)]) -> (Self, String, u16) {
        let mut told = String::new();
        for _ in 0..ATTEMPTS {
            let port = free_port();
            match Self::try_to_start(text, variables, port) {
                Ok((script, first)) => return (script, first, port),
                Err(why) => told = why,
            }
        }
        panic!("{server} did not start; run `make test`, which installs it\n{told}");
    }

    fn try_to_start(text: &str, variables: &[(&str, &OsStr)], port: u16) -> Result<(Self, String), String> {
        let mut process = Command::new("sh")
            .args(["-c", text])
            .envs(variables.iter().copied())
            .env("SERVER_PORT", port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // What ends the test run from a terminal must not end the script before it has stopped the server.
            .process_group(0)
            .spawn()
            .unwrap();
        let mut answers = BufReader::new(process.stdout.take().unwrap());
        let mut first = String::new();
        answers.read_line(&mut first).unwrap();
        let mut told = process.stderr.take().unwrap();
        if first.is_empty() {
            let why = std::io::read_to_string(told).unwrap();
            process.wait().unwrap();
            return Err(why);
        }
        // Nobody reads what it says from here on, and a full pipe would hold it up.
        std::thread::spawn(move || std::io::copy(&mut told, &mut std::io::sink()));
        let orders = process.stdin.take();
        Ok((Self { process, orders, answers }, first.trim_end().to_owned()))
    }

    /// Gives an order and waits for the answer, one line.
    pub(crate) fn ask(&mut self, order: &str) -> String {
        writeln!(self.orders.as_mut().unwrap(), "{order}").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        answer.trim_end().to_owned()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        drop(self.orders.take());
        let _ = self.process.wait();
    }
}

/// A port on 127.0.0.1 that nobody uses now.
///
/// # Panics
/// If there is none.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
