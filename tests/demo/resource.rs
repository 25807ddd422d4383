//! Protected resources: RFC 6750, and the validation of RFC 9068 section 4.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::sign;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use super::http::{Request, Response};
use super::server::Server;
use super::{AUDIENCE, Program, ZOE, alice, text, token_with};

const RESOURCES: [&str; 2] = ["/api/me", "/api/orders"];

pub(crate) fn a_valid_token_opens_the_protected_resources(program: &Program) {
    let server = program.start();
    let token = token_with("profile orders:read", &server);
    let me = server.send(&Request::get("/api/me").bearer(&token));
    assert_eq!((me.status, me.header("content-type")), (200, Some("application/json")), "{me:?}");
    assert_eq!(
        me.json(),
        json!({ "sub": "user-1", "client_id": "web", "scope": "profile orders:read" })
    );
    let orders = server.send(&Request::get("/api/orders").bearer(&token));
    assert_eq!(
        (orders.status, orders.header("content-type")),
        (200, Some("application/json")),
        "{orders:?}"
    );
    assert_eq!(orders.json()["sub"], "user-1");

    // RFC 9110 section 11.1: the scheme's case does not matter.
    // RFC 6750 section 2.1: one space or more behind it.
    for scheme in ["bearer", "BEARER", "Bearer ", "Bearer    "] {
        let answer = server
            .send(&Request::get("/api/me").header("Authorization", format!("{scheme} {token}")));
        assert_eq!(answer.status, 200, "{scheme}: {answer:?}");
    }
    // A resource that needs no scope is open to every client's tokens.
    let granted = server.send(&Request::token(format!("{ZOE}&client_id=mobile"))).json();
    let token = text(&granted["access_token"]);
    let me = server.send(&Request::get("/api/me").bearer(&token));
    assert_eq!(me.json(), json!({ "sub": "user-2", "client_id": "mobile", "scope": "profile" }));
}

/// RFC 6750 section 3.1: who has not tried is told how, and no error.
pub(crate) fn without_a_bearer_token_the_challenge_holds_no_error(program: &Program) {
    let server = program.start();
    let token = token_with("profile orders:read", &server);
    for resource in RESOURCES {
        for (case, request) in [
            ("nothing", Request::get(resource)),
            ("another scheme", Request::get(resource).basic("web", "web-secret")),
            (
                "the token under another scheme",
                Request::get(resource).header("Authorization", format!("Token {token}")),
            ),
            (
                "a scheme that begins alike",
                Request::get(resource).header("Authorization", "Bearertoken"),
            ),
            ("an empty header", Request::get(resource).header("Authorization", "")),
            // RFC 9700 section 4.3.2: URIs end up in logs and histories, so a token in one is never read.
            ("in the query", Request::get(&format!("{resource}?access_token={token}"))),
            (
                "in a cookie",
                Request::get(resource).header("Cookie", format!("access_token={token}")),
            ),
        ] {
            let answer = server.send(&request);
            assert_eq!(answer.status, 401, "{case}: {answer:?}");
            assert_eq!(challenge(&answer), [("realm".into(), server.url.clone())], "{case}");
            assert_eq!(answer.header("cache-control"), Some("no-store"), "{case}");
            assert_eq!(answer.body, b"", "{case}");
        }
    }
}

/// RFC 6750 section 3.1, `invalid_request`.
pub(crate) fn a_malformed_request_is_answered_400(program: &Program) {
    let server = program.start();
    let token = token_with("profile orders:read", &server);
    for resource in RESOURCES {
        let with = |header: String| Request::get(resource).header("Authorization", header);
        let query = |query: &str| Request::get(&format!("{resource}?{query}")).bearer(&token);
        for (case, request) in [
            ("no token", with("Bearer".into())),
            ("a space and a tab", with(format!("Bearer \t{token}"))),
            ("a tab", with(format!("Bearer\t{token}"))),
            ("two tokens", with(format!("Bearer {token} {token}"))),
            ("a comma", with(format!("Bearer {token}, {token}"))),
            ("a parameter", with(format!("Bearer token=\"{token}\""))),
            ("characters that no token has", with("Bearer to!ken".into())),
            ("not ASCII", with("Bearer tökén".into())),
            ("padding alone", with("Bearer ==".into())),
            ("padding inside", with("Bearer to=ken".into())),
            ("too long", with(format!("Bearer {}", "x".repeat(8193)))),
            ("two headers", Request::get(resource).bearer(&token).bearer(&token)),
            (
                "two headers, another scheme first",
                Request::get(resource).basic("web", "web-secret").bearer(&token),
            ),
            // RFC 6750 section 2: one method only.
            ("in the query too", query(&format!("access_token={token}"))),
            ("in the query too, escaped", query("%61ccess_token=x")),
        ] {
            assert_refused(&server, &request, 400, "invalid_request", &[], case);
        }
    }
}

/// RFC 6750 section 3.1, `invalid_token`.
pub(crate) fn a_token_that_is_not_valid_is_answered_401(program: &Program) {
    let server = program.start();
    let token = token_with("profile orders:read", &server);
    let parts: Vec<_> = token.split('.').collect();
    let [header, payload, signature] = *parts else { panic!("{token} is no compact JWS") };
    let decoded: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).expect("base64url")).expect("JSON");
    let mut richer = decoded.clone();
    richer["sub"] = "user-2".into();
    let richer = encode(&richer);
    let unsigned = encode(&json!({ "alg": "none", "typ": "at+jwt" }));

    // A public key is no secret: who lets the token choose the algorithm takes it for one (RFC 8725 section 2.1).
    let keys = server.send(&Request::get("/.well-known/jwks.json")).json();
    let public = URL_SAFE_NO_PAD.decode(text(&keys["keys"][0]["x"])).expect("base64url");
    let confused = format!(
        "{}.{payload}",
        encode(&json!({ "alg": "HS256", "typ": "at+jwt", "kid": keys["keys"][0]["kid"] }))
    );
    let mac = sign(confused.as_bytes(), &EncodingKey::from_secret(&public), Algorithm::HS256)
        .expect("a signature");

    let flipped = |text: &str, position: usize| {
        let other = if text.as_bytes()[position] == b'A' { "B" } else { "A" };
        format!("{}{other}{}", &text[..position], &text[position + 1..])
    };
    for (case, token) in [
        ("garbage", "garbage".to_owned()),
        ("dots", "..".into()),
        (
            "a signature changed at its start",
            format!("{header}.{payload}.{}", flipped(signature, 0)),
        ),
        ("a signature changed inside", format!("{header}.{payload}.{}", flipped(signature, 40))),
        ("a signature cut short", token[..token.len() - 1].to_owned()),
        ("a signature with more behind it", format!("{token}A")),
        ("a signature with padding", format!("{token}==")),
        ("another payload", format!("{header}.{richer}.{signature}")),
        ("another header", format!("{unsigned}.{payload}.{signature}")),
        ("no signature", format!("{header}.{payload}.")),
        ("no signature and no dot", format!("{header}.{payload}")),
        ("alg none", format!("{unsigned}.{payload}.")),
        ("alg none, no dot", format!("{unsigned}.{payload}")),
        ("the public key as a shared one", format!("{confused}.{mac}")),
        ("a fourth part", format!("{token}.{signature}")),
    ] {
        for resource in RESOURCES {
            assert_refused(
                &server,
                &Request::get(resource).bearer(&token),
                401,
                "invalid_token",
                &[],
                case,
            );
        }
    }
    assert_eq!(server.send(&Request::get("/api/me").bearer(&token)).status, 200);

    // The demo's instances share a signing key, but each has an issuer of its own.
    let other = program.start();
    assert_refused(
        &other,
        &Request::get("/api/me").bearer(&token),
        401,
        "invalid_token",
        &[],
        "another issuer",
    );
}

/// RFC 9068 section 4. The demo's key is known to everybody, so a check can sign what the server never would.
pub(crate) fn a_token_that_claims_something_else_is_answered_401(program: &Program) {
    let server = program.start();
    let pem = fs::read(program.keys.join("token-es256.pem")).expect("the demo's key");
    let key = EncodingKey::from_ec_pem(&pem).expect("a key");
    let kid = server.send(&Request::get("/.well-known/jwks.json")).json()["keys"][0]["kid"].clone();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs();
    let header = json!({ "alg": "ES256", "typ": "at+jwt", "kid": kid });
    let claims = json!({
        "iss": server.url,
        "sub": "user-1",
        "aud": AUDIENCE,
        "client_id": "web",
        "scope": "profile orders:read",
        "iat": now,
        "exp": now + 600,
        "jti": "made-by-a-check",
    });
    let made = |header: &Value, claims: &Value| {
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = sign(signed.as_bytes(), &key, Algorithm::ES256).expect("a signature");
        Request::get("/api/orders").bearer(&format!("{signed}.{signature}"))
    };
    let with = |object: &Value, name: &str, value: &Value| {
        let mut object = object.clone();
        match value {
            Value::Null => {
                object.as_object_mut().and_then(|members| members.remove(name)).map_or((), drop)
            }
            value => object[name] = value.clone(),
        }
        object
    };
    let absent = Value::Null;

    // So that what follows is refused for what differs, and for nothing else.
    for (name, value) in [
        ("aud", json!([AUDIENCE, "https://other.example.com"])),
        ("exp", json!(now + 1)),
        ("nbf", json!(now)),
        ("role", json!({ "unknown": ["claims", "are", "ignored"] })),
    ] {
        let answer = server.send(&made(&header, &with(&claims, name, &value)));
        assert_eq!(answer.status, 200, "{name}={value}: {answer:?}");
    }
    for (name, value) in
        [("typ", json!("application/at+jwt")), ("typ", json!("AT+JWT")), ("kid", absent.clone())]
    {
        let answer = server.send(&made(&with(&header, name, &value), &claims));
        assert_eq!(answer.status, 200, "{name}={value}: {answer:?}");
    }

    for (name, value) in [
        ("typ", absent.clone()),
        ("typ", json!("JWT")), // an ID token or a client assertion is no access token
        ("typ", json!("client-authentication+jwt")),
        ("typ", json!(1)),
        ("alg", json!("EdDSA")),
        ("alg", json!("ES384")),
        ("alg", json!("none")),
        ("alg", absent.clone()),
        ("kid", json!("unknown")),
        ("kid", json!(1)),
        ("crit", json!(["exp"])), // RFC 7515 section 4.1.11: what must be understood and is not
        ("b64", json!(false)),
        ("zip", json!("DEF")),
    ] {
        let request = made(&with(&header, name, &value), &claims);
        assert_refused(&server, &request, 401, "invalid_token", &[], &format!("{name}={value}"));
    }
    for (name, value) in [
        ("iss", json!("https://id.example.com")),
        ("iss", json!(format!("{}/", server.url))),
        ("iss", absent.clone()),
        ("aud", json!("https://other.example.com")),
        ("aud", json!(["https://other.example.com"])),
        ("aud", json!([])),
        ("aud", absent.clone()),
        ("exp", json!(now - 300)),
        ("exp", json!("9999999999")),
        ("exp", absent.clone()),
        ("iat", json!(now + 300)),
        ("iat", absent.clone()),
        ("nbf", json!(now + 300)),
        ("nbf", json!("now")),
        ("sub", absent.clone()),
        ("sub", json!(1)),
        ("client_id", absent.clone()),
        ("jti", absent.clone()),
        ("scope", json!(["profile", "orders:read"])),
        // RFC 7800: bound to a key that the caller has not shown it holds.
        ("cnf", json!({ "jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" })),
        ("cnf", json!({ "unknown": true })),
    ] {
        let request = made(&header, &with(&claims, name, &value));
        assert_refused(&server, &request, 401, "invalid_token", &[], &format!("{name}={value}"));
    }
}

/// RFC 6750 section 3.1, `insufficient_scope`: with the scope that is needed.
pub(crate) fn too_little_scope_is_answered_403_with_the_scope_that_is_needed(program: &Program) {
    let server = program.start();
    let token = text(&server.send(&alice()).json()["access_token"]);
    let request = Request::get("/api/orders").bearer(&token);
    assert_refused(
        &server,
        &request,
        403,
        "insufficient_scope",
        &[("scope", "orders:read")],
        "profile alone",
    );
    assert_eq!(server.send(&Request::get("/api/me").bearer(&token)).status, 200);
    let token = token_with("orders:read", &server);
    assert_eq!(server.send(&Request::get("/api/orders").bearer(&token)).status, 200);
}

/// RFC 6750 section 3: a challenge with the error; the same in the body, for people who look there.
#[track_caller]
fn assert_refused(
    server: &Server,
    request: &Request,
    status: u16,
    error: &str,
    more: &[(&str, &str)],
    case: &str,
) {
    let answer = server.send(request);
    assert_eq!(answer.status, status, "{case}: {request:?}\n{answer:?}");
    answer.assert_private_json(&case);
    let body = answer.json();
    assert_eq!(body["error"], error, "{case}");
    let description = text(&body["error_description"]);
    let mut expected =
        vec![("realm", &*server.url), ("error", error), ("error_description", &description)];
    expected.extend(more);
    let expected: Vec<_> =
        expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    assert_eq!(challenge(&answer), expected, "{case}");
}

/// The parameters of the one `Bearer` challenge (RFC 9110 section 11.6.1), in none of which anything had to be escaped.
pub(super) fn challenge(answer: &Response) -> Vec<(String, String)> {
    let header = answer.header("www-authenticate").expect("a challenge");
    let parameters =
        header.strip_prefix("Bearer ").and_then(|parameters| parameters.strip_suffix('"'));
    let pairs = parameters.expect("parameters").split("\", ").map(|parameter| {
        let (name, value) = parameter.split_once("=\"").expect("a name and a quoted string");
        assert!(!value.contains(['"', '\\']), "{header}");
        (name.to_owned(), value.to_owned())
    });
    pairs.collect()
}

fn encode(object: &Value) -> String {
    URL_SAFE_NO_PAD.encode(object.to_string())
}
