//! The hashing threads: a bounded queue, cancelled logins, deadlines and panics.

use std::sync::atomic::Ordering;
use std::time::Duration;

use password_grant::environment::{RandomnessError, SecureRandom, SystemRandom};
use password_grant::password::HashError;
use password_grant::testing::ManualClock;
use password_grant::{Environment, HashedPasswords, User};

use crate::common::noon;
use crate::support::{Gate, Table, cheap, grant_over, hash, login, until};

/// Requirements 76 and 77.
#[tokio::test]
async fn past_the_queue_there_is_an_immediate_503_and_a_place_is_free_only_when_work_ends() {
    let (gate, open) = Gate::new();
    let table = Table::of([("alice", User::new("user-1", Some(hash(cheap(), "wonderland"))))]);
    let passwords = HashedPasswords::builder(table)
        .parameters(cheap())
        .threads(1)
        .queue(2)
        .environment(&Environment::new().randomness(gate.clone()));
    let passwords = passwords.build().unwrap();
    let (grant, events) = grant_over(passwords.clone());

    // One hash keeps the only thread busy. Its caller goes away, and the thread stays busy all the
    // same.
    let mut busy = Box::pin(passwords.hash("new password"));
    assert!(futures_util::poll!(&mut busy).is_pending());
    until(|| gate.entered.load(Ordering::SeqCst) == 1).await;
    drop(busy);

    let (mut first, mut second) =
        (Box::pin(login(&grant, "alice", "wonderland")), Box::pin(passwords.hash("second")));
    assert!(futures_util::poll!(&mut first).is_pending());
    assert!(futures_util::poll!(&mut second).is_pending());
    for username in ["alice", "nobody"] {
        let refused = login(&grant, username, "wonderland").await;
        refused.is(503, "temporarily_unavailable");
        assert_eq!(refused.header("retry-after"), Some("1"));
    }
    assert_eq!(
        events.last(),
        r#"server fault: Overloaded with client "mobile": "password hashing is overloaded""#
    );
    assert!(matches!(passwords.hash("another").await, Err(HashError::Overloaded)));

    drop(open);
    first.await.is_granted();
    second.await.unwrap();
    assert_eq!(gate.entered.load(Ordering::SeqCst), 2);
}

/// Incident I24: dropped requests do not lead to more hashing threads, and a password that nobody
/// waits for is not hashed.
#[tokio::test]
async fn cancelled_logins_neither_exceed_the_threads_nor_are_hashed() {
    let (gate, open) = Gate::new();
    let passwords =
        HashedPasswords::builder(Table::default()).parameters(cheap()).threads(2).queue(200);
    let passwords =
        passwords.environment(&Environment::new().randomness(gate.clone())).build().unwrap();
    for _ in 0..100 {
        let mut hashing = Box::pin(passwords.hash("new password"));
        assert!(futures_util::poll!(&mut hashing).is_pending());
    }
    let mut last = Box::pin(passwords.hash("new password"));
    assert!(futures_util::poll!(&mut last).is_pending());
    drop(open);
    last.await.unwrap();
    // Each of the two threads had at most one job when its caller went away. The last login was
    // waited for.
    assert!(gate.entered.load(Ordering::SeqCst) <= 3, "{}", gate.entered.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_password_that_waited_too_long_is_not_hashed_any_more() {
    let (gate, open) = Gate::new();
    let clock = ManualClock::at(noon());
    let table = Table::of([("alice", User::new("user-1", Some(hash(cheap(), "wonderland"))))]);
    let passwords = HashedPasswords::builder(table).parameters(cheap()).threads(1);
    let passwords = passwords
        .environment(&Environment::new().randomness(gate.clone()).clock(clock.clone()))
        .queue_timeout(Duration::from_secs(2))
        .build()
        .unwrap();
    let (grant, _) = grant_over(passwords.clone());
    let mut busy = Box::pin(passwords.hash("new password"));
    assert!(futures_util::poll!(&mut busy).is_pending());
    until(|| gate.entered.load(Ordering::SeqCst) == 1).await;
    let mut late = Box::pin(login(&grant, "alice", "wonderland"));
    assert!(futures_util::poll!(&mut late).is_pending());
    clock.advance(Duration::from_secs(2));
    drop(open);
    late.await.is(503, "temporarily_unavailable");
    busy.await.unwrap();
    login(&grant, "alice", "wonderland").await.is_granted();
}

/// A panic in one job must not end its thread, or a few panics would stop all logins.
#[tokio::test]
async fn a_hashing_thread_survives_a_panic() {
    struct Panics;
    impl SecureRandom for Panics {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomnessError> {
            let name = std::thread::current().name().unwrap_or_default().to_owned();
            assert!(!name.starts_with("password-hash"), "on purpose");
            SystemRandom::new().fill(bytes)
        }
    }
    let table = Table::of([("alice", User::new("user-1", Some(hash(cheap(), "wonderland"))))]);
    let passwords = HashedPasswords::builder(table)
        .parameters(cheap())
        .threads(1)
        .environment(&Environment::new().randomness(Panics))
        .build()
        .unwrap();
    for _ in 0..3 {
        assert!(passwords.hash("new password").await.is_err());
    }
    let (grant, _) = grant_over(passwords);
    login(&grant, "alice", "wonderland").await.is_granted();
}
