//! Owns `[dialect.NAME]`: the mapping tables of all files, and where a fault in one stands.

use std::ops::Range;

use toml::Spanned;
use toml::de::DeTable;

use super::fault::Fault;
use super::files::File;
use super::reading::Reading;
use crate::record::mapped::parse;
use crate::record::{Dialect, Dialects};

/// Most of them: each is held against every record that no dialect of our own takes.
const MOST: usize = 100;

/// A table with its name and the index of its file.
pub(super) struct Found<'f> {
    pub file: usize,
    pub name: String,
    pub table: Spanned<DeTable<'f>>,
}

/// The tables of all files, in order, before those that we ship.
pub(super) fn read(reading: &mut Reading<'_>, files: &[File], found: &[Found<'_>]) -> Dialects {
    let mut tables = Vec::new();
    for one in found {
        let Some(file) = files.get(one.file) else { continue };
        let mut fault = |span: Range<usize>, key: String, message: String| {
            let path = if key.is_empty() { String::new() } else { format!(".{key}") };
            let path = format!("dialect.{}{path}", one.name);
            reading.faults.push(Fault::at(&file.place(span.start), path, message));
        };
        tables.extend(parse::table(&one.name, one.table.get_ref(), one.table.span(), &mut fault));
    }
    if found.len() > MOST {
        reading.fault("dialect", format!("has more than {MOST} tables: leave out what you do not receive"));
    }
    Dialects::new(tables)
}

/// Every dialect that a rule may name: `read`, and those of tables with faults, so that a rule on one adds none of its own.
pub(super) fn named(read: &Dialects, found: &[Found<'_>]) -> Vec<Dialect> {
    let mut all: Vec<Dialect> = read.iter().collect();
    for one in found {
        if !all.iter().any(|dialect| dialect.as_str() == one.name) {
            all.push(Dialect::mapped(&one.name));
        }
    }
    all
}
