//! Owns which lists, lookups, windows and policies are used, and the warnings of those that are not.

use std::collections::BTreeSet;
use std::path::Path;

use super::build;
use super::one::One;
use super::reading::Reading;
use super::ruleset::Around;
use crate::rules::{Check, Op, Rule, Subject, Tell, Test, To};

/// How deep below `[templates] dir` a template may stand: `NAME/VARIANT/PART.hbs`.
const DEPTH: usize = 3;

/// What stands before the name of a list that an operator takes its operands from.
const OF_LIST: &str = "list:";

/// Names that something refers to.
#[derive(Debug, Default)]
pub(super) struct Used {
    lists: BTreeSet<String>,
    lookups: BTreeSet<String>,
    windows: BTreeSet<String>,
    policies: BTreeSet<String>,
}

impl Used {
    /// Adds what a rule refers to, also one that is off.
    pub fn rule(&mut self, one: &One<'_>, rule: &Rule) {
        self.policies.extend(one.text("policy").map(str::to_owned));
        let of_routes = one.routes().filter_map(|route| route.get("policy")?.get_ref().as_str());
        self.policies.extend(of_routes.map(str::to_owned));
        let conditions = [&rule.when, &rule.unless].into_iter();
        let conditions = conditions.chain(rule.routes.iter().flat_map(|route| [&route.when, &route.unless]));
        for test in conditions.flat_map(|condition| condition.tests()) {
            self.test(test);
        }
        let tells = || std::iter::once(&rule.tell).chain(rule.routes.iter().map(|route| &route.tell));
        let excepted = tells().flat_map(|tell| &tell.except).flat_map(To::leaves);
        for to in tells().flat_map(Tell::named).chain(excepted) {
            match to {
                To::List(name, _) => drop(self.lists.insert(name.to_string())),
                To::Reference(_, subject) => self.subject(subject),
                _ => {}
            }
        }
    }

    fn test(&mut self, test: &Test) {
        self.subject(&test.subject);
        if let Check::SameAs(other) | Check::SameDomainAs(other) = test.check() {
            self.subject(other);
        }
        let names = test.want.iter().map(ToString::to_string);
        let names_of_lists = || test.want.iter().filter_map(|text| text.strip_prefix(OF_LIST)).map(str::to_owned);
        match test.op {
            Op::InList => self.lists.extend(names),
            Op::During => self.windows.extend(names),
            // `from` and `to` hold operators of their own, written behind these words.
            Op::Changed => {
                let sides = test.want.iter().filter_map(|text| text.split_once(' ')).map(|(_, names)| names);
                let names = sides.flat_map(|names| names.split(", ")).map(|name| name.trim_start_matches("not "));
                self.lists.extend(names.map(|name| name.trim_start_matches(OF_LIST).to_owned()));
                self.lists.extend(names_of_lists());
            }
            _ => self.lists.extend(names_of_lists()),
        }
    }

    fn subject(&mut self, subject: &Subject) {
        if let Subject::Lookup { table, .. } = subject {
            self.lookups.insert(table.to_string());
        }
    }

    /// Warns of what nothing refers to. With faults about, what would refer to it may not have been read.
    pub fn unused(mut self, reading: &mut Reading<'_>, around: &Around<'_>) {
        if reading.faulty() {
            return;
        }
        self.fallbacks(reading);
        let scope = &around.scope;
        let entries = scope.lists.values().flatten().filter_map(|entry| entry.during.as_ref());
        self.windows.extend(entries.map(|window| window.name().to_string()));
        let templates = around.templates.map(|dir| texts(dir, DEPTH)).unwrap_or_default();
        let in_templates = |name: &str| templates.iter().any(|text| text.contains(&format!("lookup.{name}.")));
        for name in scope.lists.keys().filter(|name| !self.lists.contains(&***name)) {
            reading.warn(
                &format!("list.{name}"),
                "is used by no rule and by no fallback; name it (`list:NAME`, in_list), or take it out",
            );
        }
        for name in scope.lookups.iter().map(|lookup| lookup.name()) {
            if !self.lookups.contains(&**name) && !in_templates(name) {
                reading.warn(
                    &format!("lookup.{name}"),
                    "is used by no rule and by no template; name one of its columns, or take it out",
                );
            }
        }
        for name in scope.windows.keys().filter(|name| !self.windows.contains(&***name)) {
            reading
                .warn(&format!("window.{name}"), "is used by no rule and by no list; name it (during), or take it out");
        }
        for name in scope.policies.keys().filter(|name| !self.policies.contains(&***name)) {
            reading.warn(&format!("policy.{name}"), "is used by no rule; name it there, or take it out");
        }
    }

    fn fallbacks(&mut self, reading: &mut Reading<'_>) {
        for name in build::below(reading, "channel") {
            let texts = reading.many(&format!("channel.{name}.fallback"), |text| Ok(text.to_owned()));
            let lists = texts.unwrap_or_default().into_iter();
            self.lists.extend(lists.filter_map(|text| text.strip_prefix("list:").map(str::to_owned)));
        }
        self.lists.extend(build::fallback(reading).into_iter().filter_map(|addressee| match addressee {
            build::Addressee::List(name) => Some(name),
            build::Addressee::Address(_) => None,
        }));
    }
}

/// The templates below `dir`. What cannot be read is a fault of the templates, and told there.
fn texts(dir: &Path, depth: usize) -> Vec<String> {
    let mut found = Vec::new();
    for path in std::fs::read_dir(dir).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())) {
        if path.is_dir() && depth > 1 {
            found.extend(texts(&path, depth - 1));
        } else if path.extension().is_some_and(|extension| extension == "hbs") {
            found.extend(std::fs::read_to_string(path));
        }
    }
    found
}
