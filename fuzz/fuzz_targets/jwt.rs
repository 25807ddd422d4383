//! Fuzzes the access token verifier (RFC 9068): no input is a valid token, and none panics.

#![no_main]

mod support;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|token: &str| {
    assert!(support::now(support::verifier("https://id.example.com").verify(token)).is_err());
});
