//! Sessions (refresh tokens, RFC 6749 section 6) over the rows that store them. A session is all
//! refresh and access tokens that follow from one login.
//!
//! `rotation.rs` decides what a refresh token is good for, `token.rs` defines its format,
//! `epoch.rs` logs a subject out everywhere, `revoked_tokens.rs` remembers access tokens that were
//! revoked one by one, and `revocations.rs` answers for access tokens.

mod config;
pub(crate) mod epoch;
pub(crate) mod index;
mod revocations;
mod revoked_tokens;
pub(crate) mod rotation;
pub(crate) mod token;

use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::client::{AuthenticatedClient, Grant};
use crate::environment::SecureRandom;
use crate::error::{BoxError, TokenFault};
pub use crate::session::config::RefreshTokens;
use crate::session::epoch::SubjectEpoch;
use crate::session::index::SessionIndex;
pub(crate) use crate::session::revocations::Revocation;
pub use crate::session::revocations::Revocations;
use crate::session::rotation::{Holder, Presented, SecretDigest, Session, SessionRule, Step};
pub use crate::session::token::RefreshKeys;
use crate::session::token::{RawSessionId, RefreshToken, SECRET, TokenSecret};
use crate::state::StateKey;
use crate::state::transaction::{HeldRows, RowKey, Transaction};
use crate::time::{Clock, DEPLOYMENT_SKEW, Timestamp, millis};
use crate::types::context::RequestContext;
use crate::types::identifier::{SessionId, Subject};
use crate::types::scope::Scope;
use crate::types::secret::Secret;
use crate::user::AccountGate;

/// Creates, refreshes and ends sessions. Present if the host has switched refresh tokens on.
pub(crate) struct Sessions {
    pub(crate) config: RefreshTokens,
    pub(crate) revocations: Revocations,
    pub(crate) randomness: Arc<dyn SecureRandom>,
}

/// A refresh token to be sent, and the session that it belongs to.
pub(crate) struct IssuedSession {
    pub(crate) id: SessionId,
    pub(crate) token: Secret<'static>,
}

/// What a session is created for: the client and what it was granted.
pub(crate) struct SessionGrant<'a> {
    pub(crate) holder: Holder,
    pub(crate) subject: &'a Subject,
    /// The number of the last log-out everywhere, of any subject, when the login began.
    pub(crate) epoch: u64,
    pub(crate) scope: Scope,
    pub(crate) audiences: Vec<String>,
    pub(crate) access_token_lifetime: Duration,
}

/// The result of creating a session.
pub(crate) enum Created {
    Session {
        issued: IssuedSession,
        /// The session that was ended for it.
        replaced: Option<SessionId>,
    },
    /// The subject was logged out everywhere after the login began.
    LoggedOut,
}

/// A step that is committed together with another one, and the keys of its rows.
pub(crate) struct AlongWith<'a, F> {
    /// The row that other requests write at the same moment, so that they take turns over it.
    pub(crate) in_turn_over: Option<StateKey>,
    pub(crate) rows: &'a [StateKey],
    pub(crate) step: F,
}

/// The result of one round of [`Sessions::create`]. `S` is the result of the step along with it.
enum CreationRound<S> {
    /// The session was created. `replaces` is whether it replaced another one that was stored.
    Begun { replaces: bool, along: S },
    /// As in [`Created`].
    LoggedOut { along: S },
    /// The subject's oldest session, which must be replaced, is not the one that was assumed. Try
    /// again with this one, or with none.
    Replaces(Option<[u8; 16]>),
}

/// The rows of a session that is created.
#[derive(Clone, Copy)]
struct CreationKeys {
    session: RowKey<Session>,
    log_out: RowKey<SubjectEpoch>,
    index: RowKey<SessionIndex>,
}

/// A session that is not stored yet: its identifier, and the secret of its first refresh token.
pub(crate) struct NewSession {
    id: RawSessionId,
    secret: TokenSecret,
    pub(crate) session_id: SessionId,
}

/// A refresh token that was presented, and the tokens that may succeed it.
pub(super) struct PresentedToken {
    token: RefreshToken,
    /// The session's identifier, as in the `sid` claim of its access tokens.
    pub(super) session_id: SessionId,
    digest: SecretDigest,
    successors: Vec<TokenSecret>,
    digests: Vec<SecretDigest>,
}

/// Whether a step is only evaluated, or also written.
#[derive(Clone, Copy)]
pub(super) enum Intent {
    Look,
    /// Writes the step. `timeout` bounds how long it may take, so that the client can retry before
    /// the retry window has passed.
    Take {
        timeout: Duration,
    },
}

impl Intent {
    fn takes(self) -> bool {
        matches!(self, Self::Take { .. })
    }
}

impl Sessions {
    /// Whether a login through this client that is granted this scope gets a refresh token.
    pub(crate) fn are_for(&self, client: &AuthenticatedClient, scope: &Scope) -> bool {
        let needed = self.config.required_scope.as_ref();
        client.registration().may_use(Grant::RefreshToken)
            && needed.is_none_or(|needed| scope.includes(needed))
    }

    /// The longest `Retry-After` for a refused refresh. With a longer one the retry would come too
    /// late for the retry window.
    pub(crate) fn longest_wait(&self) -> Duration {
        (self.config.window / 5).max(Duration::from_secs(1))
    }

    /// How long it may take to write the use of a token: half of the retry window, or a second if
    /// that is longer. A client that gets 503 and retries at once is then not taken for a thief,
    /// even if the token was used after all.
    pub(super) fn timeout(&self) -> Duration {
        if self.config.window.is_zero() {
            Duration::MAX
        } else {
            (self.config.window / 2).max(Duration::from_secs(1))
        }
    }

    /// Creates a session. It replaces the subject's oldest session through this client if there are
    /// too many. An existing row is never overwritten.
    ///
    /// `along` runs over its own rows in the same commit, whether or not the session is created.
    pub(super) async fn create<S>(
        &self,
        NewSession { id, secret, session_id }: NewSession,
        granted: SessionGrant<'_>,
        held: &mut HeldRows,
        along: AlongWith<'_, impl FnMut(&mut Transaction<'_>) -> Result<S, BoxError>>,
    ) -> Result<(Created, S), BoxError> {
        let SessionGrant { holder, subject, epoch, scope, audiences, access_token_lifetime } =
            granted;
        let (revocations, state) = (&self.revocations, &self.revocations.state);
        let keys = CreationKeys {
            session: revocations.session_key(&session_id),
            log_out: revocations.epoch_keys(subject.as_str()).own,
            index: revocations.index_key(&holder.tenant, &holder.client, subject.as_str()),
        };
        let digest = secret.digest();
        let subject = subject.to_string();
        let mut session = Session::new(holder, subject, epoch, scope, audiences, digest);
        let AlongWith { in_turn_over, rows, mut step } = along;
        // Usually no session has to be replaced. Otherwise the first round finds out which one.
        let mut surplus = None;
        for round in 0..Self::ROUNDS {
            if round > 1 {
                state.pause(Duration::from_millis(1), round, Duration::from_millis(50)).await;
            }
            let replaced = surplus.map(|id| RawSessionId(id).to_session_id()).transpose()?;
            let replaced_key = replaced.as_ref().map(|replaced| revocations.session_key(replaced));
            let mut named = vec![keys.session.into(), keys.log_out.into(), keys.index.into()];
            named.extend(replaced_key.map(StateKey::from));
            named.extend(rows);
            let create = |tx: &mut Transaction<'_>| {
                let mut index = tx.get(keys.index)?.unwrap_or_default();
                if tx.get(keys.log_out)?.unwrap_or_default().number > epoch {
                    return Ok(CreationRound::LoggedOut { along: step(tx)? });
                }
                let oldest = index.surplus(self.config.sessions);
                if oldest != surplus {
                    return Ok(CreationRound::Replaces(oldest));
                }
                index.add(id.0, self.config.sessions);
                tx.put(keys.index, &index, self.index_ttl(access_token_lifetime))?;
                self.begin(tx, keys.session, &mut session, access_token_lifetime)?;
                let replaces = replaced_key.map_or(Ok(false), |key| tx.contains(key))?;
                replaced_key.map_or(Ok(()), |key| tx.delete(key))?;
                Ok(CreationRound::Begun { replaces, along: step(tx)? })
            };
            let turn = in_turn_over.unwrap_or_else(|| keys.index.into());
            match state.run_in_turn(held, turn, &named, create).await? {
                CreationRound::Begun { replaces, along } => {
                    let token = self.config.keys.write(0, id, 0, &secret);
                    let token = token.ok_or("there is no key for refresh tokens")?;
                    let issued = IssuedSession { id: session_id, token };
                    let replaced = replaced.filter(|_| replaces);
                    return Ok((Created::Session { issued, replaced }, along));
                }
                CreationRound::LoggedOut { along } => return Ok((Created::LoggedOut, along)),
                CreationRound::Replaces(oldest) => surplus = oldest,
            }
        }
        Err("too many logins of the same user at once".into())
    }

    /// Writes the row of a session that begins now.
    fn begin(
        &self,
        tx: &mut Transaction<'_>,
        key: RowKey<Session>,
        session: &mut Session,
        access_token_lifetime: Duration,
    ) -> Result<(), BoxError> {
        if tx.contains(key)? {
            return Err("the random generator has repeated itself".into());
        }
        let now = tx.now().unix_millis();
        session.begin(now, self.config.absolute_lifetime, self.config.idle_lifetime);
        tx.put(key, session, ttl(session, now, access_token_lifetime))
    }

    /// Makes a session's identifier and first secret. Nothing is written yet.
    pub(super) fn new_session(&self, subject: &Subject) -> Result<NewSession, BoxError> {
        let mut bytes = Zeroizing::new([0; RawSessionId::RANDOM + SECRET]);
        self.randomness.fill(&mut *bytes)?;
        let (random, secret) = bytes.split_first_chunk().ok_or("there are more bytes than that")?;
        let id = RawSessionId::new(self.revocations.log_outs.digest(subject.as_str()), *random);
        Ok(NewSession {
            id,
            secret: TokenSecret::new(secret.try_into()?),
            session_id: id.to_session_id()?,
        })
    }

    /// TTL of a subject's session index: the absolute lifetime of a session that begins now, plus
    /// the lifetime of its access tokens and the clock margin. Sessions that end sooner stay in the
    /// index.
    fn index_ttl(&self, access_token_lifetime: Duration) -> Duration {
        self.config
            .absolute_lifetime
            .saturating_add(access_token_lifetime)
            .saturating_add(DEPLOYMENT_SKEW)
    }

    /// The most rounds in which a login looks for the session that it replaces.
    const ROUNDS: u32 = 100;

    /// Parses a refresh token; `None` if none of our keys has made it.
    pub(super) fn read(&self, text: &str) -> Option<PresentedToken> {
        let token = self.config.keys.read(text)?;
        let successors = self.config.keys.successors(&token);
        Some(PresentedToken {
            session_id: token.session.to_session_id().ok()?,
            digest: token.secret.digest(),
            digests: successors.iter().map(TokenSecret::digest).collect(),
            successors,
            token,
        })
    }

    /// Decides what a token is good for, and returns the session afterwards. A reuse is written and
    /// ends the session whatever the intent is.
    pub(super) async fn step(
        &self,
        used: &PresentedToken,
        holder: &Holder,
        terms: RefreshTerms,
        intent: Intent,
        held: &mut HeldRows,
    ) -> Result<(Step, Option<Session>), BoxError> {
        let rule = SessionRule {
            window: millis(self.config.window),
            repeats: self.config.repeats,
            absolute: millis(self.config.absolute_lifetime),
            idle: self.config.idle_lifetime.map(millis),
            rotates: terms.rotates,
        };
        let presented = Presented {
            generation: used.token.generation,
            digest: used.digest,
            successors: &used.digests,
        };
        let seen = self
            .change(used.token.session, intent, held, |session, logged_out, now| {
                let before = session.clone();
                let step = session.use_token(presented, holder, logged_out, &rule, now);
                let writes = step == Step::Reused || intent.takes() && *session != before;
                (step, writes.then_some(terms.access_token_lifetime))
            })
            .await
            .map(|seen| {
                seen.map_or((Step::Refused(TokenFault::Unknown), None), |(step, session)| {
                    (step, Some(session))
                })
            })?;
        if seen.0 == Step::Reused {
            // The session has ended already. This removes it from the session index, where it would
            // else be replaced in its turn, and an error must not hide the reuse.
            let _ = self.end(&used.session_id, None).await;
        }
        Ok(seen)
    }

    /// Changes a session's row, given the number of its subject's last log-out and the time.
    /// `change` returns for how long beyond the end of the session the row is kept, or `None` if it
    /// need not be written.
    async fn change<T>(
        &self,
        id: RawSessionId,
        intent: Intent,
        held: &mut HeldRows,
        change: impl Fn(&mut Session, u64, u64) -> (T, Option<Duration>),
    ) -> Result<Option<(T, Session)>, BoxError> {
        let session_key = self.revocations.session_key(&id.to_session_id()?);
        let log_outs = &self.revocations.log_outs;
        let mut log_out_key = log_outs.of(id.subject());
        loop {
            let step = |tx: &mut Transaction<'_>| {
                let Some(mut session) = tx.get(session_key)? else { return Ok(Ok(None)) };
                let of_subject = log_outs.of(log_outs.digest(&session.subject));
                if of_subject != log_out_key {
                    return Ok(Err(of_subject));
                }
                let (logged_out, now) =
                    (tx.get(log_out_key)?.unwrap_or_default().number, tx.now().unix_millis());
                let (output, access_token_lifetime) = change(&mut session, logged_out, now);
                if let Some(access_token_lifetime) = access_token_lifetime {
                    tx.put(session_key, &session, ttl(&session, now, access_token_lifetime))?;
                }
                Ok(Ok(Some((output, session))))
            };
            let timeout = match intent {
                Intent::Look => Duration::MAX,
                Intent::Take { timeout } => timeout,
            };
            let keys = [session_key.into(), log_out_key.into()];
            match self.revocations.state.run_held(held, timeout, &keys, step).await? {
                Ok(changed) => return Ok(changed),
                // The identifier was made when identifiers did not name the subject.
                Err(of_subject) => log_out_key = of_subject,
            }
        }
    }

    /// The keys of the rows that the use of this refresh token reads; none if it is not ours.
    pub(crate) fn rows_of(&self, text: &str) -> Vec<StateKey> {
        let session = self.config.keys.read(text).map(|token| token.session);
        let rows = session.and_then(|id| {
            let session_key = self.revocations.session_key(&id.to_session_id().ok()?);
            Some([session_key.into(), self.revocations.log_outs.of(id.subject()).into()])
        });
        rows.into_iter().flatten().collect()
    }

    /// The text of the successor at `index`, as the step has decided.
    pub(super) fn successor(&self, used: &PresentedToken, index: usize) -> Option<Secret<'static>> {
        let generation = used.token.generation.saturating_add(1);
        self.config.keys.write(index, used.token.session, generation, used.successors.get(index)?)
    }
}

/// How a client's tokens are refreshed.
#[derive(Clone, Copy)]
pub(crate) struct RefreshTerms {
    /// Whether a refresh yields a new refresh token.
    pub(crate) rotates: bool,
    pub(crate) access_token_lifetime: Duration,
}

/// What came of a request to end a session.
pub(crate) enum Ending {
    NoSuchSession,
    /// The session belongs to another holder and goes on.
    OtherHolder(Found),
    Ended(Found),
}

/// A session, and the identifier that it was found by.
pub(crate) struct Found {
    pub(crate) session_id: SessionId,
    pub(crate) session: Session,
}

impl Sessions {
    /// The session of this token, if the token is the current one and the session has not ended.
    /// For introspection.
    pub(crate) async fn active(&self, text: &str) -> Result<Option<Found>, BoxError> {
        let Some(used) = self.read(text) else { return Ok(None) };
        let (generation, digest) = (used.token.generation, used.digest);
        let mut held = HeldRows::default();
        let lifetime = millis(self.config.absolute_lifetime);
        let id = used.token.session;
        let look = self.change(id, Intent::Look, &mut held, |session, logged_out, now| {
            let ended = session.end(logged_out).is_some() || session.has_expired(lifetime, now);
            (!ended && session.is_current(generation, &digest), None)
        });
        let found = look.await?.filter(|(active, _)| *active);
        Ok(found.map(|(_, session)| Found { session_id: used.session_id, session }))
    }

    /// Ends the session of this token, of any generation, if the session belongs to this holder.
    pub(crate) async fn revoke(&self, text: &str, holder: &Holder) -> Result<Ending, BoxError> {
        let Some(token) = self.config.keys.read(text) else { return Ok(Ending::NoSuchSession) };
        self.end(&token.session.to_session_id()?, Some(holder)).await
    }

    /// Ends a session, and removes it from the session index. If a holder is named, nothing is
    /// changed unless the session belongs to it.
    pub(crate) async fn end(
        &self,
        session_id: &SessionId,
        holder: Option<&Holder>,
    ) -> Result<Ending, BoxError> {
        let Some(known) = self.session(session_id).await? else { return Ok(Ending::NoSuchSession) };
        let Session { holder: Holder { tenant, client, .. }, subject, .. } = &known;
        let index_key = self.revocations.index_key(tenant, client, subject);
        let session_key = self.revocations.session_key(session_id);
        let step = |tx: &mut Transaction<'_>| {
            let (Some(mut session), now) = (tx.get(session_key)?, tx.now().unix_millis()) else {
                return Ok(Ending::NoSuchSession);
            };
            let own = holder.is_none_or(|holder| session.holder == *holder);
            if !own {
                return Ok(Ending::OtherHolder(Found { session_id: session_id.clone(), session }));
            }
            session.revoke(now);
            // Tokens of a session without a row are refused as unknown, so the row is kept only to
            // report the next uses as revoked. Kept until the session would have expired, it would
            // let a user fill the store by logging in and out.
            tx.put(session_key, &session, DEPLOYMENT_SKEW)?;
            // A session index that cannot be read must not prevent ending the session.
            if let (Ok(Some(mut index)), Some(id)) =
                (tx.get(index_key), RawSessionId::from_text(session_id.as_str()))
                && index.remove(id.0)
            {
                tx.put(index_key, &index, self.index_ttl(Duration::ZERO))?;
            }
            Ok(Ending::Ended(Found { session_id: session_id.clone(), session }))
        };
        self.revocations.state.run(&[session_key.into(), index_key.into()], step).await
    }

    async fn session(&self, session_id: &SessionId) -> Result<Option<Session>, BoxError> {
        self.revocations.state.get(self.revocations.session_key(session_id)).await
    }

    /// When a session expires, in whole seconds since 1970.
    pub(crate) fn expires_at(&self, session: &Session) -> u64 {
        let end = session.expires_at(millis(self.config.absolute_lifetime));
        Timestamp::from_unix_millis(end).unix_seconds()
    }

    pub(crate) fn gate(&self) -> &dyn AccountGate {
        &*self.config.gate
    }
}

/// Ends all sessions and access tokens of a subject, in one commit.
pub(crate) async fn log_out(
    revocations: &Revocations,
    subject: &Subject,
    clock: &dyn Clock,
) -> Result<(), BoxError> {
    let keys = revocations.epoch_keys(subject.as_str());
    let (state, now) = (&revocations.state, clock.now().unix_millis());
    state.run(&keys.both(), |tx| epoch::log_out(tx, keys, now)).await
}

/// The holder of the tokens of a client that has authenticated in this context.
pub(crate) fn holder(client: &AuthenticatedClient, context: &RequestContext) -> Holder {
    Holder {
        tenant: context.tenant_or_default().to_owned(),
        client: client.id().to_string(),
        binding: Vec::new(),
    }
}

/// TTL of a session's row. The row outlives the session by the lifetime of its access tokens, whose
/// verification reads it.
fn ttl(session: &Session, now: u64, access_token_lifetime: Duration) -> Duration {
    let left = Duration::from_millis(session.absolute_expiry().saturating_sub(now));
    left.saturating_add(access_token_lifetime).saturating_add(DEPLOYMENT_SKEW)
}
