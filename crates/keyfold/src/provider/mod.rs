//! The providers: what is known of each, what their keys look like, how a key is checked and used.

mod address;
pub mod answer;
#[cfg(feature = "kms")]
pub(crate) mod aws_http;
pub mod check;
pub mod clerk;
pub mod document;
pub mod generate;
pub mod http;
pub mod key_shape;
pub mod other_keyfold;
mod registry;
mod registry_file;
pub mod research;
mod server_sent_events;

pub use address::{BaseAddress, MalformedAddress};
pub use answer::Verdict;
pub use registry::{
    Check, ErrorShape, Generate, GenerateApi, KeyPlacement, MalformedProviderId, Provider, ProviderId,
    Registry,
};
pub use registry_file::{Mistake, RegistryError};
