//! What mails say: headers, the acts, the people.

use std::time::Duration;

use auditbell::compose::{Brand, Composer, Kind, Sender};
use auditbell::lookup::Lookups;
use auditbell::people::{People, Resolution, Settings};
use auditbell::record::Severity;

use super::{
    COMPOSER, about, all_mails, brand, draft, header_block, html, mail, mail_in_place, parse, people, person,
    recipient, records, sender, shown, skeleton, text,
};

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
    let draft = draft("password-changed", &recipient, &person, &people, &records);
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
    assert!(text(&mail).contains("By: Their own account (alice@example.com)"), "{}", text(&mail));
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
    let composer =
        Composer::load(None, &Brand { logo_file: Some(logo.path().to_owned()), ..brand() }, &Lookups::default())
            .unwrap();
    let people = people();
    let records = about("alice@example.com", records("password-changed-by-self.json"));
    let recipient = recipient(&people, "alice@example.com", &records);
    let person = person("alice@example.com");
    let draft = draft("password-changed", &recipient, &person, &people, &records);
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

/// T73: the header names the address as it is, which is what SMTPUTF8 is for; all else stays ASCII.
#[test]
fn an_address_outside_ascii_stands_in_the_header_as_it_is_and_a_domain_in_its_ascii_form() {
    let records = about("alice@example.com", records("password-changed-by-self.json"));
    let people = people();
    let recipient = recipient(&people, "alice@example.com", &records);
    for (address, ascii) in [("j\u{f6}rg@example.com", false), ("user@xn--bcher-kva.example", true)] {
        let person = person(address);
        let draft = draft("password-changed", &recipient, &person, &people, &records);
        let mail = COMPOSER.compose(&sender(), &draft).unwrap();
        assert_eq!(mail.bytes.is_ascii(), ascii, "{address}");
        let parsed = parse(&mail);
        assert_eq!(parsed.to().unwrap().first().unwrap().address(), Some(address));
        let rest = String::from_utf8(mail.bytes.to_vec()).unwrap().replace(&format!("To: {address}\r\n"), "");
        assert!(rest.is_ascii(), "{rest}");
    }
}

/// A key of `details` is a record's: asked for where it is not, it is nothing, inside a loop and outside.
#[test]
fn what_a_record_does_not_say_is_printed_as_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let asked = "{{#each records}}[{{details.countryOrRegion}}|{{details.[Client IP address]}}|{{details.reason}}\
                 |{{actor.name}}]{{/each}}{{records.[7].id}}.";
    for (path, words) in [
        ("own/subject.hbs", "{{severity}} {{rule.description}} {{count}}"),
        ("own/text.hbs", asked),
        ("own/html.hbs", "<p>{{#each records}}({{details.nothing}}){{#if details.reason}}why{{/if}}{{/each}}</p>"),
    ] {
        let file: &std::path::Path = &dir.path().join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, words).unwrap();
    }
    let composer = Composer::load(Some(dir.path()), &brand(), &Lookups::default()).unwrap();
    let people = people();
    let mut records = about("alice@example.com", records("password-changed-by-self.json"));
    records.truncate(1);
    records[0].details = [("reason".to_owned(), "found".to_owned())].into();
    let recipient = recipient(&people, "alice@example.com", &records);
    let person = person("alice@example.com");
    let mail = composer.compose(&sender(), &draft("own", &recipient, &person, &people, &records)).unwrap();
    assert_eq!(mail.subject, "medium Something happened to an account 1");
    assert!(text(&mail).contains("[||found|Alice Meyer]."), "{}", text(&mail));
    assert!(html(&mail).contains("()why"), "{}", html(&mail));
}
