//! An engine with refresh tokens, and requests to all of its endpoints.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use password_grant::testing::{InMemoryClients, ManualClock};
use password_grant::{
    AccessTokenVerifier, AccountGate, Admission, Algorithm, AuthenticatedClient, BoxError, Client,
    ClientAuthentication, ClientSecret, Environment, Grant, HttpRequest, PasswordGrantBuilder,
    RefreshKeys, RefreshTokens, RequestContext, SigningKeys, Subject, async_trait,
};
use serde_json::Value;

use super::{AUDIENCE, Answer, Events, FORM, ISSUER, Users, World, basic};

pub const OFFLINE: &str =
    "grant_type=password&username=alice&password=wonderland&scope=profile+offline_access";

pub fn keys() -> RefreshKeys {
    RefreshKeys::new([0x11; 32]).unwrap()
}

type Judge = dyn Fn(&Subject) -> Result<Admission, BoxError> + Send + Sync;

/// An account gate that a test scripts, and which remembers the tenant of the last call.
#[derive(Clone)]
pub struct Gate {
    judge: Arc<Mutex<Box<Judge>>>,
    tenant: Arc<Mutex<Option<String>>>,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            judge: Arc::new(Mutex::new(Box::new(|_| Ok(Admission::admitted())))),
            tenant: Arc::default(),
        }
    }
}

impl Gate {
    pub fn says(
        &self,
        judge: impl Fn(&Subject) -> Result<Admission, BoxError> + Send + Sync + 'static,
    ) {
        *self.judge.lock().unwrap() = Box::new(judge);
    }

    pub fn asked_in(&self) -> Option<String> {
        self.tenant.lock().unwrap().clone()
    }
}

#[async_trait]
impl AccountGate for Gate {
    async fn admit(
        &self,
        subject: &Subject,
        _: &AuthenticatedClient,
        context: &RequestContext,
    ) -> Result<Admission, BoxError> {
        *self.tenant.lock().unwrap() = context.tenant().map(str::to_owned);
        (self.judge.lock().unwrap())(subject)
    }
}

/// `app` and `other` are confidential and `phone` is public; all three may refresh. `keeper` keeps
/// its refresh token (no rotation). `reports` is a resource server without a grant, `narrow` is one
/// for another audience, and `plain` may use the password grant only.
pub fn register(clients: &InMemoryClients) {
    register_for(&[Grant::Password, Grant::RefreshToken], clients);
}

/// The same for an engine without refresh tokens, where no client may use them.
pub fn register_for_logins(clients: &InMemoryClients) {
    register_for(&[Grant::Password], clients);
}

fn register_for(grants: &[Grant], clients: &InMemoryClients) {
    let both = grants.iter().copied();
    let scope = || "profile orders:read offline_access".parse().unwrap();
    let secret = |id: &str| {
        ClientAuthentication::basic_or_post(ClientSecret::digest_of(&format!("{id}-secret")))
    };
    let confidential = |id: &str| Client::confidential(id, secret(id)).scope(scope());
    for client in [
        confidential("app").grants(both.clone()),
        confidential("other").grants(both.clone()),
        confidential("keeper").grants(both.clone()).without_rotation(),
        Client::public("phone").grants(both.clone()).scope(scope()),
        confidential("reports").resource_server(),
        confidential("narrow").resource_server_for(["https://other.example.com"]),
        confidential("plain").grants([Grant::Password]),
    ] {
        clients.insert(client);
    }
}

pub struct Sessions {
    pub world: World,
    pub gate: Gate,
}

impl Sessions {
    pub fn new() -> Self {
        Self::with(|refresh| refresh)
    }

    pub fn with(configure: impl FnOnce(RefreshTokens) -> RefreshTokens) -> Self {
        Self::over(Users::default(), configure, |builder| builder)
    }

    pub fn over(
        users: Users,
        configure: impl FnOnce(RefreshTokens) -> RefreshTokens,
        build: impl FnOnce(PasswordGrantBuilder) -> PasswordGrantBuilder,
    ) -> Self {
        Self::in_environment(users, |environment| environment, configure, build)
    }

    pub fn in_environment(
        users: Users,
        surroundings: impl FnOnce(Environment) -> Environment,
        configure: impl FnOnce(RefreshTokens) -> RefreshTokens,
        build: impl FnOnce(PasswordGrantBuilder) -> PasswordGrantBuilder,
    ) -> Self {
        let gate = Gate::default();
        let refresh = configure(RefreshTokens::new(keys(), gate.clone()));
        let build =
            |builder: PasswordGrantBuilder, _: &ManualClock| build(builder.refresh_tokens(refresh));
        let world = World::in_environment(users, surroundings, build);
        register(&world.clients);
        Self { world, gate }
    }

    /// Sends a form as this client, which is public if it is `phone`.
    pub async fn ask(&self, client: &str, form: &str) -> Answer {
        let (headers, form) = by(client, form);
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.world.send(&headers, &form).await
    }

    pub async fn login(&self, client: &str) -> Pair {
        Pair::of(&self.ask(client, OFFLINE).await)
    }

    pub async fn refresh(&self, client: &str, token: &str) -> Answer {
        self.ask(client, &refreshing(token)).await
    }

    pub async fn revoke(&self, client: &str, token: &str) -> Answer {
        self.about(client, &format!("token={token}"), "revoke").await
    }

    pub async fn introspect(&self, client: &str, token: &str) -> Answer {
        self.about(client, &format!("token={token}"), "introspect").await
    }

    pub async fn is_active(&self, token: &str) -> bool {
        self.introspect("reports", token).await.is_granted()["active"] == true
    }

    pub async fn about(&self, client: &str, form: &str, endpoint: &str) -> Answer {
        let (headers, form) = by(client, form);
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        about(&self.world, &headers, &form, endpoint).await
    }

    /// A verifier in the same process, which sees what was revoked.
    pub fn verifier(&self) -> AccessTokenVerifier {
        verifier(&self.world.keys)
            .environment(
                &Environment::new().clock(self.world.clock.clone()).observer(Events::default()),
            )
            .revocations(self.world.grant.revocations())
    }

    pub fn advance(&self, seconds: u64) {
        self.world.clock.advance(Duration::from_secs(seconds));
    }
}

pub fn verifier(keys: &SigningKeys) -> AccessTokenVerifier {
    let keys = keys.verification_keys().unwrap();
    AccessTokenVerifier::new(ISSUER, AUDIENCE, [Algorithm::Es256], keys).unwrap()
}

pub fn refreshing(token: &str) -> String {
    format!("grant_type=refresh_token&refresh_token={token}")
}

/// The headers besides the content type, and the form.
fn by(client: &str, form: &str) -> (Vec<(&'static str, String)>, String) {
    match client {
        "" => (Vec::new(), form.to_owned()),
        "phone" => (Vec::new(), format!("{form}&client_id=phone")),
        _ => (vec![("authorization", basic(client, &format!("{client}-secret")))], form.to_owned()),
    }
}

pub async fn about(world: &World, headers: &[(&str, &str)], form: &str, endpoint: &str) -> Answer {
    let headers = headers.iter().copied().chain([("content-type", FORM)]);
    let headers = headers.map(|(name, value)| (name, value.as_bytes()));
    let request = HttpRequest::new("POST", None, headers, form.as_bytes());
    match endpoint {
        "revoke" => world.grant.revoke(request).await.into(),
        _ => world.grant.introspect(request).await.into(),
    }
}

/// The tokens of a client after a login or a refresh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    pub access: String,
    pub refresh: String,
}

impl Pair {
    #[track_caller]
    pub fn of(answer: &Answer) -> Self {
        let json = answer.is_granted();
        let text = |name: &str| match &json[name] {
            Value::String(text) => text.clone(),
            _ => panic!("no {name}: {json}"),
        };
        Self { access: text("access_token"), refresh: text("refresh_token") }
    }
}
