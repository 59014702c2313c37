//! Rule files as people write them, rightly and wrongly.

use super::*;
use crate::clock::Timestamp;
use crate::record::Severity;
use crate::rules::{Condition, To};

mod scope;
mod words;

pub(crate) use scope::lookups;
use scope::{BRAKE, always, scope};

/// The rule, or its faults as `the text at fault | key | message`.
pub(crate) fn read(text: &str) -> Result<Rule, Vec<String>> {
    let table = DeTable::parse(text).unwrap();
    let mut faults = Vec::new();
    let scope = scope();
    let rule = rule(table.get_ref(), 0..text.len(), &scope, &mut |span, key, message| {
        let at = if span == (0..text.len()) { "(the rule)" } else { &text[span] };
        faults.push(format!("{at} | {key} | {message}"));
    });
    assert_eq!(rule.is_none(), !faults.is_empty(), "a rule or its faults, never both: {faults:?}");
    rule.ok_or(faults)
}

const WHOLE: &str = r#"
id = "password-reset"
description = "Somebody reset a user's password"
enabled = true
on = ["entra.audit", "other"]
when = { operation = ["Reset user password", "Reset password (by admin)"], actor.type = "user", "target.type" = "user" }
unless = { by_self = true, details = { code = 50053, "User-Agent" = "x" } }
to = ["target", "actor", "list:soc", "gil@example.com"]
except = "actor"
channels = ["email", "second"]
template = "password-reset"
severity = "high"
mode = "shadow"
max_age = "12h"
policy = "personal"
owner = "identity team"
expires = 2027-01-31
each = "targets"
once_per = ["id", "revision"]
[[route]]
when = { severity = { at_least = "high" } }
to = "list:soc"
[[test]]
name = "what others read"
"#;

const LEAST: &str = r#"
id = "r"
on = "any"
to = "target"
channels = "email"
template = "password-reset"
"#;

#[test]
fn every_key_is_read() {
    let rule = read(WHOLE).unwrap();
    let soc = To::List("soc".into(), vec![always("soc@example.com")]);
    assert_eq!((&*rule.id, &*rule.description), ("password-reset", "Somebody reset a user's password"));
    assert_eq!(rule.on, [Dialect::EntraAudit, Dialect::Other]);
    assert_eq!(rule.tell.to, [To::Target, To::Actor, soc, To::Address("gil@example.com".into())]);
    assert_eq!(rule.tell.except, [To::Actor]);
    assert_eq!(rule.tell.channels.iter().map(|name| &**name).collect::<Vec<_>>(), ["email", "second"]);
    assert_eq!(&*rule.tell.template, "password-reset");
    assert_eq!((rule.tell.severity, rule.shadow, rule.max_age), (Some(Severity::High), true, Duration::from_hours(12)));
    assert_eq!(rule.tell.group.as_ref().unwrap().wait, Duration::from_secs(20));
    assert_eq!(rule.owner.as_deref(), Some("identity team"));
    let end = Timestamp::from_millis(1_801_440_000_000);
    assert!(rule.is_over(end) && !rule.is_over(end.minus(Duration::from_millis(1))), "{:?}", rule.expires);
    let names = |condition: &Condition| -> Vec<String> {
        condition.tests().iter().map(|test| format!("{}={:?}", test.subject.name(), test.want)).collect()
    };
    // All three ways to write a dotted key, in the order of the file; numbers and booleans by their text.
    insta::assert_debug_snapshot!((names(&rule.when), names(&rule.unless)), @r#"
    (
        [
            "operation=[\"Reset user password\", \"Reset password (by admin)\"]",
            "actor.type=[\"user\"]",
            "target.type=[\"user\"]",
        ],
        [
            "by_self=[\"true\"]",
            "details.code=[\"50053\"]",
            "details.User-Agent=[\"x\"]",
        ],
    )
    "#);
}

#[test]
fn what_is_left_out_has_its_default() {
    let rule = read(LEAST).unwrap();
    assert_eq!(&*rule.description, "r", "the title is the id");
    assert!(rule.on.is_empty() && rule.when.tests().is_empty() && rule.unless.tests().is_empty());
    assert!(rule.tell.except.is_empty() && rule.tell.group.is_none() && !rule.shadow && rule.tell.severity.is_none());
    assert_eq!(rule.max_age, Duration::from_hours(72));
}

#[test]
fn an_empty_table_lacks_everything_that_is_needed() {
    let faults = read("").unwrap_err();
    let keys: Vec<_> = faults.iter().map(|fault| fault.split(" | ").nth(1).unwrap()).collect();
    assert_eq!(keys, ["id", "on", "channels", "to", "template"]);
}

#[test]
fn a_room_needs_nobody_to_tell_and_a_personal_channel_does() {
    let least = |rest: &str| read(&format!("id = 'r'\non = 'any'\ntemplate = 'password-reset'\n{rest}"));
    let rule = least("channels = 'ops-hook'").unwrap();
    assert_eq!((rule.tell.channels.len(), rule.tell.rooms), (0, vec!["ops-hook".into()]));
    let both = least("channels = ['ops-hook', 'email']\nto = 'target'").unwrap();
    assert_eq!(both.ways().into_iter().map(|way| &**way).collect::<Vec<_>>(), ["email", "ops-hook"]);
    let pager = |rest: &str| read(&format!("id = 'r'\non = 'any'\ntemplate = 'pager'\n{rest}"));
    pager("channels = 'ops-hook'").unwrap();
    let faults = pager("channels = ['ops-hook', 'email']\nto = 'target'").unwrap_err();
    assert!(
        faults[0].starts_with("'pager' | template | has a body.hbs and no mail, and channel `email`"),
        "{faults:?}"
    );
    let faults = least("channels = ['ops-hook', 'email']").unwrap_err();
    assert_eq!(
        faults,
        ["(the rule) | to | is missing; channel `email` writes to people: say who is told: \"target\", \"actor\", \
          \"list:NAME\" or an address"]
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table, a few lines of logic")]
fn each_fault_names_its_place_and_its_remedy() {
    let cases = [
        (
            "an operator as a part of a name",
            "when = { 'details.x.contains' = 'x' }",
            "when.details.x.contains | `contains` is an operator among fields; write details.x = { contains = … }; a field of \
             that name stands in quotes: 'details.\"x.contains\"'",
        ),
        (
            "a misspelt operator among operators",
            "when = { resource = { contains = 'a', startswith = 'b' } }",
            "when.resource.startswith | unknown operator `startswith`; did you mean `starts_with`?",
        ),
        (
            "a pattern that is none",
            "when = { resource = { matches = '(' } }",
            "'(' | when.resource.matches | is no pattern",
        ),
        (
            "a network that is none",
            "when = { actor.ip = { cidr = ['10.0.0.0/8', '10.0.0.0/33'] } }",
            "when.actor.ip.cidr | must be a network such as",
        ),
        ("no number", "when = { details.n = { gt = 'many' } }", "'many' | when.details.n.gt | must be one number"),
        ("no severity", "when = { severity = { at_least = 'hihg' } }", "must be one of informational, low"),
        (
            "an unknown list",
            "when = { actor.upn = { in_list = 'sox' } }",
            "names `sox`, and there is no such list; did you mean `soc`?",
        ),
        (
            "another field that is none",
            "when = { actor.upn = { same_as = 'target.upm' } }",
            "unknown field `target.upm`; did you mean",
        ),
        ("a change of a field", "when = { result = { changed = 'x' } }", "`changed`, `from` and `to` are of `changes`"),
        ("changes by themselves", "when = { changes = 'x' }", "compares whole changes"),
        (
            "exists of a text",
            "when = { resource = { exists = 'yes' } }",
            "'yes' | when.resource.exists | must be true or false",
        ),
        (
            "any without a list",
            "when = { any = { result = 'x' } }",
            "must be a list of conditions: any = [{ … }, { … }]",
        ),
        ("a quantifier without a table", "when = { some = 'targets' }", "must name a list: some = { targets ="),
        ("a list that is none", "when = { some = { actor = { id = 'x' } } }", "`actor`: is no list"),
        (
            "a raw list without quotes",
            "when = { some = { raw.properties = { id = 'x' } } }",
            "`raw`: write the whole path in quotes",
        ),
        (
            "the whole record as a value",
            "when = { raw = 'x' }",
            "when.raw | is the whole record: write raw = { contains = … }",
        ),
        (
            "an operator after raw",
            "when = { 'raw.contains' = 'x' }",
            "is an operator among fields; write raw = { contains = … }",
        ),
        ("a path with a hole", "when = { 'raw.a..b' = 'x' }", "is no path: a name between its dots is empty"),
        ("a misspelt key", "chanels = 'email'", "chanels | chanels | unknown key `chanels`; did you mean `channels`?"),
        ("a key whose time has not come", "ask = 'x'", "ask | ask | unknown key `ask`; known: id, description"),
        (
            "a misspelt field",
            "when = { opration = 'x' }",
            "| when.opration | unknown field `opration`; did you mean `operation`?",
        ),
        (
            "a raw field without raw",
            "when = { properties.id = 'x' }",
            "id | when.properties.id | unknown field `properties.id`; known: dialect",
        ),
        (
            "a value outside the closed set",
            "when = { severity = 'hgih' }",
            "'hgih' | when.severity | unknown value `hgih`; did you mean `high`?",
        ),
        ("a dialect as a condition", "when = { dialect = 'entra.audits' }", "did you mean `entra.audit`?"),
        ("no boolean", "when = { by_self = 'yes' }", "'yes' | when.by_self | unknown value `yes`; known: true, false"),
        (
            "an empty list",
            "when = { operation = [] }",
            "[] | when.operation | is an empty list, which no record fulfils",
        ),
        ("empty text", "when = { operation = ' ' }", "' ' | when.operation | is empty text"),
        ("a date", "when = { operation = 2026-01-01 }", "2026-01-01 | when.operation | must be a text, a number"),
        (
            "a field twice",
            "when = { actor.upn = 'a', 'actor.upn' = 'b' }",
            "is tested twice; put all values into one list",
        ),
        ("no table", "when = 'x'", "'x' | when | must be a table: when = { operation = \"…\" }"),
        ("an unless that would exclude everything", "unless = {}", "{} | unless | is empty; write a condition"),
        (
            "an unknown dialect",
            "on = 'entra.audut'",
            "'entra.audut' | on | unknown dialect `entra.audut`; did you mean `entra.audit`?",
        ),
        ("any among others", "on = ['any', 'other']", "'any' | on | `any` stands alone"),
        (
            "an unknown recipient",
            "to = ['traget']",
            "'traget' | to | unknown recipient `traget`; did you mean `target`?",
        ),
        ("a recipient that is none", "to = ['target.boss']", "unknown recipient `target.boss`"),
        ("an unknown list", "to = 'list:sox'", "'list:sox' | to | unknown list `sox`; did you mean `soc`?"),
        (
            "a list too long to be told",
            "to = 'list:long'",
            "'list:long' | to | list `long` has 101 entries, at most 100",
        ),
        ("an unknown exception", "except = ['nobody']", "'nobody' | except | unknown recipient `nobody`"),
        (
            "an unknown channel",
            "channels = ['emial']",
            "'emial' | channels | unknown channel `emial`; did you mean `email`?",
        ),
        ("a channel twice", "channels = ['email', 'email']", "'email' | channels | `email` is named twice"),
        ("no channel", "channels = []", "[] | channels | is an empty list; name at least one"),
        ("a number for a name", "channels = [7]", "7 | channels | must be a text in quotes, or a list of them"),
        (
            "an unknown template",
            "template = 'password-rest'",
            "unknown template `password-rest`; did you mean `password-reset`?",
        ),
        ("an unknown severity", "severity = 'hgih'", "'hgih' | severity | unknown value `hgih`; did you mean `high`?"),
        ("an unknown mode", "mode = 'dry'", "'dry' | mode | unknown value `dry`; known: live, shadow"),
        ("no duration", "max_age = '3 days'", "'3 days' | max_age | is not a duration"),
        ("no time at all", "max_age = '0s'", "'0s' | max_age | must be more than nothing"),
        (
            "an unknown policy",
            "policy = 'persnal'",
            "'persnal' | policy | unknown policy `persnal`; did you mean `personal`?",
        ),
        ("an unknown lookup", "when = { lookup.ownres.mail = 'x' }", "unknown lookup `ownres`; did you mean `owners`?"),
        ("an unknown column", "when = { lookup.owners.mial = 'x' }", "unknown column `mial`; did you mean `mail`?"),
        ("a lookup without a column", "when = { lookup.owners = 'x' }", "names no column; write lookup.NAME.COLUMN"),
        (
            "an unknown window",
            "when = { now = { during = 'erly' } }",
            "names `erly`, and there is no [window.erly]; did you mean `early`?",
        ),
        ("a window of what is no moment", "when = { result = { during = 'early' } }", "is of a moment"),
        ("an element without each", "when = { element.type = 'x' }", "there is no element"),
        ("an element of targets", "each = 'targets'\nunless = { element.type = 'x' }", "there is no element"),
        ("each of no list", "each = 'flags'", "`flags` is no list"),
        ("a raw element's target", "to = 'target'\neach = 'raw.a'", "`target` is of the record, not of the element"),
        (
            "a manager, within first_of",
            "to = { first_of = ['target.manager'] }\neach = 'raw.a'",
            "of the record, not of",
        ),
        ("once per a field of many values", "once_per = ['id', 'target.id']", "unknown field `target.id`"),
        ("a list that holds no addresses", "to = 'list:vip'", "list `vip` cannot be told: its entry 2 is no address"),
        ("a field that is none", "to = 'field:raw.a..b'", "`raw.a..b` is no path: a name between its dots is empty"),
        ("the whole record as a recipient", "to = 'field:raw'", "name a place in it, field:raw.PATH"),
        (
            "a first_of in a first_of",
            "to = { first_of = [{ first_of = ['target'] }] }",
            "to.first_of | holds no other `first_of`; name its entries here",
        ),
        ("no first_of", "to = { last_of = ['target'] }", "must be { first_of ="),
        ("a route that is no table", "route = 'x'", "must be an array of tables"),
        ("an unknown key of a route", "route = [{ max_age = '1d' }]", "route[0].max_age | unknown key `max_age`"),
        (
            "an unknown channel of a route",
            "route = [{ channels = 'emial' }]",
            "route[0].channels | unknown channel `emial`",
        ),
        (
            "a bad condition of a route",
            "route = [{ when = { sevrity = 'low' } }]",
            "route[0].when.sevrity | unknown field",
        ),
        (
            "a route behind one that takes everything",
            "route = [{ mute = true }, { channels = 'email' }]",
            "route[1].when | is never asked",
        ),
        ("an empty owner", "owner = ''", "'' | owner | is empty"),
        ("no date", "expires = 'soon'", "'soon' | expires | must be a date or a date and a time"),
        ("a time of day", "expires = 18:00:00", "18:00:00 | expires | must be a date or a date and a time"),
        ("no boolean for enabled", "enabled = 'yes'", "'yes' | enabled | must be true or false"),
        ("an id that is no name", "id = 'Password Reset'", "'Password Reset' | id | must be a-z, 0-9 and -"),
        ("an empty description", "description = ''", "'' | description | is empty"),
    ];
    for (what, line, expected) in cases {
        let key = line.split(" = ").next().unwrap();
        let mut text = String::from(line);
        text.push('\n');
        text.extend(LEAST.lines().filter(|least| !least.starts_with(key)).map(|least| format!("{least}\n")));
        let faults = read(&text).unwrap_err();
        assert_eq!(faults.len(), 1, "{what}: {faults:?}");
        assert!(faults[0].contains(expected), "{what}: {faults:?}\n  lacks {expected}");
    }
}

#[test]
fn every_fault_is_reported_not_only_the_first() {
    let faults =
        read("id = 'A'\non = 'x'\nto = ['y', 'z']\nchannels = []\ntemplate = 1\nwhen = { a = 1, b = 2 }").unwrap_err();
    assert_eq!(faults.len(), 8, "{faults:#?}");
}

#[test]
fn a_fault_repeats_no_control_characters_and_no_long_text() {
    let text = format!("{LEAST}severity = \"a\\u0007{}\"", "b".repeat(500));
    let faults = read(&text).unwrap_err();
    let message = faults[0].rsplit(" | ").next().unwrap();
    assert!(!message.chars().any(char::is_control) && message.len() < 200, "{message}");
}

#[test]
fn the_list_of_keys_is_the_list_that_is_read() {
    let table = DeTable::parse(WHOLE).unwrap();
    let mut read: Vec<_> = table.get_ref().keys().map(|key| key.get_ref().to_string()).collect();
    let mut known: Vec<_> = KEYS.iter().map(ToString::to_string).collect();
    read.sort();
    known.sort();
    assert_eq!(read, known);
}

#[test]
fn a_rule_may_leave_telling_to_its_routes() {
    let text = "id = 'r'\non = 'any'\ntemplate = 'pager'\n[[route]]\nwhen = { severity = 'high' }\nchannels = 'ops-hook'\n\
                [[route]]\nto = 'list:soc'\nchannels = 'email'\ntemplate = 'password-reset'\npolicy = 'braked'\n";
    let rule = read(text).unwrap();
    assert!(rule.tell.is_empty());
    let [first, second] = &rule.routes[..] else { panic!("{rule:?}") };
    assert_eq!((&*first.tell.template, first.tell.rooms.len(), first.tell.channels.len()), ("pager", 1, 0));
    assert_eq!((&*second.tell.template, second.tell.throttle), ("password-reset", Some(BRAKE)));
    assert_eq!(rule.ways(), [&Arc::from("ops-hook"), &Arc::from("email")]);
    let faults = read(&text.replace("to = 'list:soc'\n", "")).unwrap_err();
    assert!(faults[0].contains("route[1].to | is missing; channel `email` writes to people"), "{faults:?}");
    let faults = read(&text.replace("channels = 'email'\n", "")).unwrap_err();
    assert!(faults[0].contains("route[1].channels | is missing"), "{faults:?}");
    let whom = "id = 'r'\non = 'any'\ntemplate = 'password-reset'\nchannels = 'email'\n[[route]]\nto = 'list:soc'\n";
    let rule = read(whom).unwrap();
    assert!(rule.tell.is_empty() && !rule.routes[0].tell.is_empty(), "the channel for all, and whom to tell in each");
    let faults = read(&whom.replace("'email'", "['ops-hook', 'email']")).unwrap_err();
    assert!(faults[0].starts_with("(the rule) | to | is missing"), "a room is told where no route holds: {faults:?}");
}

#[test]
fn what_a_route_does_not_say_is_the_rules() {
    let own = "except = 'actor'\nseverity = 'low'\npolicy = 'personal'\n";
    let rule =
        read(&format!("{LEAST}\n{own}[[route]]\nwhen = {{ by_self = true }}\nseverity = 'high'\nto = 'actor'\n"))
            .unwrap();
    let tell = &rule.routes[0].tell;
    assert_eq!((&tell.to[..], &tell.except[..]), (&[To::Actor][..], &[To::Actor][..]));
    assert_eq!((tell.severity, rule.tell.severity), (Some(Severity::High), Some(Severity::Low)));
    assert_eq!(
        (&tell.channels, &tell.template, &tell.group),
        (&rule.tell.channels, &rule.tell.template, &rule.tell.group)
    );
}

#[test]
fn an_element_of_targets_or_changes_has_only_its_own_names() {
    for (what, when, expected) in [
        ("a slip", "some = { targets = { typ = 'user' } }", "unknown field `typ`; did you mean `type`?"),
        ("of another list", "every = { targets = { kind = { not = 'user' } } }", "unknown field `kind`; known: "),
        ("no such type", "some = { targets = { type = 'usr' } }", "unknown value `usr`; did you mean `user`?"),
        ("nor is it excluded", "some = { targets = { type = { not = 'usr' } } }", "unknown value `usr`"),
        ("a slip in a change", "some = { changes = { nam = 'x' } }", "unknown field `nam`; did you mean `name`?"),
        ("an operator of all changes", "some = { changes = { changed = 'X' } }", "unknown field `changed`"),
        ("below", "some = { targets = { any = [{ upnn = 'x' }] } }", "unknown field `upnn`; did you mean `upn`?"),
        (
            "an operator",
            "some = { targets = { upn = { containz = 'x' } } }",
            "unknown operator `containz`; did you mean `contains`?",
        ),
        ("a list of none", "some = { targets = { some = { roles = { a = 'x' } } } }", "a target has none"),
        ("a list of a change", "some = { changes = { some = { news = { a = 'x' } } } }", "`new` may be"),
        ("an operator of a field", "operation = { containz = 'x' }", "did you mean `contains`?"),
        ("an index", "'raw.properties.targetResources[0].type' = 'User'", "a list means any of its elements"),
        ("an index between dots", "raw.properties.targetResources.0.type = 'User'", "a list means any of its elements"),
    ] {
        let faults = read(&format!("{LEAST}when = {{ {when} }}")).unwrap_err();
        assert!(faults.len() == 1 && faults[0].contains(expected), "{what}: {faults:#?}");
    }
    for when in [
        "some = { targets = { Type = 'User', upn = 'a', id = 'b', name = 'c' } }",
        "some = { changes = { name = 'a', new.deep.x = 'b', old = { exists = false }, some = { new = { x = 'y' } } } }",
        "some = { 'raw.a' = { anything = 'x', some = { b = { c = 'y' } } } }",
        "'raw.a.\"0\".b' = 'x'",
    ] {
        read(&format!("{LEAST}when = {{ {when} }}")).unwrap();
    }
}
