//! What a text looks like that is no private key to sign with, so that the error can say so. Nothing
//! here decides whether a key is accepted.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::{PemObject, SectionKind};

use crate::jose::KeyError;

/// The error for a text in which no private key was found.
pub(super) fn not_a_private_key(text: &[u8]) -> KeyError {
    let has = |part: &str| text.windows(part.len()).any(|window| window == part.as_bytes());
    // The older form has the second one in its headers.
    if has("-----BEGIN ENCRYPTED PRIVATE KEY-----") || has("Proc-Type: 4,ENCRYPTED") {
        return KeyError::Encrypted;
    }
    if let Some(Ok((kind, _))) = <(SectionKind, Vec<u8>)>::pem_slice_iter(text).next() {
        return match kind {
            SectionKind::Certificate | SectionKind::PublicKey => KeyError::PublicPem,
            _ => KeyError::Pem,
        };
    }
    if has("-----BEGIN RSA PUBLIC KEY-----") || has("-----BEGIN CERTIFICATE") {
        return KeyError::PublicPem;
    }
    let text = text.trim_ascii();
    let is_one_line = !text.contains(&b'\n') && STANDARD.decode(text).is_err();
    let names_a_file =
        [".pem", ".key", ".der", ".p8"].iter().any(|end| text.ends_with(end.as_bytes()));
    if is_one_line && text.len() < 1024 && (names_a_file || text.contains(&b'/')) {
        return KeyError::Path;
    }
    KeyError::Pem
}

/// The error for a private key in DER that cannot sign here. `is_pkcs1` says that it is an RSA key
/// without the frame of PKCS#8.
pub(super) fn unsupported(der: &[u8], is_pkcs1: bool) -> KeyError {
    const RSA: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
    let after = |oid: &[u8]| {
        der.windows(oid.len())
            .position(|window| window == oid)
            .and_then(|at| der.get(at + oid.len()..))
    };
    let pkcs1 = if is_pkcs1 {
        Some(der)
    } else {
        // The parameters are NULL, and the key stands in an OCTET STRING.
        after(RSA)
            .map(|rest| rest.strip_prefix(&[5, 0]).unwrap_or(rest))
            .and_then(|rest| content(rest, 4))
    };
    if let Some(found) = pkcs1.and_then(rsa_bits)
        && found < 2048
    {
        return KeyError::ShortRsaKey { found };
    }
    let kinds: [(&[u8], &str); 8] = [
        (&[6, 3, 0x2b, 0x65, 0x6e], "X25519, which agrees on keys and does not sign"),
        (&[6, 3, 0x2b, 0x65, 0x6f], "X448, which agrees on keys and does not sign"),
        (&[6, 3, 0x2b, 0x65, 0x71], "Ed448"),
        (&[6, 5, 0x2b, 0x81, 4, 0, 0x0a], "EC secp256k1"),
        (&[6, 5, 0x2b, 0x81, 4, 0, 0x21], "EC P-224"),
        (&[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x38, 4, 1], "DSA"),
        (&[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 0x0a], "RSA for PSS alone"),
        (&[6, 9, 0x2b, 0x24, 3, 3, 2, 8, 1], "EC on a Brainpool curve"),
    ];
    let kind = kinds.iter().find(|(oid, _)| after(oid).is_some());
    kind.map_or(KeyError::Unsupported, |(_, kind)| KeyError::UnsupportedKind(kind))
}

/// The length of the modulus in PKCS#1 (RFC 8017 appendix A.1.2), in bits.
fn rsa_bits(pkcs1: &[u8]) -> Option<usize> {
    let version = content(pkcs1, 0x30)?;
    let rest = version.strip_prefix(&[2, 1, 0])?;
    let modulus = content(rest, 2)?;
    let significant = modulus.iter().position(|byte| *byte != 0)?;
    let modulus = modulus.get(significant..)?;
    let first = modulus.first()?;
    Some(modulus.len() * 8 - first.leading_zeros() as usize)
}

/// The content of the DER element at the beginning, if it has this tag.
fn content(der: &[u8], tag: u8) -> Option<&[u8]> {
    let rest = der.strip_prefix(&[tag])?;
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        short @ 0..0x80 => (usize::from(*short), rest),
        long => {
            let (digits, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            let add = |sum: usize, digit: &u8| sum.checked_mul(256)?.checked_add((*digit).into());
            (digits.iter().try_fold(0, add)?, rest)
        }
    };
    rest.get(..length)
}
