//! The introspection endpoint (RFC 7662): it tells clients and resource servers whether a token is
//! active, and what the token says.

use serde_json::Value;

use crate::client::{AuthenticatedClient, IntrospectionAccess};
use crate::endpoint::{is_own, token_in};
use crate::error::{ClientFault, ServerFault, TokenError};
use crate::grant::engine::Engine;
use crate::http::HttpResponse;
use crate::http::json_writer::ObjectWriter;
use crate::refusal::{OrFault, Refusal};
use crate::request::TokenRequest;
use crate::session::rotation::Holder;
use crate::session::{self, Found, RefreshKeys, Sessions};
use crate::state::transaction::HeldRows;
use crate::time::Timestamp;
use crate::types::context::RequestContext;
use crate::types::identifier::{ClientId, Subject};
use crate::types::scope::Scope;
use crate::types::token::TokenDetails;

/// The answer of the introspection endpoint (RFC 7662 section 2.2).
pub(crate) enum Introspection {
    /// Exactly one member, whatever the cause.
    Inactive,
    AccessToken(Box<TokenDetails>),
    /// Without `token_type`, which describes how an access token is used (RFC 6749 section 5.1).
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
                if !details.scope.is_empty() {
                    body.plain("scope", details.scope.as_str().as_bytes());
                }
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
                // The host's own claims must not override a member of the answer.
                let mut further = details.claims;
                further.retain(|name, value: &mut Value| {
                    !OWN.contains(&name.as_str()) && name != "login_epoch" && !value.is_null()
                });
                body.members(&further);
            }
            Introspection::RefreshToken { issuer, client_id, subject, scope, expires_at } => {
                if !scope.is_empty() {
                    body.plain("scope", scope.as_str().as_bytes());
                }
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

/// The members that the engine sets itself.
const OWN: [&str; 11] =
    ["active", "scope", "client_id", "token_type", "exp", "iat", "sub", "aud", "iss", "jti", "sid"];

impl Engine {
    pub(crate) async fn introspect(
        &self,
        request: &TokenRequest<'_>,
    ) -> Result<Introspection, TokenError> {
        let started = self.settings.environment.clock.now();
        let introspected = self.introspect_token(request, started).await;
        self.conclude(introspected, &request.context, started).await
    }

    async fn introspect_token(
        &self,
        request: &TokenRequest<'_>,
        now: Timestamp,
    ) -> Result<Introspection, Refusal> {
        let (context, mut held) = (&request.context, HeldRows::default());
        let caller =
            self.client_of(request, self.endpoints.introspection(), &mut held, now).await?;
        let introspected = match (token_in(request), &self.sessions) {
            _ if caller.registration().is_public() => Err(ClientFault::Public.into()),
            (Err(fault), _) => Err(fault.into()),
            (Ok(token), Some(sessions)) if RefreshKeys::is_refresh_token(token) => {
                self.introspect_refresh_token(sessions, token, &caller, now, context).await
            }
            (Ok(token), _) => self.introspect_access_token(token, &caller, now, context).await,
        };
        introspected.map_err(|refusal| refusal.of_client(caller.id()))
    }

    /// Only its own client may introspect a refresh token, since no other client can use it.
    async fn introspect_refresh_token(
        &self,
        sessions: &Sessions,
        token: &str,
        caller: &AuthenticatedClient,
        now: Timestamp,
        context: &RequestContext,
    ) -> Result<Introspection, Refusal> {
        let found = sessions.active(token).await;
        let found = found.or_fault(ServerFault::StateStore)?;
        let holder = session::holder(caller, context);
        let Some(Found { session, .. }) = found.filter(|found| found.session.holder == holder)
        else {
            return Ok(Introspection::Inactive);
        };
        let Holder { client, .. } = &session.holder;
        if !self
            .may_be_used(
                &session.subject.as_str().into(),
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
            expires_at: sessions.expires_at(&session),
            subject: session.subject,
            scope: session.scope,
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
        // A resource server of one tenant must not see another tenant's tokens. A resource server
        // without a tenant sees those of all tenants.
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

    /// Whether the token's client is still registered and, if there is an account gate, the account
    /// is admitted.
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
        let Some(sessions) = &self.sessions else { return Ok(true) };
        let admission = sessions.gate().admit(subject, &client, &context).await;
        Ok(admission.or_fault(ServerFault::AccountGate)?.rejection().is_none())
    }
}
