//! NumericDate (RFC 7519 section 2), read in one way wherever it stands: in client assertions, in access tokens, and in
//! the answers of an introspection endpoint.

use std::time::Duration;

use serde_json::Value;

/// What a date is for, which decides how a fraction of a second is rounded: never in favour of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NumericDate {
    /// `exp`: rounded down.
    End,
    /// `iat` and `nbf`: rounded up.
    Beginning,
}

/// Whole seconds since 1970. A JSON number in any notation, with fraction and exponent; `None` for anything else, and for
/// a number that is negative or beyond 2⁶⁴ seconds.
pub(crate) fn numeric_date(value: &Value, date: NumericDate) -> Option<u64> {
    if let Some(seconds) = value.as_u64() {
        return Some(seconds);
    }
    let span = Duration::try_from_secs_f64(value.as_f64()?).ok()?;
    let begun = date == NumericDate::Beginning && span.subsec_nanos() > 0;
    Some(span.as_secs().saturating_add(begun.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_a_number_in_any_notation_and_nothing_else() {
        for (text, end, beginning) in [
            ("1795720000", 1_795_720_000, 1_795_720_000),
            ("1795720000.0", 1_795_720_000, 1_795_720_000),
            ("1795720000.5", 1_795_720_000, 1_795_720_001),
            ("1795720000.999", 1_795_720_000, 1_795_720_001),
            ("1.79572e9", 1_795_720_000, 1_795_720_000),
            ("1.7957200005E+9", 1_795_720_000, 1_795_720_001),
            ("17957200005e-1", 1_795_720_000, 1_795_720_001),
            ("0", 0, 0),
            ("0.25", 0, 1),
            ("-0.0", 0, 0),
            ("18446744073709551615", u64::MAX, u64::MAX),
        ] {
            let value: Value = serde_json::from_str(text).unwrap();
            assert_eq!(numeric_date(&value, NumericDate::End), Some(end), "{text}");
            assert_eq!(numeric_date(&value, NumericDate::Beginning), Some(beginning), "{text}");
        }
        for text in ["-1", "-0.5", "1e300", "18446744073709551616", "null", "true", "\"1795720000\"", "[1]", "{}"] {
            let value: Value = serde_json::from_str(text).unwrap();
            assert_eq!(numeric_date(&value, NumericDate::End), None, "{text}");
            assert_eq!(numeric_date(&value, NumericDate::Beginning), None, "{text}");
        }
    }
}
