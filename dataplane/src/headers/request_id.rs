//! `x-request-id`: one UUIDv4 per request, from the edge to the last hop.

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::random;

/// `x-request-id`.
pub static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is kept from a caller, in bytes.
const LONGEST: usize = 128;

/// Whose request id counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestIdSource {
    /// The edge: a client's id is replaced.
    Fresh,
    /// Inside the mesh: a well-formed id is kept.
    Caller,
}

/// Makes sure that the request has one id, and returns it.
pub fn ensure_request_id(headers: &mut HeaderMap, source: RequestIdSource) -> HeaderValue {
    if source == RequestIdSource::Caller {
        let mut values = headers.get_all(&REQUEST_ID).iter();
        if let (Some(id), None) = (values.next(), values.next())
            && is_plain(id.as_bytes())
        {
            return id.clone();
        }
    }
    let id = fresh();
    headers.insert(&REQUEST_ID, id.clone());
    id
}

fn is_plain(id: &[u8]) -> bool {
    (1..=LONGEST).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

/// A random UUID (RFC 9562 §5.4).
fn fresh() -> HeaderValue {
    let bits = u128::from_be_bytes(random::bytes());
    let bits = bits & !(0xf << 76) | (0x4 << 76);
    let bits = bits & !(0x3 << 62) | (0x2 << 62);
    let mut text = [0; 36];
    let mut shift = 128;
    for (at, byte) in text.iter_mut().enumerate() {
        *byte = if matches!(at, 8 | 13 | 18 | 23) {
            b'-'
        } else {
            shift -= 4;
            hex_digit(bits >> shift)
        };
    }
    HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// The lower four bits as a hexadecimal digit.
pub(super) fn hex_digit(bits: u128) -> u8 {
    let nibble = (bits & 0xf).to_le_bytes()[0];
    if nibble < 10 {
        b'0' + nibble
    } else {
        b'a' + nibble - 10
    }
}
