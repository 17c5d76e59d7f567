//! Tests of the one form of a request.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

use super::*;

fn request(version: Version, uri: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder().version(version).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

fn tidied(
    version: Version,
    uri: &str,
    headers: &[(&str, &str)],
) -> Result<(String, String), String> {
    let mut request = request(version, uri, headers);
    tidy(&mut request, PathNormalization::Base).map_err(|reply| reply.body.into_owned())?;
    Ok((host(&request).to_owned(), request.uri().to_string()))
}

#[test]
fn one_authority_and_one_path() {
    let ok = |host: &str, uri: &str| Ok((host.to_owned(), uri.to_owned()));
    let h1 = Version::HTTP_11;
    assert_eq!(
        tidied(h1, "/a?b=%2F", &[("host", "x:80")]),
        ok("x:80", "/a?b=%2F")
    );
    assert_eq!(
        tidied(h1, "/a/../%61%2e?q=..", &[("host", "x")]),
        ok("x", "/a.?q=..")
    );
    assert_eq!(
        tidied(h1, "http://y/a/./b", &[("host", "x")]),
        ok("y", "/a/b")
    );
    assert_eq!(tidied(h1, "http://y", &[]), ok("y", "/"));
    assert_eq!(tidied(Version::HTTP_2, "https://z/a", &[]), ok("z", "/a"));
    assert_eq!(
        tidied(Version::HTTP_2, "https://z/a", &[("host", "Z")]),
        ok("z", "/a")
    );
    assert_eq!(tidied(h1, "*", &[("host", "x")]), ok("x", "*"));
}

#[test]
fn malformed_requests_are_refused() {
    let h1 = Version::HTTP_11;
    let long = [("host", "x"), ("host", "x")];
    for (version, uri, headers, reason) in [
        (h1, "/", &[][..], "names no host"),
        (h1, "/", &long[..], "more than one Host"),
        (h1, "/", &[("host", "")], "malformed"),
        (h1, "/", &[("host", "a b")], "malformed"),
        (h1, "/", &[("host", "u@x")], "malformed"),
        (h1, "/", &[("host", "x:")], "malformed"),
        (h1, "/", &[("host", "x:99999")], "malformed"),
        (h1, "/", &[("host", "x/y")], "malformed"),
        (h1, "/a%00b", &[("host", "x")], "NUL"),
        (
            h1,
            "/",
            &[("host", "x"), ("transfer-encoding", "gzip, chunked")],
            "transfer coding",
        ),
        (
            h1,
            "/",
            &[
                ("host", "x"),
                ("transfer-encoding", "chunked"),
                ("transfer-encoding", "chunked"),
            ],
            "transfer coding",
        ),
        (
            h1,
            "/",
            &[
                ("host", "x"),
                ("transfer-encoding", "chunked"),
                ("content-length", "1"),
            ],
            "transfer coding",
        ),
        (
            Version::HTTP_2,
            "https://z/",
            &[("host", "x")],
            ":authority",
        ),
    ] {
        let refused = tidied(version, uri, headers).unwrap_err();
        assert!(refused.contains(reason), "{uri} {headers:?}: {refused}");
    }
}

#[test]
fn connect_is_refused_with_a_reason() {
    let mut connect = Request::builder()
        .method("CONNECT")
        .uri("x:443")
        .body(())
        .unwrap();
    let refused = tidy(&mut connect, PathNormalization::Base).unwrap_err();
    assert_eq!(refused.status, StatusCode::METHOD_NOT_ALLOWED);
}
