//! Owns how old the news of a record is. An event is news when it happens. A thing is news whenever its producer writes of it
//! again: an alert is raised days after what it is about began, and closed weeks after.

use super::field::{Fields, opened};
use super::{Dialect, Record, elastic_alert, time};
use crate::clock::Timestamp;

/// Where an alert of Defender says that something was done to it, or found.
const ALERT: &[&str] = &[
    "EndTimeUtc",
    "EndTime",
    "ProcessingEndTime",
    "ProcessingEndTimeUtc",
    "TimeGenerated",
    "TimeGeneratedUtc",
    "createdDateTime",
    "lastUpdateDateTime",
    "lastModifiedDateTime",
    "resolvedDateTime",
    "alertCreationTime",
    "lastUpdateTime",
    "resolvedTime",
    "eventTimestamp",
    "time",
];
const RISK: &[&str] = &["riskLastUpdatedDateTime", "lastUpdatedDateTime", "detectedDateTime", "time", "TimeGenerated"];
/// What makes another revision of it. The other times are written on each run of the rule, as long as the alert stands.
const ELASTIC: &[&str] = &["kibana.alert.start", "kibana.alert.end", "kibana.alert.workflow_status_updated_at"];

impl Record {
    /// What `max_age` counts from: when an event happened, when a thing was last written of. `None` where the record says
    /// neither.
    #[must_use]
    pub fn news(&self) -> Option<Timestamp> {
        let own = self.own_time();
        if !self.dialect.is_of_things() {
            return own;
        }
        own.into_iter().chain(self.written()).max()
    }

    /// Every moment at which it says that somebody wrote of it.
    fn written(&self) -> Vec<Timestamp> {
        let named = |names: &[&str]| {
            let outer = Fields::of(&self.raw);
            let properties = outer.get("properties").map(opened);
            let inner = properties.as_deref().map_or(Fields::default(), Fields::of);
            let both = names.iter().flat_map(|name| [outer.get(name), inner.get(name)]).flatten();
            both.filter_map(time::of).collect()
        };
        match self.dialect {
            Dialect::DefenderAlert => named(ALERT),
            Dialect::EntraRisk => named(RISK),
            Dialect::ElasticAlert => {
                let document = elastic_alert::document(&self.raw);
                // Of what a detection rule found, when it did: such an alert is not written on the next run.
                let found = elastic_alert::value(&document, "kibana.alert.original_time").map(|_| "@timestamp");
                let paths = ELASTIC.iter().copied().chain(found);
                paths.filter_map(|path| time::of(elastic_alert::value(&document, path)?)).collect()
            }
            Dialect::Mapped(_) => time::written(&self.revision).into_iter().collect(),
            // How long it has stood so, is its time.
            _ => Vec::new(),
        }
    }
}
