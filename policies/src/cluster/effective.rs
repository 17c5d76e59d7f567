//! What a DestinationRule says about one cluster: the rule, its subset over it block by block, and the settings of the port.

use super::rules::Merged;
use crate::document::{
    ClientTls, ConnectionPool, LoadBalancer, OutlierDetection, PortTrafficPolicy, RetryBudget,
    Spanned, Subset, TrafficPolicy,
};

/// The blocks of a traffic policy that hold for one service port and subset.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Effective<'a> {
    pub(crate) tls: Option<&'a Spanned<ClientTls>>,
    pub(crate) connection_pool: Option<&'a Spanned<ConnectionPool>>,
    pub(crate) load_balancer: Option<&'a Spanned<LoadBalancer>>,
    pub(crate) outlier_detection: Option<&'a Spanned<OutlierDetection>>,
    pub(crate) retry_budget: Option<&'a Spanned<RetryBudget>>,
}

impl<'a> Effective<'a> {
    /// What the rules of one host say about a port and a subset of it.
    pub(crate) fn of(merged: &Merged<'a>, subset: Option<&'a Subset>, port: u16) -> Self {
        Self::layered(
            merged.policy,
            subset.map(|subset| &subset.traffic_policy),
            port,
        )
    }

    /// The subset's policy over the rule's: block by block, but what either says about a port stands for all of its
    /// blocks, so that a block which is missing there has its default (Istio's `MergeTrafficPolicy`).
    pub(crate) fn layered(
        rule: Option<&'a TrafficPolicy>,
        subset: Option<&'a TrafficPolicy>,
        port: u16,
    ) -> Self {
        let mut blocks = Self::default();
        for policy in [rule, subset].into_iter().flatten() {
            blocks = blocks.under(policy);
            let mut of_port = policy.port_level.iter();
            if let Some(settings) = of_port.find(|settings| *settings.port == port) {
                blocks = blocks.replaced_by(settings);
            }
        }
        blocks
    }

    fn under(self, policy: &'a TrafficPolicy) -> Self {
        Self {
            tls: policy.tls.as_deref().or(self.tls),
            connection_pool: policy.connection_pool.as_deref().or(self.connection_pool),
            load_balancer: policy.load_balancer.as_deref().or(self.load_balancer),
            outlier_detection: policy
                .outlier_detection
                .as_deref()
                .or(self.outlier_detection),
            retry_budget: policy.retry_budget.as_deref().or(self.retry_budget),
        }
    }

    fn replaced_by(self, settings: &'a PortTrafficPolicy) -> Self {
        Self {
            tls: settings.tls.as_deref(),
            connection_pool: settings.connection_pool.as_deref(),
            load_balancer: settings.load_balancer.as_deref(),
            outlier_detection: settings.outlier_detection.as_deref(),
            ..self
        }
    }
}
