//! The outcome of a resource owner's login (RFC 6749 section 4.3), as the host's
//! [`UserAuthenticator`](crate::UserAuthenticator) returns it.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::error::Rejection;
use crate::types::identifier::Subject;
use crate::types::scope::Scope;

/// The outcome of a login: accepted, rejected, or another step needed.
#[derive(Clone)]
pub struct Login(Outcome);

#[derive(Clone)]
pub(crate) enum Outcome {
    Accepted(Accepted),
    Rejected(Rejection),
    MoreNeeded { code: Arc<str>, members: Map<String, Value> },
}

/// A resource owner who has logged in, with the host's additions to the token and the response.
#[derive(Clone)]
pub(crate) struct Accepted {
    pub(crate) subject: Subject,
    /// Whether the host has verified the user's second factor.
    #[cfg_attr(not(feature = "argon2"), expect(dead_code))]
    pub(crate) second_factor: bool,
    pub(crate) scope: Option<Scope>,
    pub(crate) claims: Map<String, Value>,
    pub(crate) members: Map<String, Value>,
}

impl Login {
    /// Accepts the login: the credentials are right and the account may log in.
    ///
    /// `subject` becomes the token's `sub`. It must be an identifier that never changes, never the
    /// name that was typed.
    #[must_use]
    pub fn accepted(subject: impl Into<Subject>) -> Self {
        let (claims, members) = (Map::new(), Map::new());
        let (subject, second_factor) = (subject.into(), false);
        Self(Outcome::Accepted(Accepted { subject, second_factor, scope: None, claims, members }))
    }

    /// Accepts the login, with a verified second factor.
    #[cfg(feature = "argon2")]
    pub(crate) fn accepted_with_second_factor(subject: Subject) -> Self {
        let mut login = Self::accepted(subject);
        if let Outcome::Accepted(accepted) = &mut login.0 {
            accepted.second_factor = true;
        }
        login
    }

    /// Rejects the login. The reason goes only to the observer; the caller gets `invalid_grant`,
    /// with the same bytes for every reason.
    #[must_use]
    pub fn rejected(reason: Rejection) -> Self {
        Self(Outcome::Rejected(reason))
    }

    /// Asks for another step before a token is issued, such as a second factor. The credentials are
    /// right. The caller gets 403 with this error code; use [`member`](Self::member) to add what
    /// the client needs to continue.
    ///
    /// This outcome takes back its own attempt and clears no failures before it, so that whoever
    /// has stolen a password gets no more guesses at the second factor than at the password. Never
    /// return it for a *wrong* second factor: return [`rejected`](Self::rejected), which counts.
    ///
    /// `code` holds one or more of the characters `!`, `#` to `[` and `]` to `~`, and must not be
    /// an [`ErrorCode`](crate::error::ErrorCode) that the engine sends itself. Any other code
    /// becomes 500 `server_error`.
    #[must_use]
    pub fn more_needed(code: impl Into<Arc<str>>) -> Self {
        Self(Outcome::MoreNeeded { code: code.into(), members: Map::new() })
    }

    /// Limits the scope that this user may grant. The token gets the part of the requested scope
    /// that lies within this scope; if nothing is left, the caller gets `invalid_scope`. It never
    /// widens the scope, and has no effect unless the login is accepted.
    #[must_use]
    pub fn scope(mut self, scope: Scope) -> Self {
        if let Outcome::Accepted(accepted) = &mut self.0 {
            accepted.scope = Some(scope);
        }
        self
    }

    /// Adds a claim to the access token; for a repeated name the last value counts. A claim that
    /// the issuer sets itself, or that would state something unverified, becomes 500
    /// `server_error`: `iss`, `sub`, `aud`, `client_id`, `scope`, `iat`, `exp`, `nbf`, `jti`,
    /// `sid`, `login_epoch`, `cnf`, `act`, `may_act`. It has no effect unless the login is
    /// accepted.
    #[must_use]
    pub fn claim(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        if let Outcome::Accepted(accepted) = &mut self.0 {
            accepted.claims.insert(name.into(), value.into());
        }
        self
    }

    /// Adds a member to the response of an accepted login or of [`more_needed`](Self::more_needed);
    /// for a repeated name the last value counts. A member that the engine sets itself becomes 500
    /// `server_error`: `access_token`, `token_type`, `expires_in`, `refresh_token`, `scope`,
    /// `error`, `error_description`, `error_uri`, `issued_token_type`. It has no effect on a
    /// rejected login.
    #[must_use]
    pub fn member(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        match &mut self.0 {
            Outcome::Accepted(Accepted { members, .. }) | Outcome::MoreNeeded { members, .. } => {
                members.insert(name.into(), value.into());
            }
            Outcome::Rejected(_) => {}
        }
        self
    }

    /// Whether the login is accepted, so that a token may follow.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        matches!(self.0, Outcome::Accepted(_))
    }

    /// Narrows the scope further, in addition to any limit set before.
    #[cfg(feature = "argon2")]
    pub(crate) fn within(mut self, most: &Scope) -> Self {
        if let Outcome::Accepted(Accepted { scope, .. }) = &mut self.0 {
            *scope =
                Some(scope.as_ref().map_or_else(|| most.clone(), |said| said.intersection(most)));
        }
        self
    }

    pub(crate) fn outcome(&self) -> &Outcome {
        &self.0
    }

    pub(crate) fn into_outcome(self) -> Outcome {
        self.0
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Claims and members belong to the host and may be private.
        match &self.0 {
            Outcome::Accepted(accepted) => {
                f.debug_tuple("Accepted").field(&accepted.subject).finish()
            }
            Outcome::Rejected(reason) => f.debug_tuple("Rejected").field(reason).finish(),
            Outcome::MoreNeeded { code, .. } => f.debug_tuple("MoreNeeded").field(code).finish(),
        }
    }
}
