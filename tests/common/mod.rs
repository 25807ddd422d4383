//! What all tests share: an engine with known clients, users and clock, and all the events that it
//! reports.
#![allow(dead_code)] // each test file uses its part

pub mod fakes;
pub mod private_keys;
pub mod sessions;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use password_grant::event::EventKind;
use password_grant::testing::{InMemoryClients, ManualClock};
use password_grant::time::Timestamp;
use password_grant::{
    BoxError, Client, ClientAuthentication, ClientSecret, Environment, Event, Grant, HttpRequest,
    HttpResponse, JwtIssuer, Login, LoginAttempt, Observer, PasswordGrant, PasswordGrantBuilder,
    Rejection, SigningKeys, UserAuthenticator, async_trait,
};
use serde_json::Value;

pub const ISSUER: &str = "https://id.example.com";
pub const AUDIENCE: &str = "https://api.example.com";
pub const FORM: &str = "application/x-www-form-urlencoded";
/// The `client_assertion_type` of RFC 7523 section 2.2, as a form has it.
pub const JWT_BEARER: &str = "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
/// A valid request of `web` for `alice`.
pub const GOOD: &str = "grant_type=password&username=alice&password=wonderland&scope=profile";

pub fn noon() -> Timestamp {
    Timestamp::from_unix_seconds(1_800_000_000)
}

/// Keeps the printed line of every event, except those that say that requests have no peer address
/// and that sessions are kept in memory: most of these tests are so.
#[derive(Clone, Default)]
pub struct Events(Arc<Mutex<Vec<String>>>);

impl Events {
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub fn last(&self) -> String {
        self.lines().pop().unwrap_or_default()
    }
}

impl Observer for Events {
    fn observe(&self, event: &Event<'_>) {
        if !matches!(event.kind, EventKind::NoPeerAddress | EventKind::SessionsInMemory) {
            self.0.lock().unwrap().push(event.to_string());
        }
    }
}

type Judge = dyn Fn(&LoginAttempt<'_>) -> Result<Login, BoxError> + Send + Sync;

/// Users whose logins a test scripts, and which count how often they are asked.
#[derive(Clone)]
pub struct Users {
    judge: Arc<Judge>,
    asked: Arc<AtomicUsize>,
}

impl Users {
    pub fn who(
        judge: impl Fn(&LoginAttempt<'_>) -> Result<Login, BoxError> + Send + Sync + 'static,
    ) -> Self {
        Self { judge: Arc::new(judge), asked: Arc::default() }
    }

    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Default for Users {
    fn default() -> Self {
        Self::who(|attempt| {
            let right =
                attempt.username() == "alice" && attempt.password().expose() == "wonderland";
            Ok(if right {
                Login::accepted("user-1")
            } else {
                Login::rejected(Rejection::WrongPassword)
            })
        })
    }
}

#[async_trait]
impl UserAuthenticator for Users {
    async fn authenticate(&self, attempt: LoginAttempt<'_>) -> Result<Login, BoxError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        (self.judge)(&attempt)
    }
}

/// `web` (secret by Basic or in the body), `mobile` (public), and `idle` (may use no grant).
pub fn clients() -> InMemoryClients {
    let scope = || "profile orders:read".parse().unwrap();
    let secret = ClientSecret::digest_of("web-secret");
    InMemoryClients::new([
        Client::confidential("web", ClientAuthentication::basic_or_post(secret))
            .grants([Grant::Password])
            .scope(scope())
            .default_scope("profile".parse().unwrap()),
        Client::public("mobile").grants([Grant::Password]).scope(scope()),
        Client::confidential("idle", ClientSecret::digest_of("idle-secret")).scope(scope()),
    ])
}

pub struct World {
    pub grant: PasswordGrant,
    pub clients: InMemoryClients,
    pub users: Users,
    pub events: Events,
    pub clock: ManualClock,
    pub keys: SigningKeys,
}

impl Default for World {
    fn default() -> Self {
        Self::with(Users::default(), |builder| builder)
    }
}

impl World {
    pub fn of(users: Users) -> Self {
        Self::with(users, |builder| builder)
    }

    pub fn with(
        users: Users,
        configure: impl FnOnce(PasswordGrantBuilder) -> PasswordGrantBuilder,
    ) -> Self {
        Self::with_clock(users, |builder, _| configure(builder))
    }

    pub fn with_clock(
        users: Users,
        configure: impl FnOnce(PasswordGrantBuilder, &ManualClock) -> PasswordGrantBuilder,
    ) -> Self {
        Self::in_environment(users, |environment| environment, configure)
    }

    /// Lets the test replace the manual clock and the observer, and add randomness.
    pub fn in_environment(
        users: Users,
        surroundings: impl FnOnce(Environment) -> Environment,
        configure: impl FnOnce(PasswordGrantBuilder, &ManualClock) -> PasswordGrantBuilder,
    ) -> Self {
        let (clients, events, clock) = (clients(), Events::default(), ManualClock::at(noon()));
        let keys = SigningKeys::generate().unwrap();
        let tokens = JwtIssuer::new(keys.clone(), AUDIENCE);
        let builder = PasswordGrant::builder(ISSUER, clients.clone(), users.clone(), tokens);
        let environment =
            surroundings(Environment::new().clock(clock.clone()).observer(events.clone()));
        let grant = configure(builder.environment(&environment), &clock).build().unwrap();
        Self { grant, clients, users, events, clock, keys }
    }

    /// Sends a form as `web`, by Basic.
    pub async fn post(&self, form: &str) -> Answer {
        self.send(&[("authorization", &basic("web", "web-secret"))], form).await
    }

    /// Sends a form with these headers and the content type.
    pub async fn send(&self, headers: &[(&str, &str)], form: &str) -> Answer {
        let headers = headers.iter().copied().chain([("content-type", FORM)]);
        let headers = headers.map(|(name, value)| (name, value.as_bytes()));
        self.grant.token(HttpRequest::new("POST", None, headers, form.as_bytes())).await.into()
    }
}

pub fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}

/// An answer, in the three parts that tests compare byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl From<HttpResponse> for Answer {
    fn from(response: HttpResponse) -> Self {
        Self {
            status: response.status(),
            headers: response
                .headers()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            body: String::from_utf8(response.into_body()).unwrap(),
        }
    }
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| &**value)
    }

    /// Asserts the status and the error code.
    #[track_caller]
    pub fn is(&self, status: u16, error: &str) {
        assert_eq!(
            (self.status, self.json()["error"].as_str()),
            (status, Some(error)),
            "{}",
            self.body
        );
    }

    #[track_caller]
    pub fn is_granted(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.body);
        self.json()
    }

    #[track_caller]
    pub fn access_token(&self) -> String {
        self.is_granted()["access_token"].as_str().unwrap().to_owned()
    }

    /// The claims of the JWT that was granted, unverified.
    #[track_caller]
    pub fn claims(&self) -> Value {
        segment(&self.access_token(), 1)
    }
}

/// One segment of a JWT, decoded from JSON.
pub fn segment(token: &str, index: usize) -> Value {
    let segment = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(segment).unwrap()).unwrap()
}

/// A JSON value as a JWT segment.
pub fn encode(json: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(json)
}
