//! The JWS signature algorithms (RFC 7518 section 3), and their names in headers, keys,
//! registrations and metadata.

use std::fmt;
use std::str::FromStr;

use crate::jose::KeyError;

/// A signature algorithm ([RFC 7518], [RFC 8037], [RFC 9864]). `none` is not one of them.
///
/// It parses from either name of an algorithm that has two, as in a client registration
/// (`token_endpoint_auth_signing_alg`). Case matters. Any other name is a
/// [`KeyError::UnknownAlgorithm`].
///
/// ```
/// use password_grant::Algorithm;
///
/// assert_eq!("Ed25519".parse::<Algorithm>()?, Algorithm::EdDsa);
/// assert_eq!("EdDSA".parse::<Algorithm>()?, Algorithm::EdDsa);
/// assert!("none".parse::<Algorithm>().is_err());
/// # Ok::<(), password_grant::jose::KeyError>(())
/// ```
///
/// [RFC 7518]: https://www.rfc-editor.org/rfc/rfc7518#section-3
/// [RFC 8037]: https://www.rfc-editor.org/rfc/rfc8037#section-3.1
/// [RFC 9864]: https://www.rfc-editor.org/rfc/rfc9864#section-2
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// Ed25519. It has two names: `EdDSA` (RFC 8037), and `Ed25519`, which replaces it (RFC 9864).
    /// Both are read everywhere. `EdDSA` is written unless
    /// [`SigningKeys::with_ed25519_name`](crate::SigningKeys::with_ed25519_name) selects the other.
    /// Many verifiers know only one of the two.
    EdDsa,
    /// ECDSA on P-256 with SHA-256. The default: fast, small, and known to every verifier.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// ECDSA on P-521 with SHA-512.
    Es512,
    /// RSA PKCS#1 v1.5 with SHA-256.
    Rs256,
    /// RSA PKCS#1 v1.5 with SHA-384.
    Rs384,
    /// RSA PKCS#1 v1.5 with SHA-512.
    Rs512,
    /// RSA PSS with SHA-256.
    Ps256,
    /// RSA PSS with SHA-384.
    Ps384,
    /// RSA PSS with SHA-512.
    Ps512,
    /// HMAC with SHA-256. Everybody who can verify can also sign, so use it only where both sides
    /// are one, or trust each other.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
}

impl Algorithm {
    /// The algorithms of RSA keys. RS256 is first, because a key without `alg` is used with it.
    pub(crate) const RSA: [Self; 6] =
        [Self::Rs256, Self::Rs384, Self::Rs512, Self::Ps256, Self::Ps384, Self::Ps512];
    /// The algorithms with a public key.
    pub(crate) const ASYMMETRIC: [Self; 10] = [
        Self::EdDsa,
        Self::Es256,
        Self::Es384,
        Self::Es512,
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
    ];
    /// The algorithms with a shared secret.
    pub(crate) const SYMMETRIC: [Self; 3] = [Self::Hs256, Self::Hs384, Self::Hs512];

    /// The value of `alg`. For Ed25519 it is the older of the two names, `EdDSA`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
        }
    }

    /// The name in RFC 9864, where it differs from [`as_str`](Self::as_str).
    const fn second_name(self) -> Option<&'static str> {
        match self {
            Self::EdDsa => Some("Ed25519"),
            _ => None,
        }
    }

    /// Every name that is read for this algorithm; the one that is written by default comes first.
    pub(crate) fn names(self) -> impl Iterator<Item = &'static str> {
        [Some(self.as_str()), self.second_name()].into_iter().flatten()
    }

    /// The fully specified name (RFC 9864) if it is wanted and there is one, otherwise
    /// [`as_str`](Self::as_str).
    pub(crate) fn name(self, fully_specified: bool) -> &'static str {
        self.second_name().filter(|_| fully_specified).unwrap_or(self.as_str())
    }

    pub(crate) fn is_symmetric(self) -> bool {
        Self::SYMMETRIC.contains(&self)
    }

    /// The algorithm of this name. Case matters.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let known = |algorithm: &Self| algorithm.names().any(|own| own == name);
        Self::ASYMMETRIC.into_iter().chain(Self::SYMMETRIC).find(known)
    }
}

impl FromStr for Algorithm {
    type Err = KeyError;

    fn from_str(name: &str) -> Result<Self, KeyError> {
        Self::named(name).ok_or_else(|| KeyError::UnknownAlgorithm(name.chars().take(32).collect()))
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
