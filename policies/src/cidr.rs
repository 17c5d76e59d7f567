//! IP blocks: a network, or a single address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A block of addresses of one family; the host bits are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cidr {
    /// Network and mask.
    V4(u32, u32),
    /// Network and mask.
    V6(u128, u128),
}

impl Cidr {
    /// Reads `10.0.0.0/8`, `10.1.2.3`, `fd00::/8` or `::1`; host bits are masked off.
    ///
    /// An IPv4-mapped IPv6 block (`::ffff:10.0.0.0/104`) is the IPv4 block, as addresses are.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => {
                let plain = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
                (
                    address,
                    Some(if plain {
                        length.parse::<u8>().ok()?
                    } else {
                        return None;
                    }),
                )
            }
            None => (text, None),
        };
        match address.parse::<IpAddr>().ok()? {
            IpAddr::V4(address) => Self::v4(address, length.unwrap_or(32)),
            IpAddr::V6(address) => {
                let length = length.unwrap_or(128);
                match (address.to_ipv4_mapped(), length.checked_sub(96)) {
                    (Some(mapped), Some(length)) => Self::v4(mapped, length),
                    _ => Self::v6(address, length),
                }
            }
        }
    }

    fn v4(address: Ipv4Addr, length: u8) -> Option<Self> {
        let host_bits = 32_u8.checked_sub(length)?;
        let mask = u32::MAX.checked_shl(u32::from(host_bits)).unwrap_or(0);
        Some(Self::V4(address.to_bits() & mask, mask))
    }

    fn v6(address: Ipv6Addr, length: u8) -> Option<Self> {
        let host_bits = 128_u8.checked_sub(length)?;
        let mask = u128::MAX.checked_shl(u32::from(host_bits)).unwrap_or(0);
        Some(Self::V6(address.to_bits() & mask, mask))
    }

    /// Whether the block holds `address`. An IPv4-mapped address, as a dual-stack listener reports it,
    /// is the IPv4 address; otherwise the families never meet.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self, address.to_canonical()) {
            (Self::V4(network, mask), IpAddr::V4(address)) => address.to_bits() & mask == *network,
            (Self::V6(network, mask), IpAddr::V6(address)) => address.to_bits() & mask == *network,
            (Self::V4(..), IpAddr::V6(_)) | (Self::V6(..), IpAddr::V4(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_hold_what_they_should() {
        for (block, address, expected) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.9.9.9/8", "10.0.0.1", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.4", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "127.0.0.1", false),
            ("::/0", "fd00::1", true),
            ("fd00::/8", "fdab::1", true),
            ("::1", "::1", true),
            ("10.0.0.0/8", "::ffff:10.1.1.1", true),
            ("::ffff:10.0.0.0/104", "10.1.1.1", true),
            ("::/0", "::ffff:10.1.1.1", false),
        ] {
            let cidr = Cidr::parse(block).unwrap();
            assert_eq!(
                cidr.contains(address.parse().unwrap()),
                expected,
                "{block} {address}"
            );
        }
    }

    #[test]
    fn what_is_not_a_block_is_refused() {
        for text in [
            "",
            "10.0.0.0/",
            "10.0.0.0/33",
            "::/129",
            "10.0.0",
            "10.0.0.0/+8",
            "a",
            "10.0.0.0/8/8",
            "1.2.3.4 ",
        ] {
            assert_eq!(Cidr::parse(text), None, "{text}");
        }
    }
}
