//! A refresh token is used once and yields the next one; whatever is wrong with it, the answer is
//! the same.

use std::collections::HashSet;
use std::time::Duration;

use password_grant::{HttpRequest, RefreshKeys, RefreshTokens, RequestContext};

use crate::common::sessions::{Gate, Pair, Sessions, refreshing};
use crate::common::{Answer, FORM, Users, basic, segment};

/// Requirement 112.
#[tokio::test]
async fn each_use_yields_another_token_of_the_same_family() {
    for client in ["app", "phone"] {
        let sessions = Sessions::new();
        let mut pair = sessions.login(client).await;
        let sid = segment(&pair.access, 1)["sid"].clone();
        let mut seen = HashSet::from([pair.refresh.clone()]);
        for _ in 0..5 {
            sessions.advance(60);
            let answer = sessions.refresh(client, &pair.refresh).await;
            let json = answer.is_granted();
            assert_eq!(json["scope"], "profile offline_access");
            assert_eq!(
                (json["token_type"].as_str(), json["expires_in"].as_u64()),
                (Some("Bearer"), Some(600))
            );
            assert_eq!(answer.header("cache-control"), Some("no-store"));
            let next = Pair::of(&answer);
            let (old, new) = (segment(&pair.access, 1), segment(&next.access, 1));
            assert_eq!(
                (&new["sid"], &new["sub"], &new["client_id"]),
                (&sid, &old["sub"], &old["client_id"])
            );
            assert_eq!(new["iat"].as_u64(), old["iat"].as_u64().map(|time| time + 60));
            assert_ne!(new["jti"], old["jti"]);
            assert!(seen.insert(next.refresh.clone()));
            pair = next;
        }
        assert!(
            sessions.world.events.last().contains("of session"),
            "{}",
            sessions.world.events.last()
        );
    }
}

/// Requirements 34 and 101, incidents R7 and R11: a refresh token works for its own client only,
/// and no other client can make it unusable.
#[tokio::test]
async fn another_client_gets_nothing_and_changes_nothing() {
    let sessions = Sessions::new();
    let pair = sessions.login("app").await;
    let refused = sessions.refresh("app", "rt1.nonsense").await;
    for client in ["other", "phone"] {
        assert_eq!(sessions.refresh(client, &pair.refresh).await, refused);
        assert!(
            sessions.world.events.last().ends_with("OtherClient"),
            "{}",
            sessions.world.events.last()
        );
    }
    sessions.ask("", &refreshing(&pair.refresh)).await.is(401, "invalid_client");
    let wrong = basic("app", "wrong");
    let answer =
        sessions.world.send(&[("authorization", &wrong)], &refreshing(&pair.refresh)).await;
    answer.is(401, "invalid_client");
    // A client of the same name in another tenant is another client.
    let context = RequestContext::new().with_tenant("elsewhere");
    let form = refreshing(&pair.refresh);
    let headers = [
        ("content-type", FORM.as_bytes()),
        ("authorization", &*basic("app", "app-secret").into_bytes()),
    ]
    .map(|(name, value)| (name, value.to_vec()));
    let headers = headers.iter().map(|(name, value)| (*name, &**value));
    let request = HttpRequest::new("POST", None, headers, form.as_bytes()).context(context);
    assert_eq!(Answer::from(sessions.world.grant.token(request).await), refused);

    sessions.refresh("app", &pair.refresh).await.is_granted();
}

#[tokio::test]
async fn a_request_without_a_token_is_told_so() {
    let sessions = Sessions::new();
    for form in ["grant_type=refresh_token", "grant_type=refresh_token&refresh_token="] {
        sessions.ask("app", form).await.is(400, "invalid_request");
    }
    sessions
        .ask("plain", "grant_type=refresh_token&refresh_token=x")
        .await
        .is(400, "unauthorized_client");
}

/// Requirement 114: the answer does not depend on what is wrong with the token.
#[tokio::test]
async fn every_cause_has_the_same_answer() {
    let sessions = Sessions::with(|refresh| refresh.retry_window(Duration::ZERO));
    let refused = sessions.refresh("app", "nonsense").await;
    refused.is(400, "invalid_grant");

    let expired = sessions.login("app").await;
    sessions.advance(30 * 86_400);
    let reused = sessions.login("app").await;
    sessions.refresh("app", &reused.refresh).await.is_granted();
    let revoked = sessions.login("app").await;
    sessions.revoke("app", &revoked.refresh).await;
    let other = sessions.login("other").await;
    let theirs = Sessions::new().login("app").await;
    let of_another_key = RefreshKeys::new([0x22; 32]).unwrap();
    let elsewhere = Sessions::over(
        Users::default(),
        |_| RefreshTokens::new(of_another_key, Gate::default()),
        |builder| builder,
    );
    let not_ours = elsewhere.login("app").await;
    for (token, cause) in [
        (&expired.refresh, "Expired"),
        (&reused.refresh, "Reused"),
        (&reused.refresh, "Revoked"),
        (&revoked.refresh, "Revoked"),
        (&other.refresh, "OtherClient"),
        (&theirs.refresh, "Unknown"),
        (&not_ours.refresh, "NotOurs"),
    ] {
        assert_eq!(sessions.refresh("app", token).await, refused, "{cause}");
        assert!(
            sessions.world.events.last().ends_with(cause),
            "{cause}: {}",
            sessions.world.events.last()
        );
    }
}

/// If any character of a token is changed it is refused, and the session goes on.
#[tokio::test]
async fn a_changed_token_is_refused_and_its_family_goes_on() {
    let sessions = Sessions::new();
    let pair = sessions.login("app").await;
    for index in [0, 4, 9, 30, 40, 60, 90, pair.refresh.len() - 1] {
        let mut changed = pair.refresh.clone().into_bytes();
        changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        sessions.refresh("app", &changed).await.is(400, "invalid_grant");
    }
    sessions.refresh("app", &pair.refresh).await.is_granted();
}

/// Anything that is not a refresh token of this server is answered as an invalid one. A client of a
/// server that this one replaces then logs in again.
#[tokio::test]
async fn an_odd_refresh_token_is_unknown_and_not_malformed() {
    let sessions = Sessions::new();
    let refused = sessions.refresh("app", "rt1.nonsense").await;
    refused.is(400, "invalid_grant");
    for odd in [
        "a".repeat(2_049),
        "a".repeat(60_000),
        format!("rt1.{}", "A".repeat(9_000)),
        "%C3%A9".to_owned(),
        "rt1.%C3%A9".to_owned(),
        "%00".to_owned(),
        "a%0D%0Ab".to_owned(),
        "%EF%BF%BD".to_owned(),
        "+".to_owned(),
        "=".to_owned(),
        "%22%5C".to_owned(),
    ] {
        assert_eq!(sessions.refresh("app", &odd).await, refused, "{odd}");
    }
    for malformed in ["%FF", "%zz", "", "a&refresh_token=a"] {
        sessions.refresh("app", malformed).await.is(400, "invalid_request");
    }
}
