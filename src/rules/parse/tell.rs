//! Owns reading how a rule or a route tells: channels, template, severity, policy.

use std::sync::Arc;

use crate::record::Severity;
use crate::rules::{Policy, Tell};

use super::{Reader, shown};

/// The keys that a route may replace.
pub(super) const KEYS: &[&str] = &["to", "except", "channels", "template", "severity", "policy"];

/// Rooms, and personal channels.
pub(super) type Ways = (Vec<Arc<str>>, Vec<Arc<str>>);

impl Reader<'_, '_> {
    /// The rule's own way of telling; empty where it leaves that to its routes: it names no channel, or nobody to tell.
    pub(super) fn own_tell(&mut self) -> Tell {
        let base = Tell::default();
        let ways = self.ways(&base);
        let complete = self.rule.contains_key("channels") && (self.rule.contains_key("to") || !ways.0.is_empty());
        self.tell(&base, ways, complete || !self.rule.contains_key("route"))
    }

    /// The rooms and the personal channels that the table names, else those of `base`.
    pub(super) fn ways(&mut self, base: &Tell) -> Ways {
        if self.table.contains_key("channels") {
            let scope = self.scope;
            self.channels().into_iter().partition(|channel| scope.rooms.contains(channel))
        } else {
            (base.rooms.clone(), base.channels.clone())
        }
    }

    /// What the table says of telling, the rest as in `base`. `needed`: somebody is to be told by it.
    pub(super) fn tell(&mut self, base: &Tell, (rooms, channels): Ways, needed: bool) -> Tell {
        if needed && !self.has("channels") {
            self.missing("channels", "name at least one [channel.NAME], e.g. channels = [\"email\"]");
        }
        if needed && !self.has("to") && (rooms.is_empty() || !channels.is_empty()) {
            let needs = channels.first().map(|channel| format!("channel `{channel}` writes to people: "));
            let remedy = "say who is told: \"target\", \"actor\", \"list:NAME\" or an address";
            self.missing("to", &format!("{}{remedy}", needs.unwrap_or_default()));
        }
        let Policy { group, throttle } = if self.table.contains_key("policy") {
            self.policy()
        } else {
            Policy { group: base.group.clone(), throttle: base.throttle }
        };
        Tell {
            to: if self.table.contains_key("to") { self.people("to") } else { base.to.clone() },
            except: if self.table.contains_key("except") { self.people("except") } else { base.except.clone() },
            template: self.template(&channels, base, needed),
            severity: self.severity().or(base.severity),
            channels,
            rooms,
            group,
            throttle,
        }
    }

    /// Whether the table or the rule around it has `key`.
    fn has(&self, key: &str) -> bool {
        self.table.contains_key(key) || self.rule.contains_key(key)
    }

    fn channels(&mut self) -> Vec<Arc<str>> {
        let mut channels: Vec<Arc<str>> = Vec::new();
        for (span, name) in self.texts("channels").unwrap_or_default() {
            let scope = self.scope;
            let another = || scope.also_called.as_ref().filter(|(also, _)| *also == name).map(|(_, channel)| channel);
            match scope.channels.iter().find(|channel| &***channel == name).or_else(another) {
                Some(channel) if !channels.contains(channel) => channels.push(Arc::clone(channel)),
                Some(_) => self.fault(span, "channels", format!("`{}` is named twice; once is enough", shown(name))),
                None => {
                    let known: Vec<_> = scope.channels.iter().map(|channel| &**channel).collect();
                    self.unknown(span, "channels", "channel", name, &known);
                }
            }
        }
        channels
    }

    /// A template that the personal ones of the channels can use.
    fn template(&mut self, channels: &[Arc<str>], base: &Tell, needed: bool) -> Arc<str> {
        if needed && !self.has("template") {
            self.missing("template", "name the folder below templates/, e.g. template = \"password-changed\"");
        }
        let scope = self.scope;
        let known: Option<Vec<&str>> = scope.templates.as_ref().map(|names| names.iter().map(|name| &**name).collect());
        let own = match known {
            Some(known) => self.text("template").filter(|name| {
                let is_known = known.contains(name);
                if !is_known {
                    let span = self.span_of("template");
                    self.unknown(span, "template", "template", name, &known);
                }
                is_known
            }),
            None => self.text("template"),
        };
        let name = if self.table.contains_key("template") {
            own.unwrap_or_default().into()
        } else {
            Arc::clone(&base.template)
        };
        if let (true, [channel, ..]) = (needed, channels)
            && scope.templates_for_rooms.iter().any(|known| **known == *name)
        {
            let key = if self.table.contains_key("template") { "template" } else { "channels" };
            let message = format!(
                "has a body.hbs and no mail, and channel `{channel}` sends mail: add subject.hbs, html.hbs and text.hbs to its folder"
            );
            let message =
                if key == "template" { message } else { format!("do not fit template `{name}`, which {message}") };
            self.fault(self.span_of(key), key, message);
        }
        name
    }

    fn severity(&mut self) -> Option<Severity> {
        let known: Vec<_> = Severity::ALL.iter().map(|severity| severity.as_str()).collect();
        self.word("severity", &known).and_then(Severity::named)
    }

    fn policy(&mut self) -> Policy {
        let Some(name) = self.text("policy") else { return Policy::default() };
        let scope = self.scope;
        let Some(policy) = scope.policies.get(name) else {
            let span = self.span_of("policy");
            let known: Vec<_> = scope.policies.keys().map(|name| &**name).collect();
            self.unknown(span, "policy", "policy", name, &known);
            return Policy::default();
        };
        policy.clone()
    }
}
