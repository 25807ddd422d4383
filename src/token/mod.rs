//! Access tokens: the issuers that make them, as JWTs or as opaque tokens, and their identifiers.

mod issuer;
pub(crate) mod jti;
mod jwt;
pub(crate) mod opaque;

pub(crate) use issuer::is_host_claim;
pub use issuer::{Authorization, TokenIssuer};
pub use jwt::JwtIssuer;
pub use opaque::{OpaqueIssuer, TokenDigest, TokenStore};

pub use crate::error::InvalidToken;
pub use crate::types::token::{AccessToken, TokenDetails};
