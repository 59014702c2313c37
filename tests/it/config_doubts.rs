//! What `check` doubts of a configuration that loads: each warning at its key, and none of what is meant.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use auditbell::config;
use auditbell::record::envelope::{self, Item};
use auditbell::record::{Dialect, Dialects, Position};

use crate::config_files::directory;

const BRAKE: &str = "[policy.p]\nthrottle = { max = 9, per = \"10m\", overflow = \"hold\" }\n";

/// The warnings of a configuration without a fault, as `key: message`, but that its one relay is its only way.
fn warnings(text: &str, files: &[(&str, &str)]) -> Vec<String> {
    let (_directory, path) = directory("", text, files);
    let report = config::examine(&path, &BTreeMap::new());
    assert_eq!(report.faults, [], "{text}");
    let warnings = report.warnings.into_iter().map(|warning| format!("{}: {}", warning.key, warning.message));
    warnings.filter(|warning| !warning.starts_with("channel.email.fallback: ")).collect()
}

/// A rule that is beyond doubt, with `change` in the place of the key it begins with.
fn rule(change: &str) -> String {
    let lines = [
        "id = \"r\"",
        "on = \"entra.audit\"",
        "to = \"target\"",
        "channels = \"email\"",
        "template = \"password-reset\"",
        "policy = \"p\"",
    ];
    let key = |line: &str| line.split(" = ").next().unwrap().to_owned();
    let changed: Vec<String> = change.split('\n').take_while(|line| !line.starts_with('[')).map(key).collect();
    let kept: Vec<&str> = lines.into_iter().filter(|line| !changed.contains(&key(line))).collect();
    format!("{BRAKE}[[rule]]\n{}\n{change}\n", kept.join("\n"))
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn a_rule_that_tells_nobody_or_not_as_meant_is_doubted() {
    assert_eq!(warnings(&rule("mode = \"live\""), &[]), [""; 0], "a rule that is beyond doubt");
    let quoted = "when = { 'raw.properties.policy.\"equals\"' = \"x\", 'raw.properties.\"contains\"' = \"y\" }";
    assert_eq!(warnings(&rule(quoted), &[]), [""; 0], "fields with the names of operators");
    for (what, change, expected) in [
        ("it is over", "expires = 2020-01-31", "rule.r.expires: has passed: the rule is off"),
        ("it is in shadow", "mode = \"shadow\"", "rule.r.mode: is \"shadow\""),
        (
            "controls concern no user",
            "on = \"defender.compliance\"",
            "rule.r.to: can mail nobody: records of defender.compliance name no such person",
        ),
        (
            "an alert was caused by nobody",
            "on = [\"defender.alert\", \"entra.risk\"]\nto = \"actor.manager\"",
            "rule.r.to: can mail nobody: records of defender.alert, entra.risk name no such person",
        ),
        ("everybody is excepted", "except = \"target\"", "rule.r.to: tells nobody: `except` names everybody"),
        (
            "an operator in another spelling",
            "when = { details.reason = { startswith = \"x\" } }",
            "rule.r.when: `details.reason.startswith` is taken for the name of a field; did you mean the operator `starts_with`?",
        ),
        (
            "an operator of another language",
            "when = { raw.properties.score = { between = [1, 2] } }",
            "rule.r.when: `raw.properties.score.between` is taken for the name of a field; as an operator write FIELD = { gte = …, \
             lte = … }; a field of this name stands in quotes: 'raw.properties.score.\"between\"'",
        ),
        (
            "a list's name as a text",
            "unless = { actor.upn = \"list:soc\" }\n[list]\nsoc = [\"soc@example.com\"]",
            "rule.r.unless: `list:soc` is compared as it stands; the entries of a list are { in_list = \"NAME\" }",
        ),
        (
            "a field's name as a text",
            "when = { target.upn = { not = \"actor.upn\" } }",
            "rule.r.when: `actor.upn` is compared as it stands; the value of another field is { same_as",
        ),
        (
            "a wildcard",
            "when = { actor.upn = [\"gil@example.com\", \"adm-*\"] }",
            "rule.r.when: `adm-*` is compared as it stands; `*` stands for nothing but itself: write { starts_with",
        ),
        (
            "a pattern between slashes",
            "when = { actor.upn = { matches = \"/^adm-/\" } }",
            "rule.r.when: `/^adm-/` is compared as it stands; a pattern stands without slashes",
        ),
        (
            "a test of a record that is nowhere",
            "[[rule.test]]\nname = \"x\"\nrecord = \"nowhere.json\"\nexpect = []",
            "rule.r.test: names `",
        ),
        (
            "its own exclusion takes everything",
            "when = { result = \"failure\" }\nunless = { result = [\"failure\", \"timeout\"] }",
            "rule.r.unless: holds wherever `when` does, so the rule matches nothing: take out",
        ),
        (
            "a route for a severity that the rule does not give",
            "severity = \"low\"\n[[rule.route]]\nwhen = { severity = { at_least = \"high\" } }\nmute = true",
            "rule.r.route[0].when: holds of no record that the rule matches, so the route is never taken (a route sees the \
             rule's own severity, low)",
        ),
        (
            "a result with a slip",
            "when = { result = [\"sucess\", \"accepted\"] }",
            "rule.r.when: `sucess` is no result; did you mean `success`?",
        ),
        (
            "a slip beside a dialect of unlisted names",
            "on = [\"entra.audit\", \"azure.activity\"]\nwhen = { operation = [\"Reset user pasword\", \"Some other words\"] }",
            "rule.r.when: `Reset user pasword` is no operation that anybody has seen; did you mean `Reset user password`?",
        ),
        (
            "a slip in any dialect",
            "on = \"any\"\nwhen = { operation = \"Reset user pasword\" }",
            "rule.r.when: `Reset user pasword` is no operation",
        ),
        (
            "a field that no record of the dialect has",
            "when = { severity = { at_least = \"high\" } }",
            "rule.r.when: asks for a `severity` that no record of entra.audit has, so the rule matches nothing",
        ),
        (
            "the dialect of another",
            "when = { dialect = \"entra.signin\" }",
            "rule.r.when: asks for a `dialect` that no record of entra.audit has",
        ),
        (
            "a result where there is none",
            "on = \"defender.alert\"\nwhen = { result = \"success\" }",
            "rule.r.when: asks for a `result` that no record of defender.alert has",
        ),
        (
            "two values of a field that has one",
            "when = { all = [{ result = \"success\" }, { result = \"failure\" }] }",
            "rule.r.when: asks for things that no record has at once, so the rule matches nothing",
        ),
        (
            "a value that the same test excludes",
            "when = { result = { in = [\"success\"], not = \"success\" } }",
            "rule.r.when: asks for things that no record has at once",
        ),
        (
            "a state with a slip",
            "on = \"defender.assessment\"\nto = \"list:soc\"\nwhen = { state = \"Unhealty\" }\n[list]\nsoc = [\"soc@example.com\"]",
            "rule.r.when: `Unhealty` is no state; did you mean `Unhealthy`?",
        ),
        (
            "a route for a threshold behind the words above it",
            "on = \"entra.risk\"\n[[rule.route]]\nwhen = { severity = [\"high\", \"critical\"] }\nmute = true\n\n\
             [[rule.route]]\nwhen = { severity = { at_least = \"high\" } }\ntemplate = \"alert\"",
            "rule.r.route[1]: is never taken: route 1 takes every record",
        ),
        (
            "a route behind one for all others",
            "on = \"entra.risk\"\n[[rule.route]]\nunless = { severity = \"low\" }\nmute = true\n\n\
             [[rule.route]]\nwhen = { severity = { not = \"low\" } }\ntemplate = \"alert\"",
            "rule.r.route[1]: is never taken: route 1 takes every record",
        ),
        (
            "each target is a group",
            "each = \"targets\"\nwhen = { target.type = \"group\" }",
            "rule.r.to: can mail nobody: the rule is held against targets that are no users",
        ),
        (
            "an address that is excepted in another case",
            "to = \"a@example.com\"\nexcept = \"A@example.com\"",
            "rule.r.to: tells nobody: `except` names everybody",
        ),
        (
            "a route that excludes all that it takes",
            "[[rule.route]]\nwhen = { result = \"failure\" }\nunless = { result = \"failure\" }\nseverity = \"low\"",
            "rule.r.route[0].unless: holds wherever `when` does, so the route is never taken",
        ),
        (
            "a route whose conditions are narrower than those of one before",
            "[[rule.route]]\nwhen = { result = [\"failure\", \"timeout\"] }\nseverity = \"low\"\n\n[[rule.route]]\n\
             when = { result = \"failure\", by_self = true }\nseverity = \"high\"",
            "rule.r.route[1]: is never taken: route 1 takes every record",
        ),
        (
            "a route behind one that takes what the rule does",
            "when = { result = \"failure\" }\n[[rule.route]]\nwhen = { result = \"failure\" }\nseverity = \"low\"\n\n\
             [[rule.route]]\nwhen = { by_self = true }\nseverity = \"high\"",
            "rule.r.route[1]: is never taken: route 1 takes every record",
        ),
        (
            "its one route is mute and takes everything",
            "[[rule.route]]\nmute = true",
            "rule.r.to: tells nobody: route 1 is mute and takes every record; give it a condition",
        ),
        (
            "two columns of one table, by a field of many values",
            "when = { lookup.staff.role = \"admin\", lookup.staff.site = \"x\" }\n[lookup.staff]\nkey = \"upn\"\n\
             by = \"target.upn\"\nrows = [{ upn = \"a\", role = \"admin\", site = \"y\" }]",
            "rule.r.when: asks for several columns of [lookup.staff], and of several targets each may have another row: \
             add each = \"targets\"",
        ),
        (
            "a route after one with the same conditions",
            "[[rule.route]]\nwhen = { result = \"failure\", by_self = true }\nseverity = \"low\"\n\n[[rule.route]]\n\
             when = { by_self = true, result = \"failure\" }\nseverity = \"high\"",
            "rule.r.route[1]: is never taken: route 1 takes every record that it would; put it before that one",
        ),
    ] {
        let found = warnings(&rule(change), &[]);
        assert!(found.len() == 1 && found[0].starts_with(expected), "{what}: {found:#?}");
    }
    for (what, change) in [
        ("it is not over", "expires = 2999-01-31"),
        ("one of its dialects has users", "on = [\"defender.compliance\", \"entra.audit\"]"),
        (
            "one of its dialects has a severity",
            "on = [\"entra.risk\", \"entra.audit\"]\nwhen = { severity = \"high\" }",
        ),
        (
            "a state that another dialect may have",
            "on = [\"defender.assessment\", \"entra.risk\", \"azure.activity\"]\nwhen = { state = \"Unhealty\" }",
        ),
        ("some targets are users", "each = \"targets\"\nwhen = { target.type = [\"group\", \"user\"] }"),
        ("a group among the targets", "when = { target.type = \"group\" }"),
        ("a list has somebody always", "on = \"defender.compliance\"\nto = \"soc@example.com\""),
        (
            "two columns, by each target",
            "each = \"targets\"\nwhen = { lookup.staff.role = \"admin\", lookup.staff.site = \"x\" }\n[lookup.staff]\n\
             key = \"upn\"\nby = \"target.upn\"\nrows = [{ upn = \"a\", role = \"admin\", site = \"y\" }]",
        ),
        ("a star that is one", "when = { raw.properties.actions = [\"*\", \"*/read\"] }"),
        ("fields called so", "when = { raw.properties.like = \"x\", raw.has = 1 }"),
        (
            "texts that look like others",
            "when = { service = \"list:none\", category = \"a.b\", raw.x = { matches = \"/a/\" } }",
        ),
        ("a detail whose name is near an operator's", "when = { details.container = \"x\", raw.from_name = \"x\" }"),
        ("a mute route with a condition", "[[rule.route]]\nwhen = { by_self = true }\nmute = true"),
        (
            "a severity that the rule sets is another than the record's",
            "on = \"entra.risk\"\nwhen = { severity = \"low\" }\nseverity = \"high\"\n[[rule.route]]\nwhen = { severity = \"high\", by_self = true }\n\
             template = \"alert\"",
        ),
        (
            "routes with other conditions",
            "[[rule.route]]\nwhen = { result = \"failure\" }\n\n[[rule.route]]\nwhen = { result = \"success\" }",
        ),
    ] {
        assert_eq!(warnings(&rule(change), &[]), [""; 0], "{what}");
    }
}

/// Wherever a condition may hold the name of an operation.
#[test]
fn an_operation_that_nobody_has_seen_is_doubted_wherever_it_stands() {
    let lists = "[list]\nresets = [\"Reset user password\", \"Reset user pasword\"]";
    let meant = "`Reset user pasword` is no operation that anybody has seen; did you mean `Reset user password`?";
    let route = "[[rule.route]]\nseverity = \"low\"\n";
    for (what, change, key, expected) in [
        ("a value", "when = { operation = \"Reset user pasword\" }".to_owned(), "when", meant),
        (
            "one of several, in alternatives",
            "when = { any = [{ result = \"x\" }, { all = [{ operation = [\"Add user\", \"Reset user pasword\"] }] }] }"
                .into(),
            "when",
            meant,
        ),
        ("a negation", "when = { operation = { not = \"Reset user pasword\" } }".into(), "when", meant),
        (
            "a negated condition",
            "when = { not = { operation = { in = [\"Reset user pasword\"] } } }".into(),
            "when",
            meant,
        ),
        ("an exclusion", "unless = { activity = \"Reset user pasword\" }".into(), "unless", meant),
        ("a route", format!("{route}when = {{ operation = \"Reset user pasword\" }}"), "route[0].when", meant),
        (
            "a route's exclusion",
            format!("{route}unless = {{ activity = \"Reset user pasword\" }}"),
            "route[0].unless",
            meant,
        ),
        (
            "a list",
            format!("when = {{ operation = {{ in_list = \"resets\" }} }}\n{lists}"),
            "when",
            "`Reset user pasword` of list.resets is no operation that anybody has seen; did you mean `Reset user password`?",
        ),
        (
            "the record's own field",
            "when = { raw.properties.activityDisplayName = \"Reset user pasword\" }".into(),
            "when",
            meant,
        ),
        (
            "a part of a name",
            "when = { operation = { starts_with = \"Reset user pasword\" } }".into(),
            "when",
            "`Reset user pasword` is in no operation that anybody has seen; did you mean `Reset user password`?",
        ),
        (
            "some words of a name",
            "when = { operation = \"raed bitlocker\" }".into(),
            "when",
            "`raed bitlocker` is no operation that anybody has seen; did you mean `Read BitLocker key`?",
        ),
    ] {
        assert_eq!(warnings(&rule(&change), &[]), [format!("rule.r.{key}: {expected}")], "{what}");
    }
    for (what, change) in [
        ("a name in another spelling", "when = { operation = \"reset  USER password.\" }"),
        ("a part of a name", "when = { operation = { contains = \"user pass\" } }"),
        ("a pattern", "when = { activity = { matches = \"^reset .*password\" } }"),
        ("a field of something else", "when = { category = \"Reset user pasword\" }"),
        (
            "a dialect with names without number",
            "on = \"azure.activity\"\nwhen = { operation = \"MICROSOFT.NEW/X/WRITE\" }",
        ),
        ("any dialect", "on = \"any\"\nwhen = { operation = { not = \"No such thing\" } }"),
    ] {
        assert_eq!(warnings(&rule(change), &[]), [""; 0], "{what}");
    }
}

#[test]
fn what_nothing_uses_is_doubted_and_what_anything_uses_is_not() {
    let tables = "[list]\nvips = [\"anything at all\"]\noncall = [{ to = \"gil@example.com\", during = \"early\" }]\n\
                  [window.early]\nto = \"12:00\"\ntz = \"UTC\"\n[window.late]\nfrom = \"12:00\"\ntz = \"UTC\"\n\
                  [lookup.owners]\nkey = \"subscription\"\nrows = [{ subscription = \"s\", mail = \"a@example.com\" }]\n\
                  [policy.other]\ngroup = { by = \"id\", wait = \"1s\" }\n";
    let unused = warnings(&format!("{tables}{}", rule("mode = \"live\"")), &[]);
    let expected = [
        "list.oncall: is used by no rule and by no fallback; name it (`list:NAME`, in_list), or take it out",
        "list.vips: is used by no rule and by no fallback; name it (`list:NAME`, in_list), or take it out",
        "lookup.owners: is used by no rule and by no template; name one of its columns, or take it out",
        "policy.other: is used by no rule; name it there, or take it out",
        "window.late: is used by no rule and by no list; name it (during), or take it out",
    ];
    let mut sorted = unused;
    sorted.sort();
    assert_eq!(sorted, expected);
    let all = "to = [\"list:oncall\", \"lookup:owners.mail\"]\n\
               when = { actor.upn = { in_list = \"vips\" }, now = { during = \"late\" } }\n\
               [[rule.route]]\nwhen = { result = \"failure\" }\npolicy = \"other\"\n[[rule.route]]\nmute = true";
    let used = warnings(&format!("{tables}{}", rule(all)), &[]);
    assert!(used.iter().all(|warning| warning.contains("has no brake")), "{used:#?}");
    // However a list comes to be an operator's.
    for condition in [
        "actor.ip = { not = { cidr = { in_list = \"mine\" } } }",
        "operation = { matches = { in_list = [\"mine\"] } }",
        "changes = { changed = { in_list = \"mine\" } }",
        "changes = { to = { not = { in_list = \"mine\" } } }",
        "changes = { from = { ends_with = { in_list = \"mine\" } } }",
        "some = { \"raw.properties.x\" = { element = { starts_with = { in_list = \"mine\" } } } }",
    ] {
        let text = format!("[list]\nmine = [\"192.0.2.1\"]\n{}", rule(&format!("unless = {{ {condition} }}")));
        let said = warnings(&text, &[]);
        assert!(!said.iter().any(|warning| warning.contains("list.mine")), "{condition}: {said:#?}");
    }
    let by_a_template = "[templates]\ndir = \"t\"\n[lookup.owners]\nkey = \"subscription\"\nrows = [{ subscription = \"s\", mail = \"m\" }]\n";
    let files = [("t/password-reset/text.hbs", "{{default lookup.owners.mail 'nobody'}}")];
    assert_eq!(warnings(&format!("{by_a_template}{}", rule("mode = \"live\"")), &files), [""; 0]);
}

#[test]
fn a_fallback_that_goes_through_the_same_relay_is_doubted() {
    let fallback = |change: &dyn Fn(String) -> String| {
        let (_directory, path) = directory("", &rule("mode = \"live\""), &[]);
        let text = change(std::fs::read_to_string(&path).unwrap());
        std::fs::write(&path, text).unwrap();
        let report = config::examine(&path, &BTreeMap::new());
        assert_eq!(report.faults, []);
        report.warnings.iter().filter(|warning| warning.key == "channel.email.fallback").count()
    };
    let second = |relay: &str| {
        format!(
            "[channel.second]\ntype = \"smtp\"\nrelay = \"{relay}\"\nfrom = \"a@example.com\"\n[channel.email]\nfallback = [\"second\", \"soc@example.com\"]\n"
        )
    };
    assert_eq!(fallback(&|text| text), 1, "people.fallback, by way of the channel itself");
    assert_eq!(
        fallback(&|text| text
            .replace("[\"smtp+plain://127.0.0.1:2525\"]", "[\"smtps://a.example.com\", \"smtps://b.example.com\"]")),
        0
    );
    let same = second("smtp+plain://127.0.0.1:2525");
    assert_eq!(fallback(&|text| text.replace("[channel.email]\n", &same)), 1, "another channel, the same relay");
    let other = second("smtps://b.example.com");
    assert_eq!(fallback(&|text| text.replace("[channel.email]\n", &other)), 0, "another relay");
}

/// A14's neighbour: what is wrong with a lookup is said with its place, and not once more of the rule that names it.
#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn what_is_wrong_with_a_window_a_list_or_a_lookup_is_said_once_with_its_remedy() {
    let uses = "to = \"lookup:owners.mail\"\nwhen = { now = { during = \"office\" } }";
    for (what, tables, csv, expected) in [
        (
            "no file",
            "csv = \"owners.csv\"\nkey = \"subscription\"",
            None,
            "lookup.owners.csv: `DIR/owners.csv` cannot be read",
        ),
        (
            "no such key column",
            "csv = \"owners.csv\"\nkey = \"subscription\"",
            Some("sub,mail\n1,a@example.com\n"),
            "lookup.owners.csv: `DIR/owners.csv`: no column `subscription`, which is its key: make `key` one of sub, mail",
        ),
        (
            "one key twice",
            "csv = \"owners.csv\"\nkey = \"subscription\"",
            Some("subscription,mail\n1,a@example.com\n2,b@example.com\n1,c@example.com\n"),
            "lookup.owners.csv: `DIR/owners.csv`: line 4: has the same key as 2: ",
        ),
        (
            "a row too many",
            "csv = \"owners.csv\"\nkey = \"subscription\"\nmax_rows = 1",
            Some("subscription,mail\n1,a@example.com\n2,b@example.com\n"),
            "lookup.owners.csv: `DIR/owners.csv`: line 3: more than max_rows = 1 rows",
        ),
        ("neither file nor rows", "key = \"subscription\"", None, "lookup.owners: has no rows: add `csv = \"FILE\"`"),
        (
            "both",
            "csv = \"owners.csv\"\nkey = \"subscription\"\nrows = [{ a = \"b\" }]",
            Some("a\n"),
            "lookup.owners.rows: is set and so is `csv`",
        ),
        (
            "a key that is no field",
            "key = \"sub\"\nrows = [{ sub = 1, mail = \"m\" }]",
            None,
            "lookup.owners.by: is missing: `sub` is no field",
        ),
        (
            "looked up by a lookup",
            "key = \"sub\"\nby = \"lookup.a.b\"\nrows = [{ sub = 1, mail = \"m\" }]",
            None,
            "lookup.owners.by: is no field",
        ),
        (
            "a cell that is a list",
            "key = \"id\"\nrows = [{ id = [1], mail = \"m\" }]",
            None,
            "lookup.owners.rows.id: must be text in quotes",
        ),
    ] {
        let text = format!("[window.office]\ntz = \"UTC\"\nto = \"12:00\"\n[lookup.owners]\n{tables}\n{}", rule(uses));
        let files: Vec<(&str, &str)> = csv.iter().map(|csv| ("owners.csv", *csv)).collect();
        let (directory, path) = directory("", &text, &files);
        let faults = config::examine(&path, &BTreeMap::new()).faults;
        let found: Vec<String> = faults
            .iter()
            .map(|fault| format!("{}: {}", fault.key, fault.message))
            .map(|fault| fault.replace(&directory.path().display().to_string(), "DIR"))
            .collect();
        assert!(found.len() == 1 && found[0].starts_with(expected), "{what}: {found:#?}");
        assert!(faults[0].line.is_some_and(|line| line > 19), "{what}: {:?}", faults[0]);
    }
    for (what, tables, expected) in [
        ("an unknown day", "[window.w]\ndays = \"mon-fry\"\ntz = \"UTC\"", "window.w.days: must be days of mon, tue"),
        ("an unknown zone", "[window.w]\ntz = \"Berlin\"", "window.w.tz: must be a time zone that this system knows"),
        (
            "no time",
            "[window.w]\nfrom = \"12:00\"\nto = \"12:00\"\ntz = \"UTC\"",
            "window.w.to: begins and ends at one minute",
        ),
        ("no zone", "[window.w]\nto = \"12:00\"", "window.w.tz: is missing: add `tz = …`"),
        (
            "an entry of an unknown window",
            "[list]\na = [{ to = \"x\", during = \"ofice\" }]\n[window.office]\ntz = \"UTC\"\nto = \"01:00\"",
            "list.a: names the window `ofice`, which does not exist: did you mean `office`?",
        ),
        (
            "an entry of nobody",
            "[list]\na = [{ during = \"w\" }]\n[window.w]\ntz = \"UTC\"\nto = \"01:00\"",
            "list.a.to: is missing: add `to = …`",
        ),
        ("an unknown key of an entry", "[list]\na = [{ to = \"x\", when = \"w\" }]", "list.a.when: unknown key"),
    ] {
        let (_directory, path) = directory("", &format!("{tables}\n{}", rule("mode = \"live\"")), &[]);
        let faults = config::examine(&path, &BTreeMap::new()).faults;
        let found: Vec<String> = faults.iter().map(|fault| format!("{}: {}", fault.key, fault.message)).collect();
        assert!(found.first().is_some_and(|first| first.starts_with(expected)), "{what}: {found:#?}");
    }
}

#[test]
fn what_a_test_names_and_nobody_has_is_doubted() {
    let room = "[channel.room]\ntype = \"webhook\"\nurl = \"https://hooks.example.com/x\"\n";
    let told = "[list]\nsoc = [\"soc@example.com\"]\n";
    let of = |rest: &str| {
        let keys = "channels = [\"email\", \"room\"]\nto = [\"target\", \"list:soc\"]\n\
                    when = { result = \"success\", some = { targets = { upn = { exists = true } } } }";
        rule(&format!("{keys}\n[[rule.test]]\nname = \"x\"\nrecord = '{{}}'\n{rest}\n{told}{room}"))
    };
    for (what, rest, expected) in [
        ("a list", "expect = [{ to = \"list:sock\" }]", "expect: unknown list `sock`; did you mean `soc`?"),
        (
            "a room",
            "expect = [{ to = \"root\" }]",
            "expect: unknown room `root`; did you mean `room`?; a person is named by",
        ),
        ("a channel", "expect = [{ channel = \"post\" }]", "expect: unknown channel `post`; known: email, room"),
        ("a template", "expect = [{ template = \"alrt\" }]", "expect: unknown template `alrt`; did you mean `alert`?"),
        ("a severity", "expect = [{ severity = \"hihg\" }]", "expect: unknown severity `hihg`; did you mean `high`?"),
        (
            "a list of its own",
            "lists = { socc = [\"a@example.com\"] }\nexpect = []",
            "unknown list `socc`; did you mean `soc`?",
        ),
        (
            "a reason",
            "expect = []\nbecause = \"resutl\"",
            "because: `resutl` is nothing that the rule can fail for; did you mean `result`?",
        ),
        (
            "nonsense for a reason",
            "expect = []\nbecause = \"the moon is full\"",
            "because: `the moon is full` is nothing that the rule can fail for; name one of",
        ),
    ] {
        let found = warnings(&of(rest), &[]);
        let expected = format!("rule.r.test: {expected}");
        assert!(found.len() == 1 && found[0].starts_with(&expected), "{what}: {found:#?}");
    }
    for rest in [
        "expect = [{ to = \"list:soc\", channel = \"email\", template = \"password-reset\", severity = \"medium\" }]",
        "expect = [{ to = \"anybody@example.com\" }, { to = \"room\", channel = \"room\" }]",
        "expect = []\nbecause = \"targets.upn\"",
        "expect = []\nbecause = \"no-user\"",
        "expect = []\nbecause = \"on\"",
    ] {
        assert_eq!(warnings(&of(rest), &[]), [""; 0], "{rest}");
    }
}

/// What `check` says of dialects holds of every record that we have.
#[test]
fn no_record_has_a_field_that_its_dialect_is_said_to_lack() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/records");
    let mut seen = BTreeSet::new();
    for file in fs::read_dir(folder).unwrap() {
        let bytes = fs::read(file.unwrap().path()).unwrap();
        let lines: Vec<&[u8]> = match serde_json::from_slice::<serde_json::Value>(&bytes) {
            Ok(_) => vec![&bytes],
            Err(_) => bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect(),
        };
        for item in lines.into_iter().flat_map(|line| envelope::decode(Some(line))) {
            let Item::Record(raw) = item else { continue };
            let position = Position { source: "x".into(), topic: None, partition: None, offset: None, index: 0 };
            let record = raw.read(&Dialects::shipped(), position, None);
            let dialect = record.dialect;
            seen.insert(dialect.as_str());
            let severity = record.severity.map(|severity| severity.as_str().to_owned());
            for (field, value) in [("result", &record.result), ("state", &record.state), ("severity", &severity)] {
                assert!(value.is_none() || !dialect.lacks(field), "{}: {field} = {value:?}", dialect.as_str());
            }
        }
    }
    for dialect in Dialect::BUILT_IN.iter().filter(|dialect| !dialect.is_own()) {
        let lacks = ["result", "state", "severity"].into_iter().any(|field| dialect.lacks(field));
        assert!(!lacks || seen.contains(dialect.as_str()), "no record of {}", dialect.as_str());
    }
}
