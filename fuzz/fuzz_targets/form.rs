//! Fuzzes the form parser of the token endpoint: no parameter that must be unique is accepted twice
//! (RFC 6749 section 3.2).

#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use password_grant::{HttpRequest, TokenRequest};

fuzz_target!(|body: &[u8]| {
    let headers = [("content-type", &b"application/x-www-form-urlencoded"[..])];
    if TokenRequest::from_http(&HttpRequest::new("POST", None, headers, body)).is_err() {
        return;
    }
    let pairs: Vec<(String, String)> =
        serde_urlencoded::from_bytes(body).expect("the oracle accepts everything");
    let single: Vec<_> = pairs
        .iter()
        .map(|(name, _)| name)
        .filter(|name| *name != "resource" && *name != "audience")
        .collect();
    assert_eq!(
        single.iter().collect::<BTreeSet<_>>().len(),
        single.len(),
        "a repeated name was accepted"
    );
});
