//! Owns reading a lookup's CSV file: its columns and rows, or what is wrong with it and in which line. No cell's text ever
//! stands in an error: it is logged.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};

use super::Table;

/// A generous row. The file may hold `max_rows` of them: what is longer was not meant to be this file.
const MAX_ROW_BYTES: u64 = 4 * 1024;
/// Most columns.
const MAX_COLUMNS: usize = 100;

/// Put after the file, in a row of its own: where the file ends inside a quote, the quote swallows it. So a half-written
/// file is told from a whole one, which the csv crate does not do.
const END: &str = "\u{4}";

/// Reads a file of at most `max_rows` rows below a header; cells are trimmed.
pub fn read(path: &Path, max_rows: usize) -> anyhow::Result<Table> {
    let limit = MAX_ROW_BYTES.saturating_mul(u64::try_from(max_rows)?.saturating_add(1));
    let file = File::open(path).context("cannot be opened; correct the path or the mode")?;
    ensure!(file.metadata()?.len() <= limit, "longer than {limit} bytes: raise max_rows = {max_rows}");
    parse(file.take(limit), max_rows)
}

fn parse(input: impl Read, max_rows: usize) -> anyhow::Result<Table> {
    let end = format!("\n{END}");
    // Flexible: the last row has one column; the others are counted here.
    let mut reader =
        csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_reader(input.chain(end.as_bytes()));
    let columns = columns(reader.headers().context("line 1: not CSV in UTF-8")?)?;
    let mut rows = Vec::new();
    let mut record = csv::StringRecord::new();
    let mut line = 1;
    loop {
        let more = next(&mut reader, &mut record)?;
        ensure!(more, "line {line}: the file ends inside a quote; is it half written?");
        line = record.position().map_or(line, csv::Position::line);
        if record.iter().eq([END]) {
            ensure!(!next(&mut reader, &mut record)?, "line {line}: holds a control character alone: take it out");
            return Ok(Table { columns, rows });
        }
        let width = columns.len();
        ensure!(
            record.len() == width,
            "line {line}: {} columns where the header has {width}; a cell with a comma in it stands in quotes",
            record.len()
        );
        ensure!(rows.len() < max_rows, "line {line}: more than max_rows = {max_rows} rows: raise max_rows");
        let cells: Vec<Box<str>> = record.iter().map(Box::from).collect();
        if cells.iter().any(|cell| cell.chars().any(char::is_control)) {
            // Our own mark at the file's end is what an open quote swallows.
            ensure!(next(&mut reader, &mut record)?, "line {line}: the file ends inside a quote; is it half written?");
            bail!("line {line}: holds a control character: take it out");
        }
        rows.push((line, cells));
    }
}

fn columns(header: &csv::StringRecord) -> anyhow::Result<Vec<Arc<str>>> {
    let mut known = HashSet::new();
    let mut columns = Vec::with_capacity(header.len());
    ensure!(header.len() <= MAX_COLUMNS, "line 1: more than {MAX_COLUMNS} columns");
    for (at, title) in header.iter().enumerate() {
        let title = title.trim_start_matches('\u{feff}');
        ensure!(!title.contains(';'), "line 1: has `;` between its columns: write commas");
        ensure!(super::is_column(title), "line 1: column {} {}", at + 1, super::COLUMN_FORM);
        ensure!(known.insert(title), "line 1: column {title} stands there twice: give one another name");
        columns.push(title.into());
    }
    Ok(columns)
}

/// csv's own errors quote the record's line but may be about its bytes; only the place is kept.
fn next(reader: &mut csv::Reader<impl Read>, record: &mut csv::StringRecord) -> anyhow::Result<bool> {
    reader.read_record(record).map_err(|error| {
        let line = error.position().map_or(0, csv::Position::line);
        match error.kind() {
            csv::ErrorKind::Utf8 { .. } => anyhow::anyhow!("line {line}: not UTF-8: save the file as UTF-8"),
            csv::ErrorKind::Io(error) => anyhow::anyhow!("line {line}: {error}"),
            _ => anyhow::anyhow!("line {line}: not CSV"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_its_columns_and_rows() {
        let table = parse("\u{feff}sub,mail\n s-1 , a@x \ns-2,\"b@x, c@x\"\n".as_bytes(), 2).unwrap();
        assert_eq!(table.columns, ["sub".into(), "mail".into()] as [Arc<str>; 2]);
        assert_eq!(table.rows[0], (2, vec!["s-1".into(), "a@x".into()]));
        assert_eq!(table.rows[1], (3, vec!["s-2".into(), "b@x, c@x".into()]));
    }

    #[test]
    fn a_fault_names_its_line_and_no_cell() {
        for (why, text, expected) in [
            ("a column without a name", "sub,\n", "line 1: column 2 is no name of a column"),
            ("a name with a dot", "sub,owner.mail\n", "line 1: column 2 is no name of a column"),
            ("a column twice", "sub,sub\n", "line 1: column sub stands there twice"),
            ("a cell too many", "sub,mail\n1,2,secret\n", "line 2: 3 columns where the header has 2"),
            ("a cell too few", "sub,mail\n1,2\nsecret\n", "line 3: 1 columns where the header has 2"),
            ("a file cut inside a quote", "sub,mail\n1,\"a\"\n2,\"Secret,", "line 3: the file ends inside a quote"),
            ("our own mark in the middle", "sub,mail\n\u{4}\n1,2\n", "line 2: holds a control character"),
            ("a control character", "sub,mail\n1,\"secret\u{7}\"\n", "line 2: holds a control character"),
            ("a row too many", "sub\n1\n2\n3\n", "line 4: more than max_rows = 2 rows"),
            ("an empty file", "", "line 1: column 1 is no name of a column"),
        ] {
            let fault = format!("{:#}", parse(text.as_bytes(), 2).unwrap_err());
            assert!(fault.contains(expected), "{why}: {fault}");
            assert!(!fault.contains("ecret"), "{why}: {fault}");
        }
        let fault = format!("{:#}", parse(&b"sub\n\xff\n"[..], 2).unwrap_err());
        assert!(fault.contains("line 2: not UTF-8"), "{fault}");
    }
}
