//! Values that match nothing, or more than their authors think.

use policies::{
    diagnostic::Diagnostic,
    document::{AuthorizationAction, DocumentSet, Operation, Rule, Source, Spanned},
};

use crate::{codes, template::Template};

/// Finds values of policies that are not what they look like.
pub(super) fn advise(documents: &DocumentSet, found: &mut Vec<Diagnostic>) {
    for policy in &documents.authorization_policies {
        let action = policy.action.value;
        for rule in &policy.rules {
            for operation in &rule.to {
                methods(operation, found);
                stars(operation, rule, found);
                prefixes(operation, action, found);
                hosts(operation, action, found);
            }
        }
    }
}

/// Methods are compared with regard to case.
fn methods(operation: &Operation, found: &mut Vec<Diagnostic>) {
    for method in operation.methods.iter().chain(&operation.not_methods) {
        let upper = method.to_ascii_uppercase();
        if *upper == **method {
            continue;
        }
        let message = format!("the method `{method}` is never sent: methods are upper case");
        found.push(
            Diagnostic::warning(
                codes::LOWER_CASE_METHOD,
                method.at.clone(),
                &method.path,
                message,
            )
            .with_help(format!("write `{upper}`")),
        );
    }
}

/// A star that is neither first nor last is a character like any other.
fn stars(operation: &Operation, rule: &Rule, found: &mut Vec<Diagnostic>) {
    let paths = operation.paths.iter().chain(&operation.not_paths);
    let paths = paths.filter(|path| !Template::is_template(path));
    let others = operation
        .hosts
        .iter()
        .chain(&operation.not_hosts)
        .chain(&operation.methods)
        .chain(&operation.not_methods);
    let principals = rule
        .from
        .iter()
        .flat_map(|source: &Source| source.principals.iter().chain(&source.not_principals));
    let templates = "write `{*}` for one segment of a path, or `{**}` for any number at its end";
    let ends = "a star stands for anything only at the beginning or at the end of a value";
    for (value, help) in paths
        .map(|value| (value, templates))
        .chain(others.chain(principals).map(|value| (value, ends)))
    {
        found.extend(literal_star(value, help));
    }
}

fn literal_star(value: &Spanned<String>, help: &str) -> Option<Diagnostic> {
    let text = value.as_str();
    // The first star is looked for in front, then at the end; any other is literal.
    let rest = match text.strip_prefix('*') {
        Some(rest) => rest,
        None => text.strip_suffix('*').unwrap_or(text),
    };
    if !rest.contains('*') {
        return None;
    }
    let message = format!(
        "a star in `{value}` is a character, not a wildcard: the value matches little or nothing"
    );
    let (at, path) = (value.at.clone(), &value.path);
    Some(Diagnostic::warning(codes::LITERAL_STAR, at, path, message).with_help(help))
}

/// `/api*` is more than `/api` and what is below it.
fn prefixes(operation: &Operation, action: AuthorizationAction, found: &mut Vec<Diagnostic>) {
    if action != AuthorizationAction::Allow {
        return;
    }
    for path in &operation.paths {
        let Some(prefix) = path.strip_suffix('*') else {
            continue;
        };
        let name = prefix.ends_with(|last: char| last.is_ascii_alphanumeric());
        if !name || Template::is_template(path) || prefix.contains('*') {
            continue;
        }
        let message =
            format!("`{path}` also allows `{prefix}x`, not only `{prefix}` and what is below it");
        found.push(
            Diagnostic::info(codes::OPEN_PREFIX, path.at.clone(), &path.path, message)
                .with_help(format!("write `{prefix}` and `{prefix}/*`")),
        );
    }
}

/// The host of a request has its port, if the client sent one.
fn hosts(operation: &Operation, action: AuthorizationAction, found: &mut Vec<Diagnostic>) {
    // Where a host that is not recognised lets a request through.
    let evaded = match action {
        AuthorizationAction::Deny => &operation.hosts,
        AuthorizationAction::Allow => &operation.not_hosts,
        AuthorizationAction::Audit | AuthorizationAction::Custom => return,
    };
    for host in evaded {
        let bare = !host.contains([':', '*']);
        let with_port = format!("{host}:*");
        if !bare
            || evaded
                .iter()
                .any(|other| other.value == with_port || other.value == format!("{host}*"))
        {
            continue;
        }
        let message = format!(
            "`{host}` is evaded by `{host}:80`: hosts are compared with the port that the client sends"
        );
        found.push(
            Diagnostic::warning(
                codes::HOST_WITHOUT_PORT,
                host.at.clone(),
                &host.path,
                message,
            )
            .with_help(format!("write `{host}` and `{with_port}`")),
        );
    }
}
