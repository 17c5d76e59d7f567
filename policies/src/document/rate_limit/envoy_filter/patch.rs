//! One of `configPatches`, as far as it is recognised.

use super::super::envoy::{LocalFilter, either, global_filter, local_filter, rate_limits, typed};
use super::super::{LimitDirection, LimitKey, LimitResponse, LimitScope, RateLimitService};
use super::{direction, refuse};
use crate::decode::{Cursor, Decode, Fields, NonEmpty, is_host_name};

const LOCAL: &str = "envoy.filters.http.local_ratelimit";
const GLOBAL: &str = "envoy.filters.http.ratelimit";
const LOCAL_TYPE: &str = "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit";
const GLOBAL_TYPE: &str = "envoy.extensions.filters.http.ratelimit.v3.RateLimit";

/// A recognised patch.
pub(super) struct Patch {
    pub(super) direction: LimitDirection,
    pub(super) scope: LimitScope,
    pub(super) placed: Vec<Placed>,
}

/// What a patch puts in place.
pub(super) enum Placed {
    Local(Box<LocalFilter>),
    Global(Box<(RateLimitService, LimitResponse)>),
    Actions(Vec<Vec<LimitKey>>),
}

/// Where a patch puts something.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Target {
    Filter,
    Route,
    VirtualHost,
}

impl Decode for Patch {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        // First whether it is one of ours: a stranger's fields are not ours to judge.
        let target = target(cursor)?;
        cursor.fields(|f| {
            f.get("applyTo");
            let found = f.get("match").map(|cursor| cursor.fields(matched));
            let placed = if let Some(patch) = f.get("patch") {
                patch.fields(|f| placed(target, f))
            } else {
                f.missing("patch");
                None
            };
            let Some(found) = found else {
                return refuse(f.cursor(), "a patch without a context");
            };
            let (direction, scope) = found?;
            Some(Self {
                direction,
                scope,
                placed: placed?,
            })
        })
    }
}

fn target(cursor: &Cursor<'_>) -> Option<Target> {
    let entries = cursor.entries()?;
    let text_of = |entries: &[(&str, Cursor<'_>)], name: &str| {
        let (_, value) = entries.iter().find(|(key, _)| *key == name)?;
        value.text().map(str::to_owned)
    };
    let target = match text_of(&entries, "applyTo").as_deref() {
        Some("HTTP_FILTER") => Target::Filter,
        Some("HTTP_ROUTE") => return Some(Target::Route),
        Some("VIRTUAL_HOST") => return Some(Target::VirtualHost),
        Some(other) => {
            return refuse(
                cursor,
                &format!(
                    "a patch of `{}` is not recognised",
                    crate::yaml::shortened(other)
                ),
            );
        }
        None => return refuse(cursor, "a patch without `applyTo`"),
    };
    let name = below(&entries, "patch")
        .and_then(|patch| below(&patch, "value"))
        .and_then(|value| text_of(&value, "name"));
    match name.as_deref() {
        Some(LOCAL | GLOBAL) => Some(target),
        Some(other) => refuse(
            cursor,
            &format!(
                "the filter `{}` is not recognised",
                crate::yaml::shortened(other)
            ),
        ),
        None => refuse(cursor, "a patch of a filter that is not named"),
    }
}

/// The entries of one of the entries.
fn below<'a>(entries: &[(&str, Cursor<'a>)], name: &str) -> Option<Vec<(&'a str, Cursor<'a>)>> {
    let (_, value) = entries.iter().find(|(key, _)| *key == name)?;
    value.entries()
}

/// `match`: the direction, and which requests.
fn matched(f: &mut Fields<'_>) -> Option<(LimitDirection, LimitScope)> {
    let direction = match f.get("context") {
        Some(cursor) => direction(&cursor),
        None => refuse(
            f.cursor(),
            "a patch without `context`, which means inbound and outbound",
        ),
    };
    let mut scope = LimitScope::default();
    if let Some(cursor) = f.get("listener") {
        cursor.fields(|f| {
            if let Some(port) = f.get("portNumber") {
                scope
                    .ports
                    .extend(crate::decode::Port::decode(&port).map(|port| port.0));
            }
            // Where in the chain: the limits stand at one place here.
            f.get("filterChain");
            Some(())
        });
    }
    if let Some(cursor) = f.get("routeConfiguration") {
        cursor.fields(|f| {
            f.get("name");
            if let Some(port) = f.get("portNumber") {
                scope
                    .ports
                    .extend(crate::decode::Port::decode(&port).map(|port| port.0));
            }
            let host = f.get("vhost");
            host.and_then(|cursor| cursor.fields(|f| virtual_host(f, &mut scope)))
        });
    }
    direction.map(|direction| (direction, scope))
}

/// Istio's names of virtual hosts: `inbound|http|9080`, `<host>:<port>`; empty for any.
fn virtual_host(f: &mut Fields<'_>, scope: &mut LimitScope) -> Option<()> {
    if let Some(cursor) = f.get("name") {
        let text = cursor.text()?;
        let (host, port) = match text.strip_prefix("inbound|http|") {
            Some(port) => ("*", port),
            None => text.rsplit_once(':').unwrap_or((text, "")),
        };
        let port = match port {
            "" => None,
            port => match port.parse::<u16>() {
                Ok(port @ 1..) => Some(port),
                _ => return cursor.invalid("the name of a virtual host, `<host>:<port>`"),
            },
        };
        scope.ports.extend(port);
        if !matches!(host, "" | "*") {
            if !is_host_name(host.strip_prefix("*.").unwrap_or(host)) {
                return cursor.invalid("the name of a virtual host, `<host>:<port>`");
            }
            scope.hosts.push(host.to_owned());
        }
    }
    if let Some(cursor) = f.get("route") {
        cursor.fields(|f| {
            let name = f.get("name").and_then(|cursor| cursor.text());
            scope
                .routes
                .extend(name.filter(|name| !name.is_empty()).map(str::to_owned));
            if let Some(action) = f.get("action")
                && action.text() != Some("ANY")
            {
                refuse::<()>(&action, "a patch of routes of one action")?;
            }
            Some(())
        });
    }
    Some(())
}

/// `patch: {operation, value}`.
fn placed(target: Target, f: &mut Fields<'_>) -> Option<Vec<Placed>> {
    let operation = f.get("operation");
    f.get("filterClass");
    let fits = operation
        .as_ref()
        .and_then(Cursor::text)
        .is_some_and(|text| match target {
            Target::Filter => matches!(
                text,
                "INSERT_BEFORE" | "INSERT_FIRST" | "INSERT_AFTER" | "ADD"
            ),
            Target::Route | Target::VirtualHost => text == "MERGE",
        });
    if !fits {
        return refuse(
            operation.as_ref().unwrap_or_else(|| f.cursor()),
            "an operation that is not recognised",
        );
    }
    let Some(value) = f.get("value") else {
        f.missing("value");
        return None;
    };
    value.fields(|f| match target {
        Target::Filter => filter(f).map(|placed| vec![placed]),
        Target::Route => {
            let actions = f
                .get("route")
                .and_then(|cursor| cursor.fields(|f| Some(rate_limits(f))));
            settings(f, actions.unwrap_or_default())
        }
        Target::VirtualHost => {
            let actions = rate_limits(f);
            settings(f, actions)
        }
    })
}

/// A filter in the chain.
fn filter(f: &mut Fields<'_>) -> Option<Placed> {
    let NonEmpty(name) = f.required("name")?;
    let Some(config) = either(f, "typed_config", "typedConfig") else {
        f.missing("typed_config");
        return None;
    };
    if name == LOCAL {
        let filter = typed(&config, LOCAL_TYPE, local_filter)?;
        Some(Placed::Local(Box::new(filter)))
    } else {
        let filter = typed(&config, GLOBAL_TYPE, global_filter)?;
        Some(Placed::Global(Box::new(filter)))
    }
}

/// Settings of a route or a virtual host.
fn settings(f: &mut Fields<'_>, actions: Vec<Vec<LimitKey>>) -> Option<Vec<Placed>> {
    let mut placed = Vec::new();
    if let Some(config) = either(f, "typed_per_filter_config", "typedPerFilterConfig") {
        let local = config.fields(|f| {
            let Some(local) = f.get(LOCAL) else {
                return refuse(f.cursor(), "settings of another filter");
            };
            typed(&local, LOCAL_TYPE, local_filter)
        })?;
        placed.push(Placed::Local(Box::new(local)));
    }
    if !actions.is_empty() {
        placed.push(Placed::Actions(actions));
    }
    if placed.is_empty() {
        return refuse(f.cursor(), "a patch without rate limits");
    }
    Some(placed)
}
