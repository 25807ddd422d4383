//! The sessions that one user has through one client, the oldest first: a bounded number, so that nobody who can log in
//! fills the store with them.

use crate::state::codec::UnreadableRow;
use crate::state::driver::Snapshot;

/// The name of a family.
type Id = [u8; 16];

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sessions(Vec<Id>);

impl Sessions {
    /// As many as a row has room for.
    pub(crate) const MOST: usize = 500;
    const FORM: u8 = 1;

    pub(crate) fn read(rows: &Snapshot<'_>, index: usize) -> Result<Self, UnreadableRow> {
        match rows.row(index).map(|seen| seen.value) {
            None => Ok(Self::default()),
            Some([Self::FORM, ids @ ..]) if ids.len().is_multiple_of(16) => Ok(Self(ids.as_chunks().0.to_vec())),
            Some(_) => Err(UnreadableRow("the sessions of a user")),
        }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(1 + 16 * self.0.len());
        bytes.push(Self::FORM);
        self.0.iter().for_each(|id| bytes.extend_from_slice(id));
        bytes
    }

    /// The one that has to go before there is room for another.
    pub(crate) fn surplus(&self, most: usize) -> Option<Id> {
        self.0.first().copied().filter(|_| self.0.len() >= most)
    }

    /// Adds one, in the place of the oldest ones where there are too many.
    pub(crate) fn add(&mut self, id: Id, most: usize) {
        let surplus = (self.0.len() + 1).saturating_sub(most.max(1));
        self.0.drain(..surplus.min(self.0.len()));
        self.0.push(id);
    }
}
