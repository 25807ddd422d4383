//! The authenticator of the host: what it is told, and what its decisions become on the wire.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use password_grant::error::ErrorCode;
use password_grant::{HttpRequest, Login, Reason, Rejection, RequestLimits, Scope, TokenRequest};
use serde_json::json;

use crate::common::{FORM, GOOD, Users, World};

/// Incident I20, requirement 25.
#[tokio::test]
async fn every_rejection_gets_the_same_bytes_and_its_reason_stays_private() {
    let reasons = [
        Rejection::UnknownUser,
        Rejection::WrongPassword,
        Rejection::NoPassword,
        Rejection::UnusableHash,
        Rejection::Disabled,
        Rejection::Locked,
        Rejection::Expired,
        Rejection::PasswordChangeRequired,
        Rejection::SecondFactorRequired,
        Rejection::Other("marker"),
    ];
    let mut answers = Vec::new();
    for reason in reasons {
        let world = World::of(Users::who(move |_| {
            Ok(Login::rejected(reason).member("hint", "marker").scope(Scope::empty()))
        }));
        answers.push(world.post(GOOD).await);
        assert!(
            world.events.last().ends_with(&format!("rejected: {reason:?}")),
            "{}",
            world.events.last()
        );
    }
    answers[0].is(400, "invalid_grant");
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert!(!answers[0].body.contains("marker"));
}

#[tokio::test]
async fn another_step_is_asked_for_with_the_hosts_code_and_members() {
    let world =
        World::of(Users::who(
            |_| Ok(Login::more_needed("mfa_required").member("mfa_token", "m-1")),
        ));
    let answer = world.post(GOOD).await;
    answer.is(403, "mfa_required");
    assert_eq!(answer.json()["mfa_token"], "m-1");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(
        world.events.last(),
        r#"login of "alice" through client "web" needs another step: "mfa_required""#
    );

    let request = [
        ("grant_type", "password"),
        ("username", "a"),
        ("password", "b"),
        ("client_id", "mobile"),
        ("scope", "profile"),
    ];
    let request =
        TokenRequest::from_pairs(request.map(|(name, value)| (name.into(), value.into()))).unwrap();
    let refusal = world.grant.handle(request).await.unwrap_err();
    assert_eq!(refusal.code(), &ErrorCode::Host("mfa_required".into()));
    assert_eq!(refusal.reason(), &Reason::MoreNeeded("mfa_required".into()));
}

#[tokio::test]
async fn the_host_adds_to_answers_and_tokens_and_overrides_nothing() {
    let added = World::of(Users::who(|_| {
        Ok(Login::accepted("user-1")
            .member("account", json!({ "plan": "pro" }))
            .claim("roles", json!(["staff"])))
    }));
    let answer = added.post(GOOD).await;
    assert_eq!(answer.is_granted()["account"]["plan"], "pro");
    assert_eq!(answer.claims()["roles"][0], "staff");
    assert_eq!(answer.claims().get("account"), None);

    for member in [
        "access_token",
        "token_type",
        "expires_in",
        "scope",
        "refresh_token",
        "error",
        "error_description",
        "",
    ] {
        let world =
            World::of(Users::who(move |_| Ok(Login::accepted("user-1").member(member, "x"))));
        world.post(GOOD).await.is(500, "server_error");
        let world = World::of(Users::who(move |_| {
            Ok(Login::more_needed("mfa_required").member(member, "x"))
        }));
        let answer = world.post(GOOD).await;
        answer.is(500, "server_error");
        assert_eq!(answer.json().as_object().unwrap().len(), 2, "{}", answer.body);
        assert_eq!(answer.body.matches("\"error\"").count(), 1);
    }
    for claim in [
        "iss",
        "sub",
        "aud",
        "client_id",
        "scope",
        "iat",
        "exp",
        "nbf",
        "jti",
        "sid",
        "login_epoch",
        "cnf",
        "act",
        "may_act",
        "",
    ] {
        let world = World::of(Users::who(move |_| Ok(Login::accepted("user-1").claim(claim, "x"))));
        world.post(GOOD).await.is(500, "server_error");
    }
    for code in ["", "invalid_grant", "invalid_client", "server_error", "a b", "a\"b", "a\nb", "ä"]
    {
        let world =
            World::of(Users::who(move |_| Ok(Login::more_needed(code).member("mfa_token", "m-1"))));
        let answer = world.post(GOOD).await;
        answer.is(500, "server_error");
        assert!(!answer.body.contains("m-1"));
        assert_eq!(world.events.last(), r#"server fault: HostMember with client "web""#);
    }
    let nobody = World::of(Users::who(|_| Ok(Login::accepted(""))));
    nobody.post(GOOD).await.is(500, "server_error");
}

/// Requirement 4: the limits of the engine hold, whoever has parsed the request.
#[tokio::test]
async fn a_parsed_request_is_held_against_the_engines_limits() {
    for (limit, length, fine) in [(72, 72, true), (72, 73, false), (4096, 4096, true)] {
        let mut limits = RequestLimits::default();
        limits.password = limit;
        let users = Users::who(|_| Ok(Login::accepted("user-1")));
        let world = World::with(users, |builder| builder.limits(limits));
        let form = GOOD.replace("wonderland", &"a".repeat(length)) + "&client_id=mobile";
        let pairs = form
            .split('&')
            .map(|pair| pair.split_once('=').unwrap())
            .map(|(n, v)| (n.into(), v.into()));
        let request = TokenRequest::from_pairs(pairs).unwrap();
        assert_eq!(world.grant.handle(request).await.is_ok(), fine, "{limit} {length}");
        let headers = [("content-type", FORM.as_bytes())];
        let http = HttpRequest::new("POST", None, headers, form.as_bytes());
        assert_eq!(world.grant.handle(TokenRequest::from_http(&http).unwrap()).await.is_ok(), fine);
        assert_eq!(world.users.asked(), if fine { 2 } else { 0 });
    }
}

/// A panic becomes 500 `server_error`, with a fixed text.
#[tokio::test]
async fn a_panic_in_the_hosts_code_is_an_answer_too() {
    let world = World::of(Users::who(|_| panic!("on purpose")));
    let answer = world.post(GOOD).await;
    answer.is(500, "server_error");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(world.events.last(), "server fault: Panic");
}

/// Requirement 74.
#[tokio::test]
async fn the_subject_is_what_the_authenticator_says_never_the_name_typed() {
    let world = World::default();
    let claims = world.post(GOOD).await.claims();
    assert_eq!((&claims["sub"], &claims["client_id"]), (&json!("user-1"), &json!("web")));
}

#[tokio::test]
async fn the_authenticator_gets_what_was_typed_and_what_is_known_about_the_request() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let world = World::of(Users::who(move |attempt| {
        let (name, password) =
            (attempt.username().to_owned(), attempt.password().expose().to_owned());
        log.lock().unwrap().push((
            name,
            password,
            attempt.scope().to_string(),
            attempt.client().id().to_string(),
        ));
        Ok(Login::accepted("user-1"))
    }));
    world
        .post("grant_type=password&username=+Al%C4%B0ce+&password=+pw+&scope=orders:read")
        .await
        .is_granted();
    let expected =
        (" Alİce ".to_owned(), " pw ".to_owned(), "orders:read".to_owned(), "web".to_owned());
    assert_eq!(seen.lock().unwrap()[..], [expected]);
}

/// Requirement 80: only failed logins are held back.
/// What integrators need for a second factor in the first request.
#[tokio::test]
async fn the_authenticator_can_read_parameters_that_the_engine_does_not_know() {
    let users = Users::who(|attempt| {
        let read = ["otp", "device_name", "empty", "absent", "username", "client_secret"];
        let read = read.map(|name| attempt.parameter(name).map(str::to_owned));
        let mut expected = [const { None }; 6];
        (expected[0], expected[1]) = (Some("123 456".into()), Some("zoë+1".into()));
        assert_eq!(read, expected);
        assert!(!format!("{attempt:?}").contains("123"));
        Ok(Login::accepted("user-1"))
    });
    let world = World::of(users);
    let form = format!("{GOOD}&otp=123+456&empty=&device_name=zo%C3%AB%2B1");
    world.post(&form).await.is_granted();
    assert_eq!(world.users.asked(), 1);
    assert!(!world.events.lines().concat().contains("123"), "{:?}", world.events.lines());
    // Strict like any other.
    for repeated in ["otp=1", "empty=", "empty=1"] {
        world.post(&format!("{form}&{repeated}")).await.is(400, "invalid_request");
    }
    assert_eq!(world.users.asked(), 1);
}

#[tokio::test]
async fn a_failure_floor_holds_failed_logins_back_and_nothing_else() {
    let world = World::with(Users::default(), |builder| {
        builder.min_failure_time(Duration::from_millis(300))
    });
    let wrong = GOOD.replace("wonderland", "wrong");
    let mut failing = Box::pin(world.post(&wrong));
    assert!(futures_util::poll!(&mut failing).is_pending());
    world.clock.advance(Duration::from_millis(299));
    assert!(futures_util::poll!(&mut failing).is_pending());
    world.clock.advance(Duration::from_millis(1));
    failing.await.is(400, "invalid_grant");

    world.post(GOOD).await.is_granted();
    world.post("").await.is(400, "invalid_request");
    world.send(&[], GOOD).await.is(401, "invalid_client");
    assert_eq!(world.clock.sleepers(), 0);
}
