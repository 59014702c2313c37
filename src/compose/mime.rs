//! Owns the bytes: rendered parts to an RFC 5322 message, the same ones for the same input.
//!
//! lettre writes the headers. Its traps (it panics on a line end in a display name, writes two Content-Types when asked) are
//! kept out here: parsed addresses only, names constant. The parts are written once, straight into the message.

use std::time::{Duration, UNIX_EPOCH};

use lettre::Address;
use lettre::message::header::{
    ContentType, Date, From, HeaderName, HeaderValue, Headers, MIME_VERSION_1_0, MessageId, ReplyTo, Subject, To,
};
use lettre::message::{Attachment, Mailbox, Mailboxes};

use super::templates::Rendered;
use super::{ComposeError, Draft, Sender, quoted, text};
use crate::people::address;
use crate::record::Severity;

/// Content-ID of the logo, and the link to it.
pub const LOGO_ID: &str = "logo@auditbell";
/// Bytes of the headers and of what stands between the parts, and some more.
const FRAME: usize = 2048;

/// What a message consists of.
#[derive(Clone, Copy)]
pub enum Body<'a> {
    /// Text and HTML, with the part that [`logo`] made.
    Both {
        /// Beside both.
        logo: Option<&'a [u8]>,
    },
    /// The text alone.
    Text,
}

/// The message to `to` (RFC 5321 forward path).
pub fn message(
    draft: &Draft<'_>,
    sender: &Sender,
    to: &str,
    parts: &Rendered,
    body: Body<'_>,
) -> Result<Vec<u8>, ComposeError> {
    let words = parts.text.len() + parts.html.len();
    let logo = if let Body::Both { logo: Some(logo) } = body { logo.len() } else { 0 };
    let mut out = Vec::with_capacity(FRAME + words + words / 4 + logo);
    out.extend_from_slice(headers(draft, sender, to, &parts.subject)?.to_string().as_bytes());
    match body {
        Body::Both { logo } => both(&mut out, draft.key, parts, logo),
        Body::Text => part(&mut out, "plain", &parts.text),
    }
    Ok(out)
}

/// All but the Content-Type.
fn headers(draft: &Draft<'_>, sender: &Sender, to: &str, subject: &str) -> Result<Headers, ComposeError> {
    let from = mailbox(&sender.from)?;
    let domain = from.email.domain().to_owned();
    let at = UNIX_EPOCH + Duration::from_millis(u64::try_from(draft.created_at.as_millis()).unwrap_or(0));
    let mut headers = Headers::new();
    headers.set(From::from(Mailboxes::from(from)));
    headers.set(To::from(Mailboxes::from(Mailbox::new(None, parse(to)?))));
    headers.set(Subject::from(subject.to_owned()));
    headers.set(Date::new(at));
    headers.set(MessageId::from(format!("<{}@{domain}>", draft.key)));
    if let Some(reply_to) = &sender.reply_to {
        headers.set(ReplyTo::from(Mailboxes::from(mailbox(reply_to)?)));
    }
    let mut fixed = vec![
        // RFC 3834: nobody's holiday answers this. Not `All`: we want the reports of failed delivery (MS-OXCMAIL 2.1.3.2.20).
        ("Auto-Submitted", "auto-generated".to_owned()),
        ("X-Auto-Response-Suppress", "OOF, AutoReply, RN, NRN".to_owned()),
        ("Content-Language", "en".to_owned()),
        ("X-Auditbell-Rule", header_word(draft.rule)),
    ];
    // RFC 2156 5.3.4; `X-Priority` for the programs that look there.
    let important = match draft.severity {
        Severity::High | Severity::Critical => Some(("high", "1")),
        Severity::Medium => None,
        Severity::Low | Severity::Informational => Some(("low", "5")),
    };
    if let Some((importance, priority)) = important {
        fixed.push(("Importance", importance.to_owned()));
        fixed.push(("X-Priority", priority.to_owned()));
    }
    for (name, value) in fixed {
        headers.insert_raw(HeaderValue::new(HeaderName::new_from_ascii_str(name), value));
    }
    headers.set(MIME_VERSION_1_0);
    Ok(headers)
}

/// Text first, HTML last (RFC 2046 5.1.4), the logo beside both. `=_` cannot stand in quoted-printable text nor in base64, so
/// no part can hold a boundary.
fn both(out: &mut Vec<u8>, key: &str, parts: &Rendered, logo: Option<&[u8]>) {
    let mut put = |text: &str| out.extend_from_slice(text.as_bytes());
    if logo.is_some() {
        put(&format!("Content-Type: multipart/related;\r\n boundary=\"=_{key}_r\"\r\n\r\n--=_{key}_r\r\n"));
    }
    put(&format!("Content-Type: multipart/alternative;\r\n boundary=\"=_{key}_a\"\r\n\r\n"));
    for (kind, words) in [("plain", &parts.text), ("html", &parts.html)] {
        out.extend_from_slice(format!("--=_{key}_a\r\n").as_bytes());
        part(out, kind, words);
    }
    out.extend_from_slice(format!("--=_{key}_a--\r\n").as_bytes());
    if let Some(logo) = logo {
        out.extend_from_slice(format!("--=_{key}_r\r\n").as_bytes());
        out.extend_from_slice(logo);
        out.extend_from_slice(format!("--=_{key}_r--\r\n").as_bytes());
    }
}

/// Words of the type `text/kind`, with their head.
fn part(out: &mut Vec<u8>, kind: &str, words: &str) {
    let head =
        format!("Content-Type: text/{kind}; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n");
    out.extend_from_slice(head.as_bytes());
    quoted::encode(words, out);
    out.extend_from_slice(b"\r\n");
}

/// The part that is the logo.
pub fn logo(kind: ContentType, bytes: Vec<u8>) -> Vec<u8> {
    Attachment::new_inline(LOGO_ID.to_owned()).body(bytes, kind).formatted()
}

fn mailbox(text: &str) -> Result<Mailbox, ComposeError> {
    let mailbox = address::mailbox(text).map_err(|_| ComposeError::Address)?;
    // A line end in a display name makes lettre panic; `=?` in one would be read as an encoded word.
    let name = mailbox.name.map(|name| text::clean_own(&name.replace("=?", "= ?"), text::LONG));
    Ok(Mailbox::new(name, parse(&mailbox.address)?))
}

fn parse(address: &str) -> Result<Address, ComposeError> {
    address::parse(address).ok().and_then(|address| address.parse().ok()).ok_or(ComposeError::Address)
}

/// A rule id holds nothing else; what a test or a removed rule brings is held to it.
fn header_word(id: &str) -> String {
    id.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')).take(64).collect()
}
