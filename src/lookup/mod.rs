//! Owns lookups: rows by key, which conditions, recipients and templates ask for the columns of. Read with the
//! configuration and never changed; a reload brings new ones.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

mod file;

pub use file::read;

/// Every `[lookup.NAME]`. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Lookups(Arc<BTreeMap<Arc<str>, Arc<Lookup>>>);

impl Lookups {
    /// By their names.
    #[must_use]
    pub fn new(all: impl IntoIterator<Item = Lookup>) -> Self {
        Self(Arc::new(all.into_iter().map(|lookup| (lookup.name.clone(), Arc::new(lookup))).collect()))
    }

    /// The one of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Lookup>> {
        self.0.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Lookup>> {
        self.0.values()
    }
}

/// `[lookup.NAME]`.
pub struct Lookup {
    name: Arc<str>,
    by: Box<str>,
    columns: Vec<Arc<str>>,
    /// Cells of each row, in the order of `columns`; an empty one is absent.
    rows: Vec<Vec<Box<str>>>,
    /// Folded key to its rows, in their order.
    index: HashMap<Box<str>, Vec<usize>>,
    forms: fn(&str) -> Vec<String>,
}

/// Its size, not what is in it.
impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookup").field("name", &self.name).field("rows", &self.rows.len()).finish_non_exhaustive()
    }
}

/// Whether `text` can name a column: rules write it after a dot.
#[must_use]
pub fn is_column(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    !text.is_empty() && text.len() <= 63 && text.chars().all(plain)
}

/// What to say of a text that cannot.
pub const COLUMN_FORM: &str = "is no name of a column: use letters of ASCII, digits, `_` and `-`; the field that it is compared with is said by `by`";

/// Columns and rows, as wide as the columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Names, each once.
    pub columns: Vec<Arc<str>>,
    /// Cells, and the line that each row begins at (of inline rows their number from 1).
    pub rows: Vec<(u64, Vec<Box<str>>)>,
}

/// What makes a table a lookup.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The table's name.
    pub name: Arc<str>,
    /// The column that rows are found by.
    pub key: Arc<str>,
    /// The field of a record whose values are looked up, as written.
    pub by: Box<str>,
    /// Whether one key may have several rows.
    pub repeats: bool,
}

/// What is wrong with a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The row's line or number; `None`: the columns.
    pub line: Option<u64>,
    /// Says no cell's text: it is logged.
    pub message: String,
}

impl Lookup {
    /// Indexes `table`; `forms` gives the keys under which the row of a value may stand, of a key itself first.
    pub fn new(settings: Settings, table: Table, forms: fn(&str) -> Vec<String>) -> Result<Self, Wrong> {
        let Settings { name, key, by, repeats } = settings;
        let Some(place) = table.columns.iter().position(|column| *column == key) else {
            let message = format!(
                "no column `{key}`, which is its key: make `key` one of {}, and say by = \"FIELD\" if no field of a record is \
                 called so",
                table.columns.join(", ")
            );
            return Err(Wrong { line: None, message });
        };
        let mut index: HashMap<Box<str>, Vec<usize>> = HashMap::with_capacity(table.rows.len());
        let mut lines = Vec::with_capacity(table.rows.len());
        let mut rows = Vec::with_capacity(table.rows.len());
        for (at, (line, row)) in table.rows.into_iter().enumerate() {
            let key_of_row = row.get(place).and_then(|cell| forms(cell).into_iter().next()).unwrap_or_default();
            if key_of_row.is_empty() {
                let message = format!("its `{key}` is empty, and that is the key: fill it in, or take the row out");
                return Err(Wrong { line: Some(line), message });
            }
            let same = index.entry(key_of_row.into()).or_default();
            if let Some(first) = same.first().and_then(|first: &usize| lines.get(*first)).filter(|_| !repeats) {
                let message = format!(
                    "has the same key as {first}: write both values into one row with `;` between them, or set repeats = true"
                );
                return Err(Wrong { line: Some(line), message });
            }
            same.push(at);
            lines.push(line);
            rows.push(row);
        }
        Ok(Self { name, by, columns: table.columns, rows, index, forms })
    }

    /// The table's name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The field of a record whose values are looked up, as written in the configuration.
    #[must_use]
    pub fn by(&self) -> &str {
        &self.by
    }

    /// Names of the columns, in their order.
    #[must_use]
    pub fn columns(&self) -> &[Arc<str>] {
        &self.columns
    }

    /// The place of a column.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| **column == *name)
    }

    /// Of all that is in it.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        let mut part = |text: &str| {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        self.columns.iter().for_each(|column| part(column));
        self.rows.iter().flatten().for_each(|cell| part(cell));
        *hasher.finalize().as_bytes()
    }

    /// What stands in a column of every row with this key, in the rows' order; empty cells left out.
    pub fn values<'l>(&'l self, column: usize, key: &str) -> impl Iterator<Item = &'l str> + use<'l> {
        let forms = (self.forms)(key);
        let found = forms.iter().filter_map(|form| self.index.get(form.as_str())).flatten().copied();
        let places: BTreeSet<usize> = found.collect();
        let cells = places.into_iter().filter_map(move |place| self.rows.get(place)?.get(column));
        cells.map(|cell| &**cell).filter(|cell| !cell.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(repeats: bool, rows: &[&[&str]]) -> Result<Lookup, Wrong> {
        let settings = Settings { name: "owners".into(), key: "sub".into(), by: "subscription".into(), repeats };
        let columns = vec!["mail".into(), "sub".into()];
        let cells = |row: &&[&str]| row.iter().map(|cell| (*cell).into()).collect();
        let rows = (1..).zip(rows.iter().map(cells)).collect();
        Lookup::new(settings, Table { columns, rows }, |text| vec![text.to_lowercase()])
    }

    fn mails(lookup: &Lookup, key: &str) -> Vec<String> {
        lookup.values(lookup.column("mail").unwrap(), key).map(str::to_owned).collect()
    }

    #[test]
    fn rows_are_found_by_their_folded_key() {
        let owners = lookup(true, &[&["a@x", "S-1"], &["", "s-2"], &["b@x", "s-1"]]).unwrap();
        assert_eq!(mails(&owners, "s-1"), ["a@x", "b@x"]);
        assert_eq!(mails(&owners, "S-1"), ["a@x", "b@x"]);
        assert_eq!(mails(&owners, "s-2"), [""; 0], "an empty cell is no value");
        assert_eq!(mails(&owners, "s-3"), [""; 0]);
        assert_eq!(owners.column("phone"), None);
    }

    #[test]
    fn a_value_finds_every_row_that_its_forms_are_the_key_of() {
        let settings = Settings { name: "hosts".into(), key: "ip".into(), by: "actor.ip".into(), repeats: false };
        let rows = ["h:443", "h", "h:80"].map(|key| vec![Box::from(key), Box::from(key)]);
        let table = Table { columns: vec!["ip".into(), "name".into()], rows: (1..).zip(rows).collect() };
        let forms = |text: &str| {
            let host = text.split_once(':').map(|(host, _)| host.to_owned());
            std::iter::once(text.to_owned()).chain(host).collect()
        };
        let hosts = Lookup::new(settings, table, forms).unwrap();
        let found = |key: &str| hosts.values(1, key).collect::<Vec<_>>();
        assert_eq!(found("h:443"), ["h:443", "h"]);
        assert_eq!(found("h:22"), ["h"]);
        assert_eq!(found("h"), ["h"]);
    }

    #[test]
    fn a_key_of_two_rows_is_refused_unless_it_is_meant() {
        let wrong = lookup(false, &[&["a@x", "s-1"], &["b@x", "S-1"]]).unwrap_err();
        assert_eq!(wrong.line, Some(2));
        assert!(
            wrong.message.contains("same key as 1") && wrong.message.contains("repeats = true"),
            "{}",
            wrong.message
        );
        assert!(lookup(true, &[&["a@x", "s-1"], &["b@x", "S-1"]]).is_ok());
    }

    #[test]
    fn a_row_without_its_key_is_refused() {
        assert_eq!(lookup(true, &[&["a@x", ""]]).unwrap_err().line, Some(1));
    }
}
