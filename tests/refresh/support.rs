//! One instance of an application among several that share a store, and a store in which a test
//! acts between two calls.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use password_grant::state::{
    Change, Commit, InMemoryState, Loaded, StateKey, StateSecret, StateStore,
};
use password_grant::testing::InMemoryClients;
use password_grant::time::BoxFuture;
use password_grant::{
    BoxError, Environment, HttpRequest, JwtIssuer, PasswordGrant, RefreshTokens, RequestContext,
    SigningKeys, TokenIssuer, UserAuthenticator, async_trait,
};

use crate::common::sessions::{Gate, OFFLINE, Pair, keys, refreshing, register};
use crate::common::{AUDIENCE, Answer, Events, FORM, ISSUER, Users, basic};

/// One instance of an application: an engine over a store that other instances share.
pub struct Instance {
    pub grant: PasswordGrant,
    pub events: Events,
}

pub fn signing() -> SigningKeys {
    static KEYS: OnceLock<SigningKeys> = OnceLock::new();
    KEYS.get_or_init(|| SigningKeys::generate().unwrap()).clone()
}

impl Instance {
    pub fn over(store: impl StateStore) -> Self {
        Self::with(store, |refresh| refresh)
    }

    pub fn with(
        store: impl StateStore,
        configure: impl FnOnce(RefreshTokens) -> RefreshTokens,
    ) -> Self {
        Self::over_users(store, Users::default(), configure)
    }

    pub fn over_users(
        store: impl StateStore,
        users: impl UserAuthenticator,
        configure: impl FnOnce(RefreshTokens) -> RefreshTokens,
    ) -> Self {
        Self::issuing(
            store,
            users,
            JwtIssuer::new(signing(), AUDIENCE),
            configure(RefreshTokens::new(keys(), Gate::default())),
        )
    }

    pub fn issuing(
        store: impl StateStore,
        users: impl UserAuthenticator,
        tokens: impl TokenIssuer,
        refresh: RefreshTokens,
    ) -> Self {
        let (clients, events) = (InMemoryClients::default(), Events::default());
        register(&clients);
        let builder = PasswordGrant::builder(ISSUER, clients, users, tokens)
            .environment(&Environment::new().observer(events.clone()));
        let builder = builder.dangerous_without_attempt_limits().refresh_tokens(refresh);
        let grant =
            builder.shared_state(store, StateSecret::new([0x5a; 32]).unwrap()).build().unwrap();
        Self { grant, events }
    }

    pub async fn send(&self, client: &str, form: &str) -> Answer {
        send(&self.grant, client, form, "token").await
    }

    pub async fn refresh(&self, token: &str) -> Answer {
        self.send("app", &refreshing(token)).await
    }

    pub async fn revoke(&self, token: &str) -> Answer {
        send(&self.grant, "app", &format!("token={token}"), "revoke").await
    }

    pub async fn is_active(&self, token: &str) -> bool {
        let answer = send(&self.grant, "reports", &format!("token={token}"), "introspect").await;
        answer.is_granted()["active"] == true
    }

    pub async fn login(&self) -> Pair {
        Pair::of(&self.send("app", OFFLINE).await)
    }
}

pub async fn send(grant: &PasswordGrant, client: &str, form: &str, endpoint: &str) -> Answer {
    let headers = [
        ("content-type", FORM.to_owned()),
        ("authorization", basic(client, &format!("{client}-secret"))),
    ];
    let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes()));
    let request = HttpRequest::new("POST", None, headers, form.as_bytes());
    match endpoint {
        "token" => grant.token(request).await.into(),
        "revoke" => grant.revoke(request).await.into(),
        _ => grant.introspect(request).await.into(),
    }
}

/// A store that runs an action of the test before one of its calls.
pub struct Between {
    pub store: InMemoryState,
    pub before_call: usize,
    pub calls: AtomicUsize,
    pub act: Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>,
}

impl Between {
    pub fn new(
        store: &InMemoryState,
        before_call: usize,
        act: impl Fn() -> BoxFuture<'static, ()> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            store: store.clone(),
            before_call,
            calls: AtomicUsize::new(0),
            act: Box::new(act),
        })
    }

    pub async fn count(&self) {
        if self.calls.fetch_add(1, Ordering::SeqCst) == self.before_call {
            (self.act)().await;
        }
    }
}

#[async_trait]
impl StateStore for Between {
    async fn load(&self, keys: &[StateKey]) -> Result<Loaded, BoxError> {
        self.count().await;
        self.store.load(keys).await
    }

    async fn commit(&self, changes: &[Change]) -> Result<Commit, BoxError> {
        self.count().await;
        self.store.commit(changes).await
    }
}

#[derive(Clone, Copy, Debug)]
pub enum Ends {
    Revoked,
    LoggedOut,
}

pub async fn end(instance: &Instance, token: &str, how: Ends) {
    match how {
        Ends::Revoked => assert_eq!(instance.revoke(token).await.status, 200),
        Ends::LoggedOut => {
            instance
                .grant
                .log_out_everywhere(&"user-1".into(), &RequestContext::new())
                .await
                .unwrap();
        }
    }
}
