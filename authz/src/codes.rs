//! The diagnostic codes of this crate (`PC04xx`): a number never changes its meaning.

policies::codes! {
    /// An action that is not in force yet: CUSTOM, AUDIT.
    ACTION_NOT_IN_FORCE = "PC0401";
    /// A field of an AuthorizationPolicy that is not in force yet: `requestPrincipals`, `targetRefs`.
    FIELD_NOT_IN_FORCE = "PC0402";
    /// A `when` key that is not in force yet: `request.auth.*`, `experimental.*`.
    CONDITION_NOT_IN_FORCE = "PC0403";
    /// A `when` key that Istio does not have.
    UNKNOWN_CONDITION = "PC0404";
    /// A value whose form is wrong: an address, a port, a template, a header name.
    INVALID_VALUE = "PC0405";
    /// A DENY policy whose list of rules is empty.
    MISSING_RULES = "PC0406";
    /// `istio.io/dry-run` is not in force yet.
    DRY_RUN_NOT_IN_FORCE = "PC0407";
    /// Fields that exclude each other.
    EXCLUSIVE_FIELDS = "PC0408";
    /// A value that can never match, such as a principal with `spiffe://`.
    NEVER_MATCHES = "PC0409";
    /// More rules or values than a policy may have.
    TOO_MANY = "PC0410";

    /// A PeerAuthentication with a selector in the root namespace, which Istio never applies.
    ROOT_SELECTOR_WITHOUT_EFFECT = "PC0420";
    /// A PeerAuthentication that another one of the same level leaves without effect.
    SHADOWED_PEER_AUTHENTICATION = "PC0422";

    /// An ALLOW rule without any condition.
    ALLOWS_EVERYTHING = "PC0430";
}
