//! Durations as people write them: `30s`, `1h30m`, `250ms`.

use std::time::Duration;

use serde::{Deserialize as _, Deserializer, de::Error as _};

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a duration; write numbers with units h, m, s or ms, for example `30s` or `1h30m`"
)]
pub struct DurationError(String);

/// Reads `1h30m`, `30s`, `1.5s`, `250ms`. A number without a unit is refused, because nobody can tell what it counts.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    parts(text).ok_or_else(|| DurationError(text.to_owned()))
}

fn parts(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    let mut finest = u64::MAX;
    loop {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at_checked(digits)?;
        let unit_end = tail
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(unit_end)?;
        let millis: u64 = match unit {
            "h" => 3_600_000,
            "m" => 60_000,
            "s" => 1_000,
            "ms" => 1,
            _ => return None,
        };
        // Each unit once, from large to small: `1m2h` is more likely a slip than a wish.
        if millis >= finest {
            return None;
        }
        finest = millis;
        total = total.checked_add(scaled(number, millis)?)?;
        if tail.is_empty() {
            return Some(total);
        }
        rest = tail;
    }
}

/// `number` (decimal, at most three places) times `millis` milliseconds, exact.
fn scaled(number: &str, millis: u64) -> Option<Duration> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.len() > 3 {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let thousandths: u64 = format!("{fraction:0<3}").parse().ok()?;
    let micros = whole
        .checked_mul(1_000)?
        .checked_add(thousandths)?
        .checked_mul(millis)?;
    Some(Duration::from_micros(micros))
}

/// For `#[serde(with = "runtime::duration")]` fields (reading only).
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    parse(&String::deserialize(from)?).map_err(D::Error::custom)
}

/// For optional fields: `#[serde(default, deserialize_with = "runtime::duration::deserialize_option")]`.
pub fn deserialize_option<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Duration>, D::Error> {
    Option::<String>::deserialize(from)?
        .map(|text| parse(&text).map_err(D::Error::custom))
        .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, millis) in [
            ("30s", 30_000),
            ("1h", 3_600_000),
            ("1h30m", 5_400_000),
            ("250ms", 250),
            ("1.5s", 1_500),
            ("0s", 0),
            ("1m2s3ms", 62_003),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn refuses_the_rest() {
        for text in [
            "",
            "30",
            "s",
            "1d",
            "-1s",
            "1s1s",
            "1s2m",
            ".5s",
            "1.s",
            "1 s",
            "1.2345s",
            "99999999999999999999h",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
