use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::vocabulary::scope::Scope;

/// An access token as it is sent to the client. Prints as a placeholder. Unlike a password it is not overwritten when
/// dropped: the answer, which leaves in the clear, holds it as well.
pub struct AccessToken(String);

impl AccessToken {
    /// A bearer token of the characters that RFC 6750 section 2.1 allows: letters, digits, `-`, `.`, `_`, `~`, `+`,
    /// `/`, and `=` at the end.
    #[must_use]
    pub fn new(token: impl Into<String>) -> Self {
        Self(token.into())
    }

    /// The token itself. The only way to it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken(…)")
    }
}

/// What a valid access token says. Not a secret; serialisable, so that a [`TokenStore`](crate::TokenStore) can keep it
/// as one JSON column.
#[derive(Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TokenDetails {
    /// Who issued it: `iss`.
    pub issuer: String,
    /// For whom it speaks: `sub`.
    pub subject: String,
    /// To which client it was issued: `client_id`.
    pub client_id: String,
    /// For which resource servers it is meant: `aud`.
    pub audiences: Vec<String>,
    /// What it may be used for.
    pub scope: Scope,
    /// Its identifier: `jti`.
    pub token_id: String,
    /// When it was issued, in seconds since 1970: `iat`.
    pub issued_at: u64,
    /// When it expires, in seconds since 1970: `exp`.
    pub expires_at: u64,
    /// All other claims.
    #[serde(default)]
    pub claims: Map<String, Value>,
}

impl fmt::Debug for TokenDetails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The other claims are the host's, and may be private.
        f.debug_struct("TokenDetails")
            .field("issuer", &self.issuer)
            .field("subject", &self.subject)
            .field("client_id", &self.client_id)
            .field("scope", &self.scope)
            .field("token_id", &self.token_id)
            .finish_non_exhaustive()
    }
}
