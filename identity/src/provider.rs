//! The one cryptography provider and the one set of protocol versions of every TLS configuration made here.

use std::sync::{Arc, LazyLock};

use rustls::{
    SupportedProtocolVersion,
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs},
    version::{TLS12, TLS13},
};

/// TLS 1.3 first, TLS 1.2 for peers that need it.
pub(crate) static VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));

/// aws-lc-rs with the post-quantum hybrid key exchange preferred, whatever the process has installed.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::clone(&PROVIDER)
}

/// The signature algorithms that certificates and handshakes may use.
pub(crate) fn signature_algorithms() -> WebPkiSupportedAlgorithms {
    PROVIDER.signature_verification_algorithms
}
