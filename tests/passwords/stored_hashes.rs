//! Which stored hashes are taken, and when a password is hashed anew.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use password_grant::password::AccountState;
use password_grant::testing::ManualClock;
use password_grant::{
    BoxError, Environment, HashedPasswords, RequestContext, User, UserStore, async_trait,
};

use crate::common::{Events, noon};
use crate::support::{Table, cheap, grant_over, hash, login, passwords_of};

/// Hashes are accepted up to the documented limits of salt, output and passes.
#[tokio::test]
async fn stored_hashes_are_taken_up_to_the_lengths_and_the_work_that_are_documented() {
    let phc = |passes: u32, salt: usize, output: usize| {
        let (salt, mut hash) = (vec![7; salt], vec![0; output]);
        let parameters = argon2::Params::new(64, passes, 1, Some(output)).unwrap();
        let argon2 =
            argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, parameters);
        argon2.hash_password_into(b"wonderland", &salt, &mut hash).unwrap();
        format!(
            "$argon2id$v=19$m=64,t={passes},p=1${}${}",
            BASE64.encode(salt),
            BASE64.encode(hash)
        )
    };
    let table = Table::default();
    let (grant, events) = grant_over(passwords_of(table.clone()));
    for (stored, taken) in [
        (phc(1, 16, 32), true),
        (phc(1, 8, 32), true),
        (phc(1, 48, 32), true),
        (phc(1, 49, 32), false),
        (phc(1, 16, 16), true),
        (phc(1, 16, 64), true),
        (phc(1, 16, 65), false),
        (phc(5, 16, 32), true), // more than four passes, and less work than is allowed
        (phc(64, 16, 32), true),
    ] {
        table
            .users
            .lock()
            .unwrap()
            .insert("alice".into(), User::new("user-1", Some(stored.clone())));
        let answer = login(&grant, "alice", "wonderland").await;
        assert_eq!(answer.status == 200, taken, "{stored}");
        assert_eq!(events.last().contains("UnusableHash"), !taken, "{stored}");
    }
}

/// Incident I25, requirement 78: no stored hash makes the verification panic or cost more than the
/// ceiling.
#[tokio::test]
async fn stored_hashes_beyond_the_ceiling_are_refused() {
    let real = hash(cheap(), "wonderland");
    let table = Table::default();
    let (grant, events) = grant_over(passwords_of(table.clone()));
    for (stored, usable) in [
        (real.clone(), true),
        (real.replace("m=64,", "m=65536,"), false), // within the ceiling, but not of this password
        (real.replace("m=64,", "m=65537,"), false),
        (real.replace("m=64,", "m=4294967295,"), false),
        (real.replace("t=1,", "t=4097,"), false), // 64 KiB each: more work than 64 MiB four times
        (real.replace("m=64,t=1,", "m=65536,t=5,"), false),
        (real.replace("t=1,", "t=4294967295,"), false),
        (real.replace("p=1", "p=17"), false),
        (real.replace("p=1", "p=16777215"), false),
        (real.replace("v=19", "v=99"), false),
        // A hash without a version is taken for one of the current version.
        (real.replace("v=19$", ""), true),
        (real.replace("argon2id", "argon2i"), false),
        (real.replace("argon2id", "argon2d"), false),
        (real.replace("m=64,t=1,p=1", ""), false),
        (format!("{real}$"), false),
        (real[..real.len() - 3].to_owned(), false), // 30 bytes in the place of 32
        (real.rsplit_once('$').unwrap().0.to_owned(), false), // without a hash
        ("$argon2id$v=19$m=64,t=1,p=1$$".to_owned(), false),
        ("é$argon2id".to_owned(), false),
        ("$".repeat(10_000), false),
    ] {
        table
            .users
            .lock()
            .unwrap()
            .insert("alice".into(), User::new("user-1", Some(stored.clone())));
        let answer = login(&grant, "alice", "wonderland").await;
        if usable {
            drop(answer.is_granted())
        } else {
            answer.is(400, "invalid_grant")
        }
        let refused = events.last().contains("UnusableHash");
        assert_eq!(
            refused,
            !usable && !stored.contains("m=65536,t=1,") && stored.len() != real.len() - 3,
            "{stored}"
        );
    }
}

/// Requirement 75.
#[tokio::test]
async fn a_right_password_with_an_obsolete_hash_is_rehashed_and_a_wrong_one_never() {
    let mut current = cheap();
    current.passes = 2;
    let weak = || Some(hash(cheap(), "wonderland"));
    let mut table = Table::of([
        ("weak", User::new("1", weak())),
        ("current", User::new("2", Some(hash(current, "wonderland")))),
        ("disabled", User::new("3", weak()).state(AccountState::Disabled)),
    ]);
    let events = Events::default();
    let passwords = |table: &Table| {
        HashedPasswords::builder(table.clone())
            .parameters(current)
            .environment(&Environment::new().observer(events.clone()))
    };
    let (grant, _) = grant_over(passwords(&table).build().unwrap());
    login(&grant, "weak", "wrong").await.is(400, "invalid_grant");
    login(&grant, "disabled", "wonderland").await.is(400, "invalid_grant");
    login(&grant, "current", "wonderland").await.is_granted();
    assert_eq!(table.updates.lock().unwrap().len(), 0);

    login(&grant, "weak", "wonderland").await.is_granted();
    let (old, new) = table.updates.lock().unwrap().pop().unwrap();
    assert_eq!(Some(&*old), table.users.lock().unwrap()["weak"].password_hash());
    assert!(new.starts_with("$argon2id$v=19$m=64,t=2,p=1$"), "{new}");
    assert_eq!(events.last(), r#"password of subject "1" rehashed"#);

    table.users.lock().unwrap().insert("weak".into(), User::new("1", Some(new)));
    login(&grant, "weak", "wonderland").await.is_granted();
    assert_eq!(
        table.updates.lock().unwrap().len(),
        0,
        "the new hash is the current one, and of the same password"
    );

    // A login succeeds even if the table cannot be written.
    table.update_fails = true;
    let (grant, _) = grant_over(passwords(&table).build().unwrap());
    table.users.lock().unwrap().insert("weak".into(), User::new("1", weak()));
    login(&grant, "weak", "wonderland").await.is_granted();
    assert_eq!(events.last(), r#"password of subject "1" not rehashed: "read-only replica""#);
}

/// A hash is weaker if its memory times its passes is less. If one is less and the other more, it
/// is left alone.
#[tokio::test]
async fn a_rehash_never_weakens_a_hash() {
    let mut current = cheap();
    current.passes = 2;
    for (memory_kib, passes, rehashed) in
        [(64, 2, false), (63, 2, true), (64, 1, true), (256, 1, false), (8, 17, false)]
    {
        let mut stored = cheap();
        (stored.memory_kib, stored.passes) = (memory_kib, passes);
        let table = Table::of([("alice", User::new("user-1", Some(hash(stored, "wonderland"))))]);
        let (grant, _) = grant_over(
            HashedPasswords::builder(table.clone()).parameters(current).build().unwrap(),
        );
        login(&grant, "alice", "wonderland").await.is_granted();
        assert_eq!(
            table.updates.lock().unwrap().len(),
            usize::from(rehashed),
            "m={memory_kib},t={passes}"
        );
    }
}

/// Requirement 75: the hook that stores a new hash cannot fail the login.
#[tokio::test]
async fn a_rehash_that_hangs_or_panics_fails_no_login() {
    struct Stuck;
    #[async_trait]
    impl UserStore for Stuck {
        async fn find(&self, _: &str, _: &RequestContext) -> Result<Option<User>, BoxError> {
            Ok(Some(User::new("user-1", Some(hash(cheap(), "wonderland")))))
        }
        async fn update_hash(
            &self,
            user: &User,
            _: &str,
            _: &RequestContext,
        ) -> Result<(), BoxError> {
            assert_eq!(user.subject().as_str(), "user-1");
            std::future::pending().await
        }
    }
    struct Panics;
    #[async_trait]
    impl UserStore for Panics {
        async fn find(
            &self,
            name: &str,
            context: &RequestContext,
        ) -> Result<Option<User>, BoxError> {
            Stuck.find(name, context).await
        }
        async fn update_hash(&self, _: &User, _: &str, _: &RequestContext) -> Result<(), BoxError> {
            panic!("on purpose")
        }
    }
    let mut current = cheap();
    current.passes = 2;
    let (clock, events) = (ManualClock::at(noon()), Events::default());
    let stuck = HashedPasswords::builder(Stuck)
        .parameters(current)
        .environment(&Environment::new().clock(clock.clone()).observer(events.clone()));
    let (grant, _) = grant_over(stuck.build().unwrap());
    let mut login_in = Box::pin(login(&grant, "alice", "wonderland"));
    while clock.sleepers() == 0 {
        assert!(futures_util::poll!(&mut login_in).is_pending());
        tokio::task::yield_now().await;
    }
    clock.advance(Duration::from_secs(2));
    login_in.await.is_granted();
    assert_eq!(events.last(), r#"password of subject "user-1" not rehashed: "it took too long""#);

    let panics = HashedPasswords::builder(Panics)
        .parameters(current)
        .environment(&Environment::new().observer(events.clone()))
        .build()
        .unwrap();
    login(&grant_over(panics).0, "alice", "wonderland").await.is_granted();
    assert_eq!(events.last(), r#"password of subject "user-1" not rehashed: "it panicked""#);
}
