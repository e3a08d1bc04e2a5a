//! Connections that wait for their next request. They belong to a provider, never to a user: what a connection was used
//! for is over and read to its end before it comes here.
//!
//! Each thread uses its own again, since it alone hears when something comes on them. What it takes from another thread it
//! makes its own first.

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use super::connection::ProviderStream;

/// How long a connection waits; shorter than any provider closes it.
const LONGEST: Duration = Duration::from_secs(30);
/// Threads of different numbers have different places, as far as there are any.
const PLACES: usize = 32;
/// The most in one place.
const MOST: usize = 256;

/// A provider's idle connections.
#[derive(Default)]
pub(crate) struct IdleConnections {
    places: [Mutex<VecDeque<Idle>>; PLACES],
}

struct Idle {
    stream: ProviderStream,
    since: Instant,
    /// The number of the thread that hears of it.
    thread: usize,
}

impl IdleConnections {
    /// The one that was used last, if it still stands.
    pub(crate) async fn take(&self) -> Option<ProviderStream> {
        let own = own_number();
        poll_fn(|context| {
            for place in (0..PLACES).map(|next| (own + next) % PLACES) {
                loop {
                    let idle = self.place(place).pop_back();
                    let Some(Idle { mut stream, since, thread }) = idle else { break };
                    let is_here = thread == own || stream.move_here();
                    if is_here && since.elapsed() < LONGEST && stream.is_quiet(context) {
                        return Poll::Ready(Some(stream));
                    }
                }
            }
            Poll::Ready(None)
        })
        .await
    }

    pub(crate) fn put(&self, stream: ProviderStream) {
        let (since, thread) = (Instant::now(), own_number());
        let mut place = self.place(thread % PLACES);
        let gone = if place.len() >= MOST { place.pop_front() } else { None };
        place.push_back(Idle { stream, since, thread });
        drop(place);
        // Closing is a system call, which nobody else is to wait for.
        drop(gone);
    }

    /// Closes those that have waited for too long.
    pub(crate) fn close_old(&self) {
        for place in &self.places {
            let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
            let old = place.iter().take_while(|idle| idle.since.elapsed() >= LONGEST).count();
            let gone: Vec<Idle> = place.drain(..old).collect();
            drop(place);
            drop(gone);
        }
    }

    fn place(&self, index: usize) -> std::sync::MutexGuard<'_, VecDeque<Idle>> {
        self.places[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn own_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static OWN: Cell<usize> = Cell::new(NEXT.fetch_add(1, Ordering::Relaxed)));
    OWN.with(Cell::get)
}
