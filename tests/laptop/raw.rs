//! Bytes on a TCP connection, for what no HTTP client would send.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Generous for one answer on a busy machine.
const ANSWER: Duration = Duration::from_secs(20);
/// How long a connection that was answered may stay open before it is taken for a quiet one.
const SILENCE: Duration = Duration::from_secs(2);

/// Connects; a read that takes too long is an error.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(ANSWER)).unwrap();
    socket.set_nodelay(true).unwrap();
    socket
}

/// Reads to the end of a head and no further.
pub(crate) fn read_head(socket: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && socket.read(&mut byte).unwrap() == 1 {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// All that comes back for these bytes, until the other side closes or falls silent.
pub(crate) fn exchange(address: SocketAddr, bytes: &str) -> String {
    let mut socket = connect(address);
    socket.write_all(bytes.as_bytes()).unwrap();
    let head = read_head(&mut socket);
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    let mut rest = Vec::new();
    socket.read_to_end(&mut rest).ok();
    head + &String::from_utf8_lossy(&rest)
}

/// A connection that has been switched to the WebSocket protocol at `/websocket`.
pub(crate) fn websocket(address: SocketAddr, host: &str) -> TcpStream {
    let mut socket = connect(address);
    write!(
        socket,
        "GET /websocket HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    .unwrap();
    let head = read_head(&mut socket);
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let accepted = "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=";
    assert!(head.to_lowercase().contains(accepted), "{head}");
    socket
}

/// Sends these bytes and waits until they have come back.
pub(crate) fn echoes(socket: &mut TcpStream, bytes: &[u8]) {
    socket.write_all(bytes).unwrap();
    let mut back = vec![0; bytes.len()];
    socket.read_exact(&mut back).unwrap();
    assert_eq!(back, bytes);
}
