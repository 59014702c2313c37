//! Owns `people.csv`: rows, the names by which a row can be found, and the faults, each with its line.
//!
//! Values never stand in a fault: it is logged when the file changes under a running daemon.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};

/// What the header may name, in any order.
const COLUMNS: [&str; 10] =
    ["id", "upn", "mail", "other_mails", "name", "locale", "time_zone", "manager", "sam", "sid"];

/// A generous row. The file may hold `max_rows` of them: what is longer was not meant to be this file.
const MAX_ROW_BYTES: u64 = 2 * 1024;

/// Put after the file, in a row of its own: where the file ends inside a quote, the quote swallows it. So a half-written
/// file is told from a whole one, which the csv crate does not do.
const END: &str = "\u{4}";

/// One person of the file. Empty cells are `None`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    pub id: Option<Box<str>>,
    pub upn: Option<Box<str>>,
    pub mail: Option<Box<str>>,
    pub name: Option<Box<str>>,
    pub locale: Option<Box<str>>,
    pub time_zone: Option<Box<str>>,
    /// Split at `,` and `;`.
    pub other_mails: Vec<Arc<str>>,
    /// Id, UPN or another name of theirs.
    pub manager: Option<Box<str>>,
}

/// The whole file.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<Row>,
    /// id, UPN, `DOMAIN\user` and SID, folded: each names one row.
    names: HashMap<Box<str>, usize>,
    /// Folded `mail`: two accounts of one person share a mailbox, then it names neither (`None`).
    mails: HashMap<Box<str>, Option<usize>>,
}

impl Table {
    /// Reads and checks the file; the error names file and line.
    pub fn read(path: &Path, max_rows: usize) -> anyhow::Result<Self> {
        let limit = MAX_ROW_BYTES.saturating_mul(u64::try_from(max_rows)?.saturating_add(1));
        let open = || -> anyhow::Result<_> {
            let file = File::open(path)?;
            ensure!(file.metadata()?.len() <= limit, "longer than {limit} bytes; see people.max_rows");
            Ok(file)
        };
        let file = open().with_context(|| format!("people file {}", path.display()))?;
        Self::parse(file.take(limit), max_rows).with_context(|| format!("people file {}", path.display()))
    }

    fn parse(input: impl Read, max_rows: usize) -> anyhow::Result<Self> {
        let end = format!("\n{END}");
        let input = input.chain(end.as_bytes());
        // Flexible: the last row has one column; the others are counted here.
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_reader(input);
        let columns = columns(reader.headers().context("line 1: not CSV in UTF-8")?)?;
        let width = reader.headers().map_or(0, csv::StringRecord::len);
        let mut table = Self::default();
        let mut record = csv::StringRecord::new();
        let mut line = 1;
        loop {
            if !read_record(&mut reader, &mut record)? {
                bail!("line {line}: the file ends inside a quote that opens in this row; is it half written?");
            }
            line = record.position().map_or(line, csv::Position::line);
            if record.iter().eq([END]) {
                ensure!(!read_record(&mut reader, &mut record)?, "line {line}: holds a control character alone");
                return Ok(table);
            }
            ensure!(record.len() == width, "line {line}: {} columns where the header has {width}", record.len());
            ensure!(table.rows.len() < max_rows, "line {line}: more than people.max_rows = {max_rows} rows");
            let cell = |name: &str| columns.get(name).and_then(|&at| record.get(at)).filter(|text| !text.is_empty());
            table.add(&cell).with_context(|| format!("line {line}"))?;
        }
    }

    fn add<'a>(&mut self, cell: &impl Fn(&str) -> Option<&'a str>) -> anyhow::Result<()> {
        let at = self.rows.len();
        let own = |name| cell(name).map(Box::from);
        let row = Row {
            id: cell("id").map(|id| fold(id).into()),
            upn: own("upn"),
            mail: own("mail"),
            name: own("name"),
            locale: own("locale"),
            time_zone: own("time_zone"),
            other_mails: cell("other_mails").map(several).unwrap_or_default(),
            manager: own("manager"),
        };
        ensure!(row.id.is_some() || row.upn.is_some(), "neither id nor upn");
        if let Some(zone) = &row.time_zone {
            ensure!(jiff::tz::TimeZone::get(zone).is_ok(), "time_zone is no IANA name known to this system");
        }
        for column in ["id", "upn", "sam", "sid"] {
            let Some(name) = cell(column) else { continue };
            if self.names.insert(fold(name).into(), at).is_some_and(|other| other != at) {
                bail!("{column} already names another row");
            }
        }
        if let Some(mail) = &row.mail {
            self.mails.entry(fold(mail).into()).and_modify(|row| *row = None).or_insert(Some(at));
        }
        self.rows.push(row);
        Ok(())
    }

    /// The row that `name` (id, UPN, `DOMAIN\user`, SID; else an unshared mail address) stands for.
    pub fn find(&self, name: &str) -> Option<&Row> {
        let name = fold(name);
        let at = self.names.get(&*name).copied().or_else(|| self.mails.get(&*name).copied().flatten());
        at.and_then(|at| self.rows.get(at))
    }

    /// Every name of the row that `name` stands for, folded: those by which it is found, its UPN and its mail address.
    pub fn names(&self, name: &str) -> Vec<String> {
        let Some(row) = self.find(name) else { return Vec::new() };
        let is_row = |at: &usize| self.rows.get(*at).is_some_and(|other| std::ptr::eq(other, row));
        let found = self.names.iter().filter(|(_, at)| is_row(at)).map(|(name, _)| name.to_string());
        found.chain([&row.upn, &row.mail].into_iter().flatten().map(|name| fold(name))).collect()
    }
}

/// How names are compared, here and in a canonical recipient. It may never change: notification ids hang on it.
pub(super) fn fold(name: &str) -> String {
    name.trim().to_lowercase()
}

fn columns(header: &csv::StringRecord) -> anyhow::Result<HashMap<&'static str, usize>> {
    let mut columns = HashMap::new();
    for (at, title) in header.iter().enumerate() {
        let title = title.trim_start_matches('\u{feff}');
        let Some(known) = COLUMNS.iter().find(|known| **known == title) else {
            bail!("line 1: column {} is not one of {}", at + 1, COLUMNS.join(", "));
        };
        ensure!(columns.insert(*known, at).is_none(), "line 1: column {known} stands there twice");
    }
    ensure!(columns.contains_key("id") || columns.contains_key("upn"), "line 1: neither column id nor upn");
    Ok(columns)
}

/// csv's own errors quote the record's line but may be about its bytes; only the place is kept.
fn read_record(reader: &mut csv::Reader<impl Read>, record: &mut csv::StringRecord) -> anyhow::Result<bool> {
    reader.read_record(record).map_err(|error| {
        let line = error.position().map_or(0, csv::Position::line);
        match error.kind() {
            csv::ErrorKind::Utf8 { .. } => anyhow::anyhow!("line {line}: not UTF-8"),
            csv::ErrorKind::Io(error) => anyhow::anyhow!("line {line}: {error}"),
            _ => anyhow::anyhow!("line {line}: not CSV"),
        }
    })
}

/// The addresses in one cell.
fn several(cell: &str) -> Vec<Arc<str>> {
    cell.split([',', ';']).map(str::trim).filter(|text| !text.is_empty()).map(Arc::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> anyhow::Result<Table> {
        Table::parse(text.as_bytes(), 3)
    }

    #[test]
    fn a_row_is_found_by_each_of_its_names() {
        let table =
            parse("\u{feff}upn,mail,id,sam,sid\nAlice@example.com,a.smith@example.com,AA-1,EX\\alice,S-1-5-21-7\n")
                .unwrap();
        for name in ["alice@EXAMPLE.com", "A.Smith@example.com", "aa-1", "ex\\ALICE", "s-1-5-21-7"] {
            assert_eq!(table.find(name).and_then(|row| row.id.as_deref()), Some("aa-1"), "{name}");
        }
        assert!(table.find("bob@example.com").is_none());
    }

    #[test]
    fn a_mailbox_that_two_accounts_share_names_neither() {
        let table = parse("upn,mail\na@example.com,a@example.com\nadmin-a@example.com,a@example.com\n").unwrap();
        assert_eq!(table.find("a@example.com").and_then(|row| row.upn.as_deref()), Some("a@example.com"), "as a UPN");
        let table = parse("upn,mail\na1@example.com,a@example.com\na2@example.com,a@example.com\n").unwrap();
        assert!(table.find("a@example.com").is_none());
    }

    #[test]
    fn a_fault_names_its_line_and_no_value() {
        for (why, text, expected) in [
            ("a misspelt column", "id,e-mail\n", "line 1: column 2 is not one of"),
            ("a column twice", "id,id\n", "line 1: column id stands there twice"),
            ("no column that names anybody", "mail,name\n", "line 1: neither column id nor upn"),
            ("a row without a name", "id,upn,mail\n1,,\n,,secret@example.com\n", "line 3: neither id nor upn"),
            (
                "one id in two rows",
                "id,upn\n1,secret@example.com\n1,b@example.com\n",
                "line 3: id already names another row",
            ),
            ("an unknown zone", "id,time_zone\n1,Secret/Place\n", "line 2: time_zone is no IANA name"),
            ("a cell too many", "id,upn\n1,2,secret\n", "line 2: 3 columns where the header has 2"),
            (
                "a file cut inside a quote",
                "id,name\n1,\"Smith, A\"\n2,\"Secret,",
                "line 3: the file ends inside a quote",
            ),
            ("a file cut after a quote's line break", "id\n1\n\"2\n", "line 3: the file ends inside a quote"),
            ("a header cut inside a quote", "id,\"upn\n1,2\n", "line 1: column 2 is not one of"),
            ("our own mark in the middle", "id,upn\n\u{4}\n1,2\n", "line 2: holds a control character"),
            ("a row too many", "id\n1\n2\n3\n4\n", "line 5: more than people.max_rows = 3 rows"),
        ] {
            let fault = format!("{:#}", parse(text).unwrap_err());
            assert!(fault.contains(expected), "{why}: {fault}");
            assert!(!fault.contains("ecret"), "{why}: {fault}");
        }
    }
}
