//! The subject epoch: a number per subject, raised by each log-out everywhere. The log-outs of all
//! subjects are numbered in one row, and each subject's last number stands in a row of its own.
//! Every session that began before a log-out has a smaller number, so one commit ends all of them,
//! however many there are.
//!
//! Numbers and not times order a log-out and a login that race. A login notes the number of the
//! last log-out before it looks at the password; the session that it creates is refused if its
//! subject was logged out with a greater number since.

use std::sync::Arc;
use std::time::Duration;

use crate::error::BoxError;
use crate::state::StateKey;
use crate::state::codec::{Reader, Stored, write_number};
use crate::state::key::{Keys, Purpose};
use crate::state::transaction::{RowKey, Transaction};

/// A log-out: the last one of a subject, or the last one of all subjects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SubjectEpoch {
    /// The number, greater than that of every log-out before it.
    pub(crate) number: u64,
    /// When the log-out was, in milliseconds since 1970, by the clock that dates tokens. In the row
    /// for all subjects it is not earlier than in any subject's row.
    pub(crate) at: u64,
}

impl SubjectEpoch {
    /// TTL of a subject's row. It is longer than any session
    /// ([`RefreshTokens::absolute_lifetime`](crate::RefreshTokens::absolute_lifetime)) and its
    /// access tokens together last.
    pub(crate) const TTL: Duration = Duration::from_secs(800 * 86_400);
    /// TTL of the row that numbers the log-outs: 100 years, which in practice is no expiry.
    const FOR_EVER: Duration = Duration::from_secs(36_500 * 86_400);
}

impl Stored for SubjectEpoch {
    const NAME: &'static str = "a log-out";

    fn encode(&self, bytes: &mut Vec<u8>) {
        write_number(bytes, self.number);
        write_number(bytes, self.at);
    }

    fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self { number: reader.number()?, at: reader.number()? })
    }
}

/// A digest of a subject. It stands in place of the subject in rows and in session identifiers, and
/// yields the key of the row with the subject's last log-out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SubjectDigest([u8; Self::LENGTH]);

impl SubjectDigest {
    /// If two subjects had the same digest, a log-out of one would log out the other too, and
    /// nothing worse. The digest is keyed, so nobody can look for such a pair.
    pub(crate) const LENGTH: usize = 8;

    pub(crate) const fn from_bytes(bytes: [u8; Self::LENGTH]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; Self::LENGTH] {
        &self.0
    }
}

/// Makes the keys of the rows in which log-outs are written. Cheap to clone.
#[derive(Clone)]
pub(crate) struct LogOuts {
    issuer: Arc<str>,
    keys: Keys,
    last: RowKey<SubjectEpoch>,
}

impl LogOuts {
    pub(crate) fn new(issuer: Arc<str>, keys: Keys) -> Self {
        let last = keys.row(Purpose::LastEpoch, &[issuer.as_bytes(), b""]);
        Self { issuer, keys, last }
    }

    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Key of the row that numbers the log-outs of all subjects.
    pub(crate) fn last(&self) -> RowKey<SubjectEpoch> {
        self.last
    }

    pub(crate) fn digest(&self, subject: &str) -> SubjectDigest {
        let parts = [self.issuer.as_bytes(), subject.as_bytes()];
        SubjectDigest(self.keys.key(Purpose::Subject, &parts).short_digest())
    }

    /// Key of a subject's row.
    pub(crate) fn of(&self, subject: SubjectDigest) -> RowKey<SubjectEpoch> {
        self.keys.row(Purpose::SubjectEpoch, &[self.issuer.as_bytes(), subject.as_bytes()])
    }
}

/// The keys of the two rows in which a log-out is written. If a row is absent, nobody was logged
/// out.
#[derive(Clone, Copy)]
pub(crate) struct SubjectEpochKeys {
    /// Key of the row that numbers the log-outs of all subjects.
    pub(crate) all: RowKey<SubjectEpoch>,
    /// Key of the subject's row.
    pub(crate) own: RowKey<SubjectEpoch>,
}

impl SubjectEpochKeys {
    pub(crate) fn both(self) -> [StateKey; 2] {
        [self.all.into(), self.own.into()]
    }

    fn read(self, tx: &Transaction<'_>) -> Result<(SubjectEpoch, SubjectEpoch), BoxError> {
        Ok((tx.get(self.all)?.unwrap_or_default(), tx.get(self.own)?.unwrap_or_default()))
    }

    /// Writes both rows. The caller ensures that `last.at` is not earlier than `own.at`.
    fn write(
        self,
        tx: &mut Transaction<'_>,
        last: SubjectEpoch,
        own: SubjectEpoch,
    ) -> Result<(), BoxError> {
        tx.put(self.all, &last, SubjectEpoch::FOR_EVER)?;
        tx.put(self.own, &own, SubjectEpoch::TTL)
    }
}

/// Logs a subject out. `now` is in milliseconds since 1970, by the clock that dates tokens.
pub(crate) fn log_out(
    tx: &mut Transaction<'_>,
    keys: SubjectEpochKeys,
    now: u64,
) -> Result<(), BoxError> {
    let (last, own) = keys.read(tx)?;
    // The number needs both: the time alone is not enough, since clocks step back, and a count
    // alone would start again if its row were lost.
    let number = last.number.max(own.number).saturating_add(1).max(now);
    keys.write(
        tx,
        SubjectEpoch { number, at: now.max(last.at) },
        SubjectEpoch { number, at: now.max(own.at) },
    )
}

/// Moves the date of the subject's last log-out, if there is one, forward to `now`, in both rows.
pub(crate) fn redate(
    tx: &mut Transaction<'_>,
    keys: SubjectEpochKeys,
    now: u64,
) -> Result<(), BoxError> {
    let (last, own) = keys.read(tx)?;
    if own.number > 0 && own.at < now {
        keys.write(
            tx,
            SubjectEpoch { at: now.max(last.at), ..last },
            SubjectEpoch { at: now, ..own },
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Clock;
    use crate::state::key::Purpose;
    use crate::state::test_support::{TestState, hex};
    use crate::time::Timestamp;

    impl TestState {
        fn keys(&self, subject: &str) -> SubjectEpochKeys {
            let own = self.keys.row(Purpose::SubjectEpoch, &[subject.as_bytes()]);
            SubjectEpochKeys { all: self.keys.row(Purpose::LastEpoch, &[]), own }
        }

        fn log_out(&self, subject: &str) -> SubjectEpoch {
            let (keys, now) = (self.keys(subject), self.clock.now().unix_millis());
            self.state.run(&keys.both(), |tx| log_out(tx, keys, now)).unwrap();
            self.of(subject)
        }

        fn last(&self) -> SubjectEpoch {
            self.state.get(self.keys("anybody").all).unwrap().unwrap_or_default()
        }

        fn of(&self, subject: &str) -> SubjectEpoch {
            self.state.get(self.keys(subject).own).unwrap().unwrap_or_default()
        }
    }

    #[test]
    fn the_stored_bytes_stay_the_same_from_version_to_version() {
        assert_eq!(
            hex(&SubjectEpoch { number: 1_800_000_000_001, at: 1_800_000_000_000 }),
            "0181a0f1c2b13480a0f1c2b134"
        );
    }

    /// Numbers grow whatever the clock does and whichever row is lost.
    #[test]
    fn numbers_only_grow() {
        let memory = TestState::new();
        let mut last = 0;
        let mut grows = |log_out: SubjectEpoch| {
            assert!(log_out.number > last, "{log_out:?} after {last}");
            last = log_out.number;
        };
        grows(memory.log_out("alice"));
        grows(memory.log_out("bob"));
        grows(memory.log_out("alice"));
        memory.clock.set(Timestamp::from_unix_seconds(1_700_000_000));
        grows(memory.log_out("alice"));
        grows(memory.log_out("bob"));
        // If the row that numbers the log-outs is lost, the subject's own row and the time still
        // give a greater number.
        let lose = |key: RowKey<SubjectEpoch>| {
            memory.state.run(&[key.into()], |tx| tx.delete(key)).unwrap()
        };
        lose(memory.keys("alice").all);
        grows(memory.log_out("bob"));
        memory.clock.set(Timestamp::from_unix_seconds(1_900_000_000));
        let SubjectEpochKeys { all, own } = memory.keys("alice");
        lose(all);
        lose(own);
        grows(memory.log_out("alice"));
    }

    #[test]
    fn a_log_out_is_remembered_for_longer_than_any_family_lives_and_at_its_latest_time() {
        let memory = TestState::new();
        let first = memory.log_out("alice");
        assert_eq!(first.at, 1_800_000_000_000);
        memory.clock.set(Timestamp::from_unix_seconds(1_700_000_000));
        assert_eq!(
            memory.log_out("alice").at,
            first.at,
            "a clock that was set back makes no token good again"
        );
        assert_eq!(memory.log_out("bob").at, 1_700_000_000_000);
        let bob = memory.keys("bob");
        let date = |now| memory.state.run(&bob.both(), |tx| redate(tx, bob, now));
        date(first.at + 1).unwrap();
        assert_eq!((memory.of("bob").at, memory.last().at), (first.at + 1, first.at + 1));
        date(first.at).unwrap();
        assert_eq!(
            (memory.of("bob").at, memory.last().at),
            (first.at + 1, first.at + 1),
            "never back"
        );
        assert_eq!(memory.log_out("alice").at, first.at);
        assert_eq!(memory.last().at, first.at + 1, "the row that counts is as late as the latest");
        memory.clock.advance(Duration::from_secs(400 * 86_400 + 366 * 86_400));
        assert!(memory.of("alice").number > 0);
        memory.clock.advance(Duration::from_secs(40 * 86_400));
        assert_eq!(memory.of("alice"), SubjectEpoch::default());
        assert_eq!(memory.of("bob"), SubjectEpoch::default());
        assert_eq!(memory.of("carol"), SubjectEpoch::default());
    }
}
