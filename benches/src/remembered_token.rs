//! Verifying a token that was verified before.

use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use aws_lc_rs::digest::{SHA256, digest};
use keyfold::auth::issuer::Issuer as IssuerSettings;
use keyfold::auth::{KeySetTimeouts, TokenVerifier};
use keyfold::clock::SystemClock;
use keyfold::settings::{Environment, Problems, Sources};
use keyfold_standin::Issuer;

use crate::report::{ROUNDS, heading, line, median, nanoseconds};

const CALLS: u32 = 50_000;

pub(crate) async fn measure() {
    let folder = tempfile::tempdir().unwrap();
    let issuer = Issuer::start().await;
    let trusted = issuer.settings();
    let variables = trusted.iter().map(|(name, value)| (*name, value.as_str()));
    let environment: Environment = variables.chain([("DEBUG", "true")]).collect();
    let sources = Sources::load(environment, folder.path()).unwrap();
    let settings = IssuerSettings::read(&sources, &[], &mut Problems::default()).unwrap();
    let verifier = TokenVerifier::new(&settings, Arc::new(SystemClock), KeySetTimeouts::default());
    let token = issuer.token_for("user_2abcdefghijklmnopqrstuvwxyz");
    verifier.verify(&token).await.unwrap();
    // As many as a busy node remembers.
    for number in 0..2_000 {
        verifier.verify(&issuer.token_for(&format!("user_{number}"))).await.unwrap();
    }
    let verify = || match pin!(verifier.verify(&token)).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => drop(black_box(answer.unwrap())),
        Poll::Pending => unreachable!("a remembered token waits for nobody"),
    };
    let (mut figures, mut floors) = (vec![], vec![]);
    for _ in 0..ROUNDS {
        floors.push(nanoseconds(CALLS, || {
            black_box(digest(&SHA256, black_box(token.as_bytes())));
        }));
        figures.push(nanoseconds(CALLS, verify));
    }
    heading(&format!("Verifying a remembered token of {} bytes (floor: its SHA-256)", token.len()));
    line("verify(token)", median(figures), median(floors), "ns", "aim: ratio 2 or less");
}
