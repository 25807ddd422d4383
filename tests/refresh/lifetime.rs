//! How long a session lasts, and clients that keep one refresh token for all of it.

use std::time::Duration;

use password_grant::{
    BuildError, Client, Grant, JwtIssuer, PasswordGrant, RefreshTokens, SigningKeys,
};

use crate::common::sessions::{Gate, Pair, Sessions, keys};
use crate::common::{AUDIENCE, ISSUER, Users, clients};

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
