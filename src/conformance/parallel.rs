//! Checks of a store that is used by several instances at once, and of calls that are dropped.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use crate::conformance::Fixture;
use crate::conformance::harness::{
    CONFLICTS, Instance, LONG, Outcome, at_once, change, ensure, is_made, keys, never_committed,
    put, spread_keys,
};
use crate::state::{Commit, Expected, Row, StateKey, Write};

const INSTANCES: usize = 8;

pub(super) fn one_winner(fixture: &impl Fixture) -> Outcome {
    let instances: [_; INSTANCES] = Instance::several(fixture);
    let [store, ..] = &instances;
    for (what, before, write) in [
        ("that is new", None, put("mine", LONG)),
        ("that is there", Some(LONG), put("mine", LONG)),
        ("that is there, to delete it", Some(LONG), Write::Delete),
        ("that has expired", Some(Duration::from_secs(1)), put("mine", LONG)),
    ] {
        let keys: [StateKey; 20] = keys()?;
        if let Some(life) = before {
            keys.iter().try_for_each(|key| store.write(*key, put("before", life)))?;
        }
        if before.is_some_and(|life| life < LONG) {
            fixture.pass(Duration::from_secs(2));
        }
        for key in keys {
            let changes = [change(key, store.expected(key)?, write.clone())];
            let commits = at_once(&instances, |_, store| store.commit(&changes))?;
            let made = commits.iter().filter(|commit| is_made(commit)).count();
            ensure(made == 1, format!("{made} of {INSTANCES} won a row {what}"))?;
        }
    }
    Ok(())
}

pub(super) fn lost_updates(fixture: &impl Fixture) -> Outcome {
    const EACH: usize = 25;
    let instances: [_; INSTANCES] = Instance::several(fixture);
    let [store, ..] = &instances;
    let [counter, told] = keys()?;
    at_once(&instances, |_, store| (0..EACH).try_for_each(|_| add(store, counter, 1)))?;
    let counted = number(store.value(counter)?)?;
    ensure(
        counted == (INSTANCES * EACH) as i64,
        format!("of {} additions {counted} were counted", INSTANCES * EACH),
    )?;
    at_once(&instances, |_, store| add_as_told(store, told, EACH))?;
    let counted = number(store.value(told)?)?;
    ensure(
        counted == (INSTANCES * EACH) as i64,
        format!(
            "of {} additions, each with the version that the commit before it had told, {counted} \
             were counted",
            INSTANCES * EACH
        ),
    )
}

pub(super) fn sweeping(fixture: &impl Fixture) -> Outcome {
    let instances: [_; 2] = Instance::several(fixture);
    let [store, _] = &instances;
    for round in 0..10 {
        let keys: [StateKey; 16] = keys()?;
        let alive: [StateKey; 2] = spread_keys()?;
        keys.iter()
            .try_for_each(|key| store.write(*key, put("brief", Duration::from_millis(10))))?;
        alive
            .iter()
            .try_for_each(|key| store.write(*key, put("alive", Duration::from_secs(60))))?;
        fixture.pass(Duration::from_millis(20));
        let anew = put("anew", LONG);
        at_once(&instances, |own, store| {
            if own == 0 {
                (0..3).for_each(|_| fixture.sweep());
                return Ok(());
            }
            if round % 2 == 0 {
                return keys.iter().try_for_each(|key| store.write(*key, anew.clone()));
            }
            store.write_all(&keys, &anew)
        })?;
        let left = store.load(&keys)?.rows.iter().filter(|row| row.is_some()).count();
        ensure(
            left == keys.len(),
            format!("a sweeper left {left} of {} rows that were written anew", keys.len()),
        )?;
        ensure(
            store.load(&alive)?.rows.iter().all(Option::is_some),
            "a sweeper deleted a row a minute before its end",
        )?;
    }
    Ok(())
}

pub(super) fn snapshots(fixture: &impl Fixture) -> Outcome {
    const ALL: i64 = 300;
    let instances: [_; INSTANCES] = Instance::several(fixture);
    let [store, ..] = &instances;
    let accounts: [StateKey; 3] = spread_keys()?;
    accounts.iter().try_for_each(|key| store.write(*key, put((ALL / 3).to_string(), LONG)))?;
    let balance = |store: &Instance<'_, _>| -> Outcome<i64> {
        store
            .load(&accounts)?
            .rows
            .into_iter()
            .try_fold(0, |sum, row| Ok(sum + number(row.map(|row| row.value))?))
    };
    at_once(&instances, |own, store| {
        for round in 0..25 {
            if own % 2 == 0 {
                let seen = balance(store)?;
                ensure(
                    seen == ALL,
                    format!("rows that always add up to {ALL} were read as {seen}"),
                )?;
            } else {
                let from = (own + round) % 3;
                transfer(store, &accounts, from, (from + 1 + round % 2) % 3)?;
            }
        }
        Ok(())
    })?;
    let left = balance(store)?;
    ensure(left == ALL, format!("rows that always add up to {ALL} add up to {left} in the end"))
}

fn transfer(
    store: &Instance<'_, impl Fixture>,
    accounts: &[StateKey],
    from: usize,
    to: usize,
) -> Outcome {
    for _ in 0..CONFLICTS {
        let loaded = store.load(accounts)?.rows;
        let mut changes = Vec::new();
        for (index, (key, row)) in accounts.iter().zip(loaded).enumerate() {
            let Some(row) = row else { return Err("a row that nobody deletes is gone".into()) };
            let expected = Expected::of(Some(&row));
            let moved = i64::from(index == to) - i64::from(index == from);
            if moved != 0 {
                let sum = number(Some(row.value))? + moved;
                changes.push(change(*key, expected, put(sum.to_string(), LONG)));
            }
        }
        if is_made(&store.commit(&changes)?) {
            return Ok(());
        }
    }
    Err(never_committed())
}

pub(super) fn dropped_calls(fixture: &impl Fixture) -> Outcome {
    let store = Instance::new(fixture);
    for polls in 0..40 {
        let keys: [StateKey; 3] = keys()?;
        let [.., counter] = keys;
        let changes = keys.map(|key| change(key, Expected::Absent, put("0", LONG)));
        let finished = store.wait(poll_so_often(store.store.commit(&changes), polls))?;
        store.wait(poll_so_often(store.store.load(&keys), polls))?;
        // A dropped commit may still be in progress. It must take effect as a whole, and only over
        // the rows that it expected.
        let rows = store.load(&keys)?.rows;
        let there = rows.iter().filter(|row| row.is_some()).count();
        ensure(
            there == 0 || there == keys.len(),
            format!("a commit dropped after {polls} polls wrote {there} of 3"),
        )?;
        ensure(there > 0 || !finished, "a commit that was made has written nothing")?;
        for _ in 0..3 {
            add(&store, counter, 1)?;
        }
        let counted = number(store.value(counter)?)?;
        ensure(
            counted == 3,
            format!(
                "after a commit dropped at {polls} polls, 3 additions were counted as {counted}"
            ),
        )?;
    }
    Ok(())
}

pub(super) fn late_commits(fixture: &impl Fixture) -> Outcome {
    /// How long after its caller has gone a commit may still take effect.
    const SETTLED: Duration = Duration::from_secs(3);
    let [store, other]: [_; 2] = Instance::several(fixture);
    let (mut untouched, mut overwritten) = (Vec::new(), Vec::new());
    for polls in 0..20 {
        let keys = drop_commit(&store, polls)?;
        untouched.push((polls, keys));
        let keys = drop_commit(&store, polls)?;
        other.write_all(&keys, &put("after", LONG))?;
        overwritten.push((polls, keys, other.load(&keys)?.rows));
    }
    let rows = || -> Outcome<Vec<Vec<Option<Row>>>> {
        untouched.iter().map(|(_, keys)| Ok(other.load(keys)?.rows)).collect()
    };
    fixture.pass(SETTLED);
    for (polls, keys, rows) in overwritten {
        ensure(
            other.load(&keys)?.rows == rows,
            format!("a commit dropped after {polls} polls wrote later over what came after it"),
        )?;
    }
    let settled = rows()?;
    for ((polls, _), rows) in untouched.iter().zip(&settled) {
        let values: Vec<_> = rows.iter().flatten().map(|row| row.value.as_slice()).collect();
        ensure(
            values == [b"before"] || values == [b"late"; 3],
            format!("a commit dropped after {polls} polls wrote a part of its rows later"),
        )?;
    }
    fixture.pass(Duration::from_secs(1));
    ensure(
        rows()? == settled,
        format!("a commit that was dropped took effect more than {SETTLED:?} later"),
    )?;
    Ok(())
}

/// Begins a commit that overwrites a row and writes two new ones, and drops it after this many
/// polls. Returns the keys.
fn drop_commit(store: &Instance<'_, impl Fixture>, polls: usize) -> Outcome<[StateKey; 3]> {
    let keys: [StateKey; 3] = keys()?;
    let [there, ..] = keys;
    store.write(there, put("before", LONG))?;
    let over = store.expected(there)?;
    let changes = keys.map(|key| {
        change(key, if key == there { over } else { Expected::Absent }, put("late", LONG))
    });
    store.wait(poll_so_often(store.store.commit(&changes), polls))?;
    Ok(keys)
}

/// Polls a future this many times, then drops it. Returns whether it was ready. The thread yields
/// to others after each poll.
async fn poll_so_often<T>(future: impl Future<Output = T> + Send, times: usize) -> bool {
    let mut future = pin!(future);
    let mut left = times;
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        let polled = future.as_mut().poll(context).map(|_| true);
        context.waker().wake_by_ref();
        std::thread::yield_now();
        polled
    })
    .await
}

/// Adds to a number that others may change at the same time.
fn add(store: &Instance<'_, impl Fixture>, key: StateKey, more: i64) -> Outcome {
    for _ in 0..CONFLICTS {
        let row = store.row(key)?;
        let expected = Expected::of(row.as_ref());
        let sum = row.map_or(Ok(0), |row| number(Some(row.value)))? + more;
        if is_made(&store.commit(&[change(key, expected, put(sum.to_string(), LONG))])?) {
            return Ok(());
        }
    }
    Err(never_committed())
}

/// Adds 1 several times. As the engine does, each addition goes on from the version that the commit
/// before it has told, and loads the row only after a conflict.
fn add_as_told(store: &Instance<'_, impl Fixture>, key: StateKey, times: usize) -> Outcome {
    let (mut row, mut added) = (store.row(key)?, 0);
    for _ in 0..CONFLICTS {
        let expected = Expected::of(row.as_ref());
        let sum = row.map_or(Ok(0), |row| number(Some(row.value)))? + 1;
        let value = sum.to_string().into_bytes();
        row = match store.commit(&[change(key, expected, put(value.clone(), LONG))])? {
            Commit::Committed { versions } => {
                added += 1;
                if added == times {
                    return Ok(());
                }
                versions.first().copied().flatten().map(|version| Row { version, value })
            }
            Commit::Conflict { .. } => store.row(key)?,
        };
    }
    Err(never_committed())
}

fn number(value: Option<Vec<u8>>) -> Outcome<i64> {
    let text = value.and_then(|value| String::from_utf8(value).ok());
    text.and_then(|text| text.parse().ok())
        .ok_or_else(|| "a row does not hold what was written".into())
}
