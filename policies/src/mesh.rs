//! What holds for the whole mesh (Istio's `MeshConfig`, as far as it is in force).

/// Mesh-wide settings that every process shares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mesh {
    /// The trust domain of our identities, such as `cluster.local`.
    pub trust_domain: String,
    /// Older names of the trust domain that policies may still use.
    pub trust_domain_aliases: Vec<String>,
    /// The namespace whose policies hold everywhere (Istio `rootNamespace`).
    pub root_namespace: String,
    /// The namespace of documents without `metadata.namespace`.
    pub default_namespace: String,
    /// How request paths are made canonical before they are judged, routed and forwarded.
    pub path_normalization: PathNormalization,
}

impl Default for Mesh {
    fn default() -> Self {
        Self {
            trust_domain: "cluster.local".to_owned(),
            trust_domain_aliases: Vec::new(),
            root_namespace: "istio-system".to_owned(),
            default_namespace: "default".to_owned(),
            path_normalization: PathNormalization::default(),
        }
    }
}

/// Istio's `MeshConfig.pathNormalization.normalization`; `DEFAULT` is [`Base`](Self::Base).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PathNormalization {
    /// `NONE`: as received.
    None,
    /// `BASE`: unreserved escapes decoded, `\` is `/`, dot segments resolved.
    #[default]
    Base,
    /// `MERGE_SLASHES`: base, then `//` collapsed.
    MergeSlashes,
    /// `DECODE_AND_MERGE_SLASHES`: `%2f` and `%5c` decoded first.
    DecodeAndMergeSlashes,
}
