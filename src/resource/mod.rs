//! Where tokens are used: protecting a route (RFC 6750).

mod bearer;
mod claims;
mod introspection;
mod verifier;

pub use bearer::BearerRequest;
pub(crate) use claims::{JWT_TYPE, read_jwt};
pub use introspection::{IntrospectedTokens, IntrospectionTransport};
pub use verifier::{AccessTokenVerifier, TokenLookup, VerifiedToken};
