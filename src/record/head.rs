//! Owns the first phase of reading: dialect, operation and activity of a record without a tree, for the rule index.

mod scan;

use std::borrow::Cow;

use super::{Dialect, Dialects, azure_activity, defender, entra, field, mend, skim};
pub(super) use scan::Outer;

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

/// What is known of a head before a tree is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Glance<'a> {
    /// All of it.
    Head(Head<'a>),
    /// What it is; alerts and assessments name themselves in many ways.
    Dialect(Dialect),
    /// Not even that: other documents of Elasticsearch have the fields of its alerts, and may be a mapping table's.
    Nothing,
}

impl Glance<'_> {
    /// Of what is known at all.
    #[must_use]
    pub const fn dialect(&self) -> Option<Dialect> {
        match self {
            Self::Head(head) => Some(head.dialect),
            Self::Dialect(dialect) => Some(*dialect),
            Self::Nothing => None,
        }
    }
}

/// What is known of the head of `raw` that [`first`] began.
pub(super) fn glance<'a>(dialects: &Dialects, head: Head<'a>, raw: &'a str) -> Glance<'a> {
    match head.dialect {
        Dialect::EntraAudit
        | Dialect::EntraSignIn
        | Dialect::EntraRisk
        | Dialect::AzureActivity
        | Dialect::AuditbellDelivery => Glance::Head(head),
        Dialect::Other => Glance::Head(dialects.mapped_head(raw).unwrap_or(head)),
        Dialect::DefenderAlert
        | Dialect::DefenderAssessment
        | Dialect::DefenderFinding
        | Dialect::DefenderCompliance => Glance::Dialect(head.dialect),
        Dialect::ElasticAlert | Dialect::Mapped(_) => Glance::Nothing,
    }
}

/// The dialect, and the names where they stand in fields of their own.
pub(super) fn first(raw: &str) -> Head<'_> {
    if let Some(outer) = skim::whole::<Outer<'_>>(raw) {
        return outer.head();
    }
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

impl<'a> Outer<'a> {
    /// Whether somebody who knows only this may not yet call it a record.
    pub(super) fn may_be_envelope(&self) -> bool {
        self.own.records
    }

    pub(super) fn head(self) -> Head<'a> {
        let dialect = self.dialect();
        let Self { own, inner } = self;
        let activity = inner.activity.0.or(own.activity.0).and_then(trimmed);
        let code = own.code.0.and_then(trimmed);
        let operation = [own.operation.0, inner.operation.0, own.title.0].into_iter().flatten().find_map(trimmed);
        let (operation, activity) = match dialect {
            // Rules name the code; the text beside it is in the language of whoever looked.
            Dialect::AzureActivity if code.is_some() => (code, operation),
            Dialect::EntraAudit => (operation.or_else(|| activity.clone()), activity),
            // Graph's bare object does not say what it is.
            Dialect::EntraSignIn => (operation.or(Some(Cow::Borrowed(entra::signin::OPERATION))), None),
            Dialect::EntraRisk => (operation, inner.risk.0.or(own.risk.0).and_then(trimmed)),
            _ => (operation.or(code), None),
        };
        let activity = activity.filter(|activity| Some(activity) != operation.as_ref());
        Head { dialect, operation, activity }
    }

    /// By content, never by topic. What the producer calls the category or the table comes first, then fields that only one
    /// family has.
    fn dialect(&self) -> Dialect {
        let Self { own, .. } = self;
        let (category, kind) = (own.category.as_str(), own.kind.as_str());
        let is = |words: &[&str], word: &str| words.iter().any(|known| known.eq_ignore_ascii_case(word));
        if is(entra::signin::CATEGORIES, category) || is(entra::signin::TABLES, kind) {
            return Dialect::EntraSignIn;
        }
        if is(entra::risk::CATEGORIES, category) || is(entra::risk::TABLES, kind) {
            return Dialect::EntraRisk;
        }
        if kind.eq_ignore_ascii_case(defender::alert::TABLE) {
            return Dialect::DefenderAlert;
        }
        if let Some(dialect) = defender::posture::of_type(kind).or(own.whose).or_else(|| self.is_wrapped_alert()) {
            return dialect;
        }
        if self.is_entra_audit() {
            return Dialect::EntraAudit;
        }
        if self.is_azure_activity() {
            let alert = [&own.operation, &own.code].iter().any(|name| azure_activity::is_alert(name.as_str()));
            return if alert { Dialect::DefenderAlert } else { Dialect::AzureActivity };
        }
        Dialect::Other
    }

    /// A resource with an alert as its properties, whatever its type: Sentinel has one of its own for them.
    fn is_wrapped_alert(&self) -> Option<Dialect> {
        let Self { own, inner } = self;
        let bare = own.operation.0.is_none() && own.category.0.is_none();
        inner.whose.filter(|dialect| bare && *dialect == Dialect::DefenderAlert)
    }

    /// Resource logs of Azure share the form and have categories of their own.
    fn is_azure_activity(&self) -> bool {
        let Self { own, .. } = self;
        let category = own.category.as_str();
        let known = azure_activity::CATEGORIES.iter().any(|known| known.eq_ignore_ascii_case(category));
        let managed = azure_activity::is_managed(own.resource.as_str());
        own.kind.as_str() == azure_activity::TABLE || known && (managed || own.rest) && own.operation.0.is_some()
    }

    /// Other services of Azure share the category (Intune) and the resource (sign-ins, risk): neither is enough alone.
    fn is_entra_audit(&self) -> bool {
        let Self { own, inner } = self;
        let category = own.category.0.as_deref().unwrap_or_default();
        let audit = ["AuditLogs", "Audit"].iter().any(|name| category.eq_ignore_ascii_case(name));
        let resource = own.resource.0.as_deref().unwrap_or_default();
        let aadiam = || resource.to_ascii_lowercase().contains("/microsoft.aadiam");
        let diagnostic = inner.activity.0.is_some() || inner.service;
        let bare = own.activity.0.is_some() && (own.service || own.parties);
        diagnostic || bare || audit && (inner.preview || aadiam())
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
