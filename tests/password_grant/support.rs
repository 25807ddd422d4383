//! What the tests of the password grant share.

use password_grant::{AccessToken, Authorization, BoxError, Scope, TokenIssuer, async_trait};

pub fn scope(text: &str) -> Scope {
    text.parse().unwrap()
}

/// A token issuer that a test scripts.
pub struct Tokens(pub fn(&Authorization<'_>) -> Result<AccessToken, BoxError>);

#[async_trait]
impl TokenIssuer for Tokens {
    async fn issue(&self, authorization: &Authorization<'_>) -> Result<AccessToken, BoxError> {
        (self.0)(authorization)
    }
}
