//! New hashes, configurations that are refused, stores that fail, and slow hashes of client
//! secrets.

use std::sync::Arc;
use std::time::Duration;

use password_grant::password::{Argon2Parameters, HashingConfigError};
use password_grant::testing::ManualClock;
use password_grant::{
    BoxError, Client, ClientAuthentication, ClientBuilder, ClientSecret, Environment, Grant,
    HashedPasswords, HttpRequest, JwtIssuer, PasswordGrant, PasswordGrantBuilder, RequestContext,
    SigningKeys, User, UserStore, async_trait,
};

use crate::common::fakes::NoRandomness;
use crate::common::{AUDIENCE, Answer, Events, FORM, ISSUER, basic, clients, noon};
use crate::support::{Table, cheap, grant_over, hash, login, passwords_of};

/// `HashedPasswords::hash` refuses passwords that no login could send, so nobody enrols with one
/// that never works.
#[tokio::test]
async fn a_password_that_no_login_could_send_is_not_hashed() {
    let passwords = passwords_of(Table::default());
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

    assert!(matches!(
        builder().environment(&Environment::new().randomness(NoRandomness)).build(),
        Err(HashingConfigError::Randomness(_))
    ));
}

/// A user store that fails is a fault of the server: nothing is granted, and nobody is blamed.
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
    let (grant, _) = grant_over(passwords_of(Arc::new(Down)));
    login(&grant, "alice", "wonderland").await.is(503, "temporarily_unavailable");
}

/// Requirement 39: client secrets of low entropy have a slow hash, and each refused secret costs
/// one hash.
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
    let clients = clients();
    let engine = |configure: fn(PasswordGrantBuilder, &HashedPasswords) -> PasswordGrantBuilder| {
        let tokens = JwtIssuer::new(SigningKeys::generate().unwrap(), AUDIENCE);
        let builder = PasswordGrant::builder(ISSUER, clients.clone(), passwords.clone(), tokens)
            .environment(&Environment::new().observer(()));
        configure(builder, &passwords).build().unwrap()
    };
    // Its clients come later, as from a table.
    let unprepared = engine(|builder, _| builder);
    let both = ClientAuthentication::basic(ClientSecret::digest_of("fast secret"))
        .or_slow_hash(hash(cheap(), "legacy"));
    let slow = ClientAuthentication::basic_by_slow_hash(hash(cheap(), "sec:ret +"));
    for (id, authentication) in [("both", both), ("slow", slow)] {
        let client = Client::confidential(id, authentication).grants([Grant::Password]);
        clients.insert(client.scope("profile".parse().unwrap()));
    }
    let ask = async |grant: &PasswordGrant, id: &str, secret: &str| {
        let header = basic(id, secret);
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
    // If the client is accepted, there is one more hash, for the user's password.
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
    // A client authenticates at the other endpoints too.
    let header = basic("nobody", "wrong");
    let headers = [("content-type", FORM.as_bytes()), ("authorization", header.as_bytes())];
    let request = || HttpRequest::new("POST", None, headers, b"token=x");
    let [mut revoking, mut introspecting] = [true, false].map(|revokes| {
        let grant = held_back.clone();
        Box::pin(async move {
            let answer = if revokes {
                grant.revoke(request()).await
            } else {
                grant.introspect(request()).await
            };
            answer.status()
        })
    });
    while clock.sleepers() < 2 {
        assert!(futures_util::poll!(&mut revoking).is_pending());
        assert!(futures_util::poll!(&mut introspecting).is_pending());
        tokio::task::yield_now().await;
    }
    clock.advance(Duration::from_secs(1));
    assert_eq!((revoking.await, introspecting.await), (401, 401));
    // If the identifier has several readings, only one client's hash is compared: that of a client
    // that could authenticate by it.
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

    assert_eq!(
        ask(&unprepared, "slow", "sec:ret +").await.0,
        refused,
        "that there is such a client is not told"
    );
    ask(&unprepared, "both", "fast secret").await.0.is_granted();
}
