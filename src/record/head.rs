//! Owns the first phase of reading: dialect, operation and activity of a record without a tree, for the rule index.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{Dialect, field, mend};

/// The first phase of reading: just enough to ask the rule index whether anybody wants this record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// The dialect, by content, never by topic.
    pub dialect: Dialect,
    /// As `Record::operation`.
    pub operation: Option<Cow<'a, str>>,
    /// As `Record::activity`.
    pub activity: Option<Cow<'a, str>>,
}

/// Reads only what the index needs from `raw`, one JSON object.
pub fn head(raw: &str) -> Head<'_> {
    if let Ok(outer) = serde_json::from_str::<Outer<'_>>(raw) {
        return outer.head();
    }
    // A name with half a surrogate pair, or a number without end in its place.
    let clean = mend::clean(raw);
    let outer = serde_json::from_str::<Outer<'_>>(&clean).unwrap_or_default();
    let Head { dialect, operation, activity } = outer.head();
    Head { dialect, operation: operation.map(owned), activity: activity.map(owned) }
}

fn owned(text: Cow<'_, str>) -> Cow<'static, str> {
    Cow::Owned(text.into_owned())
}

/// Whether `raw` has a field that only records have: tells them from the objects inside broken ones.
pub(super) fn is_record(raw: &str) -> bool {
    raw.starts_with('{') && serde_json::from_str::<Outer<'_>>(raw).is_ok_and(|outer| outer.own.record)
}

/// The fields by which a record is known, of the record itself or of its `properties`.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a field that was seen or was not")]
struct Known<'a> {
    operation: Text<'a>,
    /// What other dialects call the operation.
    title: Text<'a>,
    activity: Text<'a>,
    category: Text<'a>,
    resource: Text<'a>,
    /// `loggedByService`, even if it is null.
    service: bool,
    /// `initiatedBy` or `targetResources`.
    parties: bool,
    /// `auditEventCategory`, of the 2018 preview.
    preview: bool,
    /// Any field that only records have.
    record: bool,
}

#[derive(Default)]
struct Outer<'a> {
    own: Known<'a>,
    inner: Known<'a>,
}

impl<'a> Outer<'a> {
    fn head(self) -> Head<'a> {
        let dialect = if self.is_entra_audit() { Dialect::EntraAudit } else { Dialect::Other };
        let Self { own, inner } = self;
        let activity = inner.activity.0.or(own.activity.0).and_then(trimmed);
        let operation = [own.operation.0, inner.operation.0, own.title.0].into_iter().flatten().find_map(trimmed);
        let (operation, activity) = match dialect {
            Dialect::EntraAudit => (operation.or_else(|| activity.clone()), activity),
            Dialect::AuditbellDelivery | Dialect::Other => (operation, None),
        };
        let activity = activity.filter(|activity| Some(activity) != operation.as_ref());
        Head { dialect, operation, activity }
    }

    /// Other services of Azure share the category (Intune) and the resource (sign-ins, risk): neither is enough alone.
    fn is_entra_audit(&self) -> bool {
        let Self { own, inner } = self;
        let category = own.category.0.as_deref().unwrap_or_default();
        let audit = ["AuditLogs", "Audit"].iter().any(|name| category.eq_ignore_ascii_case(name));
        let aadiam = own.resource.0.as_deref().unwrap_or_default().to_ascii_lowercase().contains("/microsoft.aadiam");
        let diagnostic = inner.activity.0.is_some() || inner.service;
        let bare = own.activity.0.is_some() && (own.service || own.parties);
        diagnostic || bare || audit && (aadiam || inner.preview)
    }
}

fn trimmed(text: Cow<'_, str>) -> Option<Cow<'_, str>> {
    let text = match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
        Cow::Owned(text) if text.trim().len() == text.len() => Cow::Owned(text),
        Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
    };
    (!field::is_placeholder(&text)).then_some(text)
}

#[derive(Clone, Copy)]
enum Key {
    Operation,
    Title,
    Activity,
    Category,
    Resource,
    Service,
    Parties,
    Preview,
    Properties,
    Record,
    Other,
}

/// Names are compared without regard to case: products write `operationName`, `OperationName` and `operationname`.
const KEYS: [(&str, Key); 17] = [
    ("operationName", Key::Operation),
    ("OperationNameValue", Key::Title),
    ("AlertDisplayName", Key::Title),
    ("activityDisplayName", Key::Activity),
    ("category", Key::Category),
    ("resourceId", Key::Resource),
    ("loggedByService", Key::Service),
    ("initiatedBy", Key::Parties),
    ("targetResources", Key::Parties),
    ("auditEventCategory", Key::Preview),
    ("properties", Key::Properties),
    ("time", Key::Record),
    ("TimeGenerated", Key::Record),
    ("@timestamp", Key::Record),
    ("eventTimestamp", Key::Record),
    ("CreatedDateTime", Key::Record),
    ("SystemAlertId", Key::Record),
];

impl<'a> Known<'a> {
    fn take<A: MapAccess<'a>>(&mut self, key: Key, map: &mut A) -> Result<(), A::Error> {
        self.record |= matches!(key, Key::Operation | Key::Title | Key::Activity | Key::Properties | Key::Record);
        let text = match key {
            Key::Operation => &mut self.operation,
            Key::Title => &mut self.title,
            Key::Activity => &mut self.activity,
            Key::Category => &mut self.category,
            Key::Resource => &mut self.resource,
            Key::Service | Key::Parties | Key::Preview | Key::Properties | Key::Record | Key::Other => {
                self.service |= matches!(key, Key::Service);
                self.parties |= matches!(key, Key::Parties);
                self.preview |= matches!(key, Key::Preview);
                return map.next_value::<IgnoredAny>().map(drop);
            }
        };
        // Of a repeated key the last wins, as in the tree; but null does not hide a value in another case.
        let found = map.next_value::<Text<'a>>()?;
        if found.0.is_some() {
            *text = found;
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Outer<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OuterVisitor;
        impl<'de> Visitor<'de> for OuterVisitor {
            type Value = Outer<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a record")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut outer = Outer::default();
                while let Some(key) = map.next_key_seed(KeySeed)? {
                    if let Key::Properties = key {
                        outer.own.record = true;
                        outer.inner = map.next_value::<Inner<'de>>()?.0;
                    } else {
                        outer.own.take(key, &mut map)?;
                    }
                }
                Ok(outer)
            }
        }
        deserializer.deserialize_map(OuterVisitor)
    }
}

struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for KeySeed {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, name: &str) -> Result<Key, E> {
        Ok(KEYS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map_or(Key::Other, |(_, key)| *key))
    }
}

/// `properties`: an object, or one inside a string.
struct Inner<'a>(Known<'a>);

impl<'de> Deserialize<'de> for Inner<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(InnerVisitor).map(Self)
    }
}

struct InnerVisitor;

impl<'de> Visitor<'de> for InnerVisitor {
    type Value = Known<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("properties")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut known = Known::default();
        while let Some(key) = map.next_key_seed(KeySeed)? {
            known.take(key, &mut map)?;
        }
        Ok(known)
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        if !text.trim_start().starts_with('{') {
            return Ok(Known::default());
        }
        // What is no JSON in there is nothing to us; whatever it is stays in the record.
        let Outer { own, .. } = serde_json::from_str(text).unwrap_or_default();
        Ok(Known {
            operation: own.operation.into_owned(),
            activity: own.activity.into_owned(),
            title: Text::default(),
            category: Text::default(),
            resource: Text::default(),
            ..own
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Known::default())
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Known::default())
    }

    visit_numbers_as!(Known::default());
}

/// A string, or the `value` of `{"value":…,"localizedValue":…}`; borrowed where JSON has no escape in it.
#[derive(Default)]
struct Text<'a>(Option<Cow<'a, str>>);

impl Text<'_> {
    fn into_owned(self) -> Text<'static> {
        Text(self.0.map(owned))
    }
}

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Text(Some(Cow::Borrowed(text))))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Text(Some(Cow::Owned(text.to_owned()))))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut value = Text(None);
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            if key.eq_ignore_ascii_case("value") {
                value = map.next_value()?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(value)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Text(None))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Text(None))
    }

    visit_numbers_as!(Text(None));
}
