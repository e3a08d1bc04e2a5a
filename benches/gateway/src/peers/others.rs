//! Gateways of others, if the environment names their programs. They swap one key for one token and know no users, so
//! their job is the smaller one.

use super::{Peer, Place};

pub(super) fn start(_place: &Place<'_>) -> Vec<Peer> {
    vec![]
}
