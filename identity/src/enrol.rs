//! The CA client: one verified connection, and the calls a workload makes on it.

use std::{
    error::Error as _,
    future::{Ready, ready},
    io,
    net::IpAddr,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use hyper_util::rt::TokioIo;
use rustls::client::ResolvesClientCert;
use rustls_pki_types::CertificateDer;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::{
    Code, Status, Streaming,
    transport::{Channel, Endpoint},
};
use tower_service::Service;

pub use crate::ca_address::CaAddressError;
pub use crate::ca_server::{CaTrust, WrongRoots};
use crate::{
    bundle::{BundleError, TrustBundle},
    ca_address::CaAddress,
    ca_server::CaServer,
    dial::{self, OurCertificate, server_name},
    id::{SpiffeId, TrustDomain},
    join_token::JoinToken,
    key::{KeyError, PrivateKey},
    material::MaterialReader,
    profile::{self, ProfileError},
    proof::enrol_message,
    svid::{Svid, SvidError},
    verify::{Purpose, VerifyError, unix_time, verify_peer},
    wire::{
        self, EnrolRequest, IssueEdgeRequest, IssueResponse, RenewRequest, WatchBundleRequest,
        workload_ca_client::WorkloadCaClient,
    },
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
const KEEP_ALIVE: Duration = Duration::from_secs(10);
const MAX_MESSAGE_BYTES: usize = 1024 * 1024;
/// Longer texts from the CA are cut before they are logged.
const MAX_REASON_CHARS: usize = 300;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnrolError {
    /// The configured address is not one.
    #[error(transparent)]
    Address(#[from] CaAddressError),
    /// Nobody answers there.
    #[error("the CA at {ca} cannot be reached")]
    Unreachable {
        /// The address.
        ca: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Somebody answers, and it is not our CA (or the handshake failed otherwise).
    #[error("the TLS handshake with the CA at {ca} failed")]
    Untrusted {
        /// The address.
        ca: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The connection broke during the call: the reply is lost, or the CA refused our certificate.
    #[error("the connection to the CA broke: {reason}")]
    Broken {
        /// What the connection said.
        reason: String,
    },
    /// The CA will not give us a certificate.
    #[error("the CA refuses ({code:?}): {reason}")]
    Refused {
        /// The gRPC status.
        code: Code,
        /// The CA's words.
        reason: String,
    },
    /// The CA cannot give us a certificate now.
    #[error("the CA cannot answer now ({code:?}): {reason}")]
    Busy {
        /// The gRPC status.
        code: Code,
        /// The CA's words.
        reason: String,
    },
    /// The reply is not usable.
    #[error("the CA's reply is unusable: {what}")]
    Reply {
        /// What is wrong.
        what: String,
    },
    /// The chain in the reply is not an SVID for our key.
    #[error("the CA's reply holds no usable SVID")]
    Svid(#[from] SvidError),
    /// The chain in the reply does not verify against the bundle in the reply.
    #[error("the issued certificate does not verify")]
    Verify(#[from] VerifyError),
    /// The bundle in the reply cannot be used.
    #[error("the CA's bundle cannot be used")]
    Bundle(#[from] BundleError),
    /// A certificate in the reply cannot be read.
    #[error("the CA's certificate cannot be used")]
    Certificate(#[from] ProfileError),
    /// A key could not be made or used.
    #[error("cannot make a request")]
    Key(#[from] KeyError),
}

impl EnrolError {
    /// Tells whether the CA was reached at all.
    pub fn reached_ca(&self) -> bool {
        !matches!(
            self,
            Self::Address(_)
                | Self::Unreachable { .. }
                | Self::Untrusted { .. }
                | Self::Broken { .. }
        )
    }

    /// Tells whether other evidence of who we are may help: the CA does not accept this, or we do not accept the CA.
    pub fn wants_other_evidence(&self) -> bool {
        matches!(
            self,
            Self::Refused { .. } | Self::Untrusted { .. } | Self::Broken { .. }
        )
    }

    fn from_status(status: &Status) -> Self {
        // A status made on this side, from a broken connection, has a source; one from the CA has none.
        if let Some(source) = status.source() {
            let mut reason = source.to_string();
            let mut cause = source.source();
            while let Some(inner) = cause {
                reason = inner.to_string();
                cause = inner.source();
            }
            return Self::Broken {
                reason: short(&reason),
            };
        }
        let code = status.code();
        let reason = short(status.message());
        match code {
            Code::Unauthenticated
            | Code::PermissionDenied
            | Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented => Self::Refused { code, reason },
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss => Self::Busy { code, reason },
        }
    }
}

/// A stranger's text made safe for one log line.
fn short(text: &str) -> String {
    text.escape_debug().take(MAX_REASON_CHARS).collect()
}

/// A new certificate and the bundle that verifies it.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The certificate with its key.
    pub svid: Arc<Svid>,
    /// The bundle of today.
    pub bundle: Arc<TrustBundle>,
}

/// A certificate for the edge, with its key.
#[derive(Debug)]
pub struct EdgeCertificate {
    /// DER: the leaf, then the intermediates.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key that fits the leaf.
    pub key: PrivateKey,
    /// The edge root, for clients to trust.
    pub root: CertificateDer<'static>,
}

/// What a first certificate is asked for with.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_field_names, reason = "the words of the wire")]
pub struct Enrolment<'a> {
    /// The key that stands for this installation of the workload.
    pub enrolment_key: &'a PrivateKey,
    /// The join token; none to re-enrol by the key alone.
    pub join_token: Option<&'a JoinToken>,
    /// Which of the entitled identities; none when there is one.
    pub spiffe_id: Option<&'a SpiffeId>,
    /// Wished lifetime; none leaves it to the CA.
    pub ttl: Option<Duration>,
}

/// One connection to the CA, whose identity was verified.
#[derive(Debug)]
pub struct CaClient {
    stub: WorkloadCaClient<Channel>,
    bundle: Arc<TrustBundle>,
}

impl CaClient {
    /// Connects and verifies the server. `presenting` shows the current SVID, which [`Self::renew`] and
    /// [`Self::issue_edge`] need.
    pub async fn connect(
        ca: &str,
        trust: CaTrust,
        presenting: Option<&MaterialReader>,
    ) -> Result<Self, EnrolError> {
        let address: CaAddress = ca.parse()?;
        let verifier = Arc::new(CaServer::new(trust));
        let stream = match timeout(
            CONNECT_TIMEOUT,
            handshake(&address, Arc::clone(&verifier), presenting),
        )
        .await
        {
            Ok(result) => result?,
            Err(_elapsed) => {
                return Err(EnrolError::Unreachable {
                    ca: address.to_string(),
                    source: io::ErrorKind::TimedOut.into(),
                });
            }
        };
        let bundle = verifier.verified_by().ok_or_else(|| EnrolError::Reply {
            what: "the handshake ended without a verified server".to_owned(),
        })?;
        let channel = endpoint()
            .connect_with_connector(OneConnection(Some(TokioIo::new(stream))))
            .await
            .map_err(|error| EnrolError::Broken {
                reason: short(&error.to_string()),
            })?;
        let stub = WorkloadCaClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        Ok(Self { stub, bundle })
    }

    /// The bundle that the server was verified with.
    pub fn bundle(&self) -> &Arc<TrustBundle> {
        &self.bundle
    }

    /// Asks for a first certificate, with a new key.
    pub async fn enrol(&mut self, enrolment: Enrolment<'_>) -> Result<Issued, EnrolError> {
        let key = PrivateKey::generate()?;
        let csr = key.csr()?;
        let token = enrolment.join_token.map(JoinToken::expose);
        let token = token.as_ref().map_or("", |text| text.as_str());
        let proof = enrolment.enrolment_key.sign(&enrol_message(&csr, token))?;
        let request = EnrolRequest {
            csr,
            join_token: token.to_owned(),
            enrolment_key: enrolment.enrolment_key.public_spki().to_vec(),
            proof,
            spiffe_id: enrolment
                .spiffe_id
                .map_or_else(String::new, SpiffeId::to_string),
            ttl_seconds: seconds(enrolment.ttl),
        };
        let reply = within(self.stub.enrol(request)).await?;
        let issued = self.accept(reply, key)?;
        same_id(enrolment.spiffe_id, issued)
    }

    /// Asks for the next certificate of the identity `current`, with a new key.
    pub async fn renew(
        &mut self,
        current: &SpiffeId,
        ttl: Option<Duration>,
    ) -> Result<Issued, EnrolError> {
        let key = PrivateKey::generate()?;
        let request = RenewRequest {
            csr: key.csr()?,
            ttl_seconds: seconds(ttl),
        };
        let reply = within(self.stub.renew(request)).await?;
        let issued = self.accept(reply, key)?;
        same_id(Some(current), issued)
    }

    /// Follows the trust bundle: it comes once at once and then at every change.
    pub async fn watch_bundle(&mut self) -> Result<BundleStream, EnrolError> {
        let stream = within(self.stub.watch_bundle(WatchBundleRequest {})).await?;
        Ok(BundleStream {
            stream,
            trust_domain: self.bundle.trust_domain.clone(),
        })
    }

    /// Asks for an edge certificate for these names, with a new key.
    pub async fn issue_edge(
        &mut self,
        dns: &[String],
        ips: &[IpAddr],
    ) -> Result<EdgeCertificate, EnrolError> {
        let key = PrivateKey::generate()?;
        let request = IssueEdgeRequest {
            csr: key.csr()?,
            dns_names: dns.to_vec(),
            ip_addresses: ips.iter().map(IpAddr::to_string).collect(),
        };
        let reply = within(self.stub.issue_edge(request)).await?;
        let leaf = reply.chain.first().ok_or_else(|| EnrolError::Reply {
            what: "an edge certificate without a chain".to_owned(),
        })?;
        if profile::public_key(leaf)? != key.public_spki() {
            return Err(EnrolError::Svid(SvidError::KeyMismatch));
        }
        profile::public_key(&reply.root)?;
        Ok(EdgeCertificate {
            chain: certificates(reply.chain),
            key,
            root: CertificateDer::from(reply.root),
        })
    }

    fn accept(&self, reply: IssueResponse, key: PrivateKey) -> Result<Issued, EnrolError> {
        let bundle = reply.bundle.ok_or_else(|| EnrolError::Reply {
            what: "a certificate without a bundle".to_owned(),
        })?;
        let bundle = read_bundle(bundle, &self.bundle.trust_domain)?;
        let svid = Svid::new(certificates(reply.chain), key)?;
        // A CA clock slightly ahead is no reason to refuse.
        let at = unix_time(SystemTime::now().max(svid.not_before()));
        verify_peer(svid.chain(), &bundle, Purpose::Client, at)?;
        Ok(Issued {
            svid: Arc::new(svid),
            bundle: Arc::new(bundle),
        })
    }
}

/// The bundle as it changes.
#[derive(Debug)]
pub struct BundleStream {
    stream: Streaming<wire::Bundle>,
    trust_domain: TrustDomain,
}

impl BundleStream {
    /// Waits for the next bundle; none when the CA ends the stream.
    pub async fn next(&mut self) -> Result<Option<TrustBundle>, EnrolError> {
        match self.stream.message().await {
            Ok(Some(bundle)) => read_bundle(bundle, &self.trust_domain).map(Some),
            Ok(None) => Ok(None),
            Err(status) => Err(EnrolError::from_status(&status)),
        }
    }
}

fn read_bundle(bundle: wire::Bundle, expected: &TrustDomain) -> Result<TrustBundle, EnrolError> {
    if bundle.trust_domain != expected.as_str() {
        return Err(EnrolError::Reply {
            what: format!(
                "a bundle of trust domain `{}`, expected `{expected}`",
                short(&bundle.trust_domain)
            ),
        });
    }
    Ok(TrustBundle::new(
        expected.clone(),
        bundle.sequence,
        certificates(bundle.roots),
    )?)
}

fn certificates(ders: Vec<Vec<u8>>) -> Vec<CertificateDer<'static>> {
    ders.into_iter().map(CertificateDer::from).collect()
}

fn same_id(expected: Option<&SpiffeId>, issued: Issued) -> Result<Issued, EnrolError> {
    match expected {
        Some(id) if id != issued.svid.id() => Err(EnrolError::Reply {
            what: format!("a certificate for `{}`, asked for `{id}`", issued.svid.id()),
        }),
        Some(_) | None => Ok(issued),
    }
}

fn seconds(ttl: Option<Duration>) -> u32 {
    ttl.map_or(0, |ttl| u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX))
}

/// One call with its deadline.
async fn within<T>(
    call: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Result<T, EnrolError> {
    match timeout(CALL_TIMEOUT, call).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(EnrolError::from_status(&status)),
        Err(_elapsed) => Err(EnrolError::Busy {
            code: Code::DeadlineExceeded,
            reason: "no reply within 10 s".to_owned(),
        }),
    }
}

async fn handshake(
    address: &CaAddress,
    verifier: Arc<CaServer>,
    presenting: Option<&MaterialReader>,
) -> Result<TlsStream<TcpStream>, EnrolError> {
    let unreachable = |source| EnrolError::Unreachable {
        ca: address.to_string(),
        source,
    };
    let stream = TcpStream::connect((address.host.as_str(), address.port))
        .await
        .map_err(unreachable)?;
    stream.set_nodelay(true).map_err(unreachable)?;
    let certificate = presenting.map(|reader| -> Arc<dyn ResolvesClientCert> {
        Arc::new(OurCertificate {
            reader: reader.clone(),
        })
    });
    let config = dial::build(verifier, certificate, &[b"h2"]);
    TlsConnector::from(config)
        .connect(server_name(), stream)
        .await
        .map_err(|source| {
            let by_tls = source
                .get_ref()
                .is_some_and(<dyn std::error::Error + Send + Sync + 'static>::is::<rustls::Error>);
            if by_tls {
                EnrolError::Untrusted {
                    ca: address.to_string(),
                    source,
                }
            } else {
                unreachable(source)
            }
        })
}

fn endpoint() -> Endpoint {
    // The connection is made already; the names only fill `:authority` and `:scheme`.
    Endpoint::from_static("http://portcullis.invalid")
        .origin(http::Uri::from_static("https://portcullis.invalid"))
        .user_agent(concat!("portcullis/", env!("CARGO_PKG_VERSION")))
        .unwrap_or_else(|_| Endpoint::from_static("http://portcullis.invalid"))
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
}

/// Hands over the one connection; a client that lost it is made anew, with the trust of that time.
struct OneConnection(Option<TokioIo<TlsStream<TcpStream>>>);

impl Service<http::Uri> for OneConnection {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Ready<io::Result<Self::Response>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: http::Uri) -> Self::Future {
        ready(
            self.0
                .take()
                .ok_or_else(|| io::ErrorKind::NotConnected.into()),
        )
    }
}
