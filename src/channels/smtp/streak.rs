//! Owns the one judgement that a single reply does not allow: a refusal that is the same for many recipients in a row, none
//! accepted in between, says nothing of any of them. Pure.

use super::verdict::{End, Refusal, Scope};
use crate::channels::outcome::Outcome;
use crate::channels::streak::{self, MANY, Row};

/// So many where each refusal says that there is no such mailbox: ten people may have left at once.
const MAILBOXES: usize = 20;

/// The refusals of one relay that came in a row.
#[derive(Debug, Default)]
pub(super) struct Streak(streak::Streak<Refusal>);

impl Streak {
    /// Verdict and scope of `end`, which is what came of a mail to `to`.
    pub(super) fn judge(&mut self, end: &End, to: &str) -> (Outcome, Scope) {
        let (outcome, scope) = end.judge();
        // What the route suffers besides neither continues nor ends a row.
        if end.code().is_none() || end.is_doubtful() || scope == Scope::Route {
            return (outcome, scope);
        }
        let (refusal, many) = match outcome {
            // How large a mail is, is its own affair.
            Outcome::Never("too-big") => (None, MANY),
            Outcome::Never("mailbox-refused") => (end.refusal(), MAILBOXES),
            Outcome::Never(_) => (end.refusal(), MANY),
            _ => (None, MANY),
        };
        let Some(refusal) = refusal else {
            self.0.end();
            return (outcome, scope);
        };
        match (self.0.refused(refusal, to, many), outcome) {
            // From here on every one of them is held, until another answer shows that the relay has changed its mind.
            (Row::Everybody, _) => (Outcome::Hold("policy"), Scope::Route),
            // A mailbox is believed not to be there as long as nobody else's is missing as well: else a relay at fault would
            // bar everybody for a week, the fallback list among them.
            (Row::Further, Outcome::Never("mailbox-refused")) => (Outcome::Never("recipient-refused"), scope),
            _ => (outcome, scope),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::reply::Reply;
    use super::super::verdict::{Event, Phase};
    use super::*;

    fn end(phase: Phase, code: u16, text: &str) -> End {
        End { phase, event: Event::Reply(Reply { code, lines: vec![text.to_owned()] }) }
    }

    fn policy(streak: &mut Streak, n: usize) -> Outcome {
        let to = format!("user{n}@example.com");
        streak.judge(&end(Phase::Rcpt, 550, &format!("5.7.1 {to} denied by policy")), &to).0
    }

    const REFUSED: Outcome = Outcome::Never("recipient-refused");

    #[test]
    fn the_tenth_recipient_makes_it_the_routes_fault_and_another_answer_ends_it() {
        let mut streak = Streak::default();
        for n in 0..9 {
            assert_eq!(policy(&mut streak, n), REFUSED, "{n}");
        }
        assert_eq!(policy(&mut streak, 8), REFUSED, "one recipient counts once");
        assert_eq!(policy(&mut streak, 9), Outcome::Hold("policy"));
        assert_eq!(policy(&mut streak, 77), Outcome::Hold("policy"), "and so does every one after");
        let sent = end(Phase::Dot, 250, "2.0.0 Ok");
        assert_eq!(streak.judge(&sent, "a@example.com"), (Outcome::Sent, Scope::Message));
        assert_eq!(policy(&mut streak, 1), REFUSED, "the row begins anew");
    }

    #[test]
    fn any_other_answer_breaks_the_row_and_no_answer_does_not() {
        let others = [
            ("another phase", end(Phase::Data, 550, "5.7.1 denied"), true),
            ("a mail that is too big", end(Phase::Rcpt, 550, "5.2.3 too big"), true),
            ("another policy", end(Phase::Rcpt, 550, "5.7.133 closed group"), true),
            ("another code", end(Phase::Rcpt, 554, "5.7.1 denied"), true),
            ("a mailbox that is not there", end(Phase::Rcpt, 550, "5.1.1 unknown"), true),
            ("a soft refusal", end(Phase::Rcpt, 450, "4.7.1 greylisted"), true),
            ("a closed connection", End { phase: Phase::Rcpt, event: Event::Closed }, false),
            ("a relay that goes away", end(Phase::Rcpt, 421, "4.3.2 bye"), false),
            ("a refused login", end(Phase::Auth, 535, "5.7.8 no"), false),
        ];
        for (what, other, breaks) in others {
            let mut streak = Streak::default();
            for n in 0..9 {
                policy(&mut streak, n);
            }
            assert_eq!(streak.judge(&other, "other@example.com"), other.judge(), "{what}");
            assert_eq!(policy(&mut streak, 9) == REFUSED, breaks, "{what}");
        }
    }

    /// What becomes of `count` recipients who are all refused with `line`.
    fn refusals(phase: Phase, code: u16, line: &str, count: usize) -> Vec<Outcome> {
        let mut streak = Streak::default();
        (0..count).map(|n| streak.judge(&end(phase, code, line), &format!("user{n}@example.com")).0).collect()
    }

    #[test]
    fn whatever_is_said_to_everybody_is_the_routes_fault() {
        let cases = [
            ("without an enhanced code", Phase::Rcpt, 550, "relay not permitted", REFUSED, 9),
            ("no answer from a host", Phase::Rcpt, 550, "5.4.1 access denied", REFUSED, 9),
            ("the sender's address", Phase::Mail, 550, "5.1.8 bad sender", Outcome::Never("sender-refused"), 9),
            ("the content", Phase::Dot, 554, "rejected", Outcome::Never("content-refused"), 9),
            ("mailboxes, of which ten may go at once", Phase::Rcpt, 550, "5.1.1 unknown", REFUSED, 19),
        ];
        for (what, phase, code, line, refused, before) in cases {
            let outcomes = refusals(phase, code, line, before + 5);
            assert!(outcomes[1..before].iter().all(|outcome| *outcome == refused), "{what}: {outcomes:?}");
            assert!(
                outcomes[before..].iter().all(|outcome| *outcome == Outcome::Hold("policy")),
                "{what}: {outcomes:?}"
            );
        }
        let too_big = refusals(Phase::Mail, 552, "5.3.4 too big", 40);
        assert!(too_big.iter().all(|outcome| *outcome == Outcome::Never("too-big")), "{too_big:?}");
    }

    #[test]
    fn only_the_first_mailbox_of_a_row_is_believed_not_to_be_there() {
        let gone = Outcome::Never("mailbox-refused");
        let unknown = end(Phase::Rcpt, 550, "5.1.1 unknown");
        let mut streak = Streak::default();
        assert_eq!(streak.judge(&unknown, "a@example.com").0, gone);
        assert_eq!(streak.judge(&unknown, "a@example.com").0, gone, "the same one");
        assert_eq!(streak.judge(&unknown, "b@example.com"), (REFUSED, Scope::Recipient));
        streak.judge(&end(Phase::Dot, 250, "2.0.0 Ok"), "c@example.com");
        assert_eq!(streak.judge(&unknown, "b@example.com").0, gone, "others get their mail");
    }
}
