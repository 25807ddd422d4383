//! Access tokens as text (RFC 6750 section 2.1), and the claims of a valid one.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::InvalidToken;
use crate::types::identifier::{ClientId, SessionId, Subject};
use crate::types::limits::RequestLimits;
use crate::types::scope::Scope;

/// The lifetimes that an access token may have. Any other value is a mistake in a registration or a
/// configuration.
pub(crate) const LIFETIMES: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(366 * 86_400);

/// An access token as it is sent to the client. Its `Debug` output is a placeholder. Unlike a
/// password it is not overwritten when it is dropped, because the response holds it in the clear
/// too.
pub struct AccessToken(Vec<u8>);

impl AccessToken {
    /// A bearer token of 1 to 8,192 characters: letters, digits, `-`, `.`, `_`, `~`, `+` and `/`,
    /// followed by any number of `=` ([RFC 6750 section 2.1]).
    ///
    /// # Errors
    ///
    /// [`InvalidToken`] for any other text, because no client could send it back.
    ///
    /// [RFC 6750 section 2.1]: https://www.rfc-editor.org/rfc/rfc6750#section-2.1
    pub fn new(token: impl Into<String>) -> Result<Self, InvalidToken> {
        let token = token.into();
        if is_b64token(&token) { Ok(Self(token.into_bytes())) } else { Err(InvalidToken) }
    }

    /// A token without a check: the caller made it of base64url and dots, no longer than a verifier
    /// accepts.
    pub(crate) fn from_base64url(token: Vec<u8>) -> Self {
        Self(token)
    }

    /// The token itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        // Both constructors take only ASCII.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The token as bytes. Unlike [`expose`](Self::expose) it checks nothing, so it costs nothing.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Whether a token is `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="` (RFC 6750
/// section 2.1) and not longer than its limit.
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

/// The claims of a valid access token. They are not secret. They are serialisable under the names
/// of the fields, so that a [`TokenStore`](crate::token::TokenStore) can keep them as one JSON
/// column. A value is made by [`Authorization::details`](crate::Authorization::details), by
/// [`new`](Self::new), or by `serde`.
#[derive(Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TokenDetails {
    /// The issuer: `iss`.
    pub issuer: String,
    /// The subject that the token speaks for: `sub`.
    pub subject: Subject,
    /// The client that the token was issued to: `client_id`.
    pub client_id: ClientId,
    /// The resource servers that the token is meant for: `aud`.
    pub audiences: Vec<String>,
    /// The scope: what the token may be used for.
    pub scope: Scope,
    /// The identifier of the token: `jti`.
    pub token_id: String,
    /// The session that the token belongs to, if there is one: `sid`. Revoking the session revokes
    /// the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// The number of the last log-out everywhere, of any subject, when the login began; a claim of
    /// that name. A token without a session has it, and is revoked by each log-out of its subject
    /// with a greater number.
    ///
    /// A token without a session and without this number is compared with log-outs by its date: it
    /// is revoked if it was issued in or before the second of its subject's last log-out, by the
    /// clocks of the instances that did both. A login in the second of a log-out then yields a
    /// token that is revoked from the start, and a token that was dated by a clock ahead of the one
    /// that dated the log-out may not be revoked. This is so for tokens of a host's own
    /// [`TokenIssuer`] that does not return [`Authorization::login_epoch`], and for answers of
    /// introspection, which do not show the number.
    ///
    /// [`TokenIssuer`]: crate::TokenIssuer
    /// [`Authorization::login_epoch`]: crate::Authorization::login_epoch
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login_epoch: Option<u64>,
    /// When the token was issued, in seconds since 1970: `iat`, rounded down.
    pub issued_at: u64,
    /// `iat` rounded up, if it was read from a token; otherwise 0.
    #[serde(skip)]
    pub(crate) valid_from: u64,
    /// When the token expires, in seconds since 1970: `exp`.
    pub expires_at: u64,
    /// All other claims.
    #[serde(default)]
    pub claims: Map<String, Value>,
}

impl TokenDetails {
    /// Details with what every token has; set the other fields afterwards. `expires_at` is in
    /// seconds since 1970.
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
            login_epoch: None,
            issued_at: 0,
            valid_from: 0,
            expires_at,
            claims: Map::new(),
        }
    }
}

impl fmt::Debug for TokenDetails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The other claims are the host's and may be private.
        f.debug_struct("TokenDetails")
            .field("issuer", &self.issuer)
            .field("subject", &self.subject)
            .field("client_id", &self.client_id)
            .field("scope", &self.scope)
            .field("token_id", &self.token_id)
            .finish_non_exhaustive()
    }
}
