//! The claims of an assertion (RFC 7523 section 3).

use std::time::Duration;

use password_grant::ClientAuthentication;
use serde_json::{Value, json};

use crate::common::{GOOD, ISSUER, Users, World, noon};
use crate::support::{
    Forge, TOKEN_ENDPOINT, ask, claims, claims_with, claims_without, client, is_refused, set,
    world_of,
};

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
    // All refusals have the same bytes, and so has that of a client that does not exist.
    let refusal = ask(&world, &forge.claims(&claims_without("jti"))).await;
    let stranger = claims_with("sub", "stranger");
    assert_eq!(ask(&world, &forge.claims(&stranger)).await, refusal);
    assert_eq!(world.send(&[], &format!("{GOOD}&client_id=stranger")).await, refusal);
    ask(&world, &forge.claims(&claims())).await.is_granted();
}

/// The skew of 30 s comes on top, as it does with the hour.
#[tokio::test]
async fn a_host_can_shorten_the_hour_but_not_lengthen_it() {
    let forge = Forge::new();
    let now = noon().unix_seconds();
    for (minutes, longest) in [(5, 330), (60, 3_630), (90, 3_630)] {
        let world = World::with(Users::default(), |builder| {
            builder.max_assertion_lifetime(Duration::from_secs(60 * minutes))
        });
        let keys = ClientAuthentication::private_key_jwt(&set(forge.key().public_jwk())).unwrap();
        world.clients.insert(client("backend", keys));
        let longer = claims_with("exp", now + longest + 1);
        is_refused(&ask(&world, &forge.claims(&longer)).await, &world, "AssertionTime", &minutes);
        let allowed = claims_with("exp", now + longest);
        ask(&world, &forge.claims(&allowed)).await.is_granted();
    }
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

/// RFC 8725 and incident C19: a repeated claim, or JSON that is not strict, is refused.
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
