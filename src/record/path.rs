//! Owns paths into a record as it came: how `raw.properties.initiatedBy.user.id` finds values, whatever case the producer
//! writes, whether a dot is part of a name, and though there is JSON inside a string.

use std::borrow::Cow;
use std::fmt;

use serde_json::{Map, Number, Value};

use super::fold::{fold_key, fold_number};

/// How many strings that hold JSON are opened on one way.
const MOST_OPENED: u8 = 3;
/// Names under which lists of pairs keep the key; its value is under `value`.
const PAIR_KEYS: [&str; 2] = ["key", "name"];

/// Names between dots. A name with dots in it stands in quotes: `claims."http://schemas…/upn"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(Vec<Box<str>>);

impl Path {
    /// Reads `text`. The error follows the path: "… is no path: …".
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let mut names = Vec::new();
        let mut rest = text;
        loop {
            let (name, after) = if let Some(quoted) = rest.strip_prefix('"') {
                let end = quoted.find('"').ok_or("a quotation mark is not closed")?;
                (&quoted[..end], &quoted[end + 1..])
            } else {
                rest.split_at(rest.find('.').unwrap_or(rest.len()))
            };
            if name.trim().is_empty() {
                return Err("a name between its dots is empty");
            }
            if !rest.starts_with('"') && is_index(name.trim()) {
                return Err(
                    "a list means any of its elements: leave the number out (a name that is one stands in quotes)",
                );
            }
            names.push(name.trim().into());
            match after.strip_prefix('.') {
                Some(more) => rest = more,
                None if after.is_empty() => return Ok(Self(names)),
                None => return Err("only a dot may follow a quotation mark"),
            }
        }
    }

    /// The path that leads nowhere else: an element of a list itself.
    #[must_use]
    pub const fn itself() -> Self {
        Self(Vec::new())
    }

    /// Its names, from outside in.
    #[must_use]
    pub fn names(&self) -> &[Box<str>] {
        &self.0
    }

    /// What stands at the path; of a list its elements. Null and nothing are nothing.
    #[must_use]
    pub fn values<'v>(&self, value: &'v Value) -> Vec<Cow<'v, Value>> {
        let mut found = Vec::new();
        walk(Cow::Borrowed(value), &self.0, 0, &mut found);
        found
    }
}

/// As it is written, a name with dots in quotes.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, name) in self.0.iter().enumerate() {
            let dot = if place == 0 { "" } else { "." };
            if name.contains('.') { write!(f, "{dot}\"{name}\"")? } else { write!(f, "{dot}{name}")? }
        }
        Ok(())
    }
}

/// The text by which a value is compared: what is no text, number or boolean as JSON. A text that is empty or says that
/// there is nothing is absent.
#[must_use]
pub fn text(value: Cow<'_, Value>) -> Option<Cow<'_, str>> {
    match value {
        Cow::Borrowed(Value::String(text)) => present(text).map(Cow::Borrowed),
        Cow::Owned(Value::String(text)) => present(&text).is_some().then_some(Cow::Owned(text)),
        other => match other.as_ref() {
            Value::Null => None,
            Value::Number(number) => Some(Cow::Owned(number_text(number))),
            value => Some(Cow::Owned(value.to_string())),
        },
    }
}

/// A number's text, see [`fold_number`]; whole ones stay as they are, however long.
pub(super) fn number_text(number: &Number) -> String {
    let decimals = number.as_f64().filter(|_| number.is_f64());
    decimals.map_or_else(|| number.to_string(), fold_number)
}

/// Whether a name was meant to choose an element of a list: `0`, `targetResources[0]`, `targetResources[*]`.
fn is_index(name: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'*');
    let inside = name.strip_suffix(']').and_then(|name| name.rsplit_once('[')).map(|(_, inside)| inside);
    is_number(inside.unwrap_or(name)) || inside == Some("")
}

fn present(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.trim().is_empty() && !text.eq_ignore_ascii_case("<null>"))
}

fn walk<'v>(value: Cow<'v, Value>, names: &[Box<str>], opened: u8, found: &mut Vec<Cow<'v, Value>>) {
    match value {
        Cow::Borrowed(Value::Array(list)) => {
            for element in list {
                element_of(Cow::Borrowed(element), names, opened, found);
            }
        }
        Cow::Owned(Value::Array(list)) => {
            for element in list {
                element_of(Cow::Owned(element), names, opened, found);
            }
        }
        value if names.is_empty() => {
            if !value.is_null() {
                found.push(value);
            }
        }
        Cow::Borrowed(Value::Object(map)) => below(map, names, found, |name, rest, found| {
            walk(Cow::Borrowed(&map[name]), rest, opened, found);
        }),
        Cow::Owned(Value::Object(map)) => below(&map, names, found, |name, rest, found| {
            walk(Cow::Owned(map[name].clone()), rest, opened, found);
        }),
        value => {
            // The path goes on inside a text: it may hold JSON.
            let inner = value.as_str().map(str::trim_start).filter(|text| text.starts_with(['{', '[', '"']));
            if let Some(inner) = inner.filter(|_| opened < MOST_OPENED).and_then(|text| serde_json::from_str(text).ok())
            {
                walk(Cow::Owned(inner), names, opened + 1, found);
            }
        }
    }
}

/// An element of a list: one of a list of pairs is addressed by its key, and every other by its fields.
fn element_of<'v>(element: Cow<'v, Value>, names: &[Box<str>], opened: u8, found: &mut Vec<Cow<'v, Value>>) {
    if let (Some(wanted), Value::Object(map)) = (names.first(), element.as_ref())
        && let Some(value) = named(map, "value")
        && PAIR_KEYS
            .iter()
            .filter_map(|name| map[named(map, name)?].as_str())
            .any(|stands| fold_key(stands) == fold_key(wanted))
    {
        let value = match &element {
            Cow::Borrowed(element) => Cow::Borrowed(&element[value]),
            Cow::Owned(element) => Cow::Owned(element[value].clone()),
        };
        return walk(value, &names[1..], opened, found);
    }
    walk(element, names, opened, found);
}

/// Goes on with the keys of `map` that the path may mean, until one leads to something: producers write
/// `{"a":{"b":…}}`, `{"a.b":…}`, and both in one record.
fn below<'v>(
    map: &Map<String, Value>,
    names: &[Box<str>],
    found: &mut Vec<Cow<'v, Value>>,
    mut go: impl FnMut(&str, &[Box<str>], &mut Vec<Cow<'v, Value>>),
) {
    let before = found.len();
    for taken in (1..=names.len()).rev() {
        if let Some(name) = named(map, &names[..taken].join(".")) {
            go(name, &names[taken..], found);
        }
        if found.len() > before {
            return;
        }
    }
}

/// The key that is `wanted`, in any case; the exact one wins. Null hides nothing.
fn named<'m>(map: &'m Map<String, Value>, wanted: &str) -> Option<&'m str> {
    let exact = map.get_key_value(wanted).filter(|(_, value)| !value.is_null());
    let other = || map.iter().find(|(key, value)| !value.is_null() && key.eq_ignore_ascii_case(wanted));
    exact.or_else(other).map(|(key, _)| key.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(path: &str, value: &Value) -> Vec<String> {
        let path = Path::parse(path).unwrap();
        path.values(value).into_iter().filter_map(text).map(Cow::into_owned).collect()
    }

    #[test]
    fn paths_find_what_producers_write() {
        let record = json!({
            "properties": {"targetResources": [{"type": "User", "id": "a"}, {"type": "Group", "id": "g"}]},
            "identity": {"claims": {"http://x/claims/upn": "alice@example.com"}},
            "kibana.alert.rule.name": "r", "kibana": {"other": 1}, "host.name": "h",
            "body": "{\"properties\":{\"principalId\":\"p\",\"deep\":\"[1,2]\"}}",
            "details": [{"key": "User-Agent", "value": "curl"}, {"key": "n", "value": null}, {"Name": "x", "Value": {"y": 7}}],
            "kind": null, "Kind": "x", "above": {"LAST": null, "last": null, "Last": {"z": "y"}},
            "count": 50053, "score": 73.0, "part": 0.50, "flag": true, "none": null, "empty": "", "word": "<null>", "text": "{not json",
        });
        for (what, path, expected) in [
            ("names in any case", "PROPERTIES.targetresources.ID", vec!["a", "g"]),
            ("a name with dots in quotes", "identity.claims.\"http://x/claims/upn\"", vec!["alice@example.com"]),
            ("dots that are part of a name, beside an object of its first part", "kibana.alert.rule.name", vec!["r"]),
            ("dots that are part of a name", "host.name", vec!["h"]),
            ("on into JSON inside a text", "body.properties.principalId", vec!["p"]),
            ("and into one more", "body.properties.deep.x", vec![]),
            ("a pair by its key", "details.user-agent", vec!["curl"]),
            ("a pair by its key, as another service joins its words", "details.userAgent", vec!["curl"]),
            ("a pair whose value is null", "details.n", vec![]),
            ("a pair's value is gone into", "details.x.y", vec!["7"]),
            ("a pair by its fields all the same", "details.key", vec!["User-Agent", "n"]),
            ("a number by its text", "count", vec!["50053"]),
            ("a whole number without what follows its point", "score", vec!["73"]),
            ("a fraction", "part", vec!["0.5"]),
            ("a boolean by its text", "flag", vec!["true"]),
            ("an object as JSON", "kibana", vec!["{\"other\":1}"]),
            ("null is absent", "none", vec![]),
            ("and hides no other case", "kind", vec!["x"]),
            ("nor above a name", "above.last.z", vec!["y"]),
            ("so is an empty text", "empty", vec![]),
            ("so is a word for nothing", "word", vec![]),
            ("a text that ends the path as it came", "text", vec!["{not json"]),
            ("nothing there", "a.b.c", vec![]),
        ] {
            assert_eq!(at(path, &record), expected, "{what}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in ["", ".", "a.", ".a", "a..b", "\"a", "\"a\"b", "a.\"\"", "a[0].b", "a.0.b", "a[]", "a[*].b"] {
            assert!(Path::parse(text).is_err(), "{text}");
        }
        assert_eq!(Path::parse("a.\"0\".b[x]"), Ok(Path(vec!["a".into(), "0".into(), "b[x]".into()])));
        assert_eq!(Path::parse("a.\"b.c\".d"), Ok(Path(vec!["a".into(), "b.c".into(), "d".into()])));
    }
}
