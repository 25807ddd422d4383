//! The stable names of events and of their reasons, for log pipelines and metrics: closed sets, in
//! snake case. Renaming one is a breaking change.

use std::error::Error;
use std::fmt;

use crate::error::{
    ClientFault, LimitKind, NotAllowed, Rejection, RequestFault, ServerFault, TokenFault,
};
use crate::event::{AccessFault, Alarm, EventKind};

impl EventKind {
    /// The name of the event, such as `login_rejected`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LoginAccepted => "login_accepted",
            Self::TokenIssued => "token_issued",
            Self::TokenRefreshed => "token_refreshed",
            Self::TokenRevoked => "token_revoked",
            Self::SessionReplaced => "session_replaced",
            Self::LoggedOut => "logged_out",
            Self::AttemptsReset(_) => "attempts_reset",
            Self::RequestRefused(_) => "request_refused",
            Self::ClientRefused(_) => "client_refused",
            Self::ClientDenied => "client_denied",
            Self::NotAllowed(_) => "not_allowed",
            Self::LoginRejected(_) => "login_rejected",
            Self::MoreNeeded => "more_needed",
            Self::TokenRefused(_) => "token_refused",
            Self::ServerFault(_) => "server_fault",
            Self::AttemptAdmitted(_) => "attempt_admitted",
            Self::AttemptWaits(_) => "attempt_waits",
            Self::AttemptDenied(_) => "attempt_denied",
            Self::AttemptAbandoned => "attempt_abandoned",
            Self::AccountLocked(_) => "account_locked",
            Self::NewOrigin => "new_origin",
            Self::Alarm { .. } => "alarm",
            Self::NoPeerAddress => "no_peer_address",
            Self::LenientAudience => "lenient_audience",
            Self::SessionsInMemory => "sessions_in_memory",
            Self::KeyPassedOver => "key_passed_over",
            Self::PasswordVerified { .. } => "password_verified",
            Self::StoredHashRefused => "stored_hash_refused",
            Self::PasswordRehashed => "password_rehashed",
            Self::RehashFailed => "rehash_failed",
            Self::AccessRefused(_) => "access_refused",
        }
    }

    /// The reason within the kind, such as `wrong_password`; `None` where a kind has only one.
    #[must_use]
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::RequestRefused(reason) => Some(reason.name()),
            Self::ClientRefused(reason) => Some(reason.name()),
            Self::NotAllowed(reason) => Some(reason.name()),
            Self::LoginRejected(reason) => Some(reason.name()),
            Self::TokenRefused(reason) => Some(reason.name()),
            Self::ServerFault(reason) => Some(reason.name()),
            Self::AccessRefused(reason) => Some(reason.name()),
            Self::AttemptsReset(limit)
            | Self::AttemptAdmitted(limit)
            | Self::AttemptWaits(limit)
            | Self::AttemptDenied(limit)
            | Self::AccountLocked(limit) => Some(limit.name()),
            Self::Alarm { alarm, .. } => Some(alarm.name()),
            Self::LoginAccepted
            | Self::TokenIssued
            | Self::TokenRefreshed
            | Self::TokenRevoked
            | Self::SessionReplaced
            | Self::LoggedOut
            | Self::ClientDenied
            | Self::MoreNeeded
            | Self::AttemptAbandoned
            | Self::NewOrigin
            | Self::NoPeerAddress
            | Self::LenientAudience
            | Self::SessionsInMemory
            | Self::KeyPassedOver
            | Self::PasswordVerified { .. }
            | Self::StoredHashRefused
            | Self::PasswordRehashed
            | Self::RehashFailed => None,
        }
    }
}

impl EventKind {
    /// What the reason alone does not say: why an account was refused, or the host's own reason.
    #[must_use]
    pub fn detail(self) -> Option<&'static str> {
        match self {
            Self::LoginRejected(Rejection::Other(text))
            | Self::TokenRefused(TokenFault::Account(Rejection::Other(text))) => Some(text),
            Self::TokenRefused(TokenFault::Account(rejection)) => Some(rejection.name()),
            _ => None,
        }
    }
}

/// The name in words: `login rejected`. With the parameters of a hash that was computed.
impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SessionsInMemory => f.write_str(
                "sessions in memory: a restart ends all of them (see \
                 PasswordGrantBuilder::shared_state)",
            ),
            Self::PasswordVerified { memory_kib, passes, lanes } => {
                write!(f, "password verified with m={memory_kib},t={passes},p={lanes}")
            }
            _ => f.write_str(&self.name().replace('_', " ")),
        }
    }
}

impl RequestFault {
    fn name(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::ContentType => "content_type",
            Self::BodyTooLarge => "body_too_large",
            Self::BodyIncomplete => "body_incomplete",
            Self::RepeatedHeader => "repeated_header",
            Self::CredentialsInQuery => "credentials_in_query",
            Self::Encoding => "encoding",
            Self::TooManyParameters => "too_many_parameters",
            Self::TooLong => "too_long",
            Self::Repeated => "repeated",
            Self::Character => "character",
            Self::Scope => "scope",
            Self::SeveralClientAuthentications => "several_client_authentications",
            Self::ClientIdMismatch => "client_id_mismatch",
            Self::ClientAssertion => "client_assertion",
            Self::GrantTypeMissing => "grant_type_missing",
            Self::GrantTypeUnknown => "grant_type_unknown",
            Self::UsernameMissing => "username_missing",
            Self::PasswordMissing => "password_missing",
            Self::RefreshTokenMissing => "refresh_token_missing",
            Self::TokenMissing => "token_missing",
        }
    }
}

impl ClientFault {
    fn name(self) -> &'static str {
        match self {
            Self::Unidentified => "unidentified",
            Self::MalformedAuthorization => "malformed_authorization",
            Self::Unknown => "unknown",
            Self::Disabled => "disabled",
            Self::Expired => "expired",
            Self::Method => "method",
            Self::Secret => "secret",
            Self::Ambiguous => "ambiguous",
            Self::AssertionMalformed => "assertion_malformed",
            Self::AssertionType => "assertion_type",
            Self::AssertionAlgorithm => "assertion_algorithm",
            Self::AssertionSignature => "assertion_signature",
            Self::AssertionIssuer => "assertion_issuer",
            Self::AssertionAudience => "assertion_audience",
            Self::AssertionTime => "assertion_time",
            Self::AssertionId => "assertion_id",
            Self::AssertionSeen => "assertion_seen",
            Self::Public => "public",
        }
    }
}

impl NotAllowed {
    fn name(self) -> &'static str {
        match self {
            Self::Grant => "grant",
            Self::Scope => "scope",
            Self::NoDefaultScope => "no_default_scope",
            Self::Target => "target",
            Self::OwnerScope => "owner_scope",
            Self::RefreshedScope => "refreshed_scope",
            Self::RefreshedTarget => "refreshed_target",
        }
    }
}

impl Rejection {
    fn name(self) -> &'static str {
        match self {
            Self::UnknownUser => "unknown_user",
            Self::WrongPassword => "wrong_password",
            Self::NoPassword => "no_password",
            Self::UnusableHash => "unusable_hash",
            Self::Disabled => "disabled",
            Self::Locked => "locked",
            Self::Expired => "expired",
            Self::PasswordChangeRequired => "password_change_required",
            Self::SecondFactorRequired => "second_factor_required",
            Self::Other(_) => "other",
        }
    }
}

impl TokenFault {
    fn name(self) -> &'static str {
        match self {
            Self::NotOurs => "not_ours",
            Self::Unknown => "unknown",
            Self::OtherClient => "other_client",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::LoggedOut => "logged_out",
            Self::Reused => "reused",
            Self::Ahead => "ahead",
            Self::Forged => "forged",
            Self::Account(_) => "account_refused",
        }
    }
}

impl LimitKind {
    fn name(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::KnownOrigin => "known_origin",
            Self::Source => "source",
            Self::Network => "network",
            Self::WebBackend => "web_backend",
            Self::Client => "client",
            Self::ClientNetwork => "client_network",
        }
    }
}

impl ServerFault {
    fn name(self) -> &'static str {
        match self {
            Self::ClientStore => "client_store",
            Self::JwksSource => "jwks_source",
            Self::TooManyAssertions => "too_many_assertions",
            Self::TooManyRevocations => "too_many_revocations",
            Self::ClientRegistration => "client_registration",
            Self::UserAuthenticator => "user_authenticator",
            Self::AccountNames => "account_names",
            Self::AccountGate => "account_gate",
            Self::LoggedOutMeanwhile => "logged_out_meanwhile",
            Self::RefreshContended => "refresh_contended",
            Self::RefreshKeyMissing => "refresh_key_missing",
            Self::StateStore => "state_store",
            Self::Overloaded => "overloaded",
            Self::TokenLookup => "token_lookup",
            Self::TokenIssuer => "token_issuer",
            Self::HostMember => "host_member",
            Self::Panic => "panic",
        }
    }
}

impl Alarm {
    fn name(self) -> &'static str {
        match self {
            Self::ManyAccounts => "many_accounts",
            Self::ManySecrets => "many_secrets",
        }
    }
}

impl AccessFault {
    fn name(self) -> &'static str {
        match self {
            Self::NoToken => "no_token",
            Self::Malformed => "malformed",
            Self::NotOurs => "not_ours",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Revoked => "revoked",
            Self::Bound => "bound",
            Self::Scope => "scope",
            Self::ServerFault => "server_fault",
        }
    }
}

macro_rules! in_words {
    ($($name:ident),+) => {
        $(
            /// The reason in words. It is for logs, and never sent.
            impl fmt::Display for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str(&self.name().replace('_', " "))
                }
            }

            impl Error for $name {}
        )+
    };
}

in_words!(AccessFault, ClientFault, NotAllowed, RequestFault, ServerFault);

/// The reason in words, or the host's own. It is for logs, and never sent.
impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other(text) => f.write_str(text),
            _ => f.write_str(&self.name().replace('_', " ")),
        }
    }
}

impl Error for Rejection {}

/// The reason in words, with that of the account gate. It is for logs, and never sent.
impl fmt::Display for TokenFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(rejection) => write!(f, "account refused: {rejection}"),
            _ => f.write_str(&self.name().replace('_', " ")),
        }
    }
}

impl Error for TokenFault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_its_variant_in_snake_case_and_a_reason_that_of_what_it_holds() {
        let refused = EventKind::RequestRefused(RequestFault::SeveralClientAuthentications);
        for (kind, name, reason) in [
            (EventKind::LoginAccepted, "login_accepted", None),
            (refused, "request_refused", Some("several_client_authentications")),
            (
                EventKind::LoginRejected(Rejection::UnknownUser),
                "login_rejected",
                Some("unknown_user"),
            ),
            (
                EventKind::LoginRejected(Rejection::Other("host's own")),
                "login_rejected",
                Some("other"),
            ),
            (
                EventKind::TokenRefused(TokenFault::Account(Rejection::Locked)),
                "token_refused",
                Some("account_refused"),
            ),
            (
                EventKind::AttemptDenied(LimitKind::KnownOrigin),
                "attempt_denied",
                Some("known_origin"),
            ),
            (
                EventKind::Alarm { alarm: Alarm::ManySecrets, failures: 1 },
                "alarm",
                Some("many_secrets"),
            ),
        ] {
            assert_eq!((kind.name(), kind.reason()), (name, reason));
        }
        let refused = TokenFault::Account(Rejection::Locked);
        assert_eq!(EventKind::TokenRefused(refused).detail(), Some("locked"));
        assert_eq!(EventKind::LoginRejected(Rejection::Other("own")).detail(), Some("own"));
        assert_eq!(EventKind::LoginAccepted.to_string(), "login accepted");
    }
}
