//! The register of diagnostic codes: a number never changes its meaning.
//!
//! `PC00xx` files and YAML, `PC01xx` the shape of one document, `PC02xx` accepted but not in force or deprecated,
//! `PC03xx` documents that do not fit together, `PC04xx` authorization (crate `authz`), `PC05xx` registration (crate `ca`).

use std::fmt;

use serde::{Serialize, Serializer};

/// A stable diagnostic code; `Display` is `PC0107`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code(u16);

impl Code {
    /// The code of a number below 10 000. Crates above this one own a range each, see the module's text.
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn number(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PC{:04}", self.0)
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal;)*) => {
        $($(#[$doc])* pub const $name: Code = Code($number);)*

        /// Every code of this crate with its name, in the order of the numbers.
        pub const ALL: &[(Code, &str)] = &[$(($name, stringify!($name))),*];
    };
}

codes! {
    /// The text is not YAML.
    YAML_SYNTAX = 1;
    /// A comment starts with `//`.
    SLASH_COMMENT = 2;
    /// A mapping has one key twice.
    DUPLICATE_KEY = 3;
    /// A budget is exceeded: size, depth, number of values, alias expansion.
    YAML_BUDGET = 4;
    /// YAML that policy documents do not use: complex keys, custom tags, unknown aliases, bad merges.
    YAML_UNSUPPORTED = 5;
    /// The text is not UTF-8.
    NOT_UTF8 = 6;

    /// A document without `apiVersion` or `kind`, or not a mapping.
    NOT_A_DOCUMENT = 101;
    /// An unknown kind of a group that we own.
    UNKNOWN_KIND = 102;
    /// An API version that the kind does not have.
    UNKNOWN_API_VERSION = 103;
    /// A Kubernetes or foreign kind: tolerated, not read.
    FOREIGN_KIND = 104;
    /// A security kind that is not in force.
    SECURITY_KIND_NOT_IN_FORCE = 105;
    /// Two documents of one kind with the same namespace and name.
    DUPLICATE_DOCUMENT = 106;
    /// A field that the kind does not have.
    UNKNOWN_FIELD = 107;
    /// A required field is missing.
    MISSING_FIELD = 108;
    /// A value of another type.
    WRONG_TYPE = 109;
    /// Not one of the allowed values.
    UNKNOWN_VALUE = 110;
    /// A value whose format or range is wrong.
    INVALID_VALUE = 111;
    /// Fields that exclude each other.
    EXCLUSIVE_FIELDS = 112;
    /// A security field that is not in force.
    SECURITY_FIELD_NOT_IN_FORCE = 113;
    /// A regular expression that does not compile or is too large.
    INVALID_REGEX = 114;
    /// A list that must not be empty, or has too many elements.
    INVALID_LENGTH = 115;

    /// Retries are not in force yet.
    RETRIES_NOT_IN_FORCE = 201;
    /// Fault injection is not in force yet.
    FAULT_NOT_IN_FORCE = 202;
    /// Mirroring is not in force yet.
    MIRROR_NOT_IN_FORCE = 203;
    /// Cross-origin policies are not in force yet.
    CORS_NOT_IN_FORCE = 204;
    /// Delegation is not in force yet.
    DELEGATE_NOT_IN_FORCE = 205;
    /// TLS routes are not in force yet.
    TLS_ROUTES_NOT_IN_FORCE = 206;
    /// TCP routes are not in force yet.
    TCP_ROUTES_NOT_IN_FORCE = 207;
    /// A load balancer is not in force yet.
    LOAD_BALANCER_NOT_IN_FORCE = 208;
    /// A connection pool limit is not in force yet.
    CONNECTION_POOL_NOT_IN_FORCE = 209;
    /// Outlier detection is not in force yet.
    OUTLIER_DETECTION_NOT_IN_FORCE = 210;
    /// Settings per port are not in force yet.
    PORT_LEVEL_SETTINGS_NOT_IN_FORCE = 211;
    /// `exportTo` is not in force yet.
    EXPORT_TO_NOT_IN_FORCE = 212;
    /// Another traffic field that is not in force yet.
    FIELD_NOT_IN_FORCE = 213;
    /// A traffic kind that is not in force yet.
    KIND_NOT_IN_FORCE = 214;
    /// A deprecated name for a field.
    DEPRECATED_FIELD = 220;
    /// A deprecated name for a value.
    DEPRECATED_VALUE = 221;

    /// A destination host that no document declares.
    UNKNOWN_HOST = 301;
    /// A short host name that several services have.
    AMBIGUOUS_HOST = 302;
    /// A subset that no DestinationRule defines.
    UNKNOWN_SUBSET = 303;
    /// A gateway that no document declares.
    UNKNOWN_GATEWAY = 304;
    /// A port that the service does not have, or several ports to choose from.
    UNKNOWN_PORT = 305;
    /// Two documents claim one host.
    CONFLICTING_HOST = 306;
    /// An endpoint whose identity cannot be verified under mTLS.
    UNVERIFIABLE_ENDPOINT = 307;
    /// Two servers of a gateway port contradict each other.
    CONFLICTING_SERVERS = 308;
    /// A VirtualService whose hosts no server of its gateway has.
    UNBOUND_HOST = 309;
    /// A destination without endpoints.
    NO_ENDPOINTS = 310;
}
