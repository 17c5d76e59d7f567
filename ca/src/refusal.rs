//! Why a call was refused: little to the caller, everything and what to do about it to the log and the record.

use tonic::{Code, Status};

use crate::csr::CsrError;
use crate::issue::IssueError;
use crate::store::StoreError;

/// A refusal. Its text is for the log; [`Refusal::status`] is what the caller sees.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// A field of the request is unusable.
    #[error("the request is malformed: {0}")]
    Malformed(&'static str),
    /// The signing request was refused.
    #[error(transparent)]
    Csr(#[from] CsrError),
    /// The proof of the enrolment key does not verify.
    #[error("the proof does not verify with the enrolment key")]
    Proof,
    /// No such token, or it was forgotten after its end.
    #[error("the join token is unknown, and the enrolment key has never enrolled")]
    TokenUnknown,
    /// The token's time is over.
    #[error("the join token `{name}` expired {ago_seconds} seconds ago without having been used")]
    TokenExpired {
        /// The token's name.
        name: String,
        /// How long ago.
        ago_seconds: u64,
    },
    /// The token was spent by another enrolment key.
    #[error("the join token `{name}` was already spent by another enrolment key")]
    TokenSpent {
        /// The token's name.
        name: String,
    },
    /// No token, and the key is not known.
    #[error("no join token was sent, and the enrolment key has never enrolled")]
    NotEnrolled,
    /// A renewal without a client certificate.
    #[error("a renewal needs the current certificate as TLS client certificate; none was sent")]
    NoCertificate,
    /// The client certificate has expired since the connection began, or its root has gone.
    #[error("the client certificate of `{0}` has expired or is no longer trusted")]
    CertificateEnded(String),
    /// A certificate of ours, by its signature, that is not on record.
    #[error("the client certificate of `{0}` is not on record")]
    NotOnRecord(String),
    /// No entry allows the caller anything.
    #[error("no registration entry matches the caller's selectors {evidence}{nearest}")]
    NoEntry {
        /// What the caller proved.
        evidence: String,
        /// The entry that came nearest.
        nearest: String,
    },
    /// The caller asked for an identity that is not among its own.
    #[error("`{wanted}` is not among the caller's identities: {entitled}")]
    NotEntitled {
        /// What was asked for, made safe for a log.
        wanted: String,
        /// What the caller may have.
        entitled: String,
    },
    /// The caller may have several identities and named none.
    #[error("the caller may have several identities and named none: {entitled}")]
    Ambiguous {
        /// What the caller may have.
        entitled: String,
    },
    /// The edge authority is off.
    #[error("this authority issues no edge certificates")]
    NoEdge,
    /// The caller is not on the list for edge certificates.
    #[error("`{0}` is not among `edge.callers`")]
    NotEdgeCaller(String),
    /// A name can't stand in an edge certificate.
    #[error("`{name}` can't stand in an edge certificate: {reason}")]
    EdgeName {
        /// The name, made safe for a log.
        name: String,
        /// Why.
        reason: &'static str,
    },
    /// The caller asks too often.
    #[error("too many requests from {0}")]
    Limited(&'static str),
    /// Too much at once.
    #[error("too many requests at once")]
    Busy,
    /// The record could not be made durable, so nothing was signed out.
    #[error("the audit record could not be made durable")]
    Store(#[source] StoreError),
    /// Our own issuer can't sign.
    #[error("the authority can't sign")]
    Issue(#[from] IssueError),
}

impl Refusal {
    /// A stable word, for metrics and for searching the record.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Csr(error) => match error {
                CsrError::Signature => "csr_signature",
                CsrError::Key(_) => "csr_key",
                CsrError::OwnKey => "csr_own_key",
                CsrError::SignatureAlgorithm(_) => "csr_algorithm",
                CsrError::ForeignName { .. } => "csr_name",
                CsrError::TooLong(_) => "csr_size",
                _ => "csr_malformed",
            },
            Self::Proof => "proof",
            Self::TokenUnknown => "token_unknown",
            Self::TokenExpired { .. } => "token_expired",
            Self::TokenSpent { .. } => "token_spent",
            Self::NotEnrolled => "not_enrolled",
            Self::NoCertificate => "no_certificate",
            Self::CertificateEnded(_) => "certificate_ended",
            Self::NotOnRecord(_) => "not_on_record",
            Self::NoEntry { .. } => "no_entry",
            Self::NotEntitled { .. } => "not_entitled",
            Self::Ambiguous { .. } => "ambiguous",
            Self::NoEdge => "no_edge",
            Self::NotEdgeCaller(_) => "not_edge_caller",
            Self::EdgeName { .. } => "edge_name",
            Self::Limited(_) => "limited",
            Self::Busy => "busy",
            Self::Store(_) => "store",
            Self::Issue(_) => "issuer",
        }
    }

    /// What an operator can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Malformed(_) | Self::Csr(_) => "the workload's client is faulty or not ours",
            Self::Proof => "the client must sign with the key it names as enrolment key",
            Self::TokenUnknown | Self::NotEnrolled => {
                "make a join token with `portcullis` or the Admin service and give it to the workload"
            }
            Self::TokenExpired { .. } => {
                "make a new join token and start the workload before it ends"
            }
            Self::TokenSpent { .. } => {
                "if the workload lost its state directory, make a new token; if it did not, somebody \
                 else has used this one: look at ListIdentities"
            }
            Self::NoCertificate => "the workload must enrol first",
            Self::CertificateEnded(_) => "the workload re-enrols with its enrolment key by itself",
            Self::NotOnRecord(_) => {
                "the store was restored from an older backup, or the issuing key was used elsewhere; \
                 the workload must enrol again"
            }
            Self::NoEntry { .. } => "add a RegistrationEntry whose selectors the caller proves",
            Self::NotEntitled { .. } => {
                "correct `identity` of the workload or add a RegistrationEntry"
            }
            Self::Ambiguous { .. } => "name one of them in the workload's `identity.spiffeID`",
            Self::NoEdge => {
                "set `edge.callers` (profile `laptop`), or give the gateway certificate files"
            }
            Self::NotEdgeCaller(_) => "add the caller to `edge.callers`",
            Self::EdgeName { .. } => "correct the hosts of the Gateway document",
            Self::Limited(_) => "raise `limits`, or find out who asks so often",
            Self::Busy => "the authority is overloaded; callers retry by themselves",
            Self::Store(_) => "look at the disk of `stateDir`, then restart the authority",
            Self::Issue(_) => "renew the intermediate",
        }
    }

    /// What the caller is told: the kind of trouble and the request's id, never the reason.
    pub fn status(&self, request: &str) -> Status {
        let (code, text) = match self {
            Self::Malformed(_) | Self::Csr(_) | Self::EdgeName { .. } | Self::Ambiguous { .. } => {
                (Code::InvalidArgument, "the request can't be used")
            }
            Self::Proof
            | Self::TokenUnknown
            | Self::TokenExpired { .. }
            | Self::TokenSpent { .. }
            | Self::NotEnrolled
            | Self::NoCertificate
            | Self::CertificateEnded(_)
            | Self::NotOnRecord(_) => (Code::Unauthenticated, "the caller was not recognised"),
            Self::NoEntry { .. }
            | Self::NotEntitled { .. }
            | Self::NoEdge
            | Self::NotEdgeCaller(_) => (Code::PermissionDenied, "the caller may not have this"),
            Self::Limited(_) => (
                Code::ResourceExhausted,
                "too many requests; try again later",
            ),
            Self::Busy | Self::Store(_) | Self::Issue(_) => (
                Code::Unavailable,
                "nothing can be issued now; try again later",
            ),
        };
        Status::new(
            code,
            format!("{text} (request {request}; the authority's log has the reason)"),
        )
    }

    /// Whether it is our trouble and somebody should look, rather than the caller's.
    pub fn is_ours(&self) -> bool {
        matches!(self, Self::Store(_) | Self::Issue(_))
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
