//! Names and secrets that strangers send: SPIFFE IDs, join tokens, trust bundles.

use identity::bundle::TrustBundle;
use identity::join_token::JoinToken;
use identity::{SpiffeId, TrustDomain};

/// What is read as a SPIFFE ID is written the same, and has the specification's characters only.
pub fn spiffe_id(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        assert_eq!(
            SpiffeId::parse(text).is_ok(),
            SpiffeId::from_bytes(bytes).is_ok(),
            "two readers disagree on {text:?}"
        );
        if let Ok(domain) = TrustDomain::parse(text) {
            assert_eq!(domain.as_str(), text);
            assert!(
                SpiffeId::parse(&format!("spiffe://{text}")).is_ok(),
                "{text:?}"
            );
        }
        if let Some((namespace, account)) = text.split_once(' ')
            && let Ok(id) = SpiffeId::for_workload(
                &TrustDomain::parse("cluster.local").expect("a name"),
                namespace,
                account,
            )
        {
            assert_eq!(id.namespace(), Some(namespace));
            assert_eq!(id.service_account(), Some(account));
            assert_eq!(SpiffeId::parse(id.as_str()).ok(), Some(id));
        }
    }
    let Ok(id) = SpiffeId::from_bytes(bytes) else {
        return;
    };
    assert_eq!(id.as_str().as_bytes(), bytes);
    assert!(bytes.len() <= 2048);
    assert!(
        bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b":/.-_".contains(b)),
        "{id}"
    );
    assert!(!id.trust_domain().is_empty() && !id.trust_domain().contains('/'));
    assert!(id.path().is_empty() || id.path().starts_with('/'));
    for segment in id.path().split('/').skip(1) {
        assert!(!matches!(segment, "" | "." | ".."), "{id}");
    }
    assert_eq!(id.namespace().is_some(), id.service_account().is_some());
}

/// What is read as a join token is written the same.
pub fn join_token(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(token) = JoinToken::parse(&text) {
        let written = token.expose();
        assert_eq!(*written, text.trim());
        assert!(JoinToken::parse(&written).is_ok());
    }
}

/// What is read as a trust bundle is written as something that is read the same.
pub fn trust_bundle(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let domain = || TrustDomain::parse("cluster.local").expect("a name");
    if let Ok(bundle) = TrustBundle::from_pem(domain(), 1, &text) {
        let again = TrustBundle::from_pem(domain(), 1, &bundle.to_pem()).expect("our own text");
        assert_eq!(again.hash(), bundle.hash());
    }
}
