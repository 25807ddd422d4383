//! What is issued: access tokens and refresh tokens.

mod issuer;
mod jwt;
mod opaque;
pub(crate) mod refresh;

pub(crate) use issuer::is_host_claim;
pub use issuer::{Authorization, TokenIssuer};
pub use jwt::JwtIssuer;
pub use opaque::{InMemoryTokens, OpaqueIssuer, TokenDigest, TokenStore};
pub use refresh::RefreshKeys;
