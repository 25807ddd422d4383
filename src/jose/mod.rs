//! Strict compact JWS (RFC 7515), keys and key sets (RFC 7517). On the ground: everything that reads or makes a JWT
//! stands on it.

mod algorithm;
pub(crate) mod compact;
mod json;
mod jwk;
mod signing;
mod verification;

pub use algorithm::Algorithm;
pub(crate) use json::strict_object;
pub(crate) use jwk::Thumbprints;
pub use jwk::{Jwk, JwkSet};
pub(crate) use signing::{Hmac, PrivateJwk, private_key_from_jwk, private_key_from_pem};
pub use signing::{SigningKey, SigningKeys};
pub use verification::VerificationKeys;

/// Why a key or a key set was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// There is no private key in this PEM text.
    #[error("no private key found in the PEM text")]
    Pem,
    /// The key is malformed, or of a kind that is not supported (supported: Ed25519, EC P-256 and P-384, RSA).
    #[error("the key is malformed or of a kind that is not supported")]
    Unsupported,
    /// An RSA key under 2,048 bits, or an HMAC secret shorter than its hash: 32, 48 or 64 bytes.
    #[error("the key is too short")]
    TooShort,
    /// A key for publishing or verifying holds private members.
    #[error("a public key was expected, and this one holds private members")]
    Private,
    /// The JSON is not a key set, or holds more than 20 keys.
    #[error("not a JSON Web Key set of at most 20 keys")]
    Set,
    /// Two keys of a set have the same `kid`.
    #[error("two keys have the same kid")]
    RepeatedKid,
    /// There is no key for verifying.
    #[error("no key is left to verify with")]
    Empty,
    /// A signature of the private key does not verify with its public key.
    #[error("the private and the public key do not belong together")]
    Mismatch,
    /// The key could not be made, for want of randomness.
    #[error("the key could not be generated")]
    Generation,
}
