//! `to[].operation`: what is asked for.

use policies::document::{Operation, Spanned};

use super::Compiler;
use crate::{
    codes,
    decision::Action,
    field::{Check, HttpSubject, PathPattern, Subject, Wants, Written},
    matcher::Pattern,
    rule::AllOf,
    template::Template,
};

impl Compiler {
    pub(super) fn operation(&mut self, operation: &Operation, action: Action) -> AllOf {
        let mut checks = Vec::new();
        for (wants, hosts, ports, methods, paths) in [
            (
                Wants::Match,
                &operation.hosts,
                &operation.ports,
                &operation.methods,
                &operation.paths,
            ),
            (
                Wants::NoMatch,
                &operation.not_hosts,
                &operation.not_ports,
                &operation.not_methods,
                &operation.not_paths,
            ),
        ] {
            let name = |field: &str| wants.field(field);
            let subjects = [
                (
                    Written::new(&name("hosts"), hosts),
                    Subject::Http(HttpSubject::Host(Self::patterns(hosts))),
                ),
                (
                    Written::new(&name("ports"), ports),
                    Subject::DestinationPort(ports.iter().map(|port| port.value).collect()),
                ),
                (
                    Written::new(&name("methods"), methods),
                    Subject::Http(HttpSubject::Method(Self::patterns(methods))),
                ),
                (
                    Written::new(&name("paths"), paths),
                    Subject::Http(HttpSubject::Path(self.paths(paths, action))),
                ),
            ];
            // What the author wrote decides, not what was understood: a bad value must not widen a rule.
            checks.extend(subjects.into_iter().filter_map(|(written, subject)| {
                Some(Check {
                    subject,
                    wants,
                    written: written?,
                })
            }));
        }
        if checks.is_empty() {
            let message = "this operation restricts nothing".to_owned();
            let help = "name methods, paths, hosts or ports, or remove `to` to mean anything";
            self.error(
                codes::INVALID_VALUE,
                &operation.at,
                &operation.path,
                message,
                help,
            );
        }
        checks.into()
    }

    pub(super) fn patterns(values: &[Spanned<String>]) -> Box<[Pattern]> {
        values.iter().map(|value| Pattern::parse(value)).collect()
    }

    fn paths(&mut self, values: &[Spanned<String>], action: Action) -> Box<[PathPattern]> {
        let mut patterns = Vec::with_capacity(values.len());
        for value in values {
            if Template::is_template(value) {
                match Template::parse(value) {
                    Ok(template) => patterns.push(PathPattern::Template(template)),
                    Err(error) => self.invalid(value, "a path template", &error.to_string()),
                }
                continue;
            }
            if value.contains(['?', '#']) {
                let message = format!(
                    "path `{}` never matches: queries and fragments are not judged",
                    value.value
                );
                let help = match action {
                    Action::Allow => "write the path alone; this rule allows nothing as it stands",
                    Action::Deny | Action::Custom | Action::Audit => {
                        "write the path alone; this rule stops nothing as it stands"
                    }
                };
                self.warning(codes::NEVER_MATCHES, &value.at, &value.path, message, help);
            }
            patterns.push(PathPattern::Text(Pattern::parse(value)));
        }
        patterns.into()
    }
}
