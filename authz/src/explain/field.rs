//! One field of a rule beside what the request has there.

use std::fmt;

use policies::{
    raw::{REDACTED, is_secret_name},
    source::Location,
};

use crate::{
    claims::Claims,
    decision::Action,
    facts::{Facts, HttpFacts},
    field::{Check, HttpSubject, Subject, Wants, Written},
};

/// One field of a rule: what it wanted and what it found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldExplained {
    /// The field as it is written: `principals`, `notPaths`, or a condition's key, `request.headers[x-role]`.
    pub field: String,
    /// Where its first value stands.
    pub at: Location,
    /// Its values, as they are written.
    pub wanted: Vec<String>,
    /// Whether the values are those that must not be there: `notPaths`, `notValues`.
    pub refuses: bool,
    /// What the request has.
    pub found: Found,
    /// Whether the field lets the rule match.
    pub holds: bool,
}

/// What a request has where a field looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// One text, as it was sent.
    Text(String),
    /// Several: the values of a repeated header, the elements of a claim.
    Texts(Vec<String>),
    /// A credential, by the name of the header or claim: it is judged and never shown.
    Withheld,
    /// Nothing.
    Absent(Absence),
}

impl Found {
    /// The same without what it says.
    fn withheld(self) -> Self {
        match self {
            Self::Text(_) | Self::Texts(_) | Self::Withheld => Self::Withheld,
            Self::Absent(why) => Self::Absent(why),
        }
    }
}

/// Why there is nothing to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absence {
    /// No mutual TLS: nobody proved an identity.
    Identity,
    /// The identity has no part of this kind, such as a namespace.
    IdentityPart,
    /// The TLS handshake named no server, or there was none.
    ServerName,
    /// The request has no such header.
    Header,
    /// The request brought no verified token.
    Token,
    /// The token has no such claim, or none that is a text or a list of texts.
    Claim,
    /// Opaque TCP has no requests.
    Http,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "`{text}`"),
            Self::Texts(texts) => f.write_str(&listed(texts)),
            Self::Withheld => f.write_str("a value that is not shown"),
            Self::Absent(absence) => f.write_str(absence.as_str()),
        }
    }
}

impl Absence {
    /// In words, as in `principals is …`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "no proven identity (no mutual TLS)",
            Self::IdentityPart => "no such part of the caller's identity",
            Self::ServerName => "no server name",
            Self::Header => "no such header",
            Self::Token => "no verified token",
            Self::Claim => "no such claim of text",
            Self::Http => "opaque TCP, which has no requests",
        }
    }
}

/// `` `a`, `b` ``.
pub(super) fn listed(texts: &[String]) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| format!("`{text}`")).collect();
    quoted.join(", ")
}

impl fmt::Display for FieldExplained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            field,
            wanted,
            found,
            ..
        } = self;
        let wanted = listed(wanted);
        match (self.refuses, self.holds) {
            (false, true) => write!(f, "{field} is {found}"),
            (false, false) => write!(f, "{field} is {found}, not {wanted}"),
            (true, true) => write!(f, "{field} refuses {wanted}, which {found} is not"),
            (true, false) => write!(f, "{field} refuses {found}, by {wanted}"),
        }
    }
}

/// Whether a field holds in a rule of this action, with what it saw.
pub(super) fn explain_field(check: &Check, facts: &Facts<'_>, action: Action) -> FieldExplained {
    let Written { field, at, values } = &*check.written;
    // On TCP an ALLOW rule falls with any of its HTTP fields (Istio); elsewhere only the field falls away.
    let falls = facts.http.is_none() && check.is_http_only() && action == Action::Allow;
    FieldExplained {
        field: field.to_string(),
        at: at.clone(),
        wanted: if is_secret(field) {
            vec![REDACTED.to_owned()]
        } else {
            values.iter().map(ToString::to_string).collect()
        },
        refuses: check.wants == Wants::NoMatch,
        found: if is_secret(field) {
            found(check, facts).withheld()
        } else {
            found(check, facts)
        },
        holds: !falls && check.holds(facts, action),
    }
}

/// Whether a condition is on a header or claim whose values are credentials: they are judged and never shown.
fn is_secret(field: &str) -> bool {
    let mut names = field.split(['[', ']']).skip(1);
    names.any(is_secret_name)
}

fn found(check: &Check, facts: &Facts<'_>) -> Found {
    let text = |text: &str| Found::Text(text.to_owned());
    match &check.subject {
        Subject::Identity(_) => identity(&check.written.field, facts),
        Subject::SourceIp(_) => Found::Text(facts.source_ip.to_string()),
        Subject::RemoteIp(_) => Found::Text(facts.remote_ip.to_string()),
        Subject::DestinationIp(_) => Found::Text(facts.destination_ip.to_string()),
        Subject::DestinationPort(_) => Found::Text(facts.destination_port.to_string()),
        Subject::Sni(_) => facts.sni.map_or(Found::Absent(Absence::ServerName), text),
        Subject::Http(subject) => facts
            .http
            .as_ref()
            .map_or(Found::Absent(Absence::Http), |http| of_http(subject, http)),
    }
}

/// The part of the peer's identity that a field looks at.
fn identity(field: &str, facts: &Facts<'_>) -> Found {
    let Some(peer) = facts.peer else {
        return Found::Absent(Absence::Identity);
    };
    let part = match field {
        "namespaces" | "notNamespaces" | "source.namespace" => peer.namespace().map(str::to_owned),
        "serviceAccounts" | "notServiceAccounts" | "source.serviceAccount" => peer
            .namespace()
            .zip(peer.service_account())
            .map(|(namespace, account)| format!("{namespace}/{account}")),
        "trustDomains" | "notTrustDomains" | "source.trustDomain" => {
            Some(peer.trust_domain().to_owned())
        }
        _ => Some(peer.principal().to_owned()),
    };
    part.map_or(Found::Absent(Absence::IdentityPart), Found::Text)
}

fn of_http(subject: &HttpSubject, http: &HttpFacts<'_>) -> Found {
    let text = |text: &str| Found::Text(text.to_owned());
    match subject {
        HttpSubject::Host(_) | HttpSubject::Authority(_) => text(http.host),
        HttpSubject::Method(_) => text(http.method),
        HttpSubject::Path(_) => text(http.path),
        HttpSubject::Header(name, _) => header(http, name),
        HttpSubject::RequestPrincipal(_) => match http.claims {
            None => Found::Absent(Absence::Token),
            Some(claims) => match (claims.issuer(), claims.subject()) {
                (Some(issuer), Some(subject)) => Found::Text(format!("{issuer}/{subject}")),
                _ => Found::Absent(Absence::Claim),
            },
        },
        HttpSubject::Claim(path, _) => match http.claims {
            None => Found::Absent(Absence::Token),
            Some(claims) => claim(claims, path),
        },
    }
}

/// The texts of a claim: only they are compared.
fn claim(claims: &Claims, path: &[Box<str>]) -> Found {
    let mut texts = Vec::new();
    claims.any(path.iter().map(|name| &**name), |text| {
        texts.push(text.to_owned());
        false
    });
    one_or_more(texts, Absence::Claim)
}

fn header(http: &HttpFacts<'_>, name: &http::HeaderName) -> Found {
    let texts = http
        .headers
        .get_all(name)
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    one_or_more(texts.collect(), Absence::Header)
}

/// What a list of texts is.
fn one_or_more(mut texts: Vec<String>, none: Absence) -> Found {
    match (texts.pop(), texts.is_empty()) {
        (None, _) => Found::Absent(none),
        (Some(only), true) => Found::Text(only),
        (Some(last), false) => {
            texts.push(last);
            Found::Texts(texts)
        }
    }
}
