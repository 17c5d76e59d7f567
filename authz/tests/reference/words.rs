//! The words of policies and requests.

pub(crate) const PRINCIPALS: &[&str] = &[
    "cluster.local/ns/a/sa/b",
    "td1/ns/a/sa/b",
    "old-td/ns/a/sa/c",
    "other/ns/a/sa/b",
    "*",
    "*/sa/b",
    "td1/ns/a/*",
    "td1/ns/a/sa/*",
    "*-td/ns/a/sa/c",
    "td*/ns/a/sa/b",
    "*/ns/a/sa/b",
    "spiffe://td1/ns/a/sa/b",
    "cluster.local/ns/*",
];
pub(crate) const NAMESPACES: &[&str] = &["a", "b", "a*", "*", "*b", "ns"];
pub(crate) const ACCOUNTS: &[&str] = &["b", "c", "a/b", "a/c", "shop/b"];
pub(crate) const BLOCKS: &[&str] = &[
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.1.2.3",
    "192.168.0.0/24",
    "0.0.0.0/0",
];
pub(crate) const HOSTS: &[&str] = &["web.shop", "WEB.shop:8080", "*.shop", "web*", "*", "*:8080"];
pub(crate) const METHODS: &[&str] = &["GET", "POST", "P*", "*T", "*"];
pub(crate) const PATHS: &[&str] = &[
    "/",
    "/api/*",
    "/api/v1",
    "*/v1",
    "*",
    "/api/{*}",
    "/api/{*}/x",
    "/{**}",
    "/api/{**}/x",
    "/api?x",
    "/a*b",
];
pub(crate) const REQUEST_PATHS: &[&str] = &[
    "/",
    "/api/v1",
    "/api/v1/x",
    "/api/",
    "/api",
    "/api/é",
    "/api/é/x",
    "/a*b",
    "/api//x",
];
pub(crate) const TRUST_DOMAINS: &[&str] = &[
    "td1",
    "old-td",
    "other",
    "cluster.local",
    "*",
    "td*",
    "*-td",
    "o*r",
];
pub(crate) const REQUEST_PRINCIPALS: &[&str] = &[
    "*",
    "i/alice",
    "https://i.example/alice",
    "https://i.example/*",
    "https://i.example/al*",
    "https://i*",
    "*/alice",
    "*.example/bob",
    "*ice",
    "i*",
    "i",
];
pub(crate) const CLAIMS: &[&str] = &[
    "staff",
    "dev",
    "read",
    "read write",
    "s*",
    "*v",
    "*",
    "7",
    "true",
];
pub(crate) const ROLES: &[&str] = &["admin", "user", "admin,user", "a*", "*r", "*"];
