//! An assertion is good for one request (`jti`, RFC 7523 section 3).

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use password_grant::state::{
    Change, Commit, InMemoryState, Loaded, StateKey, StateSecret, StateStore,
};
use password_grant::testing::ManualClock;
use password_grant::time::SystemClock;
use password_grant::{
    BoxError, ClientAuthentication, Clock, Environment, HttpRequest, PasswordGrantBuilder,
    RequestContext, async_trait,
};

use crate::common::{FORM, ISSUER, Users, World, noon};
use crate::support::{
    Forge, ask, changed, claims, claims_with, client, is_refused, set, with, world_of,
};

/// Requirements 59 and 60; incidents C1, C3, C4, C6.
#[tokio::test]
async fn an_assertion_is_good_for_one_request() {
    let forge = Forge::new();
    let world = world_of(&forge.key());
    let good = forge.claims(&claims());
    ask(&world, &good).await.is_granted();
    is_refused(&ask(&world, &good).await, &world, "AssertionSeen", &"again");

    // It stays refused for as long as it would otherwise be accepted: until it has expired by the
    // slowest clock that is allowed.
    let late = forge.claims(&claims_with("exp", noon().unix_seconds() + 100));
    ask(&world, &late).await.is_granted();
    world.clock.advance(Duration::from_secs(129));
    is_refused(&ask(&world, &late).await, &world, "AssertionSeen", &"at the last moment");
    world.clock.advance(Duration::from_secs(1));
    is_refused(&ask(&world, &late).await, &world, "AssertionTime", &"expired");
}

/// The clocks of the instances may be a minute apart.
#[tokio::test]
async fn a_store_whose_clock_is_ahead_remembers_for_as_long_as_an_assertion_is_taken() {
    let (forge, ahead) = (Forge::new(), ManualClock::at(noon().plus(Duration::from_secs(59))));
    let state = InMemoryState::new().environment(&Environment::new().clock(ahead.clone()));
    let world = World::with(Users::default(), |builder| {
        builder
            .shared_state(state, StateSecret::new([7; 32]).unwrap())
            .dangerous_without_attempt_limits()
    });
    let keys = ClientAuthentication::private_key_jwt(&set(forge.key().public_jwk())).unwrap();
    world.clients.insert(client("backend", keys));
    let used = forge.claims(&claims_with("exp", noon().unix_seconds() + 100));
    ask(&world, &used).await.is_granted();
    for clock in [&world.clock, &ahead] {
        clock.advance(Duration::from_secs(129));
    }
    is_refused(&ask(&world, &used).await, &world, "AssertionSeen", &"at the last moment");
}

/// Incident C4: two issuers that share a store record the assertions of a client separately.
#[tokio::test]
async fn two_issuers_over_one_store_do_not_use_up_each_others_assertions() {
    let (forge, state) = (Forge::new(), InMemoryState::new());
    let registered = world_of(&forge.key());
    let issuers = [ISSUER, "https://other.example.com"];
    let engines = issuers.map(|issuer| {
        let keys = password_grant::SigningKeys::generate().unwrap();
        let tokens = password_grant::JwtIssuer::new(keys, "https://api.example.com");
        let builder = password_grant::PasswordGrant::builder(
            issuer,
            registered.clients.clone(),
            Users::default(),
            tokens,
        );
        let state = state.clone().environment(&Environment::new().clock(registered.clock.clone()));
        let builder = builder.shared_state(state, StateSecret::new([7; 32]).unwrap());
        builder
            .environment(&Environment::new().clock(registered.clock.clone()).observer(()))
            .build()
            .unwrap()
    });
    let claims = claims();
    for expected in [200, 401] {
        for (issuer, engine) in issuers.iter().zip(&engines) {
            let form = with(&forge.claims(&changed(&claims, "aud", *issuer)));
            let headers = [("content-type", FORM.as_bytes())];
            let answer =
                engine.token(HttpRequest::new("POST", None, headers, form.as_bytes())).await;
            assert_eq!(answer.status(), expected, "{issuer}");
        }
    }
}

#[tokio::test]
async fn what_is_not_verified_is_not_remembered() {
    let (forge, stranger) = (Forge::new(), Forge::new());
    let world = world_of(&forge.key());
    let claims = claims();
    let mut elsewhere = claims.clone();
    elsewhere["aud"] = "https://other.example.com".into();
    is_refused(
        &ask(&world, &stranger.claims(&claims)).await,
        &world,
        "AssertionSignature",
        &"a stranger",
    );
    is_refused(
        &ask(&world, &forge.claims(&elsewhere)).await,
        &world,
        "AssertionAudience",
        &"elsewhere",
    );
    let (signed, _) =
        forge.claims(&claims).rsplit_once('.').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    is_refused(
        &ask(&world, &format!("{signed}.AAAA")).await,
        &world,
        "AssertionSignature",
        &"no signature",
    );
    ask(&world, &forge.claims(&claims)).await.is_granted();

    // Two clients may use the same `jti`.
    world.clients.insert(client(
        "other",
        ClientAuthentication::private_key_jwt(&set(forge.key().public_jwk())).unwrap(),
    ));
    let mut of_other = claims.clone();
    (of_other["iss"], of_other["sub"]) = ("other".into(), "other".into());
    ask(&world, &forge.claims(&of_other)).await.is_granted();
}

/// Incident C3: of two hundred requests with one assertion at once, exactly one is granted.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_hundred_uses_at_once_one_is_the_first() {
    let (forge, state) = (Forge::new(), InMemoryState::new());
    let public = set(forge.key().public_jwk());
    let worlds: Vec<World> = (0..4)
        .map(|instance| {
            // This needs the system's clock: requests that lose the race wait for a moment and load
            // again.
            let configure = |builder: PasswordGrantBuilder, _: &ManualClock| match instance {
                0 | 1 => builder.shared_state(state.clone(), StateSecret::new([7; 32]).unwrap()),
                _ => builder,
            };
            let world = World::in_environment(
                Users::default(),
                |own| own.clock(SystemClock::new()),
                configure,
            );
            world
                .clients
                .insert(client("backend", ClientAuthentication::private_key_jwt(&public).unwrap()));
            world
        })
        .collect();
    // Two instances over one store, and one with a store of its own.
    for instances in [&worlds[..2], &worlds[2..3]] {
        let now = SystemClock::new().now().unix_seconds();
        let mut claims = claims_with("exp", now + 60);
        claims["iat"] = now.into();
        let assertion = Arc::new(with(&forge.claims(&claims)));
        let barrier = Arc::new(tokio::sync::Barrier::new(200));
        let asking = (0..200).map(|number| {
            let (grant, form) =
                (instances[number % instances.len()].grant.clone(), assertion.clone());
            let barrier = barrier.clone();
            tokio::spawn(async move {
                barrier.wait().await;
                let headers = [("content-type", FORM.as_bytes())];
                grant.token(HttpRequest::new("POST", None, headers, form.as_bytes())).await.status()
            })
        });
        let statuses: Vec<u16> = join_all(asking).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
        assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 199, "{statuses:?}");
    }
}

/// Incident C8: a client fills only its own share of the store, and no assertion is forgotten early
/// to make room. Each of the two parts has half of the share, rounded up.
#[tokio::test]
async fn a_client_with_too_many_assertions_waits_alone_and_nothing_is_forgotten() {
    let forge = Forge::new();
    let world = World::with(Users::default(), |builder| builder.max_assertions_per_client(129));
    let keys = || ClientAuthentication::private_key_jwt(&set(forge.key().public_jwk())).unwrap();
    world.clients.insert(client("backend", keys()));
    world.clients.insert(client("other", keys()));
    let (mut granted, mut full) = (Vec::new(), None);
    // So many that each part is filled.
    for _ in 0..500 {
        let assertion = forge.claims(&claims());
        let answer = ask(&world, &assertion).await;
        if answer.status == 200 {
            granted.push(assertion);
            continue;
        }
        answer.is(503, "temporarily_unavailable");
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert!(world.events.last().contains("TooManyAssertions"), "{}", world.events.last());
        full = Some(assertion);
    }
    assert_eq!(granted.len(), 130, "65 in each part");
    for assertion in &granted {
        is_refused(&ask(&world, assertion).await, &world, "AssertionSeen", &"seen before full");
    }
    let of_other = |mut claims: serde_json::Value| {
        (claims["iss"], claims["sub"]) = ("other".into(), "other".into());
        forge.claims(&claims)
    };
    ask(&world, &of_other(claims())).await.is_granted();
    ask(&world, &full.unwrap()).await.is(503, "temporarily_unavailable");
    // Two minutes after the assertions have expired, there is room again.
    world.clock.advance(Duration::from_secs(300 + 30 + 120));
    let now = world.clock.now().unix_seconds();
    for _ in 0..2 {
        ask(&world, &forge.claims(&claims_with("exp", now + 300))).await.is_granted();
    }
}

/// Two tenants may have clients of one name. They use up neither each other's assertions nor each
/// other's room.
#[tokio::test]
async fn clients_of_one_name_in_two_tenants_are_told_apart() {
    let forge = Forge::new();
    let world = World::with(Users::default(), |builder| builder.max_assertions_per_client(16));
    let keys = ClientAuthentication::private_key_jwt(&set(forge.key().public_jwk())).unwrap();
    world.clients.insert(client("backend", keys));
    let ask = async |tenant: Option<&str>, assertion: &str| {
        let form = with(assertion);
        let headers = [("content-type", FORM.as_bytes())];
        let context = tenant
            .map_or_else(RequestContext::new, |tenant| RequestContext::new().with_tenant(tenant));
        let request = HttpRequest::new("POST", None, headers, form.as_bytes()).context(context);
        world.grant.token(request).await.status()
    };
    let tenants = [None, Some("a"), Some("b")];
    let assertion = forge.claims(&claims());
    for expected in [200, 401] {
        for tenant in tenants {
            assert_eq!(ask(tenant, &assertion).await, expected, "{tenant:?}");
        }
    }
    // One was used in the first tenant, and none in another one.
    for (tenant, room) in [(None, 15), (Some("c"), 16)] {
        let mut granted = 0;
        for _ in 0..300 {
            granted += usize::from(ask(tenant, &forge.claims(&claims())).await == 200);
        }
        assert_eq!(granted, room, "{tenant:?}");
    }
}

/// Requirement 60: an assertion that cannot be recorded is not accepted.
#[tokio::test]
async fn an_assertion_that_cannot_be_remembered_is_not_taken() {
    struct Down;
    #[async_trait]
    impl StateStore for Down {
        async fn load(&self, keys: &[StateKey]) -> Result<Loaded, BoxError> {
            Ok(Loaded { now: noon(), rows: vec![None; keys.len()] })
        }

        async fn commit(&self, _: &[Change]) -> Result<Commit, BoxError> {
            Err("no connection".into())
        }
    }
    let forge = Forge::new();
    let world = World::with(Users::default(), |builder| {
        builder
            .shared_state(Down, StateSecret::new([7; 32]).unwrap())
            .dangerous_without_attempt_limits()
    });
    world.clients.insert(client(
        "backend",
        ClientAuthentication::private_key_jwt(&set(forge.key().public_jwk())).unwrap(),
    ));
    ask(&world, &forge.claims(&claims())).await.is(503, "temporarily_unavailable");
    assert_eq!(world.users.asked(), 0);
    assert!(world.events.last().starts_with("server fault: StateStore"));
}
