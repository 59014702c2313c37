//! Owns the scan of a record's text for the few fields that name it, without a tree.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::owned;
use crate::record::Dialect;
use crate::record::defender::alert;

/// The fields by which a record is known, of the record itself or of its `properties`.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a field that was seen or was not")]
pub(super) struct Known<'a> {
    pub(super) operation: Text<'a>,
    /// What other dialects call the operation.
    pub(super) title: Text<'a>,
    /// The operation's code, where `operation` may be its localised text: columns of the Activity log.
    pub(super) code: Text<'a>,
    pub(super) activity: Text<'a>,
    pub(super) category: Text<'a>,
    pub(super) resource: Text<'a>,
    /// A table of Log Analytics, or a resource type.
    pub(super) kind: Text<'a>,
    /// What was detected about somebody at risk.
    pub(super) risk: Text<'a>,
    /// Whose fields these are, where one of them tells.
    pub(super) whose: Option<Dialect>,
    /// When, as the REST form of the Activity log calls it.
    pub(super) rest: bool,
    /// `loggedByService`, even if it is null.
    pub(super) service: bool,
    /// `initiatedBy` or `targetResources`.
    pub(super) parties: bool,
    /// `auditEventCategory`, of the 2018 preview.
    pub(super) preview: bool,
    /// `records` or `value`, whatever it holds.
    pub(super) records: bool,
    /// Any field that only records have.
    pub(super) record: bool,
}

#[derive(Default)]
pub(in crate::record) struct Outer<'a> {
    pub(super) own: Known<'a>,
    pub(super) inner: Known<'a>,
}

#[derive(Clone, Copy)]
enum Key {
    Operation,
    Title,
    Code,
    Activity,
    Category,
    Resource,
    Service,
    Parties,
    Preview,
    Properties,
    Record,
    Kind,
    Risk,
    Rest,
    Whose(Dialect),
    /// `@odata.type`.
    Graph,
    /// Where an envelope has its list.
    Records,
    /// What a document of Elasticsearch may be wrapped in, as others wrap other things.
    Wrapped,
    Other,
}

/// Names are compared without regard to case: products write `operationName`, `OperationName` and `operationname`. The
/// shorter ones first, see [`STARTS`]. Web URLs, `providerAlertId` and `vendorInformation` are of Graph's alerts, of two
/// generations, and of its incidents; `conditionalAccessStatus`, `detectionTimingType` and `riskLastUpdatedDateTime` of its
/// sign-ins and risks; `alertCreationTime` is of Defender for Endpoint's alerts; names with an underscore are those in which
/// pipelines wrap a document of Elasticsearch.
static KEYS: [(&str, Key); 36] = [
    ("time", Key::Record),
    ("type", Key::Kind),
    ("value", Key::Records),
    ("fields", Key::Wrapped),
    ("_index", Key::Whose(Dialect::ElasticAlert)),
    ("kibana", Key::Whose(Dialect::ElasticAlert)),
    ("_source", Key::Whose(Dialect::ElasticAlert)),
    ("message", Key::Wrapped),
    ("records", Key::Records),
    ("category", Key::Category),
    ("riskType", Key::Risk),
    ("resourceId", Key::Resource),
    ("properties", Key::Properties),
    ("@timestamp", Key::Record),
    ("@odata.type", Key::Graph),
    ("initiatedBy", Key::Parties),
    ("alertWebUrl", Key::Whose(Dialect::DefenderAlert)),
    ("operationName", Key::Operation),
    ("TimeGenerated", Key::Record),
    ("riskEventType", Key::Risk),
    ("SystemAlertId", Key::Whose(Dialect::DefenderAlert)),
    ("eventTimestamp", Key::Rest),
    ("incidentWebUrl", Key::Whose(Dialect::DefenderAlert)),
    ("loggedByService", Key::Service),
    ("targetResources", Key::Parties),
    ("CreatedDateTime", Key::Record),
    ("providerAlertId", Key::Whose(Dialect::DefenderAlert)),
    ("AlertDisplayName", Key::Title),
    ("alertCreationTime", Key::Whose(Dialect::DefenderAlert)),
    ("vendorInformation", Key::Whose(Dialect::DefenderAlert)),
    ("OperationNameValue", Key::Code),
    ("auditEventCategory", Key::Preview),
    ("activityDisplayName", Key::Activity),
    ("detectionTimingType", Key::Whose(Dialect::EntraRisk)),
    ("conditionalAccessStatus", Key::Whose(Dialect::EntraSignIn)),
    ("riskLastUpdatedDateTime", Key::Whose(Dialect::EntraRisk)),
];

const LONGEST: usize = KEYS[KEYS.len() - 1].0.len();

/// `STARTS[n]..STARTS[n + 1]` in [`KEYS`] are the names of length `n`: every key of every record is looked up.
const STARTS: [usize; LONGEST + 2] = {
    let mut starts = [KEYS.len(); LONGEST + 2];
    let mut place = KEYS.len();
    while place > 0 {
        place -= 1;
        let length = KEYS[place].0.len();
        assert!(place == 0 || KEYS[place - 1].0.len() <= length, "in the order of their lengths");
        let mut shorter = 0;
        while shorter <= length {
            starts[shorter] = place;
            shorter += 1;
        }
    }
    starts
};

impl<'a> Known<'a> {
    fn take<A: MapAccess<'a>>(&mut self, key: Key, map: &mut A) -> Result<(), A::Error> {
        self.record |= matches!(
            key,
            Key::Operation
                | Key::Title
                | Key::Code
                | Key::Activity
                | Key::Properties
                | Key::Record
                | Key::Rest
                | Key::Whose(Dialect::DefenderAlert | Dialect::ElasticAlert)
        );
        let text = match key {
            Key::Graph => {
                if alert::is_graph_type(map.next_value::<Text<'a>>()?.as_str()) {
                    self.record = true;
                    self.whose = self.whose.or(Some(Dialect::DefenderAlert));
                }
                return Ok(());
            }
            Key::Wrapped => {
                if map.next_value::<Wrapped>()?.0 {
                    self.record = true;
                    self.whose = self.whose.or(Some(Dialect::ElasticAlert));
                }
                return Ok(());
            }
            Key::Operation => &mut self.operation,
            Key::Title => &mut self.title,
            Key::Code => &mut self.code,
            Key::Activity => &mut self.activity,
            Key::Category => &mut self.category,
            Key::Resource => &mut self.resource,
            Key::Kind => &mut self.kind,
            Key::Risk => &mut self.risk,
            Key::Service
            | Key::Parties
            | Key::Preview
            | Key::Properties
            | Key::Record
            | Key::Rest
            | Key::Whose(_)
            | Key::Records
            | Key::Other => {
                if let Key::Whose(dialect) = key {
                    self.whose = self.whose.or(Some(dialect));
                }
                self.records |= matches!(key, Key::Records);
                self.rest |= matches!(key, Key::Rest);
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
                        // As in the tree, null does not hide what stands there in another case.
                        if let Some(inner) = map.next_value::<Inner<'de>>()?.0 {
                            outer.inner = inner;
                        }
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
        let of_length = STARTS.get(name.len()..name.len() + 2).map_or(&[][..], |ends| &KEYS[ends[0]..ends[1]]);
        let known = of_length.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, key)| *key);
        let elastic = || name.starts_with("kibana.alert.").then_some(Key::Whose(Dialect::ElasticAlert));
        Ok(known.or_else(elastic).unwrap_or(Key::Other))
    }
}

/// `properties`: an object, or one inside a string; null is nothing.
struct Inner<'a>(Option<Known<'a>>);

impl<'de> Deserialize<'de> for Inner<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(InnerVisitor).map(Self)
    }
}

struct InnerVisitor;

impl<'de> Visitor<'de> for InnerVisitor {
    type Value = Option<Known<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("properties")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut known = Known::default();
        while let Some(key) = map.next_key_seed(KeySeed)? {
            known.take(key, &mut map)?;
        }
        Ok(Some(known))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        if !text.trim_start().starts_with('{') {
            return Ok(Some(Known::default()));
        }
        // What is no JSON in there is nothing to us; whatever it is stays in the record.
        let Outer { own, .. } = serde_json::from_str(text).unwrap_or_default();
        Ok(Some(Known {
            operation: own.operation.into_owned(),
            activity: own.activity.into_owned(),
            title: Text::default(),
            code: Text::default(),
            category: Text::default(),
            resource: Text::default(),
            kind: Text::default(),
            risk: own.risk.into_owned(),
            ..own
        }))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Some(Known::default()))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    visit_numbers_as!(Some(Known::default()));
}

/// Whether this may be a document of Elasticsearch with an alert in it: an object, or one inside a string.
struct Wrapped(bool);

impl<'de> Deserialize<'de> for Wrapped {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WrappedVisitor).map(Self)
    }
}

struct WrappedVisitor;

impl<'de> Visitor<'de> for WrappedVisitor {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what may be a document")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let mut alert = false;
        while let Some(key) = map.next_key_seed(KeySeed)? {
            alert |= matches!(key, Key::Whose(Dialect::ElasticAlert));
            map.next_value::<IgnoredAny>()?;
        }
        Ok(alert)
    }

    fn visit_str<E>(self, text: &str) -> Result<bool, E> {
        Ok(text.trim_start().starts_with('{') && text.contains("\"kibana"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<bool, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(false)
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }

    visit_numbers_as!(false);
}

/// A string, or the `value` of `{"value":…,"localizedValue":…}`; borrowed where JSON has no escape in it.
#[derive(Default)]
pub(super) struct Text<'a>(pub(super) Option<Cow<'a, str>>);

impl Text<'_> {
    /// Empty where there is none.
    pub(super) fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or_default().trim()
    }

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
