//! Owns what is refused in a template before any mail is made of it.
//!
//! handlebars' strict mode cannot do it: it lets `{{#if recipient.nmae}}` pass, it says nothing of a branch that the samples
//! do not take, it refuses a key that a record may well have, and two partials that include each other overflow the stack. So
//! the parsed template is walked, partials in their places, against the table of [`super::schema`]; what its paths lead to is
//! in `paths`.

mod paths;

use std::collections::HashMap;

use handlebars::template::{BlockParam, DecoratorTemplate, HelperTemplate, Parameter, Template, TemplateElement};
use handlebars::{Handlebars, Path};
use serde_json::Value;

use super::schema::{self, Shape};
use super::{Fault, calls};
use crate::lookup::Lookups;
use crate::nearest::nearest;

/// What a template makes: a part of a mail, or a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// One line, our words only.
    Subject,
    /// The HTML part.
    Html,
    /// The text part.
    Text,
    /// The document for a room: JSON.
    Body,
}

/// What a template is checked against.
pub struct Rules<'a> {
    /// Where partials are looked up.
    pub registry: &'a Handlebars<'static>,
    /// Names of partials.
    pub partials: &'a [String],
    /// Keys of `[brand]` without a value.
    pub unset: &'a [&'static str],
    /// What `lookup.NAME.COLUMN` may name.
    pub lookups: &'a Lookups,
    /// Registered name to the file it came from.
    pub files: &'a HashMap<String, String>,
}

/// Every fault of `template`, registered as `name`.
pub fn check(rules: &Rules<'_>, part: Part, name: &str, template: &Template, faults: &mut Vec<Fault>) {
    let mut walk = Walk {
        rules,
        part,
        file: rules.files.get(name).cloned().unwrap_or_default(),
        line: 0,
        faults,
        scopes: vec![Scope { shape: &schema::ROOT, names: Vec::new(), is_loop: false }],
        guarded: Vec::new(),
        inline: Vec::new(),
        active: Vec::new(),
        in_tag: false,
        has_block: false,
    };
    walk.template(template);
}

struct Walk<'a, 'f> {
    rules: &'a Rules<'a>,
    part: Part,
    file: String,
    line: usize,
    faults: &'f mut Vec<Fault>,
    scopes: Vec<Scope>,
    /// Keys of `[brand]` that an enclosing `{{#if}}` asks for.
    guarded: Vec<String>,
    /// Inline partials of the enclosing partial blocks, innermost last.
    inline: Vec<(String, String, &'a Template)>,
    /// Partials being walked: a second visit is a cycle.
    active: Vec<String>,
    /// HTML: between `<` and `>`.
    in_tag: bool,
    /// Inside a partial that was given a block.
    has_block: bool,
}

struct Scope {
    shape: &'static Shape,
    /// Block parameters.
    names: Vec<(String, &'static Shape)>,
    /// Of `{{#each}}`, where `@index` and its like are known.
    is_loop: bool,
}

impl<'a> Walk<'a, '_> {
    fn fault(&mut self, message: impl Into<String>) {
        let fault = Fault { file: self.file.clone(), line: Some(self.line), message: message.into() };
        // A partial is walked once for each template that includes it.
        if !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }

    fn template(&mut self, template: &'a Template) {
        for (at, element) in template.elements.iter().enumerate() {
            // An `{{else if}}` is an element without a place; its parent's will do.
            self.line = template.mapping.get(at).map_or(self.line, |place| place.0);
            self.element(element);
        }
    }

    fn element(&mut self, element: &'a TemplateElement) {
        match element {
            TemplateElement::RawString(text) => {
                if self.part != Part::Body
                    && let Some(last) = text.rfind(['<', '>'])
                {
                    self.in_tag = text[last..].starts_with('<');
                }
            }
            TemplateElement::HtmlExpression(_) => {
                self.fault("{{{…}}} and {{&…}} print without escaping; write {{…}}");
            }
            TemplateElement::Expression(call) => self.printed(call),
            TemplateElement::HelperBlock(block) => self.block(block),
            TemplateElement::DecoratorExpression(_) => self.fault("decorators other than {{#*inline}} are not known"),
            TemplateElement::DecoratorBlock(decorator) => self.inline(decorator),
            TemplateElement::PartialExpression(partial) => self.partial(partial, false),
            TemplateElement::PartialBlock(partial) => self.partial_block(partial),
            TemplateElement::Comment(_) => {}
            _ => self.fault("this kind of tag is not known"),
        }
    }

    /// `{{path}}` or `{{helper …}}`: what is put into the mail.
    fn printed(&mut self, call: &'a HelperTemplate) {
        match self.call(call) {
            Some(Shape::Theirs) if self.part == Part::Subject => {
                self.fault("text from a record may not stand in a subject");
            }
            Some(Shape::Theirs) if self.in_tag => self.fault("text from a record may not stand inside a tag"),
            None | Some(Shape::Theirs | Shape::Ours | Shape::Number | Shape::Flag | Shape::Time) => {}
            Some(Shape::Any) => self.fault("a changed value is printed by {{value …}} or {{json …}}"),
            Some(Shape::Map | Shape::Lookups | Shape::Columns | Shape::List(_) | Shape::Object(_)) => {
                self.fault("this is no text: loop over it, name a member, or use {{join …}} or {{json …}}");
            }
        }
    }

    /// The shape of a path, or of what a helper gives. `None` after a fault.
    fn call(&mut self, call: &'a HelperTemplate) -> Option<&'static Shape> {
        let name = call.name.as_name().unwrap_or_default();
        let known = calls::ALL.iter().find(|known| known.name == name);
        if call.params.is_empty() && call.hash.is_empty() && known.is_none() {
            return self.parameter(&call.name);
        }
        let Some(known) = known else {
            let close = nearest(name, calls::ALL.iter().map(|known| known.name));
            self.fault(format!("no helper `{name}`{}", did_you_mean(close)));
            return None;
        };
        let (fewest, most) = known.arguments;
        if !(fewest..=most).contains(&call.params.len()) || !call.hash.is_empty() {
            self.fault(format!("helper `{name}` takes {fewest} to {most} arguments and none by name"));
            return None;
        }
        if let ("date", Some(Parameter::Literal(Value::String(pattern)))) = (name, call.params.get(1))
            && let Err(fault) = calls::pattern(pattern)
        {
            self.fault(fault);
        }
        let conditional = matches!(name, "and" | "or" | "not" | "default");
        let shapes: Vec<_> = call.params.iter().map(|parameter| self.argument(parameter, conditional)).collect();
        if name == "first" {
            return self.first(call, shapes.first().copied().flatten());
        }
        if !known.text {
            return Some(&Shape::Number);
        }
        // A moment is written in our own form, whoever recorded it.
        let ours =
            |shape: Option<&Shape>| matches!(shape, Some(Shape::Ours | Shape::Time | Shape::Number | Shape::Flag));
        Some(if shapes.into_iter().all(ours) { &Shape::Ours } else { &Shape::Theirs })
    }

    fn argument(&mut self, parameter: &'a Parameter, conditional: bool) -> Option<&'static Shape> {
        let guarded = self.guarded.len();
        if conditional {
            self.guarded.extend(brand_key(parameter));
        }
        let shape = self.parameter(parameter);
        self.guarded.truncate(guarded);
        shape
    }

    fn block(&mut self, block: &'a HelperTemplate) {
        let name = block.name.as_name().unwrap_or_default();
        let ([parameter], true) = (block.params.as_slice(), block.hash.is_empty()) else {
            return self.fault(format!("`{{{{#{name}}}}}` takes one argument"));
        };
        let guarded = self.guarded.len();
        match name {
            "if" | "unless" => {
                self.argument(parameter, true);
                if name == "if" {
                    self.guarded.extend(brand_key(parameter));
                }
                self.branch(block.template.as_ref(), None);
            }
            "each" | "with" => {
                let shape = self.parameter(parameter);
                let is_loop = name == "each";
                let item = match (name, shape) {
                    ("each", Some(Shape::List(item))) => Some(*item),
                    ("each", Some(Shape::Map)) => Some(&Shape::Theirs),
                    ("with", Some(shape @ Shape::Object(_))) => Some(shape),
                    _ => None,
                };
                match item {
                    Some(item) => {
                        self.branch(block.template.as_ref(), Some(scope(item, block.block_param.as_ref(), is_loop)));
                    }
                    None if shape.is_some() => self.fault(format!("`{{{{#{name}}}}}` has nothing to go into here")),
                    None => {}
                }
            }
            _ => self.fault(format!("no block `{{{{#{name}}}}}`; there are if, unless, each and with")),
        }
        self.guarded.truncate(guarded);
        self.branch(block.inverse.as_ref(), None);
    }

    fn branch(&mut self, template: Option<&'a Template>, scope: Option<Scope>) {
        let depth = self.scopes.len();
        self.scopes.extend(scope);
        if let Some(template) = template {
            self.template(template);
        }
        self.scopes.truncate(depth);
    }

    fn inline(&mut self, decorator: &'a DecoratorTemplate) {
        let name = match decorator.params.as_slice() {
            [Parameter::Literal(Value::String(name))] if decorator.name.as_name() == Some("inline") => name.clone(),
            _ => return self.fault("a decorator is written {{#*inline \"name\"}}"),
        };
        if let Some(template) = &decorator.template {
            self.inline.push((name, self.file.clone(), template));
        }
    }

    fn partial_block(&mut self, partial: &'a DecoratorTemplate) {
        let known = self.inline.len();
        // The block is rendered first, where it stands; what it defines inline is then known to the partial.
        self.branch(partial.template.as_ref(), None);
        self.partial(partial, true);
        self.inline.truncate(known);
    }

    fn partial(&mut self, partial: &'a DecoratorTemplate, with_block: bool) {
        let name = match &partial.name {
            Parameter::Name(name) => name.as_str(),
            Parameter::Path(Path::Relative((_, raw)) | Path::Local((_, _, raw))) => raw,
            _ => return self.fault("a partial is named by a word"),
        };
        if !partial.params.is_empty() || !partial.hash.is_empty() {
            return self.fault(format!("partial `{name}` takes no arguments: it sees what stands around it"));
        }
        if name == "@partial-block" {
            if !self.has_block {
                self.fault("@partial-block stands only in a partial that is used as {{#> NAME}}…{{/NAME}}");
            }
            return;
        }
        if self.active.iter().any(|open| open == name) {
            return self.fault(format!("partial `{name}` includes itself, directly or through another"));
        }
        let inline = self.inline.iter().rev().find(|(known, _, _)| known == name);
        let found = inline.map(|(_, file, template)| (file.clone(), *template)).or_else(|| {
            let registered = self.rules.partials.iter().any(|known| known == name);
            let template = registered.then(|| self.rules.registry.get_template(name)).flatten()?;
            Some((self.rules.files.get(name).cloned().unwrap_or_default(), template))
        });
        let Some((file, template)) = found else {
            let close = nearest(name, self.rules.partials.iter().map(String::as_str));
            return self.fault(format!("no partial `{name}`{}", did_you_mean(close)));
        };
        self.active.push(name.to_owned());
        let (here, line) = (std::mem::replace(&mut self.file, file), self.line);
        let had_block = std::mem::replace(&mut self.has_block, with_block);
        self.template(template);
        (self.file, self.line, self.has_block) = (here, line, had_block);
        self.active.pop();
    }
}

fn scope(item: &'static Shape, parameters: Option<&BlockParam>, is_loop: bool) -> Scope {
    let name = |parameter: &Parameter| parameter.as_name().unwrap_or_default().to_owned();
    let names = match parameters {
        Some(BlockParam::Single(value)) => vec![(name(value), item)],
        Some(BlockParam::Pair((value, index))) => vec![(name(value), item), (name(index), &Shape::Theirs)],
        _ => Vec::new(),
    };
    Scope { shape: item, names, is_loop }
}

/// The `KEY` of `brand.KEY`, where a parameter is just that.
fn brand_key(parameter: &Parameter) -> Option<String> {
    let name = parameter.as_name()?;
    name.trim_start_matches("@root.").strip_prefix("brand.").map(str::to_owned)
}

fn did_you_mean(close: Option<&str>) -> String {
    close.map(|close| format!("; did you mean `{close}`?")).unwrap_or_default()
}
