//! Owns what a request without an answer means: the kind of the failure, and whether the request may have arrived. Pure and
//! total; the table for people is in `docs/http.md`.

use std::error::Error;
use std::fmt;

use super::names::Refused;
use crate::channels::Permission;
use crate::channels::breaker::Failure as Trouble;
use crate::channels::outcome::Outcome;

/// What kept a request from being answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The address, or the URL, is one that we do not ask.
    Forbidden,
    /// The name has no address, or nobody tells it.
    Resolve,
    /// TCP.
    Connect,
    /// The handshake, the certificate, the name in it.
    Tls,
    /// The time was up.
    Timeout,
    /// The connection ended, or what came was no HTTP.
    Broken,
    /// The permission was gone when the request was about to leave.
    Withdrawn(Permission),
}

/// A request without an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What happened.
    pub fault: Fault,
    /// Its body had been handed out: the other side may have all of it.
    pub written: bool,
    /// One line for the operator, without the URL. May name an address of the other side.
    pub detail: String,
}

impl Failure {
    /// Nothing was written.
    pub(super) fn before(fault: Fault, detail: String) -> Self {
        Self { fault, written: false, detail }
    }

    pub(super) fn timeout(written: bool) -> Self {
        Self { fault: Fault::Timeout, written, detail: "no answer in time".into() }
    }

    /// What the HTTP client tells in a chain of errors, whose texts are ours or the operating system's.
    pub(super) fn of(error: &reqwest::Error, written: bool) -> Self {
        let chain = causes(error);
        let of = |fault| Self { fault, written, detail: chain.last().map(ToString::to_string).unwrap_or_default() };
        if let Some(refused) = chain.iter().find_map(|cause| cause.downcast_ref::<Refused>()) {
            return Self { fault: refused.fault, written, detail: refused.detail.clone() };
        }
        if let Some(Withdrawn(permission)) = chain.iter().find_map(|cause| cause.downcast_ref()) {
            return of(Fault::Withdrawn(*permission));
        }
        if chain.iter().any(|cause| cause.is::<rustls::Error>()) && error.is_connect() {
            return of(Fault::Tls);
        }
        of(if error.is_connect() { Fault::Connect } else { Fault::Broken })
    }

    /// What it means for the message, and for the endpoint.
    #[must_use]
    pub fn judge(&self) -> (Outcome, Standing) {
        use Trouble::{Lasting, Passing};
        match (self.fault, self.written) {
            // What is handed out may have arrived, whatever was seen of it afterwards.
            (_, true) => (Outcome::Ambiguous, Standing::Fails(Passing)),
            (Fault::Withdrawn(Permission::Lost), false) => (Outcome::Hold("lost"), Standing::Untold),
            (Fault::Withdrawn(_), false) => (Outcome::Hold("stopping"), Standing::Untold),
            // Only somebody who changes a configuration, or a certificate, can help.
            (Fault::Forbidden, false) => (Outcome::Hold("forbidden"), Standing::Fails(Lasting)),
            (Fault::Resolve, false) => (Outcome::Hold("resolve"), Standing::Fails(Passing)),
            (Fault::Tls, false) => (Outcome::Hold("tls"), Standing::Fails(Passing)),
            // Nothing of the message was seen by anybody: the endpoint is at fault.
            (Fault::Connect | Fault::Timeout | Fault::Broken, false) => {
                (Outcome::Hold("connect"), Standing::Fails(Passing))
            }
        }
    }
}

/// What an attempt says of the endpoint, for every other message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It works: somebody answered, whatever they think of this message.
    Works,
    /// It does not.
    Fails(Trouble),
    /// It says what only somebody who changes a configuration can mend (who we are, where the URL leads), or what a filter in
    /// front of it says to this one message; see [`Doubts`](crate::channels::doubt::Doubts).
    Refuses,
    /// It says "not now": it does not, or it does not take this message; see [`Doubts`](crate::channels::doubt::Doubts).
    Doubtful,
    /// Nothing: it was not tried.
    Untold,
}

/// The permission was gone.
#[derive(Debug)]
pub(super) struct Withdrawn(pub Permission);

impl fmt::Display for Withdrawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("taken back before the request was written")
    }
}

impl Error for Withdrawn {}

/// The error and what it comes from. An I/O error's `source` skips the error that it wraps, hence the detour.
fn causes(error: &reqwest::Error) -> Vec<&(dyn Error + 'static)> {
    const MOST: usize = 16; // a chain is five long or so; one that is a ring ends here
    let mut chain: Vec<&(dyn Error + 'static)> = vec![error];
    while let Some(&last) = chain.last().filter(|_| chain.len() < MOST) {
        let wrapped = last.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let next = wrapped.map(|wrapped| wrapped as &(dyn Error + 'static)).or_else(|| last.source());
        match next {
            Some(next) => chain.push(next),
            None => break,
        }
    }
    chain
}
