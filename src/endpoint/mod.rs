//! The endpoints beside the token endpoint: revocation, introspection, and the document that lists
//! them all.

mod introspection;
mod metadata;
mod revocation;

use crate::client::AuthenticatedClient;
pub(crate) use crate::endpoint::introspection::Introspection;
pub(crate) use crate::endpoint::metadata::{Endpoints, Metadata, is_reserved_metadata};
pub(crate) use crate::endpoint::revocation::Revoked;
use crate::error::{RequestFault, ServerFault};
use crate::grant::Engine;
use crate::refusal::{OrFault, Refusal};
use crate::request::{Parameter, TokenRequest};
use crate::time::Timestamp;
use crate::types::context::RequestContext;
use crate::types::token::{TokenDetails, is_b64token};

impl Engine {
    /// What an access token says, if it is one of ours and has not expired at this time.
    async fn inspect(&self, token: &str, now: Timestamp) -> Result<Option<TokenDetails>, Refusal> {
        // A bearer token has only these characters (RFC 6750 section 2.1): any other text is unknown, and an issuer of the
        // host's is not asked about it.
        if !is_b64token(token) {
            return Ok(None);
        }
        let details = self.settings.tokens.inspect(token, now).await;
        let details = details.or_fault(ServerFault::TokenLookup)?;
        // An issuer of the host's may know tokens of others, or ones that have expired.
        let is_ours = |details: &TokenDetails| {
            details.issuer == self.settings.issuer && now.unix_seconds() < details.expires_at
        };
        Ok(details.filter(is_ours))
    }
}

fn token_in<'r>(request: &'r TokenRequest<'_>) -> Result<&'r str, RequestFault> {
    request.get(Parameter::Token).ok_or(RequestFault::TokenMissing)
}

/// Whether a token was issued to this client. Its tenant is known where the token has a family.
fn is_own(
    details: &TokenDetails,
    tenant: Option<&str>,
    client: &AuthenticatedClient,
    context: &RequestContext,
) -> bool {
    let same_tenant = tenant.is_none_or(|tenant| tenant == context.tenant().unwrap_or_default());
    details.client_id == *client.id() && same_tenant
}
