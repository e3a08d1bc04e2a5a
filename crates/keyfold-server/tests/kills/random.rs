//! Random points that a failed test can be repeated with.

use std::hint::spin_loop;
use std::time::{Duration, Instant};

/// Changed by hand to look at other points.
pub(crate) const SEED: u64 = 0x6b66_2026_0004;

/// <https://prng.di.unimi.it/splitmix64.c>
#[derive(Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// A sequence of its own for each user of it.
    pub(crate) fn of(number: u64) -> Self {
        Self(SEED ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    /// Lets some part of `about` pass, at most all of it. Shorter than anything that can be waited for.
    pub(crate) fn pass_part_of(&mut self, about: Duration) {
        let most = u64::try_from(about.as_nanos()).unwrap().max(1);
        let (begun, pause) = (Instant::now(), Duration::from_nanos(self.below(most)));
        while begun.elapsed() < pause {
            spin_loop();
        }
    }
}

/// How many kills of each kind.
pub(crate) fn kills() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "how long a test may take is no setting")]
    let kills = std::env::var("KEYFOLD_TEST_KILLS");
    kills.map_or(200, |kills| kills.parse().expect("KEYFOLD_TEST_KILLS is a number"))
}
