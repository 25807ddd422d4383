//! The session index: the sessions that one subject has through one client, the oldest first. Their
//! number is bounded, so that nobody who can log in can fill the store.

use std::collections::VecDeque;

use crate::state::codec::{Reader, Stored};

/// The identifier of a session, decoded.
type Id = [u8; 16];

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SessionIndex(VecDeque<Id>);

impl SessionIndex {
    /// The most sessions that a host can allow.
    pub(crate) const MOST: usize = 500;

    /// The oldest session, if it must be ended before another one fits.
    pub(crate) fn surplus(&self, most: usize) -> Option<Id> {
        self.0.front().copied().filter(|_| self.0.len() >= most)
    }

    /// Adds a session, in place of the [surplus](Self::surplus).
    pub(crate) fn add(&mut self, id: Id, most: usize) {
        if self.0.len() >= most {
            self.0.pop_front();
        }
        self.0.push_back(id);
    }

    /// Removes a session. Returns false if it was not there.
    pub(crate) fn remove(&mut self, id: Id) -> bool {
        let before = self.0.len();
        self.0.retain(|own| *own != id);
        self.0.len() < before
    }
}

/// The identifiers are written one after the other.
impl Stored for SessionIndex {
    const NAME: &'static str = "a user's sessions";

    fn size_hint(&self) -> usize {
        1 + 16 * self.0.len()
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        let (first, last) = self.0.as_slices();
        bytes.extend_from_slice(first.as_flattened());
        bytes.extend_from_slice(last.as_flattened());
    }

    fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let ids = reader.pieces()?;
        // A read index usually gets one more session, so there is room for it.
        let mut list = Vec::with_capacity(ids.len() + 1);
        list.extend_from_slice(ids);
        Some(Self(list.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::codec::{from_bytes, to_bytes};

    #[test]
    fn the_newest_are_kept_in_their_order() {
        let mut list = SessionIndex::default();
        for number in 0..7_u8 {
            assert_eq!(list.surplus(3), number.checked_sub(3).map(|oldest| [oldest; 16]));
            list.add([number; 16], 3);
        }
        assert_eq!(list, SessionIndex([[4; 16], [5; 16], [6; 16]].into()));
        // If fewer sessions are allowed than before, each new one still ends only one.
        let mut fewer = list.clone();
        fewer.add([9; 16], 2);
        assert_eq!(fewer, SessionIndex([[5; 16], [6; 16], [9; 16]].into()));
        assert!(list.remove([5; 16]));
        assert_eq!(list, SessionIndex([[4; 16], [6; 16]].into()));
        assert!(!list.remove([9; 16]));
    }

    #[test]
    fn what_is_no_list_is_not_readable() {
        for bytes in [&[][..], &[2], &[1, 0], &[1; 16], &[2; 17]] {
            assert!(from_bytes::<SessionIndex>(bytes).is_err(), "{bytes:?}");
        }
        assert_eq!(from_bytes(&[1; 17]), Ok(SessionIndex([[1; 16]].into())));
    }

    #[test]
    fn the_stored_bytes_stay_the_same_from_version_to_version() {
        let expected = [[1].as_slice(), &[4; 16], &[5; 16]].concat();
        assert_eq!(to_bytes(&SessionIndex([[4; 16], [5; 16]].into())), expected);
    }
}
