//! Keys that verify JWS signatures (RFC 7515), and the selection of a signature's key.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::ParsedPublicKey;

use crate::jose::jwk::Thumbprints;
use crate::jose::{Algorithm, Jwk, JwkSet, KeyError, UnusableKey};

/// Keys that verify signatures, parsed once.
///
/// Each key is tied to one algorithm, so a signature is never verified with an algorithm that its
/// key is not for.
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

/// How a JWS header names its key (`kid`, `x5t`, `x5t#S256`). The values are compared with those of
/// the registered keys, and used for nothing else.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct KeyName<'a> {
    pub(crate) kid: Option<&'a str>,
    pub(crate) x5t: Option<&'a str>,
    pub(crate) x5t_s256: Option<&'a str>,
}

impl VerificationKeys {
    /// The public keys of a set. A repeated key counts once.
    ///
    /// # Errors
    ///
    /// [`KeyError::Empty`] if there is none, [`KeyError::Invalid`] if one of them is not a point of
    /// its curve, [`KeyError::RepeatedKid`] if two different keys have the same `kid` and
    /// algorithm.
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

    /// Adds the keys of `other`.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.keys.extend(other.keys);
        self.unusable.extend(other.unusable);
        self
    }

    /// Whether there is a key for this algorithm.
    pub(crate) fn has(&self, algorithm: Algorithm) -> bool {
        self.keys.iter().any(|key| key.algorithm == algorithm)
    }

    /// The algorithm of every key.
    pub(crate) fn algorithms(&self) -> Vec<Algorithm> {
        self.keys.iter().map(|key| key.algorithm).collect()
    }

    /// The entries of the set that were passed over.
    pub(crate) fn unusable(&self) -> &[UnusableKey] {
        &self.unusable
    }

    /// Whether there is a key with this name, for any algorithm. A signature without a name could
    /// be any key's, so an empty name is known if there is any key.
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

    /// Verifies a signature with the key that it names or, without a name, with the only key that
    /// fits. The same key under two names counts as one. Returns `None` if no single key fits or
    /// the signature is wrong.
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
    /// A shared secret that was registered without a `kid` fits every `kid`. Public keys always
    /// have a `kid`, but seldom a thumbprint: a thumbprint that no key has does not exclude keys
    /// without one.
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

/// A getter for one of the names that a key may have.
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
