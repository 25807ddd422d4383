//! Identifiers of access tokens: `jti` (RFC 7519 section 4.1.7).

use std::hash::Hasher;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use siphasher::sip128::{Hasher128, SipHasher24};
use zeroize::Zeroizing;

use crate::environment::{RandomnessError, SecureRandom};
use crate::error::BoxError;

/// Makes identifiers of tokens (`jti`): 128 unguessable bits in base64url.
///
/// An identifier is a pseudorandom function of a counter, under a random key of the engine's own.
/// This costs a small part of what the system's random generator costs, and cannot fail once the
/// engine is built.
pub(crate) struct TokenIds {
    function: SipHasher24,
    count: AtomicU64,
}

impl TokenIds {
    /// Length of an identifier in characters.
    pub(crate) const LENGTH: usize = 22;

    pub(crate) fn new(randomness: &dyn SecureRandom) -> Result<Self, RandomnessError> {
        let mut key = Zeroizing::new([0; 16]);
        randomness.fill(&mut *key)?;
        Ok(Self { function: SipHasher24::new_with_key(&key), count: AtomicU64::new(0) })
    }

    /// Writes the next identifier into `text`.
    pub(crate) fn next<'t>(&self, text: &'t mut [u8; Self::LENGTH]) -> Result<&'t str, BoxError> {
        let mut function = self.function;
        function.write_u64(self.count.fetch_add(1, Ordering::Relaxed));
        // 16 bytes are 22 characters of ASCII, so neither of these fails.
        URL_SAFE_NO_PAD.encode_slice(function.finish128().as_bytes(), text.as_mut_slice())?;
        Ok(std::str::from_utf8(text)?)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_identifiers_are_the_same_in_one_engine_or_in_two() {
        let mut seen = HashSet::new();
        for _ in 0..2 {
            let ids = TokenIds::new(&crate::environment::SystemRandom::new()).unwrap();
            for _ in 0..10_000 {
                let mut text = [0; TokenIds::LENGTH];
                let id = ids.next(&mut text).unwrap().to_owned();
                assert_eq!(URL_SAFE_NO_PAD.decode(&id).map(|bytes| bytes.len()), Ok(16));
                assert!(seen.insert(id));
            }
        }
    }
}
