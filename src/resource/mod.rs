//! The resource server's side (RFC 6750): it reads the bearer token of a request, and verifies it
//! by signature or by look-up.

mod bearer;
mod claims;
mod introspection;
mod verifier;

pub use crate::session::Revocations;
pub use bearer::BearerRequest;
pub(crate) use claims::{JWT_TYPE, read_jwt};
pub use introspection::{IntrospectedTokens, IntrospectionTransport};
pub use verifier::{AccessTokenVerifier, TokenLookup, VerifiedToken, VerifierError};
