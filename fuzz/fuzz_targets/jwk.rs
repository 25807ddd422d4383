//! Fuzzes the parsers of keys: PEM, JWK and JWK sets (RFC 7517). Every key that is read can be
//! used.

#![no_main]

use libfuzzer_sys::fuzz_target;
use password_grant::SigningKeys;
use password_grant::jose::{Jwk, JwkSet, VerificationKeys};

fuzz_target!(|json: &[u8]| {
    let _ = SigningKeys::from_pem(json);
    if let Ok(set) = JwkSet::from_json(json) {
        assert!(set.keys.len() <= 20);
        VerificationKeys::from_jwks(&set).expect("every key of a set was checked");
    }
    let Ok(key) = Jwk::from_json(json) else { return };
    // The `kid` may be any text; everything else has one spelling.
    let set: JwkSet = [key.clone()].into_iter().collect();
    VerificationKeys::from_jwks(&set).expect("a key that was read is one that verifies");
});
