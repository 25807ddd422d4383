//! Checks of what a store makes of time: TTLs, and the clock that counts them.

use std::time::Duration;

use crate::conformance::Fixture;
use crate::conformance::harness::{
    Instance, LONG, Outcome, change, ensure, is_made, keys, put, spread_keys,
};
use crate::state::{Commit, Expected, StateKey};
use crate::time::{DEPLOYMENT_SKEW, Timestamp};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

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
    let overflowing = write_overflowing(&store, earliest)?;
    let least = write_least(&store)?;
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
    for (key, life) in overflowing {
        ensure(
            store.value(key)?.is_some(),
            format!("a row of {life:?}, at which a number overflows, is gone after two seconds"),
        )?;
    }
    match store.commit(&[change(short, shorts, put("again", LONG))])? {
        Commit::Committed { .. } => {
            return Err("the version of a row that had expired was taken for present".into());
        }
        Commit::Conflict { fresh } => ensure(
            fresh.is_none_or(|fresh| fresh.rows.iter().all(Option::is_none)),
            "a conflict told a row that had expired",
        )?,
    }
    for key in least {
        ensure(
            store.value(key)?.is_none(),
            "a row of less than a millisecond is there two seconds later",
        )?;
        let anew = store.commit(&[change(key, Expected::Absent, put("again", LONG))])?;
        ensure(is_made(&anew), "a row of less than a millisecond was not taken for absent")?;
    }
    let anew = store.commit(&[change(short, Expected::Absent, put("again", LONG))])?;
    ensure(is_made(&anew), "a row that had expired was not taken for absent")?;
    ensure(
        store.value(short)? == Some(b"again".to_vec()),
        "a row could not be written again after it had expired",
    )
}

/// Writes rows with TTLs at which a signed or unsigned number overflows, and returns their keys.
///
/// A TTL that is cut there is next to nothing, or in the past.
fn write_overflowing(
    store: &Instance<'_, impl Fixture>,
    now: Timestamp,
) -> Outcome<Vec<(StateKey, Duration)>> {
    let bits = |bits: u32| 1_u64 << bits;
    // A little after the moment, so that the row lives even if the moment is past.
    let until = |seconds: u64| Timestamp::from_unix_seconds(seconds).since(now) + 30 * SECOND;
    let lives: [Duration; 9] = [
        // Of the TTL: seconds in 16 bits, microseconds and milliseconds in 32.
        Duration::from_secs(bits(15)),
        Duration::from_secs(bits(16)),
        Duration::from_micros(bits(31)),
        Duration::from_micros(bits(32)),
        Duration::from_millis(bits(31)),
        Duration::from_millis(bits(32)),
        Duration::from_secs(bits(31)),
        // Of the end: seconds since 1970 in 32 bits, in 2038 and 2106.
        until(bits(31)),
        until(bits(32)),
    ];
    let written: Vec<_> = spread_keys::<9>()?.into_iter().zip(lives).collect();
    for (key, life) in &written {
        store.write(*key, put("long", *life))?;
    }
    Ok(written)
}

/// Writes rows with the shortest TTLs, new ones and one over another row, and returns their keys.
fn write_least(store: &Instance<'_, impl Fixture>) -> Outcome<[StateKey; 5]> {
    let keys: [StateKey; 5] = keys()?;
    let [.., over] = keys;
    store.write(over, put("long", LONG))?;
    let (none, least) = (Duration::ZERO, Duration::from_nanos(1));
    let (some, rounded) = (Duration::from_micros(1), Duration::from_micros(999));
    for (key, life) in keys.iter().zip([none, least, some, rounded, none]) {
        let changes = [change(*key, store.expected(*key)?, put("brief", life))];
        let commit = store
            .try_commit(&changes)?
            .map_err(|error| format!("a TTL of {life:?} was refused: {error}"))?;
        ensure(is_made(&commit), format!("a TTL of {life:?} was a conflict"))?;
    }
    Ok(keys)
}

pub(super) fn clocks(fixture: &impl Fixture) -> Outcome {
    let instances: [_; 3] = Instance::several(fixture);
    let times = instances.iter().map(Instance::now).collect::<Outcome<Vec<_>>>()?;
    let (earliest, latest) = (times.iter().min(), times.iter().max());
    if let (Some(earliest), Some(latest)) = (earliest, latest) {
        let apart = latest.since(*earliest);
        ensure(
            apart <= DEPLOYMENT_SKEW,
            format!("one store told its instances times that are {apart:?} apart"),
        )?;
    }
    let (brief, lasting): ([StateKey; 3], [StateKey; 3]) = (keys()?, keys()?);
    for ((store, brief), lasting) in instances.iter().zip(brief).zip(lasting) {
        store.write(brief, put("brief", SECOND))?;
        store.write(lasting, put("lasting", DEPLOYMENT_SKEW))?;
    }
    let last = || {
        instances.iter().try_for_each(|store| {
            ensure(
                store.load(&lasting)?.rows.iter().all(Option::is_some),
                "a row of a minute was gone for another instance before its time",
            )
        })
    };
    last()?;
    fixture.pass(2 * SECOND);
    last()?;
    for store in &instances {
        ensure(
            store.load(&brief)?.rows.iter().all(Option::is_none),
            "a row of one second is there for another instance two seconds later",
        )?;
    }
    Ok(())
}
