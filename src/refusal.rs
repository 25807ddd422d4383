//! A refusal as a value: why a request ends without a token, and what an observer should know about
//! it. Functions of the engine return it; the public methods observe it and turn it into a
//! [`TokenError`], in one place.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::error::{BoxError, LimitKind, Reason, ServerFault, TokenError};
use crate::event::{Event, EventKind};
use crate::types::identifier::{ClientId, SessionId, Subject};

/// Why a request is refused. Boxed, to keep every `Result<_, Refusal>` small.
pub(crate) struct Refusal(Box<Details>);

struct Details {
    reason: Reason,
    cause: Option<BoxError>,
    /// The authenticated client; where none has authenticated, the one that the request claimed.
    client_id: Option<ClientId>,
    session_id: Option<SessionId>,
    subject: Option<Subject>,
    retry_after: Option<Duration>,
    members: Map<String, Value>,
}

impl Refusal {
    pub(crate) fn new(reason: impl Into<Reason>) -> Self {
        let reason = reason.into();
        Self(Box::new(Details {
            reason,
            cause: None,
            client_id: None,
            session_id: None,
            subject: None,
            retry_after: None,
            members: Map::new(),
        }))
    }

    /// A refusal because code of the host failed.
    pub(crate) fn fault(fault: ServerFault, cause: impl Into<BoxError>) -> Self {
        let mut refusal = Self::new(fault);
        refusal.0.cause = Some(cause.into());
        refusal
    }

    /// Names the client, unless the refusal already names one.
    pub(crate) fn of_client(mut self, client_id: &ClientId) -> Self {
        self.0.client_id.get_or_insert_with(|| client_id.clone());
        self
    }

    pub(crate) fn of_subject(mut self, subject: &str) -> Self {
        self.0.subject = Some(subject.into());
        self
    }

    pub(crate) fn of_session(mut self, session_id: &SessionId) -> Self {
        self.0.session_id = Some(session_id.clone());
        self
    }

    /// The value of `Retry-After`; rounded up to whole seconds.
    pub(crate) fn retry_after(mut self, wait: Duration) -> Self {
        let seconds = u64::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u64::MAX);
        self.0.retry_after = Some(Duration::from_secs(seconds));
        self
    }

    /// Shortens the wait that the caller is told to at most this.
    pub(crate) fn retry_at_most_after(mut self, longest: Duration) -> Self {
        self.0.retry_after = self.0.retry_after.map(|wait| wait.min(longest));
        self
    }

    /// The host's members of an answer that asks for another step.
    pub(crate) fn with_members(mut self, members: Map<String, Value>) -> Self {
        self.0.members = members;
        self
    }

    pub(crate) fn reason(&self) -> &Reason {
        &self.0.reason
    }

    /// The client that the refusal names: authenticated, or else the one that the request claimed.
    pub(crate) fn client_id(&self) -> Option<&ClientId> {
        self.0.client_id.as_ref()
    }

    /// The event that reports this refusal.
    pub(crate) fn event(&self) -> Event<'_> {
        let Details { reason, cause, client_id, session_id, subject, retry_after, .. } = &*self.0;
        let kind = match reason {
            Reason::Request(fault) => EventKind::RequestRefused(*fault),
            Reason::Client(fault) => EventKind::ClientRefused(*fault),
            Reason::NotAllowed(refused) => EventKind::NotAllowed(*refused),
            Reason::Login(rejection) => EventKind::LoginRejected(*rejection),
            Reason::Token(fault) => EventKind::TokenRefused(*fault),
            Reason::MoreNeeded(_) => EventKind::MoreNeeded,
            Reason::TooManyAttempts(LimitKind::Client) => EventKind::ClientDenied,
            Reason::TooManyAttempts(limit) => EventKind::AttemptDenied(*limit),
            Reason::ServerFault(fault) => EventKind::ServerFault(*fault),
        };
        let code = match reason {
            Reason::MoreNeeded(code) => Some(&**code),
            _ => None,
        };
        Event {
            client_id: client_id.as_ref(),
            session_id: session_id.as_ref(),
            subject: subject.as_ref(),
            code,
            retry_after: *retry_after,
            cause: cause.as_deref().map(|cause| cause as _),
            ..Event::new(kind)
        }
    }

    /// The answer. `realm` is that of the challenge of a 401.
    pub(crate) fn into_error(self, realm: &Arc<str>) -> TokenError {
        let Details { reason, retry_after, members, .. } = *self.0;
        TokenError::new(reason, retry_after, members, Some(realm))
    }
}

impl<R: Into<Reason>> From<R> for Refusal {
    fn from(reason: R) -> Self {
        Self::new(reason)
    }
}

/// Turns an error of the host's code into a refusal: `store.load(keys).await.or_fault(fault)?`.
pub(crate) trait OrFault<T> {
    fn or_fault(self, fault: ServerFault) -> Result<T, Refusal>;
}

impl<T, E: Into<BoxError>> OrFault<T> for Result<T, E> {
    fn or_fault(self, fault: ServerFault) -> Result<T, Refusal> {
        self.map_err(|cause| Refusal::fault(fault, cause))
    }
}
