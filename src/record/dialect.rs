//! Owns the closed set of dialects: families of records with one schema each.

use schemars::JsonSchema;
use serde::Serialize;

words! {
    /// A family of records with one schema.
    Dialect {
        /// Entra directory audit logs.
        EntraAudit = "entra.audit",
        /// Sign-ins of people and of applications.
        EntraSignIn = "entra.signin",
        /// Risk detections and risky users.
        EntraRisk = "entra.risk",
        /// Azure's Activity log.
        AzureActivity = "azure.activity",
        /// Alerts and incidents of Defender.
        DefenderAlert = "defender.alert",
        /// Defender's recommendations.
        DefenderAssessment = "defender.assessment",
        /// Findings below a recommendation.
        DefenderFinding = "defender.finding",
        /// Controls of a standard.
        DefenderCompliance = "defender.compliance",
        /// Alerts of Elastic.
        ElasticAlert = "elastic.alert",
        /// Our own: what became of messages and channels.
        AuditbellDelivery = "auditbell.delivery",
        /// Everything else; identity and time are still read.
        Other = "other",
    }
}

impl Dialect {
    /// Whether we write it ourselves. A rule sees such records only if it names their dialect.
    #[must_use]
    pub const fn is_own(self) -> bool {
        matches!(self, Self::AuditbellDelivery)
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
        }
    }
}

impl std::str::FromStr for Dialect {
    type Err = anyhow::Error;

    /// The word of `on = …`.
    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.iter().copied().find(|dialect| dialect.as_str() == word);
        known.ok_or_else(|| anyhow::anyhow!("not a dialect"))
    }
}
