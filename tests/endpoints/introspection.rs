//! Introspection (RFC 7662): who is told what about which token.

use std::time::Duration;

use password_grant::assertion::{AssertionKey, ClientAssertion};
use password_grant::event::AccessFault;
use password_grant::{Admission, Client, ClientSecret, Environment, Grant, Login, Rejection};
use serde_json::json;

use crate::common::sessions::{OFFLINE, Pair, Sessions, register, verifier};
use crate::common::{AUDIENCE, Events, GOOD, ISSUER, Users, World, noon, segment};
use crate::support::INACTIVE;

/// RFC 7662 section 2.2.
#[tokio::test]
async fn a_resource_server_is_told_what_a_token_says() {
    let users =
        Users::who(|_| Ok(Login::accepted("user-1").claim("role", "admin").claim("active", false)));
    let sessions = Sessions::over(users, |refresh| refresh, |builder| builder);
    let pair = sessions.login("app").await;
    let claims = segment(&pair.access, 1);
    let answer = sessions.introspect("reports", &pair.access).await;
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let now = noon().unix_seconds();
    assert_eq!(
        answer.json(),
        json!({
            "active": true, "scope": "profile offline_access", "client_id": "app",
            "token_type": "Bearer", "exp": now + 600, "iat": now,
            "sub": "user-1", "aud": AUDIENCE, "iss": ISSUER,
            "jti": claims["jti"], "sid": claims["sid"], "role": "admin",
        })
    );
    assert_eq!(
        sessions.introspect("app", &pair.access).await.body,
        answer.body,
        "its own client is told too"
    );
}

/// Requirements 119 and 120, incident R17.
#[tokio::test]
async fn of_everything_else_nobody_is_told_more_than_that_it_is_not_active() {
    let sessions = Sessions::new();
    let pair = sessions.login("app").await;
    let theirs = World::default();
    let elsewhere = theirs.post(GOOD).await.access_token();
    let changed = format!("{}x", pair.access);
    let key = AssertionKey::from_secret("a secret of thirty-two bytes or more").unwrap();
    let assertion = ClientAssertion::new("app", ISSUER, key).sign().unwrap();
    let rotated = Pair::of(&sessions.refresh("app", &pair.refresh).await);
    let bytes = sessions.introspect("reports", "nonsense").await;
    assert_eq!((bytes.status, bytes.body.as_str()), (200, INACTIVE));
    for (caller, token, case) in [
        ("other", pair.access.as_str(), "another client's"),
        ("narrow", &pair.access, "for another audience"),
        ("reports", &elsewhere, "another issuer's key"),
        ("reports", &changed, "changed"),
        ("reports", &assertion, "of another type"),
        ("reports", &rotated.refresh, "a refresh token, which opens nothing"),
        ("other", &rotated.refresh, "another client's refresh token"),
        ("app", &pair.refresh, "a refresh token that was used"),
        ("app", "rt1.nonsense", "no refresh token"),
    ] {
        assert_eq!(sessions.introspect(caller, token).await, bytes, "{case}");
    }
    sessions.advance(600);
    assert_eq!(sessions.introspect("reports", &pair.access).await, bytes, "expired");
}

#[tokio::test]
async fn a_resource_server_may_be_told_of_its_own_audience_only() {
    let sessions = Sessions::new();
    let app = Client::confidential("app", ClientSecret::digest_of("app-secret"))
        .grants([Grant::Password]);
    let app = app.scope("profile offline_access".parse().unwrap());
    sessions
        .world
        .clients
        .insert(app.audiences(["https://other.example.com", "https://third.example.com"]));
    let ask = async |resource: &str| {
        sessions.ask("app", &format!("{OFFLINE}&resource={resource}")).await.access_token()
    };
    let (own, third) =
        (ask("https://other.example.com").await, ask("https://third.example.com").await);
    assert_eq!(sessions.introspect("narrow", &own).await.json()["active"], true);
    assert_eq!(sessions.introspect("narrow", &third).await.body, INACTIVE);
}

#[tokio::test]
async fn a_client_is_told_of_its_own_refresh_token() {
    let sessions = Sessions::with(|refresh| refresh.idle_lifetime(Duration::from_secs(3_600)));
    let pair = sessions.login("app").await;
    assert_eq!(
        sessions.introspect("app", &pair.refresh).await.json(),
        json!({
            "active": true, "scope": "profile offline_access", "client_id": "app",
            "exp": noon().unix_seconds() + 3_600, "sub": "user-1", "iss": ISSUER,
        })
    );
    sessions.advance(3_600);
    assert_eq!(sessions.introspect("app", &pair.refresh).await.body, INACTIVE);
}

/// RFC 6749 section 3.3 has no empty scope.
#[tokio::test]
async fn a_refresh_token_without_a_scope_is_introspected_without_the_member() {
    let sessions = Sessions::with(|refresh| refresh.required_scope("".parse().unwrap()));
    sessions.world.clients.insert(
        Client::confidential("app", ClientSecret::digest_of("app-secret"))
            .grants([Grant::Password, Grant::RefreshToken]),
    );
    let form = OFFLINE.replace("&scope=profile+offline_access", "");
    let pair = Pair::of(&sessions.ask("app", &form).await);
    for token in [&pair.refresh, &pair.access] {
        let answer = sessions.introspect("app", token).await.json();
        assert_eq!((&answer["active"], answer.get("scope")), (&json!(true), None));
    }
}

/// Requirement 121, incidents I7 and R19: a token is inactive as soon as its account or its client
/// is disabled.
#[tokio::test]
async fn a_token_is_active_only_while_account_and_client_are() {
    let sessions = Sessions::new();
    let pair = sessions.login("app").await;
    for token in [&pair.access, &pair.refresh] {
        sessions.gate.says(|_| Ok(Admission::refused(Rejection::Disabled)));
        assert_eq!(sessions.introspect("app", token).await.body, INACTIVE);
        sessions.gate.says(|_| Err("no connection".into()));
        sessions.introspect("app", token).await.is(503, "temporarily_unavailable");
        sessions.gate.says(|_| Ok(Admission::admitted()));
        assert_eq!(sessions.introspect("app", token).await.json()["active"], true);
    }
    sessions.world.clients.remove("app");
    assert!(!sessions.is_active(&pair.access).await);
    let app = || Client::confidential("app", ClientSecret::digest_of("app-secret"));
    for gone in [app().disabled(), app().expires_at(noon())] {
        sessions.world.clients.insert(gone);
        assert!(!sessions.is_active(&pair.access).await);
    }
    register(&sessions.world.clients);
    assert!(sessions.is_active(&pair.access).await);
}

/// A session that the store does not have may have been revoked: after a restart with state in
/// memory, all sessions are over.
#[tokio::test]
async fn a_token_of_a_family_that_nobody_remembers_opens_nothing() {
    let sessions = Sessions::new();
    let pair = sessions.login("app").await;
    let restarted = Sessions::new();
    let verifier = verifier(&sessions.world.keys).environment(
        &Environment::new().clock(sessions.world.clock.clone()).observer(Events::default()),
    );
    assert!(
        verifier
            .clone()
            .revocations(sessions.world.grant.revocations())
            .verify(&pair.access)
            .await
            .is_ok()
    );
    let forgetful = verifier.revocations(restarted.world.grant.revocations());
    assert_eq!(forgetful.verify(&pair.access).await.unwrap_err(), AccessFault::Revoked);
}
