//! NumericDate (RFC 7519 section 2): one reader for client assertions, access tokens, and the
//! responses of an introspection endpoint.

use std::time::Duration;

use serde_json::Value;

/// Seconds since 1970, and whether a fraction of a second followed. Each use rounds it to the
/// token's disadvantage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NumericDate {
    seconds: u64,
    has_fraction: bool,
}

impl NumericDate {
    /// Reads a JSON number in any notation, with fraction and exponent. A number that is not an
    /// integer is read as a 64-bit float. Returns `None` for any other value, and for a number that
    /// is negative or beyond 2⁶⁴.
    pub(crate) fn read(value: &Value) -> Option<Self> {
        if let Some(seconds) = value.as_u64() {
            return Some(Self { seconds, has_fraction: false });
        }
        let span = Duration::try_from_secs_f64(value.as_f64()?).ok()?;
        Some(Self { seconds: span.as_secs(), has_fraction: span.subsec_nanos() > 0 })
    }

    /// The value for `exp`, and for `iat` when it is compared with a later log-out.
    pub(crate) fn rounded_down(self) -> u64 {
        self.seconds
    }

    /// The value for `nbf`, and for `iat` when it must not lie in the future.
    pub(crate) fn rounded_up(self) -> u64 {
        self.seconds.saturating_add(self.has_fraction.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_a_number_in_any_notation_and_nothing_else() {
        for (text, down, up) in [
            ("1795720000", 1_795_720_000, 1_795_720_000),
            ("1795720000.0", 1_795_720_000, 1_795_720_000),
            ("1795720000.5", 1_795_720_000, 1_795_720_001),
            ("1795720000.999", 1_795_720_000, 1_795_720_001),
            ("1795720000.99999999", 1_795_720_001, 1_795_720_001), // rounded up by the 64-bit float
            ("1.79572e9", 1_795_720_000, 1_795_720_000),
            ("1.7957200005E+9", 1_795_720_000, 1_795_720_001),
            ("17957200005e-1", 1_795_720_000, 1_795_720_001),
            ("0", 0, 0),
            ("0.25", 0, 1),
            ("-0.0", 0, 0),
            ("18446744073709551615", u64::MAX, u64::MAX),
        ] {
            let date = NumericDate::read(&serde_json::from_str(text).unwrap()).unwrap();
            assert_eq!((date.rounded_down(), date.rounded_up()), (down, up), "{text}");
        }
        for text in [
            "-1",
            "-0.5",
            "1e300",
            "18446744073709551616",
            "null",
            "true",
            "\"1795720000\"",
            "[1]",
            "{}",
        ] {
            assert_eq!(NumericDate::read(&serde_json::from_str(text).unwrap()), None, "{text}");
        }
    }
}
