//! The laptop's edge profile: server certificates for the gateway's hosts, from a root of their own.
//!
//! It has nothing to do with the trust domain: its root is in no bundle, its leaves carry no URI.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use identity::SpiffeId;
use rcgen::{ExtendedKeyUsagePurpose, SanType, SubjectPublicKeyInfo};
use rustls_pki_types::CertificateDer;

use crate::issue::{IssueError, Leaf, Signer, sign};
use crate::refusal::Refusal;

/// How long an edge certificate lives.
pub const EDGE_LIFE: Duration = Duration::from_hours(24 * 30);
/// Names in one certificate.
const MAX_NAMES: usize = 100;

/// The edge root and who may ask it.
#[derive(Debug)]
pub struct Edge {
    /// The root's certificate, for browsers and `curl --cacert`.
    pub root: CertificateDer<'static>,
    /// Its key.
    pub signer: Signer,
    /// Who may have edge certificates.
    pub callers: BTreeSet<SpiffeId>,
}

/// The names of an edge certificate, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EdgeNames {
    dns: Vec<String>,
    addresses: Vec<IpAddr>,
}

impl EdgeNames {
    /// Checks what the gateway asks for: host names in letters, digits and hyphens, a wildcard only as the whole first label, and addresses.
    pub fn parse(dns: &[String], addresses: &[String]) -> Result<Self, Refusal> {
        let count = dns.len() + addresses.len();
        if count == 0 || count > MAX_NAMES {
            return Err(Refusal::Malformed("an edge certificate has 1 to 100 names"));
        }
        let refuse = |name: &str, reason| Refusal::EdgeName {
            name: name
                .chars()
                .take(260)
                .flat_map(char::escape_default)
                .collect(),
            reason,
        };
        let mut names = Self {
            dns: Vec::new(),
            addresses: Vec::new(),
        };
        for name in dns {
            check_dns(name).map_err(|reason| refuse(name, reason))?;
            if !names.dns.contains(name) {
                names.dns.push(name.clone());
            }
        }
        for text in addresses {
            let address: IpAddr = text
                .parse()
                .map_err(|_| refuse(text, "it is not an IP address"))?;
            if address.is_unspecified() || address.is_multicast() {
                return Err(refuse(text, "no server has this address"));
            }
            if !names.addresses.contains(&address) {
                names.addresses.push(address);
            }
        }
        Ok(names)
    }

    /// As in the record, and as a request may spell them: `DNS:…`, `IP:…`.
    pub fn spelled(&self) -> Vec<String> {
        let dns = self.dns.iter().map(|name| format!("DNS:{name}"));
        dns.chain(self.addresses.iter().map(|address| format!("IP:{address}")))
            .collect()
    }
}

impl Edge {
    /// Issues a server certificate for `names`.
    pub fn issue(
        &self,
        key: &SubjectPublicKeyInfo,
        names: &EdgeNames,
        now: SystemTime,
    ) -> Result<Leaf, IssueError> {
        let mut sans = Vec::new();
        for name in &names.dns {
            sans.push(SanType::DnsName(
                name.clone().try_into().map_err(IssueError::Sign)?,
            ));
        }
        sans.extend(names.addresses.iter().copied().map(SanType::IpAddress));
        let validity = self.signer.validity_for(EDGE_LIFE, now)?;
        sign(
            &self.signer,
            key,
            sans,
            &[ExtendedKeyUsagePurpose::ServerAuth],
            validity,
        )
    }
}

fn check_dns(name: &str) -> Result<(), &'static str> {
    if name.len() > 253 {
        return Err("it has more than 253 characters");
    }
    let host = match name.strip_prefix("*.") {
        // `*.com` would speak for everybody; `*.localhost` never leaves the machine.
        Some(rest) if rest != "localhost" && !rest.contains('.') => {
            return Err("a wildcard needs two labels below it");
        }
        Some(rest) => rest,
        None => name,
    };
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    if !host.split('.').all(label) {
        return Err("it is not a host name in lower case");
    }
    // "10.0.0.1" as a host name would be matched by nobody, or by the wrong client.
    if host
        .split('.')
        .next_back()
        .is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()))
    {
        return Err("it looks like an address");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(dns: &[&str], addresses: &[&str]) -> Result<EdgeNames, Refusal> {
        let own = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        EdgeNames::parse(&own(dns), &own(addresses))
    }

    #[test]
    fn hosts_and_addresses_pass() {
        let names = parse(
            &[
                "localhost",
                "shop.example.com",
                "*.example.com",
                "*.localhost",
                "localhost",
            ],
            &["127.0.0.1", "::1"],
        )
        .unwrap();
        assert_eq!(
            names.spelled(),
            [
                "DNS:localhost",
                "DNS:shop.example.com",
                "DNS:*.example.com",
                "DNS:*.localhost",
                "IP:127.0.0.1",
                "IP:::1"
            ]
        );
    }

    #[test]
    fn everything_else_is_refused() {
        for name in [
            "",
            "*",
            "*.com",
            "a..b",
            ".a",
            "a.",
            "-a.b",
            "a-.b",
            "A.b",
            "a_b.c",
            "a.*.c",
            "a*.c.d",
            "10.0.0.1",
            "ex\u{e4}mple.com",
            "a b",
            "a\0.com",
            "a.com\n",
            "https://a.com",
        ] {
            assert!(parse(&[name], &[]).is_err(), "{name:?} passed");
        }
        for address in [
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "1.2.3",
            "1.2.3.4:80",
            "localhost",
        ] {
            assert!(parse(&[], &[address]).is_err(), "{address:?} passed");
        }
        assert!(parse(&[], &[]).is_err());
        let many: Vec<String> = (0..101).map(|n| format!("h{n}.example.com")).collect();
        assert!(EdgeNames::parse(&many, &[]).is_err());
    }
}
