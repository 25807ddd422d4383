//! Reuse of a refresh token that was rotated: the retry of a client whose answer was lost, or
//! theft.

use std::collections::HashSet;
use std::time::Duration;

use password_grant::{HttpRequest, RequestContext};

use crate::common::sessions::{Pair, Sessions, refreshing};
use crate::common::{Answer, FORM, basic, noon, segment};

/// Requirement 104: a rotated token that is used after the retry window means theft, by its sender
/// or from its sender.
#[tokio::test]
async fn a_token_that_was_used_before_ends_its_family_and_no_other() {
    let sessions = Sessions::new();
    let (first, elsewhere) = (sessions.login("app").await, sessions.login("app").await);
    let second = Pair::of(&sessions.refresh("app", &first.refresh).await);
    sessions.advance(60);
    assert!(sessions.is_active(&second.access).await);
    sessions.refresh("app", &first.refresh).await.is(400, "invalid_grant");
    let event = sessions.world.events.last();
    let session = segment(&first.access, 1)["sid"].as_str().unwrap().to_owned();
    assert!(event.contains(&session) && event.ends_with("Reused"), "{event}");

    sessions.refresh("app", &second.refresh).await.is(400, "invalid_grant");
    for access in [&first.access, &second.access] {
        assert!(!sessions.is_active(access).await);
        assert!(sessions.verifier().verify(access).await.is_err());
    }
    sessions.refresh("app", &elsewhere.refresh).await.is_granted();
}

/// Requirement 105: the client did not get the answer. It gets the same successor again, so the
/// session does not fork.
#[tokio::test]
async fn a_lost_answer_is_given_again_with_the_same_successor() {
    let sessions = Sessions::with(|refresh| refresh.retries(2));
    let first = sessions.login("app").await;
    let second = Pair::of(&sessions.refresh("app", &first.refresh).await);
    let mut seen = HashSet::from([segment(&second.access, 1)["jti"].to_string()]);
    for _ in 0..2 {
        sessions.advance(4);
        let again = Pair::of(&sessions.refresh("app", &first.refresh).await);
        assert_eq!(again.refresh, second.refresh);
        assert!(seen.insert(segment(&again.access, 1)["jti"].to_string()), "a fresh access token");
    }
    let answer = sessions.refresh("app", &first.refresh).await;
    answer.is(503, "temporarily_unavailable");
    assert_eq!(
        answer.header("retry-after"),
        Some("1"),
        "more than a fifth of the window, and the next try is too late"
    );
    // Nothing has changed: the successor still works.
    sessions.refresh("app", &second.refresh).await.is_granted();
}

#[tokio::test]
async fn a_repeated_answer_has_the_scope_of_its_own_request() {
    let sessions = Sessions::new();
    let first = sessions.login("app").await;
    let second = Pair::of(&sessions.refresh("app", &first.refresh).await);
    let again = sessions.ask("app", &format!("{}&scope=profile", refreshing(&first.refresh))).await;
    assert_eq!(
        (again.json()["scope"].as_str(), Pair::of(&again).refresh),
        (Some("profile"), second.refresh)
    );
}

/// A token that is two rotations old, within the window: a slow retry, or a quick thief. It is
/// refused, and nothing changes.
#[tokio::test]
async fn a_straggler_within_the_window_is_told_to_wait() {
    let sessions = Sessions::new();
    let first = sessions.login("app").await;
    let second = Pair::of(&sessions.refresh("app", &first.refresh).await);
    let third = Pair::of(&sessions.refresh("app", &second.refresh).await);
    sessions.refresh("app", &first.refresh).await.is(503, "temporarily_unavailable");
    sessions.refresh("app", &third.refresh).await.is_granted();
}

/// Incident R9: the retry window does not revive a token that was revoked.
#[tokio::test]
async fn a_revoked_family_yields_nothing_within_the_window_either() {
    let sessions = Sessions::new();
    let first = sessions.login("app").await;
    let second = Pair::of(&sessions.refresh("app", &first.refresh).await);
    sessions.revoke("app", &second.refresh).await;
    for token in [&first.refresh, &second.refresh] {
        sessions.refresh("app", token).await.is(400, "invalid_grant");
    }
}

/// Requirement 107, incident R3: the order of tokens does not depend on the clock, which may stand
/// still or be set back.
#[tokio::test]
async fn in_one_instant_too_an_old_token_shows_theft() {
    let sessions = Sessions::with(|refresh| refresh.retry_window(Duration::ZERO));
    let first = sessions.login("app").await;
    let mut pair = first.clone();
    for _ in 0..3 {
        pair = Pair::of(&sessions.refresh("app", &pair.refresh).await);
    }
    sessions.world.clock.set(noon().minus(Duration::from_secs(3_600)));
    sessions.refresh("app", &first.refresh).await.is(400, "invalid_grant");
    sessions.refresh("app", &pair.refresh).await.is(400, "invalid_grant");
}

/// `Retry-After` of a refresh is short enough for a next try within the window.
#[tokio::test]
async fn no_refusal_makes_a_client_wait_beyond_the_window() {
    let sessions = Sessions::with(|refresh| refresh.retry_window(Duration::from_secs(20)));
    let pair = sessions.login("app").await;
    let form = refreshing(&pair.refresh);
    let peer = RequestContext::new().with_peer([192, 0, 2, 1].into());
    let ask = async |secret: &str| -> Answer {
        let headers = [("content-type", FORM.to_owned()), ("authorization", basic("app", secret))];
        let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes()));
        let request =
            HttpRequest::new("POST", None, headers, form.as_bytes()).context(peer.clone());
        sessions.world.grant.token(request).await.into()
    };
    for _ in 0..20 {
        ask("wrong").await.is(401, "invalid_client");
    }
    let answer = ask("app-secret").await;
    answer.is(429, "temporarily_unavailable");
    assert_eq!(answer.header("retry-after"), Some("4"));
}

/// Clients time out after half a minute and try again later: with a shorter window, one large
/// provider lost five of a hundred devices each day.
#[tokio::test]
async fn by_default_a_lost_answer_is_given_again_for_a_minute_and_thirty_two_times() {
    let sessions = Sessions::new();
    let first = sessions.login("app").await;
    let second = Pair::of(&sessions.refresh("app", &first.refresh).await);
    for _ in 0..31 {
        assert_eq!(
            Pair::of(&sessions.refresh("app", &first.refresh).await).refresh,
            second.refresh
        );
    }
    sessions.advance(59);
    assert_eq!(Pair::of(&sessions.refresh("app", &first.refresh).await).refresh, second.refresh);
    let busy = sessions.refresh("app", &first.refresh).await;
    busy.is(503, "temporarily_unavailable");
    // Two rotations old, within the window: told to wait, and nothing is revoked.
    let third = Pair::of(&sessions.refresh("app", &second.refresh).await);
    sessions.refresh("app", &first.refresh).await.is(503, "temporarily_unavailable");
    sessions.refresh("app", &third.refresh).await.is_granted();
    sessions.advance(1);
    sessions.refresh("app", &first.refresh).await.is(400, "invalid_grant");
}

/// A client that refreshes every second, and whose first retry arrives late, is not taken for a
/// thief.
#[tokio::test]
async fn a_straggler_is_known_through_a_minute_of_rotations() {
    let sessions = Sessions::new();
    let first = sessions.login("app").await;
    let mut pair = first.clone();
    for _ in 0..59 {
        pair = Pair::of(&sessions.refresh("app", &pair.refresh).await);
        sessions.advance(1);
    }
    sessions.refresh("app", &first.refresh).await.is(503, "temporarily_unavailable");
    sessions.refresh("app", &pair.refresh).await.is_granted();
}
