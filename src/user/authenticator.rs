//! The trait that authenticates a resource owner for the password grant (RFC 6749 section 4.3), and
//! its input.

use std::borrow::Cow;
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
use crate::user::password_use::PasswordUse;

/// Authenticates resource owners by user name and password.
///
/// Implement it over a directory or another service. For a table of password hashes use
/// [`HashedPasswords`](crate::HashedPasswords), the only implementation in this crate that promises
/// the same cost for names that exist and names that do not. Your own implementation takes over
/// that duty: an unknown user must cost as much as a known one, and only the observer may learn why
/// a login failed.
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
///             // The directory does not say whether there is such a user.
///             None => Login::rejected(Rejection::UnknownUser),
///         })
///     }
/// }
/// ```
#[async_trait]
pub trait UserAuthenticator: Send + Sync + 'static {
    /// Verifies the user name, the password and the state of the account.
    ///
    /// The engine calls it after the client has authenticated and may use the grant, and after
    /// every other check of the request has passed.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any await, when the caller goes away.
    ///
    /// # Errors
    ///
    /// If the credentials cannot be verified now. The caller gets 503 `temporarily_unavailable`,
    /// and no failure is counted against the user. A wrong password is not an error: return
    /// [`Login::rejected`].
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

/// The credentials of a resource owner, with the scope, client and context of the request.
///
/// The password is overwritten when this value is dropped, before a token is issued.
pub struct LoginAttempt<'a> {
    pub(crate) username: &'a str,
    pub(crate) password: Secret<'a>,
    pub(crate) others: &'a [(Cow<'a, str>, Secret<'a>)],
    pub(crate) scope: &'a Scope,
    pub(crate) client: &'a AuthenticatedClient,
    pub(crate) context: &'a RequestContext,
    pub(crate) password_use: &'a PasswordUse,
}

impl LoginAttempt<'_> {
    /// The user name as typed: 1 to 320 bytes, without control characters other than TAB (RFC 6749
    /// appendix A.15). It is neither trimmed nor case-folded: compare it the way you compare names
    /// elsewhere.
    #[must_use]
    pub fn username(&self) -> &str {
        self.username
    }

    /// The password as typed: not empty, at most
    /// [`RequestLimits::password`](crate::RequestLimits::password) bytes, without control
    /// characters other than TAB (RFC 6749 appendix A.16).
    #[must_use]
    pub fn password(&self) -> &Secret<'_> {
        self.password_use.hand_out();
        &self.password
    }

    /// A parameter of the token request that the engine does not know, such as the `otp` of a
    /// second factor. `None` if the request does not have it, or has it without a value. The engine
    /// has refused the request if the parameter is repeated or its name is longer than 64 bytes;
    /// otherwise it is raw. No event and no `Debug` output holds it.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let (_, value) = self.others.iter().find(|(other, _)| other == name)?;
        Some(value.expose()).filter(|value| !value.is_empty())
    }

    /// The requested scope, or the client's default scope. All of it is registered for the client.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        self.scope
    }

    /// The client through which the user logs in.
    #[must_use]
    pub fn client(&self) -> &AuthenticatedClient {
        self.client
    }

    /// The context of the request: peer address, tenant, device and the host's own value.
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

#[cfg(all(test, feature = "argon2"))]
mod tests {
    use super::*;
    use crate::client::Client;
    use crate::time::Timestamp;

    #[test]
    fn a_host_that_has_asked_for_the_password_has_looked_at_it() {
        let now = Timestamp::from_unix_seconds(0);
        let client = AuthenticatedClient::of_token(Client::public("app").build(), now).unwrap();
        let password_use = PasswordUse::new();
        let attempt = LoginAttempt {
            username: "alice",
            password: Secret::new("wonderland"),
            others: &[],
            scope: &Scope::empty(),
            client: &client,
            context: &RequestContext::new(),
            password_use: &password_use,
        };
        attempt.password_use.wait_for_turn();
        assert_eq!(attempt.password().expose(), "wonderland");
        assert!(!password_use.withdraw());
    }
}
