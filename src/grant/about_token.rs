//! The endpoints at which a client speaks about a token: revocation (RFC 7009) and introspection (RFC 7662).

use crate::client::{AuthenticatedClient, IntrospectionAccess};
use crate::endpoint::{Introspection, Revoked};
use crate::event::{Event, EventKind};
use crate::grant::Engine;
use crate::grant::families::{self, Families, Found};
use crate::refusal::{OrFault, Refusal};
use crate::request::{Parameter, TokenRequest};
use crate::state::Revocations;
use crate::state::family::Holder;
use crate::token::refresh::RefreshKeys;
use crate::vocabulary::clock::Timestamp;
use crate::vocabulary::context::RequestContext;
use crate::vocabulary::error::{ClientFault, RequestFault, ServerFault, TokenFault};
use crate::vocabulary::identifier::{ClientId, Subject};
use crate::vocabulary::token::{TokenDetails, is_b64token};

impl Engine {
    pub(crate) async fn revoke_token(&self, request: &TokenRequest<'_>, now: Timestamp) -> Result<Revoked, Refusal> {
        let context = &request.context;
        let client = self.client_of(request, self.endpoints.revocation(), now).await?;
        let revoked = match (token_in(request), &self.families) {
            (Err(fault), _) => Err(fault.into()),
            (Ok(token), Some(families)) if RefreshKeys::is_refresh_token(token) => {
                self.revoke_family(families, token, &client, context).await
            }
            (Ok(token), _) => self.revoke_access_token(token, &client, now, context).await,
        };
        revoked.map_err(|refusal| refusal.of_client(client.id()))
    }

    async fn revoke_family(
        &self,
        families: &Families,
        token: &str,
        client: &AuthenticatedClient,
        context: &RequestContext,
    ) -> Result<Revoked, Refusal> {
        let holder = families::holder(client, context);
        let found = families.revoke(token, &holder).await;
        match found.or_fault(ServerFault::StateStore)? {
            None => Ok(Revoked),
            Some((false, found)) => Err(Refusal::new(TokenFault::OtherClient).of_session(&found.session_id)),
            Some((true, found)) => {
                let subject = &found.family.subject.as_str().into();
                let event = Event::in_context(EventKind::TokenRevoked, context).with_client(client.id());
                self.observe(&Event { session_id: Some(&found.session_id), ..event.with_subject(subject) });
                Ok(Revoked)
            }
        }
    }

    async fn revoke_access_token(
        &self,
        token: &str,
        client: &AuthenticatedClient,
        now: Timestamp,
        context: &RequestContext,
    ) -> Result<Revoked, Refusal> {
        let Some(details) = self.inspect(token, now.minus(Revocations::GRACE)).await? else {
            return Ok(Revoked);
        };
        let standing = self.revocations.standing(&details).await.or_fault(ServerFault::StateStore)?;
        if !is_own(&details, standing.tenant.as_deref(), client, context) {
            let refusal = Refusal::new(TokenFault::OtherClient);
            return Err(match &details.session_id {
                Some(session_id) => refusal.of_session(session_id),
                None => refusal,
            });
        }
        self.revocations.revoke(&details).await.or_fault(ServerFault::StateStore)?;
        self.observe(&Event {
            token_id: Some(&details.token_id),
            session_id: details.session_id.as_ref(),
            ..Event::in_context(EventKind::TokenRevoked, context)
                .with_client(client.id())
                .with_subject(&details.subject)
        });
        Ok(Revoked)
    }

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
        families: &Families,
        token: &str,
        caller: &AuthenticatedClient,
        now: Timestamp,
        context: &RequestContext,
    ) -> Result<Introspection, Refusal> {
        let found = families.active(token).await;
        let found = found.or_fault(ServerFault::StateStore)?;
        let holder = families::holder(caller, context);
        let Some(Found { family, .. }) = found.filter(|found| found.family.holder == holder) else {
            return Ok(Introspection::Inactive);
        };
        let Holder { client, .. } = &family.holder;
        if !self.may_be_used(&family.subject.as_str().into(), &client.as_str().into(), None, now, context).await? {
            return Ok(Introspection::Inactive);
        }
        Ok(Introspection::RefreshToken {
            issuer: self.settings.issuer.clone(),
            client_id: client.clone(),
            expires_at: families::expires_at(&family),
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
        let Some(details) = self.inspect(token, now).await? else { return Ok(Introspection::Inactive) };
        let standing = self.revocations.standing(&details).await.or_fault(ServerFault::StateStore)?;
        let tenant = standing.tenant.as_deref();
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
        if !(seen || is_own(&details, tenant, caller, context)) || standing.fault.is_some() {
            return Ok(Introspection::Inactive);
        }
        let active = self.may_be_used(&details.subject, &details.client_id, tenant, now, context).await?;
        Ok(if active { Introspection::AccessToken(Box::new(details)) } else { Introspection::Inactive })
    }

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
        let is_ours =
            |details: &TokenDetails| details.issuer == self.settings.issuer && now.unix_seconds() < details.expires_at;
        Ok(details.filter(is_ours))
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
        let Some(client) = client.and_then(|client| AuthenticatedClient::of_token(client, now)) else {
            return Ok(false);
        };
        let Some(families) = &self.families else { return Ok(true) };
        let admission = families.gate().admit(subject, &client, &context).await;
        Ok(admission.or_fault(ServerFault::AccountGate)?.rejection().is_none())
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
