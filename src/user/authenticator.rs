use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::client::AuthenticatedClient;
use crate::error::BoxError;
use crate::time::BoxFuture;
use crate::types::context::RequestContext;
use crate::types::scope::Scope;
use crate::types::secret::Secret;
use crate::user::login::Login;

/// Decides whether a resource owner's credentials are right.
///
/// Implement it over a directory or another service; over a table of password hashes use
/// [`HashedPasswords`](crate::HashedPasswords), which is the only implementation here that promises the same cost for
/// names that exist and names that do not. An implementation of your own takes over that duty: an unknown user must
/// cost what a known one costs, and whatever is wrong must be told only to the observer.
///
/// ```
/// use password_grant::{BoxError, Login, LoginAttempt, Rejection, UserAuthenticator, async_trait};
/// # struct Directory;
/// # impl Directory {
/// #     async fn bind(&self, _: &str, _: &str) -> Result<Option<String>, BoxError> { Ok(None) }
/// # }
///
/// #[async_trait]
/// impl UserAuthenticator for Directory {
///     async fn authenticate(&self, attempt: LoginAttempt<'_>) -> Result<Login, BoxError> {
///         Ok(match self.bind(attempt.username(), attempt.password().expose()).await? {
///             Some(entry_uuid) => Login::accepted(entry_uuid),
///             None => Login::rejected(Rejection::WrongPassword),
///         })
///     }
/// }
/// ```
#[async_trait]
pub trait UserAuthenticator: Send + Sync + 'static {
    /// Judges user name and password, and the state of the account.
    ///
    /// Called only for a client that has authenticated and may use the grant, once everything else about the request
    /// has been found in order. May be cancelled at any await, when the caller goes away.
    ///
    /// # Errors
    ///
    /// When the answer cannot be told now; the caller gets 503 `temporarily_unavailable`, and nothing is held against
    /// the user. A wrong password is no error but [`Login::rejected`].
    async fn authenticate(&self, attempt: LoginAttempt<'_>) -> Result<Login, BoxError>;
}

impl<T: UserAuthenticator + ?Sized> UserAuthenticator for Arc<T> {
    fn authenticate<'a, 'b, 'c>(
        &'a self,
        attempt: LoginAttempt<'b>,
    ) -> BoxFuture<'c, Result<Login, BoxError>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        (**self).authenticate(attempt)
    }
}

/// What a resource owner is judged by.
///
/// The password is overwritten when this value is dropped, before a token is issued.
pub struct LoginAttempt<'a> {
    pub(crate) username: &'a str,
    pub(crate) password: Secret<'a>,
    pub(crate) scope: &'a Scope,
    pub(crate) client: &'a AuthenticatedClient,
    pub(crate) context: &'a RequestContext,
}

impl LoginAttempt<'_> {
    /// The user name as typed: 1 to 320 bytes, without control characters other than TAB (RFC 6749 appendix A.15).
    /// Nothing was trimmed or folded: compare it as you compare names elsewhere.
    #[must_use]
    pub fn username(&self) -> &str {
        self.username
    }

    /// The password as typed: not empty, within [`RequestLimits::password`](crate::RequestLimits::password), without control
    /// characters other than TAB (RFC 6749 appendix A.16).
    #[must_use]
    pub fn password(&self) -> &Secret<'_> {
        &self.password
    }

    /// The scope that was asked for, or the client's default one. All of it is registered for the client.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        self.scope
    }

    /// The client through which the user logs in.
    #[must_use]
    pub fn client(&self) -> &AuthenticatedClient {
        self.client
    }

    /// What surrounds the request: peer address, tenant, the host's own value.
    #[must_use]
    pub fn context(&self) -> &RequestContext {
        self.context
    }
}

impl fmt::Debug for LoginAttempt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginAttempt")
            .field("scope", &self.scope)
            .field("client", &self.client)
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}
