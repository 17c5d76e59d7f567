//! The records of the store, as protocol buffers: fields may be added, numbers are never used again.

use std::collections::BTreeSet;

/// How a certificate came to be issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum Method {
    /// Not known; a newer program wrote it.
    Unspecified = 0,
    /// A join token, and proof of the enrolment key.
    JoinToken = 1,
    /// Proof of an enrolment key that a token had admitted before.
    EnrolmentKey = 2,
    /// The current certificate.
    Renewal = 3,
    /// The authority's own server certificate.
    OwnServer = 4,
    /// A certificate of the laptop's edge.
    Edge = 5,
}

impl Method {
    /// The word used in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::JoinToken => "join_token",
            Self::EnrolmentKey => "enrolment_key",
            Self::Renewal => "renewal",
            Self::OwnServer => "own_server",
            Self::Edge => "edge",
        }
    }
}

/// One issued certificate.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Issued {
    /// When, in seconds since 1970.
    #[prost(uint64, tag = "1")]
    pub at: u64,
    /// The SPIFFE ID; for an edge certificate, of the caller.
    #[prost(string, tag = "2")]
    pub spiffe_id: String,
    /// Lower-case hexadecimal.
    #[prost(string, tag = "3")]
    pub serial: String,
    /// Seconds since 1970.
    #[prost(uint64, tag = "4")]
    pub not_before: u64,
    /// Seconds since 1970.
    #[prost(uint64, tag = "5")]
    pub not_after: u64,
    /// SHA-256 of the certificate.
    #[prost(bytes = "vec", tag = "6")]
    pub fingerprint: Vec<u8>,
    /// SHA-256 of the certified key (SubjectPublicKeyInfo).
    #[prost(bytes = "vec", tag = "7")]
    pub public_key: Vec<u8>,
    /// How it came to be issued.
    #[prost(enumeration = "Method", tag = "8")]
    pub method: i32,
    /// The selectors that were proved; a renewal inherits them.
    #[prost(string, repeated, tag = "9")]
    pub evidence: Vec<String>,
    /// SHA-256 of the issuing certificate.
    #[prost(bytes = "vec", tag = "10")]
    pub issuer: Vec<u8>,
    /// The caller's address.
    #[prost(string, tag = "11")]
    pub from: String,
    /// Names of an edge certificate.
    #[prost(string, repeated, tag = "12")]
    pub names: Vec<String>,
    /// The registration entry that allowed it, as `file:line:column`.
    #[prost(string, tag = "13")]
    pub entry: String,
    /// The request, as in the log.
    #[prost(string, tag = "14")]
    pub request: String,
}

/// One refusal.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Refused {
    /// When, in seconds since 1970.
    #[prost(uint64, tag = "1")]
    pub at: u64,
    /// The RPC.
    #[prost(string, tag = "2")]
    pub call: String,
    /// The stable word for the reason.
    #[prost(string, tag = "3")]
    pub code: String,
    /// The whole reason.
    #[prost(string, tag = "4")]
    pub reason: String,
    /// What to do about it.
    #[prost(string, tag = "5")]
    pub hint: String,
    /// The caller's address.
    #[prost(string, tag = "6")]
    pub from: String,
    /// Who the caller proved to be, if anybody.
    #[prost(string, tag = "7")]
    pub caller: String,
    /// The request, as in the log and in what the caller was told.
    #[prost(string, tag = "8")]
    pub request: String,
}

/// One join token; its secret is not in it.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct JoinTokenRecord {
    /// The name that becomes the evidence `join_token:<name>`.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Seconds since 1970.
    #[prost(uint64, tag = "2")]
    pub created: u64,
    /// Seconds since 1970.
    #[prost(uint64, tag = "3")]
    pub expires: u64,
    /// SHA-256 of the enrolment key that spent it; empty while unspent.
    #[prost(bytes = "vec", tag = "4")]
    pub spent_by: Vec<u8>,
    /// When it was spent, in seconds since 1970; 0 while unspent.
    #[prost(uint64, tag = "5")]
    pub spent_at: u64,
}

/// Whether a token can still be spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spend {
    /// Nobody has.
    Unspent,
    /// This enrolment key has; its reply may have been lost.
    SpentByYou,
    /// Another enrolment key has.
    SpentByAnother,
}

impl JoinTokenRecord {
    /// Whether the token can be spent by `key_hash`.
    pub fn spend_by(&self, key_hash: &[u8; 32]) -> Spend {
        match self.spent_by.as_slice() {
            [] => Spend::Unspent,
            by if by == key_hash => Spend::SpentByYou,
            _ => Spend::SpentByAnother,
        }
    }
}

/// What an enrolment key has proved.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Enrolment {
    /// The name of the join token that admitted it.
    #[prost(string, tag = "1")]
    pub token_name: String,
    /// When, in seconds since 1970.
    #[prost(uint64, tag = "2")]
    pub at: u64,
}

impl Enrolment {
    /// The selectors it proves.
    pub fn evidence(&self) -> BTreeSet<String> {
        BTreeSet::from([format!("join_token:{}", self.token_name)])
    }
}

/// The newest certificate of an identity.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Identity {
    /// The SPIFFE ID.
    #[prost(string, tag = "1")]
    pub spiffe_id: String,
    /// Lower-case hexadecimal.
    #[prost(string, tag = "2")]
    pub serial: String,
    /// Seconds since 1970.
    #[prost(uint64, tag = "3")]
    pub not_before: u64,
    /// Seconds since 1970.
    #[prost(uint64, tag = "4")]
    pub not_after: u64,
    /// Certificates issued to it so far.
    #[prost(uint64, tag = "5")]
    pub issued_total: u64,
}

impl Identity {
    /// What the identity looks like after `issued`.
    pub fn after(previous: Option<&Self>, issued: &Issued) -> Self {
        Self {
            spiffe_id: issued.spiffe_id.clone(),
            serial: issued.serial.clone(),
            not_before: issued.not_before,
            not_after: issued.not_after,
            issued_total: previous.map_or(0, |p| p.issued_total).saturating_add(1),
        }
    }
}
