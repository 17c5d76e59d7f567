//! Registration entries: who may have which identity.

/// The RegistrationEntry document that gives an identity to whoever has a join token of that name.
pub(crate) fn entry(name: &str, namespace: &str, spiffe_id: &str) -> String {
    format!(
        "apiVersion: portcullis.dev/v1\n\
         kind: RegistrationEntry\n\
         metadata: {{name: {name}, namespace: {namespace}}}\n\
         spec:\n\
         \x20 spiffeID: {spiffe_id}\n\
         \x20 selectors: [\"join_token:{name}\"]\n\
         \x20 x509SVIDTTL: 1h\n"
    )
}

/// A document with a first line that says where it comes from.
pub(crate) fn file(origin: &str, document: &str) -> String {
    format!("# {origin}; edits are lost.\n{document}")
}
