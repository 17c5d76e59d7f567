//! Weights before and after, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use policies::raw::share;
use serde::Serialize;

use crate::change::plan::Effect;
use crate::terminal;

/// A service's subsets and the routes that send to it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Standing {
    /// As it was asked for.
    pub(super) host: String,
    /// `name.namespace`, or the host outside of the mesh.
    pub(super) service: String,
    pub(super) subsets: Vec<SubsetShown>,
    pub(super) routes: Vec<RouteShown>,
}

/// A subset of the service.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SubsetShown {
    pub(super) name: String,
    /// Which of the service's endpoints belong to it.
    pub(super) labels: BTreeMap<String, String>,
    /// `file:line`.
    pub(super) at: String,
}

/// A route with its destinations.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RouteShown {
    pub(super) namespace: String,
    pub(super) virtual_service: String,
    /// `http[1]`.
    pub(super) route: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    /// `file:line`.
    pub(super) at: String,
    pub(super) destinations: Vec<DestinationShown>,
}

/// A destination with its weight.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DestinationShown {
    pub(super) host: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) subset: Option<String>,
    /// Whether it is the service that was asked for.
    #[serde(skip)]
    pub(super) is_asked_for: bool,
    #[serde(rename = "weight")]
    pub(super) before: u32,
    /// The weight that it gets, where it may get another one.
    #[serde(rename = "weightAfter", skip_serializing_if = "Option::is_none")]
    pub(super) after: Option<u32>,
    /// `file:line`.
    pub(super) at: String,
}

impl RouteShown {
    /// `my-app/product-service http[1] split`.
    fn label(&self) -> String {
        let name = self.name.as_deref().unwrap_or_default();
        format!(
            "{}/{} {} {name}",
            self.namespace, self.virtual_service, self.route
        )
        .trim_end()
        .to_owned()
    }
}

impl DestinationShown {
    /// The subset; of another service with its host.
    fn label(&self) -> String {
        let subset = self.subset.as_deref();
        match (self.is_asked_for, subset) {
            (true, Some(subset)) => subset.to_owned(),
            (true, None) => "-".to_owned(),
            (false, Some(subset)) => format!("{} {subset}", self.host),
            (false, None) => self.host.clone(),
        }
    }
}

/// What stands in the documents.
pub(super) fn standing(standing: &Standing) -> String {
    let mut rows = vec![heading(&["ROUTE", "SUBSET", "WEIGHT", "SHARE", "AT"])];
    for route in &standing.routes {
        let weights: Vec<u32> = route.destinations.iter().map(|to| to.before).collect();
        let shares = share(100, &weights);
        let label = route.label();
        for (number, (to, share)) in route.destinations.iter().zip(shares).enumerate() {
            // The route is named once.
            let label = if number == 0 { label.as_str() } else { "" };
            rows.push(vec![
                label.to_owned(),
                to.label(),
                to.before.to_string(),
                format!("{share} %"),
                to.at.clone(),
            ]);
        }
    }
    let mut text = format!("{}\n", terminal::heading(&standing.service));
    for subset in &standing.subsets {
        let labels: Vec<String> = subset
            .labels
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        // Writing to a String does not fail.
        writeln!(
            text,
            "  subset {} ({}) at {}",
            subset.name,
            labels.join(", "),
            subset.at
        )
        .ok();
    }
    text.push('\n');
    text.push_str(&terminal::table(&rows));
    text
}

/// What a change does to each route; those that stay as they are say so.
pub(super) fn of(routes: &[RouteShown]) -> Effect {
    let mut rows = vec![heading(&["ROUTE", "SUBSET", "BEFORE", "AFTER", "AT"])];
    for route in routes {
        let label = route.label();
        for (number, to) in route.destinations.iter().enumerate() {
            let label = if number == 0 { label.as_str() } else { "" };
            let after = to
                .after
                .map_or_else(|| "as it is".to_owned(), |after| after.to_string());
            rows.push(vec![
                label.to_owned(),
                to.label(),
                to.before.to_string(),
                after,
                to.at.clone(),
            ]);
        }
    }
    let json = serde_json::to_value(routes).unwrap_or_default();
    Effect {
        text: terminal::table(&rows),
        json: [("routes".to_owned(), json)].into_iter().collect(),
    }
}

fn heading(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
