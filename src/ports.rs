//! Ports on this machine: what a process published, and free ones for what is about to start.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

/// A process's ports by name, as its `ports.json` tells them.
pub(crate) type Ports = BTreeMap<String, SocketAddr>;

/// Reads the `ports.json` in a process's state directory; `None` until it is complete.
pub(crate) fn published(state_dir: &Path) -> Option<Ports> {
    let text = std::fs::read(state_dir.join("ports.json")).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Forgets what an earlier process published.
pub(crate) fn forget(state_dir: &Path) -> io::Result<()> {
    crate::directory::remove_file(&state_dir.join("ports.json"))
}

/// 127.0.0.1 at a port.
pub(crate) fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Free ports, all different, that stay taken until this is dropped.
#[derive(Debug, Default)]
pub(crate) struct FreePorts {
    held: Vec<TcpListener>,
}

impl FreePorts {
    /// A free port: the preferred one if it is.
    pub(crate) fn pick(&mut self, preferred: Option<SocketAddr>) -> io::Result<SocketAddr> {
        let listener = preferred
            .filter(|address| address.port() != 0)
            .and_then(|address| TcpListener::bind(address).ok())
            .map_or_else(|| TcpListener::bind(loopback(0)), Ok)?;
        let address = listener.local_addr()?;
        self.held.push(listener);
        Ok(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_falls_back_to_a_free_one() {
        let mut free = FreePorts::default();
        let first = free.pick(None).unwrap();
        let second = free.pick(Some(first)).unwrap();
        assert_ne!(first, second);
        drop(free);
        assert_eq!(FreePorts::default().pick(Some(first)).unwrap(), first);
    }
}
