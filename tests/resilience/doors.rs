//! The two ways into the mesh, which must do the same: the gateway, and a caller's sidecar.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::harness::Mesh;

/// A way into the mesh.
#[derive(Clone, Copy, Debug)]
pub struct Door {
    pub name: &'static str,
    pub address: SocketAddr,
}

/// Both doors of a mesh with a gateway and a workload called `caller`.
pub fn doors(mesh: &Mesh) -> [Door; 2] {
    [
        Door {
            name: "gateway",
            address: mesh.gateway().port("listener:80"),
        },
        Door {
            name: "sidecar",
            address: mesh.sidecar("caller").outbound(),
        },
    ]
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: http::response::Parts,
    pub text: String,
}

/// One kept connection to a door.
pub struct Client(SendRequest<Full<Bytes>>);

impl Client {
    pub async fn to(door: Door) -> Self {
        let tcp = TcpStream::connect(door.address).await.unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tcp))
            .await
            .unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    pub async fn get(&mut self, host: &str, path: &str) -> Answer {
        let request = Request::get(path).header("host", host);
        self.send(request.body(Full::default()).unwrap()).await
    }

    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Answer {
        self.0.ready().await.unwrap();
        let response = self.0.send_request(request).await.unwrap();
        read(response).await
    }
}

async fn read(response: Response<Incoming>) -> Answer {
    let (head, body) = response.into_parts();
    // A body that is cut is what some tests are about.
    let text = match body.collect().await {
        Ok(body) => String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        Err(error) => format!("broken off: {error}"),
    };
    Answer {
        status: head.status.as_u16(),
        head,
        text,
    }
}

/// `GET path` on a connection of its own.
pub async fn get(door: Door, host: &str, path: &str) -> Answer {
    Client::to(door).await.get(host, path).await
}
