//! Owns a record as though it had only one of its targets or changes: what a rule with `each` is held against.

use serde_json::Value;

use super::by_self::by_self;
use super::{Change, Record, Target};

impl Record {
    /// As though it had no other target than the one at `place`, and no change of another. Without `raw`, which is whole.
    #[must_use]
    pub fn of_target(&self, place: usize) -> Self {
        let changes = self.changes.iter().filter(|change| change.target == place).cloned().collect();
        self.with_only(self.targets.get(place), changes)
    }

    /// As though it had no other change than the one at `place`, and no other target than the changed one. Without `raw`.
    #[must_use]
    pub fn of_change(&self, place: usize) -> Self {
        let change = self.changes.get(place);
        let target = change.and_then(|change| self.targets.get(change.target));
        self.with_only(target, change.cloned().into_iter().collect())
    }

    fn with_only(&self, target: Option<&Target>, changes: Vec<Change>) -> Self {
        let targets: Vec<Target> = target.cloned().into_iter().collect();
        Self {
            position: self.position.clone(),
            dialect: self.dialect,
            id: self.id.clone(),
            revision: self.revision.clone(),
            time: self.time,
            operation: self.operation.clone(),
            result: self.result.clone(),
            state: self.state.clone(),
            severity: self.severity,
            category: self.category.clone(),
            service: self.service.clone(),
            tenant: self.tenant.clone(),
            subscription: self.subscription.clone(),
            resource: self.resource.clone(),
            correlation_id: self.correlation_id.clone(),
            actor: self.actor.clone(),
            by_self: by_self(self.actor.as_ref(), &targets),
            changes: changes.into_iter().map(|change| Change { target: 0, ..change }).collect(),
            targets,
            flags: self.flags.clone(),
            problems: self.problems.clone(),
            activity: self.activity.clone(),
            details: self.details.clone(),
            tactics: self.tactics.clone(),
            raw: Value::Null,
        }
    }
}
