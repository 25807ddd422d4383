//! The endpoints at which a client speaks about a token: revocation (RFC 7009) and introspection (RFC 7662).

use crate::client::{AuthenticatedClient, Sees};
use crate::endpoint::{Introspection, Revoked};
use crate::grant::Engine;
use crate::grant::refresh::{self, Families, Found};
use crate::request::TokenRequest;
use crate::state::Revocations;
use crate::state::family::Holder;
use crate::token::refresh::RefreshKeys;
use crate::vocabulary::clock::Timestamp;
use crate::vocabulary::context::RequestContext;
use crate::vocabulary::error::{BoxError, ClientFault, RequestFault, TokenError, TokenFault, Trouble};
use crate::vocabulary::event::Event;
use crate::vocabulary::report::Report;
use crate::vocabulary::secret::Secret;
use crate::vocabulary::token::{TokenDetails, is_b64token};

impl Engine {
    pub(crate) async fn revoke(&self, request: &mut TokenRequest<'_>) -> Result<Revoked, TokenError> {
        let now = self.settings.clock.now();
        let context = std::mem::take(&mut request.context);
        let report = self.report(&context);
        let client = self.client_of(request, self.endpoints.revocation(), now, report).await?;
        let report = report.about(client.id());
        let token = token_in(request).map_err(|fault| report.refused(fault))?;
        match &self.families {
            Some(families) if RefreshKeys::is_refresh_token(token.expose()) => {
                self.revoke_family(families, token, &client, report).await
            }
            _ => self.revoke_access_token(token, &client, now, report).await,
        }
    }

    async fn revoke_family(
        &self,
        families: &Families,
        token: &Secret<'_>,
        client: &AuthenticatedClient,
        report: Report<'_>,
    ) -> Result<Revoked, TokenError> {
        let holder = refresh::holder(client, report.context());
        let found = families.revoke(token.expose(), &holder).await;
        match found.map_err(|cause| report.failed(Trouble::StateStore, &cause))? {
            None => Ok(Revoked),
            Some((false, found)) => Err(report.token(TokenFault::OtherClient, Some(&found.session_id))),
            Some((true, found)) => {
                report.tell(&Event::TokenRevoked {
                    client_id: client.id(),
                    subject: &found.family.subject.as_str().into(),
                    token_id: None,
                    session_id: Some(&found.session_id),
                    context: report.context(),
                });
                Ok(Revoked)
            }
        }
    }

    async fn revoke_access_token(
        &self,
        token: &Secret<'_>,
        client: &AuthenticatedClient,
        now: Timestamp,
        report: Report<'_>,
    ) -> Result<Revoked, TokenError> {
        let Some(details) = self.inspect(token, now.minus(Revocations::GRACE), report).await? else {
            return Ok(Revoked);
        };
        let session_id = details.session_id.as_deref();
        let standing = self.revocations.standing(&details).await;
        let standing = standing.map_err(|cause| report.failed(Trouble::StateStore, &cause))?;
        if !is_own(&details, standing.tenant.as_deref(), client, report.context()) {
            return Err(report.token(TokenFault::OtherClient, session_id));
        }
        let revoked = self.revocations.revoke(&details).await;
        revoked.map_err(|cause| report.failed(Trouble::StateStore, &cause))?;
        let (client_id, subject, context) = (client.id(), &details.subject.as_str().into(), report.context());
        let token_id = Some(details.token_id.as_str());
        report.tell(&Event::TokenRevoked { client_id, subject, token_id, session_id, context });
        Ok(Revoked)
    }

    pub(crate) async fn introspect(&self, request: &mut TokenRequest<'_>) -> Result<Introspection, TokenError> {
        let now = self.settings.clock.now();
        let context = std::mem::take(&mut request.context);
        let report = self.report(&context);
        let caller = self.client_of(request, self.endpoints.introspection(), now, report).await?;
        if caller.registration().is_public() {
            return Err(report.client(Some(caller.id().as_str()), ClientFault::Public));
        }
        let report = report.about(caller.id());
        let token = token_in(request).map_err(|fault| report.refused(fault))?;
        match &self.families {
            Some(families) if RefreshKeys::is_refresh_token(token.expose()) => {
                self.introspect_family(families, token, &caller, now, report).await
            }
            _ => self.introspect_access_token(token, &caller, now, report).await,
        }
    }

    /// Only its own client is told of a refresh token: nobody else may use one.
    async fn introspect_family(
        &self,
        families: &Families,
        token: &Secret<'_>,
        caller: &AuthenticatedClient,
        now: Timestamp,
        report: Report<'_>,
    ) -> Result<Introspection, TokenError> {
        let found = families.active(token.expose()).await;
        let found = found.map_err(|cause| report.failed(Trouble::StateStore, &cause))?;
        let holder = refresh::holder(caller, report.context());
        let Some(Found { family, .. }) = found.filter(|found| found.family.holder == holder) else {
            return Ok(Introspection::Inactive);
        };
        let Holder { client, .. } = &family.holder;
        if !self.may_be_used(&family.subject, client, None, now, report).await? {
            return Ok(Introspection::Inactive);
        }
        Ok(Introspection::RefreshToken {
            issuer: self.settings.issuer.clone(),
            client_id: client.clone(),
            expires_at: refresh::expires_at(&family),
            subject: family.subject,
            scope: family.scope,
        })
    }

    async fn introspect_access_token(
        &self,
        token: &Secret<'_>,
        caller: &AuthenticatedClient,
        now: Timestamp,
        report: Report<'_>,
    ) -> Result<Introspection, TokenError> {
        let Some(details) = self.inspect(token, now, report).await? else { return Ok(Introspection::Inactive) };
        let standing = self.revocations.standing(&details).await;
        let standing = standing.map_err(|cause| report.failed(Trouble::StateStore, &cause))?;
        let tenant = standing.tenant.as_deref();
        let seen = match caller.registration().sees() {
            Sees::All => true,
            Sees::For(audiences) => details.audiences.iter().any(|audience| audiences.contains(audience)),
            Sees::Nobodys => false,
        };
        // A resource server of one tenant is told nothing of another's, one of none of all.
        let own_tenant = report.context().tenant();
        let seen = seen && tenant.is_none_or(|tenant| own_tenant.is_none_or(|own| own == tenant));
        if !(seen || is_own(&details, tenant, caller, report.context())) || standing.fault.is_some() {
            return Ok(Introspection::Inactive);
        }
        let active = self.may_be_used(&details.subject, &details.client_id, tenant, now, report).await?;
        Ok(if active { Introspection::AccessToken(Box::new(details)) } else { Introspection::Inactive })
    }

    /// What an access token says, if it is one of ours and has not expired at this time.
    async fn inspect(
        &self,
        token: &Secret<'_>,
        now: Timestamp,
        report: Report<'_>,
    ) -> Result<Option<TokenDetails>, TokenError> {
        // A bearer token has only these characters (RFC 6750 section 2.1): any other text is unknown, and an issuer of the
        // host's is not asked about it.
        if !is_b64token(token.expose()) {
            return Ok(None);
        }
        let details = self.settings.tokens.inspect(token.expose(), now).await;
        let details = details.map_err(|cause| report.failed(Trouble::TokenLookup, &cause))?;
        // An issuer of the host's may know tokens of others, or ones that have expired.
        let is_ours =
            |details: &TokenDetails| details.issuer == self.settings.issuer && now.unix_seconds() < details.expires_at;
        Ok(details.filter(is_ours))
    }

    /// Whether the client of a token is still registered, and the account admitted, where there is a gate.
    async fn may_be_used(
        &self,
        subject: &str,
        client_id: &str,
        tenant: Option<&str>,
        now: Timestamp,
        report: Report<'_>,
    ) -> Result<bool, TokenError> {
        let context = match tenant {
            Some(tenant) => report.context().in_tenant(tenant),
            None => report.context().clone(),
        };
        let found = self.settings.clients.find(client_id, &context).await;
        let found = found.map_err(|cause| report.failed(Trouble::ClientStore, &cause))?;
        let client = found.filter(|client| client.id().as_str() == client_id);
        let Some(client) = client.and_then(|client| AuthenticatedClient::of_token(client, now)) else {
            return Ok(false);
        };
        let Some(families) = &self.families else { return Ok(true) };
        let admission = families.gate().admit(&subject.into(), &client, &context).await;
        let admission = admission.map_err(|cause: BoxError| report.failed(Trouble::AccountGate, &cause))?;
        Ok(admission.rejection().is_none())
    }
}

fn token_in<'r, 's>(request: &'r TokenRequest<'s>) -> Result<&'r Secret<'s>, RequestFault> {
    request.token.as_ref().ok_or(RequestFault::TokenMissing)
}

/// Whether a token was issued to this client. Its tenant is known where the token has a family.
fn is_own(
    details: &TokenDetails,
    tenant: Option<&str>,
    client: &AuthenticatedClient,
    context: &RequestContext,
) -> bool {
    let same_tenant = tenant.is_none_or(|tenant| tenant == context.tenant().unwrap_or_default());
    details.client_id == client.id().as_str() && same_tenant
}
