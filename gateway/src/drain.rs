//! The end of a process: what is under way finishes, nothing new begins.

use pingora::server::ShutdownWatch;

/// Waits until the process begins to drain.
pub(crate) async fn begins(draining: &ShutdownWatch) {
    let mut draining = draining.clone();
    // An error means that nobody is left who could ask for it: then it never begins.
    if draining.wait_for(|draining| *draining).await.is_err() {
        std::future::pending::<()>().await;
    }
}
