//! Fetches key sets: bounded in time and size, checked at each step, over HTTP/1.1.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use authz::jwt::{FoundBy, KeySet, KeySetError, KeysAt};
use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::error::TokensError;
use super::roots::Roots;
use super::target::{Private, Refusal, judge};
use crate::config::JwksConfig;

/// The largest document that is read, in bytes.
const MAX_BODY: usize = 1024 * 1024;
/// How many redirects are followed.
const MAX_REDIRECTS: u8 = 3;

/// Fetches key sets for one process.
#[derive(Debug, Default)]
pub(super) struct Fetcher {
    roots: Roots,
    private: Private,
}

/// A set of keys with its text, by which it is known again.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) text: Bytes,
    pub(super) keys: KeySet,
}

/// Why keys could not be fetched. Its text is for the operators' log, never for clients.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FetchError {
    #[error("`{0}` is no address to fetch keys from")]
    Address(String),
    #[error("`{host}` cannot be resolved: {cause}")]
    Resolve { host: String, cause: String },
    #[error("`{host}` is {what} ({address}), and keys are never fetched from there")]
    Forbidden {
        host: String,
        address: SocketAddr,
        what: &'static str,
    },
    #[error("`{host}` is {what} ({address}): set `jwks.allowPrivate` to fetch keys from there")]
    Private {
        host: String,
        address: SocketAddr,
        what: &'static str,
    },
    #[error("cannot connect to `{host}`: {cause}")]
    Connect { host: String, cause: String },
    #[error("the HTTP exchange with `{host}` failed: {cause}")]
    Http { host: String, cause: String },
    #[error("`{0}` answered with the status {1}")]
    Status(String, u16),
    #[error("`{0}` redirects without saying where")]
    Redirect(String),
    #[error("more than {MAX_REDIRECTS} redirects")]
    Redirects,
    #[error("`{0}` would be fetched without TLS, although the first address has it")]
    Downgrade(String),
    #[error("the answer is longer than {MAX_BODY} bytes")]
    TooLarge,
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("the key set cannot be used: {0}")]
    Keys(#[from] KeySetError),
    #[error("the OpenID configuration at `{0}` cannot be used: {1}")]
    Discovery(String, String),
}

/// How a step of the way to the keys ended.
enum Step {
    Body(Bytes),
    Redirect(Uri),
}

impl Fetcher {
    pub(super) fn new(config: &JwksConfig) -> Result<Self, TokensError> {
        Ok(Self {
            roots: Roots::new(config.ca_file.as_deref())?,
            private: if config.allow_private {
                Private::Allowed
            } else {
                Private::Refused
            },
        })
    }

    /// The keys of a rule, within the rule's time.
    pub(super) async fn keys(&self, at: &KeysAt) -> Result<Fetched, FetchError> {
        let fetched = async {
            let text = match &at.found_by {
                FoundBy::Uri(uri) => self.get(address(uri)?).await?,
                FoundBy::Discovery(issuer) => {
                    let uri = self.discover(issuer).await?;
                    self.get(uri).await?
                }
            };
            let keys = KeySet::parse(&text)?;
            Ok(Fetched { text, keys })
        };
        tokio::time::timeout(at.timeout, fetched)
            .await
            .unwrap_or(Err(FetchError::Timeout(at.timeout)))
    }

    /// Where an issuer says that its keys are (OpenID Connect Discovery 1.0 §4).
    async fn discover(&self, issuer: &str) -> Result<Uri, FetchError> {
        let at = format!(
            "{}/.well-known/openid-configuration",
            issuer.strip_suffix('/').unwrap_or(issuer)
        );
        let first = address(&at)?;
        let secure = first.scheme_str() == Some("https");
        let text = self.get(first).await?;
        let wrong = |why: &str| FetchError::Discovery(at.clone(), why.to_owned());
        let said: serde_json::Value =
            serde_json::from_slice(&text).map_err(|error| wrong(&error.to_string()))?;
        let field = |name: &str| said.get(name).and_then(serde_json::Value::as_str);
        // §4.3: it must be exactly the issuer; else one issuer could speak for another.
        if field("issuer") != Some(issuer) {
            return Err(wrong(
                "its `issuer` is another one; give the rule a `jwksUri`",
            ));
        }
        let uri = field("jwks_uri").ok_or_else(|| wrong("it has no `jwks_uri`"))?;
        let uri = address(uri)?;
        if secure && uri.scheme_str() != Some("https") {
            return Err(FetchError::Downgrade(uri.to_string()));
        }
        Ok(uri)
    }

    async fn get(&self, first: Uri) -> Result<Bytes, FetchError> {
        let secure = first.scheme_str() == Some("https");
        let mut uri = first;
        for _ in 0..=MAX_REDIRECTS {
            match self.step(&uri).await? {
                Step::Body(body) => return Ok(body),
                Step::Redirect(next) if secure && next.scheme_str() != Some("https") => {
                    return Err(FetchError::Downgrade(next.to_string()));
                }
                Step::Redirect(next) => uri = next,
            }
        }
        Err(FetchError::Redirects)
    }

    async fn step(&self, uri: &Uri) -> Result<Step, FetchError> {
        let host = uri.host().unwrap_or_default();
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        let secure = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let stream = self.connect(host, port).await?;
        if !secure {
            return exchange(stream, uri, host).await;
        }
        let failed = |cause: String| FetchError::Connect {
            host: host.to_owned(),
            cause,
        };
        let name = ServerName::try_from(host.to_owned()).map_err(|e| failed(e.to_string()))?;
        let config = self
            .roots
            .client()
            .await
            .map_err(|e| failed(e.to_string()))?;
        let connected = TlsConnector::from(config).connect(name, stream).await;
        exchange(connected.map_err(|e| failed(e.to_string()))?, uri, host).await
    }

    /// A connection to an address of `host` that may be asked. A name that has a forbidden address among others is not
    /// asked at all: it is not a name that a good key server has.
    async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, FetchError> {
        let resolved = tokio::net::lookup_host((host, port)).await;
        let resolved = resolved.map_err(|error| FetchError::Resolve {
            host: host.to_owned(),
            cause: error.to_string(),
        })?;
        let addresses: Vec<SocketAddr> = resolved.collect();
        for address in &addresses {
            let (host, address) = (host.to_owned(), *address);
            judge(address.ip(), self.private).map_err(|refusal| match refusal {
                Refusal::Never(what) => FetchError::Forbidden {
                    host,
                    address,
                    what,
                },
                Refusal::Private(what) => FetchError::Private {
                    host,
                    address,
                    what,
                },
            })?;
        }
        let connected = TcpStream::connect(addresses.as_slice()).await;
        connected.map_err(|error| FetchError::Connect {
            host: host.to_owned(),
            cause: error.to_string(),
        })
    }
}

fn address(text: &str) -> Result<Uri, FetchError> {
    let wrong = || FetchError::Address(runtime::escape::escape(text, 256).into_owned());
    let uri = Uri::try_from(text).map_err(|_| wrong())?;
    let http = matches!(uri.scheme_str(), Some("http" | "https"));
    let plain = uri
        .authority()
        .is_some_and(|name| !name.as_str().contains('@'));
    if http && plain { Ok(uri) } else { Err(wrong()) }
}

/// Asks once, and reads no more than is allowed.
async fn exchange<S>(stream: S, uri: &Uri, host: &str) -> Result<Step, FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let failed = |error: hyper::Error| FetchError::Http {
        host: host.to_owned(),
        cause: error.to_string(),
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(failed)?;
    let connection = tokio::spawn(connection);
    let _closed_with_us = AbortOnDrop(connection.abort_handle());
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let request = Request::get(target)
        .header(header::HOST, authority)
        .header(header::ACCEPT, "application/json")
        .header(header::USER_AGENT, "portcullis")
        .body(Empty::<Bytes>::new())
        .map_err(|_| FetchError::Address(uri.to_string()))?;
    let response = sender.send_request(request).await.map_err(failed)?;
    let status = response.status();
    if matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return redirect(uri, response.headers()).map(Step::Redirect);
    }
    if status != http::StatusCode::OK {
        return Err(FetchError::Status(uri.to_string(), status.as_u16()));
    }
    match Limited::new(response.into_body(), MAX_BODY).collect().await {
        Ok(body) => Ok(Step::Body(body.to_bytes())),
        Err(error) => Err(match error.downcast::<hyper::Error>() {
            Ok(error) => failed(*error),
            Err(_) => FetchError::TooLarge,
        }),
    }
}

/// Where a redirect leads: an address, or a path on the same host.
fn redirect(from: &Uri, headers: &HeaderMap) -> Result<Uri, FetchError> {
    let nowhere = || FetchError::Redirect(from.to_string());
    let location = headers.get(header::LOCATION).ok_or_else(nowhere)?;
    let location = location.to_str().map_err(|_| nowhere())?;
    if !location.starts_with('/') || location.starts_with("//") {
        return address(location);
    }
    let (scheme, authority) = (from.scheme_str(), from.authority());
    let (scheme, authority) = scheme.zip(authority).ok_or_else(nowhere)?;
    address(&format!("{scheme}://{authority}{location}"))
}

/// The connection's task ends with the exchange, however that ends.
struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a set is called in logs and metrics.
pub(super) fn name(at: &KeysAt) -> Arc<str> {
    match &at.found_by {
        FoundBy::Uri(text) | FoundBy::Discovery(text) => (**text).into(),
    }
}
