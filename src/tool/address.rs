//! The one guard of addresses: where tools may go, and what the operator allows beside the public internet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use reqwest::Url;
use serde_json::Value;

use super::Failure;

/// The setting that allows addresses which are not public: `true` for all, or a list of hosts, addresses and networks, each with a port or without.
pub(super) const ALLOW_PRIVATE_ADDRESSES: &str = "allow_private_addresses";

/// IPv4 networks that are not the public internet, after the registry of special-purpose addresses of IANA.
const SPECIAL_V4: [Ipv4Net; 17] = [
    v4([0, 0, 0, 0], 8),        // this network
    v4([10, 0, 0, 0], 8),       // private
    v4([100, 64, 0, 0], 10),    // carriers' NAT; one cloud's metadata
    v4([127, 0, 0, 0], 8),      // this machine
    v4([168, 63, 129, 16], 32), // one cloud's metadata, at an address that looks public
    v4([169, 254, 0, 0], 16),   // this link; the metadata of most clouds
    v4([172, 16, 0, 0], 12),    // private
    v4([192, 0, 0, 0], 24),     // protocols; one cloud's metadata
    v4([192, 0, 2, 0], 24),     // documentation
    v4([192, 31, 196, 0], 24),  // AS112
    v4([192, 52, 193, 0], 24),  // multicast tunnels
    v4([192, 88, 99, 0], 24),   // 6to4 relays
    v4([192, 168, 0, 0], 16),   // private
    v4([198, 18, 0, 0], 15),    // benchmarks
    v4([198, 51, 100, 0], 24),  // documentation
    v4([203, 0, 113, 0], 24),   // documentation
    v4([224, 0, 0, 0], 3),      // multicast, reserved and broadcast
];

/// The only IPv6 network that is the public internet.
const GLOBAL_V6: Ipv6Net = v6([0x2000, 0, 0], 3);

/// Parts of it that are not.
const SPECIAL_V6: [Ipv6Net; 4] = [
    v6([0x2001, 0, 0], 23),         // protocols, Teredo among them, which hides an IPv4 address
    v6([0x2001, 0xdb8, 0], 32),     // documentation
    v6([0x2620, 0x4f, 0x8000], 48), // AS112
    v6([0x3fff, 0, 0], 20),         // documentation
];

/// IPv6 addresses that stand for the IPv4 address in their last 32 bits.
const NAT64: Ipv6Net = v6([0x64, 0xff9b, 0], 96);

/// IPv6 addresses that stand for the IPv4 address in the 32 bits after their first 16.
const SIX_TO_FOUR: Ipv6Net = v6([0x2002, 0, 0], 16);

const fn v4([a, b, c, d]: [u8; 4], length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length)
}

const fn v6([a, b, c]: [u16; 3], length: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), length)
}

/// What the operator allows beside public addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Allowed {
    all: bool,
    rules: Vec<Rule>,
}

/// One entry of the setting.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    target: Target,
    /// The only port, or nothing for every one.
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    Network(IpNet),
    /// A name, whatever address it has.
    Host(String),
}

/// An address that nobody allowed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("`{host}` is refused because its address is not public; the operator can allow it with the setting `{ALLOW_PRIVATE_ADDRESSES}`")]
pub(super) struct Refused {
    /// The host as the URL names it.
    pub(super) host: String,
}

impl Allowed {
    /// Reads the setting. What it does not understand is logged and allows nothing.
    pub(super) fn read(setting: Option<&Value>) -> Self {
        let entries = match setting {
            Some(Value::Bool(all)) => return Self { all: *all, rules: Vec::new() },
            Some(Value::Array(entries)) => entries.as_slice(),
            None => &[],
            Some(other) => std::slice::from_ref(other),
        };
        let rules = entries.iter().filter_map(|entry| {
            let rule = entry.as_str().and_then(Rule::parse);
            if rule.is_none() {
                tracing::warn!("setting `{ALLOW_PRIVATE_ADDRESSES}`: {entry} allows nothing; write a host, an address or a network");
            }
            rule
        });
        Self { all: false, rules: rules.collect() }
    }

    /// Returns the ports that rules name.
    pub(super) fn ports(&self) -> impl Iterator<Item = u16> {
        self.rules.iter().filter_map(|rule| rule.port)
    }

    /// Tells whether tools may connect to an address that was found for a host.
    pub(super) fn permits(&self, host: &str, port: u16, address: IpAddr) -> bool {
        let meant = meant(address);
        self.all || is_public(meant) || self.rules.iter().any(|rule| rule.permits(host, port, meant))
    }

    /// Checks everything about a URL that can be checked without resolving its host.
    pub(super) fn check(&self, url: &Url) -> Result<(), Failure> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Failure::new(format!("`{}` is no scheme that tools may use; write `http` or `https`", url.scheme())));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Failure::new("the URL has a user or a password; take it out"));
        }
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or_default();
        match host.trim_matches(['[', ']']).parse() {
            Ok(address) if !self.permits(host, port, address) => Err(Failure::new(Refused { host: host.to_owned() }.to_string())),
            _ => Ok(()),
        }
    }
}

impl Rule {
    fn parse(entry: &str) -> Option<Self> {
        let entry = entry.trim();
        let whole = |target| Some(Self { target, port: None });
        if let Ok(network) = entry.parse::<IpNet>() {
            return whole(Target::Network(network));
        }
        if let Ok(address) = entry.trim_matches(['[', ']']).parse::<IpAddr>() {
            return whole(Target::Network(address.into()));
        }
        if let Ok(address) = entry.parse::<SocketAddr>() {
            return Some(Self { target: Target::Network(address.ip().into()), port: Some(address.port()) });
        }
        let (host, port) = match entry.split_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (entry, None),
        };
        let is_name = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
        is_name.then(|| Self { target: Target::Host(without_dot(host).to_ascii_lowercase()), port })
    }

    fn permits(&self, host: &str, port: u16, address: IpAddr) -> bool {
        let target = match &self.target {
            Target::Network(network) => network.contains(&address),
            Target::Host(name) => name.eq_ignore_ascii_case(without_dot(host)),
        };
        target && self.port.is_none_or(|only| only == port)
    }
}

fn without_dot(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

/// Returns the IPv4 address that an IPv6 address stands for, where it does.
fn meant(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let [_, second, third, .., seventh, eighth] = v6.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)).into();
    if NAT64.contains(&v6) {
        return v4(seventh, eighth);
    }
    if SIX_TO_FOUR.contains(&v6) { v4(second, third) } else { v6.to_canonical() }
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !SPECIAL_V4.iter().any(|network| network.contains(&v4)),
        IpAddr::V6(v6) => GLOBAL_V6.contains(&v6) && !SPECIAL_V6.iter().any(|network| network.contains(&v6)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn permits(allowed: &Allowed, address: &str) -> bool {
        allowed.permits("h", 80, address.parse().unwrap())
    }

    #[test]
    fn only_public_addresses_are_open_by_themselves() {
        let refused = [
            "0.0.0.0",
            "0.1.2.3",
            "10.1.2.3",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.0.1",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::8.8.8.8",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::808:808",
            "100::1",
            "2001::1",
            "2001:0:808:808::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
            "2002:c0a8:101::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ];
        for address in refused {
            assert!(!permits(&Allowed::default(), address), "{address}");
        }
        for address in [
            "8.8.8.8",
            "100.63.0.1",
            "172.32.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "64:ff9b::808:808",
            "2002:808:808::1",
            "::ffff:8.8.8.8",
        ] {
            assert!(permits(&Allowed::default(), address), "{address}");
        }
    }

    #[test]
    fn the_operator_allows_networks_addresses_hosts_and_ports() {
        let allowed =
            Allowed::read(Some(&json!(["10.0.0.0/8", "127.0.0.1:8080", "Tides.internal", "mail.internal:25", "[::1]:443", "fd00::/8"])));
        let permits = |host: &str, port, address: &str| allowed.permits(host, port, address.parse().unwrap());
        for (host, port, address) in [
            ("h", 1, "10.2.3.4"),
            ("h", 1, "::ffff:10.2.3.4"),
            ("h", 8080, "127.0.0.1"),
            ("tides.internal", 9, "192.168.0.1"),
            ("tides.internal.", 9, "127.0.0.1"),
            ("mail.internal", 25, "192.168.0.1"),
            ("h", 443, "::1"),
            ("h", 443, "fd12::1"),
        ] {
            assert!(permits(host, port, address), "{host} {port} {address}");
        }
        for (host, port, address) in [
            ("h", 1, "192.168.0.1"),
            ("h", 8081, "127.0.0.1"),
            ("x.tides.internal", 9, "192.168.0.1"),
            ("mail.internal", 26, "192.168.0.1"),
            ("h", 80, "::1"),
        ] {
            assert!(!permits(host, port, address), "{host} {port} {address}");
        }
        assert_eq!(allowed.ports().collect::<Vec<_>>(), [8080, 25, 443]);
    }

    #[test]
    fn what_is_no_rule_allows_nothing() {
        for setting in
            [json!(null), json!("yes"), json!(1), json!({}), json!(["", "a b", "10.0.0.0/99", "h:port", 5, "http://h"]), json!(false)]
        {
            let allowed = Allowed::read(Some(&setting).filter(|setting| !setting.is_null()));
            assert!(!permits(&allowed, "127.0.0.1"), "{setting}");
        }
        assert!(permits(&Allowed::read(Some(&json!(true))), "169.254.169.254"));
        assert!(permits(&Allowed::read(Some(&json!("127.0.0.1"))), "127.0.0.1"), "a single text counts as a list of one");
    }

    #[test]
    fn every_spelling_of_an_address_is_the_address() {
        let check = |url: &str| Allowed::default().check(&Url::parse(url).unwrap()).map_err(|Failure(detail)| detail);
        for url in [
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://0177.0.0.1/",
            "http://127.1",
            "http://[::ffff:7f00:1]/",
            "http://127.0.0.1./",
        ] {
            let refused = check(url).unwrap_err();
            assert!(refused.contains("is refused") && refused.contains("`allow_private_addresses`"), "{url}: {refused}");
        }
        assert_eq!(check("ftp://h/"), Err("`ftp` is no scheme that tools may use; write `http` or `https`".to_owned()));
        assert_eq!(check("http://me:secret@h/"), Err("the URL has a user or a password; take it out".to_owned()));
        assert_eq!(check("https://8.8.8.8/"), Ok(()));
    }
}
