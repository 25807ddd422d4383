//! What makes access tokens, and what it is told.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value};

use crate::client::AuthenticatedClient;
use crate::error::BoxError;
use crate::jose::JwkSet;
use crate::time::{BoxFuture, Timestamp};
use crate::types::identifier::{SessionId, Subject};
use crate::types::scope::Scope;
use crate::types::token::{AccessToken, TokenDetails};

/// Makes access tokens.
///
/// [`JwtIssuer`](crate::JwtIssuer) makes JWTs, [`OpaqueIssuer`](crate::token::OpaqueIssuer) random ones that are kept in a
/// table; a host may make its own.
#[async_trait]
pub trait TokenIssuer: Send + Sync + 'static {
    /// Makes a token for what has been authorised. Every call makes a new one.
    ///
    /// Everything in the authorisation has been checked. May be cancelled at any await, when the caller goes away.
    ///
    /// # Errors
    ///
    /// When the token cannot be made; the caller gets 500 `server_error`.
    async fn issue(&self, authorization: &Authorization<'_>) -> Result<AccessToken, BoxError>;

    /// What a token of this issuer says, if it is one and has not expired. `token` has at most 8 KiB and only the characters
    /// of RFC 6750 section 2.1; else it is raw.
    ///
    /// Unless overridden it knows no token, and then none is revoked or active at the endpoints for that
    /// ([`PasswordGrant::revoke`](crate::PasswordGrant::revoke), [`introspect`](crate::PasswordGrant::introspect)). A
    /// verifier asks a [`TokenLookup`](crate::resource::TokenLookup).
    ///
    /// # Errors
    ///
    /// When the answer cannot be told now; whoever asks at the endpoints gets 503.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any await.
    async fn inspect(&self, token: &str, now: Timestamp) -> Result<Option<TokenDetails>, BoxError> {
        let _ = (token, now);
        Ok(None)
    }

    /// The audience of tokens whose [`Authorization::audiences`] are empty. A request may then name it in `audience` or
    /// `resource`, which changes nothing. `None` unless overridden: then any such request is 400 `invalid_target`. It must
    /// stay the same while the engine runs.
    fn default_audience(&self) -> Option<&str> {
        None
    }

    /// The public keys that verify this issuer's tokens, for the JWKS document. Empty unless overridden.
    fn public_keys(&self) -> JwkSet {
        JwkSet::default()
    }

    /// Tries whether tokens can be made; called when the engine is built.
    ///
    /// # Errors
    ///
    /// When they cannot, for instance because a key does not do what it should.
    fn check(&self) -> Result<(), BoxError> {
        Ok(())
    }
}

impl<T: TokenIssuer + ?Sized> TokenIssuer for Arc<T> {
    fn issue<'a, 'b, 'c, 'd>(
        &'a self,
        authorization: &'b Authorization<'c>,
    ) -> BoxFuture<'d, Result<AccessToken, BoxError>>
    where
        'a: 'd,
        'b: 'd,
        'c: 'd,
        Self: 'd,
    {
        (**self).issue(authorization)
    }

    fn inspect<'a, 'b, 'c>(
        &'a self,
        token: &'b str,
        now: Timestamp,
    ) -> BoxFuture<'c, Result<Option<TokenDetails>, BoxError>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        (**self).inspect(token, now)
    }

    fn default_audience(&self) -> Option<&str> {
        (**self).default_audience()
    }

    fn public_keys(&self) -> JwkSet {
        (**self).public_keys()
    }

    fn check(&self) -> Result<(), BoxError> {
        (**self).check()
    }
}

/// What has been granted, and to whom: everything that a token is made from.
pub struct Authorization<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) subject: &'a Subject,
    pub(crate) client: &'a AuthenticatedClient,
    pub(crate) scope: &'a Scope,
    pub(crate) audiences: &'a [String],
    pub(crate) claims: &'a Map<String, Value>,
    pub(crate) token_id: &'a str,
    pub(crate) session_id: Option<&'a SessionId>,
    pub(crate) issued_at: Timestamp,
    pub(crate) lifetime: Duration,
}

impl Authorization<'_> {
    /// The issuer identifier: `iss`.
    #[must_use]
    pub fn issuer(&self) -> &str {
        self.issuer
    }

    /// The resource owner: `sub`.
    #[must_use]
    pub fn subject(&self) -> &Subject {
        self.subject
    }

    /// The client the token is for: `client_id`.
    #[must_use]
    pub fn client(&self) -> &AuthenticatedClient {
        self.client
    }

    /// The granted scope.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        self.scope
    }

    /// The audiences the client asked for and is registered for, or its default one. Empty means: the one that the
    /// [`TokenIssuer`] was configured with. A token must be meant for these and for no other.
    #[must_use]
    pub fn audiences(&self) -> &[String] {
        self.audiences
    }

    /// Further claims that the host gave with the login. None of them is one that an issuer sets itself.
    #[must_use]
    pub fn claims(&self) -> &Map<String, Value> {
        self.claims
    }

    /// A fresh unguessable identifier for the token: `jti`. 128 random bits in base64url.
    #[must_use]
    pub fn token_id(&self) -> &str {
        self.token_id
    }

    /// The family of refresh tokens that the token belongs to, where there is one: `sid`. With it, the token is revoked
    /// when the family is; an issuer of your own must have [`inspect`](TokenIssuer::inspect) return it again.
    #[must_use]
    pub fn session_id(&self) -> Option<&SessionId> {
        self.session_id
    }

    /// Now: `iat`.
    #[must_use]
    pub fn issued_at(&self) -> Timestamp {
        self.issued_at
    }

    /// How long the token is to be valid, in whole seconds.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// All of it, to be kept where a token says nothing itself. `default_audience` is the issuer's own, meant where the
    /// client is registered for no other.
    #[must_use]
    pub fn details(&self, default_audience: &str) -> TokenDetails {
        let audiences = match self.audiences {
            [] => vec![default_audience.to_owned()],
            some => some.to_vec(),
        };
        TokenDetails {
            issuer: self.issuer.to_owned(),
            subject: self.subject.clone(),
            client_id: self.client.id().clone(),
            audiences,
            scope: self.scope.clone(),
            token_id: self.token_id.to_owned(),
            session_id: self.session_id.cloned(),
            issued_at: self.issued_at.unix_seconds(),
            valid_from: 0,
            expires_at: self.expires_at().unix_seconds(),
            claims: self.claims.clone(),
        }
    }

    /// When the token expires: `exp`.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.issued_at.plus(self.lifetime)
    }
}

impl fmt::Debug for Authorization<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The other claims are the host's, and may be private.
        f.debug_struct("Authorization")
            .field("subject", &self.subject)
            .field("client", &self.client)
            .field("scope", &self.scope)
            .field("token_id", &self.token_id)
            .finish_non_exhaustive()
    }
}

/// The claims that issuers set themselves (RFC 7519, RFC 9068), or that say something that was not verified (`cnf`).
const RESERVED: [&str; 13] = [
    "iss",
    "sub",
    "aud",
    "client_id",
    "iat",
    "exp",
    "nbf",
    "jti",
    "sid",
    "scope",
    "cnf",
    "act",
    "may_act",
];

/// Whether a host may add this claim to a token.
pub(crate) fn is_host_claim(name: &str) -> bool {
    !name.is_empty() && !RESERVED.contains(&name)
}
