//! A PostgreSQL of a test run's own, for tests in other languages: prints the address of a new database for each line of
//! its standard input, and takes the server down when that ends.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a small command-line program")]

use std::io::{self, BufRead};

use keyfold_test_servers::PostgresServer;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let server = PostgresServer::start(&["fsync=off", "max_connections=300"]);
    for _ in io::stdin().lock().lines().map_while(Result::ok) {
        println!("{}", server.empty_database().await);
    }
}
