//! The security manual: what is promised, and the test that holds each promise; who can do what; how others failed.
//! Its links lead into the repository.

#![allow(
    clippy::doc_markdown,
    reason = "it is also read as plain Markdown, with names as their owners write them"
)]
// Only where documentation is made: who compiles the library from the Python package's sdist has no `docs/`.
#![cfg_attr(any(doc, doctest), doc = include_str!("../../../SECURITY.md"))]
#![cfg_attr(any(doc, doctest), doc = include_str!("../../../docs/security.md"))]
#![cfg_attr(any(doc, doctest), doc = include_str!("../../../docs/incidents.md"))]
