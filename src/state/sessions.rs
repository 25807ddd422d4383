//! The sessions that one user has through one client, the oldest first: a bounded number, so that nobody who can log in
//! fills the store with them.

use crate::state::codec::UnreadableRow;
use crate::state::driver::Snapshot;

/// The name of a family.
type Id = [u8; 16];

/// The stored list, which is never taken apart: a byte that says which form it is, then one name after the other.
pub(crate) struct Sessions<'a>(&'a [Id]);

impl<'a> Sessions<'a> {
    /// The most that a host can allow.
    pub(crate) const MOST: usize = 500;
    const FORM: u8 = 1;

    pub(crate) fn read(rows: &'a Snapshot<'_>, index: usize) -> Result<Self, UnreadableRow> {
        Self::stored(rows.row(index).map(|seen| seen.value))
    }

    pub(crate) fn stored(row: Option<&'a [u8]>) -> Result<Self, UnreadableRow> {
        match row.map(<[u8]>::split_first) {
            None => Ok(Self(&[])),
            Some(Some((&Self::FORM, ids))) if ids.len().is_multiple_of(16) => Ok(Self(ids.as_chunks().0)),
            Some(_) => Err(UnreadableRow("the sessions of a user")),
        }
    }

    /// The one that has to go before there is room for another.
    pub(crate) fn surplus(&self, most: usize) -> Option<Id> {
        self.0.first().copied().filter(|_| self.0.len() >= most)
    }

    /// The list with one more, in the place of the [surplus](Self::surplus).
    pub(crate) fn with(&self, id: Id, most: usize) -> Vec<u8> {
        let kept = self.0.get(usize::from(self.surplus(most).is_some())..).unwrap_or_default();
        Self::to_bytes(kept.iter().chain([&id]), kept.len() + 1)
    }

    /// The list without one; `None` if it was not on it.
    pub(crate) fn without(&self, id: Id) -> Option<Vec<u8>> {
        let kept = self.0.iter().filter(|own| **own != id);
        self.0.contains(&id).then(|| Self::to_bytes(kept, self.0.len()))
    }

    fn to_bytes<'i>(ids: impl Iterator<Item = &'i Id>, about: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(1 + 16 * about);
        bytes.push(Self::FORM);
        ids.for_each(|id| bytes.extend_from_slice(id));
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;
    use crate::state::driver::Seen;

    fn after<T>(stored: Option<&[u8]>, then: impl FnOnce(Result<Sessions<'_>, UnreadableRow>) -> T) -> T {
        let rows = [stored.map(|value| Seen { value, shared: false })];
        then(Sessions::read(&Snapshot { now: Timestamp::from_unix_seconds(0), rows: &rows }, 0))
    }

    #[test]
    fn the_newest_are_kept_in_their_order() {
        let mut stored: Option<Vec<u8>> = None;
        for number in 0..7_u8 {
            let surplus = after(stored.as_deref(), |list| list.unwrap().surplus(3));
            assert_eq!(surplus, number.checked_sub(3).map(|oldest| [oldest; 16]));
            stored = Some(after(stored.as_deref(), |list| list.unwrap().with([number; 16], 3)));
        }
        let expected = [[1].as_slice(), &[4; 16], &[5; 16], &[6; 16]].concat();
        assert_eq!(stored.as_deref(), Some(&*expected));
        // Fewer are allowed than there were: one goes for each that comes.
        let fewer = after(Some(&expected), |list| list.unwrap().with([9; 16], 2));
        assert_eq!(fewer, [[1].as_slice(), &[5; 16], &[6; 16], &[9; 16]].concat());
        let without = after(Some(&expected), |list| list.unwrap().without([5; 16]));
        assert_eq!(without, Some([[1].as_slice(), &[4; 16], &[6; 16]].concat()));
        assert_eq!(after(Some(&expected), |list| list.unwrap().without([9; 16])), None);
    }

    #[test]
    fn what_is_no_list_is_not_readable() {
        for bytes in [&[][..], &[2], &[1, 0], &[1; 16], &[2; 17]] {
            assert!(after(Some(bytes), |list| list.is_err()), "{bytes:?}");
        }
        assert!(after(Some(&[1; 17]), |list| list.is_ok()));
    }
}
