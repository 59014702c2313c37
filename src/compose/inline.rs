//! Owns inlining the styles of an HTML template before it has any values: its tags are masked, the document is inlined, and
//! the tags are put back.
//!
//! A tag that prints is masked as a word, one that opens, divides or ends a block as a comment, which a parser leaves
//! where it is even in a table; in a `<title>` it is text, which comes back escaped. Where the styles of an element could hang
//! on what a tag gives, nothing is done.

use css_inline::CSSInliner;
use handlebars::template::{HelperTemplate, Template, TemplateElement};

/// What a mask begins with; a number and one of `x` (prints), `b`, `e`, `z` (block, else, end) follow.
const MASK: &str = "auditbellmask";
/// Attributes that no selector here asks for; in another one a tag might choose a style.
const HARMLESS: [&str; 4] = ["alt", "href", "src", "title"];

/// `template` (without partials) with its styles inlined. `None` where that cannot be done beforehand.
pub fn inlined(template: &Template, inliner: &CSSInliner<'_>) -> Option<Template> {
    let mut masked = Masked { html: String::new(), tags: Vec::new() };
    masked.template(template)?;
    if hangs_on_neighbours(&masked.html) {
        return None;
    }
    let mut html = inliner.inline(&masked.html).ok()?;
    // A parser puts a `<tbody>` around rows that have none: around all of them, not around each row of a loop.
    if !masked.html.contains("<tbody") && !html.contains("<tbody ") {
        html = html.replace("<tbody>", "").replace("</tbody>", "");
    }
    let mut unmask = Unmask { rest: &html, tags: &masked.tags, next: 0 };
    let styled = unmask.template(None)?;
    (unmask.next == masked.tags.len()).then_some(styled)
}

/// Whether a selector asks for more than tags, classes and what contains them: whether an element is the first one, say,
/// is known only when the mail is there.
fn hangs_on_neighbours(html: &str) -> bool {
    html.split("<style").skip(1).any(|style| {
        let style = style.split_once('>').map_or(style, |(_, style)| style);
        let mut rest = style.split_once("</style").map_or(style, |(style, _)| style);
        while let Some((selector, rules)) = rest.split_once('{') {
            let is_at_rule = selector.trim_start().starts_with('@');
            if !is_at_rule && selector.contains([':', '+', '~', '[', '*']) {
                return true;
            }
            rest = after_braces(rules);
        }
        false
    })
}

/// What follows the `}` that ends what was opened before `rules`.
fn after_braces(rules: &str) -> &str {
    let mut open = 1;
    for (at, c) in rules.char_indices() {
        match c {
            '{' => open += 1,
            '}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return &rules[at + 1..];
        }
    }
    ""
}

/// A document in the making, and the tags that stand in it as masks, by their numbers.
struct Masked<'a> {
    html: String,
    tags: Vec<&'a TemplateElement>,
}

impl<'a> Masked<'a> {
    fn template(&mut self, template: &'a Template) -> Option<()> {
        for element in &template.elements {
            let n = self.tags.len();
            match element {
                TemplateElement::RawString(text) if text.contains(MASK) => return None,
                TemplateElement::RawString(text) => self.html.push_str(text),
                TemplateElement::Expression(_) => {
                    if !self.is_harmless_here() {
                        return None;
                    }
                    self.tags.push(element);
                    self.html.extend([MASK, &n.to_string(), "x"]);
                }
                TemplateElement::HelperBlock(block) => {
                    self.tags.push(element);
                    self.comment(n, "b");
                    self.branch(block.template.as_ref())?;
                    self.comment(n, "e");
                    self.branch(block.inverse.as_ref())?;
                    self.comment(n, "z");
                }
                _ => return None,
            }
        }
        Some(())
    }

    fn branch(&mut self, template: Option<&'a Template>) -> Option<()> {
        template.map_or(Some(()), |template| self.template(template))
    }

    fn comment(&mut self, n: usize, kind: &str) {
        self.html.extend(["<!--", MASK, &n.to_string(), kind, "-->"]);
    }

    /// Whether what is printed here can choose no style: outside of tags, or first in a harmless attribute.
    fn is_harmless_here(&self) -> bool {
        let Some(open) = self.html.rfind(['<', '>']).filter(|at| self.html[*at..].starts_with('<')) else {
            return true;
        };
        let attribute = self.html[open..].rsplit(char::is_whitespace).next().unwrap_or_default();
        attribute.strip_suffix("=\"").is_some_and(|name| HARMLESS.contains(&name))
    }
}

/// Puts the tags back, which must all be there and in their order.
struct Unmask<'a> {
    rest: &'a str,
    tags: &'a [&'a TemplateElement],
    next: usize,
}

impl<'a> Unmask<'a> {
    /// Up to the mask `until`, or to the end.
    fn template(&mut self, until: Option<(usize, char)>) -> Option<Template> {
        let mut template = Template::new();
        let mut raw = |text: &str, tag: Option<TemplateElement>| {
            if !text.is_empty() {
                template.elements.push(TemplateElement::RawString(text.to_owned()));
            }
            template.elements.extend(tag);
        };
        loop {
            let Some((before, after)) = self.rest.split_once(MASK) else {
                raw(std::mem::take(&mut self.rest), None);
                return until.is_none().then_some(template);
            };
            let end = after.find(|c: char| !c.is_ascii_digit())?;
            let (n, kind) = (after[..end].parse::<usize>().ok()?, after[end..].chars().next()?);
            self.rest = &after[end + 1..];
            if kind == 'x' {
                raw(before, Some(self.tag(n)?.clone()));
                continue;
            }
            self.rest = self.rest.strip_prefix("-->").or_else(|| self.rest.strip_prefix("--&gt;"))?;
            let before = before.strip_suffix("<!--").or_else(|| before.strip_suffix("&lt;!--"))?;
            if kind == 'b' {
                let TemplateElement::HelperBlock(block) = self.tag(n)? else { return None };
                let block = self.block(n, block.clone())?;
                raw(before, Some(TemplateElement::HelperBlock(block)));
            } else {
                raw(before, None);
                return (until == Some((n, kind))).then_some(template);
            }
        }
    }

    fn block(&mut self, n: usize, mut block: Box<HelperTemplate>) -> Option<Box<HelperTemplate>> {
        block.template = Some(self.template(Some((n, 'e')))?);
        let inverse = self.template(Some((n, 'z')))?;
        block.inverse = block.inverse.is_some().then_some(inverse);
        Some(block)
    }

    fn tag(&mut self, n: usize) -> Option<&'a TemplateElement> {
        let in_order = n == self.next;
        self.next += 1;
        self.tags.get(n).copied().filter(|_| in_order)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn inliner() -> CSSInliner<'static> {
        CSSInliner::options().keep_style_tags(false).keep_at_rules(true).build()
    }

    /// What the template gives for `context`, inlined beforehand and inlined afterwards.
    fn both_ways(source: &str, context: &Value) -> Option<(String, String)> {
        let mut registry = handlebars::Handlebars::new();
        registry.register_template("before", inlined(&Template::compile(source).unwrap(), &inliner())?);
        let before = registry.render("before", context).unwrap();
        let after = inliner().inline(&registry.render_template(source, context).unwrap()).unwrap();
        Some((inliner().inline(&before).unwrap(), inliner().inline(&after).unwrap()))
    }

    #[test]
    fn a_document_inlined_before_it_has_values_is_the_one_inlined_after() {
        let source = "<html><head><title>{{#if name}}{{name}}{{else}}-{{/if}}</title>\
            <style>td { color: red } .a td { margin: 0 } @media (x) { td { color: blue } }</style></head><body><table class=\"a\">{{#each rows}}<tr>{{#if this}}\
            <td>{{this}} &middot; {{@index}}</td>{{else if @first}}<td>first</td>{{else}}<td>nothing</td>{{/if}}</tr>\
            {{/each}}</table><a href=\"{{link}}\">x</a>{{#unless name}}<td>nobody</td>{{/unless}}</body></html>";
        for context in [
            json!({"name": "A & \"B\" <c>", "rows": [null, "d'e", null], "link": "https://x/?a=1&b=2"}),
            json!({"name": null, "rows": [], "link": null}),
        ] {
            let (before, after) = both_ways(source, &context).unwrap();
            assert_eq!(before, after, "{context}");
            assert!(!before.contains(MASK), "{before}");
        }
    }

    #[test]
    fn what_a_tag_could_change_about_the_styles_is_not_inlined_beforehand() {
        for (why, source) in [
            ("a class that is a value", "<style>p { margin: 0 }</style><p class=\"{{a}}\">x</p>"),
            ("a style that is a value", "<p style=\"color: {{a}}\">x</p>"),
            ("a tag's name", "<{{a}}>x"),
            ("an attribute that comes and goes", "<p {{#if a}}class=\"b\"{{/if}}>x</p>"),
            ("a stylesheet with a value", "<style>p { color: {{a}} }</style>"),
            ("the first of its kind", "<style>p:first-child { margin: 0 }</style>{{#if a}}<p>x</p>{{/if}}<p>y</p>"),
            ("the next of its kind", "<style>@media (x) { p { margin: 0 } } p + p { margin: 0 }</style><p>{{a}}</p>"),
            ("a comment, which the first of our masks ends", "<!-- {{#if a}}x{{/if}} --><p>y</p>"),
            ("our own mask", "<p>auditbellmask0x</p>"),
        ] {
            let registry = handlebars::Handlebars::new();
            let prepared = inlined(&Template::compile(source).unwrap(), &inliner());
            let same = prepared
                .is_some_and(|_| both_ways(source, &json!({"a": "b"})).is_some_and(|(before, after)| before == after));
            assert!(!same, "{why}: {:?}", registry.render_template(source, &json!({"a": "b"})));
        }
    }
}
