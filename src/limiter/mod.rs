//! The attempt limiter: protection against password guessing (RFC 6749 section 4.3.2).
//!
//! An attempt is reserved, that is counted as a failure, before anything is looked up for it. It is
//! settled once it has been judged. `reservation.rs` makes the decision as a pure function over one
//! row for each account (`account_row.rs`) and one for each address and network (`failures.rs`).
//! `keys.rs` names the rows, `waiting.rs` queues attempts that may yet be admitted, `client.rs`
//! limits client authentication, `admin.rs` and `alarm.rs` serve administrators. This file runs the
//! transactions and reports the events.

mod account;
mod account_row;
mod admin;
mod alarm;
mod attempt;
mod bucket;
mod client;
#[cfg(test)]
mod exploration;
mod failures;
mod keys;
mod limits;
mod reservation;
mod rule;
mod waiting;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::environment::{Environment, RandomnessError};
use crate::error::{BoxError, LimitKind, Reason, ServerFault};
use crate::event::{self, Alarm, Event, EventKind, Observer};
pub use crate::limiter::account::AccountNames;
use crate::limiter::account_row::{AccountRow, ChargedTo, Origin};
pub use crate::limiter::admin::AttemptCount;
use crate::limiter::alarm::Alarms;
pub(crate) use crate::limiter::attempt::{Attempt, Judged, judged};
use crate::limiter::bucket::{Bucket, KeyReservation};
pub(crate) use crate::limiter::client::ClaimedClient;
use crate::limiter::failures::{FailureWindows, WindowRule};
use crate::limiter::keys::AttemptKeys;
pub use crate::limiter::keys::LimitKey;
pub use crate::limiter::limits::AttemptLimits;
use crate::limiter::reservation::{ChargedBucket, Decision, Place, reserve};
use crate::limiter::rule::Rule;
use crate::limiter::waiting::{WaitedFor, Waiters, Waiting};
use crate::refusal::{OrFault, Refusal};
use crate::session::epoch::{LogOuts, SubjectDigest};
use crate::state::StateKey;
use crate::state::transaction::{Backend, HeldRows, NEVER_DISPLACED, RowKey, State, Transaction};
use crate::types::context::RequestContext;
use crate::types::identifier::{ClientId, Subject};
use crate::user::PasswordUse;

/// Counts login attempts and failed client authentications, and denies those over their limit.
pub(crate) struct AttemptLimiter {
    account: Rule,
    /// The rule for a row that several names share, since the state has no room for one of each.
    shared_account: Rule,
    source: WindowRule,
    network: WindowRule,
    client: WindowRule,
    client_network: WindowRule,
    /// How long an origin stays known after a login from it, in milliseconds.
    known_origin_ttl: u64,
    names: Option<Arc<dyn AccountNames>>,
    log_outs: LogOuts,
    state: Arc<State>,
    timeout: Duration,
    waiters: Waiters,
    alarms: Alarms,
    observer: Arc<dyn Observer>,
    /// The generation of the next new bucket. It starts at a random number, so that two processes do
    /// not give the same.
    next_generation: AtomicU64,
}

/// An attempt that is counted until it is settled. It is dropped unsettled if its request was
/// dropped, if the host's code panicked, or if the store failed to settle it; then `abandon` settles
/// it if it can.
#[must_use]
pub(crate) struct Reservation<'a> {
    limiter: &'a AttemptLimiter,
    attempt: Attempt<'a>,
    keys: AttemptKeys,
    charge: Charge,
    /// Whether the password has been looked at.
    password_use: &'a PasswordUse,
    is_settled: bool,
}

/// The count that a reservation was charged to, and the state that was read with it.
struct Charge {
    /// The row of the account, or one that it shares with others.
    row: RowKey<AccountRow>,
    is_shared: bool,
    to: ChargedTo,
    reserved: KeyReservation,
    /// The number of the last log-out everywhere, of any subject, when the attempt was reserved.
    login_epoch: u64,
    /// The attempt is the only failure that is counted in a row.
    is_only_failure: bool,
}

/// The row of an account as a step reads it, and the count that an attempt is charged to.
struct ToCharge {
    stored_at: RowKey<AccountRow>,
    is_shared: bool,
    row: AccountRow,
    to: ChargedTo,
    /// As in [`Charge`].
    login_epoch: u64,
}

/// An address or a network that may deny an attempt, and the key of its row.
type PlaceAgainst = (RowKey<FailureWindows>, Place<LimitKind>);

/// The result of one round of [`AttemptLimiter::reserve`].
enum Reserved {
    Admitted(Charge),
    Denied {
        kind: LimitKind,
        wait: Duration,
    },
    /// Other attempts on this count stand in the way, and may still succeed.
    Contended(WaitedFor),
    /// Somebody was logged out everywhere since the user logged in from this origin. The subject's
    /// own row tells whether it was the user.
    NeedsSubject(SubjectDigest),
}

/// What changed in the account's row when an attempt was settled.
#[derive(Default)]
pub(crate) struct Settled {
    locked: Option<LimitKind>,
    new_origin: bool,
}

impl AttemptLimiter {
    pub(crate) fn new(
        limits: &AttemptLimits,
        names: Option<Arc<dyn AccountNames>>,
        log_outs: LogOuts,
        state: Arc<State>,
        environment: &Environment,
    ) -> Result<Self, RandomnessError> {
        let mut first_generation = [0; 8];
        environment.randomness.fill(&mut first_generation)?;
        let account = limits.account_rule();
        Ok(Self {
            shared_account: account.of_shared_row(),
            account,
            source: limits.source_rule(),
            network: limits.network_rule(),
            client: limits.client_rule(),
            client_network: limits.client_network_rule(),
            known_origin_ttl: limits.known_origin_ttl(),
            names,
            log_outs,
            state,
            timeout: limits.max_timeout(),
            waiters: Waiters::default(),
            alarms: Alarms::new(limits.alarm_threshold()),
            observer: environment.observer.clone(),
            next_generation: AtomicU64::new(u64::from_le_bytes(first_generation)),
        })
    }

    fn rows_to_reserve(&self, keys: &AttemptKeys, subject: Option<SubjectDigest>) -> Vec<StateKey> {
        let mut rows: Vec<StateKey> = Vec::with_capacity(5);
        rows.extend(keys.all());
        rows.push(self.log_outs.last().into());
        rows.extend(subject.map(|subject| StateKey::from(self.log_outs.of(subject))));
        rows
    }

    /// Reserves an attempt. Call it before anything is looked up or hashed for the attempt.
    ///
    /// If only open attempts stand in the way, which may still succeed, it waits for them in the
    /// order of arrival, up to the timeout and to a bounded number of waiting attempts.
    ///
    /// # Errors
    ///
    /// 429 if there were too many attempts, 503 if the state store or the host's [`AccountNames`]
    /// fails.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped while a shared store commits, the attempt may stay counted as a
    /// failure.
    pub(crate) async fn reserve<'a>(
        &'a self,
        attempt: Attempt<'a>,
        password_use: &'a PasswordUse,
        held: &mut HeldRows,
    ) -> Result<Reservation<'a>, Refusal> {
        let keys = self.keys_of(&attempt).await.or_fault(ServerFault::AccountNames)?;
        let denied = |kind, wait| Refusal::new(Reason::TooManyAttempts(kind)).retry_after(wait);
        let mut waiting: Option<Waiting<'_>> = None;
        let deadline = self.state.clock.now().plus(self.timeout);
        let mut round = 0;
        loop {
            let reserved = self.try_to_reserve(&keys, waiting.as_ref(), held).await;
            let contended = match reserved.or_fault(ServerFault::StateStore)? {
                Reserved::Admitted(charge) => {
                    self.observe(&attempt.event(EventKind::AttemptAdmitted(kind_of(charge.to))));
                    return Ok(Reservation {
                        limiter: self,
                        attempt,
                        keys,
                        charge,
                        password_use,
                        is_settled: false,
                    });
                }
                Reserved::Denied { kind, wait } => return Err(denied(kind, wait)),
                Reserved::Contended(count) => count,
                // Never twice in a row: see `try_to_reserve`.
                Reserved::NeedsSubject(_) => return Err(ServerFault::StateStore.into()),
            };
            let busy = || denied(kind_of(contended.1), Self::BUSY);
            // Once the origin of the attempt has become known, it waits for the origin's count, and
            // whoever waits for the account's is called.
            let joined = match waiting.filter(|waiting| waiting.is_for(&contended)) {
                Some(waiting) => waiting,
                None => {
                    self.observe(&attempt.event(EventKind::AttemptWaits(kind_of(contended.1))));
                    self.waiters.join(contended, attempt.context.peer()).ok_or_else(busy)?
                }
            };
            let pause = self.state.jitter(Self::PAUSE, round, Self::LONGEST_PAUSE);
            if !joined.turn(&*self.state.clock, pause, deadline).await {
                return Err(busy());
            }
            waiting = Some(joined);
            round += 1;
            // What was read before the wait is out of date, also the subject's last log-out.
            *held = HeldRows::default();
        }
    }

    /// `Retry-After` of an attempt that has waited in vain for others.
    const BUSY: Duration = Duration::from_secs(1);
    /// The first pause after which the first of the waiting attempts tries again uncalled. It
    /// doubles up to the longest.
    const PAUSE: Duration = Duration::from_millis(10);
    const LONGEST_PAUSE: Duration = Duration::from_secs(1);

    async fn try_to_reserve(
        &self,
        keys: &AttemptKeys,
        waiting: Option<&Waiting<'_>>,
        held: &mut HeldRows,
    ) -> Result<Reserved, BoxError> {
        let mut subject = None;
        loop {
            let rows = self.rows_to_reserve(keys, subject);
            let step = |tx: &mut Transaction<'_>| self.reserve_in(tx, keys, subject, waiting);
            let account = keys.account.into();
            match self.state.run_in_turn(held, account, &rows, step).await? {
                Reserved::NeedsSubject(needed) if subject.is_none() => subject = Some(needed),
                reserved => return Ok(reserved),
            }
        }
    }

    fn reserve_in(
        &self,
        tx: &mut Transaction<'_>,
        keys: &AttemptKeys,
        subject: Option<SubjectDigest>,
        waiting: Option<&Waiting<'_>>,
    ) -> Result<Reserved, BoxError> {
        let ToCharge { stored_at, is_shared, mut row, to, login_epoch } =
            match self.to_charge(tx, keys, subject)? {
                Ok(to_charge) => to_charge,
                Err(needed) => return Ok(Reserved::NeedsSubject(needed)),
            };
        let (now, rule) = (tx.now().unix_millis(), self.account_rule(is_shared));
        let bucket = row.take_bucket(to).unwrap_or_else(|| self.new_bucket(now));
        let mut bucket = ChargedBucket::new(kind_of(to), rule, bucket);
        let mut places = self.places_against(tx, keys, to)?;
        let count = (stored_at.into(), to);
        let is_in_turn = waiting.is_some_and(|waiting| waiting.is_for(&count));
        let must_queue = !is_in_turn && self.waiters.any(&count);
        let each_place = places.iter_mut().flatten().map(|(_, place)| place);
        let decision = reserve(now, &mut bucket, each_place, must_queue);
        for (key, place) in places.iter().flatten().filter(|(_, place)| place.set_back) {
            write_failures(tx, *key, &place.failures, &place.rule)?;
        }
        let is_only_failure = bucket.bucket.failures(rule) == 1;
        if bucket.set_back || matches!(decision, Decision::Admitted(_)) {
            row.set_bucket(to, bucket.bucket);
            write_account(tx, keys.account, row, rule)?;
        }
        Ok(match decision {
            Decision::Denied { wait, by: kind } => {
                Reserved::Denied { kind, wait: Duration::from_millis(wait) }
            }
            Decision::Contended => Reserved::Contended(count),
            Decision::Admitted(reserved) => Reserved::Admitted(Charge {
                row: stored_at,
                is_shared,
                to,
                reserved,
                login_epoch,
                is_only_failure,
            }),
        })
    }

    /// The row of an attempt's account, and which of its counts the attempt is charged to: that of
    /// its origin, if the origin is known and its user was not logged out everywhere since. The
    /// inner error is the user whose last log-out has to be read to tell.
    fn to_charge(
        &self,
        tx: &Transaction<'_>,
        keys: &AttemptKeys,
        subject: Option<SubjectDigest>,
    ) -> Result<Result<ToCharge, SubjectDigest>, BoxError> {
        let login_epoch = tx.get(self.log_outs.last())?.unwrap_or_default().number;
        let stored_at = tx.stored_at(keys.account)?;
        let is_shared = stored_at != keys.account;
        let mut row = tx.get(keys.account)?.unwrap_or_default();
        let known = row.known(&keys.origins, tx.now().unix_millis()).filter(|_| !is_shared);
        let to = match known {
            None => ChargedTo::Account,
            Some(origin) if login_epoch <= origin.login_epoch => ChargedTo::Origin(origin.digest),
            Some(origin) if subject.is_none() => return Ok(Err(origin.subject)),
            // Another user's row was read: the origin has changed hands meanwhile.
            Some(origin) if subject != Some(origin.subject) => ChargedTo::Account,
            Some(origin) => {
                let own = ChargedTo::Origin(origin.digest);
                let logged_out = tx.get(self.log_outs.of(origin.subject))?.unwrap_or_default();
                if logged_out.number <= origin.login_epoch {
                    own
                } else {
                    row.reset(own);
                    ChargedTo::Account
                }
            }
        };
        Ok(Ok(ToCharge { stored_at, is_shared, row, to, login_epoch }))
    }

    /// The failures of the places that may deny an attempt. Nothing but its own count stands in the
    /// way of an attempt from a known origin.
    fn places_against(
        &self,
        tx: &Transaction<'_>,
        keys: &AttemptKeys,
        to: ChargedTo,
    ) -> Result<[Option<PlaceAgainst>; 2], BoxError> {
        let mut places = [None, None];
        if to == ChargedTo::Account {
            for (place, own) in places.iter_mut().zip(keys.places()) {
                let failures = self.failures(tx, own.key)?;
                *place = Some((own.key, Place::new(own.kind, own.rule, failures)));
            }
        }
        Ok(places)
    }

    /// Settles an attempt with its outcome.
    ///
    /// # Errors
    ///
    /// 503 if the state store fails. The attempt then counts as a failure, whatever its outcome
    /// was.
    pub(crate) async fn settle(
        &self,
        reservation: Reservation<'_>,
        judged: &Judged,
        held: &mut HeldRows,
    ) -> Result<(), Refusal> {
        let rows = reservation.rows_to_settle(judged);
        let step = |tx: &mut Transaction<'_>| self.settle_in(tx, &reservation, judged);
        let account = reservation.account_row();
        let settled = self.state.run_in_turn(held, account, &rows, step).await;
        let settled = settled.or_fault(ServerFault::StateStore)?;
        self.settled(reservation, judged, &settled);
        Ok(())
    }

    /// Settles an attempt within a transaction over its
    /// [`rows_to_settle`](Reservation::rows_to_settle). Once it is committed, call
    /// [`settled`](Self::settled).
    pub(crate) fn settle_in(
        &self,
        tx: &mut Transaction<'_>,
        reservation: &Reservation<'_>,
        judged: &Judged,
    ) -> Result<Settled, BoxError> {
        let Reservation { keys, charge, .. } = reservation;
        let Charge { row: key, is_shared, to, reserved, .. } = charge;
        let mut settled = Settled::default();
        let now = tx.now().unix_millis();
        let rule = self.account_rule(*is_shared);
        // If the row was displaced meanwhile, what stands in its place is that of other names.
        let is_there = tx.stored_at(*key)? == *key;
        let mut row = tx.get(*key)?.filter(|_| is_there).unwrap_or_default();
        let mut changed = false;
        if let Some(mut bucket) = row.take_bucket(*to) {
            changed |= bucket.settle(*reserved, judged.outcome(), rule);
            settled.locked = bucket.is_locked().then_some(kind_of(*to));
            row.set_bucket(*to, bucket);
        }
        if let Judged::Accepted(subject) = judged
            && is_there
            && !is_shared
        {
            settled.new_origin = self.remember_origins(&mut row, reservation, subject, now);
            changed |= keys.origins.iter().any(Option::is_some);
        }
        if changed {
            write_account(tx, *key, row, rule)?;
        }
        if judged.is_failure() && reservation.counts_places() {
            keys.places().try_for_each(|place| self.count_failure(tx, place.key, &place.rule))?;
        }
        Ok(settled)
    }

    /// Makes the origins of an accepted login known. Returns whether one of them is new.
    fn remember_origins(
        &self,
        row: &mut AccountRow,
        reservation: &Reservation<'_>,
        subject: &Subject,
        now: u64,
    ) -> bool {
        let subject = self.log_outs.digest(subject.as_str());
        let login_epoch = reservation.login_epoch();
        let known_until = now.saturating_add(self.known_origin_ttl);
        let mut is_new = false;
        for digest in reservation.keys.origins.into_iter().flatten() {
            is_new |= row.remember(Origin::new(digest, subject, login_epoch, known_until), now);
        }
        is_new
    }

    /// Reports what came of an attempt that was settled, and calls whoever waits for it.
    pub(crate) fn settled(
        &self,
        mut reservation: Reservation<'_>,
        judged: &Judged,
        settled: &Settled,
    ) {
        reservation.is_settled = true;
        self.waiters.call(&reservation.waited_for());
        if settled.new_origin {
            self.observe(&reservation.attempt.event(EventKind::NewOrigin));
        }
        if let Judged::Failed { user_found } = judged {
            self.report_failure(&reservation, settled, *user_found);
        }
    }

    /// Reports what an attempt that failed has locked, and counts it for the alarms.
    fn report_failure(&self, reservation: &Reservation<'_>, settled: &Settled, user_found: bool) {
        let attempt = reservation.attempt;
        if let Some(kind) = settled.locked {
            let locked = attempt.event(EventKind::AccountLocked(kind));
            self.observe(&locked.with_user_found(user_found));
        }
        if reservation.charge.is_only_failure {
            self.raise(Alarm::ManyAccounts, Some(attempt.client.id()), attempt.context);
            self.raise(Alarm::ManyAccounts, None, attempt.context);
        }
    }

    /// Settles an attempt that was dropped unsettled: as not judged if no password was looked at,
    /// otherwise as a failure. Over a shared store, which a drop cannot wait for, the attempt stays
    /// counted as a failure, unless a commit whose answer was lost has settled it.
    fn abandon(&self, reservation: &Reservation<'_>) {
        let is_looked_at = !reservation.password_use.withdraw();
        let mut settled = Settled::default();
        if let Backend::Local(state) = &self.state.backend {
            let judged = match is_looked_at {
                true => Judged::Failed { user_found: false },
                false => Judged::Inconclusive,
            };
            let rows = reservation.rows_to_settle(&judged);
            let settle = |tx: &mut Transaction<'_>| self.settle_in(tx, reservation, &judged);
            // If it fails, the attempt stays counted.
            settled = state.run(&rows, settle).unwrap_or_default();
            self.waiters.call(&reservation.waited_for());
        }
        if is_looked_at || !self.state.is_local() {
            self.observe(&reservation.attempt.event(EventKind::AttemptAbandoned));
            self.report_failure(reservation, &settled, false);
        }
    }

    fn account_rule(&self, is_shared: bool) -> &Rule {
        if is_shared { &self.shared_account } else { &self.account }
    }

    fn new_bucket(&self, now: u64) -> Bucket {
        Bucket::new(self.next_generation.fetch_add(1, Ordering::Relaxed), now)
    }

    /// The stored failures, or none.
    fn failures(
        &self,
        tx: &Transaction<'_>,
        key: RowKey<FailureWindows>,
    ) -> Result<FailureWindows, BoxError> {
        Ok(tx.get(key)?.unwrap_or_else(|| FailureWindows::new(tx.now().unix_millis())))
    }

    fn count_failure(
        &self,
        tx: &mut Transaction<'_>,
        key: RowKey<FailureWindows>,
        rule: &WindowRule,
    ) -> Result<(), BoxError> {
        let mut failures = self.failures(tx, key)?;
        let _ = failures.catch_up(rule, tx.now().unix_millis());
        failures.fail();
        write_failures(tx, key, &failures, rule)
    }

    fn raise(&self, alarm: Alarm, client_id: Option<&ClientId>, context: &RequestContext) {
        if let Some(failures) = self.alarms.count(alarm, client_id, self.state.clock.now()) {
            self.observe(&Event {
                client_id,
                ..Event::in_context(EventKind::Alarm { alarm, failures }, context)
            });
        }
    }

    fn observe(&self, event: &Event<'_>) {
        event::observe(&*self.observer, event);
    }
}

impl Reservation<'_> {
    /// The number of the last log-out everywhere, of any subject, when the attempt was reserved.
    pub(crate) fn login_epoch(&self) -> u64 {
        self.charge.login_epoch
    }

    /// The key of the account's row, which other attempts on the name write too.
    pub(crate) fn account_row(&self) -> StateKey {
        self.charge.row.into()
    }

    /// The keys of the rows that settling reads and writes. A failure is counted where it came
    /// from too, unless that is a known origin.
    pub(crate) fn rows_to_settle(&self, judged: &Judged) -> Vec<StateKey> {
        let mut rows = vec![self.charge.row.into()];
        if judged.is_failure() && self.counts_places() {
            rows.extend(self.keys.places().map(|place| StateKey::from(place.key)));
        }
        rows
    }

    fn counts_places(&self) -> bool {
        self.charge.to == ChargedTo::Account
    }

    fn waited_for(&self) -> WaitedFor {
        (self.charge.row.into(), self.charge.to)
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if !self.is_settled {
            self.limiter.abandon(self);
        }
    }
}

fn kind_of(charged: ChargedTo) -> LimitKind {
    match charged {
        ChargedTo::Account => LimitKind::Account,
        ChargedTo::Origin(_) => LimitKind::KnownOrigin,
    }
}

/// Stores the row of an account, or deletes it if it no longer holds anything.
fn write_account(
    tx: &mut Transaction<'_>,
    key: RowKey<AccountRow>,
    mut row: AccountRow,
    rule: &Rule,
) -> Result<(), BoxError> {
    match row.tidy(rule, tx.now().unix_millis()) {
        Some(ttl) => tx.put_weighed(key, &row, Duration::from_millis(ttl), row.weight(rule)),
        None => tx.delete(key),
    }
}

/// Stores a count of failures, or deletes its row if it holds none.
fn write_failures(
    tx: &mut Transaction<'_>,
    key: RowKey<FailureWindows>,
    failures: &FailureWindows,
    rule: &WindowRule,
) -> Result<(), BoxError> {
    let weight = u8::try_from(failures.failures()).unwrap_or(u8::MAX).min(NEVER_DISPLACED - 1);
    match failures.ttl(rule, tx.now().unix_millis()) {
        Some(ttl) => tx.put_weighed(key, failures, Duration::from_millis(ttl), weight),
        None => tx.delete(key),
    }
}
