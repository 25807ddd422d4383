//! How long a session lasts, and clients that keep one refresh token for all of it.

use std::time::Duration;

use password_grant::state::{InMemoryState, StateSecret};
use password_grant::testing::ManualClock;
use password_grant::{
    BuildError, Client, Environment, Grant, JwtIssuer, PasswordGrant, RefreshTokens,
    RequestContext, SigningKeys,
};

use crate::common::sessions::{Gate, Pair, Sessions, keys};
use crate::common::{AUDIENCE, ISSUER, Users, clients, noon};

/// Requirement 108.
#[tokio::test]
async fn no_use_prolongs_a_family_beyond_its_absolute_end() {
    let hour = Duration::from_secs(3_600);
    let sessions =
        Sessions::with(|refresh| refresh.absolute_lifetime(3 * hour).idle_lifetime(hour));
    let mut pair = sessions.login("app").await;
    for _ in 0..5 {
        sessions.advance(2_000);
        pair = Pair::of(&sessions.refresh("app", &pair.refresh).await);
    }
    sessions.advance(800);
    sessions.refresh("app", &pair.refresh).await.is(400, "invalid_grant");
    // The last access token stays active until its own end.
    let pair = sessions.login("app").await;
    sessions.advance(3_600);
    sessions.refresh("app", &pair.refresh).await.is(400, "invalid_grant");
    assert!(sessions.world.events.last().ends_with("Expired"));
}

/// A host may shorten the absolute lifetime. It then ends sessions of engines with a longer one too.
#[tokio::test]
async fn a_shorter_lifetime_ends_sessions_that_have_begun_and_a_longer_one_prolongs_none() {
    const DAY: u64 = 86_400;
    let clock = ManualClock::at(noon());
    let store = InMemoryState::new().environment(&Environment::new().clock(clock.clone()));
    let engine = |days: u64| {
        let (store, clock) = (store.clone(), clock.clone());
        Sessions::in_environment(
            Users::default(),
            |own| own.clock(clock),
            |refresh| refresh.absolute_lifetime(Duration::from_secs(days * DAY)),
            |builder| builder.shared_state(store, StateSecret::new([0x5a; 32]).unwrap()),
        )
    };
    let (short, long) = (engine(10), engine(400));
    let (of_short, of_long) = (short.login("app").await, long.login("app").await);
    let ends = async |engine: &Sessions, pair: &Pair| {
        let answer = engine.introspect("app", &pair.refresh).await.json();
        answer["exp"].as_u64().map(|end| (end - noon().unix_seconds()) / DAY)
    };
    for pair in [&of_short, &of_long] {
        assert_eq!(ends(&short, pair).await, Some(10));
    }
    assert_eq!((ends(&long, &of_short).await, ends(&long, &of_long).await), (Some(10), Some(400)));
    clock.advance(Duration::from_secs(9 * DAY));
    let of_long = Pair::of(&short.refresh("app", &of_long.refresh).await);
    clock.advance(Duration::from_secs(DAY));
    for (engine, pair) in [(&short, &of_long), (&short, &of_short), (&long, &of_short)] {
        engine.refresh("app", &pair.refresh).await.is(400, "invalid_grant");
        assert_eq!(ends(engine, pair).await, None);
    }

    // A log-out is forgotten after 401 days, and the session that it ended has not come back.
    let of_long = long.login("app").await;
    let subject = "user-1".into();
    short.world.grant.log_out_everywhere(&subject, &RequestContext::new()).await.unwrap();
    clock.advance(Duration::from_secs(401 * DAY));
    short.refresh("app", &of_long.refresh).await.is(400, "invalid_grant");
    assert!(short.world.events.last().ends_with("Unknown"), "{}", short.world.events.last());
}

#[tokio::test]
async fn an_access_token_outlives_the_end_of_its_family() {
    let minute = Duration::from_secs(60);
    let sessions = Sessions::with(|refresh| refresh.absolute_lifetime(2 * minute));
    let pair = sessions.login("app").await;
    sessions.advance(300);
    assert!(sessions.is_active(&pair.access).await);
    sessions.advance(300);
    assert!(!sessions.is_active(&pair.access).await, "that is its own end");
}

#[tokio::test]
async fn numbers_that_make_no_sense_are_refused_when_the_engine_is_built() {
    let second = Duration::from_secs(1);
    let with = |refresh: RefreshTokens| {
        let tokens = JwtIssuer::new(SigningKeys::generate().unwrap(), AUDIENCE);
        PasswordGrant::builder(ISSUER, clients(), Users::default(), tokens)
            .refresh_tokens(refresh)
            .build()
    };
    let refresh = || RefreshTokens::new(keys(), Gate::default());
    assert!(with(refresh()).is_ok());
    for refresh in [
        refresh().absolute_lifetime(401 * 86_400 * second),
        refresh().absolute_lifetime(second),
        refresh().idle_lifetime(second),
        refresh().retry_window(601 * second),
        refresh().sessions(0),
        refresh().sessions(501),
    ] {
        assert!(matches!(with(refresh), Err(BuildError::RefreshTokens(_))));
    }
}

#[tokio::test]
async fn a_confidential_client_may_keep_its_token_and_a_public_one_never() {
    let sessions = Sessions::with(|refresh| refresh.idle_lifetime(Duration::from_secs(3_600)));
    let first = sessions.login("keeper").await;
    for _ in 0..5 {
        sessions.advance(3_000);
        let again = Pair::of(&sessions.refresh("keeper", &first.refresh).await);
        assert_eq!(again.refresh, first.refresh);
    }
    sessions.revoke("keeper", &first.refresh).await;
    sessions.refresh("keeper", &first.refresh).await.is(400, "invalid_grant");
    let first = sessions.login("keeper").await;
    sessions.advance(3_600);
    sessions.refresh("keeper", &first.refresh).await.is(400, "invalid_grant");
    assert!(sessions.world.events.last().ends_with("Expired"));

    let both = [Grant::Password, Grant::RefreshToken];
    let phone =
        Client::public("phone").grants(both).scope("profile offline_access".parse().unwrap());
    sessions.world.clients.insert(phone.without_rotation());
    let first = sessions.login("phone").await;
    assert_ne!(Pair::of(&sessions.refresh("phone", &first.refresh).await).refresh, first.refresh);
}
