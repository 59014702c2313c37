//! Owns the shape of what a template sees: every path, and whether the text behind it is ours or of others.
//!
//! The check of templates, their sample renderings and the page `docs/templates.md` follow this one table; `view`
//! fills it.

use serde_json::{Map, Value, json};

use crate::lookup::Lookups;

/// What stands behind a path. Every value may be null: a record says what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Text from the configuration or the directory file, or a word of a closed set.
    Ours,
    /// Text from a record: never in a subject, never inside a tag.
    Theirs,
    /// RFC 3339, for `date`.
    Time,
    /// A number.
    Number,
    /// Yes or no.
    Flag,
    /// A changed value: text, number, list or object of others; for `value`.
    Any,
    /// Text of others by keys of others.
    Map,
    /// Rows by the names of the configuration's lookups.
    Lookups,
    /// Text of ours by the columns of a lookup.
    Columns,
    /// Elements of one shape.
    List(&'static Shape),
    /// These members and no others.
    Object(&'static [(&'static str, Shape)]),
}

use Shape::{Any, Flag, List, Number, Object, Ours, Theirs, Time};

/// The whole context.
pub const ROOT: Shape = Object(&[
    ("recipient", Object(RECIPIENT)),
    ("records", List(&Object(RECORD))),
    ("rule", Object(&[("id", Ours), ("description", Ours)])),
    ("severity", Ours),
    ("brand", Object(BRAND)),
    ("links", Object(&[])),
    ("lookup", Shape::Lookups),
    ("previous", Object(&[])),
    ("count", Number),
    ("message", Object(&[("key", Ours), ("kind", Ours), ("time", Time), ("late", Flag)])),
    ("about", Object(&[("recipient", Theirs), ("reason", Ours), ("room", Flag)])),
]);

const RECIPIENT: &[(&str, Shape)] =
    &[("address", Ours), ("name", Ours), ("upn", Theirs), ("locale", Ours), ("time_zone", Ours)];

/// `[brand]`; `logo` is a link to the attached picture.
pub const BRAND: &[(&str, Shape)] = &[
    ("name", Ours),
    ("address", Ours),
    ("logo", Ours),
    ("helpdesk_url", Ours),
    ("security_contact", Ours),
    ("report_url", Ours),
    ("review_url", Ours),
];

const RECORD: &[(&str, Shape)] = &[
    ("dialect", Ours),
    ("id", Theirs),
    ("revision", Theirs),
    ("time", Time),
    ("operation", Theirs),
    ("result", Theirs),
    ("state", Theirs),
    ("severity", Ours),
    ("category", Theirs),
    ("service", Theirs),
    ("tenant", Theirs),
    ("subscription", Theirs),
    ("resource", Theirs),
    ("correlation_id", Theirs),
    (
        "actor",
        Object(&[("type", Ours), ("id", Theirs), ("upn", Theirs), ("name", Theirs), ("ip", Theirs), ("app", Theirs)]),
    ),
    ("targets", List(&Object(&[("type", Ours), ("id", Theirs), ("upn", Theirs), ("name", Theirs)]))),
    ("changes", List(&Object(&[("name", Theirs), ("old", Any), ("new", Any)]))),
    ("activity", Theirs),
    ("details", Shape::Map),
    ("tactics", List(&Theirs)),
    ("by_self", Flag),
];

/// How much an example of the whole context says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sample {
    /// Two records with everything there.
    Full,
    /// One record that says nothing.
    Silent,
    /// No record.
    Empty,
}

impl Sample {
    /// All of them, that with everything first.
    pub const ALL: [Self; 3] = [Self::Full, Self::Silent, Self::Empty];
}

/// What every message has, whatever its records say; a rule without a description has its id there.
const ALWAYS: [&str; 3] = ["rule", "severity", "message"];

/// An example of the whole context.
pub fn sample(sample: Sample, brand: &Value, lookups: &Lookups) -> Value {
    let full = sample == Sample::Full;
    let (whole, silent) = (ROOT.sample(true), Object(RECORD).sample(false));
    let mut context = if full { whole.clone() } else { ROOT.sample(false) };
    for key in ALWAYS {
        context[key] = whole[key].clone();
    }
    if sample == Sample::Silent {
        context["records"] = json!([silent]);
    }
    context["count"] = context["records"].as_array().map_or(0, Vec::len).into();
    context["brand"] = brand.clone();
    for lookup in lookups.iter() {
        for column in lookup.columns() {
            context["lookup"][&**lookup.name()][&**column] = if full { "sample".into() } else { Value::Null };
        }
    }
    context
}

impl Shape {
    /// The shape behind one more step of a path.
    pub fn member(&self, name: &str) -> Option<&'static Shape> {
        match self {
            Self::Object(members) => members.iter().find(|(key, _)| *key == name).map(|(_, shape)| shape),
            Self::List(item) => name.bytes().all(|byte| byte.is_ascii_digit()).then_some(*item),
            Self::Map | Self::Any => Some(&Theirs),
            Self::Lookups => Some(&Self::Columns),
            Self::Columns => Some(&Ours),
            _ => None,
        }
    }

    /// The names that may follow, for "did you mean".
    pub fn names(&self) -> Vec<&'static str> {
        match self {
            Self::Object(members) => members.iter().map(|(key, _)| *key).collect(),
            _ => Vec::new(),
        }
    }

    /// An example of this shape: everything there (`full`), or everything null and every list empty.
    pub fn sample(&self, full: bool) -> Value {
        match self {
            Self::Object(members) => {
                let filled = members.iter().map(|(key, shape)| ((*key).to_owned(), shape.sample(full)));
                Value::Object(filled.collect::<Map<_, _>>())
            }
            Self::List(item) if full => json!([item.sample(true), item.sample(true)]),
            Self::List(_) => json!([]),
            Self::Map if full => json!({"reason": "sample", "userAgent": "sample", "AuthenticationMethod": "sample"}),
            // What there is, only the configuration knows.
            Self::Map | Self::Lookups | Self::Columns => json!({}),
            _ if !full => Value::Null,
            Self::Ours | Self::Theirs => "sample".into(),
            Self::Time => "2026-01-22T18:15:02.387Z".into(),
            Self::Number => 2.into(),
            Self::Flag => true.into(),
            Self::Any => json!(["sample"]),
        }
    }
}
