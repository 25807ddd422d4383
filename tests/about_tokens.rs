//! The endpoints at which a client speaks about a token (RFC 7009, RFC 7662), and the resource servers that listen.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::sessions::{OFFLINE, Pair, Sessions, about, register, verifier};
use common::{AUDIENCE, Answer, Events, FORM, ISSUER, Users, World, basic, noon};
use password_grant::assertion::{AssertionKey, ClientAssertion};
use password_grant::event::AccessFault;
use password_grant::resource::{BearerRequest, IntrospectedTokens, IntrospectionTransport};
use password_grant::state::{
    Change, Commit, InMemoryState, Loaded, Revocations, StateKey, StateSecret, StateStore,
};
use password_grant::testing::{InMemoryTokens, ManualClock};
use password_grant::time::Timestamp;
use password_grant::token::{OpaqueIssuer, TokenDetails};
use password_grant::{
    AccessToken, AccessTokenVerifier, Admission, Authorization, BoxError, Client,
    ClientAuthentication, ClientSecret, Clock, Environment, Grant, HttpRequest, JwtIssuer, Login,
    PasswordGrant, Rejection, RequestContext, SigningKeys, TokenIssuer, async_trait,
};
use serde_json::json;

const INACTIVE: &str = r#"{"active":false}"#;

// --- Revocation --------------------------------------------------------------------------------------------------------

/// Section 0 of RFC 7009 as deployed clients need it: one wants the type, another the body.
fn is_revoked(answer: &Answer) {
    assert_eq!((answer.status, answer.body.as_str()), (200, "{}"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

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
        // Again, and it is still what it is.
        is_revoked(&sessions.revoke(client, &second.refresh).await);
    }
}

/// For a log-out route of the host's, at which the user shows an access token.
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

/// Any token of the family will do, also one that was used or has expired: whoever logs out may not have the newest.
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
    // A verifier elsewhere does not see it: that is what its documentation says.
    let elsewhere = verifier(&sessions.world.keys)
        .environment(&Environment::new().clock(sessions.world.clock.clone()));
    assert!(elsewhere.verify(&first.access).await.is_ok());
    assert!(sessions.is_active(&second.access).await);
    sessions.refresh("app", &second.refresh).await.is_granted();
}

/// Requirement 115, incidents R14 and R15: for public clients and for confidential ones.
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

// --- Both endpoints ----------------------------------------------------------------------------------------------------

/// Requirements 34, 43 and 118, incident R18: nobody is told anything who has not said who they are.
#[tokio::test]
async fn whoever_asks_about_a_token_authenticates_first() {
    let sessions = Sessions::new();
    let pair = sessions.login("app").await;
    let refused = sessions.ask("", OFFLINE).await;
    refused.is(401, "invalid_client");
    let off = Client::confidential("off", ClientSecret::digest_of("off-secret")).disabled();
    sessions.world.clients.insert(off);
    for endpoint in ["revoke", "introspect"] {
        let form = format!("token={}", pair.access);
        let wrong = basic("app", "wrong");
        for answer in [
            sessions.about("", &form, endpoint).await,
            sessions.about("off", &form, endpoint).await,
            about(&sessions.world, &[("authorization", &wrong)], &form, endpoint).await,
            about(&sessions.world, &[], &format!("{form}&client_id=app"), endpoint).await,
        ] {
            assert_eq!(answer, refused, "{endpoint}");
        }
    }
    // A public client is told nothing about tokens, not even its own.
    let own = sessions.login("phone").await;
    assert_eq!(sessions.introspect("phone", &own.access).await, refused);
    assert!(sessions.is_active(&pair.access).await);
}

#[tokio::test]
async fn what_is_no_request_about_a_token_is_refused() {
    let sessions = Sessions::new();
    for endpoint in ["revoke", "introspect"] {
        for form in [
            "",
            "token=",
            "token=a&token=b",
            "token=%zz",
            "token=%FF",
            "token_type_hint=access_token",
        ] {
            sessions.about("app", form, endpoint).await.is(400, "invalid_request");
        }
        // Parameters of the token endpoint mean nothing here, not even a malformed scope.
        let answer =
            sessions.about("app", "token=nonsense&scope=++&grant_type=password", endpoint).await;
        assert_eq!(answer.status, 200);
        let headers = [("content-type", FORM.as_bytes())];
        let query = HttpRequest::new("POST", Some("x=y&token=a"), headers, b"token=a");
        let answer: Answer = match endpoint {
            "revoke" => sessions.world.grant.revoke(query).await.into(),
            _ => sessions.world.grant.introspect(query).await.into(),
        };
        answer.is(400, "invalid_request");
        let get = HttpRequest::new("GET", Some("token=a"), headers, b"");
        let answer: Answer = match endpoint {
            "revoke" => sessions.world.grant.revoke(get).await.into(),
            _ => sessions.world.grant.introspect(get).await.into(),
        };
        answer.is(405, "invalid_request");
        assert_eq!(answer.header("allow"), Some("POST"));
    }
    // At the token endpoint it is a parameter that nobody knows.
    sessions.ask("app", &format!("{OFFLINE}&token=%00")).await.is_granted();
}

/// Fails from the moment on that it is told to.
struct Failing {
    store: InMemoryState,
    left: AtomicUsize,
}

#[async_trait]
impl StateStore for Failing {
    async fn load(&self, keys: &[StateKey]) -> Result<Loaded, BoxError> {
        self.count()?;
        self.store.load(keys).await
    }

    async fn commit(&self, changes: &[Change]) -> Result<Commit, BoxError> {
        self.count()?;
        self.store.commit(changes).await
    }
}

impl Failing {
    fn count(&self) -> Result<(), BoxError> {
        let left =
            self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        left.map(drop).map_err(|_| "no connection".into())
    }
}

/// Requirements 115 and 122, incident R14: a store that fails is no answer.
#[tokio::test]
async fn a_store_that_fails_is_neither_active_nor_inactive_nor_revoked() {
    let clock = ManualClock::at(noon());
    let store = InMemoryState::new().environment(&Environment::new().clock(clock.clone()));
    let failing = Arc::new(Failing { store, left: AtomicUsize::new(usize::MAX) });
    let shared = failing.clone();
    let secret = StateSecret::new([0x5a; 32]).unwrap();
    let sessions = Sessions::over(
        Users::default(),
        |refresh| refresh,
        |builder| builder.shared_state(shared, secret),
    );
    let pair = sessions.login("app").await;
    for token in [&pair.access, &pair.refresh] {
        for (client, endpoint) in [("app", "introspect"), ("app", "revoke")] {
            let mut failed = 0;
            for calls in 0.. {
                failing.left.store(calls, Ordering::SeqCst);
                let answer = sessions.about(client, &format!("token={token}"), endpoint).await;
                failing.left.store(usize::MAX, Ordering::SeqCst);
                if answer.status == 200 {
                    break;
                }
                answer.is(503, "temporarily_unavailable");
                assert_eq!(answer.header("retry-after"), Some("1"));
                failed += 1;
            }
            assert!(failed > 0, "{endpoint}");
        }
    }
    failing.left.store(0, Ordering::SeqCst);
    assert_eq!(
        sessions.verifier().verify(&pair.access).await.unwrap_err(),
        AccessFault::ServerFault
    );
}

/// The audience of an assertion may be the endpoint that was called, where its client is registered for that.
#[tokio::test]
async fn an_assertion_may_name_the_endpoint_that_is_called() {
    let at = |path: &str| format!("{ISSUER}/oauth/{path}");
    let (revocation, introspection) = (at("revoke"), at("introspect"));
    let sessions = Sessions::over(
        Users::default(),
        |refresh| refresh,
        |builder| builder.revocation_endpoint(revocation).introspection_endpoint(introspection),
    );
    let secret = "a secret of thirty-two bytes or more";
    let signs = ClientAuthentication::client_secret_jwt(secret).unwrap();
    let signs =
        signs.compatibility([password_grant::assertion::AssertionCompatibility::EndpointAudience]);
    sessions.world.clients.insert(Client::confidential("signs", signs).grants([Grant::Password]));
    for (path, endpoint, status) in [
        ("introspect", "introspect", 200),
        ("token", "introspect", 200),
        ("revoke", "introspect", 401),
        ("revoke", "revoke", 200),
        ("introspect", "revoke", 401),
    ] {
        let key = AssertionKey::from_secret(secret).unwrap();
        let assertion = ClientAssertion::new("signs", at(path), key)
            .environment(&Environment::new().clock(sessions.world.clock.clone()))
            .sign()
            .unwrap();
        let kind = "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
        let form =
            format!("token=nonsense&client_assertion_type={kind}&client_assertion={assertion}");
        assert_eq!(
            sessions.about("", &form, endpoint).await.status,
            status,
            "{path} at {endpoint}"
        );
        // One memory for all endpoints: used here, it is used there.
        if status == 200 {
            sessions.about("", &form, "introspect").await.is(401, "invalid_client");
        }
    }
}

// --- Introspection -----------------------------------------------------------------------------------------------------

/// RFC 7662 section 2.2.
#[tokio::test]
async fn a_resource_server_is_told_what_a_token_says() {
    let users =
        Users::who(|_| Ok(Login::accepted("user-1").claim("role", "admin").claim("active", false)));
    let sessions = Sessions::over(users, |refresh| refresh, |builder| builder);
    let pair = sessions.login("app").await;
    let claims = common::segment(&pair.access, 1);
    let answer = sessions.introspect("reports", &pair.access).await;
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let now = noon().unix_seconds();
    assert_eq!(
        answer.json(),
        json!({
            "active": true, "scope": "profile offline_access", "client_id": "app", "token_type": "Bearer",
            "exp": now + 600, "iat": now, "sub": "user-1", "aud": AUDIENCE, "iss": ISSUER,
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
    let elsewhere = theirs.post(common::GOOD).await.access_token();
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

/// Requirement 121, incidents I7 and R19: whatever ended meanwhile counts.
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

/// What nobody remembers may have been revoked: after a restart with state in memory, sessions are over.
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

/// A token without a family knows only its time.
#[tokio::test]
async fn a_log_out_ends_access_tokens_without_a_family_too() {
    let sessions = Sessions::new();
    let form = OFFLINE.replace("+offline_access", "");
    let before = sessions.ask("app", &form).await.access_token();
    sessions
        .world
        .grant
        .log_out_everywhere(&"user-1".into(), &RequestContext::new())
        .await
        .unwrap();
    assert!(!sessions.is_active(&before).await);
    assert_eq!(sessions.verifier().verify(&before).await.unwrap_err(), AccessFault::Revoked);
    sessions.advance(1);
    let after = sessions.ask("app", &form).await.access_token();
    assert!(sessions.is_active(&after).await);
    assert!(sessions.verifier().verify(&after).await.is_ok());
}

/// Tokens and log-outs are dated in whole seconds, so a login in the second of a log-out would yield a token that is dead
/// for its whole life: it waits for the second to pass.
#[tokio::test]
async fn a_login_in_the_second_of_a_log_out_waits_for_the_next() {
    let plain = OFFLINE.replace("+offline_access", "");
    let log_out = async |world: &World| {
        world.grant.log_out_everywhere(&"user-1".into(), &RequestContext::new()).await.unwrap();
    };
    let anybody = || {
        Users::who(|attempt| {
            Ok(Login::accepted(if attempt.username() == "bob" { "user-2" } else { "user-1" }))
        })
    };
    let without_refresh_tokens = World::of(anybody());
    register(&without_refresh_tokens.clients);
    let with = Sessions::over(anybody(), |refresh| refresh, |builder| builder).world;
    for (world, has_sessions) in [(with, true), (without_refresh_tokens, false)] {
        let login =
            async || world.send(&[("authorization", &basic("app", "app-secret"))], &plain).await;
        world.clock.advance(Duration::from_millis(400));
        log_out(&world).await;
        let (mut waiting, clock) = (std::pin::pin!(login()), &world.clock);
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        clock.advance(Duration::from_millis(599));
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        clock.advance(Duration::from_millis(1));
        let token = waiting.await.access_token();
        assert_eq!(common::segment(&token, 1)["iat"], clock.now().unix_seconds());
        let verifier = verifier(&world.keys)
            .environment(&Environment::new().clock(clock.clone()).observer(()))
            .revocations(world.grant.revocations());
        verifier.verify(&token).await.unwrap();
        // In the same second once more: now the log-out is the later one.
        log_out(&world).await;
        assert_eq!(verifier.verify(&token).await.unwrap_err(), AccessFault::Revoked);

        // Logged out again while it waits: the password that was right may be the former one.
        let mut waiting = std::pin::pin!(login());
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        clock.advance(Duration::from_millis(500));
        log_out(&world).await;
        clock.advance(Duration::from_millis(500));
        waiting.await.is(503, "temporarily_unavailable");

        // Others, and whoever gets a session, wait for nothing.
        clock.advance(Duration::from_millis(200));
        log_out(&world).await;
        let bob = plain.replace("alice", "bob");
        verifier
            .verify(
                &world
                    .send(&[("authorization", &basic("app", "app-secret"))], &bob)
                    .await
                    .access_token(),
            )
            .await
            .unwrap();
        if has_sessions {
            let session =
                world.send(&[("authorization", &basic("app", "app-secret"))], OFFLINE).await;
            verifier.verify(&session.access_token()).await.unwrap();
        }
        // A log-out that lies ahead, by a clock that was set back since: come again, and when.
        clock.set(clock.now().minus(Duration::from_secs(30)));
        let answer = login().await;
        answer.is(503, "temporarily_unavailable");
        assert!(
            world.events.last().starts_with("server fault: LogOutAhead"),
            "{}",
            world.events.last()
        );
        let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((30..=31).contains(&wait), "{wait}");
        clock.advance(Duration::from_secs(wait));
        login().await.is_granted();
    }
}

/// Nobody who was never logged out waits, whatever time it is.
#[tokio::test]
async fn at_the_beginning_of_time_a_login_waits_for_nothing() {
    let clock = ManualClock::at(Timestamp::from_unix_seconds(0));
    let world =
        World::in_environment(Users::default(), |own| own.clock(clock), |builder, _| builder);
    world.post(common::GOOD).await.is_granted();
}

/// A clock whose sleep ends at once, as the system's does where no timer can be started.
#[tokio::test]
async fn a_clock_that_does_not_sleep_is_not_asked_for_ever() {
    #[derive(Clone)]
    struct Sleepless(ManualClock, Arc<AtomicUsize>);
    impl Clock for Sleepless {
        fn now(&self) -> Timestamp {
            self.0.now()
        }
        fn sleep(&self, span: Duration) -> password_grant::time::BoxFuture<'static, ()> {
            self.1.fetch_add(1, Ordering::SeqCst);
            assert!(span <= Duration::from_secs(1));
            Box::pin(std::future::ready(()))
        }
    }
    let sleeps = Arc::new(AtomicUsize::new(0));
    let clock = Sleepless(ManualClock::at(noon()), sleeps.clone());
    let world =
        World::in_environment(Users::default(), |own| own.clock(clock), |builder, _| builder);
    world.grant.log_out_everywhere(&"user-1".into(), &RequestContext::new()).await.unwrap();
    world.post(common::GOOD).await.is(503, "temporarily_unavailable");
    assert!((1..10).contains(&sleeps.load(Ordering::SeqCst)));
}

/// A password that is changed while a login with the former one is under way: what it would have got is not given out,
/// with refresh tokens or without them.
#[tokio::test]
async fn a_login_under_way_during_a_log_out_of_its_subject_gets_nothing() {
    for refresh_tokens in [true, false] {
        for (logged_out, status) in [("user-1", 503), ("user-2", 200)] {
            let grant = Arc::new(std::sync::OnceLock::<PasswordGrant>::new());
            let engine = grant.clone();
            let users = Users::who(move |_| {
                let log_out = engine.get().unwrap().clone();
                let context = RequestContext::new();
                let log_out =
                    async move { log_out.log_out_everywhere(&logged_out.into(), &context).await };
                futures_util::FutureExt::now_or_never(log_out).unwrap().unwrap();
                Ok(Login::accepted("user-1"))
            });
            let world = match refresh_tokens {
                true => Sessions::over(users, |refresh| refresh, |builder| builder).world,
                false => World::of(users),
            };
            grant.set(world.grant.clone()).ok().unwrap();
            let answer = world.post(common::GOOD).await;
            assert_eq!(answer.status, status, "{refresh_tokens} {logged_out}: {}", answer.body);
        }
    }
}

/// What our tokens are never made of is unknown, and not a fault of whoever asks about it.
#[tokio::test]
async fn an_odd_token_is_unknown_and_not_malformed() {
    struct Never;
    #[async_trait]
    impl TokenIssuer for Never {
        async fn issue(&self, _: &Authorization<'_>) -> Result<AccessToken, BoxError> {
            Ok(AccessToken::new("token")?)
        }
        async fn inspect(
            &self,
            token: &str,
            _: Timestamp,
        ) -> Result<Option<TokenDetails>, BoxError> {
            panic!("asked for {token:?}")
        }
    }
    let hosts = PasswordGrant::builder(ISSUER, common::clients(), Users::default(), Never)
        .environment(&Environment::new().observer(()))
        .build()
        .unwrap();
    let hosts = World { grant: hosts, ..World::default() };
    let sessions = Sessions::new();
    for odd in [
        "a".repeat(8_193),
        format!("rt1.{}", "A".repeat(20_000)),
        "%C3%A9".to_owned(),
        "rt1.%C3%A9".to_owned(),
        "a%00".to_owned(),
        "a%0A".to_owned(),
        "a+b".to_owned(),
        "%EF%BF%BD".to_owned(),
        "%22".to_owned(),
        "=".to_owned(),
    ] {
        assert_eq!(sessions.introspect("reports", &odd).await.body, INACTIVE, "{odd}");
        is_revoked(&sessions.revoke("app", &odd).await);
        let form = format!("token={odd}");
        for endpoint in ["introspect", "revoke"] {
            let web = basic("web", "web-secret");
            assert_eq!(
                about(&hosts, &[("authorization", &web)], &form, endpoint).await.status,
                200,
                "{odd}"
            );
        }
        // Whoever has not authenticated is told nothing, whatever it asks about.
        sessions.about("", &form, "introspect").await.is(401, "invalid_client");
    }
}

/// Without refresh tokens too: revocation and introspection need none.
#[tokio::test]
async fn an_engine_without_refresh_tokens_revokes_access_tokens() {
    let world = World::default();
    register(&world.clients);
    let token = world.post(common::GOOD).await.access_token();
    let (web, reports) = (basic("web", "web-secret"), basic("reports", "reports-secret"));
    let form = format!("token={token}");
    let introspect =
        async || about(&world, &[("authorization", &reports)], &form, "introspect").await;
    assert_eq!(introspect().await.json()["active"], true);
    is_revoked(&about(&world, &[("authorization", &web)], &form, "revoke").await);
    assert_eq!(introspect().await.body, INACTIVE);
}

/// Rebuilding an engine over the same memory, as at a change of configuration, forgets nothing.
#[tokio::test]
async fn an_engine_that_is_built_anew_over_the_same_memory_knows_what_was_revoked() {
    let clock = ManualClock::at(noon());
    let (state, keys) = (
        InMemoryState::new().environment(&Environment::new().clock(clock.clone())),
        SigningKeys::generate().unwrap(),
    );
    let build = || {
        let tokens = JwtIssuer::new(keys.clone(), AUDIENCE);
        let builder = PasswordGrant::builder(ISSUER, common::clients(), Users::default(), tokens);
        let grant = builder
            .environment(&Environment::new().clock(clock.clone()).observer(()))
            .state(state.clone())
            .build()
            .unwrap();
        World { grant, ..World::default() }
    };
    let world = build();
    let token = world.post(common::GOOD).await.access_token();
    let (web, form) = (basic("web", "web-secret"), format!("token={token}"));
    is_revoked(&about(&world, &[("authorization", &web)], &form, "revoke").await);
    assert_eq!(
        about(&build(), &[("authorization", &web)], &form, "introspect").await.body,
        INACTIVE
    );
}

/// A verifier takes a token for its skew beyond its end, by a clock that may be behind: so long it can be revoked, and so
/// long it is remembered that it was.
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
        // By its own clock it is the last second, a minute behind ours.
        sessions.advance(600 + 59 + 60 - revoked_at);
        behind.advance(Duration::from_secs(600 + 59 - revoked_at));
        assert_eq!(
            verifier.verify(&token).await.unwrap_err(),
            AccessFault::Revoked,
            "{revoked_at}"
        );
    }
}

/// A client and a resource server of one tenant are told nothing of another's; a resource server of none is told of all.
#[tokio::test]
async fn tenants_are_told_apart_where_a_token_has_a_family() {
    let users = Users::who(|_| Ok(Login::accepted("user-1")));
    let sessions = Sessions::over(users, |refresh| refresh, |builder| builder);
    let ask = async |client: &str, form: &str, tenant: Option<&str>, endpoint: &str| -> Answer {
        let headers = [
            ("content-type", FORM.to_owned()),
            ("authorization", basic(client, &format!("{client}-secret"))),
        ];
        let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes()));
        let context = tenant
            .map_or_else(RequestContext::new, |tenant| RequestContext::new().with_tenant(tenant));
        let request = HttpRequest::new("POST", None, headers, form.as_bytes()).context(context);
        match endpoint {
            "token" => sessions.world.grant.token(request).await.into(),
            "revoke" => sessions.world.grant.revoke(request).await.into(),
            _ => sessions.world.grant.introspect(request).await.into(),
        }
    };
    let pair = Pair::of(&ask("app", OFFLINE, Some("a"), "token").await);
    let form = format!("token={}", pair.access);
    for (client, tenant, active) in [
        ("app", Some("a"), true),
        ("app", Some("b"), false),
        ("app", None, false),
        ("reports", Some("a"), true),
        ("reports", Some("b"), false),
        ("reports", None, true),
    ] {
        let answer = ask(client, &form, tenant, "introspect").await;
        assert_eq!(answer.json()["active"], active, "{client} of {tenant:?}");
    }
    // Whoever asks: the account is judged in the tenant in which it has logged in.
    assert_eq!(sessions.gate.asked_in().as_deref(), Some("a"));
    let nowhere = Pair::of(&ask("app", OFFLINE, None, "token").await);
    ask("reports", &format!("token={}", nowhere.access), None, "introspect").await.is_granted();
    assert_eq!(sessions.gate.asked_in(), None);
    for token in [&pair.access, &pair.refresh] {
        ask("app", &format!("token={token}"), Some("b"), "revoke").await.is(400, "invalid_grant");
    }
    assert_eq!(ask("app", &form, Some("a"), "introspect").await.json()["active"], true);
    is_revoked(&ask("app", &form, Some("a"), "revoke").await);
}

/// An issuer of the host's may know more than it should: only this server's tokens count, and only until they expire.
#[tokio::test]
async fn what_an_issuer_says_of_a_token_is_checked() {
    struct Generous;

    #[async_trait]
    impl TokenIssuer for Generous {
        async fn issue(&self, _: &Authorization<'_>) -> Result<AccessToken, BoxError> {
            Ok(AccessToken::new("good")?)
        }

        async fn inspect(
            &self,
            token: &str,
            now: Timestamp,
        ) -> Result<Option<TokenDetails>, BoxError> {
            let issuer = if token == "others" { "https://other.example.com" } else { ISSUER };
            let end = if token == "expired" { now.unix_seconds() } else { now.unix_seconds() + 60 };
            let mut details = TokenDetails::new(issuer, "user-1", "web", AUDIENCE, end);
            details.token_id = token.to_owned();
            if token == "broken" { Err("no connection".into()) } else { Ok(Some(details)) }
        }
    }

    let builder = PasswordGrant::builder(ISSUER, common::clients(), Users::default(), Generous);
    let grant = builder
        .environment(&Environment::new().clock(ManualClock::at(noon())).observer(()))
        .build()
        .unwrap();
    let world = World { grant, ..World::default() };
    let web = basic("web", "web-secret");
    let introspect = async |token: &str| {
        about(&world, &[("authorization", &web)], &format!("token={token}"), "introspect").await
    };
    assert_eq!(introspect("good").await.json()["active"], true);
    for token in ["others", "expired"] {
        assert_eq!(introspect(token).await.body, INACTIVE, "{token}");
    }
    introspect("broken").await.is(503, "temporarily_unavailable");
}

/// Tokens that say nothing themselves are revoked and introspected alike.
#[tokio::test]
async fn opaque_tokens_are_revoked_and_introspected_as_jwts_are() {
    let clock = ManualClock::at(noon());
    let tokens = OpaqueIssuer::new(InMemoryTokens::new(), AUDIENCE);
    let builder =
        PasswordGrant::builder(ISSUER, common::clients(), Users::default(), tokens.clone());
    let grant = builder
        .environment(&Environment::new().clock(clock.clone()).observer(Events::default()))
        .build()
        .unwrap();
    let world = World { grant, ..World::default() };
    let token = world.post(common::GOOD).await.access_token();
    let verifier = AccessTokenVerifier::by_lookup(ISSUER, AUDIENCE, tokens)
        .environment(&Environment::new().clock(clock.clone()));
    let verifier = verifier.revocations(world.grant.revocations());
    let web = basic("web", "web-secret");
    let form = format!("token={token}");
    let active = about(&world, &[("authorization", &web)], &form, "introspect").await.json();
    assert_eq!((active["active"].as_bool(), active["sub"].as_str()), (Some(true), Some("user-1")));
    assert!(verifier.verify(&token).await.is_ok());
    is_revoked(&about(&world, &[("authorization", &web)], &form, "revoke").await);
    assert_eq!(about(&world, &[("authorization", &web)], &form, "introspect").await.body, INACTIVE);
    assert_eq!(verifier.verify(&token).await.unwrap_err(), AccessFault::Revoked);
}

/// Revocations of another engine say nothing about a token: then none is taken.
#[tokio::test]
async fn a_verifier_with_the_revocations_of_another_issuer_takes_nothing() {
    let sessions = Sessions::new();
    let pair = sessions.login("app").await;
    let tokens = OpaqueIssuer::new(InMemoryTokens::new(), AUDIENCE);
    let other = PasswordGrant::builder(
        "https://other.example.com",
        common::clients(),
        Users::default(),
        tokens,
    );
    let verifier = sessions.verifier().revocations(
        other.environment(&Environment::new().observer(())).build().unwrap().revocations(),
    );
    assert_eq!(verifier.verify(&pair.access).await.unwrap_err(), AccessFault::Issuer);
}

/// Requirement 123: only what the host says that it routes.
#[test]
fn the_metadata_lists_the_endpoints_that_were_named() {
    let world = World::default();
    let text = String::from_utf8(world.grant.metadata().into_body()).unwrap();
    assert!(
        !text.contains("revocation")
            && !text.contains("introspection")
            && !text.contains("refresh_token")
    );
    let sessions = Sessions::over(
        Users::default(),
        |refresh| refresh,
        |builder| {
            let builder = builder.revocation_endpoint(format!("{ISSUER}/oauth/revoke"));
            builder.introspection_endpoint(format!("{ISSUER}/oauth/introspect"))
        },
    );
    let metadata: serde_json::Value =
        serde_json::from_slice(sessions.world.grant.metadata().body()).unwrap();
    assert_eq!(metadata["grant_types_supported"], json!(["password", "refresh_token"]));
    assert_eq!(metadata["revocation_endpoint"], "https://id.example.com/oauth/revoke");
    assert_eq!(metadata["introspection_endpoint"], "https://id.example.com/oauth/introspect");
    let methods =
        |endpoint: &str| metadata[format!("{endpoint}_endpoint_auth_methods_supported")].clone();
    assert_eq!(methods("revocation"), methods("token"));
    assert_eq!(
        methods("introspection"),
        json!([
            "client_secret_basic",
            "client_secret_post",
            "private_key_jwt",
            "client_secret_jwt"
        ])
    );
    let algorithms = |endpoint: &str| {
        metadata[format!("{endpoint}_endpoint_auth_signing_alg_values_supported")].clone()
    };
    assert!(algorithms("token").is_array());
    assert_eq!(
        (algorithms("revocation"), algorithms("introspection")),
        (algorithms("token"), algorithms("token"))
    );
}

// --- Resource servers that introspect ----------------------------------------------------------------------------------

/// Brings a form to the engine, or answers as scripted.
#[derive(Clone)]
struct Wire {
    grant: PasswordGrant,
    scripted: Arc<Mutex<Option<(u16, String)>>>,
    hangs: bool,
    asked: Arc<AtomicUsize>,
}

#[async_trait]
impl IntrospectionTransport for Wire {
    async fn post(
        &self,
        url: &str,
        authorization: Option<&str>,
        form: &str,
    ) -> Result<(u16, Vec<u8>), BoxError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        assert_eq!(url, "https://id.example.com/oauth/introspect");
        if self.hangs {
            std::future::pending::<()>().await;
        }
        if let Some((status, body)) = self.scripted.lock().unwrap().clone() {
            return if status == 0 {
                Err("no connection".into())
            } else {
                Ok((status, body.into()))
            };
        }
        let headers = [("content-type", Some(FORM)), ("authorization", authorization)];
        let headers =
            headers.into_iter().filter_map(|(name, value)| Some((name, value?.as_bytes())));
        let answer =
            self.grant.introspect(HttpRequest::new("POST", None, headers, form.as_bytes())).await;
        Ok((answer.status(), answer.into_body()))
    }
}

struct Remote {
    sessions: Sessions,
    wire: Wire,
    events: Events,
}

impl Remote {
    fn new() -> Self {
        let sessions = Sessions::new();
        let grant = sessions.world.grant.clone();
        let wire = Wire { grant, scripted: Arc::default(), hangs: false, asked: Arc::default() };
        Self { sessions, wire, events: Events::default() }
    }

    fn verifier(
        &self,
        configure: impl FnOnce(IntrospectedTokens) -> IntrospectedTokens,
    ) -> AccessTokenVerifier {
        let url = "https://id.example.com/oauth/introspect";
        let tokens = IntrospectedTokens::basic(url, "reports", "reports-secret", self.wire.clone());
        let clock = self.sessions.world.clock.clone();
        let verifier = AccessTokenVerifier::by_lookup(
            ISSUER,
            AUDIENCE,
            configure(tokens.environment(&Environment::new().clock(clock.clone()))),
        );
        verifier.environment(&Environment::new().clock(clock).observer(self.events.clone()))
    }

    fn answers(&self, status: u16, body: &str) {
        *self.wire.scripted.lock().unwrap() = Some((status, body.to_owned()));
    }

    fn asked(&self) -> usize {
        self.wire.asked.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_resource_server_can_ask_instead_of_checking_signatures() {
    let remote = Remote::new();
    let pair = remote.sessions.login("app").await;
    let verifier = remote.verifier(|tokens| tokens.cached_for(Duration::ZERO));
    let token = verifier.verify(&pair.access).await.unwrap();
    assert_eq!((token.subject.as_str(), token.client_id.as_str()), ("user-1", "app"));
    assert!(token.scope.contains("profile"));
    assert_eq!(verifier.verify("nonsense").await.unwrap_err(), AccessFault::NotOurs);
    assert_eq!(verifier.verify(&pair.refresh).await.unwrap_err(), AccessFault::NotOurs);
    remote.sessions.revoke("app", &pair.refresh).await;
    assert_eq!(
        verifier.verify(&pair.access).await.unwrap_err(),
        AccessFault::NotOurs,
        "revoked at once"
    );
}

#[tokio::test]
async fn it_can_prove_who_it_is_by_assertions() {
    let remote = Remote::new();
    let secret = "a secret of thirty-two bytes or more";
    let signs = ClientAuthentication::client_secret_jwt(secret).unwrap();
    remote.sessions.world.clients.insert(Client::confidential("signs", signs).resource_server());
    let pair = remote.sessions.login("app").await;
    let clock = remote.sessions.world.clock.clone();
    let assertions =
        ClientAssertion::new("signs", ISSUER, AssertionKey::from_secret(secret).unwrap())
            .environment(&Environment::new().clock(clock.clone()));
    let url = "https://id.example.com/oauth/introspect";
    let tokens = IntrospectedTokens::with_parameters(
        url,
        move || assertions.parameters(),
        remote.wire.clone(),
    );
    let tokens =
        tokens.environment(&Environment::new().clock(clock.clone())).cached_for(Duration::ZERO);
    let verifier = AccessTokenVerifier::by_lookup(ISSUER, AUDIENCE, tokens)
        .environment(&Environment::new().clock(clock));
    for _ in 0..3 {
        assert!(verifier.verify(&pair.access).await.is_ok());
    }
}

/// Nothing is sent in the name of nobody.
#[tokio::test]
async fn without_its_own_proof_it_does_not_ask() {
    let remote = Remote::new();
    let pair = remote.sessions.login("app").await;
    let url = "https://id.example.com/oauth/introspect";
    let no_proof = || Err::<Vec<(String, String)>, BoxError>("the key could not be read".into());
    let tokens = IntrospectedTokens::with_parameters(url, no_proof, remote.wire.clone());
    let verifier = AccessTokenVerifier::by_lookup(ISSUER, AUDIENCE, tokens)
        .environment(&Environment::new().observer(remote.events.clone()));
    assert_eq!(verifier.verify(&pair.access).await.unwrap_err(), AccessFault::ServerFault);
    assert_eq!(remote.asked(), 0);
    assert!(remote.events.last().contains("the key could not be read"), "{}", remote.events.last());
}

/// Requirement 129: for a short while, and never beyond the token's end.
#[tokio::test]
async fn an_answer_is_remembered_for_a_moment() {
    let remote = Remote::new();
    let pair = remote.sessions.login("app").await;
    let verifier = remote.verifier(|tokens| tokens.cached_for(Duration::from_secs(3_600)));
    for (advance, asked) in [(0, 1), (59, 1), (1, 2), (0, 2)] {
        remote.sessions.advance(advance);
        assert!(verifier.verify(&pair.access).await.is_ok());
        assert_eq!(remote.asked(), asked);
    }
    // A clock that is set back prolongs nothing.
    let now = remote.sessions.world.clock.now();
    remote.sessions.world.clock.set(now.minus(Duration::from_secs(60)));
    assert!(verifier.verify(&pair.access).await.is_ok());
    assert_eq!(remote.asked(), 3);
    remote.sessions.world.clock.set(now);
    assert!(verifier.verify(&pair.access).await.is_ok());
    remote.sessions.advance(600 - 60 - 1);
    assert!(verifier.verify(&pair.access).await.is_ok());
    let before = remote.asked();
    remote.sessions.advance(1);
    assert!(verifier.verify(&pair.access).await.is_err(), "its own end");
    assert_eq!(remote.asked(), before + 1);
    // What is not active is asked each time.
    for _ in 0..2 {
        assert!(verifier.verify("nonsense").await.is_err());
    }
    assert_eq!(remote.asked(), before + 3);
}

/// Requirement 129: whatever is not a clear yes opens nothing.
#[tokio::test]
async fn what_is_no_clear_answer_opens_nothing() {
    let remote = Remote::new();
    let pair = remote.sessions.login("app").await;
    let good = json!({
        "active": true, "iss": ISSUER, "aud": AUDIENCE, "sub": "user-1", "client_id": "app", "scope": "profile",
        "exp": noon().unix_seconds() + 60, "token_type": "Bearer",
    });
    let with = |name: &str, value: serde_json::Value| {
        let mut changed = good.clone();
        changed[name] = value;
        changed.to_string()
    };
    let without = |name: &str| {
        let mut changed = good.clone();
        changed.as_object_mut().unwrap().remove(name);
        changed.to_string()
    };
    let verifier = remote.verifier(|tokens| tokens.cached_for(Duration::ZERO));
    let now = noon().unix_seconds() as f64;
    for answer in [
        good.to_string(),
        with("exp", json!(now + 60.5)),
        with("exp", json!(now - 28.5)),
        with("iat", json!(now + 29.5)),
        with("nbf", json!(now - 0.5)),
        with("exp", json!(1.9e9)),
        with("scope", json!("")).replace("\"profile\"", "\"\""),
    ] {
        remote.answers(200, &answer);
        assert!(verifier.verify(&pair.access).await.is_ok(), "{answer}");
    }
    let trouble = AccessFault::ServerFault;
    let cases = [
        (0, String::new(), trouble),
        (401, INACTIVE.to_owned(), trouble),
        (404, String::new(), trouble),
        (503, String::new(), trouble),
        (302, good.to_string(), trouble),
        (200, String::new(), trouble),
        (200, "[]".to_owned(), trouble),
        (200, "true".to_owned(), trouble),
        (200, r#"{"active":true,"active":true}"#.to_owned(), trouble),
        (200, with("active", json!("true")), trouble),
        (200, with("active", json!(1)), trouble),
        (200, without("active"), trouble),
        (200, without("iss"), trouble),
        (200, without("aud"), trouble),
        (200, without("sub"), trouble),
        (200, without("client_id"), trouble),
        (200, without("exp"), trouble),
        (200, with("exp", json!("9999999999")), trouble),
        (200, with("exp", json!(-1)), trouble),
        (200, with("exp", json!(1e300)), trouble),
        (200, with("iat", json!("1")), trouble),
        (200, with("exp", json!(now - 29.5)), AccessFault::Expired),
        (200, with("iat", json!(now + 30.5)), AccessFault::NotYetValid),
        (200, with("nbf", json!(now + 30.5)), AccessFault::NotYetValid),
        (200, with("nbf", json!("0")), AccessFault::NotOurs),
        (200, with("aud", json!([AUDIENCE, 1])), trouble),
        (200, with("scope", json!("a  b")), trouble),
        (200, with("filler", json!("x".repeat(70_000))), trouble),
        (200, INACTIVE.to_owned(), AccessFault::NotOurs),
        (200, with("token_type", json!("refresh_token")), AccessFault::NotOurs),
        (200, with("iss", json!("https://other.example.com")), AccessFault::Issuer),
        (200, with("aud", json!("https://other.example.com")), AccessFault::Audience),
        (200, with("exp", json!(0)), AccessFault::Expired),
        (200, with("cnf", json!({})), AccessFault::Bound),
    ];
    for (status, body, fault) in cases {
        remote.answers(status, &body);
        assert_eq!(verifier.verify(&pair.access).await.unwrap_err(), fault, "{status} {body:.200}");
    }
    let bearer = format!("Bearer {}", pair.access);
    remote.answers(500, "");
    let refusal = verifier
        .authorize(BearerRequest::new([("authorization", bearer.as_bytes())], None), "profile")
        .await
        .unwrap_err();
    assert_eq!((refusal.status(), refusal.header("retry-after")), (503, Some("1")));
    assert!(remote.events.last().contains("answered 500"), "{}", remote.events.last());
}

#[tokio::test]
async fn an_endpoint_without_answer_is_given_up() {
    let mut remote = Remote::new();
    let pair = remote.sessions.login("app").await;
    remote.wire.hangs = true;
    let verifier = remote.verifier(|tokens| tokens.timeout(Duration::from_secs(2)));
    let clock = remote.sessions.world.clock.clone();
    let (result, ()) = tokio::join!(verifier.verify(&pair.access), async {
        tokio::task::yield_now().await;
        clock.advance(Duration::from_secs(2));
    });
    assert_eq!(result.unwrap_err(), AccessFault::ServerFault);
}
