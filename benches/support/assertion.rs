//! A benchmark case for client assertions: a token request by assertion, the same request by Basic,
//! and the bare verification of an assertion's signature.

use std::cell::Cell;
use std::hint::black_box;

use password_grant::assertion::ClientAssertion;
use password_grant::state::InMemoryState;
use password_grant::{
    Algorithm, BoxError, Client, ClientAuthentication, ClientStore, Environment, Grant,
    HttpRequest, JwtIssuer, PasswordGrant, RequestContext, async_trait,
};

use super::keys::{BareVerification, KeyPair, decoded};
use super::{AUDIENCE, CLIENT_ID, CachedClient, ISSUER, SCOPE, TrivialUser, block_on, request};

/// The measured algorithms. RSA is left out, because only its verification costs more.
pub const ALGORITHMS: [Algorithm; 3] = [Algorithm::Hs256, Algorithm::EdDsa, Algorithm::Es256];

const SIGNER: &str = "backend";

const HEADERS: [(&str, &[u8]); 2] =
    [("host", b"id.example.com"), ("content-type", b"application/x-www-form-urlencoded")];

/// A client that sends its secret, and a client that signs assertions.
struct Clients(CachedClient, Client);

#[async_trait]
impl ClientStore for Clients {
    async fn find(
        &self,
        client_id: &str,
        context: &RequestContext,
    ) -> Result<Option<Client>, BoxError> {
        if client_id == CLIENT_ID {
            self.0.find(client_id, context).await
        } else {
            Ok(Some(self.1.clone()))
        }
    }
}

pub struct AssertionCase {
    pub algorithm: Algorithm,
    grant: PasswordGrant,
    assertions: ClientAssertion,
    bare: BareVerification,
    /// The signing inputs of assertions, with their signatures.
    signed: Vec<(String, Vec<u8>)>,
    next: Cell<usize>,
}

impl AssertionCase {
    /// Tokens are signed with HS256, so that the assertion is most of the work.
    pub fn new(algorithm: Algorithm) -> Self {
        let pair = KeyPair::generate(algorithm);
        let key = pair.assertion_key();
        let registered = match key.public_jwk() {
            Some(public) => ClientAuthentication::private_key_jwt(&[public].into_iter().collect()),
            None => ClientAuthentication::client_secret_jwt(pair.secret()),
        };
        let client =
            Client::confidential(SIGNER, registered.expect("a key")).grants([Grant::Password]);
        let clients =
            Clients(CachedClient::new(), client.scope(SCOPE.parse().expect("a scope")).build());
        let issuer = JwtIssuer::new(KeyPair::generate(Algorithm::Hs256).signing_keys(), AUDIENCE);
        // No bound: one client may have a part of the capacity only, and measurements are long.
        let grant = PasswordGrant::builder(ISSUER, clients, TrivialUser::new(), issuer)
            .environment(&Environment::new().observer(()))
            .dangerous_without_attempt_limits()
            .state(InMemoryState::new().capacity(usize::MAX))
            .max_assertions_per_client(u64::MAX)
            .build();
        let assertions = ClientAssertion::new(SIGNER, ISSUER, key);
        let signed = (0..512).map(|_| {
            let assertion = assertions.sign().expect("an assertion");
            let (signed, signature) = assertion.rsplit_once('.').expect("a compact JWS");
            (signed.to_owned(), decoded(signature))
        });
        let case = Self {
            algorithm,
            grant: grant.expect("an engine"),
            bare: pair.bare_verification(),
            signed: signed.collect(),
            next: Cell::new(0),
            assertions,
        };
        assert!(case.verify());
        let body = case.body();
        assert_eq!(case.ask(&body), 200);
        assert_eq!(case.ask(&body), 401, "it is remembered");
        assert_eq!(case.ask_by_basic(), 200);
        case
    }

    /// A request with a fresh assertion, which can be used once.
    pub fn body(&self) -> String {
        let [(_, kind), (_, assertion)] = self.assertions.parameters().expect("an assertion");
        let parameters = [
            ("grant_type", "password"),
            ("username", super::USERNAME),
            ("password", super::PASSWORD),
            ("scope", SCOPE),
            ("client_assertion_type", &kind),
            ("client_assertion", &assertion),
        ];
        serde_urlencoded::to_string(parameters).expect("a form")
    }

    pub fn ask(&self, body: &str) -> u16 {
        block_on(self.grant.token(HttpRequest::new("POST", None, HEADERS, body.as_bytes())))
            .status()
    }

    pub fn ask_by_basic(&self) -> u16 {
        block_on(self.grant.token(request())).status()
    }

    /// Verifies a signature over as many bytes, and does nothing else. It takes another signature
    /// each time, as assertions do: a processor predicts the branches for one that it has often
    /// seen.
    pub fn verify(&self) -> bool {
        let index = self.next.replace((self.next.get() + 1) % self.signed.len());
        let (signed, signature) = &self.signed[index];
        self.bare.verify(black_box(signed.as_bytes()), signature)
    }
}
