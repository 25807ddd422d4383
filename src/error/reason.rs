//! Why a request is refused, and the one table of what each reason becomes on the wire.

use std::sync::Arc;

use crate::error::ErrorCode;

/// Why a request got no token: for logs, tests and observers. Never on the wire, where several reasons share one
/// answer so that it gives nothing away.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The request itself is not one we read.
    Request(RequestFault),
    /// The client did not authenticate. One answer for all of them.
    Client(ClientFault),
    /// The client asked for what it is not registered for.
    NotAllowed(NotAllowed),
    /// The resource owner did not log in. One answer for all of them.
    Login(Rejection),
    /// The refresh token, or the token to be revoked, is not one that this client may use. One answer for all of them.
    Token(TokenFault),
    /// The host wants another step first.
    MoreNeeded(Arc<str>),
    /// There were too many attempts. The same answer whether or not the name exists and the password is right: neither
    /// was looked at.
    TooManyAttempts(LimitKind),
    /// Our own trouble, or the host's.
    ServerFault(ServerFault),
}

/// What is wrong with a request before anybody is looked up, or with what it lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RequestFault {
    /// The method is not POST.
    Method,
    /// The content type is missing or not `application/x-www-form-urlencoded`, or names a charset that is neither UTF-8
    /// nor, for an all-ASCII body, one in which that is the same.
    ContentType,
    /// The body is larger than [`RequestLimits::body`](crate::RequestLimits::body).
    BodyTooLarge,
    /// `Authorization`, `Content-Type` or `DPoP` stands in the request more than once.
    RepeatedHeader,
    /// The query part of the URI holds a credential.
    CredentialsInQuery,
    /// A bad percent escape, or text that is not UTF-8; from a host that has parsed the form, U+FFFD in its place.
    Encoding,
    /// More than 32 parameters.
    TooManyParameters,
    /// A parameter is longer than its limit.
    TooLong,
    /// A parameter stands in the body more than once.
    Repeated,
    /// A parameter holds a character that its grammar does not allow.
    Character,
    /// The scope is not one of RFC 6749 section 3.3, or too long.
    Scope,
    /// The client identifies itself in more than one way.
    SeveralClientAuthentications,
    /// `client_id` in the body differs from the client that authenticated otherwise.
    ClientIdMismatch,
    /// `client_assertion` and `client_assertion_type` are not both there, or the type is not one we know.
    ClientAssertion,
    /// `grant_type` is missing.
    GrantTypeMissing,
    /// `grant_type` is not one this server knows.
    GrantTypeUnknown,
    /// `username` is missing.
    UsernameMissing,
    /// `password` is missing.
    PasswordMissing,
    /// `refresh_token` is missing.
    RefreshTokenMissing,
    /// `token` is missing, at the revocation or introspection endpoint.
    TokenMissing,
}

/// Why a client did not authenticate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ClientFault {
    /// The request names no client.
    Unidentified,
    /// The `Authorization` header is not well-formed Basic credentials.
    MalformedAuthorization,
    /// No such client is registered.
    Unknown,
    /// The client's registration is disabled.
    Disabled,
    /// The client's registration has expired.
    Expired,
    /// The client is registered for another authentication method, or the method is switched off.
    Method,
    /// The secret is none of the client's live ones.
    Secret,
    /// Two clients are meant, and the secret is right for both: their identifiers are two readings of the one in the Basic
    /// header, such as `a b` and `a+b`.
    Ambiguous,
    /// The assertion is not a well-formed JWT with a subject, or is longer than 8 KiB.
    AssertionMalformed,
    /// The assertion's `typ` is that of something else.
    AssertionType,
    /// The assertion's algorithm is not one that the client is registered for and the server takes.
    AssertionAlgorithm,
    /// The assertion's signature is none of the client's keys', or names a key that the client does not have.
    AssertionSignature,
    /// The assertion's `iss` is not its `sub`.
    AssertionIssuer,
    /// The assertion is not meant for this server alone.
    AssertionAudience,
    /// The assertion has expired, is not valid yet, would be valid for too long, or has times that are none.
    AssertionTime,
    /// The assertion has no `jti`, or one that is too long.
    AssertionId,
    /// The assertion was used before.
    AssertionSeen,
    /// A public client asked about a token.
    Public,
}

/// What an authenticated client asked for and may not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NotAllowed {
    /// The client is not registered for the grant.
    Grant,
    /// The scope holds a token the client is not registered for.
    Scope,
    /// No scope was asked for, and the client has no default one.
    NoDefaultScope,
    /// The resource or audience is not registered for the client.
    Target,
    /// The resource owner may give none of the scope asked for.
    OwnerScope,
    /// The scope goes beyond what the refresh token was issued for.
    RefreshedScope,
    /// The resource or audience is not one that the refresh token was issued for.
    RefreshedTarget,
}

/// Why a resource owner did not log in: the private reason of [`Login::rejected`](crate::Login::rejected).
///
/// All of them get the caller the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rejection {
    /// No user has this name.
    UnknownUser,
    /// The password is wrong.
    WrongPassword,
    /// The user has no password to log in with.
    NoPassword,
    /// The stored password hash is of a kind or strength that is not accepted.
    UnusableHash,
    /// The account is disabled.
    Disabled,
    /// The host has locked the account.
    Locked,
    /// The account or its password has expired.
    Expired,
    /// The password must be changed first.
    PasswordChangeRequired,
    /// The account has a second factor, which this grant would bypass.
    SecondFactorRequired,
    /// A reason of the host's own.
    Other(&'static str),
}

/// Why a refresh token yields nothing, or a token is not active or not revoked: private, one answer for all of them. That is
/// 400 `invalid_grant` from the token and the revocation endpoint, `{"active":false}` from introspection, and 401
/// `invalid_token` from a verifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenFault {
    /// It is not one that this server has made, or one of a key that was retired.
    NotOurs,
    /// It is one of ours that nobody remembers: its family has expired, or a store was lost.
    Unknown,
    /// It was issued to another client, or in another tenant.
    OtherClient,
    /// Its family has expired, or was not used for too long.
    Expired,
    /// It was revoked, or a token of its family was used twice.
    Revoked,
    /// Its subject was logged out everywhere.
    LoggedOut,
    /// It was used before, and not just now: somebody else has it, or had it. Its family is revoked from now on.
    Reused,
    /// It comes after the newest that this server knows of: the store has lost commits, or a key has leaked.
    Ahead,
    /// Its tag is right and its secret is not: a key has leaked.
    Forged,
    /// The [`AccountGate`](crate::AccountGate) said no.
    Account(Rejection),
}

/// Who attempts are counted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LimitKind {
    /// A user name, from wherever it is not known.
    Account,
    /// A user name, through one client, from where its owner has logged in before.
    KnownOrigin,
    /// An address; of IPv6 the first 64 bits.
    Source,
    /// The first 48 bits of an IPv6 address.
    Network,
    /// A client that fails to authenticate, at one address.
    Client,
}

/// What went wrong on the server's side. No caller is to blame, and nothing was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ServerFault {
    /// The [`ClientStore`](crate::ClientStore) failed. 503.
    ClientStore,
    /// The [`JwksSource`](crate::assertion::JwksSource) failed, or what it fetched is no key set. 503.
    JwksSource,
    /// So many of a client's assertions are still remembered that there is no room for another one. 503.
    TooManyAssertions,
    /// The client is registered with values that contradict each other. 503.
    ClientRegistration,
    /// The [`UserAuthenticator`](crate::UserAuthenticator) failed. 503.
    UserAuthenticator,
    /// The [`AccountNames`](crate::limiter::AccountNames) failed. 503.
    AccountNames,
    /// The [`AccountGate`](crate::AccountGate) failed. 503.
    AccountGate,
    /// The subject was logged out everywhere while it logged in: whether the password was the former one or the new one
    /// cannot be told. 503.
    LoggedOutMeanwhile,
    /// The subject's last log-out is dated ahead of this instance's clock by more than two seconds, so a token issued now
    /// would count as revoked. 503, with the time to wait.
    LogOutAhead,
    /// A refresh token was used a moment ago, and its successor cannot be handed out once more. 503; nothing changes.
    RefreshContended,
    /// The same, since the successor was made by a key that this instance does not have: all instances need the next key
    /// before the first one makes tokens with it. 503; nothing changes.
    RefreshKeyMissing,
    /// The [`StateStore`](crate::state::StateStore) failed, was too slow or is full, or holds a row that cannot be read. 503.
    StateStore,
    /// Password hashing has more work than it can do in time. 503.
    Overloaded,
    /// The [`TokenIssuer`](crate::TokenIssuer) could not tell what a token says. 503.
    TokenLookup,
    /// The [`TokenIssuer`](crate::TokenIssuer) failed. 500.
    TokenIssuer,
    /// The host gave a subject that is empty, or a member, a claim or an error code that is not its to give. 500.
    HostMember,
    /// Something panicked. 500.
    Panic,
}

impl ServerFault {
    fn is_ours_alone(self) -> bool {
        matches!(self, Self::TokenIssuer | Self::HostMember | Self::Panic)
    }
}

impl Reason {
    /// The one table of what each reason becomes on the wire: status, code, description.
    pub(super) fn answer(&self) -> (u16, ErrorCode, &'static str) {
        use ErrorCode as Code;
        match self {
            Self::Request(fault) => fault.answer(),
            Self::Client(_) => (401, Code::InvalidClient, "Client authentication failed"),
            Self::NotAllowed(NotAllowed::Grant) => {
                (400, Code::UnauthorizedClient, "The client may not use this grant type")
            }
            Self::NotAllowed(NotAllowed::Scope) => {
                (400, Code::InvalidScope, "Scope not registered for the client")
            }
            Self::NotAllowed(NotAllowed::NoDefaultScope) => {
                (400, Code::InvalidScope, "Scope parameter missing")
            }
            Self::NotAllowed(NotAllowed::Target) => {
                (400, Code::InvalidTarget, "Resource or audience not registered for the client")
            }
            Self::NotAllowed(NotAllowed::OwnerScope) => {
                (400, Code::InvalidScope, "The scope exceeds what the resource owner may grant")
            }
            Self::NotAllowed(NotAllowed::RefreshedScope) => {
                (400, Code::InvalidScope, "The scope exceeds what the refresh token was issued for")
            }
            Self::NotAllowed(NotAllowed::RefreshedTarget) => (
                400,
                Code::InvalidTarget,
                "The refresh token was not issued for this resource or audience",
            ),
            Self::Login(_) => (400, Code::InvalidGrant, "The user name or password is wrong"),
            Self::Token(_) => {
                (400, Code::InvalidGrant, "The token is not valid, or not this client's")
            }
            Self::MoreNeeded(code) => {
                (403, Code::Host(code.clone()), "Another step is needed before a token is issued")
            }
            Self::TooManyAttempts(_) => {
                (429, Code::TemporarilyUnavailable, "Too many attempts, try again later")
            }
            Self::ServerFault(trouble) if trouble.is_ours_alone() => {
                (500, Code::ServerError, "The server could not complete the request")
            }
            Self::ServerFault(_) => (
                503,
                Code::TemporarilyUnavailable,
                "The server cannot answer at the moment, try again later",
            ),
        }
    }
}

impl RequestFault {
    fn answer(self) -> (u16, ErrorCode, &'static str) {
        use ErrorCode as Code;
        let (status, description) = match self {
            Self::Method => (405, "Only POST is allowed"),
            Self::ContentType => {
                (400, "Content-Type must be application/x-www-form-urlencoded in UTF-8")
            }
            Self::BodyTooLarge => (413, "The request body is too large"),
            Self::RepeatedHeader => (400, "A header that may occur once is repeated"),
            Self::CredentialsInQuery => (400, "Credentials must be in the body, not in the URI"),
            Self::Encoding => (400, "The request body is not form-encoded UTF-8"),
            Self::TooManyParameters => (400, "Too many parameters"),
            Self::TooLong => (400, "A parameter is too long"),
            Self::Repeated => (400, "A parameter is repeated"),
            Self::Character => (400, "A parameter holds a character that is not allowed"),
            Self::Scope => {
                return (400, Code::InvalidScope, "Scope parameter malformed or too long");
            }
            Self::SeveralClientAuthentications => {
                (400, "More than one client authentication method")
            }
            Self::ClientIdMismatch => {
                (400, "The client_id parameter names another client than the credentials")
            }
            Self::ClientAssertion => (400, "Client assertion or its type missing or not supported"),
            Self::GrantTypeMissing => (400, "Grant type parameter missing"),
            Self::GrantTypeUnknown => {
                return (400, Code::UnsupportedGrantType, "Grant type not supported");
            }
            Self::UsernameMissing => (400, "Username parameter missing"),
            Self::PasswordMissing => (400, "Password parameter missing"),
            Self::RefreshTokenMissing => (400, "Refresh token parameter missing"),
            Self::TokenMissing => (400, "Token parameter missing"),
        };
        (status, Code::InvalidRequest, description)
    }
}

impl From<RequestFault> for Reason {
    fn from(fault: RequestFault) -> Self {
        Self::Request(fault)
    }
}

impl From<ClientFault> for Reason {
    fn from(fault: ClientFault) -> Self {
        Self::Client(fault)
    }
}

impl From<TokenFault> for Reason {
    fn from(fault: TokenFault) -> Self {
        Self::Token(fault)
    }
}

impl From<ServerFault> for Reason {
    fn from(trouble: ServerFault) -> Self {
        Self::ServerFault(trouble)
    }
}

impl From<NotAllowed> for Reason {
    fn from(refused: NotAllowed) -> Self {
        Self::NotAllowed(refused)
    }
}
