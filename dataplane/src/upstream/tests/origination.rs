//! TLS to servers outside of the mesh.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use policies::cluster::{ClientCredential, TlsSettings, Verification};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::plain;
use crate::testing::{Client, get, plain_client, text};
use crate::upstream::{
    Limits, Origination, OriginationError, Target, Transport, UpstreamErrorKind, UpstreamProtocol,
};

/// An authority of the outside world, with its files.
struct Outside {
    files: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Outside {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap();
        let outside = Self {
            files: tempfile::tempdir().unwrap(),
            issuer: Issuer::new(params, key),
        };
        outside.write("ca.pem", &root.pem());
        outside
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// Leaves `<name>.crt` and `<name>.key`.
    fn certify(&self, name: &str, names: &[&str], serial: u64) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.serial_number = Some(SerialNumber::from(serial));
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        self.write(&format!("{name}.crt"), &certificate.pem());
        self.write(&format!("{name}.key"), &key.serialize_pem());
    }

    fn revoke(&self, serial: u64) {
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(4000, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![RevokedCertParams {
                serial_number: SerialNumber::from(serial),
                revocation_time: date_time_ymd(2020, 1, 1),
                reason_code: None,
                invalidity_date: None,
            }],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.issuer).unwrap();
        self.write("crl.pem", &list.pem().unwrap());
    }

    /// A server that says `hello` once a connection, with the certificate `name`.
    async fn serve(&self, name: &str, clients: bool) -> Target {
        let chain = std::fs::read(self.path(&format!("{name}.crt"))).unwrap();
        let key = std::fs::read(self.path(&format!("{name}.key"))).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = if clients {
            let mut roots = RootCertStore::empty();
            let ca = std::fs::read(self.path("ca.pem")).unwrap();
            roots
                .add(CertificateDer::from_pem_slice(&ca).unwrap())
                .unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let config = builder
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(&chain).unwrap()],
                PrivateKeyDer::from_pem_slice(&key).unwrap(),
            )
            .unwrap();
        let tls = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let tls = tls.clone();
                tokio::spawn(async move {
                    let Ok(mut io) = tls.accept(tcp).await else {
                        return;
                    };
                    let mut head = [0; 4096];
                    if io.read(&mut head).await.is_ok_and(|read| read > 0) {
                        let answer =
                            b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello";
                        io.write_all(answer).await.ok();
                        io.shutdown().await.ok();
                    }
                });
            }
        });
        plain(address, UpstreamProtocol::Http1)
    }

    fn settings(&self) -> TlsSettings {
        TlsSettings {
            sni: None,
            subject_alt_names: Arc::default(),
            ca_certificates: Some(self.path("ca.pem").to_str().unwrap().into()),
            ca_crl: None,
            client: ClientCredential::None,
            verification: Verification::Full,
        }
    }
}

fn load(settings: TlsSettings) -> Arc<Origination> {
    Arc::new(Origination::load(Arc::new(settings), None).unwrap())
}

fn through(target: &Target, origination: &Arc<Origination>, name: &'static str) -> Target {
    Target {
        transport: Transport::Tls(Arc::clone(origination)),
        server_name: Some(ServerName::try_from(name).unwrap()),
        ..target.clone()
    }
}

async fn hello(client: &Client, target: &Target) -> Result<String, UpstreamErrorKind> {
    match client.send(target, get("/")).await {
        Ok(answer) => Ok(text(answer).await),
        Err(error) => Err(error.kind),
    }
}

#[tokio::test]
async fn a_server_proves_the_name_that_is_asked_for() {
    let outside = Outside::new();
    outside.certify("server", &["payments.example.com"], 1);
    let server = outside.serve("server", false).await;
    let client = plain_client(Limits::default());
    let tls = load(outside.settings());
    let right = through(&server, &tls, "payments.example.com");
    assert_eq!(hello(&client, &right).await.unwrap(), "hello");
    let wrong = through(&server, &tls, "other.example.com");
    assert_eq!(
        hello(&client, &wrong).await,
        Err(UpstreamErrorKind::Identity)
    );
}

#[tokio::test]
async fn an_authority_that_is_not_named_is_not_believed() {
    let (outside, other) = (Outside::new(), Outside::new());
    other.certify("server", &["payments.example.com"], 1);
    let server = other.serve("server", false).await;
    let client = plain_client(Limits::default());
    let target = through(&server, &load(outside.settings()), "payments.example.com");
    assert_eq!(
        hello(&client, &target).await,
        Err(UpstreamErrorKind::Identity)
    );
    // Asked for, and only then.
    let anybody = load(TlsSettings {
        ca_certificates: None,
        verification: Verification::Skipped,
        ..outside.settings()
    });
    let target = through(&server, &anybody, "payments.example.com");
    assert_eq!(hello(&client, &target).await.unwrap(), "hello");
}

#[tokio::test]
async fn subject_alternative_names_stand_for_the_name_that_is_asked_for() {
    let outside = Outside::new();
    outside.certify("server", &["*.example.com"], 1);
    let server = outside.serve("server", false).await;
    let client = plain_client(Limits::default());
    for (name, expected) in [
        ("a.example.com", Ok("hello".to_owned())),
        ("a.b.example.com", Err(UpstreamErrorKind::Identity)),
        ("example.org", Err(UpstreamErrorKind::Identity)),
    ] {
        let tls = load(TlsSettings {
            subject_alt_names: Arc::from([Arc::from(name)]),
            ..outside.settings()
        });
        let target = through(&server, &tls, "whatever.test");
        assert_eq!(hello(&client, &target).await, expected, "{name}");
    }
}

#[tokio::test]
async fn a_client_certificate_is_presented() {
    let outside = Outside::new();
    outside.certify("server", &["payments.example.com"], 1);
    outside.certify("client", &["client.example.com"], 2);
    let server = outside.serve("server", true).await;
    let client = plain_client(Limits::default());
    let without = through(&server, &load(outside.settings()), "payments.example.com");
    assert!(hello(&client, &without).await.is_err());
    let path = |name: &str| outside.path(name).to_str().unwrap().into();
    let with = load(TlsSettings {
        client: ClientCredential::Files {
            certificate: path("client.crt"),
            key: path("client.key"),
        },
        ..outside.settings()
    });
    let with = through(&server, &with, "payments.example.com");
    assert_eq!(hello(&client, &with).await.unwrap(), "hello");
}

#[tokio::test]
async fn a_revoked_certificate_is_refused() {
    let outside = Outside::new();
    outside.certify("good", &["payments.example.com"], 1);
    outside.certify("revoked", &["payments.example.com"], 2);
    outside.revoke(2);
    let client = plain_client(Limits::default());
    let tls = load(TlsSettings {
        ca_crl: Some(outside.path("crl.pem").to_str().unwrap().into()),
        ..outside.settings()
    });
    let good = outside.serve("good", false).await;
    let good = through(&good, &tls, "payments.example.com");
    assert_eq!(hello(&client, &good).await.unwrap(), "hello");
    let revoked = outside.serve("revoked", false).await;
    let revoked = through(&revoked, &tls, "payments.example.com");
    assert_eq!(
        hello(&client, &revoked).await,
        Err(UpstreamErrorKind::Identity)
    );
}

#[tokio::test]
async fn changed_files_come_into_force_and_broken_ones_do_not() {
    let (before, after) = (Outside::new(), Outside::new());
    after.certify("server", &["payments.example.com"], 1);
    let server = after.serve("server", false).await;
    let client = plain_client(Limits::default());
    let tls = load(before.settings());
    let target = through(&server, &tls, "payments.example.com");
    assert_eq!(
        hello(&client, &target).await,
        Err(UpstreamErrorKind::Identity)
    );
    let ca = std::fs::read_to_string(after.path("ca.pem")).unwrap();
    before.write("ca.pem", &format!("{ca}\n# another length\n"));
    tls.refresh();
    assert_eq!(tls.generation(), 2);
    assert_eq!(hello(&client, &target).await.unwrap(), "hello");
    before.write("ca.pem", "no certificate");
    tls.refresh();
    assert_eq!(tls.generation(), 2);
    assert_eq!(hello(&client, &target).await.unwrap(), "hello");
}

#[test]
fn what_is_missing_is_an_error() {
    let outside = Outside::new();
    let error = |settings: TlsSettings, credentials: Option<&Path>| {
        let credentials = credentials.map(Arc::from);
        Origination::load(Arc::new(settings), credentials).unwrap_err()
    };
    let gone = TlsSettings {
        ca_certificates: Some("/nowhere/ca.pem".into()),
        ..outside.settings()
    };
    let text = error(gone, None).to_string();
    assert!(
        text.starts_with("`/nowhere/ca.pem` cannot be read: "),
        "{text}"
    );
    let named = |name: &str| TlsSettings {
        client: ClientCredential::Named {
            name: name.into(),
            presented: true,
        },
        ..outside.settings()
    };
    assert!(matches!(
        error(named("payments"), None),
        OriginationError::NoCredentials(_)
    ));
    assert!(matches!(
        error(named("../payments"), Some(outside.files.path())),
        OriginationError::Name(_)
    ));
    assert!(matches!(
        error(named("payments"), Some(outside.files.path())),
        OriginationError::Read { .. }
    ));
}

#[tokio::test]
async fn a_silent_server_costs_the_connect_timeout() {
    let outside = Outside::new();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = plain(silent.local_addr().unwrap(), UpstreamProtocol::Http1);
    let mut target = through(&target, &load(outside.settings()), "payments.example.com");
    target.connect_timeout = Duration::from_millis(100);
    let client = plain_client(Limits::default());
    assert_eq!(
        hello(&client, &target).await,
        Err(UpstreamErrorKind::ConnectTimeout)
    );
}
