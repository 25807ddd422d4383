//! Conversion of keys into and from the data model of jsonwebtoken: a host's keys come in, and this
//! crate's keys go to code that verifies with that crate. Only its types are used, and nothing that
//! depends on its process-global crypto provider.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{
    self as model, AlgorithmParameters, EllipticCurve, EllipticCurveKeyParameters,
    EllipticCurveKeyType, KeyAlgorithm, KeyOperations, OctetKeyPairParameters, OctetKeyPairType,
    OtherKeyParameters, PublicKeyUse, RSAKeyParameters, RSAKeyType,
};
use serde_json::Value;

use crate::jose::curve::Curve;
use crate::jose::jwk::{Numbers, Thumbprints};
use crate::jose::{Algorithm, Jwk, JwkSet, KeyError};

impl Jwk {
    /// Reads every member except `alg`, whose names differ between this crate and the model. It
    /// does not check that the point lies on its curve.
    pub(crate) fn from_model(key: &model::Jwk) -> Result<Self, KeyError> {
        let common = &key.common;
        let for_signatures =
            common.public_key_use.as_ref().is_none_or(|usage| *usage == PublicKeyUse::Signature);
        let verifies =
            |operations: &Vec<KeyOperations>| operations.contains(&KeyOperations::Verify);
        if !for_signatures || !common.key_operations.as_ref().is_none_or(verifies) {
            return Err(KeyError::Purpose);
        }
        let own = from_parameters(&key.algorithm)?;
        let own = match &common.key_id {
            Some(kid) => own.named(kid)?,
            None => own,
        };
        let thumbprint = |name, thumbprint: &Option<String>| match thumbprint {
            Some(thumbprint) if thumbprint.len() > 64 => Err(KeyError::Malformed(name)),
            thumbprint => Ok(thumbprint.clone()),
        };
        Ok(own.with_thumbprints(Thumbprints {
            sha1: thumbprint("x5t", &common.x509_sha1_fingerprint)?,
            sha256: thumbprint("x5t#S256", &common.x509_sha256_fingerprint)?,
        }))
    }
}

fn from_parameters(parameters: &AlgorithmParameters) -> Result<Jwk, KeyError> {
    match parameters {
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            Jwk::ed25519(&number("x", &key.x)?)
        }
        AlgorithmParameters::EllipticCurve(key) => {
            let curve = curve_of(&key.curve).ok_or(KeyError::Unsupported)?;
            // A coordinate must have its full length (RFC 7518 section 6.2.1.2), or the same key
            // would have several encodings.
            let coordinate = |name, text| match number(name, text)? {
                number if number.len() == curve.coordinate() => Ok(number),
                _ => Err(KeyError::Malformed(name)),
            };
            Jwk::ec(curve, &[&[4], &*coordinate("x", &key.x)?, &*coordinate("y", &key.y)?].concat())
        }
        AlgorithmParameters::RSA(key) => Jwk::rsa(&number("n", &key.n)?, &number("e", &key.e)?),
        AlgorithmParameters::OctetKey(_) => Err(KeyError::Private),
        AlgorithmParameters::Other(key) => Err(missing(key)),
        _ => Err(KeyError::Unsupported),
    }
}

/// Why the model does not know a key: a member is missing, or its kind is unknown.
fn missing(OtherKeyParameters { fields }: &OtherKeyParameters) -> KeyError {
    let text = |name| fields.get(name).and_then(Value::as_str);
    let required: &[&'static str] = match (text("kty"), text("crv")) {
        (None, _) => &["kty"],
        (Some("OKP"), Some("Ed25519")) => &["x"],
        (Some("EC"), Some(curve)) if Curve::named(curve).is_some() => &["x", "y"],
        (Some("RSA"), None) => &["n", "e"],
        _ => &[],
    };
    let missing = required.iter().find(|name| text(name).is_none());
    missing.map_or(KeyError::Unsupported, |name| KeyError::Malformed(name))
}

fn number(name: &'static str, text: &str) -> Result<Vec<u8>, KeyError> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| KeyError::Malformed(name))
}

fn curve_of(curve: &EllipticCurve) -> Option<Curve> {
    match curve {
        EllipticCurve::P256 => Curve::named("P-256"),
        EllipticCurve::P384 => Curve::named("P-384"),
        EllipticCurve::P521 => Curve::named("P-521"),
        _ => None,
    }
}

/// Converts a key that the host has in jsonwebtoken's types. It is checked as in
/// [`Jwk::from_json`].
impl TryFrom<&model::Jwk> for Jwk {
    type Error = KeyError;

    fn try_from(key: &model::Jwk) -> Result<Self, KeyError> {
        let own = Self::from_model(key)?;
        let own = match key.common.key_algorithm {
            Some(algorithm) => own.for_algorithm(algorithm.to_string().parse()?)?,
            None => own,
        };
        own.parsed(own.algorithm())?;
        Ok(own)
    }
}

/// Converts a key for code that verifies with jsonwebtoken (`DecodingKey::from_jwk`). An Ed25519
/// key has the algorithm `EdDSA` there, and a P-521 key has no `alg`, since that crate does not
/// know ES512.
impl From<&Jwk> for model::Jwk {
    fn from(key: &Jwk) -> Self {
        let encode = |number: &[u8]| URL_SAFE_NO_PAD.encode(number);
        let algorithm = match key.numbers() {
            Numbers::Ed25519(x) => AlgorithmParameters::OctetKeyPair(OctetKeyPairParameters {
                key_type: OctetKeyPairType::OctetKeyPair,
                curve: EllipticCurve::Ed25519,
                x: encode(x),
            }),
            Numbers::Ec(curve, point) => {
                let (x, y) = curve.coordinates(point);
                let curve = match curve {
                    Curve::P256 => EllipticCurve::P256,
                    Curve::P384 => EllipticCurve::P384,
                    Curve::P521 => EllipticCurve::P521,
                };
                let (key_type, x, y) = (EllipticCurveKeyType::EC, encode(x), encode(y));
                AlgorithmParameters::EllipticCurve(EllipticCurveKeyParameters {
                    key_type,
                    curve,
                    x,
                    y,
                })
            }
            Numbers::Rsa { n, e } => {
                let (key_type, n, e) = (RSAKeyType::RSA, encode(n), encode(e));
                AlgorithmParameters::RSA(RSAKeyParameters { key_type, n, e })
            }
        };
        // A key for several algorithms has no `alg`.
        let key_algorithm = match &*key.algorithms() {
            [one] => one.as_str().parse::<KeyAlgorithm>().ok(),
            _ => None,
        };
        let Thumbprints { sha1, sha256 } = key.thumbprints().clone();
        let common = model::CommonParameters {
            public_key_use: Some(PublicKeyUse::Signature),
            key_algorithm,
            key_id: Some(key.kid().to_owned()),
            x509_sha1_fingerprint: sha1,
            x509_sha256_fingerprint: sha256,
            ..model::CommonParameters::default()
        };
        Self { common, algorithm }
    }
}

impl From<&JwkSet> for model::JwkSet {
    fn from(set: &JwkSet) -> Self {
        Self { keys: set.keys.iter().map(model::Jwk::from).collect() }
    }
}

/// Converts a set as [`JwkSet::from_json`] reads one: entries that cannot be used are passed over,
/// and listed by [`JwkSet::unusable`].
impl TryFrom<&model::JwkSet> for JwkSet {
    type Error = KeyError;

    fn try_from(set: &model::JwkSet) -> Result<Self, KeyError> {
        Self::of_entries(
            set.keys
                .iter()
                .map(|key| (key.common.key_id.as_deref(), Jwk::try_from(key)))
                .enumerate(),
        )
    }
}

/// Fails for ES512, which jsonwebtoken does not know.
impl TryFrom<Algorithm> for jsonwebtoken::Algorithm {
    type Error = KeyError;

    fn try_from(algorithm: Algorithm) -> Result<Self, KeyError> {
        algorithm.as_str().parse().map_err(|_| KeyError::Algorithm)
    }
}

/// Fails for an algorithm that a later jsonwebtoken knows and this crate does not.
impl TryFrom<jsonwebtoken::Algorithm> for Algorithm {
    type Error = KeyError;

    fn try_from(algorithm: jsonwebtoken::Algorithm) -> Result<Self, KeyError> {
        KeyAlgorithm::from(algorithm).to_string().parse()
    }
}
