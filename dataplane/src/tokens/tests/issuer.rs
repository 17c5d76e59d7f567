//! An issuer of tokens on the loopback: signs, and serves its keys in the ways that issuers do and should not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A private key that signs tokens.
pub(super) struct Signer {
    pair: EcdsaKeyPair,
    id: &'static str,
}

impl Signer {
    pub(super) fn new(id: &'static str) -> Self {
        let signing = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let der = EcdsaKeyPair::generate_pkcs8(signing, &SystemRandom::new()).unwrap();
        Self {
            pair: EcdsaKeyPair::from_pkcs8(signing, der.as_ref()).unwrap(),
            id,
        }
    }

    pub(super) fn sign(&self, claims: &Value) -> String {
        let header = json!({"alg": "ES256", "kid": self.id}).to_string();
        let parts = [header, claims.to_string()].map(|part| URL_SAFE_NO_PAD.encode(part));
        let signed = parts.join(".");
        let signature = self
            .pair
            .sign(&SystemRandom::new(), signed.as_bytes())
            .unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn keys(&self) -> String {
        let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": self.id, "x": x, "y": y}]}).to_string()
    }
}

/// How `/keys` is answered.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    Keys,
    Slowly(Duration),
    Status(u16),
    Body(Vec<u8>),
    Redirect(String),
    Close,
}

pub(super) struct Issuer {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    signer: Mutex<Signer>,
    answer: Mutex<Answer>,
    asked: AtomicUsize,
    own: String,
}

impl Issuer {
    pub(super) async fn start(signer: Signer) -> Self {
        Self::serve(signer, None).await
    }

    /// With a certificate for `localhost`, by an authority whose own is given back as PEM.
    pub(super) async fn start_tls(signer: Signer) -> (Self, String) {
        let authority = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let root = params.self_signed(&authority).unwrap();
        let by = rcgen::Issuer::new(params, authority);
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &by).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                rustls_pki_types::PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            )
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        (Self::serve(signer, Some(acceptor)).await, root.pem())
    }

    async fn serve(signer: Signer, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            signer: Mutex::new(signer),
            answer: Mutex::new(Answer::Keys),
            asked: AtomicUsize::new(0),
            own: format!("http://{address}"),
        });
        let serving = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (state, tls) = (Arc::clone(&serving), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => connection(stream, state).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                connection(stream, state).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, state }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(super) fn sign(&self, claims: &Value) -> String {
        self.state.signer.lock().sign(claims)
    }

    pub(super) fn rotate(&self, signer: Signer) {
        *self.state.signer.lock() = signer;
    }

    pub(super) fn answers(&self, answer: Answer) {
        *self.state.answer.lock() = answer;
    }

    /// How often the keys were asked for.
    pub(super) fn asked(&self) -> usize {
        self.state.asked.load(Ordering::SeqCst)
    }
}

async fn connection<S>(stream: S, state: Arc<State>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| answer(request, Arc::clone(&state)));
    // How it ends is the client's affair.
    drop(
        http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .await,
    );
}

async fn answer(
    request: Request<Incoming>,
    state: Arc<State>,
) -> Result<Response<Full<Bytes>>, Box<dyn std::error::Error + Send + Sync>> {
    let path = request.uri().path().to_owned();
    if let Some(left) = path.strip_prefix("/hops/") {
        return Ok(match left.parse::<u8>().unwrap() {
            0 => body(state.signer.lock().keys()),
            left => redirect(&format!("/hops/{}", left - 1)),
        });
    }
    match path.as_str() {
        "/downgrade" => return Ok(redirect("http://localhost/keys")),
        "/.well-known/openid-configuration" | "/other/.well-known/openid-configuration" => {
            let keys = format!("{}/keys", state.own);
            return Ok(body(
                json!({"issuer": state.own, "jwks_uri": keys}).to_string(),
            ));
        }
        _ => {}
    }
    state.asked.fetch_add(1, Ordering::SeqCst);
    let answer = state.answer.lock().clone();
    Ok(match answer {
        Answer::Keys => body(state.signer.lock().keys()),
        Answer::Slowly(time) => {
            tokio::time::sleep(time).await;
            body(state.signer.lock().keys())
        }
        Answer::Status(status) => Response::builder().status(status).body(Full::default())?,
        Answer::Body(bytes) => Response::new(Full::from(bytes)),
        Answer::Redirect(to) => redirect(&to),
        Answer::Close => return Err("closed".into()),
    })
}

fn body(text: String) -> Response<Full<Bytes>> {
    Response::new(Full::from(text))
}

fn redirect(to: &str) -> Response<Full<Bytes>> {
    let response = Response::builder().status(302).header("location", to);
    response.body(Full::default()).unwrap()
}
