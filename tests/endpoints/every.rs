//! One adapter for all endpoints, and what an engine offers to routes in its own process.

use std::collections::BTreeMap;
use std::time::Duration;

use password_grant::event::AccessFault;
use password_grant::resource::VerifierError;
use password_grant::testing::InMemoryTokens;
use password_grant::token::OpaqueIssuer;
use password_grant::{
    Endpoint, Environment, HttpRequest, PasswordGrant, PasswordGrantBuilder, RequestContext,
};

use crate::common::sessions::Sessions;
use crate::common::{AUDIENCE, Answer, FORM, GOOD, ISSUER, Users, World, basic, clients};

fn with_all_endpoints(issuer: &str) -> PasswordGrantBuilder {
    let tokens = OpaqueIssuer::new(InMemoryTokens::new(), AUDIENCE);
    PasswordGrant::builder(issuer, clients(), Users::default(), tokens)
}

#[tokio::test]
async fn one_method_answers_every_endpoint_as_its_own_method_does() {
    let world = World::default();
    let authorization = basic("web", "web-secret");
    let headers = [("content-type", FORM.as_bytes()), ("authorization", authorization.as_bytes())];
    let ask = async |endpoint, method, body: &[u8]| {
        let request = HttpRequest::new(method, None, headers, body);
        Answer::from(world.grant.answer(endpoint, request).await)
    };
    ask(Endpoint::Token, "POST", GOOD.as_bytes()).await.is_granted();
    assert_eq!(ask(Endpoint::Revocation, "POST", b"token=unknown").await.body, "{}");
    let unknown = ask(Endpoint::Introspection, "POST", b"token=unknown").await;
    assert_eq!(unknown.body, "{\"active\":false}");
    for endpoint in [Endpoint::Token, Endpoint::Revocation, Endpoint::Introspection] {
        ask(endpoint, "GET", b"").await.is(405, "invalid_request");
    }
    for (endpoint, document) in
        [(Endpoint::Metadata, world.grant.metadata()), (Endpoint::Jwks, world.grant.jwks())]
    {
        let document = Answer::from(document);
        for method in ["GET", "HEAD"] {
            assert_eq!(ask(endpoint, method, b"").await, document, "{method}");
        }
        for method in ["POST", "OPTIONS", "get", "BREW"] {
            let refused = ask(endpoint, method, b"").await;
            assert_eq!((refused.status, &*refused.body), (405, ""), "{method}");
            assert_eq!(refused.header("allow"), Some("GET, HEAD"), "{method}");
        }
    }
}

#[test]
fn paths_are_those_of_the_urls_and_only_of_what_is_there() {
    let paths = |builder: PasswordGrantBuilder| -> BTreeMap<String, String> {
        let named = |(endpoint, path)| (format!("{endpoint:?}"), path);
        builder.build().unwrap().paths().map(named).collect()
    };
    let expect = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(name, path)| ((*name).into(), (*path).into())).collect()
    };
    const METADATA: &str = "/.well-known/oauth-authorization-server";
    assert_eq!(
        paths(with_all_endpoints(ISSUER)), // an opaque issuer has no keys
        expect(&[("Metadata", METADATA), ("Token", "/oauth/token")])
    );
    let shop = "https://id.example.com/shop/";
    assert_eq!(
        paths(
            with_all_endpoints(shop)
                .revocation_endpoint("https://id.example.com/shop/revoke")
                .introspection_endpoint("https://introspect.example.com:8443")
        ),
        expect(&[
            ("Metadata", &format!("{METADATA}/shop")), // RFC 8414 section 3.1
            ("Token", "/shop/oauth/token"),
            ("Revocation", "/shop/revoke"),
            ("Introspection", "/"),
        ])
    );
    let jwks =
        World::with(Users::default(), |builder| builder.token_endpoint("https://a.example/t"));
    let jwks: Vec<_> = jwks.grant.paths().collect();
    assert!(jwks.contains(&(Endpoint::Jwks, "/.well-known/jwks.json".into())), "{jwks:?}");
    assert!(jwks.contains(&(Endpoint::Token, "/t".into())), "{jwks:?}");
}

#[tokio::test]
async fn the_engines_verifier_has_all_it_needs_from_the_engine() {
    for issuer in [ISSUER, "https://id.example.com/"] {
        let sessions = Sessions::new();
        let grant = &sessions.world.grant;
        let verifier = grant.verifier(AUDIENCE).unwrap();
        let login = sessions.login("app").await;
        let token = verifier.verify(&login.access).await.unwrap();
        assert_eq!(token.subject, "user-1");
        assert_eq!(
            grant
                .verifier("https://other.example.com")
                .unwrap()
                .verify(&login.access)
                .await
                .unwrap_err(),
            AccessFault::Audience
        );
        assert_eq!(grant.verifier("").unwrap_err(), VerifierError::EmptyAudience);

        // Its clock is the engine's, and an expired token is told from somebody else's.
        sessions.advance(600 + 31);
        assert_eq!(verifier.verify(&login.access).await.unwrap_err(), AccessFault::Expired);
        let refused = sessions.world.events.last();
        assert!(refused.starts_with("access refused"), "its observer is the engine's: {refused}");
        let fresh = sessions.login("app").await;
        sessions.revoke("app", &fresh.access).await.is_granted();
        assert_eq!(verifier.verify(&fresh.access).await.unwrap_err(), AccessFault::Revoked);

        // Opaque tokens, and an issuer that ends in a slash.
        let environment = Environment::new().clock(sessions.world.clock.clone()).observer(());
        let opaque = with_all_endpoints(issuer).environment(&environment).build().unwrap();
        let verifier = opaque.verifier(AUDIENCE).unwrap();
        let world = World { grant: opaque, ..World::default() };
        let token = world.post(GOOD).await.access_token();
        assert_eq!(verifier.verify(&token).await.unwrap().issuer, issuer);
        assert_eq!(verifier.verify("unknown").await.unwrap_err(), AccessFault::NotOurs);
        sessions.world.clock.advance(Duration::from_secs(600 + 31));
        assert_eq!(verifier.verify(&token).await.unwrap_err(), AccessFault::Expired);
    }
}

#[tokio::test]
async fn a_log_out_ends_the_session_of_a_token_or_else_the_token() {
    let sessions = Sessions::new();
    let (grant, verifier) = (&sessions.world.grant, sessions.verifier());
    let context = RequestContext::new();
    let (mine, other) = (sessions.login("app").await, sessions.login("app").await);
    let token = verifier.verify(&mine.access).await.unwrap();
    grant.log_out(&token, &context).await.unwrap();
    assert_eq!(verifier.verify(&mine.access).await.unwrap_err(), AccessFault::Revoked);
    sessions.refresh("app", &mine.refresh).await.is(400, "invalid_grant");
    verifier.verify(&other.access).await.unwrap();
    grant.log_out(&token, &context).await.unwrap(); // a second time, nothing changes

    // A token without a session: the client may not refresh.
    let (alone, untouched) =
        (sessions.ask("plain", GOOD).await.access_token(), sessions.ask("plain", GOOD).await);
    let token = verifier.verify(&alone).await.unwrap();
    assert_eq!(token.session_id, None);
    grant.log_out(&token, &context).await.unwrap();
    let told = sessions.world.events.last();
    assert!(told.contains("of client \"plain\" revoked") && told.contains("user-1"), "{told}");
    assert_eq!(verifier.verify(&alone).await.unwrap_err(), AccessFault::Revoked);
    assert!(!sessions.is_active(&alone).await);
    verifier.verify(&untouched.access_token()).await.unwrap();

    // Another engine's token says nothing about a session here.
    let foreign = World::with(Users::default(), |builder| builder);
    let elsewhere = with_all_endpoints("https://other.example.com").build().unwrap();
    let own = foreign.post(GOOD).await.access_token();
    let token = foreign.grant.verifier(AUDIENCE).unwrap().verify(&own).await.unwrap();
    let error = elsewhere.log_out(&token, &context).await.unwrap_err();
    assert!(error.to_string().contains("another issuer"), "{error}");
}
