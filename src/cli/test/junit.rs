//! Owns the results as JUnit XML, the form that build servers read: a suite for each file, a case for each test.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{Outcome, Run};

/// The document.
pub(super) fn report(runs: &[Run]) -> String {
    let mut suites: BTreeMap<&str, Vec<&Run>> = BTreeMap::new();
    for run in runs {
        suites.entry(&run.file).or_default().push(run);
    }
    let mut xml =
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"auditbell\" {}>\n", counts(runs));
    for (file, runs) in suites {
        let counts = counts(runs.iter().copied());
        line(&mut xml, format_args!("  <testsuite name=\"{}\" {counts}>", escaped(file)));
        for run in runs {
            case(&mut xml, run);
        }
        line(&mut xml, format_args!("  </testsuite>"));
    }
    line(&mut xml, format_args!("</testsuites>"));
    xml
}

fn case(xml: &mut String, run: &Run) {
    let at = run.line.map_or_else(String::new, |line| format!(" line=\"{line}\""));
    let (rule, name, file) = (escaped(&run.rule), escaped(&run.name), escaped(&run.file));
    let open = format!("    <testcase classname=\"{rule}\" name=\"{name}\" file=\"{file}\"{at}");
    match run.outcome {
        Outcome::Passed => line(xml, format_args!("{open}/>")),
        Outcome::Skipped => {
            let why = escaped(&run.differences.join("\n"));
            line(xml, format_args!("{open}><skipped message=\"{why}\"/></testcase>"));
        }
        Outcome::Failed => {
            let first = run.differences.first().map(|first| escaped(first)).unwrap_or_default();
            let all = escaped(&run.differences.join("\n"));
            line(xml, format_args!("{open}><failure message=\"{first}\">{all}</failure></testcase>"));
        }
    }
}

fn counts<'a>(runs: impl IntoIterator<Item = &'a Run>) -> String {
    let (mut tests, mut failures, mut skipped) = (0, 0, 0);
    for run in runs {
        tests += 1;
        failures += i32::from(run.outcome == Outcome::Failed);
        skipped += i32::from(run.outcome == Outcome::Skipped);
    }
    format!("tests=\"{tests}\" failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\"")
}

fn line(xml: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(xml, "{text}");
}

/// As an attribute or as text. What XML 1.0 cannot hold becomes U+FFFD.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' | '\r' => {
                // A parser makes a space of a bare one in an attribute.
                let _ = write!(escaped, "&#{};", u32::from(c));
            }
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_stay_inside_their_attributes() {
        let run = Run {
            file: "a&b.toml".into(),
            line: Some(3),
            rule: "r".into(),
            name: "\"><evil> \u{1}\n&amp;".into(),
            outcome: Outcome::Failed,
            differences: vec!["wanted \"<a>\"".into(), "got ]]>".into()],
        };
        let xml = report(&[run]);
        assert!(
            xml.contains("<testsuite name=\"a&amp;b.toml\" tests=\"1\" failures=\"1\" errors=\"0\" skipped=\"0\">"),
            "{xml}"
        );
        assert!(
            xml.contains("name=\"&quot;&gt;&lt;evil&gt; \u{fffd}&#10;&amp;amp;\" file=\"a&amp;b.toml\" line=\"3\""),
            "{xml}"
        );
        assert!(xml.contains(">wanted &quot;&lt;a&gt;&quot;&#10;got ]]&gt;</failure>"), "{xml}");
    }
}
