//! How often a request calls a store that instances share: each call is a round trip.

use std::sync::Arc;

use password_grant::resource::Revocations;
use password_grant::{
    AccessTokenVerifier, Algorithm, AttemptLimits, Environment, PasswordGrantBuilder,
};

use crate::common::fakes::{FaultyStore, StoreFault};
use crate::common::sessions::{OFFLINE, Pair, Sessions, refreshing};
use crate::common::{AUDIENCE, Answer, ISSUER, Users};
use crate::support::{from, post_as, secret, wrong};

/// A store that counts its calls, and an engine with refresh tokens over it.
fn counted(
    configure: impl FnOnce(PasswordGrantBuilder) -> PasswordGrantBuilder,
) -> (Arc<FaultyStore>, Sessions) {
    let store = FaultyStore::new(|_| StoreFault::None);
    let build =
        |builder: PasswordGrantBuilder| configure(builder.shared_state(store.clone(), secret()));
    let sessions = Sessions::over(Users::default(), |refresh| refresh, build);
    (store.clone(), sessions)
}

/// Contracts of the limiter: a login is three round trips (a load, a commit that reserves, and one
/// that settles), four with a refresh token, a wrong password three, a refusal one, a refresh two,
/// and a question about a revocation one. The client's own count costs none of its own.
#[tokio::test]
async fn each_request_takes_as_many_round_trips_as_are_promised() {
    let (store, sessions) = counted(|builder| builder);
    let grant = &sessions.world.grant;
    // An IPv6 address has a network, so all rows of the limiter are there.
    let home = from("2001:db8::1");
    let as_app =
        async |form: &str| -> Answer { post_as(grant, &home, ("app", "app-secret"), form).await };
    let plain = OFFLINE.replace("+offline_access", "");
    let mut before = 0;
    let mut taken = || {
        let calls = store.calls();
        calls - std::mem::replace(&mut before, calls)
    };

    for which in ["the first login", "from a known origin"] {
        as_app(&plain).await.is_granted();
        assert_eq!(taken(), 3, "{which}");
    }
    for which in ["the first session", "another session"] {
        as_app(OFFLINE).await.is_granted();
        assert_eq!(taken(), 4, "{which}");
    }
    let pair = Pair::of(&as_app(OFFLINE).await);
    assert_eq!(taken(), 4);
    let pair = Pair::of(&as_app(&refreshing(&pair.refresh)).await);
    assert_eq!(taken(), 2, "a refresh");

    let verifier = AccessTokenVerifier::new(
        ISSUER,
        AUDIENCE,
        [Algorithm::Es256],
        sessions.world.keys.verification_keys().unwrap(),
    )
    .unwrap()
    .environment(&Environment::new().clock(sessions.world.clock.clone()))
    .revocations(Revocations::shared(ISSUER, store.clone(), secret()));
    verifier.verify(&pair.access).await.unwrap();
    assert_eq!(taken(), 1, "a question about a revocation");
    assert!(sessions.is_active(&pair.access).await);
    assert_eq!(taken(), 1, "introspection, without an address that could be counted");

    let elsewhere = from("2001:db8:1::1");
    let guess = async || post_as(grant, &elsewhere, ("app", "app-secret"), &wrong()).await;
    for _ in 0..10 {
        guess().await.is(400, "invalid_grant");
        assert_eq!(taken(), 3, "a wrong password");
    }
    guess().await.is(429, "temporarily_unavailable");
    assert_eq!(taken(), 1, "a refusal");

    // Since the last login from home, somebody was logged out. The subject's own row tells whether
    // it was the user, for one more load.
    grant.log_out_everywhere(&"somebody-else".into(), &home).await.unwrap();
    taken();
    for expected in [4, 3] {
        as_app(&plain).await.is_granted();
        assert_eq!(taken(), expected);
    }
}

/// What costs further calls: a host that is asked for the account, and refresh tokens without the
/// limiter.
#[tokio::test]
async fn a_login_without_limits_reads_the_last_log_out_alone() {
    let (store, sessions) = counted(PasswordGrantBuilder::dangerous_without_attempt_limits);
    let plain = OFFLINE.replace("+offline_access", "");
    sessions.ask("app", &plain).await.is_granted();
    assert_eq!(store.calls(), 1);
    sessions.ask("app", OFFLINE).await.is_granted();
    assert_eq!(store.calls(), 1 + 3);
}

/// Right logins write no row that others write too: a hundred users from one address are never in
/// conflict.
#[tokio::test]
async fn right_logins_from_one_address_write_no_row_of_each_other() {
    use std::collections::HashSet;
    use std::sync::Mutex;

    use password_grant::state::{Change, Commit, InMemoryState, Loaded, StateKey, StateStore};
    use password_grant::{BoxError, Login, async_trait};

    #[derive(Default)]
    struct Writes {
        store: InMemoryState,
        keys: Mutex<Vec<StateKey>>,
    }

    #[async_trait]
    impl StateStore for Writes {
        async fn load(&self, keys: &[StateKey]) -> Result<Loaded, BoxError> {
            self.store.load(keys).await
        }

        async fn commit(&self, changes: &[Change]) -> Result<Commit, BoxError> {
            self.keys.lock().unwrap().extend(changes.iter().map(|change| change.key));
            self.store.commit(changes).await
        }
    }

    let store = Arc::new(Writes::default());
    let anybody = Users::who(|attempt| Ok(Login::accepted(attempt.username())));
    let build = |builder: PasswordGrantBuilder| builder.shared_state(store.clone(), secret());
    let sessions = Sessions::over(anybody, |refresh| refresh, build);
    let home = from("2001:db8::1");
    let mut all = HashSet::new();
    for number in 0..100 {
        let form = OFFLINE.replace("alice", &format!("user{number}"));
        post_as(&sessions.world.grant, &home, ("app", "app-secret"), &form).await.is_granted();
        let own: HashSet<_> = store.keys.lock().unwrap().drain(..).collect();
        assert_eq!(own.len(), 3, "the account, the session and the list of sessions");
        assert!(all.is_disjoint(&own));
        all.extend(own);
    }
}

/// Transactions of one process over one row take turns, and each goes on from what the one before
/// it has written: as many logins of one user at once as are judged at once never conflict.
#[tokio::test]
async fn logins_of_one_user_at_once_are_never_in_conflict_in_one_process() {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;
    use password_grant::state::{Change, Commit, InMemoryState, Loaded, StateKey, StateStore};
    use password_grant::{BoxError, async_trait};

    /// Other requests come in between before and after each call.
    #[derive(Default)]
    struct Yielding {
        store: InMemoryState,
        conflicts: AtomicUsize,
        calls: AtomicUsize,
    }

    #[async_trait]
    impl StateStore for Yielding {
        async fn load(&self, keys: &[StateKey]) -> Result<Loaded, BoxError> {
            self.calls.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            let loaded = self.store.load(keys).await;
            tokio::task::yield_now().await;
            loaded
        }

        async fn commit(&self, changes: &[Change]) -> Result<Commit, BoxError> {
            self.calls.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            let commit = self.store.commit(changes).await?;
            tokio::task::yield_now().await;
            if let Commit::Conflict { .. } = commit {
                self.conflicts.fetch_add(1, Ordering::SeqCst);
            }
            Ok(commit)
        }
    }

    let store = Arc::new(Yielding::default());
    let build = |builder: PasswordGrantBuilder| builder.shared_state(store.clone(), secret());
    let sessions = Sessions::over(Users::default(), |refresh| refresh, build);
    let (grant, home) = (&sessions.world.grant, from("192.0.2.1"));
    let plain = OFFLINE.replace("+offline_access", "");
    let login = || post_as(grant, &home, ("app", "app-secret"), &plain);
    login().await.is_granted();
    let before = store.calls.load(Ordering::SeqCst);
    for answer in join_all((0..10).map(|_| login())).await {
        answer.is_granted();
    }
    assert_eq!(store.conflicts.load(Ordering::SeqCst), 0);
    assert_eq!(store.calls.load(Ordering::SeqCst) - before, 10 * 3);
}

/// The limits of the host are the same ones over a store that is shared.
#[tokio::test]
async fn a_refusal_by_the_address_is_one_round_trip_too() {
    let limits = AttemptLimits::default().source(2, std::time::Duration::from_secs(600));
    let (store, sessions) = counted(|builder| builder.attempt_limits(limits));
    let home = from("192.0.2.1");
    for name in ["alice", "bob"] {
        let form = wrong().replace("alice", name);
        post_as(&sessions.world.grant, &home, ("app", "app-secret"), &form)
            .await
            .is(400, "invalid_grant");
    }
    let before = store.calls();
    post_as(&sessions.world.grant, &home, ("app", "app-secret"), &wrong())
        .await
        .is(429, "temporarily_unavailable");
    assert_eq!(store.calls() - before, 1);
}
