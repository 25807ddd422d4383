//! Which logins yield a refresh token: the client may have one, and the granted scope says so.

use password_grant::Login;

use crate::common::sessions::{OFFLINE, Sessions};
use crate::common::{Users, World, segment};

/// Requirement 72: the client may have one, and the granted scope says so.
#[tokio::test]
async fn a_login_yields_a_refresh_token_only_where_client_and_scope_say_so() {
    let sessions = Sessions::new();
    let plain = OFFLINE.replace("+offline_access", "");
    for (client, form, given) in [
        ("app", OFFLINE, true),
        ("phone", OFFLINE, true),
        ("app", plain.as_str(), false),
        ("plain", OFFLINE, false), // may not use the grant
    ] {
        let json = sessions.ask(client, form).await.is_granted();
        assert_eq!(json["refresh_token"].is_string(), given, "{client}: {form}");
        let sid = segment(json["access_token"].as_str().unwrap(), 1)["sid"].clone();
        assert_eq!(sid.is_string(), given);
    }
    assert_eq!(
        World::default().post("grant_type=refresh_token&refresh_token=x").await.json()["error"],
        "unsupported_grant_type"
    );
}

#[tokio::test]
async fn the_host_can_give_one_for_another_scope_or_for_every_login() {
    let form = OFFLINE.replace("+offline_access", "");
    for (scope, given) in [("profile", true), ("orders:read", false), ("", true)] {
        let sessions = Sessions::with(|refresh| refresh.required_scope(scope.parse().unwrap()));
        assert_eq!(
            sessions.ask("app", &form).await.is_granted()["refresh_token"].is_string(),
            given,
            "{scope:?}"
        );
    }
}

/// A user who may not grant `offline_access` gets no refresh token, though the client asked for it.
#[tokio::test]
async fn what_the_owner_may_not_grant_yields_no_refresh_token() {
    let users = Users::who(|_| Ok(Login::accepted("user-1").scope("profile".parse()?)));
    let sessions = Sessions::over(users, |refresh| refresh, |builder| builder);
    let json = sessions.ask("app", OFFLINE).await.is_granted();
    assert_eq!(
        (json["scope"].as_str(), json["refresh_token"].is_string()),
        (Some("profile"), false)
    );
}
