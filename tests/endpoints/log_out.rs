//! A log-out of a subject ends its access tokens too, those without a session included.

use std::sync::Arc;
use std::time::Duration;

use password_grant::event::AccessFault;
use password_grant::state::{InMemoryState, StateSecret};
use password_grant::testing::{InMemoryTokens, ManualClock};
use password_grant::time::Timestamp;
use password_grant::token::{OpaqueIssuer, TokenDetails};
use password_grant::{
    AccessToken, AccessTokenVerifier, Authorization, BoxError, Clock, Environment, JwtIssuer,
    Login, LoginAttempt, PasswordGrant, RefreshTokens, RequestContext, SigningKeys, TokenIssuer,
    UserAuthenticator, async_trait,
};
use tokio::sync::Barrier;

use crate::common::fakes::{FaultyStore, StoreFault};
use crate::common::sessions::{
    Gate, OFFLINE, Pair, Sessions, about, keys, register, register_for_logins, verifier,
};
use crate::common::{AUDIENCE, Answer, GOOD, ISSUER, Users, World, basic, clients, noon, segment};

async fn log_out(grant: &PasswordGrant, subject: &str) {
    grant.log_out_everywhere(&subject.into(), &RequestContext::new()).await.unwrap();
}

/// One of several instances of an application over a shared store, with a clock of its own.
struct Instance(World);

impl Instance {
    fn new(store: &InMemoryState, signing: &SigningKeys, clock: &ManualClock) -> Self {
        let tokens = JwtIssuer::new(signing.clone(), AUDIENCE);
        Self::of(store, clock, Users::default(), tokens, None)
    }

    fn of(
        store: &InMemoryState,
        clock: &ManualClock,
        users: impl UserAuthenticator,
        tokens: impl TokenIssuer,
        refresh: Option<RefreshTokens>,
    ) -> Self {
        let clients = clients();
        if refresh.is_some() {
            register(&clients)
        } else {
            register_for_logins(&clients)
        }
        let builder = PasswordGrant::builder(ISSUER, clients, users, tokens)
            .environment(&Environment::new().clock(clock.clone()).observer(()))
            .shared_state(store.clone(), StateSecret::new([0x5a; 32]).unwrap());
        let builder = match refresh {
            Some(refresh) => builder.refresh_tokens(refresh),
            None => builder,
        };
        Self(World { grant: builder.build().unwrap(), clock: clock.clone(), ..World::default() })
    }

    async fn login(&self) -> String {
        self.0.post(GOOD).await.access_token()
    }

    async fn introspect(&self, token: &str) -> Answer {
        let form = format!("token={token}");
        about(
            &self.0,
            &[("authorization", &basic("reports", "reports-secret"))],
            &form,
            "introspect",
        )
        .await
    }

    async fn is_active(&self, token: &str) -> bool {
        self.introspect(token).await.is_granted()["active"] == true
    }

    fn verifier(&self, signing: &SigningKeys) -> AccessTokenVerifier {
        verifier(signing)
            .environment(&Environment::new().clock(self.0.clock.clone()).observer(()))
            .skew(Duration::from_secs(60))
            .revocations(self.0.grant.revocations())
    }
}

#[tokio::test]
async fn a_log_out_ends_access_tokens_without_a_family_too() {
    let sessions = Sessions::new();
    let form = OFFLINE.replace("+offline_access", "");
    let before = sessions.ask("app", &form).await.access_token();
    log_out(&sessions.world.grant, "user-1").await;
    assert!(!sessions.is_active(&before).await);
    assert_eq!(sessions.verifier().verify(&before).await.unwrap_err(), AccessFault::Revoked);
    let after = sessions.ask("app", &form).await.access_token();
    assert!(sessions.is_active(&after).await);
    assert!(sessions.verifier().verify(&after).await.is_ok());
}

/// Log-outs and logins are told apart by numbers, so it does not matter that they are of one
/// instant.
#[tokio::test]
async fn a_login_in_the_second_of_a_log_out_yields_a_token_that_lives_at_once() {
    let plain = OFFLINE.replace("+offline_access", "");
    let without_refresh_tokens = World::default();
    register_for_logins(&without_refresh_tokens.clients);
    for world in [Sessions::new().world, without_refresh_tokens] {
        let verifier = verifier(&world.keys)
            .environment(&Environment::new().clock(world.clock.clone()).observer(()))
            .revocations(world.grant.revocations());
        let mut before: Option<String> = None;
        for _ in 0..3 {
            log_out(&world.grant, "user-1").await;
            log_out(&world.grant, "user-2").await;
            let login = world.send(&[("authorization", &basic("app", "app-secret"))], &plain).await;
            let token = login.access_token();
            verifier.verify(&token).await.unwrap();
            if let Some(before) = before.replace(token) {
                assert_eq!(verifier.verify(&before).await.unwrap_err(), AccessFault::Revoked);
            }
        }
    }
}

/// The clocks of two instances are most of a minute apart. A token that was dated by the one that
/// is ahead does not survive a log-out, and a token that is dated by the one that is behind lives,
/// even if the log-out is dated later.
#[tokio::test]
async fn no_clock_decides_which_of_a_login_and_a_log_out_was_first() {
    let (store, signing) = (InMemoryState::new(), SigningKeys::generate().unwrap());
    let clock = ManualClock::at(noon());
    let store = store.environment(&Environment::new().clock(clock.clone()));
    let at = |seconds: u64| ManualClock::at(noon().plus(Duration::from_secs(seconds)));
    let behind = Instance::new(&store, &signing, &at(0));
    let ahead = Instance::new(&store, &signing, &at(55));
    for (issues, logs_out) in [(&ahead, &behind), (&behind, &ahead)] {
        let before = issues.login().await;
        for instance in [&ahead, &behind] {
            assert!(instance.is_active(&before).await);
        }
        log_out(&logs_out.0.grant, "user-1").await;
        let after = issues.login().await;
        for instance in [&ahead, &behind] {
            assert!(!instance.is_active(&before).await);
            assert!(instance.is_active(&after).await);
            let verifier = instance.verifier(&signing);
            assert_eq!(verifier.verify(&before).await.unwrap_err(), AccessFault::Revoked);
            verifier.verify(&after).await.unwrap();
        }
        // A clock that is set back makes nothing good again, and nothing new dead.
        issues.0.clock.set(issues.0.clock.now().minus(Duration::from_secs(1)));
        assert!(!issues.is_active(&before).await);
        assert!(issues.is_active(&issues.login().await).await);
    }
}

/// An authenticator that has judged the password, and answers when the test lets it.
struct Halting(Arc<Barrier>);

#[async_trait]
impl UserAuthenticator for Halting {
    async fn authenticate(&self, _: LoginAttempt<'_>) -> Result<Login, BoxError> {
        self.0.wait().await;
        self.0.wait().await;
        Ok(Login::accepted("user-1"))
    }
}

/// The password is changed while a login with the former one is under way at another instance. What
/// the login gets is dead: it is refused, or its access token is not active from the start.
#[tokio::test]
async fn a_login_under_way_during_a_log_out_of_its_subject_gets_nothing_that_lives() {
    let signing = SigningKeys::generate().unwrap();
    for (with_session, refresh_tokens) in [(true, true), (false, true), (false, false)] {
        for logged_out in ["user-1", "user-2"] {
            let clock = ManualClock::at(noon());
            let store = InMemoryState::new().environment(&Environment::new().clock(clock.clone()));
            let barrier = Arc::new(Barrier::new(2));
            let logging_in = Instance::of(
                &store,
                &clock,
                Halting(barrier.clone()),
                JwtIssuer::new(signing.clone(), AUDIENCE),
                refresh_tokens.then(|| RefreshTokens::new(keys(), Gate::default())),
            );
            let logging_out = Instance::new(&store, &signing, &clock);
            let form = if with_session { OFFLINE } else { GOOD };
            let app = basic("app", "app-secret");
            let meanwhile = async {
                barrier.wait().await;
                log_out(&logging_out.0.grant, logged_out).await;
                // Any number of seconds may pass, and the token is dated later than the log-out.
                clock.advance(Duration::from_secs(5));
                barrier.wait().await;
            };
            let headers = [("authorization", &*app)];
            let (answer, ()) = tokio::join!(logging_in.0.send(&headers, form), meanwhile);
            let case = format!("{with_session} {refresh_tokens} {logged_out}: {}", answer.body);
            let concerns = logged_out == "user-1";
            if with_session && concerns {
                answer.is(503, "temporarily_unavailable");
                continue;
            }
            let token = answer.access_token();
            for instance in [&logging_in, &logging_out] {
                // Without refresh tokens, the instance knows sessions nevertheless.
                assert_eq!(instance.is_active(&token).await, !concerns, "{case}");
                let verified = instance.verifier(&signing).verify(&token).await;
                assert_eq!(verified.err(), concerns.then_some(AccessFault::Revoked), "{case}");
            }
            // The documented exception: a verifier by the signature alone sees no log-out.
            let alone = verifier(&signing).environment(&Environment::new().clock(clock.clone()));
            assert!(alone.verify(&token).await.is_ok(), "{case}");
        }
    }
}

#[tokio::test]
async fn opaque_tokens_are_ordered_by_the_number_too() {
    let clock = ManualClock::at(noon());
    let store = InMemoryState::new().environment(&Environment::new().clock(clock.clone()));
    let tokens = OpaqueIssuer::new(InMemoryTokens::new(), AUDIENCE);
    let instance = Instance::of(&store, &clock, Users::default(), tokens.clone(), None);
    let verifier = AccessTokenVerifier::by_lookup(ISSUER, AUDIENCE, tokens)
        .unwrap()
        .environment(&Environment::new().clock(clock).observer(()))
        .revocations(instance.0.grant.revocations());
    let before = instance.login().await;
    log_out(&instance.0.grant, "user-1").await;
    let after = instance.login().await;
    assert!(!instance.is_active(&before).await);
    assert_eq!(verifier.verify(&before).await.unwrap_err(), AccessFault::Revoked);
    assert!(instance.is_active(&after).await);
    assert!(verifier.verify(&after).await.unwrap().login_epoch.is_some());
}

/// An issuer of the host that does not keep the number with its tokens.
struct WithoutNumber(JwtIssuer);

#[async_trait]
impl TokenIssuer for WithoutNumber {
    async fn issue(&self, authorization: &Authorization<'_>) -> Result<AccessToken, BoxError> {
        self.0.issue(authorization).await
    }

    async fn inspect(&self, token: &str, now: Timestamp) -> Result<Option<TokenDetails>, BoxError> {
        let details = self.0.inspect(token, now).await?;
        Ok(details.map(|mut details| {
            assert!(details.login_epoch.take().is_some() && details.session_id.is_none());
            details
        }))
    }
}

/// The documented behaviour of tokens that carry no number: the date decides, in whole seconds.
#[tokio::test]
async fn a_token_without_the_number_is_compared_by_its_date() {
    let clock = ManualClock::at(noon());
    let store = InMemoryState::new().environment(&Environment::new().clock(clock.clone()));
    let tokens = WithoutNumber(JwtIssuer::new(SigningKeys::generate().unwrap(), AUDIENCE));
    let instance = Instance::of(&store, &clock, Users::default(), tokens, None);
    let before = instance.login().await;
    assert!(instance.is_active(&before).await, "nobody was logged out");
    clock.advance(Duration::from_millis(1_400));
    log_out(&instance.0.grant, "user-2").await;
    log_out(&instance.0.grant, "user-1").await;
    clock.advance(Duration::from_millis(599));
    let in_its_second = instance.login().await;
    clock.advance(Duration::from_millis(1));
    let afterwards = instance.login().await;
    for (token, active) in [(&before, false), (&in_its_second, false), (&afterwards, true)] {
        assert_eq!(instance.is_active(token).await, active, "{}", segment(token, 1));
    }
}

/// The number is the engine's own: introspection does not show it, and a token with a session has
/// none.
#[tokio::test]
async fn the_number_is_in_tokens_without_a_session_and_in_no_answer() {
    let sessions = Sessions::new();
    log_out(&sessions.world.grant, "user-2").await;
    let with = Pair::of(&sessions.ask("app", OFFLINE).await).access;
    let without = sessions.ask("app", &OFFLINE.replace("+offline_access", "")).await.access_token();
    assert!(segment(&with, 1).get("login_epoch").is_none());
    assert!(segment(&without, 1)["login_epoch"].as_u64().unwrap() > 0);
    let answer = sessions.introspect("reports", &without).await.json();
    assert_eq!(answer["active"], true);
    assert!(answer.get("login_epoch").is_none(), "{answer}");
    // An issuer of the host may hand it over among the other claims.
    struct Verbose;
    #[async_trait]
    impl TokenIssuer for Verbose {
        async fn issue(&self, _: &Authorization<'_>) -> Result<AccessToken, BoxError> {
            Ok(AccessToken::new("token")?)
        }
        async fn inspect(&self, _: &str, _: Timestamp) -> Result<Option<TokenDetails>, BoxError> {
            let mut details = TokenDetails::new(ISSUER, "user-1", "web", AUDIENCE, u64::MAX);
            details.claims =
                [("login_epoch".into(), 7.into()), ("role".into(), 7.into())].into_iter().collect();
            Ok(Some(details))
        }
    }
    let store = InMemoryState::new();
    let clock = ManualClock::at(noon());
    let instance = Instance::of(&store, &clock, Users::default(), Verbose, None);
    let answer = instance.introspect("token").await.json();
    assert_eq!((&answer["role"], answer.get("login_epoch")), (&7.into(), None));
}

#[tokio::test]
async fn a_log_out_is_one_commit() {
    let store = FaultyStore::new(|_| StoreFault::None);
    let world = World::with(Users::default(), |builder| {
        builder.shared_state(store.clone(), StateSecret::new([0x5a; 32]).unwrap())
    });
    log_out(&world.grant, "user-1").await;
    assert_eq!((store.loads(), store.calls()), (1, 2));
}
