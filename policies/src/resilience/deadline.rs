//! One deadline through every hop: what callers say about the time that is left, and how it is said onwards.

use std::time::Duration;

/// Whether a route's requests belong to the deadline that their caller states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeadlineScope {
    /// The caller's deadline holds, and the route's own timeout if it is shorter.
    #[default]
    Shared,
    /// Only the route's own timeout holds (annotation `portcullis.dev/deadline: ignore`).
    Own,
}

/// `x-envoy-expected-rq-timeout-ms`: how long the caller is going to wait, in milliseconds. 0 is no statement.
pub fn expected_timeout(text: &str) -> Option<Duration> {
    whole_number(text, 12)
        .filter(|millis| *millis > 0)
        .map(Duration::from_millis)
}

/// A time as `x-envoy-expected-rq-timeout-ms` says it: rounded up, so that whoever reads it never gives up before the
/// one who waits.
pub fn as_millis(time: Duration) -> u64 {
    let millis = time.as_nanos().div_ceil(1_000_000).max(1);
    u64::try_from(millis).unwrap_or(u64::MAX)
}

/// `grpc-timeout`: at most eight digits and a unit (gRPC over HTTP/2, "Requests").
pub fn grpc_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let value = whole_number(digits, 8)?;
    Some(match unit {
        "H" => Duration::from_secs(value.saturating_mul(3600)),
        "M" => Duration::from_secs(value.saturating_mul(60)),
        "S" => Duration::from_secs(value),
        "m" => Duration::from_millis(value),
        "u" => Duration::from_micros(value),
        "n" => Duration::from_nanos(value),
        _ => return None,
    })
}

/// A time as `grpc-timeout` says it, in the finest unit that has room; rounded up.
pub fn as_grpc_timeout(time: Duration) -> String {
    const MOST: u128 = 99_999_999;
    let nanos = time.as_nanos();
    for (unit, length) in [("u", 1_000), ("m", 1_000_000), ("S", 1_000_000_000)] {
        let value = nanos.div_ceil(length);
        if value <= MOST {
            return format!("{value}{unit}");
        }
    }
    format!("{}H", nanos.div_ceil(3_600_000_000_000).min(MOST))
}

fn whole_number(text: &str, most_digits: usize) -> Option<u64> {
    let good = !text.is_empty()
        && text.len() <= most_digits
        && text.bytes().all(|byte| byte.is_ascii_digit());
    good.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_callers_say() {
        for (text, expected) in [
            ("1500", Some(Duration::from_millis(1500))),
            ("0", None),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("9999999999999", None),
        ] {
            assert_eq!(expected_timeout(text), expected, "{text}");
        }
        for (text, expected) in [
            ("1H", Some(Duration::from_hours(1))),
            ("2M", Some(Duration::from_mins(2))),
            ("3S", Some(Duration::from_secs(3))),
            ("100m", Some(Duration::from_millis(100))),
            ("5u", Some(Duration::from_micros(5))),
            ("7n", Some(Duration::from_nanos(7))),
            ("99999999S", Some(Duration::from_secs(99_999_999))),
            ("123456789S", None),
            ("S", None),
            ("", None),
            ("5", None),
            ("5s", None),
            ("5\u{e9}", None),
        ] {
            assert_eq!(grpc_timeout(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_said_is_never_shorter(nanos in 1_u64..u64::MAX / 2) {
            let time = Duration::from_nanos(nanos);
            let said = grpc_timeout(&as_grpc_timeout(time)).unwrap();
            prop_assert!(said >= time);
            prop_assert!(Duration::from_millis(as_millis(time)) >= time);
        }

        #[test]
        fn strangers_do_no_harm(text in "\\PC*") {
            grpc_timeout(&text);
            expected_timeout(&text);
        }
    }
}
