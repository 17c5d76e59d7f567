//! Certificates for credentials that nobody provided: issued by the mesh's CA, on a laptop.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use identity::keeper::{IdentityError, IdentityKeeper};
use identity::renewal::{Timetable, retry_without};
use policies::host::HostPattern;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use thiserror::Error;

use crate::credentials::{CredentialError, certified_key};

/// Why there is no edge certificate.
#[derive(Debug, Error)]
pub(crate) enum EdgeError {
    /// The CA did not issue one.
    #[error("the CA issued no edge certificate")]
    Refused(#[from] IdentityError),
    /// What it issued is no use.
    #[error("the edge certificate of the CA cannot be used")]
    Unusable(#[from] CredentialError),
    /// It does not parse.
    #[error("the edge certificate of the CA cannot be read")]
    Unreadable,
}

/// The edge certificate that stands in for one credential.
#[derive(Debug)]
pub(crate) struct EdgeCredential {
    names: BTreeSet<String>,
    current: Option<Current>,
    failures: u32,
    retry_at: Option<Instant>,
    /// Why the last attempt failed.
    pub(crate) problem: Option<String>,
}

#[derive(Debug)]
struct Current {
    key: Arc<CertifiedKey>,
    root: CertificateDer<'static>,
    renew_at: SystemTime,
}

impl EdgeCredential {
    /// A credential for servers with these hosts. `localhost` and the loopback addresses always belong to it.
    pub(crate) fn new(hosts: impl Iterator<Item = HostPattern>) -> Self {
        let names = names(hosts);
        Self {
            names,
            current: None,
            failures: 0,
            retry_at: None,
            problem: None,
        }
    }

    /// Takes the certificate of `previous` along where it covers the same names.
    pub(crate) fn carry(self, previous: Option<Self>) -> Self {
        previous
            .filter(|previous| previous.names == self.names)
            .unwrap_or(self)
    }

    /// The certificate, if there is one.
    pub(crate) fn key(&self) -> Option<&Arc<CertifiedKey>> {
        self.current.as_ref().map(|current| &current.key)
    }

    /// The root that clients may trust.
    pub(crate) fn root(&self) -> Option<&CertificateDer<'static>> {
        self.current.as_ref().map(|current| &current.root)
    }

    /// Whether it is time to ask the CA.
    pub(crate) fn is_due(&self, now: SystemTime, instant: Instant) -> bool {
        let wanted = self
            .current
            .as_ref()
            .is_none_or(|current| now >= current.renew_at);
        wanted && self.retry_at.is_none_or(|at| instant >= at)
    }

    /// Asks the CA. A failure leaves the old certificate in use and is tried again later.
    pub(crate) async fn renew(&mut self, keeper: &IdentityKeeper) -> Result<(), EdgeError> {
        let issued = issue(keeper, self.names.iter().cloned().collect()).await;
        match issued {
            Ok(current) => {
                self.current = Some(current);
                self.failures = 0;
                self.retry_at = None;
                self.problem = None;
                Ok(())
            }
            Err(error) => {
                self.retry_at = Some(Instant::now() + retry_without(self.failures, b"edge"));
                self.failures = self.failures.saturating_add(1);
                let cause = error
                    .source()
                    .map(|cause| format!(": {cause}"))
                    .unwrap_or_default();
                self.problem = Some(format!("{error}{cause}"));
                Err(error)
            }
        }
    }
}

fn names(hosts: impl Iterator<Item = HostPattern>) -> BTreeSet<String> {
    let mut names = BTreeSet::from(["localhost".to_owned()]);
    for host in hosts {
        match host {
            HostPattern::Any => {}
            host => {
                names.insert(host.to_string());
            }
        }
    }
    names
}

async fn issue(keeper: &IdentityKeeper, names: Vec<String>) -> Result<Current, EdgeError> {
    let loopback = vec![
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ];
    let issued = keeper.issue_edge(names, loopback).await?;
    let leaf = issued.chain.first().ok_or(EdgeError::Unreadable)?;
    let (_, parsed) =
        x509_parser::parse_x509_certificate(leaf).map_err(|_| EdgeError::Unreadable)?;
    let not_after = u64::try_from(parsed.validity().not_after.timestamp())
        .map_err(|_| EdgeError::Unreadable)?;
    let not_after = SystemTime::UNIX_EPOCH + Duration::from_secs(not_after);
    let serial = parsed.raw_serial_as_string();
    let renew_at = Timetable::new(SystemTime::now(), not_after, "edge", &serial).renew_at();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(issued.key.pkcs8_der().to_vec()));
    let certified = certified_key(issued.chain, &key, Path::new("the CA's edge certificate"))?;
    Ok(Current {
        key: Arc::new(certified),
        root: issued.root,
        renew_at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_certificate_names_the_hosts_and_localhost() {
        let hosts = ["*", "*.example.com", "shop.example.org"].map(HostPattern::parse);
        let names: Vec<String> = names(hosts.into_iter()).into_iter().collect();
        assert_eq!(names, ["*.example.com", "localhost", "shop.example.org"]);
    }
}
