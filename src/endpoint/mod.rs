//! The endpoints besides the token endpoint: revocation (RFC 7009), introspection (RFC 7662), and
//! the metadata document that lists all endpoints (RFC 8414).

mod introspection;
pub(crate) mod metadata;
mod revocation;

use crate::client::AuthenticatedClient;
pub(crate) use crate::endpoint::revocation::RevocationError;
use crate::error::{RequestFault, ServerFault};
use crate::grant::engine::Engine;
use crate::refusal::{OrFault, Refusal};
use crate::request::{Parameter, TokenRequest};
use crate::time::Timestamp;
use crate::types::context::RequestContext;
use crate::types::token::{TokenDetails, is_b64token};

impl Engine {
    /// The details of an access token, if this server issued it and it has not expired at `now`.
    async fn inspect(&self, token: &str, now: Timestamp) -> Result<Option<TokenDetails>, Refusal> {
        // A bearer token has only these characters (RFC 6750 section 2.1). Any other text is
        // unknown, and a host's token issuer is not asked about it.
        if !is_b64token(token) {
            return Ok(None);
        }
        let details = self.settings.tokens.inspect(token, now).await;
        let details = details.or_fault(ServerFault::TokenLookup)?;
        // A host's token issuer may return tokens of other issuers, or expired ones.
        let is_ours = |details: &TokenDetails| {
            details.issuer == self.settings.issuer && now.unix_seconds() < details.expires_at
        };
        Ok(details.filter(is_ours))
    }
}

fn token_in<'r>(request: &'r TokenRequest<'_>) -> Result<&'r str, RequestFault> {
    request.get(Parameter::Token).ok_or(RequestFault::TokenMissing)
}

/// Whether a token was issued to this client. The token's tenant is known only if it has a session.
fn is_own(
    details: &TokenDetails,
    tenant: Option<&str>,
    client: &AuthenticatedClient,
    context: &RequestContext,
) -> bool {
    let same_tenant = tenant.is_none_or(|tenant| tenant == context.tenant_or_default());
    details.client_id == *client.id() && same_tenant
}
