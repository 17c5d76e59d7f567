//! The front door: HTTP and HTTPS listeners on Pingora's server core.

pub mod command;

mod accept;
mod connection;
mod credentials;
mod detect;
mod drain;
mod h1;
mod h2;
mod pace;
mod relay;
mod request_head;
mod response;
mod session_body;
mod stream;
mod tls;
mod tunnel;
mod stub {
    #[derive(Debug, Clone, Default)]
    pub struct ConnectionCount(std::sync::Arc<()>);
    impl ConnectionCount {
        pub fn enter(&self) -> Self {
            self.clone()
        }
    }
}
