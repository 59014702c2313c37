//! The mails themselves, parsed back as a mail client does: what each shipped template says of each act, that nobody
//! reads of anybody else, and that hostile text stays text.

use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use auditbell::clock::Timestamp;
use auditbell::compose::{About, Brand, Composer, Draft, Kind, Mail, Sender};
use auditbell::people::{People, Person, Resolution, Settings};
use auditbell::plan::Recipient;
use auditbell::record::{Change, Position, Record, Severity};
use mail_parser::{Message, MessageParser};
use proptest::prelude::*;
use serde_json::{Value, json};

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
static COMPOSER: LazyLock<Composer> =
    LazyLock::new(|| Composer::load(None, &brand()).unwrap_or_else(|faults| panic!("{faults:#?}")));

/// The records of a fixture, as the daemon reads them.
fn records(fixture: &str) -> Vec<Record> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/records").join(fixture);
    let envelope: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    envelope["records"].as_array().unwrap().iter().map(read).collect()
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
    let draft = Draft {
        key: KEY,
        template,
        fallback: false,
        kind: Kind::Normal,
        rule: "the-rule",
        title: "Something happened to an account",
        severity,
        created_at: Timestamp::from_millis(1_769_105_722_000),
        recipient: &recipient,
        person: &person,
        people: &people,
        about: None,
        records,
    };
    COMPOSER.compose(&sender(), &draft).unwrap()
}

fn person(upn: &str) -> Person {
    Person { address: upn.into(), name: None, locale: None, time_zone: Some("Europe/Berlin".into()) }
}

/// A mail to the security team in the place of somebody who was not reached.
fn mail_in_place(kind: Kind, reason: &str, upn: &str, records: &[Record]) -> Mail {
    let people = people();
    let missed = recipient(&people, upn, records);
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
        recipient: &Recipient::Address(Arc::clone(&soc)),
        person: &Person { address: soc, name: None, locale: None, time_zone: None },
        people: &people,
        about: Some(About { recipient: &missed, reason }),
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
fn all_mails() -> Vec<(&'static str, Mail)> {
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
    vec![
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
        ("test", mail_in_place(Kind::Test, "", alice, &about(alice, records("admin-password-reset.json")))),
    ]
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

#[test]
fn headers_say_what_the_mail_is_and_to_whom_it_goes() {
    let mail = mail(
        "security-info-registered",
        "alice@example.com",
        Severity::High,
        &about("alice@example.com", records("security-info-registered.json")),
    );
    let headers = header_block(&mail);
    for expected in [
        "From: \"Example Security\" <security@example.com>",
        "To: alice@example.com",
        "Reply-To: helpdesk@example.com",
        "Message-ID: <00004f3e0123456789abcdef01234567@example.com>",
        "Date: Thu, 22 Jan 2026 18:15:22 +0000",
        "Auto-Submitted: auto-generated",
        "X-Auto-Response-Suppress: OOF, AutoReply, RN, NRN",
        "Importance: high",
        "X-Priority: 1",
        "Content-Language: en",
        "X-Auditbell-Rule: the-rule",
    ] {
        assert!(headers.lines().any(|line| line == expected), "no `{expected}` in\n{headers}");
    }
    let calm = header_block(&self::mail(
        "password-changed",
        "alice@example.com",
        Severity::Medium,
        &about("alice@example.com", records("password-changed-by-self.json")),
    ));
    assert!(!calm.contains("Importance") && !calm.contains("X-Priority"), "{calm}");
}

#[test]
fn a4_the_added_method_and_the_old_one_are_named() {
    for (fixture, words) in [
        ("update-user-strong-authentication.json", ["Added: App", "Before: Phone", "Now: Phone, App"]),
        (
            "security-info-registered.json",
            [
                "Added: authenticator app notification, authenticator app code",
                "Before: phone call (default)",
                "Now: phone call, authenticator app notification (default), authenticator app code",
            ],
        ),
    ] {
        let mail = mail(
            "security-info-registered",
            "alice@example.com",
            Severity::High,
            &about("alice@example.com", records(fixture)),
        );
        for word in words {
            assert!(text(&mail).contains(word), "{fixture}: no `{word}` in\n{}", text(&mail));
        }
    }
}

#[test]
fn six_records_of_one_reset_read_as_one_act() {
    let mail = mail(
        "password-reset",
        "alice@example.com",
        Severity::Medium,
        &about("alice@example.com", records("admin-password-reset.json")),
    );
    let text = text(&mail);
    assert!(text.contains("What: Reset password (by admin)"), "the telling record leads:\n{text}");
    assert_eq!(text.matches("By: ").count(), 1, "{text}");
    assert!(text.contains("By: Another user: helpdesk[@]example[.]com"), "{text}");
    assert!(text.contains("When: 22 January 2026, 19:15 CET (18:15 UTC)"), "{text}");
    assert!(text.contains("Also in the audit log"), "{text}");
}

#[test]
fn a_redirected_mail_goes_to_the_try_out_address_and_names_the_real_one() {
    let people = people();
    let records = about("alice@example.com", records("password-changed-by-self.json"));
    let recipient = recipient(&people, "alice@example.com", &records);
    let person = person("alice@example.com");
    let draft = Draft {
        key: KEY,
        template: "password-changed",
        fallback: false,
        kind: Kind::Normal,
        rule: "r",
        title: "t",
        severity: Severity::Low,
        created_at: Timestamp::from_millis(0),
        recipient: &recipient,
        person: &person,
        people: &people,
        about: None,
        records: &records,
    };
    let sender = Sender { redirect_to: Some("tester@example.org".into()), ..sender() };
    let mail = COMPOSER.compose(&sender, &draft).unwrap();
    assert_eq!(&*mail.to, "tester@example.org");
    let parsed = parse(&mail);
    assert_eq!(parsed.to().unwrap().first().unwrap().address(), Some("tester@example.org"));
    assert_eq!(parsed.subject(), Some("[to alice@example.com] Your password was changed"));
}

/// The security team did not do it, nor is it their account.
#[test]
fn whoever_hears_of_it_in_anothers_place_is_not_called_you() {
    let records = about("alice@example.com", records("password-changed-by-self.json"));
    let mail = mail_in_place(Kind::Unresolved, "guest", "alice@example.com", &records);
    assert!(text(&mail).contains("By: The person themselves (alice@example.com)"), "{}", text(&mail));
}

#[test]
fn what_the_html_part_shows_the_text_part_says() {
    for (name, mail) in all_mails() {
        let text = text(&mail);
        for value in shown(&html(&mail)) {
            assert!(text.contains(&value), "{name}: `{value}` is not in\n{text}");
        }
    }
}

#[test]
fn nothing_in_a_mail_is_fetched_from_anywhere() {
    for (name, mail) in all_mails() {
        let html = html(&mail);
        for tag in skeleton(&html) {
            let loads =
                ["<img", "<link", "<script", "<iframe", "<form", "src=", "url("].iter().any(|part| tag.contains(part));
            assert!(!loads, "{name}: {tag}");
        }
        assert_eq!(html.matches("<h1").count(), 1, "{name}");
    }
}

#[test]
fn a_logo_travels_in_the_mail() {
    let mut logo = tempfile::Builder::new().suffix(".png").tempfile().unwrap();
    std::io::Write::write_all(&mut logo, b"\x89PNG\r\n\x1a\n0123456789").unwrap();
    let composer = Composer::load(None, &Brand { logo_file: Some(logo.path().to_owned()), ..brand() }).unwrap();
    let people = people();
    let records = about("alice@example.com", records("password-changed-by-self.json"));
    let recipient = recipient(&people, "alice@example.com", &records);
    let person = person("alice@example.com");
    let draft = Draft {
        key: KEY,
        template: "password-changed",
        fallback: false,
        kind: Kind::Normal,
        rule: "r",
        title: "t",
        severity: Severity::Low,
        created_at: Timestamp::from_millis(0),
        recipient: &recipient,
        person: &person,
        people: &people,
        about: None,
        records: &records,
    };
    let mail = composer.compose(&sender(), &draft).unwrap();
    let parsed = parse(&mail);
    assert!(html(&mail).contains("src=\"cid:logo@auditbell\""));
    let picture = parsed.attachments().next().unwrap();
    assert_eq!(picture.contents(), b"\x89PNG\r\n\x1a\n0123456789");
    assert_eq!(mail_parser::MimeHeaders::content_id(picture), Some("logo@auditbell"));
}

/// A7: the row's mail is used and its other addresses are not; a UPN of an allowed domain is used without a row; a
/// guest's is not.
#[test]
fn a7_three_people_get_what_the_directory_says() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let rows = "id,upn,mail,other_mails\n,alice@example.com,a.meyer@example.com,\"a1@example.com;a2@example.com\"\n";
    std::io::Write::write_all(&mut file, rows.as_bytes()).unwrap();
    let people = People::load(Settings {
        allow_domains: vec!["example.com".into()],
        csv: Some(file.path().to_owned()),
        fallback: vec!["soc@example.com".into()],
        wait: Duration::ZERO,
        max_rows: 10,
    })
    .unwrap();
    let resolve = |upn: &str| match people.resolve(&people.canonical(None, Some(upn)).unwrap(), &[]) {
        Resolution::Found(person) => person.address.to_string(),
        Resolution::Refused(refusal) => refusal.to_string(),
        Resolution::Unknown => "unknown".into(),
    };
    assert_eq!(resolve("alice@example.com"), "a.meyer@example.com");
    assert_eq!(resolve("bob@example.com"), "bob@example.com");
    assert_eq!(resolve("jo_partner.example#EXT#@example.com"), "guest");
}

#[test]
fn of_two_users_in_one_record_each_reads_only_of_himself() {
    let both = records("two-users-in-one-record.json");
    let (alice, bob) = ("alice@example.com", "bob@example.com");
    let to_alice = mail("password-reset", alice, Severity::Medium, &both);
    let to_bob = mail("password-reset", bob, Severity::Medium, &both);
    for (mail, own, foreign) in [(&to_alice, "alice", "bob"), (&to_bob, "bob", "alice")] {
        let whole = format!("{}{}{}", header_block(mail), text(mail), html(mail)).to_lowercase();
        assert!(whole.contains(own), "{whole}");
        assert!(!whole.contains(foreign), "{whole}");
    }
    assert!(text(&to_alice).contains("New password at next sign-in"), "{}", text(&to_alice));
}

/// A record about Alice in which every text that an attacker may choose holds `text`.
fn poisoned(text: &str) -> Record {
    let mut record = about("alice@example.com", records("update-user-strong-authentication.json")).remove(0);
    let hostile = |prefix: &str| format!("{prefix} {text}");
    record.operation = Some(hostile("o"));
    record.activity = Some(hostile("a"));
    record.correlation_id = Some(hostile("c"));
    record.targets[0].name = Some(hostile("t"));
    let actor = record.actor.as_mut().unwrap();
    actor.name = Some(hostile("n"));
    actor.upn = Some(hostile("u"));
    actor.ip = Some(hostile("i"));
    actor.app = Some(hostile("p"));
    record.details = [("reason", "r"), ("userAgent", "g"), ("AuthenticationMethod", "m")]
        .map(|(key, prefix)| (key.to_owned(), hostile(prefix)))
        .into();
    let old = json!([hostile("b")]);
    record.changes = vec![Change { target: 0, name: hostile("h"), old, new: json!([hostile("w")]) }];
    record
}

fn hostile_text() -> impl Strategy<Value = String> {
    let known = prop_oneof![
        Just("<img src=x onerror=alert(1)>".to_owned()),
        Just("\r\nBcc: mallory@attacker.example\r\n\r\n".to_owned()),
        Just("=?utf-8?q?inj?=".to_owned()),
        Just("\u{202e}\u{2066}gpj".to_owned()),
        Just("</td></tr></table><h1>Call +1 555 0100</h1>".to_owned()),
        Just("\" onmouseover=\"x".to_owned()),
        Just("{{{raw}}}{{brand.name}}{{> facts}}".to_owned()),
        Just("https://attacker.example/login?a=b&c=d".to_owned()),
        Just("\r\n.\r\nMAIL FROM:<x@example.org>".to_owned()),
        Just("--=_00004f3e0123456789abcdef01234567_a--".to_owned()),
        Just("<!--".to_owned()),
        Just("<style>td{display:none}</style>".to_owned()),
    ];
    prop_oneof![known, "\\PC{0,40}", ".{0,40}"]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn hostile_text_leaves_structure_headers_and_recipient_as_they_were(parts in proptest::collection::vec(hostile_text(), 1..3)) {
        let benign = mail("strong-authentication-changed", "alice@example.com", Severity::High, &[poisoned("harmless")]);
        let mail = mail("strong-authentication-changed", "alice@example.com", Severity::High, &[poisoned(&parts.concat())]);
        prop_assert_eq!(&mail.to, &benign.to);
        prop_assert_eq!(header_block(&mail), header_block(&benign));
        let (html, benign) = (html(&mail), html(&benign));
        prop_assert_eq!(skeleton(&html), skeleton(&benign));
        let text = text(&mail);
        for forbidden in ["attacker.example", "mallory@", "\u{202e}", "https://attacker"] {
            prop_assert!(!html.contains(forbidden) && !text.contains(forbidden), "{} in the mail", forbidden);
        }
    }

    #[test]
    fn no_mail_holds_another_targets_name_address_or_changes(name in "[A-Z][a-z]{5,9}q[a-z]{3}") {
        let mut record = records("two-users-in-one-record.json").remove(0);
        let bob = record.targets.iter().position(|target| target.upn.as_deref() == Some("bob@example.com")).unwrap();
        record.targets[bob].name = Some(name.clone());
        record.targets[bob].upn = Some(format!("{name}@example.com"));
        record.changes.push(Change { target: bob, name: "Note".into(), old: json!(null), new: json!(format!("of {name}")) });
        let alice = 1 - bob;
        record.changes.push(Change { target: alice, name: "Note".into(), old: json!(null), new: json!(format!("see {name}")) });
        record.details.insert("reason".into(), format!("on behalf of {name}"));
        let mail = mail("password-reset", "alice@example.com", Severity::Medium, &[record]);
        let whole = format!("{}{}{}", header_block(&mail), text(&mail), html(&mail)).to_lowercase();
        prop_assert!(!whole.contains(&name.to_lowercase()), "{} in\n{}", name, whole);
    }
}
