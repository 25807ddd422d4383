//! Decisions on what an authenticated client may be granted. Each is a pure function of the request
//! and the registration, without I/O.

use std::borrow::Cow;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::client::{AuthenticatedClient, Grant};
use crate::error::{
    BoxError, ErrorCode, NotAllowed, Overloaded, Reason, RequestFault, ServerFault,
};
use crate::grant::registration::check_default_scope;
use crate::refusal::{OrFault, Refusal};
use crate::request::{Parameter, TokenRequest};
use crate::response::is_host_member;
use crate::token::is_host_claim;
use crate::types::limits::RequestLimits;
use crate::types::scope::Scope;
use crate::types::secret::Secret;
use crate::user::Accepted;

/// The requested grant, if it is switched on and the client is registered for it.
pub(crate) fn grant_for(
    request: &TokenRequest<'_>,
    switched_on: &[Grant],
    client: &AuthenticatedClient,
) -> Result<Grant, Reason> {
    let name = request.get(Parameter::GrantType).ok_or(RequestFault::GrantTypeMissing)?;
    let grant = Grant::named(name)
        .filter(|grant| switched_on.contains(grant))
        .ok_or(RequestFault::GrantTypeUnknown)?;
    if client.registration().may_use(grant) { Ok(grant) } else { Err(NotAllowed::Grant.into()) }
}

/// The requested scope, or else the client's default scope. The client must be registered for all
/// of it and the server must know it: nothing is silently dropped (RFC 6749 section 3.3).
pub(crate) fn scope_for(
    request: &TokenRequest<'_>,
    client: &AuthenticatedClient,
    known_to_server: Option<&Scope>,
) -> Result<Scope, Refusal> {
    let registration = client.registration();
    let (registered, default) = (registration.scope(), registration.default_scope());
    let allowed = |scope: &Scope| {
        registered.includes(scope) && known_to_server.is_none_or(|known| known.includes(scope))
    };
    match request.get(Parameter::Scope) {
        Some(asked) => {
            let asked = match [default, registered].into_iter().find(|own| own.as_str() == asked) {
                Some(same) => same.clone(),
                None => asked.parse().map_err(|_| RequestFault::Scope)?,
            };
            if allowed(&asked) { Ok(asked) } else { Err(NotAllowed::Scope.into()) }
        }
        None if default.is_empty() && !registered.is_empty() => {
            Err(NotAllowed::NoDefaultScope.into())
        }
        None => {
            let checked = check_default_scope(registration, known_to_server);
            checked.or_fault(ServerFault::ClientRegistration)?;
            Ok(default.clone())
        }
    }
}

/// The requested audiences, or else the client's first one. The client must be registered for all
/// of them. A client that is registered for none may request the issuer's default audience; the
/// result is then empty.
pub(crate) fn audiences_for<'c>(
    request: &TokenRequest<'_>,
    client: &'c AuthenticatedClient,
    own: Option<&str>,
) -> Result<Cow<'c, [String]>, Reason> {
    let registered = client.registration().audiences();
    let asked = targets_among(registered, own, request).ok_or(NotAllowed::Target)?;
    if asked.is_empty() {
        return Ok(Cow::Borrowed(registered.get(..1).unwrap_or_default()));
    }
    Ok(Cow::Owned(asked))
}

/// The requested audiences, each once, if `known` contains all of them. If `known` is empty, the
/// issuer's own audience may be requested, which adds nothing.
fn targets_among(
    known: &[String],
    own: Option<&str>,
    request: &TokenRequest<'_>,
) -> Option<Vec<String>> {
    let mut asked: Vec<String> = Vec::new();
    for target in &request.targets {
        if known.is_empty() && own == Some(target) {
            continue;
        }
        let known = known.iter().find(|audience| *audience == target)?;
        if !asked.contains(known) {
            asked.push(known.clone());
        }
    }
    Some(asked)
}

/// The requested scope of a refresh, or else the whole scope that the refresh token was issued for.
/// It must lie within that scope (RFC 6749 section 6), and the client must still be registered for
/// it.
pub(crate) fn refreshed_scope(
    request: &TokenRequest<'_>,
    issued: &Scope,
    client: &AuthenticatedClient,
    known_to_server: Option<&Scope>,
) -> Result<Scope, Reason> {
    let asked = match request.get(Parameter::Scope) {
        Some(asked) => asked.parse().map_err(|_| RequestFault::Scope)?,
        None => issued.clone(),
    };
    if !issued.includes(&asked) {
        return Err(NotAllowed::RefreshedScope.into());
    }
    let allowed = client.registration().scope().includes(&asked)
        && known_to_server.is_none_or(|known| known.includes(&asked));
    if allowed { Ok(asked) } else { Err(NotAllowed::Scope.into()) }
}

/// The requested audiences of a refresh, or else all that the refresh token was issued for. The
/// client must still be registered for them.
pub(crate) fn refreshed_audiences(
    request: &TokenRequest<'_>,
    issued: &[String],
    client: &AuthenticatedClient,
    own: Option<&str>,
) -> Result<Vec<String>, Reason> {
    let asked = targets_among(issued, own, request).ok_or(NotAllowed::RefreshedTarget)?;
    let audiences = if asked.is_empty() { issued.to_vec() } else { asked };
    let registered = client.registration().audiences();
    // An empty list stands for the issuer's default audience, which is only for clients that are
    // registered for no other.
    let default = audiences.is_empty() && registered.is_empty();
    let allowed = default
        || !audiences.is_empty() && audiences.iter().all(|audience| registered.contains(audience));
    if allowed { Ok(audiences) } else { Err(NotAllowed::Target.into()) }
}

/// The user name and the password, which are both required.
pub(crate) fn credentials_in<'r, 's>(
    request: &'r TokenRequest<'_>,
    password: Option<Secret<'s>>,
) -> Result<(&'r str, Secret<'s>), Reason> {
    let username = request.get(Parameter::Username).ok_or(RequestFault::UsernameMissing)?;
    Ok((username, password.ok_or(RequestFault::PasswordMissing)?))
}

/// The server fault that an error of the user authenticator stands for.
pub(crate) fn fault_of(cause: &BoxError) -> ServerFault {
    if cause.is::<Overloaded>() { ServerFault::Overloaded } else { ServerFault::UserAuthenticator }
}

/// The requested scope, reduced to what the resource owner may grant.
pub(crate) fn final_scope(asked: Scope, accepted: &Accepted) -> Result<Scope, Reason> {
    let granted = match &accepted.scope {
        Some(most) => asked.intersection(most),
        None => return Ok(asked),
    };
    if granted.is_empty() && !asked.is_empty() {
        Err(NotAllowed::OwnerScope.into())
    } else {
        Ok(granted)
    }
}

/// Checks that the host named a subject, and that its members and claims override none of the
/// engine's.
pub(crate) fn check_host_values(accepted: &Accepted) -> Result<(), Reason> {
    let subject = !accepted.subject.as_str().is_empty();
    let members = accepted.members.keys().all(|name| is_host_member(name));
    let claims = accepted.claims.keys().all(|name| is_host_claim(name));
    if subject && members && claims { Ok(()) } else { Err(ServerFault::HostMember.into()) }
}

/// The client's access token lifetime, or else the server's, in whole seconds.
pub(crate) fn lifetime_for(client: &AuthenticatedClient, default: Duration) -> Duration {
    let lifetime = client.registration().access_token_lifetime().unwrap_or(default);
    Duration::from_secs(lifetime.as_secs())
}

/// Checks a request that the host may have parsed itself: deserialising found no fault, and the
/// password is within the engine's limit.
pub(crate) fn check_request(
    request: &TokenRequest<'_>,
    limits: &RequestLimits,
) -> Result<(), RequestFault> {
    if let Some(fault) = request.fault() {
        return Err(fault);
    }
    let too_long =
        request.get(Parameter::Password).is_some_and(|password| password.len() > limits.password);
    if too_long { Err(RequestFault::TooLong) } else { Ok(()) }
}

/// Checks that a host may use this error code and these members.
pub(crate) fn check_more_needed(code: &str, members: &Map<String, Value>) -> Result<(), Reason> {
    let fine = ErrorCode::is_for_hosts(code) && members.keys().all(|name| is_host_member(name));
    if fine { Ok(()) } else { Err(ServerFault::HostMember.into()) }
}
