//! A route table as people read it: every host with its routes and their conditions.

use http::HeaderName;
use serde_json::{Map, Value, json};

use super::matching::{Condition, Text};
use super::rule_list::RuleList;
use super::{ClaimPath, HeaderOps, HeaderText, HttpRoute, Redirect, RouteTable, TableKind};
use crate::document::RedirectPort;
use crate::host::HostPattern;
use crate::raw::{REDACTED, is_secret_name};

/// The routes of some hosts of one port; several names of a service share them.
#[derive(Clone, Debug)]
pub struct HostRoutes<'a> {
    /// For which port.
    pub port: PortOf,
    /// For which hosts.
    pub hosts: Vec<HostPattern>,
    rules: Option<&'a RuleList>,
}

/// Which requests a list of hosts is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortOf {
    /// Those of this port.
    Number(u16),
    /// Those whose host names no port (on a sidecar).
    Unnamed,
    /// Those whose host no document declares, on any port (on a sidecar).
    Any,
}

/// One match and its route, in the order in which they are tried.
#[derive(Clone, Copy, Debug)]
pub struct ListedRoute<'a> {
    /// What to do.
    pub route: &'a HttpRoute,
    condition: &'a Condition,
}

impl RouteTable {
    /// Every host with its routes, port by port.
    pub fn hosts(&self) -> Vec<HostRoutes<'_>> {
        let of_ports = self
            .listeners
            .iter()
            .map(|(port, hosts)| (PortOf::Number(*port), hosts));
        let others = [
            (PortOf::Unnamed, &self.portless),
            (PortOf::Any, &self.anywhere),
        ];
        let others = others
            .into_iter()
            .filter(|_| self.kind == TableKind::Sidecar);
        let mut found: Vec<HostRoutes<'_>> = Vec::new();
        for (port, hosts) in of_ports.chain(others) {
            let first = found.len();
            let mut lists: Vec<u32> = Vec::new();
            for (pattern, list) in hosts.patterns() {
                let known = lists.iter().position(|known| *known == list);
                if let Some(known) = known.and_then(|position| found.get_mut(first + position)) {
                    known.hosts.push(pattern);
                    continue;
                }
                let rules = usize::try_from(list).ok().and_then(|at| self.rules.get(at));
                lists.push(list);
                found.push(HostRoutes {
                    port,
                    hosts: vec![pattern],
                    rules: rules.map(|rules| &**rules),
                });
            }
        }
        found
    }
}

impl<'a> HostRoutes<'a> {
    /// The routes, in the order in which they are tried.
    pub fn routes(&self) -> impl Iterator<Item = ListedRoute<'a>> + use<'a> {
        self.rules
            .into_iter()
            .flat_map(RuleList::iter)
            .map(|rule| ListedRoute {
                route: &rule.route,
                condition: &rule.condition,
            })
    }
}

impl ListedRoute<'_> {
    /// The conditions in the words of `HTTPMatchRequest`, secrets taken out; empty matches everything.
    pub fn conditions(&self) -> Value {
        let Condition {
            uri,
            scheme,
            method,
            authority,
            port,
            headers,
            without_headers,
            claims,
            without_claims,
            query_params,
        } = self.condition;
        let mut found = Map::new();
        for (field, wanted) in [
            ("uri", uri),
            ("scheme", scheme),
            ("method", method),
            ("authority", authority),
        ] {
            if let Some(wanted) = wanted {
                found.insert(field.to_owned(), text(wanted));
            }
            let ignored = matches!(
                wanted,
                Some(Text::ExactIgnoreCase(_) | Text::PrefixIgnoreCase(_))
            );
            if field == "uri" && ignored {
                found.insert("ignoreUriCase".to_owned(), true.into());
            }
        }
        if let Some(port) = port {
            found.insert("port".to_owned(), (*port).into());
        }
        let named = |pairs: &[(HeaderName, Text)]| -> Map<String, Value> {
            let pair = |(name, wanted): &(HeaderName, Text)| {
                let shown = if is_secret_name(name.as_str()) {
                    REDACTED.into()
                } else {
                    text(wanted)
                };
                (name.to_string(), shown)
            };
            pairs.iter().map(pair).collect()
        };
        let parameters = query_params
            .iter()
            .map(|(name, wanted)| (name.to_string(), text(wanted)));
        let of_claims = |pairs: &[(ClaimPath, Text)]| -> Map<String, Value> {
            let pair = |(claim, wanted): &(ClaimPath, Text)| (claim.to_string(), text(wanted));
            pairs.iter().map(pair).collect()
        };
        let joined = |mut named: Map<String, Value>, claims: Map<String, Value>| {
            named.extend(claims);
            named
        };
        for (field, map) in [
            ("headers", joined(named(headers), of_claims(claims))),
            (
                "withoutHeaders",
                joined(named(without_headers), of_claims(without_claims)),
            ),
            ("queryParams", parameters.collect()),
        ] {
            if !map.is_empty() {
                found.insert(field.to_owned(), map.into());
            }
        }
        found.into()
    }
}

impl HeaderOps {
    /// The changes in the words of `HeaderOperations`, secrets taken out.
    pub fn described(&self) -> Value {
        let pairs = |pairs: &[(HeaderName, HeaderText)]| -> Map<String, Value> {
            let pair = |(name, text): &(HeaderName, HeaderText)| {
                let shown = match text {
                    _ if is_secret_name(name.as_str()) => REDACTED.to_owned(),
                    HeaderText::Fixed(value) if value.is_sensitive() => REDACTED.to_owned(),
                    HeaderText::Fixed(value) => {
                        String::from_utf8_lossy(value.as_bytes()).into_owned()
                    }
                    HeaderText::Made(format) => format.as_written().to_owned(),
                };
                (name.to_string(), shown.into())
            };
            pairs.iter().map(pair).collect()
        };
        let mut set = pairs(&self.set);
        if let Some(authority) = &self.authority {
            let shown = String::from_utf8_lossy(authority.as_bytes()).into_owned();
            set.insert("host".to_owned(), shown.into());
        }
        let remove: Vec<String> = self.remove.iter().map(ToString::to_string).collect();
        json!({"set": set, "add": pairs(&self.add), "remove": remove})
    }
}

impl Redirect {
    /// The changes in the words of `HTTPRedirect`.
    pub fn described(&self) -> Value {
        let port = self.port.map(|port| match port {
            RedirectPort::Number(number) => json!(number),
            RedirectPort::ProtocolDefault => json!("FROM_PROTOCOL_DEFAULT"),
            RedirectPort::Request => json!("FROM_REQUEST_PORT"),
        });
        json!({"scheme": self.scheme, "authority": self.authority, "port": port, "uri": self.path})
    }
}

/// A comparison in the words of `StringMatch`.
fn text(wanted: &Text) -> Value {
    match written(wanted) {
        (form, Some(text)) => json!({ form: text }),
        (form, None) => json!({ form: true }),
    }
}

/// The form and the text of a comparison, as they were written.
pub(super) fn written(wanted: &Text) -> (&'static str, Option<&str>) {
    match wanted {
        Text::Exact(text) | Text::ExactIgnoreCase(text) => ("exact", Some(text)),
        Text::Prefix(text) | Text::PrefixIgnoreCase(text) => ("prefix", Some(text)),
        Text::Regex(regex) => {
            let anchored = regex.as_str();
            let inner = anchored
                .strip_prefix("\\A(?:")
                .and_then(|rest| rest.strip_suffix(")\\z"));
            ("regex", Some(inner.unwrap_or(anchored)))
        }
        Text::Present => ("present", None),
        Text::Never => ("never", None),
    }
}
