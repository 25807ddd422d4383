//! What may be used once: a row for each thing used, and one for each owner that counts them.

use crate::state::codec::UnreadableRow;
use crate::state::driver::{Changes, Snapshot};
use crate::vocabulary::error::BoxError;

/// What is said to a use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// It is the first.
    First,
    /// It was used before.
    Seen,
    /// Its owner has too many that are still remembered.
    Full,
}

/// Uses a thing until `end`, in milliseconds since 1970. Its row is the first of the snapshot, the count of its owner the
/// second. What was seen is seen, also where there is no room for more.
pub(crate) fn use_once(rows: &Snapshot<'_>, changes: &mut Changes, end: u64, most: u64) -> Result<Use, BoxError> {
    let now = rows.now.unix_millis();
    if rows.row(0).is_some() {
        return Ok(Use::Seen);
    }
    let mut alive = match rows.row(1) {
        Some(seen) => Alive::from_bytes(seen.value)?,
        None => Alive::default(),
    };
    alive.forget(now);
    if alive.count() >= most {
        return Ok(Use::Full);
    }
    let last = alive.add(end);
    let life = |end: u64| std::time::Duration::from_millis(end.saturating_sub(now).max(1));
    changes.put(0, vec![1], life(end));
    changes.put(1, alive.to_bytes(), life(last));
    Ok(Use::First)
}

/// How many are remembered, by the minute in which they end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Alive(Vec<(u64, u32)>);

const MINUTE: u64 = 60_000;
const FORM: u8 = 1;
const UNREADABLE: UnreadableRow = UnreadableRow("used assertions");

impl Alive {
    fn forget(&mut self, now: u64) {
        self.0.retain(|(minute, _)| now < minute.saturating_mul(MINUTE));
    }

    fn count(&self) -> u64 {
        self.0.iter().map(|(_, count)| u64::from(*count)).sum()
    }

    /// Adds one; returns when the last of all ends, in milliseconds.
    fn add(&mut self, end: u64) -> u64 {
        let minute = end.div_ceil(MINUTE);
        match self.0.iter_mut().find(|(own, _)| *own == minute) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => self.0.push((minute, 1)),
        }
        self.0.iter().map(|(minute, _)| minute.saturating_mul(MINUTE)).max().unwrap_or(end)
    }

    /// Twelve bytes a minute: lives are an hour at most, so there are few.
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![FORM];
        for (minute, count) in &self.0 {
            bytes.extend(minute.to_le_bytes());
            bytes.extend(count.to_le_bytes());
        }
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, UnreadableRow> {
        let Some((&FORM, mut rest)) = bytes.split_first() else { return Err(UNREADABLE) };
        let mut alive = Self::default();
        while let Some((minute, after)) = rest.split_first_chunk() {
            let (count, after) = after.split_first_chunk().ok_or(UNREADABLE)?;
            alive.0.push((u64::from_le_bytes(*minute), u32::from_le_bytes(*count)));
            rest = after;
        }
        if rest.is_empty() { Ok(alive) } else { Err(UNREADABLE) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::state::key::Purpose;
    use crate::state::scratch::Memory;

    impl Memory {
        fn uses(&self, id: u32, seconds: u64, most: u64) -> Use {
            use crate::Clock;
            let end = self.clock.now().plus(Duration::from_secs(seconds)).unix_millis();
            let keys =
                [self.keys.key(Purpose::Assertion, &[&id.to_le_bytes()]), self.keys.key(Purpose::AssertionCount, &[])];
            self.state.change(&keys, |rows, changes| use_once(rows, changes, end, most)).unwrap()
        }
    }

    #[test]
    fn what_was_used_is_seen_until_its_end_and_also_where_there_is_no_room() {
        let memory = Memory::new();
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
    fn a_count_is_read_as_it_was_written_and_nothing_else_is() {
        let alive = Alive(vec![(30_000_000, 7), (30_000_001, u32::MAX)]);
        let bytes = alive.to_bytes();
        assert_eq!(Alive::from_bytes(&bytes), Ok(alive));
        for cut in (0..bytes.len()).filter(|cut| cut % 12 != 1) {
            assert_eq!(Alive::from_bytes(&bytes[..cut]), Err(UNREADABLE), "{cut}");
        }
        assert_eq!(Alive::from_bytes(&[2]), Err(UNREADABLE));
    }
}
