//! Owns what outlives a channel: which logins of any channel were refused lately, and, for the one that a reload opens in its
//! place, what of the ration has gone. All else begins anew, for the reload may have mended it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;

use super::ration::{Rate, Ration};
use crate::clock::{SET_BACK, Timestamp};

/// A login that was refused is not repeated sooner; an account may be locked after a few.
pub const LOGIN_REST: Duration = Duration::from_secs(30);

/// What one channel leaves. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Past {
    logins: Logins,
    ration: Arc<Mutex<Arc<Mutex<Ration>>>>,
}

/// The logins of all channels of the process. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Logins(Arc<Mutex<HashMap<Account, Arc<Refused>>>>);

/// When an account was refused last; locked by whoever tries it.
type Refused = tokio::sync::Mutex<Option<Timestamp>>;

/// blake3 of user and secret: with another secret it is another login. Several relays and channels may lead to one account,
/// and it is the account that gets locked, so neither is a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Account([u8; 32]);

impl Account {
    /// Of `user` with `secret`.
    #[must_use]
    pub fn new(user: &str, secret: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in [user, secret] {
            hasher.update(blake3::hash(part.as_bytes()).as_bytes());
        }
        Self(*hasher.finalize().as_bytes())
    }
}

/// Leave to try a login, until it is dropped.
#[derive(Debug)]
pub struct Turn(OwnedMutexGuard<Option<Timestamp>>);

impl Turn {
    /// The login was refused.
    pub fn refused(mut self, now: Timestamp) {
        *self.0 = Some(now);
    }
}

impl Logins {
    /// The turn to try `account`, after whoever has it now: two that tried it side by side would both be refused. `None`: it
    /// was refused less than [`LOGIN_REST`] ago.
    pub async fn turn(&self, account: Account, at: &(dyn Fn() -> Timestamp + Sync)) -> Option<Turn> {
        let refused = {
            let mut all = lock(&self.0);
            // What nobody tries, and nobody was refused with lately, need not be known.
            all.retain(|_, refused| {
                Arc::strong_count(refused) > 1
                    || refused.try_lock().is_ok_and(|last| last.is_some_and(|last| rests(last, at())))
            });
            all.entry(account).or_default().clone()
        };
        let last = refused.lock_owned().await;
        if last.is_some_and(|last| rests(last, at())) { None } else { Some(Turn(last)) }
    }
}

impl Past {
    /// Of a channel that is new.
    #[must_use]
    pub fn new(logins: Logins) -> Self {
        Self { logins, ration: Arc::default() }
    }

    /// The logins of all channels.
    #[must_use]
    pub fn logins(&self) -> Logins {
        self.logins.clone()
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

    #[tokio::test]
    async fn a_refused_login_rests_for_half_a_minute_and_no_other_does() {
        let account = Account::new("bell", "wrong");
        for (what, other, now, rests) in [
            ("at once", account, 1_000, true),
            ("half a minute later", account, 1_030, false),
            ("just before", account, 1_029, true),
            ("the clock went back a little", account, 990, true),
            ("the clock went back far", account, 100, false),
            ("another secret", Account::new("bell", "right"), 1_000, false),
            ("another user", Account::new("be", "llwrong"), 1_000, false),
        ] {
            let logins = Logins::default();
            logins.turn(account, &|| at(1_000)).await.unwrap().refused(at(1_000));
            assert_eq!(logins.clone().turn(other, &|| at(now)).await.is_none(), rests, "{what}");
        }
    }

    #[tokio::test]
    async fn a_login_is_tried_by_one_at_a_time_and_forgotten_when_it_may_be_tried_again() {
        let logins = Logins::default();
        let account = Account::new("bell", "wrong");
        let turn = logins.turn(account, &|| at(0)).await.unwrap();
        let second = tokio::spawn({
            let logins = logins.clone();
            async move { logins.turn(account, &|| at(0)).await.is_none() }
        });
        tokio::task::yield_now().await;
        assert!(!second.is_finished(), "it waits for the first");
        turn.refused(at(0));
        assert!(second.await.unwrap(), "and is not tried again");
        assert!(logins.turn(Account::new("bell", "right"), &|| at(30)).await.is_some());
        assert_eq!(lock(&logins.0).len(), 1, "the refused one is no longer known");
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
