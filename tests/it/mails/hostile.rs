//! What no text of a record may do to a mail, and what nobody reads of anybody else.

use auditbell::record::{Change, Record, Severity};
use proptest::prelude::*;
use serde_json::json;

use super::{about, header_block, html, mail, records, skeleton, text};

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

/// A property of a directory's extension has a name of sixty letters without a break.
#[test]
fn no_long_word_makes_a_mail_wider_than_its_page() {
    let html = html(&mail("password-reset", "alice@example.com", Severity::Medium, &[poisoned(&"W".repeat(90))]));
    let tags = skeleton(&html);
    let breaks = |begin: &str| {
        let mut found = tags.iter().filter(|tag| tag.starts_with(begin)).peekable();
        assert!(found.peek().is_some(), "no {begin} in {html}");
        found.all(|tag| tag.contains("overflow-wrap: anywhere"))
    };
    assert!(breaks("<th ") && breaks("<td class=\"main\"") && breaks("<td class=\"foot\""), "{tags:#?}");
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
