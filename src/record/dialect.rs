//! Owns the dialects: families of records with one schema. Ours are a closed set; a mapping table adds one of any name.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

/// A family of records with one schema.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Dialect {
    /// Entra directory audit logs.
    EntraAudit,
    /// Sign-ins of people and of applications.
    EntraSignIn,
    /// Risk detections and risky users.
    EntraRisk,
    /// Azure's Activity log.
    AzureActivity,
    /// Alerts and incidents of Defender.
    DefenderAlert,
    /// Defender's recommendations.
    DefenderAssessment,
    /// Findings below a recommendation.
    DefenderFinding,
    /// Controls of a standard.
    DefenderCompliance,
    /// Alerts of Elastic.
    ElasticAlert,
    /// Our own: what became of messages and channels.
    AuditbellDelivery,
    /// Everything else; identity and time are still read.
    Other,
    /// Read by a mapping table, one of ours or of the configuration.
    Mapped(Mapped),
}

/// The dialect of a mapping table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Mapped {
    /// Lives as long as the process: there are as many as tables were ever configured in it.
    name: &'static str,
    /// `identity = "state"`.
    of_things: bool,
}

impl Mapped {
    /// The dialect of the table `name`; the same for the same name, whenever it is asked for.
    #[must_use]
    pub fn new(name: &str, of_things: bool) -> Self {
        static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
        // A set of texts is whole whatever happened to who held it.
        let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        let known = names.get(name).copied();
        let name = known.unwrap_or_else(|| Box::leak(Box::from(name)));
        names.insert(name);
        Self { name, of_things }
    }
}

impl Dialect {
    /// Every one but those of mapping tables, in order.
    pub const BUILT_IN: &'static [Self] = &[
        Self::EntraAudit,
        Self::EntraSignIn,
        Self::EntraRisk,
        Self::AzureActivity,
        Self::DefenderAlert,
        Self::DefenderAssessment,
        Self::DefenderFinding,
        Self::DefenderCompliance,
        Self::ElasticAlert,
        Self::AuditbellDelivery,
        Self::Other,
    ];

    /// The dialect of a mapping table of this name.
    #[must_use]
    pub fn mapped(name: &str) -> Self {
        Self::Mapped(Mapped::new(name, false))
    }

    /// As printed and configured.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EntraAudit => "entra.audit",
            Self::EntraSignIn => "entra.signin",
            Self::EntraRisk => "entra.risk",
            Self::AzureActivity => "azure.activity",
            Self::DefenderAlert => "defender.alert",
            Self::DefenderAssessment => "defender.assessment",
            Self::DefenderFinding => "defender.finding",
            Self::DefenderCompliance => "defender.compliance",
            Self::ElasticAlert => "elastic.alert",
            Self::AuditbellDelivery => "auditbell.delivery",
            Self::Other => "other",
            Self::Mapped(mapped) => mapped.name,
        }
    }

    /// Whether we write it ourselves. A rule sees such records only if it names their dialect.
    #[must_use]
    pub const fn is_own(self) -> bool {
        matches!(self, Self::AuditbellDelivery)
    }

    /// Whether its records can have users among their targets; those of controls have resources alone.
    #[must_use]
    pub const fn may_have_user_targets(self) -> bool {
        !matches!(self, Self::DefenderCompliance)
    }

    /// Whether its records can say who did it; what is found out about somebody was done by nobody.
    #[must_use]
    pub const fn may_have_an_actor(self) -> bool {
        matches!(self, Self::EntraAudit | Self::EntraSignIn | Self::AzureActivity | Self::Mapped(_))
    }

    /// Whether no record of it has this short name of the view.
    #[must_use]
    pub fn lacks(self, field: &str) -> bool {
        match field {
            "result" => matches!(
                self,
                Self::EntraRisk
                    | Self::DefenderAlert
                    | Self::DefenderAssessment
                    | Self::DefenderFinding
                    | Self::DefenderCompliance
                    | Self::ElasticAlert
            ),
            "severity" => {
                matches!(self, Self::EntraAudit | Self::EntraSignIn | Self::AzureActivity | Self::DefenderCompliance)
            }
            "state" => matches!(self, Self::EntraAudit | Self::EntraSignIn),
            _ => false,
        }
    }

    /// The words that its producer documents for `state`; none: there may be others.
    #[must_use]
    pub const fn states(self) -> &'static [&'static str] {
        match self {
            // riskState of Microsoft Graph.
            Self::EntraRisk => &["none", "confirmedSafe", "remediated", "dismissed", "atRisk", "confirmedCompromised"],
            // AssessmentStatusCode and SubAssessmentStatusCode of Resource Manager.
            Self::DefenderAssessment | Self::DefenderFinding => &["Healthy", "Unhealthy", "NotApplicable"],
            // State of a regulatory compliance control.
            Self::DefenderCompliance => &["Passed", "Failed", "Skipped", "Unsupported"],
            _ => &[],
        }
    }

    /// Whether its records say how a thing stands, and one thing is written again and again under one id.
    #[must_use]
    pub const fn is_of_things(self) -> bool {
        match self {
            Self::EntraRisk
            | Self::DefenderAlert
            | Self::DefenderAssessment
            | Self::DefenderCompliance
            | Self::ElasticAlert => true,
            Self::EntraAudit
            | Self::EntraSignIn
            | Self::AzureActivity
            | Self::DefenderFinding
            | Self::AuditbellDelivery
            | Self::Other => false,
            Self::Mapped(mapped) => mapped.of_things,
        }
    }
}

impl Serialize for Dialect {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl JsonSchema for Dialect {
    fn schema_name() -> Cow<'static, str> {
        "Dialect".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let known: Vec<_> = Self::BUILT_IN.iter().map(|dialect| dialect.as_str()).collect();
        json_schema!({
            "description": "A family of records with one schema: one of the examples, or the name of a mapping table.",
            "type": "string",
            "examples": known,
        })
    }
}
