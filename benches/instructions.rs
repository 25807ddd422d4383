//! Runs one scenario a given number of times, so that callgrind can count its instructions.
//! `benches/instructions.sh` runs all scenarios.

mod support;

use std::hint::black_box;
use std::process::ExitCode;

use password_grant::{Algorithm, TokenRequest};

use support::{BODY, Case, HEADERS, LaxForm, block_on, keys, request, request_from_somewhere};

type Scenario = (&'static str, Algorithm, fn(&Case));

const SCENARIOS: [Scenario; 9] = [
    ("grant-hs256", Algorithm::Hs256, grant),
    ("grant-hs256-limited", Algorithm::Hs256, limited),
    ("grant-eddsa", Algorithm::EdDsa, grant),
    ("hand-written-hs256", Algorithm::Hs256, hand_written),
    ("sign-hs256", Algorithm::Hs256, sign),
    ("sign-eddsa", Algorithm::EdDsa, sign),
    ("parse-form", Algorithm::Hs256, parse_form),
    ("parse-form-serde", Algorithm::Hs256, parse_form_serde),
    ("verify-eddsa", Algorithm::EdDsa, verify),
];

/// Takes the arguments `<scenario> <times>`; without them it runs every scenario once.
fn main() -> ExitCode {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    match &arguments[..] {
        [name, times] => {
            let chosen = SCENARIOS.iter().find(|(own, ..)| own == name);
            let (Some((_, algorithm, run)), Ok(times)) = (chosen, times.parse::<u32>()) else {
                let names = SCENARIOS.map(|(name, ..)| name).join(", ");
                eprintln!("usage: instructions <scenario> <times>, with one of {names}");
                return ExitCode::FAILURE;
            };
            let case = Case::new(*algorithm);
            (0..times).for_each(|_| run(&case));
        }
        _ => SCENARIOS.iter().for_each(|(_, algorithm, run)| run(&Case::new(*algorithm))),
    }
    ExitCode::SUCCESS
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

fn parse_form(_: &Case) {
    black_box(TokenRequest::from_http(black_box(&request())).is_ok());
}

fn parse_form_serde(_: &Case) {
    black_box(serde_urlencoded::from_bytes::<LaxForm<'_>>(black_box(BODY)).is_ok());
}

fn verify(case: &Case) {
    black_box(block_on(case.verifier.verify(black_box(&case.token))).is_ok());
}
