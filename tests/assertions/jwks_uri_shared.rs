//! Key sets that clients publish: all requests that need one wait for the same fetch, and none of
//! them undoes it by disconnecting.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures_util::future::{FutureExt, join, join_all};
use futures_util::poll;
use password_grant::assertion::{AssertionKey, JwksSource};
use password_grant::time::BoxFuture;
use password_grant::{BoxError, ClientAuthentication, Clock, async_trait};
use serde_json::json;

use crate::common::fakes::SlowKeys;
use crate::common::{Answer, Users, World};
use crate::support::{Forge, ask, assertions, client, is_refused};

const MINUTE: Duration = Duration::from_secs(60);

fn document(key: &AssertionKey) -> String {
    json!({ "keys": [key.public_jwk()] }).to_string()
}

fn world_with_source(source: impl JwksSource) -> World {
    let world = World::with(Users::default(), |builder| builder.jwks_source(source));
    insert(&world, "backend");
    world
}

fn insert(world: &World, path: &str) {
    let uri = format!("https://client.example/{path}");
    world.clients.insert(client("backend", ClientAuthentication::private_key_jwt_uri(uri)));
}

fn slow_world() -> (World, SlowKeys) {
    let mut slow = None;
    let world = World::with_clock(Users::default(), |builder, clock| {
        builder.jwks_source(slow.insert(SlowKeys::new(clock)).clone())
    });
    insert(&world, "backend");
    (world, slow.unwrap())
}

/// A request with a valid assertion that is signed with this key.
async fn send(world: &World, key: &AssertionKey) -> Answer {
    ask(world, &assertions(world, key).sign().unwrap()).await
}

/// A request whose caller disconnects while it waits.
fn hang_up(world: &World, key: &AssertionKey) {
    assert!(send(world, key).now_or_never().is_none(), "it waits for the source");
}

#[tokio::test]
async fn requests_that_need_a_set_at_once_wait_for_one_fetch() {
    let key = Forge::new().key();
    let (world, source) = slow_world();
    let requests = join_all((0..2_000).map(|_| send(&world, &key)));
    let published = async { source.publish(document(&key)) };
    let (answers, ()) = join(requests, published).await;
    assert_eq!(source.take_begun(), 1);
    answers.iter().for_each(|answer| drop(answer.is_granted()));
}

/// They run in tasks of their own, so each of them has to be woken.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_fetch_goes_on_when_the_request_that_began_it_is_dropped() {
    let key = Forge::new().key();
    let (world, source) = slow_world();
    let world = Arc::new(world);
    let request = || {
        let (world, key) = (world.clone(), key.clone());
        tokio::spawn(async move { send(&world, &key).await })
    };
    for _ in 0..20 {
        let first = request();
        while source.begun() == 0 {
            tokio::task::yield_now().await;
        }
        let others = [request(), request()];
        tokio::task::yield_now().await;
        first.abort();
        // It may have been served before it was aborted.
        let _ = first.await;
        source.publish(document(&key));
        for other in others {
            other.await.unwrap().is_granted();
        }
        assert_eq!(source.take_begun(), 1);
        source.hang();
        // The cached keys are too old to be used while the set is fetched again.
        world.clock.advance(12 * MINUTE);
    }
}

#[tokio::test]
async fn a_fetch_that_all_requests_have_left_is_continued_by_the_next_one() {
    let key = Forge::new().key();
    let (world, source) = slow_world();
    for _ in 0..20 {
        hang_up(&world, &key);
    }
    let (answer, ()) = join(send(&world, &key), async { source.publish(document(&key)) }).await;
    answer.is_granted();
    assert_eq!(source.take_begun(), 1);
}

/// A request whose caller stays is served, however many others begin fetches and disconnect, and
/// no two fetches begin within a minute.
#[tokio::test]
async fn a_fetch_that_was_left_for_too_long_is_begun_anew_within_the_pause() {
    let key = Forge::new().key();
    for seconds in [0, 9, 11, 29, 30, 31, 59, 60, 61, 100_000] {
        let (world, source) = slow_world();
        hang_up(&world, &key);
        assert_eq!(source.take_begun(), 1);
        world.clock.advance(Duration::from_secs(seconds));
        source.publish(document(&key));
        let mut request = Box::pin(send(&world, &key));
        let answer = poll!(&mut request);
        match seconds {
            0..10 => assert!(answer.is_ready() && source.take_begun() == 0, "{seconds}: continued"),
            // Its time limit has passed, and it is too long until the next may begin.
            10..30 => {
                let Poll::Ready(answer) = answer else { panic!("{seconds}: waits") };
                answer.is(503, "temporarily_unavailable");
                assert_eq!(source.take_begun(), 0, "{seconds}");
            }
            30..60 => {
                assert!(answer.is_pending() && source.take_begun() == 0, "{seconds}: waits");
                for _ in 0..100 {
                    assert!(send(&world, &key).now_or_never().is_none());
                }
                world.clock.advance(Duration::from_secs(60 - seconds));
                request.await.is_granted();
                assert_eq!(source.take_begun(), 1, "{seconds}");
            }
            60.. => assert!(answer.is_ready() && source.take_begun() == 1, "{seconds}: anew"),
        }
    }
}

/// Whoever has a key that the client has withdrawn cannot keep it by beginning each fetch and
/// disconnecting, at whatever moment.
#[tokio::test]
async fn a_withdrawn_key_is_refused_after_eleven_minutes_whoever_disconnects() {
    let (stolen, new) = (Forge::new().key(), Forge::new().key());
    for pattern in [[0, 0], [1, 0], [11, 0], [0, 31], [11, 31], [35, 24], [59, 0]] {
        let (world, source) = slow_world();
        source.publish(document(&stolen));
        send(&world, &stolen).await.is_granted();
        source.take_begun();
        let withdrawn = world.clock.now();
        for _ in 0..60 {
            let _ = send(&world, &stolen).now_or_never();
            for seconds in pattern {
                world.clock.advance(Duration::from_secs(seconds));
                let since = world.clock.now().since(withdrawn);
                source.hang();
                let mut first = Box::pin(send(&world, &stolen));
                let mut second = Box::pin(send(&world, &stolen));
                let mut answers = vec![poll!(&mut first), poll!(&mut second)];
                drop(first);
                source.publish(document(&new));
                if answers[1].is_pending() {
                    answers.push(poll!(&mut second));
                }
                for answer in answers {
                    let is_granted = matches!(answer, Poll::Ready(answer) if answer.status == 200);
                    assert!(!is_granted || since < 11 * MINUTE, "{pattern:?}: {since:?}");
                }
                source.hang();
            }
            let passed: u64 = pattern.iter().sum();
            world.clock.advance(Duration::from_secs(60 - passed));
        }
        assert!(source.take_begun() <= 60, "{pattern:?}");
        source.publish(document(&new));
        world.clock.advance(MINUTE);
        is_refused(&send(&world, &stolen).await, &world, "AssertionSignature", &pattern);
        send(&world, &new).await.is_granted();
    }
}

/// The owner of a new key is not kept out by callers who begin each fetch and disconnect. If the
/// fetch was left for longer than the source's own time limit, the next one succeeds.
#[tokio::test]
async fn a_new_key_is_accepted_within_a_minute_whoever_disconnects() {
    let (old, new) = (Forge::new().key().with_kid("old"), Forge::new().key().with_kid("new"));
    for seconds in [0, 5, 9, 30, 45, 60] {
        let (world, source) = slow_world();
        source.publish(document(&old));
        send(&world, &old).await.is_granted();
        source.hang();
        for _ in 0..5 {
            world.clock.advance(MINUTE);
            hang_up(&world, &new);
        }
        source.publish(document(&new));
        world.clock.advance(Duration::from_secs(seconds));
        let later = async { world.clock.advance(Duration::from_secs(60 - seconds)) };
        join(send(&world, &new), later).await.0.is_granted();
    }
}

/// While the source is known to fail, callers who disconnect do not shorten the pauses, and the
/// keys at hand are used.
#[tokio::test]
async fn no_pause_is_shortened_by_disconnecting() {
    let key = Forge::new().key();
    let (world, source) = slow_world();
    source.publish(document(&key));
    send(&world, &key).await.is_granted();
    source.fail();
    world.clock.advance(10 * MINUTE);
    for minutes in [1, 2, 4] {
        send(&world, &key).await.is_granted();
        world.clock.advance(minutes * MINUTE);
    }
    assert_eq!(source.take_begun(), 4);
    source.hang();
    let mut answered = 0;
    for _ in 0..120 {
        answered += usize::from(send(&world, &key).now_or_never().is_some());
        world.clock.advance(Duration::from_secs(31));
    }
    // The pause after three failures is four minutes.
    let begun = source.take_begun();
    assert!((10..=120 * 31 / 240 + 1).contains(&begun), "{begun}");
    assert_eq!(answered + begun, 120);
}

/// A source that panics: in the call itself, or in this poll of its future.
struct Panics {
    at_poll: Option<usize>,
    calls: Arc<AtomicUsize>,
}

impl JwksSource for Panics {
    fn fetch<'a, 'b, 'c>(&'a self, _: &'b str) -> BoxFuture<'c, Result<Vec<u8>, BoxError>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let Some(mut polls) = self.at_poll else { panic!("a fault of the host") };
        Box::pin(poll_fn(move |context| {
            polls = polls.checked_sub(1).expect("a fault of the host");
            context.waker().wake_by_ref();
            Poll::Pending
        }))
    }
}

#[tokio::test]
async fn a_source_that_panics_is_a_source_that_fails() {
    let key = Forge::new().key();
    for at_poll in [None, Some(0), Some(3)] {
        let calls = Arc::new(AtomicUsize::new(0));
        let world = world_with_source(Panics { at_poll, calls: calls.clone() });
        for calls_before in 0..3 {
            for answer in join_all((0..5).map(|_| send(&world, &key))).await {
                answer.is(503, "temporarily_unavailable");
            }
            assert_eq!(calls.load(Ordering::SeqCst), calls_before + 1);
            world.clock.advance(15 * MINUTE);
        }
        assert!(world.events.lines().iter().any(|line| line.contains("panicked")));
    }
}

/// A fetch has half a minute. After that the source has failed, as if it had said so.
#[tokio::test]
async fn a_fetch_that_never_ends_is_given_up() {
    struct Never;

    #[async_trait]
    impl JwksSource for Never {
        async fn fetch(&self, _: &str) -> Result<Vec<u8>, BoxError> {
            std::future::pending().await
        }
    }

    let (world, key) = (world_with_source(Never), Forge::new().key());
    let mut request = Box::pin(send(&world, &key));
    assert!(poll!(&mut request).is_pending());
    world.clock.advance(Duration::from_secs(29));
    assert!(poll!(&mut request).is_pending());
    world.clock.advance(Duration::from_secs(1));
    request.now_or_never().expect("it is given up").is(503, "temporarily_unavailable");
    assert!(world.events.last().contains("too long"), "{}", world.events.last());
    assert_eq!(world.clock.sleepers(), 0);
}

/// While a set is fetched again, requests use the cached keys, for as long as a withdrawn key is
/// accepted at most.
#[tokio::test]
async fn cached_keys_are_used_while_they_are_fetched_again() {
    let key = Forge::new().key();
    let (world, source) = slow_world();
    source.publish(document(&key));
    send(&world, &key).await.is_granted();
    source.hang();
    world.clock.advance(10 * MINUTE);
    let mut first = Box::pin(send(&world, &key));
    assert!(poll!(&mut first).is_pending());
    world.clock.advance(Duration::from_secs(9));
    send(&world, &key).now_or_never().expect("the cached keys are used").is_granted();
    source.publish(document(&key));
    first.await.is_granted();
    source.hang();
    world.clock.advance(10 * MINUTE);
    hang_up(&world, &key);
    assert!(send(&world, &key).now_or_never().is_none(), "it continues what was left");
    world.clock.advance(MINUTE);
    let mut first = Box::pin(send(&world, &key));
    assert!(poll!(&mut first).is_pending());
    assert!(send(&world, &key).now_or_never().is_none(), "they are too old");
}

/// A set that is being fetched is not removed for others.
#[tokio::test]
async fn a_full_cache_keeps_the_fetches_that_somebody_waits_for() {
    let key = Forge::new().key();
    let (world, source) = slow_world();
    let mut waits = Box::pin(send(&world, &key));
    assert!(poll!(&mut waits).is_pending());
    for number in 0..1_100 {
        insert(&world, &number.to_string());
        hang_up(&world, &key);
    }
    assert_eq!(source.take_begun(), 1_101);
    source.publish(document(&key));
    waits.await.is_granted();
    insert(&world, "backend");
    send(&world, &key).await.is_granted();
    // The first of those that were left made room. Its pause has not ended, so nothing is begun.
    insert(&world, "0");
    assert!(send(&world, &key).now_or_never().is_none_or(|answer| answer.status == 503));
    assert_eq!(source.take_begun(), 0);
    insert(&world, "1099");
    send(&world, &key).await.is_granted();
    assert_eq!(source.take_begun(), 0);
}

/// What a fetched set holds is reported once, and not by each request that waited for it.
#[tokio::test]
async fn a_key_that_is_passed_over_is_reported_once_for_each_fetch() {
    let key = Forge::new().key();
    let (world, source) = slow_world();
    let unusable = json!({ "kty": "EC", "crv": "secp256k1", "x": "AAAA", "y": "AAAA" });
    let document = json!({ "keys": [unusable, key.public_jwk()] }).to_string();
    let requests = join_all((0..5).map(|_| send(&world, &key)));
    let (answers, ()) = join(requests, async { source.publish(document) }).await;
    answers.iter().for_each(|answer| drop(answer.is_granted()));
    let lines = world.events.lines();
    assert_eq!(lines.iter().filter(|line| line.contains("cannot be used")).count(), 1, "{lines:?}");
}
