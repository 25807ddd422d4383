//! Password hashes at an equal and bounded cost.
#![cfg(feature = "argon2")]

mod common;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use common::{AUDIENCE, Answer, Events, FORM, ISSUER, noon};
use password_grant::environment::{RandomnessError, SecureRandom, SystemRandom};
use password_grant::password::{AccountState, Argon2Parameters, HashError, HashingConfigError};
use password_grant::testing::ManualClock;
use password_grant::{
    BoxError, Client, ClientAuthentication, ClientBuilder, ClientSecret, Environment, Grant,
    HashedPasswords, HttpRequest, JwtIssuer, Login, LoginAttempt, PasswordGrant,
    PasswordGrantBuilder, RequestContext, SigningKeys, User, UserStore, async_trait,
};

/// Cheap enough to hash by the hundred in a test.
fn cheap() -> Argon2Parameters {
    Argon2Parameters::new(64, 1, 1)
}

fn hash(parameters: Argon2Parameters, password: &str) -> String {
    parameters.hash(password).unwrap()
}

/// A user table in memory, which counts what it is asked.
#[derive(Clone, Default)]
struct Table {
    users: Arc<Mutex<HashMap<String, User>>>,
    accepted: Arc<AtomicUsize>,
    updates: Arc<Mutex<Vec<(String, String)>>>,
    update_fails: bool,
}

impl Table {
    fn of<const N: usize>(users: [(&str, User); N]) -> Self {
        let table = Self::default();
        table.users.lock().unwrap().extend(users.map(|(name, user)| (name.to_owned(), user)));
        table
    }
}

#[async_trait]
impl UserStore for Table {
    async fn find(&self, username: &str, _: &RequestContext) -> Result<Option<User>, BoxError> {
        Ok(self.users.lock().unwrap().get(username).cloned())
    }

    async fn update_hash(
        &self,
        user: &User,
        new_hash: &str,
        _: &RequestContext,
    ) -> Result<(), BoxError> {
        let old = user.password_hash().unwrap_or_default().to_owned();
        self.updates.lock().unwrap().push((old, new_hash.to_owned()));
        if self.update_fails { Err("read-only replica".into()) } else { Ok(()) }
    }

    async fn accept(
        &self,
        _: &User,
        _: &LoginAttempt<'_>,
        login: Login,
    ) -> Result<Login, BoxError> {
        self.accepted.fetch_add(1, Ordering::SeqCst);
        Ok(login)
    }
}

fn grant_over(users: HashedPasswords) -> (PasswordGrant, Events) {
    let events = Events::default();
    let tokens = JwtIssuer::new(SigningKeys::generate().unwrap(), AUDIENCE);
    let builder = PasswordGrant::builder(ISSUER, common::clients(), users, tokens);
    (builder.environment(&Environment::new().observer(events.clone())).build().unwrap(), events)
}

fn form(username: &str, password: &str, scope: &str) -> String {
    let pairs = [("username", username), ("password", password), ("scope", scope)];
    serde_urlencoded::to_string(
        [("grant_type", "password"), ("client_id", "mobile")]
            .iter()
            .chain(&pairs)
            .collect::<Vec<_>>(),
    )
    .unwrap()
}

async fn login(grant: &PasswordGrant, username: &str, password: &str) -> Answer {
    let body = form(username, password, "profile");
    grant
        .token(HttpRequest::new("POST", None, [("content-type", FORM.as_bytes())], body.as_bytes()))
        .await
        .into()
}

#[tokio::test]
async fn a_right_password_is_accepted_as_it_was_typed_and_no_other() {
    let table = Table::of([
        ("alice", User::new("user-1", Some(hash(cheap(), "wonderland")))),
        ("zoë", User::new("user-2", Some(hash(cheap(), " pässwörd +&=% ")))),
    ]);
    let (grant, _) =
        grant_over(HashedPasswords::builder(table).parameters(cheap()).build().unwrap());
    assert_eq!(login(&grant, "alice", "wonderland").await.claims()["sub"], "user-1");
    assert_eq!(login(&grant, "zoë", " pässwörd +&=% ").await.claims()["sub"], "user-2");
    for (username, password) in [
        ("alice", "Wonderland"),
        ("alice", "wonderland "),
        ("alice", "wonderlan"),
        ("zoë", "pässwörd +&=%"),
        ("zoe\u{308}", " pässwörd +&=% "), // another spelling of the name: the host decides, and this one says no
        ("Alice", "wonderland"),
        ("alice ", "wonderland"),
    ] {
        login(&grant, username, password).await.is(400, "invalid_grant");
    }
}

/// I15, I18, I20; requirements 25, 69, 70. The hashing itself is counted in `every_cause_costs_one_equal_hash`.
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
    let (grant, events) = grant_over(
        HashedPasswords::builder(table)
            .parameters(cheap())
            .environment(&Environment::new().observer(()))
            .build()
            .unwrap(),
    );
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

/// I15, I17; requirement 69; each cause is verified exactly once, with the current parameters.
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

/// What is said of salts, outputs and passes is so.
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
    let passwords = HashedPasswords::builder(table.clone())
        .parameters(cheap())
        .environment(&Environment::new().observer(()))
        .build()
        .unwrap();
    let (grant, events) = grant_over(passwords);
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

/// I25, requirement 78: whatever the table holds, verifying it neither panics nor costs more than the ceiling.
#[tokio::test]
async fn stored_hashes_beyond_the_ceiling_are_refused() {
    let real = hash(cheap(), "wonderland");
    let table = Table::default();
    let passwords = HashedPasswords::builder(table.clone())
        .parameters(cheap())
        .environment(&Environment::new().observer(()))
        .build()
        .unwrap();
    let (grant, events) = grant_over(passwords);
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
        (real.replace("v=19$", ""), true), // an absent version is the current one: what it is hashed with
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

    // A table that cannot be written fails no login.
    table.update_fails = true;
    let (grant, _) = grant_over(passwords(&table).build().unwrap());
    table.users.lock().unwrap().insert("weak".into(), User::new("1", weak()));
    login(&grant, "weak", "wonderland").await.is_granted();
    assert_eq!(events.last(), r#"password of subject "1" not rehashed: "read-only replica""#);
}

/// Less memory times passes is weaker; less of the one and more of the other is left alone.
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

/// Requirement 75: the hook cannot fail the login, whatever it does.
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

#[tokio::test]
async fn a_host_decides_what_becomes_of_a_right_password() {
    struct Careful;
    #[async_trait]
    impl UserStore for Careful {
        async fn find(&self, _: &str, _: &RequestContext) -> Result<Option<User>, BoxError> {
            Ok(Some(User::new("user-1", Some(hash(cheap(), "wonderland")))))
        }
        async fn update_hash(&self, _: &User, _: &str, _: &RequestContext) -> Result<(), BoxError> {
            Ok(())
        }
        async fn accept(
            &self,
            _: &User,
            attempt: &LoginAttempt<'_>,
            login: Login,
        ) -> Result<Login, BoxError> {
            match attempt.username() {
                "mfa" => Ok(Login::more_needed("mfa_required").member("mfa_token", "m-1")),
                "broken" => Err("directory unreachable".into()),
                _ => Ok(login.claim("roles", "staff")),
            }
        }
    }
    let (grant, _) =
        grant_over(HashedPasswords::builder(Careful).parameters(cheap()).build().unwrap());
    login(&grant, "mfa", "wonderland").await.is(403, "mfa_required");
    login(&grant, "mfa", "wrong").await.is(400, "invalid_grant");
    login(&grant, "broken", "wonderland").await.is(503, "temporarily_unavailable");
    assert_eq!(login(&grant, "anybody", "wonderland").await.claims()["roles"], "staff");
}

/// I7, I18: a hook that forgets the state of an account, or its scope, cannot let anybody in.
#[tokio::test]
async fn a_hosts_hook_cannot_accept_whom_the_account_state_rejects() {
    struct Hasty(AccountState);
    #[async_trait]
    impl UserStore for Hasty {
        async fn find(&self, _: &str, _: &RequestContext) -> Result<Option<User>, BoxError> {
            let user = User::new("user-1", Some(hash(cheap(), "wonderland"))).state(self.0);
            Ok(Some(user.scope("profile".parse().unwrap())))
        }
        async fn update_hash(&self, _: &User, _: &str, _: &RequestContext) -> Result<(), BoxError> {
            Ok(())
        }
        async fn accept(
            &self,
            user: &User,
            _: &LoginAttempt<'_>,
            _: Login,
        ) -> Result<Login, BoxError> {
            Ok(Login::accepted(user.subject().clone())
                .scope("profile orders:read".parse().unwrap()))
        }
    }
    struct Diligent;
    #[async_trait]
    impl UserStore for Diligent {
        async fn find(
            &self,
            name: &str,
            context: &RequestContext,
        ) -> Result<Option<User>, BoxError> {
            Hasty(AccountState::SecondFactorRequired).find(name, context).await
        }
        async fn update_hash(&self, _: &User, _: &str, _: &RequestContext) -> Result<(), BoxError> {
            Ok(())
        }
        async fn accept(
            &self,
            user: &User,
            attempt: &LoginAttempt<'_>,
            login: Login,
        ) -> Result<Login, BoxError> {
            assert!(!login.is_accepted());
            Ok(match attempt.username() {
                "passed" => user.second_factor_passed(),
                "other" => Login::accepted("somebody else"),
                _ => login,
            })
        }
    }
    let grant = |state| {
        grant_over(HashedPasswords::builder(Hasty(state)).parameters(cheap()).build().unwrap()).0
    };
    for state in [
        AccountState::Disabled,
        AccountState::Locked,
        AccountState::Expired,
        AccountState::PasswordChangeRequired,
    ] {
        login(&grant(state), "alice", "wonderland").await.is(400, "invalid_grant");
    }
    login(&grant(AccountState::SecondFactorRequired), "alice", "wonderland")
        .await
        .is(400, "invalid_grant");
    let body = form("alice", "wonderland", "profile orders:read");
    let request =
        HttpRequest::new("POST", None, [("content-type", FORM.as_bytes())], body.as_bytes());
    let answer = Answer::from(grant(AccountState::Active).token(request).await);
    assert_eq!(answer.is_granted()["scope"], "profile");

    let (diligent, events) =
        grant_over(HashedPasswords::builder(Diligent).parameters(cheap()).build().unwrap());
    assert_eq!(login(&diligent, "passed", "wonderland").await.claims()["sub"], "user-1");
    login(&diligent, "unasked", "wonderland").await.is(400, "invalid_grant");
    assert!(events.last().ends_with("rejected: SecondFactorRequired"));
    login(&diligent, "other", "wonderland").await.is(503, "temporarily_unavailable");
    assert!(events.last().contains("another subject"), "{}", events.last());
}

#[tokio::test]
async fn a_users_own_scope_narrows_the_token() {
    let user = User::new("user-1", Some(hash(cheap(), "wonderland")))
        .scope("orders:read profile".parse().unwrap());
    let narrow = User::new("user-2", Some(hash(cheap(), "wonderland")))
        .scope("orders:read".parse().unwrap());
    let table = Table::of([("alice", user), ("narrow", narrow)]);
    let (grant, _) =
        grant_over(HashedPasswords::builder(table).parameters(cheap()).build().unwrap());
    assert_eq!(login(&grant, "alice", "wonderland").await.is_granted()["scope"], "profile");
    login(&grant, "narrow", "wonderland").await.is(400, "invalid_scope");
}

/// Blocks in the salt of a new hash, which is made on a hashing thread. So a test can
/// keep the threads busy for exactly as long as it wants.
#[derive(Clone)]
struct Gate {
    shut: Arc<Mutex<Option<mpsc::Receiver<()>>>>,
    entered: Arc<AtomicUsize>,
}

impl Gate {
    fn new() -> (Self, mpsc::Sender<()>) {
        let (open, shut) = mpsc::channel();
        (Self { shut: Arc::new(Mutex::new(Some(shut))), entered: Arc::default() }, open)
    }
}

impl SecureRandom for Gate {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomnessError> {
        if std::thread::current().name().is_some_and(|name| name.starts_with("password-hash")) {
            self.entered.fetch_add(1, Ordering::SeqCst);
            if let Some(shut) = self.shut.lock().unwrap().as_ref() {
                let _ = shut.recv();
            }
        }
        SystemRandom::new().fill(bytes)
    }
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

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

    // One hash keeps the only thread busy; whoever asked for it goes away, and the thread stays busy all the same.
    let mut busy = Box::pin(passwords.hash("new password"));
    assert!(futures_util::poll!(&mut busy).is_pending());
    until(|| gate.entered.load(Ordering::SeqCst) == 1).await;
    drop(busy);

    let (mut first, mut second) =
        (Box::pin(login(&grant, "alice", "wonderland")), Box::pin(login(&grant, "nobody", "x")));
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
    second.await.is(400, "invalid_grant");
    assert_eq!(gate.entered.load(Ordering::SeqCst), 1);
}

/// I24: dropped requests do not make more hashing threads, and what nobody waits for any more is not hashed at all.
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
    // Each of two threads had at most one in hand when its caller went; the last one waited for.
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

/// A panic in one job must not cost a thread, or a few of them would end all logins.
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

/// What `HashedPasswords::hash` stores is what a login can send: nobody enrols a password that never works.
#[tokio::test]
async fn a_password_that_no_login_could_send_is_not_hashed() {
    let passwords = HashedPasswords::builder(Table::default()).parameters(cheap()).build().unwrap();
    let longest = "a".repeat(1024);
    for (password, usable) in [
        ("correct horse", true),
        (" \t~é🔑", true),
        (&longest, true),
        ("", false),
        (&format!("{longest}a"), false),
        ("a\0b", false),
        ("a\nb", false),
        ("a\rb", false),
        ("a\u{7f}b", false),
    ] {
        assert_eq!(passwords.hash(password).await.is_ok(), usable, "{password:?}");
        assert_eq!(cheap().hash(password).is_ok(), usable, "{password:?}");
    }
    let wider = HashedPasswords::builder(Table::default())
        .parameters(cheap())
        .password_limit(2000)
        .build()
        .unwrap();
    assert!(wider.hash(&"a".repeat(2000)).await.is_ok());
}

#[tokio::test]
async fn two_hashes_of_a_password_differ() {
    let stored = [hash(cheap(), "wonderland"), hash(cheap(), "wonderland")];
    assert_ne!(stored[0], stored[1]);
    assert!(stored[0].starts_with("$argon2id$v=19$m=64,t=1,p=1$"));
    assert!(hash(Argon2Parameters::default(), "x").starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
}

#[test]
fn what_cannot_be_afforded_is_refused_when_it_is_built() {
    let builder = || HashedPasswords::builder(Table::default()).parameters(cheap());
    let over = builder().threads(3).memory_budget_kib(2 * 64 * 1024).build();
    assert!(matches!(
        over,
        Err(HashingConfigError::MemoryBudget {
            threads: 3,
            memory_kib: 65_536,
            budget_kib: 131_072
        })
    ));
    assert!(builder().threads(2).memory_budget_kib(2 * 64 * 1024).build().is_ok());
    assert!(matches!(
        builder().memory_budget_kib(1).build(),
        Err(HashingConfigError::MemoryBudget { .. })
    ));
    assert!(builder().strongest_stored(cheap()).threads(2).memory_budget_kib(128).build().is_ok());

    let mut none = cheap();
    none.memory_kib = 1;
    let built = HashedPasswords::builder(Table::default()).parameters(none).build();
    assert!(matches!(built, Err(HashingConfigError::Parameters)));

    struct Broken;
    impl SecureRandom for Broken {
        fn fill(&self, _: &mut [u8]) -> Result<(), RandomnessError> {
            Err(RandomnessError::new())
        }
    }
    assert!(matches!(
        builder().environment(&Environment::new().randomness(Broken)).build(),
        Err(HashingConfigError::Randomness(_))
    ));
}

/// A user store that fails is our trouble: nothing is granted, nobody blamed.
#[tokio::test]
async fn a_user_store_that_fails_is_503() {
    struct Down;
    #[async_trait]
    impl UserStore for Down {
        async fn find(&self, _: &str, _: &RequestContext) -> Result<Option<User>, BoxError> {
            Err("connection refused".into())
        }
        async fn update_hash(&self, _: &User, _: &str, _: &RequestContext) -> Result<(), BoxError> {
            Ok(())
        }
    }
    let (grant, _) =
        grant_over(HashedPasswords::builder(Arc::new(Down)).parameters(cheap()).build().unwrap());
    login(&grant, "alice", "wonderland").await.is(503, "temporarily_unavailable");
}

/// Requirement 39: secrets of little entropy have a slow hash of their own, and every refused secret costs one.
#[tokio::test]
async fn a_client_secret_stored_as_a_slow_hash_is_verified_on_the_hashing_threads() {
    let hashed = Events::default();
    let passwords = HashedPasswords::builder(Table::of([(
        "alice",
        User::new("1", Some(hash(cheap(), "wonderland"))),
    )]));
    let passwords = passwords
        .parameters(cheap())
        .environment(&Environment::new().observer(hashed.clone()))
        .build()
        .unwrap();
    let clients = common::clients();
    let both = ClientAuthentication::basic(ClientSecret::digest_of("fast secret"))
        .or_slow_hash(hash(cheap(), "legacy"));
    let slow = ClientAuthentication::basic_by_slow_hash(hash(cheap(), "sec:ret +"));
    for (id, authentication) in [("both", both), ("slow", slow)] {
        let client = Client::confidential(id, authentication).grants([Grant::Password]);
        clients.insert(client.scope("profile".parse().unwrap()));
    }
    let engine = |configure: fn(PasswordGrantBuilder, &HashedPasswords) -> PasswordGrantBuilder| {
        let tokens = JwtIssuer::new(SigningKeys::generate().unwrap(), AUDIENCE);
        let builder = PasswordGrant::builder(ISSUER, clients.clone(), passwords.clone(), tokens)
            .environment(&Environment::new().observer(()));
        configure(builder, &passwords).build().unwrap()
    };
    let ask = async |grant: &PasswordGrant, id: &str, secret: &str| {
        let header = common::basic(id, secret);
        let headers = [("content-type", FORM.as_bytes()), ("authorization", header.as_bytes())];
        let body = "grant_type=password&username=alice&password=wonderland&scope=profile";
        let before = hashed.lines().len();
        let answer = Answer::from(
            grant.token(HttpRequest::new("POST", None, headers, body.as_bytes())).await,
        );
        (answer, hashed.lines().len() - before)
    };
    let grant = engine(PasswordGrantBuilder::slow_client_secrets);
    let (refused, _) = ask(&grant, "nobody", "x").await;
    refused.is(401, "invalid_client");
    // One hash for the user's password where the client is accepted.
    for (id, secret, accepted, hashes) in [
        ("slow", "sec:ret +", true, 3), // read encoded, then raw
        ("slow", "sec%3Aret+%2B", true, 2),
        ("both", "legacy", true, 2),
        ("both", "fast secret", true, 1),
        ("web", "web-secret", true, 1),
        ("slow", "wrong", false, 1),
        ("slow", "wr%6Fng", false, 2),
        ("nobody", "wr%6Fng", false, 2),
        ("both", "wrong", false, 1),
        ("web", "wrong", false, 1),
        ("nobody", "wrong", false, 1),
        ("slow", "", false, 0),
        ("nobody", "", false, 0),
    ] {
        let (answer, counted) = ask(&grant, id, secret).await;
        if accepted {
            answer.is_granted();
        } else {
            assert_eq!(answer, refused, "{id} {secret}");
        }
        assert_eq!(counted, hashes, "{id} {secret}");
    }
    let clock = ManualClock::at(noon());
    let tokens = JwtIssuer::new(SigningKeys::generate().unwrap(), AUDIENCE);
    let builder = PasswordGrant::builder(ISSUER, clients.clone(), passwords.clone(), tokens)
        .environment(&Environment::new().observer(()));
    let builder = builder
        .slow_client_secrets(&passwords)
        .environment(&Environment::new().observer(()).clock(clock.clone()))
        .min_failure_time(Duration::from_secs(1));
    let held_back = builder.build().unwrap();
    let mut waiting = Box::pin(ask(&held_back, "nobody", "wrong"));
    while clock.sleepers() == 0 {
        assert!(futures_util::poll!(&mut waiting).is_pending());
        tokio::task::yield_now().await;
    }
    clock.advance(Duration::from_secs(1));
    assert_eq!(waiting.await.0, refused);
    // Where the identifier can be read in several ways, one client's hash is compared: of one that could log in by it.
    let slow = |id: &str| {
        Client::confidential(id, ClientAuthentication::basic_by_slow_hash(hash(cheap(), "legacy")))
    };
    let insert = |client: ClientBuilder| {
        clients.insert(client.grants([Grant::Password]).scope("profile".parse().unwrap()))
    };
    insert(slow("a+b"));
    assert_eq!(ask(&grant, "a+b", "legacy").await.0.status, 200);
    insert(slow("a b").disabled());
    assert_eq!(
        ask(&grant, "a+b", "legacy").await.0.status,
        200,
        "a disabled one stands in nobody's way"
    );
    insert(slow("a b"));
    assert_eq!(
        ask(&grant, "a+b", "legacy").await,
        (refused.clone(), 1),
        "either could be meant, and a decoy is compared"
    );
    assert_eq!(ask(&grant, "a%2Bb", "legacy").await.0.status, 200, "one of them is");
    insert(Client::confidential("a b", ClientSecret::digest_of("fast secret")));
    assert_eq!(ask(&grant, "a+b", "legacy").await.0.status, 200);
    assert_eq!(ask(&grant, "a%20b", "fast secret").await.0.status, 200);
    assert_eq!(ask(&grant, "a+b", "wrong").await, (refused.clone(), 1));
    let broken = ClientAuthentication::basic_by_slow_hash("$2b$12$of.another.kind");
    clients.insert(Client::confidential("broken", broken).grants([Grant::Password]));
    assert_eq!(ask(&grant, "broken", "x").await, (refused.clone(), 1));

    let unprepared = engine(|builder, _| builder);
    assert_eq!(
        ask(&unprepared, "slow", "sec:ret +").await.0,
        refused,
        "that there is such a client is not told"
    );
    ask(&unprepared, "both", "fast secret").await.0.is_granted();
}
