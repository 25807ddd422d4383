//! Writing a JSON object quickly: the text of every token and of every answer passes here.

use serde::Serialize;
use serde_json::{Error, Map, Value};

/// Writes an object member by member. Inlined, so that names are copied by their known lengths.
///
/// serde_json writes the values. Only a text in which nothing has to be escaped, which is nearly every one, is copied as
/// a whole instead of byte by byte: what serde_json would have written, in a fraction of the time.
pub(crate) struct ObjectWriter {
    out: Vec<u8>,
    failed: Option<Error>,
}

impl ObjectWriter {
    /// `capacity` bytes are expected.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        let mut out = Vec::with_capacity(capacity);
        out.push(b'{');
        Self { out, failed: None }
    }

    /// A text under a name of ours, in which nothing has to be escaped.
    #[inline]
    pub(crate) fn text(&mut self, name: &'static str, value: &str) {
        self.own_name(name);
        self.quoted(value);
    }

    /// A text that by its own grammar holds nothing that has to be escaped, such as a scope or base64url.
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

    /// Any value under a name of ours, in which nothing has to be escaped.
    #[inline]
    pub(crate) fn value(&mut self, name: &'static str, value: &impl Serialize) {
        self.own_name(name);
        self.write(value);
    }

    /// The members of another object. None of their names may have been written.
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

/// Whether something in it has to be escaped.
fn is_special(text: &str) -> bool {
    // Without an early end, and in bytes, the compiler looks at many at once.
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
            prop_assert_eq!(object, serde_json::json!({ "first": first, "number": number, "second": second }));
        }
    }
}
