//! Checks of a store that is used by a single caller.

use std::time::Duration;

use crate::conformance::Fixture;
use crate::conformance::harness::{
    Instance, LONG, Outcome, change, ensure, is_made, keys, keys_that_differ_at, put, spread_keys,
};
use crate::state::{Commit, Expected, Row, StateKey, Version, Write};

const SECOND: Duration = Duration::from_secs(1);

/// The longest value that every store accepts, in bytes.
const LONGEST_VALUE: usize = 16 * 1024;

pub(super) fn round_trip(fixture: &impl Fixture) -> Outcome {
    let store = Instance::new(fixture);
    let keys: [StateKey; 16] = keys()?;
    let every_byte: Vec<u8> = (0..=u8::MAX).collect();
    let values: [&[u8]; 8] = [
        b"",
        b"\0",
        &every_byte,
        &[0xff; 200],
        &[0; LONGEST_VALUE],
        b"'; --",
        b"   ",
        b"\xef\xbb\xbfa line\r\n\0\0 \t ",
    ];
    let written: Vec<_> = keys.iter().step_by(2).copied().zip(values).collect();
    let new = written.iter().map(|(key, value)| change(*key, Expected::Absent, put(*value, LONG)));
    ensure(
        store.load(&keys)?.rows.iter().all(Option::is_none),
        "there is a row that was never written",
    )?;
    ensure(is_made(&store.commit(&new.collect::<Vec<_>>())?), "new rows were a conflict")?;
    for instance in [store, Instance::new(fixture)] {
        let rows = instance.load(&keys)?.rows;
        for (key, row) in keys.iter().zip(rows) {
            let expected = written.iter().find(|(own, _)| own == key).map(|(_, value)| *value);
            let seen = row.as_ref().map(|row| row.value.as_slice());
            let length = |value: Option<&[u8]>| value.map(<[u8]>::len);
            ensure(
                seen == expected,
                format!(
                    "under {key:?}: {:?} bytes instead of {:?}",
                    length(seen),
                    length(expected)
                ),
            )?;
        }
        ensure(instance.load(&[])?.rows.is_empty(), "no key, and a row")?;
    }
    largest_commit(fixture)
}

/// As many rows as a call may have, each as long as a row may be.
fn largest_commit(fixture: &impl Fixture) -> Outcome {
    let store = Instance::new(fixture);
    let keys: [StateKey; 16] = spread_keys()?;
    let value = |key: &StateKey| key.as_bytes().repeat(LONGEST_VALUE / StateKey::LENGTH);
    let new: Vec<_> =
        keys.iter().map(|key| change(*key, Expected::Absent, put(value(key), LONG))).collect();
    ensure(is_made(&store.commit(&new)?), "sixteen new rows were a conflict")?;
    let rows = store.load(&keys)?.rows.into_iter();
    let read: Vec<_> = rows.map(|row| row.map(|row| row.value)).collect();
    ensure(
        read.into_iter().eq(keys.iter().map(|key| Some(value(key)))),
        "sixteen rows of sixteen KiB were not read as they were written in one commit",
    )
}

pub(super) fn distinct_keys(fixture: &impl Fixture) -> Outcome {
    /// Bytes that text, collations and padding take for others or for none.
    const BYTES: [u8; 16] = *b"\0\n %'0A\\_a\x7f\x80\xc4\xe4\xfe\xff";
    let store = Instance::new(fixture);
    for place in [0, 15, StateKey::LENGTH - 2] {
        let keys = keys_that_differ_at(place, BYTES)?;
        for (key, byte) in keys.iter().zip(BYTES) {
            let new = change(*key, Expected::Absent, put([byte], LONG));
            ensure(
                is_made(&store.commit(&[new])?),
                format!("a key with {byte:#04x} in it was taken for another"),
            )?;
        }
        let rows = store.load(&keys)?.rows;
        for (row, byte) in rows.into_iter().zip(BYTES) {
            ensure(
                row.is_some_and(|row| row.value == [byte]),
                format!("a key with {byte:#04x} in it does not yield the row written under it"),
            )?;
        }
        let [first, .., last] = keys;
        store.write(first, Write::Delete)?;
        store.write(last, Write::Delete)?;
        let left = store.load(&keys)?.rows.iter().filter(|row| row.is_some()).count();
        ensure(
            left == keys.len() - 2,
            format!("two rows of 16 were deleted, and {left} are left"),
        )?;
    }
    Ok(())
}

/// A version that no row of the suite has.
const OTHER: Expected = Expected::Version(Version::new(u64::MAX / 2));

pub(super) fn all_or_nothing(fixture: &impl Fixture) -> Outcome {
    let store = Instance::new(fixture);
    for position in 0..5 {
        all_or_nothing_of(&store, keys()?, position)?;
        // As the order of these keys is random, so is the place in which a store keeps each row.
        for _ in 0..3 {
            all_or_nothing_of(&store, spread_keys()?, position)?;
        }
    }
    all_or_nothing_over_expired_rows(fixture, &store)
}

fn all_or_nothing_of(
    store: &Instance<'_, impl Fixture>,
    keys: [StateKey; 5],
    position: usize,
) -> Outcome {
    let [.., third, fourth, fifth] = keys;
    for there in [third, fourth, fifth] {
        store.write(there, put("old", LONG))?;
    }
    let before = store.load(&keys)?.rows;
    // One expectation is wrong: new and old rows with another version, or an old row as absent.
    let wrong = [OTHER, OTHER, OTHER, Expected::Absent, OTHER];
    let right = keys.iter().zip(&before).map(|(key, row)| {
        let write = if *key == fifth { Write::Delete } else { put("new", LONG) };
        change(*key, Expected::of(row.as_ref()), write)
    });
    let right: Vec<_> = right.collect();
    let mut changes = right.clone();
    for (index, (change, wrong)) in changes.iter_mut().zip(wrong).enumerate() {
        change.expected = if index == position { wrong } else { change.expected };
    }
    ensure(
        !is_made(&store.commit(&changes)?),
        format!("what was not as expected at {position} was no conflict"),
    )?;
    ensure(
        store.load(&keys)?.rows == before,
        format!("a conflict at key {position} of 5 left something written"),
    )?;
    ensure(is_made(&store.commit(&right)?), "what was as expected was a conflict")?;
    let after: Vec<_> =
        store.load(&keys)?.rows.into_iter().map(|row| row.map(|row| row.value)).collect();
    let new = || Some(b"new".to_vec());
    ensure(after == [new(), new(), new(), new(), None], "a commit was made, and not all of it was")
}

/// A statement that overwrites an expired row may count it twice. That must not make up for
/// another row, which was not as expected.
fn all_or_nothing_over_expired_rows(
    fixture: &impl Fixture,
    store: &Instance<'_, impl Fixture>,
) -> Outcome {
    let keys: [StateKey; 3] = keys()?;
    let [_, there, _] = keys;
    for key in keys {
        store.write(key, put("old", if key == there { LONG } else { SECOND / 100 }))?;
    }
    fixture.pass(SECOND / 50);
    let before = store.load(&keys)?.rows;
    let changes = keys.iter().zip(&before).map(|(key, row)| {
        let expected = if *key == there { OTHER } else { Expected::of(row.as_ref()) };
        change(*key, expected, put("new", LONG))
    });
    ensure(
        !is_made(&store.commit(&changes.collect::<Vec<_>>())?),
        "a wrong version between rows that had expired was no conflict",
    )?;
    let after = store.load(&keys)?.rows;
    ensure(
        after.iter().flatten().all(|row| row.value == b"old"),
        "a conflict left something written over rows that had expired",
    )
}

pub(super) fn answers(fixture: &impl Fixture) -> Outcome {
    let store = Instance::new(fixture);
    let keys: [StateKey; 4] = keys()?;
    let [changed, deleted, kept, absent] = keys;
    let is_there = |key: &StateKey| *key != absent;
    let new =
        keys.into_iter().filter(is_there).map(|key| change(key, Expected::Absent, put("1", LONG)));
    let told = versions_of(store.commit(&new.collect::<Vec<_>>())?)?;
    let mut rows = store.load(&keys)?.rows;
    let _ = rows.pop();
    ensure(
        rows.iter().map(version_of).eq(told.iter().copied()),
        "a commit told other versions than a load shows",
    )?;
    let [Some(of_the_changed), Some(of_the_deleted), _] = *told else {
        return Err("a commit did not tell a version for each row that it has written".into());
    };
    // Without a load in between: the returned versions must be the expected ones.
    let over = [
        change(changed, Expected::Version(of_the_changed), put("2", LONG)),
        change(deleted, Expected::Version(of_the_deleted), Write::Delete),
    ];
    let told = versions_of(store.commit(&over)?)?;
    let rows = store.load(&[changed, deleted])?.rows;
    ensure(
        told.len() == 2 && rows.iter().map(version_of).eq(told),
        "versions were told wrongly of a write and a delete",
    )?;
    let stale = [
        change(changed, Expected::Version(of_the_changed), put("3", LONG)),
        change(deleted, Expected::Version(of_the_deleted), Write::Delete),
        change(kept, store.expected(kept)?, put("3", LONG)),
        change(absent, Expected::Absent, put("3", LONG)),
    ];
    let before = store.load(&keys)?;
    if let Commit::Conflict { fresh: Some(fresh) } = store.commit(&stale)? {
        ensure(fresh.rows == before.rows, "a conflict told other rows than those that are there")?;
        let after = store.now()?;
        ensure(
            before.now <= fresh.now && fresh.now <= after,
            "a conflict told another time than that of the store",
        )?;
    }
    ensure(store.load(&keys)?.rows == before.rows, "a conflict left something written")?;
    ensure(
        versions_of(store.commit(&[])?)?.is_empty(),
        "versions were told of a commit that changes nothing",
    )?;
    // Another instance changes the rows that this one has just read: one is deleted, one is new.
    let other = Instance::new(fixture);
    let stale: Vec<_> = keys
        .iter()
        .zip(&before.rows)
        .map(|(key, row)| change(*key, Expected::of(row.as_ref()), put("3", LONG)))
        .collect();
    other.write(changed, put("4", LONG))?;
    other.write(kept, Write::Delete)?;
    other.write(absent, put("4", LONG))?;
    let there = other.load(&keys)?.rows;
    for stale in [&stale[..], stale.split_at(3).1] {
        match store.commit(stale)? {
            Commit::Committed { .. } => {
                return Err("what another instance has changed was overwritten unseen".into());
            }
            Commit::Conflict { fresh: None } => {}
            Commit::Conflict { fresh: Some(fresh) } => ensure(
                there.ends_with(&fresh.rows) && fresh.rows.len() == stale.len(),
                "a conflict told other rows than those that another instance has written",
            )?,
        }
    }
    ensure(other.load(&keys)?.rows == there, "a conflict left something written")
}

fn versions_of(commit: Commit) -> Outcome<Vec<Option<Version>>> {
    match commit {
        Commit::Committed { versions } => Ok(versions),
        Commit::Conflict { .. } => Err("a commit that nobody disturbed was a conflict".into()),
    }
}

fn version_of(row: &Option<Row>) -> Option<Version> {
    row.as_ref().map(|row| row.version)
}

pub(super) fn reads_at_once(fixture: &impl Fixture) -> Outcome {
    /// How often an instance reads a row before it changes: so often that it would keep it.
    const READS: usize = 10;
    let instances: [_; 3] = Instance::several(fixture);
    let [key, other] = keys()?;
    let brief = Duration::from_secs(30);
    let writes = [
        put("1", LONG),
        put("2", LONG),
        Write::Delete,
        put("3", brief),
        put("4", LONG),
        Write::Delete,
        put("5", LONG),
    ];
    // The instances write in turn, so each has read the row, or written it, before another does.
    for (write, writer) in writes.into_iter().zip(instances.iter().cycle()) {
        for reader in &instances {
            for _ in 0..READS {
                let _ = (reader.row(key)?, reader.load(&[key, other])?);
            }
        }
        writer.write(key, write.clone())?;
        let written = match write {
            Write::Put { value, .. } => Some(value),
            Write::Delete => None,
        };
        for reader in &instances {
            let several = reader.load(&[key, other])?.rows.into_iter().next().flatten();
            for row in [several, reader.row(key)?] {
                ensure(
                    row.map(|row| row.value) == written,
                    "what one instance has committed, another did not read at once",
                )?;
            }
        }
    }
    Ok(())
}

pub(super) fn versions(fixture: &impl Fixture) -> Outcome {
    let instances: [_; 3] = Instance::several(fixture);
    let [store, another, _] = &instances;
    let [key, other] = keys()?;
    let mut versions = Vec::new();
    store.write(other, put("other", LONG))?;
    let others = store.version(other)?;
    let mut have = |version: Version, when: &str| {
        let is_new = !versions.contains(&version);
        versions.push(version);
        ensure(is_new, format!("a version was used again {when}"))
    };
    for round in 0..3 {
        for writer in instances.iter().cycle().take(6) {
            writer.write(key, put("the same value", LONG))?;
            have(store.version(key)?, "by a write of the same value")?;
        }
        ensure(store.version(key)? == store.version(key)?, "a load changed the version")?;
        store.write(key, Write::Delete)?;
        another.write(key, put("the same value", LONG))?;
        have(store.version(key)?, "after a delete")?;
        store.write(key, put("the same value", SECOND))?;
        have(store.version(key)?, "by a write of another life")?;
        if round == 1 {
            fixture.pass(2 * SECOND);
            store.write(key, put("the same value", LONG))?;
            have(store.version(key)?, "after the row had expired")?;
        }
    }
    store.write(key, put("the same value", LONG))?;
    let current = store.version(key)?;
    for old in versions.iter().filter(|version| **version != current) {
        let commit = store.commit(&[change(key, Expected::Version(*old), put("stale", LONG))])?;
        ensure(!is_made(&commit), "a version of long ago was taken for the present one")?;
    }
    // Numbers that are the same in 32 bits, or as floating-point numbers, are still different.
    for bit in [0, 1, 11, 23, 24, 31, 32, 33, 52, 53, 62, 63] {
        let near = Expected::Version(Version::new(current.number() ^ (1 << bit)));
        let commit = store.commit(&[change(key, near, put("stale", LONG))])?;
        ensure(!is_made(&commit), format!("a version with another bit {bit} was taken for it"))?;
    }
    another.write(key, Write::Delete)?;
    for (what, write) in [("written", put("stale", LONG)), ("deleted", Write::Delete)] {
        let commit = store.commit(&[change(key, Expected::Version(current), write)])?;
        ensure(
            !is_made(&commit) && store.row(key)?.is_none(),
            format!("a row that another instance had deleted was {what} over its last version"),
        )?;
    }
    ensure(store.version(other)? == others, "the version of a row changed that nobody wrote")
}

pub(super) fn ordered_keys(fixture: &impl Fixture) -> Outcome {
    let store = Instance::new(fixture);
    let [one, two] = keys()?;
    let new = |key| change(key, Expected::Absent, put("new", LONG));
    for (what, changes) in
        [("keys in descending order", [new(two), new(one)]), ("a key twice", [new(one), new(one)])]
    {
        ensure(store.try_commit(&changes)?.is_err(), format!("{what}: no error"))?;
        ensure(
            store.load(&[one, two])?.rows.iter().all(Option::is_none),
            format!("{what}: something was written"),
        )?;
    }
    Ok(())
}

pub(super) fn restart(fixture: &impl Fixture) -> Outcome {
    let store = Instance::new(fixture);
    let [kept, deleted, short] = keys()?;
    for key in [kept, deleted] {
        store.write(key, put("value", LONG))?;
    }
    store.write(short, put("value", SECOND))?;
    let (row, of_the_deleted) = (store.row(kept)?, store.expected(deleted)?);
    store.write(deleted, Write::Delete)?;
    drop(store);
    if !fixture.restart() {
        return Ok(());
    }
    let store = Instance::new(fixture);
    ensure(store.row(kept)? == row, "a row that was committed is not the same after a restart")?;
    ensure(store.row(deleted)?.is_none(), "a row that was deleted is there after a restart")?;
    fixture.pass(2 * SECOND);
    ensure(store.row(short)?.is_none(), "a restart made a row live longer")?;
    // More writes than before the restart: if versions started again, one of them would repeat.
    for _ in 0..10 {
        store.write(deleted, put("value", LONG))?;
        ensure(
            store.expected(deleted)? != of_the_deleted,
            "a version was used again after a restart",
        )?;
    }
    Ok(())
}

pub(super) fn failover(fixture: &impl Fixture) -> Outcome {
    /// Commits of which a replica may have none.
    const COMMITS: usize = 20;
    let store = Instance::new(fixture);
    let [key] = keys()?;
    let mut versions = Vec::new();
    for _ in 0..COMMITS {
        store.write(key, put("before", LONG))?;
        versions.push(store.version(key)?);
    }
    drop(store);
    if !fixture.fail_over() {
        return Ok(());
    }
    // The last commits may be lost, so the row may be older, or not there.
    let store = Instance::new(fixture);
    for _ in 0..2 * COMMITS {
        store.write(key, put("after", LONG))?;
        ensure(
            !versions.contains(&store.version(key)?),
            "a version of before a failover was used again after it",
        )?;
    }
    for old in versions {
        let commit = store.commit(&[change(key, Expected::Version(old), put("stale", LONG))])?;
        ensure(!is_made(&commit), "a version of before a failover was taken for the present one")?;
    }
    Ok(())
}
