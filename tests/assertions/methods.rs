//! One authentication method a request, and registrations that allow more than the default.

use std::net::IpAddr;

use password_grant::assertion::AssertionCompatibility;
use password_grant::{ClientAuthentication, HttpRequest, RequestContext};
use serde_json::json;

use crate::common::{Answer, FORM, GOOD, ISSUER, JWT_BEARER, World, basic, noon};
use crate::support::{
    Forge, TOKEN_ENDPOINT, ask, claims, claims_with, claims_without, client, is_refused, set, with,
    world_of, world_with,
};

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
        ("no assertion", &[], format!("{GOOD}&client_assertion_type={JWT_BEARER}")),
        (
            "an empty assertion",
            &[],
            format!("{GOOD}&client_assertion_type={JWT_BEARER}&client_assertion="),
        ),
        ("the alias", &[], typed("jwt_bearer")),
        ("another alias", &[], typed("JWT_BEARER")),
        ("SAML", &[], typed("urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Asaml2-bearer")),
        ("a type with more behind it", &[], typed(&format!("{JWT_BEARER}2"))),
        ("a type in capitals", &[], typed(&JWT_BEARER.to_uppercase())),
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

/// These deviations are off unless the client is registered for them.
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
    world.send(&[], &typed(JWT_BEARER)).await.is_granted();
    world
        .send(&[("authorization", &basic("backend", ""))], &typed(JWT_BEARER))
        .await
        .is(400, "invalid_request");

    let world = registered(&[BasicAlongside]);
    for header in [basic("backend", ""), basic("backend", "whatever")] {
        world.send(&[("authorization", &header)], &typed(JWT_BEARER)).await.is_granted();
    }
    for header in [basic("web", "web-secret"), "Basic !".to_owned(), "Bearer x".to_owned()] {
        world
            .send(&[("authorization", &header)], &typed(JWT_BEARER))
            .await
            .is(400, "invalid_request");
    }
    world.send(&[], &typed("jwt_bearer")).await.is(400, "invalid_request");
    // The Basic header beside an assertion proves nothing.
    let invalid = forge.claims(&claims_without("jti"));
    let answer = world.send(&[("authorization", &basic("backend", "x"))], &with(&invalid)).await;
    is_refused(&answer, &world, "AssertionId", &"beside");
    let secret_too = typed(JWT_BEARER) + "&client_secret=x";
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
        // Requirement 52: the deviation is explicit, and it is logged.
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

/// Incident C10: the expected audience is configured, and never taken from the Host header.
#[tokio::test]
async fn the_host_header_is_nobodys_audience() {
    let forge = Forge::new();
    let world =
        world_with(&forge.key(), |a| a.compatibility([AssertionCompatibility::EndpointAudience]));
    let assertion = forge.claims(&claims_with("aud", "https://evil.example/oauth/token"));
    let answer = world.send(&[("host", "evil.example")], &with(&assertion)).await;
    is_refused(&answer, &world, "AssertionAudience", &"host");
}

/// Requirement 43: the assertion is right in every respect, but its client is disabled or expired.
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

/// Requirement 41: failed assertions count against the client's limit.
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
