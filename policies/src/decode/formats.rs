//! Formats that many kinds share: durations, ports, percentages, address blocks, hosts.

use std::net::IpAddr;
use std::time::Duration;

use super::primitives::integer;
use super::{Cursor, Decode, ends_in_a_number};
use crate::diagnostic::codes;
use crate::schema::TextFormat;
use crate::yaml::{Value, shortened};

const DURATION: TextFormat = TextFormat {
    pattern: r"^(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h))+$",
    expected: "a duration such as `10s`, `1.5s`, `250ms` or `1h30m`",
    longest: None,
};
const HOST: TextFormat = TextFormat {
    pattern: r"^(\*|(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)$",
    expected: "a host name, `*.suffix`, `*` or an IP address",
    longest: None,
};
/// What [`is_host_name`] takes.
pub(crate) const NAME: TextFormat = TextFormat {
    pattern: r"^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*$",
    expected: "a name of letters, digits, `-` and `.`",
    longest: Some(253),
};
const ADDRESS_BLOCK: TextFormat = TextFormat {
    pattern: r"^([0-9.]+|[0-9A-Fa-f:.]+)(/[0-9]+)?$",
    expected: "an IP address or block such as `10.0.0.0/8`",
    longest: None,
};

/// A duration of at least one millisecond.
impl Decode for Duration {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        let DurationOrZero(duration) = DurationOrZero::decode(cursor)?;
        if duration < Self::from_millis(1) {
            return cursor.invalid_with(
                "a duration of at least 1ms",
                Some("leave the field out for no limit".to_owned()),
            );
        }
        Some(duration)
    }
}

/// A duration that may be zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DurationOrZero(pub(crate) Duration);

impl Decode for DurationOrZero {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.note(|shape| shape.format(DURATION));
        let text = match &cursor.node.value {
            Value::Scalar {
                text,
                quoted: false,
            } if integer(cursor).is_some() => {
                let help = format!("write `{text}s` for seconds");
                let positive = text.bytes().all(|b| b.is_ascii_digit());
                let fix = positive.then(|| cursor.fix_value(&help, format!("{text}s")));
                return cursor.invalid_fixed("a duration", Some(help), fix);
            }
            Value::Scalar { text, .. } => text,
            _ => return cursor.mistyped("a duration such as `10s`"),
        };
        match duration(text) {
            Some(duration) if duration.subsec_nanos() % 1_000_000 != 0 => {
                cursor.invalid("a duration of whole milliseconds")
            }
            Some(duration) => Some(Self(duration)),
            None => cursor.invalid_with(
                "a duration",
                Some("write a number and a unit: `10s`, `1.5s`, `250ms`, `1h30m`".to_owned()),
            ),
        }
    }
}

/// Go's duration syntax (`time.ParseDuration`) without a sign and with units from milliseconds to hours.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at_checked(digits)?;
        let unit_end = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(unit_end)?;
        let unit_nanos: u128 = match unit {
            "ns" => 1,
            "us" | "µs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty())
            || whole.len() > 12
            || fraction.len() > 9
            || fraction.contains('.')
        {
            return None;
        }
        let whole: u128 = if whole.is_empty() {
            0
        } else {
            whole.parse().ok()?
        };
        let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
        let fraction: u128 = if fraction.is_empty() {
            0
        } else {
            fraction.parse().ok()?
        };
        let nanos = whole * unit_nanos + fraction * unit_nanos / scale;
        total = total.checked_add(Duration::from_nanos(u64::try_from(nanos).ok()?))?;
        rest = tail;
    }
    Some(total)
}

/// A port number, 1 to 65535.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Port(pub(crate) u16);

impl Decode for Port {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        let Some(number) = integer(cursor) else {
            cursor.note(|shape| {
                shape.whole();
                shape.range(1.0, 65535.0);
            });
            return cursor.mistyped("a port number");
        };
        match u16::try_from(number) {
            Ok(port) if port > 0 => Some(Self(port)),
            _ => cursor.invalid("a port between 1 and 65535"),
        }
    }
}

/// Istio's `Percent` message, `{value: 12.5}`: 0 to 100.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Percent(pub(crate) f64);

impl Decode for Percent {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        if let Value::Scalar { text, .. } = &cursor.node.value
            && !cursor.is_recording()
        {
            let help = format!("write `{{value: {}}}`", shortened(text));
            cursor.error(
                codes::WRONG_TYPE,
                format!("expected a mapping, found {}", cursor.node.describe()),
                Some(help),
            );
            return None;
        }
        // A missing value is 0, as in protobuf.
        cursor
            .fields(|f| {
                Some(
                    f.optional::<Share>("value")
                        .map_or(0.0, |Share(share)| share),
                )
            })
            .map(Self)
    }
}

/// A number between 0 and 100.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Share(pub(crate) f64);

impl Decode for Share {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        let share = f64::decode(cursor);
        cursor.note(|shape| shape.range(0.0, 100.0));
        let share = share?;
        if (0.0..=100.0).contains(&share) {
            Some(Self(share))
        } else {
            cursor.invalid("a percentage between 0 and 100")
        }
    }
}

/// A whole percentage, 0 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WholePercent(pub(crate) u32);

impl Decode for WholePercent {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        let Some(number) = integer(cursor) else {
            cursor.note(|shape| {
                shape.whole();
                shape.range(0.0, 100.0);
            });
            return cursor.mistyped("a whole number");
        };
        u32::try_from(number)
            .ok()
            .filter(|percent| *percent <= 100)
            .map(Self)
            .or_else(|| cursor.invalid("a percentage between 0 and 100"))
    }
}

/// A host name, `*.suffix` or `*`, or an IP address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostText(pub(crate) String);

impl Decode for HostText {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.note(|shape| shape.format(HOST));
        let text = cursor.text()?;
        let name = text.strip_prefix("*.").unwrap_or(text);
        let named = is_host_name(name) && !ends_in_a_number(name);
        if text == "*" || named || text.parse::<IpAddr>().is_ok() {
            return Some(Self(text.to_owned()));
        }
        if let Some((_, host)) = text.split_once("://")
            && is_host_name(host)
        {
            let fix = cursor.fix_value("leave out the scheme", host);
            return cursor.invalid_fixed("a host name", None, Some(fix));
        }
        let help = if ends_in_a_number(name) {
            Some("a name does not end in a number, and this is no IP address".to_owned())
        } else if name.ends_with('.') {
            Some("leave out the final dot".to_owned())
        } else if text.contains("://") {
            Some("leave out the scheme".to_owned())
        } else if text.contains('/') {
            Some("leave out the path".to_owned())
        } else if text.contains(':') {
            Some("leave out the port".to_owned())
        } else if name.contains('*') {
            Some("a star may only be the whole first label: `*.example.com`".to_owned())
        } else {
            None
        };
        cursor.invalid_with("a host name", help)
    }
}

/// RFC 1123 labels, underscores tolerated, at most 253 bytes.
pub(crate) fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && !name.is_empty() && name.split('.').all(label)
}

/// An IP address or a CIDR block, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CidrText(pub(crate) String);

impl Decode for CidrText {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.note(|shape| shape.format(ADDRESS_BLOCK));
        let text = cursor.text()?;
        let (address, length) = text
            .split_once('/')
            .map_or((text, None), |(address, length)| (address, Some(length)));
        let Ok(address) = address.parse::<IpAddr>() else {
            return cursor.invalid_with(
                "an IP address or block",
                Some("write `10.0.0.0/8` or `2001:db8::/32`".to_owned()),
            );
        };
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let fits = length.is_none_or(|length| {
            length.bytes().all(|b| b.is_ascii_digit())
                && length.parse::<u8>().is_ok_and(|length| length <= longest)
        });
        if fits {
            Some(Self(text.to_owned()))
        } else {
            cursor.invalid(&format!(
                "an address block with a prefix length between 0 and {longest}"
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in [
            ("10s", 10_000),
            ("1.5s", 1_500),
            ("250ms", 250),
            ("1h30m", 5_400_000),
            ("0s", 0),
        ] {
            assert_eq!(
                duration(text),
                Some(Duration::from_millis(millis)),
                "{text}"
            );
        }
        for text in [
            "",
            "10",
            "s",
            "-1s",
            "1 s",
            "1d",
            "1.2.3s",
            ".s",
            "99999999999999h",
            "10S",
            "1s2",
        ] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn host_names() {
        for good in ["a", "a.b-c.d", "A1", "_srv.example.com"] {
            assert!(is_host_name(good), "{good}");
        }
        for bad in ["", ".", "a..b", "-a", "a-", "a b", "a/b", "a:1", "ä"] {
            assert!(!is_host_name(bad), "{bad}");
        }
    }
}
