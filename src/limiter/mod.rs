//! The attempt limiter: protection against password guessing (RFC 6749 section 4.3.2).
//!
//! An attempt is reserved, that is counted as a failure, before anything is looked up for it. It is
//! settled once it has been judged. `reservation.rs` makes the decision as a pure function; this
//! file adds the keys, the transactions and the events.

mod account;
mod admin;
mod alarm;
mod attempt;
mod bucket;
mod client;
#[cfg(test)]
mod exploration;
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
pub use crate::limiter::admin::AttemptCount;
use crate::limiter::alarm::Alarms;
pub(crate) use crate::limiter::attempt::{Attempt, Judged, judged};
use crate::limiter::bucket::{Bucket, KeyReservation};
pub use crate::limiter::keys::LimitKey;
use crate::limiter::keys::{BucketKey, LimiterKeys};
pub use crate::limiter::limits::AttemptLimits;
use crate::limiter::reservation::{ChargedBucket, Decision, reserve};
use crate::limiter::rule::{AttemptOutcome, Rule};
use crate::limiter::waiting::Waiters;
use crate::refusal::{OrFault, Refusal};
use crate::state::transaction::{State, Transaction};
use crate::state::{StateKey, StoreFull};
use crate::types::context::RequestContext;
use crate::types::identifier::ClientId;

/// Counts login attempts and failed client authentications, and denies those over their limit.
pub(crate) struct AttemptLimiter {
    account: Rule,
    source: Rule,
    network: Rule,
    client: Rule,
    /// How long an origin stays known after a login from it, in milliseconds.
    known_origin_ttl: u64,
    names: Option<Arc<dyn AccountNames>>,
    state: Arc<State>,
    timeout: Duration,
    waiters: Waiters,
    alarms: Alarms,
    observer: Arc<dyn Observer>,
    /// The epoch of the next new bucket. It starts at a random number, so that two processes do not
    /// give the same epochs.
    epoch: AtomicU64,
}

/// An attempt that is counted, until it is settled. A reservation that is dropped stays counted as
/// a failure.
#[must_use]
pub(crate) struct Reservation {
    charged: Vec<((LimitKind, BucketKey), KeyReservation)>,
    /// The origins of the attempt, which become known if it succeeds.
    origins: Vec<BucketKey>,
    /// The attempt is the only failure that is counted in a row on its account key, or on the known
    /// origin that was charged in its place.
    is_only_failure: bool,
}

enum Reserved {
    Admitted(Reservation),
    Denied { kind: LimitKind, wait: Duration },
    Contended { kind: LimitKind, key: BucketKey },
}

/// What changed in the buckets of an attempt when it was settled.
#[derive(Default)]
struct Settled {
    locked: Option<LimitKind>,
    new_origin: bool,
}

impl AttemptLimiter {
    pub(crate) fn new(
        limits: &AttemptLimits,
        names: Option<Arc<dyn AccountNames>>,
        state: Arc<State>,
        environment: &Environment,
    ) -> Result<Self, RandomnessError> {
        let mut epoch = [0; 8];
        environment.randomness.fill(&mut epoch)?;
        Ok(Self {
            account: limits.account_rule(),
            source: limits.source_rule(),
            network: limits.network_rule(),
            client: limits.client_rule(),
            known_origin_ttl: limits.known_origin_ttl(),
            names,
            state,
            timeout: limits.max_timeout(),
            waiters: Waiters::default(),
            alarms: Alarms::new(limits.alarm_threshold()),
            observer: environment.observer.clone(),
            epoch: AtomicU64::new(u64::from_le_bytes(epoch)),
        })
    }

    /// Reserves an attempt. Call it before anything is looked up or hashed for the attempt.
    ///
    /// If only open attempts stand in the way, which may still succeed, it waits for them, up to
    /// the timeout and to a bounded number of waiting attempts.
    ///
    /// # Errors
    ///
    /// 429 if there were too many attempts, 503 if the state store or the host's [`AccountNames`]
    /// fails.
    pub(crate) async fn reserve(&self, attempt: &Attempt<'_>) -> Result<Reservation, Refusal> {
        let keys = self.keys_of(attempt).await.or_fault(ServerFault::AccountNames)?;
        let denied = |kind, wait| Refusal::new(Reason::TooManyAttempts(kind)).retry_after(wait);
        let mut waiting = None;
        let mut round = 0;
        loop {
            match self.try_to_reserve(&keys).await.or_fault(ServerFault::StateStore)? {
                Reserved::Admitted(reservation) => {
                    let first = reservation.charged.first();
                    let kind = first.map_or(LimitKind::Account, |((kind, _), _)| *kind);
                    self.observe(&attempt.event(EventKind::AttemptAdmitted(kind)));
                    return Ok(reservation);
                }
                Reserved::Denied { kind, wait } => return Err(denied(kind, wait)),
                Reserved::Contended { kind, key } => {
                    let now = self.state.clock.now();
                    if waiting.is_none() {
                        self.observe(&attempt.event(EventKind::AttemptWaits(kind)));
                        let deadline = now.plus(self.timeout);
                        waiting = self.waiters.join(key.into()).map(|place| (place, deadline));
                    }
                    if waiting.as_ref().is_none_or(|(_, deadline)| *deadline <= now) {
                        return Err(denied(kind, Duration::from_secs(1)));
                    }
                    self.state
                        .pause(Duration::from_millis(10), round, Duration::from_millis(200))
                        .await;
                    round += 1;
                }
            }
        }
    }

    /// Settles an attempt with its outcome.
    ///
    /// # Errors
    ///
    /// 503 if the state store fails. The attempt then counts as a failure, whatever its outcome
    /// was.
    pub(crate) async fn settle(
        &self,
        reservation: Reservation,
        judged: Judged,
        attempt: &Attempt<'_>,
    ) -> Result<(), Refusal> {
        let Judged { outcome, user_found } = judged;
        let remembered: &[BucketKey] = match outcome {
            AttemptOutcome::Success if self.known_origin_ttl > 0 => &reservation.origins,
            _ => &[],
        };
        let mut settled = self.try_to_settle(&reservation, outcome, remembered).await;
        if let Err(cause) = &settled
            && cause.is::<StoreFull>()
        {
            // The store has no room for a new origin. The login still succeeds, so settle without
            // it.
            self.observe(
                &attempt
                    .event(EventKind::ServerFault(ServerFault::StateStore))
                    .with_cause(&**cause),
            );
            settled = self.try_to_settle(&reservation, outcome, &[]).await;
        }
        let settled = settled.or_fault(ServerFault::StateStore)?;
        if settled.new_origin {
            self.observe(&attempt.event(EventKind::NewOrigin));
        }
        if let (AttemptOutcome::Failure, Some(kind)) = (outcome, settled.locked) {
            self.observe(
                &attempt.event(EventKind::AccountLocked(kind)).with_user_found(user_found),
            );
        }
        if outcome == AttemptOutcome::Failure && reservation.is_only_failure {
            self.raise(Alarm::ManyAccounts, Some(attempt.client_id), attempt.context);
            self.raise(Alarm::ManyAccounts, None, attempt.context);
        }
        Ok(())
    }

    async fn try_to_reserve(&self, limited: &LimiterKeys) -> Result<Reserved, BoxError> {
        let keys: Vec<StateKey> = limited.iter().map(|(_, key)| (*key).into()).collect();
        let step = |tx: &mut Transaction<'_>| {
            let mut charged = self.buckets_for(limited, tx)?;
            let decision = reserve(tx.now().unix_millis(), &mut charged);
            for ChargedBucket { key: (_, key), rule, bucket, set_back } in &charged {
                if *set_back || matches!(decision, Decision::Admitted(_)) {
                    write(tx, *key, bucket, rule)?;
                }
            }
            Ok(match decision {
                Decision::Admitted(reserved) => Reserved::Admitted(Reservation {
                    charged: reserved,
                    origins: origins(limited).collect(),
                    is_only_failure: charged
                        .first()
                        .is_some_and(|first| first.bucket.failures() == 1),
                }),
                Decision::Denied { wait, key: (kind, _) } => {
                    Reserved::Denied { kind, wait: Duration::from_millis(wait) }
                }
                Decision::Contended { key: (kind, key) } => Reserved::Contended { kind, key },
            })
        };
        self.state.run(&keys, step).await
    }

    /// The buckets that an attempt is charged to. A known origin is charged instead of the account.
    fn buckets_for(
        &self,
        limited: &LimiterKeys,
        tx: &Transaction<'_>,
    ) -> Result<Vec<ChargedBucket<'_, (LimitKind, BucketKey)>>, BoxError> {
        let mut known = known_origin(limited, tx)?;
        let name = match &known {
            Some((key, _)) => Some(*key),
            None => limited.first().map(|(_, key)| *key),
        };
        let mut charged = Vec::with_capacity(limited.len());
        for (kind, key) in limited {
            let is_charged = match kind {
                LimitKind::Account | LimitKind::KnownOrigin => Some(*key) == name,
                LimitKind::Source | LimitKind::Network | LimitKind::Client => true,
            };
            if is_charged {
                let bucket = match known.take_if(|(known, _)| known == key) {
                    Some((_, bucket)) => bucket,
                    None => self.bucket(tx, *key)?,
                };
                charged.push(ChargedBucket::new((*kind, *key), self.rule(*kind), bucket));
            }
        }
        Ok(charged)
    }

    async fn try_to_settle(
        &self,
        reservation: &Reservation,
        outcome: AttemptOutcome,
        remembered: &[BucketKey],
    ) -> Result<Settled, BoxError> {
        let is_charged =
            |key: &&BucketKey| reservation.charged.iter().any(|((_, charged), _)| charged == *key);
        let buckets = || {
            let charged = reservation
                .charged
                .iter()
                .map(|((kind, key), reserved)| (*kind, *key, Some(*reserved)));
            let new = remembered
                .iter()
                .filter(|key| !is_charged(key))
                .map(|key| (LimitKind::KnownOrigin, *key, None));
            charged.chain(new)
        };
        let keys: Vec<StateKey> = buckets().map(|(_, key, _)| key.into()).collect();
        let step = |tx: &mut Transaction<'_>| {
            let now = tx.now().unix_millis();
            let mut settled = Settled::default();
            for (kind, key, reserved) in buckets() {
                let (rule, remember) = (self.rule(kind), remembered.contains(&key));
                let stored = tx.get(key)?;
                if stored.is_none() && !remember {
                    continue;
                }
                let (reserved, mut changed) = (reserved.filter(|_| stored.is_some()), remember);
                let mut bucket = stored.unwrap_or_else(|| self.new_bucket(now));
                if let Some(reserved) = reserved {
                    // A success must not clear the failures of other keys that are counted in the
                    // same row.
                    let shared_success = outcome == AttemptOutcome::Success && tx.is_shared(key)?;
                    let outcome =
                        if shared_success { AttemptOutcome::Inconclusive } else { outcome };
                    changed |= bucket.settle(reserved, outcome, rule);
                }
                if remember {
                    settled.new_origin |= !bucket.is_known(now);
                    bucket.know(now, self.known_origin_ttl);
                }
                if bucket.is_locked() {
                    settled.locked = Some(kind);
                }
                if changed {
                    write(tx, key, &bucket, rule)?;
                }
            }
            Ok(settled)
        };
        self.state.run(&keys, step).await
    }

    fn rule(&self, kind: LimitKind) -> &Rule {
        match kind {
            LimitKind::Account | LimitKind::KnownOrigin => &self.account,
            LimitKind::Source => &self.source,
            LimitKind::Network => &self.network,
            LimitKind::Client => &self.client,
        }
    }

    /// The stored bucket, or a new one if there is none.
    fn bucket(&self, tx: &Transaction<'_>, key: BucketKey) -> Result<Bucket, BoxError> {
        Ok(tx.get(key)?.unwrap_or_else(|| self.new_bucket(tx.now().unix_millis())))
    }

    fn new_bucket(&self, now: u64) -> Bucket {
        Bucket::new(self.epoch.fetch_add(1, Ordering::Relaxed), now)
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

/// The keys of the attempt's origins.
fn origins(limited: &LimiterKeys) -> impl Iterator<Item = BucketKey> {
    let origins = limited.iter().filter(|(kind, _)| *kind == LimitKind::KnownOrigin);
    origins.map(|(_, key)| *key)
}

/// The first of the attempt's origins that is known, with its bucket.
fn known_origin(
    limited: &LimiterKeys,
    tx: &Transaction<'_>,
) -> Result<Option<(BucketKey, Bucket)>, BoxError> {
    for key in origins(limited) {
        if let Some(bucket) = tx.get(key)?.filter(|bucket| bucket.is_known(tx.now().unix_millis()))
        {
            return Ok(Some((key, bucket)));
        }
    }
    Ok(None)
}

/// Stores a bucket, or deletes its row if the bucket no longer holds anything.
fn write(
    tx: &mut Transaction<'_>,
    key: BucketKey,
    bucket: &Bucket,
    rule: &Rule,
) -> Result<(), BoxError> {
    match bucket.ttl(rule, tx.now().unix_millis()) {
        Some(life) => tx.put(key, bucket, Duration::from_millis(life)),
        None => tx.delete(key),
    }
}
