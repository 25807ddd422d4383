//! Keys that verify signatures, and how a signature finds its key.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::ParsedPublicKey;

use crate::jose::jwk::Thumbprints;
use crate::jose::{Algorithm, Jwk, JwkSet, KeyError, UnusableKey};

/// Keys that verify signatures, parsed once.
///
/// A key is tied to one algorithm, so a signature is never checked by another one than its key is for.
pub struct VerificationKeys {
    keys: Vec<Key>,
    unusable: Vec<UnusableKey>,
}

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
    /// The public keys of a set. The same key twice is one key.
    ///
    /// # Errors
    ///
    /// [`KeyError::Empty`] when there is none, [`KeyError::Invalid`] when one of them is not a point of its curve,
    /// [`KeyError::RepeatedKid`] when a `kid` and an algorithm name two different ones.
    pub fn from_jwks(set: &JwkSet) -> Result<Self, KeyError> {
        set.check_names()?;
        let mut keys = Vec::with_capacity(set.keys.len());
        for jwk in &set.keys {
            for algorithm in jwk.algorithms() {
                keys.push(Key::public(jwk, algorithm)?);
            }
        }
        if keys.is_empty() {
            Err(KeyError::Empty)
        } else {
            Ok(Self { keys, unusable: set.unusable().to_vec() })
        }
    }

    pub(crate) fn shared(kid: Option<String>, algorithm: Algorithm, key: Arc<hmac::Key>) -> Self {
        let thumbprints = Thumbprints::default();
        let keys = vec![Key { kid, thumbprints, algorithm, material: Material::Shared(key) }];
        Self { keys, unusable: Vec::new() }
    }

    /// One more that is shared, or several.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.keys.extend(other.keys);
        self.unusable.extend(other.unusable);
        self
    }

    /// Whether there is a key for this algorithm.
    pub(crate) fn has(&self, algorithm: Algorithm) -> bool {
        self.keys.iter().any(|key| key.algorithm == algorithm)
    }

    /// Every algorithm that there is a key for.
    pub(crate) fn algorithms(&self) -> Vec<Algorithm> {
        self.keys.iter().map(|key| key.algorithm).collect()
    }

    /// The entries of the set that were passed over.
    pub(crate) fn unusable(&self) -> &[UnusableKey] {
        &self.unusable
    }

    /// Whether there is a key by this name, whatever it is for. A signature without a name could be any key's.
    pub(crate) fn knows(&self, name: KeyName<'_>) -> bool {
        let is_thumbprint_of = |said: Option<&str>, own: Own| {
            said.is_none_or(|said| self.keys.iter().any(|key| own(key) == Some(said)))
        };
        let by_thumbprint = || {
            is_thumbprint_of(name.x5t, Key::x5t) && is_thumbprint_of(name.x5t_s256, Key::x5t_s256)
        };
        self.keys.iter().any(|key| self.is_named(key, name))
            && (name.kid.is_some() || by_thumbprint())
    }

    /// The key that a signature names; without a name, the only key that fits. The same key under two names is one.
    pub(crate) fn verify(
        &self,
        algorithm: Algorithm,
        name: KeyName<'_>,
        message: &[u8],
        signature: &[u8],
    ) -> Option<()> {
        let mut candidates =
            self.keys.iter().filter(|key| key.algorithm == algorithm && self.is_named(key, name));
        let key = candidates.next()?;
        if candidates.all(|other| other.is_same_as(key)) {
            key.verify(message, signature)
        } else {
            None
        }
    }

    /// Whether every name in the header (`kid`, `x5t`, `x5t#S256`) fits this key.
    ///
    /// A shared secret that was registered without a name has none to compare with. Public keys always have a `kid`, but
    /// seldom a thumbprint: one that no key has says nothing about keys without.
    fn is_named(&self, key: &Key, name: KeyName<'_>) -> bool {
        let kid = name.kid.is_none_or(|said| key.kid.as_deref().is_none_or(|own| own == said));
        kid && self.is_certified(key, name.x5t, Key::x5t)
            && self.is_certified(key, name.x5t_s256, Key::x5t_s256)
    }

    fn is_certified(&self, key: &Key, said: Option<&str>, own: Own) -> bool {
        said.is_none_or(|said| match own(key) {
            Some(own) => own == said,
            None => self.keys.iter().all(|other| own(other) != Some(said)),
        })
    }
}

/// One of the names that a key may have.
type Own = fn(&Key) -> Option<&str>;

impl Key {
    fn public(jwk: &Jwk, algorithm: Algorithm) -> Result<Self, KeyError> {
        let material = Material::Public(jwk.parsed(algorithm)?);
        Ok(Self {
            kid: Some(jwk.kid().to_owned()),
            thumbprints: jwk.thumbprints().clone(),
            algorithm,
            material,
        })
    }

    fn x5t(&self) -> Option<&str> {
        self.thumbprints.sha1.as_deref()
    }

    fn x5t_s256(&self) -> Option<&str> {
        self.thumbprints.sha256.as_deref()
    }

    fn is_same_as(&self, other: &Self) -> bool {
        match (&self.material, &other.material) {
            (Material::Public(own), Material::Public(other)) => own.as_ref() == other.as_ref(),
            (Material::Shared(own), Material::Shared(other)) => Arc::ptr_eq(own, other),
            _ => false,
        }
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
        f.debug_list().entries(self.keys.iter().map(|key| (key.algorithm, &key.kid))).finish()
    }
}
