//! The ways in which a store can be wrong, and which check of the suite finds each of them.

use password_grant::conformance::{Check, check, check_all};

use crate::shelf::Shelf;

/// What is wrong with a [`Shelf`]. Comments say how such a defect comes about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    Nothing,
    /// The column for the value has the type of text.
    TurnsValuesIntoText,
    /// Returns the rows of `SELECT … WHERE key IN (…)` as they come.
    LeavesOutWhatIsAbsent,
    /// Writes each row in a transaction of its own.
    WritesUpToTheConflict,
    /// A `SELECT`, and then an `UPDATE` that does not compare the version.
    ComparesBeforeItWrites,
    /// `INSERT … ON CONFLICT DO UPDATE` without a condition.
    InsertsOverWhatIsThere,
    AlwaysInConflict,
    /// `version = version + 1`.
    CountsVersionsByRow,
    /// The version is a hash of the value, like an entity tag.
    TakesTheValueForItsVersion,
    NeverEnds,
    /// An `UPDATE` that leaves `expires_at` alone.
    KeepsTheFirstEnd,
    RoundsLivesDown,
    /// Finds the expired rows first, and then deletes them by key, even if they were written again
    /// meanwhile.
    SweepsWhatWasWrittenAnew,
    /// The column for the time has 32 bits, and overflows.
    EndsIn2038,
    /// Each instance has a cache, and only its own commits clear entries of it.
    RemembersWhatItRead,
    /// A read prolongs the TTL, as in some caches.
    LivesLongerWhenRead,
    /// Loads leave out expired rows, but an insert still conflicts with them.
    ComparesWithWhatHasExpired,
    TakesKeysInAnyOrder,
    TakesAKeyTwice,
    /// A commit returns the versions that it expected, not those that it wrote.
    TellsFormerVersions,
    /// A commit returns versions of the puts only, so the list is too short.
    TellsNothingOfDeletes,
    /// A conflict returns rows as they would be if the commit had been made.
    TellsRowsThatAreNotThere,
    /// A conflict returns only the rows that were not as expected.
    TellsOnlyWhatWasNotAsExpected,
    LoadsRowsOneByOne,
    WritesRowsOneByOne,
    /// Fails as `SQLITE_BUSY` does while another commit runs, by a flag that a dropped call leaves
    /// set.
    IsBusyUntilDone,
    /// A dropped call leaves its lock held.
    KeepsItsLockWhenDropped,
    /// Answers that it has written, but has not: the loads go to a replica that is never updated.
    LosesUpdates,
    LosesRowsOnRestart,
    BeginsVersionsAnewOnRestart,
    ForgetsEndsOnRestart,
}

use Defect::*;

/// Which check finds which defect, and words of the violation that it reports.
const FOUND: &[(Defect, Check, &str)] = &[
    (TurnsValuesIntoText, Check::RoundTrip, "bytes instead of"),
    (LeavesOutWhatIsAbsent, Check::RoundTrip, "a load did not return a row, or none, for each key"),
    (AlwaysInConflict, Check::RoundTrip, "new rows were a conflict"),
    (AlwaysInConflict, Check::LostUpdates, "in conflict 1000 times"),
    (WritesUpToTheConflict, Check::AllOrNothing, "of 5 left something written"),
    (InsertsOverWhatIsThere, Check::AllOrNothing, "what was not as expected at 3 was no conflict"),
    (TellsFormerVersions, Check::Answers, "a commit told other versions than a load shows"),
    (TellsNothingOfDeletes, Check::Answers, "versions were told wrongly of a write and a delete"),
    (
        TellsRowsThatAreNotThere,
        Check::Answers,
        "a conflict told other rows than those that are there",
    ),
    (
        TellsOnlyWhatWasNotAsExpected,
        Check::Answers,
        "a conflict told other rows than those that are there",
    ),
    (InsertsOverWhatIsThere, Check::OneWinner, "8 of 8 won a row that is new"),
    (CountsVersionsByRow, Check::Versions, "a version was used again after a delete"),
    (
        TakesTheValueForItsVersion,
        Check::Versions,
        "a version was used again by a write of the same value",
    ),
    (NeverEnds, Check::Lives, "a row of 0.9 seconds is there two seconds later"),
    (KeepsTheFirstEnd, Check::Lives, "a row whose life was made"),
    (RoundsLivesDown, Check::Lives, "a row was gone before its time"),
    (SweepsWhatWasWrittenAnew, Check::Sweeping, "of 16 rows that were written anew"),
    (EndsIn2038, Check::Lives, "a row of a hundred years is gone after two seconds"),
    (
        RemembersWhatItRead,
        Check::ReadsAtOnce,
        "what one instance has committed, another did not read at once",
    ),
    (
        RemembersWhatItRead,
        Check::LogOuts,
        "after a log-out a session of before was answered with 200",
    ),
    (LivesLongerWhenRead, Check::Lives, "a row that was read meanwhile is there two seconds later"),
    (
        ComparesWithWhatHasExpired,
        Check::Lives,
        "the version of a row that had expired was taken for present",
    ),
    (ComparesWithWhatHasExpired, Check::OneWinner, "0 of 8 won a row that has expired"),
    (TakesKeysInAnyOrder, Check::OrderedKeys, "keys in descending order: no error"),
    (TakesAKeyTwice, Check::OrderedKeys, "a key twice: no error"),
    (ComparesBeforeItWrites, Check::OneWinner, "won a row that is new"),
    (ComparesBeforeItWrites, Check::LostUpdates, "additions"),
    (ComparesBeforeItWrites, Check::AttemptLimiter, "10 guesses may be verified, and"),
    (ComparesBeforeItWrites, Check::AssertionsUsedOnce, "an assertion was accepted"),
    (LoadsRowsOneByOne, Check::Snapshots, "rows that always add up to 300 were read as"),
    (IsBusyUntilDone, Check::Snapshots, "a commit failed: busy"),
    (IsBusyUntilDone, Check::DroppedCalls, "a commit failed: busy"),
    (WritesRowsOneByOne, Check::DroppedCalls, "a commit dropped after 1 polls wrote 1 of 3"),
    (KeepsItsLockWhenDropped, Check::DroppedCalls, "no answer came within 10s"),
    (LosesUpdates, Check::LostUpdates, "of 200 additions 1 were counted"),
    (LosesUpdates, Check::AttemptLimiter, "10 guesses may be verified, and"),
    (ComparesBeforeItWrites, Check::RefreshRotation, "one use of a refresh token is good"),
    (LosesUpdates, Check::RefreshRotation, "one use of a refresh token is good"),
    (LosesUpdates, Check::AttemptLimiterUnderFaults, "guesses were verified"),
    (
        LosesRowsOnRestart,
        Check::Restart,
        "a row that was committed is not the same after a restart",
    ),
    (
        LosesRowsOnRestart,
        Check::AttemptLimiter,
        "after a restart a name that has to wait was answered with 200",
    ),
    (BeginsVersionsAnewOnRestart, Check::Restart, "a version was used again after a restart"),
    (ForgetsEndsOnRestart, Check::Restart, "a restart made a row live longer"),
];

#[test]
fn every_check_finds_what_it_is_there_for() {
    let mut missed = Vec::new();
    for (defect, looked_for, words) in FOUND {
        match check(&Shelf::with(*defect), *looked_for) {
            Err(violation) if violation.check == *looked_for && violation.what.contains(words) => {}
            other => {
                missed.push(format!("{defect:?} by {looked_for:?}: {other:?} instead of {words:?}"))
            }
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
    for one in Check::ALL {
        assert!(
            FOUND.iter().any(|(_, finds, _)| finds == one),
            "nothing shows that {one:?} finds anything"
        );
    }
}

/// Without this the table above would prove nothing.
#[test]
fn the_same_store_without_a_defect_keeps_what_a_store_promises() {
    check_all(&Shelf::with(Nothing));
}

#[test]
#[should_panic(expected = "OrderedKeys: a key twice: no error")]
fn a_check_of_everything_names_what_was_found() {
    check_all(&Shelf::with(TakesAKeyTwice));
}
