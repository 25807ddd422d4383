//! The shared parts of the benchmarks: one token request, an engine that looks nothing up, and its
//! floors, which do the least work that the same result takes.

#![allow(dead_code)] // each benchmark uses only a part

pub mod assertion;
pub mod hand_written;
pub mod keys;
pub mod sessions;

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use password_grant::{
    AccessTokenVerifier, Algorithm, BoxError, Client, ClientSecret, ClientStore, Environment,
    Grant, HttpRequest, JwtIssuer, Login, LoginAttempt, PasswordGrant, PasswordGrantBuilder,
    Rejection, RequestContext, Subject, UserAuthenticator, async_trait,
};

use hand_written::HandWritten;
use keys::{BareSignature, BareVerification, KeyPair};

pub const ISSUER: &str = "https://id.example.com";
pub const AUDIENCE: &str = "https://api.example.com";
pub const CLIENT_ID: &str = "web";
pub const CLIENT_SECRET: &str = "4ftjcfGeMMnrHsVsApq1WWkVXmDHmvPcK_Hn5ZQPc2I";
pub const USERNAME: &str = "alice";
pub const PASSWORD: &str = "wonderland";
pub const SUBJECT: &str = "user-1";
pub const SCOPE: &str = "profile";
pub const LIFETIME: u64 = 600;

pub const BODY: &[u8] = b"grant_type=password&username=alice&password=wonderland&scope=profile";

/// `CLIENT_ID` and `CLIENT_SECRET` as HTTP Basic credentials.
pub const AUTHORIZATION: &[u8] =
    b"Basic d2ViOjRmdGpjZkdlTU1uckhzVnNBcHExV1drVlhtREhtdlBjS19IbjVaUVBjMkk=";

pub const HEADERS: [(&str, &[u8]); 4] = [
    ("host", b"id.example.com"),
    ("content-type", b"application/x-www-form-urlencoded"),
    ("authorization", AUTHORIZATION),
    ("content-length", b"68"),
];

pub const ALGORITHMS: [Algorithm; 4] =
    [Algorithm::Hs256, Algorithm::EdDsa, Algorithm::Es256, Algorithm::Rs256];

/// The measured request.
pub fn request() -> HttpRequest<'static> {
    HttpRequest::new("POST", None, HEADERS, BODY)
}

/// The same request from an address, so that the attempts of the address are counted too.
pub fn request_from_somewhere() -> HttpRequest<'static> {
    request().peer([192, 0, 2, 1].into())
}

/// Polls a future until it is ready. The measured futures are ready at the first poll.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::yield_now(),
        }
    }
}

/// A client store that knows one client and returns clones of it.
pub struct CachedClient(Client);

impl CachedClient {
    pub fn new() -> Self {
        let secret = ClientSecret::digest_of(CLIENT_SECRET);
        let scope = SCOPE.parse().expect("a scope");
        Self(Client::confidential(CLIENT_ID, secret).grants([Grant::Password]).scope(scope).build())
    }
}

#[async_trait]
impl ClientStore for CachedClient {
    async fn find(&self, client_id: &str, _: &RequestContext) -> Result<Option<Client>, BoxError> {
        Ok((client_id == CLIENT_ID).then(|| self.0.clone()))
    }
}

/// Accepts one constant password, and returns clones of one subject.
pub struct TrivialUser(Subject);

impl TrivialUser {
    pub fn new() -> Self {
        Self(SUBJECT.into())
    }
}

#[async_trait]
impl UserAuthenticator for TrivialUser {
    async fn authenticate(&self, attempt: LoginAttempt<'_>) -> Result<Login, BoxError> {
        let right = attempt.username() == USERNAME && attempt.password().expose() == PASSWORD;
        Ok(if right {
            Login::accepted(self.0.clone())
        } else {
            Login::rejected(Rejection::WrongPassword)
        })
    }
}

/// An engine with this key and these users, and an observer that does nothing. It has no attempt
/// limits, since the floors have none either.
pub fn engine_with(users: impl UserAuthenticator, key: &KeyPair) -> PasswordGrant {
    builder_with(users, key).dangerous_without_attempt_limits().build().expect("an engine")
}

/// The same engine with the default attempt limits.
pub fn limited_engine_with(users: impl UserAuthenticator, key: &KeyPair) -> PasswordGrant {
    builder_with(users, key).build().expect("an engine")
}

/// A builder of the same engine, for further configuration.
pub fn builder_with(users: impl UserAuthenticator, key: &KeyPair) -> PasswordGrantBuilder {
    let tokens = JwtIssuer::new(key.signing_keys(), AUDIENCE);
    PasswordGrant::builder(ISSUER, CachedClient::new(), users, tokens)
        .environment(&Environment::new().observer(()))
}

/// The engine and its floors for one algorithm.
pub struct Case {
    pub algorithm: Algorithm,
    pub grant: PasswordGrant,
    /// The engine with attempt limits.
    pub limited: PasswordGrant,
    pub verifier: AccessTokenVerifier,
    pub hand_written: HandWritten,
    pub bare_signature: BareSignature,
    pub bare_verification: BareVerification,
    pub jsonwebtoken: JsonWebToken,
    /// A token that the engine has issued.
    pub token: String,
    /// Its signature.
    pub signature: Vec<u8>,
}

impl Case {
    /// Makes a key, and tries everything once, to make sure that each floor does its work.
    pub fn new(algorithm: Algorithm) -> Self {
        let key = KeyPair::generate(algorithm);
        let grant = engine_with(TrivialUser::new(), &key);
        let limited = limited_engine_with(TrivialUser::new(), &key);
        let verifier =
            AccessTokenVerifier::new(ISSUER, AUDIENCE, [algorithm], key.verification_keys())
                .expect("a verifier")
                .environment(&Environment::new().observer(()));
        let hand_written = HandWritten::new(&key);

        let token = token_in(block_on(grant.token(request())).body());
        assert!(block_on(verifier.verify(&token)).is_ok());
        let answer = hand_written.answer("POST", &HEADERS, BODY);
        assert_eq!(answer.status, 200);
        let other = block_on(verifier.verify(&token_in(&answer.body))).expect("a token");
        assert_eq!((other.subject.as_str(), other.scope.as_str()), (SUBJECT, SCOPE));

        let jsonwebtoken = JsonWebToken::new(&key);
        assert!(block_on(verifier.verify(&jsonwebtoken.encode())).is_ok());
        let bare_verification = key.bare_verification();
        let signature = keys::decoded(token.rsplit('.').next().expect("a signature"));
        let case = Self {
            algorithm,
            grant,
            limited,
            verifier,
            hand_written,
            bare_signature: key.bare_signature(),
            bare_verification,
            jsonwebtoken,
            token,
            signature,
        };
        assert!(case.bare_verification.verify(case.signing_input(), &case.signature));
        case
    }

    /// The bytes that the token's signature covers.
    pub fn signing_input(&self) -> &[u8] {
        self.token.rsplit_once('.').expect("a compact JWS").0.as_bytes()
    }
}

fn token_in(body: &[u8]) -> String {
    let answer: serde_json::Value = serde_json::from_slice(body).expect("a JSON answer");
    answer["access_token"].as_str().expect("a token").to_owned()
}

/// Makes only the token, with the most used crate for it and with the same header and claims.
pub struct JsonWebToken {
    header: jsonwebtoken::Header,
    key: jsonwebtoken::EncodingKey,
}

#[derive(serde::Serialize)]
struct Claims {
    iss: &'static str,
    sub: &'static str,
    aud: &'static str,
    client_id: &'static str,
    scope: &'static str,
    iat: u64,
    exp: u64,
    jti: &'static str,
}

impl JsonWebToken {
    fn new(key: &KeyPair) -> Self {
        let (algorithm, encoding) = key.jsonwebtoken();
        let mut header = jsonwebtoken::Header::new(algorithm);
        header.typ = Some("at+jwt".to_owned());
        header.kid = key.kid();
        Self { header, key: encoding }
    }

    pub fn encode(&self) -> String {
        let now = hand_written::unix_seconds();
        let claims = Claims {
            iss: ISSUER,
            sub: SUBJECT,
            aud: AUDIENCE,
            client_id: CLIENT_ID,
            scope: SCOPE,
            iat: now,
            exp: now + LIFETIME,
            jti: "q8vJ0bq6l0Y2yqLq9s0m3A",
        };
        jsonwebtoken::encode(&self.header, &claims, &self.key).expect("a token")
    }
}

/// The parameters of the body, as a host without a strict parser would read them.
#[derive(serde::Deserialize)]
pub struct LaxForm<'a> {
    #[serde(borrow)]
    pub grant_type: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    pub username: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    pub password: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    pub scope: Option<std::borrow::Cow<'a, str>>,
}

/// Whether to measure (`cargo bench`), or only to run everything once (`cargo test --benches`, or
/// `--test`, as in criterion).
pub fn is_measured() -> bool {
    let has = |flag: &str| std::env::args().any(|argument| argument == flag);
    has("--bench") && !has("--test")
}

/// The median; zero if there are no values.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// The peak memory of this process in MiB, as reported by Linux; NaN on other systems.
pub fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line
        .and_then(|line| line.split_whitespace().next())
        .and_then(|number| number.parse::<f64>().ok());
    kib.map_or(f64::NAN, |kib| kib / 1024.0)
}
