//! Owns the proof of a set of templates: every one is rendered with samples before any mail is made of it.

use handlebars::RenderError;
use serde_json::Value;

use super::Templates;
use crate::compose::files::Files;
use crate::compose::schema::{self, Sample};
use crate::compose::{ComposeError, Fault};
use crate::lookup::Lookups;

impl Templates {
    /// The first fault of each template and of each body, where it cannot be rendered with a sample.
    pub(super) fn prove(&self, brand: &Value, lookups: &Lookups, files: &Files, faults: &mut Vec<Fault>) {
        let samples = Sample::ALL.map(|sample| (sample, schema::sample(sample, brand, lookups)));
        let first = |render: &dyn Fn(&Value) -> Option<ComposeError>| {
            let mut failed = samples.iter().filter_map(|(sample, context)| Some((*sample, context, render(context)?)));
            failed.next().map(|(sample, context, error)| self.fault(error, said(sample), context, files))
        };
        faults.extend(self.names.iter().filter_map(|name| first(&|context| self.render(name, context.clone()).err())));
        let bodies = self.bodies_in_order();
        faults.extend(bodies.iter().filter_map(|name| first(&|context| self.render_body(name, context).err())));
    }

    /// What `error` says of a sample, at the file where it happened.
    fn fault(&self, error: ComposeError, with: &str, context: &Value, files: &Files) -> Fault {
        let file = |path: &str| files.get(path).map_or_else(|| format!("{path}.hbs"), |(file, _)| file.clone());
        let at = |name: &str, part: &str, message| Fault { file: file(&format!("{name}/{part}")), line: None, message };
        match error {
            ComposeError::Template { name, part, .. } => match self.cause(&name, part, context) {
                Some(error) => Fault {
                    file: file(&place(&error, &name, part)),
                    line: error.line_no,
                    message: format!("cannot be rendered with {with}: {}", error.reason()),
                },
                None => at(&name, part, format!("cannot be rendered with {with}: take out the last change")),
            },
            ComposeError::Empty { name, part } => {
                let remedy = "write words that are always there, e.g. {{rule.description}}";
                at(&name, part, format!("is empty with {with}: {remedy}"))
            }
            ComposeError::NotJson { name, line } => {
                let remedy = "a text outside quotes and a value that may be missing are written {{json …}}";
                at(&name, "body", format!("is no JSON with {with} (line {line} of what it gives): {remedy}"))
            }
            ComposeError::TooLarge { name, part, bytes } => {
                at(&name, part, format!("gives {bytes} bytes with {with}, which are too many: shorten it"))
            }
            ComposeError::Css { name } => {
                at(&name, "html", "has styles that cannot be inlined: correct them".to_owned())
            }
            ComposeError::Address => at("layout", "body", error.to_string()),
        }
    }

    /// Why a part cannot be rendered. Of samples alone: the words may hold a value.
    fn cause(&self, name: &str, part: &str, context: &Value) -> Option<RenderError> {
        let registry = match part {
            "html" => &self.html,
            "body" => &self.bodies,
            _ => &self.plain,
        };
        registry.render(&format!("{name}/{part}"), context).err()
    }

    /// Names of the templates with a body, the layout's included.
    fn bodies_in_order(&self) -> Vec<String> {
        let registered = self.bodies.get_templates().keys();
        let mut names: Vec<String> =
            registered.filter_map(|name| Some(name.strip_suffix("/body")?.to_owned())).collect();
        names.sort();
        names
    }
}

/// The path of the file in which it happened: that of the template, or of a partial that it includes.
fn place(error: &RenderError, name: &str, part: &str) -> String {
    match error.template_name.as_deref() {
        Some(partial) if !partial.contains('/') => {
            format!("layout/{}/{partial}", if part == "html" { "html" } else { "text" })
        }
        _ => format!("{name}/{part}"),
    }
}

/// What a sample is, after "with".
const fn said(sample: Sample) -> &'static str {
    match sample {
        Sample::Full => "every value in the record",
        Sample::Silent => "no value in the record",
        Sample::Empty => "no record",
    }
}

/// Contexts on which a prepared template must agree with the written one: those of the proof, and characters that HTML writes
/// in several ways.
pub(super) fn samples(brand: &Value, lookups: &Lookups) -> Vec<Value> {
    let mut samples = Sample::ALL.map(|sample| schema::sample(sample, brand, lookups)).to_vec();
    let awkward = |full: &Value| full.to_string().replace("\"sample\"", r#""<a href='b'>&amp; \"c\" \u00a0d""#);
    let awkward = samples.first().and_then(|full| serde_json::from_str::<Value>(&awkward(full)).ok());
    samples.extend(awkward);
    for sample in &mut samples {
        sample["brand"] = brand.clone();
    }
    samples
}
