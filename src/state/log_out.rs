//! Logging a subject out everywhere: log-outs of all subjects are numbered in one row, and each subject's last one
//! stands in a row of its own. What a subject was given before it has a smaller number, so one commit ends all of it,
//! however many families there are.
//!
//! Numbers, not times, order a log-out and a login that race: a login notes the number of the last log-out before it
//! looks at the password, and what it creates is refused if its subject was logged out with a greater one since.

use std::time::Duration;

use crate::state::codec::{Reader, UnreadableRow, write_number};
use crate::state::driver::{Changes, Snapshot};
use crate::vocabulary::error::BoxError;

/// A log-out: a subject's last one, or the last of all subjects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LogOut {
    /// Greater than that of every log-out before it.
    pub(crate) number: u64,
    /// When it was, in milliseconds since 1970, by the clock that tokens are dated by. In the row for all subjects, no earlier
    /// than in any subject's row.
    pub(crate) at: u64,
}

impl LogOut {
    /// Longer than any family lives ([`RefreshTokens::absolute_life`](crate::RefreshTokens::absolute_life)) together with
    /// its access tokens.
    pub(crate) const LIFE: Duration = Duration::from_secs(800 * 86_400);
    /// Of the row that counts: for ever, as far as stores can count.
    const FOR_EVER: Duration = Duration::from_secs(36_500 * 86_400);
    const FORM: u8 = 1;

    /// What stands in a subject's row, or in the one that counts; where there is none, nobody was logged out.
    pub(crate) fn read(rows: &Snapshot<'_>, index: usize) -> Result<Self, UnreadableRow> {
        Self::stored(rows.row(index).map(|seen| seen.value))
    }

    pub(crate) fn stored(row: Option<&[u8]>) -> Result<Self, UnreadableRow> {
        let Some(bytes) = row else { return Ok(Self::default()) };
        let mut reader = Reader::new(bytes);
        let mut read = || {
            (reader.byte()? == Self::FORM).then_some(())?;
            let log_out = Self { number: reader.number()?, at: reader.number()? };
            reader.end()?;
            Some(log_out)
        };
        read().ok_or(UnreadableRow("a log-out"))
    }

    fn to_bytes(self) -> Vec<u8> {
        let mut bytes = vec![Self::FORM];
        write_number(&mut bytes, self.number);
        write_number(&mut bytes, self.at);
        bytes
    }
}

/// Logs a subject out, at this time by the clock that tokens are dated by. The row that counts is the first of the
/// snapshot, that of the subject the second.
pub(crate) fn log_out(rows: &Snapshot<'_>, changes: &mut Changes, now: u64) -> Result<(), BoxError> {
    let last = LogOut::read(rows, 0)?;
    let own = LogOut::read(rows, 1)?;
    // The time alone would not do, since clocks step back; a count alone would begin anew if its row were lost.
    let number = last.number.max(own.number).saturating_add(1).max(now);
    put(changes, LogOut { number, at: now.max(last.at) }, LogOut { number, at: now.max(own.at) });
    Ok(())
}

/// Dates a log-out no earlier than this, in both rows.
pub(crate) fn date(rows: &Snapshot<'_>, changes: &mut Changes, now: u64) -> Result<(), BoxError> {
    let (last, own) = (LogOut::read(rows, 0)?, LogOut::read(rows, 1)?);
    if own.number > 0 && own.at < now {
        put(changes, LogOut { at: now.max(last.at), ..last }, LogOut { at: now, ..own });
    }
    Ok(())
}

/// Writes both rows. The caller has made `last.at` no earlier than `own.at`.
fn put(changes: &mut Changes, last: LogOut, own: LogOut) {
    changes.put(0, last.to_bytes(), LogOut::FOR_EVER);
    changes.put(1, own.to_bytes(), LogOut::LIFE);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::key::{Purpose, StateKey};
    use crate::state::scratch::Memory;
    use crate::{Clock, Timestamp};

    impl Memory {
        fn keys(&self, subject: &str) -> [StateKey; 2] {
            [self.keys.key(Purpose::LogOuts, &[]), self.keys.key(Purpose::Subject, &[subject.as_bytes()])]
        }

        fn log_out(&self, subject: &str) -> LogOut {
            let now = self.clock.now().unix_millis();
            self.state.change(&self.keys(subject), |rows, changes| log_out(rows, changes, now)).unwrap();
            self.of(subject)
        }

        fn last(&self) -> LogOut {
            self.state.change(&self.keys("anybody"), |rows, _| Ok(LogOut::read(rows, 0)?)).unwrap()
        }

        fn of(&self, subject: &str) -> LogOut {
            self.state.change(&self.keys(subject), |rows, _| Ok(LogOut::read(rows, 1)?)).unwrap()
        }
    }

    /// Whatever the clock does, and whichever of the rows is lost: what is later has a greater number.
    #[test]
    fn numbers_only_grow() {
        let memory = Memory::new();
        let mut last = 0;
        let mut grows = |log_out: LogOut| {
            assert!(log_out.number > last, "{log_out:?} after {last}");
            last = log_out.number;
        };
        grows(memory.log_out("alice"));
        grows(memory.log_out("bob"));
        grows(memory.log_out("alice"));
        memory.clock.set(Timestamp::from_unix_seconds(1_700_000_000));
        grows(memory.log_out("alice"));
        grows(memory.log_out("bob"));
        // The row that counts is lost: the subject's own still knows, and so does the time.
        let lose = |key: StateKey| {
            memory.state.change(&[key], |_, changes| {
                changes.delete(0);
                Ok(())
            })
        };
        lose(memory.keys("alice")[0]).unwrap();
        grows(memory.log_out("bob"));
        memory.clock.set(Timestamp::from_unix_seconds(1_900_000_000));
        for key in memory.keys("alice") {
            lose(key).unwrap();
        }
        grows(memory.log_out("alice"));
    }

    #[test]
    fn a_log_out_is_remembered_for_longer_than_any_family_lives_and_at_its_latest_time() {
        let memory = Memory::new();
        let first = memory.log_out("alice");
        assert_eq!(first.at, 1_800_000_000_000);
        memory.clock.set(Timestamp::from_unix_seconds(1_700_000_000));
        assert_eq!(memory.log_out("alice").at, first.at, "a clock that was set back makes no token good again");
        assert_eq!(memory.log_out("bob").at, 1_700_000_000_000);
        let date = |now| memory.state.change(&memory.keys("bob"), |rows, changes| date(rows, changes, now));
        date(first.at + 1).unwrap();
        assert_eq!((memory.of("bob").at, memory.last().at), (first.at + 1, first.at + 1));
        date(first.at).unwrap();
        assert_eq!((memory.of("bob").at, memory.last().at), (first.at + 1, first.at + 1), "never back");
        assert_eq!(memory.log_out("alice").at, first.at);
        assert_eq!(memory.last().at, first.at + 1, "the row that counts is as late as the latest");
        memory.clock.advance(Duration::from_secs(400 * 86_400 + 366 * 86_400));
        assert!(memory.of("alice").number > 0);
        memory.clock.advance(Duration::from_secs(40 * 86_400));
        assert_eq!(memory.of("alice"), LogOut::default());
        assert_eq!(memory.of("bob"), LogOut::default());
        assert_eq!(memory.of("carol"), LogOut::default());
    }
}
