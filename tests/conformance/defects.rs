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
    /// A commit looks up the versions to tell once it is over, when others may have written again.
    LooksVersionsUpLater,
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
    /// The column for the value has the type `CHAR`.
    TrimsValues,
    /// A database with a limit on the operations of a transaction.
    TakesTenRowsAtMost,
    /// The column for the key has a collation that ignores case.
    IgnoresTheCaseOfKeys,
    /// The column for the key has the type `CHAR`.
    TrimsKeys,
    /// The column for the key has the type of text.
    TurnsKeysIntoText,
    /// A transaction for each of the places among which the keys are divided.
    CommitsShardByShard,
    /// Adds up the rows of all statements, where one that overwrites counts two, as in MySQL.
    CountsAnOverwrittenRowTwice,
    /// A conflict does not read the rows whose insert has failed.
    TellsAbsenceAsExpected,
    /// A conflict returns the rows that the instance has read before.
    TellsRowsAsItHasReadThem,
    /// Each instance keeps what it has written in a cache, which others do not clear.
    RemembersWhatItWrote,
    /// Each instance has a cache for rows that it reads again and again.
    RemembersWhatItReadOften,
    /// Rows of up to half a minute are kept in the memory of their instance.
    KeepsBriefRowsToItself,
    /// Each connection has a counter, which begins after what is there.
    CountsVersionsByInstance,
    /// A cast to 32 bits in the comparison.
    ComparesHalfOfAVersion,
    /// A delete sets a mark, which an update does not look at.
    WritesOverWhatWasDeleted,
    /// The TTL is a number of milliseconds in 32 bits.
    CountsLivesIn32Bits,
    /// Zero stands for no end, as in many caches.
    TakesNoLifeForForever,
    /// `SET … PX 0` is an error.
    RefusesTheShortestLives,
    /// A conflict reads its rows without a look at their ends.
    TellsExpiredRowsOfAConflict,
    /// The sweeper runs on a machine whose clock is five minutes ahead.
    SweepsByAnotherClock,
    /// `expires_at` is computed, and compared, by the caller.
    CountsLivesByTheCallersClock,
    /// A load returns the time of its caller.
    TellsTheCallersTime,
    /// What was interrupted is kept, and written in the end without a look at the versions.
    WritesLateWhatWasDropped,
    /// What was interrupted stays in a queue.
    WritesMuchLaterWhatWasDropped,
    /// The replica has a counter of its own, which lags behind.
    SetsVersionsBackOnFailover,
    /// The store decodes values, and passes over those of a later version.
    SkipsValuesThatItDoesNotKnow,
    /// An `UPDATE` that reports no row if the value is the same, as in MySQL.
    TakesAnEqualValueForNoWrite,
    /// Looks at the number of rows of the last statement only.
    JudgesByTheLastStatement,
    /// A `DELETE` without the version.
    DeletesWhateverIsThere,
    /// The column for the value has the type `VARCHAR(255)`, and is not strict.
    CutsValuesAt255,
    /// The value goes through a library that takes a zero for the end.
    CutsValuesAtZero,
    /// Loads go to a replica, but for the instance that has written last.
    ReadsFromAReplica,
    /// A driver that makes an error of the sixth serialization failure in a row.
    GivesUpAfterConflicts,
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
    (LooksVersionsUpLater, Check::LostUpdates, "the version that the commit before it had told"),
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
    (RemembersWhatItRead, Check::LogOuts, "after a log-out a session"),
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
    (TrimsValues, Check::RoundTrip, "Some(0) bytes instead of Some(3)"),
    (CutsValuesAt255, Check::RoundTrip, "Some(255) bytes instead of Some(256)"),
    (CutsValuesAtZero, Check::RoundTrip, "Some(0) bytes instead of Some(1)"),
    (TakesTenRowsAtMost, Check::RoundTrip, "too many operations"),
    (TakesTenRowsAtMost, Check::Sweeping, "too many operations"),
    (IgnoresTheCaseOfKeys, Check::DistinctKeys, "a key with 0x61 in it was taken for another"),
    (TrimsKeys, Check::DistinctKeys, "a key with 0x20 in it was taken for another"),
    (TurnsKeysIntoText, Check::DistinctKeys, "in it was taken for another"),
    (CommitsShardByShard, Check::AllOrNothing, "of 5 left something written"),
    (
        CountsAnOverwrittenRowTwice,
        Check::AllOrNothing,
        "a wrong version between rows that had expired was no conflict",
    ),
    (JudgesByTheLastStatement, Check::AllOrNothing, "what was not as expected at 0"),
    (DeletesWhateverIsThere, Check::AllOrNothing, "what was not as expected at 4"),
    (
        TellsAbsenceAsExpected,
        Check::Answers,
        "a conflict told other rows than those that another instance has written",
    ),
    (
        TellsRowsAsItHasReadThem,
        Check::Answers,
        "a conflict told other rows than those that another instance has written",
    ),
    (
        InsertsOverWhatIsThere,
        Check::Answers,
        "what another instance has changed was overwritten unseen",
    ),
    (RemembersWhatItWrote, Check::ReadsAtOnce, "another did not read at once"),
    (RemembersWhatItWrote, Check::SharedLimits, "over its limit by failures on two instances"),
    (RemembersWhatItReadOften, Check::ReadsAtOnce, "another did not read at once"),
    (
        RemembersWhatItReadOften,
        Check::Revocations,
        "an access token is good on another instance after AccessToken was revoked",
    ),
    (KeepsBriefRowsToItself, Check::ReadsAtOnce, "another did not read at once"),
    (ReadsFromAReplica, Check::ReadsAtOnce, "another did not read at once"),
    (
        CountsVersionsByInstance,
        Check::Versions,
        "a version was used again by a write of the same value",
    ),
    (ComparesHalfOfAVersion, Check::Versions, "a version with another bit 32 was taken for it"),
    (
        WritesOverWhatWasDeleted,
        Check::Versions,
        "a row that another instance had deleted was written over its last version",
    ),
    (TakesAnEqualValueForNoWrite, Check::Versions, "a commit that nobody disturbed was a conflict"),
    (CountsLivesIn32Bits, Check::Lives, "at which a number overflows, is gone after two seconds"),
    (
        TakesNoLifeForForever,
        Check::Lives,
        "a row of less than a millisecond is there two seconds later",
    ),
    (RefusesTheShortestLives, Check::Lives, "a TTL of 0ns was refused"),
    (TellsExpiredRowsOfAConflict, Check::Lives, "a conflict told a row that had expired"),
    (SweepsByAnotherClock, Check::Sweeping, "a sweeper deleted a row a minute before its end"),
    (
        CountsLivesByTheCallersClock,
        Check::Clocks,
        "a row of a minute was gone for another instance before its time",
    ),
    (TellsTheCallersTime, Check::Clocks, "one store told its instances times that are"),
    (WritesLateWhatWasDropped, Check::LateCommits, "wrote later over what came after it"),
    (WritesMuchLaterWhatWasDropped, Check::LateCommits, "took effect more than 3s later"),
    (
        SetsVersionsBackOnFailover,
        Check::Failover,
        "a version of before a failover was used again after it",
    ),
    (ComparesBeforeItWrites, Check::SessionLimit, "5 sessions of 16 logins may be left, and"),
    (
        SkipsValuesThatItDoesNotKnow,
        Check::MalformedRows,
        "a row that cannot be read was overwritten or deleted",
    ),
    (
        GivesUpAfterConflicts,
        Check::ConflictStorms,
        "in a storm of conflicts, an assertion was answered with 503",
    ),
];

/// Defects that no checks find but those that are named for them above.
const FOUND_BY_NO_OTHER: &[Defect] = &[
    TakesTenRowsAtMost,
    IgnoresTheCaseOfKeys,
    TrimsKeys,
    TurnsKeysIntoText,
    TellsAbsenceAsExpected,
    TellsRowsAsItHasReadThem,
    KeepsBriefRowsToItself,
    ComparesHalfOfAVersion,
    WritesOverWhatWasDeleted,
    CountsLivesIn32Bits,
    TakesNoLifeForForever,
    RefusesTheShortestLives,
    TellsExpiredRowsOfAConflict,
    SweepsByAnotherClock,
    WritesLateWhatWasDropped,
    WritesMuchLaterWhatWasDropped,
    SetsVersionsBackOnFailover,
    SkipsValuesThatItDoesNotKnow,
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

#[test]
fn some_defects_are_found_by_no_other_check() {
    let found = |defect: Defect, one: Check| check(&Shelf::with(defect), one).is_err();
    let wrong = |defect: Defect| {
        let named = |one| FOUND.iter().any(|(own, finds, _)| (*own, *finds) == (defect, one));
        // This one takes five seconds of waiting, and finds none of them.
        let all = Check::ALL.iter().filter(|one| **one != Check::AttemptLimiterUnderFaults);
        let differs = |one: &&Check| found(defect, **one) != named(**one);
        all.filter(differs).map(|one| format!("{defect:?} by {one:?}")).collect::<Vec<_>>()
    };
    let wrong: Vec<_> = std::thread::scope(|scope| {
        let threads = FOUND_BY_NO_OTHER
            .chunks(3)
            .map(|some| scope.spawn(move || some.iter().copied().flat_map(wrong).collect()));
        let threads: Vec<_> = threads.collect();
        threads.into_iter().flat_map(|thread| -> Vec<String> { thread.join().unwrap() }).collect()
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
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
