//! Client assertions at the token endpoint (RFC 7523 sections 2.2 and 3), made by an implementation that is not ours.

use std::fs;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use serde_json::{Value, json};

use super::http::{Request, Response, encode};
use super::server::Server;
use super::token::now;
use super::{ALICE, Program, alice, text, token_with};

const URN: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const PARTNER_SECRET: &str = "partner-secret-partner-secret-0123";

/// Scenario R2: an assertion and no header, by each of the two clients that sign.
pub(crate) fn an_assertion_stands_in_for_the_header(program: &Program) {
    let server = program.start();
    for client in [backend(program), partner()] {
        let good = || client.claims(&server.url);
        for request in [
            with(&client.sign(&good())),
            with(&client.sign(&good())).header("X-USER-IDENTITY-DOMAIN-NAME", "demo"),
            with(&client.sign(&changed(good(), "aud", json!([server.url])))),
            with(&client.sign(&changed(good(), "further", json!({ "claims": "are ignored" })))),
            with(&client.sign(&without(good(), "iat"))),
            with(&client.sign_under("typ", json!("JWT"), &good())),
            with(&client.sign_under("typ", json!("client-authentication+jwt"), &good())),
            // RFC 7519 section 2: a NumericDate may have a fraction.
            with(&client.sign(&changed(good(), "exp", json!(now() as f64 + 60.5)))),
            with(&client.sign(&changed(good(), "iat", json!(now() as f64 - 0.5)))),
            // A thumbprint is held against keys that have one.
            with(&client.sign_under(
                "x5t",
                json!("of a certificate that nobody registered"),
                &good(),
            )),
        ] {
            assert_granted(&server, &request, client.id);
        }
    }
    // A shared secret that was registered without a name has none that a `kid` could differ from.
    for kid in ["any", "partner-1", ""] {
        let request =
            with(&partner().sign_under("kid", json!(kid), &partner().claims(&server.url)));
        assert_granted(&server, &request, "partner");
    }
}

/// Scenario R3c: RFC 7521 section 4.2 lets `client_id` stand beside an assertion if it says the same.
pub(crate) fn a_client_may_name_itself_beside_its_assertion(program: &Program) {
    let server = program.start();
    for (client, other) in [(backend(program), "partner"), (partner(), "backend")] {
        let named = |id: &str| with_more(&client.good(&server), &format!("&client_id={id}"));
        assert_granted(&server, &named(client.id), client.id);
        let contradictory = named(other);
        server.send(&contradictory).assert_error(400, "invalid_request", &contradictory);
    }
}

pub(crate) fn an_assertion_brings_no_more_than_its_client_may_have(program: &Program) {
    let server = program.start();
    let (backend, partner) = (backend(program), partner());
    let request = with_more(&backend.good(&server), "&scope=profile%20orders%3Aread");
    assert_granted(&server, &request, "backend");
    let request = with_more(&partner.good(&server), "&scope=orders%3Aread");
    server.send(&request).assert_error(400, "invalid_scope", &request);
}

/// RFC 7523 section 3, `jti`; GHSA-v3q9-2p3m-7g43 and its like.
pub(crate) fn an_assertion_is_good_for_one_request(program: &Program) {
    let server = program.start();
    let refusal = refusal(&server);
    for client in [backend(program), partner()] {
        let request = with(&client.good(&server));
        assert_granted(&server, &request, client.id);
        for _ in 0..2 {
            assert_eq!(server.send(&request).visible(), refusal.visible(), "{request:?}");
        }
        // Used up too by a request that fails for another reason, once the client has authenticated.
        let wrong_password =
            Request::token(body(&ALICE.replace("wonderland", "wrong"), &client.good(&server)));
        server.send(&wrong_password).assert_error(400, "invalid_grant", &wrong_password);
        assert_eq!(server.send(&wrong_password).visible(), refusal.visible());
    }
}

/// To ask whether it was seen and to remember it must be one step.
pub(crate) fn of_fifty_identical_assertions_at_once_one_is_taken(program: &Program) {
    let server = program.start();
    let refusal = refusal(&server).visible();
    let request = with(&backend(program).good(&server));
    let (barrier, address) = (Barrier::new(50), server.address);
    let answers: Vec<Response> = thread::scope(|scope| {
        let ask = || {
            barrier.wait();
            request.send(address)
        };
        let asking: Vec<_> = (0..50).map(|_| scope.spawn(ask)).collect();
        asking.into_iter().map(|asked| asked.join().expect("an answer")).collect()
    });
    let (granted, refused): (Vec<_>, Vec<_>) =
        answers.iter().partition(|answer| answer.status == 200);
    assert_eq!(granted.len(), 1);
    for answer in refused {
        assert_eq!(answer.visible(), refusal);
    }
}

/// Both are registered for the token endpoint's URL as an audience, which deployed clients send, beside the issuer.
pub(crate) fn the_audience_is_the_issuer_or_the_token_endpoint(program: &Program) {
    let server = program.start();
    let refusal = refusal(&server);
    let endpoint = format!("{}/oauth/token", server.url);
    for client in [backend(program), partner()] {
        let meant_for =
            |audience: Value| with(&client.sign(&changed(client.claims(""), "aud", audience)));
        for audience in [json!(server.url), json!(endpoint), json!([endpoint])] {
            assert_granted(&server, &meant_for(audience), client.id);
        }
        for audience in [
            json!(""),
            json!([]),
            json!("https://id.example.com"),
            json!("http://demo.example"), // what the request calls the host
            json!("http://demo.example/oauth/token"),
            json!("/oauth/token"),
            json!(format!("{}/", server.url)),
            json!(format!("{endpoint}/")),
            json!(format!("{}/oauth/introspect", server.url)),
            json!(endpoint.to_uppercase()),
            json!([server.url, 7]),
        ] {
            let answer = server.send(&meant_for(audience.clone()));
            assert_eq!(answer.visible(), refusal.visible(), "{}: {audience}", client.id);
        }
    }
}

/// RFC 6749 section 2.3, one method a request. Scenario R2c is for clients that are registered for it, which the demo
/// has none of: `jwt_bearer`, and a header beside the assertion, even one that names the same client.
pub(crate) fn the_short_type_and_a_header_beside_are_refused(program: &Program) {
    let server = program.start();
    let backend = backend(program);
    let good = |more: &str| with_more(&backend.good(&server), more);
    let typed = |kind: &str| {
        let assertion = backend.good(&server);
        Request::token(format!(
            "{ALICE}&client_assertion_type={}&client_assertion={assertion}",
            encode(kind)
        ))
    };
    assert_granted(&server, &typed(URN), "backend");
    for request in [
        typed("jwt_bearer"),
        typed("urn:ietf:params:oauth:client-assertion-type:saml2-bearer"),
        typed(&URN.to_uppercase()),
        good("").basic("backend", ""),
        good("").basic("backend", "whatever"),
        good("").basic("web", "web-secret"),
        good("").bearer("whatever"),
        good("&client_secret=whatever"),
        good("&client_id=backend&client_secret=whatever"),
        good("&client_assertion=whatever"),
    ] {
        server.send(&request).assert_error(400, "invalid_request", &request);
    }
}

/// RFC 7523 section 3, and the incidents of others. Why an assertion failed, and whether there is such a client, is
/// nobody's business.
pub(crate) fn every_assertion_that_is_not_right_is_answered_with_the_same_bytes(program: &Program) {
    let server = program.start();
    let refusal = refusal(&server);
    let (backend, partner) = (backend(program), partner());
    let (good, now) = (|| partner.claims(&server.url), now());
    let but = |name: &str, value: Value| partner.sign(&changed(good(), name, value));
    let by_secret = |secret: &[u8]| Signer::shared("backend", secret).good(&server);
    let public = public_pem(&backend);
    let (own, key) =
        (backend.good(&server), DecodingKey::from_ec_pem(public.as_bytes()).expect("a public key"));
    let (signed, signature) = own.rsplit_once('.').expect("three segments");
    let verified =
        jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &key, Algorithm::ES256);
    assert!(verified.expect("a key for it"), "this is no public key of theirs");

    for (case, assertion) in [
        ("expired", backend.sign(&changed(backend.claims(&server.url), "exp", json!(now - 31)))),
        ("expired, by the shared secret", but("exp", json!(now - 31))),
        ("valid for more than an hour", but("exp", json!(now + 3_700))),
        ("issued in the future", but("iat", json!(now + 120))),
        ("not valid yet", but("nbf", json!(now + 120))),
        ("a time as text", but("exp", json!((now + 300).to_string()))),
        ("a negative time", but("exp", json!(-1))),
        ("an empty jti", but("jti", json!(""))),
        ("a jti that is a number", but("jti", json!(7))),
        ("no exp", partner.sign(&without(good(), "exp"))),
        ("no jti", partner.sign(&without(good(), "jti"))),
        ("no jti, by the private key", backend.sign(&without(backend.claims(&server.url), "jti"))),
        ("no aud", partner.sign(&without(good(), "aud"))),
        ("no iss", partner.sign(&without(good(), "iss"))),
        ("no sub", partner.sign(&without(good(), "sub"))),
        ("another's iss", but("iss", json!("backend"))),
        ("another's sub", but("sub", json!("backend"))),
        (
            "a client that does not exist",
            Signer::shared("nobody", PARTNER_SECRET.as_bytes()).good(&server),
        ),
        (
            "a client that sends its secret",
            Signer::shared("web", PARTNER_SECRET.as_bytes()).good(&server),
        ),
        ("a public client", Signer::shared("mobile", PARTNER_SECRET.as_bytes()).good(&server)),
        // CVE-2026-28802 and the like.
        ("none", format!("{}.", unsigned("none", &good()))),
        ("None", format!("{}.", unsigned("None", &good()))),
        ("none, signed", partner.sign_under("alg", json!("none"), &good())),
        ("no algorithm", partner.sign_under("alg", Value::Null, &good())),
        // CVE-2022-39174 and the like: a public key is no secret.
        ("HS256 with the public key", by_secret(public.as_bytes())),
        (
            "HS256 with the public key and a line before it",
            by_secret(format!("\n{public}").as_bytes()),
        ),
        ("HS256 with the public key trimmed", by_secret(public.trim().as_bytes())),
        (
            "HS256 with the public JWK",
            by_secret(json!(backend.public_jwk()).to_string().as_bytes()),
        ),
        ("HS384", partner.sign_by(Algorithm::HS384, &good())),
        (
            "a wrong secret",
            Signer::shared("partner", b"partner-secret-partner-secret-0124").good(&server),
        ),
        ("another's key", backend.sign(&good())),
        (
            "a key that it does not have",
            backend.sign_under("kid", json!("backend-2"), &backend.claims(&server.url)),
        ),
        ("a header that must be understood", partner.sign_under("crit", json!(["exp"]), &good())),
        ("the type of an access token", partner.sign_under("typ", json!("at+jwt"), &good())),
        ("an access token", token_with("profile", &server)),
        ("no signature", unsigned("HS256", &good())),
        ("no JWT", "canary".into()),
        ("dots", ".".repeat(4_000)),
        // What cannot be a JWT is answered as any that is none.
        ("padding", format!("{}=", partner.good(&server))),
        ("a signature cut short", partner.good(&server)[..own.len().min(120)].to_owned()),
        ("characters that no JWT has", "can%C3%A1ry".into()),
        ("a control character", format!("{}%00", partner.good(&server))),
        ("a long one", "c".repeat(8_193)),
        ("dots without end", ".".repeat(50_000)),
        ("a date that has just passed, by a fraction", but("exp", json!(now as f64 - 30.5))),
    ] {
        let request = with(&assertion);
        assert_eq!(server.send(&request).visible(), refusal.visible(), "{case}: {request:?}");
    }
    for request in [
        with(&partner.good(&server)).header("X-USER-IDENTITY-DOMAIN-NAME", "other"),
        // Nor does the secret itself, or the name alone, let such a client in.
        Request::token(ALICE).basic("partner", PARTNER_SECRET),
        Request::token(format!("{ALICE}&client_id=partner&client_secret={PARTNER_SECRET}")),
        Request::token(format!("{ALICE}&client_id=partner")),
        Request::token(format!("{ALICE}&client_id=backend")),
    ] {
        assert_eq!(server.send(&request).visible(), refusal.visible(), "{request:?}");
    }
    assert_granted(&server, &with(&partner.good(&server)), "partner");
}

/// One that was refused here may be taken elsewhere.
pub(crate) fn no_assertion_reaches_the_log(program: &Program) {
    let server = program.start_with(&[("RUST_LOG", "trace")]);
    let (partner, backend) = (partner(), backend(program));
    let (used, elsewhere) =
        (backend.good(&server), partner.sign(&partner.claims("https://other.example")));
    for (assertion, status) in [(&used, 200), (&used, 401), (&elsewhere, 401)] {
        assert_eq!(server.send(&with(assertion)).status, status);
    }
    let log = server.into_log();
    assert!(log.contains("password_grant"), "nothing is logged at all: {log}");
    for secret in [signature(&used), signature(&elsewhere), PARTNER_SECRET] {
        assert_eq!(log.lines().find(|line| line.contains(secret)), None, "{secret}");
    }
}

// --- Signing -----------------------------------------------------------------------------------------------------------

/// A client that signs; or somebody who says so.
struct Signer {
    id: &'static str,
    algorithm: Algorithm,
    key: EncodingKey,
    kid: Option<&'static str>,
}

fn backend(program: &Program) -> Signer {
    let pem = fs::read(program.keys.join("backend-es256.pem")).expect("the client's key");
    let key = EncodingKey::from_ec_pem(&pem).expect("a private key");
    Signer { id: "backend", algorithm: Algorithm::ES256, key, kid: Some("backend-1") }
}

fn partner() -> Signer {
    Signer::shared("partner", PARTNER_SECRET.as_bytes())
}

impl Signer {
    fn shared(id: &'static str, secret: &[u8]) -> Self {
        Self { id, algorithm: Algorithm::HS256, key: EncodingKey::from_secret(secret), kid: None }
    }

    /// Claims in which all is right, with an identifier that no other ones have.
    fn claims(&self, audience: &str) -> Value {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let (now, id) = (now(), format!("id-{}", NEXT.fetch_add(1, Ordering::SeqCst)));
        json!({ "iss": self.id, "sub": self.id, "aud": audience, "iat": now, "exp": now + 300, "jti": id })
    }

    /// An assertion in which all is right.
    fn good(&self, server: &Server) -> String {
        self.sign(&self.claims(&server.url))
    }

    fn sign(&self, claims: &Value) -> String {
        self.sign_with(&self.header(), self.algorithm, claims)
    }

    fn sign_by(&self, algorithm: Algorithm, claims: &Value) -> String {
        let header = changed(self.header(), "alg", json!(algorithm));
        self.sign_with(&header, algorithm, claims)
    }

    /// With another header member, as no library would let us.
    fn sign_under(&self, member: &str, value: Value, claims: &Value) -> String {
        self.sign_with(&changed(self.header(), member, value), self.algorithm, claims)
    }

    fn header(&self) -> Value {
        let header = json!({ "alg": self.algorithm });
        self.kid.map(|kid| changed(header.clone(), "kid", json!(kid))).unwrap_or(header)
    }

    fn sign_with(&self, header: &Value, algorithm: Algorithm, claims: &Value) -> String {
        let signed = format!("{}.{}", segment(header), segment(claims));
        let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &self.key, algorithm)
            .expect("a signature");
        format!("{signed}.{signature}")
    }

    fn public_jwk(&self) -> Jwk {
        Jwk::from_encoding_key(&self.key, self.algorithm).expect("a public key")
    }
}

fn segment(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn unsigned(algorithm: &str, claims: &Value) -> String {
    format!("{}.{}", segment(&json!({ "alg": algorithm })), segment(claims))
}

fn signature(assertion: &str) -> &str {
    assertion.rsplit('.').next().expect("a last segment")
}

fn changed(mut object: Value, name: &str, value: Value) -> Value {
    object[name] = value;
    object
}

fn without(mut object: Value, name: &str) -> Value {
    object.as_object_mut().expect("an object").remove(name);
    object
}

/// As `openssl pkey -pubout` writes it: what says that it is a key on P-256, and the point.
fn public_pem(signer: &Signer) -> String {
    const P256: [u8; 27] = [
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08,
        0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
    ];
    let jwk = json!(signer.public_jwk());
    let half = |name: &str| URL_SAFE_NO_PAD.decode(text(&jwk[name])).expect("base64url");
    let base64 = STANDARD.encode([&P256[..], &half("x"), &half("y")].concat());
    let (first, second) = base64.split_at(64);
    format!("-----BEGIN PUBLIC KEY-----\n{first}\n{second}\n-----END PUBLIC KEY-----\n")
}

// --- Sending -----------------------------------------------------------------------------------------------------------

/// Alice, by whomever the assertion is of.
fn with(assertion: &str) -> Request {
    with_more(assertion, "")
}

fn with_more(assertion: &str, more: &str) -> Request {
    Request::token(format!("{}{more}", body(ALICE, assertion)))
}

fn body(credentials: &str, assertion: &str) -> String {
    format!("{credentials}&client_assertion_type={}&client_assertion={assertion}", encode(URN))
}

fn assert_granted(server: &Server, request: &Request, client_id: &str) {
    let answer = server.send(request);
    assert_eq!(answer.status, 200, "{request:?}\n{answer:?}");
    let claims = super::token::verified(&text(&answer.json()["access_token"]), server);
    assert_eq!(
        (&claims["client_id"], &claims["sub"]),
        (&json!(client_id), &json!("user-1")),
        "{request:?}"
    );
}

/// What every client gets that did not authenticate.
fn refusal(server: &Server) -> Response {
    let refusal = server.send(&alice().without("Authorization").basic("nobody", "web-secret"));
    refusal.assert_error(401, "invalid_client", &"an unknown client");
    refusal
}
