//! Revocation (RFC 7009).

use std::time::Duration;

use password_grant::event::AccessFault;
use password_grant::resource::Revocations;
use password_grant::state::{InMemoryState, StateSecret};
use password_grant::testing::ManualClock;
use password_grant::{Clock, Environment, JwtIssuer, PasswordGrant, RequestContext, SigningKeys};

use crate::common::sessions::{OFFLINE, Pair, Sessions, about, register, verifier};
use crate::common::{AUDIENCE, Events, GOOD, ISSUER, Users, World, basic, clients, noon};
use crate::support::{INACTIVE, is_revoked};

/// Requirement 117.
#[tokio::test]
async fn a_refresh_token_is_revoked_with_its_family() {
    for client in ["app", "phone"] {
        let sessions = Sessions::new();
        let first = sessions.login(client).await;
        let second = Pair::of(&sessions.refresh(client, &first.refresh).await);
        is_revoked(&sessions.revoke(client, &second.refresh).await);
        assert!(
            sessions.world.events.last().ends_with("revoked"),
            "{}",
            sessions.world.events.last()
        );
        for pair in [&first, &second] {
            sessions.refresh(client, &pair.refresh).await.is(400, "invalid_grant");
            assert_eq!(sessions.introspect("reports", &pair.access).await.body, INACTIVE);
            assert_eq!(
                sessions.verifier().verify(&pair.access).await.unwrap_err(),
                AccessFault::Revoked
            );
        }
        // A second revocation gets the same answer.
        is_revoked(&sessions.revoke(client, &second.refresh).await);
    }
}

/// For a log-out route of the host at which the user presents an access token.
#[tokio::test]
async fn the_host_can_end_the_session_that_an_access_token_names() {
    let sessions = Sessions::new();
    let (pair, other) = (sessions.login("app").await, sessions.login("app").await);
    let verifier = sessions.verifier();
    let token = verifier.verify(&pair.access).await.unwrap();
    let (session, context) = (token.session_id.clone().unwrap(), RequestContext::new());
    assert!(sessions.world.grant.end_session(&session, &context).await.unwrap());
    assert!(sessions.world.events.last().contains(session.as_str()));
    assert_eq!(verifier.verify(&pair.access).await.unwrap_err(), AccessFault::Revoked);
    sessions.refresh("app", &pair.refresh).await.is(400, "invalid_grant");
    sessions.refresh("app", &other.refresh).await.is_granted();
    assert!(!sessions.world.grant.end_session(&"nonsense".into(), &context).await.unwrap());
    assert!(!World::default().grant.end_session(&session, &context).await.unwrap());
}

/// A resource server elsewhere that shares the store sees what its engine has revoked.
#[tokio::test]
async fn revocations_are_seen_over_a_shared_store() {
    let clock = ManualClock::at(noon());
    let store = InMemoryState::new().environment(&Environment::new().clock(clock.clone()));
    let (shared, secret) = (store.clone(), || StateSecret::new([0x5a; 32]).unwrap());
    let sessions = Sessions::over(
        Users::default(),
        |refresh| refresh,
        |builder| builder.shared_state(shared, secret()),
    );
    let pair = sessions.login("app").await;
    let elsewhere = verifier(&sessions.world.keys)
        .environment(&Environment::new().clock(clock).observer(Events::default()));
    let elsewhere = elsewhere.revocations(Revocations::shared(ISSUER, store, secret()));
    assert!(elsewhere.verify(&pair.access).await.is_ok());
    sessions.revoke("app", &pair.refresh).await;
    assert_eq!(elsewhere.verify(&pair.access).await.unwrap_err(), AccessFault::Revoked);
}

/// Any refresh token of the session will do, even one that was used or has expired: a client that
/// logs out may not have the newest.
#[tokio::test]
async fn an_old_refresh_token_revokes_the_family_too() {
    let sessions = Sessions::with(|refresh| refresh.idle_lifetime(Duration::from_secs(3_600)));
    let first = sessions.login("app").await;
    let second = Pair::of(&sessions.refresh("app", &first.refresh).await);
    is_revoked(&sessions.revoke("app", &first.refresh).await);
    sessions.refresh("app", &second.refresh).await.is(400, "invalid_grant");
    assert!(sessions.world.events.last().ends_with("Revoked"));

    for life in [3_600, 30 * 86_400] {
        let expired = sessions.login("app").await;
        sessions.advance(life);
        is_revoked(&sessions.revoke("app", &expired.refresh).await);
        sessions.refresh("app", &expired.refresh).await;
        assert!(
            sessions.world.events.last().ends_with("Revoked"),
            "{}",
            sessions.world.events.last()
        );
    }
}

#[tokio::test]
async fn an_access_token_is_revoked_alone() {
    let sessions = Sessions::new();
    let first = sessions.login("app").await;
    let second = Pair::of(&sessions.refresh("app", &first.refresh).await);
    let plain = sessions.ask("app", &OFFLINE.replace("+offline_access", "")).await.access_token();
    for token in [&first.access, &plain] {
        assert!(sessions.is_active(token).await);
        is_revoked(&sessions.revoke("app", token).await);
        assert!(!sessions.is_active(token).await);
        assert_eq!(sessions.verifier().verify(token).await.unwrap_err(), AccessFault::Revoked);
        is_revoked(&sessions.revoke("app", token).await);
    }
    // A verifier without the store does not see the revocation, as its documentation says.
    let elsewhere = verifier(&sessions.world.keys)
        .environment(&Environment::new().clock(sessions.world.clock.clone()));
    assert!(elsewhere.verify(&first.access).await.is_ok());
    assert!(sessions.is_active(&second.access).await);
    sessions.refresh("app", &second.refresh).await.is_granted();
}

/// Requirement 115, incidents R14 and R15: this holds for public and for confidential clients.
#[tokio::test]
async fn another_clients_token_is_not_revoked() {
    let sessions = Sessions::new();
    for (owner, other) in [("app", "other"), ("app", "phone"), ("phone", "app"), ("app", "reports")]
    {
        let pair = sessions.login(owner).await;
        for token in [&pair.access, &pair.refresh] {
            sessions.revoke(other, token).await.is(400, "invalid_grant");
            assert!(sessions.world.events.last().ends_with("OtherClient"));
        }
        assert!(sessions.is_active(&pair.access).await);
        sessions.refresh(owner, &pair.refresh).await.is_granted();
    }
}

#[tokio::test]
async fn there_is_nothing_to_revoke_in_what_nobody_knows() {
    let sessions = Sessions::new();
    let expired = sessions.login("app").await;
    sessions.advance(31 * 86_400);
    for token in ["nonsense", "rt1.nonsense", "a.b.c", &expired.access, &expired.refresh, "~"] {
        is_revoked(&sessions.revoke("app", token).await);
    }
}

/// Requirement 116, incident R16.
#[tokio::test]
async fn a_hint_hides_no_token() {
    for hint in [
        "",
        "&token_type_hint=access_token",
        "&token_type_hint=refresh_token",
        "&token_type_hint=saml2",
    ] {
        let sessions = Sessions::new();
        let pair = sessions.login("app").await;
        let active =
            sessions.about("reports", &format!("token={}{hint}", pair.access), "introspect").await;
        assert_eq!(active.json()["active"], true, "{hint}");
        is_revoked(&sessions.about("app", &format!("token={}{hint}", pair.access), "revoke").await);
        assert!(!sessions.is_active(&pair.access).await, "{hint}");
        is_revoked(
            &sessions.about("app", &format!("token={}{hint}", pair.refresh), "revoke").await,
        );
        sessions.refresh("app", &pair.refresh).await.is(400, "invalid_grant");
    }
}

/// Revocation and introspection do not need refresh tokens.
#[tokio::test]
async fn an_engine_without_refresh_tokens_revokes_access_tokens() {
    let world = World::default();
    register(&world.clients);
    let token = world.post(GOOD).await.access_token();
    let (web, reports) = (basic("web", "web-secret"), basic("reports", "reports-secret"));
    let form = format!("token={token}");
    let introspect =
        async || about(&world, &[("authorization", &reports)], &form, "introspect").await;
    assert_eq!(introspect().await.json()["active"], true);
    is_revoked(&about(&world, &[("authorization", &web)], &form, "revoke").await);
    assert_eq!(introspect().await.body, INACTIVE);
}

/// Building an engine again over the same state, as for a change of configuration, forgets nothing.
#[tokio::test]
async fn an_engine_that_is_built_anew_over_the_same_memory_knows_what_was_revoked() {
    let clock = ManualClock::at(noon());
    let (state, keys) = (
        InMemoryState::new().environment(&Environment::new().clock(clock.clone())),
        SigningKeys::generate().unwrap(),
    );
    let build = || {
        let tokens = JwtIssuer::new(keys.clone(), AUDIENCE);
        let builder = PasswordGrant::builder(ISSUER, clients(), Users::default(), tokens);
        let grant = builder
            .environment(&Environment::new().clock(clock.clone()).observer(()))
            .state(state.clone())
            .build()
            .unwrap();
        World { grant, ..World::default() }
    };
    let world = build();
    let token = world.post(GOOD).await.access_token();
    let (web, form) = (basic("web", "web-secret"), format!("token={token}"));
    is_revoked(&about(&world, &[("authorization", &web)], &form, "revoke").await);
    assert_eq!(
        about(&build(), &[("authorization", &web)], &form, "introspect").await.body,
        INACTIVE
    );
}

/// A verifier accepts a token until its end plus the allowed clock skew, by a clock that may be
/// slow. A revocation is possible, and remembered, for as long.
#[tokio::test]
async fn a_token_stays_revoked_for_as_long_as_anybody_takes_it() {
    let sessions = Sessions::new();
    let behind = ManualClock::at(noon());
    let verifier = sessions
        .verifier()
        .skew(Duration::from_secs(60))
        .environment(&Environment::new().clock(behind.clone()));
    let form = OFFLINE.replace("+offline_access", "");
    for revoked_at in [0, 600, 659] {
        behind.set(sessions.world.clock.now());
        let token = sessions.ask("app", &form).await.access_token();
        sessions.advance(revoked_at);
        behind.advance(Duration::from_secs(revoked_at));
        assert!(verifier.verify(&token).await.is_ok(), "{revoked_at}");
        is_revoked(&sessions.revoke("app", &token).await);
        // The verifier's clock is a minute slow, so for it this is the last second.
        sessions.advance(600 + 59 + 60 - revoked_at);
        behind.advance(Duration::from_secs(600 + 59 - revoked_at));
        assert_eq!(
            verifier.verify(&token).await.unwrap_err(),
            AccessFault::Revoked,
            "{revoked_at}"
        );
    }
}
