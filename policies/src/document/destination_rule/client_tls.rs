//! Istio's `ClientTLSSettings`: TLS to the endpoints of a service.

use crate::decode::{Cursor, Decode, Fields, NonEmpty};
use crate::diagnostic::{Diagnostic, codes};
use crate::document::Spanned;

/// Istio's `ClientTLSSettings`.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientTls {
    /// `mode`; Istio's default is DISABLE, here it has to be written.
    pub mode: DestinationTls,
    /// `clientCertificate`: a file; MUTUAL only.
    pub client_certificate: Option<Box<str>>,
    /// `privateKey`: a file; MUTUAL only.
    pub private_key: Option<Box<str>>,
    /// `caCertificates`: a file; the system's roots if not given.
    pub ca_certificates: Option<Box<str>>,
    /// `credentialName`: certificate, key and roots in one.
    pub credential_name: Option<Box<str>>,
    /// `subjectAltNames`: one of them must be in the server's certificate; the Host if not given. SPIFFE IDs under
    /// ISTIO_MUTUAL, where the endpoint's service account says who it is if not given.
    pub subject_alt_names: Vec<Spanned<String>>,
    /// `sni`; the Host if not given.
    pub sni: Option<Box<str>>,
    /// `insecureSkipVerify`; `false` if not given.
    pub insecure_skip_verify: bool,
    /// `caCrl`: a file with revoked certificates.
    pub ca_crl: Option<Box<str>>,
}

/// `tls.mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DestinationTls {
    /// `DISABLE`: plaintext.
    Disable,
    /// `SIMPLE`: TLS without a certificate of ours.
    Simple,
    /// `MUTUAL`: TLS with a certificate from files or a credential.
    Mutual,
    /// `ISTIO_MUTUAL`: mTLS with the workload's own identity.
    IstioMutual,
}

/// Which certificates and roots; an unencrypted or a mesh connection has no say in them.
const FILES: &[&str] = &[
    "clientCertificate",
    "privateKey",
    "caCertificates",
    "credentialName",
    "insecureSkipVerify",
    "caCrl",
];
/// What the server is asked for and must prove.
const EXPECTATIONS: &[&str] = &["subjectAltNames", "sni"];

impl Decode for DestinationTls {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.one_of(&[
            ("DISABLE", Self::Disable),
            ("ISTIO_MUTUAL", Self::IstioMutual),
            ("SIMPLE", Self::Simple),
            ("MUTUAL", Self::Mutual),
        ])
    }
}

impl Decode for ClientTls {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            // Istio's default of a present block is DISABLE, which nobody means by writing it.
            let mode = f.required::<Spanned<DestinationTls>>("mode");
            let text = |f: &mut Fields<'_>, name| {
                let NonEmpty(text) = f.optional(name)?;
                Some(text.into_boxed_str())
            };
            let client_certificate = file(f, "clientCertificate");
            let private_key = file(f, "privateKey");
            let ca_certificates = file(f, "caCertificates");
            let credential_name = text(f, "credentialName");
            let subject_alt_names = f.list::<Spanned<NonEmpty>>("subjectAltNames");
            let sni = text(f, "sni");
            let insecure_skip_verify = f.or_default("insecureSkipVerify");
            let ca_crl = file(f, "caCrl");
            let mode = mode?;
            check_mode(f, &mode, insecure_skip_verify, &subject_alt_names);
            Some(Self {
                mode: mode.value,
                client_certificate,
                private_key,
                ca_certificates,
                credential_name,
                subject_alt_names: subject_alt_names
                    .into_iter()
                    .map(|name| name.map(|NonEmpty(name)| name))
                    .collect(),
                sni,
                insecure_skip_verify,
                ca_crl,
            })
        })
    }
}

/// A path that does not depend on where a proxy was started.
fn file(f: &mut Fields<'_>, name: &'static str) -> Option<Box<str>> {
    let cursor = f.get(name)?;
    match cursor.text()? {
        path if path.starts_with('/') => Some(path.into()),
        _ => cursor.invalid("the absolute path of a file, as `/etc/portcullis/ca.pem`"),
    }
}

/// Whether the fields go with the mode.
fn check_mode(
    f: &Fields<'_>,
    mode: &Spanned<DestinationTls>,
    insecure: bool,
    names: &[Spanned<NonEmpty>],
) {
    let present = |fields: &'static [&'static str]| fields.iter().filter(|field| f.has(field));
    let name = match mode.value {
        DestinationTls::Disable => "DISABLE",
        DestinationTls::IstioMutual => "ISTIO_MUTUAL",
        DestinationTls::Simple => "SIMPLE",
        DestinationTls::Mutual => "MUTUAL",
    };
    match mode.value {
        DestinationTls::Disable => {
            for field in present(FILES).chain(present(EXPECTATIONS)) {
                let message = format!("`{field}` has no meaning with the mode {name}");
                f.error_at(field, codes::FIELD_OUT_OF_PLACE, message, None);
            }
        }
        DestinationTls::IstioMutual => {
            for field in present(FILES) {
                let message = format!(
                    "`{field}` has no meaning with the mode {name}: the workload's own certificate and the mesh's trust bundle are used"
                );
                f.error_at(field, codes::FIELD_OUT_OF_PLACE, message, None);
            }
            for name in names.iter().filter(|name| !name.0.starts_with("spiffe://")) {
                let message = format!(
                    "`{}` is not a SPIFFE ID, and the mesh's endpoints have no other names",
                    name.0
                );
                let help = "write `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`, or leave it out: endpoints prove their `serviceAccount`";
                let at = name.at.clone();
                let diagnostic = Diagnostic::error(codes::INVALID_VALUE, at, &name.path, message);
                f.report(diagnostic.with_help(help));
            }
        }
        DestinationTls::Simple | DestinationTls::Mutual => {
            if mode.value == DestinationTls::Simple {
                for field in present(&["clientCertificate", "privateKey"]) {
                    let message = format!(
                        "`{field}` has no meaning with the mode {name}, in which the client proves nothing"
                    );
                    let help = Some("set `mode: MUTUAL`");
                    f.error_at(field, codes::FIELD_OUT_OF_PLACE, message, help);
                }
            }
            if insecure {
                let message = "anybody may answer: neither the server's certificate nor its name is looked at";
                let help = "name the authority with `caCertificates`";
                let code = codes::UNVERIFIED_SERVER;
                f.warn_at("insecureSkipVerify", code, message, Some(help));
            }
            check_completeness(f, mode.value, insecure);
        }
    }
}

/// Istio's own rules for SIMPLE and MUTUAL.
fn check_completeness(f: &Fields<'_>, mode: DestinationTls, insecure: bool) {
    if insecure {
        for field in ["caCertificates", "subjectAltNames", "credentialName"] {
            // A credential also has the client's certificate, which MUTUAL needs.
            let allowed = field == "credentialName" && mode == DestinationTls::Mutual;
            if f.has(field) && !allowed {
                f.exclusive(&[field, "insecureSkipVerify"]);
            }
        }
    }
    if f.has("credentialName") {
        for field in ["clientCertificate", "privateKey", "caCertificates", "caCrl"] {
            f.exclusive(&["credentialName", field]);
        }
    } else if mode == DestinationTls::Mutual {
        for field in ["clientCertificate", "privateKey"] {
            if !f.has(field) {
                let message = format!("the mode MUTUAL needs `{field}` or `credentialName`");
                f.error_at(field, codes::MISSING_FIELD, message, None);
            }
        }
    }
}
