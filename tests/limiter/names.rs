//! Which spellings, tenants and addresses are counted as one.

use std::time::Duration;

use password_grant::limiter::{AccountNames, LimitKey};
use password_grant::state::InMemoryState;
use password_grant::{AttemptLimits, BoxError, RequestContext, async_trait};

use crate::common::{GOOD, Users, World};
use crate::support::{
    ALICE, BURST, HOME, Waits, count, form_of, from, post, post_as, secret, wrong,
};

/// Requirement 87: a variant of a name does not allow further guesses.
#[tokio::test]
async fn spellings_that_a_look_up_may_take_for_one_name_are_counted_as_one() {
    let world = World::default();
    for name in [
        "alice",
        "Alice",
        "ALICE",
        "+alice",
        "alice+",
        "%EF%BD%81lice",
        "ALic%65",
        "a%6Cice",
        "aLICE",
        "alicE",
    ] {
        world.post(&form_of(name, "wrong")).await.is(400, "invalid_grant");
    }
    world.post(&wrong()).await.waits(1);
}

/// Requirement 87: if one account has several names, the host says so.
#[tokio::test]
async fn the_host_can_say_which_names_are_one_account() {
    struct Phones;
    #[async_trait]
    impl AccountNames for Phones {
        async fn account(
            &self,
            username: &str,
            context: &RequestContext,
        ) -> Result<String, BoxError> {
            assert_eq!(context.tenant(), None);
            match username {
                "+49123" | "alice" => Ok("user-1".into()),
                "broken" => Err("no directory".into()),
                other => Ok(other.into()),
            }
        }
    }
    let world = World::with(Users::default(), |builder| builder.account_names(Phones));
    world.fails(5).await;
    for _ in 0..5 {
        world.post(&form_of("%2B49123", "wrong")).await.is(400, "invalid_grant");
    }
    world.post(&wrong()).await.waits(1);
    world.post(&form_of("bob", "wrong")).await.is(400, "invalid_grant");
    assert_eq!(
        count(&world.grant, LimitKey::Account { username: "+49123" }, &RequestContext::new())
            .await
            .failures,
        10
    );
    let asked = world.users.asked();
    world.post(&form_of("broken", "wrong")).await.is(503, "temporarily_unavailable");
    assert_eq!(world.users.asked(), asked, "nothing is judged that could not be counted");
    assert!(
        world.events.last().contains("AccountNames")
            && world.events.last().contains("no directory")
    );
}

/// Requirement 86, incident I9: the same name in two tenants is two accounts.
#[tokio::test]
async fn a_name_is_counted_in_its_tenant() {
    let world = World::default();
    let tenant = |name: &str| RequestContext::new().with_tenant(name);
    for _ in 0..BURST {
        post(&world.grant, &tenant("one"), &wrong()).await.is(400, "invalid_grant");
    }
    post(&world.grant, &tenant("one"), GOOD).await.waits(1);
    post(&world.grant, &tenant("two"), GOOD).await.is_granted();
    post(&world.grant, &RequestContext::new(), GOOD).await.is_granted();
}

/// Known devices belong to a tenant too: each has a burst of its own, and in another tenant the
/// same name is somebody else.
#[tokio::test]
async fn an_origin_is_known_in_its_tenant() {
    let world = World::default();
    let [one, two] = ["one", "two"].map(|tenant| from(HOME).with_tenant(tenant));
    post(&world.grant, &one, GOOD).await.is_granted();
    post(&world.grant, &two, &wrong()).await.is(400, "invalid_grant");
    post(&world.grant, &one, &wrong()).await.is(400, "invalid_grant");
    assert_eq!(count(&world.grant, ALICE, &two).await.failures, 1, "charged to the name");
    assert_eq!(count(&world.grant, ALICE, &one).await.failures, 0, "charged to the place");
}

/// Clients are counted in their tenant too.
#[tokio::test]
async fn a_client_is_counted_in_its_tenant() {
    // Clients are counted in groups. With this secret, the two are in different groups.
    let world = World::with(Users::default(), |builder| {
        builder.shared_state(InMemoryState::new(), secret())
    });
    let [one, two] = ["one", "two"].map(|tenant| from(HOME).with_tenant(tenant));
    for _ in 0..20 {
        post_as(&world.grant, &one, ("web", "guess"), GOOD).await.is(401, "invalid_client");
    }
    post(&world.grant, &one, GOOD).await.is(429, "temporarily_unavailable");
    post(&world.grant, &two, GOOD).await.is_granted();
}

/// Requirement 92: an IPv6 user has more addresses than can be counted, so a network counts as one.
#[tokio::test]
async fn addresses_are_counted_as_their_holder_has_them() {
    let minutes = Duration::from_secs(600);
    let world = World::with(Users::default(), |builder| {
        builder.attempt_limits(AttemptLimits::default().source(3, minutes).network(6, minutes))
    });
    let guess = async |address: &str, number: usize| {
        post(&world.grant, &from(address), &form_of(&format!("user{number}"), "wrong")).await
    };
    for (number, address) in
        ["2001:db8:0:1::1", "2001:db8:0:1::2", "2001:db8:0:1:ffff::"].into_iter().enumerate()
    {
        guess(address, number).await.is(400, "invalid_grant");
    }
    guess("2001:db8:0:1::9", 3).await.waits(1_200);
    for number in 4..7 {
        guess("2001:db8:0:2::1", number).await.is(400, "invalid_grant");
    }
    guess("2001:db8:0:3::1", 7).await.waits(1_200);
    guess("2001:db8:1::1", 8).await.is(400, "invalid_grant");
    for number in 9..12 {
        guess("198.51.100.7", number).await.is(400, "invalid_grant");
    }
    guess("::ffff:198.51.100.7", 12).await.waits(1_200);
    world.clock.advance(minutes * 2 - Duration::from_secs(1));
    guess("198.51.100.7", 13).await.waits(1);
    world.clock.advance(Duration::from_secs(1));
    guess("198.51.100.7", 14).await.is(400, "invalid_grant");
}
