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
/// Hashes of any other kind, bcrypt and Argon2i among them, and Argon2id beyond the bounds of [`HashedPasswords`](crate::HashedPasswords), are never
/// right; the observer is told ([`EventKind::StoredHashRefused`](crate::event::EventKind)).
///
/// ```
/// use password_grant::password::AccountState;
/// use password_grant::{BoxError, RequestContext, User, UserStore, async_trait};
/// # struct Db; struct Row { id: String, password_hash: Option<String>, active: bool }
/// # impl Db {
/// #   async fn user_named(&self, _: &str) -> Result<Option<Row>, BoxError> { Ok(None) }
/// #   async fn replace_hash(&self, _: &str, _: &str, _: Option<&str>) -> Result<(), BoxError> { Ok(()) }
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
///     async fn update_hash(&self, user: &User, new_hash: &str, _: &RequestContext) -> Result<(), BoxError> {
///         // UPDATE users SET password_hash = $new WHERE id = $id AND password_hash = $old
///         self.replace_hash(user.subject().as_str(), new_hash, user.password_hash()).await
///     }
/// }
/// ```
#[async_trait]
pub trait UserStore: Send + Sync + 'static {
    /// The user of this name, in the tenant that the context names. Users of every state: whether one may log in is
    /// decided after the password.
    ///
    /// `username` is as typed: 1 to 320 bytes, without control characters other than TAB, not trimmed, not folded.
    ///
    /// # Errors
    ///
    /// When the answer cannot be told now; the caller gets 503. A name that nobody has is `Ok(None)`.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any await, as may [`accept`](Self::accept): what that consumes, such as a one-time code, is consumed
    /// though no token may follow.
    async fn find(
        &self,
        username: &str,
        context: &RequestContext,
    ) -> Result<Option<User>, BoxError>;

    /// Stores a stronger hash of the same password, which has just been proved right.
    ///
    /// Replace the hash only where it still is [`user.password_hash()`](User::password_hash), or a password that was
    /// changed meanwhile comes back.
    ///
    /// # Errors
    ///
    /// A failure is observed, and the login goes on; so do a panic, and an answer that takes more than two seconds.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any await: let the replacement be one statement.
    async fn update_hash(
        &self,
        user: &User,
        new_hash: &str,
        context: &RequestContext,
    ) -> Result<(), BoxError>;

    /// What becomes of a user whose password is right. Override it to add claims to `login`, to narrow its scope, or to
    /// ask for a second factor with [`Login::more_needed`].
    ///
    /// Called for [`Active`](AccountState::Active) users with an accepted login, and for those with
    /// [`SecondFactorRequired`](AccountState::SecondFactorRequired) with a rejected one, which only
    /// [`User::second_factor_passed`] turns into an accepted one. For a factor that is wrong return the login as it came: it
    /// counts as a failure, which [`Login::more_needed`] does not. Users in any other state are rejected before. Whatever
    /// is returned, a token's scope stays within [`User::scope`], and a login of another subject is an error.
    ///
    /// ```
    /// # use password_grant::password::AccountState;
    /// # use password_grant::{BoxError, Login, LoginAttempt, RequestContext, User, UserStore, async_trait};
    /// # struct Db;
    /// # impl Db { async fn role(&self, _: &str) -> Result<String, BoxError> { Ok("staff".into()) } }
    /// # #[async_trait]
    /// # impl UserStore for Db {
    /// #   async fn find(&self, _: &str, _: &RequestContext) -> Result<Option<User>, BoxError> { Ok(None) }
    /// #   async fn update_hash(&self, _: &User, _: &str, _: &RequestContext) -> Result<(), BoxError> { Ok(()) }
    /// async fn accept(&self, user: &User, _: &LoginAttempt<'_>, login: Login) -> Result<Login, BoxError> {
    ///     if user.account_state() == AccountState::SecondFactorRequired {
    ///         return Ok(Login::more_needed("mfa_required")); // none was sent; a wrong one is `Ok(login)`
    ///     }
    ///     Ok(login.claim("role", self.role(user.subject().as_str()).await?))
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// When the answer cannot be told now; the caller gets 503.
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

/// A user as the host has stored it.
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
    /// It may.
    #[default]
    Active,
    /// It was switched off.
    Disabled,
    /// It was locked.
    Locked,
    /// It, or its password, has expired.
    Expired,
    /// Its password must be changed first.
    PasswordChangeRequired,
    /// It has a second factor, which this grant alone would bypass: rejected, unless [`UserStore::accept`] asks for
    /// that factor.
    SecondFactorRequired,
}

impl AccountState {
    /// Why it may not log in with its password alone, if it may not.
    pub(crate) fn rejection(self) -> Option<Rejection> {
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
    /// An active user: the subject is the table's immutable key, the hash a PHC string as
    /// [`Argon2Parameters::hash`](crate::password::Argon2Parameters::hash) makes, or nothing for a user without a password.
    #[must_use]
    pub fn new(subject: impl Into<Subject>, password_hash: Option<String>) -> Self {
        Self { subject: subject.into(), password_hash, state: AccountState::Active, scope: None }
    }

    /// The state of the account.
    #[must_use]
    pub fn state(mut self, state: AccountState) -> Self {
        self.state = state;
        self
    }

    /// The most that this user may grant; see [`Login::scope`].
    #[must_use]
    pub fn scope(mut self, scope: Scope) -> Self {
        self.scope = Some(scope);
        self
    }

    /// Who it is.
    #[must_use]
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The stored hash.
    #[must_use]
    pub fn password_hash(&self) -> Option<&str> {
        self.password_hash.as_deref()
    }

    /// The most that the user may grant, if it was said.
    pub(crate) fn most_scope(&self) -> Option<&Scope> {
        self.scope.as_ref()
    }

    /// The state of the account that was given.
    #[must_use]
    pub fn account_state(&self) -> AccountState {
        self.state
    }

    /// An accepted login of this user, whose second factor [`UserStore::accept`] has found right. The only way to a
    /// token for a user with [`SecondFactorRequired`](AccountState::SecondFactorRequired).
    #[must_use]
    pub fn second_factor_passed(&self) -> Login {
        Login::accepted_with_second_factor(self.subject.clone())
    }

    /// What the state alone makes of a right password.
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
