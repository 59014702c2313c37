//! Owns what is done to a checked template once, so that a mail costs a quarter: partials are put into their places and
//! styles into their tags.
//!
//! handlebars gives a partial a *copy* of the context and looks every path up in copies of its parts; inlining parses a
//! whole document. Both are done here at load. What cannot be prepared, or gives anything else for a sample than
//! the template as it was written, stays as it was: slower, never different.

use std::collections::{BTreeMap, BTreeSet};

use css_inline::CSSInliner;
use handlebars::template::{DecoratorTemplate, Parameter, Template, TemplateElement};
use handlebars::{Context, Handlebars, Path, html_escape};
use serde_json::Value;

use super::inline;
use super::program::Program;

/// What came of it.
#[derive(Default)]
pub struct Prepared {
    /// Templates as programs, by their registered names.
    pub programs: BTreeMap<String, Program>,
    /// Names of templates whose styles must still be inlined mail by mail.
    pub late: BTreeSet<String>,
}

/// Prepares `NAME/subject`, `NAME/text` and `NAME/html` of every name.
pub fn prepare(
    plain: &mut Handlebars<'static>,
    html: &mut Handlebars<'static>,
    names: &[String],
    inliner: &CSSInliner<'_>,
    samples: &[Value],
) -> Prepared {
    let samples: Vec<Context> = samples.iter().cloned().map(Context::from).collect();
    // The parser and the writer of the inliner see a prepared document for the second time only here: then both have
    // the same spelling.
    let once = |html: String| inliner.inline(&html).ok();
    let twice = |html: String| once(once(html)?);
    let mut prepared = Prepared::default();
    for name in names {
        for part in ["subject", "text"] {
            let registered = format!("{name}/{part}");
            flatten(plain, &registered, &samples);
            let program = program(plain, &registered, &samples, str::to_owned);
            prepared.programs.extend(program.map(|program| (registered, program)));
        }
        let registered = format!("{name}/html");
        flatten(html, &registered, &samples);
        let styled = html.get_template(&registered).and_then(|template| inline::inlined(template, inliner));
        if !styled.is_some_and(|styled| replace(html, &registered, styled, &samples, (twice, once))) {
            prepared.late.insert(name.clone());
        }
        let program = program(html, &registered, &samples, html_escape);
        prepared.programs.extend(program.map(|program| (registered, program)));
    }
    prepared
}

/// The template `name` as a program that gives the same for every sample.
fn program(
    registry: &Handlebars<'static>,
    name: &str,
    samples: &[Context],
    escape: fn(&str) -> String,
) -> Option<Program> {
    let program = Program::new(registry.get_template(name)?, escape)?;
    let same = |sample: &Context| program.run(sample.data()) == registry.render_with_context(name, sample).ok();
    samples.iter().all(same).then_some(program)
}

fn flatten(registry: &mut Handlebars<'static>, name: &str, samples: &[Context]) {
    let template = registry.get_template(name).and_then(|template| flat(registry, template));
    if let Some(template) = template {
        replace(registry, name, template, samples, (Some, Some));
    }
}

/// Puts `new` in the place of the template `name` if both give the same for every sample, each as it is looked at.
fn replace(
    registry: &mut Handlebars<'static>,
    name: &str,
    new: Template,
    samples: &[Context],
    (look_at_old, look_at_new): (impl Fn(String) -> Option<String>, impl Fn(String) -> Option<String>),
) -> bool {
    let given = |registry: &Handlebars<'static>| -> Option<Vec<String>> {
        samples.iter().map(|sample| registry.render_with_context(name, sample).ok()).collect()
    };
    let (Some(old), Some(before)) = (registry.get_template(name).cloned(), given(registry)) else { return false };
    registry.register_template(name, new);
    let before: Option<Vec<String>> = before.into_iter().map(look_at_old).collect();
    let after = given(registry).and_then(|after| after.into_iter().map(look_at_new).collect());
    let same = before.is_some() && before == after;
    if !same {
        registry.register_template(name, old);
    }
    same
}

/// `template` with its partials in their places. `None` where one stands indented: handlebars indents what it gives.
fn flat(registry: &Handlebars<'static>, template: &Template) -> Option<Template> {
    Flat { registry, inline: Vec::new(), blocks: Vec::new() }.template(template)
}

/// The checks of [`super::check`] hold: partials take no arguments, and none includes itself.
struct Flat<'a> {
    registry: &'a Handlebars<'static>,
    /// Inline partials seen so far, innermost last.
    inline: Vec<(&'a str, &'a Template)>,
    /// What `@partial-block` stands for, innermost last.
    blocks: Vec<Option<&'a Template>>,
}

impl<'a> Flat<'a> {
    fn template(&mut self, template: &'a Template) -> Option<Template> {
        let mut flat = Template::new();
        self.put(template, &mut flat.elements)?;
        Some(flat)
    }

    fn branch(&mut self, template: Option<&'a Template>, flat: &mut Option<Template>) -> Option<()> {
        if let Some(template) = template {
            *flat = Some(self.template(template)?);
        }
        Some(())
    }

    fn put(&mut self, template: &'a Template, out: &mut Vec<TemplateElement>) -> Option<()> {
        for element in &template.elements {
            match element {
                TemplateElement::Comment(_) => {}
                TemplateElement::HelperBlock(block) => {
                    let mut flat = block.clone();
                    self.branch(block.template.as_ref(), &mut flat.template)?;
                    self.branch(block.inverse.as_ref(), &mut flat.inverse)?;
                    out.push(TemplateElement::HelperBlock(flat));
                }
                TemplateElement::DecoratorBlock(decorator) => self.define(decorator)?,
                TemplateElement::PartialExpression(partial) => self.partial(partial, None, out)?,
                TemplateElement::PartialBlock(partial) => {
                    let known = self.inline.len();
                    let block = partial.template.as_ref()?;
                    for element in &block.elements {
                        if let TemplateElement::DecoratorBlock(decorator) = element {
                            self.define(decorator)?;
                        }
                    }
                    self.partial(partial, Some(block), out)?;
                    self.inline.truncate(known);
                }
                other => out.push(other.clone()),
            }
        }
        Some(())
    }

    /// `{{#*inline "name"}}…{{/inline}}`.
    fn define(&mut self, decorator: &'a DecoratorTemplate) -> Option<()> {
        let [Parameter::Literal(Value::String(name))] = decorator.params.as_slice() else { return None };
        self.inline.push((name, decorator.template.as_ref()?));
        Some(())
    }

    fn partial(
        &mut self,
        partial: &'a DecoratorTemplate,
        block: Option<&'a Template>,
        out: &mut Vec<TemplateElement>,
    ) -> Option<()> {
        let name = match &partial.name {
            Parameter::Name(name) => name.as_str(),
            Parameter::Path(Path::Relative((_, raw)) | Path::Local((_, _, raw))) => raw,
            _ => return None,
        };
        if partial.indent.as_ref().is_some_and(|indent| !indent.is_empty()) {
            return None;
        }
        if name == "@partial-block" {
            // Inside the block the name means the block around it.
            let block = self.blocks.pop()?;
            let put = block.and_then(|block| self.put(block, out));
            self.blocks.push(block);
            return put;
        }
        let inline = self.inline.iter().rev().find(|(known, _)| *known == name).map(|(_, template)| *template);
        let template = inline.or_else(|| self.registry.get_template(name))?;
        self.blocks.push(block);
        let put = self.put(template, out);
        self.blocks.pop();
        put
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn partials_in_their_places_give_what_partials_give() {
        let mut registry = Handlebars::new();
        for (name, source) in [
            ("frame", "<{{> title}}|{{> @partial-block}}|{{a}}>"),
            ("list", "{{#each b}}{{> item}}{{/each}}"),
            ("item", "[{{c}}{{@index}}{{@root.a}}]"),
        ] {
            registry.register_template_string(name, source).unwrap();
        }
        for (why, source) in [
            ("a partial", "{{a}}{{> list}}"),
            ("a partial with a block", "{{#> frame}}{{#*inline \"title\"}}t{{a}}{{/inline}}x{{> list}}{{/frame}}"),
            (
                "blocks within blocks, each with its own title",
                "{{#> frame}}{{#*inline \"title\"}}out{{/inline}}{{#> frame}}{{#*inline \"title\"}}in{{/inline}}y{{/frame}}{{/frame}}",
            ),
            ("in a branch", "{{#if a}}{{> item}}{{else}}{{> list}}{{/if}}{{#if d}}{{else if a}}{{> list}}{{/if}}"),
        ] {
            let written = Template::compile(source).unwrap();
            let prepared = flat(&registry, &written).unwrap();
            assert!(!format!("{prepared:?}").contains("Partial"), "{why}");
            registry.register_template("prepared", prepared);
            for context in [json!({"a": "A", "b": [{"c": 1}, {"c": "2"}], "c": 3}), json!({"b": []})] {
                let expected = registry.render_template(source, &context).unwrap();
                assert_eq!(registry.render("prepared", &context).unwrap(), expected, "{why}");
            }
        }
    }

    #[test]
    fn what_gives_anything_else_for_a_sample_is_left_as_it_was() {
        let mut registry = Handlebars::new();
        registry.register_template_string("t", "{{a}}").unwrap();
        let samples = [Context::from(json!({"a": 1})), Context::from(json!({"a": null}))];
        for (why, source, taken) in [
            ("another word", "{{a}}!", false),
            ("one sample in two", "1", false),
            ("the same", "{{#if a}}1{{/if}}", true),
        ] {
            let new = Template::compile(source).unwrap();
            assert_eq!(replace(&mut registry, "t", new, &samples, (Some, Some)), taken, "{why}");
        }
    }
}
