//! The mails themselves, parsed back as a mail client does: what each shipped template says of each act, that nobody
//! reads of anybody else, and that hostile text stays text.

mod hostile;
mod looked_up;
mod of_packs;
mod rooms;
mod told;

use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use auditbell::clock::Timestamp;
use auditbell::compose::{About, Brand, Composer, Draft, Kind, Mail, Sender};
use auditbell::lookup::Lookups;
use auditbell::people::{People, Person, Settings};
use auditbell::plan::Recipient;
use auditbell::record::{Position, Record, Severity};
use mail_parser::{Message, MessageParser};
use serde_json::Value;

const KEY: &str = "00004f3e0123456789abcdef01234567";

fn brand() -> Brand {
    Brand {
        name: Some("Example Security".into()),
        address: Some("Example Ltd, 1 Example Street, Exampletown".into()),
        logo_file: None,
        helpdesk_url: Some("https://help.example.com/".into()),
        security_contact: Some("security@example.com, extension 4711".into()),
        report_url: Some("https://bell.example.com/report".into()),
        review_url: Some("https://mysignins.example.com/security-info".into()),
    }
}

fn sender() -> Sender {
    Sender {
        from: "Example Security <security@example.com>".into(),
        reply_to: Some("helpdesk@example.com".into()),
        redirect_to: None,
    }
}

fn people() -> People {
    People::load(Settings {
        allow_domains: vec!["example.com".into()],
        csv: None,
        fallback: Vec::new(),
        wait: Duration::from_mins(15),
        max_rows: 10,
    })
    .unwrap()
}

/// Loading checks and renders every template: once is enough.
static COMPOSER: LazyLock<Composer> = LazyLock::new(|| {
    Composer::load(None, &brand(), &Lookups::default()).unwrap_or_else(|faults| panic!("{faults:#?}"))
});

/// The records of a fixture, as the daemon reads them.
fn records(fixture: &str) -> Vec<Record> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/records").join(fixture);
    let envelope: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    // AWS writes it with a capital, and an interface gives pages.
    let records = ["records", "Records", "value"].iter().find_map(|name| envelope.get(name));
    records.unwrap().as_array().unwrap().iter().map(read).collect()
}

fn read(raw: &Value) -> Record {
    let position = Position { source: "entra".into(), topic: None, partition: None, offset: None, index: 0 };
    Record::read(&raw.to_string(), position, None)
}

/// Those of them that are about `upn`.
fn about(upn: &str, records: Vec<Record>) -> Vec<Record> {
    let is_upn = |own: &Option<String>| own.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(upn));
    records.into_iter().filter(|record| record.targets.iter().any(|target| is_upn(&target.upn))).collect()
}

fn recipient(people: &People, upn: &str, records: &[Record]) -> Recipient {
    let is_upn = |own: &Option<String>| own.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(upn));
    let target = records.iter().flat_map(|record| &record.targets).find(|target| is_upn(&target.upn));
    let id = target.and_then(|target| target.id.as_deref());
    people.canonical(id, Some(upn)).unwrap()
}

/// A mail to `upn` about `records`.
fn mail(template: &str, upn: &str, severity: Severity, records: &[Record]) -> Mail {
    let people = people();
    let recipient = recipient(&people, upn, records);
    let person = person(upn);
    let draft = Draft { severity, ..draft(template, &recipient, &person, &people, records) };
    COMPOSER.compose(&sender(), &draft).unwrap()
}

fn person(upn: &str) -> Person {
    Person { address: upn.into(), name: None, locale: None, time_zone: Some("Europe/Berlin".into()) }
}

/// What the operators are told of a message that was given up.
fn mail_of_ours() -> Mail {
    let people = people();
    let soc = person("soc@example.com");
    let records = [rooms::given_up()];
    let recipient = Recipient::Address("soc@example.com".into());
    let draft = Draft { title: "A message was given up", ..draft("delivery", &recipient, &soc, &people, &records) };
    COMPOSER.compose(&sender(), &draft).unwrap()
}

/// A mail that leaves more than an hour after it was meant to.
fn late() -> Mail {
    let (people, alice) = (people(), person("alice@example.com"));
    let records = about("alice@example.com", records("password-changed-by-self.json"));
    let recipient = recipient(&people, "alice@example.com", &records);
    let draft = Draft { late: true, ..draft("password-changed", &recipient, &alice, &people, &records) };
    COMPOSER.compose(&sender(), &draft).unwrap()
}

/// A rule without a description, which then is its id.
fn of_a_rule_without_words() -> Mail {
    let (people, alice) = (people(), person("alice@example.com"));
    let records = about("alice@example.com", records("security-info-registered.json"));
    let recipient = recipient(&people, "alice@example.com", &records);
    let draft = Draft { title: "the-rule", ..draft("notice", &recipient, &alice, &people, &records) };
    COMPOSER.compose(&sender(), &draft).unwrap()
}

fn draft<'a>(
    template: &'a str,
    recipient: &'a Recipient,
    person: &'a Person,
    people: &'a People,
    records: &'a [Record],
) -> Draft<'a> {
    Draft {
        key: KEY,
        template,
        fallback: false,
        kind: Kind::Normal,
        rule: "the-rule",
        title: "Something happened to an account",
        severity: Severity::Medium,
        created_at: Timestamp::from_millis(1_769_105_722_000),
        late: false,
        recipient,
        person: Some(person),
        people,
        about: None,
        records,
    }
}

/// A mail to the security team in the place of somebody who was not reached.
fn mail_in_place(kind: Kind, reason: &str, upn: &str, records: &[Record]) -> Mail {
    mail_of(kind, &recipient(&people(), upn, records), reason, records)
}

/// A mail to the security team in the place of `missed`.
fn mail_of(kind: Kind, missed: &Recipient, reason: &str, records: &[Record]) -> Mail {
    let people = people();
    let soc: Arc<str> = "soc@example.com".into();
    let draft = Draft {
        key: KEY,
        template: "password-reset",
        fallback: false,
        kind,
        rule: "password-reset",
        title: "Somebody reset a user's password",
        severity: Severity::Medium,
        created_at: Timestamp::from_millis(1_769_105_722_000),
        late: false,
        recipient: &Recipient::Address(Arc::clone(&soc)),
        person: Some(&Person { address: soc, name: None, locale: None, time_zone: None }),
        people: &people,
        about: Some(About { recipient: missed, reason }),
        records,
    };
    COMPOSER.compose(&sender(), &draft).unwrap()
}

fn parse(mail: &Mail) -> Message<'_> {
    MessageParser::default().parse(&mail.bytes[..]).unwrap()
}

fn text(mail: &Mail) -> String {
    parse(mail).body_text(0).unwrap().into_owned()
}

fn html(mail: &Mail) -> String {
    parse(mail).body_html(0).unwrap().into_owned()
}

fn header_block(mail: &Mail) -> String {
    let whole = String::from_utf8(mail.bytes.to_vec()).unwrap();
    whole.split_once("\r\n\r\n").unwrap().0.to_owned()
}

/// Every tag with its attributes, in order: what no text of a record may change.
fn skeleton(html: &str) -> Vec<&str> {
    html.match_indices('<').map(|(at, _)| html[at..].split_inclusive('>').next().unwrap()).collect()
}

/// What the HTML part shows of records.
fn shown(html: &str) -> Vec<String> {
    let unescape = |text: &str| {
        let named = [
            ("&lt;", "<"),
            ("&gt;", ">"),
            ("&quot;", "\""),
            ("&#x27;", "'"),
            ("&#x60;", "`"),
            ("&#x3D;", "="),
            ("&amp;", "&"),
        ];
        named.iter().fold(text.to_owned(), |text, (entity, character)| text.replace(entity, character))
    };
    html.split("<bdi>").skip(1).map(|rest| unescape(rest.split("</bdi>").next().unwrap())).collect()
}

/// Every shipped template with a fixture of its own.
#[expect(clippy::too_many_lines, reason = "one table")]
pub fn all_mails() -> Vec<(&'static str, Mail)> {
    let of = |template: &str, upn: &str, severity, fixture: &str, operations: &[&str]| {
        let mut records = about(upn, records(fixture));
        if !operations.is_empty() {
            records.retain(|record| operations.contains(&record.operation.as_deref().unwrap_or_default()));
        }
        assert!(!records.is_empty(), "{fixture} has nothing for {upn}");
        mail(template, upn, severity, &records)
    };
    let (alice, bob) = ("alice@example.com", "bob@example.com");
    let medium = Severity::Medium;
    // No fixture has one: the addition's record under the other name.
    let mut removed = records("multifactor-and-passkeys.json");
    removed.retain(|record| record.operation.as_deref() == Some("Add Passkey (device-bound)"));
    removed[0].operation = Some("Delete Passkey (device-bound)".into());
    let mut mails = vec![
        ("password-reset", of("password-reset", alice, medium, "admin-password-reset.json", &[])),
        (
            "password-reset-by-self",
            of(
                "password-reset",
                alice,
                medium,
                "self-service-password-reset.json",
                &["Reset password (self-service)", "Reset user password", "Update StsRefreshTokenValidFrom Timestamp"],
            ),
        ),
        ("password-reset-by-app", of("password-reset", bob, medium, "app-actor.json", &[])),
        ("password-changed", of("password-changed", alice, medium, "password-changed-by-self.json", &[])),
        (
            "security-info-registered",
            of("security-info-registered", alice, Severity::High, "security-info-registered.json", &[]),
        ),
        (
            "security-info-registered-by-admin",
            of("security-info-registered", alice, Severity::High, "security-info-registered-by-admin.json", &[]),
        ),
        ("security-info-changed", of("security-info-changed", alice, medium, "security-info-changed.json", &[])),
        ("security-info-deleted", of("security-info-deleted", bob, medium, "security-info-deleted.json", &[])),
        ("default-method-changed", of("default-method-changed", alice, medium, "default-method-changed.json", &[])),
        (
            "strong-authentication-changed",
            of("strong-authentication-changed", alice, Severity::High, "update-user-strong-authentication.json", &[]),
        ),
        ("notice", of("notice", alice, medium, "security-info-registered.json", &[])),
        ("notice-without-words", of_a_rule_without_words()),
        ("account-enabled", of("account-enabled", bob, medium, "account-enabled.json", &[])),
        ("account-disabled", of("account-disabled", bob, medium, "account-disabled.json", &[])),
        (
            "credential-added",
            of(
                "credential-added",
                alice,
                Severity::High,
                "multifactor-and-passkeys.json",
                &["Add Passkey (device-bound)"],
            ),
        ),
        ("credential-removed", mail("credential-removed", alice, medium, &removed)),
        (
            "suspicious-activity",
            of(
                "suspicious-activity",
                alice,
                Severity::Critical,
                "multifactor-and-passkeys.json",
                &["Suspicious activity reported"],
            ),
        ),
        ("fallback", of("of-a-rule-that-is-gone", alice, medium, "admin-password-reset.json", &[])),
        ("hostile-text", of("password-reset", alice, medium, "hostile-text.json", &[])),
        (
            "unresolved",
            mail_in_place(
                Kind::Unresolved,
                "foreign-domain",
                alice,
                &about(alice, records("admin-password-reset.json")),
            ),
        ),
        (
            "failed",
            mail_in_place(
                Kind::Failed,
                "recipient-refused",
                alice,
                &about(alice, records("admin-password-reset.json")),
            ),
        ),
        (
            "failed-room",
            mail_of(
                Kind::Failed,
                &Recipient::Room("ops-hook".into()),
                "content-refused",
                &about(alice, records("admin-password-reset.json")),
            ),
        ),
        ("delivery", mail_of_ours()),
        ("late", late()),
        ("test", mail_in_place(Kind::Test, "", alice, &about(alice, records("admin-password-reset.json")))),
    ];
    mails.extend(of_packs::mails());
    mails
}

#[test]
fn every_shipped_template_reads_as_it_should() {
    for (name, mail) in all_mails() {
        let seen = format!(
            "RCPT TO: {}\n{}\n\n{}\n{}",
            mail.to,
            header_block(&mail).replace("\r\n", "\n"),
            text(&mail).replace("\r\n", "\n"),
            html(&mail).replace("\r\n", "\n")
        );
        insta::assert_snapshot!(name, seen);
    }
}

/// Run with `AUDITBELL_MAILS=DIR`, then open DIR in a browser.
#[test]
#[ignore = "for the eye: writes every mail to the directory AUDITBELL_MAILS"]
fn every_mail_to_a_directory() {
    let dir = std::env::var("AUDITBELL_MAILS").unwrap();
    for (name, mail) in all_mails() {
        std::fs::write(format!("{dir}/{name}.html"), html(&mail)).unwrap();
        std::fs::write(format!("{dir}/{name}.txt"), text(&mail)).unwrap();
        std::fs::write(format!("{dir}/{name}.eml"), &mail.bytes).unwrap();
    }
}

#[test]
fn the_bytes_are_fit_for_any_relay_and_the_same_each_time() {
    let again = all_mails();
    for ((name, mail), (_, second)) in all_mails().iter().zip(&again) {
        assert_eq!(mail.bytes, second.bytes, "{name}: not the same bytes");
        assert_eq!(mail.digest, *blake3::hash(&mail.bytes).as_bytes(), "{name}");
        let whole = std::str::from_utf8(&mail.bytes).unwrap();
        assert!(whole.is_ascii() && whole.ends_with("\r\n"), "{name}");
        assert!(!whole.replace("\r\n", "").contains(['\r', '\n', '\0']), "{name}: a bare CR, LF or NUL");
        let (headers, body) = whole.split_once("\r\n\r\n").unwrap();
        assert!(headers.lines().all(|line| line.len() <= 998), "{name}: header line too long");
        assert!(body.lines().all(|line| line.len() <= 76), "{name}: body line too long");
        assert!(whole.len() <= 150 * 1024, "{name}: {} bytes", whole.len());
    }
}
