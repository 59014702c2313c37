//! Owns rendering a prepared template quickly: the parsed template as steps that borrow from the context.
//!
//! handlebars allocates names, paths and scopes for every tag, ten times what the mail itself needs. The steps know only
//! what shipped templates use. Whatever else a template holds or a context brings is left to handlebars, which then
//! gives the words or the error: a program is never the judge.

use std::borrow::Cow;

use handlebars::template::{HelperTemplate, Parameter, Template, TemplateElement};
use handlebars::{JsonTruthy, Path, PathSeg};
use serde_json::Value;

use super::calls;

/// A template's steps.
pub struct Program {
    steps: Vec<Step>,
    escape: fn(&str) -> String,
}

enum Step {
    Text(String),
    Print(Expression),
    If { test: Expression, then: Vec<Step>, otherwise: Vec<Step> },
    Each { list: Expression, body: Vec<Step>, otherwise: Option<Vec<Step>> },
}

enum Expression {
    /// From the innermost element of a loop, or from the root.
    Path {
        from_root: bool,
        names: Vec<String>,
    },
    /// `@first`, `@last`.
    Local(Local),
    Literal(Value),
    Call {
        call: Call,
        arguments: Vec<Expression>,
    },
}

#[derive(Clone, Copy)]
enum Local {
    First,
    Last,
}

/// A helper: one of ours, or one of handlebars' that is as quickly written as found.
#[derive(Clone, Copy)]
enum Call {
    Ours(&'static calls::Known),
    Equal,
    Greater,
    And,
    Or,
    Not,
    Len,
}

/// Not for a program: handlebars shall do it.
struct Unable;

/// An element of a loop.
struct Element<'v> {
    value: &'v Value,
    first: bool,
    last: bool,
}

impl Program {
    /// `None` where the template holds what is left to handlebars.
    pub fn new(template: &Template, escape: fn(&str) -> String) -> Option<Self> {
        Some(Self { steps: steps(template)?, escape })
    }

    /// What the template gives for `context`; `None`: ask handlebars.
    pub fn run(&self, context: &Value) -> Option<String> {
        let mut run = Run { root: context, escape: self.escape, out: String::with_capacity(4096) };
        run.steps(&self.steps, None).ok()?;
        Some(run.out)
    }
}

fn steps(template: &Template) -> Option<Vec<Step>> {
    template.elements.iter().map(step).collect()
}

fn branch(template: Option<&Template>) -> Option<Vec<Step>> {
    template.map_or_else(|| Some(Vec::new()), steps)
}

fn step(element: &TemplateElement) -> Option<Step> {
    match element {
        TemplateElement::RawString(text) => Some(Step::Text(text.clone())),
        TemplateElement::Expression(call) => expression(call).map(Step::Print),
        TemplateElement::HelperBlock(block) => block_step(block),
        _ => None,
    }
}

fn block_step(block: &HelperTemplate) -> Option<Step> {
    let ([parameter], true, None) = (block.params.as_slice(), block.hash.is_empty(), &block.block_param) else {
        return None;
    };
    let subject = argument(parameter)?;
    let (body, otherwise) = (branch(block.template.as_ref())?, branch(block.inverse.as_ref())?);
    match block.name.as_name()? {
        "if" => Some(Step::If { test: subject, then: body, otherwise }),
        "unless" => Some(Step::If { test: subject, then: otherwise, otherwise: body }),
        "each" => Some(Step::Each { list: subject, body, otherwise: block.inverse.as_ref().map(|_| otherwise) }),
        _ => None,
    }
}

/// `{{path}}`, `{{helper …}}` and `(helper …)`.
fn expression(call: &HelperTemplate) -> Option<Expression> {
    let name = call.name.as_name()?;
    if !call.hash.is_empty() {
        return None;
    }
    let known = calls::ALL.iter().find(|known| known.name == name);
    let Some(known) = known else { return if call.params.is_empty() { argument(&call.name) } else { None } };
    let helper = match name {
        "eq" => Call::Equal,
        "gt" => Call::Greater,
        "and" => Call::And,
        "or" => Call::Or,
        "not" => Call::Not,
        "len" => Call::Len,
        _ if known.is_ours() => Call::Ours(known),
        _ => return None,
    };
    Some(Expression::Call { call: helper, arguments: call.params.iter().map(argument).collect::<Option<_>>()? })
}

fn argument(parameter: &Parameter) -> Option<Expression> {
    match parameter {
        Parameter::Literal(value) => Some(Expression::Literal(value.clone())),
        Parameter::Subexpression(inner) => match inner.as_element() {
            TemplateElement::Expression(call) => expression(call),
            _ => None,
        },
        Parameter::Path(path) => path_expression(path),
        Parameter::Name(name) => path_expression(&Path::parse(name).ok()?),
        _ => None,
    }
}

fn path_expression(path: &Path) -> Option<Expression> {
    let segments = match path {
        Path::Local((0, name, _)) if name == "first" => return Some(Expression::Local(Local::First)),
        Path::Local((0, name, _)) if name == "last" => return Some(Expression::Local(Local::Last)),
        Path::Local(_) => return None,
        Path::Relative((segments, _)) => segments,
    };
    let name = |segment: &PathSeg| match segment {
        PathSeg::Named(name) => Some(name.clone()),
        _ => None,
    };
    // A step that is no name can only be `@root` in a checked template, and stands first.
    let from_root = segments.first().is_some_and(|first| name(first).is_none());
    let names = segments.iter().skip(usize::from(from_root)).map(name).collect::<Option<_>>()?;
    Some(Expression::Path { from_root, names })
}

struct Run<'v> {
    root: &'v Value,
    escape: fn(&str) -> String,
    out: String,
}

impl<'v> Run<'v> {
    fn steps(&mut self, steps: &'v [Step], element: Option<&Element<'v>>) -> Result<(), Unable> {
        for step in steps {
            match step {
                Step::Text(text) => self.out.push_str(text),
                Step::Print(what) => self.print(what, element)?,
                Step::If { test, then, otherwise } => {
                    let is_true = self.value(test, element)?.is_some_and(|value| value.is_truthy(false));
                    self.steps(if is_true { then } else { otherwise }, element)?;
                }
                Step::Each { list, body, otherwise } => self.each(list, body, otherwise.as_deref(), element)?,
            }
        }
        Ok(())
    }

    fn each(
        &mut self,
        list: &'v Expression,
        body: &'v [Step],
        otherwise: Option<&'v [Step]>,
        element: Option<&Element<'v>>,
    ) -> Result<(), Unable> {
        let Some(Cow::Borrowed(Value::Array(items))) = self.value(list, element)? else { return Err(Unable) };
        if let (true, Some(otherwise)) = (items.is_empty(), otherwise) {
            return self.steps(otherwise, element);
        }
        for (at, value) in items.iter().enumerate() {
            self.steps(body, Some(&Element { value, first: at == 0, last: at + 1 == items.len() }))?;
        }
        Ok(())
    }

    fn print(&mut self, what: &'v Expression, element: Option<&Element<'v>>) -> Result<(), Unable> {
        match self.value(what, element)?.as_deref() {
            Some(Value::String(text)) => {
                let escaped = (self.escape)(text);
                self.out.push_str(&escaped);
            }
            Some(Value::Number(number)) => self.out.push_str(&number.to_string()),
            Some(Value::Bool(yes)) => self.out.push_str(if *yes { "true" } else { "false" }),
            None | Some(Value::Null) => {}
            // Lists and objects.
            _ => return Err(Unable),
        }
        Ok(())
    }

    /// `None`: there is nothing of that name.
    fn value(
        &self,
        expression: &'v Expression,
        element: Option<&Element<'v>>,
    ) -> Result<Option<Cow<'v, Value>>, Unable> {
        match expression {
            Expression::Literal(value) => Ok(Some(Cow::Borrowed(value))),
            Expression::Local(local) => {
                let element = element.ok_or(Unable)?;
                let is_so = match local {
                    Local::First => element.first,
                    Local::Last => element.last,
                };
                Ok(Some(Cow::Owned(is_so.into())))
            }
            Expression::Path { from_root, names } => {
                let start = element.filter(|_| !from_root).map_or(self.root, |element| element.value);
                let mut value = Some(start);
                for name in names {
                    value = match value {
                        // A name in a list is an error of handlebars.
                        Some(Value::Array(items)) => items.get(name.parse::<usize>().map_err(|_| Unable)?),
                        other => other.and_then(|value| value.get(name)),
                    };
                }
                Ok(value.map(Cow::Borrowed))
            }
            Expression::Call { call, arguments } => {
                let values: Vec<_> =
                    arguments.iter().map(|argument| self.value(argument, element)).collect::<Result<_, _>>()?;
                let values: Vec<&Value> = values.iter().map(|value| value.as_deref().unwrap_or(&Value::Null)).collect();
                call.run(&values, self.root).map(|value| Some(Cow::Owned(value)))
            }
        }
    }
}

impl Call {
    fn run(self, arguments: &[&Value], context: &Value) -> Result<Value, Unable> {
        Ok(match (self, arguments) {
            (Self::Ours(known), _) => known.run(arguments, context).map_err(|_| Unable)?,
            (Self::Equal, [one, other]) => (one == other).into(),
            // Nothing is greater than nothing.
            (Self::Greater, [Value::Null, _] | [_, Value::Null]) => false.into(),
            (Self::Greater, [one, other]) => (one.as_i64().ok_or(Unable)? > other.as_i64().ok_or(Unable)?).into(),
            (Self::And, all) => all.iter().all(|value| value.is_truthy(false)).into(),
            (Self::Or, all) => all.iter().any(|value| value.is_truthy(false)).into(),
            (Self::Not, [one]) => (!one.is_truthy(false)).into(),
            (Self::Len, [Value::Array(items)]) => items.len().into(),
            _ => return Err(Unable),
        })
    }
}

#[cfg(test)]
mod tests {
    use handlebars::html_escape;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_program_gives_what_handlebars_gives_or_leaves_it_to_handlebars() {
        let mut registry = handlebars::Handlebars::new();
        calls::register(&mut registry);
        let contexts = [
            json!({"a": "<b> & 'c'", "n": 2, "yes": true, "list": [{"x": 1}, {"x": null, "l": ["d", "e"]}], "none": [],
                "o": {"p": "q"}, "recipient": {"time_zone": "Asia/Tokyo"}, "time": "2026-01-22T18:15:02Z"}),
            json!({"a": null, "n": 0, "yes": false, "list": [], "none": null, "o": {}, "recipient": {}, "time": null}),
        ];
        for (source, is_program) in [
            ("text {{a}} {{n}} {{yes}} {{none.x}}", true),
            ("{{#if a}}1{{else if yes}}2{{else}}3{{/if}}{{#unless n}}4{{/unless}}{{#if missing.path}}5{{/if}}", true),
            ("{{#each list}}{{x}}{{@root.a}}{{#if @first}}|{{/if}}{{#unless @last}},{{/unless}}{{/each}}", true),
            ("{{#each list}}{{#each l}}{{this}}{{else}}nothing{{/each}}{{/each}}", true),
            (
                "{{#if (eq a \"x\")}}1{{/if}}{{#if (and a n)}}2{{/if}}{{#if (or a n)}}3{{/if}}{{#if (not a)}}4{{/if}}",
                true,
            ),
            (
                "{{#if (gt n 1)}}many{{/if}} {{len list}} {{default a \"nobody\"}} {{first list \"x\"}} {{list.[0].x}}",
                true,
            ),
            ("{{date time}} {{date time \"%H:%M\"}} {{value list}} {{json o}} {{o.p}} {{url a}}", true),
            ("{{o}}", true),
            ("{{list}}", true),
            ("{{#each o}}{{this}}{{/each}}", true),
            ("{{#each o}}{{@key}}{{/each}}", false),
            ("{{#with o}}{{p}}{{/with}}", false),
            ("{{#each list as |item|}}{{item.x}}{{/each}}", false),
            ("{{#each list}}{{@index}}{{/each}}", false),
        ] {
            let program = Program::new(&Template::compile(source).unwrap(), html_escape);
            assert_eq!(program.is_some(), is_program, "{source}");
            for context in &contexts {
                let expected = registry.render_template(source, context).ok();
                if let Some(given) = program.as_ref().and_then(|program| program.run(context)) {
                    assert_eq!(Some(given), expected, "{source} of {context}");
                }
            }
        }
    }
}
