use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::{Map, Value};

use crate::jose::json::strict_object;
use crate::jose::{Algorithm, KeyError};
use crate::vocabulary::digest::sha256;

/// A public JSON Web Key for verifying signatures ([RFC 7517]).
///
/// It never holds private or symmetric members: there is no way to put them in. Serialises with `use`, `alg` and `kid`.
///
/// [RFC 7517]: https://www.rfc-editor.org/rfc/rfc7517
#[derive(Clone, PartialEq, Eq)]
pub struct Jwk {
    material: Material,
    kid: String,
}

/// The numbers of a key, big-endian and of the one length they may have.
#[derive(Clone, PartialEq, Eq)]
enum Material {
    Ed25519 { x: [u8; 32] },
    P256 { x: [u8; 32], y: [u8; 32] },
    Rsa { n: Vec<u8>, e: Vec<u8> },
}

impl Jwk {
    /// An Ed25519 key from its 32 bytes.
    pub(crate) fn ed25519(x: &[u8]) -> Result<Self, KeyError> {
        let x: [u8; 32] = x.try_into().map_err(|_| KeyError::Unsupported)?;
        if is_weak_ed25519(x) {
            return Err(KeyError::Unsupported);
        }
        Ok(Self::from_material(Material::Ed25519 { x }))
    }

    /// A P-256 key from its uncompressed point.
    pub(crate) fn p256(point: &[u8]) -> Result<Self, KeyError> {
        match point.split_first() {
            Some((4, coordinates)) if coordinates.len() == 64 => {
                let (x, y) = coordinates.split_at(32);
                let x = x.try_into().map_err(|_| KeyError::Unsupported)?;
                let y = y.try_into().map_err(|_| KeyError::Unsupported)?;
                Ok(Self::from_material(Material::P256 { x, y }))
            }
            _ => Err(KeyError::Unsupported),
        }
    }

    /// An RSA key from modulus and exponent.
    pub(crate) fn rsa(n: &[u8], e: &[u8]) -> Result<Self, KeyError> {
        if n.len() < 256 || n.first().is_none_or(|high| *high < 0x80) && n.len() == 256 {
            return Err(KeyError::TooShort);
        }
        // Canonical: no leading zero. The exponent is odd and at least 3, and small, or verifying gets expensive.
        let canonical = n.first() != Some(&0) && e.first().is_some_and(|high| *high != 0) && n.len() <= 1024;
        let odd = |number: &[u8]| number.last().is_some_and(|low| low % 2 == 1);
        let sound = odd(n) && odd(e) && e.len() <= 8 && e != [1];
        if canonical && sound {
            Ok(Self::from_material(Material::Rsa { n: n.to_vec(), e: e.to_vec() }))
        } else {
            Err(KeyError::Unsupported)
        }
    }

    fn from_material(material: Material) -> Self {
        let kid = URL_SAFE_NO_PAD.encode(sha256(material.canonical_json().as_bytes()));
        Self { material, kid }
    }

    /// Reads one key. A `kid` is kept, a missing one becomes the thumbprint (RFC 7638).
    ///
    /// # Errors
    ///
    /// For a key with private or symmetric members, one that is not for verifying (`use`, `key_ops`), one that is
    /// malformed, too short or of a kind that is not supported.
    pub fn from_json(json: &[u8]) -> Result<Self, KeyError> {
        Self::from_object(&strict_object(json).ok_or(KeyError::Unsupported)?)
    }

    fn from_object(object: &Map<String, Value>) -> Result<Self, KeyError> {
        const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
        if PRIVATE.iter().any(|member| object.contains_key(*member)) {
            return Err(KeyError::Private);
        }
        let text = |name: &str| match object.get(name) {
            None => Ok(None),
            Some(value) => value.as_str().map(Some).ok_or(KeyError::Unsupported),
        };
        let number = |name: &str| {
            let encoded = text(name)?.ok_or(KeyError::Unsupported)?;
            URL_SAFE_NO_PAD.decode(encoded).map_err(|_| KeyError::Unsupported)
        };
        let mut key = match (text("kty")?, text("crv")?) {
            (Some("OKP"), Some("Ed25519")) => Self::ed25519(&number("x")?)?,
            (Some("EC"), Some("P-256")) => {
                let (x, y) = (number("x")?, number("y")?);
                if x.len() != 32 || y.len() != 32 {
                    return Err(KeyError::Unsupported);
                }
                Self::p256(&[&[4], &*x, &*y].concat())?
            }
            (Some("RSA"), None) => Self::rsa(&number("n")?, &number("e")?)?,
            _ => return Err(KeyError::Unsupported),
        };
        let algorithm_fits = text("alg")?.is_none_or(|alg| alg == key.algorithm().as_str());
        let for_signatures = text("use")?.is_none_or(|usage| usage == "sig");
        let for_verifying = match object.get("key_ops") {
            None => true,
            Some(operations) => operations.as_array().is_some_and(|list| list.iter().any(|entry| entry == "verify")),
        };
        if !(algorithm_fits && for_signatures && for_verifying) {
            return Err(KeyError::Unsupported);
        }
        match text("kid")? {
            None => {}
            Some(kid) if (1..=256).contains(&kid.len()) => key.kid = kid.to_owned(),
            Some(_) => return Err(KeyError::Unsupported),
        }
        key.parsed()?;
        Ok(key)
    }

    /// The key's identifier: the RFC 7638 thumbprint, unless it was read with another one.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The one algorithm the key is used with.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        match self.material {
            Material::Ed25519 { .. } => Algorithm::EdDsa,
            Material::P256 { .. } => Algorithm::Es256,
            Material::Rsa { .. } => Algorithm::Rs256,
        }
    }

    pub(crate) fn parsed(&self) -> Result<aws_lc_rs::signature::ParsedPublicKey, KeyError> {
        use aws_lc_rs::signature::{
            ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
        };
        // AWS-LC refuses points that are not on the curve.
        match &self.material {
            Material::Ed25519 { x } => ParsedPublicKey::new(&ED25519, x),
            Material::P256 { x, y } => ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, [&[4], &x[..], &y[..]].concat()),
            Material::Rsa { n, e } => RsaPublicKeyComponents { n, e }.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256),
        }
        .map_err(|_| KeyError::Unsupported)
    }
}

/// Whether these bytes are a point of small order, under which anybody can sign anything, or not the one spelling of
/// a point (RFC 8032 section 5.1.3). AWS-LC checks neither.
fn is_weak_ed25519(mut y: [u8; 32]) -> bool {
    /// The two y of order eight, little-endian.
    const ORDER_EIGHT: [[u8; 32]; 2] = [
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
            0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
        ],
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
            0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
        ],
    ];
    let [first, middle @ .., last] = &mut y;
    *last &= 0x7f; // the sign of x
    let rest = |byte: u8, end: u8| middle.iter().all(|own| *own == byte) && *last == end;
    // y = 0 and 1: orders 4 and 1. y = p - 1: order 2; p and more are other spellings of small numbers.
    let edge = (*first <= 1 && rest(0, 0)) || (*first >= 0xec && rest(0xff, 0x7f));
    edge || ORDER_EIGHT.contains(&y)
}

impl Material {
    /// The members that define the key, in lexicographic order (RFC 7638 section 3).
    fn members(&self) -> Vec<(&'static str, String)> {
        let encode = |number: &[u8]| URL_SAFE_NO_PAD.encode(number);
        match self {
            Self::Ed25519 { x } => vec![("crv", "Ed25519".into()), ("kty", "OKP".into()), ("x", encode(x))],
            Self::P256 { x, y } => {
                vec![("crv", "P-256".into()), ("kty", "EC".into()), ("x", encode(x)), ("y", encode(y))]
            }
            Self::Rsa { n, e } => vec![("e", encode(e)), ("kty", "RSA".into()), ("n", encode(n))],
        }
    }

    fn canonical_json(&self) -> String {
        let members: Vec<_> = self.members().iter().map(|(name, value)| format!(r#""{name}":"{value}""#)).collect();
        format!("{{{}}}", members.join(","))
    }
}

impl Serialize for Jwk {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.material.members() {
            map.serialize_entry(name, &value)?;
        }
        map.serialize_entry("use", "sig")?;
        map.serialize_entry("alg", self.algorithm().as_str())?;
        map.serialize_entry("kid", &self.kid)?;
        map.end()
    }
}

impl fmt::Debug for Jwk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwk").field("alg", &self.algorithm()).field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// A set of public keys: the JWKS document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct JwkSet {
    /// The keys.
    pub keys: Vec<Jwk>,
}

impl JwkSet {
    /// Reads a JWKS document, such as another server publishes.
    ///
    /// Keys of kinds that are not supported here are passed over, as RFC 7517 section 5 asks for. One that holds
    /// private members spoils the whole set: whoever publishes it has lost it.
    ///
    /// # Errors
    ///
    /// For what is not a key set, for more than 20 keys, for private or symmetric members, for two keys with the same
    /// `kid`, and where no usable key is left.
    pub fn from_json(json: &[u8]) -> Result<Self, KeyError> {
        let object = strict_object(json).ok_or(KeyError::Set)?;
        let entries = object.get("keys").and_then(Value::as_array).ok_or(KeyError::Set)?;
        if entries.len() > 20 {
            return Err(KeyError::Set);
        }
        let mut set = Self::default();
        for entry in entries {
            match Jwk::from_object(entry.as_object().ok_or(KeyError::Set)?) {
                Ok(key) => set.push(key)?,
                Err(KeyError::Private) => return Err(KeyError::Private),
                Err(_) => {}
            }
        }
        if set.keys.is_empty() { Err(KeyError::Empty) } else { Ok(set) }
    }

    pub(crate) fn push(&mut self, key: Jwk) -> Result<(), KeyError> {
        if self.keys.iter().any(|own| own.kid == key.kid) {
            return Err(KeyError::RepeatedKid);
        }
        self.keys.push(key);
        Ok(())
    }
}

impl FromIterator<Jwk> for JwkSet {
    /// Of several keys with the same `kid`, the first is kept.
    fn from_iter<I: IntoIterator<Item = Jwk>>(keys: I) -> Self {
        let mut set = Self::default();
        for key in keys {
            let _ = set.push(key);
        }
        set
    }
}
