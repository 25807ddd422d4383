use std::fmt;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::jose::{Algorithm, JwkSet, KeyError, SigningKeys, VerificationKeys};
use crate::resource::{JWT_TYPE, read_jwt};
use crate::token::issuer::{Authorization, TokenIssuer};
use crate::vocabulary::clock::Timestamp;
use crate::vocabulary::error::BoxError;
use crate::vocabulary::limits::Limits;
use crate::vocabulary::token::{AccessToken, TokenDetails};

/// Issues JWT access tokens by [RFC 9068]: `typ` `at+jwt`, with `iss`, `sub`, `aud`, `client_id`, `scope`, `iat`,
/// `exp`, `jti` and the claims that the host gave.
///
/// ```
/// use password_grant::{JwtIssuer, SigningKeys};
///
/// let keys = SigningKeys::generate()?;    // SigningKeys::from_pem in a server
/// let issuer = JwtIssuer::new(keys, "https://api.example.com");
/// # Ok::<(), password_grant::KeyError>(())
/// ```
///
/// [RFC 9068]: https://www.rfc-editor.org/rfc/rfc9068
pub struct JwtIssuer {
    keys: SigningKeys,
    verification: Result<VerificationKeys, KeyError>,
    audience: String,
    /// The encoded header and the dot behind it: the same for every token.
    prefix: String,
    /// How long the encoded signature is, so that a token is made in the memory that it needs.
    signature: usize,
}

fn base64url_len(bytes: usize) -> usize {
    bytes.div_ceil(3) * 4
}

/// Encodes where the text is needed: the engine's own way to strings goes through a buffer.
fn push_base64url(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), BoxError> {
    let start = out.len();
    out.resize(start + base64url_len(bytes.len()), 0);
    let written = URL_SAFE_NO_PAD.encode_slice(bytes, out.get_mut(start..).unwrap_or_default())?;
    out.truncate(start + written);
    Ok(())
}

#[derive(Serialize)]
struct Header<'a> {
    typ: &'a str,
    alg: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: Audience<'a>,
    client_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    scope: &'a str,
    iat: u64,
    exp: u64,
    jti: &'a str,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    further: Option<&'a Map<String, Value>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Audience<'a> {
    One(&'a str),
    Several(&'a [String]),
}

impl JwtIssuer {
    /// Signs with the keys' current key. The audience is the resource server that tokens are meant for, where the
    /// client is not registered for others; usually its URL.
    #[must_use]
    pub fn new(keys: SigningKeys, audience: impl Into<String>) -> Self {
        let key = keys.current();
        let kid = key.kid();
        let header = Header { typ: JWT_TYPE, alg: key.algorithm().as_str(), kid: kid.as_deref() };
        // Three texts always serialise; without a header no signature would verify, which `check` would find.
        let header = serde_json::to_vec(&header).unwrap_or_default();
        let prefix = URL_SAFE_NO_PAD.encode(header) + ".";
        // Whether they are in order is told by `check`, when the engine is built.
        let verification = keys.verification_keys();
        let signature = match key.algorithm() {
            Algorithm::EdDsa | Algorithm::Es256 => 64,
            Algorithm::Rs256 => 512,
            Algorithm::Hs256 => 32,
        };
        Self { keys, verification, audience: audience.into(), prefix, signature: base64url_len(signature) }
    }

    fn claims<'a>(&'a self, authorization: &'a Authorization<'_>) -> Claims<'a> {
        Claims {
            iss: authorization.issuer(),
            sub: authorization.subject().as_str(),
            aud: match authorization.audiences() {
                [] => Audience::One(&self.audience),
                [one] => Audience::One(one),
                several => Audience::Several(several),
            },
            client_id: authorization.client().id().as_str(),
            scope: authorization.scope().as_str(),
            iat: authorization.issued_at().unix_seconds(),
            exp: authorization.expires_at().unix_seconds(),
            jti: authorization.token_id(),
            further: (!authorization.claims().is_empty()).then(|| authorization.claims()),
        }
    }

    fn sign(&self, claims: &Claims<'_>) -> Result<String, BoxError> {
        let mut scratch = Vec::with_capacity(512);
        serde_json::to_writer(&mut scratch, claims)?;
        let mut token = Vec::with_capacity(self.prefix.len() + base64url_len(scratch.len()) + 1 + self.signature);
        token.extend_from_slice(self.prefix.as_bytes());
        push_base64url(&scratch, &mut token)?;
        scratch.clear();
        self.keys.current().sign(&token, &mut scratch)?;
        token.push(b'.');
        push_base64url(&scratch, &mut token)?;
        // A longer one would be refused by every verifier.
        if token.len() > Limits::ACCESS_TOKEN { Err(TooLong.into()) } else { Ok(String::from_utf8(token)?) }
    }
}

#[async_trait]
impl TokenIssuer for JwtIssuer {
    async fn issue(&self, authorization: &Authorization<'_>) -> Result<AccessToken, BoxError> {
        self.sign(&self.claims(authorization)).map(AccessToken::new)
    }

    async fn inspect(&self, token: &str, now: Timestamp) -> Result<Option<TokenDetails>, BoxError> {
        let keys = self.verification.as_ref().map_err(|error| *error)?;
        let details = read_jwt(token, &keys.algorithms(), keys).ok();
        Ok(details.filter(|details| now.unix_seconds() < details.expires_at))
    }

    fn public_keys(&self) -> JwkSet {
        self.keys.public_keys()
    }

    /// Makes a token and reads it.
    fn check(&self) -> Result<(), BoxError> {
        let token = self.sign(&Claims {
            iss: "https://issuer.example",
            sub: "subject",
            aud: Audience::One(&self.audience),
            client_id: "client",
            scope: "",
            iat: 0,
            exp: 1,
            jti: "check",
            further: None,
        })?;
        let keys = self.verification.as_ref().map_err(|error| *error)?;
        read_jwt(&token, &[self.keys.current().algorithm()], keys).map_err(|_| KeyError::Mismatch)?;
        Ok(())
    }
}

/// The claims that the host added make the token longer than the 8 KiB that a verifier reads.
#[derive(Debug, thiserror::Error)]
#[error("the access token would be longer than 8 KiB")]
struct TooLong;

impl fmt::Debug for JwtIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtIssuer").field("keys", &self.keys).field("audience", &self.audience).finish()
    }
}
