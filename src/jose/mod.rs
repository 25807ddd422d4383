//! Strict compact JWS (RFC 7515), keys and key sets (RFC 7517). Everything in this crate that reads
//! or makes a JWT uses this module.
//!
//! Keys are read through the data model of jsonwebtoken, and convert into and from its types
//! ([`Jwk`], [`JwkSet`], [`Algorithm`]). Signing and the parsing of tokens do not use that crate,
//! for three reasons:
//!
//! * It signs and verifies through a process-global provider, which panics if a host's dependencies
//!   enable two backends, or none. So this crate enables none of its features.
//! * It builds a signer at each call. Keys that are parsed once cost less: a signature with HS256,
//!   EdDSA, ES256 and RS256 takes 0.41, 10.2, 19.8 and 353 µs here, and 0.65, 18.9, 32.5 and 854 µs
//!   there.
//! * Its `decode` accepts tokens with `crit` or `zip`, of any `typ`, with an array as `iss`, and
//!   with repeated claims. This module refuses them before any signature is computed ([RFC
//!   8725](https://www.rfc-editor.org/rfc/rfc8725)).
//!
//! Its model knows neither ES512 nor the RFC 9864 name of Ed25519, and accepts private members. So
//! this module checks `alg` and private members before it uses the model.

mod algorithm;
pub(crate) mod compact;
mod curve;
mod date;
mod diagnosis;
mod jwk;
mod jwk_set;
mod model;
mod rsa;
mod signing;
mod verification;

pub use algorithm::Algorithm;
pub(crate) use date::NumericDate;
pub use jwk::Jwk;
pub(crate) use jwk::Thumbprints;
pub use jwk_set::{JwkSet, UnusableKey};
pub(crate) use signing::{Hmac, PrivateJwk, private_key_from_jwk, private_key_from_pem};
pub use signing::{SigningKey, SigningKeys};
pub use verification::VerificationKeys;

/// Why a key or a key set was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// There is no private key in this PEM text.
    #[error("no private key found: the text is not that of a PEM file with a private key in it")]
    Pem,
    /// The text is the path of a file, and not its content.
    #[error("this is the path of a file: read the file, and pass what is in it")]
    Path,
    /// The private key is encrypted.
    #[error(
        "the private key is encrypted: decrypt it with `openssl pkey -in encrypted.pem -out \
         key.pem`, and protect the file by its permissions"
    )]
    Encrypted,
    /// The PEM text is a public key or a certificate.
    #[error("this is a public key or a certificate, which cannot sign: pass the private key")]
    PublicPem,
    /// The private key is of a kind that cannot sign here.
    #[error(
        "a private key of the kind {0}, which is not supported (supported: Ed25519, EC P-256, P-384 \
         and P-521, RSA of 2,048 bits or more)"
    )]
    UnsupportedKind(&'static str),
    /// The private key is an Ed25519 key in the PKCS#8 form that the crate ring writes. This form
    /// is not that of RFC 8410, and hardly any other program reads it. [`SigningKeys::from_pem`]
    /// says how to convert the file.
    #[error(
        "an Ed25519 key in the PKCS#8 form of the crate ring, which is not that of RFC 8410: \
         convert it to PKCS#8 version 1 in PEM, keeping its seed (see SigningKeys::from_pem), or \
         make a new one with `openssl genpkey -algorithm ed25519`"
    )]
    RingPkcs8,
    /// The key is of a kind that is not supported (supported: Ed25519, EC P-256, P-384 and P-521,
    /// RSA), or it is a private key that cannot be read.
    #[error(
        "the private key cannot be read, or the key is of a kind that is not supported (supported: \
         Ed25519, EC P-256, P-384 and P-521, RSA of 2,048 bits or more)"
    )]
    Unsupported,
    /// The key is not a JSON object, or it repeats a member.
    #[error("the key is not a JSON object without repeated members")]
    NotAnObject,
    /// This member of the key is missing or malformed.
    #[error("the member {0:?} of the key is missing or malformed")]
    Malformed(&'static str),
    /// The numbers do not form a valid key: a point that is not on its curve or is of small order,
    /// or an RSA modulus or exponent that is even or too large.
    #[error("the numbers of the key are not valid: point, modulus or exponent")]
    Invalid,
    /// The key is not for this algorithm. At the registration of a client: none of its keys is for
    /// one of the given algorithms.
    #[error("the key is not for this algorithm")]
    Algorithm,
    /// No supported algorithm has this name. At most 32 characters of the name are kept. Case
    /// matters.
    #[error("{0:?} is not the name of an algorithm that is supported")]
    UnknownAlgorithm(String),
    /// The `use` or `key_ops` of the key excludes verifying signatures.
    #[error("the key is not for verifying signatures (use, key_ops)")]
    Purpose,
    /// An RSA key has less than 2,048 bits.
    #[error(
        "an RSA key of {found} bits, and at least 2048 are needed: make one with `openssl genpkey \
         -algorithm RSA -pkeyopt rsa_keygen_bits:3072`, or an EC P-256 key"
    )]
    ShortRsaKey {
        /// Its length in bits.
        found: usize,
    },
    /// A secret has fewer bytes than needed: 32, or as many as its hash for an HMAC (RFC 7518
    /// section 3.2).
    #[error(
        "a secret of {found} bytes, and at least {needed} are needed: `openssl rand -base64 48` \
         makes one"
    )]
    ShortSecret {
        /// Its length in bytes.
        found: usize,
        /// The least number of bytes.
        needed: usize,
    },
    /// A key for publishing or verifying holds private members.
    #[error("a public key was expected, and this one holds private members")]
    Private,
    /// The JSON is not a key set, or a set of more than 20 entries. A single key is not a set: see
    /// [`Jwk::from_json`].
    #[error("not a JSON Web Key set, {{\"keys\": […]}}, of at most 20 entries")]
    Set,
    /// Two keys have the same `kid`. In a set that is read, these are two different keys for the
    /// same algorithm; among keys that are published or make refresh tokens, any two.
    #[error("two keys have the same kid")]
    RepeatedKid,
    /// No key is left to verify with.
    #[error("no key is left to verify with")]
    Empty,
    /// No entry of the set can be used. Each entry is listed with its reason.
    #[error("no key of the set can be used: {}", listed(.0))]
    Unusable(Vec<UnusableKey>),
    /// A signature of the private key does not verify with its public key.
    #[error("the private and the public key do not belong together")]
    Mismatch,
    /// The key could not be generated, because the random generator failed.
    #[error("the key could not be generated")]
    Generation,
}

/// Lists the entries that were passed over, in one line.
fn listed(keys: &[UnusableKey]) -> String {
    keys.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
