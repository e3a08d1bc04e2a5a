//! What happens around every handler, outermost first: see `router.rs`.

pub(crate) mod cors;
pub(crate) mod header_limit;
pub(crate) mod local_guard;
pub(crate) mod request_scope;
pub(crate) mod security_headers;
