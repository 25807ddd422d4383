//! `application/x-www-form-urlencoded` text (RFC 6749 appendix B). `serde_urlencoded` encodes it.
//! Decoding is done here, because it must be strict: see [`decode`].

use std::borrow::Cow;

use serde_urlencoded::ser::Error as EncodeError;
use zeroize::{Zeroize, Zeroizing};

/// A bad percent escape, or bytes that are not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadEncoding;

/// Decodes one name or value. Decoding is never lossy: bytes that do not encode UTF-8 text are
/// refused, because two different passwords must never decode to the same text. Text without
/// escapes is borrowed.
pub(crate) fn decode(encoded: &[u8]) -> Result<Cow<'_, str>, BadEncoding> {
    unescaped(encoded, b' ')
}

/// Like [`decode`], but a `+` stands for itself (RFC 3986 section 2.1).
pub(crate) fn percent_decode(encoded: &[u8]) -> Result<Cow<'_, str>, BadEncoding> {
    unescaped(encoded, b'+')
}

fn unescaped(encoded: &[u8], plus: u8) -> Result<Cow<'_, str>, BadEncoding> {
    if !is_escaped(encoded) {
        return std::str::from_utf8(encoded).map(Cow::Borrowed).map_err(|_| BadEncoding);
    }
    // Decoded text is never longer than encoded text, so the buffer is never reallocated and leaves
    // no copy of a password.
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

/// Encodes one text so that form decoding and percent decoding give the same result, and leaves
/// the unreserved characters of RFC 3986 as they are, for servers that do not decode.
pub(crate) fn encode(text: &str) -> Result<Zeroizing<String>, EncodeError> {
    let pair = Zeroizing::new(encode_pairs(&[("", text)])?);
    let encoded = pair.trim_start_matches('=');
    Ok(Zeroizing::new(encoded.replace('+', "%20").replace("%7E", "~").replace('*', "%2A")))
}

/// Encodes a form.
pub(crate) fn encode_pairs(pairs: &[(&str, &str)]) -> Result<String, EncodeError> {
    serde_urlencoded::to_string(pairs)
}

/// Whether the text contains a `%` or a `+`, so that decoding may change it.
pub(crate) fn is_escaped(encoded: &[u8]) -> bool {
    // A loop over bytes without an early exit is one that the compiler can vectorise.
    encoded.iter().fold(0, |found, byte| found | u8::from((*byte == b'%') | (*byte == b'+'))) != 0
}

/// Appends the decoded bytes, with `plus` for each `+`. Returns false at the first bad escape.
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

/// Splits a form at every `&`, and each piece at its first `=`. Empty pieces are skipped. Nothing
/// is decoded yet.
pub(crate) fn pairs(encoded: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    encoded.split(|byte| *byte == b'&').filter(|piece| !piece.is_empty()).map(|piece| {
        let name = piece.iter().position(|byte| *byte == b'=').unwrap_or(piece.len());
        let (name, value) = piece.split_at_checked(name).unwrap_or_default();
        (name, value.get(1..).unwrap_or_default())
    })
}

/// Whether the text is VSCHAR (RFC 6749 appendix A), the characters of client ids and client
/// secrets.
pub(crate) fn is_vschar(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, 0x20..=0x7e))
}

/// Whether the text is UNICODECHARNOCRLF (RFC 6749 appendix A), the characters of user names and
/// passwords.
pub(crate) fn is_unicode_no_crlf(text: &str) -> bool {
    // Nearly all texts are ASCII, which need not be decoded into characters.
    let ascii = text
        .bytes()
        .fold(true, |all, byte| all & ((byte == b'\t') | ((b' '..=b'~').contains(&byte))));
    ascii
        || text.chars().all(|character| {
            matches!(
                character,
                '\t' | ' '..='~' | '\u{80}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..
            )
        })
}
