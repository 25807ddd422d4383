//! A login attempt as the limiter sees it, and what came of it.

use crate::client::Client;
use crate::error::Rejection;
use crate::event::{Event, EventKind};
use crate::limiter::rule::AttemptOutcome;
use crate::refusal::Refusal;
use crate::types::context::RequestContext;
use crate::types::identifier::Subject;
use crate::user::{Login, Outcome};

/// The facts about a login attempt that the limiter needs. `username` is raw.
#[derive(Clone, Copy)]
pub(crate) struct Attempt<'a> {
    pub(crate) username: &'a str,
    pub(crate) client: &'a Client,
    pub(crate) context: &'a RequestContext,
}

impl<'a> Attempt<'a> {
    pub(crate) fn event(&self, kind: EventKind) -> Event<'a> {
        Event::in_context(kind, self.context)
            .with_client(self.client.id())
            .with_username(self.username)
    }
}

/// How an attempt ended, once it has been judged.
pub(crate) enum Judged {
    /// This subject has logged in.
    Accepted(Subject),
    Failed {
        /// Whether the user name is known to be that of an account.
        user_found: bool,
    },
    Inconclusive,
}

impl Judged {
    pub(super) fn outcome(&self) -> AttemptOutcome {
        match self {
            Self::Accepted(_) => AttemptOutcome::Success,
            Self::Failed { .. } => AttemptOutcome::Failure,
            Self::Inconclusive => AttemptOutcome::Inconclusive,
        }
    }

    pub(super) fn is_failure(&self) -> bool {
        matches!(self, Self::Failed { .. })
    }
}

/// How a login counts. Only an accepted login is a success: whoever has the right password, and
/// not the second factor that it needs, must not clear the count that bounds the guesses at it. The
/// reason of a rejection makes no difference: if a disabled user's right password cost less than a
/// wrong one, the count would tell them apart.
pub(crate) fn judged(login: &Result<Login, Refusal>) -> Judged {
    match login.as_ref().map(Login::outcome) {
        Ok(Outcome::Accepted(accepted)) => Judged::Accepted(accepted.subject.clone()),
        Ok(Outcome::Rejected(rejection)) => {
            Judged::Failed { user_found: *rejection != Rejection::UnknownUser }
        }
        Ok(Outcome::MoreNeeded { .. }) | Err(_) => Judged::Inconclusive,
    }
}
