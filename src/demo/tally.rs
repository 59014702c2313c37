//! Owns the comparison of `demo --once`: the mails that must come against those that came.

use super::samples::Expected;

/// What is still to come, and what came without being expected.
pub(super) struct Tally {
    expected: usize,
    missing: Vec<Expected>,
    /// Recipient and subject.
    surplus: Vec<(String, String)>,
}

impl Tally {
    pub fn new(expected: impl IntoIterator<Item = Expected>) -> Self {
        let missing: Vec<Expected> = expected.into_iter().collect();
        Self { expected: missing.len(), missing, surplus: Vec::new() }
    }

    /// A mail came. One that comes twice was expected once.
    pub fn arrived(&mut self, to: String, subject: String) {
        match self.missing.iter().position(|mail| mail.to == to && mail.subject == subject) {
            Some(found) => drop(self.missing.swap_remove(found)),
            None => self.surplus.push((to, subject)),
        }
    }

    /// Whether every expected mail has come.
    pub const fn complete(&self) -> bool {
        self.missing.is_empty()
    }

    /// Whether every expected mail has come, and no other.
    pub const fn ok(&self) -> bool {
        self.missing.is_empty() && self.surplus.is_empty()
    }
}

/// The summary: one line, and one for each mail that is missing or was not expected.
impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let came = self.expected - self.missing.len();
        write!(f, "{came} of {} expected mails arrived, {} others.", self.expected, self.surplus.len())?;
        for mail in &self.missing {
            write!(f, "\nmissing: to {}: {}", mail.to, mail.subject)?;
        }
        for (to, subject) in &self.surplus {
            write!(f, "\nnot expected: to {to}: {subject}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: Expected = Expected { to: "alice@example.com", subject: "Your password was reset" };
    const BOB: Expected = Expected { to: "bob@example.com", subject: "Your password was reset" };

    #[test]
    fn only_exactly_the_expected_mails_are_ok() {
        let other = Expected { to: BOB.to, subject: "Your account was disabled" };
        for (why, came, complete, ok, summary) in [
            ("all there, in another order", &[BOB, ALICE][..], true, true, "2 of 2 expected mails arrived, 0 others."),
            (
                "one missing",
                &[ALICE],
                false,
                false,
                "1 of 2 expected mails arrived, 0 others.\nmissing: to bob@example.com: Your password was reset",
            ),
            (
                "one that came twice",
                &[ALICE, BOB, ALICE],
                true,
                false,
                "2 of 2 expected mails arrived, 1 others.\nnot expected: to alice@example.com: Your password was reset",
            ),
            (
                "another in the place of one: the right person, the wrong subject",
                &[ALICE, other],
                false,
                false,
                "1 of 2 expected mails arrived, 1 others.\nmissing: to bob@example.com: Your password was reset\n\
                 not expected: to bob@example.com: Your account was disabled",
            ),
        ] {
            let mut tally = Tally::new([ALICE, BOB]);
            for mail in came {
                tally.arrived(mail.to.to_owned(), mail.subject.to_owned());
            }
            assert_eq!((tally.complete(), tally.ok(), tally.to_string().as_str()), (complete, ok, summary), "{why}");
        }
    }
}
