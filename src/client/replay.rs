//! Protection against replay: values that may be used once, such as the `jti` of an assertion (RFC
//! 7523 section 3). Each used value has a row, and each owner has a row that counts them.

use std::time::Duration;

use crate::error::BoxError;
use crate::state::StateKey;
use crate::state::codec::{Reader, Stored};
use crate::state::transaction::{RowKey, Transaction};

/// The outcome of using a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// It was not used before.
    First,
    /// It was used before.
    Seen,
    /// Too many used values of its owner are remembered.
    Full,
}

/// The keys of the two rows that a use writes.
#[derive(Clone, Copy)]
pub(crate) struct UseKeys {
    pub(crate) value: RowKey<Used>,
    /// The row that counts the used values of the owner.
    pub(crate) count: RowKey<UseCounts>,
}

impl UseKeys {
    pub(crate) fn both(self) -> [StateKey; 2] {
        [self.value.into(), self.count.into()]
    }
}

/// Uses a value and remembers it until `end` (milliseconds since 1970). An owner may have at most
/// `most` remembered values. A value that was used before is `Seen` even if its owner has no room
/// for more.
pub(crate) fn use_once(
    tx: &mut Transaction<'_>,
    keys: UseKeys,
    end: u64,
    most: u64,
) -> Result<Use, BoxError> {
    if tx.contains(keys.value)? {
        return Ok(Use::Seen);
    }
    let (mut alive, now) = (tx.get(keys.count)?.unwrap_or_default(), tx.now().unix_millis());
    alive.forget(now);
    if alive.count() >= most {
        return Ok(Use::Full);
    }
    let last = alive.add(end);
    let life = |end: u64| Duration::from_millis(end.saturating_sub(now).max(1));
    tx.put(keys.value, &Used, life(end))?;
    tx.put(keys.count, &alive, life(last))?;
    Ok(Use::First)
}

/// The row of a used value.
pub(crate) struct Used;

impl Stored for Used {
    const NAME: &'static str = "a used assertion";

    fn encode(&self, _: &mut Vec<u8>) {}

    fn decode(_: &mut Reader<'_>) -> Option<Self> {
        Some(Self)
    }
}

/// The number of remembered values of an owner, by the minute in which they end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct UseCounts(Vec<(u64, u32)>);

const MINUTE: u64 = 60_000;

impl UseCounts {
    fn forget(&mut self, now: u64) {
        self.0.retain(|(minute, _)| now < minute.saturating_mul(MINUTE));
    }

    fn count(&self) -> u64 {
        self.0.iter().map(|(_, count)| u64::from(*count)).sum()
    }

    /// Counts one more value. Returns when the last of all ends, in milliseconds since 1970.
    fn add(&mut self, end: u64) -> u64 {
        let minute = end.div_ceil(MINUTE);
        match self.0.iter_mut().find(|(own, _)| *own == minute) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => self.0.push((minute, 1)),
        }
        self.0.iter().map(|(minute, _)| minute.saturating_mul(MINUTE)).max().unwrap_or(end)
    }
}

/// Takes twelve bytes for each minute. There are few minutes, because an assertion is valid for an
/// hour at most.
impl Stored for UseCounts {
    const NAME: &'static str = "the count of used assertions";

    fn encode(&self, bytes: &mut Vec<u8>) {
        for (minute, count) in &self.0 {
            bytes.extend(minute.to_le_bytes());
            bytes.extend(count.to_le_bytes());
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let minute = |piece: &[u8; 12]| {
            let (minute, count) = piece.split_first_chunk()?;
            Some((u64::from_le_bytes(*minute), u32::from_le_bytes(count.try_into().ok()?)))
        };
        reader.pieces()?.iter().map(minute).collect::<Option<_>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::codec::{from_bytes, to_bytes};
    use crate::state::key::Purpose;
    use crate::state::test_support::{TestState, hex};

    impl TestState {
        fn uses(&self, id: u32, seconds: u64, most: u64) -> Use {
            use crate::Clock;
            let end = self.clock.now().plus(Duration::from_secs(seconds)).unix_millis();
            let value = self.keys.row(Purpose::Assertion, &[&id.to_le_bytes()]);
            let keys = UseKeys { value, count: self.keys.row(Purpose::AssertionCount, &[]) };
            self.state.run(&keys.both(), |tx| use_once(tx, keys, end, most)).unwrap()
        }
    }

    #[test]
    fn what_was_used_is_seen_until_its_end_and_also_where_there_is_no_room() {
        let memory = TestState::new();
        assert_eq!(memory.uses(1, 100, 3), Use::First);
        assert_eq!(memory.uses(1, 100, 3), Use::Seen);
        assert_eq!(memory.uses(2, 100, 3), Use::First);
        assert_eq!(memory.uses(3, 500, 3), Use::First);
        assert_eq!(memory.uses(4, 100, 3), Use::Full);
        assert_eq!(memory.uses(1, 100, 3), Use::Seen, "before full");
        memory.clock.advance(Duration::from_millis(99_999));
        assert_eq!(memory.uses(1, 100, 3), Use::Seen);
        memory.clock.advance(Duration::from_secs(61));
        assert_eq!(memory.uses(4, 100, 3), Use::First, "two have ended");
        assert_eq!(memory.uses(5, 100, 3), Use::First);
        assert_eq!(memory.uses(6, 100, 3), Use::Full);
    }

    #[test]
    fn the_stored_bytes_stay_the_same_from_version_to_version() {
        assert_eq!(hex(&Used), "01");
        assert_eq!(
            hex(&UseCounts(vec![(30_000_000, 7), (30_000_001, u32::MAX)])),
            "0180c3c901000000000700000081c3c90100000000ffffffff"
        );
    }

    #[test]
    fn a_count_is_read_as_it_was_written_and_nothing_else_is() {
        let alive = UseCounts(vec![(30_000_000, 7), (30_000_001, u32::MAX)]);
        let bytes = to_bytes(&alive);
        assert_eq!(from_bytes(&bytes), Ok(alive));
        for cut in (0..bytes.len()).filter(|cut| cut % 12 != 1) {
            assert!(from_bytes::<UseCounts>(&bytes[..cut]).is_err(), "{cut}");
        }
        assert!(from_bytes::<UseCounts>(&[2]).is_err());
    }
}
