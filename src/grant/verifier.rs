//! The verifier of the engine's own access tokens, for routes in the same process.

use std::sync::Arc;

use crate::error::BoxError;
use crate::grant::PasswordGrant;
use crate::resource::{AccessTokenVerifier, TokenLookup, VerifierError};
use crate::time::{BoxFuture, Timestamp};
use crate::token::TokenIssuer;
use crate::types::token::TokenDetails;

impl PasswordGrant {
    /// A verifier of this engine's access tokens, for protected routes in the same process. Issuer,
    /// keys, [`Environment`](crate::Environment) and [`revocations`](Self::revocations) are the
    /// engine's. `audience` is the resource server that protects its routes with it: the one that
    /// the [`JwtIssuer`](crate::JwtIssuer) was made with, or one that clients are registered for.
    ///
    /// A resource server in another process makes its own:
    /// [`AccessTokenVerifier::new`].
    ///
    /// # Errors
    ///
    /// [`VerifierError::EmptyAudience`] if the audience is empty.
    pub fn verifier(
        &self,
        audience: impl Into<Arc<str>>,
    ) -> Result<AccessTokenVerifier, VerifierError> {
        let settings = &self.0.settings;
        let issued = Issued(settings.tokens.clone());
        let verifier = AccessTokenVerifier::by_lookup(&*settings.issuer, audience, issued)?;
        Ok(verifier.environment(&settings.environment).revocations(self.revocations()))
    }
}

/// The tokens of the engine's issuer, which reads them itself.
struct Issued(Arc<dyn TokenIssuer>);

/// An issuer asked as of this time returns expired tokens too. The verifier checks the expiry
/// itself, so that its event tells an expired token from one of somebody else's.
const BEFORE_ANY_EXPIRY: Timestamp = Timestamp::from_unix_seconds(0);

impl TokenLookup for Issued {
    fn look_up<'a, 'b, 'c>(
        &'a self,
        token: &'b str,
    ) -> BoxFuture<'c, Result<Option<TokenDetails>, BoxError>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        self.0.inspect(token, BEFORE_ANY_EXPIRY)
    }
}
