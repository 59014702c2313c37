//! Owns the way from a name to addresses that may be connected to. The connection goes to exactly these: there is no second
//! lookup that could answer otherwise (DNS rebinding).

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::failure::Fault;
use super::guard::Guard;

/// Looks a name up, within a limit of its own.
pub type Lookup = Arc<dyn Fn(&str) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>> + Send + Sync>;

/// Why a name leads nowhere.
#[derive(Debug)]
pub(super) struct Refused {
    pub fault: Fault,
    pub detail: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Refused {}

/// What the HTTP client asks for every connection to a name.
pub(super) struct Checked {
    pub guard: Guard,
    pub lookup: Lookup,
}

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let (guard, lookup) = (self.guard.clone(), self.lookup.clone());
        Box::pin(async move {
            let addresses = checked(&guard, &lookup, name.as_str()).await?;
            // Port 0: the one of the URL.
            Ok(Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}

/// The addresses of `name`. One that is not allowed spoils them all: who answers with a public and a private address does
/// not mean well, or should be told to the channel's `allow_cidrs`.
pub(super) async fn checked(guard: &Guard, lookup: &Lookup, name: &str) -> Result<Vec<IpAddr>, Refused> {
    let refused = |fault, detail| Refused { fault, detail };
    let addresses = lookup(name)
        .await
        .map_err(|error| refused(Fault::Resolve, format!("the name cannot be looked up: {error}")))?;
    match addresses.iter().find(|address| !guard.allows(**address)) {
        Some(address) => Err(refused(Fault::Forbidden, refusal(*address))),
        None if addresses.is_empty() => Err(refused(Fault::Resolve, "the name has no address".into())),
        None => Ok(addresses),
    }
}

pub(super) fn refusal(address: IpAddr) -> String {
    format!("{address} is no public address: if it is meant, add allow_private = true or allow_cidrs = [\"{address}\"]")
}

/// By the system's rules.
pub(super) fn system() -> Lookup {
    Arc::new(|name| {
        let name = name.to_owned();
        Box::pin(async move {
            let found = tokio::time::timeout(std::time::Duration::from_secs(5), tokio::net::lookup_host((name, 0)));
            Ok(found.await.map_err(io::Error::from)??.map(|found| found.ip()).collect())
        })
    })
}
