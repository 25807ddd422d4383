//! Events as one line of text for a person.

use std::fmt;

use crate::event::{Event, EventKind};
use crate::types::context::RequestContext;
use crate::types::scope::Scope;

/// Text that was typed by a caller or written by a host: quoted, with control characters escaped.
/// Nothing where the fact is not known.
struct Quoted<'a>(&'a str, Option<&'a str>);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self(before, Some(text)) => write!(f, "{before}{text:?}"),
            Self(_, None) => Ok(()),
        }
    }
}

/// The facts that are known, with the user name as in
/// [`loggable_username`](Event::loggable_username).
impl fmt::Debug for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("kind", &self.kind)
            .field("client_id", &self.client_id)
            .field("username", &self.loggable_username())
            .field("subject", &self.subject)
            .field("session_id", &self.session_id)
            .field("token_id", &self.token_id)
            .field("cause", &self.cause)
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}

/// One line for a person, in which text that a caller typed is quoted and escaped, and the user
/// name stands as [`loggable_username`](Event::loggable_username) says.
impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let username = self.loggable_username();
        let of_user = Quoted(" of ", username.as_deref());
        let on_user = Quoted(" on ", username.as_deref());
        let client = Quoted(" ", self.client_id.map(AsRef::as_ref));
        let by_client = Quoted(" through client ", self.client_id.map(AsRef::as_ref));
        let with_client = Quoted(" with client ", self.client_id.map(AsRef::as_ref));
        let to_client = Quoted(" to client ", self.client_id.map(AsRef::as_ref));
        let subject = Quoted(" for subject ", self.subject.map(AsRef::as_ref));
        let of_subject = Quoted(" of subject ", self.subject.map(AsRef::as_ref));
        let session = Quoted(" of session ", self.session_id.map(AsRef::as_ref));
        let token = Quoted(" ", self.token_id);
        let scope = Quoted(", scope ", self.scope.map(Scope::as_str));
        let wait = self.retry_after.unwrap_or_default();
        match self.kind {
            EventKind::LoginAccepted => {
                write!(
                    f,
                    "login{of_user}{by_client} accepted{}",
                    Quoted(": subject ", self.subject.map(AsRef::as_ref))
                )
            }
            EventKind::TokenIssued | EventKind::TokenRefreshed => {
                write!(f, "token{token}{session} issued{to_client}{subject}{scope}")
            }
            EventKind::TokenRevoked if self.token_id.is_some() => {
                write!(f, "token{token}{subject} of client{client} revoked")
            }
            EventKind::TokenRevoked => {
                write!(
                    f,
                    "session{}{subject} of client{client} revoked",
                    Quoted(" ", self.session_id.map(AsRef::as_ref))
                )
            }
            EventKind::SessionReplaced => {
                write!(
                    f,
                    "session{}{subject}{by_client} replaced by another",
                    Quoted(" ", self.session_id.map(AsRef::as_ref))
                )
            }
            EventKind::LoggedOut => {
                write!(f, "all sessions{of_subject} ended: logged out everywhere")
            }
            EventKind::AttemptsReset(limit) => write!(f, "attempts on {limit:?} reset"),
            EventKind::RequestRefused(fault) => write!(f, "request refused: {fault:?}"),
            EventKind::ClientRefused(fault) => {
                write!(f, "client{client} not authenticated: {fault:?}")
            }
            EventKind::ClientDenied => {
                write!(f, "client{client} denied for {wait:?}: too many failed authentications")
            }
            EventKind::NotAllowed(refused) => {
                write!(f, "client{client} is not registered for what it asked: {refused:?}")
            }
            EventKind::LoginRejected(rejection) => {
                write!(f, "login{of_user}{by_client} rejected: {rejection:?}")
            }
            EventKind::MoreNeeded => {
                write!(f, "login{of_user}{by_client} needs another step{}", Quoted(": ", self.code))
            }
            EventKind::TokenRefused(fault) => {
                write!(f, "token{session} refused{to_client}: {fault:?}")
            }
            EventKind::ServerFault(fault) => write!(f, "server fault: {fault:?}{with_client}"),
            EventKind::AttemptAdmitted(limit) => {
                write!(f, "attempt{on_user}{by_client} admitted, counted on {limit:?}")
            }
            EventKind::AttemptWaits(limit) => {
                write!(f, "attempt{on_user}{by_client} waits for others on {limit:?}")
            }
            EventKind::AttemptDenied(limit) => {
                write!(f, "attempt{on_user}{by_client} denied for {wait:?}: too many on {limit:?}")
            }
            EventKind::AttemptAbandoned => {
                write!(f, "attempt{on_user}{by_client} abandoned: it counts as failed")
            }
            EventKind::AccountLocked(limit) => {
                write!(f, "{limit:?}{of_user} locked, last tried{by_client}")
            }
            EventKind::NewOrigin => write!(f, "login{of_user}{by_client} from a new origin"),
            EventKind::Alarm { alarm, failures } => {
                write!(f, "alarm: {alarm:?}{by_client}, {failures} failures")
            }
            EventKind::NoPeerAddress => {
                write!(
                    f,
                    "many requests came without their caller's address, so limits by address did \
                     not apply to them (see HttpRequest::peer)"
                )
            }
            EventKind::LenientAudience => {
                write!(
                    f,
                    "client{client} authenticated by an assertion that is not for the issuer alone"
                )
            }
            EventKind::KeyPassedOver => write!(f, "key of client{client} cannot be used"),
            EventKind::PasswordVerified { .. } | EventKind::SessionsInMemory => {
                write!(f, "{}", self.kind)
            }
            EventKind::StoredHashRefused => {
                write!(f, "stored password hash{of_subject} is not usable")
            }
            EventKind::PasswordRehashed => write!(f, "password{of_subject} rehashed"),
            EventKind::RehashFailed => write!(f, "password{of_subject} not rehashed"),
            EventKind::AccessRefused(fault) => {
                let peer = self.context.and_then(RequestContext::peer);
                let peer = peer.map(|peer| peer.to_string());
                write!(
                    f,
                    "access refused: {fault:?}{}{}{}",
                    Quoted(", token ", self.token_id),
                    Quoted(" of client ", self.client_id.map(AsRef::as_ref)),
                    Quoted(", from ", peer.as_deref())
                )
            }
        }?;
        match self.cause {
            Some(cause) => write!(f, ": {:?}", cause.to_string()),
            None => Ok(()),
        }
    }
}
