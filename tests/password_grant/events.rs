//! What the observer is told, and what `Debug` shows.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use password_grant::event::EventKind;
use password_grant::testing::ManualClock;
use password_grant::{
    Environment, Event, HttpRequest, JwtIssuer, Login, Observer, PasswordGrant,
    PasswordGrantBuilder, TokenRequest,
};

use crate::common::{AUDIENCE, FORM, GOOD, ISSUER, Users, World, clients};

/// The most frequent mistake in an adapter, which would otherwise stay unnoticed.
#[tokio::test]
async fn it_is_told_once_that_many_requests_come_without_an_address() {
    #[derive(Clone, Default)]
    struct Missing(Arc<AtomicUsize>);
    impl Observer for Missing {
        fn observe(&self, event: &Event<'_>) {
            if event.kind == EventKind::NoPeerAddress {
                assert!(event.to_string().contains("limits by address did not apply"), "{event}");
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
    let told_by = async |configure: fn(PasswordGrantBuilder) -> PasswordGrantBuilder,
                         peers: Vec<Option<&str>>| {
        let missing = Missing::default();
        let observer = missing.clone();
        let configure = |builder: PasswordGrantBuilder, _: &ManualClock| configure(builder);
        let world =
            World::in_environment(Users::default(), |own| own.observer(observer), configure);
        for peer in peers {
            let form = format!("{GOOD}&client_id=mobile");
            let request = HttpRequest::new(
                "POST",
                None,
                [("content-type", FORM.as_bytes())],
                form.as_bytes(),
            );
            let request = match peer {
                Some(peer) => request.peer(peer.parse().unwrap()),
                None => request,
            };
            assert_eq!(world.grant.token(request).await.status(), 200);
        }
        missing.0.load(Ordering::SeqCst)
    };
    let (some, none) = (Some("192.0.2.1"), None);
    assert_eq!(told_by(|builder| builder, vec![some; 120]).await, 0);
    assert_eq!(
        told_by(|builder| builder, vec![none; 99]).await,
        0,
        "a health check of the host's own"
    );
    assert_eq!(told_by(|builder| builder, vec![none; 250]).await, 1);
    assert_eq!(told_by(|builder| builder, [some, none].repeat(100)).await, 1);
    assert_eq!(
        told_by(PasswordGrantBuilder::dangerous_without_attempt_limits, vec![none; 120]).await,
        0,
        "there are no limits"
    );
}

#[tokio::test]
async fn what_happened_is_observed_in_lines_that_cannot_be_forged() {
    let world = World::default();
    world.post(GOOD).await.is_granted();
    let issued = world.events.last();
    assert!(
        issued.contains(r#"issued to client "web" for subject "user-1", scope "profile""#),
        "{issued}"
    );

    world
        .post("grant_type=password&username=%E2%80%A8eve%22%5C%C2%85&password=x")
        .await
        .is(400, "invalid_grant");
    let line = world.events.last();
    assert!(
        !line.contains(|character: char| character.is_control() || character == '\u{2028}'),
        "{line:?}"
    );
    assert_eq!(
        line,
        r#"login of "\u{2028}eve\"\\\u{85}" through client "web" rejected: WrongPassword"#
    );
}

/// For hosts that count attempts before the engine sees the request.
#[test]
fn a_parsed_request_shows_what_is_no_secret() {
    let form = format!("{GOOD}&client_id=mobile");
    let http = HttpRequest::new("POST", None, [("content-type", FORM.as_bytes())], form.as_bytes());
    let request = TokenRequest::from_http(&http).unwrap();
    let shown = (request.grant_type(), request.client_id(), request.username());
    assert_eq!(shown, (Some("password"), Some("mobile"), Some("alice")));
}

/// Incident I27, requirement 139: a right password is observed, even if no token follows.
#[tokio::test]
async fn a_login_is_observed_even_if_no_token_follows() {
    let world =
        World::of(Users::who(|_| Ok(Login::accepted("user-1").scope("profile".parse().unwrap()))));
    world
        .post("grant_type=password&username=alice&password=x&scope=orders:read")
        .await
        .is(400, "invalid_scope");
    let expected = [
        r#"attempt on "a…(5)" through client "web" admitted, counted on Account"#,
        r#"login of "alice" through client "web" accepted: subject "user-1""#,
        r#"client "web" is not registered for what it asked: OwnerScope"#,
    ];
    assert_eq!(world.events.lines(), expected);
}

/// An observer that panics does not change the answer.
#[tokio::test]
async fn an_observer_that_panics_changes_no_answer() {
    struct Panics;
    impl Observer for Panics {
        fn observe(&self, _: &Event<'_>) {
            panic!("on purpose");
        }
    }
    let world = World::with(Users::default(), |builder| builder);
    let tokens = JwtIssuer::new(world.keys.clone(), AUDIENCE);
    let builder = PasswordGrant::builder(ISSUER, clients(), world.users.clone(), tokens);
    let grant = builder.environment(&Environment::new().observer(Panics)).build().unwrap();
    let wrong = GOOD.replace("wonderland", "wrong");
    for (form, status) in
        [(GOOD, 200), (&*wrong, 400), ("%zz", 400), ("grant_type=password&scope=admin", 400)]
    {
        let form = format!("{form}&client_id=mobile");
        let headers = [("content-type", FORM.as_bytes())];
        let request = HttpRequest::new("POST", None, headers, form.as_bytes());
        assert_eq!(grant.token(request).await.status(), status, "{form}");
    }
}
