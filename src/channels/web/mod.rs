//! Owns outbound HTTP.
pub mod guard;
pub mod retry_after;
