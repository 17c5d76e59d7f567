//! An experiment as it is written: strict YAML, one action a step.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use dataplane::chaos::{ErrorType, Share};
use http::{HeaderName, HeaderValue, Method, Uri};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};

use super::expect::Expect;
use crate::chaos::bodies::{ErrorBody, LatencyBody};
use crate::exit::Failure;
use crate::record::Record;

/// What one step may send at most.
const MOST_REQUESTS: usize = 1_000_000;
const MOST_CONCURRENCY: usize = 1_000;

/// A file, checked.
#[derive(Debug)]
pub(super) struct Experiment {
    pub(super) name: String,
    pub(super) steps: Vec<Step>,
}

/// One step.
#[derive(Debug)]
pub(super) struct Step {
    name: Option<String>,
    pub(super) action: Action,
    /// What must hold of the requests' answers.
    pub(super) expect: Expect,
}

/// What a step does.
#[derive(Debug)]
pub(super) enum Action {
    Error(ErrorBody),
    Latency(LatencyBody),
    Stop(Target),
    Pause(Duration),
    Requests(Box<Requests>),
}

/// What is stopped.
#[derive(Debug)]
pub(super) enum Target {
    All,
    Service(String),
}

/// Requests of one kind.
#[derive(Debug)]
pub(super) struct Requests {
    place: Place,
    pub(super) method: Method,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: String,
    pub(super) count: usize,
    pub(super) concurrency: usize,
    pub(super) timeout: Duration,
}

/// Where requests go.
#[derive(Debug)]
enum Place {
    /// A path at the mesh's gateway.
    Gateway(String),
    /// Any URL with `http:`.
    Url { authority: String, target: String },
}

/// Where requests go, found.
#[derive(Debug)]
pub(super) struct Destination {
    pub(super) connect: String,
    pub(super) target: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawExperiment {
    name: String,
    steps: Vec<RawStep>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStep {
    name: Option<String>,
    error: Option<RawError>,
    latency: Option<RawLatency>,
    stop: Option<String>,
    #[serde(default, deserialize_with = "runtime::duration::deserialize_option")]
    pause: Option<Duration>,
    requests: Option<RawRequests>,
    expect: Option<Expect>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawError {
    service: String,
    rate: Option<ShareText>,
    r#type: Option<ErrorType>,
    #[serde(
        default,
        rename = "for",
        deserialize_with = "runtime::duration::deserialize_option"
    )]
    lasts: Option<Duration>,
    seed: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLatency {
    service: String,
    #[serde(deserialize_with = "runtime::duration::deserialize")]
    delay: Duration,
    probability: Option<ShareText>,
    #[serde(
        default,
        rename = "for",
        deserialize_with = "runtime::duration::deserialize_option"
    )]
    lasts: Option<Duration>,
    seed: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRequests {
    path: Option<String>,
    url: Option<String>,
    method: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: String,
    count: Option<usize>,
    concurrency: Option<usize>,
    #[serde(default, deserialize_with = "runtime::duration::deserialize_option")]
    timeout: Option<Duration>,
}

/// A share as people write it: `0.3` or `30%`.
#[derive(Debug, Clone, Copy)]
pub(super) struct ShareText(Share);

impl<'de> Deserialize<'de> for ShareText {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ShareReader)
    }
}

struct ShareReader;

impl Visitor<'_> for ShareReader {
    type Value = ShareText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a share such as `0.3` or `30%`")
    }

    fn visit_f64<E: de::Error>(self, share: f64) -> Result<ShareText, E> {
        Share::try_from(share).map(ShareText).map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, share: u64) -> Result<ShareText, E> {
        // Whatever is larger than that is no share either.
        self.visit_f64(f64::from(u32::try_from(share).unwrap_or(u32::MAX)))
    }

    fn visit_i64<E: de::Error>(self, share: i64) -> Result<ShareText, E> {
        self.visit_u64(u64::try_from(share).unwrap_or(u64::MAX))
    }

    fn visit_str<E: de::Error>(self, share: &str) -> Result<ShareText, E> {
        share.parse().map(ShareText).map_err(E::custom)
    }
}

impl ShareText {
    pub(super) const fn get(self) -> Share {
        self.0
    }
}

impl Experiment {
    /// Reads a file; the error is in words, with a place where there is one.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let raw: RawExperiment = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        if raw.steps.is_empty() {
            return Err("`steps` is empty".to_owned());
        }
        let steps = raw.steps.into_iter().enumerate();
        let steps = steps.map(|(number, step)| {
            let place = |error| format!("step {}: {error}", number + 1);
            Step::checked(step).map_err(place)
        });
        Ok(Self {
            name: raw.name,
            steps: steps.collect::<Result<_, _>>()?,
        })
    }
}

impl Step {
    fn checked(raw: RawStep) -> Result<Self, String> {
        let steps: [Option<Result<Action, String>>; 5] = [
            raw.error.map(|error| {
                Ok(Action::Error(ErrorBody {
                    service: error.service,
                    error_rate: error.rate.map_or(Share::ALL, ShareText::get),
                    error_type: error.r#type.unwrap_or(ErrorType::DEFAULT),
                    duration_seconds: error.lasts.map(seconds).transpose()?,
                    seed: error.seed,
                }))
            }),
            raw.latency.map(|latency| {
                Ok(Action::Latency(LatencyBody {
                    service: latency.service,
                    delay_ms: u64::try_from(latency.delay.as_millis()).unwrap_or(u64::MAX),
                    probability: latency.probability.map_or(Share::ALL, ShareText::get),
                    duration_seconds: latency.lasts.map(seconds).transpose()?,
                    seed: latency.seed,
                }))
            }),
            raw.stop.map(|service| {
                Ok(Action::Stop(match service.as_str() {
                    "all" => Target::All,
                    _ => Target::Service(service),
                }))
            }),
            raw.pause.map(|length| Ok(Action::Pause(length))),
            raw.requests.map(|requests| {
                Requests::checked(requests)
                    .map(Box::new)
                    .map(Action::Requests)
            }),
        ];
        let mut actions = steps.into_iter().flatten();
        let one = "has exactly one of `error`, `latency`, `stop`, `pause` and `requests`";
        let action = actions.next().ok_or_else(|| format!("a step {one}"))??;
        if actions.next().is_some() {
            return Err(format!("a step {one}"));
        }
        if raw.expect.is_some() && !matches!(action, Action::Requests(_)) {
            return Err("`expect` is about `requests`, and there are none".to_owned());
        }
        Ok(Self {
            name: raw.name,
            action,
            expect: raw.expect.unwrap_or_default(),
        })
    }

    /// What people see of it.
    pub(super) fn title(&self) -> String {
        if let Some(name) = &self.name {
            return name.clone();
        }
        match &self.action {
            Action::Error(body) => {
                format!("{}: {} {}", body.service, body.error_rate, body.error_type)
            }
            Action::Latency(body) => {
                let delay = Duration::from_millis(body.delay_ms);
                format!("{}: {delay:?} for {}", body.service, body.probability)
            }
            Action::Stop(Target::All) => "stop all".to_owned(),
            Action::Stop(Target::Service(service)) => format!("stop {service}"),
            Action::Pause(length) => format!("pause {length:?}"),
            Action::Requests(requests) => {
                let target = match &requests.place {
                    Place::Gateway(path) => path.clone(),
                    Place::Url { authority, target } => format!("http://{authority}{target}"),
                };
                format!("{} × {} {target}", requests.count, requests.method)
            }
        }
    }
}

fn seconds(lasts: Duration) -> Result<u64, String> {
    if lasts.subsec_nanos() == 0 && !lasts.is_zero() {
        Ok(lasts.as_secs())
    } else {
        Err(format!("`for` is {lasts:?}, expected whole seconds"))
    }
}

impl Requests {
    fn checked(raw: RawRequests) -> Result<Self, String> {
        let place = match (raw.path, raw.url) {
            (Some(path), None) if path.starts_with('/') => Place::Gateway(path),
            (None, Some(url)) => url_of(&url)?,
            (Some(_), None) => return Err("`path` begins with `/`".to_owned()),
            _ => return Err("`requests` has either `path`, at the gateway, or `url`".to_owned()),
        };
        let method = raw.method.as_deref().unwrap_or("GET");
        let headers = raw.headers.iter().map(|(name, value)| {
            let wrong = || format!("header `{name}` is malformed");
            let parsed = HeaderName::try_from(name.as_str()).map_err(|_| wrong())?;
            let value = HeaderValue::try_from(value.as_str()).map_err(|_| wrong())?;
            Ok((parsed, value))
        });
        Ok(Self {
            place,
            method: Method::from_bytes(method.as_bytes())
                .map_err(|_| format!("`{method}` is no method"))?,
            headers: headers.collect::<Result<_, String>>()?,
            body: raw.body,
            count: within("count", raw.count, MOST_REQUESTS)?,
            concurrency: within("concurrency", raw.concurrency, MOST_CONCURRENCY)?,
            timeout: raw.timeout.unwrap_or(super::REQUEST_TIMEOUT),
        })
    }

    /// Where they go in a running mesh.
    pub(super) fn destination(&self, record: &Record) -> Result<Destination, Failure> {
        let (connect, target) = match &self.place {
            Place::Url { authority, target } => {
                let port = if authority.contains(':') { "" } else { ":80" };
                (format!("{authority}{port}"), target.clone())
            }
            Place::Gateway(path) => {
                let http = |gateway: &crate::record::PartRecord| {
                    gateway.ports.get("listener:80").map(SocketAddr::to_string)
                };
                let at = record.part("gateway").and_then(http).ok_or_else(|| {
                    Failure::unreachable("the mesh's gateway is not ready")
                        .hint("try again in a second")
                })?;
                (at, path.clone())
            }
        };
        Ok(Destination { connect, target })
    }
}

fn url_of(url: &str) -> Result<Place, String> {
    let wrong = || format!("`url` is `{url}`, expected such as `http://127.0.0.1:9000/path`");
    let parsed: Uri = url.parse().map_err(|_| wrong())?;
    match (parsed.scheme_str(), parsed.authority()) {
        (Some("http"), Some(authority)) => Ok(Place::Url {
            authority: authority.to_string(),
            target: parsed
                .path_and_query()
                .map_or_else(|| "/".to_owned(), ToString::to_string),
        }),
        _ => Err(wrong()),
    }
}

fn within(name: &str, given: Option<usize>, most: usize) -> Result<usize, String> {
    let given = given.unwrap_or(1);
    if (1..=most).contains(&given) {
        Ok(given)
    } else {
        Err(format!("`{name}` is {given}, expected 1 to {most}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_file_is_one() {
        let help = crate::chaos::RUN_EXAMPLES;
        let (_, file) = help.split_once("outage.yaml:\n").unwrap();
        let (file, _) = file.split_once("\nWhatever").unwrap();
        let plain: Vec<&str> = file
            .lines()
            .map(|l| l.strip_prefix("  ").unwrap_or(l))
            .collect();
        let experiment = Experiment::parse(&plain.join("\n")).unwrap();
        let titles: Vec<String> = experiment.steps.iter().map(Step::title).collect();
        assert_eq!(
            titles,
            [
                "20 × GET /api/orders",
                "payment-service: 100 % HTTP_500",
                "50 × GET /api/orders",
                "stop payment-service",
                "pause 2s",
                "20 × GET /api/orders",
            ]
        );
    }

    #[test]
    fn mistakes_are_named() {
        for (steps, expected) in [
            ("[]", "`steps` is empty"),
            ("[{}]", "step 1: a step has exactly one"),
            (
                "[{pause: 1s}, {pause: 1s, stop: all}]",
                "step 2: a step has exactly one",
            ),
            ("[{pause: soon}]", "not a duration"),
            ("[{pause: 5s, expect: {}}]", "`expect` is about `requests`"),
            ("[{requests: {}}]", "either `path`"),
            ("[{requests: {path: api}}]", "begins with `/`"),
            ("[{requests: {url: 'https://x/'}}]", "expected such as"),
            ("[{requests: {path: /, count: 0}}]", "`count` is 0"),
            ("[{error: {service: x, rate: 30}}]", "from 0 to 1"),
            ("[{error: {service: x, for: 1.5s}}]", "whole seconds"),
            ("[{latency: {service: x}}]", "delay"),
            ("[{requests: {path: /}, expects: {}}]", "expects"),
        ] {
            let text = format!("name: x\nsteps: {steps}\n");
            let error = Experiment::parse(&text).unwrap_err();
            assert!(error.contains(expected), "{steps}: {error}");
        }
    }
}
