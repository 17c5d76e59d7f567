//! `portcullis route`: which route answers a request, and why the earlier ones do not.

mod answer;
mod text;

use std::collections::BTreeMap;
use std::path::PathBuf;

use dataplane::checked;
use http::{HeaderMap, HeaderName, HeaderValue};
use policies::diagnostic::{Diagnostic, render};
use policies::host::split_port;
use policies::load::Loader;
use policies::route::{Proxy, RequestView, RouteTable};
use policies::workload::Workload;

use crate::cli::{Format, Route, RouteFrom};
use crate::directory::MeshDir;
use crate::exit::{Context as _, Exit, Failure};
use crate::inputs;
use crate::mesh_set::{Readers, edge, mesh};
use crate::names::DEFAULT_NAMESPACE;
use crate::services;
use crate::terminal;

/// The request as routing sees it.
struct Request {
    host: String,
    port: u16,
    path: String,
    query: Option<String>,
    method: String,
    scheme: String,
    headers: HeaderMap,
}

/// Says which route answers; exits with 1 if none does.
pub(crate) fn run(args: &Route) -> Result<Exit, Failure> {
    let mut files = inputs::read(&paths(args)?)?;
    if args.paths.is_empty() {
        let dir = MeshDir::resolve(&args.dir)?;
        files = services::with_registered(&dir, &files);
    }
    let checked = checked::check(&mut Loader::default(), &files, &mesh());
    if checked.has_errors() {
        let errors: Vec<Diagnostic> = checked
            .diagnostics
            .into_iter()
            .filter(Diagnostic::is_error)
            .collect();
        terminal::note(render(&errors, &files).trim_end());
        return Err(
            Failure::new("the documents have errors, so no proxy would route by them")
                .hint("give all of the mesh's documents: services and gateways too"),
        );
    }
    let workload = workload(args);
    let proxy = match args.from {
        RouteFrom::Gateway => Proxy::Gateway {
            workload: &workload,
        },
        RouteFrom::Mesh => Proxy::Sidecar {
            workload: &workload,
        },
    };
    let compiled = RouteTable::compile(&checked.documents, &checked.registry, &checked.mesh, proxy);
    let request = Request::of(args, checked.mesh.path_normalization)?;
    let explanation = compiled.routes.explain(&request.view());
    let answer = answer::answer(&request, &compiled, &explanation, &checked.documents);
    match args.output {
        Format::Json => {
            let json = serde_json::to_string_pretty(&answer);
            terminal::line(json.context(|| "cannot print".to_owned())?);
        }
        Format::Text => terminal::print(&text::render(&answer)),
    }
    Ok(if answer.route.is_some() {
        Exit::Fine
    } else {
        Exit::Finding
    })
}

/// What is named, or the documents of the mesh whether it runs or not.
fn paths(args: &Route) -> Result<Vec<PathBuf>, Failure> {
    if !args.paths.is_empty() {
        return Ok(args.paths.clone());
    }
    let dir = MeshDir::resolve(&args.dir)?;
    if dir.policies().is_dir() {
        let roots = Readers::Proxies.roots(&dir);
        return Ok(roots.into_iter().filter(|root| root.is_dir()).collect());
    }
    Err(
        Failure::unreachable(format!("there is no mesh in `{}`", dir.root().display()))
            .hint("name the files or directories with the documents"),
    )
}

/// The proxy's workload: the usual gateway, or the calling workload.
fn workload(args: &Route) -> Workload {
    let mut workload = match args.from {
        RouteFrom::Gateway => edge(),
        RouteFrom::Mesh => {
            let source = args.source.as_deref().unwrap_or("client");
            let (namespace, name) = source
                .split_once('/')
                .unwrap_or((DEFAULT_NAMESPACE, source));
            Workload {
                name: name.to_owned(),
                namespace: namespace.to_owned(),
                service_account: name.to_owned(),
                labels: BTreeMap::from([("app".to_owned(), name.to_owned())]),
            }
        }
    };
    for label in &args.labels {
        workload
            .labels
            .insert(label.key.clone(), label.value.clone());
    }
    workload
}

impl Request {
    fn of(args: &Route, normalization: policies::mesh::PathNormalization) -> Result<Self, Failure> {
        let (path, query) = authz::split_target(&args.path);
        let path = authz::normalize(path, normalization)
            .map_err(|error| Failure::usage(format!("--path `{}`: {error}", args.path)))?;
        let host = args.host.to_ascii_lowercase();
        let usual = if args.scheme == "https" { 443 } else { 80 };
        let of_host = match args.from {
            RouteFrom::Gateway => None,
            RouteFrom::Mesh => split_port(&host).1,
        };
        let mut headers = HeaderMap::new();
        for (name, value) in &args.headers {
            let bad = |what: &str| Failure::usage(format!("`{what}` cannot stand in a header"));
            let name: HeaderName = name.parse().map_err(|_| bad(name))?;
            let value = HeaderValue::from_str(value).map_err(|_| bad(value))?;
            headers.append(name, value);
        }
        Ok(Self {
            port: args.port.or(of_host).unwrap_or(usual),
            path: path.into_owned(),
            query: query.map(str::to_owned),
            method: args.method.clone(),
            scheme: args.scheme.clone(),
            host,
            headers,
        })
    }

    fn view(&self) -> RequestView<'_> {
        RequestView {
            host: &self.host,
            port: self.port,
            path: &self.path,
            query: self.query.as_deref(),
            method: &self.method,
            scheme: &self.scheme,
            headers: &self.headers,
            claims: None,
        }
    }
}
