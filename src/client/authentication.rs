//! Client authentication (RFC 6749 section 2.3): one method a request, compared in constant time.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::{Zeroize, Zeroizing};

use crate::client::assertion::{Expectations, JWT_BEARER, JWT_BEARER_ALIAS, PresentedAssertion, Sound};
use crate::client::jwks::{PublishedKeys, Wanted};
use crate::client::registered::{
    AssertionCompatibility, AssertionKeys, AuthenticationMethod, Client, ClientAuthentication,
};
use crate::client::secret::ClientSecret;
use crate::client::store::ClientStore;
use crate::event::{self, Event, EventKind, Observer};
use crate::http::{self, Header};
use crate::jose::{UnusableKey, VerificationKeys};
use crate::refusal::{OrFault, Refusal};
use crate::request::TokenRequest;
use crate::state::key::Purpose;
use crate::state::replay::{Use, UseKeys, use_once};
use crate::state::transaction::State;
use crate::vocabulary::clock::Timestamp;
use crate::vocabulary::context::RequestContext;
use crate::vocabulary::digest::sha256;
use crate::vocabulary::error::{BoxError, ClientFault, Overloaded, Reason, RequestFault, ServerFault};
use crate::vocabulary::form;
use crate::vocabulary::identifier::ClientId;
use crate::vocabulary::limits::Limits;
use crate::vocabulary::secret::Secret;

/// A client that has proved who it is, or a public one that has said so. Only the engine can make one.
///
/// Where an [`AccountGate`](crate::AccountGate) is asked for introspection, it is the client that a token was issued to, which
/// had authenticated for that by the method it is registered for.
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

    /// How it authenticated.
    #[must_use]
    pub fn method(&self) -> AuthenticationMethod {
        self.method
    }

    /// The client of a token that we have issued, which had authenticated for that by the method it is registered for;
    /// `None` if it would be refused now.
    pub(crate) fn of_token(client: Client, now: Timestamp) -> Option<Self> {
        let method = AuthenticationMethod::ALL.into_iter().find(|method| client.authentication().allows(*method))?;
        (!client.is_disabled() && !client.has_expired(now)).then_some(Self { client, method })
    }
}

impl fmt::Debug for AuthenticatedClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthenticatedClient").field("id", self.id()).field("method", &self.method).finish()
    }
}

/// Who a request says it comes from, and its proof.
pub(crate) enum Presented<'r> {
    Basic(Basic),
    Post { client_id: &'r str, secret: &'r str },
    Public { client_id: &'r str },
    Assertion(Box<Asserted<'r>>),
}

/// An assertion, and what came with it that only some clients may send.
pub(crate) struct Asserted<'r> {
    assertion: PresentedAssertion<'r>,
    /// The type is spelt as some deployed clients spell it.
    alias: bool,
    /// An `Authorization` header, and the client that it names, if it names one.
    beside: Option<Option<Basic>>,
}

impl<'r> Presented<'r> {
    /// The one mechanism by which the request identifies its client.
    ///
    /// # Errors
    ///
    /// [`RequestFault`] where there are several or they contradict each other, [`ClientFault`] where there is none
    /// that can be read.
    pub(crate) fn by(request: &'r TokenRequest<'_>) -> Result<Self, Reason> {
        let body_id = request.client_id.as_deref();
        let secret = request.client_secret.as_ref().map(Secret::expose);
        let header = match request.authorization {
            Header::Absent => None,
            Header::Once(value) => Some(value),
            Header::Repeated => return Err(RequestFault::RepeatedHeader.into()),
        };
        match (&request.client_assertion, request.client_assertion_type.as_deref()) {
            (None, None) => {}
            _ if secret.is_some() => return Err(RequestFault::SeveralClientAuthentications.into()),
            (Some(text), Some(kind @ (JWT_BEARER | JWT_BEARER_ALIAS))) => {
                let beside = header.map(Basic::parse);
                return Self::asserted(text.expose(), kind == JWT_BEARER_ALIAS, beside, body_id);
            }
            _ => return Err(RequestFault::ClientAssertion.into()),
        }
        match (header, secret, body_id) {
            (Some(_), Some(_), _) => Err(RequestFault::SeveralClientAuthentications.into()),
            (Some(header), None, body_id) => {
                let basic = Basic::parse(header).ok_or(ClientFault::MalformedAuthorization)?;
                match body_id {
                    Some(body_id) => basic.narrowed_to(body_id).ok_or(RequestFault::ClientIdMismatch).map(Self::Basic),
                    None => Ok(Self::Basic(basic)),
                }
                .map_err(Into::into)
            }
            (None, Some(secret), Some(client_id)) => Ok(Self::Post { client_id, secret }),
            (None, None, Some(client_id)) => Ok(Self::Public { client_id }),
            (None, _, None) => Err(ClientFault::Unidentified.into()),
        }
    }

    fn asserted(
        text: &'r str,
        alias: bool,
        beside: Option<Option<Basic>>,
        body_id: Option<&str>,
    ) -> Result<Self, Reason> {
        let assertion = PresentedAssertion::parse(text).ok_or(ClientFault::AssertionMalformed)?;
        match body_id {
            Some(body_id) if body_id != assertion.client_id() => Err(RequestFault::ClientIdMismatch.into()),
            _ => Ok(Self::Assertion(Box::new(Asserted { assertion, alias, beside }))),
        }
    }

    /// Every client that the request may mean, each once: there are several only where the identifier in a Basic header
    /// can be read in several ways. Never none, at most three. Raw.
    pub(crate) fn client_ids(&self) -> impl Iterator<Item = &str> {
        let (one, basic) = match self {
            Self::Basic(basic) => (None, Some(basic)),
            Self::Assertion(asserted) => (Some(asserted.assertion.client_id()), None),
            Self::Post { client_id, .. } | Self::Public { client_id } => (Some(*client_id), None),
        };
        one.into_iter().chain(basic.into_iter().flat_map(Basic::client_ids))
    }

    /// Whether there is a proof, so something that could have been guessed.
    pub(crate) fn has_proof(&self) -> bool {
        match self {
            Self::Basic(basic) => !basic.secret().is_empty(),
            Self::Post { .. } | Self::Assertion(_) => true,
            Self::Public { .. } => false,
        }
    }

    /// The method this is, for a client of this kind: two widely used programs send Basic with an empty secret for a
    /// public client, which has no other meaning.
    fn method(&self, client_is_public: bool) -> AuthenticationMethod {
        match self {
            Self::Basic(basic) if client_is_public && basic.secret().is_empty() => AuthenticationMethod::None,
            Self::Basic(_) => AuthenticationMethod::ClientSecretBasic,
            Self::Post { .. } => AuthenticationMethod::ClientSecretPost,
            Self::Assertion(asserted) => asserted.method(),
            Self::Public { .. } => AuthenticationMethod::None,
        }
    }

    /// The secret in each of its readings.
    fn secret_readings(&self) -> [Option<Secret<'_>>; 3] {
        match self {
            Self::Basic(basic) => readings(basic.secret(), Limits::CLIENT_SECRET),
            Self::Post { secret, .. } => [Some(Secret::new(*secret)), None, None],
            Self::Public { .. } | Self::Assertion(_) => [None, None, None],
        }
    }

    /// Whether the secret presented is one of these. Looks at every one of them, whatever it finds.
    fn matches_any(&self, secrets: &[ClientSecret], now: Timestamp) -> bool {
        self.secret_readings().iter().flatten().fold(false, |found, reading| {
            let digest = sha256(reading.expose().as_bytes());
            secrets.iter().fold(found, |found, secret| secret.matches(&digest, now) | found)
        })
    }

    /// Compares the secret presented, in each of its readings until one is right, with the one that is stored as a slow
    /// hash. Where there is none, a decoy is verified in its place.
    async fn compare_slowly(&self, phc: Option<&str>, slow: &dyn SlowSecrets) -> Result<Comparison, Overloaded> {
        let mut comparison = Comparison::Different;
        for reading in self.secret_readings().iter().flatten() {
            comparison = slow.compare(phc, reading.expose()).await?;
            if comparison == Comparison::Same {
                break;
            }
        }
        Ok(comparison)
    }
}

/// Verifies secrets that are stored as slow hashes, at bounded cost.
#[async_trait]
pub(crate) trait SlowSecrets: Send + Sync {
    /// Without a hash that can be used, a decoy is verified, which nothing matches.
    async fn compare(&self, phc: Option<&str>, secret: &str) -> Result<Comparison, Overloaded>;
}

/// What became of a comparison with a slow hash.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Same,
    Different,
    /// There is a hash, of a kind or strength that is not accepted.
    Unusable,
}

/// The credentials of an `Authorization: Basic` header (RFC 7617).
pub(crate) struct Basic {
    text: Zeroizing<String>,
    /// Where the first colon is.
    colon: usize,
    /// The identifier in each of its readings; empty where it has but one, which is in the text, and needs no allocation.
    ids: Vec<String>,
}

impl Basic {
    /// Strict: base64 in its canonical form with padding, text of the characters that RFC 6749 appendix A allows, an
    /// identifier that is one in some reading. `None` for anything else.
    fn parse(header: &[u8]) -> Option<Self> {
        let encoded = http::credentials(header, b"basic")?;
        if encoded.len() > Limits::BASIC.div_ceil(3) * 4 {
            return None;
        }
        let text = match String::from_utf8(STANDARD.decode(encoded).ok()?) {
            Ok(text) => Zeroizing::new(text),
            Err(error) => {
                error.into_bytes().zeroize();
                return None;
            }
        };
        let colon = text.bytes().position(|byte| byte == b':')?;
        if !form::is_vschar(&text) {
            return None;
        }
        let ids = Self::ids_in(text.get(..colon)?)?;
        Some(Self { text, colon, ids })
    }

    /// The readings of an identifier, as they are kept; `None` if it has none.
    fn ids_in(raw: &str) -> Option<Vec<String>> {
        let ids = readings(raw, Limits::CLIENT_ID);
        let mut ids = ids.iter().flatten().map(Secret::expose);
        if form::is_escaped(raw.as_bytes()) {
            Some(ids.map(str::to_owned).collect()).filter(|ids: &Vec<String>| !ids.is_empty())
        } else {
            ids.next().map(|_| Vec::new())
        }
    }

    /// The readings of the identifier.
    fn client_ids(&self) -> impl Iterator<Item = &str> {
        let raw = self.text.get(..self.colon).filter(|_| self.ids.is_empty());
        raw.into_iter().chain(self.ids.iter().map(String::as_str))
    }

    fn may_mean(&self, client_id: &str) -> bool {
        self.client_ids().any(|id| id == client_id)
    }

    /// As the credentials of this client alone, if that is one that the identifier can be read as.
    fn narrowed_to(mut self, client_id: &str) -> Option<Self> {
        if !self.may_mean(client_id) {
            return None;
        }
        self.ids.retain(|id| id == client_id);
        Some(self)
    }

    /// The secret as it came.
    fn secret(&self) -> &str {
        self.text.get(self.colon + 1..).unwrap_or_default()
    }
}

/// The readings of one half of Basic credentials, each once: form-decoded (RFC 6749 section 2.3.1); unchanged, since many
/// clients do not encode; and percent-decoded with `+` kept, as some encode. `half` is of VSCHAR (RFC 6749 appendix A).
/// Readings that are empty, too long or hold other characters are left out.
fn readings(half: &str, limit: usize) -> [Option<Secret<'_>>; 3] {
    let fits = |text: &str| (1..=limit).contains(&text.len());
    let decoded = |decode: fn(&[u8]) -> Result<Cow<'_, str>, form::BadEncoding>| {
        Some(Secret::new(decode(half.as_bytes()).ok()?))
            .filter(|reading| fits(reading.expose()) && form::is_vschar(reading.expose()))
    };
    let raw = Some(Secret::new(half)).filter(|_| fits(half));
    if !form::is_escaped(half.as_bytes()) {
        return [raw, None, None];
    }
    let (form_decoded, percent_decoded) = (decoded(form::decode), decoded(form::percent_decode));
    let differs =
        |own: &Secret<'_>, other: &Option<Secret<'_>>| other.as_ref().map(Secret::expose) != Some(own.expose());
    let raw = raw.filter(|own| differs(own, &form_decoded));
    let percent_decoded = percent_decoded.filter(|own| differs(own, &form_decoded) && differs(own, &raw));
    [form_decoded, raw, percent_decoded]
}

/// What clients are held against.
pub(crate) struct Registry<'a> {
    pub(crate) clients: &'a dyn ClientStore,
    pub(crate) switched_on: &'a [AuthenticationMethod],
    pub(crate) slow: Option<&'a dyn SlowSecrets>,
    pub(crate) published: Option<&'a PublishedKeys>,
    pub(crate) assertions: Expectations<'a>,
    pub(crate) used: &'a UsedAssertions,
    pub(crate) observer: &'a dyn Observer,
    pub(crate) context: &'a RequestContext,
}

/// Looks the client up and holds its proof against what is registered.
///
/// An unknown client costs the digest and the comparison that a known one costs, and every failure gets the same
/// bytes.
pub(crate) async fn authenticate(
    presented: &Presented<'_>,
    registry: &Registry<'_>,
) -> Result<AuthenticatedClient, Refusal> {
    match presented {
        Presented::Assertion(asserted) => asserted.authenticate(registry).await,
        _ => by_secret(presented, registry).await,
    }
}

/// Looks up every client that the identifier may mean, whatever it finds: how many there are is a matter of the request
/// alone. Where the secret is that of two, it cannot be told which is meant. A secret that is stored as a slow hash is
/// compared only if no digest is right.
async fn by_secret(presented: &Presented<'_>, registry: &Registry<'_>) -> Result<AuthenticatedClient, Refusal> {
    let mut right: Option<AuthenticatedClient> = None;
    let mut slow: Option<(&str, Client)> = None;
    let mut refusal: Option<(&str, ClientFault)> = None;
    let (mut several_right, mut several_slow) = (false, false);
    for claimed in presented.client_ids() {
        let client = registry.find(claimed).await?;
        let registered = client.as_ref().map(Client::authentication);
        let proved = presented.matches_any(secrets_to_compare(registered), registry.assertions.now);
        match registry.judge(|public| presented.method(public), client.as_ref(), proved) {
            Ok(client) => several_right |= right.replace(client).is_some(),
            Err(fault) => {
                if refusal.is_none_or(|(_, former)| tells_more(fault, former)) {
                    refusal = Some((claimed, fault));
                }
                // All but the secret is in order.
                let may_be_right = |client: &Client| client.authentication().slow_hash().is_some();
                if let Some(client) = client.filter(may_be_right).filter(|_| fault == ClientFault::Secret) {
                    several_slow |= slow.replace((claimed, client)).is_some();
                }
            }
        }
    }
    let refuse = |(claimed, fault): (&str, ClientFault)| Refusal::new(fault).of_client(&claimed.into());
    let (claimed, fault) = refusal.unwrap_or(("", ClientFault::Unidentified));
    let ambiguous = if right.is_some() { several_right } else { several_slow };
    match right {
        Some(client) if !ambiguous => return Ok(client),
        _ => {}
    }
    // Of two slow hashes neither is compared, or a request would cost as many as it has readings.
    let candidate = slow.filter(|_| !ambiguous);
    let phc = candidate.as_ref().and_then(|(_, client)| client.authentication().slow_hash());
    if by_slow_hash(presented, phc, registry).await?
        && let Some((claimed, client)) = &candidate
    {
        let client = registry.judge(|public| presented.method(public), Some(client), true);
        return client.map_err(|fault| refuse((claimed, fault)));
    }
    Err(refuse((claimed, if ambiguous { ClientFault::Ambiguous } else { fault })))
}

/// Whether an administrator who looks for a fault is better told of this one: the registered client whose secret is wrong,
/// before one that is refused anyway, before one that does not exist.
fn tells_more(fault: ClientFault, former: ClientFault) -> bool {
    let rank = |fault: ClientFault| match fault {
        ClientFault::Unknown => 0,
        ClientFault::Secret => 2,
        _ => 1,
    };
    rank(fault) > rank(former)
}

/// Compares the secret, in each of its readings, with a slow hash, or with a decoy where there is none.
async fn by_slow_hash(presented: &Presented<'_>, phc: Option<&str>, registry: &Registry<'_>) -> Result<bool, Refusal> {
    let comparison = match registry.slow {
        Some(slow) => presented.compare_slowly(phc, slow).await.or_fault(ServerFault::Overloaded)?,
        None if phc.is_some() => Comparison::Unusable,
        None => Comparison::Different,
    };
    if comparison == Comparison::Unusable {
        // Only the observer learns that something is wrong here, or the caller would learn that there is such a client.
        registry.observe(&Event::in_context(EventKind::ServerFault(ServerFault::ClientRegistration), registry.context));
    }
    Ok(comparison == Comparison::Same)
}

impl Registry<'_> {
    fn observe(&self, event: &Event<'_>) {
        event::observe(self.observer, event);
    }

    fn key_passed_over(&self, key: &UnusableKey, client_id: &ClientId) {
        let event = Event::in_context(EventKind::KeyPassedOver, self.context);
        self.observe(&event.with_client(client_id).with_cause(key));
    }

    /// The client of this identifier. A store that compares without regard to case or to trailing spaces finds clients that
    /// were not named.
    async fn find(&self, claimed: &str) -> Result<Option<Client>, Refusal> {
        let found = self.clients.find(claimed, self.context).await.or_fault(ServerFault::ClientStore)?;
        Ok(found.filter(|client| client.id().as_str() == claimed))
    }

    /// `method` tells what was presented, which for Basic without a secret depends on whether the client is public.
    fn judge(
        &self,
        method: impl FnOnce(bool) -> AuthenticationMethod,
        client: Option<&Client>,
        proved: bool,
    ) -> Result<AuthenticatedClient, ClientFault> {
        let client = client.ok_or(ClientFault::Unknown)?;
        let method = method(client.is_public());
        if client.is_disabled() {
            return Err(ClientFault::Disabled);
        }
        if client.has_expired(self.assertions.now) {
            return Err(ClientFault::Expired);
        }
        if !client.authentication().allows(method) || !self.switched_on.contains(&method) {
            return Err(ClientFault::Method);
        }
        if method != AuthenticationMethod::None && !proved {
            return Err(ClientFault::Secret);
        }
        Ok(AuthenticatedClient { client: client.clone(), method })
    }
}

impl Asserted<'_> {
    async fn authenticate(&self, registry: &Registry<'_>) -> Result<AuthenticatedClient, Refusal> {
        let claimed = self.assertion.client_id();
        let client = registry.find(claimed).await?;
        let registered = client.as_ref().map(Client::authentication);
        self.check_what_came_with_it(registered)?;
        // Whether it is proved is judged once the client is known to be in order.
        let client = registry.judge(|_| self.method(), client.as_ref(), true);
        let client = client.map_err(|fault| Refusal::new(fault).of_client(&claimed.into()))?;
        let proved = self.prove(&client, registry).await;
        proved.map_err(|refusal| refusal.of_client(client.id()))?;
        Ok(client)
    }

    fn method(&self) -> AuthenticationMethod {
        if self.assertion.algorithm().is_symmetric() {
            AuthenticationMethod::ClientSecretJwt
        } else {
            AuthenticationMethod::PrivateKeyJwt
        }
    }

    /// The spelling of the type, and a second mechanism, are for clients that are registered for them.
    fn check_what_came_with_it(&self, registered: Option<&ClientAuthentication>) -> Result<(), RequestFault> {
        let registered = registered.and_then(ClientAuthentication::assertion);
        let allows = |compatibility| registered.is_some_and(|registered| registered.allows(compatibility));
        if self.alias && !allows(AssertionCompatibility::JwtBearerAlias) {
            return Err(RequestFault::ClientAssertion);
        }
        match &self.beside {
            None => Ok(()),
            Some(_) if !allows(AssertionCompatibility::BasicBeside) => Err(RequestFault::SeveralClientAuthentications),
            Some(Some(basic)) if basic.may_mean(self.assertion.client_id()) => Ok(()),
            Some(_) => Err(RequestFault::ClientIdMismatch),
        }
    }

    /// Signature and claims, and at last that it is seen for the first time: nothing that is not verified is remembered.
    async fn prove(&self, client: &AuthenticatedClient, registry: &Registry<'_>) -> Result<(), Refusal> {
        let credentials = client.registration().authentication().assertion();
        let credentials = credentials.ok_or(ClientFault::Method)?;
        let keys = match credentials.keys() {
            AssertionKeys::Known(keys) => keys.clone(),
            AssertionKeys::At(uri) => self.published_keys(uri, client.id(), registry).await?,
        };
        let judged = self.assertion.judge(credentials, &keys, &registry.assertions);
        if let Err(ClientFault::AssertionSignature | ClientFault::AssertionAlgorithm) = judged {
            // One at the most: whoever sends bad assertions is not to fill a log.
            let meant = keys.unusable().iter().find(|key| self.assertion.may_mean(key));
            meant.into_iter().for_each(|key| registry.key_passed_over(key, client.id()));
        }
        let sound = judged?;
        let used = registry.used.once(registry.assertions.issuer, client.id(), &sound).await;
        match used.or_fault(ServerFault::StateStore)? {
            Use::First => {}
            Use::Seen => return Err(ClientFault::AssertionSeen.into()),
            Use::Full => return Err(ServerFault::TooManyAssertions.into()),
        }
        if !sound.is_for_us_alone {
            registry.observe(&Event::in_context(EventKind::LenientAudience, registry.context).with_client(client.id()));
        }
        Ok(())
    }

    /// The keys that the client publishes; fetched anew where the assertion names one that is not among them.
    async fn published_keys(
        &self,
        uri: &str,
        client_id: &ClientId,
        registry: &Registry<'_>,
    ) -> Result<Arc<VerificationKeys>, Refusal> {
        let source = registry.published.ok_or("there is no JwksSource").or_fault(ServerFault::JwksSource)?;
        let mut had = source.at(uri, Wanted::Recent).await.or_fault(ServerFault::JwksSource)?;
        if self.assertion.names_none_of(&had.keys) {
            had = source.at(uri, Wanted::Newer).await.or_fault(ServerFault::JwksSource)?;
        }
        if had.just_fetched {
            had.keys.unusable().iter().for_each(|key| registry.key_passed_over(key, client_id));
        }
        Ok(had.keys)
    }
}

/// The assertions that were used: each is good for one request (RFC 7523 section 3).
pub(crate) struct UsedAssertions {
    pub(crate) state: Arc<State>,
    /// How many of one client's are remembered at once.
    pub(crate) most: u64,
}

impl UsedAssertions {
    /// Clocks of one deployment are at most this far apart.
    const MARGIN: Duration = Duration::from_secs(60);

    async fn once(&self, issuer: &str, client: &ClientId, sound: &Sound) -> Result<Use, BoxError> {
        let (issuer, client) = (issuer.as_bytes(), client.as_str().as_bytes());
        let keys = UseKeys {
            thing: self.state.keys.row(Purpose::Assertion, &[issuer, client, sound.id.as_bytes()]),
            count: self.state.keys.row(Purpose::AssertionCount, &[issuer, client]),
        };
        let end = sound.end.plus(Self::MARGIN).unix_millis();
        self.state.run(&keys.both(), |tx| use_once(tx, keys, end, self.most)).await
    }
}

/// What to hold a secret against: never nothing, so that an unknown client costs the comparison that a known one costs.
/// Nobody knows a text whose digest is the decoy.
fn secrets_to_compare(registered: Option<&ClientAuthentication>) -> &[ClientSecret] {
    static DECOY: [ClientSecret; 1] = [ClientSecret::from_sha256([0; 32])];
    registered.map(ClientAuthentication::secrets).filter(|secrets| !secrets.is_empty()).unwrap_or(&DECOY)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requirement 38: whoever is not there is compared with all the same.
    #[test]
    fn there_is_always_something_to_compare_with() {
        let known = ClientAuthentication::basic(ClientSecret::digest_of("a")).or_secret(ClientSecret::digest_of("b"));
        assert_eq!(secrets_to_compare(Some(&known)).len(), 2);
        assert_eq!(secrets_to_compare(None).len(), 1);
        assert_eq!(secrets_to_compare(Some(Client::public("p").authentication())).len(), 1);
        let zeros = ClientSecret::from_sha256([0; 32]);
        assert_eq!(secrets_to_compare(None)[0].sha256(), zeros.sha256());
    }
}
