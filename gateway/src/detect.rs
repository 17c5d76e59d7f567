//! Tells HTTP/1 from HTTP/2 on a plain text connection by the client's first bytes.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::connection::HttpVersion;
use crate::pace::Timeouts;

/// The HTTP/2 connection preface (RFC 9113 §3.4); no HTTP/1 request begins with it.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const FIRST_READ_BYTES: usize = 4096;

/// Reads until the version is certain. Returns it with the bytes read, or `None` when the client
/// left or kept silent.
pub(crate) async fn detect(
    tcp: &mut TcpStream,
    timeouts: &Timeouts,
) -> io::Result<Option<(HttpVersion, Bytes)>> {
    let mut seen = BytesMut::with_capacity(FIRST_READ_BYTES);
    if !read(tcp, &mut seen, timeouts.handshake).await? {
        return Ok(None);
    }
    while seen.len() < PREFACE.len() && PREFACE.starts_with(&seen) {
        if !read(tcp, &mut seen, timeouts.request_head).await? {
            // An unfinished beginning: HTTP/1 is the one that can say so.
            return Ok(Some((HttpVersion::One, seen.freeze())));
        }
    }
    let version = if seen.starts_with(PREFACE) {
        HttpVersion::Two
    } else {
        HttpVersion::One
    };
    Ok(Some((version, seen.freeze())))
}

/// Whether something was read within `within`.
async fn read(tcp: &mut TcpStream, seen: &mut BytesMut, within: Duration) -> io::Result<bool> {
    match timeout(within, tcp.read_buf(seen)).await {
        Ok(read) => read.map(|n| n > 0),
        Err(_) => Ok(false),
    }
}
