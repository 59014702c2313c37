//! Owns networks of addresses in CIDR notation (RFC 4632, RFC 4291 2.3): which a channel may connect to, which a rule is about.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// `10.1.0.0/16`, `fd00:1::/64`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    /// Bits that count.
    length: u8,
}

impl Network {
    /// The addresses that share their first `length` bits with `address`.
    #[must_use]
    pub const fn new(address: IpAddr, length: u8) -> Self {
        Self { address, length }
    }

    /// Whether `address` is one of them; a family never holds the other's.
    #[must_use]
    pub fn holds(&self, address: IpAddr) -> bool {
        // Both as 128 bits from the left.
        let bits = |address: IpAddr| match address {
            IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
            IpAddr::V6(address) => address.to_bits(),
        };
        let mask = u128::MAX.checked_shl(128 - u32::from(self.length)).unwrap_or(0);
        self.address.is_ipv4() == address.is_ipv4() && (bits(self.address) ^ bits(address)) & mask == 0
    }
}

impl FromStr for Network {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "must be a network such as \"10.1.0.0/16\" or \"fd00:1::/64\", or one address";
        if text.contains('%') {
            return Err("has a zone (`%…`), which is of one machine only: leave it out");
        }
        let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
        let address: IpAddr = address.parse().map_err(|_| FORM)?;
        if address.to_canonical() != address {
            return Err("must be written as the IPv4 network that it is");
        }
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let length = length.map_or(Ok(longest), str::parse).map_err(|_| FORM)?;
        if length > longest { Err(FORM) } else { Ok(Self { address, length }) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_an_address_and_a_length() {
        for (text, shown) in [("10.0.0.0/8", "10.0.0.0/8"), ("::1", "::1/128"), ("10.0.0.7", "10.0.0.7/32")] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), shown);
        }
        for text in
            ["", "10.0.0.0/33", "10.0.0/8", "::/129", "example.com", "10.0.0.0/-1", "10.0.0.0/", "::ffff:10.0.0.0/104"]
        {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
