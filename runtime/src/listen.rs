//! Binding listening sockets, with a defined answer to a port that is taken.

use std::io;
use std::net::{SocketAddr, TcpListener};

use rustix::net::sockopt::set_socket_reuseaddr;
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind as bind_socket, listen, socket_with,
};
use serde::Deserialize;

/// Connections that the kernel keeps for us between two accepts; it may cap this (`net.core.somaxconn`).
const BACKLOG: i32 = 1024;

/// What to do when the wanted port is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TakenPorts {
    /// Stop with an error: the default, for production.
    #[default]
    Refuse,
    /// Take a free port instead; `ports.json` in the state directory tells which.
    Free,
}

/// Binds `wanted` and listens, non-blocking and with `SO_REUSEADDR`.
///
/// With [`TakenPorts::Free`] a taken port falls back to `previous` (what the last start got, so that addresses stay
/// put across restarts) and then to any free port. A `wanted` port of zero tries `previous` first.
pub fn bind(
    wanted: SocketAddr,
    taken: TakenPorts,
    previous: Option<SocketAddr>,
) -> io::Result<TcpListener> {
    let previous = previous.filter(|address| address.ip() == wanted.ip() && address.port() != 0);
    if wanted.port() == 0
        && let Some(address) = previous
        && let Ok(listener) = open(address)
    {
        return Ok(listener);
    }
    let refused = match open(wanted) {
        Ok(listener) => return Ok(listener),
        Err(refused) => refused,
    };
    if taken == TakenPorts::Free && refused.kind() == io::ErrorKind::AddrInUse {
        if let Some(Ok(listener)) = previous.map(open) {
            return Ok(listener);
        }
        return open(SocketAddr::new(wanted.ip(), 0)).map_err(|error| explain(wanted, &error));
    }
    Err(explain(wanted, &refused))
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    // A restarted process must not wait for connections of its forerunner in TIME_WAIT.
    set_socket_reuseaddr(&socket, true)?;
    bind_socket(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

fn explain(wanted: SocketAddr, error: &io::Error) -> io::Error {
    let help = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; another process has this port: stop it, choose another, or set `takenPorts: free`"
        }
        io::ErrorKind::AddrNotAvailable => "; this machine does not have that address",
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need CAP_NET_BIND_SERVICE: choose a higher port"
        }
        _ => "",
    };
    io::Error::new(
        error.kind(),
        format!("cannot listen on `{wanted}`: {error}{help}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

    #[test]
    fn a_taken_port_is_refused_or_replaced() {
        let first = bind(ANY, TakenPorts::Refuse, None).unwrap();
        let address = first.local_addr().unwrap();
        let refused = bind(address, TakenPorts::Refuse, None).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        assert!(
            refused.to_string().contains("takenPorts: free"),
            "{refused}"
        );
        let second = bind(address, TakenPorts::Free, None).unwrap();
        assert_ne!(second.local_addr().unwrap().port(), address.port());
    }

    #[test]
    fn the_previous_port_comes_back() {
        let previous = bind(ANY, TakenPorts::Refuse, None)
            .unwrap()
            .local_addr()
            .unwrap();
        let again = bind(ANY, TakenPorts::Free, Some(previous)).unwrap();
        assert_eq!(again.local_addr().unwrap(), previous);
        let other = bind(ANY, TakenPorts::Free, Some(previous)).unwrap();
        assert_ne!(other.local_addr().unwrap(), previous);
    }
}
