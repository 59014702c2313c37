//! The integration tests: one binary, one file per theme.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking; clippy.toml exempts only #[test] functions, not what they call"
)]

mod acceptance;
mod brake;
mod canary;
mod cluster;
mod command_line;
mod config;
mod config_doubts;
mod config_files;
mod config_mutations;
mod corpus;
mod dead_letters;
mod demo;
mod dialects;
mod explain;
mod explain_kept;
mod flow;
mod giving_up;
mod graph_mail;
mod harness;
mod http_refusals;
mod http_server;
mod init;
mod inspect;
mod intake;
mod kafka;
mod kafka_admin;
mod kafka_reader;
mod kafka_real;
mod kafka_real_daemon;
mod kafka_real_operators;
mod layers;
mod lookup;
mod mails;
mod mapped_rules;
mod memory;
mod news;
mod operations;
mod operators;
mod packs;
mod postfix;
mod refusals;
mod reload;
mod resolve;
mod retry;
mod rooms;
mod route;
mod routes;
mod rule_tests;
mod rules_listed;
mod send_test;
mod smtp;
mod smtp_deadlines;
mod smtp_server;
mod smtp_tls;
mod smtp_verdicts;
mod stop;
mod store;
mod token;
mod verdicts;
mod web;
mod webhook;
mod workflows;
