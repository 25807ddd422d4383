//! What one caller sees.

use std::time::Duration;

use crate::conformance::Fixture;
use crate::conformance::instance::{Instance, LONG, Outcome, ensure, keys, put};
use crate::state::{Commit, Expected, StateKey, Version, Write};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

pub(super) fn round_trip(fixture: &impl Fixture) -> Outcome {
    let store = Instance::new(fixture);
    let keys: [StateKey; 16] = keys()?;
    let every_byte: Vec<u8> = (0..=u8::MAX).collect();
    let values: [&[u8]; 6] = [b"", b"\0", &every_byte, &[0xff; 200], &[0; 16 * 1024], b"'; --"];
    let written: Vec<_> = keys.iter().step_by(2).copied().zip(values).collect();
    let read: Vec<_> = written.iter().map(|(key, _)| (*key, Expected::Absent)).collect();
    let write: Vec<_> = written.iter().map(|(key, value)| (*key, put(*value, LONG))).collect();
    ensure(store.load(&keys)?.rows.iter().all(Option::is_none), "there is a row that was never written")?;
    ensure(store.commit(&read, &write)? == Commit::Committed, "new rows were a conflict")?;
    for instance in [store, Instance::new(fixture)] {
        let rows = instance.load(&keys)?.rows;
        for (key, row) in keys.iter().zip(rows) {
            let expected = written.iter().find(|(own, _)| own == key).map(|(_, value)| *value);
            let seen = row.as_ref().map(|row| row.value.as_slice());
            let length = |value: Option<&[u8]>| value.map(<[u8]>::len);
            ensure(
                seen == expected,
                format!("under {key:?}: {:?} bytes instead of {:?}", length(seen), length(expected)),
            )?;
        }
        ensure(instance.load(&[])?.rows.is_empty(), "no key, and a row")?;
    }
    Ok(())
}

pub(super) fn all_or_nothing(fixture: &impl Fixture) -> Outcome {
    let store = Instance::new(fixture);
    for position in 0..4 {
        let keys: [StateKey; 4] = keys()?;
        let [.., third, fourth] = keys;
        for there in [third, fourth] {
            store.write(there, put("old", LONG))?;
        }
        let before = store.load(&keys)?.rows;
        let mut read = Vec::new();
        for (number, (key, row)) in keys.iter().zip(&before).enumerate() {
            let other = || Expected::Version(Version::new(u64::MAX / 2));
            let expected = match (row, number == position) {
                (None, false) => Expected::Absent,
                (Some(row), false) => Expected::Version(row.version),
                (None, true) => other(),
                (Some(_), true) if number == 2 => other(),
                (Some(_), true) => Expected::Absent,
            };
            read.push((*key, expected));
        }
        let write: Vec<_> =
            keys.iter().map(|key| (*key, if *key == fourth { Write::Delete } else { put("new", LONG) })).collect();
        ensure(store.commit(&read, &write)? == Commit::Conflict, "what was not as expected was no conflict")?;
        ensure(store.load(&keys)?.rows == before, format!("a conflict at key {position} of 4 left something written"))?;
        if let Some((_, wrong)) = read.get_mut(position) {
            let row = before.get(position).and_then(Option::as_ref);
            *wrong = row.map_or(Expected::Absent, |row| Expected::Version(row.version));
        }
        ensure(store.commit(&read, &write)? == Commit::Committed, "what was as expected was a conflict")?;
        let after: Vec<_> = store.load(&keys)?.rows.into_iter().map(|row| row.map(|row| row.value)).collect();
        let new = || Some(b"new".to_vec());
        ensure(after == [new(), new(), new(), None], "a commit was made, and not all of it was")?;
    }
    Ok(())
}

pub(super) fn whole_read_set(fixture: &impl Fixture) -> Outcome {
    let store = Instance::new(fixture);
    let [epoch, family, never] = keys()?;
    store.write(epoch, put("1", LONG))?;
    let seen = store.expected(epoch)?;
    store.write(epoch, put("2", LONG))?;
    let stale = [(epoch, seen), (family, Expected::Absent)];
    let write = [(family, put("born too late", LONG))];
    ensure(store.commit(&stale, &write)? == Commit::Conflict, "a row that was only read had changed, unnoticed")?;
    ensure(store.value(family)?.is_none(), "a conflict over a row that was only read left something written")?;
    ensure(store.commit(&stale, &[])? == Commit::Conflict, "a commit that writes nothing did not compare")?;
    let filled = [(epoch, Expected::Absent), (family, Expected::Absent)];
    ensure(store.commit(&filled, &write)? == Commit::Conflict, "a row was there that was expected absent, unnoticed")?;
    let fresh = [(epoch, store.expected(epoch)?), (family, Expected::Absent), (never, Expected::Absent)];
    ensure(store.commit(&fresh, &[])? == Commit::Committed, "a commit that writes nothing was a conflict")?;
    ensure(store.commit(&fresh, &write)? == Commit::Committed, "everything was as expected, and was a conflict")?;
    ensure(store.value(epoch)? == Some(b"2".to_vec()), "a row that was only read was changed")?;
    ensure(store.expected(epoch)? == seen_first(&fresh), "a row that was only read has another version")
}

fn seen_first(read: &[(StateKey, Expected)]) -> Expected {
    read.first().map_or(Expected::Absent, |(_, expected)| *expected)
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
        let commit = store.commit(&[(key, Expected::Version(*old))], &[(key, put("stale", LONG))])?;
        ensure(commit == Commit::Conflict, "a version of long ago was taken for the present one")?;
    }
    ensure(store.version(other)? == others, "the version of a row changed that nobody wrote")
}

pub(super) fn lives(fixture: &impl Fixture) -> Outcome {
    let store = Instance::new(fixture);
    let [brief, short, renewed, shortened, long, read_often] = keys()?;
    // By the store's clock the rows were written between these two.
    let earliest = store.now()?;
    store.write(brief, put("brief", Duration::from_millis(900)))?;
    store.write(short, put("short", SECOND))?;
    store.write(renewed, put("renewed", SECOND))?;
    store.write(shortened, put("shortened", DAY))?;
    store.write(shortened, put("shortened", SECOND))?;
    store.write(renewed, put("renewed", LONG))?;
    store.write(long, put("long", 400 * DAY))?;
    store.write(read_often, put("read often", SECOND))?;
    for (key, life) in [(brief, Duration::from_millis(900)), (short, SECOND), (read_often, SECOND)] {
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
    for (key, what) in [(renewed, "whose life was made longer"), (long, "of 400 days")] {
        ensure(store.value(key)?.is_some(), format!("a row {what} is gone after two seconds"))?;
    }
    let write = [(short, put("again", LONG))];
    let stale = store.commit(&[(short, shorts)], &write)?;
    ensure(stale == Commit::Conflict, "the version of a row that had expired was taken for present")?;
    let anew = store.commit(&[(short, Expected::Absent)], &write)?;
    ensure(anew == Commit::Committed, "a row that had expired was not taken for absent")?;
    ensure(store.value(short)? == Some(b"again".to_vec()), "a row could not be written again after it had expired")
}

pub(super) fn ordered_keys(fixture: &impl Fixture) -> Outcome {
    let store = Instance::new(fixture);
    let [one, two] = keys()?;
    let absent = |key| (key, Expected::Absent);
    let new = |key| (key, put("new", LONG));
    for (what, read, write) in [
        ("read keys in descending order", vec![absent(two), absent(one)], vec![new(one), new(two)]),
        ("written keys in descending order", vec![absent(one), absent(two)], vec![new(two), new(one)]),
        ("a read key twice", vec![absent(one), absent(one)], vec![new(one)]),
        ("a written key twice", vec![absent(one)], vec![new(one), new(one)]),
    ] {
        ensure(store.try_commit(&read, &write)?.is_err(), format!("{what}: no error"))?;
        ensure(store.load(&[one, two])?.rows.iter().all(Option::is_none), format!("{what}: something was written"))?;
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
    // More than there were before it: versions that begin anew would come to one that was used.
    for _ in 0..10 {
        store.write(deleted, put("value", LONG))?;
        ensure(store.expected(deleted)? != of_the_deleted, "a version was used again after a restart")?;
    }
    Ok(())
}
