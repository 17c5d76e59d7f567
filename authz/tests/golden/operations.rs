//! `to`: hosts, methods, ports, paths and path templates.

use crate::table::*;

#[test]
fn hosts_are_judged_with_their_port_and_without_case() {
    let at = |host| Case {
        host,
        ..case(NOBODY, "GET /")
    };
    table(
        &allow("{to: [{operation: {hosts: [Example.com, '*.Shop.example', 'api*']}}]}"),
        &[
            (at("example.com"), "allow p/0"),
            (at("EXAMPLE.COM"), "allow p/0"),
            (at("example.com:8080"), "deny"),
            (at("a.shop.EXAMPLE"), "allow p/0"),
            (at("shop.example"), "deny"),
            (at("API.internal:80"), "allow p/0"),
        ],
    );
    table(
        &allow("{to: [{operation: {hosts: [example.com, 'example.com:*'], notHosts: ['*:9']}}]}"),
        &[
            (at("example.com:8080"), "allow p/0"),
            (at("example.com:9"), "deny"),
            (at("example.com.evil"), "deny"),
        ],
    );
}

#[test]
fn methods_ports_and_paths() {
    table(
        &allow(
            "{to: [{operation: {methods: ['P*'], notMethods: [PATCH], ports: ['8080'], notPaths: [/private*]}}]}",
        ),
        &[
            (case(NOBODY, "POST /"), "allow p/0"),
            (case(NOBODY, "PUT /"), "allow p/0"),
            (case(NOBODY, "PATCH /"), "deny"),
            (case(NOBODY, "GET /"), "deny"),
            (case(NOBODY, "POST /private/x"), "deny"),
            (
                Case {
                    port: 9090,
                    ..case(NOBODY, "POST /")
                },
                "deny",
            ),
        ],
    );
    table(
        &allow("{to: [{operation: {paths: ['*.html', /exact, '/pre/*']}}]}"),
        &[
            (case(NOBODY, "GET /a/b.html"), "allow p/0"),
            (case(NOBODY, "GET /a/b.html?x=.htm"), "allow p/0"),
            (case(NOBODY, "GET /a?x=.html"), "deny"),
            (case(NOBODY, "GET /exact"), "allow p/0"),
            (case(NOBODY, "GET /exact/"), "deny"),
            (case(NOBODY, "GET /Exact"), "deny"),
            (case(NOBODY, "GET /pre/"), "allow p/0"),
            (case(NOBODY, "GET /pre"), "deny"),
        ],
    );
    table(
        &deny("{to: [{operation: {notPorts: ['8080']}}]}"),
        &[
            (case(NOBODY, "tcp"), "allow"),
            (
                Case {
                    port: 1,
                    ..case(NOBODY, "tcp")
                },
                "deny p/0",
            ),
        ],
    );
}

#[test]
fn path_templates() {
    table(
        &allow(
            "{to: [{operation: {paths: ['/users/{*}/profile', '/files/{**}', '/img/{**}/x.png']}}]}",
        ),
        &[
            (case(NOBODY, "GET /users/7/profile"), "allow p/0"),
            (case(NOBODY, "GET /users//profile"), "deny"),
            (case(NOBODY, "GET /users/7/8/profile"), "deny"),
            (case(NOBODY, "GET /files/"), "allow p/0"),
            (case(NOBODY, "GET /files/a/b"), "allow p/0"),
            (case(NOBODY, "GET /files"), "deny"),
            (case(NOBODY, "GET /img/a/b/x.png"), "allow p/0"),
            (case(NOBODY, "GET /users/é/profile"), "deny"),
        ],
    );
    table(
        &deny("{to: [{operation: {paths: ['/users/{*}/profile']}}]}"),
        &[
            (case(NOBODY, "GET /users/é/profile"), "deny p/0"),
            (case(NOBODY, "GET /users/[7]/profile"), "deny p/0"),
        ],
    );
    table(
        &allow("{to: [{operation: {notPaths: ['/users/{*}/profile']}}]}"),
        &[
            (case(NOBODY, "GET /users/é/profile"), "deny"),
            (case(NOBODY, "GET /users/7"), "allow p/0"),
        ],
    );
}
