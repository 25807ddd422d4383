//! The two documents: RFC 8414 and RFC 7517.

use std::collections::BTreeSet;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::http::Request;
use super::resource::challenge;
use super::server::Server;
use super::{ALICE, Program, alice, text};

const METADATA: &str = "/.well-known/oauth-authorization-server";
const KEYS: &str = "/.well-known/jwks.json";

/// RFC 8414 sections 2 and 3.2.
pub(crate) fn the_metadata_says_what_the_server_can_do_and_nothing_else(program: &Program) {
    let server = program.start();
    let metadata = document(&server, &Request::get(METADATA));
    let methods = [
        "client_secret_basic",
        "client_secret_post",
        "private_key_jwt",
        "client_secret_jwt",
        "none",
    ];
    let algorithms = [
        "EdDSA", "Ed25519", "ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384",
        "PS512", "HS256", "HS384", "HS512",
    ];
    let expected = json!({
        "issuer": server.url,
        "token_endpoint": format!("{}/oauth/token", server.url),
        "jwks_uri": format!("{}{KEYS}", server.url),
        "scopes_supported": ["profile", "orders:read", "offline_access"],
        "response_types_supported": [], // required, though there is no authorization endpoint
        "grant_types_supported": ["password", "refresh_token"],
        "token_endpoint_auth_methods_supported": methods,
        "token_endpoint_auth_signing_alg_values_supported": algorithms,
        "revocation_endpoint": format!("{}/oauth/revoke", server.url),
        "revocation_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_signing_alg_values_supported": algorithms,
        "introspection_endpoint": format!("{}/oauth/introspect", server.url),
        "introspection_endpoint_auth_methods_supported": methods[..4],
        "introspection_endpoint_auth_signing_alg_values_supported": algorithms,
    });
    assert_eq!(metadata, expected);

    for (name, value) in metadata.as_object().expect("an object") {
        if name.ends_with("_endpoint") || name == "jwks_uri" {
            let url = text(value);
            let answer =
                server.send(&Request::get(url.strip_prefix(&server.url).expect("an URL of ours")));
            assert_ne!(answer.status, 404, "{name}");
        }
    }
    let unknown = server.send(&Request::get("/.well-known/unknown"));
    assert_eq!(unknown.status, 404, "the check above would pass for anything");
}

/// RFC 7517 section 5; RFC 7518 section 6.2.1 for the members of an EC key.
pub(crate) fn the_key_set_holds_public_keys_only(program: &Program) {
    let server = program.start();
    let set = document(&server, &Request::get(KEYS));
    let keys = set["keys"].as_array().expect("keys");
    assert_eq!(set.as_object().expect("an object").len(), 1);
    assert_eq!(keys.len(), 1);
    for key in keys {
        let members: BTreeSet<_> =
            key.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(members, BTreeSet::from(["alg", "crv", "kid", "kty", "use", "x", "y"]));
        let fixed = [("kty", "EC"), ("crv", "P-256"), ("alg", "ES256"), ("use", "sig")];
        for (name, value) in fixed {
            assert_eq!(key[name], value, "{name}");
        }
        assert_ne!(text(&key["kid"]), "");
    }
    // From the shared key file, so that instances accept each other's keys.
    assert_eq!(document(&program.start(), &Request::get(KEYS)), set);
}

/// RFC 8414 section 3.3: identical, to the last slash.
pub(crate) fn the_issuer_is_the_configured_one_wherever_it_shows(program: &Program) {
    for (issuer, base) in [
        ("https://id.example.com/shop", "https://id.example.com/shop"),
        ("https://id.example.com/", "https://id.example.com"),
        ("http://localhost:1234", "http://localhost:1234"),
    ] {
        let server = program.start_with(&[("ISSUER", issuer)]);
        let metadata = document(&server, &Request::get(METADATA));
        assert_eq!(metadata["issuer"], issuer);
        assert_eq!(metadata["token_endpoint"], format!("{base}/oauth/token"));
        assert_eq!(metadata["jwks_uri"], format!("{base}{KEYS}"));

        let token = text(&server.send(&alice()).json()["access_token"]);
        assert_eq!(super::token::verified(&token, &server)["iss"], issuer);
        assert_eq!(server.send(&Request::get("/api/me").bearer(&token)).status, 200, "{issuer}");

        let refused = server.send(&Request::token(ALICE));
        assert_eq!(refused.header("www-authenticate"), Some(&*format!("Basic realm=\"{issuer}\"")));
        let refused = server.send(&Request::get("/api/me"));
        assert_eq!(challenge(&refused), [("realm".into(), issuer.into())]);
    }
}

/// Whoever sends a request would decide otherwise who the issuer is.
pub(crate) fn no_document_believes_the_host_header(program: &Program) {
    let server = program.start();
    let misled = |request: Request| {
        let request =
            request.header("Host", "canary.example").header("X-Forwarded-Host", "canary.example");
        request
            .header("X-Forwarded-Proto", "https")
            .header("Forwarded", "host=canary.example;proto=https")
    };
    assert_eq!(document(&server, &misled(Request::get(METADATA)))["issuer"], server.url.as_str());
    let answer = server.send(&misled(alice()));
    let claims = super::token::verified(&text(&answer.json()["access_token"]), &server);
    assert_eq!(claims["iss"], server.url.as_str());
    for request in
        [Request::token(ALICE), Request::get("/api/me"), Request::get("/.well-known/jwks.json")]
    {
        let answer = server.send(&misled(request));
        assert!(!format!("{answer:?}").contains("canary"), "{answer:?}");
    }
}

/// The page loads nothing from elsewhere, and its policy allows the script and the style that are in it.
pub(crate) fn the_page_is_one_file_under_a_strict_policy(program: &Program) {
    let server = program.start();
    let page = server.send(&Request::get("/"));
    let html = String::from_utf8(page.body.clone()).expect("UTF-8");
    assert_eq!(html, include_str!("../../examples/demo/page.html"));
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{policy}");
    for tag in ["style", "script"] {
        let (_, rest) = html.split_once(&format!("<{tag}>")).expect("one");
        let (content, rest) = rest.split_once(&format!("</{tag}>")).expect("its end");
        assert!(!rest.contains(&format!("<{tag}")), "one {tag}");
        let digest = STANDARD.encode(digest(&SHA256, content.as_bytes()));
        assert!(policy.contains(&format!("{tag}-src 'sha256-{digest}'")), "{tag}: {digest}");
    }
    for outside in ["//", "src=", "href=", "url(", "@import"] {
        let found = html
            .lines()
            .find(|line| line.contains(outside) && !line.trim_start().starts_with("//"));
        assert_eq!(found, None, "{outside}");
    }
}

fn document(server: &Server, request: &Request) -> Value {
    let answer = server.send(request);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"), "{answer:?}");
    answer.json()
}
