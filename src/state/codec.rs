//! How rows are written: a byte that says which form it is, then what the row has to say, in bytes, numbers in LEB128 and
//! texts behind their length. What is read is just what would have been written, so that nothing passes for a row that is
//! none.

/// What can stand in a row. The stored bytes outlive a version of this crate: another form of them takes another
/// [`FORM`](Self::FORM).
pub(crate) trait Stored: Sized {
    /// What an error calls it.
    const NAME: &'static str;
    /// The first byte.
    const FORM: u8 = 1;

    /// Writes all that follows the first byte.
    fn encode(&self, bytes: &mut Vec<u8>);

    /// Reads what [`encode`](Self::encode) has written, and nothing else. What is left over is found by the caller.
    fn decode(reader: &mut Reader<'_>) -> Option<Self>;

    /// How many bytes it is likely to take.
    fn size_hint(&self) -> usize {
        64
    }
}

/// The stored form of a row.
pub(crate) fn to_bytes<R: Stored>(row: &R) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(row.size_hint());
    bytes.push(R::FORM);
    row.encode(&mut bytes);
    bytes
}

/// The row that was stored.
///
/// # Errors
///
/// When these bytes are not just what [`to_bytes`] makes of a row.
pub(crate) fn from_bytes<R: Stored>(bytes: &[u8]) -> Result<R, UnreadableRow> {
    let mut reader = Reader(bytes);
    let mut read = || {
        (reader.byte()? == R::FORM).then_some(())?;
        let row = R::decode(&mut reader)?;
        reader.end()?;
        Some(row)
    };
    read().ok_or(UnreadableRow(R::NAME))
}

/// A stored row is not one of ours. Never to be taken for one that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the row of {0} cannot be read")]
pub(crate) struct UnreadableRow(pub(crate) &'static str);

pub(crate) fn write_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

pub(crate) fn write_bytes(bytes: &mut Vec<u8>, text: &[u8]) {
    write_number(bytes, text.len() as u64);
    bytes.extend_from_slice(text);
}

/// None is 0, and everything else one more than it is.
pub(crate) fn write_optional(bytes: &mut Vec<u8>, number: Option<u64>) {
    write_number(bytes, number.map_or(0, |number| number.saturating_add(1)));
}

/// Takes apart what was written. `None` wherever it was not.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    pub(crate) fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if part << shift >> shift != part {
                return None;
            }
            number |= part << shift;
            if byte < 0x80 {
                // One form for a number: no zeros at its end.
                return (shift == 0 || byte != 0).then_some(number);
            }
        }
        None
    }

    pub(crate) fn optional(&mut self) -> Option<Option<u64>> {
        self.number().map(|number| number.checked_sub(1))
    }

    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (first, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(first)
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// The next in an ascending list of numbers below `end`, written as what it adds to the last one.
    pub(crate) fn next_of(&mut self, last: Option<u64>, end: u64) -> Option<u64> {
        let step = self.number()?;
        if last.is_some() && step == 0 {
            return None;
        }
        last.unwrap_or(0).checked_add(step).filter(|seq| *seq < end)
    }

    /// All that is left, in pieces of one length.
    pub(crate) fn pieces<const N: usize>(&mut self) -> Option<&'a [[u8; N]]> {
        let (pieces, rest) = self.0.as_chunks();
        self.0 = rest;
        rest.is_empty().then_some(pieces)
    }

    fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_number_is_read_as_it_was_written(number: u64, shift in 0_u32..64) {
            let number = number >> shift;
            let mut bytes = Vec::new();
            write_number(&mut bytes, number);
            let mut reader = Reader(&bytes);
            prop_assert_eq!((reader.number(), reader.end()), (Some(number), Some(())));
            prop_assert_eq!(Reader(&bytes[..bytes.len() - 1]).number(), None);
        }
    }

    #[test]
    fn another_form_of_a_number_is_none() {
        let largest = [&[0xff; 9][..], &[1]].concat();
        assert_eq!(Reader(&largest).number(), Some(u64::MAX));
        for bytes in [
            &[0x80, 0][..],
            &[0xff, 0],
            &[&[0xff; 9][..], &[2]].concat(),
            &[&[0x80; 10][..], &[1]].concat(),
        ] {
            assert_eq!(Reader(bytes).number(), None, "{bytes:?}");
        }
    }
}
