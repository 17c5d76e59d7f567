//! The diagnostic codes of this crate (`PC04xx`): a number never changes its meaning.

use policies::diagnostic::Code;

/// An action that is not in force yet: CUSTOM, AUDIT.
pub const ACTION_NOT_IN_FORCE: Code = Code::new(401);
/// A field of an AuthorizationPolicy that is not in force yet: `requestPrincipals`, `targetRefs`.
pub const FIELD_NOT_IN_FORCE: Code = Code::new(402);
/// A `when` key that is not in force yet: `request.auth.*`, `experimental.*`.
pub const CONDITION_NOT_IN_FORCE: Code = Code::new(403);
/// A `when` key that Istio does not have.
pub const UNKNOWN_CONDITION: Code = Code::new(404);
/// A value whose form is wrong: an address, a port, a template, a header name.
pub const INVALID_VALUE: Code = Code::new(405);
/// A DENY policy whose list of rules is empty.
pub const MISSING_RULES: Code = Code::new(406);
/// `istio.io/dry-run` is not in force yet.
pub const DRY_RUN_NOT_IN_FORCE: Code = Code::new(407);
/// Fields that exclude each other.
pub const EXCLUSIVE_FIELDS: Code = Code::new(408);
/// A value that can never match, such as a principal with `spiffe://`.
pub const NEVER_MATCHES: Code = Code::new(409);
/// More rules or values than a policy may have.
pub const TOO_MANY: Code = Code::new(410);
/// A source, operation or condition whose lists are all empty: it would mean anybody or anything.
pub const NO_RESTRICTION: Code = Code::new(411);

/// A PeerAuthentication with a selector in the root namespace, which Istio never applies.
pub const ROOT_SELECTOR_WITHOUT_EFFECT: Code = Code::new(420);
/// A PeerAuthentication that another one of the same level leaves without effect.
pub const SHADOWED_PEER_AUTHENTICATION: Code = Code::new(422);
