//! Owns the row of equal refusals: one that is the same for many in a row, none answered otherwise in between, says nothing of
//! any of them, but of the way out (a relay, an endpoint). Pure.

/// So many different ones in a row make it the way's.
pub const MANY: usize = 10;

/// The refusals of one way that came in a row. `R`: what makes two of them the same.
#[derive(Debug)]
pub struct Streak<R> {
    /// What all of them had in common.
    refusal: Option<R>,
    /// Whom they were said of; no more than make it the way's.
    whom: Vec<Box<str>>,
}

/// What a refusal is, after those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row {
    /// Said of whom the row began with.
    First,
    /// Said of another one.
    Further,
    /// Said to everybody, until another answer shows that the way has changed its mind.
    Everybody,
}

impl<R> Default for Streak<R> {
    fn default() -> Self {
        Self { refusal: None, whom: Vec::new() }
    }
}

impl<R: PartialEq> Streak<R> {
    /// `who` was refused; `many` different ones in a row make it the way's fault.
    pub fn refused(&mut self, refusal: R, who: &str, many: usize) -> Row {
        if self.refusal.as_ref() != Some(&refusal) {
            *self = Self { refusal: Some(refusal), whom: Vec::new() };
        }
        let known = self.whom.iter().any(|known| **known == *who);
        if !known && self.whom.len() < many {
            self.whom.push(who.into());
        }
        match self.whom.first() {
            _ if self.whom.len() == many => Row::Everybody,
            Some(first) if **first == *who => Row::First,
            _ => Row::Further,
        }
    }

    /// Somebody was answered otherwise.
    pub fn end(&mut self) {
        *self = Self::default();
    }
}
