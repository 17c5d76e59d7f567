//! Servers whose bytes are passed on: TCP, TLS that ends here, TLS that goes on.
