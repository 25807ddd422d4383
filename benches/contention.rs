//! Logins that meet in the same rows of a store that instances share, and logins of one user. The
//! store takes a millisecond for each round trip, and writes a row for one caller at a time.
//! `benches/README.md` explains the numbers.

mod support;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex as StdMutex};
use std::time::{Duration, Instant};

use password_grant::assertion::{AssertionKey, ClientAssertion};
use password_grant::password::Argon2Parameters;
use password_grant::state::{
    Change, Commit, InMemoryState, Loaded, StateKey, StateSecret, StateStore,
};
use password_grant::testing::InMemoryClients;
use password_grant::{
    Algorithm, BoxError, Client, ClientAuthentication, ClientSecret, Environment, Grant,
    HashedPasswords, HttpRequest, JwtIssuer, Login, LoginAttempt, PasswordGrant, RequestContext,
    User, UserAuthenticator, UserStore, async_trait,
};
use tokio::sync::{Mutex, Semaphore};

use support::keys::KeyPair;
use support::{AUDIENCE, ISSUER, PASSWORD, SCOPE, is_measured};

const AT_ONCE: usize = 100;
const SIGNING_SECRET: &str = "a secret of thirty-two bytes or more, for all who sign";
const TRIP: Duration = Duration::from_millis(1);

/// A store whose calls take a millisecond, and in which a commit holds its rows for as long.
#[derive(Default)]
struct Slow {
    store: InMemoryState,
    rows: StdMutex<HashMap<StateKey, Arc<Mutex<()>>>>,
    calls: AtomicUsize,
}

#[async_trait]
impl StateStore for Slow {
    async fn load(&self, keys: &[StateKey]) -> Result<Loaded, BoxError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(TRIP).await;
        self.store.load(keys).await
    }

    async fn commit(&self, changes: &[Change]) -> Result<Commit, BoxError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let rows: Vec<_> = {
            let mut rows = self.rows.lock().map_err(|_| "poisoned")?;
            changes.iter().map(|change| rows.entry(change.key).or_default().clone()).collect()
        };
        let mut held = Vec::new();
        for row in &rows {
            held.push(row.lock().await);
        }
        tokio::time::sleep(TRIP).await;
        self.store.commit(changes).await
    }
}

/// Accepts everybody, and takes as long as two threads take that hash for 20 ms, if there are
/// threads.
struct Anybody {
    threads: Option<Semaphore>,
}

#[async_trait]
impl UserAuthenticator for Anybody {
    async fn authenticate(&self, attempt: LoginAttempt<'_>) -> Result<Login, BoxError> {
        if let Some(threads) = &self.threads {
            let _hashing = threads.acquire().await?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(Login::accepted(attempt.username()))
    }
}

/// A table in which every user has the same password.
struct Everybody(String);

#[async_trait]
impl UserStore for Everybody {
    async fn find(&self, username: &str, _: &RequestContext) -> Result<Option<User>, BoxError> {
        Ok(Some(User::new(username, Some(self.0.clone()))))
    }

    async fn update_hash(&self, _: &User, _: &str, _: &RequestContext) -> Result<(), BoxError> {
        Ok(())
    }
}

/// What the logins of one run have in common.
#[derive(Clone, Copy)]
struct Mix {
    user: bool,
    address: bool,
    /// `None` if the client sends a secret; otherwise whether one client signs for all.
    signs: Option<bool>,
    hashes: bool,
}

const DIFFERENT: Mix = Mix { user: false, address: false, signs: None, hashes: false };

fn engine(users: impl UserAuthenticator, store: Option<Arc<Slow>>) -> PasswordGrant {
    let key = KeyPair::generate(Algorithm::Hs256);
    let register = |id: String, authentication: ClientAuthentication| {
        Client::confidential(id, authentication)
            .grants([Grant::Password])
            .scope(SCOPE.parse().expect("a scope"))
    };
    let signing = || ClientAuthentication::client_secret_jwt(SIGNING_SECRET).expect("a secret");
    let clients = (0..AT_ONCE).map(|number| register(format!("signs{number}"), signing()));
    let web = register("web".into(), ClientSecret::digest_of("web-secret").into());
    let clients = InMemoryClients::new(clients.chain([web]));
    let tokens = JwtIssuer::new(key.signing_keys(), AUDIENCE);
    let builder = PasswordGrant::builder(ISSUER, clients, users, tokens)
        .environment(&Environment::new().observer(()));
    let builder = match store {
        Some(store) => builder.shared_state(store, StateSecret::new([7; 32]).expect("a secret")),
        None => builder,
    };
    builder.build().expect("an engine")
}

/// One login, of the worker with this number. Returns whether it was granted.
async fn login(grant: &PasswordGrant, number: usize, mix: Mix) -> bool {
    let own = |shared: bool| if shared { 0 } else { number };
    let address = Ipv4Addr::from(0x0a00_0000 + u32::try_from(own(mix.address)).unwrap_or(0));
    let mut form = format!(
        "grant_type=password&username=user{}&password={PASSWORD}&scope={SCOPE}",
        own(mix.user)
    );
    let basic = b"Basic d2ViOndlYi1zZWNyZXQ=".as_slice();
    let mut headers = vec![("content-type", b"application/x-www-form-urlencoded".as_slice())];
    match mix.signs {
        None => headers.push(("authorization", basic)),
        Some(one) => {
            let key = AssertionKey::from_secret(SIGNING_SECRET).expect("a secret");
            let assertion = ClientAssertion::new(format!("signs{}", own(one)), ISSUER, key);
            for (name, value) in assertion.parameters().expect("an assertion") {
                form.push_str(&format!("&{name}={}", value.replace(':', "%3A")));
            }
        }
    }
    let request = HttpRequest::new("POST", None, headers, form.as_bytes());
    grant.token(request.peer(IpAddr::V4(address))).await.status() == 200
}

/// Logins per second of as many workers, each of which logs in again and again.
async fn per_second(mix: Mix, each: usize) -> (f64, f64) {
    let store = Arc::new(Slow::default());
    let threads = mix.hashes.then(|| Semaphore::new(2));
    let grant = engine(Anybody { threads }, Some(store.clone()));
    let each = if mix.hashes { each.min(3) } else { each };
    let start = Instant::now();
    let workers = (0..AT_ONCE).map(|number| {
        let grant = grant.clone();
        tokio::spawn(async move {
            for _ in 0..each {
                while !login(&grant, number, mix).await {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.expect("a worker");
    }
    let logins = (AT_ONCE * each) as f64;
    let calls = store.calls.load(Ordering::Relaxed) as f64;
    (logins / start.elapsed().as_secs_f64(), calls / logins)
}

/// Times of logins with real hashes, of 64 workers: the 99th percentile in milliseconds, and how
/// many were refused.
async fn with_hashes(one_user: bool, each: usize) -> (f64, usize) {
    let hash = Argon2Parameters::default().hash(PASSWORD).expect("a hash");
    let users = HashedPasswords::new(Everybody(hash)).expect("threads");
    let grant = engine(users, None);
    let mix = Mix { user: one_user, address: true, ..DIFFERENT };
    let workers = (0..64).map(|number| {
        let grant = grant.clone();
        tokio::spawn(async move {
            let mut times = Vec::new();
            for _ in 0..each {
                let start = Instant::now();
                let granted = login(&grant, number, mix).await;
                times.push((granted, start.elapsed().as_secs_f64() * 1e3));
            }
            times
        })
    });
    let mut times = Vec::new();
    for worker in workers.collect::<Vec<_>>() {
        times.extend(worker.await.expect("a worker"));
    }
    let refused = times.iter().filter(|(granted, _)| !granted).count();
    let mut times: Vec<f64> = times.into_iter().map(|(_, time)| time).collect();
    times.sort_by(f64::total_cmp);
    (times.get(times.len() * 99 / 100).copied().unwrap_or_default(), refused)
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (each, hashed) = if is_measured() { (20, 8) } else { (1, 1) };
    runtime.block_on(async {
        println!("{AT_ONCE} logins at once, 1 ms a round trip\n");
        println!("| | logins/s | of different rows | round trips |");
        println!("| --- | ---: | ---: | ---: |");
        let all_sign = Mix { signs: Some(false), ..DIFFERENT };
        let hashed_all = Mix { hashes: true, ..DIFFERENT };
        for (name, mix, floor) in [
            ("of different users from different addresses", DIFFERENT, DIFFERENT),
            ("from one address", Mix { address: true, ..DIFFERENT }, DIFFERENT),
            ("of different users, with hashes", hashed_all, hashed_all),
            ("of one user, with hashes", Mix { user: true, ..hashed_all }, hashed_all),
            ("through different signing clients", all_sign, all_sign),
            ("through one signing client", Mix { signs: Some(true), ..DIFFERENT }, all_sign),
        ] {
            // The floor and the measured mix take turns, so that both have the same machine.
            let (mut floors, mut ratios, mut speeds, mut trips) = (vec![], vec![], vec![], 0.0);
            for _ in 0..3 {
                let (floor, _) = per_second(floor, each).await;
                let (speed, calls) = per_second(mix, each).await;
                floors.push(floor);
                speeds.push(speed);
                ratios.push(speed / floor);
                trips = calls;
            }
            let ratio = support::median(ratios);
            println!("| {name} | {:.0} | {ratio:.2} | {trips:.1} |", support::median(speeds));
        }
        println!("\n64 logins at once from one address, real hashes, state in memory\n");
        println!("| | p99 | refused |");
        println!("| --- | ---: | ---: |");
        let mut ratios = Vec::new();
        for _ in 0..3 {
            let (different, refused) = with_hashes(false, hashed).await;
            println!("| of 64 users | {different:.0} ms | {refused} |");
            let (same, refused) = with_hashes(true, hashed).await;
            println!("| of one user | {same:.0} ms | {refused} |");
            ratios.push(same / different);
        }
        println!("\np99 of one user ÷ of 64 users: {:.2}", support::median(ratios));
    });
}
