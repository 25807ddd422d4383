//! The engine next to its floors, as ratios. Short batches of each run in turn, so that other load
//! on the machine affects all of them alike. `benches/README.md` explains the numbers.

mod support;

use std::hint::black_box;
use std::time::{Duration, Instant};

use password_grant::state::InMemoryState;
use password_grant::{Algorithm, HttpRequest, TokenRequest};

use support::assertion::{self, AssertionCase};
use support::sessions::SessionCase;
use support::{
    ALGORITHMS, BODY, Case, HEADERS, LaxForm, TrivialUser, block_on, builder_with, is_measured,
    keys, median, peak_mib, request, request_from_somewhere,
};

fn main() {
    let rounds = if is_measured() { 401 } else { 1 };
    // This comes first, before anything else has used much memory.
    names(if is_measured() { 1_000_000 } else { 10 });
    let cases = ALGORITHMS.map(Case::new);

    println!("one token request, µs (medians of {rounds} interleaved batches)\n");
    println!(
        "| algorithm | bare signature | hand-written | jsonwebtoken encode | engine | engine ÷ hand-written | engine − bare |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    for case in &cases {
        let mut signature = [0; keys::SIGNATURE];
        let measured = interleaved(
            rounds,
            [
                contender(|| {
                    case.bare_signature.sign(black_box(case.signing_input()), &mut signature)
                }),
                contender(|| {
                    case.hand_written.answer("POST", black_box(&HEADERS), black_box(BODY))
                }),
                contender(|| case.jsonwebtoken.encode()),
                contender(|| block_on(case.grant.token(black_box(request())))),
            ],
        );
        let [bare, hand_written, jsonwebtoken, engine] = measured.medians();
        let (ratio, over) = (measured.ratio(3, 1), measured.difference(3, 0));
        println!(
            "| {} | {bare:.2} | {hand_written:.2} | {jsonwebtoken:.2} | {engine:.2} | {ratio:.2} | {over:.2} |",
            case.algorithm
        );
    }

    // How much the limiter adds to a request from an address. Three keys are reserved and settled:
    // the name, the address, and the known origin of the owner.
    println!("\nthe limiter: one token request, µs\n");
    println!(
        "| algorithm | without limits | with limits | difference | ratio | with limits, no address | difference |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    for case in cases.iter().filter(|case| case.algorithm == Algorithm::Hs256) {
        let measured = interleaved(
            rounds,
            [
                contender(|| block_on(case.grant.token(black_box(request_from_somewhere())))),
                contender(|| block_on(case.limited.token(black_box(request_from_somewhere())))),
                contender(|| block_on(case.limited.token(black_box(request())))),
            ],
        );
        let [without, with, nameless] = measured.medians();
        let (more, ratio, less) =
            (measured.difference(1, 0), measured.ratio(1, 0), measured.difference(2, 0));
        println!(
            "| {} | {without:.2} | {with:.2} | {more:.2} | {ratio:.2} | {nameless:.2} | {less:.2} |",
            case.algorithm
        );
    }

    sessions(rounds);

    println!("\none verification, µs\n");
    println!("| algorithm | bare verification | engine | engine ÷ bare | engine − bare |");
    println!("| --- | ---: | ---: | ---: | ---: |");
    for case in &cases {
        let measured = interleaved(
            rounds,
            [
                contender(|| {
                    case.bare_verification
                        .verify(black_box(case.signing_input()), black_box(&case.signature))
                }),
                contender(|| block_on(case.verifier.verify(black_box(&case.token)))),
            ],
        );
        let [bare, engine] = measured.medians();
        let (ratio, over) = (measured.ratio(1, 0), measured.difference(1, 0));
        println!("| {} | {bare:.2} | {engine:.2} | {ratio:.2} | {over:.2} |", case.algorithm);
    }

    assertions(rounds);

    println!("\none form, µs\n");
    println!("| serde_urlencoded | TokenRequest::from_http | ratio |");
    println!("| ---: | ---: | ---: |");
    let request = request();
    let measured = interleaved(
        rounds,
        [
            contender(|| serde_urlencoded::from_bytes::<LaxForm<'_>>(black_box(BODY)).is_ok()),
            contender(|| TokenRequest::from_http(black_box(&request)).is_ok()),
        ],
    );
    let [lax, strict] = measured.medians();
    println!("| {lax:.3} | {strict:.3} | {:.2} |", measured.ratio(1, 0));
}

/// What a refresh token adds to a login, and what the later uses of tokens cost.
fn sessions(rounds: usize) {
    println!("\nsessions: one request, µs, HS256\n");
    println!(
        "| login without a refresh token | login with one | difference | refresh | introspection | revocation check of a verifier |"
    );
    println!("| ---: | ---: | ---: | ---: | ---: | ---: |");
    // The logins of the first case replace each other's sessions; the session of the second case
    // lasts.
    let (case, lasting) = (SessionCase::new(), SessionCase::new());
    let (access, mut token) = (case.login_without(), lasting.login());
    let measured = interleaved(
        rounds,
        [
            contender(|| case.login_without()),
            contender(|| case.login()),
            contender(|| token = lasting.refresh(black_box(&token))),
            contender(|| case.introspect(black_box(&access))),
            contender(|| block_on(case.verifier.verify(black_box(&access))).is_ok()),
            contender(|| block_on(case.revoking_verifier.verify(black_box(&access))).is_ok()),
        ],
    );
    let [without, with, refresh, introspect, ..] = measured.medians();
    let (more, check) = (measured.difference(1, 0), measured.difference(5, 4));
    println!(
        "| {without:.2} | {with:.2} | {more:.2} | {refresh:.2} | {introspect:.2} | {check:.2} |"
    );
}

/// No assertion is accepted twice, so all that a table needs are made before it is measured.
fn assertions(rounds: usize) {
    const EACH_ROUND: usize = 400;
    println!("\none token request by client assertion, µs\n");
    println!(
        "| algorithm | bare verification | by Basic | by assertion | assertion − Basic | assertion − Basic − bare |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    for case in assertion::ALGORITHMS.map(AssertionCase::new) {
        let mut bodies: Vec<String> = (0..(rounds + 1) * EACH_ROUND).map(|_| case.body()).collect();
        let measured = interleaved(
            rounds,
            [
                contender(|| case.verify()),
                contender(|| case.ask_by_basic()),
                contender(|| {
                    let body = bodies.pop().expect("as many as are used");
                    assert_eq!(case.ask(black_box(&body)), 200);
                }),
            ],
        );
        let [bare, basic, asserted] = measured.medians();
        let over = measured.difference(2, 1);
        let beyond = median(
            measured.0.iter().map(|[bare, basic, asserted]| asserted - basic - bare).collect(),
        );
        println!(
            "| {} | {bare:.2} | {basic:.2} | {asserted:.2} | {over:.2} | {beyond:.2} |",
            case.algorithm
        );
    }
}

/// Guesses at very many names: what they cost, in time and memory, while logins are still answered.
fn names(count: u32) {
    println!("\nguesses at {count} names through one client, no address\n");
    println!(
        "| rows before | rows after | peak memory before, MiB | peak memory after, MiB | µs a guess |"
    );
    println!("| ---: | ---: | ---: | ---: | ---: |");
    let state = InMemoryState::new();
    let key = keys::KeyPair::generate(Algorithm::Hs256);
    let grant =
        builder_with(TrivialUser::new(), &key).state(state.clone()).build().expect("an engine");
    let ask = |name: &str, password: &str| {
        let form = format!("grant_type=password&username={name}&password={password}&scope=profile");
        block_on(grant.token(HttpRequest::new("POST", None, HEADERS, form.as_bytes()))).status()
    };
    assert_eq!(ask("alice", "wonderland"), 200);
    let (rows, memory, start) = (state.len(), peak_mib(), Instant::now());
    for number in 0..count {
        let status = ask(&format!("user{number}"), "guess");
        assert!([400, 429].contains(&status));
    }
    let took = start.elapsed().as_secs_f64() * 1e6 / f64::from(count);
    println!("| {rows} | {} | {memory:.0} | {:.0} | {took:.2} |", state.len(), peak_mib());
}

/// A piece of work that is run the given number of times.
type Contender<'a> = Box<dyn FnMut(u32) + 'a>;

fn contender<'a, T>(mut once: impl FnMut() -> T + 'a) -> Contender<'a> {
    Box::new(move |times| {
        for _ in 0..times {
            black_box(once());
        }
    })
}

/// Microseconds per run, for each round and each contender within it.
struct Measured<const N: usize>(Vec<[f64; N]>);

fn interleaved<const N: usize>(rounds: usize, mut contenders: [Contender<'_>; N]) -> Measured<N> {
    const BATCH: Duration = Duration::from_micros(500);
    let mut timed = |index: usize, times: u32| {
        let start = Instant::now();
        contenders[index](times);
        start.elapsed()
    };
    let times: [u32; N] = std::array::from_fn(|index| {
        timed(index, 4);
        let one = timed(index, 4) / 4;
        u32::try_from(BATCH.as_nanos() / one.as_nanos().max(1)).unwrap_or(u32::MAX).clamp(4, 10_000)
    });
    // The first contender changes from round to round, so that none always follows the same other
    // one.
    let round = |number: usize| {
        let mut micros = [0.0; N];
        for index in (0..N).map(|index| (index + number) % N) {
            micros[index] =
                timed(index, times[index]).as_secs_f64() * 1e6 / f64::from(times[index]);
        }
        micros
    };
    Measured((0..rounds).map(round).collect())
}

impl<const N: usize> Measured<N> {
    fn medians(&self) -> [f64; N] {
        std::array::from_fn(|index| median(self.0.iter().map(|round| round[index]).collect()))
    }

    /// The median of the ratios within a round.
    fn ratio(&self, of: usize, to: usize) -> f64 {
        median(self.0.iter().map(|round| round[of] / round[to]).collect())
    }

    /// The median of the differences within a round.
    fn difference(&self, of: usize, from: usize) -> f64 {
        median(self.0.iter().map(|round| round[of] - round[from]).collect())
    }
}
