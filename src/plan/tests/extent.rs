//! What of a record a message shows.

use super::*;
use crate::plan::Extent;
use crate::record::Change;
use crate::rules::{List, elements};

/// Two users, each with a change of their own.
fn record() -> Record {
    let mut record = crate::rules::tests::record();
    record.targets = ["alice@example.com", "bob@example.com"].map(|upn| user(None, Some(upn))).to_vec();
    let change = |target, name: &str| Change { target, name: name.into(), old: "a".into(), new: "b".into() };
    record.changes = vec![change(0, "Phone"), change(0, "App"), change(1, "Key")];
    record
}

fn shown(extent: &Extent, reader: &str) -> String {
    let record = extent.shown(record(), &reader.parse().unwrap());
    let target = |target: &Target| target.upn.clone().unwrap();
    let change = |change: &Change| format!("{} of {}", change.name, target(&record.targets[change.target]));
    let targets: Vec<String> = record.targets.iter().map(target).collect();
    let changes: Vec<String> = record.changes.iter().map(change).collect();
    format!("{} | {}", targets.join(", "), changes.join(", ")).replace("@example.com", "")
}

#[test]
fn a_message_shows_the_elements_that_it_is_about() {
    let of = |list: &List| -> Vec<Arc<str>> { elements(list, &record()).into_iter().map(|one| one.identity).collect() };
    let (targets, changes) = (of(&List::Targets), of(&List::Changes));
    let whole = "alice, bob | Phone of alice, App of alice, Key of bob";
    let all = |identities: &[&Arc<str>]| Extent::Elements(identities.iter().map(|one| (*one).clone()).collect());
    for (what, extent, reader, expected) in [
        ("the record", Extent::Whole, "addr:soc@example.com", whole),
        ("a target", all(&[&targets[1]]), "addr:soc@example.com", "bob | Key of bob"),
        ("a target, in a room", all(&[&targets[0]]), "room:hook", "alice | Phone of alice, App of alice"),
        ("both targets", all(&[&targets[0], &targets[1]]), "addr:soc@example.com", whole),
        ("a change, and the target it is of", all(&[&changes[1]]), "addr:soc@example.com", "alice | App of alice"),
        (
            "a change of one, and the other",
            all(&[&changes[0], &targets[1]]),
            "addr:soc@example.com",
            "alice, bob | Phone of alice, Key of bob",
        ),
        ("to a manager", all(&[&targets[1]]), "manager:bob@example.com", "bob | Key of bob"),
        (
            "a person keeps the targets, whose names are hidden",
            all(&[&changes[1]]),
            "user:alice@example.com",
            "alice, bob | App of alice",
        ),
        ("an element at a path", all(&[&"0123456789abcdef".into()]), "addr:soc@example.com", whole),
    ] {
        assert_eq!(shown(&extent, reader), expected, "{what}");
    }
    let mut extent = Extent::of(Some(targets[0].clone()));
    extent.add(None);
    assert_eq!(extent, Extent::Whole, "who is told of the record is shown the record");
}
