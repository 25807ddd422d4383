//! Events as lines of `tracing`.

use crate::vocabulary::error::Trouble;
use crate::vocabulary::event::{AccessFault, Event, Observer};

/// Writes every event to [`tracing`] under the target `password_grant`. `ERROR`: trouble, and a missing caller address.
/// `WARN`: refusals, unusable keys, and trouble where a client only retries too often. `DEBUG`: single hashes, admitted
/// attempts, and requests without a token. `INFO`: the rest. The default observer.
///
/// What the caller typed is quoted and escaped, so it cannot break or forge a line of the log.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct TracingObserver;

impl TracingObserver {
    /// An observer that writes to `tracing`.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl Observer for TracingObserver {
    fn observe(&self, event: &Event<'_>) {
        match event {
            // Nothing is wrong: somebody retries more often than it helps.
            Event::Trouble { trouble: Trouble::RefreshContended, context, .. } => {
                tracing::warn!(target: "password_grant", peer = ?context.peer(), tenant = ?context.tenant(), "{event}");
            }
            Event::Trouble { context, .. } | Event::NoPeerAddress { context } => {
                tracing::error!(target: "password_grant", peer = ?context.peer(), tenant = ?context.tenant(), "{event}");
            }
            Event::ClientRefused { context, .. }
            | Event::KeyPassedOver { context, .. }
            | Event::LoginRejected { context, .. }
            | Event::NotAllowed { context, .. }
            | Event::AttemptDenied { context, .. }
            | Event::AccountLocked { context, .. }
            | Event::ClientDenied { context, .. }
            | Event::Alarm { context, .. }
            | Event::TokenRefused { context, .. }
            | Event::RequestRefused { context, .. } => {
                tracing::warn!(target: "password_grant", peer = ?context.peer(), tenant = ?context.tenant(), "{event}");
            }
            // An ordinary anonymous request, which is then told what it lacks.
            Event::AccessRefused { fault: AccessFault::NoToken, .. } => {
                tracing::debug!(target: "password_grant", "{event}");
            }
            Event::StoredHashRefused { .. } | Event::RehashFailed { .. } | Event::AccessRefused { .. } => {
                tracing::warn!(target: "password_grant", "{event}");
            }
            Event::LoginAccepted { context, .. }
            | Event::TokenIssued { context, .. }
            | Event::TokenRefreshed { context, .. }
            | Event::TokenRevoked { context, .. }
            | Event::LoggedOut { context, .. }
            | Event::SessionReplaced { context, .. }
            | Event::LenientAudience { context, .. }
            | Event::NewOrigin { context, .. }
            | Event::AttemptsReset { context, .. }
            | Event::MoreNeeded { context, .. } => {
                tracing::info!(target: "password_grant", peer = ?context.peer(), tenant = ?context.tenant(), "{event}");
            }
            Event::AttemptAdmitted { context, .. } | Event::AttemptWaits { context, .. } => {
                tracing::debug!(target: "password_grant", peer = ?context.peer(), tenant = ?context.tenant(), "{event}");
            }
            Event::PasswordVerified { .. } => tracing::debug!(target: "password_grant", "{event}"),
            Event::PasswordRehashed { .. } => tracing::info!(target: "password_grant", "{event}"),
        }
    }
}
