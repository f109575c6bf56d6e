//! Who counts as whom: an address, the one that a trusted proxy forwards, an account, or this machine itself.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use http::HeaderMap;
use ipnet::IpNet;

use crate::syntax::Did;

/// Whom a limit counts. Small, since each request carries one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Client {
    /// A trusted proxy, or whoever asks from where one is, for himself: the operator's own machines.
    Own,
    /// An address.
    V4(Ipv4Addr),
    /// A network of 64 bits: what one customer has at least.
    V6(u64),
    /// An account, wherever it calls from. A PDS speaks for thousands of them.
    Account(u64),
    /// A host that is asked on behalf of callers.
    Host(u64),
}

/// Names are kept as numbers, so that long ones cost nothing; nobody outside can make two of them meet.
static NAMES: LazyLock<RandomState> = LazyLock::new(RandomState::new);

impl Client {
    /// An address of somebody who is not trusted with anything.
    #[must_use]
    pub fn address(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4),
            IpAddr::V6(v6) => Self::V6((v6.to_bits() >> 64) as u64),
        }
    }

    /// An account that showed a token that it signed.
    #[must_use]
    pub fn account(did: &Did) -> Self {
        Self::Account(NAMES.hash_one(did.as_str()))
    }

    /// All of those whom one owner may well have: what a provider gives one customer, or nearly. Not a client itself.
    #[must_use]
    pub fn neighbourhood(self) -> Self {
        match self {
            Self::V4(v4) => Self::V4(Ipv4Addr::from_bits(v4.to_bits() & !0xff)),
            Self::V6(bits) => Self::V6(bits & !0xffff),
            Self::Own | Self::Account(_) | Self::Host(_) => self,
        }
    }

    /// A host by its name.
    #[must_use]
    pub fn host(name: &str) -> Self {
        Self::Host(NAMES.hash_one(name))
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own => f.write_str("this machine"),
            Self::V4(v4) => write!(f, "{v4}"),
            Self::V6(bits) => write!(f, "{}/64", Ipv6Addr::from_bits(u128::from(*bits) << 64)),
            Self::Account(_) => f.write_str("an account"),
            Self::Host(_) => f.write_str("a host"),
        }
    }
}

/// The proxies whose word on who asks is taken.
#[derive(Debug, Clone, Default)]
pub struct Proxies(Vec<IpNet>);

impl Proxies {
    /// Those in any of these networks.
    #[must_use]
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// Whether an address is that of a proxy.
    #[must_use]
    pub fn has(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.0.iter().any(|network| network.contains(&ip))
    }

    /// Who sends a request: the peer, or whom a proxy forwards, read from the right up to the first address that is no
    /// proxy's, because everything left of that is what its sender wrote.
    #[must_use]
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Client {
        if !self.has(peer) {
            return Client::address(peer);
        }
        let common = self.last_hop(peer, hops(headers, "x-forwarded-for", |hop| Some(hop.trim())));
        let standard = self.last_hop(peer, hops(headers, "forwarded", forwarded_for));
        match (common, standard) {
            (None, None) => Client::Own,
            (Some(client), None) | (None, Some(client)) => client,
            (Some(one), Some(other)) if one == other => one,
            // A proxy writes one of them and passes the other on as the client wrote it. Which is which is not known:
            // whoever sends such a header shares one place with all others who do.
            (Some(_), Some(_)) => Client::address(peer),
        }
    }

    fn last_hop<'h>(
        &self,
        peer: IpAddr,
        hops: impl DoubleEndedIterator<Item = Option<&'h str>>,
    ) -> Option<Client> {
        let mut nearest = None;
        for hop in hops.rev() {
            let Some(ip) = hop.and_then(address_of) else {
                // `unknown`, or a name that means something to the proxy only: as far as is known, it was itself.
                return Some(Client::address(nearest.unwrap_or(peer)));
            };
            if !self.has(ip) {
                return Some(Client::address(ip));
            }
            nearest = Some(ip);
        }
        nearest.map(|_| Client::Own)
    }
}

/// The elements of a list header in all its lines.
fn hops<'h>(
    headers: &'h HeaderMap,
    name: &str,
    hop: impl Fn(&'h str) -> Option<&'h str> + Copy,
) -> impl DoubleEndedIterator<Item = Option<&'h str>> {
    let lines = headers.get_all(name).into_iter();
    lines.flat_map(move |line| line.to_str().unwrap_or("?").split(',').map(hop))
}

/// `for=` of an element of `Forwarded` (RFC 7239).
fn forwarded_for(element: &str) -> Option<&str> {
    let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let (_, node) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    Some(node.trim().trim_matches('"'))
}

/// An address with or without a port; v6 with or without brackets.
fn address_of(node: &str) -> Option<IpAddr> {
    if let Some(rest) = node.strip_prefix('[') {
        return rest.split_once(']')?.0.parse().ok();
    }
    node.parse().ok().or_else(|| node.rsplit_once(':')?.0.parse::<Ipv4Addr>().ok().map(IpAddr::V4))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(networks: &[&str]) -> Proxies {
        Proxies::new(networks.iter().map(|n| n.parse().unwrap()).collect())
    }

    fn of(peer: &str, headers: &[(&'static str, &str)]) -> String {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let known = proxies(&["127.0.0.0/8", "::1/128", "10.0.0.0/8"]);
        known.client(peer.parse().unwrap(), &map).to_string()
    }

    #[test]
    fn strangers_are_who_their_address_says() {
        const XFF: &str = "x-forwarded-for";
        type Case = (&'static str, &'static [(&'static str, &'static str)], &'static str);
        let cases: &[Case] = &[
            ("192.0.2.7", &[], "192.0.2.7"),
            ("192.0.2.7", &[(XFF, "198.51.100.1")], "192.0.2.7"),
            ("::ffff:192.0.2.7", &[], "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", &[], "2001:db8:1:2::/64"),
            ("2001:db8:1:2:ffff::", &[], "2001:db8:1:2::/64"),
            ("127.0.0.1", &[], "this machine"),
            ("::ffff:127.0.0.1", &[], "this machine"),
            ("127.0.0.1", &[(XFF, "198.51.100.1")], "198.51.100.1"),
            ("127.0.0.1", &[(XFF, "198.51.100.1:4711")], "198.51.100.1"),
            ("127.0.0.1", &[(XFF, "[2001:db8::1]:4711")], "2001:db8::/64"),
            ("127.0.0.1", &[(XFF, "2001:db8::1")], "2001:db8::/64"),
            // What the client wrote stands to the left of what the proxy did.
            ("127.0.0.1", &[(XFF, "203.0.113.9, 198.51.100.1")], "198.51.100.1"),
            ("127.0.0.1", &[(XFF, "203.0.113.9"), (XFF, "198.51.100.1")], "198.51.100.1"),
            ("127.0.0.1", &[(XFF, "203.0.113.9, 198.51.100.1, 10.0.0.3")], "198.51.100.1"),
            ("127.0.0.1", &[(XFF, "127.0.0.1")], "this machine"),
            ("127.0.0.1", &[(XFF, "unknown")], "127.0.0.1"),
            ("127.0.0.1", &[(XFF, "1.2.3.4, nonsense, 10.0.0.3")], "10.0.0.3"),
            ("127.0.0.1", &[("forwarded", "for=198.51.100.1;proto=https")], "198.51.100.1"),
            ("127.0.0.1", &[("forwarded", "by=x;For=\"[2001:db8::1]:80\"")], "2001:db8::/64"),
            ("127.0.0.1", &[("forwarded", "for=9.9.9.9, for=198.51.100.1")], "198.51.100.1"),
            ("127.0.0.1", &[("forwarded", "proto=https")], "127.0.0.1"),
            // Two that agree, and one of two that somebody made up.
            ("127.0.0.1", &[(XFF, "9.9.9.9"), ("forwarded", "for=9.9.9.9")], "9.9.9.9"),
            ("127.0.0.1", &[(XFF, "9.9.9.9"), ("forwarded", "for=8.8.8.8")], "127.0.0.1"),
        ];
        for (peer, headers, expect) in cases {
            assert_eq!(of(peer, headers), *expect, "{peer} {headers:?}");
        }
    }

    #[test]
    fn this_machine_is_a_stranger_where_it_is_no_proxy() {
        let none = Proxies::default();
        let client = none.client("127.0.0.1".parse().unwrap(), &HeaderMap::new());
        assert_eq!(client, Client::V4(Ipv4Addr::LOCALHOST));
    }

    #[test]
    fn names_are_told_apart() {
        let did = |text| Client::account(&Did::parse(text).unwrap());
        assert_eq!(did("did:plc:a"), did("did:plc:a"));
        assert_ne!(did("did:plc:a"), did("did:plc:b"));
        assert_ne!(Client::host("a.example"), did("did:web:a.example"));
    }
}
