//! Texts, booleans, numbers, places and lists.

use super::{Cursor, Decode};
use crate::document::Spanned;
use crate::schema::Shape;
use crate::yaml::{Value, is_number};

impl Decode for String {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.text().map(str::to_owned)
    }
}

impl Decode for bool {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        match &cursor.node.value {
            Value::Scalar {
                text,
                quoted: false,
            } if matches!(&**text, "true" | "True" | "TRUE") => Some(true),
            Value::Scalar {
                text,
                quoted: false,
            } if matches!(&**text, "false" | "False" | "FALSE") => Some(false),
            _ => {
                cursor.note(Shape::boolean);
                cursor.mistyped("`true` or `false`")
            }
        }
    }
}

impl Decode for u32 {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        let Some(number) = integer(cursor) else {
            cursor.note(|shape| {
                shape.whole();
                shape.range(0.0, f64::from(Self::MAX));
            });
            return cursor.mistyped("a whole number");
        };
        Self::try_from(number)
            .ok()
            .or_else(|| cursor.invalid("between 0 and 4294967295"))
    }
}

/// What a schema says for the greatest whole number: exact in a double.
const MAX_U64: f64 = 9_007_199_254_740_992.0;

impl Decode for u64 {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        let Some(number) = integer(cursor) else {
            cursor.note(|shape| {
                shape.whole();
                shape.range(0.0, MAX_U64);
            });
            return cursor.mistyped("a whole number");
        };
        Self::try_from(number)
            .ok()
            .or_else(|| cursor.invalid("0 or a positive number"))
    }
}

/// A number of things where Istio has a signed 32-bit field that must not be negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count(pub(crate) u32);

impl Decode for Count {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        let Some(number) = integer(cursor) else {
            cursor.note(|shape| {
                shape.whole();
                shape.range(0.0, f64::from(i32::MAX));
            });
            return cursor.mistyped("a whole number");
        };
        i32::try_from(number)
            .ok()
            .and_then(|number| u32::try_from(number).ok())
            .map(Self)
            .or_else(|| cursor.invalid("a number between 0 and 2147483647"))
    }
}

impl Decode for f64 {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        match &cursor.node.value {
            Value::Scalar {
                text,
                quoted: false,
            } if is_number(text) => match text.parse::<Self>() {
                Ok(number) if number.is_finite() => Some(number),
                _ => cursor.mistyped("a number"),
            },
            _ => {
                cursor.note(Shape::number);
                cursor.mistyped("a number")
            }
        }
    }
}

/// The whole number of an unquoted scalar, if it is one to every YAML reader: `0777` is 777 or 511, so it is neither.
pub(super) fn integer(cursor: &Cursor<'_>) -> Option<i64> {
    let Value::Scalar {
        text,
        quoted: false,
    } = &cursor.node.value
    else {
        return None;
    };
    if let Some(hex) = text.strip_prefix("0x") {
        // No second sign behind the prefix.
        let digits = hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        return digits.then(|| i64::from_str_radix(hex, 16).ok()).flatten();
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let octal = digits.len() > 1 && digits.starts_with('0');
    if octal { None } else { text.parse().ok() }
}

impl<T: Decode> Decode for Spanned<T> {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        T::decode(cursor).map(|value| cursor.spanned(value))
    }
}

impl<T: Decode> Decode for Box<T> {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        T::decode(cursor).map(Self::new)
    }
}
