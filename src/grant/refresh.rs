//! Refresh tokens (RFC 6749 section 6): the engine's side of the [families](crate::state::family).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::client::{AuthenticatedClient, Grant};
use crate::grant::token_id::TokenIds;
use crate::grant::{Engine, Granted, answer, rules};
use crate::request::TokenRequest;
use crate::response::TokenResponse;
use crate::state::family::{Contention, Family, FamilyRule, Holder, Presented, SecretDigest, Step};
use crate::state::log_out::{self, LogOut};
use crate::state::revoked::{Revocations, family};
use crate::state::sessions::Sessions;
use crate::token::refresh::{FamilyId, RefreshKeys, RefreshToken, SECRET, TokenSecret};
use crate::user::{Accepted, AccountGate};
use crate::vocabulary::clock::Timestamp;
use crate::vocabulary::context::RequestContext;
use crate::vocabulary::error::{BoxError, Reason, RequestFault, TokenError, TokenFault, Trouble};
use crate::vocabulary::event::Event;
use crate::vocabulary::identifier::Subject;
use crate::vocabulary::random::Randomness;
use crate::vocabulary::report::Report;
use crate::vocabulary::scope::Scope;
use crate::vocabulary::secret::Secret;

/// Refresh tokens ([RFC 6749 section 6]), to be switched on by
/// [`Builder::refresh_tokens`](crate::Builder::refresh_tokens).
///
/// A login then also yields a refresh token if its client may use [`Grant::RefreshToken`] and the granted scope holds
/// `offline_access`. Each use yields another one; all that follow from one login are a family.
///
/// * A token that was used before ends its family, with the access tokens that are verified with
///   [`Revocations`](crate::Revocations): somebody else has it.
/// * Not so within the **retry window**: an answer that was lost is given again, with the same successor, so a family never
///   forks. A request that is delayed for longer than that cannot be told from theft.
/// * The [`AccountGate`] and the client's registration are asked again at each use.
/// * [`PasswordGrant::log_out_everywhere`](crate::PasswordGrant::log_out_everywhere) ends all families of a subject: call
///   it when a password was changed.
///
/// A store that loses what it had committed, as an asynchronous replica may when it takes over, logs clients out.
///
/// ```
/// use password_grant::{RefreshKeys, RefreshTokens};
/// use std::time::Duration;
/// # use password_grant::{async_trait, AccountGate, Admission, AuthenticatedClient, BoxError, RequestContext, Subject};
/// # struct Db;
/// # #[async_trait]
/// # impl AccountGate for Db {
/// #     async fn admit(&self, _: &Subject, _: &AuthenticatedClient, _: &RequestContext) -> Result<Admission, BoxError> {
/// #         Ok(Admission::admitted())
/// #     }
/// # }
/// # let (secret, db) = ([7; 32], Db);
///
/// let refresh = RefreshTokens::new(RefreshKeys::new(secret)?, db).idle_life(Duration::from_secs(7 * 86_400));
/// # Ok::<(), password_grant::KeyError>(())
/// ```
///
/// [RFC 6749 section 6]: https://www.rfc-editor.org/rfc/rfc6749#section-6
#[must_use]
pub struct RefreshTokens {
    keys: RefreshKeys,
    gate: Arc<dyn AccountGate>,
    window: Duration,
    repeats: u32,
    absolute_life: Duration,
    idle_life: Option<Duration>,
    sessions: usize,
    needed_scope: Option<Scope>,
}

/// The most that a family may live, since log-outs are remembered for as long.
const LONGEST_LIFE: Duration = Duration::from_secs(400 * 86_400);

impl RefreshTokens {
    /// With these keys, and with this gate: there is no default for who may go on after the password was checked.
    pub fn new(keys: RefreshKeys, gate: impl AccountGate) -> Self {
        Self {
            keys,
            gate: Arc::new(gate),
            window: Duration::from_secs(10),
            repeats: 8,
            absolute_life: Duration::from_secs(30 * 86_400),
            idle_life: None,
            sessions: 200,
            needed_scope: Some(Scope::offline_access()),
        }
    }

    /// For how long a token that was used yields the same successor again; zero turns that off, so that a lost answer logs
    /// its client out. At most ten minutes. Default 10 s.
    pub fn retry_window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// How often it does. Beyond that the answer is 503 until the window is over. Default 8.
    pub fn retries(mut self, repeats: u32) -> Self {
        self.repeats = repeats;
        self
    }

    /// How long after its login a family ends, however it is used. From a minute to 400 days. Default 30 days.
    pub fn absolute_life(mut self, life: Duration) -> Self {
        self.absolute_life = life;
        self
    }

    /// How long a family lives without being used. Unless set, only [`absolute_life`](Self::absolute_life) ends it.
    pub fn idle_life(mut self, life: Duration) -> Self {
        self.idle_life = Some(life);
        self
    }

    /// How many sessions a user may have through one client; another login ends the oldest. From 1 to 500. Default 200.
    pub fn sessions(mut self, most: usize) -> Self {
        self.sessions = most;
        self
    }

    /// The scope that must be granted for a refresh token to be issued. Default `offline_access`. The empty scope gives
    /// every login through a client with [`Grant::RefreshToken`] one.
    pub fn when_granted(mut self, scope: Scope) -> Self {
        self.needed_scope = Some(scope).filter(|scope| !scope.is_empty());
        self
    }

    /// What is wrong with the numbers.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let minute = Duration::from_secs(60);
        let rules = [
            (self.window <= 10 * minute, "the retry window must be ten minutes or less"),
            (
                (minute..=LONGEST_LIFE).contains(&self.absolute_life),
                "the absolute life must be between a minute and 400 days",
            ),
            (self.idle_life.is_none_or(|life| life >= minute), "the idle life must be a minute or more"),
            ((1..=Sessions::MOST).contains(&self.sessions), "a user may have from 1 to 500 sessions through a client"),
        ];
        rules.into_iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, problem)| Err(problem))
    }
}

impl fmt::Debug for RefreshTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshTokens")
            .field("keys", &self.keys)
            .field("window", &self.window)
            .field("absolute_life", &self.absolute_life)
            .field("idle_life", &self.idle_life)
            .finish_non_exhaustive()
    }
}

/// Families, and where they are remembered.
pub(crate) struct Families {
    pub(crate) config: RefreshTokens,
    pub(crate) revocations: Revocations,
    pub(crate) randomness: Arc<dyn Randomness>,
}

/// A refresh token, and the family that it belongs to.
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) token: Secret<'static>,
}

/// What became of a family that was to begin.
enum Creation {
    Begun,
    /// Its subject was logged out since the login began.
    LoggedOut,
    /// Another login of the same user was quicker: another family is to be replaced.
    Again,
}

/// A refresh token as it was presented.
struct Used {
    token: RefreshToken,
    /// The family's name, as access tokens have it.
    session_id: String,
    digest: SecretDigest,
    successors: Vec<TokenSecret>,
    digests: Vec<SecretDigest>,
}

/// Whether a step is only looked at, or also made.
#[derive(Clone, Copy)]
enum Intent<'a> {
    Look,
    /// The subject is known then. So long it may take, for the client to come again before the window is over.
    Take {
        subject: &'a str,
        patience: Duration,
    },
}

impl Intent<'_> {
    fn takes(self) -> bool {
        matches!(self, Self::Take { .. })
    }
}

impl Families {
    /// Whether a login through this client that asks for this scope may yield a refresh token.
    pub(crate) fn are_for(&self, client: &AuthenticatedClient, scope: &Scope) -> bool {
        let needed = self.config.needed_scope.as_ref();
        client.registration().may_use(Grant::RefreshToken) && needed.is_none_or(|needed| scope.includes(needed))
    }

    /// The longest that a refused client may be told to wait: long enough, and a retry comes too late for the window.
    pub(crate) fn longest_wait(&self) -> Duration {
        (self.config.window / 5).max(Duration::from_secs(1))
    }

    /// How long a token may take to be used up: half of the window, so that whoever is told 503 then, and comes again at
    /// once, is not taken for a thief if it had been used up all the same.
    fn patience(&self) -> Duration {
        if self.config.window.is_zero() { Duration::MAX } else { (self.config.window / 2).max(Duration::from_secs(1)) }
    }

    /// The number of the last log-out of anybody. To be had before the password is looked at.
    async fn last_log_out(&self) -> Result<u64, BoxError> {
        let key = [self.revocations.log_outs_key()];
        let last = self.revocations.memory.rows.change(&key, |rows, _| Ok(LogOut::read(rows, 0)?.number));
        last.await
    }

    async fn last_log_out_of(&self, subject: &Subject) -> Result<u64, BoxError> {
        let key = [self.revocations.subject_key(subject.as_str())];
        let last = self.revocations.memory.rows.change(&key, |rows, _| Ok(LogOut::read(rows, 0)?.number));
        last.await
    }

    /// Begins a family, in the place of the subject's oldest one through this client where there are too many, which is
    /// named then. `None` if the subject was logged out after `began_after`. A row that is there is never written over.
    async fn create(
        &self,
        holder: Holder,
        subject: &Subject,
        began_after: u64,
        granted: (Scope, Vec<String>),
        linger: Duration,
    ) -> Result<Option<(Session, Option<String>)>, BoxError> {
        let (id, secret) = self.random_token()?;
        let session_id = id.to_text();
        let list_key = self.revocations.sessions_key(&holder.tenant, &holder.client, subject.as_str());
        let (absolute, idle) = (millis(self.config.absolute_life), self.config.idle_life.map(millis));
        let (rows, most) = (&self.revocations.memory.rows, self.config.sessions);
        for _ in 0..Self::ROUNDS {
            let surplus = rows.change(&[list_key], |rows, _| Ok(Sessions::read(rows, 0)?.surplus(most))).await?;
            let replaced = surplus.map(|id| FamilyId(id).to_text());
            let mut keys = vec![
                self.revocations.family_key(&session_id),
                self.revocations.subject_key(subject.as_str()),
                list_key,
            ];
            keys.extend(replaced.as_deref().map(|family| self.revocations.family_key(family)));
            let create = rows.change(&keys, |rows, changes| {
                let now = rows.now.unix_millis();
                let list = Sessions::read(rows, 2)?;
                if LogOut::read(rows, 1)?.number > began_after {
                    return Ok(Creation::LoggedOut);
                }
                if list.surplus(most) != surplus {
                    return Ok(Creation::Again);
                }
                if rows.row(0).is_some() {
                    return Err("the random generator has repeated itself".into());
                }
                let ends = (now.saturating_add(absolute), idle.map(|idle| now.saturating_add(idle)));
                let (holder, subject, granted) = (holder.clone(), subject.to_string(), granted.clone());
                let family = Family::new(holder, subject, began_after, granted, secret.digest(), ends);
                let life = life(&family, now, linger);
                changes.put(0, family.to_bytes(), life);
                changes.rely_on(1);
                changes.put(2, list.with(id.0, most), life);
                if rows.row(3).is_some() {
                    changes.delete(3);
                }
                Ok(Creation::Begun)
            });
            match create.await? {
                Creation::Begun => {
                    let token =
                        self.config.keys.write(0, id, 0, &secret).ok_or("there is no key for refresh tokens")?;
                    return Ok(Some((Session { id: session_id, token }, replaced)));
                }
                Creation::LoggedOut => return Ok(None),
                Creation::Again => {}
            }
        }
        Err("too many logins of the same user at once".into())
    }

    /// A new family's name, and the secret of its first token.
    fn random_token(&self) -> Result<(FamilyId, TokenSecret), BoxError> {
        let mut bytes = Zeroizing::new([0; 16 + SECRET]);
        self.randomness.fill(&mut *bytes)?;
        let (id, secret) = bytes.split_first_chunk().ok_or("there are more bytes than that")?;
        Ok((FamilyId(*id), TokenSecret::new(secret.try_into()?)))
    }

    /// How often a login looks anew which session it replaces.
    const ROUNDS: usize = 100;

    /// What this text is, if it is a refresh token of ours.
    fn read(&self, text: &str) -> Option<Used> {
        let token = self.config.keys.read(text)?;
        let successors = self.config.keys.successors(&token);
        Some(Used {
            session_id: token.family.to_text(),
            digest: token.secret.digest(),
            digests: successors.iter().map(TokenSecret::digest).collect(),
            successors,
            token,
        })
    }

    /// What a token is good for, and the family as it is then. What shows that it was stolen is written down whatever the
    /// intent.
    async fn step(
        &self,
        used: &Used,
        holder: &Holder,
        (rotates, linger): (bool, Duration),
        intent: Intent<'_>,
    ) -> Result<(Step, Option<Family>), BoxError> {
        let rule = FamilyRule {
            window: millis(self.config.window),
            repeats: self.config.repeats,
            idle: self.config.idle_life.map(millis),
            rotates,
        };
        let presented = Presented { generation: used.token.generation, digest: used.digest, successors: &used.digests };
        self.change(&used.session_id, intent, |family, logged_out, now| {
            let before = family.clone();
            let step = family.use_token(presented, holder, logged_out, &rule, now);
            let writes = step == Step::Reused || intent.takes() && *family != before;
            (step, writes.then_some(linger))
        })
        .await
        .map(|seen| seen.map_or((Step::Refused(TokenFault::Unknown), None), |(step, family)| (step, Some(family))))
    }

    /// Changes the row of a family, over its subject's. The change says for how long beyond the family's end the row stays,
    /// where it is to be written.
    async fn change<T>(
        &self,
        session_id: &str,
        intent: Intent<'_>,
        change: impl Fn(&mut Family, u64, u64) -> (T, Option<Duration>),
    ) -> Result<Option<(T, Family)>, BoxError> {
        let family_key = self.revocations.family_key(session_id);
        let rows = &self.revocations.memory.rows;
        // A family never changes its subject, so it can be looked at for that first.
        let subject = match intent {
            Intent::Take { subject, .. } => Some(subject.to_owned()),
            Intent::Look => {
                rows.change(&[family_key], |rows, _| Ok(family(rows, 0)?.map(|family| family.subject))).await?
            }
        };
        let Some(subject) = subject else { return Ok(None) };
        let keys = [family_key, self.revocations.subject_key(&subject)];
        let patience = match intent {
            Intent::Take { patience, .. } => patience,
            Intent::Look => Duration::MAX,
        };
        let step = rows.change_within(patience, &keys, |rows, changes| {
            let Some(mut family) = family(rows, 0)? else { return Ok(None) };
            let (logged_out, now) = (LogOut::read(rows, 1)?.number, rows.now.unix_millis());
            let (output, linger) = change(&mut family, logged_out, now);
            if let Some(linger) = linger {
                changes.put(0, family.to_bytes(), life(&family, now, linger));
                changes.rely_on(1);
            }
            Ok(Some((output, family)))
        });
        step.await
    }

    /// The successor that was decided on, as a token.
    fn successor(&self, used: &Used, index: usize) -> Option<Secret<'static>> {
        let generation = used.token.generation.saturating_add(1);
        self.config.keys.write(index, used.token.family, generation, used.successors.get(index)?)
    }
}

/// How a token stands that was presented to be introspected or revoked.
pub(crate) struct Found {
    pub(crate) session_id: String,
    pub(crate) family: Family,
}

impl Families {
    /// The family of this token, if it is the current one and good; for introspection.
    pub(crate) async fn active(&self, text: &str) -> Result<Option<Found>, BoxError> {
        let Some(used) = self.read(text) else { return Ok(None) };
        let (generation, digest) = (used.token.generation, used.digest);
        let look = self.change(&used.session_id, Intent::Look, |family, logged_out, now| {
            let ended = family.end(logged_out).is_some() || family.has_expired(now);
            (!ended && family.is_current(generation, &digest), None)
        });
        let found = look.await?.filter(|(active, _)| *active);
        Ok(found.map(|(_, family)| Found { session_id: used.session_id, family }))
    }

    /// Revokes the family of this token, of whatever generation, if it is this holder's. `None` where there is nothing to
    /// revoke.
    pub(crate) async fn revoke(
        &self,
        text: &str,
        holder: &Holder,
        linger: Duration,
    ) -> Result<Option<(bool, Found)>, BoxError> {
        let Some(used) = self.read(text) else { return Ok(None) };
        let revoke = self.change(&used.session_id, Intent::Look, |family, _, now| {
            let own = family.holder == *holder;
            if own {
                family.revoke(now);
            }
            (own, own.then_some(linger))
        });
        Ok(revoke.await?.map(|(own, family)| (own, Found { session_id: used.session_id, family })))
    }

    pub(crate) fn gate(&self) -> &dyn AccountGate {
        &*self.config.gate
    }
}

/// Ends everything of a subject.
pub(crate) async fn log_out(revocations: &Revocations, subject: &Subject, now: Timestamp) -> Result<(), BoxError> {
    let keys = [revocations.log_outs_key(), revocations.subject_key(subject.as_str())];
    let now = now.unix_millis();
    revocations.memory.rows.change(&keys, |rows, changes| log_out::log_out(rows, changes, now)).await
}

/// Who holds the tokens of a client that authenticated in this context.
pub(crate) fn holder(client: &AuthenticatedClient, context: &RequestContext) -> Holder {
    Holder {
        tenant: context.tenant().unwrap_or_default().to_owned(),
        client: client.id().to_string(),
        binding: Vec::new(),
    }
}

/// A row outlives its family by as long as the family's access tokens do, which ask for it.
fn life(family: &Family, now: u64, linger: Duration) -> Duration {
    const MARGIN: Duration = Duration::from_secs(60);
    Duration::from_millis(family.absolute_expiry().saturating_sub(now)) + linger + MARGIN
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// The number of the last log-out when a login began, before its password was looked at.
#[derive(Clone, Copy)]
pub(crate) struct Beginning(u64);

impl Engine {
    /// Notes where log-outs stand, where there are sessions to be logged out of.
    pub(crate) async fn beginning(&self, report: Report<'_>) -> Result<Option<Beginning>, TokenError> {
        let Some(families) = &self.families else { return Ok(None) };
        let last = families.last_log_out().await;
        last.map(|last| Some(Beginning(last))).map_err(|cause| report.failed(Trouble::StateStore, &cause))
    }

    /// Begins a family for what was granted, if it is to have a refresh token. Whoever was logged out since the login began
    /// gets nothing: the password may have been the former one.
    pub(crate) async fn begin_session(
        &self,
        beginning: Option<Beginning>,
        granted: &Granted<'_>,
        report: Report<'_>,
    ) -> Result<Option<Session>, TokenError> {
        let (Some(Beginning(began_after)), Some(families)) = (beginning, &self.families) else { return Ok(None) };
        let Granted { client, scope, accepted, .. } = granted;
        let failed = |cause: BoxError| report.failed(Trouble::StateStore, &cause);
        let logged_out_meanwhile = || Err(report.refused(Trouble::LoggedOutMeanwhile));
        if !families.are_for(client, scope) {
            let last = families.last_log_out_of(&accepted.subject).await.map_err(failed)?;
            return if last > began_after { logged_out_meanwhile() } else { Ok(None) };
        }
        let holder = holder(client, report.context());
        let what = (scope.clone(), granted.audiences.to_vec());
        let created = families.create(holder, &accepted.subject, began_after, what, granted.lifetime).await;
        let Some((session, replaced)) = created.map_err(failed)? else { return logged_out_meanwhile() };
        if let Some(session_id) = replaced.as_deref() {
            let (client_id, subject, context) = (client.id(), &accepted.subject, report.context());
            report.tell(&Event::SessionReplaced { client_id, subject, session_id, context });
        }
        Ok(Some(session))
    }

    /// The refresh grant (RFC 6749 section 6). The token is looked at first, without using it up; it is used up last, once
    /// nothing else can say no or fail.
    pub(crate) async fn refresh(
        &self,
        families: &Families,
        request: &mut TokenRequest<'_>,
        client: &AuthenticatedClient,
        report: Report<'_>,
    ) -> Result<TokenResponse, TokenError> {
        let refused = |reason: Reason| report.refused(reason);
        let failed = |cause: BoxError| report.failed(Trouble::StateStore, &cause);
        let presented = request.refresh_token.take();
        let presented = presented.ok_or(RequestFault::RefreshTokenMissing).map_err(|fault| report.refused(fault))?;
        let lifetime = rules::lifetime_for(client, self.settings.access_token_lifetime).map_err(refused)?;

        let used = families.read(presented.expose()).ok_or_else(|| report.token(TokenFault::NotOurs, None))?;
        let (holder, treatment) = (holder(client, report.context()), (client.registration().rotates(), lifetime));
        let good = |(step, family): (Step, Option<Family>)| {
            let fault = |fault| Err(report.token(fault, Some(&used.session_id)));
            match (step, family) {
                (Step::Rotated | Step::Repeated(_) | Step::Kept, Some(family)) => Ok((step, family)),
                (Step::Refused(refusal), _) => fault(refusal),
                (Step::Reused, _) => fault(TokenFault::Reused),
                (Step::Busy(Contention::ForeignSuccessor), _) => Err(report.refused(Trouble::RefreshKeyMissing)),
                _ => Err(report.refused(Trouble::RefreshContended)),
            }
        };
        let looked_at = families.step(&used, &holder, treatment, Intent::Look).await.map_err(failed)?;
        let (_, family) = good(looked_at)?;

        let scope = rules::refreshed_scope(request, &family.scope, client, self.settings.scopes.as_ref());
        let scope = scope.map_err(refused)?;
        let audiences = rules::refreshed_audiences(request, &family.audiences, client).map_err(refused)?;
        let accepted = self.admit(families, &family.subject.as_str().into(), client, &used, report).await?;
        let scope = rules::final_scope(scope, &accepted).map_err(refused)?;
        rules::check_what_the_host_said(&accepted).map_err(refused)?;

        let granted = Granted { client, username: None, audiences: &audiences, lifetime, scope, accepted };
        let mut id = [0; TokenIds::LENGTH];
        let token_id = self.token_ids.next(&mut id);
        let access_token = self.make_token(&granted, token_id, Some(&used.session_id), report).await?;

        let taking = Intent::Take { subject: &family.subject, patience: families.patience() };
        let taken = families.step(&used, &holder, treatment, taking).await.map_err(failed)?;
        let token = match good(taken)?.0 {
            Step::Kept => Some(presented.into_owned()),
            Step::Repeated(index) => families.successor(&used, index),
            _ => families.successor(&used, 0),
        };
        let token = token.ok_or_else(|| report.refused(Trouble::RefreshKeyMissing))?;
        let session = Session { id: used.session_id, token };
        Ok(answer(granted, access_token, token_id, Some(session), report))
    }

    /// Asks the gate, as the login was asked.
    async fn admit(
        &self,
        families: &Families,
        subject: &Subject,
        client: &AuthenticatedClient,
        used: &Used,
        report: Report<'_>,
    ) -> Result<Accepted, TokenError> {
        let admission = families.gate().admit(subject, client, report.context()).await;
        let admission = admission.map_err(|cause| report.failed(Trouble::AccountGate, &cause))?;
        let accepted = admission.into_accepted(subject.clone());
        accepted.map_err(|rejection| report.token(TokenFault::Account(rejection), Some(&used.session_id)))
    }
}

/// When a family expires, in whole seconds since 1970.
pub(crate) fn expires_at(family: &Family) -> u64 {
    Timestamp::from_unix_millis(family.expires_at()).unix_seconds()
}
