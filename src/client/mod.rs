//! Clients (RFC 6749 section 2): how the host registers them, and how they authenticate.

pub(crate) mod authenticate;
mod authentication;
mod client_assertion;
pub(crate) mod jwks;
mod registered;
mod registration_error;
pub(crate) mod replay;
mod secret;
mod store;

pub use authenticate::AuthenticatedClient;
pub use authentication::{AssertionCompatibility, AuthenticationMethod, ClientAuthentication};
pub(crate) use authentication::{AssertionKeys, AssertionRegistration};
pub use client_assertion::{AssertionError, AssertionKey, ClientAssertion};
pub use jwks::JwksSource;
pub use registered::{Client, ClientBuilder, Grant};
pub(crate) use registered::{IntrospectionAccess, WebBackend};
pub use registration_error::RegistrationError;
pub use secret::ClientSecret;
pub use store::{ClientStore, InMemoryClients};
