//! The parties that the hashing threads serve in turn.

use crate::types::address::source;
use crate::types::context::RequestContext;
use crate::types::digest::sha256;
use crate::user::authenticator::LoginAttempt;

/// Who causes a hash. The hashing threads serve one party after the other, however many jobs each
/// of them has waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Party {
    /// All requests from one address (IPv6: from its /64).
    Address([u8; 9]),
    /// All requests without an address.
    NoAddress,
    /// One user name at a web backend, whose logins all come from its own address: the SHA-256
    /// digest of tenant, client and name.
    BackendUser([u8; 32]),
    /// The host, which hashes new passwords.
    Enrolment,
}

impl Party {
    /// The party of a request by its address.
    pub(crate) fn at(context: &RequestContext) -> Self {
        context.peer().map_or(Self::NoAddress, |peer| Self::Address(source(peer)))
    }

    pub(crate) fn of_login(attempt: &LoginAttempt<'_>) -> Self {
        if attempt.client.registration().web_backend().is_none() {
            return Self::at(attempt.context);
        }
        let tenant = attempt.context.tenant_or_default();
        let mut name = Vec::new();
        for part in [tenant, attempt.client.id().as_str(), attempt.username] {
            // The length keeps one part from being read as another's end.
            name.extend_from_slice(&part.len().to_be_bytes());
            name.extend_from_slice(part.as_bytes());
        }
        Self::BackendUser(sha256(&name))
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use super::*;
    use crate::client::{AuthenticatedClient, Client, ClientSecret};
    use crate::time::Timestamp;
    use crate::types::scope::Scope;
    use crate::types::secret::Secret;
    use crate::user::PasswordUse;

    /// The party of a login through a web backend.
    fn at_backend(client: &str, username: &str, context: &RequestContext) -> Party {
        let client = Client::confidential(client, ClientSecret::digest_of("a secret"))
            .web_backend(1_000, Duration::from_secs(600))
            .build();
        Party::of_login(&LoginAttempt {
            username,
            password: Secret::new("wonderland"),
            scope: &Scope::empty(),
            client: &AuthenticatedClient::of_token(client, Timestamp::from_unix_seconds(0))
                .unwrap(),
            context,
            password_use: &PasswordUse::new(),
        })
    }

    #[test]
    fn at_a_web_backend_every_user_of_every_tenant_is_a_party() {
        let context = RequestContext::new();
        let other_peer = context.clone().with_peer(IpAddr::from([192, 0, 2, 1]));
        let tenant = context.clone().with_tenant("shop");
        let alice = at_backend("web", "alice", &context);
        assert_eq!(alice, at_backend("web", "alice", &other_peer));
        assert_ne!(alice, at_backend("web", "bob", &context));
        assert_ne!(alice, at_backend("we", "balice", &context));
        assert_ne!(alice, at_backend("web", "alice", &tenant));
    }
}
