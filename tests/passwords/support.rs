//! Cheap hashes, a user table in memory, and an engine over them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use password_grant::environment::{RandomnessError, SecureRandom, SystemRandom};
use password_grant::password::Argon2Parameters;
use password_grant::{
    BoxError, Environment, HashedPasswords, HttpRequest, JwtIssuer, Login, LoginAttempt,
    PasswordGrant, RequestContext, SigningKeys, User, UserStore, async_trait,
};

use crate::common::{AUDIENCE, Answer, Events, FORM, ISSUER, clients};

/// Cheap enough to hash by the hundred in a test.
pub fn cheap() -> Argon2Parameters {
    Argon2Parameters::new(64, 1, 1)
}

pub fn hash(parameters: Argon2Parameters, password: &str) -> String {
    parameters.hash(password).unwrap()
}

/// A user table in memory, which counts its calls.
#[derive(Clone, Default)]
pub struct Table {
    pub users: Arc<Mutex<HashMap<String, User>>>,
    pub accepted: Arc<AtomicUsize>,
    pub updates: Arc<Mutex<Vec<(String, String)>>>,
    pub update_fails: bool,
}

impl Table {
    pub fn of<const N: usize>(users: [(&str, User); N]) -> Self {
        let table = Self::default();
        table.users.lock().unwrap().extend(users.map(|(name, user)| (name.to_owned(), user)));
        table
    }
}

#[async_trait]
impl UserStore for Table {
    async fn find(&self, username: &str, _: &RequestContext) -> Result<Option<User>, BoxError> {
        Ok(self.users.lock().unwrap().get(username).cloned())
    }

    async fn update_hash(
        &self,
        user: &User,
        new_hash: &str,
        _: &RequestContext,
    ) -> Result<(), BoxError> {
        let old = user.password_hash().unwrap_or_default().to_owned();
        self.updates.lock().unwrap().push((old, new_hash.to_owned()));
        if self.update_fails { Err("read-only replica".into()) } else { Ok(()) }
    }

    async fn accept(
        &self,
        _: &User,
        _: &LoginAttempt<'_>,
        login: Login,
    ) -> Result<Login, BoxError> {
        self.accepted.fetch_add(1, Ordering::SeqCst);
        Ok(login)
    }
}

/// Passwords of this table with cheap hashes, whose own events nobody sees.
pub fn passwords_of(table: impl UserStore) -> HashedPasswords {
    HashedPasswords::builder(table)
        .parameters(cheap())
        .environment(&Environment::new().observer(()))
        .build()
        .unwrap()
}

pub fn grant_over(users: HashedPasswords) -> (PasswordGrant, Events) {
    let events = Events::default();
    let tokens = JwtIssuer::new(SigningKeys::generate().unwrap(), AUDIENCE);
    let builder = PasswordGrant::builder(ISSUER, clients(), users, tokens);
    (builder.environment(&Environment::new().observer(events.clone())).build().unwrap(), events)
}

pub fn form(username: &str, password: &str, scope: &str) -> String {
    let pairs = [("username", username), ("password", password), ("scope", scope)];
    serde_urlencoded::to_string(
        [("grant_type", "password"), ("client_id", "mobile")]
            .iter()
            .chain(&pairs)
            .collect::<Vec<_>>(),
    )
    .unwrap()
}

pub async fn login(grant: &PasswordGrant, username: &str, password: &str) -> Answer {
    let body = form(username, password, "profile");
    grant
        .token(HttpRequest::new("POST", None, [("content-type", FORM.as_bytes())], body.as_bytes()))
        .await
        .into()
}

/// Blocks when a salt for a new hash is made, which happens on a hashing thread. So a test can keep
/// the threads busy for as long as it wants.
#[derive(Clone)]
pub struct Gate {
    shut: Arc<Mutex<Option<mpsc::Receiver<()>>>>,
    pub entered: Arc<AtomicUsize>,
}

impl Gate {
    pub fn new() -> (Self, mpsc::Sender<()>) {
        let (open, shut) = mpsc::channel();
        (Self { shut: Arc::new(Mutex::new(Some(shut))), entered: Arc::default() }, open)
    }
}

impl SecureRandom for Gate {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomnessError> {
        if std::thread::current().name().is_some_and(|name| name.starts_with("password-hash")) {
            self.entered.fetch_add(1, Ordering::SeqCst);
            if let Some(shut) = self.shut.lock().unwrap().as_ref() {
                let _ = shut.recv();
            }
        }
        SystemRandom::new().fill(bytes)
    }
}

pub async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}
