//! The introspection endpoint (RFC 7662): what a token says, for its client and for resource servers.

use serde_json::Value;

use crate::client::{AuthenticatedClient, IntrospectionAccess};
use crate::endpoint::{is_own, token_in};
use crate::error::{ClientFault, ServerFault};
use crate::grant::Engine;
use crate::http::HttpResponse;
use crate::http::json_writer::ObjectWriter;
use crate::refusal::{OrFault, Refusal};
use crate::request::TokenRequest;
use crate::session::rotation::Holder;
use crate::session::{self, Found, RefreshKeys, Sessions};
use crate::time::Timestamp;
use crate::types::context::RequestContext;
use crate::types::identifier::{ClientId, Subject};
use crate::types::scope::Scope;
use crate::types::token::TokenDetails;

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
                details
                    .session_id
                    .iter()
                    .for_each(|session_id| body.text("sid", session_id.as_str()));
                // Of what the host has added, nothing can say otherwise.
                let mut further = details.claims;
                further.retain(|name, value: &mut Value| {
                    !OWN.contains(&name.as_str()) && !value.is_null()
                });
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
const OWN: [&str; 11] =
    ["active", "scope", "client_id", "token_type", "exp", "iat", "sub", "aud", "iss", "jti", "sid"];

impl Engine {
    pub(crate) async fn introspect_token(
        &self,
        request: &TokenRequest<'_>,
        now: Timestamp,
    ) -> Result<Introspection, Refusal> {
        let context = &request.context;
        let caller = self.client_of(request, self.endpoints.introspection(), now).await?;
        let introspected = match (token_in(request), &self.families) {
            _ if caller.registration().is_public() => Err(ClientFault::Public.into()),
            (Err(fault), _) => Err(fault.into()),
            (Ok(token), Some(families)) if RefreshKeys::is_refresh_token(token) => {
                self.introspect_family(families, token, &caller, now, context).await
            }
            (Ok(token), _) => self.introspect_access_token(token, &caller, now, context).await,
        };
        introspected.map_err(|refusal| refusal.of_client(caller.id()))
    }

    /// Only its own client is told of a refresh token: nobody else may use one.
    async fn introspect_family(
        &self,
        families: &Sessions,
        token: &str,
        caller: &AuthenticatedClient,
        now: Timestamp,
        context: &RequestContext,
    ) -> Result<Introspection, Refusal> {
        let found = families.active(token).await;
        let found = found.or_fault(ServerFault::StateStore)?;
        let holder = session::holder(caller, context);
        let Some(Found { family, .. }) = found.filter(|found| found.family.holder == holder) else {
            return Ok(Introspection::Inactive);
        };
        let Holder { client, .. } = &family.holder;
        if !self
            .may_be_used(
                &family.subject.as_str().into(),
                &client.as_str().into(),
                None,
                now,
                context,
            )
            .await?
        {
            return Ok(Introspection::Inactive);
        }
        Ok(Introspection::RefreshToken {
            issuer: self.settings.issuer.clone(),
            client_id: client.clone(),
            expires_at: session::expires_at(&family),
            subject: family.subject,
            scope: family.scope,
        })
    }

    async fn introspect_access_token(
        &self,
        token: &str,
        caller: &AuthenticatedClient,
        now: Timestamp,
        context: &RequestContext,
    ) -> Result<Introspection, Refusal> {
        let Some(details) = self.inspect(token, now).await? else {
            return Ok(Introspection::Inactive);
        };
        let status = self.revocations.status(&details).await.or_fault(ServerFault::StateStore)?;
        let tenant = status.tenant.as_deref();
        let seen = match caller.registration().introspection() {
            IntrospectionAccess::All => true,
            IntrospectionAccess::Audiences(audiences) => {
                details.audiences.iter().any(|audience| audiences.contains(audience))
            }
            IntrospectionAccess::Own => false,
        };
        // A resource server of one tenant is told nothing of another's, one of none of all.
        let own_tenant = context.tenant();
        let seen = seen && tenant.is_none_or(|tenant| own_tenant.is_none_or(|own| own == tenant));
        if !(seen || is_own(&details, tenant, caller, context)) || status.fault.is_some() {
            return Ok(Introspection::Inactive);
        }
        let active =
            self.may_be_used(&details.subject, &details.client_id, tenant, now, context).await?;
        Ok(if active {
            Introspection::AccessToken(Box::new(details))
        } else {
            Introspection::Inactive
        })
    }

    /// Whether the client of a token is still registered, and the account admitted, where there is a gate.
    async fn may_be_used(
        &self,
        subject: &Subject,
        client_id: &ClientId,
        tenant: Option<&str>,
        now: Timestamp,
        context: &RequestContext,
    ) -> Result<bool, Refusal> {
        let context = match tenant {
            Some(tenant) => context.in_tenant(tenant),
            None => context.clone(),
        };
        let found = self.settings.clients.find(client_id.as_str(), &context).await;
        let found = found.or_fault(ServerFault::ClientStore)?;
        let client = found.filter(|client| client.id() == client_id);
        let Some(client) = client.and_then(|client| AuthenticatedClient::of_token(client, now))
        else {
            return Ok(false);
        };
        let Some(families) = &self.families else { return Ok(true) };
        let admission = families.gate().admit(subject, &client, &context).await;
        Ok(admission.or_fault(ServerFault::AccountGate)?.rejection().is_none())
    }
}
