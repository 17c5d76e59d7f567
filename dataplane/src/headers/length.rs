//! `content-length` in the one spelling that every hop reads alike.

use http::header::{CONTENT_LENGTH, HeaderMap, HeaderValue};

/// Digits that an HTTP/2 peer reads at most; the largest 64-bit number has twenty.
const MAX_DIGITS: usize = 19;

/// Whether `content-length` is absent, or one decimal number without leading zeros.
///
/// `5, 5` and `0…05` are legal to some HTTP/1 parsers and malformed to HTTP/2 ones: forwarded, each resets a
/// stream at the next hop, and after a thousand of them that hop closes the connection that everybody shares.
pub fn plain_content_length(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    let (first, second) = (values.next(), values.next());
    match (first.map(HeaderValue::as_bytes), second) {
        (None, _) | (Some(b"0"), None) => true,
        (Some([b'1'..=b'9', rest @ ..]), None) => {
            rest.len() < MAX_DIGITS && rest.iter().all(u8::is_ascii_digit)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_in_plain_digits() {
        let plain = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_LENGTH, HeaderValue::from_static(value));
            }
            plain_content_length(&headers)
        };
        for good in [&[][..], &["0"], &["5"], &["9223372036854775807"]] {
            assert!(plain(good), "{good:?}");
        }
        for bad in [
            &["5", "5"][..],
            &["5, 5"],
            &["05"],
            &["00"],
            &["00000000000000000005"],
            &["18446744073709551616"],
            &["+5"],
            &["-1"],
            &["0x5"],
            &["5 "],
            &[""],
        ] {
            assert!(!plain(bad), "{bad:?}");
        }
    }
}
