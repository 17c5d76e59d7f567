//! Who may: AuthorizationPolicy and PeerAuthentication, compiled and decided.
