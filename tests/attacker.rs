//! Long random histories in which an attacker creates whatever they like from one IPv6 network:
//! nothing of it makes anything of somebody else's fail.

mod common;

use std::time::Duration;

use password_grant::state::InMemoryState;
use password_grant::testing::ManualClock;
use password_grant::{Clock, Environment, HttpRequest, Login, Rejection, RequestContext};
use proptest::collection::vec;
use proptest::prelude::*;

use common::sessions::{OFFLINE, Sessions, refreshing};
use common::{Answer, FORM, GOOD, Users, basic, noon};

/// What the attacker does, from one of the 65,536 addresses of the network.
#[derive(Debug, Clone)]
enum Act {
    /// Guesses at the owner's password.
    GuessAtOwner(u16),
    /// Guesses at one of very many names.
    GuessAtAny(u16, u16),
    /// Tries a secret of a client, registered or invented.
    GuessSecret(u16, Option<u16>),
    /// Logs in to an account of their own, with a session, and uses and revokes its tokens.
    Session(u16),
    /// The same without a session.
    Token(u16),
    Wait(u16),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    vec(
        prop_oneof![
            4 => any::<u16>().prop_map(Act::GuessAtOwner),
            12 => any::<(u16, u16)>().prop_map(|(from, name)| Act::GuessAtAny(from, name)),
            8 => any::<(u16, Option<u16>)>().prop_map(|(from, id)| Act::GuessSecret(from, id)),
            4 => any::<u16>().prop_map(Act::Session),
            2 => any::<u16>().prop_map(Act::Token),
            1 => (0_u16..600).prop_map(Act::Wait),
        ],
        600,
    )
}

fn attacker(host: u16) -> RequestContext {
    RequestContext::new().with_peer(format!("2001:db8:0:{host:x}::1").parse().unwrap())
}

fn home() -> RequestContext {
    RequestContext::new().with_peer("192.0.2.1".parse().unwrap())
}

/// An engine with little room, with its sessions and clock.
struct Small {
    sessions: Sessions,
    clock: ManualClock,
}

impl Small {
    fn new() -> Self {
        let users = Users::who(|attempt| {
            let right = matches!(
                (attempt.username(), attempt.password().expose()),
                ("alice", "wonderland") | ("mallory", "hatter")
            );
            Ok(if right {
                Login::accepted(attempt.username())
            } else {
                Login::rejected(Rejection::WrongPassword)
            })
        });
        let clock = ManualClock::at(noon());
        let environment = Environment::new().clock(clock.clone());
        let state = InMemoryState::new().capacity(1_000).environment(&environment);
        let sessions = Sessions::in_environment(
            users,
            |environment| environment.clock(clock.clone()),
            |refresh| refresh,
            |builder| builder.state(state),
        );
        Self { sessions, clock }
    }

    async fn post(&self, context: &RequestContext, client: (&str, &str), form: &str) -> Answer {
        let authorization = basic(client.0, client.1);
        let headers = [("authorization", &*authorization), ("content-type", FORM)];
        let headers = headers.map(|(name, value)| (name, value.as_bytes()));
        let request = HttpRequest::new("POST", None, headers, form.as_bytes());
        self.sessions.world.grant.token(request.context(context.clone())).await.into()
    }

    /// Returns whether a guess at the owner's password was judged.
    async fn act(&self, act: Act) -> bool {
        let app = ("app", "app-secret");
        let own = |form: &str| form.replace("alice", "mallory").replace("wonderland", "hatter");
        match act {
            Act::GuessAtOwner(from) => {
                let guess = GOOD.replace("wonderland", "guess");
                return self.post(&attacker(from), app, &guess).await.status == 400;
            }
            Act::GuessAtAny(from, name) => {
                let guess = GOOD.replace("alice", &format!("user{name}"));
                self.post(&attacker(from), app, &guess).await;
            }
            Act::GuessSecret(from, id) => {
                let id = id.map_or_else(|| "app".to_owned(), |id| format!("client{id}"));
                self.post(&attacker(from), (&id, "guess"), GOOD).await;
            }
            Act::Session(from) => {
                let answer = self.post(&attacker(from), app, &own(OFFLINE)).await;
                let Some(token) = refresh_token(&answer) else { return false };
                let answer = self.post(&attacker(from), app, &refreshing(&token)).await;
                if answer.status == 200 {
                    self.sessions.revoke("app", &answer.access_token()).await;
                }
            }
            Act::Token(from) => {
                let answer = self.post(&attacker(from), app, &own(GOOD)).await;
                if answer.status == 200 {
                    self.sessions.revoke("app", &answer.access_token()).await;
                }
            }
            Act::Wait(seconds) => self.clock.advance(Duration::from_secs(seconds.into())),
        }
        false
    }
}

fn refresh_token(answer: &Answer) -> Option<String> {
    let body: serde_json::Value = serde_json::from_str(&answer.body).ok()?;
    body["refresh_token"].as_str().map(str::to_owned)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]
    #[test]
    fn nothing_that_an_attacker_creates_makes_anything_of_somebody_elses_fail(acts in acts()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let small = Small::new();
            let (app, other) = (("app", "app-secret"), ("other", "other-secret"));
            // Home becomes known through both clients. The first login through a client would
            // otherwise clear what the attacker has failed before it.
            for client in [app, other] {
                small.post(&home(), client, GOOD).await.is_granted();
            }
            let mut judged = Vec::new();
            for (number, act) in acts.into_iter().enumerate() {
                if small.act(act).await {
                    judged.push(small.clock.now());
                }
                if number % 20 > 0 {
                    continue;
                }
                // The owner at home, a client that has never failed, and whatever ends a session.
                let session = small.post(&home(), app, OFFLINE).await;
                session.is_granted();
                let token = refresh_token(&session).unwrap();
                small.post(&home(), app, &refreshing(&token)).await.is_granted();
                small.post(&home(), other, GOOD).await.is_granted();
                assert_eq!(small.sessions.revoke("app", &token).await.status, 200);
                let grant = &small.sessions.world.grant;
                grant.log_out_everywhere(&"somebody".into(), &home()).await.unwrap();
            }
            // The bounds for the owner's name, from all places together that are not home.
            let window = Duration::from_secs(86_400);
            for start in &judged {
                let within = judged.iter().filter(|at| *at >= start && at.since(*start) < window);
                assert!(within.count() <= 200 + 96);
            }
            for burst in judged.windows(11) {
                assert!(burst[10].since(burst[0]) >= Duration::from_secs(1), "{burst:?}");
            }
        });
    }
}
