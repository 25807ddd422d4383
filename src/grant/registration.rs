//! Checks of clients' registrations against the server's configuration.

use std::time::Duration;

use crate::client::{
    AssertionKeys, AssertionRegistration, Client, Grant, IntrospectionAccess, RegistrationError,
};
use crate::grant::engine::Settings;
use crate::http::form;
use crate::types::limits::RequestLimits;
use crate::types::scope::Scope;
use crate::types::token::LIFETIMES;

/// The settings that a registration has to fit.
#[derive(Clone, Copy)]
pub(super) struct ServerSettings<'s> {
    pub(super) settings: &'s Settings,
    pub(super) has_refresh_tokens: bool,
    pub(super) has_jwks_source: bool,
}

impl ServerSettings<'_> {
    /// Checks all of a registration, when the engine is built.
    pub(super) fn check(&self, client: &Client) -> Result<(), RegistrationError> {
        let id = client.id().as_str();
        if id.is_empty() || id.len() > RequestLimits::CLIENT_ID || !form::is_vschar(id) {
            return Err(RegistrationError::Id);
        }
        check_at_request(client, self.has_refresh_tokens)?;
        check_default_scope(client, self.settings.scopes.as_ref())?;
        self.check_authentication(client)?;
        let introspects = !matches!(client.introspection(), IntrospectionAccess::Own);
        if client.is_public() && introspects {
            return Err(RegistrationError::PublicResourceServer);
        }
        Ok(())
    }

    /// A method or an algorithm that the server has switched off is no mistake: the setting is there
    /// to shut out clients that are registered for it.
    fn check_authentication(&self, client: &Client) -> Result<(), RegistrationError> {
        let authentication = client.authentication();
        let publishes =
            |assertion: &AssertionRegistration| matches!(assertion.keys(), AssertionKeys::At(_));
        if authentication.assertion().is_some_and(publishes) && !self.has_jwks_source {
            return Err(RegistrationError::NoJwksSource);
        }
        let has_slow_hash_alone =
            authentication.slow_hash().is_some() && authentication.secrets().is_empty();
        if has_slow_hash_alone && self.settings.slow_secrets.is_none() {
            return Err(RegistrationError::NoSlowSecrets);
        }
        Ok(())
    }
}

/// Checks what makes every token request of the client fail, at each request of one that has
/// authenticated.
pub(super) fn check_at_request(
    client: &Client,
    has_refresh_tokens: bool,
) -> Result<(), RegistrationError> {
    if client.may_use(Grant::RefreshToken) && !has_refresh_tokens {
        return Err(RegistrationError::RefreshTokensOff);
    }
    if client.audiences().iter().any(String::is_empty) {
        return Err(RegistrationError::EmptyAudience);
    }
    match client.access_token_lifetime() {
        // Fractions of a second are cut off.
        Some(lifetime) if !LIFETIMES.contains(&Duration::from_secs(lifetime.as_secs())) => {
            Err(RegistrationError::Lifetime(lifetime))
        }
        _ => Ok(()),
    }
}

/// Checks the scope of a request that names none.
pub(super) fn check_default_scope(
    client: &Client,
    known_to_server: Option<&Scope>,
) -> Result<(), RegistrationError> {
    let outside = |scope: &Scope| {
        client.default_scope().iter().find(|token| !scope.contains(token)).map(str::to_owned)
    };
    if let Some(token) = outside(client.scope()) {
        return Err(RegistrationError::DefaultScope(token));
    }
    match known_to_server.and_then(outside) {
        Some(token) => Err(RegistrationError::UnknownScope(token)),
        None => Ok(()),
    }
}
