//! What `portcullis chaos` prints.

use serde::Serialize;

use super::bodies::ScenarioBody;
use crate::cli::Format;
use crate::directory::MeshDir;
use crate::terminal;

/// A scenario that began.
pub(super) fn begun(scenario: &ScenarioBody, dir: &MeshDir, format: Format) {
    if format == Format::Json {
        return json(scenario);
    }
    let instances: Vec<&str> = scenario.instances.iter().map(|one| &*one.name).collect();
    terminal::line(format_args!(
        "{}: {}, ends by itself in {}",
        scenario.service,
        what(scenario),
        terminal::span(scenario.duration_seconds)
    ));
    terminal::line(format_args!("  at {}", instances.join(", ")));
    terminal::line(format_args!(
        "  stop it: {} chaos stop{} {}",
        terminal::me(),
        dir.flag(),
        scenario.service
    ));
}

/// Everything that holds.
pub(super) fn list(scenarios: &[ScenarioBody], format: Format) {
    if format == Format::Json {
        return json(&scenarios);
    }
    if scenarios.is_empty() {
        return terminal::line("nothing goes wrong on purpose");
    }
    let head = ["SERVICE", "TYPE", "WHAT", "LEFT", "STRUCK", "INSTANCES"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for scenario in scenarios {
        let instances: Vec<&str> = scenario.instances.iter().map(|one| &*one.name).collect();
        let struck: u64 = scenario.instances.iter().map(|one| one.struck).sum();
        rows.push(vec![
            scenario.service.clone(),
            scenario.r#type.clone(),
            what(scenario),
            terminal::span(scenario.remaining_seconds),
            struck.to_string(),
            instances.join(", "),
        ]);
    }
    terminal::print(&terminal::table(&rows));
}

/// For programs.
pub(super) fn json(body: &impl Serialize) {
    match serde_json::to_string_pretty(body) {
        Ok(text) => terminal::line(text),
        Err(error) => terminal::note(format_args!("error: {error}")),
    }
}

fn what(scenario: &ScenarioBody) -> String {
    let fault = scenario.fault();
    fault.map_or_else(|| "?".to_owned(), |fault| fault.to_string())
}
