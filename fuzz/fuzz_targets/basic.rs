//! Fuzzes the `Authorization` header of client authentication (RFC 6749 section 2.3.1): every input
//! is refused with 401.

#![no_main]

mod support;

use libfuzzer_sys::fuzz_target;
use password_grant::HttpRequest;

fuzz_target!(|header: &[u8]| {
    let headers =
        [("content-type", &b"application/x-www-form-urlencoded"[..]), ("authorization", header)];
    let form = b"grant_type=password&username=alice&password=x&scope=profile";
    let answer =
        support::now(support::grant().token(HttpRequest::new("POST", None, headers, form)));
    assert_eq!(answer.status(), 401);
});
