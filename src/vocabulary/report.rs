use std::sync::Arc;

use crate::vocabulary::context::RequestContext;
use crate::vocabulary::error::{BoxError, Reason, Rejection, TokenError, Trouble};
use crate::vocabulary::event::{Event, Observer};
use crate::vocabulary::identifier::ClientId;

/// Says no: tells the observer why, and makes the answer that tells the caller only what it may know.
#[derive(Clone, Copy)]
pub(crate) struct Report<'a> {
    pub(crate) observer: &'a dyn Observer,
    pub(crate) realm: &'a Arc<str>,
    pub(crate) context: &'a RequestContext,
}

impl Report<'_> {
    /// Before the client is known to be who it says: `claimed` is raw.
    pub(crate) fn unauthenticated(self, claimed: Option<&str>, reason: impl Into<Reason>) -> TokenError {
        let (reason, context) = (reason.into(), self.context);
        match reason {
            Reason::Client(fault) => {
                self.observer.observe(&Event::ClientRefused { client_id: claimed, fault, context });
                TokenError::new(fault).in_realm(self.realm)
            }
            other => self.plain(other),
        }
    }

    /// What an authenticated client asked for is malformed, missing or not registered.
    pub(crate) fn refused(self, client_id: &ClientId, reason: impl Into<Reason>) -> TokenError {
        let (reason, context) = (reason.into(), self.context);
        if let Reason::NotAllowed(refused) = reason {
            self.observer.observe(&Event::NotAllowed { client_id, refused, context });
        }
        if let Reason::MoreNeeded(code) = &reason {
            self.observer.observe(&Event::MoreNeeded { client_id, code, context });
        }
        self.plain(reason)
    }

    pub(crate) fn rejected(self, client_id: &ClientId, username: &str, rejection: Rejection) -> TokenError {
        let context = self.context;
        self.observer.observe(&Event::LoginRejected { client_id, username, rejection, context });
        TokenError::new(Reason::Login(rejection))
    }

    /// The host's code failed.
    pub(crate) fn failed(self, trouble: Trouble, cause: &BoxError) -> TokenError {
        self.observer.observe(&Event::Trouble { trouble, cause: Some(&**cause), context: self.context });
        TokenError::new(trouble)
    }

    fn plain(self, reason: Reason) -> TokenError {
        let context = self.context;
        match reason {
            Reason::Request(fault) => self.observer.observe(&Event::RequestRefused { fault, context }),
            Reason::Trouble(trouble) => self.observer.observe(&Event::Trouble { trouble, cause: None, context }),
            _ => {}
        }
        TokenError::new(reason)
    }
}
