//! Clocks and timestamps: arithmetic that saturates, and sleeping without a runtime.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use password_grant::Clock;
use password_grant::testing::ManualClock;
use password_grant::time::{SystemClock, Timestamp};

/// Requirement 56: no value in a token or a table makes the arithmetic overflow.
#[test]
fn arithmetic_saturates() {
    let (first, last) = (Timestamp::from_unix_seconds(0), Timestamp::from_unix_seconds(u64::MAX));
    assert_eq!(first.minus(Duration::from_secs(1)), first);
    assert!(last.plus(Duration::MAX) >= last);
    assert_eq!(last.plus(Duration::MAX).unix_seconds(), u64::MAX);
    assert_eq!(first.since(last), Duration::ZERO);
    assert_eq!(last.since(first), Duration::from_secs(u64::MAX));
    assert_eq!(Timestamp::from(UNIX_EPOCH - Duration::from_secs(5)), first, "before 1970 is 1970");
    let now = SystemTime::now();
    assert_eq!(
        Timestamp::from(now).unix_seconds(),
        now.duration_since(UNIX_EPOCH).unwrap().as_secs()
    );
}

/// An executor without a timer. The sleep is woken by the clock's own thread.
#[test]
fn the_system_clock_needs_no_runtime() {
    let clock = SystemClock::new();
    std::thread::scope(|scope| {
        for millis in [30, 1, 15] {
            let span = Duration::from_millis(millis);
            let (started, sleep) = (Instant::now(), clock.sleep(span));
            scope.spawn(move || {
                pollster(sleep);
                assert!(started.elapsed() >= span, "woken too early");
            });
        }
    });
    pollster(clock.sleep(Duration::ZERO));
}

#[tokio::test]
async fn a_wait_ends_with_its_clock_and_an_endless_one_never() {
    let clock = SystemClock::new();
    let mut long = clock.sleep(Duration::from_secs(3600));
    assert!(futures_util::poll!(&mut long).is_pending());
    let mut endless = clock.sleep(Duration::MAX);
    assert!(futures_util::poll!(&mut endless).is_pending());
    drop(clock); // the thread ends, and with it the waits that it would have ended
    long.await;
    assert!(futures_util::poll!(&mut endless).is_pending());
}

#[tokio::test]
async fn the_manual_clock_wakes_whoever_has_slept_long_enough() {
    let clock = ManualClock::at(Timestamp::from_unix_seconds(100));
    let (mut short, mut long) =
        (clock.sleep(Duration::from_secs(1)), clock.sleep(Duration::from_secs(10)));
    clock.sleep(Duration::ZERO).await;
    assert_eq!(clock.sleepers(), 2);
    clock.advance(Duration::from_millis(999));
    assert!(futures_util::poll!(&mut short).is_pending());
    clock.advance(Duration::from_millis(1));
    assert!(futures_util::poll!(&mut short).is_ready());
    clock.set(Timestamp::from_unix_seconds(50));
    assert!(futures_util::poll!(&mut long).is_pending());
    assert_eq!(clock.now().unix_seconds(), 50);
    clock.set(Timestamp::from_unix_seconds(110));
    assert!(futures_util::poll!(&mut long).is_ready());
    drop(clock.sleep(Duration::from_secs(1)));
    assert_eq!(clock.sleepers(), 0);
}

fn pollster(mut future: password_grant::time::BoxFuture<'static, ()>) {
    use std::task::{Context, Wake, Waker};
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(std::sync::Arc::new(Unpark(std::thread::current())));
    while future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
        std::thread::park();
    }
}
