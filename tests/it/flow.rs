//! From the topic to the mailbox, through the doors: what is told, to whom, and what is told only once.

use std::time::Duration;

use auditbell::clock::Clock;

use crate::harness::{ALICE, BOB, Bench, RESET, Who, envelope, fixture, recipients, reset, reset_of_number, text};

const SENT: (&str, &[&str]) = ("auditbell_notifications_total", &["verdict=\"sent\""]);
const DUPLICATE: (&str, &[&str]) = ("auditbell_notifications_total", &["verdict=\"duplicate\""]);

#[tokio::test(flavor = "multi_thread")]
async fn two_records_of_two_people_are_two_mails_and_the_same_message_again_is_none() {
    let mut bench = Bench::new().await;
    bench.start().await;
    let message = envelope(&[reset("one", ALICE), reset("two", BOB)]);
    bench.publish(&message).await;
    let mails = bench.relay.wait_for(2).await;
    assert_eq!(recipients(&mails), ["alice@example.com", "bob@example.com"]);
    for (mail, own, other) in
        mails.iter().map(|mail| if mail.to == ["alice@example.com"] { (mail, ALICE, BOB) } else { (mail, BOB, ALICE) })
    {
        let seen = text(mail);
        let raw = String::from_utf8_lossy(&mail.bytes).into_owned();
        for word in [other.0, other.1, other.2] {
            assert!(!seen.contains(word) && !raw.contains(word), "{} is told of {word}", own.1);
        }
    }
    bench.metric_at_least(SENT.0, SENT.1, 2).await;

    bench.publish(&message).await;
    bench.metric_at_least(DUPLICATE.0, DUPLICATE.1, 2).await;
    assert_eq!(bench.metric(DUPLICATE.0, DUPLICATE.1), 2);
    assert_eq!(bench.relay.accepted().len(), 2);
    assert!(bench.stop().await.success());
    bench.books_balance();
    assert_eq!(bench.relay.accepted().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_devices_and_roles_are_never_told_and_never_a_fault() {
    let mut bench = Bench::new().await;
    bench.start().await;
    let mut record = reset("group", ALICE);
    let targets = record["properties"]["targetResources"].as_array_mut().unwrap();
    targets.push(serde_json::json!({ "id": "6e0", "displayName": "All staff", "type": "Group" }));
    bench.publish(envelope(&[record])).await;
    bench.relay.wait_for(1).await;
    bench.publish(fixture("group-device-role-targets.json")).await;
    bench.accepted_to(2).await;
    assert_eq!(bench.metric("auditbell_dead_letters_total", &[]), 0);
    assert!(bench.stop().await.success());
    assert_eq!(recipients(&bench.relay.accepted()), ["alice@example.com"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_operation_is_not_told() {
    let mut bench = Bench::new().await;
    bench.start().await;
    bench.publish(fixture("failure.json")).await;
    bench.publish(envelope(&[reset("after", BOB)])).await;
    assert_eq!(recipients(&bench.relay.wait_for(1).await), ["bob@example.com"]);
    assert!(bench.stop().await.success());
    assert_eq!(bench.relay.accepted().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_record_goes_to_the_dead_letters_alone_and_its_neighbours_are_delivered() {
    let mut bench = Bench::new().await;
    bench.start().await;
    bench.publish(fixture("bad-record-in-the-middle.msg")).await;
    bench.publish("not json at all").await;
    bench.publish(envelope(&[reset("after", BOB)])).await;
    let mails = bench.relay.wait_for(3).await;
    assert_eq!(recipients(&mails), ["alice@example.com", "bob@example.com", "bob@example.com"]);
    assert_eq!(bench.metric("auditbell_dead_letters_total", &[]), 2);
    assert!(bench.stop().await.success());
    let listed = bench.command(&["dead-letters", "list", "-o", "json"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&listed.stdout).matches("not-json").count(), 2, "{listed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn six_records_of_one_reset_are_one_mail() {
    let mut bench = Bench::new().await;
    bench.rules = format!(
        "{}policy = \"personal\"\n[policy.personal]\ngroup = {{ by = [\"correlation_id\"], wait = \"2s\" }}\n",
        RESET.replace(
            "operation = [\"Reset user password\", \"Reset password (by admin)\"]",
            "operation = [\"Reset user password\", \"Reset password (by admin)\", \"Update user\", \
             \"Update PasswordProfile\", \"Update StsRefreshTokenValidFrom Timestamp\", \
             \"POST UserAuthMethod.ResetPasswordOnPasswordMethods\"]"
        )
    );
    bench.start().await;
    bench.publish(fixture("admin-password-reset.json")).await;
    bench.metric_at_least(SENT.0, SENT.1, 1).await;
    let told = bench.metric("auditbell_rule_matches_total", &[]);
    assert!(told > 1, "several records matched: {told}");
    assert!(bench.stop().await.success());
    assert_eq!(recipients(&bench.relay.accepted()), ["alice@example.com"]);
    bench.books_balance();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_for_two_rules_counts_once_for_each_of_them() {
    let mut bench = Bench::new().await;
    let second = RESET.replace("id = \"password-reset\"", "id = \"second\"");
    bench.rules = format!(
        "{RESET}policy = \"personal\"\n{second}policy = \"personal\"\n\
         [policy.personal]\ngroup = {{ by = [\"correlation_id\"], wait = \"1s\" }}\n"
    );
    bench.start().await;
    bench.publish(envelope(&[reset("one", ALICE)])).await;
    bench.metric_at_least(SENT.0, SENT.1, 2).await;
    for rule in ["rule=\"password-reset\"", "rule=\"second\""] {
        assert_eq!(bench.metric(SENT.0, &[SENT.1[0], rule]), 1, "{rule}");
    }
    assert_eq!(bench.relay.accepted().len(), 1);
}

/// T16, and a rule edited under its id: the ids do not change, so nothing is told again.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_of_the_whole_topic_sends_nothing_also_with_an_edited_rule() {
    let mut bench = Bench::new().await;
    bench.start().await;
    for number in 0..10 {
        bench.publish(envelope(&[reset_of_number(number)])).await;
    }
    bench.metric_at_least(SENT.0, SENT.1, 10).await;
    assert!(bench.stop().await.success());

    bench.rules = RESET
        .replace("Somebody reset a user's password", "Reworded")
        .replace("template = \"password-reset\"", "template = \"account-disabled\"");
    rewind(&bench);
    bench.start().await;
    bench.accepted_to(10).await;
    bench.metric_at_least(DUPLICATE.0, DUPLICATE.1, 10).await;
    assert!(bench.stop().await.success());
    assert_eq!(bench.relay.accepted().len(), 10);
    bench.books_balance();
}

/// Sets every position back to 0, as an operator would who restores an old state.
fn rewind(bench: &Bench) {
    let store = rusqlite::Connection::open(bench.path("auditbell.db")).unwrap();
    store.execute("UPDATE position SET next = 0", []).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_without_an_address_is_told_through_the_fallback_list_after_the_wait() {
    let mut bench = Bench::new().await;
    bench.replace("wait = \"15m\"", "wait = \"1s\"");
    bench.start().await;
    let mut record = reset("nobody", ALICE);
    let target = &mut record["properties"]["targetResources"][0];
    target["userPrincipalName"] = serde_json::Value::Null;
    target["id"] = "00000000-0000-4000-8000-0000000000ff".into();
    bench.publish(envelope(&[record])).await;
    assert_eq!(recipients(&bench.relay.wait_for(1).await), ["soc@example.com"]);
    bench.metric_at_least("auditbell_notifications_total", &["verdict=\"failed\"", "reason=\"unresolved\""], 1).await;
    assert!(bench.metric("auditbell_recipient_resolutions_total", &["result=\"unknown\""]) >= 1);
    assert!(bench.stop().await.success());
    bench.books_balance();
}

const GUEST: Who = ("90e57000-0000-4000-8000-000000000009", "jo_partner.example#EXT#@contoso.onmicrosoft.com", "Jo");

/// A7: the file knows a mailbox for one, nothing for the second (whose own domain is allowed), and the third is a guest.
#[tokio::test(flavor = "multi_thread")]
async fn the_people_file_the_own_domain_and_the_fallback_list_share_the_work() {
    let mut bench = Bench::new().await;
    let people = format!("id,upn,mail,other_mails\n{},alice@example.com,alice.meyer@example.com,\n", ALICE.0);
    std::fs::write(bench.path("people.csv"), people).unwrap();
    bench.replace("fallback = [\"soc@example.com\"]", "fallback = [\"soc@example.com\"]\ncsv = \"people.csv\"");
    bench.start().await;
    bench.publish(envelope(&[reset("a", ALICE), reset("b", BOB), reset("c", GUEST)])).await;
    let mails = bench.relay.wait_for(3).await;
    assert_eq!(recipients(&mails), ["alice.meyer@example.com", "bob@example.com", "soc@example.com"]);
    bench.metric_at_least("auditbell_notifications_total", &["verdict=\"failed\"", "reason=\"guest\""], 1).await;
    assert!(bench.stop().await.success());
    assert!(bench.relay.accepted().iter().all(|mail| mail.to.len() == 1));
    bench.books_balance();
}

/// A5: what somebody else wrote stays text.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_text_makes_no_header_no_recipient_and_no_element() {
    let mut bench = Bench::new().await;
    bench.start().await;
    let mut record = reset("hostile", ALICE);
    let hostile = "<img src=x onerror=alert(1)>\r\nBcc: mallory@attacker.example";
    record["properties"]["initiatedBy"]["user"]["displayName"] = hostile.into();
    record["properties"]["targetResources"][0]["displayName"] = hostile.into();
    record["properties"]["resultReason"] = hostile.into();
    bench.publish(envelope(&[record])).await;
    let mails = bench.relay.wait_for(1).await;
    assert_eq!(mails[0].to, ["alice@example.com"]);
    let parsed = mail_parser::MessageParser::default().parse(&mails[0].bytes).unwrap();
    assert!(parsed.bcc().is_none());
    let html = parsed.body_html(0).unwrap();
    assert!(!html.contains("<img src=x"), "{html}");
    assert!(!parsed.subject().unwrap().contains("img"));
}

/// T15: ten thousand records in one message are accepted whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_ten_thousand_records_is_accepted_whole() {
    let mut bench = Bench::new().await;
    bench.start().await;
    let mut records: Vec<_> = (0..10_000)
        .map(|n| serde_json::json!({ "operationName": "Update device", "properties": { "id": format!("bulk-{n}") } }))
        .collect();
    records.insert(5_000, reset("in-the-middle", ALICE));
    bench.publish(envelope(&records)).await;
    bench.relay.wait_for(1).await;
    assert_eq!(bench.metric("auditbell_records_total", &[]), 10_001);
    assert!(bench.stop().await.success());
    bench.books_balance();
}

/// T17: the producer writes every tenth record twice.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_producer_wrote_twice_is_told_once() {
    let mut bench = Bench::new().await;
    bench.start().await;
    for number in 0..50 {
        let message = envelope(&[reset_of_number(number)]);
        bench.publish(&message).await;
        if number % 10 == 0 {
            bench.publish(&message).await;
        }
    }
    bench.metric_at_least(SENT.0, SENT.1, 50).await;
    bench.metric_at_least(DUPLICATE.0, DUPLICATE.1, 5).await;
    assert!(bench.stop().await.success());
    assert_eq!(bench.relay.accepted().len(), 50);
    assert_eq!(bench.relay.message_ids().len(), 50);
    bench.books_balance();
}

/// What happened longer ago than `max_age` is counted and not told, however late it arrives.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_older_than_max_age_is_counted_as_expired_and_not_told() {
    let mut bench = Bench::new().await;
    bench.start().await;
    let mut old = reset("old", ALICE);
    let last_week = Clock::system().now().minus(Duration::from_hours(7 * 24)).to_string();
    old["time"] = last_week.as_str().into();
    old["properties"]["activityDateTime"] = last_week.as_str().into();
    bench.publish(envelope(&[old, reset("new", BOB)])).await;
    assert_eq!(recipients(&bench.relay.wait_for(1).await), ["bob@example.com"]);
    assert_eq!(bench.metric("auditbell_notifications_total", &["verdict=\"expired\"", "reason=\"too-old\""]), 1);
    assert!(bench.stop().await.success());
    assert_eq!(bench.relay.accepted().len(), 1);
    bench.books_balance();
}

/// A rule in shadow is recorded, and nobody hears of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_rule_in_shadow_is_counted_and_tells_nobody() {
    let mut bench = Bench::new().await;
    bench.rules = format!("{RESET}mode = \"shadow\"\n");
    bench.start().await;
    bench.publish(envelope(&[reset("seen", ALICE)])).await;
    bench.metric_at_least("auditbell_notifications_total", &["verdict=\"shadow\""], 1).await;
    assert!(bench.stop().await.success());
    assert_eq!(bench.relay.accepted().len(), 0);
    bench.books_balance();
}

/// What happened a while ago opens the group; with half of that one's life left, it still leaves in time.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_with_less_life_than_its_groups_wait_is_told_with_whoever_joins() {
    let mut bench = Bench::new().await;
    bench.rules = format!(
        "{RESET}max_age = \"1h\"\npolicy = \"personal\"\n[policy.personal]\ngroup = {{ by = [\"actor.id\"], wait = \"20s\" }}\n"
    );
    bench.start().await;
    let mut old = reset("old", ALICE);
    let then = Clock::system().now().minus(Duration::from_secs(3_588)).to_string();
    old["time"] = then.as_str().into();
    old["properties"]["activityDateTime"] = then.as_str().into();
    bench.publish(envelope(&[old, reset("fresh", ALICE)])).await;
    assert_eq!(recipients(&bench.relay.wait_for(1).await), ["alice@example.com"]);
    bench.metric_at_least(SENT.0, SENT.1, 2).await;
    assert!(bench.stop().await.success());
    assert_eq!(bench.relay.accepted().len(), 1);
    bench.books_balance();
}

/// Over one connection nothing overtakes: neither where a window ends nor because of who is first to run.
#[tokio::test(flavor = "multi_thread")]
async fn messages_leave_in_the_order_in_which_they_came() {
    let mut bench = Bench::new().await;
    bench.replace("retry = [\"1s\"]", "retry = [\"1s\"]\nconnections = 1");
    let people = 200;
    bench.publish(envelope(&(0..people).map(reset_of_number).collect::<Vec<_>>())).await;
    bench.start().await;
    let mails = bench.relay.wait_for(people).await;
    let told: Vec<&str> = mails.iter().map(|mail| &*mail.to[0]).collect();
    let came: Vec<String> = (0..people).map(|number| format!("user-{number}@example.com")).collect();
    assert_eq!(told, came);
    assert!(bench.stop().await.success());
}
