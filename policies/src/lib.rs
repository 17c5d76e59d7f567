//! What people write and what it does: policy documents, routes, clusters and load balancing, without I/O and without a clock.
//!
//! The life of a policy document:
//!
//! 1. [`load`](load::load) reads [`SourceFile`](source::SourceFile)s: YAML with positions, then one typed document per kind.
//!    Every problem becomes a [`Diagnostic`](diagnostic::Diagnostic); a document with an error is left out of the set.
//! 2. [`check`](check::check) turns `ServiceEntry` and `WorkloadEntry` into services and endpoints, and finds what does not
//!    fit together, for every proxy alike. [`advise`](advice::advise) says what its authors will probably not want.
//! 3. [`RouteTable::compile`](route::RouteTable::compile) turns routes and destination rules into a table for one proxy, and
//!    [`GatewayListeners::compile`](listener::GatewayListeners::compile) says what a gateway listens to.
//! 4. Per request, [`RouteTable::find`](route::RouteTable::find) names the route, and
//!    [`Live::pick`](resilience::Live::pick) the endpoint: no lock, no allocation.
//!
//! A set whose load or check reports an error must not be put in force.

pub mod advice;
pub mod audience;
pub mod check;
pub mod cidr;
pub mod cluster;
mod decode;
pub mod diagnostic;
pub mod document;
pub mod host;
pub mod listener;
pub mod load;
pub mod mesh;
mod namespace_wide;
pub mod nearest;
pub mod protocol;
pub mod rate_limit;
pub mod raw;
pub mod registry;
pub mod resilience;
pub mod route;
pub mod schema;
mod scope;
pub mod source;
pub mod workload;
mod yaml;
