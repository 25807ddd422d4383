use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::ParsedPublicKey;

use crate::jose::jwk::Thumbprints;
use crate::jose::{Algorithm, Jwk, JwkSet, KeyError};

/// Keys that verify signatures, parsed once.
///
/// A key is tied to one algorithm, so a signature is never checked by another one than its key is for.
pub struct VerificationKeys(Vec<Key>);

struct Key {
    kid: Option<String>,
    thumbprints: Thumbprints,
    algorithm: Algorithm,
    material: Material,
}

enum Material {
    Public(ParsedPublicKey),
    Shared(Arc<hmac::Key>),
}

/// By what a signature names its key. All of it is compared with what the keys are registered by, and used for nothing
/// else.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct KeyName<'a> {
    pub(crate) kid: Option<&'a str>,
    pub(crate) x5t: Option<&'a str>,
    pub(crate) x5t_s256: Option<&'a str>,
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
        let mut keys = Vec::with_capacity(set.keys.len());
        for jwk in &set.keys {
            for algorithm in jwk.algorithms() {
                keys.push(Key::public(jwk, algorithm)?);
            }
        }
        if keys.is_empty() { Err(KeyError::Empty) } else { Ok(Self(keys)) }
    }

    pub(crate) fn shared(kid: Option<String>, algorithm: Algorithm, key: Arc<hmac::Key>) -> Self {
        let thumbprints = Thumbprints::default();
        Self(vec![Key { kid, thumbprints, algorithm, material: Material::Shared(key) }])
    }

    /// One more that is shared, or several.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Whether there is a key for this algorithm.
    pub(crate) fn has(&self, algorithm: Algorithm) -> bool {
        self.0.iter().any(|key| key.algorithm == algorithm)
    }

    /// Every algorithm that there is a key for.
    pub(crate) fn algorithms(&self) -> Vec<Algorithm> {
        self.0.iter().map(|key| key.algorithm).collect()
    }

    /// Whether there is a key by this name, whatever it is for.
    pub(crate) fn knows(&self, name: KeyName<'_>) -> bool {
        self.0.iter().any(|key| key.is_named(name))
    }

    /// The key that a signature names; without a name, the only key that fits.
    pub(crate) fn verify(
        &self,
        algorithm: Algorithm,
        name: KeyName<'_>,
        message: &[u8],
        signature: &[u8],
    ) -> Option<()> {
        let mut candidates = self.0.iter().filter(|key| key.algorithm == algorithm && key.is_named(name));
        match (candidates.next(), candidates.next()) {
            (Some(key), None) => key.verify(message, signature),
            _ => None,
        }
    }
}

impl Key {
    fn public(jwk: &Jwk, algorithm: Algorithm) -> Result<Self, KeyError> {
        let material = Material::Public(jwk.parsed(algorithm)?);
        Ok(Self { kid: Some(jwk.kid().to_owned()), thumbprints: jwk.thumbprints().clone(), algorithm, material })
    }

    /// By everything that is said: a name that fits beside one that does not is no name.
    fn is_named(&self, name: KeyName<'_>) -> bool {
        let fits = |said: Option<&str>, own: &Option<String>| said.is_none_or(|said| own.as_deref() == Some(said));
        fits(name.kid, &self.kid)
            && fits(name.x5t, &self.thumbprints.sha1)
            && fits(name.x5t_s256, &self.thumbprints.sha256)
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
