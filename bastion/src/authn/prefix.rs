//! The neighbourhood of an address: what one party can easily own.

use std::net::IpAddr;

/// The neighbourhood of an address: /24 of IPv4, /56 of IPv6. What one party can easily own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prefix(ipnet::IpNet);

impl Prefix {
    /// The prefix of an address; an IPv4 address that came as IPv6 counts as IPv4.
    pub fn of(source: IpAddr) -> Self {
        let source = source.to_canonical();
        let bits = if source.is_ipv4() { 24 } else { 56 };
        // 24 and 56 are valid lengths of their families, so the host route is never used.
        let net = ipnet::IpNet::new(source, bits).unwrap_or_else(|_| source.into());
        Self(net.trunc())
    }
}

impl std::fmt::Display for Prefix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("address")
    }

    #[test]
    fn prefixes_group_what_one_party_owns() {
        for (source, prefix) in [
            ("192.0.2.77", "192.0.2.0/24"),
            ("::ffff:192.0.2.77", "192.0.2.0/24"),
            ("2001:db8:1:2ff::1", "2001:db8:1:200::/56"),
        ] {
            assert_eq!(Prefix::of(ip(source)).to_string(), prefix);
        }
    }
}
