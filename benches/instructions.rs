//! Runs one scenario a given number of times, so that callgrind can count its instructions.
//! `benches/instructions.sh` runs all scenarios.

mod support;

use std::hint::black_box;
use std::process::ExitCode;

use password_grant::{Algorithm, TokenRequest};

use support::sessions::SessionCase;
use support::{BODY, Case, HEADERS, LaxForm, block_on, keys, request, request_from_somewhere};

type Scenario = (&'static str, fn(u32));

const SCENARIOS: [Scenario; 11] = [
    ("grant-hs256", |times| counted(grant, &Case::new(Algorithm::Hs256), times)),
    ("grant-hs256-limited", |times| counted(limited, &Case::new(Algorithm::Hs256), times)),
    ("grant-eddsa", |times| counted(grant, &Case::new(Algorithm::EdDsa), times)),
    ("hand-written-hs256", |times| counted(hand_written, &Case::new(Algorithm::Hs256), times)),
    ("sign-hs256", |times| counted(sign, &Case::new(Algorithm::Hs256), times)),
    ("sign-eddsa", |times| counted(sign, &Case::new(Algorithm::EdDsa), times)),
    ("parse-form", |times| counted(parse_form, &(), times)),
    ("parse-form-serde", |times| counted(parse_form_serde, &(), times)),
    ("verify-eddsa", |times| counted(verify, &Case::new(Algorithm::EdDsa), times)),
    ("login-without-refresh-token", |times| counted(login_without, &SessionCase::new(), times)),
    ("login-with-refresh-token", |times| counted(login_with, &SessionCase::new(), times)),
];

/// Takes the arguments `<scenario> <times>`; without them it runs every scenario once.
fn main() -> ExitCode {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    match &arguments[..] {
        [name, times] => {
            let chosen = SCENARIOS.iter().find(|(own, _)| own == name);
            let (Some((_, run)), Ok(times)) = (chosen, times.parse()) else {
                let names = SCENARIOS.map(|(name, _)| name).join(", ");
                eprintln!("usage: instructions <scenario> <times>, with one of {names}");
                return ExitCode::FAILURE;
            };
            run(times);
        }
        _ => SCENARIOS.iter().for_each(|(_, run)| run(1)),
    }
    ExitCode::SUCCESS
}

/// The runs alone, without the keys: generating them gathers entropy, whose cost varies. Callgrind
/// is told this function's name, and counts in nothing else.
#[inline(never)]
fn counted<C>(run: fn(&C), case: &C, times: u32) {
    for _ in 0..times {
        run(case);
    }
}

fn grant(case: &Case) {
    black_box(block_on(case.grant.token(black_box(request()))));
}

fn limited(case: &Case) {
    black_box(block_on(case.limited.token(black_box(request_from_somewhere()))));
}

fn hand_written(case: &Case) {
    black_box(case.hand_written.answer("POST", black_box(&HEADERS), black_box(BODY)));
}

fn sign(case: &Case) {
    let mut signature = [0; keys::SIGNATURE];
    black_box(case.bare_signature.sign(black_box(case.signing_input()), &mut signature));
}

fn parse_form(_: &()) {
    black_box(TokenRequest::from_http(black_box(&request())).is_ok());
}

fn parse_form_serde(_: &()) {
    black_box(serde_urlencoded::from_bytes::<LaxForm<'_>>(black_box(BODY)).is_ok());
}

fn verify(case: &Case) {
    black_box(block_on(case.verifier.verify(black_box(&case.token))).is_ok());
}

fn login_without(case: &SessionCase) {
    black_box(case.login_without());
}

fn login_with(case: &SessionCase) {
    black_box(case.login());
}
