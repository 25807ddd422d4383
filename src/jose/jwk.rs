use std::fmt;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA256, RsaPublicKeyComponents,
};
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
/// It never holds private or symmetric members: there is no way to put them in. Serialises with `use`, `kid`, `alg` unless
/// it is for several, and the thumbprints of its certificate where it has them; what was written is read back as it was.
///
/// [RFC 7517]: https://www.rfc-editor.org/rfc/rfc7517
#[derive(Clone, PartialEq, Eq)]
pub struct Jwk {
    material: Material,
    kid: String,
    /// The one algorithm it is used with, where its kind has several.
    algorithm: Option<Algorithm>,
    thumbprints: Thumbprints,
}

/// Of the key's certificate: names by which an assertion may refer to the key (RFC 7515 sections 4.1.7 and 4.1.8).
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Thumbprints {
    /// `x5t`: SHA-1, in base64url.
    pub(crate) sha1: Option<String>,
    /// `x5t#S256`: SHA-256, in base64url.
    pub(crate) sha256: Option<String>,
}

impl Thumbprints {
    /// Of a certificate in DER.
    pub(crate) fn of(certificate: &[u8]) -> Self {
        let sha1 = digest(&SHA1_FOR_LEGACY_USE_ONLY, certificate);
        Self { sha1: Some(URL_SAFE_NO_PAD.encode(sha1)), sha256: Some(URL_SAFE_NO_PAD.encode(sha256(certificate))) }
    }
}

/// The numbers of a key, big-endian and of the one length they may have.
#[derive(Clone, PartialEq, Eq)]
enum Material {
    Ed25519 { x: [u8; 32] },
    P256 { x: [u8; 32], y: [u8; 32] },
    P384 { x: [u8; 48], y: [u8; 48] },
    Rsa { n: Vec<u8>, e: Vec<u8> },
}

/// What a public key is made of.
pub(crate) enum Numbers<'a> {
    Ed25519(&'a [u8]),
    /// The uncompressed point.
    Ec(Vec<u8>),
    Rsa {
        n: &'a [u8],
        e: &'a [u8],
    },
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

    /// A P-256 or P-384 key from its uncompressed point.
    pub(crate) fn ec(point: &[u8]) -> Result<Self, KeyError> {
        let Some((4, coordinates)) = point.split_first() else { return Err(KeyError::Unsupported) };
        let (x, y) = coordinates.split_at(coordinates.len() / 2);
        let material = match (x.try_into(), y.try_into()) {
            (Ok(x), Ok(y)) => Material::P256 { x, y },
            _ => Material::P384 {
                x: x.try_into().map_err(|_| KeyError::Unsupported)?,
                y: y.try_into().map_err(|_| KeyError::Unsupported)?,
            },
        };
        Ok(Self::from_material(material))
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
        Self { material, kid, algorithm: None, thumbprints: Thumbprints::default() }
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

    pub(crate) fn from_object(object: &Map<String, Value>) -> Result<Self, KeyError> {
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
            (Some("EC"), Some(curve @ ("P-256" | "P-384"))) => {
                let (x, y) = (number("x")?, number("y")?);
                let length = if curve == "P-256" { 32 } else { 48 };
                if x.len() != length || y.len() != length {
                    return Err(KeyError::Unsupported);
                }
                Self::ec(&[&[4], &*x, &*y].concat())?
            }
            (Some("RSA"), None) => Self::rsa(&number("n")?, &number("e")?)?,
            _ => return Err(KeyError::Unsupported),
        };
        key.algorithm = match text("alg")? {
            None => None,
            Some(alg) => Some(Algorithm::named(alg).ok_or(KeyError::Unsupported)?),
        };
        let algorithm_fits = key.algorithm.is_none_or(|algorithm| key.fits().contains(&algorithm));
        key.algorithm = key.algorithm.filter(|_| key.fits().len() > 1);
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
        let thumbprint = |name: &str| match text(name)? {
            Some(thumbprint) if thumbprint.len() > 64 => Err(KeyError::Unsupported),
            thumbprint => Ok(thumbprint.map(str::to_owned)),
        };
        key.thumbprints = Thumbprints { sha1: thumbprint("x5t")?, sha256: thumbprint("x5t#S256")? };
        key.parsed(key.algorithm())?;
        Ok(key)
    }

    /// For this one of the algorithms of its kind.
    pub(crate) fn for_algorithm(mut self, algorithm: Algorithm) -> Result<Self, KeyError> {
        self.algorithm = Some(algorithm);
        if self.fits().contains(&algorithm) { Ok(self) } else { Err(KeyError::Unsupported) }
    }

    /// With another identifier, of 1 to 256 bytes; one of another length is not taken over.
    #[must_use]
    pub fn with_kid(mut self, kid: impl Into<String>) -> Self {
        let kid = kid.into();
        if (1..=256).contains(&kid.len()) {
            self.kid = kid;
        }
        self
    }

    /// With the thumbprints of its certificate (DER), by which an assertion may name the key (`x5t`, `x5t#S256`). The
    /// certificate itself is not looked at: it vouches for nothing here.
    #[must_use]
    pub fn with_certificate(mut self, der: &[u8]) -> Self {
        self.thumbprints = Thumbprints::of(der);
        self
    }

    /// The key's identifier: the RFC 7638 thumbprint, unless it was read with another one.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The algorithm the key is used with: its `alg`, or else the first that its kind is for.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        let [first, ..] = self.fits() else { return Algorithm::EdDsa };
        self.algorithm.unwrap_or(*first)
    }

    /// Every algorithm it may be used with.
    pub(crate) fn algorithms(&self) -> Vec<Algorithm> {
        match self.algorithm {
            Some(algorithm) => vec![algorithm],
            None => self.fits().to_vec(),
        }
    }

    /// The algorithms of its kind; never none.
    fn fits(&self) -> &'static [Algorithm] {
        match self.material {
            Material::Ed25519 { .. } => &[Algorithm::EdDsa],
            Material::P256 { .. } => &[Algorithm::Es256],
            Material::P384 { .. } => &[Algorithm::Es384],
            Material::Rsa { .. } => &[Algorithm::Rs256, Algorithm::Ps256],
        }
    }

    pub(crate) fn with_thumbprints(self, thumbprints: Thumbprints) -> Self {
        Self { thumbprints, ..self }
    }

    pub(crate) fn numbers(&self) -> Numbers<'_> {
        match &self.material {
            Material::Ed25519 { x } => Numbers::Ed25519(x),
            Material::P256 { x, y } => Numbers::Ec([&[4], &x[..], &y[..]].concat()),
            Material::P384 { x, y } => Numbers::Ec([&[4], &x[..], &y[..]].concat()),
            Material::Rsa { n, e } => Numbers::Rsa { n, e },
        }
    }

    pub(crate) fn thumbprints(&self) -> &Thumbprints {
        &self.thumbprints
    }

    /// To verify with, by one of its algorithms.
    pub(crate) fn parsed(&self, algorithm: Algorithm) -> Result<ParsedPublicKey, KeyError> {
        // AWS-LC refuses points that are not on the curve.
        match (self.numbers(), algorithm) {
            (Numbers::Ed25519(x), _) => ParsedPublicKey::new(&ED25519, x),
            (Numbers::Ec(point), Algorithm::Es384) => ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point),
            (Numbers::Ec(point), _) => ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point),
            (Numbers::Rsa { n, e }, Algorithm::Ps256) => {
                RsaPublicKeyComponents { n, e }.to_parsed_public_key(&RSA_PSS_2048_8192_SHA256)
            }
            (Numbers::Rsa { n, e }, _) => {
                RsaPublicKeyComponents { n, e }.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
            }
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
            Self::P384 { x, y } => {
                vec![("crv", "P-384".into()), ("kty", "EC".into()), ("x", encode(x)), ("y", encode(y))]
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
        // A key that is for several says nothing, or it would be read back as one for the first alone.
        if let [algorithm] = &*self.algorithms() {
            map.serialize_entry("alg", algorithm.as_str())?;
        }
        map.serialize_entry("kid", &self.kid)?;
        for (name, thumbprint) in [("x5t", &self.thumbprints.sha1), ("x5t#S256", &self.thumbprints.sha256)] {
            if let Some(thumbprint) = thumbprint {
                map.serialize_entry(name, thumbprint)?;
            }
        }
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
