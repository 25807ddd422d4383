//! Whether the response time reveals why a login failed: each cause next to the wrong password,
//! with real Argon2id hashes, in interleaved samples. `benches/README.md` explains the numbers.

mod support;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use password_grant::password::{AccountState, Argon2Parameters};
use password_grant::{
    Algorithm, AttemptLimits, BoxError, Environment, HashedPasswords, HttpRequest, PasswordGrant,
    RequestContext, User, UserStore, async_trait,
};
use tokio::runtime::Runtime;

use support::keys::KeyPair;
use support::{AUTHORIZATION, PASSWORD, builder_with, is_measured, median};

/// These samples are not measured, because the first ones run with cold caches.
const WARM_UP: usize = 5;
const WRONG: &str = "underland!";

fn main() {
    let samples = if is_measured() { 200 } else { 1 };
    let rounds = WARM_UP + samples;
    let hash = Argon2Parameters::default().hash(PASSWORD).expect("a hash");
    let active = |name: &str| User::new(name, Some(hash.clone()));
    // The first cause is the reference for all others. The second repeats it, which shows the
    // effect of chance.
    let causes: [Cause<'_>; 6] = [
        ("wrong password", WRONG, &|name| Some(active(name))),
        ("wrong password, once more", WRONG, &|name| Some(active(name))),
        ("unknown name", WRONG, &|_| None),
        ("right password of a disabled user", PASSWORD, &|name| {
            Some(active(name).state(AccountState::Disabled))
        }),
        ("user without a password", WRONG, &|name| Some(User::new(name, None))),
        ("stored hash that cannot be used", WRONG, &|name| {
            Some(User::new(name, Some("$2b$12$bcrypt".into())))
        }),
    ];

    // Each sample has a name of its own, all of one length, so that no attempt has to wait.
    let name = |cause: usize, round: usize| format!("user-{cause:02}-{round:04}");
    let mut table = Table::default();
    for (index, (_, _, user)) in causes.iter().enumerate() {
        for name in (0..rounds).map(|round| name(index, round)) {
            table.0.extend(user(&name).map(|user| (name, user)));
        }
    }
    let (known, unknown) = (name(97, 0), name(98, 0));
    table.0.insert(known.clone(), active(&known));
    let asked = Asked::new(table);

    println!("a login that fails, {samples} interleaved samples a cause\n");
    let times = interleaved(rounds, causes.len(), |cause, round| {
        let (_, password, _) = causes[cause];
        asked.time(&form(&name(cause, round), password), 400)
    });
    print("ms", 1e3, causes.iter().map(|(what, ..)| *what), &times);

    // One failure each; after that these names have to wait for an hour.
    for name in [&known, &unknown] {
        asked.time(&form(name, WRONG), 400);
    }
    let waiting = [
        ("wrong password", &known, WRONG),
        ("right password", &known, PASSWORD),
        ("unknown name", &unknown, WRONG),
    ];
    println!("\na name that has to wait, {samples} interleaved samples a cause\n");
    let times = interleaved(rounds, waiting.len(), |cause, _| {
        let (_, name, password) = waiting[cause];
        asked.time(&form(name, password), 429)
    });
    print("µs", 1e6, waiting.iter().map(|(what, ..)| *what), &times);
}

/// The cause's name, the password that is tried, and the user that the table has under the name.
type Cause<'a> = (&'static str, &'static str, &'a dyn Fn(&str) -> Option<User>);

#[derive(Default)]
struct Table(HashMap<String, User>);

#[async_trait]
impl UserStore for Table {
    async fn find(&self, username: &str, _: &RequestContext) -> Result<Option<User>, BoxError> {
        Ok(self.0.get(username).cloned())
    }

    async fn update_hash(&self, _: &User, _: &str, _: &RequestContext) -> Result<(), BoxError> {
        Ok(())
    }
}

/// The engine, and a runtime that sleeps while a hash is computed: a runtime that polls would take
/// a core from it.
struct Asked {
    grant: PasswordGrant,
    runtime: Runtime,
}

impl Asked {
    fn new(table: Table) -> Self {
        let users = HashedPasswords::builder(table)
            .environment(&Environment::new().observer(()))
            .build()
            .expect("threads");
        let hour = Duration::from_secs(3_600);
        let limits = AttemptLimits::default().burst(1).waits(hour, hour);
        let key = KeyPair::generate(Algorithm::Hs256);
        let grant = builder_with(users, &key).attempt_limits(limits).build().expect("an engine");
        Self {
            grant,
            runtime: tokio::runtime::Builder::new_current_thread().build().expect("a runtime"),
        }
    }

    /// Sends a login, checks the status, and returns the seconds from the request to its response.
    fn time(&self, form: &str, status: u16) -> f64 {
        let headers = [
            ("content-type", b"application/x-www-form-urlencoded".as_slice()),
            ("authorization", AUTHORIZATION),
        ];
        let start = Instant::now();
        let answer = self.runtime.block_on(self.grant.token(HttpRequest::new(
            "POST",
            None,
            headers,
            form.as_bytes(),
        )));
        let took = start.elapsed();
        assert_eq!(answer.status(), status, "something else was measured");
        took.as_secs_f64()
    }
}

fn form(name: &str, password: &str) -> String {
    format!("grant_type=password&username={name}&password={password}&scope=profile")
}

/// Measures each cause once a round, in an order that changes from round to round, so that none
/// always follows the same other one.
fn interleaved(
    rounds: usize,
    causes: usize,
    mut time: impl FnMut(usize, usize) -> f64,
) -> Vec<Vec<f64>> {
    let mut times = vec![Vec::new(); causes];
    let mut order: Vec<usize> = (0..causes).collect();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for round in 0..rounds {
        for last in (1..causes).rev() {
            // xorshift: any order will do, as long as it is the same in every run.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            order.swap(last, (state % (last as u64 + 1)) as usize);
        }
        for cause in &order {
            let took = time(*cause, round);
            if round >= WARM_UP {
                times[*cause].push(took);
            }
        }
    }
    times
}

fn print<'a>(unit: &str, scale: f64, names: impl Iterator<Item = &'a str>, times: &[Vec<f64>]) {
    println!("| cause | median, {unit} | − wrong password, µs | z | p |");
    println!("| --- | ---: | ---: | ---: | ---: |");
    let middle = |times: &[f64]| median(times.to_vec());
    let reference = &times[0];
    for (index, (name, times)) in names.zip(times).enumerate() {
        print!("| {name} | {:.3} |", middle(times) * scale);
        if index == 0 {
            println!(" | | |");
            continue;
        }
        let z = mann_whitney(times, reference);
        println!(
            " {:.2} | {z:.2} | {:.2} |",
            (middle(times) - middle(reference)) * 1e6,
            two_sided(z)
        );
    }
}

/// How far the ranks of `one` among both samples lie above their expected value, in standard
/// deviations: the normal approximation of the Mann–Whitney U, corrected for ties.
fn mann_whitney(one: &[f64], other: &[f64]) -> f64 {
    let (n, m) = (one.len() as f64, other.len() as f64);
    let mut all: Vec<(f64, bool)> = one
        .iter()
        .map(|time| (*time, true))
        .chain(other.iter().map(|time| (*time, false)))
        .collect();
    all.sort_by(|(left, _), (right, _)| left.total_cmp(right));
    let (mut ranks, mut ties, mut before) = (0.0, 0.0, 0.0);
    for equal in all.chunk_by(|(left, _), (right, _)| left == right) {
        let count = equal.len() as f64;
        let rank = before + (count + 1.0) / 2.0;
        ranks += rank * equal.iter().filter(|(_, own)| *own).count() as f64;
        ties += count * count * count - count;
        before += count;
    }
    let above = ranks - n * (n + 1.0) / 2.0 - n * m / 2.0;
    let total = n + m;
    let deviation = (n * m / 12.0 * (total + 1.0 - ties / (total * (total - 1.0)))).sqrt();
    if deviation > 0.0 { above / deviation } else { 0.0 }
}

/// The probability that chance alone goes as far from zero, by the rational approximation of erfc
/// in Abramowitz and Stegun, 7.1.26, whose error is below 2e-7.
fn two_sided(z: f64) -> f64 {
    let x = z.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let coefficients =
        [1.061_405_429, -1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592];
    coefficients.iter().fold(0.0, |sum, coefficient| (sum + coefficient) * t) * (-x * x).exp()
}
