//! The order of the checks, grants, and the granted scope (RFC 6749 section 3.3).

use password_grant::{Client, Grant, Login, Scope};

use crate::common::{GOOD, Users, World, basic};
use crate::support::scope;

/// Requirements 67 and 17: each request has one fault more than the one before it, in the order of
/// the checks, and gets the answer of the first check that fails. No later step is called.
#[tokio::test]
async fn checks_come_in_their_order_and_the_password_is_looked_at_last() {
    let world = World::default();
    let right = basic("web", "web-secret");
    let wrong = basic("web", "wrong");
    let idle = basic("idle", "idle-secret");
    for (authorization, form, status, error) in [
        // Malformed requests are refused before the client is looked up.
        (&wrong, "grant_type=magic&scope=%22", 400, "invalid_scope"),
        (&wrong, "client_secret=x", 400, "invalid_request"),
        // The client is authenticated before parameters that are missing or not allowed are
        // reported.
        (&wrong, "", 401, "invalid_client"),
        (&wrong, "grant_type=magic", 401, "invalid_client"),
        (&right, "scope=admin", 400, "invalid_request"),
        (&right, "grant_type=magic&scope=admin", 400, "unsupported_grant_type"),
        (&right, "grant_type=authorization_code&code=x", 400, "unsupported_grant_type"),
        (&right, "grant_type=Password", 400, "unsupported_grant_type"),
        (&idle, "grant_type=password&scope=admin", 400, "unauthorized_client"),
        (&right, "grant_type=password&scope=admin&resource=x", 400, "invalid_scope"),
        (&right, "grant_type=password&resource=x", 400, "invalid_target"),
        (&right, "grant_type=password", 400, "invalid_request"),
        (&right, "grant_type=password&username=alice", 400, "invalid_request"),
        (&right, "grant_type=password&password=wonderland", 400, "invalid_request"),
    ] {
        world.send(&[("authorization", authorization)], form).await.is(status, error);
        assert_eq!(world.users.asked(), 0, "{form}");
    }
    world.post(&GOOD.replace("wonderland", "wrong")).await.is(400, "invalid_grant");
    assert_eq!(world.users.asked(), 1);
}

/// Incident I6, requirement 66: a client without a grant may use none.
#[tokio::test]
async fn a_client_may_use_no_grant_until_it_is_given_one() {
    let world = World::default();
    world.clients.insert(Client::public("new").scope(scope("profile")));
    world.send(&[], &format!("{GOOD}&client_id=new")).await.is(400, "unauthorized_client");
    assert_eq!(world.users.asked(), 0);
    assert_eq!(world.events.last(), r#"client "new" is not registered for what it asked: Grant"#);
}

#[tokio::test]
async fn the_scope_is_what_was_asked_for_or_the_default_and_nothing_is_silently_left_out() {
    let world = World::default();
    world.clients.insert(Client::public("scopeless").grants([Grant::Password]));
    let form =
        |scope: &str| format!("grant_type=password&username=alice&password=wonderland{scope}");
    for (client, asked, granted) in [
        ("web", "", Ok("profile")),
        ("web", "&scope=", Ok("profile")),
        ("web", "&scope=orders:read", Ok("orders:read")),
        ("web", "&scope=orders%3Aread+profile", Ok("orders:read profile")),
        ("web", "&scope=profile+profile", Ok("profile")),
        ("web", "&scope=profile+admin", Err("invalid_scope")),
        ("web", "&scope=Profile", Err("invalid_scope")),
        ("web", "&scope=orders", Err("invalid_scope")),
        ("mobile", "", Err("invalid_scope")), // no default: RFC 6749 section 3.3
        ("mobile", "&scope=profile", Ok("profile")),
        ("scopeless", "", Ok("")),
        ("scopeless", "&scope=profile", Err("invalid_scope")),
    ] {
        let form = form(asked);
        let answer = match client {
            "web" => world.post(&form).await,
            public => world.send(&[], &format!("{form}&client_id={public}")).await,
        };
        match granted {
            Ok("") => {
                assert_eq!(answer.is_granted().get("scope"), None);
                assert_eq!(answer.claims().get("scope"), None);
            }
            Ok(granted) => {
                assert_eq!(answer.is_granted()["scope"], granted, "{client} {asked}");
                assert_eq!(answer.claims()["scope"], granted);
            }
            Err(error) => answer.is(400, error),
        }
    }
}

#[tokio::test]
async fn no_client_gets_a_scope_that_the_server_does_not_have() {
    let world = World::with(Users::default(), |builder| builder.scopes(scope("profile")));
    world.post(GOOD).await.is_granted();
    let orders = GOOD.replace("scope=profile", "scope=orders:read");
    world.post(&orders).await.is(400, "invalid_scope");
}

/// A default scope beyond the registered scope is a fault of the host, not of the caller, and is
/// never granted.
#[tokio::test]
async fn a_registration_that_contradicts_itself_is_our_trouble() {
    let world = World::default();
    world.clients.insert(
        Client::public("odd")
            .grants([Grant::Password])
            .scope(scope("profile"))
            .default_scope(scope("profile admin")),
    );
    let form = "grant_type=password&username=alice&password=wonderland&client_id=odd";
    world.send(&[], form).await.is(503, "temporarily_unavailable");
    let fault = world.events.last();
    assert!(fault.starts_with(r#"server fault: ClientRegistration with client "odd""#), "{fault}");
    assert!(fault.contains("default_scope: \\\"admin\\\""), "{fault}");
    assert_eq!(world.users.asked(), 0);
}

/// Requirement 71: the authenticator can narrow the scope, and never widens it.
#[tokio::test]
async fn the_final_scope_lies_within_what_was_asked_for() {
    for (most, granted) in [
        (Some("profile"), Some("profile")),
        (Some("orders:read admin profile"), Some("profile orders:read")),
        (Some("admin"), None),
        (Some(""), None),
        (None, Some("profile orders:read")),
    ] {
        let world = World::of(Users::who(move |_| {
            let login = Login::accepted("user-1");
            Ok(match most {
                Some("") => login.scope(Scope::empty()),
                Some(most) => login.scope(scope(most)),
                None => login,
            })
        }));
        let answer =
            world.post("grant_type=password&username=a&password=b&scope=profile+orders:read").await;
        match granted {
            Some(granted) => {
                assert_eq!(answer.is_granted()["scope"], granted);
                assert_eq!(answer.claims()["scope"], granted);
            }
            None => answer.is(400, "invalid_scope"),
        }
    }
}
