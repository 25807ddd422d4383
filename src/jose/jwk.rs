//! A public JSON Web Key (RFC 7517): reading it strictly, writing it, and parsing it for
//! verification.

use std::fmt;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use aws_lc_rs::signature::{ED25519, ParsedPublicKey, RsaPublicKeyComponents};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk as model;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::{Map, Value};

use crate::http::strict_json::strict_object;
use crate::jose::curve::Curve;
use crate::jose::rsa::RsaScheme;
use crate::jose::{Algorithm, KeyError};
use crate::types::digest::sha256;

/// A public JSON Web Key for verifying signatures ([RFC 7517]).
///
/// It cannot hold private or symmetric members. It serialises with `use`, `kid`, `alg` (unless the
/// key is for several algorithms), and the thumbprints of its certificate where it has them. A key
/// that is written and read back is the same.
///
/// [RFC 7517]: https://www.rfc-editor.org/rfc/rfc7517
#[derive(Clone, PartialEq, Eq)]
pub struct Jwk {
    material: Material,
    kid: String,
    /// The one algorithm of this key, where its kind has several.
    algorithm: Option<Algorithm>,
    /// Whether `alg` is written with the name of RFC 9864.
    fully_specified: bool,
    thumbprints: Thumbprints,
}

/// The thumbprints of the key's certificate, by which an assertion may name the key (RFC 7515
/// sections 4.1.7 and 4.1.8).
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Thumbprints {
    /// `x5t`: SHA-1, in base64url.
    pub(crate) sha1: Option<String>,
    /// `x5t#S256`: SHA-256, in base64url.
    pub(crate) sha256: Option<String>,
}

impl Thumbprints {
    /// The thumbprints of a certificate in DER.
    pub(crate) fn of(certificate: &[u8]) -> Self {
        let sha1 = digest(&SHA1_FOR_LEGACY_USE_ONLY, certificate);
        Self {
            sha1: Some(URL_SAFE_NO_PAD.encode(sha1)),
            sha256: Some(URL_SAFE_NO_PAD.encode(sha256(certificate))),
        }
    }
}

/// The numbers of a key, big-endian and of their one valid length.
#[derive(Clone, PartialEq, Eq)]
enum Material {
    Ed25519 {
        x: [u8; 32],
    },
    /// The uncompressed point: the byte 4, x, y.
    Ec {
        curve: Curve,
        point: Vec<u8>,
    },
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
}

/// The numbers of a public key.
pub(crate) enum Numbers<'a> {
    Ed25519(&'a [u8]),
    /// The uncompressed point.
    Ec(Curve, &'a [u8]),
    Rsa {
        n: &'a [u8],
        e: &'a [u8],
    },
}

impl Jwk {
    /// The longest `kid`, in bytes.
    pub(crate) const KID: usize = 256;

    /// An Ed25519 key from its 32 bytes.
    pub(crate) fn ed25519(x: &[u8]) -> Result<Self, KeyError> {
        let x: [u8; 32] = x.try_into().map_err(|_| KeyError::Malformed("x"))?;
        if is_weak_ed25519(x) {
            return Err(KeyError::Invalid);
        }
        Ok(Self::from_material(Material::Ed25519 { x }))
    }

    /// An EC key from its uncompressed point. Whether the point lies on the curve is checked by
    /// [`parsed`](Self::parsed).
    pub(crate) fn ec(curve: Curve, point: &[u8]) -> Result<Self, KeyError> {
        if point.first() != Some(&4) || point.len() != 1 + 2 * curve.coordinate() {
            return Err(KeyError::Invalid);
        }
        Ok(Self::from_material(Material::Ec { curve, point: point.to_vec() }))
    }

    /// An RSA key from its modulus and exponent, big-endian. Leading zeros are ignored: some
    /// publishers write them although RFC 7518 section 6.3.1.1 does not allow them.
    pub(crate) fn rsa(n: &[u8], e: &[u8]) -> Result<Self, KeyError> {
        let (n, e) = (without_leading_zeros(n), without_leading_zeros(e));
        let unused = n.first().map_or(0, |high| high.leading_zeros() as usize);
        let bits = n.len() * 8 - unused;
        if bits < 2048 {
            return Err(KeyError::ShortRsaKey { found: bits });
        }
        // The exponent must be odd and at least 3, and small, so that verifying stays cheap.
        let odd = |number: &[u8]| number.last().is_some_and(|low| low % 2 == 1);
        if n.len() <= 1024 && e.len() <= 8 && odd(n) && odd(e) && e != [1] {
            Ok(Self::from_material(Material::Rsa { n: n.to_vec(), e: e.to_vec() }))
        } else {
            Err(KeyError::Invalid)
        }
    }

    fn from_material(material: Material) -> Self {
        let kid = URL_SAFE_NO_PAD.encode(sha256(material.canonical_json().as_bytes()));
        Self {
            material,
            kid,
            algorithm: None,
            fully_specified: false,
            thumbprints: Thumbprints::default(),
        }
    }

    /// Reads one key. A `kid` is kept; a missing one becomes the thumbprint (RFC 7638). A member
    /// that is `null` counts as absent.
    ///
    /// # Errors
    ///
    /// [`KeyError::NotAnObject`]; [`KeyError::Private`] for private or symmetric members;
    /// [`KeyError::Purpose`] because of `use` or `key_ops`; [`KeyError::Unsupported`] because of
    /// `kty` or `crv`; [`KeyError::Algorithm`] and [`KeyError::UnknownAlgorithm`] because of `alg`;
    /// [`KeyError::Malformed`], [`KeyError::ShortRsaKey`] and [`KeyError::Invalid`] because of the
    /// other members.
    pub fn from_json(json: &[u8]) -> Result<Self, KeyError> {
        Self::from_object(&strict_object(json).ok_or(KeyError::NotAnObject)?)
    }

    pub(crate) fn from_object(object: &Map<String, Value>) -> Result<Self, KeyError> {
        let members = Members(object);
        let mut key = Self::from_model(&members.model()?)?;
        // The model knows neither every algorithm nor the name `Ed25519`.
        if let Some(alg) = members.text("alg")? {
            let algorithm: Algorithm = alg.parse()?;
            key = key.for_algorithm(algorithm)?;
            key.fully_specified = alg != algorithm.as_str();
        }
        key.parsed(key.algorithm())?;
        Ok(key)
    }

    /// Sets the `kid`, which must have 1 to 256 bytes.
    pub(crate) fn named(self, kid: &str) -> Result<Self, KeyError> {
        if (1..=Self::KID).contains(&kid.len()) {
            Ok(Self { kid: kid.to_owned(), ..self })
        } else {
            Err(KeyError::Malformed("kid"))
        }
    }

    /// Ties the key to one of the algorithms of its kind.
    pub(crate) fn for_algorithm(mut self, algorithm: Algorithm) -> Result<Self, KeyError> {
        if !self.fits().contains(&algorithm) {
            return Err(KeyError::Algorithm);
        }
        self.algorithm = Some(algorithm).filter(|_| self.fits().len() > 1);
        Ok(self)
    }

    /// Writes `alg` with the name of [RFC 9864]: `Ed25519` instead of `EdDSA`. It has no effect on
    /// keys of other kinds, whose names are fully specified already.
    ///
    /// [RFC 9864]: https://www.rfc-editor.org/rfc/rfc9864#section-2.2
    #[must_use]
    pub fn with_ed25519_name(self) -> Self {
        self.named_fully(true)
    }

    pub(crate) fn named_fully(self, fully_specified: bool) -> Self {
        let fully_specified =
            fully_specified && self.algorithm().name(true) != self.algorithm().as_str();
        Self { fully_specified, ..self }
    }

    pub(crate) fn is_fully_specified(&self) -> bool {
        self.fully_specified
    }

    /// Sets another key identifier, of 1 to 256 bytes. One of another length is ignored.
    #[must_use]
    pub fn with_kid(mut self, kid: impl Into<String>) -> Self {
        let kid = kid.into();
        if (1..=Self::KID).contains(&kid.len()) {
            self.kid = kid;
        }
        self
    }

    /// Sets the thumbprints of the key's certificate (DER), by which an assertion may name the key
    /// (`x5t`, `x5t#S256`). The certificate itself is not verified and proves nothing here.
    #[must_use]
    pub fn with_certificate(mut self, der: &[u8]) -> Self {
        self.thumbprints = Thumbprints::of(der);
        self
    }

    /// The key identifier: the RFC 7638 thumbprint, unless another one was read or set.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The algorithm that the key is used with: its `alg`, or else the first algorithm of its kind.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        let [first, ..] = self.fits() else { return Algorithm::EdDsa };
        self.algorithm.unwrap_or(*first)
    }

    /// Every algorithm that the key may be used with.
    pub(crate) fn algorithms(&self) -> Vec<Algorithm> {
        match self.algorithm {
            Some(algorithm) => vec![algorithm],
            None => self.fits().to_vec(),
        }
    }

    /// The algorithms of the key's kind; never empty.
    fn fits(&self) -> &'static [Algorithm] {
        match &self.material {
            Material::Ed25519 { .. } => &[Algorithm::EdDsa],
            Material::Ec { curve, .. } => curve.algorithms(),
            Material::Rsa { .. } => &Algorithm::RSA,
        }
    }

    /// Whether the keys differ, and a signature's `kid` and algorithm could mean either of them.
    pub(crate) fn is_confused_with(&self, other: &Self) -> bool {
        let algorithms = other.algorithms();
        self.kid == other.kid
            && self.material != other.material
            && self.algorithms().iter().any(|algorithm| algorithms.contains(algorithm))
    }

    pub(crate) fn with_thumbprints(self, thumbprints: Thumbprints) -> Self {
        Self { thumbprints, ..self }
    }

    pub(crate) fn numbers(&self) -> Numbers<'_> {
        match &self.material {
            Material::Ed25519 { x } => Numbers::Ed25519(x),
            Material::Ec { curve, point } => Numbers::Ec(*curve, point),
            Material::Rsa { n, e } => Numbers::Rsa { n, e },
        }
    }

    pub(crate) fn thumbprints(&self) -> &Thumbprints {
        &self.thumbprints
    }

    /// Parses the key for verifying with one of its algorithms.
    pub(crate) fn parsed(&self, algorithm: Algorithm) -> Result<ParsedPublicKey, KeyError> {
        // AWS-LC refuses points that are not on the curve.
        let parsed = match &self.material {
            Material::Ed25519 { x } => ParsedPublicKey::new(&ED25519, x),
            Material::Ec { curve, point } => ParsedPublicKey::new(curve.verification(), point),
            Material::Rsa { n, e } => {
                let scheme = RsaScheme::of(algorithm).ok_or(KeyError::Algorithm)?;
                RsaPublicKeyComponents { n, e }.to_parsed_public_key(scheme.verification)
            }
        };
        parsed.map_err(|_| KeyError::Invalid)
    }
}

/// The members of a key. A member that is `null` counts as absent.
struct Members<'a>(&'a Map<String, Value>);

impl<'a> Members<'a> {
    fn get(&self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn text(&self, name: &'static str) -> Result<Option<&'a str>, KeyError> {
        match self.get(name) {
            None => Ok(None),
            Some(value) => value.as_str().map(Some).ok_or(KeyError::Malformed(name)),
        }
    }

    /// The key in the data model of jsonwebtoken. The model accepts private members and does not
    /// say which member is wrong, so both are checked here first. Only the members that belong to
    /// the kind of the key are read.
    fn model(&self) -> Result<model::Jwk, KeyError> {
        const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
        if PRIVATE.iter().any(|member| self.get(member).is_some()) {
            return Err(KeyError::Private);
        }
        self.check_purpose()?;
        let numbers: &[&'static str] = match (self.text("kty")?, self.text("crv")?) {
            (Some("OKP"), Some(_)) => &["crv", "x"],
            (Some("EC"), Some(_)) => &["crv", "x", "y"],
            (Some("RSA"), None) => &["n", "e"],
            (Some(_), _) => return Err(KeyError::Unsupported),
            (None, _) => return Err(KeyError::Malformed("kty")),
        };
        let mut read = Map::new();
        for name in ["kty"].iter().chain(numbers).chain(&["kid", "x5t", "x5t#S256"]) {
            if let Some(text) = self.text(name)? {
                read.insert((*name).to_owned(), text.into());
            }
        }
        serde_json::from_value(Value::Object(read)).map_err(|_| KeyError::Unsupported)
    }

    /// Checks that the key is for verifying signatures, by `use` and `key_ops`.
    fn check_purpose(&self) -> Result<(), KeyError> {
        let for_signatures = self.text("use")?.is_none_or(|usage| usage == "sig");
        let for_verifying = self.get("key_ops").is_none_or(|operations| {
            operations.as_array().is_some_and(|list| list.iter().any(|entry| entry == "verify"))
        });
        if for_signatures && for_verifying { Ok(()) } else { Err(KeyError::Purpose) }
    }
}

fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|octet| **octet == 0).count();
    number.get(zeros..).unwrap_or_default()
}

/// Whether these bytes are a point of small order, under which anybody can forge signatures, or a
/// non-canonical encoding of a point (RFC 8032 section 5.1.3). AWS-LC checks neither.
fn is_weak_ed25519(mut y: [u8; 32]) -> bool {
    /// The two y coordinates of order eight, little-endian.
    const ORDER_EIGHT: [[u8; 32]; 2] = [
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10,
            0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77,
            0x92, 0xac, 0x03, 0x7a,
        ],
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef,
            0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88,
            0x6d, 0x53, 0xfc, 0x05,
        ],
    ];
    let [first, middle @ .., last] = &mut y;
    *last &= 0x7f; // clears the sign of x
    let rest = |byte: u8, end: u8| middle.iter().all(|own| *own == byte) && *last == end;
    // y = 0 has order 4, y = 1 has order 1 and y = p - 1 has order 2; p and above re-encode small
    // numbers.
    let edge = (*first <= 1 && rest(0, 0)) || (*first >= 0xec && rest(0xff, 0x7f));
    edge || ORDER_EIGHT.contains(&y)
}

impl Material {
    /// The members that define the key, in lexicographic order (RFC 7638 section 3).
    fn members(&self) -> Vec<(&'static str, String)> {
        let encode = |number: &[u8]| URL_SAFE_NO_PAD.encode(number);
        match self {
            Self::Ed25519 { x } => {
                vec![("crv", "Ed25519".into()), ("kty", "OKP".into()), ("x", encode(x))]
            }
            Self::Ec { curve, point } => {
                let (x, y) = curve.coordinates(point);
                vec![
                    ("crv", curve.name().into()),
                    ("kty", "EC".into()),
                    ("x", encode(x)),
                    ("y", encode(y)),
                ]
            }
            Self::Rsa { n, e } => vec![("e", encode(e)), ("kty", "RSA".into()), ("n", encode(n))],
        }
    }

    fn canonical_json(&self) -> String {
        let members: Vec<_> =
            self.members().iter().map(|(name, value)| format!(r#""{name}":"{value}""#)).collect();
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
        // A key for several algorithms has no `alg`, or it would be read back as one for the first
        // alone.
        if let [algorithm] = &*self.algorithms() {
            map.serialize_entry("alg", algorithm.name(self.fully_specified))?;
        }
        map.serialize_entry("kid", &self.kid)?;
        for (name, thumbprint) in
            [("x5t", &self.thumbprints.sha1), ("x5t#S256", &self.thumbprints.sha256)]
        {
            if let Some(thumbprint) = thumbprint {
                map.serialize_entry(name, thumbprint)?;
            }
        }
        map.end()
    }
}

impl fmt::Debug for Jwk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwk")
            .field("alg", &self.algorithm())
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}
