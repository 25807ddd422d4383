//! What can be wrong with a client's registration as such, whatever its requests are.

use std::time::Duration;

/// Why a client's registration cannot work. The text names the setting.
///
/// [`PasswordGrantBuilder::build`](crate::PasswordGrantBuilder::build) checks the clients that are
/// known then ([`ClientStore::known_clients`](crate::ClientStore::known_clients)). Of others, what
/// their requests need is checked at each request: they get 503, and this is the cause in the event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistrationError {
    /// Two clients have the same identifier.
    #[error("id: another client has the same one")]
    RepeatedId,
    /// No request can name this identifier.
    #[error("id: it has to be 1 to 256 characters of printable ASCII")]
    Id,
    /// The default scope has a scope token that the client's scope lacks.
    #[error("default_scope: {0:?} is not in the client's scope")]
    DefaultScope(String),
    /// The default scope has a scope token that the server does not offer.
    #[error("default_scope: {0:?} is not in the server's scopes (PasswordGrantBuilder::scopes)")]
    UnknownScope(String),
    /// The lifetime of access tokens is out of range.
    #[error("access_token_lifetime: {0:?} is not from one second to 366 days")]
    Lifetime(Duration),
    /// An audience is empty.
    #[error("audiences: one of them is empty")]
    EmptyAudience,
    /// The client may use refresh tokens, and the server has none.
    #[error(
        "grants: refresh_token, and refresh tokens are off (PasswordGrantBuilder::refresh_tokens)"
    )]
    RefreshTokensOff,
    /// The client publishes its keys, and nothing fetches them.
    #[error("authentication: keys at a URI, and there is no PasswordGrantBuilder::jwks_source")]
    NoJwksSource,
    /// The client's only secret is a slow hash, and the server verifies none.
    #[error(
        "authentication: a slow hash, and there is no PasswordGrantBuilder::slow_client_secrets"
    )]
    NoSlowSecrets,
    /// A public client may not introspect.
    #[error("resource_server: a public client may not introspect tokens")]
    PublicResourceServer,
}
