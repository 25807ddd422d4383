//! The trait of token issuers, and the authorization that an access token is made from.

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
/// [`JwtIssuer`](crate::JwtIssuer) makes JWTs. [`OpaqueIssuer`](crate::token::OpaqueIssuer) makes
/// random tokens whose details are kept in a table. A host may implement its own.
#[async_trait]
pub trait TokenIssuer: Send + Sync + 'static {
    /// Makes the access token for an authorization. Every call makes a new one.
    ///
    /// Everything in `authorization` has been validated.
    ///
    /// # Errors
    ///
    /// If the token cannot be made. The caller gets 500 `server_error`.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any await, when the caller goes away.
    async fn issue(&self, authorization: &Authorization<'_>) -> Result<AccessToken, BoxError>;

    /// The details of a token, if it is one of this issuer's and has not expired at `now`. `token`
    /// has at most 8 KiB and only the characters of RFC 6750 section 2.1; otherwise it is raw.
    ///
    /// The default implementation knows no token. No access token is then revoked or active at the
    /// endpoints ([`PasswordGrant::revoke`](crate::PasswordGrant::revoke),
    /// [`introspect`](crate::PasswordGrant::introspect)). A verifier uses a
    /// [`TokenLookup`](crate::resource::TokenLookup) instead.
    ///
    /// # Errors
    ///
    /// If the answer is not known now. The client at the endpoint gets 503.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any await.
    async fn inspect(&self, token: &str, now: Timestamp) -> Result<Option<TokenDetails>, BoxError> {
        let _ = (token, now);
        Ok(None)
    }

    /// The audience of tokens whose [`Authorization::audiences`] are empty. A request may then name
    /// it in `audience` or `resource`, which changes nothing. The default is `None`: any such
    /// request is then refused with 400 `invalid_target`. The value must stay the same while the
    /// engine runs.
    fn default_audience(&self) -> Option<&str> {
        None
    }

    /// The public keys that verify this issuer's tokens, for the JWKS document. The default is
    /// none.
    fn public_keys(&self) -> JwkSet {
        JwkSet::default()
    }

    /// Checks that tokens can be made. It is called when the engine is built.
    ///
    /// # Errors
    ///
    /// If tokens cannot be made, for instance because a key does not sign correctly.
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
    pub(crate) login_epoch: Option<u64>,
    pub(crate) issued_at: Timestamp,
    pub(crate) lifetime: Duration,
}

impl Authorization<'_> {
    /// The issuer identifier (`iss`).
    #[must_use]
    pub fn issuer(&self) -> &str {
        self.issuer
    }

    /// The resource owner (`sub`).
    #[must_use]
    pub fn subject(&self) -> &Subject {
        self.subject
    }

    /// The client that the token is issued to (`client_id`).
    #[must_use]
    pub fn client(&self) -> &AuthenticatedClient {
        self.client
    }

    /// The granted scope.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        self.scope
    }

    /// The audiences that the client requested and is registered for, or else its default one.
    /// Empty stands for the audience that the [`TokenIssuer`] was configured with. The token must
    /// be for these audiences and for no other.
    #[must_use]
    pub fn audiences(&self) -> &[String] {
        self.audiences
    }

    /// Further claims that the host added at the login or refresh. None of them is one that an
    /// issuer sets itself.
    #[must_use]
    pub fn claims(&self) -> &Map<String, Value> {
        self.claims
    }

    /// A new unguessable identifier for the token (`jti`): 128 unguessable bits in base64url.
    #[must_use]
    pub fn token_id(&self) -> &str {
        self.token_id
    }

    /// The session that the token belongs to, if there is one (`sid`). The token is revoked with
    /// its session. An issuer of your own must return it from [`inspect`](TokenIssuer::inspect).
    #[must_use]
    pub fn session_id(&self) -> Option<&SessionId> {
        self.session_id
    }

    /// The number of the last log-out everywhere, of any subject, when the login began; `None` if
    /// the token has a session. A log-out of the token's subject with a greater number revokes the
    /// token, whatever the clocks show. It is 0 as long as nobody was logged out.
    ///
    /// An issuer of your own must keep it with the token and return it from
    /// [`inspect`](TokenIssuer::inspect) as [`TokenDetails::login_epoch`]. A JWT has it in the
    /// claim `login_epoch`, a JSON integer: [`AccessTokenVerifier`](crate::AccessTokenVerifier)
    /// reads it there, and refuses a token in which it is of another type or has a fraction.
    ///
    /// Without the number a token is compared with log-outs by its date, in whole seconds: see
    /// [`TokenDetails::login_epoch`]. A login in the second of a log-out then yields a token that
    /// is revoked from the start, and if clocks differ, a token of before a log-out may stay valid.
    #[must_use]
    pub fn login_epoch(&self) -> Option<u64> {
        self.login_epoch
    }

    /// The time of issue (`iat`), which is now.
    #[must_use]
    pub fn issued_at(&self) -> Timestamp {
        self.issued_at
    }

    /// The lifetime of the token, in whole seconds.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// The details of the token, to be stored where the token itself says nothing.
    /// `default_audience` is the issuer's own audience, which is used if
    /// [`audiences`](Self::audiences) is empty.
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
            login_epoch: self.login_epoch,
            issued_at: self.issued_at.unix_seconds(),
            valid_from: 0,
            expires_at: self.expires_at().unix_seconds(),
            claims: self.claims.clone(),
        }
    }

    /// The time of expiry (`exp`).
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.issued_at.plus(self.lifetime)
    }
}

impl fmt::Debug for Authorization<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The other claims are the host's and may be private.
        f.debug_struct("Authorization")
            .field("subject", &self.subject)
            .field("client", &self.client)
            .field("scope", &self.scope)
            .field("token_id", &self.token_id)
            .finish_non_exhaustive()
    }
}

/// The claims that issuers set themselves (RFC 7519, RFC 9068, and `login_epoch` of this crate),
/// and claims that state what was not verified (such as `cnf`).
const RESERVED: [&str; 14] = [
    "iss",
    "sub",
    "aud",
    "client_id",
    "iat",
    "exp",
    "nbf",
    "jti",
    "sid",
    "login_epoch",
    "scope",
    "cnf",
    "act",
    "may_act",
];

/// Whether a host may add this claim to a token.
pub(crate) fn is_host_claim(name: &str) -> bool {
    !name.is_empty() && !RESERVED.contains(&name)
}

/// Checks the audience of an issuer's tokens.
pub(crate) fn check_audience(audience: &str) -> Result<(), BoxError> {
    if audience.is_empty() {
        return Err(
            "its audience is empty: name the resource server that the tokens are for".into()
        );
    }
    Ok(())
}
