//! Keys and algorithms as the field writes them: names of algorithms, names of keys, and key sets of others (RFC 7517,
//! RFC 7518, RFC 8037, RFC 9864). What is wrong with one key is held against that key alone.

mod common;

use std::sync::{Arc, Mutex};

use aws_lc_rs::encoding::{AsBigEndian, AsDer, Curve25519SeedBin, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use common::{AUDIENCE, Answer, FORM, GOOD, ISSUER, Users, World, noon, segment};
use password_grant::assertion::{AssertionKey, ClientAssertion, JwksSource};
use password_grant::event::EventKind;
use password_grant::jose::{Jwk, JwkSet, KeyError, SigningKey, UnusableKey, VerificationKeys};
use password_grant::testing::ManualClock;
use password_grant::{
    AccessTokenVerifier, Algorithm, BoxError, Client, ClientAuthentication, Environment, Event,
    Grant, HttpRequest, JwtIssuer, Observer, PasswordGrant, PasswordGrantBuilder, SigningKeys,
    async_trait,
};
use serde_json::{Value, json};

const URN: &str = "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
const RSA: [Algorithm; 6] = [
    Algorithm::Rs256,
    Algorithm::Rs384,
    Algorithm::Rs512,
    Algorithm::Ps256,
    Algorithm::Ps384,
    Algorithm::Ps512,
];

fn pem(der: &[u8]) -> String {
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der))
}

fn ed25519() -> String {
    pem(Ed25519KeyPair::generate().unwrap().to_pkcs8v1().unwrap().as_ref())
}

fn ec(curve: &'static aws_lc_rs::signature::EcdsaSigningAlgorithm) -> String {
    pem(EcdsaKeyPair::generate(curve).unwrap().to_pkcs8v1().unwrap().as_ref())
}

fn rsa() -> String {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    pem(AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).unwrap().as_ref())
}

/// A private key for each asymmetric algorithm that there is.
fn private_keys() -> Vec<(Algorithm, String)> {
    let rsa = rsa();
    let others = [
        (Algorithm::EdDsa, ed25519()),
        (Algorithm::Es256, ec(&ECDSA_P256_SHA256_FIXED_SIGNING)),
        (Algorithm::Es384, ec(&ECDSA_P384_SHA384_FIXED_SIGNING)),
        (Algorithm::Es512, ec(&ECDSA_P521_SHA512_FIXED_SIGNING)),
    ];
    others.into_iter().chain(RSA.map(|algorithm| (algorithm, rsa.clone()))).collect()
}

fn jwk(algorithm: Algorithm, pem: &str) -> Value {
    json!(AssertionKey::from_pem_for(algorithm, pem).unwrap().public_jwk().unwrap())
}

fn with(mut object: Value, name: &str, value: impl Into<Value>) -> Value {
    object[name] = value.into();
    object
}

fn without(mut object: Value, name: &str) -> Value {
    object.as_object_mut().unwrap().remove(name);
    object
}

fn set(keys: impl IntoIterator<Item = Value>) -> Result<JwkSet, KeyError> {
    JwkSet::from_json(document(keys).as_bytes())
}

fn document(keys: impl IntoIterator<Item = Value>) -> String {
    json!({ "keys": keys.into_iter().collect::<Vec<_>>() }).to_string()
}

fn register(world: &World, authentication: ClientAuthentication) {
    let client = Client::confidential("backend", authentication).grants([Grant::Password]);
    world.clients.insert(client.scope("profile".parse().unwrap()));
}

fn world_of(keys: impl IntoIterator<Item = Value>) -> World {
    let world = World::default();
    register(&world, ClientAuthentication::private_key_jwt(&set(keys).unwrap()).unwrap());
    world
}

fn assertion(world: &World, key: &AssertionKey) -> String {
    ClientAssertion::new("backend", ISSUER, key.clone())
        .environment(&Environment::new().clock(world.clock.clone()))
        .sign()
        .unwrap()
}

async fn send(world: &World, assertion: &str) -> Answer {
    world
        .send(&[], &format!("{GOOD}&client_assertion_type={URN}&client_assertion={assertion}"))
        .await
}

async fn ask(world: &World, key: &AssertionKey) -> Answer {
    send(world, &assertion(world, key)).await
}

// --- Algorithms --------------------------------------------------------------------------------------------------------

/// A third of published client keys is RS384 or RS512; health care asks for RS384 or ES384.
#[tokio::test]
async fn a_client_may_sign_by_every_algorithm_but_only_by_that_of_its_key() {
    for (algorithm, pem) in private_keys() {
        let key = AssertionKey::from_pem_for(algorithm, &pem).unwrap();
        let world = world_of([jwk(algorithm, &pem)]);
        ask(&world, &key).await.is_granted();
        assert_eq!(segment(&assertion(&world, &key), 0)["alg"], algorithm.as_str());
        // By another implementation too, if it has the algorithm: ES512 is tried by `foreign_clients`.
        if let Some(theirs) = theirs(algorithm, &pem) {
            send(&world, &theirs).await.is_granted();
        }
        // The key is for the one algorithm that it names, and for no other of its kind.
        for other in RSA.into_iter().filter(|other| RSA.contains(&algorithm) && *other != algorithm)
        {
            ask(&world, &AssertionKey::from_pem_for(other, &pem).unwrap())
                .await
                .is(401, "invalid_client");
        }
    }
}

/// Signed by a crate that is not ours; it has no ES512.
fn theirs(algorithm: Algorithm, pem: &str) -> Option<String> {
    use jsonwebtoken::{EncodingKey, Header};
    let name = algorithm.as_str().parse().ok()?;
    let key = match algorithm {
        Algorithm::EdDsa => EncodingKey::from_ed_pem(pem.as_bytes()),
        Algorithm::Es256 | Algorithm::Es384 => EncodingKey::from_ec_pem(pem.as_bytes()),
        _ => EncodingKey::from_rsa_pem(pem.as_bytes()),
    };
    let now = noon().unix_seconds();
    let jti = format!("theirs, by {algorithm}");
    let claims =
        json!({ "iss": "backend", "sub": "backend", "aud": ISSUER, "exp": now + 60, "jti": jti });
    Some(jsonwebtoken::encode(&Header::new(name), &claims, &key.unwrap()).unwrap())
}

#[tokio::test]
async fn a_key_that_names_no_algorithm_is_for_all_of_its_kind() {
    let pem = rsa();
    let world = world_of([without(jwk(Algorithm::Rs256, &pem), "alg")]);
    for algorithm in RSA {
        ask(&world, &AssertionKey::from_pem_for(algorithm, &pem).unwrap()).await.is_granted();
    }
}

/// Access tokens of others, and ours: whatever signs them, a verifier that is told so takes them.
#[tokio::test]
async fn an_access_token_may_be_signed_by_any_algorithm_that_the_verifier_is_told_of() {
    for (algorithm, pem) in private_keys() {
        let keys = SigningKeys::from_pem_for(algorithm, &pem).unwrap();
        let token = issued_by(&keys).await;
        assert_eq!(segment(&token, 0)["alg"], algorithm.as_str());
        // As another server reads it: from the published document.
        let published =
            JwkSet::from_json(json!(keys.public_keys()).to_string().as_bytes()).unwrap();
        let verifier = |algorithms: &[Algorithm]| {
            let keys = VerificationKeys::from_jwks(&published).unwrap();
            let verifier =
                AccessTokenVerifier::new(ISSUER, AUDIENCE, algorithms.iter().copied(), keys);
            verifier.map(|verifier| {
                verifier
                    .environment(&Environment::new().clock(ManualClock::at(noon())).observer(()))
            })
        };
        verifier(&[algorithm]).unwrap().verify(&token).await.unwrap();
        let other = if algorithm == Algorithm::Es256 { Algorithm::Es384 } else { Algorithm::Es256 };
        assert_eq!(verifier(&[other]).unwrap_err(), KeyError::Empty);
    }
    assert_eq!(
        SigningKeys::from_pem_for(Algorithm::Es384, ec(&ECDSA_P256_SHA256_FIXED_SIGNING))
            .unwrap_err(),
        KeyError::Algorithm
    );
    assert_eq!(
        SigningKeys::from_pem_for(Algorithm::Ps256, ed25519()).unwrap_err(),
        KeyError::Algorithm
    );
}

async fn issued_by(keys: &SigningKeys) -> String {
    let tokens = JwtIssuer::new(keys.clone(), AUDIENCE);
    let builder = PasswordGrant::builder(ISSUER, common::clients(), Users::default(), tokens);
    let grant = builder
        .environment(&Environment::new().clock(ManualClock::at(noon())).observer(()))
        .build()
        .unwrap();
    let form = format!("{GOOD}&client_id=mobile");
    let request =
        HttpRequest::new("POST", None, [("content-type", FORM.as_bytes())], form.as_bytes());
    Answer::from(grant.token(request).await).access_token()
}

/// RFC 9864 deprecates `EdDSA` for `Ed25519`: either name is read, wherever one is.
#[tokio::test]
async fn ed25519_has_two_names() {
    // As Node's Web Crypto exports the key of RFC 8037 appendix A.
    let node = r#"{"kty":"OKP","crv":"Ed25519","alg":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    let key = Jwk::from_json(node.as_bytes()).unwrap();
    assert_eq!(
        (key.algorithm(), json!(key)["alg"].as_str()),
        (Algorithm::EdDsa, Some("Ed25519")),
        "as it was read"
    );

    let pem = ed25519();
    let public = jwk(Algorithm::EdDsa, &pem);
    for registered in [Some("EdDSA"), Some("Ed25519"), None] {
        let entry = match registered {
            Some(alg) => with(public.clone(), "alg", alg),
            None => without(public.clone(), "alg"),
        };
        let world = world_of([entry]);
        for key in [
            AssertionKey::from_pem(&pem).unwrap(),
            AssertionKey::from_pem(&pem).unwrap().with_ed25519_name(),
        ] {
            ask(&world, &key).await.is_granted();
        }
    }
    let key = AssertionKey::from_pem(&pem).unwrap();
    let world = world_of([public.clone()]);
    assert_eq!(segment(&assertion(&world, &key), 0)["alg"], "EdDSA");
    assert_eq!(segment(&assertion(&world, &key.clone().with_ed25519_name()), 0)["alg"], "Ed25519");
    assert_eq!(json!(key.with_ed25519_name().public_jwk().unwrap())["alg"], "Ed25519");

    // A private JWK keeps the name that it has.
    let pair = Ed25519KeyPair::generate().unwrap();
    let seed = pair.seed().unwrap();
    let seed = URL_SAFE_NO_PAD
        .encode(AsBigEndian::<Curve25519SeedBin<'_>>::as_be_bytes(&seed).unwrap().as_ref());
    let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
    for name in ["EdDSA", "Ed25519"] {
        let private = json!({ "kty": "OKP", "crv": "Ed25519", "alg": name, "x": x, "d": seed, "p": null, "kid": null });
        let key = AssertionKey::from_jwk(private.to_string()).unwrap();
        let world = world_of([json!(key.public_jwk().unwrap())]);
        assert_eq!(segment(&assertion(&world, &key), 0)["alg"], name);
        ask(&world, &key).await.is_granted();
    }

    // Access tokens: the host chooses what is written.
    let keys = SigningKeys::from_pem(&pem).unwrap();
    for (keys, name) in [(keys.clone(), "EdDSA"), (keys.with_ed25519_name(), "Ed25519")] {
        let token = issued_by(&keys).await;
        assert_eq!(segment(&token, 0)["alg"], name);
        assert_eq!(json!(keys.public_keys())["keys"][0]["alg"], name);
        let verifier = AccessTokenVerifier::new(
            ISSUER,
            AUDIENCE,
            [Algorithm::EdDsa],
            keys.verification_keys().unwrap(),
        );
        verifier
            .unwrap()
            .environment(&Environment::new().clock(ManualClock::at(noon())).observer(()))
            .verify(&token)
            .await
            .unwrap();
    }
    // So are the keys that are published beside it, in either order.
    let next = SigningKeys::from_pem(ed25519()).unwrap().public_jwk().unwrap();
    let keys = SigningKeys::from_pem(&pem).unwrap();
    for keys in [
        keys.clone().with_ed25519_name().publish(next.clone()).unwrap(),
        keys.clone().publish(next.clone()).unwrap().with_ed25519_name(),
    ] {
        let named: Vec<_> =
            keys.public_keys().keys.iter().map(|key| json!(key)["alg"].clone()).collect();
        assert_eq!(named, ["Ed25519", "Ed25519"]);
    }
    let published = keys.publish(next.with_ed25519_name()).unwrap().public_keys();
    assert_eq!(json!(published)["keys"][1]["alg"], "Ed25519", "as it was given");
    // A key of the host's own says by its public half what it is called.
    let own: Arc<dyn SigningKey> = Arc::new(OwnKey(Ed25519KeyPair::generate().unwrap()));
    assert_eq!(segment(&issued_by(&SigningKeys::from_key(own.clone())).await, 0)["alg"], "Ed25519");
    let key = AssertionKey::from_key(own);
    let world = world_of([json!(key.public_jwk().unwrap())]);
    assert_eq!(segment(&assertion(&world, &key), 0)["alg"], "Ed25519");
    ask(&world, &key).await.is_granted();
    // With a key of another kind there is nothing to choose.
    let keys = SigningKeys::generate().unwrap().with_ed25519_name();
    assert_eq!(segment(&issued_by(&keys).await, 0)["alg"], "ES256");
    assert_eq!(json!(keys.public_keys())["keys"][0]["alg"], "ES256");
}

/// A key that is not the crate's, and is called `Ed25519`.
struct OwnKey(Ed25519KeyPair);

impl SigningKey for OwnKey {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDsa
    }

    fn sign(&self, message: &[u8], out: &mut Vec<u8>) -> Result<(), BoxError> {
        out.extend_from_slice(self.0.sign(message).as_ref());
        Ok(())
    }

    fn public_jwk(&self) -> Option<Jwk> {
        let x = URL_SAFE_NO_PAD.encode(self.0.public_key().as_ref());
        let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "alg": "Ed25519", "x": x });
        Jwk::from_json(jwk.to_string().as_bytes()).ok()
    }
}

/// What looks like such a name is none.
#[test]
fn an_algorithm_is_read_by_its_names_and_by_nothing_else() {
    for (name, algorithm) in
        [("Ed25519", Algorithm::EdDsa), ("EdDSA", Algorithm::EdDsa), ("PS512", Algorithm::Ps512)]
    {
        assert_eq!(name.parse(), Ok(algorithm));
    }
    for (algorithm, _) in private_keys() {
        assert_eq!(algorithm.as_str().parse(), Ok(algorithm));
    }
    for name in [
        "none", "None", "", "ed25519", "EDDSA", "Ed448", "es256", "ES256K", "RS1", "RSA-OAEP",
        "ESP256", " ES256",
    ] {
        let refused = name.parse::<Algorithm>().unwrap_err();
        assert_eq!(refused, KeyError::UnknownAlgorithm(name.to_owned()));
        assert!(refused.to_string().contains(name), "{refused}");
    }
}

/// Requirement 48: an algorithm goes with its kind of key and its curve.
#[test]
fn the_algorithm_of_another_kind_of_key_is_refused() {
    let keys = private_keys();
    for (algorithm, pem) in &keys {
        let (algorithm, good) = (*algorithm, jwk(*algorithm, pem));
        for (other, _) in keys.iter().cloned() {
            let kind = |algorithm: Algorithm| {
                if RSA.contains(&algorithm) { Algorithm::Rs256 } else { algorithm }
            };
            let read =
                Jwk::from_json(with(good.clone(), "alg", other.as_str()).to_string().as_bytes());
            assert_eq!(read.is_ok(), kind(algorithm) == kind(other), "{algorithm} {other}");
        }
    }
}

// --- Names of keys -----------------------------------------------------------------------------------------------------

/// A name is compared where there is one: a shared secret that was registered without has none, and few keys have a
/// thumbprint.
#[tokio::test]
async fn a_shared_secret_without_a_name_is_meant_by_every_name() {
    let secret = "partner-secret-partner-secret-0123";
    let world = World::default();
    register(&world, ClientAuthentication::client_secret_jwt(secret).unwrap());
    let key = || AssertionKey::from_secret(secret).unwrap();
    for named in [
        key(),
        key().kid("any"), // as a widely used example sends
        key().kid(""),
        key().certificate(b"a certificate that nobody registered"),
        key().kid("any").certificate_by_sha1(b"another"),
    ] {
        ask(&world, &named).await.is_granted();
    }
    let wrong = AssertionKey::from_secret("another-secret-another-secret-0123").unwrap();
    for named in [wrong.clone(), wrong.kid("any")] {
        ask(&world, &named).await.is(401, "invalid_client");
    }
}

#[tokio::test]
async fn a_thumbprint_counts_where_the_key_has_one() {
    let (one, two) = (ed25519(), ed25519());
    let key = |pem: &str| AssertionKey::from_pem(pem).unwrap();
    let plain = |pem: &str, kid: &str| json!(key(pem).kid(kid).public_jwk().unwrap());
    let certified = |pem: &str, kid: &str, der: &[u8]| {
        json!(key(pem).kid(kid).public_jwk().unwrap().with_certificate(der))
    };

    // Keys without: a thumbprint says nothing, a `kid` what it always says.
    let world = world_of([plain(&one, "one"), plain(&two, "two")]);
    for (signer, granted) in [
        (key(&one).kid("one").certificate(b"DER"), true),
        (key(&two).kid("two").certificate_by_sha1(b"DER"), true),
        (key(&one).kid("two").certificate(b"DER"), false),
        (key(&one).kid("three").certificate(b"DER"), false),
        (key(&one).certificate(b"DER"), false), // either could be meant
    ] {
        assert_eq!(ask(&world, &signer).await.status == 200, granted, "{signer:?}");
    }
    // One with: it is held against it, and its thumbprint means that key and no other.
    let world = world_of([certified(&one, "one", b"DER"), plain(&two, "two")]);
    for (signer, granted) in [
        (key(&one).certificate(b"DER"), true),
        (key(&one).kid("one").certificate(b"other"), false),
        (key(&one).certificate(b"other"), false),
        (key(&two).certificate(b"other"), true), // the only one that it could mean
        (key(&two).kid("two").certificate(b"DER"), false),
        (key(&two).certificate(b"DER"), false),
    ] {
        assert_eq!(ask(&world, &signer).await.status == 200, granted, "{signer:?}");
    }
}

// --- Key sets ----------------------------------------------------------------------------------------------------------

/// What is passed over, and why, by table. The good key beside it goes on being good.
#[tokio::test]
async fn an_entry_that_cannot_be_used_is_passed_over_and_named() {
    let pem = ed25519();
    let good = jwk(Algorithm::EdDsa, &pem);
    let rsa = jwk(Algorithm::Rs256, &rsa());
    let p256 = jwk(Algorithm::Es256, &ec(&ECDSA_P256_SHA256_FIXED_SIGNING));
    let n = URL_SAFE_NO_PAD.encode([0xff; 128]);
    for (entry, reason) in [
        (json!(7), KeyError::NotAnObject),
        (json!("key"), KeyError::NotAnObject),
        (json!([good.clone()]), KeyError::NotAnObject),
        (json!({}), KeyError::Malformed("kty")),
        (json!({ "kty": "future" }), KeyError::Unsupported),
        (json!({ "kty": "OKP", "crv": "X25519", "x": good["x"] }), KeyError::Unsupported),
        (json!({ "kty": "OKP", "crv": "Ed448", "x": good["x"] }), KeyError::Unsupported),
        (with(p256.clone(), "crv", "secp256k1"), KeyError::Unsupported),
        (without(p256.clone(), "y"), KeyError::Malformed("y")),
        (with(p256.clone(), "y", p256["x"].clone()), KeyError::Invalid),
        (with(p256.clone(), "alg", "ES384"), KeyError::Algorithm),
        (with(rsa.clone(), "use", "enc"), KeyError::Purpose),
        (
            with(rsa.clone(), "alg", "RSA-OAEP-256"),
            KeyError::UnknownAlgorithm("RSA-OAEP-256".into()),
        ),
        (with(rsa.clone(), "alg", "none"), KeyError::UnknownAlgorithm("none".into())),
        (with(rsa.clone(), "alg", "a".repeat(10_000)), KeyError::UnknownAlgorithm("a".repeat(32))),
        (with(rsa.clone(), "key_ops", json!(["encrypt"])), KeyError::Purpose),
        (with(rsa.clone(), "n", n), KeyError::TooShort),
        (with(rsa.clone(), "e", "AQ"), KeyError::Invalid),
        (with(rsa.clone(), "n", "not base64url!"), KeyError::Malformed("n")),
        (with(rsa.clone(), "kid", 7), KeyError::Malformed("kid")),
    ] {
        let read = set([entry.clone(), good.clone()]).unwrap();
        assert_eq!((read.keys.len(), read.unusable().len()), (1, 1), "{entry}");
        let unusable = &read.unusable()[0];
        assert_eq!((unusable.position(), unusable.reason()), (0, &reason), "{entry}");
        assert_eq!(unusable.kid(), entry["kid"].as_str(), "{entry}");
        assert!(unusable.to_string().contains(&reason.to_string()));
        // Alone it makes no set, and the error says which entry and why.
        let error = set([entry.clone()]).unwrap_err();
        let KeyError::Unusable(named) = &error else { panic!("{error:?} for {entry}") };
        assert_eq!((named.len(), named[0].reason()), (1, &reason));
        assert!(error.to_string().contains(&reason.to_string()), "{error}");
        let world = world_of([entry, good.clone()]);
        ask(&world, &AssertionKey::from_pem(&pem).unwrap()).await.is_granted();
    }
}

/// And what makes the whole set unusable: it is not one, or whoever publishes it has lost a private key.
#[test]
fn a_leaked_private_key_or_a_malformed_document_refuses_the_whole_set() {
    let good = jwk(Algorithm::EdDsa, &ed25519());
    for private in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        let leaked = with(jwk(Algorithm::EdDsa, &ed25519()), private, "AQ");
        assert_eq!(set([good.clone(), leaked]).unwrap_err(), KeyError::Private, "{private}");
        let absent = with(good.clone(), private, Value::Null);
        assert_eq!(set([absent]).unwrap().keys.len(), 1, "{private}: null is not there");
    }
    let symmetric = json!({ "kty": "oct", "k": "c2VjcmV0" });
    assert_eq!(set([good.clone(), symmetric]).unwrap_err(), KeyError::Private);
    assert_eq!(set((0..21).map(|_| Value::Null)).unwrap_err(), KeyError::Set);
    assert_eq!(set([Value::Null, Value::Null]).unwrap_err(), KeyError::Empty);
    for text in [
        "",
        "null",
        "[]",
        "{}",
        r#"{"keys":null}"#,
        r#"{"keys":{}}"#,
        r#"{"keys":[]} x"#,
        r#"{"keys":[],"keys":[]}"#,
        &document([good.clone()]).replacen(r#""crv""#, r#""crv":"Ed25519","crv""#, 1),
    ] {
        assert_eq!(JwkSet::from_json(text.as_bytes()).unwrap_err(), KeyError::Set, "{text}");
    }
}

#[tokio::test]
async fn members_and_entries_that_are_null_are_ignored() {
    let pem = ed25519();
    let good = jwk(Algorithm::EdDsa, &pem);
    let key = AssertionKey::from_pem(&pem).unwrap();
    ask(&world_of([good.clone(), Value::Null]), &key).await.is_granted();
    ask(&world_of([Value::Null, good.clone(), Value::Null]), &key).await.is_granted();
    let mut full = good;
    for absent in [
        "d", "p", "q", "dp", "dq", "qi", "oth", "k", "use", "key_ops", "alg", "x5t", "x5t#S256",
        "x5c", "n", "e",
    ] {
        full[absent] = Value::Null;
    }
    assert!(set([full.clone()]).unwrap().unusable().is_empty());
    ask(&world_of([full]), &key).await.is_granted();
}

/// `kid` and algorithm together name a key, so one of them may stand for several.
#[tokio::test]
async fn only_what_is_really_ambiguous_is_refused() {
    let (rsa, other_rsa, ed, other_ed) = (rsa(), rsa(), ed25519(), ed25519());
    let p256 = ec(&ECDSA_P256_SHA256_FIXED_SIGNING);
    let key = |algorithm, pem: &str| AssertionKey::from_pem_for(algorithm, pem).unwrap();
    let named = |algorithm, pem: &str, kid: &str| with(jwk(algorithm, pem), "kid", kid);
    let nameless = |algorithm, pem: &str| without(jwk(algorithm, pem), "kid");

    // One RSA key for two algorithms: as one entry each, without names and under one.
    for entries in [
        [nameless(Algorithm::Rs256, &rsa), nameless(Algorithm::Ps256, &rsa)],
        [named(Algorithm::Rs256, &rsa, "one"), named(Algorithm::Ps256, &rsa, "one")],
    ] {
        let world = world_of(entries);
        for algorithm in [Algorithm::Rs256, Algorithm::Ps256] {
            ask(&world, &key(algorithm, &rsa)).await.is_granted();
        }
        ask(&world, &key(Algorithm::Rs384, &rsa)).await.is(401, "invalid_client");
        ask(&world, &key(Algorithm::Rs256, &other_rsa)).await.is(401, "invalid_client");
    }
    // One `kid` for keys of several kinds.
    let world = world_of([
        named(Algorithm::Rs256, &rsa, "2026"),
        named(Algorithm::Es256, &p256, "2026"),
        named(Algorithm::EdDsa, &ed, "2026"),
    ]);
    for (algorithm, pem) in
        [(Algorithm::Rs256, &rsa), (Algorithm::Es256, &p256), (Algorithm::EdDsa, &ed)]
    {
        ask(&world, &key(algorithm, pem).kid("2026")).await.is_granted();
        ask(&world, &key(algorithm, pem)).await.is_granted();
        ask(&world, &key(algorithm, pem).kid("2025")).await.is(401, "invalid_client");
    }
    // The same entry twice, or the same key under two names: it is but one key.
    let certified = with(named(Algorithm::EdDsa, &ed, "one"), "x5t", "thumbprint");
    for entries in [
        [named(Algorithm::EdDsa, &ed, "one"), named(Algorithm::EdDsa, &ed, "one")],
        [
            named(Algorithm::EdDsa, &ed, "one"),
            with(named(Algorithm::EdDsa, &ed, "one"), "alg", "Ed25519"),
        ],
        [named(Algorithm::EdDsa, &ed, "one"), named(Algorithm::EdDsa, &ed, "two")],
        [named(Algorithm::EdDsa, &ed, "one"), certified],
    ] {
        let world = world_of(entries);
        ask(&world, &key(Algorithm::EdDsa, &ed)).await.is_granted();
        ask(&world, &key(Algorithm::EdDsa, &ed).kid("one")).await.is_granted();
        ask(&world, &key(Algorithm::EdDsa, &other_ed)).await.is(401, "invalid_client");
    }
    let whole = without(named(Algorithm::Rs256, &rsa, "one"), "alg");
    ask(&world_of([whole, named(Algorithm::Rs256, &rsa, "one")]), &key(Algorithm::Rs256, &rsa))
        .await
        .is_granted();

    // Two keys of one kind under one name are not: whichever is tried, the other's owner is wronged.
    for entries in [
        [named(Algorithm::EdDsa, &ed, "one"), named(Algorithm::EdDsa, &other_ed, "one")],
        [named(Algorithm::Rs256, &rsa, "one"), named(Algorithm::Rs256, &other_rsa, "one")],
        [
            named(Algorithm::Ps384, &rsa, "one"),
            without(named(Algorithm::Rs256, &other_rsa, "one"), "alg"),
        ],
    ] {
        assert_eq!(set(entries).unwrap_err(), KeyError::RepeatedKid);
    }
    let apart = [named(Algorithm::Rs256, &rsa, "one"), named(Algorithm::Ps256, &other_rsa, "one")];
    ask(&world_of(apart), &key(Algorithm::Ps256, &other_rsa).kid("one")).await.is_granted();
    // Without a name, of two keys that fit neither is meant.
    let world =
        world_of([named(Algorithm::EdDsa, &ed, "one"), named(Algorithm::EdDsa, &other_ed, "two")]);
    for pem in [&ed, &other_ed] {
        ask(&world, &key(Algorithm::EdDsa, pem)).await.is(401, "invalid_client");
    }
}

// --- Keys of jsonwebtoken -----------------------------------------------------------------------------------------------

/// A host that has its keys in that crate's types hands them over, and verifies with it what was signed here.
#[test]
fn keys_go_to_jsonwebtoken_and_come_back() {
    use jsonwebtoken::jwk as theirs;
    for (algorithm, pem) in private_keys() {
        let key = AssertionKey::from_pem_for(algorithm, &pem).unwrap();
        let own = key.public_jwk().unwrap().with_certificate(b"a certificate");
        let model = theirs::Jwk::from(&own);
        let back = Jwk::try_from(&model).unwrap();
        assert_eq!(back, own, "{algorithm}");
        // What is written is what the model says, but for the algorithm that it does not know.
        let written: theirs::Jwk = serde_json::from_value(json!(own)).unwrap();
        let known = jsonwebtoken::Algorithm::try_from(algorithm);
        assert_eq!(known.is_err(), algorithm == Algorithm::Es512);
        let Ok(known) = known else { continue };
        assert_eq!(written, model, "{algorithm}");
        assert_eq!(Algorithm::try_from(known).unwrap(), algorithm);

        let assertion = ClientAssertion::new("backend", ISSUER, key).sign().unwrap();
        let mut validation = jsonwebtoken::Validation::new(known);
        validation.set_audience(&[ISSUER]);
        let decoding = jsonwebtoken::DecodingKey::from_jwk(&model).unwrap();
        jsonwebtoken::decode::<Value>(&assertion, &decoding, &validation).unwrap();
    }
}

#[test]
fn a_key_of_jsonwebtoken_is_checked_as_one_in_json_is() {
    use jsonwebtoken::jwk as theirs;
    let good = jwk(Algorithm::Es256, &ec(&ECDSA_P256_SHA256_FIXED_SIGNING));
    let model = |key: &Value| serde_json::from_value::<theirs::Jwk>(key.clone()).unwrap();
    Jwk::try_from(&model(&good)).unwrap();
    for (key, fault) in [
        (with(good.clone(), "use", "enc"), KeyError::Purpose),
        (with(good.clone(), "key_ops", json!(["sign"])), KeyError::Purpose),
        (with(good.clone(), "alg", "ES384"), KeyError::Algorithm),
        (with(good.clone(), "alg", "RSA-OAEP"), KeyError::UnknownAlgorithm("RSA_OAEP".into())),
        (with(good.clone(), "kid", ""), KeyError::Malformed("kid")),
        (with(good.clone(), "x", good["y"].clone()), KeyError::Invalid),
        (with(good.clone(), "y", "AA"), KeyError::Malformed("y")),
        (without(good.clone(), "y"), KeyError::Malformed("y")),
        (with(good.clone(), "crv", "Ed25519"), KeyError::Unsupported),
        (json!({ "kty": "oct", "k": "AAAA" }), KeyError::Private),
    ] {
        assert_eq!(Jwk::try_from(&model(&key)).unwrap_err(), fault, "{key}");
    }
    let set = theirs::JwkSet { keys: vec![model(&good), model(&with(good.clone(), "use", "enc"))] };
    let own = JwkSet::try_from(&set).unwrap();
    assert_eq!((own.keys.len(), own.unusable()[0].position()), (1, 1));
    assert_eq!(theirs::JwkSet::from(&own).keys.len(), 1);
}

// --- Who is told -------------------------------------------------------------------------------------------------------

/// Remembers the entries that were passed over, and causes of trouble.
#[derive(Clone, Default)]
struct PassedOver(Arc<Mutex<Vec<String>>>);

impl Observer for PassedOver {
    fn observe(&self, event: &Event<'_>) {
        let line = match (event.kind, event.client_id, event.cause) {
            (EventKind::KeyPassedOver, Some(client_id), Some(key)) => {
                let key = key.downcast_ref::<UnusableKey>().expect("an entry of a set");
                format!("{client_id:?} {} {:?}", key.position(), key.reason())
            }
            (EventKind::ServerFault(_), _, Some(cause)) => cause.to_string(),
            _ => return,
        };
        self.0.lock().unwrap().push(line);
    }
}

struct Publishes(Arc<Mutex<String>>);

#[async_trait]
impl JwksSource for Publishes {
    async fn fetch(&self, _: &str) -> Result<Vec<u8>, BoxError> {
        Ok(self.0.lock().unwrap().clone().into_bytes())
    }
}

#[tokio::test]
async fn the_observer_is_told_which_keys_of_a_published_set_were_passed_over() {
    let (pem, observer) = (ed25519(), PassedOver::default());
    let weak = with(jwk(Algorithm::Rs256, &rsa()), "n", URL_SAFE_NO_PAD.encode([0xff; 128]));
    let published = Arc::new(Mutex::new(document([weak.clone(), jwk(Algorithm::EdDsa, &pem)])));
    let (source, told) = (Publishes(published.clone()), observer.clone());
    let publishes = |builder: PasswordGrantBuilder, _: &ManualClock| builder.jwks_source(source);
    let world = World::in_environment(Users::default(), |own| own.observer(told), publishes);
    register(&world, ClientAuthentication::private_key_jwt_uri("https://client.example/jwks"));
    let key = AssertionKey::from_pem(&pem).unwrap();
    for _ in 0..3 {
        ask(&world, &key).await.is_granted();
    }
    let lines = || std::mem::take(&mut *observer.0.lock().unwrap());
    assert_eq!(lines(), [r#""backend" 0 TooShort"#], "once for each time that it is fetched");

    // However many there are, a bad assertion is one line more at the most.
    let many = (0..19).map(|number| with(weak.clone(), "kid", format!("weak-{number}")));
    *published.lock().unwrap() = document(many.chain([jwk(Algorithm::EdDsa, &pem)]));
    world.clock.advance(std::time::Duration::from_secs(600));
    ask(&world, &key).await.is_granted();
    assert_eq!(lines().len(), 19);
    for _ in 0..3 {
        ask(&world, &AssertionKey::from_pem(ed25519()).unwrap()).await.is(401, "invalid_client");
        assert_eq!(lines().len(), 1);
    }

    // A set of which nothing is left: 503, and the cause names each entry.
    *published.lock().unwrap() = document([with(weak, "kid", "old")]);
    world.clock.advance(std::time::Duration::from_secs(2 * 86_400));
    ask(&world, &key).await.is(503, "temporarily_unavailable");
    let lines = lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0]
            .contains(r#"entry 0 of the key set, counted from 0, kid "old": the key is too short"#),
        "{lines:?}"
    );
}

#[tokio::test]
async fn the_observer_is_told_why_a_registered_key_was_passed_over_when_it_is_wanted() {
    let (pem, observer) = (ed25519(), PassedOver::default());
    let rsa = rsa();
    let told = observer.clone();
    let world =
        World::in_environment(Users::default(), |own| own.observer(told), |builder, _| builder);
    let keys = set([jwk(Algorithm::EdDsa, &pem), with(jwk(Algorithm::Rs256, &rsa), "use", "enc")])
        .unwrap();
    register(&world, ClientAuthentication::private_key_jwt(&keys).unwrap());
    ask(&world, &AssertionKey::from_pem(&pem).unwrap()).await.is_granted();
    assert!(observer.0.lock().unwrap().is_empty(), "nobody has missed it");
    let unusable = keys.unusable()[0].kid().unwrap().to_owned();
    for (key, told) in [
        (AssertionKey::from_pem(&rsa).unwrap(), true),
        (AssertionKey::from_pem(&rsa).unwrap().kid(unusable), true),
        (AssertionKey::from_pem(ed25519()).unwrap(), true), // it could be any
        (AssertionKey::from_pem(&rsa).unwrap().kid("another"), false),
    ] {
        ask(&world, &key).await.is(401, "invalid_client");
        let lines = std::mem::take(&mut *observer.0.lock().unwrap());
        assert_eq!(lines, [r#""backend" 1 Purpose"#][..usize::from(told)], "{key:?}");
    }
}

// --- Registrations, and files ------------------------------------------------------------------------------------------

/// What can never work is an error where it is written down.
#[test]
fn a_registration_that_can_never_work_is_refused_where_it_is_built() {
    let shared = |bytes: usize| ClientAuthentication::client_secret_jwt(vec![7; bytes]).unwrap();
    let signing = |algorithm, pem: &str| {
        ClientAuthentication::private_key_jwt(&set([jwk(algorithm, pem)]).unwrap()).unwrap()
    };
    let rsa = rsa();
    let elsewhere = || ClientAuthentication::private_key_jwt_uri("https://client.example/jwks");
    let (rs256, any_rsa) =
        (signing(Algorithm::Rs256, &rsa), without(jwk(Algorithm::Rs256, &rsa), "alg"));
    let any_rsa = ClientAuthentication::private_key_jwt(&set([any_rsa]).unwrap()).unwrap();
    let ed = signing(Algorithm::EdDsa, &ed25519());
    for (authentication, algorithms, works) in [
        (shared(32), vec![Algorithm::Hs256], true),
        (shared(32), vec![Algorithm::Hs512], false),
        (shared(32), vec![Algorithm::Hs384, Algorithm::Hs512], false),
        (shared(32), vec![Algorithm::Hs512, Algorithm::Hs256], true),
        (shared(48), vec![Algorithm::Hs384], true),
        (shared(63), vec![Algorithm::Hs512], false),
        (shared(64), vec![Algorithm::Hs512], true),
        (shared(64), vec![Algorithm::Es256], false),
        (shared(64), vec![], false),
        (rs256.clone(), vec![Algorithm::Rs256], true),
        (rs256.clone(), vec![Algorithm::Es256], false),
        (rs256.clone(), vec![Algorithm::Ps256], false), // the key says that it is for RS256
        (rs256.clone(), vec![Algorithm::Hs256], false),
        (rs256, vec![Algorithm::Es256, Algorithm::Rs256], true),
        (any_rsa.clone(), vec![Algorithm::Ps512], true),
        (any_rsa, vec![Algorithm::EdDsa], false),
        (ed.clone(), vec!["Ed25519".parse().unwrap()], true),
        (ed, vec![Algorithm::Es256], false),
        (elsewhere(), vec![Algorithm::Es512], true),
        (elsewhere(), vec![Algorithm::Hs256], false),
        (elsewhere(), vec![], false),
    ] {
        let built = authentication.clone().algorithms(algorithms.clone());
        assert_eq!(
            built.map(drop),
            if works { Ok(()) } else { Err(KeyError::Algorithm) },
            "{authentication:?} {algorithms:?}"
        );
    }
}

/// PKCS#8 as the crate ring writes it: the public half within its context tag, in the place of it.
#[test]
fn a_key_file_of_ring_is_refused_with_what_to_do() {
    let pair = Ed25519KeyPair::generate().unwrap();
    let (seed, public) = (pair.seed().unwrap(), pair.public_key().as_ref().to_vec());
    let head = [0x30, 0x53, 2, 1, 1, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    let seed = AsBigEndian::<Curve25519SeedBin<'_>>::as_be_bytes(&seed).unwrap().as_ref().to_vec();
    let ring = [&head[..], &seed, &[0xa1, 0x23, 3, 0x21, 0], &public].concat();
    let refused = SigningKeys::from_pem(pem(&ring)).unwrap_err();
    assert_eq!(refused, KeyError::RingPkcs8);
    let text = refused.to_string();
    assert!(
        text.contains("PKCS#8 version 1") && text.contains("openssl genpkey -algorithm ed25519"),
        "{text}"
    );
    assert!(!text.contains("  "), "{text}");
    assert_eq!(AssertionKey::from_pem(pem(&ring)).unwrap_err(), KeyError::RingPkcs8);
    assert_eq!(
        SigningKeys::from_pem(&ring).unwrap_err(),
        KeyError::RingPkcs8,
        "in DER, as ring hands it out"
    );
    // What the documentation of `from_pem` makes of it is the same key.
    let converted = [&[0x30, 0x2e, 2, 1, 0][..], &ring[5..48]].concat();
    let converted = SigningKeys::from_pem(pem(&converted)).unwrap();
    let x = URL_SAFE_NO_PAD.encode(&public);
    assert_eq!(json!(converted.public_jwk().unwrap())["x"], x);
    // Whatever else is wrong with a file is no file of ring's.
    for spoilt in
        [&ring[..60], &[&ring[..48], &[0xa1, 0x22, 3, 0x21, 0], &public[..]].concat(), b"garbage"]
    {
        assert_ne!(SigningKeys::from_pem(pem(spoilt)).unwrap_err(), KeyError::RingPkcs8);
    }
}
