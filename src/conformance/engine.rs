//! The application that the checks of the engine run: a host, and instances of it over one store.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use crate::client::{
    AssertionKey, AuthenticatedClient, Client, ClientAssertion, ClientAuthentication,
    ClientBuilder, ClientSecret, Grant, InMemoryClients,
};
use crate::conformance::Fixture;
use crate::conformance::harness::{Instance, LONG, Outcome, ensure, random};
use crate::environment::Environment;
use crate::error::{BoxError, Rejection};
use crate::grant::PasswordGrant;
use crate::http::HttpRequest;
use crate::limiter::AttemptLimits;
use crate::resource::AccessTokenVerifier;
use crate::session::{RefreshKeys, RefreshTokens};
use crate::state::{StateSecret, StateStore};
use crate::testing::InMemoryTokens;
use crate::time::{BoxFuture, Clock, SystemClock, Timestamp};
use crate::token::OpaqueIssuer;
use crate::types::context::RequestContext;
use crate::types::identifier::{SessionId, Subject};
use crate::types::scope::Scope;
use crate::user::{AccountGate, Admission, Login, LoginAttempt, UserAuthenticator};

const ISSUER: &str = "https://conformance.example";
/// The default burst of [`AttemptLimits`](crate::AttemptLimits).
pub(super) const BURST: usize = 10;
/// How many failures an address may have.
pub(super) const FROM_SOURCE: usize = 30;
/// How often a client may fail to authenticate from an address.
pub(super) const OF_CLIENT: usize = 20;
/// How many instances do the same thing at once.
pub(super) const INSTANCES: usize = 8;
/// How long correct logins may wait for each other, and each change for the store.
pub(super) const LONG_ENOUGH: Duration = Duration::from_secs(30);

/// The host of all instances: its users, its table of access tokens, and its settings.
///
/// It accepts the password `right` for every user until the passwords are changed, and counts how
/// often it is asked. Its state secret is its own, so no two hosts share a row.
#[derive(Clone)]
pub(super) struct Host {
    asked: Arc<AtomicUsize>,
    changed: Arc<AtomicBool>,
    tokens: InMemoryTokens,
    secret: StateSecret,
    timeout: Duration,
    sessions: usize,
}

impl Host {
    /// The secret of the clients that have one.
    pub(super) const SECRET: &'static str = "a-secret-of-thirty-two-bytes-or-more";

    pub(super) fn new() -> Outcome<Self> {
        Ok(Self {
            asked: Arc::default(),
            changed: Arc::default(),
            tokens: InMemoryTokens::new(),
            secret: StateSecret::new(random::<32>()?).map_err(text)?,
            timeout: LONG_ENOUGH,
            sessions: 200,
        })
    }

    /// Sets how long a login and the store may take.
    pub(super) fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Sets how many sessions a user may have.
    pub(super) fn sessions(self, sessions: usize) -> Self {
        Self { sessions, ..self }
    }

    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    pub(super) fn change_passwords(&self) {
        self.changed.store(true, Ordering::SeqCst);
    }

    /// Builds one engine over the store, as each instance of an application has one.
    fn engine(
        &self,
        store: Arc<dyn StateStore>,
        environment: &Environment,
    ) -> Outcome<PasswordGrant> {
        // With a slow store more than the first wait may pass in the meantime, which would rightly
        // admit one more guess. So the waits are long.
        let ten_minutes = Duration::from_secs(600);
        let limits = AttemptLimits::default()
            .timeout(self.timeout)
            .waits(LONG, LONG)
            .source(FROM_SOURCE as u32, ten_minutes)
            .client(OF_CLIENT as u32, ten_minutes);
        // Without a retry window each token can be used once, however close together two uses are.
        let keys = RefreshKeys::new([0x3c; 32]).map_err(text)?;
        let refresh = RefreshTokens::new(keys, self.clone())
            .retry_window(Duration::ZERO)
            .sessions(self.sessions);
        let users = self.clone();
        PasswordGrant::builder(ISSUER, clients()?, users, self.issuer())
            .environment(environment)
            .attempt_limits(limits)
            .refresh_tokens(refresh)
            .shared_state(store, self.secret.clone())
            .build()
            .map_err(text)
    }

    fn issuer(&self) -> OpaqueIssuer {
        OpaqueIssuer::new(self.tokens.clone(), ISSUER)
    }
}

/// The registered clients: a public one, one that signs assertions, and one with a secret, which
/// is a resource server.
fn clients() -> Outcome<InMemoryClients> {
    let scope = Scope::offline_access();
    let any = |client: ClientBuilder| {
        client
            .grants([Grant::Password, Grant::RefreshToken])
            .scope(scope.clone())
            .default_scope(scope.clone())
    };
    let signs = ClientAuthentication::client_secret_jwt(Host::SECRET).map_err(text)?;
    let secret = ClientAuthentication::post(ClientSecret::digest_of(Host::SECRET));
    Ok(InMemoryClients::new([
        any(Client::public("public")),
        any(Client::confidential("signs", signs)),
        any(Client::confidential("secret", secret)).resource_server(),
    ]))
}

#[async_trait]
impl UserAuthenticator for Host {
    async fn authenticate(&self, attempt: LoginAttempt<'_>) -> Result<Login, BoxError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let right = attempt.password().expose() == "right" && !self.changed.load(Ordering::SeqCst);
        std::thread::yield_now();
        Ok(if right {
            Login::accepted(attempt.username())
        } else {
            Login::rejected(Rejection::WrongPassword)
        })
    }
}

#[async_trait]
impl AccountGate for Host {
    async fn admit(
        &self,
        _: &Subject,
        _: &AuthenticatedClient,
        _: &RequestContext,
    ) -> Result<Admission, BoxError> {
        Ok(Admission::admitted())
    }
}

/// An instance of the application: an engine over a connection of its own to the store.
pub(super) struct App<'a, F> {
    pub(super) store: Instance<'a, F>,
    pub(super) grant: PasswordGrant,
    verifier: AccessTokenVerifier,
    environment: Environment,
}

/// The system's clock, set to the time that the store tells. The clocks of a deployment must agree,
/// and in a test that of the store may be one that is moved by hand.
struct StoreClock {
    system: SystemClock,
    set_at: Timestamp,
    set_to: Timestamp,
}

impl StoreClock {
    fn set_to(now: Timestamp) -> Self {
        let system = SystemClock::new();
        Self { set_at: system.now(), set_to: now, system }
    }
}

impl Clock for StoreClock {
    fn now(&self) -> Timestamp {
        self.set_to.plus(self.system.now().since(self.set_at))
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        self.system.sleep(span)
    }
}

/// What a request to the token endpoint was answered with.
#[derive(Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) access: Option<String>,
    pub(super) refresh: Option<String>,
}

impl<'a, F: Fixture> App<'a, F> {
    pub(super) fn new(host: &Host, fixture: &'a F) -> Outcome<Self> {
        Self::over(host, Instance::new(fixture), |store| store)
    }

    /// An instance that sees the store through what `wrap` makes of it.
    pub(super) fn over<S: StateStore>(
        host: &Host,
        store: Instance<'a, F>,
        wrap: impl FnOnce(Arc<dyn StateStore>) -> S,
    ) -> Outcome<Self> {
        let environment = Environment::new().observer(()).clock(StoreClock::set_to(store.now()?));
        let grant = host.engine(Arc::new(wrap(store.store.clone())), &environment)?;
        let verifier = AccessTokenVerifier::by_lookup(ISSUER, ISSUER, host.issuer())
            .map_err(|error| error.to_string())?
            .environment(&environment)
            .revocations(grant.revocations());
        Ok(Self { store, grant, verifier, environment })
    }

    pub(super) fn several(host: &Host, fixture: &'a F, number: usize) -> Outcome<Vec<Self>> {
        (0..number).map(|_| Self::new(host, fixture)).collect()
    }

    /// Sends a request to the token endpoint and returns the status of the response.
    pub(super) fn post(&self, form: &str) -> Outcome<u16> {
        Ok(self.answer(form)?.status)
    }

    /// Sends a request to the token endpoint. The engine answers after a few timeouts at most,
    /// whatever the store does.
    pub(super) fn answer(&self, form: &str) -> Outcome<Answer> {
        self.answer_from(None, form)
    }

    /// Like [`answer`](Self::answer), of a request from this address.
    pub(super) fn answer_from(&self, peer: Option<IpAddr>, form: &str) -> Outcome<Answer> {
        let mut request = request(form);
        if let Some(peer) = peer {
            request = request.peer(peer);
        }
        let response = self.wait(self.grant.token(request))?;
        let json: serde_json::Value = serde_json::from_slice(response.body()).unwrap_or_default();
        let token = |name| json.get(name).and_then(|token| token.as_str()).map(str::to_owned);
        let (access, refresh) = (token("access_token"), token("refresh_token"));
        Ok(Answer { status: response.status(), access, refresh })
    }

    /// Logs this user in, with the right password, and returns the access and the refresh token.
    pub(super) fn log_in(&self, name: &str) -> Outcome<(String, String)> {
        let answer = self.answer(&form(name, "right"))?;
        let status = answer.status;
        let tokens = answer.access.zip(answer.refresh);
        tokens.ok_or_else(|| format!("a login was answered with {status}, and not both tokens"))
    }

    /// Uses a refresh token.
    pub(super) fn refresh(&self, token: &str) -> Outcome<Answer> {
        self.answer(&refresh(token))
    }

    /// Logs this user out everywhere.
    pub(super) fn log_out(&self, name: &str) -> Outcome {
        self.try_log_out(name)?.map_err(|error| format!("a log-out failed: {error}"))
    }

    pub(super) fn try_log_out(&self, name: &str) -> Outcome<Result<(), BoxError>> {
        let (subject, context) = (Subject::from(name), RequestContext::new());
        self.wait(self.grant.log_out_everywhere(&subject, &context))
    }

    /// Sends a token to the revocation endpoint and returns the status of the response.
    pub(super) fn revoke(&self, token: &str) -> Outcome<u16> {
        let form = format!("client_id=public&token={token}");
        Ok(self.wait(self.grant.revoke(request(&form)))?.status())
    }

    /// Sends a token to the introspection endpoint, and returns the status of the response and
    /// whether the token is active.
    pub(super) fn introspect(&self, token: &str) -> Outcome<(u16, bool)> {
        let form = format!("client_id=secret&client_secret={}&token={token}", Host::SECRET);
        let response = self.wait(self.grant.introspect(request(&form)))?;
        let json: serde_json::Value = serde_json::from_slice(response.body()).unwrap_or_default();
        let active = json.get("active").and_then(serde_json::Value::as_bool).unwrap_or(false);
        Ok((response.status(), active))
    }

    /// Whether introspection and a verifier with the engine's revocations take this access token
    /// for a good one. They must agree.
    pub(super) fn is_good(&self, token: &str) -> Outcome<bool> {
        let verified = self.wait(self.verifier.verify(token))?.is_ok();
        let (status, active) = self.introspect(token)?;
        ensure(status == 200, format!("introspection was answered with {status}"))?;
        ensure(
            active == verified,
            format!("of a token, introspection says {active}, and a verifier {verified}"),
        )?;
        Ok(active)
    }

    /// The session of an access token that is good.
    pub(super) fn session(&self, token: &str) -> Outcome<Option<SessionId>> {
        let verified = self.wait(self.verifier.verify(token))?;
        Ok(verified.ok().and_then(|token| token.into_details().session_id))
    }

    /// A login of a new user through a client that authenticates with a new assertion.
    pub(super) fn form_with_assertion(&self) -> Outcome<String> {
        let key = AssertionKey::from_secret(Host::SECRET).map_err(text)?;
        let assertion = ClientAssertion::new("signs", ISSUER, key).environment(&self.environment);
        let [(kind, jwt_bearer), (name_of_it, assertion)] = assertion.parameters().map_err(text)?;
        let jwt_bearer = jwt_bearer.replace(':', "%3A");
        Ok(format!(
            "grant_type=password&username={}&password=right&{kind}={jwt_bearer}\
             &{name_of_it}={assertion}",
            name()?
        ))
    }

    fn wait<T: Send>(&self, answer: impl Future<Output = T> + Send) -> Outcome<T> {
        self.store.wait_for(4 * LONG_ENOUGH, answer)
    }
}

fn request(form: &str) -> HttpRequest<'_> {
    let headers = [("content-type", b"application/x-www-form-urlencoded".as_slice())];
    HttpRequest::new("POST", None, headers, form.as_bytes())
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// A user name that no earlier run has used.
pub(super) fn name() -> Outcome<String> {
    Ok(format!("user{}", u64::from_le_bytes(random()?)))
}

/// A login.
pub(super) fn form(name: &str, password: &str) -> String {
    format!("grant_type=password&client_id=public&username={name}&password={password}")
}

fn refresh(token: &str) -> String {
    format!("grant_type=refresh_token&client_id=public&refresh_token={token}")
}

/// A login through a client that authenticates with this secret.
pub(super) fn form_with_secret(name: &str, secret: &str) -> String {
    format!(
        "grant_type=password&client_id=secret&client_secret={secret}&username={name}\
         &password=right"
    )
}
