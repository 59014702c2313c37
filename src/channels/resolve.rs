//! Owns the way from a host's name to its addresses, with limits: `/etc/hosts`, the search domains and the servers of
//! `/etc/resolv.conf`, which are read again when they change.
//!
//! The system's own lookup has no deadline that we could set and does not say whether a name does not exist or nobody
//! could be asked. Here a positive answer is kept for its TTL, "does not exist" for 30 s at most, a failure not at all.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, TokioResolver, system_conf};
use tokio::time::timeout;

/// How long "does not exist" is believed, whatever the zone says.
const NEGATIVE: Duration = Duration::from_secs(30);
/// How long a server may take; the caller's limit is for everything. UDP is repeated within it.
const ONE_QUERY: Duration = Duration::from_secs(5);
/// How long the addresses of the other family are waited for once one has come (RFC 8305 3 says 50 ms between the two).
const OTHER_FAMILY: Duration = Duration::from_millis(300);
/// What is read again when it changes.
const FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

/// Why a name has no addresses, the more certain first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unresolved {
    /// NXDOMAIN, or no name at all: an error of the configuration.
    NoSuchName,
    /// The name exists and has neither an IPv4 nor an IPv6 address: an error of the configuration, too.
    NoAddress,
    /// SERVFAIL, REFUSED or the like: may pass.
    ServerFailed,
    /// No answer in time: may pass.
    Timeout,
}

impl Unresolved {
    /// What it means and what to do, in one line without the name.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::NoSuchName => "the name does not exist (NXDOMAIN): correct it in the configuration",
            Self::NoAddress => "the name has no address: correct it in the configuration or in the DNS",
            Self::ServerFailed => "the DNS server failed or refused (SERVFAIL, REFUSED)",
            Self::Timeout => "the DNS server did not answer in time",
        }
    }

    /// Whether only somebody who changes a configuration can help.
    #[must_use]
    pub const fn is_lasting(self) -> bool {
        matches!(self, Self::NoSuchName | Self::NoAddress)
    }
}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for Unresolved {}

/// Looks names up. Cheap to clone; clones share one memory of answers.
#[derive(Clone)]
pub struct Resolver(Arc<Mutex<Current>>);

struct Current {
    names: Arc<Names>,
    /// When the system's files were last changed; `None`: these servers were given.
    read: Option<[Option<SystemTime>; 2]>,
}

impl Resolver {
    /// As the system is set up. Without a usable `/etc/resolv.conf` the server is 127.0.0.1, as resolv.conf(5) has it.
    #[must_use]
    pub fn system() -> Self {
        Self(Arc::new(Mutex::new(Current { names: Arc::new(Names::system()), read: Some(changed_at()) })))
    }

    /// With these servers (UDP) and search domains, and no hosts file.
    pub fn with_servers(servers: &[SocketAddr], search: &[&str]) -> anyhow::Result<Self> {
        let search = search.iter().map(Name::from_ascii).collect::<Result<Vec<_>, _>>()?;
        let server = |address: &SocketAddr| {
            let mut connection = ConnectionConfig::udp();
            connection.port = address.port();
            NameServerConfig::new(address.ip(), true, vec![connection])
        };
        let config = ResolverConfig::from_parts(None, search, servers.iter().map(server).collect());
        let names = Names::new(config, ResolverOpts::default(), Hosts::default())?;
        Ok(Self(Arc::new(Mutex::new(Current { names: Arc::new(names), read: None }))))
    }

    /// The addresses of `host` (a name or an address), all within `limit`; at least one. IPv6 and IPv4 take turns, so that
    /// a family that leads nowhere costs one attempt.
    pub async fn addresses(&self, host: &str, limit: Duration) -> Result<Vec<IpAddr>, Unresolved> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        let names = self.names();
        timeout(limit, names.addresses(host)).await.unwrap_or(Err(Unresolved::Timeout))
    }

    fn names(&self) -> Arc<Names> {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(read) = current.read {
            let now = changed_at();
            if now != read {
                *current = Current { names: Arc::new(Names::system()), read: Some(now) };
            }
        }
        current.names.clone()
    }
}

fn changed_at() -> [Option<SystemTime>; 2] {
    FILES.map(|file| std::fs::metadata(file).and_then(|file| file.modified()).ok())
}

/// One state of the system's files.
struct Names {
    dns: Option<TokioResolver>,
    hosts: Hosts,
    search: Vec<Name>,
    ndots: usize,
}

impl Names {
    fn system() -> Self {
        let (config, options) = system_conf::read_system_conf().unwrap_or_else(|error| {
            tracing::warn!("/etc/resolv.conf is of no use, the DNS server is taken to be 127.0.0.1: {error}");
            let server = NameServerConfig::udp_and_tcp(IpAddr::V4(Ipv4Addr::LOCALHOST));
            (ResolverConfig::from_parts(None, Vec::new(), vec![server]), ResolverOpts::default())
        });
        let (search, ndots) = (config.search().to_vec(), options.ndots);
        Self::new(config, options, Hosts::from_system().unwrap_or_default()).unwrap_or_else(|error| {
            tracing::error!("no DNS resolver can be made, only /etc/hosts counts: {error:#}");
            Self { dns: None, hosts: Hosts::from_system().unwrap_or_default(), search, ndots }
        })
    }

    /// The library walks no search list and reads no hosts file for us: it gives the last error of the walk, which may be
    /// the NXDOMAIN of a guess after the SERVFAIL of the name itself, and it asks the DNS for the other family of a name
    /// that the hosts file knows.
    fn new(config: ResolverConfig, mut options: ResolverOpts, hosts: Hosts) -> anyhow::Result<Self> {
        let mut search = config.search().to_vec();
        if search.is_empty() {
            search.extend(config.domain().cloned());
        }
        options.negative_max_ttl = Some(NEGATIVE);
        options.timeout = ONE_QUERY;
        options.attempts = 1;
        options.use_hosts_file = ResolveHosts::Never;
        let ndots = options.ndots;
        let dns = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            .with_options(options)
            .build()?;
        Ok(Self { dns: Some(dns), hosts, search, ndots })
    }

    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, Unresolved> {
        let Ok(name) = Name::from_ascii(host) else { return Err(Unresolved::NoSuchName) };
        let listed = self.listed(&name);
        if !listed.is_empty() {
            return Ok(listed);
        }
        let mut worst = Unresolved::NoSuchName;
        for candidate in self.candidates(name) {
            match self.ask(candidate).await {
                Ok(addresses) => return Ok(addresses),
                // Whether the name exists is not known, so no other may take its place.
                Err(passing) if !passing.is_lasting() => return Err(passing),
                Err(lasting) => worst = worst.max(lasting),
            }
        }
        Err(worst)
    }

    /// What the hosts file says.
    fn listed(&self, name: &Name) -> Vec<IpAddr> {
        let of = |family| self.hosts.lookup_static_host(&Query::query(name.clone(), family));
        let lookups = [of(RecordType::AAAA), of(RecordType::A)];
        let records = lookups.iter().flatten().flat_map(Lookup::answers);
        records.filter_map(|record| record.data.ip_addr()).collect()
    }

    /// The full names that `name` may stand for, in the order of resolv.conf(5): with `ndots` dots in it first itself, else
    /// itself last.
    fn candidates(&self, mut name: Name) -> Vec<Name> {
        if name.is_fqdn() {
            return vec![name];
        }
        let mut names: Vec<Name> =
            self.search.iter().filter_map(|domain| name.clone().append_domain(domain).ok()).collect();
        let first = usize::from(name.num_labels()) > self.ndots || name.is_localhost();
        name.set_fqdn(true);
        names.insert(if first { 0 } else { names.len() }, name);
        names
    }

    /// Both families at once.
    async fn ask(&self, name: Name) -> Result<Vec<IpAddr>, Unresolved> {
        let mut v6 = pin!(self.query(name.clone(), RecordType::AAAA));
        let mut v4 = pin!(self.query(name, RecordType::A));
        let (first, other) = tokio::select! {
            first = &mut v6 => (first, v4),
            first = &mut v4 => (first, v6),
        };
        let second = match &first {
            Ok(_) => timeout(OTHER_FAMILY, other).await.unwrap_or(Err(Unresolved::Timeout)),
            Err(_) => other.await,
        };
        match (first, second) {
            (Err(one), Err(other)) => Err(one.max(other)),
            (one, other) => Ok(taking_turns(one.into_iter().chain(other).flatten())),
        }
    }

    /// The addresses of one family; at least one.
    async fn query(&self, name: Name, family: RecordType) -> Result<Vec<IpAddr>, Unresolved> {
        let Some(dns) = &self.dns else { return Err(Unresolved::ServerFailed) };
        let lookup = dns.lookup(name, family).await.map_err(|error| cause(&error))?;
        let addresses: Vec<_> = lookup.answers().iter().filter_map(|record| record.data.ip_addr()).collect();
        if addresses.is_empty() { Err(Unresolved::NoAddress) } else { Ok(addresses) }
    }
}

fn cause(error: &NetError) -> Unresolved {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(nothing)) => match nothing.response_code {
            ResponseCode::NXDomain => Unresolved::NoSuchName,
            ResponseCode::NoError => Unresolved::NoAddress,
            _ => Unresolved::ServerFailed,
        },
        NetError::Timeout => Unresolved::Timeout,
        _ => Unresolved::ServerFailed,
    }
}

/// IPv6, IPv4, IPv6, … for as long as there are both.
fn taking_turns(addresses: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let (v6, v4): (Vec<_>, Vec<_>) = addresses.partition(IpAddr::is_ipv6);
    let (mut v6, mut v4) = (v6.into_iter(), v4.into_iter());
    let mut mixed = Vec::new();
    loop {
        let (six, four) = (v6.next(), v4.next());
        if six.is_none() && four.is_none() {
            return mixed;
        }
        mixed.extend(six.into_iter().chain(four));
    }
}
