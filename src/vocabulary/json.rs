//! Writing a JSON object quickly: the text of every token and of every answer passes here.

use serde::Serialize;
use serde_json::{Error, Map, Value};

/// Writes an object member by member.
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

    pub(crate) fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        self.quoted(value);
    }

    pub(crate) fn value(&mut self, name: &str, value: &impl Serialize) {
        self.name(name);
        self.write(value);
    }

    /// The members of another object. None of their names may have been written.
    pub(crate) fn members(&mut self, members: &Map<String, Value>) {
        for (name, value) in members {
            self.value(name, value);
        }
    }

    pub(crate) fn finish(mut self) -> Result<Vec<u8>, Error> {
        self.out.push(b'}');
        match self.failed {
            Some(error) => Err(error),
            None => Ok(self.out),
        }
    }

    fn name(&mut self, name: &str) {
        if self.out.len() > 1 {
            self.out.push(b',');
        }
        self.quoted(name);
        self.out.push(b':');
    }

    fn quoted(&mut self, text: &str) {
        // Without an early end, and in bytes, the compiler looks at many at once.
        let special = |byte: u8| u8::from((byte < 0x20) | (byte == b'"') | (byte == b'\\'));
        if text.as_bytes().iter().fold(0, |found, byte| found | special(*byte)) != 0 {
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
            let (mut by_text, mut by_members) = (ObjectWriter::with_capacity(0), ObjectWriter::with_capacity(0));
            for (name, value) in &expected {
                match value {
                    Value::String(text) => by_text.text(name, text),
                    other => by_text.value(name, other),
                }
            }
            by_members.members(&expected);
            let expected = serde_json::to_vec(&expected).unwrap();
            prop_assert_eq!(by_text.finish().unwrap(), &*expected);
            prop_assert_eq!(by_members.finish().unwrap(), expected);
        }
    }
}
