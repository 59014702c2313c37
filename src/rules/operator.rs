//! Owns the operators: how one value of a record compares with what a rule wants. Pure; everything that can be wrong with an
//! operand is found when it is made.

use std::net::IpAddr;
use std::sync::Arc;

use regex::{Regex, RegexBuilder};
use schemars::JsonSchema;
use serde::Serialize;

use super::Window;
use crate::clock::Timestamp;
use crate::network::Network;
use crate::record::Severity;
use crate::record::fold::{Whole, fold, fold_part, fold_spaces, is_dash};

/// Bound of a compiled pattern; a rule file with hundreds of them stays below some megabytes.
const PATTERN_BYTES: usize = 1 << 20;

/// How a leaf compares; the words of rule files and of `explain`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "docs/rules.md has the table")]
pub enum Op {
    In,
    Not,
    Contains,
    StartsWith,
    EndsWith,
    Matches,
    Exists,
    Gt,
    Gte,
    Lt,
    Lte,
    AtLeast,
    Cidr,
    During,
    InList,
    SameAs,
    SameDomainAs,
    Changed,
}

/// Something that one value fulfils or not.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// Equal to any of these, folded.
    Equal(Vec<Box<str>>),
    /// Equal to any of these, folded, or one of these addresses, however it is written.
    EqualAddress(Vec<Box<str>>, Vec<IpAddr>),
    /// Has any of these parts inside. A space at an end of a part also stands for that end of the value.
    Contains(Vec<Box<str>>),
    /// Begins with any of these parts.
    StartsWith(Vec<Box<str>>),
    /// Begins with any of these parts; what ends in `/` is also met by the resource itself, whose id has none at its end.
    Below(Vec<Box<str>>),
    /// Ends with any of these parts, with its final dot or without.
    EndsWith(Vec<Box<str>>),
    /// Any of these patterns finds something.
    Matches(Vec<Regex>),
    /// A number that stands so to this one.
    Number(Order, f64),
    /// A severity, and at least this one.
    AtLeast(Severity),
    /// An address in any of these networks.
    Cidr(Vec<Network>),
    /// A moment in any of these windows.
    During(Vec<Arc<Window>>),
}

/// How a number stands to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Order {
    Gt,
    Gte,
    Lt,
    Lte,
}

impl Wanted {
    /// Equality with any of `texts`. One with a port is an address with that port, and compared as text.
    #[must_use]
    pub fn equal(texts: &[Box<str>]) -> Self {
        let addresses: Vec<IpAddr> = texts.iter().filter_map(|text| host(text)).collect();
        let texts = texts.iter().map(|text| fold(text).into()).collect();
        if addresses.is_empty() { Self::Equal(texts) } else { Self::EqualAddress(texts, addresses) }
    }

    /// `parts` of a value, as `how` makes a condition of them.
    #[must_use]
    pub fn part(parts: &[Box<str>], how: fn(Vec<Box<str>>) -> Self) -> Self {
        how(parts.iter().map(|part| fold_part(part).into()).collect())
    }

    /// Patterns, in any case unless they say `(?-i)`. Each sees text with plain dashes and single spaces, and as it came; a
    /// dash and a run of spaces in it stand for these too.
    pub fn patterns(texts: &[Box<str>]) -> Result<Self, String> {
        let compile = |text: &str| {
            let built = RegexBuilder::new(text).case_insensitive(true).size_limit(PATTERN_BYTES).build();
            built.map_err(|error| match error {
                regex::Error::CompiledTooBig(_) => "is a pattern that grows too large; make it simpler".to_owned(),
                error => {
                    let error = error.to_string();
                    let what = error.lines().last().unwrap_or_default().trim().trim_start_matches("error: ");
                    format!(
                        "is no pattern: {what}; write a regular expression, without look-around and back-references"
                    )
                }
            })
        };
        let mut patterns = Vec::with_capacity(texts.len());
        for text in texts {
            patterns.push(compile(text)?);
            // What is no pattern when folded, as a range of dashes, is one only as it was written.
            patterns.extend(
                Some(folded_pattern(text)).filter(|folded| **folded != **text).and_then(|it| compile(&it).ok()),
            );
        }
        Ok(Self::Matches(patterns))
    }

    /// Whether `value` fulfils it.
    #[must_use]
    pub fn is_met_by(&self, value: &str) -> bool {
        let any = |parts: &[Box<str>], how: fn(&Whole, &str) -> bool| {
            let value = Whole::of(value);
            parts.iter().any(|part| how(&value, part))
        };
        match self {
            Self::Equal(texts) => {
                let value = fold(value);
                texts.iter().any(|text| **text == *value)
            }
            Self::EqualAddress(texts, addresses) => {
                let value = (fold(value), address(value));
                texts.iter().any(|text| **text == *value.0) || value.1.is_some_and(|value| addresses.contains(&value))
            }
            Self::Contains(parts) => any(parts, Whole::has),
            Self::StartsWith(parts) => any(parts, Whole::begins_with),
            Self::Below(parts) => any(parts, |value, part| {
                value.begins_with(part) || part.strip_suffix('/').is_some_and(|own| value.is(own))
            }),
            Self::EndsWith(parts) => any(parts, Whole::ends_with),
            Self::Matches(patterns) => {
                // A pattern that was copied from a record has the record's own dashes and spaces.
                let folded = fold_spaces(value);
                patterns.iter().any(|pattern| pattern.is_match(&folded) || pattern.is_match(value))
            }
            Self::Number(order, wanted) => number(value).is_some_and(|value| match order {
                Order::Gt => value > *wanted,
                Order::Gte => value >= *wanted,
                Order::Lt => value < *wanted,
                Order::Lte => value <= *wanted,
            }),
            Self::AtLeast(wanted) => severity(value).is_some_and(|value| value >= *wanted),
            Self::Cidr(networks) => {
                address(value).is_some_and(|address| networks.iter().any(|network| network.holds(address)))
            }
            Self::During(windows) => value.trim().parse::<jiff::Timestamp>().is_ok_and(|at| {
                let at = Timestamp::from_millis(at.as_millisecond());
                windows.iter().any(|window| window.holds(at))
            }),
        }
    }
}

/// A pattern with every dash a `-`, escaped because it may stand in a class, and every run of blanks one. Line ends stay: in
/// verbose mode they end a comment.
fn folded_pattern(text: &str) -> String {
    let is_blank = |c: char| c.is_whitespace() && !c.is_control();
    let mut folded = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if is_dash(c) => folded.push_str("\\-"),
            c if is_blank(c) && folded.ends_with(' ') => {}
            c if is_blank(c) => folded.push(' '),
            c => folded.push(c),
        }
    }
    folded
}

/// `text` in the form in which two values of records are equal: folded, an address in its shortest form, without its port.
#[must_use]
pub fn fold_value(text: &str) -> String {
    address(text).map_or_else(|| fold(text), |address| address.to_string())
}

/// What a lookup's key may be for its row to be this value's: as it is written, and without the port of an address. The first
/// is the value's own as a key.
#[must_use]
pub fn fold_keys(text: &str) -> Vec<String> {
    let own = host(text).map_or_else(|| fold(text), |address| address.to_string());
    let without_port = Some(fold_value(text)).filter(|other| *other != own);
    std::iter::once(own).chain(without_port).collect()
}

/// The number in a text; words such as `nan` and `infinity` are none.
#[must_use]
pub fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|number: &f64| number.is_finite())
}

/// The severity of this name.
#[must_use]
pub fn severity(text: &str) -> Option<Severity> {
    Severity::named(&fold(text))
}

/// The address in a text, a port, a zone and brackets left out: `192.0.2.7:443`, `[2001:db8::1]:443`, `fe80::1%eth0`.
#[must_use]
pub fn address(text: &str) -> Option<IpAddr> {
    host(text).or_else(|| {
        let (address, port) = text.trim().rsplit_once(':')?;
        host(address).filter(|_| port.parse::<u16>().is_ok())
    })
}

/// The same, of one that has no port.
fn host(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let inside = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = inside.split_once('%').map_or(inside, |(address, _)| address).parse().ok();
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_held_against_networks() {
        for (what, network, value, expected) in [
            ("inside", "192.0.2.0/24", "192.0.2.255", true),
            ("outside", "192.0.2.0/24", "192.0.3.0", false),
            ("a port is ignored", "192.0.2.0/24", "192.0.2.7:443", true),
            ("brackets are ignored", "2001:db8::/32", "[2001:db8::1]:443", true),
            ("brackets alone", "2001:db8::/32", "[2001:db8::1]", true),
            ("a v6 address has no port of its own", "2001:db8::/32", "2001:db8::1", true),
            ("one family is not the other", "0.0.0.0/0", "2001:db8::1", false),
            ("a zone is ignored", "fe80::/10", "fe80::1%eth0", true),
            ("a mapped address is a v4 address", "192.0.2.0/24", "::ffff:192.0.2.9", true),
            ("an address alone is a network of one", "192.0.2.7", "192.0.2.7", true),
            ("everything", "::/0", "2001:db8::1", true),
            ("no address is in no network", "0.0.0.0/0", "XX.XX.XX.XX", false),
            ("a range is no address", "0.0.0.0/0", "127.0.0.0/8", false),
        ] {
            let wanted = Wanted::Cidr(vec![network.parse::<Network>().unwrap()]);
            assert_eq!(wanted.is_met_by(value), expected, "{what}");
        }
    }

    #[test]
    fn a_port_that_a_rule_writes_is_meant() {
        for (what, rule, value, expected) in [
            ("that port", "10.0.0.5:3389", "10.0.0.5:3389", true),
            ("another", "10.0.0.5:3389", "10.0.0.5:443", false),
            ("none", "10.0.0.5:3389", "10.0.0.5", false),
            ("any, where the rule has none", "10.0.0.5", "10.0.0.5:443", true),
            ("so of IPv6", "[2001:db8::1]:443", "[2001:db8::1]:444", false),
            ("and any of it", "[2001:DB8:0::1]", "[2001:db8::1]:444", true),
        ] {
            assert_eq!(Wanted::equal(&[rule.into()]).is_met_by(value), expected, "{what}");
        }
    }

    #[test]
    fn a_value_is_found_by_its_key_with_its_port_or_without() {
        assert_eq!(fold_keys("10.0.0.5:443"), ["10.0.0.5:443", "10.0.0.5"]);
        assert_eq!(fold_keys(" 2001:DB8:0::1"), ["2001:db8::1"]);
        assert_eq!(fold_keys("Alice"), ["alice"]);
    }

    #[test]
    fn patterns_see_plain_text_in_any_case() {
        let pattern = |text: &str| Wanted::patterns(&[text.into()]);
        assert!(pattern("^add member to role").unwrap().is_met_by("Add  member to role completed"));
        assert!(!pattern("(?-i)^add").unwrap().is_met_by("Add member"));
        assert!(pattern("certificates - secrets").unwrap().is_met_by("Certificates – secrets"));
        assert!(pattern("(").unwrap_err().starts_with("is no pattern"));
        for (what, text, value, expected) in [
            ("a dash of a record", "a\u{2013}b", "a-b", true),
            ("and in that record", "a\u{2013}b", "A\u{2014}B", true),
            ("two blanks", "a  b", "a b", true),
            ("a blank that does not break", "a\u{a0}b", "a b", true),
            ("a dash in a class makes no range", "^[a\u{2013}z]$", "m", false),
            ("such a class has a dash", "^[a\u{2013}z]$", "-", true),
            ("a range that ends at a dash is as it was written", "^[A-\u{2013}]$", "\u{ff}", true),
            ("a comment ends where it did", "(?x) a # b \n c", "a", false),
        ] {
            assert_eq!(pattern(text).unwrap().is_met_by(value), expected, "{what}");
        }
        assert!(pattern("(a{1000}){1000}").unwrap_err().contains("too large"));
    }
}
