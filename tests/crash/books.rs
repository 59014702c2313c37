//! Owns the comparison of what was produced with what the relay took.

use std::collections::BTreeMap;

use crate::harness::text;
use crate::smtp_server::Accepted;
use crate::topic::{Expected, marks};

/// What the comparison came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Mails that never came.
    pub lost: Vec<Expected>,
    /// Recipient and Message-ID of mails that nobody has asked for.
    pub unexpected: Vec<String>,
    /// Mails that came under more than one Message-ID, and these.
    pub told_again: Vec<(Expected, Vec<String>)>,
    /// Message-IDs whose copies differ, in the bytes or in the recipient.
    pub altered: Vec<String>,
    /// Addresses whose messages were charged with more attempts than the relay heard transactions for them, and both.
    pub overcharged: Vec<(String, usize, usize)>,
    /// Mails beyond the first of each Message-ID.
    pub copies: usize,
}

impl Findings {
    /// Nothing is wrong, copies aside.
    pub fn are_clean(&self) -> bool {
        *self == Self { copies: self.copies, ..Self::default() }
    }
}

/// Compares `expected` with the relay's journal.
pub fn compare(expected: &[Expected], journal: &[Accepted]) -> Findings {
    let mut taken: BTreeMap<&str, Vec<&Accepted>> = BTreeMap::new();
    for mail in journal {
        taken.entry(&mail.message_id).or_default().push(mail);
    }
    let mut findings = Findings { copies: journal.len() - taken.len(), ..Findings::default() };
    let mut told: Vec<Vec<String>> = vec![Vec::new(); expected.len()];
    for (id, copies) in taken {
        let first = copies[0];
        if copies.iter().any(|copy| copy.bytes != first.bytes || copy.to != first.to) {
            findings.altered.push(id.to_owned());
        }
        match expected.iter().position(|expected| is(first, expected)) {
            Some(place) => told[place].push(id.to_owned()),
            None => findings.unexpected.push(format!("{:?} {id}", first.to)),
        }
    }
    for (expected, ids) in expected.iter().zip(told) {
        match ids.len() {
            0 => findings.lost.push(expected.clone()),
            1 => {}
            _ => findings.told_again.push((expected.clone(), ids)),
        }
    }
    findings
}

/// Compares the attempts that the store counted for each address with what the relay `heard`. A kill may cost each message
/// of an address one that nobody heard.
pub fn overcharged(charged: &[Charged], heard: &[String], kills: usize) -> Vec<(String, usize, usize)> {
    let transactions =
        |address: &str| heard.iter().filter(|line| line.contains(&format!("RCPT TO:<{address}>"))).count();
    charged
        .iter()
        .map(|one| (one, transactions(&one.address)))
        .filter(|(one, heard)| one.attempts > heard + kills * one.messages)
        .map(|(one, heard)| (one.address.clone(), one.attempts, heard))
        .collect()
}

/// What the store says of one address.
pub struct Charged {
    pub address: String,
    pub messages: usize,
    pub attempts: usize,
}

/// To this person alone, of these records alone.
fn is(mail: &Accepted, expected: &Expected) -> bool {
    let shown = marks(&text(mail));
    mail.to == [expected.to.as_str()] && !shown.is_empty() && shown.is_subset(&expected.marks)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn mail(id: &str, to: &str, body: &str) -> Accepted {
        Accepted {
            from: "security@example.com".into(),
            to: vec![to.into()],
            bytes: format!("Message-ID: <{id}>\r\nSubject: x\r\n\r\nFrom: {body}.\r\n").into_bytes(),
            wire: Vec::new(),
            message_id: id.into(),
            at: Instant::now(),
            connection: 1,
            tls: false,
            user: None,
        }
    }

    fn expected(to: &str, mark: &str) -> Expected {
        Expected { to: to.into(), marks: [mark.parse().unwrap()].into() }
    }

    #[test]
    fn an_attempt_that_nobody_heard_is_found_unless_a_kill_explains_it() {
        let charged = [("a@x", 1, 2), ("b@x", 2, 2)].map(|(address, messages, attempts)| Charged {
            address: address.into(),
            messages,
            attempts,
        });
        let heard = ["1: RCPT TO:<a@x>", "1: RCPT TO:<b@x>", "2: RCPT TO:<b@x>"].map(str::to_owned);
        assert_eq!(overcharged(&charged, &heard, 0), [("a@x".to_owned(), 2, 1)]);
        assert_eq!(overcharged(&charged, &heard, 1), []);
    }

    /// Each fault is planted alone in a journal that is right otherwise, and must be the only finding.
    #[test]
    fn every_kind_of_fault_is_found_and_nothing_else() {
        let asked = [expected("a@x", "198.18.0.1"), expected("b@x", "198.18.0.2")];
        let right = || vec![mail("1", "a@x", "198.18.0.1"), mail("2", "b@x", "198.18.0.2")];
        let with = |more: Accepted| [right(), vec![more]].concat();
        let clean = Findings::default;
        let lost = |place: usize| vec![asked[place].clone()];
        for (why, journal, findings) in [
            ("everything came once", right(), clean()),
            ("one did not come", right()[..1].to_vec(), Findings { lost: lost(1), ..clean() }),
            ("a copy is no fault", with(right()[0].clone()), Findings { copies: 1, ..clean() }),
            (
                "a copy that differs in one byte",
                with(mail("1", "a@x", "198.18.0.1 ")),
                Findings { copies: 1, altered: vec!["1".into()], ..clean() },
            ),
            (
                "a copy to somebody else",
                with(mail("1", "b@x", "198.18.0.1")),
                Findings { copies: 1, altered: vec!["1".into()], ..clean() },
            ),
            (
                "the same record under another Message-ID",
                with(mail("3", "a@x", "198.18.0.1")),
                Findings { told_again: vec![(asked[0].clone(), vec!["1".into(), "3".into()])], ..clean() },
            ),
            (
                "a mail to somebody who is not on the list",
                with(mail("3", "c@x", "198.18.0.1")),
                Findings { unexpected: vec!["[\"c@x\"] 3".into()], ..clean() },
            ),
            (
                "somebody is told of the record of another",
                vec![right()[0].clone(), mail("2", "b@x", "198.18.0.1")],
                Findings { lost: lost(1), unexpected: vec!["[\"b@x\"] 2".into()], ..clean() },
            ),
            (
                "a mail that shows no record",
                vec![right()[0].clone(), mail("2", "b@x", "192.0.2.7")],
                Findings { lost: lost(1), unexpected: vec!["[\"b@x\"] 2".into()], ..clean() },
            ),
        ] {
            assert_eq!(compare(&asked, &journal), findings, "{why}");
        }
    }
}
