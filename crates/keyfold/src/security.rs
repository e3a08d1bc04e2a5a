//! The security manual: what is promised, and the test that holds each promise; who can do what; how others failed.
//! Its links lead into the repository.

#![allow(
    clippy::doc_markdown,
    reason = "it is also read as plain Markdown, with names as their owners write them"
)]
#![doc = include_str!("../../../SECURITY.md")]
#![doc = include_str!("../../../docs/security.md")]
#![doc = include_str!("../../../docs/incidents.md")]
