//! Owns what a channel leaves to the one that a reload opens in its place: which logins were refused lately, and what of the
//! ration has gone. All else begins anew, for the reload may have mended it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::ration::{Rate, Ration};
use crate::clock::{SET_BACK, Timestamp};

/// A login that was refused is not repeated sooner; an account may be locked after a few.
pub const LOGIN_REST: Duration = Duration::from_secs(30);

/// Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Past {
    refused: Arc<Mutex<HashMap<Account, Timestamp>>>,
    ration: Arc<Mutex<Arc<Mutex<Ration>>>>,
}

/// blake3 of server, user and secret: with another secret it is another login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Account([u8; 32]);

impl Account {
    /// Of `user` with `secret` at `host` and `port`.
    #[must_use]
    pub fn new(host: &str, port: u16, user: &str, secret: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in [host.as_bytes(), &port.to_be_bytes(), user.as_bytes(), secret.as_bytes()] {
            hasher.update(blake3::hash(part).as_bytes());
        }
        Self(*hasher.finalize().as_bytes())
    }
}

impl Past {
    /// The login was refused.
    pub fn refused(&self, account: Account, now: Timestamp) {
        let mut refused = lock(&self.refused);
        refused.retain(|_, at| rests(*at, now));
        refused.insert(account, now);
    }

    /// Whether the login was refused less than [`LOGIN_REST`] ago.
    #[must_use]
    pub fn rests(&self, account: Account, now: Timestamp) -> bool {
        lock(&self.refused).get(&account).is_some_and(|at| rests(*at, now))
    }

    /// The ration by `rates`: the one there is, unless the rates are others now.
    #[must_use]
    pub fn ration(&self, rates: &[Rate]) -> Arc<Mutex<Ration>> {
        let mut ration = lock(&self.ration);
        let same = lock(&ration).is_of(rates);
        if !same {
            *ration = Arc::new(Mutex::new(Ration::new(rates)));
        }
        ration.clone()
    }
}

/// One that seems to have happened long after now happened before the clock went back, and is over.
fn rests(at: Timestamp, now: Timestamp) -> bool {
    now.since(at) < LOGIN_REST && at.since(now) <= SET_BACK
}

/// Every change is a single step, so a panic elsewhere leaves it whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    #[test]
    fn a_refused_login_rests_for_half_a_minute_and_no_other_does() {
        let past = Past::default();
        let account = Account::new("mail.example.com", 465, "bell", "wrong");
        past.refused(account, at(1_000));
        for (what, other, now, rests) in [
            ("at once", account, 1_000, true),
            ("half a minute later", account, 1_030, false),
            ("just before", account, 1_029, true),
            ("the clock went back a little", account, 990, true),
            ("the clock went back far", account, 100, false),
            ("another secret", Account::new("mail.example.com", 465, "bell", "right"), 1_000, false),
            ("another user", Account::new("mail.example.com", 465, "be", "llwrong"), 1_000, false),
            ("another relay", Account::new("mail.example.org", 465, "bell", "wrong"), 1_000, false),
        ] {
            assert_eq!(past.clone().rests(other, at(now)), rests, "{what}");
        }
    }

    #[test]
    fn a_ration_goes_on_while_its_rates_are_the_same() {
        let past = Past::default();
        let rates = |count| [Rate { count, span: Duration::from_hours(1) }];
        assert!(lock(&past.ration(&rates(4))).take(true, at(0)).is_ok());
        assert_eq!(lock(&past.ration(&rates(4))).left(true, at(0)), Some(3));
        assert_eq!(lock(&past.ration(&rates(5))).left(true, at(0)), Some(5), "another ration");
        assert_eq!(lock(&past.ration(&[])).left(true, at(0)), None);
    }
}
