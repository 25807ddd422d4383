//! The reasons why a request is refused, and the one table of what each becomes on the wire.

use std::sync::Arc;

use crate::error::ErrorCode;

/// Why a request was refused: for logs, tests and observers. It is never sent: on the wire several
/// reasons share one response, so that the response reveals nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The request itself is malformed or incomplete.
    Request(RequestFault),
    /// The client did not authenticate. All of these get the same response.
    Client(ClientFault),
    /// The client asked for something that it is not registered for.
    NotAllowed(NotAllowed),
    /// The resource owner did not log in. All of these get the same response.
    Login(Rejection),
    /// The refresh token may not be used by this client, or the token to be revoked is another
    /// client's. All of these get the same response.
    Token(TokenFault),
    /// The host asked for another step before a token is issued. The text is its error code.
    MoreNeeded(Arc<str>),
    /// There were too many attempts. The response is the same whether or not the name exists and
    /// the password is right, because neither was looked at.
    TooManyAttempts(LimitKind),
    /// This library or the host's code failed.
    ServerFault(ServerFault),
}

/// What is wrong with a request, or missing from it: 400 `invalid_request` (RFC 6749 section 5.2),
/// but 405 for [`Method`](Self::Method), 413 for [`BodyTooLarge`](Self::BodyTooLarge),
/// `invalid_scope` for [`Scope`](Self::Scope) and `unsupported_grant_type` for
/// [`GrantTypeUnknown`](Self::GrantTypeUnknown).
///
/// What is malformed is found before anybody is looked up. That the grant type is missing or
/// unknown, or a parameter that the grant needs is missing, is found once the client has
/// authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RequestFault {
    /// The method is not POST.
    Method,
    /// The content type is missing or is not `application/x-www-form-urlencoded`, or it names a
    /// charset other than UTF-8. If the whole body is ASCII, a charset that is a superset of ASCII
    /// is accepted.
    ContentType,
    /// The body is larger than [`RequestLimits::body`](crate::RequestLimits::body).
    BodyTooLarge,
    /// The body ended before it was complete.
    BodyIncomplete,
    /// The header `Authorization`, `Content-Type` or `DPoP` occurs more than once.
    RepeatedHeader,
    /// The query of the URI contains a credential.
    CredentialsInQuery,
    /// The body has a bad percent escape or text that is not UTF-8. In a form that the host has
    /// parsed: a text contains U+FFFD, which a lenient decoder produces instead.
    Encoding,
    /// The body has more than 32 parameters.
    TooManyParameters,
    /// A parameter is longer than its limit.
    TooLong,
    /// A parameter occurs more than once in the body.
    Repeated,
    /// A parameter contains a character that its grammar does not allow.
    Character,
    /// The scope does not have the syntax of RFC 6749 section 3.3, or is too long.
    Scope,
    /// The client authenticates in more than one way.
    SeveralClientAuthentications,
    /// `client_id` in the body is not the client that the credentials name.
    ClientIdMismatch,
    /// One of `client_assertion` and `client_assertion_type` is missing, or the type is not
    /// supported.
    ClientAssertion,
    /// `grant_type` is missing.
    GrantTypeMissing,
    /// This server does not support the `grant_type`.
    GrantTypeUnknown,
    /// `username` is missing.
    UsernameMissing,
    /// `password` is missing.
    PasswordMissing,
    /// `refresh_token` is missing.
    RefreshTokenMissing,
    /// `token` is missing at the revocation or introspection endpoint.
    TokenMissing,
}

/// Why a client did not authenticate. Every one becomes 401 `invalid_client`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ClientFault {
    /// The request names no client.
    Unidentified,
    /// The `Authorization` header does not contain well-formed Basic credentials.
    MalformedAuthorization,
    /// No client is registered under this identifier.
    Unknown,
    /// The client's registration is disabled.
    Disabled,
    /// The client's registration has expired.
    Expired,
    /// The client is registered for another authentication method, or the server has switched this
    /// method off.
    Method,
    /// The secret is not one that the client is registered with, or it has expired.
    Secret,
    /// The identifier in the Basic header has several readings, such as `a b` and `a+b`. Two of
    /// them are registered clients, and the secret is right for both.
    Ambiguous,
    /// The assertion is not a well-formed JWT with a subject, or is longer than 8 KiB.
    AssertionMalformed,
    /// The `typ` of the assertion is that of another kind of token.
    AssertionType,
    /// The client is not registered for the assertion's algorithm, or the server does not accept
    /// it.
    AssertionAlgorithm,
    /// The signature of the assertion does not verify with any of the client's keys, or it names a
    /// key that the client does not have.
    AssertionSignature,
    /// The `iss` of the assertion differs from its `sub`.
    AssertionIssuer,
    /// The assertion is not for this server alone.
    AssertionAudience,
    /// The assertion has expired, is not valid yet, or is valid for too long, or one of its times
    /// is missing or malformed.
    AssertionTime,
    /// The assertion has no `jti`, or its `jti` is too long.
    AssertionId,
    /// The assertion was used before.
    AssertionSeen,
    /// A public client called the introspection endpoint.
    Public,
}

/// What an authenticated client asked for and may not have. 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NotAllowed {
    /// The client is not registered for the grant.
    Grant,
    /// The scope contains a token that the client is not registered for, or that this server does
    /// not offer.
    Scope,
    /// The request names no scope, and the client has no default scope.
    NoDefaultScope,
    /// The resource or audience is not registered for the client.
    Target,
    /// The resource owner may grant none of the scope that was asked for.
    OwnerScope,
    /// The scope exceeds what the refresh token was issued for.
    RefreshedScope,
    /// The refresh token was not issued for this resource or audience.
    RefreshedTarget,
}

/// Why a resource owner did not log in: the private reason of
/// [`Login::rejected`](crate::Login::rejected).
///
/// For every one of them the caller gets the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rejection {
    /// No user has this name, or it is not known whether one has. The default log masks the name.
    UnknownUser,
    /// The user exists, and the password is wrong. The default log holds the name whole.
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

/// Why a refresh token is refused, or why a token is not active or cannot be revoked. The reason is
/// private. All of them get the same response: 400 `invalid_grant` from the token endpoint (RFC
/// 6749 section 5.2), `{"active":false}` from introspection (RFC 7662 section 2.2), and 401
/// `invalid_token` from a verifier (RFC 6750 section 3.1). The revocation endpoint refuses
/// [`OtherClient`](Self::OtherClient) alone, with 400 `invalid_grant`; for any other token that
/// cannot be used it answers 200 (RFC 7009 section 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenFault {
    /// This server did not make the token, or made it with a key that has been retired.
    NotOurs,
    /// This server made the token, but no longer knows its session: the session has ended or
    /// expired, or a store was lost.
    Unknown,
    /// The token was issued to another client, or in another tenant.
    OtherClient,
    /// The session has expired, or was not used for too long.
    Expired,
    /// The token was revoked, or a refresh token of its session was used twice.
    Revoked,
    /// The subject was logged out everywhere.
    LoggedOut,
    /// The token was used before, and not just now, so somebody else has it or had it. Its session
    /// is revoked from now on.
    Reused,
    /// The token is newer than the newest one that this server has recorded: the store has lost
    /// commits, or a key has leaked.
    Ahead,
    /// The tag of the token is right and its secret is wrong: a key has leaked.
    Forged,
    /// The [`AccountGate`](crate::AccountGate) refused the account.
    Account(Rejection),
}

/// What a limit on attempts counts by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LimitKind {
    /// A user name, at all origins that are not known for it.
    Account,
    /// A user name with a client and a known origin: where its owner has logged in through this
    /// client before.
    KnownOrigin,
    /// An address; for IPv6, its first 64 bits.
    Source,
    /// The first 48 bits of an IPv6 address.
    Network,
    /// A [web backend](crate::ClientBuilder::web_backend) at its address.
    WebBackend,
    /// A client that fails to authenticate, at one address. A denial by the limit of its network
    /// has this kind too.
    Client,
    /// A client that fails to authenticate, in one IPv6 network.
    ClientNetwork,
}

/// A fault on the server's side. The caller is not to blame, and nothing was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ServerFault {
    /// The [`ClientStore`](crate::ClientStore) failed. 503.
    ClientStore,
    /// The [`JwksSource`](crate::assertion::JwksSource) failed, or what it fetched is not a key
    /// set. 503.
    JwksSource,
    /// So many used assertions of this client are remembered that there is no room for another one
    /// in the part that it belongs to. 503. See
    /// [`max_assertions_per_client`](crate::PasswordGrantBuilder::max_assertions_per_client).
    TooManyAssertions,
    /// This client has revoked so many access tokens without a session for this subject, of which
    /// none has expired, that there is no room for another one. 503, and the token is not revoked.
    TooManyRevocations,
    /// The client's registration contains values that are invalid or contradict each other. 503.
    ClientRegistration,
    /// The [`UserAuthenticator`](crate::UserAuthenticator) failed. 503.
    UserAuthenticator,
    /// The [`AccountNames`](crate::limiter::AccountNames) failed. 503.
    AccountNames,
    /// The [`AccountGate`](crate::AccountGate) failed. 503.
    AccountGate,
    /// The subject was logged out everywhere during a login that was to begin a session, so the
    /// server cannot tell whether the password was the old or the new one. 503.
    LoggedOutMeanwhile,
    /// The refresh token was used a moment ago, and its successor cannot be sent again. 503;
    /// nothing changes.
    RefreshContended,
    /// The refresh token was used a moment ago, and its successor was made with a key that this
    /// instance does not have. Every instance needs the next key before the first one makes tokens
    /// with it. 503; nothing changes.
    RefreshKeyMissing,
    /// The [`StateStore`](crate::state::StateStore) failed, timed out, is full, or holds a row that
    /// cannot be read. 503.
    StateStore,
    /// The password hashing has more work than it can do in time. 503.
    Overloaded,
    /// The [`TokenIssuer`](crate::TokenIssuer) could not look up the claims of a token. 503.
    TokenLookup,
    /// The [`TokenIssuer`](crate::TokenIssuer) failed to make a token. 500.
    TokenIssuer,
    /// The host's code returned an empty subject, or a member, a claim or an error code that it may
    /// not set. 500.
    HostMember,
    /// Code of the library or of the host panicked. 500.
    Panic,
}

impl ServerFault {
    fn is_internal_error(self) -> bool {
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
            Self::ServerFault(fault) if fault.is_internal_error() => {
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
            Self::BodyIncomplete => (400, "The request body is incomplete"),
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
    fn from(fault: ServerFault) -> Self {
        Self::ServerFault(fault)
    }
}

impl From<NotAllowed> for Reason {
    fn from(refused: NotAllowed) -> Self {
        Self::NotAllowed(refused)
    }
}
