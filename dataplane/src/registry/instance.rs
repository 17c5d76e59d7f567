//! One running workload as the registry knows it, checked before anybody believes it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use identity::SpiffeId;
use serde::{Deserialize, Serialize};

use super::wire;

/// The longest name (a DNS label, RFC 1123 §2.1) and the longest label value of Kubernetes.
const LONGEST_NAME: usize = 63;
/// The longest prefix of a label key.
const LONGEST_PREFIX: usize = 253;
const MOST_LABELS: usize = 64;
const MOST_PORTS: usize = 32;
const LONGEST_LOCALITY: usize = 256;
/// A reason is for people; more of it is cut off.
const LONGEST_REASON: usize = 200;

/// Which instance; unique in the mesh.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InstanceName {
    /// Its namespace.
    pub namespace: String,
    /// Its name in the namespace.
    pub name: String,
}

impl fmt::Display for InstanceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// One running workload; every field has been checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Instance {
    /// Which one.
    #[serde(flatten)]
    pub name: InstanceName,
    /// Its identity is this service account of its namespace.
    pub service_account: String,
    /// Its labels: `app` names the service, `version` the version.
    pub labels: BTreeMap<String, String>,
    /// The address of its sidecar.
    pub address: IpAddr,
    /// Where the sidecar accepts mutual TLS; at least one.
    pub ports: Vec<InstancePort>,
    /// `region/zone/subzone`, or a beginning of it.
    pub locality: Option<String>,
    /// Whether it can take requests.
    pub state: InstanceState,
    /// Why it is not ready; may be empty.
    pub reason: String,
    /// When it came into this state, in seconds since 1970.
    pub since: u64,
}

/// A port of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstancePort {
    /// By which ServiceEntries know it.
    pub name: String,
    /// The service's port.
    pub number: u16,
    /// `HTTP`, `HTTP2`, `GRPC` or `TCP`.
    pub protocol: String,
    /// Where the sidecar listens.
    pub listens_at: u16,
}

/// Whether an instance can take requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InstanceState {
    /// It can.
    Ready,
    /// Its application does not answer.
    Unready,
    /// It has ended; its service is still declared, so that nothing that names the service breaks.
    Gone,
}

impl fmt::Display for InstanceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ready => "ready",
            Self::Unready => "unready",
            Self::Gone => "gone",
        })
    }
}

/// What is wrong with an instance, in words for the one who sent it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadInstance(String);

impl Instance {
    /// The service that it is an instance of: its label `app`, if a service can have that name.
    pub fn service(&self) -> Option<&str> {
        let app = self.labels.get("app")?;
        is_dns_label(app).then_some(app)
    }

    /// Its version, for people.
    pub fn version(&self) -> &str {
        self.labels.get("version").map_or("", String::as_str)
    }

    /// Whether this is the workload's identity in its own trust domain.
    pub fn is(&self, id: &SpiffeId) -> bool {
        id.namespace() == Some(&self.name.namespace)
            && id.service_account() == Some(&self.service_account)
    }

    /// Whether both say the same, but for the time.
    pub fn says_the_same(&self, other: &Self) -> bool {
        let Self { since, .. } = other;
        Self {
            since: *since,
            ..self.clone()
        } == *other
    }
}

/// What a stranger says of itself; nothing is taken over that has not been checked.
impl TryFrom<wire::Instance> for Instance {
    type Error = BadInstance;

    fn try_from(told: wire::Instance) -> Result<Self, BadInstance> {
        let state = told.state();
        let name = InstanceName::try_from(told.name.unwrap_or_default())?;
        label("serviceAccount", &told.service_account)?;
        let labels = labels(told.labels)?;
        let address: IpAddr = told.address.parse().map_err(|_| {
            BadInstance(format!(
                "`address` is `{}`, expected an IP address",
                shown(&told.address)
            ))
        })?;
        if address.is_unspecified() || address.is_multicast() {
            return Err(BadInstance(format!("nobody can be reached at `{address}`")));
        }
        if told.ports.is_empty() || told.ports.len() > MOST_PORTS {
            return Err(BadInstance(format!(
                "`ports` has 1 to {MOST_PORTS} entries"
            )));
        }
        let ports = told.ports.into_iter().map(InstancePort::try_from);
        let ports: Vec<InstancePort> = ports.collect::<Result<_, _>>()?;
        for (position, port) in ports.iter().enumerate() {
            let mut earlier = ports.iter().take(position);
            if earlier.any(|earlier| earlier.name == port.name || earlier.number == port.number) {
                let name = &port.name;
                return Err(BadInstance(format!(
                    "port `{name}` or its number stands twice"
                )));
            }
        }
        Ok(Self {
            name,
            service_account: told.service_account,
            labels,
            address,
            ports,
            locality: locality(told.locality)?,
            state: match state {
                wire::State::Ready => InstanceState::Ready,
                wire::State::Unready | wire::State::Unspecified => InstanceState::Unready,
                wire::State::Gone => InstanceState::Gone,
            },
            reason: runtime::escape::escape(&told.reason, LONGEST_REASON).into_owned(),
            since: told.since_seconds,
        })
    }
}

impl From<&Instance> for wire::Instance {
    fn from(instance: &Instance) -> Self {
        let state = match instance.state {
            InstanceState::Ready => wire::State::Ready,
            InstanceState::Unready => wire::State::Unready,
            InstanceState::Gone => wire::State::Gone,
        };
        let ports = instance.ports.iter().map(|port| wire::Port {
            name: port.name.clone(),
            number: port.number.into(),
            protocol: port.protocol.clone(),
            listens_at: port.listens_at.into(),
        });
        Self {
            name: Some((&instance.name).into()),
            service_account: instance.service_account.clone(),
            labels: instance.labels.clone().into_iter().collect(),
            address: instance.address.to_string(),
            ports: ports.collect(),
            locality: instance.locality.clone().unwrap_or_default(),
            state: state.into(),
            reason: instance.reason.clone(),
            since_seconds: instance.since,
        }
    }
}

impl TryFrom<wire::InstanceName> for InstanceName {
    type Error = BadInstance;

    fn try_from(told: wire::InstanceName) -> Result<Self, BadInstance> {
        label("namespace", &told.namespace)?;
        label("name", &told.name)?;
        Ok(Self {
            namespace: told.namespace,
            name: told.name,
        })
    }
}

impl From<&InstanceName> for wire::InstanceName {
    fn from(name: &InstanceName) -> Self {
        Self {
            namespace: name.namespace.clone(),
            name: name.name.clone(),
        }
    }
}

impl TryFrom<wire::Port> for InstancePort {
    type Error = BadInstance;

    fn try_from(told: wire::Port) -> Result<Self, BadInstance> {
        label("ports.name", &told.name)?;
        if !["HTTP", "HTTP2", "GRPC", "TCP"].contains(&told.protocol.as_str()) {
            let found = shown(&told.protocol);
            return Err(BadInstance(format!(
                "`ports.protocol` is `{found}`, expected HTTP, HTTP2, GRPC or TCP"
            )));
        }
        let port = |what: &str, number: u32| {
            let port = u16::try_from(number).ok().filter(|port| *port != 0);
            port.ok_or_else(|| BadInstance(format!("`{what}` is {number}, expected 1 to 65535")))
        };
        Ok(Self {
            number: port("ports.number", told.number)?,
            listens_at: port("ports.listensAt", told.listens_at)?,
            name: told.name,
            protocol: told.protocol,
        })
    }
}

fn labels(
    told: std::collections::HashMap<String, String>,
) -> Result<BTreeMap<String, String>, BadInstance> {
    if told.len() > MOST_LABELS {
        return Err(BadInstance(format!(
            "there are more than {MOST_LABELS} labels"
        )));
    }
    for (key, value) in &told {
        let (prefix, name) = key.split_once('/').unwrap_or(("p", key));
        let prefixed = prefix.len() <= LONGEST_PREFIX && prefix.split('.').all(is_dns_label);
        if !(prefixed && is_qualified(name) && (value.is_empty() || is_qualified(value))) {
            let (key, value) = (shown(key), shown(value));
            return Err(BadInstance(format!("`{key}={value}` is no label")));
        }
    }
    Ok(told.into_iter().collect())
}

fn locality(told: String) -> Result<Option<String>, BadInstance> {
    let fine = told.len() <= LONGEST_LOCALITY && told.split('/').all(is_qualified);
    match told.as_str() {
        "" => Ok(None),
        _ if fine => Ok(Some(told)),
        _ => Err(BadInstance(format!("`{}` is no locality", shown(&told)))),
    }
}

fn label(what: &str, text: &str) -> Result<(), BadInstance> {
    if is_dns_label(text) {
        return Ok(());
    }
    let found = shown(text);
    Err(BadInstance(format!(
        "`{what}` is `{found}`, expected 1 to 63 lower-case letters, digits and inner `-`"
    )))
}

fn is_dns_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=LONGEST_NAME).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn is_qualified(text: &str) -> bool {
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    text.len() <= LONGEST_NAME
        && text.bytes().all(inner)
        && edge(text.bytes().next())
        && edge(text.bytes().next_back())
}

fn shown(text: &str) -> String {
    runtime::escape::escape(text, LONGEST_NAME).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told() -> wire::Instance {
        wire::Instance {
            name: Some(wire::InstanceName {
                namespace: "my-app".to_owned(),
                name: "billing-2".to_owned(),
            }),
            service_account: "billing".to_owned(),
            labels: [("app", "billing"), ("example.com/team", "money")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            address: "127.0.0.1".to_owned(),
            ports: vec![wire::Port {
                name: "http".to_owned(),
                number: 80,
                protocol: "HTTP".to_owned(),
                listens_at: 15_006,
            }],
            locality: "eu/a".to_owned(),
            state: wire::State::Ready.into(),
            reason: String::new(),
            since_seconds: 7,
        }
    }

    #[test]
    fn what_is_sent_arrives() {
        let instance = Instance::try_from(told()).unwrap();
        assert_eq!(instance.service(), Some("billing"));
        assert_eq!(
            Instance::try_from(wire::Instance::from(&instance)),
            Ok(instance.clone())
        );
        let id = |text: &str| SpiffeId::parse(text).unwrap();
        assert!(instance.is(&id("spiffe://cluster.local/ns/my-app/sa/billing")));
        assert!(!instance.is(&id("spiffe://cluster.local/ns/my-app/sa/other")));
        assert!(!instance.is(&id("spiffe://cluster.local/ns/other/sa/billing")));
    }

    #[test]
    fn nonsense_is_refused_in_words() {
        type Spoil = fn(&mut wire::Instance);
        let cases: [(Spoil, &str); 12] = [
            (|i| i.name = None, "namespace"),
            (|i| i.name.as_mut().unwrap().name = "a/b".to_owned(), "a/b"),
            (
                |i| i.name.as_mut().unwrap().name = "x\"\n- y".to_owned(),
                "name",
            ),
            (
                |i| i.service_account = "../root".to_owned(),
                "serviceAccount",
            ),
            (|i| i.address = "billing.test".to_owned(), "IP address"),
            (|i| i.address = "0.0.0.0".to_owned(), "reached"),
            (|i| i.ports.clear(), "ports"),
            (|i| i.ports[0].listens_at = 70_000, "65535"),
            (|i| i.ports[0].protocol = "HTTPS".to_owned(), "HTTPS"),
            (|i| i.ports.push(i.ports[0].clone()), "twice"),
            (
                |i| drop(i.labels.insert("a b".to_owned(), String::new())),
                "label",
            ),
            (|i| i.locality = "eu//b".to_owned(), "locality"),
        ];
        for (spoil, word) in cases {
            let mut bad = told();
            spoil(&mut bad);
            let error = Instance::try_from(bad).unwrap_err().to_string();
            assert!(error.contains(word), "{word}: {error}");
        }
    }
}
