//! Client assertions (`private_key_jwt`, `client_secret_jwt`; RFC 7521, RFC 7523): the credential,
//! its keys, and its single use. [`jwt`] parses and verifies the JWT itself.

mod jwt;

use std::sync::Arc;

pub(crate) use jwt::{ASSERTION_TYPE, Expectations, JWT_BEARER};

use crate::client::authenticate::assertion::jwt::{
    JWT_BEARER_ALIAS, UnverifiedAssertion, VerifiedAssertion,
};
use crate::client::authenticate::basic::Basic;
use crate::client::authenticate::{AuthenticatedClient, Authenticator};
use crate::client::jwks::Freshness;
use crate::client::replay::{Owner, Use, UseKeys, UseQuota, use_once};
use crate::client::{
    AssertionCompatibility, AssertionKeys, AuthenticationMethod, Client, ClientAuthentication,
};
use crate::error::{BoxError, ClientFault, Reason, RequestFault, ServerFault};
use crate::event::{Event, EventKind};
use crate::jose::{UnusableKey, VerificationKeys};
use crate::refusal::{OrFault, Refusal};
use crate::request::{Parameter, TokenRequest};
use crate::state::transaction::{HeldRows, State, Transaction};
use crate::time::DEPLOYMENT_SKEW;
use crate::types::identifier::ClientId;

/// An assertion, and what came with it that only clients with an [`AssertionCompatibility`] may
/// send.
pub(crate) struct AssertionCredential<'r> {
    assertion: UnverifiedAssertion<'r>,
    /// Whether the `client_assertion_type` is spelt as some deployed clients spell it.
    is_alias: bool,
    alongside: Alongside,
}

/// The `Authorization` header of a request with an assertion.
enum Alongside {
    Nothing,
    Basic(Basic),
    Malformed,
}

impl<'r> AssertionCredential<'r> {
    /// The assertion of a request that has `client_assertion` or `client_assertion_type`.
    pub(super) fn of(
        request: &'r TokenRequest<'_>,
        authorization: Option<&[u8]>,
    ) -> Result<Self, Reason> {
        if request.get(Parameter::ClientSecret).is_some() {
            return Err(RequestFault::SeveralClientAuthentications.into());
        }
        let (text, is_alias) = match (
            request.get(Parameter::ClientAssertion),
            request.get(Parameter::ClientAssertionType),
        ) {
            (Some(text), Some(JWT_BEARER)) => (text, false),
            (Some(text), Some(JWT_BEARER_ALIAS)) => (text, true),
            _ => return Err(RequestFault::ClientAssertion.into()),
        };
        let assertion = UnverifiedAssertion::parse(text).ok_or(ClientFault::AssertionMalformed)?;
        if request.client_id().is_some_and(|client_id| client_id != assertion.client_id()) {
            return Err(RequestFault::ClientIdMismatch.into());
        }
        let alongside = match authorization.map(Basic::parse) {
            None => Alongside::Nothing,
            Some(Some(basic)) => Alongside::Basic(basic),
            Some(None) => Alongside::Malformed,
        };
        Ok(Self { assertion, is_alias, alongside })
    }

    /// The client that the assertion claims to be from. Raw.
    pub(super) fn client_id(&self) -> &str {
        self.assertion.client_id()
    }

    pub(super) async fn authenticate(
        &self,
        authenticator: &Authenticator<'_>,
    ) -> Result<AuthenticatedClient, Refusal> {
        let client = authenticator.find(self.client_id()).await?;
        self.check_compatibility(client.as_ref().map(Client::authentication))?;
        let client = authenticator.admit(client, self.method());
        let client =
            client.map_err(|fault| Refusal::new(fault).of_client(&self.client_id().into()))?;
        let verified = self.verify(&client, authenticator).await;
        verified.map_err(|refusal| refusal.of_client(client.id()))?;
        Ok(client)
    }

    fn method(&self) -> AuthenticationMethod {
        if self.assertion.algorithm().is_symmetric() {
            AuthenticationMethod::ClientSecretJwt
        } else {
            AuthenticationMethod::PrivateKeyJwt
        }
    }

    /// Checks that the client is registered for the alias of the type, and for a Basic header in
    /// addition to the assertion, if the request has these.
    fn check_compatibility(
        &self,
        registered: Option<&ClientAuthentication>,
    ) -> Result<(), RequestFault> {
        let registered = registered.and_then(ClientAuthentication::assertion);
        let allows =
            |compatibility| registered.is_some_and(|registered| registered.allows(compatibility));
        if self.is_alias && !allows(AssertionCompatibility::JwtBearerAlias) {
            return Err(RequestFault::ClientAssertion);
        }
        match &self.alongside {
            Alongside::Nothing => Ok(()),
            _ if !allows(AssertionCompatibility::BasicAlongside) => {
                Err(RequestFault::SeveralClientAuthentications)
            }
            Alongside::Basic(basic) if basic.may_mean(self.client_id()) => Ok(()),
            Alongside::Basic(_) | Alongside::Malformed => Err(RequestFault::ClientIdMismatch),
        }
    }

    /// Verifies signature and claims first, and then that the assertion was not used before:
    /// nothing unverified is stored.
    async fn verify(
        &self,
        client: &AuthenticatedClient,
        authenticator: &Authenticator<'_>,
    ) -> Result<(), Refusal> {
        let registered =
            client.registration().authentication().assertion().ok_or(ClientFault::Method)?;
        let keys = match registered.keys() {
            AssertionKeys::Known(keys) => keys.clone(),
            AssertionKeys::At(uri) => self.published_keys(uri, client.id(), authenticator).await?,
        };
        let verified = self.assertion.verify(registered, &keys, &authenticator.assertions);
        if let Err(ClientFault::AssertionSignature | ClientFault::AssertionAlgorithm) = verified {
            // Only the key that was meant, so that bad assertions cannot fill a log.
            let meant = keys.unusable().iter().find(|key| self.assertion.may_mean(key));
            meant.into_iter().for_each(|key| authenticator.key_passed_over(key, client.id()));
        }
        let verified = verified?;
        let owner = Owner {
            issuer: authenticator.assertions.issuer,
            tenant: authenticator.context.tenant_or_default(),
            client: client.id().as_str(),
        };
        let used = authenticator.used.once(owner, &verified).await;
        match used.or_fault(ServerFault::StateStore)? {
            Use::First => {}
            Use::Seen => return Err(ClientFault::AssertionSeen.into()),
            Use::Full => return Err(ServerFault::TooManyAssertions.into()),
        }
        if !verified.is_for_issuer_alone {
            let event = Event::in_context(EventKind::LenientAudience, authenticator.context);
            authenticator.observe(&event.with_client(client.id()));
        }
        Ok(())
    }

    /// The keys that the client publishes. They are fetched again if the assertion names one that
    /// is not among them.
    async fn published_keys(
        &self,
        uri: &Arc<str>,
        client_id: &ClientId,
        authenticator: &Authenticator<'_>,
    ) -> Result<Arc<VerificationKeys>, Refusal> {
        let source = authenticator
            .published
            .ok_or("there is no JwksSource")
            .or_fault(ServerFault::JwksSource)?;
        let mut fetched =
            source.at(uri, Freshness::Recent).await.or_fault(ServerFault::JwksSource)?;
        if !fetched.just_fetched && self.assertion.names_none_of(&fetched.keys) {
            fetched = source.at(uri, Freshness::Newer).await.or_fault(ServerFault::JwksSource)?;
        }
        if fetched.is_first {
            fetched
                .keys
                .unusable()
                .iter()
                .for_each(|key| authenticator.key_passed_over(key, client_id));
        }
        Ok(fetched.keys)
    }
}

impl Authenticator<'_> {
    fn key_passed_over(&self, key: &UnusableKey, client_id: &ClientId) {
        let event = Event::in_context(EventKind::KeyPassedOver, self.context);
        self.observe(&event.with_client(client_id).with_cause(key));
    }
}

/// The assertions that were used. Each is valid for one request (RFC 7523 section 3).
pub(crate) struct UsedAssertions {
    pub(crate) state: Arc<State>,
    /// How many used assertions of one client are remembered at once.
    pub(crate) quota: UseQuota,
}

impl UsedAssertions {
    async fn once(&self, owner: Owner<'_>, verified: &VerifiedAssertion) -> Result<Use, BoxError> {
        let keys = UseKeys::new(&self.state.keys, self.quota, owner, &verified.id);
        let end = verified.end.plus(DEPLOYMENT_SKEW).unix_millis();
        let step = |tx: &mut Transaction<'_>| use_once(tx, keys, end, self.quota);
        let mut held = HeldRows::default();
        self.state.run_in_turn(&mut held, keys.count.into(), &keys.both(), step).await
    }
}
