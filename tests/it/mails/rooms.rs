//! What rooms are sent: a JSON document for every template, and what a late notice says.

use std::path::Path;

use auditbell::clock::Timestamp;
use auditbell::compose::{About, ComposeError, Composer, Draft, Kind};
use auditbell::lookup::Lookups;
use auditbell::people::People;
use auditbell::plan::Recipient;
use auditbell::record::own::{GivenUp, Own};
use auditbell::record::{Record, Severity, own};
use serde_json::Value;

use super::{
    COMPOSER, KEY, about, brand, header_block, html, mail_of, people, person, recipient, records, sender, text,
};

const CREATED: Timestamp = Timestamp::from_millis(1_769_105_722_000);

/// What the room `ops-hook` is sent.
fn draft<'a>(template: &'a str, records: &'a [Record], room: &'a Recipient, people: &'a People) -> Draft<'a> {
    Draft {
        key: KEY,
        template,
        fallback: false,
        kind: Kind::Normal,
        rule: "the-rule",
        title: "Somebody reset a \"user's\" password",
        severity: Severity::High,
        created_at: CREATED,
        late: false,
        recipient: room,
        person: None,
        people,
        about: None,
        records,
    }
}

fn room() -> Recipient {
    Recipient::Room("ops-hook".into())
}

fn json(composer: &Composer, draft: &Draft<'_>) -> Value {
    let document = composer.document(draft).unwrap();
    assert_eq!(document.digest, *blake3::hash(&document.bytes).as_bytes());
    assert_eq!(document, composer.document(draft).unwrap(), "the same input gives the same bytes");
    serde_json::from_slice(&document.bytes).unwrap()
}

/// One of our own records, as the store keeps it.
pub(super) fn given_up() -> Record {
    let given_up = GivenUp {
        message: KEY.into(),
        state: "failed",
        reason: "recipient-refused",
        channel: "email".into(),
        rule: "password-reset".into(),
        kind: "normal",
        severity: Severity::Medium,
        recipient: "user:alice@example.com".into(),
        attempts: 3,
        code: Some(550),
    };
    let body = Own::GivenUp(given_up).json(CREATED);
    Record::read(std::str::from_utf8(&body).unwrap(), own::position(1), None)
}

/// A composer with one file over the embedded set.
fn composer_with(path: &str, text: &str) -> Composer {
    let dir = tempfile::tempdir().unwrap();
    let file: &Path = &dir.path().join(path);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, text).unwrap();
    Composer::load(Some(dir.path()), &brand(), &Lookups::default()).unwrap()
}

#[test]
fn every_kind_of_document_reads_as_it_should() {
    let (room, people) = (room(), people());
    let reset = about("alice@example.com", records("password-changed-by-self.json"));
    let missed = recipient(&people, "alice@example.com", &reset);
    let of_ours = [given_up()];
    let normal = draft("password-reset", &reset, &room, &people);
    let instead = |kind, reason| Draft { kind, about: Some(About { recipient: &missed, reason }), ..normal.clone() };
    let of_a_room = Draft {
        kind: Kind::Failed,
        about: Some(About { recipient: &room, reason: "content-refused" }),
        ..normal.clone()
    };
    for (name, draft) in [
        ("document-normal", normal.clone()),
        ("document-late", Draft { late: true, ..normal.clone() }),
        ("document-unresolved", instead(Kind::Unresolved, "guest")),
        ("document-failed", instead(Kind::Failed, "recipient-refused")),
        ("document-failed-room", of_a_room),
        ("document-test", Draft { kind: Kind::Test, records: &[], ..normal.clone() }),
        ("document-delivery", draft("delivery", &of_ours, &room, &people)),
        ("document-of-a-rule-that-is-gone", Draft { template: "gone", ..normal }),
    ] {
        insta::assert_snapshot!(name, serde_json::to_string_pretty(&json(&COMPOSER, &draft)).unwrap());
    }
}

#[test]
fn every_shipped_template_makes_a_document_of_any_record() {
    let (room, people) = (room(), people());
    for name in COMPOSER.names() {
        for fixture in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/records")).unwrap() {
            let fixture = fixture.unwrap().path();
            if fixture.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let fixture = fixture.file_name().unwrap().to_str().unwrap();
            let records = records(fixture);
            assert_eq!(json(&COMPOSER, &draft(name, &records, &room, &people))["id"], KEY, "{name} {fixture}");
        }
    }
}

/// A machine compares what it reads: nothing is broken for the sake of mail clients, and nothing breaks out of its string.
#[test]
fn text_of_a_record_comes_whole_and_stays_inside_its_string() {
    let (room, people) = (room(), people());
    let mut records = about("alice@example.com", records("password-changed-by-self.json"));
    let hostile = "x\", \"severity\": \"low\u{202e}\\\n{{rule.id}} https://evil.example";
    records[0].operation = Some(hostile.into());
    records[0].actor.as_mut().unwrap().upn = Some(format!("{}@example.com", "u".repeat(100)));
    let composer =
        composer_with("password-reset/body.hbs", "{\"a\": \"{{first records 'operation'}}\", \"b\": {{json records}}}");
    let document = json(&composer, &draft("password-reset", &records, &room, &people));
    assert_eq!(document["a"], "x\", \"severity\": \"low\\ {{rule.id}} https://evil.example");
    assert_eq!(document["b"][0]["actor"]["upn"].as_str().unwrap().len(), 112);
    assert_eq!(document.as_object().unwrap().len(), 2, "{document}");
}

/// The room hears of the person in whose place it hears, and of nobody else in the record.
#[test]
fn a_document_in_somebodys_place_shows_no_others_part() {
    let (room, people) = (room(), people());
    let all = records("two-users-in-one-record.json");
    let alice = recipient(&people, "alice@example.com", &all);
    let normal = draft("password-reset", &all, &room, &people);
    let instead =
        Draft { kind: Kind::Failed, about: Some(About { recipient: &alice, reason: "guest" }), ..normal.clone() };
    assert!(json(&COMPOSER, &normal).to_string().contains("bob@example.com"), "the security team's own room sees all");
    assert!(!json(&COMPOSER, &instead).to_string().contains("bob@example.com"));
}

#[test]
fn a_template_has_a_body_of_its_own_and_one_for_each_kind() {
    let (room, people) = (room(), people());
    let alice = Recipient::Address("alice@example.com".into());
    let about = Some(About { recipient: &alice, reason: "guest" });
    let normal = draft("password-reset", &[], &room, &people);
    for (why, path, draft, own) in [
        ("its own", "password-reset/body.hbs", normal.clone(), true),
        ("another's", "password-changed/body.hbs", normal.clone(), false),
        ("everybody's", "layout/body.hbs", normal.clone(), true),
        ("its own of another kind", "password-reset/failed/body.hbs", normal.clone(), false),
        (
            "its own of this kind",
            "password-reset/failed/body.hbs",
            Draft { kind: Kind::Failed, about, ..normal.clone() },
            true,
        ),
        ("everybody's of this kind", "failed/body.hbs", Draft { kind: Kind::Failed, about, ..normal.clone() }, true),
        ("not when it is broken", "password-reset/body.hbs", Draft { fallback: true, ..normal.clone() }, false),
        ("a template for rooms alone", "pager/body.hbs", Draft { template: "pager", ..normal.clone() }, true),
    ] {
        let document = json(&composer_with(path, "\"own {{rule.id}}\""), &draft);
        assert_eq!(document == "own the-rule", own, "{why}: {document}");
    }
}

#[test]
fn what_is_no_json_for_this_record_is_a_template_that_failed_and_says_no_value() {
    let (room, people) = (room(), people());
    let records = about("alice@example.com", records("password-changed-by-self.json"));
    // Right of a record without an operation, and of one that is called `sample`.
    let composer = composer_with(
        "pager/body.hbs",
        "[{{#each records}}{{json id}}{{#if @first}}{{#unless @last}},{{/unless}}{{/if}}{{#if (and operation (ne operation 'sample'))}},{{/if}}{{/each}}]",
    );
    let error = composer.document(&draft("pager", &records[..1], &room, &people)).unwrap_err();
    assert_eq!(error, ComposeError::NotJson { name: "pager".into(), line: 1 });
    assert_eq!(error.to_string(), "template pager/body, line 1 of what it renders to: is no JSON");
}

#[test]
fn a_late_notice_says_so_in_both_parts_and_in_the_readers_zone() {
    let (people, alice) = (people(), person("alice@example.com"));
    let records = about("alice@example.com", records("password-changed-by-self.json"));
    let recipient = recipient(&people, "alice@example.com", &records);
    let draft = Draft {
        recipient: &recipient,
        person: Some(&alice),
        ..draft("password-changed", &records, &recipient, &people)
    };
    let sentence = "This notice is late: it was meant to leave on 22 January 2026, 19:15 CET (18:15 UTC).";
    let in_time = COMPOSER.compose(&sender(), &draft).unwrap();
    let late = COMPOSER.compose(&sender(), &Draft { late: true, ..draft.clone() }).unwrap();
    assert!(text(&late).contains(sentence) && html(&late).contains(sentence), "{}", text(&late));
    assert!(!text(&in_time).contains("late") && !html(&in_time).contains("This notice"));
    assert_eq!(header_block(&late), header_block(&in_time), "the same Date: it is when the notice came to be");
    for name in COMPOSER.names() {
        let late = COMPOSER.compose(&sender(), &Draft { template: name, late: true, ..draft.clone() }).unwrap();
        assert!(text(&late).contains(sentence) && html(&late).contains(sentence), "{name}");
    }
}

#[test]
fn a_mail_to_the_fallback_list_tells_a_room_from_a_person() {
    let room = room();
    let mail = mail_of(Kind::Failed, &room, "content-refused", &records("admin-password-reset.json"));
    assert!(text(&mail).contains("The message to the room below was given up."), "{}", text(&mail));
    assert!(text(&mail).contains("Room: ops-hook"));
}
