use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::vocabulary::context::RequestContext;
use crate::vocabulary::error::{BoxError, ClientFault, Counted, Reason, Rejection, TokenError, TokenFault, Trouble};
use crate::vocabulary::event::{Event, Observer, tell};
use crate::vocabulary::identifier::ClientId;

/// Says no: tells the observer why, and makes the answer that tells the caller only what it may know.
#[derive(Clone, Copy)]
pub(crate) struct Report<'a> {
    observer: &'a dyn Observer,
    realm: &'a Arc<str>,
    context: &'a RequestContext,
    /// Who has authenticated.
    client_id: Option<&'a ClientId>,
}

impl<'a> Report<'a> {
    pub(crate) fn new(observer: &'a dyn Observer, realm: &'a Arc<str>, context: &'a RequestContext) -> Self {
        Self { observer, realm, context, client_id: None }
    }

    /// From now on, about this client.
    pub(crate) fn about(self, client_id: &'a ClientId) -> Self {
        Self { client_id: Some(client_id), ..self }
    }

    pub(crate) fn context(self) -> &'a RequestContext {
        self.context
    }

    /// Something happened that is no refusal.
    pub(crate) fn tell(self, event: &Event<'_>) {
        tell(self.observer, event);
    }

    /// The client has not authenticated. `claimed` is raw.
    pub(crate) fn client(self, claimed: Option<&str>, fault: ClientFault) -> TokenError {
        self.tell(&Event::ClientRefused { client_id: claimed, fault, context: self.context });
        TokenError::new(fault).in_realm(self.realm)
    }

    /// The request is malformed or incomplete, or asks for what the client may not have, or we are in trouble.
    pub(crate) fn refused(self, reason: impl Into<Reason>) -> TokenError {
        let (reason, context) = (reason.into(), self.context);
        match (&reason, self.client_id) {
            (Reason::Request(fault), _) => self.tell(&Event::RequestRefused { fault: *fault, context }),
            (Reason::Client(fault), _) => return self.client(None, *fault),
            (Reason::NotAllowed(refused), Some(client_id)) => {
                self.tell(&Event::NotAllowed { client_id, refused: *refused, context });
            }
            (Reason::Trouble(trouble), _) => self.trouble(*trouble, None),
            _ => {}
        }
        TokenError::new(reason)
    }

    /// The host's code failed.
    pub(crate) fn failed(self, trouble: Trouble, cause: &BoxError) -> TokenError {
        self.trouble(trouble, Some(&**cause));
        TokenError::new(trouble)
    }

    fn trouble(self, trouble: Trouble, cause: Option<&(dyn std::error::Error + 'static)>) {
        let (client_id, context) = (self.client_id, self.context);
        self.tell(&Event::Trouble { trouble, client_id, cause, context });
    }

    /// The resource owner has not logged in.
    pub(crate) fn rejected(self, username: &str, rejection: Rejection) -> TokenError {
        if let Some(client_id) = self.client_id {
            let context = self.context;
            self.tell(&Event::LoginRejected { client_id, username, rejection, context });
        }
        TokenError::new(Reason::Login(rejection))
    }

    /// The token is not one that this client may use.
    pub(crate) fn token(self, fault: TokenFault, session_id: Option<&str>) -> TokenError {
        if let Some(client_id) = self.client_id {
            self.tell(&Event::TokenRefused { client_id, fault, session_id, context: self.context });
        }
        TokenError::new(fault)
    }

    /// There were too many attempts on a user name, or from where this one comes.
    pub(crate) fn denied(self, username: &str, counted: Counted, wait: Duration) -> TokenError {
        let refusal = TokenError::new(Reason::TooManyAttempts(counted)).after(wait);
        if let (Some(client_id), Some(retry_after)) = (self.client_id, refusal.retry_after()) {
            let context = self.context;
            self.tell(&Event::AttemptDenied { client_id, username, counted, retry_after, context });
        }
        refusal
    }

    /// A client failed to authenticate too often. `claimed` is raw.
    pub(crate) fn client_denied(self, claimed: &str, wait: Duration) -> TokenError {
        let refusal = TokenError::new(Reason::TooManyAttempts(Counted::Client)).after(wait);
        if let Some(retry_after) = refusal.retry_after() {
            self.tell(&Event::ClientDenied { client_id: claimed, retry_after, context: self.context });
        }
        refusal
    }

    /// The host wants another step first.
    pub(crate) fn more_needed(self, username: &str, code: Arc<str>, members: Map<String, Value>) -> TokenError {
        if let Some(client_id) = self.client_id {
            self.tell(&Event::MoreNeeded { client_id, username, code: &code, context: self.context });
        }
        TokenError::new(Reason::MoreNeeded(code)).with_members(members)
    }
}
