//! The diagnostic codes of this crate (`PC04xx`): a number never changes its meaning.

policies::codes! {
    /// A `when` key that nothing here could answer: `experimental.*`.
    CONDITION_NOT_IN_FORCE = "PC0403";
    /// A `when` key that Istio does not have.
    UNKNOWN_CONDITION = "PC0404";
    /// A value whose form is wrong: an address, a port, a template, a header name.
    INVALID_VALUE = "PC0405";
    /// A DENY or CUSTOM policy whose list of rules is empty.
    MISSING_RULES = "PC0406";
    /// Fields that exclude each other.
    EXCLUSIVE_FIELDS = "PC0408";
    /// A value that can never match, such as a principal with `spiffe://`.
    NEVER_MATCHES = "PC0409";
    /// More rules or values than a policy may have.
    TOO_MANY = "PC0410";
    /// `istio.io/dry-run` with a value that is no boolean, or where nothing can be tried.
    DRY_RUN = "PC0411";
    /// A `targetRef` to what only a waypoint could stand for.
    WAYPOINT_TARGET = "PC0412";
    /// A CUSTOM policy whose provider the mesh does not have.
    UNKNOWN_PROVIDER = "PC0413";
    /// CUSTOM policies of one workload that name different providers.
    SEVERAL_PROVIDERS = "PC0414";
    /// A `targetRef` to a Gateway that no document gives workloads.
    GATEWAY_NOBODY_IS = "PC0415";
    /// A key set in a document that verifies no token.
    USELESS_KEYS = "PC0416";

    /// A PeerAuthentication with a selector in the root namespace, which Istio never applies.
    ROOT_SELECTOR_WITHOUT_EFFECT = "PC0420";
    /// A PeerAuthentication that another one of the same level leaves without effect.
    SHADOWED_PEER_AUTHENTICATION = "PC0422";

    /// An ALLOW rule without any condition.
    ALLOWS_EVERYTHING = "PC0430";
    /// An ALLOW rule without `from` where mTLS is STRICT: probes from outside never reach it.
    NEEDS_MTLS = "PC0431";
    /// An ALLOW rule without `from` where callers need no certificate.
    OPEN_TO_ANYBODY = "PC0432";
    /// A rule that callers evade, or profit from, by calling in plaintext.
    IDENTITY_WITHOUT_STRICT = "PC0433";
    /// An ALLOW rule about identities where plaintext is taken, whose callers have none.
    PLAINTEXT_NEVER_MATCHES = "PC0434";
    /// A PeerAuthentication that takes plaintext.
    PLAINTEXT_ACCEPTED = "PC0435";
    /// A method that is not in upper case.
    LOWER_CASE_METHOD = "PC0436";
    /// A star that is a character.
    LITERAL_STAR = "PC0437";
    /// A path prefix that does not end at a slash.
    OPEN_PREFIX = "PC0438";
    /// A host that a port in the request evades.
    HOST_WITHOUT_PORT = "PC0439";
    /// A path that no canonical path is.
    PATH_NEVER_CANONICAL = "PC0440";
    /// A caller whose name is a slip of a declared one.
    UNKNOWN_IDENTITY = "PC0441";
    /// Workloads that no ALLOW policy selects, beside others that one does.
    NO_DEFAULT_DENY = "PC0442";
    /// A rule that another one of the same action includes.
    REDUNDANT_RULE = "PC0443";
    /// An ALLOW rule that a DENY rule takes away.
    DENIED_ALLOW = "PC0444";
    /// A selector that no declared workload meets.
    SELECTS_NOTHING = "PC0445";
    /// A port that no selected workload has.
    PORT_NOBODY_HAS = "PC0446";
    /// Fields of HTTP in a rule for TCP.
    HTTP_FIELDS_ON_TCP = "PC0447";
    /// A mode for a port that no selected workload has.
    MTLS_PORT_NOBODY_HAS = "PC0448";
}
