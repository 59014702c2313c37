//! Owns what a template can call. Pure functions of their arguments; `date` also asks for the reader's zone.

use handlebars::{
    Context, Handlebars, Helper, HelperDef, HelperResult, Output, RenderContext, RenderError, RenderErrorReason,
    ScopedJson,
};
use serde_json::Value;

use super::{text, words};
use crate::record::path::Path;

/// One helper: its name, how many arguments it takes, and what it does with them.
pub struct Known {
    /// As templates write it.
    pub name: &'static str,
    /// Fewest and most arguments.
    pub arguments: (usize, usize),
    /// The result is text, and of others where an argument is. `false`: a number or a yes or no.
    pub text: bool,
    run: Run,
}

/// What stands behind a helper.
#[derive(Clone, Copy)]
enum Run {
    /// handlebars' own.
    BuiltIn,
    /// Of its arguments alone.
    Plain(fn(&[&Value]) -> Value),
    /// Looks at the context, or refuses an argument.
    Checked(fn(&[&Value], &Value) -> Result<Value, String>),
}

impl Known {
    /// Whether [`Self::run`] can do it; else it is handlebars' own.
    pub fn is_ours(&self) -> bool {
        !matches!(self.run, Run::BuiltIn)
    }

    /// What the helper gives for `arguments` in `context`.
    pub fn run(&self, arguments: &[&Value], context: &Value) -> Result<Value, String> {
        self.run.run(arguments, context)
    }
}

impl Run {
    fn run(self, arguments: &[&Value], context: &Value) -> Result<Value, String> {
        match self {
            Self::BuiltIn => Err("this helper is handlebars' own".to_owned()),
            Self::Plain(run) => Ok(run(arguments)),
            Self::Checked(run) => run(arguments, context),
        }
    }
}

/// Every helper that is no block.
pub const ALL: &[Known] = &[
    Known { name: "date", arguments: (1, 2), text: true, run: Run::Checked(date) },
    Known { name: "default", arguments: (2, 2), text: true, run: Run::Plain(default) },
    Known { name: "mask", arguments: (1, 1), text: true, run: Run::Plain(mask) },
    Known { name: "join", arguments: (2, 2), text: true, run: Run::Plain(join) },
    Known { name: "url", arguments: (1, 1), text: true, run: Run::Plain(url) },
    Known { name: "json", arguments: (1, 1), text: true, run: Run::Plain(json) },
    Known { name: "value", arguments: (1, 1), text: true, run: Run::Plain(value) },
    Known { name: "label", arguments: (1, 1), text: true, run: Run::Plain(label) },
    Known { name: "added", arguments: (2, 2), text: true, run: Run::Plain(added) },
    Known { name: "removed", arguments: (2, 2), text: true, run: Run::Plain(removed) },
    Known { name: "first", arguments: (2, 2), text: true, run: Run::Plain(first) },
    Known { name: "minus", arguments: (2, 2), text: false, run: Run::Plain(minus) },
    Known { name: "len", arguments: (1, 1), text: false, run: Run::BuiltIn },
    Known { name: "eq", arguments: (2, 2), text: false, run: Run::BuiltIn },
    Known { name: "ne", arguments: (2, 2), text: false, run: Run::BuiltIn },
    Known { name: "gt", arguments: (2, 2), text: false, run: Run::BuiltIn },
    Known { name: "gte", arguments: (2, 2), text: false, run: Run::BuiltIn },
    Known { name: "lt", arguments: (2, 2), text: false, run: Run::BuiltIn },
    Known { name: "lte", arguments: (2, 2), text: false, run: Run::BuiltIn },
    Known { name: "and", arguments: (2, 8), text: false, run: Run::BuiltIn },
    Known { name: "or", arguments: (2, 8), text: false, run: Run::BuiltIn },
    Known { name: "not", arguments: (1, 1), text: false, run: Run::BuiltIn },
];

/// Makes our helpers known to a registry.
pub fn register(registry: &mut Handlebars<'_>) {
    for known in ALL {
        if !matches!(known.run, Run::BuiltIn) {
            registry.register_helper(known.name, Box::new(Call(known.run)));
        }
    }
}

/// What stands inside the quotes of a JSON string (RFC 8259 7).
pub fn escape_json(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or_default().to_owned()
}

/// In a body `{{json …}}` is a value, not the inside of a string: it is printed as it is.
pub fn register_raw_json(registry: &mut Handlebars<'_>) {
    registry.register_helper("json", Box::new(RawJson));
}

struct RawJson;

impl HelperDef for RawJson {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        Ok(out.write(&helper.param(0).map_or(&Value::Null, handlebars::PathAndJson::value).to_string())?)
    }
}

/// Whether `text` may stand in a link: `http`, `https` or `mailto`, and nothing that could leave an attribute.
pub fn is_link(text: &str) -> bool {
    let plain = !text.chars().any(|c| c.is_whitespace() || c.is_control() || matches!(c, '"' | '\'' | '<' | '>' | '`'));
    plain && url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https" | "mailto"))
}

struct Call(Run);

impl HelperDef for Call {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        context: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        let arguments: Vec<&Value> = helper.params().iter().map(handlebars::PathAndJson::value).collect();
        let given = self.0.run(&arguments, context.data());
        given.map(ScopedJson::Derived).map_err(|fault| RenderErrorReason::Other(fault).into())
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => String::new(),
        other => other.to_string(),
    }
}

/// Whether there is nothing to print.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// Refuses what is no pattern of strftime.
pub fn pattern(pattern: &str) -> Result<(), String> {
    write(pattern, &jiff::Timestamp::UNIX_EPOCH.to_zoned(jiff::tz::TimeZone::UTC)).map(drop)
}

fn write(pattern: &str, at: &jiff::Zoned) -> Result<String, String> {
    jiff::fmt::strtime::format(pattern, at)
        .map_err(|_| "date: no such pattern; write one of strftime, e.g. \"%H:%M\"".to_owned())
}

/// The moment in the reader's zone, UTC beside it; or after a strftime pattern in the reader's zone. Text that is no moment is
/// given as it is: what stands in a record's details no check of a template can know, and no notice waits for it.
fn date(arguments: &[&Value], context: &Value) -> Result<Value, String> {
    let [time, pattern @ ..] = arguments else { return Err("date: no time".into()) };
    let Value::String(time) = time else { return Ok(Value::Null) };
    let Ok(utc) = time.parse::<jiff::Timestamp>() else { return Ok(time.clone().into()) };
    let utc = utc.to_zoned(jiff::tz::TimeZone::UTC);
    let zone = context.pointer("/recipient/time_zone").and_then(Value::as_str);
    let here = zone.and_then(|zone| utc.in_tz(zone).ok()).unwrap_or_else(|| utc.clone());
    if let [Value::String(pattern)] = pattern {
        return write(pattern, &here).map(Value::String);
    }
    if here.offset() == utc.offset() {
        return write("%-d %B %Y, %H:%M UTC", &utc).map(Value::String);
    }
    let beside = if here.date() == utc.date() { "%H:%M UTC" } else { "%-d %B, %H:%M UTC" };
    Ok(format!("{} ({})", write("%-d %B %Y, %H:%M %Z", &here)?, write(beside, &utc)?).into())
}

fn default(arguments: &[&Value]) -> Value {
    let given = arguments.iter().find(|value| !is_empty(value));
    given.map_or(Value::Null, |value| (*value).clone())
}

fn mask(arguments: &[&Value]) -> Value {
    arguments.first().map(|value| words::mask(&text(value))).into()
}

fn join(arguments: &[&Value]) -> Value {
    let [Value::Array(items), Value::String(between)] = arguments else { return Value::Null };
    items.iter().map(words::value).collect::<Vec<_>>().join(between).into()
}

/// The link. Any other text as it is, as [`date`] does; what could be opened in another way has its colon broken.
fn url(arguments: &[&Value]) -> Value {
    let [given] = arguments else { return Value::Null };
    let given = text(given);
    if !is_link(&given) && url::Url::parse(&given).is_ok() {
        return given.replacen(':', "[:]", 1).into();
    }
    given.into()
}

fn json(arguments: &[&Value]) -> Value {
    arguments.first().map(ToString::to_string).into()
}

fn value(arguments: &[&Value]) -> Value {
    arguments.first().map(|value| words::value(value)).into()
}

fn label(arguments: &[&Value]) -> Value {
    arguments.first().map(|name| words::label(&text(name)).to_owned()).into()
}

fn added(arguments: &[&Value]) -> Value {
    let [old, new] = arguments else { return Value::Null };
    words::beyond(new, old).into()
}

fn removed(arguments: &[&Value]) -> Value {
    let [old, new] = arguments else { return Value::Null };
    words::beyond(old, new).into()
}

/// The first element of a list that has something at a path: `first records "actor.ip"`, a name with dots in quotes:
/// `first records 'details."k.dot"'`.
fn first(arguments: &[&Value]) -> Value {
    let [Value::Array(items), Value::String(path)] = arguments else { return Value::Null };
    let Ok(path) = Path::parse(path) else { return Value::Null };
    let at_path = |item| path.names().iter().try_fold(item, |item, name| below(item, name));
    let mut found = items.iter().filter_map(at_path);
    found.find(|found| !is_empty(found)).cloned().unwrap_or(Value::Null)
}

/// Keys of details are a record's, and what looks like a domain in them is broken in mails.
fn below<'v>(item: &'v Value, name: &str) -> Option<&'v Value> {
    item.get(name).or_else(|| item.get(text::clean(name, text::SHORT)))
}

fn minus(arguments: &[&Value]) -> Value {
    let [left, right] = arguments else { return Value::Null };
    (left.as_i64().unwrap_or(0) - right.as_i64().unwrap_or(0)).into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn render(template: &str, context: &Value) -> Result<String, RenderError> {
        let mut registry = Handlebars::new();
        register(&mut registry);
        registry.render_template(template, context)
    }

    #[test]
    fn a_time_is_told_in_the_readers_zone_with_utc_beside() {
        for (why, zone, time, expected) in [
            (
                "the zone's own time first",
                json!("Europe/Berlin"),
                "2026-01-22T18:15:02.387Z",
                "22 January 2026, 19:15 CET (18:15 UTC)",
            ),
            ("summer time", json!("Europe/Berlin"), "2026-07-01T10:00:00Z", "1 July 2026, 12:00 CEST (10:00 UTC)"),
            (
                "another day there",
                json!("Asia/Tokyo"),
                "2026-01-22T18:15:02Z",
                "23 January 2026, 03:15 JST (22 January, 18:15 UTC)",
            ),
            ("no zone", json!(null), "2026-01-22T18:15:02Z", "22 January 2026, 18:15 UTC"),
        ] {
            let context = json!({"recipient": {"time_zone": zone}, "time": time});
            assert_eq!(render("{{date time}}", &context).unwrap(), expected, "{why}");
        }
        let context = json!({"recipient": {"time_zone": "Asia/Tokyo"}, "time": "2026-01-22T18:15:02Z"});
        assert_eq!(render("{{date time '%H:%M'}}", &context).unwrap(), "03:15");
        let other = json!({"time": "yesterday"});
        assert_eq!(render("{{date time}} {{date time '%H:%M'}} {{date no}}", &other).unwrap(), "yesterday yesterday ");
    }

    #[test]
    fn what_a_helper_gives_is_escaped() {
        let context = json!({"list": ["<b>", 1], "records": [{"ip": null}, {"ip": "<i>"}]});
        assert_eq!(render("{{join list ', '}}", &context).unwrap(), "&lt;b&gt;, 1");
        assert_eq!(render("{{first records 'ip'}}", &context).unwrap(), "&lt;i&gt;");
        let dots = json!({"records": [{"details": {}}, {"details": {"k.dot": "found"}}]});
        assert_eq!(render("{{first records 'details.\"k.dot\"'}}", &dots).unwrap(), "found");
        let broken = json!({"records": [{"details": {text::clean("evil.com", text::SHORT): "found"}}]});
        assert_eq!(render("{{first records 'details.\"evil.com\"'}}", &broken).unwrap(), "found");
        assert_eq!(render("{{#with records.[1]}}{{details.[k.dot]}}{{/with}}", &dots).unwrap(), "found");
        assert_eq!(render("{{json list}}", &context).unwrap(), "[&quot;&lt;b&gt;&quot;,1]");
    }

    #[test]
    fn only_three_schemes_make_a_link() {
        for (link, printed) in [
            ("https://bell.example.com/report?x=1", "https://bell.example.com/report?x&#x3D;1"),
            ("mailto:soc@example.com", "mailto:soc@example.com"),
            ("javascript:alert(1)", "javascript[:]alert(1)"),
            (" java\nscript:alert(1)", " java\nscript[:]alert(1)"),
            ("data:text/html,x", "data[:]text/html,x"),
            ("https://x/\" onclick=\"", "https[:]//x/&quot; onclick&#x3D;&quot;"),
            ("hxxps://evil[.]example", "hxxps://evil[.]example"),
            ("/relative", "/relative"),
        ] {
            assert_eq!(render("{{url link}}", &json!({"link": link})).unwrap(), printed);
        }
        assert_eq!(render("{{url link}}", &json!({})).unwrap(), "", "a record says what it says");
    }
}
