//! WorkloadGroup (`networking.istio.io`): what workloads outside Kubernetes have in common.

use std::collections::BTreeMap;

use super::{Meta, ReadinessProbe, WorkloadSpec};
use crate::decode::{Document, Fields, Standing};
use crate::diagnostic::codes;

/// Istio's WorkloadGroup: a template for WorkloadEntry documents.
#[derive(Clone, Debug)]
pub struct WorkloadGroup {
    /// What it is called.
    pub meta: Meta,
    /// `spec.metadata.labels`: of every workload of the group.
    pub labels: BTreeMap<String, String>,
    /// `spec.metadata.annotations`: of every workload of the group.
    pub annotations: BTreeMap<String, String>,
    /// `spec.template`: ports, service account, network, locality and weight of every workload.
    pub template: WorkloadSpec,
    /// `spec.probe`: how workloads of the group are found healthy.
    pub probe: Option<ReadinessProbe>,
}

impl Document for WorkloadGroup {
    const STANDING: Standing = Standing::Later {
        code: codes::WORKLOAD_GROUP_NOT_IN_FORCE,
        effect: "workloads are declared one by one, by WorkloadEntry documents",
    };

    fn spec(meta: Meta, f: &mut Fields<'_>) -> Option<Self> {
        let metadata = f.get("metadata").and_then(|cursor| {
            cursor.fields(|f| {
                let labels = f.map("labels");
                let annotations = f.map("annotations");
                Some((labels, annotations))
            })
        });
        let template: Option<WorkloadSpec> = f.required("template");
        let probe = f.optional("probe");
        if let Some(address) = template.as_ref().and_then(|spec| spec.address.as_ref()) {
            let message = "a template has no address: every workload has its own";
            f.report(crate::diagnostic::Diagnostic::error(
                codes::INVALID_VALUE,
                address.at.clone(),
                &address.path,
                message,
            ));
        }
        let (labels, annotations) = metadata.unwrap_or_default();
        Some(Self {
            meta,
            labels,
            annotations,
            template: template?,
            probe,
        })
    }
}
