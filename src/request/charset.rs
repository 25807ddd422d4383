//! The charset in the `Content-Type` of a form.

use crate::http::Header;

/// The text encoding that a form claims to have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Charset {
    Utf8,
    /// Another encoding, in which ASCII text has the same bytes as in UTF-8.
    AsciiSuperset,
}

/// The charset in the `Content-Type` of a form; UTF-8 if it names none. `None` for any other media
/// type or parameter. The registration of the media type defines no `charset`, but widely used
/// clients add one, and some always send `ISO-8859-1`.
pub(super) fn charset_of(content_type: Header<'_>) -> Option<Charset> {
    let Header::Once(value) = content_type else { return None };
    let mut parts =
        std::str::from_utf8(value).ok()?.split(';').map(|part| part.trim_matches([' ', '\t']));
    if !parts.next()?.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return None;
    }
    let mut charset = None;
    // RFC 9110 section 5.6.6 allows a semicolon that no parameter follows.
    for parameter in parts.filter(|parameter| !parameter.is_empty()) {
        let (_, label) =
            parameter.split_once('=').filter(|(name, _)| name.eq_ignore_ascii_case("charset"))?;
        let label =
            label.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(label);
        let named = charset_named(label)?;
        if charset.is_some_and(|former| former != named) {
            return None;
        }
        charset = Some(named);
    }
    Some(charset.unwrap_or(Charset::Utf8))
}

/// The charset with this label. `None` if the label is malformed, or for encodings in which an
/// octet below 128 is not always the ASCII character.
fn charset_named(label: &str) -> Option<Charset> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:()".contains(&byte);
    if label.is_empty() || !label.bytes().all(is_token) {
        return None;
    }
    if ["utf-8", "utf8"].iter().any(|utf_8| utf_8.eq_ignore_ascii_case(label)) {
        return Some(Charset::Utf8);
    }
    let bare = label.to_ascii_lowercase().replace(['-', '_'], "");
    // Aliases begin with these, such as `csUTF16` and `x-UTF-16LE-BOM`.
    let bare = bare.strip_prefix("cs").or_else(|| bare.strip_prefix('x')).unwrap_or(&bare);
    let code_page = ["cp", "ibm", "ccsid", "windows", "ms", ""]
        .iter()
        .find_map(|of| bare.strip_prefix(of)?.parse().ok());
    let is_superset = match code_page {
        Some(number) => is_ascii_code_page(number),
        None => !NO_SUPERSETS.iter().any(|family| bare.starts_with(family)),
    };
    is_superset.then_some(Charset::AsciiSuperset)
}

/// The beginnings of the names of encodings that are not supersets of ASCII: UTF-16 and similar,
/// UTF-7, encodings that switch between alphabets, and EBCDIC.
const NO_SUPERSETS: [&str; 14] = [
    "utf16",
    "utf32",
    "utf7",
    "u16",
    "u32",
    "u7",
    "imap",
    "iso10646",
    "unicode",
    "ucs",
    "iso2022",
    "hz",
    "ebcdic",
    "utfebcdic",
];

/// Whether the first half of the code page with this number is ASCII. The others are EBCDIC (most
/// of those below 437, some from 500 to 1399), or UTF-16, UTF-32 and UTF-7 (1200, 12000, 65000).
fn is_ascii_code_page(number: u32) -> bool {
    matches!(number, 437 | 720 | 737 | 775 | 850..=869 | 874 | 932 | 936 | 949 | 950 | 1250..=1258
        | 1361 | 10000..=10099 | 20127 | 20866 | 21866 | 28591..=28606 | 38598 | 51932..=51949
        | 54936)
}
