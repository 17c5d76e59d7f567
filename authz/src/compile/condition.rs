//! `when[]`: conditions by key (Istio's list of constraints).

use http::HeaderName;
use policies::document::{Condition, Meta, Spanned};

use super::Compiler;
use crate::{
    codes,
    field::{Check, HttpSubject, Subject, Wants, Written},
};

/// What a key looks at.
enum Key {
    SourceIp,
    RemoteIp,
    SourceNamespace,
    SourceServiceAccount,
    SourcePrincipal,
    SourceTrustDomain,
    DestinationIp,
    DestinationPort,
    Sni,
    Header(HeaderName),
    Authority,
    Method,
    RequestPrincipal,
    Claim(Box<[Box<str>]>),
}

impl Compiler {
    /// The checks of one condition: `values` and `notValues` must both hold.
    pub(super) fn condition(&mut self, condition: &Condition, meta: &Meta) -> Vec<Check> {
        if condition.values.is_empty() && condition.not_values.is_empty() {
            let message = format!(
                "condition on `{}` has neither `values` nor `notValues`",
                condition.key.value
            );
            let help = "write the values, or remove the condition";
            self.error(
                codes::INVALID_VALUE,
                &condition.at,
                &condition.path,
                message,
                help,
            );
        }
        let Some(key) = self.key(&condition.key) else {
            return Vec::new();
        };
        [
            (Wants::Match, &condition.values),
            (Wants::NoMatch, &condition.not_values),
        ]
        .into_iter()
        .filter_map(|(wants, values)| {
            Some(Check {
                written: Written::new(&condition.key, values)?,
                subject: self.subject(&key, values, meta),
                wants,
            })
        })
        .collect()
    }

    fn subject(&mut self, key: &Key, values: &[Spanned<String>], meta: &Meta) -> Subject {
        match key {
            Key::SourceIp => Subject::SourceIp(self.ip_blocks(values)),
            Key::RemoteIp => Subject::RemoteIp(self.ip_blocks(values)),
            Key::SourceNamespace => Subject::Identity(Self::namespaces(values)),
            Key::SourceServiceAccount => Subject::Identity(self.service_accounts(values, meta)),
            Key::SourcePrincipal => Subject::Identity(self.principals(values)),
            Key::SourceTrustDomain => Subject::Identity(self.trust_domains(values)),
            Key::DestinationIp => Subject::DestinationIp(self.ip_blocks(values)),
            Key::DestinationPort => Subject::DestinationPort(self.ports(values)),
            Key::Sni => Subject::Sni(self.server_names(values)),
            Key::Header(name) => {
                Subject::Http(HttpSubject::Header(name.clone(), Self::patterns(values)))
            }
            Key::Authority => Subject::Http(HttpSubject::Authority(Self::patterns(values))),
            Key::Method => Subject::Http(HttpSubject::Method(Self::patterns(values))),
            Key::RequestPrincipal => Subject::Http(Self::request_principals(values)),
            Key::Claim(path) => {
                Subject::Http(HttpSubject::Claim(path.clone(), Self::patterns(values)))
            }
        }
    }

    fn ports(&mut self, values: &[Spanned<String>]) -> Box<[u16]> {
        let mut ports = Vec::with_capacity(values.len());
        for value in values {
            let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
            match value.parse::<u16>() {
                Ok(port) if digits && port > 0 => ports.push(port),
                _ => self.invalid(
                    value,
                    "a port between 1 and 65535",
                    "write one number per value",
                ),
            }
        }
        ports.into()
    }

    fn server_names(&mut self, values: &[Spanned<String>]) -> Box<[crate::matcher::Pattern]> {
        for value in values
            .iter()
            .filter(|value| value.contains(|letter: char| letter.is_ascii_uppercase()))
        {
            let message = format!(
                "server name `{}` never matches: TLS gives names in lower case",
                value.value
            );
            self.warning(
                codes::NEVER_MATCHES,
                &value.at,
                &value.path,
                message,
                "write it in lower case",
            );
        }
        Self::patterns(values)
    }

    fn key(&mut self, key: &Spanned<String>) -> Option<Key> {
        if let Some(name) = bracketed(key, "request.headers") {
            return self.header(key, name);
        }
        if let Some(names) = key.strip_prefix("request.auth.claims[") {
            return self.claim(key, names);
        }
        let known = match key.as_str() {
            "source.ip" => Key::SourceIp,
            "remote.ip" => Key::RemoteIp,
            "source.namespace" => Key::SourceNamespace,
            "source.serviceAccount" => Key::SourceServiceAccount,
            "source.principal" => Key::SourcePrincipal,
            "source.trustDomain" => Key::SourceTrustDomain,
            "destination.ip" => Key::DestinationIp,
            "destination.port" => Key::DestinationPort,
            "connection.sni" => Key::Sni,
            "request.auth.principal" => Key::RequestPrincipal,
            "request.auth.audiences" => Key::Claim(["aud".into()].into()),
            "request.auth.presenter" => Key::Claim(["azp".into()].into()),
            other => {
                self.refuse_key(key, other);
                return None;
            }
        };
        Some(known)
    }

    fn refuse_key(&mut self, key: &Spanned<String>, text: &str) {
        let (code, message, help) = if text.starts_with("experimental.") {
            (
                codes::CONDITION_NOT_IN_FORCE,
                format!(
                    "condition `{text}` reads Envoy's dynamic metadata, which does not exist here"
                ),
                "use request.headers[name], request.auth.claims[name] or another documented key",
            )
        } else {
            (
                codes::UNKNOWN_CONDITION,
                format!("`{text}` is not a condition key; keys are case sensitive"),
                "use request.headers[name], request.auth.principal, request.auth.audiences, request.auth.presenter, \
                 request.auth.claims[name], source.ip, remote.ip, source.namespace, source.serviceAccount, \
                 source.principal, source.trustDomain, destination.ip, destination.port or connection.sni",
            )
        };
        self.error(code, &key.at, &key.path, message, help);
    }

    fn claim(&mut self, key: &Spanned<String>, names: &str) -> Option<Key> {
        let Some(path) = nested(names) else {
            let message = format!("`{}` does not name a claim", key.value);
            let help = "write request.auth.claims[name], or request.auth.claims[outer][inner]";
            self.error(codes::INVALID_VALUE, &key.at, &key.path, message, help);
            return None;
        };
        Some(Key::Claim(path))
    }

    fn header(&mut self, key: &Spanned<String>, name: &str) -> Option<Key> {
        // HTTP/2 has these as pseudo headers and HTTP/1 has the host as a field: one meaning for both.
        match name.to_ascii_lowercase().as_str() {
            "host" | ":authority" => return Some(Key::Authority),
            ":method" => return Some(Key::Method),
            _ => {}
        }
        if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
            return Some(Key::Header(name));
        }
        let message = format!("`{name}` in `{}` is not a header name", key.value);
        let help = "write request.headers[x-name]; paths belong in `to[].operation.paths`";
        self.error(codes::INVALID_VALUE, &key.at, &key.path, message, help);
        None
    }
}

/// The names in `a][b]`: what is behind the first bracket of `request.auth.claims[a][b]`. Any character but a bracket may
/// stand in a name, so that `[https://example.com/groups]` is one.
fn nested(names: &str) -> Option<Box<[Box<str>]>> {
    let names = names.strip_suffix(']')?.split("][");
    names
        .map(|name| (!name.is_empty() && !name.contains(['[', ']'])).then(|| name.into()))
        .collect()
}

/// The name in `prefix[name]`.
fn bracketed<'a>(key: &'a str, prefix: &str) -> Option<&'a str> {
    key.strip_prefix(prefix)?
        .strip_prefix('[')?
        .strip_suffix(']')
}
