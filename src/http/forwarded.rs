//! The caller's address behind proxies, from `X-Forwarded-For` or `Forwarded` (RFC 7239).

use std::net::{IpAddr, SocketAddr};

use ipnet::{IpNet, Ipv4Net};

/// The host's own proxies: their addresses, and the header in which they pass on the address of
/// their caller.
///
/// The header is looked at only if the request comes from one of these addresses, and only its end
/// is, which the proxy itself has written: everything before it is whatever the caller sent.
///
/// ```
/// use std::net::IpAddr;
///
/// use password_grant::TrustedProxies;
///
/// let proxies = TrustedProxies::x_forwarded_for(["10.0.0.0/8"])?;
/// let peer = |socket: &str, header: &str| -> Result<IpAddr, std::net::AddrParseError> {
///     Ok(proxies.peer(socket.parse()?, [("x-forwarded-for", header)]))
/// };
/// assert_eq!(peer("10.0.0.1", "198.51.100.9, 192.0.2.7")?, "192.0.2.7".parse::<IpAddr>()?);
/// assert_eq!(peer("203.0.113.5", "192.0.2.7")?, "203.0.113.5".parse::<IpAddr>()?);
/// # Ok::<(), password_grant::BoxError>(())
/// ```
#[derive(Debug, Clone)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
    header: ForwardingHeader,
    hops: usize,
}

#[derive(Debug, Clone, Copy)]
enum ForwardingHeader {
    XForwardedFor,
    Forwarded,
}

/// Why the networks of proxies cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyNetworkError {
    /// A text is neither an IP address nor an IP network.
    #[error("{0:?} is not an IP address or a network such as 10.0.0.0/8")]
    NotANetwork(String),
    /// There is none, so no header would ever be looked at.
    #[error("no network of a proxy is given")]
    Empty,
}

impl TrustedProxies {
    /// Proxies that append their caller's address to `X-Forwarded-For`. `networks` are their
    /// addresses, or the networks that have nothing but proxies in them.
    ///
    /// # Errors
    ///
    /// If there is none, or one of them is neither an IP address nor a network in CIDR notation.
    pub fn x_forwarded_for(
        networks: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Self, ProxyNetworkError> {
        Self::new(networks, ForwardingHeader::XForwardedFor)
    }

    /// The same for proxies that append to `Forwarded` ([RFC 7239]). Name the header that your
    /// proxies write: another one passes through them as the caller sent it.
    ///
    /// # Errors
    ///
    /// If there is no network, or one is neither an IP address nor a network in CIDR notation.
    ///
    /// [RFC 7239]: https://www.rfc-editor.org/rfc/rfc7239
    pub fn forwarded(
        networks: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Self, ProxyNetworkError> {
        Self::new(networks, ForwardingHeader::Forwarded)
    }

    fn new(
        networks: impl IntoIterator<Item = impl AsRef<str>>,
        header: ForwardingHeader,
    ) -> Result<Self, ProxyNetworkError> {
        let network = |text: &str| match text.parse::<IpAddr>() {
            Ok(address) => Ok(IpNet::from(address.to_canonical())),
            Err(_) => match text.parse() {
                Ok(network) => Ok(canonical(network)),
                Err(_) => Err(ProxyNetworkError::NotANetwork(text.to_owned())),
            },
        };
        let networks = networks.into_iter().map(|text| network(text.as_ref().trim()));
        let networks = networks.collect::<Result<Vec<_>, _>>()?;
        if networks.is_empty() {
            return Err(ProxyNetworkError::Empty);
        }
        Ok(Self { networks, header, hops: 1 })
    }

    /// The number of proxies that a request passes one after the other. Default: 1. With more, the
    /// last entry of the header is looked at, then the one before it if the last names a trusted
    /// proxy too, and so on.
    #[must_use]
    pub fn hops(mut self, hops: usize) -> Self {
        self.hops = hops;
        self
    }

    /// The caller's address. `socket` is the address of the connection, and `headers` are all
    /// headers of the request, raw, repeated ones repeated.
    ///
    /// Without a trusted proxy's entry that is an IP address (with or without a port), it is the
    /// address of the last proxy that is known, and never left out.
    pub fn peer<N: AsRef<str>, V: AsRef<[u8]>>(
        &self,
        socket: IpAddr,
        headers: impl IntoIterator<Item = (N, V)>,
    ) -> IpAddr {
        let mut peer = socket.to_canonical();
        if self.hops == 0 || !self.trusts(peer) {
            return peer;
        }
        let lines: Vec<V> = headers
            .into_iter()
            .filter(|(name, _)| name.as_ref().eq_ignore_ascii_case(self.header.name()))
            .map(|(_, value)| value)
            .collect();
        let entries = lines.iter().rev().flat_map(|line| entries_from_the_end(line.as_ref()));
        for entry in entries.take(self.hops) {
            match self.header.address(entry) {
                Some(address) if self.trusts(peer) => peer = address.to_canonical(),
                _ => break,
            }
        }
        peer
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address))
    }
}

/// A network of IPv4 addresses that are written as IPv6 addresses, as one of IPv4 addresses.
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(mapped) = network else { return network };
    let address = mapped.addr().to_ipv4_mapped();
    let prefix = mapped.prefix_len().checked_sub(96);
    match address.zip(prefix).and_then(|(address, prefix)| Ipv4Net::new(address, prefix).ok()) {
        Some(network) => IpNet::V4(network),
        None => network,
    }
}

impl ForwardingHeader {
    fn name(self) -> &'static str {
        match self {
            Self::XForwardedFor => "x-forwarded-for",
            Self::Forwarded => "forwarded",
        }
    }

    /// The address in one entry of the list.
    fn address(self, entry: &[u8]) -> Option<IpAddr> {
        let entry = std::str::from_utf8(entry).ok()?;
        match self {
            Self::XForwardedFor => address(entry.trim()),
            // Pairs of a name and a value (RFC 7239 section 4), of which one names the caller.
            Self::Forwarded => {
                let pairs =
                    outside_quotes(entry, ';').filter_map(|pair| pair.trim().split_once('='));
                let mut named = pairs.filter(|(name, _)| name.eq_ignore_ascii_case("for"));
                let (Some((_, node)), None) = (named.next(), named.next()) else { return None };
                let quoted = node.strip_prefix('"').and_then(|node| node.strip_suffix('"'));
                address(quoted.unwrap_or(node))
            }
        }
    }
}

/// The parts of a text that are separated outside of quoted strings (RFC 9110 section 5.6.4).
fn outside_quotes(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut in_quotes, mut is_escaped) = (false, false);
    text.split(move |character| {
        let is_literal = std::mem::take(&mut is_escaped);
        match character {
            '\\' if in_quotes && !is_literal => is_escaped = true,
            '"' if !is_literal => in_quotes = !in_quotes,
            _ => {}
        }
        character == separator && !in_quotes
    })
}

/// The entries of a list, the last one first. A comma in a quoted string does not separate. Since
/// the end of the list is the proxy's, quotes are matched from there: one that the caller has left
/// open does not reach it.
fn entries_from_the_end(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut in_quotes, mut index) = (false, list.len());
    list.rsplit(move |byte| {
        index -= 1;
        let is_escaped = index.checked_sub(1).and_then(|before| list.get(before)) == Some(&b'\\');
        in_quotes ^= *byte == b'"' && !is_escaped;
        *byte == b',' && !in_quotes
    })
}

/// An IP address, with or without a port. With a port, an IPv6 address is in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    text.parse().ok().or_else(in_brackets).or_else(with_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROXY: &str = "10.0.0.1";

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn only_what_a_trusted_proxy_has_appended_is_believed() {
        let one = TrustedProxies::x_forwarded_for(["10.0.0.0/8", "fd00::1"]).unwrap();
        let two = one.clone().hops(2);
        let table: &[(&TrustedProxies, &str, &[&str], &str)] = &[
            (&one, PROXY, &["192.0.2.7"], "192.0.2.7"),
            (&one, PROXY, &["198.51.100.9, 192.0.2.7"], "192.0.2.7"),
            (&one, PROXY, &["198.51.100.9", "192.0.2.7"], "192.0.2.7"),
            (&one, PROXY, &["192.0.2.7:4711"], "192.0.2.7"),
            (&one, PROXY, &["[2001:db8::7]:4711"], "2001:db8::7"),
            (&one, PROXY, &["2001:db8::7"], "2001:db8::7"),
            (&one, PROXY, &["::ffff:192.0.2.7"], "192.0.2.7"),
            (&one, "::ffff:10.0.0.1", &["192.0.2.7"], "192.0.2.7"),
            (&one, "fd00::1", &["192.0.2.7"], "192.0.2.7"),
            // Not the proxy's, or nothing that is an address.
            (&one, "203.0.113.5", &["192.0.2.7"], "203.0.113.5"),
            (&one, "fd00::2", &["192.0.2.7"], "fd00::2"),
            (&one, PROXY, &[], PROXY),
            (&one, PROXY, &[""], PROXY),
            (&one, PROXY, &["192.0.2.7, unknown"], PROXY),
            (&one, PROXY, &["192.0.2.7,"], PROXY),
            // A caller inside of the proxies' network cannot choose an address with one hop.
            (&one, PROXY, &["192.0.2.7, 10.9.9.9"], "10.9.9.9"),
            (&two, PROXY, &["198.51.100.9, 192.0.2.7, 10.0.0.2"], "192.0.2.7"),
            (&two, PROXY, &["198.51.100.9, 192.0.2.7"], "192.0.2.7"),
            (&two, PROXY, &["192.0.2.7, 10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            (&one.clone().hops(0), PROXY, &["192.0.2.7"], PROXY),
        ];
        for (proxies, socket, lines, expected) in table {
            let headers = lines.iter().map(|line| ("X-Forwarded-For", line.as_bytes()));
            let others = [("forwarded", &b"for=192.0.2.66"[..]), ("x-real-ip", b"192.0.2.66")];
            assert_eq!(
                proxies.peer(ip(socket), headers.chain(others)),
                ip(expected),
                "{socket} {lines:?}"
            );
        }
    }

    #[test]
    fn the_standard_header_is_read_from_its_end_too() {
        let proxies = TrustedProxies::forwarded([PROXY]).unwrap();
        for (line, expected) in [
            ("for=192.0.2.7", "192.0.2.7"),
            ("For=\"192.0.2.7:4711\"; proto=https; by=10.0.0.1", "192.0.2.7"),
            ("proto=https;for=\"[2001:db8::7]:4711\"", "2001:db8::7"),
            ("for=\"[2001:db8::7]\"", "2001:db8::7"),
            ("for=198.51.100.9, for=192.0.2.7;host=\"a, b\"", "192.0.2.7"),
            ("for=\"198.51.100.9, for=192.0.2.7", "192.0.2.7"), // a quote that the caller left open
            // What the caller wrote into a header that the proxy passes on in quotes.
            ("host=\"a;for=192.0.2.66;b\";for=192.0.2.7", "192.0.2.7"),
            ("for=192.0.2.7;host=\"a\\\", for=192.0.2.66;x=\\\"b\"", "192.0.2.7"),
            ("for=192.0.2.66;for=192.0.2.7", PROXY),
            ("for=unknown", PROXY),
            ("for=_hidden", PROXY),
            ("for=192.0.2.7, proto=https", PROXY),
            ("192.0.2.7", PROXY),
        ] {
            let headers = [("Forwarded", line), ("X-Forwarded-For", "192.0.2.66")];
            assert_eq!(proxies.peer(ip(PROXY), headers), ip(expected), "{line}");
        }
    }

    #[test]
    fn a_mapped_network_is_one_of_ipv4_addresses() {
        let proxies = TrustedProxies::x_forwarded_for(["::ffff:10.0.0.0/104"]).unwrap();
        let peer = proxies.peer(ip(PROXY), [("x-forwarded-for", "192.0.2.7")]);
        assert_eq!(peer, ip("192.0.2.7"));
        assert_eq!(
            TrustedProxies::forwarded([] as [&str; 0]).unwrap_err(),
            ProxyNetworkError::Empty
        );
    }

    #[test]
    fn a_network_that_is_none_is_an_error() {
        for text in ["", "proxy.internal", "10.0.0.0/33", "10.0.0.1:80"] {
            let error = TrustedProxies::x_forwarded_for([text]).unwrap_err();
            assert!(error.to_string().contains(text), "{error}");
        }
    }
}
