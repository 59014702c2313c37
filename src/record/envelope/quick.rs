//! Owns the quick way through a message in order: one pass that checks all of it, finds its records, and reads the head of
//! each. A message that is anything else goes the exact way, whole, so that what is unusual is decided in one place only.

use std::borrow::Cow;

use serde::Deserialize;

use super::super::head::Outer;
use super::super::skim::{Skim, Unusual};
use super::{Item, MAX_MESSAGE, MAX_RECORDS, Raw};

/// The items of `text`, all of them records; the exact way gives the same. `None`: it has to be asked.
pub(super) fn items(text: &str) -> Option<Vec<Item<'_>>> {
    if text.len() > MAX_MESSAGE || text.trim_ascii().is_empty() {
        return None;
    }
    let mut message = Message { text, skim: Skim::new(text), items: Vec::new() };
    message.read().ok()?;
    Some(message.items)
}

struct Message<'a> {
    text: &'a str,
    skim: Skim<'a>,
    items: Vec<Item<'a>>,
}

impl Message<'_> {
    /// Document after document: objects, and lists of them.
    fn read(&mut self) -> Result<(), Unusual> {
        loop {
            match self.skim.peek() {
                b'{' => self.document()?,
                b'[' => self.list(Self::document)?,
                _ if self.skim.is_at_end() => return Ok(()),
                _ => return Err(Unusual),
            }
        }
    }

    /// An envelope that says so with its first key, or a record.
    fn document(&mut self) -> Result<(), Unusual> {
        let mut inside = self.skim.clone();
        inside.expect(b'{')?;
        if inside.peek() != b'"' || !inside.key()?.eq_ignore_ascii_case("records") {
            return self.record();
        }
        self.skim = inside;
        self.list(Self::record)?;
        while self.skim.peek() == b',' {
            self.skim.expect(b',')?;
            if self.skim.key()?.eq_ignore_ascii_case("records") {
                return Err(Unusual);
            }
            self.skim.pass()?;
        }
        self.skim.expect(b'}')
    }

    fn list(&mut self, element: impl Fn(&mut Self) -> Result<(), Unusual>) -> Result<(), Unusual> {
        self.skim.expect(b'[')?;
        if self.skim.peek() == b']' {
            return self.skim.expect(b']');
        }
        loop {
            element(self)?;
            if self.skim.peek() == b']' {
                return self.skim.expect(b']');
            }
            self.skim.expect(b',')?;
        }
    }

    fn record(&mut self) -> Result<(), Unusual> {
        if self.skim.peek() != b'{' || self.items.len() == MAX_RECORDS {
            return Err(Unusual);
        }
        let start = self.skim.at();
        let outer = Outer::deserialize(&mut self.skim)?;
        if outer.may_be_envelope() {
            return Err(Unusual);
        }
        let json = self.text.get(start..self.skim.at()).ok_or(Unusual)?;
        let first = Some(outer.head());
        self.items.push(Item::Record(Raw { json: Cow::Borrowed(json), problems: Vec::new(), first }));
        Ok(())
    }
}
