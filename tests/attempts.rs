//! Protection against guessing: RFC 6749 section 4.3.2, and the ways in which others got it wrong.

mod common;

use std::future::Future;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use common::{Answer, Events, FORM, GOOD, ISSUER, Users, World, basic, noon};
use futures_util::future::join_all;
use password_grant::environment::{RandomnessError, SecureRandom};
use password_grant::error::Overloaded;
use password_grant::limiter::{AccountNames, AttemptCount, LimitKey};
use password_grant::state::{
    Change, Commit, Expected, InMemoryState, Loaded, StateKey, StateSecret, StateStore, Version,
};
use password_grant::testing::{InMemoryClients, InMemoryTokens, ManualClock};
use password_grant::time::{BoxFuture, Timestamp};
use password_grant::token::OpaqueIssuer;
use password_grant::{
    AttemptLimits, BoxError, BuildError, Client, ClientAuthentication, ClientSecret, ClientStore,
    Clock, Environment, Grant, HttpRequest, Login, LoginAttempt, PasswordGrant,
    PasswordGrantBuilder, Rejection, RequestContext, UserAuthenticator, async_trait,
};
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::sync::Semaphore;

const ALICE: LimitKey<'_> = LimitKey::Account { username: "alice" };
const HOME: &str = "192.0.2.1";
const BURST: usize = 10;

fn wrong() -> String {
    GOOD.replace("wonderland", "wrong")
}

fn form_of(username: &str, password: &str) -> String {
    format!("grant_type=password&username={username}&password={password}&scope=profile")
}

fn from(address: &str) -> RequestContext {
    RequestContext::new().with_peer(address.parse::<IpAddr>().unwrap())
}

/// A form of `web`, by Basic, in this context.
async fn post(grant: &PasswordGrant, context: &RequestContext, form: &str) -> Answer {
    post_as(grant, context, ("web", "web-secret"), form).await
}

async fn post_as(
    grant: &PasswordGrant,
    context: &RequestContext,
    client: (&str, &str),
    form: &str,
) -> Answer {
    let authorization = basic(client.0, client.1);
    let headers = [("authorization", authorization.as_bytes()), ("content-type", FORM.as_bytes())];
    let request = HttpRequest::new("POST", None, headers, form.as_bytes()).context(context.clone());
    grant.token(request).await.into()
}

/// The right password, through the public client.
async fn post_as_mobile(grant: &PasswordGrant, context: &RequestContext) -> Answer {
    let form = format!("{GOOD}&client_id=mobile");
    let headers = [("content-type", FORM.as_bytes())];
    grant
        .token(HttpRequest::new("POST", None, headers, form.as_bytes()).context(context.clone()))
        .await
        .into()
}

async fn count(grant: &PasswordGrant, on: LimitKey<'_>, context: &RequestContext) -> AttemptCount {
    grant.attempts(on, context).await.unwrap().unwrap()
}

/// In the memory of the engine's own, and in a store that several could share.
const EITHER: [fn(PasswordGrantBuilder, &ManualClock) -> PasswordGrantBuilder; 2] = [
    |builder, _| builder,
    |builder, clock| {
        builder.shared_state(
            InMemoryState::new().environment(&Environment::new().clock(clock.clone())),
            secret(),
        )
    },
];

fn secret() -> StateSecret {
    StateSecret::new([7; 32]).unwrap()
}

fn standing() -> ManualClock {
    ManualClock::at(noon())
}

impl World {
    async fn fails(&self, times: usize) {
        for _ in 0..times {
            self.post(&wrong()).await.is(400, "invalid_grant");
        }
    }
}

trait Waits {
    fn waits(&self, seconds: u64);
}

impl Waits for Answer {
    /// 429 with `Retry-After`.
    #[track_caller]
    fn waits(&self, seconds: u64) {
        self.is(429, "temporarily_unavailable");
        assert_eq!(self.header("retry-after"), Some(&*seconds.to_string()), "{self:?}");
    }
}

// --- The limit ---------------------------------------------------------------------------------------------------------

/// Requirement 81, incident I14.
#[tokio::test]
async fn limits_are_on_unless_they_are_switched_off_by_name() {
    for state in EITHER {
        let world = World::with_clock(Users::default(), state);
        world.fails(BURST).await;
        world.post(&wrong()).await.waits(1);
        assert_eq!(world.users.asked(), BURST);
    }
    let world =
        World::with(Users::default(), PasswordGrantBuilder::dangerous_without_attempt_limits);
    world.fails(50).await;
    assert_eq!(world.grant.attempts(ALICE, &RequestContext::new()).await.unwrap(), None);
}

/// The waits double, up to the longest; a hundred failures in a row lock the name for a day.
#[tokio::test]
async fn each_failure_beyond_the_burst_doubles_the_wait_until_the_name_is_locked() {
    let world = World::default();
    world.fails(BURST).await;
    let mut wait = 1;
    for failures in BURST..100 {
        world.post(&wrong()).await.waits(wait);
        world.clock.advance(Duration::from_secs(wait) - Duration::from_millis(1));
        world.post(&wrong()).await.waits(1);
        world.clock.advance(Duration::from_millis(1));
        world.fails(1).await;
        assert_eq!(world.users.asked(), failures + 1);
        wait = (wait * 2).min(900);
    }
    assert_eq!(
        world
            .events
            .lines()
            .iter()
            .filter(|line| line.starts_with("Account of \"alice\" locked"))
            .count(),
        1
    );
    assert!(count(&world.grant, ALICE, &RequestContext::new()).await.locked);
    let day = 86_400;
    world.post(&wrong()).await.waits(day);
    world.clock.advance(Duration::from_secs(day - 1));
    world.post(GOOD).await.waits(1);
    assert_eq!(world.users.asked(), 100);
    world.clock.advance(Duration::from_secs(1));
    world.post(GOOD).await.is_granted();
}

/// Requirements 90 and 98: whoever waits learns nothing about password or name, and nothing is spent on them.
#[tokio::test]
async fn the_right_password_waits_as_the_wrong_one_does_and_so_does_a_name_that_nobody_has() {
    let world = World::default();
    for name in ["alice", "nobody"] {
        for _ in 0..BURST {
            world.post(&form_of(name, "wrong")).await.is(400, "invalid_grant");
        }
    }
    let refusal = world.post(&wrong()).await;
    refusal.waits(1);
    for form in [GOOD, &form_of("nobody", "wrong"), &form_of("nobody", "wonderland")] {
        assert_eq!(world.post(form).await, refusal);
    }
    assert_eq!(world.users.asked(), 2 * BURST);
    assert_eq!(
        refusal
            .headers
            .iter()
            .filter(|(name, value)| name == "cache-control" && value == "no-store")
            .count(),
        1
    );
}

/// Whoever waits as long as told is not told to wait again, whatever there was too much of.
#[tokio::test]
async fn of_several_waits_the_longest_is_told() {
    for (longest, expected) in [(2, 60), (900, 900)] {
        let second = Duration::from_secs(1);
        let limits = AttemptLimits::default().burst(1).waits(longest * second, longest * second);
        let world = World::with(Users::default(), |builder| {
            builder.attempt_limits(limits.source(2, 600 * second))
        });
        let home = from(HOME);
        for name in ["alice", "bob"] {
            post(&world.grant, &home, &form_of(name, "wrong")).await.is(400, "invalid_grant");
        }
        post(&world.grant, &home, GOOD).await.waits(expected);
        // In whole seconds, rounded up: whoever comes back on time is not too early.
        world.clock.advance(Duration::from_millis(1_500));
        post(&world.grant, &home, GOOD).await.waits(expected - 1);
    }
}

/// Requirement 88: the count in a row is cleared by success, the count of the day is not.
#[tokio::test]
async fn a_login_clears_what_failed_in_a_row_before_it_and_nothing_else() {
    let world = World::default();
    for round in 1..=22 {
        world.fails(BURST - 1).await;
        world.post(GOOD).await.is_granted();
        let counted = count(&world.grant, ALICE, &RequestContext::new()).await;
        assert_eq!(
            (counted.failures, counted.in_window as usize),
            (0, round * (BURST - 1)),
            "{round}"
        );
    }
    // 198 in 24 hours; two more, then one each quarter of an hour.
    world.fails(2).await;
    world.post(GOOD).await.waits(900);
    world.clock.advance(Duration::from_secs(900));
    world.fails(1).await;
    world.post(GOOD).await.waits(900);
}

/// Requirement 88, incident I19: an attacker's own account helps with nothing.
#[tokio::test]
async fn a_login_of_one_user_lowers_no_count_of_another_or_of_its_address() {
    let both = |attempt: &LoginAttempt<'_>| {
        let right = attempt.password().expose() == "wonderland";
        Ok(if right { Login::accepted("user") } else { Login::rejected(Rejection::WrongPassword) })
    };
    let world = World::with(Users::who(both), |builder| {
        builder.attempt_limits(AttemptLimits::default().source(20, Duration::from_secs(600)))
    });
    let home = from(HOME);
    for _ in 0..9 {
        post(&world.grant, &home, &wrong()).await.is(400, "invalid_grant");
        post(&world.grant, &home, &form_of("mallory", "wonderland")).await.is_granted();
    }
    assert_eq!(count(&world.grant, ALICE, &home).await.failures, 9);
    assert_eq!(count(&world.grant, LimitKey::Source, &home).await.in_window, 9);
    for number in 0..11 {
        post(&world.grant, &home, &form_of(&format!("user{number}"), "wrong"))
            .await
            .is(400, "invalid_grant");
    }
    post(&world.grant, &home, &form_of("mallory", "wonderland")).await.waits(60);
    post(&world.grant, &from("192.0.2.2"), &form_of("mallory", "wonderland")).await.is_granted();
}

/// Requirement 91, incident I11: only what was judged and found wrong counts.
#[tokio::test]
async fn our_own_trouble_counts_for_nobody_and_a_further_step_is_a_success() {
    let scripted = |attempt: &LoginAttempt<'_>| match attempt.password().expose() {
        "busy" => Err(Overloaded::new().into()),
        "down" => Err("the directory is down".into()),
        "second" => Ok(Login::more_needed("mfa_required")),
        _ => Ok(Login::rejected(Rejection::WrongPassword)),
    };
    let world = World::of(Users::who(scripted));
    world.fails(BURST - 1).await;
    for _ in 0..30 {
        world.post(&form_of("alice", "busy")).await.is(503, "temporarily_unavailable");
        world.post(&form_of("alice", "down")).await.is(503, "temporarily_unavailable");
    }
    let counted = count(&world.grant, ALICE, &RequestContext::new()).await;
    assert_eq!((counted.failures, counted.in_window), (9, 9));
    world.post(&form_of("alice", "second")).await.is(403, "mfa_required");
    assert_eq!(count(&world.grant, ALICE, &RequestContext::new()).await.failures, 0);
}

/// Incident I15: whatever the private reason, a rejection is a failure, or the count would tell it.
#[tokio::test]
async fn every_rejection_counts_alike() {
    for rejection in [
        Rejection::UnknownUser,
        Rejection::Disabled,
        Rejection::SecondFactorRequired,
        Rejection::Other("x"),
    ] {
        let world = World::of(Users::who(move |_| Ok(Login::rejected(rejection))));
        world.fails(BURST).await;
        world.post(GOOD).await.waits(1);
    }
}

// --- At once -----------------------------------------------------------------------------------------------------------

/// Time stands still, and whoever sleeps lets the others go first.
#[derive(Clone)]
struct StandingStill;

impl Clock for StandingStill {
    fn now(&self) -> Timestamp {
        noon()
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        // Long ones are deadlines, which never come.
        if span < Duration::from_secs(1) {
            Box::pin(tokio::task::yield_now())
        } else {
            Box::pin(std::future::pending())
        }
    }
}

/// Takes a while over each password, as hashing does.
#[derive(Clone, Default)]
struct Slow {
    asked: Arc<AtomicUsize>,
}

#[async_trait]
impl UserAuthenticator for Slow {
    async fn authenticate(&self, attempt: LoginAttempt<'_>) -> Result<Login, BoxError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let right = attempt.password().expose() == "wonderland";
        Ok(if right {
            Login::accepted("user-1")
        } else {
            Login::rejected(Rejection::WrongPassword)
        })
    }
}

fn engine(
    users: impl UserAuthenticator,
    clock: impl Clock,
    configure: impl Fn(PasswordGrantBuilder) -> PasswordGrantBuilder,
) -> PasswordGrant {
    let tokens = OpaqueIssuer::new(InMemoryTokens::new(), "https://api.example.com");
    let builder = PasswordGrant::builder(ISSUER, common::clients(), users, tokens)
        .environment(&Environment::new().observer(()).clock(clock));
    configure(builder).build().unwrap()
}

/// So many requests at once, over all threads, each begun behind one barrier.
async fn at_once(grants: &[PasswordGrant], times: usize, form: &str) -> Vec<Answer> {
    let barrier = Arc::new(tokio::sync::Barrier::new(times));
    let asking = (0..times).map(|number| {
        let (grant, form, barrier) =
            (grants[number % grants.len()].clone(), form.to_owned(), barrier.clone());
        tokio::spawn(async move {
            barrier.wait().await;
            post(&grant, &RequestContext::new(), &form).await
        })
    });
    join_all(asking).await.into_iter().map(Result::unwrap).collect()
}

fn of_status(answers: &[Answer], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status == status).count()
}

/// Incidents I1, I2, I3: the check comes with the count, so parallel guesses do not pass together.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_guesses_at_once_verify_exactly_the_burst() {
    for state in EITHER {
        let users = Slow::default();
        let grant = engine(users.clone(), StandingStill, |builder| state(builder, &standing()));
        let answers = at_once(&[grant], 1000, &wrong()).await;
        assert_eq!(users.asked.load(Ordering::SeqCst), BURST);
        assert_eq!((of_status(&answers, 400), of_status(&answers, 429)), (BURST, 1000 - BURST));
    }
}

/// Incident I2: several instances over one store are one limiter.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn instances_that_share_a_store_verify_the_burst_together() {
    let (users, state) = (Slow::default(), InMemoryState::new());
    let instance = || {
        engine(users.clone(), StandingStill, |builder| {
            builder.shared_state(state.clone(), secret())
        })
    };
    let answers = at_once(&[instance(), instance(), instance()], 300, &wrong()).await;
    assert_eq!(users.asked.load(Ordering::SeqCst), BURST);
    assert_eq!((of_status(&answers, 400), of_status(&answers, 429)), (BURST, 300 - BURST));
}

/// Requirement 84, incident I4: a service account that logs in from fifty jobs at once is no attacker.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_right_logins_at_once_all_succeed_and_leave_nothing_counted() {
    for state in EITHER {
        let users = Slow::default();
        let grant = engine(users.clone(), StandingStill, |builder| state(builder, &standing()));
        let answers = at_once(std::slice::from_ref(&grant), 50, GOOD).await;
        assert_eq!(of_status(&answers, 200), 50);
        assert_eq!(count(&grant, ALICE, &RequestContext::new()).await, AttemptCount::default());
    }
}

/// Waiting is bounded: 64 a name. The others are told to come back.
#[tokio::test]
async fn no_more_than_sixty_four_wait_for_one_name() {
    let clock = standing();
    let world_users = Users::who(|_| Ok(Login::accepted("user-1")));
    let never = Never(world_users.clone());
    let grant = engine(never, clock.clone(), |builder| builder);
    let mut asking: Vec<_> = (0..BURST + 65)
        .map(|_| {
            let grant = grant.clone();
            Box::pin(async move { post(&grant, &RequestContext::new(), GOOD).await })
        })
        .collect();
    let mut context = Context::from_waker(Waker::noop());
    let polled: Vec<_> = asking.iter_mut().map(|asked| asked.as_mut().poll(&mut context)).collect();
    let done: Vec<_> = polled.iter().filter(|polled| polled.is_ready()).collect();
    assert_eq!(done.len(), 1, "ten are being judged, sixty-four wait");
    let Some(Poll::Ready(refused)) = polled.last() else { panic!("the last one is refused") };
    refused.waits(1);
    assert_eq!(clock.sleepers(), 64);

    // Who waits gives up at its deadline, and its place goes to the next; one is admitted, for the wait that has passed.
    clock.advance(Duration::from_secs(11));
    let polled: Vec<_> =
        asking[..BURST + 64].iter_mut().map(|asked| asked.as_mut().poll(&mut context)).collect();
    assert_eq!(polled.iter().filter(|polled| polled.is_ready()).count(), 63);
    drop(asking);
    let nowhere = RequestContext::new();
    let mut next = Box::pin(post(&grant, &nowhere, GOOD));
    assert!(next.as_mut().poll(&mut context).is_pending());
    assert_eq!(clock.sleepers(), 1);
    drop(next);
    assert_eq!(clock.sleepers(), 0, "nobody waits for a caller who went away");
}

/// Never gets an answer from its directory.
struct Never(Users);

#[async_trait]
impl UserAuthenticator for Never {
    async fn authenticate(&self, attempt: LoginAttempt<'_>) -> Result<Login, BoxError> {
        self.0.authenticate(attempt).await?;
        std::future::pending().await
    }
}

/// Requirement 83: what is not settled has failed.
#[tokio::test]
async fn an_attempt_that_was_given_up_or_that_panicked_is_a_failure() {
    let grant = engine(Never(Users::default()), standing(), |builder| builder);
    for _ in 0..BURST {
        let request = pin!(post(&grant, &RequestContext::new(), GOOD))
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_pending();
        assert!(request);
    }
    assert_eq!(count(&grant, ALICE, &RequestContext::new()).await.failures, 10);

    let world = World::of(Users::who(|_| panic!("on purpose")));
    for _ in 0..BURST {
        world.post(GOOD).await.is(500, "server_error");
    }
    // They are open until their deadline, and then they are failures like any other.
    world.clock.advance(Duration::from_millis(59_999));
    assert_eq!(count(&world.grant, ALICE, &RequestContext::new()).await.failures, 10);
    world.clock.advance(Duration::from_millis(1));
    world.post(GOOD).await.is(500, "server_error");
    world.post(GOOD).await.waits(2);
}

/// An attempt is waited for as long as the host says that one takes, and then it has failed.
#[tokio::test]
async fn an_attempt_is_open_for_its_life() {
    let (clock, minute) = (standing(), Duration::from_secs(60));
    let limits = AttemptLimits::default()
        .burst(1)
        .waits(minute, minute)
        .attempt_timeout(Duration::from_secs(5));
    let grant = engine(Never(Users::default()), clock.clone(), |builder| {
        builder.attempt_limits(limits.clone())
    });
    let nobody = RequestContext::new();
    let polled = || pin!(post(&grant, &nobody, GOOD)).poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled().is_pending(), "it is judged");
    clock.advance(Duration::from_millis(4_999));
    assert!(polled().is_pending(), "the first may yet turn out right");
    clock.advance(Duration::from_millis(1));
    let Poll::Ready(answer) = polled() else { panic!("nobody is waited for any more") };
    answer.waits(55);
}

// --- Names -------------------------------------------------------------------------------------------------------------

/// Requirement 87: variants of a name are no further guesses.
#[tokio::test]
async fn spellings_that_a_look_up_may_take_for_one_name_are_counted_as_one() {
    let world = World::default();
    for name in [
        "alice",
        "Alice",
        "ALICE",
        "+alice",
        "alice+",
        "%EF%BD%81lice",
        "ALic%65",
        "a%6Cice",
        "aLICE",
        "alicE",
    ] {
        world.post(&form_of(name, "wrong")).await.is(400, "invalid_grant");
    }
    world.post(&wrong()).await.waits(1);
}

/// Requirement 87: where one account has several names, the host says so.
#[tokio::test]
async fn the_host_can_say_which_names_are_one_account() {
    struct Phones;
    #[async_trait]
    impl AccountNames for Phones {
        async fn account(
            &self,
            username: &str,
            context: &RequestContext,
        ) -> Result<String, BoxError> {
            assert_eq!(context.tenant(), None);
            match username {
                "+49123" | "alice" => Ok("user-1".into()),
                "broken" => Err("no directory".into()),
                other => Ok(other.into()),
            }
        }
    }
    let world = World::with(Users::default(), |builder| builder.account_names(Phones));
    world.fails(5).await;
    for _ in 0..5 {
        world.post(&form_of("%2B49123", "wrong")).await.is(400, "invalid_grant");
    }
    world.post(&wrong()).await.waits(1);
    world.post(&form_of("bob", "wrong")).await.is(400, "invalid_grant");
    assert_eq!(
        count(&world.grant, LimitKey::Account { username: "+49123" }, &RequestContext::new())
            .await
            .failures,
        10
    );
    let asked = world.users.asked();
    world.post(&form_of("broken", "wrong")).await.is(503, "temporarily_unavailable");
    assert_eq!(world.users.asked(), asked, "nothing is judged that could not be counted");
    assert!(
        world.events.last().contains("AccountNames")
            && world.events.last().contains("no directory")
    );
}

/// Requirement 86, incident I9: a name is one in its tenant only.
#[tokio::test]
async fn a_name_is_counted_in_its_tenant() {
    let world = World::default();
    let tenant = |name: &str| RequestContext::new().with_tenant(name);
    for _ in 0..BURST {
        post(&world.grant, &tenant("one"), &wrong()).await.is(400, "invalid_grant");
    }
    post(&world.grant, &tenant("one"), GOOD).await.waits(1);
    post(&world.grant, &tenant("two"), GOOD).await.is_granted();
    post(&world.grant, &RequestContext::new(), GOOD).await.is_granted();
}

/// The same for where its owner has logged in before: that place has a burst of its own, and in another tenant the owner
/// is somebody else.
#[tokio::test]
async fn an_origin_is_known_in_its_tenant() {
    let world = World::default();
    let [one, two] = ["one", "two"].map(|tenant| from(HOME).with_tenant(tenant));
    post(&world.grant, &one, GOOD).await.is_granted();
    post(&world.grant, &two, &wrong()).await.is(400, "invalid_grant");
    post(&world.grant, &one, &wrong()).await.is(400, "invalid_grant");
    assert_eq!(count(&world.grant, ALICE, &two).await.failures, 1, "charged to the name");
    assert_eq!(count(&world.grant, ALICE, &one).await.failures, 0, "charged to the place");
}

/// And for clients.
#[tokio::test]
async fn a_client_is_counted_in_its_tenant() {
    // Clients are counted in groups: under this secret the two are in different ones.
    let world = World::with(Users::default(), |builder| {
        builder.shared_state(InMemoryState::new(), secret())
    });
    let [one, two] = ["one", "two"].map(|tenant| from(HOME).with_tenant(tenant));
    for _ in 0..20 {
        post_as(&world.grant, &one, ("web", "guess"), GOOD).await.is(401, "invalid_client");
    }
    post(&world.grant, &one, GOOD).await.is(429, "temporarily_unavailable");
    post(&world.grant, &two, GOOD).await.is_granted();
}

/// Requirement 92: an IPv6 user has more addresses than anybody can count.
#[tokio::test]
async fn addresses_are_counted_as_their_holder_has_them() {
    let minutes = Duration::from_secs(600);
    let world = World::with(Users::default(), |builder| {
        builder.attempt_limits(AttemptLimits::default().source(3, minutes).network(6, minutes))
    });
    let guess = async |address: &str, number: usize| {
        post(&world.grant, &from(address), &form_of(&format!("user{number}"), "wrong")).await
    };
    for (number, address) in
        ["2001:db8:0:1::1", "2001:db8:0:1::2", "2001:db8:0:1:ffff::"].into_iter().enumerate()
    {
        guess(address, number).await.is(400, "invalid_grant");
    }
    guess("2001:db8:0:1::9", 3).await.waits(60);
    for number in 4..7 {
        guess("2001:db8:0:2::1", number).await.is(400, "invalid_grant");
    }
    guess("2001:db8:0:3::1", 7).await.waits(1);
    guess("2001:db8:1::1", 8).await.is(400, "invalid_grant");
    for number in 9..12 {
        guess("198.51.100.7", number).await.is(400, "invalid_grant");
    }
    guess("::ffff:198.51.100.7", 12).await.waits(60);
    world.clock.advance(Duration::from_secs(60));
    guess("198.51.100.7", 13).await.is(400, "invalid_grant");
    world.clock.advance(minutes * 2);
    guess("198.51.100.7", 14).await.is(400, "invalid_grant");
}

// --- Known origins -----------------------------------------------------------------------------------------------------

/// Requirement 95, incident I8: guessing from elsewhere locks nobody out of home.
#[tokio::test]
async fn whoever_attacks_from_elsewhere_for_a_day_does_not_delay_the_owner_at_home() {
    for state in EITHER {
        let world = World::with_clock(Users::default(), state);
        let home = from(HOME);
        post(&world.grant, &home, GOOD).await.is_granted();
        assert!(world.events.lines().iter().any(|line| line.ends_with("from a new origin")));

        let mut denied = 0;
        for minute in 0..24 * 60 {
            let elsewhere = from(&format!("198.51.{}.{}", minute / 250, minute % 250));
            denied += usize::from(post(&world.grant, &elsewhere, &wrong()).await.status == 429);
            if minute % 60 == 0 {
                post(&world.grant, &home, GOOD).await.is_granted();
            }
            world.clock.advance(Duration::from_secs(60));
        }
        assert!(denied > 1000, "{denied}");
        post(&world.grant, &from("203.0.113.1"), GOOD).await.is(429, "temporarily_unavailable");
        post(&world.grant, &home, GOOD).await.is_granted();
    }
}

/// What is guessed from a known origin is counted there, and there are no more guesses than anywhere.
#[tokio::test]
async fn a_known_origin_has_a_burst_of_its_own_and_no_more() {
    let world = World::default();
    let home = from(HOME);
    post(&world.grant, &home, GOOD).await.is_granted();
    for _ in 0..BURST {
        post(&world.grant, &home, &wrong()).await.is(400, "invalid_grant");
    }
    post(&world.grant, &home, GOOD).await.waits(1);
    assert_eq!(count(&world.grant, ALICE, &home).await.failures, 0);
    let at_home = LimitKey::KnownOrigin { username: "Alice", client_id: "web" };
    assert_eq!(count(&world.grant, at_home, &home).await.failures, 10);

    // It goes with the client too: another program at home is no known origin.
    post_as_mobile(&world.grant, &home).await.is_granted();

    // A host that distrusts the origin can have it forgotten.
    world.grant.reset_attempts(at_home, &home).await.unwrap();
    assert_eq!(count(&world.grant, at_home, &home).await, AttemptCount::default());
    world.events.lines().iter().find(|line| *line == "attempts on KnownOrigin reset").unwrap();
}

/// It is known for ninety days from the last login, and failing there does not prolong it.
#[tokio::test]
async fn an_origin_is_forgotten_when_nobody_logs_in_from_it() {
    let world = World::default();
    let (home, elsewhere) = (from(HOME), from("203.0.113.1"));
    let day = Duration::from_secs(86_400);
    let spend = async || {
        for _ in 0..BURST {
            post(&world.grant, &elsewhere, &wrong()).await;
        }
        post(&world.grant, &elsewhere, &wrong()).await.is(429, "temporarily_unavailable");
    };
    post(&world.grant, &home, GOOD).await.is_granted();
    world.clock.advance(day * 89);
    spend().await;
    post(&world.grant, &home, GOOD).await.is_granted();
    world.clock.advance(day * 89);
    post(&world.grant, &home, &wrong()).await.is(400, "invalid_grant");
    world.clock.advance(day);
    spend().await;
    post(&world.grant, &home, GOOD).await.is(429, "temporarily_unavailable");
}

/// A device that the host knows is an origin wherever it is, and does not take the address's place.
#[tokio::test]
async fn the_host_can_name_an_origin_of_its_own() {
    let world = World::default();
    let home = from(HOME);
    let device = |address: &str| from(address).with_device("device-7");
    post(&world.grant, &device(HOME), GOOD).await.is_granted();
    for _ in 0..=BURST {
        post(&world.grant, &from("203.0.113.1"), &wrong()).await;
    }
    post(&world.grant, &from("203.0.113.2"), GOOD).await.is(429, "temporarily_unavailable");
    post(&world.grant, &from("203.0.113.2").with_device("device-8"), GOOD)
        .await
        .is(429, "temporarily_unavailable");
    post(&world.grant, &device("203.0.113.2"), GOOD).await.is_granted();
    post(&world.grant, &home, GOOD).await.is_granted();
}

#[derive(Debug, Clone)]
enum Happens {
    Guess(u8),
    Owner { right: bool },
    Minutes(u64),
}

fn day() -> impl Strategy<Value = Vec<Happens>> {
    let happens = prop_oneof![
        12 => any::<u8>().prop_map(Happens::Guess),
        2 => Just(Happens::Owner { right: true }),
        2 => Just(Happens::Owner { right: false }),
        3 => (0_u64..200).prop_map(Happens::Minutes),
    ];
    vec(happens, 1..300)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever happens elsewhere, and in whatever order: an owner who mistypes less than the burst is never kept
    /// waiting at home, and away from home nobody verifies more than the limits say.
    #[test]
    fn nothing_that_happens_elsewhere_delays_an_owner_at_home(history in day()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let world = World::default();
            let home = from(HOME);
            post(&world.grant, &home, GOOD).await.is_granted();
            let (mut in_a_row, mut guesses_since_a_day) = (0, Vec::new());
            let mut now = 0;
            for happens in history {
                match happens {
                    Happens::Minutes(minutes) => {
                        now += minutes;
                        world.clock.advance(Duration::from_secs(60 * minutes));
                    }
                    Happens::Guess(from_where) => {
                        let answer = post(&world.grant, &from(&format!("198.51.100.{from_where}")), &wrong()).await;
                        if answer.status == 400 {
                            guesses_since_a_day.push(now);
                        }
                    }
                    // Nine mistakes in a row are as many as nobody waits for.
                    Happens::Owner { right: false } if in_a_row < BURST - 1 => {
                        post(&world.grant, &home, &wrong()).await.is(400, "invalid_grant");
                        in_a_row += 1;
                    }
                    Happens::Owner { .. } => {
                        post(&world.grant, &home, GOOD).await.is_granted();
                        in_a_row = 0;
                    }
                }
            }
            for start in &guesses_since_a_day {
                let within = guesses_since_a_day.iter().filter(|at| (*start..start + 24 * 60).contains(at)).count();
                assert!(within <= 200 + 96, "{within}");
            }
        });
    }
}

// --- Clients -----------------------------------------------------------------------------------------------------------

/// Requirement 41: a client that fails too often waits where it is, and nowhere else.
#[tokio::test]
async fn a_client_that_fails_too_often_from_an_address_waits_there_and_only_there() {
    /// Clients are counted in a few groups, by a random key: by this one these three are in groups of their own.
    struct Same;
    impl SecureRandom for Same {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomnessError> {
            bytes.fill(7);
            Ok(())
        }
    }

    for state in EITHER {
        let world = World::in_environment(Users::default(), |own| own.randomness(Same), state);
        let home = from(HOME);
        let fail = async |client: &str| post_as(&world.grant, &home, (client, "guess"), GOOD).await;
        for client in ["web", "unknown"] {
            for _ in 0..20 {
                fail(client).await.is(401, "invalid_client");
            }
            fail(client).await.waits(60);
        }
        // The right secret is not looked at either, and a client that does not exist is answered alike.
        let refusal = post(&world.grant, &home, GOOD).await;
        assert_eq!(refusal, fail("unknown").await);
        assert!(world.events.last().starts_with("client \"unknown\" denied"));
        post(&world.grant, &from("192.0.2.2"), GOOD).await.is_granted();
        post_as(&world.grant, &home, ("idle", "idle-secret"), GOOD)
            .await
            .is(400, "unauthorized_client");
        // Its own keys: no user name was charged, and nobody logged in.
        assert_eq!(count(&world.grant, ALICE, &home).await, AttemptCount::default());
        let web = LimitKey::Client { client_id: "web" };
        assert_eq!(count(&world.grant, web, &home).await.in_window, 20);
        world.grant.reset_attempts(web, &home).await.unwrap();
        post(&world.grant, &home, GOOD).await.is_granted();
    }
}

/// What is denied is not looked up.
#[tokio::test]
async fn a_client_that_waits_costs_no_look_up() {
    struct LimitKind(InMemoryClients, AtomicUsize);
    #[async_trait]
    impl ClientStore for LimitKind {
        async fn find(
            &self,
            client_id: &str,
            context: &RequestContext,
        ) -> Result<Option<Client>, BoxError> {
            self.1.fetch_add(1, Ordering::SeqCst);
            self.0.find(client_id, context).await
        }
    }
    let clients = Arc::new(LimitKind(common::clients(), AtomicUsize::new(0)));
    let tokens = OpaqueIssuer::new(InMemoryTokens::new(), "https://api.example.com");
    let builder = PasswordGrant::builder(ISSUER, clients.clone(), Users::default(), tokens);
    let grant =
        builder.environment(&Environment::new().observer(()).clock(standing())).build().unwrap();
    for _ in 0..40 {
        post_as(&grant, &from(HOME), ("web", "guess"), GOOD).await;
    }
    assert_eq!(clients.1.load(Ordering::SeqCst), 20);
}

/// Requirement 92: identifiers that one caller thinks up take no memory without bound.
#[tokio::test]
async fn unknown_clients_without_number_take_a_bounded_number_of_rows() {
    let (world, state) = world_over(Users::default(), InMemoryState::new());
    for number in 0..5_000 {
        post_as(&world.grant, &from(HOME), (&format!("client{number}"), "guess"), GOOD).await;
    }
    assert!(state.len() <= 256, "{}", state.len());
}

/// Without an address the count would be the client's alone, and everybody could lock the application out. A public
/// client has no secret to be guessed.
#[tokio::test]
async fn nobody_can_lock_an_application_out() {
    let world = World::default();
    for _ in 0..200 {
        post_as(&world.grant, &RequestContext::new(), ("web", "guess"), GOOD)
            .await
            .is(401, "invalid_client");
    }
    world.post(GOOD).await.is_granted();

    let home = from(HOME);
    for _ in 0..30 {
        post_as(&world.grant, &home, ("mobile", "guess"), GOOD).await;
    }
    post_as_mobile(&world.grant, &home).await.is_granted();
}

/// A client that succeeds is not charged, however often it asks.
#[tokio::test]
async fn a_client_that_authenticates_is_not_counted() {
    let world = World::default();
    let home = from(HOME);
    for _ in 0..100 {
        post(&world.grant, &home, GOOD).await.is_granted();
    }
    let web = LimitKey::Client { client_id: "web" };
    assert_eq!(count(&world.grant, web, &home).await, AttemptCount::default());
    assert_eq!(count(&world.grant, LimitKey::Source, &home).await, AttemptCount::default());
}

// --- Alarms and events -------------------------------------------------------------------------------------------------

/// Requirement 96: what no limit meets is told, once.
/// Whatever ways an identifier is spelt in, the alarm is that of the client that is registered, and nothing is kept for
/// the spellings.
#[tokio::test]
async fn an_alarm_of_wrong_secrets_names_the_client_that_is_registered() {
    let world = World::default();
    let spelt = |number: usize| {
        let letters = "web".chars().enumerate();
        letters
            .map(|(at, letter)| {
                if number >> at & 1 == 1 {
                    format!("%{:02X}", letter as u32)
                } else {
                    letter.into()
                }
            })
            .collect::<String>()
    };
    for number in 0..800 {
        let header = basic(&spelt(number % 8), "guess");
        world.send(&[("authorization", &header)], GOOD).await.is(401, "invalid_client");
    }
    let alarms: Vec<_> =
        world.events.lines().into_iter().filter(|line| line.starts_with("alarm")).collect();
    assert_eq!(alarms, [r#"alarm: ManySecrets through client "web", 100 failures"#]);
    // Of two clients that may be meant, the one whose secret it was not.
    let public = Client::public("a b").grants([Grant::Password]);
    let confidential =
        Client::confidential("a+b", ClientSecret::digest_of("secret")).grants([Grant::Password]);
    for client in [public, confidential] {
        world.clients.insert(client.scope("profile".parse().unwrap()));
    }
    let header = basic("a+b", "guess");
    world.send(&[("authorization", &header)], GOOD).await.is(401, "invalid_client");
    assert_eq!(world.events.last(), r#"client "a+b" not authenticated: Secret"#);
    let header = basic("x+y%3Az", "guess");
    world.send(&[("authorization", &header)], GOOD).await.is(401, "invalid_client");
    assert_eq!(
        world.events.last(),
        r#"client "x y:z" not authenticated: Unknown"#,
        "as RFC 6749 reads it"
    );
}

#[tokio::test]
async fn guesses_that_are_spread_raise_an_alarm() {
    let alarms = |events: &Events| -> Vec<String> {
        events.lines().into_iter().filter(|line| line.starts_with("alarm")).collect()
    };
    let world = World::default();
    for number in 0..250 {
        post(
            &world.grant,
            &from(&format!("10.0.0.{number}")),
            &form_of(&format!("user{number}"), "wrong"),
        )
        .await;
        // One name again and again is no spread.
        post(&world.grant, &RequestContext::new(), &wrong()).await;
    }
    let expected = [
        r#"alarm: ManyAccounts through client "web", 100 failures"#,
        "alarm: ManyAccounts, 100 failures",
    ];
    assert_eq!(alarms(&world.events), expected);
    world.clock.advance(Duration::from_secs(600));
    for number in 0..100 {
        post(&world.grant, &RequestContext::new(), &form_of(&format!("other{number}"), "wrong"))
            .await;
    }
    assert_eq!(alarms(&world.events).len(), 4);

    // Sixty names, each mistyped twice, are sixty.
    let world = World::default();
    for number in 0..120 {
        world
            .post(&form_of(&format!("user{}", number / 2), "wrong"))
            .await
            .is(400, "invalid_grant");
    }
    assert_eq!(alarms(&world.events).len(), 0);

    let world = World::default();
    for number in 0..150 {
        post_as(&world.grant, &from(&format!("10.0.0.{number}")), ("web", "guess"), GOOD).await;
        post_as(&world.grant, &from(&format!("10.0.0.{number}")), ("unknown", "guess"), GOOD).await;
    }
    assert_eq!(alarms(&world.events), [r#"alarm: ManySecrets through client "web", 100 failures"#]);
}

/// Requirement 139.
#[tokio::test]
async fn every_decision_is_told() {
    let world = World::default();
    let home = from(HOME);
    post(&world.grant, &home, &wrong()).await;
    post(&world.grant, &home, GOOD).await;
    post(&world.grant, &home, GOOD).await;
    for _ in 0..BURST {
        post(&world.grant, &home, &wrong()).await;
    }
    post(&world.grant, &home, GOOD).await.waits(1);
    let lines = world.events.lines();
    let of = |start: &str| lines.iter().filter(|line| line.starts_with(start)).count();
    assert_eq!(of(r#"attempt on "a…(5)" through client "web" admitted, counted on Account"#), 2);
    assert_eq!(
        of(r#"attempt on "a…(5)" through client "web" admitted, counted on KnownOrigin"#),
        11
    );
    assert_eq!(of(r#"login of "alice" through client "web" from a new origin"#), 1);
    assert_eq!(
        of(r#"attempt on "a…(5)" through client "web" denied for 1s: too many on KnownOrigin"#),
        1
    );
}

// --- The administrator -------------------------------------------------------------------------------------------------

/// Requirement 85: until the host resets it.
#[tokio::test]
async fn an_administrator_sees_a_count_and_sets_it_back() {
    for state in EITHER {
        let world = World::with_clock(Users::default(), state);
        let context = RequestContext::new();
        world.fails(BURST).await;
        let counted = count(&world.grant, LimitKey::Account { username: " ALICE" }, &context).await;
        assert_eq!((counted.failures, counted.in_window, counted.locked), (10, 10, false));
        assert_eq!(counted.wait, Some(Duration::from_secs(1)));
        world.grant.reset_attempts(ALICE, &context).await.unwrap();
        assert_eq!(count(&world.grant, ALICE, &context).await, AttemptCount::default());
        world.post(GOOD).await.is_granted();
        for on in [LimitKey::Source, LimitKey::Network, LimitKey::Client { client_id: "web" }] {
            assert_eq!(
                world.grant.attempts(on, &context).await.unwrap(),
                None,
                "{on:?} needs an address"
            );
        }
        assert_eq!(world.grant.attempts(LimitKey::Network, &from(HOME)).await.unwrap(), None);
    }
}

/// An attempt that was reserved before a reset is settled on nothing: its success belongs to a row that is gone, and
/// clears nothing in the one that came after it.
#[tokio::test]
async fn what_was_under_way_at_a_reset_changes_nothing_after_it() {
    let slow = Gated { users: Users::default(), gate: Arc::new(Semaphore::new(0)) };
    let gate = slow.gate.clone();
    let grant = engine(slow, standing(), |builder| builder);
    let nobody = RequestContext::new();
    let mut slow_login = Box::pin(post(&grant, &nobody, GOOD));
    assert!(slow_login.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    grant.reset_attempts(ALICE, &nobody).await.unwrap();
    assert_eq!(count(&grant, ALICE, &nobody).await, AttemptCount::default());
    for _ in 0..3 {
        post(&grant, &nobody, &wrong()).await.is(400, "invalid_grant");
    }
    gate.add_permits(1);
    slow_login.await.is_granted();
    let counted = count(&grant, ALICE, &nobody).await;
    assert_eq!((counted.failures, counted.in_window), (3, 3));
}

/// Takes its time over the right password, until the gate is opened.
struct Gated {
    users: Users,
    gate: Arc<Semaphore>,
}

#[async_trait]
impl UserAuthenticator for Gated {
    async fn authenticate(&self, attempt: LoginAttempt<'_>) -> Result<Login, BoxError> {
        if attempt.password().expose() == "wonderland" {
            self.gate.acquire().await?.forget();
        }
        self.users.authenticate(attempt).await
    }
}

#[test]
fn limits_that_make_no_sense_are_refused_when_the_engine_is_built() {
    let second = Duration::from_secs(1);
    let limits = AttemptLimits::default;
    for (case, limits) in [
        ("no attempt at all", limits().burst(0)),
        ("a burst beyond the lock", limits().burst(101)),
        ("no lock at a hundred (NIST SP 800-63B section 5.2.2)", limits().consecutive(101)),
        ("no failure of an address", limits().source(0, 600 * second)),
        ("a window of no time", limits().rolling(200, second)),
        ("a window of years", limits().client(20, 40 * 86_400 * second)),
        ("no wait", limits().waits(Duration::ZERO, second)),
        ("waits that shrink", limits().waits(2 * second, second)),
        ("a wait beyond the window", limits().waits(second, 2 * 86_400 * second)),
        ("origins for ever", limits().known_origins(Duration::MAX)),
        ("attempts without end", limits().attempt_timeout(Duration::MAX)),
        ("no patience", limits().timeout(Duration::ZERO)),
    ] {
        let tokens = OpaqueIssuer::new(InMemoryTokens::new(), "https://api.example.com");
        let builder = PasswordGrant::builder(ISSUER, common::clients(), Users::default(), tokens);
        let built = builder.attempt_limits(limits).build();
        assert!(matches!(built, Err(BuildError::AttemptLimits(_))), "{case}");
    }
}

// --- A store that fails ------------------------------------------------------------------------------------------------

type Script = dyn Fn(usize) -> Fault + Send + Sync;

enum Fault {
    None,
    Fails,
    FailsAfterwards,
    Conflict,
    /// A conflict that tells the rows as they are.
    FreshConflict,
    /// One that tells too few of them.
    MuteConflict,
    Hangs,
    /// Every row that is loaded is this.
    Garbage(&'static [u8]),
    NoRows,
}

/// A store whose calls fail as scripted, by their number.
struct Faulty {
    store: InMemoryState,
    script: Box<Script>,
    calls: AtomicUsize,
    loads: Mutex<Vec<usize>>,
}

impl Faulty {
    fn new(script: impl Fn(usize) -> Fault + Send + Sync + 'static) -> Arc<Self> {
        let store = InMemoryState::new().environment(&Environment::new().clock(standing()));
        Arc::new(Self {
            store,
            script: Box::new(script),
            calls: AtomicUsize::new(0),
            loads: Mutex::default(),
        })
    }

    fn next(&self) -> Fault {
        (self.script)(self.calls.fetch_add(1, Ordering::SeqCst))
    }
}

#[async_trait]
impl StateStore for Faulty {
    async fn load(&self, keys: &[StateKey]) -> Result<Loaded, BoxError> {
        assert!(keys.is_sorted_by(|one, next| one < next));
        self.loads.lock().unwrap().push(keys.len());
        let fault = self.next();
        let mut loaded = self.store.load(keys).await?;
        match fault {
            Fault::Fails | Fault::FailsAfterwards => return Err("no connection".into()),
            Fault::Hangs => std::future::pending().await,
            Fault::NoRows => loaded.rows.clear(),
            Fault::Garbage(bytes) => loaded.rows.iter_mut().for_each(|row| {
                *row = Some(password_grant::state::Row {
                    version: Version::new(1),
                    value: bytes.to_vec(),
                });
            }),
            Fault::None | Fault::Conflict | Fault::FreshConflict | Fault::MuteConflict => {}
        }
        Ok(loaded)
    }

    async fn commit(&self, changes: &[Change]) -> Result<Commit, BoxError> {
        assert!(changes.is_sorted_by(|one, next| one.key < next.key));
        match self.next() {
            Fault::Fails => Err("no connection".into()),
            Fault::FailsAfterwards => {
                let _ = self.store.commit(changes).await?;
                Err("the connection was lost".into())
            }
            Fault::Conflict => Ok(Commit::Conflict { fresh: None }),
            Fault::FreshConflict => {
                let mut changes = changes.to_vec();
                changes[0].expected = Expected::Version(Version::new(u64::MAX));
                let conflict = self.store.commit(&changes).await?;
                assert!(matches!(conflict, Commit::Conflict { fresh: Some(_) }));
                Ok(conflict)
            }
            Fault::MuteConflict => Ok(Commit::Conflict {
                fresh: Some(Loaded { now: standing().now(), rows: Vec::new() }),
            }),
            Fault::Hangs => std::future::pending().await,
            _ => self.store.commit(changes).await,
        }
    }
}

fn over(store: Arc<Faulty>) -> World {
    World::with(Users::default(), |builder| builder.shared_state(store, secret()))
}

/// Requirement 93, incident I13: what cannot be counted is not judged.
#[tokio::test]
async fn a_store_that_fails_or_holds_what_cannot_be_read_denies_before_anything_is_judged() {
    let form = format!("{GOOD}&client_id=mobile");
    for (case, fault) in [
        (
            "where log-outs stand cannot be told",
            (|call| if call == 0 { Fault::Fails } else { Fault::None }) as fn(usize) -> Fault,
        ),
        ("the load fails", |call| if call == 1 { Fault::Fails } else { Fault::None }),
        ("the commit fails", |call| if call == 2 { Fault::Fails } else { Fault::None }),
        ("the commit fails afterwards", |call| {
            if call == 2 { Fault::FailsAfterwards } else { Fault::None }
        }),
        ("a row is empty", |_| Fault::Garbage(b"")),
        ("a row is text", |_| Fault::Garbage(b"0")),
        ("a row is of another form", |_| Fault::Garbage(b"\x02aaaaaaaaaaaaaaaaaaaaaaaaaaaa")),
        ("there are too few rows", |_| Fault::NoRows),
    ] {
        let world = over(Faulty::new(fault));
        let answer = world.send(&[], &form).await;
        answer.is(503, "temporarily_unavailable");
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(world.users.asked(), 0, "{case}");
        assert!(
            world.events.lines()[0].starts_with("server fault: StateStore"),
            "{case}: {:?}",
            world.events.lines()
        );
    }
}

/// A login that is right and cannot be settled is not granted; it stays counted as a failure.
#[tokio::test]
async fn a_login_that_cannot_be_settled_is_not_granted() {
    let form = format!("{GOOD}&client_id=mobile");
    for (password, settle) in [("wonderland", 3), ("wonderland", 4), ("wrong", 3), ("wrong", 4)] {
        let world =
            over(Faulty::new(move |call| if call == settle { Fault::Fails } else { Fault::None }));
        let answer = world.send(&[], &form.replace("wonderland", password)).await;
        answer.is(503, "temporarily_unavailable");
        assert_eq!(world.users.asked(), 1);
        assert_eq!(count(&world.grant, ALICE, &RequestContext::new()).await.failures, 1);
    }
}

/// The trouble of the client's count is nobody's secret either.
#[tokio::test]
async fn a_client_that_cannot_be_counted_is_not_authenticated() {
    let fails_at = |number: usize| {
        Faulty::new(move |call| if call == number { Fault::Fails } else { Fault::None })
    };
    let world = over(fails_at(0));
    post(&world.grant, &from(HOME), GOOD).await.is(503, "temporarily_unavailable");
    let world = over(fails_at(1));
    post_as(&world.grant, &from(HOME), ("web", "guess"), GOOD)
        .await
        .is(503, "temporarily_unavailable");
    assert!(world.users.asked() == 0);
}

/// Others being quicker is no error; others always being quicker, or no answer at all, is one in the end.
#[tokio::test]
async fn a_store_in_conflict_is_asked_again_and_one_without_answer_is_given_up() {
    let form = format!("{GOOD}&client_id=mobile");
    let quick = engine_over(&Faulty::new(|call| {
        if call % 2 == 1 && call < 40 { Fault::Conflict } else { Fault::None }
    }));
    send_form(&quick.0, &form).await.is_granted();

    let (hangs, clock) = engine_over(&Faulty::new(|_| Fault::Hangs));
    let mut asked = Box::pin(send_form(&hangs, &form));
    let mut context = Context::from_waker(Waker::noop());
    assert!(asked.as_mut().poll(&mut context).is_pending());
    clock.0.advance(Duration::from_secs(10));
    let Poll::Ready(answer) = asked.as_mut().poll(&mut context) else { panic!("given up") };
    answer.is(503, "temporarily_unavailable");
}

/// A conflict that tells the rows as they are costs no other load. Once: where many are at it, each waits and looks anew.
#[tokio::test]
async fn the_rows_that_a_conflict_tells_are_taken_as_they_are() {
    let form = format!("{GOOD}&client_id=mobile");
    let loads = async |script: fn(usize) -> Fault| {
        let store = Faulty::new(script);
        send_form(&engine_over(&store).0, &form).await.is_granted();
        store.loads.lock().unwrap().len()
    };
    let undisturbed = loads(|_| Fault::None).await;
    // The engine's calls: what it looks at first, then the load and the commit that reserve.
    assert_eq!(
        loads(|call| if call == 2 { Fault::Conflict } else { Fault::None }).await,
        undisturbed + 1
    );
    assert_eq!(
        loads(|call| if call == 2 { Fault::FreshConflict } else { Fault::None }).await,
        undisturbed
    );
    let twice = |call| if [2, 3].contains(&call) { Fault::FreshConflict } else { Fault::None };
    assert_eq!(loads(twice).await, undisturbed + 1);

    let mute =
        engine_over(&Faulty::new(|call| if call == 2 { Fault::MuteConflict } else { Fault::None }));
    send_form(&mute.0, &form).await.is(503, "temporarily_unavailable");
}

/// The host says for how long it is waited, for a store as for other logins of the name.
#[tokio::test]
async fn patience_is_as_long_as_the_host_says() {
    let second = Duration::from_secs(1);
    let limits =
        AttemptLimits::default().burst(1).waits(60 * second, 60 * second).timeout(3 * second);
    let never = || Never(Users::default());
    let clock = Impatient(standing());
    let no_answer = |builder: PasswordGrantBuilder| {
        builder.attempt_limits(limits.clone()).shared_state(Faulty::new(|_| Fault::Hangs), secret())
    };
    let others = |builder: PasswordGrantBuilder| builder.attempt_limits(limits.clone());
    let form = format!("{GOOD}&client_id=mobile");
    let no_answer = engine(never(), clock.clone(), no_answer);
    let others = engine(never(), clock.clone(), others);
    let mut context = Context::from_waker(Waker::noop());
    let mut judged = Box::pin(send_form(&others, &form));
    assert!(judged.as_mut().poll(&mut context).is_pending());
    for (grant, status) in [(&no_answer, 503), (&others, 429)] {
        let mut asked = Box::pin(send_form(grant, &form));
        assert!(asked.as_mut().poll(&mut context).is_pending());
        clock.0.advance(3 * second - Duration::from_millis(1));
        assert!(asked.as_mut().poll(&mut context).is_pending(), "{status}");
        clock.0.advance(Duration::from_millis(1));
        let Poll::Ready(answer) = asked.as_mut().poll(&mut context) else {
            panic!("{status}: given up")
        };
        answer.is(status, "temporarily_unavailable");
    }
}

/// Its own sleeps end at once, except long ones, which end when the clock is moved.
#[derive(Clone)]
struct Impatient(ManualClock);

impl Clock for Impatient {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        if span < Duration::from_secs(1) {
            Box::pin(tokio::task::yield_now())
        } else {
            self.0.sleep(span)
        }
    }
}

fn engine_over(store: &Arc<Faulty>) -> (PasswordGrant, Impatient) {
    let clock = Impatient(standing());
    (
        engine(Users::default(), clock.clone(), |builder| {
            builder.shared_state(store.clone(), secret())
        }),
        clock,
    )
}

async fn send_form(grant: &PasswordGrant, form: &str) -> Answer {
    let headers = [("content-type", FORM.as_bytes())];
    grant.token(HttpRequest::new("POST", None, headers, form.as_bytes())).await.into()
}

/// Requirement 94: a clock that is set back neither unlocks nor locks for ever.
#[tokio::test]
async fn a_clock_that_is_set_back_changes_no_wait() {
    let world = World::default();
    world.fails(BURST).await;
    let year = Duration::from_secs(365 * 86_400);
    world.clock.set(noon().minus(year));
    world.post(GOOD).await.waits(1);
    world.clock.advance(Duration::from_secs(1));
    world.post(GOOD).await.is_granted();

    let world = World::default();
    let home = from(HOME);
    let guess = async || post_as(&world.grant, &home, ("web", "guess"), GOOD).await;
    for _ in 0..20 {
        guess().await.is(401, "invalid_client");
    }
    world.clock.set(noon().minus(year));
    guess().await.waits(60);
    world.clock.advance(Duration::from_secs(60));
    guess().await.is(401, "invalid_client");
}

// --- Room --------------------------------------------------------------------------------------------------------------

/// Requirement 92: memory has a bound, and what is alive is not thrown away for it.
#[tokio::test]
async fn names_without_number_take_no_more_than_the_room_there_is() {
    let state = InMemoryState::new().capacity(1_000);
    let (world, state) = world_over(Users::default(), state);
    let home = from(HOME);
    post(&world.grant, &home, GOOD).await.is_granted();
    world.fails(BURST).await;
    for number in 0..20_000 {
        let answer = world.post(&form_of(&format!("user{number}"), "wrong")).await;
        assert!([400, 429].contains(&answer.status));
    }
    // Three quarters, and a few that they share: the rest is for what is no counter.
    assert!((750..=790).contains(&state.len()), "{}", state.len());
    world.grant.log_out_everywhere(&"user-1".into(), &home).await.unwrap();
    world.post(GOOD).await.waits(1);
    world.clock.advance(Duration::from_secs(1)); // or the login would wait for the log-out's second to pass
    post(&world.grant, &home, GOOD).await.is_granted();

    // New names share rows: they wait too soon, and never too late.
    let mut verified = 0;
    for _ in 0..BURST + 1 {
        verified += usize::from(world.post(&form_of("newcomer", "wrong")).await.status == 400);
    }
    assert!(verified <= BURST);
    // Three days later everything has run out, and there is room again for all but a few.
    world.clock.advance(Duration::from_secs(86_400 * 3));
    let asked = world.users.asked();
    for number in 0..1_000 {
        world.post(&form_of(&format!("later{number}"), "wrong")).await;
    }
    assert!(world.users.asked() - asked > 700, "{}", world.users.asked() - asked);
    assert!(state.len() <= 790, "{}", state.len());
}

/// Whoever wants no bound at all gets none.
#[tokio::test]
async fn a_capacity_without_bound_is_one() {
    let (world, state) = world_over(Users::default(), InMemoryState::new().capacity(usize::MAX));
    for _ in 0..2 {
        post(&world.grant, &from(HOME), GOOD).await.is_granted();
    }
    assert!(!state.is_empty());
    assert!(!world.events.lines().iter().any(|line| line.contains("server fault")));
}

/// Somebody's login does not clear what others have done in the row that they share.
#[tokio::test]
async fn a_login_takes_back_only_itself_from_a_row_that_it_shares() {
    let anybody = Users::who(|attempt| {
        let right = attempt.password().expose() == "wonderland";
        Ok(if right { Login::accepted("user") } else { Login::rejected(Rejection::WrongPassword) })
    });
    // Room for thirty-two names, and for one row that all others share.
    let (world, _) = world_over(anybody, InMemoryState::new().capacity(42));
    for number in 0..32 {
        world.post(&form_of(&format!("user{number}"), "wrong")).await.is(400, "invalid_grant");
    }
    for _ in 0..5 {
        world.post(&wrong()).await.is(400, "invalid_grant");
        world.post(&form_of("mallory", "wonderland")).await.is_granted();
    }
    let nowhere = RequestContext::new();
    for username in ["alice", "mallory", "anybody"] {
        let counted = count(&world.grant, LimitKey::Account { username }, &nowhere).await;
        assert_eq!((counted.failures, counted.in_window), (5, 5), "{username}");
    }
}

/// What was counted in a row that is shared is not forgotten when there is room again.
#[tokio::test]
async fn whoever_has_shared_a_row_goes_on_being_counted_there() {
    let (world, _) = world_over(Users::default(), InMemoryState::new().capacity(42));
    for number in 0..32 {
        world.post(&form_of(&format!("user{number}"), "wrong")).await.is(400, "invalid_grant");
    }
    world.fails(BURST).await;
    let nowhere = RequestContext::new();
    for number in 0..32 {
        let username = &*format!("user{number}");
        world.grant.reset_attempts(LimitKey::Account { username }, &nowhere).await.unwrap();
    }
    world.post(&wrong()).await.waits(1);
}

fn world_over(users: Users, state: InMemoryState) -> (World, InMemoryState) {
    let mut same = None;
    let world = World::with_clock(users, |builder, clock| {
        let state = state.environment(&Environment::new().clock(clock.clone()));
        same = Some(state.clone());
        builder.state(state)
    });
    (world, same.unwrap())
}

#[tokio::test]
async fn a_login_is_granted_though_there_is_no_room_to_remember_where_it_came_from() {
    let anybody = Users::who(|_| Ok(Login::accepted("user")));
    let (world, state) = world_over(anybody, InMemoryState::new().capacity(64));
    for number in 0..64 {
        post(&world.grant, &from(HOME), &form_of(&format!("user{number}"), "right"))
            .await
            .is_granted();
    }
    assert_eq!(state.len(), 64);
    post(&world.grant, &from(HOME), &form_of("one-more", "right")).await.is_granted();
    assert_eq!(state.len(), 64);
    assert!(world.events.lines().iter().any(|line| line.contains("the in-memory state is full")));
}

/// Rows that say nothing any more are gone: an honest day leaves known origins and nothing else.
#[tokio::test]
async fn honest_logins_leave_no_rows_but_their_origins() {
    let anybody = Users::who(|_| Ok(Login::accepted("user")));
    let (world, state) = world_over(anybody, InMemoryState::new());
    for number in 0..500 {
        post(&world.grant, &from(HOME), &form_of(&format!("user{}", number % 50), "any"))
            .await
            .is_granted();
    }
    assert_eq!(state.len(), 50);
    let world = World::with(world.users, |builder| {
        builder
            .state(state.clone())
            .attempt_limits(AttemptLimits::default().known_origins(Duration::ZERO))
    });
    post(&world.grant, &from(HOME), &form_of("somebody", "any")).await.is_granted();
    assert_eq!(state.len(), 50);
}

/// The secret of a shared store is not to be seen, and two engines with different ones do not see each other's rows.
#[tokio::test]
async fn rows_of_another_secret_are_other_rows() {
    let state = InMemoryState::new().environment(&Environment::new().clock(standing()));
    let with = |bytes: [u8; 32]| {
        let secret = StateSecret::new(bytes).unwrap();
        assert_eq!(format!("{secret:?}"), "StateSecret");
        World::with(Users::default(), |builder| builder.shared_state(state.clone(), secret))
    };
    let (one, same, other) = (with([1; 32]), with([1; 32]), with([2; 32]));
    one.fails(BURST).await;
    same.post(GOOD).await.waits(1);
    other.post(GOOD).await.is_granted();
}

/// Slow client secrets are guessed no faster.
#[tokio::test]
async fn a_client_registered_for_another_method_is_counted_too() {
    let clients = InMemoryClients::new([Client::confidential(
        "poster",
        ClientAuthentication::post(ClientSecret::digest_of("poster-secret")),
    )
    .grants([Grant::Password])]);
    let tokens = OpaqueIssuer::new(InMemoryTokens::new(), "https://api.example.com");
    let builder = PasswordGrant::builder(ISSUER, clients, Users::default(), tokens);
    let grant =
        builder.environment(&Environment::new().observer(()).clock(standing())).build().unwrap();
    for _ in 0..20 {
        post_as(&grant, &from(HOME), ("poster", "poster-secret"), GOOD)
            .await
            .is(401, "invalid_client");
    }
    post_as(&grant, &from(HOME), ("poster", "poster-secret"), GOOD).await.waits(60);
}
