//! What a verified token says: `requestPrincipals` and `request.auth.*`.

use crate::table::*;

const ALICE: &str = r#"{"iss": "https://issuer.example", "sub": "alice", "aud": ["web", "app"], "azp": "portal",
    "scope": "read write", "admin": true, "level": 3, "groups": ["staff", "dev", 7], "realm": {"roles": ["reader"], "name": "main"},
    "https://example.com/tenant": "blue", "a.b": "dotted", "empty": ""}"#;

const fn with(claims: &'static str) -> Case {
    Case {
        claims: Some(claims),
        ..case(NOBODY, "GET /")
    }
}

#[track_caller]
fn matches(rule: &str, expected: bool) {
    let (allowed, denied) = if expected {
        ("allow p/0", "deny p/0")
    } else {
        ("deny", "allow")
    };
    table(&allow(rule), &[(with(ALICE), allowed)]);
    table(&deny(rule), &[(with(ALICE), denied)]);
}

#[test]
fn request_principals() {
    for (value, expected) in [
        ("https://issuer.example/alice", true),
        ("https://issuer.example/bob", false),
        ("https://issuer.example/*", true),
        ("https://issuer.example/al*", true),
        ("*/alice", true),
        ("*/bob", false),
        ("*.example/alice", true),
        ("*ice", true),
        ("*", true),
        ("https://issuer.example", false),
        ("https://issuer*", false),
        ("HTTPS://issuer.example/alice", false),
    ] {
        matches(
            &format!("{{from: [{{source: {{requestPrincipals: ['{value}']}}}}]}}"),
            expected,
        );
        matches(
            &format!("{{from: [{{source: {{notRequestPrincipals: ['{value}']}}}}]}}"),
            !expected,
        );
        matches(
            &format!("{{when: [{{key: request.auth.principal, values: ['{value}']}}]}}"),
            expected,
        );
    }
}

#[test]
fn without_a_token_nothing_matches_and_every_negation_holds() {
    for (rule, expected) in [
        ("{from: [{source: {requestPrincipals: ['*']}}]}", "deny"),
        (
            "{from: [{source: {notRequestPrincipals: ['*']}}]}",
            "allow p/0",
        ),
        (
            "{when: [{key: 'request.auth.claims[groups]', values: ['*']}]}",
            "deny",
        ),
        (
            "{when: [{key: 'request.auth.claims[groups]', notValues: ['*']}]}",
            "allow p/0",
        ),
    ] {
        table(&allow(rule), &[(case(ORDER, "GET /"), expected)]);
    }
    // The idiom "a token is required".
    table(
        &deny("{from: [{source: {notRequestPrincipals: ['*']}}]}"),
        &[
            (case(ORDER, "GET /"), "deny p/0"),
            (with(ALICE), "allow"),
            (with(r#"{"iss": "i"}"#), "deny p/0"),
            (with(r#"{"iss": "i", "sub": ""}"#), "deny p/0"),
        ],
    );
}

#[test]
fn claims() {
    for (key, value, expected) in [
        ("request.auth.audiences", "web", true),
        ("request.auth.audiences", "app", true),
        ("request.auth.audiences", "w*", true),
        ("request.auth.audiences", "other", false),
        ("request.auth.presenter", "portal", true),
        ("request.auth.presenter", "Portal", false),
        ("request.auth.claims[iss]", "*.example", true),
        ("request.auth.claims[groups]", "dev", true),
        ("request.auth.claims[groups]", "de", false),
        ("request.auth.claims[groups]", "7", false),
        ("request.auth.claims[Groups]", "dev", false),
        // Not texts.
        ("request.auth.claims[admin]", "true", false),
        ("request.auth.claims[admin]", "*", false),
        ("request.auth.claims[level]", "3", false),
        ("request.auth.claims[realm]", "*", false),
        // Nested, and names that only look nested.
        ("request.auth.claims[realm][name]", "main", true),
        ("request.auth.claims[realm][roles]", "read*", true),
        ("request.auth.claims[realm][name][x]", "*", false),
        ("request.auth.claims[groups][0]", "staff", false),
        (
            "request.auth.claims[https://example.com/tenant]",
            "blue",
            true,
        ),
        ("request.auth.claims[a.b]", "dotted", true),
        ("request.auth.claims[realm.name]", "main", false),
        // Split at spaces first: the whole text no longer matches.
        ("request.auth.claims[scope]", "read", true),
        ("request.auth.claims[scope]", "write", true),
        ("request.auth.claims[scope]", "read write", false),
        // The star needs at least one character.
        ("request.auth.claims[empty]", "*", false),
        ("request.auth.claims[absent]", "*", false),
    ] {
        matches(
            &format!("{{when: [{{key: '{key}', values: ['{value}']}}]}}"),
            expected,
        );
        matches(
            &format!("{{when: [{{key: '{key}', notValues: ['{value}']}}]}}"),
            !expected,
        );
    }
}

#[test]
fn tokens_on_tcp_take_an_allow_rule_away_and_drop_out_of_a_deny_rule() {
    for rule in [
        "{from: [{source: {requestPrincipals: ['*']}}]}",
        "{when: [{key: 'request.auth.claims[groups]', values: [dev]}]}",
        "{from: [{source: {notRequestPrincipals: ['*']}}]}",
    ] {
        table(&allow(rule), &[(case(ORDER, "tcp"), "deny")]);
        table(&deny(rule), &[(case(ORDER, "tcp"), "deny p/0")]);
    }
    table(
        &deny("{from: [{source: {notRequestPrincipals: ['*'], principals: ['*/sa/billing']}}]}"),
        &[
            (case(ORDER, "tcp"), "allow"),
            (case(OTHER, "tcp"), "deny p/0"),
        ],
    );
}
