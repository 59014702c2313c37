//! The tables of people: canonical names, resolutions, and the file that changes under a running daemon.

use std::io::Write;
use std::path::Path;

use super::*;
use crate::record::Target;

const ALICE: &str = "3333aaaa-0000-4000-8000-00000000000a";
const BOB: &str = "3333aaaa-0000-4000-8000-00000000000b";

const FILE: &str = "id,upn,mail,other_mails,name,locale,time_zone,manager,sam,sid
3333AAAA-0000-4000-8000-00000000000A,alice@example.com,a.smith@example.com,x@example.com,Alice Smith,de,Europe/Berlin,,EX\\alice,S-1-5-21-1
,carol@example.com,,,,,,,EX\\carol,
3333aaaa-0000-4000-8000-00000000000d,,,,,,,,,
,guest_example.org#EXT#@example.onmicrosoft.com,guest@example.com,,,,,,,
,guest2_example.org#EXT#@example.onmicrosoft.com,,,,,,,,
,frank@example.com,frank@example.org,,,,,,,
";

fn people(file: Option<&Path>) -> People {
    People::load(Settings {
        allow_domains: vec!["Example.com".into()],
        csv: file.map(Path::to_owned),
        fallback: Vec::new(),
        wait: Duration::from_mins(15),
        max_rows: 100,
    })
    .unwrap()
}

fn with_file(text: &str) -> (People, tempfile::NamedTempFile) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    (people(Some(file.path())), file)
}

#[test]
fn one_person_has_one_canonical_name_and_it_may_never_change() {
    let (filed, _file) = with_file(FILE);
    let unfiled = people(None);
    for (why, people, id, upn, expected) in [
        ("an object id, folded", &unfiled, Some("3333AAAA-0000-4000-8000-00000000000A"), None, Some(ALICE)),
        ("the object id stands above the UPN", &unfiled, Some(ALICE), Some("alice@example.com"), Some(ALICE)),
        ("only a UPN: itself, folded", &unfiled, None, Some(" Alice@Example.com "), Some("alice@example.com")),
        ("DOMAIN\\user: itself, folded", &unfiled, None, Some("EX\\Alice"), Some("ex\\alice")),
        (
            "a SID in the place of an id, and a UPN",
            &unfiled,
            Some("S-1-5-21-1"),
            Some("b@example.com"),
            Some("s-1-5-21-1"),
        ),
        ("a UPN of the file gives its id", &filed, None, Some("ALICE@example.com"), Some(ALICE)),
        ("so does the mail address", &filed, None, Some("a.smith@example.com"), Some(ALICE)),
        ("so does DOMAIN\\user", &filed, None, Some("ex\\ALICE"), Some(ALICE)),
        ("so does the SID", &filed, Some("s-1-5-21-1"), None, Some(ALICE)),
        ("a row without an id gives its UPN", &filed, None, Some("EX\\carol"), Some("carol@example.com")),
        (
            "a record's id stands above the file's row for the UPN",
            &filed,
            Some(BOB),
            Some("alice@example.com"),
            Some(BOB),
        ),
        ("blank names are none", &filed, Some(""), Some("  "), None),
        ("no name at all", &filed, None, None, None),
    ] {
        assert_eq!(people.canonical(id, upn), expected.map(|name| Recipient::User(name.into())), "{why}");
    }
}

#[test]
fn every_recipient_is_found_unknown_or_refused_with_a_reason() {
    let (people, _file) = with_file(FILE);
    let record = record(&[
        (Some(BOB), Some("bob@example.com")),
        (Some("0000aaaa-0000-4000-8000-00000000000e"), Some("UserName")),
    ]);
    for (why, recipient, expected) in [
        ("a row's mail", user(ALICE), Ok("a.smith@example.com")),
        ("a row without mail: its UPN", user("carol@example.com"), Ok("carol@example.com")),
        ("no row: the UPN beside the id in the record", user(BOB), Ok("bob@example.com")),
        ("no row: the UPN itself", user("erin@example.com"), Ok("erin@example.com")),
        (
            "a guest with an address in the file",
            user("guest_example.org#ext#@example.onmicrosoft.com"),
            Ok("guest@example.com"),
        ),
        ("an address of the config", Recipient::Address("soc@example.com".into()), Ok("soc@example.com")),
        ("a guest without a row", user("g_x.org#ext#@example.com"), Err(Some(Refusal::Guest))),
        (
            "a guest's row without mail",
            user("guest2_example.org#ext#@example.onmicrosoft.com"),
            Err(Some(Refusal::Guest)),
        ),
        ("a row with neither", user("3333aaaa-0000-4000-8000-00000000000d"), Err(Some(Refusal::NoAddress))),
        (
            "a row's foreign mail is not gone round by the UPN",
            user("frank@example.com"),
            Err(Some(Refusal::ForeignDomain)),
        ),
        ("a UPN outside the domains", user("x@example.onmicrosoft.com"), Err(Some(Refusal::ForeignDomain))),
        (
            "an address of the config outside the domains",
            Recipient::Address("soc@example.org".into()),
            Err(Some(Refusal::ForeignDomain)),
        ),
        ("a service's name as UPN", user("0000aaaa-0000-4000-8000-00000000000e"), Err(Some(Refusal::Placeholder))),
        ("a deleted user", user("0f1e2d3c4b5a4968877695a4b3c2d1e0alice@example.com"), Err(Some(Refusal::Placeholder))),
        ("a masked UPN", user("xxxxx@example.com"), Err(Some(Refusal::Placeholder))),
        ("a quoted local part", user("\"a b\"@example.com"), Err(Some(Refusal::Undeliverable))),
        ("an id that nobody knows", user("9999aaaa-0000-4000-8000-000000000009"), Err(None)),
        ("DOMAIN\\user without a row", user("ex\\nobody"), Err(None)),
        ("a SID without a row", user("s-1-5-21-99"), Err(None)),
    ] {
        let got = match people.resolve(&recipient, std::slice::from_ref(&record)) {
            Resolution::Found(person) => Ok(person.address.to_string()),
            Resolution::Unknown => Err(None),
            Resolution::Refused(refusal) => Err(Some(refusal)),
        };
        assert_eq!(got, expected.map(str::to_owned), "{why}");
    }
}

#[test]
fn what_the_file_says_of_a_person_comes_with_the_address() {
    let (people, _file) = with_file(FILE);
    let Resolution::Found(person) = people.resolve(&user(ALICE), &[]) else { panic!("not found") };
    assert_eq!(person.name.as_deref(), Some("Alice Smith"));
    assert_eq!(person.locale.as_deref(), Some("de"));
    assert_eq!(person.time_zone.as_deref(), Some("Europe/Berlin"));
}

#[test]
fn a_row_with_a_upn_only_is_found_by_the_upn_that_the_record_gives_beside_the_id() {
    let (people, _file) = with_file(FILE);
    let records = [record(&[(Some("3333aaaa-0000-4000-8000-0000000000ff"), Some("frank@example.com"))])];
    let frank = people.resolve(&user("3333aaaa-0000-4000-8000-0000000000ff"), &records);
    assert_eq!(frank, Resolution::Refused(Refusal::ForeignDomain), "the row's mail decides, and it is elsewhere");
}

#[test]
fn a_upn_that_has_gone_to_somebody_else_is_not_mailed() {
    let (people, _file) = with_file(FILE);
    let records = [record(&[(Some(BOB), Some("alice@example.com"))])];
    assert_eq!(people.resolve(&user(BOB), &records), Resolution::Refused(Refusal::NoAddress));
}

#[test]
fn a_changed_file_is_read_again_and_a_faulty_one_leaves_the_old_rows() {
    let (people, file) = with_file("id,upn,mail\n,alice@example.com,a@example.com\n");
    assert!(!people.refresh().unwrap(), "nothing changed");
    std::fs::write(file.path(), "id,upn,mail\n,alice@example.com,a.new@example.com\n").unwrap();
    assert!(!people.refresh().unwrap(), "somebody may be writing it");
    assert!(people.refresh().unwrap());
    assert!(!people.refresh().unwrap(), "once");
    assert_eq!(address(&people), "a.new@example.com");
    std::fs::write(file.path(), "id,upn,mail,nonsense\n").unwrap();
    assert!(!people.refresh().unwrap());
    assert!(people.refresh().is_err());
    assert!(people.refresh().is_err(), "and each time that it is looked at");
    assert_eq!(address(&people), "a.new@example.com");
    std::fs::remove_file(file.path()).unwrap();
    assert!(people.refresh().is_err());
    assert_eq!(address(&people), "a.new@example.com");
}

/// Of half a file she would be mailed at her UPN.
#[test]
fn a_file_that_is_being_written_is_read_when_it_has_been_still() {
    let (people, file) = with_file("id,upn,mail\n,alice@example.com,a@example.com\n");
    for half in ["id,upn,mail\n", "id,upn,mail\n,bob@example.com,b@example.com\n"] {
        std::fs::write(file.path(), half).unwrap();
        assert!(!people.refresh().unwrap());
        assert_eq!(address(&people), "a@example.com", "{half}");
    }
    std::fs::write(file.path(), "id,upn,mail\n,bob@example.com,b@example.com\n,alice@example.com,a.new@example.com\n")
        .unwrap();
    assert!(!people.refresh().unwrap());
    assert!(people.refresh().unwrap());
    assert_eq!(address(&people), "a.new@example.com");
}

#[test]
fn a_file_that_changes_at_every_look_is_read_all_the_same() {
    let (people, file) = with_file("id,upn,mail\n,alice@example.com,a@example.com\n");
    let mut read = Vec::new();
    for look in 1..=8 {
        let mail = format!("id,upn,mail\n,alice@example.com,a.{}@example.com\n", "x".repeat(look));
        std::fs::write(file.path(), mail).unwrap();
        read.push(people.refresh().unwrap());
    }
    assert_eq!(read, [false, false, false, true, false, false, false, true]);
    assert_eq!(address(&people), "a.xxxxxxxx@example.com");
}

#[test]
fn a_recipient_named_before_the_file_knew_him_is_still_himself() {
    let (people, _file) = with_file(FILE);
    assert!(people.is(&user("alice@example.com"), None, Some("Alice@example.com")));
    assert!(people.is(&user(ALICE), None, Some("EX\\alice")));
    assert!(!people.is(&user(ALICE), Some(BOB), Some("bob@example.com")));
    assert!(!people.is(&Recipient::Address("alice@example.com".into()), None, Some("alice@example.com")));
}

fn address(people: &People) -> String {
    match people.resolve(&user("alice@example.com"), &[]) {
        Resolution::Found(person) => person.address.to_string(),
        other => panic!("{other:?}"),
    }
}

fn user(name: &str) -> Recipient {
    Recipient::User(name.into())
}

fn record(targets: &[(Option<&str>, Option<&str>)]) -> Record {
    let position = crate::record::Position { source: "-".into(), topic: None, partition: None, offset: None, index: 0 };
    let mut record = Record::read("{}", position, None);
    let own = |name: Option<&str>| name.map(str::to_owned);
    record.targets =
        targets.iter().map(|(id, upn)| Target { id: own(*id), upn: own(*upn), ..Target::default() }).collect();
    record
}

#[test]
fn a_manager_is_found_through_the_row_of_whom_they_manage() {
    let file = "id,upn,mail,other_mails,manager\n\
        ,alice@example.com,,,EX-boss@example.com\n\
        ,bob@example.com,,,gone@elsewhere.test\n\
        ,carol@example.com,,,\n\
        3333aaaa-0000-4000-8000-00000000000d,EX-boss@example.com,boss@example.com,,\n";
    let (people, _file) = with_file(file);
    let answer = |of: &str| match people.resolve(&Recipient::Manager(of.into()), &[]) {
        Resolution::Found(person) => person.address.to_string(),
        Resolution::Unknown => "unknown".into(),
        Resolution::Refused(refusal) => refusal.as_str().into(),
    };
    for (why, of, expected) in [
        ("by the UPN of another row, at its mail", "alice@example.com", "boss@example.com"),
        ("somebody without a row, as any address", "bob@example.com", "foreign-domain"),
        ("none named", "carol@example.com", "no-manager"),
        ("without a row of their own they may still come", "dan@example.com", "unknown"),
    ] {
        assert_eq!(answer(of), expected, "{why}");
    }
    let boss = Recipient::User("3333aaaa-0000-4000-8000-00000000000d".into());
    assert_eq!(people.manager(&Recipient::User("alice@example.com".into())), Some(boss), "canonical");
    assert_eq!(people.manager(&Recipient::User("carol@example.com".into())), None);
    let missing = people.resolve(&Recipient::Missing("lookup:owners.mail".into()), &[]);
    assert_eq!(missing, Resolution::Refused(Refusal::NoValue));
}

/// A13: without `mail`, the first of the other addresses that may be mailed.
#[test]
fn other_addresses_stand_before_the_upn_and_behind_mail() {
    let file = "upn,mail,other_mails\n\
        ann@example.com,,private@elsewhere.test; ann.b@example.com\n\
        ben@example.com,,private@elsewhere.test\n\
        cid@example.com,c@example.com,\"c1@example.com, c2@example.com\"\n";
    let (people, _file) = with_file(file);
    let user = |upn: &str| Recipient::User(upn.into());
    let address = |upn: &str| match people.resolve(&user(upn), &[]) {
        Resolution::Found(person) => person.address.to_string(),
        other => format!("{other:?}"),
    };
    assert_eq!(address("ann@example.com"), "ann.b@example.com");
    assert_eq!(address("ben@example.com"), "ben@example.com", "none of them may be mailed: the UPN");
    assert_eq!(address("cid@example.com"), "c@example.com");
    assert_eq!(people.alternates(&user("cid@example.com")), ["c1@example.com".into(), "c2@example.com".into()]);
    assert_eq!(people.alternates(&user("nobody@example.com")), []);
}
