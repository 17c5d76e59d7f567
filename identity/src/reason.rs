//! An error and its causes on one line, also where TLS libraries hide the cause.

use std::{error::Error, io};

use rustls::{CertificateError, OtherError};

/// Writes an error and its causes, separated by colons. What a verifier of ours said is found inside the errors of
/// rustls and of the sockets above it, which would show it in its debug form only.
pub fn reason(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(inner) = inside_io(error) {
            next = Some(inner);
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        if let Some(inner) = inside_rustls(error) {
            text.push_str("invalid peer certificate");
            next = Some(inner);
        } else {
            text.push_str(&error.to_string());
            next = error.source();
        }
    }
    text
}

fn inside_io<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    let inner = error.downcast_ref::<io::Error>()?.get_ref()?;
    Some(inner)
}

fn inside_rustls<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    if let rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) =
        error.downcast_ref()?
    {
        Some(inner.as_ref())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{id::TrustDomain, verify::VerifyError};

    #[test]
    fn our_words_come_through_rustls_and_sockets() {
        let ours = VerifyError::TrustDomain {
            found: "evil".to_owned(),
            expected: TrustDomain::parse("td").unwrap(),
        };
        let by_socket = io::Error::other(rustls::Error::from(ours));
        assert_eq!(
            reason(&by_socket),
            "invalid peer certificate: the identity is of trust domain `evil`, the bundle is of `td`"
        );
        let plain = VerifyError::Path(CertificateError::Expired.into());
        assert_eq!(
            reason(&plain),
            "the chain does not verify against the trust bundle: invalid peer certificate: Expired"
        );
        assert_eq!(
            reason(&io::Error::from(io::ErrorKind::TimedOut)),
            "timed out"
        );
    }
}
