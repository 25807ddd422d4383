//! Who calls: the clients a host has registered.

pub(crate) mod authentication;
mod registered;
mod secret;
mod store;

pub use authentication::AuthenticatedClient;
pub use registered::{AuthenticationMethod, Client, ClientAuthentication, Grant};
pub use secret::{ClientSecret, InvalidDigest};
pub use store::{ClientStore, InMemoryClients};
