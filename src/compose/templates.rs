//! Owns the set of templates: the embedded ones, the files that stand over them, and what they render to.
//!
//! A set that loaded has been checked path by path and rendered with samples ([`proof`]); then a mail can fail only by size.
//! What a record does not say is printed as nothing: handlebars' strict mode is off, because the check knows every path, and no
//! sample every key of a record.

use std::collections::HashMap;
use std::path::Path;

use css_inline::CSSInliner;
use handlebars::{Context, Handlebars, TemplateError, no_escape};
use serde::de::IgnoredAny;
use serde_json::Value;

use super::check::{self, Part};
use super::files::Files;
use super::prepare::{self, Prepared};
use super::{ComposeError, Fault, calls, files, text};
use crate::lookup::Lookups;

mod proof;

/// Templates that a rule may name.
pub const SHIPPED: &[&str] = &[
    "account-at-risk",
    "account-disabled",
    "account-enabled",
    "admin-change",
    "alert",
    "credential-added",
    "credential-removed",
    "default-method-changed",
    "delivery",
    "device-registered",
    "notice",
    "password-change-required",
    "password-changed",
    "password-reset",
    "password-reset-blocked",
    "security-info-changed",
    "security-info-deleted",
    "security-info-registered",
    "strong-authentication-changed",
    "suspicious-activity",
];

/// Templates that the daemon itself chooses. Each can be overridden, none can be named by a rule.
pub const BUILT_IN: &[&str] = &["failed", "fallback", "test", "unresolved"];

/// Gmail cuts a message near 102 KB of HTML; what is cut is the footer that says whom to call.
const MAX_HTML_BYTES: usize = 90 * 1024;
const MAX_SUBJECT: usize = 120;
/// `PagerDuty` takes 512 KB of an event; a notice is no file transfer.
const MAX_BODY_BYTES: usize = 256 * 1024;
/// The folder of what templates share: its `body` is that of every template without one of its own.
pub const LAYOUT: &str = "layout";

macro_rules! embedded {
    ($($path:literal),+ $(,)?) => { &[$(($path, include_str!(concat!("../../templates/", $path, ".hbs")))),+] };
}

/// The embedded files: path below `templates/` without `.hbs`, and text.
pub fn embedded() -> impl Iterator<Item = (&'static str, &'static str)> {
    EMBEDDED.iter().copied()
}

/// Path without `.hbs`, and text.
const EMBEDDED: &[(&str, &str)] = embedded![
    "layout/body",
    "layout/html/frame",
    "layout/html/facts",
    "layout/html/changes",
    "layout/html/advice",
    "layout/text/frame",
    "layout/text/facts",
    "layout/text/changes",
    "layout/text/advice",
    "account-disabled/subject",
    "account-disabled/html",
    "account-disabled/text",
    "account-enabled/subject",
    "account-enabled/html",
    "account-enabled/text",
    "credential-added/subject",
    "credential-added/html",
    "credential-added/text",
    "credential-removed/subject",
    "credential-removed/html",
    "credential-removed/text",
    "default-method-changed/subject",
    "default-method-changed/html",
    "default-method-changed/text",
    "delivery/subject",
    "delivery/html",
    "delivery/text",
    "failed/subject",
    "failed/html",
    "failed/text",
    "fallback/subject",
    "fallback/html",
    "fallback/text",
    "password-changed/subject",
    "password-changed/html",
    "password-changed/text",
    "password-reset/subject",
    "password-reset/html",
    "password-reset/text",
    "security-info-changed/subject",
    "security-info-changed/html",
    "security-info-changed/text",
    "security-info-deleted/subject",
    "security-info-deleted/html",
    "security-info-deleted/text",
    "security-info-registered/subject",
    "security-info-registered/html",
    "security-info-registered/text",
    "strong-authentication-changed/subject",
    "strong-authentication-changed/html",
    "strong-authentication-changed/text",
    "suspicious-activity/subject",
    "suspicious-activity/html",
    "suspicious-activity/text",
    "test/subject",
    "test/html",
    "test/text",
    "unresolved/subject",
    "unresolved/html",
    "unresolved/text",
    "account-at-risk/subject",
    "account-at-risk/html",
    "account-at-risk/text",
    "admin-change/subject",
    "admin-change/html",
    "admin-change/text",
    "alert/subject",
    "alert/html",
    "alert/text",
    "device-registered/subject",
    "device-registered/html",
    "device-registered/text",
    "notice/subject",
    "notice/html",
    "notice/text",
    "password-change-required/subject",
    "password-change-required/html",
    "password-change-required/text",
    "password-reset-blocked/subject",
    "password-reset-blocked/html",
    "password-reset-blocked/text",
];

/// The three parts of a mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// One line, at most 120 characters.
    pub subject: String,
    /// A whole document, styles inline.
    pub html: String,
    /// Complete on its own.
    pub text: String,
}

/// A set of templates that has been checked.
pub struct Templates {
    /// `NAME/html`, and the partials of `layout/html`.
    html: Handlebars<'static>,
    /// `NAME/subject` and `NAME/text`, and the partials of `layout/text`. Nothing is escaped.
    plain: Handlebars<'static>,
    /// `NAME/body`, `layout/body`. What is printed is escaped as the inside of a JSON string.
    bodies: Handlebars<'static>,
    inliner: CSSInliner<'static>,
    /// What makes a mail cheap.
    prepared: Prepared,
    names: Vec<String>,
}

impl std::fmt::Debug for Templates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(&self.names).finish()
    }
}

impl Templates {
    /// The embedded set with the files of `dir` over it, file by file; `unset` are the keys of `[brand]` without a
    /// value, `brand` is the object that samples are rendered with.
    pub fn load(
        dir: Option<&Path>,
        unset: &[&'static str],
        brand: &Value,
        lookups: &Lookups,
    ) -> Result<Self, Vec<Fault>> {
        let mut files = Files::new();
        for (path, text) in EMBEDDED {
            files.insert((*path).to_owned(), (format!("built-in {path}.hbs"), (*text).to_owned()));
        }
        let mut faults = Vec::new();
        if let Some(dir) = dir {
            files::read(dir, &mut files, &mut faults);
        }
        let mut set = Self::parse(&files, unset, lookups, &mut faults);
        if faults.is_empty() {
            set.prove(brand, lookups, &files, &mut faults);
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let samples = proof::samples(brand, lookups);
        set.prepared = prepare::prepare(&mut set.plain, &mut set.html, &set.names, &set.inliner, &samples);
        Ok(set)
    }

    fn parse(files: &Files, unset: &[&'static str], lookups: &Lookups, faults: &mut Vec<Fault>) -> Self {
        let (mut html, mut plain) = (registry(), registry());
        plain.register_escape_fn(no_escape);
        let (mut bodies, mut body_files) = (registry(), HashMap::new());
        bodies.register_escape_fn(calls::escape_json);
        calls::register_raw_json(&mut bodies);
        let (mut html_files, mut plain_files) = (HashMap::new(), HashMap::new());
        let (mut html_partials, mut plain_partials) = (Vec::new(), Vec::new());
        for (path, (file, source)) in files {
            let (name, part) = path.rsplit_once('/').unwrap_or(("", path));
            let (registry, names, registered) = match (name, part) {
                ("layout/html", partial) => (&mut html, &mut html_files, partial),
                ("layout/text", partial) => (&mut plain, &mut plain_files, partial),
                (_, "html") => (&mut html, &mut html_files, path.as_str()),
                (_, "body") => (&mut bodies, &mut body_files, path.as_str()),
                _ => (&mut plain, &mut plain_files, path.as_str()),
            };
            match name {
                "layout/html" => html_partials.push(part.to_owned()),
                "layout/text" => plain_partials.push(part.to_owned()),
                _ => {}
            }
            names.insert(registered.to_owned(), file.clone());
            if let Err(error) = registry.register_template_string(registered, source) {
                faults.push(unreadable(file, &error));
            }
        }
        let names = complete(files, faults);
        let html_rules = check::Rules { registry: &html, partials: &html_partials, unset, lookups, files: &html_files };
        let plain_rules =
            check::Rules { registry: &plain, partials: &plain_partials, unset, lookups, files: &plain_files };
        for name in &names {
            for (rules, part, suffix) in [
                (&plain_rules, Part::Subject, "subject"),
                (&html_rules, Part::Html, "html"),
                (&plain_rules, Part::Text, "text"),
            ] {
                let registered = format!("{name}/{suffix}");
                if let Some(template) = rules.registry.get_template(&registered) {
                    check::check(rules, part, &registered, template, faults);
                }
            }
        }
        let rules = check::Rules { registry: &bodies, partials: &[], unset, lookups, files: &body_files };
        let mut names_of_bodies: Vec<&String> = body_files.keys().collect();
        names_of_bodies.sort();
        for registered in names_of_bodies {
            if let Some(template) = bodies.get_template(registered) {
                check::check(&rules, Part::Body, registered, template, faults);
            }
        }
        Self {
            html,
            plain,
            bodies,
            inliner: inliner(),
            prepared: Prepared { late: names.iter().cloned().collect(), ..Prepared::default() },
            names,
        }
    }

    /// Whether there is a template of this name (a variant's name is `NAME/VARIANT`).
    pub fn has(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }

    /// Whether a template of this name has a body of its own.
    pub fn has_body(&self, name: &str) -> bool {
        self.bodies.has_template(&format!("{name}/body"))
    }

    /// What was done at load.
    #[cfg(test)]
    pub fn prepared(&self) -> &Prepared {
        &self.prepared
    }

    /// What a rule may name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let of_rules = |name: &&str| !name.contains('/') && !BUILT_IN.contains(name);
        self.names.iter().map(String::as_str).filter(of_rules)
    }

    /// The three parts. An error names the template and never a value.
    pub fn render(&self, name: &str, context: Value) -> Result<Rendered, ComposeError> {
        let failed = |part: &'static str| {
            move |error: handlebars::RenderError| ComposeError::Template {
                name: name.to_owned(),
                part,
                line: error.line_no.unwrap_or(0),
            }
        };
        let context = Context::from(context);
        let give = |registry: &Handlebars<'static>, part: &'static str| {
            let registered = format!("{name}/{part}");
            let program = self.prepared.programs.get(&registered).and_then(|program| program.run(context.data()));
            program.map_or_else(|| registry.render_with_context(&registered, &context).map_err(failed(part)), Ok)
        };
        let plain = |part| give(&self.plain, part);
        let subject = text::clean_own(&plain("subject")?.replace("=?", "= ?"), MAX_SUBJECT);
        if subject.is_empty() {
            return Err(ComposeError::Empty { name: name.to_owned(), part: "subject" });
        }
        let text = paragraphs(&plain("text")?);
        let mut html = give(&self.html, "html")?;
        if self.prepared.late.contains(name) {
            html = self.inliner.inline(&html).map_err(|_| ComposeError::Css { name: name.to_owned() })?;
        }
        if html.len() > MAX_HTML_BYTES {
            return Err(ComposeError::TooLarge { name: name.to_owned(), part: "html", bytes: html.len() });
        }
        Ok(Rendered { subject, html, text })
    }

    /// The body of the template `name`: JSON. An error names the template and never a value.
    pub fn render_body(&self, name: &str, context: &Value) -> Result<String, ComposeError> {
        let failed = |error: handlebars::RenderError| ComposeError::Template {
            name: name.to_owned(),
            part: "body",
            line: error.line_no.unwrap_or(0),
        };
        let body = self.bodies.render(&format!("{name}/body"), context).map_err(failed)?;
        if body.len() > MAX_BODY_BYTES {
            return Err(ComposeError::TooLarge { name: name.to_owned(), part: "body", bytes: body.len() });
        }
        serde_json::from_str::<IgnoredAny>(&body)
            .map_err(|error| ComposeError::NotJson { name: name.to_owned(), line: error.line() })?;
        Ok(body)
    }
}

fn registry() -> Handlebars<'static> {
    let mut registry = Handlebars::new();
    calls::register(&mut registry);
    registry
}

/// No stylesheet is ever fetched; media queries stay for the clients that know them.
fn inliner() -> CSSInliner<'static> {
    CSSInliner::options().load_remote_stylesheets(false).keep_style_tags(false).keep_at_rules(true).build()
}

fn unreadable(file: &str, error: &TemplateError) -> Fault {
    let (line, _) = error.pos().unwrap_or((1, 0));
    Fault { file: file.to_owned(), line: Some(line), message: format!("no Handlebars template: {}", error.reason()) }
}

/// Names of the templates of mails, each with its three parts; a missing part is a fault. One that has a body and no part
/// of a mail is for rooms alone.
fn complete(files: &Files, faults: &mut Vec<Fault>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (path, (file, _)) in files {
        let of_a_mail = |(name, part): &(&str, &str)| !name.starts_with("layout/") && *part != "body";
        let Some((name, _)) = path.rsplit_once('/').filter(of_a_mail) else { continue };
        if names.last().is_some_and(|last| last == name) {
            continue;
        }
        for part in ["subject", "html", "text"] {
            if !files.contains_key(&format!("{name}/{part}")) {
                let message =
                    format!("template `{name}` has no {part}.hbs; a mail needs subject.hbs, html.hbs and text.hbs");
                faults.push(Fault { file: file.clone(), line: None, message });
            }
        }
        names.push(name.to_owned());
    }
    names
}

/// No space at the end of a line, no two empty lines in a row, one line end at the end.
fn paragraphs(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.lines().map(str::trim_end) {
        if !line.is_empty() || !(out.is_empty() || out.ends_with("\n\n")) {
            out.push_str(line);
            out.push('\n');
        }
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}
