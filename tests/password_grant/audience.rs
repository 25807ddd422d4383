//! The audience that a client asks for (RFC 8707).

use std::sync::Arc;

use password_grant::testing::InMemoryTokens;
use password_grant::token::OpaqueIssuer;
use password_grant::{
    AccessToken, Client, Environment, Grant, HttpRequest, PasswordGrant, TokenIssuer,
};
use serde_json::{Value, json};

use crate::common::{AUDIENCE, FORM, GOOD, ISSUER, Users, World, clients};
use crate::support::{Tokens, scope};

#[tokio::test]
async fn the_audience_is_the_registered_one_that_was_asked_for() {
    let world = World::default();
    let client = Client::public("app").grants([Grant::Password]).scope(scope("profile"));
    world.clients.insert(client.audiences(["https://a.example.com", "https://b.example.com"]));
    for (asked, audience) in [
        ("", json!("https://a.example.com")),
        ("&audience=https://b.example.com", json!("https://b.example.com")),
        (
            "&resource=https://b.example.com&resource=https://b.example.com",
            json!("https://b.example.com"),
        ),
        (
            "&resource=https://b.example.com&audience=https://a.example.com",
            json!(["https://b.example.com", "https://a.example.com"]),
        ),
        ("&resource=https://c.example.com", Value::Null),
        ("&resource=https://a.example.com&resource=https://c.example.com", Value::Null),
        ("&resource=https://a.example.com/", Value::Null),
    ] {
        let answer = world.send(&[], &format!("{GOOD}&client_id=app{asked}")).await;
        if audience.is_null() {
            answer.is(400, "invalid_target");
        } else {
            assert_eq!(answer.claims()["aud"], audience, "{asked}");
        }
    }
    assert_eq!(
        world.post(GOOD).await.claims()["aud"],
        AUDIENCE,
        "the issuer's own, where none is registered"
    );
}

/// A client may ask for the audience that it gets anyway.
#[tokio::test]
async fn the_audience_that_a_token_has_anyway_may_be_named() {
    let world = World::default();
    for (asked, granted) in [
        (format!("&audience={AUDIENCE}"), true),
        (format!("&resource={AUDIENCE}"), true),
        (format!("&resource={AUDIENCE}&audience={AUDIENCE}"), true),
        (format!("&resource=&audience={AUDIENCE}"), true),
        (format!("&audience={AUDIENCE}/"), false),
        (format!("&audience={}", AUDIENCE.to_uppercase()), false),
        (format!("&audience={AUDIENCE}&resource=https://other.example.com"), false),
        (format!("&audience={ISSUER}"), false),
    ] {
        let answer = world.post(&format!("{GOOD}{asked}")).await;
        if granted {
            assert_eq!(answer.claims()["aud"], AUDIENCE, "{asked}");
        } else {
            answer.is(400, "invalid_target");
        }
    }
    // A client that is registered for other audiences does not get this one anyway.
    let client = Client::public("app").grants([Grant::Password]).scope(scope("profile"));
    world.clients.insert(client.audiences(["https://a.example.com"]));
    world
        .send(&[], &format!("{GOOD}&client_id=app&audience={AUDIENCE}"))
        .await
        .is(400, "invalid_target");
    // Opaque tokens have an audience too. An issuer of the host that names none has none.
    let silent = Tokens(|_| Ok(AccessToken::new("token")?));
    let opaque: Arc<dyn TokenIssuer> = Arc::new(OpaqueIssuer::new(InMemoryTokens::new(), AUDIENCE));
    for (issuer, status) in [(opaque, 200), (Arc::new(silent), 400)] {
        let builder = PasswordGrant::builder(ISSUER, clients(), Users::default(), issuer);
        let grant = builder.environment(&Environment::new().observer(())).build().unwrap();
        let form = format!("{GOOD}&client_id=mobile&resource={AUDIENCE}");
        let request =
            HttpRequest::new("POST", None, [("content-type", FORM.as_bytes())], form.as_bytes());
        assert_eq!(grant.token(request).await.status(), status);
    }
}
