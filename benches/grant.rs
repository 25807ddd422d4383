//! Criterion benchmarks of one token request and one verification, each next to its floors.
//! `benches/README.md` explains the numbers.

mod support;

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use password_grant::{Algorithm, TokenRequest};

use support::assertion::{self, AssertionCase};
use support::sessions::SessionCase;
use support::{
    ALGORITHMS, BODY, Case, HEADERS, LaxForm, block_on, keys, request, request_from_somewhere,
};

fn token(criterion: &mut Criterion) {
    for algorithm in ALGORITHMS {
        let case = Case::new(algorithm);
        let mut group = criterion.benchmark_group(format!("token/{algorithm}"));
        group.bench_function("bare signature", |bencher| {
            let mut signature = [0; keys::SIGNATURE];
            bencher
                .iter(|| case.bare_signature.sign(black_box(case.signing_input()), &mut signature));
        });
        group.bench_function("hand-written grant", |bencher| {
            bencher.iter(|| case.hand_written.answer("POST", black_box(&HEADERS), black_box(BODY)));
        });
        group.bench_function("jsonwebtoken encode", |bencher| {
            bencher.iter(|| case.jsonwebtoken.encode())
        });
        group.bench_function("PasswordGrant::token", |bencher| {
            bencher.iter(|| block_on(case.grant.token(black_box(request()))));
        });
        group.finish();
    }
}

/// One request by client assertion. Each uses an assertion made beforehand, since none is accepted
/// twice.
fn assertion(criterion: &mut Criterion) {
    for algorithm in assertion::ALGORITHMS {
        let case = AssertionCase::new(algorithm);
        let mut group = criterion.benchmark_group(format!("assertion/{algorithm}"));
        group.bench_function("bare verification", |bencher| bencher.iter(|| case.verify()));
        group.bench_function("PasswordGrant::token by Basic", |bencher| {
            bencher.iter(|| case.ask_by_basic())
        });
        group.bench_function("PasswordGrant::token by assertion", |bencher| {
            bencher.iter_batched(
                || case.body(),
                |body| case.ask(black_box(&body)),
                BatchSize::SmallInput,
            );
        });
        group.finish();
    }
}

/// The same request from an address, without and with attempt limits.
fn limiter(criterion: &mut Criterion) {
    let case = Case::new(Algorithm::Hs256);
    let mut group = criterion.benchmark_group("limiter");
    for (name, grant) in [("without limits", &case.grant), ("with limits", &case.limited)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| block_on(grant.token(black_box(request_from_somewhere()))));
        });
    }
    group.finish();
}

/// What a refresh token adds to a login, and what a refresh costs.
fn sessions(criterion: &mut Criterion) {
    let case = SessionCase::new();
    let mut group = criterion.benchmark_group("sessions");
    group.bench_function("login without a refresh token", |bencher| {
        bencher.iter(|| case.login_without())
    });
    group.bench_function("login with a refresh token", |bencher| bencher.iter(|| case.login()));
    group.bench_function("refresh", |bencher| {
        let mut token = case.login();
        bencher.iter(|| token = case.refresh(black_box(&token)));
    });
    let token = case.login_without();
    group.bench_function("introspect", |bencher| {
        bencher.iter(|| case.introspect(black_box(&token)))
    });
    group.finish();
}

fn verify(criterion: &mut Criterion) {
    for algorithm in ALGORITHMS {
        let case = Case::new(algorithm);
        let mut group = criterion.benchmark_group(format!("verify/{algorithm}"));
        group.bench_function("bare verification", |bencher| {
            bencher.iter(|| {
                case.bare_verification
                    .verify(black_box(case.signing_input()), black_box(&case.signature))
            });
        });
        group.bench_function("AccessTokenVerifier::verify", |bencher| {
            bencher.iter(|| block_on(case.verifier.verify(black_box(&case.token))));
        });
        group.finish();
    }
}

fn form(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("form");
    group.bench_function("serde_urlencoded", |bencher| {
        bencher.iter(|| serde_urlencoded::from_bytes::<LaxForm<'_>>(black_box(BODY)).is_ok());
    });
    group.bench_function("TokenRequest::from_http", |bencher| {
        let request = request();
        bencher.iter(|| TokenRequest::from_http(black_box(&request)).is_ok());
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = token, limiter, sessions, assertion, verify, form
}
criterion_main!(benches);
