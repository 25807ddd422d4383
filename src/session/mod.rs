//! Sessions over the rows that remember them.

mod config;
pub(crate) mod epoch;
pub(crate) mod index;
mod revocations;
pub(crate) mod rotation;
pub(crate) mod token;

use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::client::{AuthenticatedClient, Grant};
use crate::environment::SecureRandom;
use crate::error::{BoxError, TokenFault};
pub use crate::session::config::RefreshTokens;
pub use crate::session::revocations::Revocations;
use crate::session::rotation::{Holder, Presented, SecretDigest, Session, SessionRule, Step};
pub use crate::session::token::RefreshKeys;
use crate::session::token::{RawSessionId, RefreshToken, SECRET, TokenSecret};
use crate::state::StateKey;
use crate::state::transaction::Transaction;
use crate::time::{Clock, Timestamp};
use crate::types::context::RequestContext;
use crate::types::identifier::{SessionId, Subject};
use crate::types::scope::Scope;
use crate::types::secret::Secret;
use crate::user::AccountGate;

/// Sessions, and where they are remembered.
pub(crate) struct Sessions {
    pub(crate) config: RefreshTokens,
    pub(crate) revocations: Revocations,
    pub(crate) randomness: Arc<dyn SecureRandom>,
}

/// A refresh token, and the family that it belongs to.
pub(crate) struct IssuedSession {
    pub(crate) id: SessionId,
    pub(crate) token: Secret<'static>,
}

/// What became of a family that was to begin.
enum Creation {
    /// In the place of another one that was there, or not.
    Begun { replaces: bool },
    /// Its subject was logged out since the login began.
    LoggedOut,
    /// The list has another oldest session than was assumed, or none that has to go: to be tried again with its key.
    Replaces(Option<[u8; 16]>),
}

/// A family that is to begin: its name, and the secret of its first token.
pub(crate) struct NewSession {
    id: RawSessionId,
    secret: TokenSecret,
    pub(crate) session_id: SessionId,
}

/// A refresh token as it was presented.
pub(super) struct Used {
    token: RefreshToken,
    /// The family's name, as access tokens have it.
    pub(super) session_id: SessionId,
    digest: SecretDigest,
    successors: Vec<TokenSecret>,
    digests: Vec<SecretDigest>,
}

/// Whether a step is only looked at, or also made.
#[derive(Clone, Copy)]
pub(super) enum Intent<'a> {
    Look,
    /// The subject is known then. So long it may take, for the client to come again before the window is over.
    Take {
        subject: &'a str,
        timeout: Duration,
    },
}

impl Intent<'_> {
    fn takes(self) -> bool {
        matches!(self, Self::Take { .. })
    }
}

impl Sessions {
    /// Whether a login through this client that asks for this scope may yield a refresh token.
    pub(crate) fn are_for(&self, client: &AuthenticatedClient, scope: &Scope) -> bool {
        let needed = self.config.required_scope.as_ref();
        client.registration().may_use(Grant::RefreshToken)
            && needed.is_none_or(|needed| scope.includes(needed))
    }

    /// The longest that a refused client may be told to wait: long enough, and a retry comes too late for the window.
    pub(crate) fn longest_wait(&self) -> Duration {
        (self.config.window / 5).max(Duration::from_secs(1))
    }

    /// How long a token may take to be used up: half of the window, or a second, so that whoever is told 503 then, and comes
    /// again at once, is not taken for a thief if it had been used up all the same.
    pub(super) fn timeout(&self) -> Duration {
        if self.config.window.is_zero() {
            Duration::MAX
        } else {
            (self.config.window / 2).max(Duration::from_secs(1))
        }
    }

    /// Begins a family, in the place of the subject's oldest one through this client where there are too many, which is
    /// named then. `None` if the subject is found logged out after `epoch`. A row that is there is never written over.
    pub(super) async fn create(
        &self,
        NewSession { id, secret, session_id }: NewSession,
        holder: Holder,
        subject: &Subject,
        epoch: u64,
        granted: (Scope, Vec<String>),
        access_token_lifetime: Duration,
    ) -> Result<Option<(IssuedSession, Option<SessionId>)>, BoxError> {
        let list_key =
            self.revocations.sessions_key(&holder.tenant, &holder.client, subject.as_str());
        let (absolute, idle) =
            (millis(self.config.absolute_lifetime), self.config.idle_lifetime.map(millis));
        let family_key = self.revocations.family_key(&session_id);
        let subject_key = self.revocations.epoch_keys(subject.as_str()).own;
        let (state, most) = (&self.revocations.state, self.config.sessions);
        // Mostly there is none to be replaced. Where there is, the first round tells which.
        let mut surplus = None;
        for round in 0..Self::ROUNDS {
            if round > 1 {
                state.pause(Duration::from_millis(1), round, Duration::from_millis(50)).await;
            }
            let replaced = surplus.map(|id| RawSessionId(id).to_session_id());
            let replaced_key =
                replaced.as_ref().map(|replaced| self.revocations.family_key(replaced));
            let mut keys = vec![family_key.into(), subject_key.into(), list_key.into()];
            keys.extend(replaced_key.map(StateKey::from));
            let create = |tx: &mut Transaction<'_>| {
                let now = tx.now().unix_millis();
                let mut list = tx.get(list_key)?.unwrap_or_default();
                if tx.get(subject_key)?.unwrap_or_default().number > epoch {
                    return Ok(Creation::LoggedOut);
                }
                if list.surplus(most) != surplus {
                    return Ok(Creation::Replaces(list.surplus(most)));
                }
                if tx.contains(family_key)? {
                    return Err("the random generator has repeated itself".into());
                }
                let ends =
                    (now.saturating_add(absolute), idle.map(|idle| now.saturating_add(idle)));
                let (holder, subject, granted) =
                    (holder.clone(), subject.to_string(), granted.clone());
                let family = Session::new(holder, subject, epoch, granted, secret.digest(), ends);
                list.add(id.0, most);
                tx.put(family_key, &family, ttl(&family, now, access_token_lifetime))?;
                tx.put(list_key, &list, self.index_ttl(access_token_lifetime))?;
                let replaces = replaced_key.map_or(Ok(false), |key| tx.contains(key))?;
                replaced_key.map_or(Ok(()), |key| tx.delete(key))?;
                Ok(Creation::Begun { replaces })
            };
            match state.run(&keys, create).await? {
                Creation::Begun { replaces } => {
                    let token = self
                        .config
                        .keys
                        .write(0, id, 0, &secret)
                        .ok_or("there is no key for refresh tokens")?;
                    return Ok(Some((
                        IssuedSession { id: session_id, token },
                        replaced.filter(|_| replaces),
                    )));
                }
                Creation::LoggedOut => return Ok(None),
                Creation::Replaces(oldest) => surplus = oldest,
            }
        }
        Err("too many logins of the same user at once".into())
    }

    /// Nothing is written yet.
    pub(super) fn new_session(&self) -> Result<NewSession, BoxError> {
        let mut bytes = Zeroizing::new([0; 16 + SECRET]);
        self.randomness.fill(&mut *bytes)?;
        let (id, secret) = bytes.split_first_chunk().ok_or("there are more bytes than that")?;
        let id = RawSessionId(*id);
        Ok(NewSession {
            id,
            secret: TokenSecret::new(secret.try_into()?),
            session_id: id.to_session_id(),
        })
    }

    /// A list lives as long as a session that begins now. Sessions that end sooner are in it all the same.
    fn index_ttl(&self, access_token_lifetime: Duration) -> Duration {
        self.config.absolute_lifetime.saturating_add(access_token_lifetime).saturating_add(MARGIN)
    }

    /// How often a login looks anew which session it replaces.
    const ROUNDS: u32 = 100;

    /// What this text is, if it is a refresh token of ours.
    pub(super) fn read(&self, text: &str) -> Option<Used> {
        let token = self.config.keys.read(text)?;
        let successors = self.config.keys.successors(&token);
        Some(Used {
            session_id: token.family.to_session_id(),
            digest: token.secret.digest(),
            digests: successors.iter().map(TokenSecret::digest).collect(),
            successors,
            token,
        })
    }

    /// What a token is good for, and the family as it is then. What shows that it was stolen is written down whatever the
    /// intent.
    pub(super) async fn step(
        &self,
        used: &Used,
        holder: &Holder,
        (rotates, access_token_lifetime): (bool, Duration),
        intent: Intent<'_>,
    ) -> Result<(Step, Option<Session>), BoxError> {
        let rule = SessionRule {
            window: millis(self.config.window),
            repeats: self.config.repeats,
            idle: self.config.idle_lifetime.map(millis),
            rotates,
        };
        let presented = Presented {
            generation: used.token.generation,
            digest: used.digest,
            successors: &used.digests,
        };
        let seen = self
            .change(&used.session_id, intent, |family, logged_out, now| {
                let before = family.clone();
                let step = family.use_token(presented, holder, logged_out, &rule, now);
                let writes = step == Step::Reused || intent.takes() && *family != before;
                (step, writes.then_some(access_token_lifetime))
            })
            .await
            .map(|seen| {
                seen.map_or((Step::Refused(TokenFault::Unknown), None), |(step, family)| {
                    (step, Some(family))
                })
            })?;
        if seen.0 == Step::Reused {
            self.end(&used.session_id, None).await?; // which takes it from the list of sessions too
        }
        Ok(seen)
    }

    /// Changes a family's row, and reads its subject's last log-out. The change says for how long beyond the family's end the row stays,
    /// where it is to be written.
    async fn change<T>(
        &self,
        session_id: &SessionId,
        intent: Intent<'_>,
        change: impl Fn(&mut Session, u64, u64) -> (T, Option<Duration>),
    ) -> Result<Option<(T, Session)>, BoxError> {
        let family_key = self.revocations.family_key(session_id);
        // A family never changes its subject, so it can be looked at for that first.
        let (subject, timeout) = match intent {
            Intent::Take { subject, timeout } => (subject.to_owned(), timeout),
            Intent::Look => match self.family(session_id).await? {
                Some(family) => (family.subject, Duration::MAX),
                None => return Ok(None),
            },
        };
        let subject_key = self.revocations.epoch_keys(&subject).own;
        let step = |tx: &mut Transaction<'_>| {
            let Some(mut family) = tx.get(family_key)? else { return Ok(None) };
            let (logged_out, now) =
                (tx.get(subject_key)?.unwrap_or_default().number, tx.now().unix_millis());
            let (output, access_token_lifetime) = change(&mut family, logged_out, now);
            if let Some(access_token_lifetime) = access_token_lifetime {
                tx.put(family_key, &family, ttl(&family, now, access_token_lifetime))?;
            }
            Ok(Some((output, family)))
        };
        self.revocations
            .state
            .run_within(timeout, &[family_key.into(), subject_key.into()], step)
            .await
    }

    /// The successor that was decided on, as a token.
    pub(super) fn successor(&self, used: &Used, index: usize) -> Option<Secret<'static>> {
        let generation = used.token.generation.saturating_add(1);
        self.config.keys.write(index, used.token.family, generation, used.successors.get(index)?)
    }
}

/// How a token stands that was presented to be introspected or revoked.
pub(crate) struct Found {
    pub(crate) session_id: SessionId,
    pub(crate) family: Session,
}

impl Sessions {
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

    /// Ends the family of this token, of whatever generation, if it is this holder's. `None` where there is nothing to
    /// revoke.
    pub(crate) async fn revoke(
        &self,
        text: &str,
        holder: &Holder,
    ) -> Result<Option<(bool, Found)>, BoxError> {
        let Some(token) = self.config.keys.read(text) else { return Ok(None) };
        let session_id = token.family.to_session_id();
        let ended = self.end(&session_id, Some(holder)).await?;
        Ok(ended.map(|(own, family)| (own, Found { session_id, family })))
    }

    /// Ends a family, if it is this holder's where one is named, and takes it from the list of sessions. `None` where there
    /// is none.
    pub(crate) async fn end(
        &self,
        session_id: &SessionId,
        holder: Option<&Holder>,
    ) -> Result<Option<(bool, Session)>, BoxError> {
        let Some(known) = self.family(session_id).await? else { return Ok(None) };
        let Session { holder: Holder { tenant, client, .. }, subject, .. } = &known;
        let list_key = self.revocations.sessions_key(tenant, client, subject);
        let family_key = self.revocations.family_key(session_id);
        let step = |tx: &mut Transaction<'_>| {
            let (Some(mut family), now) = (tx.get(family_key)?, tx.now().unix_millis()) else {
                return Ok(None);
            };
            let own = holder.is_none_or(|holder| family.holder == *holder);
            if own {
                family.revoke(now);
                // Once the row is gone its tokens are unknown, so it need not outlive the family.
                tx.put(family_key, &family, ttl(&family, now, Duration::ZERO))?;
                // A list that cannot be read keeps nobody from ending a session.
                if let (Ok(Some(mut list)), Some(id)) =
                    (tx.get(list_key), RawSessionId::from_text(session_id.as_str()))
                    && list.remove(id.0)
                {
                    tx.put(list_key, &list, self.index_ttl(Duration::ZERO))?;
                }
            }
            Ok(Some((own, family)))
        };
        self.revocations.state.run(&[family_key.into(), list_key.into()], step).await
    }

    async fn family(&self, session_id: &SessionId) -> Result<Option<Session>, BoxError> {
        self.revocations.state.get(self.revocations.family_key(session_id)).await
    }

    pub(crate) fn gate(&self) -> &dyn AccountGate {
        &*self.config.gate
    }
}

/// Ends everything of a subject. Dated once more when that is done: an access token that a login got in between was dated
/// before then.
pub(crate) async fn log_out(
    revocations: &Revocations,
    subject: &Subject,
    clock: &dyn Clock,
) -> Result<(), BoxError> {
    let keys = revocations.epoch_keys(subject.as_str());
    let (state, now) = (&revocations.state, clock.now().unix_millis());
    state.run(&keys.both(), |tx| epoch::log_out(tx, keys, now)).await?;
    let now = clock.now().unix_millis();
    state.run(&keys.both(), |tx| epoch::date(tx, keys, now)).await
}

/// Who holds the tokens of a client that authenticated in this context.
pub(crate) fn holder(client: &AuthenticatedClient, context: &RequestContext) -> Holder {
    Holder {
        tenant: context.tenant().unwrap_or_default().to_owned(),
        client: client.id().to_string(),
        binding: Vec::new(),
    }
}

/// As much as clocks may be apart.
const MARGIN: Duration = Duration::from_secs(60);

/// A row outlives its family by as long as the family's access tokens do, which ask for it.
fn ttl(family: &Session, now: u64, access_token_lifetime: Duration) -> Duration {
    let left = Duration::from_millis(family.absolute_expiry().saturating_sub(now));
    left.saturating_add(access_token_lifetime).saturating_add(MARGIN)
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// When a family expires, in whole seconds since 1970.
pub(crate) fn expires_at(family: &Session) -> u64 {
    Timestamp::from_unix_millis(family.expires_at()).unix_seconds()
}
