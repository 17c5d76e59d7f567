//! A service's subsets and the routes that send to it, as the mesh's documents have them, and other weights planned.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use policies::raw::{self, Destination, Identity, Split, Unset};
use policies::source::{Location, SourceFile};
use runtime::documents::Edition;
use serde_json::Value;

use super::effect::{self, DestinationShown, RouteShown, Standing, SubsetShown};
use crate::change::plan::{Change, Plan, SetPlan, What};
use crate::directory::MeshDir;
use crate::exit::Failure;
use crate::mesh_set::{Readers, shown};
use crate::names::DEFAULT_NAMESPACE;
use crate::terminal;

/// What the documents say about one service.
#[derive(Debug)]
pub(super) struct Release {
    before: Edition,
    /// As it was typed.
    host: String,
    /// Its name wherever it is called from.
    called: String,
    subsets: Vec<Subset>,
    routes: Vec<Route>,
}

/// A subset of the service (`subsets[]` of a DestinationRule).
#[derive(Debug)]
struct Subset {
    name: String,
    labels: BTreeMap<String, String>,
    at: Location,
}

/// A route that sends to the service, perhaps among others.
#[derive(Debug)]
struct Route {
    document: Identity,
    split: Split,
}

impl Release {
    /// Reads the mesh's documents; a host that none of them sends to is a wrong command line.
    pub(super) fn read(dir: &MeshDir, host: &str, namespace: &str) -> Result<Self, Failure> {
        let before = Readers::Proxies.read(dir)?;
        let called = called(host, namespace);
        let mut known: Vec<String> = Vec::new();
        let mut routes = Vec::new();
        for (document, splits) in before.files.iter().flat_map(raw::splits_of) {
            let document = document.identity(DEFAULT_NAMESPACE);
            for split in splits {
                let each = split.destinations.iter();
                let hosts: Vec<String> = each
                    .map(|to| self::called(&to.host, &document.namespace))
                    .collect();
                if hosts.contains(&called) {
                    routes.push(Route {
                        document: document.clone(),
                        split,
                    });
                }
                known.extend(hosts);
            }
        }
        if routes.is_empty() {
            known.sort();
            known.dedup();
            let failure = Failure::usage(format!("no route sends to `{host}` ({called})"));
            return Err(failure.hint(format!("routes send to: {}", known.join(", "))));
        }
        let subsets = before
            .files
            .iter()
            .flat_map(|file| subsets_of(file, &called))
            .collect();
        Ok(Self {
            before,
            host: host.to_owned(),
            called,
            subsets,
            routes,
        })
    }

    /// What stands in the documents.
    pub(super) fn now(&self, dir: &MeshDir) -> Standing {
        let subsets = self.subsets.iter().map(|subset| SubsetShown {
            name: subset.name.clone(),
            labels: subset.labels.clone(),
            at: place(dir, &subset.at),
        });
        let routes = self.routes.iter();
        Standing {
            host: self.host.clone(),
            service: self.called.clone(),
            subsets: subsets.collect(),
            routes: routes.map(|route| self.shown(dir, route, None)).collect(),
        }
    }

    /// Other weights in every route that divides between these subsets.
    pub(super) fn plan(self, dir: &MeshDir, wanted: &[(String, u32)]) -> Result<Plan, Failure> {
        self.check_subsets(dir, wanted)?;
        let mut after: Vec<Option<Vec<u32>>> = Vec::new();
        let mut reasons = Vec::new();
        for route in &self.routes {
            after.push(self.reckon(dir, route, wanted, &mut reasons)?);
        }
        if after.iter().all(Option::is_none) {
            let failure = Failure::new(format!(
                "no route divides the requests for `{}` between what you name: {}",
                self.host,
                reasons.join("; ")
            ));
            return Err(failure.hint(
                "write a destination for each subset into a route, the new one with `weight: 0`",
            ));
        }
        let files = self.files(dir, &after)?;
        let each = self.routes.iter().zip(&after);
        let routes: Vec<RouteShown> = each
            .map(|(route, after)| self.shown(dir, route, after.as_deref()))
            .collect();
        Ok(Plan {
            changes: self.changes(&after),
            effect: effect::of(&routes),
            sets: if files.is_empty() {
                Vec::new()
            } else {
                vec![SetPlan {
                    readers: Readers::Proxies,
                    before: self.before,
                    files,
                }]
            },
        })
    }

    /// Somebody mistyped a subset's name, or has not declared it yet.
    fn check_subsets(&self, dir: &MeshDir, wanted: &[(String, u32)]) -> Result<(), Failure> {
        let is_known = |name: &String| self.subsets.iter().any(|subset| subset.name == *name);
        let Some((unknown, _)) = wanted.iter().find(|(name, _)| !is_known(name)) else {
            return Ok(());
        };
        let failure = Failure::usage(format!("`{}` has no subset `{unknown}`", self.host));
        let each = self.subsets.iter();
        let known: Vec<String> = each
            .map(|subset| format!("{} ({})", subset.name, place(dir, &subset.at)))
            .collect();
        Err(failure.hint(if known.is_empty() {
            "no DestinationRule declares subsets of it".to_owned()
        } else {
            format!("its subsets are {}", known.join(", "))
        }))
    }

    /// The weights that a route gets; none if it stays as it is, which is explained then.
    fn reckon(
        &self,
        dir: &MeshDir,
        route: &Route,
        wanted: &[(String, u32)],
        reasons: &mut Vec<String>,
    ) -> Result<Option<Vec<u32>>, Failure> {
        let at = || place(dir, &route.split.at);
        if !route.split.is_divided() {
            reasons.push(format!("the route at {} has one destination only", at()));
            return Ok(None);
        }
        match route.split.reckon(wanted, |host| self.is_called(host, route)) {
            Ok(after) => Ok(Some(after)),
            Err(Unset::Lacks(subset)) => {
                reasons.push(format!("the route at {} does not name `{subset}`", at()));
                Ok(None)
            }
            Err(Unset::Sum(sum)) => Err(Failure::usage(format!(
                "the weights come to {sum} and not to 100, and the route at {} has no other destination",
                at()
            ))
            .hint(format!(
                "{} canary show {} shows every destination",
                terminal::me(),
                self.host
            ))),
        }
    }

    /// The new text of every file that changes.
    fn files(
        &self,
        dir: &MeshDir,
        after: &[Option<Vec<u32>>],
    ) -> Result<BTreeMap<PathBuf, Option<String>>, Failure> {
        let mut files = BTreeMap::new();
        for file in &self.before.files {
            let here = self.routes.iter().zip(after);
            let here = here.filter(|(route, _)| route.split.at.file == file.name);
            let wanted: Vec<(&Destination, u32)> = here
                .filter_map(|(route, after)| Some((route, after.as_ref()?)))
                .flat_map(|(route, after)| {
                    let weights = after.iter().copied();
                    route.split.destinations.iter().zip(weights)
                })
                .collect();
            if wanted.is_empty() {
                continue;
            }
            let path = Path::new(&*file.name);
            let Some(text) = raw::set_weights(file, &wanted) else {
                let why = format!(
                    "the weights in `{}` cannot be changed where they stand",
                    shown(dir, path)
                );
                return Err(Failure::new(why)
                    .hint("YAML anchors or tags are in the way; change them with an editor"));
            };
            if text != *file.text {
                files.insert(path.to_owned(), Some(text));
            }
        }
        Ok(files)
    }

    /// The documents with a route that was asked about, each once.
    fn changes(&self, after: &[Option<Vec<u32>>]) -> Vec<Change> {
        let mut changes: Vec<Change> = Vec::new();
        for (route, after) in self.routes.iter().zip(after) {
            let Some(after) = after else { continue };
            // A weight that is written where none was is a change of the document too.
            let written = route.split.destinations.iter().map(|to| to.weight);
            let what = if written.eq(after.iter().copied().map(Some)) {
                What::Unchanged
            } else {
                What::Configured
            };
            match changes
                .iter_mut()
                .find(|change| change.identity == route.document)
            {
                Some(known) if what == What::Configured => known.what = what,
                Some(_) => {}
                None => changes.push(Change {
                    identity: route.document.clone(),
                    what,
                    file: PathBuf::from(&*route.split.at.file),
                }),
            }
        }
        changes
    }

    fn shown(&self, dir: &MeshDir, route: &Route, after: Option<&[u32]>) -> RouteShown {
        let split = &route.split;
        let before = split.weights();
        let each = split.destinations.iter().zip(before).enumerate();
        let destinations = each.map(|(number, (to, before))| DestinationShown {
            host: to.host.clone(),
            subset: to.subset.clone(),
            is_asked_for: self.is_called(&to.host, route),
            before,
            after: after.and_then(|after| after.get(number)).copied(),
            at: place(dir, &to.at),
        });
        RouteShown {
            namespace: route.document.namespace.clone(),
            virtual_service: route.document.name.clone(),
            route: format!("{}[{}]", split.protocol, split.index),
            name: split.name.clone(),
            at: place(dir, &split.at),
            destinations: destinations.collect(),
        }
    }

    fn is_called(&self, host: &str, route: &Route) -> bool {
        called(host, &route.document.namespace) == self.called
    }
}

/// `file:line` below the mesh's directory.
fn place(dir: &MeshDir, at: &Location) -> String {
    format!("{}:{}", shown(dir, Path::new(&*at.file)), at.line)
}

/// One name for all that a service of the mesh is called; any other host is called what it is.
fn called(host: &str, namespace: &str) -> String {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let labels: Vec<&str> = host.split('.').collect();
    match labels.as_slice() {
        ["*"] => host,
        [name] => format!("{name}.{namespace}"),
        [name, namespace, "svc"] | [name, namespace, "svc", "cluster", "local"] => {
            format!("{name}.{namespace}")
        }
        _ => host,
    }
}

fn subsets_of(file: &SourceFile, service: &str) -> Vec<Subset> {
    let mut found = Vec::new();
    for (document, places) in raw::values_of(file) {
        let identity = document.identity(DEFAULT_NAMESPACE);
        let host = document.value.pointer("/spec/host").and_then(Value::as_str);
        let ours = document.kind == "DestinationRule"
            && document.group() == "networking.istio.io"
            && host.is_some_and(|host| called(host, &identity.namespace) == service);
        let subsets = document.value.pointer("/spec/subsets");
        let subsets = subsets.and_then(Value::as_array).filter(|_| ours);
        for (index, subset) in subsets.into_iter().flatten().enumerate() {
            let Some(name) = subset.get("name").and_then(Value::as_str) else {
                continue;
            };
            let path = format!("spec.subsets[{index}].name");
            let place = places.iter().find(|(known, _)| *known == path);
            let place = place.map_or_else(|| document.at.start(), |(_, place)| *place);
            let labels = subset.get("labels").and_then(Value::as_object);
            let labels = labels.into_iter().flatten().map(|(key, value)| {
                let text = value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned);
                (key.clone(), text)
            });
            found.push(Subset {
                name: name.to_owned(),
                labels: labels.collect(),
                at: Location::spanning(Arc::clone(&file.name), place, place),
            });
        }
    }
    found
}

#[cfg(test)]
mod tests;
