//! Owns the closed sets of the view: how grave, what sort of thing, what sort of record, what is wrong with it.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Problem, Record};

/// Defines a closed set with one spelling per member, for text and JSON alike.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $member:ident = $word:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, JsonSchema)]
        pub enum $name {
            $($(#[$doc])* #[serde(rename = $word)] $member),+
        }

        impl $name {
            /// Every member, in order.
            pub const ALL: &'static [Self] = &[$(Self::$member),+];

            /// As printed and configured.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$member => $word),+
                }
            }

            /// The member of this name, spelt exactly so.
            pub fn named(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|member| member.as_str() == word)
            }
        }
    };
}

words! {
    /// How grave; ordered, so that `Low < High`.
    #[expect(missing_docs, reason = "the names say it")]
    Severity {
        Informational = "informational",
        Low = "low",
        Medium = "medium",
        High = "high",
        Critical = "critical",
    }
}

words! {
    /// What sort of thing an actor or target is.
    #[expect(missing_docs, reason = "the names say it")]
    #[derive(Default)]
    EntityKind {
        User = "user",
        Group = "group",
        Device = "device",
        App = "app",
        Role = "role",
        Policy = "policy",
        Directory = "directory",
        Domain = "domain",
        Host = "host",
        Ip = "ip",
        File = "file",
        Process = "process",
        Url = "url",
        Mailbox = "mailbox",
        Resource = "resource",
        /// A service of the directory itself.
        System = "system",
        #[default]
        Other = "other",
    }
}

words! {
    /// What sort of record it is besides. A record with a quiet one of these is matched only by rules that name `flags`.
    Flag {
        /// Made by the producer to try the connection.
        Sample = "sample",
        /// Part of a regular dump of everything, not a change.
        Snapshot = "snapshot",
        /// Several alerts in one.
        Incident = "incident",
        /// A find that only other rules look at, which alert on many of them.
        BuildingBlock = "building-block",
    }
}

words! {
    /// What was mended or could not be read.
    ProblemCode {
        /// The record's time was missing or unreadable; the broker's is shown.
        TimeFromBroker = "time-from-broker",
        /// There is no time at all.
        TimeMissing = "time-missing",
        /// The producer gave no id; the content's hash is shown.
        IdMissing = "id-missing",
        /// The record was no JSON until its quotes or line breaks were mended.
        JsonRepaired = "json-repaired",
        /// A string begins as JSON and is none; it is shown as text.
        NestedJsonInvalid = "nested-json-invalid",
        /// Bytes that are no text were replaced by U+FFFD.
        TextCleaned = "text-cleaned",
        /// The result is a word we do not know; it is shown in lower case.
        ResultUnknown = "result-unknown",
        /// The severity is a word we do not know.
        SeverityUnknown = "severity-unknown",
        /// A user without id and user principal name.
        TargetWithoutIdentity = "target-without-identity",
        /// A word or mask in the place of an address.
        AddressPlaceholder = "address-placeholder",
        /// No dialect known to us has these fields.
        DialectUnknown = "dialect-unknown",
    }
}

/// Said of a severity that there is none: `hidden` is a risk's without the licence.
const NO_SEVERITY: [&str; 5] = ["unknown", "unspecified", "none", "hidden", "unknownfuturevalue"];

/// The words for an outcome that [`known_result`] gives; a producer's word that is none of its spellings stays as it is.
pub const RESULTS: [&str; 5] = ["success", "failure", "interrupted", "started", "timeout"];

/// The word for an outcome, whatever the producer's spelling.
pub(super) fn known_result(word: &str) -> Option<&'static str> {
    match word.to_lowercase().as_str() {
        "success" | "succeeded" | "0" => Some("success"),
        "failure" | "failed" | "fail" => Some("failure"),
        "interrupted" => Some("interrupted"),
        "started" | "start" => Some("started"),
        "timeout" => Some("timeout"),
        _ => None,
    }
}

impl Record {
    /// The producer's word for the outcome; one that we do not know stays, in lower case, and is a problem.
    pub(super) fn read_result(&mut self, word: Option<String>) {
        let Some(word) = word.map(|word| word.to_lowercase()) else { return };
        let known = known_result(&word);
        if known.is_none() {
            self.problems.push(Problem::at(ProblemCode::ResultUnknown, "result", &word));
        }
        self.result = Some(known.map_or(word, str::to_owned));
    }

    /// The producer's word for the severity, in any of its spellings; a word for "none" is none, and one that we do not
    /// know a problem.
    pub(super) fn read_severity(&mut self, word: Option<String>) {
        let Some(word) = word.map(|word| word.to_lowercase()) else { return };
        let known = match word.as_str() {
            "info" | "information" => "informational",
            "moderate" => "medium",
            other => other,
        };
        self.severity = Severity::named(known);
        if self.severity.is_none() && !NO_SEVERITY.contains(&known) {
            self.problems.push(Problem::at(ProblemCode::SeverityUnknown, "severity", &word));
        }
    }
}
