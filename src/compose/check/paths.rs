//! Owns what a path of a template leads to: the shape of what stands there, or the fault that nothing does.

use handlebars::template::{HelperTemplate, Parameter, TemplateElement};
use handlebars::{Path, PathSeg};
use serde_json::Value;

use super::{Part, Walk, did_you_mean};
use crate::compose::schema::{self, Shape};
use crate::compose::text;
use crate::nearest::nearest;
use crate::record::path as paths;

impl<'a> Walk<'a, '_> {
    pub(super) fn parameter(&mut self, parameter: &'a Parameter) -> Option<&'static Shape> {
        match parameter {
            Parameter::Literal(_) => Some(&Shape::Ours),
            Parameter::Subexpression(inner) => match inner.as_element() {
                TemplateElement::Expression(call) => self.call(call),
                _ => None,
            },
            Parameter::Path(path) => self.path(path),
            Parameter::Name(name) => match Path::parse(name) {
                Ok(path) => self.path(&path),
                Err(_) => None,
            },
            _ => None,
        }
    }

    fn path(&mut self, path: &Path) -> Option<&'static Shape> {
        let segments = match path {
            Path::Local((_, name, _)) => return self.variable(name),
            Path::Relative((segments, _)) => segments,
        };
        // The grammar's own rule names are private; their `Debug` form is what can be asked for.
        let up =
            segments.iter().any(|segment| matches!(segment, PathSeg::Ruled(rule) if format!("{rule:?}") == "path_up"));
        if up {
            self.fault("`..` means something else inside a partial; write `@root.…` or a block parameter");
            return None;
        }
        let root = segments.iter().any(|segment| matches!(segment, PathSeg::Ruled(_)));
        let names: Vec<&str> = segments.iter().filter_map(named).collect();
        self.reachable(&names)?;
        let parameter = names.first().and_then(|name| self.block_parameter(name)).filter(|_| !root);
        if let Some(shape) = parameter {
            return self.descend(shape, names.into_iter().skip(1));
        }
        let at_root = root || self.scopes.len() == 1;
        match names.as_slice() {
            ["brand", key, ..] if at_root => self.set(key),
            ["lookup", name, column] if at_root => self.looked_up(name, column)?,
            _ => {}
        }
        let start = if root { &schema::ROOT } else { self.scopes.last().map_or(&schema::ROOT, |scope| scope.shape) };
        self.descend(start, names.into_iter())
    }

    fn variable(&mut self, name: &str) -> Option<&'static Shape> {
        let shape = match name {
            "index" => &Shape::Number,
            "first" | "last" => &Shape::Flag,
            "key" => &Shape::Theirs,
            other => {
                self.fault(format!("no variable `@{other}`"));
                return None;
            }
        };
        if !self.scopes.last().is_some_and(|scope| scope.is_loop) {
            self.fault(format!("`@{name}` is known only right inside {{{{#each}}}}"));
            return None;
        }
        Some(shape)
    }

    /// Faults a key of `details` that is never there as it is written: in quotes within the brackets, or, in mails, with what
    /// looks like a domain.
    fn reachable(&mut self, names: &[&str]) -> Option<()> {
        let mut keys = names.windows(2).filter(|pair| pair.first() == Some(&"details")).filter_map(<[&str]>::last);
        if let Some(key) = keys.clone().find(|key| key.starts_with(['"', '\''])) {
            self.fault(format!(
                "`{key}` stands in quotes within its brackets; write it without, as in details.[IP address]"
            ));
            return None;
        }
        let broken = |key: &&&str| self.part != Part::Body && text::clean(key, text::SHORT) != **key;
        let Some(key) = keys.find(broken) else { return Some(()) };
        self.fault(format!(
            "`{key}` is written otherwise in a mail, where what looks like a domain is broken and what is long is cut; \
             write {{{{first records 'details.\"{key}\"'}}}}"
        ));
        None
    }

    fn block_parameter(&self, name: &str) -> Option<&'static Shape> {
        let all = self.scopes.iter().rev().flat_map(|scope| &scope.names);
        all.into_iter().find(|(known, _)| known == name).map(|(_, shape)| *shape)
    }

    /// Faults a key of `[brand]` that has no value, unless an `{{#if}}` around it asks.
    fn set(&mut self, key: &str) {
        if self.rules.unset.contains(&key) && !self.guarded.iter().any(|asked| asked == key) {
            self.fault(format!(
                "brand.{key} has no value: set it under [brand], or write {{{{#if brand.{key}}}}} around it"
            ));
        }
    }

    /// Faults a lookup or a column that there is not.
    fn looked_up(&mut self, name: &str, column: &str) -> Option<()> {
        let Some(lookup) = self.rules.lookups.get(name) else {
            let close = nearest(name, self.rules.lookups.iter().map(|lookup| &**lookup.name()));
            self.fault(format!("no lookup `{name}`{}", did_you_mean(close)));
            return None;
        };
        if lookup.column(column).is_none() {
            let close = nearest(column, lookup.columns().iter().map(|column| &**column));
            self.fault(format!("lookup `{name}` has no column `{column}`{}", did_you_mean(close)));
            return None;
        }
        Some(())
    }

    fn descend<'n>(&mut self, start: &'static Shape, names: impl Iterator<Item = &'n str>) -> Option<&'static Shape> {
        let mut shape = start;
        for name in names {
            let Some(next) = shape.member(name) else {
                let close = nearest(name, shape.names());
                self.fault(format!("nothing is called `{name}` here{}", did_you_mean(close)));
                return None;
            };
            shape = next;
        }
        Some(shape)
    }

    /// `first LIST "path"`: the path goes on in the list's elements.
    pub(super) fn first(&mut self, call: &'a HelperTemplate, list: Option<&'static Shape>) -> Option<&'static Shape> {
        let (Some(Shape::List(item)), Some(Parameter::Literal(Value::String(path)))) = (list, call.params.get(1))
        else {
            self.fault("helper `first` takes a list and a path in quotes");
            return None;
        };
        match paths::Path::parse(path) {
            Ok(path) => self.descend(item, path.names().iter().map(|name| &**name)),
            Err(message) => {
                self.fault(format!("helper `first`: `{path}` is no path: {message}"));
                None
            }
        }
    }
}

fn named(segment: &PathSeg) -> Option<&str> {
    match segment {
        PathSeg::Named(name) => Some(name),
        _ => None,
    }
}
