//! Errors: the host's own errors, the reasons why a request is refused, and what each becomes on
//! the wire.

mod reason;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

pub use crate::error::reason::{
    ClientFault, LimitKind, NotAllowed, Reason, Rejection, RequestFault, ServerFault, TokenFault,
};

/// An error of the host's own: whatever its database or service returned.
///
/// Its text goes to the [`Observer`](crate::Observer), never to the caller.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// The `error` member of an error response ([RFC 6749 section 5.2]).
///
/// [RFC 6749 section 5.2]: https://www.rfc-editor.org/rfc/rfc6749#section-5.2
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorCode {
    /// The request is malformed or lacks a parameter. 400 (405 and 413 where HTTP defines a status
    /// for the fault).
    InvalidRequest,
    /// The client is unknown or did not authenticate. 401, always with a challenge.
    InvalidClient,
    /// The resource owner's credentials, or the refresh token, are not valid. 400.
    InvalidGrant,
    /// The client may not use this grant. 400.
    UnauthorizedClient,
    /// This server does not support the grant type. 400.
    UnsupportedGrantType,
    /// The scope is malformed, is not registered for the client, or exceeds what the resource owner
    /// may grant. 400.
    InvalidScope,
    /// The resource or audience is not registered for the client (RFC 8707). 400.
    InvalidTarget,
    /// The token could not be made, or the host's code returned something that is not allowed. 500.
    ServerError,
    /// A store or the password hashing cannot answer now (503), or there were too many attempts
    /// (429). Sent with `Retry-After`.
    TemporarilyUnavailable,
    /// The host's code, from [`Login::more_needed`](crate::Login::more_needed). 403.
    Host(Arc<str>),
}

impl ErrorCode {
    /// All codes that are not the host's.
    const OURS: [Self; 9] = [
        Self::InvalidRequest,
        Self::InvalidClient,
        Self::InvalidGrant,
        Self::UnauthorizedClient,
        Self::UnsupportedGrantType,
        Self::InvalidScope,
        Self::InvalidTarget,
        Self::ServerError,
        Self::TemporarilyUnavailable,
    ];

    /// Whether a host may use this code for a step of its own. It must consist of the characters of
    /// RFC 6749 appendix A.7 without the space, and must not be one of the codes above.
    pub(crate) fn is_for_hosts(code: &str) -> bool {
        let characters = code.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e));
        !code.is_empty() && characters && Self::OURS.iter().all(|own| own.as_str() != code)
    }

    /// The code as it is sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::ServerError => "server_error",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
            Self::Host(code) => code,
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The password hashing has more work than it can do in time: an error for
/// [`UserAuthenticator::authenticate`](crate::UserAuthenticator::authenticate) to return. The
/// caller gets 503 `temporarily_unavailable`, and the attempt does not count against the user.
#[derive(Debug, Clone, Copy, Default, thiserror::Error)]
#[error("password hashing is overloaded")]
#[non_exhaustive]
pub struct Overloaded;

impl Overloaded {
    /// An error for implementations of [`UserAuthenticator`](crate::UserAuthenticator) to return.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

/// A refusal, ready to be sent as an OAuth error response ([RFC 6749 section 5.2]).
///
/// It converts into an [`HttpResponse`](crate::HttpResponse). The results of [`code`](Self::code)
/// and [`description`](Self::description) are sent; the result of [`reason`](Self::reason) never
/// is.
///
/// [RFC 6749 section 5.2]: https://www.rfc-editor.org/rfc/rfc6749#section-5.2
#[derive(Clone)]
pub struct TokenError(Box<Answer>);

#[derive(Clone)]
struct Answer {
    reason: Reason,
    status: u16,
    code: ErrorCode,
    description: &'static str,
    retry_after: Option<Duration>,
    /// The realm of the challenge that is sent with a 401.
    realm: Option<Arc<str>>,
    /// The host's members of a response that asks for another step.
    members: Map<String, Value>,
}

impl TokenError {
    /// A 503 without `retry_after` gets one second.
    pub(crate) fn new(
        reason: Reason,
        retry_after: Option<Duration>,
        members: Map<String, Value>,
        realm: Option<&Arc<str>>,
    ) -> Self {
        let (status, code, description) = reason.answer();
        let retry_after = retry_after.or_else(|| (status == 503).then_some(Duration::from_secs(1)));
        let realm = realm.filter(|_| status == 401).cloned();
        Self(Box::new(Answer { reason, status, code, description, retry_after, realm, members }))
    }

    pub(crate) fn of_request(fault: RequestFault) -> Self {
        Self::new(fault.into(), None, Map::new(), None)
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.0.status
    }

    /// The `error` member.
    #[must_use]
    pub fn code(&self) -> &ErrorCode {
        &self.0.code
    }

    /// The `error_description` member: a fixed sentence for the client's developer. It never holds
    /// request data.
    #[must_use]
    pub fn description(&self) -> &'static str {
        self.0.description
    }

    /// The value of `Retry-After`, if the response has one: how long to wait before trying again,
    /// in whole seconds.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The private reason. It is logged and observed, and never sent.
    #[must_use]
    pub fn reason(&self) -> &Reason {
        &self.0.reason
    }

    /// The realm of the `WWW-Authenticate` challenge of a 401.
    pub(crate) fn realm(&self) -> Option<&str> {
        self.0.realm.as_deref()
    }

    pub(crate) fn members(&self) -> &Map<String, Value> {
        &self.0.members
    }
}

impl fmt::Debug for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The host's members may hold a token of its own, such as one that continues a login.
        f.debug_struct("TokenError")
            .field("status", &self.0.status)
            .field("code", &self.0.code)
            .field("reason", &self.0.reason)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code, self.0.description)
    }
}

impl std::error::Error for TokenError {}

/// The text is not a bearer token (RFC 6750 section 2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a bearer token as RFC 6750 section 2.1 defines it, or longer than 8 KiB")]
#[non_exhaustive]
pub struct InvalidToken;

/// A name that is not that of a [`Grant`](crate::Grant). At most 64 characters of it are kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the name of a grant: `password` and `refresh_token` are")]
pub struct UnknownGrant(pub(crate) String);

/// What was given is not a SHA-256 digest: 32 bytes, or 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("not a SHA-256 digest: 32 bytes, or 64 hexadecimal digits")]
#[non_exhaustive]
pub struct InvalidDigest;

/// The text is not a scope (RFC 6749 section 3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a scope: tokens of printable ASCII without space, quote and backslash, one space between \
     two of them"
)]
#[non_exhaustive]
pub struct InvalidScope;
