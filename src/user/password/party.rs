//! The parties that the hashing threads serve in turn.

use crate::types::address::{network, source};
use crate::types::context::RequestContext;
use crate::types::digest::sha256;
use crate::user::authenticator::LoginAttempt;

/// Who causes a hash. The hashing threads serve one group after the other, and within a group one
/// party after the other, however many jobs each of them has waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Party {
    pub(super) group: Group,
    pub(super) member: Member,
}

/// Parties that may all be one caller's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Group {
    /// An IPv4 address.
    Address([u8; 9]),
    /// An IPv6 network (/48), of which one caller may have every address.
    Network([u8; 6]),
    /// All requests without an address.
    NoAddress,
    /// A web backend, whose logins all come from its own address: the SHA-256 digest of tenant and
    /// client. One caller may send it any number of invented user names.
    Backend([u8; 32]),
    /// The host, which hashes new passwords.
    Enrolment,
}

/// A party within its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Member {
    Only,
    /// All requests from one /64 of an IPv6 network.
    Address([u8; 9]),
    /// A user name at a web backend: its SHA-256 digest.
    Username([u8; 32]),
}

impl Party {
    pub(crate) const ENROLMENT: Self = Self { group: Group::Enrolment, member: Member::Only };

    /// The party of a request by its address.
    pub(crate) fn at(context: &RequestContext) -> Self {
        let Some(peer) = context.peer() else {
            return Self { group: Group::NoAddress, member: Member::Only };
        };
        match network(peer) {
            Some(network) => {
                let member = Member::Address(source(peer));
                Self { group: Group::Network(network), member }
            }
            None => Self { group: Group::Address(source(peer)), member: Member::Only },
        }
    }

    pub(crate) fn of_login(attempt: &LoginAttempt<'_>) -> Self {
        if attempt.client.registration().web_backend().is_none() {
            return Self::at(attempt.context);
        }
        let tenant = attempt.context.tenant_or_default();
        let mut backend = Vec::new();
        // The length keeps one part from being read as another's end.
        backend.extend_from_slice(&tenant.len().to_be_bytes());
        backend.extend_from_slice(tenant.as_bytes());
        backend.extend_from_slice(attempt.client.id().as_str().as_bytes());
        let member = Member::Username(sha256(attempt.username.as_bytes()));
        Self { group: Group::Backend(sha256(&backend)), member }
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
    fn at_a_web_backend_every_user_is_a_party_and_all_of_a_tenant_are_a_group() {
        let context = RequestContext::new();
        let other_peer = context.clone().with_peer(IpAddr::from([192, 0, 2, 1]));
        let tenant = context.clone().with_tenant("shop");
        let alice = at_backend("web", "alice", &context);
        assert_eq!(alice, at_backend("web", "alice", &other_peer));
        let bob = at_backend("web", "bob", &context);
        assert!(alice.group == bob.group && alice.member != bob.member);
        assert_ne!(alice.group, at_backend("we", "alice", &context).group);
        assert_ne!(alice.group, at_backend("web", "alice", &tenant).group);
        let other_border = context.clone().with_tenant("shopw");
        let of_shop = at_backend("web", "alice", &tenant).group;
        assert_ne!(of_shop, at_backend("eb", "alice", &other_border).group);
    }

    #[test]
    fn an_address_is_a_group_and_so_is_an_ipv6_network() {
        let at = |peer: &str| {
            Party::at(&RequestContext::new().with_peer(peer.parse::<IpAddr>().unwrap()))
        };
        assert_eq!(at("192.0.2.1"), at("::ffff:192.0.2.1"));
        assert_ne!(at("192.0.2.1").group, at("192.0.2.2").group);
        assert_eq!(at("2001:db8::1"), at("2001:db8::2"));
        let (one, next) = (at("2001:db8::1"), at("2001:db8:0:1::1"));
        assert!(one.group == next.group && one.member != next.member);
        assert_ne!(one.group, at("2001:db8:1::1").group);
        assert_ne!(Party::at(&RequestContext::new()), at("192.0.2.1"));
    }
}
