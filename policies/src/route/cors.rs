//! Which pages of other origins may call (`corsPolicy`), as Envoy's CORS filter applies it.

use std::time::Duration;

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method};

use super::Text;
use crate::document::{CorsPolicy, UnmatchedPreflights};

/// A policy, ready to apply.
#[derive(Clone, Debug)]
pub struct Cors {
    origins: Box<[Text]>,
    methods: Option<HeaderValue>,
    headers: Option<HeaderValue>,
    exposed: Option<HeaderValue>,
    max_age: Option<HeaderValue>,
    credentials: bool,
    unmatched: UnmatchedPreflights,
}

/// What a policy says about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CorsVerdict {
    /// It goes on; its response is not changed.
    Untouched,
    /// It goes on; its response is for this origin.
    Allowed(HeaderValue),
    /// A preflight: it is answered here with 200 and these headers (none if its origin may not call).
    Preflight(HeaderMap),
}

impl Cors {
    /// A policy whose origins are compared so.
    pub(crate) fn compile(document: &CorsPolicy, origins: Box<[Text]>) -> Self {
        let joined = |names: Vec<&str>| {
            let joined = names.join(",");
            HeaderValue::try_from(joined)
                .ok()
                .filter(|joined| !joined.is_empty())
        };
        let names = |names: &[String]| joined(names.iter().map(String::as_str).collect());
        Self {
            origins,
            methods: joined(document.allow_methods.clone()),
            headers: names(&document.allow_headers),
            exposed: names(&document.expose_headers),
            max_age: document
                .max_age
                .map(|age: Duration| HeaderValue::from(age.as_secs())),
            credentials: document.allow_credentials,
            unmatched: document.unmatched_preflights,
        }
    }

    /// Judges a request by its method and headers.
    pub fn judge(&self, method: &Method, headers: &HeaderMap) -> CorsVerdict {
        let Some(origin) = headers.get(ORIGIN).filter(|origin| !origin.is_empty()) else {
            return CorsVerdict::Untouched;
        };
        let allowed = self.allows(origin.as_bytes());
        let preflight = method == Method::OPTIONS
            && headers
                .get(ACCESS_CONTROL_REQUEST_METHOD)
                .is_some_and(|wanted| !wanted.is_empty());
        match (preflight, allowed) {
            (true, true) => CorsVerdict::Preflight(self.permission(origin)),
            (true, false) if self.unmatched == UnmatchedPreflights::Ignore => {
                CorsVerdict::Preflight(HeaderMap::new())
            }
            (false, true) => CorsVerdict::Allowed(origin.clone()),
            (_, false) => CorsVerdict::Untouched,
        }
    }

    /// Tells the browser that a page of `origin` may read the response.
    pub fn mark(&self, origin: &HeaderValue, response: &mut HeaderMap) {
        response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        if self.credentials {
            let yes = HeaderValue::from_static("true");
            response.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
        }
        if let Some(exposed) = &self.exposed {
            response.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed.clone());
        }
        // Ours: a cache must not show one origin's answer to another (Fetch, "CORS protocol and HTTP caches").
        let varies = response.get_all(VARY).iter().any(names_origin);
        if !varies {
            response.append(VARY, HeaderValue::from_static("origin"));
        }
    }

    fn permission(&self, origin: &HeaderValue) -> HeaderMap {
        let mut headers = HeaderMap::new();
        self.mark(origin, &mut headers);
        for (name, value) in [
            (ACCESS_CONTROL_ALLOW_METHODS, &self.methods),
            (ACCESS_CONTROL_ALLOW_HEADERS, &self.headers),
            (ACCESS_CONTROL_MAX_AGE, &self.max_age),
        ] {
            if let Some(value) = value {
                headers.insert(name, value.clone());
            }
        }
        headers
    }

    /// Envoy asks each comparison about `*` too, so that `exact: "*"` is every origin.
    fn allows(&self, origin: &[u8]) -> bool {
        self.origins
            .iter()
            .any(|wanted| wanted.matches(b"*") || wanted.matches(origin))
    }
}

fn names_origin(value: &HeaderValue) -> bool {
    value
        .as_bytes()
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .any(|name| name == b"*" || name.eq_ignore_ascii_case(b"origin"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(unmatched: UnmatchedPreflights) -> Cors {
        let document = CorsPolicy {
            allow_origins: Vec::new(),
            allow_methods: vec!["GET", "PUT"],
            allow_headers: vec!["x-a".to_owned(), "x-b".to_owned()],
            expose_headers: vec!["x-c".to_owned()],
            max_age: Some(Duration::from_hours(1)),
            allow_credentials: true,
            unmatched_preflights: unmatched,
        };
        let origins = [
            Text::Exact("https://shop.example.com".into()),
            Text::Prefix("http://localhost:".into()),
        ];
        Cors::compile(&document, origins.into())
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    http::HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    #[test]
    fn a_preflight_of_an_allowed_origin_is_answered() {
        let policy = policy(UnmatchedPreflights::Forward);
        let request = headers(&[
            ("origin", "http://localhost:3000"),
            ("access-control-request-method", "PUT"),
        ]);
        let CorsVerdict::Preflight(answer) = policy.judge(&Method::OPTIONS, &request) else {
            panic!("no preflight");
        };
        let expected = headers(&[
            ("access-control-allow-origin", "http://localhost:3000"),
            ("access-control-allow-credentials", "true"),
            ("access-control-allow-methods", "GET,PUT"),
            ("access-control-allow-headers", "x-a,x-b"),
            ("access-control-expose-headers", "x-c"),
            ("access-control-max-age", "3600"),
            ("vary", "origin"),
        ]);
        assert_eq!(answer, expected);
    }

    #[test]
    fn other_requests_go_on() {
        let forward = policy(UnmatchedPreflights::Forward);
        let ignore = policy(UnmatchedPreflights::Ignore);
        let stranger = headers(&[
            ("origin", "https://evil.example"),
            ("access-control-request-method", "PUT"),
        ]);
        let verdict = |policy: &Cors, method, headers: &HeaderMap| policy.judge(&method, headers);
        assert_eq!(
            verdict(&forward, Method::OPTIONS, &stranger),
            CorsVerdict::Untouched
        );
        assert_eq!(
            verdict(&ignore, Method::OPTIONS, &stranger),
            CorsVerdict::Preflight(HeaderMap::new())
        );
        assert_eq!(
            verdict(&ignore, Method::GET, &stranger),
            CorsVerdict::Untouched
        );
        // OPTIONS without a method is a request like any other.
        let own = headers(&[("origin", "https://shop.example.com")]);
        assert_eq!(
            verdict(&forward, Method::OPTIONS, &own),
            CorsVerdict::Allowed(HeaderValue::from_static("https://shop.example.com"))
        );
        assert_eq!(
            verdict(&forward, Method::GET, &HeaderMap::new()),
            CorsVerdict::Untouched
        );
    }

    #[test]
    fn a_star_is_every_origin_and_vary_is_said_once() {
        let star = Cors {
            origins: [Text::Exact("*".into())].into(),
            ..policy(UnmatchedPreflights::Forward)
        };
        let origin = HeaderValue::from_static("https://any.example");
        let request = headers(&[("origin", "https://any.example")]);
        assert_eq!(
            star.judge(&Method::GET, &request),
            CorsVerdict::Allowed(origin.clone())
        );
        let mut response = headers(&[("vary", "accept, Origin")]);
        star.mark(&origin, &mut response);
        assert_eq!(response.get_all(VARY).iter().count(), 1);
    }
}
