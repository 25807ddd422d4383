//! The account gate: whether an account may still be used, checked after the login at every refresh
//! and introspection.

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

/// Decides whether an account may still be used.
///
/// The engine asks it at every refresh, and when one of the account's tokens is introspected.
/// Without a gate, a disabled user could continue until the refresh token expires.
///
/// ```
/// use password_grant::{
///     AccountGate, Admission, AuthenticatedClient, BoxError, Rejection, RequestContext, Subject,
///     async_trait,
/// };
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
    /// Decides whether this client may still act for this subject.
    ///
    /// `subject` is the one that a login was [accepted](crate::Login::accepted) with; it may no
    /// longer exist. `client` is the client that the subject's tokens are issued to.
    ///
    /// `context` is that of the request. At introspection it is the resource server's request, with
    /// its address; the tenant is the one in which the subject logged in if the token has a
    /// session, otherwise the caller's.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any await.
    ///
    /// # Errors
    ///
    /// If the decision cannot be made now. The caller gets 503, and nothing changes.
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

/// The decision of an [`AccountGate`]: admitted, with additions to the next access token and its
/// response, or refused.
#[derive(Clone)]
pub struct Admission(Result<Admitted, Rejection>);

#[derive(Clone, Default)]
struct Admitted {
    scope: Option<Scope>,
    claims: Map<String, Value>,
    members: Map<String, Value>,
}

impl Admission {
    /// Admits the account: it may be used as before.
    #[must_use]
    pub fn admitted() -> Self {
        Self(Ok(Admitted::default()))
    }

    /// Refuses the account. The reason goes only to the observer; the caller gets `invalid_grant`,
    /// as for any invalid refresh token. Nothing is revoked: once the account is admitted again,
    /// the refresh token is valid again.
    #[must_use]
    pub fn refused(reason: Rejection) -> Self {
        Self(Err(reason))
    }

    /// Limits the scope of the access token that is issued now; see
    /// [`Login::scope`](crate::Login::scope). It has no effect on a refusal.
    #[must_use]
    pub fn scope(mut self, most: Scope) -> Self {
        if let Ok(admitted) = &mut self.0 {
            admitted.scope = Some(most);
        }
        self
    }

    /// Adds a claim to the access token; see [`Login::claim`](crate::Login::claim). Claims of the
    /// login are not carried over, since they may no longer be true. It has no effect on a refusal.
    #[must_use]
    pub fn claim(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        if let Ok(admitted) = &mut self.0 {
            admitted.claims.insert(name.into(), value.into());
        }
        self
    }

    /// Adds a member to the response of a refresh. [`Login::member`](crate::Login::member) lists
    /// the names that become 500 `server_error`. Members of the login are not carried over. It has
    /// no effect on a refusal or at introspection.
    #[must_use]
    pub fn member(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        if let Ok(admitted) = &mut self.0 {
            admitted.members.insert(name.into(), value.into());
        }
        self
    }

    /// The admission as an accepted login of this subject.
    pub(crate) fn into_accepted(self, subject: Subject) -> Result<Accepted, Rejection> {
        let Admitted { scope, claims, members } = self.0?;
        Ok(Accepted { subject, second_factor: false, scope, claims, members })
    }

    pub(crate) fn rejection(&self) -> Option<Rejection> {
        self.0.as_ref().err().copied()
    }
}

/// Decides by the account state alone. An account with a second factor is admitted, because the
/// factor was required at its login.
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
        // Claims belong to the host and may be private.
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
            (AccountState::SecondFactorRequired, None), // the factor was required at the login
            (AccountState::Disabled, Some(Rejection::Disabled)),
            (AccountState::Locked, Some(Rejection::Locked)),
            (AccountState::Expired, Some(Rejection::Expired)),
            (AccountState::PasswordChangeRequired, Some(Rejection::PasswordChangeRequired)),
        ] {
            assert_eq!(refused(state), rejection, "{state:?}");
        }
    }
}
