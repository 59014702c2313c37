//! Owns the short names: the closed set of view fields that a condition may name, and how each is read from a record.

use std::borrow::Cow;

use crate::record::{Actor, EntityKind, Flag, Record, Severity, Target};

use super::condition::Seen;
use super::decision::{Known, Part};
use crate::record::fold::fold_key;
use crate::record::path::{self, Path};

/// One short name of the record view.
#[derive(Debug)]
pub struct Field {
    /// As written in `when` and `unless`.
    pub name: &'static str,
    closed: fn() -> Vec<&'static str>,
    read: Read,
}

/// Gives each value of a field to the visitor; none where the field is absent, several where any element may match.
type Read = for<'r> fn(&'r Record, &mut dyn FnMut(&'r str));

/// What a condition or a group key looks at.
#[derive(Clone, Debug)]
pub enum Subject {
    /// A field of the view.
    View(&'static Field),
    /// `details.KEY`.
    Detail {
        /// `details.KEY` as written.
        name: Box<str>,
        /// `KEY`, in the form in which keys are compared.
        key: Box<str>,
    },
    /// `raw`, `raw.PATH`, `element`, `element.PATH`, or within a quantifier a path into its element.
    Path {
        /// As written.
        name: Box<str>,
        /// Where it leads.
        path: Path,
        /// Where it starts.
        root: Root,
    },
    /// All of `changes`, for the operators that are about a change as a whole.
    Changes,
    /// `time`: when it happened.
    Time,
    /// `now`: the time of the decision.
    Now,
    /// `lookup.TABLE.COLUMN`: that column in each row whose key is a value of `by`.
    Lookup {
        /// As written.
        name: Box<str>,
        /// Of which `[lookup.TABLE]`.
        table: Box<str>,
        /// Place of its column.
        column: usize,
        /// What is looked up.
        by: Box<Self>,
    },
}

/// The record as it came, as a whole; with a dot and a path behind it a place in it.
pub const RAW: &str = "raw";

/// The element that is looked at, as a whole; with a dot and a path behind it a place in it.
pub const ELEMENT: &str = "element";

/// As a rule names it.
impl PartialEq for Subject {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Subject {}

/// Where a path starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// At the record as it came.
    Record,
    /// At the element that a rule with `each` is held against.
    Each,
    /// At the one of the view's `targets` that a quantifier looks at.
    Target,
    /// At the one of the view's `changes` that a quantifier looks at.
    Change,
    /// At the element of another list that a quantifier looks at.
    Quantified,
}

impl Subject {
    /// The subject with this short name, in any case.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        if let Some(field) = FIELDS.iter().find(|field| field.name.eq_ignore_ascii_case(name)) {
            return Some(Self::View(field));
        }
        if name.eq_ignore_ascii_case("changes") {
            return Some(Self::Changes);
        }
        match name.to_ascii_lowercase().as_str() {
            "time" => return Some(Self::Time),
            "now" => return Some(Self::Now),
            RAW => return Some(Self::Path { name: name.into(), path: Path::itself(), root: Root::Record }),
            ELEMENT => return Some(Self::Path { name: name.into(), path: Path::itself(), root: Root::Each }),
            _ => {}
        }
        let (table, key) = name.split_once('.')?;
        let roots = [(RAW, Root::Record), (ELEMENT, Root::Each)];
        if let Some((_, root)) = roots.into_iter().find(|(word, _)| table.eq_ignore_ascii_case(word)) {
            return Some(Self::Path { name: name.into(), path: Path::parse(key).ok()?, root });
        }
        let usable = table.eq_ignore_ascii_case("details") && !key.trim().is_empty();
        usable.then(|| Self::Detail { name: name.into(), key: fold_key(unquoted(key)).into() })
    }

    /// The short name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::View(field) => field.name,
            Self::Detail { name, .. } | Self::Path { name, .. } | Self::Lookup { name, .. } => name,
            Self::Changes => "changes",
            Self::Time => "time",
            Self::Now => "now",
        }
    }

    /// Whether it never has more than one value.
    #[must_use]
    pub fn is_one(&self) -> bool {
        match self {
            Self::View(field) => GROUP_BY.contains(&field.name),
            Self::Time | Self::Now => true,
            _ => false,
        }
    }

    /// Whether its last name is one of those that producers give to addresses of the network: `callerIpAddress`, `clientIP`.
    #[must_use]
    pub fn holds_addresses(&self) -> bool {
        let last = self.name().rsplit('.').next().map(fold_key).unwrap_or_default();
        ["ip", "ipaddress"].iter().any(|end| last.trim_end_matches('"').ends_with(end))
    }

    /// Every value it can have; empty = any text.
    #[must_use]
    pub fn closed(&self) -> Vec<&'static str> {
        match self {
            Self::View(field) => (field.closed)(),
            Self::Path { name, root: Root::Target, .. } if name.eq_ignore_ascii_case("type") => {
                EntityKind::ALL.iter().map(|kind| kind.as_str()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The values in `record`, in its order; none where it is absent. With `part` they are those of that element, as in the
    /// conditions of a rule with `each`.
    #[must_use]
    pub fn of(&self, record: &Record, part: Option<&Part>, known: Known<'_>) -> Vec<String> {
        let owned = |seen: Seen<'_>| self.values(seen).into_iter().map(Cow::into_owned).collect();
        let whole = Seen { record, raw: &record.raw, known, each: None, element: None, severity: None };
        match part {
            None => owned(whole),
            Some(Part::Target(place)) => owned(Seen { record: &record.of_target(*place), ..whole }),
            Some(Part::Change(place)) => owned(Seen { record: &record.of_change(*place), ..whole }),
            Some(Part::Raw(value)) => owned(Seen { each: Some(value), ..whole }),
        }
    }

    /// The values in what is seen, in its order; none where it is absent.
    pub(super) fn values<'r>(&self, seen: Seen<'r>) -> Vec<Cow<'r, str>> {
        let mut values = Vec::new();
        match self {
            Self::View(field) if field.name == "severity" && seen.severity.is_some() => {
                values.extend(seen.severity.map(|severity| Cow::Borrowed(severity.as_str())));
            }
            Self::View(field) => (field.read)(seen.record, &mut |value| values.push(Cow::Borrowed(value))),
            Self::Detail { key, .. } => {
                let named = seen.record.details.iter().filter(|(name, _)| fold_key(name) == **key);
                values.extend(named.map(|(_, value)| Cow::Borrowed(value.as_str())));
            }
            Self::Path { path, root, .. } => {
                let root = match root {
                    Root::Record => Some(seen.raw),
                    Root::Each => seen.each,
                    Root::Target | Root::Change | Root::Quantified => seen.element,
                };
                let found = root.map(|root| path.values(root)).unwrap_or_default();
                values.extend(found.into_iter().filter_map(path::text));
            }
            Self::Changes => {
                values.extend(seen.record.changes.iter().map(|change| Cow::Borrowed(change.name.as_str())));
            }
            Self::Time => values.extend(seen.record.time.map(|time| Cow::Owned(time.to_string()))),
            Self::Now => values.push(Cow::Owned(seen.known.now.to_string())),
            Self::Lookup { table, column, by, .. } => {
                let Some(table) = seen.known.lookups.get(table) else { return values };
                // A key is one of the record, even inside an element of a quantifier.
                for key in by.values(Seen { element: None, ..seen }) {
                    values.extend(table.values(*column, &key).map(Cow::Borrowed));
                }
            }
        }
        values
    }
}

/// The key of a detail, which has no parts: it may stand in quotes, as a name with dots does in a path.
fn unquoted(key: &str) -> &str {
    let inside = key.trim().strip_prefix('"').and_then(|key| key.strip_suffix('"'));
    inside.filter(|key| !key.trim().is_empty()).unwrap_or(key)
}

/// The closed set, sorted as in the record view.
pub static FIELDS: &[Field] = &[
    // Closed too, but by the mapping tables of the configuration: the parser's scope knows them.
    Field { name: "dialect", closed: Vec::new, read: |r, each| each(r.dialect.as_str()) },
    Field { name: "id", closed: Vec::new, read: |r, each| each(&r.id) },
    // Producers differ in which of the two carries the name that people know: a rule is matched against either.
    Field {
        name: "operation",
        closed: Vec::new,
        read: |r, each| {
            text(r.operation.as_ref(), each);
            text(r.activity.as_ref(), each);
        },
    },
    Field { name: "result", closed: Vec::new, read: |r, each| text(r.result.as_ref(), each) },
    Field { name: "state", closed: Vec::new, read: |r, each| text(r.state.as_ref(), each) },
    Field {
        name: "severity",
        closed: || Severity::ALL.iter().map(|severity| severity.as_str()).collect(),
        read: |r, each| r.severity.map(Severity::as_str).into_iter().for_each(each),
    },
    Field { name: "category", closed: Vec::new, read: |r, each| text(r.category.as_ref(), each) },
    Field { name: "service", closed: Vec::new, read: |r, each| text(r.service.as_ref(), each) },
    Field { name: "tenant", closed: Vec::new, read: |r, each| text(r.tenant.as_ref(), each) },
    Field { name: "subscription", closed: Vec::new, read: |r, each| text(r.subscription.as_ref(), each) },
    Field { name: "resource", closed: Vec::new, read: |r, each| text(r.resource.as_ref(), each) },
    Field { name: "correlation_id", closed: Vec::new, read: |r, each| text(r.correlation_id.as_ref(), each) },
    Field {
        name: "actor.type",
        closed: || vec!["user", "app", "system"],
        read: |r, each| r.actor.iter().map(|actor| actor.kind.as_str()).for_each(each),
    },
    Field { name: "actor.id", closed: Vec::new, read: |r, each| actor(r, |a| a.id.as_ref(), each) },
    Field { name: "actor.upn", closed: Vec::new, read: |r, each| actor(r, |a| a.upn.as_ref(), each) },
    Field { name: "actor.name", closed: Vec::new, read: |r, each| actor(r, |a| a.name.as_ref(), each) },
    Field { name: "actor.ip", closed: Vec::new, read: |r, each| actor(r, |a| a.ip.as_ref(), each) },
    Field { name: "actor.app", closed: Vec::new, read: |r, each| actor(r, |a| a.app.as_ref(), each) },
    Field {
        name: "target.type",
        closed: || EntityKind::ALL.iter().map(|kind| kind.as_str()).collect(),
        read: |r, each| r.targets.iter().map(|target| target.kind.as_str()).for_each(each),
    },
    Field { name: "target.id", closed: Vec::new, read: |r, each| targets(r, |t| t.id.as_ref(), each) },
    Field { name: "target.upn", closed: Vec::new, read: |r, each| targets(r, |t| t.upn.as_ref(), each) },
    Field { name: "target.name", closed: Vec::new, read: |r, each| targets(r, |t| t.name.as_ref(), each) },
    Field {
        name: "changes.name",
        closed: Vec::new,
        read: |r, each| r.changes.iter().map(|change| change.name.as_str()).for_each(each),
    },
    Field {
        name: "flags",
        closed: || Flag::ALL.iter().map(|flag| flag.as_str()).collect(),
        read: |r, each| r.flags.iter().map(|flag| flag.as_str()).for_each(each),
    },
    Field { name: "activity", closed: Vec::new, read: |r, each| text(r.activity.as_ref(), each) },
    Field {
        name: "tactics",
        closed: Vec::new,
        read: |r, each| r.tactics.iter().map(|tactic| &**tactic).for_each(each),
    },
    Field {
        name: "by_self",
        closed: || vec!["true", "false"],
        read: |r, each| r.by_self.map(|by_self| if by_self { "true" } else { "false" }).into_iter().for_each(each),
    },
];

/// The short names that a policy's `group.by` may list: those with one value, for a key of several would fall apart
/// when a producer adds a target.
pub const GROUP_BY: &[&str] = &[
    "dialect",
    "id",
    "result",
    "state",
    "severity",
    "category",
    "service",
    "tenant",
    "subscription",
    "resource",
    "correlation_id",
    "actor.type",
    "actor.id",
    "actor.upn",
    "actor.name",
    "actor.ip",
    "actor.app",
    "activity",
    "by_self",
];

fn text<'r>(value: Option<&'r String>, each: &mut dyn FnMut(&'r str)) {
    value.map(String::as_str).into_iter().for_each(each);
}

fn actor<'r>(record: &'r Record, of: fn(&'r Actor) -> Option<&'r String>, each: &mut dyn FnMut(&'r str)) {
    text(record.actor.as_ref().and_then(of), each);
}

fn targets<'r>(record: &'r Record, of: fn(&'r Target) -> Option<&'r String>, each: &mut dyn FnMut(&'r str)) {
    record.targets.iter().filter_map(of).for_each(|value| each(value));
}
