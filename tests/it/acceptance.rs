//! Situations of public security automations, from the topic to the mailbox. Each is played twice over the same offsets, and
//! the second time sends nothing.

use serde_json::{Value, json};

use crate::harness::{ALICE, BOB, Bench, RESET, envelope, reset, text};
use crate::http_server::{Server, status};
use crate::smtp_server::Accepted;
use crate::workflows::like;

const SUBSCRIPTION: &str = "/subscriptions/5ab5c81b-0000-4000-8000-00000000000a/resourceGroups/rg-a";
const ELSEWHERE: &str = "/subscriptions/5ab5c81b-0000-4000-8000-0000000000ff/resourceGroups/rg-x";

/// Tells of the last record of every situation: when that mail has come, all before it were decided.
const END: &str = r#"
[[rule]]
id = "the-end"
on = "entra.audit"
when = { id = "Directory_the-end" }
to = ["the-end@example.com"]
channels = ["email"]
template = "password-reset"
"#;

/// What a situation came to.
struct Played {
    bench: Bench,
    mails: Vec<Accepted>,
}

impl Played {
    /// The recipients of the mails, sorted; each mail has one.
    fn to(&self) -> Vec<&str> {
        let mut to: Vec<&str> = self.mails.iter().map(|mail| mail.to[0].as_str()).collect();
        assert!(self.mails.iter().all(|mail| mail.to.len() == 1));
        to.sort_unstable();
        to
    }

    fn mail(&self, to: &str) -> String {
        text(self.mails.iter().find(|mail| mail.to == [to]).unwrap())
    }
}

/// Starts with `rules` and plays `records`, one message each, then all of them again from the first offset.
async fn play(rules: &str, records: &[Value]) -> Played {
    play_with(Bench::new().await, rules, records).await
}

async fn play_with(mut bench: Bench, rules: &str, records: &[Value]) -> Played {
    bench.rules = format!("{rules}\n{END}");
    bench.start().await;
    let messages: Vec<String> = records.iter().cloned().chain([end()]).map(|one| envelope(&[one])).collect();
    for message in &messages {
        bench.publish(message).await;
    }
    let sent = settled(&mut bench, messages.len()).await;
    let store = rusqlite::Connection::open(&bench.store).unwrap();
    store.execute("UPDATE position SET next = 0", []).unwrap();
    drop(store);
    let again = settled_again(&mut bench, messages.len()).await;
    assert_eq!(again, sent, "the second time over the same offsets sends nothing");
    bench.books_balance();
    let mails = bench.relay.accepted().into_iter().filter(|mail| mail.to != ["the-end@example.com"]).collect();
    Played { bench, mails }
}

/// Waits until every message is accepted and nothing waits, and stops; how many mails there are.
async fn settled(bench: &mut Bench, messages: usize) -> usize {
    bench.accepted_to(messages).await;
    nothing_waits(bench).await;
    assert!(bench.stop().await.success());
    bench.relay.accepted().len()
}

async fn settled_again(bench: &mut Bench, messages: usize) -> usize {
    bench.start().await;
    settled(bench, messages).await
}

async fn nothing_waits(bench: &Bench) {
    bench
        .until("an empty outbox", |bench| {
            let store = rusqlite::Connection::open(&bench.store).unwrap();
            let waiting: i64 = store.query_row("SELECT count(*) FROM due", [], |row| row.get(0)).unwrap();
            (waiting == 0).then_some(())
        })
        .await;
}

fn end() -> Value {
    let mut record = reset("the-end", ALICE);
    record["operationName"] = "Update user".into();
    record["properties"]["activityDisplayName"] = "Update user".into();
    record
}

fn alert(id: &str, change: &[(&str, Value)]) -> Value {
    let own = [("/SystemAlertId", json!(id)), ("/AzureResourceId", json!(SUBSCRIPTION))];
    like("alert", &[&own[..], change].concat())
}

fn signin(id: &str, change: &[(&str, Value)]) -> Value {
    like("signin", &[&[("/properties/id", json!(id))][..], change].concat())
}

/// A2.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_beside_the_user_is_neither_told_nor_a_fault() {
    let mut record = reset("a2", ALICE);
    let targets = record["properties"]["targetResources"].as_array_mut().unwrap();
    targets.push(json!({ "id": "64000000-0000-4000-8000-000000000001", "displayName": "All staff", "type": "Group" }));
    let played = play(RESET, &[record]).await;
    assert_eq!(played.to(), ["alice@example.com"]);
    let letters = played.bench.command(&["dead-letters", "list"]).output().unwrap();
    assert!(letters.stdout.is_empty(), "{letters:?}");
}

/// A3.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_tells_nobody_and_explain_names_the_condition() {
    let mut record = reset("a3", ALICE);
    record["properties"]["result"] = "failure".into();
    let played = play(RESET, std::slice::from_ref(&record)).await;
    assert_eq!(played.to(), [""; 0]);
    std::fs::write(played.bench.path("a3.json"), record.to_string()).unwrap();
    let output = played.bench.command(&["explain", "a3.json"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("when result in “success”: it is “failure”"), "{text}");
}

/// A9.
#[tokio::test(flavor = "multi_thread")]
async fn words_are_found_in_any_case_and_only_in_the_one_subscription() {
    let rules = r#"
[[rule]]
id = "sql"
on = "defender.alert"
when = { operation = { contains = "sql" }, subscription = "5AB5C81B-0000-4000-8000-00000000000A" }
to = ["sql@example.com"]
channels = ["email"]
template = "suspicious-activity"
"#;
    let named = |id, name: &str| alert(id, &[("/AlertDisplayName", json!(name))]);
    let played = play(
        rules,
        &[
            named("1", "Potential SQL brute force attempt"),
            named("2", "potential sql injection"),
            named("3", "MySQL under attack"),
            alert("4", &[("/AzureResourceId", json!(ELSEWHERE))]),
        ],
    )
    .await;
    assert_eq!(played.to(), ["sql@example.com"; 3]);
}

/// A10.
#[tokio::test(flavor = "multi_thread")]
async fn of_three_states_the_one_that_the_rule_names_is_told() {
    let rules = r#"
[[rule]]
id = "healthy"
on = "defender.assessment"
when = { state = "Healthy" }
to = ["cloud@example.com"]
channels = ["email"]
template = "suspicious-activity"
"#;
    let states = ["Healthy", "Unhealthy", "NotApplicable"].map(|state| {
        let changed = format!("{}T0{}:00:00Z", today(), state.len() % 3);
        like(
            "assessment",
            &[("/properties/status/code", json!(state)), ("/properties/status/statusChangeDate", json!(changed))],
        )
    });
    assert_eq!(play(rules, &states).await.to(), ["cloud@example.com"]);
}

/// A13.
#[tokio::test(flavor = "multi_thread")]
async fn everybody_of_two_roles_has_a_message_of_their_own() {
    let rules = r#"
[lookup.roles]
key = "subscription"
repeats = true
rows = [
  { subscription = "5ab5c81b-0000-4000-8000-00000000000a", role = "Owner", mail = "dana@example.com", other = "" },
  { subscription = "5ab5c81b-0000-4000-8000-00000000000a", role = "Owner", mail = "", other = "erik.privat@example.com" },
  { subscription = "5ab5c81b-0000-4000-8000-00000000000a", role = "Contributor", mail = "fay@example.com", other = "" },
]
[[rule]]
id = "roles"
on = "defender.alert"
when = { state = "New" }
to = ["lookup:roles.mail", "lookup:roles.other"]
channels = ["email"]
template = "suspicious-activity"
"#;
    let played = play(rules, &[alert("1", &[])]).await;
    assert_eq!(played.to(), ["dana@example.com", "erik.privat@example.com", "fay@example.com"]);
}

/// A14.
#[tokio::test(flavor = "multi_thread")]
async fn a_resource_without_an_owner_is_told_to_the_fallback_and_counted() {
    let rules = r#"
[[rule]]
id = "owner-tag"
on = "defender.assessment"
when = { state = "Unhealthy" }
to = ["field:raw.tags.owner"]
channels = ["email"]
template = "suspicious-activity"
"#;
    let mut bench = Bench::new().await;
    bench.rules = rules.to_owned();
    bench.start().await;
    bench.publish(envelope(&[like("assessment", &[])])).await;
    let unresolved = ["verdict=\"failed\"", "reason=\"no-value\""];
    assert_eq!(bench.metric_at_least("auditbell_notifications_total", &unresolved, 1).await, 1);
    assert!(bench.stop().await.success());
    let tagged = like("assessment", &[("/tags", json!({ "owner": "dana@example.com" })), ("/id", json!("/x/tagged"))]);
    let played = play(rules, &[like("assessment", &[]), tagged]).await;
    assert_eq!(played.to(), ["dana@example.com", "soc@example.com"]);
}

/// A15, as far as a table in memory reaches: a row that is not there stands for the service that does not answer.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_table_says_of_an_address_decides_how_important_it_is() {
    let rules = r#"
[lookup.reputation]
key = "ip"
by = "actor.ip"
rows = [{ ip = "203.0.113.1", verdict = "benign" }, { ip = "203.0.113.2", verdict = "observed" }]
[[rule]]
id = "reputation"
on = "entra.signin"
when = { result = "success" }
to = ["target"]
channels = ["email"]
template = "suspicious-activity"
severity = "high"
[[rule.route]]
when = { lookup.reputation.verdict = "benign" }
severity = "low"
[[rule.route]]
when = { lookup.reputation.verdict = "observed" }
severity = "medium"
[templates]
dir = "templates"
"#
    .replace("template = \"suspicious-activity\"", "template = \"reputation\"");
    let bench = Bench::new().await;
    let folder = bench.path("templates/reputation");
    std::fs::create_dir_all(&folder).unwrap();
    let said = "{{#> frame}}{{#*inline \"title\"}}A sign-in{{/inline}}\nThe address is {{default lookup.reputation.verdict \
                'of unknown reputation'}}.\n{{> facts}}{{/frame}}\n";
    for (part, words) in [("subject", "A sign-in"), ("text", said), ("html", said)] {
        std::fs::write(folder.join(format!("{part}.hbs")), words).unwrap();
    }
    let from = |ip: &str| signin(ip, &[("/properties/ipAddress", json!(ip))]);
    let records = [from("203.0.113.1"), from("203.0.113.2"), from("203.0.113.3")];
    let played = play_with(bench, &rules, &records).await;
    assert_eq!(played.to(), ["alice@example.com"; 3]);
    for (ip, importance, mark) in [
        ("203.0.113.1", "low", "The address is benign."),
        ("203.0.113.2", "normal", "The address is observed."),
        ("203.0.113.3", "high", "The address is of unknown reputation."),
    ] {
        let mail = played.mails.iter().find(|mail| text(mail).contains(ip)).unwrap();
        let headers = String::from_utf8_lossy(&mail.bytes).to_lowercase();
        let said = ["low", "high"].into_iter().find(|word| headers.contains(&format!("\r\nimportance: {word}")));
        assert_eq!(said.unwrap_or("normal"), importance, "{ip}");
        assert!(text(mail).contains(mark), "{ip}: {}", text(mail));
    }
}

/// A21, by when it happened: the hour of the shift is the one that the clock of the place shows, before and after the last day on
/// which that was changed.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_on_duty_is_told_by_the_clock_of_the_place_on_a_day_on_which_it_is_changed_too() {
    let rules = r#"
[window.night]
from = "20:00"
to = "08:00"
tz = "Europe/Berlin"
[list]
night = ["gil@example.com"]
day = ["hana@example.com"]
[[rule]]
id = "oncall"
on = "entra.signin"
max_age = "400d"
to = ["list:day"]
channels = ["email"]
template = "suspicious-activity"
[[rule.route]]
when = { time = { during = "night" } }
to = ["list:night"]
"#;
    let zone = jiff::tz::TimeZone::get("Europe/Berlin").unwrap();
    let now = auditbell::clock::Clock::system().now().as_millis();
    let now = jiff::Timestamp::from_millisecond(now).unwrap();
    let changed = zone.preceding(now).next().unwrap().timestamp().to_zoned(zone.clone()).date();
    let before = changed.yesterday().unwrap();
    let mut expected = Vec::new();
    let mut records = Vec::new();
    for day in [before, changed] {
        for (minute, to) in [("07:59", "gil@example.com"), ("08:01", "hana@example.com")] {
            let local: jiff::civil::DateTime = format!("{day}T{minute}:00").parse().unwrap();
            let at = local.to_zoned(zone.clone()).unwrap().timestamp().to_string();
            let ip = format!("203.0.113.{}", records.len() + 1);
            let when = [("/properties/createdDateTime", json!(at)), ("/properties/ipAddress", json!(ip))];
            records.push(signin(&ip, &when));
            expected.push((ip, to));
        }
    }
    let hours: Vec<&str> =
        records.iter().map(|one| &one["properties"]["createdDateTime"].as_str().unwrap()[11..13]).collect();
    assert_ne!(hours[0], hours[2], "in UTC the shift changes at another hour");
    let mut bench = Bench::new().await;
    bench.replace.push(("[store]".to_owned(), "[store]\nledger = \"500d\"".to_owned()));
    let played = play_with(bench, rules, &records).await;
    for (ip, to) in expected {
        let mail = played.mails.iter().find(|mail| text(mail).contains(&ip)).unwrap();
        assert_eq!(mail.to, [to], "{ip}");
    }
    assert_eq!(played.mails.len(), 4);
}

/// With `each` a mail to a list shows the one that it is about, and nobody else of the record.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_shown_the_element_that_it_is_told_of() {
    let rules = r#"
[[rule]]
id = "each-target"
on = "entra.audit"
when = { target.type = "user", id = "Directory_both" }
each = "targets"
to = ["soc@example.com"]
channels = ["email"]
template = "admin-change"
[[rule]]
id = "the-record"
on = "entra.audit"
when = { id = "Directory_both" }
to = ["lead@example.com"]
channels = ["email"]
template = "admin-change"
"#;
    let mut record = reset("both", ALICE);
    let bob = reset("both", BOB)["properties"]["targetResources"][0].clone();
    record["properties"]["targetResources"].as_array_mut().unwrap().push(bob);
    let played = play(rules, &[record]).await;
    assert_eq!(played.to(), ["lead@example.com", "soc@example.com", "soc@example.com"]);
    let names = |mail: &Accepted| ["alice", "bob"].map(|name| text(mail).contains(name));
    let mut of_soc: Vec<_> = played.mails.iter().filter(|mail| mail.to == ["soc@example.com"]).map(names).collect();
    of_soc.sort_unstable();
    assert_eq!(of_soc, [[false, true], [true, false]]);
    let whole = played.mails.iter().find(|mail| mail.to == ["lead@example.com"]).unwrap();
    assert_eq!(names(whole), [true, true]);
}

/// A23.
#[tokio::test(flavor = "multi_thread")]
async fn the_subscription_of_an_alert_leads_to_its_owner_and_an_unknown_one_to_the_fallback() {
    let rules = r#"
[lookup.owners]
key = "subscription"
csv = "owners.csv"
[[rule]]
id = "owner"
on = "defender.alert"
when = { severity = { at_least = "medium" } }
to = ["lookup:owners.mail"]
channels = ["email"]
template = "suspicious-activity"
"#;
    let bench = Bench::new().await;
    let owners = "subscription,mail\n5AB5C81B-0000-4000-8000-00000000000A,dana@example.com\n";
    std::fs::write(bench.path("owners.csv"), owners).unwrap();
    let played =
        play_with(bench, rules, &[alert("1", &[]), alert("2", &[("/AzureResourceId", json!(ELSEWHERE))])]).await;
    assert_eq!(played.to(), ["dana@example.com", "soc@example.com"]);
}

/// A25.
#[tokio::test(flavor = "multi_thread")]
async fn an_attack_on_a_vip_is_told_with_the_strange_address_and_to_the_room() {
    let server = Server::start(status(204)).await;
    let rules = format!(
        r#"
[channel.pager]
type = "webhook"
url = "{}/pager"
allow_http = true
allow_private = true
[lookup.vips]
key = "upn"
by = "actor.upn"
rows = [{{ upn = "alice@example.com" }}]
[[rule]]
id = "strange-address"
on = "entra.signin"
unless = {{ actor.ip = {{ cidr = "192.0.2.0/24" }} }}
to = ["target"]
channels = ["email"]
template = "suspicious-activity"
[[rule.route]]
when = {{ lookup.vips.upn = {{ exists = true }} }}
channels = ["email", "pager"]
severity = "high"
"#,
        server.url()
    );
    let bob = [("/properties/userId", json!(BOB.0)), ("/properties/userPrincipalName", json!(BOB.1))];
    let strange = ("/properties/ipAddress", json!("203.0.113.9"));
    let played = play(
        &rules,
        &[
            signin("known", &[]),
            signin("strange", std::slice::from_ref(&strange)),
            signin("bob", &[&bob[..], &[strange]].concat()),
        ],
    )
    .await;
    assert_eq!(played.to(), ["alice@example.com", "bob@example.com"]);
    let mail = played.mail("alice@example.com");
    assert!(mail.contains("203.0.113.9") && !mail.contains("192.0.2.10"), "{mail}");
    assert_eq!(server.asked().len(), 1, "the room hears of the one, once");
    let document: Value = serde_json::from_slice(&server.asked()[0].body).unwrap();
    assert_eq!((&document["severity"], &document["count"]), (&json!("high"), &json!(1)));
}

fn today() -> String {
    auditbell::clock::Clock::system().now().to_string()[..10].to_owned()
}
