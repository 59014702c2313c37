//! Owns which addresses we connect to. A URL of the configuration may name anything, and its name may come to mean anything:
//! an address that is not a public one is refused unless the channel allows it. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::guard::Kind::{Private, Special};
use crate::network::Network;

/// What one channel may connect to beyond the public internet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guard {
    /// Private, loopback, shared (CGNAT) and unique local addresses too. Never those that answer for the machine itself, such
    /// as the metadata service of a cloud.
    pub allow_private: bool,
    /// These networks too, whatever they are.
    pub allow: Vec<Network>,
}

/// Why an address is none of the public internet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Somebody's own network: `allow_private` is enough.
    Private,
    /// What nobody means by a URL: only a network that is named opens it.
    Special,
}

/// IPv4 networks that are not global (IANA's special-purpose registry, RFC 6890), and two addresses that look public and
/// answer for the machine: Azure's wire server and Alibaba's metadata service. The first that holds the address counts.
const FORBIDDEN_4: &[([u8; 4], u8, Kind)] = &[
    ([168, 63, 129, 16], 32, Special),
    ([100, 100, 100, 200], 32, Special),
    ([0, 0, 0, 0], 8, Special),
    ([10, 0, 0, 0], 8, Private),
    ([100, 64, 0, 0], 10, Private), // RFC 6598, shared with the provider's NAT
    ([127, 0, 0, 0], 8, Private),
    ([169, 254, 0, 0], 16, Special), // link-local, hence the metadata services
    ([172, 16, 0, 0], 12, Private),
    ([192, 0, 0, 0], 24, Special),
    ([192, 0, 2, 0], 24, Special),   // documentation
    ([192, 88, 99, 0], 24, Special), // 6to4 relays
    ([192, 168, 0, 0], 16, Private),
    ([198, 18, 0, 0], 15, Special),   // benchmarks
    ([198, 51, 100, 0], 24, Special), // documentation
    ([203, 0, 113, 0], 24, Special),  // documentation
    ([224, 0, 0, 0], 4, Special),     // multicast
    ([240, 0, 0, 0], 4, Special),     // reserved, broadcast
];

/// IPv6 networks that are not global, or that lead into IPv4 behind our back. What lies outside `2000::/3` is refused
/// anyway: unspecified, NAT64 (`64:ff9b::/96`, `64:ff9b:1::/48`), discard, link-local, site-local, segment routing, multicast.
const FORBIDDEN_6: &[([u16; 3], u8, Kind)] = &[
    ([0xfc00, 0, 0], 7, Private),
    ([0x2001, 0, 0], 23, Special),     // protocol assignments, Teredo among them
    ([0x2001, 0xdb8, 0], 32, Special), // documentation
    ([0x2002, 0, 0], 16, Special),     // 6to4
    ([0x3fff, 0, 0], 20, Special),     // documentation, RFC 9637
];

impl Guard {
    /// Whether we may connect to `address`. An IPv4 address in IPv6's clothes is judged as what it is.
    #[must_use]
    pub fn allows(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        match kind(address) {
            None => true,
            Some(Private) if self.allow_private => true,
            Some(_) => self.allow.iter().any(|network| network.holds(address)),
        }
    }
}

/// What to say of an `address` that is not allowed: only what does open it is offered, as the configuration takes it.
pub(super) fn refusal(address: IpAddr) -> String {
    let address = address.to_canonical();
    let remedy = match kind(address) {
        Some(Special) => format!("only allow_cidrs = [\"{address}\"] opens it"),
        Some(Private) | None => format!("add allow_private = true or allow_cidrs = [\"{address}\"]"),
    };
    format!("{address} is no public address: if it is meant, {remedy}")
}

/// `None`: of the public internet.
fn kind(address: IpAddr) -> Option<Kind> {
    match address {
        IpAddr::V4(address) => forbidden_4(address),
        IpAddr::V6(address) => forbidden_6(address),
    }
}

fn forbidden_4(address: Ipv4Addr) -> Option<Kind> {
    let found = FORBIDDEN_4.iter().find(|(network, length, _)| {
        let network = Network::new(Ipv4Addr::from(*network).into(), *length);
        network.holds(address.into())
    });
    found.map(|(_, _, kind)| *kind)
}

fn forbidden_6(address: Ipv6Addr) -> Option<Kind> {
    if address.is_loopback() {
        return Some(Private);
    }
    let found = FORBIDDEN_6.iter().find(|([a, b, c], length, _)| {
        let network = Network::new(Ipv6Addr::new(*a, *b, *c, 0, 0, 0, 0, 0).into(), *length);
        network.holds(address.into())
    });
    let global = address.segments()[0] >> 13 == 0b001;
    found.map(|(_, _, kind)| *kind).or((!global).then_some(Special))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(allow_private: bool, allow: &[&str]) -> Guard {
        Guard { allow_private, allow: allow.iter().map(|network| network.parse().unwrap()).collect() }
    }

    /// T82, the resolver's answers.
    #[test]
    fn only_public_addresses_are_connected_to() {
        let strict = Guard::default();
        for public in [
            "93.184.216.34",
            "1.1.1.1",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "168.63.129.15",
            "192.0.1.1",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450:4001::1",
            "2001:4860:4860::8888",
            "::ffff:93.184.216.34",
        ] {
            assert!(strict.allows(public.parse().unwrap()), "{public}");
        }
        for (what, addresses) in [
            ("this network", &["0.0.0.0", "0.1.2.3"] as &[_]),
            ("private", &["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"]),
            ("shared with a provider", &["100.64.0.1", "100.127.255.255"]),
            ("loopback", &["127.0.0.1", "127.255.255.255", "::1"]),
            ("link-local, the metadata services", &["169.254.169.254", "169.254.0.1", "fe80::1", "fec0::1"]),
            ("Azure's WireServer", &["168.63.129.16"]),
            ("Alibaba's metadata service", &["100.100.100.200"]),
            ("protocol assignments", &["192.0.0.8", "2001::1", "2001:1::1"]),
            ("documentation", &["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"]),
            ("benchmarks", &["198.18.0.1", "198.19.255.255"]),
            ("6to4", &["192.88.99.1", "2002:7f00:1::1"]),
            ("multicast, reserved, broadcast", &["224.0.0.1", "240.0.0.1", "255.255.255.255", "ff02::1"]),
            ("unique local", &["fc00::1", "fd12:3456::1"]),
            ("unspecified, discard, SRv6", &["::", "100::1", "5f00::1"]),
            ("NAT64, whatever is behind it", &["64:ff9b::7f00:1", "64:ff9b::5db8:d822", "64:ff9b:1::1"]),
            ("IPv4 in IPv6", &["::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe", "::127.0.0.1"]),
        ] {
            for address in addresses {
                assert!(!strict.allows(address.parse().unwrap()), "{what}: {address}");
            }
        }
    }

    #[test]
    fn allow_private_opens_networks_of_ones_own_and_never_what_answers_for_the_machine() {
        let own = guard(true, &[]);
        for open in ["10.0.0.1", "127.0.0.1", "::1", "100.64.0.1", "192.168.0.1", "fd00::1", "::ffff:10.0.0.1"] {
            assert!(own.allows(open.parse().unwrap()), "{open}");
        }
        for shut in
            ["169.254.169.254", "168.63.129.16", "100.100.100.200", "fe80::1", "0.0.0.0", "224.0.0.1", "64:ff9b::1"]
        {
            assert!(!own.allows(shut.parse().unwrap()), "{shut}");
        }
    }

    #[test]
    fn the_remedy_of_a_refusal_does_open_the_address() {
        for (address, private_helps) in [
            ("10.0.0.1", true),
            ("::1", true),
            ("fd00::1", true),
            ("::ffff:127.0.0.1", true),
            ("169.254.169.254", false),
            ("168.63.129.16", false),
            ("100.100.100.200", false),
            ("fe80::1", false),
            ("0.0.0.0", false),
            ("::ffff:169.254.169.254", false),
        ] {
            let (address, told) = (address.parse().unwrap(), refusal(address.parse().unwrap()));
            assert_eq!(told.contains("allow_private = true"), private_helps, "{told}");
            assert_eq!(guard(true, &[]).allows(address), private_helps, "{told}");
            let (_, network) = told.split_once("allow_cidrs = [\"").unwrap();
            assert!(guard(false, &[network.split_once('"').unwrap().0]).allows(address), "{told}");
        }
    }

    #[test]
    fn a_named_network_opens_itself_and_nothing_else() {
        let named = guard(false, &["10.1.0.0/16", "169.254.169.254", "fd00:1::/64", "64:ff9b::/96"]);
        for open in ["10.1.255.255", "::ffff:10.1.0.1", "169.254.169.254", "fd00:1::5", "64:ff9b::a9fe:a9fe"] {
            assert!(named.allows(open.parse().unwrap()), "{open}");
        }
        for shut in ["10.2.0.0", "10.0.255.255", "169.254.169.253", "fd00:1:0:1::", "fd00::1", "127.0.0.1"] {
            assert!(!named.allows(shut.parse().unwrap()), "{shut}");
        }
        assert!(guard(false, &["0.0.0.0/0"]).allows("10.0.0.1".parse().unwrap()));
        assert!(!guard(false, &["0.0.0.0/0"]).allows("fd00::1".parse().unwrap()), "IPv4 does not hold IPv6");
    }
}
