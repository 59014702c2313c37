//! Owns the wording: a message and its records, to the bytes of a mail for a person or of a document for a room. Pure: no
//! I/O after load, no clock.
//!
//! `view` makes of the records what this reader may see, `templates` words of that, `mime` a mail's bytes of the words.
//! A document is what its template renders to, and JSON.

mod calls;
mod check;
mod files;
mod inline;
mod mime;
mod prepare;
mod program;
mod quoted;
mod schema;
pub mod templates;
pub mod text;
mod view;
mod words;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use lettre::message::header::ContentType;
use serde_json::{Value, json};

use self::mime::Body;
use crate::clock::Timestamp;
use crate::lookup::Lookups;
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

impl Kind {
    /// As templates see it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Unresolved => "unresolved",
            Self::Failed => "failed",
            Self::Test => "test",
        }
    }
}

/// Everything a mail or a document is a function of. The same input gives the same bytes.
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
    /// `Date`; with `late`, when it was meant to leave.
    pub created_at: Timestamp,
    /// It says so of itself.
    pub late: bool,
    /// Canonical recipient (`user:…`, `addr:…`): decides which targets and changes the reader may see.
    pub recipient: &'a crate::plan::Recipient,
    /// To whom; `None`: a room.
    pub person: Option<&'a Person>,
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

/// A rendered document, for a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// JSON, as its template wrote it.
    pub bytes: Bytes,
    /// blake3 of `bytes`.
    pub digest: [u8; 32],
}

/// Why there is no mail and no document. No value of a record is in it: it is logged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ComposeError {
    /// Loading should have found it; only a context unlike all samples gets here.
    #[error("template {name}/{part}, line {line}: cannot be rendered")]
    Template {
        /// Template.
        name: String,
        /// `subject`, `html`, `text` or `body`.
        part: &'static str,
        /// Line of the template, 0 where unknown.
        line: usize,
    },
    /// A part without a word.
    #[error("template {name}/{part}: renders to nothing")]
    Empty {
        /// Template.
        name: String,
        /// Part.
        part: &'static str,
    },
    /// What it renders to is no HTML with CSS.
    #[error("template {name}/html: its styles cannot be inlined")]
    Css {
        /// Template.
        name: String,
    },
    /// More HTML than mail clients show, or a longer body than rooms take.
    #[error("template {name}/{part}: {bytes} bytes are too many")]
    TooLarge {
        /// Template.
        name: String,
        /// Part.
        part: &'static str,
        /// Size.
        bytes: usize,
    },
    /// What it renders to is no JSON.
    #[error("template {name}/body, line {line} of what it renders to: is no JSON")]
    NotJson {
        /// Template.
        name: String,
        /// Line of the result.
        line: usize,
    },
    /// `from`, `reply_to`, `redirect_to` or the person's address is none.
    #[error("an address of the message is not one")]
    Address,
}

/// Something wrong with a template, `[brand]` or the logo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file, `built-in …`, or `[brand]`.
    pub file: String,
    /// From 1.
    pub line: Option<usize>,
    /// What is wrong and the remedy.
    pub message: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.message),
            None => write!(f, "{}: {}", self.file, self.message),
        }
    }
}

/// Base64 adds a third; with 90 KB of HTML and its text the mail stays below 300 KB.
const MAX_LOGO_BYTES: u64 = 64 * 1024;

/// Composes mails: templates, brand and logo, checked. Share it; it is never changed.
pub struct Composer {
    templates: templates::Templates,
    brand: Value,
    lookups: Lookups,
    /// The part of a mail that is the picture at its top.
    logo: Option<Vec<u8>>,
}

impl std::fmt::Debug for Composer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Composer").field("templates", &self.templates).finish_non_exhaustive()
    }
}

impl Composer {
    /// Reads the templates (`dir` over the embedded ones), which may name `lookups`, and the logo. All faults, not only the
    /// first.
    pub fn load(dir: Option<&Path>, brand: &Brand, lookups: &Lookups) -> Result<Self, Vec<Fault>> {
        let mut faults = brand.faults();
        let logo = brand.logo_file.as_deref().and_then(|path| {
            let fault = |message| Fault { file: path.display().to_string(), line: None, message };
            read_logo(path).map_err(|message| faults.push(fault(message))).ok()
        });
        let values = brand.values();
        let unset: Vec<&'static str> =
            schema::BRAND.iter().map(|(key, _)| *key).filter(|key| values[*key].is_null()).collect();
        match templates::Templates::load(dir, &unset, &values, lookups) {
            Ok(templates) if faults.is_empty() => Ok(Self { templates, brand: values, lookups: lookups.clone(), logo }),
            Ok(_) => Err(faults),
            Err(more) => Err(faults.into_iter().chain(more).collect()),
        }
    }

    /// The templates that a rule may name.
    pub fn names(&self) -> Vec<&str> {
        self.templates.names().collect()
    }

    /// The mail of `draft`. The same input gives the same bytes.
    pub fn compose(&self, sender: &Sender, draft: &Draft<'_>) -> Result<Mail, ComposeError> {
        let logo = self.logo.as_deref().filter(|_| !draft.fallback);
        self.mail(sender, draft, Body::Both { logo })
    }

    /// The plain form of `draft`, for a mail that is too big: its text alone.
    pub fn plain(&self, sender: &Sender, draft: &Draft<'_>) -> Result<Mail, ComposeError> {
        self.mail(sender, draft, Body::Text)
    }

    fn mail(&self, sender: &Sender, draft: &Draft<'_>, body: Body<'_>) -> Result<Mail, ComposeError> {
        let address = &draft.person.ok_or(ComposeError::Address)?.address;
        let mut context = view::context(draft, &self.brand, &self.lookups);
        if !matches!(body, Body::Both { logo: Some(_) }) {
            context["brand"]["logo"] = Value::Null;
        }
        let mut parts = self.templates.render(&self.template(draft), context)?;
        let to = match &sender.redirect_to {
            None => Arc::clone(address),
            Some(redirected) => {
                parts.subject = format!("[to {address}] {}", parts.subject);
                crate::people::address::parse(redirected).map_err(|_| ComposeError::Address)?
            }
        };
        let bytes = mime::message(draft, sender, &to, &parts, body)?;
        let digest = *blake3::hash(&bytes).as_bytes();
        Ok(Mail { to, bytes: bytes.into(), subject: parts.subject, digest })
    }

    /// What the mail of `draft` says: its subject and its text part, without the mail around them.
    pub fn words(&self, draft: &Draft<'_>) -> Result<(String, String), ComposeError> {
        let parts = self.templates.render(&self.template(draft), view::context(draft, &self.brand, &self.lookups))?;
        Ok((parts.subject, parts.text))
    }

    /// The document of `draft`, which goes to a room. The same input gives the same bytes.
    pub fn document(&self, draft: &Draft<'_>) -> Result<Document, ComposeError> {
        let context = view::context(draft, &self.brand, &self.lookups);
        let name = wordings(draft).into_iter().find(|name| self.templates.has_body(name));
        let text = self.templates.render_body(name.as_deref().unwrap_or(templates::LAYOUT), &context)?;
        let digest = *blake3::hash(text.as_bytes()).as_bytes();
        Ok(Document { bytes: text.into(), digest })
    }

    /// The first wording that is a mail's. A template that is gone is the fallback.
    fn template(&self, draft: &Draft<'_>) -> String {
        wordings(draft).into_iter().find(|name| self.templates.has(name)).unwrap_or_else(|| "fallback".into())
    }
}

/// The templates that could word `draft`, best first: the template's own variant for the kind, then the shared one.
fn wordings(draft: &Draft<'_>) -> Vec<String> {
    let own = draft.template;
    match draft.kind {
        Kind::Test => vec!["test".into()],
        Kind::Normal if draft.fallback => vec!["fallback".into()],
        Kind::Normal => vec![own.into()],
        kind if draft.fallback => vec![kind.as_str().into()],
        kind => vec![format!("{own}/{}", kind.as_str()), kind.as_str().into()],
    }
}

impl Brand {
    /// What every mail needs, and links that are none.
    fn faults(&self) -> Vec<Fault> {
        let required = [("name", &self.name), ("security_contact", &self.security_contact)];
        let missing =
            required.into_iter().filter(|(_, value)| value.as_deref().is_none_or(|text| text.trim().is_empty()));
        let missing =
            missing.map(|(key, _)| format!("brand.{key} is missing: every mail says who writes and whom to call"));
        let links =
            [("helpdesk_url", &self.helpdesk_url), ("report_url", &self.report_url), ("review_url", &self.review_url)];
        let bad = links.into_iter().filter(|(_, link)| link.as_deref().is_some_and(|link| !calls::is_link(link)));
        let bad = bad.map(|(key, _)| format!("brand.{key} is no link: write https://…, http://… or mailto:…"));
        missing.chain(bad).map(|message| Fault { file: "[brand]".into(), line: None, message }).collect()
    }

    /// As templates see it: every key, null where unset.
    fn values(&self) -> Value {
        let own = |value: &Option<String>| value.as_deref().map(|value| text::clean_own(value, 200));
        json!({
            "name": own(&self.name),
            "address": own(&self.address),
            "logo": self.logo_file.as_ref().map(|_| format!("cid:{}", mime::LOGO_ID)),
            "helpdesk_url": self.helpdesk_url,
            "security_contact": own(&self.security_contact),
            "report_url": self.report_url,
            "review_url": self.review_url,
        })
    }
}

fn read_logo(path: &Path) -> Result<Vec<u8>, String> {
    let unreadable = |error: std::io::Error| format!("brand.logo_file cannot be read: {error}");
    let length = std::fs::metadata(path).map_err(unreadable)?.len();
    if length > MAX_LOGO_BYTES {
        return Err(format!("brand.logo_file is longer than {MAX_LOGO_BYTES} bytes: every mail carries it"));
    }
    let bytes = std::fs::read(path).map_err(unreadable)?;
    let kind = match bytes.as_slice() {
        [0x89, b'P', b'N', b'G', ..] => "image/png",
        [0xff, 0xd8, 0xff, ..] => "image/jpeg",
        _ => return Err("brand.logo_file is neither PNG nor JPEG".into()),
    };
    let kind = ContentType::parse(kind).map_err(|_| "brand.logo_file has no known type".to_owned())?;
    Ok(mime::logo(kind, bytes))
}

#[cfg(test)]
mod tests;
