//! The host's user table: the trait to look users up and to replace their hashes, and a user with
//! its account state.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::error::{BoxError, Rejection};
use crate::time::BoxFuture;
use crate::types::context::RequestContext;
use crate::types::identifier::Subject;
use crate::types::scope::Scope;
use crate::user::authenticator::LoginAttempt;
use crate::user::login::Login;

/// A table of users with Argon2id password hashes.
///
/// A hash of any other kind, including bcrypt and Argon2i, or an Argon2id hash beyond the bounds of
/// [`HashedPasswords`](crate::HashedPasswords) never matches; the observer receives
/// [`EventKind::StoredHashRefused`](crate::event::EventKind).
///
/// ```
/// use password_grant::password::AccountState;
/// use password_grant::{BoxError, RequestContext, User, UserStore, async_trait};
/// # struct Db; struct Row { id: String, password_hash: Option<String>, active: bool }
/// # impl Db {
/// #     async fn user_named(&self, _: &str) -> Result<Option<Row>, BoxError> { Ok(None) }
/// #     async fn replace_hash(&self, _: &str, _: &str, _: Option<&str>) -> Result<(), BoxError> {
/// #         Ok(())
/// #     }
/// # }
///
/// #[async_trait]
/// impl UserStore for Db {
///     async fn find(&self, username: &str, _: &RequestContext) -> Result<Option<User>, BoxError> {
///         let row = self.user_named(username).await?;
///         Ok(row.map(|row| {
///             let state = if row.active { AccountState::Active } else { AccountState::Disabled };
///             User::new(row.id, row.password_hash).state(state)
///         }))
///     }
///
///     async fn update_hash(
///         &self,
///         user: &User,
///         new_hash: &str,
///         _: &RequestContext,
///     ) -> Result<(), BoxError> {
///         // UPDATE users SET password_hash = $new WHERE id = $id AND password_hash = $old
///         self.replace_hash(user.subject().as_str(), new_hash, user.password_hash()).await
///     }
/// }
/// ```
#[async_trait]
pub trait UserStore: Send + Sync + 'static {
    /// Looks up the user of this name, in the tenant of the context. Return users of every state:
    /// the state is checked after the password.
    ///
    /// `username` is as typed: 1 to 320 bytes, without control characters other than TAB, neither
    /// trimmed nor case-folded.
    ///
    /// # Errors
    ///
    /// If the lookup cannot be done now; the caller gets 503. An unknown name is `Ok(None)`.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any await, as may that of [`accept`](Self::accept): what
    /// `accept` consumes, such as a one-time code, is consumed even if no token follows.
    async fn find(
        &self,
        username: &str,
        context: &RequestContext,
    ) -> Result<Option<User>, BoxError>;

    /// Stores a stronger hash of the same password, which has just been verified.
    ///
    /// Replace the hash only if it still is [`user.password_hash()`](User::password_hash).
    /// Otherwise the old password would return if it was changed in the meantime.
    ///
    /// # Errors
    ///
    /// A failure is reported to the observer, and the login continues. The same applies to a panic,
    /// and to an answer that takes more than two seconds.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any await, so make the replacement one statement.
    async fn update_hash(
        &self,
        user: &User,
        new_hash: &str,
        context: &RequestContext,
    ) -> Result<(), BoxError>;

    /// Decides the login of a user whose password is right. Override it to add claims to `login`,
    /// to narrow its scope, or to ask for a second factor with [`Login::more_needed`].
    ///
    /// It is called for [`Active`](AccountState::Active) users with an accepted login, and for
    /// users with [`SecondFactorRequired`](AccountState::SecondFactorRequired) with a rejected
    /// login, which only [`User::second_factor_passed`] turns into an accepted one. If the factor
    /// is wrong, return `login` unchanged: this counts as a failure, while [`Login::more_needed`]
    /// does not. Users in any other state are rejected before. Whatever is returned, the token's
    /// scope stays within [`User::scope`], and a login of another subject is an error.
    ///
    /// ```
    /// # use password_grant::password::AccountState;
    /// # use password_grant::{
    /// #     BoxError, Login, LoginAttempt, RequestContext, User, UserStore, async_trait,
    /// # };
    /// # struct Db;
    /// # impl Db {
    /// #     async fn role(&self, _: &str) -> Result<String, BoxError> {
    /// #         Ok("staff".into())
    /// #     }
    /// # }
    /// # #[async_trait]
    /// # impl UserStore for Db {
    /// #     async fn find(&self, _: &str, _: &RequestContext) -> Result<Option<User>, BoxError> {
    /// #         Ok(None)
    /// #     }
    /// #     async fn update_hash(
    /// #         &self,
    /// #         _: &User,
    /// #         _: &str,
    /// #         _: &RequestContext,
    /// #     ) -> Result<(), BoxError> {
    /// #         Ok(())
    /// #     }
    /// async fn accept(
    ///     &self,
    ///     user: &User,
    ///     _: &LoginAttempt<'_>,
    ///     login: Login,
    /// ) -> Result<Login, BoxError> {
    ///     if user.account_state() == AccountState::SecondFactorRequired {
    ///         // none was sent; a wrong one is `Ok(login)`
    ///         return Ok(Login::more_needed("mfa_required"));
    ///     }
    ///     Ok(login.claim("role", self.role(user.subject().as_str()).await?))
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If the decision cannot be made now; the caller gets 503.
    async fn accept(
        &self,
        user: &User,
        attempt: &LoginAttempt<'_>,
        login: Login,
    ) -> Result<Login, BoxError> {
        let _ = (user, attempt);
        Ok(login)
    }
}

impl<T: UserStore + ?Sized> UserStore for Arc<T> {
    fn find<'a, 'b, 'c, 'd>(
        &'a self,
        username: &'b str,
        context: &'c RequestContext,
    ) -> BoxFuture<'d, Result<Option<User>, BoxError>>
    where
        'a: 'd,
        'b: 'd,
        'c: 'd,
        Self: 'd,
    {
        (**self).find(username, context)
    }

    fn update_hash<'a, 'b, 'c, 'd, 'e>(
        &'a self,
        user: &'b User,
        new_hash: &'c str,
        context: &'d RequestContext,
    ) -> BoxFuture<'e, Result<(), BoxError>>
    where
        'a: 'e,
        'b: 'e,
        'c: 'e,
        'd: 'e,
        Self: 'e,
    {
        (**self).update_hash(user, new_hash, context)
    }

    fn accept<'a, 'b, 'c, 'd, 'e>(
        &'a self,
        user: &'b User,
        attempt: &'c LoginAttempt<'d>,
        login: Login,
    ) -> BoxFuture<'e, Result<Login, BoxError>>
    where
        'a: 'e,
        'b: 'e,
        'c: 'e,
        'd: 'e,
        Self: 'e,
    {
        (**self).accept(user, attempt, login)
    }
}

/// A user as stored by the host.
#[derive(Clone)]
pub struct User {
    subject: Subject,
    password_hash: Option<String>,
    state: AccountState,
    scope: Option<Scope>,
}

/// Whether an account may log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum AccountState {
    /// The account may log in.
    #[default]
    Active,
    /// The account is disabled.
    Disabled,
    /// The account is locked.
    Locked,
    /// The account or its password has expired.
    Expired,
    /// The password must be changed first.
    PasswordChangeRequired,
    /// The account has a second factor, which this grant alone would bypass. The login is rejected
    /// unless [`UserStore::accept`] asks for that factor.
    SecondFactorRequired,
}

impl AccountState {
    /// Why the account may not log in with its password alone; `None` if it may.
    #[must_use]
    pub fn rejection(self) -> Option<Rejection> {
        match self {
            Self::Active => None,
            Self::Disabled => Some(Rejection::Disabled),
            Self::Locked => Some(Rejection::Locked),
            Self::Expired => Some(Rejection::Expired),
            Self::PasswordChangeRequired => Some(Rejection::PasswordChangeRequired),
            Self::SecondFactorRequired => Some(Rejection::SecondFactorRequired),
        }
    }
}

impl User {
    /// An active user. `subject` is the table's immutable key. `password_hash` is a PHC string as
    /// [`Argon2Parameters::hash`](crate::password::Argon2Parameters::hash) makes, or `None` for a
    /// user without a password.
    #[must_use]
    pub fn new(subject: impl Into<Subject>, password_hash: Option<String>) -> Self {
        Self { subject: subject.into(), password_hash, state: AccountState::Active, scope: None }
    }

    /// Sets the state of the account.
    #[must_use]
    pub fn state(mut self, state: AccountState) -> Self {
        self.state = state;
        self
    }

    /// Limits the scope that this user may grant; see [`Login::scope`].
    #[must_use]
    pub fn scope(mut self, scope: Scope) -> Self {
        self.scope = Some(scope);
        self
    }

    /// The user's subject.
    #[must_use]
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The stored hash.
    #[must_use]
    pub fn password_hash(&self) -> Option<&str> {
        self.password_hash.as_deref()
    }

    /// The limit of the scope that the user may grant, if one is set.
    pub(crate) fn most_scope(&self) -> Option<&Scope> {
        self.scope.as_ref()
    }

    /// The state of the account.
    #[must_use]
    pub fn account_state(&self) -> AccountState {
        self.state
    }

    /// An accepted login of this user, to be returned by [`UserStore::accept`] once it has verified
    /// the second factor. This is the only way to a token for a user with
    /// [`SecondFactorRequired`](AccountState::SecondFactorRequired).
    #[must_use]
    pub fn second_factor_passed(&self) -> Login {
        Login::accepted_with_second_factor(self.subject.clone())
    }

    /// The login of a user whose password is right, by the account state alone.
    pub(crate) fn login(&self) -> Login {
        match self.state.rejection() {
            None => Login::accepted(self.subject.clone()),
            Some(rejection) => Login::rejected(rejection),
        }
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("subject", &self.subject)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}
