//! Owns what may be mailed: one strict grammar for addresses, and the domains the organisation allowed.
//!
//! Stricter than RFC 5322 on purpose: an address comes from a directory or from a record, and what a relay could
//! read in two ways (quoted local parts, literals, comments, source routes) is never needed for a person's mailbox.

use std::borrow::Cow;
use std::sync::Arc;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Longest local part and longest address, RFC 5321 4.5.3.1.1 and 4.5.3.1.3 (256 with the angle brackets).
const MAX_LOCAL: usize = 64;
const MAX_ADDRESS: usize = 254;

/// Why somebody is not mailed. Final at once: waiting for the directory would not help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// A guest's UPN (`#EXT#`) and no address of his own in the people file.
    Guest,
    /// What stands where an address should be is none: a service's name, a deleted user's UPN, a masked value.
    Placeholder,
    /// An address outside `people.allow_domains`.
    ForeignDomain,
    /// In the people file, with neither `mail` nor `upn`.
    NoAddress,
    /// No address that every relay understands.
    Undeliverable,
    /// The people file names no manager of theirs.
    NoManager,
    /// What the rule refers to has no value for the record.
    NoValue,
}

impl Refusal {
    /// The word of the ledger, the metrics and `explain`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Guest => "guest",
            Self::Placeholder => "placeholder",
            Self::ForeignDomain => "foreign-domain",
            Self::NoAddress => "no-address",
            Self::Undeliverable => "undeliverable",
            Self::NoManager => "no-manager",
            Self::NoValue => "no-value",
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for Refusal {}

/// `Name <address>`, as configuration writes a sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox {
    /// Without quotes; never empty.
    pub name: Option<String>,
    /// As [`parse`] gives it.
    pub address: Arc<str>,
}

/// An address of any domain: the local part as written (in NFC), the domain in lower-case A-labels. Letters outside ASCII in
/// the local part are for relays that speak SMTPUTF8 (RFC 6531); which one does is known when it is asked.
pub fn parse(text: &str) -> Result<Arc<str>, Refusal> {
    let (local, host) = text.trim().rsplit_once('@').ok_or(Refusal::Undeliverable)?;
    let host = domain(host)?;
    let local = if local.is_ascii() { Cow::Borrowed(local) } else { Cow::Owned(local.nfc().collect()) };
    if local.len() > MAX_LOCAL || local.len() + 1 + host.len() > MAX_ADDRESS || !local.split('.').all(is_atom) {
        return Err(Refusal::Undeliverable);
    }
    Ok(format!("{local}@{host}").into())
}

/// An address that may be mailed: [`parse`], and its domain is one of `allowed` (exactly: a sub-domain is another).
pub fn deliverable(text: &str, allowed: &[String]) -> Result<Arc<str>, Refusal> {
    let address = parse(text)?;
    let host = address.rsplit('@').next().unwrap_or_default();
    if allowed.iter().any(|domain| domain == host) { Ok(address) } else { Err(Refusal::ForeignDomain) }
}

/// A domain name in lower-case A-labels (UTS 46, with the ASCII rules of STD 3). Literals and single labels are none.
pub fn domain(text: &str) -> Result<String, Refusal> {
    let host = idna::domain_to_ascii_strict(text).map_err(|_| Refusal::Undeliverable)?;
    let last = host.rsplit('.').next().unwrap_or_default();
    let numeric = last.bytes().all(|byte| byte.is_ascii_digit());
    if !host.contains('.') || host.ends_with('.') || numeric { Err(Refusal::Undeliverable) } else { Ok(host) }
}

/// `address` or `Name <address>`, the name with or without quotes.
pub fn mailbox(text: &str) -> Result<Mailbox, Refusal> {
    let text = text.trim();
    if text.chars().any(char::is_control) {
        return Err(Refusal::Undeliverable);
    }
    let Some((name, rest)) = text.split_once('<') else {
        return Ok(Mailbox { name: None, address: parse(text)? });
    };
    let address = parse(rest.strip_suffix('>').ok_or(Refusal::Undeliverable)?)?;
    let name = name.trim().trim_matches('"').trim();
    Ok(Mailbox { name: (!name.is_empty()).then(|| name.to_owned()), address })
}

/// RFC 5322 3.2.3 `1*atext`, and of what RFC 6531 3.3 adds to it the letters and digits of all scripts: nothing that cannot be
/// seen, and no space or punctuation that another program may take for its own.
fn is_atom(text: &str) -> bool {
    let is_atext = |c: char| match c {
        // Hangul fillers are letters without a shape.
        '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' => false,
        c if c.is_ascii() => c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c),
        c => c.is_alphanumeric() || is_combining_mark(c),
    };
    text.chars().all(is_atext) && !text.is_empty() && !text.starts_with(is_combining_mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_addresses_of_allowed_domains_may_be_mailed() {
        let allowed = ["example.com".to_owned(), "xn--mnchen-3ya.example".to_owned()];
        let long = format!("{}@example.com", "a".repeat(65));
        for (why, text, expected) in [
            ("a plain address", "alice@example.com", Ok("alice@example.com")),
            ("the local part keeps its case, the domain loses it", " Alice@EXAMPLE.com ", Ok("Alice@example.com")),
            ("an apostrophe and a plus are atext", "o'neil+x@example.com", Ok("o'neil+x@example.com")),
            ("an IDN domain becomes A-labels", "a@münchen.example", Ok("a@xn--mnchen-3ya.example")),
            ("another domain", "alice@example.org", Err(Refusal::ForeignDomain)),
            ("a sub-domain is another domain", "alice@mail.example.com", Err(Refusal::ForeignDomain)),
            ("a domain that ends alike", "alice@notexample.com", Err(Refusal::ForeignDomain)),
            ("two at signs", "alice@evil.org@example.com", Err(Refusal::Undeliverable)),
            ("a quoted local part", "\"a b\"@example.com", Err(Refusal::Undeliverable)),
            ("an address literal", "a@[192.0.2.1]", Err(Refusal::Undeliverable)),
            ("a bare IP address", "a@192.0.2.1", Err(Refusal::Undeliverable)),
            ("a domain without a dot", "a@localhost", Err(Refusal::Undeliverable)),
            ("a dot at the end of the domain", "a@example.com.", Err(Refusal::Undeliverable)),
            ("two dots in the local part", "a..b@example.com", Err(Refusal::Undeliverable)),
            ("a dot at the start", ".a@example.com", Err(Refusal::Undeliverable)),
            ("a source route", "<@x.example:a@example.com>", Err(Refusal::Undeliverable)),
            ("a header in disguise", "a@example.com\r\nBcc: b@example.com", Err(Refusal::Undeliverable)),
            ("a second recipient", "a@example.com,b@example.com", Err(Refusal::Undeliverable)),
            ("letters outside ASCII need SMTPUTF8", "müller@example.com", Ok("müller@example.com")),
            ("however they are put together", "mu\u{308}ller@example.com", Ok("müller@example.com")),
            ("of a script with vowel signs", "हिन्दी@example.com", Ok("हिन्दी@example.com")),
            ("a mark that stands on nothing", "\u{308}a@example.com", Err(Refusal::Undeliverable)),
            ("what nobody sees", "ali\u{200b}ce@example.com", Err(Refusal::Undeliverable)),
            ("a letter that nobody sees", "ali\u{3164}ce@example.com", Err(Refusal::Undeliverable)),
            ("what turns the direction", "\u{202e}alice@example.com", Err(Refusal::Undeliverable)),
            ("a space of another kind", "a\u{a0}b@example.com", Err(Refusal::Undeliverable)),
            ("an at sign of another kind", "alice\u{ff20}evil.org@example.com", Err(Refusal::Undeliverable)),
            ("65 characters before the at sign", &long, Err(Refusal::Undeliverable)),
            ("nothing before the at sign", "@example.com", Err(Refusal::Undeliverable)),
            ("nothing", "", Err(Refusal::Undeliverable)),
        ] {
            assert_eq!(deliverable(text, &allowed).as_deref(), expected.as_ref().copied(), "{why}");
        }
    }

    #[test]
    fn a_sender_has_a_name_or_none() {
        let named = mailbox("\"Example, Security\" <security@example.com>").unwrap();
        assert_eq!(named.name.as_deref(), Some("Example, Security"));
        assert_eq!(&*named.address, "security@example.com");
        assert_eq!(mailbox("security@example.com").unwrap().name, None);
        assert!(mailbox("Example <security@example.com").is_err());
        assert!(mailbox("Exam\nple <security@example.com>").is_err());
    }
}
