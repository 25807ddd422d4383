//! The responses of the endpoints: granted (RFC 6749 section 5.1) and refused (RFC 6749 section
//! 5.2).

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::TokenError;
use crate::http::json_writer::ObjectWriter;
use crate::http::{HttpResponse, challenge};
use crate::types::scope::Scope;
use crate::types::secret::Secret;
use crate::types::token::AccessToken;

/// The members of a token response that only the engine sets.
const RESERVED: [&str; 9] = [
    "access_token",
    "token_type",
    "expires_in",
    "refresh_token",
    "scope",
    "error",
    "error_description",
    "error_uri",
    "issued_token_type",
];

/// Whether a host may add this member to a response, granted or refused.
pub(crate) fn is_host_member(name: &str) -> bool {
    !name.is_empty() && !RESERVED.contains(&name)
}

/// The response to a granted request ([RFC 6749 section 5.1]).
///
/// It converts into an [`HttpResponse`] with status 200 that no cache may store.
///
/// [RFC 6749 section 5.1]: https://www.rfc-editor.org/rfc/rfc6749#section-5.1
pub struct TokenResponse {
    pub(crate) access_token: AccessToken,
    pub(crate) expires_in: Duration,
    pub(crate) scope: Scope,
    pub(crate) refresh_token: Option<Secret<'static>>,
    pub(crate) members: Map<String, Value>,
}

impl TokenResponse {
    /// The access token.
    #[must_use]
    pub fn access_token(&self) -> &AccessToken {
        &self.access_token
    }

    /// The lifetime of the access token. It is sent in whole seconds.
    #[must_use]
    pub fn expires_in(&self) -> Duration {
        self.expires_in
    }

    /// The refresh token, if one was issued.
    #[must_use]
    pub fn refresh_token(&self) -> Option<&Secret<'static>> {
        self.refresh_token.as_ref()
    }

    /// The scope that was granted. It is sent whenever it has a token, even if it is the scope that
    /// was asked for.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }
}

impl fmt::Debug for TokenResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenResponse")
            .field("access_token", &self.access_token)
            .field("expires_in", &self.expires_in)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

impl From<TokenResponse> for HttpResponse {
    fn from(response: TokenResponse) -> Self {
        let (token, scope) = (response.access_token.as_bytes(), response.scope.as_str());
        let refresh_token = response.refresh_token.as_ref().map(Secret::expose);
        let length =
            token.len() + refresh_token.map_or(0, |token| token.len() + 20) + scope.len() + 96;
        let mut body = ObjectWriter::with_capacity(length);
        body.plain("access_token", token);
        body.plain("token_type", b"Bearer");
        body.value("expires_in", &response.expires_in.as_secs());
        if let Some(token) = refresh_token {
            body.plain("refresh_token", token.as_bytes());
        }
        if !scope.is_empty() {
            body.plain("scope", scope.as_bytes());
        }
        body.members(&response.members);
        match body.finish() {
            Ok(body) => Self::private_json(200, body),
            Err(_) => Self::empty(500),
        }
    }
}

impl From<TokenError> for HttpResponse {
    fn from(error: TokenError) -> Self {
        let response = Self::private_json(error.status(), error_json(&error));
        let response = match error.realm() {
            Some(realm) => {
                response.with("www-authenticate", challenge("Basic", &[("realm", realm)]))
            }
            None => response,
        };
        let response = match error.retry_after() {
            Some(span) => response.with_retry_after(span.as_secs().max(1)),
            None => response,
        };
        if error.status() == 405 { response.with("allow", "POST") } else { response }
    }
}

#[derive(Serialize)]
struct Refused<'a> {
    error: &'a str,
    error_description: &'a str,
    #[serde(flatten)]
    members: &'a Map<String, Value>,
}

fn error_json(error: &TokenError) -> Vec<u8> {
    let refused = Refused {
        error: error.code().as_str(),
        error_description: error.description(),
        members: error.members(),
    };
    // Serialising texts and JSON values cannot fail.
    serde_json::to_vec(&refused).unwrap_or_default()
}
