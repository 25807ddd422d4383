//! Checks of the engine over a store that makes it hard: calls that fail, rows that cannot be
//! decoded, and conflicts in a row.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use crate::conformance::Fixture;
use crate::conformance::engine::{App, BURST, Host, form, name};
use crate::conformance::harness::{ANSWER, Instance, LONG, Outcome, at_once, ensure, put};
use crate::error::BoxError;
use crate::limiter::LimitKey;
use crate::state::{Change, Commit, Expected, Loaded, Row, StateKey, StateStore, Version};
use crate::types::context::RequestContext;

pub(super) fn attempt_limiter_under_faults(fixture: &impl Fixture) -> Outcome {
    for (what, fault) in [
        ("loads that fail", Fault::Load),
        ("commits that fail before they take effect", Fault::Before),
        ("commits that fail after they took effect", Fault::After),
        ("rows that cannot be read", Fault::Garbage),
    ] {
        let host = Host::new()?;
        let faulty = |store| Faulty { store, fault, calls: AtomicUsize::new(0) };
        let hurried = host.clone().timeout(Duration::from_millis(100));
        let app = App::over(&hurried, Instance::new(fixture), faulty)?;
        let name = name()?;
        for _ in 0..3 * BURST {
            let status = app.post(&form(&name, "wrong"))?;
            ensure(
                [400, 429, 503].contains(&status),
                format!("{what}: a guess was answered with {status}"),
            )?;
        }
        ensure(host.asked() <= BURST, format!("{what}: {} guesses were verified", host.asked()))?;
        let whole = App::new(&host, fixture)?;
        let (account, context) = (LimitKey::Account { username: &name }, RequestContext::new());
        let count = whole.store.wait(whole.grant.attempts(account, &context))?;
        let counted = count.ok().flatten().map(|count| count.failures as usize);
        let enough = counted.is_some_and(|counted| counted >= host.asked());
        ensure(
            enough,
            format!("{what}: {} guesses were verified, and {counted:?} counted", host.asked()),
        )?;
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    Load,
    Before,
    After,
    Garbage,
}

/// A store in which every third call of one kind fails.
struct Faulty {
    store: Arc<dyn StateStore>,
    fault: Fault,
    calls: AtomicUsize,
}

impl Faulty {
    fn strikes(&self, faults: &[Fault]) -> bool {
        faults.contains(&self.fault) && self.calls.fetch_add(1, Ordering::SeqCst) % 3 == 1
    }
}

#[async_trait]
impl StateStore for Faulty {
    async fn load(&self, keys: &[StateKey]) -> Result<Loaded, BoxError> {
        let mut loaded = self.store.load(keys).await?;
        if self.strikes(&[Fault::Load, Fault::Garbage]) {
            if self.fault == Fault::Load {
                return Err("injected: the load failed".into());
            }
            for row in &mut loaded.rows {
                *row = Some(Row { version: Version::new(0), value: vec![0xee; 3] });
            }
        }
        Ok(loaded)
    }

    async fn commit(&self, changes: &[Change]) -> Result<Commit, BoxError> {
        let strikes = self.strikes(&[Fault::Before, Fault::After]);
        if strikes && self.fault == Fault::Before {
            return Err("injected: the commit was not made".into());
        }
        let commit = self.store.commit(changes).await?;
        if strikes { Err("injected: the answer to the commit was lost".into()) } else { Ok(commit) }
    }
}

pub(super) fn malformed_rows(fixture: &impl Fixture) -> Outcome {
    /// Makes a value that no row of the engine has.
    type Spoil = fn(Vec<u8>) -> Vec<u8>;
    let nothing: Spoil = |_| Vec::new();
    let garbage: Spoil = |_| vec![0xee; 3];
    let form_of_tomorrow: Spoil = |mut value| {
        value.iter_mut().take(1).for_each(|form| *form = 0xee);
        value
    };
    [nothing, garbage, form_of_tomorrow].into_iter().try_for_each(|spoil| spoiled(fixture, spoil))
}

fn spoiled(fixture: &impl Fixture, spoil: fn(Vec<u8>) -> Vec<u8>) -> Outcome {
    let (store, name, written) = (Instance::new(fixture), name()?, Written::default());
    let spy = |store| Spy { store, written: written.clone() };
    let host = Host::new()?.timeout(Duration::from_secs(3));
    let app = App::over(&host, Instance::new(fixture), spy)?;
    app.log_out(&name)?;
    ensure(app.post(&form(&name, "wrong"))? == 400, "a wrong password was not answered with 400")?;
    let (access, mut refresh) = app.log_in(&name)?;
    let mut spoiled = Vec::new();
    let keys = written.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for key in keys {
        let Some(value) = store.value(key)? else { continue };
        let garbage = spoil(value.clone());
        store.write(key, put(garbage.clone(), LONG))?;
        // Not each of them depends on this row.
        let (login, used) = (app.post(&form(&name, "right"))?, app.refresh(&refresh)?);
        let (introspected, _) = app.introspect(&access)?;
        refresh = used.refresh.unwrap_or(refresh);
        for status in [login, used.status, introspected] {
            ensure(
                [200, 503].contains(&status),
                format!("with a row that cannot be read, a request was answered with {status}"),
            )?;
        }
        is_still(&store, key, &garbage)?;
        store.write(key, put(value, LONG))?;
        spoiled.push((key, garbage));
    }
    for (key, garbage) in &spoiled {
        store.write(*key, put(garbage.clone(), LONG))?;
    }
    for (what, status) in [
        ("a login", app.post(&form(&name, "right"))?),
        ("a refresh", app.refresh(&refresh)?.status),
        ("an introspection", app.introspect(&access)?.0),
        ("a revocation", app.revoke(&refresh)?),
        ("a log-out", if app.try_log_out(&name)?.is_err() { 503 } else { 200 }),
    ] {
        ensure(
            status == 503,
            format!("with rows that cannot be read, {what} was answered with {status}"),
        )?;
    }
    spoiled.iter().try_for_each(|(key, garbage)| is_still(&store, *key, garbage))
}

fn is_still(store: &Instance<'_, impl Fixture>, key: StateKey, garbage: &[u8]) -> Outcome {
    ensure(
        store.value(key)?.as_deref() == Some(garbage),
        "a row that cannot be read was overwritten or deleted",
    )
}

/// The keys of the rows that an instance has written.
type Written = Arc<Mutex<BTreeSet<StateKey>>>;

/// Notes which rows are written.
struct Spy {
    store: Arc<dyn StateStore>,
    written: Written,
}

#[async_trait]
impl StateStore for Spy {
    async fn load(&self, keys: &[StateKey]) -> Result<Loaded, BoxError> {
        self.store.load(keys).await
    }

    async fn commit(&self, changes: &[Change]) -> Result<Commit, BoxError> {
        let commit = self.store.commit(changes).await?;
        if matches!(commit, Commit::Committed { .. }) {
            let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
            written.extend(changes.iter().map(|change| change.key));
        }
        Ok(commit)
    }
}

pub(super) fn conflict_storms(fixture: &impl Fixture) -> Outcome {
    let (host, name) = (Host::new()?.timeout(ANSWER), name()?);
    let stormy = |_| {
        let storm = |store| Stormy { store, conflicts: Mutex::default() };
        App::over(&host, Instance::new(fixture), storm)
    };
    let apps = (0..3).map(stormy).collect::<Outcome<Vec<_>>>()?;
    at_once(&apps, |_, app| {
        (0..BURST / 2).try_for_each(|_| {
            let status = app.post(&form(&name, "wrong"))?;
            ensure(
                [400, 429].contains(&status),
                format!("in a storm of conflicts, a guess was answered with {status}"),
            )
        })
    })?;
    let verified = host.asked();
    ensure(
        verified == BURST,
        format!("in a storm of conflicts {verified} guesses of {BURST} were verified"),
    )?;
    let [one, another, ..] = &*apps else { return Ok(()) };
    let form = one.form_with_assertion()?;
    expect("an assertion", one.post(&form)?, 200)?;
    expect("an assertion that was used", another.post(&form)?, 401)?;
    let name = self::name()?;
    let (access, first) = one.log_in(&name)?;
    let used = another.refresh(&first)?;
    let second = used.refresh.unwrap_or_default();
    expect("a refresh token", used.status, 200)?;
    expect("a refresh token that was used", one.refresh(&first)?.status, 400)?;
    expect("a session whose token was used twice", another.refresh(&second)?.status, 400)?;
    ensure(!one.is_good(&access)?, "in a storm of conflicts, a stolen session has not ended")?;
    let (access, refresh) = another.log_in(&name)?;
    one.log_out(&name)?;
    expect("a session that was logged out", another.refresh(&refresh)?.status, 400)?;
    ensure(!another.is_good(&access)?, "in a storm of conflicts, a log-out has ended nothing")
}

fn expect(what: &str, status: u16, expected: u16) -> Outcome {
    ensure(
        status == expected,
        format!("in a storm of conflicts, {what} was answered with {status}"),
    )
}

/// Makes the first commits of each transaction fail in a conflict, as if another instance had come
/// first each time.
struct Stormy {
    store: Arc<dyn StateStore>,
    /// The number of conflicts in a row, by the keys of the commit.
    conflicts: Mutex<BTreeMap<Vec<StateKey>, usize>>,
}

impl Stormy {
    /// How many conflicts in a row a commit meets.
    const CONFLICTS: usize = 6;

    /// Whether a commit over these keys is to meet another conflict. If not, counts anew.
    fn strikes(&self, changes: &[Change]) -> bool {
        let mut conflicts = self.conflicts.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = changes.iter().map(|change| change.key).collect();
        let met = conflicts.entry(keys).or_default();
        *met = (*met + 1) % (Self::CONFLICTS + 1);
        *met != 0
    }
}

#[async_trait]
impl StateStore for Stormy {
    async fn load(&self, keys: &[StateKey]) -> Result<Loaded, BoxError> {
        self.store.load(keys).await
    }

    async fn commit(&self, changes: &[Change]) -> Result<Commit, BoxError> {
        if !self.strikes(changes) {
            return self.store.commit(changes).await;
        }
        // The conflict is the store's own, over a version that no row has.
        let mut changes = changes.to_vec();
        if let Some(last) = changes.last_mut() {
            last.expected = Expected::Version(Version::new(u64::MAX / 2));
        }
        self.store.commit(&changes).await
    }
}
