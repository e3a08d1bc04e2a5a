//! The stand-in as a program: see the library.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a small command-line program")]

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use clap::builder::PossibleValuesParser;
use keyfold_standin::issuer::{ED25519, P256, RSA, TOKEN_PATH};
use keyfold_standin::{Issuer, Options, PROVIDERS, Standin, example_key};

/// Plays the AI providers' servers, so that Keyfold can be tried, tested and measured without real keys.
///
/// A key that contains INVALID, DENIED, QUOTA, NOCREDIT, BROKEN or NONSENSE gets the answer the word promises; so does
/// a request with standin:INVALID and so on in its body. standin:slow, standin:cut and standin:flaky-1-NAME are others.
/// GET /__stats tells how many requests came.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:9100")]
    listen: SocketAddr,
    /// Play this provider only, at the root instead of under its name.
    #[arg(long, value_parser = PossibleValuesParser::new(PROVIDERS))]
    provider: Option<String>,
    /// Wait so long before every answer.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 0)]
    delay_ms: u64,
    /// Stream texts in so many pieces (texts that have fewer words are made longer).
    #[arg(long, value_name = "NUMBER", default_value_t = 8)]
    chunks: usize,
    /// Wait so long between two pieces.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 0)]
    chunk_delay_ms: u64,
    /// Make generated texts at least so many words long.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    words: usize,
    /// Remember all requests, as in tests (takes ever more memory).
    #[arg(long)]
    record: bool,
    /// Play a token issuer too, to try production: its address, such as 127.0.0.1:9101. Whoever can reach it gets
    /// tokens for any user.
    #[arg(long, value_name = "ADDRESS")]
    issuer: Option<SocketAddr>,
    /// Threads; one is best when the load generator and Keyfold share the machine.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    threads: usize,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = if arguments.threads <= 1 {
        tokio::runtime::Builder::new_current_thread().enable_all().build()
    } else {
        tokio::runtime::Builder::new_multi_thread().worker_threads(arguments.threads).enable_all().build()
    };
    match runtime {
        Ok(runtime) => runtime.block_on(run(arguments)),
        Err(error) => {
            eprintln!("keyfold-standin: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> ExitCode {
    let options = Options {
        listen: arguments.listen,
        provider: arguments.provider.clone(),
        record: arguments.record,
        delay: Duration::from_millis(arguments.delay_ms),
        chunks: arguments.chunks,
        chunk_delay: Duration::from_millis(arguments.chunk_delay_ms),
        min_words: arguments.words.max(arguments.chunks),
    };
    let standin = match Standin::start_with(options).await {
        Ok(standin) => standin,
        Err(error) => {
            eprintln!("keyfold-standin: cannot listen on {}: {error}", arguments.listen);
            return ExitCode::FAILURE;
        }
    };
    let providers =
        || PROVIDERS.iter().filter(|id| arguments.provider.as_deref().is_none_or(|only| only == **id));
    println!("# The stand-in listens on {}. Set these for Keyfold:", standin.url());
    for id in providers() {
        println!("KEYFOLD_PROVIDER_{}_BASE_URL={}", id.to_uppercase(), standin.base_url(id));
    }
    println!("# Test data, no real keys: the stand-in accepts these (and others).");
    for id in providers() {
        println!("# {id}: {}", example_key(id, 1));
    }
    // Kept until the end: it stops when it is dropped.
    let _issuer = match arguments.issuer {
        None => None,
        Some(address) => match Issuer::start_on(address, &[&RSA, &P256, &ED25519]).await {
            Ok(issuer) => {
                show_issuer(&issuer);
                Some(issuer)
            }
            Err(error) => {
                eprintln!("keyfold-standin: cannot listen on {address}: {error}");
                return ExitCode::FAILURE;
            }
        },
    };
    match tokio::signal::ctrl_c().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("keyfold-standin: {error}");
            ExitCode::FAILURE
        }
    }
}

fn show_issuer(issuer: &Issuer) {
    println!("# The token issuer listens on {}. Set these for Keyfold:", issuer.url());
    for (name, value) in issuer.settings() {
        println!("{name}={value}");
    }
    println!(
        "# A token for user_a, for an hour; a fresh one for any user: curl {}{TOKEN_PATH}user_a",
        issuer.url()
    );
    println!("# user_a: {}", issuer.token_for("user_a"));
}
