//! What happens around every handler.

mod cors;
mod header_limit;
mod local_guard;
mod request_scope;
mod security_headers;
