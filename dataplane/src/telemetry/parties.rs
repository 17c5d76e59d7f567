//! The two ends of a request as metrics name them, interned so that a request carries small numbers only.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use identity::SpiffeId;
use parking_lot::Mutex;

/// What Istio shows for a value it does not know.
pub(super) const UNKNOWN: &str = "unknown";

/// One end of a request. Empty fields show as `unknown`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Party {
    /// Workload name, as `order-service-v1`.
    pub workload: Arc<str>,
    /// Workload namespace.
    pub namespace: Arc<str>,
    /// The whole SPIFFE ID, as `spiffe://cluster.local/ns/my-app/sa/order-service`.
    pub principal: Arc<str>,
    /// Label `app`.
    pub app: Arc<str>,
    /// Label `version`.
    pub version: Arc<str>,
    /// Cluster the workload runs in.
    pub cluster: Arc<str>,
    /// Label `service.istio.io/canonical-name`, else `app`, else the workload's name.
    pub canonical_service: Arc<str>,
    /// Label `service.istio.io/canonical-revision`, else `version`, else `latest`.
    pub canonical_revision: Arc<str>,
}

impl Party {
    /// A workload with its labels; canonical name and revision as Istio derives them.
    pub fn workload<'a>(
        name: &str,
        namespace: &str,
        principal: Option<&SpiffeId>,
        label: impl Fn(&str) -> Option<&'a str>,
    ) -> Self {
        let app = label("app")
            .or_else(|| label("app.kubernetes.io/name"))
            .unwrap_or_default();
        let version = label("version")
            .or_else(|| label("app.kubernetes.io/version"))
            .unwrap_or_default();
        let or = |value: &str, otherwise: &str| -> Arc<str> {
            if value.is_empty() {
                otherwise.into()
            } else {
                value.into()
            }
        };
        Self {
            workload: name.into(),
            namespace: namespace.into(),
            principal: principal.map(|p| p.as_str().into()).unwrap_or_default(),
            app: app.into(),
            version: version.into(),
            cluster: Arc::default(),
            canonical_service: or(
                label("service.istio.io/canonical-name").unwrap_or_default(),
                if app.is_empty() { name } else { app },
            ),
            canonical_revision: or(
                label("service.istio.io/canonical-revision").unwrap_or_default(),
                if version.is_empty() {
                    "latest"
                } else {
                    version
                },
            ),
        }
    }

    /// A peer known by its certificate only: principal and namespace are proved; its service account is the
    /// best name for the workload that the certificate gives.
    pub fn peer(id: &SpiffeId) -> Self {
        let account: Arc<str> = id.service_account().unwrap_or_default().into();
        Self {
            workload: Arc::clone(&account),
            namespace: id.namespace().unwrap_or_default().into(),
            principal: id.as_str().into(),
            app: Arc::clone(&account),
            canonical_service: account,
            canonical_revision: "latest".into(),
            ..Self::default()
        }
    }

    pub(super) fn labels(&self) -> [&str; 8] {
        [
            known(&self.workload),
            known(&self.namespace),
            known(&self.principal),
            known(&self.app),
            known(&self.version),
            known(&self.cluster),
            known(&self.canonical_service),
            known(&self.canonical_revision),
        ]
    }
}

/// The service a request is for, as its client named it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct DestinationService {
    /// Host name, as `product-service.my-app.svc.cluster.local`.
    pub host: Arc<str>,
    /// Short name.
    pub name: Arc<str>,
    /// Namespace.
    pub namespace: Arc<str>,
}

impl DestinationService {
    pub(super) fn labels(&self) -> [&str; 3] {
        [known(&self.host), known(&self.name), known(&self.namespace)]
    }
}

fn known(value: &str) -> &str {
    if value.is_empty() { UNKNOWN } else { value }
}

/// An interned [`Party`]; the default stands for one that is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct PartyId(pub(super) u32);

/// An interned [`DestinationService`]; the default stands for one that is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ServiceId(pub(super) u32);

/// Values by small number, up to a bound; number 0 is the value that stands for all others.
#[derive(Debug)]
pub(super) struct Interned<T> {
    known: ArcSwap<Table<T>>,
    editing: Mutex<()>,
    cap: usize,
}

#[derive(Debug, Clone)]
struct Table<T> {
    numbers: HashMap<Arc<T>, u32>,
    values: Vec<Arc<T>>,
}

impl<T: Eq + std::hash::Hash + Clone + Default> Interned<T> {
    pub(super) fn new(cap: usize) -> Self {
        let nobody: Arc<T> = Arc::default();
        let table = Table {
            numbers: HashMap::from([(Arc::clone(&nobody), 0)]),
            values: vec![nobody],
        };
        Self {
            known: ArcSwap::from_pointee(table),
            editing: Mutex::new(()),
            cap,
        }
    }

    /// The number of `value`; `None` when the table is full.
    pub(super) fn intern(&self, value: &T) -> Option<u32> {
        if let Some(number) = self.known.load().numbers.get(value) {
            return Some(*number);
        }
        let _editing = self.editing.lock();
        let current = self.known.load();
        if let Some(number) = current.numbers.get(value) {
            return Some(*number);
        }
        if current.values.len() >= self.cap {
            return None;
        }
        let number = u32::try_from(current.values.len()).ok()?;
        let mut next = Table::clone(&current);
        let value = Arc::new(value.clone());
        next.numbers.insert(Arc::clone(&value), number);
        next.values.push(value);
        self.known.store(Arc::new(next));
        Some(number)
    }

    pub(super) fn value(&self, number: u32) -> Option<Arc<T>> {
        let table = self.known.load();
        table
            .values
            .get(usize::try_from(number).ok()?)
            .map(Arc::clone)
    }
}
