//! The plaintext port for health probes, so that STRICT mTLS does not break them.

use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;
use runtime::admin::{Admin, AdminResponse};
use runtime::health::{Readiness, Waiting};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::config::Config;

/// How long the application may take to answer a probe.
const PATIENCE: Duration = Duration::from_secs(2);

/// The application as probes see it.
#[derive(Clone, Debug)]
pub(crate) struct App {
    /// Where it listens; `None` for a workload without inbound ports.
    pub(crate) address: Option<SocketAddr>,
    /// A path that must answer 2xx or 3xx; absent: a connection suffices.
    pub(crate) path: Option<String>,
}

/// The pages: `/livez`, and `/healthz/ready` for proxy and application together.
pub(crate) fn pages(readiness: Readiness, app: App) -> Admin {
    Admin::builder()
        .get("/healthz/ready", move |_| {
            let readiness = readiness.clone();
            let app = app.clone();
            async move {
                let mut report = readiness.report();
                if let Err(reason) = app.ask().await {
                    report.ready = false;
                    report.waiting_for.push(Waiting {
                        condition: "application".to_owned(),
                        reason,
                    });
                }
                let status = if report.ready {
                    StatusCode::OK
                } else {
                    StatusCode::SERVICE_UNAVAILABLE
                };
                AdminResponse::json(status, &report)
            }
        })
        .build()
}

impl App {
    /// The application that a process file names.
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            address: config.probed().map(|port| port.app),
            path: config.probe.as_ref().and_then(|probe| probe.path.clone()),
        }
    }

    /// Whether it answers, or why not.
    pub(crate) async fn ask(&self) -> Result<(), String> {
        let Some(address) = self.address else {
            return Ok(());
        };
        match tokio::time::timeout(PATIENCE, self.answer(address)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(reason)) => Err(format!("`{address}`: {reason}")),
            Err(_) => Err(format!(
                "`{address}` does not answer within {} s",
                PATIENCE.as_secs()
            )),
        }
    }

    async fn answer(&self, address: SocketAddr) -> Result<(), String> {
        let failed = |error: std::io::Error| error.to_string();
        let mut app = TcpStream::connect(address).await.map_err(failed)?;
        let Some(path) = &self.path else {
            return Ok(());
        };
        let question = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: portcullis-probe\r\nConnection: close\r\n\r\n"
        );
        app.write_all(question.as_bytes()).await.map_err(failed)?;
        // `HTTP/1.1 200`
        let mut status = [0; 12];
        app.read_exact(&mut status).await.map_err(failed)?;
        match status {
            [
                b'H',
                b'T',
                b'T',
                b'P',
                b'/',
                b'1',
                b'.',
                _,
                b' ',
                b'2' | b'3',
                _,
                _,
            ] => Ok(()),
            other => Err(format!(
                "`{path}` answers `{}`",
                String::from_utf8_lossy(&other).escape_debug()
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn app(answer: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = [0; 1024];
                drop(stream.read(&mut head).await);
                drop(stream.write_all(answer).await);
            }
        });
        address
    }

    #[tokio::test]
    async fn the_application_counts() {
        let good = app(b"HTTP/1.1 204 No Content\r\n\r\n").await;
        let bad = app(b"HTTP/1.1 500 Oops\r\n\r\n").await;
        let path = Some("/health".to_owned());
        let ask = |address, path| async move { App { address, path }.ask().await };
        assert_eq!(ask(None, None).await, Ok(()));
        assert_eq!(ask(Some(bad), None).await, Ok(()));
        assert_eq!(ask(Some(good), path.clone()).await, Ok(()));
        assert!(ask(Some(bad), path).await.unwrap_err().contains("500"));
        let nobody = TcpListener::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap();
        assert!(ask(Some(nobody), None).await.is_err());
    }
}
