//! Owns the way from a name to addresses that may be connected to. The connection goes to exactly these: there is no second
//! lookup that could answer otherwise (DNS rebinding).

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::failure::Fault;
use super::guard::{Guard, refusal};
use crate::channels::resolve::Resolver;

/// How long a lookup may take.
const LIMIT: Duration = Duration::from_secs(5);

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
    pub resolver: Resolver,
}

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let (guard, resolver) = (self.guard.clone(), self.resolver.clone());
        Box::pin(async move {
            let addresses = checked(&guard, &resolver, name.as_str()).await?;
            // Port 0: the one of the URL.
            Ok(Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}

/// The addresses of `name`. One that is not allowed spoils them all: who answers with a public and a private address does
/// not mean well, or should be told to the channel's `allow_cidrs`.
pub(super) async fn checked(guard: &Guard, resolver: &Resolver, name: &str) -> Result<Vec<IpAddr>, Refused> {
    let addresses = resolver.addresses(name, LIMIT).await;
    let addresses = addresses.map_err(|why| Refused { fault: Fault::Resolve, detail: why.to_string() })?;
    match addresses.iter().find(|address| !guard.allows(**address)) {
        Some(address) => Err(Refused { fault: Fault::Forbidden, detail: refusal(*address) }),
        None => Ok(addresses),
    }
}
