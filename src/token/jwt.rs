//! JWT access tokens (RFC 9068): the issuer that signs them, and reads its own.

use std::fmt;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use crate::error::BoxError;
use crate::http::json_writer::ObjectWriter;
use crate::jose::{Algorithm, JwkSet, KeyError, SigningKeys, VerificationKeys};
use crate::resource::{JWT_TYPE, read_jwt};
use crate::time::Timestamp;
use crate::token::issuer::{Authorization, TokenIssuer, check_audience};
use crate::types::limits::RequestLimits;
use crate::types::token::{AccessToken, TokenDetails};

/// Issues JWT access tokens as in [RFC 9068]: `typ` is `at+jwt`, and the claims are `iss`, `sub`,
/// `aud`, `client_id`, `scope`, `iat`, `exp`, `jti`, `sid` if there is a session or else
/// `login_epoch` ([`Authorization::login_epoch`]), and those that the host added.
///
/// ```
/// use password_grant::{JwtIssuer, SigningKeys};
///
/// let keys = SigningKeys::generate()?;    // SigningKeys::from_pem in a server
/// let issuer = JwtIssuer::new(keys, "https://api.example.com");
/// # Ok::<(), password_grant::jose::KeyError>(())
/// ```
///
/// [RFC 9068]: https://www.rfc-editor.org/rfc/rfc9068
pub struct JwtIssuer {
    keys: SigningKeys,
    verification: Result<VerificationKeys, KeyError>,
    audience: String,
    /// The encoded header and the dot after it, which are the same for every token.
    prefix: String,
    /// Length of the encoded signature in bytes, so that a token is allocated once.
    signature: usize,
}

fn base64url_len(bytes: usize) -> usize {
    bytes.div_ceil(3) * 4
}

/// Encodes into the buffer that needs the text: the base64 crate's own function for strings copies
/// through another buffer.
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

impl JwtIssuer {
    /// Signs with the current key of `keys`. `audience` is the resource server that tokens are for
    /// if the client is not registered for others; usually its URL.
    #[must_use]
    pub fn new(keys: SigningKeys, audience: impl Into<String>) -> Self {
        let key = keys.current();
        let kid = key.kid();
        let header = Header { typ: JWT_TYPE, alg: keys.algorithm_name(), kid: kid.as_deref() };
        // Three strings always serialise. Without a header no signature would verify, which `check`
        // would find.
        let header = serde_json::to_vec(&header).unwrap_or_default();
        let prefix = URL_SAFE_NO_PAD.encode(header) + ".";
        // `check` reports what is wrong with the keys, when the engine is built.
        let verification = keys.verification_keys();
        let signature = match key.algorithm() {
            Algorithm::EdDsa | Algorithm::Es256 | Algorithm::Hs512 => 64,
            Algorithm::Es384 => 96,
            Algorithm::Es512 => 132,
            Algorithm::Rs256
            | Algorithm::Rs384
            | Algorithm::Rs512
            | Algorithm::Ps256
            | Algorithm::Ps384
            | Algorithm::Ps512 => 512,
            Algorithm::Hs256 => 32,
            Algorithm::Hs384 => 48,
        };
        Self {
            keys,
            verification,
            audience: audience.into(),
            prefix,
            signature: base64url_len(signature),
        }
    }

    /// The claims of RFC 9068 section 2.2, as JSON.
    fn claims(&self, authorization: &Authorization<'_>) -> Result<Vec<u8>, BoxError> {
        let mut claims = ObjectWriter::with_capacity(512);
        claims.text("iss", authorization.issuer());
        claims.text("sub", authorization.subject().as_str());
        match authorization.audiences() {
            [] => claims.text("aud", &self.audience),
            [one] => claims.text("aud", one),
            several => claims.value("aud", &several),
        }
        claims.text("client_id", authorization.client().id().as_str());
        if !authorization.scope().is_empty() {
            claims.plain("scope", authorization.scope().as_str().as_bytes());
        }
        claims.value("iat", &authorization.issued_at().unix_seconds());
        claims.value("exp", &authorization.expires_at().unix_seconds());
        claims.plain("jti", authorization.token_id().as_bytes());
        if let Some(session_id) = authorization.session_id() {
            claims.plain("sid", session_id.as_str().as_bytes());
        }
        if let Some(login_epoch) = authorization.login_epoch() {
            claims.value("login_epoch", &login_epoch);
        }
        claims.members(authorization.claims());
        Ok(claims.finish()?)
    }

    /// The compact form (RFC 7515 section 7.1) of these claims. Their buffer is reused for the
    /// signature.
    fn sign(&self, claims: Vec<u8>) -> Result<AccessToken, BoxError> {
        let mut token = Vec::with_capacity(
            self.prefix.len() + base64url_len(claims.len()) + 1 + self.signature,
        );
        token.extend_from_slice(self.prefix.as_bytes());
        push_base64url(&claims, &mut token)?;
        let mut signature = claims;
        signature.clear();
        self.keys.current().sign(&token, &mut signature)?;
        token.push(b'.');
        push_base64url(&signature, &mut token)?;
        // Every verifier refuses a longer token.
        if token.len() > RequestLimits::ACCESS_TOKEN {
            Err(TooLong.into())
        } else {
            Ok(AccessToken::from_base64url(token))
        }
    }
}

#[async_trait]
impl TokenIssuer for JwtIssuer {
    async fn issue(&self, authorization: &Authorization<'_>) -> Result<AccessToken, BoxError> {
        self.sign(self.claims(authorization)?)
    }

    async fn inspect(&self, token: &str, now: Timestamp) -> Result<Option<TokenDetails>, BoxError> {
        let keys = self.verification.as_ref().map_err(Clone::clone)?;
        let details = read_jwt(token, &keys.algorithms(), keys).ok();
        Ok(details.filter(|details| now.unix_seconds() < details.expires_at))
    }

    fn default_audience(&self) -> Option<&str> {
        Some(&self.audience)
    }

    fn public_keys(&self) -> JwkSet {
        self.keys.public_keys()
    }

    /// Makes a token and reads it back.
    fn check(&self) -> Result<(), BoxError> {
        check_audience(&self.audience)?;
        let claims = r#"{"iss":"i","sub":"s","aud":"a","client_id":"c","iat":0,"exp":1,"jti":"j"}"#;
        let token = self.sign(claims.into())?;
        let keys = self.verification.as_ref().map_err(Clone::clone)?;
        read_jwt(token.expose(), &[self.keys.current().algorithm()], keys)
            .map_err(|_| KeyError::Mismatch)?;
        Ok(())
    }
}

/// The host's claims make the token longer than the 8 KiB that a verifier reads.
#[derive(Debug, thiserror::Error)]
#[error("the access token would be longer than 8 KiB")]
struct TooLong;

impl fmt::Debug for JwtIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtIssuer")
            .field("keys", &self.keys)
            .field("audience", &self.audience)
            .finish()
    }
}
