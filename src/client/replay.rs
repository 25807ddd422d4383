//! Protection against replay: values that may be used once, such as the `jti` of an assertion (RFC
//! 7523 section 3). Each used value has a row, and each owner has a few rows that count them, so
//! that requests of one owner rarely wait for each other.

use std::time::Duration;

use crate::error::BoxError;
use crate::state::StateKey;
use crate::state::codec::{Reader, Stored};
use crate::state::key::{Keys, Purpose};
use crate::state::transaction::{RowKey, Transaction};

/// The outcome of using a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// It was not used before.
    First,
    /// It was used before.
    Seen,
    /// Too many used values of its owner are remembered, in the part that this one belongs to.
    Full,
}

/// How many used values of one owner are remembered, and in how many rows they are counted. With
/// one row, all requests of an owner would write it, and a store that several instances share would
/// commit them one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UseQuota {
    parts: u8,
    of_each_part: u64,
}

impl UseQuota {
    const MOST_PARTS: u8 = 64;
    /// A part has room for so many values at least. With fewer, chance would fill a part long
    /// before the others.
    const SMALLEST_PART: u64 = 64;

    /// A quota of so many values, rounded up to a multiple of the number of parts.
    pub(crate) fn new(most: u64) -> Self {
        let parts = most / Self::SMALLEST_PART;
        let parts = u8::try_from(parts).unwrap_or(u8::MAX).clamp(1, Self::MOST_PARTS);
        Self { parts, of_each_part: most.div_ceil(parts.into()) }
    }
}

/// Whose values are counted together.
#[derive(Clone, Copy)]
pub(crate) struct Owner<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) tenant: &'a str,
    pub(crate) client: &'a str,
}

/// The keys of the two rows that a use writes.
#[derive(Clone, Copy)]
pub(crate) struct UseKeys {
    value: RowKey<Used>,
    /// The row that counts the used values in this part of the owner's.
    pub(crate) count: RowKey<UseCounts>,
}

impl UseKeys {
    /// The part follows from the key of the value, which is a keyed digest. So nobody can choose
    /// values of one part without the secret.
    pub(crate) fn new(keys: &Keys, quota: UseQuota, owner: Owner<'_>, value: &str) -> Self {
        let [issuer, tenant, client] =
            [owner.issuer, owner.tenant, owner.client].map(str::as_bytes);
        let value = keys.row(Purpose::Assertion, &[issuer, tenant, client, value.as_bytes()]);
        let part = StateKey::from(value).group() % quota.parts;
        let count = keys.row(Purpose::AssertionCount, &[issuer, tenant, client, &[part]]);
        Self { value, count }
    }

    pub(crate) fn both(self) -> [StateKey; 2] {
        [self.value.into(), self.count.into()]
    }
}

/// Uses a value and remembers it until `end` (milliseconds since 1970), if there is room for it in
/// the `quota` of its owner. A value that was used before is `Seen` even if there is no room for
/// more.
pub(crate) fn use_once(
    tx: &mut Transaction<'_>,
    keys: UseKeys,
    end: u64,
    quota: UseQuota,
) -> Result<Use, BoxError> {
    if tx.contains(keys.value)? {
        return Ok(Use::Seen);
    }
    let (mut alive, now) = (tx.get(keys.count)?.unwrap_or_default(), tx.now().unix_millis());
    alive.forget(now);
    if alive.count() >= quota.of_each_part {
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

/// The number of remembered values in a part of an owner's, by the minute in which they end.
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
    use std::collections::{HashMap, HashSet};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use futures_util::future::join_all;
    use tokio::sync::Barrier;

    use super::*;
    use crate::environment::SystemRandom;
    use crate::state::codec::{from_bytes, to_bytes};
    use crate::state::test_support::{TestState, hex};
    use crate::state::transaction::{Backend, State};
    use crate::state::{Change, Commit, InMemoryState, Loaded, StateSecret, StateStore};
    use crate::time::SystemClock;

    impl TestState {
        fn uses(&self, id: u32, seconds: u64, most: u64) -> Use {
            use crate::Clock;
            let end = self.clock.now().plus(Duration::from_secs(seconds)).unix_millis();
            let value = self.keys.row(Purpose::Assertion, &[&id.to_le_bytes()]);
            let keys = UseKeys { value, count: self.keys.row(Purpose::AssertionCount, &[]) };
            self.state.run(&keys.both(), |tx| use_once(tx, keys, end, UseQuota::new(most))).unwrap()
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

    const OWNER: Owner<'static> = Owner { issuer: "i", tenant: "t", client: "c" };
    const QUOTA: UseQuota = UseQuota { parts: 64, of_each_part: 1_563 };

    #[test]
    fn a_quota_is_exact_if_it_is_small_and_is_counted_in_64_parts_if_it_is_large() {
        for (most, parts, of_each_part) in [
            (0, 1, 0),
            (1, 1, 1),
            (127, 1, 127),
            (128, 2, 64),
            (1_000, 15, 67),
            (4_096, 64, 64),
            (100_000, 64, 1_563),
            (u64::MAX, 64, u64::MAX / 64 + 1),
        ] {
            assert_eq!(UseQuota::new(most), UseQuota { parts, of_each_part }, "{most}");
        }
        assert_eq!(UseQuota::new(100_000), QUOTA);
    }

    fn keys() -> Keys {
        Keys::Shared(StateSecret::new([7; 32]).unwrap())
    }

    /// A store that answers the first load once a number of callers wait for theirs, and counts
    /// conflicts.
    struct Counting {
        store: InMemoryState,
        all_have_loaded: Barrier,
        conflicts: AtomicUsize,
    }

    #[async_trait]
    impl StateStore for Counting {
        async fn load(&self, keys: &[StateKey]) -> Result<Loaded, BoxError> {
            let loaded = self.store.load(keys).await;
            self.all_have_loaded.wait().await;
            loaded
        }

        async fn commit(&self, changes: &[Change]) -> Result<Commit, BoxError> {
            let commit = self.store.commit(changes).await?;
            let conflict = matches!(commit, Commit::Conflict { .. });
            self.conflicts.fetch_add(usize::from(conflict), Ordering::SeqCst);
            Ok(commit)
        }
    }

    /// Uses these values at once, and returns the number of conflicts.
    async fn conflicts(values: &[String]) -> usize {
        let store = Arc::new(Counting {
            store: InMemoryState::new(),
            all_have_loaded: Barrier::new(values.len()),
            conflicts: AtomicUsize::new(0),
        });
        let state = State {
            keys: keys(),
            backend: Backend::Shared(store.clone()),
            clock: Arc::new(SystemClock::new()),
            randomness: Arc::new(SystemRandom::new()),
            timeout: Duration::from_secs(60),
            turns: crate::state::turns::Turns::default(),
        };
        let uses = values.iter().map(async |value| {
            let keys = UseKeys::new(&state.keys, QUOTA, OWNER, value);
            state.run(&keys.both(), |tx| use_once(tx, keys, u64::MAX, QUOTA)).await.unwrap()
        });
        assert!(join_all(uses).await.into_iter().all(|used| used == Use::First));
        store.conflicts.load(Ordering::SeqCst)
    }

    #[tokio::test]
    async fn requests_of_one_client_at_once_conflict_only_within_a_part() {
        let mut parts: HashMap<StateKey, Vec<String>> = HashMap::new();
        for value in (0..1_000).map(|number| number.to_string()) {
            parts
                .entry(UseKeys::new(&keys(), QUOTA, OWNER, &value).count.into())
                .or_default()
                .push(value);
        }
        assert_eq!(parts.len(), 64);
        let one_of_each: Vec<_> = parts.values().map(|values| values[0].clone()).collect();
        assert_eq!(conflicts(&one_of_each).await, 0);
        let two_of_one = &parts.values().next().unwrap()[..2];
        assert_eq!(conflicts(two_of_one).await, 1);
    }

    #[test]
    fn each_owner_has_rows_of_its_own() {
        let rows = |owner: Owner<'_>| -> HashSet<StateKey> {
            let values = (0..200).map(|number| number.to_string());
            values.flat_map(|value| UseKeys::new(&keys(), QUOTA, owner, &value).both()).collect()
        };
        let others = [
            Owner { issuer: "j", ..OWNER },
            Owner { tenant: "u", ..OWNER },
            Owner { client: "d", ..OWNER },
        ];
        for other in others {
            assert!(rows(OWNER).is_disjoint(&rows(other)));
        }
    }
}
