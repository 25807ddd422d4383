//! What is issued: access tokens and refresh tokens.

mod issuer;
pub(crate) mod jti;
mod jwt;
mod opaque;

pub(crate) use issuer::is_host_claim;
pub use issuer::{Authorization, TokenIssuer};
pub use jwt::JwtIssuer;
pub use opaque::{InMemoryTokens, OpaqueIssuer, TokenDigest, TokenStore};
