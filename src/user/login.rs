use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::error::Rejection;
use crate::types::identifier::Subject;
use crate::types::scope::Scope;

/// What became of a login: accepted, rejected, or more needed.
#[derive(Clone)]
pub struct Login(Outcome);

#[derive(Clone)]
pub(crate) enum Outcome {
    Accepted(Accepted),
    Rejected(Rejection),
    MoreNeeded { code: Arc<str>, members: Map<String, Value> },
}

/// A resource owner who has logged in, and what the host says of it.
#[derive(Clone)]
pub(crate) struct Accepted {
    pub(crate) subject: Subject,
    /// Whether the host says that the user's second factor was right.
    #[cfg_attr(not(feature = "argon2"), expect(dead_code))]
    pub(crate) second_factor: bool,
    pub(crate) scope: Option<Scope>,
    pub(crate) claims: Map<String, Value>,
    pub(crate) members: Map<String, Value>,
}

impl Login {
    /// The credentials are right and the account may log in. The subject becomes the token's `sub`: an identifier
    /// that never changes, never the name that was typed.
    #[must_use]
    pub fn accepted(subject: impl Into<Subject>) -> Self {
        let (claims, members) = (Map::new(), Map::new());
        let (subject, second_factor) = (subject.into(), false);
        Self(Outcome::Accepted(Accepted { subject, second_factor, scope: None, claims, members }))
    }

    /// Accepted, and the second factor was right too.
    #[cfg(feature = "argon2")]
    pub(crate) fn accepted_with_second_factor(subject: Subject) -> Self {
        let mut login = Self::accepted(subject);
        if let Outcome::Accepted(accepted) = &mut login.0 {
            accepted.second_factor = true;
        }
        login
    }

    /// The login fails. The reason goes to the observer alone; the caller gets `invalid_grant`, in the same bytes for
    /// every reason.
    #[must_use]
    pub fn rejected(reason: Rejection) -> Self {
        Self(Outcome::Rejected(reason))
    }

    /// The credentials are right, but another step comes before a token, such as a second factor. The caller gets 403
    /// with this error code; add with [`member`](Self::member) what the client needs to go on.
    ///
    /// It counts as a success: what was counted against the name in a row is cleared. So never answer a *wrong* second
    /// factor with it, or whoever has the password may guess factors without end: that is
    /// [`rejected`](Self::rejected).
    ///
    /// The code is of the characters `!`, `#` to `[` and `]` to `~`, and none of the codes that RFC 6749 defines;
    /// another one becomes 500 `server_error`.
    #[must_use]
    pub fn more_needed(code: impl Into<Arc<str>>) -> Self {
        Self(Outcome::MoreNeeded { code: code.into(), members: Map::new() })
    }

    /// The most that this user may grant. The token gets what was asked for *and* lies within this scope; where
    /// nothing is left of what was asked for, the caller gets `invalid_scope`. It never widens anything. Of no effect
    /// unless accepted.
    #[must_use]
    pub fn scope(mut self, scope: Scope) -> Self {
        if let Outcome::Accepted(accepted) = &mut self.0 {
            accepted.scope = Some(scope);
        }
        self
    }

    /// A claim for the access token; of two with the same name the last one counts. One that the issuer sets itself, or
    /// that says something that was not verified, becomes 500 `server_error`: `iss`, `sub`, `aud`, `client_id`, `scope`,
    /// `iat`, `exp`, `nbf`, `jti`, `sid`, `cnf`, `act`, `may_act`. Of no effect unless accepted.
    #[must_use]
    pub fn claim(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        if let Outcome::Accepted(accepted) = &mut self.0 {
            accepted.claims.insert(name.into(), value.into());
        }
        self
    }

    /// A member for the answer, of success or of [`more_needed`](Self::more_needed); of two with the same name the last
    /// one counts. One that the engine sets itself becomes 500 `server_error`: `access_token`, `token_type`,
    /// `expires_in`, `refresh_token`, `scope`, `error`, `error_description`, `error_uri`, `issued_token_type`. Of no
    /// effect when rejected.
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

    /// Whether a token may follow.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        matches!(self.0, Outcome::Accepted(_))
    }

    pub(crate) fn rejection(&self) -> Option<Rejection> {
        match self.0 {
            Outcome::Rejected(rejection) => Some(rejection),
            Outcome::Accepted(_) | Outcome::MoreNeeded { .. } => None,
        }
    }

    /// Narrows the scope further, whatever was said of it before.
    #[cfg(feature = "argon2")]
    pub(crate) fn within(mut self, most: &Scope) -> Self {
        if let Outcome::Accepted(Accepted { scope, .. }) = &mut self.0 {
            *scope =
                Some(scope.as_ref().map_or_else(|| most.clone(), |said| said.intersection(most)));
        }
        self
    }

    #[cfg(feature = "argon2")]
    pub(crate) fn outcome(&self) -> &Outcome {
        &self.0
    }

    pub(crate) fn into_outcome(self) -> Outcome {
        self.0
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Claims and members are the host's, and may be private.
        match &self.0 {
            Outcome::Accepted(accepted) => {
                f.debug_tuple("Accepted").field(&accepted.subject).finish()
            }
            Outcome::Rejected(reason) => f.debug_tuple("Rejected").field(reason).finish(),
            Outcome::MoreNeeded { code, .. } => f.debug_tuple("MoreNeeded").field(code).finish(),
        }
    }
}
