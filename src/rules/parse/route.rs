//! Owns reading `[[rule.route]]`: several ways of telling, of which the first that holds is taken.

use toml::de::{DeTable, DeValue};

use crate::rules::{Route, Tell};

use super::{Reader, tell};

/// What chooses a rule or a route.
pub(super) const CONDITIONS: &[&str] = &["when", "unless"];

/// Most routes of a rule: each is asked for every record that matches.
const MAX_ROUTES: usize = 100;

impl<'a, 'i> Reader<'a, 'i> {
    /// The routes in their order; what one does not say is as in `own`, the rule's.
    pub(super) fn routes(&mut self, own: &Tell) -> Vec<Route> {
        let Some(value) = self.rule.get("route") else { return Vec::new() };
        let form = "must be an array of tables: write [[rule.route]]";
        let DeValue::Array(items) = value.get_ref() else {
            self.fault(value.span(), "route", form.into());
            return Vec::new();
        };
        if items.len() > MAX_ROUTES {
            self.fault(value.span(), "route", format!("has more than {MAX_ROUTES} entries: make several rules of it"));
        }
        let mut routes: Vec<Route> = Vec::with_capacity(items.len());
        for (place, item) in items.iter().enumerate() {
            let DeValue::Table(table) = item.get_ref() else {
                self.fault(item.span(), "route", form.into());
                continue;
            };
            let (rule, span) = (self.table, std::mem::replace(&mut self.span, item.span()));
            self.table = table;
            self.place = format!("route[{place}].");
            let route = self.route(own);
            if let Some(all) = routes.iter().position(|before| before.when.is_empty() && before.unless.is_empty()) {
                let message = format!("is never asked: route {} takes every record; put it behind this one", all + 1);
                self.fault(item.span(), "when", message);
            }
            routes.push(route);
            (self.table, self.span, self.place) = (rule, span, String::new());
        }
        routes
    }

    fn route(&mut self, own: &Tell) -> Route {
        self.unknown_keys(&[CONDITIONS, tell::KEYS, &["mute"]].concat());
        let table: &'a DeTable<'i> = self.table;
        self.boolean("mute");
        let mute = table.get("mute").and_then(|value| value.get_ref().as_bool()).unwrap_or(false);
        let ways = self.ways(own);
        Route {
            when: self.condition("when"),
            unless: self.condition("unless"),
            tell: self.tell(own, ways, !mute),
            mute,
        }
    }
}
