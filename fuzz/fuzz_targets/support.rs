//! The shared parts of the fuzz targets: an engine, a verifier, and executors for their futures.

#![allow(dead_code)] // each target uses only a part

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};

use password_grant::testing::InMemoryClients;
use password_grant::{
    AccessTokenVerifier, Algorithm, BoxError, Client, ClientBuilder, ClientSecret, Environment,
    Grant, JwtIssuer, Login, LoginAttempt, PasswordGrant, Rejection, SigningKeys,
    UserAuthenticator, async_trait,
};

const ISSUER: &str = "https://id.example.com";
const AUDIENCE: &str = "https://api.example.com";

/// Rejects every login.
struct Nobody;

#[async_trait]
impl UserAuthenticator for Nobody {
    async fn authenticate(&self, _: LoginAttempt<'_>) -> Result<Login, BoxError> {
        Ok(Login::rejected(Rejection::UnknownUser))
    }
}

/// An engine with one client, whose secret nobody knows.
pub fn grant() -> &'static PasswordGrant {
    static GRANT: OnceLock<PasswordGrant> = OnceLock::new();
    GRANT.get_or_init(|| {
        let (_, secret) = ClientSecret::generate().expect("randomness");
        engine(Client::confidential("web", secret), Nobody)
    })
}

pub fn engine(client: ClientBuilder, users: impl UserAuthenticator) -> PasswordGrant {
    let client = client.grants([Grant::Password]).scope("profile".parse().expect("a scope"));
    let tokens = JwtIssuer::new(SigningKeys::generate().expect("randomness"), AUDIENCE);
    let builder = PasswordGrant::builder(ISSUER, InMemoryClients::new([client]), users, tokens);
    builder.environment(&Environment::new().observer(())).build().expect("a fine configuration")
}

pub fn verifier(issuer: &str) -> AccessTokenVerifier {
    static KEYS: OnceLock<SigningKeys> = OnceLock::new();
    let keys =
        KEYS.get_or_init(|| SigningKeys::generate().expect("randomness")).verification_keys();
    let verifier =
        AccessTokenVerifier::new(issuer, AUDIENCE, [Algorithm::Es256], keys.expect("a public key"));
    verifier.expect("a key for the algorithm").environment(&Environment::new().observer(()))
}

/// Polls once a future that never waits.
pub fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("nothing here waits"),
    }
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}
