//! W3C Trace Context: `traceparent` is continued when it is valid and created when it is not.

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::request_id::hex_digit;
use crate::random;

/// `traceparent`.
pub static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// `tracestate`.
pub static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Length of a version 00 traceparent.
const LENGTH: usize = 55;

/// Whether this hop is a span of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceRole {
    /// Spans are not recorded here: a valid `traceparent` passes unchanged, so that no span lacks its parent.
    Forward,
    /// This hop is a span: the trace goes on with a new parent id.
    Span,
}

/// A position in a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace; never zero.
    pub trace_id: u128,
    /// The span that the next hop sees as its parent; never zero.
    pub parent_id: u64,
    /// Flags; bit 0 is "sampled".
    pub flags: u8,
}

impl TraceContext {
    /// Reads a `traceparent` strictly (W3C Trace Context §3.2): lower-case hexadecimal, no zero ids, no
    /// version ff, and for version 00 nothing behind the flags.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (head, rest) = value.split_at_checked(LENGTH)?;
        let mut fields = head.split(|b| *b == b'-');
        let version = hex(fields.next()?, 2)?;
        let trace_id = hex(fields.next()?, 32)?;
        let parent_id = hex(fields.next()?, 16)?;
        let flags = hex(fields.next()?, 2)?;
        if fields.next().is_some() || version == 0xff || trace_id == 0 || parent_id == 0 {
            return None;
        }
        let rest_fits = match version {
            0 => rest.is_empty(),
            _ => rest.is_empty() || rest.first() == Some(&b'-'),
        };
        rest_fits.then_some(Self {
            trace_id,
            parent_id: u64::try_from(parent_id).ok()?,
            flags: u8::try_from(flags).ok()?,
        })
    }

    /// A new trace, not sampled.
    pub fn new() -> Self {
        Self {
            trace_id: u128::from_ne_bytes(random::bytes()).max(1),
            parent_id: random::number().max(1),
            flags: 0,
        }
    }

    /// The header's value, version 00.
    pub fn header(self) -> HeaderValue {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        let digits = |n: u128, width: u32| (0..width).rev().map(move |at| hex_digit(n >> (4 * at)));
        let all = digits(self.trace_id, 32)
            .chain([b'-'])
            .chain(digits(u128::from(self.parent_id), 16))
            .chain([b'-'])
            .chain(digits(u128::from(self.flags), 2));
        for (to, from) in text.iter_mut().skip(3).zip(all) {
            *to = from;
        }
        HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    /// The trace id as logs show it: 32 hexadecimal digits.
    pub fn trace_id_text(self) -> String {
        format!("{:032x}", self.trace_id)
    }
}

impl Default for TraceContext {
    fn default() -> Self {
        Self::new()
    }
}

/// Continues the caller's trace or starts one, and returns where the request now stands in it.
///
/// An invalid or repeated `traceparent` starts a new trace and takes `tracestate` with it (§3.2, §3.3).
pub fn ensure_trace(headers: &mut HeaderMap, role: TraceRole) -> TraceContext {
    let received = {
        let mut values = headers.get_all(&TRACEPARENT).iter();
        match (values.next(), values.next()) {
            (Some(one), None) => TraceContext::parse(one.as_bytes()),
            _ => None,
        }
    };
    let context = match (received, role) {
        (Some(context), TraceRole::Forward) => return context,
        (Some(context), TraceRole::Span) => TraceContext {
            parent_id: random::number().max(1),
            ..context
        },
        (None, _) => {
            headers.remove(&TRACESTATE);
            TraceContext::new()
        }
    };
    headers.insert(&TRACEPARENT, context.header());
    context
}

fn hex(digits: &[u8], width: usize) -> Option<u128> {
    if digits.len() != width {
        return None;
    }
    digits.iter().try_fold(0, |n: u128, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(n << 4 | u128::from(value))
    })
}
