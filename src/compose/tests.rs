//! What is refused before any mail is made: templates, brand and logo.

use crate::lookup::Lookups;
use std::fs;

use super::*;

fn brand() -> Brand {
    Brand {
        name: Some("Example Security".into()),
        security_contact: Some("security desk, extension 4711".into()),
        ..Brand::default()
    }
}

/// Loads with one file over the embedded set; the faults as text.
fn faults_with(path: &str, text: &str) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(path);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, text).unwrap();
    let faults = Composer::load(Some(dir.path()), &brand(), &Lookups::default()).err().unwrap_or_default();
    let under = format!("{}/", dir.path().display());
    faults.iter().map(|fault| fault.to_string().replace(&under, "")).collect()
}

#[test]
fn the_embedded_templates_load_with_and_without_the_optional_brand() {
    let composer = Composer::load(None, &brand(), &Lookups::default()).unwrap_or_else(|faults| panic!("{faults:#?}"));
    let mut names = composer.names();
    names.sort_unstable();
    assert_eq!(names, templates::SHIPPED);
    let link = || Some("https://bell.example.com/".to_owned());
    let full = Brand {
        address: Some("1 Example St".into()),
        helpdesk_url: link(),
        report_url: link(),
        review_url: link(),
        ..brand()
    };
    for brand in [&brand(), &full] {
        let composer = Composer::load(None, brand, &Lookups::default()).unwrap_or_else(|faults| panic!("{faults:#?}"));
        let prepared = composer.templates.prepared();
        assert!(prepared.late.is_empty(), "styles are inlined at load: {:?}", prepared.late);
        let parts = 3 * (templates::SHIPPED.len() + templates::BUILT_IN.len());
        assert_eq!(prepared.programs.len(), parts, "{:?}", prepared.programs.keys());
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn what_is_wrong_with_a_template_is_found_before_any_mail() {
    for (why, path, text, expected) in [
        (
            "printed without escaping",
            "test/html.hbs",
            "<p>\n{{{severity}}}</p>",
            "test/html.hbs:2: {{{…}}} and {{&…}} print without",
        ),
        ("the other way to do it", "test/html.hbs", "{{&severity}}", "test/html.hbs:1: {{{…}}} and {{&…}}"),
        (
            "a misspelt path",
            "test/text.hbs",
            "{{recipient.nmae}}",
            "test/text.hbs:1: nothing is called `nmae` here; did you mean `name`?",
        ),
        (
            "a misspelt path in a condition",
            "test/text.hbs",
            "a\n\n{{#if recipient.nmae}}x{{/if}}",
            "test/text.hbs:3: nothing is called `nmae`",
        ),
        (
            "a misspelt path in a helper's argument",
            "test/text.hbs",
            "{{default recipient.nam 'x'}}",
            "did you mean `name`?",
        ),
        (
            "a misspelt path in an inner helper",
            "test/text.hbs",
            "{{#if (eq (len record) 1)}}x{{/if}}",
            "did you mean `records`?",
        ),
        (
            "a misspelt path behind a block parameter",
            "test/text.hbs",
            "{{#each records as |r|}}{{r.tme}}{{/each}}",
            "did you mean `time`?",
        ),
        (
            "a misspelt path in an else-if",
            "test/text.hbs",
            "{{#if count}}a{{else if cuont}}b{{/if}}",
            "did you mean `count`?",
        ),
        ("a misspelt path in quotes", "test/text.hbs", "{{first records 'actor.ipp'}}", "did you mean `ip`?"),
        (
            "no path in quotes",
            "test/text.hbs",
            "{{first records 'actor..ip'}}",
            "`actor..ip` is no path: a name between",
        ),
        ("an unknown helper", "test/text.hbs", "{{dat severity}}", "no helper `dat`; did you mean `date`?"),
        ("a helper that handlebars has and we do not", "test/text.hbs", "{{log severity}}", "no helper `log`"),
        ("a helper without arguments", "test/text.hbs", "{{date}}", "helper `date` takes 1 to 2 arguments"),
        ("an unknown block", "test/text.hbs", "{{#foreach records}}x{{/foreach}}", "no block `{{#foreach}}`"),
        ("a raw block", "test/text.hbs", "{{{{raw}}}}{{x}}{{{{/raw}}}}", "`{{#raw}}` takes one argument"),
        ("an unknown partial", "test/text.hbs", "{{> fact}}", "no partial `fact`; did you mean `facts`?"),
        (
            "a partial that includes itself",
            "layout/text/facts.hbs",
            "{{> facts}}",
            "layout/text/facts.hbs:1: partial `facts` includes itself",
        ),
        (
            "a block's place without a block",
            "layout/text/facts.hbs",
            "{{> @partial-block}}",
            "@partial-block stands only in",
        ),
        (
            "a brand value that nobody set",
            "test/text.hbs",
            "{{brand.report_url}}",
            "test/text.hbs:1: brand.report_url has no value: set it under [brand]",
        ),
        (
            "text of a record in a subject",
            "test/subject.hbs",
            "{{#each records}}{{operation}}{{/each}}",
            "test/subject.hbs:1: text from a record may not stand in a subject",
        ),
        (
            "text of a record in a subject, through a helper",
            "test/subject.hbs",
            "{{first records 'operation'}}",
            "may not stand in a subject",
        ),
        (
            "text of a record inside a tag",
            "test/html.hbs",
            "{{#each records}}<a href=\"{{operation}}\">x</a>{{/each}}",
            "may not stand inside a tag",
        ),
        ("a list where text should be", "test/text.hbs", "{{records}}", "this is no text"),
        (
            "a changed value without words",
            "test/text.hbs",
            "{{#each records}}{{#each changes}}{{old}}{{/each}}{{/each}}",
            "is printed by {{value …}}",
        ),
        ("a path upwards", "test/text.hbs", "{{#each records}}{{../count}}{{/each}}", "write `@root.…`"),
        ("no template at all", "test/text.hbs", "a\n{{#if count}}", "test/text.hbs:"),
        ("a part is missing", "my-own/html.hbs", "x", "my-own/html.hbs: template `my-own` has no subject.hbs"),
        (
            "a file that is no template's",
            "password-reset/html.hbs.bak",
            "x",
            "`password-reset/html.hbs.bak` is no template's file",
        ),
        (
            "a misspelt path in a body",
            "test/body.hbs",
            "{\"a\": \"{{rule.descripton}}\"}",
            "did you mean `description`?",
        ),
        (
            "a body that is no JSON",
            "password-reset/body.hbs",
            "{\n\"a\": {{severity}}}",
            "password-reset/body.hbs: is no JSON with every value in the record (line 2 of what it gives): a text outside quotes",
        ),
        (
            "a body that is JSON only where a value is there",
            "layout/body.hbs",
            "{\"a\": {{records.[0].by_self}}}",
            "layout/body.hbs: is no JSON with no value in the record",
        ),
        (
            "a body that is JSON only where a record is there",
            "layout/body.hbs",
            "{{#each records}}{{#if @first}}1{{/if}}{{/each}}",
            "layout/body.hbs: is no JSON with no record",
        ),
        ("a value as text in quotes of its own", "test/body.hbs", "{\"a\": \"{{json severity}}\"}", "is no JSON"),
        ("printed without escaping, in a body", "test/body.hbs", "\"{{{severity}}}\"", "print without escaping"),
        ("a misspelt part", "password-reset/txt.hbs", "x", "`password-reset/txt.hbs` is no template's file"),
        (
            "a subject that is empty",
            "test/subject.hbs",
            "{{#if recipient.name}}x{{/if}}",
            "test/subject.hbs: is empty with no value in the record: write words that are always there",
        ),
        (
            "a helper that is given what it cannot take",
            "test/text.hbs",
            "a\n{{#each records}}{{date time (value '%!')}}{{/each}}",
            "test/text.hbs:2: cannot be rendered with every value in the record: date: no such pattern; write one of",
        ),
        (
            "no pattern of a date, where no sample comes",
            "test/text.hbs",
            "{{#each records}}\n{{#if details.end}}{{date details.end '%!'}}{{/if}}{{/each}}",
            "test/text.hbs:2: date: no such pattern; write one of strftime",
        ),
        (
            "the same in a partial",
            "layout/html/facts.hbs",
            "\n\n{{#each records}}{{date time (value '%!')}}{{/each}}",
            "layout/html/facts.hbs:3: cannot be rendered with every value in the record: date: no such pattern",
        ),
        (
            "a name of an element outside of a loop",
            "test/text.hbs",
            "{{@index}}",
            "test/text.hbs:1: `@index` is known only right inside {{#each}}",
        ),
        (
            "a key in quotes within its brackets",
            "test/text.hbs",
            "{{#each records}}{{details.[\"IP address\"]}}{{/each}}",
            "test/text.hbs:1: `\"IP address\"` stands in quotes within its brackets",
        ),
        (
            "a key that a mail has in another form",
            "test/text.hbs",
            "{{#each records}}{{details.[k.dot]}}{{/each}}",
            "test/text.hbs:1: `k.dot` is written otherwise in a mail",
        ),
    ] {
        let faults = faults_with(path, text);
        assert!(faults.iter().any(|fault| fault.contains(expected)), "{why}: {faults:#?}");
    }
}

/// Rendered, they would overflow the stack and abort the process.
#[test]
fn two_partials_that_include_each_other_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("layout/html")).unwrap();
    fs::write(dir.path().join("layout/html/facts.hbs"), "{{> changes}}").unwrap();
    fs::write(dir.path().join("layout/html/changes.hbs"), "\n{{> facts}}").unwrap();
    let faults = Composer::load(Some(dir.path()), &brand(), &Lookups::default()).unwrap_err();
    let cycle = |fault: &&Fault| fault.file.ends_with("changes.hbs") && fault.line == Some(2);
    let message = &faults.iter().find(cycle).unwrap().message;
    assert_eq!(message, "partial `facts` includes itself, directly or through another");
}

#[test]
fn guarded_brand_values_and_own_templates_are_welcome() {
    for (path, text) in [
        ("test/text.hbs", "{{#if brand.report_url}}{{brand.report_url}}{{/if}}x"),
        ("test/text.hbs", "{{#each records as |r|}}{{r.operation}} {{@index}} {{@root.brand.name}}{{/each}}{{count}}"),
        ("test/subject.hbs", "{{rule.description}}"),
        ("test/subject.hbs", "{{severity}}"),
        ("test/subject.hbs", "{{#if count}}{{severity}} {{rule.description}} {{count}}{{else}}nothing{{/if}}"),
        ("test/text.hbs", "{{#each records}}{{details.AuthenticationMethod}}{{details.[Client IP address]}}{{/each}}x"),
        ("test/text.hbs", "{{#each records as |r|}}{{r.details.countryOrRegion}}{{r.changes.[7].name}}{{/each}}x"),
        ("test/text.hbs", "{{default records.[0].details.riskScore 'x'}}{{records.[4].details.[a b]}}"),
        ("test/text.hbs", "{{first records 'details.\"k.dot\"'}}x"),
        ("password-reset/body.hbs", "{\"a\": {{count}}, \"b\": \"{{#each records}}{{details.[k.dot]}}{{/each}}\"}"),
        ("password-reset/unresolved/subject.hbs", "x"),
        ("password-reset/body.hbs", "{\"a\": \"<{{rule.id}}>\", \"b\": {{json records}}}"),
        ("password-reset/failed/body.hbs", "[{{#each records}}{{json id}}{{#unless @last}},{{/unless}}{{/each}}]"),
        ("for-rooms/body.hbs", "\"{{count}} {{date message.time}}\""),
    ] {
        let faults: Vec<_> = faults_with(path, text).into_iter().filter(|fault| !fault.contains("has no")).collect();
        assert!(faults.is_empty(), "{path}: {faults:#?}");
    }
}

#[test]
fn a_brand_says_who_writes_and_links_only_to_pages_and_mail() {
    let faults = Composer::load(
        None,
        &Brand { report_url: Some("javascript:alert(1)".into()), ..Brand::default() },
        &Lookups::default(),
    );
    let faults = faults.unwrap_err().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    for expected in ["brand.name is missing", "brand.security_contact is missing", "brand.report_url is no link"] {
        assert!(faults.contains(expected), "{faults}");
    }
}

#[test]
fn the_logo_is_a_small_png_or_jpeg() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("logo");
    for (why, bytes, good) in [
        ("PNG", b"\x89PNG\r\n\x1a\n".to_vec(), true),
        ("JPEG", b"\xff\xd8\xff\xe0".to_vec(), true),
        ("SVG", b"<svg>".to_vec(), false),
        ("too long", [b"\x89PNG".as_slice(), &vec![0; 70_000]].concat(), false),
    ] {
        fs::write(&path, bytes).unwrap();
        let loaded = Composer::load(None, &Brand { logo_file: Some(path.clone()), ..brand() }, &Lookups::default());
        assert_eq!(loaded.is_ok(), good, "{why}: {loaded:?}");
    }
}
