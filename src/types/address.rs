//! Addresses by the party that holds them. The limiter counts attempts by them, and the password
//! hashing serves them in turn.

use std::net::IpAddr;

/// The part of an address that one party holds alone: all of an IPv4 address, the first 64 bits of
/// an IPv6 address. The first byte tells the two apart.
pub(crate) fn source(peer: IpAddr) -> [u8; 9] {
    match peer.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            [4, a, b, c, d, 0, 0, 0, 0]
        }
        IpAddr::V6(address) => {
            let [a, b, c, d, e, f, g, h, ..] = address.octets();
            [6, a, b, c, d, e, f, g, h]
        }
    }
}

/// The part of an IPv6 address that is assigned to a site: the first 48 bits, which hold 65,536
/// sources. `None` for an IPv4 address.
pub(crate) fn network(peer: IpAddr) -> Option<[u8; 6]> {
    match peer.to_canonical() {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => {
            let [a, b, c, d, e, f, ..] = address.octets();
            Some([a, b, c, d, e, f])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_counts_as_whoever_holds_it() {
        let of = |text: &str| -> IpAddr { text.parse().unwrap() };
        assert_eq!(source(of("192.0.2.1")), source(of("::ffff:192.0.2.1")));
        assert_ne!(source(of("192.0.2.1")), source(of("192.0.2.2")));
        assert_eq!(source(of("2001:db8:0:1::1")), source(of("2001:db8:0:1:ffff::9")));
        assert_ne!(source(of("2001:db8:0:1::1")), source(of("2001:db8:0:2::1")));
        assert_eq!(network(of("2001:db8:0:1::1")), network(of("2001:db8:0:2::1")));
        assert_ne!(network(of("2001:db8:0:1::1")), network(of("2001:db8:1:1::1")));
        assert_eq!(network(of("::ffff:192.0.2.1")), None);
    }
}
