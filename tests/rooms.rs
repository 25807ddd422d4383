//! What is full in the state in memory takes nothing from anything else: sessions, used assertions
//! and revoked tokens have rooms of their own, and log-outs are never refused. The rooms of the
//! limiter's counts are tested in `limiter/capacity.rs`.

mod common;

use std::time::Duration;

use password_grant::assertion::{AssertionKey, ClientAssertion};
use password_grant::jose::JwkSet;
use password_grant::limiter::{AttemptCount, LimitKey};
use password_grant::state::InMemoryState;
use password_grant::testing::ManualClock;
use password_grant::{
    Client, ClientAuthentication, Environment, Grant, Login, Rejection, RequestContext,
};

use common::private_keys::ed25519;
use common::sessions::{OFFLINE, Pair, Sessions};
use common::{Answer, GOOD, ISSUER, JWT_BEARER, Users, noon};

/// Room for 160 rows of sessions, 160 of assertions and 10 of revoked tokens.
const CAPACITY: usize = 640;

struct Small {
    sessions: Sessions,
    clock: ManualClock,
    key: AssertionKey,
    /// The sessions of `alice` and `bob`, who logged in while there was room.
    alice: Pair,
    bob: Pair,
}

impl Small {
    /// An engine with little room, where everybody may log in with `wonderland`.
    async fn new() -> Self {
        let users = Users::who(|attempt| {
            let right = attempt.password().expose() == "wonderland";
            Ok(if right {
                Login::accepted(attempt.username())
            } else {
                Login::rejected(Rejection::WrongPassword)
            })
        });
        let clock = ManualClock::at(noon());
        let state = InMemoryState::new().capacity(CAPACITY);
        let state = state.environment(&Environment::new().clock(clock.clone()));
        let sessions = Sessions::in_environment(
            users,
            |environment| environment.clock(clock.clone()),
            |refresh| refresh,
            |builder| builder.state(state),
        );
        let key = AssertionKey::from_pem(ed25519()).unwrap();
        let alice = sessions.login("app").await;
        let bob = Pair::of(&sessions.ask("app", &of_user(OFFLINE, "bob")).await);
        Self { sessions, clock, key, alice, bob }
    }

    async fn login(&self, form: &str, username: &str) -> Answer {
        self.sessions.ask("app", &of_user(form, username)).await
    }

    async fn logs_out(&self, username: &str) {
        let grant = &self.sessions.world.grant;
        grant.log_out_everywhere(&username.into(), &RequestContext::new()).await.unwrap();
    }

    /// Logs a user in without a session, and revokes the access token.
    async fn revokes(&self, username: &str) -> Answer {
        let token = self.login(GOOD, username).await.access_token();
        self.sessions.revoke("app", &token).await
    }

    /// Logs in as a client that signs.
    async fn signs(&self, client: &str) -> Answer {
        let keys: JwkSet = self.key.public_jwk().into_iter().collect();
        let keys = ClientAuthentication::private_key_jwt(&keys).unwrap();
        let registered = Client::confidential(client, keys).grants([Grant::Password]);
        let world = &self.sessions.world;
        world.clients.insert(registered.scope("profile".parse().unwrap()));
        let assertion = ClientAssertion::new(client, ISSUER, self.key.clone())
            .environment(&Environment::new().clock(self.clock.clone()))
            .sign()
            .unwrap();
        let form =
            format!("{GOOD}&client_assertion_type={JWT_BEARER}&client_assertion={assertion}");
        world.send(&[], &form).await
    }

    /// How often this is granted before it is refused for want of room, in 200 times.
    async fn granted(&self, mut ask: impl AsyncFnMut(usize) -> Answer) -> usize {
        let mut granted = 0;
        for number in 0..200 {
            match ask(number).await.status {
                200 => granted += 1,
                status => assert_eq!(status, 503),
            }
        }
        granted
    }

    /// Everything that needs no new row in a full room: logins, sessions that go on, and whatever
    /// ends one.
    async fn goes_on(&self) {
        self.login(GOOD, "carol").await.is_granted();
        self.login(&GOOD.replace("wonderland", "wrong"), "carol").await.is(400, "invalid_grant");
        let (sessions, nowhere) = (&self.sessions, RequestContext::new());
        let alice = Pair::of(&sessions.refresh("app", &self.alice.refresh).await);
        let bob = Pair::of(&sessions.refresh("app", &self.bob.refresh).await);

        let verified =
            sessions.verifier().environment(&Environment::new().clock(self.clock.clone()));
        let verified = verified.verify(&alice.access).await.unwrap();
        let session = verified.session_id.as_ref().unwrap();
        assert!(sessions.world.grant.end_session(session, &nowhere).await.unwrap());
        sessions.refresh("app", &alice.refresh).await.is(400, "invalid_grant");

        assert_eq!(sessions.revoke("app", &bob.refresh).await.status, 200);
        sessions.refresh("app", &bob.refresh).await.is(400, "invalid_grant");

        for username in ["alice", "bob", "carol", "dave"] {
            self.logs_out(username).await;
        }
        // Otherwise they would wait for the next second, because of the log-out.
        self.clock.advance(Duration::from_secs(1));
    }
}

fn of_user(form: &str, username: &str) -> String {
    form.replace("alice", username)
}

/// Full of sessions, everything goes on but new ones, which go on when others have ended.
#[tokio::test]
async fn a_room_that_is_full_of_sessions_refuses_new_sessions_alone() {
    let small = Small::new().await;
    let login = async |number| small.login(OFFLINE, &format!("user{number}")).await;
    assert_eq!(small.granted(login).await, 78, "a session and a list for each user");
    small.goes_on().await;
    small.signs("signer").await.is_granted();
    assert_eq!(small.revokes("erin").await.status, 200);
    small.login(OFFLINE, "frank").await.is(503, "temporarily_unavailable");
    // That there is no room is no fault of the login.
    let frank = LimitKey::Account { username: "frank" };
    let counted = small.sessions.world.grant.attempts(frank, &RequestContext::new()).await;
    assert_eq!(counted.unwrap(), Some(AttemptCount::default()));
    // What is left of the two sessions that were ended is removed after a minute.
    small.clock.advance(Duration::from_secs(61));
    small.login(OFFLINE, "frank").await.is_granted();
}

/// Full of used assertions, everything goes on but assertions.
#[tokio::test]
async fn a_room_that_is_full_of_assertions_refuses_assertions_alone() {
    let small = Small::new().await;
    let signs = async |number: usize| small.signs(&format!("signer{}", number % 20)).await;
    let granted = small.granted(signs).await;
    // A client has a count row for each of sixteen parts, besides one row for each assertion.
    assert!((70..160).contains(&granted), "{granted}");
    small.signs("newcomer").await.is(503, "temporarily_unavailable");
    small.login(OFFLINE, "erin").await.is_granted();
    assert_eq!(small.revokes("erin").await.status, 200);
    small.goes_on().await;
}

/// However many assertions a client may have, one alone takes a quarter of the room at most.
#[tokio::test]
async fn one_client_does_not_take_the_room_of_all_for_assertions() {
    let small = Small::new().await;
    let granted = small.granted(async |_| small.signs("greedy").await).await;
    assert!((16..=48).contains(&granted), "{granted}");
    small.signs("modest").await.is_granted();
}

/// Full of revoked access tokens without a session, everything goes on but revoking such tokens.
#[tokio::test]
async fn a_room_that_is_full_of_revoked_tokens_refuses_such_revocations_alone() {
    let small = Small::new().await;
    let revokes = async |number| small.revokes(&format!("user{number}")).await;
    assert_eq!(small.granted(revokes).await, 10);
    small.login(OFFLINE, "erin").await.is_granted();
    small.signs("signer").await.is_granted();
    small.goes_on().await;
}

/// Log-outs have no bound: they are rows of users who exist, one each.
#[tokio::test]
async fn a_log_out_is_never_refused() {
    let small = Small::new().await;
    for number in 0..2 * CAPACITY {
        small.logs_out(&format!("user{number}")).await;
    }
    small.signs("signer").await.is_granted();
    small.login(OFFLINE, "erin").await.is_granted();
}
