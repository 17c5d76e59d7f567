//! TLS to servers outside of the mesh, compiled from `tls` of the modes SIMPLE and MUTUAL.

use std::sync::Arc;

use crate::document::{ClientTls, DestinationTls, Spanned};

/// What a connection to a server outside of the mesh proves and demands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TlsSettings {
    /// `sni`: the name that is asked for; that of the request if not given.
    pub sni: Option<Arc<str>>,
    /// `subjectAltNames`: one of them has to be in the certificate; the name that is asked for if there are none.
    pub subject_alt_names: Arc<[Arc<str>]>,
    /// `caCertificates`: a file, whose authorities are trusted instead of the system's.
    pub ca_certificates: Option<Arc<str>>,
    /// `caCrl`: a file with revoked certificates.
    pub ca_crl: Option<Arc<str>>,
    /// What the client proves.
    pub client: ClientCredential,
    /// Whether the server's certificate is looked at.
    pub verification: Verification,
}

/// What the client proves who it is with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ClientCredential {
    /// Nothing: SIMPLE.
    None,
    /// MUTUAL: a chain and its key in PEM files.
    Files {
        /// `clientCertificate`.
        certificate: Arc<str>,
        /// `privateKey`.
        key: Arc<str>,
    },
    /// `credentialName`: a directory of the gateway's credentials; it may bring authorities too. With SIMPLE only these
    /// are used.
    Named {
        /// `credentialName`.
        name: Arc<str>,
        /// Whether certificate and key are presented: MUTUAL.
        presented: bool,
    },
}

/// Whether the server's certificate is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verification {
    /// Chain, time, revocation and name.
    Full,
    /// `insecureSkipVerify: true`: anybody may answer.
    Skipped,
}

impl TlsSettings {
    /// The settings of a document; none for the modes that are not of TLS to servers outside of the mesh. `names` stand in
    /// for subject alternative names that the document does not give (`subjectAltNames` of the ServiceEntry).
    pub(crate) fn new(
        document: &Spanned<ClientTls>,
        names: &[Spanned<String>],
    ) -> Option<Spanned<Arc<Self>>> {
        let tls = &document.value;
        let mutual = match tls.mode {
            DestinationTls::Simple => false,
            DestinationTls::Mutual => true,
            DestinationTls::Disable | DestinationTls::IstioMutual => return None,
        };
        let text = |text: &Option<Box<str>>| text.as_deref().map(Arc::from);
        let files = text(&tls.client_certificate).zip(text(&tls.private_key));
        let client = match (text(&tls.credential_name), files) {
            (Some(name), _) => ClientCredential::Named {
                name,
                presented: mutual,
            },
            (None, Some((certificate, key))) if mutual => {
                ClientCredential::Files { certificate, key }
            }
            (None, _) => ClientCredential::None,
        };
        let own = &tls.subject_alt_names;
        let names = if own.is_empty() { names } else { own };
        let settings = Self {
            sni: text(&tls.sni),
            subject_alt_names: names.iter().map(|name| name.as_str().into()).collect(),
            ca_certificates: text(&tls.ca_certificates),
            ca_crl: text(&tls.ca_crl),
            client,
            verification: if tls.insecure_skip_verify {
                Verification::Skipped
            } else {
                Verification::Full
            },
        };
        let (at, path) = (document.at.clone(), document.path.clone());
        Some(Spanned::new(Arc::new(settings), at, path))
    }
}
