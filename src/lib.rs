//! auditbell reads audit-log and security-alert records from Kafka and tells the person concerned, once.

pub mod app;
pub mod channels;
pub mod cli;
pub mod clock;
pub mod compose;
pub mod config;
pub mod crash;
pub mod demo;
pub mod dispatch;
pub mod http;
pub mod intake;
pub mod logging;
pub mod metrics;
pub mod nearest;
pub mod people;
pub mod plan;
pub mod record;
pub mod rules;
pub mod secret;
pub mod shutdown;
pub mod source;
pub mod store;
