//! Keeps web pages away from the admin port: DNS rebinding and cross-site requests.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue, Method, header};

const SEC_FETCH_SITE: &str = "sec-fetch-site";
const NOT_OURS: &str = "this Host is not ours; use the address or localhost\n";
const OTHER_SITE: &str = "requests from other sites are refused\n";

/// Decides whether a request may be answered; the error is for the client.
///
/// A rebinding page reaches a loopback port under its own name, so there a `Host` that is neither an address nor
/// `localhost` is refused. A page of another origin can POST blindly; it cannot hide its `Origin`, and browsers that
/// know fetch metadata say so themselves (W3C Fetch Metadata).
pub(super) fn check(
    method: &Method,
    headers: &HeaderMap,
    local: IpAddr,
) -> Result<(), &'static str> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok());
    if hosts.next().is_some() {
        return Err("more than one Host header\n");
    }
    let Some(host) = host else {
        return Err("a Host header is required\n");
    };
    let changes = !matches!(*method, Method::GET | Method::HEAD);
    if changes {
        return no_web_page(host, headers);
    }
    if local.is_loopback() && !is_address_or_localhost(host) {
        return Err(NOT_OURS);
    }
    Ok(())
}

/// Refuses what a web page may have sent through the browser of whoever sits at this machine: a foreign `host`, and
/// a request of another site. For ports on the loopback that act on behalf of those who reach them; the error is for
/// the client.
///
/// # Errors
/// Which of the two it is.
pub fn no_web_page(host: &str, headers: &HeaderMap) -> Result<(), &'static str> {
    if !is_address_or_localhost(host) {
        return Err(NOT_OURS);
    }
    let site = headers.get(SEC_FETCH_SITE);
    if site.is_some_and(|site| site != "same-origin" && site != "none") {
        return Err(OTHER_SITE);
    }
    let same = |origin: &HeaderValue| {
        let origin = origin.to_str().ok();
        let origin = origin.and_then(|origin| origin.strip_prefix("http://"));
        origin.is_some_and(|origin| origin.eq_ignore_ascii_case(host))
    };
    if headers.get_all(header::ORIGIN).iter().all(same) {
        Ok(())
    } else {
        Err(OTHER_SITE)
    }
}

fn is_address_or_localhost(host: &str) -> bool {
    if let Some(rest) = host.strip_prefix('[') {
        return rest
            .split_once(']')
            .is_some_and(|(address, _)| address.parse::<std::net::Ipv6Addr>().is_ok());
    }
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::Ipv4Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(method: &Method, host: &str, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        check(method, &headers, IpAddr::from([127, 0, 0, 1])).is_ok()
    }

    #[test]
    fn foreign_names_and_origins_are_refused() {
        for host in ["127.0.0.1:15000", "localhost:15000", "[::1]:1", "LOCALHOST"] {
            assert!(allowed(&Method::GET, host, None), "{host}");
            assert!(
                allowed(&Method::POST, host, Some(&format!("http://{host}"))),
                "{host}"
            );
            assert!(
                !allowed(&Method::POST, host, Some("http://evil.example")),
                "{host}"
            );
            for changing in [Method::POST, Method::PUT, Method::DELETE] {
                assert!(!allowed(&changing, host, Some("null")), "{host}");
            }
        }
        for host in [
            "evil.example",
            "evil.example:15000",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "",
        ] {
            assert!(!allowed(&Method::GET, host, None), "{host}");
            assert!(!allowed(&Method::POST, host, None), "{host}");
        }
        let loopback = IpAddr::from([127, 0, 0, 1]);
        for (site, fine) in [
            ("cross-site", false),
            ("same-site", false),
            ("same-origin", true),
            ("none", true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, "localhost:8092".parse().unwrap());
            headers.insert(SEC_FETCH_SITE, site.parse().unwrap());
            let delete = check(&Method::DELETE, &headers, loopback);
            assert_eq!(delete.is_ok(), fine, "{site}");
            assert!(check(&Method::GET, &headers, loopback).is_ok(), "{site}");
        }
        let public = IpAddr::from([192, 0, 2, 1]);
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "sidecar.example:15020".parse().unwrap());
        assert!(check(&Method::GET, &headers, public).is_ok());
        assert!(check(&Method::POST, &headers, public).is_err());
        assert!(check(&Method::GET, &HeaderMap::new(), public).is_err());
    }
}
