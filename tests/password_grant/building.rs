//! Configurations that are refused when the engine is built, and engines that are shared.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use password_grant::testing::InMemoryClients;
use password_grant::{
    AccessToken, Authorization, BoxError, BuildError, Environment, HttpRequest, JwtIssuer,
    PasswordGrant, PasswordGrantBuilder, SigningKeys, TokenIssuer, async_trait,
};

use crate::common::fakes::NoRandomness;
use crate::common::{AUDIENCE, FORM, GOOD, ISSUER, Users, World, clients, segment};

/// Requirement 137.
#[tokio::test]
async fn without_randomness_no_engine_is_built() {
    for limited in [true, false] {
        let tokens = JwtIssuer::new(SigningKeys::generate().unwrap(), AUDIENCE);
        let builder = PasswordGrant::builder(ISSUER, clients(), Users::default(), tokens)
            .environment(&Environment::new().randomness(NoRandomness));
        let builder = if limited { builder } else { builder.dangerous_without_attempt_limits() };
        assert!(matches!(builder.build(), Err(BuildError::Randomness(_))));
    }
}

fn builder(issuer: &str) -> PasswordGrantBuilder {
    let tokens = JwtIssuer::new(SigningKeys::generate().unwrap(), AUDIENCE);
    PasswordGrant::builder(issuer, InMemoryClients::default(), Users::default(), tokens)
}

/// Requirement 123; RFC 8414 section 2.
#[test]
fn the_issuer_is_https_or_on_loopback() {
    for (issuer, fine) in [
        ("https://id.example.com", true),
        ("https://id.example.com/tenant/1", true),
        ("https://id.example.com:8443/", true),
        ("https://[2001:db8::1]:8443", true),
        ("http://localhost:8080", true),
        ("http://127.0.0.1", true),
        ("http://127.8.9.1:1", true),
        ("http://[::1]:8080", true),
        ("http://id.example.com", false),
        ("http://localhost.example.com", false),
        ("http://127.0.0.1.example.com", false),
        ("http://10.0.0.1", false),
        ("http://[::2]", false),
        ("http://localhost@evil.example.com", false),
        ("https://id.example.com?x=1", false),
        ("https://id.example.com#x", false),
        ("https://id.example.com/a b", false),
        ("https://id.example.com/\r\nx", false),
        ("https://user@id.example.com", false),
        ("https://", false),
        ("https:///path", false),
        ("http://[::1]evil.example.com", false),
        ("http://[::1].evil.example.com/x", false),
        ("http://localhost:x.evil.example.com", false),
        ("http://127.0.0.1:999999", false),
        ("https://[zz]", false),
        ("https://a:b:c", false),
        ("https://[::1%25eth0]", false),
        ("https://..", false),
        ("https://a..b", false),
        ("https://a%41.example.com", false),
        ("HTTPS://id.example.com", false),
        ("ftp://id.example.com", false),
        ("id.example.com", false),
        ("", false),
    ] {
        let built = builder(issuer).build();
        assert_eq!(built.is_ok(), fine, "{issuer}");
        assert!(fine || matches!(built, Err(BuildError::Url { .. })));
    }
    assert!(builder(ISSUER).token_endpoint("http://id.example.com/t").build().is_err());
    assert!(builder(ISSUER).jwks_uri("/jwks").build().is_err());
}

#[test]
fn a_configuration_that_cannot_work_is_refused_when_it_is_built() {
    assert!(matches!(
        builder(ISSUER).access_token_lifetime(Duration::ZERO).build(),
        Err(BuildError::Lifetime(_))
    ));
    assert!(matches!(
        builder(ISSUER).authentication_methods([]).build(),
        Err(BuildError::NoAuthenticationMethod)
    ));
    for member in [
        "issuer",
        "token_endpoint",
        "token_endpoint_auth_methods_supported",
        "grant_types_supported",
    ] {
        assert!(matches!(
            builder(ISSUER).metadata_member(member, "x").build(),
            Err(BuildError::MetadataMember(_))
        ));
    }
    assert!(
        builder(ISSUER)
            .metadata_member("service_documentation", "https://x.example")
            .build()
            .is_ok()
    );

    struct Unready;
    #[async_trait]
    impl TokenIssuer for Unready {
        async fn issue(&self, _: &Authorization<'_>) -> Result<AccessToken, BoxError> {
            Err("never".into())
        }
        fn check(&self) -> Result<(), BoxError> {
            Err("no key".into())
        }
    }
    let unready =
        PasswordGrant::builder(ISSUER, InMemoryClients::default(), Users::default(), Unready)
            .build();
    assert!(matches!(unready, Err(BuildError::TokenIssuer(_))));
}

#[tokio::test]
async fn an_engine_is_cheap_to_share_and_serves_in_parallel() {
    fn shareable<T: Clone + Send + Sync + 'static>(_: &T) {}
    let world = Arc::new(World::default());
    shareable(&world.grant);
    let tasks: Vec<_> = (0..64)
        .map(|_| {
            tokio::spawn({
                let world = world.clone();
                async move { world.post(GOOD).await.access_token() }
            })
        })
        .collect();
    let mut ids = HashSet::new();
    for task in tasks {
        ids.insert(segment(&task.await.unwrap(), 1)["jti"].as_str().unwrap().to_owned());
    }
    assert_eq!(ids.len(), 64);
}

#[test]
fn the_future_of_a_request_can_move_between_threads() {
    fn sendable<T: Send>(_: T) {}
    let world = World::default();
    let headers = [("content-type", FORM.as_bytes())];
    sendable(world.grant.token(HttpRequest::new("POST", None, headers, b"")));
}
