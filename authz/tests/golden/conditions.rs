//! `when`: headers and the other keys.

use crate::table::*;

#[test]
fn repeated_headers_neither_open_nor_evade() {
    let with = |headers| Case {
        headers,
        ..case(NOBODY, "GET /")
    };
    let rule = "{when: [{key: 'request.headers[X-Role]', values: [admin]}]}";
    table(
        &allow(rule),
        &[
            (with(&[("x-role", "admin")]), "allow p/0"),
            (
                with(&[("x-role", "admin"), ("x-role", "admin")]),
                "allow p/0",
            ),
            (with(&[("x-role", "admin"), ("x-role", "user")]), "deny"),
            (with(&[("x-role", "Admin")]), "deny"),
            (with(&[]), "deny"),
        ],
    );
    table(
        &deny(rule),
        &[
            (with(&[("x-role", "user"), ("x-role", "admin")]), "deny p/0"),
            (with(&[("x-role", "user")]), "allow"),
        ],
    );
    table(
        &deny("{when: [{key: 'request.headers[x-role]', values: ['user,admin']}]}"),
        &[
            (with(&[("x-role", "user"), ("x-role", "admin")]), "deny p/0"),
            (with(&[("x-role", "admin"), ("x-role", "user")]), "allow"),
        ],
    );
    let unless = "{when: [{key: 'request.headers[x-role]', notValues: [admin]}]}";
    table(
        &deny(unless),
        &[
            (with(&[("x-role", "admin")]), "allow"),
            (with(&[("x-role", "admin"), ("x-role", "user")]), "deny p/0"),
            (with(&[]), "deny p/0"),
        ],
    );
    table(
        &allow(unless),
        &[
            (with(&[("x-role", "user"), ("x-role", "admin")]), "deny"),
            (with(&[("x-role", "user")]), "allow p/0"),
            (with(&[]), "allow p/0"),
        ],
    );
    // The idiom "this header is required"; an empty value is there.
    table(
        &deny("{when: [{key: 'request.headers[x-role]', notValues: ['*']}]}"),
        &[(with(&[]), "deny p/0"), (with(&[("x-role", "")]), "allow")],
    );
}

#[test]
fn other_conditions() {
    table(
        &allow("{when: [{key: destination.port, values: ['8080', '81']}]}"),
        &[
            (case(NOBODY, "tcp"), "allow p/0"),
            (
                Case {
                    port: 80,
                    ..case(NOBODY, "tcp")
                },
                "deny",
            ),
        ],
    );
    let named = |sni| Case {
        sni,
        ..case(NOBODY, "tcp")
    };
    table(
        &allow("{when: [{key: connection.sni, values: ['*.example'], notValues: [b.example]}]}"),
        &[
            (named(Some("a.example")), "allow p/0"),
            (named(Some("b.example")), "deny"),
            (named(None), "deny"),
        ],
    );
    table(
        &allow(
            "{when: [{key: source.namespace, values: [my-app]}, {key: source.serviceAccount, values: [billing]}]}",
        ),
        &[
            (case(OTHER, "GET /"), "allow p/0"),
            (case(ORDER, "GET /"), "deny"),
        ],
    );
    table(
        &allow("{when: [{key: 'request.headers[:authority]', values: [product-service]}]}"),
        &[
            (case(NOBODY, "GET /"), "allow p/0"),
            (
                Case {
                    host: "Product-Service",
                    ..case(NOBODY, "GET /")
                },
                "deny",
            ),
        ],
    );
}
