//! What happened, for the audit log, metrics and alarms.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::vocabulary::context::RequestContext;
use crate::vocabulary::error::{ClientFault, Counted, NotAllowed, Rejection, RequestFault, TokenFault, Trouble};
use crate::vocabulary::identifier::{ClientId, Subject};
use crate::vocabulary::scope::Scope;

/// Is told what happened: for the audit log, metrics and alarms.
///
/// Called on the thread that serves the request, so it should be quick and must not block. No event holds a secret.
/// Identifiers that the caller typed (user names, client ids) are raw in an event's fields; its `Display` escapes
/// them, so a line made from it cannot be broken or forged by what somebody typed.
pub trait Observer: Send + Sync + 'static {
    /// Something happened.
    fn observe(&self, event: &Event<'_>);
}

impl<T: Observer + ?Sized> Observer for Arc<T> {
    fn observe(&self, event: &Event<'_>) {
        (**self).observe(event);
    }
}

/// Observes nothing.
impl Observer for () {
    fn observe(&self, _: &Event<'_>) {}
}

/// Tells the observer. What happened has happened: an observer that panics changes nothing about it.
pub(crate) fn tell(observer: &dyn Observer, event: &Event<'_>) {
    let _ = catch_unwind(AssertUnwindSafe(|| observer.observe(event)));
}

/// The observer of whoever has named none.
pub(crate) fn default_observer() -> Arc<dyn Observer> {
    #[cfg(feature = "tracing")]
    return Arc::new(crate::vocabulary::tracing::TracingObserver::new());
    #[cfg(not(feature = "tracing"))]
    return Arc::new(());
}

/// Something that happened, in the words that an audit log needs.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A resource owner has logged in. A token follows, unless something else is wrong.
    #[non_exhaustive]
    LoginAccepted {
        /// Through which client.
        client_id: &'a ClientId,
        /// Who it is.
        subject: &'a Subject,
        /// The name that was typed. Raw.
        username: &'a str,
        /// What surrounded the request.
        context: &'a RequestContext,
    },
    /// A token was issued.
    #[non_exhaustive]
    TokenIssued {
        /// To which client.
        client_id: &'a ClientId,
        /// For whom.
        subject: &'a Subject,
        /// The name that was typed. Raw.
        username: &'a str,
        /// With which scope.
        scope: &'a Scope,
        /// The token's identifier (`jti`).
        token_id: &'a str,
        /// The session that began with it (`sid`), if a refresh token was issued too.
        session_id: Option<&'a str>,
        /// What surrounded the request.
        context: &'a RequestContext,
    },
    /// A token was issued for a refresh token.
    #[non_exhaustive]
    TokenRefreshed {
        /// To which client.
        client_id: &'a ClientId,
        /// For whom.
        subject: &'a Subject,
        /// With which scope.
        scope: &'a Scope,
        /// The token's identifier (`jti`).
        token_id: &'a str,
        /// The session (`sid`).
        session_id: &'a str,
        /// What surrounded the request.
        context: &'a RequestContext,
    },
    /// A refresh token yielded nothing, or a token was not to be revoked by whoever asked. With
    /// [`Reused`](TokenFault::Reused) a family has ended, because somebody else has one of its tokens;
    /// [`Ahead`](TokenFault::Ahead) and [`Forged`](TokenFault::Forged) cannot be, unless a key has leaked or a store has
    /// lost what it had committed.
    #[non_exhaustive]
    TokenRefused {
        /// Which client.
        client_id: &'a ClientId,
        /// Why.
        fault: TokenFault,
        /// The session (`sid`), where the token is one of ours.
        session_id: Option<&'a str>,
        /// What surrounded the request.
        context: &'a RequestContext,
    },
    /// A client has revoked a token: a refresh token with its session, or an access token alone. Or the host has ended a
    /// session.
    #[non_exhaustive]
    TokenRevoked {
        /// Whose token it was.
        client_id: &'a ClientId,
        /// Of whom.
        subject: &'a Subject,
        /// The access token's identifier (`jti`); none for a refresh token.
        token_id: Option<&'a str>,
        /// The session (`sid`); none for an access token without one.
        session_id: Option<&'a str>,
        /// What surrounded the request.
        context: &'a RequestContext,
    },
    /// A user had as many sessions through a client as they may, and another login has ended the oldest.
    #[non_exhaustive]
    SessionReplaced {
        /// Which client.
        client_id: &'a ClientId,
        /// Whose.
        subject: &'a Subject,
        /// The session that has ended (`sid`).
        session_id: &'a str,
        /// What surrounded the login.
        context: &'a RequestContext,
    },
    /// The host has logged a subject out everywhere.
    #[non_exhaustive]
    LoggedOut {
        /// Whom.
        subject: &'a Subject,
        /// What the host gave.
        context: &'a RequestContext,
    },
    /// A request was malformed or incomplete.
    #[non_exhaustive]
    RequestRefused {
        /// What is wrong with it.
        fault: RequestFault,
        /// What surrounded the request.
        context: &'a RequestContext,
    },
    /// A request came without its caller's address, so that limits by address did not apply to it. Usually the host's
    /// adapter does not call [`HttpRequest::peer`](crate::HttpRequest::peer). Told once in the life of an engine.
    #[non_exhaustive]
    NoPeerAddress {
        /// What surrounded the request.
        context: &'a RequestContext,
    },
    /// A client did not authenticate.
    #[non_exhaustive]
    ClientRefused {
        /// Who the request said it comes from. Raw.
        client_id: Option<&'a str>,
        /// What is wrong.
        fault: ClientFault,
        /// What surrounded the request.
        context: &'a RequestContext,
    },
    /// A client's assertion was not for this server's issuer alone, which the client is registered for
    /// ([`AssertionCompatibility::EndpointAudience`](crate::AssertionCompatibility)). Once no client needs that any more, it
    /// can be switched off.
    #[non_exhaustive]
    LenientAudience {
        /// Which client.
        client_id: &'a ClientId,
        /// What surrounded the request.
        context: &'a RequestContext,
    },
    /// An entry of a client's key set cannot be used and was passed over. Told when a set is fetched from its `jwks_uri`; and
    /// for every set, also a registered one, when none of the usable keys fits an assertion, unless that names another key.
    /// Of a set that you register, [`JwkSet::unusable`](crate::JwkSet::unusable) tells at once.
    #[non_exhaustive]
    KeyPassedOver {
        /// Which client. It has not authenticated.
        client_id: &'a ClientId,
        /// The entry and why it cannot be used: an [`UnusableKey`](crate::UnusableKey).
        key: &'a (dyn std::error::Error + 'static),
        /// What surrounded the request.
        context: &'a RequestContext,
    },
    /// An authenticated client asked for what it may not have.
    #[non_exhaustive]
    NotAllowed {
        /// Which client.
        client_id: &'a ClientId,
        /// What it may not have.
        refused: NotAllowed,
        /// What surrounded the request.
        context: &'a RequestContext,
    },
    /// A resource owner did not log in.
    #[non_exhaustive]
    LoginRejected {
        /// Through which client.
        client_id: &'a ClientId,
        /// The name that was typed. Raw, and people do type passwords into the wrong field.
        username: &'a str,
        /// Why.
        rejection: Rejection,
        /// What surrounded the request.
        context: &'a RequestContext,
    },
    /// An attempt on a user name was admitted: it is counted, and will be judged.
    #[non_exhaustive]
    AttemptAdmitted {
        /// Through which client.
        client_id: &'a ClientId,
        /// The name that was typed. Raw.
        username: &'a str,
        /// The account, or the known origin that is counted in its place.
        counted: Counted,
        /// What surrounded the request.
        context: &'a RequestContext,
    },
    /// An attempt waits for others of the same name that are being judged.
    #[non_exhaustive]
    AttemptWaits {
        /// Through which client.
        client_id: &'a ClientId,
        /// The name that was typed. Raw.
        username: &'a str,
        /// Who is counted.
        counted: Counted,
        /// What surrounded the request.
        context: &'a RequestContext,
    },
    /// An attempt was denied: there were too many. Nothing was looked up or hashed for it.
    #[non_exhaustive]
    AttemptDenied {
        /// Through which client.
        client_id: &'a ClientId,
        /// The name that was typed. Raw.
        username: &'a str,
        /// Who was counted.
        counted: Counted,
        /// What the caller was told to wait.
        retry_after: Duration,
        /// What surrounded the request.
        context: &'a RequestContext,
    },
    /// So many attempts in a row have failed that none is admitted for a whole window. Told at every failure from then
    /// on.
    #[non_exhaustive]
    AccountLocked {
        /// Through which client the last attempt came.
        client_id: &'a ClientId,
        /// The name that was typed. Raw.
        username: &'a str,
        /// The account, or the known origin that is counted in its place.
        counted: Counted,
        /// What surrounded the request.
        context: &'a RequestContext,
    },
    /// Somebody logged in from where they had not before, or not for long. From now on this origin is counted apart.
    #[non_exhaustive]
    NewOrigin {
        /// Through which client.
        client_id: &'a ClientId,
        /// The name that was typed. Raw.
        username: &'a str,
        /// What surrounded the request.
        context: &'a RequestContext,
    },
    /// A client failed to authenticate too often from where it is. Its credentials were not looked at.
    #[non_exhaustive]
    ClientDenied {
        /// Who the request said it comes from. Raw.
        client_id: &'a str,
        /// What the caller was told to wait.
        retry_after: Duration,
        /// What surrounded the request.
        context: &'a RequestContext,
    },
    /// Failures are many, in a way that no single limit meets. Nothing was blocked for it.
    #[non_exhaustive]
    Alarm {
        /// What there is too much of.
        alarm: Alarm,
        /// Through which client; none if it is all of them together.
        client_id: Option<&'a ClientId>,
        /// How many there were within ten minutes, in this process.
        failures: u32,
        /// What surrounded the request that raised it.
        context: &'a RequestContext,
    },
    /// The host has set a count back to zero.
    #[non_exhaustive]
    AttemptsReset {
        /// Whose.
        counted: Counted,
        /// What the host gave.
        context: &'a RequestContext,
    },
    /// The host asked for another step before a token is issued.
    #[non_exhaustive]
    MoreNeeded {
        /// Through which client.
        client_id: &'a ClientId,
        /// The name that was typed. Raw.
        username: &'a str,
        /// The host's error code.
        code: &'a str,
        /// What surrounded the request.
        context: &'a RequestContext,
    },
    /// The server's side failed; nothing was granted.
    #[non_exhaustive]
    Trouble {
        /// What failed.
        trouble: Trouble,
        /// Which client had authenticated, if one had.
        client_id: Option<&'a ClientId>,
        /// The host's error, where there is one. Its text is the host's: it may hold whatever its author put there.
        cause: Option<&'a (dyn std::error::Error + 'static)>,
        /// What surrounded the request.
        context: &'a RequestContext,
    },
    /// A password, or a client secret that is stored as a slow hash, was hashed to be compared, on one of the hashing
    /// threads. Once for every login that is judged, whatever comes of it; for metrics, and to see that it costs the same for everybody.
    #[non_exhaustive]
    PasswordVerified {
        /// Argon2 memory in KiB.
        memory_kib: u32,
        /// Argon2 passes.
        passes: u32,
        /// Argon2 lanes.
        lanes: u32,
    },
    /// The stored hash of a user is of a kind or strength that is not accepted, so nobody can log in as this user.
    #[non_exhaustive]
    StoredHashRefused {
        /// Whose.
        subject: &'a Subject,
    },
    /// A password that was right is now stored with the current parameters.
    #[non_exhaustive]
    PasswordRehashed {
        /// Whose.
        subject: &'a Subject,
    },
    /// A password that was right could not be stored with the current parameters. The login went on.
    #[non_exhaustive]
    RehashFailed {
        /// Whose.
        subject: &'a Subject,
        /// Why.
        cause: &'a (dyn std::error::Error + 'static),
    },
    /// A request to a protected resource was refused.
    #[non_exhaustive]
    AccessRefused {
        /// Why.
        fault: AccessFault,
        /// The error of the token look-up or of the state store, where it is the cause.
        cause: Option<&'a (dyn std::error::Error + 'static)>,
    },
}

/// What there can be too much of, spread so that no limit on a single name or address meets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Alarm {
    /// Logins failed on many user names: a few common passwords tried on everybody.
    ManyAccounts,
    /// Many wrong secrets of one client, from however many addresses.
    ManySecrets,
}

/// Why a request to a protected resource was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AccessFault {
    /// It holds no bearer token. 401 without an error code.
    NoToken,
    /// The header is malformed or repeated, or the token also stands elsewhere. 400 `invalid_request`.
    Malformed,
    /// The token is not one of this verifier's: wrong form, type, algorithm, key or signature, or unknown. 401
    /// `invalid_token`.
    NotOurs,
    /// The token is of another issuer. 401 `invalid_token`.
    Issuer,
    /// The token is meant for another resource server. 401 `invalid_token`.
    Audience,
    /// The token has expired. 401 `invalid_token`.
    Expired,
    /// The token is not valid yet. 401 `invalid_token`.
    NotYetValid,
    /// The token was revoked, alone, with its family, or with all of its subject's. 401 `invalid_token`.
    Revoked,
    /// The token is bound to a key (`cnf`), and no proof of it was checked. 401 `invalid_token`.
    Bound,
    /// The token's scope does not suffice. 403 `insufficient_scope`.
    Scope,
    /// Whether the token is valid cannot be told now. 503.
    Trouble,
}

/// One line, in which whatever the caller typed is quoted and escaped.
impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LoginAccepted { client_id, subject, username, .. } => {
                write!(f, "login of {username:?} through client {client_id:?} accepted: subject {subject:?}")
            }
            Self::TokenIssued { client_id, subject, scope, token_id, .. } => {
                write!(
                    f,
                    "token {token_id:?} issued to client {client_id:?} for subject {subject:?}, scope {:?}",
                    scope.as_str()
                )
            }
            Self::TokenRefreshed { client_id, subject, scope, token_id, session_id, .. } => {
                write!(
                    f,
                    "token {token_id:?} of session {session_id:?} issued to client {client_id:?} for subject {subject:?}, scope {:?}",
                    scope.as_str()
                )
            }
            Self::TokenRefused { client_id, fault, session_id: Some(session_id), .. } => {
                write!(f, "token of session {session_id:?} refused to client {client_id:?}: {fault:?}")
            }
            Self::TokenRefused { client_id, fault, .. } => {
                write!(f, "token refused to client {client_id:?}: {fault:?}")
            }
            Self::TokenRevoked { client_id, subject, token_id: Some(token_id), .. } => {
                write!(f, "token {token_id:?} for subject {subject:?} of client {client_id:?} revoked")
            }
            Self::TokenRevoked { client_id, subject, session_id, .. } => {
                let session = session_id.unwrap_or_default();
                write!(f, "session {session:?} for subject {subject:?} of client {client_id:?} revoked")
            }
            Self::SessionReplaced { client_id, subject, session_id, .. } => {
                write!(
                    f,
                    "session {session_id:?} for subject {subject:?} through client {client_id:?} replaced by another"
                )
            }
            Self::LoggedOut { subject, .. } => write!(f, "subject {subject:?} logged out everywhere"),
            Self::RequestRefused { fault, .. } => write!(f, "request refused: {fault:?}"),
            Self::NoPeerAddress { .. } => {
                write!(
                    f,
                    "a request came without its caller's address, so limits by address did not apply to it (see HttpRequest::peer)"
                )
            }
            Self::ClientRefused { client_id: Some(client_id), fault, .. } => {
                write!(f, "client {client_id:?} not authenticated: {fault:?}")
            }
            Self::ClientRefused { fault, .. } => write!(f, "client not authenticated: {fault:?}"),
            Self::LenientAudience { client_id, .. } => {
                write!(f, "client {client_id:?} authenticated by an assertion that is not for the issuer alone")
            }
            // The entry escapes what it quotes.
            Self::KeyPassedOver { client_id, key, .. } => {
                write!(f, "key of client {client_id:?} cannot be used: {key}")
            }
            Self::NotAllowed { client_id, refused, .. } => {
                write!(f, "client {client_id:?} is not registered for what it asked: {refused:?}")
            }
            Self::LoginRejected { client_id, username, rejection, .. } => {
                write!(f, "login of {username:?} through client {client_id:?} rejected: {rejection:?}")
            }
            Self::AttemptAdmitted { client_id, username, counted, .. } => {
                write!(f, "attempt on {username:?} through client {client_id:?} admitted, counted on {counted:?}")
            }
            Self::AttemptWaits { client_id, username, counted, .. } => {
                write!(f, "attempt on {username:?} through client {client_id:?} waits for others on {counted:?}")
            }
            Self::AttemptDenied { client_id, username, counted, retry_after, .. } => {
                write!(
                    f,
                    "attempt on {username:?} through client {client_id:?} denied for {retry_after:?}: too many on {counted:?}"
                )
            }
            Self::AccountLocked { client_id, username, counted, .. } => {
                write!(f, "{counted:?} of {username:?} locked, last tried through client {client_id:?}")
            }
            Self::NewOrigin { client_id, username, .. } => {
                write!(f, "login of {username:?} through client {client_id:?} from a new origin")
            }
            Self::ClientDenied { client_id, retry_after, .. } => {
                write!(f, "client {client_id:?} denied for {retry_after:?}: too many failed authentications")
            }
            Self::Alarm { alarm, client_id: Some(client_id), failures, .. } => {
                write!(f, "alarm: {alarm:?} through client {client_id:?}, {failures} failures")
            }
            Self::Alarm { alarm, failures, .. } => write!(f, "alarm: {alarm:?}, {failures} failures"),
            Self::AttemptsReset { counted, .. } => write!(f, "attempts on {counted:?} reset"),
            Self::MoreNeeded { client_id, username, code, .. } => {
                write!(f, "login of {username:?} through client {client_id:?} needs another step: {code:?}")
            }
            Self::Trouble { trouble, client_id, cause, .. } => {
                write!(f, "trouble: {trouble:?}")?;
                if let Some(client_id) = client_id {
                    write!(f, " with client {client_id:?}")?;
                }
                match cause {
                    Some(cause) => write!(f, ": {:?}", cause.to_string()),
                    None => Ok(()),
                }
            }
            Self::PasswordVerified { memory_kib, passes, lanes } => {
                write!(f, "password verified with m={memory_kib},t={passes},p={lanes}")
            }
            Self::StoredHashRefused { subject } => write!(f, "stored password hash of {subject:?} is not usable"),
            Self::PasswordRehashed { subject } => write!(f, "password of {subject:?} rehashed"),
            Self::RehashFailed { subject, cause } => {
                write!(f, "password of {subject:?} not rehashed: {:?}", cause.to_string())
            }
            Self::AccessRefused { fault, cause: Some(cause) } => {
                write!(f, "access refused: {fault:?}: {:?}", cause.to_string())
            }
            Self::AccessRefused { fault, .. } => write!(f, "access refused: {fault:?}"),
        }
    }
}
