//! The subject epoch: a number per subject, raised by each log-out everywhere. The log-outs of all
//! subjects are numbered in one row, and each subject's last number stands in a row of its own.
//! Every session that began before a log-out has a smaller number, and so has every access token
//! without a session, so one commit ends all of them, however many there are.
//!
//! Numbers and not times order a log-out and a login that race. A login notes the number of the
//! last log-out before it looks at the password. What it yields carries that number, and is refused
//! if its subject was logged out with a greater number since.

use std::sync::Arc;
use std::time::Duration;

use crate::error::BoxError;
use crate::state::StateKey;
use crate::state::codec::{Reader, Stored, write_number};
use crate::state::key::{Keys, Purpose};
use crate::state::transaction::{RowKey, Transaction};
use crate::types::token::LIFETIMES;

/// A log-out: the last one of a subject, or the last one of all subjects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SubjectEpoch {
    /// The number, greater than that of every log-out before it.
    pub(crate) number: u64,
    /// When the log-out was, in milliseconds since 1970, by the clock that dates tokens. Never
    /// earlier than the subject's log-out before it. Only tokens that carry no number are compared
    /// with it.
    pub(crate) at: u64,
}

impl SubjectEpoch {
    /// TTL of the row that numbers the log-outs: 100 years, which in practice is no expiry.
    const FOR_EVER: Duration = Duration::from_secs(36_500 * 86_400);

    /// TTL of a subject's row: that of the longest session, access token and known origin that any
    /// configuration allows, since the engines that share a store may be configured differently,
    /// and a day for logins that were under way at the log-out. Not the sum of session and access
    /// token: a session that the log-out ended yields no access token afterwards.
    pub(crate) const TTL: Duration = Duration::from_secs(401 * 86_400);

    /// Whether this last log-out of a subject came after the login that yielded an access token
    /// without a session. `login_epoch` is the number that the token carries; one that carries none
    /// is compared by its date, in seconds since 1970.
    ///
    /// Tokens are dated in whole seconds. If a token and a log-out are of the same second, the
    /// log-out counts as the later one.
    pub(crate) fn is_after(self, login_epoch: Option<u64>, issued_at: u64) -> bool {
        match login_epoch {
            Some(login_epoch) => self.number > login_epoch,
            None => self.number > 0 && issued_at <= self.at / 1000,
        }
    }
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
}

const _: () = assert!(
    SubjectEpoch::TTL.as_secs() > LIFETIMES.end().as_secs(),
    "a log-out is remembered for longer than an access token that it ends may last"
);

/// Logs a subject out. `now` is in milliseconds since 1970, by the clock that dates tokens.
pub(crate) fn log_out(
    tx: &mut Transaction<'_>,
    keys: SubjectEpochKeys,
    now: u64,
) -> Result<(), BoxError> {
    let last: SubjectEpoch = tx.get(keys.all)?.unwrap_or_default();
    let own: SubjectEpoch = tx.get(keys.own)?.unwrap_or_default();
    // The number needs both: the time alone is not enough, since clocks step back, and a count
    // alone would start again if its row were lost.
    let number = last.number.max(own.number).saturating_add(1).max(now);
    tx.put(keys.all, &SubjectEpoch { number, at: now.max(last.at) }, SubjectEpoch::FOR_EVER)?;
    tx.put(keys.own, &SubjectEpoch { number, at: now.max(own.at) }, SubjectEpoch::TTL)
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
    fn a_log_out_is_remembered_for_as_long_as_what_it_ends_and_at_its_latest_time() {
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
        // A session and a known origin may last for 400 days, and may be of a login that was under
        // way.
        memory.clock.advance(Duration::from_secs(401 * 86_400) - Duration::from_millis(1));
        assert!(memory.of("alice").number > 0);
        memory.clock.advance(Duration::from_millis(1));
        assert_eq!(memory.of("alice"), SubjectEpoch::default());
        assert_eq!(memory.of("bob"), SubjectEpoch::default());
        assert_eq!(memory.of("carol"), SubjectEpoch::default());
        assert!(memory.log_out("bob").number > first.number, "numbers go on");
    }
}
