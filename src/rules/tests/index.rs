//! The promise of the index: it loses no rule that a full scan would match.

use std::borrow::Cow;

use proptest::prelude::*;

use super::super::parse::tests::lookups;
use super::*;

/// Few names in many spellings, so that rules and records meet often.
fn operation() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("Reset user password"),
        Just("reset user  password."),
        Just("Update user"),
        Just("Update – user"),
        Just("update - user "),
        Just("Add user"),
    ]
    .prop_map(str::to_owned)
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let on = prop_oneof![Just("'any'"), Just("'entra.audit'"), Just("['other', 'entra.audit']"), Just("'other'")];
    let operations = prop::option::of(prop::collection::vec(operation(), 1..4));
    let more = prop_oneof![
        Just(""),
        Just("each = 'targets'\n"),
        Just("route = [{ when = { result = 'failure' }, mute = true }]\n")
    ];
    let extra = prop_oneof![Just(""), Just("result = 'success'"), Just("activity = 'Update user'")];
    (on, operations, extra, more).prop_map(|(on, operations, extra, more)| {
        let operation = operations.map(|names| format!("operation = {names:?}"));
        let keys: Vec<_> = operation.into_iter().chain((!extra.is_empty()).then(|| extra.to_owned())).collect();
        let when = if keys.is_empty() { String::new() } else { format!("when = {{ {} }}", keys.join(", ")) };
        rule(&format!("on = {on}\n{more}{when}"))
    })
}

proptest! {
    #[test]
    fn the_index_loses_no_rule_that_a_full_scan_matches(
        rules in prop::collection::vec(any_rule(), 0..8),
        operation in prop::option::of(operation()),
        activity in prop::option::of(operation()),
        success in any::<bool>(),
        audit in any::<bool>(),
    ) {
        let rules = Rules::new(rules);
        let record = Record {
            dialect: if audit { Dialect::EntraAudit } else { Dialect::Other },
            operation,
            activity,
            result: Some(if success { "success" } else { "failure" }.into()),
            ..record()
        };
        let lookups = lookups();
        let known = Known { now: NOW, lookups: &lookups };
        let scan: Vec<_> = rules.iter().filter(|rule| rule.concerns(record.dialect)).flat_map(|rule| rule.matches(&record, known)).map(|one| one.rule.rank).collect();
        let found: Vec<_> = matching(&rules, &record).iter().map(|rule| rule.rank).collect();
        prop_assert_eq!(&found, &scan);
        let head = Head {
            dialect: record.dialect,
            operation: record.operation.as_deref().map(Cow::Borrowed),
            activity: record.activity.as_deref().map(Cow::Borrowed),
        };
        prop_assert!(scan.is_empty() || rules.may_want(&Glance::Head(head.clone())));
        prop_assert!(scan.is_empty() || rules.may_want(&Glance::Dialect(record.dialect)));
        prop_assert_eq!(rules.may_want(&Glance::Head(head.clone())), !rules.candidates(&head).is_empty());
    }
}
