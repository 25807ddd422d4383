//! The configuration of refresh tokens, as a host sets it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::session::epoch::SubjectEpoch;
use crate::session::index::SessionIndex;
use crate::session::token::RefreshKeys;
use crate::types::scope::Scope;
use crate::user::AccountGate;

/// The configuration of refresh tokens ([RFC 6749 section 6]), which are switched on by
/// [`PasswordGrantBuilder::refresh_tokens`](crate::PasswordGrantBuilder::refresh_tokens).
///
/// A login then also yields a refresh token if its client may use
/// [`Grant::RefreshToken`](crate::Grant::RefreshToken) and the granted scope includes
/// `offline_access`. Each use of a refresh token yields another one. All refresh and access tokens
/// that follow from one login are a *session*; the claim `sid` of its access tokens holds its
/// identifier.
///
/// * A refresh token that was used before ends its session, including the access tokens that are
///   verified with [`Revocations`](crate::resource::Revocations): somebody else has it.
/// * Within the **retry window** a used token is answered again with the same successor, in case
///   the first answer was lost, so that a session never forks. A request that is delayed for longer
///   than that cannot be distinguished from theft.
/// * The [`AccountGate`] and the client's registration are checked again at each use.
/// * [`PasswordGrant::log_out_everywhere`](crate::PasswordGrant::log_out_everywhere) ends all
///   sessions of a subject. Call it when a password was changed.
///
/// A number outside the range that is documented for it is an error of
/// [`PasswordGrantBuilder::build`](crate::PasswordGrantBuilder::build).
///
/// A store that loses commits, as an asynchronous replica may when it takes over, logs clients out.
///
/// ```
/// use password_grant::{RefreshKeys, RefreshTokens};
/// use std::time::Duration;
/// # use password_grant::{
/// #     AccountGate, Admission, AuthenticatedClient, BoxError, RequestContext, Subject,
/// #     async_trait,
/// # };
/// # struct Db;
/// # #[async_trait]
/// # impl AccountGate for Db {
/// #     async fn admit(
/// #         &self,
/// #         _: &Subject,
/// #         _: &AuthenticatedClient,
/// #         _: &RequestContext,
/// #     ) -> Result<Admission, BoxError> {
/// #         Ok(Admission::admitted())
/// #     }
/// # }
/// # let (secret, db) = ([7; 32], Db);
///
/// let refresh = RefreshTokens::new(RefreshKeys::new(secret)?, db)
///     .idle_lifetime(Duration::from_secs(7 * 86_400));
/// # Ok::<(), password_grant::jose::KeyError>(())
/// ```
///
/// [RFC 6749 section 6]: https://www.rfc-editor.org/rfc/rfc6749#section-6
#[must_use]
pub struct RefreshTokens {
    pub(super) keys: RefreshKeys,
    pub(super) gate: Arc<dyn AccountGate>,
    pub(super) window: Duration,
    pub(super) repeats: u32,
    pub(super) absolute_lifetime: Duration,
    pub(super) idle_lifetime: Option<Duration>,
    pub(super) sessions: usize,
    pub(super) required_scope: Option<Scope>,
}

/// The longest absolute lifetime of a session.
const MAX_LIFETIME: Duration = Duration::from_secs(400 * 86_400);

const _: () = assert!(
    SubjectEpoch::TTL.as_secs() > MAX_LIFETIME.as_secs(),
    "a log-out is remembered for longer than a session that it ends may last"
);

impl RefreshTokens {
    /// Configures refresh tokens with these keys and this gate. The gate decides which accounts may
    /// go on after the password was checked, and has no default.
    pub fn new(keys: RefreshKeys, gate: impl AccountGate) -> Self {
        Self {
            keys,
            gate: Arc::new(gate),
            window: Duration::from_secs(60),
            repeats: 32,
            absolute_lifetime: Duration::from_secs(30 * 86_400),
            idle_lifetime: None,
            sessions: 200,
            required_scope: Some(Scope::offline_access()),
        }
    }

    /// The retry window: how long a used token yields the same successor again. At most ten
    /// minutes. Default 60 s, since clients time out after half a minute and retry a while later.
    /// Zero turns it off: a client whose answer was lost then has to log in again.
    ///
    /// `Retry-After` is at most a fifth of the window (or a second, if that is longer), and the
    /// store may take half of it, so that a client that is told to retry is never taken for a
    /// thief.
    pub fn retry_window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// How often one used token yields its successor again within
    /// [`retry_window`](Self::retry_window). After that the answer is 503. Default 32.
    pub fn retries(mut self, repeats: u32) -> Self {
        self.repeats = repeats;
        self
    }

    /// How long after its login a session ends, however it is used. From a minute to 400 days.
    /// Default 30 days. A shorter lifetime than before ends the sessions that have begun already
    /// sooner too; a longer one does not prolong them. A log-out is remembered for 401 days, which is longer than any session.
    pub fn absolute_lifetime(mut self, lifetime: Duration) -> Self {
        self.absolute_lifetime = lifetime;
        self
    }

    /// How long a session lasts without being used. A minute or more. If it is not set, only
    /// [`absolute_lifetime`](Self::absolute_lifetime) ends a session.
    pub fn idle_lifetime(mut self, lifetime: Duration) -> Self {
        self.idle_lifetime = Some(lifetime);
        self
    }

    /// How many sessions a user may have through one client; another login ends the oldest. From 1
    /// to 500. Default 200.
    pub fn sessions(mut self, most: usize) -> Self {
        self.sessions = most;
        self
    }

    /// The scope that must be granted for a refresh token to be issued. Default `offline_access`.
    /// With the empty scope, every login through a client with
    /// [`Grant::RefreshToken`](crate::Grant::RefreshToken) gets one.
    pub fn required_scope(mut self, scope: Scope) -> Self {
        self.required_scope = Some(scope).filter(|scope| !scope.is_empty());
        self
    }

    /// Checks the numbers.
    ///
    /// # Errors
    ///
    /// The first rule that does not hold, as text.
    pub(crate) fn check(&self, scopes: Option<&Scope>) -> Result<(), &'static str> {
        let minute = Duration::from_secs(60);
        let rules = [
            (self.window <= 10 * minute, "the retry window must be ten minutes or less"),
            (
                (minute..=MAX_LIFETIME).contains(&self.absolute_lifetime),
                "the absolute lifetime must be between a minute and 400 days",
            ),
            (
                self.idle_lifetime.is_none_or(|life| life >= minute),
                "the idle lifetime must be a minute or more",
            ),
            (
                self.idle_lifetime.is_none_or(|life| life <= self.absolute_lifetime),
                "the idle lifetime must not be longer than the absolute one, which ends the session",
            ),
            (
                self.required_scope
                    .as_ref()
                    .is_none_or(|scope| scopes.is_none_or(|scopes| scopes.includes(scope))),
                "the required scope (offline_access by default) must be among the server's scopes",
            ),
            (
                (1..=SessionIndex::MOST).contains(&self.sessions),
                "a user may have from 1 to 500 sessions through a client",
            ),
        ];
        rules.into_iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, problem)| Err(problem))
    }
}

impl fmt::Debug for RefreshTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshTokens")
            .field("keys", &self.keys)
            .field("window", &self.window)
            .field("absolute_lifetime", &self.absolute_lifetime)
            .field("idle_lifetime", &self.idle_lifetime)
            .finish_non_exhaustive()
    }
}
