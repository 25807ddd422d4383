//! Granted requests: RFC 6749 sections 4.3.2 and 5.1, and the token by RFC 9068.

use std::collections::BTreeSet;
use std::process::Command;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Value, json};

use super::http::{Request, Response, basic};
use super::server::Server;
use super::{ALICE, AUDIENCE, Program, alice, text, token_with};

const TENANT: &str = "X-USER-IDENTITY-DOMAIN-NAME";

/// Scenario R1, as deployed clients send it.
pub(crate) fn basic_credentials_with_a_tenant_and_a_charset_get_a_token(program: &Program) {
    let request = Request::new("POST", "/oauth/token")
        .header("Authorization", "Basic d2ViOndlYi1zZWNyZXQ=")
        .header("Content-Type", "application/x-www-form-urlencoded;charset=UTF-8")
        .header(TENANT, "demo")
        .body(
            "grant_type=password&username=alice&password=wonderland&scope=profile%20orders%3Aread",
        );
    assert_granted(&program.start().send(&request), "profile orders:read");
}

/// Scenario R3a.
pub(crate) fn the_tenant_header_may_be_absent(program: &Program) {
    assert_granted(&program.start().send(&alice()), "profile");
}

/// Scenario R3d: `client_id` in the body, no secret (RFC 6749 section 3.2.1).
pub(crate) fn a_public_client_names_itself_in_the_body(program: &Program) {
    assert_granted(
        &program.start().send(&Request::token(format!("{ALICE}&client_id=mobile"))),
        "profile",
    );
}

/// RFC 6749 section 5.1: the members, and the two headers that keep the answer out of caches.
fn assert_granted(answer: &Response, scope: &str) {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.assert_headers(&[
        ("content-type", "application/json"),
        ("cache-control", "no-store"),
        ("pragma", "no-cache"),
    ]);
    let body = answer.json();
    let token = text(&body["access_token"]);
    assert_eq!(
        body,
        json!({ "access_token": token, "token_type": "Bearer", "expires_in": 600, "scope": scope })
    );
}

/// RFC 9068 section 2, read by another implementation with the keys that are served.
pub(crate) fn the_token_is_a_signed_jwt_with_the_claims_of_rfc_9068(program: &Program) {
    let server = program.start();
    let before = now();
    let token = token_with("profile orders:read", &server);
    let after = now();

    let header = decode_header(&token).expect("a header");
    assert_eq!(header.typ.as_deref(), Some("at+jwt"));
    assert_eq!(header.alg, Algorithm::ES256);

    let claims = verified(&token, &server);
    let (issued_at, id) = (claims["iat"].as_u64().expect("a number"), text(&claims["jti"]));
    assert!((before..=after).contains(&issued_at), "{issued_at} is not the time of the request");
    assert!(id.len() >= 22, "{id} has fewer than 128 bits");
    let expected = json!({
        "iss": server.url,
        "sub": "user-1", // the immutable identifier, not the name that was typed
        "aud": AUDIENCE,
        "client_id": "web",
        "scope": "profile orders:read",
        "iat": issued_at,
        "exp": issued_at + 600,
        "jti": id,
        "login_epoch": 0, // nobody was logged out everywhere yet
    });
    assert_eq!(claims, expected);
}

/// The claims, after the signature has been verified with the served key that the token names.
pub(super) fn verified(token: &str, server: &Server) -> Value {
    let keys: JwkSet =
        serde_json::from_slice(&server.send(&Request::get("/.well-known/jwks.json")).body)
            .expect("a key set");
    let kid = decode_header(token).expect("a header").kid.expect("a kid");
    let key = DecodingKey::from_jwk(keys.find(&kid).expect("the key is served")).expect("a key");
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_audience(&[AUDIENCE]);
    decode::<Value>(token, &key, &validation).expect("a valid token").claims
}

pub(crate) fn every_token_has_an_identifier_of_its_own(program: &Program) {
    let server = program.start();
    let identifiers: BTreeSet<_> =
        (0..3).map(|_| text(&verified(&token_with("profile", &server), &server)["jti"])).collect();
    assert_eq!(identifiers.len(), 3);
}

/// Correct logins are not failures, however many there are of one user.
pub(crate) fn fifty_logins_of_one_user_at_once_all_succeed(program: &Program) {
    let server = program.start();
    let address = server.address;
    let logins: Vec<_> = (0..50).map(|_| thread::spawn(move || alice().send(address))).collect();
    for login in logins {
        let answer = login.join().expect("an answer");
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

/// RFC 6749 section 10.3 wants tokens kept confidential in storage, and a log is one; so with all that is secret.
pub(crate) fn no_secret_reaches_the_log(program: &Program) {
    let server = program.start_with(&[("RUST_LOG", "trace")]);
    let token = token_with("profile", &server);
    let post = format!("{ALICE}&client_id=web&client_secret=web-secret");
    let wrong_password = ALICE.replace("wonderland", "Wonderwall");
    for (request, status) in [
        (Request::token(post), 200),
        (alice().body(wrong_password), 400),
        (Request::token(ALICE).basic("web", "Web-Secret"), 401),
        (alice().target("/oauth/token?password=wonderland"), 400),
        (alice().body(format!("{ALICE}&password=wonderland")), 400),
        (Request::get("/api/me").bearer(&token), 200),
        (Request::get("/api/orders").bearer(&token), 403),
        (Request::get("/api/me").bearer("garbage-token"), 401),
    ] {
        let answer = server.send(&request);
        assert_eq!(answer.status, status, "{request:?}\n{answer:?}");
    }
    let log = server.into_log();
    assert!(log.contains("password_grant"), "nothing is logged at all: {log}");
    let (basic, wrong_basic) = (basic("web:web-secret"), basic("web:Web-Secret"));
    for secret in [
        "wonderland",
        "Wonderwall",
        "web-secret",
        "Web-Secret",
        &basic[6..],
        &wrong_basic[6..],
        &token,
        "garbage-token",
    ] {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret:?} is in the log");
    }
}

/// What everybody tries first. Passed over where there is no curl.
pub(crate) fn curl_gets_a_token(program: &Program) {
    if Command::new("curl").arg("--version").output().is_err() {
        println!("passed over: there is no curl on this machine");
        return;
    }
    let server = program.start();
    let arguments = [
        "--silent",
        "--show-error",
        "--noproxy",
        "*",
        "-u",
        "web:web-secret",
        "-d",
        "grant_type=password",
        "-d",
        "username=alice",
        "-d",
        "password=wonderland",
        "--write-out",
        "\n%{http_code} %{content_type}",
    ];
    let output =
        Command::new("curl").args(arguments).arg(format!("{}/oauth/token", server.url)).output();
    let output = output.expect("curl runs");
    let stdout = String::from_utf8(output.stdout).expect("text");
    let (body, seen) = stdout.rsplit_once('\n').expect("a body and a line");
    assert_eq!(
        seen,
        "200 application/json",
        "{stdout} {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let body: Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(verified(&text(&body["access_token"]), &server)["sub"], "user-1");
}

pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs()
}
