//! The front door: HTTP and HTTPS listeners on Pingora's server core.
