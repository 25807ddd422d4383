//! Whether an account may still be used, asked after the login.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value};

use crate::client::AuthenticatedClient;
use crate::error::{BoxError, Rejection};
use crate::time::BoxFuture;
use crate::types::context::RequestContext;
use crate::types::identifier::Subject;
use crate::types::scope::Scope;
use crate::user::login::Accepted;

/// Says whether an account may still be used: asked at every refresh, and when one of its tokens is introspected. Without
/// it, a disabled user could go on until the refresh token expires.
///
/// ```
/// use password_grant::{AccountGate, Admission, AuthenticatedClient, BoxError, Rejection, RequestContext, Subject, async_trait};
/// # struct Db;
/// # impl Db { async fn is_active(&self, _: &str) -> Result<Option<bool>, BoxError> { Ok(None) } }
///
/// #[async_trait]
/// impl AccountGate for Db {
///     async fn admit(
///         &self,
///         subject: &Subject,
///         _: &AuthenticatedClient,
///         _: &RequestContext,
///     ) -> Result<Admission, BoxError> {
///         Ok(match self.is_active(subject.as_str()).await? {
///             Some(true) => Admission::admitted(),
///             _ => Admission::refused(Rejection::Disabled),
///         })
///     }
/// }
/// ```
#[async_trait]
pub trait AccountGate: Send + Sync + 'static {
    /// Whether this subject may still be acted for through this client, the one that its tokens are issued to. The
    /// subject is the one that a login was [accepted](crate::Login::accepted) with; it may not exist any more.
    ///
    /// The context is the request's. At introspection that is the resource server's, with its address; its tenant is the one
    /// in which the subject has logged in, where the token has a session, or else the caller's.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any await.
    ///
    /// # Errors
    ///
    /// When the answer cannot be told now; the caller gets 503, and nothing changes.
    async fn admit(
        &self,
        subject: &Subject,
        client: &AuthenticatedClient,
        context: &RequestContext,
    ) -> Result<Admission, BoxError>;
}

impl<T: AccountGate + ?Sized> AccountGate for Arc<T> {
    fn admit<'a, 'b, 'c, 'd, 'e>(
        &'a self,
        subject: &'b Subject,
        client: &'c AuthenticatedClient,
        context: &'d RequestContext,
    ) -> BoxFuture<'e, Result<Admission, BoxError>>
    where
        'a: 'e,
        'b: 'e,
        'c: 'e,
        'd: 'e,
        Self: 'e,
    {
        (**self).admit(subject, client, context)
    }
}

/// What an [`AccountGate`] says: admitted, with what the next access token and the answer that carries it are to say, or
/// refused.
#[derive(Clone)]
pub struct Admission(Result<Admitted, Rejection>);

#[derive(Clone, Default)]
struct Admitted {
    scope: Option<Scope>,
    claims: Map<String, Value>,
    members: Map<String, Value>,
}

impl Admission {
    /// The account may be used as before.
    #[must_use]
    pub fn admitted() -> Self {
        Self(Ok(Admitted::default()))
    }

    /// It may not. The reason goes to the observer alone; the caller gets `invalid_grant`, as for any refresh token that
    /// is not valid. Nothing is revoked: once the account is admitted again, the refresh token is good again.
    #[must_use]
    pub fn refused(reason: Rejection) -> Self {
        Self(Err(reason))
    }

    /// The most that the access token may be for now; see [`Login::scope`](crate::Login::scope). Of no effect when
    /// refused.
    #[must_use]
    pub fn scope(mut self, most: Scope) -> Self {
        if let Ok(admitted) = &mut self.0 {
            admitted.scope = Some(most);
        }
        self
    }

    /// A claim for the access token, as [`Login::claim`](crate::Login::claim) has it. Claims of the login are not carried
    /// over: what was true then need not be true now. Of no effect when refused.
    #[must_use]
    pub fn claim(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        if let Ok(admitted) = &mut self.0 {
            admitted.claims.insert(name.into(), value.into());
        }
        self
    }

    /// Adds a member to the answer of a refresh; for the names that become 500 `server_error` see
    /// [`Login::member`](crate::Login::member). Members of the login are not carried over. Of no effect when refused, and at
    /// introspection.
    #[must_use]
    pub fn member(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        if let Ok(admitted) = &mut self.0 {
            admitted.members.insert(name.into(), value.into());
        }
        self
    }

    /// As if the subject had just logged in.
    pub(crate) fn into_accepted(self, subject: Subject) -> Result<Accepted, Rejection> {
        let Admitted { scope, claims, members } = self.0?;
        Ok(Accepted { subject, second_factor: false, scope, claims, members })
    }

    pub(crate) fn rejection(&self) -> Option<Rejection> {
        self.0.as_ref().err().copied()
    }
}

/// What the state alone says. An account with a second factor is admitted: it was asked for that at its login.
#[cfg(feature = "argon2")]
impl From<crate::password::AccountState> for Admission {
    fn from(state: crate::password::AccountState) -> Self {
        match state.rejection() {
            None | Some(Rejection::SecondFactorRequired) => Self::admitted(),
            Some(rejection) => Self::refused(rejection),
        }
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Claims are the host's, and may be private.
        match &self.0 {
            Ok(_) => f.write_str("Admitted"),
            Err(reason) => f.debug_tuple("Refused").field(reason).finish(),
        }
    }
}

#[cfg(all(test, feature = "argon2"))]
mod tests {
    use super::*;
    use crate::password::AccountState;

    #[test]
    fn an_account_is_admitted_in_the_states_in_which_it_may_go_on() {
        let refused = |state: AccountState| Admission::from(state).rejection();
        for (state, rejection) in [
            (AccountState::Active, None),
            (AccountState::SecondFactorRequired, None), // it was asked for that when it logged in
            (AccountState::Disabled, Some(Rejection::Disabled)),
            (AccountState::Locked, Some(Rejection::Locked)),
            (AccountState::Expired, Some(Rejection::Expired)),
            (AccountState::PasswordChangeRequired, Some(Rejection::PasswordChangeRequired)),
        ] {
            assert_eq!(refused(state), rejection, "{state:?}");
        }
    }
}
