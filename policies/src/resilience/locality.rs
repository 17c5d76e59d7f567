//! Which endpoints come first, by where they and the caller are (`localityLbSetting`).

use std::collections::BTreeMap;

use crate::cluster::Endpoint;
use crate::document::{Locality, LocalityLoadBalancing};
use crate::workload::Workload;

/// Istio's label for the locality of a workload, `region.zone.subzone`.
pub const ISTIO_LOCALITY_LABEL: &str = "istio-locality";
/// The label for the locality of a workload, `region/zone/subzone`; process files set it from `workload.locality`.
pub const LOCALITY_LABEL: &str = "topology.istio.io/locality";

const REGION: &str = "topology.kubernetes.io/region";
const ZONE: &str = "topology.kubernetes.io/zone";
const SUBZONE: &str = "topology.istio.io/subzone";

/// How endpoints are put in order, for one caller.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum LocalityRule {
    /// Everywhere is alike.
    #[default]
    Alike,
    /// Shares of localities (`distribute`), for the caller's locality; others get nothing.
    Shares(Box<[(String, u32)]>),
    /// The nearest first (`failover`): same subzone, same zone, same region, the region that stands in, the rest.
    Nearest {
        /// The caller's locality.
        from: Locality,
        /// The region that stands in for the caller's.
        stand_in: Option<String>,
    },
    /// Those first that share the most leading labels (`failoverPriority`).
    Labels(Box<[(String, Option<String>)]>),
}

/// Where a rule puts an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// 0 is used first.
    pub(crate) priority: usize,
    /// Which of the localities of one priority.
    pub(crate) group: usize,
}

impl LocalityRule {
    /// The rule for a caller. `watched`: failures of endpoints are noticed, without which nothing fails over (Istio).
    pub(crate) fn compile(
        written: Option<&LocalityLoadBalancing>,
        watched: bool,
        caller: &Workload,
    ) -> Self {
        let default = LocalityLoadBalancing::default();
        let setting = written.unwrap_or(&default);
        if setting.enabled == Some(false) {
            return Self::Alike;
        }
        let from = locality_of(caller);
        if !setting.distribute.is_empty() {
            let Some(from) = from else {
                return Self::Alike;
            };
            let mut rules = setting.distribute.iter();
            return rules.find(|rule| covers(&rule.from, Some(&from))).map_or(
                Self::Alike,
                |rule| {
                    Self::Shares(
                        rule.to
                            .iter()
                            .map(|(to, share)| (to.clone(), *share))
                            .collect(),
                    )
                },
            );
        }
        if !watched {
            return Self::Alike;
        }
        if !setting.failover_priority.is_empty() {
            let own = with_topology(&caller.labels, from.as_ref());
            let labels =
                setting
                    .failover_priority
                    .iter()
                    .map(|label| match label.split_once('=') {
                        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                        None => (label.value.clone(), own.get(label.as_str()).cloned()),
                    });
            return Self::Labels(labels.collect());
        }
        let Some(from) = from else {
            return Self::Alike;
        };
        let mut failover = setting.failover.iter();
        let stand_in = failover
            .find(|failover| *failover.from.value == *from.region)
            .map(|failover| failover.to.value.clone());
        Self::Nearest { from, stand_in }
    }

    /// Where an endpoint is put; none if it gets no requests.
    pub(crate) fn place(&self, endpoint: &Endpoint) -> Option<Place> {
        let locality = endpoint.locality.as_deref();
        let (priority, group) = match self {
            Self::Alike => (0, 0),
            Self::Shares(shares) => {
                let mut found = shares.iter();
                (0, found.position(|(to, _)| covers(to, locality))?)
            }
            Self::Nearest { from, stand_in } => {
                let Some(locality) = locality else {
                    return Some(Place {
                        priority: 4,
                        group: 0,
                    });
                };
                let priority = if locality.region != from.region {
                    if stand_in.as_deref() == Some(&*locality.region) {
                        3
                    } else {
                        4
                    }
                } else if locality.zone != from.zone {
                    2
                } else {
                    usize::from(locality.subzone != from.subzone)
                };
                (priority, 0)
            }
            Self::Labels(labels) => {
                let has = with_topology(&endpoint.labels, locality);
                let shared = labels
                    .iter()
                    .take_while(|(name, value)| has.get(name) == value.as_ref())
                    .count();
                (labels.len().saturating_sub(shared), 0)
            }
        };
        Some(Place { priority, group })
    }

    /// The share of a group of one priority, relative to the others.
    pub(crate) fn share(&self, group: usize) -> u64 {
        match self {
            Self::Shares(shares) => shares.get(group).map_or(0, |(_, share)| u64::from(*share)),
            _ => 1,
        }
    }
}

/// A workload's labels and those that its locality stands for.
fn with_topology(
    labels: &BTreeMap<String, String>,
    locality: Option<&Locality>,
) -> BTreeMap<String, String> {
    let mut all = labels.clone();
    if let Some(locality) = locality {
        let parts = [
            (REGION, Some(&locality.region)),
            (ZONE, locality.zone.as_ref()),
            (SUBZONE, locality.subzone.as_ref()),
        ];
        for (name, part) in parts {
            if let Some(part) = part {
                all.entry(name.to_owned())
                    .or_insert_with(|| part.to_string());
            }
        }
    }
    all
}

/// The locality that a workload's labels give it.
fn locality_of(workload: &Workload) -> Option<Locality> {
    let label = |name: &str| workload.labels.get(name).filter(|text| !text.is_empty());
    let (text, separator) = match (label(LOCALITY_LABEL), label(ISTIO_LOCALITY_LABEL)) {
        (Some(text), _) => (text, '/'),
        // Kubernetes' labels cannot have slashes.
        (None, Some(text)) if text.contains('/') => (text, '/'),
        (None, Some(text)) => (text, '.'),
        (None, None) => return None,
    };
    let mut parts = text.splitn(3, separator).map(Box::from);
    Some(Locality {
        region: parts.next()?,
        zone: parts.next(),
        subzone: parts.next(),
    })
}

/// Whether a pattern, `region/zone/subzone`, shorter, or with `*` at the end, means a locality.
fn covers(pattern: &str, locality: Option<&Locality>) -> bool {
    let mut wanted = pattern.splitn(3, '/').take_while(|part| *part != "*");
    let Some(locality) = locality else {
        return wanted.next().is_none();
    };
    let parts = [
        Some(&*locality.region),
        locality.zone.as_deref(),
        locality.subzone.as_deref(),
    ];
    wanted.zip(parts).all(|(wanted, part)| part == Some(wanted))
}
