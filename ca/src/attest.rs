//! Who is asking: what a caller proves before the registry is asked what it may have.
//!
//! A join token proves its name once, to one enrolment key. That key proves it ever after, so that a
//! lost reply is asked for again with the same token and key, and a restarted process needs no new token.
//! A certificate proves what its own record says was proved for it.

use std::collections::BTreeSet;
use std::time::SystemTime;

use identity::PeerIdentity;
use identity::wire::EnrolRequest;

use crate::csr::sha256;
use crate::issue::unix;
use crate::refusal::Refusal;
use crate::store::record::Method;
use crate::store::{Admission, Enrolment, Spend, Store};
use crate::token;

/// A P-256 SubjectPublicKeyInfo has 91 bytes, an ECDSA signature at most 72.
const MAX_KEY_BYTES: usize = 128;
const MAX_PROOF_BYTES: usize = 80;
const MAX_TOKEN_BYTES: usize = 256;

/// A caller that has proved something.
#[derive(Debug)]
pub struct Attested {
    /// The selectors it proved.
    pub evidence: BTreeSet<String>,
    /// How.
    pub method: Method,
    /// What must be recorded together with the first certificate that rests on it.
    pub admission: Option<Admission>,
}

/// Checks the proof of an enrolment: possession of the enrolment key, and a token or an earlier enrolment.
pub fn enrolment(
    store: &dyn Store,
    request: &EnrolRequest,
    now: SystemTime,
) -> Result<Attested, Refusal> {
    check_sizes(request)?;
    let proved = identity::proof::enrol_message(&request.csr, &request.join_token);
    identity::key::verify_p256(&request.enrolment_key, &proved, &request.proof)
        .map_err(|_| Refusal::Proof)?;

    let key_hash = sha256(&request.enrolment_key);
    let known = store.enrolment(&key_hash)?;
    if request.join_token.is_empty() {
        return known.as_ref().map(by_key).ok_or(Refusal::NotEnrolled);
    }
    let token_hash = token::hash(&request.join_token).ok_or(Refusal::Malformed(
        "the join token does not have the form of one",
    ))?;
    let Some(token) = store.token(&token_hash)? else {
        // A token that ended long ago is forgotten; the key it admitted is not.
        return known.as_ref().map(by_key).ok_or(Refusal::TokenUnknown);
    };
    match (token.spend_by(&key_hash), known) {
        // The reply was lost, or the process restarted with its old token file.
        (Spend::SpentByYou, Some(known)) => Ok(by_key(&known)),
        (Spend::SpentByAnother, _) => Err(Refusal::TokenSpent { name: token.name }),
        (Spend::Unspent, Some(known)) if token.expires < unix(now) => Ok(by_key(&known)),
        (Spend::Unspent, None) if token.expires < unix(now) => Err(Refusal::TokenExpired {
            ago_seconds: unix(now) - token.expires,
            name: token.name,
        }),
        (Spend::Unspent | Spend::SpentByYou, _) => {
            let enrolment = Enrolment {
                token_name: token.name,
                at: unix(now),
            };
            Ok(Attested {
                evidence: enrolment.evidence(),
                method: Method::JoinToken,
                admission: Some(Admission {
                    key_hash,
                    enrolment,
                    spend: Some(token_hash),
                }),
            })
        }
    }
}

/// What the current certificate of a caller proves: what was proved when it was issued.
///
/// `peer` was verified by the TLS layer; here it is asked whether it still holds at this moment.
pub fn renewal(
    store: &dyn Store,
    peer: &PeerIdentity,
    now: SystemTime,
) -> Result<Attested, Refusal> {
    if peer.not_after < now {
        return Err(Refusal::CertificateEnded(peer.id.as_str().to_owned()));
    }
    let issued = store
        .issued(&peer.fingerprint)?
        .filter(|issued| issued.spiffe_id == peer.id.as_str())
        .ok_or_else(|| Refusal::NotOnRecord(peer.id.as_str().to_owned()))?;
    Ok(Attested {
        evidence: issued.evidence.into_iter().collect(),
        method: Method::Renewal,
        admission: None,
    })
}

fn by_key(enrolment: &Enrolment) -> Attested {
    Attested {
        evidence: enrolment.evidence(),
        method: Method::EnrolmentKey,
        admission: None,
    }
}

fn check_sizes(request: &EnrolRequest) -> Result<(), Refusal> {
    let bounded = [
        (
            request.enrolment_key.len(),
            MAX_KEY_BYTES,
            "the enrolment key is too long",
        ),
        (
            request.proof.len(),
            MAX_PROOF_BYTES,
            "the proof is too long",
        ),
        (
            request.join_token.len(),
            MAX_TOKEN_BYTES,
            "the join token is too long",
        ),
        (
            request.csr.len(),
            crate::csr::MAX_CSR_BYTES,
            "the signing request is too long",
        ),
        (request.spiffe_id.len(), 2048, "the SPIFFE ID is too long"),
    ];
    match bounded.iter().find(|(length, most, _)| length > most) {
        Some((_, _, what)) => Err(Refusal::Malformed(what)),
        None => Ok(()),
    }
}
