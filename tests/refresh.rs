//! Refresh tokens (RFC 6749 section 6): one family a login, which never forks and ends when one of its tokens is stolen.

mod common;

use std::collections::HashSet;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use common::sessions::{Gate, OFFLINE, Pair, Sessions, keys, refreshing, register, verifier};
use common::{AUDIENCE, Answer, Events, FORM, ISSUER, Users, World, basic, noon, segment};
use password_grant::environment::{RandomnessError, SecureRandom, SystemRandom};
use password_grant::state::{
    Change, Commit, InMemoryState, Loaded, StateKey, StateSecret, StateStore, Write,
};
use password_grant::testing::{InMemoryClients, InMemoryTokens, ManualClock};
use password_grant::time::BoxFuture;
use password_grant::token::OpaqueIssuer;
use password_grant::{
    AccessToken, Admission, Authorization, BoxError, BuildError, Client, ClientSecret, Environment,
    Grant, HttpRequest, JwtIssuer, Login, LoginAttempt, PasswordGrant, PasswordGrantBuilder,
    RefreshKeys, RefreshTokens, Rejection, RequestContext, SigningKeys, TokenIssuer,
    UserAuthenticator, async_trait,
};

// --- Who is given one --------------------------------------------------------------------------------------------------

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

/// A user who may not grant it gets none, though the client asked.
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

// --- Using it ----------------------------------------------------------------------------------------------------------

/// Scenario R4, requirement 112.
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

/// Requirements 34 and 101, incidents R7 and R11: it is good for its own client alone, and nobody else can spoil it.
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

/// Requirement 114: whatever is wrong with a token, the answer is the same.
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

/// Nothing of a token can be changed, and what was changed spoils nothing.
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

// --- Theft, and answers that were lost ---------------------------------------------------------------------------------

/// Requirement 104: whoever shows an old token later than a lost answer would explain has stolen it, or was stolen from.
#[tokio::test]
async fn a_token_that_was_used_before_ends_its_family_and_no_other() {
    let sessions = Sessions::new();
    let (first, elsewhere) = (sessions.login("app").await, sessions.login("app").await);
    let second = Pair::of(&sessions.refresh("app", &first.refresh).await);
    sessions.advance(60);
    assert!(sessions.is_active(&second.access).await);
    sessions.refresh("app", &first.refresh).await.is(400, "invalid_grant");
    let event = sessions.world.events.last();
    let family = segment(&first.access, 1)["sid"].as_str().unwrap().to_owned();
    assert!(event.contains(&family) && event.ends_with("Reused"), "{event}");

    sessions.refresh("app", &second.refresh).await.is(400, "invalid_grant");
    for access in [&first.access, &second.access] {
        assert!(!sessions.is_active(access).await);
        assert!(sessions.verifier().verify(access).await.is_err());
    }
    sessions.refresh("app", &elsewhere.refresh).await.is_granted();
}

/// Requirement 105: the answer was lost; the same successor is given again, so there is one lineage.
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
    // Nothing has changed: the successor is good.
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

/// Two behind within the window: a straggler, or a thief who was quick. It gets nothing, and nothing changes.
#[tokio::test]
async fn a_straggler_within_the_window_is_told_to_wait() {
    let sessions = Sessions::new();
    let first = sessions.login("app").await;
    let second = Pair::of(&sessions.refresh("app", &first.refresh).await);
    let third = Pair::of(&sessions.refresh("app", &second.refresh).await);
    sessions.refresh("app", &first.refresh).await.is(503, "temporarily_unavailable");
    sessions.refresh("app", &third.refresh).await.is_granted();
}

/// Incident R9: revoked is not rotated.
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

/// Requirement 107, incident R3: a clock that stands still, or steps back, orders nothing.
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

/// The wait that a refresh is told never makes its next try too late.
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

// --- Its end -----------------------------------------------------------------------------------------------------------

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
    // The access token of just before lives on until its own end, also for who asks about revocation.
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
        PasswordGrant::builder(ISSUER, common::clients(), Users::default(), tokens)
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

// --- Scope and audience ------------------------------------------------------------------------------------------------

/// Requirement 109.
#[tokio::test]
async fn a_refresh_gets_at_most_the_scope_of_its_family_and_leaves_that_whole() {
    let sessions = Sessions::new();
    let mut pair = sessions.login("app").await;
    let with = |pair: &Pair, scope: &str| format!("{}&scope={scope}", refreshing(&pair.refresh));
    for wider in ["profile+orders:read", "orders:read", "unheard-of", "profile++offline_access"] {
        sessions.ask("app", &with(&pair, wider)).await.is(400, "invalid_scope");
    }
    for (asked, granted) in
        [("profile", "profile"), ("offline_access+profile", "offline_access profile")]
    {
        let answer = sessions.ask("app", &with(&pair, asked)).await;
        assert_eq!(answer.json()["scope"], granted);
        assert_eq!(answer.claims()["scope"], granted);
        pair = Pair::of(&answer);
    }
    let answer = sessions.refresh("app", &pair.refresh).await;
    assert_eq!(answer.json()["scope"], "profile offline_access", "none asked is all of it");
}

#[tokio::test]
async fn a_refresh_gets_no_other_audience_than_its_login() {
    let sessions = Sessions::new();
    let audiences = ["https://a.example.com", "https://b.example.com", "https://c.example.com"];
    let register = |audiences: &[&'static str]| {
        let client = Client::confidential("shop", ClientSecret::digest_of("shop-secret"));
        let client = client
            .grants([Grant::Password, Grant::RefreshToken])
            .scope("offline_access".parse().unwrap());
        sessions.world.clients.insert(client.audiences(audiences.iter().copied()));
    };
    register(&audiences);
    let login = "grant_type=password&username=alice&password=wonderland&scope=offline_access";
    let form = format!("{login}&resource=https://a.example.com&resource=https://b.example.com");
    let mut pair = Pair::of(&sessions.ask("shop", &form).await);
    sessions
        .ask("shop", &format!("{}&resource=https://c.example.com", refreshing(&pair.refresh)))
        .await
        .is(400, "invalid_target");
    for (asked, audience) in [
        ("&resource=https://b.example.com", serde_json::json!("https://b.example.com")),
        ("", serde_json::json!(["https://a.example.com", "https://b.example.com"])),
    ] {
        let answer = sessions.ask("shop", &format!("{}{asked}", refreshing(&pair.refresh))).await;
        assert_eq!(answer.claims()["aud"], audience);
        pair = Pair::of(&answer);
    }
    // One whose tokens were for the issuer's own audience, and now are for others only.
    register(&[]);
    let default = Pair::of(&sessions.ask("shop", login).await);
    register(&audiences[1..]);
    sessions.refresh("shop", &default.refresh).await.is(400, "invalid_target");
    let named = format!("{}&audience={AUDIENCE}", refreshing(&default.refresh));
    sessions.ask("shop", &named).await.is(400, "invalid_target"); // it would not get that one anyway
    sessions.refresh("shop", &pair.refresh).await.is(400, "invalid_target");
    let answer = sessions
        .ask("shop", &format!("{}&resource=https://b.example.com", refreshing(&pair.refresh)))
        .await;
    assert_eq!(answer.claims()["aud"], "https://b.example.com");
}

/// The audience that the tokens have anyway may be named, at a refresh as at the login.
#[tokio::test]
async fn a_refresh_may_name_the_audience_that_its_token_has_anyway() {
    let sessions = Sessions::new();
    let login = format!("{OFFLINE}&resource={AUDIENCE}");
    let mut pair = Pair::of(&sessions.ask("app", &login).await);
    for name in ["audience", "resource"] {
        let answer =
            sessions.ask("app", &format!("{}&{name}={AUDIENCE}", refreshing(&pair.refresh))).await;
        assert_eq!(answer.claims()["aud"], AUDIENCE);
        pair = Pair::of(&answer);
    }
    for other in [
        "https://other.example.com".to_owned(),
        format!("{AUDIENCE}/"),
        format!("{AUDIENCE}&audience=x"),
    ] {
        let form = format!("{}&audience={other}", refreshing(&pair.refresh));
        sessions.ask("app", &form).await.is(400, "invalid_target");
    }
    sessions.refresh("app", &pair.refresh).await.is_granted();
}

/// What is no refresh token of ours, whatever it is made of, is answered as any that is not valid: a client of the server
/// that we replace then logs in anew.
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

/// A member that is there at the login is not gone at the refresh.
#[tokio::test]
async fn the_gate_adds_members_to_the_answer_as_the_login_does() {
    let users = Users::who(|_| Ok(Login::accepted("user-1").member("plan", "gold")));
    let sessions = Sessions::over(users, |refresh| refresh, |builder| builder);
    let login = sessions.ask("app", OFFLINE).await;
    assert_eq!(login.json()["plan"], "gold");
    let plan = |admission: Admission| admission.member("plan", "silver").member("seats", 3);
    sessions.gate.says(move |_| Ok(plan(Admission::admitted())));
    let answer = sessions.refresh("app", &Pair::of(&login).refresh).await;
    assert_eq!((&answer.json()["plan"], &answer.json()["seats"]), (&"silver".into(), &3.into()));
    let again = sessions.refresh("app", &Pair::of(&login).refresh).await;
    assert_eq!(again.json()["plan"], "silver", "an answer that was lost");
    // None that would say something else than the engine, and none for whoever is refused.
    let pair = Pair::of(&answer);
    for reserved in ["access_token", "expires_in", "scope", "error", "refresh_token", ""] {
        sessions.gate.says(move |_| Ok(Admission::admitted().member(reserved, "x")));
        sessions.refresh("app", &pair.refresh).await.is(500, "server_error");
    }
    sessions.gate.says(move |_| Ok(plan(Admission::refused(Rejection::Disabled))));
    let refused = sessions.refresh("app", &pair.refresh).await;
    refused.is(400, "invalid_grant");
    assert_eq!(refused.json().get("plan"), None);
    sessions.gate.says(|_| Ok(Admission::admitted()));
    assert_eq!(
        sessions.refresh("app", &pair.refresh).await.json().get("plan"),
        None,
        "members are not carried over"
    );
}

/// Clients time out after half a minute and come back a while later: one large provider lost five devices of a hundred a
/// day to a shorter window.
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
    // Two behind within the window: told to wait, and nothing is revoked.
    let third = Pair::of(&sessions.refresh("app", &second.refresh).await);
    sessions.refresh("app", &first.refresh).await.is(503, "temporarily_unavailable");
    sessions.refresh("app", &third.refresh).await.is_granted();
    sessions.advance(1);
    sessions.refresh("app", &first.refresh).await.is(400, "invalid_grant");
}

/// A client that refreshes every second for a while, and whose first retry comes in late, is no thief.
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

/// Requirement 111.
#[tokio::test]
async fn what_a_client_may_no_longer_have_it_gets_by_no_refresh() {
    let sessions = Sessions::new();
    let pair = sessions.login("app").await;
    let app = || Client::confidential("app", ClientSecret::digest_of("app-secret"));
    let both = [Grant::Password, Grant::RefreshToken];
    for (client, status, error) in [
        (
            app().grants([Grant::Password]).scope("profile offline_access".parse().unwrap()),
            400,
            "unauthorized_client",
        ),
        (
            app().grants(both).scope("orders:read offline_access".parse().unwrap()),
            400,
            "invalid_scope",
        ),
        (
            app().grants(both).scope("profile offline_access".parse().unwrap()).disabled(),
            401,
            "invalid_client",
        ),
        (
            app().grants(both).scope("profile offline_access".parse().unwrap()).expires_at(noon()),
            401,
            "invalid_client",
        ),
    ] {
        sessions.world.clients.insert(client);
        sessions.refresh("app", &pair.refresh).await.is(status, error);
    }
    sessions
        .world
        .clients
        .insert(app().grants(both).scope("profile offline_access".parse().unwrap()));
    sessions.refresh("app", &pair.refresh).await.is_granted();
}

// --- The account -------------------------------------------------------------------------------------------------------

/// Requirements 99 and 110, incidents I5 and I7.
#[tokio::test]
async fn the_gate_is_asked_at_every_use() {
    let sessions = Sessions::new();
    let pair = sessions.login("app").await;
    let refused = sessions.refresh("app", "nonsense").await;
    for rejection in [Rejection::Disabled, Rejection::Locked, Rejection::PasswordChangeRequired] {
        sessions.gate.says(move |subject| {
            assert_eq!(subject.as_str(), "user-1");
            Ok(Admission::refused(rejection))
        });
        assert_eq!(sessions.refresh("app", &pair.refresh).await, refused);
        assert!(sessions.world.events.last().contains(&format!("Account({rejection:?})")));
    }
    sessions.gate.says(|_| Err("no connection".into()));
    sessions.refresh("app", &pair.refresh).await.is(503, "temporarily_unavailable");
    sessions.gate.says(|_| Ok(Admission::admitted()));
    sessions.refresh("app", &pair.refresh).await.is_granted();
}

#[tokio::test]
async fn the_gate_can_narrow_the_scope_and_says_what_is_true_now() {
    let users =
        Users::who(|_| Ok(Login::accepted("user-1").claim("role", "admin").claim("since", 1)));
    let sessions = Sessions::over(users, |refresh| refresh, |builder| builder);
    let pair = sessions.login("app").await;
    assert_eq!(segment(&pair.access, 1)["role"], "admin");
    sessions
        .gate
        .says(|_| Ok(Admission::admitted().claim("role", "clerk").scope("profile".parse()?)));
    let answer = sessions.refresh("app", &pair.refresh).await;
    let claims = answer.claims();
    assert_eq!((claims["role"].as_str(), claims.get("since")), (Some("clerk"), None));
    assert_eq!(claims["scope"], "profile");
    let pair = Pair::of(&answer);
    sessions.gate.says(|_| Ok(Admission::admitted().claim("sub", "somebody else")));
    sessions.refresh("app", &pair.refresh).await.is(500, "server_error");
    sessions.gate.says(|_| Ok(Admission::admitted()));
    assert_eq!(
        sessions.refresh("app", &pair.refresh).await.json()["scope"],
        "profile offline_access"
    );
}

/// Requirement 110: one commit, every device.
#[tokio::test]
async fn a_subject_can_be_logged_out_everywhere() {
    let users = Users::who(|attempt| Ok(Login::accepted(attempt.username())));
    let sessions = Sessions::over(users, |refresh| refresh, |builder| builder);
    let bob = OFFLINE.replace("alice", "bob");
    let (one, two, phone) =
        (sessions.login("app").await, sessions.login("app").await, sessions.login("phone").await);
    let bobs = Pair::of(&sessions.ask("app", &bob).await);
    sessions.world.grant.log_out_everywhere(&"alice".into(), &RequestContext::new()).await.unwrap();
    assert!(
        sessions.world.events.last().contains("subject \"alice\" ended: logged out everywhere")
    );
    for (client, pair) in [("app", &one), ("app", &two), ("phone", &phone)] {
        sessions.refresh(client, &pair.refresh).await.is(400, "invalid_grant");
        assert!(!sessions.is_active(&pair.access).await);
        assert!(sessions.verifier().verify(&pair.access).await.is_err());
    }
    sessions.refresh("app", &bobs.refresh).await.is_granted();
    // In the same instant already, a new login is a new family.
    let anew = sessions.login("app").await;
    assert!(sessions.is_active(&anew.access).await);
    let anew = Pair::of(&sessions.refresh("app", &anew.refresh).await);
    // And a second log-out ends that one too.
    sessions.world.grant.log_out_everywhere(&"alice".into(), &RequestContext::new()).await.unwrap();
    sessions.refresh("app", &anew.refresh).await.is(400, "invalid_grant");
    sessions.login("app").await;
}

/// Logs its subject out while it judges the password, as a password change does that comes in between.
struct ChangedMeanwhile {
    grant: Arc<OnceLock<PasswordGrant>>,
    changes: Arc<AtomicBool>,
}

#[async_trait]
impl UserAuthenticator for ChangedMeanwhile {
    async fn authenticate(&self, _: LoginAttempt<'_>) -> Result<Login, BoxError> {
        let subject = if self.changes.load(Ordering::SeqCst) { "user-1" } else { "user-2" };
        if let Some(grant) = self.grant.get() {
            grant.log_out_everywhere(&subject.into(), &RequestContext::new()).await?;
        }
        Ok(Login::accepted("user-1"))
    }
}

#[tokio::test]
async fn a_login_with_the_password_of_before_a_change_yields_no_family_after_it() {
    let (grant, changes) = (Arc::new(OnceLock::new()), Arc::new(AtomicBool::new(true)));
    let users = ChangedMeanwhile { grant: grant.clone(), changes: changes.clone() };
    let engine = Instance::over_users(InMemoryState::new(), users, |refresh| refresh);
    grant.set(engine.grant.clone()).ok().unwrap();
    engine.send("app", OFFLINE).await.is(503, "temporarily_unavailable");
    // Nor an access token alone.
    engine
        .send("app", &OFFLINE.replace("+offline_access", ""))
        .await
        .is(503, "temporarily_unavailable");
    // Of somebody else's log-out it takes no notice.
    changes.store(false, Ordering::SeqCst);
    engine.send("app", OFFLINE).await.is_granted();
    engine.send("app", &OFFLINE.replace("+offline_access", "")).await.is_granted();
}

// --- Clients that cannot store another token ---------------------------------------------------------------------------

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

// --- Several instances -------------------------------------------------------------------------------------------------

/// One instance of an application: an engine over a store that others have too.
struct Instance {
    grant: PasswordGrant,
    events: Events,
}

fn signing() -> SigningKeys {
    static KEYS: OnceLock<SigningKeys> = OnceLock::new();
    KEYS.get_or_init(|| SigningKeys::generate().unwrap()).clone()
}

impl Instance {
    fn over(store: impl StateStore) -> Self {
        Self::with(store, |refresh| refresh)
    }

    fn with(
        store: impl StateStore,
        configure: impl FnOnce(RefreshTokens) -> RefreshTokens,
    ) -> Self {
        Self::over_users(store, Users::default(), configure)
    }

    fn over_users(
        store: impl StateStore,
        users: impl UserAuthenticator,
        configure: impl FnOnce(RefreshTokens) -> RefreshTokens,
    ) -> Self {
        Self::issuing(
            store,
            users,
            JwtIssuer::new(signing(), AUDIENCE),
            configure(RefreshTokens::new(keys(), Gate::default())),
        )
    }

    fn issuing(
        store: impl StateStore,
        users: impl UserAuthenticator,
        tokens: impl TokenIssuer,
        refresh: RefreshTokens,
    ) -> Self {
        let (clients, events) = (InMemoryClients::default(), Events::default());
        register(&clients);
        let builder = PasswordGrant::builder(ISSUER, clients, users, tokens)
            .environment(&Environment::new().observer(events.clone()));
        let builder = builder.dangerous_without_attempt_limits().refresh_tokens(refresh);
        let grant =
            builder.shared_state(store, StateSecret::new([0x5a; 32]).unwrap()).build().unwrap();
        Self { grant, events }
    }

    async fn send(&self, client: &str, form: &str) -> Answer {
        send(&self.grant, client, form, "token").await
    }

    async fn refresh(&self, token: &str) -> Answer {
        self.send("app", &refreshing(token)).await
    }

    async fn revoke(&self, token: &str) -> Answer {
        send(&self.grant, "app", &format!("token={token}"), "revoke").await
    }

    async fn is_active(&self, token: &str) -> bool {
        let answer = send(&self.grant, "reports", &format!("token={token}"), "introspect").await;
        answer.is_granted()["active"] == true
    }

    async fn login(&self) -> Pair {
        Pair::of(&self.send("app", OFFLINE).await)
    }
}

async fn send(grant: &PasswordGrant, client: &str, form: &str, endpoint: &str) -> Answer {
    let headers = [
        ("content-type", FORM.to_owned()),
        ("authorization", basic(client, &format!("{client}-secret"))),
    ];
    let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes()));
    let request = HttpRequest::new("POST", None, headers, form.as_bytes());
    match endpoint {
        "token" => grant.token(request).await.into(),
        "revoke" => grant.revoke(request).await.into(),
        _ => grant.introspect(request).await.into(),
    }
}

/// Incident R1: 64 at once, over real threads. With the window all that are answered get the same successor; without it
/// one is, and then the family ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_sixty_four_refreshes_at_once_there_is_one_lineage() {
    for window in [10, 0] {
        let store = InMemoryState::new();
        let instances: Vec<_> = (0..4)
            .map(|_| {
                Arc::new(Instance::with(store.clone(), |refresh| {
                    refresh.retry_window(Duration::from_secs(window))
                }))
            })
            .collect();
        let pair = instances[0].login().await;
        let barrier = Arc::new(tokio::sync::Barrier::new(64));
        let tasks: Vec<_> = (0..64)
            .map(|number: usize| {
                let (instance, barrier) = (instances[number % 4].clone(), barrier.clone());
                let token = pair.refresh.clone();
                tokio::spawn(async move {
                    barrier.wait().await;
                    instance.refresh(&token).await
                })
            })
            .collect();
        let mut answers = Vec::new();
        for task in tasks {
            answers.push(task.await.unwrap());
        }
        let granted: Vec<_> =
            answers.iter().filter(|answer| answer.status == 200).map(Pair::of).collect();
        let successors: HashSet<_> = granted.iter().map(|pair| pair.refresh.clone()).collect();
        assert_eq!(successors.len(), 1, "window {window}");
        let expected = if window == 0 { (1, 63, 0) } else { (33, 0, 31) };
        let of = |status: u16| answers.iter().filter(|answer| answer.status == status).count();
        assert_eq!((of(200), of(400), of(503)), expected);
        // What was lost to nobody goes on; what was stolen does not.
        let next = instances[1].refresh(&granted[0].refresh).await;
        assert_eq!(next.status, if window == 0 { 400 } else { 200 });
    }
}

/// A store that does something of the test's before one of its calls.
struct Between {
    store: InMemoryState,
    before_call: usize,
    calls: AtomicUsize,
    act: Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>,
}

impl Between {
    fn new(
        store: &InMemoryState,
        before_call: usize,
        act: impl Fn() -> BoxFuture<'static, ()> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            store: store.clone(),
            before_call,
            calls: AtomicUsize::new(0),
            act: Box::new(act),
        })
    }

    async fn count(&self) {
        if self.calls.fetch_add(1, Ordering::SeqCst) == self.before_call {
            (self.act)().await;
        }
    }
}

#[async_trait]
impl StateStore for Between {
    async fn load(&self, keys: &[StateKey]) -> Result<Loaded, BoxError> {
        self.count().await;
        self.store.load(keys).await
    }

    async fn commit(&self, changes: &[Change]) -> Result<Commit, BoxError> {
        self.count().await;
        self.store.commit(changes).await
    }
}

#[derive(Clone, Copy, Debug)]
enum Ends {
    Revoked,
    LoggedOut,
}

async fn end(instance: &Instance, token: &str, how: Ends) {
    match how {
        Ends::Revoked => assert_eq!(instance.revoke(token).await.status, 200),
        Ends::LoggedOut => {
            instance
                .grant
                .log_out_everywhere(&"user-1".into(), &RequestContext::new())
                .await
                .unwrap();
        }
    }
}

/// A store of several instances is far away: a login reads where log-outs stand, then begins its session with one load and one
/// commit. Only where that is one too many does it look again.
#[tokio::test]
async fn a_login_asks_the_store_no_more_often_than_it_must() {
    let store = Between::new(&InMemoryState::new(), usize::MAX, || unreachable!());
    let instance = Instance::with(store.clone(), |refresh| refresh.sessions(2));
    let mut calls = Vec::new();
    for _ in 0..4 {
        let before = store.calls.load(Ordering::SeqCst);
        instance.login().await;
        calls.push(store.calls.load(Ordering::SeqCst) - before);
    }
    assert_eq!(calls, [3, 3, 4, 4]);
}

/// The session that is to be replaced is another one by then: the bound holds all the same.
#[tokio::test]
async fn a_login_that_another_one_overtakes_replaces_the_session_that_is_the_oldest_then() {
    for before_call in [2, 3] {
        let store = InMemoryState::new();
        let other = Arc::new(Instance::with(store.clone(), |refresh| refresh.sessions(1)));
        other.login().await;
        let (overtaking, overtaken) = (other.clone(), Arc::new(Mutex::new(None)));
        let seen = overtaken.clone();
        let between = Between::new(&store, before_call, move || -> BoxFuture<'static, ()> {
            let (other, overtaken) = (overtaking.clone(), overtaken.clone());
            Box::pin(async move { *overtaken.lock().unwrap() = Some(other.login().await.refresh) })
        });
        let last = Instance::with(between, |refresh| refresh.sessions(1)).login().await;
        let overtaken = seen.lock().unwrap().take().unwrap();
        other.refresh(&overtaken).await.is(400, "invalid_grant");
        other.refresh(&last.refresh).await.is_granted();
    }
}

/// Requirement 113, incident R4: wherever in a refresh a revocation or a log-out comes, nothing is alive afterwards.
#[tokio::test]
async fn every_interleaving_of_an_end_and_a_refresh_ends_with_nothing_alive() {
    for how in [Ends::Revoked, Ends::LoggedOut] {
        let mut interleaved = 0;
        for before_call in 0.. {
            let store = InMemoryState::new();
            let other = Arc::new(Instance::over(store.clone()));
            let pair = other.login().await;
            let act = {
                let (other, token) = (other.clone(), pair.refresh.clone());
                move || -> BoxFuture<'static, ()> {
                    let (other, token) = (other.clone(), token.clone());
                    Box::pin(async move { end(&other, &token, how).await })
                }
            };
            let between = Between::new(&store, before_call, act);
            let answer = Instance::over(between.clone()).refresh(&pair.refresh).await;
            if between.calls.load(Ordering::SeqCst) <= before_call {
                break;
            }
            interleaved += 1;
            if answer.status == 200 {
                let minted = Pair::of(&answer);
                assert!(
                    !other.is_active(&minted.access).await,
                    "{how:?} before call {before_call}"
                );
                other.refresh(&minted.refresh).await.is(400, "invalid_grant");
            }
            other.refresh(&pair.refresh).await.is(400, "invalid_grant");
            assert!(!other.is_active(&pair.access).await);
        }
        assert!(interleaved >= 4, "{how:?}: {interleaved}");
    }
}

/// The same while a login creates its family, or gets an access token alone, at whose end the log-out finds it.
#[tokio::test]
async fn every_interleaving_of_a_log_out_and_a_login_ends_with_nothing_of_before_it() {
    for form in [OFFLINE.to_owned(), OFFLINE.replace("+offline_access", "")] {
        every_interleaving_of_a_log_out_and_a_login(&form).await;
    }
}

async fn every_interleaving_of_a_log_out_and_a_login(form: &str) {
    let mut interleaved = 0;
    for before_call in 0.. {
        let store = InMemoryState::new();
        let other = Arc::new(Instance::over(store.clone()));
        let (acting, act) = (other.clone(), AtomicBool::new(false));
        let acted = Arc::new(act);
        let seen = acted.clone();
        let between = Between::new(&store, before_call, move || -> BoxFuture<'static, ()> {
            let (other, acted) = (acting.clone(), acted.clone());
            Box::pin(async move {
                end(&other, "", Ends::LoggedOut).await;
                acted.store(true, Ordering::SeqCst);
            })
        });
        let answer = Instance::over(between.clone()).send("app", form).await;
        if !seen.load(Ordering::SeqCst) {
            break;
        }
        interleaved += 1;
        // The number of the last log-out is the first thing that a login reads: one before that is before the password.
        let after_the_password_may_have_been_read = before_call > 0;
        match answer.status {
            // Either it began after the log-out, or what it got is good for nothing.
            200 if after_the_password_may_have_been_read => {
                assert!(
                    !other.is_active(&answer.access_token()).await,
                    "before call {before_call}"
                );
                if form == OFFLINE {
                    other.refresh(&Pair::of(&answer).refresh).await.is(400, "invalid_grant");
                }
            }
            200 => {}
            status => assert_eq!(status, 503),
        }
    }
    assert!(interleaved >= 2, "{interleaved}");
}

/// An access token alone is dated before it is asked who was logged out, and a log-out after it is done: whatever the clock
/// shows in between, the token is older.
#[tokio::test]
async fn a_log_out_is_dated_later_than_every_token_that_was_made_before_its_end() {
    let clock = ManualClock::at(noon());
    let (store, moving) =
        (InMemoryState::new().environment(&Environment::new().clock(clock.clone())), clock.clone());
    let sessions = |store: Arc<dyn StateStore>| {
        let clock = clock.clone();
        Sessions::in_environment(
            Users::default(),
            |own| own.clock(clock),
            |refresh| refresh,
            |builder| builder.shared_state(store, StateSecret::new([0x5a; 32]).unwrap()),
        )
    };
    let logging_in = sessions(Arc::new(store.clone()));
    let (sender, receiver) = std::sync::mpsc::channel();
    let (grant, sender) = (logging_in.world.grant.clone(), Mutex::new(sender));
    // A second before the log-out is committed, somebody logs in.
    let between = Between::new(&store, 1, move || -> BoxFuture<'static, ()> {
        let (grant, sender, moving) =
            (grant.clone(), sender.lock().unwrap().clone(), moving.clone());
        Box::pin(async move {
            moving.advance(Duration::from_secs(5));
            sender
                .send(send(&grant, "app", &OFFLINE.replace("+offline_access", ""), "token").await)
                .unwrap();
        })
    });
    let logging_out = sessions(between);
    logging_out
        .world
        .grant
        .log_out_everywhere(&"user-1".into(), &RequestContext::new())
        .await
        .unwrap();
    let token = receiver.recv().unwrap().access_token();
    assert!(!logging_in.is_active(&token).await);
}

/// A store whose first commit takes a second, and which then does nothing until it is told.
struct Halting {
    store: InMemoryState,
    clock: ManualClock,
    calls: AtomicUsize,
    done: Arc<AtomicBool>,
}

#[async_trait]
impl StateStore for Halting {
    async fn load(&self, keys: &[StateKey]) -> Result<Loaded, BoxError> {
        if self.calls.load(Ordering::SeqCst) > 0 {
            let done =
                || if self.done.load(Ordering::SeqCst) { Poll::Ready(()) } else { Poll::Pending };
            std::future::poll_fn(|_| done()).await;
        }
        self.store.load(keys).await
    }

    async fn commit(&self, changes: &[Change]) -> Result<Commit, BoxError> {
        if self.calls.fetch_add(1, Ordering::SeqCst) == 0 {
            self.clock.advance(Duration::from_secs(1));
        }
        self.store.commit(changes).await
    }
}

/// A log-out is dated once more when it is done. Of a login that began between the two, the token could be dated before
/// the second and would be dead for its whole life.
#[tokio::test]
async fn a_login_between_the_two_steps_of_a_log_out_gets_no_dead_token() {
    let clock = ManualClock::at(noon());
    let store = InMemoryState::new().environment(&Environment::new().clock(clock.clone()));
    let done = Arc::new(AtomicBool::new(false));
    let halting = Arc::new(Halting {
        store: store.clone(),
        clock: clock.clone(),
        calls: AtomicUsize::new(0),
        done: done.clone(),
    });
    let engine = |users: Users, store: Arc<dyn StateStore>| {
        let clock = clock.clone();
        let configure = |builder: PasswordGrantBuilder, _: &ManualClock| {
            builder.shared_state(store, StateSecret::new([0x5a; 32]).unwrap())
        };
        World::in_environment(users, |own| own.clock(clock), configure)
    };
    let logging_out = engine(Users::default(), halting).grant;
    let under_way = async move {
        logging_out.log_out_everywhere(&"user-1".into(), &RequestContext::new()).await
    };
    let mut under_way: BoxFuture<'static, Result<(), BoxError>> = Box::pin(under_way);
    assert!(
        under_way.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending(),
        "after its first step"
    );
    let under_way = Mutex::new(under_way);
    let users = Users::who(move |_| {
        done.store(true, Ordering::SeqCst);
        let finished =
            under_way.lock().unwrap().as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(finished, Poll::Ready(Ok(()))));
        Ok(Login::accepted("user-1"))
    });
    let logging_in = engine(users, Arc::new(store.clone()));
    logging_in.post(common::GOOD).await.is(503, "temporarily_unavailable");
}

/// Incidents R2 and R6: what was decided outlives the process, and the request that was refused for it.
#[tokio::test]
async fn a_restart_forgets_no_reuse() {
    let clock = ManualClock::at(noon());
    let store = InMemoryState::new().environment(&Environment::new().clock(clock.clone()));
    let first = Instance::over(store.clone()).login().await;
    let second = Pair::of(&Instance::over(store.clone()).refresh(&first.refresh).await);
    clock.advance(Duration::from_secs(60));
    Instance::over(store.clone()).refresh(&first.refresh).await.is(400, "invalid_grant");
    let restarted = Instance::over(store);
    restarted.refresh(&second.refresh).await.is(400, "invalid_grant");
    assert!(restarted.events.last().ends_with("Revoked"));
}

// --- Keys change over --------------------------------------------------------------------------------------------------

/// Publish, switch, retire, one instance after the other: no token is refused on the way, and a lost answer is given again
/// by whichever instance is asked.
#[tokio::test]
async fn keys_change_over_without_a_gap() {
    let (former, next) = ([0x11; 32], [0x33; 32]);
    let one = |first| RefreshKeys::new(first).unwrap();
    let stages = [
        (one(former), one(former)),
        (one(former).with_previous(next).unwrap(), one(former)),
        (one(former).with_previous(next).unwrap(), one(former).with_previous(next).unwrap()),
        (one(next).with_previous(former).unwrap(), one(former).with_previous(next).unwrap()),
        (one(next).with_previous(former).unwrap(), one(next).with_previous(former).unwrap()),
    ];
    let store = InMemoryState::new();
    let instance = |keys: RefreshKeys| {
        let tokens = JwtIssuer::new(signing(), AUDIENCE);
        Instance::issuing(
            store.clone(),
            Users::default(),
            tokens,
            RefreshTokens::new(keys, Gate::default()),
        )
    };
    let mut pair = instance(one(former)).login().await;
    for (stage, (left, right)) in stages.into_iter().enumerate() {
        let instances = [instance(left), instance(right)];
        for (rotating, retrying) in [(0, 1), (1, 0), (0, 0), (1, 1)] {
            let rotated = Pair::of(&instances[rotating].refresh(&pair.refresh).await);
            let again = Pair::of(&instances[retrying].refresh(&pair.refresh).await);
            assert_eq!(again.refresh, rotated.refresh, "stage {stage}");
            pair = rotated;
        }
    }
    let alone = instance(one(next));
    pair = Pair::of(&alone.refresh(&pair.refresh).await);
    alone.refresh(&pair.refresh).await.is_granted();
}

/// The same for the keys of access tokens: whatever instance signs, every verifier has its key.
#[tokio::test]
async fn signing_keys_change_over_without_a_gap() {
    let former = SigningKeys::generate().unwrap();
    let next = SigningKeys::generate().unwrap();
    let (old_jwk, new_jwk) = (former.public_jwk().unwrap(), next.public_jwk().unwrap());
    let stages = [
        (former.clone(), former.clone()),
        (former.clone().publish(new_jwk.clone()).unwrap(), former.clone()),
        (
            former.clone().publish(new_jwk.clone()).unwrap(),
            former.clone().publish(new_jwk.clone()).unwrap(),
        ),
        (next.clone().publish(old_jwk.clone()).unwrap(), former.clone().publish(new_jwk).unwrap()),
        (next.clone().publish(old_jwk.clone()).unwrap(), next.clone().publish(old_jwk).unwrap()),
    ];
    for (stage, (left, right)) in stages.into_iter().enumerate() {
        let store = InMemoryState::new();
        let instance = |keys: &SigningKeys| {
            let tokens = JwtIssuer::new(keys.clone(), AUDIENCE);
            Instance::issuing(
                store.clone(),
                Users::default(),
                tokens,
                RefreshTokens::new(self::keys(), Gate::default()),
            )
        };
        for issuing in [&left, &right] {
            let pair = instance(issuing).login().await;
            for verifying in [&left, &right] {
                assert!(verifier(verifying).verify(&pair.access).await.is_ok(), "stage {stage}");
                assert!(instance(verifying).is_active(&pair.access).await, "stage {stage}");
            }
        }
    }
}

// --- Faults ------------------------------------------------------------------------------------------------------------

/// Signs, unless it is told not to.
struct Failing {
    tokens: JwtIssuer,
    fails: Arc<AtomicBool>,
}

#[async_trait]
impl TokenIssuer for Failing {
    async fn issue(&self, authorization: &Authorization<'_>) -> Result<AccessToken, BoxError> {
        if self.fails.load(Ordering::SeqCst) {
            Err("no key".into())
        } else {
            self.tokens.issue(authorization).await
        }
    }
}

/// Requirement 112: a token is used up only once there is something to hand out for it, however long that takes.
#[tokio::test]
async fn an_issuer_that_fails_costs_nobody_the_session() {
    let fails = Arc::new(AtomicBool::new(false));
    let tokens = Failing { tokens: JwtIssuer::new(signing(), AUDIENCE), fails: fails.clone() };
    let refresh = RefreshTokens::new(keys(), Gate::default()).sessions(1);
    let clock = ManualClock::at(noon());
    let instance = Instance::issuing(
        InMemoryState::new().environment(&Environment::new().clock(clock.clone())),
        Users::default(),
        tokens,
        refresh,
    );
    let first = instance.login().await;
    fails.store(true, Ordering::SeqCst);
    instance.refresh(&first.refresh).await.is(500, "server_error");
    // Nor does a login that fails end another session.
    instance.send("app", OFFLINE).await.is(500, "server_error");
    clock.advance(Duration::from_secs(3_600));
    fails.store(false, Ordering::SeqCst);
    let second = Pair::of(&instance.refresh(&first.refresh).await);
    instance.refresh(&second.refresh).await.is_granted();
}

/// Requirement 137: without randomness there is no refresh token, and none that is weaker.
#[tokio::test]
async fn without_randomness_nothing_is_granted() {
    struct Failing(Arc<AtomicBool>);
    impl SecureRandom for Failing {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomnessError> {
            if self.0.load(Ordering::SeqCst) {
                Err(RandomnessError::new())
            } else {
                SystemRandom::new().fill(bytes)
            }
        }
    }

    let fails = Arc::new(AtomicBool::new(false));
    let randomness = Failing(fails.clone());
    let sessions = Sessions::in_environment(
        Users::default(),
        |own| own.randomness(randomness),
        |refresh| refresh,
        |builder| builder,
    );
    let pair = sessions.login("app").await;
    fails.store(true, Ordering::SeqCst);
    sessions.ask("app", OFFLINE).await.is(500, "server_error");
    // What follows a token that is there needs none.
    sessions.refresh("app", &pair.refresh).await.is_granted();
}

/// Fails one call, before or after it took effect.
struct FailsOnce {
    store: InMemoryState,
    call: usize,
    afterwards: bool,
    calls: AtomicUsize,
}

impl FailsOnce {
    fn is_it(&self) -> bool {
        self.calls.fetch_add(1, Ordering::SeqCst) == self.call
    }
}

#[async_trait]
impl StateStore for FailsOnce {
    async fn load(&self, keys: &[StateKey]) -> Result<Loaded, BoxError> {
        if self.is_it() { Err("no connection".into()) } else { self.store.load(keys).await }
    }

    async fn commit(&self, changes: &[Change]) -> Result<Commit, BoxError> {
        let fails = self.is_it();
        if fails && !self.afterwards {
            return Err("no connection".into());
        }
        let commit = self.store.commit(changes).await?;
        if fails { Err("the answer was lost".into()) } else { Ok(commit) }
    }
}

/// Our own trouble is a 503, blames nobody, and loses nothing.
#[tokio::test]
async fn a_store_that_fails_once_costs_nobody_the_session() {
    for afterwards in [false, true] {
        for call in 0.. {
            let store = InMemoryState::new();
            let whole = Instance::over(store.clone());
            let first = whole.login().await;
            let failing = Arc::new(FailsOnce {
                store: store.clone(),
                call,
                afterwards,
                calls: AtomicUsize::new(0),
            });
            let answer = Instance::over(failing.clone()).refresh(&first.refresh).await;
            if failing.calls.load(Ordering::SeqCst) <= call {
                assert!(call >= 4);
                break;
            }
            answer.is(503, "temporarily_unavailable");
            let second = Pair::of(&whole.refresh(&first.refresh).await);
            whole.refresh(&second.refresh).await.is_granted();
        }
    }
}

/// Requirement 113, incident R14: who is told 503 may ask again, and once a revocation or a log-out was answered, nothing is
/// alive.
#[tokio::test]
async fn an_end_that_fails_once_can_be_asked_for_again() {
    for (how, afterwards) in
        [Ends::Revoked, Ends::LoggedOut].into_iter().flat_map(|how| [(how, false), (how, true)])
    {
        for call in 0.. {
            let store = InMemoryState::new();
            let whole = Instance::over(store.clone());
            let pair = whole.login().await;
            let failing =
                Arc::new(FailsOnce { store, call, afterwards, calls: AtomicUsize::new(0) });
            let instance = Instance::over(failing.clone());
            let subject = "user-1".into();
            let asked = async || match how {
                Ends::Revoked => instance.revoke(&pair.refresh).await.status == 200,
                Ends::LoggedOut => instance
                    .grant
                    .log_out_everywhere(&subject, &RequestContext::new())
                    .await
                    .is_ok(),
            };
            let first = asked().await;
            if failing.calls.load(Ordering::SeqCst) <= call {
                assert!(first && call >= 2);
                break;
            }
            assert!(!first, "{how:?}: call {call} failed, and it was answered");
            assert!(asked().await);
            whole.refresh(&pair.refresh).await.is(400, "invalid_grant");
            assert!(!whole.is_active(&pair.access).await);
        }
    }
}

/// Commits, and then does not answer.
struct HangsAfterwards {
    store: InMemoryState,
    hangs: AtomicBool,
}

#[async_trait]
impl StateStore for HangsAfterwards {
    async fn load(&self, keys: &[StateKey]) -> Result<Loaded, BoxError> {
        self.store.load(keys).await
    }

    async fn commit(&self, changes: &[Change]) -> Result<Commit, BoxError> {
        let commit = self.store.commit(changes).await?;
        if self.hangs.swap(false, Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        Ok(commit)
    }
}

/// A store that stalls has its client told so while it is still time to come again.
#[tokio::test]
async fn a_store_that_stalls_makes_no_thief_of_an_honest_client() {
    let clock = ManualClock::at(noon());
    let store = InMemoryState::new().environment(&Environment::new().clock(clock.clone()));
    let stalling = Arc::new(HangsAfterwards { store, hangs: AtomicBool::new(false) });
    let shared = stalling.clone();
    let sessions = Sessions::in_environment(
        Users::default(),
        |own| own.clock(clock.clone()),
        |refresh| refresh.retry_window(Duration::from_secs(10)),
        |builder| builder.shared_state(shared, StateSecret::new([0x5a; 32]).unwrap()),
    );
    let first = sessions.login("app").await;
    stalling.hangs.store(true, Ordering::SeqCst);
    let (answer, ()) = tokio::join!(sessions.refresh("app", &first.refresh), async {
        tokio::task::yield_now().await;
        clock.advance(Duration::from_secs(5));
    });
    answer.is(503, "temporarily_unavailable");
    clock.advance(Duration::from_secs(1)); // what it was told to wait
    let second = Pair::of(&sessions.refresh("app", &first.refresh).await);
    sessions.refresh("app", &second.refresh).await.is_granted();
}

/// Nobody who can log in fills the store: with more sessions than are allowed, the oldest goes.
#[tokio::test]
async fn a_user_has_a_bounded_number_of_sessions_through_a_client() {
    let users = Users::who(|attempt| Ok(Login::accepted(attempt.username())));
    let state = InMemoryState::new();
    let own = state.clone();
    let sessions =
        Sessions::over(users, |refresh| refresh.sessions(3), |builder| builder.state(own));
    let mut pairs = Vec::new();
    for _ in 0..3 {
        pairs.push(sessions.login("app").await);
    }
    let others = [
        sessions.login("other").await,
        Pair::of(&sessions.ask("app", &OFFLINE.replace("alice", "bob")).await),
    ];
    let rows = state.len();
    for _ in 0..5 {
        pairs.push(sessions.login("app").await);
        assert_eq!(state.len(), rows);
        let event = sessions.world.events.lines();
        assert!(
            event.iter().rev().take(3).any(|line| line.contains("replaced by another")),
            "{event:?}"
        );
    }
    let (gone, kept) = pairs.split_at(5);
    for pair in gone {
        sessions.refresh("app", &pair.refresh).await.is(400, "invalid_grant");
        assert!(!sessions.is_active(&pair.access).await);
    }
    for pair in kept.iter().chain(&others[1..]) {
        sessions.refresh("app", &pair.refresh).await.is_granted();
    }
    sessions.refresh("other", &others[0].refresh).await.is_granted();
}

/// A job that logs in and out all day takes no place from its user's other sessions.
#[tokio::test]
async fn a_session_that_has_ended_counts_no_more() {
    let sessions = Sessions::with(|refresh| refresh.sessions(3));
    let lasting = sessions.login("app").await;
    for _ in 0..5 {
        let pair = sessions.login("app").await;
        sessions.revoke("app", &pair.refresh).await;
        let other = sessions.login("app").await;
        let token = sessions.verifier().verify(&other.access).await.unwrap();
        let session = token.session_id.as_ref().unwrap();
        assert!(sessions.world.grant.end_session(session, &RequestContext::new()).await.unwrap());
    }
    assert!(!sessions.world.events.lines().iter().any(|line| line.contains("replaced by another")));
    sessions.refresh("app", &lasting.refresh).await.is_granted();
}

/// Of whatever age: neither the end of an old session nor a stolen one makes the others uncounted.
#[tokio::test]
async fn sessions_are_counted_whatever_has_become_of_others() {
    let day = 86_400;
    let sessions = Sessions::with(|refresh| refresh.sessions(3).retry_window(Duration::ZERO));
    let old = sessions.login("app").await;
    sessions.advance(30 * day - 60);
    let mut others = vec![sessions.login("app").await, sessions.login("app").await];
    sessions.revoke("app", &old.refresh).await;
    sessions.advance(day);
    others.extend([sessions.login("app").await, sessions.login("app").await]);
    sessions.refresh("app", &others[0].refresh).await.is(400, "invalid_grant"); // replaced

    // One that was stolen leaves its place to the next, so that no older one has to go.
    let [_, oldest, stolen, newest] = &others[..] else { panic!("four") };
    sessions.refresh("app", &stolen.refresh).await.is_granted();
    sessions.refresh("app", &stolen.refresh).await.is(400, "invalid_grant");
    sessions.login("app").await;
    for pair in [oldest, newest] {
        sessions.refresh("app", &pair.refresh).await.is_granted();
    }
}

/// A row is no longer than stores are promised.
#[tokio::test]
async fn what_is_too_long_to_be_remembered_is_not_granted() {
    let users = Users::who(|attempt| Ok(Login::accepted(attempt.username().repeat(4_000))));
    let tokens = OpaqueIssuer::new(InMemoryTokens::new(), AUDIENCE);
    let refresh = RefreshTokens::new(keys(), Gate::default());
    let instance = Instance::issuing(InMemoryState::new(), users, tokens, refresh);
    instance.send("app", OFFLINE).await.is(503, "temporarily_unavailable");
    assert!(instance.events.last().contains("too long to be remembered"));
}

/// At once too: none of the lists is overwritten.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_logins_at_once_the_number_of_sessions_is_bounded() {
    let store = InMemoryState::new();
    let instances: Vec<_> = (0..4)
        .map(|_| Arc::new(Instance::with(store.clone(), |refresh| refresh.sessions(5))))
        .collect();
    let barrier = Arc::new(tokio::sync::Barrier::new(32));
    let tasks: Vec<_> = (0..32)
        .map(|number: usize| {
            let (instance, barrier) = (instances[number % 4].clone(), barrier.clone());
            tokio::spawn(async move {
                barrier.wait().await;
                instance.login().await
            })
        })
        .collect();
    let mut pairs = Vec::new();
    for task in tasks {
        pairs.push(task.await.unwrap());
    }
    let mut alive = 0;
    for pair in pairs {
        alive += usize::from(instances[0].is_active(&pair.access).await);
    }
    assert_eq!(alive, 5);
}

/// A login whose family cannot be remembered is not granted.
#[tokio::test]
async fn a_login_without_room_for_its_family_is_not_granted() {
    let sessions = Sessions::over(
        Users::default(),
        |refresh| refresh,
        |builder| builder.state(InMemoryState::new().capacity(0)),
    );
    sessions.ask("app", OFFLINE).await.is(503, "temporarily_unavailable");
    sessions.ask("app", &OFFLINE.replace("+offline_access", "")).await.is_granted();
}

/// Requirement 136: dropped at any await, a refresh has used its token up or not, and the next one goes on.
#[tokio::test]
async fn a_refresh_that_is_given_up_anywhere_can_be_made_again() {
    let mut given_up = 0;
    for polls in 0.. {
        let store = InMemoryState::new();
        let slow = Arc::new(Slow(store.clone()));
        let instance = Instance::over(slow);
        let first = Instance::over(store).login().await;
        {
            let form = refreshing(&first.refresh);
            let mut request = pin!(instance.send("app", &form));
            let mut context = Context::from_waker(Waker::noop());
            let finished = (0..polls).any(|_| request.as_mut().poll(&mut context).is_ready());
            if finished {
                break;
            }
        }
        given_up += 1;
        let second = Pair::of(&instance.refresh(&first.refresh).await);
        instance.refresh(&second.refresh).await.is_granted();
    }
    assert!(given_up > 4, "{given_up}");
}

/// Every call waits once before and once after it took effect.
struct Slow(InMemoryState);

#[async_trait]
impl StateStore for Slow {
    async fn load(&self, keys: &[StateKey]) -> Result<Loaded, BoxError> {
        tokio::task::yield_now().await;
        let loaded = self.0.load(keys).await;
        tokio::task::yield_now().await;
        loaded
    }

    async fn commit(&self, changes: &[Change]) -> Result<Commit, BoxError> {
        tokio::task::yield_now().await;
        let commit = self.0.commit(changes).await;
        tokio::task::yield_now().await;
        commit
    }
}

// --- What is stored, and what shows ------------------------------------------------------------------------------------

/// Remembers all that was ever written.
struct Recording {
    store: InMemoryState,
    written: Mutex<Vec<Vec<u8>>>,
}

#[async_trait]
impl StateStore for Recording {
    async fn load(&self, keys: &[StateKey]) -> Result<Loaded, BoxError> {
        self.store.load(keys).await
    }

    async fn commit(&self, changes: &[Change]) -> Result<Commit, BoxError> {
        for Change { key, write, .. } in changes {
            let mut row = key.as_bytes().to_vec();
            if let Write::Put { value, .. } = write {
                row.extend(value);
            }
            self.written.lock().unwrap().push(row);
        }
        self.store.commit(changes).await
    }
}

/// Requirement 100: a table that leaks yields no token, and neither do the events.
#[tokio::test]
async fn neither_the_store_nor_the_events_hold_a_token() {
    use base64::Engine as _;
    let store = Arc::new(Recording { store: InMemoryState::new(), written: Mutex::default() });
    let instance = Instance::over(store.clone());
    let mut tokens = vec![instance.login().await];
    for _ in 0..3 {
        let last = tokens.last().unwrap();
        tokens.push(Pair::of(&instance.refresh(&last.refresh).await));
    }
    instance.revoke(&tokens.last().unwrap().refresh).await;
    let written = store.written.lock().unwrap();
    assert!(written.len() >= 5);
    let events = instance.events.lines().concat();
    for Pair { refresh, access } in &tokens {
        let text = refresh.strip_prefix("rt1.").unwrap();
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).unwrap();
        // Any eight bytes of the secret, or of the tag.
        for part in bytes[28..].windows(8) {
            assert!(written.iter().all(|row| row.windows(8).all(|own| own != part)));
        }
        for hidden in [text, refresh.as_str(), access.as_str(), access.rsplit('.').next().unwrap()]
        {
            assert!(!events.contains(hidden));
            assert!(
                written
                    .iter()
                    .all(|row| !row.windows(hidden.len()).any(|own| own == hidden.as_bytes()))
            );
        }
    }
    let shown = format!("{:?} {:?}", keys(), RefreshTokens::new(keys(), Gate::default()));
    assert!(!shown.contains("17, 17") && !shown.to_lowercase().contains("0x11"), "{shown}");
}
