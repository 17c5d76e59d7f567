//! From which addresses keys may be fetched: an address in a policy must not make the proxy knock at doors inside.
//!
//! Both the addresses of the first URL and those of redirects are judged after their names are resolved, and the
//! connection goes to the very address that was judged, so that a second answer of the resolver changes nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether private addresses are fine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Private {
    Allowed,
    #[default]
    Refused,
}

/// Why no keys are fetched from an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Never, whatever the configuration says.
    Never(&'static str),
    /// Unless `jwks.allowPrivate` is set.
    Private(&'static str),
}

/// Metadata services of clouds that have no link-local address: Alibaba, Azure's wire server, AWS over IPv6.
const METADATA: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

/// Whether keys may be fetched from `address`.
pub(super) fn judge(address: IpAddr, private: Private) -> Result<(), Refusal> {
    let embedded = match address {
        IpAddr::V4(v4) => Some(v4),
        IpAddr::V6(v6) => embedded(v6),
    };
    if METADATA.contains(&address) || embedded.is_some_and(|v4| METADATA.contains(&v4.into())) {
        return Err(Refusal::Never("a metadata service"));
    }
    let refusal = match (embedded, address) {
        (Some(v4), _) => of_v4(v4),
        (None, IpAddr::V6(v6)) => of_v6(v6),
        (None, IpAddr::V4(_)) => None,
    };
    match refusal {
        None => Ok(()),
        Some(Refusal::Private(_)) if private == Private::Allowed => Ok(()),
        Some(refusal) => Err(refusal),
    }
}

/// The IPv4 address that an IPv6 address stands for: mapped, compatible, NAT64 (RFC 6052), 6to4 (RFC 3056).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [.., high, low] = address.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match address.segments() {
        // `::` and `::1` stand for themselves.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => Some(v4(high, low)),
        [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

fn of_v4(address: Ipv4Addr) -> Option<Refusal> {
    let [a, b, c, _] = address.octets();
    match (a, b, c) {
        (0, ..) => Some(Refusal::Never("an unspecified address")),
        (169, 254, _) => Some(Refusal::Never("a link-local address")),
        (224..=255, ..) => Some(Refusal::Never("a multicast or reserved address")),
        (127, ..) => Some(Refusal::Private("a loopback address")),
        (10, ..) | (172, 16..=31, _) | (192, 168, _) => Some(Refusal::Private("a private address")),
        (100, 64..=127, _) => Some(Refusal::Private("a shared address (RFC 6598)")),
        (192, 0, 0) | (198, 18..=19, _) => Some(Refusal::Private("a special-purpose address")),
        _ => None,
    }
}

fn of_v6(address: Ipv6Addr) -> Option<Refusal> {
    let [first, ..] = address.segments();
    match first {
        _ if address.is_unspecified() => Some(Refusal::Never("an unspecified address")),
        _ if address.is_loopback() => Some(Refusal::Private("a loopback address")),
        0xfe80..=0xfebf => Some(Refusal::Never("a link-local address")),
        0xff00.. => Some(Refusal::Never("a multicast address")),
        0xfc00..=0xfdff => Some(Refusal::Private("a unique local address")),
        0xfec0..=0xfeff => Some(Refusal::Private("a site-local address")),
        // NAT64 with a prefix of one's own (RFC 8215) reaches into IPv4 inside.
        0x64 if address.segments().get(1) == Some(&0xff9b) => {
            Some(Refusal::Private("a translated address (RFC 8215)"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(address: &str, private: Private) -> Option<&'static str> {
        match judge(address.parse().unwrap(), private) {
            Ok(()) => None,
            Err(Refusal::Never(why) | Refusal::Private(why)) => Some(why),
        }
    }

    #[test]
    fn addresses_of_the_world_are_fine() {
        for address in [
            "8.8.8.8",
            "172.15.0.1",
            "172.32.0.1",
            "100.63.0.1",
            "2606:4700::1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
        ] {
            assert_eq!(refusal(address, Private::Refused), None, "{address}");
        }
    }

    #[test]
    fn private_addresses_have_to_be_allowed() {
        for address in [
            "127.0.0.1",
            "127.8.8.8",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "198.19.0.1",
            "::1",
            "fd12::1",
            "fc00::1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "2002:a00:1::1",
        ] {
            assert!(refusal(address, Private::Refused).is_some(), "{address}");
            assert_eq!(refusal(address, Private::Allowed), None, "{address}");
        }
    }

    #[test]
    fn metadata_services_are_never_asked() {
        for address in [
            "169.254.169.254",
            "169.254.170.2",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "fe80::1",
            "fd00:ec2::254",
            "100.100.100.200",
            "168.63.129.16",
            "::ffff:168.63.129.16",
            "0.0.0.0",
            "0.1.2.3",
            "::",
            "224.0.0.1",
            "255.255.255.255",
            "ff02::1",
        ] {
            assert!(refusal(address, Private::Allowed).is_some(), "{address}");
        }
    }
}
