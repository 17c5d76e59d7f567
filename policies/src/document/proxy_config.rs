//! ProxyConfig (`networking.istio.io`): settings of proxies themselves.

use std::collections::BTreeMap;

use super::{Attachment, Meta};
use crate::decode::{Cursor, Decode, Document, Fields, Standing};
use crate::diagnostic::codes;

/// Istio's ProxyConfig.
#[derive(Clone, Debug)]
pub struct ProxyConfig {
    /// What it is called.
    pub meta: Meta,
    /// `spec.selector` or `spec.targetRef`: of which workloads; without, of the whole namespace.
    pub attachment: Attachment,
    /// `spec.concurrency`: worker threads, 0 for one per core; default 2.
    pub concurrency: Option<u32>,
    /// `spec.environmentVariables` of the proxy.
    pub environment_variables: BTreeMap<String, String>,
    /// `spec.image.imageType`: default, debug, distroless.
    pub image_type: Option<String>,
}

impl Document for ProxyConfig {
    const STANDING: Standing = Standing::Later {
        code: codes::PROXY_CONFIG_NOT_IN_FORCE,
        effect: "each process has a configuration file of its own",
    };

    fn spec(meta: Meta, f: &mut Fields<'_>) -> Option<Self> {
        let attachment = Attachment::read(f, &["targetRef"]);
        Some(Self {
            meta,
            attachment,
            concurrency: f.optional("concurrency"),
            environment_variables: f.map("environmentVariables"),
            image_type: f
                .optional::<ProxyImage>("image")
                .and_then(|ProxyImage(image_type)| image_type),
        })
    }
}

/// Istio's `ProxyImage`.
pub(crate) struct ProxyImage(pub(crate) Option<String>);

impl Decode for ProxyImage {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| Some(Self(f.optional("imageType"))))
    }
}
