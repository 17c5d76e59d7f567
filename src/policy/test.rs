//! `portcullis policy test`: what policies decide about the requests of PolicyTest documents.

pub(crate) mod args;
mod carry_out;
mod coverage;
mod golden;
mod input;
mod junit;
mod results;
mod text;

use std::time::SystemTime;

use policies::diagnostic::{Paint, render_with};

use crate::exit::{Exit, Failure};
use crate::terminal;
use args::{Format, Test};
use coverage::Counter;
use input::Input;
use results::Results;

/// Carries the tests out; 1 if one of them fails or too few rules are reached.
pub(crate) fn run(args: &Test) -> Result<Exit, Failure> {
    let input = Input::read(&args.paths)?;
    show_findings(&input);
    if input.tests.is_empty() || (args.update && input.errors() > 0) {
        return Err(Failure::usage(
            "the tests or their policies have errors, so nothing was tested",
        ));
    }
    let wanted = args.coverage || args.min_coverage.is_some();
    let mut counter = wanted.then(Counter::default);
    let now = SystemTime::now();
    let mut tests = Vec::new();
    for found in &input.tests {
        tests.push(carry_out::test(found, now, counter.as_mut(), args.update)?);
    }
    let cases = || tests.iter().flat_map(|test| &test.cases);
    let results = Results {
        passed: cases().filter(|case| case.passed).count(),
        failed: cases().filter(|case| !case.passed).count(),
        coverage: counter.map(Counter::finish),
        tests,
    };
    match args.output {
        Format::Text => terminal::print(&text::render(&results, args.coverage)),
        Format::Json => terminal::line(json(&results)),
        Format::Junit => terminal::print(&junit::render(&results)),
    }
    if input.errors() > 0 {
        terminal::note("error: tests that have errors, or whose policies do, were not carried out");
        return Ok(Exit::Usage);
    }
    let percent = results.coverage.as_ref().map(|coverage| coverage.percent);
    if let (Some(least), Some(percent)) = (args.min_coverage, percent)
        && percent < least
    {
        terminal::note(format_args!(
            "error: the tests reach {percent} % of the rules, and --min-coverage wants {least} %"
        ));
        return Ok(Exit::Finding);
    }
    Ok(if results.failed == 0 {
        Exit::Fine
    } else {
        Exit::Finding
    })
}

fn json(results: &Results) -> String {
    // Texts and numbers have no form that JSON lacks.
    serde_json::to_string_pretty(results).unwrap_or_default()
}

/// Shows what is wrong with tests or policies; those with an error are not carried out.
fn show_findings(input: &Input) {
    if input.findings.is_empty() {
        return;
    }
    let mut findings = input.findings.clone();
    findings.sort_by(|a, b| a.at.cmp(&b.at));
    // Tests may be about the same policies.
    findings.dedup();
    let sources: Vec<_> = input.sources.values().cloned().collect();
    let paint = if terminal::colours() {
        Paint::Coloured
    } else {
        Paint::Plain
    };
    terminal::note(render_with(&findings, &sources, paint).trim_end());
}
