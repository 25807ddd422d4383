//! Who calls: the clients a host has registered.

pub(crate) mod assertion;
pub(crate) mod authentication;
mod client_assertion;
pub(crate) mod jwks;
mod registered;
mod secret;
mod store;

pub use authentication::AuthenticatedClient;
pub use client_assertion::{AssertionError, AssertionKey, ClientAssertion};
pub use jwks::JwksSource;
pub(crate) use registered::Sees;
pub use registered::{AssertionCompatibility, AuthenticationMethod, Client, ClientAuthentication, Grant};
pub use secret::{ClientSecret, InvalidDigest};
pub use store::{ClientStore, InMemoryClients};
