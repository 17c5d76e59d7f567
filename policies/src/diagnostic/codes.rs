//! The register of diagnostic codes: a number never changes its meaning.
//!
//! `PC00xx` files and YAML, `PC01xx` the shape of one document, `PC02xx` accepted but not in force or deprecated,
//! `PC03xx` documents that do not fit together, `PC04xx` authorization (crate `authz`), `PC05xx` registration (crate `ca`),
//! `PC06xx` advice.

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

    /// The code that is written so; [`Code::new`]`(0)` if it is not four digits behind `PC`.
    pub const fn named(name: &str) -> Self {
        let [b'P', b'C', digits @ ..] = name.as_bytes() else {
            return Self(0);
        };
        let mut number: u16 = 0;
        let mut rest = digits;
        while let [digit @ b'0'..=b'9', tail @ ..] = rest {
            if digits.len() != 4 {
                return Self(0);
            }
            // Lossless; `From` is not const yet.
            number = number * 10 + u16::from_le_bytes([*digit - b'0', 0]);
            rest = tail;
        }
        if rest.is_empty() {
            Self(number)
        } else {
            Self(0)
        }
    }

    /// Whether it is about a reference to something that no document declares. It may live elsewhere, so `lint`
    /// warns unless it is told that it sees everything; a running process does see everything.
    pub const fn is_open_reference(self) -> bool {
        matches!(
            self,
            UNKNOWN_HOST | UNKNOWN_SUBSET | UNKNOWN_GATEWAY | UNKNOWN_PORT | UNKNOWN_DELEGATE
        )
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

/// Declares a crate's codes: `/// What it means.` and `NAME = "PC0107";`.
///
/// Each becomes a constant, and its page `codes/PC0107.md` of the crate becomes its explanation: a code without a page
/// does not build. A number never gets another meaning.
#[macro_export]
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        $($(#[$doc])* pub const $name: $crate::diagnostic::Code = $crate::diagnostic::Code::named($code);)*

        /// Every code of this crate with its name, in the order of the numbers.
        pub const ALL: &[($crate::diagnostic::Code, &str)] = &[$(($name, stringify!($name))),*];

        /// The page about a code of this crate, see [`Page`]($crate::diagnostic::page::Page).
        pub fn explanation(code: $crate::diagnostic::Code) -> Option<&'static str> {
            const PAGES: &[($crate::diagnostic::Code, &str)] = &[$((
                $name,
                include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/codes/", $code, ".md")),
            )),*];
            PAGES.iter().find(|(known, _)| *known == code).map(|(_, page)| *page)
        }
    };
}

codes! {
    /// The text is not YAML.
    YAML_SYNTAX = "PC0001";
    /// A comment starts with `//`.
    SLASH_COMMENT = "PC0002";
    /// A mapping has one key twice.
    DUPLICATE_KEY = "PC0003";
    /// A budget is exceeded: size, depth, number of values, alias expansion, regular expressions.
    YAML_BUDGET = "PC0004";
    /// YAML that policy documents do not use: complex keys, custom tags, unknown aliases, bad merges.
    YAML_UNSUPPORTED = "PC0005";
    /// The text is not UTF-8.
    NOT_UTF8 = "PC0006";
    /// A control character, a change of direction, a lone carriage return or a byte order mark inside the text.
    UNSAFE_CHARACTER = "PC0030";
    /// A character that nobody sees.
    INVISIBLE_CHARACTER = "PC0031";

    /// A document without `apiVersion` or `kind`, or not a mapping.
    NOT_A_DOCUMENT = "PC0101";
    /// An unknown kind of a group that we own.
    UNKNOWN_KIND = "PC0102";
    /// An API version that the kind does not have.
    UNKNOWN_API_VERSION = "PC0103";
    /// A Kubernetes or foreign kind: tolerated, not read.
    FOREIGN_KIND = "PC0104";
    /// A security kind that is not in force.
    SECURITY_KIND_NOT_IN_FORCE = "PC0105";
    /// Two documents of one kind with the same namespace and name.
    DUPLICATE_DOCUMENT = "PC0106";
    /// A field that the kind does not have.
    UNKNOWN_FIELD = "PC0107";
    /// A required field is missing.
    MISSING_FIELD = "PC0108";
    /// A value of another type.
    WRONG_TYPE = "PC0109";
    /// Not one of the allowed values.
    UNKNOWN_VALUE = "PC0110";
    /// A value whose format or range is wrong.
    INVALID_VALUE = "PC0111";
    /// Fields that exclude each other.
    EXCLUSIVE_FIELDS = "PC0112";
    /// A security field that is not in force.
    SECURITY_FIELD_NOT_IN_FORCE = "PC0113";
    /// A regular expression that does not compile or is too large.
    INVALID_REGEX = "PC0114";
    /// A list that must not be empty, or has too many elements.
    INVALID_LENGTH = "PC0115";
    /// A protocol or TLS mode of a gateway's server that is not in force.
    SERVER_TLS_NOT_IN_FORCE = "PC0117";
    /// A certificate that does not come from `credentialName`.
    CERTIFICATE_SOURCE_NOT_IN_FORCE = "PC0118";
    /// TLS versions or cipher suites that cannot be chosen.
    TLS_PARAMETERS_NOT_IN_FORCE = "PC0119";
    /// An element that a list has twice.
    DUPLICATE_ENTRY = "PC0120";
    /// An SNI that the document's hosts do not cover.
    SNI_OUTSIDE_HOSTS = "PC0121";
    /// Weights that share nothing out, or do not add up.
    INVALID_WEIGHTS = "PC0122";
    /// A delegate that claims what only its root may.
    INVALID_DELEGATE = "PC0123";
    /// A field that has no meaning where it stands, and that Istio refuses there.
    FIELD_OUT_OF_PLACE = "PC0124";
    /// Checks of certificates that clients show to a gateway are not in force.
    CLIENT_CERTIFICATE_NOT_IN_FORCE = "PC0126";
    /// More than one MeshConfig in a set.
    SECOND_MESH_CONFIG = "PC0130";
    /// A MeshConfig whose trust domain is not the process's.
    FOREIGN_TRUST_DOMAIN = "PC0131";
    /// An EnvoyFilter that is not recognised.
    ENVOY_FILTER_REFUSED = "PC0132";
    /// Two documents of a kind that a namespace may have once without a selector.
    SECOND_FOR_NAMESPACE = "PC0134";

    /// A load balancer that needs what is not in force yet.
    LOAD_BALANCER_NOT_IN_FORCE = "PC0208";
    /// Another traffic field that is not in force yet.
    FIELD_NOT_IN_FORCE = "PC0213";
    /// A deprecated name for a field.
    DEPRECATED_FIELD = "PC0220";
    /// A deprecated name for a value.
    DEPRECATED_VALUE = "PC0221";
    /// Addresses of services are not in force yet.
    ADDRESSES_NOT_IN_FORCE = "PC0222";
    /// A way to resolve a service that is not in force yet.
    RESOLUTION_NOT_IN_FORCE = "PC0223";
    /// A way to look at localities that is not in force yet.
    LOCALITY_NOT_IN_FORCE = "PC0224";
    /// Networks are not in force yet.
    NETWORK_NOT_IN_FORCE = "PC0225";
    /// Tunnels are not in force yet.
    TUNNEL_NOT_IN_FORCE = "PC0227";
    /// The PROXY protocol to endpoints is not in force yet.
    PROXY_PROTOCOL_NOT_IN_FORCE = "PC0228";
    /// Addresses of listeners are not in force: the process has them.
    BIND_NOT_IN_FORCE = "PC0230";
    /// Endpoints on Unix sockets are not in force yet.
    UNIX_ADDRESS_NOT_IN_FORCE = "PC0231";
    /// A field that has no effect where it stands, and that Istio tolerates there.
    FIELD_WITHOUT_EFFECT = "PC0233";
    /// A service without ports, which nobody can call.
    SERVICE_WITHOUT_PORTS = "PC0234";
    /// A server outside of the mesh that nobody verifies.
    UNVERIFIED_SERVER = "PC0235";
    /// A document of the Gateway API, which is not read.
    GATEWAY_API_NOT_READ = "PC0240";
    /// A part of an IstioOperator other than its `meshConfig`.
    OPERATOR_NOT_READ = "PC0241";
    /// WorkloadGroup is not in force yet.
    WORKLOAD_GROUP_NOT_IN_FORCE = "PC0244";
    /// Telemetry is not in force yet.
    TELEMETRY_NOT_IN_FORCE = "PC0245";
    /// ProxyConfig is not in force yet.
    PROXY_CONFIG_NOT_IN_FORCE = "PC0246";
    /// A setting of a MeshConfig that is not in force yet.
    MESH_SETTING_NOT_IN_FORCE = "PC0247";
    /// An extension provider of a kind that is not in force yet.
    PROVIDER_NOT_IN_FORCE = "PC0248";
    /// A PolicyTest among the documents of a process.
    POLICY_TEST_NOT_IN_FORCE = "PC0260";

    /// A destination host that no document declares.
    UNKNOWN_HOST = "PC0301";
    /// A short host name that several services have.
    AMBIGUOUS_HOST = "PC0302";
    /// A subset that no DestinationRule defines.
    UNKNOWN_SUBSET = "PC0303";
    /// A gateway that no document declares.
    UNKNOWN_GATEWAY = "PC0304";
    /// A port that the service does not have, or several ports to choose from.
    UNKNOWN_PORT = "PC0305";
    /// Two documents claim one host.
    CONFLICTING_HOST = "PC0306";
    /// An endpoint whose identity cannot be verified under mTLS.
    UNVERIFIABLE_ENDPOINT = "PC0307";
    /// Two servers of a gateway port contradict each other.
    CONFLICTING_SERVERS = "PC0308";
    /// A VirtualService whose hosts no server of its gateway has.
    UNBOUND_HOST = "PC0309";
    /// A destination without endpoints.
    NO_ENDPOINTS = "PC0310";
    /// A subset that some clients of the route do not see.
    HIDDEN_SUBSET = "PC0311";
    /// A match on a port that no listener of the document has.
    UNMATCHED_PORT = "PC0312";
    /// A delegate that no document declares.
    UNKNOWN_DELEGATE = "PC0313";
    /// A VirtualService that cannot be a delegate: it has hosts, or delegates itself.
    BAD_DELEGATE = "PC0314";
    /// A part of a DestinationRule beside which an earlier rule for the same host leaves it without effect.
    CONFLICTING_RULES = "PC0315";
    /// `tcp` or `tls` routes for which there is no port.
    ROUTES_STAND_NOWHERE = "PC0316";
    /// A destination that some clients of its route do not see.
    HIDDEN_SERVICE = "PC0317";
    /// A host of a Sidecar that means nothing.
    UNKNOWN_EGRESS_HOST = "PC0318";
    /// A delegate's route that no request of the delegating route reaches.
    DELEGATE_ROUTE_DROPPED = "PC0320";
    /// A VirtualService without hosts that no route delegates to.
    UNUSED_DELEGATE = "PC0321";
    /// Names of a server's certificate where no certificate is looked at.
    NAMES_WITHOUT_TLS = "PC0330";

    /// A route without `timeout`.
    NO_TIMEOUT = "PC0601";
    /// Tries that do not fit into the timeout.
    TRIES_EXCEED_TIMEOUT = "PC0602";
    /// Retries of requests that may have taken effect.
    RETRIED_WRITES = "PC0603";
    /// Retries that multiply along a chain of calls.
    RETRY_AMPLIFICATION = "PC0604";
    /// A timeout above that of every caller.
    TIMEOUT_ABOVE_CALLER = "PC0605";
    /// A fault that hits no request.
    EMPTY_FAULT = "PC0606";
    /// A route that is never reached.
    UNREACHABLE_ROUTE = "PC0610";
    /// A match that has no effect beside earlier ones.
    SHADOWED_MATCH = "PC0611";
    /// Weights that do not add up to 100.
    ODD_WEIGHTS = "PC0613";
    /// A header that route and destination both set.
    HEADER_SET_TWICE = "PC0614";
    /// A rewrite that doubles or glues slashes.
    REWRITE_SLASHES = "PC0615";
    /// A prefix that does not end at a slash.
    OPEN_PREFIX = "PC0616";
    /// A redirect that leads to itself.
    REDIRECT_LOOP = "PC0618";
    /// A server of a Gateway that no VirtualService has a host of.
    SERVER_WITHOUT_ROUTES = "PC0619";
    /// A plaintext server beside a TLS server of the same host, without redirect.
    PLAINTEXT_BESIDE_TLS = "PC0621";
    /// Several endpoints that nobody watches.
    NO_OUTLIER_DETECTION = "PC0622";
    /// A breaker over a single endpoint.
    BREAKER_OVER_ONE_ENDPOINT = "PC0624";
    /// A breaker that never opens.
    BREAKER_NEVER_OPENS = "PC0625";
    /// A service whose load balancer nobody chose.
    DEFAULT_BALANCER = "PC0626";
}
