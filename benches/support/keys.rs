//! One key in all measured forms: the engine's, the bare one of aws-lc-rs, and that of
//! jsonwebtoken.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair,
    Ed25519KeyPair, KeyPair as PublicHalf, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use password_grant::assertion::AssertionKey;
use password_grant::jose::VerificationKeys;
use password_grant::{Algorithm, SigningKeys};

/// The length of the longest signature in bytes, which is that of RSA with 2,048 bits.
pub const SIGNATURE: usize = 256;

/// A private key: PKCS#8, or for HS256 the secret itself.
pub struct KeyPair {
    algorithm: Algorithm,
    private: Vec<u8>,
}

impl KeyPair {
    pub fn generate(algorithm: Algorithm) -> Self {
        let random = SystemRandom::new();
        let private = match algorithm {
            Algorithm::Hs256 => {
                let mut secret = vec![0; 32];
                aws_lc_rs::rand::fill(&mut secret).expect("randomness");
                secret
            }
            Algorithm::EdDsa => {
                Ed25519KeyPair::generate_pkcs8v1(&random).expect("a key").as_ref().to_vec()
            }
            Algorithm::Es256 => {
                EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
                    .expect("a key")
                    .as_ref()
                    .to_vec()
            }
            Algorithm::Rs256 => RsaKeyPair::generate(KeySize::Rsa2048)
                .and_then(|key| key.as_der())
                .expect("a key")
                .as_ref()
                .to_vec(),
            other => panic!("no key for {other}"),
        };
        Self { algorithm, private }
    }

    fn pem(&self) -> String {
        format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            STANDARD.encode(&self.private)
        )
    }

    pub fn signing_keys(&self) -> SigningKeys {
        match self.algorithm {
            Algorithm::Hs256 => SigningKeys::from_hs256_secret(&self.private),
            _ => SigningKeys::from_pem(self.pem()),
        }
        .expect("a signing key")
    }

    /// The key for a client that signs assertions with it.
    pub fn assertion_key(&self) -> AssertionKey {
        match self.algorithm {
            Algorithm::Hs256 => AssertionKey::from_secret(&self.private),
            _ => AssertionKey::from_pem(self.pem()),
        }
        .expect("a key")
    }

    /// The secret of an HS256 key.
    pub fn secret(&self) -> &[u8] {
        assert_eq!(self.algorithm, Algorithm::Hs256);
        &self.private
    }

    pub fn verification_keys(&self) -> VerificationKeys {
        self.signing_keys().verification_keys().expect("verification keys")
    }

    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key identifier in the header of the engine's tokens.
    pub fn kid(&self) -> Option<String> {
        match self.algorithm {
            Algorithm::Hs256 => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, &self.private);
                Some(
                    URL_SAFE_NO_PAD.encode(&hmac::sign(&key, b"password-grant kid").as_ref()[..16]),
                )
            }
            _ => self.signing_keys().public_jwk().map(|key| key.kid().to_owned()),
        }
    }

    pub fn bare_signature(&self) -> BareSignature {
        match self.algorithm {
            Algorithm::Hs256 => {
                BareSignature::Hs256(Box::new(hmac::Key::new(hmac::HMAC_SHA256, &self.private)))
            }
            Algorithm::EdDsa => BareSignature::EdDsa(
                Ed25519KeyPair::from_pkcs8_maybe_unchecked(&self.private).expect("a key"),
            ),
            Algorithm::Es256 => BareSignature::Es256(
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.private)
                    .expect("a key"),
            ),
            _ => BareSignature::Rs256(RsaKeyPair::from_pkcs8(&self.private).expect("a key")),
        }
    }

    pub fn bare_verification(&self) -> BareVerification {
        let public = match self.bare_signature() {
            BareSignature::Hs256(key) => return BareVerification::Shared(key),
            BareSignature::EdDsa(pair) => ParsedPublicKey::new(&ED25519, pair.public_key()),
            BareSignature::Es256(pair) => {
                ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key())
            }
            BareSignature::Rs256(pair) => {
                ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key())
            }
        };
        BareVerification::Public(public.expect("a public key"))
    }

    pub fn jsonwebtoken(&self) -> (jsonwebtoken::Algorithm, jsonwebtoken::EncodingKey) {
        use jsonwebtoken::{Algorithm as Name, EncodingKey};
        let pem = self.pem();
        match self.algorithm {
            Algorithm::Hs256 => (Name::HS256, EncodingKey::from_secret(&self.private)),
            Algorithm::EdDsa => {
                (Name::EdDSA, EncodingKey::from_ed_pem(pem.as_bytes()).expect("a key"))
            }
            Algorithm::Es256 => {
                (Name::ES256, EncodingKey::from_ec_pem(pem.as_bytes()).expect("a key"))
            }
            _ => (Name::RS256, EncodingKey::from_rsa_pem(pem.as_bytes()).expect("a key")),
        }
    }
}

/// Makes a signature and nothing else, with the key parsed beforehand.
pub enum BareSignature {
    Hs256(Box<hmac::Key>),
    EdDsa(Ed25519KeyPair),
    Es256(EcdsaKeyPair),
    Rs256(RsaKeyPair),
}

impl BareSignature {
    /// Writes the signature and returns its length.
    #[inline]
    pub fn sign(&self, message: &[u8], out: &mut [u8; SIGNATURE]) -> usize {
        let copy = |signature: &[u8], out: &mut [u8; SIGNATURE]| {
            out[..signature.len()].copy_from_slice(signature);
            signature.len()
        };
        match self {
            Self::Hs256(key) => copy(hmac::sign(key, message).as_ref(), out),
            Self::EdDsa(pair) => copy(pair.sign(message).as_ref(), out),
            Self::Es256(pair) => {
                copy(pair.sign(&SystemRandom::new(), message).expect("a signature").as_ref(), out)
            }
            Self::Rs256(pair) => {
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, out)
                    .expect("a signature");
                pair.public_modulus_len()
            }
        }
    }
}

/// Verifies a signature and nothing else, with the key parsed beforehand.
pub enum BareVerification {
    Shared(Box<hmac::Key>),
    Public(ParsedPublicKey),
}

impl BareVerification {
    #[inline]
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Shared(key) => hmac::verify(key, message, signature).is_ok(),
            Self::Public(key) => key.verify_sig(message, signature).is_ok(),
        }
    }
}

pub fn decoded(base64url: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(base64url).expect("base64url")
}
