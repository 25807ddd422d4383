//! Strict parser for compact JWS (RFC 7515 section 7.1). It runs before any cryptography.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::http::strict_json::strict_object;
use crate::jose::Algorithm;
use crate::jose::verification::{KeyName, VerificationKeys};

/// The longest `kid`, `x5t` or `x5t#S256`, in bytes.
const KID: usize = 256;
/// The most members of a header.
const MEMBERS: usize = 32;

/// A well-formed compact JWS. Nothing in it may be trusted before [`verify`](Self::verify).
pub(crate) struct Compact<'a> {
    pub(crate) algorithm: Algorithm,
    pub(crate) typ: Option<String>,
    kid: Option<String>,
    x5t: Option<String>,
    x5t_s256: Option<String>,
    signed: &'a [u8],
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl<'a> Compact<'a> {
    /// Parses three segments, none empty, each canonical base64url without padding. The header must
    /// be a JSON object without repeated members, with a known `alg`, and without members that
    /// would change how the rest is read (`crit`, `b64`, `zip`). Header members that hold or
    /// reference keys (`jwk`, `jku`, `x5u`, `x5c`) are ignored.
    ///
    /// The work is bounded by the length of `token`, which the caller limits.
    pub(crate) fn parse(token: &'a str) -> Option<Self> {
        let mut segments = token.splitn(4, '.');
        let (header, payload, signature) = (segments.next()?, segments.next()?, segments.next()?);
        if segments.next().is_some()
            || [header, payload, signature].iter().any(|segment| segment.is_empty())
        {
            return None;
        }
        let signed = token.as_bytes().get(..header.len() + 1 + payload.len())?;
        let header: Header = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
        Some(Self {
            algorithm: Algorithm::named(&header.alg?)?,
            typ: header.typ,
            kid: header.kid,
            x5t: header.x5t,
            x5t_s256: header.x5t_s256,
            signed,
            payload: URL_SAFE_NO_PAD.decode(payload).ok()?,
            signature: URL_SAFE_NO_PAD.decode(signature).ok()?,
        })
    }

    /// How the header names its key.
    pub(crate) fn key_name(&self) -> KeyName<'_> {
        KeyName {
            kid: self.kid.as_deref(),
            x5t: self.x5t.as_deref(),
            x5t_s256: self.x5t_s256.as_deref(),
        }
    }

    /// The claims of the payload, unverified.
    pub(crate) fn unverified_claims(&self) -> Option<Map<String, Value>> {
        strict_object(&self.payload)
    }

    /// Whether the signature was made by one of these keys.
    pub(crate) fn is_signed_by(&self, keys: &VerificationKeys) -> bool {
        keys.verify(self.algorithm, self.key_name(), self.signed, &self.signature).is_some()
    }

    /// The claims, if the signature was made by one of these keys.
    pub(crate) fn verify(&self, keys: &VerificationKeys) -> Option<Map<String, Value>> {
        if self.is_signed_by(keys) { self.unverified_claims() } else { None }
    }
}

/// The header members that are used. For all others only the names are kept, so that a header,
/// which is not verified yet, costs little memory whatever it holds.
#[derive(Default)]
struct Header {
    alg: Option<String>,
    typ: Option<String>,
    kid: Option<String>,
    x5t: Option<String>,
    x5t_s256: Option<String>,
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JOSE header without repeated members")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Header, A::Error> {
        let (mut header, mut names) = (Header::default(), Vec::<String>::new());
        while let Some(name) = members.next_key::<String>()? {
            if names.len() == MEMBERS || names.contains(&name) {
                return Err(Error::custom("too many members, or a repeated one"));
            }
            match name.as_str() {
                "alg" => header.alg = Some(members.next_value()?),
                "typ" => header.typ = Some(members.next_value()?),
                "kid" => header.kid = Some(members.next_value()?),
                "x5t" => header.x5t = Some(members.next_value()?),
                "x5t#S256" => header.x5t_s256 = Some(members.next_value()?),
                "crit" | "b64" | "zip" => {
                    return Err(Error::custom("a member that changes how the rest is read"));
                }
                _ => drop(members.next_value::<IgnoredAny>()?),
            }
            names.push(name);
        }
        let names = [&header.kid, &header.x5t, &header.x5t_s256];
        if names.into_iter().flatten().any(|name| name.len() > KID) {
            return Err(Error::custom("the name of the key is too long"));
        }
        Ok(header)
    }
}
