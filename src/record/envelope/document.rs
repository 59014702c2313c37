//! Owns what a JSON document is to somebody who looks for records. Only its own level is read: what stands inside is text.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::MAX_RECORDS;

/// What it is.
pub(super) enum Document<'a> {
    /// An object with `records`, any case, a list or null; or Graph's and Resource Manager's page of a list, which has
    /// nothing of its own but where the next page is.
    Envelope(Vec<&'a RawValue>),
    /// One whose `records` are strings that begin as JSON. A record may have a field of this name.
    Packed(Vec<&'a RawValue>),
    Array(Vec<&'a RawValue>),
    Object,
    Text(Cow<'a, str>),
    Null,
    Scalar,
}

impl<'de> Deserialize<'de> for Document<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DocumentVisitor)
    }
}

struct DocumentVisitor;

impl<'de> Visitor<'de> for DocumentVisitor {
    type Value = Document<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON document")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        // A repeated key hides nothing here: all lists count, and all texts.
        let (mut lists, mut texts, mut page, mut is_page) = (None::<Vec<_>>, Vec::new(), None::<Vec<_>>, true);
        while let Some(key) = map.next_key::<Key>()? {
            match key {
                Key::Records => {
                    let value = map.next_value::<&RawValue>()?;
                    match elements(value) {
                        Some(list) => lists.get_or_insert_default().extend(list),
                        None if value.get() == "null" => drop(lists.get_or_insert_default()),
                        None if text(value.get()).is_some_and(|text| begins_as_json(&text)) => texts.push(value),
                        None => {}
                    }
                }
                Key::Value => match elements(map.next_value()?) {
                    Some(list) => page.get_or_insert_default().extend(list),
                    None => is_page = false,
                },
                Key::Page => drop(map.next_value::<IgnoredAny>()?),
                Key::Other => {
                    is_page = false;
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        let of_objects = |list: &Vec<&RawValue>| list.iter().all(|element| element.get().starts_with('{'));
        Ok(match (lists, page.filter(|list| is_page && of_objects(list))) {
            (Some(list), _) | (None, Some(list)) => Document::Envelope([list, texts].concat()),
            _ if texts.is_empty() => Document::Object,
            _ => Document::Packed(texts),
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while elements.len() <= MAX_RECORDS {
            let Some(element) = seq.next_element()? else { return Ok(Document::Array(elements)) };
            elements.push(element);
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Document::Array(elements))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Document::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Document::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Document::Null)
    }

    visit_numbers_as!(Document::Scalar);
}

/// Of a list.
fn elements(value: &RawValue) -> Option<Vec<&RawValue>> {
    match serde_json::from_str(Some(value.get()).filter(|text| text.starts_with('['))?) {
        Ok(Document::Array(list)) => Some(list),
        _ => None,
    }
}

/// What stands in a JSON string.
pub(super) fn text(value: &str) -> Option<String> {
    value.starts_with('"').then(|| serde_json::from_str(value).ok()).flatten()
}

/// Whether a text may be a list or an object.
pub(super) fn begins_as_json(text: &str) -> bool {
    text.trim_start().starts_with(['[', '{'])
}

enum Key {
    Records,
    /// The list of a page.
    Value,
    /// What else a page has.
    Page,
    Other,
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl Visitor<'_> for KeyVisitor {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_str<E>(self, key: &str) -> Result<Key, E> {
                Ok(match key {
                    "value" => Key::Value,
                    "nextLink" => Key::Page,
                    _ if key.starts_with("@odata.") => Key::Page,
                    _ if key.eq_ignore_ascii_case("records") => Key::Records,
                    _ => Key::Other,
                })
            }
        }
        deserializer.deserialize_identifier(KeyVisitor)
    }
}
