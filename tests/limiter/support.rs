//! Requests, engines and stores that the tests of the limiter share.

use std::net::IpAddr;

use password_grant::limiter::{AttemptCount, LimitKey};
use password_grant::state::{InMemoryState, StateSecret};
use password_grant::testing::{InMemoryTokens, ManualClock};
use password_grant::token::OpaqueIssuer;
use password_grant::{
    BoxError, Clock, Environment, HttpRequest, Login, LoginAttempt, PasswordGrant,
    PasswordGrantBuilder, RequestContext, UserAuthenticator, async_trait,
};

use crate::common::{Answer, FORM, GOOD, ISSUER, Users, World, basic, clients, noon};

pub const ALICE: LimitKey<'_> = LimitKey::Account { username: "alice" };

pub const HOME: &str = "192.0.2.1";

pub const BURST: usize = 10;

pub fn wrong() -> String {
    GOOD.replace("wonderland", "wrong")
}

pub fn form_of(username: &str, password: &str) -> String {
    format!("grant_type=password&username={username}&password={password}&scope=profile")
}

pub fn from(address: &str) -> RequestContext {
    RequestContext::new().with_peer(address.parse::<IpAddr>().unwrap())
}

/// Sends a form as `web`, by Basic, in this context.
pub async fn post(grant: &PasswordGrant, context: &RequestContext, form: &str) -> Answer {
    post_as(grant, context, ("web", "web-secret"), form).await
}

pub async fn post_as(
    grant: &PasswordGrant,
    context: &RequestContext,
    client: (&str, &str),
    form: &str,
) -> Answer {
    let authorization = basic(client.0, client.1);
    let headers = [("authorization", authorization.as_bytes()), ("content-type", FORM.as_bytes())];
    let request = HttpRequest::new("POST", None, headers, form.as_bytes()).context(context.clone());
    grant.token(request).await.into()
}

/// Sends the right password as `mobile`.
pub async fn post_as_mobile(grant: &PasswordGrant, context: &RequestContext) -> Answer {
    post_form(grant, context, &format!("{GOOD}&client_id=mobile")).await
}

/// Sends a form that names its client.
pub async fn post_form(grant: &PasswordGrant, context: &RequestContext, form: &str) -> Answer {
    let headers = [("content-type", FORM.as_bytes())];
    let request = HttpRequest::new("POST", None, headers, form.as_bytes()).context(context.clone());
    grant.token(request).await.into()
}

pub async fn count(
    grant: &PasswordGrant,
    on: LimitKey<'_>,
    context: &RequestContext,
) -> AttemptCount {
    grant.attempts(on, context).await.unwrap().unwrap()
}

/// The two ways to keep state: in the engine, and in a store that instances can share.
pub const EITHER: [fn(PasswordGrantBuilder, &ManualClock) -> PasswordGrantBuilder; 2] = [
    |builder, _| builder,
    |builder, clock| {
        builder.shared_state(
            InMemoryState::new().environment(&Environment::new().clock(clock.clone())),
            secret(),
        )
    },
];

pub fn secret() -> StateSecret {
    StateSecret::new([7; 32]).unwrap()
}

pub fn standing() -> ManualClock {
    ManualClock::at(noon())
}

impl World {
    pub async fn fails(&self, times: usize) {
        for _ in 0..times {
            self.post(&wrong()).await.is(400, "invalid_grant");
        }
    }
}

pub trait Waits {
    fn waits(&self, seconds: u64);
}

impl Waits for Answer {
    /// Asserts 429 with this `Retry-After`.
    #[track_caller]
    fn waits(&self, seconds: u64) {
        self.is(429, "temporarily_unavailable");
        assert_eq!(self.header("retry-after"), Some(&*seconds.to_string()), "{self:?}");
    }
}

pub fn engine(
    users: impl UserAuthenticator,
    clock: impl Clock,
    configure: impl Fn(PasswordGrantBuilder) -> PasswordGrantBuilder,
) -> PasswordGrant {
    let tokens = OpaqueIssuer::new(InMemoryTokens::new(), "https://api.example.com");
    let builder = PasswordGrant::builder(ISSUER, clients(), users, tokens)
        .environment(&Environment::new().observer(()).clock(clock));
    configure(builder).build().unwrap()
}

/// Users whose directory never answers.
pub struct Never(pub Users);

#[async_trait]
impl UserAuthenticator for Never {
    async fn authenticate(&self, attempt: LoginAttempt<'_>) -> Result<Login, BoxError> {
        self.0.authenticate(attempt).await?;
        std::future::pending().await
    }
}

pub fn world_over(users: Users, state: InMemoryState) -> (World, InMemoryState) {
    let mut same = None;
    let world = World::with_clock(users, |builder, clock| {
        let state = state.environment(&Environment::new().clock(clock.clone()));
        same = Some(state.clone());
        builder.state(state)
    });
    (world, same.unwrap())
}
