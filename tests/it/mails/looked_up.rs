//! What a template says out of a lookup: the rows that belong to the records of the message, and to this reader.

use auditbell::compose::{About, Composer, Draft, Kind};
use auditbell::lookup::{Lookup, Lookups, Settings, Table};
use auditbell::plan::Recipient;

use super::{brand, draft, people, person, recipient, records, sender, text};

/// Phones by the UPN of a target.
fn phones() -> Lookups {
    let settings = Settings { name: "phones".into(), key: "upn".into(), by: "target.upn".into(), repeats: true };
    let row = |upn: &str, phone: &str| (1, vec![upn.into(), phone.into()]);
    let rows = vec![
        row("Alice@example.com", "alice-1"),
        row("bob@example.com", "bob-1"),
        row("alice@example.com", "alice-2"),
        row("carol@example.com", "carol-1"),
    ];
    let table = Table { columns: vec!["upn".into(), "phone".into()], rows };
    Lookups::new([Lookup::new(settings, table, |text| vec![text.to_lowercase()]).unwrap()])
}

fn composer(template: &str, lookups: &Lookups) -> Result<Composer, Vec<String>> {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("password-reset");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("text.hbs"), template).unwrap();
    let loaded = Composer::load(Some(dir.path()), &brand(), lookups);
    loaded.map_err(|faults| faults.into_iter().map(|fault| fault.message).collect())
}

#[test]
fn somebody_sees_the_rows_of_the_record_that_are_his_own() {
    let (people, lookups) = (people(), phones());
    let composer = composer("phone: {{default lookup.phones.phone 'none'}}\n", &lookups).unwrap();
    let two = records("two-users-in-one-record.json");
    let seen = |upn: &str| {
        let (alice, who) = (person(upn), recipient(&people, upn, &two));
        let draft = draft("password-reset", &who, &alice, &people, &two);
        text(&composer.compose(&sender(), &draft).unwrap())
    };
    let (alice, bob) = (seen("alice@example.com"), seen("bob@example.com"));
    assert!(alice.contains("phone: alice-1, alice-2"), "{alice}");
    assert!(bob.contains("phone: bob-1"), "{bob}");
    let soc = (person("soc@example.com"), Recipient::Address("soc@example.com".into()));
    let of_the_team = draft("password-reset", &soc.1, &soc.0, &people, &two);
    let all = text(&composer.compose(&sender(), &of_the_team).unwrap());
    assert!(all.contains("phone: alice-1, alice-2, bob-1"), "whoever sees the whole record sees all of it: {all}");
    let none = draft("password-reset", &soc.1, &soc.0, &people, &[]);
    assert_eq!(none.kind, Kind::Normal);
    let none = text(&composer.compose(&sender(), &none).unwrap());
    assert!(none.contains("phone: none"), "{none}");
}

#[test]
fn a_template_names_only_lookups_and_columns_that_there_are() {
    for (template, expected) in [
        ("{{lookup.phone.phone}}", "no lookup `phone`; did you mean `phones`?"),
        ("{{#if lookup.phones.phne}}x{{/if}}", "lookup `phones` has no column `phne`; did you mean `phone`?"),
        ("{{lookup.phones}}", "this is no text"),
        ("{{lookup.phones.phone.x}}", "nothing is called `x` here"),
        ("{{#each records}}{{lookup.phones.phone}}{{/each}}", "nothing is called `lookup` here"),
    ] {
        let faults = composer(template, &phones()).err().unwrap_or_default();
        assert!(faults.iter().any(|fault| fault.starts_with(expected)), "{template}: {faults:?}");
    }
    assert!(composer("{{#each records}}{{@root.lookup.phones.phone}}{{/each}}x", &phones()).is_ok());
}

/// Editors of Windows put a byte order mark before UTF-8; in a mail it would be the first character.
#[test]
fn a_template_asks_whether_it_stands_in_a_persons_place_and_a_byte_order_mark_is_not_in_the_mail() {
    let (people, lookups) = (people(), Lookups::default());
    let composer = composer("\u{feff}{{#if about}}in a place{{else}}to you{{/if}}\n", &lookups).unwrap();
    let (alice, two) = (person("alice@example.com"), records("two-users-in-one-record.json"));
    let who = recipient(&people, "alice@example.com", &two);
    let to_her = draft("password-reset", &who, &alice, &people, &two);
    assert_eq!(text(&composer.compose(&sender(), &to_her).unwrap()).trim(), "to you");
    let about = Some(About { recipient: &who, reason: "no-address" });
    let in_place = Draft { about, ..to_her };
    assert_eq!(text(&composer.compose(&sender(), &in_place).unwrap()).trim(), "in a place");
}
