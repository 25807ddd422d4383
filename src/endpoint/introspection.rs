//! The answers of the introspection endpoint (RFC 7662) and of the revocation endpoint (RFC 7009).

use serde_json::Value;

use crate::http::HttpResponse;
use crate::vocabulary::json::ObjectWriter;
use crate::vocabulary::scope::Scope;
use crate::vocabulary::token::TokenDetails;

/// The answer of the introspection endpoint (RFC 7662 section 2.2).
pub(crate) enum Introspection {
    /// Whatever the cause: exactly one member.
    Inactive,
    AccessToken(Box<TokenDetails>),
    /// Without `token_type`, which tells how an access token is to be used (RFC 6749 section 5.1).
    RefreshToken {
        issuer: String,
        client_id: String,
        subject: String,
        scope: Scope,
        expires_at: u64,
    },
}

/// The answer of the revocation endpoint (RFC 7009 section 2.2), whether or not there was something to revoke. Deployed
/// clients want the type and the body.
pub(crate) struct Revoked;

impl From<Revoked> for HttpResponse {
    fn from(Revoked: Revoked) -> Self {
        Self::private_json(200, b"{}".to_vec())
    }
}

impl From<Introspection> for HttpResponse {
    fn from(introspection: Introspection) -> Self {
        let mut body = ObjectWriter::with_capacity(256);
        body.value("active", &!matches!(introspection, Introspection::Inactive));
        match introspection {
            Introspection::Inactive => {}
            Introspection::AccessToken(details) => {
                let scope = (!details.scope.is_empty()).then(|| details.scope.as_str());
                scope.into_iter().for_each(|scope| body.plain("scope", scope.as_bytes()));
                body.text("client_id", details.client_id.as_str());
                body.plain("token_type", b"Bearer");
                body.value("exp", &details.expires_at);
                body.value("iat", &details.issued_at);
                body.text("sub", details.subject.as_str());
                match &*details.audiences {
                    [one] => body.text("aud", one),
                    several => body.value("aud", &several),
                }
                body.text("iss", &details.issuer);
                body.text("jti", &details.token_id);
                details.session_id.iter().for_each(|session_id| body.text("sid", session_id.as_str()));
                // Of what the host has added, nothing can say otherwise.
                let mut further = details.claims;
                further.retain(|name, value: &mut Value| !OWN.contains(&name.as_str()) && !value.is_null());
                body.members(&further);
            }
            Introspection::RefreshToken { issuer, client_id, subject, scope, expires_at } => {
                body.plain("scope", scope.as_str().as_bytes());
                body.text("client_id", &client_id);
                body.value("exp", &expires_at);
                body.text("sub", &subject);
                body.text("iss", &issuer);
            }
        }
        match body.finish() {
            Ok(body) => Self::private_json(200, body),
            Err(_) => Self::empty(500),
        }
    }
}

/// The members that the answer has of its own.
const OWN: [&str; 11] = ["active", "scope", "client_id", "token_type", "exp", "iat", "sub", "aud", "iss", "jti", "sid"];
