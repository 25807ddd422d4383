#![no_main]

mod support;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|token: &str| {
    assert!(support::now(support::verifier("https://id.example.com").verify(token)).is_err());
});
