use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::InvalidToken;
use crate::types::identifier::{ClientId, SessionId, Subject};
use crate::types::limits::RequestLimits;
use crate::types::scope::Scope;

/// How long an access token may be valid: anything else is a mistake in a table or a configuration.
pub(crate) const LIFETIMES: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(366 * 86_400);

/// An access token as it is sent to the client. Prints as a placeholder. Unlike a password it is not overwritten when
/// dropped: the answer, which leaves in the clear, holds it as well.
pub struct AccessToken(Vec<u8>);

impl AccessToken {
    /// A bearer token: 1 to 8,192 letters, digits, `-`, `.`, `_`, `~`, `+` and `/`, then any `=` ([RFC 6750 section
    /// 2.1]).
    ///
    /// # Errors
    ///
    /// For any other text, which no client could send back.
    ///
    /// [RFC 6750 section 2.1]: https://www.rfc-editor.org/rfc/rfc6750#section-2.1
    pub fn new(token: impl Into<String>) -> Result<Self, InvalidToken> {
        let token = token.into();
        if is_b64token(&token) { Ok(Self(token.into_bytes())) } else { Err(InvalidToken) }
    }

    /// Of base64url and dots, and no longer than a verifier reads.
    pub(crate) fn from_base64url(token: Vec<u8>) -> Self {
        Self(token)
    }

    /// The token itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        // It is ASCII, by both ways in which it is made.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The same, which costs nothing.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`
pub(crate) fn is_b64token(token: &str) -> bool {
    let body = token.trim_end_matches('=');
    token.len() <= RequestLimits::ACCESS_TOKEN
        && !body.is_empty()
        && body.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte))
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken(…)")
    }
}

/// What a valid access token says. Not a secret; serialisable under the names of its fields, so that a
/// [`TokenStore`](crate::token::TokenStore) can keep it as one JSON column. Made by
/// [`Authorization::details`](crate::Authorization::details), by [`new`](Self::new), or by `serde`.
#[derive(Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TokenDetails {
    /// Who issued it: `iss`.
    pub issuer: String,
    /// For whom it speaks: `sub`.
    pub subject: Subject,
    /// To which client it was issued: `client_id`.
    pub client_id: ClientId,
    /// For which resource servers it is meant: `aud`.
    pub audiences: Vec<String>,
    /// What it may be used for.
    pub scope: Scope,
    /// Its identifier: `jti`.
    pub token_id: String,
    /// The family of refresh tokens that it belongs to, where there is one: `sid`. With the family it is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// When it was issued, in seconds since 1970: `iat`, rounded down.
    pub issued_at: u64,
    /// The same, rounded up, where `iat` has a fraction.
    #[serde(skip)]
    pub(crate) valid_from: u64,
    /// When it expires, in seconds since 1970: `exp`.
    pub expires_at: u64,
    /// All other claims.
    #[serde(default)]
    pub claims: Map<String, Value>,
}

impl TokenDetails {
    /// What every token says; set the other fields afterwards. `expires_at` is in seconds since 1970.
    #[must_use]
    pub fn new(
        issuer: &str,
        subject: impl Into<Subject>,
        client_id: impl Into<ClientId>,
        audience: &str,
        expires_at: u64,
    ) -> Self {
        Self {
            issuer: issuer.to_owned(),
            subject: subject.into(),
            client_id: client_id.into(),
            audiences: vec![audience.to_owned()],
            scope: Scope::empty(),
            token_id: String::new(),
            session_id: None,
            issued_at: 0,
            valid_from: 0,
            expires_at,
            claims: Map::new(),
        }
    }
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
