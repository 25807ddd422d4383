//! A login attempt as the limiter sees it, and what came of it.

use crate::error::Rejection;
use crate::event::{Event, EventKind};
use crate::limiter::rule::AttemptOutcome;
use crate::refusal::Refusal;
use crate::types::context::RequestContext;
use crate::types::identifier::ClientId;
use crate::user::Login;

/// The facts about a login attempt that the limiter needs. `username` is raw.
pub(crate) struct Attempt<'a> {
    pub(crate) username: &'a str,
    pub(crate) client_id: &'a ClientId,
    pub(crate) context: &'a RequestContext,
}

impl<'a> Attempt<'a> {
    pub(crate) fn event(&self, kind: EventKind) -> Event<'a> {
        Event::in_context(kind, self.context)
            .with_client(self.client_id)
            .with_username(self.username)
    }
}

/// How an attempt counts, once it has been judged.
#[derive(Clone, Copy)]
pub(crate) struct Judged {
    pub(super) outcome: AttemptOutcome,
    /// Whether the user name is known to be that of an account.
    pub(super) user_found: bool,
}

/// How a login counts. A further step is only asked for after the right password, so it counts as a
/// success. The reason of a rejection makes no difference: if a disabled user's right password cost
/// less than a wrong one, the count would tell them apart.
pub(crate) fn judged(login: &Result<Login, Refusal>) -> Judged {
    match login {
        Ok(login) => match login.rejection() {
            Some(rejection) => Judged {
                outcome: AttemptOutcome::Failure,
                user_found: rejection != Rejection::UnknownUser,
            },
            None => Judged { outcome: AttemptOutcome::Success, user_found: true },
        },
        Err(_) => Judged { outcome: AttemptOutcome::Inconclusive, user_found: false },
    }
}
