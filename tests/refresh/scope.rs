//! Scope and audience of a refresh: at most what the login was granted, and what the client may
//! still have.

use password_grant::{Client, ClientSecret, Grant};

use crate::common::sessions::{OFFLINE, Pair, Sessions, refreshing};
use crate::common::{AUDIENCE, noon};

/// Requirement 109.
#[tokio::test]
async fn a_refresh_gets_at_most_the_scope_of_its_family_and_leaves_that_whole() {
    let sessions = Sessions::new();
    let mut pair = sessions.login("app").await;
    let with = |pair: &Pair, scope: &str| format!("{}&scope={scope}", refreshing(&pair.refresh));
    for wider in ["profile+orders:read", "orders:read", "unheard-of", "profile++offline_access"] {
        sessions.ask("app", &with(&pair, wider)).await.is(400, "invalid_scope");
    }
    for (asked, granted) in
        [("profile", "profile"), ("offline_access+profile", "offline_access profile")]
    {
        let answer = sessions.ask("app", &with(&pair, asked)).await;
        assert_eq!(answer.json()["scope"], granted);
        assert_eq!(answer.claims()["scope"], granted);
        pair = Pair::of(&answer);
    }
    let answer = sessions.refresh("app", &pair.refresh).await;
    assert_eq!(answer.json()["scope"], "profile offline_access", "none asked is all of it");
}

#[tokio::test]
async fn a_refresh_gets_no_other_audience_than_its_login() {
    let sessions = Sessions::new();
    let audiences = ["https://a.example.com", "https://b.example.com", "https://c.example.com"];
    let register = |audiences: &[&'static str]| {
        let client = Client::confidential("shop", ClientSecret::digest_of("shop-secret"));
        let client = client
            .grants([Grant::Password, Grant::RefreshToken])
            .scope("offline_access".parse().unwrap());
        sessions.world.clients.insert(client.audiences(audiences.iter().copied()));
    };
    register(&audiences);
    let login = "grant_type=password&username=alice&password=wonderland&scope=offline_access";
    let form = format!("{login}&resource=https://a.example.com&resource=https://b.example.com");
    let mut pair = Pair::of(&sessions.ask("shop", &form).await);
    sessions
        .ask("shop", &format!("{}&resource=https://c.example.com", refreshing(&pair.refresh)))
        .await
        .is(400, "invalid_target");
    for (asked, audience) in [
        ("&resource=https://b.example.com", serde_json::json!("https://b.example.com")),
        ("", serde_json::json!(["https://a.example.com", "https://b.example.com"])),
    ] {
        let answer = sessions.ask("shop", &format!("{}{asked}", refreshing(&pair.refresh))).await;
        assert_eq!(answer.claims()["aud"], audience);
        pair = Pair::of(&answer);
    }
    // A session whose tokens were for the issuer's own audience, of a client that is now registered
    // for others only.
    register(&[]);
    let default = Pair::of(&sessions.ask("shop", login).await);
    register(&audiences[1..]);
    sessions.refresh("shop", &default.refresh).await.is(400, "invalid_target");
    let named = format!("{}&audience={AUDIENCE}", refreshing(&default.refresh));
    // It would not get this one anyway.
    sessions.ask("shop", &named).await.is(400, "invalid_target");
    sessions.refresh("shop", &pair.refresh).await.is(400, "invalid_target");
    let answer = sessions
        .ask("shop", &format!("{}&resource=https://b.example.com", refreshing(&pair.refresh)))
        .await;
    assert_eq!(answer.claims()["aud"], "https://b.example.com");
}

/// At a refresh too, a client may name the audience that its token has anyway.
#[tokio::test]
async fn a_refresh_may_name_the_audience_that_its_token_has_anyway() {
    let sessions = Sessions::new();
    let login = format!("{OFFLINE}&resource={AUDIENCE}");
    let mut pair = Pair::of(&sessions.ask("app", &login).await);
    for name in ["audience", "resource"] {
        let answer =
            sessions.ask("app", &format!("{}&{name}={AUDIENCE}", refreshing(&pair.refresh))).await;
        assert_eq!(answer.claims()["aud"], AUDIENCE);
        pair = Pair::of(&answer);
    }
    for other in [
        "https://other.example.com".to_owned(),
        format!("{AUDIENCE}/"),
        format!("{AUDIENCE}&audience=x"),
    ] {
        let form = format!("{}&audience={other}", refreshing(&pair.refresh));
        sessions.ask("app", &form).await.is(400, "invalid_target");
    }
    sessions.refresh("app", &pair.refresh).await.is_granted();
}

/// Requirement 111.
#[tokio::test]
async fn what_a_client_may_no_longer_have_it_gets_by_no_refresh() {
    let sessions = Sessions::new();
    let pair = sessions.login("app").await;
    let app = || Client::confidential("app", ClientSecret::digest_of("app-secret"));
    let both = [Grant::Password, Grant::RefreshToken];
    for (client, status, error) in [
        (
            app().grants([Grant::Password]).scope("profile offline_access".parse().unwrap()),
            400,
            "unauthorized_client",
        ),
        (
            app().grants(both).scope("orders:read offline_access".parse().unwrap()),
            400,
            "invalid_scope",
        ),
        (
            app().grants(both).scope("profile offline_access".parse().unwrap()).disabled(),
            401,
            "invalid_client",
        ),
        (
            app().grants(both).scope("profile offline_access".parse().unwrap()).expires_at(noon()),
            401,
            "invalid_client",
        ),
    ] {
        sessions.world.clients.insert(client);
        sessions.refresh("app", &pair.refresh).await.is(status, error);
    }
    sessions
        .world
        .clients
        .insert(app().grants(both).scope("profile offline_access".parse().unwrap()));
    sessions.refresh("app", &pair.refresh).await.is_granted();
}
