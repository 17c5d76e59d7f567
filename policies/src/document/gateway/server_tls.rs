//! Istio's `ServerTLSSettings`: the TLS of a gateway's server.

use crate::decode::{Cursor, Decode, Fields, NonEmpty, is_host_name};
use crate::diagnostic::codes;
use crate::document::Spanned;
use crate::source::Location;

/// Istio's `ServerTLSSettings`.
#[derive(Clone, Debug)]
pub struct ServerTls {
    /// Where it stands.
    pub at: Location,
    /// `mode`; none in a block that only redirects. In force: SIMPLE and PASSTHROUGH.
    pub mode: Option<ServerTlsMode>,
    /// `credentialName`: the directory of the certificate among the gateway's credentials.
    pub credential_name: Option<Spanned<String>>,
    /// `httpsRedirect`: 301 to https for all hosts of the server; `false` if not given.
    pub https_redirect: bool,
    /// `minProtocolVersion`; TLS 1.2 if not given.
    pub min_version: TlsVersion,
    /// `maxProtocolVersion`; the newest if not given. In force: TLS 1.3.
    pub max_version: Option<TlsVersion>,
    /// What is not in force, if any of it is given.
    pub other: Option<Box<OtherServerTls>>,
}

/// The fields of `ServerTLSSettings` that are not in force.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OtherServerTls {
    /// `credentialNames`: one certificate for each kind of key, at most two.
    pub credential_names: Vec<String>,
    /// `serverCertificate`, `privateKey` and `caCertificates`: files.
    pub files: ServerCertificate,
    /// `tlsCertificates`: the same for each kind of key, at most two.
    pub certificates: Vec<ServerCertificate>,
    /// `caCertCredentialName`: where the roots for clients come from.
    pub ca_cert_credential_name: Option<String>,
    /// `caCrl`: a file with revoked certificates of clients.
    pub ca_crl: Option<String>,
    /// `subjectAltNames`: one of them must be in a client's certificate.
    pub subject_alt_names: Vec<String>,
    /// `verifyCertificateSpki`: SHA-256 of keys of clients, in base64.
    pub verify_certificate_spki: Vec<String>,
    /// `verifyCertificateHash`: SHA-256 of certificates of clients, in hexadecimal digits.
    pub verify_certificate_hash: Vec<String>,
    /// `cipherSuites`, in OpenSSL's names.
    pub cipher_suites: Vec<String>,
}

/// Istio's `TLSCertificate`: files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerCertificate {
    /// `serverCertificate`.
    pub certificate: Option<String>,
    /// `privateKey`.
    pub private_key: Option<String>,
    /// `caCertificates`.
    pub ca_certificates: Option<String>,
}

/// `tls.mode`; all but SIMPLE and PASSTHROUGH are refused at load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerTlsMode {
    /// `SIMPLE`: the server shows a certificate, the client does not.
    Simple,
    /// `MUTUAL`: clients must show a certificate.
    Mutual,
    /// `OPTIONAL_MUTUAL`: clients may show a certificate, which must be good then.
    OptionalMutual,
    /// `ISTIO_MUTUAL`: mTLS with the mesh's identities.
    IstioMutual,
    /// `PASSTHROUGH`: TLS goes on to the endpoint, routed by SNI.
    Passthrough,
    /// `AUTO_PASSTHROUGH`: the same, the SNI names the endpoint.
    AutoPassthrough,
}

/// `minProtocolVersion`; older versions are refused at load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// `TLSV1_2`, also the default.
    #[default]
    V1_2,
    /// `TLSV1_3`.
    V1_3,
}

impl ServerTls {
    /// Whether any field says which certificate is shown.
    pub(super) fn has_certificate(&self) -> bool {
        self.credential_name.is_some()
            || self.other.as_ref().is_some_and(|other| {
                !other.credential_names.is_empty()
                    || other.files != ServerCertificate::default()
                    || !other.certificates.is_empty()
            })
    }
}

impl Decode for ServerTls {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let https_redirect: bool = f.or_default("httpsRedirect");
            let mode = f.optional::<ServerTlsMode>("mode");
            let credential_name = f
                .optional::<Spanned<Credential>>("credentialName")
                .map(|name| name.map(|Credential(name)| name));
            let min_version = f.optional::<MinVersion>("minProtocolVersion");
            let max_version = f.optional::<MaxVersion>("maxProtocolVersion");
            let other = other(f);
            let tls = Self {
                at: f.cursor().at(),
                mode,
                credential_name,
                https_redirect,
                min_version: min_version.map_or_else(TlsVersion::default, |MinVersion(it)| it),
                max_version: max_version.and_then(|MaxVersion(it)| it),
                other: (other != OtherServerTls::default()).then(|| Box::new(other)),
            };
            check(f, &tls);
            Some(tls)
        })
    }
}

fn other(f: &mut Fields<'_>) -> OtherServerTls {
    const SOURCE: (crate::diagnostic::Code, &str) = (
        codes::CERTIFICATE_SOURCE_NOT_IN_FORCE,
        "certificates come from the directory that `credentialName` names",
    );
    const CLIENTS: (crate::diagnostic::Code, &str) = (
        codes::CLIENT_CERTIFICATE_NOT_IN_FORCE,
        "clients are not asked for certificates",
    );
    let one = |f: &mut Fields<'_>, name, (code, reason)| {
        f.refused_with(name, code, reason)
            .map(|NonEmpty(text)| text)
    };
    let many = |f: &mut Fields<'_>, name, (code, reason)| {
        f.refused_with(name, code, reason)
            .map_or_else(Vec::new, |Texts(texts)| texts)
    };
    OtherServerTls {
        credential_names: many(f, "credentialNames", SOURCE),
        files: ServerCertificate {
            certificate: one(f, "serverCertificate", SOURCE),
            private_key: one(f, "privateKey", SOURCE),
            ca_certificates: one(f, "caCertificates", CLIENTS),
        },
        certificates: f
            .refused_with("tlsCertificates", SOURCE.0, SOURCE.1)
            .map_or_else(Vec::new, |Certificates(certificates)| certificates),
        ca_cert_credential_name: one(f, "caCertCredentialName", CLIENTS),
        ca_crl: one(f, "caCrl", CLIENTS),
        subject_alt_names: many(f, "subjectAltNames", CLIENTS),
        verify_certificate_spki: many(f, "verifyCertificateSpki", CLIENTS),
        verify_certificate_hash: many(f, "verifyCertificateHash", CLIENTS),
        cipher_suites: many(
            f,
            "cipherSuites",
            (
                codes::TLS_PARAMETERS_NOT_IN_FORCE,
                "the suites are fixed: AEAD with forward secrecy only",
            ),
        ),
    }
}

/// Istio's own rules; what is not in force has been refused before.
fn check(f: &Fields<'_>, tls: &ServerTls) {
    const SOURCES: &[&str] = &[
        "credentialName",
        "credentialNames",
        "serverCertificate",
        "tlsCertificates",
    ];
    use ServerTlsMode::{
        AutoPassthrough, IstioMutual, Mutual, OptionalMutual, Passthrough, Simple,
    };
    let Some(mode) = tls.mode else {
        // A block that only redirects needs no mode; Istio would read any other as PASSTHROUGH.
        if !f.has("mode") && (!tls.https_redirect || tls.has_certificate()) {
            let message = "`mode` is missing, which Istio reads as PASSTHROUGH";
            f.error_at(
                "mode",
                codes::MISSING_FIELD,
                message,
                Some("add `mode: SIMPLE`"),
            );
        }
        return;
    };
    match mode {
        IstioMutual | Passthrough | AutoPassthrough => {
            let name = match mode {
                IstioMutual => "ISTIO_MUTUAL",
                Passthrough => "PASSTHROUGH",
                _ => "AUTO_PASSTHROUGH",
            };
            for field in SOURCES
                .iter()
                .chain(&["privateKey", "caCertificates", "caCrl"])
            {
                if f.has(field) {
                    let message = format!("`{field}` has no meaning with the mode {name}");
                    f.error_at(field, codes::FIELD_OUT_OF_PLACE, message, None);
                }
            }
        }
        Simple | Mutual | OptionalMutual => {
            f.exclusive(SOURCES);
            let stored = f.has("credentialName") || f.has("credentialNames");
            if mode != Simple && !stored && !f.has("caCertificates") {
                let message = "a mode with certificates of clients needs `caCertificates` or `credentialName`";
                f.error_at("caCertificates", codes::MISSING_FIELD, message, None);
            }
            if mode == Simple && f.has("caCrl") {
                let message = "`caCrl` has no meaning with the mode SIMPLE";
                f.error_at("caCrl", codes::FIELD_OUT_OF_PLACE, message, None);
            }
            f.exclusive(&["caCrl", "credentialName"]);
            if f.has("serverCertificate") != f.has("privateKey") && !stored {
                let message = "`serverCertificate` and `privateKey` belong together";
                f.error_at("serverCertificate", codes::MISSING_FIELD, message, None);
            }
            if !stored && !f.has("serverCertificate") && !f.has("tlsCertificates") {
                let message = format!("`{}.credentialName` is missing", f.cursor().path);
                let help =
                    "name the directory of `tls.crt` and `tls.key` among the gateway's credentials";
                f.error_at("credentialName", codes::MISSING_FIELD, message, Some(help));
            }
        }
    }
}

/// It names a directory, so it must not lead out of the credentials.
struct Credential(String);

impl Decode for Credential {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        let text = cursor.text()?;
        if is_host_name(text) {
            return Some(Self(text.to_owned()));
        }
        cursor.invalid_with(
            "a credential name",
            Some("use letters, digits, `-` and `.`".to_owned()),
        )
    }
}

struct Texts(Vec<String>);

impl Decode for Texts {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        let items = cursor.items()?;
        let texts = items.iter().filter_map(NonEmpty::decode);
        Some(Self(texts.map(|NonEmpty(text)| text).collect()))
    }
}

struct Certificates(Vec<ServerCertificate>);

impl Decode for Certificates {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        let items = cursor.items()?;
        if items.len() > 2 {
            let message = "at most two certificates: one for each kind of key";
            cursor.error(codes::INVALID_LENGTH, message, None);
        }
        Some(Self(items.iter().filter_map(Decode::decode).collect()))
    }
}

impl Decode for ServerCertificate {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let certificate = f.required::<NonEmpty>("serverCertificate");
            let key = f.required::<NonEmpty>("privateKey");
            let roots = f.optional::<NonEmpty>("caCertificates");
            Some(Self {
                certificate: certificate.map(|NonEmpty(file)| file),
                private_key: key.map(|NonEmpty(file)| file),
                ca_certificates: roots.map(|NonEmpty(file)| file),
            })
        })
    }
}

impl Decode for ServerTlsMode {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        let mode = cursor.one_of(&[
            ("SIMPLE", Self::Simple),
            ("MUTUAL", Self::Mutual),
            ("OPTIONAL_MUTUAL", Self::OptionalMutual),
            ("ISTIO_MUTUAL", Self::IstioMutual),
            ("PASSTHROUGH", Self::Passthrough),
            ("AUTO_PASSTHROUGH", Self::AutoPassthrough),
        ])?;
        if !matches!(mode, Self::Simple | Self::Passthrough) {
            let name = cursor.text().unwrap_or_default();
            let message =
                format!("the mode {name} is not in force, and a security field is never ignored");
            let help = Some("in force are SIMPLE and PASSTHROUGH".to_owned());
            cursor.error(codes::SERVER_TLS_NOT_IN_FORCE, message, help);
        }
        Some(mode)
    }
}

/// What Istio calls the versions; the broken ones have none here.
const VERSIONS: &[(&str, Option<TlsVersion>)] = &[
    ("TLS_AUTO", Some(TlsVersion::V1_2)),
    ("TLSV1_0", None),
    ("TLSV1_1", None),
    ("TLSV1_2", Some(TlsVersion::V1_2)),
    ("TLSV1_3", Some(TlsVersion::V1_3)),
];

struct MinVersion(TlsVersion);

impl Decode for MinVersion {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        let version = cursor.one_of(VERSIONS)?;
        if version.is_none() {
            let name = cursor.text().unwrap_or_default();
            let message = format!("{name} is broken and not spoken");
            let help = Some("write TLSV1_2 or TLSV1_3".to_owned());
            cursor.error(codes::TLS_PARAMETERS_NOT_IN_FORCE, message, help);
        }
        version.map(Self)
    }
}

/// None is the newest.
struct MaxVersion(Option<TlsVersion>);

impl Decode for MaxVersion {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        let version = cursor.one_of(VERSIONS)?;
        if cursor.text() == Some("TLS_AUTO") {
            return Some(Self(None));
        }
        if version != Some(TlsVersion::V1_3) {
            let message = "`maxProtocolVersion` is not in force below TLSV1_3";
            cursor.error(codes::TLS_PARAMETERS_NOT_IN_FORCE, message, None);
        }
        Some(Self(version))
    }
}
