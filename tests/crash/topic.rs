//! Owns what is produced, and the list of what must come of it. The list is made here, beside the records, and by none of the
//! daemon's code: the comparison is worth nothing otherwise.

use std::collections::{BTreeSet, VecDeque};
use std::net::Ipv4Addr;

use serde_json::{Value, json};

use crate::harness::{envelope, reset_of_number};

/// How many partitions the topic has; messages alternate.
pub const PARTITIONS: i32 = 2;

/// One rule that tells at once, and one that collects a second long.
pub const RULES: &str = r#"
[policy.personal]
group = { by = ["correlation_id"], wait = "1s" }

[[rule]]
id = "reset"
on = "entra.audit"
when = { operation = "Reset user password" }
to = ["target"]
channels = ["email"]
template = "password-reset"

[[rule]]
id = "reset-grouped"
on = "entra.audit"
when = { operation = "Reset password (by admin)" }
to = ["target"]
channels = ["email"]
template = "password-reset"
policy = "personal"
"#;

/// Addresses for benchmarks (RFC 2544): nothing else in a mail is one of them.
const MARKS: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);

/// One mail that must arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    pub to: String,
    /// The marks of its records. A mail shows the mark of at least one.
    pub marks: BTreeSet<Ipv4Addr>,
}

/// One Kafka message.
#[derive(Clone, Debug)]
pub struct Message {
    pub payload: String,
    /// How many notifications are planned when it is read, whether they are new or not.
    pub notifications: u64,
    /// The mails that it is the first to ask for.
    pub mails: Vec<Expected>,
}

impl Message {
    /// What a producer writes that has not heard the broker's answer: the same bytes.
    fn again(&self) -> Self {
        Self { mails: Vec::new(), ..self.clone() }
    }
}

/// The topic, in waves: a wave is produced when nothing of the last one is left to do, so that every step from poll to settle is
/// passed at least once for each of them.
pub fn waves() -> VecDeque<Vec<Message>> {
    let mut author = Author::default();
    let (pair, both) = (author.people(2), author.two_targets());
    VecDeque::from([
        // The negative control loses a batch of these: nothing in them may come again and repair the loss.
        vec![author.people(1)],
        vec![author.people(2), author.two_targets(), author.people(1)],
        vec![author.group(), author.people(1)],
        vec![author.garbage(), pair.clone(), both.clone(), pair.again()],
        vec![author.one_person_twice(), both.again()],
        // More at once than all connections may leave unsettled.
        vec![author.people(10), author.people(10), author.people(10)],
        vec![author.people(1), pair.again()],
    ])
}

/// Numbers its people and its records.
#[derive(Default)]
struct Author {
    people: usize,
    records: u32,
}

impl Author {
    fn person(&mut self) -> usize {
        self.people += 1;
        self.people
    }

    /// A record of `person`, and the mark that its mail shows: the address it came from.
    fn record(&mut self, person: usize) -> (Value, Expected) {
        self.records += 1;
        let mark = Ipv4Addr::from_bits(MARKS.to_bits() + self.records);
        let mut record = reset_of_number(person);
        record["callerIpAddress"] = mark.to_string().into();
        let properties = &mut record["properties"];
        properties["id"] = format!("Directory_{}", self.records).into();
        properties["initiatedBy"]["user"]["ipAddress"] = mark.to_string().into();
        (record, Expected { to: address(person), marks: BTreeSet::from([mark]) })
    }

    /// `count` records, each of somebody new.
    fn people(&mut self, count: usize) -> Message {
        let (records, mails): (Vec<_>, Vec<_>) = (0..count)
            .map(|_| {
                let person = self.person();
                self.record(person)
            })
            .unzip();
        Message { payload: envelope(&records), notifications: mails.len() as u64, mails }
    }

    /// Two records of one person: two mails.
    fn one_person_twice(&mut self) -> Message {
        let person = self.person();
        let (records, mails): (Vec<_>, Vec<_>) = [self.record(person), self.record(person)].into_iter().unzip();
        Message { payload: envelope(&records), notifications: 2, mails }
    }

    /// One record that concerns two people: a mail for each.
    fn two_targets(&mut self) -> Message {
        let (first, second) = (self.person(), self.person());
        let (mut record, mail) = self.record(first);
        let other = &reset_of_number(second)["properties"]["targetResources"][0];
        record["properties"]["targetResources"] = json!([record["properties"]["targetResources"][0], other]);
        let mails = vec![mail.clone(), Expected { to: address(second), ..mail }];
        Message { payload: envelope(&[record]), notifications: 2, mails }
    }

    /// Three records of one act and one person: one mail.
    fn group(&mut self) -> Message {
        let person = self.person();
        let (mut records, mails): (Vec<_>, Vec<_>) = (0..3).map(|_| self.record(person)).unzip();
        for record in &mut records {
            record["operationName"] = "Reset password (by admin)".into();
            record["properties"]["activityDisplayName"] = "Reset password (by admin)".into();
        }
        let marks = mails.into_iter().flat_map(|mail| mail.marks).collect();
        Message { payload: envelope(&records), notifications: 3, mails: vec![Expected { to: address(person), marks }] }
    }

    /// What nobody can read: the dead letters' business, and no mail.
    #[expect(clippy::unused_self, reason = "reads like its neighbours where the topic is listed")]
    fn garbage(&self) -> Message {
        Message { payload: "not json at all".to_owned(), notifications: 0, mails: Vec::new() }
    }
}

fn address(person: usize) -> String {
    format!("user-{person}@example.com")
}

/// The marks in `text`, a mail as its reader sees it.
pub fn marks(text: &str) -> BTreeSet<Ipv4Addr> {
    text.split(|character: char| !character.is_ascii_digit() && character != '.')
        .filter_map(|word| word.trim_matches('.').parse().ok())
        .filter(|address: &Ipv4Addr| address.octets()[..2] == MARKS.octets()[..2])
        .collect()
}
