//! `x-forwarded-client-cert`: who proved what on the way here, in Envoy's form.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use identity::{PeerIdentity, SpiffeId};

use super::request_id::hex_digit;

/// `x-forwarded-client-cert`.
pub static XFCC: HeaderName = HeaderName::from_static("x-forwarded-client-cert");

/// What becomes of the header (istio-semantics 9.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XfccMode {
    /// The edge: the client's header is dropped, and set anew when the client proved an identity.
    SanitizeSet,
    /// Inside the mesh: ours is appended on mTLS connections; without mTLS the header is dropped.
    AppendForward,
}

/// Applies `mode` for a request that `peer` sent to the workload `me`.
pub fn apply_xfcc(
    headers: &mut HeaderMap,
    mode: XfccMode,
    me: Option<&SpiffeId>,
    peer: Option<&PeerIdentity>,
) {
    let received: Vec<HeaderValue> = match mode {
        XfccMode::AppendForward if peer.is_some() => {
            headers.get_all(&XFCC).iter().cloned().collect()
        }
        _ => Vec::new(),
    };
    headers.remove(&XFCC);
    let Some(peer) = peer else { return };
    let mut value: Vec<u8> = Vec::new();
    for element in &received {
        value.extend_from_slice(element.as_bytes());
        value.push(b',');
    }
    value.extend_from_slice(element(mode, me, peer).as_bytes());
    if let Ok(value) = HeaderValue::from_bytes(&value) {
        headers.insert(&XFCC, value);
    }
}

fn element(mode: XfccMode, me: Option<&SpiffeId>, peer: &PeerIdentity) -> String {
    let mut out = String::with_capacity(256);
    if let (XfccMode::AppendForward, Some(me)) = (mode, me) {
        out.push_str("By=");
        out.push_str(me.as_str());
        out.push(';');
    }
    out.push_str("Hash=");
    for byte in peer.fingerprint {
        out.push(char::from(hex_digit(u128::from(byte >> 4))));
        out.push(char::from(hex_digit(u128::from(byte))));
    }
    // Our leaves have an empty subject; a SPIFFE ID has no character that needs quoting here.
    out.push_str(";Subject=\"\";URI=");
    out.push_str(peer.id.as_str());
    out
}
