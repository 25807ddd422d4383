//! A fast writer of JSON objects, for the claims of tokens and the bodies of responses.

use serde::Serialize;
use serde_json::{Error, Map, Value};

/// Writes an object member by member. Its methods are inlined, so that names are copied with
/// lengths known at compile time.
///
/// `serde_json` writes the values. A text that needs no escapes, as nearly every text does, is
/// copied as a whole instead of byte by byte. The output is the same as that of `serde_json`, in a
/// fraction of the time.
pub(crate) struct ObjectWriter {
    out: Vec<u8>,
    failed: Option<Error>,
}

impl ObjectWriter {
    /// A writer that expects to write `capacity` bytes.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        let mut out = Vec::with_capacity(capacity);
        out.push(b'{');
        Self { out, failed: None }
    }

    /// Writes a text. The name must not need escapes.
    #[inline]
    pub(crate) fn text(&mut self, name: &'static str, value: &str) {
        self.own_name(name);
        self.quoted(value);
    }

    /// Writes a text whose grammar allows no character that needs an escape, such as a scope or
    /// base64url. The name must not need escapes either.
    #[inline]
    pub(crate) fn plain(&mut self, name: &'static str, value: &[u8]) {
        debug_assert!(
            std::str::from_utf8(value).is_ok_and(|value| !is_special(value)),
            "{name:?} is of another grammar"
        );
        self.own_name(name);
        self.out.push(b'"');
        self.out.extend_from_slice(value);
        self.out.push(b'"');
    }

    /// Writes any value. The name must not need escapes.
    #[inline]
    pub(crate) fn value(&mut self, name: &'static str, value: &impl Serialize) {
        self.own_name(name);
        self.write(value);
    }

    /// Writes the members of another object. None of their names may have been written before.
    pub(crate) fn members(&mut self, members: &Map<String, Value>) {
        for (name, value) in members {
            self.separate();
            self.quoted(name);
            self.out.push(b':');
            self.write(value);
        }
    }

    pub(crate) fn finish(mut self) -> Result<Vec<u8>, Error> {
        self.out.push(b'}');
        match self.failed {
            Some(error) => Err(error),
            None => Ok(self.out),
        }
    }

    fn separate(&mut self) {
        if self.out.len() > 1 {
            self.out.push(b',');
        }
    }

    #[inline]
    fn own_name(&mut self, name: &'static str) {
        debug_assert!(!is_special(name), "{name:?} is a name of ours");
        self.separate();
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn quoted(&mut self, text: &str) {
        if is_special(text) {
            return self.write(&text);
        }
        self.out.push(b'"');
        self.out.extend_from_slice(text.as_bytes());
        self.out.push(b'"');
    }

    fn write(&mut self, value: &impl Serialize) {
        if let Err(error) = serde_json::to_writer(&mut self.out, value) {
            self.failed = Some(error);
        }
    }
}

/// Whether the text contains a character that needs an escape.
fn is_special(text: &str) -> bool {
    // A loop over bytes without an early exit is one that the compiler can vectorise.
    let special = |byte: u8| u8::from((byte < 0x20) | (byte == b'"') | (byte == b'\\'));
    text.as_bytes().iter().fold(0, |found, byte| found | special(*byte)) != 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_writes_what_serde_json_writes(texts: Vec<(String, String)>, number: u64) {
            let mut expected = Map::new();
            expected.insert("n".into(), number.into());
            expected.extend(texts.into_iter().map(|(name, text)| (name, text.into())));
            let mut written = ObjectWriter::with_capacity(0);
            written.members(&expected);
            prop_assert_eq!(written.finish().unwrap(), serde_json::to_vec(&expected).unwrap());

            let texts = expected.values().filter_map(Value::as_str).take(2).collect::<Vec<_>>();
            let (first, second) = (texts.first().unwrap_or(&""), texts.last().unwrap_or(&""));
            let mut written = ObjectWriter::with_capacity(0);
            written.text("first", first);
            written.value("number", &number);
            written.text("second", second);
            let object: Value = serde_json::from_slice(&written.finish().unwrap()).unwrap();
            prop_assert_eq!(
                object,
                serde_json::json!({ "first": first, "number": number, "second": second })
            );
        }
    }
}
