//! Strict compact JWS (RFC 7515), keys and key sets (RFC 7517). Everything that reads or makes a JWT
//! stands on this module.
//!
//! Keys are read through the data model of jsonwebtoken, and convert into it and out of it
//! ([`Jwk`], [`JwkSet`], [`Algorithm`]). Signing and the reading of tokens are not that crate's, for
//! three reasons:
//!
//! * It signs and verifies through a process-global provider, which panics where a host's
//!   dependencies switch on two backends, or none. So this crate switches on none of its features.
//! * It makes a signer anew at each call. Keys that are parsed once cost less: for HS256, EdDSA,
//!   ES256 and RS256 0.41, 10.2, 19.8 and 353 µs a signature here, and 0.65, 18.9, 32.5 and 854 µs
//!   there.
//! * Its `decode` accepts tokens with `crit` or `zip`, of any `typ`, with an array as `iss`, and
//!   with repeated claims. They are refused here before any signature is computed
//!   ([RFC 8725](https://www.rfc-editor.org/rfc/rfc8725)).
//!
//! Its model does not know ES512, nor Ed25519 by the name of RFC 9864, and takes private members.
//! So `alg` and private members are looked at here, ahead of it.

mod algorithm;
pub(crate) mod compact;
mod curve;
mod date;
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
    #[error("no private key found in the PEM text")]
    Pem,
    /// The private key is an Ed25519 key in the PKCS#8 form that the crate ring writes. It is not that of RFC 8410, and
    /// hardly any other program reads it. [`SigningKeys::from_pem`] says how to convert the file.
    #[error(
        "an Ed25519 key in the PKCS#8 form of the crate ring, which is not that of RFC 8410: convert it to PKCS#8 \
         version 1 in PEM, keeping its seed (see SigningKeys::from_pem), or make a new one with \
         `openssl genpkey -algorithm ed25519`"
    )]
    RingPkcs8,
    /// The key is of a kind that is not supported (supported: Ed25519, EC P-256, P-384 and P-521, RSA), or a private key
    /// that cannot be read.
    #[error(
        "the private key cannot be read, or the key is of a kind that is not supported (supported: Ed25519, EC P-256, \
         P-384 and P-521, RSA of 2,048 bits or more)"
    )]
    Unsupported,
    /// The key is no JSON object, or one that repeats a member.
    #[error("the key is not a JSON object without repeated members")]
    NotAnObject,
    /// This member of the key is missing, or not what it should be.
    #[error("the member {0:?} of the key is missing or malformed")]
    Malformed(&'static str),
    /// The numbers are not those of a sound key: a point that is not on its curve or of small order, an RSA modulus or
    /// exponent that is even or too large.
    #[error("the numbers of the key are not valid: point, modulus or exponent")]
    Invalid,
    /// The key is not for this algorithm; or, where a client is registered, none of its keys is for one of those given.
    #[error("the key is not for this algorithm")]
    Algorithm,
    /// No algorithm that is supported has this name, of which no more than 32 characters are kept. Case matters.
    #[error("{0:?} is not the name of an algorithm that is supported")]
    UnknownAlgorithm(String),
    /// The key is not for verifying signatures, by its `use` or `key_ops`.
    #[error("the key is not for verifying signatures (use, key_ops)")]
    Purpose,
    /// An RSA key under 2,048 bits, or an HMAC secret shorter than its hash: 32, 48 or 64 bytes.
    #[error("the key is too short")]
    TooShort,
    /// A key for publishing or verifying holds private members.
    #[error("a public key was expected, and this one holds private members")]
    Private,
    /// The JSON is not a key set, or one of more than 20 entries. A single key is none: see [`Jwk::from_json`].
    #[error("not a JSON Web Key set, {{\"keys\": […]}}, of at most 20 entries")]
    Set,
    /// Two keys have the same `kid`: of a set that is read, two different ones for the same algorithm; of keys that are
    /// published or make refresh tokens, any two.
    #[error("two keys have the same kid")]
    RepeatedKid,
    /// There is no key for verifying.
    #[error("no key is left to verify with")]
    Empty,
    /// No entry of the set can be used. Each is named with its reason.
    #[error("no key of the set can be used: {}", listed(.0))]
    Unusable(Vec<UnusableKey>),
    /// A signature of the private key does not verify with its public key.
    #[error("the private and the public key do not belong together")]
    Mismatch,
    /// The key could not be made, for want of randomness.
    #[error("the key could not be generated")]
    Generation,
}

/// Entries that were passed over, in one line.
fn listed(keys: &[UnusableKey]) -> String {
    keys.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
