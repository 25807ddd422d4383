//! The signature algorithms of RSA keys (RFC 7518 sections 3.3 and 3.5), each with its padding and
//! hash.

use aws_lc_rs::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
    RSA_PSS_SHA512, RsaEncoding, RsaParameters,
};

use crate::jose::Algorithm;

/// The signing and verification parameters of one algorithm.
#[derive(Clone, Copy)]
pub(crate) struct RsaScheme {
    pub(crate) signing: &'static dyn RsaEncoding,
    pub(crate) verification: &'static RsaParameters,
}

impl RsaScheme {
    /// Returns `None` for an algorithm that is not for RSA keys.
    pub(crate) fn of(algorithm: Algorithm) -> Option<Self> {
        let (signing, verification): (&dyn RsaEncoding, _) = match algorithm {
            Algorithm::Rs256 => (&RSA_PKCS1_SHA256, &RSA_PKCS1_2048_8192_SHA256),
            Algorithm::Rs384 => (&RSA_PKCS1_SHA384, &RSA_PKCS1_2048_8192_SHA384),
            Algorithm::Rs512 => (&RSA_PKCS1_SHA512, &RSA_PKCS1_2048_8192_SHA512),
            Algorithm::Ps256 => (&RSA_PSS_SHA256, &RSA_PSS_2048_8192_SHA256),
            Algorithm::Ps384 => (&RSA_PSS_SHA384, &RSA_PSS_2048_8192_SHA384),
            Algorithm::Ps512 => (&RSA_PSS_SHA512, &RSA_PSS_2048_8192_SHA512),
            _ => return None,
        };
        Some(Self { signing, verification })
    }
}
