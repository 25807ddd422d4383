//! The builder of [`PasswordGrant`]: it takes the host's configuration, checks it, and makes the
//! engine.

use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::client::authenticate::UsedAssertions;
use crate::client::jwks::PublishedKeys;
use crate::client::replay::UseQuota;
use crate::client::{AuthenticationMethod, Client, ClientStore, JwksSource, RegistrationError};
use crate::endpoint::metadata::{EndpointUrls, Metadata, is_reserved_metadata};
use crate::environment::{Environment, RandomnessError};
use crate::error::BoxError;
use crate::event::{self, Event, EventKind};
use crate::grant::engine::{Engine, Settings};
use crate::grant::registration::ServerSettings;
use crate::grant::{PasswordGrant, grants_on};
use crate::jose::Algorithm;
use crate::limiter::{AccountNames, AttemptLimiter, AttemptLimits};
use crate::session::{RefreshTokens, Revocations, Sessions};
use crate::state::key::Keys;
use crate::state::transaction::{Backend, State};
use crate::state::turns::Turns;
use crate::state::{InMemoryState, StateSecret, StateStore};
use crate::token::TokenIssuer;
use crate::token::jti::TokenIds;
use crate::types::identifier::ClientId;
use crate::types::limits::RequestLimits;
use crate::types::scope::Scope;
use crate::types::token::LIFETIMES;
use crate::user::UserAuthenticator;

/// The longest lifetime that a host can allow client assertions.
const MAX_ASSERTION_LIFETIME: Duration = Duration::from_secs(3_600);

/// Configures a [`PasswordGrant`].
#[must_use]
pub struct PasswordGrantBuilder {
    settings: Settings,
    realm: Option<String>,
    attempt_limits: Option<AttemptLimits>,
    account_names: Option<Arc<dyn AccountNames>>,
    state: StateChoice,
    max_assertions_per_client: u64,
    jwks_source: Option<Arc<dyn JwksSource>>,
    refresh: Option<RefreshTokens>,
    token_endpoint: Option<String>,
    revocation_endpoint: Option<String>,
    introspection_endpoint: Option<String>,
    jwks_uri: Option<String>,
    metadata: Map<String, Value>,
}

/// Where the engine keeps its state.
enum StateChoice {
    /// In an [`InMemoryState`] of its own, with the engine's clock.
    Own,
    Local(InMemoryState),
    Shared(Arc<dyn StateStore>, StateSecret),
}

/// Why a [`PasswordGrant`] could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The issuer, or the URL of an endpoint, is not an `https` URL (or `http` on a loopback
    /// address) without query and fragment (RFC 8414 section 2).
    #[error("{setting}: {url:?} {problem}")]
    Url {
        /// The setting, such as `issuer` or `token_endpoint`.
        setting: &'static str,
        /// The URL.
        url: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The token issuer failed its own check. For a [`JwtIssuer`](crate::JwtIssuer), its key does
    /// not sign correctly, or its audience is empty.
    #[error("the token issuer failed its test: {0}")]
    TokenIssuer(#[source] BoxError),
    /// Access tokens must be valid for at least a second and at most 366 days.
    #[error("access_token_lifetime: {0:?} is not from one second to 366 days")]
    Lifetime(Duration),
    /// At least one client authentication method must be on.
    #[error("authentication_methods: none is on, so no client can authenticate")]
    NoAuthenticationMethod,
    /// A method by which clients sign is on, and no algorithm for any such method is.
    #[error("assertion_algorithms: none is on for {}, which is on", .0.as_str())]
    NoAssertionAlgorithm(AuthenticationMethod),
    /// A limit on client assertions is zero, so that none is accepted.
    #[error("{0}: it is zero, so no client assertion is accepted")]
    NoAssertions(&'static str),
    /// A client that is known in advance is registered in a way that cannot work.
    #[error("client {id:?}: {error}")]
    Client {
        /// Its identifier.
        id: ClientId,
        /// What is wrong with its registration.
        #[source]
        error: RegistrationError,
    },
    /// The attempt limits contradict each other or are out of range.
    #[error("attempt limits: {0}")]
    AttemptLimits(&'static str),
    /// A setting of [`RefreshTokens`] is out of range.
    #[error("refresh tokens: {0}")]
    RefreshTokens(&'static str),
    /// The random generator failed.
    #[error(transparent)]
    Randomness(#[from] RandomnessError),
    /// The host has set a metadata member that the engine sets itself.
    #[error("the metadata member {0:?} is set by the engine")]
    MetadataMember(String),
}

impl PasswordGrantBuilder {
    pub(crate) fn new(
        issuer: &str,
        clients: Arc<dyn ClientStore>,
        users: Arc<dyn UserAuthenticator>,
        tokens: Arc<dyn TokenIssuer>,
    ) -> Self {
        let settings = Settings {
            issuer: issuer.to_owned(),
            clients,
            users,
            tokens,
            environment: Environment::new(),
            limits: RequestLimits::default(),
            authentication_methods: AuthenticationMethod::ALL.to_vec(),
            assertion_algorithms: Algorithm::ASYMMETRIC
                .into_iter()
                .chain(Algorithm::SYMMETRIC)
                .collect(),
            max_assertion_lifetime: MAX_ASSERTION_LIFETIME,
            slow_secrets: None,
            scopes: None,
            access_token_lifetime: Duration::from_secs(600),
            min_failure_time: None,
        };
        Self {
            settings,
            realm: None,
            attempt_limits: Some(AttemptLimits::default()),
            account_names: None,
            state: StateChoice::Own,
            max_assertions_per_client: 100_000,
            jwks_source: None,
            refresh: None,
            token_endpoint: None,
            revocation_endpoint: None,
            introspection_endpoint: None,
            jwks_uri: None,
            metadata: Map::new(),
        }
    }

    /// The realm of the `WWW-Authenticate: Basic` challenge. Default: the issuer. Characters that
    /// cannot stand in a header are left out.
    pub fn realm(mut self, realm: impl Into<String>) -> Self {
        self.realm = Some(realm.into());
        self
    }

    /// The clock, the source of randomness and the observer; see
    /// [`Environment`](crate::Environment). Give the same environment to what is outside of the
    /// engine: [`HashedPasswords`](crate::HashedPasswords) and the
    /// [`AccessTokenVerifier`](crate::AccessTokenVerifier).
    pub fn environment(mut self, environment: &Environment) -> Self {
        self.settings.environment = environment.clone();
        self
    }

    /// How much of a request is read; see [`RequestLimits`].
    pub fn limits(mut self, limits: RequestLimits) -> Self {
        self.settings.limits = limits.within_bounds();
        self
    }

    /// The client authentication methods that the server allows, whatever a client is registered
    /// for. Default: all.
    pub fn authentication_methods(
        mut self,
        methods: impl IntoIterator<Item = AuthenticationMethod>,
    ) -> Self {
        self.settings.authentication_methods = methods.into_iter().collect();
        self
    }

    /// Verifies client secrets that are stored as slow hashes
    /// ([`ClientAuthentication::or_slow_hash`](crate::ClientAuthentication::or_slow_hash)), on the
    /// threads that hash the users' passwords. Off by default.
    ///
    /// With it, every refused client secret costs a hash (up to three if the secret can be read in
    /// several ways), so that an unknown client cannot be told from a client with such a secret.
    /// That holds for hashes with the current parameters. For others, set a
    /// [`min_failure_time`](Self::min_failure_time).
    ///
    /// These hashes wait in the same queue as passwords, one after the other, and share the turns of
    /// the request's address (IPv6: of its /48) with the passwords from there. That is so for a
    /// [`web_backend`](crate::ClientBuilder::web_backend) too. A secret that the full queue refuses,
    /// or that has to wait there for too long, is answered 503 and does not count as a failure.
    /// Unauthenticated callers can keep the hashing threads busy, so limit the number of requests.
    #[cfg(feature = "argon2")]
    pub fn slow_client_secrets(mut self, hashing: &crate::HashedPasswords) -> Self {
        self.settings.slow_secrets = Some(Arc::new(hashing.clone()));
        self
    }

    /// The scopes that exist: no client is granted another one, and the metadata lists them.
    /// Default: whatever clients are registered for.
    pub fn scopes(mut self, scopes: Scope) -> Self {
        self.settings.scopes = Some(scopes);
        self
    }

    /// The lifetime of access tokens in whole seconds, for clients whose registration sets none:
    /// from one second to 366 days, or else [`BuildError::Lifetime`]. Default: ten minutes.
    pub fn access_token_lifetime(mut self, lifetime: Duration) -> Self {
        self.settings.access_token_lifetime = lifetime;
        self
    }

    /// The minimum time from the parsing of a request to the answer of a failed login, and at the
    /// token, revocation and introspection endpoints to the answer of a failed client
    /// authentication. Use it for user tables whose hashes differ in cost, where one decoy hash
    /// cannot cost the same as each of them, and for clients whose secrets or keys do: choose more
    /// than the slowest verification takes under load. Off by default.
    ///
    /// A 503 because the state store has failed is held back as well, since that may have been
    /// after the verification. Nothing else is held back. In particular, these are answered at once
    /// at all three endpoints: a 401 for a request that names no client or has a malformed
    /// `Authorization` header, a 429, and a 400 for a malformed request.
    pub fn min_failure_time(mut self, time: Duration) -> Self {
        self.settings.min_failure_time = Some(time);
        self
    }

    /// The algorithms that client assertions may be signed with, whatever a client is registered
    /// for. Default: all that the crate supports.
    pub fn assertion_algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.settings.assertion_algorithms = algorithms.into_iter().collect();
        self
    }

    /// How far in the future the `exp` of a client assertion may lie. Default and maximum: one
    /// hour.
    pub fn max_assertion_lifetime(mut self, lifetime: Duration) -> Self {
        self.settings.max_assertion_lifetime = lifetime.min(MAX_ASSERTION_LIFETIME);
        self
    }

    /// The maximum number of used assertions that are remembered for each client, so that no client
    /// can take the memory of the others. A client that reaches it gets 503 until some of its
    /// assertions have expired. Default: 100,000. With state in the memory of this process it is at
    /// most a quarter of the room that an [`InMemoryState`] has for assertions: 32,768 unless its
    /// capacity is set.
    ///
    /// A number of 128 or more is counted in several parts, to which assertions belong by a digest
    /// of their `jti`, so that requests of one client rarely wait for each other: 64 parts for the
    /// default. A client may then get 503 for some of its assertions shortly before it reaches the
    /// number as a whole.
    pub fn max_assertions_per_client(mut self, of_each_client: u64) -> Self {
        self.max_assertions_per_client = of_each_client;
        self
    }

    /// Fetches the key sets that clients publish
    /// ([`private_key_jwt_uri`](crate::ClientAuthentication::private_key_jwt_uri)).
    ///
    /// A set is used for ten minutes, for one more while it is fetched again, and for up to a day
    /// if that fails. It is fetched sooner if an assertion names a key that is not in it. All
    /// requests that need the set wait for the same fetch. The next fetch begins at least a minute
    /// after the last one began: two minutes after the second failure in a row, then twice as long
    /// after each further failure, up to 15 minutes.
    ///
    /// All of this holds for each URI: clients that publish at one URI share its set. The keys of
    /// 1,000 URIs are cached, and the times of the last fetches of 10,000. Both are kept by this
    /// engine in its own memory, also if there is a [`shared_state`](Self::shared_state), so each
    /// process fetches for itself.
    pub fn jwks_source(mut self, source: impl JwksSource) -> Self {
        self.jwks_source = Some(Arc::new(source));
        self
    }

    /// How many failures are allowed before a caller has to wait; see [`AttemptLimits`].
    pub fn attempt_limits(mut self, limits: AttemptLimits) -> Self {
        self.attempt_limits = Some(limits);
        self
    }

    /// Switches the attempt limits off, so that anyone can guess as fast as passwords can be
    /// hashed. RFC 6749 section 4.3.2 makes a limit a MUST. Use this only if the host has a limit
    /// of its own that counts an attempt before the password is verified. The state store then has
    /// ten seconds, which is the default of [`AttemptLimits::timeout`].
    pub fn dangerous_without_attempt_limits(mut self) -> Self {
        self.attempt_limits = None;
        self
    }

    /// The name under which attempts on an account are counted. Default: the name that was typed,
    /// without regard to case, Unicode compatibility forms (NFKC), accents and other nonspacing and
    /// enclosing marks, the stroke of ø, đ, ħ, ł and ŧ, characters that are not displayed, and the
    /// amount of white space.
    ///
    /// By default, a [known origin](AttemptLimits::known_origins) belongs to a finer name: `jose`
    /// and `josé` are counted as one name, but a login of one makes no origin known for the other.
    /// With this setting both are counted under the name that you return.
    pub fn account_names(mut self, names: impl AccountNames) -> Self {
        self.account_names = Some(Arc::new(names));
        self
    }

    /// Keeps the state between requests in the memory of this process. Default: an
    /// [`InMemoryState`] with the engine's clock.
    pub fn state(mut self, state: InMemoryState) -> Self {
        self.state = StateChoice::Local(state);
        self
    }

    /// Keeps the state between requests in a store that several instances of the engine share. All
    /// instances need the same secret, under which the keys of rows are digests. Their clocks, and
    /// the store's, should be within a minute of each other.
    pub fn shared_state(mut self, store: impl StateStore, secret: StateSecret) -> Self {
        self.state = StateChoice::Shared(Arc::new(store), secret);
        self
    }

    /// Switches refresh tokens on, for clients that may use
    /// [`Grant::RefreshToken`](crate::Grant::RefreshToken); see [`RefreshTokens`]. Sessions are
    /// kept with the rest of the state: in the memory of this process, where a restart logs
    /// everybody out, or in a [`shared_state`](Self::shared_state).
    pub fn refresh_tokens(mut self, refresh: RefreshTokens) -> Self {
        self.refresh = Some(refresh);
        self
    }

    /// The URL under which you route [`PasswordGrant::revoke`], for the metadata and for the
    /// audience of client assertions. Not in the metadata unless set.
    pub fn revocation_endpoint(mut self, url: impl Into<String>) -> Self {
        self.revocation_endpoint = Some(url.into());
        self
    }

    /// The URL under which you route [`PasswordGrant::introspect`], for the metadata and for the
    /// audience of client assertions. Not in the metadata unless set.
    pub fn introspection_endpoint(mut self, url: impl Into<String>) -> Self {
        self.introspection_endpoint = Some(url.into());
        self
    }

    /// The URL of the token endpoint, for the metadata. Default: the issuer followed by
    /// `/oauth/token`.
    pub fn token_endpoint(mut self, url: impl Into<String>) -> Self {
        self.token_endpoint = Some(url.into());
        self
    }

    /// The URL of the JWKS document, for the metadata. Default: the issuer followed by
    /// `/.well-known/jwks.json`.
    pub fn jwks_uri(mut self, url: impl Into<String>) -> Self {
        self.jwks_uri = Some(url.into());
        self
    }

    /// Adds a member to the metadata document, such as `service_documentation`.
    pub fn metadata_member(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.metadata.insert(name.into(), value.into());
        self
    }

    /// Checks the configuration, lets the token issuer check its keys, and makes the engine.
    ///
    /// # Errors
    ///
    /// A [`BuildError`], whose text names the setting: if a URL is invalid, if a lifetime, the
    /// attempt limits or the settings of refresh tokens are out of range, if no client
    /// authentication method or no algorithm for it is on, if the registration of a
    /// [known client](ClientStore::known_clients) cannot work, if a metadata member is one that the
    /// engine sets, or if the random generator or the token issuer fails.
    pub fn build(self) -> Result<PasswordGrant, BuildError> {
        let Self { settings, realm, attempt_limits, account_names, metadata, .. } = self;
        settings.tokens.check().map_err(BuildError::TokenIssuer)?;
        let base = settings.issuer.trim_end_matches('/');
        let has_keys = !settings.tokens.public_keys().keys.is_empty();
        let endpoints = EndpointUrls {
            token: self.token_endpoint.unwrap_or_else(|| format!("{base}/oauth/token")),
            revocation: self.revocation_endpoint,
            introspection: self.introspection_endpoint,
            jwks: has_keys
                .then(|| self.jwks_uri.unwrap_or_else(|| format!("{base}/.well-known/jwks.json"))),
        };
        check_url("issuer", &settings.issuer)?;
        for (setting, url) in endpoints.urls() {
            check_url(setting, url)?;
        }
        if !LIFETIMES.contains(&settings.access_token_lifetime) {
            return Err(BuildError::Lifetime(settings.access_token_lifetime));
        }
        check_methods(&settings, self.max_assertions_per_client)?;
        if let Some(name) = metadata.keys().find(|name| is_reserved_metadata(name)) {
            return Err(BuildError::MetadataMember(name.clone()));
        }
        if let Some(limits) = &attempt_limits {
            limits.check().map_err(BuildError::AttemptLimits)?;
        }
        if let Some(refresh) = &self.refresh {
            refresh.check(settings.scopes.as_ref()).map_err(BuildError::RefreshTokens)?;
        }
        let server = ServerSettings {
            settings: &settings,
            has_refresh_tokens: self.refresh.is_some(),
            has_jwks_source: self.jwks_source.is_some(),
        };
        check_clients(settings.clients.known_clients(), server)?;
        let timeout = attempt_limits.clone().unwrap_or_default().max_timeout();
        let state = Arc::new(state(self.state, timeout, &settings)?);
        let revocations = Revocations::new(state.clone(), settings.issuer.as_str().into());
        let max_assertions = match &state.backend {
            Backend::Local(local) => {
                self.max_assertions_per_client.min(local.max_assertions_per_client())
            }
            Backend::Shared(_) => self.max_assertions_per_client,
        };
        let limiter = attempt_limits
            .map(|limits| {
                let log_outs = revocations.log_outs.clone();
                let (state, environment) = (state.clone(), &settings.environment);
                AttemptLimiter::new(&limits, account_names, log_outs, state, environment)
            })
            .transpose()?;
        let published = self
            .jwks_source
            .map(|source| PublishedKeys::new(source, settings.environment.clock.clone()));
        let grants = grants_on(self.refresh.is_some());
        let metadata = Metadata::new(
            &settings.issuer,
            &endpoints,
            &grants,
            settings.scopes.as_ref(),
            (&usable_methods(&settings).collect::<Vec<_>>(), &settings.assertion_algorithms),
            metadata,
        );
        let sessions = self.refresh.map(|config| Sessions {
            config,
            revocations: revocations.clone(),
            randomness: settings.environment.randomness.clone(),
        });
        if sessions.is_some() && matches!(state.backend, Backend::Local(_)) {
            let observer = &*settings.environment.observer;
            event::observe(observer, &Event::new(EventKind::SessionsInMemory));
        }
        Ok(PasswordGrant(Arc::new(Engine {
            realm: realm.unwrap_or_else(|| settings.issuer.clone()).into(),
            endpoints,
            sessions,
            grants,
            revocations,
            limiter,
            used_assertions: UsedAssertions {
                state: state.clone(),
                quota: UseQuota::new(max_assertions),
            },
            state,
            published,
            token_ids: TokenIds::new(&*settings.environment.randomness)?,
            settings,
            metadata,
            missing_addresses: AtomicU64::new(0),
        })))
    }
}

/// The engine's state: the store, and how its keys are made.
fn state(choice: StateChoice, timeout: Duration, settings: &Settings) -> Result<State, BuildError> {
    let (clock, randomness) =
        (settings.environment.clock.clone(), settings.environment.randomness.clone());
    let local = |state: InMemoryState| {
        Ok::<_, RandomnessError>((state.keys(&*randomness)?, Backend::Local(state)))
    };
    let (keys, backend) = match choice {
        StateChoice::Own => local(InMemoryState::new().environment(&settings.environment))?,
        StateChoice::Local(state) => local(state)?,
        StateChoice::Shared(store, secret) => (Keys::Shared(secret), Backend::Shared(store)),
    };
    Ok(State { keys, backend, clock, randomness, timeout, turns: Turns::default() })
}

impl fmt::Debug for PasswordGrantBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordGrantBuilder")
            .field("issuer", &self.settings.issuer)
            .finish_non_exhaustive()
    }
}

/// Checks that clients can authenticate by the methods that are on.
fn check_methods(settings: &Settings, max_assertions: u64) -> Result<(), BuildError> {
    let methods = &settings.authentication_methods;
    if methods.is_empty() {
        return Err(BuildError::NoAuthenticationMethod);
    }
    let Some(by_assertion) = methods.iter().find(|method| method.symmetric().is_some()) else {
        return Ok(());
    };
    if usable_methods(settings).all(|method| method.symmetric().is_none()) {
        return Err(BuildError::NoAssertionAlgorithm(*by_assertion));
    }
    if settings.max_assertion_lifetime.is_zero() {
        return Err(BuildError::NoAssertions("max_assertion_lifetime"));
    }
    if max_assertions == 0 {
        return Err(BuildError::NoAssertions("max_assertions_per_client"));
    }
    Ok(())
}

/// The methods that are on, without those for which no algorithm is.
fn usable_methods(settings: &Settings) -> impl Iterator<Item = AuthenticationMethod> {
    let has_algorithm = |symmetric: bool| {
        settings.assertion_algorithms.iter().any(|algorithm| algorithm.is_symmetric() == symmetric)
    };
    let methods = settings.authentication_methods.iter().copied();
    methods.filter(move |method| method.symmetric().is_none_or(has_algorithm))
}

/// Checks the registrations that are known already.
fn check_clients(clients: Vec<Client>, server: ServerSettings<'_>) -> Result<(), BuildError> {
    let mut ids = HashSet::new();
    for client in clients {
        let id = client.id().clone();
        let checked = if ids.insert(id.clone()) {
            server.check(&client)
        } else {
            Err(RegistrationError::RepeatedId)
        };
        checked.map_err(|error| BuildError::Client { id, error })?;
    }
    Ok(())
}

/// RFC 8414 section 2 requires https without query and fragment. Plain http is allowed for a server
/// on the same machine.
fn check_url(setting: &'static str, url: &str) -> Result<(), BuildError> {
    let plain = url.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}@".contains(&byte));
    let host = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => host_of(rest).is_some(),
        (_, Some(rest)) => match host_of(rest) {
            Some(host) if !host.is_loopback() => {
                return Err(wrong_url(
                    setting,
                    url,
                    "is http, which only a loopback address may be: use https",
                ));
            }
            host => host.is_some(),
        },
        _ if url.is_empty() => return Err(wrong_url(setting, url, "is empty")),
        _ => return Err(wrong_url(setting, url, "does not begin with https://")),
    };
    if url.contains('?') {
        Err(wrong_url(setting, url, "has a query"))
    } else if url.contains('#') {
        Err(wrong_url(setting, url, "has a fragment"))
    } else if !plain {
        Err(wrong_url(setting, url, "has user information, or a character that no URL may have"))
    } else if !host {
        Err(wrong_url(setting, url, "has no valid host and port"))
    } else {
        Ok(())
    }
}

fn wrong_url(setting: &'static str, url: &str, problem: &'static str) -> BuildError {
    // User information may be a password.
    let url = if url.contains('@') { "…".to_owned() } else { url.to_owned() };
    BuildError::Url { setting, url, problem }
}

enum Host<'a> {
    Name(&'a str),
    Address(IpAddr),
}

impl Host<'_> {
    fn is_loopback(&self) -> bool {
        match self {
            Self::Name(name) => *name == "localhost",
            Self::Address(address) => address.is_loopback(),
        }
    }
}

/// The host of `host[:port][/path]`, or `None` if it is malformed.
fn host_of(rest: &str) -> Option<Host<'_>> {
    let authority = rest.split('/').next()?;
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            (Host::Address(address.parse::<Ipv6Addr>().ok()?.into()), port)
        }
        None => {
            let (name, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            let label = |label: &str| {
                !label.is_empty()
                    && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            };
            let host = match name.parse::<Ipv4Addr>() {
                Ok(address) => Host::Address(address.into()),
                Err(_) if name.split('.').all(label) => Host::Name(name),
                Err(_) => return None,
            };
            (host, port)
        }
    };
    let port_is_fine =
        port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    port_is_fine.then_some(host)
}
