use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::ParsedPublicKey;

use crate::jose::{Algorithm, Jwk, JwkSet, KeyError};

/// Keys that verify signatures, parsed once.
///
/// A key is tied to one algorithm, so a signature is never checked by another one than its key is for.
pub struct VerificationKeys(Vec<Key>);

struct Key {
    kid: Option<String>,
    algorithm: Algorithm,
    material: Material,
}

enum Material {
    Public(ParsedPublicKey),
    Shared(Arc<hmac::Key>),
}

impl VerificationKeys {
    /// The public keys of a set.
    ///
    /// # Errors
    ///
    /// When there is none, one of them is not a point of its curve, or two have the same `kid`.
    pub fn from_jwks(set: &JwkSet) -> Result<Self, KeyError> {
        let repeated = |(index, key): (usize, &Jwk)| set.keys.iter().take(index).any(|other| other.kid() == key.kid());
        if set.keys.iter().enumerate().any(repeated) {
            return Err(KeyError::RepeatedKid);
        }
        let keys = set.keys.iter().map(Key::public).collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() { Err(KeyError::Empty) } else { Ok(Self(keys)) }
    }

    pub(crate) fn shared(kid: Option<String>, key: Arc<hmac::Key>) -> Self {
        Self(vec![Key { kid, algorithm: Algorithm::Hs256, material: Material::Shared(key) }])
    }

    /// Whether there is a key for this algorithm.
    pub(crate) fn has(&self, algorithm: Algorithm) -> bool {
        self.0.iter().any(|key| key.algorithm == algorithm)
    }

    /// Every algorithm that there is a key for.
    pub(crate) fn algorithms(&self) -> Vec<Algorithm> {
        self.0.iter().map(|key| key.algorithm).collect()
    }

    /// The key that a signature names by `kid`; without one, the only key that fits. `kid` is compared, nothing else.
    pub(crate) fn verify(
        &self,
        algorithm: Algorithm,
        kid: Option<&str>,
        message: &[u8],
        signature: &[u8],
    ) -> Option<()> {
        let named = |key: &&Key| kid.is_none_or(|kid| key.kid.as_deref() == Some(kid));
        let mut candidates = self.0.iter().filter(|key| key.algorithm == algorithm).filter(named);
        match (candidates.next(), candidates.next()) {
            (Some(key), None) => key.verify(message, signature),
            _ => None,
        }
    }
}

impl Key {
    fn public(jwk: &Jwk) -> Result<Self, KeyError> {
        let material = Material::Public(jwk.parsed()?);
        Ok(Self { kid: Some(jwk.kid().to_owned()), algorithm: jwk.algorithm(), material })
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> Option<()> {
        match &self.material {
            Material::Public(key) => key.verify_sig(message, signature).ok(),
            Material::Shared(key) => hmac::verify(key, message, signature).ok(),
        }
    }
}

impl fmt::Debug for VerificationKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|key| (key.algorithm, &key.kid))).finish()
    }
}
