//! The minimum time until a failed authentication is answered, at every endpoint at which clients
//! authenticate.

use std::net::IpAddr;
use std::task::Poll;
use std::time::Duration;

use futures_util::poll;
use password_grant::assertion::{AssertionKey, ClientAssertion};
use password_grant::state::StateSecret;
use password_grant::{
    AttemptLimits, Client, ClientAuthentication, ClientSecret, HttpRequest, Login,
    PasswordGrantBuilder, Rejection,
};

use crate::common::fakes::{FaultyStore, StoreFault};
use crate::common::{Answer, FORM, GOOD, ISSUER, JWT_BEARER, Users, World, basic, noon};

const FLOOR: Duration = Duration::from_millis(300);
const HOME: [u8; 4] = [192, 0, 2, 1];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Token,
    Revocation,
    Introspection,
}

const EVERYWHERE: [At; 3] = [At::Token, At::Revocation, At::Introspection];

fn world_with(
    users: Users,
    configure: impl FnOnce(PasswordGrantBuilder) -> PasswordGrantBuilder,
) -> World {
    let world = World::with(users, |builder| configure(builder.min_failure_time(FLOOR)));
    let client = |id: &str| Client::confidential(id, ClientSecret::digest_of("secret"));
    world.clients.insert(client("disabled").disabled());
    world.clients.insert(client("expired").expires_at(noon()));
    let slow = ClientAuthentication::basic_by_slow_hash("not verified by this server");
    world.clients.insert(Client::confidential("slow", slow));
    world
}

/// Sends a request with this header and form, to which the endpoint's own parameters are added.
/// Returns the status, and for how long the answer was held back.
async fn ask(world: &World, at: At, header: Option<&str>, form: &str) -> (u16, Duration) {
    let own = if at == At::Token { GOOD } else { "token=unknown" };
    let body = format!("{own}{form}");
    let headers = header.map(|header| ("authorization", header.as_bytes()));
    let headers = headers.into_iter().chain([("content-type", FORM.as_bytes())]);
    let request = HttpRequest::new("POST", None, headers, body.as_bytes()).peer(IpAddr::from(HOME));
    let mut answer = Box::pin(async move {
        Answer::from(match at {
            At::Token => world.grant.token(request).await,
            At::Revocation => world.grant.revoke(request).await,
            At::Introspection => world.grant.introspect(request).await,
        })
    });
    let mut held_back = Duration::ZERO;
    loop {
        if let Poll::Ready(answer) = poll!(&mut answer) {
            return (answer.status, held_back);
        }
        assert_eq!(world.clock.sleepers(), 1, "{at:?} {header:?} {form}");
        world.clock.advance(Duration::from_millis(1));
        held_back += Duration::from_millis(1);
    }
}

/// Requirement 80.
#[tokio::test]
async fn every_failed_client_authentication_is_held_back_at_every_endpoint() {
    let by = |id: &str, secret: &str| Some(basic(id, secret));
    let assertion = |client_id: &str| {
        let key = AssertionKey::from_secret([7; 32]).unwrap();
        let assertion = ClientAssertion::new(client_id, ISSUER, key).sign().unwrap();
        format!("&client_assertion_type={JWT_BEARER}&client_assertion={assertion}")
    };
    for at in EVERYWHERE {
        let world = world_with(Users::default(), |builder| builder);
        for (case, header, form) in [
            ("unknown", by("nobody", "secret"), String::new()),
            ("a wrong secret", by("web", "wrong"), String::new()),
            ("a wrong secret in the body", None, "&client_id=web&client_secret=wrong".into()),
            ("disabled", by("disabled", "secret"), String::new()),
            ("expired", by("expired", "secret"), String::new()),
            ("another method", None, "&client_id=idle&client_secret=idle-secret".into()),
            ("a slow hash that is not verified", by("slow", "secret"), String::new()),
            ("a confidential client without its secret", None, "&client_id=web".into()),
            ("an unknown public client", None, "&client_id=nobody".into()),
            ("an assertion of an unknown client", None, assertion("nobody")),
            ("an assertion of a client with a secret", None, assertion("web")),
        ] {
            let answered = ask(&world, at, header.as_deref(), &form).await;
            assert_eq!(answered, (401, FLOOR), "{at:?}: {case}");
        }
    }
}

#[tokio::test]
async fn a_failed_login_and_a_public_client_that_introspects_are_held_back() {
    let rejecting = Users::who(|_| Ok(Login::rejected(Rejection::UnknownUser)));
    let world = world_with(rejecting, |builder| builder);
    for (at, status) in [(At::Token, 400), (At::Introspection, 401)] {
        assert_eq!(ask(&world, at, None, "&client_id=mobile").await, (status, FLOOR), "{at:?}");
    }
}

#[tokio::test]
async fn what_is_refused_before_anybody_is_looked_up_is_not_held_back_and_neither_is_success() {
    let (web, wrong) = (basic("web", "web-secret"), basic("web", "wrong"));
    for at in EVERYWHERE {
        let world = world_with(Users::default(), |builder| builder);
        for (case, header, form, status) in [
            ("success", Some(&*web), "", 200),
            ("no client", None, "", 401),
            ("no credentials in the header", Some("Basic x"), "", 401),
            ("two credentials", Some(&*web), "&client_secret=web-secret", 400),
            ("a malformed escape", Some(&*web), "&x=%zz", 400),
            ("a repeated parameter", Some(&*web), "&x=1&x=1", 400),
        ] {
            let answered = ask(&world, at, header, form).await;
            assert_eq!(answered, (status, Duration::ZERO), "{at:?}: {case}");
        }
        let one = AttemptLimits::default().client(1, Duration::from_secs(600));
        let world = world_with(Users::default(), |builder| builder.attempt_limits(one));
        assert_eq!(ask(&world, at, Some(&wrong), "").await, (401, FLOOR));
        let denied = ask(&world, at, Some(&web), "").await;
        assert_eq!(denied, (429, Duration::ZERO), "{at:?}");
    }
}

/// The answer does not tell whether the secret or the password was right, so its time must not
/// either.
#[tokio::test]
async fn a_failure_that_cannot_be_counted_is_held_back_too() {
    let failing_after = |calls| {
        let script = move |call| if call < calls { StoreFault::None } else { StoreFault::Fails };
        move |builder: PasswordGrantBuilder| {
            builder.shared_state(FaultyStore::new(script), StateSecret::new([7; 32]).unwrap())
        }
    };
    for at in EVERYWHERE {
        // The load before tells that the client may try.
        let world = world_with(Users::default(), failing_after(1));
        let answered = ask(&world, at, Some(&basic("web", "wrong")), "").await;
        assert_eq!(answered, (503, FLOOR), "{at:?}");
    }
    // A login loads its rows and commits its reservation, and then cannot be settled.
    let world = world_with(Users::default(), failing_after(2));
    let answered = ask(&world, At::Token, None, "&client_id=mobile").await;
    assert_eq!((answered, world.users.asked()), ((503, FLOOR), 1));
}
