//! 64 password logins at once through the whole engine, with real Argon2id hashes: on the threads
//! of `HashedPasswords`, and in three simpler ways. `benches/README.md` explains the numbers.
//!
//! Every variant runs in a process of its own, since peak memory is measured per process.

mod support;

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use password_grant::password::Argon2Parameters;
use password_grant::{
    BoxError, Environment, HashedPasswords, Login, LoginAttempt, PasswordGrant, Rejection,
    RequestContext, User, UserAuthenticator, UserStore, async_trait,
};
use tokio::runtime::{Builder, Handle};
use tokio::sync::Semaphore;

use support::keys::KeyPair;
use support::{
    PASSWORD, SUBJECT, TrivialUser, USERNAME, engine_with, is_measured, median, peak_mib, request,
};

const AT_ONCE: usize = 64;
const VARIANTS: [(&str, &str); 6] = [
    ("idle", "no login at all"),
    ("dedicated", "`HashedPasswords`: dedicated threads"),
    ("inline", "hashing inline on the async worker"),
    ("unbounded", "`spawn_blocking`, unbounded"),
    ("semaphore", "`spawn_blocking` behind a semaphore"),
    ("bare", "bare hashes on one thread a core, no engine"),
];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments
        .iter()
        .position(|argument| argument == "--variant")
        .and_then(|at| arguments.get(at + 1))
    {
        Some(variant) => println!("{}", run(variant, is_measured())),
        None => compare(is_measured()),
    }
}

// -------------------------------------------------------------------------------------------------
// The parent: one process per variant, one table
// -------------------------------------------------------------------------------------------------

fn compare(measured: bool) {
    let cores = cores();
    let mut one_hash = vec![time_of_one_hash()];
    let results = VARIANTS.map(|(variant, _)| {
        let result = in_own_process(variant, measured);
        one_hash.push(time_of_one_hash());
        result
    });
    let one_hash = median(one_hash);
    let most = cores as f64 / one_hash;

    println!(
        "{AT_ONCE} logins at once, {cores} cores, one hash {:.1} ms, so at most {most:.0} logins/s\n",
        one_hash * 1e3
    );
    println!(
        "| | logins/s | of cores ÷ one hash | CPU per login | another route p50 | p99 | peak memory |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    for ((_, name), result) in VARIANTS.iter().zip(results) {
        let share = 100.0 * result.logins_per_second / most;
        println!(
            "| {name} | {:.0} | {share:.0} % | {:.1} ms | {:.2} ms | {:.2} ms | {:.0} MiB |",
            result.logins_per_second,
            result.cpu_ms,
            result.route_p50_ms,
            result.route_p99_ms,
            result.peak_mib
        );
    }
}

struct Outcome {
    logins_per_second: f64,
    cpu_ms: f64,
    route_p50_ms: f64,
    route_p99_ms: f64,
    peak_mib: f64,
}

fn in_own_process(variant: &str, measured: bool) -> Outcome {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--variant", variant]);
    if measured {
        command.arg("--bench");
    }
    let output = command.output().expect("a process");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let numbers: Vec<f64> =
        text.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    let [logins_per_second, cpu_ms, route_p50_ms, route_p99_ms, peak_mib] = numbers[..] else {
        panic!("{variant} failed: {text}{}", String::from_utf8_lossy(&output.stderr));
    };
    Outcome { logins_per_second, cpu_ms, route_p50_ms, route_p99_ms, peak_mib }
}

/// The seconds of one hash on one core, in memory that is kept.
fn time_of_one_hash() -> f64 {
    let stored = Stored::new();
    let mut memory = vec![Block::default(); Params::default().block_count()];
    let once = |memory: &mut Vec<Block>| {
        let start = Instant::now();
        assert!(stored.verify_in(memory, PASSWORD));
        start.elapsed().as_secs_f64()
    };
    once(&mut memory);
    median((0..9).map(|_| once(&mut memory)).collect())
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

// -------------------------------------------------------------------------------------------------
// One variant
// -------------------------------------------------------------------------------------------------

fn run(variant: &str, measured: bool) -> String {
    let total = if measured { 128 } else { 2 };
    let runtime = Builder::new_multi_thread()
        .worker_threads(cores())
        .enable_all()
        .build()
        .expect("a runtime");
    let key = KeyPair::generate(password_grant::Algorithm::Hs256);
    let grant = match variant {
        "dedicated" => engine_with(
            HashedPasswords::builder(Table::new())
                .environment(&Environment::new().observer(()))
                .build()
                .expect("threads"),
            &key,
        ),
        "inline" => engine_with(Inline(Stored::new()), &key),
        "unbounded" => engine_with(Unbounded(Arc::new(Stored::new())), &key),
        "semaphore" => engine_with(Bounded(Arc::new(Stored::new()), Semaphore::new(cores())), &key),
        _ => engine_with(TrivialUser::new(), &key),
    };

    let done = Arc::new(AtomicBool::new(false));
    let route = std::thread::spawn({
        let (handle, done) = (runtime.handle().clone(), done.clone());
        move || call_another_route(&handle, &done)
    });
    std::thread::sleep(Duration::from_millis(20));
    let (start, cpu) = (Instant::now(), cpu_time_ms());
    let logins = match variant {
        "idle" => {
            std::thread::sleep(if measured {
                Duration::from_secs(2)
            } else {
                Duration::from_millis(20)
            });
            0
        }
        "bare" => hash_on_every_core(total),
        _ => runtime.block_on(log_in(grant, total)),
    };
    let took = start.elapsed().as_secs_f64();
    let cpu = if logins == 0 { 0.0 } else { (cpu_time_ms() - cpu) / logins as f64 };
    done.store(true, Ordering::Relaxed);
    let latencies = route.join().expect("the other route");
    let (p50, p99) = (percentile(&latencies, 0.5), percentile(&latencies, 0.99));
    format!("{} {cpu} {p50} {p99} {}", logins as f64 / took, peak_mib())
}

/// Keeps `AT_ONCE` logins running until `total` are done.
async fn log_in(grant: PasswordGrant, total: usize) -> usize {
    let left = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let (grant, left) = (grant.clone(), left.clone());
            tokio::spawn(async move {
                let mut done = 0;
                while left.fetch_add(1, Ordering::Relaxed) < total {
                    assert_eq!(grant.token(request()).await.status(), 200);
                    done += 1;
                }
                done
            })
        })
        .collect();
    let mut done = 0;
    for client in clients {
        done += client.await.expect("a client");
    }
    done
}

/// The upper bound of what the machine can do.
fn hash_on_every_core(total: usize) -> usize {
    let left = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..cores() {
            scope.spawn(|| {
                let stored = Stored::new();
                let mut memory = vec![Block::default(); Params::default().block_count()];
                while left.fetch_add(1, Ordering::Relaxed) < total {
                    assert!(stored.verify_in(&mut memory, PASSWORD));
                }
            });
        }
    });
    total
}

/// Sends a request to a route that does nothing every millisecond, and returns the latencies in
/// milliseconds. It sends from outside the runtime, so that a blocked runtime does not stop the
/// measurement.
fn call_another_route(runtime: &Handle, done: &AtomicBool) -> Vec<f64> {
    let latencies = Arc::new(Mutex::new(Vec::new()));
    let mut calls = Vec::new();
    let mut next = Instant::now();
    while !done.load(Ordering::Relaxed) {
        let (sent, latencies) = (Instant::now(), latencies.clone());
        calls.push(runtime.spawn(async move {
            tokio::task::yield_now().await;
            latencies.lock().expect("no panic").push(sent.elapsed().as_secs_f64() * 1e3);
        }));
        next += Duration::from_millis(1);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    for call in calls {
        runtime.block_on(call).expect("the route");
    }
    let latencies = latencies.lock().expect("no panic");
    latencies.clone()
}

fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let index = (sorted.len() as f64 * share) as usize;
    sorted.get(index.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// The CPU time of all threads of this process in milliseconds. Linux counts it in hundredths of a
/// second; on other systems the result is zero.
fn cpu_time_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|number| number.parse::<f64>().ok());
    ticks.sum::<f64>() * 10.0
}

// -------------------------------------------------------------------------------------------------
// The user tables
// -------------------------------------------------------------------------------------------------

/// The hash of the one user, in the engine's form.
struct Table(User);

impl Table {
    fn new() -> Self {
        Self(User::new(SUBJECT, Some(Argon2Parameters::default().hash(PASSWORD).expect("a hash"))))
    }
}

#[async_trait]
impl UserStore for Table {
    async fn find(&self, username: &str, _: &RequestContext) -> Result<Option<User>, BoxError> {
        Ok((username == USERNAME).then(|| self.0.clone()))
    }

    async fn update_hash(&self, _: &User, _: &str, _: &RequestContext) -> Result<(), BoxError> {
        Ok(())
    }
}

/// The hash of the one user, for the variants that call Argon2 themselves.
struct Stored {
    salt: [u8; 16],
    hash: [u8; 32],
}

impl Stored {
    fn new() -> Self {
        let mut stored = Self { salt: *b"a salt of 16 byt", hash: [0; 32] };
        argon2id()
            .hash_password_into(PASSWORD.as_bytes(), &stored.salt, &mut stored.hash)
            .expect("a hash");
        stored
    }

    /// Verifies in newly allocated memory, as the simplest function of the argon2 crate does.
    fn verify(&self, password: &str) -> bool {
        let mut output = [0; 32];
        argon2id().hash_password_into(password.as_bytes(), &self.salt, &mut output).is_ok()
            && output == self.hash
    }

    fn verify_in(&self, memory: &mut [Block], password: &str) -> bool {
        let mut output = [0; 32];
        let hashed = argon2id().hash_password_into_with_memory(
            password.as_bytes(),
            &self.salt,
            &mut output,
            memory,
        );
        hashed.is_ok() && output == self.hash
    }
}

fn argon2id() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::default())
}

fn login(right: bool) -> Login {
    if right { Login::accepted(SUBJECT) } else { Login::rejected(Rejection::WrongPassword) }
}

struct Inline(Stored);

#[async_trait]
impl UserAuthenticator for Inline {
    async fn authenticate(&self, attempt: LoginAttempt<'_>) -> Result<Login, BoxError> {
        Ok(login(self.0.verify(attempt.password().expose())))
    }
}

struct Unbounded(Arc<Stored>);

#[async_trait]
impl UserAuthenticator for Unbounded {
    async fn authenticate(&self, attempt: LoginAttempt<'_>) -> Result<Login, BoxError> {
        let (stored, password) = (self.0.clone(), attempt.password().expose().to_owned());
        Ok(login(tokio::task::spawn_blocking(move || stored.verify(&password)).await?))
    }
}

struct Bounded(Arc<Stored>, Semaphore);

#[async_trait]
impl UserAuthenticator for Bounded {
    async fn authenticate(&self, attempt: LoginAttempt<'_>) -> Result<Login, BoxError> {
        let (stored, password) = (self.0.clone(), attempt.password().expose().to_owned());
        let _permit = self.1.acquire().await?;
        Ok(login(tokio::task::spawn_blocking(move || stored.verify(&password)).await?))
    }
}
