//! Events: what the engine, the password hashing and the resource side report to the host's audit
//! log, metrics and alarms. Adapters, such as the one for `tracing`, are modules of this one.

mod display;
mod names;
#[cfg(feature = "tracing")]
mod tracing;

use std::borrow::Cow;
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::error::{
    ClientFault, LimitKind, NotAllowed, Rejection, RequestFault, ServerFault, TokenFault,
};
#[cfg(feature = "tracing")]
pub use crate::event::tracing::TracingObserver;
use crate::types::context::RequestContext;
use crate::types::identifier::{ClientId, SessionId, Subject};
use crate::types::scope::Scope;

/// Receives every [`Event`]. Implement it for an audit log, for metrics or for alarms.
///
/// It is called on the thread that serves the request, so it must not block. An observer that
/// panics does not change the outcome of the request.
pub trait Observer: Send + Sync + 'static {
    /// Called once for each event.
    fn observe(&self, event: &Event<'_>);
}

impl<T: Observer + ?Sized> Observer for Arc<T> {
    fn observe(&self, event: &Event<'_>) {
        (**self).observe(event);
    }
}

/// Discards every event.
impl Observer for () {
    fn observe(&self, _: &Event<'_>) {}
}

/// Hands an event to the observer, and contains a panic of the observer.
pub(crate) fn observe(observer: &dyn Observer, event: &Event<'_>) {
    let _ = catch_unwind(AssertUnwindSafe(|| observer.observe(event)));
}

/// The observer that is used unless the host sets one.
pub(crate) fn default_observer() -> Arc<dyn Observer> {
    #[cfg(feature = "tracing")]
    return Arc::new(TracingObserver::new());
    #[cfg(not(feature = "tracing"))]
    return Arc::new(());
}

/// Something that happened: its [`kind`](Self::kind), and the facts that are known about it.
///
/// A field is `None` where the fact is not known or does not apply. No field holds a secret.
/// Identifiers that the caller typed (`username`, and `client_id` of a client that has not
/// authenticated) are raw. [`Display`](std::fmt::Display) writes one line in which such text is
/// quoted and escaped, so that it cannot break or forge a line of a log.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Event<'a> {
    /// What happened.
    pub kind: EventKind,
    /// The authenticated client. Raw for [`EventKind::ClientRefused`], [`EventKind::ClientDenied`],
    /// [`EventKind::KeyPassedOver`] and [`EventKind::ServerFault`]: it may be the identifier that
    /// the request claimed.
    pub client_id: Option<&'a ClientId>,
    /// The user name as it was typed. Raw, and people do type passwords into this field; see
    /// [`loggable_username`](Self::loggable_username).
    pub username: Option<&'a str>,
    /// The resource owner.
    pub subject: Option<&'a Subject>,
    /// The session (`sid`).
    pub session_id: Option<&'a SessionId>,
    /// The access token's identifier (`jti`).
    pub token_id: Option<&'a str>,
    /// The scope that was granted.
    pub scope: Option<&'a Scope>,
    /// The host's error code, for [`EventKind::MoreNeeded`].
    pub code: Option<&'a str>,
    /// How long the caller was told to wait (`Retry-After`).
    pub retry_after: Option<Duration>,
    /// The time from the start of the request to this event, for events that end a request.
    pub elapsed: Option<Duration>,
    /// The underlying error. Its text is the host's and may hold whatever its author put there.
    pub cause: Option<&'a (dyn Error + 'static)>,
    /// The context of the request.
    pub context: Option<&'a RequestContext>,
    /// Whether `username` is known to be that of an account.
    pub user_found: bool,
}

/// What happened. [`name`](Self::name) and [`reason`](Self::reason) are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventKind {
    /// A resource owner has logged in. A token follows, unless a later check fails.
    LoginAccepted,
    /// A token was issued for a login.
    TokenIssued,
    /// A token was issued for a refresh token.
    TokenRefreshed,
    /// A token was revoked: a refresh token with its session, or an access token alone. Or the
    /// host has ended a session.
    TokenRevoked,
    /// A login ended the user's oldest session through this client, because there were as many as
    /// are allowed.
    SessionReplaced,
    /// The host has logged a subject out everywhere.
    LoggedOut,
    /// The host has reset a limit.
    AttemptsReset(LimitKind),
    /// A request was malformed or incomplete.
    RequestRefused(RequestFault),
    /// A client did not authenticate.
    ClientRefused(ClientFault),
    /// A client was refused without a look at its credentials, because too many authentications
    /// have failed: under its identifier from this address, or from the IPv6 network (/48) and at
    /// least one from this address. An address has 256 such counts, so failures under other
    /// identifiers may be among them. See [`AttemptLimits::client`](crate::AttemptLimits::client).
    ClientDenied,
    /// An authenticated client asked for something that it is not registered for.
    NotAllowed(NotAllowed),
    /// A resource owner did not log in.
    LoginRejected(Rejection),
    /// The host asked for another step before a token is issued.
    MoreNeeded,
    /// A refresh token, or a token to be revoked, was refused. [`TokenFault::Reused`] means that
    /// somebody else has one of the session's tokens; the session was ended.
    /// [`TokenFault::Ahead`] and [`TokenFault::Forged`] mean that a key has leaked, or that a
    /// store has lost what it had committed.
    TokenRefused(TokenFault),
    /// The server's side failed. Nothing was granted.
    ServerFault(ServerFault),
    /// A login attempt was admitted: it is counted, and will be judged.
    AttemptAdmitted(LimitKind),
    /// A login attempt waits for others of the same name that are being judged, without which it
    /// would be admitted.
    AttemptWaits(LimitKind),
    /// A login attempt was denied, because there were too many. No user was looked up and no
    /// password was hashed for it.
    AttemptDenied(LimitKind),
    /// A login attempt ended before its outcome was stored: the caller hung up, the host did not
    /// wait for the answer, the code panicked, or the store failed. The attempt counts as failed.
    /// With state in memory, one whose password nobody has looked at is not counted, and not
    /// reported.
    AttemptAbandoned,
    /// So many attempts in a row have failed that none is admitted for a whole window. Reported
    /// at every failure from then on.
    AccountLocked(LimitKind),
    /// A user has logged in from an origin for the first time. From now on that origin has a
    /// limit of its own.
    NewOrigin,
    /// Failures have become many in a way that no single limit covers. Nothing was blocked.
    Alarm {
        /// What there is too much of.
        alarm: Alarm,
        /// The number of failures within ten minutes, in this process.
        failures: u32,
    },
    /// Many requests came without their caller's address, so limits by address did not apply to
    /// them. Usually the host's adapter does not call
    /// [`HttpRequest::peer`](crate::HttpRequest::peer). Reported once by each engine.
    NoPeerAddress,
    /// Refresh tokens are on, and sessions are kept in the memory of this process: a restart ends
    /// all of them. Reported once, when the engine is built.
    SessionsInMemory,
    /// A client's assertion was not for this server's issuer alone, which the client is
    /// registered for
    /// ([`AssertionCompatibility::EndpointAudience`](crate::assertion::AssertionCompatibility)).
    /// Once no client causes this event any more, the exception can be removed.
    LenientAudience,
    /// An entry of a client's key set cannot be used and was passed over. `cause` is an
    /// [`UnusableKey`](crate::jose::UnusableKey). Reported when a set is fetched from its
    /// `jwks_uri`, and for every set when no usable key fits an assertion, unless the assertion
    /// names another key. The client has not authenticated.
    KeyPassedOver,
    /// A password, or a client secret that is stored as a slow hash, was hashed to be compared.
    /// Once for every login that is judged, whatever its outcome.
    PasswordVerified {
        /// Argon2 memory in KiB.
        memory_kib: u32,
        /// Argon2 passes.
        passes: u32,
        /// Argon2 lanes.
        lanes: u32,
    },
    /// The stored hash of a user is of a kind or strength that is not accepted, so this user
    /// cannot log in.
    StoredHashRefused,
    /// A correct password was stored again with the current parameters.
    PasswordRehashed,
    /// A correct password could not be stored again with the current parameters. The login went
    /// on.
    RehashFailed,
    /// A request to a protected resource was refused.
    AccessRefused(AccessFault),
}

/// The severity of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventLevel {
    /// Somebody has to act: a dependency failed, or the integration is wrong.
    Error,
    /// A request was refused, or something looks like an attack or a misconfiguration.
    Warn,
    /// Regular business.
    Info,
    /// Details for debugging and metrics.
    Debug,
}

/// A pattern of failures that no limit on a single name or address covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Alarm {
    /// Logins failed on many user names: a few common passwords tried on everybody.
    ManyAccounts,
    /// Many wrong secrets of one client, from any number of addresses.
    ManySecrets,
}

/// Why a request to a protected resource was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AccessFault {
    /// There is no bearer token. 401 without an error code.
    NoToken,
    /// The header is malformed or repeated, or the token also stands elsewhere. 400
    /// `invalid_request`.
    Malformed,
    /// The token has the wrong form, type, algorithm, key or signature, or is unknown. 401
    /// `invalid_token`.
    NotOurs,
    /// The token is of another issuer. 401 `invalid_token`.
    Issuer,
    /// The token is for another resource server. 401 `invalid_token`.
    Audience,
    /// The token has expired. 401 `invalid_token`.
    Expired,
    /// The token is not valid yet. 401 `invalid_token`.
    NotYetValid,
    /// The token was revoked, alone, with its session, or with all of its subject's. 401
    /// `invalid_token`.
    Revoked,
    /// The token is bound to a key (`cnf`), and no proof of possession was checked. 401
    /// `invalid_token`.
    Bound,
    /// The token's scope does not suffice. 403 `insufficient_scope`.
    Scope,
    /// The token look-up or the state store failed, so the token cannot be judged. 503.
    ServerFault,
}

impl EventKind {
    /// The severity with which the default log writes this event.
    #[must_use]
    pub fn level(self) -> EventLevel {
        match self {
            // A client that retries more often than it helps; nothing is wrong here.
            Self::ServerFault(ServerFault::RefreshContended) => EventLevel::Warn,
            Self::ServerFault(_)
            | Self::AccessRefused(AccessFault::ServerFault)
            | Self::NoPeerAddress => EventLevel::Error,
            // An anonymous request, which is told what it lacks.
            Self::AccessRefused(AccessFault::NoToken)
            | Self::AttemptAdmitted(_)
            | Self::AttemptWaits(_)
            | Self::PasswordVerified { .. }
            // The token that follows is the one line of a login.
            | Self::LoginAccepted
            | Self::NewOrigin => EventLevel::Debug,
            // People mistype names and passwords. Those who guess are reported by limits and alarms.
            Self::LoginRejected(Rejection::UnknownUser | Rejection::WrongPassword) => {
                EventLevel::Info
            }
            Self::RequestRefused(_)
            | Self::ClientRefused(_)
            | Self::ClientDenied
            | Self::NotAllowed(_)
            | Self::LoginRejected(_)
            | Self::TokenRefused(_)
            | Self::AttemptDenied(_)
            | Self::AttemptAbandoned
            | Self::AccountLocked(_)
            | Self::Alarm { .. }
            | Self::KeyPassedOver
            | Self::SessionsInMemory
            | Self::StoredHashRefused
            | Self::RehashFailed
            | Self::AccessRefused(_) => EventLevel::Warn,
            Self::TokenIssued
            | Self::TokenRefreshed
            | Self::TokenRevoked
            | Self::SessionReplaced
            | Self::LoggedOut
            | Self::AttemptsReset(_)
            | Self::MoreNeeded
            | Self::LenientAudience
            | Self::PasswordRehashed => EventLevel::Info,
        }
    }

    /// Whether a user name of this event is always that of an account.
    fn implies_user(self) -> bool {
        match self {
            Self::LoginRejected(rejection) => rejection != Rejection::UnknownUser,
            Self::LoginAccepted | Self::TokenIssued | Self::NewOrigin | Self::MoreNeeded => true,
            _ => false,
        }
    }
}

impl<'a> Event<'a> {
    /// An event of this kind about which nothing else is known: set the fields that are. For tests
    /// of an [`Observer`].
    #[must_use]
    pub fn new(kind: EventKind) -> Self {
        Self {
            kind,
            client_id: None,
            username: None,
            subject: None,
            session_id: None,
            token_id: None,
            scope: None,
            code: None,
            retry_after: None,
            elapsed: None,
            cause: None,
            context: None,
            user_found: kind.implies_user(),
        }
    }

    pub(crate) fn in_context(kind: EventKind, context: &'a RequestContext) -> Self {
        Self { context: Some(context), ..Self::new(kind) }
    }

    pub(crate) fn with_client(self, client_id: &'a ClientId) -> Self {
        Self { client_id: Some(client_id), ..self }
    }

    pub(crate) fn with_username(self, username: &'a str) -> Self {
        Self { username: Some(username), ..self }
    }

    /// Says that the user name was looked up, and whether it is that of an account.
    pub(crate) fn with_user_found(self, user_found: bool) -> Self {
        Self { user_found, ..self }
    }

    pub(crate) fn with_session(self, session_id: &'a SessionId) -> Self {
        Self { session_id: Some(session_id), ..self }
    }

    pub(crate) fn with_subject(self, subject: &'a Subject) -> Self {
        Self { subject: Some(subject), ..self }
    }

    pub(crate) fn with_cause(self, cause: &'a (dyn Error + 'static)) -> Self {
        Self { cause: Some(cause), ..self }
    }

    /// The user name as a log should hold it: whole if it is known to be that of an account, and
    /// otherwise its first character and its length, since people type passwords into this field.
    #[must_use]
    pub fn loggable_username(&self) -> Option<Cow<'a, str>> {
        let username = self.username?;
        if self.user_found {
            return Some(Cow::Borrowed(username));
        }
        let first: String = username.chars().take(1).collect();
        Some(Cow::Owned(format!("{first}…({})", username.chars().count())))
    }
}
