//! Fuzzes the `WWW-Authenticate` challenge of a protected resource (RFC 6750 section 3): whatever
//! realm and scope are, it is one well-formed quoted parameter.

#![no_main]

mod support;

use libfuzzer_sys::fuzz_target;
use password_grant::resource::BearerRequest;

fuzz_target!(|texts: (&str, &str)| {
    let (realm, scope) = texts;
    let refusal =
        support::now(support::verifier(realm).authorize(BearerRequest::new([], None), scope));
    let refusal = refusal.expect_err("there is no token");
    let header = refusal.header("www-authenticate").expect("a 401 has a challenge");
    let value = header
        .strip_prefix("Bearer realm=\"")
        .and_then(|rest| rest.strip_suffix('"'))
        .expect("one parameter");
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        assert!(matches!(byte, b' '..=b'~') && byte != b'"', "{header:?}");
        if byte == b'\\' {
            assert!(matches!(bytes.next(), Some(b'"' | b'\\')), "{header:?}");
        }
    }
});
