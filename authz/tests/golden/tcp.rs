//! What becomes of HTTP fields where there is no HTTP.

use crate::table::*;

#[test]
fn http_fields_on_tcp() {
    table(
        &allow("{to: [{operation: {ports: ['8080']}}, {operation: {methods: [GET]}}]}"),
        &[
            (case(ORDER, "tcp"), "deny"),
            (case(ORDER, "GET /"), "allow p/0"),
        ],
    );
    table(
        &deny("{to: [{operation: {methods: [POST]}}]}"),
        &[
            (case(ORDER, "tcp"), "deny p/0"),
            (case(ORDER, "GET /"), "allow"),
        ],
    );
    table(
        &deny("{to: [{operation: {methods: [POST], ports: ['9090']}}]}"),
        &[(case(ORDER, "tcp"), "allow")],
    );
    table(
        &allow("{to: [{operation: {ports: ['8080']}}]}"),
        &[(case(ORDER, "tcp"), "allow p/0")],
    );
}
