//! `Deserialize` for [`TokenRequest`]: a request that a framework's form extractor has parsed.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use crate::request::{Seen, TokenRequest, decoded_elsewhere};
use crate::types::endpoint::Endpoint;
use crate::types::limits::RequestLimits;
use crate::types::secret::Secret;

impl<'de> Deserialize<'de> for TokenRequest<'_> {
    /// Fails only if the input is not a map of texts. A form always is one.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Pairs).map(|request: TokenRequest<'static>| request)
    }
}

struct Pairs;

impl<'de> Visitor<'de> for Pairs {
    type Value = TokenRequest<'static>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the parameters of a token request")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut request, mut seen) = (TokenRequest::empty(), Seen::default());
        while let Some((name, value)) = map.next_entry::<String, SecretText>()? {
            let pair = decoded_elsewhere(Cow::Owned(name), value.0);
            let put =
                pair.and_then(|(name, value)| request.put(name, value, Endpoint::Token, &mut seen));
            if let Err(fault) = put {
                request.fault = Some(fault);
                // Reads the rest, because a deserialiser may fail if it is not read to its end.
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                return Ok(request);
            }
        }
        request.fault = request.check(&RequestLimits::widest_password()).err();
        Ok(request)
    }
}

/// A value that is overwritten when it is dropped.
struct SecretText(Secret<'static>);

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // serde's own error would quote a value of another type, which may be a password.
        let text = String::deserialize(deserializer);
        text.map(|text| Self(Secret::new(text)))
            .map_err(|_| Error::custom("the value of a parameter is not text"))
    }
}
