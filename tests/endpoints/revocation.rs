//! Revocation (RFC 7009).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use password_grant::event::{AccessFault, EventKind};
use password_grant::resource::Revocations;
use password_grant::state::{InMemoryState, StateSecret};
use password_grant::testing::ManualClock;
use password_grant::{
    Clock, Environment, Event, JwtIssuer, Login, Observer, PasswordGrant, RequestContext,
    SigningKeys, Subject,
};

use crate::common::fakes::{FaultyStore, StoreFault};
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

/// A session of which every access token is revoked once it has been replaced takes no more room
/// than another one, and all of these tokens stay revoked.
#[tokio::test]
async fn revoked_access_tokens_of_a_session_take_no_room() {
    let clock = ManualClock::at(noon());
    let store = InMemoryState::new().environment(&Environment::new().clock(clock.clone()));
    let state = store.clone();
    let sessions = Sessions::in_environment(
        Users::default(),
        |own| own.clock(clock.clone()),
        |refresh| refresh,
        |builder| builder.state(state),
    );
    let (mut pair, mut revoked) = (sessions.login("app").await, Vec::new());
    let rows = store.len();
    for _ in 0..40 {
        clock.advance(Duration::from_secs(1));
        let next = Pair::of(&sessions.refresh("app", &pair.refresh).await);
        is_revoked(&sessions.revoke("app", &pair.access).await);
        revoked.push(pair.access);
        pair = next;
        for token in &revoked {
            assert!(!sessions.is_active(token).await);
        }
        assert!(sessions.is_active(&pair.access).await);
    }
    assert_eq!(store.len(), rows);
    // The session goes on, for as long as it would have.
    clock.advance(Duration::from_secs(29 * 86_400));
    let last = Pair::of(&sessions.refresh("app", &pair.refresh).await);
    assert!(sessions.is_active(&last.access).await);
}

/// The row of a session that has ended is kept for a minute. Revoking an access token of it changes
/// nothing, or a user could fill the store by logging in and out.
#[tokio::test]
async fn an_access_token_of_an_ended_session_does_not_prolong_its_row() {
    let sessions = Sessions::new();
    let pair = sessions.login("app").await;
    is_revoked(&sessions.revoke("app", &pair.refresh).await);
    sessions.advance(30);
    is_revoked(&sessions.revoke("app", &pair.access).await);
    sessions.refresh("app", &pair.refresh).await.is(400, "invalid_grant");
    assert!(sessions.world.events.last().ends_with("Revoked"), "{}", sessions.world.events.last());
    sessions.advance(30);
    sessions.refresh("app", &pair.refresh).await.is(400, "invalid_grant");
    assert!(sessions.world.events.last().ends_with("Unknown"), "{}", sessions.world.events.last());
    is_revoked(&sessions.revoke("app", &pair.access).await);
    assert!(!sessions.is_active(&pair.access).await);
}

/// The row that remembers the revoked tokens of a client and a subject is their quota. Whoever
/// fills it makes nothing fail for anybody else.
#[tokio::test]
async fn a_client_that_revokes_too_many_tokens_without_a_session_fails_alone() {
    struct SubjectOfFaults(Arc<Mutex<Option<Subject>>>, Events);
    impl Observer for SubjectOfFaults {
        fn observe(&self, event: &Event<'_>) {
            self.1.observe(event);
            if matches!(event.kind, EventKind::ServerFault(_)) {
                *self.0.lock().unwrap() = event.subject.cloned();
            }
        }
    }
    let (subject, events) = (Arc::new(Mutex::new(None)), Events::default());
    let observer = SubjectOfFaults(subject.clone(), events.clone());
    let users = Users::who(|attempt| Ok(Login::accepted(attempt.username())));
    let clock = ManualClock::at(noon());
    let store = InMemoryState::new().environment(&Environment::new().clock(clock.clone()));
    let state = store.clone();
    let sessions = Sessions::in_environment(
        users,
        |own| own.clock(clock.clone()).observer(observer),
        |refresh| refresh,
        |builder| builder.state(state).dangerous_without_attempt_limits(),
    );
    let plain = OFFLINE.replace("+offline_access", "");
    let bobs = plain.replace("alice", "bob");
    let mut tokens = Vec::new();
    for _ in 0..65 {
        tokens.push(sessions.ask("app", &plain).await.access_token());
    }
    let (last, first) = tokens.split_last().unwrap();
    for token in first {
        is_revoked(&sessions.revoke("app", token).await);
        assert_eq!(store.len(), 1);
    }
    let full = sessions.revoke("app", last).await;
    full.is(503, "temporarily_unavailable");
    assert_eq!(full.header("retry-after"), Some("1"));
    let event = events.last();
    assert!(event.starts_with("server fault: TooManyRevocations"), "{event}");
    assert!(event.contains(r#"client "app""#), "{event}");
    assert_eq!(*subject.lock().unwrap(), Some("alice".into()));
    assert!(sessions.is_active(last).await);
    for token in first {
        assert!(!sessions.is_active(token).await);
    }
    is_revoked(&sessions.revoke("app", &first[0]).await); // again

    // Another subject, another client, and a token with a session have rooms of their own.
    let others = [
        ("app", sessions.ask("app", &bobs).await.access_token()),
        ("other", sessions.ask("other", &plain).await.access_token()),
        ("app", sessions.login("app").await.access),
    ];
    for (client, token) in &others {
        is_revoked(&sessions.revoke(client, token).await);
        assert!(!sessions.is_active(token).await);
    }
    // A log-out revokes that token nevertheless, and does not need the room.
    let (alice, context) = ("alice".into(), RequestContext::new());
    sessions.world.grant.log_out_everywhere(&alice, &context).await.unwrap();
    assert!(!sessions.is_active(last).await);

    // Once verifiers no longer accept the revoked tokens, they make room.
    clock.advance(Duration::from_secs(600 + 180));
    let token = sessions.ask("app", &plain).await.access_token();
    is_revoked(&sessions.revoke("app", &token).await);
    assert!(!sessions.is_active(&token).await);
}

/// What a protected route asks of a shared store for each token.
#[tokio::test]
async fn a_revocation_is_looked_up_by_one_load() {
    let store = FaultyStore::new(|_| StoreFault::None);
    let (shared, secret) = (store.clone(), || StateSecret::new([0x5a; 32]).unwrap());
    let sessions = Sessions::over(
        Users::default(),
        |refresh| refresh,
        |builder| builder.shared_state(shared, secret()),
    );
    let plain = sessions.ask("app", &OFFLINE.replace("+offline_access", "")).await.access_token();
    for token in [sessions.login("app").await.access, plain] {
        let before = (store.loads(), store.calls());
        sessions.verifier().verify(&token).await.unwrap();
        assert_eq!((store.loads(), store.calls()), (before.0 + 1, before.1 + 1));
    }
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
    for form in [OFFLINE, &OFFLINE.replace("+offline_access", "")] {
        for revoked_at in [0, 600, 659] {
            behind.set(sessions.world.clock.now());
            let first = sessions.ask("app", form).await;
            let token = first.access_token();
            sessions.advance(revoked_at);
            behind.advance(Duration::from_secs(revoked_at));
            assert!(verifier.verify(&token).await.is_ok(), "{revoked_at}");
            is_revoked(&sessions.revoke("app", &token).await);
            // The verifier's clock is a minute slow, so for it this is the last second.
            sessions.advance(600 + 59 + 60 - revoked_at);
            behind.advance(Duration::from_secs(600 + 59 - revoked_at));
            if form == OFFLINE {
                // Another revocation forgets those that are over.
                let next = Pair::of(&sessions.refresh("app", &Pair::of(&first).refresh).await);
                is_revoked(&sessions.revoke("app", &next.access).await);
            } else {
                let next = sessions.ask("app", form).await.access_token();
                is_revoked(&sessions.revoke("app", &next).await);
            }
            let refused = verifier.verify(&token).await.unwrap_err();
            assert_eq!(refused, AccessFault::Revoked, "{form} {revoked_at}");
        }
    }
}
