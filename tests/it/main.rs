//! The integration tests: one binary, one file per theme.

mod config;
mod config_mutations;
mod layers;
mod smtp;
mod smtp_server;
mod smtp_tls;
mod smtp_verdicts;
