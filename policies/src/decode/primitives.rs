//! Texts, booleans, numbers, places and lists.

use super::{Cursor, Decode};
use crate::document::Spanned;
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
            _ => cursor.mistyped("`true` or `false`"),
        }
    }
}

impl Decode for u32 {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        match integer(cursor) {
            Some(number) => Self::try_from(number)
                .ok()
                .or_else(|| cursor.invalid("between 0 and 4294967295")),
            None => cursor.mistyped("a whole number"),
        }
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
            _ => cursor.mistyped("a number"),
        }
    }
}

/// The whole number of an unquoted scalar, if it is one.
pub(super) fn integer(cursor: &Cursor<'_>) -> Option<i64> {
    let Value::Scalar {
        text,
        quoted: false,
    } = &cursor.node.value
    else {
        return None;
    };
    match text.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

impl<T: Decode> Decode for Spanned<T> {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        T::decode(cursor).map(|value| cursor.spanned(value))
    }
}
