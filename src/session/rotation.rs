//! Refresh families: a pure machine over one row, which decides what a refresh token that is presented is good for.
//!
//! All tokens that follow from one login are a family. Its row knows the digests of the current token and of the one
//! before it; every older token is recognised by its generation alone, since the token's tag vouches for that. A step
//! decides, consumes, creates, and on reuse revokes, in one commit: a family never forks.
//!
//! `exploration.rs` holds the machine against what was promised, through all short histories.

#[cfg(test)]
mod exploration;

use subtle::ConstantTimeEq;

use crate::error::TokenFault;
use crate::state::codec::{Reader, Stored, write_bytes, write_number, write_optional};
use crate::types::scope::Scope;

/// SHA-256 of the secret in a token. A table of them yields no token.
pub(crate) type SecretDigest = [u8; 32];

/// Times are in milliseconds since 1970, by the clock of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    /// To whom its tokens were issued, and nobody else may use them.
    pub(crate) holder: Holder,
    /// For whom they speak.
    pub(crate) subject: String,
    /// The last log-out when it began; a later one of its subject ends it.
    pub(crate) epoch: u64,
    /// What was granted. A refresh never gets more, and never makes it less.
    pub(crate) scope: Scope,
    pub(crate) audiences: Vec<String>,
    generation: u64,
    current: SecretDigest,
    previous: SecretDigest,
    /// When the last generations were followed by the next, the newest last; at least one once there were two.
    rotations: Vec<u64>,
    /// How often the last rotation was answered again.
    repeats: u32,
    absolute_expiry: u64,
    idle_expiry: Option<u64>,
    revoked_at: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) tenant: String,
    pub(crate) client: String,
    /// A key that the tokens are bound to; empty where they are bound to none.
    pub(crate) binding: Vec<u8>,
}

/// A token that is presented, whose tag is right.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Presented<'a> {
    pub(crate) generation: u64,
    pub(crate) digest: SecretDigest,
    /// The digests of what may follow it: by the key that signs now first, then by all others that are known.
    pub(crate) successors: &'a [SecretDigest],
}

/// How families are treated. Times are in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SessionRule {
    /// For how long the token before the current one yields the current one again.
    pub(crate) window: u64,
    /// How often it does.
    pub(crate) repeats: u32,
    /// How long a family lives without being used.
    pub(crate) idle: Option<u64>,
    /// Whether each use yields another token.
    pub(crate) rotates: bool,
}

/// What a token that is presented is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// It was the current one; the first of its successors is now.
    Rotated,
    /// It was followed a moment ago, by this one of its successors, which may be handed out once more.
    Repeated(usize),
    /// It was the current one, and still is.
    Kept,
    /// It was followed a moment ago, and cannot be answered now. Nothing was changed.
    Busy(Contention),
    /// It was followed long ago, so somebody else has it, or had it: the family is revoked.
    Reused,
    /// Nothing was changed.
    Refused(TokenFault),
}

/// Why a token that was followed a moment ago is not answered as it was then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contention {
    /// It was answered again often enough.
    Repeats,
    /// It was followed, and so was what followed it.
    Straggler,
    /// What followed it was made by a key that is not known here.
    ForeignSuccessor,
}

impl Session {
    /// How many rotations within one window are told apart.
    const RECENT: usize = 64;

    pub(crate) fn new(
        holder: Holder,
        subject: String,
        epoch: u64,
        (scope, audiences): (Scope, Vec<String>),
        first: SecretDigest,
        (absolute_expiry, idle_expiry): (u64, Option<u64>),
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
            absolute_expiry,
            idle_expiry,
            revoked_at: None,
        }
    }

    /// Why nothing of this family is good any more, if it is not. `logged_out` is the number of its subject's last
    /// log-out.
    pub(crate) fn end(&self, logged_out: u64) -> Option<TokenFault> {
        if self.revoked_at.is_some() {
            Some(TokenFault::Revoked)
        } else if logged_out > self.epoch {
            Some(TokenFault::LoggedOut)
        } else {
            None
        }
    }

    pub(crate) fn has_expired(&self, now: u64) -> bool {
        self.absolute_expiry <= now || self.idle_expiry.is_some_and(|end| end <= now)
    }

    /// Until when a token of it may be used at the most.
    pub(crate) fn expires_at(&self) -> u64 {
        self.absolute_expiry.min(self.idle_expiry.unwrap_or(u64::MAX))
    }

    pub(crate) fn absolute_expiry(&self) -> u64 {
        self.absolute_expiry
    }

    /// Whether this token is the current one.
    pub(crate) fn is_current(&self, generation: u64, digest: &SecretDigest) -> bool {
        self.generation == generation && is_same(&self.current, digest)
    }

    pub(crate) fn revoke(&mut self, now: u64) {
        self.revoked_at.get_or_insert(now);
    }

    /// Uses a token. Whoever has been told [`Rotated`](Step::Rotated) or [`Repeated`](Step::Repeated) may hand out that
    /// successor, once this is committed.
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
        if self.has_expired(now) {
            return Step::Refused(TokenFault::Expired);
        }
        match self.generation.checked_sub(presented.generation) {
            // Nobody but we could have made these, and we did not: a key has leaked, or a store has lost commits.
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

    /// Whether the token so many generations behind the current one was followed less than a window ago. A clock that
    /// was set back makes no token good again for longer than that.
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

/// Just as it was written: another reading of it would be another row.
fn scope(text: &str) -> Option<Scope> {
    text.parse().ok().filter(|scope: &Scope| scope.as_str() == text)
}

impl Stored for Session {
    const NAME: &'static str = "a refresh family";

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
    }

    fn decode(reader: &mut Reader<'_>) -> Option<Self> {
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
            absolute_expiry: reader.number()?,
            idle_expiry: reader.optional()?,
            revoked_at: reader.optional()?,
        })
    }
}
