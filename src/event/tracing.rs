//! Events as structured records of `tracing`.

use crate::event::{Event, EventKind, EventLevel, Observer};
use crate::time::millis;
use crate::types::context::RequestContext;
use crate::types::scope::Scope;

/// Writes every event to [`tracing`], under the target `password_grant` and at the level of its
/// kind. The default observer.
///
/// The message is the name of the event in words. The facts are fields, each present where it is
/// known: `event` and `reason` (the stable names), `detail`, `client`, `username` (as
/// [`Event::loggable_username`] gives it), `subject`, `session`, `token` (the `jti`), `scope`,
/// `code`, `address`, `tenant`, `retry_after` (seconds), `milliseconds` (from the start of the
/// request), `error`, and `failures` of an alarm. All text that a caller typed stands in fields of
/// type string, which subscribers quote and escape.
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

impl EventKind {
    fn failures(self) -> Option<u32> {
        match self {
            Self::Alarm { failures, .. } => Some(failures),
            _ => None,
        }
    }
}

/// One record. `tracing` needs its level as a constant.
macro_rules! record {
    ($level:ident, $event:expr) => {{
        let event: &Event<'_> = $event;
        let context = event.context;
        tracing::event!(
            target: "password_grant",
            tracing::Level::$level,
            event = event.kind.name(),
            reason = event.kind.reason(),
            detail = event.kind.detail(),
            client = event.client_id.map(AsRef::<str>::as_ref),
            username = event.loggable_username().as_deref(),
            subject = event.subject.map(AsRef::<str>::as_ref),
            session = event.session_id.map(AsRef::<str>::as_ref),
            token = event.token_id,
            scope = event.scope.map(Scope::as_str),
            code = event.code,
            address = context.and_then(RequestContext::peer).map(tracing::field::display),
            tenant = context.and_then(RequestContext::tenant),
            retry_after = event.retry_after.map(|wait| wait.as_secs()),
            milliseconds = event.elapsed.map(millis),
            error = event.cause.map(ToString::to_string),
            failures = event.kind.failures(),
            "{}",
            event.kind,
        );
    }};
}

impl Observer for TracingObserver {
    fn observe(&self, event: &Event<'_>) {
        match event.kind.level() {
            EventLevel::Error => record!(ERROR, event),
            EventLevel::Warn => record!(WARN, event),
            EventLevel::Info => record!(INFO, event),
            EventLevel::Debug => record!(DEBUG, event),
        }
    }
}
