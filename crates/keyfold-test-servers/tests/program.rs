//! `keyfold-test-postgres`, which the tests in other languages start.

#![allow(clippy::unwrap_used, reason = "it is a test")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

#[tokio::test]
async fn each_line_is_answered_with_a_new_database_and_the_end_takes_the_server_down() {
    let mut program = Command::new(env!("CARGO_BIN_EXE_keyfold-test-postgres"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut orders = program.stdin.take().unwrap();
    let mut answers = BufReader::new(program.stdout.take().unwrap()).lines();
    let mut database = || {
        orders.write_all(b"\n").unwrap();
        answers.next().unwrap().unwrap()
    };
    let (first, second) = (database(), database());
    assert_ne!(first, second);
    for address in [&first, &second] {
        let _connected = tokio_postgres::connect(address, tokio_postgres::NoTls).await.unwrap();
    }
    drop(orders);
    assert!(program.wait().unwrap().success());
    assert!(tokio_postgres::connect(&first, tokio_postgres::NoTls).await.is_err());
}
