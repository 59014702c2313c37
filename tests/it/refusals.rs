//! What becomes of a message whose mailbox is not there, whose relay greylists, whose mail is too big, whose template fails.

use std::fs;

use serde_json::json;

use crate::harness::{ALICE, BOB, Bench, RESET, envelope, recipients, reset, text};
use crate::smtp_server::{Action, Command, Options};

/// One number out of the store of a daemon that is stopped.
fn ask(bench: &Bench, query: &str) -> i64 {
    let store = rusqlite::Connection::open(bench.path("auditbell.db")).unwrap();
    store.query_row(query, [], |row| row.get(0)).unwrap()
}

fn change(bench: &Bench, statement: &str) {
    let store = rusqlite::Connection::open(bench.path("auditbell.db")).unwrap();
    assert!(store.execute(statement, []).unwrap() > 0, "{statement}");
}

const ALICES_MAILBOX: &str = "RCPT TO:<alice@example.com>";

/// T35, a mailbox that is not there: every message for it is told to the fallback list, and only the first one is tried.
#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_refused_for_good_is_not_tried_again_for_a_week() {
    let mut bench = Bench::new().await;
    bench.relay.on_recipient("alice@example.com", Command::Rcpt, Action::Reply("550 5.1.1 no such user"));
    bench.start().await;
    bench.publish(envelope(&[reset("first", ALICE)])).await;
    bench.relay.wait_for(1).await;
    bench.publish(envelope(&[reset("second", ALICE), reset("neighbour", BOB)])).await;
    bench.relay.wait_for(3).await;
    assert!(bench.stop().await.success());

    bench.start().await;
    bench.publish(envelope(&[reset("third", ALICE)])).await;
    let mails = bench.relay.wait_for(4).await;
    let soc = "soc@example.com";
    assert_eq!(recipients(&mails), ["bob@example.com", soc, soc, soc]);
    assert_eq!(bench.relay.count(ALICES_MAILBOX), 1, "tried once, also over a restart");
    let failed = ["verdict=\"failed\"", "reason=\"mailbox-refused\""];
    bench.metric_at_least("auditbell_notifications_total", &failed, 1).await;
    assert!(bench.stop().await.success());
    bench.books_balance();

    let tried = "SELECT group_concat(attempts) FROM message WHERE state=2 ORDER BY id";
    let store = rusqlite::Connection::open(bench.path("auditbell.db")).unwrap();
    let tried: String = store.query_row(tried, [], |row| row.get(0)).unwrap();
    assert_eq!(
        (tried.as_str(), ask(&bench, "SELECT count(*) FROM attempt WHERE verdict=4")),
        ("1,0,0", 1),
        "who was not asked has not refused"
    );
    let why = "SELECT count(*) FROM message WHERE state=2 AND reply LIKE 'not tried: %7 days'";
    assert_eq!(ask(&bench, why), 2);
    let left = "SELECT (until - (SELECT min(done_at) FROM message WHERE state=2))/1000 FROM refused";
    assert_eq!(ask(&bench, left), 7 * 24 * 3_600);
    change(&bench, "UPDATE refused SET until = 0");
    bench.relay.calm(Command::Rcpt);
    bench.start().await;
    bench.publish(envelope(&[reset("a-week-later", ALICE)])).await;
    let mails = bench.relay.wait_for(5).await;
    assert_eq!(mails[4].to, ["alice@example.com"]);
}

/// One wrong 550 for the fallback list's own mailbox must not silence a week of escalations, which have no fallback.
#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_for_another_is_tried_though_its_mailbox_was_refused() {
    let mut bench = Bench::new().await;
    bench.relay.on_recipient("alice@example.com", Command::Rcpt, Action::Reply("550 5.1.1 no such user"));
    bench.start().await;
    assert!(bench.stop().await.success());
    change(&bench, "INSERT INTO refused(channel,address,until) VALUES('email','soc@example.com',9000000000000000)");
    bench.start().await;
    bench.publish(envelope(&[reset("refused", ALICE)])).await;
    assert_eq!(bench.relay.wait_for(1).await[0].to, ["soc@example.com"]);
    assert!(bench.stop().await.success());
    bench.books_balance();
}

/// The operator has mended the mailbox and need not wait for the week to end.
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_by_hand_lifts_the_refusal() {
    let mut bench = Bench::new().await;
    bench.relay.once(Command::Rcpt, Action::Reply("553 5.1.3 no such address"));
    bench.start().await;
    bench.publish(envelope(&[reset("refused", ALICE)])).await;
    bench.relay.wait_for(1).await;
    let store = rusqlite::Connection::open(bench.path("auditbell.db")).unwrap();
    let key = "SELECT lower(hex(key)) FROM message WHERE state=2";
    let key: String = store.query_row(key, [], |row| row.get(0)).unwrap();
    let output = bench.command(&["messages", "retry", &key]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let mails = bench.relay.wait_for(2).await;
    assert_eq!(mails[1].to, ["alice@example.com"]);
    bench.publish(envelope(&[reset("next", ALICE)])).await;
    bench.relay.wait_for(3).await;
    assert!(bench.stop().await.success());
    bench.books_balance();
}

/// T35, greylisting, with the worst list of waits: the second try falls between five and ten minutes after the first.
#[tokio::test(flavor = "multi_thread")]
async fn a_greylisted_mail_is_tried_again_in_the_window_of_greylisting() {
    let mut bench = Bench::new().await;
    bench.replace("retry = [\"1s\"]", "retry = [\"1h\"]");
    bench.relay.on(Command::Rcpt, Action::Reply("450 4.7.1 greylisted"));
    bench.start().await;
    bench.publish(envelope(&[reset("grey", ALICE)])).await;
    bench.metric_at_least("auditbell_attempts_total", &["verdict=\"later\""], 1).await;
    assert!(bench.stop().await.success());
    let wait = ask(&bench, "SELECT due_at - first_at FROM due");
    assert!((300_000..=600_000).contains(&wait), "{wait} ms");
    change(&bench, "UPDATE due SET due_at = 0");
    bench.relay.calm(Command::Rcpt);
    bench.start().await;
    assert_eq!(bench.relay.wait_for(1).await[0].to, ["alice@example.com"]);
}

/// A logo of 40 KB: with it a mail is larger than the relays of these tests take.
fn with_a_logo(bench: &mut Bench) {
    let logo = [b"\x89PNG\r\n\x1a\n".to_vec(), vec![7; 40_000]].concat();
    fs::write(bench.path("logo.png"), logo).unwrap();
    bench.replace("[brand]\n", "[brand]\nlogo_file = \"logo.png\"\n");
}

/// T34: by the relay's SIZE, which is asked for before anything is sent, and by its reply.
#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_is_too_big_goes_out_once_more_in_the_plain_form() {
    let sized = |capabilities| Options { capabilities, ..Options::default() };
    let cases = [
        ("by SIZE", true, sized(vec!["PIPELINING", "SIZE 20000"]), None, 1),
        ("by SIZE, without a logo", false, sized(vec!["PIPELINING", "SIZE 4000"]), None, 1),
        ("by 552 to MAIL", true, Options::default(), Some((Command::Mail, "552 5.3.4 too big")), 2),
        ("by 552 after the dot", true, Options::default(), Some((Command::Dot, "552 5.3.4 too big")), 2),
        ("by 552, without a logo", false, Options::default(), Some((Command::Dot, "552 5.3.4 too big")), 2),
        ("by another code for it", true, Options::default(), Some((Command::Dot, "550 5.2.3 too big for you")), 2),
    ];
    for (what, has_logo, options, reply, tried) in cases {
        let mut bench = Bench::with(1, options).await;
        if has_logo {
            with_a_logo(&mut bench);
        }
        if let Some((command, reply)) = reply {
            bench.relay.once(command, Action::Reply(reply));
        }
        bench.start().await;
        bench.publish(envelope(&[reset("large", ALICE)])).await;
        let mail = bench.relay.wait_for(1).await.remove(0);
        assert_eq!(mail.to, ["alice@example.com"], "{what}");
        assert!(mail.bytes.len() < 4_000, "{what}: {}", mail.bytes.len());
        assert!(text(&mail).contains("This is the plain form of the message"), "{what}: {}", text(&mail));
        assert_eq!(bench.relay.count("MAIL"), tried, "{what}");
        assert!(bench.stop().await.success());
        assert_eq!(ask(&bench, "SELECT attempts FROM message"), 1, "{what}: one attempt in two forms");
        bench.books_balance();
    }
}

/// T34, the end: what is too big in the plain form as well has failed, and was not sent to find that out.
#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_is_too_big_in_the_plain_form_has_failed() {
    let sized = Options { capabilities: vec!["PIPELINING", "SIZE 1000"], ..Options::default() };
    let mut bench = Bench::with(1, sized).await;
    bench.start().await;
    bench.publish(envelope(&[reset("large", ALICE)])).await;
    let failed = ["verdict=\"failed\"", "reason=\"too-big\""];
    bench.metric_at_least("auditbell_notifications_total", &failed, 2).await; // the fallback list's own is too big, too
    assert_eq!(bench.relay.count("MAIL"), 0);
    assert!(bench.stop().await.success());
    bench.books_balance();
}

/// A template that is good for the samples and fails for a record with many changes: the message waits, in five minutes it is
/// tried again, and after an hour it goes out in the built-in words. Never silence, never an empty mail.
#[tokio::test(flavor = "multi_thread")]
async fn a_template_that_fails_at_send_waits_an_hour_for_its_author_and_then_gives_way() {
    let mut bench = Bench::new().await;
    let own = bench.path("templates/own");
    fs::create_dir_all(&own).unwrap();
    let html = format!(
        "{{{{#> frame}}}}{{{{#*inline \"title\"}}}}t{{{{/inline}}}}{{{{#each records}}}}{{{{#each this.changes}}}}<p>{}</p>\
         {{{{/each}}}}{{{{/each}}}}{{{{/frame}}}}",
        "x".repeat(15_000)
    );
    fs::write(own.join("html.hbs"), html).unwrap();
    fs::write(own.join("subject.hbs"), "Own words").unwrap();
    fs::write(own.join("text.hbs"), "Own words.").unwrap();
    bench.replace("[brand]\n", "[templates]\ndir = \"templates\"\n\n[brand]\n");
    bench.rules = RESET.replace("template = \"password-reset\"", "template = \"own\"");
    let mut many = reset("many", ALICE);
    many["properties"]["targetResources"][0]["modifiedProperties"] = (0..12)
        .map(|n| json!({ "displayName": format!("Property{n}"), "oldValue": "\"a\"", "newValue": "\"b\"" }))
        .collect();
    bench.start().await;
    bench.publish(envelope(&[many, reset("few", BOB)])).await;
    let mails = bench.relay.wait_for(1).await;
    assert_eq!(mails[0].to, ["bob@example.com"], "the neighbour's mail is in its own words");
    bench.metric_at_least("auditbell_template_errors_total", &[], 1).await;
    assert!(bench.stop().await.success());
    let wait = ask(&bench, "SELECT d.due_at - m.created_at FROM due d JOIN message m ON m.id=d.message");
    assert!((299_000..360_000).contains(&wait), "{wait} ms");
    assert_eq!(ask(&bench, "SELECT attempt FROM due"), 0, "it costs no attempt");

    change(&bench, "UPDATE due SET due_at = 0");
    change(&bench, "UPDATE message SET created_at = created_at - 3660000 WHERE state = 0");
    bench.start().await;
    let mails = bench.relay.wait_for(2).await;
    assert_eq!(mails[1].to, ["alice@example.com"]);
    assert!(text(&mails[1]).contains("This is the plain form of the message"), "{}", text(&mails[1]));
    assert!(bench.stop().await.success());
    bench.books_balance();
}

/// T73: letters outside ASCII before the `@` go only where SMTPUTF8 is spoken, else the fallback list hears; a domain goes
/// anywhere, in its ASCII form.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_outside_ascii_goes_where_smtputf8_is_spoken_and_nowhere_else() {
    let speaks = vec!["PIPELINING", "8BITMIME", "SMTPUTF8"];
    for (capabilities, expected) in [
        (speaks, ["j\u{f6}rg@example.com", "user@xn--bcher-kva.example"]),
        (vec!["PIPELINING", "8BITMIME"], ["soc@example.com", "user@xn--bcher-kva.example"]),
        (vec!["SMTPUTF8"], ["soc@example.com", "user@xn--bcher-kva.example"]),
    ] {
        let mut bench = Bench::with(1, Options { capabilities: capabilities.clone(), ..Options::default() }).await;
        let rows = "upn,mail\nalice@example.com,jo\u{308}rg@example.com\nbob@example.com,user@b\u{fc}cher.example\n";
        fs::write(bench.path("people.csv"), rows).unwrap();
        let allowed = "allow_domains = [\"example.com\"";
        let also = format!("csv = \"people.csv\"\n{allowed}, \"b\u{fc}cher.example\"");
        bench.replace(allowed, &also);
        bench.start().await;
        bench.publish(envelope(&[reset("to-joerg", ALICE), reset("to-a-domain", BOB)])).await;
        let mails = bench.relay.wait_for(2).await;
        assert_eq!(recipients(&mails), expected, "{capabilities:?}");
        let asked = bench.relay.count("MAIL FROM:<security@example.com> BODY=8BITMIME SMTPUTF8");
        assert_eq!(asked, usize::from(expected[0] != "soc@example.com"), "{capabilities:?}");
        if asked == 0 {
            let failed = ["verdict=\"failed\"", "reason=\"no-smtputf8\""];
            bench.metric_at_least("auditbell_notifications_total", &failed, 1).await;
        }
        assert!(bench.stop().await.success());
        bench.books_balance();
    }
}

/// T33, the whole way: each of the nine end-of-data sequences, with a second message behind it, in every text of a record that
/// somebody else may choose and in the words of a template. One mail comes of it, to one person.
#[tokio::test(flavor = "multi_thread")]
async fn what_would_smuggle_a_second_mail_out_of_a_record_or_a_template_is_text_of_one() {
    let ends =
        ["\n.\n", "\n.\r\n", "\r.\r\n", "\r.\r", "\r\n.\n", "\r\n.\r", "\n\n.\r\n", "\r\n\0.\r\n", "\r\r\n.\r\n"];
    let second = "MAIL FROM:<evil@example.com>\r\nRCPT TO:<bob@example.com>\r\nDATA\r\nevil\r\n.\r\n";
    let mut bench = Bench::new().await;
    let own = bench.path("templates/own");
    fs::create_dir_all(&own).unwrap();
    let words = ends.map(|end| format!("{}{second}", end.replace('\0', "")));
    let html = format!(
        "{{{{#> frame}}}}{{{{#*inline \"title\"}}}}t{{{{/inline}}}}<p>{}</p>{{{{> facts}}}}{{{{/frame}}}}",
        words.concat()
    );
    fs::write(own.join("html.hbs"), html).unwrap();
    fs::write(own.join("subject.hbs"), "Own words").unwrap();
    fs::write(own.join("text.hbs"), format!("Own words.{}", words.concat())).unwrap();
    bench.replace("[brand]\n", "[templates]\ndir = \"templates\"\n\n[brand]\n");
    bench.rules = RESET.replace("template = \"password-reset\"", "template = \"own\"");
    bench.start().await;
    let records = ends.iter().enumerate().map(|(n, end)| {
        let text = format!("x{end}{second}");
        let mut record = reset(&format!("smuggled-{n}"), ALICE);
        record["callerIpAddress"] = text.clone().into();
        let properties = &mut record["properties"];
        properties["resultReason"] = text.clone().into();
        properties["initiatedBy"]["user"]["displayName"] = text.clone().into();
        properties["initiatedBy"]["user"]["ipAddress"] = text.clone().into();
        properties["targetResources"][0]["displayName"] = text.clone().into();
        properties["targetResources"][0]["modifiedProperties"] =
            json!([{ "displayName": text, "oldValue": text, "newValue": text }]);
        properties["additionalDetails"] = json!([{ "key": "userAgent", "value": text }]);
        record
    });
    bench.publish(envelope(&records.collect::<Vec<_>>())).await;
    let mails = bench.relay.wait_for(ends.len()).await;
    assert!(bench.stop().await.success());
    for mail in &mails {
        assert_eq!(
            (mail.from.as_str(), mail.to.as_slice()),
            ("security@example.com", &["alice@example.com".to_owned()][..])
        );
        assert_eq!(mail.wire.windows(5).filter(|bytes| bytes == b"\r\n.\r\n").count(), 1, "one end of data");
        assert!(mail.wire.ends_with(b"\r\n.\r\n"));
        let text = String::from_utf8(mail.bytes.clone()).unwrap();
        assert!(!text.replace("\r\n", "").contains(['\r', '\n', '\0']), "{text}");
    }
    assert_eq!((mails.len(), bench.relay.count("MAIL"), bench.relay.count("RCPT")), (9, 9, 9));
    bench.books_balance();
}
