//! Checks of a store that is used by a single caller.

use std::time::Duration;

use crate::conformance::Fixture;
use crate::conformance::harness::{Instance, LONG, Outcome, change, ensure, is_made, keys, put};
use crate::state::{Commit, Expected, Row, StateKey, Version, Write};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

pub(super) fn round_trip(fixture: &impl Fixture) -> Outcome {
    let store = Instance::new(fixture);
    let keys: [StateKey; 16] = keys()?;
    let every_byte: Vec<u8> = (0..=u8::MAX).collect();
    let values: [&[u8]; 6] = [b"", b"\0", &every_byte, &[0xff; 200], &[0; 16 * 1024], b"'; --"];
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
    Ok(())
}

pub(super) fn all_or_nothing(fixture: &impl Fixture) -> Outcome {
    let store = Instance::new(fixture);
    let other = Expected::Version(Version::new(u64::MAX / 2));
    for position in 0..5 {
        let keys: [StateKey; 5] = keys()?;
        let [.., third, fourth, fifth] = keys;
        for there in [third, fourth, fifth] {
            store.write(there, put("old", LONG))?;
        }
        let before = store.load(&keys)?.rows;
        // One expectation is wrong: new and old rows with another version, or an old row as absent.
        let wrong = [other, other, other, Expected::Absent, other];
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
        ensure(
            after == [new(), new(), new(), new(), None],
            "a commit was made, and not all of it was",
        )?;
    }
    Ok(())
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
    )
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
    let [writer, reader]: [_; 2] = Instance::several(fixture);
    let [key, other] = keys()?;
    for write in [put("1", LONG), put("2", LONG), Write::Delete, put("3", LONG)] {
        // The reader has just read the rows, so a store that caches reads would return old ones.
        let _ = (reader.row(key)?, reader.load(&[key, other])?);
        writer.write(key, write)?;
        let rows =
            [reader.row(key)?, reader.load(&[key, other])?.rows.into_iter().next().flatten()];
        let written = writer.row(key)?;
        ensure(
            rows.iter().all(|row| *row == written),
            "what one instance has committed, another did not read at once",
        )?;
    }
    Ok(())
}

pub(super) fn versions(fixture: &impl Fixture) -> Outcome {
    let store = Instance::new(fixture);
    let [key, other] = keys()?;
    let mut versions = Vec::new();
    store.write(other, put("other", LONG))?;
    let others = store.version(other)?;
    let mut have = |version: Version, when: &str| {
        let is_new = !versions.contains(&version);
        versions.push(version);
        ensure(is_new, format!("a version was used again {when}"))
    };
    for _ in 0..3 {
        for _ in 0..5 {
            store.write(key, put("the same value", LONG))?;
            have(store.version(key)?, "by a write of the same value")?;
        }
        ensure(store.version(key)? == store.version(key)?, "a load changed the version")?;
        store.write(key, Write::Delete)?;
        store.write(key, put("the same value", LONG))?;
        have(store.version(key)?, "after a delete")?;
        store.write(key, put("the same value", SECOND))?;
        have(store.version(key)?, "by a write of another life")?;
        fixture.pass(2 * SECOND);
        store.write(key, put("the same value", LONG))?;
        have(store.version(key)?, "after the row had expired")?;
    }
    let current = store.version(key)?;
    for old in versions.iter().filter(|version| **version != current) {
        let commit = store.commit(&[change(key, Expected::Version(*old), put("stale", LONG))])?;
        ensure(!is_made(&commit), "a version of long ago was taken for the present one")?;
    }
    ensure(store.version(other)? == others, "the version of a row changed that nobody wrote")
}

pub(super) fn lives(fixture: &impl Fixture) -> Outcome {
    let store = Instance::new(fixture);
    let [brief, short, renewed, shortened, long, longer, longest, read_often] = keys()?;
    // By the store's clock, the rows are written between `earliest` and `latest`.
    let earliest = store.now()?;
    store.write(brief, put("brief", Duration::from_millis(900)))?;
    store.write(short, put("short", SECOND))?;
    store.write(renewed, put("renewed", SECOND))?;
    store.write(shortened, put("shortened", DAY))?;
    store.write(shortened, put("shortened", SECOND))?;
    store.write(renewed, put("renewed", LONG))?;
    // The TTLs of a session, a log-out, and a subject epoch.
    store.write(long, put("long", 400 * DAY))?;
    store.write(longer, put("longer", 800 * DAY))?;
    store.write(longest, put("longest", 36_500 * DAY))?;
    store.write(read_often, put("read often", SECOND))?;
    for (key, life) in [(brief, Duration::from_millis(900)), (short, SECOND), (read_often, SECOND)]
    {
        let loaded = store.load(&[key])?;
        let there = loaded.rows.iter().all(Option::is_some);
        ensure(there || loaded.now.since(earliest) >= life, "a row was gone before its time")?;
    }
    let shorts = store.expected(short)?;
    let latest = store.now()?;
    fixture.pass(SECOND / 2);
    let _ = store.load(&[read_often])?;
    fixture.pass(SECOND * 3 / 2);
    let now = store.now()?;
    ensure(
        now.since(latest) >= SECOND * 3 / 2,
        format!("two seconds passed, and the store's clock moved by {:?}", now.since(latest)),
    )?;
    for (key, what) in [
        (brief, "a row of 0.9 seconds"),
        (short, "a row of one second"),
        (shortened, "a row whose life was made shorter"),
        (read_often, "a row that was read meanwhile"),
    ] {
        ensure(store.value(key)?.is_none(), format!("{what} is there two seconds later"))?;
    }
    for (key, what) in [
        (renewed, "whose life was made longer"),
        (long, "of 400 days"),
        (longer, "of 800 days"),
        (longest, "of a hundred years"),
    ] {
        ensure(store.value(key)?.is_some(), format!("a row {what} is gone after two seconds"))?;
    }
    let stale = store.commit(&[change(short, shorts, put("again", LONG))])?;
    ensure(!is_made(&stale), "the version of a row that had expired was taken for present")?;
    let anew = store.commit(&[change(short, Expected::Absent, put("again", LONG))])?;
    ensure(is_made(&anew), "a row that had expired was not taken for absent")?;
    ensure(
        store.value(short)? == Some(b"again".to_vec()),
        "a row could not be written again after it had expired",
    )
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
