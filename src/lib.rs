//! auditbell reads audit-log and security-alert records from Kafka and tells the person concerned, once.
//!
//! # The path of a record
//!
//! ```text
//!            intake (pure between poll and accept)                    dispatch (one loop per channel)
//!
//! Kafka ─▶ source ─▶ record ─▶ rules ─▶ plan ─▶ accept ─┐      ┌─▶ claim ─▶ people ─▶ compose ─▶ channels ─▶ settle
//!            ▲      envelope   which    to whom, one tx ▼      │   a window  who is    templates  one SMTP   one
//!            │      → records  match    intents   ┌──────────┐ │   of rows   behind    → bytes    session,   verdict
//!            └─── position ◀──────────────────────│  store   │─┘             it                   one mail     │
//!                 after accept                    └──────────┘◀──────────────────────────────────────────────── ┘
//! ```
//!
//! [`source`] polls Kafka in a thread of its own and hands envelopes over. [`intake`] takes an envelope apart ([`record`]),
//! asks the index whether anybody wants a record ([`rules`]), decides who is told ([`plan`]), and gives the store a whole
//! batch: positions, records, notifications, dead letters, one transaction. [`dispatch`] claims what is due, finds the
//! person ([`people`]), writes the mail ([`compose`]), makes one attempt ([`channels`]) and records the one verdict.
//! The two loops meet only in the [`store`]: intake never waits for the outside world, and a dead relay delays no reading.
//!
//! # What holds
//!
//! 1. A position moves by compare-and-swap, as the first statement of the transaction that accounts for what it passes.
//! 2. `record`, `rules`, `plan` and `compose` do no I/O and ask no clock; `now` is an argument.
//! 3. One message has one recipient, one address, one channel, one `Message-ID`. Records of two people never share one.
//! 4. The notification id is a hash of record, rule, recipient and channel, unique in the store: told once.
//! 5. No transaction is open while anything is sent; what cannot be recorded is not sent; `Sent` wins over everything.
//! 6. A channel makes one attempt and returns one verdict. It never loops or sleeps.
//! 7. Every queue, batch, body, wait and retry has a limit with a name. Full means: hold, and say why.
//! 8. Every matched record ends in one verdict per notification, with a reason. What cannot be read is a dead letter.
//! 9. Text from a record is data: never a header, a link's target, a sentence of ours, or a recipient by itself.
//! 10. Logs and metrics hold no address, name, body or secret.
//!
//! # The map
//!
//! [`app`] builds the parts from a [`config`], starts and stops them; [`shutdown`], [`logging`], [`metrics`] and [`http`]
//! serve it; [`cli`] holds one command per file; [`demo`] plays the whole path on one machine. [`clock`] is the only place
//! that asks for the time, [`secret`] the only type for what must not be printed, [`certificate`] until when one is good, [`crash`] the steps at which the crash
//! suite kills the process, [`nearest`] the "did you mean",
//! [`network`] the addresses that a rule or a channel means, [`lookup`] the rows that rules and templates look
//! things up in, [`packs`] the rules that are shipped, [`memory`] what is kept of it.

pub mod app;
pub mod certificate;
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
pub mod lookup;
pub mod memory;
pub mod metrics;
pub mod nearest;
pub mod network;
pub mod packs;
pub mod people;
pub mod plan;
pub mod record;
pub mod rules;
pub mod secret;
pub mod shutdown;
pub mod source;
pub mod store;
