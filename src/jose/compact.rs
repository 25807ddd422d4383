//! The strict reading and the making of compact JWS (RFC 7515 section 7.1), ahead of any cryptography.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::jose::Algorithm;
use crate::jose::json::strict_object;
use crate::jose::verification::VerificationKeys;

/// Bytes of a `kid`.
const KID: usize = 256;

/// A compact JWS that is well-formed. Nothing in it is to be believed before [`verify`](Self::verify).
pub(crate) struct Compact<'a> {
    pub(crate) algorithm: Algorithm,
    pub(crate) typ: Option<String>,
    kid: Option<String>,
    signed: &'a [u8],
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl<'a> Compact<'a> {
    /// Three segments, none empty, each canonical base64url without padding; a header that is a JSON object without
    /// repeated members, with a known `alg`, and with nothing that would change how the rest is to be read (`crit`,
    /// `b64`, `zip`). Header members that bring or name keys (`jwk`, `jku`, `x5u`, `x5c`) are never looked at.
    ///
    /// The work is bounded by the length of `token`, which the caller bounds.
    pub(crate) fn parse(token: &'a str) -> Option<Self> {
        let mut segments = token.splitn(4, '.');
        let (header, payload, signature) = (segments.next()?, segments.next()?, segments.next()?);
        if segments.next().is_some() || [header, payload, signature].iter().any(|segment| segment.is_empty()) {
            return None;
        }
        let signed = token.as_bytes().get(..header.len() + 1 + payload.len())?;
        let header = strict_object(&URL_SAFE_NO_PAD.decode(header).ok()?)?;
        if ["crit", "b64", "zip"].iter().any(|member| header.contains_key(*member)) {
            return None;
        }
        let kid = optional_string(&header, "kid")?;
        if kid.as_ref().is_some_and(|kid| kid.len() > KID) {
            return None;
        }
        Some(Self {
            algorithm: Algorithm::named(header.get("alg")?.as_str()?)?,
            typ: optional_string(&header, "typ")?,
            kid,
            signed,
            payload: URL_SAFE_NO_PAD.decode(payload).ok()?,
            signature: URL_SAFE_NO_PAD.decode(signature).ok()?,
        })
    }

    /// The claims, if the signature is one of these keys'.
    pub(crate) fn verify(&self, keys: &VerificationKeys) -> Option<Map<String, Value>> {
        keys.verify(self.algorithm, self.kid.as_deref(), self.signed, &self.signature)?;
        strict_object(&self.payload)
    }
}

/// `Some(None)` where the member is absent, `None` where it is no string.
fn optional_string(object: &Map<String, Value>, name: &str) -> Option<Option<String>> {
    match object.get(name) {
        None => Some(None),
        Some(Value::String(text)) => Some(Some(text.clone())),
        Some(_) => None,
    }
}
