//! `istio.io/dry-run`: tried and noted, never enforced.

use crate::table::*;

const READ: &str = "{to: [{operation: {methods: [GET]}}]}";

#[test]
fn a_dry_denial_is_noted_only() {
    table(
        &tried(&deny(READ), "true"),
        &[
            (case(NOBODY, "GET /"), "allow, would deny p/0"),
            (case(NOBODY, "POST /"), "allow"),
        ],
    );
}

#[test]
fn dry_allow_policies_alone_do_not_switch_on_default_deny() {
    table(
        &tried(&allow(READ), "true"),
        &[
            (case(NOBODY, "GET /"), "allow, would allow p/0"),
            (case(NOBODY, "POST /"), "allow, would allow none"),
        ],
    );
    table(
        &tried(&policy("{}"), "true"),
        &[(case(NOBODY, "GET /"), "allow, would allow none")],
    );
}

#[test]
fn dry_rules_stand_beside_those_in_force() {
    let yaml = [
        named(
            "open",
            "my-app",
            "{rules: [{to: [{operation: {methods: [GET, POST]}}]}]}",
        ),
        tried(
            &named(
                "less",
                "my-app",
                "{rules: [{to: [{operation: {methods: [GET]}}]}]}",
            ),
            "true",
        ),
        tried(
            &named(
                "no-x",
                "my-app",
                "{action: DENY, rules: [{to: [{operation: {paths: [/x]}}]}]}",
            ),
            "true",
        ),
    ]
    .concat();
    table(
        &yaml,
        &[
            (case(NOBODY, "GET /"), "allow open/0, would allow less/0"),
            (case(NOBODY, "POST /"), "allow open/0, would allow none"),
            (
                case(NOBODY, "POST /x"),
                "allow open/0, would deny no-x/0, would allow none",
            ),
            (
                case(NOBODY, "PUT /x"),
                "deny, would deny no-x/0, would allow none",
            ),
            (
                case(NOBODY, "tcp"),
                "deny, would deny no-x/0, would allow none",
            ),
        ],
    );
}

#[test]
fn the_annotation_is_a_boolean_of_go() {
    for value in ["1", "t", "T", "TRUE", "true", "True"] {
        table(
            &tried(&deny("{}"), value),
            &[(case(NOBODY, "GET /"), "allow, would deny p/0")],
        );
    }
    for value in ["0", "f", "F", "FALSE", "false", "False"] {
        table(
            &tried(&deny("{}"), value),
            &[(case(NOBODY, "GET /"), "deny p/0")],
        );
    }
}
