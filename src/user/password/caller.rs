//! Who causes a hash: the sides, groups and parties that the hashing threads serve in turn.

use crate::types::address::{network, source};
use crate::types::context::RequestContext;
use crate::types::digest::sha256;
use crate::user::authenticator::LoginAttempt;

/// Who causes a hash.
///
/// Both sides of the queue take turns at it, on each side its groups, and in each group its
/// parties, however many jobs each of them has waiting. The places are shared out in the same way.
///
/// A web backend is trusted to log in many people, and one turn among those of all addresses would
/// be too little for them. So web backends have a side of their own. Its half is theirs even if an
/// attacker has more addresses than the queue has places, and many invented user names get no more
/// than this half. A web backend is one group from whatever address its requests come, so that it
/// does not get a larger part of the half by having many servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Caller {
    group: Group,
    party: Party,
}

/// Half of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    WebBackends,
    Others,
}

/// The parties that one attacker can be without much effort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Group {
    /// A web backend in one tenant: the SHA-256 digest of tenant and client.
    WebBackend([u8; 32]),
    /// An IPv6 network (/48), whose 65,536 sources may all be one attacker's.
    Network([u8; 6]),
    /// An IPv4 address.
    Ipv4([u8; 9]),
    /// All requests without an address.
    NoAddress,
    /// The host, which hashes new passwords.
    Enrolment,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Party {
    /// One user name at a web backend: its SHA-256 digest.
    UserName([u8; 32]),
    /// All requests from one IPv6 /64.
    Source([u8; 9]),
    /// All of a group that is not divided.
    Whole,
}

impl Caller {
    pub(crate) const ENROLMENT: Self = Self { group: Group::Enrolment, party: Party::Whole };

    /// The caller of a request by its address.
    pub(crate) fn at(context: &RequestContext) -> Self {
        let Some(peer) = context.peer() else {
            return Self { group: Group::NoAddress, party: Party::Whole };
        };
        match network(peer) {
            Some(network) => {
                Self { group: Group::Network(network), party: Party::Source(source(peer)) }
            }
            None => Self { group: Group::Ipv4(source(peer)), party: Party::Whole },
        }
    }

    pub(crate) fn of_login(attempt: &LoginAttempt<'_>) -> Self {
        if attempt.client.registration().web_backend().is_none() {
            return Self::at(attempt.context);
        }
        let tenant = attempt.context.tenant_or_default();
        // The length keeps the end of the tenant from being read as the beginning of the client.
        let mut backend = tenant.len().to_be_bytes().to_vec();
        backend.extend_from_slice(tenant.as_bytes());
        backend.extend_from_slice(attempt.client.id().as_str().as_bytes());
        Self {
            group: Group::WebBackend(sha256(&backend)),
            party: Party::UserName(sha256(attempt.username.as_bytes())),
        }
    }

    /// The keys of the caller's jobs, from the outermost to the innermost.
    pub(super) fn path(self) -> (Side, (Group, (Party, ()))) {
        let side = match self.group {
            Group::WebBackend(_) => Side::WebBackends,
            Group::Network(_) | Group::Ipv4(_) | Group::NoAddress | Group::Enrolment => {
                Side::Others
            }
        };
        (side, (self.group, (self.party, ())))
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

    /// The caller of a login through a web backend.
    fn at_backend(client: &str, username: &str, context: &RequestContext) -> Caller {
        let client = Client::confidential(client, ClientSecret::digest_of("a secret"))
            .web_backend(1_000, Duration::from_secs(600))
            .build();
        Caller::of_login(&LoginAttempt {
            username,
            password: Secret::new("wonderland"),
            others: &[],
            scope: &Scope::empty(),
            client: &AuthenticatedClient::of_token(client, Timestamp::from_unix_seconds(0))
                .unwrap(),
            context,
            password_use: &PasswordUse::new(),
        })
    }

    #[test]
    fn a_web_backend_of_each_tenant_is_a_group_and_each_of_its_users_a_party() {
        let context = RequestContext::new();
        let other_peer = context.clone().with_peer(IpAddr::from([192, 0, 2, 1]));
        let tenant = |tenant| context.clone().with_tenant(tenant);
        let alice = at_backend("web", "alice", &context);
        assert_eq!(alice, at_backend("web", "alice", &other_peer));
        assert_eq!(alice.group, at_backend("web", "bob", &context).group);
        assert_ne!(alice.party, at_backend("web", "bob", &context).party);
        assert_ne!(alice.group, at_backend("till", "alice", &context).group);
        assert_ne!(alice.group, at_backend("web", "alice", &tenant("shop")).group);
        let of_shop = at_backend("pweb", "alice", &tenant("sho"));
        assert_ne!(of_shop, at_backend("web", "alice", &tenant("shop")));
    }

    #[test]
    fn an_ipv6_network_is_a_group_of_sources_and_an_ipv4_address_a_group_of_its_own() {
        let at = |peer: &str| Caller::at(&RequestContext::new().with_peer(peer.parse().unwrap()));
        assert_eq!(at("2001:db8:0:1::1"), at("2001:db8:0:1::2"));
        assert_eq!(at("2001:db8:0:1::1").group, at("2001:db8:0:2::1").group);
        assert_ne!(at("2001:db8:0:1::1").party, at("2001:db8:0:2::1").party);
        assert_ne!(at("2001:db8:0:1::1").group, at("2001:db8:1:1::1").group);
        assert_eq!(at("192.0.2.1"), at("::ffff:192.0.2.1"));
        assert_ne!(at("192.0.2.1").group, at("192.0.2.2").group);
        assert_ne!(at("192.0.2.1").group, Caller::at(&RequestContext::new()).group);
    }
}
