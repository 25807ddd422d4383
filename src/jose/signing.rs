//! Private keys that sign JWS (RFC 7515), read from PEM or JWK, and the key set of an issuer.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::error::KeyRejected;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPairComponents;
use aws_lc_rs::signature::{
    EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair, RsaPublicKeyComponents,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::error::BoxError;
use crate::http::strict_json::strict_object;
use crate::jose::curve::Curve;
use crate::jose::diagnosis;
use crate::jose::jwk::{Numbers, Thumbprints};
use crate::jose::rsa::RsaScheme;
use crate::jose::{Algorithm, Jwk, JwkSet, KeyError, VerificationKeys};

/// A private key that signs access tokens. Implement it for a key that lives elsewhere;
/// [`SigningKeys`] reads keys from PEM.
pub trait SigningKey: Send + Sync + 'static {
    /// The algorithm of its signatures.
    fn algorithm(&self) -> Algorithm;

    /// Appends the signature of `message` to `out`, in the form of RFC 7518 section 3: for ES256
    /// the 64 bytes of r and s. It is called on an async worker, so it should not block for long.
    ///
    /// # Errors
    ///
    /// If it cannot sign; the caller gets 500 `server_error`.
    fn sign(&self, message: &[u8], out: &mut Vec<u8>) -> Result<(), BoxError>;

    /// The public key, for the JWKS document. A key without one, such as an HMAC key, is not
    /// published.
    fn public_jwk(&self) -> Option<Jwk>;

    /// The key identifier in the header of tokens. By default it is that of the public key.
    fn kid(&self) -> Option<String> {
        self.public_jwk().map(|jwk| jwk.kid().to_owned())
    }
}

/// The key that signs access tokens, and the public keys that verify them: its own, and those of
/// keys that signed before or will sign next.
///
/// To rotate keys: publish the next key on every instance ([`publish`](Self::publish)), wait until
/// every verifier has fetched it, sign with it while publishing the former key, and remove the
/// former key once the last token that it signed has expired.
#[derive(Clone)]
pub struct SigningKeys {
    current: Arc<dyn SigningKey>,
    verifier: Verifier,
    others: JwkSet,
    fully_specified: bool,
}

#[derive(Clone)]
enum Verifier {
    Public,
    Shared(Arc<hmac::Key>),
}

impl SigningKeys {
    /// Reads the private key in a PEM text: EC P-256 (ES256), P-384 (ES384) or P-521 (ES512),
    /// Ed25519 (EdDSA), or RSA of 2,048 bits and more (RS256), as PKCS#8, SEC1 or PKCS#1. `openssl
    /// genpkey -algorithm ec -pkeyopt ec_paramgen_curve:P-256` makes one. For an Ed25519 key, see
    /// [`with_ed25519_name`](Self::with_ed25519_name).
    ///
    /// The crate ring writes Ed25519 keys as PKCS#8 version 2 in a form that is not that of RFC
    /// 8410. They are refused with [`KeyError::RingPkcs8`], in DER and in PEM. This command turns
    /// one into PKCS#8 version 1 with the same seed, as PEM (for a key in PEM, run `grep -v --
    /// ----- ring.pem | base64 -d > ring.der` first):
    ///
    /// ```text
    /// (printf '\060\056\002\001\000'; tail -c +6 ring.der | head -c 43) |
    ///     openssl pkey -inform DER -out token.pem
    /// ```
    ///
    /// # Errors
    ///
    /// The [`KeyError`] that says what the text is instead: a path, a public key, an encrypted key, a
    /// key of a kind that cannot sign here, an RSA key that is too short, or no key at all.
    pub fn from_pem(pem: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        Ok(Self::from_key(private_key_from_pem(pem.as_ref(), None)?))
    }

    /// Reads the private key in a PEM text, for one algorithm. An RSA key can sign with RS256 to
    /// RS512 or PS256 to PS512; every other key has one algorithm.
    ///
    /// # Errors
    ///
    /// Those of [`from_pem`](Self::from_pem), and [`KeyError::Algorithm`] if the key is not for
    /// this algorithm.
    pub fn from_pem_for(algorithm: Algorithm, pem: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        Ok(Self::from_key(private_key_from_pem(pem.as_ref(), Some(algorithm))?))
    }

    /// Generates a new EC P-256 key (ES256) for tests and first steps. It exists only in this
    /// process and is lost when the process ends.
    ///
    /// # Errors
    ///
    /// If the system's random generator fails.
    pub fn generate() -> Result<Self, KeyError> {
        let pair =
            EcdsaKeyPair::generate(Curve::P256.signing()).map_err(|_| KeyError::Generation)?;
        Ok(Self::from_key(Arc::new(Ec::new(Curve::P256, pair)?)))
    }

    /// An HS256 key from a shared secret of at least 32 random bytes (RFC 7518 section 3.2). It is
    /// never published, so only a resource server that shares the secret can verify the tokens.
    /// Such a resource server can also make them.
    ///
    /// # Errors
    ///
    /// [`KeyError::ShortSecret`] if the secret is shorter.
    pub fn from_hs256_secret(secret: &[u8]) -> Result<Self, KeyError> {
        let key = Hmac::new(secret, Algorithm::Hs256)?;
        let shared = key.key.clone();
        Ok(Self { verifier: Verifier::Shared(shared), ..Self::from_key(Arc::new(key)) })
    }

    /// Signs with a key of the host's own, and publishes its public key.
    #[must_use]
    pub fn from_key(key: Arc<dyn SigningKey>) -> Self {
        let fully_specified = key.public_jwk().is_some_and(|jwk| jwk.is_fully_specified());
        Self {
            current: key,
            verifier: Verifier::Public,
            others: JwkSet::default(),
            fully_specified,
        }
    }

    /// Names the algorithm of Ed25519 keys `Ed25519`, as [RFC 9864] does, in the header of tokens
    /// and for every such key in the JWKS document. By default they are named `EdDSA`, which that
    /// RFC deprecates, except for keys that were [published](Self::publish) with the other name.
    /// Verifiers of this crate accept both names; many others know only one of the two. Keys of
    /// other kinds have one name, and nothing changes for them.
    ///
    /// [RFC 9864]: https://www.rfc-editor.org/rfc/rfc9864#section-2.2
    #[must_use]
    pub fn with_ed25519_name(self) -> Self {
        Self { fully_specified: true, ..self }
    }

    /// Adds a public key to publish and to verify with: that of a key that signed before or will
    /// sign next.
    ///
    /// # Errors
    ///
    /// [`KeyError::RepeatedKid`] if there already is a key with this `kid`.
    pub fn publish(mut self, key: Jwk) -> Result<Self, KeyError> {
        if self.current.kid().as_deref() == Some(key.kid()) {
            return Err(KeyError::RepeatedKid);
        }
        if self.others.keys.iter().any(|other| other.kid() == key.kid()) {
            return Err(KeyError::RepeatedKid);
        }
        self.others.keys.push(key);
        Ok(self)
    }

    /// The public key of the signing key.
    #[must_use]
    pub fn public_jwk(&self) -> Option<Jwk> {
        self.current.public_jwk().map(|jwk| jwk.named_fully(self.fully_specified))
    }

    /// All public keys: that of the signing key, and the published ones.
    #[must_use]
    pub fn public_keys(&self) -> JwkSet {
        let others = self.others.keys.iter().cloned();
        let others =
            others.map(|jwk| if self.fully_specified { jwk.with_ed25519_name() } else { jwk });
        self.public_jwk().into_iter().chain(others).collect()
    }

    /// The keys for a verifier in the same process.
    ///
    /// # Errors
    ///
    /// If a public key is not valid.
    pub fn verification_keys(&self) -> Result<VerificationKeys, KeyError> {
        match &self.verifier {
            Verifier::Public => VerificationKeys::from_jwks(&self.public_keys()),
            Verifier::Shared(key) => {
                let own =
                    VerificationKeys::shared(self.current.kid(), Algorithm::Hs256, key.clone());
                if self.others.keys.is_empty() {
                    Ok(own)
                } else {
                    Ok(own.and(VerificationKeys::from_jwks(&self.others)?))
                }
            }
        }
    }

    pub(crate) fn current(&self) -> &dyn SigningKey {
        &*self.current
    }

    /// The value of `alg` in the header of tokens.
    pub(crate) fn algorithm_name(&self) -> &'static str {
        self.current.algorithm().name(self.fully_specified)
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKeys")
            .field("algorithm", &self.current.algorithm())
            .field("kid", &self.current.kid())
            .field("others", &self.others)
            .finish()
    }
}

struct Ed25519 {
    pair: Ed25519KeyPair,
    public: Jwk,
}

impl Ed25519 {
    fn new(pair: Ed25519KeyPair) -> Result<Self, KeyError> {
        let public = Jwk::ed25519(pair.public_key().as_ref())?;
        Ok(Self { pair, public })
    }
}

impl SigningKey for Ed25519 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDsa
    }

    fn sign(&self, message: &[u8], out: &mut Vec<u8>) -> Result<(), BoxError> {
        out.extend_from_slice(self.pair.try_sign(message)?.as_ref());
        Ok(())
    }

    fn public_jwk(&self) -> Option<Jwk> {
        Some(self.public.clone())
    }
}

struct Ec {
    pair: EcdsaKeyPair,
    public: Jwk,
}

impl Ec {
    fn new(curve: Curve, pair: EcdsaKeyPair) -> Result<Self, KeyError> {
        let public = Jwk::ec(curve, pair.public_key().as_ref())?;
        Ok(Self { pair, public })
    }
}

impl SigningKey for Ec {
    fn algorithm(&self) -> Algorithm {
        self.public.algorithm()
    }

    fn sign(&self, message: &[u8], out: &mut Vec<u8>) -> Result<(), BoxError> {
        out.extend_from_slice(self.pair.sign(&SystemRandom::new(), message)?.as_ref());
        Ok(())
    }

    fn public_jwk(&self) -> Option<Jwk> {
        Some(self.public.clone())
    }
}

struct Rsa {
    pair: RsaKeyPair,
    public: Jwk,
    algorithm: Algorithm,
    scheme: RsaScheme,
}

impl Rsa {
    fn new(pair: RsaKeyPair, algorithm: Algorithm) -> Result<Self, KeyError> {
        let scheme = RsaScheme::of(algorithm).ok_or(KeyError::Algorithm)?;
        let key = pair.public_key();
        let public = Jwk::rsa(
            key.modulus().big_endian_without_leading_zero(),
            key.exponent().big_endian_without_leading_zero(),
        )?;
        Ok(Self { public: public.for_algorithm(algorithm)?, pair, algorithm, scheme })
    }
}

impl SigningKey for Rsa {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    fn sign(&self, message: &[u8], out: &mut Vec<u8>) -> Result<(), BoxError> {
        let start = out.len();
        out.resize(start + self.pair.public_modulus_len(), 0);
        let signature = out.get_mut(start..).unwrap_or_default();
        self.pair.sign(self.scheme.signing, &SystemRandom::new(), message, signature)?;
        Ok(())
    }

    fn public_jwk(&self) -> Option<Jwk> {
        Some(self.public.clone())
    }
}

/// A shared secret that is at least as long as its hash (RFC 7518 section 3.2).
pub(crate) struct Hmac {
    pub(crate) key: Arc<hmac::Key>,
    algorithm: Algorithm,
}

impl Hmac {
    pub(crate) fn new(secret: &[u8], algorithm: Algorithm) -> Result<Self, KeyError> {
        let (hash, length) = match algorithm {
            Algorithm::Hs256 => (hmac::HMAC_SHA256, 32),
            Algorithm::Hs384 => (hmac::HMAC_SHA384, 48),
            Algorithm::Hs512 => (hmac::HMAC_SHA512, 64),
            _ => return Err(KeyError::Unsupported),
        };
        if secret.len() < length {
            return Err(KeyError::ShortSecret { found: secret.len(), needed: length });
        }
        Ok(Self { key: Arc::new(hmac::Key::new(hash, secret)), algorithm })
    }
}

impl SigningKey for Hmac {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    fn sign(&self, message: &[u8], out: &mut Vec<u8>) -> Result<(), BoxError> {
        out.extend_from_slice(hmac::sign(&self.key, message).as_ref());
        Ok(())
    }

    fn public_jwk(&self) -> Option<Jwk> {
        None
    }

    /// The `kid` is derived from the secret by a keyed one-way function, so that it identifies the
    /// key and reveals nothing about the secret.
    fn kid(&self) -> Option<String> {
        let tag = hmac::sign(&self.key, b"password-grant kid");
        tag.as_ref().get(..16).map(|prefix| URL_SAFE_NO_PAD.encode(prefix))
    }
}

/// Reads the private key in a PEM text, for this algorithm if one is given.
pub(crate) fn private_key_from_pem(
    pem: &[u8],
    algorithm: Option<Algorithm>,
) -> Result<Arc<dyn SigningKey>, KeyError> {
    let key = match PrivateKeyDer::from_pem_slice(pem) {
        Ok(key) => key,
        Err(_) if is_of_ring(pem) => return Err(KeyError::RingPkcs8), // ring writes keys in DER
        Err(_) => return Err(diagnosis::not_a_private_key(pem)),
    };
    let key: Arc<dyn SigningKey> = match &key {
        PrivateKeyDer::Pkcs8(der) => from_pkcs8(der.secret_pkcs8_der(), algorithm)?,
        PrivateKeyDer::Sec1(der) => {
            let der = der.secret_sec1_der();
            let key =
                on_its_curve(|curve| EcdsaKeyPair::from_private_key_der(curve.signing(), der));
            Arc::new(key.ok_or_else(|| diagnosis::unsupported(der, false))??)
        }
        PrivateKeyDer::Pkcs1(der) => {
            let der = der.secret_pkcs1_der();
            Arc::new(rsa(RsaKeyPair::from_der(der), algorithm, || {
                diagnosis::unsupported(der, true)
            })?)
        }
        _ => return Err(KeyError::Unsupported),
    };
    if algorithm.is_none_or(|algorithm| algorithm == key.algorithm()) {
        Ok(key)
    } else {
        Err(KeyError::Algorithm)
    }
}

fn from_pkcs8(der: &[u8], algorithm: Option<Algorithm>) -> Result<Arc<dyn SigningKey>, KeyError> {
    // The algorithm identifier inside tells the kinds apart, so at most one of these succeeds.
    if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
        return Ok(Arc::new(Ed25519::new(pair)?));
    }
    if let Some(key) = on_its_curve(|curve| EcdsaKeyPair::from_pkcs8(curve.signing(), der)) {
        return Ok(Arc::new(key?));
    }
    if is_of_ring(der) {
        return Err(KeyError::RingPkcs8);
    }
    Ok(Arc::new(rsa(RsaKeyPair::from_pkcs8(der), algorithm, || {
        diagnosis::unsupported(der, false)
    })?))
}

/// Whether this is an Ed25519 key as ring writes it. Its public key is a BIT STRING *within* the
/// context tag 1, whereas in RFC 8410 section 7 (with the implicit tags of RFC 5958) the tag
/// replaces that of the BIT STRING.
fn is_of_ring(der: &[u8]) -> bool {
    const BEGINNING: &[u8] =
        &[0x30, 0x53, 2, 1, 1, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    const SEED: usize = 32;
    const PUBLIC: &[u8] = &[0xa1, 0x23, 3, 0x21, 0];
    let after_seed = der.strip_prefix(BEGINNING).and_then(|rest| rest.get(SEED..));
    after_seed.and_then(|rest| rest.strip_prefix(PUBLIC)).is_some_and(|key| key.len() == 32)
}

/// Reads the key with the curve that it is on.
fn on_its_curve(
    read: impl Fn(Curve) -> Result<EcdsaKeyPair, KeyRejected>,
) -> Option<Result<Ec, KeyError>> {
    Curve::ALL.into_iter().find_map(|curve| Some(Ec::new(curve, read(curve).ok()?)))
}

fn rsa(
    pair: Result<RsaKeyPair, KeyRejected>,
    algorithm: Option<Algorithm>,
    diagnose: impl FnOnce() -> KeyError,
) -> Result<Rsa, KeyError> {
    Rsa::new(pair.map_err(|_| diagnose())?, algorithm.unwrap_or(Algorithm::Rs256))
}

/// The content of a private JWK.
pub(crate) struct PrivateJwk {
    pub(crate) key: Arc<dyn SigningKey>,
    pub(crate) kid: Option<String>,
    pub(crate) thumbprints: Thumbprints,
    pub(crate) fully_specified: bool,
}

/// Reads a private JWK (RFC 7517).
pub(crate) fn private_key_from_jwk(json: &[u8]) -> Result<PrivateJwk, KeyError> {
    let mut object = strict_object(json).ok_or(KeyError::NotAnObject)?;
    object.retain(|_, value| !value.is_null());
    let mut private = |name: &'static str| match object.remove(name) {
        None => Ok(None),
        Some(Value::String(encoded)) => {
            let number = URL_SAFE_NO_PAD.decode(Zeroizing::new(encoded).as_bytes());
            number.map(|number| Some(Zeroizing::new(number))).map_err(|_| KeyError::Malformed(name))
        }
        Some(_) => Err(KeyError::Malformed(name)),
    };
    let d = private("d")?.ok_or(KeyError::Malformed("d"))?;
    let factors = [private("p")?, private("q")?, private("dp")?, private("dq")?, private("qi")?];
    let named = object.contains_key("kid");
    // The `key_ops` of a private key are for signing, and `from_object` accepts only verifying.
    object.remove("key_ops");
    let public = Jwk::from_object(&object)?;
    let key: Arc<dyn SigningKey> = match (public.numbers(), factors) {
        (Numbers::Ed25519(x), [None, None, None, None, None]) => Arc::new(Ed25519::new(
            Ed25519KeyPair::from_seed_and_public_key(&d, x).map_err(|_| KeyError::Mismatch)?,
        )?),
        (Numbers::Ec(curve, point), [None, None, None, None, None]) => {
            let pair = EcdsaKeyPair::from_private_key_and_public_key(curve.signing(), &d, point);
            Arc::new(Ec::new(curve, pair.map_err(|_| KeyError::Mismatch)?)?)
        }
        (Numbers::Rsa { n, e }, [Some(p), Some(q), Some(dp), Some(dq), Some(qi)]) => {
            let factors = [&*d, &*p, &*q, &*dp, &*dq, &*qi].map(Vec::as_slice);
            let [d, p, q, dp, dq, qinv] = factors;
            let components = KeyPairComponents {
                public_key: RsaPublicKeyComponents { n, e },
                d,
                p,
                q,
                dP: dp,
                dQ: dq,
                qInv: qinv,
            };
            let pair = RsaKeyPair::from_components(&components);
            Arc::new(Rsa::new(pair.map_err(|_| KeyError::Mismatch)?, public.algorithm())?)
        }
        _ => return Err(KeyError::Unsupported),
    };
    let kid = named.then(|| public.kid().to_owned());
    let fully_specified = public.is_fully_specified();
    Ok(PrivateJwk { key, kid, thumbprints: public.thumbprints().clone(), fully_specified })
}
