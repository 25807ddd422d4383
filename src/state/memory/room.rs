//! The rooms of the state in memory: every row belongs to one by its purpose, and each has a bound
//! of its own. Whatever fills one room takes nothing from another.

use std::ops::Range;

use crate::state::key::{Purpose, StateKey};
use crate::state::transaction::NEVER_DISPLACED;

/// From this weight on, a row in [`Room::Accounts`] is not displaced. A row that makes somebody wait
/// has at least this weight, whatever the burst is: dropping it would give guesses away.
pub(crate) const KEPT: u8 = 10;
/// From this weight on, a row in [`Room::Accounts`] holds known origins and makes nobody wait. Such
/// rows come from accepted logins, and have a share of the room that invented names cannot take.
pub(crate) const KNOWN: u8 = 128;

/// Which rows of a room are displaced when it is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Displaced {
    /// None: each records a fact.
    Nothing,
    /// Those of least weight: each only counts failures of its own address.
    Lightest,
    /// Those of least weight among the rows that have more than their share. Rows with known
    /// origins have half of the room, and a quarter of it is left to rows below [`KEPT`].
    OverTheirShare,
}

/// Weights that may be displaced, and how many rows of these weights.
pub(super) struct MayGo {
    pub(super) weights: Range<u8>,
    pub(super) rows: usize,
}

impl Displaced {
    /// What may go of a sample of rows. `weights` are those of the rows in it that are not needed
    /// now, and `all` is the number of its rows.
    pub(super) fn of(self, weights: impl Iterator<Item = u8>, all: usize) -> MayGo {
        match self {
            Self::Nothing => MayGo { weights: 0..0, rows: 0 },
            Self::Lightest => MayGo { weights: 0..NEVER_DISPLACED, rows: all },
            Self::OverTheirShare => {
                let (mut known, mut light) = (0_usize, 0_usize);
                for weight in weights {
                    known += usize::from((KNOWN..NEVER_DISPLACED).contains(&weight));
                    light += usize::from(weight < KEPT);
                }
                match (known.saturating_sub(all / 2), light.saturating_sub(all / 4)) {
                    (0, rows) => MayGo { weights: 0..KEPT, rows },
                    (rows, _) => MayGo { weights: KNOWN..NEVER_DISPLACED, rows },
                }
            }
        }
    }
}

/// A room for rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// Attempts on user names, and known origins.
    Accounts,
    /// Counts that user names share when there is no room for a row of their own.
    Overflow,
    /// Attempts from addresses and networks.
    Addresses,
    /// Failed authentications of clients.
    ClientFailures,
    /// Sessions and session indices.
    Sessions,
    /// Used client assertions and their counts.
    Assertions,
    /// Revoked access tokens without a session.
    RevokedTokens,
    /// Log-outs everywhere.
    LogOuts,
}

impl Room {
    pub(super) const ALL: [Self; 8] = [
        Self::Accounts,
        Self::Overflow,
        Self::Addresses,
        Self::ClientFailures,
        Self::Sessions,
        Self::Assertions,
        Self::RevokedTokens,
        Self::LogOuts,
    ];

    /// The room of a row.
    pub(super) fn of(key: StateKey) -> Self {
        match key.purpose() {
            // The last two only make digests that stand in rows.
            Some(Purpose::Account | Purpose::Origin | Purpose::Subject) => Self::Accounts,
            Some(Purpose::Source | Purpose::Network) => Self::Addresses,
            Some(Purpose::ClientAtSource | Purpose::ClientAtNetwork) => Self::ClientFailures,
            Some(Purpose::Session | Purpose::SessionIndex) => Self::Sessions,
            Some(Purpose::Assertion | Purpose::AssertionCount) => Self::Assertions,
            Some(Purpose::RevokedTokens) => Self::RevokedTokens,
            Some(Purpose::SubjectEpoch | Purpose::LastEpoch) => Self::LogOuts,
            None if key.is_overflow_row() => Self::Overflow,
            // Rows of the conformance suite.
            None => Self::Sessions,
        }
    }

    /// Which rows are displaced when the room is full.
    pub(super) fn displaced(self) -> Displaced {
        match self {
            Self::Accounts => Displaced::OverTheirShare,
            Self::Addresses | Self::ClientFailures => Displaced::Lightest,
            Self::Overflow
            | Self::Sessions
            | Self::Assertions
            | Self::RevokedTokens
            | Self::LogOuts => Displaced::Nothing,
        }
    }
}

/// The capacity of a state in rows, from which the bounds of its rooms follow.
#[derive(Debug, Clone, Copy)]
pub(super) struct Capacity(pub(super) usize);

impl Capacity {
    /// The least power of two that leaves assertions a room for 100,000, which is what a client may
    /// have in a shared store by default.
    pub(super) const DEFAULT: Self = Self(1 << 19);
    /// The fewest rows of a room that never refuses one: those that one commit may write.
    const FEWEST: usize = 16;

    /// The most rows in this room.
    pub(super) fn of(self, room: Room) -> usize {
        match room {
            Room::Accounts => self.share(24),
            Room::Sessions | Room::Assertions => self.share(16),
            Room::Addresses => self.share(4).max(Self::FEWEST),
            Room::ClientFailures => self.share(2).max(Self::FEWEST),
            Room::RevokedTokens => self.share(1),
            // The number of its keys bounds it.
            Room::Overflow => usize::MAX,
            Room::LogOuts => usize::MAX,
        }
    }

    /// The number of overflow rows.
    pub(super) fn overflow_rows(self) -> u16 {
        u16::try_from(self.share(1)).unwrap_or(u16::MAX).max(1)
    }

    /// So many sixty-fourths of the capacity.
    fn share(self, parts: usize) -> usize {
        self.0 / 64 * parts + self.0 % 64 * parts / 64
    }
}

/// A value for each room.
#[derive(Default)]
pub(super) struct PerRoom<T> {
    accounts: T,
    overflow: T,
    addresses: T,
    client_failures: T,
    sessions: T,
    assertions: T,
    revoked_tokens: T,
    log_outs: T,
}

impl<T> PerRoom<T> {
    pub(super) fn get(&self, room: Room) -> &T {
        match room {
            Room::Accounts => &self.accounts,
            Room::Overflow => &self.overflow,
            Room::Addresses => &self.addresses,
            Room::ClientFailures => &self.client_failures,
            Room::Sessions => &self.sessions,
            Room::Assertions => &self.assertions,
            Room::RevokedTokens => &self.revoked_tokens,
            Room::LogOuts => &self.log_outs,
        }
    }

    pub(super) fn get_mut(&mut self, room: Room) -> &mut T {
        match room {
            Room::Accounts => &mut self.accounts,
            Room::Overflow => &mut self.overflow,
            Room::Addresses => &mut self.addresses,
            Room::ClientFailures => &mut self.client_failures,
            Room::Sessions => &mut self.sessions,
            Room::Assertions => &mut self.assertions,
            Room::RevokedTokens => &mut self.revoked_tokens,
            Room::LogOuts => &mut self.log_outs,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rooms_take_the_capacity_and_no_more() {
        for capacity in [0, 1, 63, 64, 1_000, 10_000, 1 << 19, usize::MAX] {
            let all = Capacity(capacity);
            let bounded = [Room::Accounts, Room::Sessions, Room::Assertions, Room::RevokedTokens];
            let taken = bounded.map(|room| all.of(room)).into_iter().sum::<usize>();
            assert!(taken <= capacity / 64 * 57 + 57, "{capacity}: {taken}");
            assert!(all.of(Room::Addresses) >= 16 && all.of(Room::ClientFailures) >= 16);
            assert!(all.overflow_rows() >= 1);
        }
        let shares = Room::ALL.map(|room| Capacity::DEFAULT.of(room));
        let unbounded = usize::MAX;
        assert_eq!(
            shares,
            [196_608, unbounded, 32_768, 16_384, 131_072, 131_072, 8_192, unbounded]
        );
        assert_eq!(Capacity::DEFAULT.overflow_rows(), 8_192);
    }
}
