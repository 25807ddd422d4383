//! Client authentication (RFC 6749 section 2.3), one file a method.
//!
//! A request presents one [`Credential`]. The client that it names is looked up, the credential is
//! verified against the client's registration, and the result is an [`AuthenticatedClient`] or the
//! fault. Every `ClientFault` becomes the same 401 `invalid_client`.

mod assertion;
mod basic;
mod public;
mod secret;

use std::fmt;

pub(crate) use assertion::{ASSERTION_TYPE, Expectations, JWT_BEARER, UsedAssertions};
#[cfg(feature = "argon2")]
pub(crate) use secret::Comparison;
pub(crate) use secret::SlowSecrets;

use crate::client::authenticate::assertion::AssertionCredential;
use crate::client::authenticate::basic::Basic;
use crate::client::authenticate::public::PublicCredential;
use crate::client::authenticate::secret::SecretCredential;
use crate::client::jwks::PublishedKeys;
use crate::client::{AuthenticationMethod, Client, ClientStore};
use crate::error::{ClientFault, Reason, RequestFault, ServerFault};
use crate::event::{self, Event, Observer};
use crate::http::Header;
use crate::refusal::{OrFault, Refusal};
use crate::request::{Parameter, TokenRequest};
use crate::time::Timestamp;
use crate::types::context::RequestContext;
use crate::types::identifier::ClientId;

/// A client that has authenticated, or a public client that has named itself. Only the engine can
/// make one.
///
/// When an [`AccountGate`](crate::AccountGate) is asked at introspection, it is the client that the
/// token was issued to, with the method that it is registered for.
#[derive(Clone)]
pub struct AuthenticatedClient {
    client: Client,
    method: AuthenticationMethod,
}

impl AuthenticatedClient {
    /// The client's identifier.
    #[must_use]
    pub fn id(&self) -> &ClientId {
        self.client.id()
    }

    /// The client as it is registered.
    #[must_use]
    pub fn registration(&self) -> &Client {
        &self.client
    }

    /// The method by which it authenticated.
    #[must_use]
    pub fn method(&self) -> AuthenticationMethod {
        self.method
    }

    /// The client that a token was issued to; `None` if it would be refused now.
    pub(crate) fn of_token(client: Client, now: Timestamp) -> Option<Self> {
        let method = AuthenticationMethod::ALL
            .into_iter()
            .find(|method| client.authentication().allows(*method))?;
        (!client.is_disabled() && !client.has_expired(now)).then_some(Self { client, method })
    }
}

impl fmt::Debug for AuthenticatedClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthenticatedClient")
            .field("id", self.id())
            .field("method", &self.method)
            .finish()
    }
}

/// What a request presents to authenticate its client. It is well-formed, but not verified.
pub(crate) enum Credential<'r> {
    Secret(SecretCredential<'r>),
    Assertion(Box<AssertionCredential<'r>>),
    Public(PublicCredential<'r>),
}

impl<'r> Credential<'r> {
    /// Reads the credential of a request, which must use exactly one mechanism (RFC 6749 section
    /// 2.3).
    ///
    /// # Errors
    ///
    /// [`RequestFault`] if there are several credentials or they contradict each other,
    /// [`ClientFault`] if there is none that can be read.
    pub(crate) fn of(request: &'r TokenRequest<'_>) -> Result<Self, Reason> {
        let authorization = match request.authorization {
            Header::Absent => None,
            Header::Once(value) => Some(value),
            Header::Repeated => return Err(RequestFault::RepeatedHeader.into()),
        };
        let (client_id, secret) = (request.client_id(), request.get(Parameter::ClientSecret));
        if request.get(Parameter::ClientAssertion).is_some()
            || request.get(Parameter::ClientAssertionType).is_some()
        {
            return AssertionCredential::of(request, authorization)
                .map(|own| Self::Assertion(Box::new(own)));
        }
        match (authorization, secret, client_id) {
            (Some(_), Some(_), _) => Err(RequestFault::SeveralClientAuthentications.into()),
            (Some(authorization), None, client_id) => {
                let basic =
                    Basic::parse(authorization).ok_or(ClientFault::MalformedAuthorization)?;
                let basic = match client_id {
                    Some(client_id) => {
                        basic.narrowed_to(client_id).ok_or(RequestFault::ClientIdMismatch)?
                    }
                    None => basic,
                };
                Ok(if basic.secret().is_empty() {
                    Self::Public(PublicCredential::BasicWithoutSecret(basic))
                } else {
                    Self::Secret(SecretCredential::Basic(basic))
                })
            }
            (None, Some(secret), Some(client_id)) => {
                Ok(Self::Secret(SecretCredential::Post { client_id, secret }))
            }
            (None, None, Some(client_id)) => Ok(Self::Public(PublicCredential::Body(client_id))),
            (None, _, None) => Err(ClientFault::Unidentified.into()),
        }
    }

    /// The clients that the request may mean, each once. There are several only if the identifier
    /// in a Basic header has several readings: at least one, at most three. Raw.
    pub(crate) fn client_ids(&self) -> impl Iterator<Item = &str> + Clone {
        let ids: ClientIds<'_> = match self {
            Self::Secret(secret) => secret.client_ids(),
            Self::Assertion(assertion) => [Some(assertion.client_id()), None, None],
            Self::Public(public) => public.client_ids(),
        };
        ids.into_iter().flatten()
    }

    /// Whether the credential could have been guessed, so that failures are counted.
    pub(crate) fn can_be_guessed(&self) -> bool {
        match self {
            Self::Secret(_) | Self::Assertion(_) => true,
            Self::Public(_) => false,
        }
    }
}

/// The clients that a request may mean: one for each reading of its client identifier.
type ClientIds<'a> = [Option<&'a str>; 3];

/// What the credential of one request is verified with.
pub(crate) struct Authenticator<'a> {
    pub(crate) clients: &'a dyn ClientStore,
    /// The methods that the server allows.
    pub(crate) methods: &'a [AuthenticationMethod],
    pub(crate) slow: Option<&'a dyn SlowSecrets>,
    pub(crate) published: Option<&'a PublishedKeys>,
    pub(crate) assertions: Expectations<'a>,
    pub(crate) used: &'a UsedAssertions,
    pub(crate) observer: &'a dyn Observer,
    pub(crate) context: &'a RequestContext,
}

impl Authenticator<'_> {
    /// Looks the client up and verifies its credential.
    ///
    /// # Errors
    ///
    /// A [`ClientFault`] with the claimed client, or a [`ServerFault`].
    pub(crate) async fn authenticate(
        &self,
        credential: &Credential<'_>,
    ) -> Result<AuthenticatedClient, Refusal> {
        match credential {
            Credential::Secret(secret) => secret.authenticate(self).await,
            Credential::Assertion(assertion) => assertion.authenticate(self).await,
            Credential::Public(public) => public.authenticate(self).await,
        }
    }

    /// Finds the client with this identifier. It compares the identifier again, because a store may
    /// ignore case or trailing spaces.
    async fn find(&self, claimed: &str) -> Result<Option<Client>, Refusal> {
        let found =
            self.clients.find(claimed, self.context).await.or_fault(ServerFault::ClientStore)?;
        Ok(found.filter(|client| client.id().as_str() == claimed))
    }

    /// Checks everything but the credential itself: that the client exists, may be used now, and
    /// is registered for this method.
    fn admit(
        &self,
        client: Option<Client>,
        method: AuthenticationMethod,
    ) -> Result<AuthenticatedClient, ClientFault> {
        let client = client.ok_or(ClientFault::Unknown)?;
        if client.is_disabled() {
            return Err(ClientFault::Disabled);
        }
        if client.has_expired(self.now()) {
            return Err(ClientFault::Expired);
        }
        if !client.authentication().allows(method) || !self.methods.contains(&method) {
            return Err(ClientFault::Method);
        }
        Ok(AuthenticatedClient { client, method })
    }

    /// Looks up and judges each of these clients. It never stops early, so the number of look-ups
    /// depends only on the request, and not on which clients exist.
    async fn one_of<'c>(
        &self,
        ids: ClientIds<'c>,
        mut judge: impl FnMut(Option<Client>) -> Result<AuthenticatedClient, ClientFault>,
    ) -> Result<Found<'c>, Refusal> {
        let mut found = Found::None { claimed: "", fault: ClientFault::Unidentified };
        for (position, claimed) in ids.into_iter().flatten().enumerate() {
            let judged = judge(self.find(claimed).await?);
            found = match (judged, found) {
                (Ok(client), Found::None { .. }) => Found::One(client),
                (Ok(_), Found::One(_) | Found::Several { .. }) => Found::Several { claimed },
                (Err(fault), Found::None { fault: former, .. })
                    if position == 0 || is_more_specific(fault, former) =>
                {
                    Found::None { claimed, fault }
                }
                (Err(_), found) => found,
            };
        }
        Ok(found)
    }

    fn now(&self) -> Timestamp {
        self.assertions.now
    }

    fn observe(&self, event: &Event<'_>) {
        event::observe(self.observer, event);
    }
}

/// Which of the clients that a request may mean has authenticated.
enum Found<'c> {
    One(AuthenticatedClient),
    /// None has. This client and fault are the most useful to an administrator.
    None {
        claimed: &'c str,
        fault: ClientFault,
    },
    /// Two or more have, so it is unknown which one is meant.
    Several {
        claimed: &'c str,
    },
}

impl Found<'_> {
    fn into_result(self) -> Result<AuthenticatedClient, Refusal> {
        let (claimed, fault) = match self {
            Self::One(client) => return Ok(client),
            Self::None { claimed, fault } => (claimed, fault),
            Self::Several { claimed } => (claimed, ClientFault::Ambiguous),
        };
        Err(Refusal::new(fault).of_client(&claimed.into()))
    }
}

/// Whether `fault` is more useful than `former` to an administrator who looks for a mistake. A
/// registered client with a wrong secret is the most useful; a client that is refused for another
/// reason comes next; a client that does not exist comes last.
fn is_more_specific(fault: ClientFault, former: ClientFault) -> bool {
    let rank = |fault: ClientFault| match fault {
        ClientFault::Unknown => 0,
        ClientFault::Secret => 2,
        _ => 1,
    };
    rank(fault) > rank(former)
}
