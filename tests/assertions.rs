//! Client assertions (RFC 7521, RFC 7523): who is taken for whom, and what is not.

mod common;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use common::{Answer, FORM, GOOD, ISSUER, Users, World, basic, encode, noon, segment};
use futures_util::future::join_all;
use password_grant::assertion::{
    AssertionCompatibility, AssertionError, AssertionKey, ClientAssertion, JwksSource,
};
use password_grant::environment::{RandomnessError, SecureRandom};
use password_grant::jose::{Jwk, JwkSet, KeyError, VerificationKeys};
use password_grant::state::{
    Change, Commit, InMemoryState, Loaded, StateKey, StateSecret, StateStore,
};
use password_grant::testing::ManualClock;
use password_grant::time::SystemClock;
use password_grant::{
    Algorithm, AuthenticationMethod, BoxError, Client, ClientAuthentication, ClientBuilder,
    ClientSecret, Clock, Environment, Grant, HttpRequest, PasswordGrantBuilder, RequestContext,
    async_trait,
};
use proptest::prelude::*;
use serde_json::{Value, json};

const URN: &str = "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
const TOKEN_ENDPOINT: &str = "https://id.example.com/oauth/token";
const SECRET: &str = "a secret of more than sixty-four bytes, as HS512 needs to be worth its name";

fn pem(kind: &str, der: &[u8]) -> String {
    format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", STANDARD.encode(der))
}

fn ed25519() -> String {
    pem("PRIVATE KEY", Ed25519KeyPair::generate().unwrap().to_pkcs8v1().unwrap().as_ref())
}

fn rsa() -> RsaKeyPair {
    RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap()
}

/// A private key for each algorithm that has one, as PEM.
fn private_keys() -> Vec<(Algorithm, String)> {
    let ec = |curve| EcdsaKeyPair::generate(curve).unwrap().to_pkcs8v1().unwrap().as_ref().to_vec();
    let rsa = rsa();
    let rsa = AsDer::<Pkcs8V1Der<'_>>::as_der(&rsa).unwrap();
    vec![
        (Algorithm::EdDsa, ed25519()),
        (Algorithm::Es256, pem("PRIVATE KEY", &ec(&ECDSA_P256_SHA256_FIXED_SIGNING))),
        (Algorithm::Es384, pem("PRIVATE KEY", &ec(&ECDSA_P384_SHA384_FIXED_SIGNING))),
        (Algorithm::Rs256, pem("PRIVATE KEY", rsa.as_ref())),
        (Algorithm::Ps256, pem("PRIVATE KEY", rsa.as_ref())),
    ]
}

fn set(keys: impl IntoIterator<Item = Jwk>) -> JwkSet {
    keys.into_iter().collect()
}

fn client(id: &str, authentication: ClientAuthentication) -> ClientBuilder {
    Client::confidential(id, authentication)
        .grants([Grant::Password])
        .scope("profile".parse().unwrap())
}

/// A world with the client `backend`, which signs with this key.
fn world_of(key: &AssertionKey) -> World {
    world_with(key, |authentication| authentication)
}

fn world_with(
    key: &AssertionKey,
    register: impl FnOnce(ClientAuthentication) -> ClientAuthentication,
) -> World {
    let world = World::default();
    let keys = ClientAuthentication::private_key_jwt(&set(key.public_jwk())).unwrap();
    world.clients.insert(client("backend", register(keys)));
    world
}

fn assertions(world: &World, key: &AssertionKey) -> ClientAssertion {
    ClientAssertion::new("backend", ISSUER, key.clone())
        .environment(&Environment::new().clock(world.clock.clone()))
}

fn with(assertion: &str) -> String {
    format!("{GOOD}&client_assertion_type={URN}&client_assertion={assertion}")
}

async fn ask(world: &World, assertion: &str) -> Answer {
    world.send(&[], &with(assertion)).await
}

/// Refused as any client is that did not authenticate, and for this reason.
#[track_caller]
fn is_refused(answer: &Answer, world: &World, reason: &str, case: &dyn std::fmt::Debug) {
    assert_eq!(
        (answer.status, answer.json()["error"].as_str()),
        (401, Some("invalid_client")),
        "{case:?} {answer:?}"
    );
    assert_eq!(
        answer.header("www-authenticate"),
        Some(&*format!(r#"Basic realm="{ISSUER}""#)),
        "{case:?}"
    );
    let last = world.events.last();
    assert!(last.ends_with(&format!(": {reason}")), "{case:?}: {last}");
}

/// A key under our control, to sign what the builder never would.
struct Forge(Ed25519KeyPair);

impl Forge {
    fn new() -> Self {
        Self(Ed25519KeyPair::generate().unwrap())
    }

    fn key(&self) -> AssertionKey {
        AssertionKey::from_pem(pem("PRIVATE KEY", self.0.to_pkcs8v1().unwrap().as_ref())).unwrap()
    }

    fn sign(&self, header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = encode(self.0.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    fn claims(&self, claims: &Value) -> String {
        self.sign(r#"{"alg":"EdDSA"}"#, claims.to_string())
    }
}

/// Claims in which all is right, under an identifier that no other ones have.
fn claims() -> Value {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let now = noon().unix_seconds();
    json!({
        "iss": "backend", "sub": "backend", "aud": ISSUER, "iat": now, "exp": now + 300,
        "jti": format!("id-{}", NEXT.fetch_add(1, Ordering::SeqCst)),
    })
}

fn claims_with(name: &str, value: impl Into<Value>) -> Value {
    changed(&claims(), name, value)
}

fn changed(claims: &Value, name: &str, value: impl Into<Value>) -> Value {
    let mut claims = claims.clone();
    claims[name] = value.into();
    claims
}

fn claims_without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

// --- What is taken -----------------------------------------------------------------------------------------------------

/// Scenarios R2 and R3c, with every algorithm that there is, made by our builder.
#[tokio::test]
async fn an_assertion_of_every_algorithm_authenticates_its_client() {
    for (algorithm, pem) in private_keys() {
        let key = AssertionKey::from_pem_for(algorithm, pem).unwrap();
        assert_eq!(key.algorithm(), algorithm);
        let world = world_of(&key);
        let answer = ask(&world, &assertions(&world, &key).sign().unwrap()).await;
        assert_eq!(answer.claims()["client_id"], "backend", "{algorithm}");
        let assertion = assertions(&world, &key).sign().unwrap();
        world.send(&[], &format!("{}&client_id=backend", with(&assertion))).await.is_granted();
    }
    for algorithm in [Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512] {
        let key = AssertionKey::from_secret_for(algorithm, SECRET).unwrap();
        let world = World::default();
        world
            .clients
            .insert(client("backend", ClientAuthentication::client_secret_jwt(SECRET).unwrap()));
        ask(&world, &assertions(&world, &key).sign().unwrap()).await.is_granted();
    }
}

/// The same, made by an implementation that is not ours.
#[tokio::test]
async fn an_assertion_made_by_another_implementation_is_taken() {
    use jsonwebtoken::{Algorithm as Name, EncodingKey, Header};
    let sign = |name: Name, key: &EncodingKey, kid: Option<String>| {
        let mut header = Header::new(name);
        header.kid = kid;
        jsonwebtoken::encode(&header, &claims(), key).unwrap()
    };
    for (algorithm, pem) in private_keys() {
        let (name, encoding) = match algorithm {
            Algorithm::EdDsa => (Name::EdDSA, EncodingKey::from_ed_pem(pem.as_bytes())),
            Algorithm::Es256 => (Name::ES256, EncodingKey::from_ec_pem(pem.as_bytes())),
            Algorithm::Es384 => (Name::ES384, EncodingKey::from_ec_pem(pem.as_bytes())),
            Algorithm::Rs256 => (Name::RS256, EncodingKey::from_rsa_pem(pem.as_bytes())),
            _ => (Name::PS256, EncodingKey::from_rsa_pem(pem.as_bytes())),
        };
        let encoding = encoding.unwrap();
        let world =
            world_of(&AssertionKey::from_pem_for(algorithm, &pem).unwrap().kid("backend-1"));
        for kid in [None, Some("backend-1".to_owned())] {
            ask(&world, &sign(name, &encoding, kid)).await.is_granted();
        }
        let unknown = ask(&world, &sign(name, &encoding, Some("backend-2".to_owned()))).await;
        is_refused(&unknown, &world, "AssertionSignature", &algorithm);
    }
    for (name, algorithm) in [
        (Name::HS256, Algorithm::Hs256),
        (Name::HS384, Algorithm::Hs384),
        (Name::HS512, Algorithm::Hs512),
    ] {
        let world = World::default();
        let secret = ClientAuthentication::client_secret_jwt(SECRET)
            .unwrap()
            .algorithms([algorithm])
            .unwrap();
        world.clients.insert(client("backend", secret));
        ask(&world, &sign(name, &EncodingKey::from_secret(SECRET.as_bytes()), None))
            .await
            .is_granted();
    }
}

/// And what ours makes is read by that one.
#[test]
fn what_is_built_is_read_by_another_implementation() {
    use jsonwebtoken::{Algorithm as Name, DecodingKey, Validation};
    let key = AssertionKey::from_pem(ed25519()).unwrap().kid("backend-1");
    let assertion = ClientAssertion::new("backend", ISSUER, key.clone()).sign().unwrap();
    let jwk: jsonwebtoken::jwk::Jwk =
        serde_json::from_value(json!(key.public_jwk().unwrap())).unwrap();
    let mut validation = Validation::new(Name::EdDSA);
    validation.set_audience(&[ISSUER]);
    validation.set_issuer(&["backend"]);
    let decoded = jsonwebtoken::decode::<Value>(
        &assertion,
        &DecodingKey::from_jwk(&jwk).unwrap(),
        &validation,
    )
    .unwrap();
    assert_eq!(decoded.header.kid.as_deref(), Some("backend-1"));
    assert_eq!(decoded.claims["sub"], "backend");
}

#[tokio::test]
async fn an_access_token_says_how_its_client_authenticated() {
    struct Methods;
    #[async_trait]
    impl password_grant::TokenIssuer for Methods {
        async fn issue(
            &self,
            a: &password_grant::Authorization<'_>,
        ) -> Result<password_grant::AccessToken, BoxError> {
            Ok(password_grant::AccessToken::new(a.client().method().as_str())?)
        }
    }
    let key = AssertionKey::from_pem(ed25519()).unwrap();
    let world = world_of(&key);
    let builder = password_grant::PasswordGrant::builder(
        ISSUER,
        world.clients.clone(),
        Users::default(),
        Methods,
    );
    let grant = builder
        .environment(&Environment::new().clock(world.clock.clone()).observer(()))
        .build()
        .unwrap();
    let form = with(&assertions(&world, &key).sign().unwrap());
    let request =
        HttpRequest::new("POST", None, [("content-type", FORM.as_bytes())], form.as_bytes());
    assert_eq!(Answer::from(grant.token(request).await).access_token(), "private_key_jwt");
}

// --- Claims ------------------------------------------------------------------------------------------------------------

/// Requirements 51 to 58; incidents C2, C9, C18, C20, C23.
#[tokio::test]
async fn an_assertion_is_refused_for_every_claim_that_is_not_right() {
    let forge = Forge::new();
    let world = world_of(&forge.key());
    let now = noon().unix_seconds();
    let wrong_types = || {
        [
            json!(null),
            json!(true),
            json!([]),
            json!({}),
            json!("1800000100"),
            json!(-1),
            json!(1e300),
        ]
    };
    let not_texts = || [json!(null), json!(7), json!(["backend"]), json!({"a": 1}), json!("")];
    let mut cases: Vec<(&str, Value)> = Vec::new();

    for iss in not_texts().into_iter().chain([
        json!("back"),
        json!("backend2"),
        json!("Backend"),
        json!("mobile"),
    ]) {
        cases.push(("AssertionIssuer", claims_with("iss", iss)));
    }
    cases.push(("AssertionIssuer", claims_without("iss")));
    for sub in [json!(7), json!(["backend"]), json!(null), json!("")] {
        cases.push(("AssertionMalformed", claims_with("sub", sub)));
    }
    cases.push(("AssertionMalformed", claims_without("sub")));

    for aud in [
        json!(null),
        json!(7),
        json!({}),
        json!(""),
        json!([]),
        json!([null]),
        json!([ISSUER, null]),
        json!(TOKEN_ENDPOINT),
        json!([TOKEN_ENDPOINT]),
        json!([ISSUER, "https://other.example.com"]),
        json!([ISSUER, ISSUER]),
        json!("https://other.example.com"),
        json!(format!("{ISSUER}/")),
        json!("https://id.example.co"),
        json!("https://ID.example.com"),
        json!(format!("{ISSUER} ")),
        json!([[ISSUER]]),
    ] {
        cases.push(("AssertionAudience", claims_with("aud", aud)));
    }
    cases.push(("AssertionAudience", claims_without("aud")));

    cases.push(("AssertionTime", claims_without("exp")));
    for exp in wrong_types().into_iter().chain([
        json!(0),
        json!(now - 30),
        json!(now + 3_631),
        json!(u64::MAX),
    ]) {
        cases.push(("AssertionTime", claims_with("exp", exp)));
    }
    for name in ["nbf", "iat"] {
        for time in
            wrong_types().into_iter().chain([json!(now + 31), json!(now + 61), json!(u64::MAX)])
        {
            cases.push(("AssertionTime", claims_with(name, time)));
        }
    }
    cases.push(("AssertionId", claims_without("jti")));
    for jti in not_texts().into_iter().chain([json!("x".repeat(257))]) {
        cases.push(("AssertionId", claims_with("jti", jti)));
    }

    for (reason, claims) in cases {
        is_refused(&ask(&world, &forge.claims(&claims)).await, &world, reason, &claims);
    }
    // The same bytes for all of them, which are those for a client that does not exist.
    let refusal = ask(&world, &forge.claims(&claims_without("jti"))).await;
    let stranger = claims_with("sub", "stranger");
    assert_eq!(ask(&world, &forge.claims(&stranger)).await, refusal);
    assert_eq!(world.send(&[], &format!("{GOOD}&client_id=stranger")).await, refusal);
    ask(&world, &forge.claims(&claims())).await.is_granted();
}

#[tokio::test]
async fn what_may_stand_in_an_assertion_may_stand_there() {
    let forge = Forge::new();
    let world = world_of(&forge.key());
    let now = noon().unix_seconds();
    for claims in [
        claims_with("aud", json!([ISSUER])),
        claims_with("exp", now + 3_630),
        claims_with("exp", now - 29),
        claims_with("exp", json!(now as f64 + 100.5)),
        claims_with("iat", now + 30),
        claims_with("nbf", now + 30),
        claims_with("nbf", 0),
        claims_without("iat"),
        claims_with("jti", "x".repeat(256)),
        claims_with("further", json!({ "claims": ["are", "ignored"] })),
    ] {
        ask(&world, &forge.claims(&claims)).await.is_granted();
    }
}

/// RFC 8725 and incident C19: a claim is there once, and JSON is JSON.
#[tokio::test]
async fn an_assertion_that_can_be_read_in_two_ways_is_not_read() {
    let forge = Forge::new();
    let world = world_of(&forge.key());
    let good = claims().to_string();
    let inside = good.trim_matches(['{', '}']);
    for payload in [
        format!(r#"{{{inside},"aud":"{ISSUER}"}}"#),
        format!(r#"{{"sub":"other",{inside}}}"#),
        format!(r#"{{{inside},"x":{{"a":1,"a":2}}}}"#),
        format!("[{good}]"),
        format!("{good}{good}"),
        format!("{good} x"),
        good.replace("1800000300", "NaN"),
        good.replace("1800000300", "1e400"),
        good.replace("1800000300", "Infinity"),
        good.replace("1800000300", "01800000300"),
        "\"backend\"".to_owned(),
        "null".to_owned(),
        String::new(),
    ] {
        let assertion = forge.sign(r#"{"alg":"EdDSA"}"#, &payload);
        is_refused(&ask(&world, &assertion).await, &world, "AssertionMalformed", &payload);
    }
}

// --- The header --------------------------------------------------------------------------------------------------------

/// Requirements 46, 49, 50, 61, 62; incidents C15, C16, C17, C22.
#[tokio::test]
async fn an_assertion_is_refused_for_every_header_that_is_not_right() {
    let forge = Forge::new();
    let world = world_of(&forge.key().kid("backend-1"));
    let jwk = json!(forge.key().public_jwk().unwrap());
    for (reason, header) in [
        ("AssertionMalformed", json!({})),
        ("AssertionMalformed", json!({ "alg": "none" })),
        ("AssertionMalformed", json!({ "alg": "None" })),
        ("AssertionMalformed", json!({ "alg": "nOnE" })),
        ("AssertionMalformed", json!({ "alg": "" })),
        ("AssertionMalformed", json!({ "alg": null })),
        ("AssertionMalformed", json!({ "alg": ["EdDSA"] })),
        ("AssertionMalformed", json!({ "alg": "eddsa" })),
        ("AssertionMalformed", json!({ "alg": "EdDSA", "crit": [] })),
        ("AssertionMalformed", json!({ "alg": "EdDSA", "crit": ["exp"], "exp": 1 })),
        ("AssertionMalformed", json!({ "alg": "EdDSA", "b64": false, "crit": ["b64"] })),
        ("AssertionMalformed", json!({ "alg": "EdDSA", "b64": true })),
        ("AssertionMalformed", json!({ "alg": "EdDSA", "zip": "DEF" })),
        ("AssertionMalformed", json!({ "alg": "EdDSA", "kid": 7 })),
        ("AssertionMalformed", json!({ "alg": "EdDSA", "kid": "k".repeat(257) })),
        ("AssertionMalformed", json!({ "alg": "EdDSA", "x5t": [] })),
        ("AssertionSignature", json!({ "alg": "EdDSA", "kid": "backend-2" })),
        ("AssertionSignature", json!({ "alg": "EdDSA", "kid": "" })),
        ("AssertionSignature", json!({ "alg": "EdDSA", "kid": "../backend-1" })),
        ("AssertionSignature", json!({ "alg": "EdDSA", "kid": "backend-2", "x5t": "unknown" })),
        ("AssertionAlgorithm", json!({ "alg": "ES256" })),
        ("AssertionAlgorithm", json!({ "alg": "RS256" })),
        ("AssertionMalformed", json!({ "alg": "Ed448" })),
        ("AssertionMalformed", json!({ "alg": "ed25519" })),
        ("Method", json!({ "alg": "HS256" })),
        ("AssertionType", json!({ "alg": "EdDSA", "typ": "at+jwt" })),
        ("AssertionType", json!({ "alg": "EdDSA", "typ": "application/at+jwt" })),
        ("AssertionType", json!({ "alg": "EdDSA", "typ": "dpop+jwt" })),
        ("AssertionType", json!({ "alg": "EdDSA", "typ": "secevent+jwt" })),
        ("AssertionType", json!({ "alg": "EdDSA", "typ": "" })),
    ] {
        let assertion = forge.sign(header.to_string(), claims().to_string());
        is_refused(&ask(&world, &assertion).await, &world, reason, &header);
    }
    // Keys that come with an assertion are never used: signed by a stranger, who sends the key along.
    let stranger = Forge::new();
    let strangers = json!(stranger.key().public_jwk().unwrap());
    for header in [
        json!({ "alg": "EdDSA", "jwk": strangers }),
        json!({ "alg": "EdDSA", "jku": "https://evil.example/jwks.json" }),
        json!({ "alg": "EdDSA", "x5u": "https://evil.example/cert", "x5c": ["AAAA"] }),
    ] {
        let assertion = stranger.sign(header.to_string(), claims().to_string());
        is_refused(&ask(&world, &assertion).await, &world, "AssertionSignature", &header);
    }
    for header in [
        json!({ "alg": "EdDSA" }),
        json!({ "alg": "EdDSA", "typ": "JWT" }),
        json!({ "alg": "EdDSA", "typ": "jwt" }),
        json!({ "alg": "EdDSA", "typ": "client-authentication+jwt" }),
        json!({ "alg": "EdDSA", "typ": "application/client-authentication+jwt" }),
        json!({ "alg": "EdDSA", "kid": "backend-1" }),
        json!({ "alg": "Ed25519" }),
        // The key has no thumbprint that these could be held against.
        json!({ "alg": "EdDSA", "x5t": "unknown" }),
        json!({ "alg": "EdDSA", "x5t#S256": "unknown" }),
        json!({ "alg": "EdDSA", "kid": "backend-1", "x5t": "unknown" }),
        json!({ "alg": "EdDSA", "jwk": jwk, "jku": "https://evil.example", "x5c": [] }),
    ] {
        ask(&world, &forge.sign(header.to_string(), claims().to_string())).await.is_granted();
    }
}

/// Requirement 61, incident C21.
#[tokio::test]
async fn what_is_no_compact_jws_is_refused() {
    let forge = Forge::new();
    let world = world_of(&forge.key());
    let good = forge.claims(&claims());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (header, payload) = signed.split_once('.').unwrap();
    for assertion in [
        "x".to_owned(),
        "..".to_owned(),
        ".".repeat(8_000),
        signed.to_owned(),
        format!("{signed}."),
        format!("{good}.e30"),
        format!("{good}."),
        format!("{good}.e30.e30"),
        format!("{header}..{signature}"),
        format!(".{payload}.{signature}"),
        format!("{header}.{payload}.{signature}%3D"),
        format!("{header}%3D.{payload}.{signature}"),
        format!("{header}.{payload}%0A.{signature}"),
        format!("+{good}"),
        format!("{header}.{payload}.!{}", &signature[1..]),
    ] {
        let answer = ask(&world, &assertion).await;
        if answer.status != 400 {
            is_refused(&answer, &world, "AssertionMalformed", &assertion);
        }
        assert_ne!(answer.status, 200, "{assertion}");
    }
    // One bit more than the last byte has: another spelling of the same signature.
    let last = signature.chars().last().unwrap();
    let next =
        char::from_u32(u32::from(last) + 1).filter(char::is_ascii_alphanumeric).unwrap_or('B');
    let respelt = format!("{signed}.{}{next}", &signature[..signature.len() - 1]);
    assert_eq!(ask(&world, &respelt).await.status, 401);
    ask(&world, &good).await.is_granted();
}

// --- Keys and algorithms -----------------------------------------------------------------------------------------------

/// Incident C14: a public key is no secret.
#[tokio::test]
async fn a_public_key_is_not_taken_for_a_shared_secret() {
    let pair = rsa();
    let private = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).unwrap();
    let key = AssertionKey::from_pem(pem("PRIVATE KEY", private.as_ref())).unwrap();
    let world = world_of(&key);
    let der = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap().as_ref().to_vec();
    let public = pem("PUBLIC KEY", &der);
    let jwk = json!(key.public_jwk().unwrap()).to_string();
    let secrets = [
        public.clone(),
        format!("\n{public}"),
        public.trim().to_owned(),
        jwk,
        String::from_utf8_lossy(&der).into_owned(),
    ];
    for secret in secrets {
        for algorithm in [Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512] {
            let key = AssertionKey::from_secret_for(algorithm, &secret).unwrap();
            let assertion = assertions(&world, &key).sign().unwrap();
            is_refused(&ask(&world, &assertion).await, &world, "Method", &algorithm);
        }
    }
}

/// Requirements 33 and 47: each method takes its own kind of proof.
#[tokio::test]
async fn a_client_authenticates_by_the_method_it_is_registered_for() {
    let forge = Forge::new();
    let world = world_of(&forge.key());
    world
        .clients
        .insert(client("sharer", ClientAuthentication::client_secret_jwt(SECRET).unwrap()));
    let mut of_sharer = claims_with("sub", "sharer");
    of_sharer["iss"] = "sharer".into();
    is_refused(&ask(&world, &forge.claims(&of_sharer)).await, &world, "Method", &"a private key");
    // A client whose secret is kept as a digest has nothing that an HMAC could be verified with (incident C25).
    let key = AssertionKey::from_secret("web-secret-web-secret-web-secret-web").unwrap();
    let of_web = ClientAssertion::new("web", ISSUER, key)
        .environment(&Environment::new().clock(world.clock.clone()))
        .sign()
        .unwrap();
    is_refused(&ask(&world, &of_web).await, &world, "Method", &"web");
    // Nor is a secret taken from who signs.
    let secret = world.send(&[("authorization", &basic("sharer", SECRET))], GOOD).await;
    assert_eq!(secret.status, 401);
    let post = format!("{GOOD}&client_id=backend&client_secret=x");
    is_refused(&world.send(&[], &post).await, &world, "Method", &"a secret");
    is_refused(
        &world.send(&[], &format!("{GOOD}&client_id=backend")).await,
        &world,
        "Method",
        &"nothing",
    );
}

/// Requirement 46: registered, and taken by the server, and of the key's kind.
#[tokio::test]
async fn the_algorithm_is_one_that_client_and_server_both_want() {
    let pair = rsa();
    let private = pem("PRIVATE KEY", AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).unwrap().as_ref());
    let by = |algorithm| AssertionKey::from_pem_for(algorithm, &private).unwrap();
    // A key that does not say what it is for, as many registrations have it.
    let mut jwk = json!(by(Algorithm::Rs256).public_jwk().unwrap());
    jwk.as_object_mut().unwrap().remove("alg");
    let keys = || set([Jwk::from_json(jwk.to_string().as_bytes()).unwrap()]);
    let registered = |algorithms: &[Algorithm]| {
        let authentication = ClientAuthentication::private_key_jwt(&keys()).unwrap();
        client("backend", authentication.algorithms(algorithms.iter().copied()).unwrap())
    };
    let world = World::default();
    for (algorithms, rs256, ps256) in [
        (&[Algorithm::Rs256, Algorithm::Ps256][..], true, true),
        (&[Algorithm::Rs256], true, false),
        (&[Algorithm::Ps256, Algorithm::Hs256], false, true),
    ] {
        world.clients.insert(registered(algorithms));
        for (algorithm, taken) in [(Algorithm::Rs256, rs256), (Algorithm::Ps256, ps256)] {
            let answer = ask(&world, &assertions(&world, &by(algorithm)).sign().unwrap()).await;
            if taken {
                answer.is_granted();
            } else {
                is_refused(&answer, &world, "AssertionAlgorithm", &(algorithms, algorithm));
            }
        }
    }
    let world =
        World::with(Users::default(), |builder| builder.assertion_algorithms([Algorithm::Ps256]));
    world.clients.insert(registered(&[Algorithm::Rs256, Algorithm::Ps256]));
    ask(&world, &assertions(&world, &by(Algorithm::Ps256)).sign().unwrap()).await.is_granted();
    let answer = ask(&world, &assertions(&world, &by(Algorithm::Rs256)).sign().unwrap()).await;
    is_refused(&answer, &world, "AssertionAlgorithm", &"the server's list");

    let methods = [AuthenticationMethod::ClientSecretBasic, AuthenticationMethod::ClientSecretJwt];
    let world = World::with(Users::default(), |builder| builder.authentication_methods(methods));
    world.clients.insert(registered(&[Algorithm::Rs256]));
    let answer = ask(&world, &assertions(&world, &by(Algorithm::Rs256)).sign().unwrap()).await;
    is_refused(&answer, &world, "Method", &"the server's methods");
}

/// A key is found by any of its names, or for want of one if it is the only one that fits (incident C24).
#[tokio::test]
async fn keys_are_named_by_kid_or_by_certificate_or_not_at_all() {
    let certificate = b"the DER of a certificate, of which only the digests count";
    let (one, two) = (Forge::new(), Forge::new());
    let key = |forge: &Forge| forge.key();
    let registered = |keys: [AssertionKey; 2]| {
        let world = World::default();
        let public = set(keys.iter().filter_map(AssertionKey::public_jwk));
        world
            .clients
            .insert(client("backend", ClientAuthentication::private_key_jwt(&public).unwrap()));
        world
    };
    let jwk = key(&one).kid("one").public_jwk().unwrap().with_certificate(certificate);
    let world = World::default();
    let public = set([jwk, key(&two).kid("two").public_jwk().unwrap()]);
    world
        .clients
        .insert(client("backend", ClientAuthentication::private_key_jwt(&public).unwrap()));
    for signer in [
        key(&one).kid("one"),
        key(&two).kid("two"),
        key(&one).certificate(certificate),
        key(&one).certificate_by_sha1(certificate),
        key(&one).certificate(certificate).certificate_by_sha1(certificate).kid("one"),
    ] {
        ask(&world, &assertions(&world, &signer).sign().unwrap()).await.is_granted();
    }
    for signer in [
        key(&one),
        key(&one).kid("two"),
        key(&two).certificate(certificate),
        key(&one).certificate(b"another"),
        key(&two).kid("two").certificate(certificate),
    ] {
        let answer = ask(&world, &assertions(&world, &signer).sign().unwrap()).await;
        is_refused(&answer, &world, "AssertionSignature", &signer);
    }
    // Two keys of which only one is for the algorithm.
    let ec = AssertionKey::from_pem(&private_keys()[1].1).unwrap();
    let world = registered([key(&one), ec.clone()]);
    ask(&world, &assertions(&world, &key(&one)).sign().unwrap()).await.is_granted();
    ask(&world, &assertions(&world, &ec).sign().unwrap()).await.is_granted();
}

/// Requirement 65: what we sign and what a client signs can never stand in for each other, even under one key.
#[tokio::test]
async fn an_access_token_is_no_assertion_and_an_assertion_no_access_token() {
    let forge = Forge::new();
    let private = pem("PRIVATE KEY", forge.0.to_pkcs8v1().unwrap().as_ref());
    let keys = password_grant::SigningKeys::from_pem(&private).unwrap();
    // A client whose name is our issuer's, and whose key is ours.
    let world = World::default();
    world.clients.insert(client(
        ISSUER,
        ClientAuthentication::private_key_jwt(&set(forge.key().public_jwk())).unwrap(),
    ));
    let verifier = password_grant::AccessTokenVerifier::new(
        ISSUER,
        ISSUER,
        [Algorithm::EdDsa],
        keys.verification_keys().unwrap(),
    );
    let verifier =
        verifier.unwrap().environment(&Environment::new().clock(world.clock.clone()).observer(()));
    let mut claims = claims();
    (claims["iss"], claims["sub"]) = (ISSUER.into(), ISSUER.into());
    (claims["client_id"], claims["scope"]) = (ISSUER.into(), "profile".into());
    let token = forge.sign(r#"{"alg":"EdDSA","typ":"at+jwt"}"#, claims.to_string());
    assert!(verifier.verify(&token).await.is_ok(), "but for its type it would be either");
    is_refused(&ask(&world, &token).await, &world, "AssertionType", &"an access token");
    for typ in ["client-authentication+jwt", "JWT"] {
        let assertion =
            forge.sign(json!({ "alg": "EdDSA", "typ": typ }).to_string(), claims.to_string());
        assert!(verifier.verify(&assertion).await.is_err(), "{typ}");
        claims["jti"] = format!("for {typ}").into();
        let assertion =
            forge.sign(json!({ "alg": "EdDSA", "typ": typ }).to_string(), claims.to_string());
        ask(&world, &assertion).await.is_granted();
    }
}

#[test]
fn keys_that_cannot_be_are_refused_when_a_client_is_registered() {
    assert_eq!(
        ClientAuthentication::client_secret_jwt("31 bytes are not enough for it.").unwrap_err(),
        KeyError::TooShort
    );
    assert!(ClientAuthentication::client_secret_jwt("32 bytes are just enough for it.").is_ok());
    assert_eq!(
        ClientAuthentication::private_key_jwt(&JwkSet::default()).unwrap_err(),
        KeyError::Empty
    );
    assert_eq!(
        AssertionKey::from_secret_for(Algorithm::Hs384, [0; 47]).unwrap_err(),
        KeyError::TooShort
    );
    assert_eq!(
        AssertionKey::from_secret_for(Algorithm::Hs512, [0; 63]).unwrap_err(),
        KeyError::TooShort
    );
    assert_eq!(
        AssertionKey::from_secret_for(Algorithm::EdDsa, [0; 64]).unwrap_err(),
        KeyError::Unsupported
    );
    // A secret of 32 bytes is for HS256 alone.
    let secret =
        ClientAuthentication::client_secret_jwt("32 bytes are just enough for it.").unwrap();
    assert_eq!(format!("{secret:?}"), "{ClientSecretJwt}");
}

// --- Once --------------------------------------------------------------------------------------------------------------

/// Requirements 59 and 60; incidents C1, C3, C4, C6.
#[tokio::test]
async fn an_assertion_is_good_for_one_request() {
    let forge = Forge::new();
    let world = world_of(&forge.key());
    let good = forge.claims(&claims());
    ask(&world, &good).await.is_granted();
    is_refused(&ask(&world, &good).await, &world, "AssertionSeen", &"again");

    // As long as it would be taken: until it has expired by the clock that is furthest behind.
    let late = forge.claims(&claims_with("exp", noon().unix_seconds() + 100));
    ask(&world, &late).await.is_granted();
    world.clock.advance(Duration::from_secs(129));
    is_refused(&ask(&world, &late).await, &world, "AssertionSeen", &"at the last moment");
    world.clock.advance(Duration::from_secs(1));
    is_refused(&ask(&world, &late).await, &world, "AssertionTime", &"expired");
}

/// The same over instances, the clocks of which may be a minute apart.
#[tokio::test]
async fn a_store_whose_clock_is_ahead_remembers_for_as_long_as_an_assertion_is_taken() {
    let (forge, ahead) = (Forge::new(), ManualClock::at(noon().plus(Duration::from_secs(59))));
    let state = InMemoryState::new().environment(&Environment::new().clock(ahead.clone()));
    let world = World::with(Users::default(), |builder| {
        builder
            .shared_state(state, StateSecret::new([7; 32]).unwrap())
            .dangerous_without_attempt_limits()
    });
    let keys = ClientAuthentication::private_key_jwt(&set(forge.key().public_jwk())).unwrap();
    world.clients.insert(client("backend", keys));
    let used = forge.claims(&claims_with("exp", noon().unix_seconds() + 100));
    ask(&world, &used).await.is_granted();
    for clock in [&world.clock, &ahead] {
        clock.advance(Duration::from_secs(129));
    }
    is_refused(&ask(&world, &used).await, &world, "AssertionSeen", &"at the last moment");
}

/// Incident C4: what one server has seen of a client is not what another one has, though they share a store.
#[tokio::test]
async fn two_issuers_over_one_store_do_not_use_up_each_others_assertions() {
    let (forge, state) = (Forge::new(), InMemoryState::new());
    let registered = world_of(&forge.key());
    let issuers = [ISSUER, "https://other.example.com"];
    let engines = issuers.map(|issuer| {
        let keys = password_grant::SigningKeys::generate().unwrap();
        let tokens = password_grant::JwtIssuer::new(keys, "https://api.example.com");
        let builder = password_grant::PasswordGrant::builder(
            issuer,
            registered.clients.clone(),
            Users::default(),
            tokens,
        );
        let state = state.clone().environment(&Environment::new().clock(registered.clock.clone()));
        let builder = builder.shared_state(state, StateSecret::new([7; 32]).unwrap());
        builder
            .environment(&Environment::new().clock(registered.clock.clone()).observer(()))
            .build()
            .unwrap()
    });
    let claims = claims();
    for expected in [200, 401] {
        for (issuer, engine) in issuers.iter().zip(&engines) {
            let form = with(&forge.claims(&changed(&claims, "aud", *issuer)));
            let headers = [("content-type", FORM.as_bytes())];
            let answer =
                engine.token(HttpRequest::new("POST", None, headers, form.as_bytes())).await;
            assert_eq!(answer.status(), expected, "{issuer}");
        }
    }
}

#[tokio::test]
async fn what_is_not_verified_is_not_remembered() {
    let (forge, stranger) = (Forge::new(), Forge::new());
    let world = world_of(&forge.key());
    let claims = claims();
    let mut elsewhere = claims.clone();
    elsewhere["aud"] = "https://other.example.com".into();
    is_refused(
        &ask(&world, &stranger.claims(&claims)).await,
        &world,
        "AssertionSignature",
        &"a stranger",
    );
    is_refused(
        &ask(&world, &forge.claims(&elsewhere)).await,
        &world,
        "AssertionAudience",
        &"elsewhere",
    );
    let (signed, _) =
        forge.claims(&claims).rsplit_once('.').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    is_refused(
        &ask(&world, &format!("{signed}.AAAA")).await,
        &world,
        "AssertionSignature",
        &"no signature",
    );
    ask(&world, &forge.claims(&claims)).await.is_granted();

    // An identifier is the client's own: another one may have the same.
    world.clients.insert(client(
        "other",
        ClientAuthentication::private_key_jwt(&set(forge.key().public_jwk())).unwrap(),
    ));
    let mut of_other = claims.clone();
    (of_other["iss"], of_other["sub"]) = ("other".into(), "other".into());
    ask(&world, &forge.claims(&of_other)).await.is_granted();
}

/// Incident C3: two hundred at once, one of them first.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_hundred_uses_at_once_one_is_the_first() {
    let (forge, state) = (Forge::new(), InMemoryState::new());
    let public = set(forge.key().public_jwk());
    let worlds: Vec<World> = (0..4)
        .map(|instance| {
            // With the system's clock: those that were not quickest wait for a moment and look again.
            let configure = |builder: PasswordGrantBuilder, _: &ManualClock| match instance {
                0 | 1 => builder.shared_state(state.clone(), StateSecret::new([7; 32]).unwrap()),
                _ => builder,
            };
            let world = World::in_environment(
                Users::default(),
                |own| own.clock(SystemClock::new()),
                configure,
            );
            world
                .clients
                .insert(client("backend", ClientAuthentication::private_key_jwt(&public).unwrap()));
            world
        })
        .collect();
    // Two instances over one store, and one for itself.
    for instances in [&worlds[..2], &worlds[2..3]] {
        let now = SystemClock::new().now().unix_seconds();
        let mut claims = claims_with("exp", now + 60);
        claims["iat"] = now.into();
        let assertion = Arc::new(with(&forge.claims(&claims)));
        let barrier = Arc::new(tokio::sync::Barrier::new(200));
        let asking = (0..200).map(|number| {
            let (grant, form) =
                (instances[number % instances.len()].grant.clone(), assertion.clone());
            let barrier = barrier.clone();
            tokio::spawn(async move {
                barrier.wait().await;
                let headers = [("content-type", FORM.as_bytes())];
                grant.token(HttpRequest::new("POST", None, headers, form.as_bytes())).await.status()
            })
        });
        let statuses: Vec<u16> = join_all(asking).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
        assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 199, "{statuses:?}");
    }
}

/// Incident C8: one client fills its own share, and nobody is forgotten for it.
#[tokio::test]
async fn a_client_with_too_many_assertions_waits_alone_and_nothing_is_forgotten() {
    let forge = Forge::new();
    let world = World::with(Users::default(), |builder| builder.max_assertions_per_client(3));
    let keys = || ClientAuthentication::private_key_jwt(&set(forge.key().public_jwk())).unwrap();
    world.clients.insert(client("backend", keys()));
    world.clients.insert(client("other", keys()));
    let first = forge.claims(&claims());
    ask(&world, &first).await.is_granted();
    for _ in 0..2 {
        ask(&world, &forge.claims(&claims())).await.is_granted();
    }
    let full = ask(&world, &forge.claims(&claims())).await;
    full.is(503, "temporarily_unavailable");
    assert_eq!(full.header("retry-after"), Some("1"));
    assert!(world.events.last().contains("TooManyAssertions"), "{}", world.events.last());
    is_refused(&ask(&world, &first).await, &world, "AssertionSeen", &"seen goes before full");
    let mut of_other = claims();
    (of_other["iss"], of_other["sub"]) = ("other".into(), "other".into());
    ask(&world, &forge.claims(&of_other)).await.is_granted();
    // Two minutes after they have expired there is room again.
    world.clock.advance(Duration::from_secs(300 + 30 + 120));
    let now = world.clock.now().unix_seconds();
    ask(&world, &forge.claims(&claims_with("exp", now + 300))).await.is_granted();
}

/// Requirement 60: what cannot be remembered is not taken.
#[tokio::test]
async fn an_assertion_that_cannot_be_remembered_is_not_taken() {
    struct Down;
    #[async_trait]
    impl StateStore for Down {
        async fn load(&self, keys: &[StateKey]) -> Result<Loaded, BoxError> {
            Ok(Loaded { now: noon(), rows: vec![None; keys.len()] })
        }

        async fn commit(&self, _: &[Change]) -> Result<Commit, BoxError> {
            Err("no connection".into())
        }
    }
    let forge = Forge::new();
    let world = World::with(Users::default(), |builder| {
        builder
            .shared_state(Down, StateSecret::new([7; 32]).unwrap())
            .dangerous_without_attempt_limits()
    });
    world.clients.insert(client(
        "backend",
        ClientAuthentication::private_key_jwt(&set(forge.key().public_jwk())).unwrap(),
    ));
    ask(&world, &forge.claims(&claims())).await.is(503, "temporarily_unavailable");
    assert_eq!(world.users.asked(), 0);
    assert!(world.events.last().starts_with("server fault: StateStore"));
}

// --- One method a request, and who may do otherwise --------------------------------------------------------------------

/// Requirements 31, 32, 45; incidents C11 and C12.
#[tokio::test]
async fn an_assertion_comes_alone_and_with_its_type() {
    let forge = Forge::new();
    let world = world_of(&forge.key());
    let header = basic("backend", "x");
    let other = basic("web", "web-secret");
    let assertion = || forge.claims(&claims());
    let typed = |kind: &str| {
        format!("{GOOD}&client_assertion_type={kind}&client_assertion={}", assertion())
    };
    for (case, headers, form) in [
        ("no type", &[][..], format!("{GOOD}&client_assertion={}", assertion())),
        ("no assertion", &[], format!("{GOOD}&client_assertion_type={URN}")),
        (
            "an empty assertion",
            &[],
            format!("{GOOD}&client_assertion_type={URN}&client_assertion="),
        ),
        ("the alias", &[], typed("jwt_bearer")),
        ("another alias", &[], typed("JWT_BEARER")),
        ("SAML", &[], typed("urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Asaml2-bearer")),
        ("a type with more behind it", &[], typed(&format!("{URN}2"))),
        ("a type in capitals", &[], typed(&URN.to_uppercase())),
        ("a secret beside it", &[], with(&assertion()) + "&client_id=backend&client_secret=x"),
        ("a secret without a name beside it", &[], with(&assertion()) + "&client_secret=x"),
        ("a header beside it", &[("authorization", &*header)][..], with(&assertion())),
        ("another's header beside it", &[("authorization", &*other)][..], with(&assertion())),
        ("a malformed header beside it", &[("authorization", "Basic !")][..], with(&assertion())),
        ("a bearer token beside it", &[("authorization", "Bearer x")][..], with(&assertion())),
        ("another client's name beside it", &[], with(&assertion()) + "&client_id=web"),
        ("a repeated assertion", &[], with(&assertion()) + "&client_assertion=x"),
    ] {
        let answer = world.send(headers, &form).await;
        assert_eq!(
            (answer.status, &answer.json()["error"]),
            (400, &json!("invalid_request")),
            "{case}"
        );
    }
    assert_eq!(world.users.asked(), 0);
}

/// Scenario R2c: off unless the client is registered for it.
#[tokio::test]
async fn a_client_may_be_registered_for_what_it_cannot_change() {
    use AssertionCompatibility::{BasicAlongside, EndpointAudience, JwtBearerAlias};
    let forge = Forge::new();
    let registered = |allowed: &[AssertionCompatibility]| {
        world_with(&forge.key(), |authentication| {
            authentication.compatibility(allowed.iter().copied())
        })
    };
    let typed = |kind: &str| {
        format!("{GOOD}&client_assertion_type={kind}&client_assertion={}", forge.claims(&claims()))
    };

    let world = registered(&[JwtBearerAlias]);
    world.send(&[], &typed("jwt_bearer")).await.is_granted();
    world.send(&[], &typed(URN)).await.is_granted();
    world
        .send(&[("authorization", &basic("backend", ""))], &typed(URN))
        .await
        .is(400, "invalid_request");

    let world = registered(&[BasicAlongside]);
    for header in [basic("backend", ""), basic("backend", "whatever")] {
        world.send(&[("authorization", &header)], &typed(URN)).await.is_granted();
    }
    for header in [basic("web", "web-secret"), "Basic !".to_owned(), "Bearer x".to_owned()] {
        world.send(&[("authorization", &header)], &typed(URN)).await.is(400, "invalid_request");
    }
    world.send(&[], &typed("jwt_bearer")).await.is(400, "invalid_request");
    // The header proves nothing.
    let invalid = forge.claims(&claims_without("jti"));
    let answer = world.send(&[("authorization", &basic("backend", "x"))], &with(&invalid)).await;
    is_refused(&answer, &world, "AssertionId", &"beside");
    let secret_too = typed(URN) + "&client_secret=x";
    world.send(&[], &secret_too).await.is(400, "invalid_request");

    let world = registered(&[EndpointAudience]);
    for aud in [
        json!(ISSUER),
        json!([ISSUER]),
        json!(TOKEN_ENDPOINT),
        json!([TOKEN_ENDPOINT]),
        json!([ISSUER, TOKEN_ENDPOINT]),
        json!([ISSUER, "https://other.example.com"]),
    ] {
        let told = |world: &World| {
            world.events.lines().iter().filter(|line| line.contains("issuer alone")).count()
        };
        let before = told(&world);
        ask(&world, &forge.claims(&claims_with("aud", aud.clone()))).await.is_granted();
        // Requirement 52: it is explicit, and logged.
        let strict = aud == json!(ISSUER) || aud == json!([ISSUER]);
        assert_eq!(told(&world) - before, usize::from(!strict), "{aud}");
    }
    for aud in [
        json!("https://other.example.com"),
        json!([]),
        json!([TOKEN_ENDPOINT, 7]),
        json!(format!("{TOKEN_ENDPOINT}/")),
    ] {
        let answer = ask(&world, &forge.claims(&claims_with("aud", aud.clone()))).await;
        is_refused(&answer, &world, "AssertionAudience", &aud);
    }
}

/// Incident C10: the audience is configuration.
#[tokio::test]
async fn the_host_header_is_nobodys_audience() {
    let forge = Forge::new();
    let world =
        world_with(&forge.key(), |a| a.compatibility([AssertionCompatibility::EndpointAudience]));
    let assertion = forge.claims(&claims_with("aud", "https://evil.example/oauth/token"));
    let answer = world.send(&[("host", "evil.example")], &with(&assertion)).await;
    is_refused(&answer, &world, "AssertionAudience", &"host");
}

/// Requirement 43: a client that is disabled or has expired, with an assertion in which all is right.
#[tokio::test]
async fn a_disabled_client_is_refused_whatever_it_can_prove() {
    let forge = Forge::new();
    let world = World::default();
    let keys = || ClientAuthentication::private_key_jwt(&set(forge.key().public_jwk())).unwrap();
    world.clients.insert(client("backend", keys()).disabled());
    is_refused(&ask(&world, &forge.claims(&claims())).await, &world, "Disabled", &());
    world.clients.insert(client("backend", keys()).expires_at(noon()));
    is_refused(&ask(&world, &forge.claims(&claims())).await, &world, "Expired", &());
}

/// Requirement 41: failing is counted here too.
#[tokio::test]
async fn assertions_that_fail_are_counted_as_wrong_secrets_are() {
    let forge = Forge::new();
    let world = world_of(&forge.key());
    let home = RequestContext::new().with_peer("192.0.2.1".parse::<IpAddr>().unwrap());
    let send = async |assertion: String| -> Answer {
        let form = with(&assertion);
        let headers = [("content-type", FORM.as_bytes())];
        let request =
            HttpRequest::new("POST", None, headers, form.as_bytes()).context(home.clone());
        world.grant.token(request).await.into()
    };
    for _ in 0..20 {
        send(forge.claims(&claims_without("jti"))).await.is(401, "invalid_client");
    }
    send(forge.claims(&claims())).await.is(429, "temporarily_unavailable");
}

// --- Keys that clients publish -----------------------------------------------------------------------------------------

const JWKS_URI: &str = "https://client.example/jwks.json";

#[derive(Clone, Default)]
struct Publishes {
    document: Arc<std::sync::Mutex<Option<String>>>,
    fetched: Arc<AtomicUsize>,
}

impl Publishes {
    fn set(&self, keys: &[&AssertionKey]) {
        let keys: Vec<_> = keys.iter().filter_map(|key| key.public_jwk()).collect();
        *self.document.lock().unwrap() = Some(json!({ "keys": keys }).to_string());
    }

    fn fetched(&self) -> usize {
        self.fetched.swap(0, Ordering::SeqCst)
    }
}

#[async_trait]
impl JwksSource for Publishes {
    async fn fetch(&self, jwks_uri: &str) -> Result<Vec<u8>, BoxError> {
        assert_eq!(jwks_uri, JWKS_URI);
        self.fetched.fetch_add(1, Ordering::SeqCst);
        Ok(self.document.lock().unwrap().clone().ok_or("no connection")?.into_bytes())
    }
}

fn publishing_world(source: &Publishes) -> World {
    let world = World::with(Users::default(), |builder| builder.jwks_source(source.clone()));
    world.clients.insert(client("backend", ClientAuthentication::private_key_jwt_uri(JWKS_URI)));
    world
}

#[tokio::test]
async fn keys_that_a_client_publishes_are_fetched_and_kept() {
    let (one, two) = (Forge::new().key().kid("one"), Forge::new().key().kid("two"));
    let source = Publishes::default();
    source.set(&[&one]);
    let world = publishing_world(&source);
    let send =
        async |key: &AssertionKey| ask(&world, &assertions(&world, key).sign().unwrap()).await;
    for _ in 0..5 {
        send(&one).await.is_granted();
    }
    assert_eq!(source.fetched(), 1);

    // A name that is not among them is asked for once, and not again within a minute.
    for _ in 0..5 {
        is_refused(&send(&two).await, &world, "AssertionSignature", &"unknown kid");
    }
    assert_eq!(source.fetched(), 0, "fetched just now");
    world.clock.advance(Duration::from_secs(60));
    for _ in 0..5 {
        is_refused(&send(&two).await, &world, "AssertionSignature", &"unknown kid");
    }
    assert_eq!(source.fetched(), 1);
    source.set(&[&one, &two]);
    world.clock.advance(Duration::from_secs(60));
    send(&two).await.is_granted();
    send(&one).await.is_granted();
    assert_eq!(source.fetched(), 1);

    // After ten minutes they are fetched anew; a key that was taken away is gone.
    source.set(&[&two]);
    world.clock.advance(Duration::from_secs(601));
    is_refused(&send(&one).await, &world, "AssertionSignature", &"withdrawn");
    assert_eq!(source.fetched(), 1);

    // While they cannot be fetched, those at hand are used, for a day.
    *source.document.lock().unwrap() = None;
    world.clock.advance(Duration::from_secs(3_600));
    send(&two).await.is_granted();
    send(&two).await.is_granted();
    assert_eq!(source.fetched(), 1, "not at every request");
    world.clock.advance(Duration::from_secs(86_400));
    send(&two).await.is(503, "temporarily_unavailable");
    assert!(
        world.events.last().contains("JwksSource") && world.events.last().contains("no connection")
    );
    send(&two).await.is(503, "temporarily_unavailable");
    assert_eq!(source.fetched(), 1);
}

/// Whoever is down is not asked at every request, and a clock that is put back does not change when.
/// A thumbprint that no key of the set has may be that of a newer one.
#[tokio::test]
async fn a_key_that_is_named_by_an_unknown_thumbprint_alone_is_asked_for_anew() {
    let (one, two) = (Forge::new().key(), Forge::new().key());
    let source = Publishes::default();
    source.set(&[&one]);
    let world = publishing_world(&source);
    let send =
        async |key: &AssertionKey| ask(&world, &assertions(&world, key).sign().unwrap()).await;
    send(&one).await.is_granted();
    assert_eq!(source.fetched(), 1);
    source.set(&[&two]);
    world.clock.advance(Duration::from_secs(60));
    send(&two.clone().certificate(b"DER")).await.is_granted();
    assert_eq!(source.fetched(), 1);
    // A `kid` that is known says enough.
    world.clock.advance(Duration::from_secs(60));
    let kid = two.public_jwk().unwrap().kid().to_owned();
    send(&two.clone().kid(kid).certificate(b"DER")).await.is_granted();
    send(&two).await.is_granted();
    assert_eq!(source.fetched(), 0);
}

#[tokio::test]
async fn a_key_set_that_was_never_had_is_asked_for_once_a_minute() {
    let key = Forge::new().key();
    let source = Publishes::default();
    let world = publishing_world(&source);
    let send = async || ask(&world, &assertions(&world, &key).sign().unwrap()).await;
    for asked in [1, 0, 0] {
        send().await.is(503, "temporarily_unavailable");
        assert_eq!(source.fetched(), asked);
    }
    world.clock.advance(Duration::from_secs(60));
    send().await.is(503, "temporarily_unavailable");
    assert_eq!(source.fetched(), 1);
    world.clock.set(noon());
    send().await.is(503, "temporarily_unavailable");
    assert_eq!(source.fetched(), 0);
    source.set(&[&key]);
    world.clock.advance(Duration::from_secs(60));
    send().await.is_granted();
}

/// Whoever may register clients does not fill the memory with their key sets.
#[tokio::test]
async fn no_more_than_a_thousand_key_sets_are_kept() {
    #[derive(Clone)]
    struct Anywhere(String, Arc<AtomicUsize>);
    #[async_trait]
    impl JwksSource for Anywhere {
        async fn fetch(&self, _: &str) -> Result<Vec<u8>, BoxError> {
            self.1.fetch_add(1, Ordering::SeqCst);
            Ok(self.0.clone().into_bytes())
        }
    }
    let forge = Forge::new();
    let fetched = Arc::new(AtomicUsize::new(0));
    let document = json!({ "keys": [forge.key().public_jwk().unwrap()] }).to_string();
    let source = Anywhere(document, fetched.clone());
    let world = World::with(Users::default(), |builder| builder.jwks_source(source));
    let send = async |number: usize| {
        let uri = format!("https://client.example/{number}");
        world.clients.insert(client("backend", ClientAuthentication::private_key_jwt_uri(uri)));
        ask(&world, &forge.claims(&claims())).await.is_granted();
        fetched.load(Ordering::SeqCst)
    };
    for number in 0..1_000 {
        assert_eq!(send(number).await, number + 1);
    }
    assert_eq!(send(0).await, 1_000, "they are all there");
    assert_eq!(send(1_000).await, 1_001);
    assert_eq!(send(0).await, 1_002, "one too many made room");
    assert_eq!(send(1_000).await, 1_002);
}

#[tokio::test]
async fn a_document_that_is_no_key_set_authenticates_nobody() {
    let key = Forge::new().key();
    let private = json!({ "kty": "OKP", "crv": "Ed25519", "x": "AAAA", "d": "AAAA" });
    let many: Vec<_> = (0..21)
        .map(|number| json!(key.clone().kid(number.to_string()).public_jwk().unwrap()))
        .collect();
    let alike =
        [&key, &Forge::new().key()].map(|key| json!(key.clone().kid("one").public_jwk().unwrap()));
    for document in [
        "not JSON".to_owned(),
        "{}".to_owned(),
        json!({ "keys": [] }).to_string(),
        json!({ "keys": [private, key.public_jwk().unwrap()] }).to_string(),
        json!({ "keys": many }).to_string(),
        json!({ "keys": alike }).to_string(),
        json!({ "keys": [{ "kty": "oct", "k": "AAAA" }] }).to_string(),
    ] {
        let source = Publishes::default();
        *source.document.lock().unwrap() = Some(document.clone());
        let world = publishing_world(&source);
        let answer = ask(&world, &assertions(&world, &key).sign().unwrap()).await;
        assert_eq!((answer.status, world.users.asked()), (503, 0), "{document}");
    }
    // Without a source such a client cannot authenticate; that is our trouble.
    let world = World::default();
    world.clients.insert(client("backend", ClientAuthentication::private_key_jwt_uri(JWKS_URI)));
    ask(&world, &assertions(&world, &key).sign().unwrap()).await.is(503, "temporarily_unavailable");
}

// --- Building ----------------------------------------------------------------------------------------------------------

#[test]
fn an_assertion_says_what_the_specifications_want() {
    let clock = ManualClock::at(noon());
    let now = noon().unix_seconds();
    let certificate = b"DER";
    let key = AssertionKey::from_pem(ed25519()).unwrap();
    let built = ClientAssertion::new("backend", ISSUER, key.clone().kid("backend-1"))
        .environment(&Environment::new().clock(clock.clone()));
    let assertion = built.sign().unwrap();
    assert_eq!(
        segment(&assertion, 0),
        json!({ "typ": "client-authentication+jwt", "alg": "EdDSA", "kid": "backend-1" })
    );
    let mut claims = segment(&assertion, 1);
    let id = claims.as_object_mut().unwrap().remove("jti").unwrap();
    assert_eq!(URL_SAFE_NO_PAD.decode(id.as_str().unwrap()).unwrap().len(), 16);
    assert_eq!(
        claims,
        json!({ "iss": "backend", "sub": "backend", "aud": ISSUER, "iat": now, "exp": now + 300 })
    );
    assert_ne!(segment(&built.sign().unwrap(), 1)["jti"], id, "each has its own");

    let named = key.certificate(certificate).certificate_by_sha1(certificate);
    let built = ClientAssertion::new("backend", ISSUER, named)
        .environment(&Environment::new().clock(clock))
        .audiences([ISSUER, TOKEN_ENDPOINT])
        .lifetime(Duration::from_secs(60))
        .header_type("JWT")
        .claim("tenant", "demo")
        .claim("nbf", now);
    let assertion = built.sign().unwrap();
    let header = segment(&assertion, 0);
    assert_eq!((&header["typ"], header.get("kid")), (&json!("JWT"), None));
    assert_eq!(header["x5t"], "il8CqqUhLpu-kH2OhOO19-jGeWc", "{header}");
    assert_eq!(header["x5t#S256"], "v_0oyO6xCl5Qzxe1j0d-oYA4la5pdE5utTy8w79Cets", "{header}");
    let claims = segment(&assertion, 1);
    assert_eq!(
        (&claims["aud"], &claims["exp"]),
        (&json!([ISSUER, TOKEN_ENDPOINT]), &json!(now + 60))
    );
    assert_eq!((&claims["tenant"], &claims["nbf"]), (&json!("demo"), &json!(now)));

    let [kind, assertion] = built.parameters().unwrap();
    assert_eq!(kind.1, "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    assert_eq!((kind.0, assertion.0), ("client_assertion_type", "client_assertion"));

    for name in ["iss", "sub", "aud", "iat", "exp", "jti"] {
        let key = AssertionKey::from_secret(SECRET).unwrap();
        let error = ClientAssertion::new("backend", ISSUER, key).claim(name, 1).sign().unwrap_err();
        assert!(matches!(error, AssertionError::Claim(own) if own == name));
    }
    struct Broken;
    impl SecureRandom for Broken {
        fn fill(&self, _: &mut [u8]) -> Result<(), RandomnessError> {
            Err(RandomnessError::new())
        }
    }
    let key = AssertionKey::from_secret(SECRET).unwrap();
    let error = ClientAssertion::new("backend", ISSUER, key)
        .environment(&Environment::new().randomness(Broken))
        .sign()
        .unwrap_err();
    assert!(matches!(error, AssertionError::Randomness(_)));
}

/// RFC 8037 appendix A.1, RFC 7517 appendix A.2.
#[tokio::test]
async fn a_private_jwk_signs_as_its_pem_would() {
    const ED25519: &str = r#"{"kty":"OKP","crv":"Ed25519","kid":"ed","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
        "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    const P256: &str = r#"{"kty":"EC","crv":"P-256","use":"sig","key_ops":["sign"],
        "x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
        "d":"870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE","kid":"1"}"#;
    for (jwk, algorithm) in [(ED25519, Algorithm::EdDsa), (P256, Algorithm::Es256)] {
        let key = AssertionKey::from_jwk(jwk).unwrap();
        assert_eq!(key.algorithm(), algorithm);
        let world = world_of(&key);
        let assertion = assertions(&world, &key).sign().unwrap();
        assert_eq!(
            segment(&assertion, 0)["kid"],
            serde_json::from_str::<Value>(jwk).unwrap()["kid"]
        );
        ask(&world, &assertion).await.is_granted();
        assert!(!format!("{key:?}").contains("nWGxne") && !format!("{key:?}").contains("870MB"));
    }
    let pair = rsa();
    let private = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).unwrap();
    let jwk = rsa_jwk(private.as_ref());
    for (alg, algorithm) in [("RS256", Algorithm::Rs256), ("PS256", Algorithm::Ps256)] {
        let mut jwk = jwk.clone();
        jwk["alg"] = alg.into();
        let key = AssertionKey::from_jwk(jwk.to_string()).unwrap();
        assert_eq!(key.algorithm(), algorithm);
        let world = world_of(&key);
        ask(&world, &assertions(&world, &key).sign().unwrap()).await.is_granted();
    }

    let change = |change: &dyn Fn(&mut Value)| {
        let mut jwk: Value = serde_json::from_str(ED25519).unwrap();
        change(&mut jwk);
        AssertionKey::from_jwk(jwk.to_string()).map(|_| ())
    };
    let other = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURp";
    assert!(change(&|jwk| drop(jwk.as_object_mut().unwrap().remove("d"))).is_err());
    assert!(change(&|jwk| jwk["d"] = 7.into()).is_err());
    assert!(change(&|jwk| jwk["d"] = "AAAA".into()).is_err());
    assert!(change(&|jwk| jwk["d"] = other.into()).is_err(), "the halves do not belong together");
    assert!(change(&|jwk| jwk["p"] = "AAAA".into()).is_err());
    assert!(change(&|jwk| jwk["kty"] = "oct".into()).is_err());
    assert!(AssertionKey::from_jwk("[]").is_err());
}

/// The members of an RSA private key, from its PKCS#8: the integers of RFC 8017 appendix A.1.2 in their order.
fn rsa_jwk(pkcs8: &[u8]) -> Value {
    let start = pkcs8.windows(2).position(|bytes| bytes == [0x04, 0x82]).unwrap() + 4;
    let mut rest = &pkcs8[start + 4..];
    let mut numbers = Vec::new();
    while let [2, length, after @ ..] = rest {
        let (length, after) = match *length {
            0x81 => (usize::from(after[0]), &after[1..]),
            0x82 => (usize::from(after[0]) << 8 | usize::from(after[1]), &after[2..]),
            short => (usize::from(short), after),
        };
        let number = &after[..length];
        let number = number.strip_prefix(&[0]).filter(|rest| !rest.is_empty()).unwrap_or(number);
        numbers.push(URL_SAFE_NO_PAD.encode(number));
        rest = &after[length..];
    }
    let names = ["version", "n", "e", "d", "p", "q", "dp", "dq", "qi"];
    let members =
        names.iter().zip(numbers).skip(1).map(|(name, number)| ((*name).to_owned(), number.into()));
    let mut jwk = Value::Object(members.collect());
    jwk["kty"] = "RSA".into();
    jwk
}

// --- Whatever else may come --------------------------------------------------------------------------------------------

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    /// Every byte counts: changed, left out or doubled, an assertion is another one.
    #[test]
    fn no_mutation_of_an_assertion_is_taken(at in any::<prop::sample::Index>(), to in any::<u8>(), how in 0..3) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let forge = Forge::new();
            let world = world_of(&forge.key());
            let good = forge.sign(r#"{"alg":"EdDSA","typ":"JWT"}"#, claims().to_string());
            let mut bytes = good.clone().into_bytes();
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = to,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, to),
            }
            if bytes == good.as_bytes() {
                return;
            }
            let encoded: String = bytes.iter().map(|byte| format!("%{byte:02X}")).collect();
            let answer = ask(&world, &encoded).await;
            assert!([400, 401].contains(&answer.status), "{}", String::from_utf8_lossy(&bytes));
            ask(&world, &good).await.is_granted();
        });
    }

    /// Every claim counts: the same, with another value of any type in one place, is refused or says nothing else.
    #[test]
    fn no_claim_of_another_type_is_taken(
        name in prop::sample::select(vec!["iss", "sub", "aud", "exp", "nbf", "iat", "jti"]),
        value in prop_oneof![
            Just(json!(null)), any::<bool>().prop_map(Value::from), any::<i64>().prop_map(|n| json!(-n.abs())),
            any::<f64>().prop_filter("a JSON number", |n| n.is_finite()).prop_map(|n| json!(-n.abs())),
            Just(json!([])), Just(json!([[]])), Just(json!({})), Just(json!({ "a": "backend" })), Just(json!([7])),
        ],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let forge = Forge::new();
            let world = world_of(&forge.key());
            let past_is_fine = ["nbf", "iat"].contains(&name) && value.as_f64() == Some(0.0);
            let answer = ask(&world, &forge.claims(&claims_with(name, value.clone()))).await;
            assert!(past_is_fine || answer.status == 401, "{name}: {value}");
        });
    }

    #[test]
    fn arbitrary_text_is_no_assertion(text in "[ -~]{0,200}", dots in "[A-Za-z0-9_.-]{0,200}") {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let world = world_of(&Forge::new().key());
            for text in [text, dots] {
                let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
                assert!([400, 401].contains(&ask(&world, &encoded).await.status));
            }
        });
    }
}

/// A host keeps the keys of its clients as the document that it writes: nothing that a key is found by may be lost in it.
#[test]
fn a_key_set_that_was_written_is_read_back_as_it_was() {
    let certificate = b"the DER of a certificate";
    let mut keys: Vec<Jwk> = Vec::new();
    for (number, (algorithm, pem)) in private_keys().into_iter().enumerate() {
        let key = AssertionKey::from_pem_for(algorithm, pem).unwrap().kid(format!("key-{number}"));
        keys.push(key.public_jwk().unwrap());
        let named = key
            .certificate(certificate)
            .certificate_by_sha1(certificate)
            .kid(format!("named-{number}"));
        keys.push(named.public_jwk().unwrap());
    }
    // An RSA key that does not say what it is for is for both of its algorithms.
    let mut either = json!(keys[6]);
    let either = either.as_object_mut().unwrap();
    assert_eq!(either.remove("alg"), Some("RS256".into()));
    either.insert("kid".into(), "either".into());
    keys.push(Jwk::from_json(json!(either).to_string().as_bytes()).unwrap());
    let keys = set(keys);
    assert_eq!(keys.keys.len(), 11);
    assert_eq!(JwkSet::from_json(json!(keys).to_string().as_bytes()).unwrap(), keys);
}

/// Off the curve, of small order, too short, for something else: such keys verify nothing (requirement 63).
#[test]
fn keys_with_which_anybody_could_sign_are_refused() {
    let p384 = AssertionKey::from_pem(&private_keys()[2].1).unwrap().public_jwk().unwrap();
    let mut jwk = json!(p384);
    assert!(Jwk::from_json(jwk.to_string().as_bytes()).is_ok());
    jwk["x"] = jwk["y"].clone();
    assert!(Jwk::from_json(jwk.to_string().as_bytes()).is_err(), "off the curve");
    jwk["x"] = URL_SAFE_NO_PAD.encode([0; 48]).into();
    jwk["y"] = URL_SAFE_NO_PAD.encode([0; 48]).into();
    assert!(Jwk::from_json(jwk.to_string().as_bytes()).is_err(), "zero");
    let mut jwk = json!(p384);
    jwk["alg"] = "ES256".into();
    assert!(Jwk::from_json(jwk.to_string().as_bytes()).is_err(), "another curve's algorithm");
    let mut jwk = json!(p384);
    jwk["crv"] = "P-256".into();
    assert!(Jwk::from_json(jwk.to_string().as_bytes()).is_err(), "another curve");
    assert!(VerificationKeys::from_jwks(&set([p384])).is_ok());
}

/// A secret of a client that signs with it is in nobody's sight.
#[tokio::test]
async fn neither_keys_nor_assertions_show() {
    let forge = Forge::new();
    let world = world_of(&forge.key());
    let assertion = forge.claims(&claims());
    let answer = ask(&world, &assertion).await;
    let replayed = ask(&world, &assertion).await;
    let signature = assertion.rsplit('.').next().unwrap();
    for text in
        world.events.lines().iter().chain([&format!("{answer:?}"), &format!("{replayed:?}")])
    {
        assert!(!text.contains(signature), "{text}");
    }
    let secret = ClientAuthentication::client_secret_jwt(SECRET).unwrap();
    let key = AssertionKey::from_secret(SECRET).unwrap();
    let built = ClientAssertion::new("backend", ISSUER, key.clone());
    for text in [
        format!("{secret:?}"),
        format!("{key:?}"),
        format!("{built:?}"),
        format!("{:?}", client("x", secret.clone())),
    ] {
        assert!(!text.contains("secret of more"), "{text}");
    }
    let _ = ClientSecret::digest_of("unused");
}
