//! Whole handshakes in memory: who gets in, who does not, and what follows a renewal or a change of roots.

use std::io::{Read as _, Write as _};

use rustls::{ClientConfig, ClientConnection, HandshakeKind, NamedGroup, ServerConnection};

use super::*;
use crate::{
    bundle::TrustBundle,
    dial::{ExpectedServer, client_config, server_name},
    id::SpiffeId,
    material::{MaterialWriter, channel},
    peer_of::{ConnectionPeer, peer_of},
    test_pki::{ORDER, Pki, leaf_params, trust_domain},
    verify::VerifyError,
};

const PRODUCT: &str = "spiffe://cluster.local/ns/my-app/sa/product-service";

fn material(pki: &Pki, id: &str) -> (MaterialWriter, MaterialReader) {
    let (mut writer, reader) = channel();
    writer
        .publish(pki.svid(id), Arc::new(pki.bundle(1)))
        .unwrap();
    (writer, reader)
}

fn expecting(ids: &[&str]) -> ExpectedServer {
    ExpectedServer::AnyOf(ids.iter().map(|id| SpiffeId::parse(id).unwrap()).collect())
}

#[expect(
    clippy::panic_in_result_fn,
    reason = "an error is a result here, a loop without end is not"
)]
/// Runs a handshake to its end; an error of either side ends it.
fn handshake(
    server: &Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
) -> Result<(ServerConnection, ClientConnection), String> {
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), server_name()).unwrap();
    for _ in 0..10 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut bytes = wire.as_slice();
        while !bytes.is_empty() {
            server.read_tls(&mut bytes).unwrap();
            server
                .process_new_packets()
                .map_err(|error| format!("server: {error}"))?;
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut bytes = wire.as_slice();
        while !bytes.is_empty() {
            client.read_tls(&mut bytes).unwrap();
            client
                .process_new_packets()
                .map_err(|error| format!("client: {error}"))?;
        }
    }
    assert!(!server.is_handshaking() && !client.is_handshaking());
    Ok((server, client))
}

#[test]
fn both_sides_learn_who_the_other_is() {
    let pki = Pki::new();
    let (_server_writer, server_reader) = material(&pki, PRODUCT);
    let (_client_writer, client_reader) = material(&pki, ORDER);
    let server = server_config(
        &server_reader,
        ClientCertificates::Require,
        &[b"h2", b"http/1.1"],
    );
    let client = client_config(&client_reader, expecting(&[PRODUCT]), &[b"h2"]);
    let (server, client) = handshake(&server, &client).unwrap();
    assert_eq!(peer_of(&server).unwrap().id.as_str(), ORDER);
    assert_eq!(peer_of(&client).unwrap().id.as_str(), PRODUCT);
    assert_eq!(server.alpn_protocol(), Some(&b"h2"[..]));
    assert_eq!(
        client.negotiated_key_exchange_group().unwrap().name(),
        NamedGroup::X25519MLKEM768
    );
}

#[test]
fn tls_1_2_clients_are_verified_too() {
    let pki = Pki::new();
    let (_w, reader) = material(&pki, PRODUCT);
    let server = server_config(&reader, ClientCertificates::Require, &[]);
    let tls12 = || {
        ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS12])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer))
    };
    let nobody = Arc::new(tls12().with_no_client_auth());
    assert!(handshake(&server, &nobody).is_err());
    let presenting = |reader: &MaterialReader| {
        let reader = reader.clone();
        let resolver = Arc::new(crate::dial::OurCertificate { reader });
        Arc::new(tls12().with_client_cert_resolver(resolver))
    };
    let (accepted, _) = handshake(&server, &presenting(&reader)).unwrap();
    assert_eq!(peer_of(&accepted).unwrap().id.as_str(), PRODUCT);
    let (_w2, foreign) = material(&Pki::new(), ORDER);
    assert!(handshake(&server, &presenting(&foreign)).is_err());
}

#[test]
fn strangers_are_refused() {
    let pki = Pki::new();
    let (_w, reader) = material(&pki, PRODUCT);
    let server = server_config(&reader, ClientCertificates::Require, &[]);

    let foreign = Pki::new();
    let (_w2, foreign_reader) = material(&foreign, ORDER);
    let mut config = (*client_config(&foreign_reader, expecting(&[PRODUCT]), &[])).clone();
    config
        .dangerous()
        .set_certificate_verifier(Arc::new(AnyServer));
    let error = handshake(&server, &Arc::new(config)).unwrap_err();
    assert!(error.starts_with("server: "), "{error}");

    let nobody = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&VERSIONS)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer))
        .with_no_client_auth();
    let nobody = Arc::new(nobody);
    assert!(handshake(&server, &nobody).is_err());

    // A listener that only asks lets the nameless in, but not the foreign.
    let asking = server_config(&reader, ClientCertificates::Request, &[]);
    let (accepted, _) = handshake(&asking, &nobody).unwrap();
    assert!(matches!(
        peer_of(&accepted),
        Err(VerifyError::NoCertificate)
    ));
    let mut config = (*client_config(&foreign_reader, expecting(&[PRODUCT]), &[])).clone();
    config
        .dangerous()
        .set_certificate_verifier(Arc::new(AnyServer));
    assert!(handshake(&asking, &Arc::new(config)).is_err());
}

#[test]
fn another_server_is_refused_by_name() {
    let pki = Pki::new();
    let (_w, reader) = material(&pki, PRODUCT);
    let server = server_config(&reader, ClientCertificates::Require, &[]);
    let error = handshake(
        &server,
        &client_config(
            &reader,
            expecting(&[ORDER, "spiffe://cluster.local/x"]),
            &[],
        ),
    )
    .unwrap_err();
    assert!(
        error.starts_with("client: ") && error.contains("product-service"),
        "{error}"
    );
    assert!(handshake(&server, &client_config(&reader, expecting(&[]), &[])).is_err());
    assert!(
        handshake(
            &server,
            &client_config(&reader, expecting(&[ORDER, PRODUCT]), &[])
        )
        .is_ok()
    );
}

#[test]
fn without_valid_material_nothing_is_served() {
    let pki = Pki::new();
    let (_w, client_reader) = material(&pki, ORDER);
    let client = client_config(&client_reader, expecting(&[PRODUCT]), &[]);
    let (mut writer, reader) = channel();
    let server = server_config(&reader, ClientCertificates::Require, &[]);
    assert!(handshake(&server, &client).is_err());

    // The same configuration serves as soon as there is material, and a short certificate stops it by itself.
    let mut params = leaf_params(PRODUCT, pki.now);
    params.not_after = (SystemTime::now() + std::time::Duration::from_secs(2)).into();
    let bundle = Arc::new(pki.bundle(1));
    writer
        .publish(pki.svid_with(&params), Arc::clone(&bundle))
        .unwrap();
    assert!(handshake(&server, &client).is_ok());
    std::thread::sleep(std::time::Duration::from_millis(2100));
    assert!(handshake(&server, &client).is_err());
    let renewed = writer.publish(pki.svid(PRODUCT), bundle).unwrap();
    assert_eq!(renewed, 2);
    assert!(handshake(&server, &client).is_ok());
}

#[test]
fn nothing_is_resumed() {
    let pki = Pki::new();
    let (_w, reader) = material(&pki, PRODUCT);
    let server = server_config(&reader, ClientCertificates::Require, &[]);
    // A client that would resume gladly.
    let mut eager = (*client_config(&reader, expecting(&[PRODUCT]), &[])).clone();
    eager.resumption = rustls::client::Resumption::in_memory_sessions(8);
    let eager = Arc::new(eager);
    for _ in 0..3 {
        let (mut server, mut client) = handshake(&server, &eager).unwrap();
        assert_eq!(server.handshake_kind(), Some(HandshakeKind::Full));
        // Tickets would come with the first data.
        let mut wire = Vec::new();
        server.writer().write_all(b"x").unwrap();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut wire.as_slice()).unwrap();
        let state = client.process_new_packets().unwrap();
        assert_eq!(state.plaintext_bytes_to_read(), 1);
        client.reader().read_exact(&mut [0]).unwrap();
        assert_eq!(client.tls13_tickets_received(), 0);
    }
}

#[test]
fn a_connection_outlives_a_renewal_but_not_its_root() {
    let (old, new) = (Pki::new(), Pki::new());
    let (mut writer, reader) = material(&old, PRODUCT);
    let server = server_config(&reader, ClientCertificates::Require, &[]);
    let client = client_config(&reader, expecting(&[PRODUCT]), &[]);
    let before = reader.trust_generation();
    let (server, _client) = handshake(&server, &client).unwrap();
    let peer = ConnectionPeer::new(&server, before).unwrap();
    let now = SystemTime::now();
    assert!(peer.still_trusted(&reader, now));

    // Renewal: another certificate, the same roots.
    writer
        .publish(old.svid(PRODUCT), Arc::new(old.bundle(1)))
        .unwrap();
    assert_eq!((reader.generation(), reader.trust_generation()), (2, 1));
    assert!(peer.still_trusted(&reader, now));

    // Rotation: both roots, then only the new one.
    let both = [&old, &new].map(|pki| pki.root.der().clone()).to_vec();
    let both = TrustBundle::new(trust_domain(), 2, both).unwrap();
    writer.publish(new.svid(PRODUCT), Arc::new(both)).unwrap();
    assert_eq!(reader.trust_generation(), 2);
    let late = now + std::time::Duration::from_hours(2);
    assert!(
        peer.still_trusted(&reader, late),
        "expiry alone ends nothing"
    );
    writer.publish_bundle(Arc::new(new.bundle(3))).unwrap();
    assert!(!peer.still_trusted(&reader, now));
    assert!(!peer.still_trusted(&reader, now), "and it stays so");

    // Roots that changed during a handshake are noticed at the first look.
    let stale = ConnectionPeer::new(&server, before).unwrap();
    assert!(!stale.still_trusted(&reader, now));
}

#[test]
fn a_certificate_of_another_root_is_not_published() {
    let (ours, theirs) = (Pki::new(), Pki::new());
    let (mut writer, reader) = material(&ours, ORDER);
    let error = writer.publish(theirs.svid(ORDER), Arc::new(ours.bundle(2)));
    assert!(matches!(error, Err(VerifyError::Path(_))));
    assert_eq!(reader.generation(), 1);
}

#[derive(Debug)]
struct AnyServer;

impl rustls::client::danger::ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &rustls_pki_types::ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &signature_algorithms())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &signature_algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        signature_algorithms().supported_schemes()
    }
}
