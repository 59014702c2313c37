//! Owns reading a `when` or `unless`: the tree of `all`, `any`, `not`, `some` and `every`, and which fields it names. What a
//! field is compared with is read in `operand`.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use crate::rules::{Condition, ELEMENT, FIELDS, List, Path, Quantifier, RAW, Root, Subject};

use super::operand::{OPERATORS, is_operators};
use super::{Reader, Value, shown};

/// How deep `all`, `any`, `not`, `some` and `every` may stand in one another.
const DEEPEST: usize = 16;

/// Words that a field begins with and that are none alone, with what follows them.
const PREFIXES: [(&str, &str); 5] = [
    ("actor", "actor.upn, .id, .name, .ip, .app or .type"),
    ("target", "target.upn, .id, .name or .type"),
    ("details", "details.KEY, e.g. details.userAgent"),
    ("raw", "raw.PATH, e.g. raw.properties.result"),
    ("lookup", "lookup.NAME.COLUMN"),
];

const NO_ELEMENT: &str = "there is no element: `element` and `element.PATH` go with each = \"raw.PATH\"";

/// Words that join conditions or look at elements: no name of a field but in quotes.
const BRANCHES: [&str; 4] = ["all", "any", "some", "every"];

/// Where in the tree a condition is read.
#[derive(Clone)]
pub(super) struct At {
    /// Dotted, for faults: `when.any`.
    path: String,
    /// Within `some` or `every`: of what the names are.
    element: Option<Root>,
    depth: usize,
}

impl At {
    fn below(&self, word: &str) -> Self {
        self.within(word, self.element)
    }

    fn within(&self, word: &str, element: Option<Root>) -> Self {
        Self { path: format!("{}.{word}", self.path), element, depth: self.depth + 1 }
    }
}

/// The names that an element of `root` has; none where it may have any.
const fn names_of(root: Root) -> &'static [&'static str] {
    match root {
        Root::Target => &["type", "id", "upn", "name"],
        Root::Change => &["name", "old", "new", "target"],
        Root::Record | Root::Each | Root::Quantified => &[],
    }
}

/// Whether `name`, of an element of `root`, may have anything below it: what a property was and is.
fn is_open(root: Root, name: &str) -> bool {
    match root {
        Root::Target => false,
        Root::Change => ["old", "new"].iter().any(|side| name.eq_ignore_ascii_case(side)),
        Root::Record | Root::Each | Root::Quantified => true,
    }
}

impl Reader<'_, '_> {
    /// The condition of `place`, `when` or `unless`.
    pub(super) fn condition(&mut self, place: &'static str) -> Condition {
        let Some(value) = self.table.get(place) else { return Condition::default() };
        let DeValue::Table(table) = value.get_ref() else {
            self.fault(value.span(), place, format!("must be a table: {place} = {{ operation = \"…\" }}"));
            return Condition::default();
        };
        self.all_of(&At { path: place.to_owned(), element: None, depth: 0 }, value.span(), table)
    }

    /// AND between the keys of `table`.
    fn all_of(&mut self, at: &At, span: Range<usize>, table: &DeTable<'_>) -> Condition {
        if table.is_empty() {
            self.fault(span, &at.path, "is empty; write a condition or leave the key out".into());
        } else if at.depth > DEEPEST {
            self.fault(span, &at.path, format!("is nested more than {DEEPEST} deep; make two rules of it"));
            return Condition::default();
        }
        let mut keys: Vec<_> = table.iter().collect();
        keys.sort_by_key(|(key, _)| key.span().start);
        let mut parts = Vec::new();
        for (key, value) in keys {
            match key.get_ref().as_ref() {
                word @ ("all" | "any") => parts.push(self.each_of(&at.below(word), word, value)),
                "not" => parts.push(Condition::Not(Box::new(self.one(&at.below("not"), value)))),
                word @ ("some" | "every") => self.elements(&at.below(word), word, value, &mut parts),
                name => self.fields(at, name, key.span(), value, &mut parts),
            }
        }
        if parts.len() == 1 { parts.remove(0) } else { Condition::All(parts) }
    }

    /// A table that is a condition of its own.
    fn one(&mut self, at: &At, value: &Value<'_>) -> Condition {
        if let DeValue::Table(table) = value.get_ref() {
            return self.all_of(at, value.span(), table);
        }
        let example = match at.element {
            Some(Root::Quantified) => "{ element = \"VALUE\" } of the element itself",
            _ => "{ result = \"failure\" }",
        };
        self.fault(value.span(), &at.path, format!("must be a table with a condition, e.g. {example}"));
        Condition::default()
    }

    /// `all = [{…}, {…}]`, `any = […]`.
    fn each_of(&mut self, at: &At, word: &str, value: &Value<'_>) -> Condition {
        let mut parts = Vec::new();
        match value.get_ref() {
            DeValue::Array(list) if !list.is_empty() => parts.extend(list.iter().map(|item| self.one(at, item))),
            _ => {
                let message = format!("must be a list of conditions: {word} = [{{ … }}, {{ … }}]");
                self.fault(value.span(), &at.path, message);
            }
        }
        if word == "any" { Condition::Any(parts) } else { Condition::All(parts) }
    }

    /// `some = { PATH = { … } }`, `every = …`.
    fn elements(&mut self, at: &At, word: &str, value: &Value<'_>, parts: &mut Vec<Condition>) {
        let DeValue::Table(lists) = value.get_ref() else {
            let message = format!("must name a list: {word} = {{ targets = {{ type = \"user\" }} }}");
            return self.fault(value.span(), &at.path, message);
        };
        if lists.is_empty() {
            self.fault(value.span(), &at.path, "is empty; name a list".into());
        }
        for (key, inner) in lists {
            let name = key.get_ref().as_ref();
            let Some(list) = self.list(at, name, key.span()) else { continue };
            let element = match list {
                List::Targets => Root::Target,
                List::Changes => Root::Change,
                List::Raw(_) | List::Element(_) => Root::Quantified,
            };
            let inner = Box::new(self.one(&at.within(&shown(name), Some(element)), inner));
            let quantifier = if word == "some" { Quantifier::Some } else { Quantifier::Every };
            parts.push(Condition::Elements { quantifier, name: name.into(), list, inner });
        }
    }

    fn list(&mut self, at: &At, name: &str, span: Range<usize>) -> Option<List> {
        let raw = name.split_once('.').filter(|(table, _)| table.eq_ignore_ascii_case("raw")).map(|(_, path)| path);
        let first = name.split('.').next().unwrap_or_default();
        let path = match (name.to_ascii_lowercase().as_str(), raw) {
            ("targets", _) if at.element.is_none() => return Some(List::Targets),
            ("changes", _) if at.element.is_none() => return Some(List::Changes),
            ("raw", _) => Err("write the whole path in quotes, e.g. \"raw.properties.targetResources\""),
            (_, Some(path)) => Path::parse(path).map(List::Raw),
            _ if first.eq_ignore_ascii_case(ELEMENT) && self.has_elements(at) => match name.split_once('.') {
                Some((_, below)) => Path::parse(below).map(List::Element),
                None => Err("is one element and no list; write the whole path in quotes, e.g. \"element.names\""),
            },
            _ => match at.element {
                Some(root) if is_open(root, first) => Path::parse(name).map(List::Element),
                Some(Root::Change) => Err("is no list of a change; only what is below `old` and `new` may be"),
                Some(_) => Err("is no list: a target has none; its names are type, id, upn and name"),
                None if first.eq_ignore_ascii_case(ELEMENT) => Err(NO_ELEMENT),
                None => Err("is no list: `targets`, `changes`, or a path in quotes that begins with raw."),
            },
        };
        path.map_err(|message| self.fault(span, &at.path, format!("`{}`: {message}", shown(name)))).ok()
    }

    /// Whether `element` means something: that of a quantifier over a list of any names, or of the rule's `each`.
    fn has_elements(&self, at: &At) -> bool {
        at.element.map_or(matches!(self.each, Some(List::Raw(_))), |root| root == Root::Quantified)
    }

    /// The tests below the key `name`: `actor = { upn = "…" }`, `actor.upn = "…"` and `"actor.upn" = "…"` are one.
    fn fields(&mut self, at: &At, name: &str, span: Range<usize>, value: &Value<'_>, parts: &mut Vec<Condition>) {
        let is_path = at.element.is_some();
        // A stack, not recursion: a rule file's depth is not ours to trust.
        let mut open = vec![(if is_path { as_part(name, &span) } else { name.to_owned() }, span, value)];
        let mut found = Vec::new();
        while let Some((name, span, value)) = open.pop() {
            match value.get_ref() {
                // What stands below a word of the language is not looked at.
                DeValue::Table(inner) if !inner.is_empty() && !is_operators(inner) && !ends_in_branch(&name) => {
                    open.extend(
                        inner.iter().map(|(key, value)| {
                            (joined(&name, key.get_ref(), &key.span(), is_path), key.span(), value)
                        }),
                    );
                }
                _ => found.push((name, span, value)),
            }
        }
        found.sort_by_key(|(_, span, _)| span.start);
        for (name, span, value) in found {
            let path = format!("{}.{}", at.path, shown(&name));
            let Some(subject) = self.subject(at, &path, &name, span.clone()) else { continue };
            let twice =
                |part: &Condition| matches!(part, Condition::Test(test) if test.subject.name() == subject.name());
            if parts.iter().any(twice) {
                self.fault(span, &path, "is tested twice; put all values into one list".into());
                continue;
            }
            if subject.name().eq_ignore_ascii_case(RAW) && !value.get_ref().is_table() {
                let message =
                    "is the whole record: write raw = { contains = … } for a text anywhere in it, or \"raw.PATH\"";
                self.fault(span, &path, message.into());
                continue;
            }
            parts.extend(self.tests(&path, &subject, value));
        }
    }

    fn subject(&mut self, at: &At, path: &str, name: &str, span: Range<usize>) -> Option<Subject> {
        if let Some(message) = misplaced(at.element, name) {
            self.fault(span, path, message);
            return None;
        }
        if let Some(root) = at.element {
            return self.of_element(root, path, name, span);
        }
        if let Some((field, word)) = name.rsplit_once('.')
            && Subject::named(name).is_none()
            && Subject::named(field).is_some_and(|field| !matches!(field, Subject::Path { .. }))
        {
            self.unknown(span, path, "operator", word, OPERATORS);
            return None;
        }
        self.subject_named(path, name, span)
    }

    /// The field of an element of `root`; only a list of the record as it came has elements with any names, and elements that
    /// are looked at as a whole.
    fn of_element(&mut self, root: Root, path: &str, name: &str, span: Range<usize>) -> Option<Subject> {
        let (first, below) = name.split_once('.').map_or((name, None), |(first, below)| (first, Some(below)));
        if root == Root::Quantified && first.eq_ignore_ascii_case(ELEMENT) {
            let inner = below.map_or(Ok(Path::itself()), Path::parse);
            let inner = inner.map_err(|message| format!("`{}` is no path: {message}", shown(name)));
            let inner = inner.map_err(|message| self.fault(span, path, message)).ok()?;
            return Some(Subject::Path { name: name.into(), path: inner, root });
        }
        let known = names_of(root);
        let is_known = known.is_empty() || known.iter().any(|known| first.eq_ignore_ascii_case(known));
        match below.filter(|_| is_known && !is_open(root, first)) {
            Some(word) => self.unknown(span, path, "operator", word, OPERATORS),
            None if !is_known => self.unknown(span, path, "field", name, known),
            None => match Path::parse(name) {
                Ok(path) => return Some(Subject::Path { name: name.into(), path, root }),
                Err(message) => self.fault(span, path, format!("`{}` is no path: {message}", shown(name))),
            },
        }
        None
    }

    /// The field of this short name. `path` is where faults are told.
    pub(super) fn subject_named(&mut self, path: &str, name: &str, span: Range<usize>) -> Option<Subject> {
        if let Some((table, rest)) = name.split_once('.')
            && table.eq_ignore_ascii_case("lookup")
        {
            return self.looked_up(path, name, rest, span);
        }
        if let Some((table, rest)) = name.split_once('.')
            && ["raw", "element"].iter().any(|root| table.eq_ignore_ascii_case(root))
            && let Err(message) = Path::parse(rest)
        {
            self.fault(span, path, format!("`{}` is no path: {message}", shown(name)));
            return None;
        }
        let subject = Subject::named(name);
        if matches!(subject, Some(Subject::Path { root: Root::Each, .. })) && !matches!(self.each, Some(List::Raw(_))) {
            self.fault(span, path, NO_ELEMENT.into());
            return None;
        }
        if let (None, Some((_, form))) = (&subject, PREFIXES.iter().find(|(word, _)| name.eq_ignore_ascii_case(word))) {
            self.fault(span, path, format!("`{}` is no field by itself; write {form}", shown(name)));
            return None;
        }
        if subject.is_none() {
            let forms =
                ["details.KEY", "raw", "raw.PATH", "element", "element.PATH", "lookup.NAME.COLUMN", "time", "now"];
            let known: Vec<_> = FIELDS.iter().map(|field| field.name).chain(forms).collect();
            self.unknown(span, path, "field", name, &known);
        }
        subject
    }

    /// `lookup.TABLE.COLUMN`; `rest` is what follows the first dot.
    fn looked_up(&mut self, path: &str, name: &str, rest: &str, span: Range<usize>) -> Option<Subject> {
        let lookups = &self.scope.lookups;
        let Some((table, column)) = rest.split_once('.') else {
            self.fault(span, path, "names no column; write lookup.NAME.COLUMN".into());
            return None;
        };
        if self.scope.broken.contains(&format!("lookup.{table}")) {
            self.faulty = true;
            return None;
        }
        let Some(known) = lookups.get(table) else {
            self.unknown(span, path, "lookup", table, &lookups.iter().map(|known| &**known.name()).collect::<Vec<_>>());
            return None;
        };
        let Some(column) = known.column(column) else {
            let columns: Vec<_> = known.columns().iter().map(|column| &**column).collect();
            self.unknown(span, path, "column", column, &columns);
            return None;
        };
        let by = Box::new(self.subject_named(path, known.by(), span)?);
        Some(Subject::Lookup { name: name.into(), table: table.into(), column, by })
    }
}

/// The dotted name of `key`, which stands at `span`, below `name`. In a path a key with a dot in it, or that is a number,
/// keeps its quotes.
fn joined(name: &str, key: &str, span: &Range<usize>, is_path: bool) -> String {
    let is_root = |first: &str| [RAW, ELEMENT].iter().any(|root| first.eq_ignore_ascii_case(root));
    match name.split('.').next().is_some_and(is_root) {
        true if key.contains('.') => format!("{name}.\"{key}\""),
        is_root if is_root || is_path => format!("{name}.{}", as_part(key, span)),
        _ => format!("{name}.{key}"),
    }
}

/// A key that is a number and stands in the file in quotes: in a path it does, too.
fn as_part(key: &str, span: &Range<usize>) -> String {
    let is_number = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_digit());
    if is_number && span.len() > key.len() { format!("\"{key}\"") } else { key.to_owned() }
}

/// The parts of a dotted name; one in quotes keeps them.
fn parts(name: &str) -> impl DoubleEndedIterator<Item = &str> {
    let mut is_quoted = false;
    let ends: Vec<&str> = name
        .split(|c: char| {
            is_quoted ^= c == '"';
            c == '.' && !is_quoted
        })
        .collect();
    ends.into_iter()
}

fn ends_in_branch(name: &str) -> bool {
    parts(name).next_back().is_some_and(|last| BRANCHES.contains(&last))
}

/// What is to be said of a name, of an element of `root` or of a record, with a word of the language in it: as a path into the
/// record it would match nothing without a word.
fn misplaced(root: Option<Root>, name: &str) -> Option<String> {
    let mut parts: Vec<&str> = parts(name).collect();
    if root.is_none() && parts.first()?.eq_ignore_ascii_case("lookup") {
        return None;
    }
    // The first of a record's is a root; those of a target or a change are known.
    let first = usize::from(root != Some(Root::Quantified));
    let word = |part: &&str| BRANCHES.contains(part) || OPERATORS.contains(part);
    let place = first + parts.get(first..)?.iter().position(word)?;
    let (word, before) = (parts[place], shown(&parts[..place].join(".")));
    let quoted = format!("\"{word}\"");
    parts[place] = &quoted;
    let remedy = match word {
        "some" | "every" => format!("`{word}` goes before the list; write {word} = {{ \"{before}\" = {{ … }} }}"),
        "all" | "any" => format!("`{word}` goes before whole conditions; write {word} = [{{ … }}, {{ … }}]"),
        word => {
            let field = if before.is_empty() { ELEMENT } else { &before };
            format!("`{word}` is an operator among fields; write {field} = {{ {word} = … }}")
        }
    };
    let whole = match parts.as_slice() {
        // A detail's key has no parts.
        [details, key @ ..] if details.eq_ignore_ascii_case("details") && root.is_none() => {
            format!("{details}.\"{}\"", key.join(".").replace('"', ""))
        }
        parts => parts.join("."),
    };
    Some(format!("{remedy}; a field of that name stands in quotes: '{}'", shown(&whole)))
}
