//! Names that people give to workloads, checked before they become file names, documents and identities.

use std::str::FromStr;

/// The namespace of everything that names none.
pub(crate) const DEFAULT_NAMESPACE: &str = "my-app";
/// The trust domain of a mesh on one machine.
pub(crate) const TRUST_DOMAIN: &str = "cluster.local";

const LONGEST: usize = 63;

/// Checks a DNS label (RFC 1123 §2.1, lower case as Kubernetes asks for): `what` names the flag in the message.
pub(crate) fn check_label(what: &str, name: &str) -> Result<(), String> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let edge = |c: Option<char>| c.is_some_and(|c| c != '-');
    let fine = name.len() <= LONGEST
        && name.chars().all(inner)
        && edge(name.chars().next())
        && edge(name.chars().next_back());
    if fine {
        Ok(())
    } else {
        Err(format!(
            "{what} `{name}` is not a name: 1 to 63 lower-case letters, digits and `-`, \
             beginning and ending with a letter or digit"
        ))
    }
}

/// One `key=value` label of a workload, by the rules of Kubernetes labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Label {
    /// Such as `app` or `example.com/team`.
    pub(crate) key: String,
    /// May be empty.
    pub(crate) value: String,
}

impl FromStr for Label {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text
            .split_once('=')
            .ok_or_else(|| format!("label `{text}` is not `key=value`"))?;
        let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let part = |part: &str| {
            part.len() <= LONGEST
                && part.chars().all(inner)
                && part.starts_with(|c: char| c.is_ascii_alphanumeric())
                && part.ends_with(|c: char| c.is_ascii_alphanumeric())
        };
        let key_fine = match key.split_once('/') {
            Some((domain, name)) => part(domain) && part(name),
            None => part(key),
        };
        if !key_fine || !(value.is_empty() || part(value)) {
            return Err(format!(
                "label `{text}` is not `key=value` of letters, digits, `-`, `_` and `.`, \
                 at most 63 each"
            ));
        }
        Ok(Self {
            key: key.to_owned(),
            value: value.to_owned(),
        })
    }
}

/// The identity of a workload of this mesh.
pub(crate) fn spiffe_id(namespace: &str, service_account: &str) -> String {
    format!("spiffe://{TRUST_DOMAIN}/ns/{namespace}/sa/{service_account}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_labels() {
        for good in ["billing", "a", "9", "product-service-v1"] {
            assert_eq!(check_label("--name", good), Ok(()));
        }
        for bad in [
            "",
            "-a",
            "a-",
            "Billing",
            "a.b",
            "a/b",
            "a b",
            "ä",
            "a\n",
            &"x".repeat(64),
        ] {
            assert!(check_label("--name", bad).is_err(), "`{bad}` passed");
        }
    }

    #[test]
    fn labels_are_key_and_value() {
        let label: Label = "version=v1".parse().unwrap();
        assert_eq!(
            (label.key.as_str(), label.value.as_str()),
            ("version", "v1")
        );
        assert!("example.com/team=a".parse::<Label>().is_ok());
        assert!("empty=".parse::<Label>().is_ok());
        for bad in ["x", "=x", "a=b=c", "a=\"", "a: b=c", "a/b/c=d", "-a=b"] {
            assert!(bad.parse::<Label>().is_err(), "`{bad}` passed");
        }
    }
}
