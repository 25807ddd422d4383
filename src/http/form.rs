//! `application/x-www-form-urlencoded` text (RFC 6749 appendix B). Encoding is serde_urlencoded's;
//! decoding is ours, since it must be strict: see [`decode`].

use std::borrow::Cow;

use serde_urlencoded::ser::Error as EncodeError;
use zeroize::{Zeroize, Zeroizing};

/// A bad percent escape, or bytes that are not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadEncoding;

/// Decodes one name or value. Never lossy: what is not an encoding of UTF-8 text is refused, since two different
/// passwords must never decode to the same one. Text without escapes is borrowed.
pub(crate) fn decode(encoded: &[u8]) -> Result<Cow<'_, str>, BadEncoding> {
    unescaped(encoded, b' ')
}

/// The same for text in which a `+` stands for itself (RFC 3986 section 2.1).
pub(crate) fn percent_decode(encoded: &[u8]) -> Result<Cow<'_, str>, BadEncoding> {
    unescaped(encoded, b'+')
}

fn unescaped(encoded: &[u8], plus: u8) -> Result<Cow<'_, str>, BadEncoding> {
    if !is_escaped(encoded) {
        return std::str::from_utf8(encoded).map(Cow::Borrowed).map_err(|_| BadEncoding);
    }
    // Decoding never lengthens, so the buffer is never moved and leaves no copy of a password behind.
    let mut decoded = Vec::with_capacity(encoded.len());
    let complete = unescape(encoded, plus, &mut decoded);
    match String::from_utf8(decoded) {
        Ok(text) if complete => Ok(Cow::Owned(text)),
        Ok(mut text) => {
            text.zeroize();
            Err(BadEncoding)
        }
        Err(error) => {
            error.into_bytes().zeroize();
            Err(BadEncoding)
        }
    }
}

/// Encodes one text in a way that form decoding and percent decoding read alike.
pub(crate) fn encode(text: &str) -> Result<String, EncodeError> {
    let pair = Zeroizing::new(encode_pairs(&[("", text)])?);
    Ok(pair.strip_prefix('=').unwrap_or_default().replace('+', "%20"))
}

/// Encodes a form.
pub(crate) fn encode_pairs(pairs: &[(&str, &str)]) -> Result<String, EncodeError> {
    serde_urlencoded::to_string(pairs)
}

/// Whether it holds a `%` or a `+`, so that it may mean something else than it says.
pub(crate) fn is_escaped(encoded: &[u8]) -> bool {
    // Without an early end, and in bytes, the compiler looks at many at once.
    encoded.iter().fold(0, |found, byte| found | u8::from((*byte == b'%') | (*byte == b'+'))) != 0
}

/// Appends the unescaped bytes, with this one for each `+`; false at the first bad escape.
fn unescape(encoded: &[u8], plus: u8, decoded: &mut Vec<u8>) -> bool {
    let mut bytes = encoded.iter();
    while let Some(&byte) = bytes.next() {
        let byte = match byte {
            b'+' => plus,
            b'%' => match (bytes.next().and_then(hex), bytes.next().and_then(hex)) {
                (Some(high), Some(low)) => high << 4 | low,
                _ => return false,
            },
            plain => plain,
        };
        decoded.push(byte);
    }
    true
}

fn hex(digit: &u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Splits at every `&`, then at the first `=`; empty pieces are passed over. Nothing is decoded yet.
pub(crate) fn pairs(encoded: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    encoded.split(|byte| *byte == b'&').filter(|piece| !piece.is_empty()).map(|piece| {
        let name = piece.iter().position(|byte| *byte == b'=').unwrap_or(piece.len());
        let (name, value) = piece.split_at_checked(name).unwrap_or_default();
        (name, value.get(1..).unwrap_or_default())
    })
}

/// VSCHAR (RFC 6749 appendix A): the characters of client ids and client secrets.
pub(crate) fn is_vschar(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, 0x20..=0x7e))
}

/// UNICODECHARNOCRLF (RFC 6749 appendix A): the characters of user names and passwords.
pub(crate) fn is_unicode_no_crlf(text: &str) -> bool {
    // Nearly every one is ASCII, which need not be decoded.
    let ascii = text
        .bytes()
        .fold(true, |all, byte| all & ((byte == b'\t') | ((b' '..=b'~').contains(&byte))));
    ascii || text.chars().all(|character| {
        matches!(character, '\t' | ' '..='~' | '\u{80}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
    })
}
