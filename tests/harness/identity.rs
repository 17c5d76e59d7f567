//! A meshed peer without a sidecar: this test itself, with a certificate that the CA issued to it.

use std::sync::Arc;

use identity::{
    dial::{ExpectedServer, client_config},
    enrol::{CaClient, CaTrust, Enrolment, Issued},
    id::{SpiffeId, TrustDomain},
    join_token::JoinToken,
    key::PrivateKey,
    material::{MaterialReader, MaterialWriter, channel},
};

use super::Transport;

/// An enrolled identity.
pub struct Identity {
    pub id: SpiffeId,
    pub enrolment_key: PrivateKey,
    pub issued: Issued,
    pub material: MaterialReader,
    /// Material lives as long as its writer.
    _writer: MaterialWriter,
}

impl Identity {
    /// Enrols with a join token, as every workload does.
    pub async fn enrol(ca: &str, trust_domain: &str, token: &str) -> Self {
        let token = JoinToken::parse(token).unwrap();
        let trust = CaTrust::Pinned {
            trust_domain: TrustDomain::parse(trust_domain).unwrap(),
            bundle_hash: *token.bundle_hash(),
        };
        let enrolment_key = PrivateKey::generate().unwrap();
        let mut client = CaClient::connect(ca, trust, None).await.unwrap();
        let issued = client
            .enrol(Enrolment {
                enrolment_key: &enrolment_key,
                join_token: Some(&token),
                spiffe_id: None,
                ttl: None,
            })
            .await
            .unwrap();
        let (mut writer, material) = channel();
        writer
            .publish(Arc::clone(&issued.svid), Arc::clone(&issued.bundle))
            .unwrap();
        Self {
            id: issued.svid.id().clone(),
            enrolment_key,
            issued,
            material,
            _writer: writer,
        }
    }

    /// Mutual TLS with this identity; the server must be one of `servers`.
    pub fn tls(&self, servers: &[&SpiffeId]) -> Transport {
        let expected = ExpectedServer::AnyOf(servers.iter().map(|id| (*id).clone()).collect());
        Transport::Tls(client_config(&self.material, expected, &[]))
    }
}
