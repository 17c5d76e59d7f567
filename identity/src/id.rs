//! SPIFFE IDs and trust domain names, parsed byte by byte (SPIFFE-ID §2).

use std::{
    fmt,
    hash::{Hash, Hasher},
    str::FromStr,
    sync::Arc,
};

/// The scheme and the two slashes before the trust domain.
pub const SCHEME: &str = "spiffe://";
/// No SPIFFE ID is longer, in bytes (SPIFFE-ID §2.3).
pub const MAX_ID_BYTES: usize = 2048;
/// No trust domain name is longer, in bytes (SPIFFE-ID §2.3).
pub const MAX_TRUST_DOMAIN_BYTES: usize = 255;
/// The path of the CA's own identity; registration entries may not claim it nor anything below `/portcullis/`.
pub const CA_PATH: &str = "/portcullis/ca";
/// Paths below this prefix belong to Portcullis itself.
pub const RESERVED_PATHS: &str = "/portcullis/";

/// Why a text is not a SPIFFE ID or not a trust domain name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpiffeIdError {
    /// Longer than the specification lets an ID be.
    #[error("a SPIFFE ID has at most 2048 bytes, this one has {length}")]
    TooLong {
        /// Bytes found.
        length: usize,
    },
    /// Not `spiffe://` in lower case.
    #[error("a SPIFFE ID begins with `spiffe://`, in lower case")]
    Scheme,
    /// Nothing between the scheme and the path.
    #[error("the trust domain is empty")]
    TrustDomainEmpty,
    /// The trust domain is longer than 255 bytes.
    #[error("a trust domain has at most 255 bytes, this one has {length}")]
    TrustDomainTooLong {
        /// Bytes found.
        length: usize,
    },
    /// A byte outside `[a-z0-9.-_]` in the trust domain: no upper case, port, user, or percent-encoding.
    #[error(
        "byte 0x{byte:02x} at {position} is not allowed in a trust domain: use a-z, 0-9, `.`, `-` and `_` only"
    )]
    TrustDomainByte {
        /// The byte.
        byte: u8,
        /// Where, counted from 0 in the text as given.
        position: usize,
    },
    /// A byte outside `[a-zA-Z0-9.-_]` in the path: no query, fragment or percent-encoding.
    #[error(
        "byte 0x{byte:02x} at {position} is not allowed in a path: use a-z, A-Z, 0-9, `.`, `-`, `_` and `/` only"
    )]
    PathByte {
        /// The byte.
        byte: u8,
        /// Where, counted from 0 in the text as given.
        position: usize,
    },
    /// `//` in the path, or a `/` at its end.
    #[error("the path has an empty segment: remove the double or trailing `/`")]
    EmptySegment,
    /// A segment that is `.` or `..`.
    #[error("the path has a segment `.` or `..`")]
    DotSegment,
    /// A namespace or service account that is not one path segment.
    #[error("`{segment}` is not one path segment: use a-z, A-Z, 0-9, `.`, `-` and `_` only")]
    Segment {
        /// The text as given, control characters escaped.
        segment: String,
    },
}

/// The name of a trust domain, such as `cluster.local`, in lower case.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrustDomain(Arc<str>);

impl TrustDomain {
    /// Reads a bare name, without a scheme.
    pub fn parse(name: &str) -> Result<Self, SpiffeIdError> {
        check_trust_domain(name.as_bytes(), 0)?;
        Ok(Self(Arc::from(name)))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The identity of this domain's CA server, `spiffe://<name>/portcullis/ca`.
    pub fn ca_id(&self) -> SpiffeId {
        SpiffeId::assemble(self, CA_PATH)
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrustDomain({})", self.0)
    }
}

impl FromStr for TrustDomain {
    type Err = SpiffeIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl AsRef<str> for TrustDomain {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// The identity of a workload, such as `spiffe://cluster.local/ns/my-app/sa/order-service`; cheap to clone.
#[derive(Clone)]
pub struct SpiffeId {
    uri: Arc<str>,
    // INVARIANT: SCHEME.len() < path_start <= uri.len(), on a character boundary (the text is ASCII).
    path_start: usize,
}

impl SpiffeId {
    /// Reads a whole URI. Upper case in scheme and trust domain is refused, although the specification lets a
    /// reader fold it: two spellings of one name are a gap in every comparison after the door.
    pub fn parse(uri: &str) -> Result<Self, SpiffeIdError> {
        Ok(Self {
            path_start: check_id(uri.as_bytes())?,
            uri: Arc::from(uri),
        })
    }

    /// Reads a whole URI from a stranger's bytes.
    pub fn from_bytes(uri: &[u8]) -> Result<Self, SpiffeIdError> {
        let path_start = check_id(uri)?;
        // Only ASCII passes the check, so nothing is replaced here.
        Ok(Self {
            uri: Arc::from(String::from_utf8_lossy(uri)),
            path_start,
        })
    }

    /// Makes `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`.
    pub fn for_workload(
        trust_domain: &TrustDomain,
        namespace: &str,
        service_account: &str,
    ) -> Result<Self, SpiffeIdError> {
        for segment in [namespace, service_account] {
            let plain = segment.bytes().all(is_path_byte);
            if !plain || matches!(segment, "" | "." | "..") {
                return Err(SpiffeIdError::Segment {
                    segment: segment.escape_default().to_string(),
                });
            }
        }
        let path = format!("/ns/{namespace}/sa/{service_account}");
        let id = Self::assemble(trust_domain, &path);
        if id.uri.len() > MAX_ID_BYTES {
            return Err(SpiffeIdError::TooLong {
                length: id.uri.len(),
            });
        }
        Ok(id)
    }

    fn assemble(trust_domain: &TrustDomain, path: &str) -> Self {
        Self {
            uri: Arc::from(format!("{SCHEME}{trust_domain}{path}")),
            path_start: SCHEME.len() + trust_domain.0.len(),
        }
    }

    /// The whole URI.
    pub fn as_str(&self) -> &str {
        &self.uri
    }

    /// The URI without `spiffe://`, as Istio's `principals` are written.
    pub fn principal(&self) -> &str {
        self.uri.get(SCHEME.len()..).unwrap_or_default()
    }

    /// The name of the trust domain.
    pub fn trust_domain(&self) -> &str {
        self.uri
            .get(SCHEME.len()..self.path_start)
            .unwrap_or_default()
    }

    /// The path with its leading `/`; empty for the identity of a trust domain itself.
    pub fn path(&self) -> &str {
        self.uri.get(self.path_start..).unwrap_or_default()
    }

    /// Tells whether this identity is below `/portcullis/`.
    pub fn is_reserved(&self) -> bool {
        self.path().starts_with(RESERVED_PATHS) || self.path() == "/portcullis"
    }

    /// The namespace, if the path is exactly `/ns/<namespace>/sa/<service account>`.
    pub fn namespace(&self) -> Option<&str> {
        self.workload().map(|(namespace, _)| namespace)
    }

    /// The service account, if the path is exactly `/ns/<namespace>/sa/<service account>`.
    pub fn service_account(&self) -> Option<&str> {
        self.workload().map(|(_, account)| account)
    }

    fn workload(&self) -> Option<(&str, &str)> {
        let (namespace, account) = self.path().strip_prefix("/ns/")?.split_once("/sa/")?;
        (!namespace.contains('/') && !account.contains('/')).then_some((namespace, account))
    }
}

impl PartialEq for SpiffeId {
    fn eq(&self, other: &Self) -> bool {
        self.uri == other.uri
    }
}

impl Eq for SpiffeId {}

impl PartialOrd for SpiffeId {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SpiffeId {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.uri.cmp(&other.uri)
    }
}

impl Hash for SpiffeId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.uri.hash(state);
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uri)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpiffeId({})", self.uri)
    }
}

impl FromStr for SpiffeId {
    type Err = SpiffeIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl AsRef<str> for SpiffeId {
    fn as_ref(&self) -> &str {
        &self.uri
    }
}

/// Checks a whole URI and returns where its path starts. A byte loop, not a pattern: what a pattern's `$` or a
/// case-folding lets through (a newline, a Kelvin sign) has been accepted by others.
fn check_id(uri: &[u8]) -> Result<usize, SpiffeIdError> {
    if uri.len() > MAX_ID_BYTES {
        return Err(SpiffeIdError::TooLong { length: uri.len() });
    }
    let rest = uri
        .strip_prefix(SCHEME.as_bytes())
        .ok_or(SpiffeIdError::Scheme)?;
    let name_length = rest
        .iter()
        .position(|byte| *byte == b'/')
        .unwrap_or(rest.len());
    let (name, path) = rest.split_at_checked(name_length).unwrap_or((rest, &[]));
    check_trust_domain(name, SCHEME.len())?;
    let path_start = SCHEME.len() + name_length;
    check_path(path, path_start)?;
    Ok(path_start)
}

fn check_trust_domain(name: &[u8], offset: usize) -> Result<(), SpiffeIdError> {
    if name.is_empty() {
        return Err(SpiffeIdError::TrustDomainEmpty);
    }
    if name.len() > MAX_TRUST_DOMAIN_BYTES {
        return Err(SpiffeIdError::TrustDomainTooLong { length: name.len() });
    }
    for (index, byte) in name.iter().enumerate() {
        if !matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_') {
            return Err(SpiffeIdError::TrustDomainByte {
                byte: *byte,
                position: offset + index,
            });
        }
    }
    Ok(())
}

fn check_path(path: &[u8], offset: usize) -> Result<(), SpiffeIdError> {
    let Some(segments) = path.strip_prefix(b"/") else {
        return Ok(());
    };
    for (index, byte) in path.iter().enumerate() {
        if *byte != b'/' && !is_path_byte(*byte) {
            return Err(SpiffeIdError::PathByte {
                byte: *byte,
                position: offset + index,
            });
        }
    }
    for segment in segments.split(|byte| *byte == b'/') {
        match segment {
            b"" => return Err(SpiffeIdError::EmptySegment),
            b"." | b".." => return Err(SpiffeIdError::DotSegment),
            _ => {}
        }
    }
    Ok(())
}

fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')
}

#[cfg(test)]
mod tests;
