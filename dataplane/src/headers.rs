//! Header hygiene: what ends at this hop, what strangers may not say, and what a proxy adds.

mod forwarded;
mod hop;
mod length;
mod request_id;
mod trace;
mod xfcc;

pub use forwarded::{
    EXTERNAL_ADDRESS, FORWARDED_FOR, FORWARDED_PROTO, address_by_gateway, append_forwarded_for,
    client_address, set_external_address, set_forwarded_proto,
};
pub use hop::{
    Upgrades, strip_edge, strip_hop_by_hop, strip_lookalikes, underscore_name, wants_upgrade,
    websocket_upgrade,
};
pub use length::plain_content_length;
pub use request_id::{REQUEST_ID, RequestIdSource, ensure_request_id};
pub use trace::{TRACEPARENT, TRACESTATE, TraceContext, TraceRole, ensure_trace};
pub use xfcc::{XFCC, XfccMode, apply_xfcc};

#[cfg(test)]
mod tests;
