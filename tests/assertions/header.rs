//! The header of an assertion, and what is not a compact JWS (RFC 7515).

use serde_json::json;

use crate::support::{Forge, ask, claims, is_refused, world_of};

/// Requirements 46, 49, 50, 61, 62; incidents C15, C16, C17, C22.
#[tokio::test]
async fn an_assertion_is_refused_for_every_header_that_is_not_right() {
    let forge = Forge::new();
    let world = world_of(&forge.key().with_kid("backend-1"));
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
    // A key that comes with an assertion is never used: here a stranger signs, and sends the key
    // along.
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
        // The registered key has no thumbprint to compare these with.
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
    // The last character sets a bit that no byte has: another spelling of the same signature.
    let last = signature.chars().last().unwrap();
    let next =
        char::from_u32(u32::from(last) + 1).filter(char::is_ascii_alphanumeric).unwrap_or('B');
    let respelt = format!("{signed}.{}{next}", &signature[..signature.len() - 1]);
    assert_eq!(ask(&world, &respelt).await.status, 401);
    ask(&world, &good).await.is_granted();
}
