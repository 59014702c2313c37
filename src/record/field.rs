//! Owns how a field is looked up in a record as it came: names without regard to case, placeholders as nothing,
//! JSON inside strings.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::path::number_text;

/// How many times a string that holds JSON is opened again.
const MAX_NESTED: usize = 3;

/// What producers write for "nothing": empty, words, .NET's `Guid.Empty`, and where a name that was typed in is not told
/// (Entra, of somebody it does not know; AWS).
const PLACEHOLDERS: [&str; 7] = [
    "",
    "<null>",
    "null",
    "none",
    "00000000-0000-0000-0000-000000000000",
    "{PII Removed}",
    "HIDDEN_DUE_TO_SECURITY_REASONS",
];

/// An object, or nothing. Products write one field as `time`, `Time` or `TIME`; the exact name wins over the others.
#[derive(Clone, Copy, Default)]
pub(super) struct Fields<'a>(Option<&'a Map<String, Value>>);

impl<'a> Fields<'a> {
    pub(super) fn of(value: &'a Value) -> Self {
        Self(value.as_object())
    }

    /// `None` for null too.
    pub(super) fn get(self, name: &str) -> Option<&'a Value> {
        let map = self.0?;
        let other = || map.iter().find(|(key, value)| !value.is_null() && key.eq_ignore_ascii_case(name));
        map.get(name).filter(|value| !value.is_null()).or_else(|| other().map(|(_, value)| value))
    }

    /// Every name with its value, nulls left out.
    pub(super) fn iter(self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        self.0.into_iter().flatten().map(|(name, value)| (name.as_str(), value)).filter(|(_, value)| !value.is_null())
    }

    /// The object behind `name`; an empty one where there is none.
    pub(super) fn object(self, name: &str) -> Self {
        Self(self.get(name).and_then(Value::as_object))
    }

    /// See [`text`].
    pub(super) fn text(self, name: &str) -> Option<String> {
        self.get(name).and_then(text)
    }

    /// The first of `names` that holds text.
    pub(super) fn first_text(self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| self.text(name))
    }

    /// The pairs of a list of `{key, value}` or `{name, value}`, values as text, what is neither text nor number as JSON.
    pub(super) fn pairs(self, name: &str) -> Vec<(String, String)> {
        let list = self.get(name).map(opened);
        list.as_deref().map(elements).unwrap_or_default().iter().filter_map(|of| Fields::of(of).pair()).collect()
    }

    /// One of them.
    pub(super) fn pair(self) -> Option<(String, String)> {
        let value = self.get("value")?;
        let text = text(value).or_else(|| (!value.is_string()).then(|| value.to_string()))?;
        Some((self.first_text(&["key", "name"])?, text))
    }

    /// No object, or one without a value that says something.
    pub(super) fn is_empty(self) -> bool {
        self.0.is_none_or(|map| map.values().all(|value| value.is_null() || text(value).is_none() && value.is_string()))
    }
}

/// The text of a string, number or boolean; placeholders for "nothing" are nothing.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim()).filter(|text| !is_placeholder(text)).map(str::to_owned),
        Value::Number(number) => Some(number_text(number)),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// Whether it says that there is nothing: in names, addresses and ids.
pub(super) fn is_placeholder(text: &str) -> bool {
    PLACEHOLDERS.iter().any(|placeholder| text.eq_ignore_ascii_case(placeholder))
}

/// The elements of a list. `PowerShell` writes a list of one as its element.
pub(super) fn elements(value: &Value) -> &[Value] {
    match value {
        Value::Array(list) => list,
        Value::Object(_) => std::slice::from_ref(value),
        _ => &[],
    }
}

/// An object or array that came as a string (Log Analytics after CSV or REST), opened; anything else as it is.
pub(super) fn opened(value: &Value) -> Cow<'_, Value> {
    match value {
        Value::String(text) if text.trim_start().starts_with(['{', '[']) => {
            serde_json::from_str(text).map_or(Cow::Borrowed(value), Cow::Owned)
        }
        other => Cow::Borrowed(other),
    }
}

/// One side of a change. Producers put JSON into strings, and strings into that (`"\"[true]\""`); text that is no JSON
/// stays text, and numbers stay text so that no digit of a telephone number is lost. `Err` is text that begins as JSON
/// and is not. Empty means nothing.
pub(super) fn decoded(value: &Value) -> Result<Value, Value> {
    let mut value = Cow::Borrowed(value);
    for depth in 0..=MAX_NESTED {
        let Value::String(text) = &*value else { break };
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Ok(Value::Null);
        }
        if !trimmed.starts_with(['{', '[', '"']) && !["true", "false", "null"].contains(&trimmed) || depth == MAX_NESTED
        {
            break;
        }
        match serde_json::from_str(trimmed) {
            Ok(inner) => value = Cow::Owned(inner),
            // What a producer put *into* a JSON string may begin with a bracket and be plain text.
            Err(_) if depth > 0 => break,
            Err(_) => return Err(value.into_owned()),
        }
    }
    Ok(value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_are_found_in_any_case_and_the_exact_one_wins() {
        let value = json!({"LEVEL": 1, "Level": 2, "level": null, "Name": "<null>", "n": 7, "None": "None"});
        assert_eq!(Fields::of(&value).get("level"), Some(&json!(1)), "null is no value");
        let fields = Fields::of(&value);
        assert_eq!(fields.get("Level"), Some(&json!(2)));
        assert_eq!(fields.text("name"), None);
        assert_eq!(fields.text("none"), None);
        assert_eq!(fields.text("N").as_deref(), Some("7"));
        assert_eq!(fields.object("n").get("x"), None);
    }

    #[test]
    fn changes_are_decoded_as_far_as_they_are_json() {
        for (text, expected) in [
            // A list with one value, as Core Directory writes.
            ("[true]", Ok(json!([true]))),
            // A string in a string, and twice.
            (r#""Member""#, Ok(json!("Member"))),
            (r#""\"[1]\"""#, Ok(json!([1]))),
            // Objects inside.
            (r#"[{"State":0}]"#, Ok(json!([{"State": 0}]))),
            // Text that only looks like JSON, inside a list.
            (r#"["[KeyIdentifier=7]"]"#, Ok(json!(["[KeyIdentifier=7]"]))),
            (r#""[KeyIdentifier=7]""#, Ok(json!("[KeyIdentifier=7]"))),
            // Nothing, and nothing in quotes.
            ("", Ok(Value::Null)),
            (r#""""#, Ok(Value::Null)),
            ("null", Ok(Value::Null)),
            // Plain words and digits stay text.
            ("Phone", Ok(json!("Phone"))),
            ("49301234567890123456789", Ok(json!("49301234567890123456789"))),
            ("false", Ok(json!(false))),
            // Cut off.
            (r#"["alice"#, Err(json!(r#"["alice"#))),
        ] {
            assert_eq!(decoded(&json!(text)), expected, "{text}");
        }
    }
}
