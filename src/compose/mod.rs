//! Owns the wording: a message, its records and its person, to a mail's bytes. Pure: no I/O after load, no clock.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::people::{People, Person};
use crate::record::{Record, Severity};

/// `[brand]`: in every mail. A template that uses an unset value fails `check`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the config's keys")]
pub struct Brand {
    pub name: Option<String>,
    pub address: Option<String>,
    pub logo_file: Option<PathBuf>,
    pub helpdesk_url: Option<String>,
    pub security_contact: Option<String>,
    pub report_url: Option<String>,
    pub review_url: Option<String>,
}

/// Which wording: the ordinary one, or the one for somebody who hears in another's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i64)]
pub enum Kind {
    /// To the person concerned.
    Normal = 0,
    /// To the fallback list: the person has no usable address.
    Unresolved = 1,
    /// To the fallback list: the message was given up.
    Failed = 2,
    /// `send-test`.
    Test = 3,
}

/// The sender's side of the headers, from the channel's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// RFC 5322 From: `Example Security <security@example.com>`; its domain is the Message-ID's.
    pub from: String,
    /// Reply-To.
    pub reply_to: Option<String>,
    /// Try-out: every mail goes here, the real recipient stands in the subject.
    pub redirect_to: Option<String>,
}

/// Everything a mail is a function of. The same input gives the same bytes.
#[derive(Clone, Debug)]
pub struct Draft<'a> {
    /// Message key: left side of the Message-ID, seed of the MIME boundary.
    pub key: &'a str,
    /// Template name; with `fallback` the built-in one is used in its place.
    pub template: &'a str,
    /// Use the built-in fallback template.
    pub fallback: bool,
    /// Which wording.
    pub kind: Kind,
    /// Rule id and its description.
    pub rule: &'a str,
    /// The rule's description.
    pub title: &'a str,
    /// The message's severity.
    pub severity: Severity,
    /// `Date`.
    pub created_at: Timestamp,
    /// Canonical recipient (`user:…`, `addr:…`): decides which targets and changes the reader may see.
    pub recipient: &'a crate::plan::Recipient,
    /// To whom.
    pub person: &'a Person,
    /// The directory, which says whose targets are the reader's.
    pub people: &'a People,
    /// With [`Kind::Unresolved`] and [`Kind::Failed`]: who was to hear of it, and why he could not.
    pub about: Option<About<'a>>,
    /// The records, oldest first.
    pub records: &'a [Record],
}

/// In whose place the reader hears of something.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// The recipient of the message that this one stands for.
    pub recipient: &'a crate::plan::Recipient,
    /// Its verdict's reason, e.g. `guest`.
    pub reason: &'a str,
}

/// A rendered mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// RFC 5322 To and RFC 5321 RCPT TO.
    pub to: Arc<str>,
    /// The whole message.
    pub bytes: Bytes,
    /// The subject, for the demo's page.
    pub subject: String,
    /// blake3 of `bytes`.
    pub digest: [u8; 32],
}
