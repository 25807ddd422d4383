//! The stored form of rows: one byte for the version of the form, then the fields as plain bytes,
//! LEB128 numbers, and texts after their length. Decoding accepts exactly what encoding writes, so
//! that no other bytes are taken for a row.

/// A row that can be stored. The stored bytes outlive a version of this crate: a row whose form
/// changes needs another [`FORM`](Self::FORM), and reads the older forms in
/// [`decode_form`](Self::decode_form).
pub(crate) trait Stored: Sized {
    /// The name of the row in error messages.
    const NAME: &'static str;
    /// The first byte of the form that is written.
    const FORM: u8 = 1;

    /// Writes everything after the first byte.
    fn encode(&self, bytes: &mut Vec<u8>);

    /// Reads what [`encode`](Self::encode) has written. The caller detects bytes that are left
    /// over.
    fn decode(reader: &mut Reader<'_>) -> Option<Self>;

    /// Reads a row of this form; `None` if the form is unknown. A type that still reads older forms
    /// overrides this. By default only the form that is written is read.
    fn decode_form(form: u8, reader: &mut Reader<'_>) -> Option<Self> {
        if form == Self::FORM { Self::decode(reader) } else { None }
    }

    /// The likely length in bytes.
    fn size_hint(&self) -> usize {
        64
    }
}

/// Encodes a row.
pub(crate) fn to_bytes<R: Stored>(row: &R) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(row.size_hint());
    bytes.push(R::FORM);
    row.encode(&mut bytes);
    bytes
}

/// Decodes a row.
///
/// # Errors
///
/// If the bytes are not exactly what [`to_bytes`] writes, or has written in an older form.
pub(crate) fn from_bytes<R: Stored>(bytes: &[u8]) -> Result<R, UnreadableRow> {
    let mut reader = Reader(bytes);
    let mut read = || {
        let form = reader.byte()?;
        let row = R::decode_form(form, &mut reader)?;
        reader.end()?;
        Some(row)
    };
    read().ok_or(UnreadableRow(R::NAME))
}

/// The error of a stored row that cannot be decoded. Never treat such a row as absent.
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

/// Writes `None` as 0, and a number as one more than it is.
pub(crate) fn write_optional(bytes: &mut Vec<u8>, number: Option<u64>) {
    write_number(bytes, number.map_or(0, |number| number.saturating_add(1)));
}

/// Reads the parts of an encoded row. A method returns `None` for bytes that were not written as
/// that part.
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
                // A number has only one form: no zeros at its end.
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

    /// The next number of an ascending list of numbers below `end`. It is stored as the difference
    /// from the one before it.
    pub(crate) fn next_of(&mut self, last: Option<u64>, end: u64) -> Option<u64> {
        let step = self.number()?;
        if last.is_some() && step == 0 {
            return None;
        }
        last.unwrap_or(0).checked_add(step).filter(|seq| *seq < end)
    }

    /// All remaining bytes, in pieces of length `N`.
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

    /// A row that had one number in its first form, and has two in its second.
    #[derive(Debug, PartialEq)]
    struct Grown(u64, u64);

    impl Stored for Grown {
        const NAME: &'static str = "a test";
        const FORM: u8 = 2;

        fn encode(&self, bytes: &mut Vec<u8>) {
            write_number(bytes, self.0);
            write_number(bytes, self.1);
        }

        fn decode(reader: &mut Reader<'_>) -> Option<Self> {
            Some(Self(reader.number()?, reader.number()?))
        }

        fn decode_form(form: u8, reader: &mut Reader<'_>) -> Option<Self> {
            match form {
                1 => Some(Self(reader.number()?, 0)),
                2 => Self::decode(reader),
                _ => None,
            }
        }
    }

    #[test]
    fn a_row_of_an_older_form_is_read_and_is_written_in_the_newest() {
        assert_eq!(from_bytes(&[1, 7]), Ok(Grown(7, 0)));
        assert_eq!(to_bytes(&Grown(7, 0)), [2, 7, 0]);
        assert_eq!(from_bytes(&[2, 7, 5]), Ok(Grown(7, 5)));
        for bytes in [&[][..], &[1], &[1, 7, 5], &[2, 7], &[3, 7], &[0, 7]] {
            assert_eq!(from_bytes::<Grown>(bytes), Err(UnreadableRow("a test")), "{bytes:?}");
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
