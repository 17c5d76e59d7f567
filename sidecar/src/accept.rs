//! Takes connections from a listener, bounded in number, until the process drains.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use runtime::lifecycle::Lifecycle;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// How long to wait when the process has no descriptor left.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// Accepts until the drain begins; the listener closes then. At the bound, new connections wait in the kernel's queue.
pub(crate) async fn accept<F, R>(
    listener: std::net::TcpListener,
    places: Arc<Semaphore>,
    life: Lifecycle,
    serve: F,
) -> std::io::Result<()>
where
    F: Fn(TcpStream, SocketAddr) -> R,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::from_std(listener)?;
    let draining = life.drain_begun();
    tokio::pin!(draining);
    loop {
        let next = async {
            // The semaphore is never closed.
            let place = Arc::clone(&places).acquire_owned().await.ok();
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            biased;
            () = &mut draining => return Ok(()),
            next = next => next,
        };
        match accepted {
            Ok((stream, remote)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%remote, %error, "connection gone at once");
                    continue;
                }
                let open = life.enter();
                let served = serve(stream, remote);
                tokio::spawn(async move {
                    served.await;
                    drop((open, place));
                });
            }
            Err(error) => {
                tracing::warn!(%error, "connection not accepted");
                tokio::time::sleep(EXHAUSTED).await;
            }
        }
    }
}
