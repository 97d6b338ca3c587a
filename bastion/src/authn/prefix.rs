//! What stands for a source: its address, and the neighbourhood that one party can easily own.

use std::net::IpAddr;

/// A source: an address, or its neighbourhood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prefix(ipnet::IpNet);

impl Prefix {
    /// The neighbourhood of an address: /24 of IPv4, /56 of IPv6. An IPv4 address that came as IPv6
    /// counts as IPv4.
    pub fn of(source: IpAddr) -> Self {
        Self::cut(source, 24, 56)
    }

    /// The address alone; of IPv6 the /64, within which a machine numbers itself.
    pub fn address(source: IpAddr) -> Self {
        Self::cut(source, 32, 64)
    }

    fn cut(source: IpAddr, v4: u8, v6: u8) -> Self {
        let source = source.to_canonical();
        let bits = if source.is_ipv4() { v4 } else { v6 };
        // These are valid lengths of their families, so the host route is never used.
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
        for (source, address) in
            [("192.0.2.77", "192.0.2.77/32"), ("2001:db8:1:2ff::1", "2001:db8:1:2ff::/64")]
        {
            assert_eq!(Prefix::address(ip(source)).to_string(), address);
        }
    }
}
