//! Owns the bytes: rendered parts to an RFC 5322 message, the same ones for the same input.
//!
//! lettre builds it. Its traps (it panics on a line end in a display name, passes a bare CR in a 7-bit body, writes
//! two Content-Types when asked) are kept out here: parsed addresses only, quoted-printable always, names constant.

use std::time::{Duration, UNIX_EPOCH};

use lettre::Address;
use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment, Mailbox, Message, MultiPart, SinglePart};

use super::templates::Rendered;
use super::{ComposeError, Draft, Logo, Sender, text};
use crate::people::address;
use crate::record::Severity;

/// Content-ID of the logo, and the link to it.
pub const LOGO_ID: &str = "logo@auditbell";

/// The message to `to` (RFC 5321 forward path).
pub fn message(
    draft: &Draft<'_>,
    sender: &Sender,
    to: &str,
    parts: &Rendered,
    logo: Option<&Logo>,
) -> Result<Vec<u8>, ComposeError> {
    let from = mailbox(&sender.from)?;
    let domain = from.email.domain().to_owned();
    let at = UNIX_EPOCH + Duration::from_millis(u64::try_from(draft.created_at.as_millis()).unwrap_or(0));
    let mut builder = Message::builder()
        .from(from)
        .to(Mailbox::new(None, parse(to)?))
        .subject(parts.subject.clone())
        .date(at)
        .message_id(Some(format!("<{}@{domain}>", draft.key)));
    if let Some(reply_to) = &sender.reply_to {
        builder = builder.reply_to(mailbox(reply_to)?);
    }
    let mut fixed = vec![
        // RFC 3834: nobody's holiday answers this. Not `All`: we want the reports of failed delivery (MS-OXCMAIL 2.1.3.2.20).
        ("Auto-Submitted", "auto-generated".to_owned()),
        ("X-Auto-Response-Suppress", "OOF, AutoReply, RN, NRN".to_owned()),
        ("Content-Language", "en".to_owned()),
        ("X-Auditbell-Rule", header_word(draft.rule)),
    ];
    if draft.severity >= Severity::High {
        fixed.push(("Importance", "high".to_owned()));
        fixed.push(("X-Priority", "1".to_owned()));
    }
    for (name, value) in fixed {
        let name = HeaderName::new_from_ascii(name.to_owned()).map_err(|_| ComposeError::Build)?;
        builder = builder.raw_header(HeaderValue::new(name, value));
    }
    let message = builder.multipart(body(draft.key, parts, logo)).map_err(|_| ComposeError::Build)?;
    Ok(message.formatted())
}

/// Text first, HTML last (RFC 2046 5.1.4), the logo beside both. `=_` cannot stand in quoted-printable text, so no
/// body can hold a boundary.
fn body(key: &str, parts: &Rendered, logo: Option<&Logo>) -> MultiPart {
    let part = |kind: ContentType, content: &str| {
        SinglePart::builder().header(kind).header(ContentTransferEncoding::QuotedPrintable).body(content.to_owned())
    };
    let both = MultiPart::alternative()
        .boundary(format!("=_{key}_a"))
        .singlepart(part(ContentType::TEXT_PLAIN, &parts.text))
        .singlepart(part(ContentType::TEXT_HTML, &parts.html));
    let Some(logo) = logo else { return both };
    let picture = Attachment::new_inline(LOGO_ID.to_owned()).body(logo.bytes.to_vec(), logo.kind.clone());
    MultiPart::related().boundary(format!("=_{key}_r")).multipart(both).singlepart(picture)
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
