//! Refresh token rotation ([RFC 9700 section 4.14.2]): a state machine without I/O over the row of
//! one session, which decides what a presented refresh token is good for.
//!
//! The row holds the digests of the current token and of the one before it. Every older token is
//! recognized by its generation alone, which the token's tag authenticates. A step decides,
//! consumes, creates, and on reuse revokes, in one commit, so a session never forks.
//!
//! The tests in `exploration.rs` compare the machine with a reference, over all short histories and
//! many long ones.
//!
//! [RFC 9700 section 4.14.2]: https://www.rfc-editor.org/rfc/rfc9700#section-4.14.2

#[cfg(test)]
mod exploration;

use std::time::Duration;

use subtle::ConstantTimeEq;

use crate::error::TokenFault;
use crate::session::revoked_tokens::{RevokedInSession, Token};
use crate::state::codec::{Reader, Stored, write_bytes, write_number, write_optional};
use crate::time::millis;
use crate::types::scope::Scope;

/// SHA-256 of the secret in a refresh token. No token can be made from a stored digest.
pub(crate) type SecretDigest = [u8; 32];

/// The row of a session. Times are in milliseconds since 1970, by the clock of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    /// To whom its tokens were issued. Nobody else may use them.
    pub(crate) holder: Holder,
    /// The resource owner (`sub`).
    pub(crate) subject: String,
    /// The number of the last log-out everywhere, of any subject, when the login began. A later
    /// log-out of the session's subject ends the session.
    pub(crate) epoch: u64,
    /// The scope that was granted. A refresh never gets more, and never reduces it.
    pub(crate) scope: Scope,
    pub(crate) audiences: Vec<String>,
    generation: u64,
    current: SecretDigest,
    previous: SecretDigest,
    /// When the most recent generations were succeeded, the newest last. Not empty once there have
    /// been two generations.
    rotations: Vec<u64>,
    /// How often the last rotation was answered again.
    repeats: u32,
    /// When the session began; `None` in rows of the first form, which does not have it.
    began: Option<u64>,
    /// When the session ends at the latest, by the absolute lifetime when it began.
    absolute_expiry: u64,
    idle_expiry: Option<u64>,
    revoked_at: Option<u64>,
    /// Its access tokens that were revoked one by one.
    revoked_tokens: RevokedInSession,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) tenant: String,
    pub(crate) client: String,
    /// The key that the tokens are bound to; empty if they are bound to none.
    pub(crate) binding: Vec<u8>,
}

/// A presented refresh token whose tag has been verified.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Presented<'a> {
    pub(crate) generation: u64,
    pub(crate) digest: SecretDigest,
    /// The digests of its possible successors: first the one of the current signing key, then those
    /// of all other known keys.
    pub(crate) successors: &'a [SecretDigest],
}

/// The rules for sessions. Times are in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SessionRule {
    /// The retry window: how long the token before the current one yields the current one again.
    pub(crate) window: u64,
    /// How often it does so.
    pub(crate) repeats: u32,
    /// How long a session lasts at most. If it was longer when a session began, the session
    /// nevertheless ends by this one.
    pub(crate) absolute: u64,
    /// How long a session lasts without being used; `None` for no such limit.
    pub(crate) idle: Option<u64>,
    /// Whether each use yields another token.
    pub(crate) rotates: bool,
}

/// What a presented refresh token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// It was the current token. The first of its successors is the current token now.
    Rotated,
    /// It was succeeded within the retry window by the successor of this index, which may be handed
    /// out once more.
    Repeated(usize),
    /// It was the current token, and still is.
    Kept,
    /// It was succeeded within the retry window, and cannot be answered now. Nothing was changed.
    Busy(Contention),
    /// It was succeeded before the retry window, so somebody else has it, or had it. The session is
    /// revoked.
    Reused,
    /// The token is refused. Nothing was changed.
    Refused(TokenFault),
}

/// Why a token that was succeeded within the retry window is not answered again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contention {
    /// It was answered again as often as is allowed.
    Repeats,
    /// Its successor was succeeded as well.
    Straggler,
    /// Its successor was made by a key that is not known here.
    ForeignSuccessor,
}

impl Session {
    /// The most rotations within one retry window that are recorded.
    const RECENT: usize = 64;

    /// A session that has not begun. It counts as expired until [`begin`](Self::begin) says when it
    /// expires.
    pub(crate) fn new(
        holder: Holder,
        subject: String,
        epoch: u64,
        scope: Scope,
        audiences: Vec<String>,
        first: SecretDigest,
    ) -> Self {
        Self {
            holder,
            subject,
            epoch,
            scope,
            audiences,
            generation: 0,
            current: first,
            previous: [0; 32],
            rotations: Vec::new(),
            repeats: 0,
            began: None,
            absolute_expiry: 0,
            idle_expiry: None,
            revoked_at: None,
            revoked_tokens: RevokedInSession::default(),
        }
    }

    /// Begins the session now, whatever an earlier call has set: a transaction calls it again after
    /// a conflict.
    pub(crate) fn begin(
        &mut self,
        now: u64,
        absolute_lifetime: Duration,
        idle_lifetime: Option<Duration>,
    ) {
        self.began = Some(now);
        self.absolute_expiry = now.saturating_add(millis(absolute_lifetime));
        self.idle_expiry = idle_lifetime.map(|lifetime| now.saturating_add(millis(lifetime)));
    }

    /// Why the session has ended, if it has. `logged_out` is the number of its subject's last
    /// log-out everywhere.
    pub(crate) fn end(&self, logged_out: u64) -> Option<TokenFault> {
        if self.revoked_at.is_some() {
            Some(TokenFault::Revoked)
        } else if logged_out > self.epoch {
            Some(TokenFault::LoggedOut)
        } else {
            None
        }
    }

    pub(crate) fn has_expired(&self, absolute_lifetime: u64, now: u64) -> bool {
        self.expires_at(absolute_lifetime) <= now
    }

    /// Until when a token of the session may be used at most, given how long sessions last today.
    /// So no session outlives the record of a log-out, which is kept for as long as sessions last
    /// today.
    pub(crate) fn expires_at(&self, absolute_lifetime: u64) -> u64 {
        let today = self.began.map(|began| began.saturating_add(absolute_lifetime));
        let ends = [today, self.idle_expiry].into_iter().flatten();
        ends.fold(self.absolute_expiry, u64::min)
    }

    /// When the session ends at the latest, however long sessions last later.
    pub(crate) fn absolute_expiry(&self) -> u64 {
        self.absolute_expiry
    }

    /// Whether the token of this generation and digest is the current one.
    pub(crate) fn is_current(&self, generation: u64, digest: &SecretDigest) -> bool {
        self.generation == generation && is_same(&self.current, digest)
    }

    pub(crate) fn revoke(&mut self, now: u64) {
        self.revoked_at.get_or_insert(now);
    }

    /// Revokes one of its access tokens. Returns whether there was anything to change. `now` is in
    /// milliseconds since 1970.
    pub(crate) fn revoke_token(&mut self, token: Token, now: u64) -> bool {
        self.revoked_tokens.revoke(token, now / 1000)
    }

    /// Whether this access token of the session was revoked on its own.
    pub(crate) fn has_revoked(&self, token: &Token) -> bool {
        self.revoked_tokens.contains(token)
    }

    /// Uses a token. After [`Rotated`](Step::Rotated) or [`Repeated`](Step::Repeated), the
    /// successor may be handed out once this is committed.
    pub(crate) fn use_token(
        &mut self,
        presented: Presented<'_>,
        holder: &Holder,
        logged_out: u64,
        rule: &SessionRule,
        now: u64,
    ) -> Step {
        if *holder != self.holder {
            return Step::Refused(TokenFault::OtherClient);
        }
        if let Some(fault) = self.end(logged_out) {
            return Step::Refused(fault);
        }
        if self.has_expired(rule.absolute, now) {
            return Step::Refused(TokenFault::Expired);
        }
        match self.generation.checked_sub(presented.generation) {
            // Only this server can make such tokens, and it has not: a key has leaked, or a store
            // has lost commits.
            None => Step::Refused(TokenFault::Ahead),
            Some(0) if !is_same(&presented.digest, &self.current) => {
                Step::Refused(TokenFault::Forged)
            }
            Some(0) => self.follow(presented.successors, rule, now),
            Some(1)
                if is_same(&presented.digest, &self.previous)
                    && self.was_followed_within(1, rule.window, now) =>
            {
                match presented
                    .successors
                    .iter()
                    .position(|successor| is_same(successor, &self.current))
                {
                    Some(successor) if self.repeats < rule.repeats => {
                        self.repeats += 1;
                        Step::Repeated(successor)
                    }
                    Some(_) => Step::Busy(Contention::Repeats),
                    None => Step::Busy(Contention::ForeignSuccessor),
                }
            }
            Some(behind @ 2..) if self.was_followed_within(behind, rule.window, now) => {
                Step::Busy(Contention::Straggler)
            }
            Some(_) => {
                self.revoke(now);
                Step::Reused
            }
        }
    }

    fn follow(&mut self, successors: &[SecretDigest], rule: &SessionRule, now: u64) -> Step {
        self.idle_expiry = rule.idle.map(|idle| now.saturating_add(idle));
        let Some(next) = successors.first().filter(|_| rule.rotates) else { return Step::Kept };
        self.previous = std::mem::replace(&mut self.current, *next);
        self.generation = self.generation.saturating_add(1);
        self.repeats = 0;
        let stale = self.rotations.iter().rposition(|time| time.abs_diff(now) >= rule.window);
        let surplus = (self.rotations.len() + 1).saturating_sub(Self::RECENT);
        self.rotations.drain(..surplus.max(stale.map_or(0, |stale| stale + 1)));
        self.rotations.push(now);
        Step::Rotated
    }

    /// Whether the token that is `behind` generations older than the current one was succeeded less
    /// than `window` milliseconds ago. A clock that was set back does not extend that.
    fn was_followed_within(&self, behind: u64, window: u64, now: u64) -> bool {
        let followed = usize::try_from(behind)
            .ok()
            .and_then(|behind| self.rotations.iter().rev().nth(behind - 1));
        followed.is_some_and(|time| time.abs_diff(now) < window)
    }
}

fn is_same(one: &SecretDigest, other: &SecretDigest) -> bool {
    one.ct_eq(other).into()
}

/// Parses a scope that is stored in canonical form. Any other spelling is unreadable,
/// since decoding accepts only what encoding writes.
fn scope(text: &str) -> Option<Scope> {
    text.parse().ok().filter(|scope: &Scope| scope.as_str() == text)
}

impl Stored for Session {
    const NAME: &'static str = "a session";
    /// The first form ends before `began`.
    const FORM: u8 = 2;

    fn size_hint(&self) -> usize {
        128 + self.subject.len() + self.holder.client.len() + self.scope.as_str().len()
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        for text in [&self.holder.tenant, &self.holder.client, &self.subject] {
            write_bytes(bytes, text.as_bytes());
        }
        write_bytes(bytes, &self.holder.binding);
        write_number(bytes, self.epoch);
        write_bytes(bytes, self.scope.as_str().as_bytes());
        write_number(bytes, self.audiences.len() as u64);
        self.audiences.iter().for_each(|audience| write_bytes(bytes, audience.as_bytes()));
        write_number(bytes, self.generation);
        bytes.extend_from_slice(&self.current);
        bytes.extend_from_slice(&self.previous);
        write_number(bytes, self.rotations.len() as u64);
        self.rotations.iter().for_each(|time| write_number(bytes, *time));
        write_number(bytes, self.repeats.into());
        write_number(bytes, self.absolute_expiry);
        write_optional(bytes, self.idle_expiry);
        write_optional(bytes, self.revoked_at);
        write_optional(bytes, self.began);
        self.revoked_tokens.encode(bytes);
    }

    fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let first_form = Self::decode_first_form(reader)?;
        let (began, revoked_tokens) = (reader.optional()?, RevokedInSession::decode(reader)?);
        Some(Self { began, revoked_tokens, ..first_form })
    }

    fn decode_form(form: u8, reader: &mut Reader<'_>) -> Option<Self> {
        match form {
            1 => Self::decode_first_form(reader),
            Self::FORM => Self::decode(reader),
            _ => None,
        }
    }
}

impl Session {
    fn decode_first_form(reader: &mut Reader<'_>) -> Option<Self> {
        let (tenant, client, subject) =
            (reader.text()?.into(), reader.text()?.into(), reader.text()?.into());
        Some(Self {
            holder: Holder { tenant, client, binding: reader.bytes()?.into() },
            subject,
            epoch: reader.number()?,
            scope: scope(reader.text()?)?,
            audiences: (0..reader.number()?)
                .map(|_| Some(reader.text()?.to_owned()))
                .collect::<Option<_>>()?,
            generation: reader.number()?,
            current: reader.array()?,
            previous: reader.array()?,
            rotations: (0..reader.number()?).map(|_| reader.number()).collect::<Option<_>>()?,
            repeats: reader.number()?.try_into().ok()?,
            began: None,
            absolute_expiry: reader.number()?,
            idle_expiry: reader.optional()?,
            revoked_at: reader.optional()?,
            revoked_tokens: RevokedInSession::default(),
        })
    }
}
