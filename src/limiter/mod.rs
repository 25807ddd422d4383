//! Protection against guessing (RFC 6749 section 4.3.2): attempts are reserved before anything is
//! looked up for them, and settled once they have been judged.

mod account;
mod alarm;
mod bucket;
#[cfg(test)]
mod exploration;
mod limits;
mod reservation;
mod waiting;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::environment::{Environment, RandomnessError};
use crate::error::{BoxError, LimitKind, Reason, Rejection, ServerFault};
use crate::event::{self, Alarm, Event, EventKind, Observer};
pub use crate::limiter::account::AccountNames;
use crate::limiter::account::{folded, network, source};
use crate::limiter::alarm::Alarms;
use crate::limiter::bucket::{Bucket, KeyReservation};
pub use crate::limiter::limits::AttemptLimits;
use crate::limiter::reservation::{ChargedKey, Decision, Outcome, Rule, reserve};
use crate::limiter::waiting::Waiters;
use crate::refusal::{OrFault, Refusal};
use crate::state::key::Purpose;
use crate::state::transaction::{RowKey, State, Transaction};
use crate::state::{StateKey, StoreFull};
use crate::types::context::RequestContext;
use crate::types::identifier::ClientId;
use crate::user::Login;

/// Counts attempts, and says who has to wait.
pub(crate) struct AttemptLimiter {
    account: Rule,
    source: Rule,
    network: Rule,
    client: Rule,
    /// For how many milliseconds an origin is known.
    origin_memory: u64,
    names: Option<Arc<dyn AccountNames>>,
    state: Arc<State>,
    timeout: Duration,
    waiters: Waiters,
    alarms: Alarms,
    observer: Arc<dyn Observer>,
    /// The next bucket's epoch: random where the count began, so that no two processes give the same.
    epoch: AtomicU64,
}

/// What a reservation has charged, to be settled once the attempt has been judged. One that is dropped instead stays
/// what it is from the beginning: a failure.
#[must_use]
pub(crate) struct Reservation {
    charged: Vec<(LimitKind, BucketKey, KeyReservation)>,
    /// Where the attempt comes from, to be remembered if it is right.
    origins: Vec<BucketKey>,
    /// It is the only failure that its name has.
    first: bool,
}

type BucketKey = RowKey<Bucket>;

/// LimiterKeys attempts: who is counted, under which key. The account comes first, then origins, then addresses.
type LimiterKeys = Vec<(LimitKind, BucketKey)>;

enum Reserved {
    Admitted(Reservation),
    Denied { counted: LimitKind, wait: Duration },
    Contended { counted: LimitKind, key: BucketKey },
}

/// What has become of the buckets of an attempt that was settled.
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
            origin_memory: limits.origin_memory(),
            names,
            state,
            timeout: limits.max_timeout(),
            waiters: Waiters::default(),
            alarms: Alarms::new(limits.alarm_threshold()),
            observer: environment.observer.clone(),
            epoch: AtomicU64::new(u64::from_le_bytes(epoch)),
        })
    }

    /// Reserves an attempt, before anything is looked up or hashed for it. Waits, within bounds, while all that is in
    /// the way is other attempts that may yet turn out right.
    ///
    /// # Errors
    ///
    /// 429 when there were too many, 503 when that cannot be told.
    pub(crate) async fn reserve(&self, attempt: &Attempt<'_>) -> Result<Reservation, Refusal> {
        let keys = self.keys_of(attempt).await.or_fault(ServerFault::AccountNames)?;
        let denied =
            |counted, wait| Refusal::new(Reason::TooManyAttempts(counted)).retry_after(wait);
        let mut waiting = None;
        for round in 0.. {
            match self.try_to_reserve(&keys).await.or_fault(ServerFault::StateStore)? {
                Reserved::Admitted(reservation) => {
                    let counted = reservation
                        .charged
                        .first()
                        .map_or(LimitKind::Account, |(counted, ..)| *counted);
                    self.observe(&attempt.event(EventKind::AttemptAdmitted(counted)));
                    return Ok(reservation);
                }
                Reserved::Denied { counted, wait } => return Err(denied(counted, wait)),
                Reserved::Contended { counted, key } => {
                    let now = self.state.clock.now();
                    if waiting.is_none() {
                        self.observe(&attempt.event(EventKind::AttemptWaits(counted)));
                        let deadline = now.plus(self.timeout);
                        waiting = self.waiters.join(key.into()).map(|place| (place, deadline));
                    }
                    if waiting.as_ref().is_none_or(|(_, deadline)| *deadline <= now) {
                        return Err(denied(counted, Duration::from_secs(1)));
                    }
                    self.state
                        .pause(Duration::from_millis(10), round, Duration::from_millis(200))
                        .await;
                }
            }
        }
        Err(ServerFault::StateStore.into()) // not reached: the deadline comes first
    }

    /// Ends an attempt with what came of it.
    ///
    /// # Errors
    ///
    /// 503 when it cannot be written down. It then counts as a failure, whatever came of it.
    pub(crate) async fn settle(
        &self,
        reservation: Reservation,
        judged: Judged,
        attempt: &Attempt<'_>,
    ) -> Result<(), Refusal> {
        let Judged { outcome, user_found } = judged;
        let remembered: &[BucketKey] = match outcome {
            Outcome::Success if self.origin_memory > 0 => &reservation.origins,
            _ => &[],
        };
        let mut settled = self.try_to_settle(&reservation, outcome, remembered).await;
        if let Err(cause) = &settled
            && cause.is::<StoreFull>()
        {
            // There is no room to remember a new origin. The login is no less right for it.
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
        if let (Outcome::Failure, Some(counted)) = (outcome, settled.locked) {
            self.observe(
                &attempt.event(EventKind::AccountLocked(counted)).with_user_found(user_found),
            );
        }
        if outcome == Outcome::Failure && reservation.first {
            self.raise(Alarm::ManyAccounts, Some(attempt.client_id), attempt.context);
            self.raise(Alarm::ManyAccounts, None, attempt.context);
        }
        Ok(())
    }

    /// Whether this client may try to authenticate from here.
    ///
    /// # Errors
    ///
    /// 429 when there were too many failures, 503 when that cannot be told.
    pub(crate) async fn check_client(
        &self,
        claimed: &str,
        context: &RequestContext,
    ) -> Result<(), Refusal> {
        let Some(key) = self.client_key(claimed, context) else { return Ok(()) };
        let step = |tx: &mut Transaction<'_>| {
            let (Some(mut bucket), now) = (tx.get(key)?, tx.now().unix_millis()) else {
                return Ok(None);
            };
            if bucket.catch_up(&self.client, now) {
                write(tx, key, &bucket, &self.client)?;
            }
            Ok(bucket.wait(&self.client, now))
        };
        let wait = self.state.run(&[key.into()], step).await;
        match wait.or_fault(ServerFault::StateStore)? {
            Some(wait) => Err(Refusal::new(Reason::TooManyAttempts(LimitKind::Client))
                .of_client(&claimed.into())
                .retry_after(Duration::from_millis(wait))),
            None => Ok(()),
        }
    }

    /// Counts a failed authentication of a client.
    ///
    /// # Errors
    ///
    /// 503 when it cannot be written down.
    pub(crate) async fn client_failed(
        &self,
        claimed: &str,
        context: &RequestContext,
    ) -> Result<(), Refusal> {
        let Some(key) = self.client_key(claimed, context) else { return Ok(()) };
        let step = |tx: &mut Transaction<'_>| {
            let (mut bucket, now) = (self.bucket(tx, key)?, tx.now().unix_millis());
            let _ = bucket.catch_up(&self.client, now);
            let reserved = bucket.charge(&self.client, now);
            bucket.settle(reserved, Outcome::Failure, &self.client);
            write(tx, key, &bucket, &self.client)
        };
        self.state.run(&[key.into()], step).await.or_fault(ServerFault::StateStore)
    }

    /// Counts a wrong secret of a client that is registered, from wherever it comes: it can only raise an alarm.
    pub(crate) fn wrong_secret(&self, registered: &ClientId, context: &RequestContext) {
        self.raise(Alarm::ManySecrets, Some(registered), context);
    }

    pub(crate) async fn look(
        &self,
        on: LimitKey<'_>,
        context: &RequestContext,
    ) -> Result<Option<AttemptCount>, BoxError> {
        let Some((counted, key)) = self.key_of(on, context).await? else { return Ok(None) };
        let rule = self.rule(counted);
        let look = |tx: &Transaction<'_>| {
            let Some(mut bucket) = tx.get(key)? else { return Ok(AttemptCount::default()) };
            let now = tx.now().unix_millis();
            let _ = bucket.catch_up(rule, now);
            Ok(AttemptCount {
                failures: bucket.failures(),
                in_window: bucket.in_window(),
                locked: bucket.is_locked(),
                wait: bucket.wait(rule, now).map(Duration::from_millis),
            })
        };
        self.state.read(&[key.into()], look).await.map(Some)
    }

    pub(crate) async fn reset(
        &self,
        on: LimitKey<'_>,
        context: &RequestContext,
    ) -> Result<Option<LimitKind>, BoxError> {
        let Some((counted, key)) = self.key_of(on, context).await? else { return Ok(None) };
        self.state.run(&[key.into()], |tx| tx.delete(key)).await.map(|()| Some(counted))
    }

    async fn try_to_reserve(&self, limited: &LimiterKeys) -> Result<Reserved, BoxError> {
        let keys: Vec<StateKey> = limited.iter().map(|(_, key)| (*key).into()).collect();
        let step = |tx: &mut Transaction<'_>| {
            let now = tx.now().unix_millis();
            let mut known = known_origin(limited, tx)?;
            // A known origin is charged in the place of the account.
            let name = known
                .as_ref()
                .map(|(key, _)| *key)
                .or_else(|| limited.first().map(|(_, key)| *key));
            let is_charged = |(counted, key): &&(LimitKind, BucketKey)| match counted {
                LimitKind::Account | LimitKind::KnownOrigin => Some(*key) == name,
                LimitKind::Source | LimitKind::Network | LimitKind::Client => true,
            };
            let chosen: Vec<(LimitKind, BucketKey)> =
                limited.iter().filter(is_charged).copied().collect();
            let mut charged = Vec::with_capacity(chosen.len());
            for (counted, key) in &chosen {
                let bucket = match known.take_if(|(known, _)| known == key) {
                    Some((_, bucket)) => bucket,
                    None => self.bucket(tx, *key)?,
                };
                charged.push(ChargedKey::new(self.rule(*counted), bucket));
            }
            let decision = reserve(now, &mut charged);
            for ((_, key), ChargedKey { rule, bucket, set_back }) in chosen.iter().zip(&charged) {
                if *set_back || matches!(decision, Decision::Admitted(_)) {
                    write(tx, *key, bucket, rule)?;
                }
            }
            let counted =
                |bucket: usize| chosen.get(bucket).copied().ok_or("a decision about no bucket");
            match decision {
                Decision::Admitted(reserved) => {
                    let reserved = chosen
                        .iter()
                        .zip(reserved)
                        .map(|((counted, key), reserved)| (*counted, *key, reserved));
                    let origins =
                        limited.iter().filter(|(counted, _)| *counted == LimitKind::KnownOrigin);
                    Ok(Reserved::Admitted(Reservation {
                        charged: reserved.collect(),
                        origins: origins.map(|(_, key)| *key).collect(),
                        first: charged
                            .first()
                            .is_some_and(|charged| charged.bucket.failures() == 1),
                    }))
                }
                Decision::Denied { wait, bucket } => {
                    let (counted, _) = counted(bucket)?;
                    Ok(Reserved::Denied { counted, wait: Duration::from_millis(wait) })
                }
                Decision::Contended { bucket } => {
                    let (counted, key) = counted(bucket)?;
                    Ok(Reserved::Contended { counted, key })
                }
            }
        };
        self.state.run(&keys, step).await
    }

    async fn try_to_settle(
        &self,
        reservation: &Reservation,
        outcome: Outcome,
        remembered: &[BucketKey],
    ) -> Result<Settled, BoxError> {
        let is_charged =
            |key: &&BucketKey| reservation.charged.iter().any(|(_, charged, _)| charged == *key);
        let buckets = || {
            let charged = reservation
                .charged
                .iter()
                .map(|(counted, key, reserved)| (*counted, *key, Some(*reserved)));
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
            for (counted, key, reserved) in buckets() {
                let (rule, remember) = (self.rule(counted), remembered.contains(&key));
                let stored = tx.get(key)?;
                if stored.is_none() && !remember {
                    continue;
                }
                let (reserved, mut changed) = (reserved.filter(|_| stored.is_some()), remember);
                let mut bucket = stored.unwrap_or_else(|| self.new_bucket(now));
                if let Some(reserved) = reserved {
                    // A row in which others are counted too keeps what they have done.
                    let shared_success = outcome == Outcome::Success && tx.is_shared(key)?;
                    let outcome = if shared_success { Outcome::Inconclusive } else { outcome };
                    changed |= bucket.settle(reserved, outcome, rule);
                }
                if remember {
                    settled.new_origin |= !bucket.is_known(now);
                    bucket.know(now, self.origin_memory);
                }
                if bucket.is_locked() {
                    settled.locked = Some(counted);
                }
                if changed {
                    write(tx, key, &bucket, rule)?;
                }
            }
            Ok(settled)
        };
        self.state.run(&keys, step).await
    }

    /// Under which keys an attempt on this name is counted.
    async fn keys_of(&self, attempt: &Attempt<'_>) -> Result<LimiterKeys, BoxError> {
        let Attempt { username, client_id, context } = *attempt;
        let named = match &self.names {
            Some(names) => names.account(username, context).await?.into(),
            None => folded(username),
        };
        let (account, peer) = (self.account_key(&named, context), context.peer());
        let mut keys = Vec::with_capacity(4);
        keys.push((LimitKind::Account, account));
        if self.origin_memory > 0 {
            let origins = self.origin_keys(&named, client_id.as_str(), context);
            keys.extend(origins.into_iter().flatten().map(|key| (LimitKind::KnownOrigin, key)));
        }
        if let Some(peer) = peer {
            keys.push((LimitKind::Source, self.state.keys.row(Purpose::Source, &[&source(peer)])));
            let network =
                network(peer).map(|network| self.state.keys.row(Purpose::Network, &[&network]));
            keys.extend(network.map(|key| (LimitKind::Network, key)));
        }
        Ok(keys)
    }

    fn account_key(&self, named: &str, context: &RequestContext) -> BucketKey {
        self.state.keys.row(Purpose::Account, &[tenant(context), named.as_bytes()])
    }

    /// What the host knows the caller by comes first, then the address.
    fn origin_keys(
        &self,
        named: &str,
        client_id: &str,
        context: &RequestContext,
    ) -> [Option<BucketKey>; 2] {
        let key = |kind: &[u8], origin: &[u8]| {
            let parts = [tenant(context), named.as_bytes(), client_id.as_bytes(), kind, origin];
            self.state.keys.row(Purpose::Origin, &parts)
        };
        [
            context.device().map(|device| key(b"host", device.as_bytes())),
            context.peer().map(|peer| key(b"address", &source(peer))),
        ]
    }

    /// None without an address: a count of the client alone would let everybody lock it out.
    ///
    /// Identifiers are taken together into a few groups an address, or names thought up by one caller would fill the
    /// memory. Whoever can spoil a group could as well have spoilt the client's own count.
    fn client_key(&self, claimed: &str, context: &RequestContext) -> Option<BucketKey> {
        let peer = source(context.peer()?);
        let group = self
            .state
            .keys
            .key(Purpose::ClientAtSource, &[tenant(context), claimed.as_bytes()])
            .group();
        Some(self.state.keys.row(Purpose::ClientAtSource, &[&[group], &peer]))
    }

    async fn key_of(
        &self,
        on: LimitKey<'_>,
        context: &RequestContext,
    ) -> Result<Option<(LimitKind, BucketKey)>, BoxError> {
        let named = match (on, &self.names) {
            (
                LimitKey::Account { username } | LimitKey::KnownOrigin { username, .. },
                Some(names),
            ) => names.account(username, context).await?,
            (LimitKey::Account { username } | LimitKey::KnownOrigin { username, .. }, None) => {
                folded(username).into_owned()
            }
            _ => String::new(),
        };
        let peer = context.peer();
        Ok(match on {
            LimitKey::Account { .. } => {
                Some((LimitKind::Account, self.account_key(&named, context)))
            }
            LimitKey::KnownOrigin { client_id, .. } => {
                let key = self.origin_keys(&named, client_id, context).into_iter().flatten().next();
                key.map(|key| (LimitKind::KnownOrigin, key))
            }
            LimitKey::Source => peer.map(|peer| {
                (LimitKind::Source, self.state.keys.row(Purpose::Source, &[&source(peer)]))
            }),
            LimitKey::Network => {
                let network = peer.and_then(network);
                network.map(|network| {
                    (LimitKind::Network, self.state.keys.row(Purpose::Network, &[&network]))
                })
            }
            LimitKey::Client { client_id } => {
                self.client_key(client_id, context).map(|key| (LimitKind::Client, key))
            }
        })
    }

    fn rule(&self, counted: LimitKind) -> &Rule {
        match counted {
            LimitKind::Account | LimitKind::KnownOrigin => &self.account,
            LimitKind::Source => &self.source,
            LimitKind::Network => &self.network,
            LimitKind::Client => &self.client,
        }
    }

    /// The bucket that is stored; a new one where there is none.
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

/// Which of these is an origin from where the owner of the name has logged in before, and what is counted there.
fn known_origin(
    limited: &LimiterKeys,
    tx: &Transaction<'_>,
) -> Result<Option<(BucketKey, Bucket)>, BoxError> {
    for (_, key) in limited.iter().filter(|(counted, _)| *counted == LimitKind::KnownOrigin) {
        if let Some(bucket) = tx.get(*key)?.filter(|bucket| bucket.is_known(tx.now().unix_millis()))
        {
            return Ok(Some((*key, bucket)));
        }
    }
    Ok(None)
}

fn tenant(context: &RequestContext) -> &[u8] {
    context.tenant().unwrap_or_default().as_bytes()
}

/// A bucket that says nothing any more needs no row.
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

/// LimiterKeys attempts are meant, for [`PasswordGrant::attempts`](crate::PasswordGrant::attempts) and
/// [`reset_attempts`](crate::PasswordGrant::reset_attempts). Tenant, address and origin are those of the context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LimitKey<'a> {
    /// On a user name, from wherever it is not known.
    Account {
        /// The name, in any of its spellings.
        username: &'a str,
    },
    /// On a user name, from the context's origin, or else its address.
    KnownOrigin {
        /// The name, in any of its spellings.
        username: &'a str,
        /// Through which client.
        client_id: &'a str,
    },
    /// From the context's address.
    Source,
    /// From the IPv6 network of the context's address.
    Network,
    /// Failed authentications of a client from the context's address.
    Client {
        /// Which client.
        client_id: &'a str,
    },
}

/// What is counted at the moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AttemptCount {
    /// Failures in a row, and attempts that are being judged. Only of accounts and origins.
    pub failures: u32,
    /// Failures in this window and the one before it, and attempts that are being judged.
    pub in_window: u32,
    /// Whether there were so many in a row that none is admitted for a whole window.
    pub locked: bool,
    /// How long until the next attempt is admitted, where it is not at once.
    pub wait: Option<Duration>,
}

/// A login attempt, as far as the limiter is concerned with it.
pub(crate) struct Attempt<'a> {
    pub(crate) username: &'a str,
    pub(crate) client_id: &'a ClientId,
    pub(crate) context: &'a RequestContext,
}

impl<'a> Attempt<'a> {
    pub(crate) fn event(&self, kind: EventKind) -> Event<'a> {
        Event::in_context(kind, self.context)
            .with_client(self.client_id)
            .with_username(self.username)
    }
}

/// What came of an attempt.
#[derive(Clone, Copy)]
pub(crate) struct Judged {
    outcome: Outcome,
    /// The user name is that of an account.
    user_found: bool,
}

/// How a login counts. A further step is asked for only behind the right password. The reason of a rejection makes no
/// difference: a disabled user's right password costs what a wrong one does, or it could be told from the count.
pub(crate) fn judged(login: &Result<Login, Refusal>) -> Judged {
    match login {
        Ok(login) => match login.rejection() {
            Some(rejection) => Judged {
                outcome: Outcome::Failure,
                user_found: rejection != Rejection::UnknownUser,
            },
            None => Judged { outcome: Outcome::Success, user_found: true },
        },
        Err(_) => Judged { outcome: Outcome::Inconclusive, user_found: false },
    }
}
