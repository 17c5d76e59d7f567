//! Time limits of routes: that there is one, and that the tries fit into it.

use std::time::Duration;

use crate::diagnostic::{Diagnostic, codes};
use crate::document::{DocumentSet, HttpRetry, HttpRule, Spanned};

/// Routes that wait for ever, and tries that cannot end in time.
pub(super) fn advise(documents: &DocumentSet, found: &mut Vec<Diagnostic>) {
    let rules = documents
        .virtual_services
        .iter()
        .flat_map(|document| &document.http)
        .filter(|rule| !rule.route.is_empty());
    for rule in rules {
        match (&rule.timeout, &rule.retries) {
            (None, _) => found.push(endless(rule)),
            (Some(timeout), Some(retries)) => found.extend(too_many_tries(timeout, retries)),
            (Some(_), None) => {}
        }
    }
}

fn endless(rule: &HttpRule) -> Diagnostic {
    let message = "the route has no timeout: a destination that hangs holds its callers for ever";
    Diagnostic::warning(codes::NO_TIMEOUT, rule.at.clone(), &rule.path, message)
        .with_help("add `timeout: 10s`, or what the slowest good answer takes")
}

/// The seeds' formula: `(attempts + 1) × perTryTimeout + backoff` has to be within `timeout`.
fn too_many_tries(timeout: &Spanned<Duration>, retries: &Spanned<HttpRetry>) -> Option<Diagnostic> {
    let per_try = retries.per_try_timeout.filter(|limit| !limit.is_zero())?;
    let tries = retries.attempts.checked_add(1).filter(|tries| *tries > 1)?;
    // Only a back-off that somebody chose counts; the built-in one is a few milliseconds of chance.
    let waiting = retries
        .backoff
        .map_or(Duration::ZERO, |base| waiting(base, retries.attempts));
    let needed = per_try.saturating_mul(tries).saturating_add(waiting);
    if needed <= timeout.value {
        return None;
    }
    let whole = timeout.as_nanos().checked_div(per_try.as_nanos())?;
    let and_waiting = if waiting.is_zero() {
        String::new()
    } else {
        format!(" and {} of back-off", shown(waiting))
    };
    let message = format!(
        "{tries} tries of {}{and_waiting} do not fit into {}: the last try can never end",
        shown(per_try),
        shown(timeout.value)
    );
    let help = match whole.checked_sub(1) {
        Some(attempts) if attempts > 0 && waiting.is_zero() => format!(
            "write `attempts: {attempts}`, or a `timeout` of at least {}",
            shown(needed)
        ),
        _ => format!(
            "write a smaller `perTryTimeout`, or a `timeout` of at least {}",
            shown(needed)
        ),
    };
    let (at, path) = (retries.at.clone(), &retries.path);
    Some(Diagnostic::warning(codes::TRIES_EXCEED_TIMEOUT, at, path, message).with_help(help))
}

/// What doubles from `base`, ten times it at most, adds up to.
fn waiting(base: Duration, attempts: u32) -> Duration {
    let most = base.saturating_mul(10);
    let steps =
        (0..attempts.min(64)).map(|step| base.saturating_mul(1_u32 << step.min(4)).min(most));
    let early: Duration = steps.sum();
    early.saturating_add(most.saturating_mul(attempts.saturating_sub(64)))
}

/// A duration as documents write it.
pub(super) fn shown(time: Duration) -> String {
    let millis = time.as_millis();
    if millis.checked_rem(1_000) == Some(0) {
        format!("{}s", time.as_secs())
    } else {
        format!("{millis}ms")
    }
}
