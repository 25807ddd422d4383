//! One answer and one hash, whatever the cause of a refusal.

use std::sync::atomic::Ordering;

use password_grant::password::AccountState;
use password_grant::{Environment, HashedPasswords, User};

use crate::common::Events;
use crate::support::{Table, cheap, grant_over, hash, login, passwords_of};

#[tokio::test]
async fn a_right_password_is_accepted_as_it_was_typed_and_no_other() {
    let table = Table::of([
        ("alice", User::new("user-1", Some(hash(cheap(), "wonderland")))),
        ("zoë", User::new("user-2", Some(hash(cheap(), " pässwörd +&=% ")))),
    ]);
    let (grant, _) = grant_over(passwords_of(table));
    assert_eq!(login(&grant, "alice", "wonderland").await.claims()["sub"], "user-1");
    assert_eq!(login(&grant, "zoë", " pässwörd +&=% ").await.claims()["sub"], "user-2");
    for (username, password) in [
        ("alice", "Wonderland"),
        ("alice", "wonderland "),
        ("alice", "wonderlan"),
        ("zoë", "pässwörd +&=%"),
        // Another spelling of the name. The host decides, and this one does not find it.
        ("zoe\u{308}", " pässwörd +&=% "),
        ("Alice", "wonderland"),
        ("alice ", "wonderland"),
    ] {
        login(&grant, username, password).await.is(400, "invalid_grant");
    }
}

/// Incidents I15, I18, I20; requirements 25, 69, 70. The hashes are counted in
/// `every_cause_costs_one_equal_hash`.
#[tokio::test]
async fn nobody_can_tell_why_a_login_failed() {
    let stored = || Some(hash(cheap(), "wonderland"));
    let table = Table::of([
        ("alice", User::new("1", stored())),
        ("passwordless", User::new("2", None)),
        ("disabled", User::new("3", stored()).state(AccountState::Disabled)),
        ("locked", User::new("4", stored()).state(AccountState::Locked)),
        ("expired", User::new("5", stored()).state(AccountState::Expired)),
        ("stale", User::new("6", stored()).state(AccountState::PasswordChangeRequired)),
        ("mfa", User::new("7", stored()).state(AccountState::SecondFactorRequired)),
        (
            "bcrypt",
            User::new(
                "8",
                Some("$2b$12$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234".into()),
            ),
        ),
        ("garbage", User::new("9", Some("*".into()))),
        ("plain", User::new("10", Some("wonderland".into()))),
        ("empty", User::new("11", Some(String::new()))),
        (
            "hostile",
            User::new(
                "12",
                Some("$argon2id$v=19$m=4194304,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo".into()),
            ),
        ),
    ]);
    let accepted = table.accepted.clone();
    let (grant, events) = grant_over(passwords_of(table));
    let expected = login(&grant, "alice", "wrong").await;
    expected.is(400, "invalid_grant");
    for (username, password, reason) in [
        ("nobody", "wonderland", "UnknownUser"),
        ("passwordless", "wonderland", "NoPassword"),
        ("passwordless", "x", "NoPassword"),
        ("disabled", "wonderland", "Disabled"),
        ("disabled", "wrong", "WrongPassword"),
        ("locked", "wonderland", "Locked"),
        ("expired", "wonderland", "Expired"),
        ("stale", "wonderland", "PasswordChangeRequired"),
        ("mfa", "wonderland", "SecondFactorRequired"),
        ("bcrypt", "wonderland", "UnusableHash"),
        ("garbage", "*", "UnusableHash"),
        ("plain", "wonderland", "UnusableHash"),
        ("empty", "wonderland", "UnusableHash"),
        ("hostile", "wonderland", "UnusableHash"),
    ] {
        assert_eq!(login(&grant, username, password).await, expected, "{username}");
        assert!(events.last().ends_with(&format!("rejected: {reason}")), "{}", events.last());
    }
    assert_eq!(accepted.load(Ordering::SeqCst), 1, "the host is asked for the second factor alone");
}

/// Incidents I15, I17; requirement 69: every cause costs exactly one hash, with the current
/// parameters.
#[tokio::test]
async fn every_cause_costs_one_equal_hash() {
    let stored = || Some(hash(cheap(), "wonderland"));
    let table = Table::of([
        ("alice", User::new("1", stored())),
        ("passwordless", User::new("2", None)),
        ("disabled", User::new("3", stored()).state(AccountState::Disabled)),
        ("locked", User::new("4", stored()).state(AccountState::Locked)),
        ("garbage", User::new("5", Some("*".into()))),
        (
            "hostile",
            User::new(
                "6",
                Some("$argon2id$v=19$m=4194304,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo".into()),
            ),
        ),
    ]);
    let hashed = Events::default();
    let passwords = HashedPasswords::builder(table)
        .parameters(cheap())
        .environment(&Environment::new().observer(hashed.clone()))
        .build()
        .unwrap();
    let (grant, _) = grant_over(passwords);
    for username in ["alice", "nobody", "passwordless", "disabled", "locked", "garbage", "hostile"]
    {
        for password in ["wonderland", "wrong"] {
            let before = hashed.lines().len();
            login(&grant, username, password).await;
            let lines: Vec<_> = hashed.lines().split_off(before);
            let verified: Vec<_> =
                lines.iter().filter(|line| line.starts_with("password verified")).collect();
            assert_eq!(verified, ["password verified with m=64,t=1,p=1"], "{username} {password}");
        }
    }
}
