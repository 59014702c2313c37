//! Owns the one judgement that a single reply does not allow: a refusal on grounds of policy, word for word the same for ten
//! recipients in a row, says nothing of any of them. Pure.

use super::verdict::{End, Outcome, Scope};

/// So many different recipients make it the route's.
const RECIPIENTS: usize = 10;

/// The policy refusals of one relay that came in a row.
#[derive(Debug, Default)]
pub(super) struct Streak {
    /// Code and last part of the enhanced code that all of them had.
    reply: Option<(u16, u16)>,
    /// Whom they were said of; at most [`RECIPIENTS`].
    recipients: Vec<Box<str>>,
}

impl Streak {
    /// Verdict and scope of `end`, which is what came of a mail to `to`.
    pub(super) fn judge(&mut self, end: &End, to: &str) -> (Outcome, Scope) {
        let (outcome, scope) = end.judge();
        // What the route suffers besides neither continues nor ends a row.
        if end.code().is_none() || scope == Scope::Route {
            return (outcome, scope);
        }
        let reply = end.policy().filter(|_| matches!(outcome, Outcome::Never(_)));
        if self.reply != reply {
            *self = Self { reply, recipients: Vec::new() };
        }
        if reply.is_none() {
            return (outcome, scope);
        }
        let known = self.recipients.iter().any(|recipient| **recipient == *to);
        if !known && self.recipients.len() < RECIPIENTS {
            self.recipients.push(to.into());
        }
        // Beyond the tenth every one of them is held, until another answer shows that the relay has changed its mind.
        if self.recipients.len() == RECIPIENTS { (Outcome::Hold("policy"), Scope::Route) } else { (outcome, scope) }
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
}
